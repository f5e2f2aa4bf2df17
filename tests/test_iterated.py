"""Iterated measurements: long runs in turns, which show progress and continue from the state they were stopped in."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lab
from lab.errors import InputError
from lab.measure import fingerprint, measurement, plan
from lab.params import Params
from lab.sweeps.diary import Diary
from lab.sweeps.engine import Engine


class Walk(Params):
    scale: float = 1.0
    turns: int = 4


@measurement(runs="jax", turns=lambda p: p.turns)
def walk(p, stream, state=None, *, drift=0.5, other=0.0):
    import jax

    if state is None:
        return {"x": jax.random.normal(stream.jax("start"), (3,)), "step": 0}
    x, step = state["x"], state["step"]
    noise = jax.random.normal(jax.random.fold_in(stream.jax("noise"), step), (3,))
    return {"x": x * 0.9 + p.scale * noise + drift, "step": step + 1}


@walk.observe
def where(p, stream, state, *, other=0.0):
    return {"x": state["x"] + other, "norm": (state["x"] ** 2).sum(), "steps": state["step"]}


@measurement(runs="jax")
def at_once(p, stream):
    import jax

    x = jax.random.normal(stream.jax("start"), (3,))
    for step in range(p.turns):
        x = x * 0.9 + p.scale * jax.random.normal(jax.random.fold_in(stream.jax("noise"), step), (3,)) + 0.5
    return {"x": x}


POINTS = [Walk(scale=0.1 * k) for k in range(5)]


def test_turns_are_taken_and_observed():
    rows = Engine().measure(plan(walk), POINTS, [0, 1])
    assert all(row.observed["steps"] == 4 for row in rows)
    assert len({float(row.observed["norm"]) for row in rows}) == len(rows)


def test_turns_do_what_one_program_does(monkeypatch):
    monkeypatch.setattr(type(plan(walk).measurement), "name", property(lambda self: "same"))  # draws are named by it
    one, other = (Engine().measure(plan(f), POINTS, [0]) for f in (walk, at_once))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.observed["x"], b.observed["x"], rtol=1e-14)


def test_knobs_reach_the_observer():
    from functools import partial

    plain = Engine().measure(plan(walk), POINTS[:1], [0])[0].observed["x"]
    shifted = Engine().measure(plan(partial(walk, other=2.0)), POINTS[:1], [0])[0].observed["x"]
    np.testing.assert_allclose(shifted, plain + 2, rtol=1e-14)


def test_progress_is_told_by_turns():
    from lab.sweeps.blocks import measure_items
    from lab.sweeps.rows import items

    told = []
    list(measure_items(plan(walk), items(plan(walk), POINTS, [0], 0), "cpu", Diary(tell=told.append)))
    assert len(told) == 4
    assert sum(told) == pytest.approx(5)


def test_the_observer_is_part_of_the_fingerprint():
    @measurement(runs="jax", turns=lambda p: 1)
    def still(p, stream, state=None):
        return 0.0 if state is None else state

    before = fingerprint(plan(still))

    @still.observe
    def seen(p, stream, state):
        return state

    assert fingerprint(plan(still)) != before


def test_mistakes_are_said_in_one_sentence():
    with pytest.raises(InputError, match="turns needs runs='jax'"):
        measurement(turns=lambda p: 3)(lambda p, stream: 1.0)

    @measurement(runs="jax", turns=lambda p: 2)
    def growing(p, stream, state=None):
        import jax.numpy as jnp

        return jnp.zeros(2) if state is None else jnp.zeros(3)

    with pytest.raises(InputError, match="has no observables"):
        Engine().measure(plan(growing), POINTS[:1], [0])
    growing.observe(lambda p, stream, state: state)
    with pytest.raises(InputError, match=r"from the first: \[\(\(2,\), 'float64'\)\] became"):
        Engine().measure(plan(growing), POINTS[:1], [0])

    @measurement(runs="jax", turns=lambda p: int(p.scale))
    def uneven(p, stream, state=None):
        return 0.0 if state is None else state

    uneven.observe(lambda p, stream, state: state)
    with pytest.raises(InputError, match=r"turns gives \[1, 2\].*static fields only"):
        Engine().measure(plan(uneven), [Walk(scale=1.0), Walk(scale=2.0)], [0])


SCRIPT = """
import hashlib, sys, time
import lab.sweeps.diary as diary
from lab.measure import measurement, plan
from lab.params import Params
from lab.sweeps.engine import Engine

diary._EVERY = float(sys.argv[2])
turn = diary.Diary.turn

def watched(self, file, done, *rest):
    print("turn", done, flush=True)
    time.sleep(float(sys.argv[3]))
    turn(self, file, done, *rest)

diary.Diary.turn = watched

class Walk(Params):
    scale: float = 1.0

