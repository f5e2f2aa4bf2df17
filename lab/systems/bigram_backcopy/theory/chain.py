r"""The law of bigram-backcopy sequences: states a predictor must know, laws of finite sequences, Bayes loss.

A trigger (in T) repeats the token in front of it; all other tokens (N) follow the bigram law P. What a predictor must
know is the last token and, if that is a trigger, the one in front of it: a Markov chain on states v (v in N) and (u, t)
(t in T). Arrays: P (E, E) and `init` (E,) with the delimiters, where there are any, as further tokens of N.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = [
    "Chain",
    "augmented_chain",
    "bayes_loss",
    "entropy",
    "excess_loss",
    "finite_laws",
    "neighbouring_triggers",
    "token_law",
]


class Chain(NamedTuple):
    """The chain of a task on S states.

    Attributes
    ----------
    before, token : array of int, shape (S,)
        Last token, and the one in front of it; -1 where that does not matter (no trigger) or does not exist.
    start : array, shape (S,)
        Law of the state at the first token after BOS.
    transition : array, shape (S, S)
    predictive : array, shape (S, E)
        Law of the next token: the best prediction.
    is_trigger : array of bool, shape (E,)
    """

    before: np.ndarray
    token: np.ndarray
    start: np.ndarray
    transition: np.ndarray
    predictive: np.ndarray
    is_trigger: np.ndarray


def augmented_chain(P, triggers: Sequence[int], init, *, copy: float = 1.0, backward: bool = False) -> Chain:
    r"""The chain on (last token, token in front of a trigger), for every variant.

    Predictive law at v in N and at a first token: :math:`P_v`; at (u, t): :math:`\rho e_u+(1-\rho)P_t`, or with
    `backward` :math:`\rho P_u+(1-\rho)P_t`.

    Parameters
    ----------
    P : array_like, shape (E, E)
        Rows sum to 1.
    triggers : sequence of int
        May be empty; not all tokens.
    init : array_like, shape (E,)
        Law of the first token.
    copy : float, in [0, 1]
        rho, probability that a trigger has its effect.
    backward : bool
        The effect is a draw from the row of the token in front instead of a copy of it.

    Returns
    -------
    Chain
        With S = E (1 + |T|) states.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> augmented_chain(np.full((3, 3), 1 / 3), (0,), [0, 0.5, 0.5]).predictive[-1].tolist()
    [0.0, 0.0, 1.0]
    """
    P, init, is_trigger = checked(P, triggers, init)
    copy = float(checks.fraction("copy", copy, open=False))
    E, chosen = len(P), np.flatnonzero(is_trigger)
    before = np.concatenate([np.full(E, -1), np.tile(np.arange(E), len(chosen))])
    token = np.concatenate([np.arange(E), np.repeat(chosen, E)])
    effect = P if backward else np.eye(E)
    predictive = P[token].copy()
    predictive[E:] = copy * effect[before[E:]] + (1 - copy) * P[token[E:]]
    # a next token that is no trigger is a state of its own; a trigger makes a state with the token in front of it
    place = np.tile(np.arange(E), (E, 1))
    for i, t in enumerate(chosen):
        place[:, t] = E * (1 + i) + np.arange(E)
    transition = np.zeros((len(token), len(token)))
    np.put_along_axis(transition, place[token], predictive, axis=1)
    start = np.append(init, np.zeros(len(token) - E))
    return Chain(before, token, start, transition, predictive, is_trigger)


def entropy(rows) -> np.ndarray:
    """Entropy of each law along the last axis, in nats; 0 log 0 = 0."""
    rows = checks.non_negative("rows", rows)
    return -np.sum(rows * np.log(np.where(rows > 0, rows, 1.0)), axis=-1)


def finite_laws(chain: Chain, count: int) -> np.ndarray:
    """Law of the state at the first `count` tokens after BOS, shape (count, S)."""
    count = checks.integer("count", count, 1)
    laws = [chain.start]
    for _ in range(count - 1):
        laws.append(laws[-1] @ chain.transition)
    return np.stack(laws)


def token_law(chain: Chain, law) -> np.ndarray:
    """Law of the last token, shape (..., E), from a law of the state, shape (..., S)."""
    return np.asarray(law) @ (chain.token[:, None] == np.arange(len(chain.is_trigger)))


def neighbouring_triggers(chain: Chain, law) -> np.ndarray:
    """Probability, shape (...), that the last token and the next are both triggers."""
    mass = chain.predictive[:, chain.is_trigger].sum(axis=1)
    return np.asarray(law) @ (mass * chain.is_trigger[chain.token])


def bayes_loss(chain: Chain, n: int, *, bos: int = 1) -> float:
    r"""Least possible mean loss per position in nats over n inputs and their next tokens.

    .. math:: L^*_n=\tfrac1n\Big[H(\mathrm{init})+\sum_{j}\sum_s\Pr(s_j=s)\,H(\mathrm{predictive}_s)\Big],

    the sum over the inputs after BOS. With exact copies only N contributes:
    :math:`\sum_{v\in N}\Pr(x_j=v)H(P_v)`.

    Parameters
    ----------
    chain : Chain
    n : int, >= max(bos, 1)
        Inputs, BOS tokens included.
    bos : int, 0, 1 or 2
        BOS tokens; a second one is certain and costs nothing. Without any, the first token is not predicted.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    return _mean_over_inputs(chain, n, bos, entropy(chain.predictive), float(entropy(chain.start)))


