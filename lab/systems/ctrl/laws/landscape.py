"""CTRL-MSP: where ascents of the leader end, which ranks are local maxima, what a leader's gap is made of."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab import streams
from lab.claims import Classification, Equality
from lab.data.game_subspaces import correlated_bases, sample
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import closed_loops
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale
from lab.systems.ctrl import theory
from lab.systems.ctrl.dynamics import block_mask, compressed, leader_ascent
from lab.systems.ctrl.laws.multiple_subspaces import (
    DERIVED,
    STOP,
    Game,
    Samples,
    frames,
    rank_vectors,
    value_rounding,
)


def numerical_ranks(Y, p: Game):
    """How many sigma² of each class exceed 1e-6 n_j/d_j, shape (..., K), of blocks (..., K, m, d); JAX."""
    import jax.numpy as jnp

    least = 1e-6 * jnp.asarray(p.energy) / jnp.asarray(p.ranks)
    return jnp.sum(jnp.linalg.eigvalsh(Y @ Y.mT) > least[:, None], axis=-1)


# ---------------------------------------------------------------------- local maxima


class Starts(Game):
    """Starts of energy ``scale²`` times the largest allowed."""

    scale: Annotated[float, Ge(0.01), Le(1.0), LogScale()] = 0.3


@measurement(runs="jax")
def ends(p: Starts, stream, *, random: int = 32):
    """Where ascents from Gaussian starts end: for every rank vector how many did (M,), and the lowest and highest of
    their values (2, M) where `hit`; and the share of ascents that did not converge, which count nowhere."""
    import jax.numpy as jnp

    m, energy, vectors = max(p.ranks), jnp.asarray(p.energy), jnp.asarray(rank_vectors(p))
    Y = streams.normal(stream.jax("starts"), (random, len(p.ranks), m, p.dim)) * jnp.asarray(block_mask(p.ranks))
    Y = compressed(Y * p.scale * jnp.sqrt(energy[:, None, None] / jnp.sum(Y**2, axis=(-2, -1), keepdims=True)))
    found = leader_ascent(Y, jnp.asarray(p.gamma), energy, steps=2000, tolerance=STOP)
    converged = found.residual <= STOP
    here = jnp.all(numerical_ranks(found.Y, p)[:, None] == vectors, axis=-1) & converged[:, None]
    low = jnp.min(jnp.where(here, found.value[:, None], jnp.inf), axis=0)
    high = jnp.max(jnp.where(here, found.value[:, None], -jnp.inf), axis=0)
    count = jnp.sum(here, axis=0)
    extremes = jnp.where(count > 0, jnp.stack([low, high]), 0.0)
    hit = jnp.stack([count > 0] * 2)
    return {"values": extremes, "hit": hit, "count": count, "unconverged": 1 - jnp.mean(converged)}


def predicted_values(p, *, stretch: float = 1.0) -> np.ndarray:
    """V(k) of every rank vector, twice; `stretch` multiplies beta."""
    vectors = rank_vectors(p)
    values = np.sum(theory.rank_value(stretch * p.energy, p.gamma, vectors), axis=1)
    return np.stack([values, values])


def off_table(p) -> float:
    """twice the rounding of `value_rounding`: the ascent, too, stops where values change by rounding only"""
    return 2 * value_rounding(p)


LOCAL_MAXIMA = Law(
    id="ctrl/msp-local-maxima-table",
    source=Source(DERIVED),
    statement="""
    Ascent of the leader of CTRL-MSP ends on a discrete set of values: one for each rank vector k, of orthogonal classes
    with k_j equal singular values,

        V(k) = sum_j (k_j/2) phi_j(u_j/k_j).

    A rank that is lost is never found again, since phi'(0) = 0: which entry is reached depends on the start. Judged are
    the lowest and the highest value of all Gaussian starts whose ascent converges to each rank vector.
    """,
    params=Starts,
    predict=predicted_values,
    measure=ends,
    claim=Equality(of="values", given="hit", rounding=off_table),
    controls={
        "beta 10 % larger": but(predict=partial(predicted_values, stretch=1.1)),
        "one singular value of each class free": but(
            predict=lambda p: predicted_values(p) + 0.5 * theory.slot(0.05 * p.energy[0], p.gamma[0])
        ),
    },
    examples=(Starts(class_sizes=(30, 50, 20), ranks=(2, 3, 4), spare=3, eps=0.5**0.5, scale=0.3),
              Starts(class_sizes=(30, 50, 20), ranks=(2, 3, 4), spare=3, eps=1.0, scale=0.1)),
    draws=Draws(shapes=0),
)  # fmt: skip


@measurement(runs="jax")
def stays(p: Game, stream, *, push: float = 1e-3):
    """For every rank vector: whether ascent from orthogonal classes with so many equal singular values, pushed by
    `push` in all entries (relative to the largest), ends with the same numerical ranks."""
    import jax.numpy as jnp

    vectors, energy, mask = rank_vectors(p), jnp.asarray(p.energy), block_mask(p.ranks)
    Y = jnp.stack([jnp.asarray(frames(p, ks)) for ks in vectors]) * jnp.sqrt(energy)[:, None, None]
    noise = streams.normal(stream.jax("push"), Y.shape) * mask
    found = leader_ascent(Y + push * jnp.max(Y) * noise, jnp.asarray(p.gamma), energy)
    return {"stays": jnp.all(numerical_ranks(found.Y, p) == vectors, axis=-1)}


def admissible(p, *, factor: float = 1.0) -> np.ndarray:
    """Whether k_j = 1 or u_j/k_j > factor sqrt(gamma_j) in every class."""
    k = rank_vectors(p)
    return np.all((k == 1) | (p.energy / k > factor * np.sqrt(p.gamma)), axis=1)


LOCAL_MAXIMA_STABLE = Law(
    id="ctrl/msp-local-maxima-stable",
    source=Source(DERIVED),
    statement="""
    Orthogonal classes with k_j equal singular values and full energy are a local maximum for the leader of CTRL-MSP iff
    in every class k_j = 1 or u_j/k_j > sqrt(gamma_j), where the slot function is concave. The published condition for
    full rank, eps^4 < n_j d_z²/(n d_j²), is this one at k_j = d_j: it makes full rank a local maximum, not the global
    one. Measured: whether ascent from a slightly perturbed point comes back to the same ranks.
    """,
    params=Game,
    predict=admissible,
    measure=stays,
    claim=Classification(of="stays"),
    controls={
        "slot function concave everywhere": but(predict=partial(admissible, factor=0.0)),
        "every lower rank is a local maximum": but(predict=partial(admissible, factor=2.5)),
    },
    examples=(Game(class_sizes=(30, 50, 20), ranks=(2, 3, 4), spare=3, eps=1.6),
              Game(class_sizes=(30, 50, 20), ranks=(2, 3, 4), spare=3, eps=1.2),
              Game(class_sizes=(30, 50, 20), ranks=(2, 3, 4), spare=3, eps=0.8)),
    draws=Draws(shapes=0),
)  # fmt: skip


# ---------------------------------------------------------------------- what a leader's gap is made of


class Features(Samples):
    """Features of a random encoder, each class of energy ``fill n_j``."""

    fill: Annotated[float, Ge(0.2), Le(1.0)] = 1.0


def random_features(p: Features, stream) -> dict[str, np.ndarray]:
    """Rows Z of a random encoder and their class moments (K, d_z, d_z); the class energies are scaled."""
    rng = stream.numpy("features")
    bases = correlated_bases(rng, d_x=sum(p.ranks) + 2, ds=p.ranks, alpha=p.alpha)
    Z = sample(rng, bases, p.class_sizes).Z @ rng.standard_normal((sum(p.ranks) + 2, p.dim))
    blocks = np.split(Z, np.cumsum(p.class_sizes)[:-1])
    Z = np.concatenate([block * np.sqrt(p.fill * len(block)) / np.linalg.norm(block) for block in blocks])
    return {"Z": Z, "moments": closed_loops.class_moments(Z, p.class_sizes)[0]}


@measurement
def measured_gap(p: Features, data, stream, *, energy: float = 1.0):
    """The highest rate reduction met on samples (orthogonal classes of all rank vectors) minus that of the features, of
    which `energy` multiplies class 1."""
    Z, sizes, best = data["Z"].copy(), p.class_sizes, -np.inf
    Z[: sizes[0]] *= np.sqrt(energy)
    for ks in rank_vectors(p):
        blocks = frames(p, ks)
        rows = [np.zeros((n, p.dim)) for n in sizes]
        for n, row, block in zip(sizes, rows, blocks, strict=True):
            row[: len(block)] = np.sqrt(n) * block[:n]
        best = max(best, coding_rate.rate_reduction(np.concatenate(rows), sizes, eps=p.eps))
    return {"gap": best - coding_rate.rate_reduction(Z, sizes, eps=p.eps)}


def gap_rounding(p) -> float:
    """rounding of two rate reductions and of their parts, each as in `value_rounding` at up to d_z dimensions"""
    return 4 * value_rounding(p) * p.dim / sum(p.ranks)


def parts(p, moments) -> theory.GapParts:
    return theory.gap_parts(moments, p.class_sizes, p.ranks, eps=p.eps)


def predicted_gap(p, data, *, shuffled: bool = False) -> float:
    """Sum of the parts; `shuffled`, with the class terms of the next class's features."""
    own, exchanged = parts(p, data["moments"]), parts(p, np.roll(data["moments"], 1, axis=0))
    return own.orthogonality + float((exchanged if shuffled else own).classes.sum())


