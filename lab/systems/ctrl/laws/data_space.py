"""Consistency of features does not bring the data back: what decoders leave of the subspaces."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data.game_subspaces import correlated_bases, sample
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import closed_loops, linear_games
from lab.params import Ge, Le, MaxLen, MinLen, Params
from lab.systems.ctrl import theory

DERIVED = "derived for this laboratory; not found in arXiv:2206.09120"

BETA = 10.0
RATE, STEPS = 0.2, 60  # of plain descent
SETTLED = 1e-12  # loop distance, in nats, below which a decoder counts as a best response

Rank = Annotated[int, Ge(1), Le(3)]


class AllSeen(Params):
    """Subspaces in direct sum in R^{d_x}, ``d_x = sum d_j + around``, and an encoder that sees all of the space."""

    ranks: Annotated[tuple[Rank, ...], MinLen(2), MaxLen(3)] = (2, 3)
    around: Annotated[int, Ge(1), Le(6)] = 5
    samples: Annotated[int, Ge(6), Le(40)] = 12
    alpha: Annotated[float, Ge(0.2), Le(1.0)] = 0.5

    @property
    def d_x(self) -> int:
        return sum(self.ranks) + self.around

    @property
    def d_z(self) -> int:
        return self.d_x


class Encoded(AllSeen):
    """The same seen by an encoder into ``sum d_j + spare`` dimensions, at most d_x."""

    spare: Annotated[int, Ge(0), Le(6)] = 1

    @model_validator(mode="after")
    def _sees_part_of_the_space(self) -> Self:
        if self.spare > self.around:
            raise ValueError(f"spare={self.spare} exceeds around={self.around}: d_z would exceed d_x; lower spare")
        return self

    @property
    def d_z(self) -> int:
        return sum(self.ranks) + self.spare


class PartlySeen(Encoded):
    """An encoder that does not see all of the space."""

    @model_validator(mode="after")
    def _not_all(self) -> Self:
        if self.spare == self.around:
            raise ValueError("spare = around: the encoder sees all of the space; lower spare")
        return self


def encoded_data(p: AllSeen, stream) -> dict[str, np.ndarray]:
    """Samples X (n, d_x) of correlated subspaces, n_j = `samples` each, and an encoder F (d_z, d_x) with orthonormal
    rows in a uniformly random row space."""
    rng = stream.numpy("data")
    sizes = (p.samples,) * len(p.ranks)
    X = sample(rng, correlated_bases(rng, d_x=p.d_x, ds=p.ranks, alpha=p.alpha), sizes).Z
    return {"X": X, "F": haar(rng, p.d_x, p.d_z).T}


def class_rows(p: AllSeen, X: np.ndarray) -> np.ndarray:
    """Samples by class, (K, n_j, d_x)."""
    return X.reshape(len(p.ranks), p.samples, p.d_x)


def moments_of(p: AllSeen, X: np.ndarray) -> np.ndarray:
    return closed_loops.class_moments(X, (p.samples,) * len(p.ranks))[0]


def residuals(p: AllSeen, rows: np.ndarray, F: np.ndarray, G: np.ndarray) -> np.ndarray:
    return linear_games.subspace_residuals(rows, rows @ F.T @ G.T, p.ranks)


@measurement
def exact_decoders(p: AllSeen, data, stream):
    """Data-space residuals of exact best responses: the canonical decoder, the pseudo-inverse (also the square of its
    first class), and the pseudo-inverse plus a Gaussian part that the encoder does not see."""
    X, F = data["X"], data["F"]
    rows, moments = class_rows(p, X), moments_of(p, X)
    pinv = closed_loops.pinv_decoder(F)
    unseen = (np.eye(p.d_x) - pinv @ F) @ stream.numpy("unseen").standard_normal((p.d_x, p.d_z))
    whole = closed_loops.pooled(moments, np.full(len(p.ranks), 1 / len(p.ranks)))
    decoders = {"canonical": closed_loops.canonical_decoder(F, whole), "pinv": pinv, "unseen": pinv + unseen}
    found = {name: residuals(p, rows, F, G) for name, G in decoders.items()}
    return {**found, "squared": found["pinv"][0] ** 2, "unseen squared": found["unseen"][0] ** 2}


def residual_rounding(p: AllSeen, data) -> float:
    """decoders and singular vectors: rounding of d_x numbers each, times the condition of the features of a class and
    that of all classes together, which the pseudo-inverse in a decoder inverts"""
    own = [np.linalg.svd(rows @ data["F"].T, compute_uv=False) for rows in class_rows(p, data["X"])]
    apart = np.linalg.svd(data["X"] @ data["F"].T, compute_uv=False)[: sum(p.ranks)]
    condition = max(float(s[0] / s[rank - 1]) for s, rank in zip(own, p.ranks, strict=True))
    return 8 * p.d_x * condition * float(apart[0] / apart[-1])


CANONICAL = Law(
    id="ctrl/data-space-consistency",
    source=Source(DERIVED),
    statement="""
    In CTRL-MSP a best response need not bring the data back: it fixes the spans of FGF X_j, not those of GF X_j. The
    canonical decoder G = X(FX)^+ returns the samples themselves, GF x = x, for every encoder that is injective on their
    span: its residual ||X_j(I - P_j)||/||X_j|| is 0, P_j the projection onto the span of the decoded samples.
    """,
    params=PartlySeen,
    situation=encoded_data,
    predict=lambda p, data: np.zeros(len(p.ranks)),
    measure=exact_decoders,
    claim=Equality(of="canonical", rounding=residual_rounding, scale=1.0, resolve=1e-6),
    controls={
        "another best response: the pseudo-inverse": but(
            claim=Equality(of="pinv", rounding=residual_rounding, scale=1.0, resolve=1e-6)
        ),
        "another best response: with an unseen part": but(
            claim=Equality(of="unseen", rounding=residual_rounding, scale=1.0, resolve=1e-6)
        ),
    },
    examples=(PartlySeen(), PartlySeen(ranks=(1, 1), around=1, spare=0), PartlySeen(ranks=(3, 2, 1), alpha=0.2)),
    draws=Draws(shapes=3, values=4),
)


def row_space(p: AllSeen, data) -> np.ndarray:
    """Share of each class outside the row space of the encoder."""
    return theory.row_space_residuals(data["F"], moments_of(p, data["X"]))


PINV = Law(
    id="ctrl/row-space-residual",
    source=Source(DERIVED),
    statement="""
    A best response inside the row space of the encoder, such as G = F^+, leaves the share of each class outside that
    row space, ||X_j(I - F^+F)||/||X_j||: nothing if and only if the class lies inside. (A decoder trained by gradients
    from inside ends there, ctrl/gradient-decoder.)
    """,
    params=Encoded,
    situation=encoded_data,
    predict=row_space,
    measure=exact_decoders,
    claim=Equality(of="pinv", rounding=residual_rounding, scale=1.0, resolve=1e-6),
    controls={
        "with an unseen part": but(
            claim=Equality(of="unseen", rounding=residual_rounding, scale=1.0, resolve=1e-6)
        ),
        "share of the features": but(predict=lambda p, data: np.sqrt(1 - row_space(p, data) ** 2)),
    },
    examples=(Encoded(), Encoded(ranks=(2, 2), around=2, spare=2)),
    draws=Draws(shapes=3, values=4),
)

MEAN_RESIDUAL = Law(
    id="ctrl/mean-residual",
    source=Source(DERIVED),
    statement="""
    For an encoder with uniformly distributed row space the squared residual of F^+ is 1 - d_z/d_x in the mean, for any
    data: a published residual near sqrt(1 - d_z/d_x) says no more than that the encoder was drawn at random.
    """,
    params=PartlySeen,
    situation=encoded_data,
    predict=lambda p: theory.mean_squared_residual(p.d_z, p.d_x),
    measure=exact_decoders,
    claim=Equality(of="squared", over="mean", resolve=0.25),
    controls={
        "an unseen part": but(claim=Equality(of="unseen squared", over="mean", resolve=0.25)),
        "residual itself": but(predict=lambda p: np.sqrt(theory.mean_squared_residual(p.d_z, p.d_x))),
    },
    examples=(PartlySeen(), PartlySeen(ranks=(1, 1), around=6, spare=2)),
    draws=Draws(shapes=1, values=1, replicates=120),
)


# ---------------------------------------------------------------------- decoders that learn



def isotropic_rows(p: AllSeen, data, F: np.ndarray) -> np.ndarray:
    """Rows (K, m, d_x) that span the classes, of equal energy in all directions of a class; the largest energy of the
    features of a class is 1."""
    rows = np.zeros((len(p.ranks), max(p.ranks), p.d_x))
    for j, (own, rank) in enumerate(zip(class_rows(p, data["X"]), p.ranks, strict=True)):
        rows[j, :rank] = np.linalg.svd(own)[2][:rank] / np.sqrt(rank)
    return rows / np.sqrt(np.max(np.sum((rows @ F.T) ** 2, axis=(-2, -1))))


@measurement
def trained_decoder(
    p: AllSeen, data, stream, *, gaussian: float = 0.0, signs: bool = False, dropped: int = 0
):  # fmt: skip
    """A decoder trained by gradients (L-BFGS) on isotropic classes, beta = 10, from G = F^T/2 plus a Gaussian part of
    size `gaussian`: its residual, and whether the loop distance has settled. How far (I - F^+F)G moves in 60 steps of
    plain descent, over |G|; `signs` takes the signs of the gradient, as Adam does at first. The encoder loses `dropped`
    dimensions.
    """
    from scipy.optimize import minimize

    F = data["F"][: p.d_z - dropped]
    rows = isotropic_rows(p, data, F)
    moments = rows.mT @ rows
    start = F.T / 2 + gaussian * stream.numpy("start").standard_normal(F.T.shape) / np.sqrt(p.d_x)

    def loss(g: np.ndarray) -> tuple[float, np.ndarray]:
        slopes = closed_loops.loop_slopes(F, g.reshape(start.shape), moments, BETA)
        return float(slopes.value), slopes.decoder.ravel()

    options = {"maxiter": 3000, "maxfun": 6000, "ftol": 0.0, "gtol": 1e-10, "maxcor": 30}
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    if signs:
        moved = start
        for _ in range(STEPS):
            moved = moved - 0.01 * np.sign(closed_loops.loop_slopes(F, moved, moments, BETA).decoder)
    else:
        moved = linear_games.decoder_descent(F, start, moments, BETA, rate=RATE, steps=STEPS)
    unseen = np.eye(p.d_x) - closed_loops.pinv_decoder(F) @ F
    return {"residual": residuals(p, rows, F, found.x.reshape(start.shape)), "settled": found.fun < SETTLED,
            "drift": np.linalg.norm(unseen @ (moved - start)) / np.linalg.norm(moved)}  # fmt: skip


def drift_rounding(p: AllSeen) -> float:
    """each step adds the rounding of a matrix of gradients, whose products have d_x terms"""
    return STEPS * p.d_x


INVARIANT = Law(
    id="ctrl/decoder-invariant",
    source=Source(DERIVED),
    statement="""
    Gradients of sum dist(Z_j, Zhat_j) in the decoder have their columns in the row space of F: under plain gradient
    descent of G at a fixed encoder (I - F^+F)G does not move at all. What the encoder does not see of the decoder is
    what it was initialised with, for ever; so is the residual of the data.
    """,
    params=PartlySeen,
    situation=encoded_data,
    predict=lambda p: 0.0,
    measure=partial(trained_decoder, gaussian=1.0),
    claim=Equality(of="drift", rounding=drift_rounding, scale=1.0, resolve=1e-6),
    controls={"steps along the signs of the gradient": but(measure=partial(trained_decoder, gaussian=1.0, signs=True))},
    examples=(PartlySeen(), PartlySeen(ranks=(1, 1), around=4)),
    draws=Draws(shapes=2, values=1),
)


def unfinished(p: AllSeen, data) -> float:
    """a loop distance L leaves |A^-1 (Chat - C)| <= 2 sqrt(L)/beta in the metric A = I/beta + C of the features: with
    eigenvalues of C between l and 1 on its span, spans are off by an angle of at most 2 sqrt(L) (1 + beta)/(beta l),
    over the least cosine between the class and the row space once back in the data"""
    F = data["F"]
    rows = isotropic_rows(p, data, F)
    seen = [np.linalg.svd(own @ F.T, compute_uv=False)[:rank] for own, rank in zip(rows, p.ranks, strict=True)]
    least = min(float(s.min() ** 2) for s in seen)
    cosine = min(float(s.min() / np.linalg.norm(own, 2)) for s, own in zip(seen, rows, strict=True))
    return 2 * SETTLED**0.5 * (1 + BETA) / (BETA * least) / min(cosine, 1.0)


def isotropic_row_space(p: AllSeen, data) -> np.ndarray:
    """Share of each isotropic class outside the row space of the encoder."""
    rows = isotropic_rows(p, data, data["F"])
    return theory.row_space_residuals(data["F"], rows.mT @ rows)


GRADIENT = Law(
    id="ctrl/gradient-decoder",
    source=Source(DERIVED),
    statement="""
    A decoder trained by gradients at a fixed encoder from G(0) = c F^T ends at a best response inside the row space of
    the encoder: the share ||X_j(I - F^+F)||/||X_j|| of each class is lost, as with G = F^+. From a Gaussian start the
    unseen part stays and another residual results. (L-BFGS steps are combinations of gradients, as those of plain
    descent are. Judged where the loop distance has fallen below 1e-12 nats.)
    """,
    params=PartlySeen,
    situation=encoded_data,
    predict=isotropic_row_space,
    measure=trained_decoder,
    claim=Equality(of="residual", given="settled", rounding=residual_rounding, finite_size=unfinished, scale=1.0,
                   resolve=1e-3),
    controls={"Gaussian start": but(measure=partial(trained_decoder, gaussian=1.0))},
    examples=(PartlySeen(), PartlySeen(ranks=(2, 1, 2), around=6, spare=4)),
    draws=Draws(shapes=2, values=1),
)  # fmt: skip

SQUARE = Law(
    id="ctrl/square-encoder-consistency",
    source=Source(DERIVED),
    statement="""
    An encoder that sees all of the space, rank F = d_x, forces consistency in data space: every best response of the
    decoder, from any start, has Col(GF X_j) = Col(X_j), residual 0. One dimension less and a Gaussian start breaks it.
    """,
    params=AllSeen,
    situation=encoded_data,
    predict=lambda p, data: np.zeros(len(p.ranks)),
    measure=partial(trained_decoder, gaussian=1.0),
    claim=Equality(of="residual", given="settled", rounding=residual_rounding, finite_size=unfinished, scale=1.0,
                   resolve=1e-3),
    controls={"one dimension unseen": but(measure=partial(trained_decoder, gaussian=1.0, dropped=1))},
    examples=(AllSeen(), AllSeen(ranks=(1, 1), around=2)),
    draws=Draws(shapes=2, values=1),
)  # fmt: skip
