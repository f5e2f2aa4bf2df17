"""How well a structured decoder undoes the encoder, and how a layer is inverted exactly."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Bound, Rate
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Gt, Le, LogScale, Params
from lab.systems.crate import theory

DERIVED = "derived for this laboratory; the decoder is that of arXiv:2404.02446"


class Coded(Params):
    """Gaussian tokens of about unit length and heads with independent orthonormal frames; layers of softmax or of
    linear attention, or exact gradient steps of the coding rate."""

    heads: Annotated[int, Ge(1), Le(4)] = 3
    dim: Annotated[int, Ge(2), Le(10)] = 6
    n: Annotated[int, Ge(2), Le(16)] = 8
    layer: Literal["softmax", "linear", "gradient"] = "softmax"
    time: Annotated[float, Ge(0.05), Le(0.5)] = 0.3


def coded(p: Coded, stream) -> dict[str, np.ndarray]:
    rng = stream.numpy("coded")
    U = np.stack([haar(rng, p.dim, max(1, p.dim // 2)) for _ in range(p.heads)])
    return {"Z": rng.standard_normal((p.n, p.dim)) / np.sqrt(p.dim), "U": U}


def update(p: Coded, U: np.ndarray):
    """M, as a function of the tokens."""
    if p.layer == "gradient":
        return lambda Z: -white_box.subspace_rate_gradient(Z, U, beta=1.0)
    phi = white_box.softmax if p.layer == "softmax" else white_box.linear
    return lambda Z: white_box.mssa(Z, U, phi=phi) / (1.0 if p.layer == "softmax" else p.n)


INVERSE_STEPS = 2.0 ** np.arange(3, 12)


@measurement
def one_layer(p: Coded, data, stream, *, sign: float = -1.0):
    """Relative error of decoding one encoder layer, at eta = 1/8 to 1/2048; the decoder's `sign`."""
    Z, M = data["Z"], update(p, data["U"])
    errors = []
    for inverse in INVERSE_STEPS:
        Y = Z + M(Z) / inverse
        errors.append(np.linalg.norm(Z - (Y + sign * M(Y) / inverse)))
    return {"inverse": INVERSE_STEPS, "error": np.array(errors) / np.linalg.norm(Z)}


DEPTHS = 2 ** np.arange(3, 8)


@measurement
def many_layers(p: Coded, data, stream, *, sign: float = -1.0, shared: bool = True):
    """Relative error of decoding L layers of eta = time/L; without `shared` the decoder has frames of its own."""
    Z, M = data["Z"], update(p, data["U"])
    back = M if shared else update(p, np.flip(data["U"], axis=-2))
    errors = []
    for depth in DEPTHS:
        Y = Z
        for _ in range(depth):
            Y = Y + p.time / depth * M(Y)
        for _ in range(depth):
            Y = Y + sign * p.time / depth * back(Y)
        errors.append(np.linalg.norm(Z - Y))
    return {"depth": DEPTHS, "error": np.array(errors) / np.linalg.norm(Z)}


def difference_units(p: Coded) -> float:
    """the error of decoding is a difference of tokens: off by 8 (n + d) epsilons of them, which relative to an error of
    1e-7 or more (eta = 1/2048) is 1e7 times as many"""
    return 8 * (p.n + p.dim) * 1e7


REVERSAL_ONE_LAYER = Law(
    id="crate/reversal-one-layer",
    source=Source(DERIVED),
    statement="""
    A structured decoder layer Y - eta M(Y) undoes an encoder layer Z + eta M(Z) up to O(eta²), for softmax and linear
    attention and for exact gradient steps. With a plus sign the error is O(eta).
    """,
    params=Coded,
    situation=coded,
    predict=lambda p, data: -theory.one_layer_order(),
    measure=one_layer,
    claim=Rate(of="error", along="inverse", order=1.0, rounding=difference_units, resolve=0.05),
    controls={
        "plus sign": but(measure=partial(one_layer, sign=1.0)),
        "third order": but(predict=lambda p, data: -3.0),
    },
    examples=(Coded(), Coded(layer="linear"), Coded(layer="gradient")),
    draws=Draws(shapes=4, values=1),
)

