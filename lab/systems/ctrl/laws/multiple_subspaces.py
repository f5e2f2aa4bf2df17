"""CTRL-MSP: the leader's value and its equilibria, over features and over encoders of samples."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Annotated, Any, Self

import numpy as np
from pydantic import model_validator

from lab import streams
from lab.claims import Equality
from lab.data.game_subspaces import correlated_bases, sample
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import closed_loops
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params
from lab.systems.ctrl import theory
from lab.systems.ctrl.dynamics import encoder, leader_search

PPC22 = "arXiv:2206.09120"
DERIVED = "derived for this laboratory; not found in arXiv:2206.09120 nor arXiv:2006.08558"
STOP = 1e-10
"""Projected gradient at which the ascent stops, in reduced units."""

Size = Annotated[int, Ge(4), Le(500)]
Rank = Annotated[int, Ge(1), Le(5)]


class Game(Params):
    """Classes of ranks d_j in direct sum, energies n_j; features in ``sum d_j + spare`` dimensions."""

    class_sizes: Annotated[tuple[Size, ...], MinLen(2), MaxLen(3)] = (40, 40)
    ranks: Annotated[tuple[Rank, ...], MinLen(2), MaxLen(3)] = (2, 2)
    spare: Annotated[int, Ge(0), Le(40)] = 0
    eps: Annotated[float, Ge(0.2), Le(2.0), LogScale()] = 0.7

    @model_validator(mode="after")
    def _one_rank_each(self) -> Self:
        if len(self.class_sizes) != len(self.ranks):
            raise ValueError(f"{len(self.class_sizes)} class_sizes, {len(self.ranks)} ranks; one of each per class")
        if any(rank > size for size, rank in zip(self.class_sizes, self.ranks, strict=True)):
            raise ValueError(f"ranks {self.ranks} must not exceed class_sizes {self.class_sizes}; lower them")
        return self

    @property
    def dim(self) -> int:
        return sum(self.ranks) + self.spare

    @property
    def gamma(self) -> np.ndarray:
        return np.array(self.class_sizes) / sum(self.class_sizes)

    @property
    def energy(self):
        """Reduced energies beta gamma_j; arithmetic of arrays, eps may be traced."""
        return self.gamma * self.dim / self.eps**2


PUBLISHED = Game(class_sizes=(500, 500, 500), ranks=(3, 4, 5), spare=28, eps=1.0)
COUNTEREXAMPLE = Game(class_sizes=(40, 40), ranks=(2, 2), eps=1.3**0.5)
"""The published condition promises full rank here; rank 1 is best."""


def equilibrium(p) -> theory.Equilibrium:
    return theory.equilibrium(p.class_sizes, p.ranks, p.dim, eps=p.eps)


def full_rank_value(p) -> float:
    """Isotropic features of all the rank that the data have."""
    return float(np.sum(theory.rank_value(p.energy, p.gamma, np.array(p.ranks))))


def value_rounding(p) -> float:
    """rounding of Delta R in units of the machine epsilon: log-determinants of K + 1 matrices of size D = sum d_j, of
    condition 1 + beta at most: D + 1 for the entries, times the root of the condition, and D log(1 + beta) for the
    logarithms; the ascent ends within STOP² = 1e-20 of a local maximum, over a curvature above 1e-4 (near a spinodal)
    """
    D, beta = sum(p.ranks), p.dim / p.eps**2
    return (1 + len(p.ranks)) * ((D + 1) * (1 + beta) ** 0.5 + D * np.log1p(beta))


def rank_vectors(p: Game) -> np.ndarray:
    """All of 1 <= k_j <= d_j, shape (M, K)."""
    return np.array(list(product(*(range(1, rank + 1) for rank in p.ranks))))


def frames(p: Any, ks) -> np.ndarray:
    """Blocks (K, m, d_z) of norm one: orthogonal classes with k_j equal singular values; `p` has ranks and dim."""
    Y = np.zeros((len(ks), max(p.ranks), p.dim))
    for j, (first, k) in enumerate(zip(np.cumsum(p.ranks) - p.ranks, ks, strict=True)):
        Y[j, np.arange(k), first + np.arange(k)] = 1 / np.sqrt(k)
    return Y


# ---------------------------------------------------------------------- value and features


@measurement(runs="jax")
def leaders(p: Game, stream, *, random: int = 8, power: float = 2.0):
    """Best value of all starts, and that of each Gaussian start. At the best, for each class: sigma²/n_j, descending,
    and last the largest ||Z_i Z_j^T||²/(n_i n_j) with another class. `power` is that of eps."""
    import jax.numpy as jnp

    energy, structured = jnp.asarray(p.energy) * p.eps ** (2 - power), np.stack([frames(p, k) for k in rank_vectors(p)])
    starts = streams.normal(stream.jax("starts"), (random, *structured.shape[1:]))
    found = leader_search(starts, structured, p.ranks, p.gamma, energy)
    best = found.Y[jnp.argmax(found.value)] / jnp.sqrt(energy)[:, None, None]
    products = jnp.sum((best[:, None] @ best[None].mT) ** 2, axis=(-2, -1))
    overlap = jnp.max(products * (1 - jnp.eye(len(p.ranks))), axis=-1, keepdims=True)
    spectrum = jnp.linalg.eigvalsh(best @ best.mT)[:, ::-1]
    features = jnp.concatenate([spectrum, overlap], axis=-1)
    return {"value": jnp.max(found.value), "random": found.value[:random], "features": features}


MSP_VALUE = Law(
    id="ctrl/msp-equilibrium-value",
    source=Source(PPC22, "equilibria of CTRL-MSP; value derived here"),
    statement="""
    The classes of data have ranks d_j and form a direct sum, d_z >= sum d_j, ||F X_j||² <= n_j. With any best response
    of the decoder the leader's value is

        V* = sum_j max_{1 <= k <= d_j} (k/2) phi_j(u_j/k),   phi_j(u) = log(1+u) - gamma_j log(1+u/gamma_j),

    u_j = d_z n_j/(n eps²), gamma_j = n_j/n. At the published sizes (500 samples a class, d_j = 3, 4, 5, d_z = 40,
    eps² = 1) it is 3.961863935915628 nats, and every Gaussian start of full energy reaches it. Measured is the highest
    value met by projected ascent over all features that an encoder can make, from Gaussian and from orthogonal starts.
    """,
    params=Game,
    predict=lambda p: equilibrium(p).value,
    measure=leaders,
    claim=Equality(of="value", rounding=value_rounding),
    controls={
        "full rank at any distortion": but(predict=full_rank_value),
        "eps for eps^2": but(measure=partial(leaders, power=1.0)),
        "no share in the slot function": but(
            predict=lambda p: float(np.sum(theory.rank_value(p.energy, 0.5, np.array(p.ranks))))
        ),
    },
    examples=(PUBLISHED, COUNTEREXAMPLE),
    draws=Draws(shapes=0),
)


def predicted_features(p, *, ranks=None) -> np.ndarray:
    """1/k_j, k_j times, and zeros, the last one for the overlap: (K, m + 1)."""
    k = equilibrium(p).ranks if ranks is None else np.asarray(ranks)
    return np.where(np.arange(max(p.ranks) + 1) < k[:, None], 1 / k[:, None], 0.0)


def stopping_error(p) -> np.ndarray:
    """an ascent that stops at a projected gradient g = 1e-10 is off by g/mu in the entries of Y, mu its least curvature
    across the maxima, and by 2 sqrt(u) g/mu/u_j in sigma²/n_j. On the sphere of a class curvatures are 2 u |phi''(u)|
    for an exchange of energy, phi'(u) for a direction without energy, and for a rotation of a class towards another,
    of singular values u and v, at least u v/((1+u)(1+v) max(u, v)); ten times that, for couplings of the three. The
    overlap is of second order in the error, and smaller"""
    best = equilibrium(p)
    u, gamma = best.u, p.gamma
    exchange = np.where(best.ranks > 1, 2 * u * np.abs(theory.slot_curvature(u, gamma)), np.inf)
    rotation = np.min(u) / (1 + np.max(u)) ** 2
    least = np.minimum(np.minimum(exchange, theory.slot_slope(u, gamma)), rotation)
    error = 20 * np.sqrt(u) * STOP / least.min() / p.energy
    return np.broadcast_to(error[:, None], (len(u), max(p.ranks) + 1))


MSP_FEATURES = Law(
    id="ctrl/msp-equilibrium-features",
    source=Source(PPC22, "equilibria of CTRL-MSP; ranks derived here"),
    statement="""
    At every equilibrium of ctrl/msp-equilibrium-value the classes are orthogonal, and Z_j has k_j* nonzero singular
    values, all equal to sqrt(n_j/k_j*). None is smaller than the others and nonzero. Measured are the eigenvalues of
    Z_j^T Z_j/n_j, d_j of them, and ||Z_i Z_j^T||²/(n_i n_j), at the best end of all ascents.
    """,
    params=Game,
    predict=predicted_features,
    measure=leaders,
    claim=Equality(of="features", finite_size=stopping_error, scale=1.0, resolve=1e-4),
    controls={
        "full rank at any distortion": but(predict=lambda p: predicted_features(p, ranks=p.ranks)),
        "one rank less": but(predict=lambda p: predicted_features(p, ranks=np.maximum(equilibrium(p).ranks - 1, 1))),
    },
    examples=(PUBLISHED, COUNTEREXAMPLE),
    draws=Draws(shapes=0),
)



# ---------------------------------------------------------------------- encoders of samples


class Samples(Game):
    """The same on Gaussian samples: two or three subspaces that share directions up to `alpha`."""

    class_sizes: Annotated[tuple[Annotated[int, Ge(6), Le(60)], ...], MinLen(2), MaxLen(3)] = (20, 30)
    ranks: Annotated[tuple[Annotated[int, Ge(1), Le(4)], ...], MinLen(2), MaxLen(3)] = (2, 2)
    spare: Annotated[int, Ge(0), Le(3)] = 0
    alpha: Annotated[float, Ge(0.1), Le(1.0)] = 0.3


def samples(p: Samples, stream, *, nested: bool = False, nu: float = 0.0) -> dict[str, np.ndarray]:
    """Class moments of Gaussian samples, their shares, and the condition number of the directions of all classes side
    by side; `nested` classes share all directions, `nu` is noise outside them."""
    rng = stream.numpy("data")
    bases = correlated_bases(rng, d_x=sum(p.ranks) + 2, ds=p.ranks, alpha=0.0 if nested else p.alpha)
    data = sample(rng, bases, p.class_sizes, nu=nu)
    moments, fractions = closed_loops.class_moments(data.Z, p.class_sizes)
    parts = np.split(data.Z, np.cumsum(p.class_sizes)[:-1])
    spans = [np.linalg.svd(X, full_matrices=False)[2][:rank] * np.linalg.svd(X, compute_uv=False)[:rank, None]
             for X, rank in zip(parts, p.ranks, strict=True)]  # fmt: skip
    return {"moments": moments, "fractions": fractions, "condition": np.array(np.linalg.cond(np.concatenate(spans)))}


@measurement
def encoders(p: Samples, data, stream):
    """Highest utility of the leader, and of the follower at it, over encoders that send the samples to orthogonal
    classes with equal singular values, all rank vectors tried, with energies at most n_j; the follower answers with the
    canonical decoder."""
    moments, fractions, beta, found = data["moments"], data["fractions"], p.dim / p.eps**2, []
    for ks in rank_vectors(p):
        F = encoder(frames(p, ks) * np.sqrt(p.energy)[:, None, None], moments, fractions, beta)
        F /= np.sqrt(max(1.0, np.max(np.trace(closed_loops.image(F, moments), axis1=-2, axis2=-1))))
        G = closed_loops.canonical_decoder(F, closed_loops.pooled(moments, fractions))
        found.append(closed_loops.utilities("multiple", F, G, moments, fractions, beta))
    best = max(found)
    return {"leader": best.leader, "follower": best.follower}


def encoder_rounding(p, data) -> float:
    """rounding of Delta R as in `value_rounding`, at features off by the least-squares solution: the condition of the
    directions of all classes side by side, squared for the roots of moments, times d_x"""
    return value_rounding(p) + (1 + p.dim / p.eps**2) * (sum(p.ranks) + 2) * float(data["condition"]) ** 2


EXACT = Equality(of="leader", rounding=value_rounding)  # the condition number says nothing where there is no direct sum

MSP_ENCODERS = Law(
    id="ctrl/msp-encoders-reach-it",
    source=Source(PPC22, "equilibria of CTRL-MSP; value derived here"),
    statement="""
    If the classes of data form a direct sum, F X_j may be any features of rank d_j, whatever the angles: an encoder of
    the samples reaches the value of ctrl/msp-equilibrium-value, with the canonical decoder X (FX)^+ at distance 0.
    Measured is the best utility over encoders for all rank vectors, from the samples' moments.
    """,
    params=Samples,
    situation=samples,
    predict=lambda p, data: equilibrium(p).value,
    measure=encoders,
    claim=Equality(of="leader", rounding=encoder_rounding, resolve=1e-3),
    controls={
        "nested subspaces": but(situation=partial(samples, nested=True), claim=EXACT),
        "noise outside the subspaces": but(situation=partial(samples, nu=0.3), claim=EXACT),
    },
    examples=(Samples(), Samples(class_sizes=(20, 20, 20), ranks=(3, 2, 1), alpha=0.1, eps=1.0)),
    draws=Draws(shapes=4, values=2),
)
