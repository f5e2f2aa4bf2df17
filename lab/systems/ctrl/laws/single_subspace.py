"""CTRL-SSP: the leader's value, what its optimum keeps of the data, and what a random encoder keeps."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data.game_subspaces import single_subspace
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import closed_loops
from lab.params import Ge, Le, LogScale, Params
from lab.systems.ctrl import theory
from lab.systems.ctrl.dynamics import subspace_leader
from lab.systems.ctrl.laws.multiple_subspaces import DERIVED, PPC22

CONVERGED = 1e-9
"""Projected gradient at which ascents stop, in units of beta times the largest eigenvalue of the data's moment."""


class Single(Params):
    """Samples of one subspace of dimension d_S in R^{d_x}, d_z < d_x; Stiefel encoders, or of operator norm <= 1."""

    strategies: Literal["stiefel", "ball"] = "stiefel"
    n: Annotated[int, Ge(20), Le(200)] = 40
    d_x: Annotated[int, Ge(3), Le(10)] = 6
    d_S: Annotated[int, Ge(1), Le(6)] = 3
    d_z: Annotated[int, Ge(1), Le(8)] = 4
    eps: Annotated[float, Ge(0.3), Le(2.0), LogScale()] = 1.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.d_S > self.d_x or self.d_z >= self.d_x:
            raise ValueError(f"d_S={self.d_S} must be at most and d_z={self.d_z} below d_x={self.d_x}; raise d_x")
        return self

    @property
    def beta(self) -> float:
        return self.d_z / self.eps**2


def data(p: Single, stream) -> dict[str, np.ndarray]:
    return {"X": single_subspace(stream.numpy("data"), n=p.n, d_x=p.d_x, d_S=p.d_S).Z}


@measurement
def single_leaders(p: Single, data, stream, *, steps: int = 3000, starts: int = 4):
    """Best end of ascents over encoders, with the canonical decoder: the leader's utility; smallest and largest ratio
    ||Fx||/||x|| on the span of the samples; share of ||X||² on the rows of F."""
    X = data["X"]
    moments, fractions = closed_loops.class_moments(X, (p.n,))
    begin = stream.numpy("starts").standard_normal((starts, p.d_z, p.d_x))
    ends = subspace_leader(begin, moments[0], p.beta, strategies=p.strategies, steps=steps, tolerance=CONVERGED)
    F = ends.F[np.argmax(ends.value)]
    G = closed_loops.canonical_decoder(F, moments[0])
    basis = np.linalg.svd(X, full_matrices=False)[2][: p.d_S]
    ratios = np.linalg.svd(F @ basis.T, compute_uv=False)
    kept = np.linalg.norm(X @ np.linalg.pinv(F) @ F) ** 2 / np.linalg.norm(X) ** 2
    leader = closed_loops.utilities("single", F, G, moments, fractions, p.beta).leader
    return {"leader": leader, "ratios": np.array([ratios[-1], ratios[0]]), "kept": kept}


def spectrum(data) -> np.ndarray:
    return np.linalg.svd(data["X"], compute_uv=False)


def value_error(p, data) -> float:
    """ascents stop at a projected gradient g = 1e-9 of the unit beta |C|; the value is off by g² beta |C|/(2 mu), mu
    the least curvature across the optima in that unit: rotating direction p of the span towards one that is left out
    costs (s_p - s_q)/((1 + beta |C|) |C|), s eigenvalues of C, q the next one (0 for d_z >= d_S); and rounding of
    log-determinants of at most 10 dimensions, n = 200 samples, condition below 1000: 1e-13"""
    s = np.append(spectrum(data) ** 2 / p.n, np.zeros(p.d_x))
    last = min(p.d_z, p.d_S)
    unit = p.beta * s[0]
    gap = (s[last - 1] - s[last]) / s[0] / (1 + unit)
    return CONVERGED**2 * unit / (2 * gap) + 1e-13


SSP_VALUE = Law(
    id="ctrl/ssp-equilibrium",
    source=Source(PPC22, "equilibria of CTRL-SSP"),
    statement="""
    The leader of CTRL-SSP has the value (1/2) sum_(p <= min(d_z, d_S)) log(1 + d_z sigma_p(X)²/(n eps²)), over encoders
    with orthonormal rows and over those of operator norm at most one. Measured is its utility at the best end of
    projected ascent, with an exact decoder.
    """,
    params=Single,
    situation=data,
    predict=lambda p, data: theory.single_value(spectrum(data), p.n, p.d_z, eps=p.eps),
    measure=single_leaders,
    claim=Equality(of="leader", finite_size=value_error),
    controls={
        "twenty steps only": but(measure=partial(single_leaders, steps=20, starts=1)),
        "eps for eps^2": but(predict=lambda p, data: theory.single_value(spectrum(data), p.n, p.d_z, eps=p.eps**0.5)),
    },
    examples=(Single(d_z=2, d_S=6), Single(), Single(strategies="ball"), Single(strategies="ball", d_z=2, d_S=5)),
    draws=Draws(shapes=3, values=2),
)


def optimum(p, data) -> np.ndarray:
    """Smallest and largest ratio: 1 and 1 for d_z >= d_S; below, 0 and 1."""
    return np.array([float(p.d_z >= p.d_S), 1.0])


def ratio_error(p, data) -> float:
    """angles of the rows to their optimum are g/mu at the end of the ascent (`value_error`), ten times that for the
    slowest of many; the ratio of a direction that is kept is of second order in them or, in the ball, of first"""
    s = np.append(spectrum(data) ** 2 / p.n, np.zeros(p.d_x))
    last = min(p.d_z, p.d_S)
    return 10 * CONVERGED * s[0] * (1 + p.beta * s[0]) / (s[last - 1] - s[last]) + 1e-13


