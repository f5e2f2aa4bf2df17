"""Laws end to end on small examples: check, controls, errata, situations, two stages, refutation, conformance."""

import math
from dataclasses import replace
from functools import partial
from typing import Annotated

import numpy as np
import pytest

from lab.claims import Bound, Classification, Crossover, Equality, Limit, Rate
from lab.errors import InputError
from lab.law import Draws, Law, but
from lab.measure import measurement
from lab.params import Ge, Le, Params
from lab.refute import refute
from lab.testing import ConformanceError, conformance


class Angle(Params):
    """An angle and a factor."""

    angle: Annotated[float, Ge(0), Le(3)] = 1.0
    n: Annotated[int, Ge(1), Le(50)] = 4


@measurement
def double_sine(p, stream, *, factor=2.0):
    return {"y": factor * math.sin(p.angle) * math.cos(p.angle)}


def few_roundings(p):
    """four operations of relative error 1/2 epsilon each on numbers below 1"""
    return 4.0


DOUBLE = Law(
    id="test/double-angle", source="Euclid", params=Angle, predict=lambda p: math.sin(2 * p.angle), measure=double_sine,
    statement="sin 2a = 2 sin a cos a", claim=Equality(of="y", rounding=few_roundings, scale=1.0),
    controls={"factor forgotten": but(measure=partial(double_sine, factor=1.0)), "cosine": but(predict=lambda p: 1.0)},
    examples=(Angle(),),
)  # fmt: skip
SMALL = DOUBLE.printed("test/small-angle", at=(Angle(angle=3.0),), predict=lambda p: 2 * p.angle)


def test_a_law_holds_and_its_controls_are_refuted():
    found = DOUBLE.check()
    assert found.holds
    assert found.as_expected
    assert found.verdict.resolution < 1e-14
    assert len(found.groups) == 33
    for name in DOUBLE.controls:
        assert DOUBLE.check(control=name).refuted


def test_the_same_seed_judges_the_same_points():
    first, again = DOUBLE.check(seed=3), DOUBLE.check(seed=3)
    assert [g.p for g in first.groups] == [g.p for g in again.groups]
    assert [g.p for g in first.groups] != [g.p for g in DOUBLE.check(seed=4).groups]


def test_an_erratum_is_judged_at_its_counterexample():
    found = SMALL.check()
    assert found.refuted
    assert len(found.groups) == 1
    assert SMALL.erratum_of == DOUBLE.id
    assert SMALL.expected == "refuted"


def test_accepts_holds_an_independent_value_against_the_tolerance():
    p = Angle(angle=0.7)
    assert DOUBLE.accepts(p, math.sin(1.4))
    assert not DOUBLE.accepts(p, math.sin(1.4) + 1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(id="nonsense"), "system/name"),
        (dict(source=""), "source"),
        (dict(controls={}), "control"),
        (dict(controls={"x": but(mesure=1)}), "measure"),
        (dict(measure=lambda p, stream: 1.0), "@measurement"),
        (dict(measure=partial(double_sine, fcator=1.0)), "factor"),
        (dict(claim=Crossover(of="y", along="angle")), "axis"),
    ],
)
def test_malformed_laws_are_rejected_with_a_sentence(change, words):
    with pytest.raises(InputError, match=words):
        replace(DOUBLE, **change)


def test_unknown_control_offers_the_nearest():
    with pytest.raises(InputError, match="factor forgotten"):
        DOUBLE.check(control="factor forgoten")


def test_a_failing_measurement_is_reported_not_dropped():
    @measurement
    def breaks(p, stream):
        if p.angle > 1.5:
            raise ArithmeticError("no convergence")
        return {"y": math.sin(2 * p.angle)}

    found = replace(DOUBLE, measure=breaks).check()
    assert found.verdict.verdict == "undecided"
    assert "no convergence" in found.verdict.reason


def test_a_failing_prediction_is_reported():
    def predict(p):
        raise ValueError("bracket overflow")

    found = replace(DOUBLE, predict=predict).check()
    assert found.verdict.verdict == "undecided"
    assert "bracket overflow" in found.verdict.reason


# ---------------------------------------------------------------------- situations


def matrix(p, stream):
    return {"A": stream.numpy("A").standard_normal((p.n, p.n))}


@measurement
def trace(p, data, stream):
    return {"trace": np.trace(data["A"])}


