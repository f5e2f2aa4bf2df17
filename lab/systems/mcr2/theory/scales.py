r"""What rate reduction becomes for very large and very small distortion.

Second moments are ``S_k = Z_k^T Z_k / N_k`` (not centred), ``S = sum_k x_k S_k``; ``c = d/eps²``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.systems.mcr2.theory import domain

__all__ = ["between_class_variance", "rank_slope"]


def between_class_variance(Z, class_sizes: Sequence[int]) -> float:
    r"""Between-class variance of second moments: :math:`\sum_k x_k\|S_k-\bar S\|_F^2`.

    For large distortion rate reduction is this variance:

    .. math:: \Delta R=\tfrac{c^2}{4}\sum_k x_k\|S_k-\bar S\|_F^2+O(c^3)

    Parameters
    ----------
    Z : array, shape (N, d)
        Rows sorted by class.
    class_sizes : sequence of int
        (N_1, ..., N_K).

    Returns
    -------
    float
        In the fourth power of the units of Z.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> between_class_variance(np.array([[1.0, 0.0], [0.0, 1.0]]), (1, 1))
    0.5
    """
    n = domain.sizes(class_sizes)
    moments = np.stack([rows.T @ rows / len(rows) for rows in np.split(np.asarray(Z, dtype=float), np.cumsum(n)[:-1])])
    x = n / n.sum()
    centre = np.tensordot(x, moments, axes=1)
    return float(x @ np.sum((moments - centre) ** 2, axis=(-2, -1)))


def rank_slope(class_sizes: Sequence[int], ranks: Sequence[int], total_rank: int) -> float:
    r"""Growth of rate reduction as distortion vanishes: :math:`\mathrm{rank}\,Z-\sum_k x_k\,\mathrm{rank}\,Z_k`.

    .. math:: \lim_{\epsilon\to0}\frac{d\,\Delta R}{d\log(1/\epsilon)}

    `ranks` are those of the classes, `total_rank` that of all rows.

    Examples
    --------
    >>> rank_slope((3, 3), (2, 2), 4)
    2.0
    """
    n = domain.sizes(class_sizes)
    r = domain.ranks("ranks", ranks, n.size)
    return float(domain.integer("total_rank", total_rank, 0) - np.sum(n / n.sum() * r))
