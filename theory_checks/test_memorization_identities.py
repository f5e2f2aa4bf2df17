"""Denoisers, least losses, label certainty by other routes: Bayes integrals, enumeration, information, draws."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import integrate, stats

from lab.data.templates import coloured_templates, procedural_templates, template_components
from lab.errors import OutOfDomain
from lab.models import denoisers, low_rank_denoisers
from lab.models.diffusion import PROCESSES, loss_factor, process
from lab.streams import Stream
from lab.systems.memorization import laws, theory
from lab.systems.memorization.laws.denoising import NoisyMixture, noisy_mixture, tweedie_rounding


def interval(values):
    """99.9 % interval of the mean of many draws."""
    half = stats.norm.isf(5e-4) * np.std(values) / math.sqrt(len(values))
    return np.mean(values) - half, np.mean(values) + half


# ---------------------------------------------------------------------- denoisers


@settings(deadline=None, max_examples=40)
@given(NoisyMixture.strategy())
def test_tweedie_by_automatic_differentiation(p):
    """The law's measurement takes complex steps of dense densities; here torch differentiates them factor by factor."""
    data = noisy_mixture(p, Stream("check", 0))
    gamma = p.alpha**2 * p.v + p.sigma**2
    y = torch.tensor(data["y"], requires_grad=True)
    logits = []
    for U, lam, mu, lp in zip(*(data[k] for k in ("bases", "eigenvalues", "means", "log_priors")), strict=True):
        gap = (y - p.alpha * torch.tensor(mu)).reshape(-1, p.channels, p.P)
        c = gap @ torch.tensor(U)
        rest = gap - c @ torch.tensor(U).T
        width = torch.tensor(gamma + p.alpha**2 * lam)  # along the basis; gamma at right angles to it
        along = (c**2 / width + torch.log(width / gamma)).sum((1, 2))
        logits.append(lp - along / 2 - (rest**2).sum((1, 2)) / (2 * gamma))
    torch.logsumexp(torch.stack(logits), dim=0).sum().backward()
    score = y.grad.numpy()
    expected = np.stack([(data["y"] + p.sigma**2 * score) / p.alpha, -p.sigma * score])
    allowed = np.finfo(float).eps * tweedie_rounding(p, data)
    assert np.all(np.abs(laws.TWEEDIE.predict(p, data) - expected) <= allowed)


def test_low_rank_denoiser_is_the_bayes_integral():
    """E[x|y] by integrating over x: two lines in the plane, thickened."""
    rng = np.random.default_rng(0)
    bases = np.stack([np.linalg.qr(rng.standard_normal((2, 1)))[0] for _ in range(2)])
    lam, v, a, s, y = np.array([[2.0], [0.6]]), 0.3, 0.8, 0.5, np.array([0.7, -0.4])
    grid = np.linspace(-12, 12, 481)
    x = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    density = sum(
        0.5 * stats.multivariate_normal(np.zeros(2), U @ np.diag(one) @ U.T + v * np.eye(2)).pdf(x)
        for U, one in zip(bases, lam, strict=True)
    )
    likelihood = np.exp(-np.sum((y - a * x) ** 2, axis=1) / (2 * s * s)) * density
    expected = likelihood @ x / likelihood.sum()
    got = low_rank_denoisers.posterior_mean(y[None], bases, lam, a, s, variance=v)[0]
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_counting_the_channels_once_gives_another_denoiser_and_a_larger_loss():
    rng = np.random.default_rng(1)
    T = procedural_templates(rng, K=4, shape=(6, 6)).reshape(4, -1) * np.array([1.0, 0.5, 0.25, 0.12])[:, None]
    given_ = template_components(T)
    data = coloured_templates(rng, T, 20_000)
    t = 0.5
    a, s = math.sqrt(1 - t * t), t
    y = a * data.X + s * rng.standard_normal(data.X.shape)
    once = np.log1p(a * a * given_["eigenvalues"][:, 0] / s**2)  # (C - 1)/2 times: undoes two of three channels
    best, published = (low_rank_denoisers.posterior_mean(y, alpha=a, sigma=s, log_priors=q, **given_)
                       for q in (0 * once, once))  # fmt: skip
    assert np.abs(best - published).max() > 0.3
    worse = np.sum((published - data.X) ** 2, axis=1) - np.sum((best - data.X) ** 2, axis=1)
    assert interval(worse)[0] > 0
    distance = np.sum((published - best) ** 2, axis=1)
    low, high = interval(worse - distance)  # excess is distance
    assert low <= 0 <= high


