r"""White-box layers put together: CRATE encoder and decoder, attention alone, CRATE with an overcomplete dictionary.

With ``LN`` a layer norm and ``MSSA`` subspace attention whose output frames V may differ from the heads' U,

.. math::

    \begin{aligned}
    \text{attention}\quad & Z' = r\,Z + s\,\mathrm{MSSA}(\mathrm{LN}(Z)) \\
    \text{encoder}\quad & Z^+ = \max\big(Y + \eta\,(Y - Y D^\top) D - \eta\lambda,\,0\big), \quad Y = \mathrm{LN}(Z') \\
    \text{overcomplete}\quad & Z^+ = Z' + \mathrm{ISTA}_2(\mathrm{LN}(Z'); D)\,D_{out}^\top \\
    \text{decoder}\quad & G = \mathrm{LN}(Z) D^\top, \quad Z^+ = r\,G - s\,\mathrm{MSSA}(\mathrm{LN}(G)) .
    \end{aligned}

Published: ``r = s = 1``, scores divided by sqrt(p), free V with a bias. A gradient step on the coding rate of the heads
has, in this form, ``r = 1 - kappa beta`` and ``s = kappa beta²``: the contraction that the published layer leaves out.

References
----------
.. [1] arXiv:2306.01129, Yu et al. 2023 (encoder layer).
.. [2] arXiv:2404.02446, Pai et al. 2024 (decoder layer).
.. [3] arXiv:2405.20299, Yang et al. 2024 (overcomplete dictionary).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lab.arrays import Array, namespace
from lab.errors import InputError
from lab.models.white_box.attention import Phi, attend, softmax
from lab.models.white_box.heads import from_head_coordinates, head_coordinates
from lab.models.white_box.ista import ista_step, overcomplete_block
from lab.objectives.coding_rate.inputs import read_features

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Norm", "attention_layer", "decoder_layer", "encoder_layer", "layer_norm", "overcomplete_layer"]


class Norm(NamedTuple):
    """A layer norm: weight and bias of shape (..., d) (None: ones and zeros), and what is added to the variance."""

    weight: Array | None = None
    bias: Array | None = None
    eps: float = 1e-5


NORM, FINE_NORM = Norm(), Norm(eps=1e-6)


def layer_norm(Z: Float[Array, "*batch n d"], norm: Norm | None = NORM) -> Float[Array, "*batch n d"]:
    """Tokens centred and scaled to unit variance over their coordinates, then ``weight * . + bias``; None: unchanged.

    The variance is the mean of squares (divided by d), as in torch.
    """
    if norm is None:
        return Z
    if not norm.eps >= 0:
        raise InputError(f"eps={norm.eps} of a layer norm must be >= 0; it is added to the variance")
    xp = namespace(Z, norm.weight, norm.bias)
    centred = Z - xp.mean(Z, axis=-1, keepdims=True)
    scaled = centred / (xp.mean(centred * centred, axis=-1, keepdims=True) + norm.eps) ** 0.5
    if norm.weight is not None:
        scaled = scaled * norm.weight
    return scaled if norm.bias is None else scaled + norm.bias


def attention_layer(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"], *, out: Float[Array, "*batch k d p"] | None = None,
    out_bias: Array | None = None, norm: Norm | None = NORM, phi: Phi = softmax, scale: Array | float | None = None,
    residual: Array | float = 1.0, step: Array | float = 1.0,
) -> Float[Array, "*batch n d"]:  # fmt: skip
    r"""Subspace attention with its residual, ``residual Z + step MSSA(LN(Z))``: the attention-only layer.

    Parameters
    ----------
    Z : array, shape (..., N, d)
        Tokens in rows.
    U : array, shape (..., K, d, p)
        Frames of the heads; ``qkv.weight`` of the public code, (K p, d), is all U_k^T below one another.
    out : array, shape (..., K, d, p), optional
        Output frames V; by default U, the formula of the paper. ``to_out.0.weight`` of the public code, (d, K p), is
        all V_k side by side. With one head and p = d the public code leaves the projection out: ``out = I``.
    out_bias : array, shape (d,), optional
        Bias of the output projection; the public vision layer has one.
    norm : Norm or None
        Layer norm of the input of the attention; None: none.
    phi : function of the scores
        As in `lab.models.white_box.mssa`.
    scale : number or array, optional
        Factor of the scores; by default 1/sqrt(p), as in the public code (1 in the paper's formula).
    residual, step : numbers or arrays that broadcast against the tokens
        1 and 1 as published. ``1 - kappa beta`` and ``kappa beta²`` without `norm` are the gradient step on the coding
        rate of the heads, to first order, with softmax in place of the Gram matrix.

    Returns
    -------
    array, shape (..., N, d)

    Raises
    ------
    InputError
        For wrong shapes or non-finite tokens.
    """
    return residual * Z + step * _attention(Z, U, out, out_bias, norm, phi, scale)


def _attention(
    Z: Array, U: Array, out: Array | None, out_bias: Array | None, norm: Norm | None, phi: Phi,
    scale: Array | float | None,
) -> Array:  # fmt: skip
    read_features(Z)
    W = head_coordinates(layer_norm(Z, norm), U)
    mixed = attend(W, phi=phi, scale=W.shape[-1] ** -0.5 if scale is None else scale)
    update = from_head_coordinates(mixed, U if out is None else out)
    return update if out_bias is None else update + out_bias


def encoder_layer(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"], D: Float[Array, "*batch d d"], *,
    out: Float[Array, "*batch k d p"] | None = None, out_bias: Array | None = None,
    norms: tuple[Norm | None, Norm | None] = (NORM, NORM), phi: Phi = softmax, scale: Array | float | None = None,
    residual: Array | float = 1.0, step: Array | float = 1.0, eta: Array | float = 0.1, lam: Array | float = 0.1,
) -> Float[Array, "*batch n d"]:  # fmt: skip
    """CRATE encoder layer: attention with its residual, then one ISTA step from the normalised tokens themselves.

    Parameters
    ----------
    Z, U, out, out_bias, phi, scale, residual, step
        As in `attention_layer`.
    D : array, shape (..., d, d)
        Dictionary, ``weight`` of the public feed-forward layer.
    norms : pair of Norm or None
        Before the attention, and before the ISTA step. No residual goes around the second half.
    eta, lam
        As in `lab.models.white_box.ista_step`; 0.1 and 0.1 as published (lam = 0.5 in the masked autoencoder).

    Returns
    -------
    array, shape (..., N, d)
        Nonnegative.
    """
    if D.shape[-1] != D.shape[-2]:
        raise InputError(
            f"D has shape {tuple(D.shape)} but an encoder layer codes tokens by tokens: D is (..., d, d); "
            "overcomplete_layer takes wider ones"
        )
    half = attention_layer(
        Z, U, out=out, out_bias=out_bias, norm=norms[0], phi=phi, scale=scale, residual=residual, step=step
    )
    Y = layer_norm(half, norms[1])
    return ista_step(Y, Y, D, eta=eta, lam=lam)


def overcomplete_layer(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"], D: Float[Array, "*batch d m"],
    D_out: Float[Array, "*batch d m"], *, out: Float[Array, "*batch k d p"] | None = None,
    out_bias: Array | None = None, norms: tuple[Norm | None, Norm | None] = (FINE_NORM, FINE_NORM),
    phi: Phi = softmax, scale: Array | float | None = None, residual: Array | float = 1.0, step: Array | float = 1.0,
    eta: Array | float = 0.1, lam: Array | float = 0.1, steps: int = 2,
) -> Float[Array, "*batch n d"]:  # fmt: skip
    """Encoder layer with an overcomplete dictionary: both halves have a residual.

    Arguments as in `encoder_layer`, with D and D_out as in `lab.models.white_box.overcomplete_block`. The public code
    has layer norms with 1e-6 and no bias of the output projection.
    """
    half = attention_layer(
        Z, U, out=out, out_bias=out_bias, norm=norms[0], phi=phi, scale=scale, residual=residual, step=step
    )
    return half + overcomplete_block(layer_norm(half, norms[1]), D, D_out, eta=eta, lam=lam, steps=steps)


def decoder_layer(
    Z: Float[Array, "*batch n d"], U: Float[Array, "*batch k d p"], D: Float[Array, "*batch d d"], *,
    out: Float[Array, "*batch k d p"] | None = None, out_bias: Array | None = None,
    norms: tuple[Norm | None, Norm | None] = (NORM, NORM), phi: Phi = softmax, scale: Array | float | None = None,
    residual: Array | float = 1.0, step: Array | float = 1.0,
) -> Float[Array, "*batch n d"]:  # fmt: skip
    """Structured decoder layer, the reversed encoder layer: decode by a dictionary, then subtract the attention.

    Arguments as in `encoder_layer`; `norms` are before the dictionary and before the attention. `D` is a free matrix,
    not the encoder's.
    """
    read_features(Z)
    if D.ndim < 2 or D.shape[-1] != Z.shape[-1]:
        raise InputError(f"D has shape {tuple(D.shape)} but must be (..., d, m) with m the {Z.shape[-1]} of the tokens")
    G = layer_norm(Z, norms[0]) @ D.mT
    return residual * G - step * _attention(G, U, out, out_bias, norms[1], phi, scale)
