r"""Rate reduction of given features with shuffled labels: a floor that knows the spectrum of the features.

White noise has a closed-form floor (`random_features.null_rate_reduction`). Features whose energy sits in few
directions have another, usually lower one. What shuffling does is to give each class a random subset of the rows, so
its Gram matrix is a random compression of that of the whole, whose spectrum free probability knows.

Samples are rows, ``alpha = d/(N eps²)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain

__all__ = ["compressed_logdet", "shuffled_rate_reduction"]


def compressed_logdet(values, count: int, kept, scale):
    r"""Log-determinant of a random compression: :math:`E\log\det(I+s\,PAP)`, P keeping n of N random rows.

    A is a symmetric N x N matrix with eigenvalues `values` and zeros, in general position to the rows kept (orthogonal
    eigenvectors spread over all rows). With ``t = n/N`` and ``g(y) = (1/N) sum_i 1/(y + a_i)`` over all N eigenvalues,

    .. math:: n\log s+\sum_i\log(y+a_i)+(N-n)\log g(y)+n\log t,\qquad \frac1s=y-\frac{1-t}{g(y)},

    up to terms of order one (relative 1/d).

    Parameters
    ----------
    values : array_like, shape (m,), >= 0
        Eigenvalues of A other than zeros that are left out, m <= N.
    count : int
        N.
    kept, scale : array_like, shape (K,)
        n and s of each compression, 1 <= n <= N, s > 0.

    Returns
    -------
    array, shape (K,)
        Nats.

    Notes
    -----
    Free compression, R-transform :math:`R_t(z)=R(tz)`, integrated once. The equation for y is convex and vanishes at 0,
    so it has one positive root.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    References
    ----------
    .. [1] Nica and Speicher 2006, Lectures on the Combinatorics of Free Probability, lecture 14 (compressions).

    Examples
    --------
    Keeping all rows is exact:

    >>> round(float(compressed_logdet([1.0, 3.0], 5, [5], [2.0])[0]), 6), round(float(np.log(3 * 7)), 6)
    (3.044522, 3.044522)
    """
    a = np.atleast_1d(domain.non_negative("values", values))
    N = domain.integer("count", count, 1)
    n, s = np.atleast_1d(domain.sizes(kept, "kept")), np.atleast_1d(domain.positive("scale", scale))
    if a.size > N or np.any(n > N):
        raise OutOfDomain(f"count={N}: must be at least the {a.size} eigenvalues and every entry of kept={n.tolist()}")
    t, zeros = n / N, N - a.size

    def mean_inverse(y):
        return (zeros / y + np.sum(1 / (y[:, None] + a), axis=1)) / N

    # 1/s <= y, since g > 0; and y <= 1/s + (1-t)(y + max a), as 1/g is at most y + max a
    low, high = 1 / s, (1 / s + (1 - t) * a.max(initial=0.0)) / t
    for _ in range(200):
        y = 0.5 * (low + high)
        short = y - (1 - t) / mean_inverse(y) < 1 / s
        low, high = np.where(short, y, low), np.where(short, high, y)
        if np.all(high - low <= 4e-16 * high):
            break
    y = 0.5 * (low + high)
    # n log(s t) + N log y + (N-n) log g with g = (1 - deficit)/y, written so that large N cancels nothing
    deficit = np.sum(a / (y[:, None] + a), axis=1) / N
    return n * np.log(s * t * y) + np.sum(np.log1p(a / y[:, None]), axis=1) + (N - n) * np.log1p(-deficit)


def shuffled_rate_reduction(gram_values, class_sizes: Sequence[int], dim: int, *, eps: float) -> float:
    r"""Expected rate reduction of given features after their labels are shuffled.

    .. math:: \tfrac12\log\det(I+\alpha Z^\top Z)-\sum_k\tfrac{x_k}2E\log\det(I+\alpha_kZ_k^\top Z_k)

    with the class terms from `compressed_logdet`, up to order one. Features in general position only: a few rows that
    carry much of the energy break it.

    Parameters
    ----------
    gram_values : array_like, >= 0
        Eigenvalues of :math:`Z^\top Z`, in the squared units of the features; zeros may be left out.
    class_sizes : sequence of int
        (N_1, ..., N_K).
    dim : int
        Dimension d of the features.
    eps : float, > 0

    Returns
    -------
    float
        Nats, >= 0 up to rounding.

    Notes
    -----
    For white noise it agrees with `null_rate_reduction` up to the terms of order one, for a flat spectrum with the
    leading term of `whitened_null_rate_reduction` exactly. Rows that sit in few clusters or subspaces add to the terms
    of order one, once for each.
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    n = domain.sizes(class_sizes)
    N, a = int(n.sum()), np.atleast_1d(domain.non_negative("gram_values", gram_values))
    alpha = domain.gram_scale(N, dim, eps=eps)
    size, times = np.unique(n, return_counts=True)
    classes = compressed_logdet(a, N, size, alpha * N / size)
    return float(0.5 * np.sum(np.log1p(alpha * a)) - 0.5 * np.sum(times * size / N * classes))
