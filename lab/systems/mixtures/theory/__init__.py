"""Closed forms of low-rank mixtures: plain numbers and arrays in and out, numpy only, no randomness.

================  ==================================================================================
`posterior`       posterior mean, temperature of its softmax over components
`projection`      cost of not knowing the component, distance from the plain projection, power laws
================  ==================================================================================

Notation and traps: see `lab.systems.mixtures`.
"""

from lab.systems.mixtures.theory.posterior import posterior_mean, temperature
from lab.systems.mixtures.theory.projection import (
    excess_constant,
    excess_exponent,
    label_excess,
    mean_squared_error,
    plain_excess,
    plain_exponent,
)

__all__ = [
    "excess_constant",
    "excess_exponent",
    "label_excess",
    "mean_squared_error",
    "plain_excess",
    "plain_exponent",
    "posterior_mean",
    "temperature",
]
