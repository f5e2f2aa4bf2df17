"""Domains shared by the closed forms: each check returns clean arrays or raises one sentence.

A value outside a domain never yields a number: the error names the parameter, its value, the rule, the way out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lab.errors import OutOfDomain

__all__ = ["coding_scale"]


def checked(name: str, value, ok: Callable[[np.ndarray], np.ndarray], rule: str) -> np.ndarray:
    """`value` as a float array, or OutOfDomain naming the first entry that violates `rule`."""
    value = np.asarray(value, dtype=float)
    bad = ~ok(value)  # NaN fails every comparison, hence every rule
    if np.any(bad):
        raise OutOfDomain(f"{name}={float(value[bad].flat[0])!r}: {rule}")
    return value


def positive(name: str, value) -> np.ndarray:
    return checked(name, value, lambda v: (v > 0) & np.isfinite(v), "must be positive and finite")


def non_negative(name: str, value) -> np.ndarray:
    return checked(name, value, lambda v: (v >= 0) & np.isfinite(v), "must be non-negative and finite")


def noise_fraction(nu) -> np.ndarray:
    """Share of noise in a mode, in [0, 1]."""
    return checked("nu", nu, lambda v: (v >= 0) & (v <= 1), "must lie in [0, 1]; pass noise/(signal + noise) of a mode")


def momentum(m) -> np.ndarray:
    """Momentum of the teacher's average, in [0, 1)."""
    return checked("momentum", m, lambda v: (v >= 0) & (v < 1), "must lie in [0, 1); at 1 the teacher never moves")


def step_size(step) -> np.ndarray:
    """Learning rate, in (0, 1]: the pull of the teacher alone then contracts without overshoot."""
    return checked("step", step, lambda v: (v > 0) & (v <= 1), "must lie in (0, 1]; larger steps overshoot the teacher")


def integer(name: str, value, least: int) -> int:
    if int(value) != value or value < least:
        raise OutOfDomain(f"{name}={value!r}: must be an integer >= {least}")
    return int(value)


def coding_scale(dim: int, eps):
    r"""The scale :math:`c = \mathrm{dim}/\mathrm{eps}^2` in front of the second moment in a coding rate.

    Parameters
    ----------
    dim : int
        Dimension d of the features.
    eps : array_like, > 0
        Distortion, in the units of the features. The public code's `eps` is the square of it.

    Examples
    --------
    >>> float(coding_scale(4, 0.5))
    16.0
    """
    return integer("dim", dim, 1) / positive("eps", eps)[()] ** 2
