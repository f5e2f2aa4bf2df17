"""Flow of one head: autodiff, high precision, brute force and plain formulas against closed forms and operators."""

import doctest
import importlib

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import integrate, optimize, special

from lab.data.bigram_contexts import random_contexts
from lab.errors import InputError, OutOfDomain
from lab.models import bigram_head
from lab.systems.bigram_backcopy import dynamics, theory

ROOMS = ("adam", "backcopy", "drain", "gauge", "joint", "necessity", "onset", "phases", "random_contexts", "relu",
         "residual", "risk", "sink")  # fmt: skip


def instance(seed, **sizes):
    rng = np.random.default_rng(seed)
    c = random_contexts(rng, **{"queries": 3, "vocabulary": 5, "length": 10, "samples": 4, **sizes})
    return c, rng.standard_normal(len(c.shares)), rng.standard_normal(c.probabilities.shape[1])


def plain_risk(alpha, beta, c, bias=None):
    """Cross-entropy minus entropy, written with softmax and logarithms."""
    p, a = c.probabilities[:, None, :], jnp.exp(alpha)[:, None, None]
    delta = (a * beta + c.values) / (a + c.lengths[..., None]) + (0.0 if bias is None else bias[:, None, :])
    kl = jnp.sum(p * (jnp.log(p) - jax.nn.log_softmax(jnp.log(p) + delta)), axis=-1)
    return jnp.sum(c.shares * kl.mean(1))


@pytest.mark.parametrize("room", ROOMS)
def test_examples_in_docstrings(room):
    module = importlib.import_module(f"lab.systems.bigram_backcopy.theory.{room}")
    assert doctest.testmod(module).failed == 0


def test_examples_of_contexts():
    assert doctest.testmod(importlib.import_module("lab.data.bigram_contexts")).failed == 0


def test_gradients_and_curvature_are_those_of_autodiff():
    c, alpha, beta = instance(0)
    with jax.enable_x64(True):
        assert bigram_head.risk(alpha, beta, c) == pytest.approx(float(plain_risk(alpha, beta, c)), rel=1e-12)
        wanted = jax.jit(jax.grad(plain_risk, argnums=(0, 1)))(jnp.asarray(alpha), jnp.asarray(beta), c)
        for found, right in zip(bigram_head.gradients(alpha, beta, c)[:2], wanted, strict=True):
            np.testing.assert_allclose(found, np.asarray(right), atol=1e-15)
        whole = jax.jit(jax.hessian(lambda y: plain_risk(y[:3], y[3:], c)))(jnp.asarray(np.r_[alpha, beta]))
        np.testing.assert_allclose(bigram_head.hessian(alpha, beta, c), np.asarray(whole), atol=1e-14)


def test_bias_gradients_and_curvature_are_those_of_autodiff():
    c, alpha, beta = instance(5, queries=2, vocabulary=3)
    bias = np.random.default_rng(1).standard_normal((2, 3))
    with jax.enable_x64(True):
        right = jax.jit(jax.grad(plain_risk, argnums=3))(alpha, beta, c, jnp.asarray(bias))
        np.testing.assert_allclose(bigram_head.gradients(alpha, beta, c, bias=bias)[2], np.asarray(right), atol=1e-15)
        second = jax.jit(jax.hessian(lambda y: plain_risk(y[:2], y[2:5], c, y[5:].reshape(2, 3))))(
            jnp.asarray(np.r_[alpha, beta, bias.ravel()])
        )
    by_alpha, by_beta, by_bias = bigram_head.bias_hessian(alpha, beta, c, bias)
    for v, rows in enumerate((slice(5, 8), slice(8, 11))):
        np.testing.assert_allclose(by_alpha[v], second[rows, v], atol=1e-14)
        np.testing.assert_allclose(by_beta[v], second[rows, 2:5], atol=1e-14)
        np.testing.assert_allclose(by_bias[v], second[rows, rows], atol=1e-14)


