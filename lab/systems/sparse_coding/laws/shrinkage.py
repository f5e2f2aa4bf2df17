"""A closed loop through the Lasso: each pass shrinks codes once more."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality, Limit
from lab.data.convolutional import filter_bank, spike_codes
from lab.errors import InputError
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import convolutional_coding as coding
from lab.objectives.coding_rate import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.sparse_coding import theory
from lab.systems.sparse_coding.dynamics import planted_signal

DERIVED = "derived for this laboratory; not found in arXiv:2302.09347"


class Loop(Params):
    """Codes with `nonzeros` entries of size 1 to 2, coded and decoded with penalty lam."""

    count: Annotated[int, Ge(1), Le(3)] = 2
    channels: Annotated[int, Ge(1), Le(2)] = 1
    size: Annotated[int, Ge(2), Le(10)] = 8
    length: Annotated[int, Ge(24), Le(64)] = 48
    nonzeros: Annotated[int, Ge(1), Le(8)] = 5
    lam: Annotated[float, Ge(1e-3), Le(0.4), LogScale()] = 0.1

    @model_validator(mode="after")
    def _filters_fit(self) -> Self:
        if 2 * self.size - 1 > self.length:
            raise ValueError(f"size={self.size} needs length >= {2 * self.size - 1}; raise length or lower size")
        return self


def spikes(p: Loop, stream) -> dict[str, np.ndarray]:
    """Filters and codes."""
    rng = stream.numpy("spikes")
    filters = filter_bank(rng, count=p.count, size=p.size, channels=p.channels)
    codes = spike_codes(rng, count=p.count, length=p.length, nonzeros=p.nonzeros, amplitude="uniform")
    return {"filters": filters, "codes": codes}


def debiased(codes: np.ndarray, signal: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Least squares on the support of `codes`."""
    support, found = np.flatnonzero(codes), np.zeros(codes.size)
    gram = coding.support_gram(filters, support, codes.shape[1])
    found[support] = np.linalg.solve(gram, coding.correlate(signal, filters).ravel()[support])
    return found.reshape(codes.shape)


CONDITION = 1e3


def passes(
    codes: np.ndarray, filters: np.ndarray, penalties: tuple[float, float], debias: bool
) -> tuple[np.ndarray, np.ndarray, bool]:
    """z = enc(D gamma), z^ = enc(D z), and whether both supports are well conditioned (below `CONDITION`)."""
    found, conditions = [codes], []
    for lam in penalties:
        signal = coding.decode(found[-1], filters)
        lasso = coding.lasso(signal, filters, lam=lam, start=found[-1])
        found.append(debiased(lasso.codes, signal, filters) if debias else lasso.codes)
        conditions.append(lasso.condition)
    return found[1], found[2], max(conditions) < CONDITION


@measurement
def looped(p: Loop, data, stream, *, debias: bool = False, weak: float = 0.0, second: float = 1.0):
    """Biases after one and two passes; departure from doubling; where the law speaks.

    `doubles`: both codes have the same signs, those of gamma where gamma is not zero. `same`: and no entry but gamma's.
    `weak` > 0 makes all entries of gamma that many lam large; `second` multiplies the penalty of the second pass.
    """
    codes = weak * p.lam * np.sign(data["codes"]) if weak > 0 else data["codes"]
    once, twice, sound = passes(codes, data["filters"], (p.lam, second * p.lam), debias)
    known = codes != 0
    right = np.all(np.sign(once[known]) == np.sign(codes[known]))
    doubles = sound and np.array_equal(np.sign(once), np.sign(twice)) and right
    same = doubles and np.count_nonzero(once) == np.count_nonzero(codes)
    return {
        "bias": codes - twice, "departure": twice - (2 * once - codes),
        "doubles": np.full(codes.shape, doubles), "same": np.full(codes.shape, same),
    }  # fmt: skip


