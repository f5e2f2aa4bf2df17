r"""How far the variational bound is missed by a basis that is not one of eigenvectors, for ``f = log(1 + c t)``."""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["gap_curvature", "rotation_gap"]


def rotation_gap(a, b, angle):
    r"""How far a basis turned by `angle` in the plane of two eigenvectors misses the bound, for f = log(1 + x).

    .. math:: \log\Big(1 + \frac{(a-b)^2 \sin^2\theta\cos^2\theta}{(1+a)(1+b)}\Big)

    Parameters
    ----------
    a, b : array_like, >= 0
        Reduced eigenvalues ``c lambda``.
    angle : array_like
        Radians.

    Returns
    -------
    array
        Nats (twice the difference of the rates), >= 0; zero iff a = b or the basis is one of eigenvectors.

    Notes
    -----
    The determinant of the two by two block is unchanged, its diagonal product grows by the squared off-diagonal entry.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(float(rotation_gap(1.0, 3.0, np.pi / 4)), 6)
    0.117783
    """
    a, b = checks.non_negative("a", a), checks.non_negative("b", b)
    angle = checks.checked("angle", angle, np.isfinite, "must be finite, in radians")
    return np.log1p((a - b) ** 2 * (0.5 * np.sin(2 * angle)) ** 2 / ((1 + a) * (1 + b)))[()]


def gap_curvature(c, largest=0.0):
    r"""Least curvature :math:`-f''` of ``f = log(1 + c t)`` on [0, `largest`]: :math:`c^2/(1 + c\,\mathrm{largest})^2`.

    With m this curvature at the largest eigenvalue of M and :math:`B = Q^\top M Q`, the bound is missed by

    .. math:: \tfrac{m}{2}\|B - \mathrm{diag} B\|_F^2 \le \sum_i f(B_{ii}) - \sum_i f(\lambda_i)
              \le \tfrac{c^2}{2}\|B - \mathrm{diag} B\|_F^2 .

    On [0, inf) the least curvature is 0: the logarithm is strictly but not strongly concave.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> float(gap_curvature(2.0, 0.5))
    1.0
    """
    c, largest = checks.positive("c", c), checks.non_negative("largest", largest)
    return ((c / (1 + c * largest)) ** 2)[()]
