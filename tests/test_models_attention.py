"""Subspace attention, coding rates of the heads and steps: one answer and one gradient from every library."""

import functools

import numpy as np
import pytest
from array_api_extra.testing import assert_close, lazy_xp_function

from lab.arrays import namespace, to_numpy
from lab.errors import InputError
from lab.models import white_box as wb

N, D, K, P = 9, 7, 3, 2
BETA = 0.4
KINDS = ("constant", "indicator", "hard", "soft")


def instance(rng, *batch):
    return 1.5 * rng.standard_normal((*batch, N, D)), rng.standard_normal((*batch, K, D, P)) / np.sqrt(D)


def sharp(scores):
    """Weights of one's own: a softmax of doubled scores."""
    return wb.softmax(2 * scores)


PHIS = {"softmax": wb.softmax, "linear": wb.linear, "relu": wb.relu, "one's own": sharp} | {
    f"{kind} above {tau}": wb.thresholded(tau, kind) for kind in KINDS for tau in (0.3, 0.6)
}
OPERATORS = {f"mssa, {name}": functools.partial(wb.mssa, phi=phi, scale=0.7) for name, phi in PHIS.items()} | {
    "rate": lambda Z, U: wb.subspace_rate(Z, U, beta=BETA),
    "rate of normalised tokens": lambda Z, U: wb.normalised_head_rate(wb.head_coordinates(Z, U)),
    "rate of few tokens": lambda Z, U: wb.head_rate(wb.head_coordinates(Z[..., :1, :], U), beta=BETA),
    "gradient": lambda Z, U: wb.subspace_rate_gradient(Z, U, beta=BETA),
    "gradient of few tokens": lambda Z, U: wb.subspace_rate_gradient(Z[..., :1, :], U, beta=BETA),
    "neumann": lambda Z, U: wb.subspace_rate_gradient(Z, U, beta=BETA, form="neumann"),
    "rescaled": lambda Z, U: wb.rescaled_step(Z, wb.mssa(Z, U), eta=0.5, tau=0.6),
    "damped": lambda Z, U: wb.damped_step(Z, wb.mssa(Z, U), kappa=0.3),
    "normalised": lambda Z, U: wb.normalise_tokens(Z, square=P),
    "normalised in heads": lambda Z, U: wb.normalise_tokens(wb.head_coordinates(Z, U), square=P, axis=(-3, -1)),
    "gathered": lambda Z, U: wb.thresholded_attend(wb.head_coordinates(Z, U), tau=0.6, kind="hard", chunk=4)[0],
}


def everything(Z, U):
    return tuple(operator(Z, U) for operator in OPERATORS.values())


lazy_xp_function(everything)


def test_operators_are_the_same_in_every_library(xp, rng):
    # sums of at most 60 terms of order one, in different orders; linear attention multiplies four factors
    arrays = instance(rng)
    for ours, reference in zip(everything(*(xp.asarray(a) for a in arrays)), everything(*arrays), strict=True):
        assert_close(ours, xp.asarray(reference), rtol=1e-12, atol=1e-13)


def test_leading_axes_are_batch_axes(xp, rng):
    Z, U = instance(rng, 2, 3)
    results = everything(xp.asarray(Z), xp.asarray(U))
    for at in np.ndindex(2, 3):
        for result, alone in zip(results, everything(Z[at], U[at]), strict=True):
            np.testing.assert_allclose(to_numpy(result)[at], alone, rtol=1e-11, atol=1e-12)


def test_single_precision_is_kept(xp, rng):
    results = everything(*(xp.asarray(a.astype(np.float32)) for a in instance(rng)))
    assert all(str(result.dtype).endswith("float32") for result in results)


