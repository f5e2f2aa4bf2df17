"""Tweedie's formula for mixtures, the two-point denoiser, and the weight of the likelihood bound."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality, Limit
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import low_rank_denoisers
from lab.models.diffusion import Process, loss_factor, process
from lab.params import Ge, Le, LogScale, Params
from lab.systems.memorization import theory

BOOK = "Buchanan, Pai, Wang, Ma 2025, Learning Deep Representations of Data Distributions"
CODE = "published code of arXiv:2508.17689"


class Noise(Params):
    """A noising process, at the time at which sigma/alpha equals `ratio`."""

    process: Literal["VP", "FM", "VE", "OU"] = "VP"
    ratio: Annotated[float, Ge(0.05), Le(20.0), LogScale()] = 0.5

    @property
    def noising(self) -> Process:
        return process(self.process)

    @property
    def t(self) -> float:
        """The time."""
        return float(self.noising.time_of_ratio(np.float64(self.ratio)))

    @property
    def alpha(self) -> float:
        return float(self.noising.alpha(self.t))

    @property
    def sigma(self) -> float:
        return float(self.noising.sigma(self.t))


def complex_step_gradient(log_density: Any, y: np.ndarray) -> np.ndarray:
    """Gradient of an analytic function at the rows of y (n, d): imaginary part at y + 1e-30 i e_j, exact to rounding.

    `log_density` takes complex arrays (d, n, d) and returns (d, n).
    """
    shifted = y + 1e-30j * np.eye(y.shape[1])[:, None, :]
    return log_density(shifted).imag.T / 1e-30


def complex_log_sum_exp(logits: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    top = logits.real.max(axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(logits - top), axis=-1)) + top[..., 0]


# ---------------------------------------------------------------------- Tweedie


class NoisyMixture(Noise):
    """K Gaussians with means of size `spread` and rank-`rank` covariances (times `channels`) plus variance v, noised.

    Rank 0 is an isotropic mixture, rank 0 with v = 0 point masses (the memorising denoiser), rank 1 with several
    channels coloured templates.
    """

    K: Annotated[int, Ge(1), Le(5)] = 3
    P: Annotated[int, Ge(1), Le(6)] = 5
    rank: Annotated[int, Ge(0), Le(6)] = 1
    channels: Annotated[int, Ge(1), Le(3)] = 3
    v: Annotated[float, Ge(0.0), Le(2.0)] = 0.0
    spread: Annotated[float, Ge(0.0), Le(3.0)] = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rank > self.P:
            raise ValueError(f"rank={self.rank} exceeds P={self.P} coordinates of a channel; lower rank or raise P")
        return self


def noisy_mixture(p: NoisyMixture, stream) -> dict[str, np.ndarray]:
    """A random mixture and four of its noisy samples; a rank of 0 is padded by an eigenvalue 0."""
    rng = stream.numpy("mixture")
    width = max(p.rank, 1)
    bases = np.stack([haar(rng, p.P, width) for _ in range(p.K)])
    eigenvalues = np.exp(1.5 * rng.standard_normal((p.K, width))) * (p.rank > 0)
    means = p.spread * rng.standard_normal((p.K, p.channels * p.P))
    label = rng.integers(p.K, size=4)
    g = rng.standard_normal((4, p.channels, 1, width)) * np.sqrt(eigenvalues[label])[:, None, None, :]
    x = (g @ np.swapaxes(bases[label], -1, -2)[:, None])[:, :, 0].reshape(4, -1)
    x = x + means[label] + np.sqrt(p.v) * rng.standard_normal(x.shape)
    log_priors = np.log(rng.dirichlet(np.full(p.K, 3.0)))
    return {
        "bases": bases, "eigenvalues": eigenvalues, "means": means, "log_priors": log_priors,
        "y": p.alpha * x + p.sigma * rng.standard_normal(x.shape),
    }  # fmt: skip


def closed_denoiser(p: NoisyMixture, data, *, determinant: bool = True) -> np.ndarray:
    """Posterior mean and predicted noise (2, 4, d); without `determinant` the log-determinant lacks its factor C."""
    log_priors = data["log_priors"]
    if not determinant:
        gain = p.alpha**2 * data["eigenvalues"] / (p.alpha**2 * p.v + p.sigma**2)
        log_priors = log_priors + (p.channels - 1) / 2 * np.log1p(gain).sum(1)
    eps, x0 = low_rank_denoisers.noise_and_mean(
        data["y"], data["bases"], data["eigenvalues"], p.alpha, p.sigma, means=data["means"], variance=p.v,
        channels=p.channels, log_priors=log_priors,
    )  # fmt: skip
    return np.stack([x0, eps])


@measurement
def tweedie_denoiser(p: NoisyMixture, data, stream, *, power: float = 2.0):
    """Posterior mean and noise from the gradient of the log-density, written with dense covariances and inverses.

    `power` is that of sigma in Tweedie's formula: 2.
    """
    U, lam = data["bases"], data["eigenvalues"]
    one = (U * lam[:, None, :]) @ np.swapaxes(U, -1, -2)
    whole = np.stack([np.kron(np.eye(p.channels), c) for c in one])
    dim = p.channels * p.P
    covariance = p.alpha**2 * (whole + p.v * np.eye(dim)) + p.sigma**2 * np.eye(dim)
    inverse, (_, logdet) = np.linalg.inv(covariance), np.linalg.slogdet(covariance)

    def log_density(y):
        gap = y[..., None, :] - p.alpha * data["means"]
        squares = np.sum((gap[..., None, :] @ inverse)[..., 0, :] * gap, axis=-1)
        return complex_log_sum_exp(data["log_priors"] - logdet / 2 - squares / 2)

    score = complex_step_gradient(log_density, data["y"])
    return {"denoised": np.stack([(data["y"] + p.sigma**power * score) / p.alpha, -p.sigma * score])}


def tweedie_rounding(p: NoisyMixture, data) -> np.ndarray:
    """four operations per coordinate, each with the condition (Gamma + alpha² lambda)/Gamma of the noisy covariance, on
    (|y| + alpha |mu|)/alpha directly, and on the logits (squares over Gamma), which move the mean by at most the
    largest component mean, itself at most |mu| + (|y| + alpha |mu|)/alpha; noise is alpha/sigma times that"""
    gamma = p.alpha**2 * p.v + p.sigma**2
    condition = 1 + p.alpha**2 * data["eigenvalues"].max() / gamma
    mu = np.linalg.norm(data["means"], axis=1).max()
    reach = np.linalg.norm(data["y"], axis=1).max() + p.alpha * mu
    logits = reach**2 / gamma
    x0 = 4 * p.channels * p.P * condition * (reach / p.alpha + logits * (mu + reach / p.alpha))
    return np.broadcast_to(np.array([x0, x0 * p.alpha / p.sigma])[:, None, None], (2, *data["y"].shape))


TWEEDIE = Law(
    id="memorization/tweedie",
    source=Source("Robbins 1956, Miyasawa 1961", "Tweedie's formula; closed forms of the mixtures derived here"),
    statement="""
    With y = alpha x + sigma z and p the density of y,

        E[x|y] = (y + sigma² grad log p(y))/alpha,    eps_hat = -sigma grad log p(y).

    For mixtures of Gaussians N(mu_k, I_C (x) U_k diag(lambda_k) U_k^T + v I) both are closed forms, with posterior
    weights that carry the log-determinant C sum_i log(1 + alpha² lambda_ki/Gamma), Gamma = alpha² v + sigma²: once for
    every one of the C channels (colours) that share a label. Isotropic mixtures, point masses (the memorising
    denoiser), subspaces and coloured templates are special cases. Published code counts the channels once: its ground
    truth is not the best denoiser when templates differ in norm (control).
    Measured: gradient of the log-density with dense covariances, by complex steps.
    """,
    params=NoisyMixture,
    situation=noisy_mixture,
    predict=closed_denoiser,
    measure=tweedie_denoiser,
    claim=Equality(of="denoised", rounding=tweedie_rounding),
    controls={
        "channels counted once in the determinant": but(predict=partial(closed_denoiser, determinant=False)),
        "sigma for sigma squared": but(measure=partial(tweedie_denoiser, power=1.0)),
    },
    examples=(NoisyMixture(), NoisyMixture(rank=0, channels=1, spread=2.0), NoisyMixture(rank=2, v=0.3, spread=1.0)),
    draws=Draws(shapes=40, values=1),
)


# ---------------------------------------------------------------------- two points


class TwoMeans(Noise):
    """Two equally likely means plus and minus `radius` on a line, component variance v, seen at y."""

    radius: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 1.0
    v: Annotated[float, Ge(0.0), Le(2.0)] = 0.0
    y: Annotated[float, Ge(-5.0), Le(5.0)] = 0.4


def two_means_mean(p: TwoMeans, *, sign: float = 1.0) -> float:
    return theory.two_means_denoiser(sign * p.y, p.radius, p.alpha, p.sigma, v=p.v)


@measurement
def two_means_tweedie(p: TwoMeans, stream):
    """Posterior mean by Tweedie's formula from the sum of two densities, gradient by complex steps."""
    gamma = p.alpha**2 * p.v + p.sigma**2
    centres = p.alpha * p.radius * np.array([1.0, -1.0])
    score = complex_step_gradient(
        lambda y: complex_log_sum_exp(-((y - centres) ** 2) / (2 * gamma)), np.array([[p.y]])
    )  # fmt: skip
    return {"mean": (p.y + p.sigma**2 * score[0, 0]) / p.alpha}


