"""Claims about values: Equality, Bound, Classification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from lab.claims.region import Acceptance, Amount, Evidence, Verdict, amount, decide
from lab.claims.statistics import LEVEL, clopper_pearson, student_quantile

__all__ = ["Bound", "Claim", "Classification", "Equality"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """How a prediction is compared with what was observed; yields an acceptance region.

    Attributes
    ----------
    of : str
        The observable ("value" for a bare number).
    resolve : float
        Inside the region, a resolution worse than this is *undecided*.
    scale : number or function of (p) or (p, data)
        What relative errors are relative to; default ``|predicted|``. Give it where a prediction can be 0.
    """

    of: str = "value"
    resolve: float = 0.1
    scale: Amount | None = None

    kind: ClassVar[str] = ""

    @property
    def statistical(self) -> bool:
        """Whether a refutation must be repeated by fresh replicates."""
        return False

    @property
    def axis_name(self) -> str:
        """The field or observable along which the claim runs; empty for claims about single points."""
        return ""

    def accept(self, evidence: Evidence, predicted: Any) -> Acceptance:
        """The acceptance region of one group."""
        raise NotImplementedError

    def judge(self, region: Acceptance) -> Verdict:
        """The verdict of one group."""
        return decide(region, self.resolve)

    def law_level(self, groups: Sequence[Verdict]) -> Verdict:
        """The verdict of all groups: refuted if any is, undecided if any is non-finite or none holds."""
        refuted = [g for g in groups if g.refuted]
        held = [g for g in groups if g.holds]
        broken = [g for g in groups if g.verdict == "undecided" and g.margin is None and g.judged]
        resolution = min((g.resolution for g in (held or groups) if g.resolution is not None), default=None)
        worst = max(groups, key=lambda g: -1.0 if g.margin is None else g.margin, default=Verdict("undecided"))
        if refuted:
            lead, word = max(refuted, key=lambda g: g.margin or 0.0), "refuted"
            resolution = min((g.resolution for g in groups if g.resolution is not None), default=None)
            reason = f"{len(refuted)} of {len(groups)} groups; worst: {lead.reason}"
        elif broken or not held:
            lead, word = (broken or list(groups) or [worst])[0], "undecided"
            reason = f"{len(broken)} of {len(groups)} groups not finite: {lead.reason}" if broken else lead.reason
        else:
            lead, word = worst, "holds"
            undecided = len(groups) - len(held)
            reason = f"{undecided} of {len(groups)} groups undecided" if undecided else ""
        return Verdict(
            word, reason, worst.margin, resolution, index=lead.index, predicted=lead.predicted, measured=lead.measured,
            low=lead.low, high=lead.high, tolerance=lead.tolerance, source=lead.source or worst.source,
            judged=sum(g.judged for g in groups), total=sum(g.total for g in groups),
        )  # fmt: skip

    def derivations(self) -> dict[str, str]:
        """Source of tolerance -> where it comes from, in the words of the functions given."""
        found = {}
        for name in ("rounding", "finite_size", "stated", "shift"):
            spec = getattr(self, name, None)
            if spec is not None:
                text = " ".join((spec.__doc__ or "").split()) if callable(spec) else f"{spec:g}"
                found[name.replace("_", " ")] = text
        return found


@dataclass(frozen=True, kw_only=True)
class Equality(Claim):
    """Prediction and measurement are equal.

    Attributes
    ----------
    over : "each", "mean", "fraction", "max" or "min"
        Each replicate; their mean (Student interval); the fraction of true ones (exact binomial interval); or the
        largest or smallest over replicates (the best of many starts).
    given : str, optional
        A boolean observable of the same shape: only where it is true the law says something.
    rounding : in units of the machine epsilon; finite_size, stated : absolute
        Amounts by which the two may differ; numbers or functions of (p) or (p, data).
    """

    over: Literal["each", "mean", "fraction", "max", "min"] = "each"
    given: str | None = None
    rounding: Amount | None = None
    finite_size: Amount | None = None
    stated: Amount | None = None

    kind: ClassVar[str] = "equality"

    @property
    def statistical(self) -> bool:
        return self.over in ("mean", "fraction")

    def accept(self, evidence: Evidence, predicted: Any) -> Acceptance:
        observed = evidence.array(self.of)
        n, shape = observed.shape[0], observed.shape[1:]
        per_replicate = evidence.data is not None and self.over == "each"
        if self.over != "each" and evidence.data is not None and np.shape(predicted)[:1] == (n,):
            predicted = np.mean(np.asarray(predicted, dtype=float), axis=0)
        rows = (n, *shape) if self.over == "each" else shape
        parts = _parts(self, evidence, rows, per_replicate)
        statistics: Any = np.zeros(rows)
        judged: Any = np.ones(rows, dtype=bool)
        if self.given is not None:
            condition = _as_rows(evidence.array(self.given).astype(bool), (n, *shape))
            judged = condition if self.over == "each" else condition.all(0)
        level = LEVEL / max(1, int(judged.sum()))
        values = observed.astype(float)
        low_error = high_error = None
        if self.over == "each":
            measured: np.ndarray = values
        elif self.over == "mean":
            measured = values.mean(0)
            spread = values.std(0, ddof=1) if n > 1 else np.zeros(shape)
            statistics = student_quantile(n, level) * spread / np.sqrt(n) if n > 1 else np.full(shape, np.inf)
        elif self.over == "fraction":
            measured = values.mean(0)
            low, high = clopper_pearson(values.sum(0), n, level)
            low_error, high_error = measured - low, high - measured
            statistics = np.maximum(low_error, high_error)
        else:
            measured = values.max(0) if self.over == "max" else values.min(0)
        if self.statistical:
            parts["statistics"] = statistics
        slack: np.ndarray = sum((v for k, v in parts.items() if k != "statistics"), start=np.zeros(rows))
        low_error = statistics if low_error is None else low_error
        high_error = statistics if high_error is None else high_error
        return _region(
            self, evidence, predicted, measured, measured - slack - low_error, measured + slack + high_error,
            judged, parts, per_replicate,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bound(Claim):
    """The prediction bounds every measurement from above (``side="upper"``) or below.

    The resolution is the slack at the closest approach. With `resolve` attainment is claimed: the law is undecided
    unless some group comes this close (give an example that attains the bound); the others only must not cross it.
    """

    side: Literal["upper", "lower"] = "upper"
    given: str | None = None
    rounding: Amount | None = None
    stated: Amount | None = None
    resolve: float = float("inf")

    kind: ClassVar[str] = "bound"

    def accept(self, evidence: Evidence, predicted: Any) -> Acceptance:
        measured = evidence.array(self.of).astype(float)
        parts = _parts(self, evidence, measured.shape, True)
        slack = sum(parts.values(), start=np.zeros(measured.shape))
        judged = np.ones(measured.shape, dtype=bool)
        if self.given is not None:
            judged = _as_rows(evidence.array(self.given).astype(bool), measured.shape)
        unbounded = np.full(measured.shape, np.inf)
        low, high = (measured - slack, unbounded) if self.side == "upper" else (-unbounded, measured + slack)
        return _region(self, evidence, predicted, measured, low, high, judged, parts, True)

    def judge(self, region: Acceptance) -> Verdict:
        return decide(region, float("inf"))

    def law_level(self, groups: Sequence[Verdict]) -> Verdict:
        overall = super().law_level(groups)
        if not overall.holds:
            return overall
        error = float("inf") if overall.resolution is None else overall.resolution
        if error <= self.resolve:
            return overall
        reason = f"attainment is claimed, but a bound wrong by {error:.2g} would pass too (needs {self.resolve:.2g})"
        return replace(overall, verdict="undecided", reason=reason)


@dataclass(frozen=True, kw_only=True)
class Classification(Claim):
    """Labels are equal.

    Attributes
    ----------
    distance : function of (p), optional
        Signed relative distance to the predicted boundary. The resolution is then the smallest distance judged on
        the worse of the two sides: a boundary shifted by this much would have been refuted. Without it, the error
        rate that the n judged labels exclude, ``1 - LEVEL**(1/n)``. A label has no interval of its own, so the
        resolution exists for the whole law only.
    joint : bool
        The labels of one point are not independent of each other: n counts points.
    """

    distance: Callable[[Any], float] | None = None
    given: str | None = None
    joint: bool = False

    kind: ClassVar[str] = "classification"

    def accept(self, evidence: Evidence, predicted: Any) -> Acceptance:
        measured = evidence.array(self.of).astype(float)
        judged = np.ones(measured.shape, dtype=bool)
        if self.given is not None:
            judged = _as_rows(evidence.array(self.given).astype(bool), measured.shape)
        parts = {"exact": np.zeros(measured.shape)}
        distance = None if self.distance is None else np.full(measured.size, float(self.distance(evidence.p)))
        region = _region(self, evidence, predicted, measured, measured, measured, judged, parts, True)
        return Acceptance(**{**vars(region), "distance": distance, "scale": np.ones(measured.size)})

    def judge(self, region: Acceptance) -> Verdict:
        return Verdict(**{**vars(decide(region, self.resolve, per_group_resolution=False)), "resolution": None})

    def law_level(self, groups: Sequence[Verdict]) -> Verdict:
        overall = super().law_level(groups)
        if overall.verdict == "undecided":
            return overall
        if self.distance is None:
            count = sum(g.judged > 0 for g in groups) if self.joint else overall.judged
            resolution = 1 - LEVEL ** (1 / max(1, count))
            what = f"an error rate of {resolution:.2g} would pass too"
        else:
            gaps = np.concatenate([g.distance for g in groups if g.distance is not None and g.judged])
            sides = [np.min(np.abs(side), initial=np.inf) for side in (gaps[gaps > 0], gaps[gaps < 0])]
            resolution = float(max(sides))
            what = f"a boundary shifted by {resolution:.2g} would pass too"
        reason, word = overall.reason, overall.verdict
        if word == "holds" and resolution > self.resolve:
            word, reason = "undecided", f"{what} (needs {self.resolve:.2g})"
        return Verdict(**{**vars(overall), "verdict": word, "reason": reason, "resolution": resolution})


# ---------------------------------------------------------------------- shared


def _as_rows(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Broadcast a condition per replicate over the elements of an observable."""
    return np.broadcast_to(a.reshape(a.shape + (1,) * (len(shape) - a.ndim)), shape)


