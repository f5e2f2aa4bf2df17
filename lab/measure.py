"""What is measured: a function of parameters and a stream, with what an engine must know about it.

Rows belong to measurements, not to laws: several laws, printed and corrected forms and controls share them.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lab.errors import InputError, nearest

__all__ = ["Measurement", "Plan", "fingerprint", "measurement", "plan"]

Library = Literal["numpy", "jax", "torch"]
Precision = Literal["float64", "float32"]


@dataclass(frozen=True, eq=False)
class Measurement:
    """A measurement function and its declaration; made by the decorator `measurement`."""

    function: Callable[..., Any]
    runs: Library = "numpy"
    revision: int = 1
    paired: tuple[str, ...] = ()
    precision: Precision = "float64"
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword-only arguments and their defaults."""
    turns: Callable[[Any], int] | None = None
    """Of an iterated measurement: how many turns a point takes."""
    watched: list[Callable[..., Any]] = field(default_factory=list)
    """Of an iterated measurement: the one function that turns its last state into observables."""

    def __post_init__(self) -> None:
        for name in functools.WRAPPER_ASSIGNMENTS:  # `functools.update_wrapper` cannot write to a frozen class
            if hasattr(self.function, name):
                object.__setattr__(self, name, getattr(self.function, name))
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *args: Any, **knobs: Any) -> Any:
        return self.function(*args, **knobs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A library function travels to a worker by name; one of a script by value (cloudpickle does that).
        module = sys.modules.get(self.function.__module__)
        if self.function.__module__.startswith("lab.") and getattr(module, self.function.__qualname__, None) is self:
            return self.function.__qualname__  # a string: pickle looks it up in `__module__`
        return (_rebuild, (self.function, self.runs, self.revision, self.paired, self.precision, dict(self.knobs),
                           self.turns, self.watched))  # fmt: skip

    @property
    def name(self) -> str:
        """Qualified name, the identity under which rows are stored and draws are named."""
        return f"{_module_name(self.function)}:{self.function.__qualname__}"

    def observe(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator, of an iterated measurement: ``f(p, stream, state)`` gives the observables of the last state.

        It takes those knobs of the measurement that it names.
        """
        if self.turns is None:
            raise InputError(f"{self.name} is not iterated; declare @measurement(turns=lambda p: ...)")
        self.watched[:] = [function]
        return function


def _rebuild(function: Any, *fields: Any) -> Measurement:
    # pickled by name, the module attribute is the decorated object itself
    return function if isinstance(function, Measurement) else Measurement(function, *fields)


def _module_name(function: Any) -> str:
    """Module of a function; that of a script is its file name, however the script was started."""
    module = function.__module__
    if module == "__main__" or module.startswith("lab_file_"):
        from pathlib import Path

        source = inspect.unwrap(function).__code__.co_filename
        return Path(source).stem
    return module


def measurement(
    function: Callable[..., Any] | None = None,
    *,
    runs: Library = "numpy",
    revision: int = 1,
    paired: tuple[str, ...] = (),
    precision: Precision = "float64",
    turns: Callable[[Any], int] | None = None,
) -> Any:
    """Declare ``f(p, stream, *, knob=default)`` (or ``f(p, data, stream)`` with a situation) a measurement.

    Parameters
    ----------
    runs : "numpy", "jax" or "torch"
        Library of the body. A ``jax`` measurement is jitted and vmapped over traced fields and replicates; the
        others are looped or spread over workers.
    revision : int
        Raise it when the meaning of the rows changes: rows of older revisions are kept and ignored.
    paired : tuple of field names
        Fields along which the draws are shared (common random numbers): smooth curves along a swept axis.
    precision : "float64" or "float32"
        Precision in which JAX traces and runs it, and whose machine epsilon scales rounding tolerances.
    turns : function of (p), optional
        For long JAX runs: an iterated measurement ``f(p, stream, state=None)`` returns the first state where `state`
        is None and the next one otherwise (any tree of arrays); ``turns(p)``, of static fields only, says how often it
        is called again, and ``@f.observe`` declares ``g(p, stream, state)``, the observables of the last state. A
        turn, which should take seconds, is one compiled program; between turns progress is shown and states are
        kept, so that an interrupted run continues where it stopped.

    Notes
    -----
    Keyword-only arguments are knobs: a control or an erratum is ``partial(f, knob=value)``. Float knobs are traced
    inputs, so a law and its controls share one compiled program. A measurement returns a number, an array or a
    dict of them; a non-finite value is reported as a failure, never dropped. A non-finite value that *means*
    something (no root, not applicable) belongs in a boolean observable.
    """

    def declare(function: Callable[..., Any]) -> Measurement:
        arguments = inspect.signature(function).parameters.values()
        knobs = {a.name: a.default for a in arguments if a.kind is a.KEYWORD_ONLY}
        without = [name for name, default in knobs.items() if default is inspect.Parameter.empty]
        if without:
            raise InputError(f"{function.__qualname__}: knob {without[0]} needs a default")
        if runs not in ("numpy", "jax", "torch"):
            raise InputError(f'{function.__qualname__}: runs={runs!r} must be "numpy", "jax" or "torch"')
        if turns is not None and (runs != "jax" or "state" not in inspect.signature(function).parameters):
            raise InputError(f"{function.__qualname__}: turns needs runs='jax' and an argument state=None")
        return Measurement(function, runs, revision, tuple(paired), precision, knobs, turns)

    return declare if function is None else declare(function)


@dataclass(frozen=True, eq=False)
class Plan:
    """A measurement with its knobs set and the situation it is given: what rows are keyed by."""

    measurement: Measurement
    knobs: tuple[tuple[str, Any], ...] = ()
    situation: Callable[..., Any] | None = None

    @property
    def situation_name(self) -> str:
        if self.situation is None:
            return ""
        base, given = _unwrap(self.situation)
        return f"{_module_name(base)}:{base.__qualname__}{sorted(given.items()) if given else ''}"

    @property
    def identity(self) -> str:
        """Everything about the measurement that decides a row, as text."""
        m = self.measurement
        parts = [m.name, repr(list(self.knobs)), f"revision {m.revision}", self.situation_name, m.precision]
        return "|".join(parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def run(self, p: Any, stream_words: Any, situation_words: Any, replicate: Any, knobs: Mapping[str, Any]) -> Any:
        """Situation and measurement of one point and replicate; the same code on the host and inside vmap."""
        return self.measurement(*self._given(p, stream_words, situation_words, replicate), **knobs)

    def turn(self, state: Any, *item: Any) -> Any:
        """Next state of an iterated measurement; `item` are the arguments of `run`."""
        return self.measurement(*self._given(*item[:-1]), state, **item[-1])

    def watch(self, state: Any, *item: Any) -> Any:
        """Observables of the last state of an iterated measurement; `item` are the arguments of `run`."""
        if not self.measurement.watched:
            name = self.measurement.name
            raise InputError(f"{name} is iterated and has no observables; declare them: @{name.split(':')[-1]}.observe")
        observe, knobs = self.measurement.watched[0], item[-1]
        named = inspect.signature(observe).parameters
        return observe(*self._given(*item[:-1]), state, **{k: v for k, v in knobs.items() if k in named})

    def _given(self, p: Any, stream_words: Any, situation_words: Any, replicate: Any) -> tuple[Any, ...]:
        from lab.streams import Stream

        stream = Stream.bound(stream_words, replicate)
        if self.situation is None:
            return p, stream
        return p, self.situation(p, Stream.bound(situation_words, replicate)), stream

    def streams(self, p: Any, seed: int) -> tuple[Any, Any]:
        """Digests that name the draws of the measurement and of the situation at this point.

        Neither depends on knobs: a control sees the draws of its law.
        """
        from lab.streams import Stream

        where = p.canonical(drop=self.measurement.paired)
        own = Stream(self.measurement.name, where, seed).words
        if self.situation is None:
            return own, own
        base, _ = _unwrap(self.situation)
        return own, Stream(f"{_module_name(base)}:{base.__qualname__}", where, seed).words


def plan(measure: Any, situation: Callable[..., Any] | None = None) -> Plan:
    """The plan of a measurement, or of ``functools.partial(measurement, knob=value)``."""
    function, given = _unwrap(measure)
    if not isinstance(function, Measurement):
        name = getattr(function, "__qualname__", repr(function))
        raise InputError(f"measure={name} is not a measurement; decorate it with @measurement")
    for name in given:
        if name not in function.knobs:
            raise nearest(f"knob of {function.name}", name, function.knobs)
    knobs = {**function.knobs, **given}
    return Plan(function, tuple(sorted(knobs.items())), situation)


def _unwrap(function: Any) -> tuple[Any, dict[str, Any]]:
    given: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        if function.args:
            raise InputError(f"partial({function.func.__qualname__}, ...) must set knobs by name")
        given = {**function.keywords, **given}
        function = function.func
    return function, given


# ---------------------------------------------------------------------- fingerprint


def fingerprint(plan: Plan) -> str:
    """Digest of the code a measurement runs: its own source and every function it names, followed through.

    Comments, docstrings and formatting do not count. Followed are functions and classes of the measurement's own
    top-level package (or script) and of `lab`, except the engine's own modules, which do not decide a row.
    """
    roots = [plan.measurement.function, *plan.measurement.watched]
    if plan.situation is not None:
        roots.append(_unwrap(plan.situation)[0])
    seen: dict[str, str] = {}
    for root in roots:
        _follow(root, {root.__module__.partition(".")[0], "lab"}, seen)
    text = "\n".join(f"{name}\n{source}" for name, source in sorted(seen.items()))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


_MACHINERY = ("lab.params", "lab.streams", "lab.measure", "lab.law", "lab.claims", "lab.errors", "lab.sweeps")


def _follow(thing: Any, packages: set[str], seen: dict[str, str]) -> None:
    if isinstance(thing, Measurement):
        thing = thing.function
    thing = inspect.unwrap(thing) if callable(thing) else thing
    module = getattr(thing, "__module__", None) or ""
    if not isinstance(thing, types.FunctionType | type) or module.partition(".")[0] not in packages:
        return
    name = f"{_module_name(thing) if isinstance(thing, types.FunctionType) else module}:{thing.__qualname__}"
    if name in seen or module.startswith(_MACHINERY):
        return
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError, SyntaxError):  # typed at a prompt: identity is then the name alone
        seen[name] = ""
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            node.decorator_list = []  # a new `revision` or `paired` is not a change of code
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    seen[name] = ast.unparse(tree)
    for found in _named(tree, thing):
        _follow(found, packages, seen)


def _named(tree: ast.AST, thing: Any) -> list[Any]:
    """Objects that the source names: globals, attributes of modules, and imports inside functions."""
    import importlib

    space = dict(getattr(sys.modules.get(thing.__module__), "__dict__", {}))
    if isinstance(thing, types.FunctionType):
        space = {**thing.__globals__}
        cells = zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True)
        space.update({name: cell.cell_contents for name, cell in cells if _filled(cell)})
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lab."):
            source = importlib.import_module(node.module)
            for alias in node.names:
                if hasattr(source, alias.name):
                    space[alias.asname or alias.name] = getattr(source, alias.name)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.append(space.get(node.id))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = space.get(node.value.id)
            if isinstance(owner, types.ModuleType):
                found.append(getattr(owner, node.attr, None))
    return [_unwrap(f)[0] if isinstance(f, functools.partial) else f for f in found if f is not None]


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - reading an empty cell raises
    except ValueError:
        return False
    return True
