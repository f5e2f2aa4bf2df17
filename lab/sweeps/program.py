"""A JAX measurement at one set of static fields: traced once, compiled once, called on blocks of fixed width.

Why the width is fixed by the program and not by the number of items: XLA orders the sums of a batched reduction
or product by the batch size, so the same item differs in its last bit between blocks of 1, 4 and 64. One width
per program makes a row independent of how many others are measured with it, and of which. It also means one
compilation: 63 items after 64 reuse the program.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from lab.errors import InputError
from lab.measure import Plan, _unwrap
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
    key = (plan.measurement.function, plan.measurement.precision, *situation, repr(sorted(fixed.items())),
           tuple(floats), type(example.p), repr(example.p.static()), device)  # fmt: skip
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
        self._trace(plan, example, fixed)
        self.width = _width(self._closed.jaxpr, device)

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        import jax

        with jax.enable_x64(self.double):
            yield

    def _numbers(self, values: Sequence[Any]) -> np.ndarray:
        whole = all(isinstance(v, int) for v in values)
        size = 64 if self.double else 32
        return np.asarray(values, dtype=f"{'int' if whole else 'float'}{size}")

    def _trace(self, plan: Plan, example: Item, fixed: dict[str, Any]) -> None:
        """Run the measurement's Python once, on tracers; blocks of any width are derived from the result."""
        import jax
        import jax.numpy as jnp

        cls, static = type(example.p), dict(example.p.static())
        count = len(self.traced)

        def one(*inputs: Any) -> tuple[Any, ...]:
            p = cls.model_construct(**static, **dict(zip(self.traced, inputs, strict=False)))
            words, situation_words, replicate, *values = inputs[count:]
            knobs = {**fixed, **dict(zip(self.floats, values, strict=True))}
            found = observables(plan.run(p, words, situation_words, replicate, knobs), self.name, jnp.asarray)
            self.names = list(found)
            return tuple(found.values())

        with self._precision():
            inputs = [array[0] for array in self._batch([example])]
            inputs += [self._numbers([float(dict(plan.knobs)[name])])[0] for name in self.floats]
            try:
                self._closed = jax.make_jaxpr(one)(*inputs)
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
        """The executable for one device, of the widest block that fits the budget of bytes."""
        while True:
            executable = self._compile(device)
            memory = executable.memory_analysis()
            parts = ("temp_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes")
            need = sum(getattr(memory, part, 0) for part in parts)
            if need <= budget or self.width == 1:
                return executable
            while self.width > 1 and need > budget:  # needs are nearly proportional to the width
                self.narrow()
                need /= 2

    def _compile(self, device: Any) -> Any:
        import jax
        from jax.extend.core import jaxpr_as_fun

        if (device, self.width) in self._executables:
            return self._executables[device, self.width]
        place = jax.sharding.SingleDeviceSharding(device)
        shapes = [
            jax.ShapeDtypeStruct(v.aval.shape if k >= self._batched else (self.width, *v.aval.shape), v.aval.dtype,
                                 sharding=place)
            for k, v in enumerate(self._closed.jaxpr.invars)
        ]  # fmt: skip
        axes = [None if k >= self._batched else 0 for k in range(len(shapes))]
        with self._precision(), jax.default_device(device):
            block = jax.jit(jax.vmap(jaxpr_as_fun(self._closed), in_axes=axes))
            executable = block.lower(*shapes).compile()
        COMPILED[0] += 1
        self._executables[device, self.width] = executable
        return executable

    @property
    def _batched(self) -> int:
        return len(self.traced) + 3

    def narrow(self) -> None:
        """Halve the width; programs of the old width are forgotten."""
        self.width //= 2
        self._executables.clear()

    def launch(self, plan: Plan, items: Sequence[Item], device: Any, budget: float) -> Callable[[], list[Any]]:
        """Start a block of at most `width` items; the function returned waits for its observables.

        The block is filled up with copies of its last item.
        """
        import jax

        executable = self.compile(device, budget)
        items = items[: self.width]
        knobs = float_knobs(plan)
        with self._precision(), jax.default_device(device):
            batch = self._batch([*items, *[items[-1]] * (self.width - len(items))])
            batch += [self._numbers([knobs[name]])[0] for name in self.floats]
            outputs = executable(*jax.device_put(batch, device))

        def collect() -> list[dict[str, np.ndarray]]:
            arrays = dict(zip(self.names, map(np.asarray, outputs), strict=True))
            return [{name: array[k, ...] for name, array in arrays.items()} for k in range(len(items))]

        return collect


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
