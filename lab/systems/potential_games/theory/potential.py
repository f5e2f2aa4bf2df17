r"""The potential of a Markov game, and the sums around 4-cycles that vanish where there is one."""

from __future__ import annotations

import numpy as np

from lab.data.markov_games import MarkovGame
from lab.errors import OutOfDomain
from lab.systems.potential_games.theory.evaluation import Policy, values

__all__ = ["cycle_sum", "potential"]


def potential(game: MarkovGame, policy: Policy) -> np.ndarray:
    r"""Discounted stage potential :math:`\Phi(\pi)(s)=E_s\sum_t\delta^t\phi(s_t,a_t)`, shape (..., S).

    It is a potential of the game, :math:`V_i(\pi_i',\pi_{-i})-V_i(\pi)=\Phi(\pi_i',\pi_{-i})-\Phi(\pi)` in every state,
    where all rewards equal :math:`\phi`, or where the kernel ignores the actions and every reward is :math:`\phi` plus
    a term that does not depend on the player's own action.

    Raises
    ------
    OutOfDomain
        If the game has no stage potential.
    """
    if game.stage_potential is None:
        raise OutOfDomain("game.stage_potential=None: give MarkovGame(..., stage_potential=...) to discount one")
    return values(game, policy, stage=game.stage_potential)[..., 0, :]


def cycle_sum(game: MarkovGame, policy: Policy, other: Policy, i: int, j: int) -> np.ndarray:
    r"""Sum of gains along i moves, j moves, i moves back, j moves back, shape (..., S).

    Player i alternates between its parts of `policy` and `other`, and so does player j; each step counts the change of
    the *moving* player's value. Zero for all policies, players and states exactly where the game has a potential
    (Monderer and Shapley); needs no knowledge of it. A random sample tests necessity.
    """
    if i == j:
        raise OutOfDomain(f"i={i}, j={j}: the two players must differ")

    def profile(first: bool, second: bool) -> list[np.ndarray]:
        return [other[k] if (k == i and first) or (k == j and second) else policy[k] for k in range(game.players)]

    corners = {key: values(game, profile(*key)) for key in ((False, False), (True, False), (True, True), (False, True))}
    path = list(corners)
    total = 0.0
    for k, mover in enumerate((i, j, i, j)):
        total = total + corners[path[(k + 1) % 4]][..., mover, :] - corners[path[k]][..., mover, :]
    return np.asarray(total)
