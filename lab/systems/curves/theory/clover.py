r"""Curves that wind close to themselves: when depth tells the windings apart, in closed form strand by strand.

An orbit curve of frequencies 1 and m, with little weight ``c_1²`` on the first, winds m times at distances ``2 c_1
sin(pi s/m)``. Function values that change from winding to winding live on the modes 1, ..., m - 1; all of them vanish
for windings that coincide. Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.systems.curves.theory.separation import depth_terms, separation_function

__all__ = ["strand_angles", "winding_eigenvalue"]


def strand_angles(windings, square):
    r"""Angles between a point and the same point s = 1, ..., m - 1 windings on, :math:`2\arcsin(c_1 \sin(\pi s/m))`.

    Parameters
    ----------
    windings : int, >= 2
        m.
    square : float in (0, 1)
        c_1².

    Returns
    -------
    array, shape (m - 1,)
        Radians; the first is the angle injectivity radius of the curve if c_1 is small.
    """
    m = checks.integer("windings", windings, 2)
    c1 = np.sqrt(float(checks.fraction("square", square)))
    return 2 * np.arcsin(c1 * np.sin(np.pi * np.arange(1, m) / m))


def winding_eigenvalue(mode, windings, square, depth, *, corrected=False):
    r"""Eigenvalue q of the skeleton, q = 1, ..., m - 1, on an orbit curve of m near windings, per unit of width:

    .. math:: \lambda_q = -\frac{3}{8 v} \sum_{s=1}^{m-1} \cos\frac{2\pi q s}m\, H(L \Delta_s/3\pi), \qquad
        v^2 = c_1^2 + (1 - c_1^2) m^2,

    H the separation function and Delta_s the angle to strand s. Two windings give the difference mode of a symmetric
    pair. It takes off where ``L Delta_1 ~ 3 pi``, gradually.

    Parameters
    ----------
    mode : int, 1 <= mode < windings
        q.
    windings : int, >= 2
        m.
    square : float in (0, 1)
        c_1².
    depth : array_like, > 0
        L.
    corrected : bool
        Add the next term, K/L for each strand (`separation.depth_terms`).

    Returns
    -------
    array of the shape of `depth`
        Relative error O(1/L) + O(Delta_1): 5 % at L = 30 and within 3 % at L >= 100 for c_1² <= .02.
    """
    m = checks.integer("windings", windings, 2)
    q = checks.integer("mode", mode, 1)
    checks.checked("mode", q, lambda v: v < m, f"must be less than the number of windings, {m}")
    L = checks.positive("depth", depth)
    z = L[..., None] * strand_angles(m, square) / (3 * np.pi)
    speed = np.sqrt(square + (1 - square) * m**2)
    weights = -np.cos(2 * np.pi * q * np.arange(1, m) / m)
    value = separation_function(z) + (sum(depth_terms(z)) / L[..., None] if corrected else 0.0)
    return (3 / (8 * speed) * (value @ weights))[()]
