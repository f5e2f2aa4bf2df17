r"""CTRL-MSP: the leader's value and its equilibria.

Class j has share ``gamma_j = n_j/n`` and reduced energy ``u_j = alpha n_j = beta gamma_j`` to spend on its singular
directions; with a best response of the decoder nothing else counts. If the classes form a direct sum and
``d_z >= sum d_j``, the encoder can give every class any features of rank d_j, and Fischer's inequality makes
orthogonal classes best: what is left is how many equal directions share the energy, class by class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lab.checks import checked, integer, non_negative, positive
from lab.errors import OutOfDomain

__all__ = [
    "Equilibrium",
    "best_rank",
    "equilibrium",
    "problem",
    "rank_value",
    "share",
    "slot",
    "slot_curvature",
    "slot_slope",
    "tangent_point",
]


class Equilibrium(NamedTuple):
    """The leader's optimum.

    Attributes
    ----------
    value : float
        Nats.
    ranks : array of int, shape (K,)
        Equal nonzero singular values of each class; the larger number where two are equally good.
    u : array, shape (K,)
        Reduced squared singular value ``u_j/k_j``.
    squared_singular_values : array, shape (K,)
        ``n_j/k_j``.
    shares : array, shape (K,)
        What each class adds to `value`.
    """

    value: float
    ranks: np.ndarray
    u: np.ndarray
    squared_singular_values: np.ndarray
    shares: np.ndarray


def _gamma(gamma):
    return checked("gamma", gamma, lambda g: (g > 0) & (g <= 1), "must lie in (0, 1]; pass the share n_j/n")


def slot(u, gamma):
    r"""Slot function :math:`\varphi(u)=\log(1+u)-\gamma\log(1+u/\gamma)`: twice what a singular direction is worth.

    Parameters
    ----------
    u : array_like, >= 0
        Reduced squared singular value ``alpha sigma²`` of a class orthogonal to the others, ``alpha = d_z/(n eps²)``.
    gamma : array_like, in (0, 1]
        Share of the class.

    Returns
    -------
    array
        Nats. Increasing, :math:`\varphi'(0)=0`, convex up to :math:`\sqrt\gamma`, concave beyond.

    Examples
    --------
    >>> round(float(slot(20.0, 0.5)), 6)
    1.187736
    """
    u, gamma = non_negative("u", u), _gamma(gamma)
    return np.log1p(u) - gamma * np.log1p(u / gamma)


def slot_slope(u, gamma):
    r""":math:`\varphi'(u)=\frac1{1+u}-\frac\gamma{\gamma+u}=\frac{u(1-\gamma)}{(1+u)(\gamma+u)}\ge0`."""
    u, gamma = non_negative("u", u), _gamma(gamma)
    return u * (1 - gamma) / ((1 + u) * (gamma + u))


def slot_curvature(u, gamma):
    r""":math:`\varphi''(u)=\frac\gamma{(\gamma+u)^2}-\frac1{(1+u)^2}=\frac{(1-\gamma)(\gamma-u^2)}{((1+u)(\gamma+u))^2}`."""
    u, gamma = non_negative("u", u), _gamma(gamma)
    return (1 - gamma) * (gamma - u**2) / ((1 + u) * (gamma + u)) ** 2


def tangent_point(gamma):
    r"""The u at which a direction is worth most for its energy: :math:`\varphi(u)=u\varphi'(u)`, the maximum of phi/u.

    Parameters
    ----------
    gamma : array_like, in (0, 1)

    Returns
    -------
    array
        Between ``sqrt(gamma)`` and ``10 sqrt(gamma) (1 + log(1/gamma))``, to about 1e-15 relative.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(float(tangent_point(0.5)), 5)
    1.53501
    """
    gamma = checked("gamma", gamma, lambda g: (g > 0) & (g < 1), "must lie in (0, 1); one class alone has no reduction")
    low, high = np.sqrt(gamma), 10 * np.sqrt(gamma) * (1 - np.log(gamma))
    for _ in range(64):
        middle = np.sqrt(low * high)
        rising = slot(middle, gamma) < middle * slot_slope(middle, gamma)
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return np.sqrt(low * high)[()]


def rank_value(energy, gamma, rank):
    r"""What `rank` equal directions of a class are worth together: :math:`\tfrac12k\,\varphi(u_j/k)`, 0 for rank 0."""
    rank = checked("rank", rank, lambda k: (k >= 0) & (k == np.floor(k)), "must be an integer >= 0")
    some = np.maximum(rank, 1)
    return np.where(rank > 0, 0.5 * some * slot(non_negative("energy", energy) / some, gamma), 0.0)[()]


def best_rank(energy, gamma, most):
    r"""Number of directions that a class should have: :math:`\arg\max_{1\le k\le d_j}k\,\varphi(u_j/k)`.

    Parameters
    ----------
    energy : array_like, > 0
        Reduced energy ``u_j = beta gamma_j``.
    gamma : array_like, in (0, 1)
    most : array_like of int, >= 1
        d_j.

    Returns
    -------
    array of int
        The larger rank where two are equally good. One of the two integers next to ``u_j/tangent_point(gamma)``, since
        :math:`k\varphi(u/k)` rises in k up to there and falls beyond.

    Examples
    --------
    >>> best_rank(2.5, 0.5, [1, 2, 3]).tolist()
    [1, 2, 2]
    """
    energy = positive("energy", energy)
    most = checked("most", most, lambda k: (k >= 1) & (k == np.floor(k)), "must be an integer >= 1")
    low = np.clip(np.floor(energy / tangent_point(gamma)), 1, most)
    high = np.minimum(low + 1, most)
    return np.where(rank_value(energy, gamma, high) >= rank_value(energy, gamma, low), high, low).astype(int)[()]


def share(energy, gamma, most):
    r"""Most that a class can add: :math:`\max_{1\le k\le d_j}\tfrac12k\,\varphi(u_j/k)`, in nats."""
    return rank_value(energy, gamma, best_rank(energy, gamma, most))


def problem(class_sizes: Sequence[int], ranks: Sequence[int], dim: int, eps: float):
    """(gamma, u, d_j) of a game, checked: shares (K,), reduced energies (K,), ranks (K,)."""
    n = checked("class_sizes", class_sizes, lambda v: (v >= 1) & (v == np.floor(v)), "must be integers >= 1")
    d = checked("ranks", ranks, lambda v: (v >= 1) & (v == np.floor(v)), "must be integers >= 1")
    if n.ndim != 1 or n.size < 2 or n.shape != d.shape:
        raise OutOfDomain(f"class_sizes={class_sizes!r}, ranks={ranks!r}: pass one of each for two or more classes")
    if np.any(d > n):
        raise OutOfDomain(f"ranks={ranks!r} exceed class_sizes={class_sizes!r}: n_j samples span no more")
    gamma = n / n.sum()
    return gamma, gamma * integer("dim", dim, 1) / float(positive("eps", eps)) ** 2, d.astype(int)


def fits(d: np.ndarray, dim: int) -> None:
    """Raise OutOfDomain if the classes need more than `dim` dimensions."""
    if d.sum() > dim:
        raise OutOfDomain(f"dim={dim} is below the sum of the ranks, {d.sum()}; raise it, or see orthogonal_allocation")


def equilibrium(class_sizes: Sequence[int], ranks: Sequence[int], dim: int, *, eps: float) -> Equilibrium:
    r"""The leader's value and its optimum in CTRL-MSP, with any best response of the decoder.

    .. math:: V^*=\sum_j\max_{1\le k\le d_j}\tfrac12k\,\varphi_{\gamma_j}(u_j/k),\qquad u_j=\frac{d_zn_j}{n\epsilon^2}

    Attained exactly by mutually orthogonal classes with k_j* equal nonzero singular values and energy n_j.

    Parameters
    ----------
    class_sizes : sequence of int
        n_j, two or more classes.
    ranks : sequence of int
        d_j, ranks of the classes of data, which form a direct sum; at most n_j.
    dim : int
        d_z >= sum d_j.
    eps : float, > 0
        Distortion (not its square).

    Returns
    -------
    Equilibrium

    Raises
    ------
    OutOfDomain
        If a parameter is outside its range, or d_z is too small: see `orthogonal_allocation`.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    References
    ----------
    .. [1] arXiv:2206.09120 (the game; equilibria for small eps).

    Examples
    --------
    >>> round(equilibrium((500, 500, 500), (3, 4, 5), 40, eps=1.0).value, 12)
    3.961863935916
    """
    gamma, u, d = problem(class_sizes, ranks, dim, eps)
    fits(d, dim)
    k = best_rank(u, gamma, d)
    shares = rank_value(u, gamma, k)
    return Equilibrium(float(shares.sum()), k, u / k, np.asarray(class_sizes) / k, shares)
