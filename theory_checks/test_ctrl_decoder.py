"""CTRL, decoders: closed forms by high precision, autodiff, brute force and Monte Carlo; operators in every library."""

import doctest
import importlib

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import InputError, OutOfDomain
from lab.models import closed_loops, linear_games
from lab.models.feasible_sets import class_energies, operator_norm_ball, project_class_energies, stiefel
from lab.streams import Stream
from lab.systems.ctrl import theory
from lab.systems.ctrl.laws import CONDITION, MIXING, MULTI_DECODER, RECONSTRUCTION
from lab.systems.ctrl.laws.shrinkage import AwayFromMixing, Features, Separate

SHARES = st.floats(0.01, 0.99)
PRECISIONS = st.floats(-3, 9).map(lambda e: 10.0**e)

MODULES = [*(f"systems.ctrl.theory.{m}" for m in ("data_space", "few_samples", "general", "projection", "shrinkage",
                                                  "timescale")),
           "systems.ctrl.certificate", "models.feasible_sets", "models.linear_games"]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_documentation(name):
    assert doctest.testmod(importlib.import_module(f"lab.{name}")).failed == 0


# ---------------------------------------------------------------------- CTRL-Multi


def direction_loss(g, v, tau):
    """Loss of one direction, as the game defines it: rates of what is decoded, and the distance."""
    rate = mpmath.log(1 + g * v * tau) - g * mpmath.log(1 + v * tau)
    distance = mpmath.log(1 + v * (1 + tau) / 2) - (mpmath.log(1 + v) + mpmath.log(1 + v * tau)) / 2
    return (rate + distance) / 2


@given(SHARES, PRECISIONS)
def test_shrinkage_is_the_stationary_point_in_high_precision(g, v):
    tau = float(theory.decoder_shrinkage(g, v))
    with mpmath.workdps(40):
        slope = mpmath.diff(lambda t: direction_loss(mpmath.mpf(g), mpmath.mpf(v), t), tau)
        bend = mpmath.diff(lambda t: direction_loss(mpmath.mpf(g), mpmath.mpf(v), t), tau, 2)
        assert abs(slope / bend) <= 1e-14 * tau
        assert bend > 0


@pytest.mark.parametrize("g", [0.03, 0.3, 0.5, 0.7, 0.97])
@pytest.mark.parametrize("v", [0.01, 3.0, 1e4])
def test_shrinkage_is_the_only_and_the_lowest_point_on_a_grid(g, v):
    grid = np.geomspace(1e-12, 1e3, 3001)
    loss = [float(direction_loss(g, v, t)) for t in grid]
    low = int(np.argmin(loss))
    assert grid[low - 1] < theory.decoder_shrinkage(g, v) < grid[low + 1]
    turns = np.flatnonzero(np.diff(np.sign(np.diff(loss)[np.abs(np.diff(loss)) > 1e-13])))
    assert len(turns) == 1


def test_published_sizes_and_one_class():
    third, ranks = np.full(3, 1 / 3), np.array([3, 4, 5])
    tau = theory.decoder_shrinkage(third, 40 / ranks)
    assert np.sqrt(tau) == pytest.approx([0.434, 0.463, 0.485], abs=5e-4)
    assert theory.decoder_loss(third, ranks, 40.0, tau) == pytest.approx(2.0322034, abs=5e-8)
    assert theory.decoder_loss(third, ranks, 40.0, np.ones(3)) == pytest.approx(3.961863935915628, abs=1e-12)
    assert theory.decoder_shrinkage(1.0, np.geomspace(1e-3, 1e9, 20)) == pytest.approx(1.0, abs=1e-15)
    v = np.geomspace(1e-3, 1e9, 20)
    assert theory.decoder_shrinkage(0.5, v) == pytest.approx(1 / (1 + np.sqrt(1 + v)), rel=1e-14)


@given(SHARES | st.just(0.5), PRECISIONS)
def test_limits_bound_the_exact_value_from_the_right_side(g, v):
    limit, error = theory.decoder_shrinkage_limit(g, v), theory.decoder_shrinkage_limit_error(g, v)
    gap = theory.decoder_shrinkage(g, v) / limit - 1
    if g > 0.5:
        assert -1e-12 <= gap <= error * (1 + 1e-9) + 1e-12
    else:
        assert -error * (1 + 1e-9) - 1e-12 <= gap <= 1e-12


