"""`predict_transition`: three curves in one call, at a tiny configuration."""

import subprocess
import sys

import numpy as np
import pytest

from lab.errors import InputError, OutOfDomain
from lab.systems.memorization import predict_transition, theory
from lab.systems.memorization.prediction import _crossing, _measured


def test_closed_form_and_clustering():
    found = predict_transition(30, 2, 24, sets=12)
    assert found.trained is None
    assert found.settled is None
    assert found.closed_form.critical == pytest.approx(theory.critical_size(30, 2, 24), abs=1e-6)
    assert np.interp(found.closed_form.critical, found.closed_form.m, found.closed_form.copies) == pytest.approx(
        0.5, abs=1e-3
    )
    low, high = found.surrogate.interval
    assert low <= found.surrogate.critical <= high
    assert found.surrogate.critical == pytest.approx(found.closed_form.critical, abs=0.06)
    assert found.surrogate.copies.shape == (12, found.surrogate.m.size)
    assert "clustering" in str(found)
    assert "trained" not in str(found)


def test_the_threshold_moves_all_of_them_together():
    strict = predict_transition(30, 2, 40, threshold=1 / 36, sets=8)
    loose = predict_transition(30, 2, 40, threshold=1 / 4, sets=8)
    assert strict.closed_form.critical > loose.closed_form.critical + 0.2
    assert strict.surrogate.critical > loose.surrogate.critical + 0.2


def test_the_same_seed_gives_the_same_numbers():
    one, two, other = (predict_transition(30, 2, 24, sets=3, seed=seed).surrogate.copies for seed in (0, 0, 1))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_training():
    found = predict_transition(
        20, 2, 16, shares=[0.5, 0.75, 1.0], sets=2, train=True, seeds=2, steps=250, draws=1, samples=50
    )
    assert found.trained.copies.shape == (2, 3)
    assert found.trained.m.tolist() == [0.5, 0.75, 1.0]
    assert np.all(found.trained.copies[:, -1] > 0.9)  # as many means as points
    assert 0 <= found.settled <= 1
    assert "trained" in str(found)


def test_wrong_requests_say_what_to_do():
    with pytest.raises(InputError, match="train=True"):
        predict_transition(30, 2, 24, sets=1, draws=4)
    with pytest.raises(InputError, match="two or more sizes"):
        predict_transition(30, 2, 24, sets=1, shares=[0.8])
    with pytest.raises(InputError, match="sets=0"):
        predict_transition(30, 2, 24, sets=0)
    with pytest.raises(OutOfDomain, match="N/K >= 4"):
        predict_transition(30, 20, 24, sets=1)


def test_crossings():
    m = np.array([0.5, 0.6, 0.7, 0.8])
    assert _crossing(m, np.array([0.0, 0.25, 0.75, 1.0])) == pytest.approx(0.65)
    assert np.isnan(_crossing(m, np.zeros(4)))
    assert np.isnan(_crossing(m, np.ones(4)))
    certain = _measured(m, np.array([[0.0, 0.25, 0.75, 1.0]] * 3))
    assert certain.interval == pytest.approx((0.65, 0.65))
    assert np.isnan(_measured(m, np.zeros((3, 4))).interval).all()
    assert _measured(m, np.array([[0.0, 0.25, 0.75, 1.0]])).interval is None


def test_listing_laws_loads_neither_jax_nor_the_prediction():
    code = (
        "import sys, lab.registry as r; r.laws('memorization'); "
        "print([m for m in sys.modules if m in ('jax', 'scipy', 'lab.systems.memorization.prediction')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
