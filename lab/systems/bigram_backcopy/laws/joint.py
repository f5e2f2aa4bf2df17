"""Sink logits and value trained together: mutual reinforcement, conservation, and where shared contexts end."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Bound, Equality, Rate
from lab.data.bigram_contexts import Contexts, random_contexts
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import bigram_head
from lab.params import Ge, Le, LogScale, Params
from lab.systems.bigram_backcopy import dynamics, theory
from lab.systems.bigram_backcopy.laws.sink import DERIVED, PAPER

MANY = Draws(shapes=6, values=6)


class Anywhere(Params):
    """Any point: sink logits and value of standard deviation `size`, random contexts; one step of size `rate`."""

    queries: Annotated[int, Ge(1), Le(6)] = 4
    vocabulary: Annotated[int, Ge(2), Le(10)] = 6
    samples: Annotated[int, Ge(1), Le(5)] = 3
    length: Annotated[int, Ge(2), Le(48)] = 12
    size: Annotated[float, Ge(0.01), Le(3.0), LogScale()] = 1.0
    rate: Annotated[float, Ge(1e-3), Le(1.0), LogScale()] = 0.1


def anywhere(p: Anywhere, stream) -> dict[str, np.ndarray]:
    """Contexts, sink logits and value."""
    rng = stream.numpy("anywhere")
    c = random_contexts(rng, queries=p.queries, vocabulary=p.vocabulary, length=p.length, samples=p.samples)
    draw = {"alpha": p.size * rng.standard_normal(p.queries), "beta": p.size * rng.standard_normal(p.vocabulary)}
    return {**c._asdict(), **draw}


@measurement
def reinforced(p: Anywhere, data, stream, *, flip: bool = False):
    """Speed of M = sum alpha - |beta|²/2 along the flow, by the gradients; its increment in a step of descent, divided
    by the rate. `flip` turns the sign of the value's gradient."""
    c = Contexts(**{name: data[name] for name in Contexts._fields})
    by_alpha, by_beta, _ = bigram_head.gradients(data["alpha"], data["beta"], c)
    by_beta = -by_beta if flip else by_beta
    after = data["beta"] - p.rate * by_beta
    change = -p.rate * by_alpha.sum() - (np.sum(after**2) - np.sum(data["beta"] ** 2)) / 2
    return {"speed": data["beta"] @ by_beta - by_alpha.sum(), "step": change / p.rate, "square": np.sum(by_beta**2)}


def sides(data) -> tuple[float, float]:
    """Speed and lower bound, by the plain formula."""
    names = ("alpha", "beta", *Contexts._fields)
    return theory.reinforcement(*(data[name] for name in names))


def gradient_units(p: Anywhere) -> float:
    """sums over V tokens, S samples and Q queries of terms below pi (1 + 3 size + 1.5); differences of beta² by the
    rate"""
    terms = p.vocabulary + p.samples + p.queries
    return 20 * terms * (3 + 3 * p.size) ** 2 * p.vocabulary


def step_units(p: Anywhere) -> float:
    """as for the speed; and |beta|² rounds, divided by the rate"""
    return gradient_units(p) + 10 * p.vocabulary**2 * p.size**2 / p.rate


MUTUAL_REINFORCEMENT = Law(
    id="bigram_backcopy/mutual-reinforcement",
    source=Source(DERIVED),
    statement="""
    Sinks grow and values drain together: for any contexts and any start, M = sum_v alpha_v - |beta|²/2 grows along the
    gradient flow with the speed E sum_v c_v <g_v, delta_v>, c = a/(a + W), g = pi (q - p). Measured is
    <beta, dR/dbeta> - sum_v dR/dalpha_v from the gradients.
    """,
    params=Anywhere,
    situation=anywhere,
    predict=lambda p, data: sides(data)[0],
    measure=reinforced,
    claim=Equality(of="speed", rounding=gradient_units, resolve=1e-6),
    controls={
        "sign of the value's gradient": but(measure=partial(reinforced, flip=True)),
        "the lower bound taken for the speed": but(predict=lambda p, data: sides(data)[1]),
    },
    examples=(Anywhere(), Anywhere(queries=1, vocabulary=2, samples=1, length=2)),
    draws=MANY,
)

