"""What a layer does to curvature: it shrinks where the kernel sits on the surface, and may flip where it does not."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality, Limit
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import flattening_layers as maps
from lab.models.flattening_layers import Layer
from lab.params import Ge, Le, LogScale, Params
from lab.systems.flatnet import theory
from lab.systems.flatnet.laws.inversion import DERIVED, FLATNET

DIRECTIONS = 4
NODES = 32
"""Points of a contour."""


def second_derivative(height, reach: float) -> np.ndarray:
    """f''(0) of an analytic function of one variable, by the trapezoidal rule on a circle of radius `reach`.

    Exact but for the Taylor coefficient of order 34 times reach^32, and rounding of f over reach².
    """
    points = np.exp(2j * np.pi * np.arange(NODES) / NODES)
    values = np.array([height(reach * e) for e in points])
    return np.real(2 * np.mean(values * points[:, None] ** -2, axis=0)) / reach**2


class Graph(Params):
    """A layer at the origin of the graph of a polynomial over R^d, kernel centre `offset`/sqrt(gamma) above it.

    The polynomial has a random second derivative of size `bend` sqrt(gamma), and terms of third and fourth order.
    """

    d: Annotated[int, Ge(1), Le(8)] = 2
    alpha: Annotated[float, Ge(0.0), Le(0.99)] = 0.5
    gamma: Annotated[float, Ge(0.1), Le(50.0), LogScale()] = 1.0
    bend: Annotated[float, Ge(0.05), Le(2.0)] = 0.5
    offset: Annotated[float, Ge(-1.0), Le(1.0)] = 0.0


def graph(p: Graph, stream) -> dict[str, np.ndarray]:
    """Directions (4, d), derivatives of h along them of order 2, 3, 4, and a rotation of R^(d+1)."""
    rng = stream.numpy("graph")
    root = rng.standard_normal((p.d, p.d))
    v = rng.standard_normal((DIRECTIONS, p.d))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    second = p.bend * p.gamma**0.5 * np.einsum("ni,ij,nj->n", v, (root + root.T) / 2, v)
    return {"v": v, "second": second, "third": p.gamma * rng.standard_normal(DIRECTIONS),
            "fourth": p.gamma**1.5 * rng.standard_normal(DIRECTIONS), "basis": haar(rng, p.d + 1, p.d + 1)}  # fmt: skip


@measurement
def flattened(p: Graph, data, stream, *, tilt: float = 0.0):
    """Second derivatives of the flattened graph along the directions, over sqrt(gamma); `tilt` turns the frame away
    from the tangent space.
    """
    frame, normal = data["basis"][:, :-1], data["basis"][:, -1]
    centre = p.offset / p.gamma**0.5 * normal
    turned = np.linalg.qr(frame + tilt * np.outer(normal, np.eye(p.d)[0]))[0]
    blank = np.zeros(p.d + 1)
    layer = Layer(centre, turned, p.gamma, p.alpha, blank, np.zeros((p.d + 1, p.d * (p.d + 1) // 2)), blank, 1.0)

    def height(s: complex) -> np.ndarray:
        h = data["second"] * s**2 / 2 + data["third"] * s**3 / 6 + data["fourth"] * s**4 / 24
        return maps.encode((s * data["v"]) @ frame.T + h[:, None] * normal, layer) @ normal

    return {"second": second_derivative(height, 0.1 / p.gamma**0.5) / p.gamma**0.5}


def contracted(p: Graph, data, *, off_surface: bool = True) -> np.ndarray:
    """New second derivatives over sqrt(gamma); (1 - alpha) h'' if not `off_surface`."""
    offset = p.offset / p.gamma**0.5 if off_surface else 0.0
    return theory.new_second_derivative(data["second"], p.gamma, p.alpha, offset) / p.gamma**0.5


def contour_units(p: Graph) -> float:
    """heights of at most 2 (in units of 1/sqrt(gamma)) in sums of d + 1 products, off by 10 + d epsilons, and exponents
    of at most 3; divided by the squared radius of the contour, .01, and doubled"""
    return 2 * 2 * 3 * (10 + p.d) / 0.01


CURVATURE_CONTRACTION = Law(
    id="flatnet/curvature-contraction",
    source=Source(DERIVED),
    statement="""
    At a sample whose tangent space is the layer's frame, with the kernel's centre at the height m above it, a layer
    turns the second fundamental form h'' into exactly

        (1 - k_0 (1 - 2 gamma m²)) h'' - 2 gamma m k_0 I,    k_0 = alpha exp(-gamma m²),

    before normalisation: (1 - alpha) h'' if the centre is the sample (m = 0), whatever the higher derivatives. A centre
    off the surface adds a multiple of the identity, opposite to m.
    """,
    params=Graph,
    situation=graph,
    predict=contracted,
    measure=flattened,
    claim=Equality(of="second", rounding=contour_units, scale=1.0, resolve=1e-8),
    controls={
        "the offset ignored": but(predict=partial(contracted, off_surface=False)),
        "frame not tangent": but(measure=partial(flattened, tilt=0.2)),
    },
    examples=(Graph(), Graph(d=1), Graph(offset=0.3), Graph(d=8, offset=-1.0, alpha=0.9), Graph(bend=2.0, offset=1.0)),
    draws=Draws(shapes=6, values=4),
)


# ---------------------------------------------------------------------- local means


class Cap(Params):
    """The unit d-sphere, uniform, and a layer whose kernel is centred on the local mean of a sample."""

    d: Annotated[int, Ge(1), Le(10)] = 3
    alpha: Annotated[float, Ge(0.05), Le(0.95)] = 0.5


GAMMAS = np.geomspace(40, 8000, 9)


@measurement
def caps(p: Cap, stream, *, on_surface: bool = False):
    """Factor by which a layer multiplies the curvature of the sphere at the sample, for narrower and narrower kernels;
    centred on the mean of the sphere, weighted about the sample, or (`on_surface`) on the sample.
    """
    blank, found = np.zeros(2), []
    for gamma in GAMMAS:
        offset = 0.0 if on_surface else _weighted_mean(p.d, gamma)
        layer = Layer(np.array([0.0, offset]), np.array([[1.0], [0.0]]), gamma, p.alpha, blank, blank[:, None], blank,
                      1.0)  # fmt: skip

        def height(s: complex, layer: Layer = layer) -> np.ndarray:
            return maps.encode(np.array([[s, 1 - np.sqrt(1 - s**2)]]), layer)[:, 1]

        found.append(second_derivative(height, 0.1 / gamma**0.5)[0])
    return {"factor": np.array(found), "gamma": GAMMAS}


def _weighted_mean(d: int, gamma: float) -> float:
    """Height y of the mean of a uniform sphere with weights exp(-gamma |x|²) = exp(-2 gamma y), by Gauss-Legendre in
    the root of y, where the density is smooth; what is left out weighs 1e-17.
    """
    x, weight = np.polynomial.legendre.leggauss(120)
    x = (1 + x) / 2 * np.sqrt((40 + 2 * d) / (2 * gamma))
    density = weight * x ** (d - 1) * (2 - x**2) ** (d / 2 - 1) * np.exp(-2 * gamma * x**2)
    return float(density @ x**2 / density.sum())


def factor(p: Cap, *, published: bool = False) -> np.ndarray:
    """1 - alpha - alpha d/2 for every gamma; 1 - alpha if `published`."""
    value = 1 - p.alpha if published else float(theory.trace_factor(p.alpha, p.d))
    return np.full(len(GAMMAS), value)


def mean_units(p: Cap) -> float:
    """heights and exponents in sums of two products, off by 30 epsilons of 1, over the squared radius of the contour in
    units of the kernel, .01, doubled; against factors of at least alpha d/2 of 1/40 or more: 40"""
    return 40 * 2 * 30 / 0.01


MEAN_CURVATURE = Law(
    id="flatnet/mean-curvature",
    source=Source(DERIVED),
    statement="""
    The mean of uniformly dense samples, weighted by exp(-gamma |x|²), lies tr(h'')/(4 gamma) above the surface. A layer
    centred there, as published, multiplies the mean curvature at the sample by

        1 - alpha - alpha d/2

    as gamma grows: 1/4, 0, -1/4, ..., -1 at d = 6 for alpha = 1/2. From d = 3 on the surface bends the other way, and
    beyond d = 6 more than before. No flip for alpha <= 2/(d + 2), no growth for alpha < 4/(d + 2); centred on the
    sample the factor is 1 - alpha.
    """,
    params=Cap,
    predict=factor,
    measure=caps,
    claim=Limit(of="factor", along="gamma", order=1.0, as_="difference", scale=1.0, rounding=mean_units, resolve=0.02),
    controls={
        "centred on the sample": but(measure=partial(caps, on_surface=True)),
        "every curvature shrinks by 1 - alpha": but(predict=partial(factor, published=True)),
    },
    examples=tuple(Cap(d=d) for d in (1, 2, 3, 6, 8)),
    draws=Draws(shapes=2, values=2),
)

FLATTENING_PRINTED = MEAN_CURVATURE.printed(
    "flatnet/flattening-printed",
    source=Source(FLATNET, "a layer flattens the neighbourhood of its sample; alpha = 1/2 in the published code"),
    statement="""
    As used: a layer with alpha = 1/2 halves the curvature around its sample. With the published centre, the local mean,
    it multiplies the mean curvature by 1/2 - d/4: at d = 3 it flips its sign, at d = 8 it grows by 3/2.
    """,
    predict=partial(factor, published=True),
    at=(Cap(d=1), Cap(d=3), Cap(d=8)),
)
