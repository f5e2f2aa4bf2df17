"""The variational rate: the bound, where it is attained, and its gradient, which is the operator."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Bound, Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Le, LogScale, Params
from lab.systems.tost import theory

T24 = "arXiv:2412.17810"
MANY = Draws(shapes=8, values=8)


class Heads(Params):
    """Gaussian tokens of rank min(inner, n, dim) with mean squared norm energy/c, and a membership in `heads` heads."""

    dim: Annotated[int, Ge(1), Le(8)] = 5
    n: Annotated[int, Ge(4), Le(24)] = 12
    inner: Annotated[int, Ge(1), Le(8)] = 3
    heads: Annotated[int, Ge(1), Le(4)] = 2
    membership: Literal["soft", "hard"] = "soft"
    c: Annotated[float, Ge(0.1), Le(100.0), LogScale()] = 2.0
    energy: Annotated[float, Ge(1e-2), Le(1e3), LogScale()] = 3.0

    @property
    def rank(self) -> int:
        return min(self.inner, self.dim)


class Framed(Heads):
    """... and a concave function, and frames: complete (any basis), covering the image, or of eigenvectors."""

    function: Literal["log", "ratio", "root", "hump", "capped", "linear"] = "log"
    frame: Literal["complete", "covering", "eigenvectors"] = "complete"

    @property
    def width(self) -> int:
        """Columns p of a frame: all, one more than the rank of the tokens, the rank."""
        return {"complete": self.dim, "covering": min(self.rank + 1, self.dim), "eigenvectors": self.rank}[self.frame]


def tokens(p: Heads, stream) -> dict[str, np.ndarray]:
    """Tokens, membership (n, K), and an orthonormal basis (d, d) whose first `rank` columns span the tokens."""
    rng = stream.numpy("tokens")
    basis = haar(rng, p.dim)
    Z = rng.standard_normal((p.n, p.rank)) * rng.uniform(0.2, 1.0, p.rank) @ basis[:, : p.rank].T
    Z *= np.sqrt(p.n * p.energy / p.c) / np.linalg.norm(Z)
    labels = rng.permutation(np.arange(p.n) % p.heads)
    soft = rng.dirichlet(np.ones(p.heads), size=p.n)
    return {"Z": Z, "membership": soft if p.membership == "soft" else np.eye(p.heads)[labels], "basis": basis}


def second_moments(data) -> np.ndarray:
    """``Z^T diag(pi_k) Z / n_k``, shape (K, d, d)."""
    Z, weights = data["Z"], data["membership"]
    return Z.T @ (weights.T[..., None] * Z) / weights.sum(0)[:, None, None]


def framed(p: Framed, stream) -> dict[str, np.ndarray]:
    """Tokens, membership and frames (K, d, p) of the kind that `p` asks for."""
    data, rng = tokens(p, stream), stream.numpy("frames")
    if p.frame == "eigenvectors":
        U = np.linalg.eigh(second_moments(data))[1][:, :, ::-1][:, :, : p.width]
    else:  # span the tokens and one more direction, or everything, in a random basis of one's own
        U = np.stack([data["basis"][:, : p.width] @ haar(rng, p.width) for _ in range(p.heads)])
    return {**data, "U": np.ascontiguousarray(U)}


# ---------------------------------------------------------------------- the bound


def concave(function: str) -> white_box.Concave:
    chosen = theory.FUNCTIONS[function]
    return white_box.Concave(chosen.value, chosen.slope)


def convex_function(x: np.ndarray) -> np.ndarray:
    """Convex, with slopes below 1 as those of the concave functions: only the sign of the gap changes."""
    return x**2 / (1 + x)


@measurement
def variational(p: Framed, data, stream, *, covering: bool = True, convex: bool = False):
    """The variational rate; ``covering=False`` draws frames of this width at random, `convex` takes another f."""
    U = data["U"]
    if not covering:
        rng = stream.numpy("random frames")
        U = np.stack([haar(rng, p.dim, p.width) for _ in range(p.heads)])
    f = white_box.Concave(convex_function, np.ones_like) if convex else concave(p.function)
    return {"rate": white_box.variational_rate(data["Z"], U, data["membership"], c=p.c, f=f)}


def spectral(p: Framed, data, *, convex: bool = False) -> float:
    """Rate of the classes from the eigenvalues of their second moments."""
    spectra, masses = np.maximum(np.linalg.eigvalsh(second_moments(data)), 0.0), data["membership"].sum(0)
    if convex:
        return float(masses @ np.sum(convex_function(p.c * spectra), axis=1) / (2 * p.n))
    return theory.spectral_rate(spectra[:, -p.rank :], masses, c=p.c, function=p.function)


def moment_units(p: Framed, data) -> float:
    """reduced second moments c t are off by m = 4 (n + 2d) epsilons of x = c tr S_k; f then by its slope on [0, x]
    (1, or 1 + x for the hump), and by less than sqrt(m x) for the root, at its infinite slope at 0; p coordinates,
    heads weighted by n_k/2N; plus the rounding of f itself, |f| <= x (x + x² for the hump, sqrt x for the root)"""
    x = p.c * float(np.max(np.trace(second_moments(data), axis1=1, axis2=2)))
    m = 4 * (p.n + 2 * p.dim)
    if p.function == "root":
        return 0.5 * p.dim * (np.sqrt(m * x / np.finfo(float).eps) + np.sqrt(x))
    return 0.5 * p.dim * (m * x + x) * (1 + x if p.function == "hump" else 1.0)


def rate_scale(p: Framed, data) -> float:
    spectra = p.c * np.maximum(np.linalg.eigvalsh(second_moments(data))[:, -p.rank :], 0.0)
    return float(np.mean(np.sum(np.abs(theory.FUNCTIONS[p.function].value(spectra)), axis=1)) / 2)


VARIATIONAL_BOUND = Law(
    id="tost/variational-bound",
    source=Source(T24, "variational theorem and its corollary; monotonicity of f is not needed (derived here)"),
    statement="""
    For concave f with f(0) = 0 and orthonormal frames U_k (d x p) whose image contains that of S_k,

        sum_k (n_k/2N) sum_i f(lambda_i(S_k)) <= sum_k (n_k/2N) sum_i f((U_k^T S_k U_k)_ii),

    S_k = Z^T diag(pi_k) Z/n_k, tokens in rows. Equality for eigenvectors; for strictly concave f only for them; for
    linear f for every basis. f need not be monotone (the functions tried include x - x²/2, besides log(1 + x),
    x/(1 + x), sqrt x, min(x, 1) and x, x = c t). A frame that misses a part of the image is no upper bound.
    """,
    params=Framed,
    situation=framed,
    predict=spectral,
    measure=variational,
    claim=Bound(of="rate", side="lower", rounding=moment_units, scale=rate_scale, resolve=1e-5),
    controls={
        "narrow frames that miss the image": but(measure=partial(variational, covering=False)),
        "convex f": but(predict=partial(spectral, convex=True), measure=partial(variational, convex=True)),
        "equality in every basis": but(claim=Equality(of="rate", rounding=moment_units, scale=rate_scale)),
    },
    examples=(
        Framed(frame="eigenvectors"), Framed(frame="eigenvectors", function="hump", energy=30.0),
        Framed(function="linear"), Framed(frame="covering"), Framed(frame="covering", inner=1),
    ),
    draws=Draws(shapes=12, values=8),
)  # fmt: skip


# ---------------------------------------------------------------------- attained by eigenvectors


class Aligned(Heads):
    """Heads whose frames hold the `rank` leading eigenvectors of their own second moment: all that are not zero."""

    inner: Annotated[int, Ge(1), Le(4)] = 3
    heads: Annotated[int, Ge(1), Le(3)] = 2
    n: Annotated[int, Ge(12), Le(24)] = 12


@measurement
def tangent(p: Aligned, data, stream, *, dropped: int = 0, common: bool = False):
    """Variational rate and its gradient at the eigenvectors, the gradient times N/(c |Z|).

    `dropped` leaves out that many leading eigenvectors, `common` takes those of the whole second moment for all heads.
    """
    moments = second_moments(data)
    if common:
        moments = np.broadcast_to(data["Z"].T @ data["Z"] / p.n, moments.shape)
    U = np.linalg.eigh(moments)[1][:, :, ::-1][:, :, : p.rank]
    U[:, :, :dropped] = 0.0
    rate = white_box.variational_rate(data["Z"], U, data["membership"], c=p.c)
    gradient = white_box.variational_gradient(data["Z"], U, data["membership"], c=p.c)
    return {"tangent": np.r_[rate, (gradient * p.n / (p.c * np.linalg.norm(data["Z"]))).ravel()]}


def class_rate(p: Aligned, data) -> np.ndarray:
    """Coding rate of the classes and its gradient by their definitions, determinant and inverse."""
    Z, weights, eye = data["Z"], data["membership"], np.eye(p.dim)
    B = eye + p.c * second_moments(data)
    rate = weights.sum(0) @ np.linalg.slogdet(B).logabsdet / (2 * p.n)
    gradient = np.sum(weights.T[..., None] * (Z @ np.linalg.inv(B)), axis=0)
    return np.r_[rate, gradient.ravel() / np.linalg.norm(Z)]


def tangent_units(p: Aligned, data) -> np.ndarray:
    """with k = 1 + c tr S_k the largest condition number and m = 4 (n + 3d): the logarithms of the determinant are off
    by m d k; so are the scaled gradients, U D U^T and (1 + c S)^-1 being bounded by 1 and the eigenvectors off by
    m (k - 1) in c S"""
    k = 1 + p.c * float(np.max(np.trace(second_moments(data), axis1=1, axis2=2)))
    m = 4 * (p.n + 3 * p.dim)
    return np.full(1 + p.n * p.dim, m * p.dim * k)


VARIATIONAL_TANGENCY = Law(
    id="tost/variational-tangency",
    source=Source(T24, "equality case of the variational theorem; equality of the gradients derived here"),
    statement="""
    At frames that hold all eigenvectors of Z^T diag(pi_k) Z with nonzero eigenvalue (p = rank is enough), the
    variational rate and its gradient by the tokens equal those of the class coding rate
    R_c = sum_k (n_k/2N) logdet(I + c S_k): the bound touches. So a step of the operator is then a step on R_c.
    """,
    params=Aligned,
    situation=tokens,
    predict=class_rate,
    measure=tangent,
    claim=Equality(of="tangent", rounding=tangent_units, scale=1.0, resolve=1e-6),
    controls={
        "leading direction missing": but(measure=partial(tangent, dropped=1)),
        "one basis for all heads": but(measure=partial(tangent, common=True)),
    },
    examples=(Aligned(), Aligned(inner=4, dim=4), Aligned(inner=1, heads=3)),
    draws=Draws(shapes=8, values=6),
)


# ---------------------------------------------------------------------- the gradient


class Generic(Heads):
    """... with random frames of `width` columns (orthonormal or not), a smooth function, and a step."""

    width: Annotated[int, Ge(1), Le(5)] = 2
    function: Literal["log", "ratio", "hump"] = "log"
    orthonormal: bool = True
    tau: Annotated[float, Ge(0.1), Le(100.0), LogScale()] = 3.0
    scale: Annotated[float, Ge(0.01), Le(10.0), LogScale()] = 0.5


def generic(p: Generic, stream) -> dict[str, np.ndarray]:
    """Tokens, membership, frames; and the membership that the tokens themselves have (softmax of c scale |U^T z|²)."""
    data, rng = tokens(p, stream), stream.numpy("frames")
    width = min(p.width, p.dim)
    U = np.stack([haar(rng, p.dim, width) for _ in range(p.heads)])
    if not p.orthonormal:
        U = U * rng.uniform(0.5, 1.5, (p.heads, 1, width)) + 0.2 * rng.standard_normal(U.shape)
    energies = np.sum((data["Z"] @ U) ** 2, axis=-1).T
    return {**data, "U": U, "own": theory.membership(energies, p.scale * p.c)}


def definition(p: Generic, data, Z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The variational rate as it reads, head by head and coordinate by coordinate, for complex tokens (..., n, d)."""
    f, total = theory.FUNCTIONS[p.function].value, np.zeros(Z.shape[:-2], dtype=complex)
    for k in range(p.heads):
        pi = weights[..., k]
        mass = pi.sum(-1)
        if not np.any(mass):  # a softmax that underflows
            continue
        for column in data["U"][k].T:
            moment = np.sum(pi * (Z @ column) ** 2, axis=-1) / mass
            total = total + mass / (2 * p.n) * f(p.c * moment)
    return total


