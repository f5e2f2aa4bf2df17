"""Agreement of two partitions of the same samples."""

from __future__ import annotations

import numpy as np

from lab.errors import InputError

__all__ = ["adjusted_rand_index"]


def adjusted_rand_index(labels, others) -> float:
    r"""Adjusted Rand index: share of pairs on which two partitions agree, less what chance gives, 1 for equal ones.

    .. math:: \frac{S - AB/P}{(A+B)/2 - AB/P}, \quad S = \sum_{ij}\binom{n_{ij}}2,\; A = \sum_i\binom{a_i}2,\;
              B = \sum_j\binom{b_j}2,\; P = \binom N2

    with the table of joint counts :math:`n_{ij}` and its margins. It is 0 in the mean over random relabellings with the
    same sizes, and may be negative.

    Parameters
    ----------
    labels, others : array_like of int, shape (N,)
        Names of the parts do not matter.

    Raises
    ------
    InputError
        If the shapes differ or there are no samples.

    References
    ----------
    .. [1] Hubert and Arabie 1985, Comparing partitions, equation 5.

    Examples
    --------
    >>> adjusted_rand_index([0, 0, 1, 1], [5, 5, 2, 2])
    1.0
    >>> round(adjusted_rand_index([0, 0, 1, 1], [0, 0, 1, 2]), 4)
    0.5714
    """
    one, two = np.asarray(labels), np.asarray(others)
    if one.ndim != 1 or one.shape != two.shape or not one.size:
        raise InputError(f"labels of shape {one.shape} and {two.shape} must be two equally long lists of labels")
    _, first = np.unique(one, return_inverse=True)
    _, second = np.unique(two, return_inverse=True)
    table = np.bincount(first * (second.max() + 1) + second, minlength=(first.max() + 1) * (second.max() + 1))
    table = table.reshape(first.max() + 1, -1)
    pairs, rows, columns = (int(np.sum(n * (n - 1) // 2)) for n in (table, table.sum(1), table.sum(0)))
    total = one.size * (one.size - 1) // 2
    # whole numbers: equal partitions give exactly 1, and two partitions without any pair, or of one part each, agree
    top, bottom = 2 * (total * pairs - rows * columns), total * (rows + columns) - 2 * rows * columns
    return 1.0 if bottom == 0 else top / bottom
