"""Queries that learn their own logits: sinks and risk as before, a value that drains in part only."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Bound, Limit
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import bigram_head
from lab.params import Ge, Le, LogScale, Params
from lab.systems.bigram_backcopy import dynamics
from lab.systems.bigram_backcopy.laws.risk import joint_unit, several, taken_apart
from lab.systems.bigram_backcopy.laws.sink import DERIVED, EPSILON


class Gauge(Params):
    """As the joint setting with random contexts, every query with V logits of its own, which start at 0."""

    queries: Annotated[int, Ge(2), Le(2)] = 2
    vocabulary: Annotated[int, Ge(3), Le(4)] = 3
    samples: Annotated[int, Ge(3), Le(6)] = 4
    length: Annotated[int, Ge(6), Le(24)] = 12
    concentration: Annotated[float, Ge(1.0), Le(8.0), LogScale()] = 3.0
    value: Annotated[float, Ge(0.2), Le(0.6)] = 0.4


LATE = np.geomspace(1e5, 1e8, 10)


@measurement
def gauged(p: Gauge, data, stream, *, mean: bool = True, fixed: bool = False, own: bool = True):
    """4tR/Q, and alpha - log(2t)/2 less the offset that the last value implies; not `mean`: without taking the mean
    context away. Norm of the centred value at the end over that at the start.

    `fixed` gives every query its mean context in all samples, and the flow stands still from 100 units of time on: it
    has ended, and a fixed point can be followed no further. Not `own`: no logits of the queries' own.
    """
    c, beta = taken_apart(data)
    t, start = LATE * joint_unit(c), np.zeros(p.queries)
    if fixed:
        c = c._replace(values=c.values.mean(1, keepdims=True), lengths=c.lengths.mean(1, keepdims=True))
    moving, back = np.unique(np.minimum(t, 100 * joint_unit(c) if fixed else np.inf), return_inverse=True)
    run = (dynamics.gauge_flow if own else dynamics.joint_flow)(c, start, beta, moving, rtol=1e-8)
    alpha, value, logits = run.alpha[back], run.beta[back], run.other[back] if own else [None] * len(t)
    risk = np.array([bigram_head.risk(a, b, c, bias=o) for a, b, o in zip(alpha, value, logits, strict=True)])
    D = c.values - c.lengths[..., None] * value[-1]
    D = D - D.mean(1, keepdims=True) * mean
    x = D - np.sum(c.probabilities[:, None] * D, axis=-1, keepdims=True)
    spread = np.mean(np.sum(c.probabilities[:, None] * x**2, axis=-1), axis=-1)
    implied = 0.5 * np.log(c.shares * np.maximum(spread, np.finfo(float).tiny))  # fixed contexts have no spread
    left = np.linalg.norm(value[-1] - value[-1].mean()) / np.linalg.norm(beta - beta.mean())
    offset = alpha - 0.5 * np.log(2 * t)[:, None]
    return {"x": LATE, "ratio": 4 * t * risk / p.queries, "gap": offset - implied, "left": left}


def solver_units(p: Gauge) -> float:
    """solver: 1e-8 a step, up to 100 steps that count"""
    return 1e-6 / EPSILON


EXAMPLES = (Gauge(), Gauge(vocabulary=4, samples=6, length=24))

GAUGE_RISK = Law(
    id="bigram_backcopy/mlp-gauge-risk",
    source=Source(DERIVED),
    statement="""
    Every query learns V logits of its own besides sink logits and value, contexts that vary over the samples of every
    query: still R(t) ~ Q/(4t).
    """,
    params=Gauge,
    situation=several,
    predict=lambda p: 1.0,
    measure=gauged,
    claim=Limit(of="ratio", along="x", order=0.5, rounding=solver_units, resolve=0.01),
    controls={
        "contexts that do not vary": but(measure=partial(gauged, fixed=True)),
        "half": but(predict=lambda p: 0.5),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)

GAUGE_SINKS = Law(
    id="bigram_backcopy/mlp-gauge",
    source=Source(DERIVED),
    statement="""
    In the setting of bigram_backcopy/mlp-gauge-risk alpha - log(2t)/2 tends to
    (1/2) log(pi E_s[(D_s - E D)^T C (D_s - E D)]), D_s = B_s - W_s beta_inf, with the limit beta_inf of the value read
    off the run: the query's own logits absorb the mean context. Judged is the difference, against zero.
    """,
    params=Gauge,
    situation=several,
    predict=lambda p: 0.0,
    measure=gauged,
    claim=Limit(of="gap", along="x", order=0.5, as_="difference", scale=1.0, rounding=solver_units, resolve=0.01),
    controls={"the mean context kept": but(measure=partial(gauged, mean=False))},
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)


GAUGE_VALUE = Law(
    id="bigram_backcopy/mlp-gauge-value",
    source=Source(DERIVED),
    statement="""
    In the setting of bigram_backcopy/mlp-gauge-risk the value does not drain: at these examples more than a tenth of
    its centred norm is left for good, while without the logits of their own it would fall like t^-1/2, to below 1e-3.
    """,
    params=Gauge,
    situation=several,
    predict=lambda p: 0.1,
    measure=gauged,
    claim=Bound(of="left", side="lower"),
    controls={
        "no logits of their own": but(measure=partial(gauged, own=False)),
        "nothing drains": but(predict=lambda p: 1.0),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)
