r"""Averages of the maximum likelihood estimate over points: what they are on the mean, for every N > k."""

from __future__ import annotations

from lab import checks

__all__ = ["mean_estimate"]


def mean_estimate(d, k):
    r"""Mean of the local estimate :math:`1/m_k`: :math:`d\,(k-1)/(k-2)`.

    :math:`(k-1)\,d\,m_k` is a Gamma(k - 1) variable, whose inverse has mean 1/(k - 2); its variance is finite from
    k = 4 on.

    Parameters
    ----------
    d : array_like, > 0
    k : int, >= 3

    Examples
    --------
    >>> float(mean_estimate(3, 5))
    4.0
    """
    d, k = checks.positive("d", d), checks.integer("k", k, 3)
    return (d * (k - 1) / (k - 2))[()]
