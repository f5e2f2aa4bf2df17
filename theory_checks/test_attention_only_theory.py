"""Attention-only denoising: closed forms and quadrature against brute force, other integrals, and quoted numbers."""

import doctest
import importlib

import mpmath
import numpy as np
import pytest
from scipy import integrate, optimize, stats

from lab.errors import InputError, OutOfDomain
from lab.systems.attention_only import reduced, theory

MODULES = ("snr", "thresholded", "failures", "boundaries", "depth", "energies", "softmax")


@pytest.mark.parametrize("name", [*(f"theory.{m}" for m in MODULES), "certificate"])
def test_examples_of_the_docstrings(name):
    module = importlib.import_module(f"lab.systems.attention_only.{name}")
    assert doctest.testmod(module, raise_on_error=False).failed == 0


# ---------------------------------------------------------------- boundaries


@pytest.mark.parametrize("p", [1, 2, 5, 30, 200])
def test_pair_failure_is_the_mean_of_the_normal_tail_over_the_norm(p):
    """P(a.b > |a|²) = E Q(|a|), |a|² ~ chi²_p; in high precision."""
    def density(r):
        norm = p / 2 * mpmath.log(2) + mpmath.loggamma(mpmath.mpf(p) / 2)
        return mpmath.exp((p / 2 - 1) * mpmath.log(r) - r / 2 - norm)

    def tail(r):
        return mpmath.erfc(mpmath.sqrt(r / 2)) / 2

    exact = mpmath.quad(lambda r: density(r) * tail(r), [0, 0.5, 2, 10, p / 2 + 1, p, 3 * p + 50, 20 * p + 300])
    assert theory.pair_failure(p) == pytest.approx(float(exact), rel=1e-6)


def test_all_tokens_pass_at_the_quoted_ranks():
    assert theory.exact_rank(4, 256) == pytest.approx(30.4, abs=0.05)
    assert theory.exact_rank(8, 8192) == pytest.approx(51.65, abs=0.01)
    assert pytest.approx(5.771, abs=1e-3) == theory.ALL_TOKENS
    # from the rates by quadrature, near tau = 1/2
    for heads, n, quoted in ((4, 256, 31.2), (8, 8192, 52.1)):
        half = optimize.brentq(
            lambda p, K=heads, m=n: K * m * theory.signal_failure(K, m, p, 0.01, 0.5001) - np.log(2), 20, 70
        )
        assert half == pytest.approx(quoted, abs=0.1)


@pytest.mark.parametrize(
    ("n", "quoted"), [(64, 0.471), (512, 0.485), (4096, 0.492), (32768, 0.496), (1_000_000, 0.500)]
)
def test_fraction_of_typical_tokens_at_the_boundary(n, quoted):
    passing = 1 - theory.signal_failure(2, n, 2 * np.log(n), 0.05, 0.5 + 1e-9)
    assert passing == pytest.approx(quoted, abs=1.5e-3)
    assert theory.passing_fraction(n, 2 * np.log(n)) == 0.5


@pytest.mark.parametrize(("c", "quoted"), [(1e4, 0.3431), (20, 0.3214), (10, 0.3034), (4 / np.log(2), 0.2817)])
def test_foreign_threshold_by_brute_force(c, quoted):
    """The exponents on a fine grid of (sigma, a); the first sigma at which the cheapest a costs no more than 2."""
    sigma = np.linspace(quoted - 0.01, quoted + 0.01, 401)[:, None]
    a = 1 + np.linspace(0, 4, 20_001)
    cost = (c / 2 * (a - 1 - np.log(a)) + (1 + sigma * a / 2) ** 2 / (2 * sigma * a)).min(axis=1)
    first = sigma[np.argmax(cost <= 2), 0]
    assert theory.foreign_threshold(c) == pytest.approx(first, abs=6e-5)
    assert first == pytest.approx(quoted, abs=3e-4)