def two_means_rounding(p: TwoMeans) -> float:
    """the score is a sum of terms (|y| + alpha r)/Gamma with weights of relative error |logit|, times sigma²/alpha"""
    gamma = p.alpha**2 * p.v + p.sigma**2
    reach = abs(p.y) + p.alpha * p.radius
    return 8 * (reach / p.alpha) * (1 + reach**2 / gamma)


TWO_POINT_DENOISER = Law(
    id="memorization/two-point-denoiser",
    source=Source(BOOK, "chapter 3, example Denoising a Two-Point Mixture, sign corrected; with alpha and v here"),
    statement="""
    x uniform on {-1, +1}, y = x + t z: E[x|y] = tanh(+y/t²). In general, for means plus and minus r and variance v,

        E[x|y] = m + (alpha v/Gamma)(y - alpha m),   m = r tanh(alpha r y/Gamma),   Gamma = alpha² v + sigma².

    The denoiser follows the sign of y. Measured: Tweedie's formula with the gradient of the log-density.
    """,
    params=TwoMeans,
    predict=two_means_mean,
    measure=two_means_tweedie,
    claim=Equality(of="mean", rounding=two_means_rounding, scale=lambda p: p.radius),
    controls={
        "sign of the argument": but(predict=partial(two_means_mean, sign=-1.0)),
        "noise not squared": but(predict=lambda p: p.radius * np.tanh(p.alpha * p.radius * p.y / p.sigma)),
    },
    examples=(TwoMeans(process="VE", ratio=0.8), TwoMeans(v=1.0)),
    draws=Draws(shapes=40, values=1),
)

