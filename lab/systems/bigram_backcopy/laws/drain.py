"""Frozen sink logits: the value of the first token drains, component by component, at a known rate."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality, Limit
from lab.data.bigram_contexts import Contexts, random_contexts
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import bigram_head
from lab.params import Ge, Le, Params
from lab.systems.bigram_backcopy import dynamics, theory
from lab.systems.bigram_backcopy.laws.sink import DERIVED, EPSILON, PAPER


class Drained(Params):
    """One shared context and a common frozen sink logit `alpha`; tokens fall into `blocks` that no query bridges, and
    `unheard` more that no query can emit. The value starts with standard deviation `size`."""

    queries: Annotated[int, Ge(1), Le(3)] = 2
    vocabulary: Annotated[int, Ge(2), Le(5)] = 4
    blocks: Annotated[int, Ge(1), Le(3)] = 1
    unheard: Annotated[int, Ge(0), Le(2)] = 0
    length: Annotated[int, Ge(4), Le(24)] = 8
    alpha: Annotated[float, Ge(-1.0), Le(4.0)] = 1.0
    size: Annotated[float, Ge(0.1), Le(2.0)] = 1.0


def blocked(p: Drained, stream) -> dict[str, np.ndarray]:
    """`queries` laws on each block of `vocabulary` tokens; even enough that the slowest direction is not much
    slower."""
    rng = stream.numpy("blocks")
    V, Q = p.vocabulary * p.blocks + p.unheard, p.queries * p.blocks
    c = random_contexts(rng, queries=Q, vocabulary=V, length=p.length, shared=True)
    P = np.zeros((Q, V))
    for k in range(p.blocks):
        rows = rng.dirichlet(np.full(p.vocabulary, 3.0), size=p.queries)
        P[k * p.queries : (k + 1) * p.queries, k * p.vocabulary : (k + 1) * p.vocabulary] = rows
    shares = np.maximum(c.shares, 0.1)
    return {**c._replace(probabilities=P, shares=shares)._asdict(), "beta": p.size * rng.standard_normal(V)}


def slow_rate(p: Drained, data) -> float:
    """Least rate over the blocks, in plain words: smallest non-zero eigenvalue of sum pi C, times c²."""
    P, pi = data["probabilities"], data["shares"]
    values = np.linalg.eigvalsh(np.diag(pi @ P) - (P * pi[:, None]).T @ P)
    return float(values[p.blocks + p.unheard] / (1 + p.length * np.exp(-p.alpha)) ** 2)


X = np.linspace(4.0, 12.0, 17)


@measurement
def drained(p: Drained, data, stream, *, uneven: float = 0.0):
    """Value at t = 60/rate; relative speed -d log|R|/dt/2 of the risk along t = x/rate, x from 4 to 12, in units of the
    rate. `uneven` spreads the sink logits."""
    c, rate = Contexts(**{name: data[name] for name in Contexts._fields}), slow_rate(p, data)
    alpha = p.alpha + uneven * np.arange(len(c.shares))
    beta = dynamics.value_flow(c, alpha, data["beta"], np.r_[X, 60.0] / rate, atol=1e-13, rtol=1e-11)
    risks = bigram_head.risk(np.broadcast_to(alpha, (X.size, alpha.size)), beta[:-1], c)
    slope = bigram_head.gradients(np.broadcast_to(alpha, (X.size, alpha.size)), beta[:-1], c)[1]
    return {"x": X, "beta": beta[-1], "speed": np.sum(slope**2, axis=1) / (2 * risks) / rate}


def limit(p: Drained, data, *, globally: bool = False) -> np.ndarray:
    """By components; `globally`: one mean for all tokens."""
    B, beta = data["values"][0, 0], data["beta"]
    if globally:
        kept = np.exp(-p.alpha) * B
        return np.full(B.size, (beta + kept).mean()) - kept
    return theory.drained_value(data["probabilities"], p.alpha, B, beta)


def solver_error(p: Drained, data) -> float:
    """e^-60 of the start is left; a solver step is off by 1e-11 of the largest entry, and fewer than 5000 add up in the
    conserved sums, the other directions contract"""
    size = np.abs(data["beta"]).max() + np.exp(-p.alpha) * data["values"].max()
    return 5000 * 1e-11 * 3 * float(size)


VALUE_DRAIN = Law(
    id="bigram_backcopy/value-drain-limit",
    source=Source(PAPER, "gradient flow over the value alone; components derived here"),
    statement="""
    One shared context, common frozen sink logit alpha. The flow of the value conserves its sum on every connected
    component of tokens (tokens that one query can emit are connected) and ends at

        beta = c_K - e^-alpha B on the component K,   c_K = mean_K(beta(0) + e^-alpha B);

    tokens that no query can emit keep their value. So |beta_c| = e^-alpha |B_c|: large sink logits drain the value.
    """,
    params=Drained,
    situation=blocked,
    predict=limit,
    measure=drained,
    claim=Equality(of="beta", finite_size=solver_error, scale=1.0, resolve=0.01),
    controls={
        "one mean for all components": but(predict=partial(limit, globally=True)),
        "sink logits that differ": but(measure=partial(drained, uneven=0.5)),
    },
    examples=(Drained(), Drained(blocks=2), Drained(blocks=3, unheard=2, queries=1), Drained(alpha=4.0)),
    draws=Draws(shapes=2, values=2),
)

VALUE_DRAIN_PRINTED = VALUE_DRAIN.printed(
    "bigram_backcopy/value-drain-limit-printed",
    source=Source(PAPER, "gradient flow over the value alone, as recalled"),
    statement="""
    As recalled: beta(t) -> c - e^-alpha B with one constant c, whatever the bigrams. True if every token can be reached
    from every other through queries that emit both. If the supports split the tokens, each component keeps a mean of
    its own; tokens that are never emitted keep their value.
    """,
    predict=partial(limit, globally=True),
    at=(Drained(blocks=2), Drained(unheard=1)),
)


def predicted_speed(p: Drained, data, *, power: int = 2) -> np.ndarray:
    """lambda_2 c² over the unit of time, along the axis; `power` of c."""
    rate = theory.drain_rate(data["probabilities"], data["shares"], p.alpha, p.length)
    c = 1 / (1 + p.length * np.exp(-p.alpha))
    return np.full(X.size, rate * c ** (power - 2) / slow_rate(p, data))


def order_second(x: np.ndarray) -> np.ndarray:
    """the slowest direction enters its own speed at relative order e^-x (the curvature of the risk)"""
    return np.exp(-x)


def speed_units(p) -> float:
    """solver: 1e-11 a step relative to the value, of which e^-12 is left at the end, with up to 100 steps that count"""
    return 100 * 1e-11 * np.exp(12) / EPSILON


VALUE_DRAIN_RATE = Law(
    id="bigram_backcopy/value-drain-rate",
    source=Source(DERIVED),
    statement="""
    In the setting of bigram_backcopy/value-drain-limit with one component, the value approaches its limit like
    exp(-lambda t), lambda = c² lambda_2(sum_v pi_v C_v), c = e^alpha/(e^alpha + W), C = diag p - p p^T, lambda_2 the
    second-smallest eigenvalue. Measured is |dR/dbeta|²/(2R), which tends to lambda.
    """,
    params=Drained,
    situation=blocked,
    predict=predicted_speed,
    measure=drained,
    claim=Limit(of="speed", along="x", order=order_second, resolve=0.2, rounding=speed_units),
    controls={"c for c²": but(predict=partial(predicted_speed, power=1))},
    examples=(Drained(queries=3, vocabulary=3), Drained(queries=1, vocabulary=2), Drained(alpha=4.0)),
    draws=Draws(shapes=0),
)
