"""DDIM on Gaussian data by other routes: differential equation, high precision, draws, direct optimisation of grids."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.optimize import minimize, minimize_scalar

from lab.errors import InputError, OutOfDomain
from lab.models import denoisers
from lab.models.diffusion import PROCESSES, VE, VP, ddim, equal_angle_times, process
from lab.systems.memorization import theory
from lab.systems.memorization.laws.ddim import ENDS

PUBLISHED = np.linspace(0.999, 0.001, 26)


def test_published_grid():
    assert theory.sampled_scale(VP, PUBLISHED, 1.0) == pytest.approx(0.93408, abs=5e-6)
    assert theory.sampled_scale(VP, PUBLISHED, 0.14) == pytest.approx(0.35423, abs=5e-6)
    assert theory.exact_scale(VP, 0.999, 0.001, 0.14) == pytest.approx(0.37449, abs=5e-6)


@pytest.mark.parametrize("name", PROCESSES)
def test_exact_scale_is_the_flow(name):
    """dy/dt = (alpha'/alpha) y + (sigma' - alpha' sigma/alpha) eps_hat, solved by Runge-Kutta."""
    one, lam = process(name), 0.6
    start, stop = {"VP": (0.95, 0.01), "FM": (0.95, 0.01), "VE": (20.0, 0.01), "OU": (3.0, 0.01)}[name]

    def slope(t, y):
        a, s, da, ds = one.alpha(t), one.sigma(t), one.alpha_slope(t), one.sigma_slope(t)
        return da / a * y + (ds - da * s / a) * s * y / (a * a * lam + s * s)

    end = solve_ivp(slope, (start, stop), [1.0], rtol=1e-11, atol=1e-13, method="DOP853").y[0, -1]
    assert theory.exact_scale(one, start, stop, lam) == pytest.approx(end, rel=1e-8)


@pytest.mark.parametrize("name", PROCESSES)
def test_product_of_cosines_in_high_precision(name):
    """The raw DDIM recursion with 40 digits."""
    mpmath.mp.dps = 40
    one, lam = process(name), 0.37
    times = np.geomspace(*ENDS[name], 30)
    pairs = [(mpmath.mpf(float(one.alpha(t))), mpmath.mpf(float(one.sigma(t)))) for t in times]
    y, centred = mpmath.mpf(1), -pairs[0][0] * 2
    for (a, s), (a1, s1) in itertools.pairwise(pairs):
        y, centred = (a1 / a * v + (s1 - a1 * s / a) * s * v / (a * a * lam + s * s) for v in (y, centred))
    assert theory.sampled_scale(one, times, lam) == pytest.approx(float(y), rel=1e-12)
    assert theory.sampled_mean(one, times, lam, 2.0) == pytest.approx(float(pairs[-1][0] * 2 + centred), rel=1e-12)


def test_samples_have_the_predicted_covariance():
    rng = np.random.default_rng(0)
    lam, n = 0.3, 20_000
    start = rng.standard_normal((n, 2))
    mean = np.array([[1.0, -2.0]])
    end = ddim(lambda y, t: denoisers.predicted_noise(y, mean, lam, VP.alpha(t), VP.sigma(t)), start, PUBLISHED, VP)
    scale = theory.sampled_scale(VP, PUBLISHED, lam)
    for i in range(2):  # exact chi-square interval
        ratio = np.var(end[:, i], ddof=1) * (n - 1) / scale**2
        assert stats.chi2(n - 1).ppf(5e-4) < ratio < stats.chi2(n - 1).isf(5e-4)
        half = stats.norm.isf(5e-4) * scale / math.sqrt(n)
        assert abs(end[:, i].mean() - theory.sampled_mean(VP, PUBLISHED, lam, mean[0, i])) < half
    assert scale < theory.exact_scale(VP, PUBLISHED[0], PUBLISHED[-1], lam), "DDIM shrinks"


@pytest.mark.parametrize("lam", [0.2, 1.0, 6.0])
def test_variance_exploding_grid_of_the_book(lam):
    """Evenly spaced t from T to 0: the factors 1 - l T²/(lam L² + l² T²) of the iterated denoiser of a Gaussian."""
    T, L = 3.0, 17
    level = np.arange(L, 0, -1)
    factors = 1 - level * T**2 / (lam * L**2 + level**2 * T**2)
    assert theory.sampled_scale(VE, np.linspace(T, 0, L + 1), lam) == pytest.approx(np.prod(factors), rel=1e-12)
    # the limit that the book leaves open: the exact flow, sqrt(lam/(lam + T²))
    many = np.arange(400_000, 0, -1)
    limit = np.exp(np.sum(np.log1p(-many * T**2 / (lam * 400_000**2 + many**2 * T**2))))
    assert theory.exact_scale(VE, T, 0.0, lam) == pytest.approx(limit, rel=1e-4)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("lam", [0.14, 1.0, 25.0])
def test_constants_of_the_rate(name, lam):
    one, (start, stop) = process(name), ENDS[name]
    mpmath.mp.dps = 20
    root = mpmath.sqrt(lam)

    def squared_slope(t):
        if name == "VP":  # by hand: A = atan(sqrt(lam (1 - t²))/t)
            return lam / ((1 - t * t) * (t * t + lam * (1 - t * t)) ** 2)
        if name == "FM":
            return lam / (t * t + lam * (1 - t) ** 2) ** 2
        if name == "VE":
            return lam / (t * t + lam) ** 2
        e = mpmath.exp(-2 * t)
        return (root * mpmath.exp(-t) / mpmath.sqrt(1 - e) / (1 - e + e * lam)) ** 2

    breaks = [stop, *(start * f for f in (0.001, 0.01, 0.1, 0.5, 0.9, 0.99) if start * f > stop), start]
    integral = mpmath.quad(squared_slope, breaks)
    constant = theory.uniform_constant(one, lam, start=start, stop=stop)
    assert constant == pytest.approx(float(integral) * (start - stop) / 2, rel=1e-9)
    assert constant >= theory.equal_angle_constant(one, lam, start=start, stop=stop)
    steps = 400_000 if name == "VE" else 100_000
    measured = steps * (1 - theory.shrinkage(one, np.linspace(start, stop, steps + 1), lam))
    assert measured == pytest.approx(constant, rel=2e-3)


def test_divergence_and_distance_are_of_second_and_first_order():
    for steps in (200, 400):
        e = 1 - theory.equal_angle_shrinkage(VP, 2.0, steps, start=0.999, stop=0.001)
        constant = theory.equal_angle_constant(VP, 2.0, start=0.999, stop=0.001)
        divergence = ((1 - e) ** 2 - 1) / 2 - math.log1p(-e)
        assert steps * e == pytest.approx(constant, rel=2 / steps * constant)
        assert steps**2 * divergence == pytest.approx(constant**2, rel=4 / steps * constant)


def test_equal_angles_are_found_by_direct_optimisation():
    lam, steps, (start, stop) = 3.0, 5, ENDS["VP"]

    def loss(inner):
        t = np.concatenate([[start], inner, [stop]])
        return 1.0 if np.any(np.diff(t) >= 0) else -theory.shrinkage(VP, t, lam)

    found = minimize(loss, np.linspace(start, stop, steps + 1)[1:-1], method="Nelder-Mead",
                     options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 20_000, "maxfev": 20_000})  # fmt: skip
    np.testing.assert_allclose(found.x, equal_angle_times(VP, lam, steps, start=start, stop=stop)[1:-1], atol=1e-5)
    best = theory.equal_angle_shrinkage(VP, lam, steps, start=start, stop=stop)
    assert -found.fun == pytest.approx(best, rel=1e-10)


