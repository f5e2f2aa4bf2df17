r"""Exact splits of the loss: what a denoiser loses beyond the best one is its squared distance from it.

For point masses x_i with posterior weights p_i(y), mean m(y) and any prediction f,

.. math:: \sum_ip_i|f-x_i|^2=|f-m|^2+V,\qquad V=\tfrac12\sum_{ij}p_ip_j|x_i-x_j|^2 ,

so the memorising denoiser m is the global minimiser of the empirical loss, whatever the noise level or its weighting,
and its own loss is the mean of V. The same holds for the true distribution with its posterior mean.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["linear_loss", "posterior_loss", "posterior_variance"]


def posterior_variance(weights, points):
    r"""Half the mean squared distance of two points drawn from the weights: V of the module, shape (..., n).

    Parameters
    ----------
    weights : array_like, shape (..., n, N)
        Non-negative, rows that add up to 1.
    points : array_like, shape (N, d)
    """
    p, X = checks.non_negative("weights", weights), checks.checked("points", points, np.isfinite, "must be finite")
    checks.checked("sum of weights", p.sum(axis=-1), lambda s: np.abs(s - 1) < 1e-6, "must be 1")
    squares = np.sum((X[:, None] - X) ** 2, axis=-1)
    return (np.sum(p * (p @ squares), axis=-1) / 2)[()]


def posterior_loss(prediction, weights, points):
    r"""Mean squared error of predictions f under the posterior: :math:`|f-m|^2+V`, shape (..., n).

    Parameters
    ----------
    prediction : array_like, shape (..., n, d)
    weights : array_like, shape (..., n, N)
    points : array_like, shape (N, d)
    """
    f = checks.checked("prediction", prediction, np.isfinite, "must be finite")
    variance = posterior_variance(weights, points)
    gap = f - np.asarray(weights, dtype=float) @ np.asarray(points, dtype=float)
    return (np.sum(gap**2, axis=-1) + variance)[()]


def linear_loss(shrink, psi, second_moment: float, d: int):
    r"""Loss of the linear denoiser c y/alpha: :math:`(1-c)^2\,E|x|^2+c^2 d/\psi`.

    Parameters
    ----------
    shrink : array_like
        c; the best is psi E|x|²/(d + psi E|x|²).
    psi : array_like, > 0
    second_moment : float, >= 0
        E|x|², of a distribution or of a set of points.
    d : int
    """
    c = checks.checked("shrink", shrink, np.isfinite, "must be finite")
    psi, power = checks.positive("psi", psi), checks.non_negative("second_moment", second_moment)
    return ((1 - c) ** 2 * power + c**2 * checks.integer("d", d, 1) / psi)[()]
