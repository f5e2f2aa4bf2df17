"""Exact losses of denoisers against high precision, brute-force integrals, enumeration and Monte Carlo."""

import math
from itertools import product

import mpmath
import numpy as np
import pytest
from scipy import special, stats
from scipy.spatial.distance import cdist

from lab.errors import OutOfDomain
from lab.models import denoisers
from lab.models.diffusion import VP
from lab.systems.memorization import dynamics, theory
from lab.systems.memorization.laws import CROSSOVER_PAPER, GEN_EXCESS_PRINTED, PMEM_EXCESS_PRINTED
from lab.systems.memorization.laws.losses import APART, Clusters
from lab.systems.memorization.laws.partial_memoriser import Partial

mpmath.mp.dps = 25
TIMES = dynamics.published_times()
SNR = np.asarray(VP.snr(TIMES))


def interval(values):
    """99.9 % interval of the mean of many independent values."""
    half = stats.norm.isf(5e-4) * np.std(values) / math.sqrt(len(values))
    return np.mean(values) - half, np.mean(values) + half


# ---------------------------------------------------------------- two points


@pytest.mark.parametrize(("D", "psi"), [(4.0, 0.3), (1.0, 30.0), (60.0, 1.0), (0.01, 5.0), (200.0, 2.0)])
def test_two_points_by_high_precision(D, psi):
    """D p0 p1, averaged over noise added to the first point; p1 = 1/(1 + e^Lambda)."""
    root = mpmath.sqrt(mpmath.mpf(psi) * D)

    def integrand(z):
        ratio = mpmath.e ** (root * root / 2 + root * z)
        return mpmath.npdf(z) * D * ratio / (1 + ratio) ** 2

    ends = [-root - 12, *sorted([-root / 2, -root, mpmath.mpf(0)]), 12]
    expected = mpmath.quad(integrand, sorted({*ends, *(end + 3 for end in ends[:-1]), *(end - 3 for end in ends[1:])}))
    assert theory.two_point_loss(D, psi) == pytest.approx(float(expected), rel=1e-12)


def radial(d):
    """Gauss nodes of a chi variable and their weights."""
    node, weight = np.polynomial.legendre.leggauss(240)
    chi = (math.sqrt(d) + 10) / 2 * (1 + node)
    return chi[:, None], weight * (math.sqrt(d) + 10) / 2 * stats.chi(d).pdf(chi)


@pytest.mark.parametrize(("d", "psi"), [(1, 5.0), (2, 30.0), (12, 3.0)])
def test_two_samples_three_ways(d, psi):
    """A double integral of D p0 p1, its own quadrature, and the general one for two points."""
    chi, weight = radial(d)
    root = math.sqrt(2 * psi) * chi  # sqrt(psi D), D = 2 chi^2
    z = np.linspace(-11, 11, 8001) - root / 2  # where the density times p1 is
    ratio = special.expit(-(root**2 / 2 + root * z))
    inner = np.trapezoid(stats.norm.pdf(z) * 2 * chi**2 * ratio * (1 - ratio), z, axis=1)
    expected = float(weight @ inner)
    assert theory.two_sample_loss(d, psi) == pytest.approx(expected, rel=1e-10)
    assert theory.training_point_loss(d, 2, psi) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("d", "psi"), [(1, 1.0), (3, 20.0), (30, 0.2), (60, 4.0)])
def test_new_point_of_two_is_a_double_integral(d, psi):
    """With s, delta the half sum and difference of the two, only |delta| and one normal variable matter."""
    a = math.sqrt(psi)
    chi, weight = radial(d)
    delta = math.sqrt(2) * chi
    spread = math.sqrt(1.5 * psi + 1)  # of h = a (x_e - s_e) + z_e along delta
    h = spread * np.linspace(-9, 9, 12_001)
    shift = special.expit(a * delta * h) - 0.5
    inner = shift**2 * delta**2 - 2 * shift * delta * 1.5 * a * h / spread**2
    expected = 1.5 * d + weight @ np.trapezoid(inner * stats.norm.pdf(h / spread) / spread, h, axis=1)
    assert theory.new_point_loss(d, 2, psi) == pytest.approx(expected, rel=1e-10)


# ---------------------------------------------------------------- three points on the line, all variables on a grid


