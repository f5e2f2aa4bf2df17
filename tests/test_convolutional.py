"""Convolutional dictionaries and codes, and the operators by FFT: dense matrices, plain loops, every array library."""

import numpy as np
import pytest
from array_api_extra.testing import assert_close, lazy_xp_function
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.data import convolutional as data
from lab.errors import InputError
from lab.models import convolutional_coding as coding

for function in (coding.decode, coding.correlate, coding.operator_norm, coding.encode):
    lazy_xp_function(function)

EPS = np.finfo(float).eps
METHODS = ("ista", "fista", "lagged")


def plain_steps(x, D, *, lam, steps, method, nonnegative=False):
    """The iterations as printed, with a dense dictionary."""
    eta = 1 / np.linalg.norm(D, 2) ** 2
    code = before = np.zeros(D.shape[1])
    t = before_t = 1.0
    for k in range(1, steps + 1):
        point = code if method == "ista" or k == 1 else code + (before_t - 1) / t * (code - before)
        at = code if method == "lagged" else point
        moved = point - eta * D.T @ (D @ at - x)
        shrunk = np.maximum(moved - eta * lam, 0) if nonnegative else np.sign(moved) * np.maximum(
            np.abs(moved) - eta * lam, 0)  # fmt: skip
        before, code = code, shrunk
        before_t, t = t, (1 + np.sqrt(1 + 4 * t**2)) / 2
    return code


@pytest.mark.parametrize("channels", [1, 2])
def test_operators_are_those_of_the_dense_matrix_in_every_library(xp, rng, channels):
    filters = data.filter_bank(rng, count=3, size=4, channels=channels)
    codes, signals = rng.standard_normal((5, 3, 16)), rng.standard_normal((5, channels, 16))
    D = data.dictionary(filters, 16)
    given, expected = xp.asarray(filters), (codes.reshape(5, -1) @ D.T).reshape(5, channels, 16)
    assert_close(coding.decode(xp.asarray(codes), given), xp.asarray(expected), rtol=1e-12, atol=1e-13)
    expected = (signals.reshape(5, -1) @ D).reshape(5, 3, 16)
    assert_close(coding.correlate(xp.asarray(signals), given), xp.asarray(expected), rtol=1e-12, atol=1e-13)
    norm = coding.operator_norm(given, length=16)
    assert_close(norm, xp.asarray(np.linalg.norm(D, 2) ** 2), rtol=1e-13)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("nonnegative", [False, True])
def test_iterations_are_those_printed_in_every_library(xp, rng, method, nonnegative):
    filters, signals = data.filter_bank(rng, count=2, size=3), rng.standard_normal((2, 1, 12))
    D = data.dictionary(filters, 12)
    options = dict(lam=0.1, steps=7, method=method, nonnegative=nonnegative)
    expected = np.stack([plain_steps(x.ravel(), D, **options).reshape(2, 12) for x in signals])
    found = coding.encode(xp.asarray(signals), xp.asarray(filters), **options)
    assert_close(found, xp.asarray(expected), rtol=1e-11, atol=1e-13)


def test_iterates_pass_through_the_codes_of_encode(rng):
    filters, signal = data.filter_bank(rng, count=2, size=3), rng.standard_normal((1, 12))
    run = coding.iterates(signal, filters, lam=0.1, method="fista")
    path = [next(run) for _ in range(5)]
    for k in (1, 3, 5):
        assert np.array_equal(path[k - 1], coding.encode(signal, filters, lam=0.1, method="fista", steps=k))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 2), st.floats(0.05, 0.8))
def test_lasso_meets_the_optimality_conditions_of_the_dense_problem(seed, count, channels, share):
    rng = np.random.default_rng(seed)
    filters = data.filter_bank(rng, count=count, size=4, channels=channels)
    D, x = data.dictionary(filters, 14), rng.standard_normal((channels, 14))
    lam = share * np.abs(D.T @ x.ravel()).max()
    found = coding.lasso(x, filters, lam=lam)
    code = found.codes.ravel()
    pull, on = D.T @ (x.ravel() - D @ code), code != 0
    assert np.allclose(pull[on], lam * np.sign(code[on]), rtol=0, atol=1e3 * EPS * found.condition * np.abs(x).sum())
    assert np.abs(pull[~on]).max(initial=0) == pytest.approx(lam * (1 - found.slack), abs=1e-10)
    assert 0 < found.slack <= 1


