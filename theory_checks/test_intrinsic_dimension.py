"""Intrinsic dimension: closed forms and quadrature against other integrals, simulation, and quoted numbers."""

import doctest
import importlib

import mpmath
import numpy as np
import pytest
from scipy import integrate, stats

from lab.data.flattening import ball_patch, period, uniform_points
from lab.errors import OutOfDomain
from lab.models.dimension import log_ratio_means, neighbour_distances
from lab.systems.intrinsic_dimension import theory
from lab.systems.intrinsic_dimension.laws import CHORDAL_DISTANCE, LOCAL_PCA, PARETO_EXACT

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("name", ["neighbours", "likelihood", "overlap", "local_pca"])
def test_examples_of_the_docstrings(name):
    module = importlib.import_module(f"lab.systems.intrinsic_dimension.theory.{name}")
    assert doctest.testmod(module).failed == 0


# ---------------------------------------------------------------- neighbours


@pytest.mark.parametrize(("j", "k"), [(1, 2), (1, 5), (3, 7)])
def test_ratios_are_order_statistics_of_uniforms(j, k):
    """(T_j/T_k)^d is the j-th smallest of k - 1 uniforms: at least j of them below x, a binomial sum."""
    for x in (0.03, 0.4, 0.9):
        exact = mpmath.fsum(mpmath.binomial(k - 1, i) * mpmath.mpf(x) ** i * (1 - mpmath.mpf(x)) ** (k - 1 - i)
                            for i in range(j, k))  # fmt: skip
        assert theory.ratio_below(x, j, k) == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize(("space", "d", "n"), [("circle", 1, 20), ("sphere", 2, 20), ("sphere", 2, 6)])
def test_logarithms_of_ratios_pass_kolmogorov_smirnov(space, d, n):
    """One point of each of 4000 sets: independent draws."""
    x = uniform_points(RNG, space, n, d, 4000)
    T = neighbour_distances(x, 2, period=period(space))[:, 0]
    assert stats.kstest(np.log(T[:, 1] / T[:, 0]), stats.expon(scale=1 / d).cdf).pvalue > 1e-3
    T = neighbour_distances(uniform_points(RNG, "sphere", n, 3, 4000), 2)[:, 0]
    assert n == 6 or stats.kstest(np.log(T[:, 1] / T[:, 0]), stats.expon(scale=1 / d).cdf).pvalue < 1e-3


def test_wrap_probability_counts_neighbours_in_the_largest_ball():
    inside = [np.pi ** (d / 2) / mpmath.gamma(d / 2 + 1) / 2**d for d in (2, 5)]
    for d, ball in zip((2, 5), map(float, inside), strict=True):
        assert theory.wrap_probability(60, 7, d) == pytest.approx(stats.binom.cdf(6, 59, ball), rel=1e-9)
    assert theory.wrap_probability(60, 7, 1) == 0  # the ball is the whole circle


@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_chord_exponent_differentiates_the_area_of_caps(d):
    """F from the integral of sin^(d-1), its logarithmic slope by differences in high precision."""
    def area(t):
        top = 2 * mpmath.asin(mpmath.mpf(t) / 2)
        return mpmath.quad(lambda a: mpmath.sin(a) ** (d - 1), [0, top])

    for t in (0.05, 0.8, 1.7):
        slope = mpmath.diff(lambda u: mpmath.log(area(mpmath.exp(u))), mpmath.log(t))
        assert theory.chord_exponent(t, d) == pytest.approx(float(slope), rel=1e-8)
    theta = 0.02  # the expansion in the angle: d - d(d-1) theta²/(3(d+2)) + d theta²/12
    chord = 2 * np.sin(theta / 2)
    expected = d - d * (d - 1) * theta**2 / (3 * (d + 2)) + d * theta**2 / 12
    assert theory.chord_exponent(chord, d) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(("n", "k", "d"), [(12, 2, 1), (12, 5, 3), (30, 3, 5), (8, 7, 2)])
