"""Speciation, collapse and end points by routes of their own: enumeration, mpmath, automatic differentiation."""

import itertools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import integrate, stats

from lab.errors import OutOfDomain
from lab.models.diffusion import FM, OU, VE, VP, process
from lab.systems.memorization import theory

# ---------------------------------------------------------------------- collapse


def test_collapse_times_of_all_processes():
    n, d, v = 137.5, 24, 0.7
    psi = theory.collapse_snr(d, n, v)
    assert math.log1p(psi * v) * d / 2 == pytest.approx(math.log(n), rel=1e-13)
    for one in (OU, VP, FM, VE):
        t = theory.collapse_time(one, d, n, v)
        assert one.alpha(t) ** 2 / one.sigma(t) ** 2 == pytest.approx(psi, rel=1e-12)
    assert theory.collapse_time(OU, d, n, v) == pytest.approx(0.5 * math.log(1 + v / (n ** (2 / d) - 1)), rel=1e-13)
    assert theory.collapse_time(VP, d, n, 1.0) == pytest.approx(n ** (-1 / d), rel=1e-13)
    with pytest.raises(OutOfDomain, match="no rival"):
        theory.collapse_snr(d, 1)


def test_one_point_is_always_recalled():
    assert theory.recall(7, 1, 0.3) == pytest.approx(1, abs=1e-9)
    assert theory.recall_bound(7, 1, 0.3) == pytest.approx(1, abs=1e-12)


