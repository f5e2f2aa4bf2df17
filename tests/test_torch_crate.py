"""Torch modules of CRATE: parameters and outputs of the published layers, restated; small networks, trained."""

import copy
import doctest
import pickle
import subprocess
import sys

import numpy as np
import pytest

from lab.arrays import to_numpy
from lab.errors import InputError
from lab.models import white_box as wb

torch = pytest.importorskip("torch")

from lab.models import torch_crate, torch_crate_models  # noqa: E402

N, D, K, P = 9, 6, 2, 3


def columns(name, p):
    """The published forward passes on a (d, N) matrix whose columns are tokens, written out from their description."""

    def normalised(X, part, eps):
        centred = X - X.mean(0)
        return p[f"{part}.norm.weight"][:, None] * centred / np.sqrt((centred**2).mean(0) + eps) + p[
            f"{part}.norm.bias"
        ][:, None]  # fmt: skip

    def attention(X, part):
        outputs = []
        for rows in p[f"{part}.fn.qkv.weight"].reshape(K, P, D):
            w = rows @ X  # (p, N)
            scores = w.T @ w / np.sqrt(P)
            weights = np.exp(scores) / np.exp(scores).sum(0)  # each column, a query, sums to one; scores are symmetric
            outputs.append(w @ weights)
        bias = p.get(f"{part}.fn.to_out.0.bias", np.zeros(D))
        return p[f"{part}.fn.to_out.0.weight"] @ np.concatenate(outputs) + bias[:, None]

    def encoder(X):
        half = X + attention(normalised(X, 0, 1e-5), 0)
        Y, W = normalised(half, 1, 1e-5), p["1.fn.weight"]
        return np.maximum(Y + 0.1 * (W.T @ Y - W.T @ W @ Y) - 0.1 * 0.1, 0)

    def decoder(X):
        G = p["0.fn.weight"] @ normalised(X, 0, 1e-5)
        return G - attention(normalised(G, 1, 1e-5), 1)

    def overcomplete(X):
        half = X + attention(normalised(X, 0, 1e-6), 0)
        Y, first, second = normalised(half, 1, 1e-6), p["1.fn.D"], p["1.fn.D1"]
        one = np.maximum(0.1 * first.T @ Y - 0.1 * 0.1, 0)
        two = np.maximum(one - 0.1 * first.T @ (first @ one - Y) - 0.1 * 0.1, 0)
        return half + second @ two

    def attention_only(X):
        return X + attention(normalised(X, 0, 1e-5), 0)

    return locals()[name]


BLOCKS = {
    "CRATEBlock": "encoder", "CRATEDecoderBlock": "decoder", "OvercompleteBlock": "overcomplete",
    "AttentionOnlyBlock": "attention_only",
}  # fmt: skip
ATTENTION = {"fn.qkv.weight": (D, D), "fn.to_out.0.weight": (D, D), "fn.to_out.0.bias": (D,)}
NORM = {"norm.weight": (D,), "norm.bias": (D,)}
PARTS = {
    "CRATEBlock": [NORM | ATTENTION, NORM | {"fn.weight": (D, D)}],
    "CRATEDecoderBlock": [NORM | {"fn.weight": (D, D)}, NORM | ATTENTION],
    "OvercompleteBlock": [
        NORM | {k: v for k, v in ATTENTION.items() if "bias" not in k}, NORM | {"fn.D": (D, 4 * D), "fn.D1": (D, 4 * D)}
    ],
    "AttentionOnlyBlock": [NORM | ATTENTION],
}  # fmt: skip


