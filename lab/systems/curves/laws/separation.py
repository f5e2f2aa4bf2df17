"""Two near curves: the separation function as a limit, its correction, its crossover, and the best depth."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Crossover, Equality, Limit
from lab.data.curves import pair_angles
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.angle_kernels import skeleton
from lab.params import Ge, Le, LogScale, Params
from lab.systems.curves.laws.skeleton import DERIVED
from lab.systems.curves.theory import separation as theory

Activation = Literal["relu", "identity"]
Radius = Annotated[float, Ge(0.2), Le(0.7)]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(80)
PLACES = ((NODES + 1) / 2) ** 3
"""Nodes of a quadrature on (0, 1), dense at 0 where kernels have their cusp, and weights of the mean: along a circle
as exact as with 600 nodes, 1e-14, for L r <= 2000."""
MEAN = WEIGHTS / 2 * 3 * ((NODES + 1) / 2) ** 2


def eigenvalues(
    r: float, separations: np.ndarray, depths: np.ndarray, activation: Activation = "relu"
) -> tuple[np.ndarray, np.ndarray]:
    """lambda_- and lambda_+ per unit of width of symmetric pairs, shape (separations, depths), by quadrature of the
    kernel along the circles. For the identity in place of the ReLU the kernel is ``(L/2) cos nu``.
    """
    angles = [pair_angles(r, one, np.pi * PLACES) for one in separations]
    within, cross = angles[0][0], np.stack([one for _, one in angles])
    if activation == "identity":
        half = depths[:, None] / 2
        own, other = half * np.cos(within), half[:, None] * np.cos(cross)
    else:
        own, other = skeleton(within, depths.tolist()), skeleton(cross, depths.tolist())
    k_own, k_other = own @ MEAN, (other @ MEAN).T
    return (k_own - k_other) / 2, (k_own + k_other) / 2


# ---------------------------------------------------------------------- at fixed z, deeper and deeper


class Scaled(Params):
    """A symmetric pair of circles of radius r at ``z = L Delta/(3 pi)``, the same at every depth."""

    r: Radius = 0.5
    z: Annotated[float, Ge(0.02), Le(4.0), LogScale()] = 1.0

    @property
    def depths(self) -> np.ndarray:
        """Eleven depths, at least 20, each sqrt 2 times the last, at which the separation is at most .5."""
        return np.round(max(20.0, 6 * np.pi * self.z) * 2 ** np.linspace(0, 5, 11)).astype(int)

    @property
    def doublings(self) -> tuple[np.ndarray, np.ndarray]:
        """Depths with a depth (about) twice as large, and these."""
        return self.depths[:-2], self.depths[2:]


@measurement
def fixed_z(p: Scaled, stream, *, activation: Activation = "relu", mode: str = "difference"):
    """``(16 r/3) lambda_-`` (of the sum mode, lambda_+) at all depths, and its slope in 1/L over doublings of depth."""
    separations = 3 * np.pi * p.z / p.depths
    both = eigenvalues(p.r, separations, p.depths, activation)
    scaled = 16 * p.r / 3 * np.diagonal(both[0] if mode == "difference" else both[1])
    early, late = p.doublings
    slope = (scaled[:-2] - scaled[2:]) / (1 / early - 1 / late)
    # a term c/L² adds c (1/early + 1/late) to the slope: that is the axis along which it goes to its limit
    return {"depth": p.depths, "scaled": scaled, "between": 1 / (1 / early + 1 / late), "slope": slope}


def at_finite_depth(p: Scaled, *, doubled: bool = False, separated: bool = False) -> np.ndarray:
    """H(z), with the next orders at each depth (curves/separation-correction): they vanish in the limit, but K has a
    zero, so without them no one order would describe the approach."""
    limit = np.log(p.z) + 1.5 - np.log(2) if separated else theory.separation_function(p.z)
    orders = sum(theory.depth_terms(p.z)) / p.depths + theory.curvature_term(p.r, 3 * np.pi * p.z / p.depths)
    return (2 if doubled else 1) * limit + orders


SEPARATION_SCALING = Law(
    id="curves/separation-scaling",
    source=Source(DERIVED),
    statement="""
    Two circles of radius r at a smallest angle Delta, exchanged by a symmetry: the eigenvalue of the mode that tells
    them apart is, as L -> infinity and Delta -> 0 at fixed z = L Delta/(3 pi),

        lambda_- = n (3/(16 r)) H(z),   H(z) = log(z/2) + 3/2 + [(z² + 2) q - 3]/(2 (z² - 1)²),

    q = arctan(sqrt(z² - 1))/sqrt(z² - 1), artanh below 1. The curves cannot be told apart for z << 1, where H = z² (3
    log(2/z) - 13/4) and no logarithm of the depth shows (control); they are for z >> 1, where H = log z + 3/2 - log 2.
    Without the ReLU nothing of it is left (control).
    """,
    params=Scaled,
    predict=at_finite_depth,
    measure=fixed_z,
    claim=Limit(of="scaled", along="depth", order=2.0),
    controls={
        "identity instead of ReLU": but(measure=partial(fixed_z, activation="identity")),
        "sum mode": but(measure=partial(fixed_z, mode="sum")),
        "separated form at every z": but(predict=partial(at_finite_depth, separated=True)),
        "each circle of density one": but(predict=partial(at_finite_depth, doubled=True)),
    },
    examples=(Scaled(), Scaled(z=0.02), Scaled(z=0.2, r=0.3), Scaled(z=4.0, r=0.7)),
    draws=Draws(shapes=1, values=3),
)


def next_orders(p: Scaled, *, kept: slice = slice(0, 2)) -> np.ndarray:
    """K(z), or one of its parts, and what the curvature term contributes to the slope in 1/L between two depths."""
    early, late = p.doublings
    bent, straighter = (theory.curvature_term(p.r, 3 * np.pi * p.z / depths) for depths in (early, late))
    return sum(theory.depth_terms(p.z)[kept]) + (bent - straighter) / (1 / early - 1 / late)


def both_parts(p: Scaled) -> float:
    """Sizes of the parts of K, which is zero near z = 1.68."""
    return float(np.abs(theory.depth_terms(p.z)).sum())


def term_after(p: Scaled) -> float:
    """the fit knows one more term, of order 1/L; the one after it, of order (log L/L)², by the size of K and half way
    between the deepest pair of depths, where the extrapolation ends"""
    depth = p.depths[-1] / 3
    return both_parts(p) * float(np.log(depth) / depth) ** 2


SEPARATION_CORRECTION = Law(
    id="curves/separation-correction",
    source=Source(DERIVED),
    statement="""
    The next orders of curves/separation-scaling: (16 r/3) lambda_-/n = H(z) + K(z)/L + G + ..., K the integral of P(y)
    - P(sqrt(y² + z²)), P = (3/2) log v (1 + 3 v^-4) - 6 (1 - v^-3) + (3/2)(1 - v^-4), v = 1 + y: from the logarithm in
    the decay 3 pi/phi^(l) = l + (3/2) log l + ... of angles (control), and from the ends of the sum over layers
    (control); K is positive below z = 1.68. G, of order Delta² log(1/Delta), comes of the bend of the circles. Judged
    is the slope in 1/L.
    """,
    params=Scaled,
    predict=next_orders,
    measure=fixed_z,
    claim=Limit(of="slope", along="between", order=1.0, as_="difference", scale=both_parts, stated=term_after),
    controls={
        "angles decay without a logarithm": but(predict=partial(next_orders, kept=slice(1, 2))),
        "sum over layers without its ends": but(predict=partial(next_orders, kept=slice(0, 1))),
    },
    examples=(Scaled(), Scaled(z=0.02), Scaled(z=0.2, r=0.3), Scaled(z=4.0, r=0.7)),
    draws=Draws(shapes=1, values=3),
)

# ---------------------------------------------------------------------- at fixed separation, through the crossover


class Pair(Params):
    """A symmetric pair of circles, seen at 25 depths from 30 to `deepest`."""

    r: Radius = 0.5
    separation: Annotated[float, Ge(0.001), Le(0.6), LogScale()] = 0.1
    deepest: Annotated[int, Ge(100), Le(3000)] = 1000

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if np.cos(self.separation) < 2 * self.r**2:
            raise ValueError(f"r={self.r:g}, separation={self.separation:g}: angles above pi/2; needs cos >= 2 r²")
        return self

    @property
    def depths(self) -> np.ndarray:
        """Whole numbers, evenly spaced in their logarithm."""
        return np.round(np.geomspace(30, self.deepest, 25)).astype(int)


@measurement
def through_depth(p: Pair, stream, *, activation: Activation = "relu"):
    """lambda_- and lambda_+ per unit of width at all depths; ``(16 r/3) lambda_-`` against ``z = L Delta/(3 pi)``."""
    minus, plus = (one[0] for one in eigenvalues(p.r, np.array([p.separation]), p.depths, activation))
    return {"depths": p.depths, "z": p.depths * p.separation / (3 * np.pi), "scaled": 16 * p.r / 3 * minus,
            "difference": minus, "sum": plus}  # fmt: skip


def next_terms(p: Pair) -> np.ndarray:
    """the next terms of the expansion by their sizes: both parts of K(z)/L and the curvature term G; what is left is at
    most a third of them for L >= 30 (theory_checks)"""
    parts = np.abs(theory.depth_terms(p.depths * p.separation / (3 * np.pi)))
    return sum(parts) / p.depths + theory.curvature_term(p.r, p.separation)


SEPARATION_MAP = Law(
    id="curves/separation-map",
    source=Source(DERIVED),
    statement="""
    The separation function at finite depth and distance, L >= 30 and Delta <= .6: (16 r/3) lambda_-/n = H(L Delta/3
    pi) within the sizes of its next terms, of order 1/L and Delta² log(1/Delta).
    """,
    params=Pair,
    predict=lambda p: theory.separation_function(p.depths * p.separation / (3 * np.pi)),
    measure=through_depth,
    claim=Equality(of="scaled", finite_size=next_terms),
    controls={
        "identity instead of ReLU": but(measure=partial(through_depth, activation="identity")),
        "cusp of width pi/L": but(predict=lambda p: theory.separation_function(p.depths * p.separation / np.pi)),
    },
    examples=(Pair(), Pair(separation=0.01, deepest=3000), Pair(r=0.3, separation=0.3), Pair(r=0.2, separation=0.001)),
    draws=Draws(shapes=3, values=2),
)


def shifted_crossing(p: Pair) -> tuple[float, float]:
    """the next terms of the expansion at L = 3 pi/Delta over the slope H'(1) = .7714: how far they move the crossing"""
    depth = 3 * np.pi / p.separation
    moved = (np.abs(theory.depth_terms(1.0)).sum() / depth + theory.curvature_term(p.r, p.separation)) / (27 / 35)
    return float(moved), float(moved)


