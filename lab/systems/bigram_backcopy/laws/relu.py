"""ReLU attention weights: the sink logit does not grow, the head switches itself off exponentially fast."""

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
from lab.systems.bigram_backcopy.laws.sink import DERIVED, EPSILON, PAPER, Heads, contexts, each_query


class ReluHeads(Heads):
    """As `Heads`; `start` is the sink logit alpha, and `heard` the first weight kappa of all other tokens."""

    heard: Annotated[float, Ge(0.02), Le(0.5)] = 0.1


X = np.linspace(4, 24, 21)
EARLY = np.geomspace(1e-3, 4, 30, endpoint=False)


def rates(data) -> np.ndarray:
    """pi sigma² of every query."""
    return np.array([theory.relu_rate(P, pi, B) for P, pi, B, _ in each_query(data)])


@measurement
def switched_off(p: ReluHeads, data, stream, *, uneven: float = 0.0, softmax: bool = False):
    """Speed -d log kappa/dt of every query at its t = x/(pi sigma²), in units of the least pi sigma²; 4 t R/Q along t.

    Queries do not see each other and run one by one. `softmax`: the speed of 1 - attention on the sink instead.
    """
    c, beta, own = Contexts(**data), uneven * np.eye(p.vocabulary)[0], rates(data)
    common = np.r_[EARLY, X] / own.min()
    speed, risk = np.zeros((X.size, p.queries)), np.zeros(common.size)
    for v in range(p.queries):
        one = Contexts(*(part[v : v + 1] for part in c))
        seen = common[common < 60 / own[v]]  # later its risk is below e^-120
        times, back = np.unique(np.r_[seen, X / own[v]], return_inverse=True)
        values, alpha = np.broadcast_to(beta, (back.size, p.vocabulary)), np.full(1, abs(p.start) + 0.5)
        if softmax:
            logits = dynamics.frozen_value_flow(one, alpha, beta, times)[back]
            drift = -bigram_head.gradients(logits, values, one)[0] * bigram_head.sink_weights(logits, one)[..., 0]
            speed[:, v] = drift[seen.size :, 0] / own.min()
            continue
        atol = 1e-12 if uneven else 1e-30  # kappa reaches 0 only where there is a value: no relative precision there
        run = dynamics.relu_flow(one, alpha, np.full(1, p.heard), beta, times, frozen=True, atol=atol)
        logits, kappa = run.alpha[back], np.maximum(run.other[back], 1e-300)
        by_kappa = bigram_head.relu_gradients(logits, kappa, values, one)[1]
        speed[:, v] = (by_kappa / kappa)[seen.size :, 0] / own.min()
        risk[: seen.size] += c.shares[v] * bigram_head.relu_divergences(logits, kappa, values, one)[: seen.size, 0]
    return {"x": X, "speed": speed, "t": common, "curve": 4 * common * risk / p.queries}


def predicted_speed(p: ReluHeads, data, *, weighted: bool = True) -> np.ndarray:
    """pi sigma² of every query in units of the least, along the axis."""
    rate = theory.relu_rate(data["probabilities"], data["shares"] if weighted else 1.0, data["values"][:, 0])
    return np.broadcast_to(rate / rates(data).min(), (X.size, p.queries))


def speed_units(p) -> float:
    """solver: 1e-9 a step, fewer than 1000 steps; the speed depends on kappa through its small correction only"""
    return 1e-6 / EPSILON


RELU_NO_SINK = Law(
    id="bigram_backcopy/relu-no-sink",
    source=Source(PAPER, f"claim that ReLU attention removes the sink; rates {DERIVED.split(';')[0]}"),
    statement="""
    Weights max(alpha, 0) on the first token and max(kappa, 0) on the others, no normalisation, value of the first token
    proportional to the ones. alpha does not move, and

        d kappa/dt = -pi [K'(kappa) - K'(0)],   so   -d log kappa/dt -> pi sigma²:

    the head switches itself off exponentially fast, the risk falls at twice the least of these rates, and nothing grows
    like log t. (K(s) = log E_p exp(s B), sigma² = Var_p(B).)
    """,
    params=ReluHeads,
    situation=contexts,
    predict=predicted_speed,
    measure=switched_off,
    claim=Limit(of="speed", along="x", order=lambda x: np.exp(-x), rounding=speed_units, resolve=1e-3),
    controls={
        "weights of queries ignored": but(predict=partial(predicted_speed, weighted=False)),
        "a value of the first token": but(measure=partial(switched_off, uneven=0.3)),
        "softmax weights": but(measure=partial(switched_off, softmax=True)),
    },
    examples=(ReluHeads(), ReluHeads(queries=1, vocabulary=3, length=4)),
    draws=Draws(shapes=2, values=2),
)


class ReluJoint(Params):
    """ReLU weights with random contexts, everything trained from random starts of size `size`."""

    queries: Annotated[int, Ge(1), Le(5)] = 3
    vocabulary: Annotated[int, Ge(3), Le(8)] = 5
    samples: Annotated[int, Ge(1), Le(4)] = 3
    length: Annotated[int, Ge(4), Le(24)] = 8
    size: Annotated[float, Ge(0.1), Le(2.0)] = 1.0


@measurement
def balanced(p: ReluJoint, stream, *, softmax: bool = False):
    """sum alpha² over positive logits minus |beta|² at t = 0.01 ... 100, less its start; `softmax`: the other head."""
    rng = stream.numpy("relu")
    c = random_contexts(rng, queries=p.queries, vocabulary=p.vocabulary, length=p.length, samples=p.samples)
    alpha, beta = (p.size * rng.standard_normal(n) for n in (p.queries, p.vocabulary))
    t = np.geomspace(1e-2, 1e2, 9)
    if softmax:
        run = dynamics.joint_flow(c, alpha, beta, t)
    else:
        run = dynamics.relu_flow(c, alpha, np.full(p.queries, 0.5), beta, t)
    change = np.sum(np.maximum(run.alpha, 0) ** 2, axis=1) - np.sum(run.beta**2, axis=1)
    return {"drift": change - np.sum(np.maximum(alpha, 0) ** 2) + np.sum(beta**2)}


def relu_solver_error(p: ReluJoint) -> float:
    """fewer than 3000 steps, each off by 1e-9 of its variable; the quantity is a sum of squares of Q + V of them, each
    below (3 size)², its relative error twice that of the variable"""
    return 3000 * 1e-9 * 2 * 9 * p.size**2 * (p.queries + p.vocabulary)


RELU_CONSERVATION = Law(
    id="bigram_backcopy/relu-conservation",
    source=Source(DERIVED),
    statement="""
    ReLU weights, sink logits and value trained together on any contexts: sum_{alpha_v > 0} alpha_v² - |beta|² is
    conserved by the gradient flow (heads with alpha_v <= 0 do not move; one that falls to 0 stays there). Sinks are
    bounded if the value is.
    """,
    params=ReluJoint,
    predict=lambda p: 0.0,
    measure=balanced,
    claim=Equality(of="drift", finite_size=relu_solver_error, scale=lambda p: p.size**2, resolve=0.01),
    controls={"softmax weights": but(measure=partial(balanced, softmax=True))},
    examples=(ReluJoint(), ReluJoint(queries=1, vocabulary=3, samples=1), ReluJoint(size=2.0)),
    draws=Draws(shapes=2, values=2),
)
