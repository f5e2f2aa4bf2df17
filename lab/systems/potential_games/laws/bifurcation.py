"""Symmetric softmax equilibria: where they lose stability, and what comes after."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Annotated

import numpy as np

from lab.claims import Classification, Crossover
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale
from lab.systems.potential_games import dynamics, theory
from lab.systems.potential_games.laws.evaluation import DERIVED
from lab.systems.potential_games.laws.routing import Routing


class Heated(Routing):
    """... at a temperature; common rewards, or own ones with a kernel averaged over actions. Narrower ranges: with one
    route far better than the other all players take it at low temperatures, and there is no symmetry to break."""

    own: bool = False
    slope_0: Annotated[float, Ge(2.0), Le(5.0)] = 2.0
    slope_1: Annotated[float, Ge(2.0), Le(5.0)] = 4.0
    offset_0: Annotated[float, Ge(8.0), Le(12.0)] = 9.0
    offset_1: Annotated[float, Ge(8.0), Le(16.0)] = 16.0
    discount: Annotated[float, Ge(0.0), Le(0.6)] = 0.5
    temperature: Annotated[float, Ge(0.01), Le(1000.0), LogScale()] = 6.0

    @property
    def at_any_temperature(self) -> Heated:
        """All but the temperature."""
        return self.replace(temperature=1.0)


@lru_cache(maxsize=256)
def _critical(p: Heated) -> float:
    return theory.critical_temperature(p.loads(own=p.own, averaged=p.own))


def critical(p: Heated, *, factor: float = 1.0) -> float:
    return factor * _critical(p.at_any_temperature)


@measurement
def instability(p: Heated, stream, *, asymmetric: bool = False):
    """Top eigenvalue minus 1 of the derivative of the softmax map, (N S, N S) by differences, at the symmetric
    equilibrium that damped iteration finds; `asymmetric`: at a random profile."""
    game = p.game(own=p.own, averaged=p.own)
    if asymmetric:
        policy = list(stream.numpy("profile").dirichlet(np.ones(2), size=(p.players, 4)))
    else:
        uniform = [np.full((4, 2), 0.5)] * p.players
        policy = dynamics.softmax_path(game, p.temperature, uniform, damping=1 / p.players, steps=2000).policy
    top = np.linalg.eigvals(dynamics.softmax_jacobian(game, policy, p.temperature)).real.max()
    return {"excess": top - 1}


def around(p: Heated) -> np.ndarray:
    """0.9 to 1.1 times the predicted temperature in 7 values, off the prediction itself"""
    return critical(p) * np.linspace(0.903, 1.103, 7)


LOGIT_BIFURCATION = Law(
    id="potential_games/logit-bifurcation",
    source=Source(DERIVED, "the routing example of arXiv:2205.14590"),
    statement="""
    Exchangeable players have a symmetric softmax equilibrium. It is stable above a temperature tau_c, where the largest
    eigenvalue of the (S, S) matrix of theory.breaking_matrix is 1, and unstable below: players settle on different
    routes. tau_c = 6.2025 in the published example. Judged: where the derivative of the softmax map, all players and
    states, has the eigenvalue 1.
    """,
    params=Heated,
    predict=critical,
    measure=instability,
    claim=Crossover(of="excess", along="temperature", level=0.0, over="each", axis=around, resolve=0.01),
    controls={
        "1.3 times the temperature": but(predict=partial(critical, factor=1.3)),
        "the derivative somewhere else": but(measure=partial(instability, asymmetric=True)),
    },
    examples=(Heated(), Heated(own=True), Heated(players=2, capacity=1, discount=0.6)),
    draws=Draws(shapes=2, values=1),
)


# ---------------------------------------------------------------------- branches


@measurement
def branch(p: Heated, stream, *, common: bool = False):
    """Distance of the players' policies from their mean, max_i |x_i - mean| over states, at the end of damped iteration
    from a random profile; `common`: from one that all players share."""
    start = stream.numpy("start").dirichlet(np.ones(2), size=(1 if common else p.players, 4))
    start = list(np.broadcast_to(start, (p.players, 4, 2)))
    game = p.game(own=p.own, averaged=p.own)
    end = dynamics.softmax_path(game, p.temperature, start, damping=1 / p.players, steps=800)
    x = np.stack([part[:, 0] for part in end.policy])
    order = float(np.linalg.norm(x - x.mean(axis=0), axis=1).max())
    return {"order": order, "broken": order > 0.01}


def breaks(p: Heated, *, factor: float = 1.0) -> float:
    return float(p.temperature < critical(p, factor=factor))


def above(p: Heated) -> float:
    """temperature over the critical one, minus one"""
    return p.temperature / critical(p) - 1


LOGIT_BRANCHES = Law(
    id="potential_games/logit-branches",
    source=Source(DERIVED, "the routing example of arXiv:2205.14590"),
    statement="""
    Above tau_c players end with one policy for all, from any start; below tau_c they end apart. In the published
    example max_i |x_i - mean| (x_i the probabilities of route 0, in 4 states) is .307 at .9 tau_c and .380 at .8 tau_c.
    Within 5 % of tau_c relaxation is slower than the 800 steps taken: not judged there. Below, several equilibria
    coexist.
    """,
    params=Heated,
    predict=breaks,
    measure=branch,
    claim=Classification(of="broken", distance=above),
    controls={
        "1.3 times the temperature": but(predict=partial(breaks, factor=1.3)),
        "all start alike": but(measure=partial(branch, common=True)),
    },
    examples=tuple(Heated(temperature=t) for t in (4.5, 5.2, 5.85, 6.55, 7.0, 7.8)),
    draws=Draws(shapes=0),
)
