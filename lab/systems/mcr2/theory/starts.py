r"""Which directions of a start can survive ascent on the regularised objective, whatever the overlap of the classes.

Reduced units: ``u = alpha sigma²`` for a singular value ``sigma`` of one class, ``tau = lambda/alpha``, class fraction
``x``. Why overlap never helps: the inverse of ``M = I + alpha Z^T Z`` is at most that of ``I + alpha G_k``, so along
the j-th right singular vector of a class its growth is at most the growth ``2 alpha h'(u_j; x_k, tau)`` that it would
have alone. Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.flow import ascent_map
from lab.systems.mcr2.theory.thresholds import nonzero_branch_exists, u_minus

__all__ = ["comparable_step", "growth_ceiling", "rank_ceiling", "survival_threshold"]


def comparable_step(alpha, lam):
    r"""The step :math:`1/(\alpha+\lambda)` up to which one step of ascent obeys `growth_ceiling`.

    For reduced squared singular values up to sqrt(x), on which survival is decided, twice as long steps do:
    ``2/(alpha + 2 lambda)``.

    Notes
    -----
    One step is ``Z_k <- Z_k (Q - S)`` with ``Q`` a function of ``G_k`` and ``0 <= S <= step alpha I``. With
    ``|S^(1/2) g|² >= |S g|²/(step alpha)`` the claim for the j-th singular value reduces to the scalar inequality
    ``v (q_v² - q_u²) + s v (q_v - q_u)²/(2 q_u - s) <= (u - v) q_u²`` for all ``v <= u``, where ``s = step alpha`` and
    ``q_u = 1 + 2 s h'(u)``; it holds since ``v (q_v - q_u) <= s (u - v)/4`` and ``q_u >= s`` for these steps.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> float(comparable_step(2.0, 0.5))
    0.4
    """
    return (1 / (domain.positive("alpha", alpha) + domain.multiplier(lam, "lam")))[()]


def growth_ceiling(u, x, tau, step=None):
    r"""Most that the j-th reduced squared singular value of a class can be after one step: :math:`u(1+2sh'(u))^2`.

    Parameters
    ----------
    u : array_like, >= 0
        Reduced squared singular values of one class before the step.
    x : array_like, in (0, 1]
        Fraction of that class.
    tau : array_like, > 0
        lambda/alpha.
    step : array_like, optional
        Step times alpha, at most (and by default) ``1/(1 + tau)``, see `comparable_step`.

    Returns
    -------
    array
        Attained if the class is orthogonal to all others. For gradient flow: ``du/dt <= 4 alpha u h'(u; x, tau)``.

    Raises
    ------
    OutOfDomain
        For a longer step.
    """
    tau = domain.multiplier(tau)
    longest = comparable_step(1.0, tau)
    step = longest if step is None else step
    rule = "exceeds 1/(1 + tau), up to which overlap is known not to help; take shorter steps"
    domain.checked("step", step, lambda v: (v > 0) & (v <= longest * (1 + 1e-12)), rule)
    return ascent_map(u, x, tau, step=step)


def survival_threshold(x, tau):
    r"""Reduced squared singular value at or below which a direction of a class dies: :math:`u_-(x,\tau)`.

    Infinite beyond the spinodal, where the class dies from every start. Sufficient for death from any start, with
    classes at any angles; necessary if they are orthogonal (`direction_survives`).

    Examples
    --------
    >>> survival_threshold([0.5, 0.5], [0.1, 0.2]).round(6).tolist()
    [0.149219, inf]
    """
    exists = nonzero_branch_exists(x, tau)
    return np.where(exists, u_minus(x, tau, where=exists), np.inf)[()]


def rank_ceiling(u, x, tau):
    """Most directions of each class that can survive: how many of its reduced squared singular values are above u_-.

    Parameters
    ----------
    u : array_like, shape (..., K, r)
        Reduced squared singular values ``alpha sigma²`` of each class at the start (or at any time: the count only
        falls), in any order; pad with zeros.
    x, tau
        Class fractions (..., K), and lambda/alpha.

    Returns
    -------
    array of int, shape (..., K)

    Examples
    --------
    >>> rank_ceiling([[0.05, 0.2], [0.3, 9.0]], [0.5, 0.5], 0.1).tolist()
    [1, 2]
    """
    u = domain.non_negative("u", u)
    threshold = np.minimum(survival_threshold(x, tau), np.finfo(float).max)
    return np.sum(u > threshold[..., None], axis=-1)
