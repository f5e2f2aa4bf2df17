"""The laws of the system sparse_coding, one file per subject, as in `lab.systems.sparse_coding.theory`."""

from lab.systems.sparse_coding.laws.bounds import FISTA_BOUND, ISTA_BOUND
from lab.systems.sparse_coding.laws.layers import LAYERED_NOISE, LAYERED_PURSUIT, LAYERED_SUPPORT
from lab.systems.sparse_coding.laws.operators import COHERENCE, OPERATOR_NORM, WELCH_BOUND, ZERO_PADDING_NORM
from lab.systems.sparse_coding.laws.rates import (
    FISTA_LOCAL_RATE,
    ISTA_LOCAL_RATE,
    LAGGED_GAP,
    LAGGED_GRADIENT,
    LAGGED_PRINTED,
    LAGGED_START,
)
from lab.systems.sparse_coding.laws.recovery import LOCAL_COHERENCE_RECOVERY, NOISE_STABILITY, NOISE_SUPPORT
from lab.systems.sparse_coding.laws.shrinkage import DEBIASED_LOOP, DOUBLE_SHRINKAGE, LOOP_BIAS, LOOP_DISTANCE
from lab.systems.sparse_coding.laws.transition import GAUSSIAN_RECOVERY, L1_PHASE_TRANSITION, SHORT_FILTERS

__all__ = [
    "COHERENCE",
    "DEBIASED_LOOP",
    "DOUBLE_SHRINKAGE",
    "FISTA_BOUND",
    "FISTA_LOCAL_RATE",
    "GAUSSIAN_RECOVERY",
    "ISTA_BOUND",
    "ISTA_LOCAL_RATE",
    "L1_PHASE_TRANSITION",
    "LAGGED_GAP",
    "LAGGED_GRADIENT",
    "LAGGED_PRINTED",
    "LAGGED_START",
    "LAYERED_NOISE",
    "LAYERED_PURSUIT",
    "LAYERED_SUPPORT",
    "LOCAL_COHERENCE_RECOVERY",
    "LOOP_BIAS",
    "LOOP_DISTANCE",
    "NOISE_STABILITY",
    "NOISE_SUPPORT",
    "OPERATOR_NORM",
    "SHORT_FILTERS",
    "WELCH_BOUND",
    "ZERO_PADDING_NORM",
]
