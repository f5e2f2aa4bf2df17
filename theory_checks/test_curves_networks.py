"""Finite networks on curves: autodiff, exact enumeration, high precision, eigenvectors against closed forms, loops."""

import doctest
import importlib
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch

from lab.data.curves import pair_angles, symmetric_pair
from lab.errors import InputError, OutOfDomain
from lab.models import relu_networks
from lab.models.angle_kernels import angles, limit_kernel
from lab.systems import curves
from lab.systems.curves import theory


@pytest.mark.parametrize(
    "name", ["lab.models.relu_networks", "lab.systems.curves.ntk_test", "lab.systems.curves.theory.finite_width",
             "lab.systems.curves.theory.training", "lab.systems.curves.theory.random_networks"],
)  # fmt: skip
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


# ---------------------------------------------------------------------- networks


def network(seed=0, width=5, depth=3, dimension=4, points=6):
    rng = np.random.default_rng(seed)
    shapes = [(dimension, width), *[(width, width)] * (depth - 1), (width,)]
    weights = [rng.standard_normal(shape) for shape in shapes]
    return weights, rng.standard_normal((points, dimension)), rng.standard_normal(points)


def plain(weights, X):
    """The network written once more, with plain JAX."""
    for W in weights[:-1]:
        X = jax.nn.relu(X @ W)
    return X @ weights[-1]


