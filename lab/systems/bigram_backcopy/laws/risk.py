"""The universal risk |N|/(4t): the same for every bigram matrix, weight, context and context length."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Limit
from lab.data.bigram_contexts import Contexts, random_contexts
from lab.data.bigrams import bigram_dirichlet
from lab.data.sequences import BackcopyTask
from lab.data.sequences import contexts as sampled_contexts
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import bigram_head
from lab.params import Ge, Le, LogScale, Params
from lab.systems.bigram_backcopy import dynamics, theory
from lab.systems.bigram_backcopy.laws.sink import (
    DERIVED,
    EPSILON,
    Heads,
    X,
    constant_contexts,
    contexts,
    order_log,
    unit_time,
)

BEFORE = np.geomspace(1e-5, 1e4, 90, endpoint=False)
"""Times before those that are judged, for figures."""


@measurement
def falling(p: Heads, data, stream, *, uneven: float = 0.0, adam: bool = False, unit: float = 0.0):
    """4 t R/Q along the flow of the sink logits, at t = x `unit_time` (or x `unit`), and its excess over one, times
    the square root of x; `t` and `curve` are the whole history; contexts go along. With `adam` t is rate times
    steps."""
    c, x = Contexts(**data), np.r_[BEFORE, X]
    beta, start, t = uneven * np.eye(p.vocabulary)[0], np.full(p.queries, p.start), x * (unit or unit_time(data))
    if adam:
        records = np.arange(1, x.size + 1) * 20
        t = 0.01 * records
        alpha = dynamics.adam(c, start, beta, rate=0.01, records=records, frozen=True).alpha
    else:
        alpha = dynamics.frozen_value_flow(c, start, beta, t)
    curve = 4 * t * bigram_head.risk(alpha, np.broadcast_to(beta, (t.size, p.vocabulary)), c) / p.queries
    ratio = curve[BEFORE.size :]
    return {"x": X, "ratio": ratio, "excess": (ratio - 1) * np.sqrt(X), "t": t, "curve": curve, **data}


def ratio_units(p: Params) -> float:
    """the risk is exp(-2 alpha) up to constants, alpha known to 1e-9 (solver) or better"""
    return 4e-9 / EPSILON


UNIVERSAL_RISK = Law(
    id="bigram_backcopy/universal-risk",
    source=Source(DERIVED),
    statement="""
    Value of the first token frozen at a multiple of the ones, Q queries with Var_p(B) > 0 (the non-triggers N of the
    task). The excess risk falls universally,

        R(t) = Q/(4t) (1 + O(1/sqrt t)):

    bigram matrix, weights, counts, values and context length drop out.
    """,
    params=Heads,
    situation=contexts,
    predict=lambda p: 1.0,
    measure=falling,
    claim=Limit(of="ratio", along="x", order=0.5, rounding=ratio_units, resolve=0.01),
    controls={
        "1/2 for 1/4": but(predict=lambda p: 2.0),
        "Adam": but(measure=partial(falling, adam=True)),
        "a value of the first token": but(measure=partial(falling, uneven=1.0)),
        "contexts that do not vary": but(situation=constant_contexts, measure=partial(falling, unit=1.0)),
    },
    examples=(Heads(), Heads(queries=1, vocabulary=3, length=4), Heads(length=48, concentration=0.7)),
    draws=Draws(shapes=3, values=2),
)


def predicted_excess(p: Heads, data, *, third: bool = True) -> np.ndarray:
    """C/sqrt(unit time), along the axis; without the third cumulant unless `third`."""
    P, pi, B, W = data["probabilities"], data["shares"], data["values"][:, 0], data["lengths"][:, 0]
    C = theory.universal_correction(P, pi, B, W)
    if not third:
        C = np.mean(4 * W / np.sqrt(2 * pi * theory.cumulants(P, B)[1]))
    return np.full(X.size, C / np.sqrt(unit_time(data)))


def excess_units(p: Heads) -> float:
    """4e-9 in the ratio times sqrt x <= 1e4, relative to an excess of order one (above 1/20 of it)"""
    return 4e-9 * 1e4 * 20 / EPSILON


UNIVERSAL_RISK_CORRECTION = Law(
    id="bigram_backcopy/universal-risk-correction",
    source=Source(DERIVED),
    statement="""
    The first correction to the universal risk at a frozen value proportional to the ones: 4 t R/Q = 1 + C/sqrt t + ...,

        C = (1/Q) sum_v (4 W_v - 2 kappa_3/(3 sigma_v²))/sqrt(2 pi_v sigma_v²).

    Judged is the limit of (4tR/Q - 1) sqrt t.
    """,
    params=Heads,
    situation=contexts,
    predict=predicted_excess,
    measure=falling,
    claim=Limit(of="excess", along="x", order=order_log, rounding=excess_units, resolve=0.02),
    controls={"no third cumulant": but(predict=partial(predicted_excess, third=False))},
    examples=(Heads(), Heads(queries=1, vocabulary=3, length=4), Heads(length=48, concentration=0.7)),
    draws=Draws(shapes=3, values=2),
)


class Joint(Params):
    """`samples` random contexts for every query; sink logits start at 0, the value with entries of size `value`.

    Contexts are drawn, all of `length` tokens; or they are prefixes of sequences of the task up to that length, with as
    many triggers as there are tokens that are not queries.
    """

    contexts: Literal["drawn", "sequences"] = "drawn"
    queries: Annotated[int, Ge(2), Le(5)] = 3
    vocabulary: Annotated[int, Ge(6), Le(8)] = 6
    samples: Annotated[int, Ge(2), Le(20)] = 4
    length: Annotated[int, Ge(6), Le(48)] = 12
    concentration: Annotated[float, Ge(1.0), Le(8.0), LogScale()] = 2.0
    value: Annotated[float, Ge(0.0), Le(0.5)] = 0.3


def several(p: Joint, stream, *, shared: bool = False) -> dict[str, np.ndarray]:
    """Random contexts and a start of the value; `shared`: one context for all queries."""
    rng = stream.numpy("contexts")
    if getattr(p, "contexts", "drawn") == "sequences" and not shared:
        P = bigram_dirichlet(rng, p.vocabulary, p.concentration * p.vocabulary, zipf=0.5, floor=0.01)
        task = BackcopyTask.make(P, p.vocabulary - p.queries)
        xi = rng.uniform(0.2, 1.5, p.vocabulary)
        drawn = sampled_contexts(task, rng, length=p.length, samples=p.samples, values=xi)
    else:
        drawn = random_contexts(
            rng, queries=p.queries, vocabulary=p.vocabulary, length=p.length, concentration=p.concentration,
            samples=1 if shared else p.samples, shared=shared,
        )  # fmt: skip
    return {**drawn._asdict(), "beta": p.value * rng.standard_normal(p.vocabulary)}


def taken_apart(data) -> tuple[Contexts, np.ndarray]:
    """Contexts and start of the value."""
    return Contexts(**{name: data[name] for name in Contexts._fields}), data["beta"]


def joint_unit(c: Contexts) -> float:
    """Time at which 2 pi E[sigma²] t = W² for the slowest query."""
    spread = np.mean(theory.cumulants(c.probabilities[:, None, :], c.values)[1], axis=1)
    return float(np.max(np.mean(c.lengths, axis=1) ** 2 / (2 * c.shares * spread)))


LATE = np.geomspace(1e5, 1e8, 13)
JOINT_BEFORE = np.geomspace(1e-5, 1e5, 100, endpoint=False)


@measurement
def joint_run(p: Joint, data, stream, *, adam: bool = False, ends: float = 0.0):
    """Joint flow of sink logits and value at t = x `joint_unit`: 4tR/Q, offsets alpha - log(2t)/2, and the value's
    centred part times sqrt(2t); `t`, `curve` (4tR/Q) and `sink` (mean attention on the first token) all along.
    With `ends` the flow stands still from that time on: a fixed point can be followed no further."""
    c, beta = taken_apart(data)
    x, start, late = np.r_[JOINT_BEFORE, LATE], np.zeros(p.queries), slice(JOINT_BEFORE.size, None)
    if adam:
        records = np.arange(1, x.size + 1) * 20
        run, t = dynamics.adam(c, start, beta, rate=0.01, records=records), 0.01 * records
    else:
        t = x * joint_unit(c)
        moving, back = np.unique(np.minimum(t, ends or np.inf), return_inverse=True)
        run = dynamics.joint_flow(c, start, beta, moving)
        run = run._replace(alpha=run.alpha[back], beta=run.beta[back])
    drained = run.beta - run.beta.mean(1, keepdims=True)
    half = 0.5 * np.log(2 * t)[:, None]
    curve = 4 * t * bigram_head.risk(run.alpha, run.beta, c) / p.queries
    sink = bigram_head.sink_weights(run.alpha, c).mean((1, 2))
    return {
        "x": LATE, "ratio": curve[late], "offset": (run.alpha - half)[late], "t": t, "curve": curve, "sink": sink,
        "drained": (drained * np.sqrt(2 * t)[:, None])[late],
    }  # fmt: skip


def joint_units(p: Joint) -> float:
    """solver: 1e-9 a step in alpha and, relatively, in beta; the flow contracts, at rates 1 (sinks) and more in log t,
    so at most the steps of the last unit of log t add up, fewer than 100"""
    return 1e-7 / EPSILON


JOINT_EXAMPLES = (
    Joint(), Joint(queries=2, samples=2, length=24), Joint(queries=4, contexts="sequences", samples=8, value=0.0),
)  # fmt: skip

UNIVERSAL_RISK_JOINT = Law(
    id="bigram_backcopy/universal-risk-joint",
    source=Source(DERIVED),
    statement="""
    Sink logits and value trained together, on contexts that differ between queries or samples (so that the scaling
    problem of bigram_backcopy/random-context-joint has a solution): again R(t) ~ Q/(4t), whatever the bigrams,
    weights, contexts and lengths. With one context shared by all queries the risk falls exponentially instead.
    """,
    params=Joint,
    situation=several,
    predict=lambda p: 1.0,
    measure=joint_run,
    claim=Limit(of="ratio", along="x", order=0.5, rounding=joint_units, resolve=0.01),
    controls={
        "1/2 for 1/4": but(predict=lambda p: 2.0),
        "Adam": but(measure=partial(joint_run, adam=True)),
        "one context for all queries": but(
            situation=partial(several, shared=True), measure=partial(joint_run, ends=1e4)
        ),
        "number of samples in place of queries": but(predict=lambda p: p.samples * p.queries),
    },
    examples=JOINT_EXAMPLES,
    draws=Draws(shapes=0),
)
