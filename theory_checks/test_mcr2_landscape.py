"""Critical points of the regularised objective, against autodiff of slogdet, dense Hessians and a census."""

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_mcr2 import autodiff, frame, orthogonal_point

from lab.systems.mcr2 import dynamics, theory
from lab.systems.mcr2.theory import Eigenspace

EPS = np.finfo(float).eps


def index(hessian, alpha):
    return int(np.sum(np.linalg.eigvalsh(hessian) > 1e-8 * alpha))


def frame_point(rng, sizes, dim, groups, eps, tau):
    """Critical point from groups (list of bases, one (m, m_k) per class; sign), and the eigenspaces it should have."""
    x, alpha, W = np.array(sizes) / sum(sizes), dim / (sum(sizes) * eps**2), frame(rng, dim, dim)
    V = [frame(rng, n, n) for n in sizes]
    Z, used = [np.zeros((n, dim)) for n in sizes], [0] * len(sizes)
    spaces = []
    for bases, sign in groups:
        m = bases[0].shape[0]
        P = np.stack([B @ B.T for B in bases])
        theta = np.trace(np.tensordot(x, P, 1)) / m
        u = (theory.u_plus if sign > 0 else theory.u_minus)(theta, tau)
        for k, B in enumerate(bases):
            right = V[k][:, used[k] : used[k] + B.shape[1]]
            assert right.shape[1] == B.shape[1], "class has too few samples for its ranks"
            Z[k] += math.sqrt(x[k] * u / alpha / theta) * right @ B.T @ W[:, :m].T
            used[k] += B.shape[1]
        W = W[:, m:]
        spaces.append(Eigenspace(P, sign))
    return np.concatenate(Z), spaces


def lines(angles):
    return [np.array([[math.cos(a)], [math.sin(a)]]) for a in angles]


def complements(bases):
    return [np.linalg.svd(B)[0][:, B.shape[1] :] for B in bases]


def polygon(sizes):
    """Angles phi_k of three lines with sum_k N_k exp(2 i phi_k) = 0: half the turning angles of a triangle."""
    a, b, c = sizes
    gamma = math.acos((a * a + b * b - c * c) / (2 * a * b))
    beta = math.acos((a * a + c * c - b * b) / (2 * a * c))
    return [0.0, (math.pi - gamma) / 2, -(math.pi - beta) / 2]


I2, N1, N2 = np.eye(2), np.zeros((1, 0)), np.zeros((2, 0))
ONE = np.ones((1, 1))
TETRAHEDRON = [np.array([v]).T / math.sqrt(3) for v in ((1., 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))]
MERCEDES, RIGHT, FOUR = lines(polygon((4, 4, 4))), lines(polygon((3, 4, 5))), lines(np.arange(4) * math.pi / 4)
FRAMES = {  # name: (class sizes, dimension d, groups)
    "three lines, plane": ((4, 4, 4), 2, [(MERCEDES, 1)]),
    "three lines, lower branch": ((4, 4, 4), 2, [(MERCEDES, -1)]),
    "3:4:5 lines": ((3, 4, 5), 2, [(RIGHT, 1)]),
    "3:4:5 lines, free dimensions": ((3, 4, 5), 6, [(RIGHT, 1)]),
    "four lines": ((3, 3, 3, 3), 2, [(FOUR, 1)]),
    "tetrahedron lines": ((3, 3, 3, 3), 3, [(TETRAHEDRON, 1)]),
    "tetrahedron planes": ((3, 3, 3, 3), 3, [(complements(TETRAHEDRON), 1)]),
    "tetrahedron lines and a plane of lines": ((3, 3, 3, 3), 6, [(TETRAHEDRON, 1), (FOUR, -1)]),
    "aligned pair": ((3, 4, 5), 6, [([I2, I2, N2], 1)]),
    "aligned pair filling the space": ((3, 4, 5), 2, [([I2, I2, N2], 1)]),
    "aligned pair, lower branch": ((3, 4, 5), 6, [([I2, I2, N2], -1)]),
    "aligned pair and a third class": ((3, 4, 5), 3, [([I2, I2, N2], 1), ([N1, N1, ONE], -1)]),
    "one class in two groups": ((3, 4, 5), 3, [([N2, I2, I2], 1), ([ONE, ONE, N1], 1)]),
    "two groups of equal fraction": ((4, 4, 4), 3, [([I2, I2, N2], 1), ([ONE, N1, ONE], 1)]),
    "three lines and an aligned pair": ((4, 4, 4), 6, [(MERCEDES, 1), ([ONE, ONE, N1], -1)]),
}


