r"""Ratios of neighbour distances: order statistics of exponentials where balls grow as a power, quadrature elsewhere.

With ``F(t)`` the probability of a ball of radius t, the values :math:`u_j=F(T_j)` are uniform order statistics. Given
:math:`u_k=v`, the others are uniform on [0, v], so with the local exponent :math:`D(u)=d\ln F/d\ln t` at F = u

.. math:: E[m_k \mid v] = \frac1v\int_0^v \frac{du}{D(u)}, \qquad v \sim \mathrm{Beta}(k, N-k),

exactly, on any homogeneous space.
"""

from __future__ import annotations

import math

from lab import checks
from lab.errors import OutOfDomain

__all__ = ["chord_exponent", "chordal_log_ratio", "ratio_below", "wrap_probability"]

_NODES = 80


def ratio_below(x, j, k):
    r"""Probability that :math:`(T_j/T_k)^d<x`: the Beta(j, k - j) distribution function at x, for every N > k.

    Parameters
    ----------
    x : array_like in [0, 1]
    j, k : int
        Neighbours, 1 <= j < k.

    Examples
    --------
    >>> float(ratio_below(0.25, 1, 2))
    0.25
    """
    from scipy.special import betainc

    x, k = checks.fraction("x", x, open=False), checks.integer("k", k, 2)
    j = checks.integer("j", j, 1)
    if j >= k:
        raise OutOfDomain(f"j={j}: must be below k={k}")
    return betainc(j, k - j, x)[()]


def wrap_probability(n, k, d):
    """Probability that on the flat torus [0, 1)^d the k-th of n - 1 neighbours is 1/2 or more away.

    Below 1/2 a ball on the torus is a ball; the binomial law of the number of neighbours within 1/2.
    """
    n, k, d = checks.integer("n", n, 2), checks.integer("k", k, 1), checks.integer("d", d, 1)
    if k >= n:
        raise OutOfDomain(f"k={k}: must be below n={n}")
    ball = min(1.0, math.pi ** (d / 2) / math.gamma(d / 2 + 1) / 2**d)
    # few terms, without scipy: every point of the domain asks for it when it is made
    return sum(math.comb(n - 1, i) * ball**i * (1 - ball) ** (n - 1 - i) for i in range(k))


def chord_exponent(t, d):
    r"""Local exponent :math:`d\ln F/d\ln t` of chordal balls of radius t on the unit d-sphere.

    F is :math:`I_s(d/2,d/2)`, :math:`s=t^2/4`; the exponent is :math:`d-\frac{d(d-2)}{d+2}s+O(s^2)`, and exactly 2 for
    d = 2.

    Parameters
    ----------
    t : array_like in (0, 2)
    d : int, >= 1

    Examples
    --------
    >>> float(chord_exponent(1.9, 2))
    2.0
    """
    from scipy.special import beta, betainc

    d = checks.integer("d", d, 1)
    s = checks.checked("t", t, lambda v: (v > 0) & (v < 2), "must lie strictly between 0 and 2") ** 2 / 4
    density = s ** (d / 2 - 1) * (1 - s) ** (d / 2 - 1) / beta(d / 2, d / 2)
    return (2 * s * density / betainc(d / 2, d / 2, s))[()]


def chordal_log_ratio(n, k, d):
    r"""Mean of :math:`m_k` over n uniform points of the d-sphere with chordal distances; 1/2 for d = 2.

    The integral above is ``int_0^v du/D(u) = int_0^{s(v)} F(s)/(2 s) ds`` with ``s(v)`` the quantile of Beta(d/2, d/2);
    Gauss-Jacobi in v, Gauss-Legendre in :math:`(s/s(v))^{1/2}` (both to rounding). On the circle (d = 1) with k = 2 it
    is :math:`1-\pi^2/(6N(N+1))+O(N^{-4})`.

    Examples
    --------
    >>> round(float(chordal_log_ratio(12, 2, 1)), 6), round(float(chordal_log_ratio(20, 5, 2)), 12)
    (0.989354, 0.5)
    """
    from scipy.special import betainc, betaincinv, roots_jacobi, roots_legendre

    n, k, d = checks.integer("n", n, 3), checks.integer("k", k, 2), checks.integer("d", d, 1)
    if k >= n:
        raise OutOfDomain(f"k={k}: must be below n={n}")
    x, weight = roots_jacobi(_NODES, n - k - 1, k - 1)
    v, weight = (1 + x) / 2, weight / weight.sum()
    y, inner = roots_legendre(_NODES)
    y, inner = (1 + y) / 2, inner / 2
    top = betaincinv(d / 2, d / 2, v)[:, None]
    values = betainc(d / 2, d / 2, top * y**2) / y @ inner  # ds/(2 s) = dy/y for s = s(v) y²
    return float(weight @ (values / v))
