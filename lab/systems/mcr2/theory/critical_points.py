r"""Orthogonal critical points of the regularised objective: value, full Hessian spectrum, index, nullity.

At such a point the classes are mutually orthogonal and every nonzero singular value of class k is
``sqrt(u/alpha)`` with u on the upper (+) or lower (-) branch of ``(x_k, tau)``: see `thresholds.u_plus`. A point is
described by two rank vectors, the numbers of + and - directions of each class. Overlapping critical points are in
`fusion_frames`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.thresholds import direction_curvature, direction_value, u_minus, u_plus

__all__ = ["hessian_eigenvalues", "hessian_spectrum", "orthogonal_value", "saddle_index", "zero_modes"]


def _point(class_sizes, dim, ranks_plus, ranks_minus):
    n, dim = domain.sizes(class_sizes), domain.integer("dim", dim, 1)
    plus = domain.ranks("ranks_plus", ranks_plus, n.size)
    minus = domain.ranks("ranks_minus", ranks_minus, n.size)
    rank = plus + minus
    if np.any(rank > np.minimum(n, dim)) or rank.sum() > dim:
        raise OutOfDomain(
            f"ranks_plus={plus.tolist()}, ranks_minus={minus.tolist()}: each class needs rank <= min(N_k, dim) and "
            f"orthogonal classes need total rank <= dim={dim}; lower the ranks or raise dim"
        )
    return n, dim, plus, minus


def _branches(n, plus, minus, tau):
    """Both branches for the classes that have rank; NaN elsewhere."""
    x, used = n / n.sum(), (plus + minus) > 0
    return u_plus(x, tau, where=used), u_minus(x, tau, where=used)


def orthogonal_value(
    class_sizes: Sequence[int], dim: int, ranks_plus: Sequence[int], ranks_minus: Sequence[int], *, tau: float
) -> float:
    """Value of F at an orthogonal critical point: the sum of h over its singular directions, in nats."""
    n, _, plus, minus = _point(class_sizes, dim, ranks_plus, ranks_minus)
    x, used = n / n.sum(), (plus + minus) > 0
    up, down = _branches(n, plus, minus, tau)
    terms = [r * direction_value(np.where(used, u, 0.0), x, tau) for r, u in ((plus, up), (minus, down))]
    return float(np.sum(terms))


def saddle_index(ranks_minus: Sequence[int]) -> int:
    r"""Number of directions of positive curvature at an orthogonal critical point: :math:`\sum_k r_k^-(r_k^-+1)/2`.

    Zero iff every direction is on the upper branch: then the point is a local maximum. Needs tau below the spinodal
    of every class with rank. Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> saddle_index([0, 2, 1])
    4
    """
    minus = domain.ranks("ranks_minus", ranks_minus, len(ranks_minus))
    return int(np.sum(minus * (minus + 1) // 2))


def zero_modes(class_sizes: Sequence[int], dim: int, ranks_plus: Sequence[int], ranks_minus: Sequence[int]) -> int:
    r"""Multiplicity of the Hessian eigenvalue 0 at an orthogonal critical point (tau below the spinodal).

    Equals the dimension of the manifold of critical points through Z (all rotations of the features and of each
    class's samples), so local maxima are Morse-Bott. With all directions on the upper branch and ``r = sum r_k``
    it is :math:`dr-r(r+1)/2+\sum_k(r_kN_k-r_k^2)`.
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    n, dim, plus, minus = _point(class_sizes, dim, ranks_plus, ranks_minus)
    rank = plus + minus
    r = int(rank.sum())
    across = (r * r - int(np.sum(rank**2))) // 2
    within = int(np.sum(plus * (plus - 1) // 2 + minus * (minus - 1) // 2 + 2 * plus * minus))
    return across + within + (dim - r) * r + int(np.sum(rank * (n - rank)))


def hessian_eigenvalues(
    class_sizes: Sequence[int],
    dim: int,
    ranks_plus: Sequence[int],
    ranks_minus: Sequence[int],
    *,
    tau: float,
    alpha: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Eigenvalues of the Hessian of F at an orthogonal critical point, with multiplicities.

    With ``r = sum r_k``, in units of alpha:

    * ``-tau``, multiplicity ``(d-r) sum_k (N_k-r_k)``;
    * ``1/(1+u) - 1 - tau`` for each direction u of a class l and each class k != l, multiplicity ``N_k-r_k``;
    * ``-(u+w)/((1+u)(1+w))`` and ``0``, once per pair of directions u, w of two different classes;
    * ``4 u h''(u)``: per class ``r+(r+ +1)/2`` times on the + branch (negative) and ``r-(r- +1)/2`` times on the -
      branch (positive);
    * ``0`` otherwise (see `zero_modes`).

    Parameters
    ----------
    class_sizes : sequence of int
        (N_1, ..., N_K).
    dim : int
        Dimension d of the features.
    ranks_plus, ranks_minus : sequence of int, length K
        Directions of each class on the upper and lower branch; r_k is their sum.
    tau : float
        lambda/alpha, at most the spinodal of every class with rank.
    alpha : float
        Unit of the result; 1 gives eigenvalues in units of alpha.

    Returns
    -------
    values, multiplicities : arrays
        Unsorted; values may repeat, multiplicities are positive and add up to d N.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    n, dim, plus, minus = _point(class_sizes, dim, ranks_plus, ranks_minus)
    tau, alpha = float(domain.multiplier(tau)), float(domain.positive("alpha", alpha))
    rank = plus + minus
    r, x = int(rank.sum()), n / n.sum()
    up, down = _branches(n, plus, minus, tau)
    # (class, u, number of directions) of every nonempty branch
    groups = [
        (k, float(u[k]), int(count[k])) for count, u in ((plus, up), (minus, down)) for k in range(n.size) if count[k]
    ]
    found = [(-tau, (dim - r) * int(np.sum(n - rank))), (0.0, zero_modes(n, dim, plus, minus))]
    for i, (k, u, count) in enumerate(groups):
        found.append((4 * u * float(direction_curvature(u, x[k])), count * (count + 1) // 2))
        outside = int(np.sum(n - rank)) - int(n[k] - rank[k])
        found.append((-u / (1 + u) - tau, count * outside))
        for other, w, number in groups[:i]:
            if other != k:
                found.append((-(u + w) / (1 + u) / (1 + w), count * number))
    values, multiplicities = (np.array(column) for column in zip(*found, strict=True))
    present = multiplicities > 0
    return alpha * values[present], multiplicities[present].astype(int)


def hessian_spectrum(
    class_sizes: Sequence[int],
    dim: int,
    ranks_plus: Sequence[int],
    ranks_minus: Sequence[int],
    *,
    tau: float,
    alpha: float = 1.0,
) -> np.ndarray:
    """All d N eigenvalues of `hessian_eigenvalues`, ascending, repeated by multiplicity.

    Examples
    --------
    Zero is always a strict local maximum:

    >>> hessian_spectrum((1, 1), 2, (0, 0), (0, 0), tau=0.1).tolist()
    [-0.1, -0.1, -0.1, -0.1]
    """
    values, multiplicities = hessian_eigenvalues(class_sizes, dim, ranks_plus, ranks_minus, tau=tau, alpha=alpha)
    return np.sort(np.repeat(values, multiplicities))
