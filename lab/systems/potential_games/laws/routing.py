"""The routing game with two routes as a domain."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from lab.data.markov_games import MarkovGame, routing_game
from lab.params import Ge, Le, Params
from lab.systems.potential_games import theory


class Routing(Params):
    """Two routes of delay `slope` and offset; the default is the published example."""

    players: Annotated[int, Ge(2), Le(4)] = 4
    capacity: Annotated[int, Ge(1), Le(4)] = 2
    slope_0: Annotated[float, Ge(0.5), Le(5.0)] = 2.0
    slope_1: Annotated[float, Ge(0.5), Le(5.0)] = 4.0
    offset_0: Annotated[float, Ge(4.0), Le(20.0)] = 9.0
    offset_1: Annotated[float, Ge(4.0), Le(20.0)] = 16.0
    fresh: Annotated[float, Ge(0.5), Le(1.0)] = 0.8
    worn: Annotated[float, Ge(0.0), Le(0.5)] = 0.2
    discount: Annotated[float, Ge(0.0), Le(0.9)] = 0.5

    @property
    def settings(self) -> dict[str, Any]:
        """What both forms of the game take."""
        return {"players": self.players, "capacity": self.capacity, "slopes": (self.slope_0, self.slope_1),
                "offsets": (self.offset_0, self.offset_1), "recovery": (self.fresh, self.worn),
                "discount": self.discount}  # fmt: skip

    def game(self, *, own: bool = False, averaged: bool = False, convention: Any = "published") -> MarkovGame:
        """Joint tables; `own` rewards, and a kernel `averaged` over joint actions."""
        return routing_game(**self.settings, routes=2, rewards="individual" if own else "common",
                            kernel="averaged" if averaged else "actions", convention=convention)  # fmt: skip

    def loads(self, *, own: bool = False, averaged: bool = False, convention: str = "published") -> theory.LoadTables:
        """The same in terms of loads."""
        return theory.load_tables(**self.settings, common=not own, averaged=averaged, convention=convention)


def routed(p: Routing, stream, *, own: bool = False, averaged: bool = True) -> dict[str, Any]:
    """The game, two random policies of all players, a law of the first state."""
    rng, rows = stream.numpy("policies"), (2, p.players, 4)
    policy, other = rng.dirichlet(np.ones(2), size=rows)
    return {**p.game(own=own, averaged=averaged).to_data(), "policy": policy, "other": other,
            "start": rng.dirichlet(np.ones(4))}  # fmt: skip
