"""The distance of the loop is Bhattacharyya's: its root is a metric, it bounds errors, it is a quadratic form."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Bound, Equality, Limit
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import closed_loops
from lab.params import Ge, Le, LogScale, Params
from lab.systems.ctrl import theory
from lab.systems.ctrl.laws.multiple_subspaces import DERIVED


class Moments(Params):
    """Second moments of `rank` standard Gaussian samples in R^d."""

    d: Annotated[int, Ge(1), Le(4)] = 3
    rank: Annotated[int, Ge(1), Le(6)] = 2
    beta: Annotated[float, Ge(0.1), Le(10.0), LogScale()] = 3.0


NORM = 200.0
"""Norms of moments: a chi-square of 4 degrees exceeds 27 once in 50 000 draws, and `excess` scales by e² at most."""


def wishart(rng: np.random.Generator, p: Moments, count: int) -> np.ndarray:
    rows = rng.standard_normal((count, p.rank, p.d))
    return rows.mT @ rows / p.rank


@measurement
def affinity_ratio(p: Moments, stream, *, samples: int = 4000, scale: float = 1.0):
    """Mean of sqrt(q/p) over samples of p, which estimates the integral of sqrt(p q), divided by exp(-dist): p and q
    the densities of N(0, I + beta C), N(0, I + beta Chat). `scale` multiplies beta in the distance."""
    rng = stream.numpy("samples")
    moments = wishart(rng, p, 2)
    first, second = moments
    A, B = np.eye(p.d) + p.beta * moments
    x = rng.standard_normal((samples, p.d)) @ np.linalg.cholesky(A).T
    log_p, log_q = (-np.linalg.slogdet(M)[1] - np.sum(x * np.linalg.solve(M, x.T).T, axis=1) for M in (A, B))
    integral = np.mean(np.exp(0.25 * (log_q - log_p)))
    return integral * np.exp(closed_loops.distance(first, second, scale * p.beta))


DISTANCE = Law(
    id="ctrl/distance-is-bhattacharyya",
    source=Source(DERIVED),
    statement="""
    dist(Z, Zhat), the rate of the union of two sets of features minus the mean of their rates, is the Bhattacharyya
    distance of N(0, I + beta C) and N(0, I + beta Chat), exp(-dist) = integral of sqrt(p q): half the Stein divergence,
    >= 0, and 0 iff C = Chat. It never says that Z = Zhat sample by sample. Measured is the integral, by sampling,
    divided by exp(-dist) as the games compute it, over random moments.
    """,
    params=Moments,
    predict=lambda p: 1.0,
    measure=affinity_ratio,
    claim=Equality(over="mean", resolve=0.1),
    controls={"eps² for eps²/2": but(measure=partial(affinity_ratio, scale=2.0))},
    examples=(Moments(), Moments(d=2, rank=1, beta=10.0)),
    draws=Draws(shapes=2, values=1, replicates=40),
)


@measurement
def excess(p: Moments, stream, *, triples: int = 500, root: bool = True):
    """Largest d(1,3) - d(1,2) - d(2,3) over random triples of moments, of any rank, d the root of the distance."""
    rng = stream.numpy("moments")
    C = wishart(rng, p, 3 * triples).reshape(3, triples, p.d, p.d) * np.exp(rng.uniform(-2, 2, (3, triples, 1, 1)))
    direct, one, two = (closed_loops.distance(C[i], C[j], p.beta) for i, j in ((0, 2), (0, 1), (1, 2)))
    sides = [np.sqrt(side) if root else side for side in (direct, one, two)]
    return np.max(sides[0] - sides[1] - sides[2])


def triangle_rounding(p) -> float:
    """a root of a distance carries the rounding of its delta_i: d times the condition, 1 + beta times the norm of a
    moment, at most `NORM`"""
    return 3 * p.d * (1 + NORM * p.beta)


METRIC = Law(
    id="ctrl/distance-root-is-a-metric",
    source=Source("arXiv:1110.1773", "Sra, a metric on positive definite matrices; applied to I + beta C here"),
    statement="""
    The square root of dist satisfies the triangle inequality on second moments. The distance itself does not.
    """,
    params=Moments,
    predict=lambda p: 0.0,
    measure=excess,
    claim=Bound(side="upper", rounding=triangle_rounding, scale=1.0),
    controls={"without the root": but(measure=partial(excess, root=False))},
    examples=(Moments(d=1, rank=1), Moments(d=3, rank=1)),
    draws=Draws(shapes=3, values=2),
)



def two_moments(p: Moments, stream) -> dict[str, np.ndarray]:
    """First coordinates of two moments: two variances, (1, 1) each."""
    return {"moments": wishart(stream.numpy("moments"), p, 2)[:, :1, :1]}


@measurement
def bayes_error(p: Moments, data, stream):
    """Error of the best guess which of N(0, a) and N(0, b) a sample came from, both equally likely: one below, the
    other beyond the points at which the densities agree."""
    from scipy.special import erf

    a, b = np.sort(1 + p.beta * data["moments"].ravel())
    x = np.sqrt(np.log(b / a) / (1 / a - 1 / b))
    return 0.5 * (1 - erf(x / np.sqrt(2 * a)) + erf(x / np.sqrt(2 * b)))


def affinity(p: Moments, data) -> float:
    first, second = data["moments"]
    return float(theory.affinity(first, second, p.beta))


BAYES_ERROR = Law(
    id="ctrl/distance-bounds-bayes-error",
    source=Source("Bhattacharyya 1943", "bound on the error of discrimination"),
    statement="""
    Half of exp(-dist) bounds from above the error of the best guess which of N(0, I + beta C), N(0, I + beta Chat) a
    sample came from: features at distance 0 cannot be told apart by any rule. Measured are exact errors in dimension 1.
    """,
    params=Moments,
    situation=two_moments,
    predict=lambda p, data: 0.5 * affinity(p, data),
    measure=bayes_error,
    claim=Bound(side="upper", rounding=10.0),
    controls={"a quarter of its square": but(predict=lambda p, data: 0.25 * affinity(p, data) ** 2)},
    examples=(Moments(),),
    draws=Draws(shapes=3, values=4),
)


def near(p: Moments, stream) -> dict[str, np.ndarray]:
    """A moment of full rank, and a symmetric direction of norm 1/beta."""
    rng = stream.numpy("moments")
    direction = rng.standard_normal((p.d, p.d))
    direction = direction + direction.T
    return {"C": np.eye(p.d) + wishart(rng, p, 1)[0], "direction": direction / (p.beta * np.linalg.norm(direction))}


@measurement
def scaled_distance(p: Moments, data, stream, *, weight: float = 0.5):
    """Distance to a moment h away, by h², for h = 1/x, x = 16 ... 4096. `weight` is that of the first moment in the
    middle one (1/2)."""
    x = 2.0 ** np.arange(4, 13)
    C = np.broadcast_to(data["C"], (len(x), p.d, p.d))
    other = C + data["direction"] / x[:, None, None]
    if weight != 0.5:  # the rate of unequal numbers of samples, instead of the distance
        middle = closed_loops.rate(weight * C + (1 - weight) * other, p.beta)
        parts = weight * closed_loops.rate(C, p.beta) + (1 - weight) * closed_loops.rate(other, p.beta)
        return {"x": x, "scaled": (middle - parts) * x**2}
    return {"x": x, "scaled": closed_loops.distance(C, other, p.beta) * x**2}


def scaled_rounding(p) -> float:
    """relative rounding of the distance: that of the difference of the moments, 1 + |C|/h of the smallest h = 1/4096,
    twice, for a square; |C| is below `NORM`"""
    return 2 * p.d * (1 + NORM * p.beta * 4096)


CURVATURE = Law(
    id="ctrl/distance-curvature",
    source=Source(DERIVED),
    statement="""
    Nearby, dist(C, C + h delta) = (beta²/16) tr[(A^-1 delta)²] h² + O(h³), A = I + beta C: the loop is stiff in
    directions that carry little energy.
    """,
    params=Moments,
    situation=near,
    predict=lambda p, data: np.full(9, theory.curvature(data["C"], data["direction"], p.beta)),
    measure=scaled_distance,
    claim=Limit(of="scaled", along="x", order=1.0, rounding=scaled_rounding, resolve=1e-3),
    controls={"unequal numbers of samples": but(measure=partial(scaled_distance, weight=0.3))},
    examples=(Moments(), Moments(d=1, rank=1, beta=0.5)),
    draws=Draws(shapes=2, values=2),
)
