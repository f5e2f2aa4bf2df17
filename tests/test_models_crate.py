"""Sparse codes and CRATE layers: one answer and one gradient from every library; drawn codes; refusals."""

import doctest
import functools

import numpy as np
import pytest
from array_api_extra.testing import assert_close, lazy_xp_function

from lab.arrays import namespace, to_numpy
from lab.data.sparse_codes import sparse_codes, sparse_codes_jax
from lab.errors import InputError
from lab.models import white_box as wb

N, D, K, P, M = 9, 6, 2, 3, 11
ETA, LAM = 0.15, 0.2


def instance(rng, *batch):
    """Tokens, frames, output frames, square and overcomplete dictionaries, decoding dictionary, norm, bias."""
    shapes = ((N, D), (K, D, P), (K, D, P), (D, D), (D, M), (D, M))
    Z, *others = (rng.standard_normal((*batch, *shape)) for shape in shapes)
    return 1.5 * Z, *(other / np.sqrt(D) for other in others), rng.uniform(0.5, 2, D), rng.standard_normal(D)


def layers(Z, U, V, S, O, Q, weight, bias):
    norms = wb.Norm(weight, bias), wb.Norm(weight, None, 1e-2)
    options = {"out": V, "out_bias": bias, "norms": norms}
    codes = wb.ista_step(Z @ O, Z, O, eta=ETA, lam=LAM, nonnegative=False)
    return (
        codes,
        wb.lasso_objective(codes, Z, O, lam=LAM),
        wb.ista(Z, O, eta=ETA, lam=LAM, steps=5),
        wb.ista_orthogonal(Z, S, lam=LAM),
        wb.overcomplete_block(Z, O, Q),
        wb.layer_norm(Z, norms[0]),
        wb.attention_layer(Z, U, scale=1.0, norm=None, phi=wb.relu, residual=0.9, step=0.3),
        wb.encoder_layer(Z, U, S, **options),
        wb.encoder_layer(Z, U, S, norms=(None, None), residual=0.9, step=0.2),
        wb.decoder_layer(Z, U, S, **options),
        wb.overcomplete_layer(Z, U, O, Q, **options),
    )


lazy_xp_function(layers)


def test_layers_are_the_same_in_every_library(xp, rng):
    # sums of at most 60 terms of order one, in different orders
    arrays = instance(rng)
    for ours, reference in zip(layers(*(xp.asarray(a) for a in arrays)), layers(*arrays), strict=True):
        assert_close(ours, xp.asarray(reference), rtol=1e-11, atol=1e-12)


def test_leading_axes_are_batch_axes(xp, rng):
    arrays = instance(rng, 2, 3)
    results = layers(*(xp.asarray(a) for a in arrays))
    for at in np.ndindex(2, 3):
        alone = layers(*(a[at] for a in arrays[:6]), *arrays[6:])
        for result, expected in zip(results, alone, strict=True):
            np.testing.assert_allclose(to_numpy(result)[at], expected, rtol=1e-11, atol=1e-12)


def test_single_precision_is_kept(xp, rng):
    results = layers(*(xp.asarray(a.astype(np.float32)) for a in instance(rng)))
    assert all(str(result.dtype).endswith("float32") for result in results)


def test_gradients_of_torch_and_jax_are_those_of_differences(rng):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    arrays = instance(rng)
    weights = [rng.standard_normal(np.shape(result)) for result in layers(*arrays)]
    moves = [rng.standard_normal(a.shape) for a in arrays]

    def products(*arrays):
        xp = namespace(*arrays)
        found = zip(layers(*arrays), weights, strict=True)
        return xp.stack([xp.sum(result * xp.asarray(weight)) for result, weight in found])

    step = 1e-6
    ahead, behind = (products(*(a + s * m for a, m in zip(arrays, moves, strict=True))) for s in (step, -step))
    leaves = tuple(torch.asarray(a).requires_grad_() for a in arrays)
    totals = [np.zeros(m.shape) for m in moves]
    for i, value in enumerate(products(*leaves)):
        found = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
        slopes = [np.zeros(m.shape) if g is None else to_numpy(g) for g, m in zip(found, moves, strict=True)]
        totals = [total + slope for total, slope in zip(totals, slopes, strict=True)]
        slope = sum(np.sum(g * m) for g, m in zip(slopes, moves, strict=True))
        assert (ahead[i] - behind[i]) / (2 * step) == pytest.approx(slope, rel=1e-6, abs=1e-6), i
    by_jax = jax.jit(jax.grad(lambda *a: products(*a).sum(), argnums=tuple(range(8))))(*arrays)
    for theirs, ours in zip(by_jax, totals, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-10, atol=1e-12 * np.abs(ours).max())


