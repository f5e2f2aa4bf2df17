"""Flattening: layers against autodiff and brute force, curvature against samples, closed forms in high precision."""

import doctest
import importlib

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import integrate, optimize

from lab.data.flattening import arc, ball_patch, sine_graph
from lab.errors import OutOfDomain
from lab.models import flattening_layers as maps
from lab.models.flatnet import FlatNet, fit_patch
from lab.models.flattening_layers import Layer
from lab.systems.flatnet import theory
from lab.systems.flatnet.laws import (
    DECODER_PRINTED,
    FLATTENING_PRINTED,
    INVERSE_BOUND,
    INVERTIBLE_LAYER,
)

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("name", ["inversion", "budget", "curvature", "decoding", "local_model", "topology"])
def test_examples_of_the_docstrings(name):
    assert doctest.testmod(importlib.import_module(f"lab.systems.flatnet.theory.{name}")).failed == 0


def a_layer(D=4, d=2, alpha=0.5, gamma=1.3):
    basis = np.linalg.qr(RNG.standard_normal((D, D)))[0]
    model = basis[:, d:] @ RNG.standard_normal((D - d, d * (d + 1) // 2))
    centre = RNG.standard_normal(D)
    return Layer(centre, basis[:, :d], gamma, alpha, centre + 0.1, model, 0.3 * np.ones(D), 1.7)


# ---------------------------------------------------------------- one layer


@pytest.mark.parametrize(("D", "d"), [(2, 1), (5, 2)])
def test_derivative_by_autodiff(D, d):
    layer = a_layer(D, d, alpha=0.8)
    for x in layer.centre + RNG.standard_normal((5, D)):
        relative = x - layer.centre
        t = np.linalg.norm(relative @ layer.frame)
        eta = np.sqrt(relative @ relative - t**2)
        with jax.enable_x64(True):
            slope = np.array(jax.jacobian(lambda y: maps.encode(y, Layer(*map(jnp.asarray, layer))))(jnp.asarray(x)))
        slope = slope * layer.scale
        exact = theory.determinant(t, eta, layer.gamma, layer.alpha, D - d)
        assert np.linalg.det(slope) == pytest.approx(exact, rel=1e-12)
        smallest = theory.smallest_singular_value(t, eta, layer.gamma, layer.alpha, D - d)
        assert np.linalg.svd(slope, compute_uv=False)[-1] == pytest.approx(smallest, rel=1e-12)


def test_smallest_singular_value_over_a_grid():
    """Never below 1 - alpha; below 1 - k by up to .33 % at alpha = .5, .57 % at .9."""
    t, eta = np.meshgrid(np.linspace(0, 3, 301), np.linspace(0, 3, 301))
    for alpha, dip in ((0.5, 0.9967), (0.9, 0.9943)):
        smallest = theory.smallest_singular_value(t, eta, 1.0, alpha, 1)
        assert np.min(smallest) >= 1 - alpha - 1e-15
        assert np.min(smallest / (1 - theory.kernel_value(t, eta, 1.0, alpha))) == pytest.approx(dip, abs=1e-4)


def test_exact_inverse_by_bracketing():
    """The scalar equation solved by bisection in 30 digits."""
    layer = a_layer(3, 1, alpha=0.97, gamma=2.0)
    z = maps.encode(layer.centre + RNG.standard_normal((20, 3)), layer)
    back = maps.decode_exact(z, layer)
    for one, x in zip(z, back, strict=True):
        relative = one * layer.scale + layer.shift - layer.centre
        u = relative @ layer.frame
        normal = relative - layer.frame @ u
        e = np.linalg.norm(normal)
        with mpmath.workdps(30):
            low, high = mpmath.mpf(e), mpmath.mpf(e) / (1 - mpmath.mpf(0.97))
            for _ in range(100):
                eta = (low + high) / 2
                above = eta * (1 - mpmath.mpf(0.97) * mpmath.exp(-2 * (float(u @ u) + eta**2))) > e
                low, high = (low, eta) if above else (eta, high)
        np.testing.assert_allclose(x, layer.centre + layer.frame @ u + normal * float(eta) / e, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_layers_are_the_same_in_every_library(library):
    layer, x = a_layer(), RNG.standard_normal((2, 6, 4))
    expected = [maps.encode(x, layer)]
    expected += [maps.decode_exact(expected[0], layer), maps.decode_quadratic(expected[0], layer)]
    if library == "torch":
        import torch

        other = Layer(*(torch.as_tensor(v) if isinstance(v, np.ndarray) else v for v in layer))
        code = maps.encode(torch.as_tensor(x), other)
        found = [code, maps.decode_exact(code, other), maps.decode_quadratic(code, other)]
    else:
        with jax.enable_x64(True):
            other = Layer(*(jnp.asarray(v) for v in layer))
            code = jax.jit(maps.encode)(jnp.asarray(x), other)
            found = [code, maps.decode_exact(code, other), maps.decode_quadratic(code, other)]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(expected[1], x, rtol=1e-12, atol=1e-13)


def test_the_bound_of_the_inverse_is_that_of_brute_force():
    """Largest stretch of exact decoding between nearby codes, by search over points and directions."""
    layer = a_layer(3, 1, alpha=0.6, gamma=1.0)
    x = layer.centre + 1.5 * RNG.standard_normal((4000, 3))
    x[:1500] = layer.centre + 0.01 * RNG.standard_normal((1500, 3))
    z = maps.encode(x, layer)
    step = 1e-6 * RNG.standard_normal(z.shape)
    stretch = np.linalg.norm(maps.decode_exact(z + step, layer) - x, axis=1) / np.linalg.norm(step, axis=1)
    bound = theory.inverse_bound([0.6], [layer.scale])
    assert 0.98 * bound < stretch.max() < bound * (1 + 1e-6)
    assert theory.round_trip_bound([0.6, 0.6], [1.7, 1.0], 5.0) == pytest.approx(10 * (1.7 / 0.4 + 1.7 / 0.16))


# ---------------------------------------------------------------- curvature


@pytest.mark.parametrize("offset", [0.0, 0.02])
def test_new_second_derivative_by_autodiff(offset):
    gamma, alpha, second = 50.0, 0.4, 1.3

    def height(s):
        h = second * s**2 / 2 + 0.7 * s**3 - 2 * s**4
        blank = jnp.zeros(2)
        layer = Layer(jnp.array([0.0, offset]), jnp.eye(2)[:, :1], gamma, alpha, blank, blank[:, None], blank, 1.0)
        return maps.encode(jnp.stack([s, h]), layer)[1]

    with jax.enable_x64(True):
        found = float(jax.grad(jax.grad(height))(jnp.asarray(0.0)))
    assert theory.new_second_derivative(second, gamma, alpha, offset) == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3, 6])
def test_sphere_offset_by_adaptive_quadrature(d):
    def moment(power, gamma):
        def density(x):  # y = x²
            return 2 * x ** (2 * power + d - 1) * (2 - x * x) ** (d / 2 - 1) * np.exp(-2 * gamma * x * x)

        return integrate.quad(density, 0, min(np.sqrt(2), 9 / np.sqrt(gamma)), epsabs=0, epsrel=1e-10, limit=200)[0]

    for gamma in (5.0, 50.0, 5000.0):
        expected = moment(1, gamma) / moment(0, gamma)
        assert theory.sphere_offset(d, gamma) == pytest.approx(expected, rel=1e-7)
    assert theory.sphere_offset(d, 5000.0) == pytest.approx(theory.local_mean_offset(d, 5000.0), rel=1e-3)


@pytest.mark.parametrize(("d", "quoted"), [(1, 0.249), (2, 0.001), (4, -0.496), (6, -0.991), (8, -1.479)])
def test_quoted_trace_factors(d, quoted):
    """Published centre, alpha = .5, narrow kernel on a sphere: the exact factor at the offset of the mean."""
    gamma = 1000.0
    exact = theory.new_second_derivative(1.0, gamma, 0.5, theory.sphere_offset(d, gamma))
    assert theory.trace_factor(0.5, d) == pytest.approx(quoted, abs=0.022)
    assert exact == pytest.approx(theory.trace_factor(0.5, d), abs=0.02)


@pytest.mark.parametrize(("alpha", "mean", "sample"), [(0.5, 0.2518, 0.5002), (0.3, 0.551, 0.7001)])
def test_quoted_factors_of_the_circle(alpha, mean, sample):
    """Radius 1, gamma = 50; the quoted ones are measured."""
    gamma = 50.0
    found = theory.new_second_derivative(1.0, gamma, alpha, theory.sphere_offset(1, gamma))
    assert found == pytest.approx(mean, abs=1e-3)
    assert theory.new_second_derivative(1.0, gamma, alpha) == pytest.approx(sample, abs=1e-3)


@pytest.mark.parametrize(("d", "centre"), [(2, "sample"), (3, "mean")])
def test_curvature_of_samples(d, centre):
    """Many samples around a point of a sphere, one fitted layer; the curvature after it by least squares near it."""
    D = d + 1
    X = np.concatenate([np.zeros((1, D)), ball_patch(RNG, 60_000, d, 0.6, 1.0, geodesic=True)])
    patch = fit_patch(X, X[0], d, 0.15, centre=centre)
    layer = Layer(patch.centre, patch.frame, patch.gamma, 0.5, X[0], patch.model, np.zeros(D), 1.0)
    Z = maps.encode(np.concatenate([X[:1], ball_patch(RNG, 300, d, 0.01, 1.0)]), layer)
    u, normal = (Z - Z[0]) @ patch.frame, np.linalg.svd(patch.frame.T)[2][-1]
    design = np.concatenate([u, maps.quadratic_monomials(u)], axis=1)
    diagonal = [d + i * d - i * (i - 1) // 2 for i in range(d)]
    fit = np.linalg.lstsq(design, (Z - Z[0]) @ normal * np.sign(normal[-1]), rcond=None)[0][diagonal]
    offset = theory.sphere_offset(d, patch.gamma) if centre == "mean" else 0.0
    assert 2 * np.mean(fit) == pytest.approx(theory.new_second_derivative(1.0, patch.gamma, 0.5, offset), abs=0.06)


# ---------------------------------------------------------------- local model, budget


def test_third_derivatives_by_reparametrisation():
    """Normal part over the tangent coordinate, third derivative by differences in high precision."""
    def third(curve, t0):
        with mpmath.workdps(40):
            point = mpmath.matrix(curve(mpmath.mpf(t0)))
            first = mpmath.matrix([mpmath.diff(lambda t, i=i: curve(t)[i], t0) for i in range(3)])
            tangent = first / mpmath.norm(first)

            def normal(u):
                t = mpmath.findroot(lambda t: mpmath.fdot(mpmath.matrix(curve(t)) - point, tangent) - u, t0)
                relative = mpmath.matrix(curve(t)) - point
                return relative - mpmath.fdot(relative, tangent) * tangent

            h = mpmath.mpf("1e-4")
            combination = normal(2 * h) - 2 * normal(h) + 2 * normal(-h) - normal(-2 * h)
            return float(mpmath.norm(combination) / (2 * h**3))

    helix = third(lambda t: [1.2 * mpmath.cos(t), 1.2 * mpmath.sin(t), 0.7 * t], 0.4)
    assert theory.helix_third_derivative(1.2, 0.7) == pytest.approx(helix, rel=1e-6)
    ellipse = third(lambda t: [1.2 * mpmath.cos(t), 0.7 * mpmath.sin(t), 0 * t], 0.4)
    assert theory.ellipse_third_derivative(1.2, 0.7, 0.4) == pytest.approx(ellipse, rel=1e-6)


def test_loss_of_a_patch_is_a_minimum_over_models():
    """The quadratic model against another optimiser; the published threshold's error in the plane."""
    Z = sine_graph(60, rng=RNG).X
    patch = fit_patch(Z, Z[30], 1, 0.6)
    weight = np.exp(-patch.gamma * np.sum((Z - patch.centre) ** 2, axis=1))[:, None]
    u = (Z - Z[30]) @ patch.frame
    normal = Z - Z[30] - u @ patch.frame.T
    near = weight[:, 0] > 1e-6

    def loss(v):
        return 0.5 * np.mean((weight * (normal - u**2 * v))[near] ** 2)

    best = optimize.minimize(loss, np.zeros(2), tol=1e-14).fun
    assert patch.loss == pytest.approx(best, rel=1e-6)
    assert theory.layer_error(1.0, 1e-5, 0.5, 2, 1.0) == pytest.approx(6.32e-3, abs=1e-5)


# ---------------------------------------------------------------- errata, laws


def test_printed_statements_have_their_counterexamples():
    assert DECODER_PRINTED.check().refuted
    assert FLATTENING_PRINTED.check().refuted
    # by hand: a layer at the top of an arc, decoded by the quadratic model with the exact second derivative
    X = arc(41, np.pi / 3).X
    layer = Layer(X[20], np.array([[-np.sin(np.pi / 6)], [np.cos(np.pi / 6)]]), np.log(2) / 0.25, 0.5, X[20],
                  -0.5 * np.array([[np.cos(np.pi / 6)], [np.sin(np.pi / 6)]]), np.zeros(2), 1.0)  # fmt: skip
    gap = np.linalg.norm(maps.decode_quadratic(maps.encode(X, layer), layer) - X, axis=1)
    assert gap[20] < 1e-15
    assert gap.max() > 1e-3
    exact = maps.decode_exact(maps.encode(X, layer), layer)
    np.testing.assert_allclose(exact, X, atol=1e-14)


def test_values_by_other_routes_are_accepted():
    p = INVERTIBLE_LAYER.params(along=0.0, off=0.0, alpha=0.25, D=4)
    assert INVERTIBLE_LAYER.accepts(p, np.array([0.75**3, 0.75]))
    assert not INVERTIBLE_LAYER.accepts(p, np.array([0.75**3, 0.7501]))
    assert not INVERSE_BOUND.accepts(p, np.array([0.75**3, 0.7501]))


def test_a_network_needs_each_part_of_its_exact_inverse():
    """Exact decoding after 40 layers; moving one height by a millionth is seen."""
    X = sine_graph(50, rng=np.random.default_rng(3)).X
    net = FlatNet(layers=40).fit(X)
    Z = net.transform(X)
    assert np.max(np.abs(net.inverse_transform(Z) - X)) < 1e-10
    net.layers_[3] = net.layers_[3]._replace(alpha=net.layers_[3].alpha * (1 + 1e-6))
    assert np.max(np.abs(net.inverse_transform(Z) - X)) > 1e-9


def test_outside_the_domain():
    with pytest.raises(OutOfDomain, match="alpha"):
        theory.kernel_value(0.1, 0.1, 1.0, 1.2)
    with pytest.raises(OutOfDomain, match="d=3 must be below D=3"):
        INVERTIBLE_LAYER.params(d=3, D=3)
