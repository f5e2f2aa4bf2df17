"""Training, its laws and closed forms by other routes: per-sample losses, brute force, enumeration, Monte Carlo."""

import functools
import math

import numpy as np
import pytest
from scipy import stats

from lab.data.mixtures import gmm_sphere, simplex
from lab.errors import InputError, OutOfDomain
from lab.systems.memorization import dynamics, theory
from lab.systems.memorization.laws import initialisation, transition, weights
from lab.systems.memorization.theory.chance import chance_level
from lab.systems.memorization.theory.initialisation import own_mean_share
from lab.systems.memorization.theory.plateau import hard_assignment_loss, settled_ratio
from lab.systems.memorization.theory.weights import independent_sizes, published_sizes


def test_the_loss_is_that_of_single_samples():
    rng = np.random.default_rng(0)
    d, N, draws, sizes = 3, 4, 2, (2, 5)
    x, noise = rng.standard_normal((N, d)), rng.standard_normal((draws, N, d))
    times = rng.uniform(0.2, 0.9, (draws, N))
    means, std = rng.standard_normal((2, 5, d)), np.array([0.4, 0.7])
    import jax

    with jax.enable_x64(True):
        model = dynamics.Model(jax.numpy.asarray(means), jax.numpy.asarray(std))
        found = np.asarray(dynamics.mixture_loss(model, x, jax.numpy.asarray(noise), times, dynamics.log_priors(sizes)))
    for s, k, i in np.ndindex(len(sizes), draws, N):
        t, size = times[k, i], sizes[s]
        y = math.sqrt(1 - t * t) * x[i] + t * noise[k, i]
        # noise = -sigma times the score, the score by central differences of the density
        gamma = (1 - t * t) * std[s] ** 2 + t * t
        log_density = lambda z, s=s, n=size, t=t, g=gamma: np.log(  # noqa: E731
            np.sum(np.exp(-np.sum((z - math.sqrt(1 - t * t) * means[s, :n]) ** 2, axis=1) / (2 * g)))
        )
        h = 1e-5
        score = [(log_density(y + h * e) - log_density(y - h * e)) / (2 * h) for e in np.eye(d)]
        assert found[s, k, i] == pytest.approx(np.sum((-t * np.array(score) - noise[k, i]) ** 2), rel=1e-6)


P = transition.Training(d=10, K=1, N=8, shares=(0.5, 0.75), steps=500)
TIMES = dynamics.published_times()


@functools.cache
def runner(steps, stacked=False):
    """A compiled run of so many steps on; with `stacked`, of several weightings at once."""
    import jax
    import jax.numpy as jnp

    x = jnp.asarray(np.random.default_rng(1).standard_normal((P.N, P.d)))

    def run(fit, weighting):
        return dynamics.advance(
            fit, transition.optimiser(P), x, jax.random.key(0), dynamics.log_priors(P.sizes), steps=steps, draws=2,
            times=TIMES, weights=weighting,
        )  # fmt: skip

    start = jax.jit(lambda: dynamics.fit_start(transition.optimiser(P), x[: max(P.sizes)], len(P.sizes), P.std))()
    return jax.jit(jax.vmap(run, (None, 0)) if stacked else run), start


def test_a_run_in_pieces_is_the_run_in_one_piece():
    eps = dynamics.weighting("eps", TIMES)
    (four, start), (two, _) = runner(4), runner(2)
    whole, half = four(start, eps), two(start, eps)
    pieces = two(half, eps)
    np.testing.assert_allclose(whole.model.means, pieces.model.means, rtol=1e-5)
    assert int(whole.step) == int(pieces.step) == 4
    assert not np.allclose(whole.model.means, half.model.means, rtol=1e-5)


