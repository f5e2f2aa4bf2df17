"""Low-rank mixtures: samples, posterior mean by importance sampling and autodiff, integrals by adaptive quadrature."""

import doctest
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from lab.data import low_rank_mixtures
from lab.data.low_rank_mixtures import NoisyMixture, low_rank_mixture, low_rank_mixture_jax
from lab.errors import InputError, OutOfDomain
from lab.models import low_rank_denoisers
from lab.systems.memorization import theory as memorization
from lab.systems.mixtures import laws, theory

SMALL = settings(deadline=None, max_examples=30)


@pytest.fixture
def rng():
    return np.random.default_rng(20241218)


@pytest.mark.parametrize("name", ["posterior", "projection"])
def test_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(f"lab.systems.mixtures.theory.{name}")).failed == 0
    assert doctest.testmod(low_rank_mixtures).failed == 0


# ---------------------------------------------------------------- samples


def draw(which, seed, **given):
    if which == "numpy":
        return low_rank_mixture(np.random.default_rng(seed), **given)
    values = [np.asarray(given.pop(name), dtype=float) for name in ("variances", "weights", "sigma")]

    def twin(key, variances, weights, sigma):
        return low_rank_mixture_jax(key, **given, variances=variances, weights=weights, sigma=sigma)

    with jax.enable_x64(True):  # jitted, and vmapped over keys
        keys = jax.random.split(jax.random.key(seed), 2)
        both = jax.jit(jax.vmap(twin, in_axes=(0, None, None, None)))(keys, *map(jnp.asarray, values))
        first, second = ([np.asarray(part[i]) for part in both] for i in (0, 1))
    assert not np.allclose(first[0], second[0])
    return NoisyMixture(*first)


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize("which", ["numpy", "jax"])
def test_samples_have_the_moments_of_the_mixture(which, orthogonal):
    n, ranks, variances, weights, sigma = 40000, (1, 3, 2), (1.0, 0.25, 4.0), (0.5, 0.3, 0.2), 0.5
    data = draw(which, 3, n=n, d=7, ranks=ranks, variances=variances, weights=weights, sigma=sigma,
                orthogonal=orthogonal)  # fmt: skip
    assert data.Z.shape == data.X.shape == (n, 7)
    assert data.bases.shape == (3, 7, 3)
    assert np.allclose(np.swapaxes(data.bases, 1, 2) @ data.bases, np.eye(3))
    assert np.array_equal(data.eigenvalues > 0, [[1, 0, 0], [1, 1, 1], [1, 1, 0]])
    counts = np.bincount(data.labels, minlength=3)
    assert stats.chisquare(counts, n * np.array(weights)).pvalue > 1e-6
    for k in range(3):
        mine = data.labels == k
        covariance = data.X[mine].T @ data.X[mine] / mine.sum()
        expected = (data.bases[k] * data.eigenvalues[k]) @ data.bases[k].T
        assert np.abs(covariance - expected).max() < 6 * variances[k] * np.sqrt(2 / mine.sum())
    noise = data.Z - data.X
    assert np.abs(noise.T @ noise / n - sigma**2 * np.eye(7)).max() < 6 * sigma**2 * np.sqrt(2 / n)
    if orthogonal:
        parts = [data.bases[k][:, : ranks[k]] for k in range(3)]
        frame = np.concatenate(parts, axis=1)
        assert np.allclose(frame.T @ frame, np.eye(6))


@pytest.mark.parametrize(
    ("change", "word"),
    [({"ranks": (9,)}, "ranks"), ({"sigma": -1.0}, "sigma"), ({"variances": (1.0, -1.0)}, "variances"),
     ({"weights": (0.5, 0.6)}, "weights"), ({"ranks": (3, 3), "orthogonal": True}, "ranks"), ({"n": 0}, "n=0"),
     ({"variances": (1.0,)}, "variances")],
)  # fmt: skip
def test_bad_samples_are_named(rng, change, word):
    arguments = {"n": 4, "d": 5, "ranks": (1, 2), "variances": (1.0, 2.0), "sigma": 0.1}
    with pytest.raises(InputError, match=word):
        low_rank_mixture(rng, **{**arguments, **change})


