r"""Width at which training of a mixture with one shared variance comes to rest.

Under hard assignment (each training point belongs to its nearest mean) with residual variance u, a mixture of width w
has x0-loss :math:`d(u+\psi w^2)/(1+\psi w)^2`. Its derivative in w is
:math:`2d\psi(w-u)/(1+\psi w)^3`: the only minimum is w = u, at every signal-to-noise ratio, hence for every weighting.
Derived for this laboratory, verified numerically; not found in arXiv:2508.17689.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["hard_assignment_loss", "settled_ratio"]


def hard_assignment_loss(w, u, d: int, psi):
    r"""x0-loss :math:`d(u+\psi w^2)/(1+\psi w)^2` of a mixture of variance w whose residual variance is u.

    Parameters
    ----------
    w : array_like, >= 0
        Variance of the model.
    u : array_like, >= 0
        Mean squared distance per coordinate of training points to their nearest mean.
    d : int, >= 1
    psi : array_like, >= 0
        Signal-to-noise ratio.

    Returns
    -------
    array
        In the units of u, summed over coordinates; `transition.plateau_loss` is its least value over w.

    Raises
    ------
    OutOfDomain
        If w, u or psi is negative, or d is no whole number from 1 on.
    """
    w, u, psi = checks.non_negative("w", w), checks.non_negative("u", u), checks.non_negative("psi", psi)
    return (checks.integer("d", d, 1) * (u + psi * w**2) / (1 + psi * w) ** 2)[()]


def settled_ratio(m):
    """Fitted over residual variance of a trained model of size m N: 1 at every size below N; shape of m."""
    m = checks.checked("m", m, lambda x: (x > 0) & (x < 1), "model sizes per training point lie strictly in (0, 1)")
    return np.ones_like(m)[()]
