"""Claims about curves along an axis: Crossover, Limit, Rate.

The axis is external (a field of the parameters, one row per value) or internal (an array that the measurement
returns, such as the times of a flow).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from lab.claims.region import Acceptance, Amount, Evidence, amount
from lab.claims.statistics import LEVEL, bootstrap_error, jackknife, student_quantile
from lab.claims.values import Claim
from lab.errors import InputError

__all__ = ["Crossover", "Limit", "Rate"]


@dataclass(frozen=True, kw_only=True)
class _Curve(Claim):
    """What claims along an axis have in common."""

    along: str = ""
    stated: Amount | None = None
    axis: Callable[[Any], Any] | None = None

    @property
    def axis_name(self) -> str:
        return self.along


@dataclass(frozen=True, kw_only=True)
class _Extrapolated(_Curve):
    """A curve judged by its extrapolation along the axis.

    `rounding` is the relative error of each value in units of the machine epsilon (default 1); the fit carries it on.
    """

    order: float | Callable[[np.ndarray], np.ndarray] = 1.0
    rounding: Amount | None = None
    floor: Amount | None = None

    @property
    def statistical(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class Crossover(_Curve):
    """A curve along an axis crosses a level at the predicted location.

    Attributes
    ----------
    along : str
        Field of the parameters, or observable, that is the axis.
    level : number or sequence
        Threshold, or several: one location each.
    falling : bool
        Whether the curve starts above the level. Without a crossing in the scanned range this says on which side of
        it the location lies: a prediction inside the range is refuted.
    sharp : bool
        A jump: the location is known to the grid bracket. Otherwise linear interpolation, with the error
        ``h^2 |y''| / (8 |y'|)`` of the bracket, at most the bracket.
    over : "mean" or "each"
        Crossing of the curve averaged over replicates, with a bootstrap over whole replicates; or of each replicate's
        own curve, which has no statistical error.
    shift : function of (p), optional
        ``(below, above)``: by how much the measurement may report the location too low, too high (finite time).
    axis : function of (p), optional
        Values of the axis in a check; a study's grid gives its own.
    """

    level: Any = 0.5
    falling: bool = True
    sharp: bool = False
    over: Literal["mean", "each"] = "mean"
    shift: Callable[[Any], tuple[float, float]] | None = None

    kind: ClassVar[str] = "crossover"

    @property
    def statistical(self) -> bool:
        return self.over == "mean"

    def accept(self, evidence: Evidence, predicted: Any) -> Acceptance:
        x, y = _curve(self, evidence)
        levels = np.asarray(self.level, dtype=float)
        if levels.ndim:
            y = y[..., None] - levels
        else:
            y = y - levels
        y = y.reshape(*y.shape[:2], -1)
        sign = 1.0 if self.falling else -1.0
        predicted = np.broadcast_to(np.asarray(predicted, dtype=float), (1, y.shape[2]))
        if self.over == "each":  # every replicate is an element of its own
            predicted = np.repeat(predicted, y.shape[1], axis=0)
            y = y.reshape(y.shape[0], 1, -1)
        predicted, n = predicted.ravel(), y.shape[1]
        mean = sign * y.mean(1)
        low, high, measured, interpolation = _locate(x, mean, self.sharp)
        count = measured.size
        statistics = np.zeros(count)
        if n > 1:
            error = bootstrap_error(lambda m: _locate(x, sign * m, self.sharp)[2], y)
            statistics = student_quantile(n, LEVEL / max(1, count)) * error
        below, above = (0.0, 0.0) if self.shift is None else self.shift(evidence.p)
        stated = np.broadcast_to(np.asarray(amount(self.stated, evidence.p, None), dtype=float), (count,))
        parts = {"finite size": interpolation + max(below, above)}
        if self.over == "mean":
            parts["statistics"] = statistics
        if self.stated is not None:
            parts["stated"] = stated
        scale = np.abs(predicted)
        if self.scale is not None:
            scale = np.broadcast_to(np.asarray(amount(self.scale, evidence.p, None), dtype=float), (count,))
        finite = np.isfinite(mean).all(0)
        measured = np.where(finite, measured, np.nan)
        return Acceptance(
            predicted, low - above - statistics - stated, high + below + statistics + stated, measured,
            np.ones(count, dtype=bool), parts, scale, evidence.epsilon, (count,),
            replicates=evidence.array(self.of).shape[1] if self.over == "each" and evidence.x is not None else 1,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Limit(_Extrapolated):
    """Along an axis the measurement approaches the prediction.

    The deviation (ratio minus one, or difference) is fitted by ``d + a x**-order`` on all points and on the last
    half; `d` is the limit, its finite-size error the change between the two fits. Says nothing about the order:
    test that with ``Rate(deviation=True)``.

    Attributes
    ----------
    order : number or function of x
        Exponent of the next term, or the term itself, such as ``lambda x: np.log(x) / x``.
    rounding : number or function of (p), optional
        Relative error of each value in units of the machine epsilon; default 1.
    as_ : "ratio" or "difference"
        Statements ``p ~ f(N)(1 + o(1))`` are about ratios.
    floor : function of (p), optional
        Error of the measurement (a solver's, say); points whose deviation is below ten times it are dropped.
    """

    as_: Literal["ratio", "difference"] = "ratio"

    kind: ClassVar[str] = "limit"

    def accept(self, evidence: Evidence, predicted: Any) -> Acceptance:
        x, y = _curve(self, evidence)
        target = _along(predicted, x, y)
        ratio = self.as_ == "ratio"
        deviation = y / target - 1 if ratio else y - target
        noise = _rounding(self, evidence) * (np.abs(y) + np.abs(target)) / (np.abs(target) if ratio else 1.0)
        fit = _extrapolate(self, evidence, x, deviation, noise)
        centre = 1.0 if ratio else 0.0
        fit = fit._replace(limit=centre + fit.limit)
        return _fitted(self, evidence, np.full(fit.limit.shape, centre), fit, centre or None)


@dataclass(frozen=True, kw_only=True)
class Rate(_Extrapolated):
    """Along an axis the measurement is a power law (or, `semilog`, an exponential) with the predicted exponent.

    The exponent is the limit of local slopes ``dlog|y| / dlog x`` (``dlog|y| / dx``), extrapolated as in `Limit`.
    With ``deviation=True`` the prediction is a mapping with keys "limit" (values along the axis) and "rate"; the
    slopes are those of the deviation from the limit, so a claimed order is itself tested.
    """

    semilog: bool = False
    deviation: bool = False

    kind: ClassVar[str] = "rate"

    def accept(self, evidence: Evidence, predicted: Any) -> Acceptance:
        x, y = _curve(self, evidence)
        exponent, target = predicted, np.zeros(())
        if self.deviation:
            exponent, target = predicted["rate"], _along(predicted["limit"], x, y)
        noise = _rounding(self, evidence) * (np.abs(y) + np.abs(target))
        fit = _extrapolate(self, evidence, x, y - target, noise, slopes=True)
        exponent = np.broadcast_to(np.asarray(exponent, dtype=float), fit.limit.shape)
        return _fitted(self, evidence, exponent, fit, None)


# ---------------------------------------------------------------------- shared


def _curve(claim: Any, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Axis (A,) and curve (A, n, ...), sorted along the axis."""
    y = evidence.array(claim.of).astype(float)
    if evidence.x is not None:
        x = np.asarray(evidence.x, dtype=float)
    else:
        axes = evidence.array(claim.along).astype(float)
        x, y = axes.reshape(axes.shape[0], -1)[0], np.moveaxis(y, 1, 0)
        if not np.allclose(axes, x, rtol=1e-12, atol=0):
            raise InputError(f"axis {claim.along!r} differs between replicates; return the same array from each")
    if x.size < 2:
        raise InputError(f"axis {claim.along!r} has {x.size} value; a curve needs at least 2")
    order = np.argsort(x, kind="stable")
    return x[order], y[order]


def _along(predicted: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Predicted values along the axis, shaped to broadcast against the curve (A, n, ...)."""
    target = np.asarray(predicted(x) if callable(predicted) else predicted, dtype=float)
    if target.ndim == 0:
        return target
    if target.ndim > 1 and target.shape[:2] == (y.shape[1], x.size):  # one curve per replicate, from its situation
        return np.moveaxis(target, 1, 0)
    if target.shape[0] != x.size:
        raise InputError(f"predict gave {target.shape[0]} values along an axis of {x.size}; return one per axis value")
    return target.reshape(target.shape[:1] + (1,) + target.shape[1:] + (1,) * (y.ndim - target.ndim - 1))


def _locate(x: np.ndarray, y: np.ndarray, sharp: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(low, high, measured, half-width) of the place where each column of `y` (A, E) falls through zero.

    Several crossings give the hull of the first and the last. None: the half line beyond the scanned range, with the
    end of the range as the measured value.
    """
    count = y.shape[1]
    low, high = np.full(count, -np.inf), np.full(count, np.inf)
    measured, width = np.full(count, np.nan), np.zeros(count)
    for e in range(count):
        column = y[:, e]
        above = column > 0
        turns = np.flatnonzero(above[:-1] != above[1:])
        if not np.isfinite(column).all():
            continue
        if turns.size == 0:
            if above[0]:
                low[e] = measured[e] = x[-1]
            else:
                high[e] = measured[e] = x[0]
            continue
        ends = []
        for i in (turns[0], turns[-1]):
            h = x[i + 1] - x[i]
            if sharp:
                ends.append((x[i], x[i + 1]))
                continue
            slope = (column[i + 1] - column[i]) / h
            at = x[i] - column[i] / slope
            left, right = (abs(_second_difference(x, column, j)) for j in (i, i + 1))
            bend = max(left, right) + abs(left - right)  # y'' varies over the bracket: allow as much again
            error = min(h, h**2 * bend / (8 * abs(slope)))
            ends.append((at - error, at + error))
        low[e], high[e] = ends[0][0], ends[-1][1]
        measured[e], width[e] = (low[e] + high[e]) / 2, (high[e] - low[e]) / 2
    return low, high, measured, width


def _second_difference(x: np.ndarray, y: np.ndarray, j: int) -> float:
    """Divided second difference at the interior point nearest to j; infinite with two points only."""
    if x.size < 3:
        return float("inf")
    j = min(max(j, 1), x.size - 2)
    left, right = (y[j] - y[j - 1]) / (x[j] - x[j - 1]), (y[j + 1] - y[j]) / (x[j + 1] - x[j])
    return float(2 * (right - left) / (x[j + 1] - x[j - 1]))


def _rounding(claim: Any, evidence: Evidence) -> float:
    """Relative error of each value."""
    units = 1.0 if claim.rounding is None else float(np.max(amount(claim.rounding, evidence.p, None)))
    return units * evidence.epsilon


class _Fit(NamedTuple):
    """Extrapolated limit per element, its half-widths by source, and the number of points used."""

    limit: np.ndarray
    statistics: np.ndarray
    finite_size: np.ndarray
    rounding: np.ndarray
    used: int


def _extrapolate(
    claim: Any, evidence: Evidence, x: np.ndarray, y: np.ndarray, noise: np.ndarray, slopes: bool = False
) -> _Fit:
    """Fit ``d + a * term(x)`` to the curve (or to its local slopes), on all points and on the last half.

    `noise` is the rounding of each value; a `floor` (error of the measurement) above it takes its place. Both are
    carried through the fit: without them an exactly fitted curve would leave no room for the last bit.
    """
    y = y.reshape(*y.shape[:2], -1)
    floor = float(np.max(amount(claim.floor, evidence.p, None)))
    noise = np.maximum(np.broadcast_to(noise.reshape(y.shape), y.shape).max(1), floor)
    used = np.ones(x.size, dtype=bool)
    if floor > 0:
        used = (np.abs(y.mean(1)) >= 10 * floor).all(1)
    x, y, noise = x[used], y[used], noise[used]
    need = 5 if slopes else 4
    if x.size < need:
        blank = np.full(y.shape[2], np.nan)
        return _Fit(blank, blank, blank, blank, int(x.size))
    semilog = getattr(claim, "semilog", False)
    step, at = np.ones(0), x
    if slopes:
        step = (np.diff(x) if semilog else np.diff(np.log(x)))[:, None]
        at = (x[1:] + x[:-1]) / 2 if semilog else np.sqrt(x[1:] * x[:-1])
    term = claim.order(at) if callable(claim.order) else at**-claim.order
    design = np.stack([np.ones(at.size), term / np.max(np.abs(term))], axis=1)
    half = slice(at.size // 2, None)
    weights = [np.linalg.pinv(design)[0], np.linalg.pinv(design[half])[0]]

    def values(mean: np.ndarray) -> np.ndarray:
        if not slopes:
            return mean
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.diff(np.log(np.abs(mean)), axis=0) / step

    def limits(mean: np.ndarray) -> np.ndarray:
        """(2, E): from all points and from the last half."""
        with np.errstate(invalid="ignore"):
            v = values(mean)
            return np.stack([weights[0] @ v, weights[1] @ v[half]])

    both, error = jackknife(limits, y)
    n = y.shape[1]
    quantile = student_quantile(n, LEVEL / y.shape[2]) if n > 1 else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        each = noise if not slopes else (noise / np.abs(y.mean(1)))
        each = each if not slopes else (each[1:] + each[:-1]) / step
        rounding = np.abs(weights[1]) @ each[half] + np.abs(weights[0]) @ each
    return _Fit(both[1], quantile * error[1], np.abs(both[1] - both[0]), rounding, int(x.size))


def _fitted(claim: Any, evidence: Evidence, predicted: np.ndarray, fit: _Fit, scale: float | None) -> Acceptance:
    measured = fit.limit
    stated = np.broadcast_to(np.asarray(amount(claim.stated, evidence.p, None), dtype=float), measured.shape)
    width = fit.statistics + fit.finite_size + fit.rounding + stated
    sizes = np.abs(predicted) if scale is None else np.full(measured.shape, scale)
    if claim.scale is not None:
        sizes = np.broadcast_to(np.asarray(amount(claim.scale, evidence.p, None), dtype=float), measured.shape)
    parts = {"finite size": fit.finite_size, "statistics": fit.statistics, "rounding": fit.rounding}
    if claim.stated is not None:
        parts["stated"] = stated
    enough = fit.used >= (5 if claim.kind == "rate" else 4)
    note = "" if enough else f"only {fit.used} points above ten times the measurement's error: too few for a fit"
    return Acceptance(
        predicted, measured - width, measured + width, measured, np.full(measured.shape, enough), parts, sizes,
        evidence.epsilon, measured.shape, note=note,
    )  # fmt: skip
