"""Where deterministic sampling with the memorising denoiser ends: at training points, each as often as the others."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Classification, Equality
from lab.data.mixtures import gmm_sphere
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import denoisers
from lab.models.diffusion import VP, Process, ddim, equal_angle_times, process
from lab.objectives.memorization import memorized
from lab.params import Ge, Le, LogScale, Params
from lab.systems.memorization.dynamics import published_times
from lab.systems.memorization.theory import endpoint as theory

DERIVED = "derived for this laboratory; not found in arXiv:2508.17689"
SAMPLES = 100

REACH = 16.0
"""How far beyond sqrt d a residual may be, in units of sigma; the distance between clusters' points is thousands."""


class Sampled(Params):
    """DDIM in `steps` steps on evenly spaced times of VP or FM from .999 to .001; N points of K clusters.

    The denoiser is that of the empirical measure, or that of the true mixture (then d >= 16: in few dimensions fresh
    samples pass for copies by chance).
    """

    denoiser: Literal["memorising", "generalising"] = "memorising"
    process: Literal["VP", "FM"] = "VP"
    d: Annotated[int, Ge(10), Le(60)] = 30
    K: Annotated[int, Ge(1), Le(10)] = 3
    N: Annotated[int, Ge(10), Le(100)] = 50
    v: Annotated[float, Ge(0.5), Le(4.0), LogScale()] = 1.0
    steps: Annotated[int, Ge(25), Le(200), LogScale()] = 25

    @model_validator(mode="after")
    def _no_chance(self) -> Self:
        if self.denoiser == "generalising" and self.d < 16:
            raise ValueError(f"d={self.d}: the generalising denoiser needs d >= 16, or copies arise by chance")
        return self

    @property
    def noising(self) -> Process:
        return process(self.process)

    @property
    def times(self) -> np.ndarray:
        return published_times(self.steps + 1)


class Plane(Sampled):
    """The same in the plane, where the posterior collapses late."""

    d: Annotated[int, Ge(2), Le(2)] = 2


@measurement
def ends(p: Sampled, stream, *, width: float = 0.0, twins: bool = False):
    """Whether each sample ends within sigma (sqrt d + 16) of a training point, and whether it counts as a copy.

    `width` is the variance of the points that the memorising denoiser believes in; `twins` puts a second point beside
    each at a hundredth of the width of a cluster.
    """
    rng, one = stream.numpy("data"), p.noising
    mixture = gmm_sphere(rng, p.d, p.K, p.v, N=p.N)
    x, means, variance = mixture.X, mixture.means, p.v
    if twins:
        x = np.concatenate([x, x + 0.01 * np.sqrt(p.v) * rng.standard_normal(x.shape)])
    if p.denoiser == "memorising":
        means, variance = x, width

    def noise(y: Any, t: Any) -> Any:
        return denoisers.predicted_noise(y, means, variance, one.alpha(t), one.sigma(t))

    start = one.sigma(p.times[0]) * rng.standard_normal((SAMPLES, p.d))
    end = ddim(noise, start, p.times, one)
    a, s = one.alpha(p.times[-1]), one.sigma(p.times[-1])
    nearest = np.sqrt(np.min(np.sum((end[:, None] - a * x) ** 2, axis=-1), axis=1))
    return {"ends": np.stack([nearest < theory.endpoint_radius(s, p.d, slack=REACH), memorized(end, x)], axis=1)}


