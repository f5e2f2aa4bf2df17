r"""Coding rate of the heads and its gradient by the tokens, exact and to first order of the Neumann series.

With head coordinates ``W_k = Z U_k`` (N, p) and ``beta = p/(N eps²)``, natural logarithms,

.. math::

    R^c = \tfrac12 \sum_k \log\det(I_p + \beta W_k^\top W_k), \qquad
    \nabla_{W_k} R^c = \beta W_k (I_p + \beta W_k^\top W_k)^{-1}
                     = \beta W_k (I_p - \beta W_k^\top W_k) + O(\beta^3) .

The gradient by the tokens is ``sum_k (grad_k) U_k^T``: the same p x p filter for all tokens, zero outside the span of
the frames. `head_rate` and `head_rate_gradient` take head coordinates and never need the frames; `subspace_rate` and
`subspace_rate_gradient` take tokens.

References
----------
.. [1] arXiv:2306.01129, Yu et al. 2023 (coding rate with respect to subspaces; columns there, rows here).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from lab.arrays import Array, cholesky, cholesky_inverse, cholesky_logdet, device
from lab.errors import InputError
from lab.models.white_box.heads import from_head_coordinates, head_coordinates, normalise_tokens
from lab.models.white_box.inputs import read_coordinates, read_number
from lab.objectives.coding_rate.inputs import read_features

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = [
    "GradientForm",
    "head_rate",
    "head_rate_gradient",
    "normalised_head_rate",
    "subspace_rate",
    "subspace_rate_gradient",
]

GradientForm = Literal["exact", "neumann"]


def head_rate(W: Float[Array, "*batch k n p"], *, beta: Array | float) -> Float[Array, "*batch"]:
    r"""Coding rate of the heads, :math:`\tfrac12\sum_k\log\det(I+\beta W_k^\top W_k)`, in nats.

    Parameters
    ----------
    W : array, shape (..., K, N, p)
        Head coordinates.
    beta : number or array whose axes are batch axes, > 0
        ``p/(N eps²)`` for a distortion eps, in 1/(units of W)².

    Returns
    -------
    array, shape (...)

    Raises
    ------
    InputError
        For a wrong shape or a beta that is not positive.

    Notes
    -----
    Cholesky factor of the smaller Gram matrix of every head: O(K N p min(N, p)) flops.
    """
    xp = read_coordinates(W)
    factor, _ = _factor(xp, W, read_number("beta", beta, W, axes=3, own=3))
    return 0.5 * xp.sum(cholesky_logdet(factor), axis=-1)


def head_rate_gradient(
    W: Float[Array, "*batch k n p"], *, beta: Array | float, form: GradientForm = "exact"
) -> Float[Array, "*batch k n p"]:
    r"""Gradient of `head_rate` by the head coordinates, :math:`\beta W_k(I+\beta W_k^\top W_k)^{-1}`.

    Parameters
    ----------
    W, beta
        As in `head_rate`.
    form : "exact" or "neumann"
        The gradient, or its first-order Neumann form ``beta W_k (I - beta W_k^T W_k)``, which subspace attention starts
        from. In a singular direction with ``x = beta s²`` the two are ``beta s/(1 + x)`` and ``beta s (1 - x)``: close
        for x << 1 only, of opposite sign for x > 1.

    Returns
    -------
    array, shape (..., K, N, p)
        Where the frames are mutually orthogonal, ``W - kappa head_rate_gradient(W)`` are the coordinates after a
        gradient step; it never increases the rate for ``kappa <= 2/beta``.
    """
    xp = read_coordinates(W)
    if form not in get_args(GradientForm):
        raise InputError(f"form={form!r} must be 'exact' or 'neumann'")
    level = read_number("beta", beta, W, axes=3, own=3)
    if form == "neumann":
        return level * (W - level * (W @ (W.mT @ W)))
    factor, tall = _factor(xp, W, level)
    inverse = cholesky_inverse(factor)
    return level * (W @ inverse if tall else inverse.mT @ W)


def _factor(xp: Any, W: Array, beta: Array | float) -> tuple[Array, bool]:
    """Cholesky factor of ``I + beta W^T W``, or of ``I + beta W W^T`` where there are fewer tokens than coordinates."""
    tall = W.shape[-2] >= W.shape[-1]
    gram = W.mT @ W if tall else W @ W.mT
    return cholesky(xp.eye(gram.shape[-1], dtype=W.dtype, device=device(W)) + beta * gram), tall


def subspace_rate(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"], *, beta: Array | float
) -> Float[Array, "*batch"]:
    """`head_rate` of tokens `Z` with respect to the frames `U`."""
    read_features(Z)
    return head_rate(head_coordinates(Z, U), beta=beta)


def subspace_rate_gradient(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"], *, beta: Array | float, form: GradientForm = "exact"
) -> Float[Array, "*batch n d"]:
    """Gradient of `subspace_rate` by the tokens, exact or to first order as in `head_rate_gradient`."""
    read_features(Z)
    return from_head_coordinates(head_rate_gradient(head_coordinates(Z, U), beta=beta, form=form), U)


def normalised_head_rate(
    W: Float[Array, "*batch k n p"], *, eps_squared: Array | float = 0.01
) -> Float[Array, "*batch"]:
    """`head_rate` after every token is scaled to length one in every head: the published measure of a layer.

    Parameters
    ----------
    W : array, shape (..., K, N, p)
        Head coordinates; the public code takes those of the normalised input of the attention, before it acts.
    eps_squared : number or array whose axes are batch axes, > 0
        Squared distortion; the public code calls it `eps` and sets it to 0.01. ``beta = p/(N eps²)``.

    Returns
    -------
    array, shape (...)
        One rate per batch element (the public code averages them). A token with no coordinates in a head stays zero
        (there: not a number).

    References
    ----------
    .. [1] github.com/Ma-Lab-Berkeley/CRATE, class CodingRate.
    """
    read_coordinates(W)
    level = read_number("eps_squared", eps_squared, W, axes=0, own=3)
    return head_rate(normalise_tokens(W, square=1.0), beta=W.shape[-1] / (W.shape[-2] * level))
