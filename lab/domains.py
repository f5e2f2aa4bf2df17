"""Ranges of fields, read off their annotations: how to draw from them, as samples or as Hypothesis strategies."""

from __future__ import annotations

import math
import typing
from typing import TYPE_CHECKING, Any

import numpy as np
from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MaxLen, MinLen

from lab.errors import InputError

if TYPE_CHECKING:
    from lab.params import Params

__all__ = ["LogScale", "Static", "Traced", "draw", "marked", "range_text", "strategy"]

_CORNER = 0.15  # share of numbers drawn at an end of their range: theorems break at the edges
_INSIDE = 1e-6  # how far inside an open end a corner lies, relative to the range


class _Marker:
    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class LogScale(_Marker):
    """Sample this number uniformly in its logarithm."""


class Traced(_Marker):
    """Vary this integer inside one compiled program (pad and mask) instead of compiling once per value."""


class Static(_Marker):
    """Compile once per value of this float."""


def marked(field: Any, marker: type) -> bool:
    return any(isinstance(m, marker) for m in field.metadata)


def _bounds(metadata: typing.Iterable[Any]) -> tuple[float | None, bool, float | None, bool]:
    """(low, low is open, high, high is open)."""
    low: Any = None
    high: Any = None
    low_open = high_open = False
    for m in metadata:
        for part in m if isinstance(m, Interval) else (m,):
            if isinstance(part, Ge):
                low, low_open = part.ge, False
            elif isinstance(part, Gt):
                low, low_open = part.gt, True
            elif isinstance(part, Le):
                high, high_open = part.le, False
            elif isinstance(part, Lt):
                high, high_open = part.lt, True
    return low, low_open, high, high_open


def _lengths(metadata: typing.Iterable[Any]) -> tuple[int, int | None]:
    low, high = 0, None
    for m in metadata:
        for part in m if isinstance(m, Len) else (m,):
            if isinstance(part, MinLen):
                low = part.min_length
            elif isinstance(part, MaxLen):
                high = part.max_length
    return low, high


def range_text(field: Any) -> str:
    if typing.get_origin(field.annotation) is typing.Literal:
        return " | ".join(map(repr, typing.get_args(field.annotation)))
    low, low_open, high, high_open = _bounds(field.metadata)
    text = ""
    if low is not None or high is not None:
        left = "(-inf" if low is None else f"{'(' if low_open else '['}{low:g}"
        right = "inf)" if high is None else f"{high:g}{')' if high_open else ']'}"
        text = f"{left}, {right}"
    least, most = _lengths(field.metadata)
    if least or most is not None:
        text = f"{text} length {least} to {'any' if most is None else most}".strip()
    marks = [type(m).__name__ for m in field.metadata if isinstance(m, _Marker)]
    return " ".join([text, *marks]).strip()


def _number(metadata: Any, kind: type, rng: np.random.Generator, default: Any, name: str) -> Any:
    low, low_open, high, high_open = _bounds(metadata)
    if low is None or high is None:
        if default is None:
            raise InputError(f"{name} has no range to draw from; add Ge/Gt and Le/Lt, or a default")
        return default
    log = any(isinstance(m, LogScale) for m in metadata)
    if kind is int:
        first, last = int(low) + bool(low_open), int(high) - bool(high_open)
        if rng.random() < _CORNER:
            return first if rng.random() < 0.5 else last
        if log:
            return min(last, max(first, round(math.exp(rng.uniform(math.log(first), math.log(last))))))
        return int(rng.integers(first, last + 1))
    to, back = (math.log, math.exp) if log else (float, float)
    if log and low <= 0:
        raise InputError(f"{name} is LogScale but its range starts at {low}; give a positive lower end")
    a, b = to(low), to(high)
    pad = _INSIDE * (b - a)
    a_in, b_in = a + pad * low_open, b - pad * high_open
    if rng.random() < _CORNER:
        # exp(log(low)) may miss a closed end by one rounding
        if rng.random() < 0.5:
            return float(low) if not low_open else back(a_in)
        return float(high) if not high_open else back(b_in)
    return min(max(back(rng.uniform(a_in, b_in)), float(low)), float(high))


def draw(cls: type[Params], name: str, rng: np.random.Generator) -> Any:
    field = cls.model_fields[name]
    default = None if field.is_required() else field.default
    return _draw_kind(field.annotation, field.metadata, rng, default, f"{cls.__name__}.{name}")


def _draw_kind(kind: Any, metadata: Any, rng: np.random.Generator, default: Any, name: str) -> Any:
    kind, metadata = _unwrap(kind, metadata)
    origin = typing.get_origin(kind)
    if kind is bool:
        return bool(rng.random() < 0.5)
    if kind in (int, float):
        return _number(metadata, kind, rng, default, name)
    if origin is typing.Literal:
        options = typing.get_args(kind)
        return options[int(rng.integers(len(options)))]
    if origin is tuple:
        inner = typing.get_args(kind)
        if len(inner) == 2 and inner[1] is Ellipsis:
            least, most = _lengths(metadata)
            if most is not None:
                size = int(rng.integers(least, most + 1))
                return tuple(_draw_kind(inner[0], (), rng, None, name) for _ in range(size))
        else:
            return tuple(_draw_kind(one, (), rng, None, name) for one in inner)
    if default is None:
        raise InputError(f"{name}: no rule to draw a {kind}; give it a default or override sample()")
    return default


def _unwrap(kind: Any, metadata: Any) -> tuple[Any, tuple[Any, ...]]:
    if typing.get_origin(kind) is typing.Annotated:
        base, *more = typing.get_args(kind)
        return base, (*more, *metadata)
    return kind, tuple(metadata)


def strategy(cls: type[Params], name: str) -> Any:
    from hypothesis import strategies as st

    field = cls.model_fields[name]
    default = None if field.is_required() else field.default

    def of(kind: Any, metadata: Any) -> Any:
        kind, metadata = _unwrap(kind, metadata)
        origin = typing.get_origin(kind)
        low, low_open, high, high_open = _bounds(metadata)
        if kind is bool:
            return st.booleans()
        if kind is int and low is not None and high is not None:
            return st.integers(int(low) + bool(low_open), int(high) - bool(high_open))
        if kind is float and low is not None and high is not None:
            if any(isinstance(m, LogScale) for m in metadata):
                # the interior in log scale, the closed ends themselves
                inside = st.floats(math.log(low), math.log(high)).map(math.exp).filter(lambda v: low < v < high)
                ends = [float(e) for e, is_open in ((low, low_open), (high, high_open)) if not is_open]
                return st.one_of(inside, st.sampled_from(ends)) if ends else inside
            pad = _INSIDE * (high - low)  # as in sample(): an open end at 0 would otherwise mean 5e-324
            return st.floats(low + pad * low_open, high - pad * high_open)
        if origin is typing.Literal:
            return st.sampled_from(typing.get_args(kind))
        if origin is tuple:
            inner = typing.get_args(kind)
            if len(inner) == 2 and inner[1] is Ellipsis:
                least, most = _lengths(metadata)
                if most is not None:
                    return st.lists(of(inner[0], ()), min_size=least, max_size=most).map(tuple)
            else:
                return st.tuples(*(of(one, ()) for one in inner))
        if default is None:
            raise InputError(f"{cls.__name__}.{name} has no range to draw from; add Ge/Gt and Le/Lt, or a default")
        return st.just(default)

    return of(field.annotation, field.metadata)
