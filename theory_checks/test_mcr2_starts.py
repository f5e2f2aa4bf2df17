"""What a start decides: ceilings of survival, competition of classes, and the stacked ascent that measures them.

Against autodiff of slogdet, scalar inequalities on a grid, integration of the limiting flow, and plain loops.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_mcr2 import CLASSES, plain
from scipy.integrate import solve_ivp
from scipy.stats import kstest

from lab.systems.mcr2 import ascent, dynamics, theory
from lab.systems.mcr2.laws.starts import GaussianStart, ends, wishart_factors

seeds = st.integers(0, 2**32 - 1)


def spectra(Z, sizes, alpha):
    """Reduced squared singular values of each class, descending."""
    return [alpha * np.linalg.svd(part, compute_uv=False) ** 2 for part in np.split(Z, np.cumsum(sizes)[:-1])]


# ---------------------------------------------------------------- the stacked objective


def memberships(rng, sizes, kind):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    if kind == "sizes":
        return sizes, np.arange(len(labels))
    order = rng.permutation(len(labels))  # row i of the shuffled features is row order[i] of the sorted ones
    return (labels[order] if kind == "labels" else np.eye(len(sizes))[labels[order]]), order


@functools.cache
def value_and_gradient():
    return jax.jit(jax.value_and_grad(plain))


FORMS = [  # stacked with and without triangular factors, and the two cases in which stacking is not worth it
    ((4, 8, 18), 5, "sizes"), ((4, 8, 18), 5, "membership"), ((2, 3, 4), 4, "labels"),
    ((2, 3, 3), 9, "membership"), ((1, 1, 1, 9), 8, "labels"),
]  # fmt: skip


@pytest.mark.parametrize(("sizes", "dim", "kind"), FORMS)
def test_ascent_is_that_of_the_definition_for_every_form_of_classes(sizes, dim, kind):
    rng, eps, tau, n = np.random.default_rng(1), 0.7, 0.08, sum(sizes)
    alpha = dim / (n * eps**2)
    Z = rng.standard_normal((n, dim)) * 10 ** rng.uniform(-1, 0.5)
    classes, order = memberships(rng, sizes, kind)
    hot, start = np.eye(CLASSES)[np.repeat(np.arange(len(sizes)), sizes)], Z[order]
    with jax.enable_x64(True):
        climb = functools.partial(dynamics.gradient_ascent, eps=eps, lam=tau * alpha, steps=4, records=2)
        run = jax.jit(lambda Z: climb(Z, classes))(start)
    seen = []
    for step in range(5):
        with jax.enable_x64(True):
            value, gradient = map(np.asarray, value_and_gradient()(Z, hot, eps, tau * alpha))
        if step % 2 == 0:
            u = np.zeros((len(sizes), dim))
            for k, one in enumerate(spectra(Z, sizes, alpha)):
                u[k, dim - one.size :] = np.sort(one)
            seen.append((value, np.linalg.norm(gradient), u))
        if step < 4:
            Z = Z + gradient / alpha
    assert np.asarray(run.Z) == pytest.approx(Z[order], rel=1e-11, abs=1e-11)
    for got, wanted in zip((run.value, run.gradient_norm, run.spectrum), zip(*seen, strict=True), strict=True):
        assert np.asarray(got) == pytest.approx(np.stack(wanted), rel=1e-10, abs=1e-11)


def test_blocks_take_traced_fractions_empty_rows_and_batches():
    rng, dim, sizes = np.random.default_rng(2), 4, np.array([[2, 9, 5], [6, 3, 7]])
    Y = rng.standard_normal((2, 3, dim, dim))
    Y[0, 0, 2:] = 0  # a class of two samples
    with jax.enable_x64(True):
        def both(Y, x, tau):
            objective = ascent.Blocks(x, tau)
            return objective.gradient(Y), *objective.observe(Y)
        x = sizes / sizes.sum(axis=1, keepdims=True)
        got = [np.asarray(a) for a in jax.jit(jax.vmap(both))(Y, x, np.array([0.1, 0.3]))]
    for i, tau in enumerate((0.1, 0.3)):
        grams = Y[i].mT @ Y[i]
        eye, logdet = np.eye(dim), lambda a: np.linalg.slogdet(a)[1]
        whole, own = eye + grams.sum(0), eye + grams / x[i][:, None, None]
        slope = Y[i] @ (np.linalg.inv(whole) - np.linalg.inv(own) - tau * eye)
        value = 0.5 * (logdet(whole) - x[i] @ logdet(own) - tau * np.sum(Y[i] ** 2))
        assert got[0][i] == pytest.approx(slope, abs=1e-13)
        assert got[1][i] == pytest.approx(value, abs=1e-13)
        assert got[2][i] == pytest.approx(np.linalg.norm(slope), rel=1e-12)
        assert got[3][i] == pytest.approx(np.linalg.eigvalsh(grams), abs=1e-12)


@pytest.mark.parametrize("size", [15, 17, 50])
def test_triangular_inverse_by_halves(size):
    rng = np.random.default_rng(size)
    factor = np.tril(rng.standard_normal((3, size, size)), -1) / size + np.eye(size) * rng.uniform(0.5, 2, (3, size, 1))
    with jax.enable_x64(True):
        inverse = np.asarray(ascent._triangular_inverse(jnp.asarray(factor)))
    assert inverse == pytest.approx(np.linalg.inv(factor), abs=1e-12)
    assert not np.triu(inverse, 1).any()


def test_triangular_starts_have_the_law_of_gaussian_rows():
    """Squared diagonal entries are chi-square with N_k - i degrees of freedom, those above it normal (Bartlett)."""
    from lab.streams import Stream

    dim, sizes, draws = 3, [1, 2, 7, 300], 20000
    with jax.enable_x64(True):
        def one(replicate):
            stream = Stream.bound(Stream("triangular").words, replicate)
            return wishart_factors(stream, jnp.asarray(sizes, dtype=float), dim)
        rows = np.asarray(jax.jit(jax.vmap(one))(np.arange(draws)))
    for k, n in enumerate(sizes):
        assert not rows[:, k, n:].any()
        for i in range(min(n, dim)):
            assert kstest(rows[:, k, i, i] ** 2, "chi2", (n - i,)).pvalue > 1e-4
    above = rows[:, 2][:, *np.triu_indices(dim, 1)]
    assert kstest(above.ravel(), "norm").pvalue > 1e-4
    assert np.abs(np.corrcoef(above.T) - np.eye(3)).max() < 5 / np.sqrt(draws)


# ---------------------------------------------------------------- overlap never helps


@settings(deadline=None, max_examples=150)
@given(seeds, st.booleans())
def test_no_singular_value_outgrows_what_its_class_would_reach_alone(seed, doubled):
    rng = np.random.default_rng(seed)
    sizes, dim = rng.integers(1, 7, size=rng.integers(2, 4)), int(rng.integers(1, 5))
    x, tau = sizes / sizes.sum(), 10 ** rng.uniform(-3, 1)
    step = 2 / (1 + 2 * tau) if doubled else 1 / (1 + tau)
    mix = rng.standard_normal((dim, dim)) if rng.random() < 0.5 else np.eye(dim)
    Y = [rng.standard_normal((n, dim)) * 10 ** rng.uniform(-2, 2) * 10 ** rng.uniform(-1, 1, dim) @ mix for n in sizes]
    whole = np.linalg.inv(np.eye(dim) + sum(one.T @ one for one in Y))
    for one, share in zip(Y, x, strict=True):
        own = np.linalg.inv(np.eye(dim) + one.T @ one / share)
        moved = one + step * (one @ (whole - own) - tau * one)
        u, after = (np.linalg.svd(a, compute_uv=False) ** 2 for a in (one, moved))
        slope = 1 / (1 + u) - 1 / (1 + u / share) - tau
        ceiling = u * (1 + step * slope) ** 2
        if not doubled:
            assert ceiling == pytest.approx(theory.growth_ceiling(u, share, tau), rel=1e-12, abs=1e-14)
        decided = u <= np.sqrt(share) if doubled else u >= 0
        assert np.all((after <= ceiling * (1 + 1e-11) + 1e-12 * u[0])[decided])


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_scalar_inequality_behind_it(share):
    x, tau = (a[:, None, None, None] for a in np.meshgrid(np.geomspace(1e-3, 0.99, 12), np.geomspace(1e-3, 10, 12)))
    x, tau = x.reshape(-1, 1, 1), tau.reshape(-1, 1, 1)
    u = np.geomspace(1e-4, 1e4, 60)
    v, u = u[:, None], u[None, :]
    s = share / (1 + tau)
    q = {name: 1 + s * (1 / (1 + w) - 1 / (1 + w / x) - tau) for name, w in (("u", u), ("v", v))}
    left = v * (q["v"] ** 2 - q["u"] ** 2) + s * v * (q["v"] - q["u"]) ** 2 / (2 * q["u"] - s)
    assert np.all((left <= (u - v) * q["u"] ** 2 + 1e-12 * u)[np.broadcast_to(v <= u, left.shape)])
    assert np.all(q["u"] >= s)


def test_longer_steps_are_refused():
    assert float(theory.comparable_step(2.0, 0.5)) == 0.4
    with pytest.raises(ValueError, match="shorter"):
        theory.growth_ceiling(1.0, 0.5, 0.1, step=1.0)


@settings(deadline=None, max_examples=60)
@given(seeds)
def test_the_threshold_is_where_the_scalar_flow_turns(seed):
    rng = np.random.default_rng(seed)
    x, share = rng.uniform(0.02, 0.9), rng.uniform(0.1, 1.3)
    tau = share * (1 - np.sqrt(x)) / (1 + np.sqrt(x))
    threshold = float(theory.survival_threshold(x, tau))
    assert np.isinf(threshold) == (share > 1)
    for factor in (0.99, 1.01):
        u = factor * (threshold if share < 1 else 1e3)
        slope = 1 / (1 + u) - 1 / (1 + u / x) - tau
        assert (slope > 0) == (share < 1 and factor > 1)
    counts = theory.rank_ceiling([[0.5 * min(threshold, 1e6), 2 * min(threshold, 1e6)]], [x], tau)
    assert counts.tolist() == [1 if share < 1 else 0]


@functools.cache
def runs():
    from lab import sweep

    point = {"classes": 3, "dim": 8, "smallest": [4, 10], "growth": [1.0, 2.0], "energy": [0.1, 0.2, 0.4, 2.0, 50.0]}
    return sweep(ends, {**point, "fraction": 0.5}, replicates=8)


def test_ascent_keeps_at_most_the_directions_that_start_above_the_separatrix():
    rows, met = runs(), 0
    for run in rows.itertuples():
        p = GaussianStart(dim=8, smallest=run.smallest, growth=run.growth, energy=run.energy)
        ceiling = theory.rank_ceiling(run.start, p.x, p.tau)
        assert np.all(run.ranks <= ceiling)
        met += int(np.sum((run.ranks == ceiling) & (ceiling < np.minimum(p.sizes, 8)) & (ceiling > 0)))
    assert met > 20  # and often exactly that many, though the classes overlap
    small = rows[rows.energy == 0.1]
    assert small.ranks.map(sum).min() == 0 < rows.ranks.map(sum).max() == 8


# ---------------------------------------------------------------- who wins


def limiting_flow(sizes, dim):
    """Weak regularisation, t in 1/lambda: g_k' = g_k g^-1 + g^-1 g_k - 2 x_k - 2 g_k for classes of full rank."""
    x = np.array(sizes) / sum(sizes)
    def right(_, flat):
        g = flat.reshape(-1, dim, dim)
        pull = g @ np.linalg.inv(g.sum(0))
        return (pull + pull.mT - 2 * x[:, None, None] * np.eye(dim) - 2 * g).ravel()
    return right