@pytest.mark.parametrize("g", [0.2, 0.8])
def test_limit_errors_are_sharp(g):
    v = 1e10
    gap = abs(theory.decoder_shrinkage(g, v) / theory.decoder_shrinkage_limit(g, v) - 1)
    assert gap / theory.decoder_shrinkage_limit_error(g, v) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("fractions", "ranks", "beta"), [
    ((0.5, 0.5), (1, 2), 2.0), ((0.5, 0.5), (1, 2), 4.0), ((0.3, 0.7), (2, 1), 0.5), ((0.2, 0.5, 0.3), (1, 1, 1), 8.0),
    ((0.6, 0.4), (1, 3), 30.0), ((0.35, 0.3, 0.35), (2, 1, 1), 1.0),
])  # fmt: skip
def test_mixing_is_where_the_hessian_over_all_decoders_turns_indefinite(fractions, ranks, beta):
    """Least eigenvalue of the Hessian, by automatic differentiation, of the loss over all maps at the shrunk copy."""
    import torch

    g, k = np.array(fractions), np.array(ranks)
    d, owner = int(k.sum()), np.repeat(np.arange(len(k)), k)
    moments = torch.tensor(np.stack([np.diag((owner == j) / k[j]) for j in range(len(k))]))
    eye, shares = torch.eye(d, dtype=torch.float64), torch.tensor(g)

    def loss(H):
        decoded = H @ moments @ H.T
        rates, own, middle, whole = (
            0.5 * torch.logdet(eye + beta * C)
            for C in (decoded, moments, (decoded + moments) / 2, torch.tensordot(shares, decoded, 1))
        )
        return whole - torch.sum(shares * rates) + torch.sum(middle - (rates + own) / 2)

    tau = theory.decoder_shrinkage(g, beta / k)
    H = torch.diag(torch.tensor(np.sqrt(tau)[owner])).requires_grad_()
    assert float(torch.autograd.grad(loss(H), H)[0].abs().max()) < 1e-12
    hessian = torch.autograd.functional.hessian(loss, H.detach()).reshape(d * d, d * d)
    least = float(torch.linalg.eigvalsh(hessian)[0])
    mixing = theory.decoder_mixing(fractions, ranks, beta)
    assert (least < -1e-9) == (mixing > 1)
    assert loss_is_the_games(fractions, ranks, beta, tau)


def loss_is_the_games(fractions, ranks, beta, tau):
    """The closed form of the loss against determinants of samples' moments."""
    d, owner = sum(ranks), np.repeat(np.arange(len(ranks)), ranks)
    C = np.stack([np.diag((owner == j) / ranks[j]) for j in range(len(ranks))])
    value = closed_loops.reduction(tau[:, None, None] * C, np.array(fractions), beta)
    value = value + closed_loops.distance(C, tau[:, None, None] * C, beta).sum()
    return abs(value - theory.decoder_loss(fractions, ranks, beta, tau)) < 1e-12 * d


def test_classes_of_equal_rank_never_mix_and_others_do():
    for rest in (1, 0.6):
        grid = [(rest * g, rest * (1 - g), b) for g in np.linspace(0.01, 0.99, 50) for b in np.geomspace(1e-4, 1e8, 40)]
        assert max(theory.decoder_mixing((g, other), (2, 2), b) for g, other, b in grid) < 1
    low = 4 * 0.25 * sum(theory.decoder_shrinkage(0.5, 1e-9) * r for r in (1 / 3, 3))
    assert theory.decoder_mixing((0.5, 0.5), (1, 3), 1e-9) == pytest.approx(low, rel=1e-6)
    assert low > 1


def test_a_mixing_decoder_does_better_than_the_shrunk_copy():
    """Counterexample to the shrunk copy as the best response at low precision."""
    p = AwayFromMixing(sizes=(18, 8), ranks=(2, 1), beta=0.8)
    assert p.mixing > 1
    assert MIXING.accepts(p, True)
    assert not MIXING.accepts(p, False)
    found = MIXING.plan.measurement(p, Stream("theory checks"))
    aligned = theory.decoder_loss(p.fractions, p.ranks, p.beta, theory.decoder_shrinkage(p.fractions, p.v))
    assert found["loss"] < aligned - 1e-6
    with pytest.raises(OutOfDomain, match="overlap"):
        Separate(**p.values())


