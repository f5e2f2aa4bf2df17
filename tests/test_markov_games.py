"""Markov games and learners: conventions, bad input, the learning step against a plain loop and in every library."""

import re

import numpy as np
import pytest

from lab.data import markov_games as games
from lab.data.markov_games import MarkovGame, routing_game
from lab.errors import InputError
from lab.models import markov_learning as learning

RNG = np.random.default_rng


def test_published_tables_of_the_routing_game_by_hand():
    game = routing_game(rewards="individual")
    assert game.rewards.shape == (4, 4, 2, 2, 2, 2)
    # state 01: route 0 safe (weight 2), route 1 unsafe (weight 1); players 0 and 1 on route 0, 2 and 3 on route 1
    assert game.rewards[:, 1, 0, 0, 1, 1].tolist() == [9 - 2 * 2 * 2] * 2 + [16 - 1 * 4 * 2] * 2
    # two users of each route: at capacity, so each route is safe next time with probability .2
    assert game.transitions[3, 0, 0, 1, 1] == pytest.approx([0.04, 0.16, 0.16, 0.64])
    # one user of route 0, three of route 1
    assert game.transitions[0, 0, 1, 1, 1] == pytest.approx([0.8 * 0.2, 0.8 * 0.8, 0.2 * 0.2, 0.2 * 0.8])


def test_the_natural_convention_exchanges_the_weights():
    game = routing_game(rewards="individual", convention="natural")
    assert game.rewards[0, 1, 0, 0, 1, 1] == 9 - 1 * 2 * 2
    assert game.rewards[2, 1, 0, 0, 1, 1] == 16 - 2 * 4 * 2


def test_common_rewards_are_the_sum_and_an_averaged_kernel_ignores_actions():
    common, own = routing_game(kernel="averaged"), routing_game(rewards="individual")
    assert np.array_equal(common.rewards[2], own.rewards.sum(axis=0))
    flat = common.transitions.reshape(4, 16, 4)
    assert np.allclose(flat, own.transitions.reshape(4, 16, 4).mean(axis=1)[:, None], atol=1e-15)


def test_rosenthal_changes_by_the_reward_of_the_one_who_moves():
    game = routing_game(players=3, routes=3, slopes=(1, 2, 3), offsets=(5, 6, 7), rewards="individual")
    rewards = game.rewards - game.stage_potential  # what is left must not depend on the player's own action
    for i in range(3):
        assert np.ptp(rewards[i], axis=1 + i).max() < 1e-12


@pytest.mark.parametrize("make", [games.random_identical_interest_game, games.random_action_independent_game,
                                  games.random_general_game])  # fmt: skip
def test_random_games_are_games(make):
    game = make(RNG(0), (2, 3, 4), 5, 0.9)
    assert (game.players, game.states, game.actions) == (3, 5, (2, 3, 4))
    again = MarkovGame.from_data(game.to_data())
    assert np.array_equal(again.rewards, game.rewards)
    assert [part.shape for part in games.random_policy(RNG(1), game)] == [(5, 2), (5, 3), (5, 4)]


