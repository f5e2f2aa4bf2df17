r"""Policies of a Markov game: values, action values, visits, best responses, Nash gap; all by linear solves.

A *policy* is a list of I arrays ``(..., S, A_i)``, rows of probabilities; leading axes are batch axes. With as many
actions for every player an array ``(I, S, A)`` serves as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lab import checks
from lab.data.markov_games import MarkovGame
from lab.errors import OutOfDomain

__all__ = [
    "action_values",
    "as_policy",
    "best_responses",
    "explored",
    "joint_law",
    "nash_gap",
    "occupancy",
    "pure",
    "rounded",
    "values",
]

Policy = Sequence[np.ndarray] | np.ndarray


def as_policy(game: MarkovGame, policy: Any, tolerance: float = 1e-6) -> list[np.ndarray]:
    """`policy` as a list of float arrays (..., S, A_i).

    Raises
    ------
    OutOfDomain
        If there is not one array for each player, a shape does not fit, an entry is negative, or rows do not sum to
        one within `tolerance`.
    """
    if len(policy) != game.players:
        raise OutOfDomain(f"policy has {len(policy)} arrays; the game has {game.players} players: give one for each")
    found = [np.asarray(part, dtype=float) for part in policy]
    for i, (part, count) in enumerate(zip(found, game.actions, strict=True)):
        if part.shape[-2:] != (game.states, count):
            raise OutOfDomain(f"policy of player {i} has shape {part.shape}; it must be (..., {game.states}, {count})")
        checks.checked(f"policy of player {i}", part, lambda v: v >= 0, "probabilities must be non-negative numbers")
        off = float(np.abs(part.sum(axis=-1) - 1).max())
        if not off <= tolerance:
            raise OutOfDomain(f"policy of player {i}: rows sum to one within {off:.2g} only; divide by their sums")
    return found


def pure(game: MarkovGame, actions: Any) -> list[np.ndarray]:
    """The policy that plays ``actions[..., i, s]`` (whole numbers, shape (..., I, S)) with probability one."""
    actions = np.asarray(actions)
    return [np.eye(count)[actions[..., i, :]] for i, count in enumerate(game.actions)]


def rounded(policy: Policy) -> np.ndarray:
    """The likeliest action of every player in every state, shape (..., I, S)."""
    return np.stack([part.argmax(axis=-1) for part in policy], axis=-2)


def explored(policy: Policy, theta: Any) -> list[np.ndarray]:
    r"""What is played: :math:`(1-\theta)\pi_i+\theta/A_i`."""
    theta = checks.fraction("theta", theta, open=False)
    return [(1 - theta) * part + theta / part.shape[-1] for part in policy]


def joint_law(policy: Policy) -> np.ndarray:
    """Probability of every joint action, shape (..., S, J), J the product of the A_i, the first player's slowest."""
    law = policy[0]
    for part in policy[1:]:
        law = (law[..., :, None] * part[..., None, :]).reshape(*law.shape[:-1], -1)
    return law


def _chain(game: MarkovGame, policy: Policy) -> np.ndarray:
    """Kernel of the states under a policy, shape (..., S, S)."""
    kernel = game.transitions.reshape(game.states, -1, game.states)
    return np.einsum("...sj,sjt->...st", joint_law(policy), kernel)


def values(game: MarkovGame, policy: Policy, *, temperature: float = 0.0, stage: Any = None) -> np.ndarray:
    r"""Discounted values :math:`V_i(s)=E_s\sum_t\delta^t(r_i+\tau H(\pi_i(s_t)))`, by solving
    :math:`(1-\delta P_\pi)V_i=r_{i,\pi}+\tau H_i`.

    Parameters
    ----------
    game : MarkovGame
    policy : list of arrays (..., S, A_i)
    temperature : float, >= 0
        :math:`\tau`, weight of the entropy H of the player's own policy in nats; 0 for plain values.
    stage : array (S, A_1, ..., A_I), optional
        Discount this function instead of the rewards: one row is returned.

    Returns
    -------
    array, shape (..., I, S), or (..., 1, S) with `stage`
    """
    tables = game.rewards if stage is None else np.asarray(stage, dtype=float)[None]
    tables = tables.reshape(len(tables), game.states, -1)
    gain = np.einsum("...sj,isj->...si", joint_law(policy), tables)
    if temperature:
        gain = gain + checks.non_negative("temperature", temperature) * np.stack([_entropy(p) for p in policy], axis=-1)
    return np.linalg.solve(np.eye(game.states) - game.discount * _chain(game, policy), gain).swapaxes(-1, -2)