TRACE = Law(
    id="test/trace", source="folklore", params=Angle, situation=matrix, measure=trace,
    statement="tr A = sum of eigenvalues", predict=lambda p, data: np.linalg.eigvals(data["A"]).sum().real,
    claim=Equality(of="trace", rounding=lambda p, d: p.n**2 * np.linalg.cond(np.linalg.eig(d["A"])[1]) * 10, scale=1.0),
    controls={"transpose squared": but(predict=lambda p, data: np.trace(data["A"] @ data["A"]))},
    draws=Draws(shapes=4, values=2, replicates=3),
)  # fmt: skip


def test_prediction_and_measurement_see_the_same_instance():
    assert TRACE.check().holds
    assert TRACE.check(control="transpose squared").refuted


def test_a_situation_in_jax():
    def vector(p, stream):
        import jax

        return {"v": jax.random.normal(stream.jax("v"), (p.n,))}

    @measurement(runs="jax")
    def norm(p, data, stream):
        import jax.numpy as jnp

        return jnp.sum((p.angle * data["v"]) ** 2)

    law = Law(
        id="test/norm", source="folklore", params=Angle, situation=vector, measure=norm, statement="scaling of a norm",
        predict=lambda p, data: p.angle**2 * np.dot(data["v"], data["v"]),
        claim=Equality(rounding=lambda p, d: 4 * p.n * np.dot(d["v"], d["v"]) * 9, scale=1.0),
        controls={"no square": but(predict=lambda p, data: p.angle * np.dot(data["v"], data["v"]))},
        draws=Draws(shapes=1, values=3, replicates=2),
    )  # fmt: skip
    assert law.check().holds
    assert law.check(control="no square").refuted


# ---------------------------------------------------------------------- statistics in two stages


@measurement
def coin(p, stream, *, bias=0.0):
    return {"mean": stream.numpy("toss").normal(bias, 1.0, p.n).mean()}


COIN = Law(
    id="test/coin", source="folklore", params=Angle, predict=lambda p: 0.0, measure=coin, statement="a mean of zero",
    claim=Equality(of="mean", over="mean", scale=1.0, resolve=10.0),
    controls={"bias": but(measure=partial(coin, bias=1.0))}, draws=Draws(shapes=30, values=1, replicates=8),
)  # fmt: skip


def test_a_refutation_must_be_repeated_by_fresh_replicates():
    checks = [COIN.check(seed=seed) for seed in range(20)]
    assert all(c.holds for c in checks)
    found = COIN.check(control="bias")
    assert found.refuted
    assert "repeated by fresh replicates" in found.worst().verdict.reason


def test_fresh_replicates_that_are_not_finite_are_reported_and_not_compared():
    @measurement
    def fading(p, stream, *, bias=1.0):
        first = stream.numpy("toss").normal(bias, 1.0, (2, p.n)).mean(1)
        return {"mean": first if first[0] < 1.2 else first * np.nan}

    law = Law(
        id="test/fading", source="folklore", params=Angle, predict=lambda p: np.zeros(2), measure=fading,
        statement="two means of zero", claim=Equality(of="mean", over="mean", scale=1.0, resolve=10.0),
        controls={"more": but(measure=partial(fading, bias=2.0))}, draws=Draws(shapes=0, replicates=8),
        examples=(Angle(n=30),),
    )  # fmt: skip
    verdicts = {law.check(seed=seed).verdict.reason for seed in range(12)}
    assert any("not finite" in reason for reason in verdicts)
    assert all("broadcast" not in reason for reason in verdicts)


def test_a_control_sees_the_draws_of_its_law():
    from lab.sweeps.engine import Engine

    plain, biased = (Engine().measure(law.plan, [Angle()], [0])[0] for law in (COIN, COIN.control("bias")))
    assert biased.observed["mean"] - plain.observed["mean"] == pytest.approx(1.0)


# ---------------------------------------------------------------------- Rate, Limit, Crossover, Bound as laws


@measurement
def sample_mean(p, stream, *, exponent=0.5):
    draws = stream.numpy("x").standard_normal(4096)
    size = np.array([64, 128, 256, 512, 1024, 2048, 4096])
    return {"size": size, "spread": np.array([np.abs(draws[:n].mean()) for n in size]) + 0.0,
            "limit": 1 + 1 / size + 0 * size**exponent}  # fmt: skip