def test_largest_noise_is_at_the_least_rank():
    curve = [np.sqrt(theory.foreign_threshold(c) / c) for c in (5.771, 6, 8, 12, 30)]
    assert np.all(np.diff(curve) < 0)
    assert theory.largest_noise() == pytest.approx(0.221, abs=5e-4)


@pytest.mark.parametrize(("sigma", "tau"), [(4.0, 0.5), (5.49, 0.5), (7.52, 0.6), (13.1, 0.75), (40.0, 0.95)])
def test_condensed_fraction_integrates_the_poisson_dirichlet_density(sigma, tau):
    x = np.sqrt(2 / sigma)
    total, _ = integrate.quad(lambda w: w ** (-1 - x), tau, 1, weight="alg", wvar=(0, x - 1))
    scale = mpmath.gamma(1 - x) * mpmath.gamma(x)
    assert theory.condensed_fraction(sigma, tau) == pytest.approx(total / float(scale), rel=1e-7)
    assert theory.condensed_fraction(1.9, tau) == 0


def test_condensed_fraction_runs_ahead_at_finite_size():
    """sigma = 4, tau = .5: .53, .50 at N_1 = 2e3, 2e4, falling towards .358."""
    rng, found = np.random.default_rng(0), []
    for n, rows in ((2000, 1500), (20_000, 1500)):
        wins = 0
        for _ in range(rows):
            scores = np.sqrt(4 * np.log(n)) * rng.standard_normal(n)
            wins += 1 / np.exp(scores - scores.max()).sum() > 0.5
        found.append(wins / rows)
    assert found == pytest.approx([0.53, 0.50], abs=0.04)
    assert min(found) > theory.condensed_fraction(4.0, 0.5) + 0.05


@pytest.mark.parametrize(("p", "quoted"), [(25, 0.794), (36, 0.560), (64, 0.080)])
def test_scaled_scores_fail_as_quoted(p, quoted):
    assert theory.scaled_failure(4, 64, p, 0.05, 0.6) == pytest.approx(quoted, abs=1e-3)


# ---------------------------------------------------------------- failures and depth


def plain_failures(rng, K, n, p, delta, tau, gain, draws):
    """Rows of full tokens one by one, in p dimensions."""
    signal = foreign = 0
    for _ in range(draws):
        keys = np.r_[gain * rng.standard_normal((n, p)), delta * rng.standard_normal((K * n - n, p))]
        for query, counts in ((0, "signal"), (n, "foreign")):
            weights = np.exp(keys @ keys[query] - np.max(keys @ keys[query]))
            weights /= weights.sum()
            if counts == "signal":
                signal += weights[0] <= tau
            else:
                foreign += weights.max() > tau
    return signal / draws, foreign / draws


@pytest.mark.parametrize(("K", "n", "p", "delta", "tau", "gain"), [
    (4, 16, 8, 0.5, 0.75, 1.0), (2, 32, 12, 0.3, 0.55, 2.0), (3, 8, 30, 0.6, 0.6, 1.5),
])  # fmt: skip
def test_rows_of_one_dimension_fail_as_rows_of_tokens_do(K, n, p, delta, tau, gain):
    draws = 4000
    plain = plain_failures(np.random.default_rng(1), K, n, p, delta, tau, gain, draws)
    setting = {"heads": K, "per_class": n, "rank": p, "delta": delta, "tau": tau, "gain": gain, "rows": 20_000}
    for counted, of in zip(plain, (reduced.signal_failure, reduced.foreign_failure), strict=True):
        rate, error = of(np.random.default_rng(2), **setting)
        assert counted == pytest.approx(rate, abs=5 * np.hypot(error, np.sqrt(rate * (1 - rate) / draws) + 1 / draws))


