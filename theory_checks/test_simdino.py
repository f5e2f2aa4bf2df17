"""SimDINO by independent routes: autodiff of plain losses, root finding, enumeration, the public code's loss retold."""

import itertools
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.data.views import two_view_linear
from lab.models.self_distillation import simdino_loss
from lab.systems.simdino import dynamics, laws, theory

seeds = st.integers(0, 2**32 - 1)
SMALL = settings(deadline=None, max_examples=25)


@pytest.fixture(autouse=True, scope="module")
def double():
    with jax.enable_x64(True):
        yield


def rate(Z, eps):
    """Coding rate by definition."""
    n, d = Z.shape
    return 0.5 * jnp.linalg.slogdet(jnp.eye(d) + d / (n * eps**2) * Z.T @ Z)[1]


def unit(Y):
    return Y / (Y**2).sum(axis=-1, keepdims=True) ** 0.5


# ---------------------------------------------------------------- optimum and collapsed state


@SMALL
@given(seeds)
def test_no_unit_features_beat_the_optimum(seed):
    rng = np.random.default_rng(seed)
    n, d, eps = int(rng.integers(2, 9)), int(rng.integers(2, 7)), 10 ** rng.uniform(-1, 0.5)
    Z = unit(rng.standard_normal((2, n, d)) * rng.dirichlet(np.ones(d)))
    best = theory.optimal_loss(n, d, eps=eps, gamma=0.7)
    assert float(simdino_loss(Z, Z, eps=eps, gamma=0.7)) >= best * (1 + 1e-12)


def test_the_optimum_is_attained_by_frames_and_the_collapsed_state_by_one_vector():
    tight = np.stack([np.concatenate([np.eye(3), -np.eye(3)])] * 2)
    assert float(simdino_loss(tight, tight, eps=0.4, gamma=0.2)) == pytest.approx(
        theory.optimal_loss(6, 3, eps=0.4, gamma=0.2), rel=1e-13
    )
    few = np.stack([np.eye(5)[:2]] * 2)
    assert float(simdino_loss(few, few, eps=0.4, gamma=0.2)) == pytest.approx(
        theory.optimal_loss(2, 5, eps=0.4, gamma=0.2), rel=1e-13
    )
    one = np.full((2, 6, 3), 1 / math.sqrt(3))
    assert float(simdino_loss(one, one, eps=0.4, gamma=0.2)) == pytest.approx(
        theory.collapsed_loss(3, eps=0.4, gamma=0.2), rel=1e-13
    )
    on_sphere, free = jax.jit(lambda Y: (jax.grad(lambda Y: rate(unit(Y), 0.4))(Y), jax.grad(rate)(Y, 0.4)))(one[0])
    assert np.abs(on_sphere).max() < 1e-14  # stationary on the sphere, although the gradient is not small
    assert np.linalg.norm(free) > 0.1


# ---------------------------------------------------------------- norm of the gradient


@SMALL
@given(seeds)
def test_largest_gradient_norm_is_the_maximum_over_spectra(seed):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 9)), int(rng.integers(1, 6))
    eps = math.sqrt(d / (min(n, d) * 10 ** rng.uniform(-1, 1.5)))  # c/q from .1 to 30
    c, q = d / eps**2, min(n, d)
    # one value u_1 = t c, the rest equal (a grid in t), and random spectra: none above, the grid reaches it
    t = np.concatenate([np.linspace(0, 1, 20001), [1 / q]])
    spectra = np.concatenate([t[:, None] * c, (1 - t[:, None]) * c / max(q - 1, 1) * np.ones((t.size, q - 1))], axis=1)
    spectra = spectra if q > 1 else np.full((1, 1), c)
    spectra = np.concatenate([spectra, c * rng.dirichlet(np.full(q, 0.3), size=3000)])
    norms = np.sqrt(c / n * np.sum(spectra / (1 + spectra) ** 2, axis=1))
    best = theory.largest_unit_gradient_norm(n, d, eps=eps)
    assert norms.max() <= best * (1 + 1e-13)
    assert norms.max() >= best * (1 - 1e-6)
    bound, crude = theory.unit_gradient_norm_bound(n, d, eps=eps), theory.gradient_norm_bounds(n, d, eps=eps)[1]
    assert math.sqrt((q - 1) / q) * bound <= best * (1 + 1e-13)
    assert best <= bound * (1 + 1e-13) <= crude * (1 + 2e-13)
    if c <= q:
        assert best == pytest.approx(bound, rel=1e-13)


