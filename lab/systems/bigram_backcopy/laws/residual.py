"""The residual state of the first token under gradient flow: exact balance, growth like the root of log t."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Equality, Limit
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, Params
from lab.systems.bigram_backcopy import theory
from lab.systems.bigram_backcopy.laws.sink import DERIVED, EPSILON


class Residual(Params):
    """State e + m d, cosine c of e and d, key of scale y, loss f(y nu); start (m, y) with m + c > 0."""

    c: Annotated[float, Ge(-0.8), Le(0.8)] = 0.2
    m: Annotated[float, Ge(0.9), Le(2.0)] = 1.0
    y: Annotated[float, Ge(0.1), Le(3.0)] = 1.0
    loss: Literal["exponential", "logistic"] = "exponential"


DAYS = np.geomspace(0.1, 1e12, 14)


def run(p: Residual, log_times: np.ndarray, both: bool = True, adam: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(m, y) at the given log(1 + t): the flow in that clock with the loss's slope in logarithms."""
    from scipy.integrate import solve_ivp

    def right(u, state):
        m, y = state
        norm = np.sqrt(m * m + 2 * m * p.c + 1)
        nu, slope = (m + p.c) / norm, (1 - p.c**2) / norm**3  # slope = d nu/d m
        z = y * nu
        speed = np.exp(u - z) if p.loss == "exponential" else np.exp(u) / (1 + np.exp(z))  # -f'(z) dt/du
        change = np.array([speed * y * slope * both, speed * nu])
        return np.sign(change) * (np.abs(change) > 0) if adam else change

    found = solve_ivp(right, (0.0, log_times[-1]), [p.m, p.y], method="Radau", t_eval=log_times, rtol=1e-10, atol=1e-12)
    return found.y[0], found.y[1]


@measurement
def grown(p: Residual, stream, *, sign: bool = False):
    """m + c along the flow, and the y there, from t = .1 to 1e12; `sign` follows the signs of the gradient."""
    m, y = run(p, np.log1p(DAYS), adam=sign)
    return {"u": m + p.c, "y": y, "balance": y**2 - (m + p.c) ** 2 - (m + p.c) ** 4 / (2 * (1 - p.c**2))}


def solver_error(p: Residual) -> float:
    """2000 solver steps at most, each off by 1e-10 of variables below 40; the balance weighs them by its gradient,
    below 2 y + 2 u + 2 u³/(1-c²), with u² < 8"""
    return 2000 * 1e-10 * 40 * (2 * 40 + 2 * 3 + 2 * 8**1.5 / (1 - p.c**2))


RESIDUAL_BALANCE = Law(
    id="bigram_backcopy/residual-balance",
    source=Source(DERIVED),
    statement="""
    State e + m d (unit e and d, cosine c), read through normalisation by a key of scale y: logit y nu,
    nu = (m + c)/sqrt(m² + 2mc + 1). For every decreasing loss f(y nu) the gradient flow conserves
    y² - u² - u⁴/(2(1-c²)), u = m + c > 0: here e^-z and log(1 + e^-z), from t = .1 to 1e12.
    """,
    params=Residual,
    predict=lambda p: float(theory.balance(p.y, p.m + p.c, p.c)),
    measure=grown,
    claim=Equality(of="balance", finite_size=solver_error, scale=1.0, resolve=0.01),
    controls={
        "signs of the gradient": but(measure=partial(grown, sign=True)),
        "no fourth power": but(predict=lambda p: p.y**2 - (p.m + p.c) ** 2),
    },
    examples=(Residual(), Residual(c=-0.4, loss="logistic"), Residual(c=0.5)),
    draws=Draws(shapes=2, values=3),
)


class Growing(Residual):
    """As `Residual`, exponential loss."""

    loss: Literal["exponential"] = "exponential"


CLOCK = np.geomspace(20.0, 600.0, 12)
"""log t: the correction falls like 1/log t only."""


@measurement
def long_run(p: Growing, stream, *, frozen: bool = False):
    """y - log t and (m + c)/sqrt(log t) at log t from 20 to 600; `frozen`: the state does not move."""
    m, y = run(p, CLOCK, both=not frozen)
    return {"log_t": CLOCK, "offset": y - CLOCK, "growth": (m + p.c) / np.sqrt(CLOCK)}


def units(p) -> float:
    """2000 solver steps at most of a relative 1e-10; y - log t is a thousandth of y at the end"""
    return 2000 * 1e-10 * 1e3 / EPSILON


def order_root(log_t: np.ndarray) -> np.ndarray:
    """next term, (log t)^-1/2: nu falls short of one by (1-c²)/(2 m²), m itself by a term of order (log t)^-1/2"""
    return log_t**-0.5


RESIDUAL_GROWTH = Law(
    id="bigram_backcopy/residual-growth",
    source=Source(DERIVED),
    statement="""
    In the setting of bigram_backcopy/residual-balance with f = e^-z: (m + c)/sqrt(log t) -> (2(1-c²))^(1/4). Under
    gradient flow the residual norm of the first token grows like sqrt(log t) only.
    """,
    params=Growing,
    predict=lambda p: (2 * (1 - p.c**2)) ** 0.25,
    measure=long_run,
    claim=Limit(of="growth", along="log_t", order=1.0, rounding=units, resolve=0.02),
    controls={"a frozen state": but(measure=partial(long_run, frozen=True))},
    examples=(Growing(), Growing(c=-0.4), Growing(c=0.5)),
    draws=Draws(shapes=0),
)

RESIDUAL_SCALE = Law(
    id="bigram_backcopy/residual-scale",
    source=Source(DERIVED),
    statement="""
    In the setting of bigram_backcopy/residual-growth: y - log t -> sqrt(1-c²)/(2 sqrt 2).
    """,
    params=Growing,
    predict=lambda p: theory.scale_offset(p.c),
    measure=long_run,
    claim=Limit(of="offset", along="log_t", order=1.0, as_="difference", scale=0.3, rounding=units, resolve=0.05),
    controls={
        "a frozen state": but(measure=partial(long_run, frozen=True)),
        "no offset": but(predict=lambda p: 0.0),
    },
    examples=(Growing(), Growing(c=-0.4), Growing(c=0.5)),
    draws=Draws(shapes=0),
)
