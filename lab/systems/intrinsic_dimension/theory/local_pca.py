r"""Covariance of a patch: points u uniform in the d-ball of radius r, lifted to a sphere of radius R.

Coordinates are :math:`(u,h)`, :math:`h=R-\sqrt{R^2-|u|^2}`: the tangent block of the covariance is
:math:`r^2/(d+2)` times the identity, h has no covariance with u.
"""

from __future__ import annotations

import math

import numpy as np

from lab import checks

__all__ = ["normal_variance", "normal_variance_limit", "tangent_variance", "tilt"]

_NODES = 60


def tangent_variance(d, r):
    r"""Variance of each tangent coordinate, :math:`r^2/(d+2)`."""
    return (checks.positive("r", r) ** 2 / (checks.integer("d", d, 1) + 2))[()]


def normal_variance(d, r, R):
    r"""Variance of the height h, exact for r <= R, by Gauss-Legendre quadrature over the radius.

    To leading order `normal_variance_limit`, with the relative correction :math:`\frac{d+2}{d+6}(r/R)^2`.

    Parameters
    ----------
    d : int, >= 1
    r, R : float, 0 < r <= R

    Examples
    --------
    >>> round(float(normal_variance(2, 0.2, 1.0) / normal_variance_limit(2, 0.2, 1.0)), 4)
    1.0205
    """
    weight, height, _ = _heights(d, r, R)
    mean = weight @ height
    return float(weight @ (height - mean) ** 2)


def normal_variance_limit(d, r, R):
    r"""Leading order of `normal_variance` in r/R: :math:`\frac{d\,r^4}{R^2(d+4)(d+2)^2}`."""
    d, r, R = checks.integer("d", d, 1), checks.positive("r", r), checks.positive("R", R)
    return (d * r**4 / (R**2 * (d + 4) * (d + 2) ** 2))[()]


def tilt(d, r, R):
    r"""n times the mean squared tilt of the estimated normal direction, as n grows.

    The normal eigenvector of the sample covariance is off by :math:`C_{uh}/(\lambda_t-\lambda_n)` along each tangent
    direction: :math:`E[|u|^2(h-\bar h)^2]/(\lambda_t-\lambda_n)^2`. For d = 1 to leading order the familiar
    :math:`\frac{11}{105}\kappa^2r^2`, :math:`\kappa=1/R`.

    Examples
    --------
    >>> round(tilt(1, 0.01, 1.0) / (11 / 105 * 1e-4), 3)
    1.0
    """
    weight, height, squares = _heights(d, r, R)
    mean = weight @ height
    gap = tangent_variance(d, r) - weight @ (height - mean) ** 2
    return float(weight @ (squares * (height - mean) ** 2) / gap**2)


def _heights(d, r, R):
    """Weights, heights and squared lengths of u at the nodes of a quadrature over the ball."""
    from scipy.special import roots_legendre

    d, R = checks.integer("d", d, 1), float(checks.positive("R", R))
    r = float(checks.checked("r", r, lambda v: (v > 0) & (v <= R), f"must lie in (0, R] with R={R:g}"))
    x, weight = roots_legendre(_NODES)
    radius = np.sin(math.pi / 4 * (1 + x))  # takes the root's singularity at r = R away
    weight = weight * radius ** (d - 1) * np.cos(math.pi / 4 * (1 + x))
    squares = (r * radius) ** 2
    return weight / weight.sum(), squares / (R + np.sqrt(R**2 - squares)), squares
