"""How fast the linear model moves: near W = 0, and along a mode without noise."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality, Limit
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.self_distillation import linear_step
from lab.params import Ge, Le, LogScale, Lt, Params
from lab.systems.simdino import dynamics, theory
from lab.systems.simdino.laws.waterfilling import DERIVED, Views, kept, moments


class SmallWeights(Views):
    """The linear encoder near W = 0, with weight gamma = gain eps^2/d of the rate."""

    gain: Annotated[float, Ge(0.02), Le(3.0), LogScale()] = 0.4
    momentum: Annotated[float, Ge(0.0), Lt(0.96)] = 0.9

    @property
    def gamma(self) -> float:
        return self.gain * self.eps**2 / self.dim


AMPLITUDE = 1e-6  # of the largest mode, in units of 1/sqrt(c)
STEPS = 200


@measurement
def linear_growth(p: SmallWeights, stream, *, leak: float = 0.0, power: float = 2.0, hold: float = 0.0):
    """Growth per step of every mode (i, i) and into the others (i, j); knobs as in `trained`."""
    rng, D = stream.numpy("views"), p.inputs
    root = p.condition ** -np.linspace(0, 1, D)[:, None] * haar(rng, D)
    frame = haar(rng, D)
    C, signal = moments(p, root, frame)
    settings = {
        "moment": C, "pull": np.linalg.solve(C, signal), "eps": p.eps, "gamma": p.gain * p.eps**power / p.dim,
        "momentum": kept(p.momentum, leak, hold), "step": p.step, "leak": leak,
    }  # fmt: skip
    growth = dynamics.mode_growth(
        partial(linear_step, **settings), rng.standard_normal((D, p.dim)), frame.T @ root,
        amplitude=AMPLITUDE / np.sqrt(p.c), steps=STEPS,
    )  # fmt: skip
    return {"growth": growth}


def predicted_growth(p: SmallWeights, *, rate=theory.growth_rate):
    """Diagonal: modes do not mix."""
    push = theory.rate_push(p.dim, eps=p.eps, gamma=p.gamma, centred=True)
    return np.diag(1 + rate(p.nu, push, momentum=p.momentum, step=p.step))


def growth_error(p: SmallWeights):
    """the push on a mode is off by gain u, u = 1e-12 its reduced second moment, the transient by its factor to the
    power of the steps; products of matrices of condition^2 round in the last place times their size"""
    push = theory.rate_push(p.dim, eps=p.eps, gamma=p.gamma, centred=True)
    other = np.abs(theory.transient_factor(p.nu, push, momentum=p.momentum, step=p.step))
    rounding = 64 * np.finfo(float).eps * p.inputs * p.condition**2 * (1 + p.gain)
    return 4 * p.gain * AMPLITUDE**2 + rounding + np.diag(10 * other**STEPS)


LINEAR_GROWTH = Law(
    id="simdino/linear-growth",
    source=Source(DERIVED),
    statement="""
    Near W = 0 a mode of noise fraction nu of the linear encoder grows per training step by the top eigenvalue of

        [[a, b], [(1-m) a, m + (1-m) b]],   a = 1 + eta (gamma c - 1),   b = eta (1 - nu),

    above 1 iff gamma c > nu; to first order by 1 + (1-m) eta (gamma c - nu)/(eta (1 - gamma c) + (1-m)(1 - eta(1-nu))).
    """,
    params=SmallWeights,
    predict=predicted_growth,
    measure=linear_growth,
    claim=Equality(of="growth", finite_size=growth_error, scale=1.0, resolve=1e-6),
    controls={
        "no stop-gradient": but(measure=partial(linear_growth, leak=1.0)),
        "eps for eps^2": but(measure=partial(linear_growth, power=1.0)),
        "teacher held still": but(measure=partial(linear_growth, hold=1.0)),
        "first order in the rate": but(predict=partial(predicted_growth, rate=theory.slow_rate)),
    },
    examples=(SmallWeights(), SmallWeights(gain=0.29), SmallWeights(gain=0.31, momentum=0.0)),
    draws=Draws(shapes=6, values=4),
)


class Noiseless(Params):
    """One mode that all views share: noise fraction 0."""

    dim: Annotated[int, Ge(1), Le(3)] = 2
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    gain: Annotated[float, Ge(0.05), Le(2.0), LogScale()] = 0.5
    momentum: Annotated[float, Ge(0.0), Le(0.95)] = 0.5
    step: Annotated[float, Ge(0.3), Le(1.0)] = 1.0

    @property
    def gamma(self):
        return self.gain * self.eps**2 / self.dim


@measurement
def noiseless(p: Noiseless, stream, *, nu: float = 0.0, leak: float = 0.0):
    """Second moment of the feature after 2^6 to 2^12 steps."""
    times = 2 ** np.arange(6, 13)
    one = np.eye(1)
    student = teacher = stream.numpy("start").standard_normal((1, p.dim)) * p.eps / np.sqrt(p.dim)
    found = []
    for step in range(1, times[-1] + 1):
        student, teacher = linear_step(
            student, teacher, moment=one, pull=(1 - nu) * one, eps=p.eps, gamma=p.gamma, momentum=p.momentum,
            step=p.step, leak=leak,
        )  # fmt: skip
        if step in times:
            found.append(float(np.sum(student**2)))
    return {"steps": times, "moment": np.array(found)}


def predicted_moment(p: Noiseless):
    return lambda t: t * theory.noiseless_slope(p.gamma, momentum=p.momentum, step=p.step)


NOISELESS_DIVERGENCE = Law(
    id="simdino/noiseless-divergence",
    source=Source(DERIVED),
    statement="""
    Without normalisation a mode that all views share exactly (nu = 0) is never finished: its second moment grows like
    2 gamma eta (1-m)/(eta + (1-m)(1-eta)) per step. Real features are normalised for a reason.
    """,
    params=Noiseless,
    predict=predicted_moment,
    measure=noiseless,
    claim=Limit(of="moment", along="steps", order=lambda t: np.log(t) / t),
    controls={
        "a percent of noise": but(measure=partial(noiseless, nu=0.01)),
        "step size left out": but(
            predict=lambda p: lambda t: t * theory.noiseless_slope(p.gamma, momentum=p.momentum, step=1.0) * p.step
        ),
    },
    examples=(Noiseless(), Noiseless(momentum=0.9, step=0.5)),
    draws=Draws(shapes=0),
)
