"""Layers of attention-only denoising in head coordinates, and whether the events of the rate theorem hold in them.

Head coordinates `W` (..., K, N, p), tokens of cluster k contiguous (`sizes`), head k belongs to cluster k. All
functions take numpy, torch and jax arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lab.arrays import Array, device, namespace
from lab.models import white_box

__all__ = ["Failures", "energies", "failures", "own_rows", "signal_to_noise", "step"]


class Failures(NamedTuple):
    """Shares of rows that break the events: signal rows (token, own head) and foreign rows (token, another head)."""

    signal: Array
    foreign: Array

    @property
    def none(self) -> Array:
        """Whether the events hold, so that the rate is exact in this layer."""
        return (self.signal == 0) & (self.foreign == 0)


def own_rows(sizes: Sequence[int]) -> np.ndarray:
    """Mask (K, N): whether a token belongs to a head's cluster."""
    return np.arange(len(sizes))[:, None] == np.repeat(np.arange(len(sizes)), sizes)


def energies(W: Array, sizes: Sequence[int]) -> tuple[Array, Array]:
    """Squared norms of each cluster in its own head and in all others, each (..., K).

    The foreign energy is summed by itself: total minus own cancels once the ratio is large.
    """
    xp = namespace(W)
    squares, K = xp.sum(W * W, axis=-1), len(sizes)
    if len(set(sizes)) == 1:
        table = xp.sum(xp.reshape(squares, (*squares.shape[:-1], K, sizes[0])), axis=-1)
    else:
        ends = np.cumsum(sizes)
        parts = [squares[..., int(end) - n : int(end)] for end, n in zip(ends, sizes, strict=True)]
        table = xp.stack([xp.sum(part, axis=-1) for part in parts], axis=-1)
    own = xp.asarray(np.eye(K, dtype=bool), device=device(W))  # (head, cluster)
    zero = xp.zeros_like(table)
    return xp.sum(xp.where(own, table, zero), axis=-2), xp.sum(xp.where(own, zero, table), axis=-2)


def signal_to_noise(W: Array, sizes: Sequence[int]) -> Array:
    """Signal-to-noise ratio (..., K) of the clusters: norm in the own head over norm in the others."""
    own, foreign = energies(W, sizes)
    return namespace(W).sqrt(own / foreign)


def failures(
    W: Array, sizes: Sequence[int], tau: Any, *, scale: Any = 1.0, margins: white_box.Margins | None = None
) -> Failures:
    """Shares of failing rows of a layer.

    Parameters
    ----------
    W : array, shape (..., K, N, p)
    sizes : sequence of int
    tau : number or traced number
        Threshold of the softmax weights.
    scale : number
        Factor of the scores.
    margins : Margins, optional
        Of `white_box.thresholded_attend`, for tau >= 1/2. Without it all weights are computed, at any tau.
    """
    xp = namespace(W)
    own = xp.asarray(own_rows(sizes), device=device(W))
    if margins is not None:
        count = W.shape[-2]
        itself = margins.winner == xp.arange(count, dtype=margins.winner.dtype, device=device(W))
        passes = margins.excess > 0
        broken = xp.where(own, ~(passes & itself), passes)
    else:
        scores = scale * (W @ W.mT)
        shifted = scores - xp.max(scores, axis=-1, keepdims=True)
        log_weight = shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
        above = log_weight > (math.log(tau) if isinstance(tau, float) else xp.log(tau))
        diagonal = xp.linalg.diagonal(above)
        number = xp.sum(xp.astype(above, W.dtype), axis=-1)
        broken = xp.where(own, ~(diagonal & (number == 1)), number > 0)
    bad = xp.astype(broken, W.dtype)
    total = float(own.shape[0] * own.shape[1])
    signal = xp.sum(xp.where(own, bad, xp.zeros_like(bad)), axis=(-2, -1)) / own.shape[1]
    foreign = xp.sum(xp.where(own, xp.zeros_like(bad), bad), axis=(-2, -1)) / max(1.0, total - own.shape[1])
    return Failures(signal, foreign)


def step(
    W: Array, sizes: Sequence[int], *, eta: Any, tau: Any, kind: white_box.Kind = "constant", scale: Any = 1.0,
    gather: bool | None = None, chunk: int | None = None,
) -> tuple[Array, Failures]:  # fmt: skip
    """One thresholded layer ``W + eta attend(W)`` and the failures of its rows.

    `gather` takes the operator that is only right for ``tau >= 1/2``; by default wherever tau is such a number.
    """
    if gather is None:
        gather = isinstance(tau, int | float) and tau >= 0.5
    if gather:
        update, margins = white_box.thresholded_attend(W, tau=tau, kind=kind, scale=scale, chunk=chunk)
        return W + eta * update, failures(W, sizes, tau, margins=margins)
    update = white_box.attend(W, phi=white_box.thresholded(tau, kind), scale=scale)
    return W + eta * update, failures(W, sizes, tau, scale=scale)
