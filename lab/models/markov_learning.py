r"""Independent learning in Markov games: every player runs its own actor and critic on two timescales.

At each step, in state s, with :math:`n(s)` visits of s and :math:`\tilde n_i` plays of :math:`a_i` in s by player i,
both counted with the present one,

.. math::

    q_i(s,a_i) &\mathrel{+}= \tilde n_i^{-a}\,\bigl(r_i-\tau\nu_i(s)+\delta\textstyle\sum_{a'}\pi_i(s',a')q_i(s',a')
                  -q_i(s,a_i)\bigr),\qquad \nu_i=\sum\pi_i\log\pi_i, \\
    \pi_i(s) &\mathrel{+}= n(s)^{-b}\,\bigl(\mathrm{softmax}(q_i(s)/\tau)-\pi_i(s)\bigr)

with the values q and policies from before the step on the right; only the visited state changes. Actions are drawn from
:math:`(1-\theta)\pi_i+\theta/A`, the bootstrap uses :math:`\pi_i` without exploration; q starts at 0, policies uniform.
At temperature 0 the softmax is its limit: uniform over the largest entries. Players see their own rewards and actions
and the state, nothing of each other.

One step is written once, for numpy, torch and jax arrays: `learn` loops over steps for a batch of learners, `learn_jax`
is one program for one learner, to be vmapped over seeds and powers.

References
----------
.. [1] arXiv:2205.14590, Maheshwari, Wu, Pai, Sastry (decentralised learning in Markov potential games), and its code.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lab import streams
from lab.arrays import Array, device, namespace
from lab.data.markov_games import MarkovGame
from lab.errors import InputError

__all__ = ["Learner", "Tables", "learn", "learn_jax", "smoothed", "start", "step", "tables"]


class Tables(NamedTuple):
    """A game laid out for sampling: rows are (state, joint action), the first player's action slowest."""

    rewards: Array  # (S J, I)
    upper: Array  # (S J, S - 1): distribution function of the next state
    actions: int
    discount: float


class Learner(NamedTuple):
    """State of a batch of learners; all arrays have the same leading axes."""

    state: Array  # (...) index of the present state
    q: Array  # (..., I, S, A)
    policy: Array  # (..., I, S, A)
    visits: Array  # (..., S)
    plays: Array  # (..., I, S, A)


def tables(game: MarkovGame) -> Tables:
    """Lay a game out for sampling, as numpy arrays.

    Raises
    ------
    InputError
        If the players have different numbers of actions.
    """
    if len(set(game.actions)) != 1:
        raise InputError(
            f"players have {game.actions} actions; learning needs the same number for all: repeat an action of the "
            "others"
        )
    rewards = np.moveaxis(game.rewards.reshape(game.players, -1), 0, 1)
    upper = np.cumsum(game.transitions.reshape(len(rewards), -1), axis=1)[:, :-1]
    return Tables(np.ascontiguousarray(rewards), upper, game.actions[0], game.discount)


def start(game: MarkovGame, batch: tuple[int, ...] = (), state: int = 0) -> Learner:
    """Learners before their first step, as numpy arrays: uniform policies, q = 0, in `state`."""
    shape = (*batch, game.players, game.states, game.actions[0])
    uniform = np.full(shape, 1 / game.actions[0])
    return Learner(np.full(batch, state), np.zeros(shape), uniform, np.zeros((*batch, game.states)), np.zeros(shape))


def smoothed(q: Array, temperature: Any) -> Array:
    """Softmax of q/temperature over the last axis; its limit, uniform over the largest entries, at temperature 0."""
    xp = namespace(q)
    least = float(xp.finfo(q.dtype).tiny) ** 0.5  # a quotient by it does not overflow
    heat = xp.asarray(temperature, dtype=q.dtype, device=device(q))
    weights = xp.exp((q - xp.max(q, axis=-1, keepdims=True)) / xp.where(heat > least, heat, least))
    return weights / xp.sum(weights, axis=-1, keepdims=True)


