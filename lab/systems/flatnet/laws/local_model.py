"""Tangent and second fundamental form as a model of a curve: an error of third order, with its constant."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Limit, Rate
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, Params
from lab.systems.flatnet import theory
from lab.systems.flatnet.laws.inversion import DERIVED

REACH = np.geomspace(0.004, 0.06, 10)
"""Tangent distances, in radii of curvature."""


class Curve(Params):
    """A helix ``(a cos t, a sin t, b t)`` or an ellipse ``(a cos t, b sin t)``, b = ratio a, at parameter t."""

    kind: Literal["helix", "ellipse"] = "helix"
    a: Annotated[float, Ge(0.5), Le(2.0)] = 1.0
    ratio: Annotated[float, Ge(0.4), Le(0.8)] = 0.6
    t: Annotated[float, Ge(0.4), Le(1.2)] = 0.7


def _curve(p: Curve, t: np.ndarray, order: int, circle: bool) -> np.ndarray:
    """Derivative of the given order of the curve at parameters t (n,): (n, 3)."""
    a, b = p.a, p.a if circle else p.ratio * p.a
    turn = t + order * np.pi / 2
    x, y = a * np.cos(turn), np.sin(turn)
    if p.kind == "ellipse" or circle:
        return np.stack([x, b * y, 0 * t], axis=1)
    last = b * t if order == 0 else np.full_like(t, b if order == 1 else 0.0)
    return np.stack([x, a * y, last], axis=1)


@measurement
def model_errors(p: Curve, stream, *, circle: bool = False, order: int = 2):
    """Distance between curve and model at tangent distances r (ten, in radii of curvature) from the point, root mean
    square over the two sides. A `circle` of radius a instead; `order` 1 leaves the second fundamental form out.
    """
    at = np.array([p.t])
    point, first, second = (_curve(p, at, k, circle)[0] for k in range(3))
    speed = np.linalg.norm(first)
    tangent = first / speed
    bend = (second - (second @ tangent) * tangent) / speed**2
    curvature = np.linalg.norm(bend)
    r = REACH / curvature
    found = []
    for sign in (-1.0, 1.0):
        u, t = sign * r, p.t + sign * r / speed
        for _ in range(8):  # Newton: the parameter at tangent coordinate u
            gap = (_curve(p, t, 0, circle) - point) @ tangent - u
            t = t - gap / (_curve(p, t, 1, circle) @ tangent)
        relative = _curve(p, t, 0, circle) - point
        normal = relative - (relative @ tangent)[:, None] * tangent
        found.append(np.linalg.norm(normal - (order == 2) * u[:, None] ** 2 / 2 * bend, axis=1))
    error = np.sqrt(np.mean(np.square(found), axis=0))
    third = third_derivative(p)
    return {"error": error, "r": r, "x": 1 / REACH, "ratio": error / theory.model_error(third, r)}


def third_derivative(p: Curve) -> float:
    """Size of the normal part of the third derivative."""
    if p.kind == "helix":
        return float(theory.helix_third_derivative(p.a, p.ratio * p.a))
    return float(theory.ellipse_third_derivative(p.a, p.ratio * p.a, p.t))


def error_units(p: Curve) -> float:
    """coordinates of the size of a, off by 8 epsilons, against errors of |h'''| r³/6 at the least r: for the relative
    error of each value"""
    smallest = theory.model_error(third_derivative(p), REACH[0] * p.a * p.ratio**2)
    return 8 * p.a * (1 + p.ratio * p.t) / smallest


EXAMPLES = (Curve(), Curve(kind="ellipse"), Curve(kind="ellipse", ratio=0.4, t=1.0), Curve(a=2.0, ratio=0.8))

LOCAL_MODEL_ERROR = Law(
    id="flatnet/local-model-error",
    source=Source(DERIVED),
    statement="""
    Tangent and second fundamental form miss a curve, at tangent distance r, by

        |h'''| r³/6 + O(r⁴),    |h'''| = sqrt(kappa'² + kappa² tau²),

    kappa' the derivative of the curvature by arc length, tau the torsion. Judged: the ratio of both as r -> 0, over the
    two sides together (the terms in r⁴ cancel). Circles have h''' = 0, and an error of fourth order.
    """,
    params=Curve,
    predict=lambda p: np.ones(len(REACH)),
    measure=model_errors,
    claim=Limit(of="ratio", along="x", order=2.0, rounding=error_units, resolve=0.05),
    controls={
        "a circle": but(measure=partial(model_errors, circle=True)),
        "torsion and curvature's slope at half": but(predict=lambda p: np.full(len(REACH), 0.5)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=2, values=4),
)

LOCAL_MODEL_ORDER = Law(
    id="flatnet/local-model-order",
    source=Source(DERIVED),
    statement="""
    The error of the quadratic model at tangent distance r is of third order in r, at every point of a curve with
    kappa'² + kappa² tau² > 0.
    """,
    params=Curve,
    predict=lambda p: 3.0,
    measure=model_errors,
    claim=Rate(of="error", along="r", order=-2.0, rounding=error_units, resolve=0.1),
    controls={
        "a circle": but(measure=partial(model_errors, circle=True)),
        "tangent alone": but(measure=partial(model_errors, order=1)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=2, values=4),
)
