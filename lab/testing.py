"""Conformance: what every law must be able to do, one's own laws included.

>>> import lab
>>> from lab.testing import conformance
>>> conformance(lab.find("mcr2/critical-singular-values"))
[]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lab.law import Law
    from lab.params import Params
    from lab.sweeps.engine import Engine

__all__ = ["ConformanceError", "conformance"]


class ConformanceError(AssertionError):
    """A law breaks a rule that every law must keep."""


def conformance(
    law: Law, *, points: int = 4, seed: int = 0, measurement: bool = True, controls: bool = True,
    engine: Engine | None = None,
) -> list[str]:  # fmt: skip
    """Check the rules that every law must keep; raise with all that are broken, or return an empty list.

    Checked are: a source and a statement; a derivation (docstring) for every tolerance given as a function; a domain
    that can be sampled and whose points survive their canonical text; a finite prediction on it; a measurement that
    runs (jits and vmaps, if it is a JAX one) and gives the same bits for the same seed, whether points are measured
    together or alone (of an iterated one, in its first turn); and, with `controls`, the expected verdict of the law and
    of each of its controls.

    Parameters
    ----------
    points : int
        Points of the domain tried (the law's examples first); at most two of JAX measurements, where a point alone
        costs as much as a block.
    measurement : bool
        Try the measurement; one that another law shares need not be tried again.
    controls : bool
        Also judge the law and its controls (the costly part).
    engine : Engine, optional
        Measures with it: laws of one measurement share rows through it. By default a new one.

    Raises
    ------
    ConformanceError
        With one sentence per broken rule.
    """
    from lab.sweeps.engine import Engine

    engine = engine or Engine()
    found: list[str] = []
    if not str(law.source).strip():
        found.append("has no source")
    if not law.words:
        found.append("has no statement: give statement=..., or a docstring to predict")
    for part, text in law.claim.derivations().items():
        if not text:
            found.append(f"its tolerance {part!r} has no derivation: give the function a docstring")
    iterated = law.plan.measurement.turns is not None
    chosen = _points(law, min(points, 2) if law.plan.measurement.runs == "jax" else points, seed, found)
    if chosen:
        quick, own = (_shortened(law), Engine()) if iterated else (law, engine)
        if measurement or not iterated:
            _predictions(quick, chosen, seed, found, own)
        if measurement:
            _measurement(quick, chosen, seed, found, own)
    if controls:
        for name in (None, *law.controls):
            check = law.check(control=name, seed=seed, engine=engine)
            if not check.as_expected:
                what = "the law" if name is None else f"its control {name!r}"
                verdict = check.verdict
                found.append(f"{what} is {verdict.verdict}, expected {check.law.expected}: {verdict.reason}")
    if found:
        raise ConformanceError(f"{law.id}: " + "; ".join(found))
    return found


def _shortened(law: Law) -> Law:
    """A law of an iterated measurement with one turn instead of all: bits depend on the draws in every turn alike.

    Long training runs are done once, for the verdicts. The rows are not those of the law: keep them out of its engine.
    """
    from dataclasses import replace
    from functools import partial

    plan = law.plan
    one = replace(plan.measurement, turns=lambda p: 1)
    return replace(law, measure=partial(one, **dict(plan.knobs)))


def _points(law: Law, count: int, seed: int, found: list[str]) -> list[Params]:
    rng = np.random.default_rng([seed, *law.id.encode()])
    points = list(law.examples[:count])
    try:
        if law.expected != "refuted":
            while len(points) < count:
                # one shape for a JAX measurement: every further one would be compiled
                fixed = dict(points[0].static()) if points and law.plan.measurement.runs == "jax" else {}
                points.append(law.params.sample(rng, fixed))
    except ValueError as error:
        found.append(f"its domain cannot be sampled: {error}")
    for p in points:
        again = type(p)(**p.values())
        if again.canonical() != p.canonical():
            found.append(f"the point {p!r} does not survive its own values")
    return points


def _predictions(law: Law, points: list[Params], seed: int, found: list[str], engine: Engine) -> None:
    from lab.judge import judge, with_axis

    for group in judge(law, with_axis(law, points[:1]), max(1, min(2, law.draws.replicates)), seed, engine):
        if group.region is None:
            found.append(f"at {group.at}: {group.verdict.reason}")
        elif not np.isfinite(group.region.predicted[group.region.judged]).all():
            found.append(f"its prediction is not finite at {group.at}")


def _measurement(law: Law, points: list[Params], seed: int, found: list[str], engine: Engine) -> None:
    from lab.sweeps.engine import Engine

    def run(engine: Engine, chosen: list[Params]) -> list[dict[str, np.ndarray]]:
        rows = engine.measure(law.plan, chosen, [0, 1], seed)
        failed = [row.failure for row in rows if row.failure and not row.failure.startswith("non-finite")]
        if failed:
            found.append(f"its measurement failed: {failed[0]}")
        return [row.observed for row in rows]

    together = run(engine, points)
    alone = [row for p in points for row in run(Engine(), [p])]
    if _same(together, alone):
        return
    if _same(together, run(Engine(), points)):
        found.append("points measured together and alone differ: a draw depends on the order of the calls")
    else:
        found.append("the same seed gives other values")


def _same(a: list[dict[str, np.ndarray]], b: list[dict[str, np.ndarray]]) -> bool:
    """Equal to the last bit, NaN included."""
    return all(
        np.array_equal(left[name], right[name], equal_nan=left[name].dtype.kind == "f")
        for left, right in zip(a, b, strict=True)
        for name in left
    )
