"""Certificates of features, against autodiff Hessians, enumeration, ascent and random draws."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain_mcr2 import autodiff, frame, plain
from scipy.optimize import minimize

import lab
from lab.data.fusion_frames import aligned_frame, fusion_frame_critical_point, harmonic_frame, polygon_frame
from lab.data.subspaces import null_features, orthogonal_critical_point, subspace_mixture
from lab.systems.mcr2 import theory
from lab.systems.mcr2.certificate import curvature as curvature_module
from lab.systems.mcr2.theory import aligned_points, energies, label_shuffling
from lab.systems.mcr2.theory.constrained import constrained_maximum
from lab.systems.mcr2.theory.random_features import null_rate_reduction, null_rate_reduction_variance
from lab.systems.mcr2.theory.whitened_features import whitened_null_rate_reduction

EPS, DIM = 0.6, 7


def roots(x, tau):
    return theory.u_plus(x, tau), theory.u_minus(x, tau)


def same_size(members, dim=1, sign="+"):
    return aligned_frame(3, members, dim, sign=sign)


# 24 samples each, so that one compiled Hessian serves all
# name: (class sizes, ranks (r+, r-) per class or eigenspaces, share of the smallest spinodal)
POINTS = {
    "local maximum": ((6, 8, 10), [(2, 0), (3, 0), (1, 0)], 0.4),
    "global maximum": ((6, 8, 10), [(6, 0), (1, 0), (0, 0)], 0.4),
    "both branches": ((6, 8, 10), [(2, 1), (0, 0), (1, 2)], 0.4),
    "lower branch": ((6, 8, 10), [(0, 2), (0, 1), (1, 0)], 0.8),
    "aligned pair": ((8, 8, 8), [same_size((0, 1), 2)], 0.5),
    "pair, third class below": ((5, 8, 11), [same_size((0, 1)), same_size((2,), 2, "-")], 0.5),
    "two pairs": ((5, 7, 12), [same_size((0, 1)), same_size((0, 2)), same_size((1,), 2)], 0.3),
    "Mercedes-Benz": ((8, 8, 8), [polygon_frame((8, 8, 8), (0, 1, 2))], 0.5),
    "3:4:5 lines below, one class alone": (
        (6, 8, 10), [polygon_frame((6, 8, 10), (0, 1, 2), sign="-"), same_size((0,))], 0.4),
    "tetrahedron": ((6, 6, 6, 6), [harmonic_frame(4, (0, 1, 2, 3), 3)], 0.5),
}  # fmt: skip


@functools.cache
def point(name):
    """(features in shuffled order, labels, sizes, lambda, autodiff of the rows in class order, the shuffle)."""
    sizes, spec, share = POINTS[name]
    rng = np.random.default_rng(sorted(POINTS).index(name))
    x, alpha = np.array(sizes) / sum(sizes), DIM / (sum(sizes) * EPS**2)
    if isinstance(spec[0], tuple):
        thetas = x[[sum(r) > 0 for r in spec]]
        make = functools.partial(orthogonal_critical_point, ranks=spec)
    else:
        thetas = [space.effective_fraction(sizes) for space in spec]
        make = functools.partial(fusion_frame_critical_point, spaces=spec)
    lam = share * alpha * min(float(theory.spinodal(t)) for t in thetas)
    Z = make(rng, d=DIM, class_sizes=sizes, eps=EPS, lam=lam, roots=roots)
    order = rng.permutation(len(Z))
    return Z[order], np.repeat(np.arange(len(sizes)), sizes)[order], sizes, lam, autodiff(Z, sizes, EPS, lam), order


def expected_parts(name):
    """{(classes, sign, effective fraction): dimensions} from the specification."""
    sizes, spec, _ = POINTS[name]
    parts: dict = {}
    if isinstance(spec[0], tuple):
        found = [((k,), sign, n / sum(sizes), r)
                 for k, n in enumerate(sizes) for sign, r in zip((1, -1), spec[k], strict=True) if r]  # fmt: skip
    else:
        found = [(tuple(np.flatnonzero(s.ranks)), 1 if s.sign == "+" else -1, s.effective_fraction(sizes), s.dim)
                 for s in spec]  # fmt: skip
    for held, sign, theta, m in found:
        key = (held, sign, round(theta, 10))
        parts[key] = parts.get(key, 0) + m
    return parts


@pytest.mark.parametrize("given", [True, False], ids=["lam given", "lam matched"])
@pytest.mark.parametrize("name", POINTS)
def test_a_critical_point_is_recognised(name, given):
    Z, labels, sizes, lam, (value, _, hessian), order = point(name)
    alpha = DIM / (len(Z) * EPS**2)
    c = lab.certify(Z, labels, eps=EPS, lam=lam if given else None, normalise="none")
    assert c.lam == pytest.approx(lam, rel=1e-12)
    assert c.value == pytest.approx(value, abs=1e-12)
    spectrum = np.linalg.eigvalsh(hessian) / alpha
    index = int(np.sum(spectrum > 1e-8))
    assert (c.entry.index, c.curvature.index) == (index, index)
    assert c.entry.distance < 1e-12
    assert c.entry.value == pytest.approx(value, abs=1e-12)
    parts = {(held, sign, round(theta, 10)): m for held, sign, theta, _, m in c.entry.parts}
    assert parts == expected_parts(name)
    # effective fractions: each eigenvalue of the whole reads as the theta of its eigenspace
    thetas = sorted(theta for (_, _, theta), m in expected_parts(name).items() for _ in range(m))
    assert sorted(c.fractions) == pytest.approx(thetas, abs=1e-9)
    # curvature and escape direction against the Hessian of the definition
    assert c.curvature.value == pytest.approx(spectrum[-1], abs=1e-10)
    E = np.empty_like(Z)
    E[order] = c.curvature.direction
    assert np.linalg.norm(E) == pytest.approx(1, abs=1e-12)
    assert E.ravel() @ hessian @ E.ravel() / alpha == pytest.approx(spectrum[-1], abs=1e-10)
    status = name if index == 0 else "saddle"
    assert c.status == status
    assert (c.curvature.gain > 0) == (index > 0)
    if index:
        moved = np.empty_like(Z)
        moved[order] = Z + c.curvature.step * np.linalg.norm(Z) * c.curvature.direction
        risen = autodiff(moved, sizes, EPS, lam)[0] - value
        assert risen == pytest.approx(c.curvature.gain, abs=1e-11)
    # the nearest local maximum is the point itself iff it is one
    assert (c.local_maximum.distance < 1e-12) == (index == 0)
    assert c.local_maximum.index == 0


@pytest.mark.parametrize("shake", [1e-3, 2e-2])
@pytest.mark.parametrize("name", POINTS)
def test_a_perturbed_point_is_near_its_entry_and_not_critical(name, shake):
    Z, labels, _, lam, (value, _, hessian), _ = point(name)
    noise = np.random.default_rng(1).standard_normal(Z.shape)
    moved = Z + shake * np.linalg.norm(Z) / np.linalg.norm(noise) * noise
    c = lab.certify(moved, labels, eps=EPS, lam=lam, normalise="none")
    assert c.status == "not critical"
    assert c.criticality > 0.1 * shake
    assert c.entry.index == int(np.sum(np.linalg.eigvalsh(hessian) > 1e-8 * c.features.alpha))
    assert c.entry.value == pytest.approx(value, abs=1e-12)
    # at most as far as the unperturbed point, in units of the moved features; random noise is not along the manifold
    assert 0.3 * shake < c.entry.distance <= 1.02 * shake
    parts = {(held, sign): m for held, sign, _, _, m in c.entry.parts}
    assert parts == {(held, sign): m for (held, sign, _), m in expected_parts(name).items()}


def test_the_point_returned_for_an_entry_is_critical_with_the_entry_s_value_and_lies_at_the_stated_distance():
    rng = np.random.default_rng(2)
    for name in ("both branches", "pair, third class below", "two pairs"):
        Z, labels, sizes, lam, _, order = point(name)
        moved = Z + 0.03 * np.linalg.norm(Z) / np.sqrt(Z.size) * rng.standard_normal(Z.shape)
        c = lab.certify(moved, labels, eps=EPS, lam=lam, normalise="none")
        for entry in (c.entry, c.local_maximum):
            star = np.empty_like(Z)
            star[order] = entry.Z
            value, gradient, hessian = autodiff(star, sizes, EPS, lam)
            alpha = c.features.alpha
            assert np.abs(gradient).max() <= 1e-13 * alpha * max(1.0, np.abs(star).max())
            assert value == pytest.approx(entry.value, abs=1e-12)
            assert int(np.sum(np.linalg.eigvalsh(hessian) > 1e-8 * alpha)) == entry.index
            assert np.linalg.norm(moved - entry.Z) / np.linalg.norm(moved) == pytest.approx(entry.distance, rel=1e-9)


def test_lanczos_and_dense_agree_also_outside_the_ranges_of_the_classes(monkeypatch):
    rng = np.random.default_rng(3)
    for sizes, scale in (((12, 3, 9), 1.0), ((8, 8, 8), 0.3), ((14, 9, 1), 3.0)):
        Z = scale * rng.standard_normal((sum(sizes), 4))
        labels, lam = np.repeat(np.arange(3), sizes), 0.05
        hessian = autodiff(Z, sizes, EPS, lam)[2]
        top = np.linalg.eigvalsh(hessian)
        dense = lab.certify(Z, labels, eps=EPS, lam=lam)
        alpha = dense.features.alpha
        assert dense.curvature.value == pytest.approx(top[-1] / alpha, abs=1e-11)
        assert dense.curvature.index == int(np.sum(top > 1e-8 * alpha))
        monkeypatch.setattr(curvature_module, "DENSE", 0)
        for effort in (5e11, 1.0):  # ARPACK; the iteration for large features
            monkeypatch.setattr(curvature_module, "EFFORT", effort)
            c = lab.certify(Z, labels, eps=EPS, lam=lam).curvature
            assert c.index is None
            assert top[-1] / alpha - 0.1 * (effort < 2) - 1e-6 <= c.value <= top[-1] / alpha + 1e-12
            E = c.direction.ravel()
            assert E @ hessian @ E / alpha == pytest.approx(c.value, abs=1e-11)
        monkeypatch.undo()


def test_classes_cost_what_they_are_said_to_cost_and_rates_are_those_of_the_definition():
    rng = np.random.default_rng(4)
    sizes, lam = (8, 12, 4), 0.02
    Z = rng.standard_normal((24, 4))
    c = lab.certify(Z, np.repeat(["a", "b", "c"], sizes), eps=EPS, lam=lam)
    value = autodiff(Z, sizes, EPS, lam)[0]
    assert c.value == pytest.approx(value, abs=1e-12)
    for k, one in enumerate(c.classes):
        without = Z.copy()
        without[sum(sizes[:k]) : sum(sizes[: k + 1])] = 0
        assert one.drop_gain == pytest.approx(autodiff(without, sizes, EPS, lam)[0] - value, abs=1e-12)
    inside = [np.linalg.slogdet(np.eye(4) + 4 / (n * EPS**2) * B.T @ B)[1] * n / 48
              for n, B in zip(sizes, np.split(Z, np.cumsum(sizes)[:-1]), strict=True)]  # fmt: skip
    assert c.class_rate == pytest.approx(sum(inside), abs=1e-12)
    B, C = Z[:8], Z[8:20]
    cosine = np.sum((B.T @ B) * (C.T @ C)) / np.linalg.norm(B.T @ B) / np.linalg.norm(C.T @ C)
    assert c.overlap[0, 1] == pytest.approx(cosine, abs=1e-12)


# ---------------------------------------------------------------- floors


def test_features_with_shuffled_labels_lie_at_the_null_floor_and_features_on_subspaces_do_not(monkeypatch):
    monkeypatch.setattr(curvature_module, "DENSE", 0)  # curvature is not the question here
    monkeypatch.setattr(curvature_module, "EFFORT", 1.0)
    rng, d, sizes = np.random.default_rng(5), 20, (60, 36, 24)
    labels = np.repeat(np.arange(3), sizes)
    for kind, way in (("gaussian", "none"), ("sphere", "unit")):
        draws = []
        for _ in range(12):
            Z = null_features(rng, count=120, d=d, kind=kind)
            draws.append(lab.certify(Z, rng.permutation(labels), eps=0.5, normalise=way))
        excess = np.array([c.reduction - c.null for c in draws])
        # standard error of the mean, and the next order of the floor, 0.5/d
        assert abs(excess.mean()) <= 4 * excess.std() / np.sqrt(len(draws)) + 0.5 / d
        assert excess.std() == pytest.approx(draws[0].null_deviation, rel=0.7)
        assert np.mean(np.abs([c.position for c in draws])) < 0.02
        assert sum("no more than chance" in c.sentences[0] for c in draws) >= 11
    mixture = subspace_mixture(rng, d=d, class_sizes=sizes, ranks=(7, 7, 6), normalise="unit_norm")
    ordered = lab.certify(mixture.Z, mixture.labels)
    shuffled = lab.certify(mixture.Z, rng.permutation(mixture.labels))
    assert ordered.reduction > ordered.null + 20 * ordered.null_deviation
    assert "above chance" in ordered.sentences[0]
    assert shuffled.reduction == pytest.approx(ordered.shuffled_mean, abs=4 * ordered.shuffled_deviation)


def test_shuffled_floor_from_the_spectrum_is_right_up_to_order_one():
    """Floor and dimension grow together; what the closed form leaves out does not."""
    rng, relative = np.random.default_rng(6), []
    for d, draws in ((16, 60), (64, 16)):
        N, sizes = 6 * d, (3 * d, 2 * d, d)
        Z = rng.standard_normal((N, d)) * np.linspace(0.2, 1.5, d) ** 2 + 0.3  # neither isotropic nor centred
        predicted = label_shuffling.shuffled_rate_reduction(np.linalg.eigvalsh(Z.T @ Z), sizes, d, eps=0.7)
        measured = []
        for _ in range(draws):
            blocks = np.split(Z[rng.permutation(N)], np.cumsum(sizes)[:-1])
            logs = [np.linalg.slogdet(np.eye(d) + d / (len(B) * 0.49) * B.T @ B)[1] for B in blocks]
            whole = np.linalg.slogdet(np.eye(d) + d / (N * 0.49) * Z.T @ Z)[1]
            measured.append(0.5 * (whole - np.array(sizes) / N @ logs))
        error = np.std(measured) / np.sqrt(draws)
        assert abs(np.mean(measured) - predicted) <= 0.06 + 4 * error
        relative.append((predicted, abs(np.mean(measured) - predicted) + error))
        isotropic = null_rate_reduction(d, sizes, eps=0.7, variance=float(np.mean(Z**2)))
        assert abs(isotropic - np.mean(measured)) > 0.3  # white noise of the same energy is another floor
    assert relative[1][0] > 3.5 * relative[0][0]
    assert relative[1][1] / relative[1][0] < 0.6 * relative[0][1] / relative[0][0]


def test_shuffled_floor_agrees_with_white_noise_and_compression_with_all_and_single_rows():
    rng, d, sizes = np.random.default_rng(7), 60, (200, 100)
    Z = rng.standard_normal((300, d))
    floor = label_shuffling.shuffled_rate_reduction(np.linalg.eigvalsh(Z.T @ Z), sizes, d, eps=1.0)
    noise = null_rate_reduction(d, sizes, eps=1.0, correction=False)
    assert floor == pytest.approx(noise, abs=4 * null_rate_reduction_variance(d, sizes, eps=1.0) ** 0.5 + 0.1)
    # a flat spectrum, where the class matrices are pencils of two projections: derived by S- instead of R-transforms
    for size in ((60, 36, 24), (100, 20, 5)):
        flat = label_shuffling.shuffled_rate_reduction(np.full(24, 0.7 * sum(size)), size, 24, eps=0.5)
        white = whitened_null_rate_reduction(24, size, eps=0.5, variance=0.7, correction=False)
        assert flat == pytest.approx(white, rel=1e-12)
    a = rng.uniform(0, 3, 5)
    kept = label_shuffling.compressed_logdet(a, 9, [9], [0.7])
    assert kept == pytest.approx([np.sum(np.log1p(0.7 * a))], abs=1e-13)
    # Haar compressions of a fixed matrix
    A = np.diag(np.concatenate([np.linspace(1, 4, 30), np.zeros(30)]))
    draws = []
    for _ in range(40):
        Q = frame(rng, 60, 60)[:, :20]
        draws.append(np.linalg.slogdet(np.eye(20) + 0.8 * Q.T @ A @ Q)[1])
    predicted = label_shuffling.compressed_logdet(np.linspace(1, 4, 30), 60, [20], [0.8])[0]
    assert predicted == pytest.approx(np.mean(draws), abs=0.02 + 4 * np.std(draws) / np.sqrt(40))


# ---------------------------------------------------------------- maxima at given energies


def by_ranks(sizes, dim, e, ranks, eps):
    """Delta R of orthogonal classes with these energies and ranks, from the definition."""
    Z, start = [], 0
    for n, energy, r in zip(sizes, e, ranks, strict=True):
        block = np.zeros((n, dim))
        block[np.arange(r), start + np.arange(r)] = np.sqrt(energy / r) if r else 0
        Z.append(block)
        start += r
    return autodiff_value(np.concatenate(Z), sizes, eps)


@functools.partial(jax.jit, static_argnums=2)
def _value_and_slope(Z, energies, sizes, eps):
    membership = jnp.eye(4)[np.repeat(np.arange(len(sizes)), sizes)]

    def reduction(Z):
        norms = membership @ (membership.T @ jnp.sum(Z**2, axis=1))
        return plain(Z * jnp.sqrt(membership @ energies / norms)[:, None], membership, eps, 0.0)

    return jax.value_and_grad(reduction)(Z)


def autodiff_value(Z, sizes, eps):
    membership = np.eye(4)[np.repeat(np.arange(len(sizes)), sizes)]
    with jax.enable_x64(True):
        return float(plain(jnp.asarray(Z), jnp.asarray(membership), eps, 0.0))


@pytest.mark.parametrize(("sizes", "dim", "e", "eps"), [
    ((3, 4, 5), 4, (3.0, 4.0, 5.0), 0.5), ((3, 4, 5), 4, (9.0, 1.0, 2.0), 0.7), ((2, 6, 4), 3, (0.5, 6.0, 8.0), 0.3),
    ((4, 4, 4), 6, (4.0, 4.0, 4.0), 1.3), ((5, 3, 4), 4, (5.0, 0.0, 4.0), 0.4),
])  # fmt: skip
def test_energy_maximum_is_the_best_of_all_ranks_and_ascent_stays_below_the_ceiling(sizes, dim, e, eps):
    best = energies.energy_maximum(sizes, dim, e, eps=eps)
    options = [range(1, min(n, dim) + 1) if energy else (0,) for n, energy in zip(sizes, e, strict=True)]
    table = {r: by_ranks(sizes, dim, e, r, eps) for r in itertools.product(*options) if sum(r) <= dim}
    assert best.value == pytest.approx(max(table.values()), abs=1e-12)
    assert table[tuple(best.ranks.tolist())] == pytest.approx(best.value, abs=1e-12)
    ceiling = energies.energy_ceiling(sizes, dim, e, eps=eps)
    assert best.value <= ceiling + 1e-12
    if min(e) == 0:
        return
    rng, reached = np.random.default_rng(8), []
    with jax.enable_x64(True):
        for _ in range(6):
            start = rng.standard_normal((sum(sizes), dim))

            def descend(z, shape=start.shape):
                value, slope = _value_and_slope(jnp.asarray(z.reshape(shape)), jnp.asarray((*e, 0.0)), sizes, eps)
                return -float(value), -np.asarray(slope, dtype=float).ravel()

            reached.append(-minimize(descend, start.ravel(), jac=True, method="L-BFGS-B").fun)
    assert max(reached) <= ceiling + 1e-9
    assert max(reached) >= 0.9 * best.value  # the attack is not idle


def test_energy_maximum_is_the_constrained_maximum_at_energies_n_k():
    sizes, bounds = (30, 10, 20), (4, 3, 5)
    for eps in (0.3, 0.8, 1.5):
        expected = constrained_maximum(sizes, 40, sizes, eps=eps) if eps > 1 else None
        found = energies.energy_maximum(sizes, 40, sizes, eps=eps)
        if expected is not None:  # ranks fit without bounds
            assert found.value == pytest.approx(expected.value, abs=1e-12)
            assert found.ranks.tolist() == expected.ranks.tolist()
        assert constrained_maximum(sizes, 40, bounds, eps=eps).value <= found.value + 1e-12


def test_ranks_are_lost_at_the_stated_eps():
    sizes, dim, e = (8, 12, 20), 15, np.array([8.0, 15.0, 16.0])
    found = energies.energy_maximum(sizes, dim, e, eps=0.9)
    losses = energies.rank_loss_eps(sizes, dim, e, found.ranks)
    for k in np.flatnonzero(np.isfinite(losses)):
        for factor, keeps in ((1 - 1e-6, True), (1 + 1e-6, False)):
            C = e[k] * dim / (sum(sizes) * (losses[k] * factor) ** 2)
            x, r = sizes[k] / sum(sizes), int(found.ranks[k])
            worth = [m * (np.log1p(C / m) - x * np.log1p(C / m / x)) for m in (r - 1, r)]
            assert (worth[1] > worth[0]) == keeps


# ---------------------------------------------------------------- aligned critical points


def test_index_and_value_of_aligned_points_against_the_hessian():
    rng = np.random.default_rng(9)
    seen = set()
    while len(seen) < 24:
        sizes = ((4, 5, 6), (5, 5, 5), (3, 6, 6))[rng.integers(3)]
        members = rng.random((rng.integers(1, 6), 3)) < 0.5
        members = members[members.any(axis=1) & ~members.all(axis=1)]
        if not len(members) or np.any(members.sum(axis=0) > sizes):
            continue
        signs, dim = rng.choice([1, -1], len(members)), 5
        theta = members @ sizes / 15
        tau = 0.5 * float(np.min(theory.spinodal(theta)))
        alpha = dim / (15 * EPS**2)
        spaces = [aligned_frame(3, tuple(np.flatnonzero(A)), sign="+" if s > 0 else "-")
                  for A, s in zip(members, signs, strict=True)]  # fmt: skip
        Z = fusion_frame_critical_point(
            rng, d=dim, class_sizes=sizes, spaces=spaces, eps=EPS, lam=tau * alpha, roots=roots
        )
        value, _, hessian = autodiff(Z, sizes, EPS, tau * alpha)
        index = int(np.sum(np.linalg.eigvalsh(hessian) > 1e-8 * alpha))
        assert aligned_points.aligned_index(members, signs, sizes, dim, tau=tau) == index
        assert aligned_points.aligned_value(members, signs, sizes, tau=tau) == pytest.approx(value, abs=1e-12)
        seen.add((sizes, members.tobytes(), signs.tobytes()))


@pytest.mark.parametrize("sizes", [(3, 9, 5, 17, 2), (3,) * 12])
def test_directions_are_rounded_to_the_nearest_of_all_sets_of_classes(sizes):
    """Exhaustive: with unequal sizes up to ten classes, beyond that with equal ones."""
    rng, n = np.random.default_rng(10), np.array(sizes)
    x, tau = n / n.sum(), 0.05
    e = rng.exponential(size=(12, n.size)) ** 3 * np.repeat([0.05, 0.3, 2.0], 4)[:, None] * x
    members, signs, u = aligned_points.nearest_branches(e, sizes, tau=tau)
    shares = np.where(members, u[:, None] * x / np.maximum(members @ x, 1e-9)[:, None], 0)
    found = np.sum((np.sqrt(e) - np.sqrt(shares)) ** 2, axis=1)
    best = e.sum(axis=1)
    for A in itertools.product([False, True], repeat=n.size):
        theta = x[list(A)].sum()
        if 0 < theta < 1 and tau < (1 - theta**0.5) / (1 + theta**0.5):
            for root in np.roots([tau / theta, -((1 / theta - 1) - tau * (1 / theta + 1)), tau]):
                best = np.minimum(best, np.sum((np.sqrt(e) - np.sqrt(np.array(A) * root * x / theta)) ** 2, axis=1))
    assert found == pytest.approx(best, rel=1e-10)
    assert len({*signs.tolist()}) >= 2
