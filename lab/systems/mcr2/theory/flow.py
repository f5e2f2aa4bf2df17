r"""Gradient flow and ascent of one singular direction, and which directions survive.

From mutually orthogonal classes gradient flow on F keeps every singular vector and decouples: each reduced squared
singular value obeys :math:`\dot u = 4\alpha\,u\,h'(u; x,\tau)`, a bistable shrinkage with stable ends 0 and u_plus.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.thresholds import direction_slope, nonzero_branch_exists, u_minus

__all__ = ["ascent_map", "direction_survives", "flow_speed"]


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
