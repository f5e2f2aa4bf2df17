"""The engine: rows do not depend on how they are grouped, failures are rows, programs are shared."""

import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

import lab
import lab.sweeps.program as programs
from lab.errors import InputError
from lab.measure import measurement, plan
from lab.params import Ge, Le, Params, Traced
from lab.sweeps.engine import Engine, frame


class Cloud(Params):
    n: Annotated[int, Ge(1), Le(64)] = 12
    m: Annotated[int, Traced()] = 3
    scale: Annotated[float, Ge(-10.0), Le(10.0)] = 1.0


@measurement(runs="jax")
def spread(p, stream, *, shift=0.0, square=False):
    import jax
    import jax.numpy as jnp

    X = jax.random.normal(stream.jax("X"), (p.n, 5)) * p.scale + shift
    used = jnp.arange(p.n) < p.m
    gram = X.T @ X
    return {
        "total": (X**2).sum() if square else X.sum(),
        "used": jnp.where(used[:, None], X, 0.0).sum(0),
        "gram": gram,
        "logdet": jnp.linalg.slogdet(jnp.eye(5) + gram)[1],
        "positive": p.scale > 0,
        "count": p.m + 0,
    }


@measurement
def numpy_mean(p, stream):
    X = stream.numpy("X").standard_normal(p.n)
    return {"mean": X.mean() / p.scale, "signs": X > 0}


@measurement(runs="torch")
def torch_mean(p, stream, *, device="cpu"):
    import torch

    X = torch.randn(p.n, generator=stream.torch("X", device=device), dtype=torch.float64, device=device)
    return {"mean": X.mean() * p.scale, "first": X[:2]}


POINTS = [Cloud(scale=0.1 * k) for k in range(1, 8)]


def bits(rows):
    return [
        (row.key, row.failure, [(k, v.dtype.str, v.shape, v.tobytes()) for k, v in row.observed.items()])
        for row in rows
    ]


@pytest.fixture(autouse=True)
def _fresh_programs(monkeypatch):
    monkeypatch.setattr(programs, "_programs", {})


def compiled(action):
    before = programs.COMPILED[0]
    action()
    return programs.COMPILED[0] - before


# ---------------------------------------------------------------------- rows


def test_rows_come_point_by_point_in_the_order_asked():
    rows = Engine().measure(plan(spread), POINTS[:3], [4, 0])
    assert [(row.p.scale, row.replicate) for row in rows] == [(p.scale, r) for p in POINTS[:3] for r in (4, 0)]
    assert {k: (v.shape, v.dtype.kind) for k, v in rows[0].observed.items()} == {
        "total": ((), "f"), "used": ((5,), "f"), "gram": ((5, 5), "f"), "logdet": ((), "f"), "positive": ((), "b"),
        "count": ((), "i"),
    }  # fmt: skip
    assert rows[0].observed["total"].dtype == np.float64
    assert all(row.failure is None for row in rows)


@pytest.mark.parametrize("measure", [spread, numpy_mean, torch_mean])
def test_rows_do_not_depend_on_what_else_is_measured_nor_on_order(measure):
    together = bits(Engine().measure(plan(measure), POINTS, range(11)))
    engine = Engine()
    backwards = [engine.measure(plan(measure), [p], [r])[0] for p in reversed(POINTS) for r in reversed(range(11))]
    assert bits(reversed(backwards)) == together
    other_seed = Engine().measure(plan(measure), POINTS, range(11), seed=1)
    assert not {row.key for row in other_seed} & {key for key, _, _ in together}


def test_block_matches_the_measurement_called_alone():
    import jax

    from lab.streams import Stream

    p = Cloud(scale=0.7, m=2)
    row = Engine().measure(plan(spread), [*POINTS, p], [5])[-1]
    with jax.enable_x64(True):
        alone = spread.function(p, Stream(spread.name, p.canonical(), 0, replicate=5))
        for name, value in row.observed.items():
            np.testing.assert_allclose(value, np.asarray(alone[name]), rtol=1e-12)


def test_measured_rows_are_remembered(monkeypatch):
    calls = []

    @measurement
    def counted(p, stream):
        calls.append(p.scale)
        return 1.0

    engine = Engine()
    engine.measure(plan(counted), POINTS[:2], [0])
    engine.measure_all([(plan(counted), POINTS[:3], [0]), (plan(counted), POINTS[1:3], [0, 1], 0)])
    assert len(calls) == 5


