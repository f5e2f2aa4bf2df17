r"""How fast a sink grows while the value of the first token adds nothing: exact time, half-logarithmic asymptote.

With a value proportional to the all-ones vector every sink logit has a flow of its own. Let :math:`a=e^\alpha`,
:math:`s=1/(a+W)` and :math:`K(s)=\log E_p e^{sB}`, the cumulant function of B under p; then

.. math:: \dot\alpha=\pi\,\frac{a}{(a+W)^2}\,[K'(s)-K'(0)]\ge0 .

Queries are rows: ``p``, ``B`` (..., V), ``pi``, ``W`` (...). The half-logarithm is the published limit; exact time,
second and third order are derived for this laboratory, verified numerically; not found in arXiv:2410.13835.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = ["cumulants", "half_log", "half_log_coefficients", "sink_logit", "sink_rate", "sink_time"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_PANEL = 0.25
"""Width in alpha of a panel of the quadrature: the integrand is analytic, 12 nodes give full precision."""


def cumulants(p, B) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""First four cumulants of B under p: mean, :math:`\sigma^2`, :math:`\kappa_3`, :math:`\kappa_4`; shapes (...)."""
    p, B = laws(p), np.asarray(B, dtype=float)
    mean = np.sum(p * B, axis=-1)
    x = B - mean[..., None]
    second, third, fourth = (np.sum(p * x**k, axis=-1) for k in (2, 3, 4))
    return mean, second, third, fourth - 3 * second**2


def laws(p) -> np.ndarray:
    """Rows of probabilities, or OutOfDomain."""
    p = checks.checked("p", p, lambda v: v >= 0, "probabilities are not negative")
    checks.checked("sum of p", p.sum(-1), lambda v: np.abs(v - 1) < 1e-9, "rows of probabilities sum to 1; normalise")
    return p


def _varied(p, B) -> np.ndarray:
    variance = cumulants(p, B)[1]
    scale = np.max(np.abs(B), axis=-1) ** 2
    rule = "B must vary on the support of p: with B constant there the sink never moves"
    checks.checked("variance of B under p", variance, lambda v: v > 1e-28 * scale, rule)
    return variance


def sink_rate(alpha, p, pi, B, W) -> np.ndarray:
    """Speed d alpha/dt; `alpha` (...) like `pi` and `W`. Relative precision also where it is tiny."""
    p, B = laws(p), np.asarray(B, dtype=float)
    pi, W = checks.positive("pi", pi), checks.positive("W", W)
    s = 1 / (np.exp(alpha) + W)
    x = B - np.sum(p * B, axis=-1, keepdims=True)
    tilt = s[..., None] * x
    gain = np.sum(p * x * np.expm1(tilt), axis=-1) / np.sum(p * np.exp(tilt), axis=-1)
    return pi * np.exp(alpha) * s**2 * gain


def sink_time(alpha, p, pi, B, W, *, start: float = 0.0) -> float:
    r"""Time from logit `start` to logit `alpha` of one query, :math:`t=\int d\alpha/\dot\alpha`.

    Gauss-Legendre panels; relative error below 1e-12.

    Parameters
    ----------
    alpha : float, >= start
    p, B : array, shape (V,)
    pi, W : float, > 0

    Examples
    --------
    >>> t = sink_time(8.0, [0.5, 0.5], 1.0, [1.0, 3.0], 4.0)
    >>> round(float(t / np.exp(16.0)) * 2, 2), round(float(sink_logit(t, [0.5, 0.5], 1.0, [1.0, 3.0], 4.0)), 9)
    (1.01, 8.0)
    """
    _varied(p, B)
    alpha = float(alpha)
    if not alpha >= start:
        raise OutOfDomain(f"alpha={alpha!r}: sink logits only grow; give a level above the start {start}")
    return float(_panels(np.array([start, alpha]), p, pi, B, W).sum()) if alpha > start else 0.0


def _panels(levels: np.ndarray, p, pi, B, W) -> np.ndarray:
    """Time between neighbouring levels, each gap split into panels."""
    gaps = np.diff(levels)
    split = max(1, int(np.ceil(gaps.max() / _PANEL)))
    half = gaps[:, None] / (2 * split)
    middle = levels[:-1, None] + half * (2 * np.arange(split) + 1)
    at = middle[..., None] + half[..., None] * _NODES
    return np.sum(half[..., None] * _WEIGHTS / sink_rate(at, p, pi, B, W), axis=(1, 2))


def sink_logit(t, p, pi, B, W, *, start: float = 0.0) -> np.ndarray:
    """Exact sink logit of one query at times `t`, by inverting `sink_time`; error below 1e-11."""
    variance = _varied(p, B)
    t = np.atleast_1d(checks.non_negative("t", t))
    top = max(start, 0.5 * np.log1p(2 * float(pi) * float(variance) * t.max())) + 2
    while True:
        levels = np.arange(start, top + _PANEL, _PANEL)
        clock = np.r_[0.0, np.cumsum(_panels(levels, p, pi, B, W))]
        if clock[-1] > t.max():
            break
        top += 5
    i = np.clip(np.searchsorted(clock, t, side="right") - 1, 0, levels.size - 2)
    alpha = levels[i] + _PANEL * (t - clock[i]) / (clock[i + 1] - clock[i])
    for _ in range(8):  # Newton within a panel; time is a smooth increasing function of the level
        half = (alpha - levels[i]) / 2
        at = (levels[i] + half)[:, None] + half[:, None] * _NODES
        passed = clock[i] + np.sum(half[:, None] * _WEIGHTS / sink_rate(at, p, pi, B, W), axis=1)
        alpha = np.clip(alpha + (t - passed) * sink_rate(alpha, p, pi, B, W), levels[i], levels[i + 1])
    return alpha if alpha.size > 1 else alpha[0]


def half_log_coefficients(p, B, W) -> tuple[np.ndarray, np.ndarray]:
    r"""Coefficients of the expansion in :math:`T=2\pi\sigma^2t`, shapes (...):

    .. math:: \alpha=\tfrac12\log T-\frac{c_1}{\sqrt T}-c_2\frac{\log T}{2T}+O(1/T),\quad c_1=3W-k,\quad
              c_2=3W^2-2Wk+k^2-\frac{\kappa_4}{6\sigma^2},\quad k=\frac{\kappa_3}{2\sigma^2} .
    """
    W = checks.positive("W", W)
    variance = _varied(p, B)
    _, _, third, fourth = cumulants(p, B)
    k = third / (2 * variance)
    return 3 * W - k, 3 * W**2 - 2 * W * k + k**2 - fourth / (6 * variance)


def half_log(t, p, pi, B, W, *, order: int = 2) -> np.ndarray:
    """The expansion of `half_log_coefficients` at time t: `order` 1 (no correction), 2 or 3 terms.

    `t` broadcasts against `pi`; a time axis goes first, ``t[:, None]``.
    """
    t, pi = checks.positive("t", t), checks.positive("pi", pi)
    T = 2 * pi * _varied(p, B) * t
    first, second = half_log_coefficients(p, B, W)
    terms = (0.5 * np.log(T), -first / np.sqrt(T), -second * np.log(T) / (2 * T))
    return np.sum(np.broadcast_arrays(*terms[: checks.integer("order", order, 1)]), axis=0)
