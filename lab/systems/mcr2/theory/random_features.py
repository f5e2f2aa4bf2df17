r"""Coding rates of random samples: bias of a finite sample, and the rate reduction of features that know no labels.

Samples are rows, ``c = d/eps²``. Second moments are not centred; all features here have mean zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain

__all__ = [
    "finite_sample_bias",
    "finite_sample_variance",
    "marchenko_pastur_rate",
    "marchenko_pastur_resolvent",
    "null_rate_reduction",
    "null_rate_reduction_variance",
    "population_rate",
]

Variance = float | Literal["unit sphere"] | None


# ---------------------------------------------------------------------- few dimensions, many samples


def _shrinkage(covariance, eps: float) -> tuple[np.ndarray, float]:
    """Eigenvalues of T = (I + c Sigma)^-1 Sigma, and c."""
    sigma = np.asarray(covariance, dtype=float)
    if sigma.ndim != 2 or sigma.shape[0] != sigma.shape[1]:
        raise OutOfDomain(f"covariance has shape {sigma.shape}: must be (d, d), one row and column a coordinate")
    values = np.linalg.eigvalsh(0.5 * (sigma + sigma.T))
    if not np.all(np.isfinite(sigma)) or values[0] < -1e-12 * max(abs(values[-1]), np.finfo(float).tiny):
        raise OutOfDomain(f"covariance has eigenvalue {values[0]:.3g}: must be positive semi-definite; symmetrise")
    c = len(sigma) / float(domain.positive("eps", eps)) ** 2
    values = np.maximum(values, 0)
    return values / (1 + c * values), c


def population_rate(covariance, *, eps: float) -> float:
    r"""Coding rate of infinitely many samples: :math:`\tfrac12\log\det(I+c\Sigma)`, ``c = d/eps²``, in nats.

    `covariance` is the second moment Sigma, shape (d, d).

    Examples
    --------
    >>> round(population_rate(np.eye(2), eps=1.0), 6)
    1.098612
    """
    shrunk, c = _shrinkage(covariance, eps)
    return float(-0.5 * np.sum(np.log1p(-c * shrunk)))


def finite_sample_bias(covariance, n: int, *, eps: float) -> float:
    r"""How much `n` Gaussian samples underestimate the coding rate, to leading order in 1/n.

    .. math:: E\,R(Z)-\tfrac12\log\det(I+c\Sigma) = -\frac{c^2}{4n}\bigl[(\mathrm{tr}\,T)^2+\mathrm{tr}\,T^2\bigr]
              + O(n^{-2}),\qquad T=(I+c\Sigma)^{-1}\Sigma

    Parameters
    ----------
    covariance : array, shape (d, d)
        Sigma, in the squared units of `eps`.
    n : int
        Number of independent samples ``z ~ N(0, Sigma)``; the expansion needs ``n >> d``.
    eps : float, > 0
        Distortion.

    Returns
    -------
    float
        Nats, negative.

    Notes
    -----
    For other laws of z the bracket is :math:`E(z^\top Az)^2-\mathrm{tr}\,T^2` with :math:`A=(I+c\Sigma)^{-1}`: heavy
    tails increase the bias.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> finite_sample_bias(np.eye(2), 100, eps=1.0)
    -0.006666666666666666
    """
    shrunk, c = _shrinkage(covariance, eps)
    return float(-(c**2) / (4 * domain.integer("n", n, 1)) * (shrunk.sum() ** 2 + np.sum(shrunk**2)))


def finite_sample_variance(covariance, n: int, *, eps: float) -> float:
    r"""Variance of the coding rate of `n` Gaussian samples: :math:`\frac{c^2}{2n}\mathrm{tr}\,T^2+o(1/n)`, in nats².

    Arguments and T as in `finite_sample_bias`. For other laws of z it is :math:`(c^2/4n)\mathrm{Var}(z^\top Az)`.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> finite_sample_variance(np.eye(2), 100, eps=1.0)
    0.0044444444444444444
    """
    shrunk, c = _shrinkage(covariance, eps)
    return float(c**2 / (2 * domain.integer("n", n, 1)) * np.sum(shrunk**2))


# ---------------------------------------------------------------------- many dimensions, as many samples


def marchenko_pastur_resolvent(snr, ratio):
    r"""Deficit :math:`q = 1-\lim\tfrac1d\mathrm{tr}(I+s S)^{-1}` of white noise, in (0, 1).

    S is the sample second moment of n = d/ratio vectors of d independent coordinates of unit variance, s = `snr`.

    .. math:: q = \frac{2s}{1+s+\beta s+\sqrt{(1+s(1+\sqrt\beta)^2)(1+s(1-\sqrt\beta)^2)}},\qquad \beta=\text{ratio}

    Written without subtractions; the Verdu-Shamai function is :math:`\mathcal F(s,\beta)=4\beta s q`.

    Examples
    --------
    >>> round(float(marchenko_pastur_resolvent(1.0, 1.0)), 6)
    0.381966
    """
    s, beta = domain.positive("snr", snr), domain.positive("ratio", ratio)
    root = np.sqrt((1 + s * (1 + np.sqrt(beta)) ** 2) * (1 + s * (1 - np.sqrt(beta)) ** 2))
    return (2 * s / (1 + s + beta * s + root))[()]


def _remainder(s, beta, q):
    """m = 1 - q and its logarithm, also where q is near 1: the positive root of beta s m² + (1 + s - beta s) m = 1."""
    middle = 1 + s - beta * s
    root = np.sqrt(middle**2 + 4 * beta * s)
    stable = np.where(middle >= 0, 2 / (np.abs(middle) + root), (np.abs(middle) + root) / (2 * beta * s))
    return np.where(q < 0.5, 1 - q, stable), np.where(q < 0.5, np.log1p(-np.minimum(q, 0.5)), np.log(stable))


def marchenko_pastur_rate(snr, ratio):
    r"""Twice the coding rate of white noise per dimension, in the limit of many dimensions and samples.

    .. math:: V(s,\beta)=\lim\tfrac1d\log\det(I+sS)
              =\log(1+s-\tfrac14\mathcal F)+\tfrac1\beta\log(1+s\beta-\tfrac14\mathcal F)-\frac{\mathcal F}{4\beta s},
              \quad \mathcal F=\bigl(\sqrt{s(1+\sqrt\beta)^2+1}-\sqrt{s(1-\sqrt\beta)^2+1}\bigr)^2

    Parameters
    ----------
    snr : array_like, > 0
        ``s = c v``: c = d/eps² times the variance v of a coordinate.
    ratio : array_like, > 0
        ``beta = d/n``, dimensions over samples.

    Returns
    -------
    array
        Nats per dimension; ``R = (d/2) V`` to leading order, `log(1+s)` as beta -> 0.

    References
    ----------
    .. [1] arXiv:cs/9810002, Verdu and Shamai 1999, spectral efficiency of the optimal receiver.

    Examples
    --------
    >>> round(float(marchenko_pastur_rate(1.0, 1.0)), 6)
    0.580458
    """
    s, beta = domain.positive("snr", snr), domain.positive("ratio", ratio)
    q = marchenko_pastur_resolvent(s, beta)
    m, log_m = _remainder(s, beta, q)
    # with m = 1 - q: 1+s-F/4 = 1/m and 1+s beta-F/4 = 1 + beta s m; the last term is never the small one
    return (np.log1p(beta * s * m) / beta - (log_m + q))[()]


class Null(NamedTuple):
    """What the null formulas share: snr, d/N, class fractions, fourth cumulant, deficits of whole and classes."""

    snr: float
    ratio: float
    x: np.ndarray
    kurtosis: float
    whole: float
    classes: np.ndarray


def read_null(dim: int, class_sizes: Sequence[int], eps: float, variance: Variance, kurtosis: float = 0.0) -> Null:
    dim, n = domain.integer("dim", dim, 1), domain.sizes(class_sizes)
    if isinstance(variance, str):
        if variance != "unit sphere":
            raise OutOfDomain(f"variance={variance!r}: must be a number or 'unit sphere'")
        if kurtosis != 0:
            raise OutOfDomain(f"kurtosis={kurtosis!r}: rows on the unit sphere have their own (-2); leave it out")
        variance, kurtosis = 1 / dim, -2.0
    least = "excess kurtosis must be at least -2 (that of a sign)"
    kurtosis = float(domain.checked("kurtosis", kurtosis, lambda v: (v >= -2) & np.isfinite(v), least))
    unit = float(domain.positive("variance", 1.0 if variance is None else variance))
    snr = dim / float(domain.positive("eps", eps)) ** 2 * unit
    ratio = float(dim / n.sum())
    whole, classes = float(marchenko_pastur_resolvent(snr, ratio)), marchenko_pastur_resolvent(snr, dim / n)
    return Null(snr, ratio, n / n.sum(), kurtosis, whole, classes)


def null_rate_reduction(
    dim: int, class_sizes: Sequence[int], *, eps: float, variance: Variance = None, kurtosis: float = 0.0,
    correction: bool = True,
) -> float:  # fmt: skip
    r"""Rate reduction that pure noise is expected to have: the floor above which features know something of the labels.

    .. math:: E\,\Delta R=\frac d2\Bigl[V(s,\beta)-\sum_k x_kV(s,\beta/x_k)\Bigr]
              + b(g(s,\beta))-\sum_k x_k\,b(g(s,\beta/x_k)) + O(1/d)

    with ``s = c v``, ``beta = d/N``, V as in `marchenko_pastur_rate`, :math:`g=\beta q^2`, q as in
    `marchenko_pastur_resolvent`, and :math:`b(g)=\tfrac14\log(1-g)-\tfrac{\kappa}{4}g`. The first bracket grows like
    d; the rest is of order one and is left out with ``correction=False``.

    Parameters
    ----------
    dim : int
        Dimension d of the features.
    class_sizes : sequence of int
        (N_1, ..., N_K); labels that do not depend on the features, or any split of the rows.
    eps : float, > 0
        Distortion (not its square), in the units of the features.
    variance : float, "unit sphere" or None
        Second moment of each coordinate (features are not centred); None is 1. For features Z of any scale pass
        ``np.mean(Z**2)``. "unit sphere": rows uniform on the unit sphere, which sets variance 1/d and kurtosis -2; it
        is also the reference for features normalised row by row.
    kurtosis : float, >= -2
        Excess kurtosis of a coordinate: 0 Gaussian, -2 random signs, -1.2 uniform. Enters the correction only.
    correction : bool
        Whether to add the terms of order one.

    Returns
    -------
    float
        Nats, for independent coordinates (or rows on the sphere). The spread around it is
        `null_rate_reduction_variance`.

    Notes
    -----
    The leading term is universal: it needs the second moment of the coordinates only. Correlated or anisotropic
    features have another floor (a lower one, for N >> d); so have features whose sample second moment is flatter than
    that of noise, such as trained ones (`whitened_null_rate_reduction`, a higher one). As a difference of rates it
    keeps about ``1e-16/(s beta)`` relative precision for small s.
    The floor is the formula of [1] for whole and classes; its use here and the terms of order one were derived for this
    laboratory, verified numerically; not found in the cited papers.

    References
    ----------
    .. [1] arXiv:cs/9810002, Verdu and Shamai 1999.

    Examples
    --------
    Unit rows in eight balanced classes, eps² = 0.5: about 0.16 nats per dimension from nothing.

    >>> round(null_rate_reduction(64, [32] * 8, eps=0.5**0.5, variance="unit sphere"), 3)
    10.274
    """
    null = read_null(dim, class_sizes, eps, variance, kurtosis)
    rate = partial(marchenko_pastur_rate, null.snr)
    floor = 0.5 * dim * float(rate(null.ratio) - null.x @ rate(null.ratio / null.x))
    if not correction:
        return floor

    def shift(g):
        return 0.25 * (np.log1p(-g) - null.kurtosis * g)

    own = null.ratio / null.x * null.classes**2
    return floor + float(shift(null.ratio * null.whole**2) - null.x @ shift(own))


def null_rate_reduction_variance(
    dim: int, class_sizes: Sequence[int], *, eps: float, variance: Variance = None, kurtosis: float = 0.0
) -> float:
    r"""Variance of the rate reduction of pure noise, in nats²; it stays of order one as d grows.

    .. math:: \mathrm{Var}\,\Delta R\to\varphi(\beta q^2)-2\sum_kx_k\varphi(\beta q q_k)
              +\sum_kx_k^2\varphi(\beta_kq_k^2),\qquad \varphi(g)=-\tfrac12\log(1-g)+\tfrac{\kappa}{4}g

    with :math:`\beta_k=\beta/x_k` and deficits :math:`q=q(s,\beta)`, :math:`q_k=q(s,\beta_k)`. Arguments as in
    `null_rate_reduction`. The fluctuations are Gaussian in the limit, so ``(Delta R - floor)/sqrt(variance)`` is a
    z-score of features against noise.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(null_rate_reduction_variance(64, [32] * 8, eps=0.5**0.5, variance="unit sphere") ** 0.5, 3)
    0.059
    """
    null = read_null(dim, class_sizes, eps, variance, kurtosis)

    def spread(g):
        return -0.5 * np.log1p(-g) + 0.25 * null.kurtosis * g

    x, q = null.x, null.classes
    mixed, own = spread(null.ratio * null.whole * q), spread(null.ratio / x * q**2)
    return float(spread(null.ratio * null.whole**2) - 2 * x @ mixed + x**2 @ own)
