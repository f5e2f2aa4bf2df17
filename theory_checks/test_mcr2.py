"""Maxima of the regularised objective, their published form, the ladder and survival, against search and ascent."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_mcr2 import autodiff, frame, orthogonal_point

from lab.systems.mcr2 import dynamics, theory

BRUTE = [  # sizes, d, lambda over the published limit, does one of 60 random starts hit
    ((4, 4), 4, 0.5, True), ((2, 3, 4), 4, 0.4, True), ((3, 3), 5, 1.2, True), ((1, 4), 3, 2.0, True),
    ((2, 2, 3), 9, 0.6, True), ((2, 2, 3), 9, 0.95, False),  # the last one between the thresholds of a class
]


@pytest.mark.parametrize(("sizes", "dim", "share", "hit"), BRUTE)
def test_global_maximum_is_never_exceeded_and_is_attained(sizes, dim, share, hit):
    eps, n = 0.7, sum(sizes)
    lam = share * theory.published_multiplier_bound(sizes, dim, eps=eps)
    alpha = theory.gram_scale(n, dim, eps=eps)
    best = theory.global_maximum(sizes, dim, eps=eps, lam=lam)
    rng = np.random.default_rng(11)
    constructed = orthogonal_point(rng, sizes, dim, best.ranks, 0 * best.ranks, eps, lam / alpha)
    value = autodiff(constructed, sizes, eps, lam)[0]
    assert value == pytest.approx(best.value, abs=1e-13)
    assert (constructed**2).sum() == pytest.approx(best.energy, rel=1e-12, abs=1e-300)
    starts = rng.standard_normal((60, n, dim)) * np.exp(rng.uniform(-1, 2, (60, 1, 1))) / math.sqrt(alpha * n)
    ends = dynamics.maximise(starts, sizes, eps=eps, lam=lam)
    # where the gradient vanishes to 1e-8 the value is within its square of a local maximum
    assert ends.value.max() <= best.value + 1e-12
    levels = theory.value_ladder(sizes, dim, eps=eps, lam=lam).values
    settled = ends.gradient_norm <= 1e-7 * math.sqrt(alpha)
    assert settled.mean() > 0.9
    assert np.abs(ends.value[settled, None] - levels).min(axis=1).max() <= 1e-10
    assert levels.max() == pytest.approx(best.value, abs=1e-13)
    assert not hit or ends.value.max() == pytest.approx(best.value, abs=1e-10)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 12), st.floats(-3, 0.3), st.floats(0.1, 3))
def test_maximal_value_decreases_at_half_the_energy_of_the_maximiser(sizes, dim, exponent, eps):
    alpha = theory.gram_scale(sum(sizes), dim, eps=eps)
    lam = alpha * 10**exponent
    step = 1e-5 * lam
    best = [theory.global_maximum(sizes, dim, eps=eps, lam=lam + s) for s in (-step, 0, step)]
    if not np.array_equal(best[0].ranks, best[2].ranks):
        return  # a threshold lies between: the maximal value has a kink
    # convex in lam (a maximum of affine functions): the slope lies between the one-sided differences
    left, right = ((best[i + 1].value - best[i].value) / step for i in (0, 1))
    slack = 1e-9 * (1 + best[1].energy)
    assert left - slack <= -0.5 * best[1].energy <= right + slack
    assert best[1].value >= 0
    if lam <= theory.published_multiplier_bound(sizes, dim, eps=eps):
        assert theory.published_global_maximum(sizes, dim, eps=eps, lam=lam).value <= best[1].value + slack
    assert best[1].ranks.sum() <= min(dim, sum(sizes))


def test_published_global_maximum_is_below_zero_at_the_counterexample():
    sizes, dim, eps = (4, 4), 4, math.sqrt(0.5)
    lam = 0.95 * theory.published_multiplier_bound(sizes, dim, eps=eps)
    claimed = theory.published_global_maximum(sizes, dim, eps=eps, lam=lam)
    assert claimed.ranks.sum() == 4
    assert claimed.value == pytest.approx(-0.037848, abs=5e-7)
    Z = orthogonal_point(np.random.default_rng(0), sizes, dim, claimed.ranks, [0, 0], eps, lam / 1.0)
    assert autodiff(Z, sizes, eps, lam)[0] == pytest.approx(claimed.value, abs=1e-13)
    assert theory.global_maximum(sizes, dim, eps=eps, lam=lam).value == 0
    # both agree where every class that receives rank is below its Maxwell point
    for share in (0.1, 0.5, 0.86):
        lam = share * theory.published_multiplier_bound(sizes, dim, eps=eps)
        claimed, true = (g(sizes, dim, eps=eps, lam=lam) for g in (theory.published_global_maximum,
                                                                   theory.global_maximum))
        assert claimed.value == true.value > 0
    with pytest.raises(ValueError, match="lam"):
        theory.published_global_maximum(sizes, dim, eps=eps, lam=1.3 * lam)


@pytest.mark.parametrize(("sizes", "plus", "share"), [((4, 8), (4, 2), 0.5), ((1, 11), (1, 0), 3.0)])
def test_local_maxima_exist_at_full_class_rank_and_beyond_the_published_interval(sizes, plus, share):
    eps, dim = 0.6, 6
    lam = share * theory.published_multiplier_bound(sizes, dim, eps=eps)
    alpha = theory.gram_scale(12, dim, eps=eps)
    Z = orthogonal_point(np.random.default_rng(4), sizes, dim, plus, (0, 0), eps, lam / alpha)
    _, gradient, hessian = autodiff(Z, sizes, eps, lam)
    values = np.linalg.eigvalsh(hessian)
    assert np.abs(gradient).max() <= 1e-14 * alpha * np.abs(Z).max()
    assert values[-1] <= 1e-12 * alpha
    assert np.sum(values > -1e-10 * alpha) == theory.zero_modes(sizes, dim, plus, (0, 0))


def test_at_the_spinodal_itself_points_are_neither_maxima_nor_strict_saddles():
    sizes, eps, dim = (6, 6), 0.9, 6
    lam = theory.published_multiplier_bound(sizes, dim, eps=eps)
    alpha = theory.gram_scale(12, dim, eps=eps)
    Z = orthogonal_point(np.random.default_rng(1), sizes, dim, (2, 1), (0, 0), eps, theory.spinodal(0.5))
    value, gradient, hessian = autodiff(Z, sizes, eps, lam)
    # the root u is double there: an error eps in tau moves it by sqrt(eps), the gradient stays of order eps
    assert np.abs(gradient).max() <= 1e-14 * alpha
    assert np.linalg.eigvalsh(hessian)[-1] <= 1e-7 * alpha
    smaller, larger = (autodiff(s * Z, sizes, eps, lam)[0] for s in (0.99, 1.01))
    assert min(smaller - value, value - larger) > 1e-8  # F falls through the point: an inflection


def test_ascent_from_gaussian_starts_ends_on_the_ladder_below_the_global_maximum():
    sizes, dim, eps = (4, 8, 18), 8, math.sqrt(0.5)
    lam = 0.5 * theory.published_multiplier_bound(sizes, dim, eps=eps)
    alpha = theory.gram_scale(30, dim, eps=eps)
    best = theory.global_maximum(sizes, dim, eps=eps, lam=lam)
    assert best.value == pytest.approx(3.98297, abs=5e-6)
    starts = np.random.default_rng(0).standard_normal((24, 30, dim))
    membership = np.eye(3)[np.repeat([0, 1, 2], sizes)]
    with jax.enable_x64(True):
        run = jax.jit(lambda Z: dynamics.gradient_ascent(Z, sizes, eps=eps, lam=lam, steps=1500, records=3))
        end = jax.tree.map(np.asarray, run(starts))
        # the same with everything traced, one start at a time under vmap
        traced = jax.jit(jax.vmap(lambda Z, m, e, v, s: dynamics.gradient_ascent(
            Z, m, eps=e, lam=v, step=s, steps=10, records=2), in_axes=(0, None, None, None, None), out_axes=0))
        few = traced(starts[:3], membership, eps, lam, 1 / alpha)
        same = dynamics.gradient_ascent(starts[:3], sizes, eps=eps, lam=lam, step=1 / alpha, steps=10, records=2)
        # curvature is at most alpha, so ten steps amplify rounding by 2^10 at most
        assert np.asarray(few.value) == pytest.approx(np.asarray(same.value).T, rel=1e-11)
    assert np.all(np.diff(end.value, axis=0) >= -1e-13)  # monotone at the default step
    assert end.gradient_norm[-1].max() <= 1e-8 * math.sqrt(alpha)
    levels = theory.value_ladder(sizes, dim, eps=eps, lam=lam).values
    assert np.abs(end.value[-1][:, None] - levels).min(axis=1).max() <= 1e-12
    attained = end.value[-1] / best.value
    assert np.all((attained > 0.5) & (attained < 0.9))
    # each class spectrum holds only zeros and its upper branch
    x = np.array(sizes) / 30
    u = end.spectrum[-1] / theory.u_plus(x, lam / alpha)[:, None]
    assert np.abs(u - np.round(u)).max() <= 1e-7
    assert u.max() < 1.5


def test_a_gaussian_start_hardly_ever_leads_to_the_global_maximum():
    """The numbers in the statement of mcr2/benign-is-global-printed; a few dozen runs would miss the one."""
    from lab import sweep
    from lab.systems.mcr2.laws.maxima import ascent_limit

    point = {"dim": 8, "n": 30, "first": 4, "second": 8, "eps": 0.5**0.5, "fraction": 0.5}
    runs = sweep(ascent_limit, {**point, "energy": [1.0, 10.0, 100.0]}, replicates=200)
    lam = 0.5 * theory.published_multiplier_bound((4, 8, 18), 8, eps=0.5**0.5)
    share = np.sort(runs["value"] / theory.global_maximum((4, 8, 18), 8, eps=0.5**0.5, lam=lam).value)
    assert runs["converged"].all()
    assert share[-1] == pytest.approx(1, abs=1e-12)
    assert (round(share[0], 2), round(share[-2], 2)) == (0.43, 0.92)
    assert np.median(share) < 0.71


def test_survival_of_a_direction_is_decided_at_the_lower_branch():
    sizes, dim, eps, tau = (3, 4, 5), 6, 0.8, 0.12
    alpha, x = theory.gram_scale(12, dim, eps=eps), np.array(sizes) / 12
    rng = np.random.default_rng(2)
    U, V = frame(rng, dim, dim), [frame(rng, n, 2) for n in sizes]
    factor = np.array([[0.999, 1.001], [1.001, 3.0], [0.5, 0.999]])
    start = factor * theory.u_minus(x, tau)[:, None]
    Z = np.concatenate([V[k] * np.sqrt(start[k] / alpha) @ U[:, 2 * k : 2 * k + 2].T for k in range(3)])
    # one step of the scalar map is one step of the matrix iteration
    gradient = autodiff(Z, sizes, eps, tau * alpha)[1]
    ahead = np.split(Z + 1.3 / alpha * gradient, np.cumsum(sizes)[:-1])
    for k in range(3):
        measured = alpha * np.linalg.svd(ahead[k], compute_uv=False)[:2] ** 2
        assert np.sort(measured) == pytest.approx(np.sort(theory.ascent_map(start[k], x[k], tau, step=1.3)), rel=1e-12)
    with jax.enable_x64(True):
        # 300 steps: long enough to leave 1.001 u_-, short enough that exact orthogonality (an invariant manifold,
        # unstable to rounding at rate alpha per step) is kept
        run = jax.jit(lambda Z: dynamics.gradient_ascent(Z, sizes, eps=eps, lam=tau * alpha, steps=300))
        spectrum = np.asarray(run(Z).spectrum[-1])[:, -2:]
    expected = theory.direction_survives(start, x[:, None], tau)
    assert expected.tolist() == [[False, True], [True, True], [False, False]]
    alive = spectrum > 0.5 * theory.u_plus(x, tau)[:, None]
    assert np.array_equal(np.sort(alive, axis=1), np.sort(expected, axis=1))
    assert not theory.direction_survives(5.0, 0.5, 0.9)  # beyond the spinodal nothing survives


def test_flow_speed_is_four_alpha_u_times_the_slope():
    x, tau, alpha = 0.3, 0.1, 2.5
    u = np.geomspace(1e-3, 30, 50)
    sigma = np.sqrt(u / alpha)
    h = 1e-6 * sigma

    def value(s):
        v = alpha * s * s
        return 0.5 * (np.log1p(v) - x * np.log1p(v / x) - tau * v)
    slope = (value(sigma + h) - value(sigma - h)) / (2 * h)  # sigma' = dF/d sigma, u' = 2 alpha sigma sigma'
    assert theory.flow_speed(u, x, tau, alpha) == pytest.approx(2 * alpha * sigma * slope, rel=1e-6, abs=1e-8)
