r"""Error of the quadratic model of a curve over its tangent: third order, with the constant of the Frenet frame.

Over the tangent coordinate u of a curve with curvature kappa (derivative kappa' by arc length) and torsion tau, the
normal part is :math:`\tfrac{\kappa}{2}u^2 n+\tfrac{u^3}{6}(\kappa' n+\kappa\tau b)+O(u^4)`.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["ellipse_third_derivative", "helix_third_derivative", "model_error"]


def helix_third_derivative(a, b):
    r""":math:`\sqrt{\kappa'^2+\kappa^2\tau^2}=\frac{ab}{(a^2+b^2)^2}` of the helix :math:`(a\cos t,a\sin t,bt)`."""
    a, b = checks.positive("a", a), checks.positive("b", b)
    return (a * b / (a**2 + b**2) ** 2)[()]


def ellipse_third_derivative(a, b, t):
    r""":math:`|\kappa'|=3ab|a^2-b^2||\sin t\cos t|/v^6`, :math:`v^2=a^2\sin^2t+b^2\cos^2t`, of the ellipse
    :math:`(a\cos t,b\sin t)`.
    """
    a, b = checks.positive("a", a), checks.positive("b", b)
    v2 = (a * np.sin(t)) ** 2 + (b * np.cos(t)) ** 2
    return (3 * a * b * np.abs((a**2 - b**2) * np.sin(t) * np.cos(t)) / v2**3)[()]


def model_error(third, r):
    r"""Largest error within tangent distance r, to leading order: :math:`|h'''|r^3/6`."""
    return (checks.non_negative("third", third) * checks.positive("r", r) ** 3 / 6)[()]