def test_gradients_of_torch_and_jax_are_those_of_differences(rng):
    """Gradients by both arguments, of each operator's product with a fixed array."""
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    arrays = instance(rng)
    weights = [rng.standard_normal(np.shape(result)) for result in everything(*arrays)]
    moves = [rng.standard_normal(a.shape) for a in arrays]

    def products(Z, U):
        xp = namespace(Z)
        found = zip(everything(Z, U), weights, strict=True)
        return xp.stack([xp.sum(result * xp.asarray(weight)) for result, weight in found])

    step = 1e-5
    ahead, behind = (products(*(a + s * m for a, m in zip(arrays, moves, strict=True))) for s in (step, -step))
    differences = (ahead - behind) / (2 * step)
    leaves = tuple(torch.asarray(a).requires_grad_() for a in arrays)
    by_jax = jax.jit(jax.grad(lambda Z, U: products(Z, U).sum(), argnums=(0, 1)))(*arrays)
    values, totals = products(*leaves), [0.0, 0.0]
    for name, value, difference in zip(OPERATORS, values, differences, strict=True):
        found = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
        slopes = [np.zeros(m.shape) if g is None else to_numpy(g) for g, m in zip(found, moves, strict=True)]
        totals = [total + slope for total, slope in zip(totals, slopes, strict=True)]
        slope = sum(np.sum(g * m) for g, m in zip(slopes, moves, strict=True))
        # central differences: step² times a third derivative, and rounding over the step
        assert difference == pytest.approx(slope, rel=2e-6, abs=2e-6 * max(1.0, abs(float(value.detach())))), name
    for theirs, ours in zip(by_jax, totals, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-10, atol=1e-12 * np.abs(ours).max())


# ---------------------------------------------------------------------- attention


def one_query(scores, name):
    """Weights of one query, from the definition of each kind."""
    if name == "linear":
        return list(scores)
    if name == "relu":
        return [max(s, 0.0) / len(scores) for s in scores]
    factor = 2 if name == "one's own" else 1
    total = sum(np.exp(factor * s) for s in scores)
    weights = [np.exp(factor * s) / total for s in scores]
    kind, _, tau = name.partition(" above ")
    if not tau:
        return weights
    tau = float(tau)
    chosen = {"constant": lambda w: tau, "indicator": lambda w: 1.0, "hard": lambda w: w, "soft": lambda w: w - tau}
    return [chosen[kind](w) if w > tau else 0.0 for w in weights]


@pytest.mark.parametrize("name", PHIS)
def test_attention_is_a_loop_over_heads_queries_and_keys(name, rng):
    Z, U = instance(rng)
    expected = np.zeros_like(Z)
    for frame in U:
        for i in range(N):
            scores = [0.7 * float((frame.T @ Z[i]) @ (frame.T @ Z[m])) for m in range(N)]
            weights = one_query(scores, name)
            expected[i] += frame @ sum(w * (frame.T @ Z[m]) for m, w in enumerate(weights))
    np.testing.assert_allclose(OPERATORS[f"mssa, {name}"](Z, U), expected, rtol=1e-11, atol=1e-12)


def test_head_coordinates_are_a_fast_path_for_orthogonal_frames(rng):
    Z = rng.standard_normal((N, D))
    U = np.moveaxis(np.linalg.qr(rng.standard_normal((D, K * P)))[0].reshape(D, K, P), 1, 0)
    W = wb.head_coordinates(Z, U)
    for phi in PHIS.values():
        after = Z + 0.3 * wb.mssa(Z, U, phi=phi)
        np.testing.assert_allclose(wb.head_coordinates(after, U), W + 0.3 * wb.attend(W, phi=phi), atol=1e-12)


def test_a_scale_may_differ_from_head_to_head(rng):
    Z, U = instance(rng)
    scales = np.asarray([0.1, 1.0, 3.0])
    together = wb.attend(wb.head_coordinates(Z, U), scale=scales[:, None, None])
    for k in range(K):
        alone = wb.attend(wb.head_coordinates(Z, U[k : k + 1]), scale=float(scales[k]))
        np.testing.assert_allclose(together[k], alone[0], rtol=1e-12)




@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [None, 1, 4, 50])
def test_the_gather_form_is_the_product(xp, kind, chunk, rng):
    W = 2 * rng.standard_normal((2, K, N, P))
    tau = np.asarray([0.5, 0.8])
    update, margins = wb.thresholded_attend(xp.asarray(W), tau=xp.asarray(tau), kind=kind, scale=0.7, chunk=chunk)
    scores = 0.7 * W @ W.mT
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    assert 0.1 < np.mean(weights.max(-1) > 0.8) < 0.9
    np.testing.assert_array_equal(to_numpy(margins.winner), weights.argmax(-1))
    np.testing.assert_allclose(to_numpy(margins.excess), np.log(weights.max(-1) / tau[:, None, None]), atol=1e-13)
    expected = wb.attend(W, phi=wb.thresholded(tau, kind), scale=0.7)
    np.testing.assert_allclose(to_numpy(update), expected, rtol=1e-12, atol=1e-13)
    both = wb.attend(W[0], phi=wb.thresholded(tau, kind), scale=0.7)  # two thresholds of the same tokens
    np.testing.assert_allclose(both[0], expected[0], rtol=1e-12, atol=1e-13)


