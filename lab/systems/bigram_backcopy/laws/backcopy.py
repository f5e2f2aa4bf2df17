"""The value of a copied token under gradient flow: Lambert's function, and a loss of 1/t per token."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality, Limit
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, Params
from lab.systems.bigram_backcopy import dynamics, theory
from lab.systems.bigram_backcopy.laws.sink import DERIVED, EPSILON


class Copying(Params):
    """Hard attention to the previous token over `vocabulary` tokens; one value of weight `weight`, from `start`."""

    vocabulary: Annotated[int, Ge(2), Le(1000)] = 64
    weight: Annotated[float, Ge(1e-3), Le(10.0), LogScale()] = 0.1
    start: Annotated[float, Ge(-5.0), Le(5.0)] = 0.0


X = np.geomspace(1.0, 1e10, 21)
LATE = np.geomspace(1e4, 1e10, 13)


@measurement
def copied(p: Copying, stream, *, others: bool = True, late: bool = False):
    """Value and omega t times the loss along the flow of the cross-entropy; not `others`: one wrong token only."""
    # every wrong logit is 0, the right one xi; the loss is that of a softmax over the vocabulary
    wrong = p.vocabulary - 1 if others else 1
    x = LATE if late else X
    t = x / p.weight
    xi = dynamics.flow(lambda y: p.weight * wrong / (wrong + np.exp(y)), np.full(1, p.start), t, diagonal=True,
                       rtol=1e-12)[:, 0]  # fmt: skip
    return {"x": x, "xi": xi, "loss": x * np.log1p(wrong * np.exp(-xi))}


def predicted(p: Copying, *, weighted: bool = True, logarithm: bool = False) -> np.ndarray:
    """xi at the times; not `weighted`: weight one; `logarithm`: log of omega (V - 1) t alone."""
    if logarithm:
        return np.log(X * (p.vocabulary - 1))
    return theory.copy_value(X / p.weight, p.vocabulary, weight=p.weight if weighted else 1.0, start=p.start)


def solver_error(p: Copying) -> float:
    """5000 solver steps at most, each off by 1e-12 |xi| < 3e-11; the flow contracts (its speed falls with xi)"""
    return 5000 * 3e-11


BACKCOPY_VALUE = Law(
    id="bigram_backcopy/backcopy-value",
    source=Source(DERIVED),
    statement="""
    Hard attention to the previous token, value xi, weight omega in the loss CE = log(1 + (V-1) e^-xi). Under gradient
    flow xi(t) = c - W0(e^c/(V-1)), c = omega t + xi(0) + e^xi(0)/(V-1), with Lambert's W0.
    """,
    params=Copying,
    predict=predicted,
    measure=copied,
    claim=Equality(of="xi", finite_size=solver_error, scale=1.0, resolve=1e-4),
    controls={
        "the logarithm alone": but(predict=partial(predicted, logarithm=True)),
        "one wrong token": but(measure=partial(copied, others=False)),
    },
    examples=(Copying(), Copying(vocabulary=2, start=5.0), Copying(start=-5.0, weight=10.0)),
    draws=Draws(shapes=2, values=4),
)


def loss_units(p: Copying) -> float:
    """relative error of the loss: that of xi, 5000 steps of 3e-11"""
    return 5000 * 3e-11 / EPSILON


BACKCOPY_RISK = Law(
    id="bigram_backcopy/backcopy-risk",
    source=Source(DERIVED),
    statement="""
    In the setting of bigram_backcopy/backcopy-value, omega t CE -> 1: every copied value costs 1/t in all, four times
    what a query costs under the universal bigram risk |N|/(4t).
    """,
    params=Copying,
    predict=lambda p: 1.0,
    measure=partial(copied, late=True),
    claim=Limit(of="loss", along="x", order=lambda x: np.log(x) / x, rounding=loss_units, resolve=1e-3),
    controls={"a quarter, as for bigrams": but(predict=lambda p: 0.25)},
    examples=(Copying(), Copying(vocabulary=2, start=5.0)),
    draws=Draws(shapes=2, values=4),
)
