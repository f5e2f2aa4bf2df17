"""One step of the operator: where it stops descending, and which denoiser it is."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Crossover, Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Gt, Le, LogScale, Params
from lab.systems.tost import theory
from lab.systems.tost.laws.variational import Heads, concave, convex_function, tokens

T24 = "arXiv:2412.17810"
DERIVED = "derived for this laboratory; not found in arXiv:2412.17810"


# ---------------------------------------------------------------------- the bound on the step


class Stepped(Heads):
    """Random tokens, membership and frames of `width` orthonormal columns; a step of ``s = tau f'(0)/N``."""

    width: Annotated[int, Ge(1), Le(8)] = 8
    function: Literal["log", "ratio", "capped", "linear"] = "log"
    energy: Annotated[float, Ge(1e-9), Le(1e3), LogScale()] = 3.0
    s: Annotated[float, Gt(0.0), Le(2.0)] = 1.0


def stepped(p: Stepped, stream) -> dict[str, np.ndarray]:
    data, rng = tokens(p, stream), stream.numpy("frames")
    return {**data, "U": np.stack([haar(rng, p.dim, min(p.width, p.dim)) for _ in range(p.heads)])}


@measurement
def change(p: Stepped, data, stream, *, factor: float = 1.0, stretch: float = 1.0, convex: bool = False):
    """Change of the variational rate by one step, relative to its largest possible value ``c |Z|²/(2N)``.

    `factor` multiplies the step, `stretch` the frames; `convex` takes f = x + x²/(1 + x) with slope 1 at 0.
    """
    f = concave(p.function)
    if convex:
        f = white_box.Concave(lambda x: x + convex_function(x), lambda x: 2 - (1 + x) ** -2)
    Z, U, weights = data["Z"], stretch * data["U"], data["membership"]
    tau = factor * 0.5 * p.s * theory.largest_descent_step(p.c, p.n)
    after = Z - tau * white_box.variational_gradient(Z, U, weights, c=p.c, f=f)
    rates = [white_box.variational_rate(V, U, weights, c=p.c, f=f) for V in (Z, after)]
    return {"change": 2 * p.n * (rates[1] - rates[0]) / (p.c * np.sum(Z**2))}


def change_units(p: Stepped) -> float:
    """the rates before and after are off by m = 4 (n + 2d + K p) epsilons of c |Z|²/(2N), their largest value (slopes
    are at most 1 and a step within the bound never lengthens a token); the new tokens by as much: 4 m in all"""
    return 16 * (p.n + 2 * p.dim + p.heads * p.width)


DESCENT_STEP = Law(
    id="tost/descent-step",
    source=Source(DERIVED),
    statement="""
    For orthonormal frames (d x p) and a fixed membership whose rows sum to at most one, the step Z - tau grad R^var
    never increases R^var for 0 < tau <= 2N/f'(0), which is 2N/c for the logarithm: s = tau c/N <= 2, whatever the
    tokens. Attained for complete frames (p = d) as tokens shrink, and by linear f. (f lies below its tangents.)
    Truncated frames (p < d) are not safer in general: tost/descent-edge. Measured relative to c|Z|²/(2N).
    """,
    params=Stepped,
    situation=stepped,
    predict=lambda p: 0.0,
    measure=change,
    claim=Bound(of="change", side="upper", rounding=change_units, scale=1.0, resolve=1e-6),
    controls={
        "2 % beyond the edge": but(measure=partial(change, factor=1.02)),
        "frames 2 % too long": but(measure=partial(change, stretch=1.02)),
        "convex f": but(measure=partial(change, convex=True)),
    },
    examples=(
        Stepped(s=2.0, energy=1e-9), Stepped(s=2.0, function="linear", energy=100.0), Stepped(s=2.0, energy=10.0),
        Stepped(s=2.0, width=2),
    ),
    draws=Draws(shapes=12, values=8),
)  # fmt: skip


# ---------------------------------------------------------------------- the edge itself


class Clusters(Params):
    """K heads and K clusters of ``K p + spare`` tokens, each with the same isotropic second moment u/c in R^(K p).

    Tokens have the weight `confidence` in the head of their cluster and share the rest evenly. Heads are complete
    frames in random bases, or mutually orthogonal truncated ones of rank p. A step has ``s = tau c/N``.
    """

    heads: Annotated[int, Ge(1), Le(4)] = 3
    rank: Annotated[int, Ge(1), Le(3)] = 2
    spare: Annotated[int, Ge(0), Le(6)] = 2
    full: bool = True
    confidence: Annotated[float, Ge(0.0), Le(1.0)] = 0.8
    u: Annotated[float, Ge(1e-6), Le(100.0), LogScale()] = 1e-3
    c: Annotated[float, Ge(0.1), Le(100.0), LogScale()] = 2.0
    s: Annotated[float, Gt(0.0), Le(3000.0)] = 2.0

    @model_validator(mode="after")
    def _one_head(self) -> Self:
        if self.heads == 1 and self.confidence != 1.0:
            raise ValueError(f"confidence={self.confidence}: a single head has all the weight, so confidence must be 1")
        return self

    @property
    def edge(self) -> float:
        return float(theory.descent_edge(self.u, heads=self.heads, confidence=self.confidence, full=self.full))


