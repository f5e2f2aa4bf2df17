"""A JAX measurement at one set of static fields: traced once, compiled once, called on blocks of fixed width.

Why the width is fixed by the program and not by the number of items: XLA orders the sums of a batched reduction
or product by the batch size, so the same item differs in its last bit between blocks of 1, 4 and 64. One width
per program makes a row independent of how many others are measured with it, and of which. It also means one
compilation: 63 items after 64 reuse the program.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lab.errors import InputError
from lab.measure import Plan, _unwrap
from lab.sweeps.diary import Diary
from lab.sweeps.rows import Item, observables

__all__ = ["COMPILED", "Program", "devices", "is_out_of_memory", "program"]

COMPILED = [0]
"""How many programs this process compiled (tests count them)."""

# Bytes an average operation of a block should touch. Below, the fixed cost of an operation (about a microsecond on
# a CPU, five on a GPU) outweighs its work; above, wider blocks gain nothing and padding costs more.
_TARGET = {"cpu": 1 << 16, "gpu": 1 << 24}
_WIDEST = {"cpu": 1024, "gpu": 8192}
_NARROWEST = 8  # blocks of 2 and 4 were seen to treat lanes differently, blocks of 1 to be five times slower per item
_LOOP = 100  # assumed turns of a loop whose count is not known
_KEPT = 64

_programs: dict[Any, Program] = {}


def devices(kind: str) -> list[Any]:
    """All visible JAX devices of a kind, ``"cpu"`` or ``"gpu"``."""
    import jax

    if kind not in ("cpu", "gpu"):
        raise InputError(f'device={kind!r} must be "cpu" or "gpu"')
    try:
        return jax.local_devices(backend=kind)
    except RuntimeError:
        raise InputError(
            f"device={kind!r}: JAX sees no such device here (it sees {jax.default_backend()}); choose device='cpu', "
            "or install jax[cuda] on a machine with an accelerator"
        ) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller block may succeed where this one failed."""
    if isinstance(error, MemoryError):
        return True
    import jax

    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def float_knobs(plan: Plan) -> dict[str, float]:
    """Knobs that are inputs of the compiled program: those with a float value or a float default."""
    return {
        name: float(value)
        for name, value in plan.knobs
        if isinstance(value, float | np.floating)
        or (isinstance(value, int) and not isinstance(value, bool) and isinstance(plan.measurement.knobs[name], float))
    }


def program(plan: Plan, example: Item, device: str) -> Program:
    """The program for this plan and the static fields of this item, from the cache if it was traced before."""
    floats = float_knobs(plan)
    fixed = {name: value for name, value in plan.knobs if name not in floats}
    situation = _unwrap(plan.situation)[0], repr(sorted(_unwrap(plan.situation)[1].items()))
    # the function objects themselves, not their names: a function redefined in a notebook is another one
    code = (plan.measurement.function, *plan.measurement.watched)
    key = (*code, plan.measurement.precision, *situation, repr(sorted(fixed.items())), tuple(floats),
           type(example.p), repr(example.p.static()), device)  # fmt: skip
    if key not in _programs:
        while len(_programs) >= _KEPT:
            _programs.pop(next(iter(_programs)))
        _programs[key] = Program(plan, example, fixed, tuple(floats), device)
    return _programs[key]