NO_SPURIOUS_CRITICAL = Law(
    id="bigram_backcopy/no-spurious-critical",
    source=Source(DERIVED),
    statement="""
    At every point, <beta, dR/dbeta> - sum_v dR/dalpha_v >= E sum_v c_v pi_v KL(p_v||q_v) >= 0. So every finite critical
    point has zero risk, and M = sum alpha - |beta|²/2 never decreases along the gradient flow.
    """,
    params=Anywhere,
    situation=anywhere,
    predict=lambda p, data: sides(data)[1],
    measure=reinforced,
    claim=Bound(of="speed", side="lower", rounding=gradient_units),
    controls={
        "sign of the value's gradient": but(measure=partial(reinforced, flip=True)),
        "three times the bound": but(predict=lambda p, data: 3 * sides(data)[1]),
    },
    examples=(Anywhere(), Anywhere(queries=1, vocabulary=2, samples=1, length=2)),
    draws=MANY,
)


def descent_step(p: Anywhere, data, *, quadratic: bool = True) -> float:
    """Speed minus rate |dR/dbeta|²/2; without that term unless `quadratic`."""
    c = Contexts(**{name: data[name] for name in Contexts._fields})
    by_beta = bigram_head.gradients(data["alpha"], data["beta"], c)[1]
    return sides(data)[0] - p.rate / 2 * float(by_beta @ by_beta) * quadratic


REINFORCEMENT_DESCENT = Law(
    id="bigram_backcopy/mutual-reinforcement-descent",
    source=Source(DERIVED),
    statement="""
    In a step of gradient descent of size eta, M = sum alpha - |beta|²/2 changes by exactly
    eta E sum_v c_v <g_v, delta_v> - eta² |dR/dbeta|²/2.
    """,
    params=Anywhere,
    situation=anywhere,
    predict=descent_step,
    measure=reinforced,
    claim=Equality(of="step", rounding=step_units, resolve=1e-6),
    controls={"gradient flow taken for descent": but(predict=partial(descent_step, quadratic=False))},
    examples=(Anywhere(), Anywhere(rate=1.0)),
    draws=MANY,
)


class Shared(Params):
    """One context shared by all queries; sink logits start with standard deviation `spread`, the value with `size`."""

    queries: Annotated[int, Ge(2), Le(5)] = 3
    vocabulary: Annotated[int, Ge(3), Le(7)] = 5
    length: Annotated[int, Ge(4), Le(32)] = 8
    spread: Annotated[float, Ge(0.0), Le(1.0)] = 0.5
    size: Annotated[float, Ge(0.0), Le(2.0)] = 0.5


def shared(p: Shared, stream, *, several: bool = False) -> dict[str, np.ndarray]:
    """One context for all queries (`several`: one each, where the law promises nothing) and a start."""
    rng = stream.numpy("shared")
    while True:
        c = random_contexts(rng, queries=p.queries, vocabulary=p.vocabulary, length=p.length, shared=not several)
        c = c._replace(shares=np.maximum(c.shares, 0.05))
        curvature = np.diag(c.shares @ c.probabilities) - (c.probabilities * c.shares[:, None]).T @ c.probabilities
        if np.linalg.eigvalsh(curvature)[1] > 0.01:
            break  # the slowest direction of the value is not much slower than the others
    alpha, beta = p.spread * rng.standard_normal(p.queries), p.size * rng.standard_normal(p.vocabulary)
    return {**c._asdict(), "alpha": alpha, "beta": beta}


def read(p: Shared | Descent, data):
    """(alpha, beta, B, W) of the start."""
    return data["alpha"], data["beta"], data["values"][0, 0], float(p.length)


CLOCK = np.geomspace(1e-1, 1e4, 11)