BAD = {
    "one axis of actions too few": (dict(rewards=np.zeros((2, 3, 2))), "rewards has shape (2, 3, 2)"),
    "another kernel": (dict(transitions=np.full((3, 2, 3), 1 / 3)), "it must be (3, 2, 2, 3)"),
    "not finite": (dict(rewards=np.full((2, 3, 2, 2), np.nan)), "rewards has an entry that is not finite"),
    "sums": (dict(transitions=np.full((3, 2, 2, 3), 0.3)), "rows sum to one within 0.1"),
    "negative": (dict(transitions=np.tile([1.5, -0.5, 0.0], (3, 2, 2, 1))), "least entry -0.5"),
    "discount": (dict(discount=1.0), "discount=1.0 must lie in [0, 1)"),
    "potential": (dict(stage_potential=np.zeros((3, 2))), "stage_potential has shape (3, 2)"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_game_that_is_none_is_refused(case):
    change, part = BAD[case]
    good = dict(rewards=np.zeros((2, 3, 2, 2)), transitions=np.full((3, 2, 2, 3), 1 / 3), discount=0.5)
    with pytest.raises(InputError, match=re.escape(part)):
        MarkovGame(**{**good, **change})


@pytest.mark.parametrize("change", [dict(players=0), dict(slopes=(1.0,)), dict(recovery=(1.2, 0.1)),
                                    dict(convention="odd"), dict(rewards="shared"), dict(kernel="mean")])  # fmt: skip
def test_a_routing_game_that_is_none_is_refused(change):
    with pytest.raises(InputError, match=r"must be|has shape|have shapes"):
        routing_game(**change)


# ---------------------------------------------------------------------- learning


def plain_step(game, now, u, a, b, theta, temperature):
    """The rule of the docstring for one learner, with dictionaries and loops."""
    s, q, policy, visits, plays = now
    visits = {**visits, s: visits.get(s, 0) + 1}
    actions = []
    for i in range(game.players):
        played = [(1 - theta) * x + theta / len(policy[i, s]) for x in policy[i, s]]
        actions.append(next(k for k in range(len(played)) if u[i] < sum(played[: k + 1]) or k == len(played) - 1))
    law = game.transitions[(s, *actions)]
    after = next(k for k in range(len(law)) if u[-1] < sum(law[: k + 1]) or k == len(law) - 1)
    new_q, new_policy, plays = dict(q), dict(policy), dict(plays)
    for i, act in enumerate(actions):
        plays[i, s, act] = plays.get((i, s, act), 0) + 1
        ahead = sum(x * y for x, y in zip(policy[i, after], q[i, after], strict=True))
        nu = sum(x * np.log(x) for x in policy[i, s] if x > 0)
        target = game.rewards[(i, s, *actions)] - temperature * nu + game.discount * ahead
        values = list(q[i, s])
        values[act] += plays[i, s, act] ** -a * (target - values[act])
        new_q[i, s] = values
        top = max(q[i, s])
        if temperature:
            w = [np.exp((x - top) / temperature) for x in q[i, s]]
        else:
            w = [float(x == top) for x in q[i, s]]
        w = [x / sum(w) for x in w]
        new_policy[i, s] = [x + visits[s] ** -b * (y - x) for x, y in zip(policy[i, s], w, strict=True)]
    return after, new_q, new_policy, visits, plays


@pytest.mark.parametrize(("theta", "temperature"), [(0.0, 0.0), (0.1, 0.0), (0.0, 3.0), (0.05, 1e-6)])
def test_learning_is_the_plain_rule(theta, temperature):
    game, steps = games.random_general_game(RNG(3), (3, 3), 4, 0.8), 200
    keys = [(i, s) for i in range(2) for s in range(4)]
    now = (0, {k: [0.0] * 3 for k in keys}, {k: [1 / 3] * 3 for k in keys}, {}, {})
    rng = RNG(7)
    for _ in range(steps):
        now = plain_step(game, now, rng.random((1, 3))[0], 0.6, 0.9, theta, temperature)
    last, _ = learning.learn(game, RNG(7), steps, a=0.6, b=0.9, theta=theta, temperature=temperature)
    assert int(last.state[0]) == now[0]
    for i, s in keys:
        assert np.allclose(last.q[0, i, s], now[1][i, s], rtol=1e-11, atol=1e-11)
        assert np.allclose(last.policy[0, i, s], now[2][i, s], rtol=1e-11, atol=1e-11)
    assert last.visits[0].sum() == steps


def test_a_program_learns_as_the_loop_does():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        key = jax.random.key(0)
        game, chunks, chunk = routing_game(players=2), 3, 20
        last, path = learning.learn_jax(game, key, chunks=chunks, chunk=chunk, a=0.5, b=0.8, theta=0.1)
        draws = np.concatenate([np.asarray(jax.random.uniform(jax.random.fold_in(key, k), (chunk, 3), dtype="float64"))
                                for k in range(chunks)])  # fmt: skip
    t, now = learning.tables(game), learning.start(game)
    for u in draws:
        now = learning.step(t, now, u, a=0.5, b=0.8, theta=0.1)
    assert np.allclose(last.policy, now.policy, rtol=1e-12)
    assert np.allclose(last.q, now.q, rtol=1e-12)
    assert path.policy.shape == (3, 2, 4, 2)
    assert np.array_equal(path.policy[-1], last.policy)


def test_one_step_in_torch():
    torch = pytest.importorskip("torch")
    game = routing_game(players=2)
    t, now = learning.tables(game), learning.start(game, (5,))
    u = RNG(0).random((5, 3))
    expected = learning.step(t, now, u, a=0.5, b=0.8)
    found = learning.step(t._replace(rewards=torch.tensor(t.rewards), upper=torch.tensor(t.upper)),
                          learning.Learner(*map(torch.tensor, now)), torch.tensor(u), a=0.5, b=0.8)  # fmt: skip
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one.numpy(), other, rtol=1e-14)


def test_the_softmax_at_temperature_zero_is_uniform_over_the_largest():
    q = np.array([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0]])
    assert np.array_equal(learning.smoothed(q, 0.0), [[0, 0.5, 0.5], [1 / 3] * 3])
    assert np.allclose(learning.smoothed(q, 1e-6), learning.smoothed(q, 0.0))
    assert np.allclose(learning.smoothed(q[:1], 2.0), np.exp(q[:1] / 2) / np.exp(q[:1] / 2).sum())


def test_learning_refuses_what_it_cannot_do():
    with pytest.raises(InputError, match="same number for all"):
        learning.tables(games.random_general_game(RNG(0), (2, 3)))
    with pytest.raises(InputError, match="steps=0"):
        learning.learn(routing_game(), RNG(0), 0)