# ---------------------------------------------------------------- posterior mean


def instance(seed):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(3, 4.0))
    data = low_rank_mixture(rng, n=4, d=4, ranks=(1, 2, 3), variances=rng.uniform(0.2, 3, 3).tolist(), sigma=0.6,
                            weights=weights.tolist())  # fmt: skip
    return data, weights, 0.36


@SMALL
@given(st.integers(0, 2**32 - 1))
def test_tweedie_by_autodiff(seed):
    data, weights, s2 = instance(seed)

    def log_density(z, bases, lam, w):
        covariance = (bases * lam[:, None, :]) @ jnp.swapaxes(bases, 1, 2) + s2 * jnp.eye(4)
        distance = jnp.einsum("i,kij,j->k", z, jnp.linalg.inv(covariance), z)
        return jax.scipy.special.logsumexp(jnp.log(w) - 0.5 * distance - 0.5 * jnp.linalg.slogdet(covariance)[1])

    with jax.enable_x64(True):
        slope = jax.vmap(jax.grad(log_density), in_axes=(0, None, None, None))
        tweedie = data.Z + s2 * np.asarray(slope(jnp.asarray(data.Z), data.bases, data.eigenvalues, weights))
    closed = theory.posterior_mean(data.Z, data.bases, data.eigenvalues, weights, s2)
    operator = low_rank_denoisers.posterior_mean(data.Z, data.bases, data.eigenvalues, 1.0, 0.6,
                                                 log_priors=np.log(weights))  # fmt: skip
    assert np.abs(closed - tweedie).max() < 1e-10
    assert np.abs(operator - tweedie).max() < 1e-10


def test_posterior_mean_by_importance_sampling(rng):
    data, weights, s2 = instance(5)
    z = data.Z[0]
    clean = low_rank_mixture(rng, n=1, d=4, ranks=(1, 2, 3), variances=(1, 1, 1), sigma=1.0)  # shapes only
    labels = rng.choice(3, size=400_000, p=weights)
    coordinates = np.sqrt(data.eigenvalues[labels]) * rng.standard_normal((labels.size, clean.bases.shape[-1]))
    x = (data.bases[labels] @ coordinates[..., None])[..., 0]
    log = -np.sum((z - x) ** 2, axis=1) / (2 * s2)
    w = np.exp(log - log.max())
    w /= w.sum()
    error = np.sqrt(np.sum(w[:, None] ** 2 * (x - w @ x) ** 2, axis=0))
    closed = theory.posterior_mean(z[None], data.bases, data.eigenvalues, weights, s2)[0]
    assert np.abs(w @ x - closed).max() < 4 * error.max()
    without = theory.posterior_mean(z[None], data.bases, data.eigenvalues, weights, s2, determinant=False)[0]
    assert np.abs(w @ x - without).max() > 6 * error.max()


def test_the_published_projection_is_worse_than_the_posterior_mean(rng):
    """Mean squared errors at rank 3, three subspaces: .125 against .121 at sigma = .2, .568 against .500 at .4."""
    for sigma, best, published in ((0.2, 0.121, 0.125), (0.4, 0.500, 0.568)):
        data = low_rank_mixture(rng, n=60_000, d=9, ranks=(3,) * 3, variances=(1.0,) * 3, sigma=sigma, orthogonal=True)
        given = (data.Z, data.bases, data.eigenvalues, np.ones(3), sigma**2)
        means = [theory.posterior_mean(*given, shrink=shrink) for shrink in (True, False)]
        errors = [np.mean(np.sum((mean - data.X) ** 2, axis=1)) for mean in means]
        assert errors == pytest.approx([best, published], rel=0.03)
    assert laws.PROJECTION_DENOISER_PRINTED.check().refuted
    assert laws.TEMPERATURE_PRINTED.check().refuted


# ---------------------------------------------------------------- integrals


