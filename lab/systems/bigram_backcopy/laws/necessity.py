"""Low risk needs a sink: the attention that may miss it is a function of the risk."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality
from lab.data.bigram_contexts import Contexts, random_contexts
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import bigram_head
from lab.params import Ge, Le, LogScale, Params
from lab.systems.bigram_backcopy import theory


class Trained(Params):
    """One query with a context of `length` tokens, trained to an excess risk of `eps` nats."""

    vocabulary: Annotated[int, Ge(3), Le(12)] = 6
    length: Annotated[int, Ge(4), Le(64)] = 16
    concentration: Annotated[float, Ge(0.5), Le(8.0), LogScale()] = 2.0
    eps: Annotated[float, Ge(1e-12), Le(0.1), LogScale()] = 1e-3


def context(p: Trained, stream) -> dict[str, np.ndarray]:
    """A random context of one query."""
    rng = stream.numpy("context")
    return random_contexts(
        rng, queries=1, vocabulary=p.vocabulary, length=p.length, concentration=p.concentration
    )._asdict()


@measurement
def missed(p: Trained, data, stream, *, spread: float = 0.0):
    """Attention off the first token at the sink logit where the head's risk is eps, by bisection.

    Without a sink (alpha = -40) if even that risk is below eps. `spread` puts a value on one token.
    """
    c, beta = Contexts(**data), spread * np.eye(p.vocabulary)[0]
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        above = bigram_head.divergences(np.array([middle]), beta, c)[0] > p.eps
        low, high = (middle, high) if above else (low, middle)
    return {"missed": 1 / (1 + np.exp((low + high) / 2) / c.lengths[0, 0])}


def predicted(p: Trained, data, *, small: bool = False, factor: float = 1.0) -> float:
    """u(eps), or 1 where no sink is needed; `small`: leading order, `factor` multiplies eps."""
    P, b = data["probabilities"][0], data["values"][0, 0] / data["lengths"][0, 0]
    if p.eps >= theory.risk_without_sink(P, b):
        return 1.0
    solve = theory.missed_attention_small if small else theory.missed_attention
    return float(solve(factor * p.eps, P, b))


def missed_units(p: Trained, data) -> float:
    """the risk and its inverse keep a relative precision of 30 V epsilons (sums of V terms, one cancellation of the
    mean, series to 1e-13), half of it in u, divided by the log-derivative, at least 1/2; u itself is at most 1"""
    return 100 * p.vocabulary * predicted(p, data) + 1e3 * predicted(p, data)


SINK_NECESSITY = Law(
    id="bigram_backcopy/sink-necessity",
    source=Source("derived for this laboratory; related in spirit to arXiv:2603.11487"),
    statement="""
    Value of the first token proportional to the ones. At excess risk eps of a query, the attention off the first token
    is exactly the root u of

        log E_p e^{u b} - u E_p b = eps,   b = B/W,   so   1 - attention = sqrt(2 eps/Var_p(b)) (1 + O(sqrt eps)):

    a head cannot be accurate without a sink. If eps exceeds the value at u = 1, no sink is needed (u = 1 here).
    """,
    params=Trained,
    situation=context,
    predict=predicted,
    measure=missed,
    claim=Equality(of="missed", rounding=missed_units, resolve=1e-9),
    controls={
        "leading order taken for exact": but(predict=partial(predicted, small=True)),
        "2 eps for eps": but(predict=partial(predicted, factor=0.5)),
        "a value of the first token": but(measure=partial(missed, spread=0.1)),
    },
    examples=(Trained(), Trained(eps=1e-6), Trained(eps=0.1), Trained(vocabulary=3, eps=1e-12)),
    draws=Draws(shapes=4, values=6),
)
