r"""Aligned critical points, direction by direction: the entries of the atlas that can be named without enumeration.

At an aligned critical point the feature space has an orthonormal basis in which every class either fills a direction or
is absent from it. A direction shared by the classes A has effective fraction :math:`\theta=\sum_{k\in A}x_k` and a
reduced squared singular value on one of the two branches of theta; each class of A holds the share ``x_k/theta`` of it.
Orthogonal critical points are those with one class per direction. Only frames of subspaces that do not commute
(polygons, simplices: `fusion_frames`) are not of this kind.

Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.thresholds import direction_value, nonzero_branch_exists, u_minus, u_plus

__all__ = ["aligned_branch", "aligned_index", "aligned_value", "nearest_branches"]

EXACT_UP_TO = 10  # classes up to which all sets of them are tried for each direction


def _directions(members, signs, class_sizes):
    """(members (J, K) as bool, signs (J,), sizes (K,), summed sizes (J,)), checked."""
    n = domain.sizes(class_sizes)
    A = np.asarray(members, dtype=bool).reshape(-1, n.size)
    sign = np.atleast_1d(np.asarray(signs, dtype=int)).reshape(-1)
    if sign.size != len(A) or not np.all(np.abs(sign) == 1):
        raise OutOfDomain(f"signs={signs!r}: must hold +1 or -1 for each of the {len(A)} directions")
    if len(A) and not np.all(A.any(axis=1)):
        raise OutOfDomain("members: every direction needs a class; leave out directions that are zero")
    return A, sign, n, A @ n


def aligned_branch(members, signs, class_sizes: Sequence[int], *, tau: float) -> np.ndarray:
    r"""Reduced eigenvalue :math:`\alpha t_j=u_\pm(\theta_j,\tau)` of each direction, shape (J,).

    Parameters
    ----------
    members : array_like of bool, shape (J, K)
        Which classes share each direction.
    signs : array_like of +1 or -1, shape (J,)
        Branch of each direction.
    class_sizes : sequence of int
        (N_1, ..., N_K).
    tau : float
        lambda/alpha, at most the spinodal of every theta_j.
    """
    _, sign, n, total = _directions(members, signs, class_sizes)
    theta = total / n.sum()
    if theta.size == 0:
        return np.zeros(0)
    return np.where(sign > 0, u_plus(theta, tau), u_minus(theta, tau))


def aligned_value(members, signs, class_sizes: Sequence[int], *, tau: float) -> float:
    r"""Value of F: :math:`\sum_jh(u_j;\theta_j,\tau)`, in nats. Arguments as in `aligned_branch`."""
    _, _, n, total = _directions(members, signs, class_sizes)
    u = aligned_branch(members, signs, class_sizes, tau=tau)
    return float(np.sum(direction_value(u, total / n.sum(), tau))) if u.size else 0.0


def aligned_index(members, signs, class_sizes: Sequence[int], dim: int, *, tau: float) -> int:
    r"""Number of directions of positive curvature of F at an aligned critical point.

    Directions of equal theta and branch form one eigenspace E_j. With ``m_j`` its dimension, ``m_{k,j}`` the number of
    its directions that class k fills, ``m_{A,j}`` the number of those shared by exactly the classes A, and the sums
    :math:`n_j=\sum_km_{k,j}`, :math:`r=\sum_jm_j`:

    .. math:: \sum_j\Bigl[\sum_k\tfrac{m_{k,j}(m_{k,j}+1)}2-[\text{upper}]\sum_A\tfrac{m_{A,j}(m_{A,j}+1)}2
              +(n_j-m_j)(d-r)\Bigr]+\sum_{j<j'}(n_g-m_g)\,m_{\text{other}}

    where g is the one of j, j' with the larger eigenvalue: `fusion_frames.fusion_frame_index` with the symmetric
    matrices that commute with all projections counted in closed form.

    Parameters
    ----------
    members, signs, class_sizes, tau
        As in `aligned_branch`; tau below the spinodal of every theta_j.
    dim : int
        Dimension d of the features, at least J.

    Examples
    --------
    Two of three classes share a line on the upper branch, one dimension is free: they can rebalance, or part.

    >>> aligned_index([[True, True, False]], [1], (4, 4, 4), 2, tau=0.05)
    2
    """
    A, sign, _, total = _directions(members, signs, class_sizes)
    dim, r = domain.integer("dim", dim, 1), len(A)
    if r > dim:
        raise OutOfDomain(f"dim={dim}: must be at least the number {r} of directions; raise dim")
    u = aligned_branch(A, sign, class_sizes, tau=tau)
    index, spaces = 0, []
    for size, branch in np.unique(np.stack([total, sign], axis=1), axis=0):
        inside = (total == size) & (sign == branch)  # fractions are compared as whole numbers of samples
        held = A[inside].sum(axis=0)
        same = np.unique(A[inside], axis=0, return_counts=True)[1]
        m, surplus = int(inside.sum()), int(held.sum() - inside.sum())
        index += int(np.sum(held * (held + 1) // 2)) + surplus * (dim - r)
        index -= int(np.sum(same * (same + 1) // 2)) if branch > 0 else 0
        spaces.append((float(u[inside][0]), m, surplus))
    spaces.sort()
    below = 0
    for _, m, surplus in spaces:  # of two eigenspaces the one of larger eigenvalue parts into the other
        index += surplus * below
        below += m
    return index


def nearest_branches(
    energies, class_sizes: Sequence[int], *, tau: float, upper_only: bool = False, alone: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Round directions to critical ones: which classes share each, on which branch, or none (zero).

    A direction in which class k has the reduced energy ``e_k = alpha ||Z_k w||²`` is moved to shares
    ``u x_k/theta`` of the classes A at the least squared distance

    .. math:: \sum_{k\in A}\bigl(\sqrt{e_k}-\sqrt{u x_k/\theta}\bigr)^2+\sum_{k\notin A}e_k .

    Exact for up to ten classes, where all sets A are tried, and for classes of equal size, where the best A of each
    number are the classes of largest e_k: these chains, those of largest e_k/x_k and all single classes are tried.

    Parameters
    ----------
    energies : array_like, shape (J, K), >= 0
        Reduced energies of the classes in each direction.
    class_sizes : sequence of int
    tau : float
        lambda/alpha.
    upper_only : bool
        Leave out the lower branch.
    alone : bool
        One class per direction: with `upper_only` the local maxima.

    Returns
    -------
    members : array of bool, shape (J, K)
        All False for a direction rounded to zero.
    signs : array of int, shape (J,)
        +1, -1, or 0 for zero.
    u : array, shape (J,)
    """
    n, tau = domain.sizes(class_sizes), float(domain.multiplier(tau))
    e = domain.non_negative("energies", energies).reshape(-1, n.size)
    J = len(e)
    best, signs, u = np.zeros(J), np.zeros(J, dtype=int), np.zeros(J)
    members = np.zeros((J, n.size), dtype=bool)
    rows = np.arange(J)
    for theta, inner, sets in _candidates(e, n, alone):
        exists = (theta < 1) & nonzero_branch_exists(theta, tau)
        upper = u_plus(theta, tau, where=exists)
        for sign in (1,) if upper_only else (1, -1):
            value = np.where(exists, upper if sign > 0 else theta / upper, 0.0)
            change = np.where(exists, value - 2 * np.sqrt(value / theta) * inner, np.inf)
            at = np.argmin(change, axis=1)
            better = change[rows, at] < best
            best = np.where(better, change[rows, at], best)
            signs = np.where(better, sign, signs)
            u = np.where(better, np.broadcast_to(value, change.shape)[rows, at], u)
            members = np.where(better[:, None], sets(at), members)
    return members, signs, u


def _candidates(e: np.ndarray, n: np.ndarray, alone: bool) -> Iterator[tuple[np.ndarray, np.ndarray, Any]]:
    """Families of C sets A to try in each direction: theta (C,) or (J, C), the sums over A of sqrt(e_k x_k), shape
    (J, C), and a function from the choice in each direction (J,) to members (J, K)."""
    K, share = n.size, np.sqrt(e * (n / n.sum()))
    if alone or K > EXACT_UP_TO:
        yield n / n.sum(), share, lambda at: np.eye(K, dtype=bool)[at]
    if alone:
        return
    if K <= EXACT_UP_TO:
        A = (np.arange(1, 2**K - 1)[:, None] >> np.arange(K) & 1).astype(bool)
        yield A @ n / n.sum(), share @ A.T, lambda at: A[at]
        return
    for weight in (e, e / n):
        order = np.argsort(-weight, axis=1, kind="stable")
        place = np.argsort(order, axis=1)
        theta = np.cumsum(n[order], axis=1)[:, :-1] / n.sum()
        inner = np.cumsum(np.take_along_axis(share, order, axis=1), axis=1)[:, :-1]
        yield theta, inner, lambda at, place=place: place <= at[:, None]
