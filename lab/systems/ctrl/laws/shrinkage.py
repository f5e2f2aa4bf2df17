"""CTRL-Multi: what the best linear decoder does to orthogonal classes instead of reconstructing them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Classification, Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import closed_loops
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params
from lab.systems.ctrl import theory

DERIVED = "derived for this laboratory; not found in arXiv:2111.06636"
STEP = 1e-4  # of the differences of slopes: their error is STEP^2, and Newton's method converges all the same

Size = Annotated[int, Ge(1), Le(40)]
Rank = Annotated[int, Ge(1), Le(3)]


class Orthogonal(Params):
    """Orthogonal classes, each with equal singular values and unit energy, and `spare` directions more."""

    sizes: Annotated[tuple[Size, ...], MinLen(2), MaxLen(3)] = (12, 12, 12)
    ranks: Annotated[tuple[Rank, ...], MinLen(2), MaxLen(3)] = (1, 2, 2)
    spare: Annotated[int, Ge(0), Le(1)] = 0
    beta: Annotated[float, Ge(0.2), Le(1e6), LogScale()] = 40.0

    @model_validator(mode="after")
    def _one_rank_each(self) -> Self:
        if len(self.sizes) != len(self.ranks):
            raise ValueError(f"{len(self.sizes)} sizes but {len(self.ranks)} ranks; give one of each per class")
        return self

    @property
    def dim(self) -> int:
        return sum(self.ranks) + self.spare

    @property
    def fractions(self) -> np.ndarray:
        return np.array(self.sizes) / sum(self.sizes)

    @property
    def v(self) -> np.ndarray:
        """Reduced eigenvalue beta/k_j of each class."""
        return self.beta / np.array(self.ranks)

    @property
    def mixing(self) -> float:
        return theory.decoder_mixing(self.fractions, self.ranks, self.beta)


class Separate(Orthogonal):
    """Such classes where overlap does not pay."""

    @model_validator(mode="after")
    def _overlap_does_not_pay(self) -> Self:
        if self.mixing >= 1:
            raise ValueError(f"mixing={self.mixing:.3g} is not below 1: the best decoder lets classes overlap there; "
                             "raise beta or take ranks closer to each other")  # fmt: skip
        return self


class Decoder:
    """The follower's loss over all linear maps H = FG of features, by the moments of the classes alone.

    `weight` multiplies Delta R of the decoded features (1 in CTRL-Multi).
    """

    def __init__(self, moments: np.ndarray, fractions: np.ndarray, beta: float, weight: float = 1.0) -> None:
        self.moments, self.fractions, self.beta, self.weight = moments, fractions, beta, weight

    def value(self, H: np.ndarray) -> float:
        decoded = closed_loops.image(H, self.moments)
        loop = closed_loops.distance(self.moments, decoded, self.beta)
        return float(self.weight * closed_loops.reduction(decoded, self.fractions, self.beta) + np.sum(loop))

    def slope(self, H: np.ndarray) -> np.ndarray:
        """Gradient in H (..., d, d)."""
        decoded = closed_loops.image(H, self.moments)
        per_class = closed_loops.distance_gradient(decoded, self.moments, self.beta)
        per_class = per_class + self.weight * closed_loops.reduction_gradient(decoded, self.fractions, self.beta)
        return 2 * np.sum(per_class @ H[..., None, :, :] @ self.moments, axis=-3)

    def minimise(self, start: np.ndarray) -> tuple[float, np.ndarray]:
        """Lowest value met from a start, and the map there."""
        from scipy.optimize import minimize

        shape = start.shape
        found = minimize(lambda h: (self.value(h.reshape(shape)), self.slope(h.reshape(shape)).ravel()), start.ravel(),
                         jac=True, method="BFGS", options={"gtol": 1e-7})  # fmt: skip
        return float(found.fun), found.x.reshape(shape)

    def polish(self, H: np.ndarray, steps: int = 4) -> np.ndarray:
        """Newton's method for a vanishing slope, with differences of slopes; rotations that change nothing stay."""
        units = STEP * np.eye(H.size).reshape(H.size, *H.shape)
        for _ in range(steps):
            hessian = (self.slope(H + units) - self.slope(H - units)).reshape(H.size, H.size) / (2 * STEP)
            inverse = np.linalg.pinv(0.5 * (hessian + hessian.T), rcond=STEP**2, hermitian=True)
            H = H - (inverse @ self.slope(H).ravel()).reshape(H.shape)
        return H