def _spread(value: Any, evidence: Evidence, shape: tuple[int, ...], per_replicate: bool) -> np.ndarray:
    """An amount as an array of `shape`; with a situation, one amount per replicate along the first axis."""
    a = np.asarray(value, dtype=float)
    if per_replicate and evidence.data is not None and a.ndim < len(shape) and a.shape[:1] == (len(evidence.data),):
        a = a.reshape(a.shape + (1,) * (len(shape) - a.ndim))
    return np.broadcast_to(a, shape)


def _evaluate(spec: Amount | None, evidence: Evidence, per_replicate: bool) -> Any:
    """An amount, per replicate where it depends on the situation (the largest of them otherwise)."""
    if spec is None or evidence.data is None or not callable(spec):
        return amount(spec, evidence.p, None)
    values = np.stack([np.asarray(amount(spec, evidence.p, one), dtype=float) for one in evidence.data])
    return values if per_replicate else values.max(0)


def _parts(claim: Any, evidence: Evidence, shape: tuple[int, ...], per_replicate: bool) -> dict[str, np.ndarray]:
    parts = {}
    for name, unit in (("rounding", evidence.epsilon), ("finite_size", 1.0), ("stated", 1.0)):
        spec = getattr(claim, name, None)
        if spec is not None:
            value = _evaluate(spec, evidence, per_replicate)
            parts[name.replace("_", " ")] = unit * _spread(value, evidence, shape, per_replicate)
    return parts or {"rounding": np.zeros(shape)}


def _region(
    claim: Any, evidence: Evidence, predicted: Any, measured: np.ndarray, low: np.ndarray, high: np.ndarray,
    judged: np.ndarray, parts: dict[str, np.ndarray], per_replicate: bool,
) -> Acceptance:  # fmt: skip
    from lab.errors import InputError

    shape = measured.shape
    try:
        predicted = _spread(predicted, evidence, shape, per_replicate)
    except ValueError:
        raise InputError(
            f"predict gave shape {np.shape(predicted)} for observable {claim.of!r} of shape {shape[1:]} "
            f"({shape[0] if shape else 1} replicates); return one value per element"
        ) from None
    scale = np.abs(predicted)
    if claim.scale is not None:
        scale = _spread(_evaluate(claim.scale, evidence, per_replicate), evidence, shape, per_replicate)
    flat = {k: np.ravel(v) for k, v in parts.items()}
    replicates = shape[0] if getattr(claim, "over", "each") == "each" and shape else 1
    return Acceptance(
        np.ravel(predicted), np.ravel(low), np.ravel(high), np.ravel(measured), np.ravel(judged), flat,
        np.ravel(np.abs(scale)), evidence.epsilon, shape, replicates=replicates,
    )  # fmt: skip
