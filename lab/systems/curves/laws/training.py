"""Training of finite networks on two curves: the linear prediction, and with which power of the width it is reached."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Limit, Rate
from lab.data.curves import pair_angles, symmetric_pair
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import relu_networks
from lab.models.angle_kernels import angles, limit_kernel, skeleton
from lab.params import Ge, Le, LogScale, Params, Static
from lab.systems.curves.laws.finite_width import DERIVED
from lab.systems.curves.laws.random_networks import PAPERS
from lab.systems.curves.theory import training as theory
from lab.systems.curves.theory.certificate import pair_eigenvalues


class Pair(Params):
    """Gradient descent on a symmetric pair of circles with `points` equispaced points each, labels +1 and -1.

    The step is `rate` over the larger eigenvalue of the limit kernel, with room to 2, where descent would lose its
    stability: kernels of narrow networks scatter. Descent ends before the predicted error is a tenth: the noise of
    other modes decays more slowly. A replicate is the mean over `networks` networks.
    """

    radius: Annotated[float, Ge(0.2), Le(0.7), Static()] = 0.5
    separation: Annotated[float, Ge(0.05), Le(1.0), Static()] = 0.6
    points: Annotated[int, Ge(1), Le(256)] = 4
    width: Annotated[int, Ge(16), Le(16384), LogScale()] = 64
    depth: Annotated[int, Ge(1), Le(6)] = 1
    steps: Annotated[int, Ge(4), Le(400), LogScale()] = 10
    rate: Annotated[float, Ge(0.2), Le(0.5), Static()] = 0.5
    networks: int = 1

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        last = theory.residuals(self.eigenvalues()[0], self.step, self.steps)[-1]
        if last < 0.1:
            raise ValueError(f"steps={self.steps} bring the error down to {last:.2g}; stop at .1, lower steps")
        return self

    def eigenvalues(self, *, kernel=limit_kernel) -> tuple[float, float]:
        """(lambda_-, lambda_+) of the limit kernel at the nodes."""
        turn = 2 * np.pi * np.arange(self.points) / self.points
        same, cross = pair_angles(self.radius, self.separation, turn)
        return pair_eigenvalues(*(np.mean(kernel(nu, self.depth, self.width)) for nu in (same, cross)))

    @property
    def step(self) -> float:
        """tau."""
        return self.rate / self.eigenvalues()[1]


@measurement(runs="jax", precision="float32")
def trained(p: Pair, stream, *, loud: float = 0.0):
    """Gradient descent of centred networks: their errors, and how far they are from being linear.

    `rms` (steps): root mean square error after each step, over that of the labels. Largest distance over the steps, in
    units of the norm of the labels, from the network linearised at its start, `error`, and from the limit's,
    `limit_error`. `drift`: change of the kernel matrix over its norm; `flips`: share of gates that differ at the end.
    `loud` = 1 multiplies labels by the root of the width.
    """
    import jax.numpy as jnp

    curves = symmetric_pair(p.radius, p.separation, points=p.points)
    X = jnp.asarray(curves.X, dtype=jnp.float32)
    y = jnp.asarray(curves.labels, dtype=jnp.float32) * (1 + loud * (np.sqrt(p.width) - 1))
    start = relu_networks.relu_init(
        stream.jax("weights"), p.width, p.depth, X.shape[1], networks=(p.networks,)
    )  # fmt: skip
    kernel = relu_networks.empirical_ntk(start, X)
    found = relu_networks.descend(start, X, relu_networks.outputs(start, X) + y, step=p.step, steps=p.steps)
    limit = jnp.asarray(limit_kernel(angles(curves.X), p.depth, p.width), dtype=jnp.float32)
    both = jnp.stack([kernel, jnp.broadcast_to(limit, kernel.shape)])
    linear = relu_networks.linear_descent(
        both, jnp.broadcast_to(-y, both.shape[:-1]), step=p.step, steps=p.steps
    )  # fmt: skip
    size = jnp.linalg.norm(y)
    gaps = jnp.max(jnp.linalg.norm(found.residuals[:, None] - linear, axis=-1), axis=0) / size
    moved = relu_networks.empirical_ntk(found.weights, X) - kernel
    gates = zip(relu_networks.features(start, X)[1:], relu_networks.features(found.weights, X)[1:], strict=True)
    return {
        "rms": jnp.mean(jnp.linalg.norm(found.residuals[1:], axis=-1), axis=1) / size,
        "error": jnp.mean(gaps[0]),
        "limit_error": jnp.mean(gaps[1]),
        "drift": jnp.mean(jnp.linalg.norm(moved, axis=(1, 2)) / jnp.linalg.norm(kernel, axis=(1, 2))),
        "flips": jnp.mean(jnp.stack([jnp.mean((before > 0) != (after > 0)) for before, after in gates])),
    }


class Few(Pair):
    """One hidden layer; one point on each curve."""

    points: Annotated[int, Ge(1), Le(1)] = 1
    depth: Annotated[int, Ge(1), Le(1)] = 1
    networks: int = 16


class Many(Pair):
    """One hidden layer; many points."""

    points: Annotated[int, Ge(16), Le(64)] = 16
    depth: Annotated[int, Ge(1), Le(1)] = 1
    networks: int = 2


def widths(p: Pair) -> list[int]:
    return [16 * 4**k for k in range(5)] if p.depth == 1 else [8 * p.depth * 2**k for k in range(5)]


DRAWS = Draws(shapes=0, replicates=48)
LOUD = but(measure=partial(trained, loud=1.0))


def predicted_decay(p: Pair) -> np.ndarray:
    """(1 - tau lambda_-)^k, k = 1, ..., steps."""
    return theory.residuals(p.eigenvalues()[0], p.step, p.steps)[1:]


def skeleton_decay(p: Pair) -> np.ndarray:
    """The same with the smaller eigenvalue of the skeleton."""
    return theory.residuals(p.eigenvalues(kernel=scaled_skeleton)[0], p.step, p.steps)[1:]


def scaled_skeleton(nu: np.ndarray, depth: int, width: int) -> np.ndarray:
    return width * skeleton(nu, depth)


MODE_DECAY = Law(
    id="curves/gd-mode-decay",
    source=Source(PAPERS, "gradient descent in the kernel regime"),
    statement="""
    On a symmetric pair of curves with labels +1 and -1, the root mean square error of the centred network after k steps
    tends to (1 - tau lambda_-)^k as the width grows, lambda_- = (k_same - k_cross)/2 of the limit kernel at the same
    nodes, while tau < 2/lambda_+. At finite width errors are larger, in mean by n^(-1/2) with a coefficient that falls
    with the number of points (gates that training closes, see curves/linearisation), and by 1/n (other modes, scatter
    of the kernel).
    """,
    params=Pair,
    predict=predicted_decay,
    measure=trained,
    claim=Limit(of="rms", along="width", order=0.5, axis=widths, resolve=0.05),
    controls={"labels of size sqrt n": LOUD, "skeleton for the full kernel": but(predict=skeleton_decay)},
    examples=(Pair(points=16, networks=2),),
    draws=DRAWS,
)

SMOOTH = but(predict=lambda p: -1.0)

LINEARISATION = Law(
    id="curves/linearisation",
    source=Source(PAPERS, f"order 1/sqrt n of the linear regime; that it is attained: {DERIVED}"),
    statement="""
    The largest distance over training between a ReLU network and its linearisation at the start (gradient descent with
    the empirical kernel) falls like n^(-1/2), in units of the labels, for a fixed finite set of points. The guaranteed
    order is attained, and with a coefficient that is no longer random: gates that training closes are not balanced by
    those it opens. Networks with smooth activations have 1/n.
    """,
    params=Few,
    predict=lambda p: theory.SPARSE_ORDER,
    measure=trained,
    claim=Rate(of="error", along="width", order=0.5, axis=widths, resolve=0.4),
    controls={"labels of size sqrt n": LOUD, "order of smooth activations": SMOOTH},
    examples=(Few(),),
    draws=DRAWS,
)

KERNEL_DRIFT = Law(
    id="curves/kernel-drift",
    source=Source(DERIVED),
    statement="""
    Training moves the kernel matrix of a ReLU network on many points by n^(-3/4) of its norm, while n^(1/4) is small
    against their number: n^(1/2) gates flip, each is worth 1/n, with a random sign. With few points the order is
    n^(-1/2), see curves/linearisation; for smooth activations 1/n.
    """,
    params=Many,
    predict=lambda p: theory.DENSE_ORDER,
    measure=trained,
    claim=Rate(of="drift", along="width", order=0.5, axis=widths, resolve=0.3),
    controls={
        "labels of size sqrt n": LOUD, "order of smooth activations": SMOOTH,
        "order of few points": but(predict=lambda p: theory.SPARSE_ORDER),
    },
    examples=(Many(),),
    draws=DRAWS,
)

GATE_FLIPS = Law(
    id="curves/gate-flips",
    source=Source(DERIVED),
    statement="""
    The share of gates that training flips falls like n^(-1/2): weights move by 1/n, preactivations are of size
    n^(-1/2).
    """,
    params=Many,
    predict=lambda p: -0.5,
    measure=trained,
    claim=Rate(of="flips", along="width", order=0.5, axis=widths, resolve=0.2),
    controls={"labels of size sqrt n": LOUD},
    examples=(Many(),),
    draws=DRAWS,
)

LIMIT_LINEARISATION = Law(
    id="curves/limit-linearisation",
    source=Source(PAPERS, "gradient descent in the kernel regime"),
    statement="""
    The largest distance over training between the centred network and gradient descent with the *limit* kernel falls
    like n^(-1/2): the kernel's own fluctuation at the start decides. Judged against 0 and -1.
    """,
    params=Few,
    predict=lambda p: -0.5,
    measure=trained,
    claim=Rate(of="limit_error", along="width", order=0.5, axis=widths, resolve=0.75),
    controls={"labels of size sqrt n": LOUD},
    examples=(Few(),),
    draws=DRAWS,
)
