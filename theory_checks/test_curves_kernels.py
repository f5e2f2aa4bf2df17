"""Closed forms of the system curves, by high precision, plain definitions, autodiff and brute-force quadrature."""

import itertools

import mpmath as mp
import numpy as np
import pytest
from scipy.integrate import quad

from lab.data import curves
from lab.errors import OutOfDomain
from lab.models.angle_kernels import angles, hidden_kernel, iterated_angle, limit_kernel, skeleton
from lab.systems.curves import theory
from lab.systems.curves.laws.certificate import FINITE_SEPARATION, Finite, limiting_modes
from lab.systems.curves.laws.clover import winding_modes
from lab.systems.curves.laws.separation import MEAN, PLACES, Pair, eigenvalues, next_terms
from lab.systems.curves.laws.skeleton import SKELETON_DECAY_PRINTED, Fixed, deeper
from lab.systems.curves.laws.spectrum import covariance_kernel

EPS = np.finfo(float).eps


@pytest.fixture
def digits():
    with mp.workdps(40):
        yield mp


def angle_map(nu):
    """One layer, with all the digits mpmath is set to; the argument is taken exactly."""
    lacking = 2 * mp.sin(nu / 2) ** 2 * (1 - nu / mp.pi) + (nu - mp.sin(nu)) / mp.pi
    return 2 * mp.asin(mp.sqrt(lacking / 2))


def plain_kernels(nu, depth):
    """Skeleton and hidden kernel by their definition as sums of products."""
    iterates = [mp.mpf(float(nu))]
    for _ in range(depth):
        iterates.append(angle_map(iterates[-1]))
    products = [mp.fprod(1 - a / mp.pi for a in iterates[l:depth]) for l in range(depth)]
    return mp.fsum(products) / 2, mp.fsum(mp.cos(a) * x for a, x in zip(iterates, products, strict=False)) / 2


# ---------------------------------------------------------------------- angles


@pytest.mark.parametrize("nu", [1e-8, 1e-4, 0.3, 0.4999, 0.5001, 1.0, 3.0, 3.14159])
def test_angle_map_to_forty_digits(digits, nu):
    exact = nu = float(nu)
    for layers in range(1, 31):
        exact = angle_map(mp.mpf(exact))
        assert abs(iterated_angle(np.asarray(nu), layers) - exact) <= (layers + 2) * EPS * exact


def test_angle_map_is_the_mean_product_of_a_gaussian_plane():
    """The mean of the product of two rectified Gaussians, by quadrature in polar coordinates of their plane."""
    for nu in (0.3, 1.0, 2.5):
        mean = 2 * quad(lambda t, a=nu: np.cos(t) * np.cos(t - a), nu - np.pi / 2, np.pi / 2)[0] / np.pi
        assert theory.next_cosine(nu) == pytest.approx(mean, abs=1e-13)


def test_inverse_angles_grow_by_more_and_more(digits):
    """1/phi - 1/nu increases from 1/(3 pi) to 1/pi, which is what makes both bounds of the decay sharp."""
    nu = [mp.mpf(10) ** (mp.mpf(k) / 40) for k in range(-280, 20)] + [mp.pi]
    growth = [1 / angle_map(a) - 1 / a for a in nu]
    assert all(b > a for a, b in itertools.pairwise(growth))
    assert abs(growth[0] * 3 * mp.pi - 1) < 1e-6
    assert abs(growth[-1] * mp.pi - 1) < 1e-30


def test_abel_function_counts_layers():
    nu = np.array([0.01, 0.3, 1.0, np.pi])
    for layers in (1, 7):
        assert np.allclose(theory.abel(iterated_angle(nu, layers)), theory.abel(nu) + layers, atol=2e-6)
    with mp.workdps(120):  # a quotient of differences of order 1e-20 of numbers of order 1e10
        w = mp.mpf(10) ** 10
        third = (3 * mp.pi / angle_map(3 * mp.pi / w) - w - 1 - 3 / (2 * w)) * w**2
        assert abs(third - (mp.mpf(5) / 2 + 3 * mp.pi**2 / 5)) < 1e-8


# ---------------------------------------------------------------------- skeleton


@pytest.mark.parametrize("depth", [1, 2, 5, 40])
@pytest.mark.parametrize("nu", [1e-7, 0.01, 0.7, 2.0, np.pi])
def test_kernels_are_their_sums_of_products(digits, depth, nu):
    psi, psi1 = plain_kernels(nu, depth)
    assert abs(float(skeleton(np.asarray(nu), depth)) - psi) <= 5 * depth * EPS * depth / 2
    assert abs(float(hidden_kernel(np.asarray(nu), depth)) - psi1) <= 6 * depth * EPS * depth / 2
    low, high = theory.skeleton_bounds(nu, depth)
    assert low - 5 * depth**2 * EPS <= psi <= high + 5 * depth**2 * EPS


