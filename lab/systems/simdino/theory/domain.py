"""Domains shared by the closed forms: each check returns clean arrays or raises one sentence.

A value outside a domain never yields a number: the error names the parameter, its value, the rule, the way out.
"""

from __future__ import annotations

import numpy as np

from lab.checks import checked, integer, non_negative, positive

__all__ = ["checked", "coding_scale", "integer", "momentum", "noise_fraction", "non_negative", "positive", "step_size"]


def noise_fraction(nu) -> np.ndarray:
    """Share of noise in a mode, in [0, 1]."""
    return checked("nu", nu, lambda v: (v >= 0) & (v <= 1), "must lie in [0, 1]; pass noise/(signal + noise) of a mode")


def momentum(m) -> np.ndarray:
    """Momentum of the teacher's average, in [0, 1)."""
    return checked("momentum", m, lambda v: (v >= 0) & (v < 1), "must lie in [0, 1); at 1 the teacher never moves")


def step_size(step) -> np.ndarray:
    """Learning rate, in (0, 1]: the pull of the teacher alone then contracts without overshoot."""
    return checked("step", step, lambda v: (v > 0) & (v <= 1), "must lie in (0, 1]; larger steps overshoot the teacher")


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
