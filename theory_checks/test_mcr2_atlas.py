"""The atlas of critical points, against autodiff Hessians, brute-force searches and independent counts."""

import itertools
import math

import numpy as np
import pytest
from plain_mcr2 import autodiff, frame
from scipy.optimize import least_squares

from lab.data.fusion_frames import isotropic_frame
from lab.errors import InputError
from lab.systems.mcr2 import theory
from lab.systems.mcr2.laws.atlas import ATLAS_NULLITY, ListedPoint


def smallest_spinodal(sizes):
    return min((1 - math.sqrt(n / sum(sizes))) / (1 + math.sqrt(n / sum(sizes))) for n in sizes)


def point_of(rng, entry, sizes, dim, eps):
    """A point of an entry: Z_k = sum_j sqrt(x_k t_j/theta_j) V_kj B_kj^T W_j^T."""
    x, alpha, W = np.array(sizes) / sum(sizes), dim / (sum(sizes) * eps**2), frame(rng, dim, dim)
    V, used, Z = [frame(rng, n, n) for n in sizes], [0] * len(sizes), [np.zeros((n, dim)) for n in sizes]
    for part, count in entry.parts:
        for _ in range(count):
            bases = [np.eye(1)[:, :r] for r in part.ranks]
            if part.dim > 1:
                spaces = isotropic_frame(rng, sizes, part.ranks, part.dim).bases
                bases = [np.zeros((part.dim, 0)) if B is None else B for B in spaces]
            for k, B in enumerate(bases):
                right = V[k][:, used[k] : used[k] + B.shape[1]]
                Z[k] += math.sqrt(x[k] * part.u / alpha / part.theta) * right @ B.T @ W[:, : part.dim].T
                used[k] += B.shape[1]
            W = W[:, part.dim :]
    return np.concatenate(Z)


def chosen(entries, rng, count):
    """Some entries: of every kind, and of those whose zero curvatures are not all motions."""
    found = set(rng.integers(0, len(entries), count).tolist())
    strange = entries.nullity > entries.dimension
    for group in [entries.kind == kind for kind in np.unique(entries.kind)] + [strange, strange & (entries.rank > 2)]:
        at = np.flatnonzero(group)
        found |= set(rng.choice(at, min(4, at.size), replace=False).tolist())
    return [entries.entry(i) for i in sorted(found)]


@pytest.mark.parametrize(
    ("sizes", "dim", "share"),
    [((2, 3, 4), 3, 0.3), ((3, 3, 3), 3, 0.1), ((2, 2, 4), 4, 0.2), ((2, 2, 2, 2), 4, 0.2), ((1, 2, 2, 3), 4, 0.7)],
)
def test_entries_are_critical_with_their_value_index_and_nullity(sizes, dim, share):
    rng, eps, tau = np.random.default_rng(3), 0.8, share * smallest_spinodal(sizes)
    alpha = dim / (sum(sizes) * eps**2)
    for entry in chosen(theory.atlas(sizes, dim, tau=tau), rng, 8):
        Z = point_of(rng, entry, sizes, dim, eps)
        value, gradient, hessian = autodiff(Z, sizes, eps, tau * alpha)
        assert np.linalg.norm(gradient) <= 1e-12 * math.sqrt(alpha)
        assert value == pytest.approx(entry.value, abs=1e-13)
        curvature = np.linalg.eigvalsh(hessian) / alpha
        assert np.all((np.abs(curvature) < 1e-12) | (np.abs(curvature) > 1e-5))  # zero or not is no question
        assert (np.sum(curvature > 1e-8), np.sum(np.abs(curvature) < 1e-8)) == (entry.index, entry.nullity)
        assert np.linalg.matrix_rank(Z, tol=1e-8) == entry.rank == sum(p.dim * c for p, c in entry.parts)
        assert entry.dimension <= entry.nullity
        spaces = theory.read_fusion_frame(Z, sizes, eps=eps, lam=tau * alpha)
        ranks = [tuple(np.round(np.trace(s.projections, axis1=1, axis2=2))) for s in spaces]
        read = [(s.sign, s.projections.shape[1], r) for s, r in zip(spaces, ranks, strict=True)]
        assert read == [tuple(space[1:]) for space in entry.eigenspaces]
        assert theory.fusion_frame_nullity(spaces, sizes, dim, tau=tau) == entry.nullity
        assert theory.fusion_frame_index(spaces, np.array(sizes) / sum(sizes), dim, tau=tau) == entry.index


