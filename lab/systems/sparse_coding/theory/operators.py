r"""The convolutional dictionary: operator norm, mutual coherence and its Welch bound, columns of a support.

Filters d_m have shape (M, C, n) and unit norm; the dictionary's columns are all their circular shifts on a circle of N.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = ["coherence", "columns", "operator_norm", "welch_bound"]


def operator_norm(filters, length: int) -> float:
    r"""Squared spectral norm L of the dictionary: :math:`\max_\omega \sigma_{\max}(\hat D(\omega))^2`.

    ``D^(omega)`` is the C x M matrix of the filters' Fourier sums at ``omega = 2 pi j/N``. With zero padding instead of
    the circle L is at most that of a circle of ``N + n - 1``, of which the padded dictionary is a part.

    Parameters
    ----------
    filters : array_like, shape (M, C, n)
    length : int, N >= n

    Examples
    --------
    >>> round(operator_norm([[[1.0, 1.0]]], 6), 12)
    4.0
    """
    d = _filters(filters)
    N = checks.integer("length", length, d.shape[2])
    j, t = np.arange(N // 2 + 1)[:, None], np.arange(d.shape[2])
    waves = np.exp(-2j * np.pi * ((j * t) % N) / N)
    return float(np.max(np.linalg.svd(np.einsum("jt,mct->jcm", waves, d), compute_uv=False)) ** 2)


def coherence(filters) -> float:
    """Mutual coherence mu of the dictionary on circles of at least ``2n - 1``: there it does not depend on the circle.

    The largest ``|<d_a, d_b shifted by j>|`` over filters a, b and shifts ``|j| < n``, a filter with itself unshifted
    left out.

    Parameters
    ----------
    filters : array_like, shape (M, C, n)
        Of unit norm.
    """
    d = _filters(filters)
    size, worst = d.shape[2], 0.0
    for shift in range(size):
        gram = np.abs(np.einsum("act,bct->ab", d[..., shift:], d[..., : size - shift]))
        if shift == 0:
            np.fill_diagonal(gram, 0.0)
        worst = max(worst, float(gram.max()))
    return worst


def welch_bound(count: int, size: int, channels: int = 1) -> float:
    r"""Least possible coherence of M filters of length n: :math:`\sqrt{(M-C)/(C(M(2n-1)-1))}`, 0 for ``M <= C``.

    The Gram matrix of the MN columns has trace MN and rank at most CN, hence a mean squared column norm of at least
    M/C, and at most ``M(2n-1) - 1`` entries of a column besides 1 are not zero.

    References
    ----------
    .. [1] arXiv:1707.06066, section on mutual coherence, for one channel. Several channels: derived for this
       laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(welch_bound(2, 2) ** 2, 12)
    0.2
    """
    M, n = checks.integer("count", count, 1), checks.integer("size", size, 1)
    C = checks.integer("channels", channels, 1)
    return float(np.sqrt((M - C) / (C * (M * (2 * n - 1) - 1)))) if M > C else 0.0


def columns(filters, places, length: int) -> np.ndarray:
    """Columns (C N, |S|) of the dictionary at flat `places` ``m N + k``: filter m shifted by k."""
    d = _filters(filters)
    N = checks.integer("length", length, d.shape[2])
    padded = np.concatenate([d, np.zeros((*d.shape[:2], N - d.shape[2]))], axis=2)
    found = [np.roll(padded[place // N], place % N, axis=1).ravel() for place in np.asarray(places)]
    return np.stack(found, axis=1) if found else np.zeros((d.shape[1] * N, 0))


def _filters(filters) -> np.ndarray:
    d = np.asarray(filters, dtype=float)
    if d.ndim != 3:
        raise OutOfDomain(f"filters of shape {d.shape}: must be (M, C, n), M filters of length n in C channels")
    return d