def test_weightings_trained_together_are_those_trained_alone():
    alone = [dynamics.weighting(name, TIMES) for name in ("x0", "middle noise")]
    stacked = dynamics.Weighting(*(np.stack(part) for part in zip(*alone, strict=True)))
    (together, start), (one, _) = runner(4, stacked=True), runner(4)
    found = together(start, stacked).model.means
    for i, weighting in enumerate(alone):
        np.testing.assert_allclose(found[i], one(start, weighting).model.means, rtol=2e-4, atol=1e-5)
    assert np.max(np.abs(found[0] - found[1])) > 1e-4, "the weightings differ"


def test_residual_variance_by_hand():
    import jax.numpy as jnp

    rng = np.random.default_rng(2)
    x, means = rng.standard_normal((6, 3)), rng.standard_normal((2, 4, 3))
    found = dynamics.residual_variance(dynamics.Model(jnp.asarray(means), None), x, dynamics.log_priors((2, 4)))
    for s, size in enumerate((2, 4)):
        by_hand = np.mean([min(np.sum((a - b) ** 2) for b in means[s, :size]) for a in x]) / 3
        assert float(found[s]) == pytest.approx(by_hand, rel=1e-5)


def test_lloyd_on_a_simplex_has_its_exact_residual_and_ends_at_centroids():
    x = simplex(12, 11, 2.0)
    for count in (1, 5, 9, 12):
        assert dynamics.lloyd(x, count)[1] * x.size == pytest.approx((12 - count) * 1.0, abs=1e-9)
    rng = np.random.default_rng(3)
    x = rng.standard_normal((40, 5))
    means, u = dynamics.lloyd(x, 8)
    squares = np.sum((x[:, None] - means[None]) ** 2, axis=-1)
    nearest = squares.argmin(1)
    assert u == pytest.approx(squares.min(1).sum() / x.size)
    for k in range(8):
        np.testing.assert_allclose(means[k], x[nearest == k].mean(0), atol=1e-12)
    with pytest.raises(InputError, match="count=41"):
        dynamics.lloyd(x, 41)


def test_clustering_without_training_crosses_where_the_closed_form_does():
    rng = np.random.default_rng(4)
    d, K, N, sets = 30, 3, 50, 60
    sizes = np.array([36, 38, 40, 42])
    share = np.zeros(len(sizes))
    for _ in range(sets):
        x = gmm_sphere(rng, d, K, N=N).X
        share += [dynamics.lloyd_copies(rng, x, M, [1 / 9])[0] for M in sizes]
    crossing = np.interp(0.5, share / sets, sizes / N)
    assert abs(crossing - theory.critical_size(d, K, N)) < 0.025


@pytest.mark.parametrize("psi", [0.1, 1.0, 30.0])
def test_the_width_that_is_best_is_the_residual(psi):
    """Loss of a mixture whose means are far apart (assignment is hard), averaged over noise, against the formula."""
    rng = np.random.default_rng(5)
    d, u, draws = 4, 0.3, 40_000
    residual = math.sqrt(u) * rng.standard_normal((draws, d))
    residual *= math.sqrt(u * d / np.mean(np.sum(residual**2, axis=1)))
    z = rng.standard_normal((draws, d)) / math.sqrt(psi)
    widths = np.array([0.1, 0.2, 0.3, 0.45, 0.8])
    losses = []
    for w in widths:
        error = np.sum((psi * w / (1 + psi * w) * (residual + z) - residual) ** 2, axis=1)
        losses.append(error.mean())
        spread = stats.norm.isf(5e-5) * error.std() / math.sqrt(draws)
        assert abs(error.mean() - hard_assignment_loss(w, u, d, psi)) < spread
    assert widths[np.argmin(losses)] == u
    assert hard_assignment_loss(u, u, d, psi) == pytest.approx(theory.plateau_loss(u, d, psi), rel=1e-12)
    assert settled_ratio([0.5, 0.9]).tolist() == [1, 1]


