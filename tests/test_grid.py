"""Grids: which points, in which order, and what is said about those that cannot be."""

from typing import Annotated

import numpy as np
import pytest

from lab.errors import InputError, OutOfDomain, UnknownName
from lab.params import Ge, Le, Params
from lab.sweeps.grid import Grid, log_grid


class Point(Params):
    n: Annotated[int, Ge(1), Le(100)] = 4
    x: Annotated[float, Ge(0.0), Le(10.0)] = 1.0
    sizes: tuple[int, ...] = (2, 2)
    kind: str = "plain"


def values(grid, *names):
    return [tuple(getattr(p, name) for name in names) for p in grid.points(Point)]


def test_product_varies_the_first_axis_slowest():
    assert values(Grid(n=[1, 2], x=(0.5, 1.5)), "n", "x") == [(1, 0.5), (1, 1.5), (2, 0.5), (2, 1.5)]


def test_axis_values_may_be_scalars_arrays_ranges_and_lists_of_tuples():
    grid = Grid(n=range(1, 3), x=np.array([0.25]), sizes=[(1, 2), (3,)], kind="fine")
    assert values(grid, "n", "x", "sizes", "kind") == [
        (1, 0.25, (1, 2), "fine"), (1, 0.25, (3,), "fine"), (2, 0.25, (1, 2), "fine"), (2, 0.25, (3,), "fine"),
    ]  # fmt: skip


def test_axis_function_sees_defaults_and_plain_axes_written_after_it():
    grid = Grid(x=lambda f: f.n / 4 * np.array([1.0, 2.0]), n=[4, 8])
    assert values(grid, "n", "x") == [(4, 1.0), (4, 2.0), (8, 2.0), (8, 4.0)]
    assert values(Grid(x=lambda f: f["n"] + len(f.sizes)), "x") == [(6.0,)]


def test_axis_function_of_an_unknown_field_is_an_error():
    with pytest.raises(InputError, match="axis x: field 'm' does not exist"):
        Grid(x=lambda f: f.m).points(Point)


def test_union_drops_duplicates_and_keeps_order_and_replicates():
    grid = Grid(replicates=2, n=[3, 1]) + Grid(replicates=5, n=[1.0, 2])
    assert values(grid, "n") == [(3,), (1,), (2,)]
    assert [part.replicates for part in grid.parts] == [2, 5]
    assert grid.replicates == 5
    requests = [([p.n for p in points], replicates) for points, replicates in grid.requests(Point)]
    assert requests == [([3], 2), ([1, 2], 5)]
    assert len((grid + Grid(n=7)).parts) == 3


def test_with_axes_and_with_replicates_apply_to_every_part():
    grid = (Grid(n=[1, 2]) + Grid(replicates=3, n=4, x=2.0)).with_axes(x=[0.0, 1.0])
    assert values(grid, "n", "x") == [(1, 0.0), (1, 1.0), (2, 0.0), (2, 1.0), (4, 0.0), (4, 1.0)]
    assert [part.replicates for part in grid.with_replicates(7).parts] == [7, 7]


def test_unknown_axis_offers_the_nearest_field():
    with pytest.raises(UnknownName, match="'size' does not exist; nearest: sizes"):
        Grid(size=[1]).points(Point)


def test_point_outside_the_domain_is_named():
    with pytest.raises(OutOfDomain, match=r"grid point \(n=2, x=11.0\).*less than or equal to 10"):
        Grid(n=[2], x=[1.0, 11.0]).points(Point)


@pytest.mark.parametrize("replicates", [0, -1, 1.5, True])
def test_replicates_must_be_positive_whole_numbers(replicates):
    with pytest.raises(InputError, match="positive whole number"):
        Grid(replicates=replicates)


def test_empty_axis_is_an_error():
    with pytest.raises(InputError, match="axis x has no values"):
        Grid(x=[])
    with pytest.raises(InputError, match="axis x has no values"):
        Grid(x=lambda f: []).points(Point)


def test_log_grid_has_exact_ends():
    grid = log_grid(0.1, 7.0, 5)
    assert grid[0] == 0.1
    assert grid[-1] == 7.0
    np.testing.assert_allclose(np.diff(np.log(grid)), np.log(70) / 4)
    assert log_grid(2.0, 3.0, 1) == [2.0]
    with pytest.raises(InputError, match="positive ends"):
        log_grid(0.0, 1.0, 3)