def test_limit_kernel_is_the_recursion_of_covariances():
    """The usual recursion of neural tangent kernels, in its own variables, with the read-out added."""
    X = curves.coaxial(0.5, 0.6, points=9).X
    width, depth = 64, 6
    covariance, tangent = X @ X.T, np.zeros((18, 18))
    for _ in range(depth):
        angle = np.arccos(np.clip(covariance, -1, 1))
        tangent = (tangent + width * covariance / 2) * (1 - angle / np.pi)
        covariance = ((np.pi - angle) * covariance + np.sin(angle)) / np.pi
    expected = covariance + tangent
    off = ~np.eye(18, dtype=bool)  # arccos near 1 has half of the digits
    result = limit_kernel(angles(X), depth, width)
    assert np.allclose(result[off], expected[off], rtol=1e-12)
    assert np.allclose(np.diagonal(result), 1 + width * depth / 2, rtol=1e-14)
    assert np.allclose(covariance_kernel(X, depth), hidden_kernel(angles(X), depth), atol=1e-12)


def test_slope_at_the_centre_by_differences():
    for depth in (1, 6, 50):
        step = 1e-7 / depth
        slope = float(skeleton(np.asarray(step), depth) - depth / 2) / step
        assert slope == pytest.approx(theory.centre_slope(depth), rel=2e-6)


def test_published_error_of_the_decay_has_its_counterexample():
    """At nu = .5 and L = 2000 a fraction of .128 of n L is left where the printed form says that nothing is."""
    share = deeper(Fixed(), None)["share"]
    assert abs(share[-1] - 0.125) < 0.006
    assert (np.diff(share) < 0).all()
    assert share[-1] > 0.125
    assert SKELETON_DECAY_PRINTED.check().refuted


def test_the_full_kernel_increases_near_the_antipode():
    """By ``(1/2 pi) prod (1 - phi^(l)(pi)/pi)``, at every depth; it decreases up to pi/2."""
    step = 1e-6
    for depth in (1, 2, 8, 60):
        near, at = hidden_kernel(np.array([np.pi - step, np.pi]), depth)
        iterates = iterated_angle(np.asarray(np.pi), list(range(1, depth))) if depth > 1 else np.zeros(0)
        slope = np.prod(1 - iterates / np.pi) / (2 * np.pi)
        assert (at - near) / step == pytest.approx(slope, rel=1e-4)
        values = hidden_kernel(np.linspace(0, np.pi / 2, 200), depth)
        assert (np.diff(values) < 0).all()


def test_relative_errors_of_the_deep_forms():
    """The errors that the docstrings quote, over angles from 1e-3 to pi."""
    nu = np.pi * np.linspace(0.018, 1, 400) ** 2
    for depth, leading, sharp in ((10, 0.161, 0.027), (100, 0.028, 3.8e-4), (1000, 0.0063, 4.2e-6)):
        psi = skeleton(nu, depth)
        assert np.max(np.abs(theory.deep_skeleton(nu, depth) / psi - 1)) < leading
        error = np.abs(theory.inverse_angle_skeleton(nu, depth) - psi)
        assert np.max(error / psi) < sharp
        assert np.max(error) < 0.53 / depth
    psi, psi1 = skeleton(nu, 100), hidden_kernel(nu, 100)
    ratio = (psi - psi1) / theory.hidden_gap(nu, 100)
    assert ratio.min() > 0.94
    assert ratio.max() < 1.0


# ---------------------------------------------------------------------- separation


def inner(u):
    return sum((1 + u) ** -k for k in (1, 2, 3))


@pytest.mark.parametrize("z", [1e-4, 0.009, 0.011, 0.3, 0.86, 0.88, 1.0, 1.1, 1.13, 7.0, 2000.0])
def test_separation_function_is_its_integral(digits, z):
    z = mp.mpf(float(z))
    far = lambda y: inner(y) - inner(mp.sqrt(y**2 + z**2))  # noqa: E731
    exact = mp.quad(far, [0, z / 10, z, 10 * z, 1, 100 + 100 * z, mp.inf] if z < 0.1 else [0, z, 10 * z, mp.inf])
    assert abs(theory.separation_function(float(z)) / exact - 1) < 1e-11


