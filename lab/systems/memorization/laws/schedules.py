"""The best grids of times for DDIM on Gaussian data: equal angles, and equal arcs for several eigenvalues."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Limit
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.diffusion import Process, equal_angle_times, process
from lab.params import Ge, Le, LogScale, Params
from lab.systems.memorization import theory
from lab.systems.memorization.laws.ddim import DERIVED, ENDS, Sampling, sampled_ratio


class AnyGrid(Sampling):
    """A random grid of `steps` steps: increments of the angle in random proportions, equal ones for `disorder` 0."""

    steps: Annotated[int, Ge(1), Le(60)] = 10
    disorder: Annotated[float, Ge(0.0), Le(2.0)] = 0.0


@measurement
def random_grid(p: AnyGrid, stream):
    """Sampled over exact standard deviation on such a grid."""
    shares = np.exp(p.disorder * stream.numpy("grid").standard_normal(p.steps))
    inner = np.concatenate([[0.0], np.cumsum(shares / shares.sum())])
    ends = [np.arctan2(p.noising.alpha(t) * np.sqrt(p.variance), p.noising.sigma(t)) for t in (p.start, p.stop)]
    angles = ends[0] + (ends[1] - ends[0]) * inner[1:-1]
    times = np.concatenate([[p.start], p.noising.time_of_ratio(np.sqrt(p.variance) / np.tan(angles)), [p.stop]])
    return {"ratio": sampled_ratio(p, times)}


def best_ratio(p: AnyGrid, *, more: int = 0) -> float:
    return theory.equal_angle_shrinkage(p.noising, p.variance, p.steps + more, start=p.start, stop=p.stop)


def grid_rounding(p: AnyGrid) -> float:
    """a step adds two terms of size (alpha'/alpha) y with four roundings each: at most the whole range of alpha in one
    step, and growth of the sample's size over the path"""
    a, s = (np.array([of(t) for t in (p.start, p.stop)]) for of in (p.noising.alpha, p.noising.sigma))
    size = np.sqrt(a**2 * p.variance + s**2)
    return float(8 * (p.steps + a[1] / a[0]) * max(size[0] / size[1], 1))


DDIM_EQUAL_ANGLE = Law(
    id="memorization/ddim-equal-angle",
    source=Source(DERIVED),
    statement="""
    For Gaussian data no grid of L times keeps more of the standard deviation than equal angles do:

        prod_l cos(theta_l) <= cos(Theta/L)^L,    sum of the theta_l = Theta,

    because log cos is concave; equality for equal angles. Measured: DDIM on random grids, equal angles among them.
    """,
    params=AnyGrid,
    predict=best_ratio,
    measure=random_grid,
    claim=Bound(of="ratio", side="upper", rounding=grid_rounding, resolve=1e-9),
    controls={"one step less": but(predict=lambda p: best_ratio(p, more=-1) if p.steps > 1 else 0.0)},
    examples=(AnyGrid(), AnyGrid(process="FM", steps=3), AnyGrid(process="VE", steps=40, variance=0.1)),
    draws=Draws(shapes=40, values=1),
)


class Spectrum(Params):
    """Eigenvalues, geometric from `variance`/sqrt(condition) to `variance` sqrt(condition)."""

    process: Literal["VP", "FM", "VE", "OU"] = "VP"
    variance: Annotated[float, Ge(0.2), Le(5.0), LogScale()] = 1.0
    condition: Annotated[float, Ge(1.0), Le(1000.0), LogScale()] = 625.0
    count: Annotated[int, Ge(1), Le(5)] = 3

    @model_validator(mode="after")
    def _several(self) -> Self:
        if self.count == 1 and self.condition > 1:
            raise ValueError(f"condition={self.condition} needs count > 1 eigenvalues; set condition=1 or raise count")
        return self

    @property
    def noising(self) -> Process:
        return process(self.process)

    @property
    def eigenvalues(self) -> np.ndarray:
        return self.variance * self.condition ** (np.linspace(-0.5, 0.5, self.count) if self.count > 1 else np.zeros(1))


GRIDS = np.array([16, 24, 32, 48, 64, 96])
"""Numbers of steps whose grids are optimised."""


@measurement
def optimised_grids(p: Spectrum, stream, *, free: bool = True):
    """L times the root mean square error of the standard deviations on the best grid found, for L in `GRIDS`.

    All times are free (quasi-Newton in the logarithms of the increments of log SNR, from evenly spaced ones); the error
    is that of the raw DDIM steps. Not `free`: evenly spaced log SNR.
    """
    from scipy.optimize import minimize

    lam, one = p.eigenvalues, p.noising
    ends = ENDS[p.process]
    log_ratio = [float(np.log(one.sigma(t) / one.alpha(t))) for t in ends]
    edge = np.array([[of(t) for t in ends] for of in (one.alpha, one.sigma)])
    exact = np.sqrt(edge[0][:, None] ** 2 * lam + edge[1][:, None] ** 2)

    def error(increments):
        share = np.exp(increments - increments.max(axis=-1, keepdims=True))
        share = np.cumsum(share / share.sum(axis=-1, keepdims=True), axis=-1)
        z = log_ratio[0] + (log_ratio[1] - log_ratio[0]) * np.concatenate([np.zeros((*share.shape[:-1], 1)), share], -1)
        a = np.moveaxis(1 / np.sqrt(1 + np.exp(2 * z)), -1, 0)[..., None]  # scaled to a² + s² = 1: only ratios matter
        s = np.sqrt(1 - a**2)
        factor = np.prod((s[:-1] * s[1:] + a[:-1] * a[1:] * lam) / (s[:-1] ** 2 + a[:-1] ** 2 * lam), axis=0)
        reach = np.sqrt((a[0] ** 2 * lam + s[0] ** 2) / (a[-1] ** 2 * lam + s[-1] ** 2))
        return np.sqrt(np.mean((exact[1] / exact[0] * (1 - factor * reach)) ** 2, axis=-1))

    found = []
    for count in GRIDS:
        shift = 1e-6 * np.concatenate([np.eye(count), -np.eye(count)])

        def objective(q, shift=shift, count=count):
            values = error(np.concatenate([q[None], q + shift]))
            return count * values[0], count * (values[1 : count + 1] - values[count + 1 :]) / 2e-6

        start = np.zeros(count)
        best = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 400}).x if free else start
        found.append(objective(best)[0])
    return {"counts": GRIDS, "error": np.array(found)}


