"""Generators of subspace features: exact critical points, frames, mixtures, and what they refuse."""

import math

import numpy as np
import pytest
from array_api_extra.testing import assert_close, lazy_xp_function
from hypothesis import given
from hypothesis import strategies as st

from lab.data.fusion_frames import (
    Eigenspace,
    aligned_frame,
    complement,
    direct_sum,
    fusion_frame_critical_point,
    harmonic_frame,
    polygon_frame,
)
from lab.data.subspaces import (
    class_blocks,
    haar,
    haar_jax,
    null_features,
    orthogonal_blocks,
    orthogonal_critical_point,
    subspace_mixture,
)
from lab.objectives.coding_rate import regularised_rate_reduction, value_and_gradient

lazy_xp_function(class_blocks)
lazy_xp_function(orthogonal_blocks)

EPS = 0.6


def roots(x, tau):
    """Zeros of 1/(1+u) - 1/(1+u/x) - tau, by a general polynomial solver."""
    u = np.poly1d([1, 0])
    pairs = [np.sort(np.roots(((1 + u / y) - (1 + u) - tau * (1 + u) * (1 + u / y)).coeffs)) for y in x]
    return np.asarray([pair[1] for pair in pairs]), np.asarray([pair[0] for pair in pairs])


def height(u, x, tau):
    """Value of the objective per singular direction."""
    return 0.5 * (np.log1p(u) - x * np.log1p(u / x) - tau * u)


def spinodal(x):
    return (1 - math.sqrt(x)) / (1 + math.sqrt(x))


def assert_critical(Z, sizes, lam, scale):
    gradient = value_and_gradient(Z, tuple(sizes), eps=EPS, lam=lam)[1]
    # Rounding of alpha (M^-1 - A_k) Z_k: a few units per row of length d.
    assert np.abs(gradient).max() < 20 * 2.2e-16 * scale * np.linalg.norm(Z, 2)


def test_haar_frames_are_orthonormal_and_have_the_moments_of_haar_measure(rng):
    frame = haar(rng, 7, 3)
    assert np.abs(frame.T @ frame - np.eye(3)).max() < 1e-14
    # E Q_11 = 0 and E Q_11^2 = 1/d; without the sign correction Q_11 would have one sign. 4 standard errors.
    corner = np.asarray([haar(rng, 3)[0, 0] for _ in range(2000)])
    assert abs(corner.mean()) < 4 / math.sqrt(3 * 2000)
    assert abs((corner**2).mean() - 1 / 3) < 4 * math.sqrt(4 / 45 / 2000)


def test_haar_in_jax_under_jit_and_vmap():
    jax = pytest.importorskip("jax")
    keys = jax.random.split(jax.random.key(0), 500)
    frames = np.asarray(jax.jit(jax.vmap(lambda key: haar_jax(key, 4, 2)))(keys))
    assert frames.dtype == np.float64
    assert np.abs(frames.mT @ frames - np.eye(2)).max() < 1e-14
    assert abs(frames[:, 0, 0].mean()) < 4 / math.sqrt(4 * 500)


def test_blocks_have_the_given_singular_values_in_every_library(xp, rng):
    Q, V, s = haar(rng, 6), [haar(rng, 4, 2), haar(rng, 5, 3)], [np.asarray([3.0, 1.0]), np.asarray([2.0, 2.0, 0.5])]
    Z = orthogonal_blocks(Q, V, s)
    for block, values in [(Z[:4], s[0]), (Z[4:], s[1])]:
        assert np.allclose(np.linalg.svd(block, compute_uv=False)[: len(values)], values, rtol=1e-13)
    assert np.abs(Z[:4] @ Z[4:].T).max() < 1e-14
    arrays = [[xp.asarray(x) for x in group] for group in (V, s)]
    assert_close(orthogonal_blocks(xp.asarray(Q), *arrays), xp.asarray(Z), rtol=1e-13, atol=1e-15)
    bases = [xp.asarray(Q[:, :2]), xp.asarray(Q[:, 2:5])]
    assert_close(class_blocks(bases, *arrays), xp.asarray(Z), rtol=1e-13, atol=1e-15)


def test_a_traced_singular_value_passes_through_vmap_and_grad():
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(1)
    Q, V = jax.numpy.asarray(haar(rng, 4)), [jax.numpy.asarray(haar(rng, 3, 1)), jax.numpy.asarray(haar(rng, 5, 1))]

    def value(u):
        alpha = 4 / (8 * EPS**2)
        Z = orthogonal_blocks(Q, V, [jax.numpy.sqrt(u / alpha)[None]] * 2)
        return regularised_rate_reduction(Z, (3, 5), eps=EPS, lam=0.1 * alpha)

    u = jax.numpy.asarray([0.3, 1.7])
    expected = height(u, 3 / 8, 0.1) + height(u, 5 / 8, 0.1)
    np.testing.assert_allclose(jax.vmap(value)(u), expected, rtol=1e-12, atol=1e-15)
    slope = sum(0.5 * (1 / (1 + u) - 1 / (1 + u / x) - 0.1) for x in (3 / 8, 5 / 8))
    np.testing.assert_allclose(jax.vmap(jax.grad(value))(u), slope, rtol=1e-11)


