"""Families of bigrams in closed form, against the numbers of the matrices that are generated."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data import sequences
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, Params
from lab.systems.bigram_backcopy.theory import bigrams as theory

DERIVED = "derived for this laboratory; not found in arXiv:2410.13835"


class LazyZipf(Params):
    """``P = (1-r) 1 z^T + r I`` with Zipf's law z of exponent `zipf`; the k most frequent tokens are triggers."""

    V: Annotated[int, Ge(3), Le(24)] = 10
    k: Annotated[int, Ge(1), Le(5)] = 3
    zipf: Annotated[float, Ge(0.0), Le(2.0)] = 1.0
    r: Annotated[float, Ge(0.0), Le(0.9)] = 0.3

    @model_validator(mode="after")
    def _rest(self) -> Self:
        if self.k > self.V - 2:
            raise ValueError(f"k={self.k} triggers leave fewer than 2 of V={self.V} tokens; lower k or raise V")
        return self

    @property
    def z(self) -> np.ndarray:
        return sequences.zipf_law(self.V, self.zipf)


@measurement
def of_matrix(p: LazyZipf, stream, *, unequal: float = 0.0):
    """Numbers of the generated matrix: stationary law of P; law of the tokens in the long run; entropies of the rows.

    The long run is a linear system on pairs (token in front, token) of which not both are triggers. `unequal` mixes
    that much of the reversed law z into the second half of the rows (0 in the law).
    """
    V, k = p.V, p.k
    P = sequences.bigram_lazy_zipf(V, p.zipf, p.r)
    P[V // 2 :] = (1 - unequal) * P[V // 2 :] + unequal * p.z[::-1]
    front, token = np.divmod(np.arange(V * V), V)
    possible = (front >= k) | (token >= k)
    front, token = front[possible], token[possible]
    after = np.where(token[:, None] < k, front[:, None] == np.arange(V), P[token])
    step = after[:, token] * (token[:, None] == front)
    system = np.concatenate([step.T - np.eye(len(front)), np.ones((1, len(front)))])
    pairs = np.linalg.lstsq(system, np.append(np.zeros(len(front)), 1.0))[0]
    run = np.bincount(token, weights=pairs, minlength=V)
    entropies = [-sum(x * np.log(x) for x in row if x > 0) for row in P]
    stationary = sequences.unigram_law(P)
    return {"all": np.concatenate([stationary, run, [run[:k].sum()], entropies, [run[k:] @ entropies[k:]]])}


def closed_forms(p: LazyZipf, *, relative: bool = True) -> np.ndarray:
    """z, law of the tokens, share of triggers, entropies, Bayes rate; the share is tau itself if not `relative`."""
    T = range(p.k)
    share = theory.lazy_zipf_trigger_share(p.z, p.r, T)
    if not relative:
        share = share / (1 - share)
    return np.concatenate([p.z, theory.lazy_zipf_law(p.z, p.r, T), [share], theory.lazy_zipf_entropies(p.z, p.r),
                           [theory.lazy_zipf_rate(p.z, p.r, T)]])  # fmt: skip


def system_units(p: LazyZipf) -> float:
    """a least-squares solution over V² pairs has an error of at most V² epsilons times the condition number, which is
    at most 4 V over the spectral gap of the chain: a token is redrawn with probability (1 - r) z(N) per step"""
    return 4 * p.V**3 / ((1 - p.r) * p.z[p.k :].sum())


CLOSED_FORM_BIGRAMS = Law(
    id="bigram_backcopy/closed-form-bigrams",
    source=Source(DERIVED),
    statement="""
    Lazy Zipf, P = (1-r) 1 z^T + r I: the stationary law of P is z; every row gives triggers the mass tau = (1-r) z(T);
    in the long run triggers have the share tau/(1+tau), pi_v = z_v/(z(N)(1+tau)) on N, pi_t = (1-r) z_t/(1+tau);
    H(P_v) = sum_k h((1-r)z_k) - h((1-r)z_v) + h((1-r)z_v + r), h(x) = -x log x; Bayes loss per token
    sum over N of pi_v H(P_v).
    """,
    params=LazyZipf,
    predict=closed_forms,
    measure=of_matrix,
    claim=Equality(of="all", rounding=system_units, scale=1.0, resolve=1e-6),
    controls={
        "rows that differ": but(measure=partial(of_matrix, unequal=0.1)),
        "share of triggers tau": but(predict=partial(closed_forms, relative=False)),
    },
    examples=(LazyZipf(), LazyZipf(V=24, r=0.9, zipf=2.0, k=5), LazyZipf(V=3, k=1, r=0.0)),
    draws=Draws(shapes=8, values=3),
)


class Ring(Params):
    """``(1-eps) shift + eps/V``."""

    V: Annotated[int, Ge(2), Le(64)] = 12
    eps: Annotated[float, Ge(1e-2), Le(1.0), LogScale()] = 0.1


@measurement
def of_ring(p: Ring, stream, *, forward: float = 1.0):
    """Stationary law, by solving for it, and entropies of the rows; `forward` < 1 makes the first row repeat itself."""
    P = sequences.bigram_cyclic(p.V, p.eps)
    P[0] = forward * P[0] + (1 - forward) * np.eye(p.V)[0]
    entropies = [-sum(x * np.log(x) for x in row) for row in P]
    return {"all": np.concatenate([sequences.unigram_law(P), entropies])}


def ring(p: Ring) -> np.ndarray:
    return np.append(np.full(p.V, 1 / p.V), np.full(p.V, theory.cyclic_entropy(p.V, p.eps)))


def ring_units(p: Ring) -> float:
    """solving for the law: V epsilons times a condition number below 4/gap <= 4/eps; entropies: V terms"""
    return 4 * p.V / p.eps + 8 * p.V


CYCLIC_BIGRAMS = Law(
    id="bigram_backcopy/cyclic-bigrams",
    source=Source(DERIVED),
    statement="""
    Noisy ring, P = (1-eps) shift + eps/V: the stationary law is uniform, every row has the entropy
    h(1-eps+eps/V) + (V-1) h(eps/V).
    """,
    params=Ring,
    predict=ring,
    measure=of_ring,
    claim=Equality(of="all", rounding=ring_units, scale=1.0, resolve=1e-8),
    controls={"one token that may stay": but(measure=partial(of_ring, forward=0.9))},
    examples=(Ring(), Ring(V=2, eps=1.0), Ring(V=64, eps=0.01)),
    draws=Draws(shapes=6, values=3),
)


class DirichletRows(Params):
    """Rows drawn from Dirichlet(c z), z Zipf's law of V tokens."""

    V: Annotated[int, Ge(2), Le(64)] = 20
    c: Annotated[float, Ge(0.3), Le(100.0), LogScale()] = 5.0
    zipf: Annotated[float, Ge(0.0), Le(1.5)] = 1.0


@measurement
def entropy_of_rows(p: DirichletRows, stream, *, spread: float = 1.0):
    """Mean entropy of the V rows of one matrix; `spread` multiplies the concentration (1 in the law)."""
    P = sequences.bigram_dirichlet(stream.numpy("rows"), p.V, spread * p.c, zipf=p.zipf)
    return {"entropy": -np.sum(P * np.log(np.where(P > 0, P, 1.0))) / p.V}


def _entropy(z: np.ndarray) -> float:
    return -float(np.sum(z * np.log(z)))


DIRICHLET_ENTROPY = Law(
    id="bigram_backcopy/dirichlet-entropy",
    source=Source("classical; restated for bigrams here"),
    statement="""
    The mean entropy of a row drawn from Dirichlet(c z) is psi(c+1) - sum_k z_k psi(c z_k + 1), psi the digamma
    function; it is below the entropy of z, which is its limit for c to infinity.
    """,
    params=DirichletRows,
    predict=lambda p: theory.dirichlet_entropy(p.c, sequences.zipf_law(p.V, p.zipf)),
    measure=entropy_of_rows,
    claim=Equality(of="entropy", over="mean"),
    controls={
        "twice the concentration": but(measure=partial(entropy_of_rows, spread=2.0)),
        "entropy of the mean law": but(predict=lambda p: _entropy(sequences.zipf_law(p.V, p.zipf))),
    },
    examples=(DirichletRows(), DirichletRows(c=1.0, V=64)),
    draws=Draws(shapes=4, values=2, replicates=100),
)  # fmt: skip
