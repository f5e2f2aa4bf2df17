"""Features with a flat spectrum under random labels: whitened noise, and features trained by MCR² itself."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Limit
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mcr2 import dynamics, theory
from lab.systems.mcr2.laws.random_features import RandomLabels

DERIVED = "derived for this laboratory; not found in arXiv:2006.08558"


class Whitened(RandomLabels):
    """`draws` sets of N = dim/beta Gaussian samples, whitened: Z^T Z/N = I/dim. Random labels, sizes set by `skew`."""

    beta: Annotated[float, Ge(0.05), Le(0.8), LogScale()] = 0.25
    draws: Annotated[int, Ge(2)] = 150


@measurement
def whitened_reduction(p: Whitened, stream, *, white: bool = True):
    """Mean Delta R over the draws; with ``white=False`` of the noise before it is whitened."""
    n, found = sum(p.sizes), []
    most = max(1, 2**22 // (n * p.dim))
    for start in range(0, p.draws, most):
        Z = stream.numpy("features", start).standard_normal((min(most, p.draws - start), n, p.dim))
        Z = np.sqrt(n / p.dim) * np.linalg.qr(Z)[0] if white else Z / np.sqrt(p.dim)
        found.append(coding_rate.rate_reduction(Z, p.sizes, eps=p.eps))
    return {"reduction": np.concatenate(found).mean()}


def several_dims(p: Whitened) -> np.ndarray:
    """A factor six in d, from eight or the first d that gives each class two samples (as rounded)."""
    base = max(8, int(np.ceil(2.5 * p.beta * p.classes / (1 - p.skew))))
    return np.rint(base * np.array([1, 1.5, 2, 4, 6])).astype(int)


def whitened_rate(p: Whitened, *, correction: bool = True) -> float:
    return theory.whitened_null_rate_reduction(
        p.dim, p.sizes, eps=p.eps, variance="unit sphere", correction=correction
    )


def white_noise_rate(p: Whitened) -> float:
    return theory.null_rate_reduction(p.dim, p.sizes, eps=p.eps, variance=1 / p.dim)


WHITENED_NULL_RATE = Law(
    id="mcr2/whitened-null-rate",
    source=Source(DERIVED),
    statement="""
    Features with a flat second moment, Z^T Z/N = v I, in general position (whitened noise), have under random labels

        Delta R -> (N/2) [beta log(1+s) - sum_k x_k L(s/x_k; x_k)] - sum_k (x_k/4) log(1 - g_k),
        L(a; x) = log(1-w) - x log(1-w/x) - beta log(1-w/beta),    a (x-w)(beta-w) = w (1-w),

    s = v d/eps^2, beta = d/N; the first term grows like d, the second is of order one. This is above the floor of the
    same noise before whitening (mcr2/null-rate-reduction) by O(beta d): training that flattens the spectrum raises
    Delta R for any labels. Judged is the difference as d grows, relative to the term of order one.
    """,
    params=Whitened,
    predict=whitened_rate,
    measure=whitened_reduction,
    claim=Limit(
        of="reduction", along="dim", order=1.0, as_="difference", axis=several_dims, resolve=0.5,
        scale=lambda p: abs(whitened_rate(p) - whitened_rate(p, correction=False)),
    ),
    controls={
        "noise that is not whitened": but(measure=partial(whitened_reduction, white=False)),
        "the floor of white noise": but(predict=white_noise_rate),
        "without the term of order one": but(predict=partial(whitened_rate, correction=False)),
    },
    examples=(Whitened(), Whitened(classes=3, skew=0.5, beta=0.5)),
    draws=Draws(shapes=0, replicates=12),
)  # fmt: skip


# ---------------------------------------------------------------------- trained features


class Trained(Params):
    """Balanced classes, N = dim/beta (rounded); features maximise F from a Gaussian start, scaled to ||Z||^2 = N."""

    dim: Annotated[int, Ge(4)] = 16
    beta: Annotated[float, Ge(0.05), Le(0.5), LogScale()] = 0.25
    classes: Annotated[int, Ge(2), Le(8)] = 4
    eps: Annotated[float, Ge(0.3), Le(1.0), LogScale()] = 0.7
    shuffles: Annotated[int, Ge(2)] = 500

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.dim % self.classes:
            raise ValueError(f"dim={self.dim} is not a multiple of classes={self.classes}; the classes share it evenly")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        return (round(self.dim / (self.beta * self.classes)),) * self.classes


@measurement
def relabelled(p: Trained, stream, *, trained: bool = True):
    """Delta R of trained features under their own labels, and its mean over random relabellings.

    ``lambda`` is a tenth of the spinodal, where every direction of a Gaussian start survives.
    """
    n, rng = sum(p.sizes), stream.numpy("labels")
    Z = stream.numpy("features").standard_normal((1, n, p.dim)) / np.sqrt(p.dim)
    if trained:
        lam = 0.1 * float(theory.spinodal(1 / p.classes)) * theory.gram_scale(n, p.dim, eps=p.eps)
        Z = dynamics.maximise(Z, p.sizes, eps=p.eps, lam=lam, tolerance=1e-6).Z
    Z = Z[0] * np.sqrt(n / np.sum(Z**2))
    own, total, most = coding_rate.rate_reduction(Z, p.sizes, eps=p.eps), 0.0, max(1, 2**22 // Z.size)
    for start in range(0, p.shuffles, most):
        orders = rng.permuted(np.tile(np.arange(n), (min(most, p.shuffles - start), 1)), axis=1)
        total += coding_rate.rate_reduction(Z[orders], p.sizes, eps=p.eps).sum()
    return {"reduction": total / p.shuffles, "own": own}


def trained_dims(p: Trained) -> np.ndarray:
    """A factor four in d, in multiples of the number of classes."""
    return p.classes * np.array([2, 3, 4, 8])


def trained_rate(p: Trained, *, subspaces: bool = True, correction: bool = True) -> float:
    return theory.whitened_null_rate_reduction(
        p.dim, p.sizes, eps=p.eps, variance="unit sphere", subspaces=p.classes if subspaces else 1,
        correction=correction,
    )  # fmt: skip


RELABELLED_RATE = Law(
    id="mcr2/relabelled-rate",
    source=Source(DERIVED),
    statement="""
    Features trained by MCR² on K balanced classes (orthogonal subspaces, equal singular values) and then given random
    labels keep a rate reduction of order d: that of whitened features (mcr2/whitened-null-rate), above the floor of
    noise. The term of order one is -sum_k x_k b_k, b_k = (K/4) log(1-g_k) + ((K-1)/4) x_k (1-x_k) d^2L/dx^2, since a
    random class holds samples of every subspace in fluctuating numbers. So the reference for trained features is not
    white noise. Judged is Delta R over this prediction as d grows; both terms are in it, so the deviation is O(1/d^2).
    """,
    params=Trained,
    predict=trained_rate,
    measure=relabelled,
    claim=Limit(of="reduction", along="dim", order=2.0, axis=trained_dims),
    controls={
        "features left untrained": but(measure=partial(relabelled, trained=False)),
        "the floor of white noise": but(
            predict=lambda p: theory.null_rate_reduction(p.dim, p.sizes, eps=p.eps, variance="unit sphere")
        ),
    },
    examples=(Trained(),),
    draws=Draws(shapes=0, replicates=8),
)
