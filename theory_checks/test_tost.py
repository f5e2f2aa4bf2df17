"""Token statistics transformer: autodiff, brute force, exact densities, high precision, and a plain published layer."""

import doctest
import importlib
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from lab.errors import OutOfDomain
from lab.models import white_box
from lab.systems.tost import theory
from lab.systems.tost.laws import (
    DESCENT_EDGE,
    GAIN,
    LINEAR_COST,
    MEMBERSHIP_POSTERIOR,
    MEMBERSHIP_POSTERIOR_PRINTED,
    STRONG_CONCAVITY_PRINTED,
    VARIATIONAL_BOUND,
)
from lab.systems.tost.laws.cost import Layer, operator
from lab.systems.tost.laws.gain import Noisy
from lab.systems.tost.laws.membership import Mixture
from lab.systems.tost.laws.steps import Clusters
from lab.systems.tost.laws.variational import Framed

SMALL = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)


def frames(rng, K, d, p):
    return np.stack([np.linalg.qr(rng.standard_normal((d, p)))[0] for _ in range(K)])


def instance(seed, n=10, d=5, K=3, p=2):
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, d)) * 10 ** rng.uniform(-1, 1)
    return Z, frames(rng, K, d, p), rng.dirichlet(np.ones(K), size=n), 10 ** rng.uniform(-1, 1)


def plain_rate(Z, U, Pi, c):
    """The variational rate in the tokens-as-columns form of the paper, head by head."""
    X, total = Z.T, 0.0
    for k in range(U.shape[0]):
        mass = Pi[:, k].sum()
        moments = jnp.diag(U[k].T @ X @ jnp.diag(Pi[:, k]) @ X.T @ U[k]) / mass
        total += mass / (2 * X.shape[1]) * jnp.sum(jnp.log1p(c * moments))
    return total


@pytest.fixture(scope="module")
def autodiff():
    """Value and gradient by the tokens of the plain rate, compiled once for the shapes of `instance`."""
    compiled = jax.jit(jax.value_and_grad(plain_rate))

    def call(*arguments):
        with jax.enable_x64(True):
            return [np.asarray(a) for a in compiled(*(jnp.asarray(a) for a in arguments))]
    return call


@pytest.fixture
def rng():
    return np.random.default_rng(20241217)


# ---------------------------------------------------------------- the rate and its gradient


@SMALL
@given(seeds)
def test_rate_gradient_and_operator_agree_with_autodiff(autodiff, seed):
    Z, U, Pi, c = instance(seed)
    value, gradient = autodiff(Z, U, Pi, c)
    assert white_box.variational_rate(Z, U, Pi, c=c) == pytest.approx(value, rel=1e-12)
    size = c * np.linalg.norm(Z) / len(Z)  # slopes are at most c, frames orthonormal
    assert np.abs(white_box.variational_gradient(Z, U, Pi, c=c) - gradient).max() <= 1e-13 * size
    assert np.abs(white_box.tssa(Z, U, Pi, tau=7.0, c=c) + 7 * gradient).max() <= 1e-12 * size


def test_no_basis_beats_the_eigenvectors(rng):
    """Minimising the variational rate over rotations ends at the spectral rate, in eigenvectors, from every start."""
    S = np.diag([3.0, 1.0, 0.2])
    Z = np.sqrt(3) * np.linalg.cholesky(S).T

    def rate(angles):
        generator = np.zeros((3, 3))
        generator[np.triu_indices(3, 1)] = angles
        half = np.eye(3) - generator + generator.T
        Q = np.linalg.solve(half, np.eye(3) + generator - generator.T)  # Cayley: orthogonal
        return white_box.variational_rate(Z, Q[None], np.ones((3, 1)), c=2.0)

    spectral = theory.spectral_rate([[3.0, 1.0, 0.2]], [3], c=2.0)
    ends = [optimize.minimize(rate, rng.standard_normal(3), method="BFGS").fun for _ in range(6)]
    assert min(ends) == pytest.approx(spectral, abs=1e-10)
    assert all(end >= spectral - 1e-12 for end in ends)
    p = Framed(frame="eigenvectors")
    assert VARIATIONAL_BOUND.accepts(p, 0.0)  # any smaller number is a lower bound
    assert not VARIATIONAL_BOUND.accepts(p, p.dim * math.log1p(p.energy * p.heads))


