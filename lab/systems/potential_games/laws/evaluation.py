"""Random games as a domain; the exact Nash gap, and what a published figure shows in its place."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np

from lab.claims import Equality
from lab.data.markov_games import (
    MarkovGame,
    random_action_independent_game,
    random_general_game,
    random_identical_interest_game,
)
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, Params
from lab.systems.potential_games import dynamics, theory

DERIVED = "derived for this laboratory; not found in arXiv:2205.14590"
MANY = Draws(shapes=6, values=4)

GENERATORS = {
    "identical interest": random_identical_interest_game,
    "action independent": random_action_independent_game,
    "general": random_general_game,
}


class RandomGame(Params):
    """A random game of a family, random policies of all players, a deviation of player 0, a law of the first state."""

    family: Literal["identical interest", "action independent", "general"] = "general"
    players: Annotated[int, Ge(2), Le(3)] = 2
    actions: Annotated[int, Ge(2), Le(3)] = 2
    states: Annotated[int, Ge(1), Le(4)] = 3
    discount: Annotated[float, Ge(0.0), Le(0.9)] = 0.7


class PotentialGame(RandomGame):
    """... of a family with a potential."""

    family: Literal["identical interest", "action independent"] = "identical interest"  # type: ignore[assignment]


def drawn(p: RandomGame, stream, *, broken: bool = False) -> dict[str, Any]:
    """Game and policies; `broken` takes a family's assumption away: another reward for player 0, or a kernel that
    depends on the actions."""
    rng = stream.numpy("game")
    shape = ((p.actions,) * p.players, p.states, p.discount)
    game = GENERATORS[p.family](rng, *shape)
    if broken:
        other = random_general_game(rng, *shape)
        rewards = game.rewards.copy()
        rewards[0] = other.rewards[0] if p.family == "identical interest" else rewards[0]
        kernel = game.transitions if p.family == "identical interest" else other.transitions
        game = MarkovGame(rewards, kernel, p.discount, game.stage_potential)
    rows = (2, p.players, p.states)
    policy, other_policy = rng.dirichlet(np.ones(p.actions), size=rows)
    return {**game.to_data(), "policy": policy, "other": other_policy, "start": rng.dirichlet(np.ones(p.states))}


def deviating(data: Any) -> np.ndarray:
    """Policies (I, S, A) with player 0 changed."""
    return np.concatenate([data["other"][:1], data["policy"][1:]])


def largest_value(data: Any) -> float:
    """max|r|/(1 - delta): no value is larger."""
    return float(np.abs(data["rewards"]).max()) / (1 - float(data["discount"]))


def value_units(p: Any, data: Any) -> float:
    """with J joint actions and S states an averaged reward or kernel is off by J + I epsilons, a solve or a sweep by 4
    S more, relative to the largest value max|r|/(1 - delta), and the recursion adds these up to 1/(1 - delta) times as
    much; twice for two sides, four times for differences of four values"""
    players, states = data["rewards"].shape[:2]
    joint = data["rewards"][0, 0].size
    return 8 * (joint + players + 4 * states) * largest_value(data) / (1 - float(data["discount"]))


def value_scale(p: Any, data: Any) -> float:
    """the largest value possible"""
    return largest_value(data)


# ---------------------------------------------------------------------- Nash gap


@measurement
def value_iteration(p: RandomGame, data, stream):
    """Largest gain by any policy of any player in any state, by value iteration."""
    return {"gap": dynamics.regrets(MarkovGame.from_data(data), data["policy"]).max()}


def solved_gap(p: RandomGame, data) -> float:
    return float(theory.nash_gap(MarkovGame.from_data(data), data["policy"]))


def plotted_gap(p: RandomGame, data) -> float:
    """Own policies of one time against the opponents' policies of another."""
    game = MarkovGame.from_data(data)
    best, _ = theory.best_responses(game, data["other"])
    own = [theory.values(game, [*data["other"][:i], data["policy"][i], *data["other"][i + 1 :]])[i]
           for i in range(game.players)]  # fmt: skip
    return float((best - np.stack(own)).max())


def myopic_gap(p: RandomGame, data) -> float:
    """Best action in the state at hand only, the old policy afterwards."""
    game = MarkovGame.from_data(data)
    v = theory.values(game, data["policy"])
    q = np.stack(theory.action_values(game, data["policy"], v))
    return float((q.max(axis=-1) - v).max())


NASH_GAP = Law(
    id="potential_games/nash-gap",
    source=Source("arXiv:2205.14590", "the Nash gap of a stationary policy"),
    statement="""
    The Nash gap max_{i,s} (V_i^max(pi_-i)(s) - V_i(pi)(s)): against stationary opponents a player faces a Markov
    decision problem, so that policy iteration over its pure stationary policies gives the best of all its policies.
    """,
    params=RandomGame,
    situation=drawn,
    predict=solved_gap,
    measure=value_iteration,
    claim=Equality(of="gap", rounding=value_units, scale=value_scale, resolve=1e-6),
    controls={"a best reply in one state only": but(predict=myopic_gap)},
    examples=(RandomGame(), RandomGame(family="identical interest", players=3, actions=3, states=4, discount=0.9)),
    draws=MANY,
)

NASH_PLOT_PRINTED = NASH_GAP.printed(
    "potential_games/published-plot-printed",
    at=(RandomGame(), RandomGame(family="identical interest")),
    predict=plotted_gap,
    source=Source("arXiv:2205.14590", "public code: the plotted distance to equilibrium"),
    statement="""
    As plotted: the distance to equilibrium after k steps is V_i^max(pi_-i^K) - V_i(pi_i^k, pi_-i^K), own policies of
    step k against the opponents' of the *last* step K. That is the Nash gap at k = K only; before, it hides that
    everyone moves at the same time. True: max_{i,s} (V_i^max(pi_-i^k) - V_i(pi^k)). Here `policy` stands for step k,
    `other` for step K.
    """,
)
