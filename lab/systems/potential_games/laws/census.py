"""Every pure stationary equilibrium of the routing game, counted."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np

from lab.claims import Equality
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.systems.potential_games import theory
from lab.systems.potential_games.laws.evaluation import DERIVED
from lab.systems.potential_games.laws.routing import Routing

TIE = 1e-9  # gains below are none: rounding is 1e-13, and ties of random routes that are no ties are rarer than 1e-8


class Census(Routing):
    """... of which all pure profiles are listed; common rewards, or own ones with a kernel averaged over actions."""

    own: bool = False


@measurement
def enumerated(p: Census, stream, *, averaged: bool = True):
    """Values of all 16^N pure profiles, and of each player's 16 policies against the others': who can gain?

    "histogram" (S, N + 1): equilibria by users of route 0; "welfare": largest and smallest sum of all values, averaged
    over states. Own rewards: with ``averaged=False`` the kernel keeps its dependence on the actions.
    """
    game = p.game(own=p.own, averaged=p.own and averaged)
    S, N = game.states, p.players
    own = np.array(list(product((0, 1), repeat=S)))
    actions = own[np.indices((len(own),) * N).reshape(N, -1)]  # (N, E, S)
    joint = np.zeros(actions.shape[1:], dtype=int)
    for part in actions:
        joint = 2 * joint + part
    reward = game.rewards.reshape(N, S, -1)[:, np.arange(S), joint]  # (N, E, S)
    chain = game.transitions.reshape(S, -1, S)[np.arange(S), joint]  # (E, S, S)
    v = np.linalg.solve(np.eye(S) - game.discount * chain, np.moveaxis(reward, 0, -1))  # (E, S, N)
    table = v.reshape(*(len(own),) * N, S, N)
    gain = np.zeros(table.shape[:N])
    for i in range(N):
        mine = table[..., i]
        gain = np.maximum(gain, (mine.max(axis=i, keepdims=True) - mine).max(axis=-1))
    stable = (gain <= TIE).ravel()
    users = (actions[:, stable] == 0).sum(axis=0)  # (E, S)
    histogram = np.stack([(users == n).sum(axis=0) for n in range(N + 1)], axis=1)
    welfare = v[stable].sum(axis=-1).mean(axis=-1)
    return {"histogram": histogram.astype(float), "welfare": np.array([welfare.max(), welfare.min()])}


def listed(p: Census, *, convention: str = "published") -> theory.Census:
    """From loads; `convention` says which of the states is slow."""
    table = p.loads(own=p.own, averaged=p.own, convention=convention)
    return theory.pure_equilibria(table, own_values=p.own, tolerance=TIE)


def histogram(p: Census, *, convention: str = "published") -> np.ndarray:
    return listed(p, convention=convention).histogram(p.players)


def welfare(p: Census, *, convention: str = "published") -> np.ndarray:
    mean = listed(p, convention=convention).values.mean(axis=1)
    return np.array([mean.max(), mean.min()])


def welfare_units(p: Census) -> float:
    """sums of N rewards of at most N (20 + 2 x 5 N) each in a solve with S = 4 states, on both sides"""
    largest = p.players**2 * (20 + 10 * p.players) / (1 - p.discount)
    return 2 * (8 * 4 + 4 * p.players) * largest / (1 - p.discount)


PURE_NASH_CENSUS = Law(
    id="potential_games/pure-nash-census",
    source=Source(DERIVED, "the routing example of arXiv:2205.14590"),
    statement="""
    Pure stationary equilibria of the routing game are decided by their loads n(s), the users of route 0 in every state:
    those from which no player gains by changing its route in one state, each standing for prod_s C(N, n(s)) profiles.
    Common rewards, or own rewards with a kernel that ignores the actions. The published example: 864 of 65536
    profiles, all with loads (2, 2, 3, 2), values 23.663158, 39.663158, 34.557895, 47.663158; with own rewards and the
    averaged kernel 576, loads (2, 1, 3, 2). Judged: numbers of equilibria by state and load.
    """,
    params=Census,
    predict=histogram,
    measure=enumerated,
    claim=Equality(of="histogram", scale=1.0, resolve=1e-6),
    controls={"the other weights of safe and unsafe": but(predict=partial(histogram, convention="natural"))},
    examples=(Census(), Census(own=True), Census(players=3, capacity=1, discount=0.9)),
    draws=Draws(shapes=5, values=2),
)

PURE_NASH_WELFARE = Law(
    id="potential_games/pure-nash-welfare",
    source=Source(DERIVED, "the routing example of arXiv:2205.14590"),
    statement="""
    Sum of the players' values, averaged over states, at the best and at the worst pure stationary equilibrium of the
    routing game. The published example: 4 x 36.386842 at every equilibrium.
    """,
    params=Census,
    predict=welfare,
    measure=enumerated,
    claim=Equality(of="welfare", rounding=welfare_units, scale=1.0, resolve=1e-6),
    controls={
        "the other weights of safe and unsafe": but(predict=partial(welfare, convention="natural")),
        "own rewards, kernel of the actions": but(
            measure=partial(enumerated, averaged=False), examples=(Census(own=True),)
        ),
    },
    examples=(Census(), Census(own=True), Census(players=3, capacity=1, discount=0.9)),
    draws=Draws(shapes=5, values=2),
)

ROUTING_NAMES_PRINTED = PURE_NASH_CENSUS.printed(
    "potential_games/routing-names-printed",
    at=(Census(),),
    predict=partial(histogram, convention="natural"),
    source=Source("arXiv:2205.14590", "public code of the routing example"),
    statement="""
    As named: an unsafe route is the slower one, w(safe) = 1 and w(unsafe) = 2: 384 equilibria, loads (2, 3, 1, 3), mean
    value 28.430189. The code sets w(safe) = 2 and w(unsafe) = 1, the opposite of its names, and its published numbers
    belong to that: 864 equilibria, loads (2, 2, 3, 2), 36.386842.
    """,
)
