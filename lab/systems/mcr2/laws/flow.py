"""Flow of F just above the spinodal: how long a class lingers at the ghost of its merged branches."""

from __future__ import annotations

import functools
from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality, Limit, Rate
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mcr2 import theory

DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"
TIME_STEP = 1.0  # of the Runge-Kutta solver, in units of 1/alpha


class TwoClasses(Params):
    """Class 1 with `first` of `n` samples and `rank` equal singular values, beside one other class, orthogonal to it.

    The other class holds the rest, starts with one direction at u = 1 and goes its way.
    """

    dim: Annotated[int, Ge(2), Le(32)] = 4
    n: Annotated[int, Ge(4), Le(400)] = 20
    first: Annotated[int, Ge(1), Le(300)] = 5
    rank: Annotated[int, Ge(1), Le(8)] = 2
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5

    @model_validator(mode="after")
    def _classes_fit(self) -> Self:
        if not self.rank <= self.first < self.n:
            raise ValueError(
                f"first={self.first} must lie between rank={self.rank} and n-1={self.n - 1}: class 1 needs as many "
                "samples as directions, the other class one"
            )
        if not 0.01 <= self.first / self.n <= 0.75:
            raise ValueError(f"first/n={self.first / self.n:.3g} must lie in [.01, .75]; change first or n")
        if self.rank >= self.dim:
            raise ValueError(f"rank={self.rank}: the other class needs a dimension too; choose rank < dim={self.dim}")
        return self

    @property
    def x(self):
        """Fraction of class 1."""
        return self.first / self.n


class NearSpinodal(TwoClasses):
    """Class 1 at ``tau = tau_c (1 - 1/closeness)``, below its spinodal, or ``tau_c (1 + 1/closeness)``, above it."""

    closeness: Annotated[float, Ge(2.0), Le(1e6), LogScale()] = 100.0

    @property
    def distance(self):
        """|tau - tau_c|."""
        return theory.spinodal(self.x) / self.closeness