@pytest.fixture
def make():
    """Maker of double-precision modules with random parameters, those of norms included."""
    def build(name, *arguments, **options):
        module = getattr(torch_crate, name)(*arguments, **options).double()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2)
        return module

    return build


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_have_the_parameters_and_the_output_of_the_published_layers(name, make, rng):
    block = make(name, D, K)
    shapes = {key: tuple(value.shape) for key, value in block.state_dict().items()}
    assert shapes == {f"{i}.{key}": shape for i, part in enumerate(PARTS[name]) for key, shape in part.items()}
    X = rng.standard_normal((2, N, D))
    parameters = {key: value.numpy() for key, value in block.state_dict().items()}
    published = columns(BLOCKS[name], parameters)
    found = block(torch.asarray(X)).detach().numpy()
    for ours, sample in zip(found, X, strict=True):
        np.testing.assert_allclose(ours, published(sample.T).T, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_the_functions(name, fused, make, rng):
    """Every option of a block, against the function with the same options."""
    options = {"scale": 0.9, "residual": 0.8, "step": 0.3, "norm_eps": 1e-3}
    block = make(name, D, K, fused=fused, **options)
    attention, norms = block[-1].fn if name == "CRATEDecoderBlock" else block[0].fn, []
    for part in block:
        norms.append(wb.Norm(*(to_numpy(v) for v in (part.norm.weight, part.norm.bias)), 1e-3))
    Z = rng.standard_normal((N, D))
    U, V = to_numpy(attention.frames), to_numpy(attention.out_frames)
    common = {"out": V, "scale": 0.9, "residual": 0.8, "step": 0.3}
    if name != "OvercompleteBlock":
        common["out_bias"] = to_numpy(attention.to_out[0].bias)
    if name == "AttentionOnlyBlock":
        expected = wb.attention_layer(Z, U, norm=norms[0], **common)
    elif name == "CRATEBlock":
        expected = wb.encoder_layer(Z, U, to_numpy(block[1].fn.weight), norms=tuple(norms), **common)
    elif name == "CRATEDecoderBlock":
        expected = wb.decoder_layer(Z, U, to_numpy(block[0].fn.weight), norms=tuple(norms), **common)
    else:
        dictionaries = (to_numpy(block[1].fn.D), to_numpy(block[1].fn.D1))
        expected = wb.overcomplete_layer(Z, U, *dictionaries, norms=tuple(norms), **common)
    np.testing.assert_allclose(block(torch.asarray(Z)[None])[0].detach(), expected, rtol=1e-12, atol=1e-13)


def test_outputs_of_the_attention(make, rng):
    """Free, tied, and none: one head of full rank has no output projection in the public code."""
    Z = torch.asarray(rng.standard_normal((2, N, D)))
    tied = make("MSSA", D, K, out="tied", scale=1.0)
    assert set(tied.state_dict()) == {"qkv.weight"}
    torch.testing.assert_close(tied(Z), wb.mssa(Z, tied.frames))
    torch.testing.assert_close(tied.out_frames, tied.frames)
    single = make("MSSA", D, 1)
    assert set(single.state_dict()) == {"qkv.weight"}
    assert single.out == "identity"
    coordinates = wb.attend(single.coordinates(Z), scale=D**-0.5)[:, 0]
    torch.testing.assert_close(single(Z), coordinates)
    torch.testing.assert_close(single.out_frames[0], torch.eye(D, dtype=Z.dtype))
    assert set(make("MSSA", D, 1, out="free", out_bias=False).state_dict()) == {"qkv.weight", "to_out.0.weight"}
    small = make("MSSA", D, 1, rank=2, bias=True, phi=wb.thresholded(0.5, "hard"))
    assert {k: tuple(v.shape) for k, v in small.state_dict().items()} == {
        "qkv.weight": (2, D), "qkv.bias": (2,), "to_out.0.weight": (D, 2), "to_out.0.bias": (D,)
    }  # fmt: skip
    hard = wb.from_head_coordinates(wb.attend(small.coordinates(Z), phi=small.phi, scale=2**-0.5), small.out_frames)
    torch.testing.assert_close(small(Z), hard + small.to_out[0].bias)


def test_a_contracted_step_lowers_the_rate_and_the_published_one_raises_it(make, rng):
    """Orthonormal tied frames, no norm: ``(1 - kappa beta) Z + kappa beta² MSSA`` against ``Z + MSSA``."""
    Z, kappa, beta = torch.asarray(rng.standard_normal((N, D))), 0.5, 0.02
    rates = []
    for options in ({"residual": 1 - kappa * beta, "step": kappa * beta**2}, {}):
        block = make("AttentionOnlyBlock", D, K, out="tied", norm_eps=None, scale=1.0, **options)
        with torch.no_grad():
            torch.nn.init.orthogonal_(block[0].fn.qkv.weight, generator=torch.Generator().manual_seed(0))
            frames = block[0].fn.frames
            rates.append([float(wb.subspace_rate(V, frames, beta=beta)) for V in (Z, block(Z))])
    assert rates[0][1] < rates[0][0]
    assert rates[1][1] > rates[1][0]


@pytest.mark.parametrize("name", [*BLOCKS, "MSSA", "ISTA", "OvercompleteISTA", "Dictionary"])
def test_modules_are_trained_copied_and_pickled(name, make, rng):
    module = make(name, D, K) if name in (*BLOCKS, "MSSA") else make(name, D)
    Z = torch.asarray(rng.standard_normal((1, 4, D))).requires_grad_()
    assert torch.autograd.gradcheck(module, (Z,), fast_mode=True)
    module(Z).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in module.parameters())
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(twin(Z), module(Z))
    repr(module)