@pytest.mark.parametrize("name", ["VP", "VE"])
def test_arc_length_grid_is_nearly_the_best(name):
    one, (start, stop), lam, steps = process(name), ENDS[name], np.array([0.05, 1.0, 20.0]), 8
    grid = theory.arc_length_times(one, lam, steps, start=start, stop=stop)

    def times(q):
        share = np.exp(q - q.max())
        edge = np.log(one.sigma(start) / one.alpha(start)), np.log(one.sigma(stop) / one.alpha(stop))
        z = edge[0] + (edge[1] - edge[0]) * np.cumsum(share / share.sum())[:-1]
        return np.concatenate([[start], one.time_of_ratio(np.exp(z)), [stop]])

    found = minimize(lambda q: theory.spectrum_error(one, times(q), lam), np.zeros(steps), method="BFGS")
    arc = theory.spectrum_error(one, grid, lam)
    assert found.fun <= arc <= 1.01 * found.fun
    middle = theory.best_equal_angle(one, lam, steps, start=start, stop=stop)
    equal = theory.spectrum_error(one, equal_angle_times(one, middle, steps, start=start, stop=stop), lam)
    assert arc < equal < theory.spectrum_error(one, np.linspace(start, stop, steps + 1), lam)
    scan = [theory.spectrum_error(one, equal_angle_times(one, v, steps, start=start, stop=stop), lam)
            for v in np.geomspace(0.05, 20, 400)]  # fmt: skip
    assert equal <= min(scan) * (1 + 1e-9)
    assert theory.arc_length_constant(one, lam, start=start, stop=stop) == pytest.approx(
        400 * theory.spectrum_error(one, theory.arc_length_times(one, lam, 400, start=start, stop=stop), lam), rel=5e-3
    )


