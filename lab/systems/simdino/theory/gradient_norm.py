r"""How large the gradient of the coding rate can be, and the weight gamma that balances it.

:math:`\nabla_Z R = \alpha Z(I+\alpha Z^\top Z)^{-1}` with alpha = c/N, c = dim/eps². In reduced squared singular values
u = alpha s² its squared Frobenius norm is :math:`\alpha\sum_i u_i/(1+u_i)^2`, and unit rows fix :math:`\sum u_i = c`.
"""

from __future__ import annotations

import math

import numpy as np

from lab.systems.simdino.theory import domain

__all__ = [
    "balancing_weight",
    "gradient_norm_bounds",
    "largest_unit_gradient_norm",
    "unit_gradient_norm_bound",
]


def gradient_norm_bounds(n: int, dim: int, *, eps: float) -> tuple[float, float]:
    r"""Largest operator and Frobenius norm of the gradient: :math:`\tfrac12\sqrt\alpha, \tfrac12\sqrt{\alpha q}`.

    For any features of shape (n, dim), ``q = min(n, dim)``. Both attained where every alpha s² is 1 (the first by one
    of them).

    References
    ----------
    .. [1] arXiv:2502.10385, the theorem on the gradient norm (there for the Frobenius norm).

    Examples
    --------
    >>> [round(b, 6) for b in gradient_norm_bounds(30, 6, eps=2.0)]
    [0.111803, 0.273861]
    """
    alpha, q = _scale(n, dim, eps)
    return 0.5 * math.sqrt(alpha), 0.5 * math.sqrt(alpha * q)


def unit_gradient_norm_bound(n: int, dim: int, *, eps: float) -> float:
    r"""Bound on the Frobenius norm for unit rows: :math:`\sqrt{\alpha q\,w/(1+w)^2}`, ``w = min(c/q, 1)``.

    Attained for c <= q by equal singular values; for c > q missed by at most a factor :math:`\sqrt{(q-1)/q}`.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(unit_gradient_norm_bound(30, 6, eps=2.0), 6)
    0.219089
    """
    alpha, q = _scale(n, dim, eps)
    w = min(alpha * n / q, 1.0)
    return math.sqrt(alpha * q * w) / (1 + w)


def largest_unit_gradient_norm(n: int, dim: int, *, eps: float) -> float:
    r"""Supremum of the Frobenius norm over unit rows, exactly.

    :math:`\max \alpha\sum_{i\le q} g(u_i)` over u >= 0 of sum c, with :math:`g(u)=u/(1+u)^2`. Every such spectrum
    belongs to unit rows (Schur-Horn). g is concave up to u = 2 and convex beyond, so q - 1 values are equal to some a
    and the last is b = c - (q-1) a: all equal for c <= q, and else either all equal or one large value that takes up
    the excess, with :math:`g'(a)=g'(b)`, 1 < a < c/q.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Parameters
    ----------
    n, dim : int
    eps : float, > 0

    Returns
    -------
    float

    Examples
    --------
    >>> round(largest_unit_gradient_norm(30, 6, eps=0.5), 5)
    1.01886
    """
    alpha, q = _scale(n, dim, eps)
    c = alpha * n
    equal = c / q
    if c <= q or q == 1:
        return math.sqrt(alpha * q * equal) / (1 + equal)

    def total(a):
        return (q - 1) * _gain(a) + _gain(c - (q - 1) * a)

    grid = np.linspace(1.0, equal, 4001)
    best = int(np.argmax(total(grid)))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    for _ in range(60):  # golden section: the value is stationary, half the digits of a suffice
        span = (high - low) * 0.5 * (math.sqrt(5) - 1)
        left, right = high - span, low + span
        low, high = (low, right) if total(left) > total(right) else (left, high)
    return math.sqrt(alpha * max(float(total(0.5 * (low + high))), float(total(equal))))


def balancing_weight(n: int, dim: int, *, eps: float) -> float:
    r"""The gamma at which the largest gradient of the rate has norm one: :math:`2\epsilon\sqrt{n/(d\min(d,n))}`.

    The commented-out choice of the public code, :math:`\epsilon\sqrt n/d`, agrees up to the factor 2 for n >= d; its
    default (d+n)/(dn) does not scale like it.

    Examples
    --------
    >>> round(balancing_weight(64, 16, eps=0.5), 6)
    0.5
    """
    return 1 / gradient_norm_bounds(n, dim, eps=eps)[1]


def _gain(u):
    return u / (1 + u) ** 2


def _scale(n: int, dim: int, eps: float) -> tuple[float, int]:
    """(alpha, q)."""
    n = domain.integer("n", n, 1)
    return float(domain.coding_scale(dim, eps)) / n, min(n, dim)
