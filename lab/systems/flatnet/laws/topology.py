"""Closed curves cannot be unrolled; arcs can, if the kernel sits on the curve; flat spectra show neither."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Bound, Classification, Equality
from lab.data.flattening import arc
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.flatnet import FlatNet, flatness, turning_points
from lab.params import Ge, Le, Params
from lab.systems.flatnet import theory
from lab.systems.flatnet.laws.inversion import DERIVED, FLATNET

FLAT = 0.01
"""Ratio of singular values below which an output counts as flat."""


RADIUS = 0.36
"""Of the kernels, in diameters."""


class Curve(Params):
    """n evenly spaced samples of a circle, all of it or an arc of 1.5 pi, and a network."""

    closed: bool = True
    n: Annotated[int, Ge(50), Le(80)] = 50
    layers: Annotated[int, Ge(1), Le(500)] = 300


class Arc(Curve):
    """... of an arc."""

    closed: Literal[False] = False
    layers: Annotated[int, Ge(300), Le(500)] = 300


@measurement
def flattened(p: Curve, stream, *, centre: Literal["sample", "mean"] = "sample", open_up: bool = False):
    """Turning points of the leading coordinate of the output, whether there are any, whether the output is flat. The
    `centre` is that of `FlatNet`; with `open_up` a closed curve is cut to an arc.
    """
    curve = arc(p.n, 2 * np.pi if p.closed and not open_up else 1.5 * np.pi)
    seed = int(stream.numpy("seed").integers(2**31))
    net = FlatNet(dimension=1, layers=p.layers, radius=RADIUS, centre=centre, seed=seed).fit(curve.X)
    Z = net.transform(curve.X)
    turns = turning_points(Z, curve.closed)
    return {"turns": float(turns), "folded": turns > 0, "flat": flatness(Z, 1) < FLAT}


def least(p: Curve) -> float:
    """2 on a closed curve, 0 on an open one."""
    return float(theory.least_turning_points(p.closed))


TOPOLOGICAL_OBSTRUCTION = Law(
    id="flatnet/topological-obstruction",
    source=Source(DERIVED),
    statement="""
    The image of a closed curve under any continuous map, whatever its layers, has at least two turning points in every
    coordinate. FlatNet comes down to two. (Judged on the leading principal coordinate of the output.)
    """,
    params=Curve,
    predict=least,
    measure=flattened,
    claim=Bound(of="turns", side="lower", scale=1.0, resolve=1e-9),
    controls={"a gap in the curve": but(measure=partial(flattened, open_up=True))},
    examples=(Curve(), Curve(layers=50)),
    draws=Draws(shapes=0, replicates=6),
)

FLATNESS_PRINTED = TOPOLOGICAL_OBSTRUCTION.printed(
    "flatnet/flatness-printed",
    source=Source(FLATNET, "singular values of the features as evidence that a manifold has been linearised"),
    statement="""
    As used: an output whose second singular value is below a hundredth of the first is a curve made straight, without
    turning points. The closed circle gets there (1e-3) by doubling over: two turning points, and samples whose distance
    has shrunk to a thousandth. Flatness is no evidence; report turning points and the least ratio of distances.
    """,
    predict=lambda p: 0.0,
    claim=Classification(of="folded", given="flat", resolve=0.7),
    at=(Curve(layers=500),),
)


def few(p: Arc) -> float:
    """the statement: at most one network in ten"""
    return 0.1


UNROLLING = Law(
    id="flatnet/unrolling",
    source=Source(DERIVED),
    statement="""
    With kernels of .36 diameters, centred on the samples, FlatNet unrolls an arc of 1.5 pi: after 300 layers the
    leading coordinate has no turning point, in all but at most one network of ten. With the published centre, local
    means, nearly all are folded over at an end.
    """,
    params=Arc,
    predict=lambda p: 0.0,
    measure=flattened,
    claim=Equality(of="folded", over="fraction", stated=few, scale=1.0, resolve=0.7),
    controls={"the published centre": but(measure=partial(flattened, centre="mean"))},
    examples=(Arc(),),
    draws=Draws(shapes=0, replicates=16),
)
