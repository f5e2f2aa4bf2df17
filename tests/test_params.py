"""Parameters: validation sentences, canonical text, sampling, strategies, axes."""

import json
from typing import Annotated, Literal

import numpy as np
import pytest
from hypothesis import given
from pydantic import model_validator

from lab.errors import InputError, OutOfDomain
from lab.params import Ge, Gt, Le, LogScale, Lt, MaxLen, MinLen, Params, Static, Traced, params_from


class Point(Params):
    n: Annotated[int, Ge(1), Le(20)] = 4
    x: Annotated[float, Gt(0), Lt(1)] = 0.5
    eps: Annotated[float, Ge(1e-3), Le(10), LogScale()] = 1.0
    sizes: Annotated[tuple[Annotated[int, Ge(1), Le(5)], ...], MinLen(2), MaxLen(4)] = (1, 2)
    kind: Literal["a", "b"] = "a"
    swept: Annotated[int, Ge(1), Le(9), Traced()] = 3
    fixed: Annotated[float, Ge(0), Le(1), Static()] = 0.5

    @model_validator(mode="after")
    def _room(self):
        if self.n < len(self.sizes):
            raise ValueError(f"n={self.n} is below len(sizes)={len(self.sizes)}; raise n")
        return self


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (dict(n=0), ["Point.n=0", "greater than or equal to 1", "[1, 20]"]),
        (dict(n=1.5), ["Point.n=1.5", "integer"]),
        (dict(n="3"), ["n='3'", "not a number"]),
        (dict(n=True), ["n=True", "not a number"]),
        (dict(x=float("nan")), ["Point.x=nan", "finite"]),
        (dict(x=float("inf")), ["Point.x=inf"]),
        (dict(x=1.0), ["Point.x=1.0", "less than 1", "(0, 1)"]),
        (dict(kind="c"), ["Point.kind='c'", "'a' | 'b'"]),
        (dict(sizes=(1, 9)), ["sizes.1=9"]),
        (dict(m=1), ["'m'", "n"]),
        (dict(n=1), ["n=1 is below len(sizes)=2; raise n"]),
    ],
)
def test_bad_values_give_one_sentence(values, words):
    with pytest.raises(OutOfDomain) as caught:
        Point(**values)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_equal_values_have_one_canonical_text():
    same = [Point(eps=1), Point(eps=1.0), Point(eps=np.float64(1)), Point(n=np.int64(4)), Point(sizes=np.array([1, 2]))]
    assert len({p.canonical() for p in same}) == 1
    assert Point(fixed=-0.0).canonical() == Point(fixed=0.0).canonical()
    assert "x" not in json.loads(Point().canonical(drop=("x",)))


def test_traced_and_static_fields():
    assert Point.traced() == ("x", "eps", "swept")
    assert [name for name, _ in Point().static()] == ["n", "sizes", "kind", "fixed"]


def test_replace_is_validated():
    assert Point().replace(n=5).n == 5
    with pytest.raises(OutOfDomain):
        Point().replace(n=99)


def test_sampling_stays_inside_and_reaches_the_corners():
    rng = np.random.default_rng(0)
    points = [Point.sample(rng) for _ in range(400)]
    assert {1e-3, 10.0} <= {p.eps for p in points}
    assert {p.kind for p in points} == {"a", "b"}
    assert min(p.x for p in points) == pytest.approx(1e-6)
    assert Point.sample(rng, {"n": 7}).n == 7


def test_an_impossible_domain_says_how_to_mend_it():
    class Never(Params):
        a: Annotated[float, Ge(0), Le(1)] = 0.5

        @model_validator(mode="after")
        def _no(self):
            if self.a != 0.123:
                raise ValueError("a is not .123")
            return self

    with pytest.raises(OutOfDomain, match="reparametrise"):
        Never.sample(np.random.default_rng(0))


@given(Point.strategy())
def test_strategy_gives_valid_points(p):
    assert Point(**p.values()) == p


def test_axes_are_parsed_as_written_on_the_command_line():
    assert Point.parse_axis("x", "0.1:0.9:3") == pytest.approx([0.1, 0.5, 0.9])
    assert Point.parse_axis("n", "2:6:3") == [2, 4, 6]
    assert Point.parse_axis("sizes", "[1,2],[3,4]") == [[1, 2], [3, 4]]
    assert Point.parse_axis("kind", "a,b") == ["a", "b"]
    with pytest.raises(InputError, match="nearest"):
        Point.parse_axis("siezs", "1")
    with pytest.raises(InputError, match="no value"):
        Point.parse_axis("x", "")


def test_params_of_a_plain_function():
    def f(a: float, n: int, b=2.0, stream=None):
        return a

    cls = params_from(f, {"a": 1.0, "n": 3})
    assert cls.traced() == ("a", "b")
    assert cls(a=1, n=2).b == 2.0
