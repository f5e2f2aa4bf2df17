r"""Curves and surfaces to be flattened, and test beds on which estimators of intrinsic dimension are exact.

Samples are rows. Flattening sets come with the coordinates they were made from, so that folds can be told from bends;
along a curve the rows are in the order of its parameter. Test beds are homogeneous spaces (no boundary, every point
alike), the open cube being the control, and balls on a sphere seen from their centre.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np

from lab import checks
from lab.errors import InputError

__all__ = ["SPACES", "FlatteningSet", "arc", "ball_patch", "gp_manifold", "period", "sine_graph", "swiss_roll",
           "uniform_points"]  # fmt: skip

SPACES = ("circle", "torus", "sphere", "cube")

Space = Literal["circle", "torus", "sphere", "cube"]


class FlatteningSet(NamedTuple):
    """Samples X (n, D), the intrinsic coordinates (n, d) they were made from, and whether a curve is closed."""

    X: np.ndarray
    latent: np.ndarray
    closed: bool


def _along(rng: np.random.Generator | None, n: int, closed: bool = False) -> np.ndarray:
    """Increasing positions in [0, 1] (in [0, 1) of a closed curve): evenly spaced, or uniform draws of `rng`."""
    n = checks.integer("n", n, 3)
    return np.linspace(0, 1, n, endpoint=not closed) if rng is None else np.sort(rng.random(n))


def sine_graph(
    n: int, *, rng: np.random.Generator | None = None, periods: float = 1.0, unit: bool = True
) -> FlatteningSet:
    """Graph of ``sin(2 pi periods t)`` over t in [0, 1], shape (n, 2).

    Parameters
    ----------
    n : int, >= 3
        Samples, in the order of t.
    rng : numpy.random.Generator, optional
        Draws t uniformly; evenly spaced without.
    periods : float, > 0
    unit : bool
        Both coordinates scaled to standard deviation 1 about mean 0.
    """
    periods = float(checks.positive("periods", periods))
    t = _along(rng, n)
    X = np.stack([t, np.sin(2 * math.pi * periods * t)], axis=1)
    if unit:
        X = (X - X.mean(0)) / X.std(0)
    return FlatteningSet(X, t[:, None], False)


def arc(
    n: int, angle: float = 1.5 * math.pi, *, rng: np.random.Generator | None = None, radius: float = 1.0, D: int = 2
) -> FlatteningSet:
    """Arc of a circle in the first two of D coordinates, shape (n, D); an `angle` of 2 pi gives the closed circle.

    The intrinsic coordinate is the polar angle. Evenly spaced, or uniform with `rng`.
    """
    checks.checked("angle", angle, lambda v: (v > 0) & (v <= 2 * math.pi), "must lie in (0, 2 pi]")
    radius, D = float(checks.positive("radius", radius)), checks.integer("D", D, 2)
    closed = angle == 2 * math.pi
    t = angle * _along(rng, n, closed)
    X = np.zeros((n, D))
    X[:, 0], X[:, 1] = radius * np.cos(t), radius * np.sin(t)
    return FlatteningSet(X, t[:, None], closed)


def swiss_roll(rng: np.random.Generator, n: int, *, width: float = 21.0) -> FlatteningSet:
    """Sheet rolled up along ``(t cos t, t sin t)``, t in [1.5 pi, 4.5 pi], shape (n, 3); latent (t, height)."""
    n = checks.integer("n", n, 3)
    t = math.pi * (1.5 + 3 * rng.random(n))
    height = float(checks.positive("width", width)) * rng.random(n)
    return FlatteningSet(np.stack([t * np.cos(t), height, t * np.sin(t)], axis=1), np.stack([t, height], axis=1), False)


def gp_manifold(rng: np.random.Generator, n: int, d: int, D: int, *, length: float = 1.0) -> FlatteningSet:
    r"""Random d-dimensional surface in D dimensions: each coordinate an independent Gaussian process over [0, 1]^d.

    .. math:: \mathrm{Cov}(X_i(p), X_i(p')) = \tfrac1D\, e^{-|p-p'|^2/2\ell^2}

    Parameters
    ----------
    n, d, D : int
        Samples (at uniform p), dimension of the latent cube, ambient dimension.
    length : float, > 0
        Correlation length; long ones give flat surfaces.

    Notes
    -----
    Drawn through the eigenvectors of the covariance of the n points, O(n³): eigenvalues of rounding size count as 0.
    """
    n, d, D = checks.integer("n", n, 3), checks.integer("d", d, 1), checks.integer("D", D, 1)
    length = float(checks.positive("length", length))
    p = rng.random((n, d))
    squares = np.sum(p**2, axis=1)
    gaps = np.maximum(squares[:, None] + squares - 2 * p @ p.T, 0.0)
    values, vectors = np.linalg.eigh(np.exp(-gaps / (2 * length**2)))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return FlatteningSet(root @ rng.standard_normal((n, D)) / math.sqrt(D), p, False)


def period(space: Space) -> float | None:
    """Period of the coordinates that `uniform_points` gives: 2 pi, 1, or None where there is none."""
    return {"circle": 2 * math.pi, "torus": 1.0}.get(space)


def uniform_points(rng: np.random.Generator, space: Space, n: int, d: int, sets: int | None = None) -> np.ndarray:
    r"""Uniform points of a test bed in coordinates whose (periodic) Euclidean distance is that of the bed.

    =========  ==============================  ===========================================================
    space      coordinates                     probability of a ball of radius t
    =========  ==============================  ===========================================================
    circle     angle in [0, 2 pi)              t/pi, geodesic, for every t
    torus      [0, 1)^d, periodic              volume of the d-ball, up to t = 1/2
    sphere     unit vectors in R^(d+1)         :math:`I_{t^2/4}(d/2, d/2)`, chordal; for d = 2 t²/4, every t
    cube       [0, 1)^d                        no power of t: the control
    =========  ==============================  ===========================================================

    Parameters
    ----------
    n, d : int, > 0
        Points, dimension (1 on the circle).
    sets : int, optional
        Independent sets: shape (sets, n, D) instead of (n, D).
    """
    if space not in SPACES:
        raise InputError(f"space={space!r} must be one of {', '.join(SPACES)}")
    n, d = checks.integer("n", n, 1), checks.integer("d", d, 1)
    if space == "circle" and d != 1:
        raise InputError(f"d={d}: the circle has dimension 1; take the torus or the sphere")
    lead = (n,) if sets is None else (checks.integer("sets", sets, 1), n)
    if space == "sphere":
        x = rng.standard_normal((*lead, d + 1))
        return x / np.sqrt(np.sum(x**2, axis=-1, keepdims=True))
    return rng.random((*lead, d)) * (period(space) or 1.0)


def ball_patch(
    rng: np.random.Generator, n: int, d: int, r: float, R: float, *, geodesic: bool = False, sets: Any = None
) -> np.ndarray:
    r"""Points :math:`(u, R - \sqrt{R^2 - |u|^2})` of a sphere of radius R in R^(d+1), seen from its lowest point.

    u is uniform in the d-ball of radius r: a patch in the coordinates of its tangent space. With `geodesic` the points
    are instead uniform on the geodesic ball of radius r.

    Returns
    -------
    array, shape (n, d + 1) or (sets, n, d + 1)
    """
    n, d = checks.integer("n", n, 1), checks.integer("d", d, 1)
    R = float(checks.positive("R", R))
    largest = math.pi * R if geodesic else R
    r = float(checks.checked("r", r, lambda v: (v > 0) & (v <= largest), f"must lie in (0, {largest:g}]"))
    lead = (n,) if sets is None else (sets, n)
    direction = rng.standard_normal((*lead, d))
    direction /= np.sqrt(np.sum(direction**2, axis=-1, keepdims=True))
    uniform = rng.random(lead)
    if not geodesic:
        length = r * uniform ** (1 / d)
        height = length**2 / (R + np.sqrt(R**2 - length**2))
    else:
        from scipy.special import betainc, betaincinv

        share = betainc(d / 2, d / 2, math.sin(r / (2 * R)) ** 2)
        half = betaincinv(d / 2, d / 2, uniform * share)  # squared sine of half the angle
        length, height = 2 * R * np.sqrt(half * (1 - half)), 2 * R * half
    return np.concatenate([length[..., None] * direction, height[..., None]], axis=-1)
