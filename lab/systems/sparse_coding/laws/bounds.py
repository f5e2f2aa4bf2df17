"""Gaps of ISTA and FISTA never exceed their bounds."""

from __future__ import annotations

from functools import partial

import numpy as np

from lab.claims import Bound
from lab.data.convolutional import dictionary
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import convolutional_coding as coding
from lab.systems.sparse_coding import theory
from lab.systems.sparse_coding.dynamics import errors
from lab.systems.sparse_coding.laws.rates import Planted, planted, run

BT09 = "Beck and Teboulle 2009"
COUNTS = np.array([1, 2, 3, 5, 10, 20, 50, 100, 300])


@measurement
def gaps(p: Planted, data, stream, *, method: coding.Method = "ista"):
    """Gaps after 1 to 300 steps of 1/L from zero, over ``L |gamma*|²/2``."""
    found = run(p, data, method, int(COUNTS[-1]))
    unit = coding.operator_norm(data["filters"], p.length) * np.sum(data["codes"] ** 2) / 2
    return {"gap": found.gaps[COUNTS - 1] / unit}


@measurement
def gaps_at_the_top(p: Planted, data, stream, *, method: coding.Method = "ista", longer: float = 2.2):
    """The same without a penalty, steps `longer` than 1/L, for the signal ``D v`` of the top singular vector v."""
    filters = data["filters"]
    top = np.linalg.svd(dictionary(filters, p.length), full_matrices=False)[2][0].reshape(p.count, p.length)
    L = float(coding.operator_norm(filters, p.length))
    found = errors(coding.decode(top, filters), filters, top, lam=0.0, method=method, steps=COUNTS[-1], step=longer / L)
    return {"gap": found.gaps[COUNTS - 1] / (L / 2)}


def gap_units(p: Planted, data) -> float:
    """a first-order part and a curvature, sums of M N products off by 4 log2 N + M N epsilons of lam |gamma*|_1 and
    L |gamma*|², over L |gamma*|²/2; iterates are no longer than 2 |gamma*| from the minimiser"""
    norm, codes = float(np.linalg.norm(data["codes"])), data["codes"]
    L = theory.operator_norm(data["filters"], p.length)
    unit = L * norm**2 / 2
    size = p.lam * (float(np.sum(np.abs(codes))) + 2 * np.sqrt(codes.size) * norm) + L * norm**2
    return 4 * (4 * np.log2(p.length) + codes.size) * size / unit


ISTA_BOUND = Law(
    id="sparse_coding/ista-bound",
    source=Source(BT09, "theorem 3.1"),
    statement="""
    After k ISTA steps of 1/L from gamma_0: F(gamma_k) - F* <= L |gamma_0 - gamma*|²/(2k). Measured from zero on
    problems with a planted minimiser, in units of L |gamma*|²/2.
    """,
    params=Planted,
    situation=planted,
    predict=lambda p: theory.ista_gap(COUNTS),
    measure=gaps,
    claim=Bound(of="gap", side="upper", rounding=gap_units, scale=1.0),
    controls={
        "steps of 2.2/L at the top of the spectrum": but(measure=gaps_at_the_top),
        "a tenth of the bound": but(predict=lambda p: theory.ista_gap(COUNTS) / 10),
    },
    examples=(Planted(), Planted(nonnegative=True, count=3, size=5), Planted(channels=2, count=3, length=32, size=4)),
    draws=Draws(shapes=6, values=2),
)

FISTA_BOUND = Law(
    id="sparse_coding/fista-bound",
    source=Source(BT09, "theorem 4.4"),
    statement="""
    After k FISTA steps of 1/L from gamma_0: F(gamma_k) - F* <= 2 L |gamma_0 - gamma*|²/(k+1)². Measured from zero on
    problems with a planted minimiser, in units of L |gamma*|²/2.
    """,
    params=Planted,
    situation=planted,
    predict=lambda p: theory.fista_gap(COUNTS),
    measure=partial(gaps, method="fista"),
    claim=Bound(of="gap", side="upper", rounding=gap_units, scale=1.0),
    controls={
        "steps of 2.2/L at the top of the spectrum": but(measure=partial(gaps_at_the_top, method="fista")),
        "a tenth of the bound": but(predict=lambda p: theory.fista_gap(COUNTS) / 10),
    },
    examples=ISTA_BOUND.examples,
    draws=Draws(shapes=6, values=2),
)
