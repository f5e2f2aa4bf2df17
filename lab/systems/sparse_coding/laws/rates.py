"""Asymptotic rates of ISTA, FISTA and of the lagged gradient that published code runs in FISTA's place."""

from __future__ import annotations

from functools import cache, partial
from typing import Annotated, Any, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Classification, Equality, Rate
from lab.data.convolutional import filter_bank, spike_codes
from lab.errors import InputError
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import convolutional_coding as coding
from lab.params import Ge, Le, LogScale, Params
from lab.systems.sparse_coding import theory
from lab.systems.sparse_coding.dynamics import errors, planted_signal

TBZ = "arXiv:1501.02888"
SDNET = "code of arXiv:2210.12945 (the coding layer of arXiv:2302.09347)"
DERIVED = "derived for this laboratory; not found in arXiv:2302.09347"
SLACK, LEAST = 0.05, 0.02


class Planted(Params):
    """A signal whose minimiser is known: at most `nonzeros` entries of size 1 to 2, conditions met with some room.

    Problems have slack at least .05 and curvature ``s = sigma_min²(D_S)/L`` at least .02.
    """

    count: Annotated[int, Ge(1), Le(3)] = 2
    channels: Annotated[int, Ge(1), Le(2)] = 1
    size: Annotated[int, Ge(2), Le(10)] = 8
    length: Annotated[int, Ge(24), Le(96)] = 64
    nonzeros: Annotated[int, Ge(2), Le(8)] = 6
    nonnegative: bool = False
    lam: Annotated[float, Ge(0.02), Le(1.0), LogScale()] = 0.3

    @model_validator(mode="after")
    def _filters_fit(self) -> Self:
        if 2 * self.size - 1 > self.length:
            raise ValueError(f"size={self.size} needs length >= {2 * self.size - 1}; raise length or lower size")
        return self