class Program:
    """One traced measurement; see the module's docstring.

    Attributes
    ----------
    width : int
        Items per call. Fixed by the program and the kind of device, unless memory is short.
    """

    def __init__(self, plan: Plan, example: Item, fixed: dict[str, Any], floats: tuple[str, ...], device: str) -> None:
        self.name, self.double = plan.measurement.name, plan.measurement.precision == "float64"
        self.device, self.floats, self.traced = device, floats, type(example.p).traced()
        self.names: list[str] = []
        self._executables: dict[Any, Any] = {}
        self._stages = self._trace(plan, example, fixed)
        self.width = _width(self._stages[len(self._stages) // 2].jaxpr, device)  # of three, the one that is repeated

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        import jax

        with jax.enable_x64(self.double):
            yield

    def _numbers(self, values: Sequence[Any]) -> np.ndarray:
        whole = all(isinstance(v, int) for v in values)
        size = 64 if self.double else 32
        return np.asarray(values, dtype=f"{'int' if whole else 'float'}{size}")

    def _trace(self, plan: Plan, example: Item, fixed: dict[str, Any]) -> list[Any]:
        """Run the measurement's Python once, on tracers; blocks of any width are derived from the result.

        One stage, or the three of an iterated measurement: first state, next state, observables.
        """
        import jax
        import jax.numpy as jnp

        cls, static = type(example.p), dict(example.p.static())
        count = len(self.traced)

        def item(inputs: Sequence[Any]) -> tuple[Any, ...]:
            p = cls.model_construct(**static, **dict(zip(self.traced, inputs, strict=False)))
            words, situation_words, replicate, *values = inputs[count : count + 3 + len(self.floats)]
            return p, words, situation_words, replicate, {**fixed, **dict(zip(self.floats, values, strict=True))}

        def seen(result: Any) -> tuple[Any, ...]:
            found = observables(result, self.name, jnp.asarray)
            self.names = list(found)
            return tuple(found.values())

        def leaves(state: Any) -> tuple[Any, ...]:
            flat, self._tree = jax.tree.flatten(state)
            return tuple(map(jnp.asarray, flat))

        def state(inputs: Sequence[Any]) -> Any:
            return jax.tree.unflatten(self._tree, inputs[count + 3 + len(self.floats) :])

        def only(*inputs: Any) -> tuple[Any, ...]:
            return seen(plan.run(*item(inputs)))

        def first(*inputs: Any) -> tuple[Any, ...]:
            return leaves(plan.run(*item(inputs)))

        def following(*inputs: Any) -> tuple[Any, ...]:
            return leaves(plan.turn(state(inputs), *item(inputs)))

        def last(*inputs: Any) -> tuple[Any, ...]:
            return seen(plan.watch(state(inputs), *item(inputs)))

        with self._precision():
            inputs = [array[0] for array in self._batch([example])]
            inputs += [self._numbers([float(dict(plan.knobs)[name])])[0] for name in self.floats]
            try:
                if plan.measurement.turns is None:
                    return [jax.make_jaxpr(only)(*inputs)]
                stages = [jax.make_jaxpr(first)(*inputs)]
                tree = self._tree
                start = [jnp.zeros(a.shape, a.dtype) for a in stages[0].out_avals]
                stages += [jax.make_jaxpr(stage)(*inputs, *start) for stage in (following, last)]
                _require_same_state(self.name, tree, stages[0].out_avals, self._tree, stages[1].out_avals)
                return stages
            except (InputError, MemoryError):
                raise
            except Exception as error:
                raise InputError(_untraceable(self.name, error)) from error

    def _batch(self, items: Sequence[Item]) -> list[np.ndarray]:
        columns = [self._numbers([getattr(item.p, name) for item in items]) for name in self.traced]
        words = np.stack([item.words for item in items])
        situation_words = np.stack([item.situation_words for item in items])
        return [*columns, words, situation_words, np.asarray([item.replicate for item in items], dtype=np.uint32)]

    def compile(self, device: Any, budget: float) -> Any:
        """The executables of all stages for one device, of the widest block that fits the budget of bytes."""
        while True:
            executables = self._compile(device)
            parts = ("temp_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes")
            memory = [executable.memory_analysis() for executable in executables]
            need = max(sum(getattr(one, part, 0) for part in parts) for one in memory)
            if need <= budget or self.width == 1:
                return executables
            while self.width > 1 and need > budget:  # needs are nearly proportional to the width
                self.narrow()
                need /= 2

    def _compile(self, device: Any) -> Any:
        import jax
        from jax.extend.core import jaxpr_as_fun

        if (device, self.width) in self._executables:
            return self._executables[device, self.width]
        place = jax.sharding.SingleDeviceSharding(device)
        shared = range(len(self.traced) + 3, len(self.traced) + 3 + len(self.floats))  # knobs: alike for all items
        found = []
        for stage in self._stages:
            axes = [None if k in shared else 0 for k in range(len(stage.in_avals))]
            shapes = [
                jax.ShapeDtypeStruct(a.shape if axis is None else (self.width, *a.shape), a.dtype, sharding=place)
                for axis, a in zip(axes, stage.in_avals, strict=True)
            ]
            with self._precision(), jax.default_device(device):
                block = jax.jit(jax.vmap(jaxpr_as_fun(stage), in_axes=axes))
                found.append(block.lower(*shapes).compile())
            COMPILED[0] += 1
        self._executables[device, self.width] = found
        return found

    def narrow(self) -> None:
        """Halve the width; programs of the old width are forgotten."""
        self.width //= 2
        self._executables.clear()

    def launch(
        self, plan: Plan, items: Sequence[Item], device: Any, budget: float, diary: Diary | None = None
    ) -> Callable[[], list[Any]]:
        """Start a block of at most `width` items; the function returned waits for its observables.

        The block is filled up with copies of its last item. An iterated measurement runs in a thread of its device,
        which tells `diary` about every turn.
        """
        import jax

        executables = self.compile(device, budget)
        items = items[: self.width]
        knobs = float_knobs(plan)
        with self._precision(), jax.default_device(device):
            batch = self._batch([*items, *[items[-1]] * (self.width - len(items))])
            batch += [self._numbers([knobs[name]])[0] for name in self.floats]
            inputs = jax.device_put(batch, device)
            if plan.measurement.turns is None:
                outputs = executables[0](*inputs)

        def collect(outputs: Any) -> list[dict[str, np.ndarray]]:
            arrays = dict(zip(self.names, map(np.asarray, outputs), strict=True))
            return [{name: array[k, ...] for name, array in arrays.items()} for k in range(len(items))]

        if plan.measurement.turns is None:
            return lambda: collect(outputs)
        count = _turns(plan, items)
        running = _lane(device).submit(self._iterate, executables, inputs, device, items, count, diary or Diary())
        return lambda: collect(running.result())

    def _iterate(
        self, executables: Any, inputs: Any, device: Any, items: Sequence[Item], count: int, diary: Diary
    ) -> Any:
        """All turns of a block, from the start or from the state that an interrupted run has left."""
        import jax

        diary.proceed()
        name = diary.name([item.key for item in items], self.width)
        with self._precision(), jax.default_device(device):
            start, state = diary.read(name) or (0, None)
            state = executables[0](*inputs) if state is None else jax.device_put(state, device)
            for turn in range(start, count):
                state = jax.block_until_ready(executables[1](*inputs, *state))
                diary.turn(name, turn + 1, count, len(items), state)
            return jax.block_until_ready(executables[2](*inputs, *state))


@functools.cache
def _lane(device: Any) -> concurrent.futures.Executor:
    """One thread for each device, so that blocks of iterated measurements run side by side on several."""
    return concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=f"lab-{device}")


def _turns(plan: Plan, items: Sequence[Item]) -> int:
    assert plan.measurement.turns is not None
    counts = {plan.measurement.turns(item.p) for item in items}
    if len(counts) > 1 or not isinstance(min(counts), int) or min(counts) < 0:
        raise InputError(
            f"{plan.measurement.name}: turns gives {sorted(counts)} for points of the same static fields; it must give "
            "one whole number and depend on static fields only"
        )
    return counts.pop()


def _require_same_state(name: str, tree: Any, avals: Any, next_tree: Any, next_avals: Any) -> None:
    before, after = ([(a.shape, str(a.dtype)) for a in side] for side in (avals, next_avals))
    if tree != next_tree or before != after:
        raise InputError(
            f"{name}: the next state differs in structure, shapes or types from the first: {before} became {after}; "
            "return arrays of the same shapes and types in the same containers"
        )


def _width(jaxpr: Any, device: str) -> int:
    operations, size = _traffic(jaxpr)
    width = _TARGET[device] * max(operations, 1) / max(size, 1)
    width = 1 << max(0, int(width).bit_length() - 1)
    return min(max(width, _NARROWEST), _WIDEST[device])


def _traffic(jaxpr: Any) -> tuple[float, float]:
    """(operations, bytes they write) of one item, loops counted with their turns."""
    from jax.extend.core import ClosedJaxpr, Jaxpr

    operations = size = 0.0
    for equation in jaxpr.eqns:
        inner = [
            part.jaxpr if isinstance(part, ClosedJaxpr) else part
            for value in equation.params.values()
            for part in (value if isinstance(value, tuple | list) else (value,))
            if isinstance(part, ClosedJaxpr | Jaxpr)
        ]
        if not inner:
            operations += 1
            size += sum(v.aval.size * getattr(v.aval.dtype, "itemsize", 8) for v in equation.outvars)
        turns = equation.params.get("length", _LOOP) if equation.primitive.name in ("scan", "while") else 1
        for part in inner:
            more, larger = _traffic(part)
            operations, size = operations + turns * more, size + turns * larger
    return operations, size


def _untraceable(name: str, error: Exception) -> str:
    reason = str(error).strip().split("\n")[0]
    return (
        f"{name} cannot be traced by JAX: {type(error).__name__}: {reason} Inside a jitted measurement traced fields "
        "are arrays: use jax.numpy for math and numpy, jnp.where or lax.cond for if; or declare it "
        'runs="numpy"'
    )
