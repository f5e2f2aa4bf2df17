r"""Sink logits and value trained together: a Lyapunov function, a conserved quantity, and where shared contexts end.

With :math:`c_v=a_v/(a_v+W)`, :math:`g_v=\pi_v(q_v-p_v)`, for any contexts and any point,

.. math:: \langle\beta,\partial_\beta R\rangle-\sum_v\partial_{\alpha_v}R
          =E\sum_vc_v\langle g_v,\delta_v\rangle\ge E\sum_vc_v\pi_vKL_v .

So every finite critical point has R = 0, and :math:`M=\sum_v\alpha_v-|\beta|^2/2` never decreases under gradient flow.
Derived for this laboratory, verified numerically; not found in arXiv:2410.13835.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.systems.bigram_backcopy.theory.sink import laws

__all__ = ["conserved", "final_logit", "final_value", "reinforcement"]


def reinforcement(alpha, beta, p, pi, B, W) -> tuple[float, float]:
    """Both sides of the inequality, in the plain form with logarithms: speed of M, and its lower bound.

    ``alpha`` (Q,), ``beta`` (V,), ``p`` (Q, V), ``pi`` (Q,), ``B`` (Q, S, V), ``W`` (Q, S); full supports.
    """
    p = checks.positive("p", laws(p))
    B, W, pi = np.asarray(B, dtype=float), checks.positive("W", W), checks.positive("pi", pi)
    a = np.exp(np.asarray(alpha, dtype=float))[:, None]
    c = a / (a + W)
    delta = (a[..., None] * beta + B) / (a + W)[..., None]
    logits = np.log(p)[:, None, :] + delta
    top = logits.max(-1, keepdims=True)
    q = np.exp(logits - top) / np.exp(logits - top).sum(-1, keepdims=True)
    kl = np.log(np.exp(logits - top).sum(-1)) + top[..., 0] - np.sum(p[:, None, :] * delta, axis=-1)
    speed = np.sum(pi * np.mean(c * np.sum((q - p[:, None, :]) * delta, axis=-1), axis=-1))
    return float(speed), float(np.sum(pi * np.mean(c * kl, axis=-1)))


def conserved(alpha, beta, B, W: float) -> np.ndarray:
    r"""Conserved by the joint flow with one context shared by all queries (also conserved: mean beta):

    .. math:: Q=\frac{|W\beta-B|^2}{2W}-\sum_v(e^{\alpha_v}+W\alpha_v) .

    ``alpha`` (..., Q), ``beta`` (..., V), ``B`` (V,).
    """
    alpha, W = np.asarray(alpha, dtype=float), float(checks.positive("W", W))
    stretch = np.sum((W * np.asarray(beta, dtype=float) - np.asarray(B, dtype=float)) ** 2, axis=-1) / (2 * W)
    return stretch - np.sum(np.exp(alpha) + W * alpha, axis=-1)


def final_logit(alpha, beta, B, W: float) -> float:
    r"""Common limit A of all sink logits from the start (alpha, beta): the unique root of

    .. math:: (1+We^{-A})^2\frac{|B_c|^2}{2W}-Q(e^A+WA)
              =\frac{|W\beta_c-B_c|^2}{2W}-\sum_v(e^{\alpha_v}+W\alpha_v),

    x_c = x - mean x. Assumes full supports, B not proportional to ones, and that the trajectory stays bounded.
    """
    alpha, B, beta = (np.asarray(x, dtype=float) for x in (alpha, B, beta))
    W = float(checks.positive("W", W))
    Bc, bc = B - B.mean(), beta - beta.mean()
    if not np.any(Bc):
        raise OutOfDomain("B is constant: every sink logit is critical, none is selected; give values that differ")
    right = np.sum((W * bc - Bc) ** 2) / (2 * W) - np.sum(np.exp(alpha) + W * alpha)
    low, high = -60.0, 60.0
    for _ in range(200):  # the left side decreases in A
        A = (low + high) / 2
        left = (1 + W * np.exp(-A)) ** 2 * (Bc @ Bc) / (2 * W) - alpha.size * (np.exp(A) + W * A)
        low, high = (A, high) if left > right else (low, A)
    return (low + high) / 2


def final_value(alpha, beta, B, W: float) -> np.ndarray:
    r"""Limit of beta, :math:`\bar\beta(0)1-e^{-A}B_c`, shape (V,)."""
    beta, B = np.asarray(beta, dtype=float), np.asarray(B, dtype=float)
    return beta.mean() - np.exp(-final_logit(alpha, beta, B, W)) * (B - B.mean())