@given(
    sizes=st.lists(st.integers(2, 9), min_size=2, max_size=4),
    fraction=st.floats(0.02, 0.95),
    seed=st.integers(0, 2**32 - 1),
)
def test_orthogonal_critical_points_have_no_gradient_and_the_additive_value(sizes, fraction, seed):
    rng = np.random.default_rng(seed)
    ranks = [(int(rng.integers(0, size)), int(rng.integers(0, 2))) for size in sizes]
    d = max(1, sum(map(sum, ranks)) + int(rng.integers(0, 3)))
    x = np.asarray(sizes) / sum(sizes)
    alpha = d / (sum(sizes) * EPS**2)
    tau = fraction * spinodal(x.max())
    Z = orthogonal_critical_point(rng, d=d, class_sizes=sizes, ranks=ranks, eps=EPS, lam=tau * alpha, roots=roots)
    assert_critical(Z, sizes, tau * alpha, alpha)
    plus, minus = roots(x, tau)
    terms = [
        p * height(u, y, tau) + m * height(w, y, tau) for (p, m), u, w, y in zip(ranks, plus, minus, x, strict=True)
    ]
    value = regularised_rate_reduction(Z, tuple(sizes), eps=EPS, lam=tau * alpha)
    # Values are sums of d terms of the size of log(1 + u); u may be 1/tau.
    assert abs(value - sum(terms)) < 50 * 2.2e-16 * d * (1 + np.log1p(plus.max() / x.min()))


def test_precomputed_roots_equal_a_function(rng):
    sizes, ranks, alpha = [6, 10], [(2, 1), (0, 0)], 5 / (16 * EPS**2)
    options = {"d": 5, "class_sizes": sizes, "ranks": ranks, "eps": EPS, "lam": 0.2 * alpha}
    u, w = roots([6 / 16], 0.2)
    by_pair = orthogonal_critical_point(
        np.random.default_rng(3), roots=(np.asarray([u[0], np.nan]), np.asarray([w[0], np.nan])), **options
    )
    assert np.array_equal(by_pair, orthogonal_critical_point(np.random.default_rng(3), roots=roots, **options))
    with pytest.raises(ValueError, match="check the arguments of roots"):
        orthogonal_critical_point(rng, roots=(1.001 * u.repeat(2), w.repeat(2)), **options)
    with pytest.raises(ValueError, match="there are 2 fractions"):
        orthogonal_critical_point(rng, roots=(u, w), **options)