REVERSAL_LAYERS = Law(
    id="crate/reversal-layers",
    source=Source(DERIVED),
    statement="""
    L layers of eta = T/L and L decoder layers: the error falls as 1/L, since both are Euler's method for one flow.
    With a plus sign, or with frames of its own in the decoder, it stays of order one.
    """,
    params=Coded,
    situation=coded,
    predict=lambda p, data: theory.layers_order(),
    measure=many_layers,
    claim=Rate(of="error", along="depth", order=1.0, rounding=difference_units, resolve=0.05),
    controls={
        "plus sign": but(measure=partial(many_layers, sign=1.0)),
        "decoder with other frames": but(measure=partial(many_layers, shared=False)),
    },
    examples=(Coded(), Coded(layer="linear", time=0.1), Coded(layer="gradient")),
    draws=Draws(shapes=4, values=1),
)


# ---------------------------------------------------------------------- exact inversion


class Inverted(Params):
    """Head coordinates with ``beta |W_k|²/n = energy``; an exact encoder layer, ``kappa beta = reduced_step``."""

    heads: Annotated[int, Ge(1), Le(3)] = 2
    n: Annotated[int, Ge(1), Le(12)] = 6
    rank: Annotated[int, Ge(1), Le(6)] = 3
    beta: Annotated[float, Ge(0.05), Le(100.0), LogScale()] = 2.0
    energy: Annotated[float, Ge(1e-6), Le(1e3), LogScale()] = 3.0
    reduced_step: Annotated[float, Gt(0.01), Le(0.9)] = 0.5


@measurement
def iterations(p: Inverted, stream, *, factor: float = 1.0, attention: bool = False):
    """Factors of the error in each of ten iterations, start at the output; where the error is still above rounding.

    `factor` multiplies the step of both, `attention` puts softmax attention in place of the gradient.
    """
    W = stream.numpy("tokens").standard_normal((p.heads, p.n, p.rank))
    W *= np.sqrt(p.n * p.energy / p.beta) / np.linalg.norm(W, axis=(1, 2), keepdims=True)

    def moved(V):
        if attention:
            return -factor * p.reduced_step * white_box.attend(V)
        return factor * p.reduced_step / p.beta * white_box.head_rate_gradient(V, beta=p.beta)

    Y = W - moved(W)
    X, errors = Y, []
    for _ in range(11):
        errors.append(np.linalg.norm(X - W))
        X = Y + moved(X)
    before, after = np.array(errors[:-1]), np.array(errors[1:])
    clear = after > 1e-9 * np.linalg.norm(W)
    return {"factor": np.where(clear, after / np.maximum(before, 1e-300), 0.0), "clear": clear}


def iteration_units(p: Inverted) -> float:
    """tokens are off by 8 (n + 2p) epsilons times the condition number 1 + n energy; errors are above 1e-9 of them"""
    return 8 * (p.n + 2 * p.rank) * (1 + p.n * p.energy) * 1e9


FIXED_POINT_INVERSION = Law(
    id="crate/fixed-point-inversion",
    source=Source(DERIVED),
    statement="""
    An exact encoder layer Y = X - kappa grad R^c(X), stacked-orthonormal frames, kappa beta < 1, is inverted by
    iterating X <- Y + kappa grad R^c(X): the error falls in every iteration at least by the factor kappa beta, the
    Lipschitz constant of the step; attained for weak tokens. (For any layer Z + eta M(Z) the factor is eta Lip(M).)
    """,
    params=Inverted,
    predict=lambda p: float(theory.contraction(p.reduced_step)),
    measure=iterations,
    claim=Bound(of="factor", side="upper", given="clear", rounding=iteration_units, resolve=1e-3),
    controls={
        "layer 10 % longer": but(measure=partial(iterations, factor=1.1)),
        "factor squared": but(predict=lambda p: p.reduced_step**2),
        "softmax attention": but(measure=partial(iterations, attention=True)),
    },
    examples=(Inverted(energy=1e-6), Inverted(), Inverted(energy=1e-6, reduced_step=0.9)),
    draws=Draws(shapes=8, values=8),
)
