"""Convolutional sparse coding: closed forms against brute force, simulation of cones, high precision, quoted values."""

import jax
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from lab.data import convolutional as data
from lab.measure import plan
from lab.models import convolutional_coding as coding
from lab.streams import Stream
from lab.sweeps.engine import Engine
from lab.systems.sparse_coding import dynamics, laws, theory
from lab.systems.sparse_coding.laws.rates import Planted, envelope
from lab.systems.sparse_coding.laws.transition import AnyLength, split

SMALL = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture
def rng():
    return np.random.default_rng(20230209)


# ---------------------------------------------------------------- the dictionary


@SMALL
@given(seeds, st.integers(1, 3), st.integers(1, 2), st.integers(1, 5))
def test_norm_and_coherence_of_the_closed_forms_and_of_the_operators(seed, count, channels, size):
    filters = data.filter_bank(np.random.default_rng(seed), count=count, size=size, channels=channels)
    for length in (2 * size - 1, 2 * size + 4):
        D = data.dictionary(filters, length)
        gram = np.abs(D.T @ D)
        np.fill_diagonal(gram, 0)
        assert theory.operator_norm(filters, length) == pytest.approx(np.linalg.norm(D, 2) ** 2, rel=1e-12)
        assert coding.operator_norm(filters, length) == pytest.approx(np.linalg.norm(D, 2) ** 2, rel=1e-12)
        assert theory.coherence(filters) == pytest.approx(gram.max(), abs=1e-14)
        assert data.worst_overlap(filters) == pytest.approx(gram.max(), abs=1e-14)
    places = [0, count * length - 1]
    assert theory.columns(filters, places, length) == pytest.approx(D[:, places], abs=1e-15)


def test_welch_bound_is_the_mean_square_of_the_gram_matrix(rng):
    """Rank and trace alone: sum of squares of the Gram matrix >= trace²/rank, shared by what is not zero."""
    for M, C, n in ((3, 1, 4), (3, 2, 3), (5, 2, 2)):
        N = 4 * n
        at_least = (M * N) ** 2 / (C * N) - M * N
        entries = M * N * (M * (2 * n - 1) - 1)
        assert theory.welch_bound(M, n, C) == pytest.approx(np.sqrt(at_least / entries), rel=1e-14)
        assert theory.coherence(data.filter_bank(rng, count=M, size=n, channels=C)) > theory.welch_bound(M, n, C)
    assert theory.welch_bound(2, 5, 2) == 0.0


# ---------------------------------------------------------------- rates


def test_planted_codes_are_the_minimiser(rng):
    """A general convex solver on the dense problem agrees."""
    filters = data.filter_bank(rng, count=2, size=4)
    for nonnegative in (False, True):
        for _ in range(50):
            codes = data.spike_codes(rng, count=2, length=12, nonzeros=3,
                                     amplitude="positive" if nonnegative else "uniform")  # fmt: skip
            x, slack = dynamics.planted_signal(filters, codes, 0.2, nonnegative=nonnegative)
            if slack > 0.05:
                break
        D, p = data.dictionary(filters, 12), 24

        def split_loss(v, D=D, x=x, p=p):
            gap = D @ (v[:p] - v[p:]) - x.ravel()
            return 0.5 * gap @ gap + 0.2 * v.sum(), np.r_[D.T @ gap + 0.2, 0.2 - D.T @ gap]

        bounds = [(0, None)] * p + [(0, 0 if nonnegative else None)] * p
        found = optimize.minimize(split_loss, np.zeros(2 * p), jac=True, bounds=bounds, method="L-BFGS-B",
                                  options={"ftol": 1e-16, "gtol": 1e-11, "maxiter": 20000})  # fmt: skip
        assert found.x[:p] - found.x[p:] == pytest.approx(codes.ravel(), abs=1e-5)


@pytest.mark.parametrize("s", [0.01, 0.2, 0.7])
@pytest.mark.parametrize("method", ["fista", "lagged"])
def test_amplitudes_of_a_mode_in_high_precision(s, method):
    """The recursion of one mode in 60 digits: determinant of two solutions, envelope, exponent."""
    steps = 4000
    b = theory.momentum(steps)
    with mpmath.workdps(60):
        one, two = [mpmath.mpf(1), mpmath.mpf(1)], [mpmath.mpf(1), mpmath.mpf("0.3")]
        for path in (one, two):
            for k in range(2, steps):
                point = path[-1] + mpmath.mpf(b[k - 1]) * (path[-1] - path[-2])
                path.append((1 - mpmath.mpf(s)) * point if method == "fista" else point - mpmath.mpf(s) * path[-1])
        k, last = 1000, steps - 1
        determinant = [one[i] * two[i - 1] - two[i] * one[i - 1] for i in (k, last)]
        change = float(mpmath.log(abs(determinant[1] / determinant[0])))
        predicted = np.sum(np.log(b[k:last])) + (np.log1p(-s) * (last - k) if method == "fista" else 0)
        assert change == pytest.approx(predicted, rel=1e-12)
        if method == "lagged":
            found = envelope(np.array([[float(c)] for c in one]))
            slope = np.log(found[last - 2] / found[k - 2]) / np.log(last / k)
            assert slope == pytest.approx(theory.LAGGED_ERROR, abs=0.005)