@pytest.mark.parametrize("z", [0.02, 1.0, 30.0])
def test_depth_terms_are_their_integral(digits, z):
    def part(y):
        v = 1 + y
        return 1.5 * mp.log(v) * (1 + 3 / v**4) - 6 * (1 - v**-3) + 1.5 * (1 - v**-4)

    exact = mp.quad(lambda y: part(y) - part(mp.sqrt(y**2 + z**2)), [0, z, 10 * z + 10, 1e3, 1e6, mp.inf])
    assert sum(theory.depth_terms(z)) == pytest.approx(float(exact), abs=1e-12, rel=1e-13)


def test_curvature_term_is_the_mean_over_a_bending_strand():
    """3 pi/chord along a circle, less along a straight strand without end, by quadrature; and the mean of the chord,
    with the coefficient that the Abel function and 2 arcsin(chord/2) give it."""
    r, separation = 0.4, 0.3
    gap = 2 * np.sin(separation / 2)

    def bend(tau):
        own, straight = 2 * r * np.sin(tau / 2), r * tau
        return r / own - r / straight - r / np.hypot(own, gap) + r / np.hypot(straight, gap)

    beyond = quad(lambda y: 1 / y - 1 / np.hypot(y, gap), np.pi * r, np.inf)[0]
    own = 2 * r * np.sin(np.pi * PLACES / 2)
    chords = (np.hypot(own, gap) - own) @ MEAN
    power = 16 * r / 3 / 2 * chords / 8 * ((1 + 0.6 * np.pi**2) / (3 * np.pi) - np.pi / 8)
    expected = quad(bend, 1e-9, np.pi, epsabs=1e-12)[0] - beyond - power
    assert theory.curvature_term(r, separation) == pytest.approx(expected, abs=1e-7)


def test_best_separation_is_the_maximum():
    z = theory.BEST_SEPARATION * np.array([1 - 1e-4, 1.0, 1 + 1e-4])
    ratio = theory.separation_function(z) / z
    assert ratio[1] > max(ratio[0], ratio[2])
    assert abs(ratio[2] - ratio[0]) < 1e-3 * (ratio[1] - ratio[0])
    assert 3 * np.pi * theory.BEST_SEPARATION == pytest.approx(5.7226, abs=1e-4)


def domain():
    for r in (0.2, 0.45, 0.7):
        for separation in (0.001, 0.01, 0.1, 0.3, 0.6):
            if np.cos(separation) >= 2 * r**2:
                yield r, separation


def test_quoted_accuracy_of_both_eigenvalues():
    depths = np.array([30, 100, 300, 1000])
    for r, separation in domain():
        minus, plus = (one[0] for one in eigenvalues(r, np.array([separation]), depths))
        leading = np.abs(minus / theory.difference_eigenvalue(r, separation, depths) - 1)
        corrected = np.abs(minus / theory.difference_eigenvalue(r, separation, depths, corrected=True) - 1)
        assert (leading < [0.08, 0.03, 0.03, 0.03]).all()
        assert (corrected < [0.05, 0.0046, 0.0046, 0.0046]).all()
        off = np.abs(plus / theory.sum_eigenvalue(r, separation, depths) - 1)
        assert (off[1:] * depths[1:] < 1.3).all()
        assert off[0] < 0.051


def test_next_terms_leave_a_third():
    """Of what curves/separation-map allows for, the sizes of the next terms, at most a third is left by these terms."""
    for r, separation in domain():
        p = Pair(r=r, separation=separation)
        minus = eigenvalues(r, np.array([separation]), p.depths)[0][0]
        left = 16 * r / 3 * (minus - theory.difference_eigenvalue(r, separation, p.depths, corrected=True))
        assert (np.abs(left) < 0.34 * next_terms(p)).all()


def test_eigenvalues_are_those_of_dense_matrices():
    """Labels and constant on many points of a symmetric pair; the quadrature knows nothing of points."""
    sample = curves.symmetric_pair(0.5, 0.5, points=400)
    kernel = skeleton(angles(sample.X), 12) / 800
    minus, plus = eigenvalues(0.5, np.array([0.5]), np.array([12]))
    assert sample.labels @ kernel @ sample.labels / 800 == pytest.approx(minus[0, 0], rel=2e-4)
    assert kernel.sum() / 800 == pytest.approx(plus[0, 0], rel=1e-4)
    values = theory.pair_eigenvalues(kernel[0, :400].sum() * 2, kernel[0, 400:].sum() * 2)
    assert values[0] == pytest.approx(minus[0, 0], rel=2e-4)


