"""The engine: measures what is missing, here or on dask workers, and keeps what it has measured.

Rows are named by what decides them, so block size, order and number of workers change none of them, and a run
that was interrupted continues where it stopped.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from lab.errors import InputError
from lab.measurement import Plan, fingerprint
from lab.params import Params
from lab.sweep.blocks import measure_items
from lab.sweep.rows import Item, Job, Row, items

__all__ = ["Engine", "frame"]

_FLUSH_SECONDS = 2.0  # at most this much finished work is lost with the process
_FLUSH_ROWS = 20_000


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

    Examples
    --------
    >>> from lab.measurement import measurement, plan
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
    ) -> None:
        if device not in ("cpu", "gpu"):
            raise InputError(f'device={device!r} must be "cpu" or "gpu"')
        if isinstance(workers, bool) or int(workers) != workers or workers < 0:
            raise InputError(f"workers={workers!r} must be 0 (measure in this process) or a number of processes")
        if workers and cluster:
            raise InputError(f"workers={workers} and cluster={cluster!r} exclude each other; give one of them")
        self.device, self.workers, self.cluster, self.progress = device, int(workers), cluster, progress
        self._rows: dict[str, Row] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers, if any were started."""

    # ------------------------------------------------------------------ measuring

    def measure(self, plan: Plan, points: Iterable[Params], replicates: Sequence[int], seed: int = 0) -> list[Row]:
        """Rows of every point and replicate, point by point; only what is missing is measured.

        Parameters
        ----------
        plan : Plan
            From ``lab.measurement.plan(measurement_or_partial, situation)``.
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
        jobs = [job if isinstance(job, Job) else Job(*job) for job in jobs]
        asked = [items(job.plan, job.points, job.replicates, job.seed) for job in jobs]
        missing: dict[Plan, dict[str, Item]] = {}
        for job, wanted in zip(jobs, asked, strict=True):
            todo = missing.setdefault(job.plan, {})
            todo.update({item.key: item for item in wanted if item.key not in self._rows})
        for plan, todo in missing.items():
            if todo:
                for rows in measure_items(plan, list(todo.values()), self.device):
                    self._rows.update({row.key: row for row in rows})
        return [[self._rows[item.key] for item in wanted] for wanted in asked]
