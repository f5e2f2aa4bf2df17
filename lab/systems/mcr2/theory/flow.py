r"""Gradient flow and ascent of one singular direction, and which directions survive.

From mutually orthogonal classes gradient flow on F keeps every singular vector and decouples: each reduced squared
singular value obeys :math:`\dot u = 4\alpha\,u\,h'(u; x,\tau)`, a bistable shrinkage with stable ends 0 and u_plus.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.thresholds import direction_slope, nonzero_branch_exists, spinodal, u_minus

__all__ = [
    "ascent_map",
    "direction_survives",
    "finite_time_shift",
    "flow_speed",
    "ghost_passage_correction",
    "ghost_passage_time",
]


def flow_speed(u, x, tau, alpha=1.0):
    r"""Speed :math:`\dot u=4\alpha u h'(u;x,\tau)` of a reduced squared singular value under gradient flow.

    Per unit of flow time for the given `alpha`; in units of 1/alpha by default.
    """
    return 4 * domain.positive("alpha", alpha) * domain.non_negative("u", u) * direction_slope(u, x, tau)


def ascent_map(u, x, tau, step=1.0):
    r"""One step of gradient ascent: :math:`u\mapsto u\,(1+2\,\mathrm{step}\,h'(u;x,\tau))^2`.

    `step` is the step size times alpha. Exact for Z <- Z + (step/alpha) grad F from mutually orthogonal classes.
    Same fixed points as the flow.
    """
    step = domain.positive("step", step)
    return domain.non_negative("u", u) * (1 + 2 * step * direction_slope(u, x, tau)) ** 2


def direction_survives(u, x, tau):
    """Whether gradient flow from reduced squared singular value `u` ends at u_plus (True) or at 0 (False).

    True iff the nonzero branch exists and ``u > u_minus(x, tau)``. At exactly u_minus the direction stays there (an
    unstable equilibrium); the answer is then False.
    """
    u, exists = domain.non_negative("u", u), nonzero_branch_exists(x, tau)
    return exists & (u > np.where(exists, u_minus(x, tau, where=exists), np.inf))


def finite_time_shift(x, steps):
    r"""How far above the spinodal (in tau) a class still looks alive after `steps` ascent steps of length 1/alpha.

    Just above the spinodal gradient flow lingers at the ghost of the merged branches; passing from ``sqrt(x) e³`` to
    ``sqrt(x) e^-3`` takes :math:`T=\tfrac{\pi}{2\alpha}\sqrt{(1+r)^3/(r(r-1))}\,\delta^{-1/2}`, ``r = x^(-1/2)``, up to
    a relative :math:`0.7\sqrt{\delta/\tau_c}` (x >= .01), so

    .. math:: \delta = \left(\tfrac{\pi}{2}\right)^2\frac{(1+r)^3}{r(r-1)\,T^2}\,
              \left(1+0.7\sqrt{\delta_0/\tau_c}\right)^2.

    Steps beyond tau of about .775 are shorter than 1/alpha (``1.9/L``), which is accounted for.
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    x = _proper(x)
    critical = (1 - np.sqrt(x)) / (1 + np.sqrt(x))
    time = domain.positive("steps", steps) * np.minimum(1.0, 1.9 / (1.125 + critical))
    r = x**-0.5
    leading = (np.pi / 2) ** 2 * (1 + r) ** 3 / (r * (r - 1) * time**2)
    return (leading * (1 + 0.7 * np.sqrt(leading / critical)) ** 2)[()]


def ghost_passage_time(x, tau, alpha=1.0, window=3.0):
    r"""Time that gradient flow takes from ``u = sqrt(x) e^window`` to ``sqrt(x) e^-window``, above the spinodal.

    .. math:: T = \int\frac{du}{4\alpha u|h'(u)|}
                = \frac1{\alpha\tau}\Big[L + \frac{2(1-x)}{\sqrt{pq}}\arctan\Big(\sqrt{q/p}\,\tanh\tfrac L2\Big)\Big],

    ``L`` the window, ``p = (1+r)² (tau - tau_c)``, ``q = (1-r)² (1/tau_c - tau)``, ``r = sqrt x``; for q < 0 the
    arctangent is a hyperbolic one. Leading order as tau -> tau_c: ``saddle_node(x, alpha).passage_time(delta)``.

    Raises
    ------
    OutOfDomain
        If tau is not above the spinodal: the branches stop the flow.

    Examples
    --------
    >>> round(float(ghost_passage_time(0.25, 1.0001 / 3)), 3)
    1001.098
    """
    x, tau = _proper(x), domain.multiplier(tau)
    alpha, window = domain.positive("alpha", alpha), domain.positive("window", window)
    critical, r = spinodal(x), np.sqrt(x)
    domain.checked("tau", tau, lambda v: v > critical, "must exceed the spinodal: below it the branches stop the flow")
    p = (1 + r) ** 2 * (tau - critical)
    q = (1 - r) ** 2 * (1 / critical - tau)
    reach = np.tanh(window / 2)
    z = np.sqrt(np.abs(q) / p) * reach
    angle = np.where(q >= 0, np.arctan(z), np.arctanh(np.where(q >= 0, 0.0, np.minimum(z, 1.0))))
    with np.errstate(divide="ignore", invalid="ignore"):
        term = np.where(np.abs(z) > 1e-8, angle / np.sqrt(p * np.abs(q)), reach / p)  # arctan z = z there
    return ((window + 2 * (1 - x) * term) / (alpha * tau))[()]


def ghost_passage_correction(x, window=3.0):
    r"""Next order of the passage time: :math:`T/T_{leading} = 1 + C\sqrt{\delta/\tau_c} + O(\delta)`.

    .. math:: C(x,L) = \frac{2\,x^{1/4}}{\pi(1+\sqrt x)}\Big[L-\frac{(1+\sqrt x)^2}{2\sqrt x}\coth\tfrac L2\Big]

    For L = 3 it lies in [-0.68, 0.26] for x >= .01, and is -1.7 at x = .001.

    Examples
    --------
    >>> round(float(ghost_passage_correction(0.01)), 3), round(float(ghost_passage_correction(0.01, window=2.0)), 3)
    (-0.674, -1.088)
    """
    r, window = np.sqrt(_proper(x)), domain.positive("window", window)
    return (2 / np.pi * np.sqrt(r) / (1 + r) * (window - (1 + r) ** 2 / (2 * r) / np.tanh(window / 2)))[()]


def _proper(x) -> np.ndarray:
    rule = "must lie in (0, 1); a class that is the whole never lives"
    return domain.checked("x", x, lambda v: (v > 0) & (v < 1), rule)
