"""Trained mixture models: the width they settle at, and the size from which on they memorise."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Crossover
from lab.data.mixtures import gmm_sphere_jax
from lab.errors import InputError
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params
from lab.systems.memorization import dynamics, theory

DERIVED = "derived for this laboratory; not found in arXiv:2508.17689"
THRESHOLDS = (1 / 4, 1 / 9, 1 / 16, 1 / 36)
"""c of the copy criterion, on squared distances; 1/9 is the usual one."""

SHARES = (0.5, 0.58, 0.66, 0.74, 0.8, 0.86, 0.91, 0.96)
"""Model sizes per training point of a curve: two or more around each threshold's transition."""


class Training(Params):
    """Mixture models of sizes `sizes` per training point, trained together on N points of K clusters in d dimensions.

    Cluster means lie on a sphere of radius sqrt d, the variance of a cluster is v. Adam on the noise loss, all points
    in every step, `draws` noise vectors and times per point, learning rate raised over 5 % of the steps to `rate` and
    lowered to a thousandth of it. The first standard deviation is `std`; models start from training points.
    """

    d: Annotated[int, Ge(10), Le(120)] = 30
    K: Annotated[int, Ge(1), Le(50)] = 3
    N: Annotated[int, Ge(8), Le(400)] = 50
    v: Annotated[float, Ge(0.5), Le(2.0)] = 1.0
    shares: Annotated[tuple[float, ...], MinLen(2), MaxLen(40)] = SHARES
    steps: Annotated[int, Ge(500), Le(100_000)] = 3000
    draws: Annotated[int, Ge(1), Le(100)] = 4
    rate: Annotated[float, Ge(1e-4), Le(0.1), LogScale()] = 0.01
    std: Annotated[float, Ge(1e-3), Le(1.0), LogScale()] = 0.1
    weight: str = "eps"
    samples: Annotated[int, Ge(50), Le(5000)] = 300

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.N < 4 * self.K:
            raise ValueError(f"N={self.N} points in K={self.K} clusters: need N >= 4 K; raise N or lower K")
        if sorted(set(self.sizes)) != list(self.sizes) or self.sizes[0] < self.K:
            raise ValueError(
                f"shares={self.shares} give sizes {self.sizes}: must increase, from K={self.K} on; change shares or N"
            )
        if self.steps % 500:
            raise ValueError(f"steps={self.steps} must be a multiple of 500, the length of a turn")
        if self.weight not in dynamics.WEIGHTINGS:
            raise ValueError(f"weight={self.weight!r} must be one of {', '.join(dynamics.WEIGHTINGS)}")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of means."""
        return tuple(round(share * self.N) for share in self.shares)


def optimiser(p: Training) -> Any:
    import optax

    warm = max(1, p.steps // 20)
    rise = optax.linear_schedule(0.0, p.rate, warm)
    fall = optax.linear_schedule(p.rate, 1e-3 * p.rate, p.steps - warm)
    return optax.adam(optax.join_schedules([rise, fall], [warm]))


def training_points(p: Training, stream: Any) -> Any:
    """Points (N, d) and cluster means (K, d)."""
    mixture = gmm_sphere_jax(stream.jax("data"), p.d, p.K, p.v, p.N)
    return mixture.X, mixture.means


def first_means(p: Training, x: Any, stream: Any, init: str, noise: float) -> Any:
    """The means (width, d) that training starts from; those of a model of size M are the first M."""
    import jax
    import jax.numpy as jnp

    width = max(p.sizes)
    normal = jax.random.normal(stream.jax("first means"), (width, p.d), dtype=x.dtype)
    if init == "gaussian":
        return normal
    if init == "fresh samples":
        centres = training_points(p, stream)[1]
        labels = jax.random.randint(stream.jax("fresh labels"), (width,), 0, p.K)
        return centres[labels] + jnp.sqrt(p.v) * normal
    if init != "training points":
        raise InputError(f"init={init!r} must be training points, fresh samples or gaussian")
    chosen = jax.random.permutation(stream.jax("chosen"), x)[:width]
    return chosen + jnp.sqrt(noise * p.v) * normal


@measurement(runs="jax", precision="float32", turns=lambda p: p.steps // 500)
def training(p: Training, stream, state=None, *, init: str = "training points", noise: float = 0.0):
    """Means, widths and optimiser of all sizes; `init` and `noise` say where the means start."""
    x, _ = training_points(p, stream)
    priors = dynamics.log_priors(p.sizes)
    if state is None:
        means = first_means(p, x, stream, init, noise)
        return tuple(dynamics.fit_start(optimiser(p), means, len(p.sizes), p.std))
    times = dynamics.published_times()
    return tuple(
        dynamics.advance(
            dynamics.Fit(*state), optimiser(p), x, stream.jax("noise"), priors.astype("float32"), steps=500,
            draws=p.draws, times=times, weights=dynamics.weighting(p.weight, times),
        )
    )  # fmt: skip


@training.observe
def trained(p: Training, stream, state):
    """Shares of copies among generated samples, fitted variance, and residual variance of the training points.

    `copies` has one column per threshold, `settled` says that the width is within 3 % of the residual.
    """
    import jax.numpy as jnp

    model = dynamics.Model(*state[0])
    x, _ = training_points(p, stream)
    priors = jnp.asarray(dynamics.log_priors(p.sizes), dtype=x.dtype)
    made = dynamics.generate(model, stream.jax("samples"), priors, p.samples, dynamics.published_times())
    first, second = dynamics.nearest_squares(made, x)
    copies = jnp.mean(first[..., None] <= jnp.asarray(THRESHOLDS, dtype=x.dtype) * second[..., None], axis=1)
    variance, residual = model.std**2, dynamics.residual_variance(model, x, priors)
    return {
        "m": jnp.asarray(p.sizes) / p.N, "copies": copies, "variance": variance, "residual": residual,
        "settled": jnp.abs(variance / residual - 1) < 0.03,
    }  # fmt: skip


def predicted_sizes(p: Training) -> np.ndarray:
    return np.array([theory.critical_size(p.d, p.K, p.N, threshold=c, v=p.v) for c in THRESHOLDS])


def picture(p: Training) -> np.ndarray:
    """the picture (hard assignment, left-out points that join one by one) is part of the statement: the size is
    claimed within .03 N; at c = 1/4, where a third of the points is left out and some join in pairs, within .05 N"""
    return np.array([0.05, 0.03, 0.03, 0.03])


TRANSITION = Law(
    id="memorization/transition",
    source=Source(DERIVED),
    statement="""
    Mixture models of M means, one shared variance and equal weights, started from M of N training points in K clusters
    (variance v, dimension d) and trained until their width has settled, begin to generate copies at a size that no loss
    weight enters. Share of copies (nearest squared distance at most c times the second) among generated samples:

        ratio(m) = exp(-(1-m)/m) P_c(d, N/K - 1, u(m)),   u(m) = v (1-m) C_inf(d, m N/K)/2,   m = M/N,

    the share of means that no left-out point has joined times the chance that a point plus noise of variance u is
    nearer to it than to others; C_inf is the mean squared distance to the nearest of m N/K points, per coordinate.
    ratio = 1/2 at m = .79 for c = 1/9 (30 dimensions, 3 clusters, 50 points); to leading order at 1 - 2c/(1-c), 3/4 for
    c = 1/9, whatever d, N, K and v. Claimed within .03 (.05 at c = 1/4) for 10 <= d, N/K >= 4, v from .5 to 2.
    Start and threshold decide it: from fresh samples or Gaussian means there is no transition (controls).
    """,
    params=Training,
    predict=predicted_sizes,
    measure=training,
    claim=Crossover(of="copies", along="m", level=0.5, falling=False, stated=picture, scale=1.0, resolve=0.1),
    controls={
        "fresh samples": but(measure=partial(training, init="fresh samples")),
        "gaussian means": but(measure=partial(training, init="gaussian")),
    },
    examples=(Training(),),
    draws=Draws(shapes=0, replicates=6),
)
