r"""Wide random networks at several points: how far they are from constant.

Derived for this laboratory, verified numerically; not found in the cited papers, except that deep random networks are
nearly constant (arXiv:2008.11245).
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.models.angle_kernels import iterated_angle

__all__ = ["initial_difference", "initial_difference_bound"]


def initial_difference(angle, depth: int) -> np.ndarray:
    r"""Mean square difference of wide random networks at two unit inputs, :math:`2(1-\cos\varphi^{(L)}(\nu))`.

    Parameters
    ----------
    angle : array, in [0, pi]
        nu, between the inputs.
    depth : int, >= 1

    Raises
    ------
    InputError
        If an angle is outside [0, pi], or the depth no whole number >= 1.
    """
    return 4 * np.sin(iterated_angle(np.asarray(angle, dtype=float), depth) / 2) ** 2


def initial_difference_bound(depth: int) -> float:
    r"""Bound of `initial_difference` over all angles, :math:`(3\pi/(L+3))^2`: deep random networks are nearly constant.

    From :math:`\varphi^{(L)}(\nu)\le\nu/(1+L\nu/3\pi)`, which increases up to the angle pi.

    Raises
    ------
    OutOfDomain
        If the depth is no whole number >= 1.
    """
    return (3 * np.pi / (checks.integer("depth", depth, 1) + 3)) ** 2
