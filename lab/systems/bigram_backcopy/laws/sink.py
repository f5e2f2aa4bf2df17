"""Sinks grow half-logarithmically while the value of the first token adds nothing: exact time, second order, slope."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality, Limit
from lab.data.bigram_contexts import Contexts, random_contexts
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import bigram_head
from lab.params import Ge, Le, LogScale, Params
from lab.systems.bigram_backcopy import dynamics, theory

PAPER = "arXiv:2410.13835"
DERIVED = "derived for this laboratory; not found in arXiv:2410.13835"
PHASES_OF_TRAINING = "gradient flow over the sink logits alone"
EPSILON = float(np.finfo(float).eps)


class Heads(Params):
    """`queries` rows over `vocabulary` tokens with Dirichlet laws and weights, contexts of `length` tokens.

    `concentration` is that of the Dirichlet laws: small means uneven. Every query has a single context of its own: with
    a frozen value, queries do not see each other.
    """

    queries: Annotated[int, Ge(1), Le(6)] = 4
    vocabulary: Annotated[int, Ge(3), Le(10)] = 6
    length: Annotated[int, Ge(4), Le(48)] = 12
    concentration: Annotated[float, Ge(0.7), Le(8.0), LogScale()] = 2.0
    start: Annotated[float, Ge(-2.0), Le(2.0)] = 0.0


def contexts(p: Heads, stream) -> dict[str, np.ndarray]:
    """One random context for each query; its counts include the query, so that some token is heard."""
    rng = stream.numpy("contexts")
    while True:
        drawn = random_contexts(
            rng, queries=p.queries, vocabulary=p.vocabulary, length=p.length, concentration=p.concentration
        )
        if (theory.cumulants(drawn.probabilities, drawn.values[:, 0])[1] > 1e-4 * p.length**2).all():
            return drawn._asdict()  # sigma² > 0, the law's assumption, with room


def constant_contexts(p: Heads, stream) -> dict[str, np.ndarray]:
    """Equal counts and equal values of all tokens: B is constant, though positive."""
    drawn = Contexts(**contexts(p, stream))
    return drawn._replace(values=np.full_like(drawn.values, p.length / p.vocabulary))._asdict()


def unit_time(data) -> float:
    """Time at which 2 pi sigma² t = W² for the slowest query."""
    p, B, W = data["probabilities"], data["values"][:, 0], data["lengths"][:, 0]
    return float(np.max(W**2 / (2 * data["shares"] * theory.cumulants(p, B)[1])))


X = np.geomspace(1e4, 1e8, 17)
EARLY = np.geomspace(1e-2, 1e8, 21)


@measurement
def grown(p: Heads, data, stream, *, early: bool = False, uneven: float = 0.0, unit: float = 0.0):
    """Sink logits along the flow at t = x `unit_time` (or x `unit`), their slopes, and how far they lag behind.

    `lag` is sqrt T (log(T)/2 - alpha), T = 2 pi sigma² t; contexts go along. `uneven` puts a value on one token
    instead of none.
    """
    c, x = Contexts(**data), EARLY if early else X
    P, B = c.probabilities, c.values[:, 0]
    t = x * (unit or unit_time(data))
    beta = uneven * np.eye(p.vocabulary)[0]
    alpha = dynamics.frozen_value_flow(c, np.full(p.queries, p.start), beta, t)
    T = 2 * c.shares * t[:, None] * np.sum(P * (B - np.sum(P * B, axis=1, keepdims=True)) ** 2, axis=1)
    slope = -t[:, None] * bigram_head.gradients(alpha, np.broadcast_to(beta, (t.size, p.vocabulary)), c)[0]
    with np.errstate(divide="ignore"):
        lag = np.sqrt(T) * (np.log(T) / 2 - alpha) if unit == 0 else alpha
    return {"x": x, "t": t, "alpha": alpha, "lag": lag, "slope": slope, **data}


def each_query(data):
    """(p, pi, B, W) of one query after the other."""
    return zip(data["probabilities"], data["shares"], data["values"][:, 0], data["lengths"][:, 0], strict=True)


def exact_logits(p: Heads, data, *, weighted: bool = True) -> np.ndarray:
    """By quadrature, (T, Q); not `weighted`: all queries as if of weight one."""
    t = EARLY * unit_time(data)
    return np.stack([theory.sink_logit(t, P, pi if weighted else 1.0, B, W, start=p.start)
                     for P, pi, B, W in each_query(data)], axis=1)  # fmt: skip


def solver_error(p: Heads, data):
    """5000 solver steps at most, each off by 1e-12 |alpha| + 1e-14 in root mean square over queries, hence sqrt(Q)
    times that in one; a flow of one variable carries an error on in proportion to its speed, which exceeds the speed
    at the start by at most the factor max f / f(start)"""
    grid = np.linspace(p.start, 25.0, 200)
    worst = max(np.max(f := theory.sink_rate(grid, P, pi, B, W)) / f[0] for P, pi, B, W in each_query(data))
    return dynamics.STEPS * np.sqrt(p.queries) * 1e-12 * 25 * worst


SINK_TIME = Law(
    id="bigram_backcopy/sink-time",
    source=Source(DERIVED),
    statement="""
    Value of the first token frozen at a multiple of the ones. Each sink logit then has a flow of its own, with
    s = 1/(e^alpha + W) and K(s) = log E_p exp(s B):

        d alpha/dt = pi e^alpha/(e^alpha + W)² [K'(s) - K'(0)] >= 0,   t(alpha) = integral of d alpha/(d alpha/dt).

    Measured is the gradient flow of the risk of all queries, from onset to the asymptotic regime.
    """,
    params=Heads,
    situation=contexts,
    predict=exact_logits,
    measure=partial(grown, early=True),
    claim=Equality(of="alpha", rounding=None, finite_size=solver_error, scale=1.0, resolve=1e-3),
    controls={
        "weights of queries ignored": but(predict=partial(exact_logits, weighted=False)),
        "a value of the first token": but(measure=partial(grown, early=True, uneven=0.05)),
    },
    examples=(Heads(), Heads(queries=1, vocabulary=3, length=4), Heads(length=48, start=-2.0)),
    draws=Draws(shapes=3, values=2),
)


def order_log(x: np.ndarray) -> np.ndarray:
    """next term of the expansion, log T/sqrt T"""
    return np.log(x) / np.sqrt(x)


def predicted_lag(p: Heads, data, *, third: bool = True, share: float = 1.0) -> np.ndarray:
    """c_1 = 3W - kappa_3/(2 sigma²), along the axis; `third`: with kappa_3, `share` multiplies 3W."""
    P, B, W = data["probabilities"], data["values"][:, 0], data["lengths"][:, 0]
    first = theory.half_log_coefficients(P, B, W)[0]
    value = (first - 3 * W) * third + share * 3 * W
    return np.broadcast_to(value, (X.size, p.queries))


def solver_units(p: Heads) -> float:
    """the solver's error of the logits at late times, where the flow contracts: below 1e-11 (compared with the exact
    quadrature in the law of the exact time), times sqrt T <= 1e5 W at the slowest query and relative to 3W - k >= W:
    1e-6; queries up to 100 times as fast have ten times this"""
    return 1e-5 / EPSILON


SINK_HALF_LOG = Law(
    id="bigram_backcopy/sink-half-log",
    source=Source(PAPER, f"{PHASES_OF_TRAINING}; second order {DERIVED.split(';')[0]}"),
    statement="""
    Value of the first token frozen at a multiple of the ones, sigma² = Var_p(B) > 0, kappa_3 the third cumulant of B
    under p, T = 2 pi sigma² t:

        alpha = (1/2) log T - (3W - kappa_3/(2 sigma²))/sqrt T + O(log T/T).

    Judged is the limit of sqrt T (log(T)/2 - alpha), which diverges unless slope 1/2 and offset are right too. Sink
    logits of two queries differ for ever by (1/2) log of the ratio of their pi sigma².
    """,
    params=Heads,
    situation=contexts,
    predict=predicted_lag,
    measure=grown,
    claim=Limit(of="lag", along="x", order=order_log, rounding=solver_units, resolve=0.01),
    controls={
        "no third cumulant": but(predict=partial(predicted_lag, third=False)),
        "2W for 3W": but(predict=partial(predicted_lag, share=2 / 3)),
        "a value of the first token": but(measure=partial(grown, uneven=0.05)),
    },
    examples=(Heads(), Heads(queries=1, vocabulary=3, length=4), Heads(length=48)),
    draws=Draws(shapes=3, values=2),
)

SINK_SLOPE = Law(
    id="bigram_backcopy/sink-slope",
    source=Source(PAPER, PHASES_OF_TRAINING),
    statement="""
    Value of the first token frozen at a multiple of the ones, Var_p(B) > 0: t d alpha/dt -> 1/2, so that alpha grows
    like (1/2) log t whatever the query. The local slope exceeds 1/2 by (3W - kappa_3/(2 sigma²))/(2 sqrt T).
    """,
    params=Heads,
    situation=contexts,
    predict=lambda p: 0.5,
    measure=grown,
    claim=Limit(of="slope", along="x", order=0.5, rounding=solver_units, resolve=0.01),
    controls={
        "slope 1": but(predict=lambda p: 1.0),
        "a value of the first token": but(measure=partial(grown, uneven=1.0)),
    },
    examples=(Heads(), Heads(queries=1, vocabulary=3, length=4)),
    draws=Draws(shapes=2, values=2),
)

SINK_SLOPE_PRINTED = SINK_SLOPE.printed(
    "bigram_backcopy/sink-slope-printed",
    source=Source(PAPER, f"{PHASES_OF_TRAINING}, as recalled: xi >= 0, not all zero"),
    statement="""
    As recalled from the published statement: alpha ~ (1/2) log t whenever the values xi of the tokens are non-negative
    and not all zero. That does not suffice. With equal counts and equal values B is proportional to the ones: softmax
    does not see it, the gradient is zero, the sink never moves. What is needed is Var_p(B) > 0, query by query; rows
    of one single token (probability 1) fail it too.
    """,
    situation=constant_contexts,
    measure=partial(grown, unit=1.0),
    at=(Heads(), Heads(queries=1, vocabulary=3)),
)
