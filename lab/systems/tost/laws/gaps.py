"""How far a basis misses the variational bound: exactly, in a plane; at least, by the curvature of the logarithm."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Bound, Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Le, LogScale, Params
from lab.systems.tost import theory

BOOK = "Principles and Practice of Deep Representation Learning, corollary to the variational theorem"
DERIVED = "derived for this laboratory; not found in arXiv:2412.17810"
MANY = Draws(shapes=8, values=8)


class Turned(Params):
    """One head; its frame holds the eigenvectors of Z^T Z/N, turned by `angle` in the plane of the first two.

    These have reduced eigenvalues ``a = c lambda_1``, `b`; `rest` more have one of 1. `modulus` is only read by the
    printed form: the assumed modulus of strong concavity, as a share of ``c²``.
    """

    n: Annotated[int, Ge(8), Le(24)] = 12
    rest: Annotated[int, Ge(0), Le(4)] = 2
    a: Annotated[float, Ge(1e-3), Le(1e9), LogScale()] = 4.0
    b: Annotated[float, Ge(1e-3), Le(1e3), LogScale()] = 0.5
    angle: Annotated[float, Ge(0.0), Le(1.5707963)] = 0.4
    c: Annotated[float, Ge(0.1), Le(100.0), LogScale()] = 2.0
    modulus: Annotated[float, Ge(1e-12), Le(1.0), LogScale()] = 1e-3


@measurement
def turned(p: Turned, stream):
    """Twice the difference of the variational rate in the turned basis and in the basis of eigenvectors.

    `off` is the squared norm of the reduced off-diagonal second moments in the turned basis, ``c² ||B - diag B||²``.
    """
    rng, dim = stream.numpy("turned"), 2 + p.rest
    values = np.r_[p.a, p.b, np.ones(p.rest)]
    basis = haar(rng, dim)
    Z = np.sqrt(p.n / p.c) * (haar(rng, p.n, dim) * np.sqrt(values)) @ basis.T
    turn = np.eye(dim)
    turn[:2, :2] = [[np.cos(p.angle), -np.sin(p.angle)], [np.sin(p.angle), np.cos(p.angle)]]
    ones = np.ones((p.n, 1))
    rates = [white_box.variational_rate(Z, U[None], ones, c=p.c) for U in (basis @ turn, basis)]
    reduced = p.c * (basis @ turn).T @ (Z.T @ Z / p.n) @ (basis @ turn)
    return {"gap": 2 * (rates[0] - rates[1]), "off": np.sum((reduced - np.diag(np.diag(reduced))) ** 2)}


def gap_units(p: Turned) -> float:
    """reduced second moments are off by m = 4 (n + 2d) epsilons of their trace a + b + rest, in which the other basis
    mixes the large eigenvalue into every coordinate: the logarithms of the d coordinates by m (a + b + rest), less
    where a coordinate is large itself (then by m (1 + a/b) at most); the sums of logarithms by their size"""
    dim, m = 2 + p.rest, 4 * (p.n + 4 + 2 * p.rest)
    trace = p.a + p.b + p.rest
    return dim * (m * trace / (1 + min(p.b, 1.0)) + 2 * np.log1p(trace))


ROTATION_GAP = Law(
    id="tost/rotation-gap",
    source=Source(DERIVED),
    statement="""
    For f = log(1 + c t), one head and a basis of eigenvectors turned by the angle theta in the plane of two of them,
    with reduced eigenvalues a and b, twice the variational rate exceeds twice the rate by exactly

        log(1 + (a - b)² sin² theta cos² theta/((1 + a)(1 + b))):

    zero only for a = b or a basis of eigenvectors, quadratic in theta. Relative errors are relative to log(1 + a).
    """,
    params=Turned,
    predict=lambda p: theory.rotation_gap(p.a, p.b, p.angle),
    measure=turned,
    claim=Equality(of="gap", rounding=gap_units, scale=lambda p: float(np.log1p(p.a)), resolve=1e-3),
    controls={
        "tight in every basis": but(predict=lambda p: 0.0),
        "angle doubled": but(predict=lambda p: theory.rotation_gap(p.a, p.b, 2 * p.angle)),
    },
    examples=(Turned(), Turned(a=1.0, b=1.0), Turned(angle=0.7853981633974483, b=1e-3)),
    draws=MANY,
)


def curvature_floor(p: Turned, *, modulus: float | None = None) -> float:
    """(m/2) times the squared off-diagonal norm; m is c² times `modulus`, by default the curvature at the largest
    eigenvalue, so that units of t drop out."""
    largest = max(p.a, p.b, *(1.0,) * p.rest)
    m = float(theory.gap_curvature(1.0, largest)) if modulus is None else modulus
    return m * (p.a - p.b) ** 2 * (np.sin(2 * p.angle) / 2) ** 2


GAP_CURVATURE = Law(
    id="tost/gap-curvature",
    source=Source(DERIVED),
    statement="""
    How strict the bound is: with B = U^T S U in any basis and f = log(1 + c t),

        sum_i f(B_ii) - sum_i f(lambda_i) >= (m/2) ||B - diag B||_F²,   m = c²/(1 + c lambda_max)²,

    the least curvature of f up to the largest eigenvalue. m depends on the tokens: on [0, inf) it is 0.
    """,
    params=Turned,
    predict=curvature_floor,
    measure=turned,
    claim=Bound(of="gap", side="lower", rounding=gap_units, scale=lambda p: float(np.log1p(p.a)), resolve=1e-3),
    controls={
        "curvature at zero": but(predict=partial(curvature_floor, modulus=1.0)),
    },
    examples=(Turned(), Turned(a=1e-3, b=2e-3, rest=0), Turned(a=1e4)),
    draws=MANY,
)

STRONG_CONCAVITY_PRINTED = GAP_CURVATURE.printed(
    "tost/strong-concavity-printed",
    source=Source(BOOK, "'if f is strongly concave then this equality condition becomes an if and only if'"),
    statement="""
    Printed as the condition under which only eigenvectors attain the bound: f strongly concave. For f = log(1 + c t),
    the function of every rate here, that would mean a modulus mu > 0 with f(t) + (mu/2) t² concave on [0, inf), hence a
    gap of at least (mu/2)||B - diag B||_F² whatever the tokens. No mu works: the gap grows like a logarithm. Here
    mu = modulus c², with a counterexample for each of three moduli. What is needed, and true of the logarithm, is
    strict concavity (tost/rotation-gap, tost/gap-curvature).
    """,
    predict=lambda p: curvature_floor(p, modulus=p.modulus),
    at=(Turned(a=1e2, modulus=1e-1), Turned(a=1e4, modulus=1e-3), Turned(a=1e8, modulus=1e-9)),
)