class Wide(Single):
    """With d_z >= d_S."""

    @model_validator(mode="after")
    def _wide(self) -> Self:
        if self.d_z < self.d_S:
            raise ValueError(f"d_z={self.d_z} must be at least d_S={self.d_S}; raise it")
        return self


SSP_ISOMETRY = Law(
    id="ctrl/ssp-isometry",
    source=Source(PPC22, "equilibria of CTRL-SSP"),
    statement="""
    For d_z >= d_S the encoders of the equilibria of CTRL-SSP are isometries on the subspace: ||Fx|| = ||x|| for all its
    points. Measured are the smallest and the largest ratio at the best end of all ascents. (An untrained encoder has
    ratios around sqrt(d_z/d_x): ctrl/ssp-random-baseline.)
    """,
    params=Wide,
    situation=data,
    predict=optimum,
    measure=single_leaders,
    claim=Equality(of="ratios", finite_size=ratio_error, scale=1.0, resolve=1e-4),
    controls={
        "as an untrained encoder": but(predict=lambda p, data: np.full(2, (p.d_z / p.d_x) ** 0.5)),
        "three steps only": but(measure=partial(single_leaders, steps=3, starts=1)),
    },
    examples=(Wide(), Wide(strategies="ball"), Wide(d_x=10, d_S=2, d_z=5)),
    draws=Draws(shapes=2, values=2),
)


class Tight(Single):
    """With d_z < d_S."""

    d_z: Annotated[int, Ge(1), Le(5)] = 2
    d_S: Annotated[int, Ge(2), Le(6)] = 5

    @model_validator(mode="after")
    def _tight(self) -> Self:
        if self.d_z >= self.d_S:
            raise ValueError(f"d_z={self.d_z} must be below d_S={self.d_S}; lower it")
        return self


def kept_share(p, data, *, least: bool = False) -> float:
    """Share of the d_z leading principal directions in ||X||²; of the trailing ones with `least`."""
    s = spectrum(data)[: p.d_S] ** 2
    return float(np.sum(s[-p.d_z :] if least else s[: p.d_z]) / np.sum(s))


def kept_error(p, data) -> float:
    """of first order at most in the angles of `ratio_error`"""
    return 2 * p.d_z * ratio_error(p, data)


SSP_PRINCIPAL = Law(
    id="ctrl/ssp-principal-directions",
    source=Source(PPC22, "equilibria of CTRL-SSP"),
    statement="""
    For d_z < d_S the rows of the encoder of an equilibrium of CTRL-SSP span the d_z leading principal directions of the
    data. Measured is the share of ||X||² on the rows of F: that of the d_z largest squared singular values.
    """,
    params=Tight,
    situation=data,
    predict=kept_share,
    measure=single_leaders,
    claim=Equality(of="kept", finite_size=kept_error, resolve=1e-4),
    controls={
        "trailing directions": but(predict=partial(kept_share, least=True)),
        "twenty steps only": but(measure=partial(single_leaders, steps=20, starts=1)),
    },
    examples=(Tight(), Tight(strategies="ball", d_z=1)),
    draws=Draws(shapes=2, values=2),
)


# ---------------------------------------------------------------------- what an untrained encoder keeps


class Untrained(Params):
    """A Haar distributed encoder with orthonormal rows."""

    d_x: Annotated[int, Ge(3), Le(60)] = 50
    share: Annotated[float, Ge(0.1), Le(0.9)] = 0.8

    @property
    def d_z(self) -> int:
        return min(max(1, round(self.share * self.d_x)), self.d_x - 1)

    @property
    def levels(self) -> np.ndarray:
        """Mean, and one and two standard deviations from it, inside (0, 1)."""
        mean, variance = theory.random_encoder_moments(self.d_x, self.d_z)
        return np.clip(mean + np.array([-2, -1, 0, 1, 2]) * variance**0.5, 0.0, 1.0)


@measurement
def lengths(p: Untrained, stream, *, ball: bool = False):
    """Whether ||Fx||²/||x||² exceeds five levels; `ball`: F Gaussian, scaled to operator norm one."""
    rng = stream.numpy("encoder")
    F = haar(rng, p.d_x, p.d_z).T
    if ball:
        F = rng.standard_normal((p.d_z, p.d_x))
        F /= np.linalg.norm(F, 2)
    return {"above": np.sum(F[:, 0] ** 2) > p.levels}


RANDOM_BASELINE = Law(
    id="ctrl/ssp-random-baseline",
    source=Source(DERIVED),
    statement="""
    A random encoder with d_z < d_x orthonormal rows keeps the share ||Fx||²/||x||² ~ Beta(d_z/2, (d_x - d_z)/2) of
    every squared length, d_z/d_x on average: .8 at the published 40 of 50. So ratios around sqrt(.8) = .894 show no
    training. (For d_z >= d_x every such encoder is an isometry and the game says nothing.) Judged is how often five
    levels are exceeded.
    """,
    params=Untrained,
    predict=lambda p: theory.random_encoder_above(p.levels, p.d_x, p.d_z),
    measure=lengths,
    claim=Equality(of="above", over="fraction", scale=1.0, resolve=0.1),
    controls={
        "operator norm one": but(measure=partial(lengths, ball=True)),
        "Beta(d_z, d_x - d_z)": but(predict=lambda p: theory.random_encoder_above(p.levels, 2 * p.d_x, 2 * p.d_z)),
    },
    examples=(Untrained(), Untrained(d_x=6, share=0.5)),
    draws=Draws(shapes=0, replicates=800),
)
