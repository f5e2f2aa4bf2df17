"""Generators of samples for encoder-decoder games: spans, angles, noise, splits, errors."""

import numpy as np
import pytest

from lab.data import game_subspaces as games
from lab.errors import InputError


def rng(seed=0):
    return np.random.default_rng(seed)


def cosines(U, V):
    """Cosines of the principal angles between two spans."""
    return np.linalg.svd(np.linalg.qr(U)[0].T @ np.linalg.qr(V)[0], compute_uv=False)


def test_samples_lie_on_their_subspaces_in_blocks():
    data = games.correlated_subspaces(rng(), ns=(20, 30, 25), d_x=15, ds=(3, 4, 5), alpha=0.2)
    assert data.Z.shape == (75, 15)
    assert data.labels.tolist() == [0] * 20 + [1] * 30 + [2] * 25
    for j, basis in enumerate(data.bases):
        X = data.Z[data.labels == j]
        assert np.linalg.matrix_rank(X) == basis.shape[1]
        np.testing.assert_allclose(X - X @ np.linalg.pinv(basis.T) @ basis.T, 0, atol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(basis, axis=0), 1, atol=1e-14)


def test_training_and_test_sets_share_their_subspaces():
    bases = games.correlated_bases(rng(1), d_x=12, ds=(2, 3))
    train, test = (games.sample(rng(seed), bases, (10, 10)) for seed in (2, 3))
    assert np.abs(train.Z - test.Z).max() > 0.1
    for j in range(2):
        own = [data.Z[data.labels == j].T for data in (train, test)]
        np.testing.assert_allclose(cosines(*(np.linalg.svd(X)[0][:, : 2 + j] for X in own)), 1, atol=1e-12)


def test_alpha_zero_nests_and_alpha_positive_gives_a_direct_sum():
    nested = games.correlated_bases(rng(4), d_x=12, ds=(2, 4), alpha=0.0)
    np.testing.assert_allclose(cosines(*nested), 1, atol=1e-12)
    apart = games.correlated_bases(rng(4), d_x=12, ds=(2, 4, 6), alpha=0.1)
    assert np.linalg.matrix_rank(np.concatenate(apart, axis=1)) == 12


@pytest.mark.parametrize("theta", [0.0, 0.3, np.pi / 2])
def test_exact_angles(theta):
    bases = games.exact_angle_bases(rng(5), d_x=11, ds=(4, 2, 4), theta=theta)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        # an angle near 0 or pi/2 is the square root of a rounding error off
        np.testing.assert_allclose(cosines(bases[i], bases[j]), np.cos(theta), atol=1e-14)
    for U in bases:
        np.testing.assert_allclose(U.T @ U, np.eye(U.shape[1]), atol=1e-14)
    assert games.exact_angle_subspaces(rng(5), ns=(5, 5, 5), d_x=11, ds=(4, 2, 4), theta=theta).Z.shape == (15, 11)


def test_noise_and_outliers_have_the_stated_energy():
    clean = games.single_subspace(rng(6), n=20_000, d_x=20, d_S=4)
    noisy = games.single_subspace(rng(6), n=20_000, d_x=20, d_S=4, nu=0.5)
    # relative standard errors: sqrt(2/(n d)) of a mean of squares of n d normal numbers, five of them
    assert np.mean(np.sum(clean.Z**2, axis=1)) == pytest.approx(4, rel=5 * (2 / 8e4) ** 0.5)
    assert np.mean(np.sum((noisy.Z - clean.Z) ** 2, axis=1)) == pytest.approx(0.5, rel=5 * (2 / 4e5) ** 0.5)
    stray = games.sample(rng(7), clean.bases, (20_000,), outliers=1.0).Z
    assert np.mean(np.sum(stray**2, axis=1)) == pytest.approx(4, rel=5 * (2 / 4e5) ** 0.5)
    assert np.linalg.matrix_rank(stray) == 20


def test_label_noise_redraws_labels_uniformly():
    bases = games.correlated_bases(rng(8), d_x=6, ds=(1, 1, 1, 1))
    ns = (10_000,) * 4
    labels = games.sample(rng(9), bases, ns, label_noise=0.4).labels
    wrong = np.mean(labels != np.repeat(np.arange(4), ns))
    assert wrong == pytest.approx(0.4 * 3 / 4, abs=5 * (0.3 * 0.7 / 4e4) ** 0.5)  # three of four redrawn labels are new


@pytest.mark.parametrize(("call", "words"), [
    (lambda: games.single_subspace(rng(), d_x=3, d_S=4), "d_S"),
    (lambda: games.correlated_bases(rng(), d_x=3, ds=(4,)), "ds"),
    (lambda: games.correlated_bases(rng(), alpha=1.5), "alpha"),
    (lambda: games.exact_angle_bases(rng(), d_x=3, ds=(2, 2), theta=0.1), "sum to 4"),
    (lambda: games.exact_angle_bases(rng(), d_x=4, ds=(2, 2), theta=2.0), "theta"),
    (lambda: games.sample(rng(), [np.eye(2)], (3, 3)), "ns"),
    (lambda: games.sample(rng(), [np.eye(2)], (3,), nu=-1.0), "nu"),
    (lambda: games.sample(rng(), [np.eye(2)], (3,), outliers=2.0), "outliers"),
])  # fmt: skip
def test_bad_input_is_refused_by_name(call, words):
    with pytest.raises(InputError, match=words):
        call()
