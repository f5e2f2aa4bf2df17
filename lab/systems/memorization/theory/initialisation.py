r"""From which starts does training lead to copies? A nearest-neighbour criterion on the first means.

A training point that has its own first mean as the nearest keeps it: the mean moves to the centroid of the points that
it wins, its own among them, and if it wins no other it becomes a copy. Points that find another mean nearer lose
theirs. The criterion, that few points do, is heuristic: shares of .99 and more have shown a transition, .76 none.
Derived for this laboratory, verified numerically; not found in arXiv:2508.17689.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.systems.memorization.theory.quadrature import chi_square_nodes, noncentral_cdf, noncentral_nodes

__all__ = ["BOUNDARY", "own_mean_share"]

BOUNDARY = 0.85
"""Share of points with their own mean nearest that divides starts with a transition from starts without."""


def own_mean_share(point: float, noise: float, d: int, others: float) -> float:
    r"""Probability that a training point is nearest to its own first mean, not to those of others in its cluster.

    The first mean of a point x is :math:`\mu+a(x-\mu)+e`, with :math:`\mu` its cluster mean, e Gaussian of variance n
    times that of the cluster. About :math:`\mu` and in units of its spread, with w the point, own squared distances are
    :math:`n\chi'^2_d((1-a)^2|w|^2/n)` and others :math:`(a^2+n)\chi'^2_d(|w|^2/(a^2+n))`, independent given w:

    .. math:: E_{|w|^2\sim\chi^2_d}\,E_{own}\,P(other>own)^{others} .

    Parameters
    ----------
    point : float, in [0, 1]
        a: 1 for training points, 0 for starts that know nothing of them, then the share is 1/(others + 1).
    noise : float, >= 0
        n.
    d : int
    others : float, >= 0
        Other means in the cluster.

    Returns
    -------
    float

    Raises
    ------
    OutOfDomain
        If `point` is outside [0, 1], `noise` or `others` negative, or all means of a cluster coincide (both 0).

    Examples
    --------
    >>> own_mean_share(1.0, 0.0, 30, 15)
    1.0
    >>> round(own_mean_share(0.0, 1.0, 30, 3), 6)
    0.25
    """
    a = float(checks.fraction("point", point, open=False))
    n, others = float(checks.non_negative("noise", noise)), float(checks.non_negative("others", others))
    d = checks.integer("d", d, 1)
    checks.positive("point² + noise", a**2 + n)
    if a == 1 and n == 0:
        return 1.0
    squares, weight = chi_square_nodes(d, 80)
    if n == 0:
        own, share = ((1 - a) ** 2 * squares)[:, None], np.ones((squares.size, 1))
    else:
        own, share = noncentral_nodes(d, (1 - a) ** 2 * squares / n, 200)
        own = n * own
    spread = a**2 + n
    farther = 1 - noncentral_cdf(own / spread, d, squares[:, None] / spread)
    return float(weight @ np.sum(share * farther**others, axis=1))
