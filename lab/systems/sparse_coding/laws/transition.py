"""Where basis pursuit stops recovering random codes: Gaussian matrices exactly, random convolutions near them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab import streams
from lab.claims import Crossover, Equality
from lab.data.convolutional import dictionary, filter_bank
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import convolutional_coding as coding
from lab.params import Ge, Le, Params, Traced
from lab.systems.sparse_coding import theory

ALMT = "arXiv:1303.6672"
DERIVED = "derived for this laboratory; angles of the cross-polytope by Vershik and Sporyshev 1992"


class Gaussian(Params):
    """m Gaussian measurements of a code in R^p, p = `dim`, with `nonzeros` entries at random places."""

    m: Annotated[int, Ge(4), Le(30)] = 20
    dim: Annotated[int, Ge(8), Le(60)] = 40
    nonzeros: Annotated[int, Ge(1), Le(20)] = 8

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if not self.m < self.dim or not self.nonzeros < self.dim:
            raise ValueError(f"dim={self.dim} must exceed m={self.m} and nonzeros={self.nonzeros}; raise dim")
        return self


@measurement
def pursued(p: Gaussian, stream, *, short: bool = False):
    """Whether the linear program returns the code; with `short`, for two filters of length 3 on a circle of m = p/2."""
    rng = stream.numpy("problem")
    if short:
        matrix = dictionary(filter_bank(rng, count=2, size=3), p.dim // 2)
    else:
        matrix = rng.standard_normal((p.m, p.dim))
    codes = np.zeros(p.dim)
    codes[rng.permutation(p.dim)[: p.nonzeros]] = rng.choice([-1.0, 1.0], p.nonzeros)
    return {"recovered": np.max(np.abs(coding.basis_pursuit(matrix @ codes, matrix) - codes)) < SAME}


SAME = 1e-4
"""Between the linear program's tolerance and entries of size 1."""

GAUSSIAN_RECOVERY = Law(
    id="sparse_coding/gaussian-recovery",
    source=Source(ALMT, f"kinematic formula; {DERIVED}"),
    statement="""
    Basis pursuit recovers a k-sparse code in R^p from m values of a Gaussian matrix with probability
    1 - 2 (v_{m+1} + v_{m+3} + ...), v the conic intrinsic volumes of the l1 norm's descent cone (closed-form angles):
    exactly, at every m, p and k. Measured: share of linear programs that return the code.
    """,
    params=Gaussian,
    predict=lambda p: theory.recovery_probability(p.m, p.dim, p.nonzeros),
    measure=pursued,
    claim=Equality(of="recovered", over="fraction", scale=1.0, resolve=0.25),
    controls={
        "filters of length 3": but(measure=partial(pursued, short=True), examples=(Gaussian(nonzeros=6),)),
        "four measurements less": but(predict=lambda p: theory.recovery_probability(p.m - 4, p.dim, p.nonzeros),
                                      examples=(Gaussian(nonzeros=7),)),
    },
    examples=(Gaussian(nonzeros=6), Gaussian(), Gaussian(m=10, dim=15, nonzeros=5)),
    draws=Draws(shapes=0, replicates=120),
)  # fmt: skip


# ---------------------------------------------------------------------- convolutions


class Circle(Params):
    """`nonzeros` signs coded by M Gaussian filters on a circle of N: m = N, p = M N."""

    count: Annotated[int, Ge(2), Le(4)] = 2
    length: Annotated[int, Ge(16), Le(256)] = 24
    steps: Annotated[int, Ge(500), Le(4000)] = 1500
    nonzeros: Annotated[int, Ge(1), Le(400), Traced()] = 9

    @model_validator(mode="after")
    def _nonzeros_fit(self) -> Self:
        if self.nonzeros > self.count * self.length:
            raise ValueError(f"nonzeros={self.nonzeros} exceeds the {self.count * self.length} entries; raise length")
        return self


class Long(Circle):
    """... filters as long as the circle."""

    @property
    def size(self) -> int:
        return self.length


class AnyLength(Circle):
    """... filters of any length `size`."""

    size: Annotated[int, Ge(2), Le(256), Traced()] = 24

    @model_validator(mode="after")
    def _filters_fit(self) -> Self:
        if self.size > self.length:
            raise ValueError(f"size={self.size} must be at most length={self.length}; raise length")
        return self


@measurement(runs="jax", paired=("size", "nonzeros"))
def split(p: Long | AnyLength, stream, *, longest: float = 1e3):
    """Whether `steps` of Douglas-Rachford splitting return the code up to .1; filters cut to `longest` entries."""
    import jax
    import jax.numpy as jnp

    M, N = p.count, p.length
    raw = streams.normal(stream.jax("filters"), (M, 1, N))
    filters = jnp.where(jnp.arange(N) < jnp.minimum(p.size, longest), raw, 0.0)
    filters = filters / jnp.sqrt(jnp.sum(filters**2, axis=-1, keepdims=True))
    rank = jnp.argsort(jnp.argsort(streams.uniform(stream.jax("places"), (M * N,))))
    signs = jnp.where(jax.random.bernoulli(stream.jax("signs"), 0.5, (M * N,)), 1.0, -1.0)
    codes = jnp.where(rank < p.nonzeros, signs, 0.0).reshape(M, N)
    project = coding.circular_projection(filters, N)
    found = coding.pursue(coding.decode(codes, filters), project, 0 * codes, steps=p.steps, threshold=0.3)
    return {"recovered": (jnp.max(jnp.abs(found - codes)) < 0.1).astype(found.dtype)}


def half(p: Circle) -> float:
    """k_1/2 of Gaussian matrices of the same shape, exactly."""
    return theory.half_recovery(p.length, p.count * p.length)


def around(p: Circle) -> np.ndarray:
    """Ten numbers of nonzeros from .25 to 1.4 of the predicted place."""
    return np.unique(np.round(half(p) * np.linspace(0.25, 1.4, 10)).astype(int))


def chance(p: Circle) -> float:
    """Probability of recovery by a Gaussian matrix of the same shape: the line to draw."""
    return theory.recovery_probability(p.length, p.count * p.length, p.nonzeros)


L1_PHASE_TRANSITION = Law(
    id="sparse_coding/l1-phase-transition",
    source=Source(ALMT, "for Gaussian matrices; for convolutions an observation of this laboratory"),
    statement="""
    Random convolutions whose filters are as long as the circle recover half of all k-sparse sign codes at the k_1/2 of
    Gaussian matrices of the same shape (m = N, p = M N; exact, near the solution of delta(k, p) = m), within one
    nonzero. Short filters do not: universality breaks. Measured: crossing of 1/2 by the share of problems solved.
    """,
    params=Long,
    predict=half,
    measure=split,
    claim=Crossover(of="recovered", along="nonzeros", axis=around, stated=1.0, resolve=0.4),
    controls={"filters of length 3": but(measure=partial(split, longest=3.0))},
    examples=(Long(),),
    draws=Draws(shapes=0, replicates=120),
    curve=chance,
)

SHORT_FILTERS = L1_PHASE_TRANSITION.printed(
    "sparse_coding/short-filters-conjecture",
    source=Source("a natural conjecture, refuted by this laboratory"),
    statement="""
    If filters of any length did: random convolutions recover half of all k-sparse sign codes at the k_1/2 of Gaussian
    matrices of the same shape, within one nonzero. Filters of length 3 recover about half as many nonzeros
    (sparse_coding/l1-phase-transition speaks of long ones).
    """,
    params=AnyLength,
    at=(AnyLength(size=3),),
)
