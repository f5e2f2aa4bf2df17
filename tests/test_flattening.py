"""Flattening sets, test beds, the network and the estimators of dimension: shapes, brute force, coverage, mistakes."""

import doctest

import numpy as np
import pytest

from lab.data import flattening
from lab.errors import InputError
from lab.models import dimension, flatnet
from lab.models.flatnet import FlatNet, fit_patch, flatness, least_distance_ratio, turning_points

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("module", [flattening, dimension, flatnet])
def test_examples_of_the_docstrings(module):
    assert doctest.testmod(module).failed == 0


# ---------------------------------------------------------------- data


def test_curves_have_their_geometry():
    line = flattening.sine_graph(200, periods=2, unit=False)
    np.testing.assert_allclose(line.X[:, 1], np.sin(4 * np.pi * line.X[:, 0]), atol=1e-14)
    np.testing.assert_allclose(flattening.sine_graph(99).X.std(0), 1, rtol=1e-12)
    bow = flattening.arc(50, radius=2.0, D=4)
    np.testing.assert_allclose(np.linalg.norm(bow.X, axis=1), 2, rtol=1e-14)
    assert not bow.closed
    assert flattening.arc(50, 2 * np.pi).closed
    gaps = np.linalg.norm(np.diff(bow.X, axis=0), axis=1)
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-12)
    roll = flattening.swiss_roll(RNG, 400)
    np.testing.assert_allclose(np.hypot(roll.X[:, 0], roll.X[:, 2]), roll.latent[:, 0], rtol=1e-12)


def test_gaussian_process_has_its_covariance():
    """At three latent points, over many coordinates."""
    surface = flattening.gp_manifold(np.random.default_rng(1), 3, 2, 200_000, length=0.6)
    found = surface.X @ surface.X.T
    gaps = np.sum((surface.latent[:, None] - surface.latent) ** 2, axis=-1)
    np.testing.assert_allclose(found, np.exp(-gaps / (2 * 0.36)), atol=0.012)


@pytest.mark.parametrize(("space", "d"), [("circle", 1), ("torus", 3), ("sphere", 2), ("sphere", 4), ("cube", 2)])
def test_beds_have_the_stated_probability_of_balls(space, d):
    from scipy.special import betainc, gamma

    x = flattening.uniform_points(np.random.default_rng(2), space, 2, d, 40_000)
    gap = np.abs(x[:, 0] - x[:, 1])
    turn = flattening.period(space)
    t = np.linalg.norm(gap if turn is None else np.minimum(gap, turn - gap), axis=1)
    for r in (0.2, 0.45):
        ball = np.pi ** (d / 2) / gamma(d / 2 + 1) * r**d
        expected = {"circle": r / np.pi, "torus": ball, "sphere": betainc(d / 2, d / 2, r**2 / 4)}.get(space)
        if expected is None:
            assert np.mean(t < r) < 0.9 * ball  # cut off by the boundary
        else:
            assert np.mean(t < r) == pytest.approx(expected, abs=4 * np.sqrt(expected / 40_000))


# ---------------------------------------------------------------- dimension


@pytest.mark.parametrize("turn", [None, 1.0])
def test_neighbours_by_brute_force(turn):
    x = RNG.random((3, 30, 2))
    gap = np.abs(x[:, :, None] - x[:, None])
    full = np.linalg.norm(gap if turn is None else np.minimum(gap, 1 - gap), axis=-1)
    expected = np.sort(full, axis=-1)[..., 1:5]
    np.testing.assert_allclose(dimension.neighbour_distances(x, 4, period=turn), expected, rtol=1e-12)
    m = np.mean(np.log(expected[..., 3:] / expected[..., :3]), axis=-1)
    np.testing.assert_allclose(dimension.log_ratio_means(expected), m, rtol=1e-12)


def test_estimators_are_their_formulas():
    x = RNG.random((300, 3))
    T = dimension.neighbour_distances(x, 5)
    found = dimension.two_nn(x)
    assert found.value == pytest.approx(299 / np.sum(np.log(T[:, 1] / T[:, 0])))
    m = dimension.log_ratio_means(T)
    assert dimension.levina_bickel(x, 5, averaging="estimates").value == pytest.approx(np.mean(0.75 / m))
    np.testing.assert_allclose(found.local, 1 / np.log(T[:, 1] / T[:, 0]))
    assert found.low < found.value < found.high
    assert found.high / found.value == pytest.approx(np.exp(1.959964 * np.sqrt(1.58 / 300)), rel=1e-6)