def test_relu_gradients_are_those_of_autodiff():
    c, alpha, beta = instance(3)
    alpha, kappa = np.abs(alpha), np.full(3, 0.2)

    def plain(alpha, kappa, beta):
        p = c.probabilities[:, None, :]
        delta = jax.nn.relu(alpha)[:, None, None] * beta + jax.nn.relu(kappa)[:, None, None] * c.values
        kl = jnp.sum(p * (jnp.log(p) - jax.nn.log_softmax(jnp.log(p) + delta)), axis=-1)
        return jnp.sum(c.shares * kl.mean(1))

    with jax.enable_x64(True):
        wanted = jax.jit(jax.grad(plain, argnums=(0, 1, 2)))(*map(jnp.asarray, (alpha, kappa, beta)))
    for found, right in zip(bigram_head.relu_gradients(alpha, kappa, beta, c), wanted, strict=True):
        np.testing.assert_allclose(found, np.asarray(right), atol=1e-15)


def test_tiny_risks_keep_relative_precision():
    """40 digits at alpha = 15, where a difference of logarithms in float64 keeps none."""
    c, _, _ = instance(7, queries=1, samples=1)
    found = bigram_head.risk(np.array([15.0]), np.full(5, 0.3), c)
    with mpmath.workdps(40):
        p = [mpmath.mpf(float(x)) for x in c.probabilities[0]]
        p = [x / mpmath.fsum(p) for x in p]
        a, W = mpmath.e**15, mpmath.mpf(float(c.lengths[0, 0]))
        delta = [(a * mpmath.mpf(0.3) + mpmath.mpf(float(B))) / (a + W) for B in c.values[0, 0]]
        kl = mpmath.log(mpmath.fsum(x * mpmath.e**d for x, d in zip(p, delta, strict=True)))
        kl -= mpmath.fsum(x * d for x, d in zip(p, delta, strict=True))
        assert found == pytest.approx(float(kl * mpmath.mpf(float(c.shares[0]))), rel=1e-9)
    assert found < 1e-10


def test_operators_are_the_same_in_every_library():
    c, alpha, beta = instance(11)
    with jax.enable_x64(True):
        wrapped = type(c)(*map(jnp.asarray, c))
        for found, right in zip(
            bigram_head.gradients(jnp.asarray(alpha), jnp.asarray(beta), wrapped),
            bigram_head.gradients(alpha, beta, c), strict=True,
        ):  # fmt: skip
            np.testing.assert_allclose(np.asarray(found), right, atol=1e-15)


# ---------------------------------------------------------------------- sinks


def query(seed):
    c, _, _ = instance(seed, queries=1, samples=1)
    return c.probabilities[0], float(c.shares[0]), c.values[0, 0], float(c.lengths[0, 0])


