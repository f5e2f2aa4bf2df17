"""One singular direction: where it can live, where it stops being worth it, and which start reaches it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab import streams
from lab.claims import Classification, Crossover, Equality
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Gt, Le, LogScale, Lt, Params, Traced
from lab.systems.mcr2 import theory

W24 = "arXiv:2406.01909"
DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"


class Collapse(Params):
    """Class 1 with `first` of `n` samples, the others sharing the rest evenly; gradient ascent from large features.

    Every class starts with `rank` equal singular values on mutually orthogonal random subspaces, above the upper
    branch, with a generic perturbation of relative size 1e-3, and climbs F for `steps` steps of length 1/alpha (or
    shorter, where that is not safe).
    """

    dim: Annotated[int, Ge(2), Le(128)] = 8
    n: Annotated[int, Ge(4), Le(2000)] = 30
    first: Annotated[int, Ge(1), Le(1000), Traced()] = 10
    classes: Annotated[int, Ge(2), Le(10)] = 2
    rank: Annotated[int, Ge(1), Le(16)] = 2
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    tau: Annotated[float, Gt(0.0), Lt(1.0)] = 0.2
    steps: Annotated[int, Ge(100), Le(20000)] = 1000

    @model_validator(mode="after")
    def _classes_fit(self) -> Self:
        rest = (self.n - self.first) // (self.classes - 1)
        if min(self.first, rest) < self.rank:
            raise ValueError(
                f"rank={self.rank} exceeds the smallest class, min(first={self.first}, others={rest}); lower rank or "
                "give the class more samples"
            )
        if self.classes * self.rank > self.dim:
            raise ValueError(f"classes*rank={self.classes * self.rank} exceeds dim={self.dim}; lower rank or raise dim")
        return self

    @property
    def x(self):
        """Fraction of class 1."""
        return self.first / self.n


@measurement(runs="jax")
def collapse(p: Collapse, stream, *, amplitude: float = 1.0, weight: float = 1.0, power: float = 2.0):
    """Largest reduced singular value of class 1 after ascent, whether it survived, and what it is worth.

    ``lambda = weight * tau * dim / (n eps**power)``: the defaults are the law's; others are the classic mistakes
    (no 1/2 in the regulariser, eps where eps**2 belongs). `amplitude` scales the start.
    """
    import jax
    import jax.numpy as jnp

    from lab.systems.mcr2.dynamics import default_step

    alpha = p.dim / (p.n * p.eps**2)
    lam = weight * p.tau * p.dim / (p.n * p.eps**power)
    index = jnp.arange(p.n)
    other = 1 + (index - p.first) * (p.classes - 1) // (p.n - p.first)
    member = jax.nn.one_hot(jnp.where(index < p.first, 0, other), p.classes, dtype=float)

    # orthonormal directions: left ones live on the rows of their class, right ones are mutually orthogonal
    noise = streams.normal(stream.jax("left"), (p.classes, p.n, p.rank))
    left = jnp.linalg.qr(member.T[:, :, None] * noise)[0]
    right = jnp.linalg.qr(streams.normal(stream.jax("right"), (p.dim, p.dim)))[0][: p.classes * p.rank]
    size = member.sum(0) / p.n
    start = jnp.sqrt((1 - size) / (p.tau * alpha))  # u_plus < (1-x)/tau: above the upper branch, wherever that is
    Z = jnp.sum(start[:, None, None] * (left @ right.reshape(p.classes, p.rank, p.dim)), axis=0)
    shake = streams.normal(stream.jax("shake"), Z.shape) * jnp.linalg.norm(Z) / jnp.sqrt(Z.size)
    Z = amplitude * (Z + 1e-3 * shake)

    step = default_step(alpha, lam)
    Z = jax.lax.fori_loop(
        0, p.steps,
        lambda _, V: V + step * coding_rate.regularised_rate_reduction_gradient(V, member, eps=p.eps, lam=lam), Z,
    )  # fmt: skip
    own = member[:, :1] * Z
    u = alpha * jnp.linalg.eigvalsh(own.T @ own)
    value = partial(coding_rate.regularised_rate_reduction, classes=member, eps=p.eps, lam=lam)
    return {"u": u[-1], "survives": u[-1] > jnp.sqrt(p.x) * jnp.exp(-3.0), "worth": value(Z) - value(Z - own)}


def tau_axis(p: Collapse) -> np.ndarray:
    """0.755 to 1.105 times the spinodal in steps of 1 %: both transitions of every class fraction lie inside, and the
    spinodal midway between two values (on a value, the last bit would decide the bracket)."""
    return theory.spinodal(p.x) * np.linspace(0.755, 1.105, 36)


def finite_time(p: Collapse) -> tuple[float, float]:
    """passage through the saddle-node ghost takes T = steps/alpha: collapse is seen late by
    (pi/2)^2 (1+r)^3/(r(r-1) steps^2), r = x^(-1/2), plus its next order .7 sqrt(shift/tau_c)"""
    return 0.0, theory.finite_time_shift(p.x, p.steps)


def predicted_spinodal(p: Collapse):
    return theory.spinodal(p.x)


def predicted_maxwell(p: Collapse):
    return theory.maxwell(p.x)


EXAMPLES = (
    *(Collapse(n=30, first=first) for first in (15, 10, 3)),
    Collapse(n=100, first=1, rank=1, dim=4),
)

SPINODAL = Law(
    id="mcr2/spinodal",
    source=Source(W24, "Theorem 1, right end of the interval for lambda; the nature of the transition derived here"),
    statement="""
    Nonzero critical points of class k (orthogonal classes, class fraction x = N_k/N) exist iff

        lambda <= lambda_c(x) = alpha (1 - sqrt x)/(1 + sqrt x),    alpha = d/(N eps^2).

    At lambda_c the two branches u_+ and u_- merge at u = alpha sigma^2 = sqrt x, a saddle-node: above it a class that
    was learned collapses to zero, discontinuously. It is not the point where collapse becomes optimal (mcr2/maxwell).
    Reduced variables: tau = lambda/alpha, u = alpha sigma^2. F = Delta R - (lambda/2)||Z||^2, samples in rows.
    """,
    params=Collapse,
    predict=predicted_spinodal,
    measure=collapse,
    claim=Crossover(
        of="survives", along="tau", level=0.5, falling=True, sharp=True, over="each", axis=tau_axis, shift=finite_time
    ),
    curve=lambda p: theory.u_plus(p.x, p.tau, where=theory.nonzero_branch_exists(p.x, p.tau)),
    controls={
        "start near zero": but(measure=partial(collapse, amplitude=1e-3)),
        "regulariser without 1/2": but(measure=partial(collapse, weight=2.0)),
        "eps for eps^2": but(measure=partial(collapse, power=1.0)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)


def printed_interval(p: Collapse):
    """Right end of the published interval in units of alpha: the spinodal of the largest class."""
    rest = -(-(p.n - p.first) // (p.classes - 1))
    return theory.spinodal(max(p.first, rest) / p.n)


SPINODAL_PRINTED = SPINODAL.printed(
    "mcr2/spinodal-printed",
    source=Source(W24, "Theorem 1, interval for lambda"),
    statement="""
    Printed: critical points are classified for 0 < lambda <= lambda_max = alpha min_k (1 - sqrt x_k)/(1 + sqrt x_k), an
    interval that belongs to the largest class. Read as the range in which nonzero critical points exist, it is false:
    each class has its own lambda_c(x_k), and a small class lives far beyond lambda_max. The interval is not needed; the
    classification holds for every lambda outside a finite set (mcr2/strict-saddle, mcr2/global-maximum).
    """,
    predict=printed_interval,
    at=(Collapse(n=30, first=3), Collapse(n=32, first=8, classes=3)),
)

MAXWELL = Law(
    id="mcr2/maxwell",
    source=Source(DERIVED),
    statement="""
    What a class is worth on its upper branch, h(u_+; x, tau), is positive iff lambda < lambda_*(x) = alpha tau_*(x):
    with f(u) = log(1+u) - x log(1+u/x), u_t is the only root above sqrt x of f(u) = u f'(u), and tau_* = f'(u_t).

    tau_* < tau_c always: in between the class is a local, not a global maximum, and ascent does not notice. Measured
    is F(Z) - F(Z without class 1) on the surviving branch, which changes sign at tau_*.
    """,
    params=Collapse,
    predict=predicted_maxwell,
    measure=collapse,
    claim=Crossover(of="worth", along="tau", level=0.0, falling=True, over="each", axis=tau_axis),
    controls={
        "regulariser without 1/2": but(measure=partial(collapse, weight=2.0)),
        "the spinodal in its place": but(predict=predicted_spinodal),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)


# ---------------------------------------------------------------------- exact statements about the two branches


class Branches(Params):
    """Orthogonal classes; class 1 (fraction x = `first`/`n`) on one of its branches, the rest on theirs."""

    dim: Annotated[int, Ge(2), Le(12)] = 6
    first: Annotated[int, Ge(1), Le(40)] = 10
    rest: Annotated[int, Ge(1), Le(40)] = 20
    rank: Annotated[int, Ge(1), Le(4)] = 2
    eps: Annotated[float, Ge(0.05), Le(5.0), LogScale()] = 0.5
    tau_fraction: Annotated[float, Ge(1e-3), Le(0.999)] = 0.5

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rank > min(self.first, self.dim - 1):
            raise ValueError(
                f"rank={self.rank} exceeds min(first, dim-1)={min(self.first, self.dim - 1)}; lower rank or raise both"
            )
        return self

    @property
    def x(self) -> float:
        return self.first / (self.first + self.rest)

    @property
    def tau(self) -> float:
        return self.tau_fraction * float(theory.spinodal(self.x))


def _frames(p: Branches, rng: np.random.Generator):
    """Left vectors of class 1 on its rows, its right vectors, and one direction of class 2 orthogonal to them."""
    left = np.linalg.qr(rng.standard_normal((p.first, p.rank)))[0]
    right = np.linalg.qr(rng.standard_normal((p.dim, p.dim)))[0].T
    other = rng.standard_normal((p.rest, 1))
    return left, right[: p.rank], other / np.linalg.norm(other) @ right[p.rank : p.rank + 1]


@measurement
def stationary_scales(p: Branches, stream, *, weight: float = 1.0, prefactor: float = 1.0):
    """Where the gradient of F along class 1 vanishes as its singular values grow together, found by scanning.

    Uses the objective on the whole (n, dim) matrix only: a scan in log u for sign changes of <grad F, Z_1>, then
    bisection. `weight` multiplies lambda, `prefactor` the distortion inside the gradient (both 1 in the law).
    """
    left, right, other = _frames(p, stream.numpy("frames"))
    n = p.first + p.rest
    alpha = p.dim / (n * p.eps**2)
    lam = weight * p.tau * alpha
    sizes = (p.first, p.rest)
    direction = np.concatenate([left @ right, np.zeros((p.rest, p.dim))]) / np.sqrt(alpha)
    background = np.concatenate([np.zeros((p.first, p.dim)), 0.7 * other]) / np.sqrt(alpha)

    def pull(u):
        Z = np.sqrt(u)[:, None, None] * direction + background
        gradient = coding_rate.regularised_rate_reduction_gradient(Z, sizes, eps=p.eps * prefactor, lam=lam)
        return np.sum(gradient * direction, axis=(-2, -1)) / np.sqrt(u)

    low, high = 1e-3 * p.tau * p.x, 10 / p.tau
    grid = np.geomspace(low, high, 400)
    values = pull(grid)
    turns = np.flatnonzero(np.sign(values[:-1]) != np.sign(values[1:]))
    if turns.size != 2:
        return {"u": np.full(2, np.nan)}
    a, b = grid[turns], grid[turns + 1]
    sign = np.sign(values[turns])
    for _ in range(60):
        middle = np.sqrt(a * b)
        left_half = np.sign(pull(middle)) == sign
        a, b = np.where(left_half, middle, a), np.where(left_half, b, middle)
    return {"u": np.sqrt(a * b)}


def predicted_branches(p: Branches):
    return np.array([theory.u_minus(p.x, p.tau), theory.u_plus(p.x, p.tau)])


def root_rounding(p: Branches):
    """a zero of the slope g moves by its rounding over |g'|: terms 1/(1+u), 1/(1+u/x), tau, each with the rounding
    of a Cholesky factor of size dim (condition 1+u/x), over 2|h''|"""
    u = predicted_branches(p)
    terms = 1 / (1 + u) + 1 / (1 + u / p.x) + p.tau
    condition = p.dim * (1 + u / p.x)
    return 4 * condition * terms / np.abs(2 * theory.direction_curvature(u, p.x)) + 64 * u


CRITICAL_SINGULAR_VALUES = Law(
    id="mcr2/critical-singular-values",
    source=Source(W24, "Theorem 1, critical singular values; stable form derived here"),
    statement="""
    For mutually orthogonal classes, Z is critical iff every nonzero squared singular value of Z_k is u/alpha with

        tau u^2/x - eta u + tau = 0,   eta = (1/x - 1) - tau (1/x + 1),   x = N_k/N, tau = lambda/alpha.

    Roots u_- < sqrt x < u_+, u_+ u_- = x; u_+ ~ (1-x)/tau and u_- ~ tau x/(1-x) as tau -> 0.
    """,
    params=Branches,
    predict=predicted_branches,
    measure=stationary_scales,
    claim=Equality(of="u", rounding=root_rounding),
    controls={
        "regulariser without 1/2": but(measure=partial(stationary_scales, weight=2.0)),
        "eps off by a tenth": but(measure=partial(stationary_scales, prefactor=1.1)),
    },
    examples=(Branches(), Branches(first=1, rest=20, rank=1, tau_fraction=0.9), Branches(eps=5.0, tau_fraction=0.999)),
    draws=Draws(shapes=8, values=8),
)


class Separatrix(Params):
    """A direction of class 1 that starts at ``u_- (1 +- offset)``, orthogonal classes, ascent of F."""

    dim: Annotated[int, Ge(2), Le(8)] = 4
    n: Annotated[int, Ge(8), Le(24)] = 12
    first: Annotated[int, Ge(1), Le(16), Traced()] = 4
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    tau_fraction: Annotated[float, Ge(0.2), Le(0.85)] = 0.5
    offset: Annotated[float, Ge(1e-3), Le(0.5), LogScale()] = 1e-3
    above: Annotated[int, Ge(0), Le(1), Traced()] = 1

    @model_validator(mode="after")
    def _fraction(self) -> Self:
        if not 0.05 <= self.first / self.n <= 0.7:
            raise ValueError(f"first/n={self.first / self.n:.3g} must lie in [.05, .7]; change first or n")
        return self

    @property
    def x(self):
        return self.first / self.n


@measurement(runs="jax")
def survives(p: Separatrix, stream, *, overlap: float = 0.0, steps: int = 1500):
    """Whether one singular direction of class 1 survives ascent beside a class 2 on its upper branch.

    `overlap` tilts class 2 towards class 1 (0 in the law: the classes are orthogonal).
    """
    import jax
    import jax.numpy as jnp

    from lab.systems.mcr2.dynamics import default_step

    x = p.x
    # the two roots in unreduced JAX arithmetic: the start must be placed inside the program
    critical = (1 - jnp.sqrt(x)) / (1 + jnp.sqrt(x))
    tau = p.tau_fraction * critical
    eta = (1 / x - 1) - tau * (1 / x + 1)
    low = x / ((eta + jnp.sqrt(eta**2 - 4 * tau**2 / x)) * x / (2 * tau))
    sign = 2 * p.above - 1
    alpha = p.dim / (p.n * p.eps**2)
    lam = tau * alpha
    member = jnp.stack([jnp.arange(p.n) < p.first, jnp.arange(p.n) >= p.first], axis=1).astype(float)
    right = jnp.linalg.qr(streams.normal(stream.jax("right"), (p.dim, 2)))[0]
    left = member * streams.normal(stream.jax("left"), (p.n, 2))
    left = left / jnp.linalg.norm(left, axis=0)
    tilted = jnp.stack([right[:, 0], jnp.sqrt(1 - overlap**2) * right[:, 1] + overlap * right[:, 0]], axis=1)
    start = jnp.sqrt(jnp.stack([low * (1 + sign * p.offset), 1.0]) / alpha)
    Z = (left * start) @ tilted.T
    step = default_step(alpha, lam)
    Z = jax.lax.fori_loop(
        0, steps,
        lambda _, V: V + step * coding_rate.regularised_rate_reduction_gradient(V, member, eps=p.eps, lam=lam), Z,
    )  # fmt: skip
    u = alpha * jnp.sum((member[:, :1] * Z) ** 2)
    return {"survives": u > jnp.sqrt(x), "u": u}


def predicted_survival(p: Separatrix) -> bool:
    tau = p.tau_fraction * theory.spinodal(p.x)
    return bool(theory.direction_survives(theory.u_minus(p.x, tau) * (1 + signed_offset(p)), p.x, tau))


def signed_offset(p: Separatrix) -> float:
    return p.offset if p.above else -p.offset


BASIN_SEPARATRIX = Law(
    id="mcr2/basin-separatrix",
    source=Source(DERIVED),
    statement="""
    From mutually orthogonal classes gradient flow of F decouples into u' = 4 alpha u h'(u; x, tau) for each singular
    direction, and a direction survives iff u(0) > u_-(x, tau); it then tends to u_+. Z = 0 is a strict local maximum
    for every lambda > 0 (its Hessian is -lambda I; see mcr2/hessian-spectrum with all ranks 0).
    """,
    params=Separatrix,
    predict=predicted_survival,
    measure=survives,
    claim=Classification(of="survives", distance=signed_offset, resolve=0.01),
    controls={
        "overlapping classes": but(measure=partial(survives, overlap=0.8)),
        "the upper branch as boundary": but(predict=lambda p: False),
    },
    examples=(Separatrix(), Separatrix(above=0)),
    draws=Draws(shapes=2, values=12),
)