def test_every_kind_of_claim_serves_a_law():
    common = {"source": "folklore", "params": Angle, "measure": sample_mean, "statement": "x", "draws": Draws(shapes=0),
              "examples": (Angle(),)}  # fmt: skip
    limit = Law(
        id="test/limit", predict=lambda p: np.ones(7), claim=Limit(of="limit", along="size"),
        controls={"another limit": but(predict=lambda p: np.full(7, 1.1))}, **common,
    )  # fmt: skip
    rate = Law(
        id="test/rate", predict=lambda p: {"limit": 1.0, "rate": -1.0},
        claim=Rate(of="limit", along="size", deviation=True),
        controls={"second order": but(predict=lambda p: {"limit": 1.0, "rate": -2.0})}, **common,
    )  # fmt: skip
    bound = Law(
        id="test/bound", predict=lambda p: 0.0, claim=Bound(of="spread", side="lower", scale=1.0),
        controls={"above": but(predict=lambda p: 1.0)}, **common,
    )  # fmt: skip
    for law in (limit, rate, bound):
        assert law.check().holds, law.id
        assert all(law.check(control=name).refuted for name in law.controls), law.id


@measurement
def above(p, stream, *, at=2.0):
    return {"high": p.angle > at}


STEP = Law(
    id="test/step", source="folklore", params=Angle, predict=lambda p: 2.0, measure=above, statement="a step at 2",
    claim=Crossover(of="high", along="angle", falling=False, sharp=True, over="each",
                    axis=lambda p: np.linspace(1.01, 2.99, 100)),
    controls={"elsewhere": but(measure=partial(above, at=2.5)), "nowhere": but(measure=partial(above, at=9.0))},
    examples=(Angle(),), draws=Draws(shapes=0),
)  # fmt: skip


def test_a_crossover_along_a_field():
    found = STEP.check()
    assert found.holds
    assert found.verdict.resolution == pytest.approx(0.005)
    assert found.groups[0].at == {"n": 4}
    assert STEP.check(control="elsewhere").refuted
    assert STEP.check(control="nowhere").refuted


# ---------------------------------------------------------------------- refute


def test_refute_finds_and_shrinks_a_counterexample():
    """sin 2a = 2a is accepted to rounding near 0 only: the search must find a refuting angle and simplify it."""
    found = refute(SMALL, examples=60)
    assert found is not None
    assert found.check.refuted
    assert found.p.n == 1, "the irrelevant field shrinks to its simplest value"
    namespace: dict = {}
    exec(found.replay.partition(";")[0], namespace)
    assert f'"{SMALL.id}"' in found.replay


def test_refute_finds_a_rare_counterexample_by_climbing_the_margin():
    @measurement
    def needle(p, stream):
        return {"y": 1.0 + 3e-15 * max(0.0, 1 - abs(p.angle - 2.0) / 0.05) * 10}

    law = replace(DOUBLE, id="test/needle", measure=needle, predict=lambda p: 1.0)
    found = refute(law, examples=400)
    assert found is not None
    assert abs(found.p.angle - 2.0) < 0.05


def test_refute_finds_nothing_against_a_true_law():
    assert refute(DOUBLE, examples=60) is None


# ---------------------------------------------------------------------- conformance


def test_conformance_of_a_good_law():
    assert conformance(DOUBLE) == []
    assert conformance(COIN) == []
    assert conformance(STEP) == []


def test_conformance_finds_every_broken_rule():
    def no_reason(p):
        return 4.0

    state = {"calls": 0}

    @measurement
    def impure(p, stream):
        state["calls"] += 1
        return {"y": math.sin(2 * p.angle) + 1e-9 * state["calls"]}

    law = replace(
        DOUBLE, measure=impure, statement="", predict=lambda p: math.sin(2 * p.angle), params=Angle,
        claim=Equality(of="y", rounding=no_reason, scale=1.0), controls={"same": but(statement="nothing changed")},
    )  # fmt: skip
    with pytest.raises(ConformanceError) as caught:
        conformance(law)
    text = str(caught.value)
    for words in ("no derivation", "same seed gives other values"):
        assert words in text


def test_classification_law_resolution_counts_labels():
    law = replace(
        STEP, claim=Classification(of="high"), predict=lambda p: p.angle > 2.0, draws=Draws(shapes=80, values=1),
        controls={"elsewhere": but(measure=partial(above, at=2.5))},
    )  # fmt: skip
    found = law.check()
    assert len(found.groups) > 70
    assert found.verdict.resolution == pytest.approx(1 - 1e-3 ** (1 / len(found.groups)))
