"""When a sink switches on: linear in the context length."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality
from lab.data.bigram_contexts import Contexts, random_contexts
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, Params
from lab.systems.bigram_backcopy import dynamics, theory
from lab.systems.bigram_backcopy.laws.sink import DERIVED


class Onset(Params):
    """One query of weight `share`; its context is `copies` copies of one with `length` tokens: fixed composition."""

    vocabulary: Annotated[int, Ge(3), Le(10)] = 6
    length: Annotated[int, Ge(4), Le(24)] = 8
    copies: Annotated[int, Ge(1), Le(4096)] = 4
    share: Annotated[float, Ge(0.01), Le(1.0), LogScale()] = 0.2
    concentration: Annotated[float, Ge(0.7), Le(8.0), LogScale()] = 2.0
    start: Annotated[float, Ge(-2.0), Le(1.0)] = 0.0


def composed(p: Onset, stream) -> dict[str, np.ndarray]:
    """The context before it is copied; the value of the first token is zero."""
    rng = stream.numpy("composition")
    while True:
        c = random_contexts(
            rng, queries=1, vocabulary=p.vocabulary, length=p.length, concentration=p.concentration
        )
        if theory.cumulants(c.probabilities, c.values[:, 0] / p.length)[1][0] > 1e-3:
            return c._replace(shares=np.full(1, p.share))._asdict()


@measurement(paired=("copies", "share", "start"))
def half_attention(p: Onset, data, stream, *, uneven: float = 0.0):
    """Time at which the first token has half the attention, and over t*; by the flow, interpolated in log t between
    records that are refined once. Contexts go along."""
    c = Contexts(**data)
    P, b, W = c.probabilities[0], c.values[0, 0] / c.lengths[0, 0], p.copies * c.lengths[0, 0]
    tilted = P * np.exp(b)
    unit = W * np.exp(-p.start) / (p.share * ((tilted / tilted.sum() - P) @ b))
    c = c._replace(values=p.copies * c.values, lengths=p.copies * c.lengths)
    beta, t = uneven * np.eye(p.vocabulary)[0], unit * np.geomspace(0.01, 30.0, 600)
    for _ in range(2):
        alpha = dynamics.frozen_value_flow(c, np.full(1, p.start), beta, t)[:, 0]
        i = int(np.argmax(alpha > np.log(W)))
        if i == 0:  # never: the end of the records stands for it
            return {"half": t[-1], "ratio": t[-1] / unit, **data}
        near = slice(max(i - 3, 0), i + 3)
        t, seen, x = np.geomspace(t[max(i - 2, 0)], t[min(i + 1, t.size - 1)], 400), np.log(t[near]), alpha[near]
    log_t = 0.0
    for j in range(x.size):  # six points: log t as a function of alpha
        rest = np.delete(x, j)
        log_t += seen[j] * np.prod((np.log(W) - rest) / (x[j] - rest))
    return {"half": np.exp(log_t), "ratio": np.exp(log_t) / unit, **data}


def single(p: Onset, data):
    """(p, pi, B, W) of the query with the copied context."""
    return data["probabilities"][0], p.share, p.copies * data["values"][0, 0], float(p.copies * data["lengths"][0, 0])


def exact_half(p: Onset, data, *, share: bool = True) -> float:
    """By quadrature; not `share`: weight one."""
    P, pi, B, W = single(p, data)
    return theory.half_attention_time(P, pi if share else 1.0, B, W, start=p.start)


def interpolation_error(p: Onset, data) -> float:
    """records lie h < 1e-4 apart in log t; d alpha/d log t <= W at the sharpest onset, so that six points leave (h
    W/6)^6 in log t, and never more than the gap h; the solver, 5000 steps of 1e-12, is carried on to at most W times
    that"""
    W = float(p.copies * data["lengths"][0, 0])
    return exact_half(p, data) * (min(1e-4, (1e-4 * W / 6) ** 6) + 5000 * 1e-12 * W)


HALF_TIME = Law(
    id="bigram_backcopy/onset-exact",
    source=Source(DERIVED),
    statement="""
    Value of the first token proportional to the ones: the first token has half the attention (alpha = log W) at the
    time given by the quadrature of bigram_backcopy/sink-time.
    """,
    params=Onset,
    situation=composed,
    predict=exact_half,
    measure=half_attention,
    claim=Equality(of="half", finite_size=interpolation_error, resolve=0.01),
    controls={
        "weight of the query ignored": but(predict=partial(exact_half, share=False)),
        "a value of the first token": but(measure=partial(half_attention, uneven=0.3)),
    },
    examples=(Onset(), Onset(copies=32), Onset(copies=1, start=-2.0)),
    draws=Draws(shapes=0),
)


def expanded(p: Onset, data, *, order: int = 2, tilted: bool = True) -> float:
    """1 + c r log(1/r) + k r; `order` 0 stops at one; without the variance in c unless `tilted`."""
    P, _, B, W = single(p, data)
    r = np.exp(p.start) / W
    if order == 0:
        return 1.0
    value = float(theory.onset_expansion(r, P, B, W)[0])
    return value if tilted else value - float(theory.onset_correction(P, B, W) - 2) * r * np.log(1 / r)


def expansion_error(p: Onset, data) -> float:
    """what the expansion leaves out, bounded by r² max|h - 1 - c r|/r²; and the measurement's own error"""
    P, _, B, W = single(p, data)
    rest = float(theory.onset_expansion(np.exp(p.start) / W, P, B, W)[1])
    return rest + interpolation_error(p, data) / exact_half(p, data) * 2


ONSET_TIME = Law(
    id="bigram_backcopy/onset-time",
    source=Source(DERIVED),
    statement="""
    Value of the first token proportional to the ones, context of fixed composition b = B/W. The time to half attention
    on the first token grows linearly with the context length W,

        t_half = t* [1 + c r log(1/r) + k r + O(r²)],   t* = W e^-alpha(0)/(pi Delta),   r = e^alpha(0)/W,

    Delta = E_q[b] - E_p[b], q proportional to p e^b, c = 2 + Var_q(b)/Delta, k an integral over r: until the onset
    e^-alpha falls linearly. Judged is t_half/t*.
    """,
    params=Onset,
    situation=composed,
    predict=expanded,
    measure=half_attention,
    claim=Equality(of="ratio", finite_size=expansion_error, resolve=1e-3),
    controls={
        "t* taken for the time": but(predict=partial(expanded, order=0)),
        "c = 2": but(predict=partial(expanded, tilted=False)),
        "a value of the first token": but(measure=partial(half_attention, uneven=0.3)),
    },
    examples=(
        Onset(copies=64), Onset(copies=512), Onset(copies=32, start=-1.0, share=0.05), Onset(vocabulary=3, copies=16),
    ),
    draws=Draws(shapes=0),
)
