"""Closed forms of the bigram-backcopy task: plain numbers and arrays in and out, numpy only, no randomness.

=================  =================================================================================
`chain`            states a predictor must know, laws of finite sequences, Bayes loss and excess
`long_run`         stationary law, absorbing tokens, copies that are nearly certain
`bigrams`          families of bigrams in closed form
`construction`     risk of written-down solutions, bounds
`sink`             exact growth of a sink logit, half-logarithmic asymptote
`necessity`        attention that may miss the sink at a given risk
`risk`             universal risk |N|/(4t) and its first correction
`onset`            when a sink switches on
`phases`           frozen value: sink, finite logit, anti-sink
`drain`            frozen logits: limit of the value, component by component, and its rate
`joint`            both trained: Lyapunov function, conserved quantity, end with shared contexts
`random_contexts`  both trained on contexts that differ: offsets, drained value
`gauge`            queries with logits of their own
`backcopy`         value of a copied token
`relu`             ReLU weights
`residual`         norm of the first token's residual state
`adam`             linear speed under Adam
`optimisers`       norms of the matrices that write into residual states
`trained`          what a transformer loses without its head
=================  =================================================================================

Notation and traps: see `lab.systems.bigram_backcopy`.
"""

from lab.systems.bigram_backcopy.theory.adam import adam_speed, adam_speed_cap
from lab.systems.bigram_backcopy.theory.backcopy import copy_loss, copy_value
from lab.systems.bigram_backcopy.theory.bigrams import (
    cyclic_entropy,
    dirichlet_entropy,
    lazy_zipf_entropies,
    lazy_zipf_law,
    lazy_zipf_rate,
    lazy_zipf_trigger_share,
)
from lab.systems.bigram_backcopy.theory.chain import (
    Chain,
    augmented_chain,
    bayes_loss,
    entropy,
    excess_loss,
    finite_laws,
    neighbouring_triggers,
    token_law,
)
from lab.systems.bigram_backcopy.theory.construction import (
    bigram_bound,
    bigram_excess,
    copy_bound,
    copy_excess,
    copy_gap,
    head_shift,
)
from lab.systems.bigram_backcopy.theory.drain import drain_rate, drained_value, token_components
from lab.systems.bigram_backcopy.theory.gauge import gauge_offsets
from lab.systems.bigram_backcopy.theory.joint import conserved, final_logit, final_value, reinforcement
from lab.systems.bigram_backcopy.theory.long_run import (
    absorbing_tokens,
    bayes_rate,
    long_run_law,
    nearly_certain_law,
    stationary_law,
)
from lab.systems.bigram_backcopy.theory.necessity import (
    missed_attention,
    missed_attention_small,
    risk_without_sink,
)
from lab.systems.bigram_backcopy.theory.onset import (
    half_attention_time,
    onset_correction,
    onset_expansion,
    onset_time,
)
from lab.systems.bigram_backcopy.theory.optimisers import decay_exponent, writer_norms
from lab.systems.bigram_backcopy.theory.phases import end_slopes, finite_logit, phase, phase_offset
from lab.systems.bigram_backcopy.theory.random_contexts import Scaling, scaling_matrix, scaling_solution
from lab.systems.bigram_backcopy.theory.relu import relu_conserved, relu_rate
from lab.systems.bigram_backcopy.theory.residual import balance, balanced_residual, residual_growth, scale_offset
from lab.systems.bigram_backcopy.theory.risk import universal_correction, universal_risk
from lab.systems.bigram_backcopy.theory.sink import (
    cumulants,
    half_log,
    half_log_coefficients,
    sink_logit,
    sink_rate,
    sink_time,
)
from lab.systems.bigram_backcopy.theory.trained import BlindExcess, blind_excess, guess_excess

__all__ = [
    "BlindExcess",
    "Chain",
    "Scaling",
    "absorbing_tokens",
    "adam_speed",
    "adam_speed_cap",
    "augmented_chain",
    "balance",
    "balanced_residual",
    "bayes_loss",
    "bayes_rate",
    "bigram_bound",
    "bigram_excess",
    "blind_excess",
    "conserved",
    "copy_bound",
    "copy_excess",
    "copy_gap",
    "copy_loss",
    "copy_value",
    "cumulants",
    "cyclic_entropy",
    "decay_exponent",
    "dirichlet_entropy",
    "drain_rate",
    "drained_value",
    "end_slopes",
    "entropy",
    "excess_loss",
    "final_logit",
    "final_value",
    "finite_laws",
    "finite_logit",
    "gauge_offsets",
    "guess_excess",
    "half_attention_time",
    "half_log",
    "half_log_coefficients",
    "head_shift",
    "lazy_zipf_entropies",
    "lazy_zipf_law",
    "lazy_zipf_rate",
    "lazy_zipf_trigger_share",
    "long_run_law",
    "missed_attention",
    "missed_attention_small",
    "nearly_certain_law",
    "neighbouring_triggers",
    "onset_correction",
    "onset_expansion",
    "onset_time",
    "phase",
    "phase_offset",
    "reinforcement",
    "relu_conserved",
    "relu_rate",
    "residual_growth",
    "risk_without_sink",
    "scale_offset",
    "scaling_matrix",
    "scaling_solution",
    "sink_logit",
    "sink_rate",
    "sink_time",
    "stationary_law",
    "token_components",
    "token_law",
    "universal_correction",
    "universal_risk",
    "writer_norms",
]
