r"""How large the distortion may be for the constrained optimum to have full rank: exactly, sufficiently, as printed.

Samples are rows; the problem and its notation are those of `lab.systems.mcr2.theory.constrained`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.constrained import problem, rank_threshold
from lab.systems.mcr2.theory.thresholds import maxwell_point

__all__ = ["full_rank_constant", "largest_full_rank_eps", "published_full_rank_eps"]


def full_rank_constant(x, rank=None):
    r"""The constant :math:`\kappa` for which :math:`\epsilon^4\le\kappa\,x d^2/r^2` makes rank r optimal for a class.

    Without `rank` the constant that suffices for every rank, :math:`\kappa(x)=x/u_t(x)^2`; with it the exact one,
    :math:`x r^2/C_{r-1}(x)^2` (`rank_threshold`), below which rank r is optimal among ranks up to r and above which it
    is not. The exact constant decreases to :math:`\kappa(x)` as r grows and is at most 2.03 times as large, at r = 2.

    Parameters
    ----------
    x : array_like, in (0, 1)
        Class fraction N_k/N.
    rank : array_like of int, >= 2, optional
        The largest rank allowed (at rank 1 there is nothing to lose).

    Returns
    -------
    array
        .212 at x = 1/2, .197 at x = 1/10, never above .2139 (at rank 2: .4245), and falling to 0 like ``1/log(1/x)``
        for small x: no universal constant works.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers, where the constant is 1 or left
    open.

    Examples
    --------
    >>> [round(float(full_rank_constant(x)), 3) for x in (0.5, 0.1, 0.01)]
    [0.212, 0.197, 0.162]
    >>> round(float(full_rank_constant(0.25, 2)), 4)
    0.4125
    """
    x = domain.checked("x", x, lambda v: (v > 0) & (v < 1), "must lie in (0, 1); pass N_k/N")
    if rank is None:
        return (x / maxwell_point(x) ** 2)[()]
    r = domain.checked("rank", rank, lambda v: v >= 2, "must be at least 2; rank 1 cannot be lost")
    return (x * (r / rank_threshold(x, r - 1)) ** 2)[()]


def largest_full_rank_eps(class_sizes: Sequence[int], dim: int, max_ranks: Sequence[int]) -> float:
    r"""Largest distortion at which every class of the constrained optimum has the largest rank it may have.

    .. math:: \epsilon^2=\min_k\frac{x_k d}{C_{m_k-1}(x_k)},\qquad m_k=\min(d_k,N_k)

    over the classes with ``m_k >= 2`` (`rank_threshold`); infinite if there is none. Beyond it the class that attains
    the minimum loses rank.

    Parameters
    ----------
    class_sizes, dim, max_ranks
        As in `constrained_ranks`.

    Returns
    -------
    float
        eps (not squared).

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(largest_full_rank_eps((3, 3, 3, 3), 8, (2, 2, 2, 2)) ** 4, 4)
    1.65
    """
    n, dim, most = problem(class_sizes, dim, max_ranks)
    many = most >= 2
    if not many.any():
        return float("inf")
    x = n[many] / n.sum()
    return float(np.sqrt(np.min(x * dim / rank_threshold(x, most[many] - 1))))


def published_full_rank_eps(
    class_sizes: Sequence[int], dim: int, max_ranks: Sequence[int], *, constant: float = 1.0
) -> float:
    r"""Distortion below which full rank is claimed: :math:`\epsilon^4<\mathrm{const}\cdot\min_k x_k d^2/d_k^2`.

    With constant 1, as printed, it is false; with an unspecified constant it is true only if that may depend on the
    class fractions (`full_rank_constant`). The exact bound is `largest_full_rank_eps`.

    References
    ----------
    .. [1] arXiv:2006.08558, Theorem 2.1 (constant 1).
    """
    n, dim, _ = problem(class_sizes, dim, max_ranks)
    bound = np.min(n / n.sum() * (dim / np.asarray(max_ranks)) ** 2)
    return float((domain.positive("constant", constant) * bound) ** 0.25)
