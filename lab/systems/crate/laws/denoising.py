"""Does a rate-gradient step denoise? Gain and direction, the transition at p = N_k, rare clusters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np

from lab.claims import Equality, Limit
from lab.data.tokens import noisy_subspace_tokens
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params
from lab.systems.crate import theory

DERIVED = "derived for this laboratory; not found in arXiv:2306.01129 or arXiv:2404.02446"


class Noisy(Params):
    """Tokens near K orthogonal subspaces of rank ``p = rank_share per_class`` (rounded, at least 1).

    Cluster k has ``shape[k] per_class`` tokens, noise of standard deviation `delta` on the foreign subspaces;
    ``beta = strength/per_class`` and one step of ``kappa beta = reduced_step``.
    """

    shape: Annotated[tuple[Annotated[int, Ge(1), Le(6)], ...], MinLen(2), MaxLen(4)] = (1, 1, 1, 1)
    per_class: Annotated[int, Ge(4), Le(4096)] = 32
    rank_share: Annotated[float, Ge(0.125), Le(8.0), LogScale()] = 1.0
    strength: Annotated[float, Ge(0.1), Le(1000.0), LogScale()] = 32.0
    delta: Annotated[float, Ge(0.01), Le(0.5), LogScale()] = 0.1
    reduced_step: Annotated[float, Ge(0.1), Le(1.5)] = 1.0

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(n * self.per_class for n in self.shape)

    @property
    def rank(self) -> int:
        return max(1, round(self.rank_share * self.per_class))

    @property
    def beta(self) -> float:
        return self.strength / self.per_class


def filtered(W: np.ndarray, beta: float) -> np.ndarray:
    """Gradient of the rate over beta, ``W (I + beta W^T W)^-1`` in every head."""
    return white_box.head_rate_gradient(W, beta=beta) / beta


def gated(W: np.ndarray, labels: np.ndarray, beta: float) -> np.ndarray:
    """The same for the rate of every cluster on its own, all heads together: ``(I + beta Z_k Z_k^T)^-1 Z_k``."""
    out = np.empty_like(W)
    for k in range(len(W)):
        mine = W[:, labels == k]
        Z = np.moveaxis(mine, 0, 1).reshape(mine.shape[1], -1)
        G = np.linalg.solve(np.eye(len(Z)) + beta * Z @ Z.T, Z)
        out[:, labels == k] = np.moveaxis(G.reshape(len(Z), len(W), -1), 1, 0)
    return out


def per_cluster(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Means over the tokens of each cluster; `values` (..., N)."""
    return np.stack([values[..., labels == k].mean(-1) for k in range(labels.max() + 1)], axis=-1)


@measurement(paired=("strength", "reduced_step"))
def stepped(p: Noisy, stream, *, by_label: bool = False, sign: float = 1.0, power: float = 1.0):
    """Gain of every cluster in one step, and the mean cosine of its tokens' direction with the way to their subspace.

    `by_label` steps along the gradient of every cluster's own rate, `sign` -1 ascends, `power` is that of beta.
    """
    tokens = noisy_subspace_tokens(stream.numpy("tokens"), class_sizes=p.sizes, rank=p.rank, delta=p.delta)
    W, labels, beta = tokens.blocks, tokens.labels, p.beta**power
    own = np.arange(len(W))[:, None] == labels
    G = gated(W, labels, beta) if by_label else filtered(W, beta)
    ratios = []
    for V in (W, W - sign * p.reduced_step * G):
        energy = np.sum(V**2, axis=-1)
        signal, noise = (per_cluster(np.sum(energy * part, axis=0), labels) for part in (own, ~own))
        ratios.append(np.sqrt(signal / noise))
    noise = np.where(own[..., None], 0.0, W)
    along = np.sum(G * noise, axis=(0, 2))
    lengths = np.sqrt(np.sum(G**2, axis=(0, 2)) * np.sum(noise**2, axis=(0, 2)))
    return {"gains": ratios[1] / ratios[0], "cosines": per_cluster(along / lengths, labels)}