@pytest.mark.parametrize("name", theory.FUNCTIONS)
def test_functions_are_concave_and_their_slopes_are_slopes(name):
    f = theory.FUNCTIONS[name]
    x = np.linspace(0.01, 3, 400)
    values = f.value(x)
    assert f.value(np.zeros(1))[0] == 0
    chords = (f.value(x[:-2]) + f.value(x[2:])) / 2 - f.value((x[:-2] + x[2:]) / 2)
    assert (chords <= 1e-15).all()
    assert (chords < -1e-9).all() == f.strict
    tangents = values[:, None] + f.slope(x)[:, None] * (x - x[:, None])
    assert (values <= tangents + 1e-14).all()
    assert f.slope_at_zero == pytest.approx(f.slope(np.array([1e-12]))[0], rel=1e-6) or math.isinf(f.slope_at_zero)


@SMALL
@given(st.floats(-6, 8), st.floats(-6, 8), st.floats(0, 1.57))
def test_rotation_gap_is_the_logarithm_of_a_determinant_ratio(a, b, angle):
    a, b = 10**a, 10**b
    with mpmath.workdps(60):
        cosine, sine = mpmath.cos(angle), mpmath.sin(angle)
        first, second = a * cosine**2 + b * sine**2, a * sine**2 + b * cosine**2
        gap = mpmath.log((1 + first) * (1 + second)) - mpmath.log((1 + mpmath.mpf(a)) * (1 + mpmath.mpf(b)))
        assert abs(theory.rotation_gap(a, b, angle) - gap) <= 1e-12 * gap + 1e-14


def test_the_logarithm_is_strictly_but_not_strongly_concave():
    """f + (mu/2) t² stops being concave at t = 1/sqrt(mu) - 1 for every mu: no modulus on [0, inf)."""
    for mu in (1e-1, 1e-4, 1e-8):
        t = 2 / math.sqrt(mu)
        with mpmath.workdps(40):
            curvature = mpmath.diff(lambda x, mu=mu: mpmath.log(1 + x) + mu * x**2 / 2, t, 2)
        assert curvature > 0
        assert theory.gap_curvature(1.0, t) < mu
    verdicts = [STRONG_CONCAVITY_PRINTED.check(p) for p in STRONG_CONCAVITY_PRINTED.examples]
    assert all(check.refuted for check in verdicts)
    assert min(p.modulus for p in STRONG_CONCAVITY_PRINTED.examples) < 1e-8


# ---------------------------------------------------------------- steps


def changed(Z, U, Pi, c, s):
    before, after = (
        white_box.variational_rate(V, U, Pi, c=c) for V in (Z, Z + white_box.tssa(Z, U, Pi, tau=s * len(Z) / c, c=c))
    )
    return after / before - 1


@SMALL
@given(seeds)
def test_small_tokens_stop_descending_where_a_quadratic_form_says(seed):
    """As tokens vanish the rate is quadratic, with P_j = sum_k Pi_jk U_k U_k^T for token j: the edge of descent is
    2 sum z P² z / sum z P³ z, never below 2, above it for random truncated frames."""
    Z, U, Pi, c = instance(seed)
    Z = 1e-5 * Z / np.linalg.norm(Z) / math.sqrt(c)
    P = np.tensordot(Pi, U @ U.mT, axes=1)
    once = (P @ Z[..., None])[..., 0]
    twice = (P @ once[..., None])[..., 0]
    edge = 2 * np.sum(once**2) / np.sum(once * twice)
    assert edge > 2.001  # so that random truncated heads still descend slightly beyond the bound
    found = optimize.brentq(lambda s: changed(Z, U, Pi, c, s), 1.0, 2 * edge)
    assert found == pytest.approx(edge, rel=1e-6)


def test_truncated_heads_are_not_safer_than_complete_ones(rng):
    """Tokens inside the head that they belong to: the bound is sharp for p < d too."""
    U = np.linalg.qr(rng.standard_normal((6, 2)))[0][None]
    Z = 1e-6 * rng.standard_normal((8, 2)) @ U[0].T
    for s, sign in ((1.999, -1), (2.001, 1)):
        assert changed(Z, U, np.ones((8, 1)), 1.0, s) * sign == pytest.approx(2e-3, rel=1e-2)


