"""The acceptance region of a claim, and the one function that turns it into a verdict."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

__all__ = ["Acceptance", "Amount", "Evidence", "Verdict", "amount", "decide"]

Amount = float | Callable[..., Any]
"""A number, or a function of (p) or (p, data) whose docstring says where the amount comes from."""


@dataclass(frozen=True)
class Evidence:
    """What was observed in one group, as a claim sees it.

    Attributes
    ----------
    p : Params
        The point; along an external axis, its first point.
    observed : mapping of arrays
        ``(n, ...)`` with `n` replicates; along an external axis ``(A, n, ...)``.
    x : array (A,) or None
        Values of an external axis.
    data : sequence of mappings or None
        The situation of each replicate (``n`` of them), when the law has one.
    epsilon : float
        Machine epsilon of the precision in which the rows were measured.
    """

    p: Any
    observed: Mapping[str, np.ndarray]
    x: np.ndarray | None = None
    data: Sequence[Any] | None = None
    epsilon: float = float(np.finfo(float).eps)

    def array(self, name: str) -> np.ndarray:
        """An observable by name, with the nearest names if it does not exist."""
        from lab.errors import nearest

        if name not in self.observed:
            raise nearest("observable", name, self.observed)
        return np.asarray(self.observed[name])


@dataclass(frozen=True)
class Acceptance:
    """Any prediction in ``[low, high]`` would have passed; arrays over elements, one-dimensional.

    `parts` are the amounts by source that make up the allowance; `distance` belongs to classifications.
    """

    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray
    measured: np.ndarray
    judged: np.ndarray
    parts: Mapping[str, np.ndarray]
    scale: np.ndarray
    epsilon: float
    shape: tuple[int, ...] = ()
    distance: np.ndarray | None = None
    note: str = ""
    replicates: int = 1
    """Leading part of the elements that are repetitions of the same quantity."""

    @property
    def source(self) -> str:
        """The source of the largest part of the allowance at the judged elements."""
        sizes = {name: _largest(part, self.judged) for name, part in self.parts.items()}
        return max(sizes, key=lambda name: sizes[name], default="exact")

    def element(self, i: int) -> Acceptance:
        """The region of one element alone."""
        one = slice(i, i + 1)
        return replace(
            self, predicted=self.predicted[one], low=self.low[one], high=self.high[one], scale=self.scale[one],
            measured=self.measured[one], judged=self.judged[one], shape=(),
            distance=None if self.distance is None else self.distance[one],
            parts={k: v[one] for k, v in self.parts.items()},
        )  # fmt: skip

    def widen(self, error: np.ndarray) -> Acceptance:
        """The region widened by the prediction's own error."""
        error = np.broadcast_to(np.abs(error), self.predicted.shape).astype(float)
        return replace(
            self, low=self.low - error, high=self.high + error, parts={**self.parts, "prediction": error}
        )  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """Holds, refuted or undecided, and how much that is worth."""

    verdict: str
    reason: str = ""
    margin: float | None = None
    """Worst ``|predicted - measured| / allowance``; at most 1 inside the region."""
    resolution: float | None = None
    """Smallest relative error of the prediction that this check would have refuted (of a refuted one: would refute)."""
    judged: int = 0
    total: int = 0
    index: tuple[int, ...] | int | None = None
    predicted: float | None = None
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    tolerance: float | None = None
    source: str = ""
    flagged: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool), repr=False, compare=False)
    distance: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def refuted(self) -> bool:
        """Whether a judged prediction lies outside its acceptance region."""
        return self.verdict == "refuted"

    @property
    def holds(self) -> bool:
        """Whether every judged prediction lies inside a region narrow enough to mean something."""
        return self.verdict == "holds"


def decide(region: Acceptance, resolve: float, *, per_group_resolution: bool = True) -> Verdict:
    """The verdict of one region.

    Refuted: a judged element's prediction lies outside. Undecided: nothing judged, something non-finite, or inside
    with a resolution worse than `resolve`. Holds: otherwise.
    """
    judged = region.judged
    total, count = judged.size, int(judged.sum())
    base = Verdict("undecided", judged=count, total=total, source=region.source, distance=region.distance)
    if count == 0:
        return replace(base, reason=region.note or "nothing judged: the law's condition held nowhere")
    floor = region.epsilon * np.maximum(region.scale, np.finfo(float).tiny)
    low, high = np.minimum(region.low, region.measured - floor), np.maximum(region.high, region.measured + floor)
    broken = judged & ~(np.isfinite(region.predicted) & np.isfinite(region.measured) & ~np.isnan(low) & ~np.isnan(high))
    if broken.any():
        at = int(np.flatnonzero(broken)[0])
        what = "prediction" if not np.isfinite(region.predicted[at]) else "measurement"
        reason = f"{what} not finite at {int(broken.sum())} of {count} judged elements, first {_index(region, at)}"
        return replace(base, reason=reason, index=_index(region, at))

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        up, down = region.predicted > region.measured, region.predicted < region.measured
        allowance = np.where(up, high - region.measured, region.measured - low)
        gap = np.abs(region.predicted - region.measured)
        margin = np.where(up | down, gap / allowance, 0.0)
        outside = judged & ((region.predicted < low) | (region.predicted > high))
        # a prediction outside tells nothing about the width: there the region is read from the measured value
        centre = np.where(outside, region.measured, region.predicted)
        above, below = high - centre, centre - low
        reach = np.where(np.isinf(above), below, np.where(np.isinf(below), above, np.maximum(above, below)))
        finest = np.where(region.scale > 0, reach / region.scale, np.inf)
    resolution = float(np.min(finest[judged]))
    worst = int(np.argmax(np.where(judged, np.where(outside, np.maximum(margin, 1.0), margin), -np.inf)))
    width = high[worst] - low[worst]
    found = replace(
        base, verdict="holds", reason=region.note, margin=float(margin[worst]), resolution=resolution,
        index=_index(region, worst),
        predicted=float(region.predicted[worst]), measured=float(region.measured[worst]),
        low=float(low[worst]), high=float(high[worst]),
        tolerance=float(width / 2 if np.isfinite(width) else np.nanmin([above[worst], below[worst]])),
        flagged=outside,
    )  # fmt: skip
    if outside.any():
        accepts = f"accepts [{found.low:.6g}, {found.high:.6g}]"
        reason = f"predicted {found.predicted:.6g}, measured {found.measured:.6g} {accepts}"
        return replace(found, verdict="refuted", reason=reason)
    if per_group_resolution and resolution > resolve:
        reason = f"a prediction wrong by {resolution:.2g} would pass too (needs {resolve:.2g})"
        return replace(found, verdict="undecided", reason=reason)
    return found


def amount(spec: Amount | None, p: Any, data: Any) -> Any:
    """The value of a number or of a function of (p) or (p, data)."""
    if spec is None:
        return 0.0
    if not callable(spec):
        return spec
    return spec(p) if len(inspect.signature(spec).parameters) == 1 else spec(p, data)


def _index(region: Acceptance, i: int) -> tuple[int, ...] | int:
    if len(region.shape) > 1:
        return tuple(int(j) for j in np.unravel_index(i, region.shape))
    return i


def _largest(part: np.ndarray, judged: np.ndarray) -> float:
    chosen = part[judged] if judged.any() else part
    return float(np.max(chosen, initial=0.0))
