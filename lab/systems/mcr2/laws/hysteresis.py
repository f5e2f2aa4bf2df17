"""The regulariser sweeps up and down: where a class is lost, that it stays lost, and which kick brings it back."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Crossover, Equality, Limit
from lab.data.subspaces import haar, orthogonal_blocks
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mcr2 import dynamics, theory
from lab.systems.mcr2.laws.flow import TwoClasses, frames, on_host, time_to_leave

DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"
TOP = 1.1  # end of the sweep, in units of the spinodal


class Sweep(Params):
    """Class 1 with `first` of `n` samples while tau rises from `low` to 1.1 times its spinodal and falls again.

    The `classes` - 1 others share the rest. All start with `rank` equal singular values above their upper branches, on
    orthogonal subspaces, with a generic perturbation of relative size 1e-3. Each of the `points` values of tau is held
    for `dwell` steps of ascent, always from where the last one ended. Beside the way down every point is also tried
    with a kick: a Gaussian matrix for class 1, orthogonal to the other classes, of largest reduced squared singular
    value `kick` times sqrt(x), followed by `dwell` steps.
    """

    dim: Annotated[int, Ge(2), Le(16)] = 7
    n: Annotated[int, Ge(4), Le(200)] = 32
    first: Annotated[int, Ge(1), Le(140)] = 16
    classes: Annotated[int, Ge(2), Le(10)] = 3
    rank: Annotated[int, Ge(1), Le(4)] = 2
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    low: Annotated[float, Ge(0.1), Le(0.9)] = 0.25
    points: Annotated[int, Ge(20), Le(120)] = 48
    dwell: Annotated[int, Ge(100), Le(1000)] = 200
    kick: Annotated[float, Ge(0.01), Le(10.0), LogScale()] = 0.2

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
        if not 0.01 <= self.first / self.n <= 0.7:
            raise ValueError(f"first/n={self.first / self.n:.3g} must lie in [.01, .7]; change first or n")
        return self

    @property
    def x(self):
        """Fraction of class 1."""
        return self.first / self.n

    @property
    def sizes(self) -> tuple[int, ...]:
        """Class sizes: `first`, and the rest shared evenly, larger ones first."""
        rest, others = self.n - self.first, self.classes - 1
        return self.first, *(rest // others + (k < rest % others) for k in range(others))

    @property
    def width(self) -> float:
        """Grid step of the sweep, in units of the spinodal; the spinodal is midway between two values."""
        return (1 - self.low) / (round((1 - self.low) / (TOP - self.low) * self.points) - 0.5)

    @property
    def shares(self) -> np.ndarray:
        """Values of tau, in units of the spinodal."""
        return self.low + self.width * np.arange(self.points)


def sweep_up_and_down(Z, member, eps, taus, dwell, warm, push, size, aim):
    """Largest reduced squared singular value of class 1: held at each tau on the way up, on the way down, and beside it
    after a kick. That is `push`, without its components along the other classes (with `aim` = 1 only these, with 1/2
    all), scaled to `size`.
    """
    import jax
    import jax.numpy as jnp

    mine = member[:, :1]
    alpha = Z.shape[1] / (Z.shape[0] * eps**2)

    def ascend(Z, tau):
        lam = tau * alpha
        step = dynamics.default_step(alpha, lam)
        return jax.lax.fori_loop(
            0, dwell,
            lambda _, V: V + step * coding_rate.regularised_rate_reduction_gradient(V, member, eps=eps, lam=lam), Z,
        )  # fmt: skip

    def largest(Z):
        return alpha * jnp.linalg.eigvalsh((mine * Z).mT @ (mine * Z))[..., -1]

    def kicked(Z):
        values, vectors = jnp.linalg.eigh(((1 - mine) * Z).T @ ((1 - mine) * Z))
        kept = jnp.abs((alpha * values < 1e-8) - aim)  # free directions; with aim = 1 the others
        kick = mine * (push @ (vectors * kept) @ vectors.T)
        return Z + kick * jnp.sqrt(size / jnp.maximum(largest(kick), 1e-300))

    def hold(Z, point):
        tau, scale, kick = point
        starts = jnp.stack([scale * Z, jnp.where(kick, kicked(Z), Z)])
        quiet, noisy = ascend(starts, tau)
        return quiet, jnp.stack([largest(quiet), largest(noisy)])

    count = taus.shape[0]
    way = jnp.concatenate([taus, taus[::-1]]), jnp.where(jnp.arange(2 * count) < count, warm, 1.0)
    seen = jax.lax.scan(hold, Z, (*way, jnp.arange(2 * count) >= count))[1]
    return seen[:count, 0], seen[count:, 0][::-1], seen[count:, 1][::-1]


@measurement
def sweep(p: Sweep, stream, *, weight: float = 1.0, aim: float = 0.0, warm: float = 1.0):
    """Largest reduced squared singular value of class 1 along the sweep up, the sweep down, and after the kicks.

    `weight` multiplies lambda; `aim` = 1 kicks into the span of the other classes instead of out of it, 1/2 in all
    directions; `warm` < 1 scales the features down before each point of the way up.
    """
    rng, alpha, root = stream.numpy("sweep"), p.dim / (p.n * p.eps**2), np.sqrt(p.x)
    taus = (1 - root) / (1 + root) * p.shares
    sizes = p.sizes
    spans = [haar(rng, n, p.rank) for n in sizes]
    start = [np.full(p.rank, np.sqrt((1 - n / p.n) / (taus[0] * alpha))) for n in sizes]  # u_plus < (1-x)/tau
    Z = orthogonal_blocks(haar(rng, p.dim), spans, start)
    Z = Z + 1e-3 * rng.standard_normal(Z.shape) * np.linalg.norm(Z) / np.sqrt(Z.size)
    member, push = np.eye(p.classes)[np.repeat(np.arange(p.classes), sizes)], rng.standard_normal(Z.shape)
    size = p.kick * root
    up, down, kicked = on_host(sweep_up_and_down, Z, member, p.eps, weight * taus, p.dwell, warm, push, size, aim)
    loop = up - down
    return {
        "tau": taus, "up": up, "down": down, "kicked": kicked,
        "alive": up > root * np.exp(-3.0), "returns": kicked > min(size, root),
        "area": np.sum(loop[1:] + loop[:-1]) / 2 * (taus[1] - taus[0]),
    }  # fmt: skip


def lag(p: Sweep) -> float:
    """Finite-time shift of a held point: passage through the ghost takes the whole dwell."""
    return float(theory.finite_time_shift(p.x, p.dwell))


def late_loss(p: Sweep) -> tuple[float, float]:
    """passage through the saddle-node ghost takes T = dwell/alpha: the loss is seen late by at most
    (pi/2)^2 (1+r)^3/(r(r-1) dwell^2), r = x^(-1/2), plus its next order (time spent at smaller tau only helps)"""
    return 0.0, lag(p)


def late_return(p: Sweep) -> tuple[float, float]:
    """a kick below the merge point grows or shrinks from its first step on; one above it must fall back past the merge
    point within the dwell, half a passage of the ghost"""
    return (0.0, lag(p)) if p.kick >= 1 else (0.0, 0.0)


def trapezoid(p: Sweep) -> float:
    """the loop's height falls monotonically from u_plus(low) to 0, so that the trapezoidal rule is off by at most half
    a grid step of u_plus(low); the late loss adds at most sqrt(x) over its shift; the first point is reached from
    (1-x)/tau up to exp(-gamma dwell)"""
    low = theory.spinodal(p.x) * p.shares[0]
    top = theory.u_plus(p.x, low)
    step = theory.spinodal(p.x) * p.width
    behind = ((1 - p.x) / low - top) * math.exp(-float(theory.relaxation_rate(p.x, low)) * p.dwell)
    return float(0.5 * step * (top + behind) + math.sqrt(p.x) * lag(p))


def area_to_maxwell(p: Sweep) -> float:
    """The loop if the class were lost at the Maxwell point, where its value is 0."""
    low = theory.spinodal(p.x) * p.shares[0]
    return 2 * theory.branch_value(p.x, low)


def returning_area(p: Sweep) -> float:
    """The loop if the class came back at the Maxwell point: only the part beyond it."""
    return theory.loop_area(p.x, theory.maxwell(p.x))


def threshold_at_the_upper_branch(p: Sweep) -> float:
    """Where u_plus(x, tau) = kick: what a threshold sqrt(u_plus/alpha) would say (never, below the merge point)."""
    v = p.kick * math.sqrt(p.x)
    return float(v / (1 + v) * (1 - p.x) / (p.x + v)) if p.kick > 1 else 0.0


EXAMPLES = tuple(Sweep(first=first, kick=kick) for first, kick in ((3, 3.0), (8, 0.5), (16, 0.2), (22, 0.7)))

HYSTERESIS = Law(
    id="mcr2/hysteresis",
    source=Source(DERIVED),
    statement="""
    While lambda grows slowly, features that always continue from where they were follow the upper branch of a class,
    and lose the class at the spinodal lambda_c(x) = alpha (1 - sqrt x)/(1 + sqrt x): not at the Maxwell point, where
    losing it becomes optimal. On the way back they stay at 0 (mcr2/loop-area), a local maximum for every lambda > 0.
    """,
    params=Sweep,
    predict=lambda p: theory.spinodal(p.x),
    measure=sweep,
    claim=Crossover(of="alive", along="tau", level=0.5, falling=True, sharp=True, over="each", shift=late_loss),
    controls={
        "lost where losing is optimal": but(predict=lambda p: theory.maxwell(p.x)),
        "regulariser without 1/2": but(measure=partial(sweep, weight=2.0)),
        "starts from small features": but(measure=partial(sweep, warm=0.05)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)

LOOP_AREA = Law(
    id="mcr2/loop-area",
    source=Source(DERIVED),
    statement="""
    Going up in tau and down again without a kick, u = alpha sigma^2 of a class follows u_+ to the spinodal and never
    returns: the loop encloses twice what a direction loses in value on its branch,

        int (u_up - u_down) dtau = int_low^tau_c u_+ dtau = 2 [h(u_+(low); x, low) - h(sqrt x; x, tau_c)].
    """,
    params=Sweep,
    predict=lambda p: theory.loop_area(p.x, theory.spinodal(p.x) * p.shares[0]),
    measure=sweep,
    claim=Equality(of="area", finite_size=trapezoid),
    controls={
        "lost where losing is optimal": but(predict=area_to_maxwell),
        "returns at the Maxwell point": but(predict=returning_area),
        "regulariser without 1/2": but(measure=partial(sweep, weight=2.0)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)

KICK_RETURN = Law(
    id="mcr2/kick-return",
    source=Source(DERIVED),
    statement="""
    A class at 0 returns to its upper branch after a kick iff the largest singular value of the kick exceeds the lower
    branch, sqrt(u_-(x, tau)/alpha) - not sqrt(u_+/alpha). Read along tau: a kick of reduced squared singular value v
    returns iff

        tau < 1/(1+v) - 1/(1+v/x)    (v < sqrt x),       tau < tau_c    (v >= sqrt x).

    The kick may have any shape with rows in the class, orthogonal to the features of the others: its singular values
    decide one by one. A kick that also points along the other classes, while they live, must be larger.
    """,
    params=Sweep,
    predict=lambda p: theory.return_multiplier(p.kick * math.sqrt(p.x), p.x),
    measure=sweep,
    claim=Crossover(of="returns", along="tau", level=0.5, falling=True, sharp=True, over="each", shift=late_return),
    controls={
        "threshold at the upper branch": but(predict=threshold_at_the_upper_branch),
        "kick in all directions": but(measure=partial(sweep, aim=0.5)),
        "kick into the other classes": but(measure=partial(sweep, aim=1.0)),
        "regulariser without 1/2": but(measure=partial(sweep, weight=2.0)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)

# ---------------------------------------------------------------- how late a sweep loses the class


class Ramp(TwoClasses):
    """Class 1 on its upper branch while tau grows by 1/slowness per time 1/alpha."""

    slowness: Annotated[float, Ge(1e3), Le(1e9), LogScale()] = 1e5


@measurement
def ramp(p: Ramp, stream, *, weight: float = 1.0):
    """How far above the spinodal tau is when class 1 falls through ``sqrt(x) e^-3``, on gradient flow of F.

    It starts from ``sqrt(x) e^2``, ten times slowness^(-2/3) (at most half of it) below the spinodal. `weight`
    multiplies lambda.
    """
    own, other, member = frames(p, stream, 0.0)
    alpha, root = p.dim / (p.n * p.eps**2), np.sqrt(p.x)
    critical, rate = (1 - root) / (1 + root), 1 / p.slowness
    lead = min(10 * rate ** (2 / 3), critical / 2)
    Z = (np.sqrt(root * np.exp(2.0)) * own + other) / np.sqrt(alpha)
    lam, growth = weight * (critical - lead) * alpha, weight * rate * alpha
    return {"delay": rate * on_host(time_to_leave, Z, member, p.eps, lam, growth, -5.0) - lead}


def delay_at_rest(p: Ramp) -> float:
    """The delta at which half a passage at fixed tau takes as long as the sweep from tau_c to tau_c + delta."""
    node = theory.saddle_node(p.x)
    return float((math.pi / 2) ** (2 / 3) * (node.push * node.bend) ** (-1 / 3) * p.slowness ** (-2 / 3))


SWEEP_DELAY = Law(
    id="mcr2/sweep-delay",
    source=Source(DERIVED, "the exponent 2/3 is that of any swept saddle-node, see arXiv:2308.09787"),
    statement="""
    While tau grows at a rate v per time 1/alpha, a class is lost above the spinodal by

        tau_loss - tau_c = Omega (kappa^2 v^2/4)^(1/3) + (v/(2 tau_c)) [L - (1+r)^2/(2r) coth(L/2)] + O(v^(4/3)),

    Omega = 2.33811 (first zero of the Airy function), kappa^2 = (1 + r)^3/(r (1 - r)), r = sqrt x, lost meaning
    u = sqrt(x) e^-L (L = 3). Measured along slowness = 1/v on gradient flow of F.
    """,
    params=Ramp,
    predict=lambda p: theory.sweep_delay(p.x, 1 / p.slowness),
    measure=ramp,
    claim=Limit(of="delay", along="slowness", order=2 / 3, axis=lambda p: np.geomspace(1e3, 1e6, 10), resolve=0.02),
    controls={
        "regulariser 1 % heavier": but(measure=partial(ramp, weight=1.01)),
        "a passage at rest": but(predict=delay_at_rest),
    },
    examples=tuple(Ramp(first=first) for first in (2, 5, 10, 15)),
    draws=Draws(shapes=0),
)
