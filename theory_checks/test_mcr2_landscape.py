"""Landscape of the regularised objective, against autodiff of slogdet, dense Hessians, brute-force search and ascent."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.systems.mcr2 import dynamics, theory
from lab.systems.mcr2.theory import Eigenspace

EPS = np.finfo(float).eps
CLASSES = 4  # memberships are padded to this width: one compilation per shape of Z


def plain(Z, membership, eps, lam):
    """The objective by definition; classes without weight contribute nothing."""
    n, d = Z.shape
    value = 0.5 * jnp.linalg.slogdet(jnp.eye(d) + d / (n * eps**2) * Z.T @ Z)[1] - 0.5 * lam * (Z**2).sum()
    for k in range(CLASSES):
        weight = membership[:, k].sum()
        inner = d / (jnp.where(weight > 0, weight, 1) * eps**2) * Z.T @ (membership[:, k, None] * Z)
        value -= weight / (2 * n) * jnp.linalg.slogdet(jnp.eye(d) + inner)[1]
    return value


@functools.cache
def derivatives(n, d):
    def all_of(Z, membership, eps, lam):
        def flat(v):
            return plain(v.reshape(n, d), membership, eps, lam)
        return flat(Z), jax.grad(flat)(Z), jax.hessian(flat)(Z)
    return jax.jit(all_of)


def autodiff(Z, sizes, eps, lam):
    """Value, gradient, and Hessian (N d, N d) of the definition."""
    membership = np.eye(CLASSES)[np.repeat(np.arange(len(sizes)), sizes)]
    with jax.enable_x64(True):
        value, gradient, hessian = derivatives(*Z.shape)(jnp.asarray(Z).ravel(), jnp.asarray(membership), eps, lam)
    return float(value), np.asarray(gradient).reshape(Z.shape), np.asarray(hessian)


def index(hessian, alpha):
    return int(np.sum(np.linalg.eigvalsh(hessian) > 1e-8 * alpha))


def frame(rng, n, m):
    return np.linalg.qr(rng.standard_normal((n, m)))[0]


def orthogonal_point(rng, sizes, dim, plus, minus, eps, tau):
    """Rows: Z_k = V_k diag(sqrt(u/alpha)) U_k^T with orthogonal U_k."""
    alpha, U, blocks = dim / (sum(sizes) * eps**2), frame(rng, dim, dim), []
    for n, p, q in zip(sizes, plus, minus, strict=True):
        x, U_k, U = n / sum(sizes), U[:, : p + q], U[:, p + q :]
        u = [theory.u_plus(x, tau)] * p + [theory.u_minus(x, tau)] * q if p + q else []
        blocks.append(frame(rng, n, p + q) * np.sqrt(np.array(u) / alpha) @ U_k.T if p + q else np.zeros((n, dim)))
    return np.concatenate(blocks)


def frame_point(rng, sizes, dim, groups, eps, tau):
    """Critical point from groups (list of bases, one (m, m_k) per class; sign), and the eigenspaces it should have."""
    x, alpha, W = np.array(sizes) / sum(sizes), dim / (sum(sizes) * eps**2), frame(rng, dim, dim)
    V = [frame(rng, n, n) for n in sizes]
    Z, used = [np.zeros((n, dim)) for n in sizes], [0] * len(sizes)
    spaces = []
    for bases, sign in groups:
        m = bases[0].shape[0]
        P = np.stack([B @ B.T for B in bases])
        theta = np.trace(np.tensordot(x, P, 1)) / m
        u = (theory.u_plus if sign > 0 else theory.u_minus)(theta, tau)
        for k, B in enumerate(bases):
            right = V[k][:, used[k] : used[k] + B.shape[1]]
            assert right.shape[1] == B.shape[1], "class has too few samples for its ranks"
            Z[k] += math.sqrt(x[k] * u / alpha / theta) * right @ B.T @ W[:, :m].T
            used[k] += B.shape[1]
        W = W[:, m:]
        spaces.append(Eigenspace(P, sign))
    return np.concatenate(Z), spaces


def lines(angles):
    return [np.array([[math.cos(a)], [math.sin(a)]]) for a in angles]


def complements(bases):
    return [np.linalg.svd(B)[0][:, B.shape[1] :] for B in bases]


def polygon(sizes):
    """Angles phi_k of three lines with sum_k N_k exp(2 i phi_k) = 0: half the turning angles of a triangle."""
    a, b, c = sizes
    gamma = math.acos((a * a + b * b - c * c) / (2 * a * b))
    beta = math.acos((a * a + c * c - b * b) / (2 * a * c))
    return [0.0, (math.pi - gamma) / 2, -(math.pi - beta) / 2]


I2, N1, N2 = np.eye(2), np.zeros((1, 0)), np.zeros((2, 0))
ONE = np.ones((1, 1))
TETRAHEDRON = [np.array([v]).T / math.sqrt(3) for v in ((1., 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))]
MERCEDES, RIGHT, FOUR = lines(polygon((4, 4, 4))), lines(polygon((3, 4, 5))), lines(np.arange(4) * math.pi / 4)
FRAMES = {  # name: (class sizes, dimension d, groups)
    "three lines, plane": ((4, 4, 4), 2, [(MERCEDES, 1)]),
    "three lines, lower branch": ((4, 4, 4), 2, [(MERCEDES, -1)]),
    "3:4:5 lines": ((3, 4, 5), 2, [(RIGHT, 1)]),
    "3:4:5 lines, free dimensions": ((3, 4, 5), 6, [(RIGHT, 1)]),
    "four lines": ((3, 3, 3, 3), 2, [(FOUR, 1)]),
    "tetrahedron lines": ((3, 3, 3, 3), 3, [(TETRAHEDRON, 1)]),
    "tetrahedron planes": ((3, 3, 3, 3), 3, [(complements(TETRAHEDRON), 1)]),
    "tetrahedron lines and a plane of lines": ((3, 3, 3, 3), 6, [(TETRAHEDRON, 1), (FOUR, -1)]),
    "aligned pair": ((3, 4, 5), 6, [([I2, I2, N2], 1)]),
    "aligned pair filling the space": ((3, 4, 5), 2, [([I2, I2, N2], 1)]),
    "aligned pair, lower branch": ((3, 4, 5), 6, [([I2, I2, N2], -1)]),
    "aligned pair and a third class": ((3, 4, 5), 3, [([I2, I2, N2], 1), ([N1, N1, ONE], -1)]),
    "one class in two groups": ((3, 4, 5), 3, [([N2, I2, I2], 1), ([ONE, ONE, N1], 1)]),
    "two groups of equal fraction": ((4, 4, 4), 3, [([I2, I2, N2], 1), ([ONE, N1, ONE], 1)]),
    "three lines and an aligned pair": ((4, 4, 4), 6, [(MERCEDES, 1), ([ONE, ONE, N1], -1)]),
}


@functools.cache
def framed(name, share):
    sizes, dim, groups = FRAMES[name]
    x, eps = np.array(sizes) / sum(sizes), 0.8
    thetas = [np.tensordot(x, [b.shape[1] for b in bases], 1) / bases[0].shape[0] for bases, _ in groups]
    tau = share * min(theory.spinodal(t) for t in thetas)
    Z, spaces = frame_point(np.random.default_rng(7), sizes, dim, groups, eps, tau)
    lam = tau * dim / (sum(sizes) * eps**2)
    return Z, spaces, thetas, sizes, eps, lam, tau, autodiff(Z, sizes, eps, lam)


# ---------------------------------------------------------------- orthogonal critical points (law 16)


@st.composite
def orthogonal_specs(draw):
    sizes = draw(st.sampled_from([(4, 4, 4), (3, 4, 5), (2, 3, 7), (1, 2, 9), (3, 3, 3, 3), (1, 2, 4, 5), (6, 6)]))
    plus, minus, left = [], [], 6
    for n in sizes:
        for ranks in (plus, minus):
            free = min(left, n - (plus[-1] if ranks is minus else 0))
            ranks.append(draw(st.integers(0, min(free, 3))))
            left -= ranks[-1]
    share = draw(st.floats(0.02, 0.98))
    return sizes, plus, minus, share, draw(st.floats(0.2, 3)), draw(st.integers(0, 2**32 - 1))


@settings(deadline=None, max_examples=80)
@given(orthogonal_specs())
def test_orthogonal_points_are_critical_with_the_predicted_value_spectrum_and_index(spec):
    sizes, plus, minus, share, eps, seed = spec
    ranked = [n for n, p, q in zip(sizes, plus, minus, strict=True) if p + q] or [1]
    tau = share * theory.spinodal(max(ranked) / 12)
    rng = np.random.default_rng(seed)
    alpha = theory.gram_scale(12, 6, eps=eps)
    Z = orthogonal_point(rng, sizes, 6, plus, minus, eps, tau)
    value, gradient, hessian = autodiff(Z, sizes, eps, tau * alpha)
    u = [theory.u_plus(n / 12, tau) for n in ranked] if Z.any() else [0.0]
    condition = 1 + 12 * max(u)  # of I + alpha_k G_k; inverses inherit it as relative error
    assert np.abs(gradient).max() <= 20 * EPS * condition * alpha * np.abs(Z).max() + 1e-300
    assert value == pytest.approx(theory.orthogonal_value(sizes, 6, plus, minus, tau=tau), abs=1e3 * EPS * condition)
    spectrum = theory.hessian_spectrum(sizes, 6, plus, minus, tau=tau, alpha=alpha)
    assert np.abs(np.linalg.eigvalsh(hessian) - spectrum).max() <= max(1e-10, 1e-15 / tau) * alpha
    assert index(hessian, alpha) == theory.saddle_index(minus)
    # nullity against the dimension of the orbit of Z under rotations of features and of samples within classes
    zeros = int(np.sum(np.abs(spectrum) <= 1e-13 * alpha))
    assert zeros == theory.zero_modes(sizes, 6, plus, minus) == orbit_dimension(Z, sizes)


def orbit_dimension(Z, sizes):
    tangent = [Z @ skew for skew in skews(Z.shape[1], 0, Z.shape[1])]
    start = 0
    for n in sizes:
        tangent += [skew @ Z for skew in skews(Z.shape[0], start, start + n)]
        start += n
    singular = np.linalg.svd(np.stack([t.ravel() for t in tangent]) / (np.linalg.norm(Z) + 1e-300), compute_uv=False)
    return int(np.sum(singular > 1e-6))


def skews(size, low, high):
    for i, j in itertools.combinations(range(low, high), 2):
        skew = np.zeros((size, size))
        skew[i, j], skew[j, i] = 1.0, -1.0
        yield skew


def test_index_formula_breaks_away_from_the_critical_point():
    rng, sizes, tau = np.random.default_rng(3), (3, 4, 5), 0.1
    alpha = theory.gram_scale(12, 6, eps=1.0)
    Z = orthogonal_point(rng, sizes, 6, (1, 2, 1), (1, 0, 0), 1.0, tau)
    assert index(autodiff(Z, sizes, 1.0, tau * alpha)[2], alpha) == 1
    moved = Z + 1e-3 * rng.standard_normal(Z.shape)
    assert index(autodiff(moved, sizes, 1.0, tau * alpha)[2], alpha) != 1


# ---------------------------------------------------------------- all critical points (laws 17-19)


@pytest.mark.parametrize("share", [0.1, 0.7])
@pytest.mark.parametrize("name", FRAMES)
def test_fusion_frames_are_critical_with_the_predicted_value_and_index(name, share):
    Z, spaces, thetas, sizes, eps, lam, tau, (value, gradient, hessian) = framed(name, share)
    alpha, dim, x = theory.gram_scale(*Z.shape, eps=eps), Z.shape[1], np.array(sizes) / sum(sizes)
    assert np.abs(gradient).max() <= 2e-14 * alpha * np.abs(Z).max()
    assert [theory.frame_fraction(s.projections, x) for s in spaces] == pytest.approx(thetas, rel=1e-13)
    dims, signs = [s.projections.shape[1] for s in spaces], [s.sign for s in spaces]
    assert value == pytest.approx(theory.fusion_frame_value(dims, thetas, signs, tau=tau), abs=1e-13)
    assert index(hessian, alpha) == theory.fusion_frame_index(spaces, x, dim, tau=tau)
    read = theory.read_fusion_frame(Z, sizes, eps=eps, lam=lam)
    assert sum(s.projections.shape[1] for s in read) == sum(dims)
    assert theory.fusion_frame_index(read, x, dim, tau=tau) == index(hessian, alpha)
    if not any(s.sign < 0 for s in spaces):  # not one of these is a maximum
        assert index(hessian, alpha) > 0


@pytest.mark.parametrize("share", [0.1, 0.7])
@pytest.mark.parametrize("name", FRAMES)
def test_escape_directions_have_exactly_the_predicted_curvature(name, share):
    Z, spaces, _, sizes, eps, lam, _, (_, _, hessian) = framed(name, share)
    alpha = theory.gram_scale(*Z.shape, eps=eps)
    found = theory.escape_directions(Z, sizes, eps=eps, lam=lam)
    assert [e.kind for e in found].count("rebalancing") >= 1  # every frame here overlaps somewhere
    for kind, E, curvature in found:
        assert np.linalg.norm(E) == pytest.approx(1, abs=1e-13) and curvature > 0
        assert E.ravel() @ hessian @ E.ravel() == pytest.approx(curvature, abs=1e-12 * alpha)
        if kind == "scaling":
            assert np.abs(hessian @ E.ravel() - curvature * E.ravel()).max() <= 1e-12 * alpha
    aligned = all(np.abs(P @ Q - Q @ P).max() < 1e-12 for s in spaces for P in s.projections for Q in s.projections)
    if aligned:
        assert found[0].curvature == pytest.approx(np.linalg.eigvalsh(hessian)[-1], abs=1e-12 * alpha)


def test_effective_fraction_rejects_what_no_critical_point_has():
    with pytest.raises(ValueError, match="mu"):
        theory.effective_fraction(0.9, 0.1)
    with pytest.raises(ValueError, match="not tight"):
        theory.frame_fraction(np.stack([np.diag([1.0, 0.0])] * 2), [0.5, 0.5])
    with pytest.raises(ValueError):
        theory.read_fusion_frame(np.random.default_rng(0).standard_normal((12, 3)), (3, 4, 5), eps=1.0, lam=0.01)


@pytest.mark.parametrize("sizes, dim, share", [((2, 2, 2), 2, 0.3), ((2, 3, 4), 2, 0.6), ((2, 3, 4), 3, 1.2)])
def test_census_finds_only_the_listed_critical_points(sizes, dim, share):
    eps, n = 0.7, sum(sizes)
    lam = share * theory.published_multiplier_bound(sizes, dim, eps=eps)
    alpha, x = theory.gram_scale(n, dim, eps=eps), np.array(sizes) / n
    starts = np.random.default_rng(5).standard_normal((80, n, dim)) * np.exp(
        np.random.default_rng(6).uniform(-2, 1, (80, 1, 1))) / math.sqrt(alpha)
    census = dynamics.critical_points(starts, sizes, eps=eps, lam=lam)
    assert len(census.Z) >= 40
    seen = set()
    for Z in census.Z:
        value, gradient, hessian = autodiff(Z, sizes, eps, lam)
        assert np.linalg.norm(gradient) <= 2e-12 * math.sqrt(alpha)
        spaces = theory.read_fusion_frame(Z, sizes, eps=eps, lam=lam)
        thetas = [theory.frame_fraction(s.projections, x, tolerance=1e-4) for s in spaces]
        dims, signs = [s.projections.shape[1] for s in spaces], [s.sign for s in spaces]
        # F varies to second order in the residual: 1e-24 over the smallest curvature, plus rounding
        assert value == pytest.approx(theory.fusion_frame_value(dims, thetas, signs, tau=lam / alpha), abs=1e-12)
        number = theory.fusion_frame_index(spaces, x, dim, tau=lam / alpha)
        assert number == index(hessian, alpha) == dynamics.hessian_index(Z, sizes, eps=eps, lam=lam)
        overlapping = any(np.trace(s.projections.sum(0)) > m + 0.5 for s, m in zip(spaces, dims, strict=True))
        assert (number == 0) == (not overlapping and all(s > 0 for s in signs))
        seen.add((number, round(value, 9)))
    assert len({number for number, _ in seen}) >= 2


# ---------------------------------------------------------------- maxima (laws 14, 15, 20) and the published form


BRUTE = [  # sizes, d, lambda over the published limit, does one of 60 random starts hit
    ((4, 4), 4, 0.5, True), ((2, 3, 4), 4, 0.4, True), ((3, 3), 5, 1.2, True), ((1, 4), 3, 2.0, True),
    ((2, 2, 3), 9, 0.6, True), ((2, 2, 3), 9, 0.95, False),  # the last one between the thresholds of a class
]


@pytest.mark.parametrize("sizes, dim, share, hit", BRUTE)
def test_global_maximum_is_never_exceeded_and_is_attained(sizes, dim, share, hit):
    eps, n = 0.7, sum(sizes)
    lam = share * theory.published_multiplier_bound(sizes, dim, eps=eps)
    alpha = theory.gram_scale(n, dim, eps=eps)
    best = theory.global_maximum(sizes, dim, eps=eps, lam=lam)
    rng = np.random.default_rng(11)
    constructed = orthogonal_point(rng, sizes, dim, best.ranks, 0 * best.ranks, eps, lam / alpha)
    value = autodiff(constructed, sizes, eps, lam)[0]
    assert value == pytest.approx(best.value, abs=1e-13)
    assert (constructed**2).sum() == pytest.approx(best.energy, rel=1e-12, abs=1e-300)
    starts = rng.standard_normal((60, n, dim)) * np.exp(rng.uniform(-1, 2, (60, 1, 1))) / math.sqrt(alpha * n)
    ends = dynamics.maximise(starts, sizes, eps=eps, lam=lam)
    # where the gradient vanishes to 1e-8 the value is within its square of a local maximum
    assert ends.value.max() <= best.value + 1e-12
    levels = theory.value_ladder(sizes, dim, eps=eps, lam=lam).values
    settled = ends.gradient_norm <= 1e-7 * math.sqrt(alpha)
    assert settled.mean() > 0.9
    assert np.abs(ends.value[settled, None] - levels).min(axis=1).max() <= 1e-10
    assert levels.max() == pytest.approx(best.value, abs=1e-13)
    assert not hit or ends.value.max() == pytest.approx(best.value, abs=1e-10)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 12), st.floats(-3, 0.3), st.floats(0.1, 3))
def test_maximal_value_decreases_at_half_the_energy_of_the_maximiser(sizes, dim, exponent, eps):
    alpha = theory.gram_scale(sum(sizes), dim, eps=eps)
    lam = alpha * 10**exponent
    step = 1e-5 * lam
    best = [theory.global_maximum(sizes, dim, eps=eps, lam=lam + s) for s in (-step, 0, step)]
    if not np.array_equal(best[0].ranks, best[2].ranks):
        return  # a threshold lies between: the maximal value has a kink
    # convex in lam (a maximum of affine functions): the slope lies between the one-sided differences
    left, right = ((best[i + 1].value - best[i].value) / step for i in (0, 1))
    slack = 1e-9 * (1 + best[1].energy)
    assert left - slack <= -0.5 * best[1].energy <= right + slack
    assert best[1].value >= 0 and best[1].ranks.sum() <= min(dim, sum(sizes))


def test_published_global_maximum_is_below_zero_at_the_counterexample():
    sizes, dim, eps = (4, 4), 4, math.sqrt(0.5)
    lam = 0.95 * theory.published_multiplier_bound(sizes, dim, eps=eps)
    claimed = theory.published_global_maximum(sizes, dim, eps=eps, lam=lam)
    assert claimed.ranks.sum() == 4 and claimed.value == pytest.approx(-0.037848, abs=5e-7)
    Z = orthogonal_point(np.random.default_rng(0), sizes, dim, claimed.ranks, [0, 0], eps, lam / 1.0)
    assert autodiff(Z, sizes, eps, lam)[0] == pytest.approx(claimed.value, abs=1e-13)
    assert theory.global_maximum(sizes, dim, eps=eps, lam=lam).value == 0
    # both agree where every class that receives rank is below its Maxwell point
    for share in (0.1, 0.5, 0.86):
        lam = share * theory.published_multiplier_bound(sizes, dim, eps=eps)
        claimed, true = (g(sizes, dim, eps=eps, lam=lam) for g in (theory.published_global_maximum,
                                                                   theory.global_maximum))
        assert claimed.value == true.value > 0
    with pytest.raises(ValueError, match="lam"):
        theory.published_global_maximum(sizes, dim, eps=eps, lam=1.3 * lam)


def test_at_the_spinodal_itself_points_are_neither_maxima_nor_strict_saddles():
    sizes, eps, dim = (6, 6), 0.9, 6
    lam = theory.published_multiplier_bound(sizes, dim, eps=eps)
    alpha = theory.gram_scale(12, dim, eps=eps)
    Z = orthogonal_point(np.random.default_rng(1), sizes, dim, (2, 1), (0, 0), eps, theory.spinodal(0.5))
    value, gradient, hessian = autodiff(Z, sizes, eps, lam)
    # the root u is double there: an error eps in tau moves it by sqrt(eps), the gradient stays of order eps
    assert np.abs(gradient).max() <= 1e-14 * alpha
    assert np.linalg.eigvalsh(hessian)[-1] <= 1e-7 * alpha
    smaller, larger = (autodiff(s * Z, sizes, eps, lam)[0] for s in (0.99, 1.01))
    assert smaller - value > 1e-8 and value - larger > 1e-8  # F falls through the point: an inflection


def test_ascent_from_gaussian_starts_ends_on_the_ladder_below_the_global_maximum():
    sizes, dim, eps = (4, 8, 18), 8, math.sqrt(0.5)
    lam = 0.5 * theory.published_multiplier_bound(sizes, dim, eps=eps)
    alpha = theory.gram_scale(30, dim, eps=eps)
    best = theory.global_maximum(sizes, dim, eps=eps, lam=lam)
    assert best.value == pytest.approx(3.98297, abs=5e-6)
    starts = np.random.default_rng(0).standard_normal((24, 30, dim))
    with jax.enable_x64(True):
        run = jax.jit(lambda Z: dynamics.gradient_ascent(Z, sizes, eps=eps, lam=lam, steps=1500, records=3))
        end = jax.tree.map(np.asarray, run(starts))
    assert np.all(np.diff(end.value, axis=0) >= -1e-13)  # monotone at the default step
    assert end.gradient_norm[-1].max() <= 1e-8 * math.sqrt(alpha)
    levels = theory.value_ladder(sizes, dim, eps=eps, lam=lam).values
    assert np.abs(end.value[-1][:, None] - levels).min(axis=1).max() <= 1e-12
    attained = end.value[-1] / best.value
    assert 0.5 < attained.min() and attained.max() < 0.9
    # each class spectrum holds only zeros and its upper branch
    x = np.array(sizes) / 30
    u = end.spectrum[-1] / theory.u_plus(x, lam / alpha)[:, None]
    assert np.abs(u - np.round(u)).max() <= 1e-7 and u.max() < 1.5


def test_survival_of_a_direction_is_decided_at_the_lower_branch():
    sizes, dim, eps, tau = (3, 4, 5), 6, 0.8, 0.12
    alpha, x = theory.gram_scale(12, dim, eps=eps), np.array(sizes) / 12
    rng = np.random.default_rng(2)
    U, V = frame(rng, dim, dim), [frame(rng, n, 2) for n in sizes]
    factor = np.array([[0.999, 1.001], [1.001, 3.0], [0.5, 0.999]])
    start = factor * theory.u_minus(x, tau)[:, None]
    Z = np.concatenate([V[k] * np.sqrt(start[k] / alpha) @ U[:, 2 * k : 2 * k + 2].T for k in range(3)])
    # one step of the scalar map is one step of the matrix iteration
    gradient = autodiff(Z, sizes, eps, tau * alpha)[1]
    ahead = np.split(Z + 1.3 / alpha * gradient, np.cumsum(sizes)[:-1])
    for k in range(3):
        measured = alpha * np.linalg.svd(ahead[k], compute_uv=False)[:2] ** 2
        assert np.sort(measured) == pytest.approx(np.sort(theory.ascent_map(start[k], x[k], tau, step=1.3)), rel=1e-12)
    with jax.enable_x64(True):
        # 300 steps: long enough to leave 1.001 u_-, short enough that exact orthogonality (an invariant manifold,
        # unstable to rounding at rate alpha per step) is kept
        run = jax.jit(lambda Z: dynamics.gradient_ascent(Z, sizes, eps=eps, lam=tau * alpha, steps=300))
        spectrum = np.asarray(run(Z).spectrum[-1])[:, -2:]
    expected = theory.direction_survives(start, x[:, None], tau)
    assert expected.tolist() == [[False, True], [True, True], [False, False]]
    alive = spectrum > 0.5 * theory.u_plus(x, tau)[:, None]
    assert np.array_equal(np.sort(alive, axis=1), np.sort(expected, axis=1))
    assert not theory.direction_survives(5.0, 0.5, 0.9)  # beyond the spinodal nothing survives


def test_flow_speed_is_four_alpha_u_times_the_slope():
    x, tau, alpha = 0.3, 0.1, 2.5
    u = np.geomspace(1e-3, 30, 50)
    sigma = np.sqrt(u / alpha)
    h = 1e-6 * sigma

    def value(s):
        v = alpha * s * s
        return 0.5 * (np.log1p(v) - x * np.log1p(v / x) - tau * v)
    slope = (value(sigma + h) - value(sigma - h)) / (2 * h)  # sigma' = dF/d sigma, u' = 2 alpha sigma sigma'
    assert theory.flow_speed(u, x, tau, alpha) == pytest.approx(2 * alpha * sigma * slope, rel=1e-6, abs=1e-8)
