r"""White-box attention as functions with explicit frames: one function for NumPy, torch and JAX arrays.

Tokens are rows, `Z` of shape (..., N, d); the papers use columns. A layer has K heads with frames `U` of shape
(..., K, d, p), whose columns are orthonormal where a theorem says so (the operators do not need it). A membership `Pi`
of shape (..., N, K) holds non-negative weights; rows sum to one where a theorem says so. Leading axes are batch axes
and broadcast. Heads are never looped over.

With head coordinates ``W_k = Z U_k`` (N, p), masses ``n_k = sum_i Pi_ik`` and second moments
``t_ki = sum_j Pi_jk W_kji² / n_k``, the variational coding rate of the heads and its gradient for fixed Pi are

.. math::

    R^{var} = \tfrac12 \sum_k \frac{n_k}{N} \sum_i f(t_{ki}), \qquad
    \nabla_Z R^{var} = \tfrac1N \sum_k \mathrm{diag}(\pi_k)\, Z U_k\, \mathrm{diag} f'(t_k)\, U_k^\top ,

with ``f(t) = log(1 + c t)`` unless another concave function is given. Token statistics self-attention (TSSA) is
``-tau`` times that gradient: its state is the K p second moments, its cost is linear in N. Every operator returns the
update without the residual: a layer is ``Z + tssa(Z, U, ...)``.

References
----------
.. [1] arXiv:2412.17810, Wu et al. 2024 (token statistics transformer).
.. [2] arXiv:2306.01129, Yu et al. 2023 (multi-head subspace self-attention).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lab.arrays import Array, is_real_floating, namespace, truth
from lab.errors import InputError
from lab.objectives.coding_rate.inputs import read_features, read_level

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = [
    "LOG",
    "Concave",
    "from_head_coordinates",
    "head_coordinates",
    "head_membership",
    "mssa",
    "token_statistics",
    "tssa",
    "tssa_membership",
    "variational_gradient",
    "variational_rate",
]


class Concave(NamedTuple):
    """A concave function of ``x = c t`` and its slope, both elementwise on arrays."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


LOG = Concave(lambda x: namespace(x).log1p(x), lambda x: 1 / (1 + x))
"""``f = log(1 + x)``, the function of the coding rate."""


# ---------------------------------------------------------------------- heads


