"""The laws of the system bigram_backcopy, one file per subject, as in `lab.systems.bigram_backcopy.theory`."""

from lab.systems.bigram_backcopy.laws.adam import ADAM_SPEED
from lab.systems.bigram_backcopy.laws.backcopy import BACKCOPY_RISK, BACKCOPY_VALUE
from lab.systems.bigram_backcopy.laws.bigrams import CLOSED_FORM_BIGRAMS, CYCLIC_BIGRAMS, DIRICHLET_ENTROPY
from lab.systems.bigram_backcopy.laws.chain import (
    BAYES_LOSS,
    BAYES_LOSS_PRINTED,
    EXCESS_LOSS,
    NO_ADJACENT_TRIGGERS,
    SAMPLED_LOSS,
    SAMPLED_TOKENS,
)
from lab.systems.bigram_backcopy.laws.construction import CONSTRUCTION, CONSTRUCTION_LIMIT, CONSTRUCTION_MAP
from lab.systems.bigram_backcopy.laws.drain import VALUE_DRAIN, VALUE_DRAIN_PRINTED, VALUE_DRAIN_RATE
from lab.systems.bigram_backcopy.laws.gauge import GAUGE_RISK, GAUGE_SINKS, GAUGE_VALUE
from lab.systems.bigram_backcopy.laws.joint import (
    CONSERVATION,
    DRIFT,
    FINAL_LOGIT,
    FINAL_VALUE,
    JOINT_SLOPE,
    JOINT_SLOPE_PRINTED,
    MUTUAL_REINFORCEMENT,
    NO_SPURIOUS_CRITICAL,
    REINFORCEMENT_DESCENT,
)
from lab.systems.bigram_backcopy.laws.long_run import (
    ABSORBING_TRIGGERS,
    ABSORBING_TRIGGERS_PRINTED,
    ABSORPTION_LAW,
    NEARLY_CERTAIN_COPIES,
    STATIONARY_LAW,
)
from lab.systems.bigram_backcopy.laws.necessity import SINK_NECESSITY
from lab.systems.bigram_backcopy.laws.onset import HALF_TIME, ONSET_TIME
from lab.systems.bigram_backcopy.laws.optimisers import ADAM_GROWTH, SCALE_INVARIANCE, SGD_GROWTH, WRITER_NORMS
from lab.systems.bigram_backcopy.laws.phases import FINITE_LOGIT, FROZEN_VALUE_PHASES, PHASE_OFFSET
from lab.systems.bigram_backcopy.laws.random_contexts import (
    RANDOM_CONTEXT_DRAIN,
    RANDOM_CONTEXT_SINKS,
    SINKS_CONCENTRATE_PRINTED,
)
from lab.systems.bigram_backcopy.laws.relu import RELU_CONSERVATION, RELU_NO_SINK
from lab.systems.bigram_backcopy.laws.residual import RESIDUAL_BALANCE, RESIDUAL_GROWTH, RESIDUAL_SCALE
from lab.systems.bigram_backcopy.laws.risk import UNIVERSAL_RISK, UNIVERSAL_RISK_CORRECTION, UNIVERSAL_RISK_JOINT
from lab.systems.bigram_backcopy.laws.sink import SINK_HALF_LOG, SINK_SLOPE, SINK_SLOPE_PRINTED, SINK_TIME
from lab.systems.bigram_backcopy.laws.trained import (
    ACTIVE_DORMANT,
    HEAD_ABLATION,
    RELU_OFF,
    RELU_PEAKS_PRINTED,
    SELF_SINK,
    SGD_SINK,
    SINK_ABLATION,
    TRAINED_LOSS,
)

__all__ = [
    "ABSORBING_TRIGGERS",
    "ABSORBING_TRIGGERS_PRINTED",
    "ABSORPTION_LAW",
    "ACTIVE_DORMANT",
    "ADAM_GROWTH",
    "ADAM_SPEED",
    "BACKCOPY_RISK",
    "BACKCOPY_VALUE",
    "BAYES_LOSS",
    "BAYES_LOSS_PRINTED",
    "CLOSED_FORM_BIGRAMS",
    "CONSERVATION",
    "CONSTRUCTION",
    "CONSTRUCTION_LIMIT",
    "CONSTRUCTION_MAP",
    "CYCLIC_BIGRAMS",
    "DIRICHLET_ENTROPY",
    "DRIFT",
    "EXCESS_LOSS",
    "FINAL_LOGIT",
    "FINAL_VALUE",
    "FINITE_LOGIT",
    "FROZEN_VALUE_PHASES",
    "GAUGE_RISK",
    "GAUGE_SINKS",
    "GAUGE_VALUE",
    "HALF_TIME",
    "HEAD_ABLATION",
    "JOINT_SLOPE",
    "JOINT_SLOPE_PRINTED",
    "MUTUAL_REINFORCEMENT",
    "NEARLY_CERTAIN_COPIES",
    "NO_ADJACENT_TRIGGERS",
    "NO_SPURIOUS_CRITICAL",
    "ONSET_TIME",
    "PHASE_OFFSET",
    "RANDOM_CONTEXT_DRAIN",
    "RANDOM_CONTEXT_SINKS",
    "REINFORCEMENT_DESCENT",
    "RELU_CONSERVATION",
    "RELU_NO_SINK",
    "RELU_OFF",
    "RELU_PEAKS_PRINTED",
    "RESIDUAL_BALANCE",
    "RESIDUAL_GROWTH",
    "RESIDUAL_SCALE",
    "SAMPLED_LOSS",
    "SAMPLED_TOKENS",
    "SCALE_INVARIANCE",
    "SELF_SINK",
    "SGD_GROWTH",
    "SGD_SINK",
    "SINKS_CONCENTRATE_PRINTED",
    "SINK_ABLATION",
    "SINK_HALF_LOG",
    "SINK_NECESSITY",
    "SINK_SLOPE",
    "SINK_SLOPE_PRINTED",
    "SINK_TIME",
    "STATIONARY_LAW",
    "TRAINED_LOSS",
    "UNIVERSAL_RISK",
    "UNIVERSAL_RISK_CORRECTION",
    "UNIVERSAL_RISK_JOINT",
    "VALUE_DRAIN",
    "VALUE_DRAIN_PRINTED",
    "VALUE_DRAIN_RATE",
    "WRITER_NORMS",
]