@measurement
def settled(p: Shared, data, stream, *, adam: bool = False):
    """Sink logits and value at the end of the joint flow; slope t d alpha/dt there; conserved quantity along it.

    The flow ends when t times every force is below 1e-8, at t = 1e4 at the earliest, at t = 1e8 at the latest.
    """
    c = Contexts(**{name: data[name] for name in Contexts._fields})
    alpha, beta, B, W = read(p, data)
    if adam:
        run, t = dynamics.adam(c, alpha, beta, rate=0.01, records=np.arange(1, 12) * 150), 16.5
    else:
        run, t = dynamics.joint_flow(c, alpha, beta, CLOCK, atol=1e-11), CLOCK[-1]
    end = run.alpha[-1], run.beta[-1]
    while not adam and t < 1e8 and t * max(np.abs(g).max() for g in bigram_head.gradients(*end, c)[:2]) > 1e-8:
        more = dynamics.joint_flow(c, *end, np.array([9 * t]), atol=1e-11)  # a flow has no memory of its start
        end, t = (more.alpha[-1], more.beta[-1]), 10 * t
    run = dynamics.Trajectory(np.r_[run.alpha, end[0][None]], np.r_[run.beta, end[1][None]])
    Q = np.sum((W * run.beta - B) ** 2, axis=1) / (2 * W) - np.sum(np.exp(run.alpha) + W * run.alpha, axis=1)
    return {"alpha": end[0], "beta": end[1], "Q": Q, "slope": -t * bigram_head.gradients(*end, c)[0]}


def drift_bound(p: Shared, data) -> float:
    """fewer than 5000 solver steps, each off by 1e-9 of its variable (root mean square over Q + V); Q changes by at
    most its gradient times that: |W beta - B| and e^alpha + W, with logits below 4 and a value below three times its
    start"""
    _, beta, B, W = read(p, data)
    gradient = np.abs(W * beta - B).sum() * 3 * np.abs(beta).max() + p.queries * 4 * (np.exp(4) + W)
    return 5000 * 1e-9 * float(gradient)


def quantity_size(p: Shared, data) -> float:
    """W: what one unit of one sink logit changes."""
    return float(p.length)


CONSERVATION = Law(
    id="bigram_backcopy/joint-conservation",
    source=Source(DERIVED),
    statement="""
    One context shared by all queries, sink logits and value trained together: the gradient flow conserves
    Q = |W beta - B|²/(2W) - sum_v (e^alpha_v + W alpha_v) (and the mean of beta). Gradient descent of rate eta drifts
    in proportion to eta; Adam does not conserve it. Errors are relative to W.
    """,
    params=Shared,
    situation=shared,
    predict=lambda p, data: float(theory.conserved(*read(p, data))),
    measure=settled,
    claim=Equality(of="Q", finite_size=drift_bound, scale=quantity_size, resolve=0.01),
    controls={
        "Adam": but(measure=partial(settled, adam=True)),
        "a context for each query": but(situation=partial(shared, several=True)),
    },
    examples=(Shared(), Shared(size=0.0, spread=0.0), Shared(length=32, size=2.0)),
    draws=Draws(shapes=2, values=2),
)


def end_error(p: Shared, data) -> float:
    """A moves by the drift of Q over the slope of the left side in A, at least Q (e^A + W)"""
    return drift_bound(p, data) / (p.queries * p.length)


def final(p: Shared, data, *, published: bool = False) -> np.ndarray:
    """A of every query."""
    return np.full(p.queries, theory.final_logit(*read(p, data)))


FINAL_LOGIT = Law(
    id="bigram_backcopy/final-sink-logit",
    source=Source(PAPER, f"stable phase of the joint flow: alpha_v = alpha; its value {DERIVED.split(';')[0]}"),
    statement="""
    One context shared by all queries, full supports, B not constant, sink logits and value trained together on a
    bounded trajectory: all sink logits end at the same finite A, the unique root of

        (1 + W e^-A)² |B_c|²/(2W) - |N|(e^A + W A) = |W beta_c(0) - B_c|²/(2W) - sum_v (e^alpha_v(0) + W alpha_v(0)).
    """,
    params=Shared,
    situation=shared,
    predict=final,
    measure=settled,
    claim=Equality(of="alpha", finite_size=end_error, scale=1.0, resolve=0.01),
    controls={
        "Adam": but(measure=partial(settled, adam=True)),
        "the mean of the start": but(predict=lambda p, data: np.full(p.queries, data["alpha"].mean())),
    },
    examples=(Shared(), Shared(size=0.0, spread=0.0), Shared(length=32, size=2.0)),
    draws=Draws(shapes=2, values=2),
)


def value_error(p: Shared, data) -> float:
    """beta follows from A: error of A times e^-A |B_c|; and solver steps of 1e-9 of its largest entry"""
    alpha, beta, B, W = read(p, data)
    size = np.exp(-theory.final_logit(alpha, beta, B, W)) * np.abs(B - B.mean()).max() + 3 * np.abs(beta).max()
    return float((end_error(p, data) + 5000 * 1e-9) * (size + 1))