def step(
    t: Tables, now: Learner, u: Array, *, a: Any, b: Any, theta: Any = 0.0, temperature: Any = 0.0
) -> Learner:
    """One step of every learner.

    Parameters
    ----------
    t : Tables
        Arrays of the library of `now`.
    now : Learner
    u : array, shape (..., I + 1)
        Uniform numbers in [0, 1): one for each player's action, the last for the next state.
    a, b : float or array (...)
        Powers of the steps of q and of the policy.
    theta : float in [0, 1]
        Exploration.
    temperature : float, >= 0
    """
    xp = namespace(now.q)
    kind = now.q.dtype
    A, (I, S) = t.actions, now.q.shape[-3:-1]
    states, choices = xp.arange(S, device=device(now.q)), xp.arange(A, device=device(now.q))
    here = xp.astype(now.state[..., None] == states, kind)  # (..., S)
    at = here[..., None, :, None]
    visits = now.visits + here
    policy, q = xp.sum(now.policy * at, axis=-2), xp.sum(now.q * at, axis=-2)  # (..., I, A) in this state
    played = (1 - theta) * policy + theta / A
    passed = u[..., :-1, None] >= xp.cumulative_sum(played, axis=-1)[..., :-1]
    action = xp.sum(xp.astype(passed, now.state.dtype), axis=-1)
    joint = now.state
    for i in range(I):
        joint = joint * A + action[..., i]
    row = xp.reshape(joint, (-1,))
    reward = xp.reshape(xp.take(t.rewards, row, axis=0), action.shape)
    upper = xp.reshape(xp.take(t.upper, row, axis=0), (*joint.shape, S - 1))
    after = xp.sum(xp.astype(u[..., -1:] >= upper, now.state.dtype), axis=-1)
    chosen = xp.astype(action[..., None] == choices, kind)  # (..., I, A)
    mark = chosen[..., None, :] * at
    plays = now.plays + mark
    there = xp.astype(after[..., None] == states, kind)[..., None, :, None]
    ahead = xp.sum(now.policy * now.q * there, axis=(-1, -2))  # (..., I)
    negentropy = xp.sum(policy * xp.log(xp.where(policy > 0, policy, 1.0)), axis=-1)
    error = reward - temperature * negentropy + t.discount * ahead - xp.sum(q * chosen, axis=-1)
    alpha = xp.sum(plays * mark, axis=(-1, -2)) ** -a  # (..., I)
    beta = xp.sum(visits * here, axis=-1)[..., None, None] ** -b
    return Learner(
        after, now.q + mark * (alpha * error)[..., None, None],
        now.policy + at * (beta * (smoothed(q, temperature) - policy))[..., :, None, :], visits, plays,
    )  # fmt: skip


def learn(
    game: MarkovGame, rng: np.random.Generator, steps: int, learners: int = 1, *, a: float = 0.5, b: float = 1.0,
    theta: float = 0.0, temperature: float = 0.0, state: int = 0, every: int | None = None,
) -> tuple[Learner, np.ndarray]:  # fmt: skip
    """A batch of learners, in numpy.

    Parameters
    ----------
    steps, learners : int, >= 1
    a, b, theta, temperature : see the module
    state : int
        First state.
    every : int, optional
        Record policies every so many steps; by default at the end alone.

    Returns
    -------
    Learner, array of shape (records, learners, I, S, A)
        Last state; recorded policies.

    Examples
    --------
    >>> from lab.data.markov_games import routing_game
    >>> last, policies = learn(routing_game(), np.random.default_rng(0), 300, learners=5, every=100)
    >>> policies.shape, bool(np.allclose(policies.sum(-1), 1)), last.visits.sum(axis=1).tolist()
    ((3, 5, 4, 4, 2), True, [300.0, 300.0, 300.0, 300.0, 300.0])
    """
    if min(steps, learners, every or 1) < 1:
        raise InputError(f"steps={steps!r}, learners={learners!r}, every={every!r} must be whole numbers >= 1")
    t, now, every, records = tables(game), start(game, (learners,), state), every or steps, []
    for done in range(1, steps + 1):
        now = step(t, now, rng.random((learners, game.players + 1)), a=a, b=b, theta=theta, temperature=temperature)
        if done % every == 0:
            records.append(now.policy)
    return now, np.stack(records) if records else np.zeros((0, *now.policy.shape))


def learn_jax(
    game: MarkovGame, key: Array, now: Any = None, *, chunks: int, chunk: int, a: Any = 0.5, b: Any = 1.0,
    theta: Any = 0.0, temperature: Any = 0.0, state: int = 0,
) -> tuple[Learner, Learner]:  # fmt: skip
    """One learner as one JAX program of ``chunks * chunk`` steps: a scan of scans, numbers drawn chunk by chunk.

    Parameters
    ----------
    game : MarkovGame
        Concrete arrays: constants of the program.
    key : JAX key
    now : Learner, optional
        Where to go on; by default from the start in `state`.
    chunks, chunk : int
        Static.
    a, b, theta, temperature : numbers, may be traced

    Returns
    -------
    Learner, Learner
        The last state; the states after each chunk, stacked along a first axis.
    """
    import jax
    import jax.numpy as jnp

    t = tables(game)
    t = t._replace(rewards=jnp.asarray(t.rewards), upper=jnp.asarray(t.upper))
    if now is None:
        now = Learner(*(jnp.asarray(part) for part in start(game, (), state)))

    def one(now: Learner, u: Array) -> tuple[Learner, None]:
        return step(t, now, u, a=a, b=b, theta=theta, temperature=temperature), None

    def many(now: Learner, index: Array) -> tuple[Learner, Learner]:
        u = streams.uniform(jax.random.fold_in(key, index), (chunk, game.players + 1), dtype=now.q.dtype)
        now, _ = jax.lax.scan(one, now, u)
        return now, now

    return jax.lax.scan(many, now, jnp.arange(chunks))