def orthogonal_moments(rng: np.random.Generator, p: Orthogonal) -> np.ndarray:
    """Moments P_j/k_j of orthogonal classes in random position."""
    frame = haar(rng, p.dim, p.dim)
    ends = np.cumsum(p.ranks)
    blocks = [frame[:, end - k : end] for end, k in zip(ends, p.ranks, strict=True)]
    return np.stack([U @ U.T / k for U, k in zip(blocks, p.ranks, strict=True)])


def is_multiple(decoded: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, float]:
    """Factor of each moment that is nearest to the decoded one, and the largest relative rest."""
    factor = np.sum(decoded * moments, axis=(-2, -1)) / np.sum(moments**2, axis=(-2, -1))
    rest = np.linalg.norm(decoded - factor[:, None, None] * moments, axis=(-2, -1))
    return factor, float(np.max(rest / np.linalg.norm(decoded, axis=(-2, -1))))


@measurement
def best_decoder(p: Orthogonal, stream, *, weight: float = 1.0, wild: int = 2):
    """Lowest loss over all decoders, from maps near multiples of the identity (1 down to 1/sqrt(beta)) and from
    Gaussian ones; what is decoded there.

    "mixed" says that more than a thousandth of the decoded moments is no multiple of the features' own.
    """
    rng = stream.numpy("starts")
    moments = orthogonal_moments(rng, p)
    game = Decoder(moments, p.fractions, p.beta, weight)
    scales = np.minimum(p.beta ** -np.r_[0, 0.25, 0.5, rng.uniform(0, 0.5, wild)], 1.0)
    noise = rng.standard_normal((len(scales), p.dim, p.dim)) / np.sqrt(p.dim)
    base = np.r_[np.ones(3), np.zeros(wild)][:, None, None] * np.eye(p.dim)
    starts = scales[:, None, None] * (base + np.r_[0.05 * np.ones(3), np.ones(wild)][:, None, None] * noise)
    ends = [game.minimise(start) for start in starts]
    H = game.polish(min(ends, key=lambda end: end[0])[1])
    factor, rest = is_multiple(closed_loops.image(H, moments), moments)
    return {"shrink": factor, "loss": min(game.value(H), *(value for value, _ in ends)), "mixed": rest > 1e-3}


def slope_rounding(p: Orthogonal) -> np.ndarray:
    """the measured maps have a slope of rounding size, 2 t k v d (1 + v) along t_j = sqrt(tau_j), from inverses of
    I + beta C of condition 1 + v, and the loss of class j has the curvature 4 t^2 J'' there, J'' = k v^2 sqrt(b^2 + 4 a
    v)/(4 (1 + gamma x)(1 + x)(2 + v + x)) from the quadratic equation: tau is off by 2 t times their ratio"""
    g, v = p.fractions, p.v
    x = v * theory.decoder_shrinkage(g, v)
    a, b = g * (3 - 2 * g), 1 + 4 * g * (1 - g) + g * (1 - 2 * g) * v
    return 4 * p.dim * (1 + v) * (1 + g * x) * (1 + x) * (2 + v + x) / (v * np.sqrt(b**2 + 4 * a * v))


def loss_rounding(p: Orthogonal) -> float:
    """log-determinants of size d for the whole and twice for each class, each log(1 + v) at most, of moments whose own
    rounding, outside their spans, is multiplied by v"""
    return 2 * (1 + 2 * len(p.sizes)) * p.dim * (1 + float(np.log1p(p.v.max()) + p.v.max()))


EXAMPLES = (
    Separate(),
    Separate(sizes=(30, 10), ranks=(2, 2), spare=1, beta=300.0),
    Separate(sizes=(10, 10), ranks=(2, 3), beta=1000.0),
    Separate(sizes=(28, 4, 4), ranks=(1, 2, 1), beta=100.0),
)

MULTI_DECODER = Law(
    id="ctrl/multi-decoder-shrinkage",
    source=Source(DERIVED),
    statement="""
    In CTRL-Multi the follower minimises Delta R(Zhat) + sum_j dist(Z_j, Zhat_j). At orthogonal classes of rank k_j with
    equal singular values its best response among all linear decoders is no reconstruction but Chat_j = tau_j C_j, with
    gamma = n_j/n, v = beta/k_j and x = v tau_j the positive root of

        gamma (3 - 2 gamma) x^2 + (1 + 4 gamma (1 - gamma) + gamma (1 - 2 gamma) v) x - v = 0,

    as long as overlap does not pay (ctrl/multi-decoder-mixing). A single class, or a game without Delta R(Zhat), gives
    tau = 1. That no decoder with overlap does better is a search from several starts, not a proof.
    """,
    params=Separate,
    predict=lambda p: theory.decoder_shrinkage(p.fractions, p.v),
    measure=best_decoder,
    claim=Equality(of="shrink", rounding=slope_rounding, resolve=1e-2),
    controls={
        "without Delta R of the decoded features": but(measure=partial(best_decoder, weight=0.0)),
        "reconstruction": but(predict=lambda p: np.ones(len(p.sizes))),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=2, values=2),
)