def frames(p: TwoClasses, stream, overlap: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class 1 (`rank` unit singular values), the other class (one, tilted towards class 1), and the membership."""
    rng, rest = stream.numpy("frames"), p.n - p.first
    Q, left, other = haar(rng, p.dim), haar(rng, p.first, p.rank), haar(rng, rest, 1)
    own = np.concatenate([left @ Q[:, : p.rank].T, np.zeros((rest, p.dim))])
    tilted = np.sqrt(1 - overlap**2) * Q[:, p.rank] + overlap * Q[:, 0]
    return own, np.concatenate([np.zeros((p.first, p.dim)), other * tilted]), np.eye(2)[[0] * p.first + [1] * rest]


@functools.cache
def _compiled(function):
    import jax

    return jax.jit(function)


def on_host(function, *arguments):
    """A JAX function of arrays, compiled for this machine's processor, in float64, for one point at a time.

    For long sequential runs from few points: a block of the engine is hundreds of runs wide, and each of its steps
    takes as long however few of them are wanted.
    """
    import jax

    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        found = _compiled(function)(*(np.asarray(a) for a in arguments))
        return jax.tree.map(np.asarray, found)


def flow_step(velocity, Z, time, step):
    """One step of the classical fourth-order Runge-Kutta method (a loop over its stages: one copy is compiled)."""
    import jax
    import jax.numpy as jnp

    def stage(carry, weights):
        slope, total = carry
        slope = velocity(Z + step * weights[0] * slope, time + step * weights[0])
        return (slope, total + weights[1] * slope), None

    table = jnp.array([[0, 1 / 6], [1 / 2, 1 / 3], [1 / 2, 1 / 3], [1, 1 / 6]])
    return Z + step * jax.lax.scan(stage, (jnp.zeros_like(Z), jnp.zeros_like(Z)), table)[0][1]


def time_to_leave(Z, member, eps, lam, lam_rate, level):
    """Time, in units of 1/alpha, until the mean reduced squared singular value of class 1 over its start falls to
    ``exp(level)``, on gradient flow of F while lambda grows at `lam_rate` per such unit.

    Runge-Kutta on the whole (n, dim) matrix; the crossing is read off the cubic that fits log u and its speed at both
    ends of the last step.
    """
    import jax
    import jax.numpy as jnp

    mine = member[:, :1]
    alpha = Z.shape[1] / (Z.shape[0] * eps**2)
    unit = jnp.sum((mine * Z) ** 2)

    def velocity(Z, time):
        penalty = lam + lam_rate * time
        return coding_rate.regularised_rate_reduction_gradient(Z, member, eps=eps, lam=penalty) / alpha

    def height(Z):
        return jnp.log(jnp.sum((mine * Z) ** 2) / unit)

    def speed(Z, time):
        return 2 * jnp.sum(mine * Z * velocity(Z, time)) / jnp.sum((mine * Z) ** 2)

    def advance(state):
        Z, _, steps = state
        return flow_step(velocity, Z, steps * TIME_STEP, TIME_STEP), Z, steps + 1

    Z, before, steps = jax.lax.while_loop(
        lambda state: (height(state[0]) > level) & (state[2] < 400_000), advance, (Z, Z, 0)
    )  # fmt: skip
    ends, times = jnp.stack([before, Z]), jnp.stack([steps - 1, steps]) * TIME_STEP
    (s0, s1), (v0, v1) = jax.vmap(height)(ends), jax.vmap(speed)(ends, times)
    w = s1 - s0
    y = (level - s0) / w  # Hermite's cubic for time as a function of height
    return times[0] + (y - 2 * y**2 + y**3) * w / v0 + (3 * y**2 - 2 * y**3) * TIME_STEP + (y**3 - y**2) * w / v1


@measurement
def passage(p: NearSpinodal, stream, *, weight: float = 1.0, start: float = 3.0, overlap: float = 0.0):
    """alpha times the time of gradient flow of F from ``u = sqrt(x) e^start`` to ``sqrt(x) e^-3``, above the spinodal.

    `weight` multiplies lambda, `overlap` tilts the other class towards class 1.
    """
    own, other, member = frames(p, stream, overlap)
    alpha, root = p.dim / (p.n * p.eps**2), np.sqrt(p.x)
    lam = weight * (1 - root) / (1 + root) * (1 + 1 / p.closeness) * alpha
    Z = (np.sqrt(root * np.exp(start)) * own + other) / np.sqrt(alpha)
    return {"time": on_host(time_to_leave, Z, member, p.eps, lam, 0.0, -3.0 - start)}


def solver_step(p: NearSpinodal) -> float:
    """Runge-Kutta of order 4 with step h follows a flow whose speed in log u is off by h^4/120 times a sum of products
    of five factors, the speed or its derivatives, all at most 2 tau; in the time, two speeds divide out (the ghost
    adds nothing: f'^2 <= 2 f max|f''|), which leaves (2 tau)^3 h^4/120 over the window of 6 (the cubic at the
    crossing: a 384th)"""
    tau = theory.spinodal(p.x) * (1 + 1 / p.closeness)
    return 6 * (2 * tau) ** 3 * TIME_STEP**4 / 120


def speed_units(p: NearSpinodal) -> float:
    """the speed in log u carries the rounding of a Cholesky factor, dim (1 + 1/sqrt x) at the ghost; over the passage
    that adds int ds/speed^2 = T/(4 delta) times it"""
    time = theory.saddle_node(p.x).passage_time(p.distance)
    return 4 * p.dim * (1 + p.x**-0.5) * (time / (4 * p.distance) + time)


def predicted_time(p: NearSpinodal) -> float:
    return theory.ghost_passage_time(p.x, theory.spinodal(p.x) + p.distance)


def leading_time(p: NearSpinodal) -> float:
    return theory.saddle_node(p.x).passage_time(p.distance)


def decades(start: float, stop: float, count: int):
    """Values of closeness for a check."""
    return lambda p: np.geomspace(start, stop, count)


EXAMPLES = tuple(NearSpinodal(first=first) for first in (2, 5, 10, 15))

GHOST_PASSAGE = Law(
    id="mcr2/ghost-passage",
    source=Source(DERIVED),
    statement="""
    Above the spinodal no branch is left, but gradient flow lingers where they met. From u = sqrt(x) e^L to sqrt(x) e^-L
    it takes, at any distance delta = tau - tau_c,

        T = (1/(alpha tau)) [L + 2(1-x)/sqrt(p q) arctan(sqrt(q/p) tanh(L/2))],
        p = (1+r)^2 (tau - tau_c),  q = (1-r)^2 (1/tau_c - tau),  r = sqrt x,

    the integral of du/(4 alpha u |h'(u)|) in closed form. Measured with L = 3 by integrating the flow of F on the whole
    matrix.
    """,
    params=NearSpinodal,
    predict=predicted_time,
    measure=passage,
    claim=Equality(of="time", finite_size=solver_step, rounding=speed_units, resolve=0.05),
    controls={
        "regulariser 1 % heavier": but(measure=partial(passage, weight=1.01)),
        "from the merge point": but(measure=partial(passage, start=0.0)),
        "overlapping classes": but(measure=partial(passage, overlap=0.8)),
        "leading order": but(predict=leading_time),
    },
    examples=tuple(p.replace(closeness=c) for p in EXAMPLES for c in (2.0, 30.0, 1e3, 3e4)),
    draws=Draws(shapes=0),
)

CRITICAL_SLOWING_DOWN = Law(
    id="mcr2/critical-slowing-down",
    source=Source(DERIVED),
    statement="""
    The passage time through the ghost above the spinodal diverges like (tau - tau_c)^(-1/2), with relative corrections
    of order (tau - tau_c)^(1/2). Measured along closeness = tau_c/(tau - tau_c), of which it is the power 1/2.
    """,
    params=NearSpinodal,
    predict=lambda p: 0.5,
    measure=passage,
    claim=Rate(of="time", along="closeness", order=0.5, axis=decades(30, 3e4, 13), resolve=0.05),
    controls={
        "regulariser 1 % heavier": but(measure=partial(passage, weight=1.01)),
        "branches that cross": but(predict=lambda p: 1.0),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)

GHOST_AMPLITUDE = Law(
    id="mcr2/ghost-amplitude",
    source=Source(DERIVED),
    statement="""
    As tau -> tau_c from above the passage time through the ghost tends to

        T  ~  (pi/(2 alpha)) kappa delta^(-1/2),   kappa^2 = (1 + r)^3/(r (1 - r)),   r = sqrt x,   delta = tau - tau_c,

    whatever the window. With the relaxation rate below the spinodal, gamma(-delta) T(delta) -> 2 pi for every x: the
    amplitude ratio of any saddle-node.
    """,
    params=NearSpinodal,
    predict=leading_time,
    measure=passage,
    claim=Limit(of="time", along="closeness", order=0.5, axis=decades(30, 3e4, 13), resolve=0.02),
    controls={
        "from the merge point": but(measure=partial(passage, start=0.0)),
        "regulariser 1 % heavier": but(measure=partial(passage, weight=1.01)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)