def test_quadrature_gives_the_quoted_numbers():
    assert theory.exact_probability(2, 128, 24, 0.05, 0.6) == pytest.approx(0.118, abs=1e-3)
    assert theory.exact_probability(2, 128, 32, 0.05, 0.6) == pytest.approx(0.916, abs=1e-3)
    assert theory.exact_probability(4, 256, 32, 0.05, 0.6) == pytest.approx(0.45, abs=5e-3)
    gains = 1.15 ** np.arange(9, 13)
    deep = theory.exact_probability(2, 64, 48, 0.05, 0.6, gains)
    assert deep == pytest.approx([0.967, 0.812, 0.414, 0.064], abs=1e-3)
    assert theory.exact_probability(2, 64, 118, 0.5, 0.6) < 1e-20
    tokens = 1024
    assert tokens * theory.signal_failure(2, 512, 25, 0, 0.501) == pytest.approx(17.6, abs=0.05)
    low, high = theory.printed_interval(tokens, 42)
    assert tokens * theory.signal_failure(2, 512, 42, 0, low + 1e-3) == pytest.approx(0.02, abs=5e-3)
    assert tokens * theory.signal_failure(2, 512, 42, 0, high) == pytest.approx(2.2, abs=0.05)


def test_published_interval_opens_where_the_equality_is_false():
    n = np.exp(np.array([6.0, 20.0, 60.0]))
    for tokens in n:
        for c, open_ in ((3.5, False), (3.6, True)):
            low, high = theory.printed_interval(tokens, c * np.log(tokens))
            assert (high > low) == open_
    # its upper end asks for log-odds of c' log N, c' = 9c/32 - 1, more than a query's own score: c >= 10.2
    def excess(c):
        a = np.linspace(0.01, 1, 20_000)  # r = a p; x = (a - 9/32) c + 1 in units of log N; the best r for a failure
        x, s2 = a * c - (9 * c / 32 - 1), a * c
        cost = c / 2 * (a - 1 - np.log(a)) + np.where(x > 0, x, 0) ** 2 / (2 * s2)
        return cost.min() - 2
    assert optimize.brentq(excess, 6, 14) == pytest.approx(10.2, abs=0.1)


def test_exact_depth_solves_its_equation():
    setting = (4, 128, 64, 0.05, 0.6)
    depth = theory.exact_depth(*setting, 0.5)
    assert int(depth) == 6
    assert theory.typical_depth(128, 64, 0.05, 0.6, 0.5) == pytest.approx(8.8, abs=0.1)
    assert theory.exact_probability(*setting, 1.3 ** (depth - 1)) == pytest.approx(0.5, abs=1e-6)
    assert theory.exact_depth(4, 128, 64, 0.5, 0.6, 0.5) == 0
    assert theory.peak_depth(*setting, 0.5) >= depth - 0.5


def test_normalised_tokens_follow_their_norms():
    rng = np.random.default_rng(3)
    a, e = rng.standard_normal((20, 5)), 0.3 * rng.standard_normal((20, 7))
    start = np.linalg.norm(a, axis=1), np.linalg.norm(e, axis=1)
    for layer in range(1, 6):
        a = 1.4 * a
        norm = np.sqrt((a**2).sum(1) + (e**2).sum(1))[:, None] / 2.5
        a, e = a / norm, e / norm
        measured = np.linalg.norm(a) / np.linalg.norm(e)
        assert theory.normalised_snr(*start, 1.4**layer) == pytest.approx(measured, rel=1e-13)


# ---------------------------------------------------------------- energies and softmax


def test_energies_against_plain_loops():
    K, n, p, delta, eta = 2, 3, 2, 0.6, 0.4
    rng, totals = np.random.default_rng(4), {"linear": [], "relu": []}
    W = rng.standard_normal((200_000, K * n, p))
    W[:, n:] *= delta  # one head: its own cluster first
    scores = W @ np.swapaxes(W, 1, 2)
    for name, weights in (("linear", scores), ("relu", np.maximum(scores, 0))):
        squares = np.sum((W + eta * weights @ W) ** 2, axis=2)
        parts = squares[:, :n], squares[:, n:]
        totals[name] = [(part.mean(), part.mean(1).std() / np.sqrt(len(part))) for part in parts]
    for name, of in (("linear", theory.linear_energies), ("relu", theory.relu_energies)):
        for exact, (mean, error) in zip(of(K, n, p, delta, eta), totals[name], strict=True):
            assert abs(exact - mean) < 5 * error
            assert error < 0.02 * mean


