"""Closed forms of the white-box transformer: plain numbers and arrays in and out, numpy only, no randomness.

================  ==================================================================================
`gradient`        gradient of the coding rate on subspaces, its first-order expansion and the error
`descent`         one gradient step: singular values, ridge projection, guaranteed decrease, edge
`denoising`       gain of the signal-to-noise ratio in one step, direction, transition at p = N_k
`cap`             largest rate reduction, rates of normalised tokens
`attention`       attention as a step on the rate, with and without the contraction
`ista`            sparse coding: decrease, gap, orthogonal dictionary
`reversal`        orders of a structured decoder's error, factor of fixed-point inversion
`layers`          the rate along many exact steps, and along attention alone
================  ==================================================================================

Notation and traps: see `lab.systems.crate`.
"""

from lab.systems.crate.theory.attention import contracted_lowers, linear_attention_values
from lab.systems.crate.theory.cap import blind_rates, head_normalised_cap, rank_one_reduction, reduction_cap
from lab.systems.crate.theory.denoising import (
    Resolvent,
    cosines,
    gains,
    large_cluster_gains,
    projection_gain,
    resolvent,
)
from lab.systems.crate.theory.descent import (
    descent_edge,
    guaranteed_decrease,
    ridge_projection,
    singular_values_after,
)
from lab.systems.crate.theory.gradient import logdet_gradient, neumann_error, neumann_gradient, rate_gradient
from lab.systems.crate.theory.ista import gap_bound, orthogonal_codes, step_decrease
from lab.systems.crate.theory.layers import attention_slope, rate_path
from lab.systems.crate.theory.reversal import contraction, layers_order, one_layer_order

__all__ = [
    "Resolvent",
    "attention_slope",
    "blind_rates",
    "contracted_lowers",
    "contraction",
    "cosines",
    "descent_edge",
    "gains",
    "gap_bound",
    "guaranteed_decrease",
    "head_normalised_cap",
    "large_cluster_gains",
    "layers_order",
    "linear_attention_values",
    "logdet_gradient",
    "neumann_error",
    "neumann_gradient",
    "one_layer_order",
    "orthogonal_codes",
    "projection_gain",
    "rank_one_reduction",
    "rate_gradient",
    "rate_path",
    "reduction_cap",
    "resolvent",
    "ridge_projection",
    "singular_values_after",
    "step_decrease",
]
