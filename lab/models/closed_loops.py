r"""Closed loops of a linear encoder and a linear decoder: distances, utilities and exact decoders, on class moments.

Samples are rows, :math:`Z=XF^\top`, :math:`\hat X=ZG^\top`, :math:`\hat Z=\hat XF^\top` with an encoder F
(d_z, d_x) and a decoder G (d_x, d_z). All that a game is played for depends on the second moments of the classes alone,

.. math:: C_j=X_j^\top X_j/n_j,\qquad Z:\ FC_jF^\top,\qquad \hat Z:\ (FGF)\,C_j\,(FGF)^\top,

so nothing here costs more with more samples. ``beta = d_z/eps²`` is the precision of the coding rate
:math:`R(C)=\tfrac12\log\det(I+\beta C)`, `fractions` are the shares n_j/n. Rates are in nats.

One function for NumPy, torch and JAX; leading axes are batch axes, classes are the third axis from the end of moments.

References
----------
.. [1] arXiv:2206.09120, Pai et al. 2022 (CTRL-SSP, CTRL-MSP, CTRL-SG; columns there, rows here).
.. [2] arXiv:2111.06636, Dai et al. 2022 (CTRL-Binary, CTRL-Multi; `eps` of its code is eps² here).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from lab.arrays import Array, cholesky, cholesky_logdet, device, machine_epsilon, namespace
from lab.errors import InputError
from lab.objectives.coding_rate.classes import Hard, read_classes
from lab.objectives.coding_rate.inputs import read_features

__all__ = [
    "GAMES",
    "LoopSlopes",
    "Utilities",
    "canonical_decoder",
    "class_moments",
    "distance",
    "distance_gradient",
    "general_game",
    "image",
    "loop_distances",
    "loop_slopes",
    "pinv_decoder",
    "pooled",
    "rate",
    "reduction",
    "reduction_gradient",
    "utilities",
]

Game = Literal["single", "multiple", "binary", "multi"]
GAMES: tuple[Game, ...] = ("single", "multiple", "binary", "multi")


class Utilities(NamedTuple):
    """What each player maximises, in nats, arrays of shape (...)."""

    leader: Array
    follower: Array


class LoopSlopes(NamedTuple):
    """Sum over classes of the loop distances (...), and its gradients in F (..., d_z, d_x) and in G (..., d_x, d_z)."""

    value: Array
    encoder: Array
    decoder: Array


def class_moments(X: Array, classes: Array | tuple[int, ...]) -> tuple[Array, np.ndarray]:
    """Second moments ``C_j = X_j^T X_j / n_j`` of the classes, not centred, and their shares ``n_j / n``.

    Parameters
    ----------
    X : array, shape (..., n, d)
        Samples in rows.
    classes : integer labels (n,), or tuple of class sizes
        A tuple means contiguous blocks of rows. Every class from 0 to the largest label has a sample.

    Returns
    -------
    moments : array, shape (..., K, d, d)
    fractions : NumPy array, shape (K,)

    Raises
    ------
    InputError
        If a class is empty, or `classes` do not fit `X`.
    TypeError
        If `classes` is a membership array: soft classes have no second moments of their own.
    """
    xp = read_features(X)
    hard = read_classes(X, classes)
    if not isinstance(hard, Hard):
        raise TypeError("classes is a membership array but a game needs hard classes; pass labels or class sizes")
    if (hard.sizes == 0).any():
        empty = int(np.flatnonzero(hard.sizes == 0)[0])
        raise InputError(f"class {empty} has no samples; number the classes 0 ... K-1 without gaps")
    rows = X if hard.order is None else xp.take(X, xp.asarray(hard.order, device=device(X)), axis=-2)
    ends = np.cumsum(hard.sizes).tolist()
    parts = [rows[..., end - size : end, :] for end, size in zip(ends, hard.sizes.tolist(), strict=True)]
    return xp.stack([part.mT @ part / part.shape[-2] for part in parts], axis=-3), hard.sizes / hard.sizes.sum()


def image(A: Array, moments: Array) -> Array:
    """Moments ``A C A^T`` of samples mapped by `A` (..., p, d): shape (..., K, p, p) from `moments` (..., K, d, d)."""
    return A[..., None, :, :] @ moments @ A.mT[..., None, :, :]


def pooled(moments: Array, fractions: Array) -> Array:
    """Moment of all samples, ``sum_j (n_j/n) C_j``, shape (..., d, d)."""
    xp = namespace(moments)
    weights = xp.asarray(fractions, dtype=moments.dtype, device=device(moments))
    return xp.sum(weights[..., None, None] * moments, axis=-3)


def rate(moment: Array, beta: Any) -> Array:
    r"""Coding rate :math:`\tfrac12\log\det(I+\beta C)` of moments `C` (..., d, d); shape (...)."""
    return 0.5 * cholesky_logdet(cholesky(_regularised(moment, beta)))


def reduction(moments: Array, fractions: Array, beta: Any) -> Array:
    r"""Rate reduction :math:`R(\sum_j\gamma_jC_j)-\sum_j\gamma_jR(C_j)`, shape (...), from moments (..., K, d, d)."""
    xp = namespace(moments)
    weights = xp.asarray(fractions, dtype=moments.dtype, device=device(moments))
    return rate(pooled(moments, fractions), beta) - xp.sum(weights * rate(moments, _wide(beta, 1)), axis=-1)


def reduction_gradient(moments: Array, fractions: Array, beta: Any) -> Array:
    r"""Gradient of `reduction` in each class moment,
    :math:`\tfrac{\beta\gamma_j}{2}[(I+\beta\bar C)^{-1}-(I+\beta C_j)^{-1}]`, shape (..., K, d, d)."""
    xp = namespace(moments)
    weights = xp.asarray(fractions, dtype=moments.dtype, device=device(moments))[..., None, None]
    whole = _inverse(pooled(moments, fractions), beta)[..., None, :, :]
    beta = _wide(beta, 1)
    return 0.5 * _wide(beta, 2) * weights * (whole - _inverse(moments, beta))


def distance(first: Array, second: Array, beta: Any) -> Array:
    r"""Distance of two moments: half the Stein divergence of :math:`I+\beta C` and :math:`I+\beta\hat C`.

    .. math:: \tfrac12\log\det\bigl(I+\tfrac\beta2(C+\hat C)\bigr)-\tfrac14\log\det(I+\beta C)
              -\tfrac14\log\det(I+\beta\hat C)=-\tfrac14\sum_i\log(1-\delta_i^2)

    Parameters
    ----------
    first, second : array, shape (..., d, d)
        Symmetric, positive semidefinite; equal numbers of samples behind both.
    beta : number or array, > 0
        d_z/eps², axes are batch axes.

    Returns
    -------
    array, shape (...)
        Nats, >= 0. The rate of the union of two sets of features minus the mean of their rates.

    Notes
    -----
    :math:`\delta_i` are the eigenvalues of :math:`\tfrac\beta2M^{-1/2}(C-\hat C)M^{-1/2}`, M the matrix of the first
    determinant: all inside (-1, 1). Written so, small distances keep their digits; as a difference of determinants
    (`DeltaR_distance` of published code) they drown in rounding below ``u d log(1 + beta |C|)``.

    References
    ----------
    .. [1] arXiv:2206.09120 (the distance); Sra, arXiv:1110.1773 (its square root is a metric).
    """
    xp = namespace(first, second)
    middle = cholesky(_regularised(0.5 * (first + second), beta))
    # a general solver: SciPy's for triangular matrices was seen to take fifty times as long on stacks of small ones
    half = xp.linalg.solve(middle, 0.5 * _wide(beta, 2) * (first - second))
    spread = xp.linalg.solve(middle, half.mT)
    delta = xp.linalg.eigvalsh(0.5 * (spread + spread.mT))
    return -0.25 * xp.sum(xp.log1p(-(delta**2)), axis=-1)


def distance_gradient(first: Array, second: Array, beta: Any) -> Array:
    r"""Gradient of `distance` in its first moment:
    :math:`\tfrac\beta4[(I+\tfrac\beta2(C+\hat C))^{-1}-(I+\beta C)^{-1}]`, shape (..., d, d)."""
    middle = _inverse(0.5 * (first + second), beta)
    return 0.25 * _wide(beta, 2) * (middle - _inverse(first, beta))


def loop_distances(F: Array, G: Array, moments: Array, beta: Any) -> Array:
    """`distance` of Z_j and Z_j once around the loop, one per class: shape (..., K)."""
    return distance(image(F, moments), image(F @ G @ F, moments), _wide(beta, 1))


def loop_slopes(F: Array, G: Array, moments: Array, beta: Any) -> LoopSlopes:
    r"""Sum of the `loop_distances` and its gradients in encoder and decoder.

    With :math:`T_j,S_j` the gradients of the distance in its first and second moment, :math:`A=FGF` and
    :math:`B=2\sum_jS_jAC_j`:

    .. math:: \nabla_F=2\sum_jT_jFC_j+B(GF)^\top+(FG)^\top B,\qquad \nabla_G=F^\top BF^\top .

    Parameters
    ----------
    F : array, shape (..., d_z, d_x)
    G : array, shape (..., d_x, d_z)
    moments : array, shape (..., K, d_x, d_x)
    beta : number or array

    Returns
    -------
    LoopSlopes

    Notes
    -----
    The decoder's gradient has its columns in the row space of F: the part of G outside it never moves, and at G = 0 it
    vanishes altogether.
    """
    xp = namespace(F, G, moments)
    around, own, again, wide = F @ G @ F, image(F, moments), image(F @ G @ F, moments), _wide(beta, 1)
    first, second = distance_gradient(own, again, wide), distance_gradient(again, own, wide)
    direct = 2 * xp.sum(first @ F[..., None, :, :] @ moments, axis=-3)
    B = 2 * xp.sum(second @ around[..., None, :, :] @ moments, axis=-3)
    encoder = direct + B @ (G @ F).mT + (F @ G).mT @ B
    return LoopSlopes(xp.sum(distance(own, again, wide), axis=-1), encoder, F.mT @ B @ F.mT)


def general_game(quality: Array, consistency: Array) -> Utilities:
    """CTRL-SG: the leader maximises quality minus consistency, the follower consistency (both to be given, in nats)."""
    return Utilities(quality - consistency, consistency)


def utilities(game: Game, F: Array, G: Array, moments: Array, fractions: Array, beta: Any) -> Utilities:
    r"""What leader (encoder) and follower (decoder) of a game maximise.

    ============  =========================================================================  =======================
    game          leader                                                                     follower
    ============  =========================================================================  =======================
    "single"      :math:`R(Z)+\mathrm{dist}(Z,\hat Z)`                                       :math:`-\mathrm{dist}`
    "multiple"    :math:`\Delta R(Z)+\sum_j\mathrm{dist}(Z_j,\hat Z_j)`                      :math:`-\sum\mathrm{dist}`
    "binary"      :math:`\mathrm{dist}(Z,\hat Z)`                                            minus the leader's
    "multi"       :math:`\Delta R(Z)+\Delta R(\hat Z)+\sum_j\mathrm{dist}(Z_j,\hat Z_j)`     minus the leader's
    ============  =========================================================================  =======================

    Parameters
    ----------
    game : one of `GAMES`
        "single" and "binary" see all samples as one class. ("single" and "multiple" are two cases of `general_game`.)
    F : array, shape (..., d_z, d_x)
    G : array, shape (..., d_x, d_z)
    moments, fractions : from `class_moments`
    beta : number or array, > 0
        d_z/eps².

    Returns
    -------
    Utilities

    Raises
    ------
    InputError
        If `game` is another word, or shapes do not fit.
    """
    _check(F, moments, G)
    xp = namespace(F, G, moments)
    if game in ("single", "binary"):
        moments = pooled(moments, fractions)[..., None, :, :]
    own, again = image(F, moments), image(F @ G @ F, moments)
    loop = xp.sum(distance(own, again, _wide(beta, 1)), axis=-1)
    if game == "single":
        return general_game(rate(own[..., 0, :, :], beta), -loop)
    if game == "multiple":
        return general_game(reduction(own, fractions, beta), -loop)
    if game == "binary":
        return Utilities(loop, -loop)
    if game == "multi":
        value = reduction(own, fractions, beta) + reduction(again, fractions, beta) + loop
        return Utilities(value, -value)
    raise InputError(f"game={game!r} must be one of {', '.join(map(repr, GAMES))}")


def canonical_decoder(F: Array, moment: Array) -> Array:
    r"""The decoder :math:`G=X^\top(FX^\top)^+`: a best response that returns every sample that F can tell apart.

    Parameters
    ----------
    F : array, shape (..., d_z, d_x)
    moment : array, shape (..., d_x, d_x)
        Of all samples (`pooled`): ``C = B B^T`` gives ``G = B (F B)^+``.

    Returns
    -------
    array, shape (..., d_x, d_z)
        ``F G F x = F x`` on the span of the samples, and ``G F x = x`` if F is injective there.

    Notes
    -----
    Directions whose moment is below ``d_x u`` times the largest one count as absent, and singular values of F B
    below ``max(d_z, d_x) u`` times the largest one as zero, u the machine epsilon.
    """
    _check(F, moment[..., None, :, :])
    xp = namespace(F, moment)
    values, vectors = xp.linalg.eigh(moment)
    kept = values > moment.shape[-1] * machine_epsilon(moment) * values[..., -1:]
    root = vectors * xp.sqrt(xp.where(kept, values, xp.zeros_like(values)))[..., None, :]
    return root @ pinv_decoder(F @ root)


def pinv_decoder(F: Array) -> Array:
    """The decoder ``F^+`` (..., d_x, d_z): a best response whatever the data, which returns rows of F alone.

    Singular values below ``max(d_z, d_x) u`` times the largest one count as zero, u the machine epsilon.
    """
    return namespace(F).linalg.pinv(F, rtol=max(F.shape[-2:]) * machine_epsilon(F))


# ---------------------------------------------------------------------- shared


def _wide(beta: Any, axes: int) -> Any:
    """A number, or an array of batch axes with as many axes of length one behind them."""
    return beta[(..., *(None,) * axes)] if getattr(beta, "ndim", 0) else beta


def _regularised(moment: Array, beta: Any) -> Array:
    xp = namespace(moment)
    return xp.eye(moment.shape[-1], dtype=moment.dtype, device=device(moment)) + _wide(beta, 2) * moment


def _inverse(moment: Array, beta: Any) -> Array:
    """Inverse of ``I + beta C``."""
    return namespace(moment).linalg.inv(_regularised(moment, beta))


def _check(F: Array, moments: Array, G: Array | None = None) -> None:
    if F.ndim < 2 or moments.shape[-1] != F.shape[-1] or moments.shape[-2] != F.shape[-1]:
        raise InputError(
            f"F of shape {tuple(F.shape)} must be (..., d_z, d_x) for moments of shape {tuple(moments.shape)}: "
            "features are X F^T"
        )
    if G is not None and tuple(G.shape[-2:]) != (F.shape[-1], F.shape[-2]):
        raise InputError(f"G of shape {tuple(G.shape)} must be (..., {F.shape[-1]}, {F.shape[-2]}): (d_x, d_z)")