def excess_loss(chain: Chain, laws, n: int, *, bos: int = 1, first=None) -> float:
    r"""Loss of a model minus `bayes_loss`: mean KL(best prediction || its prediction), >= 0.

    Parameters
    ----------
    chain, n, bos
        As in `bayes_loss`.
    laws : array_like, shape (S, E)
        The model's law of the next token in each state; positive wherever the best prediction is.
    first : array_like, shape (E,), optional
        Its law of the first token; default: the best.
    """
    laws = checks.non_negative("laws", laws)
    best = 0.0 if first is None else float(_divergence(chain.start[: len(chain.is_trigger)], first))
    return _mean_over_inputs(chain, n, bos, _divergence(chain.predictive, laws), best)


# ---------------------------------------------------------------------- shared


def _mean_over_inputs(chain: Chain, n: int, bos: int, each: np.ndarray, first: float) -> float:
    if bos not in (0, 1, 2):
        raise OutOfDomain(f"bos={bos!r}: must be 0, 1 or 2")
    n = checks.integer("n", n, max(1, bos))
    total = first if bos else 0.0
    if n > bos:
        total += float(np.sum(finite_laws(chain, n - bos) @ each))
    return total / n


def _divergence(p, q) -> np.ndarray:
    p, q = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0) / q), 0.0), axis=-1)


def checked(P, triggers: Sequence[int], init) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P, init (uniform by default) and the mask of the triggers, or OutOfDomain."""
    P = checks.fraction("P", P, open=False)
    if P.ndim != 2 or P.shape[0] != P.shape[1]:
        raise OutOfDomain(f"P has shape {P.shape}: must be square, one row of next-token probabilities per token")
    checks.checked("row sum of P", P.sum(axis=1), lambda s: abs(s - 1) < 1e-9, "must be 1; normalise the row")
    is_trigger = np.isin(np.arange(len(P)), np.asarray(triggers, dtype=int))
    if is_trigger.all() or is_trigger.sum() != len(triggers):
        raise OutOfDomain(f"triggers={tuple(triggers)}: must be distinct ids in [0, {len(P)}), not all of them")
    init = np.full(len(P), 1 / len(P)) if init is None else checks.fraction("init", init, open=False)
    if init.shape != (len(P),) or abs(init.sum() - 1) > 1e-9:
        raise OutOfDomain(f"init: must be a law over the {len(P)} tokens")
    return P, init, is_trigger
