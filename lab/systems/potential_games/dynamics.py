r"""What moves: values by sweeps, best responses by value iteration, the softmax map and its fixed points.

Everything here is iterated; nothing is solved. It shares no code with `theory`, which solves linear systems. A policy
is a sequence of I arrays (S, A_i), numpy or jax; `values` also takes complex ones, for derivatives by a complex step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from lab.arrays import Array, namespace
from lab.data.markov_games import MarkovGame

__all__ = ["SoftmaxPath", "greedy_direction", "regrets", "softmax_jacobian", "softmax_map", "softmax_path", "values"]


def _averaged(table: Array, policy: Sequence[Array], skip: int | None = None) -> Array:
    """A table (S, A_1, ..., A_I, R) averaged over the players' actions, one player after the other, last one first.

    Shape (S, R), or (S, A_skip, R) with one player left out.
    """
    xp = namespace(*policy)
    table = xp.asarray(table)
    for j in reversed(range(len(policy))):
        if j == skip:
            continue
        S, A = policy[j].shape
        weight = xp.reshape(policy[j], (S, *[1] * j, A, *[1] * (table.ndim - j - 2)))
        table = xp.sum(table * weight, axis=j + 1)
    return table


def _repeat(sweep: Callable[[Array], Array], first: Array, discount: float) -> Array:
    """`sweep` applied until what is left out, discount^times of the first value, is below rounding."""
    times = 1 if discount == 0 else math.ceil(math.log(np.finfo(float).eps / 8) / math.log(discount))
    if namespace(first).__name__.startswith("jax"):
        import jax

        return jax.lax.fori_loop(0, times, lambda _, v: sweep(v), first)
    for _ in range(times):
        first = sweep(first)
    return first


def values(game: MarkovGame, policy: Any, tables: Any = None, bonus: Any = 0.0) -> Array:
    """Discounted values (R, S), by sweeps; `tables` (R, S, A_1, ..., A_I) takes the place of the rewards, `bonus`
    (R, S) is added in every state."""
    tables = game.rewards if tables is None else tables
    gain = _averaged(np.moveaxis(tables, 0, -1), policy) + np.transpose(bonus)
    chain = _averaged(game.transitions, policy)
    return _repeat(lambda v: gain + game.discount * chain @ v, gain, game.discount).mT


def regrets(game: MarkovGame, policy: Any, own: Any = None) -> Array:
    """What every player could gain in every state, shape (I, S), by value iteration against the others' policies.

    `own`, by default `policy`, is what the player itself does meanwhile.
    """
    xp, own = namespace(*policy), policy if own is None else own
    found = []
    for i in range(game.players):
        stay = [own[j] if j == i else policy[j] for j in range(game.players)]
        gain = _averaged(game.rewards[i][..., None], policy, skip=i)[..., 0]
        move = _averaged(game.transitions, policy, skip=i)
        ahead = xp.max(gain, axis=-1)
        best = _repeat(partial(_improved, gain, game.discount * move), ahead, game.discount)
        found.append(best - values(game, stay, game.rewards[i : i + 1])[0])
    return xp.stack(found)


def _improved(gain: Array, move: Array, v: Array) -> Array:
    return namespace(v).max(gain + move @ v, axis=-1)


def greedy_direction(game: MarkovGame, policy: Any) -> list[np.ndarray]:
    """From every player's policy towards the action of largest value in each state, with the others as they are."""
    v = values(game, policy)
    return [np.eye(part.shape[1])[q.argmax(axis=-1)] - part
            for part, q in zip(policy, _action_values(game, policy, v), strict=True)]  # fmt: skip


def _action_values(game: MarkovGame, policy: Sequence[np.ndarray], v: np.ndarray) -> list[np.ndarray]:
    tables = np.concatenate([np.moveaxis(game.rewards, 0, -1), game.transitions], axis=-1)
    found = []
    for i in range(game.players):
        mean = _averaged(tables, policy, skip=i)
        found.append(mean[..., i] + game.discount * mean[..., game.players :] @ v[i])
    return found


# ---------------------------------------------------------------------- softmax


def _softmax(q: np.ndarray, temperature: float) -> np.ndarray:
    w = np.exp((q - q.max(axis=-1, keepdims=True)) / temperature)
    return w / w.sum(axis=-1, keepdims=True)


def _entropies(policy: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([-(p * np.log(np.maximum(p, np.finfo(float).tiny))).sum(axis=-1) for p in policy])


def softmax_map(game: MarkovGame, policy: Sequence[np.ndarray], temperature: float) -> list[np.ndarray]:
    """softmax(q_i/tau), q_i the action values of `policy` with entropy counted in all later states."""
    v = values(game, policy, bonus=temperature * _entropies(policy))
    return [_softmax(q, temperature) for q in _action_values(game, policy, v)]


def softmax_jacobian(game: MarkovGame, policy: Sequence[np.ndarray], temperature: float, h: float = 1e-5) -> np.ndarray:
    """Derivative of the softmax map in the probabilities of action 0, all players and states, shape (I S, I S).

    Two actions; central differences of step `h`.
    """
    x = np.stack([part[:, 0] for part in policy]).ravel()
    columns = []
    for move in h * np.eye(x.size):
        ends = []
        for y in (x + move, x - move):
            part = y.reshape(game.players, game.states)
            image = softmax_map(game, list(np.stack([part, 1 - part], axis=-1)), temperature)
            ends.append(np.stack([one[:, 0] for one in image]).ravel())
        columns.append((ends[0] - ends[1]) / (2 * h))
    return np.stack(columns, axis=1)


class SoftmaxPath(NamedTuple):
    """Where the damped softmax iteration ended, and how far it is from a fixed point."""

    policy: list[np.ndarray]
    error: float  # largest |V_i - q_i + tau log pi_i|: zero at a fixed point


def softmax_path(
    game: MarkovGame, temperature: float, start: Sequence[np.ndarray], *, damping: float, steps: int
) -> SoftmaxPath:
    """`steps` times pi <- (1 - damping) pi + damping softmax(q/tau), one sweep of the values at each; stops early when
    nothing moves."""
    policy, v = list(start), values(game, start)
    for _ in range(steps):
        before, old, q = policy, v, _action_values(game, policy, v)
        v = np.stack([(part * one).sum(axis=-1) for part, one in zip(policy, q, strict=True)])
        v = v + temperature * _entropies(policy)
        policy = [(1 - damping) * part + damping * _softmax(one, temperature)
                  for part, one in zip(policy, q, strict=True)]  # fmt: skip
        still = max(float(np.abs(a - b).max()) for a, b in zip(policy, before, strict=True))
        if still < 1e-14 and np.abs(v - old).max() < 1e-14 * np.abs(v).max():
            break
    v = values(game, policy, bonus=temperature * _entropies(policy))
    off = [np.abs(v[i][:, None] - q + temperature * np.log(policy[i])).max()
           for i, q in enumerate(_action_values(game, policy, v))]  # fmt: skip
    return SoftmaxPath(policy, float(max(off)))
