"""Markov potential games by other routes: brute force, simulation, automatic differentiation, published numbers."""

import json
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from lab.data.markov_games import (
    MarkovGame,
    random_action_independent_game,
    random_general_game,
    random_identical_interest_game,
    random_policy,
    routing_game,
)
from lab.errors import InputError, OutOfDomain
from lab.systems import potential_games
from lab.systems.potential_games import dynamics, theory
from lab.systems.potential_games.laws import exploration, timescale

RNG = np.random.default_rng
LOADS = theory.load_tables(4, 2, (2.0, 4.0), (9.0, 16.0), (0.8, 0.2), 0.5)


def uneven_game(seed=0, discount=0.7):
    return random_general_game(RNG(seed), (2, 3, 2), 3, discount)


def brute_values(game, policy, player):
    """Values by a Fraction-free solve written index by index."""
    S = game.states
    matrix, gain = np.eye(S), np.zeros(S)
    for s in range(S):
        for actions in product(*(range(a) for a in game.actions)):
            w = np.prod([policy[i][s, a] for i, a in enumerate(actions)])
            gain[s] += w * game.rewards[(player, s, *actions)]
            matrix[s] -= game.discount * w * game.transitions[(s, *actions)]
    return np.linalg.solve(matrix, gain)


# ---------------------------------------------------------------------- evaluation


def test_values_and_best_responses_by_brute_force_with_unequal_actions():
    game = uneven_game()
    policy = random_policy(RNG(1), game)
    assert np.allclose(theory.values(game, policy), [brute_values(game, policy, i) for i in range(3)], rtol=1e-12)
    best, actions = theory.best_responses(game, policy)
    for i, count in enumerate(game.actions):
        everything = [brute_values(game, [*policy[:i], np.eye(count)[list(choice)], *policy[i + 1 :]], i)
                      for choice in product(range(count), repeat=3)]  # fmt: skip
        assert np.allclose(best[i], np.max(everything, axis=0), rtol=1e-12)
        chosen = [*policy[:i], np.eye(count)[actions[i]], *policy[i + 1 :]]
        assert np.allclose(brute_values(game, chosen, i), best[i], rtol=1e-12)
    assert theory.nash_gap(game, policy) == pytest.approx(dynamics.regrets(game, policy).max(), rel=1e-12)


def test_values_by_simulation():
    game = uneven_game(2, 0.5)
    policy, rng, n = random_policy(RNG(3), game), RNG(4), 40_000
    s, total = np.zeros(n, dtype=int), np.zeros((n, 3))
    for t in range(30):
        a = tuple((rng.random((n, 1)) > np.cumsum(part[s], axis=1)[:, :-1]).sum(axis=1) for part in policy)
        total += 0.5**t * game.rewards[(slice(None), s, *a)].T
        s = (rng.random((n, 1)) > np.cumsum(game.transitions[(s, *a)], axis=1)[:, :-1]).sum(axis=1)
    error = total.std(axis=0) / np.sqrt(n)
    assert (np.abs(total.mean(axis=0) - theory.values(game, policy)[:, 0]) < 5 * error + 1e-8).all()


def test_a_batch_of_policies_is_its_members():
    game = uneven_game()
    batch = [np.stack([random_policy(RNG(k), game)[i] for k in range(4)]) for i in range(3)]
    gaps = theory.nash_gap(game, batch)
    assert gaps.shape == (4,)
    assert np.allclose(gaps, [theory.nash_gap(game, random_policy(RNG(k), game)) for k in range(4)], rtol=1e-13)


def test_occupancy_is_the_discounted_sum_of_visits():
    game = uneven_game()
    policy = random_policy(RNG(5), game)
    joint = theory.joint_law(policy)
    chain = np.einsum("sj,sjt->st", joint, game.transitions.reshape(3, -1, 3))
    at, total = np.array([0.2, 0.3, 0.5]), np.zeros(3)
    for t in range(200):
        total, at = total + 0.3 * 0.7**t * at, at @ chain
    assert np.allclose(theory.occupancy(game, policy, [0.2, 0.3, 0.5]), total, rtol=1e-12)


# ---------------------------------------------------------------------- potentials


