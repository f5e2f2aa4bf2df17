r"""Critical points of regularised rate reduction whose classes overlap: weighted tight fusion frames.

Let R^d split into orthogonal spaces E_1, ..., E_J (and a rest where Z vanishes), and let class k meet E_j in a subspace
with projection P_kj. If :math:`\sum_k x_k P_{kj} = \theta_j I` on every E_j, with class fractions :math:`x_k = N_k / N`
and :math:`0 < \theta_j < 1`, then squared singular values :math:`(x_k / \theta_j)\, t_j` make a critical point, where
:math:`\alpha t_j` is a root of the scalar equation of a single class of fraction :math:`\theta_j`. So overlapping
classes behave as one class of effective fraction theta. The functions below make such E_j (`Eigenspace`) and the point
built from them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lab.data.subspaces import Roots, class_blocks, haar, reduced_values, scale_of_critical_points
from lab.errors import InputError

Sign = Literal["+", "-"]


@dataclass(frozen=True, eq=False)
class Eigenspace:
    """One E_j: for each class an orthonormal basis (dim, m_k) of its part, or None; `sign` is the root it sits on.

    Raises
    ------
    InputError
        If bases are not orthonormal to 1e-12, their dimensions differ, all are None, or the sign is unknown.
    """

    bases: tuple[np.ndarray | None, ...]
    sign: Sign = "+"

    def __post_init__(self):
        present = [basis for basis in self.bases if basis is not None]
        if not present or len({basis.shape[0] for basis in present}) != 1:
            raise InputError("an eigenspace needs a basis (dim, m_k) for at least one class, all with the same dim")
        defect = max(np.abs(basis.T @ basis - np.eye(basis.shape[1])).max(initial=0) for basis in present)
        if not defect <= 1e-12:
            raise InputError(
                f"bases of an eigenspace are orthonormal up to {defect:.1e} only, 1e-12 is allowed; use QR"
            )
        if self.sign not in ("+", "-"):
            raise InputError(f"sign={self.sign!r} must be '+' (larger root) or '-' (smaller root)")

    @property
    def dim(self) -> int:
        """Dimension m_j of the space."""
        return next(basis.shape[0] for basis in self.bases if basis is not None)

    @property
    def ranks(self) -> np.ndarray:
        """Dimensions m_k of the parts of the classes, shape (K,)."""
        return np.asarray([0 if basis is None else basis.shape[1] for basis in self.bases])

    def effective_fraction(self, class_sizes: Sequence[int]) -> float:
        """`theta` with `sum_k x_k P_k = theta I`, 0 < theta < 1.

        Raises
        ------
        InputError
            If the identity fails by more than 1e-12, theta is 1, or there is not one size per class.
        """
        if len(class_sizes) != len(self.bases):
            raise InputError(
                f"there are {len(class_sizes)} class_sizes but an eigenspace with {len(self.bases)} classes"
            )
        x = np.asarray(class_sizes) / sum(class_sizes)
        frame = sum(xk * basis @ basis.T for xk, basis in zip(x, self.bases, strict=True) if basis is not None)
        theta = float(np.trace(frame)) / self.dim
        defect = np.abs(frame - theta * np.eye(self.dim)).max()
        if not defect <= 1e-12:
            raise InputError(
                f"sum_k x_k P_k differs from theta I by {defect:.1e}, 1e-12 is allowed; sizes {tuple(class_sizes)} do "
                "not balance these subspaces (equal sizes for harmonic frames, closed polygons for lines in a plane)"
            )
        if not 0 < theta < 1 - 1e-12:
            raise InputError(f"theta={theta:.6g} must lie in (0, 1); leave a class out of this eigenspace")
        return theta


def aligned_frame(classes: int, members: Sequence[int], dim: int = 1, *, sign: Sign = "+") -> Eigenspace:
    """All `members` (of 0 ... classes-1) fill one space of dimension `dim`; theta is the sum of their fractions."""
    _check_members(classes, members)
    return _place(classes, members, [np.eye(dim)] * len(members), sign)


def polygon_frame(class_sizes: Sequence[int], members: Sequence[int], *, sign: Sign = "+") -> Eigenspace:
    r"""Lines in a plane, one per member, from a closed polygon whose sides are the class sizes.

    The line of class k is at half the angle of its side: :math:`\sum_k N_k e^{2i\varphi_k} = 0`.

    Parameters
    ----------
    class_sizes : sequence of int
        N_k of all classes.
    members : sequence of int
        Classes that take part, at least two; the largest size is at most half of their sum.
    sign : {"+", "-"}
        Root.

    Returns
    -------
    Eigenspace
        Of dimension 2, theta = half the sum of the members' fractions.

    Raises
    ------
    InputError
        If no polygon closes.

    Notes
    -----
    Equal sizes give the regular polygon (three: the Mercedes-Benz frame). Otherwise sides are gathered in three
    parallel groups, largest first into the shortest, which form a triangle: with more than three members some lines
    coincide.
    """
    _check_members(len(class_sizes), members)
    sides = np.asarray([class_sizes[k] for k in members], dtype=float)
    if 2 * sides.max() > sides.sum():
        raise InputError(
            f"sizes {sides.astype(int).tolist()} close no polygon: the largest exceeds half of the sum; "
            "add members or balance the sizes"
        )
    if (sides == sides[0]).all():
        turns = np.exp(2j * np.pi * np.arange(len(sides)) / len(sides))
    else:
        groups: list[list[int]] = [[], [], []]
        for i in np.argsort(-sides, kind="stable").tolist():
            min(groups, key=lambda group: sides[group].sum()).append(i)
        a, b, c = (sides[group].sum() for group in groups)
        # Corners 0, a and the apex; sides as differences of corners, so that they close without rounding.
        height = math.sqrt(max(0.0, (a + b + c) * (b + c - a) * (a + c - b) * (a + b - c))) / (2 * a)
        apex = complex((a * a + c * c - b * b) / (2 * a), height)
        turns = np.empty(len(sides), dtype=complex)
        for group, edge in zip(groups, (complex(a), apex - a, -apex), strict=True):
            turns[group] = edge
    angles = np.angle(turns) / 2
    return _place(len(class_sizes), members, [np.asarray([[math.cos(t)], [math.sin(t)]]) for t in angles], sign)


def harmonic_frame(classes: int, members: Sequence[int], dim: int, *, sign: Sign = "+") -> Eigenspace:
    """Lines in R^dim, one per member, spanned by the columns of a real Fourier matrix.

    For n members of equal fraction x, theta = n x / dim. `n = dim + 1` gives the simplex (tetrahedron at dim = 3),
    `dim = 2` the regular polygon.

    Raises
    ------
    InputError
        If there are not more members than dimensions, or dim < 2. Unequal class sizes are refused where they enter, by
        `Eigenspace.effective_fraction`.
    """
    _check_members(classes, members)
    n = len(members)
    if not 2 <= dim < n:
        raise InputError(f"dim={dim} must be at least 2 and below the number of members, {n}; add members or lower dim")
    phase = 2 * np.pi * np.arange(n)[:, None] * np.arange(1, dim // 2 + 1) / n
    columns = [np.sqrt(2 / dim) * np.cos(phase), np.sqrt(2 / dim) * np.sin(phase)]
    if dim % 2:
        columns.append(np.full((n, 1), np.sqrt(1 / dim)))
    lines = np.concatenate(columns, axis=1)
    return _place(classes, members, [line[:, None] for line in lines], sign)


def isotropic_frame(
    rng: np.random.Generator, class_sizes: Sequence[int], ranks: Sequence[int], dim: int, *, sign: Sign = "+"
) -> Eigenspace:
    r"""Tight frame of subspaces of R^dim of given ranks, random in shape (where its shape is free) and position.

    Random subspaces in *radial isotropic position*: they are moved by :math:`S^{-1/2}`, :math:`S=\sum_k x_kP_k`, until
    S is a multiple of the identity. Ranks 1 in a plane give polygons, in R^dim lines of unequal weights; ranks 0 and
    `dim` are allowed. Shapes that nearly split into frames of smaller spaces take long and are drawn anew.

    Raises
    ------
    InputError
        If ranks do not fit, or four draws of 5000 moves reach no such frame: there is none, or only ones that split
        into frames of smaller spaces (flat polygons).

    References
    ----------
    .. [1] Barthe 1998, On a reverse form of the Brascamp-Lieb inequality, Invent. Math. 134 (lines).
    """
    if len(ranks) != len(class_sizes) or not all(0 <= rank <= dim for rank in ranks) or not any(ranks):
        raise InputError(
            f"ranks={tuple(ranks)} must be one integer in 0 ... {dim} for each of {len(class_sizes)} classes, not all 0"
        )
    x = np.asarray(class_sizes) / sum(class_sizes)
    members = [k for k, rank in enumerate(ranks) if rank]
    bases: list[np.ndarray] = []
    for move_number in range(20_000):
        if move_number % 5000 == 0:
            bases = [haar(rng, dim, ranks[k]) for k in members]
        frame = sum(x[k] * basis @ basis.T for k, basis in zip(members, bases, strict=True))
        values, vectors = np.linalg.eigh(frame)
        if np.abs(frame - np.mean(values) * np.eye(dim)).max() <= 4e-15:
            return _place(len(class_sizes), members, bases, sign)
        move = vectors / np.sqrt(values) @ vectors.T if values[0] > 0 else np.eye(dim)
        bases = [np.linalg.qr(move @ basis)[0] for basis in bases]
    raise InputError(
        f"no tight frame of ranks {tuple(ranks)} in R^{dim} was reached for class_sizes {tuple(class_sizes)}; "
        "balance the sizes (no polygon closes flat), or build it as a direct_sum of frames of smaller spaces"
    )


def complement(space: Eigenspace) -> Eigenspace:
    """Each member takes the complement of its part: P -> I - P, theta -> (sum of the members' fractions) - theta."""
    bases = []
    for basis in space.bases:
        rest = None if basis is None else np.linalg.qr(basis, mode="complete")[0][:, basis.shape[1] :]
        bases.append(rest if rest is not None and rest.shape[1] else None)
    return replace(space, bases=tuple(bases))


def direct_sum(*spaces: Eigenspace) -> Eigenspace:
    """Orthogonal sum of spaces of one theta and one sign, as one eigenspace; each class takes the sum of its parts.

    Raises
    ------
    InputError
        If signs or numbers of classes differ. Unequal theta are refused by `Eigenspace.effective_fraction`.
    """
    if len({space.sign for space in spaces}) != 1 or len({len(space.bases) for space in spaces}) != 1:
        raise InputError("spaces of a direct sum must have one sign and one number of classes; keep them apart instead")
    starts = np.cumsum([0, *(space.dim for space in spaces)])
    bases: list[np.ndarray | None] = []
    for k in range(len(spaces[0].bases)):
        columns = [np.zeros((starts[-1], 0))]
        for start, space in zip(starts, spaces, strict=False):
            if space.bases[k] is not None:
                columns.append(np.zeros((starts[-1], space.ranks[k])))
                columns[-1][start : start + space.dim] = space.bases[k]
        joined = np.concatenate(columns, axis=1)
        bases.append(joined if joined.shape[1] else None)
    return Eigenspace(tuple(bases), spaces[0].sign)


def fusion_frame_critical_point(
    rng: np.random.Generator,
    *,
    d: int,
    class_sizes: Sequence[int],
    spaces: Sequence[Eigenspace],
    eps: float,
    lam: float,
    roots: Roots,
) -> np.ndarray:
    r"""Critical point of regularised rate reduction built on `spaces`, with random position and sample coordinates.

    .. math:: Z_k = \sum_j \sqrt{x_k t_j / \theta_j}\; V_{kj} B_{kj}^\top W_j^\top

    with `W` a Haar frame of the sum of the spaces, `V_k` Haar sample coordinates of class k and `B_kj` the bases of
    `spaces`.

    Parameters
    ----------
    rng : numpy.random.Generator
    d : int
        Dimension of the features, at least the sum of the dimensions of `spaces`.
    class_sizes : sequence of int, > 0
        N_k, at least the sum of the ranks of class k over `spaces`.
    spaces : sequence of Eigenspace
        A class may sit in several of them.
    eps, lam : float, > 0
        Distortion and weight of the penalty (lam / 2) |Z|_F^2.
    roots : callable or pair of arrays
        `(u_plus, u_minus)`, each of shape (J,), or a function that returns them from the effective fractions (J,) and
        tau; see `lab.data.subspaces.orthogonal_critical_point`.

    Returns
    -------
    array, shape (N, d)

    Raises
    ------
    InputError
        If dimensions do not fit, a frame identity fails, lam / alpha >= tau_c(theta_j), or the roots are wrong.

    References
    ----------
    .. [1] arXiv:2406.01909, Wang et al. 2024: its critical points are those with one class per eigenspace.
    """
    sizes = [int(size) for size in class_sizes]
    dims = [space.dim for space in spaces]
    if not spaces or sum(dims) > d:
        raise InputError(f"spaces of dimensions {dims} do not fit in R^d with d={d}; raise d (at least one space)")
    theta = np.asarray([space.effective_fraction(sizes) for space in spaces])
    ranks = np.sum([space.ranks for space in spaces], axis=0)
    for k, (size, rank) in enumerate(zip(sizes, ranks, strict=True)):
        if rank > size:
            raise InputError(f"class {k} has rank {rank} over all spaces but N_k={size} samples; raise N_k")
    alpha = scale_of_critical_points(d, sizes, eps)
    needed = np.ones(len(spaces), dtype=bool)
    u_plus, u_minus = reduced_values(theta, lam / alpha, roots, needed=needed)
    t = np.where([space.sign == "+" for space in spaces], u_plus, u_minus) / alpha

    W = np.split(haar(rng, d, sum(dims)), np.cumsum(dims)[:-1], axis=1)
    bases, values = [], []
    for k, size in enumerate(sizes):
        parts = [Wj @ space.bases[k] for Wj, space in zip(W, spaces, strict=True) if space.bases[k] is not None]
        bases.append(np.concatenate([np.zeros((d, 0)), *parts], axis=1))
        values.append(np.sqrt(np.repeat(size / sum(sizes) * t / theta, [space.ranks[k] for space in spaces])))
    return class_blocks(bases, [haar(rng, size, int(rank)) for size, rank in zip(sizes, ranks, strict=True)], values)


def _check_members(classes: int, members: Sequence[int]) -> None:
    if not members or len(set(members)) != len(members) or not all(0 <= k < classes for k in members):
        raise InputError(
            f"members={tuple(members)} must be distinct class numbers in 0 ... {classes - 1}, at least one"
        )


def _place(classes: int, members: Sequence[int], bases: Sequence[np.ndarray], sign: Sign) -> Eigenspace:
    given = dict(zip(members, bases, strict=True))
    return Eigenspace(tuple(given.get(k) for k in range(classes)), sign)