def planted(p: Planted, stream) -> dict[str, np.ndarray]:
    """Filters, minimiser and signal of the first draw with the room that `Planted` asks for."""
    rng = stream.numpy("planted")
    for attempt in range(600):
        filters = filter_bank(rng, count=p.count, size=p.size, channels=p.channels)
        nonzeros = max(1, p.nonzeros - attempt // 100)
        law = "positive" if p.nonnegative else "uniform"
        codes = spike_codes(rng, count=p.count, length=p.length, nonzeros=nonzeros, amplitude=law)
        signal, slack = planted_signal(filters, codes, p.lam, nonnegative=p.nonnegative)
        if slack >= SLACK and theory.slowest_mode(filters, codes)[0] >= LEAST:
            return {"filters": filters, "codes": codes, "signal": signal}
    raise InputError(f"no problem with slack {SLACK} at {p}; lower nonzeros")


def slowest(data) -> np.ndarray:
    """Eigenvector of ``D_S^T D_S`` for its least eigenvalue, from correlations of the filters."""
    support = np.flatnonzero(data["codes"])
    return np.linalg.eigh(coding.support_gram(data["filters"], support, data["codes"].shape[1]))[1][:, 0]


def ready(identified: np.ndarray) -> int:
    """Number of steps after which support and signs stay those of the minimiser."""
    wrong = np.flatnonzero(~identified)
    return int(wrong[-1]) + 2 if wrong.size else 1


def run(p: Planted, data, method: coding.Method, steps: int, step: float | None = None):
    """Errors on the way from zero to the planted minimiser."""
    return errors(
        data["signal"], data["filters"], data["codes"], lam=p.lam, method=method, steps=steps,
        nonnegative=p.nonnegative, step=step,
    )  # fmt: skip


# ---------------------------------------------------------------------- ISTA

RATIOS, SMALLEST = 32, 1e-6


@measurement
def component_ratios(p: Planted, data, stream, *, method: coding.Method = "ista", shorter: float = 1.0):
    """Factors per step of the error's component along the slowest mode, `RATIOS` of them after identification.

    Judged while the component exceeds `SMALLEST` of the minimiser's norm. `shorter` multiplies the step.
    """
    filters, norm = data["filters"], np.linalg.norm(data["codes"])
    step = shorter / float(coding.operator_norm(filters, p.length))
    found = run(p, data, method, 1500, step)
    component = found.on @ slowest(data)
    start = min(ready(found.identified), 1500 - RATIOS - 1) - 1
    before, after = component[start : start + RATIOS], component[start + 1 : start + RATIOS + 1]
    judged = found.identified[start] & (np.abs(before) > SMALLEST * norm)
    return {"ratio": np.where(judged, after / np.where(judged, before, 1.0), 0.0), "judged": judged}


def ratio_units(p: Planted, data) -> float:
    """two transforms of length N (4 log2 N epsilons each way) and sums over maps and channels, on vectors of norm
    |gamma| and |D^T x|/L, twice, over a component of at least 1e-6 |gamma|"""
    filters, norm = data["filters"], float(np.linalg.norm(data["codes"]))
    pull = np.linalg.norm(coding.correlate(data["signal"], filters)) / coding.operator_norm(filters, p.length)
    operations = 8 * np.log2(p.length) + 2 * p.count * p.channels + 8
    return float(2 * operations * (norm + pull) / (SMALLEST * norm))


def by_mode(p: Planted, data, *, of: Any) -> float:
    """A rate at the curvature of the slowest mode."""
    return float(of(theory.slowest_mode(data["filters"], data["codes"])[0]))


ISTA_LOCAL_RATE = Law(
    id="sparse_coding/ista-local-rate",
    source=Source(TBZ, "local linear convergence of ISTA; the exact component derived for this laboratory"),
    statement="""
    Minimiser with support S, strict dual feasibility, ``s = sigma_min²(D_S)/L``, steps 1/L: once support and signs are
    those of the minimiser, the component of the error along the right singular vector of sigma_min(D_S) is multiplied
    by exactly 1 - s in every step; all others fall faster. Measured: ratios of that component, 32 steps.
    """,
    params=Planted,
    situation=planted,
    predict=partial(by_mode, of=theory.ista_factor),
    measure=component_ratios,
    claim=Equality(of="ratio", given="judged", rounding=ratio_units),
    controls={
        "lagged gradient": but(measure=partial(component_ratios, method="lagged")),
        "step 5 % shorter": but(measure=partial(component_ratios, shorter=0.95)),
    },
    examples=(Planted(), Planted(nonnegative=True, count=3, size=5), Planted(channels=2, count=3, length=32, size=4)),
    draws=Draws(shapes=6, values=2),
)


# ---------------------------------------------------------------------- FISTA

POINTS = 24


def envelope(path: np.ndarray) -> np.ndarray:
    """Amplitude of oscillating modes (columns) after 2, 3, ... steps: ``sqrt(c_k² - c_{k+1} c_{k-1})``, squares summed.

    For ``c_k = a r^k cos(k w + phase)`` it is ``a r^k sin w``, without oscillation and without knowing r or w. A factor
    k^-q would leave a relative error ``q/(2 k² sin² w)``; the weight k^{3/2} takes it out where q is 3/2.
    """
    weight = np.arange(1, len(path) + 1)[:, None] ** 1.5
    c = weight * path
    square = np.sum(c[1:-1] ** 2 - c[2:] * c[:-2], axis=1)
    return np.sqrt(np.maximum(square, 0.0)) / weight[1:-1, 0]


@measurement
def component_envelope(p: Planted, data, stream, *, method: coding.Method = "fista"):
    """Amplitude of the error's component along the slowest mode, at 24 steps after identification."""
    s = theory.slowest_mode(data["filters"], data["codes"])[0]
    last = int(24 / s)  # where (1 - s)^(k/2) is 6e-6; only the window depends on s
    found = run(p, data, method, 4 * last + POINTS)
    first = min(max(last // 3, ready(found.identified)), 2 * last)
    k = np.linspace(first, max(last, 2 * first, first + POINTS - 1), POINTS).astype(int)
    return {"k": k.astype(float), "envelope": envelope(found.on @ slowest(data)[:, None])[k - 2]}


def damping(k: np.ndarray) -> np.ndarray:
    """What momentum adds to the slope of log amplitude, ``log(b_k)/2``; next to 1 - s it is the next order."""
    return 0.5 * np.interp(k, *tabled())


@cache
def tabled() -> tuple[np.ndarray, np.ndarray]:
    """Steps and logarithms of the momentum there, from the third on (before there is none)."""
    return np.arange(3, 6001), np.log(theory.momentum(6000)[2:])


def transform_noise(p: Planted) -> float:
    """8 log2 N epsilons a step of a vector of norm at most 2 sqrt(nonzeros), which a mode of curvature s keeps for 1/s
    steps, at most 50"""
    return float(50 * 8 * np.log2(p.length) * np.finfo(float).eps * 2 * np.sqrt(p.nonzeros))


FISTA_LOCAL_RATE = Law(
    id="sparse_coding/fista-local-rate",
    source=Source(TBZ, "local convergence of FISTA"),
    statement="""
    In the setting of sparse_coding/ista-local-rate the slowest mode of FISTA oscillates with an amplitude that falls
    like k^{-3/2} (1 - s)^{k/2}: asymptotically FISTA is slower than ISTA, (1 - s)^k, for every s. Measured: limit of
    the slopes of log amplitude against k, the amplitude read off three successive values.
    """,
    params=Planted,
    situation=planted,
    predict=partial(by_mode, of=theory.fista_rate),
    measure=component_envelope,
    claim=Rate(of="envelope", along="k", semilog=True, order=damping, floor=transform_noise),
    controls={
        "rate of ISTA": but(predict=partial(by_mode, of=lambda s: np.log(theory.ista_factor(s)))),
        "lagged gradient": but(measure=partial(component_envelope, method="lagged")),
    },
    examples=(Planted(), Planted(nonnegative=True, count=3, size=5), Planted(channels=2, count=3, length=32, size=4)),
    draws=Draws(shapes=4, values=2),
)


# ---------------------------------------------------------------------- the lagged gradient

TIMES = np.geomspace(300, 2000, POINTS).astype(int)


@measurement
def long_run(p: Planted, data, stream, *, method: coding.Method = "lagged"):
    """Amplitude of the whole error, and mean gap over [k, 2 k], at 24 steps k between 300 and 2000.

    The mean has the smooth weights ``sin²(pi (j - k)/k)``, which leave nothing of the gap's oscillation.
    """
    found = run(p, data, method, 2 * TIMES[-1])
    gaps = np.array([2 / k * np.sin(np.pi * np.arange(k) / k) ** 2 @ found.gaps[k - 1 : 2 * k - 1] for k in TIMES])
    return {"k": TIMES.astype(float), "error": envelope(found.on)[TIMES - 2], "gap": gaps}


def next_order(k: np.ndarray) -> np.ndarray:
    """What the momentum adds to the log-log slope -3/2 at finite k, of order log k/k."""
    return k * damping(k) + 1.5


def last_slope(p: Planted) -> float:
    """the next order at the last step: t_k = k/2 + log(k)/4 + O(1) moves the slope there by 3/2 (log(k)/2 + 1)/k; the
    limit of a gap, quadratic in the error, by twice as much"""
    k = TIMES[-1]
    return float(3 * (np.log(k) / 2 + 1) / k)


LAGGED_GRADIENT = Law(
    id="sparse_coding/lagged-gradient",
    source=Source(DERIVED),
    statement="""
    With the gradient at the last iterate and momentum as in FISTA (published code: a heavy ball whose momentum tends to
    1 like 1 - 3/k) the error falls like k^{-3/2} in every mode, whatever the problem: there is no linear phase.
    Measured: limit of the log-log slopes of the amplitude of the whole error, k from 300 to 2000.
    """,
    params=Planted,
    situation=planted,
    predict=lambda p: theory.LAGGED_ERROR,
    measure=long_run,
    claim=Rate(of="error", along="k", order=next_order, stated=last_slope, floor=transform_noise),
    controls={"FISTA": but(measure=partial(component_envelope, method="fista"), claim=Rate(of="envelope", along="k"))},
    examples=(Planted(), Planted(nonnegative=True, count=3, size=5), Planted(channels=2, count=3, length=32, size=4)),
    draws=Draws(shapes=1, values=2),
)

LAGGED_GAP = Law(
    id="sparse_coding/lagged-gradient-gap",
    source=Source(DERIVED),
    statement="""
    With the lagged gradient the gap F(gamma_k) - F* falls like k^-3. Measured: limit of the log-log slopes of its mean
    over [k, 2 k], k from 300 to 2000.
    """,
    params=Planted,
    situation=planted,
    predict=lambda p: theory.LAGGED_GAP,
    measure=long_run,
    claim=Rate(of="gap", along="k", order=next_order, stated=last_slope),
    controls={"rate of FISTA's bound": but(predict=lambda p: -2.0)},
    examples=LAGGED_GRADIENT.examples,
    draws=LAGGED_GRADIENT.draws,
)

LAGGED_PRINTED = FISTA_LOCAL_RATE.printed(
    "sparse_coding/lagged-gradient-printed",
    source=Source(SDNET, "fista_forward"),
    statement="""
    As published code has it: the layer runs FISTA, so its errors fall like k^{-3/2} (1 - s)^{k/2}. It evaluates the
    gradient at the last iterate, not at the extrapolated point, and has no linear rate at all
    (sparse_coding/lagged-gradient). Published networks take two steps, where the two agree
    (sparse_coding/lagged-gradient-start).
    """,
    measure=partial(component_envelope, method="lagged"),
    at=(Planted(), Planted(channels=2, count=3, length=32, size=4)),
)


@measurement
def first_difference(p: Planted, data, stream, *, method: coding.Method = "lagged"):
    """Whether codes of two methods differ, after 1 to 4 steps."""
    methods: tuple[coding.Method, ...] = ("fista", method)
    one, other = (
        coding.iterates(data["signal"], data["filters"], lam=p.lam, method=m, nonnegative=p.nonnegative)
        for m in methods
    )
    size = np.linalg.norm(data["codes"])
    apart = np.array([np.linalg.norm(next(one) - next(other)) for _ in range(4)])
    return {"differs": apart > 1e3 * p.length * np.finfo(float).eps * size}


LAGGED_START = Law(
    id="sparse_coding/lagged-gradient-start",
    source=Source(DERIVED),
    statement="""
    The lagged gradient and FISTA give the same codes for two steps, as t_1 = 1 leaves no momentum there, and different
    ones from the third step on. Measured: whether codes differ after 1, 2, 3 and 4 steps.
    """,
    params=Planted,
    situation=planted,
    predict=lambda p: [0.0, 0.0, 1.0, 1.0],
    measure=first_difference,
    claim=Classification(of="differs", joint=True, resolve=0.3),
    controls={
        "FISTA itself": but(measure=partial(first_difference, method="fista")),
        "momentum from the second step": but(predict=lambda p: [0.0, 1.0, 1.0, 1.0]),
    },
    examples=LAGGED_GRADIENT.examples,
    draws=Draws(shapes=6, values=4),
)
