"""Rows on disk: a folder of parquet shards, each written aside and renamed, so that none is ever half a file.

A shard's name begins with the digest of its plan (measurement, knobs, revision, situation, precision): other
revisions and other knobs are never opened. Values survive bit by bit, NaN and empty arrays included.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lab.errors import InputError, StaleRows
from lab.measure import Plan
from lab.sweeps.provenance import provenance
from lab.sweeps.rows import Row

__all__ = ["Seen", "Store", "column_names", "provenance"]

Seen = tuple[dict[str, np.ndarray], str | None]
"""Observables and failure of a stored row."""

RESERVED = ("key", "measurement", "knobs", "revision", "seed", "replicate", "failure", "shapes")
_VISIBLE = 10.0  # seconds a shared file system may take to show a file that another machine wrote
_LEFTOVER = 86_400.0  # seconds after which a temporary file belongs to a writer that died


def column_names(fields: Sequence[str], observed: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Column of each parameter and of each observable; a name taken already gets a prefix."""
    parameters = {f: f"parameter.{f}" if f in RESERVED else f for f in fields}
    taken = {*RESERVED, *parameters.values()}
    return parameters, {o: f"observed.{o}" if o in taken else o for o in observed}


class Store:
    """A folder of shards.

    Parameters
    ----------
    folder : path
        Made at the first write, if it does not exist.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def require_writable(self) -> None:
        """Fail now, not after an hour of measuring.

        Raises
        ------
        InputError
            If the folder cannot be made or written.
        """
        probe = self.folder / f".{uuid.uuid4().hex}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    # ------------------------------------------------------------------ reading

    def load(self, plan: Plan, fingerprint: str) -> dict[str, Seen]:
        """All rows of a plan by key; a row that two writers stored counts once.

        Raises
        ------
        StaleRows
            If rows of this plan were measured by code with another fingerprint.
        """
        found = self._all(plan, fingerprint)
        for path in self.folder.glob(".*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFTOVER:
                    path.unlink()
        return found

    def known(self, plan: Plan, fingerprint: str) -> dict[str, Seen]:
        """Rows of a plan by key, if this code measured them; for a store that is only looked into."""
        try:
            return self._all(plan, fingerprint)
        except StaleRows:
            return {}

    def _all(self, plan: Plan, fingerprint: str) -> dict[str, Seen]:
        found: dict[str, Seen] = {}
        for path in sorted(self.folder.glob(f"{_prefix(plan)}-*.parquet")):
            for key, seen in self.read(path, plan, fingerprint).items():
                found.setdefault(key, seen)
        return found

    def read(self, path: Path, plan: Plan, fingerprint: str) -> dict[str, Seen]:
        """Rows of one shard by key; a shard that cannot be read is set aside and yields none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # By content, in one thread: a folder called x=1 in a name would read as a partition, and a process that
            # ends right after reading (a finished rerun, say) was seen to abort while a thread of pyarrow's started.
            content = pa.BufferReader(path.read_bytes())
            table = pq.ParquetFile(content, page_checksum_verification=True, pre_buffer=False).read(use_threads=False)
            about = json.loads(table.schema.metadata[b"lab"])
            fresh = about["fingerprint"] == fingerprint
            rows = _unpack(table, about) if fresh else {}
        except FileNotFoundError:  # another process has set it aside
            return {}
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            _set_aside(path, error)
            return {}
        if not fresh:
            m = plan.measurement
            raise StaleRows(
                f"{self.folder} holds rows of {m.name}, revision {m.revision}, measured by other code (fingerprint "
                f"{about['fingerprint']}, now {fingerprint}): if the rows mean something else now, declare "
                f"@measurement(revision={m.revision + 1}); if not, move or remove that folder to measure again"
            )
        return rows

    def read_shards(self, names: Sequence[str], plan: Plan, fingerprint: str) -> dict[str, Seen]:
        """Rows of shards that a worker has just written, waiting for a slow shared file system."""
        found: dict[str, Seen] = {}
        deadline = time.monotonic() + _VISIBLE
        for name in names:
            while not (self.folder / name).exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            found.update(self.read(self.folder / name, plan, fingerprint))
        return found

    def written(self, plan: Plan, tag: str) -> list[str]:
        """Names of the shards written under a tag."""
        return sorted(path.name for path in self.folder.glob(f"{_prefix(plan)}-{tag}-*.parquet"))

    # ------------------------------------------------------------------ writing

    def write(
        self, plan: Plan, fingerprint: str, rows: Sequence[Row], about: Mapping[str, Any], tag: str = "here"
    ) -> list[str]:
        """Write rows as shards, one for each set of columns; returns their names."""
        alike: dict[Any, list[Row]] = {}
        for row in rows:
            kinds = tuple((name, a.dtype.str, a.ndim) for name, a in row.observed.items())
            alike.setdefault((type(row.p), kinds), []).append(row)
        return [self._write(plan, fingerprint, part, about, tag) for part in alike.values()]

    def _write(self, plan: Plan, fingerprint: str, rows: list[Row], about: Mapping[str, Any], tag: str) -> str:
        import pyarrow.parquet as pq

        table = _pack(plan, fingerprint, rows, about)
        text = [f.name for f in table.schema if str(f.type) == "string"]
        name = f"{_prefix(plan)}-{tag}-{uuid.uuid4().hex}.parquet"
        temporary = self.folder / f".{name}.tmp"
        try:
            with open(temporary, "wb") as file:
                pq.write_table(table, file, use_dictionary=text, write_page_checksum=True)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.folder / name)
            _sync(self.folder)
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        finally:
            temporary.unlink(missing_ok=True)
        return name


