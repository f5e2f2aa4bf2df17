"""Sweeps of any function: measurements, partials, plain functions, one program for thousands of values."""

from functools import partial
from typing import Annotated

import numpy as np
import pytest

import lab
import lab.sweeps.program as programs
from lab.errors import InputError, UnknownName
from lab.measure import measurement
from lab.params import Ge, Le, Params
from lab.sweeps.functions import sweep
from lab.sweeps.grid import Grid


class Cloud(Params):
    n: Annotated[int, Ge(1), Le(64)] = 12
    scale: Annotated[float, Ge(-10.0), Le(10.0)] = 1.0


@measurement
def unannotated(p, stream):
    return p.scale


def logistic(r: float, steps: int, x: float = 0.3):
    """The logistic map after some steps."""
    import jax

    return jax.lax.fori_loop(0, steps, lambda i, x: r * x * (1 - x), x)


def test_sweep_of_a_plain_function_is_one_compiled_program():
    rates = np.linspace(2.5, 3.9, 5000)
    before = programs.COMPILED[0]
    table = sweep(logistic, {"r": rates, "steps": 1000}, runs="jax")
    assert programs.COMPILED[0] == before + 1
    x = np.full(5000, 0.3)
    for _ in range(1000):
        x = rates * x * (1 - x)
    calm = rates < 3.5  # elsewhere rounding grows
    np.testing.assert_allclose(table["value"][calm], x[calm], rtol=1e-9)
    assert table["r"].tolist() == rates.tolist()


def walk(length: int, drift: float, stream=None):
    return {"end": stream.numpy("steps").standard_normal(length).sum() + drift, "length_squared": length**2}


def test_sweep_of_seeds_replicates_partials_and_unions():
    table = sweep(walk, Grid(length=[4, 9], drift=0.0), seeds=2, replicates=3)
    assert len(table) == 12
    assert table["end"].nunique() == 12
    assert sorted(table["seed"].unique()) == [0, 1]
    table = sweep(partial(walk, length=4), {"drift": [0.0, 1.0]}, seeds=[7])
    assert table["length_squared"].tolist() == [16, 16]
    assert "length" not in table.columns
    table = sweep(walk, Grid(length=4, drift=0.0) + Grid(replicates=2, length=[4, 5], drift=0.0))
    assert table.groupby("length").size().to_dict() == {4: 2, 5: 2}


def test_sweep_of_a_measurement_needs_to_know_its_params():
    @measurement
    def annotated(p: Cloud, stream):
        return p.scale

    def bare(p: Cloud, stream, *, factor=1.0):
        return p.scale * factor

    assert sweep(annotated, {"scale": [1.0, 2.0]})["value"].tolist() == [1.0, 2.0]
    assert sweep(partial(bare, factor=3.0), {"scale": [1.0, 2.0]})["value"].tolist() == [3.0, 6.0]
    with pytest.raises(InputError, match=r"write def unannotated\(p: SomeParams, stream\)"):
        sweep(unannotated, {"scale": [1.0]})


def test_sweep_says_what_is_wrong():
    with pytest.raises(UnknownName, match="argument of walk 'lenght' does not exist; nearest: length"):
        sweep(walk, {"lenght": [1], "drift": 0.0})
    with pytest.raises(InputError, match="set by the partial of walk and by the grid"):
        sweep(partial(walk, drift=1.0), {"length": 1, "drift": 0.0})
    with pytest.raises(InputError, match="a lambda has no name"):
        sweep(lambda a: a, {"a": 1.0}, store="/nowhere")
    with pytest.raises(InputError, match="exclude each other"):
        sweep(walk, {"length": 1, "drift": 0.0}, workers=2, cluster="tcp://127.0.0.1:1")
    with pytest.raises(InputError, match=r"cannot be reached .*give the address"):
        sweep(walk, {"length": 1, "drift": 0.0}, cluster="nowhere.json")


def test_the_module_is_the_function():
    assert lab.sweep(walk, {"length": 1, "drift": 0.0}).shape[0] == 1