# ---------------------------------------------------------------------- sparse codes


def test_a_step_is_its_formula_sample_by_sample(rng):
    Z, *_, O, _Q, _, _ = instance(rng)
    A = rng.standard_normal((N, M))
    after, both = wb.ista_step(A, Z, O, eta=ETA, lam=LAM), wb.ista_step(A, Z, O, eta=ETA, lam=LAM, nonnegative=False)
    for a, y, plus, signed in zip(A, Z, after, both, strict=True):
        moved = a - ETA * O.T @ (O @ a - y)
        np.testing.assert_allclose(plus, np.maximum(moved - ETA * LAM, 0), atol=1e-14)
        np.testing.assert_allclose(signed, np.sign(moved) * np.maximum(np.abs(moved) - ETA * LAM, 0), atol=1e-14)
    objective = LAM * np.abs(A).sum() + 0.5 * np.sum((Z.T - O @ A.T) ** 2)
    assert wb.lasso_objective(A, Z, O, lam=LAM) == pytest.approx(objective, rel=1e-14)


def test_steps_go_down_to_a_minimiser(rng):
    """Where steps end, the conditions for a minimum over A >= 0 hold: slope >= 0, and zero where a code is positive."""
    codes = sparse_codes(rng, n=7, d=10, m=20, nonzeros=2, noise=0.01)
    eta = 1 / np.linalg.norm(codes.D, 2) ** 2
    values, A = [], np.zeros((7, 20))
    for _ in range(60):
        A = wb.ista_step(A, codes.Y, codes.D, eta=eta, lam=LAM)
        values.append(float(wb.lasso_objective(A, codes.Y, codes.D, lam=LAM)))
    assert np.all(np.diff(values) <= 1e-12)
    np.testing.assert_allclose(wb.ista(codes.Y, codes.D, eta=eta, lam=LAM, steps=60), A, atol=1e-13)
    end = wb.ista(codes.Y, codes.D, eta=eta, lam=LAM, steps=20000, start=A)
    slope = (end @ codes.D.T - codes.Y) @ codes.D + LAM
    assert slope.min() > -1e-6
    assert np.abs(slope[end > 1e-6]).max() < 1e-6


def test_an_orthogonal_dictionary_needs_one_step_from_anywhere(rng):
    Q = np.linalg.qr(rng.standard_normal((D, D)))[0]
    Y, A = rng.standard_normal((N, D)), rng.standard_normal((N, D))
    closed = wb.ista_orthogonal(Y, Q, lam=LAM)
    np.testing.assert_allclose(closed, np.maximum(Y @ Q - LAM, 0), atol=1e-14)
    np.testing.assert_allclose(wb.ista_step(A, Y, Q, eta=1.0, lam=LAM), closed, atol=1e-14)
    damped = wb.ista_step(Y, Y, Q, eta=0.3, lam=LAM)  # the step of the published layer, from Y itself
    np.testing.assert_allclose(damped, np.maximum(0.7 * Y + 0.3 * Y @ Q - 0.3 * LAM, 0), atol=1e-14)


def test_steps_may_differ_over_the_batch(xp, rng):
    Y, O = rng.standard_normal((2, 3, N, D)), rng.standard_normal((D, M)) / 3
    eta, lam = rng.uniform(0.05, 0.2, (2, 3)), rng.uniform(0, 0.3, (2, 3))
    together = wb.ista(*(xp.asarray(a) for a in (Y, O)), eta=xp.asarray(eta), lam=xp.asarray(lam), steps=4)
    for at in np.ndindex(2, 3):
        alone = wb.ista(Y[at], O, eta=float(eta[at]), lam=float(lam[at]), steps=4)
        np.testing.assert_allclose(to_numpy(together)[at], alone, atol=1e-12)


def test_drawn_codes_are_those_of_their_definition(rng):
    codes = sparse_codes(rng, n=3000, d=5, m=8, nonzeros=3, noise=0.1)
    np.testing.assert_allclose(np.linalg.norm(codes.D, axis=0), 1.0, rtol=1e-14)
    assert ((codes.A > 0).sum(1) == 3).all()
    chosen = codes.A[codes.A > 0]
    assert chosen.min() >= 1
    assert chosen.max() <= 2
    # each place has probability 3/8: standard error sqrt(.375 .625/3000) = .0088, five of them; the mean of 9000
    # uniform numbers has .0030; the variance of 15000 Gaussians a relative error of .0115
    np.testing.assert_allclose((codes.A > 0).mean(0), 3 / 8, atol=0.044)
    assert chosen.mean() == pytest.approx(1.5, abs=0.015)
    assert np.var(codes.Y - codes.A @ codes.D.T) == pytest.approx(0.01, rel=0.06)


