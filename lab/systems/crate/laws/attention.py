"""Which way attention moves the coding rate: the layer raises it, the contraction that was dropped lowers it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Bound, Classification, Equality
from lab.data.tokens import noisy_subspace_tokens
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Gt, Le, LogScale, Params
from lab.systems.crate import theory
from lab.systems.crate.laws.gradient import MANY, Spectrum, factored

Y23 = "arXiv:2306.01129"
DERIVED = f"derived for this laboratory; not found in {Y23}"


# ---------------------------------------------------------------------- linear weights


class Linear(Spectrum):
    """... and one attention step of ``kappa beta = reduced_step`` with linear weights."""

    reduced_step: Annotated[float, Gt(0.0), Le(2.0)] = 0.5


@measurement
def linear_step(p: Linear, data, stream, *, power: float = 1.0, softmax: bool = False):
    """Squared singular values, largest first, after the contracted step and after that without contraction."""
    W = ((data["left"] * data["s"]) @ data["right"].T)[None]
    phi = white_box.softmax if softmax else white_box.linear
    update = p.reduced_step * white_box.attend(W, phi=phi, scale=1.0 if softmax else p.beta**power)
    after = [np.linalg.eigvalsh((V.mT @ V)[0])[::-1] for V in ((1 - p.reduced_step) * W + update, W + update)]
    return {"squares": np.stack(after)[:, : len(data["s"])] / data["s"].max() ** 2}


def linear_squares(p: Linear, data, *, kept: bool = True) -> np.ndarray:
    forms = (kept, False)  # contracted or not
    moved = [theory.linear_attention_values(data["s"], p.reduced_step, p.beta, contracted=form) for form in forms]
    return np.sort((np.stack(moved) / data["s"].max()) ** 2, axis=1)[:, ::-1]


def linear_units(p: Linear) -> float:
    """singular values grow up to 1 + t (1 + x) fold, each by products off by 8 (n + 2p) epsilons; squared"""
    return 16 * (p.n + 2 * p.rank) * (1 + p.reduced_step * (1 + p.top)) ** 2


LINEAR_ATTENTION_MAP = Law(
    id="crate/linear-attention-map",
    source=Source(DERIVED),
    statement="""
    Attention with linear weights, update MSSA = beta W W^T W, keeps the singular vectors of a head. With t = kappa
    beta, x = beta s²:

        (1 - t) W + t MSSA    maps    s -> s |1 - t (1 - x)|,    falling for x < 1 (t <= 1), rising for x > 1;
        W + t MSSA            maps    s -> s (1 + t x),    never falling, whatever the tokens.

    So without the contraction every singular value, and R^c, rises.
    """,
    params=Linear,
    situation=factored,
    predict=linear_squares,
    measure=linear_step,
    claim=Equality(of="squares", rounding=linear_units, scale=1.0, resolve=1e-6),
    controls={
        "contraction dropped in both": but(predict=partial(linear_squares, kept=False)),
        "softmax weights": but(measure=partial(linear_step, softmax=True)),
        "eps for eps^2": but(measure=partial(linear_step, power=0.5)),
    },
    examples=(Linear(), Linear(top=50.0, reduced_step=1.0), Linear(n=3, rank=6)),
    draws=MANY,
)


# ---------------------------------------------------------------------- kernels


class Anything(Params):
    """Any Gaussian tokens of K heads in head coordinates; weights that are a positive semidefinite kernel of them."""

    heads: Annotated[int, Ge(1), Le(4)] = 2
    n: Annotated[int, Ge(1), Le(24)] = 8
    rank: Annotated[int, Ge(1), Le(8)] = 3
    kernel: Literal["linear", "exponential", "squared"] = "exponential"
    beta: Annotated[float, Ge(0.01), Le(100.0), LogScale()] = 1.0
    spread: Annotated[float, Ge(0.0), Le(3.0)] = 0.5
    step: Annotated[float, Gt(0.0), Le(10.0)] = 1.0


KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda s: s, "exponential": np.exp, "squared": lambda s: (1 + s) ** 2,
}  # fmt: skip


@measurement
def kernel_step(p: Anything, stream, *, sign: float = 1.0, contracted: bool = False):
    """Relative change of R^c by W + step kernel(W W^T) W, the kernel over its trace/n."""
    rng = stream.numpy("tokens")
    W = rng.standard_normal((p.heads, p.n, p.rank)) * np.exp(p.spread * rng.standard_normal((p.heads, p.n, 1)))
    W /= np.sqrt(np.max(np.sum(W**2, axis=-1))) / 3  # tokens of length 3 at most: exponents of 9 at most

    def weights(scores):
        E = KERNELS[p.kernel](scores)
        return sign * E * (p.n / np.trace(E, axis1=-2, axis2=-1)[..., None, None])

    update = p.step * white_box.attend(W, phi=weights)
    after = (1 - min(0.9, p.step)) * W + 0.01 * update if contracted else W + update
    before, then = (white_box.head_rate(V, beta=p.beta) for V in (W, after))
    return {"change": float(then / before - 1)}


def kernel_units(p: Anything) -> float:
    """rates off by 8 (n + 2p) epsilons of the condition number 1 + beta |W|², tokens within (1 + step n) of their
    length; relative to a rate of at least half the logarithm of 1 + 9 beta (one token has length 3)"""
    cond = 1 + p.beta * 9 * p.n * (1 + p.step * p.n) ** 2
    return 16 * (p.n + 2 * p.rank) * p.rank * p.heads * cond / (0.5 * np.log1p(9 * p.beta))


ATTENTION_RAISES_RATE = Law(
    id="crate/attention-raises-rate",
    source=Source(DERIVED),
    statement="""
    Let the weights of attention be a positive semidefinite kernel of the tokens, P >= 0 symmetric: the Gram matrix, its
    exponential (softmax without its normalisation), a power. Then W + eta P W never lowers R^c, whatever the tokens and
    eta > 0: (I + eta P)² >= I, so W^T (I + eta P)² W >= W^T W. The normalisation of the softmax breaks the symmetry;
    see crate/mssa-sign.
    """,
    params=Anything,
    predict=lambda p: 0.0,
    measure=kernel_step,
    claim=Bound(of="change", side="lower", rounding=kernel_units, scale=1.0),
    controls={
        "minus sign": but(measure=partial(kernel_step, sign=-0.01)),
        "contracted": but(measure=partial(kernel_step, contracted=True)),
    },
    examples=(Anything(), Anything(kernel="linear", step=1e-3), Anything(kernel="squared")),
    draws=Draws(shapes=12, values=8),
)


# ---------------------------------------------------------------------- softmax


class Layer(Params):
    """Noisy tokens near K orthogonal subspaces of rank p; a step of softmax attention of size `step`."""

    heads: Annotated[int, Ge(2), Le(6)] = 4
    rank: Annotated[int, Ge(1), Le(64)] = 16
    per_class: Annotated[int, Ge(2), Le(48)] = 16
    delta: Annotated[float, Ge(0.01), Le(1.0), LogScale()] = 0.1
    eps_squared: Annotated[float, Ge(0.01), Le(30.0), LogScale()] = 0.25
    step: Annotated[float, Ge(0.01), Le(3.0), LogScale()] = 1.0

    @property
    def beta(self) -> float:
        return self.rank / (self.heads * self.per_class * self.eps_squared)


@measurement
def rate_moves(p: Layer, stream, *, sign: float = 1.0):
    """Whether Z + step MSSA(Z) raises R^c; cosines of MSSA, and of its contracted form, with the ways down and up."""
    W = noisy_subspace_tokens(stream.numpy("tokens"), class_sizes=(p.per_class,) * p.heads, rank=p.rank,
                              delta=p.delta).blocks  # fmt: skip
    update = sign * white_box.attend(W)
    before, after = (white_box.head_rate(V, beta=p.beta) for V in (W, W + p.step * update))
    G = white_box.head_rate_gradient(W, beta=p.beta)

    def cosine(V):
        return np.sum(G * V) / np.sqrt(np.sum(G**2) * np.sum(V**2))

    return {"raises": bool(after > before), "down": -cosine(update), "contracted": cosine(W - p.beta * update)}


MSSA_SIGN = Law(
    id="crate/mssa-sign",
    source=Source(DERIVED),
    statement="""
    The layer as written, Z + MSSA(Z) with softmax weights, *raises* R^c of noisy tokens near subspaces, for every size,
    rank, noise, distortion and step of the domain: MSSA points up the rate (cosines with -grad R^c between -.97 and
    -.09), not down. The Neumann step it is derived from contracts, (1 - kappa beta) Z + kappa beta² MSSA(Z); the
    layer drops the first factor. (Trained networks have layer normalisation and an output weight of any sign.)
    """,
    params=Layer,
    predict=lambda p: True,
    measure=rate_moves,
    claim=Classification(of="raises", resolve=0.05),
    controls={"minus MSSA": but(measure=partial(rate_moves, sign=-0.3))},
    examples=(
        Layer(), Layer(eps_squared=10.0), Layer(rank=64, delta=0.05), Layer(per_class=48, eps_squared=10.0),
        Layer(rank=1, per_class=2, step=3.0),
    ),
    draws=Draws(shapes=24, values=8),
)  # fmt: skip

MSSA_DESCENDS_PRINTED = MSSA_SIGN.printed(
    "crate/mssa-descends-printed",
    source=Source(Y23, "MSSA layer, Z^(l+1/2) = Z^l + MSSA(Z^l), as an approximate gradient step on R^c"),
    statement="""
    As published: a layer Z + MSSA(Z) compresses, that is, lowers R^c, as an approximate gradient step. It raises R^c:
    the step has lost its contraction (1 - kappa beta) Z. Five settings, (N, K, p, delta, eps²) = (64, 4, 16, .1, .25
    and 10), (64, 4, 64, .05, .25) and longer ones.
    """,
    predict=lambda p: False,
    at=(Layer(), Layer(eps_squared=10.0), Layer(rank=64, delta=0.05)),
)


# ---------------------------------------------------------------------- the contracted form


class SelfAttending(Params):
    """Ranks so large that every signal row attends to itself, noise so weak that it does not count.

    ``log beta = side distance``; one contracted step of kappa beta = `reduced_step`.
    """

    heads: Annotated[int, Ge(2), Le(4)] = 3
    rank: Annotated[int, Ge(64), Le(96)] = 72
    per_class: Annotated[int, Ge(2), Le(24)] = 12
    delta: Annotated[float, Ge(1e-4), Le(1e-3), LogScale()] = 5e-4
    side: Literal[-1, 1] = 1
    distance: Annotated[float, Ge(0.05), Le(1.5), LogScale()] = 0.3
    reduced_step: Annotated[float, Ge(0.05), Le(1.0)] = 0.5

    @property
    def beta(self) -> float:
        return float(np.exp(self.side * self.distance))


@measurement
def contracted_step(p: SelfAttending, stream, *, contraction: bool = True, power: float = 2.0):
    """Whether (1 - kappa beta) Z + kappa beta^power MSSA(Z) lowers R^c; without the contraction (1 - kappa beta)."""
    W = noisy_subspace_tokens(stream.numpy("tokens"), class_sizes=(p.per_class,) * p.heads, rank=p.rank,
                              delta=p.delta).blocks  # fmt: skip
    t = p.reduced_step
    after = (1 - t if contraction else 1.0) * W + t * p.beta ** (power - 1) * white_box.attend(W)
    return {"lowers": bool(white_box.head_rate(after, beta=p.beta) < white_box.head_rate(W, beta=p.beta))}


MSSA_CONTRACTED_SIGN = Law(
    id="crate/mssa-contracted-sign",
    source=Source(DERIVED),
    statement="""
    The contracted step (1 - kappa beta) Z + kappa beta² MSSA(Z), softmax weights, where every signal row attends to
    itself (p >> 2 log N_k) and noise vanishes: it lowers R^c for beta < 1, that is eps² > p/N in units of the
    signal's variance, and raises it for beta > 1. So at a small distortion the contraction does not help either.
    """,
    params=SelfAttending,
    predict=lambda p: bool(theory.contracted_lowers(p.beta)),
    measure=contracted_step,
    claim=Classification(of="lowers", distance=lambda p: p.side * p.distance, resolve=0.1),
    controls={
        "contraction dropped": but(measure=partial(contracted_step, contraction=False)),
        "beta counted once": but(measure=partial(contracted_step, power=1.0)),
    },
    examples=tuple(SelfAttending(side=s, distance=d) for s in (-1, 1) for d in (0.05, 1.0)),
    draws=Draws(shapes=12, values=4),
)
