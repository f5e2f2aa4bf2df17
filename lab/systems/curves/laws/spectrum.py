"""Spectra of kernels on homogeneous curves: exactly by Fourier transform, and in closed form for deep networks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality, Limit
from lab.data import curves
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.angle_kernels import AngleTable, hidden_kernel, skeleton
from lab.params import Ge, Le, LogScale, Params
from lab.systems.curves.laws.skeleton import DERIVED
from lab.systems.curves.theory import spectrum as theory

# ---------------------------------------------------------------------- exactly, by Fourier transform


def covariance_kernel(X: np.ndarray, depth: int) -> np.ndarray:
    """Hidden kernel per unit of width between distinct unit rows, by the recursion of covariances: cosines alone,
    angles by arctan, as the papers write it. Shape (N, N)."""
    cosine = np.clip(X @ X.T, -1, 1)
    np.fill_diagonal(cosine, 1.0)
    kernel = np.zeros_like(cosine)
    for _ in range(depth):
        sine = np.sqrt((1 - cosine) * (1 + cosine))
        angle = np.arctan2(sine, cosine)
        kernel = (kernel + cosine) * (1 - angle / np.pi)
        cosine = ((np.pi - angle) * cosine + sine) / np.pi
        np.fill_diagonal(cosine, 1.0)
    return kernel / 2


def lost_digits(least_sine: float, depth: int) -> float:
    """Error in epsilons, relative to its peak, of a kernel of this depth by recursion of cosines between points at
    angles of at least this sine: a cosine's error of an epsilon a layer is one of an epsilon over the sine in
    the angle; angles after l layers are at least nu/(1 + l nu/pi), a product has L of them, and the recursion
    carries every one on."""
    layers = np.arange(depth)
    return float(np.sum((layers + 1) * (1 / least_sine + layers / 2)))


class Winding(Params):
    """Two orbit curves of frequencies 1 and m, the second with other amplitudes and turned in both planes."""

    windings: Annotated[int, Ge(2), Le(5)] = 3
    square_plus: Annotated[float, Ge(0.2), Le(0.8)] = 0.5
    square_minus: Annotated[float, Ge(0.2), Le(0.8)] = 0.3
    phase: Annotated[float, Ge(0.3), Le(2.0)] = 1.0
    points: Annotated[int, Ge(6), Le(40)] = 15
    depth: Annotated[int, Ge(1), Le(40)] = 8

    @property
    def squares(self) -> tuple[dict[int, float], dict[int, float]]:
        both = (self.square_plus, self.square_minus)
        return tuple({1: c2, self.windings: 1 - c2} for c2 in both)  # type: ignore[return-value]

    @property
    def angles(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Angles from the first point of a curve to all of the same, the other; closed forms."""
        tau = 2 * np.pi * np.arange(self.points) / self.points
        plus, minus = self.squares
        cross = curves.orbit_cross_angle(plus, minus, {1: self.phase}, tau)
        return curves.orbit_angle(plus, tau), cross, curves.orbit_angle(minus, tau)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.least_sine < 0.05:
            raise ValueError(f"{self!r} has two points nearer or nearer to opposite than .05; change points or phase")
        return self

    @property
    def least_sine(self) -> float:
        """Smallest sine of an angle between two different points."""
        own, cross, other = self.angles
        return float(np.min(np.sin(np.concatenate([own[1:], cross, other[1:]]))))


@measurement
def dense_spectrum(p: Winding, stream, *, jitter: float = 0.0):
    """Eigenvalues of the Gram matrix of both curves over its size, under a random rotation; points off by `jitter`."""
    sample = curves.orbit_pair(*p.squares, {1: p.phase}, points=p.points)
    X = curves.rotated(stream.numpy("rotation"), sample).X
    if jitter:
        X = X + jitter * stream.numpy("jitter").standard_normal(X.shape)
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
    return {"spectrum": np.linalg.eigvalsh(covariance_kernel(X, p.depth) / len(X))}


def fourier_spectrum(p: Winding, *, even: bool = False) -> np.ndarray:
    """Eigenvalues by the Fourier transform of three rows; of the even part of the row between the curves if asked."""
    own, cross, other = (hidden_kernel(nu, p.depth) for nu in p.angles)
    if even:
        cross = (cross + np.roll(cross[::-1], 1)) / 2
    return theory.pair_spectrum(own, cross, other)