def test_law_accepts_the_root_found_by_bisection_and_nothing_else():
    p = Separate(sizes=(30, 10), ranks=(2, 2), beta=50.0)

    def slope(share, tau, v=25.0):
        return share / (1 + share * v * tau) - share / (1 + v * tau) + 1 / (2 + v * (1 + tau)) - 1 / (2 + 2 * v * tau)

    low, high = np.zeros(2), np.ones(2)
    for _ in range(60):
        middle = (low + high) / 2
        rising = slope(np.array([0.75, 0.25]), middle) > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    assert MULTI_DECODER.accepts(p, low)
    assert not MULTI_DECODER.accepts(p, low * (1 + 1e-9))


def test_a_perfect_decoder_is_never_best_where_classes_differ():
    rng = np.random.default_rng(0)
    for _ in range(200):
        K, d = rng.integers(2, 5), rng.integers(1, 6)
        Z = rng.standard_normal((K, rng.integers(1, 7), d))
        g = rng.dirichlet(np.ones(K))
        C = Z.mT @ Z
        slope = theory.scaling_slope(C, g, float(rng.uniform(0.1, 50)))
        assert slope > 0
    same = np.repeat(C[:1], 3, axis=0)
    assert theory.scaling_slope(same, np.full(3, 1 / 3), 2.0) == pytest.approx(0, abs=1e-12)
    assert RECONSTRUCTION.check(Features(dim=1)).holds


# ---------------------------------------------------------------------- what comes back of the data


def test_row_space_residual_against_principal_angles():
    rng = np.random.default_rng(1)
    for _ in range(20):
        d_x, d_z, k = 7, int(rng.integers(3, 8)), int(rng.integers(1, 4))
        F, X = rng.standard_normal((d_z, d_x)), rng.standard_normal((9, k)) @ rng.standard_normal((k, d_x))
        decoded = X @ F.T @ np.linalg.pinv(F).T
        span = np.linalg.svd(decoded)[2][:k]
        direct = np.linalg.norm(X - X @ span.T @ span) / np.linalg.norm(X)
        assert theory.row_space_residuals(F, (X.T @ X / 9)[None])[0] == pytest.approx(direct, abs=1e-7)
        again = linear_games.subspace_residuals(X[None], decoded[None], [k])[0]
        assert again == pytest.approx(direct, abs=1e-12)


def test_mean_residual_and_held_out_samples_by_monte_carlo():
    rng = np.random.default_rng(2)
    rows = np.linalg.qr(rng.standard_normal((4000, 8, 3)))[0]  # row spaces of dimension 3 in R^8
    x = rng.standard_normal(8)
    shares = 1 - np.sum((x @ rows) ** 2, axis=1) / (x @ x)
    assert abs(shares.mean() - theory.mean_squared_residual(3, 8)) < 5 * shares.std() / 4000**0.5
    assert theory.held_out_residual(3, 8) == theory.mean_squared_residual(3, 8)
    assert theory.held_out_residual([0, 8, 9], 8).tolist() == [1, 0, 0]
    with pytest.raises(OutOfDomain):
        theory.mean_squared_residual(9, 8)


def test_a_decoder_at_zero_never_moves():
    rng = np.random.default_rng(3)
    F, moments = rng.standard_normal((3, 5)), np.eye(5)[None] / 5
    G = linear_games.decoder_descent(F, np.zeros((5, 3)), moments, 10.0, rate=0.1, steps=50)
    assert not G.any()


def test_no_decoder_of_low_rank_beats_eckart_and_young():
    rng = np.random.default_rng(4)
    Z = rng.standard_normal((30, 4)) @ np.diag([3, 2, 1, 0.5])
    best = theory.rank_capped_consistency(np.linalg.eigvalsh(Z.T @ Z / 30), 2)
    tries = [Z @ A @ np.linalg.lstsq(Z @ A, Z, rcond=None)[0] for A in rng.standard_normal((500, 4, 2))]
    assert max(-np.sum((Z - Zhat) ** 2) / 30 for Zhat in tries) <= best + 1e-12
    assert theory.rank_capped_consistency([1.0, 2.0], 2) == 0
    assert theory.leader_value(3.0, -0.5, -2.0) == 2.0