TWO_POINT_DENOISER_PRINTED = TWO_POINT_DENOISER.printed(
    "memorization/two-point-denoiser-printed",
    source=Source(BOOK, "chapter 3, example Denoising a Two-Point Mixture"),
    statement="""
    Printed: for x uniform on {-1, +1} and x_t = x + t g, E[x|x_t] = tanh(-x_t/t²). The sign is wrong: the printed ratio
    of densities in the same line is (phi(x_t; 1) - phi(x_t; -1))/(phi(x_t; 1) + phi(x_t; -1)) = tanh(+x_t/t²). At
    x_t = .4, t = .8 the mean is +.5546, not -.5546.
    """,
    predict=lambda p: float(np.tanh(-p.y / p.t**2)),
    at=(TwoMeans(process="VE", ratio=0.8),),
)


# ---------------------------------------------------------------------- likelihood weight


class Likelihood(Noise):
    """One step of the reverse process from time t, and a prediction of `target` that is wrong by a random vector."""

    target: Literal["eps", "x0", "v", "score"] = "eps"


STEPS = 2.0 ** np.arange(7, 14)
"""Inverse lengths of the reverse step, in units of t."""


def _normal_product(first, second):
    """Mean and variance of the product of two Gaussian densities (mean, variance)."""
    (m1, v1), (m2, v2) = first, second
    variance = 1 / (1 / v1 + 1 / v2)
    return variance * (m1 / v1 + m2 / v2), variance


