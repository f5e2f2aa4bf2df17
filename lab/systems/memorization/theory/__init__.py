"""Closed forms and quadrature about memorization: plain numbers and arrays in and out, no randomness.

========================  =============================================================================
`transition`              width that training settles at, copies among samples, critical model size
========================  =============================================================================

Notation and traps: see `lab.systems.memorization`.
"""

from lab.systems.memorization.theory.transition import (
    copy_probability,
    critical_size,
    critical_size_leading,
    fitted_variance,
    memorization_curve,
    nearest_constant,
    plateau_loss,
)

__all__ = [
    "copy_probability",
    "critical_size",
    "critical_size_leading",
    "fitted_variance",
    "memorization_curve",
    "nearest_constant",
    "plateau_loss",
]
