r"""Atlas of critical points: all values of F at them, with index and nullity, for given class sizes and dimension.

A critical point is an orthogonal sum of *parts*, irreducible frames (see `irreducible_frames`) on the upper or lower
branch. So the atlas is a list of multisets of parts, those that fit into the dimensions and the class sizes.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.irreducible_frames import frame_ranks, frame_shapes
from lab.systems.mcr2.theory.maxima import value_ladder
from lab.systems.mcr2.theory.thresholds import direction_value, spinodal, u_minus, u_plus

__all__ = ["Atlas", "AtlasEntry", "AtlasPart", "MaximaLevels", "atlas", "maxima_levels"]

KINDS = ("orthogonal", "aligned", "polygon", "spatial")
CELLS = 50_000_000  # of the table of counts, 200 MB


class AtlasPart(NamedTuple):
    """An irreducible frame on one branch.

    Attributes
    ----------
    kind : str
        "orthogonal": one class on a line. "aligned": several on a line. "polygon": lines in a plane. "spatial": lines
        and planes in three dimensions.
    dim : int
        Dimension m of its space.
    ranks : tuple of int
        m_k, the dimension that each class has of it.
    theta, u : float
        Effective fraction and reduced eigenvalue alpha t.
    sign : int
        +1 upper branch, -1 lower branch.
    shapes : int
        Number of parameters of its shape; 0 if it is rigid.
    """

    kind: str
    dim: int
    ranks: tuple[int, ...]
    theta: float
    u: float
    sign: int
    shapes: int


@dataclass(frozen=True)
class AtlasEntry:
    """Critical points of one make: parts and how often each occurs.

    A random one is built by `lab.data.fusion_frames`: an `isotropic_frame` for each part, all of them in
    `fusion_frame_critical_point`.

    Attributes
    ----------
    value : float
        F, in nats.
    index, nullity : int
        Number of positive and of zero eigenvalues of the Hessian.
    dimension : int
        Of the set of these points. Never above the nullity; where it is below, not every zero curvature comes from
        moving along the set (see `atlas`).
    rank : int
        Rank of Z.
    kind : str
        That of its least orthogonal part ("orthogonal" for Z = 0).
    parts : tuple of (AtlasPart, int)
        Empty for Z = 0.
    """

    value: float
    index: int
    nullity: int
    dimension: int
    rank: int
    kind: str
    parts: tuple[tuple[AtlasPart, int], ...]

    @property
    def eigenspaces(self) -> list[tuple[float, int, int, tuple[int, ...]]]:
        """(theta, sign, dimension, ranks of the classes) of each E_j, by descending eigenvalue: equal parts joined."""
        found: dict[float, tuple[float, int, int, tuple[int, ...]]] = {}
        for part, count in sorted(self.parts, key=lambda one: -one[0].u):
            _, _, dim, ranks = found.get(part.u, (0.0, 0, 0, (0,) * len(part.ranks)))
            ranks = tuple(r + count * more for r, more in zip(ranks, part.ranks, strict=True))
            found[part.u] = (part.theta, part.sign, dim + count * part.dim, ranks)
        return list(found.values())


@dataclass(frozen=True, eq=False)
class Atlas:
    """The entries, ascending in value, as columns; iterating gives each as an `AtlasEntry`.

    Attributes
    ----------
    value, index, nullity, dimension, rank : arrays, shape (L,)
        As in `AtlasEntry`.
    counts : array of int, shape (L, P)
        How often each of the `parts` occurs.
    parts : tuple of AtlasPart, length P
    complete : bool
        Whether every critical point of F is in an entry.
    reason : str
        Why, or what is left out.
    """

    value: np.ndarray
    index: np.ndarray
    nullity: np.ndarray
    dimension: np.ndarray
    rank: np.ndarray
    counts: np.ndarray
    parts: tuple[AtlasPart, ...]
    complete: bool
    reason: str

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[AtlasEntry]:
        return map(self.entry, range(len(self)))

    @property
    def kind(self) -> np.ndarray:
        """Kind of each entry, shape (L,)."""
        return np.array(KINDS)[self._order()]

    def _order(self) -> np.ndarray:
        order = np.array([KINDS.index(part.kind) for part in self.parts], dtype=int)
        return np.max(np.where(self.counts > 0, order, 0), axis=1, initial=0)

    def entry(self, i: int) -> AtlasEntry:
        """Number i, from 0; negative numbers count from the end."""
        counts = self.counts[i]
        parts = tuple((self.parts[p], int(counts[p])) for p in np.flatnonzero(counts))
        kind = max((part.kind for part, _ in parts), key=KINDS.index, default=KINDS[0])
        return AtlasEntry(float(self.value[i]), int(self.index[i]), int(self.nullity[i]), int(self.dimension[i]),
                     int(self.rank[i]), kind, parts)  # fmt: skip

    def levels(self, tolerance: float = 1e-10) -> np.ndarray:
        """Numbers of entries, one for each (index, value), ascending in both.

        Values of one index that differ by less than `tolerance` nats count once; the least orthogonal of such entries
        stands for them.
        """
        order = np.lexsort((self.value, self.index))
        new = (np.diff(self.index[order], prepend=-1) != 0) | (np.diff(self.value[order], prepend=-np.inf) > tolerance)
        level = np.cumsum(new)
        best = np.lexsort((-self._order()[order], level))
        return order[best[np.searchsorted(level[best], np.arange(1, level[-1] + 1))]]


class MaximaLevels(NamedTuple):
    """Values of the local maxima, ascending.

    Attributes
    ----------
    values : array, shape (L,)
        Nats.
    ranks : array of int, shape (L, S)
        Total rank of the classes of each distinct size.
    sizes : array of int, shape (S,)
        The distinct class sizes, ascending.
    entries : list of int, length L
        How many rank vectors (r_1, ..., r_K), hence entries of the atlas, have these totals.
    """

    values: np.ndarray
    ranks: np.ndarray
    sizes: np.ndarray
    entries: list[int]


# ---------------------------------------------------------------------- parts and their multisets


WAY_OUT = (
    'lower dim, pass kinds=("orthogonal",), signs=(1,) for the local maxima alone, or use maxima_levels, which counts '
    "classes of equal size together"
)


def _parts(n: np.ndarray, dim: int, tau: float, kinds: Sequence[str], signs: Sequence[int], most: int):
    frames = {}
    for m, names in ((1, KINDS[:2]), (2, KINDS[2:3]), (3, KINDS[3:])):
        if m <= dim and set(kinds) & set(names):
            alone = m == 1 and "aligned" not in kinds
            ranks = np.eye(n.size, dtype=int) if alone else frame_ranks(n.tolist(), m)
            ranks = ranks[ranks @ n < m * n.sum()]
            frames[m] = ranks[ranks.sum(axis=1) > 1] if m == 1 and "orthogonal" not in kinds else ranks
            if (number := len(signs) * len(ranks)) > most:
                raise OutOfDomain(f"max_entries={most}: up to {number} parts in dimension {m}, each an entry; "
                                  f"raise it, {WAY_OUT}")  # fmt: skip
    found = []
    for m, ranks in frames.items():
        theta = ranks @ n / (m * n.sum())
        limit = np.asarray(spinodal(theta))
        if np.any(np.abs(tau - limit) <= 1e-12 * limit):
            at = float(theta[np.argmin(np.abs(tau - limit))])
            raise OutOfDomain(f"tau={tau!r}: is the spinodal of the effective fraction {at:.6g}, where branches merge "
                              "and curvatures vanish; move tau")  # fmt: skip
        ranks, theta = ranks[tau < limit], theta[tau < limit]
        for sign in signs:
            u = (u_plus if sign > 0 else u_minus)(theta, tau)
            for row, t, v in zip(ranks.tolist(), theta.tolist(), u.tolist(), strict=True):
                kind = KINDS[m] if m > 1 else KINDS[sum(row) > 1]
                found.append(AtlasPart(kind, m, tuple(row), t, v, sign, frame_shapes(row, m)))
    return tuple(sorted(found, key=lambda part: (KINDS.index(part.kind), -part.theta, part.ranks, -part.sign)))


def _ways(dims: Sequence[int], dim: int) -> int:
    """Number of multisets of items of these dimensions with total at most `dim`."""
    ways = [1] + [0] * dim
    for m in dims:
        for total in range(m, dim + 1):
            ways[total] += ways[total - m]
    return sum(ways)


def _multisets(parts: Sequence[AtlasPart], n: np.ndarray, dim: int, most: int) -> np.ndarray:
    """How often each part occurs, one row per multiset that fits, shape (L, P)."""
    room, left, steps = min(most, CELLS // max(1, len(parts))), np.array([[dim, *n]]), []
    for part in parts:
        cost = np.array([part.dim, *part.ranks])
        ways = np.min(left[:, cost > 0] // cost[cost > 0], axis=1)
        if len(left) + ways.sum() > room:  # later parts only add to it
            bound = _ways([part.dim for part in parts], dim)
            raise OutOfDomain(
                f"max_entries={most}: the atlas has {'' if min(n) >= dim else 'up to '}{bound} entries, from "
                f"{len(parts)} parts; raise it (up to {CELLS} entries times parts), {WAY_OUT}"
            )
        parent = np.repeat(np.arange(len(left)), ways)
        repeat = np.arange(1, len(parent) + 1) - np.repeat(np.cumsum(ways) - ways, ways)
        steps.append((parent, repeat))
        left = np.concatenate([left, left[parent] - repeat[:, None] * cost])
    counts, stop = np.zeros((len(left), len(parts)), dtype=np.int32), 1
    for p, (parent, repeat) in enumerate(steps):
        start, stop = stop, stop + len(parent)
        counts[start:stop] = counts[parent]
        counts[start:stop, p] = repeat
    return counts


def atlas(
    class_sizes: Sequence[int],
    dim: int,
    *,
    tau: float,
    kinds: Sequence[str] = KINDS,
    signs: Sequence[int] = (1, -1),
    max_entries: int = 200_000,
) -> Atlas:
    r"""All critical points of F by value, index and nullity.

    Complete for up to three classes in any dimension, and for any number of classes in up to three dimensions.

    Parameters
    ----------
    class_sizes : sequence of int
        (N_1, ..., N_K).
    dim : int
        Dimension d of the features.
    tau : float, > 0
        lambda/alpha. Parts beyond the spinodal of their effective fraction do not exist.
    kinds : sequence of "orthogonal", "aligned", "polygon", "spatial"
        Which parts to use. Orthogonal parts on the upper branch alone give the local maxima.
    signs : sequence of +1, -1
        Which branches to use.
    max_entries : int
        Refuse to list more entries than this (or more than 5e7 entries times parts).

    Returns
    -------
    Atlas

    Raises
    ------
    OutOfDomain
        If there are more entries than `max_entries`, or tau is the spinodal of a part.

    Notes
    -----
    Indices and nullities are those of `fusion_frame_index` and `fusion_frame_nullity`, on all entries at once. The
    nullity is the dimension of the set of critical points except where one eigenspace holds two different frames A, B
    (ranks a_k, b_k) whose form ``2 m_A m_B + sum_k (2 a_k b_k - a_k m_B - b_k m_A)`` is negative, -e: each such pair
    of parts adds e zero curvatures. With three classes they are a class that holds half of all samples and the other
    two together: there the frame identity is solvable to first order, not beyond. With more classes the entry may lie
    at the edge of one with larger frames (two pairs of equal classes are a flat polygon of four).

    Several parts of equal ranks on one branch are listed for frames of different shape, if their shape is free.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    Two classes: orthogonal points only.

    >>> two = atlas((2, 2), 1, tau=0.1)
    >>> [(entry.index, round(entry.value, 4)) for entry in two], two.complete
    ([(1, -0.0032), (1, -0.0032), (0, 0.0), (0, 0.0573), (0, 0.0573)], True)
    """
    n, dim, tau = domain.sizes(class_sizes), domain.integer("dim", dim, 1), float(domain.multiplier(tau))
    for name, given, known in (("kinds", kinds, KINDS), ("signs", signs, (1, -1))):
        if not given or not set(given) <= set(known) or len(set(given)) < len(given):
            raise OutOfDomain(f"{name}={tuple(given)!r}: must be some of {known}, each once")
    parts = _parts(n, dim, tau, kinds, signs, max_entries)
    counts = _multisets(parts, n, dim, max_entries)
    value = counts @ np.array([p.dim * float(direction_value(p.u, p.theta, tau)) for p in parts])
    index, nullity, dimension, rank = _integers(parts, counts, n, dim)
    order = np.lexsort((index, value))
    complete, reason = _completeness(n, dim, kinds, signs)
    return Atlas(value[order], index[order], nullity[order], dimension[order], rank[order], counts[order], parts,
                 complete, reason)  # fmt: skip


def _integers(parts: Sequence[AtlasPart], counts: np.ndarray, n: np.ndarray, dim: int) -> tuple[np.ndarray, ...]:
    """(index, nullity, dimension, rank) of each row of `counts`."""
    dims, ranks = np.array([part.dim for part in parts], dtype=int), np.array([part.ranks for part in parts], dtype=int)
    shapes = np.array([part.shapes for part in parts], dtype=int)
    r, r_k = counts @ dims, counts @ ranks.reshape(len(parts), n.size)
    index, linear, turns, below = np.zeros((4, len(counts)), dtype=int)
    # parts of one eigenvalue share an eigenspace: fractions are compared exactly, as multiples of 1/(6 N)
    groups: dict[tuple[int, int], list[int]] = {}
    for p, part in enumerate(parts):
        groups.setdefault((6 * int(ranks[p] @ n) // part.dim, part.sign), []).append(p)
    for (_, sign), own in sorted(groups.items(), key=lambda group: parts[group[1][0]].u):
        count = counts[:, own]
        m, m_k = count @ dims[own], count @ ranks[own]
        # copies of a rigid frame can be rotated into each other; frames of different shape cannot
        same = np.sum(np.where(shapes[own] == 0, count * (count - 1) // 2, 0), axis=1)
        q = count.sum(axis=1) + same
        index += np.sum(m_k * (m_k + 1) // 2, axis=1) - q * (sign > 0) + (m_k.sum(axis=1) - m) * (dim - r + below)
        linear += np.sum(m_k * (m[:, None] - m_k), axis=1) - m**2 + q
        turns, below = turns + same, below + m
    motions = r * dim - r * (r + 1) // 2 + np.sum(r_k * n - r_k * (r_k + 1) // 2, axis=1)
    return index, motions + linear, motions - turns + counts @ shapes, r


def _completeness(n: np.ndarray, dim: int, kinds: Sequence[str], signs: Sequence[int]) -> tuple[bool, str]:
    ascending = np.sort(n)
    exists = {
        "orthogonal": True,
        "aligned": n.size > 2,
        "polygon": dim >= 2 and bool(np.any(2 * ascending < np.cumsum(ascending))),  # a longest side, all shorter ones
        "spatial": dim >= 3 and n.size > 3 and (n.size > 9 or len(frame_ranks(n.tolist(), 3)) > 0),
    }
    left_out = ["one of the branches"] if len(signs) < 2 else []
    left_out += [f"{kind} parts" for kind in KINDS if kind not in kinds and exists[kind]]
    if left_out:
        return False, f"restricted to kinds={tuple(kinds)}, signs={tuple(signs)}: left out are {', '.join(left_out)}"
    if n.size <= 3:
        return True, "irreducible frames of up to three classes have dimension 1 or 2, and all are listed"
    if dim <= 3:
        return True, "all irreducible frames of dimension up to 3 are listed"
    return False, ("four or more classes in four or more dimensions: left out are irreducible frames of dimension 4 or "
                   "more, and several copies of one shape where shapes are free")  # fmt: skip


# ---------------------------------------------------------------------- local maxima alone


def maxima_levels(class_sizes: Sequence[int], dim: int, *, tau: float, max_levels: int = 200_000) -> MaximaLevels:
    r"""The local maxima alone, classes of equal size counted together: for sizes at which the atlas is too long.

    Values are :math:`\sum_k r_kh(u_+(x_k,\tau))`, as in `value_ladder`.

    Examples
    --------
    >>> levels = maxima_levels((200,) * 10, 64, tau=0.2)
    >>> len(levels.values), levels.entries[:3]
    (65, [1, 10, 55])
    """
    n, tau = domain.sizes(class_sizes), float(domain.multiplier(tau))
    lam = tau * domain.gram_scale(int(n.sum()), dim, eps=1.0)
    ladder = value_ladder(n.tolist(), dim, eps=1.0, lam=lam, max_levels=max_levels)
    ways = []
    for size, count in zip(*np.unique(n, return_counts=True), strict=True):
        total, top = [1], min(int(size), dim)
        for _ in range(int(count)):  # one more class, of rank 0 ... min(N_k, d)
            sums = list(chain([0], np.cumsum(np.array(total, dtype=object))))
            total = [sums[min(i + 1, len(total))] - sums[max(0, i - top)] for i in range(len(total) + top)]
        ways.append(total)
    entries = [math.prod(total[r] for total, r in zip(ways, row, strict=True)) for row in ladder.ranks.tolist()]
    return MaximaLevels(ladder.values, ladder.ranks, ladder.sizes, entries)
