r"""Actions that are never tried: learners without exploration that settle too fast."""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["starvation_probability"]


def starvation_probability(b, visits, actions=2):
    r"""Probability that only one of A actions has been tried in n visits of one state, all rewards being positive.

    .. math:: p_n=\frac1A\prod_{k=3}^n\Bigl(1-\Bigl(1-\frac1A\Bigr)\prod_{j=2}^{k-1}(1-j^{-b})\Bigr),\qquad n\ge2.

    One player, steps :math:`\beta=n^{-b}`, temperature 0, no exploration. As :math:`n\to\infty` it tends to a positive
    number for b < 1, and falls like :math:`n^{-(1-1/A)}` at b = 1.

    Parameters
    ----------
    b : float, > 0
    visits : int, >= 1
        n.
    actions : int, >= 2
        A.

    Notes
    -----
    The first visit has beta(1) = 1 and all values 0, so the second is uniform too; from then on an action tried alone
    has the only positive value, and the policy moves towards it.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> float(starvation_probability(1.0, 3))  # half, times 1 - (1/2)(1/2)
    0.375
    """
    b, n, A = float(checks.positive("b", b)), checks.integer("visits", visits, 1), checks.integer("actions", actions, 2)
    if n == 1:
        return np.float64(1.0)
    moved = np.cumprod(1 - np.arange(2, n, dtype=float) ** -b)
    return np.prod(1 - (1 - 1 / A) * moved) / A