SIZES = [6, 6, 6, 6, 5, 4, 3]  # four equal classes, and a 3-4-5 triangle
K = len(SIZES)
FRAMES = {
    "aligned": (aligned_frame(K, (0, 4), 2), 11 / 36),
    "Mercedes-Benz": (polygon_frame(SIZES, (0, 1, 2)), 9 / 36),
    "four lines": (polygon_frame(SIZES, (0, 1, 2, 3)), 12 / 36),
    "3-4-5": (polygon_frame(SIZES, (4, 5, 6)), 6 / 36),
    "unequal quadrilateral": (polygon_frame(SIZES, (0, 4, 5, 6)), 9 / 36),
    "pair": (polygon_frame(SIZES, (1, 2)), 6 / 36),
    "tetrahedron": (harmonic_frame(K, (0, 1, 2, 3), 3), 8 / 36),
    "tetrahedron planes": (complement(harmonic_frame(K, (0, 1, 2, 3), 3)), 16 / 36),
    "sum": (direct_sum(polygon_frame(SIZES, (0, 1, 2)), aligned_frame(K, (4, 5))), 9 / 36),
    "smaller root": (polygon_frame(SIZES, (0, 1, 2), sign="-"), 9 / 36),
    "unit": (aligned_frame(K, (6,)), 3 / 36),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_tight_and_make_critical_points(name, rng):
    space, theta = FRAMES[name]
    assert math.isclose(space.effective_fraction(SIZES), theta, rel_tol=1e-13)
    d = space.dim + 1
    alpha = d / (sum(SIZES) * EPS**2)
    for tau in (0.1 * spinodal(theta), 0.7 * spinodal(theta)):
        options = {"d": d, "class_sizes": SIZES, "eps": EPS, "lam": tau * alpha, "roots": roots}
        Z = fusion_frame_critical_point(rng, spaces=[space], **options)
        assert_critical(Z, SIZES, tau * alpha, alpha)
        u = roots([theta], tau)[0 if space.sign == "+" else 1][0]
        value = regularised_rate_reduction(Z, tuple(SIZES), eps=EPS, lam=tau * alpha)
        assert math.isclose(value, space.dim * height(u, theta, tau), rel_tol=1e-10, abs_tol=1e-14)


def test_a_class_in_several_eigenspaces(rng):
    spaces = [FRAMES["3-4-5"][0], FRAMES["smaller root"][0], aligned_frame(K, (0, 6)), FRAMES["aligned"][0]]
    d = sum(space.dim for space in spaces)
    alpha = d / (sum(SIZES) * EPS**2)
    lam = 0.3 * alpha * spinodal(max(space.effective_fraction(SIZES) for space in spaces))
    Z = fusion_frame_critical_point(rng, d=d, class_sizes=SIZES, spaces=spaces, eps=EPS, lam=lam, roots=roots)
    assert_critical(Z, SIZES, lam, alpha)
    assert np.linalg.matrix_rank(Z) == d


@given(
    n=st.integers(3, 9),
    dim=st.integers(2, 8),
)
def test_harmonic_frames_are_tight_lines(n, dim):
    if dim >= n:
        with pytest.raises(ValueError, match="below the number of members"):
            harmonic_frame(n, range(n), dim)
        return
    # An eighth class outside keeps theta below 1; theta = n x / dim.
    sizes = [4] * n + [1]
    assert math.isclose(harmonic_frame(n + 1, range(n), dim).effective_fraction(sizes), n * 4 / sum(sizes) / dim)


@given(sizes=st.lists(st.integers(1, 500), min_size=2, max_size=8))
def test_polygons_close_exactly_when_they_can(sizes):
    members = range(len(sizes))
    if 2 * max(sizes) > sum(sizes):
        with pytest.raises(ValueError, match="close no polygon"):
            polygon_frame(sizes, members)
    else:
        assert math.isclose(polygon_frame(sizes, members).effective_fraction(sizes), 0.5)


def test_mixture_without_overlap_has_orthogonal_classes_of_the_given_energy(rng):
    Z, labels, bases = subspace_mixture(rng, d=8, class_sizes=[4000, 2000], ranks=[3, 2], energy=[2.0, 0.5])
    assert Z.shape == (6000, 8)
    assert np.bincount(labels).tolist() == [4000, 2000]
    first, second = Z[labels == 0], Z[labels == 1]
    assert np.abs(first @ bases[1]).max() < 1e-13
    assert np.abs(second - second @ bases[1] @ bases[1].T).max() < 1e-13
    for block, energy, rank in [(first, 2.0, 3), (second, 0.5, 2)]:
        # |z|^2 is energy / r times a chi-square with r degrees of freedom: 4 standard errors.
        error = 4 * energy * math.sqrt(2 / rank / len(block))
        assert abs((block**2).sum(1).mean() - energy) < error


@pytest.mark.parametrize("overlap", [0.0, 0.4, math.pi / 2])
def test_overlap_sets_the_principal_angles(rng, overlap):
    _, _, (one, two, three) = subspace_mixture(rng, d=9, class_sizes=[5, 5, 5], ranks=[3, 2, 2], overlap=overlap)
    for basis in (one, two, three):
        assert np.abs(basis.T @ basis - np.eye(basis.shape[1])).max() < 1e-14
    assert np.allclose(np.linalg.svd(one.T @ two, compute_uv=False), math.sin(overlap), atol=1e-14)
    assert np.allclose(np.linalg.svd(two.T @ three, compute_uv=False), math.sin(overlap) ** 2, atol=1e-14)


def test_noise_and_normalisation(rng):
    options = {"d": 6, "class_sizes": [300, 200], "ranks": [1, 2], "noise": 0.1}
    Z, _, bases = subspace_mixture(rng, **options)
    outside = Z[:300] - Z[:300] @ bases[0] @ bases[0].T
    variance = (outside**2).sum() / (300 * 5)
    assert abs(variance / 0.01 - 1) < 4 * math.sqrt(2 / 1500)
    unit = subspace_mixture(rng, normalise="unit_norm", **options).Z
    assert np.allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-14)
    scaled = subspace_mixture(rng, normalise="class_energy", **options).Z
    assert math.isclose((scaled[:300] ** 2).sum(), 300, rel_tol=1e-13)
    assert math.isclose((scaled[300:] ** 2).sum(), 200, rel_tol=1e-13)


def test_null_features(rng):
    gaussian = null_features(rng, count=4000, d=5)
    assert abs((gaussian**2).mean() - 1) < 4 * math.sqrt(2 / 20000)
    sphere = null_features(rng, count=50, d=5, kind="sphere")
    assert np.allclose(np.linalg.norm(sphere, axis=1), 1, rtol=1e-14)


