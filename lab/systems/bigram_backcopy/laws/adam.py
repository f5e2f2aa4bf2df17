"""Adam on an exponentially falling loss: linear growth at a predicted speed."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, Params
from lab.systems.bigram_backcopy import theory
from lab.systems.bigram_backcopy.laws.sink import DERIVED


class Adam(Params):
    """Adam of rate `eta`, decays b1 and b2, eps = 0, on the loss e^-y from y = 0."""

    eta: Annotated[float, Ge(1e-4), Le(0.05), LogScale()] = 1e-3
    b1: Annotated[float, Ge(0.0), Le(0.95)] = 0.9
    b2: Annotated[float, Ge(0.9), Le(0.999)] = 0.99

    @model_validator(mode="after")
    def _one_speed(self) -> Self:
        if self.b1**2 > self.b2 - 0.02:
            raise ValueError(f"b1={self.b1}, b2={self.b2}: needs b1^2 < b2 (by 0.02); lower b1 or raise b2")
        return self


WINDOW = 2000


def relaxation(p: Adam) -> float:
    """Steps in which the memory of the second moment decays by e, at the speed itself: 1/(-log b2 - 2 s)."""
    return 1 / (-np.log(p.b2) - 2 * theory.adam_speed(p.eta, p.b1, p.b2))


@measurement
def linear(p: Adam, stream, *, eps: float = 0.0, descent: bool = False):
    """Mean growth of y per step after 40 relaxation times. Gradients are scaled by e^y_0 now and then: the update does
    not change, nothing underflows. `eps` is Adam's, `descent` plain gradient descent."""
    steps = int(40 * relaxation(p)) + WINDOW
    y, first, second, log_scale, start = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(1, steps + 1):
        g, floor = -np.exp(-(y - log_scale)), eps * np.exp(log_scale) if eps else 0.0
        first, second = p.b1 * first + (1 - p.b1) * g, p.b2 * second + (1 - p.b2) * g * g
        update = first / (1 - p.b1**k) / (np.sqrt(second / (1 - p.b2**k)) + floor)
        y += p.eta * np.exp(-y) if descent else -p.eta * update
        if k % 200 == 0:  # gradients in units of e^-y: both moments are rescaled alike
            shift = y - log_scale
            first, second, log_scale = first * np.exp(shift), second * np.exp(2 * shift), y
        if k == steps - WINDOW:
            start = y
    return {"speed": (y - start) / WINDOW}


def memory(p: Adam) -> float:
    """e^-40 of the start is left; y rounds to an epsilon of itself in each of the steps"""
    steps = 40 * relaxation(p) + WINDOW
    return 1e-12 * p.eta + 4 * np.finfo(float).eps * steps * (1 + steps * p.eta) / WINDOW


ADAM_SPEED = Law(
    id="bigram_backcopy/adam-linear-speed",
    source=Source(DERIVED),
    statement="""
    Adam with eps = 0 on the loss e^-y, b1² < b2: y grows linearly, at the speed s per step that solves
    s = eta (1-b1)/(1 - b1 e^s) sqrt((1 - b2 e^(2s))/(1-b2)), the unique root in (0, -log(b2)/2). Gradient flow gives
    log t.
    """,
    params=Adam,
    predict=lambda p: theory.adam_speed(p.eta, p.b1, p.b2),
    measure=linear,
    claim=Equality(of="speed", finite_size=memory, resolve=1e-3),
    controls={
        "the learning rate taken for the speed": but(predict=lambda p: p.eta),
        "eps that matters": but(measure=partial(linear, eps=1e-3)),
        "gradient descent": but(measure=partial(linear, descent=True)),
    },
    examples=(Adam(), Adam(eta=0.03), Adam(b1=0.0, b2=0.999)),
    draws=Draws(shapes=1, values=3),
)