@pytest.mark.parametrize("sizes", [(9, 20), (8, 12, 16)])
def test_competition_solves_the_limiting_flow_until_a_class_loses_a_direction(sizes):
    rng, dim = np.random.default_rng(4), 3
    g = np.stack([0.3 / n * (rows := rng.standard_normal((n, dim))).T @ rows * n / 10 for n in sizes])
    end = theory.time_to_first_loss(g, sizes)
    solved = solve_ivp(limiting_flow(sizes, dim), (0, 0.9 * end), g.ravel(), rtol=1e-11, atol=1e-13)
    form = theory.competing_grams(g, sizes, 0.9 * end)
    assert form == pytest.approx(solved.y[:, -1].reshape(form.shape), abs=1e-9)
    assert form.sum(0) == pytest.approx(np.exp(-1.8 * end) * g.sum(0), rel=1e-12)
    last = np.linalg.eigvalsh(theory.competing_grams(g, sizes, end)).min(axis=1)
    assert last.min() == pytest.approx(0, abs=1e-12)
    before = theory.competing_grams(g, sizes, 0.999 * end)
    assert np.linalg.eigvalsh(before).min() > 0
    x = np.array(sizes)[:, None, None] / sum(sizes)
    signs = [np.sum(np.linalg.eigvalsh(h / x - h.sum(0)) > 0, axis=-1) for h in (g, form, before)]
    assert (signs[0] == signs[1]).all()
    assert (signs[0] == signs[2]).all()