@pytest.mark.parametrize("psi", [0.1, 0.5])
def test_three_points_on_the_line_by_brute_force(psi):
    a, step = math.sqrt(psi), 0.32
    node = np.arange(-20, 20.1) * step
    weight = np.exp(-node * node / 2) * step / math.sqrt(2 * math.pi)
    x = np.stack(np.meshgrid(node, node, node, indexing="ij"), axis=-1).reshape(-1, 3)
    chance = (weight[:, None, None] * weight[:, None] * weight).ravel()
    new = own = true = same = 0.0
    for z, one in zip(node, weight, strict=True):
        y = math.sqrt(1 + psi) * z  # from a new point, whose mean given y is a y/(1 + psi)
        p = special.softmax(-((y - a * x) ** 2) / 2, axis=1)
        new += one * chance @ ((np.sum(p * x, axis=1) - a * y / (1 + psi)) ** 2 + 1 / (1 + psi))
        p = special.softmax(-((a * x[:, :1] + z - a * x) ** 2) / 2, axis=1)  # from the first point
        own += one * chance @ (np.sum(p * x, axis=1) - x[:, 0]) ** 2
        true += one * chance @ p[:, 0]
        same += one * chance @ np.sum(p * p, axis=1)
    assert theory.new_point_loss(1, 3, psi) == pytest.approx(new, abs=2e-8)
    assert theory.training_point_loss(1, 3, psi) == pytest.approx(own, abs=2e-8)
    assert theory.recall(1, 3, psi) == pytest.approx(true, abs=2e-8)
    assert true == pytest.approx(same, abs=2e-8), "true point and clone: the posterior is the true one"


# ---------------------------------------------------------------- Monte Carlo, mixtures, limits


@pytest.mark.parametrize(("d", "n", "psi", "v"), [(6, 9, 0.7, 1.0), (20, 40, 0.4, 2.5), (3, 14, 50.0, 1.0)])
def test_losses_by_direct_monte_carlo(d, n, psi, v):
    rng = np.random.default_rng(d)
    draws, a = 8000, math.sqrt(psi)
    x = math.sqrt(v) * rng.standard_normal((draws, n + 1, d))
    found = {}
    for name, target, known in (("new", x[:, n], x[:, :n]), ("own", x[:, 0], x[:, :n])):
        y = a * target + rng.standard_normal((draws, d))
        f = denoisers.posterior_mean(y[:, None], known, 0.0, a, 1.0)[:, 0]
        found[name] = np.sum((f - target) ** 2, axis=1)
    low, high = interval(found["new"])
    assert low <= theory.new_point_loss(d, n, psi, v) <= high
    low, high = interval(found["own"])
    assert low <= theory.training_point_loss(d, n, psi, v) <= high


def test_cluster_sizes_are_averaged_by_enumeration():
    d, M, psi, share = 8, 12, 0.9, 0.3
    counts = np.arange(M + 1)
    chance = stats.binom.pmf(counts, M, share)
    each = np.array([d, *theory.new_point_loss(d, counts[1:], psi)])  # none in the cluster: its centre, a loss of d
    assert theory.new_point_loss(d, M, psi, share=share) == pytest.approx(chance @ each, rel=1e-10)
    others = stats.binom.pmf(counts[:M], M - 1, share)
    each = theory.training_point_loss(d, counts[1:], psi)
    assert theory.training_point_loss(d, M, psi, share=share) == pytest.approx(others @ each, rel=1e-10)
    assert theory.recall(d, M, psi, share=share) == pytest.approx(
        others @ theory.recall(d, counts[1:], psi), rel=1e-10
    )  # fmt: skip


def test_limits_of_the_losses():
    d = np.array([1, 2, 30, 400])
    for one in d:
        assert theory.new_point_loss(one, 1, 0.7) == pytest.approx(2 * one, rel=1e-12)
        counts = np.array([2.0, 7.0, 50.0])
        assert theory.new_point_loss(one, counts, 1e-9) == pytest.approx(one * (1 + 1 / counts), rel=1e-6)
        assert theory.training_point_loss(one, counts, 1e-9) == pytest.approx(one * (1 - 1 / counts), rel=1e-6)
    assert theory.effective_constant(30, 1, 20, [2, 10, 16], 1e-7) == pytest.approx([1 / 2, 1 / 10, 1 / 16], rel=1e-4)
    assert theory.effective_constant(30, 1, 20, 16, 1e6) == pytest.approx(theory.nearest_constant(30, 16), rel=1e-9)
    growing = [float(theory.effective_constant(d, 1, 20, 16, 0.3)) for d in (30, 100, 1000, 10_000)]
    assert growing == sorted(growing)
    assert growing[-1] > 1.94, "towards 2 as d grows at fixed psi"
    for v in (0.3, 4.0):  # only psi v matters besides the unit of length
        assert theory.exact_losses(12, 2, 40, 30, 0.8 / v, v) == pytest.approx(
            [v * one for one in theory.exact_losses(12, 2, 40, 30, 0.8)], rel=1e-12
        )  # fmt: skip


