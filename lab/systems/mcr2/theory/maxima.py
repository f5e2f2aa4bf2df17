r"""The global maximum of the regularised objective, its published form, and the ladder of local maximal values.

.. math:: F(Z) = \Delta R(Z) - \tfrac{\lambda}{2}\|Z\|_F^2

Arguments are the class sizes (N_1, ..., N_K) and the dimension d of the features; samples are rows, so Z has shape
(sum N_k, d).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.thresholds import direction_value, maxwell, nonzero_branch_exists, spinodal, u_plus

__all__ = [
    "GlobalMaximum",
    "ValueLadder",
    "branch_value",
    "class_value",
    "global_maximum",
    "published_global_maximum",
    "published_multiplier_bound",
    "value_ladder",
]


class GlobalMaximum(NamedTuple):
    """The largest value of F and a maximiser: orthogonal classes, each with equal singular values.

    Attributes
    ----------
    value : float
        max F, in nats.
    ranks : array of int, shape (K,)
        Rank of each class (one choice among ties).
    u : array, shape (K,)
        Reduced squared singular value alpha sigma² of each class; 0 for a class of rank 0.
    energy : float
        ||Z*||_F²; the derivative of the maximal value with respect to lambda is ``-energy/2`` (envelope theorem).
    """

    value: float
    ranks: np.ndarray
    u: np.ndarray
    energy: float


class ValueLadder(NamedTuple):
    """Values of all local maxima, ascending, with the ranks that give them.

    Attributes
    ----------
    values : array, shape (L,)
        Nats; distinct rank vectors may share a value.
    ranks : array of int, shape (L, S)
        Total rank of the classes of each distinct size.
    sizes : array of int, shape (S,)
        The distinct class sizes, ascending.
    """

    values: np.ndarray
    ranks: np.ndarray
    sizes: np.ndarray


def branch_value(x, tau, *, where=True):
    r"""Value :math:`h(u_+(x,\tau))` of one direction on the upper branch, in nats; negative beyond `maxwell`.

    `where` masks entries as in `u_plus` (masked entries are NaN).
    """
    u = u_plus(x, tau, where=where)
    safe = np.where(where, u, 0.0)
    return np.where(where, direction_value(safe, x, tau), np.nan)[()]


def class_value(x, tau):
    r"""What a direction of a class is worth at best: :math:`v=\max(0, h(u_+))`, 0 beyond `maxwell`; any tau > 0.

    Decreasing in x: small classes are worth more. Derived for this laboratory, verified numerically; not found in
    the cited papers.
    """
    exists = nonzero_branch_exists(x, tau)
    return np.maximum(0.0, np.where(exists, branch_value(x, tau, where=exists), 0.0))[()]


def _fill(n, capacity: int, open_) -> np.ndarray:
    """Ranks given to classes by ascending size until `capacity` is used; only classes with `open_` take part."""
    rank = np.zeros(n.size, dtype=int)
    for k in np.argsort(n, kind="stable"):
        if open_[k]:
            rank[k] = min(int(n[k]), capacity)
            capacity -= rank[k]
    return rank


def _filled(n, dim: int, alpha: float, tau: float, open_) -> GlobalMaximum:
    rank = _fill(n, dim, open_)
    x, used = n / n.sum(), rank > 0
    u = np.where(used, u_plus(x, tau, where=used), 0.0)
    value = float(np.sum(rank * direction_value(u, x, tau)))
    return GlobalMaximum(value, rank, u, float(np.sum(rank * u)) / alpha)


def global_maximum(class_sizes: Sequence[int], dim: int, *, eps: float, lam: float) -> GlobalMaximum:
    r"""Global maximum of F, for any lambda > 0.

    .. math:: \max F = \sum_k r_k v_k,\qquad v_k=\max(0, h(u_+(x_k,\tau); x_k,\tau)).

    Classes sorted by ascending size receive ``r_k = min(N_k, d - already used)`` if ``tau < maxwell(x_k)`` and 0
    otherwise. The maximisers are the mutually orthogonal blocks with these ranks whose nonzero singular values are
    all ``sqrt(u_k/alpha)``. Among classes of equal size any split of the ranks is optimal (the first gets them
    here); exactly at ``tau = maxwell(x_k)`` the rank of class k is optional.

    Parameters
    ----------
    class_sizes : sequence of int
        (N_1, ..., N_K).
    dim : int
        Dimension d of the features.
    eps : float, > 0
        Distortion.
    lam : float, > 0
        Regularisation weight, F = Delta R - (lam/2) ||Z||².

    Returns
    -------
    GlobalMaximum

    Notes
    -----
    Corrects the published statement, see `published_global_maximum`. Derived for this laboratory, verified
    numerically; not found in the cited papers.

    Examples
    --------
    >>> best = global_maximum((4, 8, 18), 8, eps=0.5, lam=0.2)
    >>> round(best.value, 6), best.ranks.tolist()
    (1.134824, [4, 4, 0])
    """
    n, dim = domain.sizes(class_sizes), domain.integer("dim", dim, 1)
    alpha = domain.gram_scale(int(n.sum()), dim, eps=eps)
    tau = float(domain.multiplier(lam, "lam")) / alpha
    return _filled(n, dim, alpha, tau, tau < maxwell(n / n.sum()))


def published_multiplier_bound(class_sizes: Sequence[int], dim: int, *, eps: float) -> float:
    r"""Right end of the published interval for lambda: :math:`\alpha\min_k(1-\sqrt{x_k})/(1+\sqrt{x_k})`.

    It belongs to the largest class. The published interval is closed there; the classification of critical points
    fails at the end point itself.

    References
    ----------
    .. [1] arXiv:2406.01909, Theorem 1.
    """
    n = domain.sizes(class_sizes)
    return domain.gram_scale(int(n.sum()), dim, eps=eps) * float(np.min(spinodal(n / n.sum())))


def published_global_maximum(class_sizes: Sequence[int], dim: int, *, eps: float, lam: float) -> GlobalMaximum:
    r"""Global maximum as printed: ranks always add up to :math:`\min(N, d)`, for every admissible lambda.

    The same filling as `global_maximum` without the condition ``tau < maxwell(x_k)``. False whenever a class with
    ``maxwell(x_k) < tau`` receives rank: its directions have negative value and zero is better.

    Raises
    ------
    OutOfDomain
        If lambda exceeds `published_multiplier_bound`, outside of which the published theorem says nothing.

    References
    ----------
    .. [1] arXiv:2406.01909, Theorem 1 (global maximisers), as restated in the open book "Deep representation
       learning" (Ma-Lab-Berkeley), chapter 3.

    Examples
    --------
    Counterexample: the claimed maximum is below F(0) = 0.

    >>> lam = 0.95 * published_multiplier_bound((4, 4), 4, eps=0.5)
    >>> round(published_global_maximum((4, 4), 4, eps=0.5, lam=lam).value, 6)
    -0.037848
    """
    n, dim = domain.sizes(class_sizes), domain.integer("dim", dim, 1)
    alpha = domain.gram_scale(int(n.sum()), dim, eps=eps)
    bound = published_multiplier_bound(class_sizes, dim, eps=eps)
    rule = f"the published theorem needs lam in (0, {bound!r}]; use global_maximum for any lam > 0"
    tau = float(domain.checked("lam", lam, lambda v: (v > 0) & (v <= bound), rule)) / alpha
    return _filled(n, dim, alpha, min(tau, float(np.min(spinodal(n / n.sum())))), np.ones(n.size, dtype=bool))


def value_ladder(
    class_sizes: Sequence[int], dim: int, *, eps: float, lam: float, max_levels: int = 200_000
) -> ValueLadder:
    r"""All values that F takes at its local maxima: :math:`\sum_k r_k h(u_+(x_k,\tau))`.

    Integers ``0 <= r_k <= min(N_k, d)``, ``sum r_k <= d``, and ``r_k = 0`` for classes beyond their spinodal. A
    direction may have negative value (between `maxwell` and `spinodal`). From almost every start gradient ascent
    ends on one of these levels. Classes of equal size are interchangeable and are counted together.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Parameters
    ----------
    class_sizes, dim, eps, lam
        As in `global_maximum`.
    max_levels : int
        Refuse to enumerate more rank vectors than this.

    Returns
    -------
    ValueLadder

    Raises
    ------
    OutOfDomain
        If the ladder would have more than `max_levels` entries before the constraint ``sum r_k <= d``.
    """
    n, dim = domain.sizes(class_sizes), domain.integer("dim", dim, 1)
    tau = float(domain.reduced_multiplier(lam, int(n.sum()), dim, eps=eps))
    size, count = np.unique(n, return_counts=True)
    exists = nonzero_branch_exists(size / n.sum(), tau)
    top = np.where(exists, np.minimum(count * np.minimum(size, dim), dim), 0)
    total = math.prod(int(t) + 1 for t in top)
    if total > max_levels:
        raise OutOfDomain(f"max_levels={max_levels}: {total} rank vectors to enumerate; raise max_levels or lower dim")
    rank = np.stack(np.meshgrid(*[np.arange(t + 1) for t in top], indexing="ij"), axis=-1).reshape(-1, size.size)
    rank = rank[rank.sum(axis=1) <= dim]
    worth = np.where(exists, branch_value(size / n.sum(), tau, where=exists), 0.0)
    values = rank @ worth
    order = np.argsort(values, kind="stable")
    return ValueLadder(values[order], rank[order], size)