def test_the_modules_are_imported_without_torch():
    code = (
        "import sys, lab.models.torch_crate as a, lab.models.torch_crate_models as b;"
        "assert 'torch' not in sys.modules;"
        "assert 'MSSA' in dir(a) and 'CRATEClassifier' in dir(b); assert a.MSSA is a.MSSA and 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for module in (torch_crate, torch_crate_models):
        with pytest.raises(AttributeError, match="no attribute 'ViT'"):
            _ = module.ViT


def test_examples_of_the_docstrings_run():
    """The finder does not see classes that are made when first asked for."""
    classes = [getattr(m, name) for m in (torch_crate, torch_crate_models) for name in m.__all__ if name[0].isupper()]
    names = {cls.__name__: cls for cls in classes} | {"torch": torch}
    runner, finder = doctest.DocTestRunner(), doctest.DocTestFinder()
    for cls in classes:
        for test in finder.find(cls, cls.__name__, module=False, globs=names):
            runner.run(test)
    assert runner.summarize(verbose=False) == (0, 7), "failed, tried"


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("MSSA", {"heads": 4}, "multiple"),
        ("MSSA", {"heads": 2, "out": "none"}, "out='none'"),
        ("MSSA", {"heads": 2, "rank": 1, "out": "identity"}, "heads \\* rank"),
        ("ISTA", {"eta": 0.0}, "eta=0"),
        ("OvercompleteISTA", {"lam": -1.0}, "lam=-1"),
        ("OvercompleteISTA", {"steps": 0}, "steps=0"),
    ],
)
def test_modules_refuse_what_makes_no_sense(name, options, words, make):
    with pytest.raises(InputError, match=words):
        make(name, D, **options)


# ---------------------------------------------------------------------- networks


def test_patches_are_cut_row_by_row(xp):
    images = np.arange(2 * 4 * 6).reshape(2, 4, 6)
    tokens = to_numpy(torch_crate_models.patches(xp.asarray(images), (2, 3)))
    assert tokens.shape == (2, 4, 6)
    np.testing.assert_array_equal(tokens[1, 1], images[1, :2, 3:].ravel())
    np.testing.assert_array_equal(tokens[0, 2], images[0, 2:, :3].ravel())
    rows = to_numpy(torch_crate_models.patches(xp.asarray(images), (1, 6)))
    np.testing.assert_array_equal(rows, images)
    with pytest.raises(InputError, match="patches of 3 by 3"):
        torch_crate_models.patches(images, 3)


def test_the_classifier_has_the_keys_of_the_published_one():
    model = torch_crate_models.CRATEClassifier(tokens=16, patch=4, classes=10, dim=8, depth=2, heads=2)
    norm, linear = ("weight", "bias"), ("weight", "bias")
    expected = {"cls_token", "pos_embedding", *(f"mlp_head.{i}.{k}" for i in (0, 1) for k in norm)}
    expected |= {f"to_patch_embedding.{i}.{k}" for i in (1, 2, 3) for k in linear}
    for layer in (0, 1):
        start = f"transformer.layers.{layer}"
        expected |= {f"{start}.{i}.norm.{k}" for i in (0, 1) for k in norm} | {f"{start}.1.fn.weight"}
        expected |= {f"{start}.0.fn.qkv.weight", *(f"{start}.0.fn.to_out.0.{k}" for k in linear)}
    assert set(model.state_dict()) == expected
    X = torch.randn(3, 16, 4, generator=torch.Generator().manual_seed(0))
    states = model.hidden(X)
    assert tuple(states.shape) == (3, 3, 17, 8)
    assert states[1:].min() >= 0  # codes
    torch.testing.assert_close(model(X), model.mlp_head(states[-1][:, 0]))
    model.pool = "mean"
    torch.testing.assert_close(model(X), model.mlp_head(states[-1].mean(1)))
    with pytest.raises(InputError, match="pool='max'"):
        torch_crate_models.CRATEClassifier(tokens=1, patch=1, classes=2, pool="max")