class Crossing(Pair):
    """A pair that the scanned depths begin to tell apart."""

    separation: Annotated[float, Ge(0.02), Le(0.2), LogScale()] = 0.1
    deepest: Annotated[int, Ge(1000), Le(3000)] = 1000


CROSSOVER_DEPTH = Law(
    id="curves/crossover-depth",
    source=Source(DERIVED),
    statement="""
    A deep network begins to tell two curves at an angle Delta apart at the depth L = 3 pi/Delta: there (16 r/3)
    lambda_-/n passes H(1) = 49/30 - log 2 = .9402, whatever the radius, up to terms of order Delta.
    """,
    params=Crossing,
    predict=lambda p: 1.0,
    measure=through_depth,
    claim=Crossover(
        of="scaled", along="z", level=49 / 30 - np.log(2), falling=False, over="each", shift=shifted_crossing,
        resolve=0.2,
    ),
    controls={
        "identity instead of ReLU": but(measure=partial(through_depth, activation="identity")),
        "cusp of width pi/L": but(predict=lambda p: 1 / 3),
        "radius left out": but(predict=lambda p: 1.0, claim=Crossover(
            of="difference", along="z", level=3 / 16 * (49 / 30 - np.log(2)), falling=False, over="each",
            shift=shifted_crossing,
        )),
    },
    examples=(Crossing(), Crossing(r=0.3, separation=0.05), Crossing(separation=0.02, r=0.7)),
    draws=Draws(shapes=1, values=3),
)  # fmt: skip