def test_fista_is_slower_than_ista_and_the_lagged_gradient_slower_than_both():
    """Quoted for other draws: at 1000 steps FISTA is at 1e-16 where the lagged gradient is at 1e-7."""
    p = Planted()
    filters, codes, x = (laws.ISTA_BOUND.situation(p, Stream("a", 2))[n] for n in ("filters", "codes", "signal"))
    s, _ = theory.slowest_mode(filters, codes)
    error = {}
    for method in ("ista", "fista", "lagged"):
        on = dynamics.errors(x, filters, codes, lam=p.lam, method=method, steps=1000).on
        error[method] = np.linalg.norm(on, axis=1)
    late = int(18 / s)
    assert error["ista"][late] < error["fista"][late] < error["lagged"][late]
    assert error["lagged"][999] > 1e-6 > 1e-12 > error["fista"][999]
    for s in (1e-3, 0.1, 0.9):
        assert np.log(theory.ista_factor(s)) == pytest.approx(2 * theory.fista_rate(s))


def test_the_gap_is_the_difference_of_objectives(rng):
    p = Planted(lam=0.5)
    data_of = laws.ISTA_BOUND.situation(p, Stream("b", 0))
    filters, codes, x = (data_of[n] for n in ("filters", "codes", "signal"))
    found = dynamics.errors(x, filters, codes, lam=p.lam, method="ista", steps=5)
    after = coding.encode(x, filters, lam=p.lam, steps=5)
    objective = coding.lasso_objective(np.stack([after, codes]), x, filters, lam=p.lam)
    assert found.gaps[4] == pytest.approx(objective[0] - objective[1], rel=1e-10)
    assert np.array_equal(found.on[4], (after - codes).ravel()[codes.ravel() != 0])


# ---------------------------------------------------------------- basis pursuit


def projections(rng, k, p, draws):
    """Intrinsic volumes by projecting Gaussian vectors on the normal cone {tau (sgn, z), |z| <= 1}: sorting."""
    g = rng.standard_normal((draws, p))
    size = -np.sort(-np.abs(g[:, k:]), axis=1)
    q = p - k
    sums = np.c_[np.zeros(draws), np.cumsum(size, axis=1)]
    tau = (g[:, :k].sum(1)[:, None] + sums) / (k + np.arange(q + 1))
    before, after = np.c_[np.full(draws, np.inf), size], np.c_[size, np.zeros(draws)]
    right = (tau <= before) & (tau > after) & (tau > 0)
    clipped = np.where(right.any(1), right.argmax(1), q + 1)
    return np.bincount(k - 1 + clipped, minlength=p + 1)


@pytest.mark.parametrize(("k", "p"), [(1, 5), (3, 12), (9, 40), (19, 96)])
def test_intrinsic_volumes_are_frequencies_of_projections(rng, k, p):
    volumes, draws = theory.intrinsic_volumes(k, p), 20_000
    counts = projections(rng, k, p, draws)
    low, high = stats.binom.ppf([[5e-7], [1 - 5e-7]], draws, np.clip(volumes, 0, 1))
    assert np.all((low <= counts) & (counts <= high))
    assert volumes[::2].sum() == pytest.approx(0.5, abs=1e-11)  # Gauss-Bonnet
    assert volumes[1::2].sum() == pytest.approx(0.5, abs=1e-11)
    mean = np.arange(p + 1) @ volumes
    first = theory.statistical_dimension(k, p)
    assert mean <= first <= mean + 2 * np.sqrt(p / k)


def test_statistical_dimension_is_a_minimum_over_tau():
    tau = np.linspace(0, 6, 60001)
    tail, density = stats.norm.sf(tau), stats.norm.pdf(tau)
    for rho in (0.05, 0.3, 0.9):
        least = np.min(rho * (1 + tau**2) + 2 * (1 - rho) * ((1 + tau**2) * tail - tau * density))
        assert theory.statistical_dimension(rho * 100, 100) == pytest.approx(100 * least, rel=1e-8)
    assert theory.first_order_transition(48, 96) == pytest.approx(18.5131, abs=1e-4)  # quoted as 19
    assert theory.half_recovery(48, 96) == pytest.approx(18.9721, abs=1e-4)


