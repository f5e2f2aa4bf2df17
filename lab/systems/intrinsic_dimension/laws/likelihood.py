"""Averages of the maximum likelihood estimate: one is biased by (k-1)/(k-2), one is not biased at all."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

from pydantic import model_validator

from lab.claims import Equality
from lab.law import Draws, Law, Source, but
from lab.params import Ge, Le
from lab.systems.intrinsic_dimension import theory
from lab.systems.intrinsic_dimension.laws.neighbours import DERIVED, Neighbours, neighbours, wrapped

LB04 = "Levina, Bickel 2004, NIPS 17"


class Likelihood(Neighbours):
    """... with k >= 5 neighbours, so that the mean of local estimates has three finite moments."""

    k: Annotated[int, Ge(5), Le(12)] = 5

    @model_validator(mode="after")
    def _seldom_wrapped(self) -> Self:
        if self.space == "torus" and theory.wrap_probability(self.n, self.k, self.d) > 1e-5:
            raise ValueError(f"n={self.n}: the k-th neighbour is too often farther than 1/2 on the torus; raise n")
        return self


def estimate(p: Likelihood, *, unbiased: bool = False) -> float:
    """d (k - 1)/(k - 2), or d."""
    return float(p.d) if unbiased else float(theory.mean_estimate(p.d, p.k))


def wrapped_estimate(p: Likelihood) -> float:
    """where the k-th neighbour is beyond 1/2 (chance at most 1e-5) the local estimate stays below ten times its mean:
    the exponent of a ball that wraps falls to 0"""
    return 10 * float(theory.mean_estimate(p.d, p.k)) * wrapped(p)


def wrapped_mean(p: Likelihood) -> float:
    """where the k-th neighbour is beyond 1/2 (chance at most 1e-5) m_k stays below ten times its mean: the exponent of
    a ball that wraps falls to 0 at the largest distance, sqrt(d)/2, only"""
    return 10 / p.d * wrapped(p)


EXAMPLES = (
    Likelihood(), Likelihood(space="circle", d=1), Likelihood(n=8, k=7), Likelihood(space="torus", d=5, n=250),
    Likelihood(space="torus", d=3, n=200, k=12),
)  # fmt: skip

LEVINA_BICKEL_BIAS = Law(
    id="intrinsic_dimension/levina-bickel-bias",
    source=Source(LB04, "the estimator, whose mean there is asymptotic; exact at every N here"),
    statement="""
    Where balls grow as t^d, (k - 1) d m_k is a Gamma(k - 1) variable at every N > k. So the mean over points of the
    maximum likelihood estimates 1/m_k is d (k - 1)/(k - 2), for k >= 3; its variance is finite for k >= 4. Judged at
    k >= 5. The factor (k - 2)/(k - 1) makes it unbiased.
    """,
    params=Likelihood,
    predict=estimate,
    measure=neighbours,
    claim=Equality(of="estimate", over="mean", finite_size=wrapped_estimate, resolve=0.05),
    controls={
        "the dimension itself": but(predict=partial(estimate, unbiased=True)),
        "a boundary": but(measure=partial(neighbours, boundary=True)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0, replicates=12),
)

MEAN_LOG_RATIO = Law(
    id="intrinsic_dimension/mean-log-ratio",
    source=Source(DERIVED),
    statement="""
    The mean of m_k over points is 1/d at every N > k, k >= 2: the only average without bias. Its inverse (MacKay and
    Ghahramani) is biased by its own relative variance, about 1.6/(N (k - 1)).
    """,
    params=Likelihood,
    predict=lambda p: 1 / p.d,
    measure=neighbours,
    claim=Equality(of="mean", over="mean", finite_size=wrapped_mean, resolve=0.05),
    controls={
        "a boundary": but(measure=partial(neighbours, boundary=True)),
        "inverse of the mean estimate": but(predict=lambda p: 1 / estimate(p)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0, replicates=12),
)

OPEN_CUBE_PRINTED = MEAN_LOG_RATIO.printed(
    "intrinsic_dimension/open-cube-printed",
    source=Source("common practice", "uniform samples of the unit cube as a test bed of dimension d"),
    statement="""
    As practised: points uniform in the open cube [0, 1)^d have dimension d for estimators. They have a boundary, where
    balls are cut: 500 points at d = 5 measure 4.5 with 5 neighbours. On the periodic cube the mean of m_k is 1/d.
    """,
    measure=partial(neighbours, boundary=True),
    at=(Likelihood(space="torus", d=5, n=500), Likelihood(space="torus", d=3, n=200)),
)