def test_block_intervals_cover():
    """Nominal 95 %; blocks overlap at their borders, which costs little on the line."""
    hits = []
    for seed in range(60):
        x = np.random.default_rng(seed).random((600, 1))
        found = dimension.levina_bickel(x, 6, averaging="estimates", period=1.0)
        hits.append(found.low < 1 < found.high)
    assert 0.85 < np.mean(hits) <= 1


def test_local_covariances_count_dimensions():
    for d in (1, 2, 4):
        X = flattening.uniform_points(np.random.default_rng(d), "sphere", 1500, d)
        assert dimension.local_pca(X, 12 + 6 * d).value == pytest.approx(d, abs=0.15)
    blocks = dimension.spatial_blocks(RNG.random((100, 2)), 8)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(100))
    assert {len(b) for b in blocks} == {12, 13}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: dimension.two_nn(np.zeros((9, 2))), "coincide"),
        (lambda: dimension.two_nn(RNG.random((9, 2)) + 1, period=1.0), "modulo the period"),
        (lambda: dimension.two_nn(np.full((9, 2), np.nan)), "not finite"),
        (lambda: dimension.levina_bickel(RNG.random((5, 2)), 5), "n >= 6 points"),
        (lambda: dimension.levina_bickel(RNG.random((9, 2)), 3, averaging="estimates"), "k=3"),
        (lambda: dimension.levina_bickel(RNG.random((9, 2)), averaging="median"), "averaging='median'"),
        (lambda: dimension.spatial_blocks(RNG.random((9, 2)), 6), "power of 2"),
        (lambda: dimension.log_ratio_means(np.ones((4, 1))), "k >= 2"),
        (lambda: flattening.uniform_points(RNG, "circle", 5, 2), "circle has dimension 1"),
        (lambda: flattening.uniform_points(RNG, "plane", 5, 2), "space='plane'"),
        (lambda: flattening.ball_patch(RNG, 5, 2, 2.0, 1.0), "r=2.0"),
        (lambda: flattening.arc(50, 7.0), "angle=7.0"),
    ],
)
def test_mistakes_are_said_in_one_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()


# ---------------------------------------------------------------- the network


def test_network_flattens_and_comes_back():
    data = flattening.arc(50)
    net = FlatNet(dimension=1, layers=300, radius=0.3)
    Z = net.fit_transform(data.X)
    assert flatness(data.X, 1) > 0.5
    assert flatness(Z, 1) < 0.5
    assert turning_points(data.X, False) == 2
    assert turning_points(Z, False) == 0
    assert np.max(np.linalg.norm(Z, axis=1)) == pytest.approx(1)
    np.testing.assert_allclose(Z.mean(0), 0, atol=1e-14)
    assert net.dimension_ == 1
    short = FlatNet(dimension=1, layers=60, radius=0.3).fit(data.X)
    np.testing.assert_allclose(short.inverse_transform(short.transform(data.X)), data.X, atol=1e-9)
    *_, last = short.path(data.X)
    np.testing.assert_array_equal(last, short.transform(data.X))


def test_heights_follow_from_the_losses():
    net = FlatNet(layers=30, height=0.4, threshold=1e-6).fit(flattening.sine_graph(50).X)
    for layer, patch in zip(net.layers_, net.patches_, strict=True):
        assert layer.alpha == pytest.approx(min(0.4, np.sqrt(1e-6 / patch.loss)))
        np.testing.assert_allclose(patch.model.T @ patch.frame, 0, atol=1e-10)


def test_network_does_not_depend_on_units():
    X = flattening.sine_graph(50, rng=np.random.default_rng(5)).X
    one, other = (FlatNet(layers=30).fit(X * size + 3) for size in (1.0, 100.0))
    np.testing.assert_allclose(one.transform(X + 3), other.transform(100 * X + 3), atol=1e-6)
    assert other.amplification_bound == pytest.approx(100 * one.amplification_bound, rel=1e-3)


