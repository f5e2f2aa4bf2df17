"""The posterior mean of a low-rank mixture by Tweedie's formula, and the temperature of its softmax over heads."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data.low_rank_mixtures import low_rank_mixture
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import low_rank_denoisers
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params
from lab.systems.mixtures import theory

Y23 = "arXiv:2306.01129"
W24 = "arXiv:2412.17810"
DERIVED = f"derived for this laboratory; not found in {Y23} or {W24}"
MANY = Draws(shapes=8, values=8)


class Mixture(Params):
    """Components of the given ranks on independent subspaces of R^dim, which overlap; unequal variances and weights.

    Variances are ``snr s2 spread^u``, u uniform in [-1, 1]; weights are Dirichlet.
    """

    dim: Annotated[int, Ge(1), Le(7)] = 5
    ranks: Annotated[tuple[Annotated[int, Ge(1), Le(4)], ...], MinLen(1), MaxLen(4)] = (1, 2, 3)
    n: Annotated[int, Ge(1), Le(12)] = 6
    snr: Annotated[float, Ge(1e-2), Le(1e3), LogScale()] = 4.0
    spread: Annotated[float, Ge(1.0), Le(10.0), LogScale()] = 3.0
    s2: Annotated[float, Ge(1e-2), Le(10.0), LogScale()] = 0.3

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if max(self.ranks) > self.dim:
            raise ValueError(f"ranks={self.ranks} exceed dim={self.dim}; lower them or raise dim")
        return self


def mixture(p: Mixture, stream) -> dict[str, np.ndarray]:
    """Noisy samples, frames, eigenvalues and weights."""
    rng, K = stream.numpy("mixture"), len(p.ranks)
    variances = p.snr * p.s2 * p.spread ** rng.uniform(-1, 1, K)
    weights = rng.dirichlet(np.full(K, 3.0)) * 0.9 + 0.1 / K
    data = low_rank_mixture(rng, n=p.n, d=p.dim, ranks=p.ranks, variances=variances, sigma=p.s2**0.5,
                            weights=(weights / weights.sum()).tolist())  # fmt: skip
    return {"Z": data.Z, "bases": data.bases, "eigenvalues": data.eigenvalues, "weights": weights / weights.sum()}


def log_density(z: np.ndarray, data, s2: float, *, determinant: bool = True) -> np.ndarray:
    """Log-density of noisy samples z (..., d), complex ones too, from dense covariances."""
    d = z.shape[-1]
    logs = []
    for U, lam, w in zip(data["bases"], data["eigenvalues"], data["weights"], strict=True):
        covariance = (U * lam) @ U.T + s2 * np.eye(d)
        distance = np.sum(z * (z @ np.linalg.inv(covariance)), axis=-1)
        log = np.log(w) - 0.5 * distance
        logs.append(log - 0.5 * np.linalg.slogdet(covariance)[1] if determinant else log)
    shift = np.max([log.real for log in logs], axis=0)
    return shift + np.log(np.sum([np.exp(log - shift) for log in logs], axis=0))


@measurement
def tweedie(p: Mixture, data, stream, *, noise: float = 1.0, determinant: bool = True):
    """z + s2 grad log q(z), the gradient by complex steps, relative to the root of the mean squared sample.

    `noise` multiplies s2 in front of the gradient, without `determinant` the components' densities are not normalised.
    """
    Z, h = data["Z"], 1e-30
    steps = Z[:, None] + 1j * h * np.eye(p.dim)
    slope = np.imag(log_density(steps, data, p.s2, determinant=determinant)) / h
    return {"mean": (Z + noise * p.s2 * slope) / size(data)}


def size(data) -> float:
    return float(np.sqrt(np.mean(data["Z"] ** 2)))


def closed_form(p: Mixture, data, **slips: bool) -> np.ndarray:
    """The denoiser of `lab.models.low_rank_denoisers`; with slips that of the theory."""
    if slips:
        given = (data["Z"], data["bases"], data["eigenvalues"], data["weights"], p.s2)
        return theory.posterior_mean(*given, **slips) / size(data)
    mean = low_rank_denoisers.posterior_mean(data["Z"], data["bases"], data["eigenvalues"], 1.0, p.s2**0.5,
                                             log_priors=np.log(data["weights"]))  # fmt: skip
    return mean / size(data)


def mean_units(p: Mixture, data) -> float:
    """logits up to |z|²/(2 s2), by inverses of condition 1 + snr spread, off by 8 d epsilons of that, in each of two
    densities; they move the mean by a quarter of that, of the length of a sample"""
    longest = float(np.max(np.sum(data["Z"] ** 2, axis=1)))
    logits = 1 + longest / p.s2
    return 16 * p.dim * (1 + p.snr * p.spread) * logits * (1 + np.sqrt(longest) / size(data))


POSTERIOR_MEAN = Law(
    id="mixtures/posterior-mean",
    source=Source(Y23, "denoising against subspaces; with determinant, shrinkage and overlap derived here"),
    statement="""
    x ~ sum_k w_k N(0, lambda_k U_k U_k^T), z = x + noise of variance s2. The posterior mean is

        D(z) = sum_k r_k lambda_k/(lambda_k + s2) U_k U_k^T z,
        r_k ~ w_k (1 + lambda_k/s2)^(-p_k/2) exp( lambda_k |U_k^T z|²/(2 s2 (s2 + lambda_k)) ),

    exactly, overlapping frames and unequal ranks included: then the determinant factor is essential. A softmax over
    components for each sample, not over samples. Measured: z + s2 grad log q (Tweedie), by complex steps through dense
    covariances.
    """,
    params=Mixture,
    situation=mixture,
    predict=closed_form,
    measure=tweedie,
    claim=Equality(of="mean", rounding=mean_units, scale=1.0, resolve=1e-6),
    controls={
        "determinant forgotten": but(predict=partial(closed_form, determinant=False)),
        "densities not normalised": but(measure=partial(tweedie, determinant=False)),
        "no shrinkage": but(predict=partial(closed_form, shrink=False)),
        "s2 10 % larger": but(measure=partial(tweedie, noise=1.1)),
    },
    examples=(Mixture(), Mixture(ranks=(1,)), Mixture(ranks=(4, 1, 1, 2), dim=6, snr=100.0), Mixture(snr=0.1)),
    draws=MANY,
)

PROJECTION_DENOISER_PRINTED = POSTERIOR_MEAN.printed(
    "mixtures/projection-denoiser-printed",
    source=Source(Y23, "denoiser as a softmax of |U_k^T z|²/(2 sigma²) over heads, projections without shrinkage"),
    statement="""
    As published: D(z) = sum_k softmax_k(|U_k^T z|²/(2 sigma²)) U_k U_k^T z. Both lambda/(lambda + s2) are missing, in
    the temperature and in the projection: the approximation for s2 << lambda, with equal ranks and weights. With two
    components of rank 1 at lambda = s2 the output is twice too long.
    """,
    predict=partial(closed_form, shrink=False, determinant=False),
    at=(Mixture(dim=2, ranks=(1, 1), n=1, snr=1.0, spread=1.0), Mixture(dim=2, ranks=(1,), n=1, snr=4.0, spread=1.0)),
)


# ---------------------------------------------------------------------- temperature


class Heads(Params):
    """Components of one rank, variance lambda = snr s2 and weight, on independent subspaces."""

    dim: Annotated[int, Ge(2), Le(8)] = 5
    rank: Annotated[int, Ge(1), Le(4)] = 2
    heads: Annotated[int, Ge(2), Le(4)] = 3
    n: Annotated[int, Ge(4), Le(16)] = 8
    snr: Annotated[float, Ge(1e-1), Le(100.0), LogScale()] = 4.0
    s2: Annotated[float, Ge(1e-2), Le(10.0), LogScale()] = 0.3

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rank >= self.dim:
            raise ValueError(f"rank={self.rank} must be below dim={self.dim}; components would coincide")
        return self


@measurement
def fitted_temperature(p: Heads, stream, *, unequal: str = ""):
    """Temperature, in units of s2, fitted to log-odds of components against differences of head energies; misfit.

    `unequal` makes "ranks", "weights" or "variances" of the components differ.
    """
    rng, K = stream.numpy("heads"), p.heads
    ranks = [p.rank] * K
    if unequal == "ranks":
        ranks[0] = p.rank + 1
    variances = p.snr * p.s2 * (np.linspace(1, 2, K) if unequal == "variances" else np.ones(K))
    weights = np.arange(1, K + 1) if unequal == "weights" else np.ones(K)
    weights = weights / weights.sum()
    data = low_rank_mixture(rng, n=p.n, d=p.dim, ranks=ranks, variances=variances.tolist(), sigma=p.s2**0.5,
                            weights=weights.tolist())  # fmt: skip
    logs, energies = [], []
    for U, lam, w in zip(data.bases, data.eigenvalues, weights, strict=True):
        covariance = (U * lam) @ U.T + p.s2 * np.eye(p.dim)
        distance = np.sum(data.Z * np.linalg.solve(covariance, data.Z.T).T, axis=1)
        logs.append(np.log(w) - 0.5 * distance - 0.5 * np.linalg.slogdet(covariance)[1])
        energies.append(np.sum((data.Z @ U[:, lam > 0]) ** 2, axis=1))
    odds, gaps = np.diff(logs, axis=0).ravel(), np.diff(energies, axis=0).ravel()
    slope = odds @ gaps / (gaps @ gaps)
    misfit = np.linalg.norm(odds - slope * gaps) / np.linalg.norm(odds)
    return {"fit": np.array([1 / (2 * slope * p.s2), misfit])}


def predicted_fit(p: Heads, *, published: bool = False) -> np.ndarray:
    return np.array([1.0 if published else float(theory.temperature(p.snr * p.s2, p.s2)) / p.s2, 0.0])


def fit_units(p: Heads) -> float:
    """log-densities off by 8 d epsilons of the condition 1 + snr times logits of up to d (1 + snr) squares; relative to
    odds of at least a hundredth of them, times the temperature 1 + 1/snr itself"""
    return 1600 * p.dim**2 * (1 + p.snr) ** 2 * (1 + 1 / p.snr)


TEMPERATURE = Law(
    id="mixtures/temperature",
    source=Source(DERIVED),
    statement="""
    The softmax of head energies |U_k^T z|²/(2 eta_T) is the posterior of the component iff all have the same variance
    lambda, rank and weight, and then

        eta_T = s2 (1 + s2/lambda).

    Measured: the log-odds from dense covariances, fitted by a multiple of the differences of energies: 1/(2 slope)
    over s2, and the relative misfit, which is 0.
    """,
    params=Heads,
    predict=predicted_fit,
    measure=fitted_temperature,
    claim=Equality(of="fit", rounding=fit_units, scale=1.0, resolve=1e-5),
    controls={
        "eta_T = s2": but(predict=partial(predicted_fit, published=True)),
        "unequal ranks": but(measure=partial(fitted_temperature, unequal="ranks")),
        "unequal weights": but(measure=partial(fitted_temperature, unequal="weights")),
        "unequal variances": but(measure=partial(fitted_temperature, unequal="variances")),
    },
    examples=(Heads(), Heads(snr=0.1), Heads(snr=100.0)),
    draws=Draws(shapes=8, values=4),
)

TEMPERATURE_PRINTED = TEMPERATURE.printed(
    "mixtures/temperature-printed",
    source=Source(W24, "membership softmax_k(|U_k^T z|²/(2 eta)) as a posterior in noise of variance eta"),
    statement="""
    Printed: the temperature is the variance of the noise, eta_T = s2. It is s2 (1 + s2/lambda): at lambda = s2 it is
    twice as large.
    """,
    predict=partial(predicted_fit, published=True),
    at=(Heads(snr=1.0), Heads(snr=4.0)),
)
