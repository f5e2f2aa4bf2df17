"""Covariance of a patch of a sphere: eigenvalues, exactly, and the tilt of the estimated normal direction."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality
from lab.data.flattening import ball_patch
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, Params
from lab.systems.intrinsic_dimension import theory
from lab.systems.intrinsic_dimension.laws.neighbours import DERIVED

SETS = 80
"""Patches of one replicate."""


class Patch(Params):
    """n points uniform in the d-ball of radius r, lifted to the unit sphere."""

    d: Annotated[int, Ge(1), Le(6)] = 2
    n: Annotated[int, Ge(200), Le(5000)] = 600
    r: Annotated[float, Ge(0.05), Le(1.0)] = 0.3


@measurement
def patches(p: Patch, stream, *, geodesic: bool = False):
    """Mean tangent eigenvalue over r²/(d+2), normal eigenvalue over its limit as r -> 0, of the sample covariance; n
    times the squared tilt of the normal eigenvector. Means over 80 patches. `geodesic` takes geodesic balls.
    """
    x = ball_patch(stream.numpy("patch"), p.n, p.d, p.r, 1.0, geodesic=geodesic, sets=SETS)
    x = x - x.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(np.swapaxes(x, 1, 2) @ x / (p.n - 1))
    tangent = np.mean(values[:, 1:]) / theory.tangent_variance(p.d, p.r)
    normal = np.mean(values[:, 0]) / theory.normal_variance_limit(p.d, p.r, 1.0)
    squares = np.sum(vectors[:, :-1, 0] ** 2, axis=1)
    return {"eigenvalues": np.array([tangent, normal]), "tilt": p.n * np.mean(squares / (1 - squares))}


def ratios(p: Patch, *, limit: bool = False) -> np.ndarray:
    """1, and the exact normal variance over its limit (1 if `limit`)."""
    exact = theory.normal_variance(p.d, p.r, 1.0) / theory.normal_variance_limit(p.d, p.r, 1.0)
    return np.array([1.0, 1.0 if limit else exact])


def repelled(p: Patch) -> np.ndarray:
    """sample covariances C_uh lower the normal eigenvalue, and raise the sum of the tangent ones, by
    |C_uh|²/(lambda_t - lambda_n): on the mean tilt (lambda_t - lambda_n)/n, below tilt lambda_t/n; twice that covers
    the next order"""
    shift = 2 * theory.tilt(p.d, p.r, 1.0) / p.n
    tangent, normal = theory.tangent_variance(p.d, p.r), theory.normal_variance_limit(p.d, p.r, 1.0)
    return np.array([shift / p.d, shift * tangent / normal])


LOCAL_PCA = Law(
    id="intrinsic_dimension/local-pca",
    source=Source(DERIVED),
    statement="""
    u uniform in the d-ball of radius r, lifted to (u, R - sqrt(R² - |u|²)): the covariance has d tangent eigenvalues
    r²/(d + 2) and one normal eigenvalue, the variance of the height,

        d r⁴/(R² (d + 4)(d + 2)²) (1 + (d + 2)/(d + 6) (r/R)² + ...),

    exactly by quadrature for every r <= R. So for d = 1 the curvature is sqrt(15 lambda_2/lambda_1)/r. Judged: both
    eigenvalues of sample covariances, over r²/(d + 2) and over the leading order.
    """,
    params=Patch,
    predict=ratios,
    measure=patches,
    claim=Equality(of="eigenvalues", over="mean", finite_size=repelled, resolve=0.05),
    controls={
        "a geodesic ball": but(measure=partial(patches, geodesic=True)),
        "leading order only": but(predict=partial(ratios, limit=True)),
    },
    examples=(Patch(), Patch(d=1, r=0.2), Patch(d=4, r=0.5), Patch(d=1, r=1.0), Patch(d=3, r=0.9)),
    draws=Draws(shapes=0, replicates=12),
)


def predicted_tilt(p: Patch, *, normal: bool = False) -> float:
    """E |u|² (h - mean)²/(gap of eigenvalues)²; with `normal` as if heights and coordinates were independent."""
    if not normal:
        return theory.tilt(p.d, p.r, 1.0)
    tangent, height = theory.tangent_variance(p.d, p.r), theory.normal_variance(p.d, p.r, 1.0)
    return float(p.d * tangent * height / (tangent - height) ** 2)


def next_order(p: Patch) -> float:
    """the inverse square of a gap whose relative variance is at most 2/n, 6/n; its covariance with C_uh, 4/n; for each
    of d + 1 eigenvalues: 10 (d + 1)/n relative to the prediction"""
    return 10 * (1 + p.d) / p.n * theory.tilt(p.d, p.r, 1.0)


TANGENT_TILT = Law(
    id="intrinsic_dimension/tangent-tilt",
    source=Source(DERIVED),
    statement="""
    The normal direction estimated from n points of such a patch is tilted: n times the mean squared tangent of the tilt
    tends to E[|u|² (h - mean h)²]/(lambda_t - lambda_n)². For d = 1, to leading order, the rms tilt is

        kappa r sqrt(11/(105 n)) = .3237 kappa r/sqrt(n).

    Heights depend on coordinates: as if they did not, it would be too small.
    """,
    params=Patch,
    predict=predicted_tilt,
    measure=patches,
    claim=Equality(of="tilt", over="mean", finite_size=next_order, resolve=0.25),
    controls={
        "heights independent of coordinates": but(predict=partial(predicted_tilt, normal=True)),
        "a geodesic ball": but(measure=partial(patches, geodesic=True)),
    },
    examples=(Patch(d=1, r=0.2), Patch(), Patch(d=4, r=0.5), Patch(d=1, r=1.0)),
    draws=Draws(shapes=0, replicates=24),
)
