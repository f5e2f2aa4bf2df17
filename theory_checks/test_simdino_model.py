"""The solvable model of self-distillation by independent routes: eigenvalues, autodiff, root finding, minimisation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.models.self_distillation import linear_distillation
from lab.systems.simdino import theory

seeds = st.integers(0, 2**32 - 1)
SMALL = settings(deadline=None, max_examples=25)


@pytest.fixture(autouse=True, scope="module")
def double():
    with jax.enable_x64(True):
        yield



@SMALL
@given(seeds)
def test_noise_fractions_are_generalised_eigenvalues(seed):
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((2, 4, 4))
    signal, noise = A @ A.T, B @ B.T
    expected = scipy.linalg.eigh(noise, signal + noise, eigvals_only=True)
    assert theory.noise_fractions(signal, noise) == pytest.approx(expected, rel=1e-6, abs=1e-10)


@jax.jit
def linear_map(v, C, cross, eps, gamma, momentum, step):
    """One training step of the linear encoder (3, 2) by autodiff of its population loss, and its derivative."""

    def parts(v):
        student, teacher = v[:6].reshape(3, 2), v[6:].reshape(3, 2)

        def loss(W):
            align = 0.5 * jnp.trace(W.T @ C @ W) - jnp.trace(W.T @ cross @ teacher)
            return align - gamma * 0.5 * jnp.linalg.slogdet(jnp.eye(2) + 2 / eps**2 * W.T @ C @ W)[1]

        moved = student - step * jnp.linalg.solve(C, jax.grad(loss)(student))
        return jnp.concatenate([moved.ravel(), (momentum * teacher + (1 - momentum) * moved).ravel()])

    return parts(v), jax.jacfwd(parts)(v)


NU, EPS = np.array([0.3, 0.5, 0.8]), 0.6


@pytest.mark.parametrize("gain", [0.2, 0.4, 0.6, 0.95])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_fixed_point_is_stable_and_settles_at_the_slowest_rate(gain, momentum):
    gamma = gain * EPS**2 / 2
    F = np.random.default_rng(4).standard_normal((3, 3))
    C, cross = F.T @ F, F.T @ np.diag(1 - NU) @ F
    assert theory.noise_fractions(cross, C - cross) == pytest.approx(NU, rel=1e-9)
    s = theory.waterfilling_spectrum(NU, 2, eps=EPS, gamma=gamma)
    there = np.tile(np.linalg.solve(F, np.eye(3)[:, :2] * np.sqrt(s)).ravel(), 2)
    after, derivative = linear_map(there, C, cross, EPS, gamma, momentum, 0.7)
    assert np.abs(after - there).max() < 1e-12
    values = np.sort(np.abs(np.linalg.eigvals(derivative)))[::-1]
    neutral = int(s[0] > 0)  # rotations of the features cost nothing, once there are any
    assert np.sum(values > 1 - 1e-9) == neutral
    slowest = theory.slowest_relaxation(NU, 2, eps=EPS, gamma=gamma, momentum=momentum, step=0.7)
    assert 1 - values[neutral] == pytest.approx(slowest, rel=1e-6)


@pytest.mark.parametrize("modes", [(0,), (1,), (0, 2), (1, 2)])
def test_other_fixed_points_are_unstable(modes):
    gamma, W = 0.9 * EPS**2 / 2, np.zeros((3, 2))
    for k, i in enumerate(modes):
        W[i, k] = math.sqrt(gamma / NU[i] - EPS**2 / 2)
    there = np.tile(W.ravel(), 2)
    after, derivative = linear_map(there, np.eye(3), np.diag(1 - NU), EPS, gamma, 0.5, 0.7)
    assert np.abs(after - there).max() < 1e-12
    assert np.abs(np.linalg.eigvals(derivative)).max() > 1 + 1e-3


def test_waterfilling_minimises_its_potential_mode_by_mode():
    # with the teacher at the student the pull is that of (1/2) sum nu_i s_i - (gamma/2) sum log(1 + c s_i)
    nu, eps, gamma = np.array([0.1, 0.3, 0.6, 0.7]), 0.9, 0.08
    c = 3 / eps**2
    s = theory.waterfilling_spectrum(nu, 3, eps=eps, gamma=gamma)
    for one, found in zip(nu, s, strict=False):
        best = scipy.optimize.minimize_scalar(
            lambda x, one=one: one * x - gamma * math.log1p(c * x), bounds=(0, 10), method="bounded",
            options={"xatol": 1e-12},
        )  # fmt: skip
        assert found == pytest.approx(best.x, abs=1e-6)
    assert theory.filled_modes(nu, 3, eps=eps, gamma=gamma) == np.sum(s > 0)


def test_known_value_without_stop_gradient():
    # c = 4, nu = .05, gamma = .04: .04/.05 - 1/4 with it, .04/.1 - 1/4 = .15 without
    options = {"moment": np.eye(1), "cross": np.array([[0.95]]), "eps": 0.5, "gamma": 0.04, "momentum": 0.0}
    tied = linear_distillation(np.ones((1, 1)), leak=1.0, **options)
    assert float(tied.student[0, 0] ** 2) == pytest.approx(0.15, abs=1e-9)
    stopped = linear_distillation(np.ones((1, 1)), **options)
    assert float(stopped.student[0, 0] ** 2) == pytest.approx(0.55, abs=1e-8)
    half = linear_distillation(np.ones((1, 1)), of="mean", **{**options, "gamma": 0.08})
    assert float(half.student[0, 0] ** 2) == pytest.approx(0.55, abs=1e-8)  # the mean halves the push of gamma
    at_zero = linear_distillation(np.zeros((1, 1)), **options)
    assert at_zero.student[0, 0] == 0


def test_a_mode_without_noise_grows_without_end():
    gamma, m, eta = 0.3, 0.8, 0.5
    student = teacher = 1.0
    for _ in range(200_000):
        push = gamma * 4 * student / (1 + 4 * student**2)
        student -= eta * (student - teacher - push)
        teacher = m * teacher + (1 - m) * student
    slope = theory.noiseless_slope(gamma, momentum=m, step=eta)
    assert student**2 / 200_000 == pytest.approx(slope, rel=1e-3)
    with pytest.raises(ValueError, match="normalise"):
        theory.waterfilling_spectrum([0.0, 0.5], 2, eps=0.5, gamma=0.1)