# ---------------------------------------------------------------- completeness by brute force


@pytest.mark.parametrize(
    ("sizes", "dim", "share"), [((2, 1), 2, 0.4), ((1, 1, 1), 2, 0.2), ((1, 1, 2), 2, 0.3), ((1, 1, 1, 1), 3, 0.1)]
)
def test_roots_of_the_gradient_are_in_the_atlas(sizes, dim, share):
    """Newton-type least squares on autodiff gradients from random starts; every end is an entry."""
    rng, eps, n = np.random.default_rng(0), 1.0, sum(sizes)
    alpha, tau = dim / n, share * smallest_spinodal(sizes)
    entries = theory.atlas(sizes, dim, tau=tau)
    assert entries.complete
    seen = set()
    for _ in range(30):
        start = rng.standard_normal(n * dim) * math.exp(rng.uniform(-2, 1.5)) / math.sqrt(alpha)
        memory = {}

        def at(z, memory=memory):
            key = z.tobytes()
            if key not in memory:
                memory.clear()
                memory[key] = autodiff(z.reshape(n, dim), sizes, eps, tau * alpha)
            return memory[key]

        end = least_squares(lambda z: at(z)[1].ravel(), start, jac=lambda z: at(z)[2], xtol=1e-15, ftol=1e-15,
                            gtol=1e-15, max_nfev=200)  # fmt: skip
        value, gradient, hessian = at(end.x)
        curvature = np.linalg.eigvalsh(hessian) / alpha
        if np.linalg.norm(gradient) > 1e-12 or np.any((np.abs(curvature) > 1e-9) & (np.abs(curvature) < 1e-6)):
            continue  # a minimum of the gradient norm, or too close to a degenerate point to count
        triple = (np.sum(curvature > 1e-9), np.sum(np.abs(curvature) <= 1e-9))
        own = (entries.index == triple[0]) & (entries.nullity == triple[1])
        assert np.min(np.abs(entries.value[own] - value), initial=1.0) <= 1e-13
        seen.add((*triple, round(value, 9)))
    assert len(seen) >= 4


def splits(P):
    """Whether some symmetric matrix besides multiples of I commutes with all projections (B, K, m, m)."""
    m = P.shape[-1]
    rows, columns = np.triu_indices(m)
    basis = np.zeros((rows.size, m, m))
    basis[np.arange(rows.size), rows, columns] = basis[np.arange(rows.size), columns, rows] = 1
    commutators = basis[None, :, None] @ P[:, None] - P[:, None] @ basis[None, :, None]
    return np.linalg.svd(commutators.reshape(len(P), rows.size, -1), compute_uv=False)[:, -2] < 1e-3


