"""Parameters are a theorem's assumptions: a pydantic model declared once.

From one declaration follow validation, the command line's ``--set name=value``, grid axes, a seeded sampler,
a Hypothesis strategy and the canonical text under which rows are stored.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from lab.domains import LogScale, Static, Traced, draw, marked, range_text, strategy
from lab.errors import InputError, OutOfDomain, nearest

__all__ = ["Ge", "Gt", "Le", "LogScale", "Lt", "MaxLen", "MinLen", "Params", "Static", "Traced"]

_TRIES = 400


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
            if (field.annotation is float or marked(field, Traced)) and not marked(field, Static)
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
                shape = {n: draw(cls, n, rng) for n in cls.model_fields if n not in traced}
            floats = {n: draw(cls, n, rng) for n in traced}
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

        fields = {name: strategy(cls, name) for name in cls.model_fields}

        @st.composite
        def points(draw: Any) -> Params:
            values = {name: draw(one) for name, one in fields.items()}
            if near is not None:  # drawn after the values: a choice that shortened the draw would count as simpler
                values |= {name: getattr(near, name) for name in fields if draw(st.booleans())}
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
            rows.append((name, kind, range_text(field), default))
        return rows


def _canonical(value: Any) -> Any:
    if isinstance(value, float):
        return value + 0.0
    if isinstance(value, tuple | list):
        return [_canonical(v) for v in value]
    return value


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
            allowed = range_text(field)
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
