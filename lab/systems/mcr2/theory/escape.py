r"""Escape directions: explicit directions of positive curvature at every critical point that is not a local maximum.

Each constructor returns a unit-norm perturbation E of shape (N, d) (samples in rows) with an exact Rayleigh quotient
:math:`D^2F(Z)[E,E]`. Three kinds, for an eigenspace E_j of effective fraction theta (see `fusion_frames`):

* *scaling* a group on the lower branch: ``4 alpha u h''(u; theta)``, an eigenvector;
* *parting*: overlapping classes move apart into the kernel, or into a direction of smaller eigenvalue:
  ``alpha [1/(1+w) - 1/(1+u)]``, w = 0 for the kernel;
* *rebalancing*: overlapping classes trade energy while the Gram matrix of the whole stays fixed to first order:
  ``2 alpha u theta/(theta+u)²`` times the share of the perturbation that changes energies (the rest rotates the
  classes). The share is 1 where two classes have a direction in common.

Scaling applies to every lower branch and rebalancing to every overlap, so a critical point has an escape direction
unless it is orthogonal and on the upper branch throughout, that is, a local maximum.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.fusion_frames import Eigenspace, effective_fraction, read_fusion_frame
from lab.systems.mcr2.theory.thresholds import direction_curvature, u_minus

__all__ = [
    "Escape",
    "escape_directions",
    "parting_curvature",
    "parting_escape",
    "rebalancing_curvature",
    "rebalancing_escape",
    "scaling_curvature",
    "scaling_escape",
]


class Escape(NamedTuple):
    """Kind ("scaling", "parting", "rebalancing"), unit-norm direction (N, d), exact Rayleigh quotient."""

    kind: str
    direction: np.ndarray
    curvature: float


def scaling_curvature(theta, tau, alpha=1.0):
    r"""Curvature along the scaling of a group on the lower branch: :math:`4\alpha u_-h''(u_-;\theta)>0`.

    `theta` in (0, 1), `tau` below its spinodal (0 at the spinodal); `alpha` sets the unit.
    """
    u = u_minus(theta, tau)
    return 4 * domain.positive("alpha", alpha) * u * direction_curvature(u, theta)


def parting_curvature(u, into=0.0, alpha=1.0):
    r"""Curvature when an overlapping group of reduced eigenvalue `u` parts: :math:`\alpha[1/(1+w)-1/(1+u)]`.

    w = `into` < u is the reduced eigenvalue of the direction that they part into, 0 for the kernel; then it is
    :math:`\alpha u/(1+u)`.
    """
    u = domain.positive("u", u)
    into = domain.checked("into", into, lambda w: (w >= 0) & (w < u), "must lie in [0, u); parting goes downwards")
    return domain.positive("alpha", alpha) * ((u - into) / (1 + u) / (1 + into))


def rebalancing_curvature(u, theta, share=1.0, alpha=1.0):
    r"""Curvature when overlapping classes trade energy: :math:`2\alpha\,\mathrm{share}\,u\theta/(\theta+u)^2`.

    `share` in (0, 1] is the squared norm of the part of the perturbation that changes energies, as returned by
    `rebalancing_escape`. Independent of the class sizes.
    """
    u, theta = domain.positive("u", u), domain.fraction(theta, "theta")
    share = domain.fraction(share, "share")
    return 2 * domain.positive("alpha", alpha) * share * u / (theta + u) * (theta / (theta + u))


def scaling_escape(Z, basis) -> np.ndarray:
    """The part of Z in the eigenspace spanned by the orthonormal columns of `basis` (d, m), normalised."""
    part = Z @ basis @ basis.T
    return part / np.linalg.norm(part)


def _class_frames(Z, class_sizes, basis):
    """Per class: left vectors (N_k, m_k), common singular value, and frame (m, m_k) of its part in the eigenspace."""
    Z = np.asarray(Z, dtype=float)
    for block in np.split(Z @ basis, np.cumsum(domain.sizes(class_sizes))[:-1]):
        left, singular, right = np.linalg.svd(block, full_matrices=True)
        rank = int(np.sum(singular > 1e-6 * np.linalg.norm(Z)))
        yield left[:, :rank], float(np.mean(singular[:rank])) if rank else 0.0, right.T, rank


def _require_overlap(found: int, needed: int) -> None:
    if found <= needed:
        raise OutOfDomain("basis: no two classes overlap in this eigenspace, so they have nothing to share; "
                          "use scaling_escape on a lower branch (on the upper one it is a maximum)")


def parting_escape(Z, class_sizes: Sequence[int], basis, target) -> np.ndarray:
    """Move the samples of an overlapping group along `target` so that the whole Gram matrix keeps its first order.

    ``E_k = a_k target^T`` with ``a_k`` in the column space of ``Z_k basis`` and ``sum_k Z_k^T a_k = 0``, which has a
    solution as soon as classes overlap in the eigenspace spanned by `basis` (d, m).

    Parameters
    ----------
    Z : array_like, shape (N, d)
        Critical point; samples in rows, classes contiguous.
    class_sizes : sequence of int
    basis : array, shape (d, m)
        Orthonormal basis of the eigenspace of the group.
    target : array, shape (d,)
        Unit vector in the kernel of Z, or in an eigenspace of smaller eigenvalue and orthogonal there to every class
        of the group.
    """
    parts = list(_class_frames(Z, class_sizes, basis))
    constraint = np.concatenate([sigma * right[:, :rank] for _, sigma, right, rank in parts], axis=1)
    _require_overlap(constraint.shape[1], constraint.shape[0])
    coefficients = np.linalg.svd(constraint)[2][-1]  # more columns than rows: the last right vector is null
    split = np.split(coefficients, np.cumsum([rank for *_, rank in parts])[:-1])
    a = np.concatenate([left @ part for (left, *_), part in zip(parts, split, strict=True)])
    return np.outer(a, target)


def rebalancing_escape(Z, class_sizes: Sequence[int], basis) -> tuple[np.ndarray, float]:
    r"""Best trade of energy between the classes of an overlapping group.

    With :math:`Z_kW=\sigma_kV_kB_k^\top` on the eigenspace W, the perturbations are
    :math:`E_k=V_k(B_kS_k+B_k^\perp R_k)^\top W^\top`, S_k symmetric, with :math:`Z^\top E+E^\top Z=0`. Their quotient
    is proportional to :math:`\sum\|S_k\|^2/\sum(\|S_k\|^2+\|R_k\|^2)`, which is maximised.

    Parameters
    ----------
    Z, class_sizes, basis
        As in `parting_escape`.

    Returns
    -------
    E : array, shape (N, d)
        Unit norm.
    share : float
        The maximum, in (0, 1].
    """
    parts, m = list(_class_frames(Z, class_sizes, basis)), basis.shape[1]
    offsets = np.concatenate([[0], np.cumsum(domain.sizes(class_sizes))])
    _require_overlap(sum(rank for *_, rank in parts), m)
    moves, changes, energetic = [], [], []
    for k, (left, sigma, right, rank) in enumerate(parts):
        pairs = [(i, j) for j in range(rank) for i in (*range(j + 1), *range(rank, m))]
        for i, j in pairs:
            C = np.zeros((m, rank))
            C[:, j] = right[:, i]
            if i < rank:
                C[:, i] += right[:, j]
            C /= np.linalg.norm(C)
            E = np.zeros((offsets[-1], m))
            E[offsets[k] : offsets[k + 1]] = left @ C.T
            change = sigma * C @ right[:, :rank].T
            moves.append(E)
            changes.append((change + change.T).ravel())
            energetic.append(float(i < rank))
    singular, vectors = np.linalg.svd(np.array(changes).T, full_matrices=True)[1:]
    kept = vectors[int(np.sum(singular > 1e-9 * singular[0])) :]  # combinations that leave the whole Gram fixed
    shares, mixes = np.linalg.eigh(kept * np.array(energetic) @ kept.T)
    E = np.tensordot(mixes[:, -1] @ kept, np.array(moves), axes=1)
    return E @ basis.T, min(float(shares[-1]), 1.0)


def escape_directions(
    Z, class_sizes: Sequence[int], *, eps: float, lam: float, tolerance: float = 1e-6
) -> list[Escape]:
    """Explicit escape directions at a critical point, steepest first.

    Parameters
    ----------
    Z : array_like, shape (N, d)
        Critical point of F; samples in rows, classes contiguous.
    class_sizes, eps, lam, tolerance
        As in `fusion_frames.read_fusion_frame`.

    Returns
    -------
    list of Escape
        At most one per eigenspace and kind; empty iff Z is a local maximum (lambda not exactly at a spinodal). The
        first one need not be the steepest direction of all: rebalancing is optimal only among its own kind.

    Raises
    ------
    OutOfDomain
        If Z is not critical within the tolerance.
    """
    Z = np.asarray(Z, dtype=float)
    spaces = read_fusion_frame(Z, class_sizes, eps=eps, lam=lam, tolerance=tolerance)
    alpha, found = domain.gram_scale(Z.shape[0], Z.shape[1], eps=eps), []
    tau = float(lam) / alpha
    us = [float(alpha * np.linalg.norm(Z @ space.basis) ** 2 / space.basis.shape[1]) for space in spaces]
    for j, (space, u) in enumerate(zip(spaces, us, strict=True)):
        theta = float(effective_fraction(1 + u, tau))
        if space.sign < 0:
            found.append(Escape("scaling", scaling_escape(Z, space.basis), float(scaling_curvature(theta, tau, alpha))))
        if np.trace(space.projections.sum(axis=0)) < space.basis.shape[1] + 0.5:
            continue  # no overlap in this eigenspace
        target, into = _target(spaces, us, j, Z.shape[1])
        if target is not None:
            E = parting_escape(Z, class_sizes, space.basis, target)
            found.append(Escape("parting", E, float(parting_curvature(u, into, alpha))))
        E, share = rebalancing_escape(Z, class_sizes, space.basis)
        found.append(Escape("rebalancing", E, float(rebalancing_curvature(u, theta, share, alpha))))
    return sorted(found, key=lambda escape: -escape.curvature)


def _target(spaces: list[Eigenspace], us: list[float], j: int, dim: int):
    """The direction of least eigenvalue below us[j] that no class of group j occupies, and that eigenvalue."""
    basis = np.concatenate([space.basis for space in spaces], axis=1)
    if basis.shape[1] < dim:
        return np.linalg.svd(basis)[0][:, -1], 0.0  # orthogonal to every eigenspace: in the kernel of Z
    members = np.trace(spaces[j].projections, axis1=1, axis2=2) > 0.5
    for i in np.argsort(us):
        if us[i] >= us[j]:
            break
        occupied, vectors = np.linalg.eigh(spaces[i].projections[members].sum(axis=0))
        if occupied[0] < 1e-6:
            return spaces[i].basis @ vectors[:, 0], us[i]
    return None, 0.0
