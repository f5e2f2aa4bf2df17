r"""Bigram-backcopy sequences in the long run: stationary law, absorbing tokens, least loss per token.

Notation as in `lab.systems.bigram_backcopy.theory.chain`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.bigram_backcopy.theory.chain import Chain, checked, entropy

__all__ = ["absorbing_tokens", "bayes_rate", "long_run_law", "nearly_certain_law", "stationary_law"]


def absorbing_tokens(P, triggers: Sequence[int]) -> np.ndarray:
    r"""Tokens v of N with :math:`\tau_v=\sum_{t\in T}P_{vt}=1`: the sequence goes on v t v t' ... for ever.

    Returns
    -------
    array of int
        Ascending; no long-run law is independent of the past if there are any among others.
    """
    P, _, is_trigger = checked(P, triggers, None)
    return np.flatnonzero((P[:, ~is_trigger].sum(axis=1) <= 1e-15) & ~is_trigger)


def stationary_law(P, triggers: Sequence[int]) -> np.ndarray:
    r"""Long-run law of the tokens under exact copies, shape (E,), from the chain without its triggers.

    .. math:: \mu_v=\frac{\nu_v}{Z(1-\tau_v)},\quad Z=\sum_v\nu_v\frac{1+\tau_v}{1-\tau_v},\qquad
              \pi_v=\mu_v\ (v\in N),\quad \pi_t=\sum_v\mu_vP_{vt}\ (t\in T),

    with :math:`\tau_v=\sum_{t\in T}P_{vt}` and nu the stationary law of :math:`P_{uv}/(1-\tau_u)` on N. It is not the
    stationary law of P. The share of triggers is :math:`\sum_v\mu_v\tau_v`.

    Raises
    ------
    OutOfDomain
        If some tau_v = 1 (an absorbing token), or if the chain on N falls into parts.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> stationary_law(np.full((4, 4), 0.25), (0,)).round(6).tolist()
    [0.2, 0.266667, 0.266667, 0.266667]
    """
    P, _, is_trigger = checked(P, triggers, None)
    stuck = absorbing_tokens(P, triggers)
    if stuck.size:
        raise OutOfDomain(
            f"P: token {stuck[0]} is always followed by a trigger, which repeats it for ever: there is no stationary "
            "law; smooth the row, choose other triggers, or ask for the long_run_law of the chain"
        )
    inner = P[np.ix_(~is_trigger, ~is_trigger)]
    stay = inner.sum(axis=1)
    nu = _balance(inner / stay[:, None])
    mu = nu / stay
    law = np.zeros(len(P))
    law[~is_trigger] = mu
    law[is_trigger] = mu @ P[np.ix_(~is_trigger, is_trigger)]
    return law / law.sum()


def long_run_law(chain: Chain) -> np.ndarray:
    """Share of time in each state in the long run, shape (S,): stationary law, or mixture over closed classes.

    The sequence ends in one of the closed classes that it can reach; each class counts with the probability that it
    is the one. With a single class this is the stationary law.
    """
    step = (chain.transition > 0) | np.eye(len(chain.token), dtype=bool)
    for k in range(len(step)):  # what is reachable through states up to k
        step |= step[:, k, None] & step[k]
    reached = step[chain.start > 0].any(axis=0)
    closed = reached & (step <= step.T).all(axis=1)
    passing = np.flatnonzero(reached & ~closed)
    law, left = np.zeros(len(step)), np.flatnonzero(closed)
    ahead = np.eye(len(passing)) - chain.transition[np.ix_(passing, passing)]
    while left.size:
        own = np.flatnonzero(step[left[0]])
        enters = chain.transition[np.ix_(passing, own)].sum(axis=1)
        share = chain.start[own].sum() + chain.start[passing] @ np.linalg.solve(ahead, enters)
        law[own] = share * _balance(chain.transition[np.ix_(own, own)])
        left = np.setdiff1d(left, own)
    return law


def nearly_certain_law(P, triggers: Sequence[int]) -> tuple[np.ndarray, float]:
    r"""Long-run law of the tokens as copies become certain, :math:`\rho\to1` after :math:`n\to\infty`, shape (E,).

    It is not the law at rho = 1. A copy that fails may put one trigger behind another; copies then repeat this pair,
    t t' t t' ..., until one fails again. Failures into a pair and out of it are equally rare, so the share of time in
    pairs has a limit. With pi the `stationary_law` and rates in units of 1 - rho:

    .. math:: A\to\{t,t'\}:\ \pi_tP_{tt'}+[t\ne t']\,\pi_{t'}P_{t't},\qquad
              \{a,b\}\to A:\ \tfrac12(1-\tau_a)+\tfrac12(1-\tau_b),\qquad
              \{a,b\}\to\{a,c\}:\ \tfrac12P_{ac}

    (and the same from b; A: sequences without neighbouring triggers). The law is that of A, weighted by its share of
    time, plus half a unit for each member of a pair, weighted by the pair's.

    Returns
    -------
    law : array, shape (E,)
    share : float
        Share of time in A; the Bayes loss per token tends to this times its value at rho = 1.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    pi = stationary_law(P, triggers)
    P = np.asarray(P, dtype=float)
    chosen = sorted(int(t) for t in triggers)
    pairs = [(a, b) for i, a in enumerate(chosen) for b in chosen[i:]]
    index = {pair: i + 1 for i, pair in enumerate(pairs)}
    rates, members = np.zeros((len(pairs) + 1, len(pairs) + 1)), np.zeros((len(pairs) + 1, len(P)))
    members[0] = pi
    for t in chosen:
        for new in chosen:
            rates[0, index[min(t, new), max(t, new)]] += pi[t] * P[t, new]
    for pair, i in index.items():
        for t in pair:  # a pair of one trigger with itself counts it twice
            members[i, t] += 0.5
            rates[i, 0] += 0.5 * (1 - P[t, chosen].sum())
            for new in chosen:
                rates[i, index[min(t, new), max(t, new)]] += 0.5 * P[t, new]
    weights = _balance(rates)
    return weights @ members, float(weights[0])


def bayes_rate(chain: Chain) -> float:
    """Limit of `bayes_loss` for long sequences: mean entropy of the predictive law under `long_run_law`."""
    return float(long_run_law(chain) @ entropy(chain.predictive))


def _balance(transition: np.ndarray) -> np.ndarray:
    """Stationary law of an irreducible chain, by elimination without subtractions: every entry to full precision.

    Only what is off the diagonal counts: rates will do, and rows need not sum to one.
    """
    A = np.array(transition, dtype=float)
    n = len(A)
    for k in range(n - 1, 0, -1):
        leaving = A[k, :k].sum()
        if not leaving > 0:
            raise OutOfDomain("P: the chain on the tokens that are no triggers falls into parts; connect them, or ask "
                              "for the long_run_law of the chain")  # fmt: skip
        A[:k, k] /= leaving
        A[:k, :k] += A[:k, k, None] * A[k, :k]
    law = np.zeros(n)
    law[0] = 1.0
    for k in range(1, n):
        law[k] = law[:k] @ A[:k, k]
    return law / law.sum()