def arc_limit(p: Spectrum, *, arc: bool = True) -> np.ndarray:
    """The constant of the arc-length grid; if not `arc`, that of equal angles for the middle eigenvalue."""
    start, stop = ENDS[p.process]
    if arc:
        constant = theory.arc_length_constant(p.noising, p.eigenvalues, start=start, stop=stop)
    else:
        fine = equal_angle_times(p.noising, p.variance, 4000, start=start, stop=stop)
        constant = 4000 * theory.spectrum_error(p.noising, fine, p.eigenvalues)
    return np.full(len(GRIDS), constant)


def search_rounding(p: Spectrum) -> float:
    """the search stops where central differences of width 1e-6 are lost in rounding: gradients of about 1e-9, errors of
    second order in them; 1e-9 relative is far above that"""
    return 1e-9 / np.finfo(float).eps


DDIM_SPECTRUM = Law(
    id="memorization/ddim-spectrum",
    source=Source(DERIVED),
    statement="""
    Gaussian data with eigenvalues lambda_i: the grid of L times with the least root mean square error of the standard
    deviations s_i makes, to leading order, equal steps in the arc length of

        dS² = sum_i w_i dA_i²,    w_i proportional to s_i² c_i,    c_i = (1/2) int (dA_i/dtau)² dtau on that very grid,

    A_i = arctan(alpha sqrt(lambda_i)/sigma); the error is sqrt(mean_i s_i² c_i²)/L. One eigenvalue gives equal angles.
    Measured: all times free, optimised numerically, as L grows.
    """,
    params=Spectrum,
    predict=arc_limit,
    measure=optimised_grids,
    claim=Limit(of="error", along="counts", order=1.0, rounding=search_rounding, resolve=0.02),
    controls={
        "equal angles of the middle eigenvalue": but(predict=partial(arc_limit, arc=False)),
        "evenly spaced log SNR": but(measure=partial(optimised_grids, free=False)),
    },
    examples=(Spectrum(), Spectrum(process="FM", count=2, condition=100.0)),
    draws=Draws(shapes=4, values=1),
)