def test_linear_attention_is_neutral_and_capped():
    for n, p in ((10_000, 4), (100_000, 4)):
        assert theory.gain(*theory.linear_energies(4, n, p, 0.1, 1 / n), 0.1) == pytest.approx(1, abs=3 * p / n)
    for c in (0.1, 1.0, 5.0):
        best = max(
            theory.gain(*theory.linear_energies(4, 2000, int(2000 * c), 1e-4, eta / 2000), 1e-4)
            for eta in np.geomspace(1e-2, 1e4, 30)
        )
        assert best == pytest.approx(theory.linear_gain_cap(c), rel=5e-3)
        assert best < theory.linear_gain_cap(c) * (1 + 5 / 2000)


@pytest.mark.parametrize(("noise", "signal"), [(0.05, 1.0), (0.1, 1.0), (0.08, 1.3)])
def test_tilt_of_foreign_rows_against_drawn_scores(noise, signal):
    K, n, p = 4, 128, 64
    rng, r = np.random.default_rng(5), noise**2 * p
    keys = np.concatenate([signal * rng.standard_normal((4000, n)), noise * rng.standard_normal((4000, K * n - n - 1)),
                           np.full((4000, 1), np.sqrt(r))], axis=1)  # fmt: skip
    weights = np.exp(np.sqrt(r) * keys)
    weights /= weights.sum(1, keepdims=True)
    tilt, spread = theory.foreign_tilt(K, n, p, noise, signal)
    assert tilt == pytest.approx(np.mean(np.sum(weights * keys, 1)) / np.sqrt(r), abs=0.05)
    across = np.sum(weights[:, :n] ** 2, 1) * signal**2 + np.sum(weights[:, n:-1] ** 2, 1) * noise**2
    assert spread == pytest.approx(np.sqrt(across.mean()), rel=0.1)


def test_softmax_evolution_gives_the_quoted_numbers():
    path = theory.softmax_evolution(4, 128, 64, 0.05, 0.03, 25).snr
    assert (path.argmax(), path.max(), path[13]) == (16, pytest.approx(14.23, abs=5e-3), pytest.approx(14.12, abs=5e-3))
    gain = np.divide(*theory.softmax_evolution(3, 100, 60, 0.03, 1.0, 1).snr[::-1])
    assert gain == pytest.approx(1.132, abs=1e-3)


def test_initial_ratio_against_the_ratio_of_two_chi_squares():
    rng = np.random.default_rng(6)
    ratio = stats.chi2.rvs(64, size=200_000, random_state=rng) / stats.chi2.rvs(128, size=200_000, random_state=rng) * 2
    for level in (0.8, 1.0, 1.2):
        assert theory.initial_snr_above(level, 3, 16, 4) == pytest.approx(np.mean(np.sqrt(ratio) > level), abs=6e-3)


@pytest.mark.parametrize(("call", "name"), [
    (lambda: theory.growth(0.0, 0.5), "eta"), (lambda: theory.growth(0.5, 1.0), "tau"),
    (lambda: theory.signal_failure(2, 8, 4, 0.1, 0.4), "tau"), (lambda: theory.condensed_fraction(3.0, 0.4), "tau"),
    (lambda: theory.exact_rank(2, 1), "per_class"), (lambda: theory.foreign_threshold(-1), "c"),
    (lambda: theory.foreign_tilt(2, 8, 4, 0.0), "noise"), (lambda: theory.linear_energies(1, 8, 4, 0.1, 0.1), "heads"),
])  # fmt: skip
def test_values_outside_the_domain_are_named(call, name):
    with pytest.raises(OutOfDomain, match=f"^{name}="):
        call()


def test_unknown_kind_is_named():
    with pytest.raises(InputError, match="kind='median'"):
        theory.growth(0.5, 0.5, "median")
