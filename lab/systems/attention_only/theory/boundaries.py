r"""Where the events of the rate theorem hold: boundaries in ``c = p/log N`` and ``sigma = g² delta² c``, as N grows.

For p of order log N the scores of a query are a random-energy model. Two transitions on the signal side: a typical
token
passes from ``c = 2`` on, all tokens pass from ``c = 4/log 2`` on. Two on the foreign side: a typical row condenses at
``sigma = 2``, some row fails already from `foreign_threshold` on. All need tau fixed as N grows; finite N shifts the
rank by O(logit tau). Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.systems.attention_only.theory.thresholded import log_odds

__all__ = [
    "ALL_TOKENS",
    "TYPICAL_TOKEN",
    "all_pass_probability",
    "condensed_fraction",
    "exact_rank",
    "foreign_threshold",
    "largest_noise",
    "pair_failure",
    "passing_fraction",
    "scaled_failure",
]

TYPICAL_TOKEN = 2.0
"""p/log N_1 from which a typical token attends to itself."""

ALL_TOKENS = 4 / np.log(2)
"""p/log N from which all tokens do, 5.771."""


def passing_fraction(per_class, rank):
    r"""Fraction of tokens that attend to themselves, :math:`\Phi\big((c_1 - 2)\sqrt{\log N_1}/2\big)`,
    ``c_1 = p/log N_1``.

    A token passes where its squared norm, chi²_p, exceeds ``2 log N_1``-ish: curves of all sizes cross at (2, 1/2).
    Within .06 for N_1 >= 64, K <= 4 and tau near 1/2 (.04 at c_1 = 2).
    """
    from scipy.special import ndtr

    n = checks.checked("per_class", per_class, lambda v: v >= 2, "must be at least 2: one token has no competitor")
    rank = checks.positive("rank", rank)
    return ndtr((rank / np.log(n) - TYPICAL_TOKEN) * np.sqrt(np.log(n)) / 2)[()]


def pair_failure(rank):
    r"""Probability that a key scores higher than the query itself, :math:`P(a\cdot b > |a|^2) =
    \tfrac12 I_{1/2}(\tfrac p2, \tfrac12)`, for independent standard normal a, b in R^p; about ``2^{-p/2}``. Exact."""
    from scipy.special import betainc

    return (0.5 * betainc(checks.positive("rank", rank) / 2, 0.5, 0.5))[()]


def all_pass_probability(heads, per_class, rank):
    r"""Probability that no token scores lower with itself than with another of its cluster: :math:`\exp(-N (N_1-1)
    \pi_p)`, pairs counted as a Poisson variable. The threshold ``tau -> 1/2`` and the other clusters are left out."""
    K, n = checks.integer("heads", heads, 1), checks.integer("per_class", per_class, 1)
    return np.exp(-K * n * (n - 1) * pair_failure(rank))[()]


def exact_rank(heads, per_class, *, probability=0.5):
    r"""Rank at which all tokens pass with this probability, a real number: ``N (N_1-1) pi_p = -log(probability)``.

    ``2 log2(N N_1) (1 + o(1))``, hence c = 4/log 2. The width in p does not depend on N (a Gumbel law of scale 2/log
    2).

    Examples
    --------
    >>> round(exact_rank(4, 256), 1)
    30.4
    """
    K, n = checks.integer("heads", heads, 1), checks.integer("per_class", per_class, 2)
    level = np.log(-np.log(float(checks.fraction("probability", probability))) / (K * n * (n - 1)))
    from scipy.optimize import brentq

    if np.log(pair_failure(1e-6)) < level:
        return 0.0
    return float(brentq(lambda p: np.log(pair_failure(p)) - level, 1e-6, 4 * np.log2(K * n * n) + 20))


def foreign_threshold(c):
    r"""Smallest ``sigma = g² delta² c`` at which some foreign row fails, as ``N -> infinity`` with ``p = c log N``.

    .. math:: 2 = \min_{a \ge 1}\Big\{\tfrac c2 (a - 1 - \log a) + \frac{(1 + \sigma a/2)^2}{2\sigma a}\Big\}

    The cost of a query of squared norm a times the mean against that of one key that beats the sum of the others; there
    are N² pairs. Tends to ``2 (sqrt 2 - 1)² = .3431`` for large c.

    Examples
    --------
    >>> round(foreign_threshold(10.0), 4)
    0.3034
    """
    c = float(checks.positive("c", c))
    from scipy.optimize import brentq, minimize_scalar

    def excess(sigma):
        def cost(a):
            return c / 2 * (a - 1 - np.log(a)) + (1 + sigma * a / 2) ** 2 / (2 * sigma * a)
        bounds = (1.0, max(4.0, 2 / sigma))
        return minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-12}).fun - 2

    return float(brentq(excess, 1e-3, 2 * (np.sqrt(2) - 1) ** 2 + 1e-9, xtol=1e-13))


def largest_noise():
    """Largest delta at which all rows of the first layer pass, at the best rank and as N grows: .221."""
    return float(np.sqrt(foreign_threshold(ALL_TOKENS) / ALL_TOKENS))


def condensed_fraction(sigma, tau):
    r"""Fraction of foreign rows with a weight above tau, as ``N -> infinity``: :math:`\big(\tfrac{1-\tau}\tau\big)^x
    \frac{\sin\pi x}{\pi x}`, ``x = sqrt(2/sigma)``; 0 for ``sigma <= 2``.

    In the condensed phase the weights are a Poisson-Dirichlet process of parameter x, with density
    ``w^{-1-x} (1-w)^{x-1}/(Gamma(1-x) Gamma(x))``; above 1/2 there is at most one weight.

    Parameters
    ----------
    sigma : array_like, > 0
        ``g² delta² p/log N_1``.
    tau : array_like in [1/2, 1)

    Examples
    --------
    >>> round(float(condensed_fraction(5.49, 0.5)), 3)
    0.5
    """
    sigma = checks.positive("sigma", sigma)
    tau = checks.checked("tau", tau, lambda t: (t >= 0.5) & (t < 1), "must lie in [1/2, 1): below several may pass")
    x = np.minimum(np.sqrt(2 / sigma), 1.0)
    return np.where(x < 1, ((1 - tau) / tau) ** x * np.sinc(x), 0.0)[()]


def scaled_failure(heads, per_class, rank, delta, tau):
    r"""Fraction of signal rows that fail where scores are divided by ``sqrt p``, as public code does.

    .. math:: P\Big(\frac{\chi^2_p}{\sqrt p} \le \log(N_1 e^{1/2} + (N - N_1) e^{\delta^2/2}) +
    \mathrm{logit}\,\tau\Big)

    The other scores then have variance about 1 and their sum hardly fluctuates: the boundary is ``p ~ log² N``, not
    ``log N``. Within .03 for N_1 >= 64.
    """
    from scipy.stats import chi2

    K, n = checks.integer("heads", heads, 1), checks.integer("per_class", per_class, 1)
    rank, delta = checks.positive("rank", rank), checks.non_negative("delta", delta)
    level = np.logaddexp(np.log(n) + 0.5, np.log((K - 1) * n) + delta**2 / 2) if K > 1 else np.log(n) + 0.5
    return chi2.cdf(np.sqrt(rank) * (level + log_odds(tau)), rank)[()]