def test_two_point_denoiser_by_enumeration_and_the_printed_sign():
    y, t = 0.4, 0.8
    weights = [math.exp(-((y - x) ** 2) / (2 * t * t)) for x in (1, -1)]
    mean = (weights[0] - weights[1]) / sum(weights)
    assert theory.two_means_denoiser(y, 1.0, 1.0, t) == pytest.approx(mean, rel=1e-14)
    assert mean == pytest.approx(math.tanh(y / t**2))
    assert mean == pytest.approx(0.5546, abs=5e-5)
    assert laws.TWO_POINT_DENOISER_PRINTED.check().refuted
    # with a variance: the isotropic mixture in one dimension
    got = theory.two_means_denoiser(0.4, 1.3, 0.7, 0.6, v=0.5)
    same = denoisers.posterior_mean(np.array([[0.4]]), np.array([[1.3], [-1.3]]), 0.5, 0.7, 0.6)[0, 0]
    assert got == pytest.approx(same, rel=1e-13)


@pytest.mark.parametrize("name", PROCESSES)
def test_elbo_weight_integrates_to_the_information_of_gaussian_data(name):
    """Best denoiser of N(0, lam): the weighted eps loss is half the mmse over psi, and integrates to a log ratio."""
    one, lam = process(name), 0.7
    low, high = {"VP": (0.05, 0.95), "FM": (0.05, 0.95), "VE": (0.1, 20.0), "OU": (0.05, 3.0)}[name]

    def loss(t, target):
        psi = float(one.snr(t))
        x0 = lam / (1 + psi * lam)
        return x0 * float(loss_factor(one, t, target)), psi

    for target in ("eps", "x0", "v", "score"):
        total, _ = integrate.quad(lambda t, k=target: theory.elbo_weight(one, t, k) * loss(t, k)[0], low, high,
                                  epsabs=0, epsrel=1e-11, limit=200)  # fmt: skip
        expected = 0.5 * math.log((1 + lam * one.snr(low)) / (1 + lam * one.snr(high)))
        assert total == pytest.approx(expected, rel=1e-9)
    published, _ = integrate.quad(lambda t: 2 / theory.elbo_weight(one, t) * loss(t, "eps")[0], low, high)
    assert abs(published / expected - 1) > 0.1


# ---------------------------------------------------------------------- losses


def test_the_memorising_denoiser_is_the_minimum_and_its_loss_is_the_posterior_variance():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((20, 8))
    s = 0.9
    index = np.tile(np.arange(20), 2000)
    y = X[index] + s * rng.standard_normal((len(index), 8))
    weights = denoisers.posterior_weights(y, X, 0.0, 1.0, s)
    mem = weights @ X
    direct = np.sum((mem - X[index]) ** 2, axis=1)
    low, high = interval(direct - theory.posterior_variance(weights, X))
    assert low <= 0 <= high
    for _ in range(5):
        other = mem + 0.1 * np.tanh(y @ rng.standard_normal((8, 8)))
        low, high = interval(np.sum((other - X[index]) ** 2, axis=1) - direct - np.sum((other - mem) ** 2, axis=1))
        assert low <= 0 <= high
    pairs = 0.5 * np.einsum("ni,nj,ij->n", weights, weights, np.sum((X[:, None] - X) ** 2, axis=-1))
    np.testing.assert_allclose(theory.posterior_variance(weights, X), pairs, rtol=1e-10, atol=1e-14)
    split = np.sum((y - mem) ** 2, axis=1) + pairs
    np.testing.assert_allclose(theory.posterior_loss(y, weights, X), split, rtol=1e-10)


