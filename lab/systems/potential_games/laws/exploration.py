"""Exploring learners: how far what they play is from Nash, and where it can end."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Annotated, Any

import numpy as np

from lab.claims import Bound, Equality
from lab.data.markov_games import MarkovGame, routing_game
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale
from lab.systems.potential_games import dynamics, theory
from lab.systems.potential_games.laws.evaluation import (
    DERIVED,
    MANY,
    PotentialGame,
    drawn,
    value_scale,
    value_units,
)
from lab.systems.potential_games.laws.timescale import Learning, learning


class Exploring(PotentialGame):
    """... whose players explore with probability `theta`."""

    theta: Annotated[float, Ge(1e-4), Le(1.0), LogScale()] = 0.1


def replying(p: Exploring, stream) -> dict[str, Any]:
    """A pure profile of best responses to the others' explored policies: players reply in turn, 40 rounds at most."""
    data = drawn(p, stream)
    game = MarkovGame.from_data(data)
    actions = theory.rounded(list(data["policy"]))
    for _ in range(40):
        before = actions.copy()
        for i in range(p.players):
            played = theory.explored(theory.pure(game, actions), p.theta)
            actions[i] = theory.best_responses(game, played)[1][i]
        if (actions == before).all():
            break
    return {**data, "actions": actions}


@measurement
def explored_profile(p: Exploring, data, stream, *, reply: bool = True):
    """Nash gap of the explored profile by value iteration; whether it is a fixed point. Not `reply`: each player plays
    the next action instead."""
    game = MarkovGame.from_data(data)
    actions = data["actions"] if reply else (data["actions"] + 1) % p.actions
    own = np.eye(p.actions)[actions]
    played = (1 - p.theta) * own + p.theta / p.actions
    gain = dynamics.regrets(game, played, own).max() if reply else 0.0
    return {"gap": dynamics.regrets(game, played).max(), "fixed": gain <= 1e-9 * value_scale(p, data)}


def bound(p: Exploring, data, *, horizon: bool = True) -> float:
    """`horizon`: with the second factor 1/(1 - delta)."""
    spread = max(float(np.ptp(r)) for r in data["rewards"])
    value = theory.exploration_gap_bound(p.theta, p.actions, spread, p.discount if horizon else 0.0)
    return float(value)


EXPLORATION_GAP = Law(
    id="potential_games/exploration-gap",
    source=Source(DERIVED, "for the exploring learners of arXiv:2205.14590"),
    statement="""
    Where every pi_i is a best response to the others' explored policies, what is played, (1 - theta) pi_i + theta/A,
    has a Nash gap of at most theta (1 - 1/A) range(r_i)/(1 - delta)².
    """,
    params=Exploring,
    situation=replying,
    predict=bound,
    measure=explored_profile,
    claim=Bound(of="gap", given="fixed", rounding=value_units),
    controls={"no best responses": but(measure=partial(explored_profile, reply=False))},
    examples=(Exploring(), Exploring(players=3, actions=3, theta=0.01)),
    draws=MANY,
)


# ---------------------------------------------------------------------- learned

LEARNERS = Learning(a=0.7, b=0.75, theta=0.1)


def equilibria() -> np.ndarray:
    """Pure Nash equilibria of the game, (E, I, S): all profiles with the loads of the census."""
    loads = theory.pure_equilibria(published_loads(), own_values=False).loads[0]
    users = np.array(list(product((0, 1), repeat=4)))  # rows: players 0 to 3 in one state, action 0 is route 0
    choices = [users[(users == 0).sum(axis=1) == n] for n in loads]
    index = np.array(list(product(*(range(len(c)) for c in choices))))
    return np.stack([c[k] for c, k in zip(choices, index.T, strict=True)], axis=-1)


def published_loads(convention: str = "published") -> theory.LoadTables:
    return theory.load_tables(4, 2, (2.0, 4.0), (9.0, 16.0), (0.8, 0.2), 0.5, convention=convention)


def largest_gap(p: Learning, *, theta: float = 1.0) -> float:
    """Over all pure Nash equilibria, played with exploration."""
    return float(theory.explored_gap(routing_game(), equilibria(), theta * p.theta).max())


def profile_units(p: Learning) -> float:
    """as for random games: 16 joint actions, 4 players, 4 states"""
    return value_units(p, routing_game().to_data())


LEARNED_GAP = Law(
    id="potential_games/learned-exploration-gap",
    source=Source(DERIVED, "for the exploring learners of arXiv:2205.14590"),
    statement="""
    What independent learners of the routing game play at a pure Nash equilibrium pi*, (1 - theta) pi* + theta/2, has a
    Nash gap from a finite set, at theta = .1 from 1.4420 to 1.6547. Its largest member bounds the gap, and is reached.
    Judged for learners whose policies are all within .01 of those of a pure equilibrium.
    """,
    params=Learning,
    predict=largest_gap,
    measure=learning,
    claim=Bound(of="profile", given="nash", rounding=profile_units, resolve=1e-6),
    controls={"half the exploration": but(predict=partial(largest_gap, theta=0.5))},
    examples=(LEARNERS,),
    draws=Draws(shapes=0, replicates=8),
)


def census_loads(p: Learning, *, convention: str = "published") -> np.ndarray:
    """The only loads of pure equilibria."""
    return theory.pure_equilibria(published_loads(convention), own_values=False).loads[0].astype(float)


LEARNED_LOADS = Law(
    id="potential_games/learned-loads",
    source=Source(DERIVED, "for the exploring learners of arXiv:2205.14590"),
    statement="""
    Exploring learners of the routing game that have settled (all policies within .01 of pure ones) use the routes as
    the pure Nash equilibria do: loads (2, 2, 3, 2) of route 0 in the four states, as a median over the learners;
    after 2000 steps 11 of 1026 settled ones were at profiles that are no equilibria. For a <= .7, a < b, theta >= .05
    and 2000 steps or more.
    """,
    params=Learning,
    predict=census_loads,
    measure=learning,
    claim=Equality(of="loads", given="judged", resolve=1e-6),
    controls={"loads of the natural weights": but(predict=partial(census_loads, convention="natural"))},
    examples=(LEARNERS,),
    draws=Draws(shapes=0, replicates=8),
)