def over_sizes(p: Params, of: Callable[[Any], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """`of(point)` at every per_class that the claim's axis visits: the closed form as a function of the axis."""
    return lambda sizes: np.stack([of(p.replace(per_class=int(n))) for n in sizes])


def predicted_gains(p: Noisy, *, foreign: float = 1.0) -> np.ndarray:
    """Gains of the clusters; `foreign` multiplies the noise seen by a head (0: forgotten in the resolvent)."""
    if foreign == 1:
        return theory.gains(p.sizes, p.rank, p.beta, p.delta, p.reduced_step)
    return theory.gains(p.sizes, p.rank, p.beta, foreign * p.delta, p.reduced_step)


def predicted_cosines(p: Noisy) -> np.ndarray:
    return theory.cosines(p.sizes, p.rank, p.beta, p.delta)


def sizes(p: Noisy) -> np.ndarray:
    """8 to 64 tokens in a cluster of the smallest kind"""
    return np.array([8, 12, 16, 24, 32, 48, 64])


RATE_GRADIENT_SNR = Law(
    id="crate/rate-gradient-snr",
    source=Source(DERIVED),
    statement="""
    Compression as denoising, made exact. Tokens near orthogonal subspaces (signal variance 1, noise delta² on the
    foreign ones), one step Z - kappa grad R^c. The signal-to-noise ratio of cluster k changes, as sizes and ranks
    grow in proportion (p/N_k, beta N_k fixed), by

        g_k = sqrt( S(N_k)/mean_(j != k) T(N_j) ),    S = 1 - 2 t h s + t² h2 s²,  T = 1 - 2 t h q + t² h2 q²,
        t = kappa beta,  s = 1/(1 + beta p h),  q = 1/(1 + beta delta² p h),
        1/h = 1 + beta N_k s + beta (N - N_k) delta² q,    h2 = -dh/d1,

    Marchenko-Pastur with two kinds of rows. Corrections are O(1/N_k). For p << N_k balanced clusters gain nothing.
    Replacing beta (N - N_k) delta² q by its value at q = 1 is wrong by percents where the noise of a head is strong.
    """,
    params=Noisy,
    predict=lambda p: over_sizes(p, predicted_gains),
    measure=stepped,
    claim=Limit(of="gains", along="per_class", order=1.0, axis=sizes, resolve=0.05),
    controls={
        "ascent": but(measure=partial(stepped, sign=-1.0)),
        "gradient gated by the label": but(measure=partial(stepped, by_label=True)),
        "beta² for beta": but(measure=partial(stepped, power=2.0)),
        "noise forgotten": but(predict=lambda p: over_sizes(p, partial(predicted_gains, foreign=0.0))),
    },
    examples=(
        Noisy(delta=0.02), Noisy(rank_share=2.0, delta=0.3, strength=3.2), Noisy(rank_share=0.25),
        Noisy(shape=(4, 2, 1), rank_share=0.5, strength=10.0, reduced_step=1.5),
    ),
    draws=Draws(shapes=0, replicates=8),
)  # fmt: skip

RATE_GRADIENT_DIRECTION = Law(
    id="crate/rate-gradient-direction",
    source=Source(DERIVED),
    statement="""
    In the setting of crate/rate-gradient-snr the descent direction -grad R^c of a token of cluster k and the way to its
    own subspace, P_k z - z, make in the limit the angle

        cos_k = delta sum_(j != k) h_j q_j / sqrt( (K-1) (h2_k s_k² + delta² sum_(j != k) h2_j q_j²) ).

    It is near 1 for p >> N_k only. For p << N_k it is about the share of noise in the token, which goes to 0 with
    delta: the gradient then points to the origin.
    """,
    params=Noisy,
    predict=lambda p: over_sizes(p, predicted_cosines),
    measure=stepped,
    claim=Limit(of="cosines", along="per_class", order=1.0, axis=sizes, as_="difference", scale=1.0, resolve=0.05),
    controls={
        "gradient gated by the label": but(measure=partial(stepped, by_label=True)),
        "beta² for beta": but(measure=partial(stepped, power=2.0)),
    },
    examples=(
        Noisy(delta=0.02), Noisy(rank_share=2.0, delta=0.3, strength=3.2), Noisy(rank_share=0.25),
        Noisy(shape=(4, 2, 1), rank_share=0.5, strength=10.0),
    ),
    draws=Draws(shapes=0, replicates=8),
)  # fmt: skip

COMPRESSION_DENOISES_PRINTED = RATE_GRADIENT_DIRECTION.printed(
    "crate/compression-denoises-printed",
    source=Source("arXiv:2404.02446", "compression as denoising, informal statement, as recalled"),
    statement="""
    As published, informally: at small noise the negative gradient of R^c at a token points to the nearest subspace, its
    projection residual (cosine 1). Counterexample: noise delta = .02, p = N_k/4, where the cosine is below .1: the
    gradient multiplies all tokens of a head by one matrix and knows no clusters. True for p >> N/K only, or for the
    gradient of every cluster's own rate.
    """,
    predict=lambda p: over_sizes(p, lambda q: np.ones(len(q.shape))),
    at=(Noisy(rank_share=0.25, delta=0.02), Noisy(rank_share=0.25, delta=0.02, strength=1000.0)),
)


# ---------------------------------------------------------------------- the transition


class Vanishing(Params):
    """K balanced clusters of `per_class` tokens, rank p; ``beta per_class = 1e8``, ``delta = 1e-7``, kappa beta = 1."""

    heads: Annotated[int, Ge(2), Le(4)] = 3
    per_class: Annotated[int, Ge(2), Le(24)] = 16
    rank: Annotated[int, Ge(1), Le(48)] = 24


STRONG = 1e8


@measurement
def kept(p: Vanishing, stream, *, strength: float = STRONG, by_label: bool = False):
    """Shares of the energy that one step keeps: of the signal, of the noise; means over tokens."""
    tokens = noisy_subspace_tokens(
        stream.numpy("tokens"), class_sizes=(p.per_class,) * p.heads, rank=p.rank, delta=1e-7
    )
    W, labels, beta = tokens.blocks, tokens.labels, strength / p.per_class
    own = (np.arange(p.heads)[:, None] == labels)[..., None]
    after = W - (gated(W, labels, beta) if by_label else filtered(W, beta))
    return {"shares": np.array([np.sum(after**2 * part) / np.sum(W**2 * part) for part in (own, ~own)])}


def kept_shares(p: Vanishing, *, tokens: float = 1.0) -> np.ndarray:
    """1 and min(1, n/p), n the tokens of a cluster times `tokens`."""
    return np.array([1.0, 1 / theory.projection_gain(tokens * p.per_class, p.rank) ** 2])


def unsharp(p: Vanishing) -> float:
    """the projection is soft: a direction of squared signal l loses 1/(1 + beta l), mostly the weakest, of which there
    is one in p and whose l/n falls below x/n² with probability about sqrt x: in the mean 2 n/sqrt(strength) in p. Of
    the noise beta delta² N = K 1e-6 is seen; the solve has the condition 4e8, an error of 1e-7"""
    return 4 * p.per_class / np.sqrt(STRONG) / p.rank + 2e-6 * p.heads + 1e-6


RATE_GRADIENT_TRANSITION = Law(
    id="crate/rate-gradient-transition",
    source=Source(DERIVED),
    statement="""
    For 1/lambda_signal << beta << 1/lambda_noise the step kappa = 1/beta projects every head onto the span of its N_k
    signal rows: the signal stays and of the noise the mean share min(1, N_k/p) of its energy, at any finite size. So
    balanced clusters gain

        sqrt(max(1, p/N_k)),

    nothing below the transition p = N_k = N/K, then as a power 1/2. The sizes of ViT-B (N = 197, K = 12, p = 64, p/N_k
    = 3.9) lie on the denoising side.
    """,
    params=Vanishing,
    predict=kept_shares,
    measure=kept,
    claim=Equality(of="shares", over="mean", finite_size=unsharp, resolve=0.05),
    controls={
        "transition at p = 2 N/K": but(predict=partial(kept_shares, tokens=2.0)),
        "transition at p = N": but(predict=lambda p: kept_shares(p, tokens=p.heads)),
        "beta too small": but(measure=partial(kept, strength=1.0)),
        "gradient gated by the label": but(measure=partial(kept, by_label=True)),
    },
    examples=(Vanishing(), Vanishing(rank=16), Vanishing(rank=8), Vanishing(heads=2, per_class=4, rank=40)),
    draws=Draws(shapes=8, values=1, replicates=12),
)


# ---------------------------------------------------------------------- rare clusters


class Rare(Params):
    """Clusters of ``shape[k] per_class`` tokens and small rank; ``beta = strength/per_class``."""

    shape: Annotated[tuple[Annotated[int, Ge(1), Le(25)], ...], MinLen(2), MaxLen(4)] = (25, 5, 1)
    per_class: Annotated[int, Ge(8), Le(4096)] = 60
    rank: Annotated[int, Ge(1), Le(6)] = 3
    strength: Annotated[float, Ge(0.1), Le(30.0), LogScale()] = 1.2
    delta: Annotated[float, Ge(0.01), Le(0.5), LogScale()] = 0.05
    reduced_step: Annotated[float, Ge(0.1), Le(1.0)] = 1.0

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(n * self.per_class for n in self.shape)

    @property
    def beta(self) -> float:
        return self.strength / self.per_class


def predicted_large(p: Rare, *, balanced: bool = False) -> np.ndarray:
    mean = sum(p.sizes) / len(p.sizes)
    held = [mean] * len(p.sizes) if balanced else list(p.sizes)
    return theory.large_cluster_gains(held, p.beta, p.delta, p.reduced_step)


def many(p: Rare) -> np.ndarray:
    """32 to 512 tokens in the smallest cluster"""
    return 2 ** np.arange(5, 10)


RARE_CLUSTERS = Law(
    id="crate/rare-clusters",
    source=Source(DERIVED),
    statement="""
    Fixed rank, growing clusters (beta N_k fixed): a head multiplies all that it holds, signal and noise alike, by
    1 - kappa beta/(1 + beta (N_k + (N - N_k) delta²)). The gain of cluster k is its own factor over the root mean
    square of the others' factors: 1 for balanced clusters, above 1 for frequent and below 1 for rare ones.
    Compression hurts the signal-to-noise ratio of rare clusters.
    """,
    params=Rare,
    predict=lambda p: over_sizes(p, predicted_large),
    measure=stepped,
    claim=Limit(of="gains", along="per_class", order=1.0, axis=many, resolve=0.05),
    controls={
        "all clusters alike": but(predict=lambda p: over_sizes(p, partial(predicted_large, balanced=True))),
        "ascent": but(measure=partial(stepped, sign=-1.0)),
    },
    examples=(Rare(), Rare(shape=(2, 1), rank=1, strength=10.0, reduced_step=0.5)),
    draws=Draws(shapes=0, replicates=8),
)
