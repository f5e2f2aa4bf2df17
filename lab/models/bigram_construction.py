r"""An attention-only transformer, weights written down, that solves the bigram-backcopy task as its scales grow.

One head, one layer, no MLP. The state of a token is onehot(token, V+1) + onehot(position, n) + R^V. The bilinear form
of query and key has `sink` at (token v that is no trigger, BOS) and `previous` at (position j, position j-1), else 0;
the head writes :math:`\xi_ke_k` of token k (nothing of BOS) into the last block. The unembedding takes it as logits and
adds :math:`\log P_v` of a token v that is no trigger, the logarithm of `init` at BOS, nothing at a trigger. There
attention goes to the token in front, which is then predicted; elsewhere to BOS, whose value is nothing.

One form for all queries: the logit to the previous token is shared, so a sink needs ``sink - previous`` large. Arrays
may be NumPy, torch or JAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lab.arrays import Array, device, namespace
from lab.errors import InputError

__all__ = ["LOWEST", "AttentionOnly", "attention_only", "attention_weights", "next_token_logits"]

LOWEST = -50.0
"""Stands for the logarithm of 0: minus infinity times 0 in the unembedding would be NaN."""


class AttentionOnly(NamedTuple):
    """Weights; D = (V+1) + n + V.

    Attributes
    ----------
    tokens : array, shape (V+1, D)
        Embedding; BOS is V.
    positions : array, shape (n, D)
        Added to it.
    form : array, shape (D, D)
        Bilinear form of query (rows) and key.
    values : array, shape (D, D)
        Value and output matrix, from the right: rows of states times it.
    unembed : array, shape (D, V)
        Logits of the ordinary tokens.
    """

    tokens: Array
    positions: Array
    form: Array
    values: Array
    unembed: Array


def attention_only(
    P: np.ndarray, triggers: Sequence[int], init: np.ndarray, *, n: int, sink: float, previous: float,
    xi: np.ndarray | float,
) -> AttentionOnly:  # fmt: skip
    """The weights, as NumPy arrays.

    Parameters
    ----------
    P : array, shape (V, V)
        Bigram law.
    triggers : sequence of int
    init : array, shape (V,)
        Law of the token after BOS.
    n : int, >= 1
        Longest input.
    sink, previous : float
        Logits to BOS (M) and to the previous token (lambda).
    xi : float or array, shape (V,)
        Value of each token.

    References
    ----------
    .. [1] arXiv:2410.13835, existence of a one-layer solution; weights written down for this laboratory.
    """
    P, init = np.asarray(P, dtype=float), np.asarray(init, dtype=float)
    V = len(P)
    if P.shape != (V, V) or init.shape != (V,):
        raise InputError(f"P has shape {P.shape} and init {init.shape}; give (V, V) and (V,)")
    if int(n) != n or n < 1:
        raise InputError(f"n={n!r} must be an integer >= 1")
    D = V + 1 + n + V
    place, write = V + 1, V + 1 + n
    is_trigger = np.isin(np.arange(V), triggers)
    form = np.zeros((D, D))
    form[np.flatnonzero(~is_trigger), V] = sink
    form[place + np.arange(1, n), place + np.arange(n - 1)] = previous
    values = np.zeros((D, D))
    values[np.arange(V), write + np.arange(V)] = xi
    unembed = np.zeros((D, V))
    with np.errstate(divide="ignore"):
        unembed[:V] = np.where(is_trigger[:, None], 0.0, np.maximum(np.log(P), LOWEST))
        unembed[V] = np.maximum(np.log(init), LOWEST)
    unembed[write:] = np.eye(V)
    return AttentionOnly(np.eye(V + 1, D), np.eye(n, D, place), form, values, unembed)


def attention_weights(model: AttentionOnly, x: Array) -> Array:
    """Attention of each query (rows) to each key, shape (B, n, n), of token ids (B, n); causal, self included."""
    states = _states(model, x)
    xp = namespace(states)
    scores = states @ model.form @ states.mT
    n = scores.shape[-1]
    seen = xp.tril(xp.ones((n, n), dtype=scores.dtype, device=device(scores))) > 0
    scores = xp.where(seen, scores - xp.max(scores, axis=-1, keepdims=True), -xp.inf)
    weights = xp.exp(scores)
    return weights / xp.sum(weights, axis=-1, keepdims=True)


def next_token_logits(model: AttentionOnly, x: Array) -> Array:
    """Logits of the next token, shape (B, n, V), of token ids (B, n) that begin with BOS."""
    states = _states(model, x)
    return (states + attention_weights(model, x) @ states @ model.values) @ model.unembed


def _states(model: AttentionOnly, x: Array) -> Array:
    if x.shape[-1] > model.positions.shape[0]:
        raise InputError(f"x has {x.shape[-1]} tokens, the model {model.positions.shape[0]} positions; raise n")
    xp = namespace(model.tokens)
    rows = xp.take(model.tokens, xp.reshape(x, (-1,)), axis=0)
    return xp.reshape(rows, (*x.shape, -1)) + model.positions[: x.shape[-1], :]