def test_every_spectrum_of_the_right_sum_belongs_to_unit_rows():
    # Schur-Horn, made explicit: turn pairs of rows of a diagonal Gram root until every row has norm one
    u = np.array([5.0, 0.7, 0.3])
    Z = np.zeros((6, 3))
    Z[:3] = np.diag(np.sqrt(u * 6 / u.sum()))
    for _ in range(40):
        norms = np.sum(Z**2, axis=1)
        if np.abs(norms - 1).max() < 1e-14:
            break
        i, j = np.argmax(norms), np.argmin(norms)
        angle = scipy.optimize.brentq(
            lambda a, i=i, j=j: np.sum((math.cos(a) * Z[i] + math.sin(a) * Z[j]) ** 2) - 1, 0, math.pi / 2, xtol=1e-15
        )
        Z[[i, j]] = math.cos(angle) * Z[i] + math.sin(angle) * Z[j], -math.sin(angle) * Z[i] + math.cos(angle) * Z[j]
    assert np.abs(np.sum(Z**2, axis=1) - 1).max() < 1e-13
    assert np.linalg.eigvalsh(Z.T @ Z)[::-1] == pytest.approx(u * 6 / u.sum(), rel=1e-12)


def test_known_suprema():
    assert theory.largest_unit_gradient_norm(30, 6, eps=2.0) == pytest.approx(0.219089, abs=5e-7)
    assert theory.largest_unit_gradient_norm(30, 6, eps=0.5) == pytest.approx(1.01886, abs=5e-6)
    bound = theory.unit_gradient_norm_bound(30, 6, eps=0.5)
    assert math.sqrt(5 / 6) * bound < 1.01886
    assert bound == pytest.approx(1.0954, abs=5e-5)


def test_steepest_features_climbs_the_norm_that_autodiff_sees():
    end = dynamics.steepest_features(np.random.default_rng(0).standard_normal((7, 3)), eps=0.5)
    norm = lambda Y: jnp.linalg.norm(jax.grad(rate)(unit(Y), 0.5))  # noqa: E731
    value, slope = jax.jit(jax.value_and_grad(norm))(end.Z)
    assert float(value) == pytest.approx(end.value, rel=1e-13)
    assert np.abs(slope).max() < 1e-8


def test_balancing_weight_scales_like_the_commented_choice_of_the_public_code_only():
    for n, d, code_eps in ((256, 32, 0.05), (1024, 256, 0.5)):
        commented = (code_eps * n) ** 0.5 / d
        assert theory.balancing_weight(n, d, eps=math.sqrt(code_eps)) == pytest.approx(2 * commented, rel=1e-13)
    default = [(d + n) / (d * n) for n, d in ((256, 32), (4096, 32))]
    balanced = [theory.balancing_weight(n, d, eps=0.5) for n, d in ((256, 32), (4096, 32))]
    assert balanced[1] / balanced[0] == pytest.approx(4)  # grows with the batch
    assert default[1] / default[0] < 1  # falls


# ---------------------------------------------------------------- the collapsed state


def plain_step(state, X, bias, p):
    """One training step by automatic differentiation of the loss as it is defined."""
    student, teacher = state

    def loss(W):
        Zs, Zt = unit(bias + X @ W), unit(bias + X @ teacher)
        align = 0.25 * sum(jnp.mean(jnp.sum((Zs[v] - Zt[1 - v]) ** 2, axis=-1)) for v in (0, 1))
        Z = Zs if p.of == "student" else 0.5 * (Zs + Zt)
        Z = Z - Z.mean(axis=1, keepdims=True) if p.centred else Z
        return align - p.gamma * 0.5 * (rate(Z[0], p.eps) + rate(Z[1], p.eps))

    moved = student - p.step * jax.grad(loss)(student)
    return moved, p.momentum * teacher + (1 - p.momentum) * moved


