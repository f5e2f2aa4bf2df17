"""Closed forms of the token statistics transformer: plain numbers and arrays in and out, numpy only, no randomness.

================  ==================================================================================
`variational`     concave functions, the rate from spectra
`gaps`            how far a basis misses the bound
`steps`           largest safe step, edge of descent, Wiener map of second moments
`membership`      posterior of a mixture of low-rank Gaussians, its inverse temperature
`cost`            flops and memory of one layer, against softmax attention
`gain`            signal-to-noise gain of one step, complete frames against truncated heads
================  ==================================================================================

Notation and traps: see `lab.systems.tost`.
"""

from lab.systems.tost.theory.cost import (
    attention_flops,
    attention_largest,
    exponentials,
    tssa_flops,
    tssa_largest,
)
from lab.systems.tost.theory.gain import full_basis_gain, truncated_gain
from lab.systems.tost.theory.gaps import gap_curvature, rotation_gap
from lab.systems.tost.theory.membership import membership, posterior_scale, published_scale
from lab.systems.tost.theory.steps import (
    descent_edge,
    largest_descent_step,
    lmmse_shrinkage,
    rate_change,
    wiener_map,
)
from lab.systems.tost.theory.variational import FUNCTIONS, Function, spectral_rate

__all__ = [
    "FUNCTIONS",
    "Function",
    "attention_flops",
    "attention_largest",
    "descent_edge",
    "exponentials",
    "full_basis_gain",
    "gap_curvature",
    "largest_descent_step",
    "lmmse_shrinkage",
    "membership",
    "posterior_scale",
    "published_scale",
    "rate_change",
    "rotation_gap",
    "spectral_rate",
    "truncated_gain",
    "tssa_flops",
    "tssa_largest",
    "wiener_map",
]