def test_linear_loss_by_draws_and_at_its_best():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((200_000, 2)) * np.array([1.5, 0.5]) + np.array([1.0, 0.0])
    y = x + 0.8 * rng.standard_normal(x.shape)
    low, high = interval(np.sum((0.4 * y - x) ** 2, axis=1))
    assert low <= theory.linear_loss(0.4, 1 / 0.64, 1.5**2 + 0.5**2 + 1, 2) <= high
    psi, power, d = 0.7, 5.0, 3
    c = np.linspace(0, 1, 100_001)
    best = c[np.argmin(theory.linear_loss(c, psi, power, d))]
    assert best == pytest.approx(psi * power / (d + psi * power), abs=1e-5)


@pytest.mark.parametrize(("radius", "v"), [(1.0, 0.0), (2.0, 0.5)])
@pytest.mark.parametrize("psi", [0.2, 1.0, 3.0])
def test_two_means_mmse_is_twice_the_slope_of_the_mutual_information(radius, v, psi):
    """dI/dpsi = mmse/2, with I = h(y) - h(z) by quadrature of the density of y = sqrt(psi) x + z."""
    mpmath.mp.dps = 30

    def information(ratio):
        width = 1 + ratio * v
        centre = mpmath.sqrt(ratio) * radius

        def term(y):
            p = sum(mpmath.npdf(y, m, mpmath.sqrt(width)) for m in (centre, -centre)) / 2
            return -p * mpmath.log(p)

        end = centre + 14 * mpmath.sqrt(width)
        return mpmath.quad(term, [-end, -centre, 0, centre, end]) - mpmath.log(2 * mpmath.pi * mpmath.e) / 2

    slope = mpmath.diff(information, mpmath.mpf(psi), h=mpmath.mpf("1e-6"))
    error = theory.two_means_label_error(psi / (1 + psi * v), radius)
    assert float(theory.mixture_mmse(psi, 1, v=v, error=error)) == pytest.approx(float(2 * slope), rel=1e-9)


def test_label_errors_agree_with_each_other_and_with_draws():
    for q in (0.02, 0.4, 2.0, 9.0):
        assert theory.label_error(q, [[1.5], [-1.5]]) == pytest.approx(theory.two_means_label_error(q, 1.5), rel=1e-11)
        assert theory.label_error(q, 1.2 * np.eye(3)) == pytest.approx(
            theory.orthogonal_label_error(q, 1.2, 3), rel=1e-10
        )
        # two orthogonal means are two opposite ones, r/sqrt 2 from their middle
        assert theory.orthogonal_label_error(q, 2.0, 2) == pytest.approx(
            theory.two_means_label_error(q, math.sqrt(2)), rel=1e-11
        )
    rng = np.random.default_rng(4)
    means, priors, q = rng.standard_normal((4, 6)), np.array([0.1, 0.2, 0.3, 0.4]), 1.5
    label = rng.choice(4, size=200_000, p=priors)
    y = math.sqrt(q) * means[label] + rng.standard_normal((200_000, 6))
    best = denoisers.posterior_mean(y, means, 0.0, math.sqrt(q), 1.0, np.log(priors))
    low, high = interval(np.sum((best - means[label]) ** 2, axis=1))
    assert low <= theory.label_error(q, means, priors) <= high
    assert theory.label_error(q, means + 5.0, priors) == pytest.approx(theory.label_error(q, means, priors), rel=1e-12)
    assert theory.label_error(0.0, means, priors) == pytest.approx(
        priors @ np.sum((means - priors @ means) ** 2, axis=1)
    )


