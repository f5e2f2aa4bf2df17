r"""Where the equilibrium of CTRL-MSP gains a rank: a staircase in the distortion, and published conditions.

Rank r of class j is better than rank r - 1 iff

.. math:: \epsilon^4<c(\gamma_j,r)\,\frac{n_jd_z^2}{n\,r^2},\qquad c(\gamma,r)=\gamma/w^2,\qquad
          r\,\varphi(w)=(r-1)\,\varphi\bigl(\tfrac{wr}{r-1}\bigr),

with ``w = u_j/r``. The published theorem has c = 1 at r = d_j; that is where isotropic full rank stops being a *local*
maximum (w = sqrt gamma), long after it stopped being the global one. c decreases in r, to the tangent value
``gamma/tangent_point(gamma)²``, and falls to 0 like 1/log(1/gamma): no constant serves all class shares.

Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab.checks import checked, positive
from lab.systems.ctrl.theory.multiple_subspaces import slot, tangent_point

__all__ = ["constant_distortion", "exchange_curvature", "rank_constant", "step_distortions", "two_levels"]


def rank_constant(gamma, rank=None):
    r"""The constant c(gamma, r) of the condition under which rank r beats rank r - 1; without `rank` its limit r to oo.

    Parameters
    ----------
    gamma : array_like, in (0, 1)
        Share of the class.
    rank : array_like of int, >= 2, optional

    Returns
    -------
    array
        Relative error about 2e-15 r.

    Examples
    --------
    >>> [round(float(rank_constant(g, r)), 4) for g, r in ((0.5, 2), (0.1, 2), (0.01, 10))]
    [0.4214, 0.3933, 0.1799]
    >>> round(float(rank_constant(1e-4)), 4)
    0.1008
    """
    point = tangent_point(gamma)
    if rank is None:
        return (gamma / point**2)[()]
    r = checked("rank", rank, lambda k: (k >= 2) & (k == np.floor(k)), "must be an integer >= 2; rank 1 cannot be lost")
    # r phi(C/r) peaks at C = r u_t: below (r-1) u_t rank r - 1 is better, above r u_t rank r is
    low, high = np.broadcast_arrays((r - 1) / r * point, point)
    for _ in range(54):
        middle = 0.5 * (low + high)
        more = r * slot(middle, gamma) > (r - 1) * slot(middle * r / (r - 1), gamma)
        low, high = np.where(more, low, middle), np.where(more, middle, high)
    return (gamma / (0.5 * (low + high)) ** 2)[()]


def constant_distortion(constant, gamma, dim, rank):
    """The eps at which ``eps^4 = constant gamma dim²/rank²``: where a condition with this constant ends."""
    constant, gamma, dim, rank = (
        positive(name, value)
        for name, value in (("constant", constant), ("gamma", gamma), ("dim", dim), ("rank", rank))
    )
    return (constant * gamma * (dim / rank) ** 2) ** 0.25


def step_distortions(gamma, dim, most):
    """Distortions at which the rank of a class falls to 1, 2, ..., most - 1: array (most - 1,), decreasing.

    Parameters
    ----------
    gamma : float, in (0, 1)
    dim : int
        d_z.
    most : int, >= 2
        d_j.

    Examples
    --------
    >>> step_distortions(0.5, 4, 2).round(5).tolist()
    [0.95812]
    """
    rank = np.arange(2, int(most) + 1)
    return constant_distortion(rank_constant(gamma, rank), gamma, dim, rank)


def two_levels(energy, gamma):
    r"""Two different levels that share an energy critically: the roots of :math:`x+y=E,\ xy=\gamma`.

    :math:`\varphi'(x)=\varphi'(y)` has no other solution with x != y, so an optimum with two nonzero levels would have
    to sit there.

    Parameters
    ----------
    energy : array_like, > 2 sqrt(gamma)
        Reduced energy of the two directions together.
    gamma : array_like, in (0, 1)

    Returns
    -------
    (low, high) : arrays
    """
    gamma = checked("gamma", gamma, lambda g: (g > 0) & (g < 1), "must lie in (0, 1)")
    rule = "must exceed 2 sqrt(gamma); below there is no pair of levels"
    energy = checked("energy", energy, lambda e: e > 2 * np.sqrt(gamma), rule)
    high = 0.5 * (energy + np.sqrt((energy - 2 * np.sqrt(gamma)) * (energy + 2 * np.sqrt(gamma))))
    return gamma / high, high


def exchange_curvature(energy, gamma):
    r"""Second derivative of the rate reduction as energy moves between the `two_levels`:
    :math:`\tfrac12[\varphi''(x)+\varphi''(y)]=\frac{(1-\gamma)(E^2-4\gamma)}{2\gamma(1+\gamma+E)^2}>0`.

    Positive: the point is a minimum along this direction, so no maximum has two different nonzero levels.

    Notes
    -----
    With ``xy = gamma`` the two terms are ``(1-gamma)(y - x)/(x (1+gamma+E)²)`` and the same with x and y exchanged.
    """
    low, high = two_levels(energy, gamma)
    return 0.5 * (1 - gamma) * (high - low) ** 2 / (low * high * (1 + gamma + low + high) ** 2)
