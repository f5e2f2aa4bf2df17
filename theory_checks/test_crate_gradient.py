"""Rate gradient, its expansion and one step of it: autodiff, brute force, finite differences."""

import doctest
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.data.tokens import noisy_subspace_tokens
from lab.errors import OutOfDomain
from lab.models import white_box
from lab.systems.crate import laws, theory

SMALL = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)


def plain_rate(Z, U, beta):
    """R^c in the tokens-as-columns form of the paper, head by head."""
    X = Z.T
    return sum(0.5 * jnp.linalg.slogdet(jnp.eye(u.shape[1]) + beta * (u.T @ X) @ (u.T @ X).T)[1] for u in U)


@pytest.fixture(scope="module")
def autodiff():
    compiled = jax.jit(jax.value_and_grad(plain_rate))

    def call(*arguments):
        with jax.enable_x64(True):
            return [np.asarray(a) for a in compiled(*(jnp.asarray(a) for a in arguments))]
    return call


@pytest.fixture
def rng():
    return np.random.default_rng(20230601)


def instance(seed, n=7, d=5, K=3, p=2):
    rng = np.random.default_rng(seed)
    U = np.stack([np.linalg.qr(rng.standard_normal((d, p)))[0] for _ in range(K)])
    return rng.standard_normal((n, d)) * 10 ** rng.uniform(-1, 1), U, 10 ** rng.uniform(-1, 1)


def rate(Z, U, beta):
    return float(sum(0.5 * np.log1p(beta * np.linalg.svd(Z @ u, compute_uv=False) ** 2).sum() for u in U))


@pytest.mark.parametrize("name", ["attention", "cap", "denoising", "descent", "gradient", "ista", "reversal"])
def test_docstrings_run(name):
    module = importlib.import_module(f"lab.systems.crate.theory.{name}")
    assert doctest.testmod(module).failed == 0


# ---------------------------------------------------------------- the gradient


@SMALL
@given(seeds)
def test_gradient_agrees_with_autodiff_and_with_the_operator(autodiff, seed):
    Z, U, beta = instance(seed)
    value, gradient = autodiff(Z, U, beta)
    closed = theory.rate_gradient(Z, U, beta)
    size = np.abs(gradient).max()
    assert value == pytest.approx(rate(Z, U, beta), rel=1e-12)
    assert np.abs(closed - gradient).max() <= 1e-11 * size
    assert np.abs(white_box.subspace_rate_gradient(Z, U, beta=beta) - gradient).max() <= 1e-11 * size


def test_the_filter_is_one_matrix_for_all_tokens_and_ignores_what_heads_do_not_see(rng):
    Z, U, beta = instance(3, d=9)
    frame = U[:1]
    outside = np.linalg.qr(np.concatenate([frame[0], rng.standard_normal((9, 7))], axis=1))[0][:, 2:]
    step = theory.rate_gradient(Z, frame, beta)
    assert np.abs(step @ outside).max() < 1e-14
    M = np.linalg.lstsq(Z @ frame[0], step @ frame[0], rcond=None)[0]
    assert np.abs(Z @ frame[0] @ M - step @ frame[0]).max() < 1e-12  # one p x p matrix
    assert np.allclose(theory.rate_gradient(Z + 3 * rng.standard_normal((7, 7)) @ outside.T, frame, beta), step)


def test_logdet_gradient_by_finite_differences_is_twice_the_printed_one():
    z, alpha, h = 0.3, 1.7, 1e-6
    slope = (np.log1p(alpha * (z + h) ** 2) - np.log1p(alpha * (z - h) ** 2)) / (2 * h)
    printed = theory.logdet_gradient([[z]], alpha, factor=1.0)[0, 0]
    assert theory.logdet_gradient([[z]], alpha)[0, 0] == pytest.approx(slope, rel=1e-8)
    assert slope == pytest.approx(2 * printed, rel=1e-8)
    assert laws.LOGDET_GRADIENT_PRINTED.check().refuted


# ---------------------------------------------------------------- Neumann


@SMALL
@given(seeds)
def test_neumann_error_is_exact_in_the_singular_basis(seed):
    rng = np.random.default_rng(seed)
    W, beta = rng.standard_normal((9, 4)), 10 ** rng.uniform(-2, 1)
    left, s, right = np.linalg.svd(W, full_matrices=False)
    error = theory.rate_gradient(W, np.eye(4)[None], beta) - theory.neumann_gradient(W, beta)
    expected = left @ np.diag(theory.neumann_error(s, beta)) @ right
    assert np.abs(error - expected).max() <= 1e-12 * (1 + (beta * s[0] ** 2) ** 2) * np.abs(expected).max() + 1e-15