def test_sink_time_in_high_precision():
    p, pi, B, W = query(0)
    with mpmath.workdps(30):
        P, values = [mpmath.mpf(float(x)) for x in p], [mpmath.mpf(float(b)) for b in B]
        total = mpmath.fsum(P)

        def rate(alpha):
            a = mpmath.e**alpha
            s = 1 / (a + W)
            weight = [x * mpmath.e ** (s * b) for x, b in zip(P, values, strict=True)]
            tilted = mpmath.fsum(w * b for w, b in zip(weight, values, strict=True)) / mpmath.fsum(weight)
            plain = mpmath.fsum(x * b for x, b in zip(P, values, strict=True)) / total
            return pi * a * s**2 * (tilted - plain)

        right = mpmath.quad(lambda x: 1 / rate(x), mpmath.linspace(0, 9, 19))
    assert theory.sink_time(9.0, p, pi, B, W) == pytest.approx(float(right), rel=1e-11)
    assert theory.sink_logit(float(right), p, pi, B, W) == pytest.approx(9.0, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_expansion_of_the_sink_improves_order_by_order(seed):
    p, pi, B, W = query(seed)
    t = W**2 / (2 * pi * theory.cumulants(p, B)[1]) * np.array([1e6, 1e8])
    exact = theory.sink_logit(t, p, pi, B, W)
    errors = np.array([np.abs(theory.half_log(t, p, pi, B, W, order=k) - exact) for k in (1, 2, 3)])
    # a hundred times the time: 10, 100/(log ratio), 100 times the precision
    assert (errors[:-1] > 3 * errors[1:]).all()
    assert errors[0, 0] / errors[0, 1] == pytest.approx(10, rel=0.05)
    assert 60 < errors[1, 0] / errors[1, 1] < 100


def test_sink_needs_values_that_vary():
    with pytest.raises(OutOfDomain, match="must vary on the support"):
        theory.sink_time(1.0, [0.5, 0.5, 0.0], 1.0, [2.0, 2.0, 5.0], 4.0)


@pytest.mark.parametrize("eps", [1e-6, 1e-4, 1e-3])
def test_missed_attention_solves_its_equation(eps):
    p, _, B, W = query(3)
    b = B / W
    u = float(theory.missed_attention(eps, p, b))
    assert np.log(p @ np.exp(u * b)) - u * (p @ b) == pytest.approx(eps, rel=1e-8)
    assert theory.missed_attention_small(eps, p, b) == pytest.approx(u, rel=2 * np.sqrt(eps) + 1e-9)


def test_universal_correction_by_quadrature():
    p, pi, B, W = query(2)
    t = W**2 / (2 * pi * theory.cumulants(p, B)[1]) * 1e8
    alpha = theory.sink_logit(t, p, pi, B, W)
    kl = theory.risk_without_sink(p, B / (np.exp(alpha) + W))  # the risk at s = 1/(e^alpha + W)
    C = theory.universal_correction(p[None], np.array([pi]), B[None], np.array([W]))
    assert (4 * t * pi * kl - 1) * np.sqrt(t) == pytest.approx(C, rel=1e-2)
    assert theory.universal_risk(2.0, 3) == pytest.approx(0.375)


@pytest.mark.parametrize("seed", range(3))
def test_onset_expansion_by_an_integral(seed):
    p, _, B, W = query(seed)
    b = B / W

    def h(r):
        q = p * np.exp(b / (1 + r))
        return (1 + r) ** 2 / ((q / q.sum() - p) @ b)

    for r in (1e-2, 1e-3):
        integral = integrate.quad(lambda s: h(s) / s**2 / h(0.0), r, 1, epsabs=0, epsrel=1e-11, limit=200)[0]
        found, rest = theory.onset_expansion(r, p, B, W)
        assert abs(found - r * integral) <= rest + 1e-9
        assert rest < 10 * r**2


@pytest.mark.parametrize("seed", range(6))
def test_phase_is_where_the_risk_is_least(seed):
    c, _, beta = instance(seed, queries=4, samples=1)
    beta = beta * 10.0 ** np.random.default_rng(seed).uniform(-2, 0)
    B, W = c.values[:, 0], c.lengths[:, 0]
    label = theory.phase(c.probabilities, beta, B, W)
    for v in range(4):
        one = type(c)(*(x[v : v + 1] for x in c))
        grid = np.linspace(-12, 12, 2001) + np.log(W[v])
        risks = [float(bigram_head.risk(np.array([a]), beta, one)) for a in grid]
        best = int(np.argmin(risks))
        assert label[v] == (1 if best == 2000 else -1 if best == 0 else 0)
        if label[v] == 0:
            assert theory.finite_logit(c.probabilities, beta, B, W)[v] == pytest.approx(grid[best], abs=0.02)


# ---------------------------------------------------------------------- value and joint flow


def test_drained_value_makes_every_query_exact():
    p = np.array([[0.2, 0.8, 0, 0, 0], [0, 0, 0.3, 0.7, 0]])
    B, beta = np.array([1.0, 2.0, 0.5, 3.0, 4.0]), np.array([1.0, -1.0, 2.0, 0.0, 7.0])
    end = theory.drained_value(p, 0.5, B, beta)
    assert theory.token_components(p).tolist() == [0, 0, 2, 2, 4]
    kept = end + np.exp(-0.5) * B
    assert kept[0] == pytest.approx(kept[1])
    assert kept[2] == pytest.approx(kept[3])
    np.testing.assert_allclose([end[:2].sum(), end[2:4].sum(), end[4]], [0.0, 2.0, 7.0], atol=1e-12)
    with pytest.raises(OutOfDomain, match="components"):
        theory.drain_rate(p, [1.0, 1.0], 0.0, 3.0)


@pytest.mark.parametrize("seed", range(5))
def test_conserved_quantity_is_orthogonal_to_the_gradient(seed):
    c, alpha, beta = instance(seed, samples=1, shared=True)
    B, W = c.values[0, 0], float(c.lengths[0, 0])
    by_alpha, by_beta, _ = bigram_head.gradients(alpha, beta, c)
    change = (W * beta - B) @ by_beta - (np.exp(alpha) + W) @ by_alpha  # gradient of Q, along the force
    assert change == pytest.approx(0, abs=1e-13)
    A, end = theory.final_logit(alpha, beta, B, W), theory.final_value(alpha, beta, B, W)
    start = theory.conserved(alpha, beta, B, W)
    assert theory.conserved(np.full(3, A), end, B, W) == pytest.approx(start, abs=1e-8)
    assert bigram_head.risk(np.full(3, A), end, c) < 1e-25


@pytest.mark.parametrize("seed", range(20))
def test_scaling_problem_by_another_solver(seed):
    c, _, _ = instance(seed)
    found = theory.scaling_solution(c.probabilities, c.shares, c.values)
    G, _ = theory.scaling_matrix(c.probabilities, c.shares, c.values)
    u = np.exp(-found.offsets)
    np.testing.assert_allclose(u * (G @ u), 1, atol=1e-8)
    right = optimize.minimize(lambda x: np.exp(x) @ G @ np.exp(x) / 2 - x.sum(), -found.offsets + 0.1, tol=1e-12)
    np.testing.assert_allclose(right.x, -found.offsets, atol=1e-4)
    # published form: rho² = pi (rho <b, C m> + E)
    p, pi, b = c.probabilities, c.shares, found.value
    for v, rho in enumerate(np.exp(found.offsets)):
        C = np.diag(p[v]) - np.outer(p[v], p[v])
        E = np.mean([B @ C @ B for B in c.values[v]])
        assert rho**2 == pytest.approx(pi[v] * (rho * b @ C @ c.values[v].mean(0) + E), rel=1e-6)


def test_one_shared_context_has_no_scaling_solution():
    c, _, _ = instance(0, samples=1, shared=True)
    with pytest.raises(OutOfDomain, match="do not differ"):
        theory.scaling_solution(c.probabilities, c.shares, c.values)


def test_flow_follows_small_steps_of_descent():
    c, alpha, beta = instance(4)
    slow = dynamics.descent(c, alpha, beta, rate=1e-3, steps=2000, record=2000)
    flow = dynamics.joint_flow(c, alpha, beta, np.array([2.0]))
    np.testing.assert_allclose(slow.alpha[-1], flow.alpha[0], atol=2e-3)
    np.testing.assert_allclose(slow.beta[-1], flow.beta[0], atol=2e-3)


# ---------------------------------------------------------------------- backcopy, residual, Adam


def test_copy_value_is_lamberts():
    t = np.array([0.0, 0.3, 5.0, 60.0])
    c = 0.7 * t + 1.5 + np.exp(1.5) / 8
    np.testing.assert_allclose(
        theory.copy_value(t, 9, weight=0.7, start=1.5), c - special.lambertw(np.exp(c) / 8).real, atol=1e-11
    )


@pytest.mark.parametrize("c", [-0.4, 0.0, 0.5])
def test_balanced_residual_solves_the_balance(c):
    u = np.array([0.3, 1.0, 4.0])
    np.testing.assert_allclose(theory.balanced_residual(10.0, c, theory.balance(10.0, u, c)), u, rtol=1e-10)
    y = np.sqrt(1e8 + 1)
    growth = theory.residual_growth(np.exp(300.0), c) / np.sqrt(300.0)
    assert theory.balanced_residual(y, c, 0.0) / np.sqrt(y) == pytest.approx(growth, rel=1e-3)


def test_adam_speed_is_the_only_root():
    for eta, b1, b2 in ((1e-3, 0.9, 0.99), (0.03, 0.9, 0.99), (0.05, 0.0, 0.95)):
        cap = theory.adam_speed_cap(b2)
        s = np.linspace(1e-7, cap * (1 - 1e-9), 20001)
        gap = eta * (1 - b1) / (1 - b1 * np.exp(s)) * np.sqrt((1 - b2 * np.exp(2 * s)) / (1 - b2)) - s
        assert np.sum(gap[:-1] * gap[1:] < 0) == 1
        assert theory.adam_speed(eta, b1, b2) == pytest.approx(s[np.argmin(np.abs(gap))], abs=2 * cap / 20000)
    with pytest.raises(OutOfDomain, match="b1\\^2 < b2"):
        theory.adam_speed(0.05, 0.9, 0.7)


def test_bad_input_gets_a_sentence():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="share one sample"):
        random_contexts(rng, queries=2, vocabulary=3, length=4, samples=2, shared=True)
    with pytest.raises(OutOfDomain, match="sum to 1"):
        theory.cumulants([0.5, 0.6], [1.0, 2.0])
    with pytest.raises(OutOfDomain, match="above the risk"):
        theory.missed_attention(10.0, [0.5, 0.5], [0.1, 0.2])
