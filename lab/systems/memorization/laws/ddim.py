"""DDIM on Gaussian data: the exact product of cosines, and its rate."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Equality, Limit
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import denoisers, low_rank_denoisers
from lab.models.diffusion import Process, ddim, equal_angle_times, process
from lab.params import Ge, Le, LogScale, Params
from lab.systems.memorization import theory

DERIVED = "derived for this laboratory; not found in arXiv:2010.02502"

ENDS = {"VP": (0.999, 0.001), "FM": (0.999, 0.001), "VE": (50.0, 0.01), "OU": (4.0, 0.01)}
"""First and last time of each process."""


class Sampling(Params):
    """DDIM from the first to the last time of a process, for Gaussian data of variance `variance`.

    Times are evenly spaced, or at equal angles for `variance`, or evenly spaced in their square root.
    """

    process: Literal["VP", "FM", "VE", "OU"] = "VP"
    schedule: Literal["uniform", "equal angle", "square root"] = "uniform"
    variance: Annotated[float, Ge(0.04), Le(25.0), LogScale()] = 1.0

    @property
    def noising(self) -> Process:
        return process(self.process)

    @property
    def start(self) -> float:
        return ENDS[self.process][0]

    @property
    def stop(self) -> float:
        return ENDS[self.process][1]

    def times(self, steps: int) -> np.ndarray:
        """Decreasing times (steps + 1,)."""
        if self.schedule == "equal angle":
            return equal_angle_times(self.noising, self.variance, steps, start=self.start, stop=self.stop)
        if self.schedule == "square root":
            return np.linspace(np.sqrt(self.start), np.sqrt(self.stop), steps + 1) ** 2
        return np.linspace(self.start, self.stop, steps + 1)


def sampled_ratio(p: Sampling, times: np.ndarray, believed: float = 1.0) -> float:
    """Sampled over exact standard deviation in one dimension, by DDIM; `believed` multiplies the denoiser's variance.

    From the exact noisy distribution to the exact noisy distribution: N(0, alpha² lambda + sigma²) at both ends.
    """
    one = p.noising

    def noise(y, t):
        return denoisers.predicted_noise(y, np.zeros((1, 1)), believed * p.variance, one.alpha(t), one.sigma(t))

    first, last = (np.sqrt(one.alpha(t) ** 2 * p.variance + one.sigma(t) ** 2) for t in (p.start, p.stop))
    return float(ddim(noise, np.full((1, 1), first), times, one)[0, 0] / last)


def step_rounding(p: Sampling, steps: int, variance: float) -> float:
    """Relative rounding of the sampled scale in units of the machine epsilon."""
    t = p.times(steps)
    a, s = p.noising.alpha(t), p.noising.sigma(t)
    size = np.sqrt(a**2 * variance + s**2)
    # a step adds two terms of size (a'/a) y that cancel down to y', each with four roundings
    return float(8 * np.sum(np.maximum(a[1:] / a[:-1], 1) * np.maximum(size[:-1] / size[1:], 1)))


# ---------------------------------------------------------------------- product of cosines


class Generated(Sampling):
    """Samples in d dimensions in `steps` steps; eigenvalues from `variance` down to `variance`/`condition`, a mean."""

    steps: Annotated[int, Ge(1), Le(120)] = 25
    d: Annotated[int, Ge(1), Le(5)] = 3
    condition: Annotated[float, Ge(1.0), Le(50.0), LogScale()] = 10.0
    mean: Annotated[float, Ge(-3.0), Le(3.0)] = 1.0

    @property
    def eigenvalues(self) -> np.ndarray:
        return self.variance * np.geomspace(1, 1 / self.condition, self.d)


@measurement
def generated_moments(p: Generated, stream, *, believed: float = 1.0):
    """Standard deviations and means of samples started from N(0, I), along the eigenvectors.

    DDIM is affine in its start here: its matrix comes from unit vectors, its offset from 0. `believed` multiplies the
    variance in the denoiser.
    """
    one, U = p.noising, haar(stream.numpy("basis"), p.d)
    centre = (U @ np.full(p.d, p.mean))[None]

    def noise(y, t):
        given = U[None], believed * p.eigenvalues[None], one.alpha(t), one.sigma(t)
        return low_rank_denoisers.predicted_noise(y, *given, means=centre)

    out = np.asarray(ddim(noise, np.concatenate([np.eye(p.d), np.zeros((1, p.d))]), p.times(p.steps), one))
    return {"moments": np.concatenate([np.linalg.svd(out[:-1] - out[-1])[1], out[-1] @ U])}


def predicted_moments(p: Generated, *, cosines: bool = True) -> np.ndarray:
    """Standard deviations (largest first) and means; those of the exact flow if not `cosines`."""
    t = p.times(p.steps)
    scales = theory.sampled_scale(p.noising, t, p.eigenvalues)
    if not cosines:
        scales = theory.exact_scale(p.noising, p.start, p.stop, p.eigenvalues)
    means = theory.sampled_mean(p.noising, t, p.eigenvalues, p.mean)
    return np.concatenate([np.sort(scales)[::-1], means])


def moment_rounding(p: Generated) -> float:
    """every step cancels terms (alpha'/alpha) y down to y', four roundings each, summed along the path relative to its
    size; in d dimensions the largest scale (and the mean's path) sets the size of all"""
    units = max(step_rounding(p, p.steps, lam) for lam in p.eigenvalues)
    return p.d * units * (np.max(theory.exact_scale(p.noising, p.start, p.stop, p.eigenvalues)) + 2 * abs(p.mean))


DDIM_GAUSSIAN = Law(
    id="memorization/ddim-gaussian",
    source=Source(DERIVED),
    statement="""
    Data N(m, Lambda), exact denoiser. Along an eigenvector of eigenvalue lambda a DDIM step multiplies y - alpha m by
    the exact flow's factor times cos(A(t') - A(t)), with the angle A = arctan(alpha sqrt(lambda)/sigma). After all
    steps

        std = std_exact prod_l cos(A_(l+1) - A_l),    std_exact = sqrt((a_1² lambda + s_1²)/(a_0² lambda + s_0²)),

    from standard deviation 1 (a_0, s_0 at the first, a_1, s_1 at the last time), and mean a_1 m + (std)(E y - a_0 m):
    DDIM always shrinks. Every process, every grid. The published 26 times of VP from .999 to .001 give .93408 at lambda
    = 1.
    """,
    params=Generated,
    predict=predicted_moments,
    measure=generated_moments,
    claim=Equality(of="moments", rounding=moment_rounding),
    controls={
        "another variance in the denoiser": but(measure=partial(generated_moments, believed=1.1)),
        "the exact flow": but(predict=partial(predicted_moments, cosines=False)),
    },
    examples=(
        Generated(d=1, mean=0.0), Generated(d=1, variance=0.14, mean=0.0), Generated(process="VE", steps=50),
        Generated(process="FM", schedule="equal angle", variance=25.0),
    ),
    draws=Draws(shapes=40, values=1),
)  # fmt: skip

# ---------------------------------------------------------------------- rate

COUNTS = np.array([24, 32, 48, 64, 96, 128, 192])
"""Numbers of steps L of a curve; more where evenly spaced times turn the angle unevenly (`curve_stretch`)."""


MILD_ENDS = {"VP": (0.99, 0.001), "FM": (0.999, 0.001), "VE": (10.0, 0.01), "OU": (4.0, 0.05)}
"""First and last time where the angle turns smoothly enough for the rate to show with some hundred steps.

Near t = 1 the angle of VP turns over a length 1 - t: from .999 on, evenly spaced times follow the rate only beyond a
thousand steps.
"""


class Schedule(Sampling):
    """A curve of sampling errors over the number of steps, in one dimension."""

    schedule: Literal["uniform", "equal angle"] = "uniform"  # type: ignore[assignment]

    @property
    def start(self) -> float:
        return MILD_ENDS[self.process][0]

    @property
    def stop(self) -> float:
        return MILD_ENDS[self.process][1]


@measurement
def log_shrinkage(p: Schedule, stream, *, believed: float = 1.0):
    """-L times the logarithm of the sampled over the exact standard deviation, as L grows."""
    counts = COUNTS * curve_stretch(p)
    ratios = np.array([sampled_ratio(p, p.times(int(count)), believed) for count in counts])
    return {"counts": counts, "shrinkage": -counts * np.log(ratios)}


def error_constant(p: Schedule) -> float:
    of = theory.equal_angle_constant if p.schedule == "equal angle" else theory.uniform_constant
    return of(p.noising, p.variance, start=p.start, stop=p.stop)


def curve_stretch(p: Schedule) -> int:
    """2, 4, 8, ... times as many steps: the smallest number resolves the length over which the slope of the angle
    varies, to .4 of it."""
    if p.schedule == "equal angle":
        return 1
    t = equal_angle_times(p.noising, p.variance, 2000, start=p.start, stop=p.stop)
    slope = np.diff(theory.angle(p.noising, t, p.variance)) / np.diff(t)
    bend = np.abs(np.diff(np.log(np.abs(slope))) / np.diff((t[1:] + t[:-1]) / 2)).max()
    return int(2 ** np.ceil(np.log2(max(1.0, bend * (p.start - p.stop) / (0.4 * COUNTS[0])))))


def shrinkage_limit(p: Schedule, *, factor: float = 1.0) -> np.ndarray:
    return np.full(len(COUNTS), factor * error_constant(p))


def curve_rounding(p: Schedule) -> float:
    """relative rounding of the sampled scale over its relative error c/L"""
    count = int(COUNTS[-1] * curve_stretch(p))
    return step_rounding(p, count, p.variance) * count / error_constant(p)


def equal_angles_everywhere(p: Schedule) -> np.ndarray:
    constant = theory.equal_angle_constant(p.noising, p.variance, start=p.start, stop=p.stop)
    return np.full(len(COUNTS), constant)


DDIM_RATE = Law(
    id="memorization/ddim-rate",
    source=Source(DERIVED),
    statement="""
    With L steps the sampled standard deviation of Gaussian data is the exact one times exp(-c/L + O(L^-3)), where

        c = (1/2) int_0^1 (dA/dtau)² dtau,    A = arctan(alpha sqrt(lambda)/sigma),  tau = index of a step / L:

    an error of order 1/L, and a Kullback-Leibler divergence of (c/L)². c = Theta²/2 on a grid of equal angles (total
    angle Theta < pi/2, so c < 1.24 always), and (t_0 - t_1)/2 int A'(t)² dt on evenly spaced times: 1.90 for VP
    from t = .999 at lambda = 1, 13.4 at lambda = 25, 51 for VE from t = 50 at lambda = .14.
    """,
    params=Schedule,
    predict=shrinkage_limit,
    measure=log_shrinkage,
    claim=Limit(of="shrinkage", along="counts", order=2.0, rounding=curve_rounding, resolve=0.02),
    controls={
        "equal angles' constant everywhere": but(predict=equal_angles_everywhere),
        "without the half": but(predict=partial(shrinkage_limit, factor=2.0)),
        "another variance in the denoiser": but(measure=partial(log_shrinkage, believed=1.1)),
    },
    examples=(Schedule(), Schedule(variance=25.0), Schedule(schedule="equal angle", process="VE", variance=0.14)),
    draws=Draws(shapes=8, values=1),
)