def gram_errors(p: Winding) -> float:
    """eigenvalues move by at most the norm of the error: that of the kernel (its peak L/2 times the digits lost at
    the nearest points, from cosines that are sums of four products of rotated coordinates, sums of four products
    too: 8 epsilons), and of the symmetric eigenvalue problem, 2N epsilons of a norm of at most L/2"""
    return p.depth / 2 * (8 * lost_digits(p.least_sine, p.depth) + 2 * p.points)


CIRCULANT_SPECTRUM = Law(
    id="curves/circulant-spectrum",
    source=Source("arXiv:2008.11245", "circulant kernel of coaxial circles; for orbit curves derived here"),
    statement="""
    On two orbit curves of the same frequencies every function of the angle is block-circulant: the eigenvalues
    of its Gram matrix over 2N are those of N Hermitian 2 x 2 blocks of the Fourier transforms of three rows, for
    every N, dimension and rotation. The blocks are real only if the second curve is not turned against the first
    (control).
    """,
    params=Winding,
    predict=fourier_spectrum,
    measure=dense_spectrum,
    claim=Equality(of="spectrum", rounding=gram_errors, scale=lambda p: p.depth / 2),
    controls={
        "points off by a thousandth": but(measure=partial(dense_spectrum, jitter=1e-3)),
        "real blocks": but(predict=partial(fourier_spectrum, even=True)),
    },
    examples=(Winding(), Winding(windings=5, points=23, depth=40), Winding(windings=2, points=7, depth=1)),
    draws=Draws(shapes=6, values=2),
)

# ---------------------------------------------------------------------- in closed form


class DeepCircle(Params):
    """A circle of radius r: mode j and depth L grow together, from `mode` and `shallowest` to 16 times as much."""

    r: Annotated[float, Ge(0.2), Le(0.9)] = 0.5
    mode: Annotated[int, Ge(1), Le(20), LogScale()] = 2
    shallowest: Annotated[int, Ge(20), Le(60)] = 30

    @property
    def multiples(self) -> np.ndarray:
        return 2 ** np.arange(5)


POINTS = 2**15


