"""A flattening layer is a diffeomorphism of the whole space with an exact inverse; how much inverses amplify."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import flattening_layers as maps
from lab.models.flattening_layers import Layer
from lab.params import Ge, Le, LogScale, Params
from lab.systems.flatnet import theory

FLATNET = "arXiv:2305.01777"
DERIVED = f"derived for this laboratory, verified numerically; not found in {FLATNET}"


class Point(Params):
    """A layer with a random frame in R^D, and a point at distances `along` and `off`, in units of 1/sqrt(gamma)."""

    D: Annotated[int, Ge(2), Le(7)] = 3
    d: Annotated[int, Ge(1), Le(4)] = 1
    alpha: Annotated[float, Ge(0.0), Le(0.99)] = 0.5
    gamma: Annotated[float, Ge(0.01), Le(100.0), LogScale()] = 1.0
    along: Annotated[float, Ge(0.0), Le(3.0)] = 0.5
    off: Annotated[float, Ge(0.0), Le(3.0)] = 0.5

    @model_validator(mode="after")
    def _leaves_a_normal(self) -> Self:
        if self.d >= self.D:
            raise ValueError(f"d={self.d} must be below D={self.D}")
        return self

    @property
    def at(self) -> tuple[float, float, float, float]:
        """t, eta, gamma, alpha."""
        return self.along / self.gamma**0.5, self.off / self.gamma**0.5, self.gamma, self.alpha


def layer_and_point(p: Point, stream) -> dict[str, np.ndarray]:
    """The layer's arrays (quadratic model random, sample near the centre) and the point."""
    rng = stream.numpy("layer")
    basis = haar(rng, p.D, p.D)
    frame, rest = basis[:, : p.d], basis[:, p.d :]
    unit = 1 / np.sqrt(p.gamma)
    centre = unit * rng.standard_normal(p.D)
    model = rest @ rng.standard_normal((p.D - p.d, p.d * (p.d + 1) // 2)) / unit
    return {"centre": centre, "frame": frame, "model": model, "sample": centre + 0.1 * unit * rng.standard_normal(p.D),
            "x": centre + unit * (p.along * frame[:, 0] + p.off * rest[:, 0])}  # fmt: skip


def as_layer(p: Point, data) -> Layer:
    """The layer without shift and division."""
    return Layer(data["centre"], data["frame"], p.gamma, p.alpha, data["sample"], data["model"], np.zeros(p.D), 1.0)


def derivative(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Derivative of the encoder at x (D,), by complex steps: exact to rounding."""
    h, D = 1e-30, len(x)
    return np.imag(maps.encode(x + 1j * h * np.eye(D), layer)).T / h


@measurement
def one_layer(p: Point, data, stream, *, stretch: float = 1.0, decoder: str = "exact"):
    """Determinant and smallest singular value of the derivative; the point encoded and decoded, in units of
    1/sqrt(gamma) from the centre. `stretch` makes the frame longer, the `decoder` may be the quadratic one.
    """
    layer = as_layer(p, {**data, "frame": stretch * data["frame"]})
    slope = derivative(layer, data["x"])
    decode = maps.decode_exact if decoder == "exact" else maps.decode_quadratic
    back = (decode(maps.encode(data["x"], layer), layer) - data["centre"]) * p.gamma**0.5
    return {"values": np.array([np.linalg.det(slope), np.linalg.svd(slope, compute_uv=False)[-1]]), "back": back}


def values(p: Point, *, slope: bool = True) -> np.ndarray:
    """Determinant and smallest singular value; without the kernel's `slope`, (1-k)^(D-d) and 1 - k."""
    t, eta, gamma, alpha = p.at
    if not slope:
        k = theory.kernel_value(t, eta, gamma, alpha)
        return np.array([(1 - k) ** (p.D - p.d), 1 - k])
    codimension = p.D - p.d
    return np.array([
        theory.determinant(t, eta, gamma, alpha, codimension),
        theory.smallest_singular_value(t, eta, gamma, alpha, codimension),
    ])  # fmt: skip


def derivative_units(p: Point) -> float:
    """entries of at most 2 are products of D terms, with exponents up to 18 and centres a few units away: off by
    4 (D + 40); a determinant of entries so off, of norm at most 2, by D 2^D times that, at least its singular values"""
    return 4 * (p.D + 40) * p.D * 2**p.D


EXAMPLES = (
    Point(), Point(along=0.0, off=0.0), Point(alpha=0.99, along=1.0, off=1.0), Point(D=2, alpha=0.9, off=0.2),
    Point(D=7, d=4, alpha=0.7, along=0.9, off=0.1), Point(alpha=0.0),
)  # fmt: skip

INVERTIBLE_LAYER = Law(
    id="flatnet/invertible-layer",
    source=Source(DERIVED),
    statement="""
    The layer F(x) = x - k P(x - mu), k = alpha exp(-gamma |x - mu|²), has at tangent distance t and normal distance eta
    from the centre

        det DF = (1 - k)^(D-d) (1 + 2 gamma k eta²/(1 - k)),

    and its singular values are 1, 1 - k and those of ((1, 0), (2 gamma k t eta, 1 - k + 2 gamma k eta²)). So det DF is
    positive for alpha < 1, and F, which moves no point far, is a diffeomorphism of R^D. Judged: determinant and
    smallest singular value.
    """,
    params=Point,
    situation=layer_and_point,
    predict=values,
    measure=one_layer,
    claim=Equality(of="values", rounding=derivative_units, scale=1.0, resolve=1e-9),
    controls={
        "slope of the kernel forgotten": but(predict=partial(values, slope=False)),
        "frame 5 % too long": but(measure=partial(one_layer, stretch=1.05)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=6, values=4),
)


def least(p: Point, *, at_point: bool = False) -> np.ndarray:
    """(1 - alpha)^(D-d) and 1 - alpha; with k at the point for alpha if `at_point`."""
    k = theory.kernel_value(*p.at) if at_point else p.alpha
    return np.array([(1 - k) ** (p.D - p.d), 1 - k])


INVERSE_BOUND = Law(
    id="flatnet/inverse-bound",
    source=Source(DERIVED),
    statement="""
    det DF >= (1 - alpha)^(D-d), and no singular value of DF is below 1 - alpha, everywhere; both are attained at the
    centre. The value 1 - k at the point is no bound: where tangent and normal parts are both there, the derivative is
    sheared (down to .9967 (1 - k) at alpha = .5, .994 (1 - k) at .9).
    """,
    params=Point,
    situation=layer_and_point,
    predict=least,
    measure=one_layer,
    claim=Bound(of="values", side="lower", rounding=derivative_units, scale=1.0, resolve=1e-9),
    controls={"the kernel at the point": but(predict=partial(least, at_point=True))},
    examples=(*EXAMPLES, Point(D=2, alpha=0.9, along=1.3, off=0.15)),
    draws=Draws(shapes=6, values=4),
)  # fmt: skip


def the_point(p: Point, data) -> np.ndarray:
    """The point itself, from the centre, in units of 1/sqrt(gamma)."""
    return (data["x"] - data["centre"]) * p.gamma**0.5


def inverse_units(p: Point) -> float:
    """coordinates of up to 10 units (the centre's), in sums of D products, are off by 10 (D + 4) epsilons; the kernel's
    exponent, up to 18, by as much again, times a normal part of 3; the inverse amplifies by 1/(1 - alpha)"""
    return (10 * (p.D + 4) + 3 * 18 * 4) / (1 - p.alpha)


EXACT_INVERSE = Law(
    id="flatnet/exact-inverse",
    source=Source(DERIVED),
    statement="""
    The inverse of a layer keeps the tangent part and multiplies the normal part by 1/(1 - k), with eta the solution of

        eta (1 - alpha exp(-gamma (|u|² + eta²))) = |P(z - mu)|,

    increasing in eta, bracketed by [e, e/(1 - alpha)]: safeguarded Newton steps return every point of R^D to rounding.
    """,
    params=Point,
    situation=layer_and_point,
    predict=the_point,
    measure=one_layer,
    claim=Equality(of="back", rounding=inverse_units, scale=1.0, resolve=1e-10),
    controls={
        "frame 5 % too long": but(measure=partial(one_layer, stretch=1.05)),
        "quadratic decoder": but(measure=partial(one_layer, decoder="quadratic")),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=6, values=4),
)

DECODER_PRINTED = EXACT_INVERSE.printed(
    "flatnet/decoder-printed",
    source=Source(FLATNET, "decoder layers as the inverse of encoder layers; published code"),
    statement="""
    As used: the decoder z + k (P(z_c - mu) + V q(U^T (z - z_c))) inverts the layer. It replaces the normal part, which
    z still has, by a quadratic model of it: a point off the model's surface does not come back. The exact inverse
    exists for every published layer, since alpha <= 1/2.
    """,
    measure=partial(one_layer, decoder="quadratic"),
    at=(Point(D=2), Point(along=0.0, off=0.3)),
)


# ---------------------------------------------------------------------- networks


class Stack(Params):
    """Layers in R^D one after the other, heights alpha times uniform numbers in [1/2, 1] (all alpha if `aligned`, with
    one frame and centre), divisors uniform in [1/2, 1]; a point at `distance` from the first centre, the share `off` of
    it normal to the first frame.
    """

    D: Annotated[int, Ge(2), Le(5)] = 3
    layers: Annotated[int, Ge(1), Le(12)] = 5
    alpha: Annotated[float, Ge(0.05), Le(0.9)] = 0.5
    gamma: Annotated[float, Ge(0.1), Le(10.0), LogScale()] = 1.0
    distance: Annotated[float, Ge(0.0), Le(2.0)] = 0.5
    off: Annotated[float, Ge(0.0), Le(1.0)] = 0.1
    aligned: bool = False


def stack(p: Stack, stream) -> dict[str, np.ndarray]:
    """Centres, frames of lines, heights and divisors of the layers, and the point."""
    rng = stream.numpy("stack")
    first = haar(rng, p.D, 2)
    frames = np.stack([first[:, :1], *(haar(rng, p.D, 1) for _ in range(p.layers - 1))])
    centres = 0.3 * rng.standard_normal((p.layers, p.D))
    alphas = p.alpha * rng.uniform(0.5, 1, p.layers)
    if p.aligned:
        frames, centres, alphas = np.repeat(frames[:1], p.layers, 0), 0 * centres, np.full(p.layers, p.alpha)
    x = centres[0] + p.distance * (first @ np.array([np.sqrt(1 - p.off**2), p.off]))
    return {"frames": frames, "centres": centres, "alphas": alphas, "scales": rng.uniform(0.5, 1, p.layers), "x": x}


def _layers(p: Stack, data) -> list[Layer]:
    blank = np.zeros(p.D), np.zeros((p.D, 1)), np.zeros(p.D)
    each = zip(data["centres"], data["frames"], data["alphas"], data["scales"], strict=True)
    return [Layer(centre, frame, p.gamma, alpha, *blank, scale) for centre, frame, alpha, scale in each]


@measurement
def amplified(p: Stack, data, stream):
    """Logarithm of the largest factor by which exact decoding amplifies a small error of the code of the point."""
    slope, x = np.eye(p.D), data["x"]
    for layer in _layers(p, data):
        slope, x = derivative(layer, x) @ slope, maps.encode(x, layer)
    return {"log": -np.log(np.linalg.svd(slope, compute_uv=False)[-1])}


def log_bound(p: Stack, data, *, at_point: bool = False) -> float:
    """sum log(scale/(1 - alpha)); with the kernel along the path for alpha if `at_point`."""
    if not at_point:
        return float(np.log(theory.inverse_bound(data["alphas"], data["scales"])))
    total, x = 0.0, data["x"]
    for layer in _layers(p, data):
        total += float(np.log(layer.scale / (1 - maps.kernel(x, layer)[0])))
        x = maps.encode(x, layer)
    return total


def log_units(p: Stack, data) -> float:
    """each of the L factors is off by 40 + 4 D epsilons of its norm, at most 4 (2 before the division by 1/2 or more):
    the product by L times that and 4^L; its smallest singular value is at least 1/bound"""
    bound = float(theory.inverse_bound(data["alphas"], data["scales"]))
    return p.layers * (40 + 4 * p.D) * 4.0**p.layers * bound


DECODER_CONDITIONING = Law(
    id="flatnet/decoder-conditioning",
    source=Source(DERIVED),
    statement="""
    Exact decoding of a network amplifies a small error of the code by at most prod_l s_l/(1 - alpha_l), s_l the
    divisors; attained where all layers share centre and frame, at the centre. Rounding errors grow by it: decoding is
    exact as long as the product is small against 1/eps. The product of s_l/(1 - k_l) at the point is an estimate only.
    """,
    params=Stack,
    situation=stack,
    predict=log_bound,
    measure=amplified,
    claim=Bound(of="log", side="upper", rounding=log_units, scale=1.0, resolve=1e-6),
    controls={"the kernel at the point": but(predict=partial(log_bound, at_point=True))},
    examples=(
        Stack(aligned=True, distance=0.0), Stack(layers=1, aligned=True, distance=0.0, D=2), Stack(),
        Stack(layers=1, D=2, alpha=0.9, distance=1.88, off=0.37, aligned=True), Stack(layers=12, alpha=0.9),
        Stack(layers=1, distance=0.8, aligned=True),
    ),
    draws=Draws(shapes=6, values=4),
)  # fmt: skip
