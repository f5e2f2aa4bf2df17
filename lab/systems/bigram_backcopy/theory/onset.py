r"""When a sink switches on: linear in the length of the context, by a blow-up of :math:`e^{-\alpha}`.

While :math:`a=e^\alpha\ll W`, :math:`d(e^{-\alpha})/dt=-\pi\Delta/W`, with :math:`b=B/W` and
:math:`\Delta=E_q[b]-E_p[b]`, q proportional to :math:`p\,e^b`. Derived for this laboratory, verified numerically; not
found in arXiv:2410.13835.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.systems.bigram_backcopy.theory.sink import cumulants, laws, sink_time

__all__ = ["half_attention_time", "onset_correction", "onset_expansion", "onset_time"]


def _tilt(p, B, W) -> tuple[np.ndarray, np.ndarray]:
    """Delta and the variance of b under q; p, B (..., V), W (...)."""
    p = laws(p)
    b = np.asarray(B, dtype=float) / checks.positive("W", W)[..., None]
    q = p * np.exp(b - b.max(-1, keepdims=True))
    q = q / q.sum(-1, keepdims=True)
    return np.sum((q - p) * b, axis=-1), cumulants(q, b)[1]


def onset_time(p, pi, B, W, *, start: float = 0.0) -> np.ndarray:
    r"""Time :math:`t^*=We^{-\alpha(0)}/(\pi\Delta)` at which the early flow would blow up; shape (...)."""
    gap, _ = _tilt(p, B, W)
    rule = "B must vary on the support of p: otherwise there is no onset"
    return W * np.exp(-start) / (checks.positive("pi", pi) * checks.checked("Delta", gap, lambda v: v > 0, rule))


def onset_correction(p, B, W) -> np.ndarray:
    r"""c in :math:`t_{1/2}/t^*=1+c\,r\log(1/r)+O(r)`, :math:`r=e^{\alpha(0)}/W`: :math:`c=2+\mathrm{Var}_q(b)/\Delta`.

    From :math:`t=\frac1\pi\int dr\,(1+r)^2/(r^2\Delta(r))`, Delta(r) that of b/(1+r), expanded at r = 0.
    """
    gap, variance = _tilt(p, B, W)
    return 2 + variance / gap


def onset_expansion(r, p, B, W) -> tuple[np.ndarray, np.ndarray]:
    r"""Half-attention time over t* to first order in r, and a bound on the rest, of one query; ``r`` (...), in (0, 1).

    With :math:`h(r)=\Delta(1+r)^2/\Delta(r)` the ratio is :math:`r\int_r^1h(s)/s^2\,ds`, so

    .. math:: 1+c\,r\log\tfrac1r+k\,r+O(r^2),\qquad k=-1+\int_0^1\frac{h(s)-1-cs}{s^2}\,ds,

    and the rest is at most :math:`r^2\max|h(s)-1-cs|/s^2`.
    """
    r = checks.fraction("r", r)
    gap, variance = _tilt(p, B, W)
    c = 2 + variance / gap
    nodes, weights = np.polynomial.legendre.leggauss(40)
    s = (nodes + 1) / 2
    P, x = np.broadcast_to(laws(p), (s.size, len(B))), np.asarray(B, dtype=float) / (1 + s[:, None])
    # Delta(s) = E_q[b] - E_p[b] at the tilt b/(1+s); `_tilt` gives it for the tilted variable itself
    h = gap * (1 + s) ** 2 / (_tilt(P, x, np.full(s.size, float(W)))[0] * (1 + s))
    rest = (h - 1 - c * s) / s**2
    k = -1 + np.sum(weights / 2 * rest)
    return 1 + c * r * np.log(1 / r) + k * r, r**2 * np.max(np.abs(rest))


def half_attention_time(p, pi, B, W, *, start: float = 0.0) -> float:
    """Exact time to attention 1/2 on the first token, i.e. alpha = log W, for one query."""
    return sink_time(np.log(W), p, pi, B, W, start=start)
