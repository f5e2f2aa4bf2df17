"""What every generator of curves returns: points at equal steps of arclength, labels, weights, geometry."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lab.errors import InputError

__all__ = ["Curves", "gathered", "steps"]


class Curves(NamedTuple):
    """One or two closed curves, each at N/C equal steps of arclength.

    Attributes
    ----------
    X : array, shape (N, n0)
        Unit rows, curve after curve.
    labels : array, shape (N,)
        +1 on the first curve, -1 on the second.
    arclength : array, shape (N,)
        Along the row's own curve, from 0.
    weights : array, shape (N,)
        Quadrature weights of arclength, 1/2 on each of two curves; their sum is 1.
    lengths, extrinsic : array, shape (C,)
        Length of each curve, and its largest curvature in the ambient space; ``kappa_g² = kappa_ext² - 1``.
    separation : float
        Smallest angle between the two curves; infinity if there is only one.
    homogeneous : bool
        All points of a curve are alike.
    """

    X: np.ndarray
    labels: np.ndarray
    arclength: np.ndarray
    weights: np.ndarray
    lengths: np.ndarray
    extrinsic: np.ndarray
    separation: float
    homogeneous: bool

    @property
    def geodesic(self) -> np.ndarray:
        """Largest geodesic curvature of each curve, shape (C,)."""
        return np.sqrt(np.maximum(self.extrinsic**2 - 1, 0))


def steps(points: int) -> np.ndarray:
    """Equal steps of a full turn, from 0."""
    if points < 1:
        raise InputError(f"points={points!r}: must be positive")
    return 2 * math.pi * np.arange(points) / points


def gathered(
    parts: list[np.ndarray], lengths: np.ndarray, extrinsic: np.ndarray, separation: float, homogeneous: bool, n0: int
) -> Curves:
    """Curves, sampled alike, as one set of rows in n0 dimensions."""
    curves, points = len(parts), len(parts[0])
    X = np.concatenate(parts)
    if n0 < X.shape[1]:
        raise InputError(f"n0={n0!r}: these curves need {X.shape[1]} dimensions; raise n0")
    X = np.pad(X, ((0, 0), (0, n0 - X.shape[1])))
    labels = np.repeat([1.0, -1.0][:curves], points)
    arclength = np.concatenate([length * np.arange(points) / points for length in lengths])
    weights = np.full(len(X), 1 / len(X))
    return Curves(X, labels, arclength, weights, lengths, extrinsic, separation, homogeneous)
