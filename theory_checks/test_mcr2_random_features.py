"""Rates of random features against quadrature, exact one-dimensional expectations, autodiff and random matrices."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from lab.systems.mcr2 import theory

POINTS = settings(deadline=None, max_examples=60)
snrs, ratios = st.floats(-6, 6).map(lambda e: 10.0**e), st.floats(-4, 3).map(lambda e: 10.0**e)


def half_logdet(Z, scale):
    """(1/2) logdet(I + scale Z^T Z) by definition, Z of shape (..., n, d)."""
    return 0.5 * np.linalg.slogdet(np.eye(Z.shape[-1]) + scale * Z.mT @ Z)[1]


def reduction(Z, sizes, c):
    """Delta R by definition."""
    parts, n = np.split(Z, np.cumsum(sizes)[:-1], axis=-2), sum(sizes)
    return half_logdet(Z, c / n) - sum(
        size / n * half_logdet(part, c / size) for size, part in zip(sizes, parts, strict=True)
    )


# ---------------------------------------------------------------- few dimensions


@pytest.mark.parametrize(("variance", "eps"), [(1.0, 1.0), (0.3, 0.4), (2.0, 2.0)])
def test_bias_and_variance_in_one_dimension_are_those_of_a_gamma_variable(variance, eps):
    """d = 1: R = log(1 + c S)/2 with n S/variance chi-square; the remainder of the bias is O(1/n^2)."""
    errors = []
    for n in (400, 800):
        law = stats.gamma(n / 2, scale=2 * variance / n)
        ends = law.ppf([1e-15, 1 - 1e-15])

        def moment(f, law=law, ends=ends):
            return integrate.quad(lambda s: f(s) * law.pdf(s), *ends, limit=400, epsabs=1e-14, epsrel=1e-13)[0]

        mean = moment(lambda s: 0.5 * np.log1p(s / eps**2))
        exact = mean - theory.population_rate([[variance]], eps=eps)
        errors.append(exact / theory.finite_sample_bias([[variance]], n, eps=eps) - 1)
        spread = moment(lambda s, m=mean: (0.5 * np.log1p(s / eps**2) - m) ** 2)
        assert spread == pytest.approx(theory.finite_sample_variance([[variance]], n, eps=eps), rel=4 / n)
    assert abs(errors[1]) < 3 / 800
    assert errors[1] == pytest.approx(errors[0] / 2, abs=0.1 * abs(errors[0]))


def test_bias_and_variance_are_the_delta_method_for_a_wishart_matrix():
    """Second derivative and gradient of logdet by autodiff, contracted with the covariance of a Wishart matrix."""
    rng = np.random.default_rng(0)
    d, n = 3, 50
    with jax.enable_x64(True):
        def rate(S, c):
            return 0.5 * jnp.linalg.slogdet(jnp.eye(d) + c * S)[1]
        derivatives = jax.jit(lambda S, c: (jax.grad(rate)(S, c), jax.hessian(rate)(S, c)))
    for eps in (0.5, 1.3):
        root, c = rng.standard_normal((d, d)), d / eps**2
        sigma = root @ root.T
        products = np.einsum("ik,jl->ijkl", sigma, sigma)
        covariance = (products + products.transpose(0, 1, 3, 2)) / n
        with jax.enable_x64(True):
            gradient, hessian = derivatives(jnp.asarray(sigma), c)
        bias = 0.5 * np.sum(np.asarray(hessian) * covariance)
        variance = np.einsum("ij,kl,ijkl", gradient, gradient, covariance)
        assert theory.finite_sample_bias(sigma, n, eps=eps) == pytest.approx(bias, rel=1e-12)
        assert theory.finite_sample_variance(sigma, n, eps=eps) == pytest.approx(variance, rel=1e-12)
        whole = 0.5 * np.linalg.slogdet(np.eye(d) + c * sigma)[1]
        assert theory.population_rate(sigma, eps=eps) == pytest.approx(whole, rel=1e-13)


# ---------------------------------------------------------------- the Marchenko-Pastur law


def edges(beta):
    return (1 - np.sqrt(beta)) ** 2, (1 + np.sqrt(beta)) ** 2


def marchenko_pastur_mean(f, beta):
    """Mean of f under the law of eigenvalues of X^T X/n, X of shape (n, beta n), with its atom at zero."""
    low, high = edges(beta)
    middle, half = (low + high) / 2, (high - low) / 2

    def integrand(t):
        x = middle + half * np.cos(t)
        return f(x) * half**2 * np.sin(t) ** 2 / (2 * np.pi * beta * x)

    return integrate.quad(integrand, 0, np.pi, limit=400, epsabs=1e-13)[0] + max(0, 1 - 1 / beta) * f(0.0)


@pytest.mark.parametrize("beta", [0.05, 0.4, 1.0, 3.0])
@pytest.mark.parametrize("snr", [0.1, 2.0, 50.0])
def test_rate_and_deficit_are_means_over_the_marchenko_pastur_law(snr, beta):
    rate = marchenko_pastur_mean(lambda x: np.log1p(snr * x), beta)
    assert theory.marchenko_pastur_rate(snr, beta) == pytest.approx(rate, rel=1e-9)
    deficit = marchenko_pastur_mean(lambda x: snr * x / (1 + snr * x), beta)
    assert theory.marchenko_pastur_resolvent(snr, beta) == pytest.approx(deficit, rel=1e-9)


@POINTS
@given(snrs, ratios)
def test_rate_has_full_precision_where_its_printed_form_cancels(snr, beta):
    with mpmath.workdps(60):
        s, b = mpmath.mpf(snr), mpmath.mpf(beta)
        wide, narrow = (mpmath.sqrt(s * (1 + sign * mpmath.sqrt(b)) ** 2 + 1) for sign in (1, -1))
        f = (wide - narrow) ** 2
        rate = mpmath.log(1 + s - f / 4) + mpmath.log(1 + s * b - f / 4) / b - f / (4 * b * s)
        assert abs(theory.marchenko_pastur_rate(snr, beta) - rate) <= 1e-14 * rate
        assert abs(theory.marchenko_pastur_resolvent(snr, beta) * 4 * b * s - f) <= 1e-14 * f


@pytest.mark.parametrize(("snr", "beta"), [(2.0, 0.3), (10.0, 0.8), (0.5, 2.5)])
def test_terms_of_order_one_are_those_of_the_central_limit_theorem(snr, beta):
    """Mean shift by the arcsine law, variance by Chebyshev coefficients (Bai and Silverstein, real Gaussian case)."""
    low, high = edges(beta)
    t = (np.arange(4000) + 0.5) * np.pi / 4000
    f = np.log1p(snr * ((low + high) / 2 + (high - low) / 2 * np.cos(t)))
    shift = (np.log1p(snr * low) + np.log1p(snr * high)) / 4 - f.mean() / 2
    coefficients = np.array([2 * np.mean(f * np.cos(k * t)) for k in range(1, 200)])
    variance = 0.5 * np.sum(np.arange(1, 200) * coefficients**2)
    d, sizes = 1000, [round(1000 / beta)]
    q = theory.marchenko_pastur_resolvent(snr, d / sizes[0])
    g = d / sizes[0] * q**2
    assert 0.25 * np.log1p(-g) == pytest.approx(0.5 * shift, rel=1e-2 * beta + 1e-3)
    assert -0.5 * np.log1p(-g) == pytest.approx(0.25 * variance, rel=1e-2 * beta + 1e-3)
    # a single class has no rate reduction at all
    assert theory.null_rate_reduction(d, sizes, eps=1.0, variance=snr / d) == pytest.approx(0, abs=1e-12 * d)
    assert theory.null_rate_reduction_variance(d, sizes, eps=1.0, variance=snr / d) == pytest.approx(0, abs=1e-12)


# ---------------------------------------------------------------- noise


def sphere(rng, shape):
    Z = rng.standard_normal(shape)
    return Z / np.linalg.norm(Z, axis=-1, keepdims=True)


KINDS = {
    "gaussian": (lambda rng, shape: rng.standard_normal(shape), {"variance": 1.0}),
    "uniform": (lambda rng, shape: rng.uniform(-1, 1, shape), {"variance": 1 / 3, "kurtosis": -1.2}),
    "sphere": (sphere, {"variance": "unit sphere"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_noise_has_the_predicted_mean_and_spread(kind):
    rng, (draw, options) = np.random.default_rng(3), KINDS[kind]
    d, sizes, draws = 24, (40, 24, 32), 1500
    eps = 0.6 * (1 if kind == "sphere" else np.sqrt(d) * options["variance"] ** 0.5)
    values = reduction(draw(rng, (draws, sum(sizes), d)), sizes, d / eps**2)
    mean, variance = values.mean(), values.var(ddof=1)
    predicted = theory.null_rate_reduction(d, sizes, eps=eps, **options)
    # the next order is about .05/d here, by 16000 draws at d = 12
    assert abs(mean - predicted) <= 5 * np.sqrt(variance / draws) + 0.2 / d
    spread = theory.null_rate_reduction_variance(d, sizes, eps=eps, **options)
    assert abs(variance / spread - 1) <= 5 * np.sqrt(2 / draws) + 3 / d
    floor = theory.null_rate_reduction(d, sizes, eps=eps, correction=False, **options)
    if kind != "uniform":  # where the two parts of the term of order one nearly cancel
        assert abs(mean - floor) >= 5 * np.sqrt(variance / draws)


def test_floor_for_few_dimensions_is_the_difference_of_finite_sample_biases():
    d, sizes, eps = 3, [4000, 2000, 2000], 0.8
    bias = [theory.finite_sample_bias(np.eye(d), n, eps=eps) for n in (8000, *sizes)]
    exact = bias[0] - sum(n / 8000 * b for n, b in zip(sizes, bias[1:], strict=True))
    # of relative order d/N_k = .0015, and the terms of order one are tr T^2/(tr T)^2 = 1/3 of the leading one here
    assert theory.null_rate_reduction(d, sizes, eps=eps) == pytest.approx(exact, rel=1e-2)


# ---------------------------------------------------------------- flat spectra


def frame(rng, n, d):
    return np.linalg.qr(rng.standard_normal((n, d)))[0] * np.sqrt(n / d)


@pytest.mark.parametrize(("d", "sizes", "eps"), [(150, (200, 200, 200), 0.7), (150, (60, 100, 50), 0.3)])
def test_one_large_random_frame_has_the_whitened_rate(d, sizes, eps):
    rng = np.random.default_rng(4)
    value = reduction(frame(rng, sum(sizes), d), sizes, d / eps**2)
    predicted = theory.whitened_null_rate_reduction(d, sizes, eps=eps, variance="unit sphere")
    assert abs(value - predicted) <= 0.7  # fluctuations of order one on a value of order d
    assert value > theory.null_rate_reduction(d, sizes, eps=eps, variance="unit sphere") + 1.0


@pytest.mark.parametrize("subspaces", [1, 3])
def test_terms_of_order_one_of_flat_spectra(subspaces):
    rng, d, sizes, eps, draws = np.random.default_rng(5), 24, (32, 32, 32), 0.7, 1500
    n, r, m = sum(sizes), d // subspaces, sum(sizes) // subspaces
    Z = np.zeros((draws, n, d))
    for k in range(subspaces):
        rows, columns = slice(k * m, (k + 1) * m), slice(k * r, (k + 1) * r)
        Z[:, rows, columns] = np.linalg.qr(rng.standard_normal((draws, m, r)))[0] * np.sqrt(m / r)
    Z = np.stack([one[rng.permutation(n)] for one in Z])
    values = reduction(Z, sizes, d / eps**2)
    predicted = theory.whitened_null_rate_reduction(d, sizes, eps=eps, variance="unit sphere", subspaces=subspaces)
    floor = theory.whitened_null_rate_reduction(d, sizes, eps=eps, variance="unit sphere", correction=False)
    error = 5 * values.std() / np.sqrt(draws) + subspaces / d  # each subspace has its own next order
    assert abs(values.mean() - predicted) <= error < abs(floor - predicted) * (1 if subspaces > 1 else 2)


def test_orthogonal_rows_are_at_the_maximum_whatever_their_labels():
    rng, d, sizes, eps = np.random.default_rng(6), 12, (3, 3, 3), 0.5
    Z = np.linalg.qr(rng.standard_normal((d, d)))[0][:9]
    for order in (np.arange(9), rng.permutation(9)):
        value = reduction(Z[order], sizes, d / eps**2)
        assert value == pytest.approx(theory.whitened_null_rate_reduction(
            d, sizes, eps=eps, variance="unit sphere"), rel=1e-12)  # fmt: skip
        # a third of the rows each, on directions of their own
        assert value == pytest.approx(4.5 * theory.rate_gain(d / (9 * eps**2), 1 / 3), rel=1e-12)


@POINTS
@given(st.integers(2, 60), st.lists(st.integers(1, 60), min_size=2, max_size=4), st.floats(0.05, 5.0))
def test_floors_are_ordered_and_continuous_at_equal_numbers(d, sizes, eps):
    options = {"eps": eps, "variance": "unit sphere", "correction": False}
    noise, flat = theory.null_rate_reduction(d, sizes, **options), theory.whitened_null_rate_reduction(
        d, sizes, **options)  # fmt: skip
    slack = 1e-12 * (1 + d * np.log1p(d / eps**2))
    assert -slack <= noise <= flat + slack
    n = sum(sizes)
    wide = theory.whitened_null_rate_reduction(n, sizes, **options)
    c = n / eps**2
    exact = n / 2 * (np.log1p(c / n) - sum((m / n) ** 2 * np.log1p(c / m) for m in sizes))
    assert wide == pytest.approx(exact, abs=slack)


@pytest.mark.parametrize("call", [
    lambda: theory.null_rate_reduction(8, [4, 4], eps=0.0), lambda: theory.null_rate_reduction(0, [4, 4], eps=1.0),
    lambda: theory.null_rate_reduction(8, [4, 0], eps=1.0),
    lambda: theory.null_rate_reduction(8, [4], eps=1.0, kurtosis=-3.0),
    lambda: theory.null_rate_reduction(8, [4], eps=1, variance="unit ball"),
    lambda: theory.null_rate_reduction(8, [4], eps=1, variance=0.0),
    lambda: theory.null_rate_reduction(8, [4], eps=1, variance="unit sphere", kurtosis=-1.0),
    lambda: theory.finite_sample_bias(np.diag([1.0, -1.0]), 5, eps=1.0),
    lambda: theory.finite_sample_bias(np.ones(3), 5, eps=1.0), lambda: theory.marchenko_pastur_rate(-1.0, 1.0),
    lambda: theory.whitened_null_rate_reduction(8, [8, 8], eps=1.0, subspaces=0),
])  # fmt: skip
def test_values_outside_the_domain_are_refused(call):
    with pytest.raises(ValueError, match=r"must|leave it out"):
        call()