@functools.cache
def framed(name, share):
    sizes, dim, groups = FRAMES[name]
    x, eps = np.array(sizes) / sum(sizes), 0.8
    thetas = [np.tensordot(x, [b.shape[1] for b in bases], 1) / bases[0].shape[0] for bases, _ in groups]
    tau = share * min(theory.spinodal(t) for t in thetas)
    Z, spaces = frame_point(np.random.default_rng(7), sizes, dim, groups, eps, tau)
    lam = tau * dim / (sum(sizes) * eps**2)
    return Z, spaces, thetas, sizes, eps, lam, tau, autodiff(Z, sizes, eps, lam)


# ---------------------------------------------------------------- orthogonal critical points


@st.composite
def orthogonal_specs(draw):
    sizes = draw(st.sampled_from([(4, 4, 4), (3, 4, 5), (2, 3, 7), (1, 2, 9), (3, 3, 3, 3), (1, 2, 4, 5), (6, 6)]))
    plus, minus, left = [], [], 6
    for n in sizes:
        for ranks in (plus, minus):
            free = min(left, n - (plus[-1] if ranks is minus else 0))
            ranks.append(draw(st.integers(0, min(free, 3))))
            left -= ranks[-1]
    share = draw(st.floats(0.02, 0.98))
    return sizes, plus, minus, share, draw(st.floats(0.2, 3)), draw(st.integers(0, 2**32 - 1))


@settings(deadline=None, max_examples=80)
@given(orthogonal_specs())
def test_orthogonal_points_are_critical_with_the_predicted_value_spectrum_and_index(spec):
    sizes, plus, minus, share, eps, seed = spec
    ranked = [n for n, p, q in zip(sizes, plus, minus, strict=True) if p + q] or [1]
    tau = share * theory.spinodal(max(ranked) / 12)
    rng = np.random.default_rng(seed)
    alpha = theory.gram_scale(12, 6, eps=eps)
    Z = orthogonal_point(rng, sizes, 6, plus, minus, eps, tau)
    value, gradient, hessian = autodiff(Z, sizes, eps, tau * alpha)
    u = [theory.u_plus(n / 12, tau) for n in ranked] if Z.any() else [0.0]
    condition = 1 + 12 * max(u)  # of I + alpha_k G_k; inverses inherit it as relative error
    assert np.abs(gradient).max() <= 20 * EPS * condition * alpha * np.abs(Z).max() + 1e-300
    assert value == pytest.approx(theory.orthogonal_value(sizes, 6, plus, minus, tau=tau), abs=1e3 * EPS * condition)
    spectrum = theory.hessian_spectrum(sizes, 6, plus, minus, tau=tau, alpha=alpha)
    assert np.abs(np.linalg.eigvalsh(hessian) - spectrum).max() <= max(1e-10, 1e-15 / tau) * alpha
    assert index(hessian, alpha) == theory.saddle_index(minus)
    # nullity against the dimension of the orbit of Z under rotations of features and of samples within classes
    zeros = int(np.sum(np.abs(spectrum) <= 1e-13 * alpha))
    assert zeros == theory.zero_modes(sizes, 6, plus, minus) == orbit_dimension(Z, sizes)


def orbit_dimension(Z, sizes):
    tangent = [Z @ skew for skew in skews(Z.shape[1], 0, Z.shape[1])]
    start = 0
    for n in sizes:
        tangent += [skew @ Z for skew in skews(Z.shape[0], start, start + n)]
        start += n
    singular = np.linalg.svd(np.stack([t.ravel() for t in tangent]) / (np.linalg.norm(Z) + 1e-300), compute_uv=False)
    return int(np.sum(singular > 1e-6))


def skews(size, low, high):
    for i, j in itertools.combinations(range(low, high), 2):
        skew = np.zeros((size, size))
        skew[i, j], skew[j, i] = 1.0, -1.0
        yield skew


def test_index_formula_breaks_away_from_the_critical_point():
    rng, sizes, tau = np.random.default_rng(3), (3, 4, 5), 0.1
    alpha = theory.gram_scale(12, 6, eps=1.0)
    Z = orthogonal_point(rng, sizes, 6, (1, 2, 1), (1, 0, 0), 1.0, tau)
    assert index(autodiff(Z, sizes, 1.0, tau * alpha)[2], alpha) == 1
    moved = Z + 1e-3 * rng.standard_normal(Z.shape)
    assert index(autodiff(moved, sizes, 1.0, tau * alpha)[2], alpha) != 1


# ---------------------------------------------------------------- all critical points