@pytest.mark.parametrize(("g", "K"), [(0.3, 2), (1.0, 5), (4.0, 20), (9.0, 50)])
def test_orthogonal_agreement_by_the_laplace_integral_and_by_draws(g, K):
    """E p_1 = E int e^-u Phi(u e^(-g - sqrt(g) Z))^(K-1) du, Phi(w) = E exp(-w e^(sqrt(g) Z)): another integral."""
    z, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    root = math.sqrt(g)
    log_u = np.linspace(-40, 5, 1500)
    fine = np.linspace(-9, 9, 1201)
    share = np.exp(-(fine**2) / 2) / np.exp(-(fine**2) / 2).sum()
    table = np.linspace(-80, 40, 6001)
    phi = np.array([share @ np.exp(-np.exp(np.minimum(w + root * fine, 50.0))) for w in table])
    inner = np.interp(log_u[:, None] - g - root * z, table, phi) ** (K - 1) @ weights
    value = np.trapezoid(np.exp(log_u - np.exp(log_u)) * inner, log_u)
    assert theory.orthogonal_agreement(g, K) == pytest.approx(value, rel=1e-4)
    rng = np.random.default_rng(K)
    logits = root * rng.standard_normal((40_000, K))
    logits[:, 0] += g
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    for one in (p[:, 0], np.sum(p**2, axis=1)):
        low, high = interval(one)
        assert low <= theory.orthogonal_agreement(g, K) <= high


def test_two_class_agreement_both_forms_in_high_precision():
    mpmath.mp.dps = 30
    for g in (0.01, 1.0, 25.0):
        for power in (1, 2):
            average = mpmath.quad(
                lambda z, g=g, k=power: mpmath.npdf(z) * mpmath.tanh(g + mpmath.sqrt(g) * z) ** k,
                mpmath.linspace(-13, 13, 14),
            )
            assert float(theory.two_class_agreement(g)) == pytest.approx(float((1 + average) / 2), rel=1e-13)
    assert float(theory.two_class_agreement(1.0)) == pytest.approx(0.7752, abs=5e-7)


def test_nishimori_identity_by_quadrature_for_three_weighted_points():
    points, priors = np.array([-1.0, 0.2, 1.5]), np.array([0.5, 0.2, 0.3])
    y = np.linspace(-12, 12, 40_001)
    joint = priors * stats.norm.pdf(y[:, None], points, 1.0)
    p = joint / joint.sum(1, keepdims=True)
    own = [np.trapezoid(stats.norm.pdf(y, x, 1.0) * p[:, i], y) for i, x in enumerate(points)]
    squares = [np.trapezoid(stats.norm.pdf(y, x, 1.0) * np.sum(p**2, axis=1), y) for x in points]
    assert priors @ own == pytest.approx(priors @ squares, rel=1e-12)
    other = stats.norm.pdf(y[:, None], points, 1.4) * priors
    other = other / other.sum(1, keepdims=True)
    own = [np.trapezoid(stats.norm.pdf(y, x, 1.0) * other[:, i], y) for i, x in enumerate(points)]
    squares = [np.trapezoid(stats.norm.pdf(y, x, 1.0) * np.sum(other**2, axis=1), y) for x in points]
    assert abs(priors @ own - priors @ squares) > 0.01


# ---------------------------------------------------------------------- subspaces


def planar_mmse(bases, lam, psi):
    """Least loss of lines in the plane, E|x|² - E|E[x|y]|² by the trapezoid rule over y = x + z/sqrt(psi)."""
    s = 1 / math.sqrt(psi)
    half = 9 * math.sqrt(lam.max() + s * s)
    grid = np.linspace(-half, half, 360)
    y = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    joint, parts = [], []
    for U, one in zip(bases, lam, strict=True):
        covariance = one[0] * U @ U.T + s * s * np.eye(2)
        joint.append(stats.multivariate_normal(np.zeros(2), covariance).pdf(y) / len(bases))
        parts.append(y @ (one[0] * U @ U.T @ np.linalg.inv(covariance)).T)
    joint, parts = np.array(joint), np.array(parts)
    density = joint.sum(0)
    mean = np.sum(joint[:, :, None] * parts, axis=0) / np.maximum(density, 1e-300)[:, None]
    return lam.mean() - np.sum(density * np.sum(mean**2, axis=1)) * (grid[1] - grid[0]) ** 2


