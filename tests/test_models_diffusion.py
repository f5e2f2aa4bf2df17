"""Processes, conversions, mixture denoisers, DDIM and the copy criterion: three libraries, autodiff, brute force."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from lab.data.mixtures import gmm_orthogonal, gmm_sphere, gmm_sphere_jax, gmm_two, low_rank_gmm, simplex
from lab.errors import InputError, OutOfDomain
from lab.models import denoisers
from lab.models.diffusion import PROCESSES, convert, ddim, equal_angle_times, loss_factor, process
from lab.objectives.memorization import memorization_ratio, memorized, nearest_two, squared_distances

TIMES = {"VP": 0.37, "FM": 0.37, "VE": 1.7, "OU": 0.6}
TARGETS = ("x0", "eps", "v", "score")


@pytest.mark.parametrize("name", PROCESSES)
def test_slopes_are_derivatives_and_ratios_invert(name):
    p, t = process(name), TIMES[name]
    with jax.enable_x64(True):
        assert float(jax.grad(p.alpha)(t)) == pytest.approx(float(p.alpha_slope(t)), rel=1e-12, abs=1e-12)
        assert float(jax.grad(p.sigma)(t)) == pytest.approx(float(p.sigma_slope(t)), rel=1e-12)
    assert float(p.time_of_ratio(p.sigma(t) / p.alpha(t))) == pytest.approx(t, rel=1e-12)
    assert float(p.snr(t)) == pytest.approx(float(p.alpha(t) ** 2 / p.sigma(t) ** 2))


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("source", TARGETS)
@pytest.mark.parametrize("target", TARGETS)
def test_conversions_and_loss_factors(name, source, target):
    p, t, rng = process(name), TIMES[name], np.random.default_rng(0)
    x, z, wrong = rng.standard_normal((3, 5, 4))
    y = p.alpha(t) * x + p.sigma(t) * z

    def quantity(x0, kind):
        eps = (y - p.alpha(t) * x0) / p.sigma(t)
        return {"x0": x0, "eps": eps, "score": -eps / p.sigma(t),
                "v": p.alpha_slope(t) * x0 + p.sigma_slope(t) * eps}[kind]  # fmt: skip

    got = convert(quantity(wrong, source), y, t, p, source=source, target=target)
    np.testing.assert_allclose(got, quantity(wrong, target), rtol=1e-11, atol=1e-11)
    loss = np.sum((quantity(wrong, target) - quantity(x, target)) ** 2)
    assert loss == pytest.approx(loss_factor(p, t, target) * np.sum((wrong - x) ** 2), rel=1e-11)


def plain_log_density(y, means, v, a, s, log_priors):
    gamma = a * a * v + s * s
    logits = [lp - jnp.sum((y - a * mu) ** 2) / (2 * gamma) for lp, mu in zip(log_priors, means, strict=True)]
    return jax.scipy.special.logsumexp(jnp.stack(logits)) - len(y) / 2 * jnp.log(gamma)


@pytest.mark.parametrize("v", [0.0, 0.3])
def test_denoisers_are_derivatives_of_the_log_density(v):
    rng = np.random.default_rng(1)
    means, y, lp = rng.standard_normal((4, 3)), rng.standard_normal((6, 3)), np.log([0.1, 0.2, 0.3, 0.4])
    a, s = 0.8, 0.6
    with jax.enable_x64(True):
        expected = jax.vmap(jax.grad(lambda one: plain_log_density(one, means, v, a, s, lp)))(jnp.asarray(y))
    got = denoisers.score(y, means, v, a, s, lp)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)
    eps, x0 = denoisers.noise_and_mean(y, means, v, a, s, lp)
    np.testing.assert_allclose(eps, -s * got, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(x0, (y + s * s * got) / a, rtol=1e-11, atol=1e-12)  # Tweedie
    weights = denoisers.posterior_weights(y, means, v, a, s, lp)
    pairs = 0.5 * np.einsum("ni,nj,ij->n", weights, weights, np.sum((means[:, None] - means) ** 2, axis=-1))
    np.testing.assert_allclose(denoisers.posterior_spread(weights, means), pairs, rtol=1e-10, atol=1e-14)


def test_three_libraries_agree_and_batches_are_batches():
    rng = np.random.default_rng(2)
    means, y = rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 6, 3))
    lp, v, a, s = np.log([0.1, 0.2, 0.7, 1e-300]), 0.4, np.array([0.9, 0.5]), np.array([0.3, 0.8])
    call = lambda f, to: f(to(y), to(means), v, to(a)[:, None, None], to(s)[:, None, None], to(lp))  # noqa: E731
    for f in (denoisers.predicted_noise, denoisers.posterior_mean, denoisers.posterior_weights):
        expected = call(f, np.asarray)
        alone = f(y[1], means[1], v, a[1], s[1], lp)
        np.testing.assert_allclose(expected[1], alone, rtol=1e-12)
        np.testing.assert_allclose(call(f, torch.asarray).numpy(), expected, rtol=1e-12)
        with jax.enable_x64(True):
            np.testing.assert_allclose(call(f, jnp.asarray), expected, rtol=1e-12)


def test_a_left_out_component_does_not_exist():
    rng = np.random.default_rng(3)
    means, y = rng.standard_normal((5, 3)), rng.standard_normal((4, 3))
    lp = np.array([0.0, 0.0, 0.0, -np.inf, -1e9])
    got = denoisers.predicted_noise(y, means, 0.2, 0.7, 0.5, lp)
    np.testing.assert_allclose(got, denoisers.predicted_noise(y, means[:3], 0.2, 0.7, 0.5), rtol=1e-13)


def test_precision_at_little_noise():
    """At sigma = 1e-3 weights of point masses need float64; the noise that a model predicts does not."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((50, 30)) * 2
    a, s = math.sqrt(1 - 1e-6), 1e-3
    y = a * X[:20] + s * rng.standard_normal((20, 30))
    assert np.all(denoisers.posterior_weights(y, X, 0.0, a, s).argmax(1) == np.arange(20))
    exact = denoisers.predicted_noise(y, X, 0.05, a, s)
    single = denoisers.predicted_noise(y.astype("f4"), X.astype("f4"), np.float32(0.05), np.float32(a), np.float32(s))
    good = np.abs(single - exact).max()
    assert good < 1e-6, "of noise of size one"
    x0 = denoisers.posterior_mean(y.astype("f4"), X.astype("f4"), np.float32(0.05), np.float32(a), np.float32(s))
    divided = (y.astype("f4") - np.float32(a) * x0) / np.float32(s)
    assert np.abs(divided - exact).max() > 100 * good, "a difference divided by sigma is worse"
    spread = denoisers.log_weights(y, X, 0.0, a, s)
    coarse = denoisers.log_weights(y.astype("f4"), X.astype("f4"), np.float32(0), np.float32(a), np.float32(s))
    assert np.abs(coarse - spread).max() > 0.5, "float32 logits of point masses are off by O(1)"