@measurement
def divergence_rate(p: Likelihood, stream, *, half: float = 0.5):
    """KL divergence between the reverse step given x and given its prediction, per unit of time and of loss.

    Both steps are the product of the forward transition and the marginal given x, for steps t/n. `half` stands in the
    divergence of two Gaussians of equal variance.
    """
    rng = stream.numpy("vectors")
    x, guess, z = rng.standard_normal((3, 4))
    one, t = p.noising, p.t
    a, s = p.alpha, p.sigma
    y = a * x + s * z

    def quantity(x0):
        noise = (y - a * x0) / s
        velocity = one.alpha_slope(t) * x0 + one.sigma_slope(t) * noise
        return {"x0": x0, "eps": noise, "score": -noise / s, "v": velocity}[p.target]

    loss = np.sum((quantity(x) - quantity(guess)) ** 2)
    rates = []
    for n in STEPS:
        earlier = t * (1 - 1 / n)
        a0, s0 = one.alpha(earlier), one.sigma(earlier)
        forward = y * a0 / a, (s**2 - (a * s0 / a0) ** 2) * (a0 / a) ** 2  # y_t given y_s, as a function of y_s
        (mean, variance), (other, _) = (_normal_product(forward, (a0 * x0, s0**2)) for x0 in (x, guess))
        rates.append(half * np.sum((mean - other) ** 2) / variance / (t - earlier) / loss)
    return {"steps": STEPS, "weight": np.array(rates)}


def weight_rounding(p: Likelihood) -> float:
    """the variance of a step t/n is a difference of variances that agree to 1/n: its relative error is n roundings; a
    handful of operations, and slopes of alpha that lose alpha²/sigma² or sigma²/alpha² where one of them is near 1"""
    return 16 * STEPS[-1] * (1 + p.ratio**2 + p.ratio**-2)


def reciprocal_weight(p: Likelihood) -> float:
    """As in the published code: 2/(sigma'/sigma - alpha'/alpha), times the factor from eps to the target."""
    weight = theory.elbo_weight(p.noising, p.t)
    return float(2 / weight * loss_factor(p.noising, p.t, p.target) / loss_factor(p.noising, p.t, "eps"))


def likelihood_weight(p: Likelihood) -> float:
    return theory.elbo_weight(p.noising, p.t, p.target)


ELBO_WEIGHT = Law(
    id="memorization/elbo-weight",
    source=Source("arXiv:2107.00630", "eq. 17"),
    statement="""
    The continuous-time likelihood bound weighs the eps loss by

        w(t) = -(1/2) dlog psi/dt = sigma'/sigma - alpha'/alpha,    psi = alpha²/sigma²,

    hence the x0 loss by -(1/2) dpsi/dt, and the loss of another target by w over the factor that turns an eps loss into
    that loss. Measured: divergence between the reverse steps given x and given a wrong prediction of it, per unit of
    time and loss, as the step shrinks.
    """,
    params=Likelihood,
    predict=likelihood_weight,
    measure=divergence_rate,
    claim=Limit(of="weight", along="steps", order=1.0, rounding=weight_rounding, resolve=1e-3),
    controls={
        "without the half": but(measure=partial(divergence_rate, half=1.0)),
        "factor of the target multiplied": but(
            predict=lambda p: theory.elbo_weight(p.noising, p.t) * loss_factor(p.noising, p.t, p.target)
            / loss_factor(p.noising, p.t, "eps")
        ),
    },
    examples=(Likelihood(), Likelihood(process="FM", target="v"), Likelihood(process="VE", ratio=3.0, target="score")),
    draws=Draws(shapes=30, values=1),
)  # fmt: skip

ELBO_WEIGHT_PRINTED = ELBO_WEIGHT.printed(
    "memorization/elbo-weight-printed",
    source=Source(CODE, "loss_weights.py, elbo_loss_weight"),
    statement="""
    As published: the likelihood weight is 2/(sigma'/sigma - alpha'/alpha) times the factor from eps to the target. It
    is the reciprocal of sigma'/sigma - alpha'/alpha that the bound has (without the 2), and the factor divides. At t =
    .6 of VP the weight of the eps loss is 2.60, the published one .77. The published experiments do not use it.
    """,
    predict=reciprocal_weight,
    at=(Likelihood(ratio=0.75), Likelihood(process="FM", target="v")),
)