def test_whole_losses_with_clusters_by_direct_monte_carlo():
    """No Rao-Blackwell step: losses themselves, on training points of clusters far apart, in float64."""
    d, K, N, M, psi = 12, 3, 60, 48, 0.5
    rng, a = np.random.default_rng(5), math.sqrt(0.5)
    centres = 60 * np.eye(K, d)
    found = []
    for _ in range(250):
        label = rng.integers(K, size=N)
        x = centres[label] + rng.standard_normal((N, d))
        y = a * x + rng.standard_normal((N, d))
        outputs = [denoisers.posterior_mean(y, centres, 1.0, a, 1.0), denoisers.posterior_mean(y, x, 0.0, a, 1.0),
                   denoisers.posterior_mean(y, x[:M], 0.0, a, 1.0)]  # fmt: skip
        found.append([np.mean(np.sum((f - x) ** 2, axis=1)) for f in outputs])
    losses = theory.exact_losses(d, K, N, M, psi, radius=60.0)
    for column, expected in zip(np.array(found).T, losses[:3], strict=True):
        low, high = interval(column)
        assert low <= expected <= high


# ---------------------------------------------------------------- bounds


def test_memoriser_bounds_hold_and_are_attained():
    rng, draws = np.random.default_rng(1), 400
    X = rng.standard_normal((50, 30))
    y = X + rng.standard_normal((draws, 50, 30))
    loss = np.mean(denoisers.posterior_spread(denoisers.posterior_weights(y, X, 0.0, 1.0, 1.0), X))
    sharp, simple = theory.memoriser_bound(X, 1.0)
    assert 0.8 * loss < sharp < simple, "near the loss where confusions are rare"
    assert loss < 1.1 * sharp
    pair = X[:2]
    D = float(cdist(pair, pair)[0, 1] ** 2)
    assert theory.memoriser_bound(pair, 0.1).sharp == pytest.approx(theory.two_point_loss(D, 0.1), rel=1e-14)
    near = theory.memoriser_bound(pair, 1e-9)
    assert near.simple == pytest.approx(near.sharp, rel=1e-6)
    # the average over the data of the simple bound
    pairs = np.sum(rng.standard_normal((200_000, 2)) ** 2, axis=1)  # chi-square, d = 2
    low, high = interval(pairs / 2 * np.exp(-0.8 * pairs / 4))
    assert low <= theory.memoriser_expected_bound(2, 1, 0.8) <= high


@pytest.mark.parametrize(
    ("d", "K", "N", "psi"), [(30, 3, 50, 0.3), (30, 3, 50, 1.0), (50, 12, 200, 2.0), (10, 1, 9, 0.1)]
)
def test_memoriser_never_loses_more_than_its_pairs(d, K, N, psi):
    exact = theory.training_point_loss(d, N, psi, share=1 / K)
    assert exact <= (N - 1) / K * theory.two_sample_loss(d, psi) <= theory.memoriser_expected_bound(d, (N - 1) / K, psi)
    excess = theory.exact_losses(d, K, N, N, psi).generaliser_excess
    assert abs(excess / theory.generaliser_loss(d, psi) - 1) <= theory.published_error(d, K, N, psi)


def test_confusion_bounds_contain_the_cost_of_confusions():
    for psi, radius, K in product((0.1, 1.0, 10.0), (2.0, 5.0), (2, 5)):
        exact = theory.orthogonal_label_error(psi / (1 + psi), radius, K) / (1 + psi) ** 2
        assert exact <= theory.confusion_bounds(30, K, 50, psi, 1.0, radius).generaliser
    rng, d, K, N, psi = np.random.default_rng(3), 8, 4, 40, 0.6
    a, radius, found = math.sqrt(psi), 5.0, []
    for _ in range(300):
        label = rng.integers(K, size=N)
        x = radius * np.eye(K, d)[label] + rng.standard_normal((N, d))
        y = a * x + rng.standard_normal((4, N, d))
        found.append(np.mean(denoisers.posterior_spread(denoisers.posterior_weights(y, x, 0.0, a, 1.0), x)))
    low, high = interval(found)
    apart = theory.training_point_loss(d, N, psi, share=1 / K)
    bound = theory.confusion_bounds(d, K, N, psi, 1.0, radius).memoriser
    assert high > apart
    assert low < apart + bound


def test_clusters_far_apart_are():
    """Chance to take a point of another cluster for one's own at the least separation of the domain, by Chernoff."""
    worst = 0.0
    for d, psi in product((10, 30, 100), np.geomspace(0.0025, 400, 25)):
        gap = 2 * APART**2 * d * (1 + psi)  # squared distance of the means, times psi
        s = np.linspace(1e-3, 1, 2000) * min(1, 0.999 / psi)
        bend, slope = 2 * s**2 * psi / (1 - (s * psi) ** 2), s / (1 + s * psi)
        s, bend, slope = (one[bend * (1 + psi) < 1] for one in (s, bend, slope))
        left = 1 - bend * (1 + psi)
        log = -d / 2 * (np.log1p(-((s * psi) ** 2)) + np.log(left)) + slope / 2 * gap * (slope * (1 + psi) / left - 1)
        worst = max(worst, 1000 * math.exp(log.min()))
    assert worst < 2e-8


