"""Closed form of the transition against brute force: nearest neighbours drawn, clustering by Lloyd, copies counted."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import simpson

from lab.errors import OutOfDomain
from lab.systems.memorization import theory
from lab.systems.memorization.theory import quadrature


def interval(values):
    """99.9 % interval of the mean of many bounded-tailed draws."""
    half = stats.norm.isf(5e-4) * np.std(values) / math.sqrt(len(values))
    return np.mean(values) - half, np.mean(values) + half


@pytest.mark.parametrize(("d", "n"), [(30, 13), (10, 4), (3, 14), (50, 16)])
def test_nearest_constant_is_the_mean_nearest_distance(d, n):
    rng = np.random.default_rng(d)
    x, others = rng.standard_normal((4000, 1, d)), rng.standard_normal((4000, n, d))
    nearest = np.sum((x - others) ** 2, axis=-1).min(1) / d
    low, high = interval(nearest)  # 99.9 %
    assert low <= theory.nearest_constant(d, n) <= high


def test_nearest_constant_has_its_exact_ends():
    assert theory.nearest_constant(7, 1) == pytest.approx(2, rel=1e-10)
    # d = 1, two points: P(|x - other| > t) is elementary, the rest a plain double integral
    r, t = np.linspace(-9, 9, 901)[:, None], np.linspace(0, 16, 1601)[None, :]
    outside = stats.norm.cdf(r - t) + stats.norm.sf(r + t)
    value = np.trapezoid(stats.norm.pdf(r[:, 0]) * simpson(2 * t * outside**2, x=t[0], axis=1), r[:, 0])
    assert theory.nearest_constant(1, 2) == pytest.approx(value, rel=1e-8)
    values = [theory.nearest_constant(d, 16) for d in (10, 100, 1000, 10000)]
    assert values == sorted(values)
    assert values[-1] > 1.95, "towards 2 as d grows"


@pytest.mark.parametrize(("u", "d", "n", "c", "v"), [(0.13, 30, 15.0, 1 / 9, 1.0), (0.35, 10, 7.0, 1 / 4, 2.0),
                                                     (0.05, 30, 24.0, 1 / 36, 0.5)])  # fmt: skip
def test_copy_probability_counts_copies(u, d, n, c, v):
    rng = np.random.default_rng(int(100 * u))
    draws = 20_000
    x, e = math.sqrt(v) * rng.standard_normal((draws, d)), math.sqrt(u) * rng.standard_normal((draws, d))
    copies = np.ones(draws, dtype=bool)
    for _ in range(int(n)):
        other = math.sqrt(v) * rng.standard_normal((draws, d))
        copies &= np.sum(e**2, axis=1) <= c * np.sum((x + e - other) ** 2, axis=1)
    low, high = stats.binomtest(int(copies.sum()), draws).proportion_ci(0.999)
    assert low <= theory.copy_probability(u, d, n, threshold=c, v=v) <= high


def test_quadrature_is_converged():
    """Twice the nodes move nothing that matters: averages of smooth functions are spectral."""
    for degrees in (1, 3, 30, 200):
        (x, w), (x2, w2) = (quadrature.chi_square_nodes(degrees, count) for count in (80, 240))
        assert w @ np.log1p(x) == pytest.approx(w2 @ np.log1p(x2), rel=1e-9)
        assert w @ x == pytest.approx(degrees, rel=1e-9)
    shift = np.array([0.0, 0.3, 20.0, 4000.0])
    x, w = quadrature.noncentral_nodes(12, shift)
    np.testing.assert_allclose(np.sum(w * x, axis=1), 12 + shift, rtol=1e-8)
    np.testing.assert_allclose(np.sum(w * x**2, axis=1) - (12 + shift) ** 2, 2 * (12 + 2 * shift), rtol=1e-6)


def test_fitted_variance_is_exact_on_a_simplex_and_close_for_clusters():
    """Equidistant points: any clustering into M groups has residual (N - M) D2/2. Random points: assign by hand."""
    from lab.data.mixtures import simplex

    N, M, D2 = 12, 9, 2.0
    X = simplex(N, N - 1, D2)
    groups = [[i] for i in range(M - 1)] + [list(range(M - 1, N))]
    residual = sum(np.sum((X[g] - X[g].mean(0)) ** 2) for g in groups)
    assert residual == pytest.approx((N - M) * D2 / 2)
    rng = np.random.default_rng(0)
    d, K, N, M = 30, 3, 50, 43
    found = []
    for _ in range(400):
        X = rng.standard_normal((N, d))
        cluster = rng.integers(K, size=N)
        gaps = np.sum((X[M:, None] - X[None, :M]) ** 2, axis=-1)
        gaps = np.where(cluster[M:, None] == cluster[None, :M], gaps, np.inf)
        found.append(np.sum(gaps.min(1)) / 2 / (N * d))  # each left-out point joins one, alone
    predicted = theory.fitted_variance(M / N, d, K, N)
    low, high = interval(np.array(found)[np.isfinite(found)])
    assert 0.98 * low <= predicted <= 1.02 * high  # cluster sizes are averaged over: 2 %


def test_plateau_loss_is_the_least_of_its_family():
    u, d, psi = 0.2, 30, 3.0
    w = np.linspace(0.01, 1, 2000)
    losses = d * (u + psi * w**2) / (1 + psi * w) ** 2
    assert theory.plateau_loss(u, d, psi) == pytest.approx(losses.min(), rel=1e-5)
    assert abs(w[np.argmin(losses)] - u) < 1e-3


def test_critical_size_solves_its_equation_and_has_its_limit():
    for c in (1 / 4, 1 / 9, 1 / 36):
        m = theory.critical_size(30, 3, 50, threshold=c)
        assert theory.memorization_curve(m, 30, 3, 50, threshold=c) == pytest.approx(0.5, abs=1e-4)
    assert theory.critical_size_leading() == 0.75
    far = [abs(theory.critical_size(d, 3, 60) - 0.75) for d in (30, 300, 2000)]
    assert far == sorted(far, reverse=True)
    assert far[-1] < 0.01


@pytest.mark.parametrize("call", [
    lambda: theory.critical_size(30, 3, 50, threshold=1.0), lambda: theory.nearest_constant(0, 3),
    lambda: theory.fitted_variance(1.5, 30, 3, 50), lambda: theory.copy_probability(-1.0, 30, 3),
    lambda: theory.critical_size(3, 40, 50),
])  # fmt: skip
def test_bad_input_is_refused(call):
    with pytest.raises(OutOfDomain):
        call()
