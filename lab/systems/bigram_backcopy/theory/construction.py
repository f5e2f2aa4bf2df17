r"""Loss of the written-down solutions: exact map from token counts to risk, and bounds that vanish as scales grow.

A query attends to BOS with logit `first`, to the previous token with `previous`, to all others with 0. Token k has been
seen W_k times (BOS not counted, the query counted) and has the value :math:`\xi_k`; BOS has the value 0. The head adds

.. math:: \delta_k=\frac{\xi_k\,(W_k+(e^{\lambda}-1)[k=u])}{e^{\mathrm{first}}+W+(e^{\lambda}-1)},\qquad W=\sum_kW_k,

u the previous token, lambda the logit to it (no such terms without a previous token).
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["bigram_bound", "bigram_excess", "copy_bound", "copy_excess", "copy_gap", "head_shift"]


def head_shift(counts, xi, *, first, before=None, previous=0.0) -> np.ndarray:
    """What the head adds to the logits, shape (..., V).

    Parameters
    ----------
    counts : array_like, shape (..., V)
        W_k; in front of the query and at it, BOS left out.
    xi : array_like, shape (V,)
        Values of the tokens.
    first : array_like, shape (...)
        Logit to BOS. In the attention-only transformer: M at a token that is no trigger (M + lambda where BOS is its
        previous token), 0 at a trigger.
    before : array_like of 0 and 1, shape (..., V), optional
        One-hot previous token; all zeros where that is BOS.
    previous : float
        lambda, logit to the previous token.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> head_shift([1, 1], [2.0, 2.0], first=np.log(2.0)).tolist()
    [0.5, 0.5]
    """
    counts = checks.non_negative("counts", counts)
    seen = counts if before is None else counts + np.expm1(previous) * np.asarray(before, dtype=float)
    total = np.exp(np.asarray(first, dtype=float)) + seen.sum(axis=-1)
    return np.asarray(xi, dtype=float) * seen / total[..., None]


def bigram_excess(p, shift) -> np.ndarray:
    r"""Excess risk of a query whose logits are :math:`\log p+\delta`, in nats, shape (...).

    .. math:: KL(p\|q)=\log\textstyle\sum_kp_ke^{\delta_k}-\langle p,\delta\rangle,

    without differences of close numbers. Broadcasts.
    """
    p = checks.fraction("p", p, open=False)
    x = np.asarray(shift, dtype=float)
    x = x - np.sum(p * x, axis=-1, keepdims=True)
    return np.log1p(np.sum(p * (np.expm1(x) - x), axis=-1))


def bigram_bound(shift) -> np.ndarray:
    r"""Bound :math:`(\max_k\delta_k-\min_k\delta_k)^2/8` on `bigram_excess`, for every p (Hoeffding's lemma)."""
    shift = np.asarray(shift, dtype=float)
    return (shift.max(axis=-1) - shift.min(axis=-1)) ** 2 / 8


def copy_excess(shift, target) -> np.ndarray:
    """Loss in nats of a trigger, whose logits are `shift` alone, against the token to be copied; shape (...).

    `target` holds its index, shape (...).
    """
    shift = np.asarray(shift, dtype=float)
    target = np.asarray(target)[..., None]
    own = np.take_along_axis(shift, target, axis=-1)
    others = np.exp(shift - own)
    np.put_along_axis(others, target, 0.0, axis=-1)
    return np.log1p(others.sum(axis=-1))


def copy_gap(shift, target) -> np.ndarray:
    r"""Logit of the token to be copied above the largest other, shape (...).

    At a trigger: :math:`[(e^\lambda-1+W_u)\xi_u-\max_{k\ne u}W_k\xi_k]/(e^\lambda+W)`.
    """
    shift = np.array(shift, dtype=float)
    target = np.asarray(target)[..., None]
    own = np.take_along_axis(shift, target, axis=-1)[..., 0]
    np.put_along_axis(shift, target, -np.inf, axis=-1)
    return own - shift.max(axis=-1)


def copy_bound(gap, V: int, *, competitors: int | None = None) -> np.ndarray:
    r"""Bound :math:`\log(1+(V-1)e^{-\mathrm{gap}})` on `copy_excess`; attained where all other logits are equal.

    `competitors` replaces V - 1.
    """
    V = checks.integer("V", V, 2)
    return np.log1p((V - 1 if competitors is None else competitors) * np.exp(-np.asarray(gap, dtype=float)))