# ---------------------------------------------------------------- crossover


def test_published_crossover_at_published_numbers():
    one = np.ones(26)
    assert theory.published_crossover(one, SNR) == pytest.approx(0.660, abs=1e-3)
    assert theory.published_crossover(one, SNR, constant=2.0) == pytest.approx(0.830, abs=1e-3)
    trained = 1 - theory.published_crossover(SNR, SNR)  # with the weight used in training
    assert trained == pytest.approx(1.7e-5, rel=0.02)


def test_exact_crossover_is_the_root_and_has_its_limits():
    for K, levels, weights in ((1, SNR[1:20:4], np.arange(1, 6)), (3, SNR[10:14], np.ones(4))):
        root = theory.exact_crossover(20, K, 60, weights, levels)
        total = 0.0
        for weight, psi in zip(weights / weights.sum(), levels, strict=True):
            losses = theory.exact_losses(20, K, 60, 60 * root, psi)
            total += weight * (losses.partial - 20 / (1 + psi))
        assert abs(total) < 1e-7
    for d, N in ((5, 20), (40, 80)):
        assert theory.exact_crossover(d, 1, N, [1.0], [1e-5]) == pytest.approx(0.5, abs=1e-3)
        assert theory.published_crossover([1.0], [1e-5]) < 1e-4
    high = [theory.exact_crossover(20, 1, 40, [1.0], [psi]) for psi in (1.0, 10.0, 100.0)]
    assert high == sorted(high)
    edge = [theory.edge_crossover(20, 1, 40, [1.0], [psi]) for psi in (1.0, 10.0, 100.0)]
    assert abs(np.array(high) - edge).max() < 0.02
    assert abs(high[2] - edge[2]) < 2e-4


# ---------------------------------------------------------------- errata and domains


def test_counterexamples_have_a_constant_other_than_one():
    for p in PMEM_EXCESS_PRINTED.examples:
        assert theory.nearest_constant(p.d, p.M / p.K) > 1.1, "else C = 1 is right by accident"
        assert p.psi * p.v >= 1
    # C >= 1 fails in few dimensions: nearest of 14 points, d = 3, drawn
    rng = np.random.default_rng(0)
    x, others = rng.standard_normal((4000, 1, 3)), rng.standard_normal((4000, 14, 3))
    low, high = interval(np.sum((x - others) ** 2, axis=-1).min(1) / 3)
    assert low <= theory.new_point_loss(3, 14, 400.0) / 3 <= high < 0.5


def test_printed_excess_is_refuted_where_the_memoriser_has_not_collapsed():
    for p in GEN_EXCESS_PRINTED.examples:
        printed = theory.generaliser_loss(p.d, p.psi, p.v)
        exact = printed - theory.training_point_loss(p.d, p.N, p.psi, p.v, share=1 / p.K)
        assert exact < 0.2 * printed
        assert theory.published_error(p.d, p.K, p.N, p.psi, p.v) > 0.5
    for p in CROSSOVER_PAPER.examples:  # its crossover is far below the exact one, beyond the spacing of sizes
        weights, levels = p.levels
        exact = theory.exact_crossover(p.d, p.K, p.N, weights, levels, p.v, radius=p.radius)
        assert theory.published_crossover(weights, levels, p.v) < exact - 0.1


@pytest.mark.parametrize("call", [
    lambda: theory.new_point_loss(0, 3, 1.0), lambda: theory.new_point_loss(3, 0.5, 1.0),
    lambda: theory.new_point_loss(3, 3, 0.0), lambda: theory.training_point_loss(3, 3, 1.0, -1.0),
    lambda: theory.new_point_loss(3, 3, 1.0, share=0.0), lambda: theory.new_point_loss(2, 3, 1e6),
    lambda: theory.exact_losses(3, 1, 10, 11, 1.0), lambda: theory.effective_constant(3, 1, 10, 10, 1.0),
    lambda: theory.two_point_loss(-1.0, 1.0), lambda: theory.memoriser_bound(np.zeros((1, 3)), 1.0),
    lambda: theory.published_crossover([0.0], [1.0]), lambda: theory.published_crossover([1.0, 1.0], [1.0]),
    lambda: theory.exact_crossover(5, 9, 9, [1.0], [1.0]), lambda: Partial(M=31), lambda: Partial(M=100),
    lambda: Clusters(K=12, d=10, N=100), lambda: Clusters(psi=0.1, separation=1.0),
])  # fmt: skip
def test_bad_input_is_refused(call):
    with pytest.raises(OutOfDomain):
        call()