def brute_recall(n, snr, nodes=40):
    """E p_1 for n <= 3 points on the line, by Gauss-Hermite quadrature over points and noise."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    w = w / w.sum()
    total = 0.0
    for own, noise in itertools.product(range(nodes), repeat=2):
        y = math.sqrt(snr) * x[own] + x[noise]
        weights = np.exp(-((y - math.sqrt(snr) * x) ** 2) / 2)
        right = math.exp(-x[noise] ** 2 / 2)
        if n == 2:
            mean = w @ (right / (right + weights))
        else:
            mean = w @ (right / (right + weights[:, None] + weights)) @ w
        total += w[own] * w[noise] * mean
    return total


@pytest.mark.parametrize(("n", "snr"), [(2, 0.3), (2, 1.0), (3, 0.5)])
def test_the_bound_lies_below_the_posterior_by_enumeration(n, snr):
    brute = brute_recall(n, snr)
    assert theory.recall(1, n, snr) == pytest.approx(brute, abs=1e-5)
    assert theory.recall_bound(1, n, snr) < brute - 1e-3


def test_the_bound_is_attained_without_signal():
    assert theory.recall_bound(20, 50, 1e-9) == pytest.approx(1 / 50, rel=1e-6)


@pytest.mark.parametrize(("d", "n", "snr", "share"), [(1, 3, 2.0, 1.0), (5, 40, 1.3, 0.5), (30, 100, 0.36, 1.0)])
def test_the_bound_by_its_distribution(d, n, snr, share):
    """The difference of two chi-square variables of d degrees, by characteristic function, in high precision."""
    rivals, scale = (n - 1) * share, 0.5 * math.sqrt(snr / (1 + snr))
    # E 1/(1 + r e^-i): Fourier transform of the logistic function, pi/sinh(pi w), along the shifted real axis
    shift = math.log(rivals) - d / 2 * math.log1p(snr)

    def integrand(w):
        phi = (1 + 4 * (scale * w) ** 2) ** (-mpmath.mpf(d) / 2)  # |characteristic function|, real by symmetry
        return phi * mpmath.sin(w * shift) / mpmath.sinh(mpmath.pi * w)

    value = 0.5 - mpmath.quad(integrand, [0, 1, 3, 10, 25])
    assert theory.recall_bound(d, n, snr, share=share) == pytest.approx(float(value), abs=1e-9)


def test_the_bound_is_a_half_at_collapse():
    d, n = 60, 10_000
    assert theory.recall_bound(d, n, theory.collapse_snr(d, n)) == pytest.approx(0.5, abs=1e-4)
    assert theory.collapse_coordinate(d, n, theory.collapse_snr(d, n)) == pytest.approx(0, abs=1e-12)


def test_moments_of_the_information_density():
    d, snr = 12, 0.8
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((2, 200_000, d))
    y = math.sqrt(snr) * x + z
    density = -np.sum(z**2, axis=1) / 2 + np.sum(y**2, axis=1) / (2 * (1 + snr)) + d / 2 * math.log1p(snr)
    assert density.mean() == pytest.approx(d / 2 * math.log1p(snr), abs=0.03)
    assert density.std() == pytest.approx(theory.window_width(d, snr), rel=0.01)
    given_y = d / 2 * math.log1p(snr) + (np.sum(y**2, axis=1) / (1 + snr) - d) * snr / (2 * (1 + snr))
    assert given_y.var() / density.var() == pytest.approx(snr / (2 * (1 + snr)), rel=0.02)


@pytest.mark.parametrize(("z", "snr"), [(0.0, 1.0), (0.4, 0.2), (-1.0, 3.0)])
def test_window_correction_by_mpmath(z, snr):
    r = math.sqrt(snr / (2 * (1 + snr)))

    def integrand(g):
        return -mpmath.log(mpmath.ncdf(r * g - z * math.sqrt(1 - r * r))) * mpmath.npdf(g)

    expected = float(mpmath.quad(integrand, [-12, -4, 0, 4, 12]))
    assert theory.window_correction(z, snr) == pytest.approx(expected, rel=1e-9)


def test_the_window_from_its_limit_law():
    """The first-order form is the integral over x = i - log n of E 1/(1 + e^-x Phi(...)) times the density of x."""
    snr, z, w = 1.0, 0.3, 400.0
    r = math.sqrt(snr / (2 * (1 + snr)))
    g, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()

    def right(x):
        at = stats.norm.cdf(r * g - math.sqrt(1 - r * r) * z)
        return weight @ (1 / (1 + np.exp(-x) * at))

    inner = integrate.quad(lambda x: (right(x) - (x > 0)) * stats.norm.pdf(x / w - z) / w, -40, 40, points=[0])[0]
    expected = (inner * w) / stats.norm.pdf(z)
    assert theory.window_correction(z, snr) == pytest.approx(expected, rel=2e-3)


def test_first_order_helps():
    d, n = 84, 10_000_000
    psi = theory.collapse_snr(d, n)
    exact, w = theory.recall(d, n, psi), theory.window_width(d, psi)
    assert abs(theory.window_recall(d, n, psi) - exact) < 0.5 / w**2 < abs(0.5 - exact)


def test_the_level_is_crossed_within_ten_per_cent_over_the_domain():
    """Of the law memorization/collapse: d from 10 to 120, 30 to 2000 points, .565 between .9 and 1.1 psi_C."""
    for d, n in itertools.product((10, 35, 120), (30, 250, 2000)):
        psi = theory.collapse_snr(d, n)
        assert theory.recall(d, n, 0.92 * psi) < 0.565 < theory.recall(d, n, 1.02 * psi)


# ---------------------------------------------------------------------- speciation


@pytest.mark.parametrize("name", ["OU", "VP", "FM", "VE"])
@pytest.mark.parametrize(("radius", "v"), [(4.0, 1.0), (1.3, 0.2), (9.0, 0.0)])
def test_curvature_by_automatic_differentiation(name, radius, v):
    one = process(name)
    mu = radius * jnp.array([0.6, 0.0, 0.8])

    def log_p(y, a, s):
        squares = jnp.stack([jnp.sum((y - a * mu) ** 2), jnp.sum((y + a * mu) ** 2)])
        return jax.scipy.special.logsumexp(-squares / (2 * (a * a * v + s * s)))

    with jax.enable_x64(True):
        unit = jnp.array([0.6, 0.0, 0.8])
        onset = theory.speciation_time(one, radius, v)
        for t in (0.7 * onset, onset, onset + 0.2 * (1 - onset) if name != "VE" else 1.3 * onset):
            hessian = jax.hessian(log_p)(jnp.zeros(3), one.alpha(t), one.sigma(t))
            size = 1 / (one.alpha(t) ** 2 * v + one.sigma(t) ** 2)
            expected = theory.origin_curvature(one, t, radius, v)
            assert float(unit @ hessian @ unit) == pytest.approx(expected, abs=1e-6 * size)
    assert theory.origin_curvature(one, onset, radius, v) == pytest.approx(0, abs=1e-12 / (v + 0.1))


def test_speciation_time_of_ou_and_its_domain():
    assert theory.speciation_time(OU, 5.0, 0.3) == pytest.approx(0.5 * math.log(25 + 1 - 0.3), rel=1e-13)
    assert theory.speciation_time(OU, math.sqrt(30)) == pytest.approx(0.5 * math.log(30), rel=1e-13)
    with pytest.raises(OutOfDomain, match="one maximum"):
        theory.speciation_snr(1.0, 1.0)


def test_agreement_at_speciation_by_mpmath_and_by_the_other_form():
    plain = mpmath.quad(lambda z: mpmath.tanh(1 + z) * mpmath.npdf(z), [-12, -3, 0, 3, 12])
    square = mpmath.quad(lambda z: mpmath.tanh(1 + z) ** 2 * mpmath.npdf(z), [-12, -3, 0, 3, 12])
    assert float(plain) == pytest.approx(float(square), abs=1e-12)
    assert theory.speciation_agreement() == pytest.approx((1 + float(plain)) / 2, abs=1e-12)
    assert round(theory.speciation_agreement(), 6) == 0.7752
    for radius, v in ((4.0, 1.0), (2.0, 0.0)):
        psi = theory.speciation_snr(radius, v)
        assert theory.class_agreement(psi, radius, v) == pytest.approx(theory.speciation_agreement(), rel=1e-12)


# ---------------------------------------------------------------------- end points


def test_a_ddim_step_moves_the_residual_as_said():
    rng = np.random.default_rng(1)
    X, y, t, u = rng.standard_normal((7, 5)), rng.standard_normal(5), 0.6, 0.35
    a, s, a1, s1 = VP.alpha(t), VP.sigma(t), VP.alpha(u), VP.sigma(u)
    weights = np.exp(-np.sum((y - a * X) ** 2, axis=1) / (2 * s * s))
    m = weights @ X / weights.sum()
    after = a1 * m + s1 * (y - a * m) / s  # estimate of x0, and noise added again
    for x in X:
        change = (after - a1 * x) / s1 - (y - a * x) / s
        assert change == pytest.approx(theory.residual_step(VP.snr(t), VP.snr(u), m - x), abs=1e-12)


def test_hit_statistic_by_enumeration():
    chance, n = np.array([0.5, 0.3, 0.2]), 4
    mean = 0.0
    for draws in itertools.product(range(3), repeat=n):
        counts = np.bincount(draws, minlength=3)
        mean += np.prod(chance[list(draws)]) * np.sum((counts - n / 3) ** 2) * 3 / n
    assert theory.hit_statistic(3, n, chance) == pytest.approx(mean, rel=1e-12)
    assert theory.hit_statistic(20, 1000) == pytest.approx(19)


def test_few_normal_vectors_leave_the_endpoint_radius():
    for d in (10, 30):
        reach = theory.endpoint_radius(0.001, d) / 0.001
        assert stats.chi2.sf(reach**2, d) < 2e-7 < math.exp(-8)