LEADER_GAP = Law(
    id="ctrl/leader-gap-decomposition",
    source=Source(DERIVED),
    statement="""
    What keeps features from the leader's value is the sum of an orthogonality defect and one defect per class,

        V* - Delta R = [sum_j R_j - R] + sum_j [max_k (k/2) phi_j(u_j/k) - (1/2) sum_i phi_j(alpha sigma_ji²)],

    R_j = (1/2) log det(I + alpha Z_j^T Z_j), R that of all samples. The first bracket is never negative, the others
    are not on feasible features. Measured is the highest rate reduction of samples met, over orthogonal classes of
    every rank vector, minus that of the features of a random encoder.
    """,
    params=Features,
    situation=random_features,
    predict=predicted_gap,
    measure=measured_gap,
    claim=Equality(of="gap", rounding=gap_rounding),
    controls={
        "classes exchanged in their terms": but(predict=partial(predicted_gap, shuffled=True)),
        "a class with 10 % more energy": but(measure=partial(measured_gap, energy=1.1)),
        "overlap left out": but(predict=lambda p, data: float(parts(p, data["moments"]).classes.sum())),
    },
    examples=(Features(), Features(class_sizes=(20, 20, 20), ranks=(3, 2, 1), alpha=0.1, eps=1.0, fill=0.5)),
    draws=Draws(shapes=4, values=4),
)  # fmt: skip