def test_precision_is_that_of_the_measurement_and_of_nothing_else():
    import jax

    before = jax.numpy.ones(1).dtype

    @measurement(runs="jax", precision="float32")
    def single(p, stream):
        return p.scale * jax.random.normal(stream.jax("x"))

    assert Engine().measure(plan(single), POINTS[:1], [0])[0].observed["value"].dtype == np.float32
    assert jax.numpy.ones(1).dtype == before


# ---------------------------------------------------------------------- programs


def test_one_program_serves_floats_traced_integers_replicates_and_float_knobs():
    engine = Engine()

    def all_of_them():
        points = [Cloud(scale=s, m=m) for s in (0.5, 2.0) for m in (1, 2, 12)]
        rows = engine.measure(plan(spread), points, range(3))
        assert [int(row.observed["count"]) for row in rows[::3]] == [1, 2, 12, 1, 2, 12]
        shifted = engine.measure(plan(partial(spread, shift=1.0)), points, range(3))
        difference = shifted[0].observed["total"] - rows[0].observed["total"]
        np.testing.assert_allclose(difference, 60.0, rtol=1e-12)
        engine.measure(plan(partial(spread, shift=2)), points, range(3))

    assert compiled(all_of_them) == 1
    assert compiled(lambda: engine.measure(plan(partial(spread, square=True)), POINTS, [0])) == 1
    assert compiled(lambda: engine.measure(plan(spread), [Cloud(n=13)], [0])) == 1


def test_63_items_after_64_compile_nothing():
    engine = Engine()
    assert compiled(lambda: engine.measure(plan(spread), POINTS[:1], range(64))) == 1
    assert compiled(lambda: engine.measure(plan(spread), POINTS[1:2], range(63))) == 0
    assert compiled(lambda: engine.measure(plan(spread), POINTS[2:3], range(1000))) == 0


def test_short_of_memory_blocks_get_narrower(monkeypatch):
    import lab.sweeps.blocks as blocks

    whole = Engine().measure(plan(spread), POINTS, range(9))
    width = next(iter(programs._programs.values())).width
    monkeypatch.setattr(programs, "_programs", {})
    monkeypatch.setattr(blocks, "_budget", lambda where: 9000.0)
    tight = Engine().measure(plan(spread), POINTS, range(9))
    narrow = next(iter(programs._programs.values()))
    assert narrow.width < width
    for a, b in zip(whole, tight, strict=True):  # below eight wide, XLA may order sums in another way
        assert a.key == b.key
        np.testing.assert_allclose(a.observed["gram"], b.observed["gram"], rtol=1e-13)


@pytest.mark.parametrize("fits", [16, 1])
def test_out_of_memory_halves_the_block_and_loses_no_row(monkeypatch, fits):
    import jax

    launch, widths = programs.Program.launch, []

    def failing(self, plan, items, device, budget, diary):
        widths.append(self.width)
        if self.width > fits:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
        return launch(self, plan, items, device, budget, diary)

    expected = Engine().measure(plan(spread), POINTS, range(9))
    monkeypatch.setattr(programs, "_programs", {})
    monkeypatch.setattr(programs.Program, "launch", failing)
    rows = Engine().measure(plan(spread), POINTS, range(9))
    assert [row.key for row in rows] == [row.key for row in expected]
    assert all(row.failure is None for row in rows)
    assert min(widths) == fits
    if fits == 16:
        width = widths[0]
        assert widths[0] > 16
        assert sorted(set(widths), reverse=True) == [width >> k for k in range(int(math.log2(width / 16)) + 1)]


def test_out_of_memory_one_at_a_time_is_an_error(monkeypatch):
    def failing(self, plan, items, device, budget, diary):
        raise MemoryError

    monkeypatch.setattr(programs.Program, "launch", failing)
    with pytest.raises(InputError, match=r"spread does not fit in the memory of .* make the sizes of Cloud smaller"):
        Engine().measure(plan(spread), POINTS, [0])


def test_an_item_that_raises_inside_a_program_fails_alone():
    import jax

    @measurement(runs="jax", precision="float32")  # host callbacks do not see a precision set locally
    def checked(p, stream):
        def host(x):
            if x > 0.45 and x < 0.55:
                raise ValueError("half")
            return np.asarray(x, dtype=np.float32)

        return jax.pure_callback(host, jax.ShapeDtypeStruct((), "float32"), p.scale, vmap_method="sequential")

    rows = Engine().measure(plan(checked), POINTS, [0])
    assert [row.failure is None for row in rows] == [True, True, True, True, False, True, True]
    assert "ValueError: half" in rows[4].failure
    assert rows[3].observed["value"] == np.float32(rows[3].p.scale)