def test_the_expansion_turns_against_the_gradient(rng):
    """Cosines fall from 1 through 0 to below it as the largest reduced eigenvalue grows past 1."""
    W = noisy_subspace_tokens(rng, class_sizes=(64,) * 4, rank=16, delta=0.1).blocks
    cosines = {}
    for eps in (0.3, 1.0, 3.0, 6.0):
        beta = 16 / (256 * eps**2)
        exact = white_box.head_rate_gradient(W, beta=beta)
        expanded = white_box.head_rate_gradient(W, beta=beta, form="neumann")
        cosines[eps] = np.sum(exact * expanded) / np.sqrt(np.sum(exact**2) * np.sum(expanded**2))
    assert cosines[0.3] < -0.5
    assert cosines[1.0] < -0.5
    assert 0.5 < cosines[3.0] < 0.98
    assert cosines[6.0] > 0.99


def test_condition_of_the_expansion_on_noisy_tokens(rng):
    """Largest singular value about sqrt(N_k) + sqrt(p), so eps² > (p/N)(sqrt N_k + sqrt p)²."""
    n, p = 400, 100
    W = noisy_subspace_tokens(rng, class_sizes=(n,) * 3, rank=p, delta=1e-3).blocks
    edge = (np.sqrt(n) + np.sqrt(p)) ** 2
    width = np.sqrt(edge) * (n**-0.5 + p**-0.5) ** (1 / 3)  # of the Tracy-Widom fluctuation around it
    assert abs(np.linalg.norm(W[0], 2) ** 2 - edge) < 5 * width


def test_the_printed_derivation_is_right_only_for_beta_one():
    W = np.random.default_rng(0).standard_normal((6, 3)) * 0.01
    for beta, right in ((1.0, True), (5.0, False), (0.2, False)):
        exact = theory.rate_gradient(W, np.eye(3)[None], beta)
        first, printed = (theory.neumann_gradient(W, beta, power=q) for q in (1.0, 2.0))
        x, second = beta * np.linalg.norm(W, 2) ** 2, np.linalg.norm(exact - beta * W)
        assert np.linalg.norm(exact - first) <= 2 * x * second  # what is left is of the next order
        assert (np.linalg.norm(exact - printed) <= 2 * x * second) == right
    assert laws.MSSA_DERIVATION_PRINTED.check().refuted


# ---------------------------------------------------------------- descent


@SMALL
@given(seeds, st.floats(0.01, 2.0))
def test_descent_bound_for_any_frames(autodiff, seed, t):
    Z, U, beta = instance(seed)
    L = beta * np.linalg.norm(sum(u @ u.T for u in U), 2)
    value, G = autodiff(Z, U, beta)
    after = rate(Z - t / L * G, U, beta)
    assert after <= value - theory.guaranteed_decrease(t) * np.sum(G**2) / L + 1e-11 * (1 + value)


def test_beyond_two_the_rate_of_weak_tokens_rises(rng):
    Z, U = 1e-4 * rng.standard_normal((6, 4)), np.eye(4)[None]
    for t, rises in ((1.99, False), (2.5, True)):
        after = rate(Z - t * theory.rate_gradient(Z, U, 1.0), U, 1.0)
        assert (after > rate(Z, U, 1.0)) == rises


def test_ridge_projection_is_ridge_regression(rng):
    """Each head's coordinates become the fit of a ridge regression of themselves on themselves."""
    Z, beta = rng.standard_normal((8, 6)), 0.7
    frame = np.linalg.qr(rng.standard_normal((6, 4)))[0]
    U = np.stack([frame[:, :2], frame[:, 2:]])
    out = theory.ridge_projection(Z, U, beta)
    for u in U:
        W = Z @ u
        fit = np.linalg.solve(W.T @ W + np.eye(2) / beta, W.T @ W)
        assert np.allclose(out @ u, W @ fit)
    rest = np.eye(6) - frame @ frame.T
    assert np.allclose(out @ rest, Z @ rest)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: theory.resolvent(8, 8, 4, -1.0, 0.1), "beta"),
        (lambda: theory.gains([8.0], 4, 1.0, 0.1, 1.0), "sizes"),
        (lambda: theory.cosines([8, 8], 4, 1.0, 0.0), "delta"),
        (lambda: theory.guaranteed_decrease(-1.0), "reduced_step"),
        (lambda: theory.reduction_cap(0, 3), "heads"),
        (lambda: theory.step_decrease(0.0), "reduced_step"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(OutOfDomain, match=word):
        call()
