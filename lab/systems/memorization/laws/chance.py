"""The floor of the copy criterion: fresh samples that count as copies by chance."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality
from lab.data.mixtures import gmm_sphere
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives.memorization import nearest_two
from lab.params import Ge, Gt, Le, Lt, Params
from lab.systems.memorization.theory.chance import chance_level


class Chance(Params):
    """Fresh samples of a mixture on an r-dimensional subspace, held against N training points of the same mixture."""

    r: Annotated[int, Ge(1), Le(4)] = 2
    extra: Annotated[int, Ge(0), Le(20)] = 3
    K: Annotated[int, Ge(1), Le(4)] = 2
    N: Annotated[int, Ge(20_000), Le(30_000)] = 20_000
    threshold: Annotated[float, Gt(0.01), Lt(0.9)] = 1 / 9


@measurement
def copies_by_chance(p: Chance, stream, *, shrink: float = 1.0):
    """Share of 400 fresh samples that are copies; `shrink` moves each sample towards its nearest training point."""
    from scipy.spatial import cKDTree

    rng = stream.numpy("data")
    mixture = gmm_sphere(rng, p.r, p.K, 1.0, 1.0, p.N + 400)
    points = np.pad(mixture.X, ((0, 0), (0, p.extra)))
    training, fresh = points[: p.N], points[p.N :]
    tree = cKDTree(training)
    nearest = training[tree.query(fresh)[1]]
    fresh = nearest + shrink * (fresh - nearest)
    candidates = training[tree.query(fresh, k=4)[1]]
    first, second = (d[:, 0] for d in nearest_two(fresh[:, None], candidates))
    return {"copies": np.mean(first <= p.threshold * second)}


def ends_of_the_density(p: Chance) -> float:
    """the density changes across the distance to the second neighbour, (N/K)^(-1/r), and curvature counts with its
    square: relative (N/K)^(-2/r), times 2 for samples in the tails, where neighbours are farther"""
    return 2 * float(chance_level(p.threshold, p.r)) * (p.N / p.K) ** (-2 / p.r)


METRIC_CHANCE = Law(
    id="memorization/metric-chance",
    source=Source("derived for this laboratory; not found in arXiv:2508.17689"),
    statement="""
    A fresh sample of the truth counts as a copy (nearest squared distance at most c times the second) with probability
    c^(r/2), r the intrinsic dimension of the data, as the number of training points grows: (r_1/r_2)^r is uniform. It
    is the floor of every share of copies: 1/27 at r = 3 and c = 1/9, nothing at r = 30. The dimension of the space that
    the data lie in does not enter.
    """,
    params=Chance,
    predict=lambda p: chance_level(p.threshold, p.r),
    measure=copies_by_chance,
    claim=Equality(of="copies", over="mean", finite_size=ends_of_the_density, resolve=0.3),
    controls={
        "dimension of the space for that of the data": but(predict=lambda p: chance_level(p.threshold, p.r + p.extra)),
        "threshold on distances, not their squares": but(predict=lambda p: chance_level(p.threshold**2, p.r)),
        "samples half-way to their neighbour": but(measure=partial(copies_by_chance, shrink=0.5)),
    },
    examples=tuple(Chance(r=r) for r in (1, 2, 3)),
    draws=Draws(shapes=2, values=2, replicates=24),
)
