"""Tokens and their coordinates in the heads, and the steps that a layer makes with an update.

Every function also takes head coordinates (..., K, N, p) where it says tokens, unless it needs the frames: where the
frames are mutually orthogonal, operators that act head by head need neither the frames nor the ambient dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.arrays import Array, namespace
from lab.errors import InputError
from lab.models.white_box.inputs import TINY, read_frames

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["damped_step", "from_head_coordinates", "head_coordinates", "normalise_tokens", "rescaled_step"]


def head_coordinates(Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"]) -> Float[Array, "*batch k n p"]:
    """Coordinates of the tokens in every head, ``W_k = Z U_k``, in one matrix product: 2 N d K p flops."""
    xp = read_frames(Z, U)
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


def rescaled_step(Z: Array, update: Array, *, eta: Array | float, tau: Array | float) -> Array:
    r"""Residual step divided by the growth of a denoised token: :math:`(Z+\eta\,\mathrm{update})/(1+\eta\tau)`.

    With thresholded attention, ``h(w) = tau 1{w > tau}``, a token that attends to itself alone keeps its length and
    what no head wins shrinks by ``1 + eta tau``. `eta` > 0 and `tau` > 0 are numbers or broadcast against the tokens.

    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    if isinstance(eta, int | float) and isinstance(tau, int | float) and not (eta > 0 and tau > 0):
        raise InputError(f"eta={eta} and tau={tau} must be > 0; a step that amplifies is what is divided out")
    return (Z + eta * update) / (1 + eta * tau)


def damped_step(Z: Array, update: Array, *, kappa: Array | float) -> Array:
    r"""Convex combination of tokens and update, :math:`(1-\kappa)Z+\kappa\,\mathrm{update}`, 0 < kappa < 1.

    The rescaled step of an update divided by tau, for ``kappa = eta tau/(1 + eta tau)``: what no head wins shrinks by
    ``1 - kappa`` per layer.
    """
    if isinstance(kappa, int | float) and not 0 < kappa < 1:
        raise InputError(f"kappa={kappa} must lie strictly between 0 and 1; it is a share of the update")
    return (1 - kappa) * Z + kappa * update


def normalise_tokens(Z: Array, *, square: Array | float, axis: int | tuple[int, ...] = -1) -> Array:
    r"""Tokens scaled to a squared length, :math:`\sqrt{\mathrm{square}}\,z_i/\|z_i\|`; zero tokens stay zero.

    Parameters
    ----------
    Z : array
        Tokens (..., N, d), or head coordinates (..., K, N, p) with ``axis=(-3, -1)``.
    square : number or array that broadcasts, > 0
        ``p`` is the expected squared length of a Gaussian token of a p-dimensional subspace: with it, and p neither
        d nor K p, softmax scores of signal tokens keep their size from layer to layer.
    axis : int or tuple of int
        The coordinates of a token.
    """
    xp = namespace(Z)
    if isinstance(square, int | float) and not square > 0:
        raise InputError(f"square={square} must be > 0; it is the squared length that every token gets")
    total = xp.sum(Z * Z, axis=axis, keepdims=True)
    return Z * (square / xp.where(total > TINY, total, xp.full_like(total, TINY))) ** 0.5