DEVICES = """
import hashlib, sys
import lab.sweeps.program as programs
from lab.measure import measurement, plan
from lab.params import Params
from lab.sweeps.engine import Engine

class Point(Params):
    scale: float = 1.0

@measurement(runs="jax")
def total(p, stream):
    import jax
    return (jax.random.normal(stream.jax("x"), (300,)) ** 2).sum() * p.scale

used, launch = [], programs.Program.launch
def watched(self, plan, items, device, budget, diary):
    used.append(device.id)
    return launch(self, plan, items, device, budget, diary)
programs.Program.launch = watched
rows = Engine().measure(plan(total), [Point(scale=0.1 * k) for k in range(1, 10)], range(40))
print(sorted(set(used)), hashlib.md5(b"".join(row.observed["value"].tobytes() for row in rows)).hexdigest())
"""


def test_every_device_gets_blocks_and_rows_are_the_same(tmp_path):
    (tmp_path / "script.py").write_text(DEVICES)
    said = []
    for count in (1, 3):
        flags = f"--xla_force_host_platform_device_count={count}"
        environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(Path(lab.__file__).parents[1])}
        done = subprocess.run([sys.executable, tmp_path / "script.py"], env=environment, capture_output=True, text=True,
                              check=True)  # fmt: skip
        said.append(done.stdout.split("] "))
    assert said[0][0] == "[0"
    assert said[1][0] == "[0, 1, 2"
    assert said[0][1] == said[1][1]


def test_asking_for_a_device_that_is_not_there_is_an_error():
    import jax

    if any(d.platform == "gpu" for d in jax.devices()):
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="device='gpu': JAX sees no such device here"):
        Engine(device="gpu").measure(plan(spread), POINTS, [0])
    with pytest.raises(InputError, match="device='gpu': torch sees no such device here"):
        Engine(device="gpu").measure(plan(torch_mean), POINTS, [0])
    with pytest.raises(InputError, match="must be"):
        Engine(device="tpu")


# ---------------------------------------------------------------------- failures


def test_exceptions_of_one_point_are_rows():
    @measurement
    def inverse(p, stream):
        return 1 / p.scale

    rows = Engine().measure(plan(inverse), [Cloud(scale=0.0), Cloud(scale=2.0)], [0])
    assert rows[0].failure == "ZeroDivisionError: float division by zero"
    assert rows[0].observed == {}
    assert rows[1].failure is None
    assert rows[1].observed["value"] == 0.5


def test_non_finite_observables_are_kept_and_reported():
    @measurement(runs="jax")
    def logarithm(p, stream):
        import jax.numpy as jnp

        return {"log": jnp.log(p.scale), "both": jnp.array([1.0, 2.0]) / p.scale, "fine": p.scale}

    rows = Engine().measure(plan(logarithm), [Cloud(scale=0.0), Cloud(scale=1.0)], [0])
    assert rows[0].failure == "non-finite: log, both"
    assert rows[0].observed["log"] == -np.inf
    assert rows[1].failure is None


@measurement(runs="jax")
def uses_math(p, stream):
    return math.sqrt(p.scale)


@measurement(runs="jax")
def uses_numpy_stream(p, stream):
    return stream.numpy("x").random()


@measurement
def returns_none(p, stream):
    return {"a": None}


@measurement
def returns_complex(p, stream):
    return 1j


@pytest.mark.parametrize(
    ("measure", "sentence"),
    [
        (uses_math, r"uses_math cannot be traced by JAX: \w+: .*use jax.numpy for math and numpy"),
        (uses_numpy_stream, r"stream.numpy.*runs=\"numpy\""),
        (returns_none, "returned 'a': NoneType; return a number"),
        (returns_complex, "real and imaginary"),
    ],
)
def test_what_cannot_be_measured_at_all_is_an_input_error(measure, sentence):
    with pytest.raises(InputError, match=sentence):
        Engine().measure(plan(measure), POINTS, [0])


# ---------------------------------------------------------------------- frames


def test_frame_is_tidy_and_keeps_names_apart():
    @measurement
    def clash(p, stream, *, knob=2.0):
        return {"scale": p.scale * knob, "path": np.arange(3.0)}

    table = frame(Engine().measure(plan(clash), POINTS[:2], [0, 1]))
    assert list(table.columns) == ["n", "m", "scale", "replicate", "seed", "observed.scale", "path", "measurement",
                                   "knobs", "failure"]  # fmt: skip
    assert table["observed.scale"].tolist() == (2 * table["scale"]).tolist()
    assert table["knobs"][0] == '{"knob": 2.0}'
    assert len(table.explode("path")) == 12
