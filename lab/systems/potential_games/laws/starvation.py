"""The probability that an action is never tried."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality
from lab.data.markov_games import MarkovGame
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import markov_learning
from lab.params import Ge, Le, Params
from lab.systems.potential_games import theory
from lab.systems.potential_games.laws.evaluation import DERIVED


class Bandit(Params):
    """One player, one state: `actions` with rewards 1, 2, ..., visited `visits` times."""

    actions: Annotated[int, Ge(2), Le(5)] = 2
    visits: Annotated[int, Ge(2), Le(2000)] = 100
    b: Annotated[float, Ge(0.3), Le(1.0)] = 0.75
    a: Annotated[float, Ge(0.0), Le(1.0)] = 0.5


@measurement(runs="jax")
def starved(p: Bandit, stream, *, theta: float = 0.0, positive: bool = True):
    """Whether only one action has been tried; exploration `theta`; rewards negative unless `positive`."""
    rewards = np.arange(1.0, p.actions + 1) * (1 if positive else -1)
    bandit = MarkovGame(rewards[None, None], np.ones((1, p.actions, 1)), 0.5)
    last, _ = markov_learning.learn_jax(bandit, stream.jax("learning"), chunks=1, chunk=p.visits, a=p.a, b=p.b,
                                        theta=theta)  # fmt: skip
    return {"starved": (last.plays > 0).sum() == 1}


def probability(p: Bandit, *, b: float | None = None) -> float:
    return float(theory.starvation_probability(p.b if b is None else b, p.visits, p.actions))


STARVATION = Law(
    id="potential_games/starvation-probability",
    source=Source(DERIVED, "for the learners of arXiv:2205.14590 without exploration"),
    statement="""
    A learner without exploration, temperature 0, positive rewards, has tried only one of its A actions after n visits
    with probability

        (1/A) prod_{k=3}^n (1 - (1 - 1/A) prod_{j=2}^{k-1} (1 - j^-b)):

    positive in the limit for b < 1, falling like n^-(1 - 1/A) at b = 1. Which action that is does not matter: it may be
    the worst.
    """,
    params=Bandit,
    predict=probability,
    measure=starved,
    claim=Equality(of="starved", over="fraction", scale=1.0),
    controls={
        "b = 1": but(predict=partial(probability, b=1.0)),
        "exploration": but(measure=partial(starved, theta=0.1)),
        "negative rewards: what is not tried looks better": but(
            measure=partial(starved, positive=False), examples=(Bandit(),)
        ),
    },
    examples=(Bandit(), Bandit(b=0.5), Bandit(b=1.0), Bandit(actions=4, b=0.6, visits=30)),
    draws=Draws(shapes=0, replicates=1000),
)
