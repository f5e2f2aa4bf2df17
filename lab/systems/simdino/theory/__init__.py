"""Closed forms of SimDINO: plain numbers and arrays in and out, numpy only, no randomness.

========================  =============================================================================
`alignment`               expected alignment cost of linear encoders, counting of pairs of views
`collapse`                stability of the collapsed state: growth per step, onset, official settings
`gradient_norm`           bounds and supremum of the gradient of the coding rate, balancing weight
`optimum`                 loss of the optimum and of the collapsed state of unit-norm features
`relaxation`              how fast the linear model settles, modes without noise
`waterfilling`            the linear model: noise fractions, spectrum, thresholds, rank
========================  =============================================================================

Notation and traps: see `lab.systems.simdino`.
"""

from lab.systems.simdino.theory.alignment import expected_alignment, printed_alignment_factor
from lab.systems.simdino.theory.collapse import (
    OfficialSettings,
    collapse_onset,
    growth_factor,
    growth_rate,
    official_settings,
    rate_push,
    slow_rate,
    transient_factor,
)
from lab.systems.simdino.theory.domain import coding_scale
from lab.systems.simdino.theory.gradient_norm import (
    balancing_weight,
    gradient_norm_bounds,
    largest_unit_gradient_norm,
    unit_gradient_norm_bound,
)
from lab.systems.simdino.theory.optimum import collapsed_loss, optimal_loss
from lab.systems.simdino.theory.relaxation import noiseless_slope, slowest_relaxation
from lab.systems.simdino.theory.waterfilling import (
    collapse_thresholds,
    filled_modes,
    noise_fractions,
    waterfilling_spectrum,
)

__all__ = [
    "OfficialSettings",
    "balancing_weight",
    "coding_scale",
    "collapse_onset",
    "collapse_thresholds",
    "collapsed_loss",
    "expected_alignment",
    "filled_modes",
    "gradient_norm_bounds",
    "growth_factor",
    "growth_rate",
    "largest_unit_gradient_norm",
    "noise_fractions",
    "noiseless_slope",
    "official_settings",
    "optimal_loss",
    "printed_alignment_factor",
    "rate_push",
    "slow_rate",
    "slowest_relaxation",
    "transient_factor",
    "unit_gradient_norm_bound",
    "waterfilling_spectrum",
]
