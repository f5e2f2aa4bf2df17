"""Grids: which points a study measures, written as axes; a union of grids is a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from lab.errors import InputError, OutOfDomain, nearest
from lab.params import Params

__all__ = ["Fields", "Grid", "log_grid"]

P = TypeVar("P", bound=Params)


class Fields(Mapping[str, Any]):
    """The fields of a point resolved so far, as attributes or items: what an axis function is given."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            raise nearest("field", name, self._values)
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_values":
            raise AttributeError(name)
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Grid:
    """The product of axes; fields without an axis keep their default.

    Parameters
    ----------
    replicates : int
        Independent repetitions of every point.
    **axes : scalar, list, tuple, array or function
        Values of one field. A function takes the other fields (`Fields`: defaults, axes with plain values, then
        functions written before it) and returns a value or a list of values. The values of a field that is itself
        a tuple are given as a list of tuples. The first axis varies slowest; axis functions vary fastest.

    Examples
    --------
    >>> from lab.params import Params
    >>> class Point(Params):
    ...     n: int = 4
    ...     x: float = 1.0
    >>> grid = Grid(n=[4, 8], x=lambda f: [0.5 * f.n, f.n]) + Grid(replicates=32, n=4, x=2.0)
    >>> [(p.n, p.x) for p in grid.points(Point)]
    [(4, 2.0), (4, 4.0), (8, 4.0), (8, 8.0)]
    >>> [part.replicates for part in grid.parts]
    [1, 32]
    """

    def __init__(self, replicates: int = 1, **axes: Any) -> None:
        whole = isinstance(replicates, int | np.integer) and not isinstance(replicates, bool)
        if not whole or replicates < 1:
            raise InputError(f"replicates={replicates!r} must be a positive whole number; give e.g. replicates=8")
        self._replicates = int(replicates)
        self._axes = {name: axis if callable(axis) else _values(name, axis) for name, axis in axes.items()}
        self._parts: tuple[Grid, ...] = (self,)

    @property
    def parts(self) -> tuple[Grid, ...]:
        """The grids of a union, each with its own replicates; of a plain grid, itself."""
        return self._parts

    @property
    def replicates(self) -> int:
        """Replicates of every point; in a union, those of the part that has most."""
        return max(part._replicates for part in self._parts)

    @property
    def axes(self) -> dict[str, Any]:
        """Axes by name: lists of values, or functions; in a union, of the last part that has the axis."""
        return {name: axis for part in self._parts for name, axis in part._axes.items()}

    def __add__(self, other: Grid) -> Grid:
        if not isinstance(other, Grid):
            return NotImplemented
        return _union([*self._parts, *other._parts])

    def __repr__(self) -> str:
        if len(self._parts) > 1:
            return " + ".join(map(repr, self._parts))
        axes = "".join(f", {name}={axis!r}" for name, axis in self._axes.items())
        return f"Grid(replicates={self._replicates}{axes})"

    def with_axes(self, **axes: Any) -> Grid:
        """This grid with some axes replaced or added, in every part."""
        return _union([Grid(part._replicates, **{**part._axes, **axes}) for part in self._parts])

    def with_replicates(self, replicates: int) -> Grid:
        """This grid with as many replicates in every part."""
        return _union([Grid(replicates, **part._axes) for part in self._parts])

    def points(self, params: type[P]) -> list[P]:
        """The validated points in order, each once.

        Raises
        ------
        UnknownName
            If an axis is no field of `params`.
        OutOfDomain
            If a point is outside the domain; the message names the point.
        """
        found = {p.canonical(): p for part in self._parts for p in part._product(params)}
        return list(found.values())

    def requests(self, params: type[P]) -> list[tuple[list[P], int]]:
        """(points, replicates) of the union: each point once, with the most replicates any part gives it."""
        most: dict[str, tuple[P, int]] = {}
        for part in self._parts:
            for p in part._product(params):
                known = most.get(p.canonical(), (p, 0))
                most[p.canonical()] = (p, max(known[1], part._replicates))
        found: dict[int, list[P]] = {}
        for p, replicates in most.values():
            found.setdefault(replicates, []).append(p)
        return [(points, replicates) for replicates, points in found.items()]

    def _product(self, params: type[P]) -> Iterator[P]:
        for name in self._axes:
            if name not in params.model_fields:
                raise nearest(f"axis of a grid over {params.__name__}:", name, params.model_fields)
        defaults = {n: f.default for n, f in params.model_fields.items() if not f.is_required() and n not in self._axes}
        partial: list[dict[str, Any]] = [{}]
        for name, axis in sorted(self._axes.items(), key=lambda one: callable(one[1])):
            if callable(axis):
                values = [_values(name, _called(name, axis, {**defaults, **given})) for given in partial]
            else:
                values = [axis] * len(partial)
            partial = [{**given, name: v} for given, each in zip(partial, values, strict=True) for v in each]
        for given in partial:
            try:
                yield params(**given)
            except OutOfDomain as error:
                point = ", ".join(f"{name}={value!r}" for name, value in given.items())
                raise OutOfDomain(f"grid point ({point}): {error}") from None


def _union(parts: list[Grid]) -> Grid:
    grid = Grid(parts[0]._replicates, **parts[0]._axes)
    if len(parts) > 1:
        grid._parts = tuple(parts)
    return grid


def _called(name: str, axis: Callable[[Fields], Any], given: Mapping[str, Any]) -> Any:
    try:
        return axis(Fields(given))
    except InputError as error:
        raise InputError(f"axis {name}: {error}; an axis function sees the fields resolved before it") from error


def _values(name: str, axis: Any) -> list[Any]:
    if isinstance(axis, np.ndarray):
        axis = axis.tolist()
    values = list(axis) if isinstance(axis, Iterable) and not isinstance(axis, str | bytes | Mapping) else [axis]
    if not values:
        raise InputError(f"axis {name} has no values; give at least one, or leave the axis out to keep the default")
    return values


def log_grid(start: float, stop: float, count: int) -> list[float]:
    """`count` numbers from `start` to `stop`, evenly spaced in their logarithm, both ends exact.

    Examples
    --------
    >>> log_grid(0.1, 10, 3)
    [0.1, 1.0, 10.0]
    """
    if not (start > 0 and stop > 0) or count < 1:
        raise InputError(f"log_grid({start!r}, {stop!r}, {count!r}) needs positive ends and at least one value")
    values = np.geomspace(start, stop, int(count)).tolist()
    return [float(start), *values[1:-1], float(stop)][: len(values)]