def complex_steps(p: Generic, data, weights, *, through: bool = False) -> np.ndarray:
    """Gradient of the definition by complex steps; `through` lets the membership move with the tokens."""
    Z = data["Z"]
    h = 1e-20 * np.linalg.norm(Z)
    steps = Z + 1j * h * np.eye(Z.size).reshape(Z.size, *Z.shape)
    if through:
        logits = p.scale * p.c * np.sum((steps[:, None] @ data["U"]) ** 2, axis=-1)
        logits = np.exp(logits - logits.real.max(axis=1, keepdims=True))
        weights = np.swapaxes(logits / logits.sum(axis=1, keepdims=True), 1, 2)
    return np.imag(definition(p, data, steps, weights)).reshape(Z.shape) / h


@measurement
def gradient(p: Generic, data, stream, *, power: float = 1.0):
    """The closed-form gradient with c to the `power`: 1/2 is eps in place of eps^2 where d = 1."""
    f = concave(p.function)
    return {"gradient": white_box.variational_gradient(data["Z"], data["U"], data["membership"], c=p.c**power, f=f)}


def gradient_units(p: Generic, data) -> float:
    """sums over n tokens, d dimensions and K p coordinates, of terms at most c |U|² |Z| slope/N, where the slope's own
    error is at most its variation, x f''(x) <= x (1 and |1 - x| <= 1 + x on the whole range for log and hump)"""
    size = float(np.sum(data["U"] ** 2))
    slope = 1.0
    if p.function == "hump":
        slope += p.c * size * float(np.sum(data["Z"] ** 2)) / float(np.min(data["membership"].sum(0)))
    m = 8 * (p.n + 2 * p.dim + p.heads * p.width)
    return m * p.c * size * slope * float(np.linalg.norm(data["Z"])) / p.n


