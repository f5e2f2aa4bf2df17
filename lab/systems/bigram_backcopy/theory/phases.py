r"""Any frozen value of the first token: the sink grows, settles or is expelled.

With :math:`D=B-W\beta`, :math:`\delta=\beta+sD`, :math:`s=1/(e^\alpha+W)`, the risk of a query is convex in s on
(0, 1/W): its slopes at the two ends, :math:`g_0=\langle\mathrm{softmax}(\log p+\beta)-p,D\rangle` and
:math:`g_1=\langle\mathrm{softmax}(\log p+B/W)-p,D\rangle`, decide. Queries are rows of ``p``, ``B`` (..., V), ``beta``
(V,) or (..., V), ``W`` (...). Derived for this laboratory, verified numerically; not found in arXiv:2410.13835.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.systems.bigram_backcopy.theory.sink import laws

__all__ = ["end_slopes", "finite_logit", "phase", "phase_offset"]


def _slope(s, p, beta, B, W) -> np.ndarray:
    """d KL/ds, shape (...)."""
    D = B - W[..., None] * beta
    logits = np.log(np.where(p > 0, p, 1.0)) + beta + s[..., None] * D
    q = np.where(p > 0, np.exp(logits - logits.max(-1, keepdims=True)), 0.0)
    return np.sum((q / q.sum(-1, keepdims=True) - p) * D, axis=-1)


def _read(p, beta, B, W):
    p, W = laws(p), checks.positive("W", W)
    return p, np.asarray(beta, dtype=float), np.asarray(B, dtype=float), W


def end_slopes(p, beta, B, W) -> tuple[np.ndarray, np.ndarray]:
    """(g0, g1), slopes of the risk where the first token has all attention, and where it has none."""
    p, beta, B, W = _read(p, beta, B, W)
    return _slope(np.zeros_like(W), p, beta, B, W), _slope(1 / W, p, beta, B, W)


def phase(p, beta, B, W) -> np.ndarray:
    """1: sink (g0 > 0), logits grow like log t; -1: anti-sink (g1 < 0), they fall like -log t; 0: a finite limit."""
    g0, g1 = end_slopes(p, beta, B, W)
    return np.where(g0 > 0, 1, np.where(g1 < 0, -1, 0))


def phase_offset(p, pi, beta, B, W) -> np.ndarray:
    r"""Limit of alpha - log t in the sink phase, :math:`\log(\pi g_0)`; of alpha + log t in the anti-sink phase,
    :math:`-\log(\pi|g_1|/W^2)`; of alpha itself otherwise."""
    pi, W = checks.positive("pi", pi), checks.positive("W", W)
    (g0, g1), label = end_slopes(p, beta, B, W), phase(p, beta, B, W)
    with np.errstate(divide="ignore"):
        outer = np.where(label > 0, np.log(pi * np.abs(g0)), -np.log(pi * np.abs(g1) / W**2))
    return outer if np.all(label != 0) else np.where(label != 0, outer, finite_logit(p, beta, B, W))


def finite_logit(p, beta, B, W) -> np.ndarray:
    """log(1/s - W) at the root s of the slope; NaN where there is none inside.

    Solved in log(e^alpha/W), which keeps relative precision at both ends.
    """
    p, beta, B, W = _read(p, beta, B, W)
    if np.any(np.ptp(B - W[..., None] * beta, axis=-1) == 0):
        raise OutOfDomain("B - W beta is constant: the risk does not depend on the attention; change beta")
    low, high = np.full(W.shape, -40.0), np.full(W.shape, 40.0)
    for _ in range(80):
        middle = (low + high) / 2
        down = _slope(1 / (W * (1 + np.exp(middle))), p, beta, B, W) > 0  # the risk falls with more attention
        low, high = np.where(down, middle, low), np.where(down, high, middle)
    root = (low + high) / 2 + np.log(W)
    return np.where(phase(p, beta, B, W) == 0, root, np.nan)