ODE_ENDPOINT = Law(
    id="memorization/ode-endpoint",
    source=Source(DERIVED),
    statement="""
    Deterministic sampling with the memorising denoiser ends at a training point: every sample within sigma (sqrt d +
    16) of alpha x_i at the last time, and a copy by the usual criterion (squared distances 1 : 9), for d >= 10, up to
    100 points, v >= .5 and from 25 steps on. No sample of the true mixture's denoiser is (d >= 16; by chance with
    probability about 3^-d). Residuals beyond sqrt d + 4, which a normal vector has once in a million, belong to samples
    between close points that decide in the last steps: one in a thousand at 25 steps and d = 10. In the plane these are
    ten per cent, most of them no copies (control); a denoiser of points of finite width does not end so close, and twin
    points have no copies (controls).
    """,
    params=Sampled,
    predict=lambda p: np.full((SAMPLES, 2), p.denoiser == "memorising"),
    measure=ends,
    claim=Classification(of="ends", resolve=0.02),
    controls={
        "the plane in 25 steps": but(params=Plane, examples=(Plane(K=1), Plane())),
        "points of finite width": but(measure=partial(ends, width=0.01), examples=(Sampled(),)),
        "twin points": but(measure=partial(ends, twins=True), examples=(Sampled(),)),
    },
    examples=(
        Sampled(), Sampled(d=10), Sampled(d=10, steps=200, process="FM"), Sampled(denoiser="generalising"),
        Sampled(denoiser="generalising", d=16, N=100),
    ),
    draws=Draws(shapes=6, values=1, replicates=3),
)  # fmt: skip

# ---------------------------------------------------------------------- conserved residual


class Tracked(Sampled):
    """The memorising denoiser, followed step by step."""

    denoiser: Literal["memorising"] = "memorising"  # type: ignore[assignment]


@measurement
def residuals(p: Tracked, stream, *, width: float = 0.0, early: bool = False):
    """Length of the last residual (y - alpha x_i)/sigma over that of the first one after collapse, sample by sample.

    After collapse the logit of one point exceeds all others by 45: they weigh less than 1e-17. `early` starts at the
    first step at which its weight exceeds a half; `width` as in `ends`.
    """
    rng, one, t = stream.numpy("data"), p.noising, p.times
    x = gmm_sphere(rng, p.d, p.K, p.v, N=p.N).X
    y = one.sigma(t[0]) * rng.standard_normal((SAMPLES, p.d))
    first, rows, least = np.full(SAMPLES, np.nan), np.arange(SAMPLES), np.log(2.0) if early else 45.0
    for now, then in itertools.pairwise(t):
        logits = np.sort(denoisers.log_weights(y, x, width, one.alpha(now), one.sigma(now)), axis=1)
        best = _nearest(y, one.alpha(now) * x)
        length = np.linalg.norm(y - one.alpha(now) * x[best], axis=1) / one.sigma(now)
        new = np.isnan(first) & (logits[:, -1] - logits[:, -2] > least)
        first[new] = length[rows[new]]
        y = ddim(lambda y, s: denoisers.predicted_noise(y, x, width, one.alpha(s), one.sigma(s)), y,
                 np.array([now, then]), one)  # fmt: skip
    best = _nearest(y, one.alpha(t[-1]) * x)
    last = np.linalg.norm(y - one.alpha(t[-1]) * x[best], axis=1) / one.sigma(t[-1])
    seen = ~np.isnan(first)
    return {"kept": np.where(seen, last / np.where(seen, first, 1.0), 1.0), "collapsed": seen}


