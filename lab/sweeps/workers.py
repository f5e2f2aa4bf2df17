"""Measuring on dask workers: tasks are blocks that write their own shards, so a lost worker or driver loses little.

A worker's answer is the names of its shards, not the rows: results do not pile up in anyone's memory.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import sysconfig
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lab.arrays import give_jax_threads
from lab.errors import InputError
from lab.measure import Plan
from lab.sweeps.blocks import groups, measure_items
from lab.sweeps.diary import Diary
from lab.sweeps.rows import Item
from lab.sweeps.store import Store, kept

__all__ = ["Pool", "Task", "tasks"]

_ALLOWED_FAILURES = 20  # workers that may die under one task before it is given up
_PER_WORKER = 4  # tasks per worker and program: enough to even out their lengths
_LARGEST = 1024  # items of one task, unless a single block is wider
_GUARD = 'workers import the script that starts them, so put the call under: if __name__ == "__main__":'


class Task:
    """A block of items of one plan, to be measured by one worker."""

    def __init__(self, plan: Plan, fingerprint: str, items: Sequence[Item]) -> None:
        self.plan, self.fingerprint, self.items, self.tag = plan, fingerprint, list(items), uuid.uuid4().hex


def tasks(plan: Plan, fingerprint: str, items: Sequence[Item], device: str, workers: int) -> list[Task]:
    """Cut items into tasks; those of a JAX measurement are whole blocks of its program."""
    found = []
    for group in groups(plan, items):
        size = max(1, min(_LARGEST, -(-len(group) // (_PER_WORKER * max(workers, 1)))))
        if plan.measurement.runs == "jax":
            from lab.sweeps.program import program

            # traced here too: what JAX cannot trace is said at once, and not by a worker
            width = program(plan, group[0], device).width
            size = -(-size // width) * width
        found += [Task(plan, fingerprint, group[k : k + size]) for k in range(0, len(group), size)]
    return found


def work(payload: bytes, folder: str, device: str, about: dict[str, Any]) -> list[str]:
    """What a worker does with a task: measure what an earlier attempt at it has not stored; return shard names."""
    import cloudpickle

    from lab.sweeps.provenance import provenance

    give_jax_threads()
    task: Task = cloudpickle.loads(payload)
    store = Store(folder)
    if not store.folder.is_dir():
        raise InputError(f"a worker does not see the folder {folder}; choose one on a file system that all share")
    done = store.read_shards(store.written(task.plan, task.tag), task.plan, task.fingerprint)
    missing = [item for item in task.items if item.key not in done]

    def write(rows: Any) -> None:
        here = provenance(device)
        origin = {**about, **{name: here[name] for name in ("versions", "cores", "device")}}
        store.write(task.plan, task.fingerprint, rows, origin, task.tag)

    diary = Diary(store.folder, f"{task.plan.identity}\n{task.fingerprint}")
    for _ in kept(measure_items(task.plan, missing, device, diary), write):
        pass
    diary.clear()
    return store.written(task.plan, task.tag)


class Pool:
    """A dask client, of a cluster of this machine's processes or of one that is running elsewhere."""

    def __init__(self, workers: int, cluster: str | None) -> None:
        try:
            import cloudpickle  # noqa: F401 - asked for here, so that its absence is said before measuring
            import dask
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise InputError(
                f"workers and clusters need {error.name}; pip install theory-lab[dist], or measure with workers=0"
            ) from None
        if multiprocessing.parent_process() is not None and not cluster:
            raise InputError(f"workers={workers} was asked for by a process that is itself a worker; {_GUARD}")
        self._local = None
        if cluster is None:
            settings = {
                "distributed.scheduler.allowed-failures": _ALLOWED_FAILURES,
                "distributed.worker.multiprocessing-method": "spawn",  # a forked JAX or BLAS may hang
            }
            with dask.config.set(settings):
                try:
                    self._local = LocalCluster(
                        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0",
                        memory_limit=0, silence_logs=50,  # workers that die are reported by us
                        # several processes share each GPU
                        env={"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
                    )  # fmt: skip
                except RuntimeError as error:
                    raise InputError(f"workers={workers} could not be started ({error}); {_GUARD}") from None
            self._client = Client(self._local, set_as_default=False)
            return
        try:
            where = {"scheduler_file": cluster} if cluster.endswith(".json") else {"address": cluster}
            if "scheduler_file" in where and not Path(cluster).is_file():
                raise OSError("no such file")
            self._client = Client(**where, timeout=20, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"cluster={cluster!r} cannot be reached ({error}); give the address (tcp://host:port) or the "
                "scheduler file (*.json) of a running dask scheduler"
            ) from None

    @property
    def size(self) -> int:
        """Workers at present; a cluster that is still growing counts as at least two."""
        return max(2 if self._local is None else 1, len(self._client.nthreads()))

    def run(self, todo: Sequence[Task], folder: Path, device: str, about: dict[str, Any]) -> Iterator[tuple[Task, Any]]:
        """Tasks and the names of their shards, as they are done."""
        from distributed import KilledWorker, as_completed

        folder = folder.resolve()
        waiting = list(reversed(todo))
        running: dict[Any, Task] = {}

        def submit() -> Any:
            task = waiting.pop()
            payload = _pickled(task)
            future = self._client.submit(work, payload, str(folder), device, about, pure=False, key=f"lab-{task.tag}")
            running[future.key] = task
            return future

        # a few per worker under way: the scheduler never holds more than that
        first = [submit() for _ in range(min(len(waiting), 4 * self.size + 8))]
        futures = as_completed(first, loop=self._client.loop)
        try:
            for future in futures:
                try:
                    names = future.result()
                except KilledWorker:
                    task = running[future.key]
                    raise InputError(
                        f"{_ALLOWED_FAILURES} workers died measuring {task.plan.measurement.name}, perhaps for lack "
                        "of memory; rows measured so far are kept: run again with fewer workers"
                    ) from None
                future.release()
                if waiting:
                    futures.add(submit())
                yield running.pop(future.key), names
        finally:
            if running:  # left for an error or an interrupt
                with contextlib.suppress(Exception):
                    self._client.cancel(list(futures.futures), force=True)

    def close(self) -> None:
        """Disconnect, and stop the workers if they are ours."""
        self._client.close()
        if self._local is not None:
            self._local.close()


def _pickled(task: Task) -> bytes:
    """A task as bytes: installed functions travel by name, those of scripts and their helpers by value."""
    import cloudpickle

    known = cloudpickle.list_registry_pickle_by_value()
    mine = [m for m in _user_modules() if m.__name__ not in known]
    for module in mine:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(task)
    finally:
        for module in mine:
            cloudpickle.unregister_pickle_by_value(module)


def _user_modules() -> list[Any]:
    """Loaded modules that a worker elsewhere may not be able to import: neither installed nor of `lab`."""
    import lab

    installed = {str(Path(path).resolve()) for path in sysconfig.get_paths().values()}
    installed |= {str(Path(sys.base_prefix).resolve()), str(Path(lab.__file__ or "").resolve().parent)}
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or name in ("__main__", "__mp_main__") or getattr(module, "__name__", None) != name:
            continue
        path = str(Path(file).resolve())
        if not any(path.startswith(f"{folder}/") for folder in installed):
            found.append(module)
    return found
