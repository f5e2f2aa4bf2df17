r"""Estimators of intrinsic dimension from neighbour distances and from local covariances, with intervals.

:math:`T_j` is the distance from a point to its j-th neighbour, the point itself left out. On a set that is uniform and
flat at the scale of the neighbours, the local statistic

.. math:: m_k = \frac{1}{k-1}\sum_{j<k} \ln\frac{T_k}{T_j}

is a mean of k - 1 independent exponentials of mean 1/d. Three ways to average it over points: its own mean, inverted
(MacKay and Ghahramani); the mean of its inverses (Levina and Bickel), which is d (k-1)/(k-2); and k = 2 (TwoNN).

Neighbourhoods overlap: two points that are each other's neighbours use one distance twice. The variance of the mean is
therefore not ``1/(d² N (k-1))`` but `overlap_factor` times that, and intervals here are as much wider. They know
nothing of curvature, boundaries, uneven density or noise: those are biases.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from lab import checks
from lab.errors import InputError

__all__ = ["Estimate", "levina_bickel", "local_pca", "log_ratio_means", "neighbour_distances", "overlap_factor",
           "spatial_blocks", "two_nn"]  # fmt: skip


class Estimate(NamedTuple):
    """An estimated dimension, its interval, and the estimates of single points."""

    value: float
    low: float
    high: float
    local: np.ndarray


def neighbour_distances(X: np.ndarray, k: int, *, period: float | None = None) -> np.ndarray:
    """Distances from every point to its k nearest others, increasing: (..., n, k) for X of shape (..., n, D).

    Parameters
    ----------
    X : array, shape (..., n, D)
        Leading axes are independent sets. Numbers are taken as float64.
    k : int, 1 to n - 1
    period : float, optional
        Coordinates are periodic; they must lie in [0, period).

    Raises
    ------
    InputError
        For too few points, a coordinate that is not finite or outside the period, or points that coincide: a distance
        of 0 has no logarithm.
    """
    from scipy.spatial import cKDTree

    X = np.asarray(X, dtype=float)
    k = checks.integer("k", k, 1)
    if X.ndim < 2 or X.shape[-2] <= k:
        raise InputError(f"X has shape {X.shape}; {k} neighbours need (..., n, D) with n >= {k + 1} points")
    if not np.isfinite(X).all():
        raise InputError("X has an entry that is not finite; remove or replace it")
    if period is not None and not (X.min() >= 0 and X.max() < period):
        raise InputError(f"X has coordinates outside [0, {period:g}); reduce them modulo the period")
    flat = X.reshape(-1, *X.shape[-2:])
    found = np.stack([cKDTree(one, boxsize=period).query(one, k=k + 1)[0][:, 1:] for one in flat])
    if not found[..., 0].min() > 0:
        raise InputError("X has points that coincide; remove duplicates")
    return found.reshape(*X.shape[:-1], k)


def log_ratio_means(distances: np.ndarray) -> np.ndarray:
    """m_k of every point, shape (..., n), from its first k >= 2 neighbour distances (..., n, k)."""
    if distances.shape[-1] < 2:
        raise InputError(f"distances to {distances.shape[-1]} neighbour have no ratio; take k >= 2")
    logs = np.log(distances)
    return logs[..., -1] - np.mean(logs[..., :-1], axis=-1)


def overlap_factor(k: int) -> float:
    r"""Variance of the mean of :math:`m_k` over N points, in units of :math:`1/(d^2N(k-1))`: about 1.58 for k = 2.

    It would be 1 if points were independent; for all pairs within a fixed radius it is exactly 2, each distance serving
    two points. ``2 - .42 (k-1)^(-1/10)`` is fitted to simulations of flat tori, d from 1 to 5 and k from 2 to 20, where
    it is right within .1; on the line, for k = 2 and many points, it is 1.5715 ± .0011.
    """
    return 2 - 0.42 * (checks.integer("k", k, 2) - 1) ** -0.1


def two_nn(X: np.ndarray, *, period: float | None = None, level: float = 0.95) -> Estimate:
    r"""TwoNN: :math:`\hat d=(N-1)/\sum_i\ln(T_2/T_1)`, with an interval that knows about the overlap.

    The interval is :math:`\hat d\,\exp(\pm z\sqrt{c/N})`, c = `overlap_factor` (2); the textbook's has c = 1.

    Parameters
    ----------
    X : array, shape (n, D)
    period : float, optional
    level : float in (0, 1)
        Of the interval.

    References
    ----------
    .. [1] Facco, d'Errico, Rodriguez, Laio 2017, Estimating the intrinsic dimension of datasets by a minimal
       neighborhood information, Scientific Reports 7, 12140.

    Examples
    --------
    >>> found = two_nn(np.random.default_rng(0).random((2000, 3)), period=1.0)
    >>> bool(found.low < 3 < found.high)
    True
    """
    return levina_bickel(X, 2, period=period, level=level)


def levina_bickel(
    X: np.ndarray, k: int = 10, *, averaging: Literal["statistics", "estimates"] = "statistics",
    period: float | None = None, level: float = 0.95,
) -> Estimate:  # fmt: skip
    r"""Maximum likelihood from k neighbours, averaged over points in one of two ways.

    "statistics": :math:`(1-1/(N(k-1)))/\overline{m_k}`, MacKay and Ghahramani's correction (TwoNN at k = 2), interval
    as in `two_nn` with :math:`c/(N(k-1))`. "estimates": the mean of :math:`\frac{k-2}{k-1}/m_k`, Levina and Bickel's
    with the factor that makes it unbiased; interval from the scatter between 16 blocks of neighbouring points.

    Parameters
    ----------
    X : array, shape (n, D)
    k : int, >= 2; >= 4 for "estimates" (else the variance is infinite)

    References
    ----------
    .. [1] Levina, Bickel 2004, Maximum likelihood estimation of intrinsic dimension, NIPS 17.
    .. [2] MacKay, Ghahramani 2005, comments on [1].
    """
    if np.ndim(X) != 2:
        raise InputError(f"X has shape {np.shape(X)}; it must be (n, D)")
    if averaging not in ("statistics", "estimates"):
        raise InputError(f'averaging={averaging!r} must be "statistics" or "estimates"')
    least = 2 if averaging == "statistics" else 4
    k = checks.integer("k", k, least)
    m = log_ratio_means(neighbour_distances(X, k, period=period))
    if averaging == "estimates":
        local = (k - 2) / (k - 1) / m
        return _from_blocks(np.asarray(X, dtype=float), local, level)
    count = len(m) * (k - 1)
    value = float((1 - 1 / count) / np.mean(m))
    reach = math.exp(_normal_quantile(level) * math.sqrt(overlap_factor(k) / count))
    return Estimate(value, value / reach, value * reach, 1 / m)


def local_pca(X: np.ndarray, k: int = 20, *, share: float = 0.1, level: float = 0.95) -> Estimate:
    r"""Mean number of eigenvalues of the covariance of k neighbours that exceed `share` times the largest.

    On a d-ball of radius r of a surface of curvature radius R, tangent eigenvalues are :math:`r^2/(d+2)` and the normal
    one is smaller by a factor of order :math:`(r/R)^2`; `share` must lie between, and k well above d. The interval
    comes from the scatter between 16 blocks of neighbouring points.

    Parameters
    ----------
    X : array, shape (n, D)
    k : int, 2 to n - 1
    share : float in (0, 1)
    """
    from scipy.spatial import cKDTree

    X = np.asarray(X, dtype=float)
    neighbour_distances(X, checks.integer("k", k, 2))  # checks points and k
    share = float(checks.fraction("share", share))
    nearest = X[cKDTree(X).query(X, k=k + 1)[1]]
    centred = nearest - nearest.mean(axis=1, keepdims=True)
    spectrum = np.linalg.svd(centred, compute_uv=False) ** 2
    return _from_blocks(X, np.sum(spectrum > share * spectrum[:, :1], axis=1).astype(float), level)


def spatial_blocks(X: np.ndarray, count: int = 16) -> list[np.ndarray]:
    """Indices of `count` (a power of 2) blocks of neighbouring points, by halving along the widest coordinate."""
    if count < 1 or count & (count - 1) or len(X) < 2 * count:
        raise InputError(f"count={count} must be a power of 2, with at least two of the {len(X)} points in each block")
    parts = [np.arange(len(X))]
    while len(parts) < count:
        halves = []
        for part in parts:
            order = part[np.argsort(X[part][:, np.argmax(np.ptp(X[part], axis=0))], kind="stable")]
            halves += [order[: len(order) // 2], order[len(order) // 2 :]]
        parts = halves
    return parts


def _from_blocks(X: np.ndarray, local: np.ndarray, level: float) -> Estimate:
    """Mean of local estimates with a Student interval over means of blocks, which overlap at their borders only."""
    from scipy.special import stdtrit

    means = np.array([np.mean(local[part]) for part in spatial_blocks(X)])
    level = float(checks.fraction("level", level))
    reach = float(stdtrit(len(means) - 1, (1 + level) / 2)) * np.std(means, ddof=1) / math.sqrt(len(means))
    value = float(np.mean(local))
    return Estimate(value, value - reach, value + reach, local)


def _normal_quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + float(checks.fraction("level", level))) / 2))
