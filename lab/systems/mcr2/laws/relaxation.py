"""How fast ascent of F returns to a local maximum, and how that slows down towards the spinodal."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality, Limit, Rate
from lab.data.subspaces import orthogonal_critical_point
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mcr2 import dynamics, theory
from lab.systems.mcr2.laws.critical_points import bisected_roots
from lab.systems.mcr2.laws.flow import EXAMPLES, NearSpinodal, decades, frames, on_host

DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"
PAIR = 1e-3  # distance of a pair of starts, in units of the branches' distance
AMPLITUDE = 1e-6  # of the push away from a maximum, in units of 1/sqrt(alpha)

# ---------------------------------------------------------------- relaxation to a local maximum

Rank = Annotated[int, Ge(0), Le(2)]
Spare = Annotated[int, Ge(0), Le(3)]


class LocalMaximum(Params):
    """Two mutually orthogonal classes with `ranks` directions on the upper branch.

    Class k has `spare` samples beyond its rank, the features `free` dimensions beyond the total rank. The penalty is
    `tau_fraction` of the smallest spinodal among classes with rank, the step `step_fraction` of 1/L.
    """

    ranks: tuple[Rank, Rank] = (2, 1)
    spare: tuple[Spare, Spare] = (1, 3)
    free: Annotated[int, Ge(0), Le(2)] = 1
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    tau_fraction: Annotated[float, Ge(0.1), Le(0.99)] = 0.5
    step_fraction: Annotated[float, Ge(0.1), Le(1.0)] = 0.5

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if min(self.sizes) < 1 or self.dim < 1:
            raise ValueError(
                f"class sizes {self.sizes}, dim={self.dim}: every class needs a sample and the features a dimension; "
                "raise spare or free"
            )
        return self

    @property
    def sizes(self) -> tuple[int, int]:
        return self.ranks[0] + self.spare[0], self.ranks[1] + self.spare[1]

    @property
    def dim(self) -> int:
        return sum(self.ranks) + self.free

    @property
    def alpha(self) -> float:
        return self.dim / (sum(self.sizes) * self.eps**2)

    @property
    def x(self) -> np.ndarray:
        return np.array(self.sizes) / sum(self.sizes)

    @property
    def tau(self) -> float:
        ranked = self.x[np.array(self.ranks) > 0] if any(self.ranks) else self.x
        return self.tau_fraction * float(np.min(theory.spinodal(ranked)))

    @property
    def step(self) -> float:
        """Of ascent, in units of 1/alpha: a fraction of alpha/L = 1/(9/8 + tau)."""
        return self.step_fraction / (1.125 + self.tau)


@measurement
def local_rate(p: LocalMaximum, stream, *, swap: bool = False, stretch: float = 1.0, shake: float = 0.0):
    """(1 - contraction of ||grad F|| per step)/(step alpha) while ascent returns from a push along a slow direction.

    The push is a random combination of the Hessian's eigenvectors of smallest nonzero ``|eigenvalue|``; the
    contraction is averaged until the norm has fallen (or grown) tenfold. `swap` starts from the lower branch (a
    saddle), `stretch` lengthens the step, `shake` moves the base point off the maximum by this relative size.
    """
    rng, lam = stream.numpy("point"), p.tau * p.alpha
    ranks = [(0, r) if swap else (r, 0) for r in p.ranks]
    Z = orthogonal_critical_point(
        rng, d=p.dim, class_sizes=p.sizes, ranks=ranks, eps=p.eps, lam=lam, roots=bisected_roots
    )  # fmt: skip
    noise = rng.standard_normal(Z.shape)
    Z = Z + shake * (1 + np.linalg.norm(Z)) / np.linalg.norm(noise) * noise
    values, vectors = dynamics.symmetric_eigen(dynamics.hessian(Z, p.sizes, eps=p.eps, lam=lam))
    size = np.abs(values) / p.alpha
    slow = size <= size[size > 1e-8].min() * (1 + 1e-6)
    push = vectors[:, slow & (size > 1e-8)] @ rng.standard_normal(int(np.sum(slow & (size > 1e-8))))
    Z = Z + AMPLITUDE / np.sqrt(p.alpha) * (push / np.linalg.norm(push)).reshape(Z.shape)

    gradient = partial(coding_rate.regularised_rate_reduction_gradient, classes=p.sizes, eps=p.eps, lam=lam)
    ahead = gradient(Z)
    first = now = np.linalg.norm(ahead)
    steps = 0
    while 0.1 < now / first < 10 and steps < 20000:
        Z = Z + stretch * p.step / p.alpha * ahead
        ahead, steps = gradient(Z), steps + 1
        now = np.linalg.norm(ahead)
    return {"rate": (1 - (now / first) ** (1 / steps)) / p.step}


def predicted_local_rate(p: LocalMaximum) -> float:
    contraction = theory.ascent_contraction(p.sizes, p.dim, p.ranks, tau=p.tau, step=p.step)
    return (1 - contraction) / p.step


def _steps_down(p: LocalMaximum) -> tuple[float, float, int]:
    """(g, contraction, steps until the gradient has fallen tenfold)."""
    g = theory.linear_rate(p.sizes, p.dim, p.ranks, tau=p.tau)
    q = 1 - p.step * g
    return g, q, max(1, math.ceil(math.log(0.1) / math.log(max(q, 1e-9))))


def curvature_change(p: LocalMaximum) -> float:
    """third derivatives of log det(I + Y^T Y)/2 are at most 14 (3*2 + 2^3), of the class terms 14/sqrt(x): at distance
    a_t = a q^t the Hessian differs by 14 (1 + x^(-1/2)) a_t, summed over the steps 14 (1 + x^(-1/2)) a/(step g) in the
    logarithm of the norm, and as much again for the norm at both ends; over the number of steps"""
    g, q, steps = _steps_down(p)
    bend = 14 * (1 + float(np.min(p.x)) ** -0.5) * AMPLITUDE
    return (1 + q) * bend / (g * steps * p.step)


def gradient_units(p: LocalMaximum) -> float:
    """a gradient of size g a/10 carries the rounding m sqrt(k u) of products and inverses of size m = N + d, condition
    k = 1 + u_plus/x <= 1/(x tau); so does the base point, off by 64 sqrt(u)/sqrt(1 - tau/tau_c); over the steps"""
    g, q, steps = _steps_down(p)
    x = float(np.min(p.x))
    m, k = sum(p.sizes) + p.dim, 1 + 1 / (x * p.tau)
    absolute = (m * math.sqrt(k) + 64 / math.sqrt(1 - p.tau_fraction)) * math.sqrt(1 / p.tau)
    return q * absolute / (0.1 * g * AMPLITUDE) / (steps * p.step) + 10 / p.step


LOCAL_LINEAR_RATE = Law(
    id="mcr2/local-linear-rate",
    source=Source(DERIVED),
    statement="""
    Near a local maximum of F, ||grad F|| contracts per step of gradient ascent by 1 - eta g, where g is the smallest
    nonzero |eigenvalue| of the Hessian there (mcr2/hessian-spectrum; zero eigenvalues are tangent to the manifold of
    maxima). Holds for eta (L + g) <= 2, L = 9 alpha/8 + lambda; implied by eta <= 1/L. Measured after a push along
    eigenvectors of g. In units of alpha g is the least of tau (free dimensions and spare samples),
    (u+w)/((1+u)(1+w)) (two classes) and 2 tau^2 (u_+ - u_-)/(1-x), which wins close to a spinodal.
    """,
    params=LocalMaximum,
    predict=predicted_local_rate,
    measure=local_rate,
    claim=Equality(of="rate", finite_size=curvature_change, rounding=gradient_units, resolve=0.01),
    controls={
        "a saddle: the lower branch": but(measure=partial(local_rate, swap=True)),
        "a point 1e-3 away": but(measure=partial(local_rate, shake=1e-3)),
        "a step longer by a tenth": but(measure=partial(local_rate, stretch=1.1)),
        "the penalty as rate": but(predict=lambda p: p.tau),
    },
    examples=(
        LocalMaximum(),
        LocalMaximum(ranks=(2, 2), spare=(1, 2), free=0),
        LocalMaximum(ranks=(2, 0), spare=(1, 3), tau_fraction=0.99, step_fraction=1.0),
        LocalMaximum(ranks=(0, 0), spare=(2, 3)),
    ),
    draws=Draws(shapes=6, values=3),
)

# ---------------------------------------------------------------- below the spinodal


def gap_and_rates(own, other, member, eps, lam, stretch):
    """Levels of the two branches in log u, and factors per unit of step by which pairs around them approach and part.

    The branches are where the gradient of F along class 1 changes sign as its singular values grow together (golden
    section for the largest value, bisection on both sides). The rates are those of gradient ascent from pairs of starts
    on both sides of a branch, until their distance has halved or doubled. All in units of 1/alpha.
    """
    import jax
    import jax.numpy as jnp

    alpha = own.shape[1] / (own.shape[0] * eps**2)
    step = dynamics.default_step(alpha, lam) * alpha

    def velocity(Z):
        return coding_rate.regularised_rate_reduction_gradient(Z, member, eps=eps, lam=lam) / alpha

    def at(level):
        return (jnp.exp(level / 2)[..., None, None] * own + other) / jnp.sqrt(alpha)

    def pull(level):
        return jnp.sum(own * velocity(at(level)), axis=(-2, -1)) * jnp.exp(-level / 2)

    golden = (np.sqrt(5) - 1) / 2

    def shrink(_, ends):
        low, high = ends
        inner = jnp.stack([high - golden * (high - low), low + golden * (high - low)])
        left, right = pull(inner)
        return jnp.where(left > right, low, inner[0]), jnp.where(left > right, inner[1], high)

    low, high = jax.lax.fori_loop(0, 40, shrink, (jnp.array(-9.0), jnp.array(6.0)))

    def halve(_, ends):
        inside, outside = ends
        middle = (inside + outside) / 2
        held = pull(middle) > 0
        return jnp.where(held, middle, inside), jnp.where(held, outside, middle)

    inside, outside = jnp.full(2, (low + high) / 2), jnp.array([6.0, -9.0])
    levels = jnp.mean(jnp.stack(jax.lax.fori_loop(0, 56, halve, (inside, outside))), axis=0)

    offset = PAIR / 2 * (levels[0] - levels[1])
    Z = at(jnp.stack([levels + offset, levels - offset]))  # (pair, branch, n, dim)

    def distance(Z):
        return jnp.sqrt(jnp.sum((Z[0] - Z[1]) ** 2, axis=(-2, -1)))

    first = distance(Z)

    def running(state):
        ratio = distance(state[0]) / first
        return (ratio > 0.5) & (ratio < 2)

    def climb(state):
        Z, steps = state
        go = running(state)
        return jnp.where(go[:, None, None], Z + stretch * step * velocity(Z), Z), steps + go

    Z, steps = jax.lax.while_loop(
        lambda state: jnp.any(running(state)) & (jnp.max(state[1]) < 100_000), climb, (Z, jnp.zeros(2, dtype=int))
    )  # fmt: skip
    return levels, ((distance(Z) / first) ** (1 / steps) - 1) / step


@measurement
def branches(p: NearSpinodal, stream, *, weight: float = 1.0, stretch: float = 1.0):
    """Gap of the branches below the spinodal, and rates of return and of escape there in units of alpha.

    `weight` multiplies lambda, `stretch` the step that is taken but not the one it is counted as.
    """
    own, other, member = frames(p, stream, 0.0)
    root = np.sqrt(p.x)
    lam = weight * (1 - root) / (1 + root) * (1 - 1 / p.closeness) * p.dim / (p.n * p.eps**2)
    levels, rates = on_host(gap_and_rates, own, other, member, p.eps, lam, stretch)
    gap = np.exp(levels[0]) - np.exp(levels[1])
    return {"gap": gap, "rates": rates * np.array([-1, 1]), "scaling": np.array([gap, -rates[0]])}


def pair_size(p: NearSpinodal) -> np.ndarray:
    """a pair e apart around a branch feels the mean rate of a quadratic speed, off by (e/gap)^2 relative to the rate,
    and by the cubic term, e^2, gap and e in log u"""
    return PAIR**2 * (1 + gap_in_log(p) ** 2) * predicted_rates(p)


def pair_units(p: NearSpinodal) -> np.ndarray:
    """each of about 1/rate steps rounds features of size sqrt(u) at condition 1 + u/x; relative to their distance, e/2
    sqrt(u)"""
    u = np.sqrt(p.x) * np.exp(np.array([0.5, -0.5]) * gap_in_log(p))
    return 8 * p.dim * (1 + u / p.x) / (PAIR * gap_in_log(p))


def gap_in_log(p: NearSpinodal) -> float:
    return 2 * math.asinh(theory.branch_gap(p.x, theory.spinodal(p.x) - p.distance) / (2 * math.sqrt(p.x)))


def predicted_rates(p: NearSpinodal) -> np.ndarray:
    return np.full(2, theory.relaxation_rate(p.x, theory.spinodal(p.x) - p.distance))


def leading_scaling(p: NearSpinodal) -> np.ndarray:
    node = theory.saddle_node(p.x)
    return np.array([math.sqrt(p.x) * node.gap(p.distance), node.relaxation_rate(p.distance)])


RELAXATION_RATE = Law(
    id="mcr2/relaxation-rate",
    source=Source(DERIVED),
    statement="""
    Below the spinodal a singular value of a class of fraction x returns to the upper branch, and leaves the lower one,
    at one and the same linear rate, which the gap of the branches fixes:

        gamma = -4 alpha u_+ h''(u_+) = 4 alpha u_- h''(u_-) = 2 alpha tau^2 (u_+ - u_-)/(1 - x).

    (In s = log(u/sqrt x) the flow s' = 2 alpha [g(s) - tau] has an even g.) Measured on gradient ascent of F.
    """,
    params=NearSpinodal,
    predict=predicted_rates,
    measure=branches,
    claim=Equality(of="rates", finite_size=pair_size, rounding=pair_units, resolve=1e-3),
    controls={
        "regulariser 1 % lighter": but(measure=partial(branches, weight=0.99)),
        "a step longer by a tenth": but(measure=partial(branches, stretch=1.1)),
        "the penalty as rate": but(predict=lambda p: np.full(2, theory.spinodal(p.x) - p.distance)),
    },
    examples=tuple(p.replace(closeness=c) for p in EXAMPLES for c in (2.0, 10.0, 100.0, 1e5)),
    draws=Draws(shapes=0),
)

BRANCH_GAP = Law(
    id="mcr2/branch-gap",
    source=Source(DERIVED),
    statement="""
    As tau -> tau_c from below the branches meet like a square root, and relaxation slows down with their distance:

        u_+ - u_-  ~  2 sqrt x kappa |delta|^(1/2),   gamma  ~  (4 alpha/kappa) |delta|^(1/2),   delta = tau - tau_c,
        kappa^2 = (1 + r)^3/(r (1 - r)),   r = sqrt x,   with relative corrections O(delta).
    """,
    params=NearSpinodal,
    predict=leading_scaling,
    measure=branches,
    claim=Limit(of="scaling", along="closeness", order=1.0, axis=decades(10, 1e5, 13), resolve=0.01),
    controls={
        "regulariser 1 % lighter": but(measure=partial(branches, weight=0.99)),
        "gap of log u": but(predict=lambda p: leading_scaling(p) / np.array([math.sqrt(p.x), 1])),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)

BRANCH_GAP_EXPONENT = Law(
    id="mcr2/branch-gap-exponent",
    source=Source(DERIVED),
    statement="""
    The gap of the branches and the relaxation rate on them vanish like (tau_c - tau)^(1/2), with relative corrections
    of order tau_c - tau. Measured along closeness = tau_c/(tau_c - tau), of which they are the power -1/2.
    """,
    params=NearSpinodal,
    predict=lambda p: np.full(2, -0.5),
    measure=branches,
    claim=Rate(of="scaling", along="closeness", order=1.0, axis=decades(10, 1e5, 13), resolve=0.02),
    controls={
        "regulariser 1 % lighter": but(measure=partial(branches, weight=0.99)),
        "branches that cross": but(predict=lambda p: np.full(2, -1.0)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)