def test_thresholds_are_decided_where_weights_round_to_one_or_zero():
    # two keys at distance g: the larger weight is 1/(1 + exp(-g)), one in float64 for g > 37, the other below 1e-308
    for gap in (40.0, 800.0):
        W = np.asarray([[[np.sqrt(gap)], [0.0]]])
        update, margins = wb.thresholded_attend(W, tau=1 - 1e-15)
        assert update[0, 0, 0] == (1 - 1e-15) * W[0, 0, 0]
        assert margins.excess[0, 0] > 0
        assert wb.thresholded(1e-300)(W @ W.mT)[0, 0, 1] == (1e-300 if gap < 690 else 0.0)


def test_margins_and_gathers_are_traced_by_jax(rng):
    jax = pytest.importorskip("jax")
    W, taus = 2 * rng.standard_normal((K, N, P)), np.asarray([0.5, 0.7, 0.9])
    W_jax = jax.numpy.asarray(W)
    found = jax.jit(jax.vmap(lambda tau: wb.thresholded_attend(W_jax, tau=tau, chunk=4)))
    updates, margins = found(jax.numpy.asarray(taus))
    for tau, update, excess in zip(taus, updates, margins.excess, strict=True):
        expected, reference = wb.thresholded_attend(W, tau=float(tau))
        np.testing.assert_allclose(update, expected, rtol=1e-12)
        np.testing.assert_allclose(excess, reference.excess, atol=1e-13)


# ---------------------------------------------------------------------- rates


@pytest.mark.parametrize("tokens", [N, 1])
def test_the_rate_is_that_of_its_definition_and_its_gradient_is_exact(tokens, rng):
    torch = pytest.importorskip("torch")
    Z, U = instance(rng)
    Z = Z[:tokens]
    rate = sum(0.5 * np.linalg.slogdet(np.eye(tokens) + BETA * Z @ u @ u.T @ Z.T)[1] for u in U)
    assert wb.subspace_rate(Z, U, beta=BETA) == pytest.approx(rate, rel=1e-13)
    leaf = torch.asarray(Z).requires_grad_()
    parts = [torch.logdet(torch.eye(P, dtype=leaf.dtype) + BETA * (leaf @ u).mT @ (leaf @ u)) for u in torch.asarray(U)]
    (slope,) = torch.autograd.grad(0.5 * sum(parts), leaf)
    np.testing.assert_allclose(wb.subspace_rate_gradient(Z, U, beta=BETA), slope, atol=1e-14)


def test_the_first_order_form_misses_the_gradient_by_its_remainder(rng):
    """In a singular direction with x = beta s²: beta s (1 - x) instead of beta s/(1 + x), a difference x²/(1 + x)."""
    left, s, right = np.linalg.svd(rng.standard_normal((N, P)), full_matrices=False)
    for beta in (0.01, 0.3, 20.0):
        x = beta * s**2
        missed = left @ np.diag(beta * s * x**2 / (1 + x)) @ right
        W = (left @ np.diag(s) @ right)[None]
        found = wb.head_rate_gradient(W, beta=beta) - wb.head_rate_gradient(W, beta=beta, form="neumann")
        np.testing.assert_allclose(found[0], missed, rtol=1e-9, atol=1e-12 * np.abs(missed).max())


def test_levels_are_batch_axes(xp, rng):
    W, levels = rng.standard_normal((4, K, N, P)), np.asarray([0.1, 1.0, 10.0, 100.0])
    rates = wb.head_rate(xp.asarray(W), beta=xp.asarray(levels))
    slopes = wb.head_rate_gradient(xp.asarray(W), beta=xp.asarray(levels))
    metric = wb.normalised_head_rate(xp.asarray(W), eps_squared=xp.asarray(levels))
    for i, level in enumerate(levels):
        assert float(rates[i]) == pytest.approx(float(wb.head_rate(W[i], beta=level)), rel=1e-12)
        np.testing.assert_allclose(to_numpy(slopes[i, ...]), wb.head_rate_gradient(W[i], beta=level), atol=1e-12)
        assert float(metric[i]) == pytest.approx(float(wb.normalised_head_rate(W[i], eps_squared=level)), rel=1e-12)