def test_probabilities_at_both_ends():
    assert theory.recovery_probability(10, 10, 3) == pytest.approx(1.0, abs=1e-12)  # a square matrix
    assert theory.recovery_probability(1, 30, 2) == pytest.approx(0.0, abs=1e-6)
    assert theory.recovery_probability(4, 9, 0) == 1.0
    falling = [theory.recovery_probability(12, 24, k) for k in range(12)]
    assert np.all(np.diff(falling) < 1e-12)
    # k = 1, p = 2, m = 1: recovered iff the null direction (a, b) has |a| < |b|
    assert theory.recovery_probability(1, 2, 1) == pytest.approx(0.5, abs=1e-12)


def test_splitting_decides_as_the_linear_program_does():
    """48 problems around the transition of short and long filters; disagreements would be lack of convergence."""
    points = [AnyLength(size=size, nonzeros=nonzeros) for size in (3, 24) for nonzeros in (5, 9)]
    measured, different = plan(split), 0
    with jax.enable_x64(True):
        rows = Engine().measure(measured, points, range(12), 0)
        for i, row in enumerate(rows):
            p = points[i // 12]
            program = by_program(p, Stream.bound(measured.streams(p, 0)[0], i % 12))
            different += program != bool(row.observed["recovered"])
    assert different <= 1


def by_program(p, stream):
    """The same draws, decided by HiGHS."""
    raw = np.array(jax.random.normal(stream.jax("filters"), (p.count, 1, p.length)))
    filters = raw[..., : p.size] / np.linalg.norm(raw[..., : p.size], axis=-1, keepdims=True)
    rank = np.argsort(np.argsort(np.array(jax.random.uniform(stream.jax("places"), (p.count * p.length,)))))
    signs = np.where(np.array(jax.random.bernoulli(stream.jax("signs"), 0.5, (p.count * p.length,))), 1.0, -1.0)
    codes, D = np.where(rank < p.nonzeros, signs, 0.0), data.dictionary(filters, p.length)
    return np.abs(coding.basis_pursuit(D @ codes, D) - codes).max() < 0.1


def test_stripe_guarantees():
    assert theory.recovery_stripe(0.2903) == pytest.approx(2.2223, abs=1e-4)
    assert theory.whole_stripe(theory.recovery_stripe(0.2903)) == 2
    assert theory.stability_stripe(0.2903) == pytest.approx(1.4815, abs=1e-4)  # quoted 1.48
    bounds = theory.layered_bounds(0.0123, [3, 1])
    assert bounds.penalties.tolist() == [4 * 0.0123, 4 * bounds.patches[0]]
    assert bounds.patches == pytest.approx([7.5 * 0.0123 * 3**0.5, 7.5**2 * 0.0123 * 3**0.5])


# ---------------------------------------------------------------- closed loops


def test_orthonormal_loop_shrinks_twice_and_kills_small_entries():
    """A single filter of length one: quoted .25 -> .05 -> 0 at lam = .2."""
    one = np.array([[[1.0]]])
    for entry, expected in ((0.25, (0.05, 0.0)), (1.0, (0.8, 0.6))):
        codes, found = np.array([[0.0, entry, 0.0]]), []
        for _ in range(2):
            codes = coding.lasso(coding.decode(codes, one), one, lam=0.2).codes
            found.append(codes[0, 1])
        assert found == pytest.approx(expected, abs=1e-15)
        assert theory.survives(entry, 0.2) == (expected[1] > 0)
    assert theory.bias(one, [1], [1.0], 3) == pytest.approx([1.0])


@SMALL
@given(seeds, st.integers(1, 5), st.floats(0.1, 50))
def test_distance_coefficient_is_the_limit_of_bhattacharyya_distances(seed, size, beta):
    rng = np.random.default_rng(seed)
    g, b, lam = rng.uniform(1, 2, (6, size)), rng.standard_normal(size), 1e-4

    def logdet(C):
        return np.linalg.slogdet(np.eye(size) + beta * C)[1]

    C, other = ((z.T @ z) / 6 for z in (g - lam * b, g - 2 * lam * b))
    distance = logdet((C + other) / 2) / 2 - logdet(C) / 4 - logdet(other) / 4
    expected = theory.distance_coefficient(g, b, beta)
    # a difference of logarithms of determinants over lam², and the next order
    assert distance / lam**2 == pytest.approx(expected, rel=0.01, abs=1e-6 * (1 + beta * size))