@measurement(runs="jax", turns=lambda p: 12)
def walk(p, stream, state=None):
    import jax
    if state is None:
        return jax.random.normal(stream.jax("start"), (30, 30)), 0
    x, k = state
    noise = jax.random.normal(jax.random.fold_in(stream.jax("n"), k), (30, 30))
    return jax.numpy.linalg.qr(x + p.scale * noise)[0], k + 1

@walk.observe
def end(p, stream, state):
    return state[0]

if __name__ == "__main__":
    rows = Engine(store=sys.argv[1]).measure(plan(walk), [Walk(scale=0.1 * k) for k in range(1, 4)], range(2))
    print(hashlib.md5(b"".join(row.observed["value"].tobytes() for row in rows)).hexdigest())
"""


def start(tmp_path, folder, every, nap):
    script = tmp_path / "walks.py"
    script.write_text(SCRIPT)
    env = os.environ | {"PYTHONPATH": str(Path(lab.__file__).parents[1])}
    words = [sys.executable, str(script), str(tmp_path / folder), str(every), str(nap)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


@pytest.mark.parametrize(("kind", "every"), [(signal.SIGKILL, 0.0), (signal.SIGINT, 1e9)])
def test_a_stopped_run_continues_where_it_was(tmp_path, kind, every):
    whole = start(tmp_path, "whole", 1e9, 0.0).communicate()[0].split("\n")[-2]
    killed = start(tmp_path, "rows", every, 0.2)
    seen = [killed.stdout.readline().strip() for _ in range(5)]
    assert seen[-1] == "turn 5"
    time.sleep(0.1)
    killed.send_signal(kind)
    killed.communicate(timeout=60)
    assert killed.returncode != 0
    assert len(list((tmp_path / "rows").glob("unfinished-*.npz"))) == 1
    lines = start(tmp_path, "rows", every, 0.0).communicate()[0].split("\n")
    first = int(lines[0].split()[1])
    assert first >= 5, "turns done before are not done again"
    assert lines[-2] == whole, "rows are the same to the last bit"
    assert not list((tmp_path / "rows").glob("unfinished-*.npz"))


def test_rows_of_another_run_are_taken_over_and_other_code_is_not(tmp_path, monkeypatch):
    Engine(store=tmp_path / "a").measure(plan(walk), POINTS[:2], [0])
    before = Engine().measure(plan(walk), POINTS[:2], [0])
    import lab.sweeps.engine as engine

    monkeypatch.setattr(engine, "measure_items", lambda *_: pytest.fail("measured again"))
    again = Engine(known=[tmp_path / "a", tmp_path / "absent"]).measure(plan(walk), POINTS[:2], [0])
    assert all(np.array_equal(a.observed["x"], b.observed["x"]) for a, b in zip(before, again, strict=True))
    monkeypatch.undo()
    monkeypatch.setattr(engine, "fingerprint", lambda plan: "other code")
    assert len(Engine(known=[tmp_path / "a"]).measure(plan(walk), POINTS[:2], [0])) == 2


def test_situations_are_stored_and_not_computed_again(tmp_path):
    from lab import Draws, Equality, Law, but
    from lab.judge import judge

    calls = []

    def given(p, stream):
        calls.append(p.scale)
        return {"x": stream.numpy("x").standard_normal(3)}

    @measurement
    def doubled(p, data, stream, *, factor=2.0):
        return factor * data["x"]

    law = Law(id="toy/double", source="made up", params=Walk, situation=given, measure=doubled,
              predict=lambda p, data: 2 * data["x"], claim=Equality(of="value"), draws=Draws(shapes=0),
              controls={"no": but(predict=lambda p, data: data["x"])})  # fmt: skip
    for expected in (4, 4):  # once for the measurement and once for the prediction; a rerun reads both
        with Engine(store=tmp_path) as engine:
            assert all(group.verdict.holds for group in judge(law, POINTS[1:3], 1, 0, engine))
        assert len(calls) == expected


def test_conformance_takes_one_turn_of_an_iterated_measurement(monkeypatch):
    """Bits are compared on the first turn; the verdicts are those of the whole run."""
    from lab import Draws, Equality, Law, but
    from lab.testing import conformance

    law = Law(
        id="tests/walk", source="a test", params=Walk, predict=lambda p: 3.0, measure=walk,
        claim=Equality(of="steps", resolve=1.0), controls={"two steps": but(predict=lambda p: 2.0)},
        examples=(Walk(turns=3),), draws=Draws(shapes=0), statement="As many steps as turns.",
    )  # fmt: skip
    taken = []
    measure = Engine.measure

    def watched(self, plan, points, *rest):
        points = list(points)
        taken.append((plan.measurement.turns(points[0]), len(points)))
        return measure(self, plan, points, *rest)

    monkeypatch.setattr(Engine, "measure", watched)
    assert conformance(law) == []
    assert [turns for turns, _ in taken if turns == 3] == [3, 3]  # the law and its control, which shares the rows
    assert {turns for turns, _ in taken} == {1, 3}
