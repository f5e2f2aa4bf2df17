r"""All critical points of the regularised objective: weighted tight fusion frames.

Z is critical iff the feature space splits into eigenspaces :math:`E_0, E_1, \dots, E_J` of the Gram matrix of all
samples (E_0 its kernel) that carry orthogonal projections :math:`P_{k,j}` (class k, rank m_{k,j}) with

.. math:: \sum_k x_k P_{k,j} = \theta_j I,\qquad Z_k^\top Z_k=\sum_j \frac{x_k t_j}{\theta_j} P_{k,j},
          \qquad \alpha t_j\in\{u_+,u_-\}(\theta_j,\tau),\quad \theta_j\in(0,1),\quad \sum_j m_{k,j}\le N_k .

(samples in rows). Overlapping classes thus act as one class of effective fraction theta; one class alone in E_j has
theta = x_k and P = I. Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.thresholds import direction_value, u_minus, u_plus

__all__ = [
    "Eigenspace",
    "effective_fraction",
    "frame_fraction",
    "fusion_frame_index",
    "fusion_frame_value",
    "read_fusion_frame",
]


class Eigenspace(NamedTuple):
    """One eigenspace E_j and the frame in it.

    Attributes
    ----------
    projections : array, shape (K, m, m)
        Orthogonal projections P_{k,j} in an orthonormal basis of E_j; zero for classes not in E_j.
    sign : int
        +1 on the upper branch, -1 on the lower one.
    basis : array, shape (d, m), optional
        The orthonormal basis, where the space was read off a given Z.
    """

    projections: np.ndarray
    sign: int
    basis: Any = None


def effective_fraction(mu, tau):
    r"""The fraction theta of a critical point read off an eigenvalue of :math:`M=I+\alpha Z^\top Z`.

    .. math:: \theta = \frac{(\mu-1)(1-\tau\mu)}{\mu-1+\tau\mu}

    Parameters
    ----------
    mu : array_like, in (1, 1/tau)
        Eigenvalue of M other than 1.
    tau : array_like, > 0
        lambda/alpha.

    Examples
    --------
    >>> from lab.systems.mcr2.theory.thresholds import u_plus
    >>> round(float(effective_fraction(1 + u_plus(0.3, 0.1), 0.1)), 12)
    0.3
    """
    tau = domain.multiplier(tau)
    rule = "must lie in (1, 1/tau), as at every critical point; pass eigenvalues of I + alpha Z^T Z on range Z"
    mu = domain.checked("mu", mu, lambda v: (v > 1) & (v * tau < 1), rule)
    return ((mu - 1) * (1 - tau * mu) / (mu - 1 + tau * mu))[()]


def frame_fraction(projections, fractions, *, tolerance: float = 1e-10) -> float:
    r"""The theta of a weighted tight fusion frame, :math:`\sum_k x_k P_k=\theta I`.

    Parameters
    ----------
    projections : array_like, shape (K, m, m)
        Orthogonal projections.
    fractions : array_like, shape (K,)
        Class fractions x_k.
    tolerance : float
        Largest entry by which projections and frame identity may fail.

    Returns
    -------
    float
        theta in (0, 1].

    Raises
    ------
    OutOfDomain
        If the matrices are no orthogonal projections or the frame is not tight.
    """
    P, x = np.asarray(projections, dtype=float), np.atleast_1d(domain.fraction(fractions, "fractions"))
    if P.ndim != 3 or P.shape[1] != P.shape[2] or P.shape[0] != x.size or P.shape[1] == 0:
        raise OutOfDomain(f"projections has shape {P.shape}: must be ({x.size}, m, m), one matrix per class, m >= 1")
    fault = max(np.abs(P @ P - P).max(), np.abs(P - P.mT).max())
    if not fault <= tolerance:
        raise OutOfDomain(f"projections: P P = P = P^T fails by {fault:.1e}; build P = B B^T from orthonormal B")
    total = np.tensordot(x, P, axes=1)
    theta = float(np.trace(total)) / P.shape[1]
    fault = np.abs(total - theta * np.eye(P.shape[1])).max()
    if not (fault <= tolerance and theta > 0):
        raise OutOfDomain(f"projections: sum_k x_k P_k is {fault:.1e} away from theta I (theta={theta:.6g}), not tight")
    return min(theta, 1.0)


def _branch(theta: float, sign: int, tau: float) -> float:
    if sign not in (1, -1):
        raise OutOfDomain(f"sign={sign!r}: must be +1 (upper branch) or -1 (lower branch)")
    return float((u_plus if sign > 0 else u_minus)(theta, tau))


def joined_eigenspaces(spaces: Sequence[Eigenspace], fractions, tau: float, tolerance: float):
    """(P, theta, u, sign) per eigenspace; spaces with equal u are one eigenspace and are joined."""
    parts: list[tuple[np.ndarray, float, float, int]] = []
    for space in spaces:
        P = np.asarray(space.projections, dtype=float)
        theta = frame_fraction(P, fractions, tolerance=tolerance)
        u = _branch(theta, space.sign, tau)
        for i, (other, _, w, _) in enumerate(parts):
            if abs(u - w) <= tolerance * u:
                m, n = other.shape[1], P.shape[1]
                joined = np.zeros((P.shape[0], m + n, m + n))
                joined[:, :m, :m], joined[:, m:, m:] = other, P
                parts[i] = (joined, theta, u, space.sign)
                break
        else:
            parts.append((P, theta, u, space.sign))
    return parts


def fusion_frame_value(dims: Sequence[int], thetas: Sequence[float], signs: Sequence[int], *, tau: float) -> float:
    r"""Value of F at a critical point: :math:`\sum_j m_j\,h(u_j;\theta_j,\tau)`, in nats.

    Parameters
    ----------
    dims : sequence of int
        Dimensions m_j of the eigenspaces.
    thetas : sequence of float, in (0, 1)
        Effective fractions.
    signs : sequence of +1 or -1
        Branch of each eigenspace.
    tau : float
        lambda/alpha, at most the spinodal of every theta.
    """
    if not len(dims) == len(thetas) == len(signs):
        raise OutOfDomain(f"dims, thetas, signs have lengths {len(dims)}, {len(thetas)}, {len(signs)}: must agree")
    parts = zip(dims, thetas, signs, strict=True)
    return float(sum(m * direction_value(_branch(theta, sign, tau), theta, tau) for m, theta, sign in parts))


def commutant_dimension(projections, tolerance: float) -> int:
    """Dimension of the symmetric matrices that commute with every projection, up to `tolerance`."""
    P = np.asarray(projections, dtype=float)
    m = P.shape[1]
    rows, columns = np.triu_indices(m)
    basis = np.zeros((rows.size, m, m))
    basis[np.arange(rows.size), rows, columns] = 1.0
    basis[np.arange(rows.size), columns, rows] = 1.0
    commutators = basis[:, None] @ P - P @ basis[:, None]
    singular = np.linalg.svd(commutators.reshape(rows.size, -1), compute_uv=False)
    return rows.size - int(np.sum(singular > tolerance))


def fusion_frame_index(
    spaces: Sequence[Eigenspace], fractions, dim: int, *, tau: float, tolerance: float = 1e-4
) -> int:
    r"""Number of directions of positive curvature of F at any critical point.

    With ``m_j = dim E_j``, ``n_j = sum_k m_{k,j}``, ``n2_j = sum_k m_{k,j}(m_{k,j}+1)/2``, ``q_j`` the dimension of
    the symmetric matrices on E_j that commute with all P_{k,j}, ``r = sum_j m_j``:

    .. math:: \sum_j\bigl[n^{(2)}_j-q_j[\text{upper}]+(n_j-m_j)(d-r)\bigr]+\sum_{j<j'}(n_{g}-m_{g})\,m_{\text{other}}

    where g is the one of j, j' with the larger eigenvalue. Eigenspaces of equal eigenvalue are joined first.

    Parameters
    ----------
    spaces : sequence of Eigenspace
        E_1, ..., E_J (without the kernel).
    fractions : array_like, shape (K,)
        Class fractions x_k.
    dim : int
        Dimension d of the features, at least the sum of the m_j.
    tau : float
        lambda/alpha, below the spinodal of every theta_j.
    tolerance : float
        By how much the frame identities may fail, relative difference of eigenvalues that are joined, and size of a
        commutator that counts as zero. Curvatures go with its square: 1e-4 matches 1e-8 alpha in a Hessian.

    Returns
    -------
    int
        0 iff the point is a local maximum.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    Three equal classes on lines at 120 degrees in a plane, upper branch, no free dimension:

    >>> angle = np.array([0, 2, 4]) * np.pi / 3
    >>> lines = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> mercedes = Eigenspace(lines[:, :, None] * lines[:, None, :], +1)
    >>> fusion_frame_index([mercedes], [1 / 3] * 3, 2, tau=0.05)
    2
    """
    parts = joined_eigenspaces(spaces, fractions, float(domain.multiplier(tau)), tolerance)
    dim, r = domain.integer("dim", dim, 1), sum(P.shape[1] for P, *_ in parts)
    if r > dim:
        raise OutOfDomain(f"dim={dim}: must be at least the total dimension {r} of the eigenspaces; raise dim")
    index, surplus = 0, []
    for P, _, _, sign in parts:
        m = np.round(np.trace(P, axis1=1, axis2=2)).astype(int)
        surplus.append(int(m.sum()) - P.shape[1])
        kept = commutant_dimension(P, tolerance) if sign > 0 else 0
        index += int(np.sum(m * (m + 1) // 2)) - kept + surplus[-1] * (dim - r)
    for i in range(len(parts)):
        for j in range(i):
            g, other = (i, j) if parts[i][2] > parts[j][2] else (j, i)
            index += surplus[g] * parts[other][0].shape[1]
    return index


def read_fusion_frame(
    Z, class_sizes: Sequence[int], *, eps: float, lam: float, tolerance: float = 1e-6
) -> list[Eigenspace]:
    """Decompose a critical point into its eigenspaces and frames.

    Parameters
    ----------
    Z : array_like, shape (N, d)
        Critical point of F; samples in rows, classes contiguous.
    class_sizes : sequence of int
        (N_1, ..., N_K).
    eps, lam : float, > 0
        Distortion and regularisation weight.
    tolerance : float
        Reduced eigenvalues below `tolerance` are the kernel; eigenvalues that differ by less than `tolerance`
        (relative) are equal; the frame identities may fail by `tolerance` times 100.

    Returns
    -------
    list of Eigenspace
        By descending eigenvalue, with `basis`; empty for Z = 0. Projections are cleaned to rounding.

    Raises
    ------
    OutOfDomain
        If Z is not critical within the tolerance.
    """
    n, Z = domain.sizes(class_sizes), np.asarray(Z, dtype=float)
    if Z.ndim != 2 or Z.shape[0] != n.sum():
        raise OutOfDomain(f"Z has shape {Z.shape}: must be (N, d) with N={n.sum()} rows, the sum of class_sizes")
    alpha = domain.gram_scale(int(n.sum()), Z.shape[1], eps=eps)
    tau = float(domain.multiplier(lam, "lam")) / alpha
    # the singular values of Z, not the eigenvalues of its square: keeps the full accuracy of small ones
    singular, rows = np.linalg.svd(Z, full_matrices=False)[1:]
    u = alpha * singular**2
    blocks, spaces, start = np.split(Z, np.cumsum(n)[:-1]), [], 0
    while start < u.size and u[start] > tolerance:
        stop = start + int(np.sum(np.abs(u[start:] / u[start] - 1) <= tolerance))
        W, t = rows[start:stop].T, float(np.mean(u[start:stop]))
        theta = float(effective_fraction(1 + t, tau))
        projections = np.stack(
            [_projection(theta / (size / n.sum()) * alpha / t * (block @ W).T @ (block @ W), tolerance)
             for size, block in zip(n, blocks, strict=True)]
        )
        frame_fraction(projections, n / n.sum(), tolerance=100 * tolerance)
        spaces.append(Eigenspace(projections, 1 if t > np.sqrt(theta) else -1, W))
        start = stop
    return spaces


def _projection(P: np.ndarray, tolerance: float) -> np.ndarray:
    """The orthogonal projection nearest to `P`, which must be one within 100 tolerances."""
    values, vectors = np.linalg.eigh(P)
    fault = float(np.abs(values - np.round(values)).max())
    if fault > 100 * tolerance or values.max() > 1.5:
        raise OutOfDomain(f"Z: a class Gram matrix is {fault:.1e} away from a projection on an eigenspace of the "
                          "whole; Z is not critical, polish it or raise tolerance")
    kept = vectors[:, values > 0.5]
    return kept @ kept.T