def twice_shrunk(p: Loop, data, *, passes: float = 2.0) -> np.ndarray:
    """``2 lam (D_S^T D_S)^{-1} sgn`` on the support of gamma, zero elsewhere."""
    support = np.flatnonzero(data["codes"])
    b = theory.bias(data["filters"], support, np.sign(data["codes"].ravel()[support]), p.length)
    found = np.zeros(data["codes"].size)
    found[support] = passes * p.lam * b
    return found.reshape(data["codes"].shape)


def solve_units(p: Loop) -> float:
    """two solves with Gram matrices of condition below 1000, right-hand sides of at most 20 entries up to 2, each a sum
    of n products by transforms of length N"""
    return 2 * CONDITION * 20 * (p.size + 8 * np.log2(p.length))


DOUBLE_SHRINKAGE = Law(
    id="sparse_coding/double-shrinkage",
    source=Source(DERIVED),
    statement="""
    z = enc(D gamma), z^ = enc(D z), enc the Lasso with penalty lam. While S = supp z = supp z^ contains supp gamma,
    with equal signs (gamma may be zero on a part of S), gamma - z^ = 2 (gamma - z): a tied closed loop is biased
    twice as much as its codes. Measured: z^ - (2 z - gamma).
    """,
    params=Loop,
    situation=spikes,
    predict=lambda p: np.zeros((p.count, p.length)),
    measure=looped,
    claim=Equality(of="departure", given="doubles", rounding=solve_units, scale=lambda p: p.lam),
    controls={
        "half the penalty in the second pass": but(measure=partial(looped, second=0.5)),
        "entries of 1.25 lam, which die": but(measure=partial(looped, weak=1.25),
                                              claim=Equality(of="departure", rounding=solve_units, scale=1.0)),
    },
    examples=(Loop(), Loop(count=1, nonzeros=1), Loop(lam=0.4), Loop(count=3, channels=2, lam=1e-3)),
    draws=Draws(shapes=8, values=2),
)

LOOP_BIAS = Law(
    id="sparse_coding/loop-bias",
    source=Source(DERIVED),
    statement="""
    Where the loop of sparse_coding/double-shrinkage keeps exactly the support of gamma, two passes subtract
    2 lam (D_S^T D_S)^{-1} sgn gamma_S. Measured: gamma - z^.
    """,
    params=Loop,
    situation=spikes,
    predict=twice_shrunk,
    measure=looped,
    claim=Equality(of="bias", given="same", rounding=solve_units, scale=lambda p: p.lam),
    controls={
        "one pass": but(predict=partial(twice_shrunk, passes=1.0)),
        "debiased codes": but(measure=partial(looped, debias=True)),
    },
    examples=DOUBLE_SHRINKAGE.examples,
    draws=DOUBLE_SHRINKAGE.draws,
)

DEBIASED_LOOP = Law(
    id="sparse_coding/debiased-loop",
    source=Source(DERIVED),
    statement="""
    With least squares on the support after each pass (debiasing) the loop of sparse_coding/double-shrinkage is exact:
    z^ = gamma. Measured: gamma - z^.
    """,
    params=Loop,
    situation=spikes,
    predict=lambda p: np.zeros((p.count, p.length)),
    measure=partial(looped, debias=True),
    claim=Equality(of="bias", given="doubles", rounding=solve_units, scale=lambda p: p.lam),
    controls={"shrunk codes": but(measure=looped)},
    examples=DOUBLE_SHRINKAGE.examples,
    draws=DOUBLE_SHRINKAGE.draws,
)


# ---------------------------------------------------------------------- how far the loop moves the codes


class Cloud(Params):
    """Samples with one support and one sign pattern, entries of size 1 to 2; precision ``beta = d_z/eps²``."""

    count: Annotated[int, Ge(1), Le(3)] = 2
    size: Annotated[int, Ge(2), Le(8)] = 6
    length: Annotated[int, Ge(24), Le(48)] = 32
    nonzeros: Annotated[int, Ge(1), Le(5)] = 4
    samples: Annotated[int, Ge(2), Le(8)] = 4
    beta: Annotated[float, Ge(0.1), Le(100.0), LogScale()] = 10.0


PENALTIES = 0.1 * 0.5 ** np.arange(6)