MULTI_LOSS = Law(
    id="ctrl/multi-decoder-loss",
    source=Source(DERIVED),
    statement="""
    The follower of CTRL-Multi, at orthogonal classes with equal singular values where overlap does not pay, loses

        sum_j k_j [log(1 + gamma x)/2 - gamma log(1 + x)/2 + log(1 + (v + x)/2)/2 - log(1 + v)/4 - log(1 + x)/4]

    at its best, with x = v tau as in ctrl/multi-decoder-shrinkage; a perfect decoder loses Delta R(Z), which is more.
    At the published sizes, 500 samples in each of three classes of ranks 3, 4, 5 and beta = 40: 2.0322034 nats, not
    3.9618639.
    """,
    params=Separate,
    predict=lambda p: theory.decoder_loss(p.fractions, p.ranks, p.beta, theory.decoder_shrinkage(p.fractions, p.v)),
    measure=best_decoder,
    claim=Equality(of="loss", rounding=loss_rounding, resolve=1e-4),
    controls={
        "reconstruction": but(predict=lambda p: theory.decoder_loss(p.fractions, p.ranks, p.beta, np.ones_like(p.v))),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=2, values=2),
)


class Features(Params):
    """Gaussian features of any angles, K classes of `samples` samples, and their precision."""

    classes: Annotated[int, Ge(2), Le(4)] = 3
    dim: Annotated[int, Ge(1), Le(5)] = 4
    samples: Annotated[int, Ge(1), Le(8)] = 3
    beta: Annotated[float, Ge(0.2), Le(1e3), LogScale()] = 10.0


def gaussian_moments(p: Features, stream) -> dict[str, np.ndarray]:
    """Moments of the classes (K, d, d), of energy one."""
    Z = stream.numpy("features").standard_normal((p.classes, p.samples, p.dim))
    return {"moments": Z.mT @ Z / np.sum(Z**2, axis=(-2, -1), keepdims=True)}


SHIFT = 1e-4  # in log t


@measurement
def loss_along_scaling(p: Features, data, stream, *, weight: float = 1.0):
    """Central difference of the follower's loss at Zhat = t Z around t = 1, in log t."""
    game = Decoder(data["moments"], np.full(p.classes, 1 / p.classes), p.beta, weight)
    up, down = (game.value(np.exp(s) * np.eye(p.dim)) for s in (SHIFT, -SHIFT))
    return {"slope": (up - down) / (2 * SHIFT)}


def difference_error(p: Features) -> float:
    """the loss is a sum of (w/2) log(1 + l t^2 + m): d terms of weight one for the whole, d of weights that add to one
    for the classes, 3 d/2 for each distance; a third derivative in log t is 4 times the second of a logistic function,
    .385 at most. And the rounding of both values, over the step"""
    terms = p.dim * (2 + 1.5 * p.classes)
    return SHIFT**2 * terms * 0.385 / 6 + np.finfo(float).eps * 4 * terms * (p.dim + np.log1p(p.beta)) / SHIFT


RECONSTRUCTION = Law(
    id="ctrl/reconstruction-never-best",
    source=Source(DERIVED),
    statement="""
    At any features with Delta R(Z) > 0 a perfect decoder is no best response in CTRL-Multi, if decoders may be scaled:
    along Zhat = t Z the follower's loss has the slope tr(bC(1+bC)^-1) - sum_j gamma_j tr(bC_j(1+bC_j)^-1) > 0 at t = 1,
    b = beta, C the mean moment. The game is inconsistent for any two classes that differ; that of CTRL-MSP, without
    Delta R(Zhat), is not.
    """,
    params=Features,
    situation=gaussian_moments,
    predict=lambda p, data: theory.scaling_slope(data["moments"], np.full(p.classes, 1 / p.classes), p.beta),
    measure=loss_along_scaling,
    claim=Equality(of="slope", finite_size=difference_error, scale=1.0, resolve=1e-5),
    controls={
        "without Delta R of the decoded features": but(measure=partial(loss_along_scaling, weight=0.0)),
        "a perfect decoder is best": but(predict=lambda p, data: 0.0),
    },
    examples=(Features(), Features(dim=1), Features(samples=1)),
    draws=Draws(shapes=4, values=2),
)