@pytest.mark.parametrize("name", PROCESSES)
def test_ddim_follows_the_flow_of_one_gaussian(name):
    """From N(0, start variance), the exact flow ends at std sqrt((a0² lam + s0²)/(aL² lam + sL²)) of the start's."""
    p = process(name)
    top, lam = {"VP": 0.999, "FM": 0.999, "VE": 50.0, "OU": 4.0}[name], 0.7
    start = np.random.default_rng(5).standard_normal((3, 4))
    errors = []
    for steps in (200, 400):
        times = equal_angle_times(p, lam, steps, start=top, stop=0.01)
        end = ddim(lambda y, t: denoisers.predicted_noise(y, np.zeros((1, 4)), lam, p.alpha(t), p.sigma(t)), start,
                   times, p)  # fmt: skip
        a0, s0, a1, s1 = p.alpha(0.01), p.sigma(0.01), p.alpha(top), p.sigma(top)
        exact = math.sqrt((a0**2 * lam + s0**2) / (a1**2 * lam + s1**2))
        errors.append(1 - np.mean(end / start) / exact)
    assert 0 < errors[1] < errors[0] < 0.02
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.02)
    with jax.enable_x64(True):
        same = ddim(lambda y, t: denoisers.predicted_noise(y, jnp.zeros((1, 4)), lam, p.alpha(t), p.sigma(t)),
                    jnp.asarray(start), times, p)  # fmt: skip
        np.testing.assert_allclose(same, end, rtol=1e-10)


