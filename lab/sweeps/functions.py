"""Sweeps without a law: any function over any grid."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.errors import InputError, nearest
from lab.measure import Measurement, _unwrap, plan
from lab.params import Params, params_from
from lab.sweeps.engine import Engine
from lab.sweeps.grid import Grid
from lab.sweeps.rows import Job

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["sweep"]


def sweep(
    function: Callable[..., Any],
    grid: Grid | Mapping[str, Any],
    *,
    seeds: int | Sequence[int] = 1,
    replicates: int | None = None,
    store: Path | str | None = None,
    runs: str | None = None,
    workers: int = 0,
    cluster: str | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """Measure a function over a grid: one line per point, replicate and seed.

    Parameters
    ----------
    function : measurement, function, or `functools.partial` of one
        A measurement ``f(p: SomeParams, stream)``, a function of that form, or a plain function
        ``f(a: float, n: int, stream=None)`` of named arguments. Arguments set by a partial are no axes.
    grid : Grid or mapping of axes
    seeds : int or sequence of int
        Root seeds; a number n means 0, ..., n - 1.
    replicates : int, optional
        Repetitions of every point; default those of the grid.
    store : path, optional
        Folder of shards: a rerun measures only what is missing.
    runs : "numpy", "jax" or "torch", optional
        Library of a plain function (default numpy: a loop). With ``"jax"`` it is jitted and vmapped over its float
        arguments, and compiled once per value of the others.
    workers, cluster, device
        As for `Engine`.

    Raises
    ------
    UnknownName
        If an axis is no parameter of the function.
    OutOfDomain
        If a point is outside the domain.
    InputError
        If the function does not say what its parameters are.

    Examples
    --------
    >>> def area(width: float, height: float):
    ...     return width * height
    >>> sweep(area, {"width": [1.0, 2.0], "height": 3.0})["value"].tolist()
    [3.0, 6.0]
    """
    if isinstance(seeds, int | np.integer):
        seeds = range(int(seeds))
    if not len(seeds):
        raise InputError(f"seeds={seeds!r} is empty; give the number of root seeds or a list of them")
    grid = grid if isinstance(grid, Grid) else Grid(**grid)
    if replicates is not None:
        grid = grid.with_replicates(replicates)
    measure, params = _measurement(function, grid, runs)
    _check_name(measure, store)
    wanted = plan(measure)
    jobs = [Job(wanted, points, range(n), int(seed)) for seed in seeds for points, n in grid.requests(params)]
    with Engine(store=store, device=device, workers=workers, cluster=cluster) as engine:
        return engine.frame(jobs)


def _measurement(function: Any, grid: Grid, runs: Any) -> tuple[Any, type[Params]]:
    base, given = _unwrap(function)
    if not callable(base):
        raise InputError(f"sweep of {base!r}: give a function or a measurement")
    name = getattr(base, "__qualname__", repr(base))
    if isinstance(base, Measurement):
        if runs not in (None, base.runs):
            raise InputError(f'runs={runs!r}: {name} is declared with runs="{base.runs}"; leave runs out')
        params = _first_params(base.function)
        if params is None:
            raise InputError(f"{name} does not say what its parameters are; write def {name}(p: SomeParams, stream)")
        return function, params
    if runs not in (None, "numpy", "jax", "torch"):
        raise InputError(f'runs={runs!r} must be "numpy", "jax" or "torch"')
    params = _first_params(base)
    if params is not None:
        knobs = {a.name: a.default for a in inspect.signature(base).parameters.values() if a.kind is a.KEYWORD_ONLY}
        return functools.partial(Measurement(base, runs or "numpy", knobs=knobs), **given), params
    return _adapted(base, given, grid, runs or "numpy", name)


def _adapted(base: Any, given: Mapping[str, Any], grid: Grid, runs: Any, name: str) -> tuple[Any, type[Params]]:
    """A measurement that calls a plain function with the fields of a point as arguments."""
    try:
        arguments = inspect.signature(base).parameters
    except (TypeError, ValueError):
        raise InputError(f"sweep of {name}: its arguments have no names; wrap it in a function of your own") from None
    for axis in grid.axes:
        if axis not in arguments or axis == "stream":
            raise nearest(f"argument of {name}", axis, [a for a in arguments if a != "stream"])
        if axis in given:
            raise InputError(f"{axis} is set by the partial of {name} and by the grid; leave one of them out")
    for key in given:
        if key not in arguments:
            raise nearest(f"argument of {name}", key, arguments)
    free = [a for key, a in arguments.items() if key not in given]
    example = {key: axis[0] for key, axis in grid.axes.items() if not callable(axis)}
    params = params_from(_with_signature(base, free), example)

    @functools.wraps(base)
    def measure(p: Any, stream: Any, **constants: Any) -> Any:
        values = {key: getattr(p, key) for key in params.model_fields}
        if "stream" in arguments:
            values["stream"] = stream
        return base(**values, **constants)

    return Measurement(measure, runs, knobs=dict(given)), params


def _with_signature(base: Any, free: list[inspect.Parameter]) -> Any:
    """The function as `params_from` should see it: without the arguments that a partial sets."""
    if not isinstance(base, types.FunctionType):
        return base

    def shown() -> None: ...

    shown.__name__, shown.__module__ = base.__name__, base.__module__
    try:
        hints = typing.get_type_hints(base, include_extras=True)
    except NameError as error:
        raise InputError(f"{base.__qualname__}: {error}; annotate its arguments with types known at run time") from None
    shown.__annotations__ = {a.name: hints[a.name] for a in free if a.name in hints}
    shown.__signature__ = inspect.Signature([a.replace(kind=a.KEYWORD_ONLY) for a in free])  # type: ignore[attr-defined]
    return shown


def _first_params(function: Any) -> type[Params] | None:
    """The Params class that annotates the first argument, if it does."""
    names = list(inspect.signature(function).parameters) if isinstance(function, types.FunctionType) else []
    if not names:
        return None
    try:
        kind = typing.get_type_hints(function).get(names[0])
    except NameError:  # other annotations may be for type checkers only
        kind = function.__globals__.get(str(function.__annotations__.get(names[0])))
    return kind if isinstance(kind, type) and issubclass(kind, Params) else None


def _check_name(measure: Any, store: Any) -> None:
    base = _unwrap(measure)[0]
    if store is not None and "<lambda>" in base.name:
        raise InputError("a lambda has no name under which rows could be stored; write it with def, or drop store")