@pytest.mark.parametrize("sizes", [(2, 3, 4), (1, 2, 3), (2, 2, 2, 2), (1, 2, 3, 4), (2, 3, 3, 5), (1, 1, 2, 2, 3)])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_listed_frames_are_those_that_random_subspaces_can_be_moved_to(sizes, m):
    """P -> projection on S^(-1/2) range P, S = sum_k x_k P_k, from random subspaces, all rank vectors at once."""
    rng, x = np.random.default_rng(1), np.array(sizes) / sum(sizes)
    ranks = np.array([r for r in itertools.product(range(m + 1), repeat=len(sizes)) if any(r)])
    ranks = ranks[np.all(ranks <= sizes, axis=1) & (ranks @ x < m * (1 - 1e-9))]  # theta < 1
    basis = np.linalg.qr(rng.standard_normal((*ranks.shape, m, m)))[0]
    P = np.where(np.arange(m) < ranks[..., None, None], basis, 0) @ basis.mT
    theta = (ranks @ x / m)[:, None, None] * np.eye(m)
    for _ in range(1500 if m > 1 else 0):
        values, vectors = np.linalg.eigh(np.einsum("k,bkij->bij", x, P))
        move = (vectors / np.sqrt(np.maximum(values, 1e-6))[:, None] @ vectors.mT)[:, None]
        inner = np.linalg.inv(P @ move @ move @ P + np.eye(m) - P)  # on range P
        P = move @ P @ inner @ P @ move
        P = 0.5 * (P + P.mT)
    tight = np.abs(np.einsum("k,bkij->bij", x, P) - theta).max(axis=(1, 2)) < 1e-9
    found = ranks[tight & ~splits(P)] if m > 1 else ranks
    listed = theory.frame_ranks(sizes, m)
    assert {tuple(r) for r in listed if r @ x < m * (1 - 1e-9)} == {tuple(r) for r in found}


def test_frames_in_three_dimensions_are_closed_under_complements():
    for sizes in itertools.product(range(3, 8), repeat=4):
        found = {tuple(r) for r in theory.frame_ranks(sizes, 3) if min(r) > 0 and max(r) < 3}
        assert {tuple(3 - np.array(r)) for r in found} == found


def test_three_classes_have_no_irreducible_frame_in_three_dimensions():
    for sizes in itertools.combinations_with_replacement(range(1, 13), 3):
        assert len(theory.frame_ranks(sizes, 3)) == 0
        assert len(theory.frame_ranks(sizes, 2)) == (2 * max(sizes) < sum(sizes))


# ---------------------------------------------------------------- counts


def coefficients(dims, top):
    """Of prod_p 1/(1 - z^dim_p), up to z^top, by multiplying out."""
    series = np.array([1] + [0] * top, dtype=object)
    for dim in dims:
        geometric = np.array([int(i % dim == 0) for i in range(top + 1)], dtype=object)
        series = np.convolve(series, geometric)[: top + 1]
    return series


def test_number_of_entries_where_class_sizes_do_not_limit_it():
    for K, dim in ((2, 5), (3, 4), (5, 3)):  # as many signed classes as 2 K, so C(2K + d, d)
        found = theory.atlas((6,) * K, dim, tau=0.01, kinds=("orthogonal",))
        assert len(found) == math.comb(2 * K + dim, dim)
    lines, planes = 2 * 6, 2  # three classes: six proper subsets and a triangle, on two branches each
    assert len(theory.atlas((4, 5, 6), 4, tau=0.01)) == sum(coefficients([1] * lines + [2] * planes, 4))


@pytest.mark.parametrize(("sizes", "dim"), [((1, 2, 3), 3), ((1, 1, 1, 2), 2), ((2, 1), 4)])
def test_number_of_entries_by_trying_all_words(sizes, dim):
    found = theory.atlas(sizes, dim, tau=0.2 * smallest_spinodal(sizes))
    words = 0
    for length in range(dim + 1):
        for word in itertools.combinations_with_replacement(range(len(found.parts)), length):
            parts = [found.parts[i] for i in word]
            ranks = np.sum([p.ranks for p in parts], axis=0) if parts else np.zeros(len(sizes))
            words += sum(p.dim for p in parts) <= dim and np.all(ranks <= sizes)
    assert words == len(found) == len({tuple(row) for row in found.counts})


def test_levels_keep_one_entry_for_each_index_and_value():
    found = theory.atlas((2, 2, 2), 3, tau=0.05)
    levels = found.levels()
    seen = {(i, round(v, 9)) for i, v in zip(found.index, found.value, strict=True)}
    assert {(found.index[i], round(found.value[i], 9)) for i in levels} == seen
    assert len(levels) == len(seen) < len(found)
    assert list(found)[5] == found.entry(5)
    assert np.all(np.diff(found.value) >= 0)