def stepped(p: Generic, data, *, weighted: bool = True) -> np.ndarray:
    """The gradient by complex steps; ``weighted=False`` drops the weights n_k/N of the heads."""
    weights = data["membership"]
    return complex_steps(p, data, weights if weighted else weights * (p.n / weights.sum(0)))


VARIATIONAL_GRADIENT = Law(
    id="tost/variational-gradient",
    source=Source(T24, "gradient of the variational rate"),
    statement="""
    For a fixed membership grad_Z R^var = (1/N) sum_k diag(pi_k) Z U_k D_k U_k^T, D_k = diag f'(t_k),
    t_ki = sum_j pi_jk (U_k^T z_j)_i²/n_k; f'(t) = c/(1 + c t) for the logarithm. The masses cancel:
    (n_k/N)(1/n_k) = 1/N. Frames need not be orthonormal. Tokens in rows.
    """,
    params=Generic,
    situation=generic,
    predict=stepped,
    measure=gradient,
    claim=Equality(
        of="gradient", rounding=gradient_units, resolve=1e-6,
        scale=lambda p, data: float(np.abs(stepped(p, data)).max()),
    ),
    controls={
        "heads without their weights n_k/N": but(predict=partial(stepped, weighted=False)),
        "eps for eps^2": but(measure=partial(gradient, power=0.5)),
    },
    examples=(Generic(), Generic(function="hump"), Generic(orthonormal=False, membership="hard")),
    draws=MANY,
)  # fmt: skip