class Apart(Params):
    """A symmetric pair that is told apart, at depths and their doubles, ``z = L Delta/(3 pi)`` from 4 to 64."""

    r: Radius = 0.5
    separation: Annotated[float, Ge(0.2), Le(0.5), LogScale()] = 0.3

    @property
    def depths(self) -> np.ndarray:
        """The lesser depth of each pair."""
        return np.round(3 * np.pi / self.separation * 2 ** np.linspace(1, 5, 9)).astype(int)


@measurement
def doubled_depth(p: Apart, stream, *, activation: Activation = "relu"):
    """By how much ``(16 r/3) lambda_-`` grows from L/2 to L, per unit of log L, against z at L."""
    every = np.unique(np.concatenate([p.depths, 2 * p.depths]))
    scaled = 16 * p.r / 3 * eigenvalues(p.r, np.array([p.separation]), every, activation)[0][0]
    growth = scaled[np.searchsorted(every, 2 * p.depths)] - scaled[np.searchsorted(every, p.depths)]
    return {"z": 2 * p.depths * p.separation / (3 * np.pi), "growth": growth / np.log(2)}


def next_growth(z: np.ndarray) -> np.ndarray:
    """K(z) = -(3 pi/4) z + (3/2) log(z/2) + 9/2 + ... makes growth fall short of 1 by a multiple of this."""
    return (np.log(z) + 3 - 3 * np.log(2)) / z


