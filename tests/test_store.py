"""Rows on disk survive bit by bit; what is broken, stale or of another revision is not mistaken for a row."""

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import lab.sweeps.program as programs
from lab.errors import InputError, StaleRows
from lab.measure import Measurement, fingerprint, measurement, plan
from lab.params import Params
from lab.sweeps.engine import Engine
from lab.sweeps.provenance import provenance
from lab.sweeps.rows import Row, items
from lab.sweeps.store import Store


class Odd(Params):
    x: float = 1.0
    n: int = 2
    sizes: tuple[int, ...] = (1, 2)
    pairs: tuple[tuple[int, float], ...] = ((1, 0.5),)
    kind: str = "plain"
    flag: bool = False
    seed: int = 3  # like a column of every shard


CALLS = []


@measurement
def everything(p, stream, *, factor=1.0):
    CALLS.append(p.x)
    rng = stream.numpy("x")
    return {
        "double": rng.standard_normal() * factor,
        "single": np.float32(rng.standard_normal()),
        "half": rng.standard_normal(3).astype(np.float16),
        "whole": np.int64(2**62 + 1),
        "small": np.arange(3, dtype=np.uint8),
        "truth": np.array([True, False]),
        "matrix": rng.standard_normal((2, 3)),
        "box": rng.standard_normal((2, 3, 4)).astype(np.float32),
        "ragged": rng.standard_normal((p.n, p.n + 1)),
        "empty": np.zeros((0, 3)),
        "hollow": np.zeros((2, 0, 5), dtype=np.int32),
        "special": np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324]),
        "nan": np.nan,
        "label": "phase A",
        "labels": np.array(["a", "bcd"]),
        "x": p.x,  # like a parameter
        "key": 1.0,  # like a column of every shard
    }


@measurement(runs="jax")
def compiled(p, stream):
    import jax
    import jax.numpy as jnp

    X = jax.random.normal(stream.jax("x"), (6, 4)) * p.x
    return {"gram": X.T @ X, "sum": jnp.sum(X**2)}


POINTS = [Odd(x=float(k), n=k, sizes=(k,) * (k % 3), pairs=((k, 0.5 * k),) * 2) for k in range(1, 6)]


def bits(rows):
    return [
        (row.key, row.failure, [(k, v.dtype.str, v.shape, v.tobytes()) for k, v in row.observed.items()])
        for row in rows
    ]


def test_every_value_comes_back_bit_by_bit(tmp_path):
    first = Engine(store=tmp_path).measure(plan(everything), POINTS, [0, 3])
    CALLS.clear()
    again = Engine(store=tmp_path).measure(plan(everything), POINTS, [0, 3])
    assert not CALLS
    assert bits(again) == bits(first)
    assert first[0].failure == "non-finite: special, nan"
    assert [row.p for row in again] == [row.p for row in first]


def test_signed_zeros_and_nan_payloads_come_back(tmp_path):
    payload = np.array([0x7FF8000000000123, 0x8000000000000000], dtype=np.uint64).view(np.float64)

    @measurement
    def payloads(p, stream):
        return {"array": payload, "scalar": payload[0]}

    rows = Engine(store=tmp_path).measure(plan(payloads), [Odd()], [0])
    assert bits(Engine(store=tmp_path).measure(plan(payloads), [Odd()], [0])) == bits(rows)


def test_failures_come_back_too(tmp_path):
    @measurement
    def fails(p, stream):
        CALLS.append(p.x)
        if p.x == 2.0:
            raise ArithmeticError("two")
        return p.x

    rows = Engine(store=tmp_path).measure(plan(fails), POINTS, [0])
    CALLS.clear()
    again = Engine(store=tmp_path).measure(plan(fails), POINTS, [0])
    assert not CALLS
    assert bits(again) == bits(rows)
    assert [row.failure for row in again][:3] == [None, "ArithmeticError: two", None]