def test_scale_of_a_large_start_is_forgotten_at_equal_amplitude():
    rng, sizes, dim = np.random.default_rng(5), (9, 20), 3
    g = np.stack([(rows := rng.standard_normal((n, dim))).T @ rows / 29 for n in sizes])
    at = []
    for scale in (1e2, 1e3, 1e4):  # shrunk to the amplitude of g
        at.append(theory.competing_grams(scale * g, sizes, 0.5 * np.log(scale)))
    gaps = [np.abs(one - at[-1]).max() for one in at[:2]]
    assert gaps[0] / gaps[1] == pytest.approx(11, rel=0.02)  # (1e-2 - 1e-4)/(1e-3 - 1e-4)


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_order_of_second_moments_along_a_shared_direction_never_changes(seed):
    rng = np.random.default_rng(seed)
    x = rng.dirichlet([3, 3, 3])
    tau = rng.uniform(0.1, 0.9) * (1 - np.sqrt(x.max())) / (1 + np.sqrt(x.max()))
    u = x * rng.uniform(0.2, 5, 3)
    solved = solve_ivp(lambda _, u: 2 * u * (1 / (1 + u.sum()) - 1 / (1 + u / x) - tau), (0, 60), u, rtol=1e-10)
    order = np.argsort(u / x)
    along = solved.y[order] / x[order, None]
    assert np.all(np.diff(along, axis=0) >= -1e-9 * along[1:])
    assert int(theory.winner_of_direction(u, x)) == order[-1]