@pytest.mark.parametrize("of", ["student", "mean"])
@pytest.mark.parametrize("centred", [False, True])
def test_growth_is_the_spectrum_of_the_derivative_of_a_training_step(of, centred):
    rng = np.random.default_rng(1)
    nu, d = np.array([0.1, 0.45, 0.9]), 3
    X = jnp.asarray(two_view_linear(rng, signal=np.diag(1 - nu), noise=np.diag(nu), n=20, exact=True).x)
    bias = unit(jnp.asarray(rng.standard_normal(d)))
    flat = lambda state: jnp.concatenate([a.ravel() for a in state])  # noqa: E731

    @jax.jit
    def derivative(eps, gamma, momentum, step):
        p = SimpleNamespace(eps=eps, gamma=gamma, momentum=momentum, step=step, of=of, centred=centred)
        parts = lambda v: plain_step((v[:9].reshape(3, d), v[9:].reshape(3, d)), X, bias, p)  # noqa: E731
        return jax.jacfwd(lambda v: flat(parts(v)))(jnp.zeros(18))

    for eps, gamma, momentum, step in ((0.8, 0.1, 0.0, 0.3), (0.5, 0.04, 0.9, 1.0), (1.2, 0.6, 0.97, 0.2)):
        found = np.sort(np.linalg.eigvals(np.asarray(derivative(eps, gamma, momentum, step))).real)[::-1]
        push = theory.rate_push(d, eps=eps, gamma=gamma, centred=centred, of=of)
        expected = []
        for one in nu:
            # along b the features do not move: the student stays, the teacher follows it (eigenvalues 1 and m); across
            # b, d - 1 directions each
            a, b = 1 + step * (push[0] - 1), step * (1 - one + push[1])
            matrix = np.array([[a, b], [(1 - momentum) * a, momentum + (1 - momentum) * b]])
            values = np.sort(np.linalg.eigvals(matrix).real)[::-1]
            assert theory.growth_factor(one, push, momentum=momentum, step=step) == pytest.approx(values[0], rel=1e-13)
            assert theory.transient_factor(one, push, momentum=momentum, step=step) == pytest.approx(
                values[1] / values[0], rel=1e-10, abs=1e-15
            )
            expected += [1.0, momentum] + [*values] * (d - 1)
        assert np.abs(found - np.sort(expected)[::-1]).max() < 1e-7  # double eigenvalues: root of the rounding


@settings(deadline=None, max_examples=200)
@given(st.floats(0, 1), st.floats(0, 3), st.floats(0, 1), st.floats(0, 0.999), st.floats(0.01, 1))
def test_growth_crosses_one_where_the_push_passes_the_noise(nu, own, other, momentum, step):
    growth = theory.growth_rate(nu, (own, other), momentum=momentum, step=step)
    excess = own + other - nu
    if abs(excess) > 1e-12:
        assert np.sign(growth) == np.sign(excess)
    slow = theory.slow_rate(nu, (own, other), momentum=momentum, step=step)
    if abs(growth) < 1e-3 * (1 - momentum) * step and own < 0.9:
        # the next order is rate^2 over the gap to the other eigenvalue, at least (1-m) step (1 - own)/2
        assert growth == pytest.approx(slow, rel=0.05)


def test_onset_conventions():
    for of, factor in (("student", 1), ("mean", 2)):
        centred, not_centred = (theory.collapse_onset(0.3, 4, eps=1.0, centred=c, of=of) for c in (True, False))
        assert centred == pytest.approx(factor * 0.3 / 4)
        assert not_centred / centred == pytest.approx(1 + 1 / 4)


# ---------------------------------------------------------------- the public code, told again


def public_loss(student, teacher, *, code_eps, processes, reduced, mean):
    """Loss of one process as the public code computes it: features (views, batch, d), lists over processes."""
    import torch

    losses = []
    for mine, theirs in zip(student, teacher, strict=True):
        views, batch, d = mine.shape
        cosine = torch.nn.functional.cosine_similarity(theirs[:, None], mine[None], dim=-1)  # (G, V, batch)
        different = ~torch.eye(len(theirs), views, dtype=torch.bool)
        align = cosine.mean(-1)[different].sum() / different.sum()
        expand = 0.0
        for g in range(len(theirs)):
            sources = zip(student, teacher, strict=True) if reduced else [(mine, theirs)]
            moment = sum(z.T @ z for z in ((s[g] + t[g]) / 2 if mean else s[g] for s, t in sources))
            scaled = d / (batch * processes * code_eps) * moment
            expand = expand + torch.linalg.cholesky(torch.eye(d, dtype=mine.dtype) + scaled).diagonal().log().sum()
        gamma = (d + processes * batch) / (d * processes * batch)
        losses.append(-align - gamma * expand / len(theirs))
    return losses


