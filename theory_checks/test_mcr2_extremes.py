"""Extremes of rates against constructed frames, plain enumeration and random spectra."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.systems.mcr2 import theory

POINTS = settings(deadline=None, max_examples=80)
seeds = st.integers(0, 2**32 - 1)


def rate(Z, eps):
    n, d = Z.shape
    return 0.5 * np.linalg.slogdet(np.eye(d) + d / (n * eps**2) * Z.T @ Z)[1]


def reduction(Z, membership, eps):
    """Delta R of a soft membership (n, K) by definition."""
    n, d = Z.shape
    parts = 0.0
    for weights in membership.T:
        total = weights.sum()
        if total > 0:
            gram = Z.T @ (weights[:, None] * Z)
            parts += total / (2 * n) * np.linalg.slogdet(np.eye(d) + d / (total * eps**2) * gram)[1]
    return rate(Z, eps) - parts


def harmonic_frame(n, d):
    """n >= d unit rows with all singular values equal: real Fourier coefficients of d/2 frequencies (and the mean)."""
    angles = 2 * np.pi * np.arange(n)[:, None] / n * np.arange(1, d // 2 + 1)
    columns = [np.cos(angles), np.sin(angles)]
    if d % 2:
        columns.append(np.full((n, 1), np.sqrt(0.5)))
    return np.concatenate(columns, axis=1) * np.sqrt(2 / d)


@pytest.mark.parametrize(("n", "d"), [(7, 4), (12, 5), (20, 8), (9, 3), (5, 8), (1, 3)])
def test_both_ends_of_the_rate_are_attained_by_construction(n, d):
    frame = harmonic_frame(n, d) if n >= d else np.eye(d)[:n]
    assert np.linalg.norm(frame, axis=1) == pytest.approx(np.ones(n), rel=1e-14)
    line = np.outer((-1.0) ** np.arange(n), np.eye(d)[0])
    for eps in (0.1, 0.7, 4.0):
        low, high = theory.rate_bounds_unit_norm(n, d, eps=eps)
        alpha = d / (n * eps**2)
        for Z, value, end in ((frame, high, "most"), (line, low, "least")):
            assert rate(Z, eps) == pytest.approx(value, rel=1e-12)
            spectrum = alpha * np.linalg.svd(Z, compute_uv=False) ** 2
            assert spectrum == pytest.approx(theory.extreme_spectrum(n, d, end, eps=eps), abs=1e-12 * d / eps**2)


@POINTS
@given(seeds)
def test_a_rate_near_an_end_bounds_the_spectrum(seed):
    rng = np.random.default_rng(seed)
    n, d, eps = rng.integers(1, 12), rng.integers(1, 9), 10 ** rng.uniform(-1, 1)
    q, c = min(n, d), d / eps**2
    low, high = theory.rate_bounds_unit_norm(n, d, eps=eps)
    # spectra of unit rows: all vectors of q numbers that add up to c; from nearly flat to nearly rank one
    u = c * rng.dirichlet(np.full(q, 10 ** rng.uniform(-3, 4)))
    value = 0.5 * np.log1p(u).sum()
    slack = 1e-13 * (1 + c)
    assert low - slack <= value <= high + slack
    away = theory.spectrum_error(max(high - value, 0) + slack, n, d, "most", eps=eps)
    assert np.max(np.abs(u - c / q)) <= away * (1 + 1e-12)
    assert c - u.max() <= theory.spectrum_error(max(value - low, 0) + slack, n, d, "least", eps=eps) * (1 + 1e-12)


def test_the_bounds_of_the_spectrum_are_of_the_right_order():
    n, d, eps = 40, 20, 0.8
    _, high = theory.rate_bounds_unit_norm(n, d, eps=eps)
    low = theory.rate_bounds_unit_norm(n, d, eps=eps)[0]
    c, w = d / eps**2, 1 / eps**2
    for t in (1e-3, -1e-3):
        u = np.full(20, w)
        u[0], u[1:] = u[0] + t, u[1:] - t / 19
        gap = high - 0.5 * np.log1p(u).sum()
        assert abs(t) <= theory.spectrum_error(gap, n, d, "most", eps=eps) <= 1.05 * abs(t)
    u = np.array([c - 1e-6, 1e-6])
    gap = 0.5 * np.log1p(u).sum() - low
    assert 1e-6 <= theory.spectrum_error(gap, n, d, "least", eps=eps) <= 2.2e-6
    assert np.isinf(theory.spectrum_error(5.0, n, d, "least", eps=eps))


@settings(deadline=None, max_examples=10)
@given(seeds)
def test_enumeration_is_the_maximum_over_all_labellings(seed):
    rng = np.random.default_rng(seed)
    n, classes = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    Z, eps = rng.standard_normal((n, int(rng.integers(1, 4)))), 10 ** rng.uniform(-1, 0.5)
    found = theory.best_assignment(Z, classes, eps=eps)
    every = {labels: reduction(Z, np.eye(classes)[list(labels)], eps) for labels in product(range(classes), repeat=n)}
    assert found.value == pytest.approx(max(every.values()), abs=1e-11)
    assert every[tuple(found.labels)] == pytest.approx(found.value, abs=1e-11)
    assert all(k in found.labels[: i + 1] for i, label in enumerate(found.labels) for k in range(label))
    equal = [v for labels, v in every.items() if np.ptp(np.bincount(labels, minlength=classes)) <= 1]
    assert theory.best_assignment(Z, classes, eps=eps, balanced=True).value == pytest.approx(max(equal), abs=1e-11)


@POINTS
@given(seeds)
def test_no_soft_membership_beats_the_best_labels_and_rounding_row_by_row_never_loses(seed):
    rng = np.random.default_rng(seed)
    Z, eps = rng.standard_normal((6, 3)), 10 ** rng.uniform(-1, 0.5)
    membership = rng.dirichlet(np.full(3, 10 ** rng.uniform(-1, 1)), size=6)
    value = reduction(Z, membership, eps)
    for i in range(6):  # convex in one row: one of its corners is at least as good
        corners = []
        for k in range(3):
            trial = membership.copy()
            trial[i] = np.eye(3)[k]
            corners.append((reduction(Z, trial, eps), trial))
        best, membership = max(corners, key=lambda one: one[0])
        assert best >= value - 1e-11
        value = best
    assert value <= theory.best_assignment(Z, 3, eps=eps).value + 1e-11


@pytest.mark.parametrize("call", [
    lambda: theory.best_assignment(np.ones((30, 2)), 2, eps=1.0),
    lambda: theory.best_assignment(np.ones(3), 2, eps=1.0),
    lambda: theory.extreme_spectrum(3, 2, "middle", eps=1.0),
    lambda: theory.spectrum_error(-1.0, 3, 2, "most", eps=1.0),
])  # fmt: skip
def test_values_outside_the_domain_are_refused(call):
    with pytest.raises(ValueError, match=r"must|too many"):
        call()