def test_maxima_are_the_orthogonal_entries_on_upper_branches():
    found = theory.atlas((1, 2, 2, 3), 3, tau=0.1)
    upper = [entry.kind == "orthogonal" and all(part.sign > 0 for part, _ in entry.parts) for entry in found]
    assert (found.index == 0).tolist() == upper
    maxima = theory.atlas((1, 2, 2, 3), 3, tau=0.1, kinds=("orthogonal",), signs=(1,))
    assert maxima.value == pytest.approx(found.value[found.index == 0], abs=1e-15)
    levels = theory.maxima_levels((1, 2, 2, 3), 3, tau=0.1)
    assert sum(levels.entries) == len(maxima)
    assert np.repeat(levels.values, levels.entries) == pytest.approx(maxima.value, abs=1e-14)


def test_maxima_of_ten_classes_in_64_dimensions():
    levels = theory.maxima_levels((100,) * 10, 64, tau=0.1)
    assert levels.entries == [math.comb(r + 9, 9) for r in levels.ranks[:, 0]]  # ways to share rank r among ten
    small = theory.maxima_levels((5,) * 4 + (20,) * 6, 64, tau=0.1)
    assert sum(small.entries) == coefficients_of_maxima([5] * 4 + [20] * 6, 64)


def coefficients_of_maxima(caps, dim):
    series = np.array([1], dtype=object)
    for cap in caps:
        series = np.convolve(series, np.ones(cap + 1, dtype=object))
    return sum(series[: dim + 1])


# ---------------------------------------------------------------- zero curvatures


def test_a_polygon_of_four_changes_its_shape_along_a_zero_curvature():
    sizes, dim, tau, eps = (1, 1, 1, 1), 2, 0.1, 1.0
    entry = next(e for e in theory.atlas(sizes, dim, tau=tau) if e.parts and e.parts[0][0].shapes == 1)
    part, alpha = entry.parts[0][0], 0.5

    def rhombus(angle):  # double angles 0, a, pi, pi + a: sides of equal length that close
        half = np.array([0, angle / 2, math.pi / 2, math.pi / 2 + angle / 2])
        return math.sqrt(0.25 * part.u / alpha / part.theta) * np.stack([np.cos(half), np.sin(half)], axis=1)

    Z, step = rhombus(1.0), 1e-5
    _, gradient, hessian = autodiff(Z, sizes, eps, tau * alpha)
    assert np.abs(gradient).max() <= 1e-14
    change = ((rhombus(1 + step) - rhombus(1 - step)) / (2 * step)).ravel()
    assert np.linalg.norm(hessian @ change) <= 1e-9 * np.linalg.norm(change)
    turn = (Z @ np.array([[0, 1], [-1, 0]])).ravel()
    assert np.linalg.matrix_rank(np.stack([change, turn])) == 2  # no rotation
    assert entry.dimension == entry.nullity == 2
    assert np.sum(np.abs(np.linalg.eigvalsh(hessian)) < 1e-12) == 2


