"""How large the rate reduction against subspaces can be, and layer-wise rates that do not see the noise."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Bound, Equality, Limit
from lab.data.subspaces import haar
from lab.data.tokens import noisy_subspace_tokens
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Le, LogScale, Params
from lab.systems.crate import theory

DERIVED = "derived for this laboratory; not found in arXiv:2306.01129"


class Filled(Params):
    """Tokens (n, K p) on complete stacked-orthonormal heads: random, one line through all heads, or uncorrelated.

    ``energy = d |Z|²/(N eps²)/N``; uncorrelated heads have orthogonal columns of equal length (n >= K p).
    """

    heads: Annotated[int, Ge(1), Le(4)] = 3
    rank: Annotated[int, Ge(1), Le(4)] = 2
    spare: Annotated[int, Ge(0), Le(8)] = 2
    kind: Literal["random", "line", "uncorrelated"] = "random"
    energy: Annotated[float, Ge(1e-2), Le(1e6), LogScale()] = 10.0

    @property
    def dim(self) -> int:
        return self.heads * self.rank

    @property
    def n(self) -> int:
        return self.dim + self.spare


def filled(p: Filled, rng: np.random.Generator) -> np.ndarray:
    """Tokens with ``|Z|² = n energy``, in units in which d/(N eps²) = 1."""
    Z = haar(rng, p.n, p.dim)
    if p.kind == "random":
        Z = rng.standard_normal((p.n, p.dim)) * 10 ** rng.uniform(-1, 0, p.dim) @ haar(rng, p.dim)
    if p.kind == "line":
        Z = np.outer(rng.standard_normal(p.n), np.repeat(np.eye(p.rank)[0], p.heads))
    return Z * np.sqrt(p.n * p.energy) / np.linalg.norm(Z)


@measurement
def reduction(p: Filled, stream, *, missing: bool = False, level: float = 1.0):
    """R_eps - R^c; `missing` leaves the last head out, `level` multiplies beta in R_eps alone."""
    Z = filled(p, stream.numpy("tokens"))
    order = (p.rank, p.heads) if p.kind == "line" else (p.heads, p.rank)  # a line has its energy in one column of each
    W = Z.reshape(p.n, *order)
    W = np.moveaxis(W, 2 if p.kind == "line" else 1, 0)
    if missing:
        W = W[: max(p.heads - 1, 1)]
    whole = white_box.head_rate(Z[None], beta=level)
    return {"reduction": float(whole - white_box.head_rate(np.ascontiguousarray(W), beta=1 / p.heads))}


def reduction_units(p: Filled) -> float:
    """d logarithms of eigenvalues of I + M whose matrix is off by 8 (n + 2d) epsilons of its norm, at most n energy"""
    return 16 * (p.n + 2 * p.dim) * p.dim * (1 + p.n * p.energy)


SRR_CAP = Law(
    id="crate/srr-cap",
    source=Source(DERIVED),
    statement="""
    R_eps(Z) - R^c(Z) <= (d/2) log K for stacked-orthonormal heads that fill the space, d = K p, R_eps with d/(N eps²)
    and R^c with p/(N eps²). Equality in the limit of uncorrelated heads and eps -> 0. (Fischer's inequality.) There
    is no lower bound: crate/srr-line.
    """,
    params=Filled,
    predict=lambda p: theory.reduction_cap(p.heads, p.rank),
    measure=reduction,
    claim=Bound(of="reduction", side="upper", rounding=reduction_units, resolve=1e-4,
                scale=lambda p: max(theory.reduction_cap(p.heads, p.rank), 1.0)),
    controls={
        "a head missing": but(measure=partial(reduction, missing=True)),
        "R_eps with twice the beta": but(measure=partial(reduction, level=2.0)),
        "p for d": but(predict=lambda p: theory.reduction_cap(p.heads, p.rank) / p.heads),
    },
    examples=(Filled(kind="uncorrelated", energy=1e6), Filled(kind="uncorrelated", energy=1e6, heads=4, rank=4)),
    draws=Draws(shapes=12, values=8),
)  # fmt: skip


class Line(Filled):
    """... tokens on one line, its energy spread evenly over the heads."""

    kind: Literal["line"] = "line"


SRR_LINE = Law(
    id="crate/srr-line",
    source=Source(DERIVED),
    statement="""
    Tokens on one line with the same energy in all heads have R_eps - R^c = 1/2 log(1 + x) - (K/2) log(1 + x/K²), x =
    d |Z|²/(N eps²): below zero for large x. The rate reduction against subspaces has no lower bound.
    """,
    params=Line,
    predict=lambda p: float(theory.rank_one_reduction(p.heads, p.n * p.energy)),
    measure=reduction,
    claim=Equality(of="reduction", rounding=reduction_units, resolve=1e-6, scale=1.0),
    controls={
        "never negative": but(predict=lambda p: max(float(theory.rank_one_reduction(p.heads, p.n * p.energy)), 0.0)),
        "R_eps with twice the beta": but(measure=partial(reduction, level=2.0)),
    },
    examples=(Line(), Line(heads=4, rank=4, energy=1e6)),
    draws=Draws(shapes=8, values=4),
)


# ---------------------------------------------------------------------- normalised rates


class Normalised(Params):
    """K heads and ``p (1 + copies)`` tokens, random or a tight frame in every head; a squared distortion."""

    heads: Annotated[int, Ge(1), Le(4)] = 3
    rank: Annotated[int, Ge(1), Le(4)] = 2
    copies: Annotated[int, Ge(0), Le(8)] = 2
    kind: Literal["random", "tight"] = "random"
    eps_squared: Annotated[float, Ge(1e-3), Le(10.0), LogScale()] = 0.01


@measurement
def normalised(p: Normalised, stream, *, lengths: bool = True):
    """Rate of a layer as published; without `lengths` of tokens of random length."""
    rng, n = stream.numpy("tokens"), p.rank * (1 + p.copies)
    W = rng.standard_normal((p.heads, n, p.rank)) * 10 ** rng.uniform(-1, 1, (p.heads, 1, p.rank))
    if p.kind == "tight":
        W = np.stack([np.tile(np.eye(p.rank), (1 + p.copies, 1)) @ haar(rng, p.rank) for _ in range(p.heads)])
    if lengths:
        return {"rate": white_box.normalised_head_rate(W, eps_squared=p.eps_squared)}
    return {"rate": white_box.head_rate(2 * W, beta=p.rank / (n * p.eps_squared))}


def normalised_units(p: Normalised) -> float:
    """as crate/srr-cap, with a matrix of trace p/eps² in every head"""
    n = p.rank * (1 + p.copies)
    return 16 * (n + 2 * p.rank) * p.heads * p.rank * (1 + p.rank / p.eps_squared)


HEAD_NORMALISED_CAP = Law(
    id="crate/head-normalised-cap",
    source=Source(DERIVED),
    statement="""
    The published layer-wise rate, tokens scaled to length 1 in every head, is at most (K p/2) log(1 + 1/eps²), attained
    by heads whose tokens form a tight frame. It measures isotropy of the heads, not noise.
    """,
    params=Normalised,
    predict=lambda p: float(theory.head_normalised_cap(p.heads, p.rank, p.eps_squared)),
    measure=normalised,
    claim=Bound(of="rate", side="upper", rounding=normalised_units, resolve=1e-6),
    controls={
        "tokens of any length": but(measure=partial(normalised, lengths=False)),
        "eps for eps^2": but(predict=lambda p: float(
            theory.head_normalised_cap(p.heads, p.rank, max(p.eps_squared, p.eps_squared**0.5)))),
    },
    examples=(Normalised(kind="tight"), Normalised(kind="tight", heads=4, rank=4, eps_squared=1.0)),
    draws=Draws(shapes=8, values=8),
)  # fmt: skip


class Noisy(Params):
    """Balanced tokens near orthogonal subspaces, noise `delta`."""

    heads: Annotated[int, Ge(2), Le(6)] = 4
    rank: Annotated[int, Ge(2), Le(16)] = 8
    per_class: Annotated[int, Ge(8), Le(4096)] = 64
    delta: Annotated[float, Ge(0.01), Le(2.0), LogScale()] = 0.3
    eps_squared: Annotated[float, Ge(1e-3), Le(1.0), LogScale()] = 0.01


@measurement
def layer_rates(p: Noisy, stream, *, scaled: bool = True, rare: bool = False):
    """Rates of tokens of length 1, and of length 1 in every head; `rare` takes most of the last cluster away."""
    sizes = [p.per_class] * p.heads
    if rare:
        sizes[-1] = p.per_class // 4
    W = noisy_subspace_tokens(stream.numpy("tokens"), class_sizes=sizes, rank=p.rank, delta=p.delta).blocks
    beta = p.rank / (W.shape[1] * p.eps_squared)
    tokens = white_box.normalise_tokens(W, square=1.0, axis=(-3, -1)) if scaled else W
    rates = white_box.head_rate(tokens, beta=beta), white_box.normalised_head_rate(W, eps_squared=p.eps_squared)
    return {"rates": np.array(rates)}


def sizes(p: Noisy) -> np.ndarray:
    """32 to 512 tokens in a cluster"""
    return 2 ** np.arange(5, 10)


BLIND_RATES = Law(
    id="crate/blind-rates",
    source=Source(DERIVED),
    statement="""
    Balanced clusters near orthogonal subspaces: as they grow the rate of tokens of length 1 tends to
    (K p/2) log(1 + 1/(K eps²)), that of tokens of length 1 in every head, the published layer-wise measure, to
    (K p/2) log(1 + 1/eps²), both whatever the noise. Neither shows denoising: a head that holds the signal of its own
    tokens and one that holds the noise of others look alike. (The published plots are captioned R^c after attention;
    the released hook reads the normalised input of attention.)
    """,
    params=Noisy,
    predict=lambda p: lambda axis: np.stack([theory.blind_rates(p.heads, p.rank, p.eps_squared)] * len(axis)),
    measure=layer_rates,
    claim=Limit(of="rates", along="per_class", order=1.0, axis=sizes, resolve=0.02),
    controls={
        "tokens not scaled": but(measure=partial(layer_rates, scaled=False)),
        "a rare cluster": but(measure=partial(layer_rates, rare=True)),
        "eps for eps^2": but(predict=lambda p: lambda axis: np.stack(
            [theory.blind_rates(p.heads, p.rank, p.eps_squared**0.5)] * len(axis))),
    },
    examples=(Noisy(delta=0.02), Noisy(delta=0.3), Noisy(delta=1.0, heads=3, rank=4)),
    draws=Draws(shapes=0, replicates=8),
)
