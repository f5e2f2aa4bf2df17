"""CTRL games seen from the encoder: the loop against autodiff and plain code, closed forms against other routes."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.data.game_subspaces import correlated_subspaces
from lab.errors import OutOfDomain
from lab.models import closed_loops as loops
from lab.objectives import coding_rate
from lab.streams import Stream
from lab.sweeps.engine import Engine
from lab.systems.ctrl import dynamics, theory
from lab.systems.ctrl.laws import distance, multiple_subspaces, staircase

SMALL = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)


def instance(seed, K=3, d_x=6, d_z=4):
    rng = np.random.default_rng(seed)
    sizes = tuple(rng.integers(7, 15, K).tolist())
    data = correlated_subspaces(rng, ns=sizes, d_x=d_x, ds=(2,) * K, alpha=0.5, nu=0.1)
    F, G = rng.standard_normal((d_z, d_x)), rng.standard_normal((d_x, d_z))
    return data.Z, sizes, F, G, 10 ** rng.uniform(-1, 1)


# ---------------------------------------------------------------- the loop


def plain_rate(Z, eps):
    n, d = Z.shape
    return 0.5 * np.linalg.slogdet(np.eye(d) + d / (n * eps**2) * Z.T @ Z)[1]


@SMALL
@given(seeds)
def test_utilities_are_those_of_the_samples(seed):
    """By the definitions on samples: dist is the rate of the union minus the mean of the rates."""
    X, sizes, F, G, eps = instance(seed)
    Z, again = X @ F.T, X @ (F @ G @ F).T
    moments, fractions = loops.class_moments(X, sizes)
    beta = F.shape[0] / eps**2

    def dist(A, B):
        return plain_rate(np.concatenate([A, B]), eps) - 0.5 * plain_rate(A, eps) - 0.5 * plain_rate(B, eps)

    parts = [np.split(M, np.cumsum(sizes)[:-1]) for M in (Z, again)]
    classwise = sum(dist(A, B) for A, B in zip(*parts, strict=True))
    reductions = [coding_rate.rate_reduction(M, sizes, eps=eps) for M in (Z, again)]
    expected = {
        "single": (plain_rate(Z, eps) + dist(Z, again), -dist(Z, again)),
        "multiple": (reductions[0] + classwise, -classwise),
        "binary": (dist(Z, again), -dist(Z, again)),
        "multi": (sum(reductions) + classwise, -sum(reductions) - classwise),
    }
    for game in loops.GAMES:
        found = loops.utilities(game, F, G, moments, fractions, beta)
        np.testing.assert_allclose(found, expected[game], rtol=1e-9, atol=1e-10)


@pytest.fixture(scope="module")
def slopes():
    def total(F, G, moments, beta):
        return jnp.sum(loops.loop_distances(F, G, moments, beta))

    def gain(moments, fractions, beta):
        return loops.reduction(moments, fractions, beta)

    compiled = jax.jit(lambda F, G, C, g, b: (jax.grad(total, (0, 1))(F, G, C, b), jax.grad(gain)(C, g, b)))

    def call(*arguments):
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, compiled(*(jnp.asarray(a) for a in arguments)))
    return call


@SMALL
@given(seeds)
def test_gradients_are_those_of_autodiff(slopes, seed):
    X, _, F, G, eps = instance(seed)
    sizes = (len(X) - 10, 10)  # one compiled shape
    moments, fractions = loops.class_moments(X, sizes)
    beta = F.shape[0] / eps**2
    (in_F, in_G), in_C = slopes(F, G, moments, fractions, beta)
    found = loops.loop_slopes(F, G, moments, beta)
    scale = 1e-9 * (1 + beta * np.abs(moments).max())
    np.testing.assert_allclose(found.encoder, in_F, rtol=1e-8, atol=scale)
    np.testing.assert_allclose(found.decoder, in_G, rtol=1e-8, atol=scale)
    own = loops.reduction_gradient(moments, fractions, beta)
    np.testing.assert_allclose(own, in_C, rtol=1e-8, atol=1e-9 * beta)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_loop_is_the_same_in_every_library(library):
    make = torch.asarray if library == "torch" else jnp.asarray
    X, sizes, F, G, _ = instance(3)
    labels = np.repeat(np.arange(3), sizes)
    shuffle = np.random.default_rng(0).permutation(len(labels))
    plain, fractions = loops.class_moments(X, sizes)
    with jax.enable_x64(True):
        moments, _ = loops.class_moments(make(X[shuffle]), labels[shuffle])
        np.testing.assert_allclose(np.asarray(moments), plain, rtol=1e-12, atol=1e-14)
        found = loops.utilities("multi", make(F), make(G), moments, fractions, 3.0)
        ours = loops.utilities("multi", F, G, plain, fractions, 3.0)
        np.testing.assert_allclose([float(v) for v in found], ours, rtol=1e-11)
        decoder = np.asarray(loops.canonical_decoder(make(F), loops.pooled(moments, fractions)))
    expected = loops.canonical_decoder(F, loops.pooled(plain, fractions))
    np.testing.assert_allclose(decoder, expected, atol=1e-14 * np.linalg.cond(F @ X.T) ** 2)


def test_batches_of_loops_and_precisions():
    X, sizes, F, G, _ = instance(5)
    moments, fractions = loops.class_moments(X, sizes)
    many = loops.utilities("multi", np.stack([F, 2 * F]), G, moments, fractions, np.array([1.0, 3.0]))
    one = loops.utilities("multi", 2 * F, G, moments, fractions, 3.0)
    np.testing.assert_allclose(many.leader[1], one.leader, rtol=1e-13)


def test_small_distances_keep_their_digits():
    C = np.diag([1.0, 0.3, 0.0])
    other = C * (1 + 1e-9)
    with mpmath.workdps(60):
        a, b, beta = ([mpmath.mpf(float(v)) for v in np.diag(M)] for M in (C, other, 5.0 * np.eye(3)))
        terms = [mpmath.log(1 + c * (x + y) / 2) - (mpmath.log(1 + c * x) + mpmath.log(1 + c * y)) / 2
                 for x, y, c in zip(a, b, beta, strict=True)]  # fmt: skip
        exact = float(sum(terms) / 2)
    assert float(loops.distance(C, other, 5.0)) == pytest.approx(exact, rel=1e-6)


# ---------------------------------------------------------------- decoders


@SMALL
@given(seeds)
def test_the_canonical_decoder_is_the_pseudo_inverse_on_samples(seed):
    X, sizes, F, _, _ = instance(seed)
    moments, fractions = loops.class_moments(X, sizes)
    G = loops.canonical_decoder(F, loops.pooled(moments, fractions))
    # X^T (F X^T)^+ by its definition; both carry the condition of F X^T
    condition = np.linalg.cond(F @ X.T)
    np.testing.assert_allclose(G, X.T @ np.linalg.pinv(F @ X.T), atol=1e-13 * condition**2)
    wide = np.random.default_rng(seed).standard_normal((9, 6))
    G = loops.canonical_decoder(wide, loops.pooled(moments, fractions))
    np.testing.assert_allclose(X @ (G @ wide).T, X, atol=1e-12 * np.linalg.cond(wide) ** 2)


@SMALL
@given(seeds)
def test_no_best_response_is_smaller_than_the_least_norm(seed):
    """Random best responses in three dimensions, and the one that pairs the spectra."""
    rng = np.random.default_rng(seed)
    root, F = rng.standard_normal((2, 3, 3))
    spectra = [np.linalg.svd(M, compute_uv=False) for M in (root, F @ root)]
    least = float(theory.least_decoder_norm(*spectra))
    left, values, _ = np.linalg.svd(F @ root)
    half = left * values @ left.T  # root of the features' moment
    A, B = np.linalg.solve(F, half), np.linalg.inv(half)
    Q = np.linalg.qr(rng.standard_normal((500, 3, 3)))[0]
    norms = np.linalg.norm(A @ Q @ B, 2, axis=(-2, -1))
    assert norms.min() >= least * (1 - 1e-9)
    v = np.linalg.svd(A)[2]  # spectrum of the data; its right vectors meet the left vectors of the features
    attained = np.linalg.norm(A @ (v.T @ left.T) @ B, 2)
    assert attained == pytest.approx(least, rel=1e-8 * np.linalg.cond(F))
    assert least <= 1 / np.linalg.svd(F, compute_uv=False)[-1] * (1 + 1e-12)


# ---------------------------------------------------------------- closed forms


@SMALL
@given(st.floats(1e-3, 0.999), st.floats(1e-3, 1e3))
def test_slot_function_and_its_derivatives(gamma, u):
    with mpmath.workdps(40):
        def f(v):
            return mpmath.log(1 + v) - gamma * mpmath.log(1 + v / gamma)
        values = [float(f(mpmath.mpf(u))), *(float(mpmath.diff(f, mpmath.mpf(u), n)) for n in (1, 2))]
    scale = np.log1p(u / gamma)
    assert float(theory.slot(u, gamma)) == pytest.approx(values[0], rel=1e-12, abs=4e-16 * scale)
    assert float(theory.slot_slope(u, gamma)) == pytest.approx(values[1], rel=1e-12)
    # the numerator gamma - u² cancels near sqrt(gamma)
    cancelled = (1 - gamma) * (gamma + u**2) / ((1 + u) * (gamma + u)) ** 2
    assert float(theory.slot_curvature(u, gamma)) == pytest.approx(values[2], rel=1e-12, abs=1e-15 * cancelled)


@SMALL
@given(st.floats(1e-3, 0.999), st.floats(0.01, 100.0), st.integers(1, 9))
def test_best_rank_is_the_argmax(gamma, energy, most):
    worth = [float(theory.rank_value(energy, gamma, k)) for k in range(1, most + 1)]
    assert worth[int(theory.best_rank(energy, gamma, most)) - 1] == pytest.approx(max(worth), rel=1e-12)


def test_rank_constants_to_the_quoted_digits():
    found = [theory.rank_constant(*a) for a in ((0.5, 2), (0.5, 3), (0.5, 10), (1 / 3, 2), (0.1, 2), (0.01, 10))]
    np.testing.assert_allclose(found, [0.42135, 0.3175, 0.2357, 0.4168, 0.3933, 0.1799], atol=5.1e-5)
    limits = theory.rank_constant(np.array([0.9, 0.5, 0.1, 0.01, 1e-4]))
    np.testing.assert_allclose(limits, [0.2138, 0.2122, 0.1974, 0.1619, 0.1008], atol=5.1e-5)
    np.testing.assert_allclose(theory.rank_constant(0.3, 3000), theory.rank_constant(0.3), rtol=1e-3)


@pytest.mark.parametrize(("gamma", "rank"), [(0.5, 2), (0.02, 3), (0.9, 7)])
def test_rank_constant_is_the_root_of_its_equation(gamma, rank):
    with mpmath.workdps(40):
        def phi(u):
            return mpmath.log(1 + u) - gamma * mpmath.log(1 + u / gamma)
        point = float(theory.tangent_point(gamma))
        root = mpmath.findroot(lambda w: rank * phi(w) - (rank - 1) * phi(w * rank / (rank - 1)),
                               ((1 - 1 / rank) * point, point), solver="anderson")
        assert float(theory.rank_constant(gamma, rank)) == pytest.approx(float(gamma / root**2), rel=1e-12)


def test_published_value_and_counterexample_of_the_published_condition():
    assert theory.equilibrium((500,) * 3, (3, 4, 5), 40, eps=1.0).value == pytest.approx(3.961863935915628, abs=2e-15)
    sizes, eps = (40, 40), 1.3**0.5
    assert eps**4 < 40 * 4**2 / (80 * 2**2)  # the condition as printed: .845
    rows = {k: np.zeros((80, 4)) for k in (1, 2)}
    for k, Z in rows.items():
        for j in range(2):
            Z[40 * j + np.arange(k), 2 * j + np.arange(k)] = np.sqrt(40 / k)
    value = {k: coding_rate.rate_reduction(Z, sizes, eps=eps) for k, Z in rows.items()}
    assert value[1] == pytest.approx(0.228887, abs=5e-7)
    assert value[2] == pytest.approx(0.209532, abs=5e-7)
    assert theory.equilibrium(sizes, (2, 2), 4, eps=eps).value == pytest.approx(value[1], abs=1e-14)


def test_every_start_reaches_the_published_value_and_the_table_of_the_unequal_game():
    rows = Engine().measure(multiple_subspaces.MSP_VALUE.plan, [multiple_subspaces.PUBLISHED], [0], 0)
    np.testing.assert_allclose(rows[0].observed["random"], 3.961863935915628, atol=2e-14)
    table = theory.local_maxima((30, 50, 20), (2, 3, 4), 12, eps=0.5**0.5)
    assert dict(zip(map(tuple, table.ranks.tolist()), table.values.round(6), strict=True))[(2, 3, 3)] == 2.29691


@SMALL
@given(seeds)
def test_gap_parts_are_not_negative_on_feasible_features(seed):
    X, sizes, F, _, eps = instance(seed)
    moments, _ = loops.class_moments(X @ F.T, sizes)
    moments /= np.trace(moments, axis1=-2, axis2=-1)[:, None, None]
    parts = theory.gap_parts(moments, sizes, (4, 4, 4), eps=eps)
    assert parts.orthogonality >= -1e-12
    assert (parts.classes >= -1e-12).all()
    over = theory.gap_parts(moments * np.array([4.0, 1, 1])[:, None, None], sizes, (1, 4, 4), eps=eps)
    assert over.orthogonality >= -1e-12  # overlap never gains, whatever the energies


def test_three_lines_beat_two_orthogonal_ones():
    """The counterexample of the conjecture, on samples."""
    frame = np.stack([[np.cos(t), np.sin(t)] for t in np.pi / 3 * np.arange(3)])
    lines = np.zeros((90, 2))
    lines[::30] = np.sqrt(30) * frame
    two = np.zeros((90, 2))
    two[0, 0] = two[30, 1] = np.sqrt(30)
    values = [coding_rate.rate_reduction(Z, (30, 30, 30), eps=2.0) for Z in (lines, two)]
    assert values[0] == pytest.approx(theory.lines_value((30,) * 3, 2, eps=2.0).value, abs=1e-14)
    assert values[1] == pytest.approx(theory.orthogonal_allocation((30,) * 3, (1,) * 3, 2, eps=2.0).value, abs=1e-14)
    assert values[0] > 1.07 * values[1]


@SMALL
@given(seeds)
def test_no_features_of_rank_one_classes_exceed_lines_value(seed):
    rng = np.random.default_rng(seed)
    sizes, eps = tuple(rng.integers(4, 40, 4).tolist()), 10 ** rng.uniform(-0.5, 0.7)
    Z = np.zeros((sum(sizes), 2))
    heads = np.cumsum(sizes) - sizes
    length = np.sqrt(sizes) * np.where(rng.random(4) < 0.5, 1, rng.random(4))
    angle = rng.uniform(0, np.pi, 4)
    Z[heads] = length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    value = coding_rate.rate_reduction(Z, sizes, eps=eps)
    assert value <= theory.lines_value(sizes, 2, eps=eps).value + 1e-12


def test_allocation_is_the_best_of_all_and_planes_in_space():
    sizes, ranks, dim, eps = (40, 20, 10), (2, 3, 2), 4, 0.6
    gamma, beta = np.array(sizes) / 70, dim / eps**2
    grid = np.stack(np.meshgrid(*(np.arange(r + 1) for r in ranks), indexing="ij"), -1).reshape(-1, 3)
    grid = grid[grid.sum(1) <= dim]
    best = np.sum(theory.rank_value(beta * gamma, gamma, grid), axis=1).max()
    assert theory.orthogonal_allocation(sizes, ranks, dim, eps=eps).value == pytest.approx(best, abs=1e-14)
    assert theory.planes_in_space(40.0) == pytest.approx(np.log(21) - 0.5 * np.log(41), abs=1e-14)


def test_random_encoders_at_the_published_sizes():
    mean, variance = theory.random_encoder_moments(50, 40)
    with mpmath.workdps(20):
        a, b = mpmath.mpf(20), mpmath.mpf(5)
        density = lambda v: v ** (a - 1) * (1 - v) ** (b - 1) / mpmath.beta(a, b)  # noqa: E731
        tail = float(mpmath.quad(density, [0.85, 1]))
        moments = [mpmath.quad(lambda v, n=n: v**n * density(v), [0, 1]) for n in (1, 2)]
    assert (mean, variance) == pytest.approx((float(moments[0]), float(moments[1] - moments[0] ** 2)), rel=1e-12)
    assert float(theory.random_encoder_above(0.85, 50, 40)) == pytest.approx(tail, rel=1e-12)


def test_generator_overlap_next_order_by_sampling():
    rng, alpha, d = np.random.default_rng(0), 0.1, 20
    noise = rng.standard_normal((2, 200_000, d)) * alpha
    noise[..., 0] += 1 - alpha
    unit = noise / np.linalg.norm(noise, axis=-1, keepdims=True)
    cosine = np.sum(unit[0] * unit[1], axis=1)
    expected = float(theory.mean_cosine(alpha, d) + theory.mean_cosine_correction(alpha, d))
    # five standard errors, and twice the square of the 1/d term for what follows
    assert cosine.mean() == pytest.approx(expected, abs=5 * cosine.std() / 200_000**0.5 + 2 / d**2 * 0.1)


def test_the_slsqp_leader_agrees_with_the_blocks():
    rng = np.random.default_rng(1)
    data = correlated_subspaces(rng, ns=(20, 30), d_x=5, ds=(2, 1), alpha=0.6)
    moments, fractions = loops.class_moments(data.Z, (20, 30))
    found = dynamics.encoder_ascent(rng.standard_normal((6, 3, 5)), moments, fractions, 3 / 0.7**2)
    assert found.value.max() == pytest.approx(theory.equilibrium((20, 30), (2, 1), 3, eps=0.7).value, abs=1e-9)


@pytest.mark.parametrize("call", [
    lambda: theory.equilibrium((4, 4), (2, 2), 3, eps=1.0),
    lambda: theory.equilibrium((4,), (2,), 3, eps=1.0),
    lambda: theory.equilibrium((1, 4), (2, 2), 4, eps=1.0),
    lambda: theory.slot(1.0, 0.0),
    lambda: theory.tangent_point(1.0),
    lambda: theory.rank_constant(0.5, 1),
    lambda: theory.two_levels(0.1, 0.5),
    lambda: theory.lines_value((4,) * 17, 2, eps=1.0),
    lambda: theory.random_encoder_moments(3, 3),
    lambda: theory.least_decoder_norm([1.0], [1.0, 2.0]),
    lambda: theory.affinity(np.ones(3), np.ones(3), 1.0),
    lambda: theory.local_maxima((500,) * 8, (6,) * 8, 48, eps=0.1),
])  # fmt: skip
def test_closed_forms_refuse_what_they_do_not_cover(call):
    with pytest.raises(OutOfDomain):
        call()


def test_the_controls_see_what_they_should():
    """Two controls whose size is known: the distance without its root, and the loop of a capped decoder."""
    scalar = [np.array([[v]]) for v in (0.0, 1.0, 40.0)]
    direct, one, two = (float(loops.distance(scalar[i], scalar[j], 3.0)) for i, j in ((0, 2), (0, 1), (1, 2)))
    assert direct > one + two
    assert np.sqrt(direct) <= np.sqrt(one) + np.sqrt(two)
    assert distance.METRIC.check(control="without the root").refuted
    p = staircase.TwoLevels()
    assert staircase.TWO_LEVELS.predict(p) > 0 > staircase.exchange(p, Stream("test"), equal=True)["curvature"]
