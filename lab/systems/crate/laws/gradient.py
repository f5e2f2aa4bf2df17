"""The gradient of the coding rate on subspaces, and where its first-order expansion ends."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Crossover, Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Gt, Le, LogScale, Params
from lab.systems.crate import theory

Y23 = "arXiv:2306.01129"
BOOK = "Principles and Practice of Deep Representation Learning"
DERIVED = f"derived for this laboratory; not found in {Y23}"
MANY = Draws(shapes=8, values=8)


class Heads(Params):
    """Gaussian tokens with ``beta |Z|²/N = energy`` and K independent frames, orthonormal or not, of any overlap."""

    dim: Annotated[int, Ge(1), Le(8)] = 5
    n: Annotated[int, Ge(1), Le(12)] = 7
    heads: Annotated[int, Ge(1), Le(4)] = 3
    rank: Annotated[int, Ge(1), Le(8)] = 2
    orthonormal: bool = True
    beta: Annotated[float, Ge(0.05), Le(100.0), LogScale()] = 2.0
    energy: Annotated[float, Ge(1e-3), Le(1e3), LogScale()] = 3.0

    @model_validator(mode="after")
    def _rank_fits(self) -> Self:
        if self.rank > self.dim:
            raise ValueError(f"rank={self.rank} exceeds dim={self.dim}; lower rank or raise dim")
        return self


def tokens(p: Heads, stream) -> dict[str, np.ndarray]:
    """Tokens (n, dim) and frames (K, dim, rank)."""
    rng = stream.numpy("tokens")
    Z = rng.standard_normal((p.n, p.dim))
    U = np.stack([haar(rng, p.dim, p.rank) for _ in range(p.heads)])
    if not p.orthonormal:
        U = U * rng.uniform(0.5, 1.5, (p.heads, 1, p.rank)) + 0.2 * rng.standard_normal(U.shape)
    return {"Z": Z * np.sqrt(p.n * p.energy / p.beta) / np.linalg.norm(Z), "U": U}


def complex_steps(rate, Z: np.ndarray) -> np.ndarray:
    """Gradient of a log-determinant by complex steps; `rate` takes complex tokens (steps, n, d)."""
    h = 1e-20 * np.linalg.norm(Z)
    steps = Z + 1j * h * np.eye(Z.size).reshape(Z.size, *Z.shape)
    return np.imag(rate(steps)).reshape(Z.shape) / h


def logdet(M: np.ndarray) -> np.ndarray:
    """Complex log-determinant: its imaginary part is the argument of the determinant."""
    sign, size = np.linalg.slogdet(M)
    return size + 1j * np.angle(sign)


def definition(Z: np.ndarray, U: np.ndarray, beta: float, *, by_tokens: bool = False) -> np.ndarray:
    """R^c as it reads, head by head, for complex tokens; `by_tokens` with the N x N determinants."""
    total = np.zeros(Z.shape[:-2], dtype=complex)
    for frame in U:
        W = Z @ frame
        gram = W @ W.mT if by_tokens else W.mT @ W
        total = total + 0.5 * logdet(np.eye(gram.shape[-1]) + beta * gram)
    return total


@measurement
def rate_slope(p: Heads, data, stream, *, power: float = 1.0, half: float = 0.5):
    """Gradient of the definition by complex steps, with beta to the `power` and the factor `half` in front."""
    slope = complex_steps(lambda Z: definition(Z, data["U"], p.beta**power, by_tokens=True), data["Z"])
    return {"gradient": 2 * half * slope}


def closed_form(p: Heads, data) -> np.ndarray:
    return theory.rate_gradient(data["Z"], data["U"], p.beta)


def condition(p: Heads, data) -> float:
    """Largest condition number of the matrices inverted."""
    return 1 + p.beta * float(np.max(np.linalg.norm(data["Z"] @ data["U"], axis=(1, 2)) ** 2))


def slope_units(p: Heads, data) -> float:
    """sums over n tokens, d dimensions and K heads of terms at most beta |U|² |Z|, through inverses of I + beta W^T W
    by N x N and by p x p matrices, each off by 8 (n + 2d) epsilons times the condition number"""
    size = p.beta * float(np.sum(data["U"] ** 2)) * float(np.linalg.norm(data["Z"]))
    return 16 * (p.n + 2 * p.dim + p.heads * p.rank) * condition(p, data) * size


RATE_GRADIENT = Law(
    id="crate/rate-gradient",
    source=Source(Y23, "gradient of the coding rate with respect to subspaces"),
    statement="""
    R^c(Z|U) = 1/2 sum_k logdet(I + beta W_k^T W_k), W_k = Z U_k, has the gradient

        grad R^c = beta sum_k W_k (I_p + beta W_k^T W_k)^-1 U_k^T = beta sum_k (I_N + beta W_k W_k^T)^-1 W_k U_k^T.

    It multiplies the head coordinates of all tokens by the same p x p matrix and vanishes outside the span of the
    frames. Frames may overlap and need not be orthonormal. Measured: complex steps through N x N determinants.
    """,
    params=Heads,
    situation=tokens,
    predict=closed_form,
    measure=rate_slope,
    claim=Equality(
        of="gradient", rounding=slope_units, resolve=1e-6,
        scale=lambda p, data: float(np.abs(closed_form(p, data)).max()),
    ),
    controls={
        "eps for eps^2": but(measure=partial(rate_slope, power=0.5)),
        "rate without its 1/2": but(measure=partial(rate_slope, half=1.0)),
        "beta counted twice": but(predict=lambda p, data: p.beta * closed_form(p, data)),
    },
    examples=(Heads(), Heads(orthonormal=False, heads=4, rank=5), Heads(n=1, dim=8, rank=4), Heads(energy=1e3)),
    draws=MANY,
)  # fmt: skip


# ---------------------------------------------------------------------- logdet


@measurement
def logdet_slope(p: Heads, data, stream):
    """Gradient of logdet(I + beta Z^T Z) by complex steps."""
    def rate(Z):
        return logdet(np.eye(p.dim) + p.beta * Z.mT @ Z)

    return {"gradient": complex_steps(rate, data["Z"])}


def logdet_form(p: Heads, data, *, factor: float = 2.0) -> np.ndarray:
    return theory.logdet_gradient(data["Z"], p.beta, factor=factor)


def logdet_units(p: Heads, data) -> float:
    """as for crate/rate-gradient, with one head that is the identity"""
    size = p.beta * float(np.linalg.norm(data["Z"]))
    return 32 * (p.n + 2 * p.dim) * (1 + p.n * p.energy) * size


LOGDET_GRADIENT = Law(
    id="crate/logdet-gradient",
    source=Source(BOOK, "exercise on the gradient of the log-determinant; corrected here"),
    statement="""
    logdet(I + alpha Z^T Z), without 1/2 in front, has the gradient 2 alpha Z (I + alpha Z^T Z)^-1 by Z (tokens in
    rows).
    """,
    params=Heads,
    situation=tokens,
    predict=logdet_form,
    measure=logdet_slope,
    claim=Equality(
        of="gradient", rounding=logdet_units, resolve=1e-6,
        scale=lambda p, data: float(np.abs(logdet_form(p, data)).max()),
    ),
    controls={"factor 1": but(predict=partial(logdet_form, factor=1.0))},
    examples=(Heads(), Heads(n=1, dim=8), Heads(energy=1e3)),
    draws=MANY,
)  # fmt: skip

LOGDET_GRADIENT_PRINTED = LOGDET_GRADIENT.printed(
    "crate/logdet-gradient-printed",
    source=Source(BOOK, "exercise on the gradient of the log-determinant"),
    statement="""
    Printed: the gradient of logdet(I + alpha Z^T Z) is alpha times the inverse times Z. It is twice that; the printed
    line is the gradient of half the log-determinant.
    """,
    predict=partial(logdet_form, factor=1.0),
    at=(Heads(n=1, dim=1, rank=1),),
)


# ---------------------------------------------------------------------- Neumann expansion


class Spectrum(Params):
    """One head whose largest ``x = beta s²`` is `top`, the others log-uniform within `decades` below."""

    n: Annotated[int, Ge(1), Le(16)] = 8
    rank: Annotated[int, Ge(1), Le(8)] = 4
    top: Annotated[float, Ge(1e-2), Le(1e2), LogScale()] = 2.0
    decades: Annotated[float, Ge(0.0), Le(2.0)] = 1.5
    beta: Annotated[float, Ge(0.05), Le(100.0), LogScale()] = 3.0


def factored(p: Spectrum, stream) -> dict[str, np.ndarray]:
    """Singular vectors and values; beta s² = x."""
    rng, r = stream.numpy("spectrum"), min(p.n, p.rank)
    x = p.top * 10 ** -rng.uniform(0, p.decades, r)
    x[0] = p.top
    return {"left": haar(rng, p.n, r), "right": haar(rng, p.rank, r), "s": np.sqrt(x / p.beta)}


@measurement
def expansion_error(p: Spectrum, data, stream, *, doubled: bool = False, extra: float = 1.0):
    """Exact gradient minus its expansion, in the basis of singular vectors, over beta times the largest s.

    `doubled` counts the beta inside MSSA twice, as printed; `extra` multiplies the second term.
    """
    W = (data["left"] * data["s"]) @ data["right"].T
    second = white_box.attend(W[None], phi=white_box.linear, scale=p.beta)[0]  # beta W W^T W
    expanded = p.beta * (W - extra * p.beta ** (1.0 if doubled else 0.0) * second)
    exact = complex_steps(lambda V: definition(V, np.eye(p.rank)[None], p.beta), W)
    return {"error": data["left"].T @ (exact - expanded) @ data["right"] / (p.beta * data["s"].max())}


def predicted_error(p: Spectrum, data, *, power: float = 2.0) -> np.ndarray:
    """Diagonal in the singular vectors; `power` 1 is a slip of the order."""
    error = theory.neumann_error(data["s"], p.beta) * (p.beta * data["s"] ** 2) ** (power - 2)
    return np.diag(error / (p.beta * data["s"].max()))


def expansion_units(p: Spectrum) -> float:
    """exact and expanded gradient are at most (1 + x) beta s, of matrices with the condition number 1 + x, each off by
    8 (n + 2 p) epsilons times that"""
    return 16 * (p.n + 2 * p.rank) * (1 + p.top) ** 2


NEUMANN_ERROR = Law(
    id="crate/neumann-error",
    source=Source(DERIVED),
    statement="""
    Exact gradient minus its first-order Neumann expansion beta (W - MSSA_linear), MSSA_linear = beta W W^T W: diagonal
    in the singular vectors of W, with the values

        beta s x²/(1 + x),    x = beta s²,

    relative to the exact gradient x². Small for beta lambda_max << 1 only; for x > 1 the expansion has the wrong sign.
    """,
    params=Spectrum,
    situation=factored,
    predict=predicted_error,
    measure=expansion_error,
    claim=Equality(of="error", rounding=expansion_units, resolve=1e-6,
                   scale=lambda p, data: float(np.abs(predicted_error(p, data)).max())),
    controls={
        "first order": but(predict=partial(predicted_error, power=1.0)),
        "second term 1 % larger": but(measure=partial(expansion_error, extra=1.01)),
    },
    examples=(Spectrum(), Spectrum(top=100.0), Spectrum(n=2, rank=6)),
    draws=MANY,
)  # fmt: skip

MSSA_DERIVATION_PRINTED = NEUMANN_ERROR.printed(
    "crate/mssa-derivation-printed",
    source=Source(BOOK, "derivation of MSSA, gradient line"),
    statement="""
    Printed: grad R^c is about beta Z - beta² MSSA(Z), with an MSSA that contains a factor beta = p/(N eps²) already. So
    beta is counted twice: the error is then of the first order in x unless beta = 1. The next printed line has one
    factor and is right.
    """,
    measure=partial(expansion_error, doubled=True),
    at=(Spectrum(top=0.1, beta=3.0), Spectrum(top=0.1, beta=0.3)),
)


# ---------------------------------------------------------------------- where the expansion turns round


class Flat(Params):
    """One head with min(n, p) equal singular values ``s² = x/beta``; a small step along the expansion."""

    n: Annotated[int, Ge(1), Le(12)] = 8
    rank: Annotated[int, Ge(1), Le(12)] = 4
    beta: Annotated[float, Ge(0.05), Le(100.0), LogScale()] = 3.0
    x: Annotated[float, Gt(0.0), Le(10.0)] = 1.0


@measurement(paired=("x",))
def along_expansion(p: Flat, stream, *, even: bool = True, power: float = 1.0):
    """Relative change of the rate by a step of kappa beta = 1e-6 down the expansion.

    ``even=False`` makes one singular value three times as large, `power` is that of beta in MSSA's scores.
    """
    rng, r = stream.numpy("flat"), min(p.n, p.rank)
    s = np.full(r, np.sqrt(p.x / p.beta))
    s[0] *= 1 if even else 3
    W = (haar(rng, p.n, r) * s) @ haar(rng, p.rank, r).T
    update = W - white_box.attend(W[None], phi=white_box.linear, scale=p.beta**power)[0]
    before, after = (np.sum(np.log1p(p.beta * np.linalg.svd(V, compute_uv=False) ** 2)) for V in (W, W - 1e-6 * update))
    return {"change": 1e6 * (after / before - 1)}


def around_one(p: Flat) -> np.ndarray:
    """0.9 to 1.1 in 20 steps, with 1 itself off the grid"""
    return np.linspace(0.903, 1.103, 21)


NEUMANN_EDGE = Law(
    id="crate/neumann-edge",
    source=Source(DERIVED),
    statement="""
    A small step down the first-order expansion lowers R^c for beta s² < 1 and raises it beyond, for equal singular
    values s: the edge is x = beta s² = 1. For tokens near subspaces the strongest direction has s about sqrt N_k +
    sqrt p: the expansion needs eps² > (p/N)(sqrt N_k + sqrt p)².
    """,
    params=Flat,
    predict=lambda p: 1.0,
    measure=along_expansion,
    claim=Crossover(of="change", along="x", level=0.0, falling=False, over="each", axis=around_one, resolve=0.02),
    controls={
        "one direction stronger": but(measure=partial(along_expansion, even=False)),
        "edge of the second order": but(predict=lambda p: (1 + np.sqrt(5)) / 2),
        "eps for eps^2": but(measure=partial(along_expansion, power=0.5)),
    },
    examples=(Flat(), Flat(n=3, rank=6, beta=0.2)),
    draws=Draws(shapes=6, values=1),
)
