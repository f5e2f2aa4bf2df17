r"""Gradient flow and ascent of one singular direction, and which directions survive.

From mutually orthogonal classes gradient flow on F keeps every singular vector and decouples: each reduced squared
singular value obeys :math:`\dot u = 4\alpha\,u\,h'(u; x,\tau)`, a bistable shrinkage with stable ends 0 and u_plus.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.thresholds import direction_slope, nonzero_branch_exists, u_minus

__all__ = ["ascent_map", "direction_survives", "finite_time_shift", "flow_speed"]


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
    x = domain.checked("x", x, lambda v: (v > 0) & (v < 1), "must lie in (0, 1); a class that is the whole never lives")
    critical = (1 - np.sqrt(x)) / (1 + np.sqrt(x))
    time = domain.positive("steps", steps) * np.minimum(1.0, 1.9 / (1.125 + critical))
    r = x**-0.5
    leading = (np.pi / 2) ** 2 * (1 + r) ** 3 / (r * (r - 1) * time**2)
    return (leading * (1 + 0.7 * np.sqrt(leading / critical)) ** 2)[()]
