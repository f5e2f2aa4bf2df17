"""A frozen value that does add something: sinks that grow like log t, settle, or are expelled."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Classification, Equality, Limit
from lab.data.bigram_contexts import Contexts, random_contexts
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import bigram_head
from lab.params import Ge, Le, LogScale, Params
from lab.systems.bigram_backcopy import dynamics, theory
from lab.systems.bigram_backcopy.laws.sink import DERIVED, EPSILON, order_log


class FrozenValue(Params):
    """Value of the first token of length `scale` times that of b_c, at `angle` to it; b = B/W, x_c = x - mean x.

    At scale 1 and angle 0 attention has no effect at all. Queries share the value and the context, not their laws.
    """

    queries: Annotated[int, Ge(1), Le(8)] = 6
    vocabulary: Annotated[int, Ge(4), Le(10)] = 6
    length: Annotated[int, Ge(4), Le(48)] = 12
    concentration: Annotated[float, Ge(0.7), Le(8.0), LogScale()] = 2.0
    scale: Annotated[float, Ge(0.0), Le(3.0)] = 1.0
    angle: Annotated[float, Ge(0.0), Le(3.1416)] = 1.0


def placed(p: FrozenValue, stream) -> dict[str, np.ndarray]:
    """Contexts, and the value in a random plane through b_c."""
    rng = stream.numpy("value")
    drawn = random_contexts(
        rng, queries=p.queries, vocabulary=p.vocabulary, length=p.length, concentration=p.concentration, shared=True
    )
    b = drawn.values[0, 0] / p.length
    b = b - b.mean()
    other = rng.standard_normal(p.vocabulary)
    other = other - other.mean() - b * (other @ b) / (b @ b)
    other = other * np.linalg.norm(b) / np.linalg.norm(other)
    return {**drawn._asdict(), "beta": p.scale * (np.cos(p.angle) * b + np.sin(p.angle) * other)}


@measurement(paired=("scale", "angle"))
def drifting(p: FrozenValue, data, stream, *, plain: bool = False):
    """d alpha/d log t of every query at t = 1e10 W²/(pi sigma²), and the nearest of -1, 0, 1; `plain`: no value."""
    c = Contexts(**{name: data[name] for name in Contexts._fields})
    beta = data["beta"] * (not plain)
    spread = theory.cumulants(c.probabilities, c.values[:, 0])[1]
    t = 1e10 * np.max(c.lengths[:, 0] ** 2 / (c.shares * spread))
    alpha = dynamics.frozen_value_flow(c, np.zeros(p.queries), beta, np.array([t]), rtol=1e-8, atol=1e-10)
    slope = -t * bigram_head.gradients(alpha[0], beta, c)[0]
    # a resting logit: what is left is rounding, t times an epsilon
    return {"slope": slope, "phase": np.where(np.abs(alpha[0]) > 8, np.round(np.clip(slope, -1, 1)), 0.0)}


def predicted_phase(p: FrozenValue, data, *, swap: bool = False, ends: bool = True) -> np.ndarray:
    """Labels of all queries; `swap`: g0 and g1 exchanged; not `ends`: any value grows a sink."""
    arguments = data["probabilities"], data["beta"], data["values"][:, 0], data["lengths"][:, 0]
    if not ends:
        return np.ones(p.queries)
    g0, g1 = theory.end_slopes(*arguments)
    return np.where(g1 > 0, 1, np.where(g0 < 0, -1, 0)) if swap else theory.phase(*arguments)


FROZEN_VALUE_PHASES = Law(
    id="bigram_backcopy/frozen-value-phases",
    source=Source(DERIVED),
    statement="""
    Any frozen value beta of the first token. With D = B - W beta the risk of a query is convex in s = 1/(e^alpha + W),
    and its slopes at the ends of (0, 1/W) decide:

        g0 = <softmax(log p + beta) - p, D> > 0      sink: alpha grows like log t;
        g1 = <softmax(log p + B/W) - p, D> < 0       anti-sink: alpha falls like -log t;
        otherwise                                    alpha has a finite limit.

    A value proportional to the ones is the degenerate case g0 = 0, with half the slope. Measured is the slope of alpha
    against log t at t = 1e10 in units of W²/(pi sigma²), rounded.
    """,
    params=FrozenValue,
    situation=placed,
    predict=predicted_phase,
    measure=drifting,
    claim=Classification(of="phase"),
    controls={
        "ends exchanged": but(predict=partial(predicted_phase, swap=True)),
        "always a sink": but(predict=partial(predicted_phase, ends=False)),
    },
    examples=(FrozenValue(), FrozenValue(scale=0.5, angle=0.3), FrozenValue(scale=2.0, angle=0.3)),
    draws=Draws(shapes=3, values=5),
)


class Phase(Params):
    """One query whose value leads to the given phase, with g0 and g1 away from zero.

    The value is a random multiple, up to 3, of b_c plus noise of up to `size` times its standard deviation.
    """

    phase: Literal["sink", "anti"] = "sink"
    vocabulary: Annotated[int, Ge(4), Le(10)] = 6
    length: Annotated[int, Ge(4), Le(48)] = 12
    concentration: Annotated[float, Ge(0.7), Le(8.0), LogScale()] = 2.0
    size: Annotated[float, Ge(0.2), Le(2.0)] = 0.7


class Resting(Params):
    """One query whose value, drawn as in `Phase`, leads to a finite sink logit within 3 of log W."""

    vocabulary: Annotated[int, Ge(4), Le(10)] = 6
    length: Annotated[int, Ge(4), Le(48)] = 12
    concentration: Annotated[float, Ge(0.7), Le(8.0), LogScale()] = 2.0
    size: Annotated[float, Ge(0.2), Le(2.0)] = 0.7


def chosen(p, stream) -> dict[str, np.ndarray]:
    """Contexts and value, drawn until the query is in its phase."""
    rng = stream.numpy("chosen")
    wanted = {"sink": 1, "anti": -1}.get(getattr(p, "phase", ""), 0)
    for _ in range(20000):
        drawn = random_contexts(
            rng, queries=1, vocabulary=p.vocabulary, length=p.length, concentration=p.concentration
        )
        b = drawn.values[0, 0] / p.length
        noise = rng.standard_normal(p.vocabulary) * np.std(b)
        beta = 3 * rng.random() * (b - b.mean()) + p.size * rng.random() * noise
        arguments = drawn.probabilities, beta, drawn.values[:, 0], drawn.lengths[:, 0]
        ends = np.abs(np.concatenate(theory.end_slopes(*arguments)))
        near = wanted or abs(theory.finite_logit(*arguments)[0] - np.log(p.length)) < 3
        if theory.phase(*arguments)[0] == wanted and ends.min() > 0.05 * p.length * np.var(b) and near:
            return {**drawn._asdict(), "beta": beta}
    raise ValueError("no value leads to the phase; change size")


X = np.geomspace(1e3, 1e8, 16)


@measurement
def offset(p: Phase, data, stream):
    """alpha - log t (sink) or alpha + log t (anti-sink) at t = x W/(pi |g|)."""
    c = Contexts(**{name: data[name] for name in Contexts._fields})
    t = X * phase_unit(p, data)
    alpha = dynamics.frozen_value_flow(c, np.zeros(1), data["beta"], t)[:, 0]
    return {"x": X, "offset": alpha + np.log(t) * (1 if p.phase == "anti" else -1)}


def phase_unit(p: Phase, data) -> float:
    """W/(pi |g|), g the slope that drives the phase."""
    g0, g1 = theory.end_slopes(data["probabilities"], data["beta"], data["values"][:, 0], data["lengths"][:, 0])
    return float(data["lengths"][0, 0] / (data["shares"][0] * abs((g0 if p.phase == "sink" else g1)[0])))


def order_log_x(x: np.ndarray) -> np.ndarray:
    """next term, log t/t"""
    return np.log(x) / x


def predicted_offset(p: Phase, data, *, share: bool = True) -> np.ndarray:
    """Offset along the axis; not `share`: the weight of the query forgotten."""
    pi = data["shares"] if share else 3 * data["shares"]
    arguments = data["probabilities"], pi, data["beta"], data["values"][:, 0], data["lengths"][:, 0]
    return np.full(X.size, theory.phase_offset(*arguments)[0])


def offset_units(p) -> float:
    """solver: 1e-12 a step relative to |alpha| < 30; the flow contracts at rate 1 in log t, where a unit takes fewer
    than 300 steps, and one in the onset carries on to at most e^5 times its size"""
    return 1e-6 / EPSILON


PHASE_OFFSET = Law(
    id="bigram_backcopy/frozen-value-offset",
    source=Source(DERIVED),
    statement="""
    Frozen value, notation of bigram_backcopy/frozen-value-phases. In the sink phase alpha - log t -> log(pi g0), in the
    anti-sink phase alpha + log t -> -log(pi |g1|/W²): the slopes are 1 and -1, not 1/2.
    """,
    params=Phase,
    situation=chosen,
    predict=predicted_offset,
    measure=offset,
    claim=Limit(
        of="offset", along="x", order=order_log_x, as_="difference", scale=1.0, rounding=offset_units, resolve=0.01
    ),
    controls={
        "weight times three": but(predict=partial(predicted_offset, share=False)),
        "slope 1/2": but(claim=Limit(of="offset", along="x", order=order_log, as_="ratio", resolve=0.01),
                         predict=lambda p: 0.5 * np.log(X)),
    },
    examples=(Phase(), Phase(phase="anti"), Phase(phase="anti", length=48, size=2.0)),
    draws=Draws(shapes=2, values=3),
)  # fmt: skip


@measurement
def resting(p: Resting, data, stream, *, start: float = 0.0):
    """Sink logit at t = 1e6 W²/(pi Var_p(B - W beta))."""
    c = Contexts(**{name: data[name] for name in Contexts._fields})
    D = c.values[:, 0] - c.lengths * data["beta"]
    t = 1e6 * c.lengths[0, 0] ** 2 / (c.shares[0] * theory.cumulants(c.probabilities, D)[1][0])
    return {"alpha": dynamics.frozen_value_flow(c, np.full(1, start), data["beta"], np.array([t]))[0, 0]}


def rest(p: Resting, data, *, plain: bool = False) -> float:
    """Root of the slope; `plain`: log W, attention one half."""
    arguments = data["probabilities"], data["beta"], data["values"][:, 0], data["lengths"][:, 0]
    return np.log(p.length) if plain else float(theory.finite_logit(*arguments)[0])


def rest_error(p: Resting) -> float:
    """within 3 of log W c(1-c) > .045, so that the flow contracts at a rate above .002 pi Var_q(D)/W², and the start is
    forgotten (e^-100 if Var_q(D) > Var_p(D)/20); local errors of the solver, 1e-12 |alpha| a step, shrink alike: fewer
    than 5000 of them count"""
    return 5000 * 1e-12 * 10


FINITE_LOGIT = Law(
    id="bigram_backcopy/frozen-value-finite",
    source=Source(DERIVED),
    statement="""
    Frozen value with g0 <= 0 <= g1: the sink logit settles at log(1/s - W), s the root in (0, 1/W) of
    <softmax(log p + beta + s D) - p, D> = 0, where the risk of the query is least.
    """,
    params=Resting,
    situation=chosen,
    predict=rest,
    measure=resting,
    claim=Equality(of="alpha", finite_size=rest_error, scale=1.0, resolve=1e-3),
    controls={"attention one half": but(predict=partial(rest, plain=True))},
    examples=(Resting(), Resting(length=48, size=2.0)),
    draws=Draws(shapes=2, values=3),
)