@pytest.mark.parametrize("p", DESCENT_EDGE.examples)
def test_edge_of_descent_by_bisection_of_plain_moments(p):
    """The factor of the second moments, cluster by cluster, brought to 1 by bisection in 30 digits."""
    others = [(1 - p.confidence) / (p.heads - 1)] * (p.heads - 1) if p.heads > 1 else []
    weights = [mpmath.mpf(w) for w in ([1] if p.full else [p.confidence, *others])]

    def factor(s):
        return sum(w * (1 - s * w / (1 + p.u)) ** 2 for w in weights) / sum(weights) - 1

    with mpmath.workdps(30):
        edge = mpmath.findroot(factor, (1.5 + p.u, 20 * (1 + p.u)), solver="anderson")
    assert p.edge == pytest.approx(float(edge), rel=1e-12)
    setting = {"heads": p.heads, "confidence": p.confidence, "full": p.full}
    assert theory.rate_change(p.edge, p.u, **setting) == pytest.approx(0, abs=1e-12)
    assert theory.rate_change(0.99 * p.edge, p.u, **setting) < 0 < theory.rate_change(1.01 * p.edge, p.u, **setting)
    assert DESCENT_EDGE.accepts(p, p.edge)
    assert not DESCENT_EDGE.accepts(p, 1.01 * p.edge)


