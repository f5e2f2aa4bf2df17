"""Random networks on a circle: how kernels and outputs reach the limit of large width."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality, Limit
from lab.data.curves import orbit_curve
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import relu_networks
from lab.models.angle_kernels import angles, iterated_angle, limit_kernel, skeleton
from lab.params import Ge, Le, LogScale, Params, Static
from lab.systems.curves.laws.finite_width import DERIVED, networks
from lab.systems.curves.theory import random_networks as theory

PAPERS = "arXiv:2008.11245 and arXiv:2107.14324"


class Circle(Params):
    """Networks on `points` equispaced points of a circle of given radius on the unit sphere in three dimensions."""

    radius: Annotated[float, Ge(0.2), Le(0.95), Static()] = 0.7
    points: Annotated[int, Ge(4), Le(256)] = 12
    width: Annotated[int, Ge(8), Le(16384), LogScale()] = 64
    depth: Annotated[int, Ge(1), Le(16)] = 2
    numbers: int = 2**17

    @model_validator(mode="after")
    def _light_tails(self) -> Self:
        if 4 * self.depth > self.width:
            raise ValueError(f"depth={self.depth} exceeds width/4={self.width / 4:g}: kernels are heavy-tailed there; "
                             "raise the width")  # fmt: skip
        return self

    @property
    def inputs(self) -> np.ndarray:
        """The points, in rows."""
        return orbit_curve({0: 1 - self.radius**2, 1: self.radius**2}, points=self.points).X

    @property
    def lags(self) -> np.ndarray:
        """Angles between the first point and itself, its neighbour, ..., the point opposite."""
        X = self.inputs
        return angles(X[:1], X[: self.points // 2 + 1])[0]


@measurement(runs="jax", precision="float32")
def on_circle(p: Circle, stream, *, own_input: float = 0.0):
    """Networks on a circle: mean kernel by lag, mean square and largest distance from the limit, features' distances.

    `kernel` (lags), over 1 + nL/2; `square` and `largest`, over (nL/2)² and nL/2, of the kernel minus its limit at all
    pairs of points; `difference` (lags but the first): E over read-outs of (f(x) - f(x'))², the distance of features.
    `own_input` = 1 scales the first layer by the dimension of its input, 2/n_0 for 2/n.
    """
    import jax.numpy as jnp

    X, pairs = jnp.asarray(p.inputs, dtype=jnp.float32), np.arange(p.points)
    at = (pairs[:, None] + np.arange(p.points // 2 + 1)) % p.points
    drawn = relu_networks.relu_init(
        stream.jax("weights"), p.width, p.depth, 3, first_gain=2.0 * (1 + own_input * (p.width / 3 - 1)),
        networks=(networks(p, 3),),
    )  # fmt: skip
    kernel = relu_networks.empirical_ntk(drawn, X)
    limit = jnp.asarray(limit_kernel(angles(p.inputs), p.depth, p.width), dtype=jnp.float32)
    off = (kernel - limit) / (p.width * p.depth / 2)
    last = relu_networks.features(drawn, X)[-1]
    inner = last @ last.mT
    own = jnp.diagonal(inner, axis1=1, axis2=2)
    apart = own[:, :, None] + own[:, None, :] - 2 * inner
    return {
        "kernel": jnp.mean(kernel[:, pairs[:, None], at], axis=(0, 1)) / (1 + p.width * p.depth / 2),
        "square": jnp.mean(off**2),
        "largest": jnp.mean(jnp.max(jnp.abs(off), axis=(1, 2))),
        "difference": jnp.mean(apart[:, pairs[:, None], at[:, 1:]], axis=(0, 1)),
    }


def widths(p: Circle) -> list[int]:
    return [4 * p.depth * 2**k for k in range(5)]


class Wide(Circle):
    """The circle of radius .7 with 12 points; depth at most a twentieth of the width."""

    radius: Annotated[float, Ge(0.7), Le(0.7), Static()] = 0.7
    points: Annotated[int, Ge(12), Le(12)] = 12

    @model_validator(mode="after")
    def _wide(self) -> Self:
        if 20 * self.depth > self.width:
            raise ValueError(f"depth={self.depth} exceeds width/20={self.width / 20:g}; raise the width")
        return self


def limit_share(p: Circle) -> np.ndarray:
    """Limit kernel by lag, over its diagonal."""
    return limit_kernel(p.lags, p.depth, p.width) / (1 + p.width * p.depth / 2)


def skeleton_share(p: Circle) -> np.ndarray:
    """The same without the cosines of the hidden layers."""
    whole = np.cos(iterated_angle(p.lags, p.depth)) + p.width * skeleton(p.lags, p.depth)
    return whole / (1 + p.width * p.depth / 2)


ON_CIRCLE = Draws(shapes=0, replicates=24)

NTK_LIMIT = Law(
    id="curves/ntk-limit",
    source=Source(PAPERS, "limit of the neural tangent kernel"),
    statement="""
    As the width grows the mean kernel tends to cos phi^(L) + n psi1, relative to its diagonal 1 + n L/2, with an error
    of order L/n of either sign away from the diagonal (on it there is none). Here by lag along a circle; weights of one
    absolute value have the same limit, first-layer weights scaled by the dimension of the input do not.
    """,
    params=Circle,
    predict=limit_share,
    measure=on_circle,
    claim=Limit(of="kernel", along="width", order=1, axis=widths, resolve=0.1),
    controls={
        "first layer scaled by its input": but(measure=partial(on_circle, own_input=1.0)),
        "skeleton for the full kernel": but(predict=skeleton_share),
    },
    examples=(Circle(),),
    draws=ON_CIRCLE,
)


def largest_deviation(p: Wide) -> float:
    """3.3 sqrt(L/n)."""
    return 3.3 * math.sqrt(p.depth / p.width)


def a_tenth(p: Wide) -> float:
    """the statement: the constant is 3.3 within a tenth"""
    return 0.1 * largest_deviation(p)


NTK_CONCENTRATION = Law(
    id="curves/ntk-concentration",
    source=Source(PAPERS, f"concentration of the kernel over a curve, order sqrt(L/n); the constant {DERIVED}"),
    statement="""
    The largest |Theta - Theta_inf|/(nL/2) over pairs of points of a curve is of order sqrt(L/n), in mean over networks:
    on the circle of radius .7 with 12 points, 3.3 sqrt(L/n) within a tenth for all widths and depths with L <= n/20.
    Local slopes in n are steeper, through the growth of the variance like exp(5 L/n).
    """,
    params=Wide,
    predict=largest_deviation,
    measure=on_circle,
    claim=Equality(of="largest", over="mean", stated=a_tenth, resolve=0.25),
    controls={
        "first layer scaled by its input": but(measure=partial(on_circle, own_input=1.0)),
        "order L/n": but(predict=lambda p: 3.3 * math.sqrt(40) * p.depth / p.width),
    },
    examples=tuple(Wide(width=n, depth=L) for n, L in ((64, 2), (128, 2), (160, 8))),
    draws=ON_CIRCLE,
)

INIT_FLATNESS = Law(
    id="curves/init-flatness",
    source=Source(PAPERS, "the random network is nearly constant"),
    statement="""
    E (f(x) - f(x'))² = E |a_L(x) - a_L(x')|² tends to 2 (1 - cos phi^(L)(nu)) <= (3 pi/(L + 3))² as the width grows,
    with an error of order L/n: deep random networks are nearly constant, so that the error at the start is minus the
    labels up to a constant.
    """,
    params=Circle,
    predict=lambda p: theory.initial_difference(p.lags[1:], p.depth),
    measure=on_circle,
    claim=Limit(of="difference", along="width", order=1, axis=widths, resolve=0.1),
    controls={
        "first layer scaled by its input": but(measure=partial(on_circle, own_input=1.0)),
        "a layer fewer": but(predict=lambda p: theory.initial_difference(p.lags[1:], p.depth - 1)),
    },
    examples=(Circle(),),
    draws=ON_CIRCLE,
)
