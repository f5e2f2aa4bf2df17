"""Conformance of every registered law: rules every law keeps, the law holds, each control and erratum is refuted."""

import functools

import pytest

from lab.registry import laws
from lab.sweeps.engine import Engine
from lab.testing import conformance


def measured_by(law):
    """Laws of one measurement are tested one after the other, by one process: they share rows and programs."""
    return law.plan.measurement.name


LAWS = sorted(laws(), key=lambda law: (measured_by(law), law.erratum_of is not None, law.id))


@functools.lru_cache(maxsize=1)
def engine_of(name):
    return Engine()


def first_of_its_kind(law):
    """Whether no law before it has the same measurement, knobs and domain."""
    kind = (measured_by(law), dict(law.plan.knobs), law.params)
    return next(i for i in LAWS if (measured_by(i), dict(i.plan.knobs), i.params) == kind) is law


@pytest.mark.parametrize(
    "law", [pytest.param(law, id=law.id, marks=pytest.mark.xdist_group(measured_by(law))) for law in LAWS]
)
def test_law_conforms(law):
    assert conformance(law, measurement=first_of_its_kind(law), engine=engine_of(measured_by(law))) == []


def test_ids_are_unique():
    ids = [law.id for law in LAWS]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("law", [law for law in LAWS if law.erratum_of], ids=lambda law: law.id)
def test_an_erratum_names_its_corrected_law(law):
    assert law.erratum_of in {other.id for other in LAWS}
    assert law.examples, "an erratum shows its counterexample"
    assert law.words, "an erratum says what is printed and what is true"
