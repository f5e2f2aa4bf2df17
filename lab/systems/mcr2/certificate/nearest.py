r"""The nearest critical point of F that can be named: by rounding, without enumerating the atlas.

Every direction of an orthonormal basis is moved to 0, u_- or u_+ of the effective fraction of the classes that share it
(`theory.aligned_points`). Then features and basis are fitted to each other in turn (two polar factors), which brings
the distance to the manifold of that entry to a local minimum, and directions are rounded again until nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2 import dynamics, theory
from lab.systems.mcr2.certificate.features import Features
from lab.systems.mcr2.theory import aligned_points

__all__ = ["Entry", "nearest_entry", "nearest_maximum"]

LARGE = 1e8  # multiplications of one pass from which fewer bases and rounds are tried
FRAME_DIM = 32  # largest dimension in which frames of non-commuting subspaces are looked for
POLISHED = 600  # entries of Z up to which it is brought onto a critical point before a frame is read


@dataclass(frozen=True, eq=False)
class Entry:
    """A critical point of F and how far the features are from it.

    Attributes
    ----------
    kind : "zero", "orthogonal", "aligned" or "frame"
        One class per direction; classes share whole directions; or their subspaces do not commute.
    parts : list of (classes, sign, theta, u, dimensions)
        Eigenspaces, largest first: which classes share it (indices), branch, effective fraction, reduced eigenvalue.
    value : float
        F at the entry, in nats.
    index : int
        Its directions of positive curvature; 0 iff it is a local maximum.
    ranks : array of int, shape (K,)
        Rank of each class.
    distance : float
        ||Z - Z*||_F/||Z||_F for the point Z* below: at most this far from the entry.
    Z : array, shape (N, d)
        The point, rows in the order of the input.
    """

    kind: str
    parts: list[tuple[tuple[int, ...], int, float, float, int]]
    value: float
    index: int
    ranks: np.ndarray
    distance: float
    Z: np.ndarray


def nearest_entry(features: Features, tau: float, *, critical: bool) -> Entry:
    """Nearest entry of any index; near a critical point (`critical`) also frames that are not aligned."""
    found = _rounded(features, tau, upper_only=False, alone=False)
    frame = _frame(features, tau) if critical and found.distance > 1e-6 else None
    return frame if frame is not None and frame.distance < 0.999 * found.distance else found


def nearest_maximum(features: Features, tau: float) -> Entry:
    """Nearest local maximum: one class per direction, upper branch or zero."""
    return _rounded(features, tau, upper_only=True, alone=True)


# ---------------------------------------------------------------------- aligned entries


def _rounded(features: Features, tau: float, **rule: Any) -> Entry:
    large = features.Y.size * features.dim > LARGE
    bases = _bases(features)[1 if large else 0 :]
    fits = [_fit(features, tau, W, rule, rounds=2 if large else 8) for W in bases]
    members, signs, u, Z, distance = min(fits, key=lambda fit: fit[-1])
    n = np.array(features.sizes)
    parts: dict[tuple[tuple[int, ...], int, float], int] = {}
    for held, sign, value in zip(members, signs, u, strict=True):
        key = (tuple(np.flatnonzero(held).tolist()), int(sign), float(value))
        parts[key] = parts.get(key, 0) + 1
    listed = [(held, sign, float(n[list(held)].sum() / n.sum()), value, m) for (held, sign, value), m in parts.items()]
    listed.sort(key=lambda part: (-part[3], part[0]))
    kind = "zero" if not listed else "aligned" if any(len(part[0]) > 1 for part in listed) else "orthogonal"
    value = aligned_points.aligned_value(members, signs, features.sizes, tau=tau)
    index = aligned_points.aligned_index(members, signs, features.sizes, features.dim, tau=tau)
    return Entry(kind, listed, value, index, members.sum(axis=0).astype(int), distance, features.expand(Z))


def _bases(features: Features) -> list[np.ndarray]:
    """Orthonormal bases (d, d) to start from: of the whole, of a mix that tells classes apart, of the classes."""
    K = len(features.sizes)
    weights = np.sqrt(1 + np.arange(K) / K)[:, None, None]
    return [_principal(features.Y), _principal(weights * features.Y), _greedy_basis(features)]


def _principal(rows: np.ndarray) -> np.ndarray:
    """All principal directions (d, d) of rows (..., d), strongest first."""
    flat = rows.reshape(-1, rows.shape[-1])
    return np.linalg.eigh(flat.T @ flat)[1][:, ::-1]


def _greedy_basis(features: Features) -> np.ndarray:
    """Strongest class directions that are new for more than half, made orthonormal, completed."""
    d, s = features.dim, features.singular
    right = features.Y / np.where(s > 0, s, 1)[:, :, None]
    kept = np.zeros((0, d))
    for place in np.argsort(-s, axis=None, kind="stable")[: 4 * d]:
        k, i = np.unravel_index(place, s.shape)
        rest = right[k, i] - kept.T @ (kept @ right[k, i])
        if s[k, i] > 0 and rest @ rest > 0.5 and len(kept) < d:
            kept = np.concatenate([kept, rest[None] / np.linalg.norm(rest)])
    return _completed(features, kept.T)


def _completed(features: Features, W: np.ndarray) -> np.ndarray:
    """Orthonormal columns W (d, m) and principal directions of the rest, shape (d, d)."""
    if W.shape[1] == features.dim:
        return W
    rest = np.linalg.svd(W, full_matrices=True)[0][:, W.shape[1] :] if W.shape[1] else np.eye(features.dim)
    return np.concatenate([W, rest @ _principal(features.Y @ rest)], axis=1)


def _fit(features: Features, tau: float, W: np.ndarray, rule: dict[str, Any], *, rounds: int):
    """(members, signs, u, Z*, relative distance) of the entry that rounding and fitting lead to from a basis."""
    best = None
    seen: set[bytes] = set()
    for _ in range(rounds):
        energies = features.alpha * np.sum((features.Y @ W) ** 2, axis=1).T
        members, signs, u = aligned_points.nearest_branches(energies, features.sizes, tau=tau, **rule)
        members, signs, u = _within_ranks(features, tau, energies, members, signs, u)
        active = signs != 0
        key = members[active].tobytes() + signs[active].tobytes()
        if key in seen:
            break
        seen.add(key)
        W, Z, distance = _fitted(features, members[active], u[active], W[:, active], steps=5)
        if best is None or distance < best[-1]:
            best = members[active], signs[active], u[active], W, distance
        W = _completed(features, W)
    assert best is not None
    members, signs, u, W, _ = best
    _, Z, distance = _fitted(features, members, u, W, steps=6 * rounds)
    return members, signs, u, Z, distance


def _within_ranks(features: Features, tau: float, energies, members, signs, u):
    """No class in more directions than it has samples: it leaves those where it is weakest."""
    members, signs, u = members.copy(), signs.copy(), u.copy()
    for k in np.flatnonzero(members.sum(axis=0) > features.sizes):
        held = np.flatnonzero(members[:, k])
        for j in held[np.argsort(-energies[held, k], kind="stable")][features.sizes[k] :]:
            members[j, k] = False
            theta = float(features.x[members[j]].sum())
            if theta > 0 and theory.nonzero_branch_exists(theta, tau):
                u[j] = (theory.u_plus if signs[j] > 0 else theory.u_minus)(theta, tau)
            else:
                members[j], signs[j], u[j] = False, 0, 0.0
    return members, signs, u


def _polar(matrix: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


def _fitted(features: Features, members, u, W, *, steps: int):
    """Basis W (d, m) and point Z* of the entry, alternately brought close to the features; relative distance."""
    Y, x = features.Y, features.x
    theta = members @ x
    scale = np.where(members, np.sqrt(u[:, None] / features.alpha * x / np.where(theta > 0, theta, 1)[:, None]), 0.0)
    norm, last = float(np.linalg.norm(Y)), np.inf
    Z = np.zeros_like(Y)
    for _ in range(steps):
        Z, target = np.zeros_like(Y), np.zeros_like(W)
        for k in range(len(x)):
            held, rows = np.flatnonzero(members[:, k]), int(features.filled[k].sum())
            if held.size:
                left = _polar(Y[k, :rows] @ W[:, held] * scale[held, k])
                Z[k, :rows] = left * scale[held, k] @ W[:, held].T
                target[:, held] += Y[k, :rows].T @ left * scale[held, k]
        distance = float(np.linalg.norm(Y - Z)) / norm
        if W.shape[1] == 0 or last - distance <= 1e-4 * distance:
            break
        last, W = distance, _polar(target)
    return W, Z, distance


# ---------------------------------------------------------------------- frames of subspaces that do not commute


def _frame(features: Features, tau: float) -> Entry | None:
    """The fusion frame read off features near a critical point; None where there is none to read.

    Small features are first brought onto the critical point by least squares on the gradient.
    """
    if features.dim > FRAME_DIM:
        return None
    lam, n, x = tau * features.alpha, features.sizes, features.x
    Z0, Y0 = features.Z, features.Y
    if features.Z.size <= POLISHED:
        polished = dynamics.critical_points(features.Z[None], n, eps=features.eps, lam=lam, max_steps=60).Z
        if len(polished):
            Z0 = polished[0]
            Y0 = np.zeros_like(features.Y)
            for k, block in enumerate(np.split(Z0, np.cumsum(n)[:-1])):
                Y0[k, : features.left[k].shape[1]] = features.left[k].T @ block
    for tolerance in (1e-6, 1e-4, 1e-2):
        try:
            spaces = theory.read_fusion_frame(Z0, n, eps=features.eps, lam=lam, tolerance=tolerance)
            break
        except OutOfDomain:
            continue
    else:
        return None
    held = np.zeros(len(n), dtype=int)
    parts, Z, value = [], np.zeros_like(features.Y), 0.0
    blocks: list[list[tuple[np.ndarray, float]]] = [[] for _ in n]
    for space in spaces:
        m = np.round(np.trace(space.projections, axis1=1, axis2=2)).astype(int)
        size = space.projections.shape[1]
        theta = float(x @ m / size)  # exact: the trace of the frame identity
        if not (0 < theta < 1 and theory.nonzero_branch_exists(theta, tau)):
            return None
        u = float((theory.u_plus if space.sign > 0 else theory.u_minus)(theta, tau))
        parts.append((tuple(np.flatnonzero(m).tolist()), space.sign, theta, u, size))
        value += size * float(theory.direction_value(u, theta, tau))
        held += m
        for k, rank in enumerate(m):
            if rank:
                inside = np.linalg.eigh(space.projections[k])[1][:, -rank:]
                blocks[k].append((space.basis @ inside, float(np.sqrt(u / features.alpha * x[k] / theta))))
    try:
        index = theory.fusion_frame_index(spaces, x, features.dim, tau=tau, tolerance=max(1e-4, 100 * tolerance))
    except OutOfDomain:
        return None
    for k, found in enumerate(blocks):
        if found:
            B = np.concatenate([basis for basis, _ in found], axis=1)
            s = np.concatenate([np.full(basis.shape[1], scale) for basis, scale in found])
            live = int(features.filled[k].sum())
            Z[k, :live] = _polar(Y0[k, :live] @ B * s) * s @ B.T
    distance = float(np.linalg.norm(features.Y - Z) / np.linalg.norm(features.Y))
    return Entry(_kind(spaces), parts, value, index, held, distance, features.expand(Z))


def _kind(spaces: list[theory.Eigenspace]) -> str:
    """What the projections are: one class per direction, commuting, or neither."""
    kind = "orthogonal" if spaces else "zero"
    for P in (space.projections for space in spaces):
        products = P[:, None] @ P
        if np.abs(products - products.mT).max() > 1e-2:
            return "frame"
        if np.trace(P.sum(axis=0)) > P.shape[1] + 0.5:
            kind = "aligned"
    return kind
