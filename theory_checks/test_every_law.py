"""Conformance of every registered law: rules every law keeps, the law holds, each control and erratum is refuted."""

import pytest

from lab.registry import laws
from lab.testing import conformance

LAWS = laws()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.id)
def test_law_conforms(law):
    assert conformance(law) == []


def test_ids_are_unique():
    ids = [law.id for law in LAWS]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("law", [law for law in LAWS if law.erratum_of], ids=lambda law: law.id)
def test_an_erratum_names_its_corrected_law(law):
    assert law.erratum_of in {other.id for other in LAWS}
    assert law.examples, "an erratum shows its counterexample"
    assert law.words, "an erratum says what is printed and what is true"
