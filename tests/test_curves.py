"""Curves on spheres and their geometry; limit kernels of deep networks in every array library."""

import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
from array_api_extra.testing import assert_close, lazy_xp_function

from lab.arrays import to_numpy
from lab.data import curves
from lab.data.curves.geometry import _cover
from lab.errors import InputError
from lab.models.angle_kernels import (
    AngleTable,
    angle_map,
    angles,
    hidden_kernel,
    iterated_angle,
    limit_kernel,
    skeleton,
)
from lab.registry import load_file

ANGLES = np.array([0.0, 1e-8, 1e-3, 0.4999, 0.5001, 1.0, 2.5, np.pi])
TABLE = AngleTable(functools.partial(limit_kernel, width=32), 30)
EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def everything(nu, X):
    return (
        angle_map(nu), iterated_angle(nu, [0, 3, 40]), skeleton(nu, 1), skeleton(nu, [2, 30]), hidden_kernel(nu, 12),
        limit_kernel(nu, 12, 64), TABLE(nu), angles(X), angles(X, X[..., :2, :]),
    )  # fmt: skip


lazy_xp_function(everything)


@pytest.fixture
def rows(rng):
    X = rng.standard_normal((2, 5, 4))
    return X / np.linalg.norm(X, axis=-1, keepdims=True)


# ---------------------------------------------------------------------- kernels


def test_kernels_are_the_same_in_every_library(xp, rows):
    # forty layers of a few roundings each; a chord of coordinates rounded in the same way
    for ours, reference in zip(everything(xp.asarray(ANGLES), xp.asarray(rows)), everything(ANGLES, rows), strict=True):
        assert_close(ours, xp.asarray(reference), rtol=1e-13, atol=1e-14)


def test_single_precision_is_kept(xp, rows):
    results = everything(xp.asarray(ANGLES[:-1].astype(np.float32)), xp.asarray(rows.astype(np.float32)))
    assert all(str(result.dtype).endswith("float32") for result in results)
    for result, reference in zip(results, everything(ANGLES[:-1], rows), strict=True):
        assert np.allclose(to_numpy(result), reference, rtol=1e-4, atol=1e-3)


def test_several_depths_are_one_pass():
    several = skeleton(ANGLES, [1, 7, 20])
    assert several.shape == (3, 8)
    for depth, row in zip((1, 7, 20), several, strict=True):
        assert np.array_equal(row, skeleton(ANGLES, depth))


def test_values_at_the_ends():
    assert skeleton(np.zeros(()), 17) == 8.5
    assert limit_kernel(np.zeros(()), 17, 10.0) == pytest.approx(86.0, rel=1e-15)
    assert angle_map(np.asarray(np.pi)) == pytest.approx(np.pi / 2, rel=1e-15)


def test_long_loops_are_differentiated_by_jax():
    jax = pytest.importorskip("jax")
    nu = 0.7
    slope = jax.jvp(lambda a: skeleton(a, 50), (jax.numpy.asarray(nu),), (jax.numpy.ones(()),))[1]
    step = 1e-6
    difference = (skeleton(np.asarray(nu + step), 50) - skeleton(np.asarray(nu - step), 50)) / (2 * step)
    assert float(slope) == pytest.approx(float(difference), rel=1e-8)


@pytest.mark.parametrize(("depth", "error"), [(1, 2e-14), (50, 3e-13), (100, 4e-13), (1000, 4e-12)])
def test_tables_are_as_good_as_they_say(rng, depth, error):
    nu = np.concatenate([np.pi * rng.uniform(size=300) ** 3, [0.0, np.pi]])
    for kernel in (skeleton, hidden_kernel):
        assert np.max(np.abs(AngleTable(kernel, depth)(nu) - kernel(nu, depth))) < error * depth / 2


def test_angles_of_near_points_keep_their_digits():
    x = np.array([[1.0, 0.0], [np.cos(1e-6), np.sin(1e-6)]])
    assert angles(x)[0, 1] == pytest.approx(1e-6, rel=1e-10)
    assert np.arccos(x[0] @ x[1]) != pytest.approx(1e-6, rel=1e-6)
    assert (np.diagonal(angles(x)) == 0).all()
    opposite = np.array([[0.6, 0.8], [-0.6, -0.8]])
    assert angles(opposite)[0, 1] == pytest.approx(np.pi)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: angle_map(np.array([1, 2])), "real floating point"),
        (lambda: angle_map(np.array([3.2])), "angles must lie in"),
        (lambda: skeleton(np.array([1.0]), 0), "depth=0"),
        (lambda: skeleton(np.array([1.0]), [3, 2]), "increasing"),
        (lambda: angles(np.ones((3, 2))), "normalise"),
        (lambda: angles(np.eye(3), np.eye(2)), "same dimension"),
        (lambda: AngleTable(skeleton, 5, nodes=3), "at least 4"),
        (lambda: AngleTable(lambda nu, L: nu[:3], 5), "finite number each"),
    ],
)
def test_bad_input_of_kernels(call, words):
    with pytest.raises(InputError, match=words):
        call()