def test_constants_by_gauss_legendre_in_polar_coordinates():
    """C_p over both radii, another rule and other variables; quoted to six decimals."""
    x, w = np.polynomial.legendre.leggauss(300)
    t, wt = 7 * (x + 1), 7 * w
    for p, value in {1: 1.223350, 2: 4.417523, 3: 12.159581}.items():
        shell = 2 ** (1 - p / 2) / special.gamma(p / 2)
        rho, v = t[:, None], t**2
        values = (rho**2 + v) / (1 + np.exp((rho**2 - v) / 2)) ** 2
        found = shell * (wt * t ** (p - 1)) @ values @ (wt * 2 * t * stats.chi2.pdf(v, p))
        assert theory.excess_constant(p) == pytest.approx(found, rel=1e-8)
        assert theory.excess_constant(p) == pytest.approx(value, abs=6e-7)


def test_excess_by_an_adaptive_rule():
    p, s = 3, 0.4
    s2 = s * s

    def integrand(t, r):
        own, other = (1 + s2) * r * r, s2 * t * t
        wrong = 1 / (1 + np.exp((own - other) / (2 * s2 * (1 + s2))))
        density = 4 * r * t * stats.chi2.pdf(r * r, p) * stats.chi2.pdf(t * t, p)
        return density * wrong**2 * (own + other) / (1 + s2) ** 2

    found = integrate.dblquad(integrand, 0, 3, 0, 8, epsabs=1e-7, epsrel=1e-6)[0]
    assert theory.label_excess(p, s) == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize(("p", "quoted"), [(1, 1.2207), (2, 4.404), (3, 12.11)])
def test_ratios_at_a_small_noise(p, quoted):
    assert theory.label_excess(p, 0.025) / 0.025 ** (p + 2) == pytest.approx(quoted, rel=3e-4)


def test_excess_agrees_with_the_double_integral_of_another_system():
    """Orthogonal subspaces of memorization: known labels plus a Gumbel integral, here plus a double integral."""
    for p, s in ((1, 0.3), (2, 0.1), (3, 0.5), (5, 0.7)):
        other = memorization.orthogonal_subspaces_mmse(s**-2, 1.0, p, 2)
        assert theory.mean_squared_error(p, s) == pytest.approx(other, rel=1e-8)


def test_plain_excess_splits_into_shrinkage_and_labels():
    """At large rank labels are known and p s^4/(1+s²) is left; at rank 1 it is negligible."""
    for p, s in ((40, 0.2), (60, 0.1)):
        assert theory.plain_excess(p, s) == pytest.approx(p * s**4 / (1 + s**2), rel=1e-4)
    assert theory.plain_excess(1, 1e-3) == pytest.approx(theory.label_excess(1, 1e-3), rel=2e-3)
    s = 0.01
    slope = np.log(theory.plain_excess(2, s) / theory.plain_excess(2, s / 2)) / np.log(2)
    assert slope == pytest.approx(theory.plain_exponent(2), abs=1e-3)
    # what is left is positive, of order s^(p+4): 11 % of the two at p = 2, s = .3 and 3 % at p = 3, s = .2
    for p, s, share in ((2, 0.3, 0.111), (3, 0.2, 0.032)):
        two = theory.label_excess(p, s) + p * s**4 / (1 + s**2)
        assert theory.plain_excess(p, s) / two - 1 == pytest.approx(share, abs=1e-3)


def test_temperature_makes_the_softmax_a_posterior(rng):
    lam, s2 = 2.0, 0.7
    data = low_rank_mixture(rng, n=6, d=5, ranks=(2, 2), variances=(lam, lam), sigma=s2**0.5)
    energies = np.sum((data.Z @ data.bases) ** 2, axis=-1)
    logs = np.array([stats.multivariate_normal(np.zeros(5), lam * U @ U.T + s2 * np.eye(5)).logpdf(data.Z)
                     for U in data.bases])  # fmt: skip
    odds = (energies[0] - energies[1]) / (2 * theory.temperature(lam, s2))
    assert odds == pytest.approx(logs[0] - logs[1], rel=1e-9)


@pytest.mark.parametrize(
    ("call", "word"), [(lambda: theory.label_excess(0, 0.1), "p="), (lambda: theory.label_excess(2, 0.0), "s="),
                       (lambda: theory.temperature(-1.0, 0.1), "lam"), (lambda: theory.excess_exponent(0), "p=")],
)  # fmt: skip
def test_bad_input_is_named(call, word):
    with pytest.raises(OutOfDomain, match=word):
        call()
