"""Closed forms of convolutional sparse coding: numbers and arrays in, numbers and arrays out, no randomness.

================  ==================================================================================
file              subject
================  ==================================================================================
`operators`       operator norm, coherence and its Welch bound, columns of a support
`bounds`          gaps of ISTA and FISTA after k steps
`rates`           asymptotic rates of ISTA, FISTA and the lagged gradient
`recovery`        stripe conditions without and with noise
`layers`          error bounds of layered pursuit
`transition`      statistical dimension and exact probabilities of recovery by basis pursuit
`shrinkage`       bias of a closed loop through the Lasso
================  ==================================================================================

Notation and traps: see `lab.systems.sparse_coding`.
"""

from lab.systems.sparse_coding.theory.bounds import fista_gap, ista_gap
from lab.systems.sparse_coding.theory.layers import LayerBounds, layered_bounds
from lab.systems.sparse_coding.theory.operators import coherence, columns, operator_norm, welch_bound
from lab.systems.sparse_coding.theory.rates import (
    LAGGED_ERROR,
    LAGGED_GAP,
    fista_rate,
    ista_factor,
    momentum,
    slowest_mode,
)
from lab.systems.sparse_coding.theory.recovery import ERROR, PENALTY, recovery_stripe, stability_stripe, whole_stripe
from lab.systems.sparse_coding.theory.shrinkage import bias, distance_coefficient, survives
from lab.systems.sparse_coding.theory.transition import (
    first_order_transition,
    half_recovery,
    intrinsic_volumes,
    recovery_probability,
    statistical_dimension,
)

__all__ = [
    "ERROR",
    "LAGGED_ERROR",
    "LAGGED_GAP",
    "PENALTY",
    "LayerBounds",
    "bias",
    "coherence",
    "columns",
    "distance_coefficient",
    "first_order_transition",
    "fista_gap",
    "fista_rate",
    "half_recovery",
    "intrinsic_volumes",
    "ista_factor",
    "ista_gap",
    "layered_bounds",
    "momentum",
    "operator_norm",
    "recovery_probability",
    "recovery_stripe",
    "slowest_mode",
    "stability_stripe",
    "statistical_dimension",
    "survives",
    "welch_bound",
    "whole_stripe",
]
