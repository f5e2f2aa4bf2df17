r"""Extremes of coding rates: which spectra of unit rows reach them, and which labels of given features.

The two ends of the rate of unit rows are `rates.rate_bounds_unit_norm`. Samples are rows, ``c = d/eps²``; reduced
eigenvalues are ``u = alpha sigma²`` with ``alpha = c/N``, so unit rows have ``sum u = c``.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain

__all__ = ["Assignment", "best_assignment", "extreme_spectrum", "spectrum_error"]

_MOST_LABELS = 2_000_000


def extreme_spectrum(n: int, dim: int, end: Literal["most", "least"], *, eps: float) -> np.ndarray:
    """Reduced eigenvalues (q,), descending, of n unit rows of largest or least coding rate; ``q = min(n, dim)``.

    All equal to c/q at the largest rate (a tight frame for n >= dim, orthogonal rows below), c and zeros at the least
    (all rows on one line).

    Examples
    --------
    >>> extreme_spectrum(6, 2, "most", eps=1.0), extreme_spectrum(6, 2, "least", eps=1.0)
    (array([1., 1.]), array([2., 0.]))
    """
    q = min(domain.integer("n", n, 1), domain.integer("dim", dim, 1))
    c = dim / float(domain.positive("eps", eps)) ** 2
    if end not in ("most", "least"):
        raise OutOfDomain(f"end={end!r}: must be 'most' or 'least'")
    return np.full(q, c / q) if end == "most" else c * (np.arange(q) == 0)


def spectrum_error(gap, n: int, dim: int, end: Literal["most", "least"], *, eps: float):
    r"""How far the spectrum can be from `extreme_spectrum` if the rate is within `gap` of that end.

    .. math:: |u_i-w|\le(1+w)\Bigl(\tfrac43\delta+\sqrt{(\tfrac43\delta)^2+4\delta}\Bigr),\; w=\tfrac cq,
              \qquad c-u_1\le\tfrac{2(1+c)}{c}\,(e^{2\delta}-1)

    for a gap of delta nats below the largest (left) and above the least rate (right, if at most c/2).

    Parameters
    ----------
    gap : array_like, >= 0
        Distance of the rate from the end, in nats.
    n, dim, end, eps
        As in `extreme_spectrum`.

    Returns
    -------
    array
        Bound of the largest deviation of a reduced eigenvalue; infinite where the right-hand bound says nothing.

    Notes
    -----
    Left: with :math:`t_i=(u_i-w)/(1+w)`, :math:`\sum t_i=0`, the gap is :math:`\tfrac12\sum[t_i-\log(1+t_i)]`, and
    :math:`t-\log(1+t)\ge t^2/(2+\tfrac43\max(t,0))`. Right: :math:`\prod(1+u_i)\ge1+c+u_1(c-u_1)`.
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    gap = domain.non_negative("gap", gap)
    u = extreme_spectrum(n, dim, end, eps=eps)
    if end == "most":
        return ((1 + u[0]) * (4 / 3 * gap + np.sqrt((4 / 3 * gap) ** 2 + 4 * gap)))[()]
    rest = 2 * (1 + u[0]) / u[0] * np.expm1(2 * gap)
    return np.where(rest <= u[0] / 2, rest, np.inf)[()]


class Assignment(NamedTuple):
    """Labels (N,), numbered in order of appearance, and their rate reduction in nats."""

    value: float
    labels: np.ndarray


def best_assignment(Z, classes: int, *, eps: float, balanced: bool = False) -> Assignment:
    r"""Labels of largest rate reduction among all ``K^N`` assignments of N rows to at most K classes, by enumeration.

    Rate reduction is convex in a soft membership, so no soft membership does better.

    Parameters
    ----------
    Z : array, shape (N, d)
        Features.
    classes : int
        K; classes may stay empty.
    eps : float, > 0
    balanced : bool
        Only assignments whose class sizes differ by at most one.

    Returns
    -------
    Assignment

    Raises
    ------
    OutOfDomain
        If there are more than two million assignments to try.

    Notes
    -----
    The rate of each of the 2^N subsets is computed once. The labels are unique up to renaming, ties aside.

    References
    ----------
    .. [1] arXiv:2006.08558, Yu et al. 2020: concavity of the class rate in the membership.

    Examples
    --------
    >>> best_assignment([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]], 2, eps=1.0).labels
    array([0, 1, 0])
    """
    Z = np.asarray(Z, dtype=float)
    if Z.ndim != 2 or not np.all(np.isfinite(Z)):
        raise OutOfDomain(f"Z has shape {Z.shape}: must be finite features (N, d), one row per sample")
    (n, d), k = Z.shape, domain.integer("classes", classes, 1)
    if k ** (n - 1) > _MOST_LABELS or 2**n > _MOST_LABELS:
        raise OutOfDomain(f"Z has {n} rows: {k}^{n} assignments are too many to enumerate; pass fewer rows or classes")
    c = d / float(domain.positive("eps", eps)) ** 2
    member = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    size = member.sum(axis=1)
    grams = (member @ (Z[:, :, None] * Z[:, None, :]).reshape(n, d * d)).reshape(-1, d, d)
    cost = size / (2 * n) * np.linalg.slogdet(np.eye(d) + (c / np.maximum(size, 1))[:, None, None] * grams)[1]
    # the first row is in class 0; base-k digits are the labels of the others
    digits = np.arange(k ** (n - 1))[:, None] // k ** np.arange(n - 1) % k
    labels = np.concatenate([np.zeros((len(digits), 1), dtype=int), digits], axis=1)
    sets = np.stack([(labels == j) @ (1 << np.arange(n)) for j in range(k)], axis=1)
    total = cost[sets].sum(axis=1)
    if balanced:
        total = np.where(np.ptp(size[sets], axis=1) <= 1, total, np.inf)
    best = int(np.argmin(total))
    whole = cost[-1]
    first = np.unique(labels[best], return_index=True)[1]
    order = {int(labels[best][i]): j for j, i in enumerate(np.sort(first))}
    return Assignment(float(whole - total[best]), np.array([order[int(j)] for j in labels[best]]))
