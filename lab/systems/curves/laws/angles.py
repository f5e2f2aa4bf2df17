"""How angles shrink: the mean of one random layer at every width, and two sharp bounds for all layers."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Bound, Equality
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.angle_kernels import iterated_angle
from lab.params import Ge, Gt, Le, LogScale, Params
from lab.systems.curves.laws.skeleton import DERIVED
from lab.systems.curves.theory.angles import angle_bounds, next_cosine


class OneLayer(Params):
    """Two unit vectors of R^dimension at an angle nu, and a random layer of any width."""

    nu: Annotated[float, Ge(0.0), Le(np.pi)] = 1.0
    width: Annotated[int, Ge(1), Le(64)] = 8
    dimension: Annotated[int, Ge(2), Le(20)] = 3


NETWORKS = 1000


@measurement
def layer_products(p: OneLayer, stream, *, leak: float = 0.0, gain: float = 2.0):
    """Mean over 1000 random layers of the inner product of the features, activation max(u, leak u)."""
    rng = stream.numpy("layer")
    W = np.sqrt(gain / p.width) * rng.standard_normal((NETWORKS, p.width, p.dimension))
    x, y = np.eye(p.dimension)[0], np.cos(p.nu) * np.eye(p.dimension)[0] + np.sin(p.nu) * np.eye(p.dimension)[1]
    u, v = (np.maximum(W @ one, leak * (W @ one)) for one in (x, y))
    return {"product": float(np.mean(np.sum(u * v, axis=-1)))}


ANGLE_MAP = Law(
    id="curves/angle-map",
    source=Source("arXiv:2008.11245", "angle evolution; Cho and Saul 2009"),
    statement="""
    A layer of n ReLU units with weights N(0, 2/n) maps two unit vectors at angle nu to features whose mean inner
    product is (1 - nu/pi) cos nu + sin(nu)/pi = cos phi(nu), exactly at every width and in every dimension. Angles
    shrink, and no pair ends up beyond pi/2. Leaky units (control), or the gain 1 (control), do something else.
    """,
    params=OneLayer,
    predict=lambda p: float(next_cosine(p.nu)),
    measure=layer_products,
    claim=Equality(of="product", over="mean", scale=1.0),
    controls={
        "leaky units": but(measure=partial(layer_products, leak=0.2)),
        "gain 1": but(measure=partial(layer_products, gain=1.0)),
        "angles kept": but(predict=lambda p: float(np.cos(p.nu))),
    },
    examples=(OneLayer(), OneLayer(nu=0.1, width=1), OneLayer(nu=2.0, dimension=2), OneLayer(nu=np.pi, width=32)),
    draws=Draws(shapes=1, values=2, replicates=12),
)


class Iterated(Params):
    """An angle followed through layers."""

    nu: Annotated[float, Gt(1e-8), Le(np.pi), LogScale()] = 1.0
    layers: Annotated[int, Ge(1), Le(2000), LogScale()] = 100


@measurement
def angle_after(p: Iterated, stream, *, arccos: bool = False):
    """The angle after all layers; by the usual arccos of inner products, if asked."""
    if not arccos:
        return {"angle": float(iterated_angle(np.asarray(p.nu), p.layers))}
    nu = p.nu
    for _ in range(p.layers):
        nu = float(np.arccos(np.clip(next_cosine(nu), -1, 1)))
    return {"angle": nu}


def accumulated(p: Iterated) -> float:
    """an epsilon of each layer's angle, which the later layers do not enlarge, and four of the bound itself"""
    return (p.layers + 4) * float(angle_bounds(p.nu, p.layers)[1])


ANGLE_DECAY = Law(
    id="curves/angle-decay",
    source=Source(DERIVED),
    statement="""
    After l layers an angle nu is at most nu/(1 + l nu/(3 pi)), for all l and nu in (0, pi]: the constant 3 pi is the
    best (attained as nu -> 0), since 1/phi(nu) - 1/nu increases from 1/(3 pi) to 1/pi. Angles computed by arccos break
    it at small nu (control): they lose half of their digits.
    """,
    params=Iterated,
    predict=lambda p: float(angle_bounds(p.nu, p.layers)[1]),
    measure=angle_after,
    claim=Bound(of="angle", rounding=accumulated, resolve=1e-6),
    controls={
        "constant pi": but(predict=lambda p: float(angle_bounds(p.nu, p.layers)[0])),
        "angles by arccos": but(measure=partial(angle_after, arccos=True), examples=(Iterated(nu=3e-8, layers=3),)),
    },
    examples=(Iterated(nu=1e-7, layers=1), Iterated(), Iterated(nu=np.pi, layers=1), Iterated(nu=0.01, layers=2000)),
    draws=Draws(shapes=12, values=4),
)

ANGLE_DECAY_LOWER = Law(
    id="curves/angle-decay-lower",
    source=Source(DERIVED),
    statement="""
    After l layers an angle nu is at least nu/(1 + l nu/pi), with equality for one layer at nu = pi: angles decay like
    1/l and never faster, so a network of any depth keeps points apart that are apart.
    """,
    params=Iterated,
    predict=lambda p: float(angle_bounds(p.nu, p.layers)[0]),
    measure=angle_after,
    claim=Bound(of="angle", side="lower", rounding=accumulated, resolve=1e-12),
    controls={"constant 3 pi": but(predict=lambda p: float(angle_bounds(p.nu, p.layers)[1]))},
    examples=(Iterated(nu=np.pi, layers=1), Iterated(), Iterated(nu=np.pi, layers=2000)),
    draws=Draws(shapes=12, values=4),
)