@pytest.mark.parametrize("share", [0.1, 0.7])
@pytest.mark.parametrize("name", FRAMES)
def test_fusion_frames_are_critical_with_the_predicted_value_and_index(name, share):
    Z, spaces, thetas, sizes, eps, lam, tau, (value, gradient, hessian) = framed(name, share)
    alpha, dim, x = theory.gram_scale(*Z.shape, eps=eps), Z.shape[1], np.array(sizes) / sum(sizes)
    assert np.abs(gradient).max() <= 2e-14 * alpha * np.abs(Z).max()
    assert [theory.frame_fraction(s.projections, x) for s in spaces] == pytest.approx(thetas, rel=1e-13)
    dims, signs = [s.projections.shape[1] for s in spaces], [s.sign for s in spaces]
    assert value == pytest.approx(theory.fusion_frame_value(dims, thetas, signs, tau=tau), abs=1e-13)
    assert index(hessian, alpha) == theory.fusion_frame_index(spaces, x, dim, tau=tau)
    read = theory.read_fusion_frame(Z, sizes, eps=eps, lam=lam)
    assert sum(s.projections.shape[1] for s in read) == sum(dims)
    assert theory.fusion_frame_index(read, x, dim, tau=tau) == index(hessian, alpha)
    if not any(s.sign < 0 for s in spaces):  # not one of these is a maximum
        assert index(hessian, alpha) > 0


@pytest.mark.parametrize("share", [0.1, 0.7])
@pytest.mark.parametrize("name", FRAMES)
def test_escape_directions_have_exactly_the_predicted_curvature(name, share):
    Z, spaces, _, sizes, eps, lam, _, (_, _, hessian) = framed(name, share)
    alpha = theory.gram_scale(*Z.shape, eps=eps)
    found = theory.escape_directions(Z, sizes, eps=eps, lam=lam)
    assert [e.kind for e in found].count("rebalancing") >= 1  # every frame here overlaps somewhere
    for kind, E, curvature in found:
        assert np.linalg.norm(E) == pytest.approx(1, abs=1e-13)
        assert curvature > 0
        assert E.ravel() @ hessian @ E.ravel() == pytest.approx(curvature, abs=1e-12 * alpha)
        if kind == "scaling":
            assert np.abs(hessian @ E.ravel() - curvature * E.ravel()).max() <= 1e-12 * alpha
    aligned = all(np.abs(P @ Q - Q @ P).max() < 1e-12 for s in spaces for P in s.projections for Q in s.projections)
    if aligned:
        assert found[0].curvature == pytest.approx(np.linalg.eigvalsh(hessian)[-1], abs=1e-12 * alpha)


def test_effective_fraction_rejects_what_no_critical_point_has():
    with pytest.raises(ValueError, match="mu"):
        theory.effective_fraction(0.9, 0.1)
    with pytest.raises(ValueError, match="not tight"):
        theory.frame_fraction(np.stack([np.diag([1.0, 0.0])] * 2), [0.5, 0.5])
    with pytest.raises(ValueError, match="critical"):
        theory.read_fusion_frame(np.random.default_rng(0).standard_normal((12, 3)), (3, 4, 5), eps=1.0, lam=0.01)


@pytest.mark.parametrize(("sizes", "dim", "share"), [((2, 2, 2), 2, 0.3), ((2, 3, 4), 2, 0.6), ((2, 3, 4), 3, 1.2)])
def test_census_finds_only_the_listed_critical_points(sizes, dim, share):
    eps, n = 0.7, sum(sizes)
    lam = share * theory.published_multiplier_bound(sizes, dim, eps=eps)
    alpha, x = theory.gram_scale(n, dim, eps=eps), np.array(sizes) / n
    starts = np.random.default_rng(5).standard_normal((80, n, dim)) * np.exp(
        np.random.default_rng(6).uniform(-2, 1, (80, 1, 1))) / math.sqrt(alpha)
    census = dynamics.critical_points(starts, sizes, eps=eps, lam=lam)
    assert len(census.Z) >= 40
    seen = set()
    for Z in census.Z:
        value, gradient, hessian = autodiff(Z, sizes, eps, lam)
        assert np.linalg.norm(gradient) <= 2e-12 * math.sqrt(alpha)
        spaces = theory.read_fusion_frame(Z, sizes, eps=eps, lam=lam)
        thetas = [theory.frame_fraction(s.projections, x, tolerance=1e-4) for s in spaces]
        dims, signs = [s.projections.shape[1] for s in spaces], [s.sign for s in spaces]
        # F varies to second order in the residual: 1e-24 over the smallest curvature, plus rounding
        assert value == pytest.approx(theory.fusion_frame_value(dims, thetas, signs, tau=lam / alpha), abs=1e-12)
        number = theory.fusion_frame_index(spaces, x, dim, tau=lam / alpha)
        assert number == index(hessian, alpha) == dynamics.hessian_index(Z, sizes, eps=eps, lam=lam)
        overlapping = any(np.trace(s.projections.sum(0)) > m + 0.5 for s, m in zip(spaces, dims, strict=True))
        assert (number == 0) == (not overlapping and all(s > 0 for s in signs))
        seen.add((number, round(value, 9)))
    assert len({number for number, _ in seen}) >= 2
