"""Many layers on noisy tokens: rate, rate reduction and sparsity of exact steps, of attention and of whole layers."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Bound, Equality
from lab.data.subspaces import haar
from lab.data.tokens import noisy_subspace_tokens
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Gt, Le, LogScale, Params
from lab.systems.crate import theory
from lab.systems.crate.theory.layers import attention_slope, rate_path

DERIVED = "derived for this laboratory; not found in arXiv:2306.01129"


class Stack(Params):
    """`layers` layers of one kind on noisy tokens near K complete orthogonal subspaces, d = K p, step kappa beta = t.

    "exact" ``Z - t/beta grad R^c``; "attention" ``Z + t MSSA(Z)``; "contracted" ``(1 - t) Z + t beta MSSA(Z)``;
    "normalised" ``Z + t MSSA(LN(Z))``; "whole" is that and ISTA of its layer norm with a random orthogonal dictionary,
    whose basis the next frames follow. Scores are not scaled.
    """

    kind: Literal["exact", "attention", "contracted", "normalised", "whole"] = "exact"
    heads: Annotated[int, Ge(1), Le(12)] = 4
    rank: Annotated[int, Ge(1), Le(64)] = 8
    per_class: Annotated[int, Ge(2), Le(512)] = 32
    delta: Annotated[float, Ge(0.01), Le(1.0), LogScale()] = 0.1
    eps_squared: Annotated[float, Ge(0.01), Le(30.0), LogScale()] = 0.25
    step: Annotated[float, Gt(0.0), Le(1.5)] = 0.5
    layers: Annotated[int, Ge(1), Le(24)] = 12

    @property
    def n(self) -> int:
        return self.heads * self.per_class

    @property
    def dim(self) -> int:
        return self.heads * self.rank

    @property
    def beta(self) -> float:
        return self.rank / (self.n * self.eps_squared)


def noisy(p: Stack, stream) -> dict[str, np.ndarray]:
    """Tokens (n, d) and complete frames (K, d, p)."""
    tokens = noisy_subspace_tokens(stream.numpy("tokens"), class_sizes=(p.per_class,) * p.heads, rank=p.rank,
                                   delta=p.delta, d=p.dim)  # fmt: skip
    return {"Z": tokens.Z, "U": tokens.frames}


@measurement
def stack(p: Stack, data, stream, *, factor: float = 1.0, contracted: bool = False, level: float = 1.0):
    """Before the first and after each layer (L + 1): R^c, R_eps - R^c, share of non-zero entries (a threshold of 1e-12
    of the largest), published normalised rate. `factor` multiplies the step, `contracted` takes the factor 1 - t into
    "attention", `level` multiplies beta in R_eps.
    """
    Z, U, t = data["Z"], data["U"], factor * p.step
    rng, seen = stream.numpy("dictionaries"), []
    for layer in range(p.layers + 1):
        W = white_box.head_coordinates(Z, U)
        rate = float(white_box.head_rate(W, beta=p.beta))
        whole = float(white_box.head_rate(Z[None], beta=level * p.heads * p.beta))
        filled = float(np.mean(np.abs(Z) > 1e-12 * np.abs(Z).max()))
        seen.append([rate, whole - rate, filled, float(white_box.normalised_head_rate(W))])
        if layer == p.layers:
            break
        if p.kind == "exact":
            Z = Z - t / p.beta * white_box.subspace_rate_gradient(Z, U, beta=p.beta)
        elif p.kind in ("attention", "contracted"):
            kept = 1 - t if contracted or p.kind == "contracted" else 1.0
            Z = kept * Z + (t if p.kind == "attention" else t * p.beta) * white_box.mssa(Z, U)
        else:
            Z = Z + t * white_box.mssa(white_box.layer_norm(Z), U)
        if p.kind == "whole":
            Y, D = white_box.layer_norm(Z), haar(rng, p.dim)
            Z = white_box.ista_step(Y, Y, D, eta=0.1, lam=0.1)
    rates, reductions, filled, published = np.array(seen).T
    rises = np.diff(rates, prepend=rates[0])
    settled = rises[-1] + (rises[-1] - rises[-2]) / p.step  # a deviation that falls as (1 + t)^-l, taken out
    return {"rates": rates, "reductions": reductions, "filled": filled, "published": published, "rise": settled}


# ---------------------------------------------------------------------- exact steps


class Descending(Stack):
    """Exact gradient steps."""

    kind: Literal["exact"] = "exact"
    per_class: Annotated[int, Ge(2), Le(64)] = 16


def followed(p: Descending, data, *, halved: bool = False) -> np.ndarray:
    """Rates over the first, from the singular values of the heads; `halved` forgets a factor 2 of the gradient."""
    s = np.linalg.svd(np.swapaxes(data["U"], 1, 2) @ data["Z"].T, compute_uv=False)
    return rate_path(s, p.step * (0.5 if halved else 1.0), p.beta, p.layers)


def path_units(p: Descending, data) -> np.ndarray:
    """one step multiplies every head by a matrix off by 8 (n + 2d) epsilons of the condition number 1 + beta |W|²
    (which falls), errors of the layers add up and move a rate of K p logarithms by as much each
    """
    cond = 1 + p.beta * float(np.linalg.norm(data["Z"], 2) ** 2)
    return 16 * (p.n + 2 * p.dim) * cond * p.dim * (1 + np.arange(p.layers + 1.0))


RATE_PATH = Law(
    id="crate/rate-path",
    source=Source(DERIVED),
    statement="""
    Exact gradient steps, frames stacked-orthonormal: R^c after every layer follows from the singular values of the
    heads before the first,

        R^c_l = 1/2 sum log(1 + beta s_l²),    s_(l+1) = s_l |1 - t/(1 + beta s_l²)|,  t = kappa beta,

    whatever the tokens. It falls in every layer and tends to 0: for weak directions by the factor (1 - t)² a layer.
    """,
    params=Descending,
    situation=noisy,
    predict=followed,
    measure=stack,
    claim=Equality(of="rates", rounding=path_units, scale=lambda p, data: followed(p, data)[0], resolve=1e-6),
    controls={
        "step 1 % longer": but(measure=partial(stack, factor=1.01)),
        "half of the gradient": but(predict=partial(followed, halved=True)),
    },
    examples=(
        Descending(), Descending(eps_squared=10.0, step=1.0), Descending(heads=2, rank=16, per_class=4),
        Descending(heads=1, rank=3, per_class=64, step=1.5),
    ),
    draws=Draws(shapes=4, values=3),
)


# ---------------------------------------------------------------------- attention


class Rising(Stack):
    """Attention without layer norm, ranks at which most tokens attend to themselves and span their head."""

    kind: Literal["attention"] = "attention"
    heads: Annotated[int, Ge(2), Le(4)] = 4
    rank: Annotated[int, Ge(16), Le(64)] = 16
    per_class: Annotated[int, Ge(64), Le(256)] = 64
    delta: Annotated[float, Ge(0.01), Le(0.3), LogScale()] = 0.1
    step: Annotated[float, Ge(0.3), Le(1.0)] = 0.5
    layers: Literal[24] = 24


def two_permille(p: Rising, data) -> float:
    """the statement: within .2 % in layer 24, after the first-order deviation, (1 + t)^-l, is taken out"""
    return 0.002 * attention_slope(p.heads, p.rank, p.step)


ATTENTION_SLOPE = Law(
    id="crate/attention-slope",
    source=Source(DERIVED),
    statement="""
    Layers Z + t MSSA(Z) with softmax weights and no layer norm do not settle: scores grow, softmax becomes a maximum,
    and every layer adds

        K p log(1 + t)    nats to R^c,

    for heads whose self-attending tokens span them; within .2 % in layer 24 for t >= .3. (What a row
    keeps of its start falls as (1 + t)^-l: that deviation is taken out.) The rate grows without bound
    where a gradient step would lower it.
    """,
    params=Rising,
    situation=noisy,
    predict=lambda p, data: attention_slope(p.heads, p.rank, p.step),
    measure=stack,
    claim=Equality(of="rise", stated=two_permille, resolve=0.05),
    controls={
        "contracted": but(measure=partial(stack, contracted=True)),
        "log(1 + t) per head, not per dimension": but(predict=lambda p, data: attention_slope(p.heads, 1, p.step)),
    },
    examples=(
        Rising(), Rising(step=1.0, delta=0.2), Rising(heads=2, rank=24, per_class=96, eps_squared=5.0),
        Rising(heads=3, step=0.3, delta=0.02),
    ),
    draws=Draws(shapes=0, replicates=3),
)


# ---------------------------------------------------------------------- the cap


def capped_units(p: Stack, data) -> np.ndarray:
    """as crate/srr-cap: d logarithms of eigenvalues of I + M whose matrix is off by 8 (n + 2d) epsilons of its norm, at
    most K beta |Z|². A row of a head is added at most step max(1, beta) times a mean of rows, or of normalised ones
    (at most sqrt d): after l layers the longest row is at most (1 + step max(1, beta))^l (its start + l sqrt d)"""
    layers, start = np.arange(p.layers + 1.0), float(np.max(np.sum(data["Z"] ** 2, axis=1))) ** 0.5
    longest = (1 + p.step * max(1.0, p.beta)) ** layers * (start + layers * np.sqrt(p.dim))
    return 16 * (p.n + 2 * p.dim) * p.dim * (1 + p.heads * p.beta * p.n * p.heads * longest**2)


LAYERS_CAP = Law(
    id="crate/layers-cap",
    source=Source(DERIVED),
    statement="""
    crate/srr-cap holds in every layer of every kind, for whatever tokens it makes: R_eps - R^c <= (d/2) log K with
    frames that are stacked-orthonormal and complete. Layer norm and ISTA cannot pass it; their tokens need no
    structure.
    """,
    params=Stack,
    situation=noisy,
    predict=lambda p, data: theory.reduction_cap(p.heads, p.rank),
    measure=stack,
    claim=Bound(of="reductions", side="upper", rounding=capped_units, scale=lambda p, data: max(
        theory.reduction_cap(p.heads, p.rank), 1.0)),
    controls={
        "R_eps with 10 times the beta": but(measure=partial(stack, level=10.0)),
        "p for d": but(predict=lambda p, data: theory.reduction_cap(p.heads, p.rank) / p.heads),
    },
    examples=(
        Stack(), Stack(kind="attention"), Stack(kind="normalised"), Stack(kind="whole", eps_squared=0.01),
        Stack(kind="contracted"), Stack(kind="attention", eps_squared=0.01),
    ),
    draws=Draws(shapes=0),
)  # fmt: skip
