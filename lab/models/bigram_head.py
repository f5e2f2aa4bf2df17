r"""One attention head on top of known bigrams: risk, gradients and curvature; softmax and ReLU weights.

A query v has the next-token law p_v and a context (`lab.data.bigram_contexts`). Its logit to the first token of the
sequence is :math:`\alpha_v`, that to every other token 0; the first token has the value :math:`\beta\in R^V`. With
:math:`c_v=e^{\alpha_v}/(e^{\alpha_v}+W)` the head adds

.. math:: \delta_v=c_v\beta+(1-c_v)B/W,\qquad q_v=\mathrm{softmax}(\log p_v+\delta_v),\qquad
          R=\sum_v\pi_v\,\mathrm{mean}_s\,KL(p_v\|q_v).

With ReLU weights and a common logit :math:`\kappa_v` to the other tokens it is
:math:`\delta_v=\max(\alpha_v,0)\beta+\max(\kappa_v,0)B`.

Everything is exact to a few units of *relative* precision, however small the risk: with x = delta - <p, delta>,
:math:`KL=\log(1+m)`, :math:`m=\langle p,e^x-1-x\rangle`, and :math:`q-p=p\,(e^x-1-m)/(1+m)`; no difference of close
numbers is formed. Functions take NumPy, torch and JAX arrays: ``alpha`` (..., Q), ``beta`` (..., V), ``bias``
(..., Q, V) is added to delta, contexts without batch axes. Natural logarithms, nats.
"""

from __future__ import annotations

from typing import Any

from lab.arrays import Array, namespace
from lab.data.bigram_contexts import Contexts

__all__ = ["bias_hessian", "divergences", "gradients", "hessian", "relu_divergences", "relu_gradients", "risk",
           "sink_weights"]  # fmt: skip


def sink_weights(alpha: Array, contexts: Contexts) -> Array:
    """Attention weight c of the first token, shape (..., Q, S)."""
    xp = namespace(alpha)
    return 1 / (1 + contexts.lengths * xp.exp(-alpha[..., None]))


def divergences(alpha: Array, beta: Array, contexts: Contexts, *, bias: Array | None = None) -> Array:
    """KL(p_v || q_v) of every query, averaged over its samples, shape (..., Q)."""
    xp = namespace(alpha)
    return xp.mean(_tilted(_shift(alpha, beta, contexts, bias), contexts)[0], axis=-1)


def risk(alpha: Array, beta: Array, contexts: Contexts, *, bias: Array | None = None) -> Array:
    """Excess risk R over the bigrams, shape (...)."""
    return namespace(alpha).sum(contexts.shares * divergences(alpha, beta, contexts, bias=bias), axis=-1)


def gradients(
    alpha: Array, beta: Array, contexts: Contexts, *, bias: Array | None = None
) -> tuple[Array, Array, Array]:
    r"""Gradients of R by alpha (..., Q), beta (..., V) and bias (..., Q, V).

    With :math:`g=\pi_v(q_v-p_v)`: by alpha :math:`c\langle g,\beta-\delta\rangle`, without the bias in delta; by beta
    :math:`\sum_vc_vg_v`; by the bias g; averaged over samples.
    """
    xp = namespace(alpha)
    c = sink_weights(alpha, contexts)
    drift = _drift(beta, contexts)
    slope = _tilted(_shift(alpha, beta, contexts, bias), contexts)[1] * contexts.shares[:, None, None]
    by_alpha = xp.mean(c * (1 - c) * xp.sum(slope * drift, axis=-1), axis=-1)
    by_beta = xp.sum(xp.mean(c[..., None] * slope, axis=-2), axis=-2)
    return by_alpha, by_beta, xp.mean(slope, axis=-2)


def hessian(alpha: Array, beta: Array, contexts: Contexts, *, bias: Array | None = None) -> Array:
    """Second derivatives of R by (alpha, beta), shape (Q + V, Q + V); no batch axes."""
    xp = namespace(alpha)
    c = sink_weights(alpha, contexts)
    x = _shift(alpha, beta, contexts, bias)
    _, gap = _tilted(x, contexts)
    p, shares = contexts.probabilities[:, None, :], contexts.shares
    q = p + gap
    drift = _drift(beta, contexts)
    along = q * (drift - xp.sum(q * drift, axis=-1)[..., None])  # C_q drift
    twice = xp.sum(drift * along, axis=-1)
    curvature = (c * (1 - c)) ** 2 * twice + c * (1 - c) * (1 - 2 * c) * xp.sum(gap * drift, axis=-1)
    aa = xp.mean(shares[:, None] * curvature, axis=-1)
    mixed = (c * (1 - c))[..., None] * gap + (c**2 * (1 - c))[..., None] * along
    ab = xp.mean(shares[:, None, None] * mixed, axis=-2)
    weight = shares[:, None] * c**2 / c.shape[-1]
    flat = xp.reshape(q, (-1, q.shape[-1]))
    weighted = flat * xp.reshape(weight, (-1,))[:, None]
    bb = xp.eye(q.shape[-1], dtype=q.dtype) * xp.sum(weighted, axis=0) - weighted.T @ flat
    top = xp.concat([xp.eye(aa.shape[0], dtype=aa.dtype) * aa, ab], axis=1)
    return xp.concat([top, xp.concat([ab.T, bb], axis=1)], axis=0)