@measurement
def attention(p: Generic, data, stream):
    """Token statistics self-attention with the membership that the tokens themselves have."""
    update = white_box.tssa(data["Z"], data["U"], tau=p.tau, c=p.c, scale=p.scale * p.c)
    return {"update": update}


def minus_gradient(p: Generic, data, *, through: bool = False, tau: float | None = None) -> np.ndarray:
    log = p.replace(function="log")
    step = p.tau if tau is None else tau * p.tau
    return -step * complex_steps(log, data, data["own"], through=through)


def update_units(p: Generic, data) -> float:
    """tau times the rounding of the gradient, plus that of the membership: logits up to L = scale c |U|² max |z|² are
    off by that many epsilons times the length of their sums, and so are the weights, relatively"""
    logits = p.scale * p.c * float(np.sum(data["U"] ** 2)) * float(np.max(np.sum(data["Z"] ** 2, axis=1)))
    own = {**data, "membership": data["own"]}
    return p.tau * gradient_units(p.replace(function="log"), own) * (1 + 8 * logits)


VARIATIONAL = Law(
    id="tost/variational",
    source=Source(T24, "TSSA operator as an unrolled gradient step"),
    statement="""
    TSSA(Z) = -(tau/N) sum_k diag(pi_k) Z U_k D_k U_k^T is -tau times the gradient of the variational rate with the
    membership Pi(Z) held fixed at its value. It is not the gradient of R^var(Z, Pi(Z)): the derivative through the
    softmax is left out.
    """,
    params=Generic,
    situation=generic,
    predict=minus_gradient,
    measure=attention,
    claim=Equality(
        of="update", resolve=1e-4, scale=lambda p, data: float(np.abs(minus_gradient(p, data)).max()),
        rounding=update_units,
    ),
    controls={
        "gradient through the membership": but(predict=partial(minus_gradient, through=True)),
        "ascent": but(predict=partial(minus_gradient, tau=-1.0)),
    },
    examples=(Generic(), Generic(scale=5.0), Generic(orthonormal=False, inner=8, dim=8)),
    draws=MANY,
)  # fmt: skip
