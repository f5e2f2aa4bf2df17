"""Unilateral changes of policies change a potential by as much as the player's value; sums around 4-cycles vanish."""

from __future__ import annotations

from functools import partial

import numpy as np

from lab.claims import Equality
from lab.data.markov_games import MarkovGame
from lab.law import Law, Source, but
from lab.measure import measurement
from lab.systems.potential_games import dynamics, theory
from lab.systems.potential_games.laws.evaluation import (
    MANY,
    PotentialGame,
    deviating,
    drawn,
    value_scale,
    value_units,
)
from lab.systems.potential_games.laws.routing import Routing, routed

PAPER = "arXiv:2205.14590"


@measurement
def value_change(p, data, stream):
    """Change of player 0's value in every state as it alone changes its policy."""
    game = MarkovGame.from_data(data)
    before, after = (dynamics.values(game, policy, game.rewards[:1])[0] for policy in (data["policy"], deviating(data)))
    return {"change": after - before}


def potential_change(p, data, *, stage: bool = False) -> np.ndarray:
    """Change of the discounted stage potential, or, `stage`, of its first term alone."""
    game = MarkovGame.from_data(data)
    if stage:
        game = MarkovGame(game.rewards, game.transitions, 0.0, game.stage_potential)
    return theory.potential(game, deviating(data)) - theory.potential(game, data["policy"])


CLAIM = Equality(of="change", rounding=value_units, scale=value_scale, resolve=1e-6)

POTENTIAL_IDENTITY = Law(
    id="potential_games/potential-identity",
    source=Source(PAPER, "Markov potential games"),
    statement="""
    V_i(pi_i', pi_-i)(s) - V_i(pi)(s) = Phi(pi_i', pi_-i)(s) - Phi(pi)(s) for every unilateral change and every state,
    Phi the discounted stage potential, in two families: all players have the same reward (any kernel), or every reward
    is the stage potential plus a term without the player's own action and the kernel ignores the actions.
    """,
    params=PotentialGame,
    situation=drawn,
    predict=potential_change,
    measure=value_change,
    claim=CLAIM,
    controls={
        "one reward differs, or the kernel depends on the actions": but(situation=partial(drawn, broken=True)),
        "the stage potential, not discounted": but(predict=partial(potential_change, stage=True)),
    },
    examples=(PotentialGame(family="action independent"), PotentialGame(players=3, actions=3, states=4, discount=0.9)),
    draws=MANY,
)

ROSENTHAL = Law(
    id="potential_games/rosenthal-potential",
    source=Source(PAPER, "the routing example; Rosenthal 1973 for its stages"),
    statement="""
    Routing with own rewards and a kernel that ignores the actions: Phi is Rosenthal's sum
    sum_r sum_{k <= n_r} (b_r - w(s_r) m_r k), discounted. With the kernel of the actions it is no potential.
    """,
    params=Routing,
    situation=partial(routed, own=True),
    predict=potential_change,
    measure=value_change,
    claim=CLAIM,
    controls={"the kernel depends on the actions": but(situation=partial(routed, own=True, averaged=False))},
    examples=(Routing(), Routing(players=3, capacity=1, discount=0.9)),
    draws=MANY,
)


# ---------------------------------------------------------------------- cycles


@measurement
def cycle(p, data, stream):
    """Gains of the mover added up while 0 moves, 1 moves, 0 moves back, 1 moves back; in every state."""
    game, old, new = MarkovGame.from_data(data), data["policy"], data["other"]
    total, moved = np.zeros(game.states), [False, False]
    for mover in (0, 1, 0, 1):
        ends = []
        for _ in range(2):
            profile = [*((new if m else old)[i] for i, m in enumerate(moved)), *old[2:]]
            ends.append(dynamics.values(game, profile, game.rewards[mover : mover + 1])[0])
            moved[mover] ^= True
        moved[mover] ^= True
        total += ends[1] - ends[0]
    return {"sum": total}


def no_residual(p, data) -> np.ndarray:
    return np.zeros(data["rewards"].shape[1])


CYCLE_RESIDUAL = Law(
    id="potential_games/cycle-residual",
    source=Source("Monderer and Shapley 1996", "4-cycles; here with policies for actions"),
    statement="""
    Players i and j move in turn, there and back; the sum of the movers' gains is zero in every state, for all policies,
    exactly where the game has a potential. A test that needs no knowledge of the potential; random policies test
    necessity.
    """,
    params=PotentialGame,
    situation=drawn,
    predict=no_residual,
    measure=cycle,
    claim=Equality(of="sum", rounding=value_units, scale=value_scale, resolve=1e-6),
    controls={"one reward differs, or the kernel depends on the actions": but(situation=partial(drawn, broken=True))},
    examples=(PotentialGame(family="action independent"), PotentialGame(players=3, actions=3, states=4, discount=0.9)),
    draws=MANY,
)
