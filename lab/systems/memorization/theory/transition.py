r"""When trained mixture models memorise: fitted width, share of copies among generated samples, critical model size.

A model of M = m N means started from M training points is trained on all N. Under hard assignment each left-out point
joins its nearest mean; the shared variance settles at the mean squared residual, whatever the loss weight. A generated
sample is then a mean plus noise of that variance, and it counts as a copy if the mean has moved off its training point
for no one (nobody joined it) and the noise is small compared with the distance to the next training point.
All derived for this laboratory, verified numerically; not found in arXiv:2508.17689.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.systems.memorization.theory.quadrature import chi_square_nodes, noncentral_cdf, noncentral_nodes

__all__ = ["copy_probability", "critical_size", "critical_size_leading", "fitted_variance", "memorization_curve",
           "nearest_constant", "plateau_loss"]  # fmt: skip


def nearest_constant(d: int, count: float) -> float:
    r"""Squared distance to the nearest of `count` other points, per coordinate and unit variance.

    For x and the points standard normal in d dimensions,

    .. math:: C_\infty(d,n)=\frac1d\,E_r\int_0^\infty P(\chi'^2_d(r^2)>t)^n\,dt,\qquad r^2\sim\chi^2_d .

    Parameters
    ----------
    d : int, >= 1
    count : float, > 0
        n, need not be whole: the size of a cluster is an average.

    Returns
    -------
    float
        2 at n = 1, decreasing in n, towards 2 as d grows at fixed n.

    Examples
    --------
    >>> round(nearest_constant(30, 13), 4)
    1.3217
    """
    return _nearest_constant(checks.integer("d", d, 1), float(checks.positive("count", count)))


@lru_cache(maxsize=4096)
def _nearest_constant(d: int, count: float) -> float:
    radius, weight = chi_square_nodes(d, 60)
    # distances are within nine of their typical size: a noncentral chi variable is at most one wide
    typical = np.sqrt(d + radius)
    low, high = np.maximum(typical - 9, 0), typical + 9
    node, share = np.polynomial.legendre.leggauss(160)
    distance = low[:, None] + (high - low)[:, None] * (node + 1) / 2
    above = 1 - noncentral_cdf(distance**2, d, radius[:, None])
    integral = (high - low) / 2 * np.sum(share * 2 * distance * above**count, axis=1)  # E min = int P(min > t) dt
    return float(weight @ (low**2 + integral) / d)


def fitted_variance(m, d: int, K: int, N: int, *, v: float = 1.0):
    r"""Variance that the trained model settles at: :math:`u(m)=v(1-m)\,C_\infty(d,mN/K)/2`.

    Each of the (1-m)N left-out points joins its nearest mean, and the centroid of the pair halves the squared distance.

    Parameters
    ----------
    m : array_like, in (0, 1]
        Model size over number of training points; the picture needs m >= .5.
    d, K, N : int
        Dimension, clusters, training points.
    v : float, > 0
        Variance of a cluster.

    Returns
    -------
    array
        In the units of v. As d grows it tends to v (1-m).
    """
    m = checks.checked("m", m, lambda x: (x > 0) & (x <= 1), "model sizes per training point lie in (0, 1]")
    K, N, v = checks.integer("K", K, 1), checks.integer("N", N, 2), float(checks.positive("v", v))
    constants = np.vectorize(lambda one: nearest_constant(d, one * N / K), otypes=[float])(m)
    return (v * (1 - m) * constants / 2)[()]


def plateau_loss(u, d: int, psi):
    r"""x0-loss of a mixture whose residual variance is u, at its best width: :math:`d\,u/(1+\psi u)`.

    With residual u and width w the hard-assignment loss is :math:`d(u+\psi w^2)/(1+\psi w)^2`, least at w = u for
    every signal-to-noise ratio psi, hence for every weighting of the noise levels.
    """
    u, psi = checks.non_negative("u", u), checks.non_negative("psi", psi)
    return (checks.integer("d", d, 1) * u / (1 + psi * u))[()]


def copy_probability(u: float, d: int, others: float, *, threshold: float = 1 / 9, v: float = 1.0) -> float:
    r"""Probability that a training point plus noise of variance u counts as its copy.

    .. math:: P\bigl(|e|^2\le c\min_j|x_i+e-x_j|^2\bigr)
              =E_w\,E_{q|w}\,P\bigl(\chi'^2_d(|w|^2/v)>q/(cv)\bigr)^n,\quad e\sim N(0,uI)

    with w = x_i + e - center, :math:`|w|^2\sim(u+v)\chi^2_d` and, given w, :math:`q=|e|^2\sim\tau\chi'^2_d` of shift
    :math:`(u/(u+v))^2|w|^2/\tau`, :math:`\tau=uv/(u+v)`.

    Parameters
    ----------
    u : float, >= 0
        Variance of the noise.
    d : int
    others : float, >= 0
        n, number of other training points in the cluster (N/K - 1).
    threshold : float, in (0, 1)
        c, on squared distances.
    v : float, > 0
        Variance of the cluster.
    """
    c, v = float(checks.fraction("threshold", threshold)), float(checks.positive("v", v))
    u, n = float(checks.non_negative("u", u)), float(checks.non_negative("others", others))
    return _copy_probability(u / v, checks.integer("d", d, 1), n, c)


@lru_cache(maxsize=4096)
def _copy_probability(u: float, d: int, n: float, c: float) -> float:
    if u < 1e-12:
        return 1.0
    chi, outer = chi_square_nodes(d, 48)
    squares = (1 + u) * chi
    tau = u / (1 + u)
    q, inner = noncentral_nodes(d, (u / (1 + u)) ** 2 * squares / tau, 64)
    above = 1 - noncentral_cdf(tau * q / c, d, squares[:, None])
    return float(outer @ np.sum(inner * above**n, axis=1))


def memorization_curve(m, d: int, K: int, N: int, *, threshold: float = 1 / 9, v: float = 1.0):
    r"""Share of copies among samples of a trained model of size m N: :math:`e^{-(1-m)/m}\,P_c(d, N/K-1, u(m))`.

    The first factor is the share of means that no left-out point has joined, the second `copy_probability` at
    `fitted_variance`.

    Parameters
    ----------
    m : array_like, in (0, 1]
    d, K, N : int
        Dimension, clusters, training points.
    threshold : float, in (0, 1)
        c of the criterion, on squared distances.
    v : float, > 0
        Variance of a cluster.

    Notes
    -----
    For models started from training points and trained until their width has settled, d >= 10, N/K >= 4,
    .5 <= v <= 2, c from 1/36 to 1/4.
    """
    u = np.asarray(fitted_variance(m, d, K, N, v=v))
    m = np.asarray(m, dtype=float)
    copies = np.vectorize(lambda one: copy_probability(one, d, N / K - 1, threshold=threshold, v=v), otypes=[float])
    return (np.exp(-(1 - m) / m) * copies(u))[()]


def critical_size(d: int, K: int, N: int, *, threshold: float = 1 / 9, v: float = 1.0, share: float = 0.5) -> float:
    """Model size, as a fraction of N, at which `share` of the generated samples are copies.

    Examples
    --------
    >>> round(critical_size(30, 3, 50), 3)
    0.791
    """
    from scipy.optimize import brentq

    share = float(checks.fraction("share", share))

    def excess(m: float) -> float:
        return float(memorization_curve(m, d, K, N, threshold=threshold, v=v)) - share

    low, high = max(1.5 * K / N, 0.02), 1.0
    if low >= high or excess(low) > 0:
        raise OutOfDomain(
            f"d={d}, K={K}, N={N}, threshold={threshold}: models of {low:.2g} N means already give more than {share} "
            "copies; the formula needs several points in a cluster, take N/K >= 4"
        )
    return float(brentq(excess, low, high, xtol=1e-6))


def critical_size_leading(threshold: float = 1 / 9) -> float:
    r"""`critical_size` as d grows: :math:`\max\bigl(1-\tfrac{2c}{1-c},\,\tfrac1{1+\log2}\bigr)`, whatever N, K, v.

    Examples
    --------
    >>> critical_size_leading(1 / 9)
    0.75
    """
    c = float(checks.fraction("threshold", threshold))
    return max(1 - 2 * c / (1 - c), 1 / (1 + np.log(2)))
