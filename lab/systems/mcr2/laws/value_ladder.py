"""Where gradient ascent on F ends: on a ladder of local maxima, not always at its top."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params, Traced
from lab.systems.mcr2 import theory

W24 = "arXiv:2406.01909"
DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"


class Start(Params):
    """Three classes of `first`, `second` and the remaining of `n` samples; ascent from Gaussian features.

    The entries of the start have variance `energy`/(alpha n): `energy` is the mean reduced squared singular value of
    all samples together, of which class k has the share x_k. lambda is `fraction` of the smallest lambda_c(x_k), that of the largest class.
    F along the way is recorded at the start and `records` times (a divisor of `steps`).
    """

    dim: Annotated[int, Ge(1), Le(8)] = 4
    n: Annotated[int, Ge(3), Le(30)] = 14
    first: Annotated[int, Ge(1), Le(28), Traced()] = 2
    second: Annotated[int, Ge(1), Le(28), Traced()] = 5
    eps: Annotated[float, Ge(0.05), Le(5.0), LogScale()] = 0.5
    fraction: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    energy: Annotated[float, Ge(0.03), Le(1000.0), LogScale()] = 100.0
    steps: Annotated[int, Ge(100)] = 3000
    records: Annotated[int, Ge(1)] = 1

    @model_validator(mode="after")
    def _three_classes(self) -> Self:
        if self.first + self.second >= self.n:
            raise ValueError(f"first+second={self.first + self.second} must be below n={self.n}; raise n or lower them")
        return self

    @property
    def sizes(self) -> tuple:
        return (self.first, self.second, self.n - self.first - self.second)

    @property
    def alpha(self):
        return self.dim / (self.n * self.eps**2)

    @property
    def x(self) -> np.ndarray:
        return np.array(self.sizes) / self.n

    @property
    def tau(self) -> float:
        return self.fraction * float(np.min(theory.spinodal(self.x)))


SMALL_GRADIENT = 1e-8  # of F by sqrt(alpha) Z: below it an ascent counts as converged


@measurement(runs="jax")
def ascent_limit(p: Start, stream, *, weight: float = 1.0):
    """Where gradient ascent from a Gaussian start ends: what each class is worth there, per direction it kept.

    `worth` holds (F(Z) - F(Z without class k))/r_k for each class, r_k counted as singular values that stayed, and
    last what those differences leave unexplained of F(Z). `judged` marks classes that kept rank, where the gradient
    vanished. `path`, `path_steps` record F along the way. `weight` multiplies lambda (1 in the law).
    """
    import jax
    import jax.numpy as jnp

    from lab.systems.mcr2.dynamics import gradient_ascent

    sizes = jnp.stack([jnp.asarray(size) for size in p.sizes])
    x = sizes / p.n
    lam = weight * p.fraction * p.alpha * jnp.min((1 - jnp.sqrt(x)) / (1 + jnp.sqrt(x)))
    label = jnp.sum(jnp.arange(p.n)[:, None] >= jnp.cumsum(sizes)[:2], axis=1)
    member = jax.nn.one_hot(label, 3, dtype=float)
    start = jnp.sqrt(p.energy / (p.alpha * p.n)) * jax.random.normal(stream.jax("start"), (p.n, p.dim))
    run = gradient_ascent(start, member, eps=p.eps, lam=lam, steps=p.steps, records=p.records)

    value = run.value[-1]
    others = (1 - member.T)[:, :, None] * run.Z
    without = coding_rate.regularised_rate_reduction(others, member, eps=p.eps, lam=lam)
    ranks = jnp.sum(run.spectrum[-1] > 1e-8 * jnp.sqrt(x)[:, None], axis=1)
    converged = run.gradient_norm[-1] <= SMALL_GRADIENT * jnp.sqrt(p.alpha)
    worth = jnp.append((value - without) / jnp.maximum(ranks, 1), value - jnp.sum(value - without))
    return {
        "worth": worth, "judged": converged & jnp.append(ranks > 0, True), "value": value, "ranks": ranks,
        "converged": converged, "gradient": run.gradient_norm[-1], "path": run.value, "path_steps": run.step_number,
    }  # fmt: skip


def _heights(p: Start, branch) -> np.ndarray:
    exists = theory.nonzero_branch_exists(p.x, p.tau)
    u = np.where(exists, branch(p.x, p.tau, where=exists), 0.0)
    return theory.direction_value(u, p.x, p.tau)


def rung_heights(p: Start) -> np.ndarray:
    """h(u_+(x_k, tau)) for each class, and nothing unexplained; a class beyond its spinodal is worth nothing."""
    return np.append(_heights(p, theory.u_plus), 0.0)


def lower_branch_heights(p: Start) -> np.ndarray:
    return np.append(_heights(p, theory.u_minus), 0.0)


def equal_heights(p: Start) -> np.ndarray:
    return np.append(np.full(3, _heights(p, theory.u_plus).mean()), 0.0)


def distance_to_limit(p: Start) -> float:
    """F is quadratic around its limit: a gradient g leaves Z within g/gap of it, F within g^2/(2 gap), and F without
    class k, whose curvature is below 9/8 + tau, within (9/8 + tau)(g/gap)^2/2; the gap is the smallest nonzero
    curvature |tau|, 4u|h''(u)|, (u+w)/((1+u)(1+w)) at any maximum, in units of alpha"""
    exists = theory.nonzero_branch_exists(p.x, p.tau)
    u = theory.u_plus(p.x[exists], p.tau)
    pairs = (u[:, None] + u) / (1 + u[:, None]) / (1 + u)
    own = -4 * u * theory.direction_curvature(u, p.x[exists])
    gap = float(np.min(np.concatenate([[p.tau], own, pairs.ravel()])))
    return 4 * (9 / 8 + p.tau) / 2 * (SMALL_GRADIENT / gap) ** 2


def limit_rounding(p: Start) -> float:
    """rounding of four values of F, each one log-determinant of the whole and three of classes with energy at most
    d u_+/x"""
    return 4 * 4 * theory.rate_rounding(p.dim, p.dim / float(p.x.min()) / p.tau)


def rung_scale(p: Start) -> float:
    """The value of a direction of the smallest class, the highest step of the ladder, at least a hundredth of a nat."""
    return max(0.01, float(np.max(np.abs(rung_heights(p)))))


def predicted_global(p: Start) -> float:
    return theory.global_maximum(p.sizes, p.dim, eps=p.eps, lam=p.tau * p.alpha).value


VALUE_LADDER = Law(
    id="mcr2/value-ladder",
    source=Source(DERIVED),
    statement="""
    From almost every start (lambda not exactly a spinodal) gradient ascent on F ends at a height

        F = sum_k r_k h(u_+(x_k, tau); x_k, tau),   integers 0 <= r_k <= min(N_k, d), sum_k r_k <= d,

    a ladder whose steps may be negative (between tau_* and tau_c), and nowhere else. Which rung depends on the start;
    the highest need not be reached. Measured per class: what removing it costs, per singular value that it kept, must
    be h(u_+(x_k, tau)), and together these must add up to F. Runs whose gradient has not vanished are not judged.
    """,
    params=Start,
    predict=rung_heights,
    measure=ascent_limit,
    claim=Equality(
        of="worth", given="judged", rounding=limit_rounding, finite_size=distance_to_limit, scale=rung_scale
    ),
    controls={
        "regulariser without 1/2": but(measure=partial(ascent_limit, weight=2.0)),
        "rungs of the lower branch": but(predict=lower_branch_heights),
        "one step for all classes": but(predict=equal_heights),
    },
    draws=Draws(shapes=1, values=40),
)

BENIGN_IS_GLOBAL_PRINTED = VALUE_LADDER.printed(
    "mcr2/benign-is-global-printed",
    source=Source(W24, "a common reading of 'benign landscape'; the paper claims strict saddles, not this"),
    at=(Start(dim=8, n=30, first=4, second=8, eps=0.5**0.5, fraction=0.5),),
    predict=predicted_global,
    claim=Equality(of="value", given="converged", rounding=limit_rounding, finite_size=distance_to_limit),
    statement="""
    As often read: since every critical point is a local maximum or a strict saddle, gradient ascent from a random start
    reaches the global maximum of F.

    It reaches a local one. With d = 8, N = (4, 8, 18), eps^2 = 1/2 and lambda at half of the published bound, every run
    from a Gaussian start ends at 57 to 78 % of the maximum 3.98297; and Z = 0 is a local maximum for every lambda > 0.
    What holds instead: mcr2/value-ladder.
    """,
)