def test_chordal_log_ratio_from_order_statistics(n, k, d):
    """E ln T_k - E ln T_j, each the integral of ln T over the Beta law of the j-th of n - 1 uniforms."""
    a = d / 2

    def mean_log(j):
        law = stats.beta(j, n - j)
        value = integrate.quad(lambda u: 0.5 * np.log(stats.beta.ppf(u, a, a)) * law.pdf(u), 0, 1, limit=200,
                               epsabs=1e-11)[0]  # fmt: skip
        return value

    expected = mean_log(k) - np.mean([mean_log(j) for j in range(1, k)])
    assert theory.chordal_log_ratio(n, k, d) == pytest.approx(expected, abs=1e-8)


def test_chordal_bias_of_the_circle_to_leading_order():
    """1 - pi²/(6 N (N+1)): the next term falls with N^-4."""
    gaps = [1 - np.pi**2 / (6 * n * (n + 1)) - theory.chordal_log_ratio(n, 2, 1) for n in (20, 40, 80)]
    assert gaps[0] / gaps[1] == pytest.approx(16, rel=0.15)
    assert abs(gaps[2]) < 1e-7
    # measured for 12 points elsewhere: .9908 ± .0015
    assert theory.chordal_log_ratio(12, 2, 1) == pytest.approx(0.9908, abs=2 * 0.0015)


# ---------------------------------------------------------------- likelihood, overlap


@pytest.mark.parametrize(("space", "d", "n", "quoted", "error"),
                         [("circle", 1, 20, 1.3317, 0.0027), ("sphere", 2, 20, 2.681, 0.007)])  # fmt: skip
def test_quoted_means_of_estimates(space, d, n, quoted, error):
    assert theory.mean_estimate(d, 5) == pytest.approx(quoted, abs=3 * error)
    m = log_ratio_means(neighbour_distances(uniform_points(RNG, space, n, d, 3000), 5, period=period(space)))
    means = np.mean(1 / m, axis=1)
    assert np.mean(means) == pytest.approx(theory.mean_estimate(d, 5), abs=4 * np.std(means) / np.sqrt(3000))


def test_overlap_on_the_line_from_gaps():
    """A Poisson process on the line has independent gaps; T_2/T_1 of points four apart share none. So the variance of
    TwoNN there is 1.57 d²/N, not the textbook's d²/N.
    """
    gaps = RNG.exponential(size=2_000_000)
    left, right = gaps[1:-2], gaps[2:-1]
    further = np.minimum(left + gaps[:-3], right + gaps[3:])
    m = np.log(np.minimum(np.maximum(left, right), further) / np.minimum(left, right)) - 1
    covariance = [np.mean(m * m), *(np.mean(m[:-lag] * m[lag:]) for lag in (1, 2, 3, 4))]
    assert covariance[0] == pytest.approx(1, abs=0.02)  # exponential
    assert covariance[4] == pytest.approx(0, abs=0.004)
    assert covariance[0] + 2 * sum(covariance[1:4]) == pytest.approx(1.5715, abs=0.02)


def test_number_of_pairs_and_coverage():
    x = RNG.random((4000, 12, 3))
    gap = np.abs(x[:, :, None] - x[:, None])
    near = np.sum(np.minimum(gap, 1 - gap) ** 2, axis=-1) < 0.4**2
    counts = (near.sum((1, 2)) - 12) / 2
    assert np.mean(counts) == pytest.approx(theory.pairs_within(12, 3, 0.4), abs=4 * np.std(counts) / np.sqrt(4000))
    assert theory.ball_volume(4, 0.5) == pytest.approx(np.pi**2 / 2 / 16)
    normal = RNG.standard_normal(200_000) * np.sqrt(1.6)
    assert np.mean(np.abs(normal) < 1.959964) == pytest.approx(theory.coverage(0.95, 1.6), abs=3e-3)


