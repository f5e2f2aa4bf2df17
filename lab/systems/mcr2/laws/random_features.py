"""Random samples: what a finite sample does to a coding rate, and the rate reduction that noise has by itself."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Limit
from lab.data.subspaces import null_features
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mcr2 import theory

DERIVED = "derived for this laboratory; not found in arXiv:2006.08558"
VERDU_SHAMAI = "arXiv:cs/9810002"


# ---------------------------------------------------------------------- few dimensions, many samples


class Sampled(Params):
    """`draws` sets of `n` Gaussian samples; the eigenvalues of Sigma fall geometrically from 1 to `smallest`."""

    dim: Annotated[int, Ge(1), Le(5)] = 3
    n: Annotated[int, Ge(2)] = 100
    smallest: Annotated[float, Ge(0.02), Le(1.0), LogScale()] = 0.2
    eps: Annotated[float, Ge(0.3), Le(2.0), LogScale()] = 1.0
    draws: Annotated[int, Ge(2)] = 2000

    @property
    def variances(self) -> np.ndarray:
        return np.geomspace(1.0, self.smallest, self.dim) if self.dim > 1 else np.ones(1)


@measurement
def sample_rates(p: Sampled, stream, *, heavy: bool = False):
    """n times bias and n times variance of the coding rate over `draws` sets of samples.

    The linear term ``(c/2) tr (I + c Sigma)^-1 (S - Sigma)``, S the sample second moment, is subtracted from the rate
    before the bias is taken: its mean is zero whatever the law of the samples, and it carries all fluctuations of order
    n^(-1/2). `heavy` multiplies each sample by the root of an exponential variable of mean one (same Sigma).
    """
    rng, c = stream.numpy("samples"), p.dim / p.eps**2
    Z = rng.standard_normal((p.draws, p.n, p.dim)) * np.sqrt(p.variances)
    if heavy:
        Z *= np.sqrt(stream.numpy("radii").exponential(size=(p.draws, p.n, 1)))
    rate = coding_rate.coding_rate(Z, eps=p.eps)
    excess = np.mean(Z**2, axis=1) - p.variances
    linear = 0.5 * c * excess @ (1 / (1 + c * p.variances))
    bias = np.mean(rate - linear) - 0.5 * np.sum(np.log1p(c * p.variances))
    return {"bias": p.n * bias, "variance": p.n * np.var(rate, ddof=1)}


def several_sizes(p: Sampled) -> np.ndarray:
    """Three and a half octaves, from six samples per dimension on."""
    return p.dim * np.array([6, 8, 12, 16, 24, 32, 48, 64])


def predicted_bias(p: Sampled) -> float:
    return p.n * theory.finite_sample_bias(np.diag(p.variances), p.n, eps=p.eps)


def predicted_variance(p: Sampled) -> float:
    return p.n * theory.finite_sample_variance(np.diag(p.variances), p.n, eps=p.eps)


def without_squares(p: Sampled) -> float:
    """-(c^2/4)(tr T)^2, the term tr T^2 forgotten."""
    c = p.dim / p.eps**2
    return -0.25 * float(np.sum(c * p.variances / (1 + c * p.variances))) ** 2


FINITE_SAMPLE_BIAS = Law(
    id="mcr2/finite-sample-bias",
    source=Source(DERIVED),
    statement="""
    n samples z ~ N(0, Sigma) underestimate the coding rate of their distribution, with T = (I + c Sigma)^-1 Sigma by

        E R(Z) - (1/2) logdet(I + c Sigma) = -(c^2/4n) [(tr T)^2 + tr T^2] + O(1/n^2),   c = d/eps^2.

    Class rates use fewer samples and lie lower still: hence the rate reduction of noise (mcr2/null-rate-reduction).
    Judged is n times the bias as n grows. Heavier tails with the same Sigma have a larger bias: it takes E (z^T A z)^2.
    """,
    params=Sampled,
    predict=predicted_bias,
    measure=sample_rates,
    claim=Limit(of="bias", along="n", order=1.0, axis=several_sizes, resolve=0.15),
    controls={
        "heavier tails, same Sigma": but(measure=partial(sample_rates, heavy=True)),
        "tr T^2 forgotten": but(predict=without_squares),
    },
    examples=(Sampled(), Sampled(dim=1, eps=0.5)),
    draws=Draws(shapes=1, values=1, replicates=12),
)

FINITE_SAMPLE_VARIANCE = Law(
    id="mcr2/finite-sample-variance",
    source=Source(DERIVED),
    statement="""
    The coding rate of n samples z ~ N(0, Sigma) has variance (c^2/2n) tr T^2 + o(1/n), T = (I + c Sigma)^-1 Sigma,
    c = d/eps^2. Judged is n times the variance as n grows.
    """,
    params=Sampled,
    predict=predicted_variance,
    measure=sample_rates,
    claim=Limit(of="variance", along="n", order=1.0, axis=several_sizes, resolve=0.15),
    controls={"heavier tails, same Sigma": but(measure=partial(sample_rates, heavy=True))},
    examples=(Sampled(), Sampled(dim=1, eps=0.5)),
    draws=Draws(shapes=0, replicates=12),
)


# ---------------------------------------------------------------------- many dimensions, as many samples


class RandomLabels(Params):
    """N = dim/beta samples with random labels; class sizes fall linearly, from 1 + skew to 1 - skew times N/K."""

    dim: Annotated[int, Ge(4)] = 32
    beta: Annotated[float, Ge(0.05), Le(2.0), LogScale()] = 0.25
    classes: Annotated[int, Ge(2), Le(10)] = 4
    skew: Annotated[float, Ge(0.0), Le(0.6)] = 0.0
    eps: Annotated[float, Ge(0.2), Le(1.5), LogScale()] = 0.7

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if min(self.sizes) < 2:
            raise ValueError(f"the smallest class has {min(self.sizes)} samples, fewer than 2; raise dim or lower beta")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """Class sizes (N_1, ..., N_K)."""
        share = 1 + self.skew * np.linspace(1, -1, self.classes)
        ends = np.rint(np.cumsum(share) / share.sum() * round(self.dim / self.beta)).astype(int)
        return tuple(np.diff(ends, prepend=0).tolist())


class Noise(RandomLabels):
    """`draws` sets of N = dim/beta samples without any relation to their labels, second moment I/dim, so snr = 1/eps^2.

    Independent Gaussian coordinates; rows uniform on the unit sphere; random signs; or a mixture: unit rows, each in
    one of four blocks of coordinates chosen at random. Class sizes fall linearly, from 1 + skew to 1 - skew times N/K.
    """

    kind: Literal["gaussian", "sphere", "signs", "mixture"] = "gaussian"
    draws: Annotated[int, Ge(10)] = 40

    @property
    def kurtosis(self) -> float:
        """Excess kurtosis of a coordinate (of the sphere: what its terms of order one see)."""
        return 0.0 if self.kind == "gaussian" else -2.0


def noise(p: Noise, rng: np.random.Generator, count: int) -> np.ndarray:
    """`count` sets of features, shape (count, N, dim)."""
    shape = (count, sum(p.sizes), p.dim)
    if p.kind == "signs":
        return rng.choice([-1.0, 1.0], size=shape) / np.sqrt(p.dim)
    if p.kind == "mixture":  # a block is chosen with probability proportional to its size: the second moment is I/dim
        block = np.arange(p.dim) * 4 // p.dim
        Z = rng.standard_normal(shape) * (block == rng.choice(block, size=(*shape[:2], 1)))
        return Z / np.linalg.norm(Z, axis=-1, keepdims=True)
    Z = null_features(rng, count=count * shape[1], d=p.dim, kind=p.kind).reshape(shape)
    return Z / np.sqrt(p.dim) if p.kind == "gaussian" else Z


@measurement
def noise_reduction(p: Noise, stream, *, known: bool = False):
    """Mean and variance of Delta R over the draws.

    The mean is the intercept of a regression on the energy and on squared Gram matrices (of the whole, and of the
    classes over their sizes), whose expectations are known: ``E ||Z_k^T Z_k||^2 = N_k E|z|^4 + N_k (N_k-1)/d``. They
    carry most of the fluctuation. With `known` each class lives in coordinates of its own, dim/K of them, on the unit
    sphere there; no regression then.
    """
    sizes, values, means = p.sizes, np.zeros(0), np.zeros((0, 3))
    count = np.array([*sizes, sum(sizes)])
    fourth = 1 + 2 / p.dim if p.kind == "gaussian" else 1.0
    expected = fourth + (count - 1) / p.dim
    most = max(1, 2**22 // (sum(sizes) * p.dim))
    for start in range(0, p.draws, most):
        rng = stream.numpy("features", start)
        Z = noise(p, rng, min(most, p.draws - start))
        if known:
            mine = np.arange(p.dim) * p.classes // p.dim == np.repeat(np.arange(p.classes), sizes)[:, None]
            Z = rng.standard_normal(Z.shape) * mine
            Z /= np.linalg.norm(Z, axis=-1, keepdims=True)
        values = np.append(values, coding_rate.rate_reduction(Z, sizes, eps=p.eps))
        parts = [*np.split(Z, np.cumsum(sizes)[:-1], axis=1), Z]
        squares = np.stack([np.sum((part.mT @ part) ** 2, axis=(-2, -1)) for part in parts], axis=1) / count - expected
        energy = np.sum(Z**2, axis=(-2, -1)) / count[-1] - 1
        means = np.append(means, np.stack([energy, squares[:, -1], squares[:, :-1].sum(axis=1)], axis=1), axis=0)
    design = np.concatenate([np.ones((p.draws, 1)), means], axis=1)
    mean = values.mean() if known else np.linalg.lstsq(design, values, rcond=1e-10)[0][0]
    return {"reduction": mean, "variance": np.var(values, ddof=1)}


def several_dims(p: Noise, *, least: int = 8) -> np.ndarray:
    """A factor six in d, from eight or the first d that gives each class a coordinate and two samples (as rounded)."""
    base = max(least, p.classes, int(np.ceil(2.5 * p.beta * p.classes / (1 - p.skew))))
    return np.rint(base * np.array([1, 1.5, 2, 4, 6])).astype(int)


def floor(p: Noise) -> float:
    return theory.null_rate_reduction(p.dim, p.sizes, eps=p.eps, variance="unit sphere", correction=False)


def corrected(p: Noise, *, kurtosis: float | None = None) -> float:
    kurtosis = p.kurtosis if kurtosis is None else kurtosis
    return theory.null_rate_reduction(p.dim, p.sizes, eps=p.eps, variance=1 / p.dim, kurtosis=kurtosis)


def size_of_correction(p: Noise) -> float:
    return abs(corrected(p) - floor(p))


def few_dimensions(p: Noise) -> float:
    """The bias of mcr2/finite-sample-bias for whole and classes, as if d were much smaller than every N_k."""
    bias = partial(theory.finite_sample_bias, np.eye(p.dim) / p.dim, eps=p.eps)
    n = sum(p.sizes)
    return bias(n) - sum(size / n * bias(size) for size in p.sizes)


NULL_RATE_REDUCTION = Law(
    id="mcr2/null-rate-reduction",
    source=Source(VERDU_SHAMAI, "spectral efficiency of random spreading; as a floor of rate reduction derived here"),
    statement="""
    Features that know nothing of the labels have a rate reduction that grows with d: for independent coordinates of
    variance v (or rows on the sphere, v = 1/d), d -> infinity at fixed beta = d/N, fractions x_k and s = v d/eps^2,

        Delta R / ((d/2) [V(s, beta) - sum_k x_k V(s, beta/x_k)]) -> 1,

    V the Marchenko-Pastur rate. The floor needs v only: it is the same for random signs, and for structured samples
    (rows in one of several orthogonal subspaces) with random labels. It is not the floor of whitened features
    (mcr2/whitened-null-rate), and vanishes as d/N. Plot measured Delta R above this floor.
    """,
    params=Noise,
    predict=floor,
    measure=noise_reduction,
    claim=Limit(of="reduction", along="dim", order=1.0, axis=several_dims, resolve=0.05),
    controls={
        "classes in subspaces of their own": but(measure=partial(noise_reduction, known=True)),
        "few dimensions assumed": but(predict=few_dimensions),
    },
    examples=(Noise(), Noise(kind="mixture"), Noise(kind="sphere", skew=0.5)),
    draws=Draws(shapes=1, values=1, replicates=8),
)


class SimpleNoise(Noise):
    """As `Noise`, without the mixture: its terms of order one are others."""

    kind: Literal["gaussian", "sphere", "signs"] = "gaussian"


NULL_RATE_CORRECTION = Law(
    id="mcr2/null-rate-correction",
    source=Source(DERIVED),
    statement="""
    The next term of mcr2/null-rate-reduction is of order one, and explicit: with g = beta q(s, beta)^2, q the deficit
    1 - tr(I + s S)^-1/d of the Marchenko-Pastur law, and b(g) = (1/4) log(1 - g) - (kappa/4) g,

        E Delta R - floor -> b(g(s, beta)) - sum_k x_k b(g(s, beta/x_k)),

    kappa the excess kurtosis of the coordinates (0 Gaussian, -2 random signs and rows on the sphere). Relative errors
    are relative to this term.
    """,
    params=SimpleNoise,
    predict=corrected,
    measure=noise_reduction,
    claim=Limit(
        of="reduction", along="dim", order=1.0, as_="difference", axis=several_dims, scale=size_of_correction,
        resolve=0.5,
    ),
    controls={
        "the floor alone": but(predict=floor),
        "kurtosis of the other kind": but(predict=lambda p: corrected(p, kurtosis=-2.0 - p.kurtosis)),
    },
    examples=(
        SimpleNoise(classes=8, draws=120), SimpleNoise(classes=8, kind="sphere", draws=120),
        SimpleNoise(kind="signs", skew=0.5, draws=120),
    ),
    draws=Draws(shapes=0, replicates=12),
)  # fmt: skip

def predicted_spread(p: Noise, *, kurtosis: float | None = None) -> float:
    kurtosis = p.kurtosis if kurtosis is None else kurtosis
    return theory.null_rate_reduction_variance(p.dim, p.sizes, eps=p.eps, variance=1 / p.dim, kurtosis=kurtosis)


def without_covariance(p: Noise) -> float:
    """The variances of whole and classes added up, as if they were of different samples."""
    snr, n = p.eps**-2, sum(p.sizes)

    def own(count: int) -> float:
        g = p.dim / count * theory.marchenko_pastur_resolvent(snr, p.dim / count) ** 2
        return -0.5 * np.log1p(-g) + 0.25 * p.kurtosis * g

    return own(n) + sum((size / n) ** 2 * own(size) for size in p.sizes)


NULL_RATE_SPREAD = Law(
    id="mcr2/null-rate-spread",
    source=Source(DERIVED),
    statement="""
    The rate reduction of noise fluctuates by order one whatever d: with q, q_k the deficits of whole and classes and
    phi(g) = -(1/2) log(1 - g) + (kappa/4) g,

        Var Delta R -> phi(beta q^2) - 2 sum_k x_k phi(beta q q_k) + sum_k x_k^2 phi(beta q_k^2/x_k).

    So (Delta R - floor)/sqrt(Var) is a z-score of features against noise.
    """,
    params=SimpleNoise,
    predict=predicted_spread,
    measure=noise_reduction,
    claim=Limit(of="variance", along="dim", order=1.0, axis=partial(several_dims, least=4), resolve=0.3),
    controls={
        "classes independent of the whole": but(predict=without_covariance),
        "kurtosis of the other kind": but(predict=lambda p: predicted_spread(p, kurtosis=-2.0 - p.kurtosis)),
    },
    examples=(SimpleNoise(draws=600, eps=1.0), SimpleNoise(draws=600, kind="sphere", classes=3)),
    draws=Draws(shapes=0, replicates=12),
)