# ---------------------------------------------------------------------- curves


def samples(rng):
    return {
        "coaxial": curves.coaxial(0.4, 0.6, points=12),
        "opposite": curves.coaxial(0.5, 0.5, points=12, same_hemisphere=False, n0=5),
        "pair": curves.symmetric_pair(0.5, 0.3, points=12, n0=6),
        "orbit": curves.orbit_curve({0: 0.2, 1: 0.3, 4: 0.5}, points=32),
        "orbits": curves.orbit_pair({1: 0.4, 2: 0.6}, {1: 0.7, 2: 0.3}, {2: 0.4}, points=12),
        "fourier": curves.fourier_curve(rng, n0=5, modes=4, decay=2.0, amplitude=0.3, points=64),
    }


def test_every_curve_is_on_the_sphere_at_equal_steps(rng):
    for name, sample in samples(rng).items():
        count = len(sample.lengths)
        size = len(sample.X) // count
        assert np.allclose(np.linalg.norm(sample.X, axis=1), 1, atol=1e-14), name
        assert sample.weights.sum() == pytest.approx(1)
        assert (sample.labels[:size] == 1).all()
        assert (sample.labels[size:] == -1).all()
        for c, length in enumerate(sample.lengths):
            own = sample.X[c * size : (c + 1) * size]
            chords = np.linalg.norm(own - np.roll(own, 1, axis=0), axis=1)
            assert chords.max() <= length / size * (1 + 1e-12), name
            # a chord lacks kappa² h³/24 of its arc
            assert (chords >= length / size * (1 - (sample.extrinsic[c] * length / size) ** 2 / 20)).all(), name


def test_closed_angles_are_those_of_the_points():
    t = 2 * np.pi * np.arange(12) / 12
    found = angles(curves.symmetric_pair(0.5, 0.3, points=12).X)
    assert np.allclose(found[0], np.concatenate(curves.pair_angles(0.5, 0.3, t)), atol=1e-14)
    assert found[0, 12] == pytest.approx(0.3, abs=1e-14)
    for same in (True, False):
        sample = curves.coaxial(0.4, 0.6, points=12, same_hemisphere=same)
        found, closed = angles(sample.X), curves.coaxial_angles(0.4, 0.6, t, same_hemisphere=same)
        assert np.allclose(found[0], np.concatenate(closed[:2]), atol=1e-14)
        assert np.allclose(found[12, 12:], closed[2], atol=1e-14)
        assert sample.separation == pytest.approx(closed[1][0])
    assert curves.coaxial(0.4, 0.6, points=2).separation == pytest.approx(np.arcsin(0.6) - np.arcsin(0.4))
    plus, minus, phases = {1: 0.4, 2: 0.6}, {1: 0.7, 2: 0.3}, {2: 0.4}
    found = angles(curves.orbit_pair(plus, minus, phases, points=12).X)
    assert np.allclose(found[0, :12], curves.orbit_angle(plus, t), atol=1e-14)
    assert np.allclose(found[0, 12:], curves.orbit_cross_angle(plus, minus, phases, t), atol=1e-14)


def smooth(points):
    """A random curve of largest curvature 7.3."""
    return curves.fourier_curve(np.random.default_rng(3), n0=6, modes=3, amplitude=0.2, points=points)


def test_curvature_is_that_of_differentiation():
    for squares in ({0: 0.75, 1: 0.25}, {1: 0.1, 3: 0.9}):
        sample = curves.orbit_curve(squares, points=64)
        assert curves.curvatures(sample.X, float(sample.lengths[0])) == pytest.approx(sample.extrinsic[0], abs=1e-9)
    sample = smooth(1024)
    measured = curves.curvatures(sample.X, float(sample.lengths[0]))
    assert measured.max() == pytest.approx(sample.extrinsic[0], rel=1e-4)  # 1024 points next to 4096
    assert (measured >= 1 - 1e-9).all()
    with pytest.raises(InputError, match="sample the curve more finely"):
        curves.curvatures(sample.X[::32], float(sample.lengths[0]))