# ---------------------------------------------------------------- local covariance


@pytest.mark.parametrize(("d", "r"), [(1, 0.2), (2, 0.7), (5, 1.0)])
def test_normal_variance_by_high_precision(d, r):
    """Moments of s = |u|² have the density d s^(d/2-1)/(2 r^d)."""
    def moment(power):
        return mpmath.quad(lambda q: d * q ** (d - 1) / r**d * (1 - mpmath.sqrt(1 - q**2)) ** power, [0, r / 2, r])

    exact = float(moment(2) - moment(1) ** 2)
    assert theory.normal_variance(d, r, 1.0) == pytest.approx(exact, rel=1e-9)
    assert theory.normal_variance(d, 2 * r, 2.0) == pytest.approx(4 * exact, rel=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_next_order_of_the_normal_variance(d):
    r = 0.05
    ratio = theory.normal_variance(d, r, 1.0) / theory.normal_variance_limit(d, r, 1.0)
    assert (ratio - 1) / r**2 == pytest.approx((d + 2) / (d + 6), rel=0.01)
    quoted = theory.normal_variance(d, 0.2, 1.0) / theory.normal_variance_limit(d, 0.2, 1.0)
    assert 1.017 < quoted < 1.0255


def test_curvature_and_tilt_of_a_curve():
    normal, tangent = theory.normal_variance(1, 0.2, 1.0), theory.tangent_variance(1, 0.2)
    assert np.sqrt(15 * normal / tangent) / 0.2 == pytest.approx(1.003, abs=0.006)
    assert np.sqrt(theory.tilt(1, 0.01, 1.0)) / 0.01 == pytest.approx(0.3237, abs=1e-4)


def test_tilt_from_polynomial_moments():
    """To leading order heights are |u|²/2: moments of a polynomial, exact."""
    for d in (1, 3, 6):
        s = [d / (d + 2 * k) for k in range(4)]  # E |u|^(2k) at r = 1
        moment = (s[3] - 2 * s[1] * s[2] + s[1] ** 3) / 4
        assert theory.tilt(d, 0.01, 1.0) / 1e-4 == pytest.approx(moment * (d + 2) ** 2, rel=1e-3)


def test_patches_lie_on_the_sphere():
    for geodesic in (False, True):
        x = ball_patch(RNG, 500, 3, 0.7, 2.0, geodesic=geodesic)
        np.testing.assert_allclose(np.sum((x - [0, 0, 0, 2.0]) ** 2, axis=1), 4, rtol=1e-12)
        reach = 2 * np.arccos(1 - x[:, 3] / 2) if geodesic else np.linalg.norm(x[:, :3], axis=1)
        assert 0.6 < reach.max() < 0.7


# ---------------------------------------------------------------- laws


def test_values_by_other_routes_are_accepted():
    p = CHORDAL_DISTANCE.params(d=2, n=6, k=2)
    assert CHORDAL_DISTANCE.accepts(p, 0.5)
    assert not CHORDAL_DISTANCE.accepts(p, 0.56)
    assert PARETO_EXACT.accepts(PARETO_EXACT.params(n=6, k=2), np.array([0.1, 0.3, 0.5, 0.7, 0.9]))
    assert LOCAL_PCA.accepts(LOCAL_PCA.params(d=1, r=0.2), np.array([1.0, 1.0173]))


def test_outside_the_domain():
    with pytest.raises(OutOfDomain, match="j=3: must be below k=3"):
        theory.ratio_below(0.5, 3, 3)
    with pytest.raises(OutOfDomain, match="must lie in \\(0, R\\] with R=1"):
        theory.normal_variance(2, 1.5, 1.0)
    with pytest.raises(OutOfDomain, match="the sphere has dimension 2"):
        PARETO_EXACT.params(space="sphere", d=3)
    with pytest.raises(OutOfDomain, match="raise n"):
        PARETO_EXACT.params(space="torus", d=5, n=20)
