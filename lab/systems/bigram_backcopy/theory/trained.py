r"""What a transformer of one layer must lose when its head says the same at every position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.systems.bigram_backcopy.theory import chain as chains

__all__ = ["BlindExcess", "blind_excess", "guess_excess"]


class BlindExcess(NamedTuple):
    """Excess at triggers of the best model that does not see the token in front: mean and standard deviation, nats."""

    mean: float
    deviation: float


def blind_excess(P, triggers: Sequence[int], init, n: int, *, copy: float = 1.0, bos: int = 1) -> BlindExcess:
    r"""Least mean excess loss at triggers for a model that sees the trigger and its position only.

    .. math:: \frac{\sum_{j,t,u}P(x_{j-1}=u,x_j=t)\,KL(\ell_{ut}\|\bar\ell_{jt})}{\sum_{j,t}P(x_j=t)},\qquad
              \bar\ell_{jt}=\sum_uP(x_{j-1}=u\mid x_j=t)\,\ell_{ut},

    :math:`\ell_{ut}` the law of the next token, t in T, j over the positions with a token in front: what the next token
    and the token in front share. With certain copies it is :math:`H(x_{j-1}\mid x_j=t)`: this is what a head is for.

    Parameters
    ----------
    P : array_like, shape (E, E)
        Bigram law, delimiters included.
    triggers : sequence of int
    init : array_like, shape (E,)
        Law of the first token.
    n : int, >= bos + 2
        Inputs, BOS included.
    copy : float, in [0, 1]
        rho, probability that a trigger copies.
    bos : int, >= 0
        Number of BOS tokens.

    Notes
    -----
    If the outputs of all heads are constants, the predictions of a transformer are a function of token and position, so
    its excess is at least this (Gibbs). Derived for this laboratory, verified numerically; not found in the cited
    papers.

    Examples
    --------
    >>> round(blind_excess(np.full((3, 3), 1 / 3), (0,), [0, 0.5, 0.5], 8).mean, 6)  # log 2
    0.693147
    """
    bos = checks.integer("bos", bos, 0)
    n = checks.integer("n", n, bos + 2)
    chain = chains.augmented_chain(P, triggers, init, copy=copy)
    E, behind = len(chain.is_trigger), chain.before >= 0
    laws = chains.finite_laws(chain, n - bos)[1:, behind].reshape(n - bos - 1, -1, E)  # (j, t, u)
    total = laws.sum()
    if not total > 0:
        raise OutOfDomain(f"triggers={tuple(triggers)}: none occurs in {n} inputs; choose others or raise n")
    following = chain.predictive[behind].reshape(-1, E, E)  # (t, u, next)
    mixed = np.einsum("jtu,tuk->jtk", laws, following) / np.maximum(laws.sum(axis=-1, keepdims=True), 1e-300)
    ratio = following / np.where(mixed > 0, mixed, 1.0)[:, :, None]
    lost = np.sum(following * np.log(np.where(ratio > 0, ratio, 1.0)), axis=-1)
    mean = float((laws * lost).sum() / total)
    return BlindExcess(mean, float(np.sqrt(max((laws * lost**2).sum() / total - mean**2, 0.0))))


def guess_excess(P, triggers: Sequence[int], init, n: int) -> float:
    r"""Excess loss in nats of a uniform guess at ordinary tokens: mean of :math:`\log V-H(P_v)`, v in N.

    Parameters
    ----------
    P, triggers, init, n
        As in `blind_excess`; here n >= 2.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> guess_excess(np.full((3, 3), 1 / 3), (0,), [0, 0.5, 0.5], 8) < 1e-12
    True
    """
    n = checks.integer("n", n, 2)
    chain = chains.augmented_chain(P, triggers, init)
    shares = chains.token_law(chain, chains.finite_laws(chain, n - 1)).sum(axis=0) * ~chain.is_trigger
    known = np.log(len(shares)) - chains.entropy(np.asarray(P, dtype=float))
    return float(shares @ known / shares.sum())
