"""Stability of the collapsed state of a normalised affine encoder."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Classification, Crossover, Equality
from lab.data.subspaces import haar
from lab.data.views import two_view_linear
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, Params
from lab.systems.simdino import dynamics, theory

DERIVED = "derived for this laboratory; not found in arXiv:2502.10385"
AMPLITUDE = 1e-6  # of the largest mode
STEPS = 150


class CollapsedState(Params):
    """Encoder z = (b + x W)/|b + x W| near W = 0, with b a fixed unit vector and two white views of zero mean.

    The `modes` of the views have noise fractions from `lowest` to `highest`, evenly spaced. The weight gamma of the
    rate is given as ``gain = gamma d/eps^2``; `expansion` says of whose features the rate is taken (the public code's
    default is "mean"), `centred` whether it is that of their covariance.
    """

    modes: Annotated[int, Ge(1), Le(4)] = 3
    dim: Annotated[int, Ge(2), Le(8)] = 4
    lowest: Annotated[float, Ge(0.02), Le(0.5)] = 0.1
    highest: Annotated[float, Ge(0.5), Le(1.0)] = 0.7
    eps: Annotated[float, Ge(0.2), Le(1.4), LogScale()] = 1.0
    gain: Annotated[float, Ge(0.02), Le(3.0), LogScale()] = 0.3
    momentum: Annotated[float, Ge(0.0), Le(0.99)] = 0.9
    step: Annotated[float, Ge(0.1), Le(1.0)] = 0.3
    expansion: Literal["student", "mean"] = "student"
    centred: bool = False

    @model_validator(mode="after")
    def _rate_sees_features(self) -> Self:
        if self.c < 1:
            raise ValueError(
                f"d/eps^2={self.c:.3g} is below 1: the rate then hardly sees unit features; lower eps or raise dim"
            )
        return self

    @property
    def nu(self) -> np.ndarray:
        """Noise fractions."""
        return np.linspace(self.lowest, self.highest, self.modes)

    @property
    def c(self) -> float:
        return self.dim / self.eps**2

    @property
    def gamma(self) -> float:
        return self.gain * self.eps**2 / self.dim

    def push(self, *, centred: bool | None = None):
        """Push of the rate on student and teacher; of the other convention if `centred` says so."""
        centred = self.centred if centred is None else centred
        return theory.rate_push(self.dim, eps=self.eps, gamma=self.gamma, centred=centred, of=self.expansion)


@measurement(paired=("gain", "momentum"))
def mode_growth(p: CollapsedState, stream, *, leak: float = 0.0, power: float = 2.0, hold: float = 0.0):
    """Growth per training step of every mode (i, i) and into the others (i, j), the log of the first, which grow.

    Samples have the exact second moments and no third ones. ``leak = 1`` makes the teacher the student and lets the
    gradient through both; gamma is ``gain eps**power/dim``; ``hold = 1`` keeps the teacher where it is.
    """
    rng = stream.numpy("views")
    frame, bias = haar(rng, p.modes), haar(rng, p.dim, 1)[:, 0]
    signal, noise = ((frame * share) @ frame.T for share in (1 - p.nu, p.nu))
    X = two_view_linear(rng, signal=signal, noise=noise, n=8 * p.modes, exact=True, symmetric=True).x
    start = rng.standard_normal((p.modes, p.dim))
    across = np.eye(p.dim) - np.outer(bias, bias)
    settings = {
        "eps": p.eps, "gamma": p.gain * p.eps**power / p.dim, "step": p.step, "of": p.expansion, "centred": p.centred,
        "momentum": p.momentum * (1 - leak) * (1 - hold) + hold, "leak": leak,
    }  # fmt: skip

    def train(student, teacher):
        # along b weights do not move the features, and stay: left in, they would outlive decaying modes
        return tuple(W @ across for W in dynamics.affine_step(student, teacher, X, bias, **settings))

    growth = dynamics.mode_growth(train, start @ across, frame.T, amplitude=AMPLITUDE, steps=STEPS)
    return {"growth": growth, "log": np.log(growth[0, 0]), "grows": np.diag(growth) > 1}


def predicted_growth(p: CollapsedState, *, other: bool = False):
    """Diagonal: modes do not mix. `other`: as if the rate were centred where it is not, and the reverse."""
    return np.diag(theory.growth_factor(p.nu, p.push(centred=p.centred != other), momentum=p.momentum, step=p.step))


def growth_error(p: CollapsedState):
    """features bend at amplitude^2 times the condition 1 + c, the pushes and the fourth moments of the samples (at most
    their number, 8 modes); rounding of features of size 1 against the amplitude, times 1 + c and the pushes; the
    transient by its factor to the power of the steps"""
    push = p.push()
    other = np.abs(theory.transient_factor(p.nu, push, momentum=p.momentum, step=p.step))
    pushes = 1 + sum(np.abs(push))
    bend = 8 * p.modes * (1 + p.c) * pushes * AMPLITUDE**2
    rounding = 16 * (1 + p.c) * pushes * np.finfo(float).eps / AMPLITUDE
    return bend + rounding + np.diag(10 * other**STEPS)


EXAMPLES = (
    CollapsedState(),
    CollapsedState(gain=0.12, momentum=0.0),
    CollapsedState(centred=True, momentum=0.99),
    CollapsedState(expansion="mean", gain=0.5),
    CollapsedState(expansion="mean", centred=True, gain=0.15, momentum=0.5),
)

COLLAPSE_INSTABILITY = Law(
    id="simdino/collapse-instability",
    source=Source(DERIVED),
    statement="""
    Unit-norm affine encoder, all features at one unit vector b (W = 0). A small mode of noise fraction nu grows per
    training step (learning rate eta, teacher momentum m) by the top eigenvalue of

        [[a, b], [(1-m) a, m + (1-m) b]],   a = 1 + eta (g_s - 1),   b = eta (1 - nu + g_t),

    where the rate pushes with g_s = gamma kappa, g_t = 0: kappa = c^2/(1+c) for the uncentred second moment (the public
    code), kappa = c for the covariance (the formula in print), c = d/eps^2. If the rate is taken of the mean of student
    and teacher features (the public default): g_t = gamma c/4, g_s = gamma (c/4 - (c - kappa)/2), half in total.
    """,
    params=CollapsedState,
    predict=predicted_growth,
    measure=mode_growth,
    claim=Equality(of="growth", finite_size=growth_error, scale=1.0, resolve=1e-5),
    controls={
        "covariance for second moment": but(predict=partial(predicted_growth, other=True)),
        "no stop-gradient": but(measure=partial(mode_growth, leak=1.0)),
        "eps for eps^2": but(measure=partial(mode_growth, power=1.0)),
        "teacher held still": but(measure=partial(mode_growth, hold=1.0)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=5, values=3),
)


def predicted_onset(p: CollapsedState, *, other: bool = False) -> float:
    """gain at which the least noisy mode starts to grow: c times the onset in gamma"""
    onset = theory.collapse_onset(p.lowest, p.dim, eps=p.eps, centred=p.centred != other, of=p.expansion)
    return float(p.c * onset)


def gain_axis(p: CollapsedState) -> np.ndarray:
    """.52 to 2 times the onset, 11 values of equal ratio"""
    return predicted_onset(p) * np.geomspace(0.52, 2.0, 11)


ONSET_EXAMPLES = (
    CollapsedState(modes=2, lowest=0.3),
    CollapsedState(modes=2, lowest=0.3, momentum=0.0, centred=True),
    CollapsedState(modes=2, lowest=0.3, momentum=0.99, expansion="mean"),
    CollapsedState(modes=2, lowest=0.1, eps=0.5, step=1.0),
)

COLLAPSE_ONSET = Law(
    id="simdino/collapse-onset",
    source=Source(DERIVED),
    statement="""
    The collapsed state of the unit-norm affine encoder becomes unstable along a mode of noise fraction nu at
    gamma kappa = nu, whatever learning rate and momentum: kappa = c^2/(1+c) (uncentred), c (centred), half of that if
    the rate is taken of the mean of student and teacher features. Measured is the growth of the least noisy mode along
    gain = gamma c. Only the first threshold is exact for the final state: saturation couples the modes.
    """,
    params=CollapsedState,
    predict=predicted_onset,
    measure=mode_growth,
    claim=Crossover(of="log", along="gain", level=0.0, falling=False, over="each", axis=gain_axis, resolve=0.02),
    controls={
        "covariance for second moment": but(predict=partial(predicted_onset, other=True)),
        "no stop-gradient": but(measure=partial(mode_growth, leak=1.0)),
        "eps for eps^2": but(measure=partial(mode_growth, power=1.0)),
    },
    examples=ONSET_EXAMPLES,
    draws=Draws(shapes=0),
)


def predicted_unstable(p: CollapsedState):
    return p.nu < sum(p.push())


COLLAPSE_SELECTS = Law(
    id="simdino/collapse-selects",
    source=Source(DERIVED),
    statement="""
    The rate selects modes by their noise only if gamma kappa lies between the noise fractions of signal and noise: the
    collapsed state is unstable along exactly the modes with nu < gamma kappa. Where gamma kappa > 1, as with the public
    single-process defaults (gamma = (d+N)/(dN), eps^2 = .5), it is unstable along pure noise too.
    """,
    params=CollapsedState,
    predict=predicted_unstable,
    measure=mode_growth,
    claim=Classification(of="grows", distance=lambda p: nearest_onset(p), joint=True),
    controls={
        "no stop-gradient": but(measure=partial(mode_growth, leak=1.0)),
        "eps for eps^2": but(measure=partial(mode_growth, power=1.0)),
    },
    examples=tuple(CollapsedState(gain=x, momentum=m) for m in (0.0, 0.9) for x in (0.09, 0.3, 0.48, 0.52, 0.9, 1.3)),
    draws=Draws(shapes=3, values=3),
)


def nearest_onset(p: CollapsedState) -> float:
    """Relative distance of the push from the nearest noise fraction, negative below it."""
    gaps = sum(p.push()) / p.nu - 1
    return float(gaps[np.argmin(np.abs(gaps))])
