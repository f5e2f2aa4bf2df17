"""How large the gradient of the coding rate can get."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Bound, Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.simdino import dynamics, theory

S25 = "arXiv:2502.10385"


class Rows(Params):
    """n rows in `dim` dimensions, distortion eps."""

    n: Annotated[int, Ge(1), Le(16)] = 10
    dim: Annotated[int, Ge(1), Le(8)] = 4
    eps: Annotated[float, Ge(0.1), Le(4.0), LogScale()] = 0.5

    @property
    def q(self) -> int:
        return min(self.n, self.dim)

    @property
    def c(self) -> float:
        return self.dim / self.eps**2


class AnyFeatures(Rows):
    """Features whose reduced squared singular values u = alpha s^2 are log-normal around `level` or all equal it."""

    level: Annotated[float, Ge(1e-2), Le(1e2), LogScale()] = 1.0
    spectrum: Literal["spread", "flat"] = "spread"


@measurement
def gradient_norms(p: AnyFeatures, stream, *, power: float = 2.0):
    """Operator and Frobenius norm of the gradient of the rate."""
    rng = stream.numpy("features")
    u = p.level * np.exp(rng.standard_normal(p.q) * (p.spectrum == "spread"))
    s = np.sqrt(u * p.n * p.eps**2 / p.dim)
    Z = (haar(rng, p.n, p.q) * s) @ haar(rng, p.dim, p.q).T
    G = coding_rate.coding_rate_gradient(Z, eps=p.eps ** (power / 2))
    return {"norms": np.array([np.linalg.norm(G, 2), np.linalg.norm(G)])}


def predicted_bounds(p: Rows) -> np.ndarray:
    return np.array(theory.gradient_norm_bounds(p.n, p.dim, eps=p.eps))


def gradient_units(p: AnyFeatures) -> np.ndarray:
    """entries of alpha Z M^-1 carry the rounding of a factor of condition k = 1 + u: size times sqrt(k) of the norm;
    the spectrum lies within e^5 of its level"""
    condition = 1 + p.level * (np.exp(5.0) if p.spectrum == "spread" else 1.0)
    return 8 * (p.n + p.dim) * np.sqrt(condition) * predicted_bounds(p)


GRADIENT_NORM = Law(
    id="simdino/gradient-norm",
    source=Source(S25, "theorem on the gradient norm (Frobenius); operator norm and attainment derived here"),
    statement="""
    For all features, |grad R|_op <= (1/2) sqrt(alpha) and |grad R|_F <= (1/2) sqrt(alpha q), q = min(n, d),
    alpha = d/(n eps^2): the latter is (1/2) sqrt(d min(d, n)/n)/eps. Attained where alpha s^2 = 1 for one singular
    value (operator norm), for all (Frobenius). So gamma = 2 eps sqrt(n/(d min(d, n))) gives the rate's gradient at most
    the size one.
    """,
    params=AnyFeatures,
    predict=predicted_bounds,
    measure=gradient_norms,
    claim=Bound(of="norms", side="upper", rounding=gradient_units, resolve=1e-6),
    controls={
        "eps for eps^2": but(measure=partial(gradient_norms, power=1.0)),
        "equality for any spectrum": but(claim=Equality(of="norms", rounding=gradient_units)),
        "operator bound for Frobenius norm": but(predict=lambda p: predicted_bounds(p)[[0, 0]]),
    },
    examples=(AnyFeatures(spectrum="flat"), AnyFeatures(n=3, dim=8, spectrum="flat", eps=2.0), AnyFeatures()),
    draws=Draws(shapes=8, values=6),
)


@measurement
def steepest(p: Rows, stream, *, unit: bool = True, power: float = 2.0):
    """Frobenius norm of the gradient at a local maximum over unit rows (or over all features), and there its rows."""
    start = stream.numpy("start").standard_normal((p.n, p.dim))
    found = dynamics.steepest_features(start, eps=p.eps ** (power / 2), unit=unit)
    return {"norm": found.value}


def norm_units(p: Rows) -> float:
    """as for any features, condition at most 1 + c; the norm is stationary at its maximum"""
    return 8 * (p.n + p.dim) * np.sqrt(1 + p.c) * predicted_bounds(p)[1]


EXAMPLES = (Rows(n=15, dim=6, eps=2.0), Rows(n=15, dim=6, eps=0.5), Rows(n=6, dim=8, eps=1.5), Rows(eps=1.8))

UNIT_GRADIENT_NORM = Law(
    id="simdino/gradient-norm-unit-rows",
    source=Source("derived for this laboratory; the cruder bound is that of arXiv:2502.10385"),
    statement="""
    For unit rows |grad R|_F <= sqrt(alpha q w/(1+w)^2), w = min(c/q, 1), c = d/eps^2, q = min(n, d): for c < q below
    the bound (1/2) sqrt(alpha q) of all features, and attained by equal singular values. For c > q it is missed by at
    most a factor sqrt((q-1)/q). Measured at local maxima of the norm over unit rows.
    """,
    params=Rows,
    predict=lambda p: theory.unit_gradient_norm_bound(p.n, p.dim, eps=p.eps),
    measure=steepest,
    claim=Bound(of="norm", side="upper", rounding=norm_units, resolve=1e-6),
    controls={
        "features of any norm": but(measure=partial(steepest, unit=False)),
        "eps for eps^2": but(measure=partial(steepest, power=1.0)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=8, values=2),
)

LARGEST_GRADIENT_NORM = Law(
    id="simdino/largest-gradient-norm",
    source=Source("derived for this laboratory; not found in arXiv:2502.10385"),
    statement="""
    Over unit rows the supremum of |grad R|_F is exactly sqrt(alpha max sum_i g(u_i)), g(u) = u/(1+u)^2, over q values
    u_i >= 0 of sum c: all equal for c <= q, and else either all equal or q - 1 equal values and one that takes up the
    excess, g'(a) = g'(b). Measured is the largest of six local maxima.
    """,
    params=Rows,
    predict=lambda p: theory.largest_unit_gradient_norm(p.n, p.dim, eps=p.eps),
    measure=steepest,
    claim=Equality(of="norm", over="max", rounding=norm_units, resolve=1e-6),
    controls={
        "equal singular values": but(predict=lambda p: float(np.sqrt(p.c / p.n * p.c) / (1 + p.c / p.q))),
        "features of any norm": but(measure=partial(steepest, unit=False)),
        "the bound as if attained": but(predict=lambda p: theory.unit_gradient_norm_bound(p.n, p.dim, eps=p.eps)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=6, values=1, replicates=6),
)