def cloud(p: Cloud, stream) -> dict[str, np.ndarray]:
    """Filters and codes (samples, M, N); a draw on which the loop keeps the support at the largest penalty."""
    rng = stream.numpy("cloud")
    for _ in range(400):
        filters = filter_bank(rng, count=p.count, size=p.size)
        pattern = spike_codes(rng, count=p.count, length=p.length, nonzeros=p.nonzeros)
        slack, b = room(filters, pattern)
        if slack > 0.05 and 2 * PENALTIES[0] * np.max(np.abs(b)) < 0.9:
            return {"filters": filters, "codes": pattern * rng.uniform(1, 2, (p.samples, *pattern.shape))}
    raise InputError(f"no pattern that the loop keeps at {p}; lower nonzeros")


def room(filters: np.ndarray, pattern: np.ndarray) -> tuple[float, np.ndarray]:
    """Slack of the optimality conditions of the pattern, and its bias b."""
    support = np.flatnonzero(pattern)
    return planted_signal(filters, pattern, 1.0)[1], theory.bias(
        filters, support, pattern.ravel()[support], pattern.shape[1]
    )


@measurement
def moved(p: Cloud, data, stream, *, debias: bool = False):
    """dist(Z, Z^)/lam² at penalties .1, .05, ..., by coding rates: ``R([Z, Z^]) - R(Z)/2 - R(Z^)/2``, along 1/lam."""
    filters, support = data["filters"], np.flatnonzero(data["codes"][0])
    eps, found = np.sqrt(support.size / p.beta), []
    for lam in PENALTIES:
        pairs = [passes(codes, filters, (lam, lam), debias)[:2] for codes in data["codes"]]
        once, twice = (np.stack([pair[i].ravel()[support] for pair in pairs]) for i in (0, 1))
        rate = partial(coding_rate, eps=eps, spectral=True)
        apart = rate(np.concatenate([once, twice])) - rate(once) / 2 - rate(twice) / 2
        found.append(float(apart) / lam**2)
    return {"inverse": 1 / PENALTIES, "distance": np.array(found)}


def coefficient(p: Cloud, data, *, samples: int | None = None) -> np.ndarray:
    """The limit at every penalty; from the first so many samples on request."""
    support = np.flatnonzero(data["codes"][0])
    codes = data["codes"].reshape(p.samples, -1)[:, support]
    b = theory.bias(data["filters"], support, np.sign(codes[0]), p.length)
    return np.full(PENALTIES.size, theory.distance_coefficient(codes[:samples], b, p.beta))


def cancellation(p: Cloud) -> float:
    """a difference of rates of at most |S|/2 log(1 + 4 beta |S|) each, 32 |S| epsilons of that, over the least lam²"""
    rate = p.nonzeros / 2 * np.log1p(4 * p.beta * p.nonzeros)
    return float(32 * p.nonzeros * rate * np.finfo(float).eps / PENALTIES[-1] ** 2)


LOOP_DISTANCE = Law(
    id="sparse_coding/loop-distance",
    source=Source(DERIVED),
    statement="""
    Codes Z and their images Z^ under the loop of sparse_coding/double-shrinkage (many samples, one support and sign
    pattern) have Bhattacharyya distance dist = beta²/16 tr[(A^{-1} d)²] lam² (1 + O(lam)), A = I + beta mean(gamma
    gamma^T), d = -(mean(gamma) b^T + b mean(gamma)^T), b = (D_S^T D_S)^{-1} sgn. Measured: dist/lam² for lam from .1
    down to .1/32, extrapolated.
    """,
    params=Cloud,
    situation=cloud,
    predict=coefficient,
    measure=moved,
    claim=Limit(of="distance", along="inverse", order=1.0, floor=cancellation),
    controls={
        "moments of one sample": but(predict=partial(coefficient, samples=1)),
        "debiased codes": but(measure=partial(moved, debias=True)),
    },
    examples=(Cloud(), Cloud(count=1, nonzeros=2, beta=1.0)),
    draws=Draws(shapes=1, values=1),
)
