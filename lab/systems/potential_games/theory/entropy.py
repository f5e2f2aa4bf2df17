r"""Softmax equilibria: the Nash gap of fixed points :math:`\pi_i=\mathrm{softmax}(q_i/\tau)`.

:math:`q_i=E_{-i}[r_i+\delta PV_i^\tau]`, where :math:`V_i^\tau` adds :math:`\tau H(\pi_i)` in every state.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lab import checks
from lab.data.markov_games import MarkovGame
from lab.systems.potential_games.theory.evaluation import Policy, best_responses, occupancy, pure

__all__ = ["entropy_gap_bound", "softmax_regrets"]


def entropy_gap_bound(temperature, actions, discount):
    r"""Largest Nash gap, in the game without entropy, of a softmax equilibrium: :math:`\tau\log A/(1-\delta)`.

    Parameters
    ----------
    temperature : array_like, >= 0
        :math:`\tau`, in units of the reward.
    actions : int or tuple of int
        Actions of each player; the largest number counts.
    discount : array_like, in [0, 1)
    """
    most = checks.integer("actions", int(np.max(actions)), 1)
    discount = checks.checked("discount", discount, lambda v: (v >= 0) & (v < 1), "must lie in [0, 1)")
    return (checks.non_negative("temperature", temperature) * np.log(most) / (1 - discount))[()]


def softmax_regrets(game: MarkovGame, policy: Policy, temperature: Any, *, cost: bool = True) -> np.ndarray:
    r"""What every player could gain in every state at a softmax equilibrium, shape (I, S):

    .. math:: V_i^{\max}-V_i=\frac{\tau}{1-\delta}\Bigl(\sum_sd^\pi(s)H(\pi_i(s))
              -\sum_sd^{br}(s)\log\frac1{\pi_i(br_i(s)|s)}\Bigr),

    d the visits from that state under the equilibrium, and under player i's best response br. The first term alone
    (``cost=False``) is at most :math:`\tau\log A/(1-\delta)`.

    Notes
    -----
    With entropy, :math:`V_i^\tau-q_i(s,a)=-\tau\log\pi_i(a|s)` at a fixed point: summed along the best response by the
    performance difference, that is :math:`V_i^\tau-V_i^{\max}`.
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    temperature = float(checks.positive("temperature", temperature))
    _, responses = best_responses(game, policy)
    deviations = pure(game, responses)
    own = np.stack([occupancy(game, policy, one) for one in np.eye(game.states)])  # (S from, S)
    found = []
    for i, part in enumerate(policy):
        entropy = -(part * np.log(part)).sum(axis=-1)
        moved = [deviations[i] if j == i else other for j, other in enumerate(policy)]
        visits = np.stack([occupancy(game, moved, one) for one in np.eye(game.states)])
        surprise = -np.log(np.take_along_axis(part, responses[i][:, None], axis=-1)[:, 0])
        found.append(own @ entropy - (visits @ surprise if cost else 0.0))
    return temperature / (1 - game.discount) * np.stack(found)
