r"""Irreducible frames, of which all critical points are orthogonal sums, and the zero modes of a critical point.

An irreducible frame has projections :math:`P_k` of ranks :math:`m_k` on a space of dimension m that no proper subspace
reduces, with :math:`\sum_k x_kP_k=\theta I`, hence :math:`\theta=\sum_k x_km_k/m`. Which ones exist depends on the
class sizes alone:

* m = 1: the classes of any set A, neither empty nor all, fill a line; theta is the sum of their fractions.
* m = 2: at least three classes have lines in the plane that close a polygon at double angles, which needs sides N_k of
  which none is as long as the others together; further classes fill the plane.
* m = 3: lines and planes. With ``T = sum of lines + twice the sum of planes`` (of sizes; l, l' the two largest lines,
  p, p' the two largest planes): ``3 l < T``, ``3 (p + p') < T``, ``3 (l + l' + sum of planes) < 2T`` and
  ``3 (p + sum of planes) < 2T``; further classes fill the space.

Two classes have m = 1 only, since P_2 is a function of P_1. Three have m <= 2, since P_3 is a polynomial in P_1, P_2
and two projections split into lines and planes [1]_. The conditions for m = 3 are the stability of lines and planes in
general position [2]_, over the complex numbers: real frames that split only there have dimension 4 or more. Dimensions
above 3 need four classes and are not listed.
Derived for this laboratory, verified numerically; not found in the cited papers.

References
----------
.. [1] Halmos 1969, Two subspaces, Trans. AMS 144.
.. [2] King 1994, Moduli of representations of finite dimensional algebras, Quart. J. Math. 45.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.fusion_frames import Eigenspace, commutant_dimension, joined_eigenspaces

__all__ = ["frame_ranks", "frame_shapes", "fusion_frame_nullity"]


def frame_ranks(class_sizes: Sequence[int], m: int) -> np.ndarray:
    """Rank vectors (m_1, ..., m_K) of the irreducible frames on a space of dimension `m`, shape (F, K).

    Parameters
    ----------
    class_sizes : sequence of int
        (N_1, ..., N_K); a class has rank at most N_k.
    m : 1, 2 or 3

    Raises
    ------
    OutOfDomain
        If m is another number, or (m + 1)^K exceeds 300 000 (nine classes for m = 3).

    Examples
    --------
    >>> frame_ranks((2, 3, 4), 2).tolist()
    [[1, 1, 1]]
    >>> frame_ranks((2, 2, 4), 2).tolist()  # the triangle is flat
    []
    """
    n = domain.sizes(class_sizes)
    if m not in (1, 2, 3):
        raise OutOfDomain(f"m={m!r}: must be 1, 2 or 3, the dimensions of irreducible frames that are listed")
    if (m + 1) ** n.size > 300_000:
        raise OutOfDomain(f"class_sizes has {n.size} classes: {m + 1}^{n.size} rank vectors in dimension {m}; "
                          "use fewer, or kinds=(\"orthogonal\",) in an atlas")  # fmt: skip
    ranks = np.indices((m + 1,) * n.size).reshape(n.size, -1).T[:, ::-1]
    ranks = ranks[np.all(ranks <= n, axis=1)]
    if m == 1:
        return ranks[(ranks.sum(1) > 0) & (ranks @ n < n.sum())]
    lines, planes = np.where(ranks == 1, n, 0), np.where(ranks == 2, n, 0)
    if m == 2:
        return ranks[2 * lines.max(1) < lines.sum(1)]
    total, flat = (lines + 2 * planes).sum(1), planes.sum(1)
    (l1, l2), (p1, p2) = _two_largest(lines), _two_largest(planes)
    stable = (3 * l1 < total) & (3 * (p1 + p2) < total) & (3 * (l1 + l2 + flat) < 2 * total)
    return ranks[stable & (3 * (p1 + flat) < 2 * total)]


def _two_largest(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    top = np.sort(np.pad(a, ((0, 0), (1, 0))), axis=1)
    return top[:, -1], top[:, -2]


def frame_shapes(ranks: Sequence[int], m: int) -> int:
    r"""Parameters of the shape of an irreducible frame, beside rotations: :math:`\sum_k m_k(m-m_k)-m^2+1`.

    Positions of the subspaces, minus the frame identity, minus rotations; 0 for rigid frames, n - 3 for n lines in a
    plane.

    Examples
    --------
    >>> frame_shapes((1, 1, 1, 1, 2), 2)
    1
    """
    m_k = np.asarray(ranks)
    return int(np.sum(m_k * (m - m_k))) - m * m + 1


def fusion_frame_nullity(
    spaces: Sequence[Eigenspace], class_sizes: Sequence[int], dim: int, *, tau: float, tolerance: float = 1e-4
) -> int:
    r"""Number of zero eigenvalues of the Hessian of F at any critical point.

    In the notation of `fusion_frames.fusion_frame_index`, with :math:`r_k=\sum_jm_{k,j}`:

    .. math:: rd-\tfrac{r(r+1)}2+\sum_k\Bigl[r_kN_k-\tfrac{r_k(r_k+1)}2\Bigr]
              +\sum_j\Bigl[\sum_km_{k,j}(m_j-m_{k,j})-m_j^2+q_j\Bigr]

    Rotations of the spaces, rotations of the samples of each class, and motions of the frames that keep
    :math:`\sum_kx_kP_{k,j}=\theta_jI` to first order. Eigenspaces of equal eigenvalue are joined first.

    Parameters
    ----------
    spaces, dim, tau, tolerance
        As in `fusion_frames.fusion_frame_index`.
    class_sizes : sequence of int
        (N_1, ..., N_K).

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    Three equal classes on lines at 120 degrees in a plane can be turned, and the sample coordinates of each class:

    >>> angle = np.array([0, 2, 4]) * np.pi / 3
    >>> lines = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> mercedes = Eigenspace(lines[:, :, None] * lines[:, None, :], +1)
    >>> fusion_frame_nullity([mercedes], (3, 3, 3), 2, tau=0.05)
    7
    """
    n, dim = domain.sizes(class_sizes), domain.integer("dim", dim, 1)
    nullity, r, r_k = 0, 0, np.zeros(n.size, dtype=int)
    for P, *_ in joined_eigenspaces(spaces, n / n.sum(), float(domain.multiplier(tau)), tolerance):
        m, m_k = P.shape[1], np.round(np.trace(P, axis1=1, axis2=2)).astype(int)
        nullity += int(np.sum(m_k * (m - m_k))) - m * m + commutant_dimension(P, tolerance)
        r, r_k = r + m, r_k + m_k
    return nullity + r * dim - r * (r + 1) // 2 + int(np.sum(r_k * n - r_k * (r_k + 1) // 2))
