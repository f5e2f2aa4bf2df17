r"""Which attention weights know the cluster of a token: its weight on itself, head by head, not those on other tokens.

Head labels: a token belongs to the head in which it attends to itself with a weight above tau, to none if there is no
such head. Energy labels: to the head with the largest coordinates, the Bayes rule of equally likely clusters. Derived
for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["confused_agreement", "energy_error", "partial_agreement"]


def partial_agreement(fraction, heads, per_class):
    r"""Adjusted Rand index of K equal clusters with the partition in which a fraction f of each is found and the others
    form one part together.

    .. math:: \frac{S - AB/P}{(A+B)/2 - AB/P}, \quad S = K(\tbinom{fN_1}2 + \tbinom{(1-f)N_1}2),\;
              A = K\tbinom{N_1}2,\; B = K\tbinom{fN_1}2 + \tbinom{(1-f)N}2,\; P = \tbinom N2

    0 at f = 0, 1 at f = 1.

    Parameters
    ----------
    fraction : array_like in [0, 1]
    heads, per_class : int
        K >= 2 and N_1 >= 2.

    Examples
    --------
    >>> partial_agreement([0.0, 0.5, 1.0], 4, 64).round(3).tolist()
    [0.0, 0.223, 1.0]
    """
    f = checks.fraction("fraction", fraction, open=False)
    K, n = checks.integer("heads", heads, 2), checks.integer("per_class", per_class, 2)
    found, lost, every = _pairs(f * n), _pairs((1 - f) * n), _pairs(K * n)
    S, A, B = K * (found + lost), K * _pairs(n), K * found + _pairs((1 - f) * K * n)
    return ((S - A * B / every) / ((A + B) / 2 - A * B / every))[()]


def confused_agreement(error, heads):
    r"""Adjusted Rand index of K equal large clusters with labels of which a share `error` is wrong, evenly so:
    :math:`\frac{K((1-\epsilon)^2 + \epsilon^2/(K-1)) - 1}{K - 1}`."""
    e, K = checks.fraction("error", error, open=False), checks.integer("heads", heads, 2)
    return ((K * ((1 - e) ** 2 + e**2 / (K - 1)) - 1) / (K - 1))[()]


def energy_error(heads, rank, delta):
    r"""Probability that the head with the largest coordinates is not that of the token's cluster:
    :math:`1 - E_{r\sim\chi^2_p}\,F_p(r/\delta^2)^{K-1}`, F_p the distribution function of chi²_p.

    The least error of any rule that sees one token (equally likely clusters, delta < 1): it does not depend on the
    number of tokens.

    Parameters
    ----------
    heads, rank : int
    delta : float, > 0

    Examples
    --------
    >>> round(energy_error(2, 4, 1.0), 6)  # no difference between signal and noise: a coin
    0.5
    """
    from scipy.special import gammainc, gammaincinv

    K, p = checks.integer("heads", heads, 2), checks.integer("rank", rank, 1)
    d2 = float(checks.positive("delta", delta)) ** 2
    # r = 2 P^-1(p/2, u) with u uniform: Gauss-Legendre in u^(1/4), which spreads the small r that fail
    x, w = np.polynomial.legendre.leggauss(400)
    t = (x + 1) / 2
    r = 2 * gammaincinv(p / 2, t**4)
    missed = -np.expm1((K - 1) * np.log(np.maximum(gammainc(p / 2, r / (2 * d2)), 1e-300)))
    return float(np.sum(w / 2 * 4 * t**3 * missed))


def _pairs(n):
    return n * (n - 1) / 2