# ---------------------------------------------------------------------- two time scales


@given(st.floats(0.2, 5), st.floats(0.2, 5), st.floats(0.1, 10), st.floats(0.1, 10))
def test_growth_of_an_orbit_against_eigenvalues(p, c, margin, ratio):
    m, h = ((1 + margin) * p * c) ** 0.5, 0.01 / (p * max(margin, 1))
    T = ratio * p / c
    jacobian = np.array([[p, m], [-T * m, -T * c]])
    values = np.linalg.eigvals(jacobian)
    assert theory.gda_growth(p, m, c, T) == pytest.approx(values.real.max(), abs=1e-9 * (1 + T))
    stepwise = np.log(np.abs(1 + h * values)).max() / h
    assert theory.gda_growth(p, m, c, T, step=h) == pytest.approx(stepwise, abs=1e-9 * (1 + T) / h)
    if abs(ratio - 1) > 1e-3:
        assert (values.real.max() < 0) == (theory.gda_threshold(p, m, c) < T)
    at = theory.gda_threshold(p, m, c, step=h)
    assert theory.gda_growth(p, m, c, at, step=h) == pytest.approx(0, abs=1e-9 / h)


def test_threshold_of_the_published_kind_of_example():
    """p = 1, m = 2, c = 1 at h = 1e-3: spectral radii on both sides of T = 1."""
    for T, excess in ((0.5, 2.5e-4), (0.9, 5e-5), (1.1, -5e-5), (2.0, -5e-4)):
        radius = np.exp(1e-3 * theory.gda_growth(1.0, 2.0, 1.0, T, step=1e-3))
        assert radius - 1 == pytest.approx(excess, abs=4e-6)
    with pytest.raises(OutOfDomain, match="no ratio settles"):
        theory.gda_threshold(2.0, 1.0, 1.0)


def test_printed_condition_calls_an_equilibrium_none():
    """The erratum's counterexample: p = 1, m = 2, c = 1 is an equilibrium; as printed the curvature would be 5."""
    assert theory.stackelberg_curvature(1.0, 2.0, 1.0) == -3.0
    printed = 1.0 + 2.0 * 2.0 / 1.0
    assert printed == 5.0
    theta = np.linspace(-1, 1, 5)
    value = [min(0.5 * t**2 + 2 * t * e + 0.5 * e**2 for e in np.linspace(-4, 4, 8001)) for t in theta]
    assert value == pytest.approx(-1.5 * theta**2, abs=1e-6)  # the leader is best off at 0
    assert CONDITION.control("sign of the mixed term").expected == "refuted"


# ---------------------------------------------------------------------- the feasible set


def problems(rng, count=30):
    for _ in range(count):
        K, d_z, d_x = rng.integers(1, 5), rng.integers(1, 6), rng.integers(1, 8)
        X = rng.standard_normal((K, rng.integers(1, 10), d_x)) * np.exp(rng.normal(size=(K, 1, 1)))
        yield rng.standard_normal((d_z, d_x)) * np.exp(rng.normal()), X.mT @ X / X.shape[1]


def test_projection_satisfies_its_optimality_conditions_and_no_feasible_map_is_nearer():
    rng = np.random.default_rng(5)
    for F, C in problems(rng):
        found = project_class_energies(F, C)
        energies = class_energies(found.map, C)
        assert found.residual < 1e-10
        assert (energies <= 1 + 1e-10).all()
        assert (found.multipliers >= 0).all()
        assert np.abs(found.multipliers * (1 - energies)).max() <= 1e-9 * (1 + found.multipliers.max())
        assert found.map == pytest.approx(theory.nearest_feasible(F, C, found.multipliers), abs=1e-9 * np.abs(F).max())
        distance = np.sum((found.map - F) ** 2)
        assert distance == pytest.approx(theory.projection_dual(F, C, found.multipliers), abs=1e-8 * (1 + distance))
        others = found.map + rng.standard_normal((200, *F.shape)) * np.exp(rng.normal(size=(200, 1, 1)) - 2)
        others = others / np.sqrt(np.maximum(1, class_energies(others, C).max(axis=1)))[:, None, None]
        assert np.max(np.sum((F - found.map) * (others - found.map), axis=(1, 2))) <= 1e-8 * (1 + distance)