def test_one_eigenvalue_has_equal_angles():
    start, stop = ENDS["FM"]
    one = process("FM")
    grid = theory.arc_length_times(one, [0.7], 12, start=start, stop=stop)
    np.testing.assert_allclose(grid, equal_angle_times(one, 0.7, 12, start=start, stop=stop), rtol=1e-6)
    error = theory.exact_scale(one, start, stop, 0.7) * theory.equal_angle_constant(one, 0.7, start=start, stop=stop)
    assert theory.arc_length_constant(one, [0.7], start=start, stop=stop) == pytest.approx(error, rel=1e-6)
    assert theory.best_equal_angle(one, [0.7, 0.7], 9, start=start, stop=stop) == 0.7


def test_the_weights_of_the_arc_are_a_minimum():
    """First variation: among arc-length grids of any weights, the fixed point has the least error."""
    one, (start, stop), lam = VP, ENDS["VP"], np.array([0.1, 10.0])
    scale = theory.exact_scale(one, start, stop, lam)
    t = equal_angle_times(one, 1.0, 4000, start=start, stop=stop)
    parts = np.diff(theory.angle(one, t, lam[:, None]), axis=1)

    def error(log_weight):
        arc = np.sqrt(np.array([1.0, math.exp(log_weight)]) @ parts**2)
        constants = np.sum(parts**2 / arc, axis=1) * arc.sum() / 2
        return math.sqrt(np.mean((scale * constants) ** 2))

    best = minimize_scalar(error, bounds=(-12, 12), method="bounded", options={"xatol": 1e-8})
    assert theory.arc_length_constant(one, lam, start=start, stop=stop) == pytest.approx(best.fun, rel=1e-9)


@pytest.mark.parametrize("call", [
    lambda: theory.shrinkage(VP, [0.1, 0.5], 1.0), lambda: theory.shrinkage(VP, [0.5], 1.0),
    lambda: theory.shrinkage(VP, [0.5, 0.1], -1.0), lambda: theory.uniform_constant(VP, 1.0, start=1.0, stop=0.1),
    lambda: theory.uniform_constant(process("OU"), 1.0, start=2.0, stop=0.0),
    lambda: theory.equal_angle_shrinkage(VP, 1.0, 0, start=0.9, stop=0.1),
    lambda: theory.total_angle(VP, 1.0, 0.1, 0.9), lambda: theory.arc_length_times(VP, [], 3, start=0.9, stop=0.1),
    lambda: theory.spectrum_error(VP, [0.9, 0.1], [0.0]),
])  # fmt: skip
def test_bad_input_is_refused(call):
    with pytest.raises((OutOfDomain, InputError)):
        call()