def test_amplification_is_below_its_bound_and_above_what_is_seen():
    X = flattening.sine_graph(50, rng=np.random.default_rng(6)).X
    net = FlatNet(layers=50).fit(X)
    Z = net.transform(X)
    step = 1e-9 * RNG.standard_normal(Z.shape)
    seen = np.linalg.norm(net.inverse_transform(Z + step) - X, axis=1) / np.linalg.norm(step, axis=1)
    assert np.all(net.amplification(X) <= net.amplification_bound)
    assert np.max(seen) <= net.amplification_bound
    assert np.max(seen) <= 3 * np.max(net.amplification(X))


def test_hybrid_decoding_is_exact_until_it_is_not():
    X = flattening.arc(50).X
    short = FlatNet(dimension=1, layers=50, radius=0.3).fit(X)
    Z = short.transform(X)
    np.testing.assert_array_equal(short.inverse_transform(Z, "hybrid"), short.inverse_transform(Z))
    deep = FlatNet(dimension=1, layers=300, radius=0.3).fit(X)
    Z = deep.transform(X)
    gaps = {name: np.linalg.norm(deep.inverse_transform(Z, name) - X) for name in ("exact", "quadratic", "hybrid")}
    assert gaps["hybrid"] < min(gaps["exact"], gaps["quadratic"])


def test_dimension_is_found():
    X = flattening.gp_manifold(np.random.default_rng(0), 300, 2, 20).X
    assert FlatNet(layers=8).fit(X).dimension_ == 2
    assert FlatNet(layers=8).fit(flattening.sine_graph(50).X).dimension_ == 1


@pytest.mark.parametrize("centre", ["sample", "mean"])
def test_patch_of_a_paraboloid_is_exact(centre):
    """A surface that is its own quadratic model: the tangent plane comes out, whatever the weights."""
    u = RNG.uniform(-1, 1, (400, 2))
    u[0] = 0
    height = u[:, :1] ** 2 - 0.3 * u[:, :1] * u[:, 1:] + 0.5 * u[:, 1:] ** 2
    basis = np.linalg.qr(RNG.standard_normal((3, 3)))[0]
    Z = np.concatenate([u, height], axis=1) @ basis.T
    patch = fit_patch(Z, Z[0], 2, 0.5, centre=centre, refinements=60)
    np.testing.assert_allclose(patch.frame.T @ basis[:, 2], 0, atol=1e-6)
    assert patch.loss < 1e-14
    assert patch.worst < 1e-5


def test_measures_of_a_fold():
    t = np.linspace(0, 1, 40)
    folded = np.stack([np.abs(t - 0.5), 0 * t], axis=1)
    assert turning_points(folded, False) == 1
    assert flatness(folded, 1) == 0
    assert flatness(folded, 2) == 0
    line = np.stack([t, 0 * t], axis=1)
    assert least_distance_ratio(folded, line) < 1e-12
    assert least_distance_ratio(3 * line, line) == pytest.approx(1)


@pytest.mark.parametrize(
    ("net", "X", "words"),
    [
        (FlatNet(), np.zeros((5, 2)), "all its samples are equal"),
        (FlatNet(), np.ones((2, 2)), "n >= 3"),
        (FlatNet(dimension=2), RNG.random((9, 2)), "dimension=2"),
        (FlatNet(height=1.0), RNG.random((9, 2)), "height=1.0"),
        (FlatNet(radius=-1.0), RNG.random((9, 2)), "radius=-1.0"),
        (FlatNet(centre="origin"), RNG.random((9, 2)), "centre='origin'"),
        (FlatNet(), np.array([[0.0, np.inf], [1, 2], [3, 4]]), "not finite"),
    ],
)
def test_bad_networks_are_refused(net, X, words):
    with pytest.raises(InputError, match=words):
        net.fit(X)


def test_unfitted_and_unknown():
    with pytest.raises(InputError, match="call fit"):
        FlatNet().transform(np.zeros((4, 2)))
    net = FlatNet(layers=2).fit(flattening.sine_graph(30).X)
    with pytest.raises(InputError, match="decoder='secant'"):
        net.inverse_transform(np.zeros((1, 2)), "secant")
