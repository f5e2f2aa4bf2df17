"""Rate reduction at very large and very small distortion."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Limit, Rate
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, MaxLen, MinLen, Params
from lab.systems.mcr2 import theory

Size = Annotated[int, Ge(1), Le(12)]


class LowRank(Params):
    """Gaussian classes of a given rank (less where the class or the space is smaller), of different lengths."""

    sizes: Annotated[tuple[Size, ...], MinLen(2), MaxLen(4)] = (4, 5, 6)
    dim: Annotated[int, Ge(2), Le(8)] = 6
    rank: Annotated[int, Ge(1), Le(4)] = 2

    @property
    def ranks(self) -> list[int]:
        return [min(self.rank, n, self.dim) for n in self.sizes]

    @property
    def total_rank(self) -> int:
        """Of generic subspaces."""
        return min(sum(self.ranks), self.dim)


def features(p: LowRank, stream) -> dict:
    rng = stream.numpy("features")
    parts = [
        (k + 1) * rng.standard_normal((n, r)) @ rng.standard_normal((r, p.dim))
        for k, (n, r) in enumerate(zip(p.sizes, p.ranks, strict=True))
    ]
    Z = np.concatenate(parts)
    return {"Z": Z * np.sqrt(len(Z) / np.sum(Z**2))}  # tr S = 1: then c alone is small or large


@measurement
def coarse(p: LowRank, data, stream, *, whitened: bool = False):
    """Rate reduction times 4/c^2, at c from 1e-1 down to 1e-4 (along 1/c); `whitened` makes all class moments equal."""
    Z = data["Z"]
    if whitened:
        # every class becomes rows of one orthogonal frame: S_k = I/d for classes of a multiple of d rows
        Z = np.concatenate([np.eye(p.dim) for _ in p.sizes])
    sizes = (p.dim,) * len(p.sizes) if whitened else p.sizes
    c = np.geomspace(1e-1, 1e-4, 25)
    values = [coding_rate.rate_reduction(Z, sizes, eps=np.sqrt(p.dim / one), spectral=True) for one in c]
    return {"inverse_c": 1 / c, "scaled": 4 * np.array(values) / c**2}


def leading_term(p: LowRank, data):
    return np.full(25, theory.between_class_variance(data["Z"], p.sizes))


def cancellation(p: LowRank):
    """delta R = O(c^2) is a difference of O(c) terms, each the sum of dim logarithms: relative error dim eps/c at the
    smallest c = 1e-4, times 32 for the singular values"""
    return 32 * p.dim * np.finfo(float).eps / 1e-4


SCALE_ASYMPTOTICS = Law(
    id="mcr2/scale-asymptotics",
    source=Source("derived for this laboratory; not found in arXiv:2006.08558"),
    statement="""
    For large distortion, c = d/eps^2 -> 0, rate reduction is a between-class variance of second moments:

        Delta R = (c^2/4) sum_k x_k ||S_k - S||_F^2 + O(c^3),   S_k = Z_k^T Z_k/N_k,  S = sum_k x_k S_k.

    It sees nothing else: classes with equal second moments have Delta R = 0 (mcr2/zero-rate-reduction).
    """,
    params=LowRank,
    situation=features,
    predict=leading_term,
    measure=coarse,
    claim=Limit(of="scaled", along="inverse_c", order=1.0, floor=cancellation),
    controls={
        "equal second moments": but(measure=partial(coarse, whitened=True)),
        "classes counted alike": but(predict=lambda p, data: np.full(25, counted_alike(p, data))),
    },
    examples=(LowRank(),),
    draws=Draws(shapes=8, values=2),
)


def counted_alike(p: LowRank, data) -> float:
    """The variance with weight 1/K for every class, whatever its size."""
    moments = [rows.T @ rows / len(rows) for rows in np.split(data["Z"], np.cumsum(p.sizes)[:-1])]
    return float(np.mean([np.sum((S - np.mean(moments, axis=0)) ** 2) for S in moments]))


@measurement
def fine(p: LowRank, stream, *, noise: float = 0.0):
    """exp(Delta R), a ratio of volumes, at eps from 1e-3 down to 1e-8 (along 1/eps); `noise` fills all directions."""
    Z = features(p, stream)["Z"]
    Z = Z + noise * stream.numpy("noise").standard_normal(Z.shape)
    eps = np.geomspace(1e-3, 1e-8, 24)
    values = [coding_rate.rate_reduction(Z, p.sizes, eps=one, spectral=True) for one in eps]
    return {"inverse_eps": 1 / eps, "volume": np.exp(np.array(values))}


def logarithms(p: LowRank) -> float:
    """delta R adds at most 2 dim logarithms of numbers up to 1e18, each with an error of an epsilon of its size; as an
    exponent that is the relative error of the volume: 2 dim log(1e18) epsilons"""
    return 2 * p.dim * np.log(1e18)


def predicted_slope(p: LowRank) -> float:
    return theory.rank_slope(p.sizes, p.ranks, p.total_rank)


RANK_SLOPE = Law(
    id="mcr2/rank-slope",
    source=Source("derived for this laboratory; not found in arXiv:2006.08558"),
    statement="""
    For vanishing distortion rate reduction counts dimensions:

        d Delta R / d log(1/eps) -> rank Z - sum_k x_k rank Z_k     (eps -> 0).

    Measured as the exponent of exp(Delta R), a ratio of volumes, in 1/eps.
    """,
    params=LowRank,
    predict=predicted_slope,
    measure=fine,
    claim=Rate(of="volume", along="inverse_eps", order=2.0, rounding=logarithms, scale=1.0),
    controls={
        "noise in every direction": but(measure=partial(fine, noise=0.1)),
        "ranks added up": but(predict=lambda p: float(p.total_rank)),
    },
    examples=(LowRank(),),
    draws=Draws(shapes=8, values=2),
)