def test_kernel_and_gradient_are_those_of_autodiff():
    weights, X, factors = network()
    with jax.enable_x64(True):
        leaves = [jnp.asarray(W) for W in weights]
        jacobian = jax.jit(jax.jacrev(plain))(leaves, jnp.asarray(X))
        flat = np.concatenate([np.asarray(J).reshape(len(X), -1) for J in jacobian], axis=1)
        slopes = jax.jit(jax.grad(lambda w: jnp.sum(factors * plain(w, X))))(leaves)
    np.testing.assert_allclose(relu_networks.empirical_ntk(weights, X), flat @ flat.T, rtol=1e-12)
    np.testing.assert_allclose(relu_networks.empirical_ntk(weights, X, X[:2]), flat @ flat[:2].T, rtol=1e-12)
    for found, right in zip(relu_networks.gradient(weights, X, factors), slopes, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("convert", [torch.asarray, jnp.asarray], ids=["torch", "jax"])
def test_libraries_agree_and_leading_axes_are_networks(convert):
    several = [network(seed)[0] for seed in range(3)]
    _, X, _ = network()
    with jax.enable_x64(True):
        batch = [convert(np.stack(layer)) for layer in zip(*several, strict=True)]
        found = np.asarray(relu_networks.empirical_ntk(batch, convert(X)))
    wanted = np.stack([relu_networks.empirical_ntk(weights, X) for weights in several])
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_descent_is_that_of_autodiff():
    weights, X, targets = network(seed=1)
    with jax.enable_x64(True):
        now, residuals = [jnp.asarray(W) for W in weights], []
        slope = jax.jit(jax.grad(lambda w: jnp.mean((plain(w, X) - targets) ** 2) / 2))
        for _ in range(4):
            residuals.append(plain(now, X) - targets)
            now = [W - 1e-3 * g for W, g in zip(now, slope(now), strict=True)]
        residuals.append(plain(now, X) - targets)
        found = relu_networks.descend([jnp.asarray(W) for W in weights], jnp.asarray(X), targets, step=1e-3, steps=4)
        np.testing.assert_allclose(found.residuals, residuals, rtol=1e-11)
        for W, right in zip(found.weights, now, strict=True):
            np.testing.assert_allclose(W, right, rtol=1e-11, atol=1e-13)


def test_linear_descent_is_that_of_eigenvectors():
    weights, X, residual = network(seed=2)
    kernel = relu_networks.empirical_ntk(weights, X)
    values, vectors = np.linalg.eigh(kernel / len(X))
    step = 1 / values[-1]
    wanted = [(vectors * (1 - step * values) ** k) @ (vectors.T @ residual) for k in range(6)]
    with jax.enable_x64(True):
        found = relu_networks.linear_descent(jnp.asarray(kernel), jnp.asarray(residual), step=step, steps=5)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_labels_of_a_symmetric_pair_are_an_eigenvector():
    points, depth, width, step, steps = 7, 3, 50, 1e-3, 9
    data = symmetric_pair(0.5, 0.4, points=points)
    kernel = limit_kernel(angles(data.X), depth, width)
    same, cross = pair_angles(0.5, 0.4, 2 * np.pi * np.arange(points) / points)
    low, high = theory.pair_eigenvalues(*(limit_kernel(nu, depth, width).mean() for nu in (same, cross)))
    np.testing.assert_allclose(kernel @ data.labels / (2 * points), low * data.labels, rtol=1e-12)
    assert np.linalg.eigvalsh(kernel / (2 * points))[-1] == pytest.approx(high, rel=1e-12)
    powers = np.linalg.matrix_power(np.eye(2 * points) - step * kernel / (2 * points), steps) @ data.labels
    assert np.sqrt(np.mean(powers**2)) == pytest.approx(theory.residuals(low, step, steps)[-1], rel=1e-12)


def test_bad_networks_are_named():
    weights, X, _ = network()
    with pytest.raises(InputError, match="rows of the dimension"):
        relu_networks.outputs(weights, X[:, :2])
    with pytest.raises(InputError, match="width=0"):
        relu_networks.relu_init(jax.random.key(0), 0, 2, 3)


def test_first_layer_has_its_own_scale():
    scaled, plain_ones = (
        relu_networks.relu_init(jax.random.key(0), 8, 2, 3, first_gain=gain, networks=(2,)) for gain in (8.0, 2.0)
    )
    np.testing.assert_allclose(scaled[0], 2 * plain_ones[0], rtol=1e-6)
    assert [W.shape for W in scaled] == [(2, 3, 8), (2, 8, 8), (2, 8)]
    np.testing.assert_array_equal(scaled[1], plain_ones[1])


# ---------------------------------------------------------------------- exact variance


@pytest.mark.parametrize("gain", [2.0, 0.7])
@pytest.mark.parametrize("width", [1, 2, 7, 100])
def test_one_layer_is_a_sum_of_independent_neurons(width, gain):
    """Theta = sum of (gain/n) g_+² + v² 1{g > 0}: moments of one term, by hand."""
    c = gain / width
    first, second = c / 2 + 0.5, 1.5 * c**2 + c + 1.5
    mean, square = theory.kernel_moments(width, 1, gain=gain)
    assert mean == pytest.approx(width * first, rel=1e-14)
    assert square == pytest.approx(width * second + width * (width - 1) * first**2, rel=1e-14)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_one_neuron_is_a_product(depth):
    """n = 1: with G = 2 g_+², D = 1{g > 0}, Theta = prod G + v² sum_l D_l prod_{m != l} G_m; half of the layers die."""
    L = depth
    square = 6.0**L + 2 * L * 6.0 ** (L - 1) + 3 * (L * 0.5 * 6.0 ** (L - 1) + L * (L - 1) * 6.0 ** (L - 2))
    mean, found = theory.kernel_moments(1, depth)
    assert mean == 1 + L / 2
    assert found == pytest.approx(square, rel=1e-14)


def test_two_layers_of_two_neurons_by_plain_sampling():
    """Dead layers, with probability 1/4 each, are counted exactly; one million plain networks, no code shared."""
    rng, n = np.random.default_rng(0), 2
    W1, v = rng.standard_normal((2, 10**6, n))
    W2 = rng.standard_normal((10**6, n, n))
    a = np.maximum(W1, 0)
    pre = np.einsum("sij,sj->si", W2, a)
    b, back = np.maximum(pre, 0), v * (pre > 0)
    below = np.einsum("si,sij->sj", back, W2) * (W1 > 0)
    theta = (b**2).sum(1) + (a**2).sum(1) * (back**2).sum(1) + (below**2).sum(1)
    mean, second = theory.kernel_moments(n, 2)
    assert abs(theta.mean() - mean) < 4 * theta.std() / 1e3
    assert abs((theta**2).mean() - second) < 4 * (theta**2).std() / 1e3


def test_quoted_values():
    assert theory.relative_variance(10**4, 10**3) == pytest.approx(0.45812, abs=5e-6)
    assert float(theory.variance_limit(0.1)) == pytest.approx(0.45827, abs=5e-6)


@pytest.mark.parametrize("beta", [1e-9, 1e-3, 0.1, 0.499, 0.5, 2.0])
def test_limit_of_the_variance_to_40_digits(beta):
    with mpmath.workdps(40):
        b = mpmath.mpf(beta)
        bracket = b**2 / 3 + 2 * b / 9 - (1 - mpmath.e ** (-6 * b)) / 27
        wanted = mpmath.e ** (5 * b) / b**2 * bracket - 1
    assert float(theory.variance_limit(beta)) == pytest.approx(float(wanted), rel=1e-15)


def test_parametrisation_with_factors_in_the_layers():
    """By differentiation: weights standard normal, sqrt(2/n) in the layers; hidden parts are 2/n of the usual."""
    width, depth = 12, 2

    def apply(params, x):
        for W in params[:-1]:
            x = jax.nn.relu(math.sqrt(2 / width) * W @ x)
        return params[-1] @ x

    def init(key):
        keys = jax.random.split(key, depth + 1)
        shapes = [(width, 3), (width, width), (width,)]
        return [jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)]

    found = curves.kernel_test(apply, width, depth, init=init, parametrisation="ntk", networks=1000)
    assert found.passes, str(found)
    assert not curves.kernel_test(apply, width, depth, init=init, networks=1000).passes
    params = init(jax.random.key(1))
    x = jnp.full(3, 3**-0.5)
    own = sum(float(jnp.sum(g**2)) for g in jax.grad(apply)(params, x))
    usual = [math.sqrt(2 / width) * W.T for W in params[:-1]]
    whole = float(relu_networks.empirical_ntk([*usual, params[-1]], x[None])[0, 0])
    readout = float(jnp.sum(relu_networks.features([*usual, params[-1]], x[None])[-1] ** 2))
    assert own == pytest.approx(readout + 2 / width * (whole - readout), rel=1e-5)
    mean, _ = theory.kernel_moments(width, depth, hidden=2 / width)
    assert mean == pytest.approx(1 + depth)


