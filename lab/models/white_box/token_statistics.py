r"""Token statistics self-attention (TSSA): a gradient step on the variational coding rate of the heads.

With head coordinates ``W_k = Z U_k`` (N, p), masses ``n_k = sum_i Pi_ik`` and second moments
``t_ki = sum_j Pi_jk W_kji² / n_k``, the variational coding rate of the heads and its gradient for fixed Pi are

.. math::

    R^{var} = \tfrac12 \sum_k \frac{n_k}{N} \sum_i f(t_{ki}), \qquad
    \nabla_Z R^{var} = \tfrac1N \sum_k \mathrm{diag}(\pi_k)\, Z U_k\, \mathrm{diag} f'(t_k)\, U_k^\top ,

with ``f(t) = log(1 + c t)`` unless another concave function is given. Token statistics self-attention (TSSA) is
``-tau`` times that gradient: its state is the K p second moments, its cost is linear in N.

References
----------
.. [1] arXiv:2412.17810, Wu et al. 2024 (token statistics transformer).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from lab.arrays import Array, namespace
from lab.errors import InputError
from lab.models.white_box.heads import from_head_coordinates, head_coordinates
from lab.models.white_box.inputs import TINY, read_membership, read_number, softmax_rows
from lab.objectives.coding_rate.inputs import read_features

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = [
    "LOG",
    "Concave",
    "head_membership",
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
        squares = squares / xp.where(total > TINY, total, xp.full_like(total, TINY))
    return softmax_rows(scale * xp.sum(squares, axis=-1).mT)


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
    step, level = read_number("tau", tau, Z, axes=2), read_number("c", c, Z, axes=2)
    W = head_coordinates(Z, U)
    if membership is None:
        if scale is None:
            raise InputError("tssa needs a membership or scale=..., the inverse temperature of its softmax; give one")
        membership = head_membership(W, scale=scale, token_normalised=token_normalised)
    else:
        read_membership(membership, Z, U)
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
    step, level = (read_number(name, value, W, axes=2, own=3) for name, value in (("tau", tau), ("c", c)))
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
    read_membership(membership, Z, U)
    moments, mass, _ = _second_moments(xp, head_coordinates(Z, U), membership, 0.0)
    values = xp.sum(f.value(read_number("c", c, Z, axes=2) * moments), axis=-1)
    return 0.5 * xp.sum(mass[..., 0] * values, axis=-1) / Z.shape[-2]


def variational_gradient(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"], membership: Float[Array, "*batch n k"], *,
    c: Array | float, f: Concave = LOG,
) -> Float[Array, "*batch n d"]:  # fmt: skip
    """Gradient of `variational_rate` by the tokens, with the membership held fixed; arguments as there."""
    xp = read_features(Z)
    read_membership(membership, Z, U)
    W = head_coordinates(Z, U)
    level = read_number("c", c, Z, axes=2)
    return from_head_coordinates(_update(xp, W, membership, -1 / Z.shape[-2], level, f, 0.0), U)


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