class AwayFromMixing(Orthogonal):
    """Classes at least 2 % away from where overlap begins to pay, at moderate precision."""

    beta: Annotated[float, Ge(0.3), Le(40.0), LogScale()] = 1.0

    @model_validator(mode="after")
    def _away(self) -> Self:
        if abs(self.mixing - 1) < 0.02:
            raise ValueError(f"mixing={self.mixing:.4g} is within 2 % of 1; change beta")
        return self


MIXING = Law(
    id="ctrl/multi-decoder-mixing",
    source=Source(DERIVED),
    statement="""
    The best decoder of CTRL-Multi keeps orthogonal classes apart if and only if, for every pair of classes,

        2 gamma_i gamma_j/((1 + gamma_i x_i)(1 + gamma_j x_j)) [x_j (2 + v_i + x_i)/v_i + x_i (2 + v_j + x_j)/v_j] < 1.

    Beyond, its moments are no multiples of the features' own: overlap lowers Delta R(Zhat) by more than it costs. Two
    classes of equal rank never mix; of unequal rank they do at low precision. (Second variation: exact. That nothing
    far away is better where the condition holds: a search.)
    """,
    params=AwayFromMixing,
    predict=lambda p: p.mixing > 1,
    measure=best_decoder,
    claim=Classification(of="mixed", distance=lambda p: p.mixing - 1, resolve=0.1),
    controls={
        "never": but(predict=lambda p: False),
        "without Delta R of the decoded features": but(measure=partial(best_decoder, weight=0.0)),
    },
    examples=(
        AwayFromMixing(sizes=(10, 10), ranks=(1, 2), beta=2.0),
        AwayFromMixing(sizes=(10, 10), ranks=(1, 2), beta=4.5),
        AwayFromMixing(sizes=(10, 10), ranks=(2, 2), beta=4.0),
        AwayFromMixing(sizes=(18, 8), ranks=(1, 3), beta=1.3),
        AwayFromMixing(sizes=(10, 20, 5), ranks=(3, 1, 1), beta=2.0),
    ),
    draws=Draws(shapes=4, values=3),
)


class Precise(Orthogonal):
    """Two classes at high precision, a hundred times higher than where the smaller one reaches its regime."""

    sizes: Annotated[tuple[Size, ...], MinLen(2), MaxLen(2)] = (10, 30)
    ranks: Annotated[tuple[Rank, ...], MinLen(2), MaxLen(2)] = (1, 1)
    beta: Annotated[float, Ge(1e3), Le(1e6), LogScale()] = 1e5

    @model_validator(mode="after")
    def _in_the_regime(self) -> Self:
        if np.max(theory.decoder_shrinkage_limit_error(self.fractions, self.v)) > 0.05:
            raise ValueError(f"beta={self.beta:g} is too low for shares {self.fractions}: the limit is more than 5 % "
                             "off; raise beta or take shares further from one half")  # fmt: skip
        return self


def next_term(p: Precise) -> np.ndarray:
    """bound on the distance to the limit, from the quadratic equation: (gamma < 1/2) 4 gamma (1 - gamma)^2 (1 + 2
    gamma)/(gamma (1 - 2 gamma))^2/v of it, (1/2) 1/sqrt(v), (gamma > 1/2) 4 (1 - gamma)^2 (1 + 2 gamma)/(gamma (3 - 2
    gamma)^2 tau^2 v)"""
    return theory.decoder_shrinkage_limit_error(p.fractions, p.v) * theory.decoder_shrinkage_limit(p.fractions, p.v)


REGIMES = Law(
    id="ctrl/multi-decoder-regimes",
    source=Source(DERIVED),
    statement="""
    At high precision, v = beta/k -> infinity, the decoder of CTRL-Multi treats a class by its share gamma:

        gamma < 1/2   tau ~ 1/(gamma (1 - 2 gamma) v)         what is decoded has a bounded rate: it collapses
        gamma = 1/2   tau ~ 1/sqrt(v)                         exactly 1/(1 + sqrt(1 + v))
        gamma > 1/2   tau -> (gamma - 1/2)/(3/2 - gamma)      a fixed share of the energy, below 1

    with known bounds of the next order.
    """,
    params=Precise,
    predict=lambda p: theory.decoder_shrinkage_limit(p.fractions, p.v),
    measure=best_decoder,
    claim=Equality(of="shrink", rounding=slope_rounding, finite_size=next_term),
    controls={
        "without Delta R of the decoded features": but(measure=partial(best_decoder, weight=0.0)),
        "shares exchanged": but(predict=lambda p: theory.decoder_shrinkage_limit(p.fractions[::-1], p.v)),
    },
    examples=(Precise(), Precise(sizes=(20, 20), beta=1e4), Precise(sizes=(5, 35), ranks=(1, 2), beta=1e4)),
    draws=Draws(shapes=1, values=2),
)
