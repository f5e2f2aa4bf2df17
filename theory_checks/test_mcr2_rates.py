"""Rates, bounds, branches and thresholds, against slogdet by definition, autodiff and 40-digit arithmetic."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.objectives import coding_rate as rates
from lab.systems.mcr2 import theory

EPS = np.finfo(float).eps
SMALL = settings(deadline=None, max_examples=60)
mpmath.mp.dps = 40

fractions = st.one_of(st.floats(0.01, 0.99), st.floats(-10, -2).map(lambda e: 10.0**e),
                      st.floats(-10, -2).map(lambda e: 1 - 10.0**e))
shares = st.one_of(st.floats(0.001, 0.999), st.floats(-9, -3).map(lambda e: 10.0**e),
                   st.floats(-9, -3).map(lambda e: 1 - 10.0**e))  # tau as a share of the spinodal
seeds = st.integers(0, 2**32 - 1)


def plain(Z, membership, eps):
    """Whole rate and class rates by definition, in the samples-as-columns form of the papers."""
    X, (n, d) = Z.T, Z.shape
    whole = 0.5 * jnp.linalg.slogdet(jnp.eye(d) + d / (n * eps**2) * X @ X.T)[1]
    parts = 0.0
    for k in range(membership.shape[1]):
        weight = membership[:, k].sum()
        gram = X @ jnp.diag(membership[:, k]) @ X.T
        parts += weight / (2 * n) * jnp.linalg.slogdet(jnp.eye(d) + d / (weight * eps**2) * gram)[1]
    return whole, parts


def objective(Z, membership, eps, lam):
    whole, parts = plain(Z, membership, eps)
    return whole - parts - 0.5 * lam * (Z**2).sum()


def instance(seed, n=7, d=4, classes=3):
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, d)) * 10 ** rng.uniform(-1, 1)
    return Z, rng.dirichlet(np.ones(classes), size=n), 10 ** rng.uniform(-1, 0.5)


@pytest.fixture(scope="module")
def autodiff():
    """Value, gradient and Hessian-vector product of the plain objective, compiled once for (7, 4, 3)."""
    def all_of(Z, membership, eps, lam, E):
        gradient = jax.grad(objective)
        return objective(Z, membership, eps, lam), gradient(Z, membership, eps, lam), jax.jvp(
            lambda V: gradient(V, membership, eps, lam), (Z,), (E,))[1]
    compiled = jax.jit(all_of)

    def call(*arguments):
        with jax.enable_x64(True):
            return [np.asarray(a) for a in compiled(*(jnp.asarray(a) for a in arguments))]
    return call


def rounding(Z, membership, eps):
    """Absolute tolerance of a rate: error of the logarithms plus size times condition of the factored matrices."""
    least = max(membership.sum(0).min(), 1e-300)
    energy = Z.shape[1] / (least * eps**2) * float((Z**2).sum())
    return EPS * theory.rate_rounding(Z.shape[1], energy, size=max(Z.shape))


# ---------------------------------------------------------------- the operators


@SMALL
@given(seeds)
def test_objective_gradient_and_curvature_are_those_of_the_definition(autodiff, seed):
    Z, membership, eps = instance(seed)
    E = np.random.default_rng(seed).standard_normal(Z.shape)
    value, gradient, curvature = autodiff(Z, membership, eps, 0.3, E)
    alpha = theory.gram_scale(*Z.shape, eps=eps)
    kappa = 1 + Z.shape[1] / (membership.sum(0).min() * eps**2) * (Z**2).sum()
    size = np.linalg.norm(Z)
    ours = rates.regularised_rate_reduction(Z, membership, eps=eps, lam=0.3)
    assert abs(ours - value) <= rounding(Z, membership, eps) + 10 * EPS * 0.15 * size**2
    # errors of the inverse matrices are at most their condition times eps, relative to alpha ||Z||
    ours = rates.regularised_rate_reduction_gradient(Z, membership, eps=eps, lam=0.3)
    assert np.abs(ours - gradient).max() <= 1e3 * EPS * (alpha + 0.3) * size
    ours = rates.hessian_vector_product(Z, E, membership, eps=eps, lam=0.3)
    assert np.abs(ours - curvature).max() <= 1e3 * EPS * kappa * (alpha + 0.3) * np.linalg.norm(E)


@SMALL
@given(seeds)
def test_rate_is_the_same_from_both_gram_matrices_and_under_rotations(seed):
    Z, membership, eps = instance(seed)
    rng = np.random.default_rng(seed)
    Q, W = (np.linalg.qr(rng.standard_normal((m, m)))[0] for m in Z.shape[::-1])
    alpha = theory.gram_scale(*Z.shape, eps=eps)
    samples = 0.5 * np.linalg.slogdet(np.eye(7) + alpha * Z @ Z.T)[1]
    for rotated in (Z, Z @ Q, W @ Z):
        assert abs(rates.coding_rate(rotated, eps=eps) - samples) <= rounding(Z, membership, eps)


@SMALL
@given(seeds)
def test_rate_reduction_is_non_negative_and_zero_for_equal_second_moments(seed):
    Z, membership, eps = instance(seed)
    assert rates.rate_reduction(Z, membership, eps=eps) >= -rounding(Z, membership, eps)
    other = np.roll(membership, 1, axis=0)  # the class rate is concave in the membership
    middle, *ends = (rates.class_coding_rate(Z, m, eps=eps) for m in (0.5 * (membership + other), membership, other))
    assert middle >= 0.5 * sum(ends) - rounding(Z, membership, eps)
    twice = np.concatenate([Z, Z @ np.diag([1, -1, 1, 1])])  # second class: the first one mirrored
    twice[:, 1] = 0  # where they agree
    labels = np.repeat([0, 1], 7)
    assert abs(rates.rate_reduction(twice, labels, eps=eps)) <= rounding(twice, np.eye(2)[labels], eps)


@SMALL
@given(seeds)
def test_orthogonal_upper_bound(seed):
    Z, membership, eps = instance(seed)
    alpha = theory.gram_scale(*Z.shape, eps=eps)
    spectra = [np.maximum(alpha * np.linalg.eigvalsh(Z.T @ (p[:, None] * Z)), 0) for p in membership.T]
    bound = theory.orthogonal_upper_bound(spectra, membership.mean(0))
    assert rates.rate_reduction(Z, membership, eps=eps) <= bound + rounding(Z, membership, eps)


@SMALL
@given(seeds, st.floats(0, 1))
def test_two_lines_miss_the_bound_by_the_closed_form(seed, inner):
    rng = np.random.default_rng(seed)
    first = np.outer(rng.standard_normal(3), [1.0, 0, 0])
    second = np.outer(rng.standard_normal(4), [inner, math.sqrt(1 - inner**2), 0])
    Z, membership = np.concatenate([first, second]), np.eye(2)[[0] * 3 + [1] * 4]
    alpha = theory.gram_scale(7, 3, eps=0.5)
    a, b = alpha * (first**2).sum(), alpha * (second**2).sum()
    with jax.enable_x64(True):
        whole, parts = plain(jnp.asarray(Z), jnp.asarray(membership), 0.5)
    bound = theory.orthogonal_upper_bound([[a], [b]], [3 / 7, 4 / 7])
    gap = bound - float(whole - parts)
    assert abs(gap - theory.two_lines_gap(a, b, inner)) <= 4 * rounding(Z, membership, 0.5)


# ---------------------------------------------------------------- smoothness


def test_rate_curvature_stays_in_its_range_and_attains_both_ends():
    # directions of a single nonzero singular value include one of curvature (1-u)/(1+u)^2
    with jax.enable_x64(True):
        eps, n, d = 0.7, 5, 3
        alpha = theory.gram_scale(n, d, eps=eps)
        low, high = theory.rate_curvature_range(alpha)
        hessian = jax.jit(jax.hessian(lambda v: plain(v.reshape(n, d), jnp.ones((n, 1)), eps)[0]))
        rng = np.random.default_rng(0)
        for u in (0.0, 0.3, 1.0, 3.0, 10.0):
            Z = np.zeros((n, d))
            Z[0, 0] = math.sqrt(u / alpha)
            values = np.linalg.eigvalsh(hessian(Z.ravel()))
            assert np.abs(values - alpha * theory.rate_curvature(u)).min() <= 1e-13 * alpha
            if u in (0.0, 3.0):
                assert (values[-1] if u == 0 else values[0]) == pytest.approx(high if u == 0 else low, rel=1e-13)
        for _ in range(200):
            Z = rng.standard_normal(n * d) * 10 ** rng.uniform(-2, 1)
            values = np.linalg.eigvalsh(hessian(Z))
            assert np.all((values >= low * (1 + 1e-12)) & (values <= high * (1 + 1e-12)))


def test_ascent_is_monotone_below_the_largest_step_and_not_above():
    labels, eps = np.repeat([0, 1, 2], [2, 3, 4]), 0.6
    rng = np.random.default_rng(1)
    alpha = theory.gram_scale(9, 4, eps=eps)

    def gain(Z, lam, step):
        ahead = Z + step * rates.regularised_rate_reduction_gradient(Z, labels, eps=eps, lam=lam)
        value = [rates.regularised_rate_reduction(V, labels, eps=eps, lam=lam) for V in (Z, ahead)]
        return value[1] - value[0]

    for _ in range(300):
        lam = alpha * 10 ** rng.uniform(-3, 1)
        Z = rng.standard_normal((9, 4)) * 10 ** rng.uniform(-2, 1)
        scale = alpha * (Z**2).sum() + lam * (Z**2).sum()
        assert gain(Z, lam, 0.995 * theory.largest_monotone_step(alpha, lam)) >= -EPS * 9 * scale
    tiny = 1e-3 * rng.standard_normal((9, 4))  # there the Hessian is -lam I: 2/lam is the edge
    assert gain(tiny, alpha, 1.9 / alpha) > 0 > gain(tiny, alpha, 2.1 / alpha)
    assert 1 / alpha < theory.largest_monotone_step(alpha, 0.87 * alpha)


def test_unit_norm_rates_lie_between_collapse_and_tight_frame():
    rng = np.random.default_rng(2)
    for n, d in ((12, 4), (5, 7)):
        low, high = theory.rate_bounds_unit_norm(n, d, eps=0.5)
        Z = rng.standard_normal((n, d))
        Z /= np.linalg.norm(Z, axis=1, keepdims=True)
        tight = np.concatenate([np.eye(d)] * (n // d)) if n >= d else np.eye(n, d)
        collapsed = np.tile(Z[0], (n, 1))
        values = [float(rates.coding_rate(V, eps=0.5)) for V in (collapsed, Z, tight)]
        assert values[0] == pytest.approx(low, rel=1e-13)
        assert values[2] == pytest.approx(high, rel=1e-13)
        assert low < values[1] < high


# ---------------------------------------------------------------- one direction


def exact_gain(u, x):
    u, x = mpmath.mpf(u), mpmath.mpf(x)
    return mpmath.log(1 + u) - x * mpmath.log(1 + u / x)


@settings(deadline=None, max_examples=300)
@given(fractions, st.floats(-7, 9))
def test_value_of_a_direction_has_full_relative_precision(x, exponent):
    u = 10.0**exponent
    with mpmath.workdps(60):
        gain = exact_gain(u, x)
        slope = 1 / (1 + mpmath.mpf(u)) - 1 / (1 + mpmath.mpf(u) / x)
        second = (1 / (mpmath.mpf(x) * (1 + mpmath.mpf(u) / x) ** 2) - 1 / (1 + mpmath.mpf(u)) ** 2) / 2
    # a sum of non-negative terms, each a few operations away from its inputs; 1-x is exact to eps
    slack = 40 * EPS
    assert abs(theory.rate_gain(u, x) - gain) <= slack * gain
    tau = 0.3
    assert abs(theory.direction_value(u, x, tau) - (gain - mpmath.mpf(tau) * u) / 2) <= slack * (gain + tau * u)
    assert abs(theory.direction_slope(u, x, tau) - (slope - mpmath.mpf(tau)) / 2) <= slack * (slope + tau)
    # near u = sqrt x the factor sqrt x - u cancels: absolute error eps sqrt x there
    distance = abs(math.sqrt(x) - u) / (math.sqrt(x) + u)
    assert abs(theory.direction_curvature(u, x) - second) <= (slack + 4 * EPS / (distance + EPS)) * abs(second) + 1e-300


@settings(deadline=None, max_examples=300)
@given(fractions, shares)
def test_branches_are_the_roots_of_stationarity(x, share):
    tau = share * theory.spinodal(x)
    up, down = theory.u_plus(x, tau), theory.u_minus(x, tau)
    with mpmath.workdps(60):
        X, T = mpmath.mpf(float(x)), mpmath.mpf(float(tau))
        critical = (1 - mpmath.sqrt(X)) / (1 + mpmath.sqrt(X))
        a, b = T / X, (1 / X - 1) - T * (1 / X + 1)
        root = mpmath.sqrt(b * b - 4 * a * T)
        roots = (b + root) / (2 * a), (b - root) / (2 * a)
        # d log u / d log tau = tau/(u tau'(u)) grows like (1 - tau/tau_c)^{-1/2}; also 1/(1 - tau) for x -> 0,
        # where the only information, 1 - tau, has lost digits already in tau
        slack = 1e-15 * (1 / mpmath.sqrt(1 - T / critical)) * (1 + T / (1 - T))
    assert abs(up - roots[0]) <= 40 * slack * roots[0]
    assert abs(down - roots[1]) <= 40 * slack * roots[1]
    assert down <= theory.merge_point(x) <= up
    assert abs(theory.spinodal(x) - critical) <= 8 * EPS * critical


def test_branches_end_exactly_at_the_spinodal():
    for x in (1e-6, 0.01, 0.25, 1 / 3, 0.5, 0.9, 1 - 1e-6):
        edge = theory.spinodal(x)
        assert theory.u_plus(x, edge) == pytest.approx(math.sqrt(x), rel=1e-12)
        beyond = np.nextafter(edge, 1)
        assert not theory.nonzero_branch_exists(x, beyond)
        with pytest.raises(ValueError, match="spinodal"):
            theory.u_plus(x, beyond)
        # brute force: the spinodal is the largest value of f' = 1/(1+u) - 1/(1+u/x)
        u = np.sqrt(x) * np.exp(np.linspace(-3, 3, 20001))
        slope = u * (1 - x) / ((1 + u) * (x + u))
        assert slope.max() == pytest.approx(edge, rel=1e-7)
    grid = theory.u_plus(0.25, np.array([0.1, 0.5]), where=theory.nonzero_branch_exists(0.25, [0.1, 0.5]))
    assert grid[0] == theory.u_plus(0.25, 0.1)
    assert np.isnan(grid[1])


@settings(deadline=None, max_examples=100)
@given(fractions)
def test_maxwell_point_is_where_the_chord_touches(x):
    u, tau = theory.maxwell_point(x), theory.maxwell(x)
    with mpmath.workdps(60):
        X = mpmath.mpf(float(x))

        def excess(log_u):
            v = mpmath.exp(log_u)
            return (exact_gain(v, X) - v * (1 / (1 + v) - 1 / (1 + v / X))) / (1 - X)

        low, high = mpmath.log(X) / 2, mpmath.log(X) / 2 + 5
        root = mpmath.exp(mpmath.findroot(excess, (low, high), solver="anderson", tol=1e-70, maxsteps=200,
                                          verify=False))
        exact = exact_gain(root, X) / root
    assert abs(u - root) <= 1e-13 * root
    assert abs(tau - exact) <= 1e-14 * exact
    # brute force of the meaning: tau_* is the largest tau with a u of non-negative value
    grid = root * np.exp(np.linspace(-1, 1, 401))
    assert np.all(theory.rate_gain(grid.astype(float), x) <= tau * grid.astype(float) * (1 + 1e-13))
    assert 0.8648 < tau / theory.spinodal(x) < 1
    assert u > theory.merge_point(x)


def test_maxwell_separates_positive_from_negative_values():
    x = np.array([1e-8, 1e-3, 0.01, 0.1, 0.25, 1 / 3, 0.5, 0.9, 0.999])
    tau = theory.maxwell(x)
    scale = tau * theory.maxwell_point(x)
    assert np.all(np.abs(theory.branch_value(x, tau)) <= 1e-14 * scale)
    assert np.all(theory.branch_value(x, 0.999 * tau) > 0)
    beyond = np.minimum(1.0001 * tau, 0.5 * (tau + theory.spinodal(x)))
    assert np.all(theory.branch_value(x, beyond) < 0)
    assert np.all(theory.class_value(x, beyond) == 0)


@pytest.mark.parametrize(("x", "spinodal", "maxwell", "point"), [
    (0.5, 0.171573, 0.148777, 1.53501), (1 / 3, 0.267949, 0.233242, 1.26048), (0.25, 0.333333, 0.291216, 1.09765),
    (0.1, 0.519494, 0.460996, 0.71181), (0.01, 0.818182, 0.762252, 0.24855),
])
def test_table_of_thresholds(x, spinodal, maxwell, point):
    assert theory.spinodal(x) == pytest.approx(spinodal, abs=5.1e-7)  # printed digits
    assert theory.maxwell(x) == pytest.approx(maxwell, abs=5.1e-7)
    assert theory.maxwell_point(x) == pytest.approx(point, abs=5.1e-6)


def test_limits_of_the_thresholds():
    assert theory.maxwell_point(1.0) == pytest.approx(2.1625815870646, abs=1e-12)
    assert theory.maxwell(1 - 1e-9) / theory.spinodal(1 - 1e-9) == pytest.approx(0.8648, abs=1e-4)
    tau = 1e-12  # u_+ -> (1-x)/tau, u_- -> tau x/(1-x)
    assert theory.u_plus(0.3, tau) == pytest.approx(0.7 / tau, rel=1e-11)
    assert theory.u_minus(0.3, tau) == pytest.approx(0.3 * tau / 0.7, rel=1e-11)


@pytest.mark.parametrize("call", [
    lambda: theory.u_plus(0.5, 0.2), lambda: theory.u_plus(0.0, 0.1), lambda: theory.u_plus(1.2, 0.1),
    lambda: theory.u_plus(0.5, -0.1), lambda: theory.u_plus(0.5, float("nan")), lambda: theory.maxwell(0.0),
    lambda: theory.rate_gain(-1.0, 0.5), lambda: theory.spinodal([0.5, 1.5]), lambda: theory.gram_scale(0, 3, eps=1.0),
    lambda: theory.gram_scale(3, 3, eps=0.0), lambda: theory.two_lines_gap(1.0, 1.0, 1.1),
    lambda: theory.smoothness(1.0, 0.0), lambda: theory.reduced_multiplier(-1.0, 3, 3, eps=1.0),
])
def test_input_outside_the_domain_never_yields_a_number(call):
    with pytest.raises(ValueError, match=r"must|exceeds"):
        call()


def test_limits_of_large_and_small_distortion_in_high_precision():
    """Leading term and slope against 60-digit determinants, at distortions that float64 cannot resolve."""
    mpmath.mp.dps = 60
    rng, sizes, ranks, dim = np.random.default_rng(5), (2, 3, 3), (1, 2, 1), 4
    # small integers: the ranks are exact, where float64 products of factors would have rank 4 in 60 digits
    pairs = zip(sizes, ranks, strict=True)
    Z = np.concatenate([rng.integers(-3, 4, (n, r)) @ rng.integers(-3, 4, (r, dim)) for n, r in pairs]).astype(float)

    def reduction(c):
        whole, parts, start = mpmath.matrix(Z.tolist()), mpmath.mpf(0), 0
        total = mpmath.log(mpmath.det(mpmath.eye(dim) + c / len(Z) * whole.T * whole)) / 2
        for n in sizes:
            rows = mpmath.matrix(Z[start : start + n].tolist())
            parts += mpmath.mpf(n) / (2 * len(Z)) * mpmath.log(mpmath.det(mpmath.eye(dim) + c / n * rows.T * rows))
            start += n
        return total - parts

    c = mpmath.mpf(10) ** -20
    assert float(4 * reduction(c) / c**2) == pytest.approx(theory.between_class_variance(Z, sizes), rel=1e-14)
    growth = (reduction(mpmath.mpf(10) ** 22) - reduction(mpmath.mpf(10) ** 20)) / mpmath.log(10)  # eps falls tenfold
    assert float(growth) == pytest.approx(theory.rank_slope(sizes, ranks, 4), abs=1e-14)
