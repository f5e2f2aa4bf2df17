"""Measuring items: compiled blocks for JAX, a loop for numpy and torch; the same rows whatever the grouping."""

from __future__ import annotations

import collections
import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import InputError
from lab.measure import Plan
from lab.sweeps.diary import Diary, Stopped
from lab.sweeps.program import Program, devices, is_out_of_memory, program
from lab.sweeps.rows import Item, Row, failure_of, observables

__all__ = ["groups", "measure_items"]

_SHARE = 0.25  # of the memory available when a block is sized: the rest is for results, other blocks and people


def measure_items(
    plan: Plan, items: Sequence[Item], device: str = "cpu", diary: Diary | None = None
) -> Iterator[list[Row]]:
    """Measure items and yield rows as they are ready, in any order.

    `diary` keeps the states of an iterated measurement.

    Raises
    ------
    InputError
        If JAX cannot trace the measurement, if there is no such device, or if one item does not fit in memory.
    """
    with _single_thread(plan.measurement.runs):
        if plan.measurement.runs == "jax":
            for group in groups(plan, items):
                yield from _compiled(plan, group, device, diary or Diary())
            return
        knobs = {**dict(plan.knobs), **_torch_device(plan, device)}
        for item in items:
            yield [_looped(plan, item, knobs)]


def groups(plan: Plan, items: Sequence[Item]) -> list[list[Item]]:
    """Items that one compiled program serves: the same class and static fields, in order of appearance."""
    if plan.measurement.runs != "jax":
        return [list(items)] if items else []
    found: dict[Any, list[Item]] = {}
    static: dict[int, str] = {}  # a point occurs once per replicate
    for item in items:
        if id(item.p) not in static:
            static[id(item.p)] = repr(item.p.static())
        found.setdefault((type(item.p), static[id(item.p)]), []).append(item)
    return list(found.values())


# ---------------------------------------------------------------------- numpy and torch


def _looped(plan: Plan, item: Item, knobs: dict[str, Any]) -> Row:
    try:
        result = plan.run(item.p, item.words, item.situation_words, item.replicate, knobs)
        if plan.measurement.runs == "torch":
            result = _from_torch(result)
        observed = observables(result, plan.measurement.name)
    except InputError:
        raise
    except Exception as error:
        return _row(plan, item, {}, f"{type(error).__name__}: {error}")
    return _row(plan, item, observed, failure_of(observed))


def _row(plan: Plan, item: Item, observed: dict[str, Any], failure: str | None) -> Row:
    return Row(item.key, item.p, item.replicate, item.seed, observed, failure, plan)


def _from_torch(result: Any) -> Any:
    import torch

    if isinstance(result, dict):
        return {name: _from_torch(value) for name, value in result.items()}
    return result.detach().cpu().numpy() if isinstance(result, torch.Tensor) else result


def _torch_device(plan: Plan, device: str) -> dict[str, str]:
    """On a GPU a torch measurement is told its device through its knob ``device``, which does not enter row keys."""
    if device not in ("cpu", "gpu"):
        raise InputError(f'device={device!r} must be "cpu" or "gpu"')
    if device == "cpu" or plan.measurement.runs != "torch":
        return {}
    import torch

    if "device" not in plan.measurement.knobs:
        raise InputError(
            f"{plan.measurement.name} runs on torch and has no knob `device`; add *, device='cpu' to it and pass it "
            "to tensors and to stream.torch, or choose device='cpu'"
        )
    if not torch.cuda.is_available():
        raise InputError("device='gpu': torch sees no such device here; choose device='cpu'")
    return {"device": "cuda"}


@contextlib.contextmanager
def _single_thread(library: str) -> Iterator[None]:
    """One thread for BLAS, LAPACK (JAX calls it too) and torch, whose sums are ordered by the number of threads.

    With as many threads as cores, a row would depend on the machine and on the number of workers. Many cores are used
    by many workers.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_blas().limit(limits=1, user_api="blas"))
        if library == "torch":
            import torch

            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
        yield


@functools.cache
def _blas() -> Any:
    import scipy.linalg  # noqa: F401 - brings its own BLAS, which would escape if a measurement loaded it later
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


# ---------------------------------------------------------------------- JAX


def _compiled(plan: Plan, items: list[Item], device: str, diary: Diary) -> Iterator[list[Row]]:
    """Whole blocks to the devices in turn, two under way on each."""
    available = devices(device)
    compiled = program(plan, items[0], device)
    waiting: collections.deque[_Started] = collections.deque()
    start = turn = 0
    try:
        while start < len(items) or waiting:
            if start < len(items) and len(waiting) < 2 * len(available):
                waiting.append(_start(compiled, plan, items[start:], available[turn % len(available)], diary))
                start, turn = start + len(waiting[-1].block), turn + 1
            else:
                yield _finish(compiled, plan, waiting.popleft(), diary)
    except BaseException:  # an interrupt, an error, or nobody asks for more rows
        diary.stop()
        raise


@dataclass
class _Started:
    block: list[Item]
    width: int
    where: Any
    result: Any  # a function that waits for the observables, or the error that starting the block raised


def _start(compiled: Program, plan: Plan, items: list[Item], where: Any, diary: Diary) -> _Started:
    """Start a block of the first items, as many as the program takes."""
    result: Any
    try:
        result = compiled.launch(plan, items, where, _budget(where), diary)
    except InputError:
        raise
    except Exception as error:
        result = error
    return _Started(items[: compiled.width], compiled.width, where, result)


def _finish(compiled: Program, plan: Plan, started: _Started, diary: Diary) -> list[Row]:
    """Rows of a block; out of memory, it is measured again in narrower blocks; failing otherwise, in halves."""
    block = started.block
    try:
        if isinstance(started.result, Exception):
            raise started.result
        return [_row(plan, i, seen, failure_of(seen)) for i, seen in zip(block, started.result(), strict=True)]
    except (InputError, Stopped):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            if started.width == 1:
                raise InputError(
                    f"{plan.measurement.name} does not fit in the memory of {started.where} even one at a time "
                    f"({type(error).__name__}); make the sizes of {type(block[0].p).__name__} smaller"
                ) from error
            if compiled.width == started.width:  # else an earlier block has narrowed the program already
                compiled.narrow()
            half = compiled.width
        elif len(block) == 1:
            lines = str(error).strip().splitlines() or [""]  # the first says where, the last says what
            text = lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1]}"
            return [_row(plan, block[0], {}, f"{type(error).__name__}: {text}")]
        else:  # one item raised inside the program; the others are fine
            half = len(block) // 2
    rows = []
    for part in (block[:half], block[half:]):
        while part:
            again = _start(compiled, plan, part, started.where, diary)
            rows += _finish(compiled, plan, again, diary)
            part = part[len(again.block) :]
    return rows


def _budget(where: Any) -> float:
    """Bytes one block may take on this device."""
    if where.platform == "cpu":
        return _SHARE * _available_memory()
    stats = where.memory_stats() or {}
    free = stats.get("bytes_limit", 8 << 30) - stats.get("bytes_in_use", 0)
    return free / 3  # two blocks are under way


def _available_memory() -> float:
    """Bytes this process may still take: of the machine, and of its control group if it has a limit."""
    free = [float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES") / 2]
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/meminfo") as lines:
        free = [1024.0 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])]
    with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
        group = Path("/sys/fs/cgroup")
        limit, used = (float((group / name).read_text()) for name in ("memory.max", "memory.current"))
        free.append(limit - used)
    return max(min(free), 64.0 * 2**20)
