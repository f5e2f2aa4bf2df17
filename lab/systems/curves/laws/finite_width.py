"""Random networks of finite width: exact moments of their kernels at one point, and limits of these."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Any, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality, Limit
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import relu_networks
from lab.params import Ge, Le, LogScale, Params
from lab.streams import Stream
from lab.systems.curves.theory import finite_width as theory

DERIVED = "derived for this laboratory, verified numerically; not found in the cited papers"


# ---------------------------------------------------------------------- one layer


class Layer(Params):
    """One layer of `width` neurons on features of dimension `inputs` with a Jacobian Gram matrix of given rank."""

    width: Annotated[int, Ge(1), Le(24)] = 6
    inputs: Annotated[int, Ge(1), Le(16)] = 5
    rank: Annotated[int, Ge(1), Le(24)] = 3
    matrices: int = 1000


def before(p: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Features a and Jacobian Gram matrix K of the layer's input, one instance for each point of the domain."""
    rng = Stream("curves/ntk-layer-moments", p.canonical()).numpy("before")
    root = rng.standard_normal((p.inputs, p.rank))
    return rng.standard_normal(p.inputs), root @ root.T


def invariants(a: np.ndarray, K: np.ndarray) -> np.ndarray:
    """The eight products of `theory.Invariants` from a (..., n) and K (..., n, n): (..., 8)."""
    A, T = np.sum(a * a, axis=-1), np.trace(K, axis1=-2, axis2=-1)
    u = a / np.sqrt(np.where(A > 0, A, 1.0))[..., None]
    Ku = (K @ u[..., None])[..., 0]
    k = np.sum(u * Ku, axis=-1)
    return np.stack([A * A, A * T, A * k, T * T, T * k, k * k, np.sum(K * K, axis=(-2, -1)), np.sum(Ku * Ku, -1)], -1)


@measurement
def after_layer(p: Layer, stream, *, signs: bool = False, late: bool = False):
    """Mean invariants after a random layer, over `matrices` draws.

    `signs` draws weights of one absolute value, `late` lets K grow by |a|² of the layer's output.
    """
    a, K = before(p)
    W = stream.numpy("W").standard_normal((p.matrices, p.width, p.inputs))
    W = math.sqrt(2 / p.width) * (np.sign(W) if signs else W)
    pre = W @ a
    out, gates = np.maximum(pre, 0.0), pre > 0
    square = np.sum(out**2, axis=-1)[:, None, None] if late else a @ a
    grown = W @ K @ np.swapaxes(W, 1, 2) + square * np.eye(p.width)
    grown = grown * (gates[:, :, None] & gates[:, None, :])
    return {"invariants": invariants(out, grown).mean(0)}


def after_layer_exactly(p: Layer) -> np.ndarray:
    """The eight invariants one layer on."""
    return np.array(theory.layer_moments(theory.Invariants(*invariants(*before(p))), p.width))


NTK_LAYER = Law(
    id="curves/ntk-layer-moments",
    source=Source(DERIVED),
    statement="""
    A layer a' = relu(Wa), K' = D(W K W' + |a|² I)D with Gaussian W of variance 2/n acts linearly on the second moments
    of |a|², tr K and u'Ku (u = a/|a|), with tr K² and |Ku|²: eight numbers close under a layer, for every width, from
    one neuron on (a layer is dead with probability 2^-n), and whatever a and K were.
    """,
    params=Layer,
    predict=after_layer_exactly,
    measure=after_layer,
    claim=Equality(of="invariants", over="mean", resolve=0.1),
    controls={
        "weights of one absolute value": but(measure=partial(after_layer, signs=True)),
        "|a|² of the layer's output": but(measure=partial(after_layer, late=True)),
    },
    examples=(Layer(), Layer(width=1, inputs=3, matrices=8000), Layer(width=12, inputs=12, rank=1)),
    draws=Draws(shapes=1, values=1, replicates=16),
)


# ---------------------------------------------------------------------- networks at one point


