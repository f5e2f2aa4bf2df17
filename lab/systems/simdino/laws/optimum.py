"""Unit-norm features: the least loss, and the collapsed state that training from it never leaves."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.self_distillation import simdino_loss
from lab.params import Ge, Le, LogScale, Params
from lab.systems.simdino import dynamics, theory

DERIVED = "derived for this laboratory; not found in arXiv:2502.10385"


class UnitFeatures(Params):
    """Two views of n free unit rows each; the weight gamma is given as ``gain = gamma d/eps^2``."""

    n: Annotated[int, Ge(2), Le(16)] = 12
    dim: Annotated[int, Ge(2), Le(6)] = 4
    eps: Annotated[float, Ge(0.1), Le(2.0), LogScale()] = 0.5
    gain: Annotated[float, Ge(0.1), Le(10.0), LogScale()] = 1.0

    @property
    def gamma(self) -> float:
        return self.gain * self.eps**2 / self.dim


def loss_units(p: UnitFeatures) -> float:
    """a log-determinant of size m = n + d with condition 1 + c: 50 m log(1+c) for its logarithms and m (1+c) for its
    entries, times gamma; alignments are squares of differences of unit rows. At a minimum found with gradient g the
    value is off by g^2 over the curvature only, below that"""
    c = p.dim / p.eps**2
    size = p.n + p.dim
    return p.gamma * (50 * size * np.log1p(c) + size * (1 + c)) + 8


@measurement
def least_loss(p: UnitFeatures, stream, *, start: str = "random", power: float = 2.0):
    """Loss at a local minimum over unit rows; from a random start, or exactly from the collapsed state."""
    Y = stream.numpy("start").standard_normal((2, p.n, p.dim))
    if start == "collapsed":
        Y = np.broadcast_to(Y[0, 0], Y.shape).copy()
    found = dynamics.minimise_loss(Y, eps=p.eps ** (power / 2), gamma=p.gamma)
    return {"loss": found.value}


def predicted_optimum(p: UnitFeatures) -> float:
    return float(theory.optimal_loss(p.n, p.dim, eps=p.eps, gamma=p.gamma))


UNIT_NORM_OPTIMUM = Law(
    id="simdino/unit-norm-optimum",
    source=Source("arXiv:2006.08558", "largest rate of unit rows; as the optimum of SimDINO derived here"),
    statement="""
    Least SimDINO loss of n unit rows per view in d dimensions (student and teacher equal):

        -gamma (q/2) log(1 + c/q),   q = min(n, d),   c = d/eps^2,

    attained iff views agree and all q singular values are equal. Measured is the best of six local minimisations: for
    large gamma some end at local minima where the views disagree.
    """,
    params=UnitFeatures,
    predict=predicted_optimum,
    measure=least_loss,
    claim=Equality(of="loss", over="min", rounding=loss_units, resolve=1e-6),
    controls={
        "start at the collapsed state": but(measure=partial(least_loss, start="collapsed")),
        "eps for eps^2": but(measure=partial(least_loss, power=1.0)),
        "d for min(n, d)": but(
            predict=lambda p: float(theory.optimal_loss(max(p.n, p.dim), p.dim, eps=p.eps, gamma=p.gamma))
        ),
    },
    examples=(UnitFeatures(), UnitFeatures(n=3, dim=6), UnitFeatures(n=4, gain=5.0)),
    draws=Draws(shapes=6, values=1, replicates=6),
)


@measurement
def stays(p: UnitFeatures, stream, *, shake: float = 0.0, spread: float = 0.0):
    """Loss after 300 steps of self-distillation (momentum .5, step .5) started with all features at one unit vector.

    `shake` moves the start by this relative amount; `spread` starts half of the samples at another vector.
    """
    rng = stream.numpy("start")
    one, other = rng.standard_normal((2, p.dim))
    start = np.broadcast_to(one / np.linalg.norm(one), (2, p.n, p.dim)).copy()
    start[:, : p.n // 2] += spread * other
    start = start + shake * rng.standard_normal(start.shape)
    student, teacher = dynamics.distil_features(
        start, eps=p.eps, gamma=p.gamma, momentum=0.5, step=0.5 / max(1.0, p.gain), steps=300
    )
    return {"loss": simdino_loss(student, teacher, eps=p.eps, gamma=p.gamma)}


def predicted_collapse(p: UnitFeatures) -> float:
    return float(theory.collapsed_loss(p.dim, eps=p.eps, gamma=p.gamma))


COLLAPSED_STATE = Law(
    id="simdino/collapsed-state",
    source=Source(DERIVED),
    statement="""
    With all features at one unit vector the loss is -(gamma/2) log(1+c), its gradient is radial, so that the state is
    stationary on the sphere: training started exactly there never leaves, for any gamma. (It is unstable, see
    simdino/collapse-onset: the least spread of the features is enough.)
    """,
    params=UnitFeatures,
    predict=predicted_collapse,
    measure=stays,
    claim=Equality(of="loss", rounding=loss_units, resolve=1e-6),
    controls={
        "features spread by 1e-3": but(measure=partial(stays, shake=1e-3)),
        "two points": but(measure=partial(stays, spread=1.0)),
    },
    examples=(UnitFeatures(), UnitFeatures(n=2, dim=6, gain=10.0)),
    draws=Draws(shapes=6, values=2),
)