def test_maps_inside_the_set_come_back_to_the_bit_and_projecting_twice_changes_nothing():
    rng = np.random.default_rng(6)
    for F, C in problems(rng, 10):
        inside = 0.99 * F / np.sqrt(max(1.0, class_energies(F, C).max()))
        assert np.array_equal(project_class_energies(inside, C).map, inside)
        once = project_class_energies(F, C).map
        assert project_class_energies(once, C).map == pytest.approx(once, abs=1e-9 * np.abs(F).max())
        half = project_class_energies(F, C, bounds=0.5).map
        assert class_energies(half, C).max() <= 0.5 * (1 + 1e-10)


def test_projection_in_every_library_in_batches_and_under_transformations():
    import jax
    import torch

    rng = np.random.default_rng(7)
    F, X = 3 * rng.standard_normal((6, 2, 4)), rng.standard_normal((3, 5, 4))
    C = X.mT @ X / 5
    one = np.stack([project_class_energies(F[i], C).map for i in range(6)])
    assert project_class_energies(F, C).map == pytest.approx(one, abs=1e-12)
    assert project_class_energies(torch.tensor(F), torch.tensor(C)).map.numpy() == pytest.approx(one, abs=1e-12)
    with jax.enable_x64(True):
        jitted = jax.jit(jax.vmap(lambda F: project_class_energies(F, jax.numpy.asarray(C)).map))
        assert np.asarray(jitted(jax.numpy.asarray(F))) == pytest.approx(one, abs=1e-12)
    with pytest.raises(InputError, match="shapes"):
        project_class_energies(F, C[..., :3])
    with pytest.raises(InputError, match="must be positive"):
        project_class_energies(F, C, bounds=0.0)


def test_nearest_isometries_and_contractions():
    rng = np.random.default_rng(8)
    for shape in ((2, 4), (4, 2), (3, 3)):
        F = rng.standard_normal(shape)
        near, inside = stiefel(F), operator_norm_ball(F, 0.7)
        gram = near @ near.T if shape[0] < shape[1] else near.T @ near
        assert gram == pytest.approx(np.eye(min(shape)), abs=1e-12)
        others = np.linalg.svd(rng.standard_normal((500, *shape)), full_matrices=False)
        isometries = others[0] @ others[2]
        assert np.linalg.norm(near - F) <= np.linalg.norm(isometries - F, axis=(1, 2)).min()
        assert np.linalg.norm(inside, 2) <= 0.7 * (1 + 1e-12)
        contractions = 0.7 * rng.random((500, 1, 1)) * isometries
        assert np.max(np.sum((F - inside) * (contractions - inside), axis=(1, 2))) <= 1e-12


# ---------------------------------------------------------------------- games that are played


def test_a_game_is_the_same_in_numpy_and_torch_and_side_by_side():
    import torch

    rng = np.random.default_rng(9)
    X = rng.standard_normal((2, 12, 4))
    moments, shares = X.mT @ X / 12, np.array([0.5, 0.5])
    F, G = rng.standard_normal((3, 3, 4)), rng.standard_normal((3, 4, 3))
    options = {"inner": 3, "steps": 8, "records": 2}
    together = linear_games.play(F, G, moments, shares, 5.0, **options)
    assert together.encoders.shape == (3, 3, 3, 4)
    assert class_energies(together.encoders, moments).max() <= 1 + 1e-9
    alone = linear_games.play(F[1], G[1], moments, shares, 5.0, **options)
    assert together.encoders[:, 1] == pytest.approx(alone.encoders, abs=1e-10)
    tensors = linear_games.play(*map(torch.tensor, (F, G, moments)), shares, 5.0, **options)
    assert tensors.encoders.numpy() == pytest.approx(together.encoders, abs=1e-10)
    assert tensors.decoders.numpy() == pytest.approx(together.decoders, abs=1e-10)
    with pytest.raises(InputError, match="records"):
        linear_games.play(F, G, moments, shares, 5.0, inner=1, steps=5, records=2)