@pytest.mark.parametrize(("start", "tau"), [(3.0, 0.05), (100.0, 0.12), (0.5, 0.02)])
def test_near_ties_are_amplified_as_both_classes_shrink(start, tau):
    x, gap = np.array([0.3, 0.7]), 1e-6
    w = start * np.array([1 + gap, 1.0])
    def right(_, w):
        return 2 * w * (1 / (1 + x @ w) - 1 / (1 + w) - tau)
    end = 0.5 * start
    solved = solve_ivp(right, (0, np.log(2) / (2 * tau)), w, rtol=1e-12, atol=1e-14).y[:, -1]
    assert solved[1] == pytest.approx(end, rel=1e-3)
    grown = (solved[0] / solved[1] - 1) / gap
    # the difference is of order gap times the factor, relative to one
    assert grown == pytest.approx(theory.tie_amplification(start, tau, solved[1]), rel=1e-2)
    assert theory.tie_amplification(start, tau) > grown


def test_inertia_split_counts_signs():
    rng = np.random.default_rng(6)
    frame = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    second = frame @ np.diag(rng.uniform(1, 2, 5)) @ frame.T
    mix = rng.standard_normal((5, 5))
    assert theory.inertia_split(second + mix @ np.diag([1, 1, -1, -1, -1]) @ mix.T, second) == (2, 3)
    above, below = theory.inertia_split(np.stack([second, 2 * second]), np.stack([2 * second, second]))
    assert (above.tolist(), below.tolist()) == ([0, 5], [5, 0])
    with pytest.raises(ValueError, match="positive definite"):
        theory.competing_grams(np.zeros((2, 3, 3)), (4, 5), 0.1)
    with pytest.raises(ValueError, match="K=3"):
        theory.time_to_first_loss(np.stack([np.eye(2)] * 2), (3, 3, 3))
    assert theory.time_to_first_loss(np.stack([np.eye(2), 2 * np.eye(2)]), (3, 6)) == np.inf
