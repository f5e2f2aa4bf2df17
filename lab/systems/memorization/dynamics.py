r"""Training of mixture-shaped diffusion models, all sizes of a data set at once, and sampling from them.

A model of size M has M learned means, one learned standard deviation and equal fixed weights; its predicted noise is
`lab.models.denoisers.predicted_noise`. All sizes M_1, ..., M_S of one training set are trained together on the same
noise (common random numbers): means are padded to the largest size, components beyond a model's own are left out by
their log-prior. Losses are squared norms summed over coordinates and averaged over samples and draws.

Everything here is traceable JAX; steps come in chunks (`advance`), so that long runs can be followed and resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lab import streams
from lab.errors import InputError, nearest
from lab.models import denoisers
from lab.models.diffusion import VP, Process, ddim
from lab.objectives.memorization import nearest_two, squared_distances

__all__ = ["WEIGHTINGS", "Fit", "Model", "Weighting", "advance", "fit_start", "generate", "lloyd", "lloyd_copies",
           "log_priors", "mixture_loss", "nearest_squares", "published_times", "residual_variance",
           "weighting"]  # fmt: skip

def published_times(count: int = 26, *, start: float = 0.999, stop: float = 0.001) -> np.ndarray:
    """The grid of times of the published experiments, decreasing: for training, evaluation and sampling alike."""
    return np.linspace(start, stop, count)


class Weighting(NamedTuple):
    """How a training run chooses times: probability of each time, and factor on the eps loss there; both (T,)."""

    probability: np.ndarray
    factor: np.ndarray

    def on_x0(self, times: np.ndarray, process: Process = VP) -> np.ndarray:
        """Weight of each time on the x0 loss, which the published crossover formula is about."""
        return self.probability * self.factor * np.asarray(process.snr(times))


def _window(low: float, high: float) -> Any:
    return lambda times, process: ((times > low) & (times < high), np.ones_like(times))


def _elbo(times: np.ndarray, process: Process) -> tuple[Any, Any]:
    a, s = process.alpha(times), process.sigma(times)
    return np.ones_like(times), process.sigma_slope(times) / s - process.alpha_slope(times) / a


WEIGHTINGS: dict[str, Any] = {
    "eps": lambda times, process: (np.ones_like(times), np.ones_like(times)),
    "x0": lambda times, process: (np.ones_like(times), 1 / process.snr(times)),
    "elbo": _elbo,
    "low noise": _window(0.0, 0.2),
    "middle noise": _window(0.3, 0.6),
    "high noise": _window(0.6, 0.95),
}


def weighting(name: str, times: np.ndarray, process: Process = VP) -> Weighting:
    """One of the training weights: ``eps`` (uniform, the published one), ``x0``, ``elbo``, or a window of times.

    The windows of VP are "low noise" t < .2, "middle noise" .3 < t < .6, "high noise" .6 < t < .95.
    """
    if name not in WEIGHTINGS:
        raise nearest("weighting", name, WEIGHTINGS)
    chosen, factor = WEIGHTINGS[name](np.asarray(times, dtype=float), process)
    probability = np.asarray(chosen, dtype=float)
    probability = probability / probability.sum()
    return Weighting(probability, factor / np.sum(probability * factor))


class Model(NamedTuple):
    """Models of S sizes: means (S, M, d), padded to the largest M, and standard deviations (S,)."""

    means: Any
    std: Any


class Fit(NamedTuple):
    """A training run under way: model, state of the optimiser, steps done."""

    model: Model
    optimiser: Any
    step: Any


def log_priors(sizes: Sequence[int], width: int | None = None) -> np.ndarray:
    """0 for the components of each size, -1e9 for the padding; shape (S, M)."""
    counts = np.asarray(sizes)
    if counts.ndim != 1 or counts.size == 0 or counts.min() < 1:
        raise InputError(f"sizes={list(sizes)}: must be one or more model sizes, each at least 1")
    width = int(counts.max()) if width is None else width
    return np.where(np.arange(width) < counts[:, None], 0.0, -1e9)


def fit_start(optimiser: Any, means: Any, sizes: int, std: float) -> Fit:
    """Start of a training run: every size from the same means (M, d), of which it takes the first ones."""
    import jax.numpy as jnp

    model = Model(jnp.broadcast_to(means, (sizes, *means.shape)), jnp.full((sizes,), std, dtype=means.dtype))
    return Fit(model, optimiser.init(model), jnp.zeros((), dtype=jnp.int32))


def mixture_loss(model: Model, x: Any, noise: Any, times: Any, priors: Any, process: Process = VP) -> Any:
    """Squared error of the predicted noise of every size, draw and sample, shape (S, draws, N).

    Parameters
    ----------
    model : Model
    x : array, shape (N, d)
        Training points.
    noise : array, shape (draws, N, d)
    times : array, shape (draws, N)
        One time per draw and sample.
    priors : array, shape (S, M)
        From `log_priors`.
    """
    import jax.numpy as jnp

    draws, count, dim = noise.shape
    t = times.reshape(-1, 1)
    z = noise.reshape(-1, dim)
    a, s = process.alpha(t), process.sigma(t)
    y = a * jnp.broadcast_to(x, noise.shape).reshape(-1, dim) + s * z
    variance = (model.std**2)[:, None, None]
    predicted = denoisers.predicted_noise(y[None], model.means, variance, a, s, priors)
    return jnp.sum((predicted - z) ** 2, axis=-1).reshape(-1, draws, count)


def advance(
    fit: Fit, optimiser: Any, x: Any, key: Any, priors: Any, *, steps: int, draws: int, times: np.ndarray,
    weights: Weighting, process: Process = VP,
) -> Fit:  # fmt: skip
    """`steps` full-batch steps on the weighted eps loss, `draws` noise vectors and times per sample and step.

    Random numbers depend on `key` and on the number of the step alone, so a run in chunks is the run in one piece.
    `weights` may hold traced arrays: `jax.vmap` over stacked weightings trains under all of them on the same noise.
    """
    import jax
    import jax.numpy as jnp

    count, dim = x.shape
    time = jnp.asarray(times, dtype=x.dtype)
    factor = jnp.asarray(weights.factor, dtype=x.dtype)
    cumulative = jnp.cumsum(jnp.asarray(weights.probability, dtype=x.dtype))
    priors = jnp.asarray(priors, dtype=x.dtype)

    def objective(model: Model, noise: Any, index: Any) -> Any:
        losses = mixture_loss(model, x, noise, time[index], priors, process)
        return jnp.sum(jnp.mean(losses * factor[index], axis=(1, 2)))

    def one(fit: Fit, _: None) -> tuple[Fit, None]:
        first, second = jax.random.split(jax.random.fold_in(key, fit.step))
        noise = streams.normal(first, (draws, count, dim), dtype=x.dtype)
        uniform = streams.uniform(second, (draws, count), dtype=x.dtype) * cumulative[-1]
        index = jnp.sum(uniform[..., None] > cumulative[:-1], axis=-1)
        gradient = jax.grad(objective)(fit.model, noise, index)
        updates, state = optimiser.update(gradient, fit.optimiser, fit.model)
        model = jax.tree.map(lambda a, b: a + b, fit.model, updates)
        return Fit(model, state, fit.step + 1), None

    return jax.lax.scan(one, fit, None, length=steps)[0]


def generate(model: Model, key: Any, priors: Any, count: int, times: np.ndarray, process: Process = VP) -> Any:
    """Samples of every size by DDIM from the same starts, shape (S, count, d)."""
    import jax.numpy as jnp

    dim, dtype = model.means.shape[-1], model.means.dtype
    top = np.asarray(process.sigma(times[0]), dtype=float)
    start = jnp.asarray(top, dtype=dtype) * streams.normal(key, (count, dim), dtype=dtype)
    start = jnp.broadcast_to(start, (len(model.std), count, dim))
    variance = (model.std**2)[:, None, None]

    def noise(y: Any, t: Any) -> Any:
        return denoisers.predicted_noise(y, model.means, variance, process.alpha(t), process.sigma(t), priors)

    return ddim(noise, start, jnp.asarray(times, dtype=dtype), process)


def nearest_squares(samples: Any, x: Any) -> tuple[Any, Any]:
    """Squared distances (S, count) of generated samples to the nearest and second nearest training point."""
    return nearest_two(samples, x[None])


def residual_variance(model: Model, x: Any, priors: Any) -> Any:
    r"""Mean squared distance per coordinate of training points to their nearest mean, shape (S,)."""
    import jax.numpy as jnp

    squares = jnp.sum((x[None, :, None, :] - model.means[:, None]) ** 2, axis=-1)  # differences: exact near zero
    nearest = jnp.min(squares - priors[:, None, :], axis=-1)
    return jnp.mean(nearest, axis=-1) / x.shape[-1]


def lloyd(x: np.ndarray, count: int, *, most: int = 100) -> tuple[np.ndarray, float]:
    r"""Means (M, d) of Lloyd's iteration from the first M points of x (N, d), and variance :math:`u=SS/(Nd)`.

    A surrogate of training under hard assignment: no weights, no noise, no optimiser. SS is the sum of squared
    distances of the points to their nearest mean. It stops when no point changes its mean, after at most `most` turns.
    """
    x = np.asarray(x, dtype=float)
    if not 1 <= count <= len(x):
        raise InputError(f"count={count}: the number of means must lie between 1 and the {len(x)} points")
    means, nearest = x[:count].copy(), np.full(len(x), -1)
    for _ in range(most):
        squares = squared_distances(x, means)
        again = np.argmin(squares, axis=1)
        if np.array_equal(again, nearest):
            break
        nearest = again
        joined = np.bincount(nearest, minlength=count)
        sums = np.zeros_like(means)
        np.add.at(sums, nearest, x)
        means = np.where(joined[:, None] > 0, sums / np.maximum(joined, 1)[:, None], means)
    return means, float(np.sum((x - means[nearest]) ** 2) / x.size)


def lloyd_copies(
    rng: np.random.Generator, x: np.ndarray, count: int, thresholds: Any, *, samples: int = 300
) -> np.ndarray:
    """Shares of copies, one per threshold, among samples of the mixture that `lloyd` finds (equal weights)."""
    means, u = lloyd(x, count)
    made = means[rng.integers(count, size=samples)] + np.sqrt(u) * rng.standard_normal((samples, x.shape[1]))
    first, second = nearest_two(made, x)
    return np.mean(first[:, None] <= np.asarray(thresholds) * second[:, None], axis=0)
