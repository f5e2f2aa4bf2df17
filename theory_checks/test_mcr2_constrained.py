"""The constrained maximum, its ranks, equal classes, the matched multiplier: 40-digit arithmetic, autodiff, search."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_mcr2 import autodiff, frame, plain
from scipy.optimize import minimize

from lab.errors import OutOfDomain
from lab.streams import Stream
from lab.systems.mcr2 import dynamics, theory
from lab.systems.mcr2.laws.constrained import SoftOrthogonal, soft_reduction
from lab.systems.mcr2.laws.full_rank import FULL_RANK_PRINTED, Published

mpmath.mp.dps = 40
SMALL = settings(deadline=None, max_examples=60)
fractions = st.one_of(st.floats(0.01, 0.99), st.floats(-8, -2).map(lambda e: 10.0**e))
energies = st.floats(-2, 2).map(lambda e: 10.0**e)
seeds = st.integers(0, 2**32 - 1)


def f(u, x):
    u, x = mpmath.mpf(u), mpmath.mpf(x)
    return mpmath.log(1 + u) - x * mpmath.log(1 + u / x)


def blocks(rng, sizes, dim, spectra):
    """Orthogonal classes with these squared singular values."""
    U, rows = frame(rng, dim, dim), []
    for n, s in zip(sizes, spectra, strict=True):
        U_k, U = U[:, : len(s)], U[:, len(s) :]
        rows.append(frame(rng, n, len(s)) * np.sqrt(s) @ U_k.T)
    return np.concatenate(rows)


def reduction(Z, sizes, eps, lam=0.0):
    """Rate reduction, less (lam/2)||Z||^2, by definition."""
    (n, dim), rows = Z.shape, np.split(Z, np.cumsum(sizes)[:-1])
    rate = [0.5 * np.linalg.slogdet(np.eye(dim) + dim / (len(A) * eps**2) * A.T @ A)[1] for A in (Z, *rows)]
    return rate[0] - np.dot(sizes, rate[1:]) / n - 0.5 * lam * np.sum(Z**2)


# ---------------------------------------------------------------- one class


@SMALL
@given(fractions, energies, st.integers(1, 25))
def test_class_optimum_is_the_best_rank_and_no_spectrum_is_better(x, energy, most):
    worth = [r * f(mpmath.mpf(energy) / r, x) / 2 for r in range(1, most + 1)]
    rank, best = theory.class_optimum(x, energy, most)
    # the smaller u, the more the two terms of f cancel: the closed form must not notice
    assert abs(float(worth[rank - 1] / max(worth)) - 1) <= 1e-14
    assert float(best) == pytest.approx(float(max(worth)), rel=1e-14)
    rng = np.random.default_rng(most)
    for concentration in (0.1, 1.0, 10.0):
        for u in energy * rng.dirichlet(np.full(most, concentration), size=10):
            assert float(sum(f(v, x) for v in u)) / 2 <= float(best) * (1 + 1e-12)


@SMALL
@given(fractions, st.integers(1, 60))
def test_rank_threshold_is_where_two_ranks_are_equally_good(x, rank):
    threshold = float(theory.rank_threshold(x, rank))
    point = float(theory.maxwell_point(x))
    assert rank * point < threshold < (rank + 1) * point
    root = mpmath.findroot(lambda c: (rank + 1) * f(c / (rank + 1), x) - rank * f(c / rank, x), mpmath.mpf(threshold))
    assert abs(float(root) / threshold - 1) <= 4e-15 * rank / min(1.0, point)
    for side, expected in ((0.999, rank), (1.001, rank + 1)):
        assert theory.class_optimum(x, side * threshold, rank + 3)[0] == expected


def test_full_rank_constants():
    printed = {0.5: 0.212, 0.25: 0.2075, 0.1: 0.197, 0.01: 0.162, 0.001: 0.127}
    for x, kappa in printed.items():
        assert theory.full_rank_constant(x) == pytest.approx(kappa, abs=5e-4)
    x = np.concatenate([np.geomspace(1e-12, 0.1, 60), np.linspace(0.11, 0.9999, 60)])
    exact = np.stack([theory.full_rank_constant(x, r) for r in (2, 3, 5, 20, 1000)])
    assert np.all(np.diff(exact, axis=0) < 0)
    assert np.all(exact[0] <= 2.02 * theory.full_rank_constant(x))
    assert np.allclose(exact[-1], theory.full_rank_constant(x), rtol=2e-3)
    assert theory.full_rank_constant(x).max() < 0.2139
    assert exact[0].max() < 0.4245
    # no universal constant: kappa(x) log(1/x) tends to 1
    for exponent, near in ((-12, 0.05), (-100, 0.02), (-300, 0.007)):
        tiny = 10.0**exponent
        assert theory.full_rank_constant(tiny) * math.log(1 / tiny) == pytest.approx(1, abs=near)


@SMALL
@given(fractions, st.floats(1.001, 50), st.integers(1, 6))
def test_unequal_singular_values_never_satisfy_the_second_order_condition(x, ratio, copies):
    high, low = math.sqrt(x) * ratio, math.sqrt(x) / ratio
    slope = [1 / (1 + mpmath.mpf(u)) - 1 / (1 + mpmath.mpf(u) / x) for u in (high, low)]
    assert abs(slope[0] / slope[1] - 1) <= 1e-13 / (1 - x)  # stationary: the multipliers agree
    bend = [mpmath.diff(lambda u: f(u, x), mpmath.mpf(u), 2) for u in (high, low)]
    assert bend[1] / -bend[0] == pytest.approx(high**2 / x, rel=1e-6)
    assert bend[1] + bend[0] / copies > 0


@pytest.mark.parametrize("x", [0.05, 0.5, 0.9])
def test_two_values_that_share_an_energy_are_best_equal_or_alone(x):
    for energy in np.geomspace(0.05, 50, 40):
        share = np.linspace(0, 0.5, 501)
        worth = theory.rate_gain(share * energy, x) + theory.rate_gain((1 - share) * energy, x)
        assert int(np.argmax(worth)) in (0, 500)


# ---------------------------------------------------------------- the whole problem


def test_printed_full_rank_bound_fails_at_its_counterexample():
    sizes, eps = (3, 3, 3, 3), 3.698**0.25
    assert eps < theory.published_full_rank_eps(sizes, 8, (2,) * 4)
    rng = np.random.default_rng(0)
    one, two = (reduction(blocks(rng, sizes, 8, [[3 / r] * r] * 4), sizes, eps) for r in (1, 2))
    assert (round(one, 5), round(two, 5)) == (0.60545, 0.54993)
    assert theory.constrained_maximum(sizes, 8, (2,) * 4, eps=eps).value == pytest.approx(one, rel=1e-13)
    assert FULL_RANK_PRINTED.check(Published(fraction=(3.698 / 4) ** 0.25)).refuted
    # and with ten classes of rank at most four, where the optimum has rank two
    assert theory.constrained_ranks((50,) * 10, 40, (4,) * 10, eps=2.5**0.5).tolist() == [2] * 10
    assert theory.published_full_rank_eps((50,) * 10, 40, (4,) * 10) > 2.5**0.5


def test_largest_full_rank_eps_is_where_the_first_class_loses_rank():
    sizes, dim, most = (4, 9, 30), 9, (3, 4, 2)
    eps = theory.largest_full_rank_eps(sizes, dim, most)
    assert theory.constrained_ranks(sizes, dim, most, eps=0.9999 * eps).tolist() == list(most)
    assert theory.constrained_ranks(sizes, dim, most, eps=1.0001 * eps).sum() == sum(most) - 1
    x, m = np.array(sizes) / 43, np.array(most)
    assert np.min(theory.full_rank_constant(x) * x * (dim / m) ** 2) ** 0.25 < eps
    assert eps < theory.published_full_rank_eps(sizes, dim, most)
    assert theory.largest_full_rank_eps((1, 5), 6, (3, 1)) == math.inf


@pytest.fixture(scope="module")
def factorised():
    """Minus the rate reduction of Z_k = sqrt(N_k) A_k B_k/||A_k B_k||, A_k B_k of rank at most 2, and its gradient."""
    sizes, dim = (2, 4, 6), 6
    shapes = [shape for n in sizes for shape in ((n, 2), (2, dim))]
    ends = np.cumsum([a * b for a, b in shapes])
    membership = np.eye(4)[np.repeat(np.arange(3), sizes)]

    def loss(v, eps):
        parts = [part.reshape(shape) for part, shape in zip(jnp.split(v, ends[:-1]), shapes, strict=True)]
        rows = [a @ b for a, b in zip(parts[::2], parts[1::2], strict=True)]
        Z = jnp.concatenate([math.sqrt(n) * z / jnp.linalg.norm(z) for n, z in zip(sizes, rows, strict=True)])
        return -plain(Z, membership, eps, 0.0)

    compiled = jax.jit(jax.value_and_grad(loss))

    def call(v, eps):
        with jax.enable_x64(True):
            return [np.asarray(a) for a in compiled(jnp.asarray(v), eps)]
    return sizes, dim, ends[-1], call


@pytest.mark.parametrize(("eps", "ranks"), [(0.4, [2, 2, 2]), (1.0, [1, 2, 2]), (1.15, [1, 1, 2]), (1.7, [1, 1, 1])])
def test_constrained_maximum_is_attained_and_never_exceeded(factorised, eps, ranks):
    """By quasi-Newton ascent over factors, with autodiff of the definition."""
    sizes, dim, count, loss = factorised
    best = theory.constrained_maximum(sizes, dim, (2,) * 3, eps=eps)
    assert best.ranks.tolist() == ranks
    rng = np.random.default_rng(3)
    spectra = [np.full(r, s**2) for r, s in zip(best.ranks, best.singular_values, strict=True)]
    assert reduction(blocks(rng, sizes, dim, spectra), sizes, eps) == pytest.approx(best.value, rel=1e-12)
    assert best.shares.sum() == pytest.approx(best.value, rel=1e-14)
    found = [minimize(loss, rng.standard_normal(count), args=(eps,), jac=True, method="L-BFGS-B",
                      options={"maxiter": 300, "ftol": 0.0, "gtol": 1e-8}) for _ in range(8)]  # fmt: skip
    assert max(-end.fun for end in found) <= best.value + 1e-12
    assert max(-end.fun for end in found) == pytest.approx(best.value, abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(seeds, st.booleans())
def test_energy_bound_holds_for_soft_membership(seed, unit):
    rng = np.random.default_rng(seed)
    n, dim, count, eps = 7, 4, 3, 10 ** rng.uniform(-1, 0.6)
    weights = rng.dirichlet(np.full(count, 10 ** rng.uniform(-2, 1)), size=n) + 1e-12
    Z = rng.standard_normal((n, dim)) * 10 ** rng.uniform(-1, 1, (n, 1))
    if unit:
        Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    own = weights.T @ np.sum(Z**2, axis=1)
    with jax.enable_x64(True):
        value = float(SOFT(jnp.asarray(Z), jnp.asarray(np.pad(weights, ((0, 0), (0, 1)))), eps))
    bound = theory.energy_bound(weights.sum(0), dim, dim, eps=eps, energies=None if unit else own)
    energy = dim / eps**2 * np.sum(Z**2) / weights.sum(0).min()
    assert value <= bound + np.finfo(float).eps * theory.rate_rounding(n + dim, energy)


SOFT = jax.jit(lambda Z, weights, eps: plain(Z, weights, eps, 0.0))


def test_energy_weighs_samples_with_the_membership_not_its_square():
    """Unit rows satisfy the one normalisation for every membership; the other lets features exceed the bound."""
    weights = np.random.default_rng(1).dirichlet(np.ones(3), size=20)
    assert np.allclose(weights.T @ np.ones(20), weights.sum(0))
    assert np.all((weights**2).T @ np.ones(20) < 0.9 * weights.sum(0))
    p = SoftOrthogonal(softness=0.3)  # four orthogonal lines, eps = 3
    bound = theory.energy_bound([p.per] * p.classes, p.dim, p.dim, eps=p.eps)
    right, printed = (soft_reduction(p, Stream("soft"), squared=one)["reduction"] for one in (False, True))
    # by hand: second moments have eigenvalues w (1 - s + s/K) and w s/K in class k, w of the whole
    s, K, w = 0.3, 4, 1 / (0.775**2 + 3 * 0.075**2)
    by_hand = [2 * math.log1p(v / 9) - 0.5 * math.log1p(4 * v * 0.775 / 9) - 1.5 * math.log1p(4 * v * s / K / 9)
               for v in (1, w)]  # fmt: skip
    assert [right, printed] == pytest.approx(by_hand, rel=1e-12)
    assert right < bound
    assert printed / bound == pytest.approx(1.1326533, abs=1e-7)


# ---------------------------------------------------------------- equal classes


@pytest.mark.parametrize(("classes", "q"), [(2, 1), (3, 2), (3, 4), (10, 2)])
def test_balanced_maximum_up_to_its_largest_distortion_and_not_beyond(classes, q):
    dim, per = classes * q, q + 1
    limit = min(theory.balanced_largest_eps(classes, dim), 3.0)
    rng = np.random.default_rng(q)
    for eps in (0.3 * limit, limit):
        value = theory.balanced_maximum(per, classes, dim, eps=eps)
        whole = 0.5 * dim * math.log1p(eps**-2)
        parts = 0.5 * q * math.log1p(classes * eps**-2)
        assert value == pytest.approx(whole - parts, rel=1e-11)
        if classes <= 4:
            tight = blocks(rng, (per,) * classes, dim, [[per / q] * q] * classes)
            assert reduction(tight, (per,) * classes, eps) == pytest.approx(value, rel=1e-12)
    if q > 1:
        fewer = [r * f(q / mpmath.mpf(1.001 * limit) ** 2 / r, 1 / mpmath.mpf(classes)) for r in (q - 1, q)]
        assert fewer[0] > fewer[1]
        with pytest.raises(OutOfDomain, match="fewer directions are better"):
            theory.balanced_maximum(per, classes, dim, eps=1.001 * limit)


def test_balanced_maximum_bounds_any_sharing_of_the_total_energy():
    """Lagrange duality: Delta R <= max F + lambda N/2 at the matched lambda, for eps^2 <= 1/u_t(1/K)."""
    for eps in (0.2, 0.6, float(theory.maxwell_point(1 / 3)) ** -0.5):
        value = theory.balanced_maximum(4, 3, 6, eps=eps)
        lam = theory.matched_multiplier((4,) * 3, 6, (2,) * 3, eps=eps)[0]
        assert theory.global_maximum((4,) * 3, 6, eps=eps, lam=lam).value + lam * 6 == pytest.approx(value, rel=1e-12)
        rng = np.random.default_rng(0)
        for _ in range(40):
            Z = rng.standard_normal((12, 6)) * np.repeat(10 ** rng.uniform(-1, 1, 3), 4)[:, None]
            assert reduction(Z * math.sqrt(12 / np.sum(Z**2)), (4,) * 3, eps) < value


# ---------------------------------------------------------------- the regularised problem


@pytest.mark.parametrize(("sizes", "ranks"), [((3, 3, 3), (1, 1, 1)), ((3, 6), (2, 3)), ((2, 2, 5), (1, 1, 3))])
def test_matched_multiplier_is_that_of_the_gradient(sizes, ranks):
    eps, dim = 0.6, 5
    Z = blocks(np.random.default_rng(0), sizes, dim, [[n / r] * r for n, r in zip(sizes, ranks, strict=True)])
    lam = theory.matched_multiplier(sizes, dim, ranks, eps=eps)
    gradient = autodiff(Z, sizes, eps, 0.0)[1]
    assert np.abs(gradient - np.repeat(lam, sizes)[:, None] * Z).max() <= 1e-13
    assert (np.ptp(lam) <= 1e-15) == (len(set(sizes)) == 1)  # unequal classes have no common multiplier


def test_matched_point_is_a_global_maximum_from_the_maxwell_point_on():
    point = float(theory.maxwell_point(0.5))
    for u, expected in ((0.99 * point, False), (1.01 * point, True)):
        eps = math.sqrt(0.5 * 4 / (2 * u))
        assert theory.matched_point_is_global(3, 2, 4, 2, eps=eps) is expected
        lam = theory.matched_multiplier((3, 3), 4, (2, 2), eps=eps)[0]
        Z = blocks(np.random.default_rng(1), (3, 3), 4, [[1.5, 1.5]] * 2)
        best = theory.global_maximum((3, 3), 4, eps=eps, lam=lam).value
        assert bool(abs(reduction(Z, (3, 3), eps, lam) - best) <= 1e-13) is expected
        # uneven splits are as good, and violate the constraint
        uneven = blocks(np.random.default_rng(2), (3, 3), 4, [[1.5], [1.5] * 3])
        assert reduction(uneven, (3, 3), eps, lam) == pytest.approx(reduction(Z, (3, 3), eps, lam), abs=1e-13)
        assert dynamics.hessian_index(Z, (3, 3), eps=eps, lam=lam) == 0


def test_units_of_the_official_code():
    """Its loss is logdet(I + d/(N eps) Z Z^T)/2 - ... - lmb ||Z||^2; its comment enters eps = 0.5 squared."""
    eps, lam = theory.from_official(0.5, 0.01)
    assert theory.to_official(eps, lam) == pytest.approx((0.5, 0.01), rel=1e-15)
    rng, sizes = np.random.default_rng(0), (3, 4)
    Z = rng.standard_normal((7, 3))
    official = 0.5 * np.linalg.slogdet(np.eye(3) + 3 / (7 * 0.5) * Z.T @ Z)[1] - 0.01 * np.sum(Z**2)
    for rows in (Z[:3], Z[3:]):
        official -= len(rows) / 14 * np.linalg.slogdet(np.eye(3) + 3 / (len(rows) * 0.5) * rows.T @ rows)[1]
    assert reduction(Z, sizes, eps, lam) == pytest.approx(official, rel=1e-13)
    limit = theory.published_multiplier_bound((200,) * 10, 100, eps=eps)
    assert round(limit, 5) == 0.05195
    assert theory.to_official(eps, limit)[1] == pytest.approx(0.02597, abs=1e-5)
    assert theory.published_multiplier_bound((200,) * 10, 100, eps=0.5) == pytest.approx(0.1039, abs=1e-4)


REFUSED = [
    (lambda: theory.constrained_ranks((5,), 3, (2,), eps=0.5), "one class alone has rate reduction zero"),
    (lambda: theory.constrained_ranks((5, 5), 3, (3, 3), eps=0.1), "the optimal ranks .* need 6 orthogonal directions"),
    (lambda: theory.constrained_ranks((5, 5), 4, (2, 0), eps=0.5), "pass d_k >= 1"),
    (lambda: theory.constrained_maximum((5, 5), 4, (2, 2), eps=-1), "eps=-1.0: must be positive"),
    (lambda: theory.rank_threshold(1.0, 2), "x=1.0: must lie in"),
    (lambda: theory.full_rank_constant(0.5, 1), "rank 1 cannot be lost"),
    (lambda: theory.balanced_maximum(4, 3, 7, eps=0.5), "must be a multiple of classes=3"),
    (lambda: theory.balanced_maximum(1, 3, 6, eps=0.5), "class_size=1: a class needs dim/classes=2 samples"),
    (lambda: theory.matched_multiplier((4, 4), 3, (2, 2), eps=0.5), "sum r_k <= dim=3"),
    (lambda: theory.energy_bound([3.0, -1.0], 4, 2, eps=0.5), "masses=-1.0: must be positive"),
    (lambda: theory.from_official(0.5, 0.0), "lmb=0.0: must be positive"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_input_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(OutOfDomain, match=sentence):
        call()
