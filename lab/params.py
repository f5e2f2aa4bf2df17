"""Parameters are a theorem's assumptions: a pydantic model declared once.

From one declaration follow validation, the command line's ``--set name=value``, grid axes, a seeded sampler,
a Hypothesis strategy and the canonical text under which rows are stored.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MaxLen, MinLen
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from lab.errors import InputError, OutOfDomain, nearest

__all__ = ["Ge", "Gt", "Le", "LogScale", "Lt", "MaxLen", "MinLen", "Params", "Static", "Traced"]

_TRIES = 400
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


class Params(BaseModel):
    """A point of a domain: frozen, no unknown fields, no infinity or NaN.

    Cross-field assumptions are pydantic ``model_validator(mode="after")`` methods that raise `ValueError`
    with a sentence. Store ratios and products rather than rules between fields: ``tau_fraction`` in (0, 1) is
    sampled without rejection, ``tau < tau_c(x)`` is not.

    Inside a vmapped measurement the same class holds tracers and no validator runs: properties of traced fields
    must be array arithmetic (not `math.sqrt`), properties of static fields are plain Python.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise OutOfDomain(_sentence(type(self), error)) from None

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        """NumPy scalars and arrays become Python ones; text and truth values are not numbers."""
        if not isinstance(values, Mapping):
            return values
        plain = {}
        for name, value in values.items():
            if isinstance(value, np.generic | np.ndarray):
                value = value.tolist()
            kind = cls.model_fields[name].annotation if name in cls.model_fields else None
            if kind in (int, float) and isinstance(value, str | bool):
                raise ValueError(f"{name}={value!r} is not a number; give {kind.__name__}")
            plain[name] = value
        return plain

    # ------------------------------------------------------------------ what is compiled, what is varied

    @classmethod
    def traced(cls) -> tuple[str, ...]:
        """Names of the fields that one compiled program varies: floats, and integers marked `Traced`."""
        return tuple(
            name
            for name, field in cls.model_fields.items()
            if (field.annotation is float or _has(field, Traced)) and not _has(field, Static)
        )

    def static(self) -> tuple[tuple[str, Any], ...]:
        """(name, value) of all other fields: shapes, counts, switches. One program per distinct value."""
        traced = self.traced()
        return tuple((name, getattr(self, name)) for name in type(self).model_fields if name not in traced)

    # ------------------------------------------------------------------ identity

    def canonical(self, drop: typing.Iterable[str] = ()) -> str:
        """Sorted JSON of the validated values without the fields in `drop`; 1 and 1.0 agree, and so do 0.0 and -0.0."""
        dropped = set(drop)
        return json.dumps({k: _canonical(v) for k, v in self.values().items() if k not in dropped}, sort_keys=True)

    def values(self) -> dict[str, Any]:
        """The fields as a dictionary."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def replace(self, **changes: Any) -> Self:
        """This point with some fields changed; validated."""
        return type(self)(**{**self.values(), **changes})

    @classmethod
    def check_name(cls, name: str) -> str:
        """`name` if it is a field, else the error with the nearest ones."""
        if name not in cls.model_fields:
            raise nearest(f"parameter of {cls.__name__}", name, cls.model_fields)
        return name

    # ------------------------------------------------------------------ exploring the domain

    @classmethod
    def sample(cls, rng: np.random.Generator, fixed: Mapping[str, Any] | None = None) -> Self:
        """One random point of the domain, 15 % of its numbers at an end of their range.

        Static fields are drawn first and the others redrawn within them, so that rules like ``K rank <= d`` cost
        few tries. A field without a range keeps its default.

        Raises
        ------
        OutOfDomain
            If 400 draws satisfy no cross-field rule: reparametrise the domain.
        """
        fixed = dict(fixed or {})
        traced = cls.traced()
        reason = ""
        for attempt in range(_TRIES):
            if attempt % 8 == 0:
                shape = {n: _draw(cls, n, rng) for n in cls.model_fields if n not in traced}
            floats = {n: _draw(cls, n, rng) for n in traced}
            try:
                return cls(**{**shape, **floats, **fixed})
            except OutOfDomain as error:
                reason = str(error)
        raise OutOfDomain(
            f"{cls.__name__}: {_TRIES} draws satisfied no cross-field rule (last: {reason}); reparametrise the "
            "domain with ratios and products instead of rules between fields"
        )

    @classmethod
    def strategy(cls, near: Params | None = None) -> Any:
        """Hypothesis strategy over the domain; shrinks towards simple values, open ends approached to 1e-6.

        With `near`, each field may also take that point's value: a search then starts from it and shrinks it.
        """
        from hypothesis import reject
        from hypothesis import strategies as st

        fields = {name: _strategy(cls, name) for name in cls.model_fields}
        if near is not None:
            fields = {name: st.one_of(one, st.just(getattr(near, name))) for name, one in fields.items()}

        @st.composite
        def points(draw: Any) -> Params:
            values = {name: draw(one) for name, one in fields.items()}
            try:
                return cls(**values)
            except OutOfDomain:
                reject()

        return points()

    @classmethod
    def parse_axis(cls, name: str, text: str) -> list[Any]:
        """Values of one axis as written after ``--set name=``: ``0.5``, ``0.1,0.2``, ``0.1:0.9:5``, ``[4,4],[4,8]``.

        ``start:stop:count`` is evenly spaced, ends included.
        """
        cls.check_name(name)
        if text.count(":") == 2:
            try:
                start, stop, count = text.split(":")
                values = np.linspace(float(start), float(stop), int(count)).tolist()
            except ValueError:
                raise InputError(f"{name}={text!r} is not start:stop:count; write e.g. {name}=0.1:0.9:5") from None
            return [int(v) if cls.model_fields[name].annotation is int and v == int(v) else v for v in values]
        words = text.replace("True", "true").replace("False", "false")
        try:
            values = json.loads(f"[{words}]")
        except json.JSONDecodeError:
            values = [word.strip() for word in text.split(",")]
        if not values or values == [""]:
            raise InputError(f"{name}= has no value; write e.g. {name}=0.5 or {name}=0.1,0.2")
        return values

    @classmethod
    def describe(cls) -> list[tuple[str, str, str, str]]:
        """(name, type, range, default) of each field, for people."""
        rows = []
        for name, field in cls.model_fields.items():
            kind = getattr(field.annotation, "__name__", str(field.annotation))
            if typing.get_origin(field.annotation) is not None:
                kind = str(field.annotation).replace("typing.", "")
            default = "" if field.is_required() else repr(field.default)
            rows.append((name, kind, _range_text(field), default))
        return rows


# ---------------------------------------------------------------------- helpers


def _canonical(value: Any) -> Any:
    if isinstance(value, float):
        return value + 0.0
    if isinstance(value, tuple | list):
        return [_canonical(v) for v in value]
    return value


def _has(field: Any, marker: type) -> bool:
    return any(isinstance(m, marker) for m in field.metadata)


def _bounds(metadata: typing.Iterable[Any]) -> tuple[float | None, bool, float | None, bool]:
    """(low, low is open, high, high is open)."""
    low = high = None
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
    return low, low_open, high, high_open  # type: ignore[return-value]


def _lengths(metadata: typing.Iterable[Any]) -> tuple[int, int | None]:
    low, high = 0, None
    for m in metadata:
        for part in m if isinstance(m, Len) else (m,):
            if isinstance(part, MinLen):
                low = part.min_length
            elif isinstance(part, MaxLen):
                high = part.max_length
    return low, high


def _range_text(field: Any) -> str:
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


def _draw(cls: type[Params], name: str, rng: np.random.Generator) -> Any:
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


def _strategy(cls: type[Params], name: str) -> Any:
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


def _sentence(cls: type[Params], error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        field = cls.model_fields.get(str(item["loc"][0])) if item["loc"] else None
        if item["type"] == "extra_forbidden":
            parts.append(str(nearest(f"parameter of {cls.__name__}", name, cls.model_fields)))
        elif item["type"] == "missing":
            parts.append(f"{cls.__name__} needs {name}; give {name}=...")
        elif field is None or item["type"] == "value_error":
            parts.append(f"{cls.__name__}: {item['msg'].removeprefix('Value error, ')}")
        else:
            rule = item["msg"][0].lower() + item["msg"][1:]
            allowed = _range_text(field)
            way = f"; choose {name} in {allowed}" if allowed else ""
            parts.append(f"{cls.__name__}.{name}={item['input']!r}: {rule}{way}")
    return "; also ".join(parts)


def params_from(function: Any, example: Mapping[str, Any]) -> type[Params]:
    """A Params class read off the annotations of a plain function ``f(a: float, n: int, stream=None)``.

    An argument without annotation takes the type of its `example` value, and an ``int`` default makes no range.
    """
    import inspect

    from pydantic import create_model

    hints = typing.get_type_hints(function, include_extras=True) if isinstance(function, types.FunctionType) else {}
    fields: dict[str, Any] = {}
    for name, argument in inspect.signature(function).parameters.items():
        if name == "stream":
            continue
        if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY):
            raise InputError(f"{function.__name__}: *{name} cannot be an axis; name the arguments one by one")
        default = ... if argument.default is argument.empty else argument.default
        value = example.get(name, default)
        kind = hints.get(name) or (float if isinstance(value, float | np.floating) else type(value))
        if value is ... and name not in hints:
            raise InputError(f"{function.__name__}: argument {name} has no value and no annotation; add it to the grid")
        fields[name] = (kind, default)
    return create_model(f"{function.__name__}_params", __base__=Params, **fields)
