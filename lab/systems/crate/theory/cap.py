r"""Largest rate reduction against subspaces, and rates of normalised tokens that do not see the signal-to-noise ratio.

K heads of rank p, stacked-orthonormal and complete: d = K p. :math:`\Delta R = R_\epsilon - R^c` with
:math:`R_\epsilon = \tfrac12\log\det(I + \tfrac{d}{N\epsilon^2} Z^\top Z)` and :math:`\beta = p/(N\epsilon^2)`.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["blind_rates", "head_normalised_cap", "rank_one_reduction", "reduction_cap"]


def reduction_cap(heads: int, rank: int) -> float:
    r"""Upper bound of :math:`R_\epsilon - R^c`: :math:`\tfrac d2 \log K`, d = K p.

    By Fischer's inequality ``R_eps`` is at most the sum of the heads' rates at K beta, and ``(1 + K x)/(1 + x) <= K``.
    Equality needs heads that are uncorrelated over the tokens, and eps -> 0.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(reduction_cap(4, 4), 4)
    11.0904
    """
    K, p = checks.integer("heads", heads, 1), checks.integer("rank", rank, 1)
    return 0.5 * K * p * float(np.log(K))


def rank_one_reduction(heads: int, x):
    r"""Rate reduction of tokens on one line with equal energy in all heads:
    :math:`\tfrac12\log(1+x) - \tfrac K2\log(1+x/K^2)`.

    :math:`x = \tfrac{d}{N\epsilon^2}|Z|^2`. It is negative for large x: a line costs every head.
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    K, x = checks.integer("heads", heads, 1), checks.non_negative("x", x)
    return (0.5 * np.log1p(x) - 0.5 * K * np.log1p(x / K**2))[()]


def head_normalised_cap(heads: int, rank: int, eps_squared):
    r"""Upper bound of the rate after every token is scaled to length 1 in every head:
    :math:`\tfrac{Kp}2\log(1+1/\epsilon^2)`.

    The eigenvalues of a head's second moment add up to N and the logarithm is concave; attained by isotropic heads.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(float(head_normalised_cap(4, 16, 0.01)), 3)
    147.684
    """
    K, p = checks.integer("heads", heads, 1), checks.integer("rank", rank, 1)
    return (0.5 * K * p * np.log1p(1 / checks.positive("eps_squared", eps_squared)))[()]


def blind_rates(heads: int, rank: int, eps_squared) -> np.ndarray:
    r"""Rates of many balanced isotropic noisy tokens, whatever the noise: of length 1; of length 1 in every head.

    :math:`\tfrac{Kp}2\log(1+\tfrac1{K\epsilon^2})` and :math:`\tfrac{Kp}2\log(1+\tfrac1{\epsilon^2})`. A balanced head
    holds energy N/K or N and spreads it evenly, be it signal of its own tokens or noise of the others.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> blind_rates(4, 16, 0.01).round(3)
    array([104.259, 147.684])
    """
    K, p = checks.integer("heads", heads, 1), checks.integer("rank", rank, 1)
    e2 = float(checks.positive("eps_squared", eps_squared))
    return 0.5 * K * p * np.log1p(1 / (e2 * np.array([K, 1.0])))