def test_lasso_agrees_with_another_library(rng):
    Lasso = pytest.importorskip("sklearn.linear_model").Lasso
    filters, x = data.filter_bank(rng, count=2, size=4), rng.standard_normal((1, 16))
    D = data.dictionary(filters, 16)
    # its misfit is divided by the number of rows
    other = Lasso(alpha=0.3 / 16, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(D, x.ravel())
    assert coding.lasso(x, filters, lam=0.3).codes.ravel() == pytest.approx(other.coef_, abs=1e-6)


def test_lasso_of_a_weak_signal_is_zero_and_bad_input_is_refused(rng):
    filters, x = data.filter_bank(rng, count=2, size=4), rng.standard_normal((1, 16))
    assert not coding.lasso(x, filters, lam=100.0).codes.any()
    with pytest.raises(InputError, match=r"lam=0"):
        coding.lasso(x, filters, lam=0.0)
    with pytest.raises(InputError, match="method='nesterov'"):
        coding.encode(x, filters, lam=0.1, steps=1, method="nesterov")
    with pytest.raises(InputError, match="do not fit"):
        coding.encode(rng.standard_normal((2, 16)), filters, lam=0.1, steps=1)
    with pytest.raises(InputError, match="n at most the length 3"):
        coding.operator_norm(filters, 3)
    with pytest.raises(InputError, match=r"steps=-1"):
        coding.encode(x, filters, lam=0.1, steps=-1)


@pytest.mark.parametrize("nonzeros", [2, 5, 9])
def test_splitting_agrees_with_the_linear_program(rng, nonzeros):
    """Convolutional and dense projections; solutions are compared whether or not the code is recovered."""
    for _ in range(4):
        filters = data.filter_bank(rng, count=2, size=6)
        codes = data.spike_codes(rng, count=2, length=12, nonzeros=nonzeros, amplitude="gauss")
        signal, D = coding.decode(codes, filters), data.dictionary(filters, 12)
        program = coding.basis_pursuit(signal, D)
        by_fft = coding.pursue(signal, coding.circular_projection(filters, 12), 0 * codes, steps=4000, threshold=0.3)
        dense = coding.pursue(signal.ravel(), coding.dense_projection(D), np.zeros(24), steps=4000, threshold=0.3)
        for found in (by_fft.ravel(), dense):
            assert np.abs(found).sum() == pytest.approx(np.abs(program).sum(), rel=1e-3)  # slow near the border
            assert np.abs(D @ found - signal.ravel()).max() < 1e-11


def test_support_gram_is_a_block_of_the_dense_one(rng):
    filters = data.filter_bank(rng, count=3, size=4, channels=2)
    D, support = data.dictionary(filters, 16), np.array([0, 3, 20, 40, 47])
    assert coding.support_gram(filters, support, 16) == pytest.approx((D.T @ D)[np.ix_(support, support)], abs=1e-14)


def test_zero_padding_cuts_filters_off(rng):
    filters = data.filter_bank(rng, count=1, size=3)
    padded = data.dictionary(filters, 6, circular=False)
    assert padded[:, 0][:3] == pytest.approx(filters[0, 0])
    assert padded[:, 5].tolist() == [0, 0, 0, 0, 0, filters[0, 0, 0]]


def test_optimised_filters_reach_what_is_known(rng):
    banks = {(2, 2): 1 / np.sqrt(5), (2, 3): 0.38860954}  # the second by many starts
    for (count, size), least in banks.items():
        found = [data.filter_bank(rng, count=count, size=size, kind="optimised") for _ in range(4)]
        assert min(data.worst_overlap(f) for f in found) == pytest.approx(least, abs=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 4), st.integers(3, 6))
def test_stripes_hold_as_many_nonzeros_as_allowed_and_no_more(seed, count, per_stripe, size):
    rng = np.random.default_rng(seed)
    codes = data.stripe_sparse_codes(rng, count=count, length=40, size=size, per_stripe=per_stripe)
    window, counts = 2 * size - 1, data.stripe_counts(codes, size)
    brute = [np.count_nonzero(codes[:, [(k + j) % 40 for j in range(window)]]) for k in range(40)]
    assert np.array_equal(counts, brute)
    assert counts.max() <= per_stripe
    for place in np.flatnonzero(codes.ravel() == 0):  # nothing more fits
        assert max(counts[(place - j) % 40] for j in range(window)) == per_stripe


def test_patch_norms_go_round_the_circle():
    signal = np.array([[3.0, 0, 0, 0, 4.0]])
    assert data.patch_norm(signal, 2) == 5.0
    assert data.patch_norm(signal, 1) == 4.0


def test_spaced_atoms_overlap_in_one_entry_and_keep_codes_sparse(rng):
    atoms = data.spaced_atoms(rng, count=2, channels=2, size=60, entries=3, spacing=20)
    assert np.count_nonzero(atoms, axis=(1, 2)).tolist() == [3, 3]
    assert data.worst_overlap(atoms) == pytest.approx(1 / 3)
    codes = data.stripe_sparse_codes(rng, count=2, length=240, size=60, per_stripe=1)
    first = data.filter_bank(rng, count=2, size=10)
    signal, middle, deep = data.deconvolution_signal(codes, [first, atoms])
    assert np.array_equal(deep, codes)
    assert np.count_nonzero(middle) == 3 * np.count_nonzero(codes)
    assert data.stripe_counts(middle, 10).max() == 1
    assert signal == pytest.approx(coding.decode(middle, first))
    assert middle == pytest.approx(coding.decode(codes, atoms))
    with pytest.raises(InputError, match="raise size"):
        data.spaced_atoms(rng, count=1, channels=1, size=5, entries=3, spacing=4)


def test_generators_refuse_bad_input(rng):
    with pytest.raises(InputError, match="nonzeros=9"):
        data.spike_codes(rng, count=2, length=4, nonzeros=9)
    with pytest.raises(InputError, match="amplitude='cauchy'"):
        data.spike_codes(rng, count=2, length=4, nonzeros=3, amplitude="cauchy")
    with pytest.raises(InputError, match="kind='haar'"):
        data.filter_bank(rng, count=2, size=4, kind="haar")
    with pytest.raises(InputError, match="stripes of 7"):
        data.stripe_sparse_codes(rng, count=2, length=6, size=4, per_stripe=1)
    with pytest.raises(InputError, match="size=0"):
        data.filter_bank(rng, count=2, size=0)
