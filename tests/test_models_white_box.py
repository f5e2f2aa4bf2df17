"""White-box operators and their torch modules: one answer from every library; tokens near subspaces; refusals."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from array_api_extra.testing import assert_close, lazy_xp_function

from lab.arrays import namespace, to_numpy
from lab.data.tokens import (
    incoherent_subspace_tokens,
    incoherent_subspace_tokens_jax,
    noisy_subspace_tokens,
    noisy_subspace_tokens_jax,
)
from lab.errors import InputError
from lab.models import white_box

N, D, K, P = 9, 7, 3, 2
TAU, C, SCALE = 4.0, 2.5, 0.6


def instance(rng, *batch):
    Z, U = rng.standard_normal((*batch, N, D)), rng.standard_normal((*batch, K, D, P)) / np.sqrt(D)
    return Z, U, rng.dirichlet(np.ones(K), size=(*batch, N))


def everything(Z, U, membership):
    W = white_box.head_coordinates(Z, U)
    return (
        W,
        white_box.from_head_coordinates(W, U),
        white_box.tssa_membership(Z, U, scale=SCALE),
        white_box.tssa_membership(Z, U, scale=SCALE, token_normalised=True),
        white_box.tssa(Z, U, membership, tau=TAU, c=C),
        white_box.tssa(Z, U, tau=TAU, c=C, scale=SCALE, token_normalised=True, guard=1e-8),
        white_box.token_statistics(W, membership, tau=TAU, c=C),
        white_box.variational_rate(Z, U, membership, c=C),
        white_box.variational_gradient(Z, U, membership, c=C),
        white_box.mssa(Z, U, scale=SCALE),
    )


def by_definition(Z, U, Pi):
    """Rate and TSSA head by head, in the tokens-as-columns form of the paper."""
    X, n = Z.T, Z.shape[0]
    rate, update = 0.0, np.zeros_like(X)
    for k in range(U.shape[0]):
        pi, mass = Pi[:, k], Pi[:, k].sum()
        moments = (U[k].T @ X) ** 2 @ (pi / mass)
        rate += mass / n * 0.5 * np.log(1 + C * moments).sum()
        update -= TAU / n * U[k] @ np.diag(C / (1 + C * moments)) @ U[k].T @ X @ np.diag(pi)
    return rate, update.T


lazy_xp_function(everything)


def test_operators_are_the_same_in_every_library(xp, rng):
    # sums of at most 50 terms of order one, in different orders
    arrays = instance(rng)
    expected = everything(*arrays)
    for ours, reference in zip(everything(*(xp.asarray(a) for a in arrays)), expected, strict=True):
        assert_close(ours, xp.asarray(reference), rtol=1e-12, atol=1e-14)


def test_operators_are_those_of_the_paper(rng):
    Z, U, Pi = instance(rng)
    rate, update = by_definition(Z, U, Pi)
    np.testing.assert_allclose(white_box.variational_rate(Z, U, Pi, c=C), rate, rtol=1e-13)
    np.testing.assert_allclose(white_box.tssa(Z, U, Pi, tau=TAU, c=C), update, rtol=1e-12, atol=1e-15)
    scores = np.exp(SCALE * (Z @ U) @ (Z @ U).mT)
    scores /= scores.sum(-1, keepdims=True)
    np.testing.assert_allclose(white_box.mssa(Z, U, scale=SCALE), (scores @ Z @ U @ U.mT).sum(0), rtol=1e-12)
    weights = np.exp(SCALE * np.sum((Z @ U) ** 2, axis=-1).T)
    expected = weights / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(white_box.tssa_membership(Z, U, scale=SCALE), expected, rtol=1e-12)


def batched(Z, U, membership, tau, c):
    """Batches of tokens, heads, memberships and levels; one set of heads for all; a head without tokens."""
    W = white_box.head_coordinates(Z, U)
    statistics = white_box.token_statistics(W, membership, tau=tau, c=c)
    first = membership[..., :1] * 0 + 1.0  # everybody in the first head
    nobody = namespace(membership).concat([first, 0 * membership[..., 1:]], axis=-1)
    return (
        white_box.tssa(Z, U, membership, tau=tau, c=c),
        white_box.from_head_coordinates(statistics, U),
        white_box.tssa(Z, U[0, 0, ...], membership, tau=TAU, c=C),
        white_box.tssa(Z, U, nobody, tau=TAU, c=C) + white_box.variational_rate(Z, U, nobody, c=C)[..., None, None],
        white_box.mssa(Z, U, scale=SCALE),
    )


lazy_xp_function(batched)


def test_leading_axes_are_batch_axes(xp, rng):
    Z, U, Pi = instance(rng, 2, 3)
    tau, c = rng.uniform(1, 3, (2, 3)), rng.uniform(0.5, 2, (2, 3))
    own, coordinates, shared, one_head, attention = (
        to_numpy(part) for part in batched(*(xp.asarray(a) for a in (Z, U, Pi, tau, c)))
    )
    for at in np.ndindex(2, 3):
        expected = white_box.tssa(Z[at], U[at], Pi[at], tau=float(tau[at]), c=float(c[at]))
        np.testing.assert_allclose(own[at], expected, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(coordinates[at], expected, rtol=1e-11, atol=1e-13)
        expected = white_box.tssa(Z[at], U[0, 0], Pi[at], tau=TAU, c=C)
        np.testing.assert_allclose(shared[at], expected, rtol=1e-11, atol=1e-13)
        ones = np.ones((N, 1))
        alone = white_box.tssa(Z[at], U[at][:1], ones, tau=TAU, c=C)
        expected = alone + white_box.variational_rate(Z[at], U[at][:1], ones, c=C)
        np.testing.assert_allclose(one_head[at], expected, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(attention[at], white_box.mssa(Z[at], U[at], scale=SCALE), rtol=1e-11, atol=1e-13)


def test_single_precision_is_kept(xp, rng):
    arrays = [xp.asarray(a.astype(np.float32)) for a in instance(rng)]
    assert all(str(result.dtype).endswith("float32") for result in everything(*arrays))


def test_large_logits_do_not_overflow(rng):
    Z, U, _ = instance(rng)
    weights = white_box.tssa_membership(1e4 * Z, U, scale=1.0)
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(1), 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"Z": np.zeros(4)}, "tokens|samples"),
        ({"Z": np.full((N, D), np.nan)}, "NaN"),
        ({"U": np.zeros((K, D + 1, P))}, "d of Z"),
        ({"U": np.zeros((D, P))}, "one head is U"),
        ({"U": np.zeros((K, D, P), dtype=np.float32)}, "dtype"),
        ({"membership": np.ones((K, N)) / K}, "membership"),
        ({"membership": -np.ones((N, K))}, ">= 0"),
        ({"membership": np.ones((N, K), dtype=int)}, "dtype"),
        ({"membership": np.ones((2, N, K)), "Z": np.zeros((3, N, D))}, "broadcast"),
        ({"membership": None}, "scale"),
        ({"tau": 0.0}, "tau"),
        ({"c": -1.0}, "c=-1"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, words):
    good = {"Z": np.zeros((N, D)), "U": np.zeros((K, D, P)), "membership": np.ones((N, K)) / K, "tau": 1.0, "c": 1.0}
    with pytest.raises(InputError, match=words):
        white_box.tssa(**{**good, **arguments})


def test_head_coordinates_must_fit_the_frames():
    with pytest.raises(InputError, match="K, N, p"):
        white_box.from_head_coordinates(np.zeros((2, N, P)), np.zeros((K, D, P)))
    with pytest.raises(InputError, match="K, N, p"):
        white_box.token_statistics(np.zeros((K, N, P)), np.ones((K, N)) / K, tau=1.0, c=1.0)


# ---------------------------------------------------------------- torch modules


def test_the_modules_are_imported_without_torch():
    code = (
        "import sys, lab.models.torch_modules as m; assert 'torch' not in sys.modules; assert 'TSSA' in dir(m);"
        "assert m.TSSA is m.TSSA and 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    import lab.models.torch_modules

    with pytest.raises(AttributeError, match="no attribute 'MSA'"):
        _ = lab.models.torch_modules.MSA


@pytest.fixture
def layer():
    """Constructor of double-precision layers with a fixed initialisation."""
    torch = pytest.importorskip("torch")
    from lab.models.torch_modules import TSSA

    def make(*arguments, **options):
        torch.manual_seed(0)
        return TSSA(*arguments, **options).double()

    return make


def test_parameters_are_those_of_the_published_layer(layer):
    shapes = {name: tuple(value.shape) for name, value in layer(12, 3).state_dict().items()}
    assert shapes == {"qkv.weight": (12, 12), "temp": (3, 1), "to_out.0.weight": (12, 12), "to_out.0.bias": (12,)}
    assert set(layer(12, 3, bias=True).state_dict()) == {*shapes, "qkv.bias"}
    assert set(layer(12, 3, tied=True, temperature=0.5).state_dict()) == {"qkv.weight"}
    assert tuple(layer(12, 3, rank=5).frames.shape) == (3, 12, 5)


def test_a_tied_layer_is_the_operator(layer, rng):
    import torch

    Z = torch.asarray(rng.standard_normal((2, N, 12)))
    tied = layer(12, 3, tied=True, temperature=0.7, token_normalised=False, guard=0.0, c=C, step=1.5)
    expected = white_box.tssa(Z, tied.frames, tau=1.5 * N / C, c=C, scale=0.7)
    torch.testing.assert_close(tied(Z), expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(tied.membership(Z).sum(-1), torch.ones(2, N, dtype=Z.dtype))
    free = layer(12, 3, temperature=0.7, token_normalised=False, guard=0.0, c=C, step=1.5)
    with torch.no_grad():
        free.qkv.weight.copy_(tied.qkv.weight)
        free.to_out[0].weight.copy_(tied.qkv.weight.T)
        free.to_out[0].bias.zero_()
    torch.testing.assert_close(free(Z), expected, rtol=1e-12, atol=1e-14)


def test_a_layer_is_trained_copied_and_pickled(layer, rng):
    import torch

    one = layer(6, 2)
    Z = torch.asarray(rng.standard_normal((1, 5, 6))).requires_grad_()
    assert torch.autograd.gradcheck(one, (Z,))
    one(Z).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in one.parameters())
    for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        torch.testing.assert_close(twin(Z), one(Z))
    assert "heads=2, rank=3" in repr(one)


@pytest.mark.parametrize(("options", "words"), [({"heads": 5}, "multiple"), ({"c": 0.0}, "c=0"),
                                                ({"temperature": False}, "temperature")])  # fmt: skip
def test_a_layer_refuses_what_makes_no_sense(layer, options, words):
    with pytest.raises(InputError, match=words):
        layer(**{"dim": 12, "heads": 3, **options})


# ---------------------------------------------------------------- tokens


def test_noisy_tokens_have_orthogonal_frames_and_the_moments_of_their_definition(rng):
    tokens = noisy_subspace_tokens(rng, class_sizes=(4000, 3000, 5000), rank=2, delta=0.3, d=8)
    flat = np.moveaxis(tokens.frames, 0, 1).reshape(8, 6)
    np.testing.assert_allclose(flat.T @ flat, np.eye(6), atol=1e-14)
    np.testing.assert_allclose(tokens.Z @ tokens.frames, tokens.blocks, atol=1e-13)
    assert np.bincount(tokens.labels).tolist() == [4000, 3000, 5000]
    for k in range(3):
        own = tokens.labels == k
        # variances of 6000 and more Gaussians: relative standard error sqrt(2/6000) = .018, five of them
        assert tokens.blocks[k, own].var() == pytest.approx(1.0, rel=0.09)
        assert tokens.blocks[k, ~own].var() == pytest.approx(0.09, rel=0.09)


def test_block_coordinates_alone_are_the_same_draws():
    kwargs = {"class_sizes": (3, 4), "rank": 2, "delta": 0.1}
    fast = noisy_subspace_tokens(np.random.default_rng(1), **kwargs)
    whole = noisy_subspace_tokens(np.random.default_rng(1), **kwargs, d=5)
    assert fast.Z is None
    assert fast.frames is None
    np.testing.assert_array_equal(fast.blocks, whole.blocks)


def test_block_coordinates_are_a_fast_path_of_the_operator(rng):
    tokens = noisy_subspace_tokens(rng, class_sizes=(5, 6, 7), rank=2, delta=0.2, d=10)
    weights = white_box.tssa_membership(tokens.Z, tokens.frames, scale=1.0)
    after = tokens.Z + white_box.tssa(tokens.Z, tokens.frames, weights, tau=TAU, c=C)
    np.testing.assert_allclose(white_box.head_membership(tokens.blocks, scale=1.0), weights, rtol=1e-12)
    fast = tokens.blocks + white_box.token_statistics(tokens.blocks, weights, tau=TAU, c=C)
    np.testing.assert_allclose(after @ tokens.frames, fast, rtol=1e-11, atol=1e-13)


def test_incoherent_frames_are_orthonormal_but_not_orthogonal_to_each_other(rng):
    tokens = incoherent_subspace_tokens(rng, class_sizes=(5, 5), rank=2, delta=0.1, d=3)
    np.testing.assert_allclose(tokens.frames.mT @ tokens.frames, np.broadcast_to(np.eye(2), (2, 2, 2)), atol=1e-14)
    np.testing.assert_allclose(tokens.Z, (tokens.blocks @ tokens.frames.mT).sum(0), atol=1e-14)
    assert np.abs(tokens.frames[0].T @ tokens.frames[1]).max() > 1e-3


def test_tokens_from_a_jax_key_are_jitted_and_vmapped_over_the_noise():
    import jax
    import jax.numpy as jnp

    def both(key, delta):
        makers = (noisy_subspace_tokens_jax, incoherent_subspace_tokens_jax)
        return [maker(key, class_sizes=(3, 2), rank=2, delta=delta, d=5) for maker in makers]

    keys, deltas = jax.random.split(jax.random.key(0), 4), jnp.asarray([0.0, 0.1, 0.1, 0.2])
    for tokens in jax.jit(jax.vmap(both))(keys, deltas):
        assert tokens.Z.shape == (4, 5, 5)
        assert tokens.labels.tolist()[0] == [0, 0, 0, 1, 1]
        Z, blocks, frames = (np.asarray(a) for a in (tokens.Z, tokens.blocks, tokens.frames))
        np.testing.assert_allclose(Z, (blocks @ frames.mT).sum(1), atol=1e-13)
        np.testing.assert_allclose(frames.mT @ frames, np.broadcast_to(np.eye(2), (4, 2, 2, 2)), atol=1e-13)
        assert np.abs(blocks[0, 0, 3:]).max() == 0.0
        assert np.abs(blocks[1] - blocks[2]).max() > 1e-3
    fast = jax.eval_shape(
        lambda key: noisy_subspace_tokens_jax(key, class_sizes=(3, 2), rank=2, delta=0.1, dtype=jnp.float32), keys[0]
    )
    assert fast.blocks.dtype == jnp.float32
    assert fast.Z is None


@pytest.mark.parametrize(
    ("options", "words"),
    [({"class_sizes": ()}, "class_sizes"), ({"class_sizes": (3, 0)}, "class_sizes"), ({"rank": 0}, "rank"),
     ({"delta": -0.1}, "delta"), ({"delta": np.nan}, "delta"), ({"d": 3}, "no room"), ({"d": 4.5}, "no room")],
)  # fmt: skip
def test_tokens_that_do_not_fit_are_refused(rng, options, words):
    good = {"class_sizes": (3, 2), "rank": 2, "delta": 0.1, "d": 5}
    with pytest.raises(InputError, match=words):
        noisy_subspace_tokens(rng, **{**good, **options})
