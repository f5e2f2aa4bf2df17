"""Geometry of any sampled curve: curvature, angle injectivity radius, clover number; random rotations."""

from __future__ import annotations

import math

import numpy as np

from lab.data.curves.sample import Curves
from lab.data.subspaces import haar
from lab.errors import InputError
from lab.models.angle_kernels import angles

__all__ = ["angle_injectivity", "clover_number", "curvatures", "rotated"]


def rotated(rng: np.random.Generator, curves: Curves) -> Curves:
    """The curves under a uniformly random orthogonal map of the ambient space; their geometry stays as it is."""
    return curves._replace(X=curves.X @ haar(rng, curves.X.shape[1]).T)


def curvatures(X: np.ndarray, length: float, *, tolerance: float = 1e-6) -> np.ndarray:
    """Extrinsic curvature ``|x''|`` of a closed curve given at equal steps of arclength, by Fourier differentiation.

    Parameters
    ----------
    X : array, shape (N, n0)
        One closed curve on the unit sphere; N even.
    length : float
    tolerance : float
        Every other point alone must give the same within this much of the largest curvature.

    Returns
    -------
    array, shape (N,)

    Raises
    ------
    InputError
        If half of the points give another answer: the curve is not resolved, sample it more finely.
    """
    if X.ndim != 2 or X.shape[0] % 2:
        raise InputError(f"X has shape {X.shape} but must be (N, n0) with N even: every other point alone is the check")

    def bending(points: np.ndarray) -> np.ndarray:
        n = len(points)
        frequency = 2 * math.pi * np.fft.rfftfreq(n, length / n)[:, None]
        return np.linalg.norm(np.fft.irfft(-(frequency**2) * np.fft.rfft(points, axis=0), n, axis=0), axis=1)

    fine = bending(X)
    error = float(np.max(np.abs(fine[::2] - bending(X[::2]))) / np.max(fine))
    if not error <= tolerance:
        raise InputError(
            f"the curvature changes by {error:.2g} of itself when every other of {len(X)} points is left out; sample "
            f"the curve more finely (tolerance {tolerance:g})"
        )
    return fine


def angle_injectivity(curves: Curves, *, eps: float = 0.05) -> tuple[float, float]:
    """Angle injectivity radius on the sampled points, and by how much that of the curves may be smaller.

    Parameters
    ----------
    curves : Curves
    eps : float in (0, 1)
        arXiv:2107.14324 takes 1/20.

    Returns
    -------
    radius, error : float
        The radius of the continuous curves lies in [radius - error, radius]: angles are 1-Lipschitz in arclength.
    """
    reach, step = _reach(curves, eps), float(np.max(curves.lengths)) * len(curves.lengths) / len(curves.X)
    distance, angle = _distances(curves)

    def smallest(least: float) -> float:
        return float(np.min(angle, initial=np.inf, where=distance >= least))

    radius = min(reach, smallest(reach))
    return radius, radius - max(min(reach, smallest(reach - step) - step), 0.0)


def clover_number(curves: Curves, *, eps: float = 0.05, delta: float = 0.5) -> int:
    """Largest number of strands near a point: covering number, by pieces of length 2/kh, of the points that are far
    along the curve (more than ``sqrt(eps)/kh``) but near in angle (at most ``delta sqrt(eps)/kh``).

    Parameters
    ----------
    curves : Curves
        The number is that of the sampled points: take steps well below ``delta sqrt(eps)/kh``.
    eps, delta : float in (0, 1)

    Returns
    -------
    int
        0 exactly if nothing comes near.
    """
    if not 0 < delta < 1:
        raise InputError(f"delta={delta!r}: must lie in (0, 1)")
    reach = _reach(curves, eps)
    piece = 2 * reach / math.sqrt(eps)
    distance, angle = _distances(curves)
    near = (distance > reach) & (angle <= delta * reach)
    size = len(curves.X) // len(curves.lengths)
    most = 0
    for row in near[near.any(axis=1)]:
        count = 0
        for c, length in enumerate(curves.lengths):
            part = slice(c * size, (c + 1) * size)
            count += _cover(curves.arclength[part][row[part]], float(length), piece)
        most = max(most, count)
    return most


def _reach(curves: Curves, eps: float) -> float:
    """``sqrt(eps)/kh``"""
    if not 0 < eps < 1:
        raise InputError(f"eps={eps!r}: must lie in (0, 1)")
    return math.sqrt(eps) / max(float(np.max(curves.geodesic)), 2 / math.pi)


def _distances(curves: Curves) -> tuple[np.ndarray, np.ndarray]:
    """Distances along the curves and angles between points (R, N): from all, or one of each curve if all are alike."""
    parts = len(curves.lengths)
    size = len(curves.X) // parts
    rows = np.arange(parts) * size if curves.homogeneous else np.arange(len(curves.X))
    own = np.repeat(np.arange(parts), size)
    along = np.abs(curves.arclength[rows, None] - curves.arclength)
    along = np.minimum(along, curves.lengths[own] - along)
    distance = np.where(own[rows, None] == own, along, np.inf)
    return distance, angles(curves.X[rows], curves.X)


def _cover(places: np.ndarray, length: float, piece: float) -> int:
    """Fewest arcs of length `piece` that cover the sorted `places` on a circle of this length."""
    n = len(places)
    if n == 0 or piece >= length:
        return min(n, 1)
    twice = np.concatenate([places, places + length])
    after = np.searchsorted(twice, twice + piece, side="right")  # first place that an arc starting here leaves out
    fewest = n
    # some best cover has all its arcs start at places; the one over places[0] starts there or less than an arc before
    for start in [0, *range(int(np.searchsorted(places, places[0] + length - piece)), n)]:
        at, count = start, 0
        while at < start + n:
            at, count = int(after[at]), count + 1
        fewest = min(fewest, count)
    return fewest