def test_copies_by_brute_force_in_three_libraries():
    rng = np.random.default_rng(6)
    X, x = rng.standard_normal((2, 9, 3)), rng.standard_normal((2, 40, 3))
    x[:, :5] = X[:, :5] + 1e-9 * rng.standard_normal((2, 5, 3))
    brute = np.sort(np.sum((x[:, :, None] - X[:, None]) ** 2, axis=-1), axis=-1)
    first, second = nearest_two(x, X)
    np.testing.assert_allclose(first, brute[..., 0], rtol=1e-10)
    np.testing.assert_allclose(second, brute[..., 1], rtol=1e-10)
    np.testing.assert_allclose(squared_distances(x, X).min(-1), brute[..., 0], atol=1e-13)
    expected = (brute[..., 0] <= brute[..., 1] / 9).mean(-1)
    np.testing.assert_allclose(memorization_ratio(x, X), expected)
    np.testing.assert_allclose(memorization_ratio(torch.asarray(x), torch.asarray(X)).numpy(), expected)
    with jax.enable_x64(True):
        np.testing.assert_allclose(memorization_ratio(jnp.asarray(x), jnp.asarray(X)), expected)
    double = np.repeat(X[0], 2, axis=0)
    assert memorized(X[0], double).all(), "a copy of a duplicate is a copy"


def test_generators():
    rng = np.random.default_rng(7)
    d, N = 6, 20000
    mixture = gmm_sphere(rng, d, 3, 0.5, None, N, priors=(0.7, 0.2, 0.1))
    np.testing.assert_allclose(np.sum(mixture.means**2, axis=1), d)
    np.testing.assert_allclose(np.bincount(mixture.labels) / N, [0.7, 0.2, 0.1], atol=0.02)
    np.testing.assert_allclose(np.var(mixture.X - mixture.means[mixture.labels]), 0.5, rtol=0.02)
    with jax.enable_x64(True):
        traced = jax.jit(lambda key, v: gmm_sphere_jax(key, d, 3, v, N))(jax.random.key(0), 0.5)
    np.testing.assert_allclose(np.var(np.asarray(traced.X) - np.asarray(traced.means)[traced.labels]), 0.5, rtol=0.02)
    np.testing.assert_allclose(np.sum(np.asarray(traced.means) ** 2, axis=1), d)
    assert gmm_two(rng, d, 2.0, N=10).means[:, 0].tolist() == [2.0, -2.0]
    np.testing.assert_allclose(gmm_orthogonal(rng, d, 4, 2.0, N=10).means @ np.eye(d)[:, :4], 2 * np.eye(4))
    for n in (1, 2, 7):
        X = simplex(n, d, 3.0)
        gaps = np.sum((X[:, None] - X) ** 2, axis=-1)
        np.testing.assert_allclose(gaps, 3.0 * (1 - np.eye(n)), atol=1e-12)
    low = low_rank_gmm(rng, d, 2, (2.0, 0.5), N, orthogonal=True)
    inside = np.einsum("ndr,nd->nr", low.bases[low.labels], low.X)
    np.testing.assert_allclose(np.var(inside, axis=0), [2.0, 0.5], rtol=0.05)
    np.testing.assert_allclose(np.sum(inside**2), np.sum(low.X**2), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: process("vp"), "VP"),
        (lambda: loss_factor(process("VP"), 0.5, "x"), "x0"),
        (lambda: ddim(lambda y, t: y, np.zeros((2, 2)), np.array([0.5]), process("VP")), "L >= 1"),
        (lambda: equal_angle_times(process("VP"), 1.0, 3, start=0.1, stop=0.5), "start > stop"),
        (lambda: simplex(5, 3), "N <= d"),
        (lambda: gmm_orthogonal(np.random.default_rng(0), 3, 4, 1.0), "K=4"),
        (lambda: gmm_sphere(np.random.default_rng(0), priors=(0.5, 0.5)), "add up to 1"),
        (lambda: memorized(np.zeros((2, 3)), np.zeros((1, 3))), "at least 2"),
        (lambda: memorized(np.zeros((2, 3)), np.zeros((4, 2))), "must agree"),
        (lambda: denoisers.score(np.zeros((2, 3)), np.zeros((4, 2)), 1.0, 1.0, 1.0), "must agree"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises((InputError, OutOfDomain), match=message):
        call()
