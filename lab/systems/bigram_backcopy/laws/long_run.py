"""Bigram-backcopy sequences in the long run: stationary law, absorbing tokens, where absorption ends."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Classification, Equality, Limit
from lab.data.sequences import unigram_law
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, Params
from lab.systems.bigram_backcopy.theory import chain, long_run

DERIVED = "derived for this laboratory; not found in arXiv:2410.13835"
DOUBLINGS, FLOOR = 16, 0.02


class LongRun(Params):
    """Random bigrams over V tokens, the first k of them triggers; `stuck` tokens of N are always followed by one.

    Dirichlet rows with all parameters `concentration`; after every other token of N each token of N has a probability
    of at least about .02: the chain forgets its past within 2^16 steps to far below rounding.
    """

    V: Annotated[int, Ge(3), Le(8)] = 5
    k: Annotated[int, Ge(1), Le(4)] = 2
    stuck: Annotated[int, Ge(0), Le(2)] = 0
    concentration: Annotated[float, Ge(0.2), Le(5.0), LogScale()] = 1.0

    @model_validator(mode="after")
    def _rest(self) -> Self:
        if self.V - self.k - self.stuck < 2:
            raise ValueError(f"V={self.V}: k={self.k} and stuck={self.stuck} leave fewer than 2 other tokens; raise V")
        return self


class Ergodic(LongRun):
    """Every token of N may be followed by another of N."""

    stuck: Annotated[int, Ge(0), Le(0)] = 0


def bigrams(p: LongRun, stream) -> dict[str, np.ndarray]:
    """P (V, V), and a first token (V,) that is no trigger."""
    rng = stream.numpy("bigrams")
    P = np.maximum(rng.dirichlet(np.full(p.V, p.concentration), size=p.V), FLOOR)
    P[p.k : p.k + p.stuck, p.k :] = 0.0
    init = np.zeros(p.V)
    init[p.k :] = rng.dirichlet(np.ones(p.V - p.k))
    return {"P": P / P.sum(axis=1, keepdims=True), "init": init}


@measurement
def iterated(p: LongRun, data, stream, *, copy: float = 1.0):
    """Chain on all pairs (x_{j-1}, x_j), its lazy version raised to the power 2^16 by squaring.

    "law": of the token in the long run from `init`, then the share of triggers; "leaves": for each start v in N,
    whether other tokens of N are ever met. `copy` is the probability that a trigger copies (1 in the law).
    """
    V, P = p.V, data["P"]
    pair = np.zeros((V, V, V, V))
    for u in range(V):
        for v in range(V):
            law = P[v]
            if v < p.k:
                law = copy * (np.arange(V) == u) + (1 - copy) * P[v]
            pair[u, v, v] = law
    step = (pair.reshape(V * V, V * V) + np.eye(V * V)) / 2
    for _ in range(DOUBLINGS):
        step = step @ step
        step /= step.sum(axis=1, keepdims=True)
    ends = step.reshape(V, V, V, V).sum(axis=2)  # from (x_0, x_1): law of the token
    firsts = np.einsum("v,vw,vwx->x", data["init"], P, ends)
    starts = np.einsum("vw,vwx->vx", P, ends)
    away = [np.delete(starts[v], [*range(p.k), v]).sum() > 1e-6 for v in range(p.k, V)]
    return {"law": np.append(firsts, firsts[: p.k].sum()), "leaves": np.array(away)}


def squaring_units(p: LongRun) -> float:
    """all terms are positive: entries of a power m carry a relative rounding of m V², m = 2^16; laws are <= 1"""
    return 2**DOUBLINGS * p.V**2


def with_triggers(p: LongRun, law: np.ndarray) -> np.ndarray:
    return np.append(law, law[: p.k].sum())


def stationary(p: LongRun, data, *, of_bigrams: bool = False) -> np.ndarray:
    """Law of the tokens and share of triggers; the stationary law of P if `of_bigrams`."""
    return with_triggers(p, unigram_law(data["P"]) if of_bigrams else long_run.stationary_law(data["P"], range(p.k)))


def absorbed(p: LongRun, data, *, from_uniform: bool = False) -> np.ndarray:
    """The same from the chain with all its closed classes; `from_uniform` forgets where the sequence began."""
    init = np.append(np.zeros(p.k), np.full(p.V - p.k, 1 / (p.V - p.k))) if from_uniform else data["init"]
    states = chain.augmented_chain(data["P"], range(p.k), init)
    return with_triggers(p, chain.token_law(states, long_run.long_run_law(states)))


def leaves(p: LongRun, data) -> np.ndarray:
    """For each token of N: whether a sequence that starts there meets others of N."""
    return ~np.isin(np.arange(p.k, p.V), long_run.absorbing_tokens(data["P"], range(p.k)))


def always_leaves(p: LongRun, data) -> np.ndarray:
    return np.ones(p.V - p.k, dtype=bool)


STATIONARY_LAW = Law(
    id="bigram_backcopy/stationary-law",
    source=Source(DERIVED),
    statement="""
    Long-run law of the tokens, if tau_v = sum_{t in T} P_vt < 1 on N and the chain on N is irreducible. With nu the
    stationary law of P_uv/(1 - tau_u) on N:

        mu_v = nu_v/(Z (1 - tau_v)),  Z = sum_v nu_v (1 + tau_v)/(1 - tau_v),  pi_v = mu_v,  pi_t = sum_v mu_v P_vt.

    The share of triggers is sum_v mu_v tau_v. This is not the stationary law of P: triggers may become rarer (usual) or
    more frequent. Measured: the chain on pairs of tokens, iterated.
    """,
    params=Ergodic,
    situation=bigrams,
    predict=stationary,
    measure=iterated,
    claim=Equality(of="law", rounding=squaring_units, scale=1.0, resolve=1e-7),
    controls={
        "stationary law of the bigrams": but(predict=partial(stationary, of_bigrams=True)),
        "triggers act nine times in ten": but(measure=partial(iterated, copy=0.9)),
    },
    examples=(Ergodic(), Ergodic(V=8, k=4), Ergodic(V=3, k=1, concentration=0.2)),
    draws=Draws(shapes=16, values=2),
)

ABSORPTION_LAW = Law(
    id="bigram_backcopy/absorption-law",
    source=Source(DERIVED),
    statement="""
    With absorbing tokens the sequence ends in one of them, v t v t' v ..., with a probability that depends on its first
    token: its long-run law is the mixture over closed classes of their stationary laws, weighted by the probabilities
    of ending there. Forgetting the first token fails (control).
    """,
    params=LongRun,
    situation=bigrams,
    predict=absorbed,
    measure=iterated,
    claim=Equality(of="law", rounding=squaring_units, scale=1.0, resolve=1e-7),
    controls={"uniform first token": but(predict=partial(absorbed, from_uniform=True))},
    examples=(LongRun(stuck=2, V=6), LongRun(stuck=1), LongRun()),
    draws=Draws(shapes=16, values=2),
)

ABSORBING_TRIGGERS = Law(
    id="bigram_backcopy/absorbing-triggers",
    source=Source(DERIVED),
    statement="""
    A token v of N that is always followed by a trigger (tau_v = 1) is absorbing: v t v t' v ... for ever. From all
    others the sequence goes on to further tokens of N. So there is no stationary law that forgets the start; laws of
    finite sequences, and their Bayes loss, stay valid.
    """,
    params=LongRun,
    situation=bigrams,
    predict=leaves,
    measure=iterated,
    claim=Classification(of="leaves"),
    controls={
        "no token is absorbing": but(predict=always_leaves),
        "triggers act nine times in ten": but(measure=partial(iterated, copy=0.9)),
    },
    examples=(LongRun(stuck=1), LongRun(stuck=2, V=8, k=1), LongRun()),
    draws=Draws(shapes=16, values=2),
)

ABSORBING_TRIGGERS_PRINTED = ABSORBING_TRIGGERS.printed(
    "bigram_backcopy/absorbing-triggers-printed",
    source=Source("arXiv:2410.13835 and its code", "bigrams of a text, its three most frequent characters as triggers"),
    statement="""
    Implied: the task built from any text is an ergodic chain with stationary frequencies. In the text used there the
    character 3 is always followed by a space, a trigger: sequences end in "3 3 3 ...". Any row of this kind does it.
    """,
    predict=always_leaves,
    at=(LongRun(stuck=1), LongRun(V=4, k=1, stuck=1)),
)


FAILURES = 2.0 ** -np.arange(3, 13)


@measurement
def failing_copies(p: Ergodic, data, stream):
    """Law of the token, and share of triggers, for copies that fail with probability 2^-3 ... 2^-12.

    The chain on all pairs (x_{j-1}, x_j), solved as a linear system.
    """
    V, P = p.V, data["P"]
    front, token = np.divmod(np.arange(V * V), V)
    laws = []
    for failure in FAILURES:
        copied = (1 - failure) * (front[:, None] == np.arange(V)) + failure * P[token]
        after = np.where(token[:, None] < p.k, copied, P[token])
        step = after[:, token] * (token[:, None] == front)
        system = np.concatenate([step.T - np.eye(V * V), np.ones((1, V * V))])
        pairs = np.linalg.lstsq(system, np.append(np.zeros(V * V), 1.0))[0]
        laws.append(with_triggers(p, np.bincount(token, weights=pairs, minlength=V)))
    return {"sharpness": 1 / FAILURES, "law": np.stack(laws)}


def nearly_certain(p: Ergodic, data, *, certain: bool = False) -> np.ndarray:
    """Law of the token, and share of triggers, in the limit; at certain copies if `certain`."""
    T = range(p.k)
    law = long_run.stationary_law(data["P"], T) if certain else long_run.nearly_certain_law(data["P"], T)[0]
    return np.tile(with_triggers(p, law), (len(FAILURES), 1))


def solving_units(p: Ergodic) -> float:
    """a system of V² equations whose condition number is at most V²/(.02 times the least failure rate)"""
    return p.V**4 / (FLOOR * FAILURES.min())


NEARLY_CERTAIN_COPIES = Law(
    id="bigram_backcopy/nearly-certain-copies",
    source=Source(DERIVED),
    statement="""
    Endless sequences whose triggers copy with probability rho < 1 do not approach those with certain copies as rho
    tends to 1: the limit is a mixture. A failed copy may put a trigger behind a trigger; copies then repeat this pair
    until one fails again. Both kinds of failure are equally rare, so the pairs' share of time has a limit, and the
    share of triggers jumps at rho = 1. Rates in units of 1 - rho: into {t,t'} pi_t P_tt' (+ pi_t' P_t't), out
    (1-tau_a)/2 + (1-tau_b)/2, from {a,b} to {a,c} P_ac/2. The deviation is of order 1 - rho.
    """,
    params=Ergodic,
    situation=bigrams,
    predict=nearly_certain,
    measure=failing_copies,
    claim=Limit(of="law", along="sharpness", as_="difference", order=1.0, rounding=solving_units, scale=1.0),
    controls={"certain copies": but(predict=partial(nearly_certain, certain=True))},
    examples=(Ergodic(), Ergodic(V=8, k=4), Ergodic(V=4, k=1)),
    draws=Draws(shapes=8, values=2),
)