def test_a_shard_is_a_plain_tidy_parquet_file(tmp_path):
    import pandas as pd
    import pyarrow.parquet as pq

    rows = Engine(store=tmp_path).measure(plan(partial(compiled)), POINTS, [0])
    paths = sorted(tmp_path.glob("compiled-*.parquet"))  # one, or more where compiling takes seconds
    path, table = paths[0], pd.concat([pd.read_parquet(path) for path in paths])
    assert len(table) == len(rows)
    by_key = {row.key: row for row in rows}
    for _, line in table.iterrows():
        row = by_key[line["key"]]
        assert (line["x"], line["n"], line["parameter.seed"]) == (row.p.x, row.p.n, row.p.seed)
        assert (line["seed"], line["replicate"], line["revision"]) == (0, 0, 1)
        assert np.array_equal(np.stack(line["gram"]), row.observed["gram"])
    about = json.loads(pq.read_schema(path).metadata[b"lab"])
    assert about["identity"] == plan(compiled).identity
    assert about["fingerprint"] == fingerprint(plan(compiled))
    assert {"python", "lab", "numpy", "jax"} <= set(about["provenance"]["versions"])
    assert {"commit", "device", "command", "time"} <= set(about["provenance"])
    assert not list(tmp_path.glob(".*"))


def test_truncated_shard_is_set_aside_and_measured_again(tmp_path, capsys):
    engine = Engine(store=tmp_path)
    first = engine.measure(plan(everything), POINTS[:2], [0])
    first += engine.measure(plan(everything), POINTS[2:], [0])
    shards = sorted(tmp_path.glob("*.parquet"))
    assert len(shards) == 2
    for damage in (lambda data: data[: len(data) // 2], lambda data: b""):
        victim = sorted(tmp_path.glob("*.parquet"))[0]
        victim.write_bytes(damage(victim.read_bytes()))
        CALLS.clear()
        again = Engine(store=tmp_path).measure(plan(everything), POINTS, [0])
        assert 0 < len(CALLS) < len(POINTS)
        assert bits(again) == bits(first)
        said = capsys.readouterr().err
        assert f"{victim.name} cannot be read" in said
        assert "measured again" in said
        assert victim.with_name(victim.name + ".broken").exists()
        assert not victim.exists()


def test_flipped_bit_is_noticed(tmp_path, capsys):
    first = Engine(store=tmp_path).measure(plan(everything), POINTS, [0])
    (path,) = tmp_path.glob("*.parquet")
    data = bytearray(path.read_bytes())
    at = data.index(first[0].observed["double"].tobytes()) if first[0].observed["double"].tobytes() in data else 300
    data[at] ^= 1
    path.write_bytes(bytes(data))
    assert bits(Engine(store=tmp_path).measure(plan(everything), POINTS, [0])) == bits(first)
    assert "cannot be read" in capsys.readouterr().err


def test_two_writers_of_the_same_rows_make_no_duplicates(tmp_path):
    a, b = Engine(store=tmp_path), Engine(store=tmp_path)
    b._load(plan(everything))  # b looks before a writes
    first = a.measure(plan(everything), POINTS, [0])
    assert bits(b.measure(plan(everything), POINTS, [0])) == bits(first)
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    found = Store(tmp_path).load(plan(everything), fingerprint(plan(everything)))
    assert sorted(found) == sorted(row.key for row in first)


def test_two_processes_writing_at_once_leave_whole_shards(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    chosen = plan(everything)
    rows = Engine().measure(chosen, POINTS, range(20))
    store = Store(tmp_path)
    store.require_writable()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: store.write(chosen, "code", rows, provenance()), range(12)))
    found = store.load(chosen, "code")
    assert bits([Row(*(r.key, r.p, r.replicate, r.seed), *found[r.key], r.plan) for r in rows]) == bits(rows)


def with_code(old, code, revision):
    """The measurement as it would be after its source was edited."""
    return Measurement(code, old.runs, revision, old.paired, old.precision, old.knobs)


def test_changed_code_stops_the_run_with_a_choice(tmp_path):
    Engine(store=tmp_path).measure(plan(everything), POINTS, [0])

    def edited(p, stream, *, factor=1.0):
        return p.x * 2

    edited.__name__, edited.__qualname__ = "everything", "everything"
    stale = plan(with_code(everything, edited, 1))
    assert stale.identity == plan(everything).identity
    with pytest.raises(StaleRows, match=r"revision=2\); if not, move or remove that folder") as error:
        Engine(store=tmp_path).measure(stale, POINTS, [0])
    assert str(tmp_path) in str(error.value)
    rows = Engine(store=tmp_path).measure(plan(with_code(everything, edited, 2)), POINTS, [0])
    assert [float(row.observed["value"]) for row in rows] == [2 * p.x for p in POINTS]


def test_other_knobs_and_revisions_are_other_rows(tmp_path):
    one = Engine(store=tmp_path).measure(plan(everything), POINTS, [0])
    CALLS.clear()
    two = Engine(store=tmp_path).measure(plan(partial(everything, factor=2.0)), POINTS, [0])
    three = Engine(store=tmp_path).measure(plan(with_code(everything, everything.function, 2)), POINTS, [0])
    assert len(CALLS) == 2 * len(POINTS)
    assert not {r.key for r in one} & {r.key for r in two}
    assert not {r.key for r in one} & {r.key for r in three}
    assert two[0].observed["double"] == 2 * one[0].observed["double"]
    assert three[0].observed["double"] == one[0].observed["double"]


def test_unwritable_folder_is_said_before_anything_is_measured(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    CALLS.clear()
    with pytest.raises(InputError, match=r"rows cannot be written to .*file/rows: Not a directory; choose"):
        Engine(store=tmp_path / "file" / "rows").measure(plan(everything), POINTS, [0])
    assert not CALLS
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_only_what_is_missing_is_measured_whatever_the_blocks(tmp_path, monkeypatch):
    whole = Engine().measure(plan(compiled), POINTS, range(30))
    monkeypatch.setattr(programs, "_programs", {})
    Engine(store=tmp_path).measure(plan(compiled), POINTS[::2], range(7))
    launched, launch = [], programs.Program.launch

    def watched(self, plan, items, *rest):
        launched.append(min(len(items), self.width))
        return launch(self, plan, items, *rest)

    monkeypatch.setattr(programs.Program, "launch", watched)
    resumed = Engine(store=tmp_path).measure(plan(compiled), POINTS, range(30))
    assert sum(launched) == 5 * 30 - 3 * 7
    assert bits(resumed) == bits(whole)
    assert bits(Engine(store=tmp_path).measure(plan(compiled), POINTS, range(30))) == bits(whole)


def test_an_interrupt_keeps_what_was_measured(tmp_path, capsys):
    @measurement
    def interrupted(p, stream):
        if p.x == 4.0 and stop:
            raise KeyboardInterrupt
        CALLS.append(p.x)
        return p.x

    stop = [True]
    with pytest.raises(KeyboardInterrupt):
        Engine(store=tmp_path).measure(plan(interrupted), POINTS, [0])
    said = capsys.readouterr().err
    assert f"3 of 5 missing rows were measured and are kept in {tmp_path}; run the same again" in said
    stop.clear()
    CALLS.clear()
    rows = Engine(store=tmp_path).measure(plan(interrupted), POINTS, [0])
    assert CALLS == [4.0, 5.0]
    assert [float(row.observed["value"]) for row in rows] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_keys_depend_on_values_and_not_on_how_they_were_written():
    (a,), (b,) = (items(plan(everything), [Odd(x=x)], [0], 0) for x in (1, np.float64(1.0)))
    assert a.key == b.key
    with pytest.raises(InputError, match="replicate=-1 must be a whole number"):
        items(plan(everything), [Odd()], [-1], 0)


BRIEF = """
import sys
from lab.measure import measurement, plan
from lab.params import Params
from lab.sweeps.engine import Engine

class Point(Params):
    x: float = 1.0

@measurement
def drawn(p, stream):
    return {"v": stream.numpy("v").random(4), "w": p.x}

Engine(store=sys.argv[1]).measure(plan(drawn), [Point(x=x) for x in (1.0, 2.0)], range(200))
raise SystemExit(3)
"""


def test_a_process_that_ends_right_after_reading_ends_as_it_should(tmp_path):
    """Reading with pyarrow's threads left a pool that aborted the interpreter at its end, three times in five."""
    script = tmp_path / "brief.py"
    script.write_text(BRIEF)
    command = [sys.executable, str(script), str(tmp_path / "rows")]
    assert [subprocess.run(command, check=False).returncode for _ in range(6)] == [3] * 6
    assert len(list((tmp_path / "rows").glob("*.parquet"))) == 1
