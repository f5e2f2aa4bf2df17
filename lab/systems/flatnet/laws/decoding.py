"""Fitted networks: exact decoding up to rounding, the published decoder, and what becomes of the shape."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound
from lab.data.flattening import FlatteningSet, arc, gp_manifold, sine_graph
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.flatnet import DECODERS, FlatNet, flatness, least_distance_ratio, turning_points
from lab.params import Ge, Le, Params
from lab.systems.flatnet import theory
from lab.systems.flatnet.laws.inversion import DERIVED

CHECKPOINTS = (1, 2, 3, 5, 8, 13, 20, 32, 50, 80, 130, 200, 320, 500)


class Network(Params):
    """A network fitted to n samples of a sine graph, an arc of 1.5 pi, a circle, or a random surface in R^D.

    `radius` in diameters, 0 for the published search; checkpoints up to `layers`. d, D are those of the surface.
    """

    surface: Literal["sine", "arc", "circle", "random surface"] = "sine"
    d: Annotated[int, Ge(1)] = 1
    D: Annotated[int, Ge(2)] = 2
    n: Annotated[int, Ge(20)] = 50
    layers: Annotated[int, Ge(1)] = 50
    radius: Annotated[float, Ge(0.0), Le(1.0)] = 0.0
    centre: Literal["sample", "mean"] = "sample"

    @model_validator(mode="after")
    def _leaves_a_normal(self) -> Self:
        if self.d >= self.D:
            raise ValueError(f"d={self.d} must be below D={self.D}")
        if self.surface != "random surface" and (self.d, self.D) != (1, 2):
            raise ValueError(f"d={self.d}, D={self.D}: curves have d=1, D=2; others are random surfaces")
        return self

    @property
    def checkpoints(self) -> tuple[int, ...]:
        return tuple(c for c in CHECKPOINTS if c <= self.layers)


def _fitted(p: Network, seed: int) -> tuple[FlatteningSet, FlatNet]:
    rng = np.random.default_rng(seed)
    if p.surface == "random surface":
        data = gp_manifold(rng, p.n, p.d, p.D)
    elif p.surface == "sine":
        data = sine_graph(p.n, rng=rng)
    else:
        data = arc(p.n, 2 * np.pi if p.surface == "circle" else 1.5 * np.pi)
    net = FlatNet(dimension=p.d, layers=p.layers, radius=p.radius or None, centre=p.centre, seed=seed)
    return data, net.fit(data.X)


def fitted(p: Network, stream) -> dict[str, np.ndarray]:
    """Seed of data and network, heights and divisors of its layers, those of the input (0 and its norm) first; layers
    that were not kept count as 0 and 1.
    """
    seed = int(stream.numpy("network").integers(2**31))
    _, net = _fitted(p, seed)
    alphas, scales = np.zeros(p.layers + 1), np.ones(p.layers + 1)
    count = len(net.layers_) + 1
    alphas[1:count] = [layer.alpha for layer in net.layers_]
    scales[:count] = [net.scale_, *(layer.scale for layer in net.layers_)]
    return {"seed": np.array(seed), "alphas": alphas, "scales": scales}


@measurement
def decoded(p: Network, data, stream, *, decoder: str = "exact"):
    """After each checkpoint: error (largest distance) of exact decoding, or of the `decoder` given; root mean square
    errors of all decoders; amplification; flatness, turning points of the leading coordinate, least ratio of distances.
    """
    curve, net = _fitted(p, int(data["seed"]))
    X, found = curve.X, []
    for count in p.checkpoints:
        part = replace(net, layers_=net.layers_[:count])
        Z = part.transform(X)
        lengths = [np.linalg.norm(part.inverse_transform(Z, name) - X, axis=1) for name in DECODERS]
        largest = np.max(lengths[DECODERS.index(decoder)])
        rms = np.sqrt(np.mean(np.square(lengths), axis=1))
        found.append([largest, *rms, np.max(part.amplification(X)), flatness(Z, p.d), turning_points(Z, curve.closed),
                      least_distance_ratio(Z, X)])  # fmt: skip
    names = ("largest", *DECODERS, "amplification", "flatness", "turns", "ratio")
    columns = dict(zip(names, np.array(found, dtype=float).T, strict=True))
    return {**columns, "epsilons": columns["largest"] / np.finfo(float).eps, "depth": np.array(p.checkpoints)}


def rounding_units(p: Network) -> float:
    """c of one layer: points of norm at most 1, in sums of D products, off by 10 (D + 4) epsilons; exponents of at most
    62 (radii of .15 diameters at least, a diameter of 2), off by 4 epsilons each: 250"""
    return 10 * (p.D + 4) + 250


def bound(p: Network, data) -> np.ndarray:
    """sum over layers of 2 c prod s/(1 - alpha), in epsilons, at the checkpoints."""
    alphas, scales = data["alphas"], data["scales"]
    ends = [count + 1 for count in p.checkpoints]
    return np.array([theory.round_trip_bound(alphas[:end], scales[:end], rounding_units(p)) for end in ends])


ROUND_TRIP = Law(
    id="flatnet/round-trip",
    source=Source(DERIVED),
    statement="""
    Samples encoded by L layers and decoded by the exact inverses come back within

        eps sum_l 2 c prod_(j <= l) s_j/(1 - alpha_j),

    alpha_j the heights, s_j the divisors, c epsilons the rounding of one layer: in float64 exactly, for all purposes,
    until the product reaches 1/eps. (In fact the product of s/(1 - k) along the samples decides, which is smaller.) The
    quadratic decoder misses from the first layers on, by far more.
    """,
    params=Network,
    situation=fitted,
    predict=bound,
    measure=decoded,
    claim=Bound(of="epsilons", side="upper"),
    controls={"quadratic decoder": but(measure=partial(decoded, decoder="quadratic"))},
    examples=(
        Network(layers=80), Network(surface="arc", radius=0.3), Network(surface="circle", centre="mean"),
        Network(surface="random surface", d=2, D=6, n=60, layers=20),
    ),
    draws=Draws(shapes=2, values=1),
)  # fmt: skip
