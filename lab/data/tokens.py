"""Tokens near subspaces: each token is Gaussian on its own subspace and has weak Gaussian noise on the others.

Tokens are rows, clusters are contiguous blocks of rows; the papers use columns. Cluster k lives on the range of
`U_k` (d, p), orthonormal columns. A token i of cluster k is

.. math::

    z_i = U_k a_i + \\sum_{j \\ne k} U_j e_{ij}, \\qquad a_i \\sim N(0, I_p), \\quad e_{ij} \\sim N(0, \\delta^2 I_p).

There is no noise outside the span of the U's. The coordinates `blocks[j, i]` (a_i or e_ij) are the fast path: where
the U's are mutually orthogonal, `blocks[j] = Z U_j` and operators that act head by head never need `Z` or `d`.

The functions draw from a NumPy generator; their twins with the suffix `_jax` draw from a JAX key (the same
distribution, not the same numbers), to be jitted and vmapped, with `delta` traced if need be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lab import streams
from lab.arrays import Array, namespace, truth
from lab.data.subspaces import haar, haar_jax
from lab.errors import InputError

__all__ = [
    "SubspaceTokens",
    "incoherent_subspace_tokens",
    "incoherent_subspace_tokens_jax",
    "noisy_subspace_tokens",
    "noisy_subspace_tokens_jax",
]


class SubspaceTokens(NamedTuple):
    """Tokens near K subspaces.

    Attributes
    ----------
    blocks : array, shape (K, N, p)
        Coefficients of every token on every frame; `Z frames[k]` where the frames are mutually orthogonal.
    labels : array of int, shape (N,)
        Cluster of each token.
    frames : array, shape (K, d, p), or None
        Orthonormal columns; None where only block coordinates were asked for.
    Z : array, shape (N, d), or None
        ``sum_k blocks[k] frames[k]^T``.
    """

    blocks: Array
    labels: Array
    frames: Array
    Z: Array


def noisy_subspace_tokens(
    rng: np.random.Generator, *, class_sizes: Sequence[int], rank: int, delta: float, d: int | None = None
) -> SubspaceTokens:
    """Tokens near mutually orthogonal random subspaces.

    Parameters
    ----------
    rng : numpy.random.Generator
    class_sizes : sequence of int, > 0
        Tokens of each cluster (N_1, ..., N_K).
    rank : int, > 0
        Dimension p of every subspace.
    delta : float, >= 0
        Standard deviation of the noise on foreign subspaces, relative to the signal's.
    d : int, optional
        Ambient dimension, >= K p. Without it `frames` and `Z` are None: block coordinates alone, the fast path.

    Returns
    -------
    SubspaceTokens

    Raises
    ------
    InputError
        If a parameter is outside its range or the subspaces do not fit into d dimensions.

    References
    ----------
    .. [1] arXiv:2506.03790, definition of the noisy token mixture (columns there, rows here).

    Examples
    --------
    >>> tokens = noisy_subspace_tokens(np.random.default_rng(0), class_sizes=(3, 2), rank=2, delta=0.1, d=6)
    >>> bool(np.allclose(tokens.Z @ tokens.frames, tokens.blocks))
    True
    """
    heads, count = _checked(class_sizes, rank, delta)
    blocks, labels = _blocks(rng.standard_normal((heads, count, rank)), class_sizes, delta)
    if d is None:
        return SubspaceTokens(blocks, labels, None, None)
    frames = _split(haar(rng, _room(d, heads * rank), heads * rank), heads)
    return SubspaceTokens(blocks, labels, frames, _embedded(blocks, frames))


def noisy_subspace_tokens_jax(
    key: Any, *, class_sizes: Sequence[int], rank: int, delta: Any, d: int | None = None, dtype: Any = None
) -> SubspaceTokens:
    """`noisy_subspace_tokens` from a JAX key; in `dtype`, by default the float of the JAX configuration."""
    import jax

    heads, count = _checked(class_sizes, rank, delta)
    noise, frame = jax.random.split(key)
    gaussian = streams.normal(noise, (heads, count, rank), dtype=float if dtype is None else dtype)
    blocks, labels = _blocks(gaussian, class_sizes, delta)
    if d is None:
        return SubspaceTokens(blocks, labels, None, None)
    frames = _split(haar_jax(frame, _room(d, heads * rank), heads * rank, dtype=blocks.dtype), heads)
    return SubspaceTokens(blocks, labels, frames, _embedded(blocks, frames))


def incoherent_subspace_tokens(
    rng: np.random.Generator, *, class_sizes: Sequence[int], rank: int, delta: float, d: int
) -> SubspaceTokens:
    """Tokens near independent random subspaces of R^d, orthogonal only up to their coherence, about sqrt(p/d).

    Arguments as in `noisy_subspace_tokens`, with d >= p. `blocks` are the coefficients that make up `Z`; they differ
    from ``Z frames[k]``, so operators need the full `Z`.
    """
    heads, count = _checked(class_sizes, rank, delta)
    blocks, labels = _blocks(rng.standard_normal((heads, count, rank)), class_sizes, delta)
    frames = np.stack([haar(rng, _room(d, rank), rank) for _ in range(heads)])
    return SubspaceTokens(blocks, labels, frames, _embedded(blocks, frames))


def incoherent_subspace_tokens_jax(
    key: Any, *, class_sizes: Sequence[int], rank: int, delta: Any, d: int, dtype: Any = None
) -> SubspaceTokens:
    """`incoherent_subspace_tokens` from a JAX key; in `dtype`, by default the float of the JAX configuration."""
    import jax

    heads, count = _checked(class_sizes, rank, delta)
    noise, frame = jax.random.split(key)
    gaussian = streams.normal(noise, (heads, count, rank), dtype=float if dtype is None else dtype)
    blocks, labels = _blocks(gaussian, class_sizes, delta)
    one = _room(d, rank)
    frames = jax.vmap(lambda k: haar_jax(k, one, rank, dtype=blocks.dtype))(jax.random.split(frame, heads))
    return SubspaceTokens(blocks, labels, frames, _embedded(blocks, frames))


def _blocks(gaussian: Array, class_sizes: Sequence[int], delta: Any) -> tuple[Array, Array]:
    """Standard normal coordinates (K, N, p), those of foreign tokens times `delta`; labels (N,)."""
    xp = namespace(gaussian)
    labels = np.repeat(np.arange(len(class_sizes)), class_sizes)
    own = xp.asarray(np.arange(len(class_sizes))[:, None, None] == labels[None, :, None])
    return xp.where(own, gaussian, delta * gaussian), xp.asarray(labels)


def _split(frame: Array, heads: int) -> Array:
    """(K, d, p) from the columns (d, K p)."""
    xp = namespace(frame)
    return xp.moveaxis(xp.reshape(frame, (frame.shape[0], heads, -1)), 1, 0)


def _embedded(blocks: Array, frames: Array) -> Array:
    return namespace(blocks).sum(blocks @ frames.mT, axis=0)


def _checked(class_sizes: Sequence[int], rank: int, delta: Any) -> tuple[int, int]:
    if not len(class_sizes) or not all(isinstance(n, int | np.integer) and n > 0 for n in class_sizes):
        raise InputError(f"class_sizes={tuple(class_sizes)} must be integers > 0, at least one")
    if not isinstance(rank, int | np.integer) or rank < 1:
        raise InputError(f"rank={rank!r} must be an integer > 0")
    if isinstance(delta, int | float | np.number):
        valid = math.isfinite(delta) and delta >= 0
    else:
        xp = namespace(delta)
        valid = truth(xp.all(xp.isfinite(delta)) & xp.all(delta >= 0)) is not False
    if not valid:
        raise InputError(f"delta={delta} must be finite and >= 0; it is the standard deviation of the noise")
    return len(class_sizes), int(sum(class_sizes))


def _room(d: int, needed: int) -> int:
    if not isinstance(d, int | np.integer) or d < needed:
        raise InputError(f"d={d!r} leaves no room for {needed} orthonormal columns; raise d or lower rank")
    return int(d)