def _nearest(y: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.argmin(np.sum((y[:, None] - points) ** 2, axis=-1), axis=1)


def kept_rounding(p: Tracked) -> float:
    """y is known to a few epsilons of |x| < 2 sqrt(d (1 + v)) + 8, its residual to that over sigma = .001, relative to
    a length of at least one; every step adds 8 such roundings, divided by its own sigma: the last ones dominate"""
    size = 2 * np.sqrt(p.d * (1 + p.v)) + 8
    sigma = p.noising.sigma(p.times[1:])
    return float(8 * size * np.sum(1 / sigma))


ODE_CONSERVED = Law(
    id="memorization/ode-conserved",
    source=Source(DERIVED),
    statement="""
    A DDIM step with the memorising denoiser changes the residual r = (y - alpha x_i)/sigma about a training point by
    (sqrt psi' - sqrt psi)(m - x_i), m the posterior mean. So after the posterior has collapsed onto x_i the residual is
    conserved by every step, however coarse the grid, and the sample ends at distance sigma |r| from alpha x_i, with |r|
    set at collapse: about sqrt d.
    """,
    params=Tracked,
    predict=lambda p: np.ones(SAMPLES),
    measure=residuals,
    claim=Equality(of="kept", given="collapsed", rounding=kept_rounding, resolve=1e-7),
    controls={
        "points of finite width": but(measure=partial(residuals, width=1e-4), examples=(Tracked(),)),
        "before collapse": but(measure=partial(residuals, early=True), examples=(Tracked(d=10, steps=100),)),
    },
    examples=(Tracked(), Tracked(d=10, steps=100), Tracked(process="FM", K=1)),
    draws=Draws(shapes=2, values=1),
)  # fmt: skip

# ---------------------------------------------------------------------- how often each point is hit


class Hits(Params):
    """1000 samples in `steps` steps of equal angles of VP, from exact noisy samples; N points of one cluster."""

    d: Annotated[int, Ge(10), Le(40)] = 10
    N: Annotated[int, Ge(5), Le(50)] = 20
    steps: Annotated[int, Ge(80), Le(400), LogScale()] = 100


MANY = 1000


@measurement
def hit_counts(p: Hits, stream, *, coarse: bool = False):
    """Chi-square statistic of how often each training point is hit, over N - 1, and mean squared residual over d.

    12 even steps if `coarse`.
    """
    rng = stream.numpy("data")
    x = rng.standard_normal((p.N, p.d))
    times = equal_angle_times(VP, 1.0, p.steps, start=0.999, stop=0.001)
    if coarse:
        times = published_times(13)
    start = VP.alpha(times[0]) * x[rng.integers(p.N, size=MANY)]
    start = start + VP.sigma(times[0]) * rng.standard_normal((MANY, p.d))
    end = ddim(lambda y, t: denoisers.predicted_noise(y, x, 0.0, VP.alpha(t), VP.sigma(t)), start, times, VP)
    best = _nearest(end, VP.alpha(times[-1]) * x)
    counts = np.bincount(best, minlength=p.N)
    square = np.mean(((end - VP.alpha(times[-1]) * x[best]) / VP.sigma(times[-1])) ** 2)
    return {"ratios": np.array([np.sum((counts - MANY / p.N) ** 2) * p.N / MANY / (p.N - 1), square])}


def even_chances(p: Hits, *, spread: float = 0.0) -> np.ndarray:
    """Mean of the statistic over N - 1, half of the points `spread` likelier, half less, if given; and 1."""
    sign = np.where(np.arange(p.N) < p.N // 2, 1.0, -1.0)
    chance = 1 + spread * (sign - sign.mean())
    return np.array([theory.hit_statistic(p.N, MANY, chance / p.N) / (p.N - 1), 1.0])


def step_error(p: Hits) -> np.ndarray:
    """L steps of DDIM err by O(1/L), so chances are off by a share of that order, and the statistic by n O(1/L²) per
    degree of freedom; .15 is twice the constant seen at L = 12 and 25 in 10 and 30 dimensions. Squares of Gaussian
    data shrink by at most (pi/2)²/L on this grid (memorization/ddim-equal-angle), residuals likewise"""
    return np.array([0.15 * MANY / p.steps**2, (np.pi / 2) ** 2 / p.steps])


ODE_HITS = Law(
    id="memorization/ode-hits",
    source=Source(DERIVED),
    statement="""
    On a fine grid of times deterministic sampling with the memorising denoiser hits each of N training points with
    probability 1/N: the chi-square statistic of the counts has mean N - 1. Its residuals about the training points have
    mean square d. For the exact flow both are exact, as it carries the noisy distribution at one time to that at
    another; on 12 evenly spaced steps the statistic of 1000
    samples is 2.5 to 4 times as large (control), on the published 25 steps 1.3 to 1.6 times.
    """,
    params=Hits,
    predict=even_chances,
    measure=hit_counts,
    claim=Equality(of="ratios", over="mean", finite_size=step_error, resolve=0.4),
    controls={
        "twelve steps": but(measure=partial(hit_counts, coarse=True)),
        "chances off by a fifth": but(predict=partial(even_chances, spread=0.2)),
    },
    examples=(Hits(), Hits(d=30, N=40)),
    draws=Draws(shapes=0, replicates=24),
)