@pytest.mark.parametrize("make", [random_identical_interest_game, random_action_independent_game])
def test_cycles_vanish_with_unequal_actions(make):
    game = make(RNG(0), (2, 3, 2), 3, 0.8)
    one, other = random_policy(RNG(1), game), random_policy(RNG(2), game)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        assert np.abs(theory.cycle_sum(game, one, other, i, j)).max() < 1e-13
    game = random_general_game(RNG(0), (2, 3, 2), 3, 0.8)
    assert np.abs(theory.cycle_sum(game, one, other, 0, 1)).max() > 0.01


def test_individual_rewards_with_the_kernel_of_the_actions_have_no_potential():
    game = routing_game(rewards="individual")
    one, other = random_policy(RNG(1), game), random_policy(RNG(2), game)
    assert np.abs(theory.cycle_sum(game, one, other, 0, 1)).max() > 0.1


def test_the_ascent_rate_is_the_derivative_of_the_potential():
    jax = pytest.importorskip("jax")
    game = random_identical_interest_game(RNG(0), (2, 2), 3, 0.7)
    policy, start, speeds = np.stack(random_policy(RNG(1), game)), np.array([0.2, 0.5, 0.3]), np.array([1.0, 2.0, 0.5])
    q = theory.action_values(game, policy, theory.values(game, policy))
    way = np.stack([np.eye(2)[one.argmax(axis=1)] for one in q]) - policy
    with jax.enable_x64(True):
        _, rate = jax.jvp(lambda pi: dynamics.values(game, pi, game.stage_potential[None])[0] @ start, (policy,),
                          (speeds[:, None] * way,))  # fmt: skip
    assert theory.ascent_rate(game, policy, speeds, start) == pytest.approx(float(rate), rel=1e-11)
    assert rate > 0


def test_simultaneous_steps_of_size_one_cycle():
    # two players who want to be apart: both switch, and are together again
    game = MarkovGame(np.array([[[[0.0, 1.0], [1.0, 0.0]]]] * 2), np.ones((1, 2, 2, 1)), 0.0)
    policy = theory.pure(game, [[0], [0]])
    path = [0]
    for _ in range(4):
        policy = theory.pure(game, theory.best_responses(game, policy)[1])
        path.append(int(theory.rounded(policy)[0, 0]))
        assert theory.values(game, policy)[0, 0] == 0
    assert path == [0, 1, 0, 1, 0]


# ---------------------------------------------------------------------- routing


@pytest.mark.parametrize(("common", "averaged", "convention"), [
    (True, False, "published"), (False, True, "published"), (False, False, "natural"), (True, True, "natural"),
])  # fmt: skip
def test_load_tables_are_the_joint_tables(common, averaged, convention):
    settings = dict(players=3, capacity=1, slopes=(1.0, 2.5), offsets=(5.0, 7.0), recovery=(0.9, 0.3), discount=0.6)
    table = theory.load_tables(**settings, common=common, averaged=averaged, convention=convention)
    game = routing_game(**settings, rewards="common" if common else "individual",
                        kernel="averaged" if averaged else "actions", convention=convention)  # fmt: skip
    for actions in product((0, 1), repeat=3):
        others = sum(a == 0 for a in actions[1:])
        assert np.allclose(game.rewards[(0, slice(None), *actions)], table.reward[:, actions[0], others], rtol=1e-14)
        assert np.allclose(game.transitions[(0, *actions)], table.kernel[actions[0], others], rtol=1e-14)


def test_the_published_census_and_its_values():
    found = theory.pure_equilibria(LOADS, own_values=False)
    assert (found.total, found.loads.tolist()) == (864, [[2, 2, 3, 2]])
    assert found.values[0] / 4 == pytest.approx([23.663158, 39.663158, 34.557895, 47.663158], abs=1e-6)
    assert found.values.mean() / 4 == pytest.approx(36.386842, abs=1e-6)
    own = theory.load_tables(4, 2, (2, 4), (9, 16), (0.8, 0.2), 0.5, common=False, averaged=True)
    found = theory.pure_equilibria(own, own_values=True)
    assert (found.total, found.loads.tolist()) == (576, [[2, 1, 3, 2]])
    natural = theory.load_tables(4, 2, (2, 4), (9, 16), (0.8, 0.2), 0.5, convention="natural")
    found = theory.pure_equilibria(natural, own_values=False)
    assert (found.total, found.loads.tolist()) == (384, [[2, 3, 1, 3]])
    assert found.values.mean() / 4 == pytest.approx(28.430189, abs=1e-6)