def test_the_same_generator_state_gives_the_same_features():
    options = {"d": 6, "class_sizes": [3, 4], "ranks": [1, 2], "noise": 0.1}
    one, two = (subspace_mixture(np.random.default_rng(9), **options).Z for _ in range(2))
    assert np.array_equal(one, two)


MIXTURE = {"d": 4, "class_sizes": [3, 3], "ranks": [1, 2]}
POINT = {"d": 4, "class_sizes": [3, 3], "ranks": [(1, 0), (1, 1)], "eps": 1.0, "lam": 0.05, "roots": roots}
FRAME = {"d": 2, "class_sizes": [3, 3, 3], "spaces": [polygon_frame([3, 3, 3], (0, 1, 2))], "eps": 1.0, "lam": 0.01}
BAD = {
    "too many ranks": (subspace_mixture, MIXTURE | {"ranks": [3, 2]}, "sum to 5 > d=4"),
    "rank zero": (subspace_mixture, MIXTURE | {"ranks": [0, 2]}, "integers > 0"),
    "lengths": (subspace_mixture, MIXTURE | {"ranks": [1]}, "2 class_sizes but 1 ranks"),
    "overlap": (subspace_mixture, MIXTURE | {"overlap": 2.0}, r"angle in \[0, pi/2\]"),
    "overlap ranks": (subspace_mixture, MIXTURE | {"overlap": 0.1}, "reorder the classes"),
    "noise": (subspace_mixture, MIXTURE | {"noise": -1.0}, "noise=-1.0"),
    "energy": (subspace_mixture, MIXTURE | {"energy": [1.0, 0.0]}, "finite and > 0"),
    "normalise": (subspace_mixture, MIXTURE | {"normalise": "rows"}, "'unit_norm'"),
    "rank above N_k": (orthogonal_critical_point, POINT | {"ranks": [(4, 0), (0, 0)]}, r"min\(N_k, d\)=3"),
    "ranks above d": (orthogonal_critical_point, POINT | {"ranks": [(3, 0), (2, 0)]}, "cannot be orthogonal"),
    "single ranks": (orthogonal_critical_point, POINT | {"ranks": [(3,), (2,)]}, "one pair"),
    "spinodal": (orthogonal_critical_point, POINT | {"lam": 0.2}, "must be below tau_c=0.171573"),
    "no penalty": (orthogonal_critical_point, POINT | {"lam": 0.0}, "without a penalty"),
    "eps": (orthogonal_critical_point, POINT | {"eps": 0.0}, "eps=0.0"),
    "swapped": (orthogonal_critical_point, POINT | {"roots": lambda x, tau: roots(x, tau)[::-1]}, "swap them"),
    "frame in d": (fusion_frame_critical_point, FRAME | {"d": 1, "roots": roots}, "do not fit"),
    "frame spinodal": (fusion_frame_critical_point, FRAME | {"lam": 0.2, "roots": roots}, "must be below tau_c"),
    "frame rank": (
        fusion_frame_critical_point,
        FRAME | {"d": 9, "spaces": [aligned_frame(3, (0, 1), 4)], "roots": roots},
        "class 0 has rank 4",
    ),
    "kind": (null_features, {"count": 3, "d": 2, "kind": "cube"}, "kind='cube'"),
    "count": (null_features, {"count": 0, "d": 2}, "integers > 0"),
    "haar": (haar, {"d": 2, "r": 3}, "do not fit in"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_sentence(case, rng):
    function, options, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence):
        function(rng, **options)


def test_bad_frames_are_refused():
    with pytest.raises(ValueError, match="leave a class out"):
        aligned_frame(2, (0, 1)).effective_fraction([3, 3])
    with pytest.raises(ValueError, match="do not balance"):
        harmonic_frame(4, (0, 1, 2), 2).effective_fraction([3, 3, 4, 3])
    with pytest.raises(ValueError, match="use QR"):
        Eigenspace((np.ones((2, 1)),))
    with pytest.raises(ValueError, match="sign='0'"):
        Eigenspace((np.eye(2),), "0")
    with pytest.raises(ValueError, match="at least one class"):
        Eigenspace((None, None))
    with pytest.raises(ValueError, match="distinct class numbers"):
        aligned_frame(3, (0, 3))
    with pytest.raises(ValueError, match="one sign"):
        direct_sum(aligned_frame(2, (0,)), aligned_frame(2, (1,), sign="-"))
    with pytest.raises(ValueError, match="exceeds the 2 columns"):
        orthogonal_blocks(np.eye(2), [np.eye(3)], [np.ones(3)])