def kernel_along(squares: Mapping[int, float], depth: int) -> np.ndarray:
    """Skeleton between the first and all points of an orbit curve, shape (POINTS,); tabulated to 1e-9 of its peak."""
    nu = curves.orbit_angle(squares, 2 * np.pi * np.arange(POINTS // 2 + 1) / POINTS)
    half = AngleTable(skeleton, depth, 2049)(nu)
    return np.concatenate([half, half[-2:0:-1]])


def fine_spectrum(row: np.ndarray) -> np.ndarray:
    """Eigenvalues on the curve, by Fourier transform of all points and of every other one.

    The cusp adds ``C/N²`` to every mode; the two together are without it, good to ``(j/N)^4 + (v L/N)^4`` of the peak.
    """
    coarse = theory.circulant_spectrum(row[::2])
    return (4 * theory.circulant_spectrum(row)[: coarse.size] - coarse) / 3


@measurement
def growing_modes(p: DeepCircle, stream, *, exponent: float = 1.0):
    """Eigenvalues of the skeleton at mode and depth times 1, 2, ..., 16, by Fourier transform of the kernel along the
    circle; of the kernel to some power if asked."""
    found = []
    for k in p.multiples:
        row = kernel_along({0: 1 - p.r**2, 1: p.r**2}, p.shallowest * int(k))
        row = (row / row[0]) ** exponent * row[0]
        found.append(fine_spectrum(row)[p.mode * int(k)])
    return {"depth": p.shallowest * p.multiples, "eigenvalue": np.array(found)}


def closed_modes(p: DeepCircle, *, regime: str = "closed") -> np.ndarray:
    """The closed form with the next term, or one of its two regimes, along the axis."""
    formula: dict[str, Any] = {
        "closed": partial(theory.closed_spectrum, corrected=True),
        "logarithmic": theory.logarithmic_spectrum,
        "cusp": theory.cusp_spectrum,
    }
    return formula[regime](p.mode * p.multiples, p.shallowest * p.multiples, p.r)


def logarithms_left(p: DeepCircle) -> float:
    """what follows the terms of the closed form is of order (log L/L)²; the fit knows it without its logarithms,
    and is trusted no further than its size at the deepest network"""
    depth = p.shallowest * p.multiples[-1]
    return float(np.log(depth) / depth) ** 2


SPECTRUM_CLOSED_FORM = Law(
    id="curves/spectrum-closed-form",
    source=Source(DERIVED),
    statement="""
    On a circle of radius r (or any homogeneous curve that does not come near itself) the skeleton of a deep
    network has the eigenvalues, at fixed x = 3 pi j/(L r),

        lambda_j = n (3/(8 r)) [g + (1 - x f) + (1/2 - x² g/2)],

    f, g the auxiliary functions of sine and cosine integrals at x; the relative error is of order 1/L. Low modes gain
    only a logarithm from depth, n (3/(8 r)) [log(L r/(3 pi j)) + 3/2 - gamma]; beyond j ~ L r/(3 pi) the cusp rules, n
    L (L + 1) r/(4 pi² j²). Neither regime serves for the other (controls).
    """,
    params=DeepCircle,
    predict=closed_modes,
    measure=growing_modes,
    claim=Limit(of="eigenvalue", along="depth", order=2.0, stated=logarithms_left),
    controls={
        "logarithm at every mode": but(predict=partial(closed_modes, regime="logarithmic")),
        "cusp at every mode": but(predict=partial(closed_modes, regime="cusp")),
        "squared kernel": but(measure=partial(growing_modes, exponent=2.0)),
    },
    examples=(DeepCircle(), DeepCircle(mode=20, shallowest=20), DeepCircle(r=0.9, mode=1, shallowest=60)),
    draws=Draws(shapes=1, values=2),
)

# ---------------------------------------------------------------------- at every depth


class Modes(Params):
    """A circle of radius r at one depth: 24 modes, from 2 to 100 L r/(3 pi)."""

    r: Annotated[float, Ge(0.2), Le(0.9)] = 0.5
    depth: Annotated[int, Ge(10), Le(3000), LogScale()] = 100

    @property
    def modes(self) -> np.ndarray:
        return np.round(np.geomspace(2, min(100 * self.depth * self.r / (3 * np.pi), 2000.0), 24)).astype(int)


@measurement
def modes_at_depth(p: Modes, stream, *, exponent: float = 1.0):
    """Eigenvalues of the skeleton, as in curves/spectrum-closed-form, at one depth."""
    row = kernel_along({0: 1 - p.r**2, 1: p.r**2}, p.depth)
    row = (row / row[0]) ** exponent * row[0]
    return {"modes": p.modes, "eigenvalue": fine_spectrum(row)[p.modes]}


def next_terms(p: Modes) -> np.ndarray:
    """the next terms by their sizes: both parts of the term of order 1/L; and what the circle's bend adds to the
    kernel at small angles, |tau| ((1 - r²)/24 + .078 r²) over r in units of 3 pi/8, hence -1/j² of it in mode j"""
    logarithmic, rest = theory.mode_terms(3 * np.pi * p.modes / (p.depth * p.r))
    bend = (1 + p.r**2) / 24 / p.modes**2
    return 3 / (8 * p.r) * ((np.abs(logarithmic) + np.abs(rest)) / p.depth + bend)


SPECTRUM_AT_DEPTH = Law(
    id="curves/spectrum-at-depth",
    source=Source(DERIVED),
    statement="""
    The closed form of curves/spectrum-closed-form at finite depth, L >= 10, for every mode from the first to a
    hundred times L r/(3 pi): within the sizes of its next terms, of order 1/L, and 1/j² because the circle
    bends.
    """,
    params=Modes,
    predict=lambda p: theory.closed_spectrum(p.modes, p.depth, p.r),
    measure=modes_at_depth,
    claim=Equality(of="eigenvalue", finite_size=next_terms),
    controls={
        "logarithm at every mode": but(predict=lambda p: theory.logarithmic_spectrum(p.modes, p.depth, p.r)),
        "cusp at every mode": but(predict=lambda p: theory.cusp_spectrum(p.modes, p.depth, p.r)),
        "squared kernel": but(measure=partial(modes_at_depth, exponent=2.0)),
    },
    examples=(Modes(), Modes(r=0.3, depth=1000), Modes(depth=10, r=0.9)),
    draws=Draws(shapes=2, values=2),
)