def kept(measured: Iterator[list[Row]], write: Any, seconds: float = 2.0, count: int = 20_000) -> Iterator[list[Row]]:
    """Pass rows on, writing them every few seconds, and also when measuring stops for an error or an interrupt."""
    waiting: list[Row] = []
    last = 0.0
    try:
        for rows in measured:
            if not waiting:
                last = time.monotonic()
            waiting += rows
            if len(waiting) >= count or time.monotonic() - last > seconds:
                done, waiting = waiting, []
                write(done)
            yield rows
    finally:
        if waiting:
            write(waiting)


def _prefix(plan: Plan) -> str:
    digest = hashlib.blake2b(plan.identity.encode(), digest_size=8).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_]+', '_', plan.measurement.function.__name__)}-{digest}"


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(f"rows cannot be written to {folder}: {error.strerror or error}; choose a writable folder")


def _set_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(path.name + ".broken")
    reason = str(error).strip().split("\n")[0]
    with contextlib.suppress(OSError):  # a read-only folder: skipped all the same
        path.rename(aside)
    print(f"lab: shard {path} cannot be read ({reason}); set aside as {aside.name}, its rows are measured again",
          file=sys.stderr)  # fmt: skip


def _sync(folder: Path) -> None:
    """Make the rename itself durable, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# ---------------------------------------------------------------------- rows to columns and back


def _pack(plan: Plan, fingerprint: str, rows: list[Row], about: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    first = rows[0]
    parameters, observed = column_names(list(type(first.p).model_fields), list(first.observed))
    arrays = [name for name, value in first.observed.items() if value.ndim]
    columns = {
        "key": pa.array([row.key for row in rows]),
        "measurement": pa.array([plan.measurement.name] * len(rows)),
        "knobs": pa.array([json.dumps(dict(plan.knobs), default=repr, sort_keys=True)] * len(rows)),
        "revision": pa.array([plan.measurement.revision] * len(rows)),
        "seed": pa.array([row.seed for row in rows]),
        "replicate": pa.array([row.replicate for row in rows]),
        "failure": pa.array([row.failure for row in rows], pa.string()),
        # nested lists forget the shape of an empty array
        "shapes": pa.array([json.dumps({name: row.observed[name].shape for name in arrays}) for row in rows]),
    }
    for field, column in parameters.items():
        values = [getattr(row.p, field) for row in rows]
        try:
            columns[column] = pa.array(values)
        except pa.ArrowException:  # values of several kinds
            columns[column] = pa.array([json.dumps(value, default=repr) for value in values])
    for name, column in observed.items():
        columns[column] = _nested([row.observed[name] for row in rows])
    described = {n: [column, first.observed[n].dtype.str, first.observed[n].ndim] for n, column in observed.items()}
    text = {"identity": plan.identity, "fingerprint": fingerprint, "revision": plan.measurement.revision,
            "parameters": parameters, "observed": described, "provenance": dict(about)}  # fmt: skip
    return pa.table(columns, metadata={b"lab": json.dumps(text).encode()})


def _nested(arrays: list[np.ndarray]) -> Any:
    """One column: numbers, or lists nested as deep as the arrays."""
    import pyarrow as pa

    flat = np.concatenate([a.reshape(-1) for a in arrays])
    column = pa.array(flat.tolist()) if flat.dtype.kind == "U" else pa.array(flat)
    for axis in range(arrays[0].ndim - 1, -1, -1):
        lengths = [np.full(int(np.prod(a.shape[:axis])), a.shape[axis]) for a in arrays]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        column = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), column)
    return column


def _unpack(table: Any, about: Mapping[str, Any]) -> dict[str, Seen]:
    rows: list[dict[str, np.ndarray]] = [{} for _ in range(len(table))]
    shapes = [json.loads(text) for text in table["shapes"].to_pylist()]
    for name, (column, dtype, ndim) in about["observed"].items():
        values = table[column].combine_chunks()
        for _ in range(ndim):
            values = values.flatten()
        flat = np.asarray(values.to_pylist() if np.dtype(dtype).kind == "U" else values.to_numpy(zero_copy_only=False))
        flat = flat.astype(dtype, copy=False)
        start = 0
        for row, shape in zip(rows, shapes, strict=True):
            size = int(np.prod(shape.get(name, ())))
            row[name] = flat[start : start + size].reshape(shape.get(name, ()))
            start += size
    failures = table["failure"].to_pylist()
    return dict(zip(table["key"].to_pylist(), zip(rows, failures, strict=True), strict=True))