def test_every_listed_equilibrium_has_no_gap():
    profiles = exploration.equilibria()
    assert len(np.unique(profiles.reshape(len(profiles), -1), axis=0)) == 864
    assert np.abs(theory.explored_gap(routing_game(), profiles, 0.0)).max() < 1e-12


# ---------------------------------------------------------------------- softmax


def test_the_critical_temperature_and_the_gaps_of_the_published_game():
    assert theory.critical_temperature(LOADS) == pytest.approx(6.2025, abs=1e-4)
    game = routing_game()
    for temperature, gap in ((50, 8.3144), (20, 5.6293), (10, 3.6234)):
        x = theory.symmetric_equilibrium(LOADS, temperature)
        policy = [np.stack([x, 1 - x], axis=1)] * 4
        image = dynamics.softmax_map(game, policy, temperature)
        assert np.abs(image[2] - policy[2]).max() < 1e-12
        assert theory.nash_gap(game, policy) == pytest.approx(gap, abs=1e-4)
        assert theory.softmax_regrets(game, policy, temperature).max() == pytest.approx(gap, abs=1e-4)


@pytest.mark.parametrize("temperature", [4.0, 6.2, 15.0])
def test_the_full_derivative_has_the_predicted_spectrum(temperature):
    x = theory.symmetric_equilibrium(LOADS, temperature, theory.symmetric_equilibrium(LOADS, 10.0))
    breaking = np.linalg.eigvals(theory.breaking_matrix(LOADS, x, temperature))
    policy = [np.stack([x, 1 - x], axis=1)] * 4
    full = np.linalg.eigvals(dynamics.softmax_jacobian(routing_game(), policy, temperature))
    assert np.allclose(np.sort(full.real), np.sort(np.r_[np.repeat(breaking.real, 3), -3 * breaking.real]), atol=1e-5)


def test_order_parameter_below_the_critical_temperature():
    game, rng = routing_game(), RNG(0)
    tau_c = theory.critical_temperature(LOADS)
    for share, expected in ((0.9, 0.307), (0.8, 0.380), (1.1, 0.0)):
        found = dynamics.softmax_path(game, share * tau_c, list(rng.dirichlet([1, 1], size=(4, 4))), damping=0.25,
                                      steps=1500)  # fmt: skip
        x = np.stack([part[:, 0] for part in found.policy])
        assert np.linalg.norm(x - x.mean(axis=0), axis=1).max() == pytest.approx(expected, abs=2e-3)


# ---------------------------------------------------------------------- learning


def test_starvation_probability_by_enumeration():
    """All histories of 7 visits in exact arithmetic, from the rule of learning; b = 1."""
    def histories(q, pi, n, weight):
        if n == 8:
            return weight if sum(v is not None for v in q) == 1 else Fraction(0)
        old, total = [Fraction(0) if v is None else v for v in q], Fraction(0)
        best = [v == max(old) for v in old]
        target = [Fraction(int(x), sum(best)) for x in best]
        after = [p + Fraction(1, n) * (t - p) for p, t in zip(pi, target, strict=True)]
        for k in range(2):
            if pi[k]:
                tried = list(q)
                tried[k] = Fraction(k + 1)
                total += histories(tried, after, n + 1, weight * pi[k])
        return total

    exact = histories([None, None], [Fraction(1, 2)] * 2, 1, Fraction(1))
    assert theory.starvation_probability(1.0, 7) == pytest.approx(float(exact), rel=1e-14)


def test_starvation_has_a_limit_below_one_and_none_at_one():
    at = [theory.starvation_probability(0.6, n) for n in (10_000, 100_000)]
    assert at[0] == pytest.approx(at[1], rel=1e-6)
    ratio = theory.starvation_probability(1.0, 100_000) / theory.starvation_probability(1.0, 1000)
    assert ratio == pytest.approx(100**-0.5, rel=1e-2)


def test_which_powers_settle():
    assert theory.settles(0.5, 1.0, 0.0)
    assert theory.settles(0.5, 0.75, 0.1)
    assert not theory.settles(0.5, 0.75, 0.0)
    assert not theory.settles(1.0, 0.5, 0.1)
    assert theory.settles_by_powers(0.5, 0.75)
    assert theory.remaining(0.7, 3, 9) == pytest.approx(np.prod([1 - j**-0.7 for j in range(4, 10)]))


