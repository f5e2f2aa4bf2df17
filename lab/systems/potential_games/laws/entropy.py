"""Softmax equilibria: how far from Nash."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import numpy as np

from lab.claims import Bound, Equality
from lab.data.markov_games import MarkovGame
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale
from lab.systems.potential_games import dynamics, theory
from lab.systems.potential_games.laws.evaluation import DERIVED, PotentialGame, drawn, value_scale, value_units

STEPS = 3000


class Softmax(PotentialGame):
    """... and a softmax of temperature `heat` max|r|."""

    heat: Annotated[float, Ge(0.1), Le(10.0), LogScale()] = 0.3
    discount: Annotated[float, Ge(0.0), Le(0.7)] = 0.5

    def temperature(self, data) -> float:
        return self.heat * float(np.abs(data["rewards"]).max())


def equilibrium(p: Softmax, stream) -> dict[str, Any]:
    """A game and a softmax equilibrium; "error", how far from one: max|V_i - q_i + tau log pi_i|."""
    data = drawn(p, stream)
    game = MarkovGame.from_data(data)
    found = dynamics.softmax_path(game, p.temperature(data), list(data["policy"]), damping=0.3, steps=STEPS)
    return {**data, "policy": np.stack(found.policy), "error": found.error}


@measurement
def softmax_gains(p: Softmax, data, stream):
    """What every player can gain in every state in the game without entropy; whether the policy is an equilibrium."""
    gains = dynamics.regrets(MarkovGame.from_data(data), data["policy"])
    return {"regrets": gains, "gap": gains.max(), "fixed": data["error"] < 1e-9 * value_scale(p, data)}


def gains(p: Softmax, data, *, cost: bool = True) -> np.ndarray:
    return theory.softmax_regrets(MarkovGame.from_data(data), data["policy"], p.temperature(data), cost=cost)


def softmax_units(p: Softmax, data) -> float:
    """those of values, and tau/(1 - delta) times those of visits, for logarithms of at most log A + 2 V/tau: values"""
    units = 8 * (p.actions**p.players + 4 * p.states) / (1 - p.discount) ** 2
    return 4 * (value_units(p, data) + p.temperature(data) * np.log(p.actions) * units)


def fixed_point_error(p: Softmax, data) -> float:
    """V - q + tau log pi is off by at most "error" in each state, summed with weights that add up to 1/(1 - delta)
    along the equilibrium and along the best response"""
    return 2 * float(data["error"]) / (1 - p.discount)


SOFTMAX_REGRETS = Law(
    id="potential_games/softmax-regrets",
    source=Source(DERIVED),
    statement="""
    At a softmax equilibrium of temperature tau player i can gain in state s, in the game without entropy,

        V_i^max - V_i = tau/(1 - delta) (sum d^pi H(pi_i) - sum d^br log 1/pi_i(br_i)),

    d^pi and d^br the discounted visits from s under the equilibrium and under i's best response br: exactly what
    entropy pays, less what it charges for the best response.
    """,
    params=Softmax,
    situation=equilibrium,
    predict=gains,
    measure=softmax_gains,
    claim=Equality(of="regrets", given="fixed", rounding=softmax_units, finite_size=fixed_point_error,
                   scale=value_scale, resolve=1e-6),
    controls={"what the best response costs left out": but(predict=partial(gains, cost=False))},
    examples=(Softmax(), Softmax(family="action independent", players=3, actions=3, heat=0.1)),
    draws=Draws(shapes=3, values=2),
)  # fmt: skip


def gap_bound(p: Softmax, data, *, part: float = 1.0) -> float:
    return float(theory.entropy_gap_bound(part * p.temperature(data), p.actions, p.discount))


ENTROPY_GAP = Law(
    id="potential_games/entropy-gap",
    source=Source("arXiv:2205.14590", "the price of smoothing; standard for regularised decision problems"),
    statement="""
    The Nash gap, in the game without entropy, of any softmax equilibrium is at most tau log A/(1 - delta). In the
    published example it is 12 % of that at tau = 50, 20 % at 20, 26 % at 10.
    """,
    params=Softmax,
    situation=equilibrium,
    predict=gap_bound,
    measure=softmax_gains,
    claim=Bound(of="gap", given="fixed", rounding=softmax_units),
    controls={"a hundredth of the temperature": but(predict=partial(gap_bound, part=0.01))},
    examples=(Softmax(), Softmax(family="action independent", players=3, actions=3, heat=0.1)),
    draws=Draws(shapes=3, values=2),
)
