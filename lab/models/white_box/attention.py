r"""Multi-head subspace self-attention (MSSA) with any weights that are a function of the scores of a query.

With head coordinates ``W_k = Z U_k`` (N, p), scores ``S_k = scale W_k W_k^T`` (queries in rows, keys in columns) and a
function `phi` that turns the scores of each query into weights,

.. math:: \mathrm{MSSA}_\phi(Z) = \sum_k \phi(\mathrm{scale}\,W_k W_k^\top)\,W_k U_k^\top .

`phi` maps scores (..., K, N_query, N_key) to weights of the same shape and acts on the last axis, query by query:
`softmax`, `linear`, `relu`, those made by `thresholded`, or one's own function. An operator returns the update without
the residual.

Thresholded softmax weights, ``h(w)`` with ``w`` the softmax weight of a key and ``tau`` the threshold, are decided on
``log w - log tau``, where nothing underflows:

========== ======================
kind       h(w)
========== ======================
constant   ``tau 1{w > tau}``
indicator  ``1{w > tau}``
hard       ``w 1{w > tau}``
soft       ``max(w - tau, 0)``
========== ======================

References
----------
.. [1] arXiv:2306.01129, Yu et al. 2023 (MSSA; columns there, rows here; ``scale = 1/sqrt(p)`` in its code).
.. [2] arXiv:2506.03790, Wang et al. 2025 (thresholded softmax; its theorem needs the constant kind).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from lab.arrays import Array, namespace, truth
from lab.errors import InputError
from lab.models.white_box.heads import from_head_coordinates, head_coordinates
from lab.models.white_box.inputs import read_coordinates, read_number, softmax_rows
from lab.objectives.coding_rate.inputs import read_features

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = [
    "Kind", "Margins", "Phi", "attend", "linear", "mssa", "relu", "softmax", "thresholded", "thresholded_attend",
]  # fmt: skip

Phi = Callable[[Array], Array]
Kind = Literal["constant", "indicator", "hard", "soft"]


class Margins(NamedTuple):
    """How clearly the keys of each query were decided.

    Attributes
    ----------
    excess : array, shape (..., K, N)
        ``log w - log tau`` of the largest softmax weight w of each query: positive where a key passes the threshold.
    winner : array of int, shape (..., K, N)
        Index of the key with that weight.
    """

    excess: Array
    winner: Array


# ---------------------------------------------------------------------- weights


def softmax(scores: Float[Array, "*batch k n m"]) -> Float[Array, "*batch k n m"]:
    """Softmax over the keys; the weights of a query sum to one."""
    return softmax_rows(scores)


def linear(scores: Float[Array, "*batch k n m"]) -> Float[Array, "*batch k n m"]:
    """The scores themselves: MSSA is then the cubic form ``sum_k W_k W_k^T W_k U_k^T``."""
    return scores


def relu(scores: Float[Array, "*batch k n m"]) -> Float[Array, "*batch k n m"]:
    """Positive part of the scores divided by the number of keys."""
    xp = namespace(scores)
    return xp.maximum(scores, xp.zeros_like(scores)) / scores.shape[-1]


def thresholded(tau: Array | float, kind: Kind = "constant") -> Phi:
    """A thresholded softmax as a function of the scores.

    Parameters
    ----------
    tau : number, or array whose axes are batch axes, in (0, 1)
        Threshold of the softmax weights. Nothing passes where it is 1 or more.
    kind : "constant", "indicator", "hard" or "soft"
        ``tau 1{w > tau}``, ``1{w > tau}``, ``w 1{w > tau}`` or ``max(w - tau, 0)``.

    Returns
    -------
    function
        From scores (..., K, N_query, N_key) to weights of that shape. Its derivative by the scores is that of the
        weight where a key passes, and 0 elsewhere: for the first two kinds 0 everywhere.
    """
    _read_threshold(tau)
    _read_kind(kind)
    return functools.partial(_threshold, tau=tau, kind=kind)


def _threshold(scores: Array, *, tau: Array | float, kind: Kind) -> Array:
    xp = namespace(scores)
    level = read_number("tau", tau, scores, axes=3, own=3)
    shifted = scores - xp.max(scores, axis=-1, keepdims=True)
    total = xp.sum(xp.exp(shifted), axis=-1, keepdims=True)
    return _passed(xp, shifted - (xp.log(total) + _log(xp, level)), level, kind)


def _passed(xp: Any, excess: Array, tau: Array | float, kind: Kind) -> Array:
    """h(w) from ``log w - log tau``."""
    passed = xp.astype(excess > 0, excess.dtype)
    if kind == "indicator":
        return passed
    if kind == "constant":
        return tau * passed
    above = xp.where(excess > 0, excess, xp.zeros_like(excess))  # where nothing passes, nothing overflows or is nan
    if kind == "hard":
        return tau * (passed * xp.exp(above))
    return tau * xp.expm1(above)  # w - tau without cancellation


def _log(xp: Any, tau: Array | float) -> Array | float:
    return math.log(tau) if isinstance(tau, float) else xp.log(tau)


# ---------------------------------------------------------------------- operators


def attend(
    W: Float[Array, "*batch k n p"], *, phi: Phi = softmax, scale: Array | float = 1.0
) -> Float[Array, "*batch k n p"]:
    """`mssa` in head coordinates, ``phi(scale W_k W_k^T) W_k`` for every head: 4 N² K p flops, K N² scores.

    The fast path where the frames are mutually orthogonal: the coordinates of ``Z + eta mssa(Z, U)`` are then
    ``W + eta attend(W)``, and the ambient dimension never enters. Arguments as in `mssa`.
    """
    read_coordinates(W)
    scores = scale * (W @ W.mT)
    weights = phi(scores)
    if tuple(weights.shape[-3:]) != tuple(scores.shape[-3:]):  # batch axes may come with a threshold
        raise InputError(
            f"phi turned scores of shape {tuple(scores.shape)} into {tuple(weights.shape)}; it must keep the shape "
            "(..., K, N_query, N_key)"
        )
    return weights @ W


def mssa(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"], *, phi: Phi = softmax, scale: Array | float = 1.0
) -> Float[Array, "*batch n d"]:
    r"""Multi-head subspace self-attention: attention whose queries, keys and values are one projection.

    .. math:: \mathrm{MSSA}_\phi(Z) = \sum_k \phi(\mathrm{scale}\,W_k W_k^\top)\,W_k U_k^\top, \quad W_k = Z U_k

    Parameters
    ----------
    Z : array, shape (..., N, d)
        Tokens in rows.
    U : array, shape (..., K, d, p)
        Frames of the heads.
    phi : function of the scores
        From scores (..., K, N_query, N_key) to weights of that shape, query by query: `softmax` (over the keys),
        `linear`, `relu`, those of `thresholded`, or your own.
    scale : number or array that broadcasts against the scores (..., K, N, N)
        1 in the paper's formula, ``1/sqrt(p)`` in its code.

    Returns
    -------
    array, shape (..., N, d)
        The update, without the residual.

    Raises
    ------
    InputError
        For wrong shapes or non-finite tokens, or a `phi` that changes the shape.

    Notes
    -----
    ``4 N² K p`` flops beyond the two projections, K N² scores. Softmax is no elementwise function: it acts on all
    scores of a query.

    References
    ----------
    .. [1] arXiv:2306.01129, MSSA operator (columns there, rows here).
    """
    read_features(Z)
    return from_head_coordinates(attend(head_coordinates(Z, U), phi=phi, scale=scale), U)


_BLOCK = 2**18  # scores held at a time: 2 MiB in float64; four times more or fewer were slower at 1024 tokens
_LEAST = 32  # queries at a time: products with fewer rows are slow


def thresholded_attend(
    W: Float[Array, "*batch k n p"], *, tau: Array | float, kind: Kind = "constant", scale: Array | float = 1.0,
    chunk: int | None = None,
) -> tuple[Float[Array, "*batch k n p"], Margins]:  # fmt: skip
    """``attend(W, phi=thresholded(tau, kind))`` for tau >= 1/2, where at most one key of a query passes.

    Then the update is that key, times its weight: a gather instead of a product, 2 N² K p flops instead of 4, and no
    N x N storage.

    Parameters
    ----------
    W : array, shape (..., K, N, p)
        Head coordinates.
    tau : number, or array whose axes are batch axes, in [1/2, 1)
    kind : "constant", "indicator", "hard" or "soft"
        As in `thresholded`.
    scale : number or array that broadcasts against (..., K, 1, 1)
        Factor of the scores.
    chunk : int, optional
        Queries treated at a time; by default as many as make 2^18 scores, and 32 at least.

    Returns
    -------
    update : array, shape (..., K, N, p)
    margins : Margins
        Of every query, the excess of its largest log weight over ``log tau`` and the index of that key.

    Raises
    ------
    InputError
        For a tau outside [1/2, 1) (below, several keys may pass: use `attend`), an unknown kind or a chunk below 1.
    """
    xp = read_coordinates(W)
    if truth(xp.all(xp.isfinite(W))) is False:  # a NaN would win no key and vanish
        raise InputError("W has entries that are NaN or infinite; every coordinate must be finite")
    _read_kind(kind)
    _read_threshold(tau, least=0.5)
    level = read_number("tau", tau, W, axes=2, own=3)
    n = W.shape[-2]
    if chunk is None:
        chunk = max(_LEAST, _BLOCK // (n * math.prod(W.shape[:-2])))
    if chunk < 1:
        raise InputError(f"chunk={chunk} must be at least 1; it is the number of queries treated at a time")
    if chunk >= n:
        update, excess, winner = _gathered(xp, W, W, level, kind, scale)
        return update, Margins(excess, winner)
    parts = []
    for start in range(0, n, chunk):
        parts.append(_gathered(xp, W[..., start : min(start + chunk, n), :], W, level, kind, scale))
    update, excess, winner = (
        xp.concat(list(part), axis=axis) for part, axis in zip(zip(*parts, strict=True), (-2, -1, -1), strict=True)
    )
    return update, Margins(excess, winner)


def _gathered(xp: Any, queries: Array, W: Array, tau: Array | float, kind: Kind, scale: Array | float):
    """Update, excess and winner of some queries: maximum, its place and the sum of exponentials of their scores."""
    scores = (scale * queries) @ W.mT  # a pass over the queries instead of one over the scores
    winner = xp.argmax(scores, axis=-1)
    largest = xp.take_along_axis(scores, winner[..., None], axis=-1)
    log_total = xp.log(xp.sum(xp.exp(scores - largest), axis=-1))  # minus the log weight of the largest key
    excess = -(log_total + _log(xp, tau))
    keys = xp.take_along_axis(W, winner[..., None], axis=-2)
    return _passed(xp, excess, tau, kind)[..., None] * keys, excess, winner


def _read_kind(kind: str) -> None:
    if kind not in get_args(Kind):
        raise InputError(f"kind={kind!r} must be one of {', '.join(get_args(Kind))}")


def _read_threshold(tau: Array | float, least: float = 0.0) -> None:
    rule = "in [1/2, 1): below 1/2 several keys may pass, use attend" if least else "strictly between 0 and 1"
    if isinstance(tau, int | float):
        valid: bool | None = (tau >= least if least else tau > 0) and tau < 1
    else:
        xp = namespace(tau)
        valid = truth(xp.all(tau >= least if least else tau > 0) & xp.all(tau < 1))
    if valid is False:
        raise InputError(f"tau={tau} must lie {rule}; it is a threshold of softmax weights")