def test_the_exploration_bound_and_the_finite_set():
    game, profiles = routing_game(), exploration.equilibria()
    gaps = theory.explored_gap(game, profiles, 0.1)
    assert np.unique(gaps.round(4)).tolist() == [1.442, 1.4654, 1.5087, 1.535, 1.5679, 1.5851, 1.6347, 1.6547]
    assert theory.explored_response_gain(game, profiles, 0.1).max() < 1e-12
    bound = theory.exploration_gap_bound(0.1, 2, np.ptp(game.rewards[0]), 0.5)
    assert gaps.max() < bound


def test_learned_policies_of_the_batched_loop_are_equilibria():
    from lab.models.markov_learning import learn

    last, _ = learn(routing_game(), RNG(0), 2500, 24, a=0.7, b=0.75, theta=0.1)
    pure = last.policy.max(axis=-1).min(axis=(1, 2)) > timescale.SETTLED
    loads = (last.policy[pure, :, :, 0] > 0.5).sum(axis=1)
    assert pure.sum() > 6
    assert (loads == [2, 2, 3, 2]).all()


# ---------------------------------------------------------------------- certificate


def test_certificate_of_an_equilibrium_and_of_a_mixture_of_it():
    game = routing_game()
    profile = theory.pure(game, exploration.equilibria()[100])
    found = potential_games.certify(game, profile)
    assert found.is_nash
    assert found.has_potential
    assert found.gap == potential_games.nash_gap(game, profile)
    mixed = potential_games.certify(game, theory.explored(profile, 0.1))
    assert not mixed.is_nash
    assert mixed.rounded_gap <= mixed.rounding
    assert mixed.impurity == pytest.approx(0.05)
    assert "The likeliest actions are a pure Nash equilibrium" in str(mixed)
    assert json.loads(json.dumps(mixed.to_json()))["responses"] == [part.tolist() for part in mixed.responses]


def test_certificate_names_a_game_without_potential():
    game = uneven_game()
    found = potential_games.certify(game, random_policy(RNG(0), game))
    assert found.has_potential is False
    assert "no potential" in found.sentences[-1]
    alone = MarkovGame(np.ones((1, 2, 2)), np.full((2, 2, 2), 0.5), 0.9)
    found = potential_games.certify(alone, [np.full((2, 2), 0.5)])
    assert found.is_nash
    assert found.has_potential is None
    assert found.to_json()["cycle_residual"] is None


def test_certificate_takes_torch_and_jax():
    torch, jnp = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    game, policy = routing_game(), RNG(0).dirichlet([1, 1], size=(4, 4))
    expected = potential_games.certify(game, policy).gap
    assert potential_games.certify(game, torch.tensor(policy, requires_grad=True)).gap == pytest.approx(expected)
    assert potential_games.certify(game, jnp.asarray(policy)).gap == pytest.approx(expected, rel=1e-5)


def test_arrays_of_a_file():
    game = uneven_game()
    policy = random_policy(RNG(0), game)
    arrays = {"rewards": game.rewards, "transitions": game.transitions, "discount": np.array(0.7)}
    again, parts = potential_games.game_from_arrays(arrays | {f"policy_{i}": part for i, part in enumerate(policy)})
    assert theory.nash_gap(again, parts) == theory.nash_gap(game, policy)
    with pytest.raises(InputError, match="neither an array 'policy' nor 'policy_0'"):
        potential_games.game_from_arrays(arrays)
    with pytest.raises(InputError, match="there is no array 'transitions'"):
        potential_games.game_from_arrays({"rewards": game.rewards, "discount": 0.7})
    with pytest.raises(InputError, match="must be one number"):
        potential_games.game_from_arrays(arrays | {"discount": np.ones(2)})


def test_policies_that_are_none_are_refused():
    game = routing_game(players=2)
    with pytest.raises(OutOfDomain, match="has 3 arrays; the game has 2 players"):
        potential_games.certify(game, np.full((3, 4, 2), 0.5))
    with pytest.raises(OutOfDomain, match="rows sum to one within"):
        potential_games.certify(game, np.full((2, 4, 2), 0.6))
    with pytest.raises(OutOfDomain, match="non-negative"):
        potential_games.certify(game, np.tile([1.5, -0.5], (2, 4, 1)))
    with pytest.raises(InputError, match="certify one policy"):
        potential_games.certify(game, np.full((2, 5, 4, 2), 0.5))
    with pytest.raises(OutOfDomain, match="stage_potential=None"):
        theory.potential(uneven_game(), random_policy(RNG(0), uneven_game()))
