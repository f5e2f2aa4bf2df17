"""Contexts that differ: sinks without bound, a value that drains away, offsets that persist."""

from __future__ import annotations

from functools import partial

import numpy as np

from lab.claims import Limit
from lab.law import Draws, Law, Source, but
from lab.systems.bigram_backcopy import theory
from lab.systems.bigram_backcopy.laws.risk import JOINT_EXAMPLES, LATE, Joint, joint_run, joint_units, several
from lab.systems.bigram_backcopy.laws.sink import DERIVED, PAPER


def predicted_offsets(p: Joint, data, *, coupled: bool = True, alike: bool = False) -> np.ndarray:
    """log rho along the axis; not `coupled`: as if the value stayed away; `alike`: one logit for all queries."""
    P, pi, B = data["probabilities"], data["shares"], data["values"]
    offsets = theory.scaling_solution(P, pi, B).offsets
    if not coupled:
        spread = np.mean(theory.cumulants(P[:, None, :], B)[1], axis=1)
        offsets = 0.5 * np.log(pi * spread)
    if alike:
        offsets = np.full(p.queries, offsets.mean())
    return np.broadcast_to(offsets, (LATE.size, p.queries))


def predicted_value(p: Joint, data, *, sign: float = 1.0) -> np.ndarray:
    """b along the axis."""
    solution = theory.scaling_solution(data["probabilities"], data["shares"], data["values"])
    return np.broadcast_to(sign * solution.value, (LATE.size, p.vocabulary))


RANDOM_CONTEXT_SINKS = Law(
    id="bigram_backcopy/random-context-sinks",
    source=Source(DERIVED),
    statement="""
    Sink logits and value trained together on contexts that differ between queries or samples: every sink logit grows
    like alpha = (1/2) log 2t + log rho + o(1). With u = 1/rho, u (G u) = 1 entry by entry,
    G = diag(pi E[B^T C B]) - M^T H^+ M, C = diag p - p p^T, H = sum pi C, M = [pi C E B] (a column for each query). The
    solution is unique; it exists unless some u >= 0, u != 0 has G u = 0 (one context shared by all queries).
    """,
    params=Joint,
    situation=several,
    predict=predicted_offsets,
    measure=joint_run,
    claim=Limit(
        of="offset", along="x", order=0.5, as_="difference", scale=1.0, rounding=joint_units, resolve=0.01
    ),
    controls={
        "a value that stays away": but(predict=partial(predicted_offsets, coupled=False)),
        "Adam": but(measure=partial(joint_run, adam=True)),
    },
    examples=JOINT_EXAMPLES,
    draws=Draws(shapes=0),
)  # fmt: skip

SINKS_CONCENTRATE_PRINTED = RANDOM_CONTEXT_SINKS.printed(
    "bigram_backcopy/sinks-concentrate-printed",
    source=Source(PAPER, "sink logits of all queries concentrate, as recalled"),
    statement="""
    As recalled: the sink logits of all non-trigger queries concentrate on one value. That is exact where one context is
    shared by all queries and the value is trained too (bigram_backcopy/final-sink-logit). Otherwise the offsets log rho
    persist: an order-one spread for ever, here against the mean of the predicted offsets.
    """,
    predict=partial(predicted_offsets, alike=True),
    at=JOINT_EXAMPLES[:2],
)

RANDOM_CONTEXT_DRAIN = Law(
    id="bigram_backcopy/random-context-drain",
    source=Source(DERIVED),
    statement="""
    In the setting of bigram_backcopy/random-context-sinks the value of the first token drains away:
    sqrt(2t) (beta - mean beta) -> b = -H^+ M u, of order one.
    """,
    params=Joint,
    situation=several,
    predict=predicted_value,
    measure=joint_run,
    claim=Limit(
        of="drained", along="x", order=0.5, as_="difference", scale=1.0, rounding=joint_units, resolve=0.01
    ),
    controls={
        "sign of b": but(predict=partial(predicted_value, sign=-1.0)),
        "Adam": but(measure=partial(joint_run, adam=True)),
    },
    examples=JOINT_EXAMPLES,
    draws=Draws(shapes=0),
)  # fmt: skip