CERTIFICATE_NORM = Law(
    id="curves/certificate-norm",
    source=Source("arXiv:2107.14324", "certificate construction; the constant is derived here"),
    statement="""
    The certificate of labels +-1 on a symmetric pair is g = +-1/lambda_-, and for separated curves |g| = 16 r/(3 n log
    L) (1 + o(1)) = [4/(3 pi)]/(rho n log L), with the density rho = 1/(4 pi r) in arclength: 16 r/(3 n |g|) grows by 1
    per unit of log L. The published bound C/(rho_min n log L) has this form; 4/(3 pi) is its sharp constant here.
    """,
    params=Apart,
    predict=lambda p: 1.0,
    measure=doubled_depth,
    claim=Limit(of="growth", along="z", order=next_growth),
    controls={
        "identity instead of ReLU": but(measure=partial(doubled_depth, activation="identity")),
        "constant of the density 1/(2 pi r)": but(predict=lambda p: 2.0),
    },
    examples=(Apart(), Apart(separation=0.5, r=0.3)),
    draws=Draws(shapes=1, values=2),
)

# ---------------------------------------------------------------------- the best depth


class Best(Params):
    """Pairs of circles nearer and nearer, each at the depth z* = .6072 and at fractions and multiples of it."""

    r: Radius = 0.5

    @property
    def best(self) -> np.ndarray:
        """L*, from 40 to 320; a quarter of it is whole."""
        return 4 * np.round(10 * 2 ** np.linspace(0, 3, 5)).astype(int)


MULTIPLES = np.array([0.25, 0.5, 1.0, 2.0, 4.0])


def over_best(ratios: np.ndarray) -> np.ndarray:
    """Ratios at the multiples (..., 5) over that at L* itself, which is left out."""
    return np.delete(ratios, 2, axis=-1) / ratios[..., 2:3]


@measurement
def around_best(p: Best, stream, *, floor: bool = True):
    """``lambda_-/lambda_+`` at multiples of the depth L* = 3 pi z*/Delta over its value there, and the place z of the
    largest of 41 depths in between.

    Without `floor` the constant psi(pi) is taken from the kernel.
    """
    found, places = [], []
    for depth in p.best:
        separation = 3 * np.pi * theory.BEST_SEPARATION / depth
        depths = np.unique(np.append(np.round(depth * np.geomspace(0.25, 4, 41)), depth * MULTIPLES).astype(int))
        minus, plus = (one[0] for one in eigenvalues(p.r, np.array([separation]), depths))
        ratio = minus / (plus - (0.0 if floor else skeleton(np.array(np.pi), depths.tolist())))
        found.append(over_best(ratio[np.searchsorted(depths, depth * MULTIPLES)]))
        places.append(depths[np.argmax(ratio)] * separation / (3 * np.pi))
    return {"depth": p.best, "relative": np.array(found), "place": np.array(places)}


def finite_ratios(p: Best) -> np.ndarray:
    """Closed forms of both eigenvalues at the depths and multiples."""
    depths = p.best[:, None] * MULTIPLES
    return over_best(theory.eigenvalue_ratio(p.r, 3 * np.pi * theory.BEST_SEPARATION / p.best[:, None], depths))


def ever_better(p: Best) -> np.ndarray:
    """lambda_- alone, H(z) at the multiples over its value at z*."""
    one = over_best(theory.separation_function(theory.BEST_SEPARATION * MULTIPLES))
    return np.broadcast_to(one, (p.best.size, one.size))


OPTIMAL_DEPTH = Law(
    id="curves/optimal-depth",
    source=Source(DERIVED),
    statement="""
    A stable gradient descent takes of order lambda_+/lambda_- steps to tell two near curves apart, and lambda_+ ~ n
    L/8 while lambda_- ~ n (3/(16 r)) H(L Delta/3 pi): the ratio lambda_-/lambda_+ ~ (3/(2 r L)) H(z) is largest at a
    finite depth, z* = .6072 or L = 5.72/Delta as Delta -> 0. Deeper is better for certificates, which know only
    lambda_- (control), and if the kernel had no floor n L/8 (control). Judged at a quarter to four times that depth,
    with the logarithms of the depth that both eigenvalues still have.
    """,
    params=Best,
    predict=finite_ratios,
    measure=around_best,
    claim=Limit(of="relative", along="depth", order=1.0),
    controls={
        "deeper is better": but(predict=ever_better),
        "kernel without its floor": but(measure=partial(around_best, floor=False)),
    },
    examples=(Best(), Best(r=0.3)),
    draws=Draws(shapes=0),
)