def test_skeleton_and_kernel_differ_at_small_depth():
    """At L = 4, r = .5, Delta = .6 the difference mode is .11167 n by the skeleton, .15877 n by the hidden kernel."""
    within, cross = curves.pair_angles(0.5, 0.6, np.pi * PLACES)
    for kernel, value in ((skeleton, 0.11167), (hidden_kernel, 0.15877)):
        assert (kernel(within, 4) - kernel(cross, 4)) @ MEAN / 2 == pytest.approx(value, abs=6e-6)


# ---------------------------------------------------------------------- spectrum, certificates, windings


@pytest.mark.parametrize("x", [0.01, 1.0, 59.0, 61.0, 400.0])
def test_closed_spectrum_is_the_cosine_transform_of_the_skeleton(digits, x):
    """``int cos(x y) S(y) dy`` up the imaginary axis, to 40 digits, in units of 3/(8 v)."""
    exact = mp.quad(lambda u: mp.exp(-u) * mp.im(-inner(1j * u / x)) / x, [0, 1, 10, 100])
    assert theory.closed_spectrum(x, 3 * np.pi, 1.0) * 8 / 3 == pytest.approx(float(exact), rel=3e-12)


def test_mode_terms_are_the_cosine_transform_of_their_kernel():
    """The part that falls off by quadrature; the logarithm's is ``-(3/2) f(x)/x`` with the auxiliary function f."""
    from scipy.special import sici

    for x in (0.5, 3.0):
        logarithmic, rest = theory.mode_terms(x)
        si, ci = sici(x)
        assert logarithmic == pytest.approx(-1.5 / x * (ci * np.sin(x) + (np.pi / 2 - si) * np.cos(x)), rel=1e-12)

        def falling(y):
            v = 1 + y
            return 4.5 * np.log(v) / v**4 + 6 / v**3 - 1.5 / v**4  # P less its logarithm, plus 9/2

        exact = quad(falling, 0, np.inf, weight="cos", wvar=x, limlst=200)[0]
        assert rest == pytest.approx(exact, abs=1e-7)


def test_regimes_of_the_closed_spectrum():
    assert theory.logarithmic_spectrum(1, 1e5, 0.5) == pytest.approx(theory.closed_spectrum(1, 1e5, 0.5), rel=1e-6)
    assert theory.cusp_spectrum(1e5, 1e3, 0.5) == pytest.approx(theory.closed_spectrum(1e5, 1e3, 0.5), rel=2e-3)


def test_certificate_solves_its_equation():
    blocks, share, error = (5.0, 3.0, 4.0), 0.3, (1.0, -0.5)
    g = theory.constant_certificate(blocks, share, error)
    assert share * 5 * g[0] + 0.7 * 3 * g[1] == pytest.approx(1.0)
    assert share * 3 * g[0] + 0.7 * 4 * g[1] == pytest.approx(-0.5)
    with pytest.raises(OutOfDomain):
        theory.constant_certificate((1.0, 2.0, 1.0), share, error)


def test_two_windings_are_a_symmetric_pair():
    """An orbit curve of frequencies 1 and 2 with little weight on the first lies on two strands of one circle."""
    c2, depth = 1e-4, 200
    nearest = theory.strand_angles(2, c2)[0]
    value = theory.winding_eigenvalue(1, 2, c2, depth)
    assert value == pytest.approx(theory.difference_eigenvalue(1.0, nearest, depth), rel=1e-3)


def test_windings_by_fourier_transform():
    """The quadrature over strands against a plain Fourier sum over 2^16 points."""
    tau = 2 * np.pi * np.arange(2**16) / 2**16
    row = skeleton(curves.orbit_angle({1: 0.01, 8: 0.99}, tau), 30)
    plain = theory.circulant_spectrum(row)[[1, 3, 8]]
    assert np.allclose(winding_modes((1, 3, 8), 8, 0.01, np.array([30]))[:, 0], plain, rtol=1e-4)
    assert theory.winding_eigenvalue(1, 8, 0.01, 30) == pytest.approx(plain[0], rel=0.05)


def test_means_of_finite_networks_agree_with_the_limit_kernel():
    """The prediction of curves/finite-separation by the definition of its kernel, at 24 points."""
    sample = curves.symmetric_pair(0.5, 0.3, points=12)
    kernel = limit_kernel(angles(sample.X), 2, 256)
    value = sample.labels @ kernel @ sample.labels / 24**2 / 256
    assert limiting_modes(Finite())[2] == pytest.approx(value, rel=1e-12)
    assert FINITE_SEPARATION.predict(Finite()).shape == (4,)
