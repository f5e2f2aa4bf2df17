"""Extremes of coding rates: unit rows of largest and least rate, labels of largest rate reduction."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Equality
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mcr2 import theory

Y20 = "arXiv:2006.08558"
DERIVED = "derived for this laboratory; not found in arXiv:2006.08558"


# ---------------------------------------------------------------------- unit rows


class UnitRows(Params):
    """`n` unit rows in R^dim: random, all on one line, or driven by L-BFGS to the largest or the least rate."""

    n: Annotated[int, Ge(1), Le(20)] = 12
    dim: Annotated[int, Ge(1), Le(8)] = 4
    eps: Annotated[float, Ge(0.1), Le(5.0), LogScale()] = 0.7
    rows: Literal["random", "collapsed", "most", "least"] = "random"

    @property
    def end(self) -> Literal["most", "least"]:
        return "least" if self.rows in ("collapsed", "least") else "most"


def extremal(start: np.ndarray, eps: float, sign: float) -> np.ndarray:
    """Unit rows of locally largest (sign 1) or least (-1) coding rate, by L-BFGS on ``Z = Y/|Y|`` from `start`."""
    from scipy.optimize import minimize

    def descend(y: np.ndarray) -> tuple[float, np.ndarray]:
        Y = y.reshape(start.shape)
        length = np.linalg.norm(Y, axis=1, keepdims=True)
        Z = Y / length
        gradient = coding_rate.coding_rate_gradient(Z, eps=eps)
        tangent = (gradient - np.sum(gradient * Z, axis=1, keepdims=True) * Z) / length
        return -sign * float(coding_rate.coding_rate(Z, eps=eps)), -sign * tangent.ravel()

    options = {"maxiter": 2000, "maxfun": 6000, "ftol": 0.0, "gtol": 1e-10, "maxcor": 30}
    Y = minimize(descend, start.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(start.shape)
    return Y / np.linalg.norm(Y, axis=1, keepdims=True)


def unit_rows(p: UnitRows, stream) -> dict[str, np.ndarray]:
    rng = stream.numpy("rows")
    Z = rng.standard_normal((p.n, p.dim))
    if p.rows == "collapsed":
        Z = rng.choice([-1.0, 1.0], size=(p.n, 1)) * Z[:1]
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    if p.rows in ("most", "least"):
        Z = extremal(Z, p.eps, 1.0 if p.rows == "most" else -1.0)
    return {"Z": Z}


@measurement
def unit_rate(p: UnitRows, data, stream, *, stretch: float = 1.0, centred: bool = False, power: float = 2.0):
    """Coding rate; of rows of length `stretch`, of centred rows, or with ``eps**(power/2)`` in the place of eps."""
    Z = stretch * data["Z"]
    if centred:
        Z = Z - Z.mean(axis=0)
    return {"rate": coding_rate.coding_rate(Z, eps=p.eps ** (power / 2))}


def unit_units(p: UnitRows) -> float:
    """a log-determinant of size n + d and energy c = d/eps^2, the sum of all reduced eigenvalues"""
    return theory.rate_rounding(p.n + p.dim, p.dim / p.eps**2)


def largest_rate(p: UnitRows, *, size: Literal["min", "dim"] = "min") -> float:
    n = max(p.n, p.dim) if size == "dim" else p.n
    return theory.rate_bounds_unit_norm(n, p.dim, eps=p.eps)[1]


def least_rate(p: UnitRows) -> float:
    return theory.rate_bounds_unit_norm(p.n, p.dim, eps=p.eps)[0]


FREE = Draws(shapes=10, values=4)
EXAMPLES = (
    UnitRows(rows="most"), UnitRows(n=20, dim=5, rows="most"), UnitRows(n=6, dim=8, rows="most"),
    UnitRows(rows="collapsed"), UnitRows(n=7, rows="least"), UnitRows(eps=0.1),
)  # fmt: skip

RATE_BOUNDS_UNIT_NORM = Law(
    id="mcr2/rate-bounds-unit-norm",
    source=Source(Y20, "section 2, coding rate as a volume; the ends written out here"),
    statement="""
    The coding rate of n unit rows in R^d is at most (q/2) log(1 + c/q), q = min(n, d), c = d/eps^2; for n >= d that is
    (d/2) log(1 + eps^-2). Attained iff all q singular values are equal: by tight frames (n >= d), by orthogonal rows
    (n <= d); ascent finds them. The bound needs ||Z||_F^2 <= n only.
    """,
    params=UnitRows,
    situation=unit_rows,
    predict=largest_rate,
    measure=unit_rate,
    claim=Bound(of="rate", side="upper", rounding=unit_units, resolve=1e-9),
    controls={
        "rows of length 1.01": but(measure=partial(unit_rate, stretch=1.01)),
        "d singular values however few rows": but(
            predict=partial(largest_rate, size="dim"), claim=Equality(of="rate", rounding=unit_units)
        ),
        "eps for eps^2": but(measure=partial(unit_rate, power=1.0)),
    },
    examples=EXAMPLES,
    draws=FREE,
)

LEAST_RATE_UNIT_NORM = Law(
    id="mcr2/least-rate-unit-norm",
    source=Source(Y20, "section 2, coding rate as a volume; the ends written out here"),
    statement="""
    The coding rate of n unit rows in R^d is at least (1/2) log(1 + c), c = d/eps^2. Attained iff all rows lie on one
    line: collapse, with either sign. Descent ends there. Second moments are not centred: centred features can have a
    rate of zero.
    """,
    params=UnitRows,
    situation=unit_rows,
    predict=least_rate,
    measure=unit_rate,
    claim=Bound(of="rate", side="lower", rounding=unit_units, resolve=1e-9),
    controls={
        "centred features": but(measure=partial(unit_rate, centred=True)),
        "rows of length 0.99": but(measure=partial(unit_rate, stretch=0.99)),
    },
    examples=EXAMPLES,
    draws=FREE,
)


class Driven(UnitRows):
    """As `UnitRows`, driven to one of the ends."""

    rows: Literal["most", "least"] = "most"


@measurement
def spectrum(p: Driven, data, stream):
    """Reduced eigenvalues alpha sigma^2, descending."""
    alpha = p.dim / (p.n * p.eps**2)
    return {"spectrum": alpha * np.linalg.svd(data["Z"], compute_uv=False) ** 2}


def distance_from_end(p: Driven, data) -> float:
    """a rate within delta of the largest (least) leaves the spectrum within (1+w)(4 delta/3 + sqrt((4 delta/3)^2 + 4
    delta)) of flat (within 2 (1+c)(e^(2 delta) - 1)/c of rank one); delta is measured, plus the rounding of the rate"""
    low, high = theory.rate_bounds_unit_norm(p.n, p.dim, eps=p.eps)
    rate = float(coding_rate.coding_rate(data["Z"], eps=p.eps))
    delta = max(0.0, high - rate if p.end == "most" else rate - low) + np.finfo(float).eps * unit_units(p)
    return float(theory.spectrum_error(delta, p.n, p.dim, p.end, eps=p.eps))


UNIT_NORM_EQUALITY = Law(
    id="mcr2/unit-norm-equality",
    source=Source(DERIVED),
    statement="""
    Only flat spectra reach the largest rate of unit rows, only rank one the least: if the rate is within delta of the
    largest, every reduced eigenvalue u_i = alpha sigma_i^2 is within (1+w)(4 delta/3 + sqrt((4 delta/3)^2 + 4 delta))
    of w = c/q; if it is within delta of the least, c - u_1 <= 2 (1+c)(e^(2 delta) - 1)/c. Judged are the eigenvalues
    after ascent or descent of R, relative to c/q.
    """,
    params=Driven,
    situation=unit_rows,
    predict=lambda p: theory.extreme_spectrum(p.n, p.dim, p.end, eps=p.eps),
    measure=spectrum,
    claim=Equality(
        of="spectrum", finite_size=distance_from_end, scale=lambda p: p.dim / p.eps**2 / min(p.n, p.dim), resolve=1e-4
    ),
    controls={
        "the other end": but(
            predict=lambda p: theory.extreme_spectrum(
                p.n, p.dim, "least" if p.end == "most" else "most", eps=p.eps
            )
        ),
        "eps for eps^2": but(predict=lambda p: theory.extreme_spectrum(p.n, p.dim, p.end, eps=p.eps**0.5)),
    },
    examples=(Driven(), Driven(n=20, dim=5), Driven(n=6, dim=8), Driven(rows="least")),
    draws=Draws(shapes=8, values=2),
)  # fmt: skip


# ---------------------------------------------------------------------- labels


class Unlabelled(Params):
    """Gaussian features of `n` samples, ``alpha ||Z||^2 = energy``, to be given labels of at most `classes` classes."""

    n: Annotated[int, Ge(2), Le(9)] = 7
    dim: Annotated[int, Ge(1), Le(5)] = 3
    classes: Annotated[int, Ge(2), Le(4)] = 3
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    energy: Annotated[float, Ge(0.1), Le(1e3), LogScale()] = 20.0

    @model_validator(mode="after")
    def _few(self) -> Self:
        if self.classes**self.n > 70_000:
            raise ValueError(f"{self.classes}^{self.n} assignments are too many; lower n or classes")
        return self


def unlabelled(p: Unlabelled, stream) -> dict[str, np.ndarray]:
    Z = stream.numpy("features").standard_normal((p.n, p.dim))
    return {"Z": Z * np.sqrt(p.energy * p.n * p.eps**2 / p.dim) / np.linalg.norm(Z)}


@measurement
def soft_optimum(p: Unlabelled, data, stream, *, sign: float = 1.0, starts: int = 48, steps: int = 120):
    """Largest ``sign * Delta R`` over soft memberships met by exponentiated gradient ascent, and how hard it ends.

    ``pi_ik <- pi_ik exp(eta g_ik)``, normalised, stays inside the simplex; starts are Dirichlet, from near uniform to
    near hard. The value is the best of all iterates; `hardness` is its smallest (over samples) largest entry.
    """
    rng, Z = stream.numpy("starts"), data["Z"]
    spread = np.geomspace(5.0, 0.2, starts)[:, None, None]
    weights = rng.standard_gamma(np.broadcast_to(spread, (starts, p.n, p.classes))) + 1e-12
    weights /= weights.sum(axis=-1, keepdims=True)
    best = -np.inf
    for step in range(steps):
        gradient = -sign * coding_rate.membership_gradient(Z, weights, eps=p.eps)
        slopes = gradient - gradient.max(axis=-1, keepdims=True)
        # steps in units of the steepest slope, in the second half of each sample's own: then flat ones settle, too
        steepest = -slopes.min(axis=(-2, -1) if 2 * step < steps else -1, keepdims=True)
        weights = weights * np.exp(slopes / np.where(steepest > 0, steepest, 1.0))
        weights = weights / weights.sum(axis=-1, keepdims=True)
        values = sign * coding_rate.rate_reduction(Z, weights, eps=p.eps)
        if values.max() > best:
            best, hardness = values.max(), weights[np.argmax(values)].max(axis=-1).min()
    return {"best": best, "hardness": hardness}


def membership_units(p: Unlabelled, data) -> float:
    """log-determinants of size n + d whose energy is at most that of a class of one sample's weight, n alpha ||Z||^2;
    1 + K of them"""
    return (1 + p.classes) * theory.rate_rounding(p.n + p.dim, p.n * p.energy)


def best_hard(p: Unlabelled, data, *, balanced: bool = False) -> float:
    return theory.best_assignment(data["Z"], p.classes, eps=p.eps, balanced=balanced).value


def least_hard(p: Unlabelled, data) -> float:
    """Largest -Delta R over hard assignments that use at least two classes: what the sign error would claim."""
    Z, best = data["Z"], np.inf
    for code in range(1, p.classes ** (p.n - 1)):
        labels = np.array([0, *(code // p.classes ** np.arange(p.n - 1) % p.classes)])
        best = min(best, float(coding_rate.rate_reduction(Z, labels, eps=p.eps)))
    return -best


HARD_ASSIGNMENT = Law(
    id="mcr2/hard-assignment",
    source=Source(Y20, "concavity of the class rate in the membership; its consequence written out here"),
    statement="""
    For fixed features, rate reduction is convex in a soft membership, so its maximum over all soft memberships with K
    classes is attained at a hard assignment: max_Pi Delta R = max over the K^N labellings, found by enumeration. Judged
    is the best value that gradient ascent over soft memberships finds; relative errors are relative to that maximum.
    """,
    params=Unlabelled,
    situation=unlabelled,
    predict=best_hard,
    measure=soft_optimum,
    claim=Bound(of="best", side="upper", rounding=membership_units, resolve=1e-6),
    controls={
        "classes of equal size only": but(predict=partial(best_hard, balanced=True)),
        "the sign of Delta R": but(predict=least_hard, measure=partial(soft_optimum, sign=-1.0)),
    },
    examples=(Unlabelled(), Unlabelled(n=9, classes=2), Unlabelled(dim=1, n=5)),
    draws=Draws(shapes=5, values=1),
)