def test_the_loss_is_that_of_the_public_code_up_to_a_constant():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    Z, T = unit(rng.standard_normal((6, 9, 4))), unit(rng.standard_normal((2, 9, 4)))
    for mean in (False, True):
        (public,) = public_loss([torch.tensor(Z)], [torch.tensor(T)], code_eps=0.5, processes=1, reduced=False,
                                mean=mean)  # fmt: skip
        ours = simdino_loss(Z, T, eps=math.sqrt(0.5), gamma=(4 + 9) / (4 * 9), of="mean" if mean else "student")
        assert float(ours) == pytest.approx(1 + float(public), rel=1e-13)


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("processes", [1, 4])
def test_official_settings_are_the_stability_of_the_public_loss(reduced, mean, processes):
    torch = pytest.importorskip("torch")
    rng, d, batch, nu, size = np.random.default_rng(3), 5, 16, 0.4, 1e-5
    bias = torch.tensor(np.eye(d)[0])
    X = [
        torch.tensor(two_view_linear(rng, signal=np.array([[1 - nu]]), noise=np.array([[nu]]), n=batch, exact=True,
                                     symmetric=True).x)
        for _ in range(processes)
    ]  # fmt: skip
    start = size * np.eye(d)[1:2]
    W, fixed = torch.tensor(start, requires_grad=True), torch.tensor(start)

    def encode(x, weight):
        return torch.nn.functional.normalize(bias + x @ weight, dim=-1)

    losses = public_loss([encode(x, W) for x in X], [encode(x, fixed) for x in X], code_eps=0.5, processes=processes,
                         reduced=reduced, mean=mean)  # fmt: skip
    # data-parallel training averages the gradients of the processes; the sum of moments sends each gradient to all
    (sum(losses) / processes).backward()
    restoring = float(W.grad[0, 1]) / size  # nu - gain
    found = theory.official_settings(
        dim=d, batch=batch, processes=processes, reduced=reduced, of="mean" if mean else "student"
    )
    assert nu - restoring == pytest.approx(found.gain, rel=1e-6)
    if processes == 4:
        one = theory.official_settings(dim=d, batch=4 * batch, of="mean" if mean else "student")
        assert (found.gain == pytest.approx(one.gain)) == reduced  # unless reduced, processes are not one large batch


def test_numbers_of_the_official_settings():
    assert theory.official_settings(of="student").gain == pytest.approx((1 / 256 + 1 / 64) * 512**2 / 513)
    readme = theory.official_settings(processes=8, code_eps=0.05)
    assert readme.gain == pytest.approx((1 / 256 + 1 / 512) / 2 * 640**2 / 641)
    assert readme.gain > 1  # 1.872: collapse is unstable along noise, too
    defaults = theory.official_settings(processes=8)
    assert defaults.gain == pytest.approx((1 / 256 + 1 / 512) / 2 * 64**2 / 65)
    assert defaults.gain < 0.2  # noisier modes do not leave the collapsed state
    assert defaults.eps == pytest.approx(2.0)  # where eps^2 = .5 was meant


# ---------------------------------------------------------------- alignment


def test_expected_alignment_by_enumeration():
    # signal and noises take two values each, all equally likely: an exact expectation
    root_s, root_n = np.array([[1.0, 0.3], [0.0, 0.7]]), np.array([[0.5, 0.0], [-0.4, 0.9]])
    student, teacher = np.array([[1.0, 0.2, 0.0], [0.5, -1.0, 2.0]]), np.array([[0.3, 0.1, 1.0], [1.0, 0.0, -0.5]])
    total, count = 0.0, 0
    for signs in itertools.product((-1.0, 1.0), repeat=6):
        s, n, other = (np.array(signs[k : k + 2]) for k in (0, 2, 4))
        x, y = s @ root_s + n @ root_n, s @ root_s + other @ root_n
        total += 0.5 * np.sum((x @ student - y @ teacher) ** 2)
        count += 1
    found = theory.expected_alignment(student, teacher, signal=root_s.T @ root_s, noise=root_n.T @ root_n)
    assert found == pytest.approx(total / count, rel=1e-13)


def test_the_printed_empirical_loss_is_no_mean():
    # two views that differ from the teacher's by 1 everywhere: the cost is 1/2 however pairs are averaged
    student, teacher = np.ones((2, 3, 1)), np.zeros((2, 3, 1))
    assert float(simdino_loss(student, teacher, eps=1e9, gamma=0.0)) == pytest.approx(0.5)
    printed = sum(0.5 * np.mean((student[j] - teacher[i]) ** 2) for i in range(2) for j in range(2)) / (2 * (2 - 1))
    assert printed == pytest.approx(theory.printed_alignment_factor(2, 2) * 0.5) == pytest.approx(1.0)


# ---------------------------------------------------------------- the laws accept what other routes give


def test_laws_accept_values_from_other_routes():
    p = laws.COLLAPSE_ONSET.examples[0]
    kappa = p.c**2 / (1 + p.c)
    assert laws.COLLAPSE_ONSET.accepts(p, p.lowest / kappa * p.c)
    assert not laws.COLLAPSE_ONSET.accepts(p, p.lowest)
    q = laws.LARGEST_GRADIENT_NORM.examples[0]
    assert laws.LARGEST_GRADIENT_NORM.accepts(q, math.sqrt(q.c / q.n * q.q * 0.25) / 1.25)  # c/q = .25, all equal