def head_coordinates(Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"]) -> Float[Array, "*batch k n p"]:
    """Coordinates of the tokens in every head, ``W_k = Z U_k``, in one matrix product: 2 N d K p flops."""
    xp = _read_frames(Z, U)
    K, p = U.shape[-3], U.shape[-1]
    W = Z @ _side_by_side(U)
    return xp.moveaxis(xp.reshape(W, (*W.shape[:-1], K, p)), -2, -3)


def from_head_coordinates(
    W: Float[Array, "*batch k n p"], U: Float[Array, "*batch k d p"]
) -> Float[Array, "*batch n d"]:
    """Tokens put together from all heads, ``sum_k W_k U_k^T``, in one matrix product: 2 N d K p flops."""
    xp = namespace(W, U)
    if W.ndim < 3 or U.ndim < 3 or (W.shape[-3], W.shape[-1]) != (U.shape[-3], U.shape[-1]):
        raise InputError(
            f"W has shape {tuple(W.shape)} and U {tuple(U.shape)}; they must be (..., K, N, p) and (..., K, d, p)"
        )
    W = xp.moveaxis(W, -3, -2)
    return xp.reshape(W, (*W.shape[:-2], W.shape[-2] * W.shape[-1])) @ _side_by_side(U).mT


def _side_by_side(U: Array) -> Array:
    """Frames (..., K, d, p) as columns (..., d, K p)."""
    moved = namespace(U).moveaxis(U, -3, -2)
    return namespace(U).reshape(moved, (*moved.shape[:-2], moved.shape[-2] * moved.shape[-1]))


# ---------------------------------------------------------------------- membership


def tssa_membership(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"], *, scale: Array | float,
    token_normalised: bool = False,
) -> Float[Array, "*batch n k"]:  # fmt: skip
    r"""Membership of every token in every head: :math:`\mathrm{softmax}_k(\mathrm{scale}\,\|U_k^\top z_i\|^2)`.

    Parameters
    ----------
    Z : array, shape (..., N, d)
    U : array, shape (..., K, d, p)
    scale : number or array that broadcasts against (..., N, K)
        Inverse temperature; an array of shape (K,) gives one per head. ``1/(2 eta)`` in the paper. It is the posterior
        of a mixture of equally likely ``N(0, s U_k U_k^T + eta I)`` for ``scale = s/(2 eta (s + eta))``.
    token_normalised : bool
        Divide every head coordinate by its norm over the tokens first, as the published vision layer does; the logits
        are then of order p/N and not the energies of the formula.

    Returns
    -------
    array, shape (..., N, K)
        Rows sum to one. The softmax runs over heads, not over tokens.
    """
    return head_membership(head_coordinates(Z, U), scale=scale, token_normalised=token_normalised)


def head_membership(
    W: Float[Array, "*batch k n p"], *, scale: Array | float, token_normalised: bool = False
) -> Float[Array, "*batch n k"]:
    """`tssa_membership` from head coordinates (block coordinates, say)."""
    xp = namespace(W)
    squares = W * W
    if token_normalised:
        total = xp.sum(squares, axis=-2, keepdims=True)
        squares = squares / xp.where(total > _TINY, total, xp.full_like(total, _TINY))
    return _softmax(scale * xp.sum(squares, axis=-1).mT)


_TINY = 1e-24  # square of the floor 1e-12 that torch's normalize puts under a norm


def _softmax(logits: Array) -> Array:
    xp = namespace(logits)
    weights = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return weights / xp.sum(weights, axis=-1, keepdims=True)


# ---------------------------------------------------------------------- token statistics


def tssa(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"],
    membership: Float[Array, "*batch n k"] | None = None, *, tau: Array | float, c: Array | float,
    scale: Array | float | None = None, token_normalised: bool = False, guard: float = 0.0,
) -> Float[Array, "*batch n d"]:  # fmt: skip
    r"""Token statistics self-attention: the update ``-tau grad R^var`` with the membership held fixed.

    .. math:: \mathrm{TSSA}(Z) = -\frac{\tau}{N} \sum_k \mathrm{diag}(\pi_k)\, Z U_k D_k U_k^\top,
              \qquad D_k = \mathrm{diag}\frac{c}{1 + c\,t_k}

    Parameters
    ----------
    Z : array, shape (..., N, d)
        Tokens in rows.
    U : array, shape (..., K, d, p)
        Frames of the heads.
    membership : array, shape (..., N, K), optional
        Pi; by default `tssa_membership` with `scale` and `token_normalised`.
    tau : number or array whose axes are batch axes, > 0
        Step. ``tau = N/c`` is the published vision layer's; steps up to ``2 N/c`` never increase the rate.
    c : number or array whose axes are batch axes, > 0
        ``d/eps²``: inverse of the noise variance below which a direction counts as noise, in 1/(units of Z)².
    scale, token_normalised
        As in `tssa_membership`; used only without a membership, which then needs `scale`.
    guard : float, >= 0
        Added to the masses n_k (1e-8 in the published code). A head without mass contributes nothing either way.

    Returns
    -------
    array, shape (..., N, d)
        The update, without the residual.

    Raises
    ------
    InputError
        For wrong shapes, non-finite tokens, or tau, c that are not positive.

    Notes
    -----
    Two matrix products and ``4 N K p`` further flops for a given membership; a state of K p numbers.

    References
    ----------
    .. [1] arXiv:2412.17810, TSSA operator (columns there, rows here).
    """
    xp = read_features(Z)
    step, level = _batched("tau", tau, Z), _batched("c", c, Z)
    W = head_coordinates(Z, U)
    if membership is None:
        if scale is None:
            raise InputError("tssa needs a membership or scale=..., the inverse temperature of its softmax; give one")
        membership = head_membership(W, scale=scale, token_normalised=token_normalised)
    else:
        _read_membership(membership, Z, U)
    update = _update(xp, W, membership, step / Z.shape[-2], level, LOG, guard)
    return from_head_coordinates(update, U)


def token_statistics(
    W: Float[Array, "*batch k n p"], membership: Float[Array, "*batch n k"], *, tau: Array | float, c: Array | float,
    guard: float = 0.0,
) -> Float[Array, "*batch k n p"]:  # fmt: skip
    """`tssa` in head coordinates: ``-(tau/N) diag(pi_k) W_k D_k`` for every head.

    The fast path where the frames are mutually orthogonal: then the coordinates of a layer's output are
    ``W + token_statistics(W, ...)``, and the ambient dimension never enters.
    """
    if W.ndim < 3 or tuple(membership.shape[-2:]) != (W.shape[-2], W.shape[-3]):
        raise InputError(
            f"W has shape {tuple(W.shape)} and membership {tuple(membership.shape)}; they must be (..., K, N, p) and "
            "(..., N, K)"
        )
    step, level = _batched("tau", tau, W, axes=3), _batched("c", c, W, axes=3)
    return _update(namespace(W), W, membership, step / W.shape[-2], level, LOG, guard)


def variational_rate(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"], membership: Float[Array, "*batch n k"], *,
    c: Array | float, f: Concave = LOG,
) -> Float[Array, "*batch"]:  # fmt: skip
    r"""Variational coding rate of the heads, :math:`\tfrac12\sum_k\frac{n_k}{N}\sum_i f(c\,t_{ki})`, in nats.

    An upper bound of the coding rate of the classes `membership` where every frame is orthonormal and covers the image
    of ``Z^T diag(pi_k) Z``; equal to it at the eigenvectors of these matrices. Arguments as in `tssa`; `f` is any
    concave function of ``c t``.

    References
    ----------
    .. [1] arXiv:2412.17810, variational compression term.
    """
    xp = read_features(Z)
    _read_membership(membership, Z, U)
    moments, mass, _ = _second_moments(xp, head_coordinates(Z, U), membership, 0.0)
    values = xp.sum(f.value(_batched("c", c, Z) * moments), axis=-1)
    return 0.5 * xp.sum(mass[..., 0] * values, axis=-1) / Z.shape[-2]


def variational_gradient(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"], membership: Float[Array, "*batch n k"], *,
    c: Array | float, f: Concave = LOG,
) -> Float[Array, "*batch n d"]:  # fmt: skip
    """Gradient of `variational_rate` by the tokens, with the membership held fixed; arguments as there."""
    xp = read_features(Z)
    _read_membership(membership, Z, U)
    W = head_coordinates(Z, U)
    return from_head_coordinates(_update(xp, W, membership, -1 / Z.shape[-2], _batched("c", c, Z), f, 0.0), U)


def _update(xp, W, membership, step, level, f: Concave, guard: float):
    """``-step c diag(pi_k) W_k f'(c t_k)`` for every head; 4 N K p flops plus K p terms."""
    moments, _, weighted = _second_moments(xp, W, membership, guard)
    return weighted * (-step * level * f.slope(level * moments))[..., None, :]


def _second_moments(xp, W, membership, guard: float):
    """Second moments t (..., K, p), masses (..., K, 1) and the weighted coordinates ``diag(pi_k) W_k``."""
    weighted = membership.mT[..., None] * W
    mass = xp.sum(membership, axis=-2)[..., None]
    divisor = mass + guard if guard else xp.where(mass > 0, mass, xp.ones_like(mass))
    return xp.sum(weighted * W, axis=-2) / divisor, mass, weighted


# ---------------------------------------------------------------------- softmax attention


def mssa(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"], *, scale: Array | float = 1.0
) -> Float[Array, "*batch n d"]:
    r"""Multi-head subspace self-attention: softmax attention whose queries, keys and values are one projection.

    .. math:: \mathrm{MSSA}(Z) = \sum_k \mathrm{softmax}(\mathrm{scale}\,W_k W_k^\top)\,W_k U_k^\top, \quad W_k = Z U_k

    The softmax runs over the keys (rows sum to one). ``4 N² K p`` flops beyond the projections, K N² scores.

    References
    ----------
    .. [1] arXiv:2306.01129, MSSA operator (columns there, rows here; ``scale = 1/sqrt(p)`` in its code).
    """
    read_features(Z)
    W = head_coordinates(Z, U)
    return from_head_coordinates(_softmax(scale * (W @ W.mT)) @ W, U)


# ---------------------------------------------------------------------- arguments


def _read_frames(Z: Array, U: Array):
    xp = namespace(Z, U)
    if Z.ndim < 2 or U.ndim < 3 or U.shape[-2] != Z.shape[-1]:
        raise InputError(
            f"U has shape {tuple(U.shape)} but must be (..., K, d, p) with the d of Z, which has shape "
            f"{tuple(Z.shape)} (tokens are rows); one head is U[None]"
        )
    _broadcast("U", U, Z, 3)
    if U.dtype != Z.dtype:
        raise InputError(f"U has dtype {U.dtype} but Z has {Z.dtype}; cast one of them")
    return xp


def _read_membership(membership: Array, Z: Array, U: Array) -> None:
    xp = namespace(membership, Z)
    if membership.ndim < 2 or tuple(membership.shape[-2:]) != (Z.shape[-2], U.shape[-3]):
        raise InputError(
            f"membership has shape {tuple(membership.shape)} but must be (..., N, K) = (..., {Z.shape[-2]}, "
            f"{U.shape[-3]}); labels are turned into one by lab.objectives.coding_rate.membership"
        )
    _broadcast("membership", membership, Z, 2)
    if not is_real_floating(membership):
        raise InputError(f"membership has dtype {membership.dtype} but must be real floating point; cast it")
    if truth(xp.all(membership >= 0)) is False:
        raise InputError(f"membership has the entry {float(xp.min(membership)):.3g} but weights must be >= 0; clip it")


def _broadcast(name: str, array: Array, Z: Array, axes: int) -> None:
    try:
        np.broadcast_shapes(tuple(array.shape[:-axes]), tuple(Z.shape[:-2]))
    except ValueError:
        raise InputError(
            f"{name} has batch axes {tuple(array.shape[:-axes])} but Z has {tuple(Z.shape[:-2])}; they must broadcast"
        ) from None


def _batched(name: str, value: Array | float, Z: Array, axes: int = 2) -> Array | float:
    """A positive number, or an array over batch axes with two more axes (heads, coordinates) after them."""
    rows = Z if axes == 2 else Z[..., 0, :, :]
    level = read_level(name, value, rows)
    return level if isinstance(level, float) else level[..., None, None]