def test_the_decoder_sees_hidden_tokens_by_their_places_only():
    make = torch_crate_models.CRATEAutoencoder
    model = torch_crate_models.seeded(0, lambda: make(tokens=5, patch=3, dim=8, heads=2, hidden=0.4)).double()
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    order = torch.stack([torch.randperm(5, generator=generator) for _ in range(2)])
    found = model(X, order)
    changed = X.clone()
    for sample, places in zip(changed, order, strict=True):
        sample[places[:2]] = 7.0
    torch.testing.assert_close(model(changed, order), found)
    for i, places in enumerate(order):  # by hand, sample by sample, with tokens put into their places one by one
        codes = model.encoder((model.embedding(X[i]) + model.positions[0])[places[2:]][None])[0]
        full = model.mask_token[0].repeat(5, 1)
        for code, place in zip(codes, places[2:], strict=True):
            full[place] = code
        expected = model.head(model.decoder((full + model.decoder_positions[0])[None]))[0]
        torch.testing.assert_close(found[i], expected)
        hidden = places[:2]
        error = (expected[hidden] - X[i][hidden]).square().mean()
        torch.testing.assert_close(model.loss(X[i : i + 1], order[i : i + 1]), error)
    for share in (0.0, 1.0):
        with pytest.raises(InputError, match="some must be hidden"):
            make(tokens=5, patch=3, hidden=share)


@pytest.fixture(scope="module")
def digits():
    """Images of 8 x 8 pixels in [0, 1] in random order, and their labels."""
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images = images[order].reshape(-1, 8, 8) / 16
    return torch.asarray(images, dtype=torch.float32), torch.asarray(labels[order])


def test_a_classifier_learns_digits_and_training_repeats_itself(digits):
    images, labels = digits
    X = torch_crate_models.patches(images, (2, 4))
    models, before = [], torch.random.get_rng_state()
    for epochs in (1, 1, 6):
        make = torch_crate_models.CRATEClassifier
        model = torch_crate_models.seeded(1, lambda: make(tokens=8, patch=8, classes=10, pool="mean"))  # noqa: B023
        losses = torch_crate_models.train_classifier(
            model, X[:1400], labels[:1400], epochs=epochs, rate=5e-3
        )
        models.append(model)
    assert torch.equal(torch.random.get_rng_state(), before)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)
    assert losses[0] > 1.5 > 0.6 > losses[-1]
    # 397 digits unseen; the level of chance is .1
    assert torch_crate_models.accuracy(models[2], X[1400:], labels[1400:]) > 0.8
    with pytest.raises(InputError, match="as many"):
        torch_crate_models.train_classifier(model, X, labels[:5])
    with pytest.raises(InputError, match="epochs=0"):
        torch_crate_models.train_classifier(model, X, labels, epochs=0)


def test_an_autoencoder_finds_more_than_the_mean_of_each_token(digits):
    X = torch_crate_models.patches(digits[0], (1, 8))
    make = torch_crate_models.CRATEAutoencoder
    model = torch_crate_models.seeded(0, lambda: make(tokens=8, patch=8, depth=1, decoder_depth=2))
    losses = torch_crate_models.train_autoencoder(model, X[:1400], epochs=12)
    mean = float((X[1400:] - X[:1400].mean(0)).square().mean())
    with torch.no_grad():
        error = float(model.loss(X[1400:], generator=torch.Generator().manual_seed(0)))
    assert error < 0.8 * mean
    assert losses[-1] < 0.6 * losses[0]
