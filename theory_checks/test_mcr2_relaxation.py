"""Relaxation, slowing down and hysteresis, against quadrature, ODE solvers, high precision, autodiff and ascent."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_mcr2 import autodiff, orthogonal_point
from scipy.integrate import quad, solve_ivp
from scipy.special import ai_zeros

from lab.systems.mcr2 import laws, theory
from lab.systems.mcr2.laws.flow import NearSpinodal
from lab.systems.mcr2.laws.hysteresis import Sweep

SMALL = settings(deadline=None, max_examples=60)
fractions = st.one_of(st.floats(0.01, 0.95), st.floats(-4, -2).map(lambda e: 10.0**e))
distances = st.floats(-6, 1.5).map(lambda e: 10.0**e)  # |tau - tau_c| over tau_c


def slope(u, x, tau):
    """2 h'(u): the flow of one direction is u' = 2 alpha u times it."""
    return 1 / (1 + u) - 1 / (1 + u / x) - tau


# ---------------------------------------------------------------- above the spinodal


@SMALL
@given(fractions, distances, st.floats(0.5, 6.0))
def test_passage_time_is_the_integral_over_the_ghost(x, share, window):
    tau = theory.spinodal(x) * (1 + share)
    root = math.sqrt(x)
    breaks = [0.0, *(b for b in (0.3 * math.sqrt(share), 3 * math.sqrt(share)) if b < window), window]
    total = 0.0
    for side in (1, -1):  # u = sqrt(x) exp(side v), in pieces around the peak of width sqrt(share)
        for low, high in itertools.pairwise(breaks):
            total += quad(lambda v, s=side: -0.5 / slope(root * math.exp(s * v), x, tau), low, high,
                          epsabs=0, epsrel=1e-10, limit=200)[0]  # fmt: skip
    # the integrand subtracts tau from a number close to it: relative error 1e-16/share near the peak
    assert theory.ghost_passage_time(x, tau, window=window) == pytest.approx(total, rel=1e-9 + 1e-15 / share)
    assert theory.ghost_passage_time(x, tau, 2.5, window) == pytest.approx(total / 2.5, rel=1e-9 + 1e-15 / share)


def test_passage_time_tends_to_that_of_the_saddle_node():
    for x in (1e-3, 0.01, 0.1, 0.5, 0.9):
        for window in (2.0, 3.0):
            share = np.array([1e-8, 1e-7, 1e-6])
            tau = theory.spinodal(x) * (1 + share)
            leading = theory.saddle_node(x).passage_time(tau - theory.spinodal(x))
            measured = (theory.ghost_passage_time(x, tau, window=window) / leading - 1) / np.sqrt(share)
            expected = theory.ghost_passage_correction(x, window)
            assert measured == pytest.approx(expected, rel=0.01, abs=0.01)
    fractions = np.geomspace(0.01, 0.99, 200)
    assert np.abs(theory.ghost_passage_correction(fractions)).max() < 0.7
    assert theory.ghost_passage_correction(1e-3) == pytest.approx(-1.71, abs=0.01)
    assert theory.ghost_passage_correction(0.01, window=2.0) == pytest.approx(-1.09, abs=0.01)


@pytest.mark.parametrize("x", [1e-3, 0.01, 0.1, 0.25, 0.5, 0.7])
@pytest.mark.parametrize("steps", [100, 1000, 20000])
def test_finite_time_shift_is_at_least_the_distance_passed_in_that_time(x, steps):
    shift = theory.finite_time_shift(x, steps)
    critical = theory.spinodal(x)
    time = steps * min(1.0, 1.9 / (1.125 + critical))  # steps are shorter than 1/alpha where that is unsafe
    assert theory.ghost_passage_time(x, critical + shift) <= time
    leading = theory.saddle_node(x).shift(time)
    assert leading <= shift <= leading * (1 + 0.7 * math.sqrt(leading / critical)) ** 2 * (1 + 1e-12)


# ---------------------------------------------------------------- below the spinodal


@SMALL
@given(fractions, st.floats(-9, -0.01).map(lambda e: 10.0**e))
def test_gap_and_relaxation_rate_have_full_precision(x, share):
    tau = float(theory.spinodal(x)) * (1 - share)
    with mpmath.workdps(60):
        X, T = mpmath.mpf(float(x)), mpmath.mpf(tau)
        critical = (1 - mpmath.sqrt(X)) / (1 + mpmath.sqrt(X))
        a, b = T / X, (1 / X - 1) - T * (1 / X + 1)
        root = mpmath.sqrt(b * b - 4 * a * T)
        up, down = (b + root) / (2 * a), (b - root) / (2 * a)

        def rate(u):
            return 2 * u * (1 / (X * (1 + u / X) ** 2) - 1 / (1 + u) ** 2)

        gap, back, away = up - down, -rate(up), rate(down)
        # tau_c - tau is all that is known of the distance
        slack = 1e-14 / abs(1 - T / critical) * 0.1 + 1e-13
    assert abs(theory.branch_gap(x, tau) - gap) <= slack * gap
    assert abs(theory.relaxation_rate(x, tau) - back) <= slack * back
    assert abs(back - away) <= mpmath.mpf(10) ** -40 * back  # returns and escapes at the same rate
    node = theory.saddle_node(x)
    leading = mpmath.sqrt(X) * mpmath.mpf(float(node.gap(share * theory.spinodal(x))))
    if share < 1e-3:
        assert abs(gap / leading - 1) < 20 * share + 1e-5
        assert abs(back / mpmath.mpf(float(node.relaxation_rate(share * theory.spinodal(x)))) - 1) < 20 * share + 1e-5


def test_the_rate_is_an_eigenvalue_of_the_hessian_on_both_branches():
    sizes, dim, eps = (3, 4), 4, 0.7
    for share in (0.5, 0.9, 0.999):
        x = np.array(sizes) / 7
        tau = share * theory.spinodal(x[1])
        alpha = theory.gram_scale(7, dim, eps=eps)
        gamma = theory.relaxation_rate(x[1], tau, alpha)
        rng = np.random.default_rng(4)
        for plus, minus, sign in (((0, 2), (0, 0), -1), ((0, 0), (0, 2), 1)):
            Z = orthogonal_point(rng, sizes, dim, plus, minus, eps, tau)
            values = np.linalg.eigvalsh(autodiff(Z, sizes, eps, tau * alpha)[2])
            assert np.sort(np.abs(values - sign * gamma))[:3].max() <= 1e-12 * alpha  # r(r+1)/2 = 3 times


# ---------------------------------------------------------------- a local maximum

MAXIMA = [  # sizes, dim, ranks, tau over the spinodal: penalty, pair of classes, branch, all ranks 0
    ((3, 4), 4, (1, 2), 0.5), ((3, 4), 4, (2, 2), 0.3), ((3, 4), 4, (0, 3), 0.97), ((3, 4), 4, (0, 0), 0.5),
]


@pytest.mark.parametrize(("sizes", "dim", "ranks", "share"), MAXIMA)
def test_linear_rate_is_the_smallest_curvature_and_what_generic_pushes_relax_with(sizes, dim, ranks, share):
    eps, n = 0.6, sum(sizes)
    alpha, x = theory.gram_scale(n, dim, eps=eps), np.array(sizes) / n
    used = [k for k in range(2) if ranks[k]] or [0, 1]
    tau = share * min(theory.spinodal(x[used]))
    g = theory.linear_rate(sizes, dim, ranks, tau=tau, alpha=alpha)
    rng = np.random.default_rng(3)
    Z = orthogonal_point(rng, sizes, dim, ranks, (0, 0), eps, tau)
    values = np.abs(np.linalg.eigvalsh(autodiff(Z, sizes, eps, tau * alpha)[2]))
    assert values[values > 1e-9 * alpha].min() == pytest.approx(g, rel=1e-9)
    # ascent from a generic push: linear from 1e-6 on, and as slow as g once the rest has died out
    step = 1 / theory.smoothness(alpha, tau * alpha)
    Z = Z + 1e-6 * rng.standard_normal(Z.shape)
    norms = []
    for _ in range(2000):
        ahead = autodiff(Z, sizes, eps, tau * alpha)[1]
        norms.append(np.linalg.norm(ahead))
        if norms[-1] < 1e-5 * norms[0]:
            break
        Z = Z + step * ahead
    factor = theory.ascent_contraction(sizes, dim, ranks, tau=tau, step=step, alpha=alpha)
    late = (norms[-1] / norms[-11]) ** 0.1
    assert 1 - late == pytest.approx(1 - factor, rel=0.1)  # other modes are still there
    assert late <= factor * (1 + 1e-4)


def test_steps_that_are_too_long_for_the_slow_mode_to_decide_are_refused():
    with pytest.raises(ValueError, match="lower step"):
        theory.ascent_contraction((3, 4), 4, (1, 1), tau=0.1, step=1.8)
    with pytest.raises(ValueError, match="spinodal"):
        theory.branch_gap(0.5, 0.2)
    with pytest.raises(ValueError, match="spinodal"):
        theory.ghost_passage_time(0.5, 0.1)
    with pytest.raises(ValueError, match="whole"):
        theory.saddle_node(1.0)
    assert theory.linear_rate((2, 3), 3, (0, 0), tau=0.2, alpha=3.0) == pytest.approx(0.6)


# ---------------------------------------------------------------- the saddle-node and its sweep


def test_normal_form_by_integration():
    node = theory.SaddleNode(push=1.7, bend=0.6)
    delta = 0.03
    time = quad(lambda s: 1 / (node.push * delta + node.bend * s**2), -np.inf, np.inf)[0]
    assert node.passage_time(delta) == pytest.approx(time, rel=1e-8)
    assert node.shift(time) == pytest.approx(delta, rel=1e-8)
    rest = node.gap(delta) / 2
    assert node.push * delta == pytest.approx(node.bend * rest**2)
    assert node.relaxation_rate(delta) == pytest.approx(2 * node.bend * rest)
    assert node.relaxation_rate(delta) * node.passage_time(delta) == pytest.approx(2 * math.pi)
    # swept: s' = -(a v t + b s^2) from far below; s = w'/w, and w is an Airy function
    rate = 1e-3
    assert ai_zeros(1)[0][0] == pytest.approx(-2.338107410459767, rel=1e-14)
    early = -40 * (node.push * node.bend * rate) ** (-1 / 3)

    def swept(t, s):
        return -(node.push * rate * t + node.bend * s**2)

    start = math.sqrt(-node.push * rate * early / node.bend)
    event = lambda t, s: s[0] + 1e4  # noqa: E731
    event.terminal = True
    found = solve_ivp(swept, (early, 1e6), [start], method="LSODA", rtol=1e-10, atol=1e-12, events=event)
    lost = found.t_events[0][0] + 1 / (node.bend * 1e4)  # the rest of the way to infinity
    assert node.sweep_delay(rate) == pytest.approx(rate * lost, rel=1e-6)


@pytest.mark.parametrize("x", [0.05, 0.25, 0.6])
def test_delay_of_a_swept_class_and_its_next_order(x):
    critical, root = theory.spinodal(x), math.sqrt(x)
    residual = []
    for rate in (1e-6, 1e-5):
        lead = 20 * rate ** (2 / 3)

        def flow(t, s, rate=rate, lead=lead):
            return 2 * slope(root * np.exp(s), x, critical - lead + rate * t)

        event = lambda t, s: s[0] + 3  # noqa: E731
        event.terminal = True
        span = (0, 10 * lead / rate)
        found = solve_ivp(flow, span, [1.0], method="LSODA", rtol=1e-10, atol=1e-12, events=event)
        delay = rate * found.t_events[0][0] - lead
        assert delay == pytest.approx(theory.sweep_delay(x, rate), rel=2e-2)
        residual.append((delay - theory.sweep_delay(x, rate)) / rate ** (4 / 3))
    assert residual[0] == pytest.approx(residual[1], rel=0.25)  # what is left is of order rate^(4/3)


# ---------------------------------------------------------------- hysteresis


@SMALL
@given(st.floats(0.005, 0.9), st.floats(0.02, 0.98))
def test_loop_area_is_the_integral_of_the_upper_branch(x, share):
    critical = float(theory.spinodal(x))
    low = share * critical
    # tau = critical - y^2 removes the square root at the spinodal
    reach = math.sqrt(critical - low)
    area = quad(lambda y: 2 * y * theory.u_plus(x, min(critical - y * y, critical)), 0, reach, epsrel=1e-10)[0]
    assert theory.loop_area(x, low) == pytest.approx(area, rel=1e-8, abs=1e-14)


@SMALL
@given(fractions, st.floats(-6, 2).map(lambda e: 10.0**e))
def test_kick_returns_up_to_where_it_equals_the_lower_branch(x, kick):
    edge = theory.return_multiplier(kick, x)
    if kick < math.sqrt(x) * (1 - 1e-6):
        assert theory.u_minus(x, edge * (1 - 1e-9)) < kick * (1 + 1e-6)
        assert theory.direction_survives(kick, x, edge * (1 - 1e-6))
        assert not theory.direction_survives(kick, x, edge * (1 + 1e-6))
    elif kick >= math.sqrt(x):
        assert edge == pytest.approx(theory.spinodal(x), rel=1e-14)
        assert theory.direction_survives(kick * (1 + 1e-9), x, edge * (1 - 1e-12))
    assert theory.return_multiplier(0.0, x) == 0


def test_laws_accept_values_found_by_other_routes_and_refuse_what_was_thought():
    p = NearSpinodal(first=10, closeness=200.0)
    tau = theory.spinodal(p.x) * (1 + 1 / 200)
    breaks = [-0.3, 0, 0.3]
    time = quad(lambda s: -0.5 / slope(math.sqrt(p.x) * math.exp(s), p.x, tau), -3, 3, points=breaks, limit=200)[0]
    assert laws.GHOST_PASSAGE.accepts(p, time)
    assert not laws.GHOST_PASSAGE.accepts(p, 1.001 * time)
    # a kick between the branches returns: the threshold is the lower one
    p = Sweep(first=8, kick=0.5, points=30)
    grid = np.linspace(0.2, 0.33, 400)
    edge = grid[np.argmin(np.abs(theory.u_minus(p.x, grid) - 0.5 * math.sqrt(p.x)))]
    assert laws.KICK_RETURN.accepts(p, edge)
    assert not laws.KICK_RETURN.accepts(p, 0.95 * edge)
