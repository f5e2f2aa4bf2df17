"""One exact gradient step of the coding rate: singular values, ridge projection, how far it descends."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Bound, Crossover, Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.models.white_box.rates import GradientForm
from lab.params import Ge, Gt, Le, LogScale, Params
from lab.systems.crate import theory
from lab.systems.crate.laws.gradient import DERIVED, MANY, Heads, Spectrum, factored, tokens

# ---------------------------------------------------------------------- singular values


class Moved(Spectrum):
    """... and one step of ``kappa beta = reduced_step``."""

    reduced_step: Annotated[float, Gt(0.0), Le(4.0)] = 1.0


def squares(p: Moved, data, *, halved: bool = False, shift: float = 0.0) -> np.ndarray:
    """Squared singular values after the step over the largest before; `halved` forgets a factor 2 of the gradient."""
    moved = theory.singular_values_after(data["s"], p.reduced_step * (0.5 if halved else 1.0), p.beta)
    return np.sort((moved / data["s"].max()) ** 2)[::-1] + shift


@measurement
def moved_spectrum(p: Moved, data, stream, *, expansion: bool = False):
    """Largest eigenvalues of the second moment after one step; `expansion` steps along the first-order form."""
    W = (data["left"] * data["s"]) @ data["right"].T
    form: GradientForm = "neumann" if expansion else "exact"
    after = W - p.reduced_step / p.beta * white_box.head_rate_gradient(W[None], beta=p.beta, form=form)[0]
    values = np.linalg.eigvalsh(after.T @ after)[::-1][: len(data["s"])]
    return {"squares": values / data["s"].max() ** 2}


def spectrum_units(p: Moved) -> float:
    """in units of the largest: eigenvalues before and after are off by 8 (n + 2p) epsilons, times (1 + t)² for a step
    that lengthens, and the factor t/(1 + x) by its condition number 1 + x"""
    return 8 * (p.n + 2 * p.rank) * (1 + p.reduced_step) ** 2 * (1 + p.top)


SINGULAR_VALUE_MAP = Law(
    id="crate/singular-value-map",
    source=Source(DERIVED),
    statement="""
    One step Z - kappa grad R^c, frames stacked-orthonormal, keeps the singular vectors of every head and maps

        s -> s |1 - kappa beta/(1 + beta s²)|.

    Strong directions stay, weak ones are multiplied by 1 - kappa beta. Measured: squares, in units of the largest.
    """,
    params=Moved,
    situation=factored,
    predict=squares,
    measure=moved_spectrum,
    claim=Equality(of="squares", rounding=spectrum_units, scale=1.0, resolve=1e-6),
    controls={
        "half the step": but(predict=partial(squares, halved=True)),
        "first-order expansion": but(measure=partial(moved_spectrum, expansion=True)),
    },
    examples=(Moved(), Moved(reduced_step=2.0, top=1e-2), Moved(n=3, rank=6, reduced_step=0.3)),
    draws=MANY,
)


# ---------------------------------------------------------------------- ridge projection


class Stacked(Params):
    """K heads of rank p with frames orthogonal to each other, `spare` more dimensions, tokens of ``beta |Z|²/N``."""

    heads: Annotated[int, Ge(1), Le(3)] = 2
    rank: Annotated[int, Ge(1), Le(4)] = 2
    spare: Annotated[int, Ge(0), Le(3)] = 2
    n: Annotated[int, Ge(1), Le(12)] = 6
    beta: Annotated[float, Ge(0.05), Le(100.0), LogScale()] = 2.0
    energy: Annotated[float, Ge(1e-3), Le(1e3), LogScale()] = 3.0


def stacked(p: Stacked, stream) -> dict[str, np.ndarray]:
    rng, dim = stream.numpy("stacked"), p.heads * p.rank + p.spare
    Z = rng.standard_normal((p.n, dim)) * rng.uniform(0.1, 1.0, dim)
    U = np.moveaxis(haar(rng, dim, p.heads * p.rank).reshape(dim, p.heads, p.rank), 1, 0)
    return {"Z": Z * np.sqrt(p.n * p.energy / p.beta) / np.linalg.norm(Z), "U": np.ascontiguousarray(U)}


@measurement
def full_step(p: Stacked, data, stream, *, step: float = 1.0, outside: bool = True):
    """Tokens after the step `step`/beta, over the norm of all; ``outside=False`` drops the rest of the space."""
    Z = data["Z"]
    after = Z - step / p.beta * white_box.subspace_rate_gradient(Z, data["U"], beta=p.beta)
    if not outside:
        after = white_box.from_head_coordinates(white_box.head_coordinates(after, data["U"]), data["U"])
    return {"tokens": after / np.linalg.norm(Z)}


def projected(p: Stacked, data) -> np.ndarray:
    return theory.ridge_projection(data["Z"], data["U"], p.beta) / np.linalg.norm(data["Z"])


def projection_units(p: Stacked) -> float:
    """tokens of norm 1, through inverses of condition number 1 + beta |Z|², each off by 8 (n + 2d) epsilons of that"""
    return 16 * (p.n + 2 * (p.heads * p.rank + p.spare)) * (1 + p.n * p.energy)


RIDGE_PROJECTION = Law(
    id="crate/ridge-projection",
    source=Source(DERIVED),
    statement="""
    At kappa = 1/beta, frames stacked-orthonormal, the step is a ridge projection of every head on its strong
    directions,

        Z - grad R^c/beta = Z (I - sum_k U_k U_k^T) + sum_k W_k beta S_k (I + beta S_k)^-1 U_k^T,    S_k = W_k^T W_k;

    what lies outside the span of the frames stays.
    """,
    params=Stacked,
    situation=stacked,
    predict=projected,
    measure=full_step,
    claim=Equality(of="tokens", rounding=projection_units, scale=1.0, resolve=1e-6),
    controls={
        "step 1 % longer": but(measure=partial(full_step, step=1.01)),
        "the rest of the space dropped": but(measure=partial(full_step, outside=False)),
    },
    examples=(Stacked(), Stacked(n=1, heads=1, rank=4), Stacked(energy=1e3)),
    draws=MANY,
)


# ---------------------------------------------------------------------- descent


class Stepped(Heads):
    """Tokens and frames of any overlap; a step of ``t = kappa beta |sum_k U_k U_k^T|``."""

    energy: Annotated[float, Ge(1e-6), Le(1e3), LogScale()] = 3.0
    t: Annotated[float, Gt(0.01), Le(2.0)] = 1.0


def curvature(data, beta: float) -> float:
    """beta times the spectral norm of sum_k U_k U_k^T."""
    return beta * float(np.linalg.norm(np.sum(data["U"] @ data["U"].mT, axis=0), 2))


@measurement
def decrease(p: Stepped, data, stream, *, factor: float = 1.0, overlap: bool = True):
    """Change of the rate over ``|grad|²/L``; `factor` multiplies the step, without `overlap` L is taken as beta."""
    Z, U = data["Z"], data["U"]
    L = curvature(data, p.beta) if overlap else p.beta
    G = white_box.subspace_rate_gradient(Z, U, beta=p.beta)
    values = [np.linalg.svd(white_box.head_coordinates(V, U), compute_uv=False) for V in (Z, Z - factor * p.t / L * G)]
    # the change, term by term: rates of weak tokens would cancel
    before, after = (p.beta * v**2 for v in values)
    return {"decrease": 0.5 * np.sum(np.log1p((after - before) / (1 + before))) * L / np.sum(G**2)}


def least_decrease(p: Stepped, *, half: bool = True) -> float:
    return -float(theory.guaranteed_decrease(p.t)) if half else -p.t


def decrease_units(p: Stepped, data) -> float:
    """squared singular values before and after are off by m = 16 (n + 2d + K p) epsilons of beta |W_k|², in all of at
    most L |Z|², here in units of |grad|²/L; the gradient by its condition number 1 + L |Z|²"""
    G = theory.rate_gradient(data["Z"], data["U"], p.beta)
    size = curvature(data, p.beta) * float(np.sum(data["Z"] ** 2))
    m = 16 * (p.n + 2 * p.dim + p.heads * p.rank)
    return m * (size * curvature(data, p.beta) / float(np.sum(G**2)) + 4 * (1 + size))




RATE_DESCENT = Law(
    id="crate/rate-descent",
    source=Source(DERIVED),
    statement="""
    R^c(Z - kappa grad R^c) <= R^c(Z) - kappa (1 - kappa L/2) |grad R^c|², L = beta |sum_k U_k U_k^T|, for any tokens:
    the rate falls for kappa < 2/L. For stacked-orthonormal frames L = beta; where frames overlap, beta alone is too
    small. Attained as tokens shrink to zero, so 2/L is sharp. Measured: the change over |grad R^c|²/L.
    """,
    params=Stepped,
    situation=tokens,
    predict=least_decrease,
    measure=decrease,
    claim=Bound(of="decrease", side="upper", rounding=decrease_units, scale=1.0, resolve=1e-3),
    controls={
        "step 5 % longer": but(measure=partial(decrease, factor=1.05)),
        "overlap forgotten": but(measure=partial(decrease, overlap=False)),
        "without the 1/2": but(predict=partial(least_decrease, half=False)),
    },
    examples=(
        Stepped(energy=1e-6, t=2.0, heads=1, rank=5), Stepped(energy=1e-6, heads=1, rank=5),
        Stepped(energy=10.0, t=2.0), Stepped(energy=1e-6, t=1.5, heads=4, dim=2, rank=1),
    ),
    draws=Draws(shapes=12, values=8),
)  # fmt: skip


# ---------------------------------------------------------------------- the edge of descent


class Edge(Params):
    """One head with min(n, p) equal singular values ``beta s² = x``, and a step of ``kappa beta = t``."""

    n: Annotated[int, Ge(1), Le(12)] = 8
    rank: Annotated[int, Ge(1), Le(12)] = 4
    beta: Annotated[float, Ge(0.05), Le(100.0), LogScale()] = 3.0
    x: Annotated[float, Ge(1e-6), Le(100.0), LogScale()] = 0.5
    t: Annotated[float, Gt(0.0), Le(300.0)] = 2.0


@measurement(paired=("t",))
def edge_step(p: Edge, stream, *, even: bool = True, power: float = 1.0):
    """Relative change of the rate by one step; ``even=False`` makes one singular value three times as large."""
    rng, r = stream.numpy("edge"), min(p.n, p.rank)
    s = np.full(r, np.sqrt(p.x / p.beta))
    s[0] *= 1 if even else 3
    W = ((haar(rng, p.n, r) * s) @ haar(rng, p.rank, r).T)[None]
    after = W - p.t / p.beta**power * white_box.head_rate_gradient(W, beta=p.beta)
    rates = [np.sum(np.log1p(p.beta * np.linalg.svd(V, compute_uv=False) ** 2)) for V in (W, after)]
    return {"change": rates[1] / rates[0] - 1}


def step_axis(p: Edge) -> np.ndarray:
    """0.9 to 1.1 times the predicted edge in 21 steps, with the edge itself off the grid"""
    return theory.descent_edge(p.x) * np.linspace(0.903, 1.103, 21)


DESCENT_EDGE = Law(
    id="crate/descent-edge",
    source=Source(DERIVED),
    statement="""
    For equal singular values the rate falls in one step for kappa beta < 2 (1 + x), x = beta s², and rises beyond: the
    edge of guaranteed descent, 2, is its limit for weak tokens.
    """,
    params=Edge,
    predict=lambda p: float(theory.descent_edge(p.x)),
    measure=edge_step,
    claim=Crossover(of="change", along="t", level=0.0, falling=False, over="each", axis=step_axis, resolve=0.01),
    controls={
        "the bound taken for the edge": but(predict=lambda p: 2.0),
        "one direction stronger": but(measure=partial(edge_step, even=False)),
        "eps for eps^2": but(measure=partial(edge_step, power=0.5)),
    },
    examples=(Edge(), Edge(x=1e-6), Edge(x=10.0, n=3, rank=6)),
    draws=Draws(shapes=6, values=1),
)