class Network(Params):
    """Networks of `depth` hidden layers of `width` neurons; `numbers` random numbers make a replicate.

    Depth over width stays below .2 (or the depth is one), and a replicate has 64 networks: squares of kernels have
    tails that sample means would otherwise miss.
    """

    width: Annotated[int, Ge(2), Le(256), LogScale()] = 10
    depth: Annotated[int, Ge(1), Le(64), LogScale()] = 2
    numbers: int = 2**18

    @model_validator(mode="after")
    def _light_tails(self) -> Self:
        if self.depth > max(1, 0.2 * self.width):
            raise ValueError(f"depth={self.depth} exceeds .2 width={0.2 * self.width:g}: kernels are heavy-tailed "
                             "there; raise the width")  # fmt: skip
        if networks(self, 1) < 64:
            raise ValueError(f"numbers={self.numbers} make {networks(self, 1)} networks; raise them until there are 64")
        return self


def networks(p: Any, dimension: int) -> int:
    """How many networks `numbers` random numbers make, eight at least."""
    n = p.width
    return max(8, p.numbers // (n * dimension + (p.depth - 1) * n * n + n))


@measurement(runs="jax", precision="float32")
def kernels(p: Network, stream, *, signs: float = 0.0):
    """Kernel of all weights at a unit input: mean, and mean square distance from 1 + n L/2 over its square.

    `signs` = 1 gives all hidden weights one absolute value.
    """
    import jax.numpy as jnp

    *hidden, last = relu_networks.relu_init(stream.jax("weights"), p.width, p.depth, 1, networks=(networks(p, 1),))
    equal = math.sqrt(2 / p.width)
    hidden = [W + signs * (equal * jnp.sign(W) - W) for W in hidden]
    kernel = relu_networks.empirical_ntk([*hidden, last], jnp.ones((1, 1)))[:, 0, 0]
    centre = 1 + p.width * p.depth / 2
    return {"kernel": jnp.mean(kernel), "spread": jnp.mean((kernel / centre - 1) ** 2)}


NETWORKS = (Network(), Network(width=4, depth=1))

NTK_MEAN = Law(
    id="curves/ntk-diag-mean",
    source=Source(DERIVED),
    statement="""
    At a unit input the kernel of all weights has mean 1 + n L/2, exactly, at every width n and depth L.
    """,
    params=Network,
    predict=lambda p: theory.kernel_moments(p.width, p.depth)[0],
    measure=kernels,
    claim=Equality(of="kernel", over="mean", resolve=0.03),
    controls={
        "read-out left out": but(predict=lambda p: theory.kernel_moments(p.width, p.depth, readout=0.0)[0]),
    },
    examples=NETWORKS,
    draws=Draws(shapes=0, replicates=16),
)

NTK_VARIANCE = Law(
    id="curves/ntk-diag-variance",
    source=Source(DERIVED),
    statement="""
    At a unit input the kernel of all weights has the variance that L steps of curves/ntk-layer-moments give, exactly,
    at every width and depth: E Theta² = E A² + 2 E AT + E T² + 2 E tr K² after the last layer, because the read-out is
    Gaussian. Judged up to L = .2 n, where sample means can be trusted.
    """,
    params=Network,
    predict=lambda p: theory.relative_variance(p.width, p.depth),
    measure=kernels,
    claim=Equality(of="spread", over="mean", resolve=0.1),
    controls={
        "weights of one absolute value": but(measure=partial(kernels, signs=1.0)),
        "limit in depth over width": but(predict=lambda p: float(theory.variance_limit(p.depth / p.width))),
    },
    examples=NETWORKS,
    draws=Draws(shapes=0, replicates=16),
)


# ---------------------------------------------------------------------- large width and depth together


class Ratio(Params):
    """Depth over width `layers`/`per`, at widths `per` times powers of two, from 128 to 4096."""

    layers: Annotated[int, Ge(1), Le(16)] = 1
    per: Annotated[int, Ge(8), Le(64)] = 10


@measurement
def along_width(p: Ratio, stream, *, offset: int = 0):
    """Relative variance by the recursion at growing width and depth in proportion; `offset` more layers."""
    powers = [k for k in 2 ** np.arange(10) if 128 <= p.per * k <= 4096]
    variances = [theory.relative_variance(int(p.per * k), int(p.layers * k) + offset * int(k)) for k in powers]
    return {"width": p.per * np.array(powers, dtype=float), "variance": np.array(variances)}


def units_of_width(p: Ratio) -> float:
    """eight sums of positive terms a layer, up to 4096 * 2 layers of about 10 roundings: 8e4 units of the second
    moment, which the subtraction of 1 magnifies by 1 + 1/variance, at most 1 + 3 * 64/11"""
    return 8e4 * (1 + 3 * 64 / 11)


NTK_VARIANCE_LIMIT = Law(
    id="curves/ntk-variance-limit",
    source=Source(DERIVED),
    statement="""
    As width and depth grow with L/n -> beta, Var Theta(x,x)/(E Theta)² tends to

        exp(5 beta)/beta² [beta²/3 + 2 beta/9 - (1 - exp(-6 beta))/27] - 1 = (11/3) beta + O(beta²),

    with an error of order 1/n. Concentration of the kernel is a matter of depth over width alone; at L = n the relative
    variance is 76.
    """,
    params=Ratio,
    predict=lambda p: float(theory.variance_limit(p.layers / p.per)),
    measure=along_width,
    claim=Limit(of="variance", along="width", order=1, rounding=units_of_width, resolve=0.01),
    controls={
        "no factor exp(5 beta)": but(predict=lambda p: without_growth(p.layers / p.per)),
        "first order only": but(predict=lambda p: 11 / 3 * p.layers / p.per),
        "another layer per unit": but(measure=partial(along_width, offset=1)),
    },
    examples=(Ratio(), Ratio(layers=16, per=16), Ratio(layers=1, per=64)),
    draws=Draws(shapes=6, values=1),
)


def without_growth(beta: float) -> float:
    """The limit with its bracket alone."""
    return float((theory.variance_limit(beta) + 1) * math.exp(-5 * beta) - 1)


class Depth(Params):
    """Depth alone; widths go to infinity."""

    depth: Annotated[int, Ge(1), Le(200), LogScale()] = 3


@measurement
def times_width(p: Depth, stream, *, more: int = 0):
    """n times the relative variance by the recursion at widths n growing from 50 L; `more` layers than said."""
    widths = 50 * p.depth * 2 ** np.arange(8)
    scaled = [n * theory.relative_variance(int(n), p.depth + more) for n in widths]
    return {"width": widths.astype(float), "scaled": np.array(scaled)}


def units_of_depth(p: Depth) -> float:
    """eight sums of positive terms a layer, about ten roundings each: 80 L units of the second moment, which the
    subtraction of 1 magnifies by n/(11 L/3), n up to 6400 L"""
    return 80 * p.depth * 6400 * 3 / 11


NTK_VARIANCE_SLOPE = Law(
    id="curves/ntk-variance-slope",
    source=Source(DERIVED),
    statement="""
    At depth L and growing width n, n Var Theta(x,x)/(E Theta)² -> 11 L/3 + 4/(3 L): to first order in 1/n the variance
    is known at every depth, and 11/3 per layer in deep networks.
    """,
    params=Depth,
    predict=lambda p: theory.variance_slope(p.depth),
    measure=times_width,
    claim=Limit(of="scaled", along="width", order=1, rounding=units_of_depth, resolve=1e-3),
    controls={
        "11/3 a layer": but(predict=lambda p: 11 * p.depth / 3),
        "another layer": but(measure=partial(times_width, more=1)),
    },
    examples=(Depth(), Depth(depth=1), Depth(depth=10)),
    draws=Draws(shapes=4, values=1),
)
