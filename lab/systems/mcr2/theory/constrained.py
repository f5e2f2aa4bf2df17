r"""The constrained problem: largest rate reduction at fixed class energies and bounded class ranks.

.. math:: \max\ \Delta R(Z)\quad\text{s.t.}\quad \|Z_k\|_F^2 = N_k,\ \mathrm{rank}\,Z_k \le d_k,\qquad \sum_k d_k \le d.

With ``c = d/eps²`` and ``x_k = N_k/N`` a class has the reduced energy ``C_k = alpha ||Z_k||² = x_k c`` to spend on its
singular directions, each worth ``f(u; x_k)/2`` (`rate_gain`). All spent directions get the same share: `r` of them are
worth ``r f(C/r)/2``, which rises in `r` as long as ``C/r`` exceeds the Maxwell point ``u_t(x)``, then falls.

Samples are rows, Z of shape (sum N_k, d); the papers use columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.thresholds import maxwell_point, rate_gain

__all__ = [
    "ConstrainedMaximum",
    "class_optimum",
    "constrained_maximum",
    "constrained_ranks",
    "energy_bound",
    "rank_threshold",
]


class ConstrainedMaximum(NamedTuple):
    """The largest rate reduction under the constraints and its maximiser: orthogonal classes, equal singular values.

    Attributes
    ----------
    value : float
        max Delta R, in nats.
    ranks : array of int, shape (K,)
        Rank of each class; the larger one where two are equally good.
    u : array, shape (K,)
        Reduced squared singular value ``alpha sigma² = x_k c/r_k`` of each class.
    singular_values : array, shape (K,)
        ``sqrt(N_k/r_k)``, in the units of Z.
    shares : array, shape (K,)
        What each class contributes to `value`, in nats.
    """

    value: float
    ranks: np.ndarray
    u: np.ndarray
    singular_values: np.ndarray
    shares: np.ndarray


def _spread(energy, x, rank):
    """Twice the worth of `rank` directions that share a reduced energy: r f(C/r; x)."""
    return rank * rate_gain(energy / rank, x)


def class_optimum(x, energy, max_rank):
    r"""Best number of singular directions for one class, and their worth :math:`\max_{r\le m}\tfrac12 r f(C/r; x)`.

    Parameters
    ----------
    x : array_like, in (0, 1)
        Class fraction.
    energy : array_like, > 0
        Reduced energy ``C = alpha ||Z_k||_F²`` of the class (``x d/eps²`` if ``||Z_k||_F² = N_k``).
    max_rank : array_like of int, >= 1
        Largest rank m.

    Returns
    -------
    (rank, worth) : arrays
        The larger rank where two are equally good; worth in nats.

    Notes
    -----
    The worth is unimodal in r with its real maximum at ``C/u_t(x)`` (`maxwell_point`), so one of the two integers next
    to it is best. Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> rank, worth = class_optimum(0.25, 5.0, 6)
    >>> int(rank), round(float(worth), 6)
    (5, 0.726969)
    """
    x = domain.checked("x", x, lambda v: (v > 0) & (v < 1), "must lie in (0, 1); pass N_k/N")
    energy = domain.positive("energy", energy)
    rule = "must be an integer >= 1; a class with energy has a direction"
    most = domain.checked("max_rank", max_rank, lambda v: (v >= 1) & (v == np.floor(v)), rule)
    low = np.clip(np.floor(energy / maxwell_point(x)), 1, most)
    high = np.minimum(low + 1, most)
    rank = np.where(_spread(energy, x, high) >= _spread(energy, x, low), high, low)
    return rank.astype(int)[()], (0.5 * _spread(energy, x, rank))[()]


def problem(class_sizes: Sequence[int], dim: int, max_ranks: Sequence[int]) -> tuple[np.ndarray, int, np.ndarray]:
    """(sizes, d, largest rank that each class can have), checked."""
    n, dim = domain.sizes(class_sizes), domain.integer("dim", dim, 1)
    if n.size < 2:
        raise OutOfDomain(f"class_sizes={class_sizes!r}: one class alone has rate reduction zero; pass two or more")
    most = domain.ranks("max_ranks", max_ranks, n.size)
    if np.any(most < 1):
        raise OutOfDomain(f"max_ranks={max_ranks!r}: a class of energy N_k has rank at least 1; pass d_k >= 1")
    return n, dim, np.minimum(np.minimum(most, n), dim)


def _energies(n: np.ndarray, dim: int, eps: float) -> np.ndarray:
    return n / n.sum() * dim / float(domain.positive("eps", eps)) ** 2


def constrained_ranks(class_sizes: Sequence[int], dim: int, max_ranks: Sequence[int], *, eps: float) -> np.ndarray:
    r"""Optimal rank of each class: :math:`r_k^*=\arg\max_{1\le r\le\min(d_k,N_k)} r f(x_k c/r; x_k)`.

    Parameters
    ----------
    class_sizes : sequence of int
        (N_1, ..., N_K), K >= 2.
    dim : int
        Dimension d of the features.
    max_ranks : sequence of int, >= 1
        (d_1, ..., d_K), the largest rank allowed to each class.
    eps : float, > 0
        Distortion, for features of unit mean squared norm (``||Z_k||_F² = N_k``).

    Returns
    -------
    array of int, shape (K,)
        The larger rank where two are equally good.

    Raises
    ------
    OutOfDomain
        If the ranks add up to more than `dim`: the classes cannot be orthogonal, and the optimum is not known.

    Notes
    -----
    The classes are independent (`class_optimum`). Ranks fall in unit steps as eps grows, at the distortions given by
    `rank_threshold`. Derived for this laboratory, verified numerically; not found in the cited papers.

    References
    ----------
    .. [1] arXiv:2006.08558, Theorem 2.1 (the problem).

    Examples
    --------
    >>> constrained_ranks((30, 10), 8, (4, 4), eps=0.8).tolist()
    [4, 3]
    """
    n, dim, most = problem(class_sizes, dim, max_ranks)
    rank, _ = class_optimum(n / n.sum(), _energies(n, dim, eps), most)
    if rank.sum() > dim:
        raise OutOfDomain(
            f"dim={dim}: the optimal ranks {rank.tolist()} need {rank.sum()} orthogonal directions; raise dim "
            "or eps, or lower max_ranks"
        )
    return rank


def constrained_maximum(
    class_sizes: Sequence[int], dim: int, max_ranks: Sequence[int], *, eps: float
) -> ConstrainedMaximum:
    r"""Largest rate reduction at class energies N_k and class ranks at most d_k.

    .. math:: \max\Delta R=\tfrac12\sum_k r_k^* f(x_k c/r_k^*; x_k),\qquad f(u;x)=\log(1+u)-x\log(1+u/x).

    Attained exactly by mutually orthogonal classes, class k with ``r_k*`` equal singular values ``sqrt(N_k/r_k*)``.
    Arguments and errors as in `constrained_ranks`.

    Notes
    -----
    The published theorem leaves open whether one singular value of a class may be smaller than the others. It never
    is: two distinct values satisfy ``u_H u_L = x``, where energy moved from the larger to the smaller one, or back,
    raises Delta R (see `rate_gain`: ``f''(u_L)/|f''(u_H)| = u_H²/x > 1``). Derived for this laboratory, verified
    numerically; not found in the cited papers.

    References
    ----------
    .. [1] arXiv:2006.08558, Theorem 2.1.

    Examples
    --------
    >>> best = constrained_maximum((3, 3, 3, 3), 8, (2, 2, 2, 2), eps=3.698**0.25)
    >>> round(best.value, 5), best.ranks.tolist()
    (0.60545, [1, 1, 1, 1])
    """
    rank = constrained_ranks(class_sizes, dim, max_ranks, eps=eps)
    n = domain.sizes(class_sizes)
    x, energy = n / n.sum(), _energies(n, dim, eps)
    shares = 0.5 * _spread(energy, x, rank)
    return ConstrainedMaximum(float(shares.sum()), rank, energy / rank, np.sqrt(n / rank), shares)


def energy_bound(masses, dim: int, max_ranks, *, eps: float, energies=None) -> float:
    r"""Upper bound on the rate reduction of features with given class energies, for hard or soft membership.

    .. math:: \Delta R(Z,\Pi)\le\tfrac12\sum_k\max_{1\le r\le d_k} r f(\alpha e_k/r; n_k/N),\qquad
              e_k=\mathrm{tr}(Z^\top\mathrm{diag}(\pi_k)Z)=\sum_i\Pi_{ik}\|z_i\|^2

    Parameters
    ----------
    masses : array_like, shape (K,), > 0
        ``n_k = sum_i Pi_ik``: class sizes N_k for hard membership. K >= 2.
    dim : int
        Dimension d.
    max_ranks : int or array_like, shape (K,)
        Bound on the rank of ``Z^T diag(pi_k) Z``; the bound is lower for lower ranks.
    eps : float, > 0
        Distortion.
    energies : array_like, shape (K,), optional
        e_k; by default ``e_k = n_k``, which unit rows satisfy whatever the membership.

    Returns
    -------
    float
        Nats. Equals `constrained_maximum` where the optimal ranks fit into d; attained then by hard membership.

    Notes
    -----
    The energy weighs samples with Pi, not with its square: with ``||diag(pi_k) Z||_F² = n_k``, as printed for the
    problem with soft membership, unit rows are infeasible and the bound fails. Derived for this laboratory, verified
    numerically; not found in the cited papers.

    References
    ----------
    .. [1] Open book "Deep representation learning" (Ma-Lab-Berkeley), section on the principle of maximal coding rate
       reduction: the problem with soft membership.

    Examples
    --------
    >>> round(energy_bound((3, 3, 3, 3), 8, 2, eps=3.698**0.25), 5)
    0.60545
    """
    mass = np.atleast_1d(domain.positive("masses", masses))
    if mass.ndim != 1 or mass.size < 2:
        raise OutOfDomain(f"masses={masses!r}: one class alone has rate reduction zero; pass two or more")
    scale = domain.integer("dim", dim, 1) / (mass.sum() * float(domain.positive("eps", eps)) ** 2)
    energy = mass if energies is None else domain.positive("energies", energies)
    return float(np.sum(class_optimum(mass / mass.sum(), scale * energy, max_ranks)[1]))


def rank_threshold(x, rank):
    r"""Reduced energy from which one direction more is better: the root C of
    :math:`(r+1) f(C/(r+1); x) = r f(C/r; x)`.

    A class of fraction x and reduced energy ``C = x d/eps²`` has optimal rank above `rank` iff C exceeds the
    threshold, that is iff ``eps² < x d/rank_threshold(x, rank)``.

    Parameters
    ----------
    x : array_like, in (0, 1)
        Class fraction N_k/N.
    rank : array_like of int, >= 1

    Returns
    -------
    array
        In ``(r u_t(x), (r+1) u_t(x))``; the root is unique. Relative error about ``2e-15 r/min(1, u_t(x))``, since the
        two sides differ little.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(float(rank_threshold(0.25, 1)), 5)
    1.55702
    """
    x = domain.checked("x", x, lambda v: (v > 0) & (v < 1), "must lie in (0, 1); pass N_k/N")
    rule = "must be an integer >= 1; rank 0 has no energy"
    r = domain.checked("rank", rank, lambda v: (v >= 1) & (v == np.floor(v)), rule)
    point = maxwell_point(x)
    low, high = np.broadcast_arrays(r * point, (r + 1) * point)
    for _ in range(54):  # the bracket has relative width 1/r at most
        middle = 0.5 * (low + high)
        more = _spread(middle, x, r + 1) > _spread(middle, x, r)
        low, high = np.where(more, low, middle), np.where(more, middle, high)
    return (0.5 * (low + high))[()]
