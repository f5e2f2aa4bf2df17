"""Neighbourhoods overlap: variance of TwoNN and its relatives, coverage of intervals, and pairs within a radius."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality
from lab.data.flattening import uniform_points
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.dimension import levina_bickel, overlap_factor
from lab.params import Ge, Le, Params
from lab.systems.intrinsic_dimension import theory
from lab.systems.intrinsic_dimension.laws.neighbours import DERIVED

SETS = 60
"""Data sets of one replicate."""
LEVEL = 0.95
WITHIN = 0.1
"""Part of the statement: how close the fitted factor is."""
TWONN = "Scientific Reports 7, 12140"


class Overlap(Params):
    """n uniform points of the flat torus of dimension d, k neighbours; k = 2 is TwoNN."""

    d: Annotated[int, Ge(1), Le(5)] = 2
    n: Annotated[int, Ge(150), Le(300)] = 200
    k: Annotated[int, Ge(2), Le(20)] = 2


@measurement
def estimates(p: Overlap, stream, *, boundary: bool = False):
    """``n (k-1) Var/d²`` of the estimates of 60 data sets; shares of 95 % intervals that contain d, with and without
    the correction for the overlap. A `boundary` makes the torus an open cube.
    """
    x = uniform_points(stream.numpy("points"), "torus", p.n, p.d, SETS)
    found = [levina_bickel(one, p.k, period=None if boundary else 1.0, level=LEVEL) for one in x]
    value, reach = np.array([f.value for f in found]), np.log(found[0].high / found[0].value)
    off = np.abs(np.log(value / p.d))
    return {
        "variance": p.n * (p.k - 1) * np.var(value, ddof=1) / p.d**2,
        "covered": np.array([np.mean(off < reach), np.mean(off < reach / np.sqrt(overlap_factor(p.k)))]),
    }


def factor(p: Overlap, *, independent: bool = False) -> float:
    """2 - .42 (k-1)^(-1/10), 1.58 for TwoNN; 1 if neighbourhoods were independent."""
    return 1.0 if independent else overlap_factor(p.k)


def fit(p: Overlap) -> float:
    """the statement: within .1 of the fit, for d from 1 to 5 and k from 2 to 20"""
    return WITHIN


EXAMPLES = (Overlap(d=1), Overlap(d=3), Overlap(d=2, k=5))
DRAWS = Draws(shapes=0, replicates=32)

TWONN_VARIANCE = Law(
    id="intrinsic_dimension/twonn-variance",
    source=Source(DERIVED, f"a variance of d²/N is assumed for {TWONN} and its relatives"),
    statement="""
    Neighbourhoods overlap, so N Var/d² of the TwoNN estimate (N - 1)/sum ln(T_2/T_1) is about 1.58 (within .1, flat
    tori of dimension 1 to 5), not 1; with k neighbours, N (k - 1) Var/d² = 2 - .42 (k - 1)^(-1/10) within .1 up to
    k = 20. For all pairs within a fixed radius it is 2 (intrinsic_dimension/pair-variance).
    """,
    params=Overlap,
    predict=factor,
    measure=estimates,
    claim=Equality(of="variance", over="mean", stated=fit, resolve=0.25),
    controls={
        "independent neighbourhoods": but(predict=partial(factor, independent=True)),
    },
    examples=EXAMPLES,
    draws=DRAWS,
)

TWONN_VARIANCE_PRINTED = TWONN_VARIANCE.printed(
    "intrinsic_dimension/twonn-variance-printed",
    source=Source("Levina, Bickel 2004, NIPS 17", "variance of the maximum likelihood estimate, used for its average"),
    statement="""
    As used: the N local estimates count as independent, so the variance is d²/(N (k - 1)), d²/N for TwoNN. It is 1.6
    times that: textbook intervals are 21 % too narrow.
    """,
    predict=partial(factor, independent=True),
    at=EXAMPLES,
)


# ---------------------------------------------------------------------- coverage


def nominal(p: Overlap, *, believed: bool = False) -> np.ndarray:
    """.95 with the correction, 2 Phi(1.96/sqrt c) - 1 without, .881 for TwoNN (.95 if `believed`)."""
    textbook = LEVEL if believed else float(theory.coverage(LEVEL, overlap_factor(p.k)))
    return np.array([LEVEL, textbook])


def factor_within(p: Overlap) -> np.ndarray:
    """the coverage at a variance factor larger or smaller by .1; and 1/(n (k-1)) for skewness and bias, whose terms of
    first order cancel in a two-sided interval (the next have a coefficient of .02 for independent points)"""
    c = overlap_factor(p.k)
    ends = [[float(theory.coverage(LEVEL, (c + sign * WITHIN) / base)) for base in (c, 1.0)] for sign in (-1, 1)]
    return np.max(np.abs(np.array(ends) - nominal(p)), axis=0) + 1 / (p.n * (p.k - 1))


INTERVAL_COVERAGE = Law(
    id="intrinsic_dimension/interval-coverage",
    source=Source(DERIVED),
    statement="""
    Intervals d_hat exp(± z sqrt(c/(N (k - 1)))) with the overlap in c contain d as often as they say, 95 %; with c = 1
    they contain it with probability 2 Phi(z/sqrt c) - 1, 88 % for TwoNN. Judged: both.
    """,
    params=Overlap,
    predict=nominal,
    measure=estimates,
    claim=Equality(of="covered", over="mean", finite_size=factor_within, resolve=0.1),
    controls={
        "a boundary": but(measure=partial(estimates, boundary=True)),
        "textbook intervals believed": but(predict=partial(nominal, believed=True)),
    },
    examples=EXAMPLES,
    draws=DRAWS,
)


# ---------------------------------------------------------------------- pairs


class Pairs(Params):
    """All pairs nearer than r among n uniform points of the flat torus of dimension d."""

    d: Annotated[int, Ge(1), Le(5)] = 2
    n: Annotated[int, Ge(10), Le(200)] = 40
    r: Annotated[float, Ge(0.05), Le(0.5)] = 0.3


@measurement
def pair_sums(p: Pairs, stream, *, boundary: bool = False):
    """Squares of the sum of ``ln(r/distance) - 1/d`` over unordered pairs nearer than r, mean over 60 data sets, over
    the mean number of pairs divided by d².
    """
    x = uniform_points(stream.numpy("points"), "torus", p.n, p.d, SETS)
    i, j = np.triu_indices(p.n, 1)
    gap = np.abs(x[:, i] - x[:, j])
    distance = np.sqrt(np.sum((gap if boundary else np.minimum(gap, 1 - gap)) ** 2, axis=-1))
    near = distance < p.r
    sums = np.sum(np.where(near, np.log(p.r / distance) - 1 / p.d, 0.0), axis=-1)
    return {"square": np.mean(sums**2) * p.d**2 / theory.pairs_within(p.n, p.d, p.r)}


def pair_variance(p: Pairs, *, ordered: bool = False) -> float:
    """1 in units of the number of unordered pairs; 2 if ordered pairs are taken for so many independent distances."""
    return 2.0 if ordered else 1.0


PAIR_VARIANCE = Law(
    id="intrinsic_dimension/pair-variance",
    source=Source(DERIVED, "an exact form of the error that Takens 1985 gives"),
    statement="""
    On a flat torus (any homogeneous space where balls grow as t^d) the logarithms ln(r/distance) - 1/d of all unordered
    pairs within r have mean 0 and are uncorrelated, at every N and every r <= 1/2: the mean over one point does not
    depend on the other. So their sum has the variance of independent terms, E M/d², M the number of pairs; seen from
    every point, each distance counts twice, and the variance of the mean is 2/(d² N k) with k neighbours each.
    """,
    params=Pairs,
    predict=pair_variance,
    measure=pair_sums,
    claim=Equality(of="square", over="mean", resolve=0.3),
    controls={
        "a boundary": but(measure=partial(pair_sums, boundary=True)),
        "pairs counted from both ends": but(predict=partial(pair_variance, ordered=True)),
    },
    examples=(Pairs(), Pairs(d=1, n=20, r=0.5), Pairs(d=3, r=0.4), Pairs(d=5, r=0.5)),
    draws=Draws(shapes=0, replicates=24),
)