@pytest.mark.parametrize(("point", "noise", "others"), [(1.0, 1.0, 12), (1.0, 4.0, 6), (0.5, 0.3, 9), (0.0, 0.01, 4)])
def test_own_mean_share_by_drawing(point, noise, others):
    rng = np.random.default_rng(6)
    d, draws = 30, 4000
    w = rng.standard_normal((draws, others + 1, d))
    means = point * w + math.sqrt(noise) * rng.standard_normal(w.shape)
    nearest = np.sum((w[:, :1] - means) ** 2, axis=-1).argmin(1)
    low, high = stats.binomtest(int(np.sum(nearest == 0)), draws).proportion_ci(0.999)
    assert low <= own_mean_share(point, noise, d, others) <= high


def test_chance_level_by_a_poisson_process():
    rng = np.random.default_rng(7)
    volumes = np.cumsum(rng.exponential(size=(20_000, 2)), axis=1)  # of the balls reaching the two nearest
    for r in (1, 2, 5):
        first, second = (volumes ** (2 / r)).T  # squared distances
        low, high = stats.binomtest(int(np.sum(first <= second / 9)), 20_000).proportion_ci(0.999)
        assert low <= chance_level(1 / 9, r) <= high


def test_published_sizes_span_what_training_does_not():
    times = np.linspace(0.999, 0.001, 26)
    eps = published_sizes([(1 - times**2) / times**2], (1 - times**2) / times**2)[0]
    assert 1 - eps == pytest.approx(np.sum(1 - times**2) / np.sum((1 - times**2) / times**2), rel=1e-9)
    assert 1e-5 < 1 - eps < 2e-5
    uniform = published_sizes([np.ones(26)], (1 - times**2) / times**2)[0]
    assert uniform == pytest.approx(1 - np.mean(times**2), rel=1e-12)
    found = weights.published(weights.Weighted())
    assert dict(zip(weights.WEIGHTS, np.round(found, 2).tolist(), strict=True)) == {
        "eps": 1, "x0": 0.66, "elbo": 1, "low noise": 1, "middle noise": 0.82, "high noise": 0.46,
    }  # fmt: skip
    assert np.ptp(independent_sizes(6, 30, 3, 50)) == 0
    assert transition.published_size("eps") == pytest.approx(eps, rel=1e-9)


def test_every_start_is_what_it_says():
    """Three kinds of first means, told apart by where they lie."""
    import jax

    from lab.streams import Stream

    stream = Stream.bound(Stream("test", "starts", 0).words, 0)
    p = transition.Training(d=60, K=2, N=40, shares=(0.5, 0.9))
    with jax.enable_x64(True):
        x, same = transition.first_state(p, stream, 1.0, 0.0, 0.0)
        _, fresh = transition.first_state(p, stream, 0.0, 1.0, 1.0)
        _, origin = transition.first_state(p, stream, 0.0, 0.0, 1.0)
    np.testing.assert_array_equal(same, x[: max(p.sizes)])
    gaps = np.sum((np.asarray(fresh)[:, None] - np.asarray(x)[None]) ** 2, axis=-1).min(1) / p.d
    assert 0.8 < gaps.mean() < 2, "as far from the points as another point of the cluster"
    assert np.mean(np.sum(np.asarray(origin) ** 2, axis=1)) / p.d == pytest.approx(1, abs=0.2)
    assert np.mean(np.sum(np.asarray(fresh) ** 2, axis=1)) / p.d == pytest.approx(2, abs=0.4)


@pytest.mark.parametrize("call", [
    lambda: initialisation.Start(noise=1.5), lambda: initialisation.Start(point=0.3),
    lambda: initialisation.Start(point=0.0, centre=1.0), lambda: weights.Weighted(weights=("epsilon",)),
    lambda: transition.Training(weight="none"), lambda: transition.Training(steps=1234),
    lambda: own_mean_share(2.0, 0.0, 3, 1), lambda: own_mean_share(0.0, 0.0, 3, 1),
    lambda: hard_assignment_loss(-1, 1, 3, 1), lambda: settled_ratio(1.0), lambda: chance_level(1.0, 3),
])  # fmt: skip
def test_bad_input_is_refused(call):
    with pytest.raises(OutOfDomain):
        call()
