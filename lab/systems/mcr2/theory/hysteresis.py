r"""Hysteresis of a class as its regulariser sweeps up and down across the spinodal.

On the way up the class follows its upper branch, is lost at the spinodal and stays at 0, which is a local maximum of F
for every tau; on the way down nothing brings it back but a kick above the lower branch.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.relaxation import saddle_node
from lab.systems.mcr2.theory.thresholds import direction_value, merge_point, spinodal, u_plus

__all__ = ["loop_area", "return_multiplier", "sweep_delay"]


def return_multiplier(kick, x):
    r"""Largest tau at which a class at 0 returns after a kick of reduced squared singular value `kick`.

    .. math:: \tau = \frac{1}{1+v}-\frac{1}{1+v/x} = \frac{v(1-x)}{(1+v)(x+v)},\qquad v=\min(\text{kick},\sqrt x),

    the inverse of the lower branch: ``u_minus(x, tau) = kick``. A kick at or above the merge point sqrt(x) returns up
    to the spinodal, whatever its size. Of a kick with several singular values, orthogonal to the other classes, each
    decides for itself; 0 (no kick) never returns.

    Examples
    --------
    >>> round(float(return_multiplier(0.1, 0.25)), 6), round(float(return_multiplier(5.0, 0.25)), 6)
    (0.194805, 0.333333)
    """
    x = domain.fraction(x)
    v = np.minimum(domain.non_negative("kick", kick), np.sqrt(x))
    return (v / (1 + v) * ((1 - x) / (x + v)))[()]


def loop_area(x, low):
    r"""Area between the ways up and down, from tau = `low` to the spinodal: :math:`\int_{low}^{\tau_c}u_+\,d\tau`.

    .. math:: 2\,[h(u_+(low);x,low) - h(\sqrt x;x,\tau_c)]

    since ``dh(u_+)/dtau = -u_+/2``: twice what a direction loses in value on its branch.

    Raises
    ------
    OutOfDomain
        If `low` is above the spinodal: there is no loop.

    Examples
    --------
    >>> round(float(loop_area(0.25, 0.1)), 6)
    0.577343
    """
    top = direction_value(merge_point(x), x, spinodal(x))
    return 2 * (direction_value(u_plus(x, low), x, low) - top)


def sweep_delay(x, rate, window=3.0):
    r"""How far above the spinodal (in tau) a class on its upper branch is lost while tau grows at `rate`.

    .. math:: \tau_{loss}-\tau_c = \Omega\Big(\frac{\kappa^2v^2}{4}\Big)^{1/3}
              + \frac{v}{2\tau_c}\Big[L-\frac{(1+r)^2}{2r}\coth\tfrac L2\Big] + O(v^{4/3}),\qquad r=\sqrt x,

    ``v`` the rate per time 1/alpha, ``Omega = 2.33811`` the first zero of the Airy function, lost meaning
    ``u = sqrt(x) e^-L`` with L the `window`. The first term is that of any swept saddle-node
    (`SaddleNode.sweep_delay`), the second the way from there out of the window.

    References
    ----------
    .. [1] arXiv:2308.09787: hysteresis of a swept saddle-node, with noise and without (the exponent 2/3).

    Examples
    --------
    >>> round(float(sweep_delay(0.25, 1e-6)), 7)
    0.0003515
    """
    rate, window = domain.positive("rate", rate), domain.positive("window", window)
    leading = saddle_node(x).sweep_delay(rate)
    r = merge_point(x)
    way_out = window - (1 + r) ** 2 / (2 * r) / np.tanh(window / 2)
    return (leading + rate * way_out / (2 * spinodal(x)))[()]
