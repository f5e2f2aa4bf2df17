"""Performance difference in any game; ascent of the potential along better replies."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality
from lab.data.markov_games import MarkovGame
from lab.law import Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le
from lab.systems.potential_games import dynamics, theory
from lab.systems.potential_games.laws.evaluation import (
    DERIVED,
    MANY,
    PotentialGame,
    RandomGame,
    deviating,
    drawn,
    value_scale,
    value_units,
)


@measurement
def value_difference(p: RandomGame, data, stream):
    """Change of player 0's value, averaged over the first state, as it alone changes its policy."""
    game = MarkovGame.from_data(data)
    before, after = (dynamics.values(game, policy, game.rewards[:1])[0] for policy in (data["policy"], deviating(data)))
    return {"difference": data["start"] @ (after - before)}


def predicted_difference(p: RandomGame, data, *, visits_of: str = "deviation") -> float:
    return float(theory.performance_difference(MarkovGame.from_data(data), data["policy"], data["other"][0], 0,
                                               data["start"], visits_of=visits_of))  # fmt: skip


def difference_units(p: RandomGame, data) -> float:
    """those of values; the formula has action values, at most the largest value and off by as much, times visits that
    add up to 1/(1 - delta)"""
    return 4 * value_units(p, data) / (1 - float(data["discount"]))


PERFORMANCE_DIFFERENCE = Law(
    id="potential_games/performance-difference",
    source=Source("Kakade and Langford 2002", "Lemma 6.1; in games with the others' policies fixed"),
    statement="""
    mu^T (V_i^pi' - V_i^pi) = 1/(1 - delta) sum_s d_mu^pi'(s) sum_a (pi_i' - pi_i)(a|s) Q_i^pi(s, a) for a change of
    player i's policy alone, in every game, with a potential or not. The visits d are those of the *new* policy.
    """,
    params=RandomGame,
    situation=drawn,
    predict=predicted_difference,
    measure=value_difference,
    claim=Equality(of="difference", rounding=difference_units, scale=value_scale, resolve=1e-6),
    controls={"visits of the old policy": but(predict=partial(predicted_difference, visits_of="policy"))},
    examples=(RandomGame(), RandomGame(family="identical interest", players=3, actions=3, states=4, discount=0.9)),
    draws=MANY,
)


# ---------------------------------------------------------------------- ascent


class Ascent(PotentialGame):
    """... and better replies at a speed that varies over states by the factor `unevenness`."""

    unevenness: Annotated[float, Ge(1.0), Le(100.0)] = 3.0


def speeds(p: Ascent, data) -> np.ndarray:
    """From 1 to `unevenness` over the states."""
    return np.linspace(1.0, p.unevenness, len(data["start"]))


@measurement
def rise(p: Ascent, data, stream):
    """Derivative of the potential along better replies, by a complex step: exact to rounding."""
    game, h = MarkovGame.from_data(data), 1e-30
    ways = dynamics.greedy_direction(game, data["policy"])
    moved = [part + 1j * h * speeds(p, data)[:, None] * way for part, way in zip(data["policy"], ways, strict=True)]
    return {"rate": data["start"] @ dynamics.values(game, moved, np.asarray(game.stage_potential)[None])[0].imag / h}


def predicted_rate(p: Ascent, data) -> float:
    game = MarkovGame.from_data(data)
    return float(theory.ascent_rate(game, data["policy"], speeds(p, data), data["start"]))


def rate_units(p: Ascent, data) -> float:
    """those of the performance difference, for each player, times the largest speed"""
    return len(data["rewards"]) * p.unevenness * difference_units(p, data)


def rate_scale(p: Ascent, data) -> float:
    """the largest rate possible: all players, largest speed, advantages of twice the largest value"""
    return 2 * len(data["rewards"]) * p.unevenness * value_scale(p, data) / (1 - float(data["discount"]))


POTENTIAL_ASCENT = Law(
    id="potential_games/potential-ascent-rate",
    source=Source(DERIVED, "from the performance difference"),
    statement="""
    Along dpi_i(s)/dt = w(s) (br_i(s) - pi_i(s)), br_i(s) the greedy action of Q_i^pi, the potential rises at the rate

        mu^T dPhi/dt = 1/(1 - delta) sum_i sum_s d_mu^pi(s) w(s) [max_a Q_i(s, a) - pi_i(s) Q_i(s)] >= 0,

    in every potential game. Steps of size one, all players at once, may cycle instead.
    """,
    params=Ascent,
    situation=drawn,
    predict=predicted_rate,
    measure=rise,
    claim=Equality(of="rate", rounding=rate_units, scale=rate_scale, resolve=1e-6),
    controls={"one reward differs, or the kernel depends on the actions": but(situation=partial(drawn, broken=True))},
    examples=(Ascent(), Ascent(family="action independent", players=3, actions=3, unevenness=100.0)),
    draws=MANY,
)