def test_length_of_a_random_curve_is_that_of_a_polygon():
    sample = smooth(2048)
    polygon = np.linalg.norm(sample.X - np.roll(sample.X, 1, axis=0), axis=1).sum()
    assert polygon == pytest.approx(sample.lengths[0], rel=(7.3 * sample.lengths[0] / 2048) ** 2 / 24)
    assert polygon < sample.lengths[0]


def test_rotation_keeps_angles(rng):
    sample = curves.coaxial(0.4, 0.6, points=6, n0=7)
    turned = curves.rotated(rng, sample)
    assert np.allclose(angles(turned.X), angles(sample.X), atol=1e-14)
    assert not np.allclose(turned.X, sample.X)


def test_angle_injectivity_and_clover_number_of_windings():
    """Eight windings at 2 arcsin(c_1 sin(pi/8)): seven strands near each point, until c_1 sets them apart."""
    near, far = ({1: c2, 8: 1 - c2} for c2 in (0.01, 0.3))
    sample = curves.orbit_curve(near, points=4000)
    radius, error = curves.angle_injectivity(sample)
    exact = 2 * np.arcsin(0.1 * np.sin(np.pi / 8))
    assert radius - error <= exact <= radius + 1e-12
    assert curves.clover_number(sample, delta=0.9) == 7
    assert curves.clover_number(curves.orbit_curve(far, points=4000), delta=0.1) == 0
    assert curves.clover_number(curves.coaxial(0.5, 0.52, points=64), delta=0.9) == 1
    circle = curves.orbit_curve({0: 0.5, 1: 0.5}, points=400)
    assert curves.clover_number(circle) == 0
    reach = np.sqrt(0.05) / max(1.0, 2 / np.pi)
    assert curves.angle_injectivity(circle)[0] <= reach


def test_general_curves_take_the_same_route(rng):
    """Without the mark that all points are alike, an orbit curve gives the same geometry."""
    sample = curves.orbit_curve({1: 0.01, 4: 0.99}, points=800)
    plain = curves.rotated(rng, sample._replace(homogeneous=False))
    assert curves.angle_injectivity(plain)[0] == pytest.approx(curves.angle_injectivity(sample)[0], rel=1e-9)
    assert curves.clover_number(plain, delta=0.9) == curves.clover_number(sample, delta=0.9) > 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: curves.coaxial(0.0, 0.5, points=3), "r_plus=0.0"),
        (lambda: curves.coaxial(0.5, 0.5, points=3), "one circle"),
        (lambda: curves.coaxial(0.5, 0.6, points=0), "points=0"),
        (lambda: curves.symmetric_pair(0.9, 2.0, points=3), "lower one of them"),
        (lambda: curves.symmetric_pair(0.5, 0.3, points=3, n0=3), "raise n0"),
        (lambda: curves.orbit_curve({2: 0.5, 4: 0.5}, points=3), "common divisor"),
        (lambda: curves.orbit_curve({1: 0.5, 2: 0.6}, points=3), "add up to 1"),
        (lambda: curves.orbit_curve({1: -0.5, 2: 1.5}, points=3), "positive"),
        (lambda: curves.orbit_pair({1: 1.0}, {1: 0.5, 2: 0.5}, {}, points=3), "same frequencies"),
        (lambda: curves.fourier_curve(np.random.default_rng(0), n0=2, modes=1, points=3), "n0 >= 3"),
        (lambda: curves.curvatures(np.eye(3), 1.0), "N even"),
        (lambda: curves.angle_injectivity(curves.coaxial(0.5, 0.6, points=3), eps=1.0), "eps=1.0"),
        (lambda: curves.clover_number(curves.coaxial(0.5, 0.6, points=3), delta=0.0), "delta=0.0"),
    ],
)
def test_bad_input_of_curves(call, words):
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("name", ["separation", "certificate", "spectrum", "clover"])
def test_points_of_all_presets_are_in_their_domain(name):
    study = load_file(EXPERIMENTS / f"curves_{name}.py").STUDY
    for preset in study.presets:
        for law in study.laws:
            assert study.grid(law, preset).points(law.params)


def test_covers_are_the_fewest(rng):
    """Against every choice of arcs that start at places."""
    for _ in range(200):
        places = np.sort(rng.uniform(0, 1, size=6))
        piece = rng.uniform(0.05, 0.6)
        inside = (places[None, :] - places[:, None]) % 1 <= piece + 1e-12  # arc from the row's place over the column's
        fewest = min(
            count for count in range(1, 7) for chosen in itertools.combinations(range(6), count)
            if inside[list(chosen)].any(axis=0).all()
        )  # fmt: skip
        assert _cover(places, 1.0, piece) == fewest
