"""Intervals behind the claims: Student, exact binomial, jackknife and bootstrap over whole replicates.

Two stages keep a check honest and sharp: each stage works at `LEVEL`, and a refutation counts only when fresh
replicates repeat it, so a true law is refuted with probability about ``LEVEL**2``. The level is shared between the
elements of one group (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["LEVEL", "bootstrap_error", "clopper_pearson", "jackknife", "student_quantile"]

LEVEL = 1e-3


def student_quantile(n: int, level: float) -> float:
    """Two-sided Student quantile for `n` replicates; infinite for one replicate, which has no spread."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 1 - level / 2)) if n > 1 else float("inf")


def clopper_pearson(successes: np.ndarray, n: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact two-sided binomial interval for a success probability."""
    from scipy.special import betaincinv

    k = np.asarray(successes, dtype=float)
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, level / 2), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1), 1 - level / 2), 1.0)
    return low, high


def jackknife(statistic: Callable[[np.ndarray], np.ndarray], y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A statistic of the mean over replicates (axis 1 of `y`) and its jackknife standard error.

    For a linear statistic this is the ordinary standard error; one replicate has error zero (a deterministic
    measurement, or a claim about that instance).
    """
    n = y.shape[1]
    total = y.sum(1)
    value = statistic(total / n)
    if n == 1:
        return value, np.zeros_like(value)
    left_out = np.stack([statistic((total - y[:, i]) / (n - 1)) for i in range(n)])
    return value, np.sqrt((n - 1) / n * ((left_out - left_out.mean(0)) ** 2).sum(0))


def bootstrap_error(statistic: Callable[[np.ndarray], np.ndarray], y: np.ndarray, draws: int = 400) -> np.ndarray:
    """Standard error of a statistic of the mean over replicates (axis 1), resampling whole replicates.

    Corrected by ``sqrt(n / (n - 1))`` for the bias of the bootstrap variance; NaN draws (a resample without a
    crossing) are left out, and more than half of them give an infinite error. The resamples are fixed by `n`.
    """
    n = y.shape[1]
    if n == 1:
        return np.zeros_like(statistic(y[:, 0]))
    weights = np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), size=draws) / n
    resampled = np.tensordot(weights, y, axes=(1, 1))
    values = np.stack([statistic(one) for one in resampled])
    finite = np.isfinite(values)
    enough = finite.mean(0) > 0.5
    count = np.maximum(finite.sum(0), 1)
    centre = np.where(finite, values, 0).sum(0) / count
    spread = np.sqrt((np.where(finite, values - centre, 0) ** 2).sum(0) / count)
    return np.where(enough, np.sqrt(n / (n - 1)) * spread, np.inf)