def bias_hessian(alpha: Array, beta: Array, contexts: Contexts, bias: Array) -> tuple[Array, Array, Array]:
    """Second derivatives of R by the bias of a query and by: its alpha (Q, V), beta (Q, V, V), its bias (Q, V, V).

    No batch axes; those by two queries' biases vanish.
    """
    xp = namespace(alpha)
    c = sink_weights(alpha, contexts)
    _, gap = _tilted(_shift(alpha, beta, contexts, bias), contexts)
    q, drift = contexts.probabilities[:, None, :] + gap, _drift(beta, contexts)
    shares = contexts.shares[:, None, None]
    along = q * (drift - xp.sum(q * drift, axis=-1)[..., None])
    by_alpha = shares[..., 0] * xp.mean((c * (1 - c))[..., None] * along, axis=-2)
    spread = q[..., None] * (xp.eye(q.shape[-1], dtype=q.dtype) - q[..., None, :])  # diag q - q q^T
    return by_alpha, shares * xp.mean(c[..., None, None] * spread, axis=1), shares * xp.mean(spread, axis=1)


def relu_divergences(alpha: Array, kappa: Array, beta: Array, contexts: Contexts) -> Array:
    """KL(p_v || q_v) under ReLU weights, averaged over samples, shape (..., Q)."""
    xp = namespace(alpha)
    return xp.mean(_tilted(_relu_shift(alpha, kappa, beta, contexts), contexts)[0], axis=-1)


def relu_gradients(alpha: Array, kappa: Array, beta: Array, contexts: Contexts) -> tuple[Array, Array, Array]:
    """Gradients of R under ReLU weights by alpha, kappa (..., Q) and beta (..., V); slope 0 at a logit of 0."""
    xp = namespace(alpha)
    slope = _tilted(_relu_shift(alpha, kappa, beta, contexts), contexts)[1] * contexts.shares[:, None, None]
    on, heard = xp.astype(alpha > 0, slope.dtype), xp.astype(kappa > 0, slope.dtype)
    p = contexts.probabilities[:, None, :]
    sink, seen = (_centred(v, p) for v in (beta[..., None, None, :], contexts.values))
    by_alpha = on * xp.mean(xp.sum(slope * sink, axis=-1), axis=-1)
    by_kappa = heard * xp.mean(xp.sum(slope * seen, axis=-1), axis=-1)
    by_beta = xp.sum((on * alpha)[..., None] * xp.mean(slope, axis=-2), axis=-2)
    return by_alpha, by_kappa, by_beta


# ---------------------------------------------------------------------- shared


def _centred(values: Array, p: Array) -> Array:
    """values - <p, values>"""
    return values - namespace(values).sum(p * values, axis=-1)[..., None]


def _drift(beta: Array, contexts: Contexts) -> Array:
    """beta - B/W, centred under p (..., Q, S, V): d delta / d alpha is c (1 - c) times it, up to a constant."""
    p = contexts.probabilities[:, None, :]
    return _centred(beta[..., None, None, :], p) - _centred(contexts.values, p) / contexts.lengths[..., None]


def _shift(alpha: Array, beta: Array, contexts: Contexts, bias: Array | None) -> Array:
    """delta centred under p, shape (..., Q, S, V)."""
    xp = namespace(alpha)
    p = contexts.probabilities[:, None, :]
    a = xp.exp(-alpha[..., None])
    c = 1 / (1 + contexts.lengths * a)
    seen = _centred(contexts.values, p) * (a * c)[..., None]  # (1 - c)/W = e^-alpha c: no loss as c tends to 1
    shift = c[..., None] * _centred(beta[..., None, None, :], p) + seen
    return shift if bias is None else shift + _centred(bias[..., None, :], p)


def _relu_shift(alpha: Array, kappa: Array, beta: Array, contexts: Contexts) -> Array:
    xp = namespace(alpha)
    p = contexts.probabilities[:, None, :]
    on, heard = xp.astype(alpha > 0, alpha.dtype) * alpha, xp.astype(kappa > 0, kappa.dtype) * kappa
    sink = on[..., None, None] * _centred(beta[..., None, None, :], p)
    return sink + heard[..., None, None] * _centred(contexts.values, p)


def _tilted(x: Array, contexts: Contexts) -> tuple[Array, Array]:
    """KL (..., Q, S) and q - p (..., Q, S, V) of the law p tilted by x, which has mean 0 under p."""
    xp = namespace(x)
    p = contexts.probabilities[:, None, :]
    excess = xp.sum(p * _exponential_excess(x), axis=-1)
    return xp.log1p(excess), p * (xp.expm1(x) - excess[..., None]) / (1 + excess[..., None])


def _exponential_excess(x: Any) -> Any:
    """e^x - 1 - x to a relative 1e-13: below 0.02 by its series, of which the first term left out is x^8/8!."""
    xp = namespace(x)
    series = x * x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6 * (1 + x / 7)))))
    return xp.where(xp.abs(x) < 0.02, series, xp.expm1(x) - x)