def _entropy(part: np.ndarray) -> np.ndarray:
    return -np.sum(part * np.log(np.where(part > 0, part, 1.0)), axis=-1)


def occupancy(game: MarkovGame, policy: Policy, start: Any) -> np.ndarray:
    r"""Discounted visits :math:`d_\mu^\pi=(1-\delta)\mu^\top(1-\delta P_\pi)^{-1}`, shape (..., S); they sum to one."""
    matrix = np.eye(game.states) - game.discount * _chain(game, policy)
    start = np.broadcast_to(np.asarray(start, dtype=float), matrix.shape[:-1])
    return (1 - game.discount) * np.linalg.solve(matrix.swapaxes(-1, -2), start[..., None])[..., 0]


def _averaged(game: MarkovGame, table: np.ndarray, policy: Policy, player: int) -> np.ndarray:
    """A table (..., S, J) averaged over what the others play, shape (..., S, A_i)."""
    table = table.reshape(*table.shape[:-1], *game.actions)
    axes = list(range(game.players + 1))
    operands: list[Any] = [table, [..., *axes]]
    for j, part in enumerate(policy):
        if j != player:
            operands += [part, [..., 0, j + 1]]
    return np.einsum(*operands, [..., 0, player + 1])


def action_values(game: MarkovGame, policy: Policy, values: np.ndarray) -> list[np.ndarray]:
    r""":math:`Q_i(s,a)=E_{a_{-i}\sim\pi_{-i}}[r_i+\delta\sum_{s'}P(s'|s,a)V_i(s')]`, a list of arrays (..., S, A_i).

    `values` (..., I, S) are those of `values`, with or without entropy.
    """
    kernel, rewards = (a.reshape(*a.shape[:k], -1, *a.shape[k + game.players :])
                       for a, k in ((game.transitions, 1), (game.rewards, 2)))  # fmt: skip
    ahead = rewards + game.discount * np.einsum("sjt,...it->...isj", kernel, values)
    return [_averaged(game, ahead[..., i, :, :], policy, i) for i in range(game.players)]


def best_responses(game: MarkovGame, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
    r"""Exact best response of every player to the others' policies, by policy iteration in the decision problem left.

    Returns
    -------
    values, actions : arrays, shape (..., I, S)
        Values of the best responses, and pure best responses (one of them, where several are).
    """
    batch = np.broadcast_shapes(*(part.shape[:-2] for part in policy))
    found = [_best_response(game, policy, i) for i in range(game.players)]
    shape = (*batch, game.states)
    return tuple(np.stack([np.broadcast_to(one[k], shape) for one in found], axis=-2) for k in (0, 1))  # type: ignore[return-value]


def _best_response(game: MarkovGame, policy: Policy, i: int) -> tuple[np.ndarray, np.ndarray]:
    S = game.states
    kernel = game.transitions.reshape(S, -1, S)
    rewards = _averaged(game, game.rewards[i].reshape(S, -1), policy, i)
    moves = np.stack([_averaged(game, kernel[:, :, t], policy, i) for t in range(S)], axis=-1)
    chosen = rewards.argmax(axis=-1)
    # an action is changed for a gain above rounding only: ties would cycle
    gain = 64 * S * np.finfo(float).eps * np.abs(game.rewards[i]).max() / (1 - game.discount) ** 2
    while True:
        own = np.take_along_axis(rewards, chosen[..., None], axis=-1)
        chain = np.take_along_axis(moves, chosen[..., None, None], axis=-2)[..., 0, :]
        best = np.linalg.solve(np.eye(S) - game.discount * chain, own)[..., 0]
        q = rewards + game.discount * np.einsum("...sat,...t->...sa", moves, best)
        better = q.max(axis=-1) > np.take_along_axis(q, chosen[..., None], axis=-1)[..., 0] + gain
        if not better.any():
            return best, chosen
        chosen = np.where(better, q.argmax(axis=-1), chosen)


def nash_gap(game: MarkovGame, policy: Policy) -> np.ndarray:
    r"""Nash gap :math:`\max_{i,s}(V_i^{\max}(\pi_{-i})(s)-V_i(\pi)(s))`, shape (...); 0 at stationary equilibria.

    Rounding may make it negative by some machine epsilons of :math:`\max|r|/(1-\delta)^2`.
    """
    return (best_responses(game, policy)[0] - values(game, policy)).max(axis=(-1, -2))
