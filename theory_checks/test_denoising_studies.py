"""Overlapping frames, segmentation and many layers, by routes that share no code with the closed forms."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from lab.data.subspaces import haar
from lab.data.tokens import incoherent_subspace_tokens
from lab.errors import InputError, OutOfDomain
from lab.models import white_box
from lab.objectives.partitions import adjusted_rand_index
from lab.systems.attention_only.laws import segmentation, validity
from lab.systems.attention_only.theory.failures import foreign_failure, signal_failure
from lab.systems.attention_only.theory.segmentation import confused_agreement, energy_error, partial_agreement
from lab.systems.attention_only.theory.validity import incoherent_exact_probability, leaked_noise
from lab.systems.crate.theory.layers import attention_slope, rate_path

ROOT = Path(__file__).resolve().parent.parent


# ---------------------------------------------------------------------- the index of two partitions


def counted_pairs(one, two):
    """The index from its meaning: pairs together in both, against the mean over all relabellings of the same sizes."""
    i, j = np.triu_indices(len(one), 1)
    same, also = one[i] == one[j], two[i] == two[j]
    both, expected = np.sum(same & also), same.sum() * also.sum() / len(i)
    return (both - expected) / ((same.sum() + also.sum()) / 2 - expected)


def test_index_counts_pairs():
    rng = np.random.default_rng(0)
    for n, parts in ((2, 2), (7, 3), (40, 2), (60, 9), (30, 30)):
        one, two = rng.integers(parts, size=n), rng.integers(parts, size=n)
        if len(set(one)) == len(set(two)) and len(set(one)) in (1, n):
            continue  # 0/0 of the definition: equal partitions, the index is 1
        assert adjusted_rand_index(one, two) == pytest.approx(counted_pairs(one, two), abs=1e-14)
    assert adjusted_rand_index([1, 1, 1], [2, 2, 2]) == adjusted_rand_index([0, 1, 2], [5, 7, 6]) == 1.0
    assert adjusted_rand_index([0, 0, 1, 1], [0, 1, 2, 3]) == 0.0
    with pytest.raises(InputError, match="equally long"):
        adjusted_rand_index([0, 1], [0, 1, 1])


def test_index_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    for n, parts, others in ((50, 3, 5), (500, 10, 2), (31, 31, 4), (10, 1, 3)):
        one, two = rng.integers(parts, size=n), rng.integers(others, size=n) - 2
        assert adjusted_rand_index(one, two) == pytest.approx(metrics.adjusted_rand_score(one, two), abs=1e-14)


# ---------------------------------------------------------------------- segmentation


def test_index_of_partly_found_clusters_is_that_of_such_labels():
    for heads, n, found in ((2, 10, 5), (4, 12, 3), (5, 8, 8), (3, 9, 0)):
        truth = np.repeat(np.arange(heads), n)
        labels = np.where(np.tile(np.arange(n), heads) < found, truth, heads)
        assert partial_agreement(found / n, heads, n) == pytest.approx(adjusted_rand_index(truth, labels), abs=1e-13)


def test_index_of_confused_labels_is_the_limit_of_such_labels():
    rng, truth = np.random.default_rng(2), np.repeat(np.arange(3), 40_000)
    wrong = rng.random(truth.size) < 0.2
    labels = np.where(wrong, (truth + rng.integers(1, 3, truth.size)) % 3, truth)
    assert confused_agreement(0.2, 3) == pytest.approx(adjusted_rand_index(truth, labels), abs=0.01)
    assert confused_agreement(0.0, 5) == 1.0
    assert confused_agreement(2 / 3, 3) == pytest.approx(0.0, abs=1e-14)  # labels at random


def test_energy_error_is_an_f_tail_for_two_heads_and_an_integral_for_more():
    for p, delta in ((1, 0.3), (4, 0.5), (16, 0.9), (12, 0.2)):
        assert energy_error(2, p, delta) == pytest.approx(stats.f.sf(1 / delta**2, p, p), rel=1e-6)
    for heads, p, delta in ((5, 3, 0.6), (8, 8, 0.7)):
        # over the largest noise instead of the signal
        missed, _ = integrate.quad(
            lambda m, K=heads, p=p, d=delta: (
                (K - 1) * stats.chi2.cdf(m, p) ** (K - 2) * stats.chi2.pdf(m, p) * stats.chi2.cdf(d**2 * m, p)
            ), 0, np.inf,
        )  # fmt: skip
        assert energy_error(heads, p, delta) == pytest.approx(missed, rel=1e-6)


def test_spectral_labels_find_blocks_and_components_singletons():
    rng, truth = np.random.default_rng(3), np.repeat(np.arange(3), 8)
    A = 0.05 + (truth[:, None] == truth) * rng.uniform(0.5, 1, (24, 24))
    assert adjusted_rand_index(truth, segmentation.spectral_labels((A + A.T) / 2, 3)) == 1.0
    itself = np.stack([np.arange(5), np.arange(5)])
    assert len(set(segmentation.components(itself, 5))) == 5
    assert segmentation.components(np.array([[0, 3], [1, 4]]), 5).tolist() == [0, 0, 1, 2, 2]


# ---------------------------------------------------------------------- overlap


def test_leak_is_the_mean_square_of_a_token_in_a_foreign_head():
    rng, seen = np.random.default_rng(4), []
    for _ in range(40):
        tokens = incoherent_subspace_tokens(rng, class_sizes=(50, 50), rank=8, delta=0.2, d=40)
        seen.append(np.mean((tokens.Z[:50] @ tokens.frames[1]) ** 2))
    error = 4 * np.std(seen, ddof=1) / np.sqrt(len(seen))
    assert np.mean(seen) == pytest.approx(leaked_noise(0.2, 8, 40) ** 2, abs=error)
    with pytest.raises(OutOfDomain, match="dim=4"):
        leaked_noise(0.1, 8, 4)


def test_corner_of_a_haar_frame_has_its_moments():
    # E tr(GG^T) = p²/d and E tr (GG^T)² of a p x p corner of a d x d orthogonal matrix (Weingarten calculus)
    rng, p, d = np.random.default_rng(5), 6, 20
    seen = np.array([[np.sum(G**2), np.sum((G @ G.T) ** 2)] for G in (validity.corner(rng, d, p) for _ in range(3000))])
    fourth, same, mixed = 3 / (d * (d + 2)), 1 / (d * (d + 2)), (d + 1) / (d * (d - 1) * (d + 2))
    cross = -1 / (d * (d - 1) * (d + 2))
    # pairs of rows i, j and columns k, l of (G_ik G_jk)(G_il G_jl)
    second = p * (p * fourth + p * (p - 1) * same) + p * (p - 1) * (p * same + p * (p - 1) * cross)
    assert mixed > same > 0 > cross
    error = 4 * seen.std(0, ddof=1) / np.sqrt(len(seen))
    assert np.all(np.abs(seen.mean(0) - [p**2 / d, second]) < error)
    direct = [np.sum((G.T @ G) ** 2) for G in (haar(rng, d, p)[:p] for _ in range(2000))]
    assert np.mean(direct) == pytest.approx(second, rel=0.03)


def test_events_of_orthogonal_frames_are_the_limit_of_large_dimension():
    chance = np.exp(-256 * (signal_failure(4, 64, 32, 0.1, 0.6) + 3 * foreign_failure(4, 64, 32, 0.1, 0.6)))
    assert incoherent_exact_probability(4, 64, 32, 10**9, 0.1, 0.6) == pytest.approx(float(chance), rel=1e-5)
    assert incoherent_exact_probability(4, 64, 32, 256, 0.02, 0.6) < 1e-4


def test_a_layer_on_overlapping_frames_by_hand():
    # three lines at angles of cosine .2 to .5: tokens this long attend to themselves in their own head, and in the
    # others to the longest key there if its score is far enough above the rest. tau = .9 and one token per cluster
    U = np.linalg.qr(np.eye(3))[0] + 0.25
    U /= np.linalg.norm(U, axis=0)
    Z = np.diag([1.6, 1.7, 1.5]) @ U.T  # score with itself 2.3 to 2.9, leaked scores below 1.3
    eta, tau = 0.7, 0.62
    after = Z.copy()
    for i, z in enumerate(Z):
        for u in U.T:
            weights = np.exp((z @ u) * (Z @ u))
            weights /= weights.sum()
            for m in np.flatnonzero(weights > tau):
                after[i] += eta * tau * (Z[m] @ u) * u
    found = Z + eta * white_box.mssa(Z, U.T[:, :, None], phi=white_box.thresholded(tau))
    assert found == pytest.approx(after, abs=1e-14)
    scores = [[(Z[i] @ u) * (Z @ u) for u in U.T] for i in range(3)]
    shares = np.array([[np.exp(s) / np.exp(s).sum() for s in row] for row in scores])
    events = all((shares[i, k].max() > tau) == (i == k) for i in range(3) for k in range(3))
    if events:
        for i, u in enumerate(U.T):
            assert found[i] @ u == pytest.approx((1 + eta * tau) * (Z[i] @ u), rel=1e-13)
    assert events


def test_gain_over_overlaps_is_one_without_any():
    p = validity.Strong(dim=2048, delta=0.02)
    assert validity.by_rows(p)[0] == pytest.approx(1.0, abs=1e-12)
    value, error = validity.by_rows(validity.Strong(dim=128, delta=0.02))
    assert value < 0.25
    assert error < 0.05


# ---------------------------------------------------------------------- layers


def test_rate_path_is_gradient_descent_of_the_definition():
    rng, beta, t = np.random.default_rng(6), 0.7, 0.8
    W = rng.standard_normal((9, 4))
    rates, M = [], W.copy()
    for _ in range(4):
        rates.append(0.5 * np.linalg.slogdet(np.eye(9) + beta * M @ M.T)[1])
        M = M - t * np.linalg.inv(np.eye(9) + beta * M @ M.T) @ M
    found = rate_path(np.linalg.svd(W, compute_uv=False), t, beta, 3)
    assert found == pytest.approx(np.array(rates), rel=1e-12)
    assert np.all(np.diff(rate_path([3.0, 0.1], 0.5, 2.0, 40)) < 0)
    assert rate_path([3.0], 0.5, 2.0, 60)[-1] < 1e-12
    weak = rate_path([1e-4], 0.5, 1.0, 1)
    assert weak[1] / weak[0] == pytest.approx(0.25, rel=1e-6)


def test_attention_slope_of_tokens_that_attend_to_themselves():
    # weights 1 on oneself: W -> (1 + t) W, whose log-determinant grows by 2 p log(1 + t) per head
    rng, t = np.random.default_rng(7), 0.4
    W = 1e6 * rng.standard_normal((20, 5))
    one, two = (0.5 * np.linalg.slogdet(np.eye(5) + V.T @ V)[1] for V in (W, (1 + t) * W))
    assert 3 * (two - one) == pytest.approx(attention_slope(3, 5, t), rel=1e-9)


# ---------------------------------------------------------------------- studies


def study(name):
    spec = importlib.util.spec_from_file_location(f"study_{name}", ROOT / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


NAMES = ("attention_only_operator_zoo", "attention_only_segmentation", "attention_only_validity", "crate_layers")


@pytest.mark.parametrize("name", NAMES)
def test_points_of_all_presets_are_in_the_domains(name):
    found = study(name).STUDY
    for preset in found.presets:
        for law in found.laws:
            assert found.grid(law, preset).requests(law.params)


def test_controls_of_the_zoo_are_refuted():
    zoo = study("attention_only_operator_zoo")
    point = zoo.Tokens(per_class=32)
    for law in (zoo.ROWS, zoo.RATE):
        for control in law.controls:
            assert law.check(point, control=control).refuted, (law.id, control)


def test_without_scikit_learn_the_synthetic_part_remains(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "sklearn" else found(name, *a))
    module = study("crate_layers")
    assert module.MISSING == ["sklearn"]
    assert "crate/head-normalised-cap" not in {law.id for law in module.STUDY.laws}
    assert len(module.STUDY.laws) == 3
