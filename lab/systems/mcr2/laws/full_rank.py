"""Where the constrained optimum loses rank: step by step, and the printed bound for full rank."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Crossover
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Gt, Le, LogScale, Lt, Params
from lab.systems.mcr2 import theory
from lab.systems.mcr2.laws.constrained import (
    CONSTRAINED_RANKS,
    DERIVED,
    Y20,
    Bounded,
    directions,
    predicted_directions,
    search,
)


class Published(Bounded):
    """The printed condition for full rank: ``eps^4 = fraction^4 min_k x_k d^2/d_k^2`` with fraction below 1."""

    fraction: Annotated[float, Ge(0.05), Lt(1.0)] = 0.9

    @property
    def eps(self) -> float:
        return self.fraction * theory.published_full_rank_eps(self.sizes, self.dim, self.max_ranks)


FULL_RANK_PRINTED = CONSTRAINED_RANKS.printed(
    "mcr2/full-rank-bound-printed",
    source=Source(Y20, "Theorem 2.1, maximally informative representation"),
    at=(Published(fraction=(3.698 / 4) ** 0.25), Published(sizes=(4,) * 4, max_ranks=(4, 1, 1, 1), fraction=0.8)),
    params=Published,
    predict=lambda p: predicted_directions(p, ranks=p.most),
    statement="""
    As usually quoted: if eps^4 < min_k (N_k/N) d^2/d_k^2, every class of the optimum has its maximal rank d_k. (The
    open book "Deep representation learning" restates it with an unspecified constant in front of the minimum.)

    False: with d = 8, four classes of 3 samples, d_k = 2 and eps^4 = 3.698 < 4, rank one has Delta R = .60545, rank two
    .54993. True is eps^4 <= kappa min_k x_k d^2/d_k^2 with kappa = min_k kappa(x_k), kappa(x) = x/u_t(x)^2 <= .2139.
    kappa(x) falls to 0 like 1/log(1/x): no universal constant works. The exact bound is in mcr2/rank-staircase.
    """,
)


# ---------------------------------------------------------------------- where rank is lost


class Staircase(Params):
    """Class 1 has `first` of `n` samples and rank at most `rank`; class 2 the rest and rank 1."""

    first: Annotated[int, Ge(2), Le(200), LogScale()] = 6
    n: Annotated[int, Ge(3), Le(400), LogScale()] = 24
    rank: Annotated[int, Ge(2), Le(8)] = 3
    eps: Annotated[float, Gt(0.01), Le(20.0), LogScale()] = 0.5

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.rank <= self.first < self.n:
            raise ValueError(f"first={self.first} must be at least rank={self.rank} and below n={self.n}; change first")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.first, self.n - self.first)

    @property
    def max_ranks(self) -> tuple[int, ...]:
        return (self.rank, 1)

    @property
    def most(self) -> np.ndarray:
        return np.array(self.max_ranks)

    @property
    def dim(self) -> int:
        return self.rank + 1

    @property
    def x(self) -> float:
        return self.first / self.n

    def steps(self) -> np.ndarray:
        """Distortions at which the rank falls to 1, ..., rank - 1."""
        return np.sqrt(self.x * self.dim / theory.rank_threshold(self.x, np.arange(1, self.rank)))

    @property
    def unit(self) -> float:
        """eps at which the printed bound with constant 1 ends for class 1: (x d^2/rank^2)^(1/4)."""
        return (self.x * (self.dim / self.rank) ** 2) ** 0.25


@measurement
def optimal_rank(p: Staircase, stream, *, random: int = 4, power: float = 2.0):
    """Rank of class 1 at the highest point found, whether it exceeds 1, ..., rank - 1; and that value."""
    best, gaussian, Z = search(p, stream.numpy("starts"), random, power=power)
    found = directions(Z, p.sizes)[0]
    isotropic = coding_rate.rate_reduction(_isotropic(p), p.sizes, eps=p.eps)
    return {"found": found, "above": found > np.arange(1, p.rank) + 0.5, "maximum": best, "isotropic": isotropic,
            "attained": float(np.mean(gaussian > best - 1e-9 * abs(best)))}  # fmt: skip


def _isotropic(p: Staircase) -> np.ndarray:
    Z = np.zeros((p.n, p.dim))
    Z[np.arange(p.rank), np.arange(p.rank)] = np.sqrt(p.first / p.rank)
    Z[p.first, p.rank] = np.sqrt(p.n - p.first)
    return Z


def step_axis(p: Staircase) -> np.ndarray:
    """2.4 % apart, from 10 % below the first step to 8 % above the last"""
    low, high = 0.9 * p.steps()[-1], 1.08 * p.steps()[0]
    return np.geomspace(low, high, 1 + int(np.ceil(np.log(high / low) / 0.024)))


RANK_STAIRCASE = Law(
    id="mcr2/rank-staircase",
    source=Source(DERIVED),
    statement="""
    As the distortion grows, the optimal rank of a class falls in unit steps: from r+1 to r at eps^2 = x d/C_r(x), C_r
    the root of (r+1) f(C/(r+1); x) = r f(C/r; x) in (r u_t, (r+1) u_t). Full rank m = min(d_k, N_k) ends at r = m - 1,
    that is at eps^4 = kappa_m x d^2/m^2, kappa_m(x) = x (m/C_(m-1))^2, which decreases to kappa(x) = x/u_t^2 as m grows
    and is at most 2.02 kappa(x). Measured is where the rank of the best features found changes.
    """,
    params=Staircase,
    predict=lambda p: p.steps(),
    measure=optimal_rank,
    claim=Crossover(of="above", along="eps", level=0.5, sharp=True, over="each", axis=step_axis),
    controls={
        "the printed bound, constant 1": but(predict=lambda p: p.steps() * p.unit / p.steps()[-1]),
        "kappa of rank infinity": but(
            predict=lambda p: np.sqrt(p.x * p.dim / theory.maxwell_point(p.x) / np.arange(2, p.rank + 1))
        ),
        "eps for eps^2": but(measure=partial(optimal_rank, power=1.0)),
    },
    examples=(Staircase(), Staircase(first=2, n=40, rank=2)),
    draws=Draws(shapes=0),
)