def test_examples_of_the_docstrings_run():
    from lab.data import sparse_codes as module

    assert doctest.testmod(module) == (0, 2)


def test_codes_from_a_jax_key_are_jitted_and_vmapped_over_the_noise():
    jax = pytest.importorskip("jax")
    draw = functools.partial(sparse_codes_jax, n=6, d=4, m=9, nonzeros=2)
    keys = jax.random.split(jax.random.key(0), 3)
    codes = jax.jit(jax.vmap(lambda key, noise: draw(key, noise=noise)))(keys, jax.numpy.asarray([0.0, 0.1, 0.1]))
    Y, atoms, A = (np.asarray(a) for a in codes)
    assert ((A > 0).sum(-1) == 2).all()
    np.testing.assert_allclose(Y[0], A[0] @ atoms[0].T, atol=1e-14)
    assert 0.01 < np.abs(Y[1] - A[1] @ atoms[1].T).max() < 0.5
    np.testing.assert_allclose((atoms**2).sum(1), 1.0, rtol=1e-12)
    assert jax.eval_shape(lambda key: draw(key, dtype=jax.numpy.float32), keys[0]).Y.dtype == "float32"


# ---------------------------------------------------------------------- refusals

TOKENS, FRAMES, SQUARE, WIDE = np.ones((N, D)), np.ones((K, D, P)), np.ones((D, D)), np.ones((D, M))
CODES = np.ones((N, M))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wb.ista_step(CODES, TOKENS, WIDE.T, eta=0.1, lam=0.1), "atoms are columns"),
        (lambda: wb.ista_step(CODES[:, :2], TOKENS, WIDE, eta=0.1, lam=0.1), "one code for"),
        (lambda: wb.ista_step(CODES, TOKENS, WIDE, eta=0.0, lam=0.1), "eta"),
        (lambda: wb.ista_step(CODES, TOKENS, WIDE, eta=0.1, lam=-0.1), "lam"),
        (lambda: wb.ista_step(CODES.astype("f4"), TOKENS, WIDE, eta=0.1, lam=0.1), "A has dtype"),
        (lambda: wb.ista_step(CODES, TOKENS, WIDE.astype("f4"), eta=0.1, lam=0.1), "D has dtype"),
        (lambda: wb.ista_step(CODES, np.full((N, D), np.nan), WIDE, eta=0.1, lam=0.1), "NaN"),
        (lambda: wb.ista(np.ones((2, N, D)), np.ones((3, D, M)), eta=0.1, lam=0.1, steps=1), "broadcast"),
        (lambda: wb.ista(TOKENS, WIDE, eta=0.1, lam=0.1, steps=-1), "steps=-1"),
        (lambda: wb.ista(TOKENS, WIDE, eta=0.1, lam=0.1, steps=1, start=TOKENS), "one code for"),
        (lambda: wb.ista_orthogonal(TOKENS, WIDE, lam=0.1), "square"),
        (lambda: wb.overcomplete_block(TOKENS, WIDE, SQUARE), "D_out"),
        (lambda: wb.lasso_objective(CODES, TOKENS, WIDE, lam=np.nan), "lam"),
        (lambda: wb.layer_norm(TOKENS, wb.Norm(eps=-1.0)), "eps=-1"),
        (lambda: wb.encoder_layer(TOKENS, FRAMES, WIDE), "overcomplete_layer"),
        (lambda: wb.encoder_layer(TOKENS, FRAMES[0], SQUARE), "one head"),
        (lambda: wb.decoder_layer(TOKENS, FRAMES, WIDE), "of the tokens"),
        (lambda: wb.attention_layer(TOKENS, FRAMES, out=FRAMES[:1]), "K, N, p"),
        (lambda: sparse_codes(np.random.default_rng(0), n=2, d=2, m=2, nonzeros=3), "exceeds"),
        (lambda: sparse_codes(np.random.default_rng(0), n=0, d=2, m=2, nonzeros=1), "n=0"),
        (lambda: sparse_codes(np.random.default_rng(0), n=1, d=2, m=2, nonzeros=1, noise=-1.0), "noise=-1"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises(InputError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
