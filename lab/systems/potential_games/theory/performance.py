r"""How values change with one player's policy, and how fast a potential rises along better replies."""

from __future__ import annotations

from typing import Any

import numpy as np

from lab import checks
from lab.data.markov_games import MarkovGame
from lab.systems.potential_games.theory.evaluation import Policy, action_values, occupancy, values

__all__ = ["ascent_rate", "performance_difference"]


def performance_difference(
    game: MarkovGame, policy: Policy, deviation: np.ndarray, player: int, start: Any, *, visits_of: str = "deviation"
) -> np.ndarray:
    r""":math:`\mu^\top(V_i^{\pi'}-V_i^\pi)=\frac1{1-\delta}\sum_sd_\mu^{\pi'}(s)\sum_a(\pi_i'-\pi_i)(a|s)Q_i^\pi(s,a)`.

    Valid in every game. :math:`\pi'` differs from :math:`\pi` in one player's policy only.

    Parameters
    ----------
    game : MarkovGame
    policy : list of arrays (..., S, A_i)
    deviation : array (..., S, A_i)
        :math:`\pi_i'` of `player`.
    start : array (S,)
        :math:`\mu`, law of the first state.
    visits_of : "deviation" or "policy"
        Whose visits d weigh the states; those of "policy" give the first-order term, not the difference.
    """
    moved = [deviation if i == player else part for i, part in enumerate(policy)]
    visits = occupancy(game, moved if visits_of == "deviation" else policy, start)
    q = action_values(game, policy, values(game, policy))[player]
    advantage = ((deviation - policy[player]) * q).sum(axis=-1)
    return (visits * advantage).sum(axis=-1) / (1 - game.discount)


def ascent_rate(game: MarkovGame, policy: Policy, speeds: Any, start: Any) -> np.ndarray:
    r"""Rate of the potential along :math:`\dot\pi_i(s)=w(s)(br_i(s)-\pi_i(s))`, br greedy for :math:`Q_i^\pi`:

    .. math:: \mu^\top\dot\Phi=\frac1{1-\delta}\sum_i\sum_sd_\mu^\pi(s)w(s)[\max_aQ_i(s,a)-\pi_i(s)\cdot Q_i(s)]\ge0.

    It vanishes at equilibria only, if every state is visited. `speeds` is w (S,) >= 0.
    """
    speeds = checks.non_negative("speeds", speeds)
    q = action_values(game, policy, values(game, policy))
    gains = sum((one.max(axis=-1) - (part * one).sum(axis=-1)) for part, one in zip(policy, q, strict=True))
    return (occupancy(game, policy, start) * speeds * gains).sum(axis=-1) / (1 - game.discount)
