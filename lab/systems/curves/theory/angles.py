r"""How angles shrink from layer to layer: one layer exactly, many layers by two sharp bounds and an Abel function."""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.models.angle_kernels import iterated_angle

__all__ = ["abel", "angle_bounds", "next_cosine"]


def next_cosine(nu):
    r"""Cosine of the angle after one infinitely wide layer, :math:`(1-\nu/\pi)\cos\nu + \sin(\nu)/\pi`; the mean inner
    product of the features at every width.

    Parameters
    ----------
    nu : array_like in [0, pi]
        Radians.

    References
    ----------
    .. [1] Cho and Saul 2009, arc-cosine kernel of order one; arXiv:2008.11245, section 2.
    """
    nu = _angle(nu)
    return ((1 - nu / np.pi) * np.cos(nu) + np.sin(nu) / np.pi)[()]


def angle_bounds(nu, layers):
    r"""Bounds of the angle after `layers` layers, lower and upper, with the best possible constants:

    .. math:: \frac{\nu}{1 + l\nu/\pi} \le \varphi^{(l)}(\nu) \le \frac{\nu}{1 + l\nu/(3\pi)}

    because :math:`1/\varphi(\nu) - 1/\nu` increases from 1/(3 pi) at 0 to 1/pi at pi. Derived for this laboratory,
    verified numerically; not found in the cited papers.

    Parameters
    ----------
    nu : array_like in [0, pi]
    layers : array_like, >= 0

    Returns
    -------
    lower, upper : array
        In radians; of the joint shape.
    """
    nu, layers = _angle(nu), checks.non_negative("layers", layers)
    return (nu / (1 + layers * nu / np.pi))[()], (nu / (1 + layers * nu / (3 * np.pi)))[()]


def abel(nu):
    r"""Abel function A of the angle map: :math:`A(\varphi(\nu)) = A(\nu) + 1`, so that

    .. math:: \frac{3\pi}{\varphi^{(l)}(\nu)} = l + \tfrac32 \log l + A(\nu) + o(1).

    With :math:`w = 3\pi/\nu`, a layer is :math:`w \mapsto w + 1 + \tfrac{3}{2w} + (\tfrac52 + \tfrac{3\pi^2}5) w^{-2} +
    O(w^{-3})`, hence :math:`A = w - \tfrac32\log w + (1 + \tfrac{3\pi^2}{5})/w + O(w^{-2})`, evaluated after 3000
    layers: absolute error 1e-6. Derived for this laboratory, verified numerically; not found in the cited papers.

    Parameters
    ----------
    nu : array_like in (0, pi]

    Examples
    --------
    >>> round(float(abel(0.5) - abel(np.pi)) / 8, 5)  # the skeleton without its constant, infinitely deep
    1.42663
    """
    nu = checks.checked("nu", nu, lambda v: (v > 0) & (v <= np.pi), "must be an angle in (0, pi] radians")
    layers = 3000
    w = 3 * np.pi / iterated_angle(nu, layers)
    return (w - 1.5 * np.log(w) + (1 + 0.6 * np.pi**2) / w - layers)[()]


def _angle(nu):
    return checks.checked("nu", nu, lambda v: (v >= 0) & (v <= np.pi), "must be an angle in [0, pi] radians")