def test_the_published_measure_is_the_rate_of_tokens_of_length_one(rng):
    """Head by head with the N x N matrix; the mean over the batch is the public code's."""
    W, eps = rng.standard_normal((2, K, N, P)), 0.01
    expected = []
    for sample in W:
        rate = 0.0
        for rows in sample:
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            rate += np.linalg.slogdet(np.eye(N) + P / (N * eps) * rows @ rows.T)[1] / 2
        expected.append(rate)
    np.testing.assert_allclose(wb.normalised_head_rate(W), expected, rtol=1e-12)
    W[0, 0, 0] = 0.0
    assert np.isfinite(wb.normalised_head_rate(W)).all()


# ---------------------------------------------------------------------- steps


def test_steps_are_their_formulas(rng):
    Z, U = instance(rng)
    update = wb.mssa(Z, U)
    np.testing.assert_allclose(wb.rescaled_step(Z, update, eta=0.5, tau=0.6), (Z + 0.5 * update) / 1.3, rtol=1e-14)
    kappa = 0.3 / 1.3  # then the damped step of update/tau is the rescaled one
    np.testing.assert_allclose(
        wb.damped_step(Z, update / 0.6, kappa=kappa), wb.rescaled_step(Z, update, eta=0.5, tau=0.6), atol=1e-14
    )
    W = wb.head_coordinates(Z, U)
    np.testing.assert_allclose((wb.normalise_tokens(Z, square=5.0) ** 2).sum(-1), 5.0, rtol=1e-14)
    np.testing.assert_allclose((wb.normalise_tokens(W, square=5.0, axis=(-3, -1)) ** 2).sum((0, 2)), 5.0, rtol=1e-14)
    assert not wb.normalise_tokens(np.zeros((2, 3)), square=5.0).any()


# ---------------------------------------------------------------------- refusals

W = np.ones((K, N, P))
TOKENS, FRAMES = np.ones((N, D)), np.ones((K, D, P))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wb.mssa(np.ones(D), FRAMES), "rows"),
        (lambda: wb.mssa(np.full((N, D), np.inf), FRAMES), "infinite"),
        (lambda: wb.mssa(TOKENS, np.ones((K, D + 1, P))), "d of Z"),
        (lambda: wb.attend(np.ones((N, P))), r"W\[None\]"),
        (lambda: wb.attend(np.ones((K, N, P), dtype=int)), "floating"),
        (lambda: wb.attend(W, phi=lambda scores: scores.sum(-1)), "keep the shape"),
        (lambda: wb.thresholded(0.0), "strictly between 0 and 1"),
        (lambda: wb.thresholded(1.5), "tau=1.5"),
        (lambda: wb.thresholded(np.asarray([0.2, 1.0])), "strictly"),
        (lambda: wb.thresholded(0.5, "sharp"), "kind='sharp'"),
        (lambda: wb.attend(np.ones((3, K, N, P)), phi=wb.thresholded(np.asarray([0.2, 0.3]))), "broadcast"),
        (lambda: wb.thresholded_attend(W, tau=0.4), "use attend"),
        (lambda: wb.thresholded_attend(W, tau=0.6, kind="sharp"), "kind='sharp'"),
        (lambda: wb.thresholded_attend(W, tau=0.6, chunk=0), "chunk=0"),
        (lambda: wb.thresholded_attend(np.full((K, N, P), np.nan), tau=0.6), "NaN"),
        (lambda: wb.head_rate(W, beta=0.0), "beta"),
        (lambda: wb.head_rate(W[0], beta=1.0), r"W\[None\]"),
        (lambda: wb.head_rate(np.ones((3, K, N, P)), beta=np.ones(2)), "broadcast"),
        (lambda: wb.head_rate_gradient(W, beta=1.0, form="second"), "form='second'"),
        (lambda: wb.normalised_head_rate(W, eps_squared=-1.0), "eps_squared"),
        (lambda: wb.subspace_rate(TOKENS, FRAMES[0], beta=1.0), "one head is U"),
        (lambda: wb.rescaled_step(TOKENS, TOKENS, eta=-1.0, tau=0.5), "eta=-1"),
        (lambda: wb.damped_step(TOKENS, TOKENS, kappa=1.0), "kappa=1"),
        (lambda: wb.normalise_tokens(TOKENS, square=0.0), "square=0"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises(InputError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
