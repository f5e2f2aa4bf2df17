r"""Best linear decoder of the game CTRL-Multi: not reconstruction, but a smaller copy of the features, or a mixture.

The follower minimises :math:`\Delta R(\hat Z)+\sum_j\mathrm{dist}(Z_j,\hat Z_j)`. Let the classes be orthogonal with
moments :math:`C_j=\tfrac1{k_j}P_j` (rank k_j, all singular values equal, :math:`\mathrm{tr}\,C_j=1`). Among decoders
that keep them orthogonal the best one has :math:`\hat C_j=\tau_jC_j`. With ``gamma = n_j/n`` and ``v = beta/k_j``,
``beta = d_z/eps²``, the slope of the loss of one direction in :math:`\tau` vanishes where

.. math:: \frac{\gamma}{1+\gamma v\tau}-\frac{\gamma}{1+v\tau}+\frac1{2+v(1+\tau)}-\frac1{2(1+v\tau)}=0 .

Cleared of denominators this is a quadratic equation in :math:`x=v\tau`,

.. math:: \gamma(3-2\gamma)\,x^2+\bigl[1+4\gamma(1-\gamma)+\gamma(1-2\gamma)\,v\bigr]x-v=0,

with roots of opposite signs: the positive one is unique. `decoder_mixing` says when that point is stable against
decoders that let classes overlap. All of this was derived for this laboratory.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = [
    "decoder_loss",
    "decoder_mixing",
    "decoder_shrinkage",
    "decoder_shrinkage_limit",
    "decoder_shrinkage_limit_error",
    "scaling_slope",
]


def decoder_shrinkage(fraction, v):
    r"""Factor :math:`\tau` by which the best decoder of CTRL-Multi shrinks the covariance of a class.

    .. math:: \tau=\frac{x}{v},\qquad x=\frac{2v}{b+\sqrt{b^2+4av}},\qquad a=\gamma(3-2\gamma),\quad
              b=1+4\gamma(1-\gamma)+\gamma(1-2\gamma)v

    Parameters
    ----------
    fraction : array_like in (0, 1]
        Share ``gamma = n_j/n`` of the samples in the class; 1 (a single class) gives 1: reconstruction.
    v : array_like, > 0
        Reduced eigenvalue ``beta/k_j = d_z/(k_j eps²)`` of the class covariance.

    Returns
    -------
    array
        In (0, 1); the decoder multiplies the features by its square root.

    Raises
    ------
    OutOfDomain
        If `fraction` is not in (0, 1] or `v` is not positive and finite.

    Notes
    -----
    Relative error of a few units of rounding: the form without cancellation is taken for each sign of b. Derived for
    this laboratory, verified numerically; not found in arXiv:2111.06636.

    Examples
    --------
    >>> [round(float(s), 3) for s in np.sqrt(decoder_shrinkage(1 / 3, 40 / np.array([3, 4, 5])))]
    [0.434, 0.463, 0.485]
    >>> bool(decoder_shrinkage(0.5, 8.0) == 1 / (1 + np.sqrt(1 + 8.0)))
    True
    """
    g, v = _fraction(fraction), checks.positive("v", v)
    a = g * (3 - 2 * g)
    b = 1 + 4 * g * (1 - g) + g * (1 - 2 * g) * v
    root = np.sqrt(b**2 + 4 * a * v)
    with np.errstate(divide="ignore", invalid="ignore"):  # the branch that is not taken may cancel to zero
        return np.where(b > 0, 2 / (b + root), (root - b) / (2 * a * v))[()]


def decoder_shrinkage_limit(fraction, v):
    r"""Leading term of `decoder_shrinkage` at high precision, :math:`v\to\infty`: three regimes, split at one half.

    .. math:: \tau\simeq\begin{cases}\dfrac{1}{\gamma(1-2\gamma)\,v}&\gamma<\tfrac12\ \text{(decoder output
              collapses)}\\[2pt] v^{-1/2}&\gamma=\tfrac12\\[2pt] \dfrac{2\gamma-1}{3-2\gamma}&\gamma>\tfrac12\end{cases}

    Parameters
    ----------
    fraction : array_like in (0, 1]
    v : array_like, > 0

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in arXiv:2111.06636.

    Examples
    --------
    >>> [float(round(decoder_shrinkage_limit(g, 100.0), 6)) for g in (0.25, 0.5, 0.75)]
    [0.08, 0.1, 0.333333]
    """
    g, v = _fraction(fraction), checks.positive("v", v)
    with np.errstate(divide="ignore"):
        collapse = 1 / (g * (1 - 2 * g) * v)
    return np.select([g < 0.5, g == 0.5], [collapse, v**-0.5], (2 * g - 1) / (3 - 2 * g))[()]


def decoder_shrinkage_limit_error(fraction, v):
    r"""How far `decoder_shrinkage` may be from `decoder_shrinkage_limit`, as a share of the latter: a bound at every v,
    sharp as :math:`v\to\infty`.

    .. math:: 0<1-\frac{\tau}{\tau_{lim}}<4\gamma(1-\gamma)^2(1+2\gamma)\frac{s^2}{v}\ \ (\gamma<\tfrac12),\qquad
              0<\frac{\tau}{\tau_\infty}-1<\frac{4(1-\gamma)^2(1+2\gamma)}{\gamma(3-2\gamma)^2}\frac{1}{\tau_\infty^2v}
              \ \ (\gamma>\tfrac12),

    with :math:`s=1/(\gamma(1-2\gamma))`; at one half :math:`0<1-\tau\sqrt v<v^{-1/2}`.

    Notes
    -----
    Derivation: for :math:`\gamma<\tfrac12` the quadratic equation reads :math:`x/s=1-(b_0x+ax^2)/v` with
    :math:`b_0=1+4\gamma(1-\gamma)`, and :math:`0<x<s`; then :math:`b_0s+as^2=4\gamma(1-\gamma)^2(1+2\gamma)s^2`. For
    :math:`\gamma>\tfrac12` it reads :math:`\tau-\tau_\infty=(1-b_0\tau)/(av\tau)`, a falling function of tau that is
    positive at :math:`\tau_\infty`. At one half :math:`\tau=1/(1+\sqrt{1+v})`. Derived for this laboratory.

    Examples
    --------
    >>> g, v = np.array([0.3, 0.5, 0.8]), 1e4
    >>> gap = np.abs(decoder_shrinkage(g, v) / decoder_shrinkage_limit(g, v) - 1)
    >>> bool(np.all(gap < decoder_shrinkage_limit_error(g, v)))
    True
    """
    g, v = _fraction(fraction), checks.positive("v", v)
    shape = 4 * (1 - g) ** 2 * (1 + 2 * g)
    with np.errstate(divide="ignore"):
        below = shape * g / (g * (1 - 2 * g)) ** 2 / v
        above = shape / (g * (2 * g - 1) ** 2) / v
    return np.select([g < 0.5, g == 0.5], [below, v**-0.5], above)[()]


def decoder_loss(fractions, ranks, beta, shrink):
    r"""The follower's loss :math:`\Delta R(\hat Z)+\sum_j\mathrm{dist}(Z_j,\hat Z_j)` at :math:`\hat C_j=\tau_jC_j`.

    .. math:: \sum_jk_j\Bigl[\tfrac12\log(1+\gamma_jv_j\tau_j)-\tfrac{\gamma_j}2\log(1+v_j\tau_j)
              +\tfrac12\log\bigl(1+\tfrac{v_j(1+\tau_j)}2\bigr)-\tfrac14\log(1+v_j)-\tfrac14\log(1+v_j\tau_j)\Bigr]

    Parameters
    ----------
    fractions : array_like, shape (K,)
        gamma_j, in (0, 1].
    ranks : array_like of int, shape (K,)
        k_j.
    beta : float, > 0
        ``d_z/eps²``; ``v_j = beta/k_j``.
    shrink : array_like, shape (K,), >= 0
        tau_j; ones (a perfect decoder) give Delta R(Z).

    Returns
    -------
    float
        In nats.

    Examples
    --------
    >>> third, ranks = np.full(3, 1 / 3), np.array([3, 4, 5])
    >>> best = decoder_loss(third, ranks, 40.0, decoder_shrinkage(third, 40.0 / ranks))
    >>> round(best, 7), round(decoder_loss(third, ranks, 40.0, np.ones(3)), 7)
    (2.0322034, 3.9618639)
    """
    g, k = _fraction(fractions), checks.positive("ranks", ranks)
    v, tau = checks.positive("beta", beta) / k, checks.non_negative("shrink", shrink)
    rate = np.log1p(g * v * tau) - g * np.log1p(v * tau)
    apart = np.log1p(v * (1 + tau) / 2) - (np.log1p(v) + np.log1p(v * tau)) / 2
    return float(np.sum(k * (rate + apart)) / 2)


def decoder_mixing(fractions, ranks, beta) -> float:
    r"""How much overlap of classes is worth to the decoder of CTRL-Multi: above 1 the shrunk copy is a saddle point.

    .. math:: \max_{i\ne j}\ \frac{2\gamma_i\gamma_j}{(1+\gamma_ix_i)(1+\gamma_jx_j)}\Bigl[
              x_j\frac{2+v_i+x_i}{v_i}+x_i\frac{2+v_j+x_j}{v_j}\Bigr],\qquad x=v\tau

    Parameters
    ----------
    fractions : array_like, shape (K,)
        gamma_j, in (0, 1].
    ranks : array_like of int, shape (K,)
        k_j; ``v_j = beta/k_j``.
    beta : float, > 0

    Returns
    -------
    float
        Below 1: `decoder_shrinkage` is a strict local optimum up to rotations inside the classes (the global one in all
        searches so far). 0 for a single class.

    Notes
    -----
    Second variation of the loss along decoders that map a direction of class i partly onto one of class j, by q, and
    back, by p: with :math:`w=(\sqrt{x_j},\sqrt{x_i})` it is the form of
    :math:`\mathrm{diag}\,\tfrac{v}{4(2+v+x)}-\tfrac{\gamma_i\gamma_j}{2(1+\gamma_ix_i)(1+\gamma_jx_j)}ww^\top` in
    :math:`(\sqrt{v_i}q,\sqrt{v_j}p)`. Onto directions of no class it is always positive. Two classes of equal rank
    never mix; of unequal rank they do at low precision, :math:`4\gamma_i\gamma_j(\tau_jk_i/k_j+\tau_ik_j/k_i)>1` as
    :math:`\beta\to0`. Derived for this laboratory, verified numerically; not found in arXiv:2111.06636.

    Examples
    --------
    >>> [round(decoder_mixing((0.5, 0.5), ranks, 1.0), 3) for ranks in ((2, 2), (1, 3))]
    [0.99, 1.392]
    """
    g, k = _fraction(fractions), checks.positive("ranks", ranks)
    if g.ndim != 1 or g.shape != k.shape:
        raise OutOfDomain(f"fractions={fractions!r} and ranks={ranks!r}: pass one of each per class")
    v = checks.positive("beta", beta) / k
    x = v * decoder_shrinkage(g, v)
    weight = g / (1 + g * x)
    pull = (2 + v + x) / v
    pairs = 2 * np.outer(weight, weight) * (np.outer(pull, x) + np.outer(x, pull))
    return float(np.max(pairs - np.diag(np.diag(pairs))))


def scaling_slope(moments, fractions, beta) -> float:
    r"""Slope of the loss of the follower of CTRL-Multi along :math:`\hat Z=tZ` at t = 1, in log t.

    .. math:: \mathrm{tr}\bigl(\beta\bar C(I+\beta\bar C)^{-1}\bigr)-\sum_j\gamma_j\,
              \mathrm{tr}\bigl(\beta C_j(I+\beta C_j)^{-1}\bigr)\ge0,\qquad\bar C=\sum_j\gamma_jC_j

    Parameters
    ----------
    moments : array_like, shape (K, d, d)
        Moments C_j of the features, any.
    fractions : array_like, shape (K,)
        gamma_j, which sum to one.
    beta : float, > 0

    Returns
    -------
    float
        Zero only if all C_j are equal, that is if Delta R(Z) = 0: ``A (1 + A)^-1`` is strictly operator concave, and
        the distances are stationary at t = 1.

    Examples
    --------
    >>> round(scaling_slope([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])], [0.5, 0.5], 4.0), 6)
    0.533333
    """
    C, g = np.asarray(moments, dtype=float), _fraction(fractions)
    if C.ndim != 3 or C.shape[1] != C.shape[2] or g.shape != C.shape[:1] or not np.isclose(g.sum(), 1):
        raise OutOfDomain(f"moments {C.shape}, fractions {fractions!r}: must be (K, d, d) and K shares that sum to 1")
    scaled = checks.positive("beta", beta) * np.concatenate([np.tensordot(g, C, axes=1)[None], C])
    traces = np.trace(np.linalg.solve(np.eye(C.shape[1]) + scaled, scaled), axis1=1, axis2=2)
    return float(traces[0] - g @ traces[1:])


def _fraction(value):
    return checks.checked("fraction", value, lambda g: (g > 0) & (g <= 1), "must lie in (0, 1]; pass n_j/n")