def test_best_linear_denoiser_by_least_squares(rng):
    """Regression of a signal on signal plus noise with exact sample moments: the layer's matrix at s = 1."""
    c, d, n = 2.0, 4, 60
    columns = np.linalg.qr(rng.standard_normal((n, 2 * d)))[0] * math.sqrt(n)
    signal = columns[:, :d] @ rng.standard_normal((d, d))
    noisy = signal + columns[:, d:] / math.sqrt(c)
    best = np.linalg.lstsq(noisy, signal, rcond=None)[0]
    moments, vectors = np.linalg.eigh(signal.T @ signal / n)
    np.testing.assert_allclose(best, vectors * theory.lmmse_shrinkage(moments, c) @ vectors.T, rtol=1e-10, atol=1e-12)
    layer = signal + white_box.tssa(signal, vectors[None], np.ones((n, 1)), tau=n / c, c=c)
    np.testing.assert_allclose(layer, signal @ best, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(theory.wiener_map(moments, 1.0, c), moments * theory.lmmse_shrinkage(moments, c) ** 2)


# ---------------------------------------------------------------- membership


@pytest.mark.parametrize("p", MEMBERSHIP_POSTERIOR.examples)
def test_posterior_against_scipy_densities(rng, p):
    U = frames(rng, p.heads, p.dim, p.rank)
    z = rng.standard_normal((20, p.dim))
    densities = [stats.multivariate_normal(cov=p.s * u @ u.T + p.eta * np.eye(p.dim)).logpdf(z) for u in U]
    expected = np.exp(densities - np.logaddexp.reduce(densities, axis=0)).T
    energies = np.sum((z @ U) ** 2, axis=-1).T
    found = theory.membership(energies, theory.posterior_scale(p.s, p.eta))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(
        white_box.tssa_membership(z, U, scale=theory.posterior_scale(p.s, p.eta)), found, atol=1e-12
    )


def test_published_temperature_is_the_limit_of_strong_signals_only():
    for ratio in (1.0, 10.0, 1e3):
        assert theory.published_scale(0.3) / theory.posterior_scale(0.3 * ratio, 0.3) == pytest.approx(1 + 1 / ratio)
    assert theory.published_scale(0.3) == pytest.approx(theory.posterior_scale(3e12, 0.3), rel=1e-9)
    errors = []
    for p in (Mixture(snr=2 / 0.3, eta=0.3, n=20), Mixture(snr=1.0, eta=1.0, n=20)):
        check = MEMBERSHIP_POSTERIOR_PRINTED.check(p)
        assert check.refuted
        region = check.worst().region
        errors.append(float(np.abs(region.predicted - region.measured).max()))
    assert 0.01 < errors[0] < errors[1] < 0.5


# ---------------------------------------------------------------- the published layer


def published_layer(x, state, heads):
    """The ToST vision layer as its formula reads: one batch element and head at a time, tokens in rows."""
    torch = pytest.importorskip("torch")
    parts = []
    for tokens in x:
        W = (tokens @ state["qkv.weight"].T).reshape(len(tokens), heads, -1)
        shares = [[(W[i, k] / W[:, k].norm(dim=0)).square().sum() for k in range(heads)] for i in range(len(tokens))]
        logits = torch.stack([torch.stack(row) for row in shares]) * state["temp"][:, 0]
        pi = logits.exp() / logits.exp().sum(1, keepdim=True)
        out = torch.empty_like(W)
        for k in range(heads):
            moments = ((pi[:, k] / (pi[:, k].sum() + 1e-8))[:, None] * W[:, k] ** 2).sum(0)
            out[:, k] = -W[:, k] * pi[:, k, None] / (1 + moments)
        parts.append(out.reshape(len(tokens), -1) @ state["to_out.0.weight"].T + state["to_out.0.bias"])
    return torch.stack(parts)


def test_module_is_the_published_layer():
    torch = pytest.importorskip("torch")
    from lab.models.torch_modules import TSSA

    torch.manual_seed(1)
    layer, x = TSSA(dim=12, heads=3).double(), 3 * torch.randn(2, 9, 12, dtype=torch.float64)
    with torch.no_grad():
        layer.temp.copy_(torch.tensor([[5.0], [11.0], [2.0]]))
        torch.testing.assert_close(layer(x), published_layer(x, layer.state_dict(), 3), rtol=1e-12, atol=1e-12)
        # with the frames as output weight it is the operator at tau = N, c = 1 (which has no bias)
        tied = {**layer.state_dict(), "to_out.0.weight": layer.qkv.weight.T, "to_out.0.bias": torch.zeros(1)}
        published = published_layer(x, tied, 3)
        options = {"tau": 9.0, "c": 1.0, "scale": layer.temp[:, 0], "token_normalised": True}
        guarded = white_box.tssa(x, layer.frames, **options, guard=1e-8)
        torch.testing.assert_close(guarded, published, rtol=1e-12, atol=1e-12)
        # the guard lowers a second moment by 1e-8/n_k of itself, and the output by less
        masses = layer.membership(x).sum(-2)
        bare = white_box.tssa(x, layer.frames, **options)
        assert 0 < (bare - published).abs().max() <= 1e-8 / masses.min() * 3 * published.abs().max()


def test_tied_published_layer_is_a_gradient_step_of_length_n(autodiff):
    """Orthonormal weights, c = 1: the layer's output is -N times the gradient, at its own membership."""
    torch = pytest.importorskip("torch")
    from lab.models.torch_modules import TSSA

    Z, U, _, _ = instance(3)
    layer = TSSA(dim=5, heads=3, rank=2, tied=True, guard=0.0).double()
    with torch.no_grad():
        layer.qkv.weight.copy_(torch.asarray(np.moveaxis(U, 2, 1).reshape(6, 5)))
        out, Pi = layer(torch.asarray(Z)).numpy(), layer.membership(torch.asarray(Z)).numpy()
    gradient = autodiff(Z, U, Pi, 1.0)[1]
    np.testing.assert_allclose(out, -len(Z) * gradient, rtol=1e-11, atol=1e-13)
    energies = white_box.tssa_membership(Z, U, scale=0.5)
    assert np.abs(energies - Pi).max() > 0.05  # its membership is not the softmax of energies


# ---------------------------------------------------------------- cost and gain


@pytest.mark.parametrize("name", ["tssa, given", "tssa, energies", "tssa, published", "attention"])
def test_counts_agree_with_the_cost_analysis_of_the_compiler(name):
    """XLA's own count of the lowered program; it adds in single precision, so sizes are kept below 2^24 flops."""
    for sizes in ((64, 12, 4, 3), (33, 7, 2, 5), (2, 2, 1, 1)):
        p = Layer(operator=name, **dict(zip(("tokens", "dim", "heads", "rank"), sizes, strict=True)))
        layer, shapes = operator(p)
        lowered = jax.jit(layer).lower(*(jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes))
        found = lowered.cost_analysis()
        expected = LINEAR_COST.predict(p)
        assert found["flops"] == expected[0] < 2**24
        assert found.get("transcendentals", 0.0) == expected[1]


def test_matrix_flops_agree_with_the_counter_of_torch():
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    n, d, K, p = 40, 12, 3, 4
    Z, U = torch.randn(n, d), torch.randn(K, d, p)
    for layer, matrix in (
        (lambda: white_box.tssa(Z, U, tau=1.0, c=1.0, scale=1.0), 4 * n * d * K * p),
        (lambda: white_box.mssa(Z, U), 4 * n * d * K * p + 4 * n * n * K * p),
    ):
        with FlopCounterMode(display=False) as counter:
            layer()
        assert counter.get_total_flops() == matrix
    rest = theory.tssa_flops(n, d, K, p) - 4 * n * d * K * p
    assert rest == 4 * n * K * p + n * K + 4 * K * p + K
    assert theory.attention_flops(n, d, K, p) - 4 * n * d * K * p - 4 * n * n * K * p == 5 * K * n * n - 2 * K * n


@SMALL
@given(Noisy.strategy(), seeds)
def test_gain_is_exact_for_exact_second_moments(p, seed):
    """Clusters with second moments exactly 1 and delta² in every direction: the limit without a limit."""
    rng, K, r, size = np.random.default_rng(seed), 2, 2, 9
    scales = np.where(np.eye(K)[:, :, None] > 0, 1.0, p.delta) * np.ones((K, K, r))
    blocks = [np.linalg.qr(rng.standard_normal((size, K * r)))[0] * math.sqrt(size) * s.ravel() for s in scales]
    Z, Pi = np.concatenate(blocks), np.repeat(np.eye(K), size, axis=0)
    complete = np.broadcast_to(np.eye(K * r), (K, K * r, K * r))
    truncated = np.moveaxis(np.eye(K * r).reshape(K * r, K, r), 1, 0)
    found = []
    for U in (complete, truncated):
        V = Z + white_box.tssa(Z, U, Pi, tau=p.s * len(Z) / p.c, c=p.c)
        ratios = [np.linalg.norm(T[:size, :r]) / np.linalg.norm(T[:size, r:]) for T in (V, Z)]
        found.append(ratios[0] / ratios[1])
    np.testing.assert_allclose(found, GAIN.predict(p), rtol=1e-10)
    assert found[0] > 1 > found[1] > 0


# ---------------------------------------------------------------- what they refuse, and their examples


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: theory.spectral_rate([[1.0]], [1.0], c=0.0), "c=0.0"),
        (lambda: theory.spectral_rate([[-1.0]], [1.0], c=1.0), "spectra=-1.0"),
        (lambda: theory.rotation_gap(1.0, -2.0, 0.0), "b=-2.0"),
        (lambda: theory.largest_descent_step(1.0, 0), "tokens=0"),
        (lambda: theory.descent_edge(-1.0), "u=-1.0"),
        (lambda: theory.descent_edge(1.0, confidence=0.5), "single head"),
        (lambda: theory.descent_edge(1.0, heads=2, confidence=1.5), "confidence=1.5"),
        (lambda: theory.wiener_map(1.0, 1.0, float("nan")), "c=nan"),
        (lambda: theory.posterior_scale(0.0, 1.0), "s=0.0"),
        (lambda: theory.tssa_flops(0, 1, 1, 1), "tokens=0"),
        (lambda: theory.attention_flops(4, 1, 1, 2.5), "rank=2.5"),
        (lambda: theory.full_basis_gain(1.0, 1.0, -0.1), "delta=-0.1"),
        (lambda: Clusters(heads=1, confidence=0.5), "single head"),
        (lambda: Mixture(rank=5, dim=3), "rank=5"),
        (lambda: Noisy(membership="posterior", rank=4), "posterior"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises(OutOfDomain, match=words):
        call()


def test_unknown_functions_get_the_nearest_names():
    with pytest.raises(KeyError, match="nearest: log"):
        theory.spectral_rate([[1.0]], [1.0], c=1.0, function="logg")


@pytest.mark.parametrize("name", ["variational", "gaps", "steps", "membership", "cost", "gain"])
def test_examples_in_the_docstrings(name):
    found = doctest.testmod(importlib.import_module(f"lab.systems.tost.theory.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
