"""CTRL-MSP: where the equilibrium gains ranks, published conditions for full rank, and why levels are equal."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab import streams
from lab.claims import Crossover, Equality
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Gt, Le, LogScale, Lt, MaxLen, MinLen, Params
from lab.systems.ctrl import theory
from lab.systems.ctrl.dynamics import leader_search
from lab.systems.ctrl.laws.multiple_subspaces import DERIVED, STOP, frames

Y20 = "arXiv:2006.08558"
BOOK = "Principles and Practice of Deep Representation Learning (Ma and coauthors)"
Rank = Annotated[int, Ge(1), Le(32)]


class Shares(Params):
    """Classes of ranks d_j in direct sum; class 1 has the share `share` of the samples, the others equal parts of the
    rest. Only shares, not sizes, matter."""

    ranks: Annotated[tuple[Rank, ...], MinLen(2), MaxLen(20)] = (3, 1)
    spare: Annotated[int, Ge(0), Le(64)] = 0
    share: Annotated[float, Gt(1e-4), Lt(1.0)] = 0.5

    @property
    def dim(self) -> int:
        return sum(self.ranks) + self.spare

    @property
    def gamma(self):
        """Shares (K,); arithmetic of arrays, `share` may be traced."""
        first = np.eye(len(self.ranks))[0]
        return self.share * first + (1 - self.share) / (len(self.ranks) - 1) * (1 - first)


class Step(Shares):
    """At a distortion."""

    eps: Annotated[float, Gt(0.01), Le(20.0), LogScale()] = 0.5


def steps(p: Shares) -> np.ndarray:
    """Distortions of all steps, class after class, each falling: sum (d_j - 1) of them."""
    found = [theory.step_distortions(g, p.dim, rank) for g, rank in zip(p.gamma, p.ranks, strict=True) if rank > 1]
    return np.concatenate(found)


def structured_starts(p: Shares) -> np.ndarray:
    """Orthogonal classes of every rank r of class 1 and every rank s of the others (at most d_j): (T, K, m, d_z)."""
    most = np.array(p.ranks)
    pairs = product(range(1, most[0] + 1), range(1, most[1:].max() + 1))
    return np.stack([frames(p, np.minimum([r] + [s] * (len(most) - 1), most)) for r, s in pairs])


@measurement(runs="jax")
def best_ranks(p, stream, *, random: int = 4, power: float = 2.0):
    """At the best end of all ascents: the rank of each class as a participation ratio (sum s)²/(sum s²) of its squared
    singular values s, whether it exceeds 1, ..., d_j - 1, and the value; and the value of each Gaussian start."""
    import jax.numpy as jnp

    structured, energy = structured_starts(p), p.gamma * p.dim / p.eps**power
    starts = streams.normal(stream.jax("starts"), (random, *structured.shape[1:]))
    found = leader_search(starts, structured, p.ranks, p.gamma, energy)
    best = found.Y[jnp.argmax(found.value)]
    grams = best @ best.mT
    ranks = jnp.trace(grams, axis1=-2, axis2=-1) ** 2 / jnp.sum(grams**2, axis=(-2, -1))
    above = [ranks[j] > np.arange(1, rank) + 0.5 for j, rank in enumerate(p.ranks) if rank > 1]
    return {"found": ranks, "above": jnp.concatenate(above), "value": jnp.max(found.value),
            "random": found.value[:random]}  # fmt: skip


def step_axis(p: Step) -> np.ndarray:
    """4 % apart, from 5 % below the last step to 5 % above the first"""
    low, high = 0.95 * steps(p).min(), 1.05 * steps(p).max()
    return np.geomspace(low, high, 1 + int(np.ceil(np.log(high / low) / 0.04)))


RANK_STAIRCASE = Law(
    id="ctrl/msp-rank-staircase",
    source=Source(DERIVED),
    statement="""
    As the distortion falls the equilibrium of CTRL-MSP gains ranks one by one. Rank r of class j beats rank r - 1 iff

        eps^4 < c(gamma_j, r) n_j d_z²/(n r²),   c = gamma/w²,   r phi(w) = (r-1) phi(w r/(r-1)),

    with phi the slot function. c(1/2, 2) = .4214, c(1/2, 3) = .3175; it falls in r to gamma/u_t², u_t phi'(u_t) =
    phi(u_t): .2122 at gamma = 1/2, .1619 at .01. Measured is where the ranks change at the best end of all ascents.
    """,
    params=Step,
    predict=steps,
    measure=best_ranks,
    claim=Crossover(of="above", along="eps", level=0.5, sharp=True, over="each", axis=step_axis),
    controls={
        "constant 1": but(
            predict=lambda p: np.concatenate(
                [theory.constant_distortion(1.0, g, p.dim, np.arange(2, rank + 1))
                 for g, rank in zip(p.gamma, p.ranks, strict=True) if rank > 1]
            )
        ),
        "constant of rank infinity": but(
            predict=lambda p: np.concatenate(
                [theory.constant_distortion(theory.rank_constant(g), g, p.dim, np.arange(2, rank + 1))
                 for g, rank in zip(p.gamma, p.ranks, strict=True) if rank > 1]
            )
        ),
        "eps for eps^2": but(measure=partial(best_ranks, power=1.0)),
    },
    examples=(Step(ranks=(3, 2), share=0.5), Step(ranks=(3, 2), share=0.05)),
    draws=Draws(shapes=0),
)  # fmt: skip


# ---------------------------------------------------------------------- full rank: the exact condition and printed ones


class Published(Shares):
    """``eps = fraction`` times the distortion where a condition ``eps^4 < constant min_j n_j d_z²/(n d_j²)`` ends."""

    constant: Annotated[float, Gt(0.0), Le(1.0)] = 0.2
    fraction: Annotated[float, Ge(0.05), Lt(1.0)] = 0.95

    @property
    def eps(self):
        """Arithmetic of arrays: `share`, `constant` and `fraction` may be traced."""
        first, rest = self.share, (1 - self.share) / (len(self.ranks) - 1)
        one, other = first / self.ranks[0] ** 2, rest / max(self.ranks[1:]) ** 2
        least = 0.5 * (one + other - abs(one - other))
        return self.fraction * (self.constant * least * self.dim**2) ** 0.25


class Sufficient(Published):
    """The same, with a constant that no class exceeds: ``constant <= c(gamma_j, d_j)``."""

    @model_validator(mode="after")
    def _small(self) -> Self:
        limit = min(theory.rank_constant(g, r) for g, r in zip(self.gamma, self.ranks, strict=True) if r > 1)
        if self.constant > limit:
            raise ValueError(f"constant={self.constant} exceeds min c(gamma_j, d_j)={limit:.4g}; lower it")
        return self


def ranks_error(p) -> np.ndarray:
    """a participation ratio is off by at most 4 r times the relative error of a squared singular value, which is
    2 g/(mu sqrt(u)) where an ascent stops at a projected gradient g = 1e-10 and the least curvature across the maxima
    is mu: 2 u |phi''(u)| for an exchange of energy, phi'(u) for a direction without energy, and at least
    min u/(1 + max u)² for a rotation of a class towards another"""
    best = [theory.best_rank(g * p.dim / p.eps**2, g, r) for g, r in zip(p.gamma, p.ranks, strict=True)]
    u = p.gamma * p.dim / p.eps**2 / np.array(best)
    exchange = np.where(np.array(best) > 1, 2 * u * np.abs(theory.slot_curvature(u, p.gamma)), np.inf)
    least = np.minimum(np.minimum(exchange, theory.slot_slope(u, p.gamma)).min(), u.min() / (1 + u.max()) ** 2)
    return 8 * np.array(p.ranks) * STOP / (least * np.sqrt(u.min()))


def all_ranks(p) -> np.ndarray:
    return np.array(p.ranks, dtype=float)


FULL_RANK = Law(
    id="ctrl/msp-full-rank",
    source=Source(DERIVED),
    statement="""
    If eps^4 < c min_j n_j d_z²/(n d_j²) with a constant c that is at most c(gamma_j, d_j) (ctrl/msp-rank-staircase) for
    every class, each class of the equilibrium of CTRL-MSP has its full rank d_j, and equal singular values.
    """,
    params=Sufficient,
    predict=all_ranks,
    measure=best_ranks,
    claim=Equality(of="found", finite_size=ranks_error, resolve=1e-4),
    controls={
        "one rank less": but(predict=lambda p: np.maximum(all_ranks(p) - 1, 1)),
        "constant of rank 2 for rank 6": but(
            params=Published, examples=(Published(ranks=(6, 1), constant=0.42, fraction=0.97),)
        ),
    },
    examples=(Sufficient(ranks=(2, 2), constant=0.42, fraction=0.97),
              Sufficient(ranks=(2, 2), share=0.1, constant=0.3)),
    draws=Draws(shapes=0),
)  # fmt: skip

FULL_RANK_PRINTED = FULL_RANK.printed(
    "ctrl/msp-full-rank-printed",
    source=Source(Y20, "Theorem 2.1, on which the equilibria of CTRL-MSP rest"),
    at=(Published(ranks=(2, 2), constant=1.0, fraction=0.845**0.25),
        Published(ranks=(2, 2), constant=1.0, fraction=0.5**0.25)),
    params=Published,
    statement="""
    As printed, constant 1: if eps^4 < min_j (n_j/n) d²/d_j², every class of the optimum has full rank.

    False. Two classes of 40 samples and rank 2 in four dimensions, eps² = 1.3: 1.69 < 2, and rank 1 for each class is
    worth .228887 nats, isotropic rank 2 .209532. The condition says that full rank is a *local* maximum; the global one
    it is for a constant c(gamma, r) of at most .4244 (ctrl/msp-rank-staircase).
    """,
)  # fmt: skip

UNIVERSAL_CONSTANT_PRINTED = FULL_RANK.printed(
    "ctrl/msp-universal-constant-printed",
    source=Source(BOOK, "closed-loop transcription, theorem on multiple subspaces"),
    at=(Published(ranks=(6, 1), share=0.01, constant=0.21, fraction=0.99),
        Published(ranks=(6, 1), share=0.001, constant=0.17, fraction=0.99)),
    params=Published,
    statement="""
    As restated: full rank if eps^4 < c min_j (n_j/n) d²/d_j² with *a* constant c > 0.

    No universal c exists: c(gamma, r) falls to 0 like 1/log(1/gamma) for small classes. A constant of .21, enough for
    two balanced classes of any rank (.2122), fails for a class of rank 6 that has a hundredth of the samples (.1943),
    and .17 for one that has a thousandth (.1528). The true statement has c depend on the class shares.
    """,
)  # fmt: skip


# ---------------------------------------------------------------------- two different levels


class TwoLevels(Params):
    """A class of share ``first/n`` with two levels, of reduced energy ``excess`` times ``2 sqrt(gamma)`` together."""

    first: Annotated[int, Ge(2), Le(50)] = 10
    n: Annotated[int, Ge(3), Le(100)] = 25
    excess: Annotated[float, Gt(1.05), Le(10.0), LogScale()] = 2.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.first >= self.n:
            raise ValueError(f"first={self.first} must be below n={self.n}; raise n")
        return self

    @property
    def gamma(self) -> float:
        return self.first / self.n

    @property
    def energy(self) -> float:
        return 2 * self.excess * self.gamma**0.5


@measurement
def exchange(p: TwoLevels, stream, *, equal: bool = False):
    """Second derivative of Delta R as reduced energy moves from the higher to the lower level of class 1, where the
    first derivative vanishes; `equal`: between two equal levels. By exact Hessian-vector products on samples."""
    rng, d = stream.numpy("features"), 4
    total, root = p.energy, np.sqrt(max(p.energy**2 / 4 - p.gamma, 0.0))
    high = 0.5 * total + (0.0 if equal else root)
    levels = np.array([high, total - high])
    unit = np.sqrt(p.n) / np.sqrt(d)  # Z for reduced energies at eps = 1
    frame, left = np.linalg.qr(rng.standard_normal((d, d)))[0], np.linalg.qr(rng.standard_normal((p.first, 2)))[0]
    Z, velocity, bend = (np.zeros((p.n, d)) for _ in range(3))
    signs = np.array([-1.0, 1.0])
    Z[: p.first] = unit * (left * np.sqrt(levels)) @ frame[:2]
    Z[p.first] = unit * frame[2]
    velocity[: p.first] = unit * (left * signs / (2 * np.sqrt(levels))) @ frame[:2]
    bend[: p.first] = unit * (left * -1 / (4 * levels**1.5)) @ frame[:2]
    sizes = (p.first, p.n - p.first)
    slope = coding_rate.rate_reduction_gradient(Z, sizes, eps=1.0)
    curved = coding_rate.hessian_vector_product(Z, velocity, sizes, eps=1.0, lam=0.0)
    return {"curvature": np.sum(velocity * curved) + np.sum(slope * bend), "slope": np.sum(slope * velocity)}


def exchange_rounding(p) -> float:
    """rounding of two terms of the size of the second derivative of log(1 + u) at the lower level x: 1/(x (gamma + x)),
    in which 4 + n entries take part, and twice for the subtraction x = E - y, off by the epsilon times E/x"""
    low, _ = theory.two_levels(p.energy, p.gamma)
    return (4 + p.n) * (1 + p.energy / low) / (low * (p.gamma + low))


TWO_LEVELS = Law(
    id="ctrl/msp-two-levels",
    source=Source(DERIVED),
    statement="""
    The published alternative - all singular values of a class equal but the last, which may be smaller - does not occur
    with a nonzero last value. Two levels x < y share an energy E critically only where x y = gamma, x + y = E; there
    Delta R has the second derivative

        (1/2)[phi''(x) + phi''(y)] = (1 - gamma)(E² - 4 gamma)/(2 gamma (1 + gamma + E)²) > 0

    along the exchange of energy: a minimum. So all nonzero singular values of a class are equal at every maximum.
    """,
    params=TwoLevels,
    predict=lambda p: float(theory.exchange_curvature(p.energy, p.gamma)),
    measure=exchange,
    claim=Equality(of="curvature", rounding=exchange_rounding, resolve=1e-6),
    controls={"two equal levels": but(measure=partial(exchange, equal=True))},
    examples=(TwoLevels(), TwoLevels(first=2, n=40, excess=5.0)),
    draws=Draws(shapes=6, values=4),
)
