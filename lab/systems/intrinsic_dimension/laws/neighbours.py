"""Ratios of neighbour distances: exponential at every number of points, or by quadrature where space is curved."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data.flattening import period, uniform_points
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.dimension import log_ratio_means, neighbour_distances
from lab.params import Ge, Le, Params
from lab.systems.intrinsic_dimension import theory

DERIVED = "derived for this laboratory, verified numerically; not found in the cited papers"
LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
POINTS = 4000
"""Points of one replicate: sets of n, each an independent sample."""


class Neighbours(Params):
    """n uniform points, and the k-th and a nearer, j-th neighbour of each.

    The circle has arc lengths, the 2-sphere chords; the torus has dimension d, and so many points that the k-th
    neighbour is nearer than 1/2 but for a chance of 1e-3.
    """

    space: Literal["circle", "sphere", "torus"] = "sphere"
    d: Annotated[int, Ge(1), Le(5)] = 2
    n: Annotated[int, Ge(6), Le(500)] = 20
    k: Annotated[int, Ge(2), Le(12)] = 5
    j: Annotated[int, Ge(1), Le(11)] = 1

    @model_validator(mode="after")
    def _ratios_are_powers(self) -> Self:
        fixed = {"circle": 1, "sphere": 2}.get(self.space, self.d)
        if self.d != fixed:
            raise ValueError(f"d={self.d}: the {self.space} has dimension {fixed}; take the torus")
        if not self.j < self.k < self.n:
            raise ValueError(f"j={self.j}, k={self.k}, n={self.n}: need j < k < n")
        if self.space == "torus" and theory.wrap_probability(self.n, self.k, self.d) > 1e-3:
            raise ValueError(f"n={self.n}: the k-th neighbour is often farther than 1/2 on the torus; raise n")
        return self


@measurement
def neighbours(p, stream, *, boundary: bool = False):
    """Share of points with ``(T_j/T_k)^d`` below five levels; mean of m_k; mean of 1/m_k.

    With a `boundary` the circle is cut, the torus becomes the open cube, the sphere a hemisphere.
    """
    d, space = p.d, p.space
    x = uniform_points(stream.numpy("points"), space, p.n, d, max(1, POINTS // p.n))
    if boundary and space == "sphere":
        x[..., -1] = np.abs(x[..., -1])
    distances = neighbour_distances(x, p.k, period=None if boundary else period(space))
    means = log_ratio_means(distances)
    shares = (distances[..., p.j - 1] / distances[..., -1]) ** d
    below = np.mean(shares[..., None] < LEVELS, axis=(0, 1))
    return {"below": below, "mean": np.mean(means), "estimate": np.mean(1 / means)}


def below(p: Neighbours, *, dimension: float = 1.0, miscounted: int = 0) -> np.ndarray:
    """P((T_j/T_k)^d < x) at five levels x; `dimension` multiplies d, both neighbours are `miscounted` by so many."""
    return theory.ratio_below(LEVELS**dimension, p.j + miscounted, p.k + miscounted)


def wrapped(p: Neighbours) -> float:
    """a share differs from that of balls at most by the chance that the k-th neighbour is 1/2 or more away"""
    return theory.wrap_probability(p.n, p.k, p.d) if p.space == "torus" else 0.0


PARETO_EXACT = Law(
    id="intrinsic_dimension/pareto-exact",
    source=Source(DERIVED, "the one-neighbour case, as a limit, in Scientific Reports 7, 12140"),
    statement="""
    If the probability of a ball of radius t is proportional to t^d, then for every N > k the logarithms ln(T_k/T_j),
    j < k, are order statistics of k - 1 independent exponentials of rate d:

        P( (T_j/T_k)^d < x ) = I_x(j, k - j).

    So it is on the circle with arc length (d = 1), on the 2-sphere with chords (caps have area pi c²) and on flat tori
    up to T_k = 1/2. Nothing is asymptotic in N. Measured: shares of points below x = .1, .3, .5, .7, .9.
    """,
    params=Neighbours,
    predict=below,
    measure=neighbours,
    claim=Equality(of="below", over="mean", finite_size=wrapped, scale=1.0, resolve=0.1),
    controls={
        "a boundary": but(measure=partial(neighbours, boundary=True)),
        "the point itself counted as a neighbour": but(predict=partial(below, miscounted=1)),
        "dimension 10 % too large": but(predict=partial(below, dimension=1.1)),
    },
    examples=(
        Neighbours(), Neighbours(space="circle", d=1, n=6, k=5, j=2), Neighbours(space="circle", d=1, n=500, k=2),
        Neighbours(n=6, k=5, j=4), Neighbours(space="torus", d=3, n=200, k=5, j=2),
        Neighbours(space="torus", d=5, n=400, k=4, j=1),
    ),
    draws=Draws(shapes=0, replicates=12),
)  # fmt: skip


# ---------------------------------------------------------------------- chords


class Chords(Params):
    """n uniform points of the d-sphere with chordal distances, k neighbours."""

    d: Annotated[int, Ge(1), Le(6)] = 5
    n: Annotated[int, Ge(6), Le(200)] = 12
    k: Annotated[int, Ge(2), Le(12)] = 5

    @property
    def space(self) -> str:
        return "sphere"

    @property
    def j(self) -> int:
        return 1

    @model_validator(mode="after")
    def _neighbours_exist(self) -> Self:
        if self.k >= self.n:
            raise ValueError(f"k={self.k} must be below n={self.n}; raise n")
        return self


def chordal(p: Chords, *, flat: bool = False) -> float:
    """E m_k by quadrature; 1/d if `flat`."""
    return 1 / p.d if flat else theory.chordal_log_ratio(p.n, p.k, p.d)


CHORDAL_DISTANCE = Law(
    id="intrinsic_dimension/chordal-distance",
    source=Source(DERIVED),
    statement="""
    On the d-sphere with chords, F(t) = I_s(d/2, d/2), s = t²/4, the local exponent of F is

        D = d - d (d - 2)/(d + 2) s + O(s²),

    and the mean of m_k at N points is the mean over v ~ Beta(k, N - k) of (1/v) int_0^v du/D: exact at every N. So
    curvature lowers every estimate for d >= 3, leaves it at d = 2, and raises it at d = 1, where for k = 2
    E ln(T_2/T_1) = 1 - pi²/(6 N (N + 1)) to leading order.
    """,
    params=Chords,
    predict=chordal,
    measure=neighbours,
    claim=Equality(of="mean", over="mean", resolve=0.05),
    controls={
        "flat space": but(predict=partial(chordal, flat=True)),
        "a boundary": but(measure=partial(neighbours, boundary=True)),
    },
    examples=(Chords(), Chords(d=1, k=3, n=6), Chords(d=3, n=12, k=11), Chords(d=2, n=6, k=2), Chords(d=6, n=100)),
    draws=Draws(shapes=0, replicates=12),
)
