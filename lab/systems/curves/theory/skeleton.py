r"""The skeleton of the kernel: two bounds, its closed form for deep networks, its distance to the hidden kernel.

All per unit of width. ``w_0 = 3 pi/nu`` and ``w_L = 3 pi/phi^(L)(nu)`` are inverse angles before and after L layers.
Derived for this laboratory, verified numerically; not found in the cited papers, but for the order of the upper bound.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.models.angle_kernels import iterated_angle

__all__ = ["centre_slope", "deep_skeleton", "hidden_gap", "inverse_angle_skeleton", "skeleton_bounds"]


def skeleton_bounds(nu, depth):
    r"""Lower and upper bound of the skeleton, from the two bounds of the angle: with :math:`a = 3\pi/\nu, b = \pi/\nu`,

    .. math:: \frac12 \sum_{l=0}^{L-1} \frac{(l+a-1)(l+a-2)(l+a-3)}{(L+a-1)(L+a-2)(L+a-3)} \le \psi(\nu) \le
        \frac L4 \frac{2b + L - 3}{L + b - 1}.

    The sum is :math:`\frac18 [(L+a-4) - (a-1)(a-2)(a-3)(a-4)/((L+a-1)(L+a-2)(L+a-3))]`, which loses digits at small
    angles: it is summed.

    Parameters
    ----------
    nu : array_like in (0, pi]
    depth : int, >= 1

    Returns
    -------
    lower, upper : array of the shape of `nu`
    """
    nu, L = _angle(nu), checks.integer("depth", depth, 1)
    a, b = 3 * np.pi / nu, np.pi / nu
    lower = np.zeros_like(nu)
    for l in range(L):
        lower = lower + (l + a - 1) / (L + a - 1) * ((l + a - 2) / (L + a - 2)) * ((l + a - 3) / (L + a - 3))
    top, bottom = 2 * b + L - 3, L + b - 1
    return (lower / 2)[()], (L / 4 * np.maximum(top, 0) / bottom)[()]


def deep_skeleton(nu, depth):
    r"""The skeleton of a deep network, :math:`\tfrac L8 (1 + v^{-1} + v^{-2} + v^{-3})` with :math:`v = 1 + L\nu/3\pi`.

    Relative error O(log L/L), uniformly in the angle: .16, .027, .0062 at L = 10, 100, 1000. Its floor is L/8, a
    quarter of its peak: a skeleton does not decay.

    Parameters
    ----------
    nu : array_like in [0, pi]
    depth : array_like, > 0
    """
    nu = checks.checked("nu", nu, lambda v: (v >= 0) & (v <= np.pi), "must be an angle in [0, pi] radians")
    L = checks.positive("depth", depth)
    v = 1 + L * nu / (3 * np.pi)
    return (L / 8 * (1 + 1 / v + 1 / v**2 + 1 / v**3))[()]


def inverse_angle_skeleton(nu, depth):
    r"""The same from exact inverse angles, to order 1/L²: with :math:`\rho = w_0/w_L`,

    .. math:: \psi = \tfrac18 [w_L - w_0 \rho^3 - 6 (1 - \rho^3) + \tfrac32 (1 - \rho^4)] + O(1/L).

    Absolute error .53/L for L >= 10, relative .027, 3.7e-4, 4.1e-6 at L = 10, 100, 1000. The products of the skeleton
    are ``(w_l/w_L)³ exp(-(3/2)(1/w_l - 1/w_L))``, and their sum over l an integral over w with half of its ends.

    Parameters
    ----------
    nu : array_like in [1e-3, pi]
        Below, the difference loses more than ``eps w_0²``.
    depth : int, >= 1
    """
    nu = checks.checked("nu", nu, lambda v: (v >= 1e-3) & (v <= np.pi), "must lie in [1e-3, pi]: digits are lost below")
    w0 = 3 * np.pi / nu
    wL = 3 * np.pi / iterated_angle(nu, checks.integer("depth", depth, 1))
    rho = w0 / wL
    return ((wL - w0 * rho**3 - 6 * (1 - rho**3) + 1.5 * (1 - rho**4)) / 8)[()]


def hidden_gap(nu, depth):
    r"""Skeleton minus hidden kernel of a deep network, :math:`\tfrac{9\pi^2}8 w_L^{-1} (1 - (w_0/w_L)^2)`.

    O(1/L), since ``1 - cos`` of the angle is summable over the layers. Relative error O(log L/L).

    Parameters
    ----------
    nu : array_like in (0, pi]
    depth : int, >= 1
    """
    nu = _angle(nu)
    w0 = 3 * np.pi / nu
    wL = 3 * np.pi / iterated_angle(nu, checks.integer("depth", depth, 1))
    return (9 * np.pi**2 / 8 / wL * (1 - (w0 / wL) ** 2))[()]


def centre_slope(depth):
    r"""Slope of the skeleton at angle 0, :math:`-L(L+1)/(4\pi)`, exactly: the height of the kernel's cusp."""
    L = checks.integer("depth", depth, 1)
    return -L * (L + 1) / (4 * np.pi)


def _angle(nu):
    return checks.checked("nu", nu, lambda v: (v > 0) & (v <= np.pi), "must be an angle in (0, pi] radians")