def test_where_a_class_holds_half_of_all_samples_a_zero_curvature_is_no_motion():
    """Lines of classes 1 and 2 together and of class 3 across: turning 1 and 2 apart is flat to second order only."""
    sizes, dim, tau, eps = (1, 1, 2), 2, 0.05, 1.0
    wanted = [((0, 0, 1), 1), ((1, 1, 0), 1)]
    listed = theory.atlas(sizes, dim, tau=tau)
    entry = next(e for e in listed if sorted((p.ranks, p.sign) for p, _ in e.parts) == wanted)
    assert entry.nullity == entry.dimension + 1
    (part, _), alpha = entry.parts[0], 0.5

    def apart(angle):
        lines = np.array([[np.cos(angle), np.sin(angle)], [np.cos(angle), -np.sin(angle)], [0, 1], [0, 0]])
        return np.sqrt(np.array([[0.25], [0.25], [0.5], [0.5]]) * part.u / alpha / part.theta) * lines

    value, _, hessian = autodiff(apart(0.0), sizes, eps, tau * alpha)
    move = (apart(1e-4) - apart(-1e-4)).ravel() / 2e-4
    assert np.linalg.norm(hessian @ move) <= 1e-7 * np.linalg.norm(move)
    drops = [value - autodiff(apart(a), sizes, eps, tau * alpha)[0] for a in (0.1, 0.2)]
    assert min(drops) > 1e-7
    assert math.log2(drops[1] / drops[0]) == pytest.approx(4, abs=0.1)  # fourth order: not constant, no motion


def test_the_nullity_law_accepts_counts_of_autodiff():
    p = ListedPoint(sizes=(2, 3, 4), dim=3, pick=0.6)
    Z = point_of(np.random.default_rng(0), p.entry, p.sizes, p.dim, p.eps)
    curvature = np.linalg.eigvalsh(autodiff(Z, p.sizes, p.eps, p.tau * p.alpha)[2]) / p.alpha
    zero = np.sum(np.abs(curvature) < 1e-8)
    assert ATLAS_NULLITY.accepts(p, np.array([np.sum(curvature > 1e-8), zero, zero]))
    assert not ATLAS_NULLITY.accepts(p, np.array([np.sum(curvature > 1e-8), zero + 1, zero]))


# ---------------------------------------------------------------- what is complete, and what is refused


def test_the_atlas_says_whether_it_is_complete():
    two = theory.atlas((3, 4), 4, tau=0.05)
    assert two.complete
    assert len(two) == len(theory.atlas((3, 4), 4, tau=0.05, kinds=("orthogonal",)))
    assert theory.atlas((1, 1, 1, 2, 2), 2, tau=0.05).complete
    four = theory.atlas((1, 1, 2, 2), 4, tau=0.15)
    assert not four.complete
    assert "dimension 4" in four.reason
    some = theory.atlas((2, 2, 2), 2, tau=0.05, kinds=("orthogonal", "aligned"), signs=(1,))
    assert not some.complete
    assert "polygon" in some.reason
    assert "branches" in some.reason
    assert theory.atlas((1, 2, 3), 2, tau=0.05, kinds=("orthogonal", "aligned")).complete  # 3 = 1 + 2: no triangle


def test_beyond_every_spinodal_only_zero_is_critical():
    only = theory.atlas((3, 3), 2, tau=0.9)
    assert [(e.value, e.index, e.nullity, e.parts) for e in only] == [(0.0, 0, 0, ())]


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"up to \d+ entries.*maxima_levels"):
        theory.atlas((20,) * 10, 64, tau=0.1, kinds=("orthogonal",))
    with pytest.raises(ValueError, match=f"has {math.comb(84, 64)} entries"):
        theory.atlas((64,) * 10, 64, tau=0.1, kinds=("orthogonal",))
    with pytest.raises(ValueError, match="spinodal"):
        theory.atlas((2, 2), 2, tau=float(theory.spinodal(0.5)))
    with pytest.raises(ValueError, match="kinds"):
        theory.atlas((2, 2), 2, tau=0.1, kinds=("lines",))
    with pytest.raises(ValueError, match="m=4"):
        theory.frame_ranks((2, 2, 2, 2), 4)
    with pytest.raises(ValueError, match="20 classes"):
        theory.frame_ranks((2,) * 20, 3)
    with pytest.raises(InputError, match="no tight frame"):
        isotropic_frame(np.random.default_rng(0), (1, 1, 3), (1, 1, 1), 2)
    with pytest.raises(InputError, match="ranks"):
        isotropic_frame(np.random.default_rng(0), (1, 1, 3), (1, 1, 3), 2)