@measurement(paired=("s",))
def one_step(p: Clusters, stream, *, stretch: float = 1.0, isotropic: bool = True, power: float = 1.0):
    """Relative change of the variational rate by one step of the operator.

    `stretch` multiplies the frames, ``isotropic=False`` stretches one direction of all tokens by 3, `power` is that of
    c in the step (1/2: eps in place of eps²).
    """
    rng, dim = stream.numpy("clusters"), p.heads * p.rank
    size = dim + p.spare
    Z = np.concatenate([np.sqrt(size * p.u / p.c) * haar(rng, size, dim) for _ in range(p.heads)])
    if not isotropic:
        Z[:, 0] *= 3
    rest = (1 - p.confidence) / max(p.heads - 1, 1)
    weights = np.where(np.repeat(np.eye(p.heads), size, axis=0) > 0, p.confidence, rest)
    frames = [haar(rng, dim) for _ in range(p.heads)]
    U = np.stack(frames) if p.full else np.moveaxis(frames[0].reshape(dim, p.heads, p.rank), 1, 0)
    U = stretch * U
    after = Z + white_box.tssa(Z, U, weights, tau=p.s * len(Z) / p.c**power, c=p.c)
    before, then = (white_box.variational_rate(V, U, weights, c=p.c) for V in (Z, after))
    return {"change": then / before - 1}


def step_axis(p: Clusters) -> np.ndarray:
    """0.9 to 1.1 times the predicted edge, in 21 steps, with the edge itself off the grid"""
    return p.edge * np.linspace(0.903, 1.103, 21)


def predicted_change(p: Clusters):
    arguments = {"heads": p.heads, "confidence": p.confidence, "full": p.full}
    return theory.rate_change(p.s, p.u, **arguments)


DESCENT_EDGE = Law(
    id="tost/descent-edge",
    source=Source(DERIVED),
    statement="""
    Where descent ends, exactly, for clusters with the same isotropic second moment u/c: the rate falls for s = tau c/N
    below

        s_* = 2 (1 + u)                                               complete frames (p = d), any membership;
        s_* = 2 (1 + u) (w² + (K-1) q²)/(w³ + (K-1) q³), q = (1-w)/(K-1)    truncated orthogonal heads (K p = d),

    w the weight of a token in its own head, and rises beyond. So 2N/c is the edge in the limit u -> 0 of complete
    frames, and of truncated heads with hard membership; a soft membership of truncated heads allows up to K times more.
    """,
    params=Clusters,
    predict=lambda p: p.edge,
    measure=one_step,
    claim=Crossover(of="change", along="s", level=0.0, falling=False, over="each", axis=step_axis, resolve=0.01),
    curve=predicted_change,
    controls={
        "frames 5 % too long": but(measure=partial(one_step, stretch=1.05)),
        "one direction stronger": but(measure=partial(one_step, isotropic=False)),
        "the bound taken for the edge": but(predict=lambda p: 2.0),
        "eps for eps^2": but(measure=partial(one_step, power=0.5)),
    },
    examples=(
        Clusters(), Clusters(u=0.5), Clusters(full=False, confidence=1.0),
        Clusters(heads=4, full=False, confidence=0.25), Clusters(heads=1, confidence=1.0, u=10.0),
        Clusters(full=False, confidence=0.5, u=2.0),
    ),
    draws=Draws(shapes=8, values=1),
)  # fmt: skip


# ---------------------------------------------------------------------- the denoiser


class Whole(Params):
    """One head that holds all eigenvectors of Z^T Z/N; the largest of `rank` eigenvalues is `top`/c, the others are
    log-uniform within `decades` below it."""

    dim: Annotated[int, Ge(1), Le(16)] = 6
    n: Annotated[int, Ge(2), Le(48)] = 12
    rank: Annotated[int, Ge(1), Le(16)] = 6
    top: Annotated[float, Ge(1e-3), Le(1e4), LogScale()] = 30.0
    decades: Annotated[float, Ge(0.0), Le(4.0)] = 3.0
    c: Annotated[float, Ge(0.1), Le(100.0), LogScale()] = 2.0
    s: Annotated[float, Gt(0.0), Le(4.0)] = 1.0


def whole(p: Whole, stream) -> dict[str, np.ndarray]:
    """Tokens (n, dim); the eigenvalues (dim,), descending, and eigenvectors they were made of."""
    rng, rank = stream.numpy("whole"), min(p.rank, p.dim, p.n)
    values = np.zeros(p.dim)
    values[:rank] = np.sort(p.top / p.c * 10 ** -rng.uniform(0, p.decades, rank))[::-1]
    values[0] = p.top / p.c
    basis = haar(rng, p.dim)
    Z = np.sqrt(p.n) * (haar(rng, p.n, rank) * np.sqrt(values[:rank])) @ basis[:, :rank].T
    return {"Z": Z, "values": values, "basis": basis}