FINAL_VALUE = Law(
    id="bigram_backcopy/final-value",
    source=Source(PAPER, f"stable phase of the joint flow: beta = c - e^-alpha B; constants {DERIVED.split(';')[0]}"),
    statement="""
    In the setting of bigram_backcopy/final-sink-logit the value ends at beta = mean beta(0) - e^-A (B - mean B): it is
    not drained, it cancels what the query hears.
    """,
    params=Shared,
    situation=shared,
    predict=lambda p, data: theory.final_value(*read(p, data)),
    measure=settled,
    claim=Equality(of="beta", finite_size=value_error, scale=1.0, resolve=0.01),
    controls={
        "a drained value": but(predict=lambda p, data: np.full(p.vocabulary, data["beta"].mean())),
        "Adam": but(measure=partial(settled, adam=True)),
    },
    examples=(Shared(), Shared(size=0.0, spread=0.0), Shared(length=32, size=2.0)),
    draws=Draws(shapes=2, values=2),
)


JOINT_SLOPE = Law(
    id="bigram_backcopy/joint-slope",
    source=Source(DERIVED),
    statement="""
    With one context shared by all queries the joint flow stops: t d alpha/dt -> 0, exponentially in t, to below
    .01 at t = 1e8 at the latest. Half-logarithmic growth belongs to a frozen value, or to contexts that differ.
    """,
    params=Shared,
    situation=shared,
    predict=lambda p: 0.0,
    measure=settled,
    claim=Equality(of="slope", stated=0.01, scale=0.5, resolve=0.1),
    controls={"half-logarithmic": but(predict=lambda p: 0.5)},
    examples=(Shared(), Shared(length=32, size=2.0)),
    draws=Draws(shapes=0),
)

JOINT_SLOPE_PRINTED = JOINT_SLOPE.printed(
    "bigram_backcopy/joint-slope-printed",
    source=Source(PAPER, "half-logarithmic growth and stable phase read as one statement, as recalled"),
    statement="""
    As often read: in training sink logits grow like (1/2) log t towards a stable phase in which the value has drained.
    The two belong to different flows. Half-logarithmic growth needs a frozen value (or contexts that differ); with one
    shared context the joint flow ends at a finite logit, often with little attention on the first token.
    """,
    predict=lambda p: 0.5,
    at=(Shared(), Shared(length=32, size=2.0)),
)


class Descent(Params):
    """Gradient descent with one shared context from zero sink logits to time `horizon`; the axis is 1/rate, `steps`
    per unit time."""

    queries: Annotated[int, Ge(2), Le(5)] = 3
    vocabulary: Annotated[int, Ge(3), Le(7)] = 5
    length: Annotated[int, Ge(4), Le(16)] = 8
    spread: Annotated[float, Ge(0.0), Le(1.0)] = 0.3
    size: Annotated[float, Ge(0.3), Le(1.0)] = 0.5
    horizon: Annotated[int, Ge(4), Le(64)] = 16
    steps: Annotated[int, Ge(1), Le(512)] = 8


@measurement(paired=("steps",))
def drifted(p: Descent, data, stream):
    """Change of the conserved quantity under descent."""
    c = Contexts(**{name: data[name] for name in Contexts._fields})
    alpha, beta, B, W = read(p, data)
    count = round(p.horizon) * p.steps
    run = dynamics.descent(c, alpha, beta, rate=1 / p.steps, steps=count, record=count)
    Q = np.sum((W * run.beta - B) ** 2, axis=1) / (2 * W) - np.sum(np.exp(run.alpha) + W * run.alpha, axis=1)
    return {"drift": Q[-1] - Q[0]}


DRIFT = Law(
    id="bigram_backcopy/conservation-drift",
    source=Source(DERIVED),
    statement="""
    Under gradient descent of rate eta up to a fixed time the quantity of bigram_backcopy/joint-conservation drifts in
    proportion to eta, the first order of a one-step method.
    """,
    params=Descent,
    situation=shared,
    predict=lambda p: -1.0,
    measure=drifted,
    claim=Rate(of="drift", along="steps", order=1.0, axis=lambda p: 2 ** np.arange(1, 7), resolve=0.05),
    controls={"second order": but(predict=lambda p: -2.0)},
    examples=(Descent(), Descent(length=16, size=1.0)),
    draws=Draws(shapes=0),
)