def test_random_networks_are_nearly_constant():
    nu = np.linspace(0, np.pi, 200)
    for depth in (1, 2, 5, 30, 300):
        assert (theory.initial_difference(nu, depth) <= theory.initial_difference_bound(depth)).all()
    assert theory.initial_difference(1.0, 3) == pytest.approx(0.495, abs=5e-4)


def test_domains():
    for call in (lambda: theory.kernel_moments(0, 2), lambda: theory.variance_limit(-1.0),
                 lambda: theory.variance_slope(0), lambda: theory.residuals(-1.0, 0.1, 3)):  # fmt: skip
        with pytest.raises(OutOfDomain):
            call()


# ---------------------------------------------------------------------- the test for anyone's kernel


def kernels(rng, count, *, width=12, draw=None, first=1.0):
    """Kernels of networks with two hidden layers at a unit input, in plain numpy."""
    draw = draw or rng.standard_normal
    scale = math.sqrt(2 / width)
    W1, W2 = scale * math.sqrt(first) * draw((count, width)), scale * draw((count, width, width))
    v = draw((count, width))
    a = np.maximum(W1, 0)
    pre = (W2 @ a[..., None])[..., 0]
    b, back = np.maximum(pre, 0), v * (pre > 0)
    below = (back[:, None] @ W2)[:, 0] * (W1 > 0)
    return (b**2).sum(1) + (a**2).sum(1) * (back**2).sum(1) + (below**2).sum(1)


def test_correct_kernels_pass():
    assert all(curves.kernel_test(kernels, 12, 2, seed=seed).passes for seed in range(30))


def test_wrong_kernels_are_refuted_and_named():
    found = curves.kernel_test(lambda rng, count: kernels(rng, count, first=4.0), 12, 2)
    assert not found.mean_passes
    assert found.likely == "a first layer of variance 2/3"
    uniform = curves.kernel_test(
        lambda rng, count: kernels(rng, count, draw=lambda shape: rng.uniform(-(3**0.5), 3**0.5, shape)), 12, 2
    )
    assert uniform.mean_passes  # only the variance sees that weights are not Gaussian
    assert not uniform.variance_passes
    assert "refuted" in str(uniform)


def test_wrong_input_of_the_test_is_named():
    with pytest.raises(InputError, match="it must return 4000 finite kernels"):
        curves.kernel_test(lambda rng, count: np.ones(3), 12, 2)
    with pytest.raises(InputError, match="exceeds"):
        curves.kernel_test(kernels, 8, 2)
    with pytest.raises(InputError, match="'standard' or 'ntk'"):
        curves.kernel_test(kernels, 12, 2, parametrisation="mean field")
