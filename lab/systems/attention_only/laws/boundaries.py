"""Boundaries of the phase in which the rate is exact: typical tokens, all tokens, scaled scores, foreign rows."""

from __future__ import annotations

from functools import partial
from math import lgamma
from typing import Annotated, Any

import numpy as np

from lab.claims import Crossover, Equality, Limit
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, Lt, Params
from lab.systems.attention_only.laws.thresholded import DERIVED
from lab.systems.attention_only.theory.boundaries import (
    ALL_TOKENS,
    condensed_fraction,
    exact_rank,
    foreign_threshold,
    pair_failure,
    passing_fraction,
    scaled_failure,
)


class Cluster(Params):
    """Signal rows of one layer: every token against the keys of its own head."""

    heads: Annotated[int, Ge(1), Le(4)] = 4
    per_class: Annotated[int, Ge(64), Le(1024), LogScale()] = 64
    rank: Annotated[int, Ge(2), Le(128)] = 12
    delta: Annotated[float, Ge(0.0), Le(0.2)] = 0.05
    tau: Annotated[float, Ge(0.5), Lt(1.0)] = 0.501


@measurement(paired=("tau",))
def signal_rows(p: Cluster, stream, *, scaled: bool = False, doubled: bool = False):
    """Share of tokens that attend to themselves, of pairs in which another key scores higher than the query itself, and
    whether all tokens of all heads pass. Each head by itself: signals N_1, noise of the other clusters N - N_1.

    `scaled` divides scores by sqrt(rank); `doubled` repeats every token.
    """
    rng, n = stream.numpy("tokens"), p.per_class
    passing, pairs, every = [], [], True
    for _ in range(p.heads):
        own = rng.standard_normal((n, p.rank))
        if doubled:
            own[n // 2 : 2 * (n // 2)] = own[: n // 2]
        keys = np.concatenate([own, p.delta * rng.standard_normal(((p.heads - 1) * n, p.rank))])
        scores = own @ keys.T * (p.rank**-0.5 if scaled else 1.0)
        itself = np.diagonal(scores).copy()
        pairs.append(np.mean(np.sum(scores[:, :n] > itself[:, None], axis=1)) / (n - 1))
        scores -= itself[:, None]
        np.fill_diagonal(scores, -np.inf)
        top = np.maximum(scores.max(axis=1), 0)
        log_rest = top + np.log(np.sum(np.exp(scores - top[:, None]), axis=1))
        passes = log_rest < np.log1p(-p.tau) - np.log(p.tau)
        passing.append(passes.mean())
        every = every and bool(passes.all())
    return {"passing": np.mean(passing), "failing": 1 - np.mean(passing), "pairs": np.mean(pairs), "all": float(every)}


PAIRS = Law(
    id="attention_only/pair-failure",
    source=Source(DERIVED),
    statement="""
    For independent standard normal a, b in R^p, P(a.b > |a|²) = ½ I_{1/2}(p/2, ½), exactly; about 2^(-p/2). It is the
    rate at which a key of the same cluster scores higher than the query itself.
    """,
    params=Cluster,
    predict=lambda p: pair_failure(p.rank),
    measure=signal_rows,
    claim=Equality(of="pairs", over="mean", resolve=0.2),
    controls={"rank off by one": but(predict=lambda p: pair_failure(p.rank + 1))},
    examples=(Cluster(rank=4), Cluster(rank=8, per_class=128)),
    draws=Draws(shapes=0, replicates=16),
)


class Typical(Cluster):
    """Few clusters and a threshold near 1/2."""

    heads: Annotated[int, Ge(1), Le(4)] = 2
    tau: Annotated[float, Ge(0.5), Le(0.51)] = 0.501


def within_six_hundredths(p: Typical) -> float:
    """the statement: within .06"""
    return 0.06


PASSING_FRACTION = Law(
    id="attention_only/passing-fraction",
    source=Source(DERIVED),
    statement="""
    A typical token attends to itself from p = 2 log N_1 on (the condensation point of the random-energy model of its
    scores): near tau = 1/2 the fraction of passing tokens is Phi((c_1 - 2) sqrt(log N_1)/2), c_1 = p/log N_1, within
    .06 for N_1 >= 64 and K <= 4 (.04 at c_1 = 2; the error falls like 1/sqrt(log N_1)). Curves of all sizes cross at
    (2, 1/2).
    """,
    params=Typical,
    predict=lambda p: passing_fraction(p.per_class, p.rank),
    measure=signal_rows,
    claim=Equality(of="passing", over="mean", stated=within_six_hundredths, scale=1.0, resolve=0.12),
    controls={
        "transition at p = log N_1": but(predict=lambda p: passing_fraction(p.per_class, p.rank + np.log(p.per_class))),
    },
    examples=(Typical(rank=8), Typical(rank=12), Typical(per_class=256, rank=11), Typical(per_class=256, rank=8)),
    draws=Draws(shapes=0, replicates=12),
)


def ranks(low: float, high: float, step: int = 1) -> Any:
    """Axis of ranks around the boundary."""

    def axis(p: Cluster) -> np.ndarray:
        """whole ranks around the boundary"""
        middle = 2 * np.log(p.per_class) if low > -5 else exact_rank(p.heads, p.per_class)
        return np.arange(max(2, int(middle + low)), int(middle + high) + 1, step)

    return axis


def four_hundredths_in_rank(p: Cluster) -> float:
    """.04 of the fraction (attention_only/passing-fraction) over its slope in p, 1/(2 sqrt(2 pi log N_1))"""
    return 0.04 * 2 * float(np.sqrt(2 * np.pi * np.log(p.per_class)))


TYPICAL_BOUNDARY = Law(
    id="attention_only/typical-boundary",
    source=Source(DERIVED),
    statement="""
    Half of the tokens attend to themselves at p = 2 log N_1, for every N_1 >= 64 and K <= 4 (near tau = 1/2): c_1 = 2.
    """,
    params=Typical,
    predict=lambda p: 2 * float(np.log(p.per_class)),
    measure=signal_rows,
    claim=Crossover(of="passing", along="rank", falling=False, axis=ranks(-4, 4), stated=four_hundredths_in_rank),
    controls={"c_1 = 5/2": but(predict=lambda p: 2.5 * float(np.log(p.per_class)))},
    examples=(Typical(), Typical(per_class=256)),
    draws=Draws(shapes=0, replicates=8),
)  # fmt: skip


def crowd(p: Cluster) -> float:
    """pairs leave out that several keys and the threshold add up: at most one rank for N_1 >= 64 near tau = 1/2 (.8 at
    N = 1024, .45 at N = 65536 against the rates by quadrature)"""
    return 1.0


EXACT_BOUNDARY = Law(
    id="attention_only/exact-boundary",
    source=Source(DERIVED),
    statement="""
    All tokens attend to themselves in half of the draws at the rank p where N (N_1 - 1) pi_p = log 2, pi_p the pair
    rate of attention_only/pair-failure, within one, near tau = 1/2. That is p = 2 log2(N N_1) (1 + o(1)), c = 4/log 2 =
    5.77, for every fixed K: nearly three times the rank at which a typical token does.
    """,
    params=Cluster,
    predict=lambda p: exact_rank(p.heads, p.per_class),
    measure=signal_rows,
    claim=Crossover(of="all", along="rank", falling=False, axis=ranks(-8, 9, 2), stated=crowd, resolve=0.2),
    controls={
        "published constant 32/9": but(predict=lambda p: 32 / 9 * float(np.log(p.heads * p.per_class))),
        "tokens twice": but(measure=partial(signal_rows, doubled=True)),
    },
    examples=(Cluster(heads=2), Cluster(per_class=128)),
    draws=Draws(shapes=0, replicates=24),
)


@measurement
def pair_ranks(p: Cluster, stream):
    """Rank, over log N, at which ``N (N_1 - 1) pi_p = log 2``, for N from e^10 to e^200.

    The incomplete beta integral with ``x = e^{-2y/p}/2`` is ``2^{-p/2} (2/p) int_0^inf e^{-y} (1 - e^{-2y/p}/2)^{-1/2}
    dy``.
    """
    logs = 10.0 * 2 ** np.linspace(0, np.log2(20), 14)
    y = np.linspace(0.0, 60.0, 20_001)

    def log_pi(rank: float) -> float:
        integral = np.trapezoid(np.exp(-y) / np.sqrt(1 - np.exp(-2 * y / rank) / 2), y) * 2 / rank
        norm = lgamma(rank / 2 + 0.5) - lgamma(rank / 2) - lgamma(0.5)
        return float(-np.log(2) * (rank / 2 + 1) + norm + np.log(integral))

    found = []
    for log_n in logs:
        level, low, high = np.log(np.log(2)) - 2 * log_n + np.log(p.heads), 1.0, 10 * log_n
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if log_pi(middle) > level else (low, middle)
        found.append(low / log_n)
    return {"log n": logs, "c": np.array(found)}


EXACT_RANK_LIMIT = Law(
    id="attention_only/exact-rank-limit",
    source=Source(DERIVED),
    statement="""
    The rank at which all tokens pass grows like (4/log 2) log N: p/log N -> 5.771 as N -> infinity at fixed K, from
    below, with a term log log N/log N. (A published sufficient condition has 32/9 = 3.556.)
    """,
    params=Cluster,
    predict=lambda p: ALL_TOKENS,
    measure=pair_ranks,
    claim=Limit(of="c", along="log n", order=lambda x: np.log(x) / x, resolve=0.05),
    controls={
        "published constant 32/9": but(predict=lambda p: 32 / 9),
        "tokens counted instead of pairs": but(predict=lambda p: ALL_TOKENS / 2),
    },
    examples=(Cluster(), Cluster(heads=1)),
    draws=Draws(shapes=0),
)


def within_three_hundredths(p: Cluster) -> float:
    """the statement: within .03"""
    return 0.03


SCALED_SCORES = Law(
    id="attention_only/scaled-scores",
    source=Source(DERIVED),
    statement="""
    With scores over sqrt p, as public code has them, a signal row fails iff chi²_p/sqrt p <= log(N_1 e^{1/2} + (N -
    N_1) e^{delta²/2}) + log(tau/(1 - tau)): the rank has to grow like log² N, not log N. Within .03 for N_1 >= 64.
    """,
    params=Cluster,
    predict=lambda p: scaled_failure(p.heads, p.per_class, p.rank, p.delta, p.tau),
    measure=partial(signal_rows, scaled=True),
    claim=Equality(of="failing", over="mean", stated=within_three_hundredths, scale=1.0, resolve=0.08),
    controls={"scores not scaled": but(measure=signal_rows)},
    examples=tuple(Cluster(rank=rank, tau=0.6) for rank in (25, 36, 64)),
    draws=Draws(shapes=0, replicates=12),
)


# ---------------------------------------------------------------------- foreign rows


class Condensed(Params):
    """A foreign row whose scores are a condensed random-energy model, ``sigma = g² delta² p/log N_1 > 2``."""

    sigma: Annotated[float, Ge(3.0), Le(50.0), LogScale()] = 8.0
    tau: Annotated[float, Ge(0.5), Le(0.95)] = 0.5
    keys: Annotated[int, Ge(100), Le(10_000)] = 4000


@measurement
def largest_weight(p: Condensed, stream, *, gaussian: bool = False):
    """Whether the largest of the weights exceeds tau: the highest scores of infinitely many Gaussian keys, up to a
    common shift, are a Poisson process of density ``x e^{-x s}``, ``x = sqrt(2/sigma)``.

    `gaussian` takes as many independent scores of variance sigma log N_1 instead (a finite size).
    """
    rng, x = stream.numpy("scores"), np.sqrt(2 / p.sigma)
    if gaussian:
        scores = np.sqrt(p.sigma * np.log(p.keys)) * rng.standard_normal(p.keys)
        return {"wins": 1 / np.sum(np.exp(scores - scores.max())) > p.tau}
    times = np.cumsum(rng.exponential(size=p.keys))
    weights = (times / times[0]) ** (-1 / x)
    rest = p.keys * (times[-1] / times[0]) ** (-1 / x) / (1 / x - 1)  # mean of the keys that are not drawn
    return {"wins": 1 / (np.sum(weights) + rest) > p.tau}


CONDENSED_FRACTION = Law(
    id="attention_only/condensed-fraction",
    source=Source(DERIVED),
    statement="""
    A typical foreign row condenses at sigma = g² delta² p/log N_1 = 2; beyond, its weights are a Poisson-Dirichlet
    process and some weight exceeds tau >= 1/2 with probability, as N -> infinity,

        ((1 - tau)/tau)^x sin(pi x)/(pi x),   x = sqrt(2/sigma).

    It rises slowly: one half only at sigma = 5.49 for tau = .5, at 13.1 for tau = .75. A finite number of keys runs
    ahead.
    """,
    params=Condensed,
    predict=lambda p: condensed_fraction(p.sigma, p.tau),
    measure=largest_weight,
    claim=Equality(of="wins", over="fraction", scale=1.0, resolve=0.1),
    controls={
        "a thousand keys for infinitely many": but(measure=partial(largest_weight, gaussian=True)),
        "every row from sigma = 2 on": but(predict=lambda p: 1.0),
    },
    examples=(Condensed(), Condensed(sigma=4.0), Condensed(sigma=13.1, tau=0.75)),
    draws=Draws(shapes=0, replicates=1500),
)


class Proportional(Params):
    """Foreign rows of K clusters at ``p = c log N``, as N grows."""

    heads: Annotated[int, Ge(2), Le(16)] = 4
    c: Annotated[float, Ge(4.0), Le(100.0), LogScale()] = 10.0


def log_foreign_rate(log_n: float, p: Proportional, sigma: float, spread: bool) -> float:
    """Logarithm of the rate at which a foreign row has a weight above 1/2, by an integral over its squared norm.

    The squared norm of the query over its mean is ``a ~ chi²_p/p``, its scores are normal of variance
    ``s² = sigma a log N``; one key wins against the truncated mean of the others. Without `spread` a = 1.
    """
    from scipy.special import gammaln, log_ndtr

    rank, log_keys = p.c * log_n, log_n - np.log(p.heads)
    a = np.geomspace(0.6, 6.0, 1501) if spread else np.ones(1)
    s = np.sqrt(sigma * log_n * a)
    rest = np.full(a.shape, log_n)
    for _ in range(200):
        before, rest = rest, np.logaddexp(log_keys + s**2 / 2 + log_ndtr(rest / s - s), log_n)
        if np.max(np.abs(rest - before)) < 1e-10:
            break
    won = np.minimum(log_keys + log_ndtr(-rest / s), 0.0)
    if not spread:
        return float(won[0])
    terms = won + rank / 2 * np.log(rank / 2 * a) - rank / 2 * a - gammaln(rank / 2)  # density of log a
    return float(terms.max() + np.log(np.trapezoid(np.exp(terms - terms.max()), np.log(a))))


@measurement
def foreign_edges(p: Proportional, stream, *, spread: bool = True):
    """sigma at which ``N (K - 1)`` rows break log 2 times on average, for N from e^20 to e^2000."""
    logs, found = np.geomspace(20, 2000, 12), []
    for log_n in logs:
        level, low, high = np.log(np.log(2)) - log_n - np.log(p.heads - 1), 0.01, 2.0
        for _ in range(32):  # to 1e-9
            middle = (low + high) / 2
            low, high = (low, middle) if log_foreign_rate(log_n, p, middle, spread) > level else (middle, high)
        found.append(low)
    return {"log n": logs, "sigma": np.array(found)}


FOREIGN_THRESHOLD_LIMIT = Law(
    id="attention_only/foreign-threshold-limit",
    source=Source(DERIVED),
    statement="""
    All foreign rows stay below a fixed threshold, as N -> infinity at p = c log N, iff sigma = g² delta² c is below
    sigma*(c), the smallest root of

        2 = min_{a >= 1} { (c/2)(a - 1 - log a) + (1 + sigma a/2)²/(2 sigma a) }

    (a row with a times the mean squared norm, and a key that beats the sum of the others). sigma* = .2817 at c =
    4/log 2, 2 (sqrt 2 - 1)² = .3431 for large c; finite N is off by O(log log N/log N). So the first layer can be exact
    for delta < sqrt(sigma*(c)/c) <= .221 only. Measured: the rate by an integral over norms, up to N = e^2000.
    """,
    params=Proportional,
    predict=lambda p: foreign_threshold(p.c),
    measure=foreign_edges,
    claim=Limit(of="sigma", along="log n", order=lambda x: np.log(x) / x, resolve=0.05),
    controls={
        "all rows of the mean norm": but(measure=partial(foreign_edges, spread=False)),
        "limit of large c": but(predict=lambda p: 2 * (np.sqrt(2) - 1) ** 2),
    },
    examples=(Proportional(), Proportional(c=4 / np.log(2)), Proportional(c=4.0, heads=2)),
    draws=Draws(shapes=0),
)
