r"""Recovery of k-sparse codes by basis pursuit: statistical dimension, and exact probabilities for Gaussian matrices.

Basis pursuit recovers a k-sparse code in R^p from m values of a Gaussian matrix unless the matrix's null space meets
the descent cone of the l1 norm there. The conic intrinsic volumes v_0, ..., v_p of that cone (a probability
distribution with mean the statistical dimension) say how often that happens.

References
----------
.. [1] arXiv:1303.6672, Amelunxen, Lotz, McCoy, Tropp (statistical dimension; kinematic formula).
.. [2] Vershik and Sporyshev 1992; Donoho and Tanner 2009 (angles of the cross-polytope).
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = [
    "first_order_transition", "half_recovery", "intrinsic_volumes", "recovery_probability", "statistical_dimension",
]  # fmt: skip

HALF_LINE, NODES = 200, 801


def statistical_dimension(nonzeros, p):
    r"""Statistical dimension of the descent cone of the l1 norm at a `nonzeros`-sparse point of R^p, to first order.

    .. math:: \delta = p\,\min_{\tau\ge0}\{\rho(1+\tau^2) + 2(1-\rho)[(1+\tau^2)Q(\tau) - \tau\varphi(\tau)]\},
              \quad \rho = k/p,

    Q the upper tail and phi the density of a standard normal. It exceeds the exact value by at most
    ``2 sqrt(p/k)``.

    Parameters
    ----------
    nonzeros : array_like, 0 <= k <= p
    p : int, > 0

    References
    ----------
    .. [1] arXiv:1303.6672, proposition 4.5 (columns there too: one signal).
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    p = checks.positive("p", p)
    rho = checks.checked("nonzeros", nonzeros, lambda v: (v >= 0) & (v <= p), f"must lie between 0 and p={p:g}") / p

    def one(r: float) -> float:
        if r == 0 or r == 1:
            return r

        def slope(tau: float) -> float:  # half the derivative: rho tau - 2 (1 - rho)(phi - tau Q)
            density, tail = np.exp(-(tau**2) / 2) / np.sqrt(2 * np.pi), ndtr(-tau)
            return r * tau - 2 * (1 - r) * (density - tau * tail)

        tau = brentq(slope, 0.0, 40.0, xtol=1e-14)
        density, tail = np.exp(-(tau**2) / 2) / np.sqrt(2 * np.pi), ndtr(-tau)
        return r * (1 + tau**2) + 2 * (1 - r) * ((1 + tau**2) * tail - tau * density)

    return (p * np.vectorize(one, otypes=[float])(rho))[()]


def first_order_transition(m, p):
    """The number of nonzeros (a real number) whose `statistical_dimension` is m, for ``0 < m < p``."""
    from scipy.optimize import brentq

    p = checks.integer("p", p, 2)
    m = float(checks.checked("m", m, lambda v: (v > 0) & (v < p), f"must lie strictly between 0 and p={p}"))
    return float(brentq(lambda k: statistical_dimension(k, p) - m, 0.0, p, xtol=1e-12))


def intrinsic_volumes(nonzeros: int, p: int) -> np.ndarray:
    r"""Conic intrinsic volumes ``v_0, ..., v_p`` of the descent cone of the l1 norm at a k-sparse point of R^p.

    With q = p - k, for l = 0..q (l coordinates off the support outside ``[-tau, tau]`` in the projection on the normal
    cone; K = k + l)

    .. math::

        v_{k-1+l} = \binom ql 2^l \int_0^\infty \varphi(x)\,\big(2\Phi(x/\sqrt K) - 1\big)^{q-l} dx \cdot
                    \int \varphi(z)\,\Phi(iz/\sqrt K)^l\,dz,

    the first integral an external, the second an internal angle, and ``v_p`` the rest. The second is taken along the
    line through its saddle point, where nothing cancels. Gauss-Bonnet (both parities sum to 1/2) is a check.

    Parameters
    ----------
    nonzeros : int, 1 <= k < p
    p : int
        Up to a few hundred.

    Returns
    -------
    array, shape (p + 1,)

    References
    ----------
    .. [1] Vershik and Sporyshev 1992 (the angles); form and contour derived for this laboratory, verified numerically.
    """
    from scipy.special import erf, gammaln, logsumexp

    p = checks.integer("p", p, 2)
    k = checks.integer("nonzeros", nonzeros, 1)
    if k >= p:
        raise OutOfDomain(f"nonzeros={k}: must be below p={p}")
    q, found = p - k, np.zeros(p + 1)
    x, weight = np.polynomial.legendre.leggauss(HALF_LINE)
    x, weight = 7 * (x + 1), 7 * weight  # [0, 14]
    for clipped in range(q + 1):
        K = k + clipped
        free = q - clipped
        inside = np.log(erf(x / np.sqrt(2 * K)))  # of 2 Phi - 1, accurate near 0
        outer = logsumexp(free * inside - x**2 / 2, b=weight) - 0.5 * np.log(2 * np.pi)
        count = gammaln(q + 1) - gammaln(clipped + 1) - gammaln(free + 1) + clipped * np.log(2)
        found[K - 1] = np.exp(count + outer + _log_inner(clipped, K))
    found[p] = max(0.0, 1 - found.sum())
    return found


def _log_inner(power: int, K: int) -> float:
    """Logarithm of the probability that `power` of K standard normals all exceed the mean of the K."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_ndtr, wofz

    if power == 0:
        return 0.0

    def height(c: float) -> float:
        return float(c**2 / 2 + power * log_ndtr(c / np.sqrt(K)))

    c = minimize_scalar(height, bounds=(-40.0 - 2 * np.sqrt(K), 0.0), method="bounded", options={"xatol": 1e-10}).x
    # on this line the integrand falls at least like exp(-(1 - power/K) t²/2)
    t = np.linspace(-1, 1, NODES) * 10 / np.sqrt(1 - power / K)
    w = (c + 1j * t) / np.sqrt(K)
    logs = power * (-(w**2) / 2 + np.log(0.5 * wofz(-1j * w / np.sqrt(2)))) - (t - 1j * c) ** 2 / 2
    top = height(c)
    return top + float(np.log(np.sum(np.exp(logs - top)).real * (t[1] - t[0]) / np.sqrt(2 * np.pi)))


def recovery_probability(m: int, p: int, nonzeros: int) -> float:
    r"""Probability that basis pursuit recovers a k-sparse code in R^p from m values of a Gaussian matrix: exact.

    .. math:: P = 1 - 2\,(v_{m+1} + v_{m+3} + \dots).

    References
    ----------
    .. [1] arXiv:1303.6672 (kinematic formula), with `intrinsic_volumes`.
    """
    m = checks.integer("m", m, 1)
    if checks.integer("nonzeros", nonzeros, 0) == 0:
        return 1.0
    if nonzeros >= p:
        return 1.0 if m >= p else 0.0
    return float(1 - 2 * intrinsic_volumes(nonzeros, p)[m + 1 :: 2].sum())


def half_recovery(m: int, p: int) -> float:
    """Where the exact probability falls through 1/2, linear between whole numbers of nonzeros."""
    k = int(first_order_transition(m, p))  # within one or two of the place
    here = recovery_probability(m, p, k)
    while here <= 0.5:
        k, here = k - 1, recovery_probability(m, p, k - 1)
    while (after := recovery_probability(m, p, k + 1)) > 0.5:
        k, here = k + 1, after
    return k + (here - 0.5) / (here - after)
