r"""How often a token fails to attend to itself alone, or a foreign head to nobody: quadrature over the query's norm.

Tokens near K orthogonal subspaces (`lab.data.tokens`), N_1 per cluster, ``N = K N_1``; the signal has been multiplied
by
g so far (``g = (1 + eta tau)^{l-1}`` at layer l), the foreign noise has standard deviation delta. Given the norm of the
query, its scores are independent Gaussians, so no p-dimensional vector is left. With r the squared norm,

* signal row (own head, r ~ chi²_p): scores ``g² sqrt(r) xi`` (N_1 - 1 keys), ``g delta sqrt(r) xi`` (N - N_1), and
  ``g² r`` with itself; fails if the self weight is at most tau;
* foreign row (another head, r ~ delta² chi²_p): scores ``g sqrt(r) xi`` (N_1 keys), ``delta sqrt(r) xi`` (N - N_1 - 1),
  and r with itself; fails if some weight exceeds tau.

The quadrature replaces the sum of all keys but the largest by its truncated mean (single big jump). Derived for this
laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.systems.attention_only.theory.thresholded import log_odds

__all__ = ["exact_probability", "foreign_failure", "signal_failure"]

NODES = 401


def signal_failure(heads, per_class, rank, delta, tau, gain=1.0):
    r"""Probability that a signal row fails, for ``tau >= 1/2``; array over `gain`.

    .. math:: P_s = E_r\big[1 - (1 - Q(\tfrac{\log(e^x - e^B)}{s}))^{N_1 - 1}\big], \quad s = g^2\sqrt r, \;
              x = g^2 r - \mathrm{logit}\,\tau,

    ``B = log[(N_1-1) e^{s²/2} Phi(x/s - s) + (N-N_1) e^{g² delta² r/2}]``; one where ``B >= x``. Against simulation the
    rates agree within a factor 2 for tau up to .9 and rates between .005 and .7.

    Parameters
    ----------
    heads, per_class : int
        K and N_1.
    rank : float, > 0
        p, a whole number where there are tokens.
    delta, tau : float
        Standard deviation of the noise; threshold in [1/2, 1).
    gain : array_like, >= 1
        g.
    """
    K, n, p, delta, tau = _setting(heads, per_class, rank, delta, tau, least=0.5)
    g, r, weights = _nodes(gain, p)
    from scipy.special import log_ndtr

    s, x = g**2 * np.sqrt(r), g**2 * r - log_odds(tau)
    own = np.log(n - 1) + s**2 / 2 + log_ndtr(x / s - s) if n > 1 else np.full(s.shape, -np.inf)
    rest = np.logaddexp(own, _log((K - 1) * n) + (g * delta) ** 2 * r / 2)
    failed = _some_above(_log_difference(x, rest) / s, n - 1)
    return (np.where(rest >= x, 1.0, failed) @ weights)[()]


def foreign_failure(heads, per_class, rank, delta, tau, gain=1.0, *, self_win=True):
    r"""Probability that a foreign row fails; array over `gain`.

    .. math:: P_n = E_r\big[\min(1,\; 1 - (1 - Q(\tfrac{y + \mathrm{logit}\,\tau}{s}))^{N_1} + F_{self})\big],
              \quad s = g\sqrt r,

    with y the log-sum-exp of the keys that stay below the winner,
    ``y = log[N_1 e^{s²/2} Phi(y/s - s) + (N - N_1 - 1) e^{delta² r/2} + e^r]``, and F_self the probability that the
    token attends to itself: ``Phi(log(e^{x'} - e^{B'})/s)^{N_1}`` at ``x' = r - logit tau``,
    ``B' = log[N_1 e^{s²/2} Phi(x'/s - s) + (N - N_1 - 1) e^{delta² r/2}]``, zero where ``B' >= x'``.

    Parameters
    ----------
    heads, per_class, rank, delta, tau, gain
        As in `signal_failure`; any tau in (0, 1), where at least 1/2 one weight can exceed it.
    self_win : bool
        Whether to count self attention; without it the rate is far too small once noise attends to itself
        (large delta² p).
    """
    K, n, p, delta, tau = _setting(heads, per_class, rank, delta, tau)
    if delta == 0:
        return np.zeros(np.shape(gain))[()]
    g, unit, weights = _nodes(gain, p)
    from scipy.special import log_ndtr

    r = delta**2 * unit
    s, logit = g * np.sqrt(r), log_odds(tau)
    noise = _log(K * n - n - 1) + delta**2 * r / 2
    body = np.log(n) + s**2 / 2
    fixed, y = np.logaddexp(noise, r), np.zeros(s.shape)
    for _ in range(60):
        before, y = y, np.logaddexp(body + log_ndtr(y / s - s), fixed)
        if np.max(np.abs(y - before)) < 1e-9:  # of a logarithm: far below the error of the approximation
            break
    failed = _some_above((y + logit) / s, n)
    if self_win:
        x = r - logit
        rest = np.logaddexp(body + log_ndtr(x / s - s), noise)
        won = np.exp(n * log_ndtr(_log_difference(x, rest) / s))
        failed = failed + np.where(rest < x, won, 0.0)
    return (np.minimum(failed, 1.0) @ weights)[()]


def exact_probability(heads, per_class, rank, delta, tau, gain=1.0):
    r"""Probability that the rate is exact in all layers up to signal gain g: ``exp(-N P_s(1) - N (K-1) P_n(g))``.

    Failures counted as a Poisson variable; signal rows matter in the first layer only (their margin grows with g), and
    foreign failures are monotone in g. `gain` as in `signal_failure`; ``tau >= 1/2``.

    Examples
    --------
    >>> float(exact_probability(2, 64, 48, 0.05, 0.6)) > 0.99
    True
    """
    signal = signal_failure(heads, per_class, rank, delta, tau)
    foreign = foreign_failure(heads, per_class, rank, delta, tau, gain)
    return np.exp(-heads * per_class * (signal + (heads - 1) * foreign))[()]


def _setting(heads, per_class, rank, delta, tau, *, least=0.0):
    K, n = checks.integer("heads", heads, 1), checks.integer("per_class", per_class, 1)
    p = float(checks.positive("rank", rank))
    delta, tau = float(checks.non_negative("delta", delta)), float(checks.fraction("tau", tau))
    checks.checked("tau", tau, lambda t: t >= least, f"must be at least {least:g}: below it a row may pass with a "
                   "weight that is not the largest")  # fmt: skip
    return K, n, p, delta, tau


def _nodes(gain, p):
    """Gains (..., 1), values of chi²_p and their weights: trapezoid in log r between its 1e-14 quantiles."""
    from scipy.special import gammaln
    from scipy.stats import chi2

    g = checks.positive("gain", gain)[..., None]
    t = np.linspace(np.log(chi2.ppf(1e-14, p)), np.log(chi2.isf(1e-14, p)), NODES)
    density = np.exp(p / 2 * t - np.exp(t) / 2 - p / 2 * np.log(2) - gammaln(p / 2))
    return g, np.exp(t), density / density.sum()


def _some_above(z, count):
    """``1 - (1 - Q(z))^count``, without cancellation."""
    from scipy.special import log_ndtr

    return -np.expm1(count * log_ndtr(z))


def _log_difference(x, y):
    """``log(e^x - e^y)`` where x > y, else -inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x > y, x + np.log1p(-np.exp(np.minimum(y - x, 0.0))), -np.inf)


def _log(count):
    return np.log(count) if count > 0 else -np.inf
