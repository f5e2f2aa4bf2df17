r"""CTRL-MSP with too few dimensions, or with classes that are no direct sum.

With ``d_z < sum d_j`` the value of `equilibrium` remains an upper bound, reached iff the optimal ranks fit,
``sum k_j* <= d_z``. Otherwise the best orthogonal classes, some of them perhaps sacrificed (rank 0), are a lower bound
and often the optimum, but not always: classes of rank one do better as a frame of lines, or two on one line
(`lines_value`).

Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from lab.checks import positive
from lab.errors import OutOfDomain
from lab.systems.ctrl.theory.multiple_subspaces import best_rank, problem, rank_value, slot

__all__ = ["Allocation", "direct_sum_bound", "lines_value", "orthogonal_allocation", "planes_in_space"]


_MOST_LINES = 16


class Allocation(NamedTuple):
    """Value in nats and rank of each class (0: sacrificed)."""

    value: float
    ranks: np.ndarray


def direct_sum_bound(class_sizes: Sequence[int], ranks: Sequence[int], dim: int, *, eps: float) -> Allocation:
    """Upper bound on the leader's value for any d_z and any data: what `equilibrium` gives with d_z large enough.

    Reached for classes in direct sum iff the ranks returned sum to `dim` at most. Arguments as in `equilibrium`.

    Examples
    --------
    >>> found = direct_sum_bound((40, 40), (3, 3), 4, eps=1.3**0.5)
    >>> round(found.value, 6), found.ranks.tolist()
    (0.228887, [1, 1])
    """
    gamma, u, d = problem(class_sizes, ranks, dim, eps)
    k = best_rank(u, gamma, d)
    return Allocation(float(np.sum(rank_value(u, gamma, k))), k)


def orthogonal_allocation(class_sizes: Sequence[int], ranks: Sequence[int], dim: int, *, eps: float) -> Allocation:
    r"""Best mutually orthogonal classes in d_z dimensions:
    :math:`\max\sum_j\tfrac12k_j\varphi(u_j/k_j)` over :math:`0\le k_j\le d_j,\ \sum k_j\le d_z`.

    Exact, by dynamic programming over classes. A class of rank 0 has no energy (the constraint is slack).
    Arguments as in `equilibrium`, any `dim`.

    Examples
    --------
    >>> orthogonal_allocation((30, 30, 30), (1, 1, 1), 2, eps=0.5).ranks.tolist()
    [1, 1, 0]
    """
    gamma, u, d = problem(class_sizes, ranks, dim, eps)
    best, chosen = np.zeros(dim + 1), []
    for energy, fraction, most in zip(u, gamma, d, strict=True):
        worth = rank_value(energy, fraction, np.arange(most + 1))
        left = np.arange(dim + 1)[:, None] - np.arange(most + 1)
        total = np.where(left >= 0, best[np.maximum(left, 0)] + worth, -np.inf)
        chosen.append(np.argmax(total, axis=1))
        best = np.max(total, axis=1)
    room, found = dim, []
    for choice in reversed(chosen):
        found.append(int(choice[room]))
        room -= found[-1]
    return Allocation(float(best[-1]), np.array(found[::-1]))


def lines_value(class_sizes: Sequence[int], dim: int, *, eps: float) -> Allocation:
    r"""The leader's value for classes of rank one in d_z dimensions, any number of them.

    .. math:: \max_S\ \tfrac12\sum_{i\le d_z}\log(1+\lambda_i)-\sum_{j\in S}\tfrac{\gamma_j}2\log(1+\beta)

    over the sets S of classes that keep their energy. Among lines of reduced energies u_j = beta gamma_j, j in S, the
    moment of all with the most equal spectrum has a large class alone on its own line, with lambda = u_j, and all
    classes that are below the mean of what is left in a tight frame: equal lambda on the other dimensions.

    Parameters
    ----------
    class_sizes : sequence of int
        n_j of two to sixteen classes.
    dim : int
        d_z.
    eps : float, > 0

    Returns
    -------
    Allocation
        `ranks` are 1 for the classes in S.

    Notes
    -----
    Every spectrum lambda that majorises the energies occurs (Schur and Horn), and the most equal one maximises the
    first term. That energies are either zero or full is verified numerically only.

    Examples
    --------
    >>> frame = lines_value((30, 30, 30), 2, eps=2.0)
    >>> round(frame.value, 6), frame.ranks.tolist()
    (0.020411, [1, 1, 1])
    >>> int(lines_value((30, 30, 30), 2, eps=0.7).ranks.sum())
    2
    """
    gamma, u, _ = problem(class_sizes, [1] * len(class_sizes), dim, eps)
    if gamma.size > _MOST_LINES:
        raise OutOfDomain(f"class_sizes has {gamma.size} classes: at most {_MOST_LINES}, whose subsets are all tried")
    best = Allocation(0.0, np.zeros(gamma.size, dtype=int))
    cost = 0.5 * gamma * np.log1p(u / gamma)
    for kept in product((0, 1), repeat=gamma.size):
        chosen = np.array(kept)
        left = np.sort(u[chosen == 1])[::-1]
        alone: list[float] = []
        while left.size and len(alone) < dim - 1 and left[0] > left.sum() / (dim - len(alone)):
            alone.append(left[0])
            left = left[1:]
        rest = dim - len(alone)
        value = 0.5 * (np.sum(np.log1p(alone)) + rest * np.log1p(left.sum() / rest)) - float(cost @ chosen)
        if value > best.value:
            best = Allocation(float(value), chosen)
    return best


def planes_in_space(beta):
    r"""The leader's value for two planes in R³ with equal numbers of samples: :math:`\varphi_{1/2}(\beta/2)`.

    The encoder annihilates the common line; one direction of each class is left. Numerical, for any angle.

    Parameters
    ----------
    beta : array_like, > 0
        d_z/eps².

    Examples
    --------
    >>> round(float(planes_in_space(40.0)), 6)
    1.187736
    """
    return slot(positive("beta", beta) / 2, 0.5)
