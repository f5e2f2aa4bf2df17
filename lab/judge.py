"""From rows to verdicts: groups, evidence, two stages, and the check of one law."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.claims import Acceptance, Evidence, Verdict
from lab.errors import InputError
from lab.measure import Measurement, Plan

if TYPE_CHECKING:
    from lab.law import Law
    from lab.params import Params
    from lab.sweeps.engine import Engine

__all__ = ["Check", "Judged", "check", "judge", "with_axis"]

_SHORT = 16  # a vector up to this length gets one verdict row per element


@dataclass(frozen=True)
class Judged:
    """One group: the point (along an external axis, its other fields), the verdict and the region behind it."""

    p: Params
    at: dict[str, Any]
    verdict: Verdict
    region: Acceptance | None

    def elements(self, claim: Any) -> list[Verdict]:
        """One verdict per element of a short vector, each with its own resolution; else the group's.

        Replicates judged one by one are not elements: the group's verdict names the worst.
        """
        region = self.region
        if region is None or region.replicates > 1 or not 1 < region.judged.size <= _SHORT:
            return [self.verdict]
        found = []
        for i in range(region.judged.size):
            one = claim.judge(region.element(i))
            if one.refuted and not self.verdict.flagged[i : i + 1].any():  # not repeated by fresh replicates
                one = replace(one, verdict="holds", reason="not repeated by fresh replicates")
            found.append(replace(one, index=i))
        return found


@dataclass(frozen=True)
class Check:
    """Verdict of a law, or of one of its controls, over a set of points."""

    law: Law
    verdict: Verdict
    groups: list[Judged]
    seconds: float
    seed: int = 0

    @property
    def refuted(self) -> bool:
        """Whether some group is refuted."""
        return self.verdict.refuted

    @property
    def holds(self) -> bool:
        """Whether some group holds and none is refuted or non-finite."""
        return self.verdict.holds

    @property
    def as_expected(self) -> bool:
        """Laws hold; controls and printed errata are refuted."""
        return self.verdict.verdict == self.law.expected

    def worst(self) -> Judged:
        """The group that decided: a refuted one with the largest margin first."""
        rank = {"refuted": 2, "undecided": 1, "holds": 0}
        return max(self.groups, key=lambda g: (rank[g.verdict.verdict], g.verdict.margin or 0.0))

    def __repr__(self) -> str:
        v = self.verdict
        size = "" if v.resolution is None else f", resolution {v.resolution:.2g}"
        return f"<{self.law.id}: {v.verdict}, {len(self.groups)} groups{size}{', ' + v.reason if v.reason else ''}>"


def check(
    law: Law, points: Sequence[Params] = (), *, seed: int = 0, examples: int | None = None, engine: Engine | None = None
) -> Check:
    """Judge a law at `points`, or at its examples and at points drawn from its domain."""
    from lab.sweeps.engine import Engine

    start = time.perf_counter()
    chosen = list(points) or [*law.examples, *_drawn(law, seed, examples)]
    if not chosen:
        raise InputError(f"law {law.id} has neither examples nor draws; give examples=(...) or Draws(shapes=1)")
    engine = engine or Engine()
    groups = judge(law, with_axis(law, chosen), law.draws.replicates, seed, engine)
    verdict = law.claim.law_level([g.verdict for g in groups])
    return Check(law, verdict, groups, time.perf_counter() - start, seed)


def judge(law: Law, points: Sequence[Params], replicates: int, seed: int, engine: Engine) -> list[Judged]:
    """The verdict of every group among `points`; measures what is missing.

    A refutation of a statistical claim counts only if fresh replicates repeat it on the same elements.
    """
    along = law.claim.axis_name if law.claim.axis_name in law.params.model_fields else None
    grouped: dict[str, list[Params]] = {}
    for p in points:
        grouped.setdefault(p.canonical(drop=(along,) if along else ()), []).append(p)
    found = _regions(law, list(grouped.values()), range(replicates), seed, engine, along)
    doubtful = [i for i, g in enumerate(found) if law.claim.statistical and g.verdict.refuted]
    if doubtful:
        fresh_range = range(replicates, 2 * replicates)
        fresh = _regions(law, [list(grouped.values())[i] for i in doubtful], fresh_range, seed, engine, along)
        for i, again in zip(doubtful, fresh, strict=True):
            found[i] = _confirmed(law, found[i], again)
    return found


def _confirmed(law: Law, first: Judged, again: Judged) -> Judged:
    """Second stage: keep the refutation of those elements only that fresh replicates refute too."""
    unlike = again.verdict.flagged.shape != first.verdict.flagged.shape
    if first.region is None or again.region is None or unlike:
        return again  # the fresh replicates failed, or are not finite: that is what is known
    repeated = first.verdict.flagged & again.verdict.flagged
    if repeated.any():
        worst = law.claim.judge(replace(first.region, judged=repeated))
        counts = {"judged": first.verdict.judged, "total": first.verdict.total, "flagged": repeated}
        return replace(first, verdict=replace(worst, **counts, reason=f"{worst.reason}; repeated by fresh replicates"))
    # one-stage false alarms: judge the rest as usual, leave the alarms out and say so
    alarms = int(first.verdict.flagged.sum())
    rest = law.claim.judge(replace(first.region, judged=first.region.judged & ~first.verdict.flagged))
    reason = f"{alarms} elements outside, not repeated by fresh replicates"
    return replace(first, verdict=replace(rest, reason="; ".join(filter(None, [rest.reason, reason]))))


def _regions(
    law: Law, groups: list[list[Params]], replicates: range, seed: int, engine: Engine, along: str | None
) -> list[Judged]:
    flat = [p for group in groups for p in group]
    rows = engine.measure(law.plan, flat, list(replicates), seed)
    data = _situations(law, flat, replicates, seed, engine) if _needs_data(law) and along is None else None
    found, n = [], len(replicates)
    epsilon = float(np.finfo(law.plan.measurement.precision).eps)
    start = 0
    for group in groups:
        mine = rows[start * n : (start + len(group)) * n]
        own = None if data is None else data[start * n : (start + len(group)) * n]
        start += len(group)
        p = group[0]
        at = {k: v for k, v in p.values().items() if k != along}
        failures = [row.failure for row in mine if row.failure and not row.failure.startswith("non-finite")]
        if failures:
            reason = f"{len(failures)} of {len(mine)} measurements failed: {failures[0]}"
            # judged=1: a failure is something non-finite that the whole law must answer for
            found.append(Judged(p, at, Verdict("undecided", reason, judged=1, total=1), None))
            continue
        observed = {name: np.stack([row.observed[name] for row in mine]) for name in mine[0].observed}
        x = None
        if along is not None:
            x = np.array([getattr(q, along) for q in group], dtype=float)
            observed = {name: a.reshape(len(group), n, *a.shape[1:]) for name, a in observed.items()}
        evidence = Evidence(p, observed, x, own, epsilon)
        try:
            predicted, error = _predicted(law, group, own, along)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as problem:
            if isinstance(problem, InputError):
                raise
            reason = f"predict raised {type(problem).__name__}: {problem}"
            found.append(Judged(p, at, Verdict("undecided", reason, judged=1, total=1), None))
            continue
        region = law.claim.accept(evidence, predicted)
        if error is not None:
            region = region.widen(error)
        found.append(Judged(p, at, law.claim.judge(region), region))
    return found


def _predicted(law: Law, group: list[Params], data: Sequence[Any] | None, along: str | None) -> tuple[Any, Any]:
    """Prediction and its error (None without one) of one group."""
    if _arity(law.predict) > 1:
        if data is None:
            raise InputError(f"law {law.id}: predict takes data, which needs a situation and no external axis")
        return _stacked([law.predict(group[0], one) for one in data])
    if along is not None and law.kind == "limit":
        return _stacked([law.predict(q) for q in group])
    if along is not None and getattr(law.claim, "deviation", False):
        each = [law.predict(q) for q in group]
        return {"limit": np.stack([np.asarray(e["limit"], dtype=float) for e in each]), "rate": each[0]["rate"]}, None
    value = law.predict(group[0])
    return value if isinstance(value, tuple) else (value, None)


def _stacked(values: list[Any]) -> tuple[Any, Any]:
    if callable(values[0]):
        return values[0], None
    pairs = [v if isinstance(v, tuple) else (v, None) for v in values]
    value = np.stack([np.asarray(v, dtype=float) for v, _ in pairs])
    if pairs[0][1] is None:
        return value, None
    return value, np.max([np.max(np.abs(e)) for _, e in pairs])


def _situations(law: Law, points: list[Params], replicates: range, seed: int, engine: Engine) -> list[dict[str, Any]]:
    """The data of every point and replicate, point-major, by the very draws that the measurement saw.

    An engine with a store keeps them: a situation may be the costly part, and a rerun does only what is missing.
    """
    m = law.plan.measurement
    reveal = Plan(Measurement(_reveal, m.runs, 1, m.paired, m.precision), (), law.situation)
    return [row.observed for row in engine.measure(reveal, points, list(replicates), seed)]


def _reveal(p: Any, data: Any, stream: Any) -> Any:
    return data


def _needs_data(law: Law) -> bool:
    if law.situation is None:
        return False
    amounts = [getattr(law.claim, name, None) for name in ("rounding", "finite_size", "stated", "scale")]
    return any(_arity(f) > 1 for f in [law.predict, *amounts] if callable(f))


def _arity(function: Any) -> int:
    return sum(a.kind is not a.KEYWORD_ONLY for a in inspect.signature(function).parameters.values())


def _drawn(law: Law, seed: int, examples: int | None) -> list[Params]:
    """Points drawn by a seeded sampler of our own: the same for everyone."""
    shapes, values = law.draws.shapes, law.draws.values
    if shapes == 0:
        return []
    if examples is not None:
        shapes = min(shapes, max(examples, 0))
        values = -(-examples // shapes) if shapes else 0
    rng = np.random.default_rng([seed, *law.id.encode()])
    fixed_axis = (law.claim.axis_name,) if law.claim.axis_name else ()
    compiled = law.plan.measurement.runs == "jax"
    points: dict[str, Params] = {}
    for _ in range(shapes):
        shape: dict[str, Any] = {}
        for _ in range(values):
            p = law.params.sample(rng, shape)
            if compiled:  # one program per shape: keep the static fields of the first draw
                shape = dict(p.static())
            points.setdefault(p.canonical(drop=fixed_axis), p)
    return list(points.values())[: None if examples is None else examples]


def with_axis(law: Law, points: Sequence[Params]) -> list[Params]:
    """Expand each point along the claim's external axis."""
    along = law.claim.axis_name
    if not along or along not in law.params.model_fields:
        return list(points)
    axis = law.claim.axis  # type: ignore[attr-defined]
    return [p.replace(**{along: value}) for p in points for value in np.asarray(axis(p)).tolist()]
