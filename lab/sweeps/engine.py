"""The engine: measures what is missing, here or on dask workers, and keeps what it has measured.

Rows are named by what decides them, so block size, order and number of workers change none of them, and a run
that was interrupted continues where it stopped.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lab.arrays import give_jax_threads
from lab.errors import InputError
from lab.measure import Plan, fingerprint
from lab.params import Params
from lab.sweeps.blocks import measure_items
from lab.sweeps.diary import Diary
from lab.sweeps.rows import Item, Job, Row, items
from lab.sweeps.store import Seen, Store, column_names, kept, provenance

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Engine", "frame"]

class Engine:
    """Measures points, and remembers rows in memory and in a folder.

    Parameters
    ----------
    store : path, optional
        Folder of parquet shards, e.g. ``results/my_study/default/rows``; made if it does not exist. Without it
        rows live in memory only.
    device : "cpu" or "gpu"
        Where JAX measurements run (on every visible device of the kind); a torch measurement is told through its
        knob ``device``, numpy measurements ignore it.
    workers : int
        Processes of a local dask cluster; 0 measures in this process.
    cluster : str, optional
        Address (``tcp://...``) or scheduler file (``*.json``) of a running dask cluster. Its machines must share
        the file system of `store`.
    progress : bool
        Show a progress bar on stderr.
    known : sequence of paths
        Folders of shards that are only looked into, for rows of iterated measurements: training runs that another
        command has done need not be done again.

    Examples
    --------
    >>> from lab.measure import measurement, plan
    >>> from lab.params import Params
    >>> class Point(Params):
    ...     x: float = 1.0
    >>> @measurement
    ... def square(p, stream):
    ...     return p.x**2
    >>> [float(row.observed["value"]) for row in Engine().measure(plan(square), [Point(x=3.0)], [0, 1])]
    [9.0, 9.0]
    """

    def __init__(
        self,
        store: Path | str | None = None,
        device: str = "cpu",
        workers: int = 0,
        cluster: str | None = None,
        progress: bool = False,
        known: Sequence[Path | str] = (),
    ) -> None:
        if device not in ("cpu", "gpu"):
            raise InputError(f'device={device!r} must be "cpu" or "gpu"')
        if isinstance(workers, bool) or int(workers) != workers or workers < 0:
            raise InputError(f"workers={workers!r} must be 0 (measure in this process) or a number of processes")
        if workers and cluster:
            raise InputError(f"workers={workers} and cluster={cluster!r} exclude each other; give one of them")
        give_jax_threads()
        self.device, self.workers, self.cluster, self.progress = device, int(workers), cluster, progress
        self.store = None if store is None else Store(store)
        self.known = [Store(folder) for folder in known]
        self._rows: dict[str, Row] = {}
        self._stored: dict[Plan, dict[str, Seen]] = {}
        self._fingerprints: dict[Plan, str] = {}
        self._pool: Any = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers, if any were started."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    # ------------------------------------------------------------------ measuring

    def measure(self, plan: Plan, points: Iterable[Params], replicates: Sequence[int], seed: int = 0) -> list[Row]:
        """Rows of every point and replicate, point by point; only what is missing is measured.

        Parameters
        ----------
        plan : Plan
            From ``lab.measure.plan(measurement_or_partial, situation)``.
        points : sequence of Params
        replicates : sequence of int
            Which replicates, counted from 0.
        seed : int
            Root seed, part of the name of every draw.

        Raises
        ------
        InputError
            If the measurement cannot be traced, does not fit in memory, or the store cannot be written.
        StaleRows
            If the store holds rows of the same measurement and revision, measured by other code.
        """
        return self.measure_all([Job(plan, list(points), list(replicates), seed)])[0]

    def measure_all(self, jobs: Iterable[Job | tuple[Any, ...]]) -> list[list[Row]]:
        """`measure` for several ``(plan, points, replicates, seed)`` at once, so that workers are kept busy."""
        wanted_jobs = [job if isinstance(job, Job) else Job(*job) for job in jobs]
        asked = [items(job.plan, job.points, job.replicates, job.seed) for job in wanted_jobs]
        missing: dict[Plan, dict[str, Item]] = {}
        for job, wanted in zip(wanted_jobs, asked, strict=True):
            stored = self._load(job.plan)
            todo = missing.setdefault(job.plan, {})
            for item in wanted:
                if item.key in self._rows:
                    continue
                if item.key in stored:
                    self._keep(job.plan, item, *stored.pop(item.key))
                else:
                    todo[item.key] = item
        missing = {plan: todo for plan, todo in missing.items() if todo}
        if missing:
            self._measure(missing)
        return [[self._rows[item.key] for item in wanted] for wanted in asked]

    def frame(self, jobs: Iterable[Any]) -> pd.DataFrame:
        """`frame` of rows, or of the rows of jobs, measuring what is missing."""
        jobs = list(jobs)
        if jobs and not isinstance(jobs[0], Row):
            jobs = list({row.key: row for rows in self.measure_all(jobs) for row in rows}.values())
        return frame(jobs)

    def _load(self, plan: Plan) -> dict[str, Seen]:
        if plan not in self._stored:
            found = {} if self.store is None else self.store.load(plan, self._fingerprint(plan))
            for other in self.known if plan.measurement.turns is not None else ():
                found = other.known(plan, self._fingerprint(plan)) | found
            self._stored[plan] = found
        return self._stored[plan]

    def _fingerprint(self, plan: Plan) -> str:
        if plan not in self._fingerprints:
            self._fingerprints[plan] = fingerprint(plan)
        return self._fingerprints[plan]

    def _keep(self, plan: Plan, item: Item, observed: dict[str, np.ndarray], failure: str | None) -> None:
        self._rows[item.key] = Row(item.key, item.p, item.replicate, item.seed, observed, failure, plan)

    def _measure(self, missing: dict[Plan, dict[str, Item]]) -> None:
        if self.store is not None:
            self.store.require_writable()
        total, done = sum(map(len, missing.values())), 0
        measure = self._remotely if self.workers or self.cluster else self._here
        try:
            with _progress(total, self.progress) as advance:
                for count in measure(missing, advance):
                    done += count
        except KeyboardInterrupt:
            where = f"kept in {self.store.folder}" if self.store else "lost: no store was given"
            least = "at least " if self._pool else ""  # workers keep parts of tasks, too
            print(f"lab: interrupted; {least}{done} of {total} missing rows were measured and are {where}; run the "
                  "same again to measure the rest", file=sys.stderr)  # fmt: skip
            raise

    def _here(self, missing: dict[Plan, dict[str, Item]], advance: Callable[[float], None]) -> Iterator[int]:
        """Measure in this process; yields numbers of rows done."""
        for plan, todo in missing.items():
            iterated = plan.measurement.turns is not None
            folder = None if self.store is None else self.store.folder
            identity = f"{plan.identity}\n{self._fingerprint(plan)}" if iterated and folder else ""
            diary = Diary(folder, identity, advance)
            measured = measure_items(plan, list(todo.values()), self.device, diary)
            if self.store is not None:
                measured = kept(measured, partial(self._write, plan))
            for rows in measured:
                self._rows.update({row.key: row for row in rows})
                if not iterated:  # else told turn by turn
                    advance(len(rows))
                yield len(rows)
            diary.clear()

    def _write(self, plan: Plan, rows: list[Row]) -> None:
        assert self.store is not None
        self.store.write(plan, self._fingerprint(plan), rows, provenance(self.device))

    def _remotely(self, missing: dict[Plan, dict[str, Item]], advance: Callable[[float], None]) -> Iterator[int]:
        """Measure on dask workers, which store what they measure; yields numbers of rows done."""
        from lab.sweeps.workers import Pool, tasks

        if self._pool is None:
            self._pool = Pool(self.workers, self.cluster)
        store = self.store
        if store is None:
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="lab-rows-")
            store = Store(self._temporary.name)
        todo = [
            task
            for plan, wanted in missing.items()
            for task in tasks(plan, self._fingerprint(plan), list(wanted.values()), self.device, self._pool.size)
        ]
        for task, names in self._pool.run(todo, store.folder, self.device, provenance(self.device)):
            found = store.read_shards(names, task.plan, task.fingerprint)
            for item in task.items:
                if item.key not in found:
                    raise InputError(
                        f"{store.folder} does not show rows that a worker has written there; choose a folder on a "
                        "file system that all machines share"
                    )
                self._keep(task.plan, item, *found[item.key])
            advance(len(task.items))
            yield len(task.items)


@contextlib.contextmanager
def _progress(total: int, show: bool) -> Iterator[Callable[[float], None]]:
    """A bar on stderr, or nothing."""
    if not show:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("measuring", total=total)
        yield lambda count: bar.advance(task, count)


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as a tidy table: one line per point, replicate and seed.

    Columns are the parameters, ``replicate``, ``seed``, the observables (arrays stay arrays: `DataFrame.explode`
    spreads them), ``measurement``, ``knobs`` (JSON) and ``failure``. An observable called like another column is
    prefixed with ``observed.``, a parameter called like one of the fixed columns with ``parameter.``.
    """
    import pandas as pd

    rows = list(rows)
    fields = list(dict.fromkeys(name for row in rows for name in type(row.p).model_fields))
    observed = list(dict.fromkeys(name for row in rows for name in row.observed))
    parameter_column, observed_column = column_names(fields, observed)
    columns: dict[str, Any] = {}
    for field, column in parameter_column.items():
        columns[column] = _column([getattr(row.p, field, None) for row in rows])
    columns["replicate"] = [row.replicate for row in rows]
    columns["seed"] = [row.seed for row in rows]
    for name, column in observed_column.items():
        columns[column] = _column([row.observed.get(name) for row in rows])
    knobs = {row.plan: json.dumps(dict(row.plan.knobs), default=repr, sort_keys=True) for row in rows}
    columns["measurement"] = [row.plan.measurement.name for row in rows]
    columns["knobs"] = [knobs[row.plan] for row in rows]
    columns["failure"] = pd.Series([row.failure for row in rows], dtype=object)
    return pd.DataFrame(columns)


def _column(values: list[Any]) -> Any:
    """Numbers as a plain column, everything longer as objects; absent values are missing."""
    import pandas as pd

    values = [v[()] if isinstance(v, np.ndarray) and v.ndim == 0 else v for v in values]
    if any(isinstance(v, np.ndarray | tuple | list) for v in values):
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return pd.Series(column, dtype=object)
    return values
