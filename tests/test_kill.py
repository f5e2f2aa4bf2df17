"""Processes are killed in the middle of a run; what follows measures the rest, and every row is the same bit by bit."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import lab
from lab.errors import InputError
from lab.measure import measurement, plan
from lab.params import Params
from lab.sweeps.engine import Engine

SCRIPT = """
import os, sys, time
import numpy as np
import lab.sweeps.program as programs
from lab.measure import measurement, plan
from lab.params import Params
from lab.sweeps.engine import Engine

class Point(Params):
    scale: float = 1.0

launch = programs.Program.launch

def slowly(self, plan, items, *rest):
    time.sleep(float(os.environ["LAB_TEST_NAP"]) * min(len(items), self.width))
    return launch(self, plan, items, *rest)

programs.Program.launch = slowly  # in workers too: they import this script

@measurement(runs="jax")
def gram(p, stream):
    import jax
    X = jax.random.normal(stream.jax("x"), (100, 100)) * p.scale
    X = X @ X
    return {"row": (X.T @ X)[0], "sum": (X**2).sum(), "eigenvalues": jax.numpy.linalg.eigvalsh(X + X.T)}

@measurement
def mean(p, stream):
    time.sleep(float(os.environ["LAB_TEST_NAP"]))
    X = stream.numpy("x").standard_normal((200, 200))
    return {"value": np.linalg.eigvalsh(X + X.T) * p.scale}

if __name__ == "__main__":
    points = [Point(scale=0.1 * k) for k in range(1, 21)]
    with Engine(store=sys.argv[1], workers=int(sys.argv[2])) as engine:
        done = engine.measure_all([(plan(gram), points, range(6)), (plan(mean), points, range(6))])
    import hashlib
    for rows in done:
        values = [v.tobytes() for row in rows for v in row.observed.values()]
        print(len(rows), hashlib.md5(b"".join(values)).hexdigest())
"""


class Run:
    """The script, in a process of its own."""

    def __init__(self, folder, store, nap, workers=0):
        (folder / "study.py").write_text(SCRIPT)
        environment = {**os.environ, "LAB_TEST_NAP": str(nap), "PYTHONPATH": str(Path(lab.__file__).parents[1])}
        self.store = store
        self.process = subprocess.Popen(
            [sys.executable, folder / "study.py", store, str(workers)], env=environment, stdout=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip

    def result(self):
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return said

    def kill_after(self, shards):
        deadline = time.monotonic() + 40
        while len(list(self.store.glob("*.parquet"))) < shards:
            assert self.process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return Run(folder, folder / "rows", 0).result()


def test_driver_killed(tmp_path, undisturbed):
    run = Run(tmp_path, tmp_path / "rows", 0.02)
    run.kill_after(2)
    before = {path.name for path in run.store.glob("*.parquet")}
    assert Run(tmp_path, tmp_path / "rows", 0).result() == undisturbed
    assert before < {path.name for path in run.store.glob("*.parquet")}


def test_driver_with_workers_killed(tmp_path, undisturbed):
    run = Run(tmp_path, tmp_path / "rows", 0.02, workers=2)
    run.kill_after(1)
    assert Run(tmp_path, tmp_path / "rows", 0).result() == undisturbed


class Spot(Params):
    scale: float = 1.0


@measurement
def spectrum(p, stream):
    Path(os.environ["LAB_TEST_PIDS"], str(os.getpid())).touch()
    time.sleep(float(os.environ["LAB_TEST_NAP"]))
    X = stream.numpy("x").standard_normal((150, 150))
    return {"eigenvalues": np.linalg.eigvalsh(X + X.T) * p.scale}


FILE = """
from lab.errors import InputError
from lab.measure import measurement
from lab.params import Params

class Own(Params):
    scale: float = 1.0

def helper(x):
    return x + 1.0

@measurement(runs="jax")
def shifted(p, stream):
    import jax
    return helper(p.scale) * jax.random.normal(stream.jax("x"), (3,))

@measurement
def picky(p, stream):
    if p.scale > 2.0:
        raise InputError("scale is too large; lower it")
    return p.scale
"""


def test_workers_measure_the_same_rows_of_a_file_they_cannot_import(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(FILE)
    spec = importlib.util.spec_from_file_location("lab_file_own", path)
    own = sys.modules["lab_file_own"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(own)
    points = [own.Own(scale=0.5 * k) for k in range(1, 7)]
    expected = Engine().measure(plan(own.shifted), points, range(4))
    try:
        with Engine(workers=2) as local:
            address = local.measure(plan(own.shifted), points, range(4)) and local._pool._client.scheduler.address
            with Engine(store=tmp_path / "rows", cluster=address) as remote:
                for engine in (local, remote):
                    rows = engine.measure(plan(own.shifted), points, range(4))
                    assert [r.observed["value"].tobytes() for r in rows] == [
                        r.observed["value"].tobytes() for r in expected
                    ]
                with pytest.raises(InputError, match="scale is too large; lower it"):
                    remote.measure(plan(own.picky), points, [0])
    finally:
        del sys.modules["lab_file_own"]


def test_worker_killed(tmp_path, monkeypatch):
    pids, store = tmp_path / "pids", tmp_path / "rows"
    pids.mkdir()
    points, killed = [Spot(scale=0.1 * k) for k in range(1, 11)], []

    def kill():
        while len(list(pids.iterdir())) < 2 or not list(store.glob("*.parquet")):
            time.sleep(0.02)
        killed.append(int(sorted(pids.iterdir())[0].name))
        os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setenv("LAB_TEST_PIDS", str(pids))
    monkeypatch.setenv("LAB_TEST_NAP", "0.03")
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with Engine(store=store, workers=2) as engine:
        rows = engine.measure(plan(spectrum), points, range(16))
    killer.join(timeout=5)
    assert killed
    assert len(list(pids.iterdir())) == 3  # a worker took the place of the dead one
    monkeypatch.setenv("LAB_TEST_NAP", "0")
    expected = Engine().measure(plan(spectrum), points, range(16))
    for a, b in zip(rows, expected, strict=True):
        assert a.key == b.key
        assert a.observed["eigenvalues"].tobytes() == b.observed["eigenvalues"].tobytes()