@measurement
def layer(p: Whole, data, stream, *, turned: bool = False, power: float = 1.0):
    """The tokens after one layer, and the eigenvalues of their second moment, both in units of the largest before.

    `turned` puts the frame in a random basis; `power` is that of c in the operator (1/2: eps in place of eps²).
    """
    Z = data["Z"]
    U = haar(stream.numpy("turned"), p.dim) if turned else np.linalg.eigh(Z.T @ Z)[1]
    after = Z + white_box.tssa(Z, U[None], np.ones((p.n, 1)), tau=p.s * p.n / p.c, c=p.c**power)
    moments = np.linalg.eigvalsh(after.T @ after / p.n)[::-1]
    return {
        "moments": moments / data["values"][0], "tokens": after / np.sqrt(p.n * data["values"][0]),
        "before": data["values"],
    }  # fmt: skip


def mapped(p: Whole, data, *, squared: bool = True) -> np.ndarray:
    moved = theory.wiener_map(data["values"], p.s, p.c)
    if not squared:
        moved = data["values"] * np.abs(1 - p.s / (1 + p.c * data["values"]))
    return np.sort(moved)[::-1] / data["values"][0]


def spectrum_units(p: Whole) -> float:
    """in units of the largest eigenvalue: second moments before and after are off by m = 8 (n + 2d) epsilons, times
    (1 + s)² for tokens that a step lengthens; the slope 1/(1 + u) of a weak coordinate by c times the error of its
    second moment, m top"""
    return 8 * (p.n + 2 * p.dim) * (1 + p.s) ** 2 * (1 + p.top)


WIENER_STEP = Law(
    id="tost/wiener-step",
    source=Source(DERIVED),
    statement="""
    One head whose frame holds the eigenvectors of S = Z^T Z/N: a layer maps its eigenvalues by

        l -> l (1 - s/(1 + c l))²,    s = tau c/N,

    Strong directions stay, weak ones shrink by (1 - s)². At s = 1 (the published vision layer, whose c is 1) it is
    l (c l/(1 + c l))². Measured in units of the largest eigenvalue.
    """,
    params=Whole,
    situation=whole,
    predict=mapped,
    measure=layer,
    claim=Equality(of="moments", rounding=spectrum_units, scale=1.0, resolve=1e-6),
    controls={
        "factor not squared": but(predict=partial(mapped, squared=False)),
        "frame in a random basis": but(measure=partial(layer, turned=True)),
        "eps for eps^2": but(measure=partial(layer, power=0.5)),
    },
    examples=(Whole(), Whole(s=2.0, top=1e-3), Whole(n=4, dim=8, s=0.3), Whole(s=4.0)),
    draws=Draws(shapes=8, values=8),
)


def lmmse(p: Whole, data, *, clean: bool = False) -> np.ndarray:
    """Tokens filtered by S (S + I/c)^-1, by a linear solve; `clean`: (S - I/c) S^-1, the filter for a noisy input."""
    Z, noise = data["Z"], np.eye(p.dim) / p.c
    S = Z.T @ Z / p.n
    filtered = Z - Z @ np.linalg.pinv(S) @ noise if clean else np.linalg.solve(S + noise, S @ Z.T).T
    return filtered / np.sqrt(p.n * data["values"][0])


class Published(Whole):
    """... with the step of the published layer, s = 1."""

    s: Annotated[float, Ge(1.0), Le(1.0)] = 1.0


def filter_units(p: Whole) -> float:
    """S + 1/c has the condition number 1 + top, and an entry of a token is at most sqrt(N) in units of the root of the
    largest eigenvalue times sqrt(N): 8 (n + 2d) epsilons of both, for the solve and for the layer"""
    return 16 * (p.n + 2 * p.dim) * (1 + p.top)


LMMSE_DENOISER = Law(
    id="tost/lmmse-denoiser",
    source=Source(DERIVED),
    statement="""
    At s = tau c/N = 1, with one head of eigenvectors, the layer is the linear minimum-mean-square-error denoiser

        Z + TSSA(Z) = Z S (S + (eps²/d) I)^-1,    S = Z^T Z/N, 1/c = eps²/d,

    for a signal of second moment S in noise of variance eps²/d. S is the second moment of the layer's input: where the
    input carries that noise already, the optimal filter for the clean signal would be (S - I/c) S^-1 instead.
    """,
    params=Published,
    situation=whole,
    predict=lmmse,
    measure=layer,
    claim=Equality(of="tokens", rounding=filter_units, scale=1.0, resolve=1e-6),
    controls={
        "input noisy already": but(predict=partial(lmmse, clean=True)),
        "frame in a random basis": but(measure=partial(layer, turned=True)),
    },
    examples=(Published(), Published(n=4, dim=8), Published(top=1e4)),
    draws=Draws(shapes=8, values=8),
)
