"""Templates, coloured samples and low-rank denoisers: moments, files, three libraries, autodiff, dense algebra."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from lab.data.templates import coloured_templates, load_templates, procedural_templates, template_components
from lab.errors import InputError
from lab.models import denoisers
from lab.models import low_rank_denoisers as low_rank


def test_procedural_templates_fill_their_range_and_differ():
    T = procedural_templates(np.random.default_rng(0), K=200)
    assert T.shape == (200, 15, 15)
    np.testing.assert_allclose(T.min((1, 2)), 0, atol=0)
    np.testing.assert_allclose(T.max((1, 2)), 1, atol=0)
    squares = np.sum(T**2, axis=(1, 2))
    assert 8 < np.quantile(squares, 0.05) < np.quantile(squares, 0.95) < 45
    cosines = T.reshape(200, -1) @ T.reshape(200, -1).T / np.sqrt(np.outer(squares, squares))
    assert np.max(cosines - 2 * np.eye(200)) < 1 - 1e-3
    larger = procedural_templates(np.random.default_rng(0), K=200, shape=(45, 30))
    # the same draws at another resolution: the share of bright pixels is that of the picture
    np.testing.assert_allclose(np.mean(larger, axis=(1, 2)), np.mean(T, axis=(1, 2)), atol=0.05)


def test_one_ellipse_has_its_moments():
    """A single soft ellipse: area and principal axes of {q < 1} against its drawn half-axes."""
    rng = np.random.default_rng(3)
    T = procedural_templates(rng, K=40, shape=(401, 401), ellipses=(1, 1))
    grid = np.linspace(-1, 1, 401)
    inside = T > 0.5
    keep = ~(inside[:, 0].any(-1) | inside[:, -1].any(-1) | inside[:, :, 0].any(-1) | inside[:, :, -1].any(-1))
    assert keep.sum() > 10
    for image in inside[keep]:
        y, x = np.nonzero(image)
        points = np.stack([grid[x], grid[y]], axis=1)
        axes = 2 * np.sqrt(np.linalg.eigvalsh(np.cov(points.T)))  # of a uniform ellipse: variance half-axis²/4
        assert 0.075 < axes[0] < 0.205
        assert 0.245 < axes[1] < 0.705
        assert math.pi * axes[0] * axes[1] == pytest.approx(len(points) * (grid[1] - grid[0]) ** 2, rel=0.03)


def test_coloured_templates_are_colour_times_template():
    rng = np.random.default_rng(1)
    T = procedural_templates(rng, K=3, shape=(4, 5))
    means = rng.standard_normal((3, 2))
    data = coloured_templates(rng, T, N=30_000, colours=2, variance=0.5, colour_means=means)
    X = data.X.reshape(-1, 2, 20)
    np.testing.assert_allclose(X, data.colours[:, :, None] * data.templates[data.labels][:, None], rtol=1e-14)
    np.testing.assert_allclose(np.bincount(data.labels) / 30_000, 1 / 3, atol=0.015)
    for k in range(3):
        own = data.colours[data.labels == k]
        np.testing.assert_allclose(own.mean(0), means[k], atol=5 * math.sqrt(0.5 / 1e4))
        np.testing.assert_allclose(np.cov(own.T), 0.5 * np.eye(2), atol=0.04)
    mixture = template_components(T, colours=2, variance=0.5, colour_means=means)
    U = mixture["bases"][:, :, 0]
    covariance = np.einsum("k,kp,kq->kpq", mixture["eigenvalues"][:, 0], U, U)
    np.testing.assert_allclose(covariance, 0.5 * data.templates[:, :, None] * data.templates[:, None, :], atol=1e-15)
    np.testing.assert_allclose(mixture["means"][1], np.kron(means[1], data.templates[1]), rtol=1e-14)


@pytest.mark.parametrize("kind", ["npy", "npz", "folder"])
def test_own_images(tmp_path, kind):
    rng = np.random.default_rng(2)
    pictures = procedural_templates(rng, K=5, shape=(60, 45))
    if kind == "folder":
        image = pytest.importorskip("PIL.Image")
        path = tmp_path / "pictures"
        path.mkdir()
        for i, one in enumerate(pictures):
            image.fromarray(np.stack([np.uint8(255 * one)] * 3, axis=-1)).save(path / f"{i}.png")
        (path / "notes.txt").write_text("no image")
    else:
        path = tmp_path / f"pictures.{kind}"
        if kind == "npy":
            np.save(path, np.stack([pictures] * 3, axis=-1))
        else:
            np.savez(path, pictures)
    T = load_templates(path, K=4, shape=(20, 15))
    assert T.shape == (4, 20, 15)
    assert T.min() == 0
    assert T.max() == 1
    blocks = pictures[:4].reshape(4, 20, 3, 15, 3).mean((2, 4))  # block means: another way to shrink by 3
    for got, expected in zip(T, blocks, strict=True):
        assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.98
    np.testing.assert_allclose(load_templates(path, K=4, shape=(20, 15), invert=True), 1 - T)
    again = load_templates(path, K=5, shape=(20, 15), rng=np.random.default_rng(5))
    every = load_templates(path, shape=(20, 15))
    order = [int(np.argmin(np.abs(one - every).sum((1, 2)))) for one in again]
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert order == list(np.random.default_rng(5).permutation(5))


def dense_log_density(y, bases, eigenvalues, means, v, channels, a, s, log_priors):
    """Log-density of one noisy sample by dense covariances, their determinants and inverses."""
    logits = []
    for U, lam, mu, lp in zip(bases, eigenvalues, means, log_priors, strict=True):
        one = U @ jnp.diag(lam) @ U.T
        covariance = a * a * (jnp.kron(jnp.eye(channels), one) + v * jnp.eye(len(y))) + s * s * jnp.eye(len(y))
        gap = y - a * mu
        logits.append(lp - jnp.linalg.slogdet(covariance)[1] / 2 - gap @ jnp.linalg.solve(covariance, gap) / 2)
    return jax.scipy.special.logsumexp(jnp.stack(logits))


def mixture(rng, K=3, P=4, r=2, channels=1):
    bases = np.stack([np.linalg.qr(rng.standard_normal((P, r)))[0] for _ in range(K)])
    eigenvalues = np.exp(rng.standard_normal((K, r)))
    return bases, eigenvalues, rng.standard_normal((K, channels * P)), np.log(rng.dirichlet(np.ones(K)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("v", [0.0, 0.4])
def test_low_rank_denoisers_are_derivatives_of_the_log_density(channels, v):
    rng = np.random.default_rng(channels)
    bases, lam, means, lp = mixture(rng, channels=channels)
    y, a, s = rng.standard_normal((6, 4 * channels)), 0.8, 0.6
    with jax.enable_x64(True):
        expected = jax.vmap(jax.grad(lambda one: dense_log_density(one, bases, lam, means, v, channels, a, s, lp)))(y)
    given = {"means": means, "variance": v, "channels": channels, "log_priors": lp}
    got = low_rank.score(y, bases, lam, a, s, **given)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)
    eps, x0 = low_rank.noise_and_mean(y, bases, lam, a, s, **given)
    np.testing.assert_allclose(eps, -s * got, rtol=1e-12)
    np.testing.assert_allclose(x0, (y + s * s * got) / a, rtol=1e-10, atol=1e-12)  # Tweedie
    np.testing.assert_allclose(low_rank.posterior_mean(y, bases, lam, a, s, **given), x0)


def test_special_cases_agree_with_the_isotropic_mixture_and_with_the_written_out_channels():
    rng = np.random.default_rng(7)
    bases, lam, means, lp = mixture(rng, channels=2)
    y, a, s = rng.standard_normal((6, 8)), 0.3, 0.9
    flat = np.stack([np.kron(np.eye(2), U) for U in bases])
    together = low_rank.posterior_mean(y, bases, lam, a, s, means=means, channels=2, log_priors=lp)
    written = low_rank.posterior_mean(y, flat, np.tile(lam, 2), a, s, means=means, log_priors=lp)
    np.testing.assert_allclose(together, written, rtol=1e-12)
    none = np.zeros((3, 8, 0)), np.zeros((3, 0))
    for name in ("predicted_noise", "posterior_mean", "score", "posterior_weights"):
        got = getattr(low_rank, name)(y, *none, a, s, means=means, variance=0.7, log_priors=lp)
        np.testing.assert_allclose(got, getattr(denoisers, name)(y, means, 0.7, a, s, lp), rtol=1e-12)
    whole = np.stack([np.linalg.qr(rng.standard_normal((8, 8)))[0] for _ in range(3)])  # full rank, equal eigenvalues
    got = low_rank.posterior_mean(y, whole, np.full((3, 8), 0.7), a, s, means=means, log_priors=lp)
    np.testing.assert_allclose(got, denoisers.posterior_mean(y, means, 0.7, a, s, lp), rtol=1e-11)
    wider, none = np.concatenate([bases, rng.standard_normal((3, 4, 1))], axis=-1), np.zeros((3, 1))
    got = low_rank.posterior_mean(y, wider, np.concatenate([lam, none], -1), a, s, means=means, channels=2,
                                  log_priors=lp)  # fmt: skip
    np.testing.assert_allclose(got, together, rtol=1e-12)


def test_the_three_libraries_agree_and_batches_are_batches():
    rng = np.random.default_rng(8)
    parts = [mixture(rng, channels=2) for _ in range(2)]
    bases, lam, means, lp = (np.stack(one) for one in zip(*parts, strict=True))
    y, a, s, v = rng.standard_normal((2, 5, 8)), np.array([0.9, 0.2]), np.array([0.3, 0.8]), np.array([0.0, 0.5])

    def call(name, to):
        wide = [to(q)[:, None, None] for q in (a, s, v)]
        options = {"means": to(means), "variance": wide[2], "channels": 2, "log_priors": to(lp)}
        return getattr(low_rank, name)(to(y), to(bases), to(lam), *wide[:2], **options)

    for name in ("predicted_noise", "posterior_mean", "posterior_weights", "log_weights"):
        expected = call(name, np.asarray)
        for i in range(2):
            options = {"means": means[i], "variance": v[i], "channels": 2, "log_priors": lp[i]}
            alone = getattr(low_rank, name)(y[i], bases[i], lam[i], a[i], s[i], **options)
            np.testing.assert_allclose(expected[i], alone, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(call(name, torch.asarray).numpy(), expected, rtol=1e-11, atol=1e-13)
        with jax.enable_x64(True):
            eager, jitted = call(name, jnp.asarray), jax.jit(lambda name=name: call(name, jnp.asarray))()
            np.testing.assert_allclose(eager, expected, rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(jitted, expected, rtol=1e-11, atol=1e-13)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: procedural_templates(RNG, K=0), "K=0"),
        (lambda: coloured_templates(RNG, np.ones((2, 3)), variance=0.0), "variance"),
        (lambda: coloured_templates(RNG, np.ones((2, 3)), colour_means=np.ones(3)), "colour_means"),
        (lambda: template_components(np.zeros((2, 3))), "zero"),
        (lambda: load_templates("/nowhere/at/all.npy"), "neither a folder"),
        (lambda: load_templates(__file__), "neither a folder"),
        (lambda: low_rank.score(np.zeros((2, 5)), np.zeros((3, 4, 1)), np.zeros((3, 1)), 1.0, 1.0), "channels=1"),
        (lambda: low_rank.score(np.zeros((2, 4)), np.zeros((3, 4, 1)), np.zeros((3, 2)), 1.0, 1.0), "eigenvalues"),
        (lambda: low_rank.score(np.ones((2, 4)), np.ones((3, 4, 1)), np.ones((3, 1)), 1.0, 1.0, means=np.ones((2, 4))),
         "means"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no images"):
        load_templates(tmp_path)
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        load_templates(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.ones((2, 4, 4)))
    with pytest.raises(InputError, match="constant"):
        load_templates(tmp_path / "b.npy", shape=(2, 2))
    with pytest.raises(InputError, match="K=5"):
        load_templates(tmp_path / "b.npy", K=5)