@pytest.mark.parametrize("psi", [0.5, 4.0])
def test_subspaces_in_the_plane_by_quadrature(psi):
    lines = np.eye(2)[:, :, None]
    equal = np.full((2, 1), 1.3)
    two, one = planar_mmse(lines, equal, psi), planar_mmse(lines[:1], equal[:1], psi)
    assert theory.orthogonal_subspaces_mmse(psi, 1.3, 1, 2) == pytest.approx(two, rel=1e-9)
    assert theory.orthogonal_subspaces_mmse(psi, 1.3, 1, 1) == pytest.approx(one, rel=1e-9)
    rng = np.random.default_rng(5)
    for _ in range(3):  # any lines: known labels are a lower bound, attained by one line
        angle = rng.uniform(0, math.pi, 3)
        bases, lam = np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, :, None], np.exp(rng.standard_normal((3, 1)))
        bound = theory.low_rank_mmse(psi, lam)
        assert planar_mmse(bases, lam, psi) > bound
        assert planar_mmse(bases[:1], lam[:1], psi) == pytest.approx(theory.low_rank_mmse(psi, lam[:1]), rel=1e-9)


def test_subspaces_by_draws_of_the_dense_denoiser():
    rng = np.random.default_rng(6)
    K, r, lam, psi, n = 3, 2, 1.5, 1.0, 60_000
    label = rng.integers(K, size=n)
    x = np.zeros((n, K * r))
    for k in range(K):
        x[label == k, k * r : (k + 1) * r] = math.sqrt(lam) * rng.standard_normal(((label == k).sum(), r))
    y = x + rng.standard_normal(x.shape) / math.sqrt(psi)
    logits, means = [], []
    for k in range(K):
        variance = np.full(K * r, 1 / psi)
        variance[k * r : (k + 1) * r] += lam
        logits.append(-np.sum(y**2 / variance + np.log(variance), axis=1) / 2)
        means.append(y * (1 - 1 / psi / variance))
    p = np.exp(np.array(logits) - np.max(logits, axis=0))
    best = np.sum((p / p.sum(0))[:, :, None] * np.array(means), axis=0)
    low, high = interval(np.sum((best - x) ** 2, axis=1))
    assert low <= theory.orthogonal_subspaces_mmse(psi, lam, r, K) <= high


@pytest.mark.parametrize("r", [1, 2, 3])
def test_excess_over_known_labels_has_the_exponent_of_confusion(r):
    psi = np.array([3e3, 3e4, 3e5])
    excess = [theory.orthogonal_subspaces_mmse(q, 1.0, r, 3) / (r / (1 + q)) - 1 for q in psi]
    slopes = np.diff(np.log(excess)) / np.diff(np.log(psi))
    assert slopes[-1] == pytest.approx(theory.confusion_exponent(r), abs=2e-3)
    assert abs(slopes[-1] - theory.confusion_exponent(r)) < abs(slopes[0] - theory.confusion_exponent(r))


@pytest.mark.parametrize("call", [
    lambda: theory.two_class_agreement(-1.0), lambda: theory.orthogonal_agreement(1.0, 0),
    lambda: theory.label_error(1.0, np.eye(6)), lambda: theory.label_error(1.0, np.eye(2), [0.5, 0.6]),
    lambda: theory.mixture_mmse(-1.0, 3, v=1.0), lambda: theory.low_rank_mmse(1.0, [[-1.0]]),
    lambda: theory.orthogonal_subspaces_mmse(1.0, 0.0, 1, 2), lambda: theory.linear_loss(0.5, 0.0, 1.0, 3),
    lambda: theory.posterior_variance(np.array([[0.5, 0.6]]), np.eye(2)),
    lambda: theory.elbo_weight(process("VE"), 0.0), lambda: theory.two_means_denoiser(1.0, 1.0, 1.0, 0.0),
    lambda: theory.confusion_exponent(0),
])  # fmt: skip
def test_bad_input_is_refused(call):
    with pytest.raises(OutOfDomain):
        call()
