r"""Learners that explore: the Nash gap of what they play, and the finite set it comes from."""

from __future__ import annotations

from typing import Any

import numpy as np

from lab import checks
from lab.data.markov_games import MarkovGame
from lab.systems.potential_games.theory.evaluation import best_responses, explored, nash_gap, pure, values

__all__ = ["exploration_gap_bound", "explored_gap", "explored_response_gain"]


def exploration_gap_bound(theta, actions, spread, discount):
    r"""Largest Nash gap of :math:`(1-\theta)\pi+\theta/A` where each :math:`\pi_i` is a best response to the explored
    policies of the others: :math:`\theta(1-1/A)\,\mathrm{range}(r)/(1-\delta)^2`.

    Parameters
    ----------
    theta : array_like, in [0, 1]
    actions : int
        A, the largest number of actions of a player.
    spread : array_like, >= 0
        Largest over players of the range of the reward.
    discount : array_like, in [0, 1)

    Notes
    -----
    By the performance difference, from a best response to its explored form :math:`\theta\sum_a(\pi_i-1/A)Q_i` is lost
    in each state; that is at most :math:`\theta(1-1/A)` times the range of Q, itself at most range(r)/(1-delta).

    Examples
    --------
    >>> float(exploration_gap_bound(0.1, 2, 90.0, 0.5))
    18.0
    """
    theta = checks.fraction("theta", theta, open=False)
    discount = checks.checked("discount", discount, lambda v: (v >= 0) & (v < 1), "must lie in [0, 1)")
    count = checks.integer("actions", actions, 1)
    return (theta * (1 - 1 / count) * checks.non_negative("spread", spread) / (1 - discount) ** 2)[()]


def explored_gap(game: MarkovGame, actions: Any, theta: float) -> np.ndarray:
    """Nash gap of pure profiles ``actions[..., i, s]`` played with exploration, shape (...).

    Over the profiles that are best responses to the others' explored policies this is a finite set: the only gaps that
    learners with steps to zero and exploration `theta` can end with.
    """
    return nash_gap(game, explored(pure(game, actions), theta))


def explored_response_gain(game: MarkovGame, actions: Any, theta: float) -> np.ndarray:
    """What some player could gain by leaving its pure policy, the others exploring, shape (...).

    Zero where the pure profile is a fixed point of learning with exploration.
    """
    policy = pure(game, actions)
    played = explored(policy, theta)
    best, _ = best_responses(game, played)
    own = [values(game, [policy[j] if j == i else played[j] for j in range(game.players)])[..., i, :]
           for i in range(game.players)]  # fmt: skip
    return (best - np.stack(own, axis=-2)).max(axis=(-1, -2))
