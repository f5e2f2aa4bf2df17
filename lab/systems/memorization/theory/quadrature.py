"""Averages over chi-square variables by the trapezoid rule in the logarithm: spectral for these smooth densities."""

from __future__ import annotations

import numpy as np

__all__ = ["chi_square_nodes", "noncentral_cdf", "noncentral_nodes"]

_TAIL = 1e-14
_STEP = 0.35  # in log x the densities are analytic in a strip of half-width pi/2: error exp(-pi²/step) = 6e-13


def chi_square_nodes(degrees: float, count: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for averages over a chi-square variable, between its 1e-14 quantiles; at least `count`."""
    from scipy import stats

    law = stats.chi2(degrees)
    low, high = np.log([law.ppf(_TAIL), law.isf(_TAIL)])
    return _normalised(np.linspace(low, high, max(count, int((high - low) / _STEP))), law.logpdf)


def noncentral_nodes(degrees: float, shift: np.ndarray, count: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (..., n >= count) for averages over noncentral chi-square variables of shifts (...)."""
    from scipy import stats

    shift = np.asarray(shift, dtype=float)
    law = stats.chi2(degrees)
    # sqrt of the variable is within sqrt(shift) of that of the central one, by the triangle inequality
    near, far = np.sqrt(law.ppf(_TAIL)), np.sqrt(law.isf(_TAIL))
    root = np.sqrt(shift)
    mean, spread = degrees + shift, np.sqrt(2 * (degrees + 2 * shift))
    low = np.maximum(mean - 8.5 * spread, near**2)
    high = np.minimum((far + root) ** 2, mean + 8.5 * spread + 60)
    count = max(count, int(np.max(np.log(high / low)) / _STEP))
    at = np.log(low)[..., None] + np.linspace(0, 1, count) * np.log(high / low)[..., None]
    return _normalised(at, lambda x: stats.ncx2.logpdf(x, degrees, shift[..., None]))


def _normalised(at: np.ndarray, logpdf) -> tuple[np.ndarray, np.ndarray]:
    x = np.exp(at)
    log_weights = logpdf(x) + at
    weights = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True))
    return x, weights / weights.sum(axis=-1, keepdims=True)


def noncentral_cdf(x: np.ndarray, degrees: float, shift: np.ndarray) -> np.ndarray:
    """Distribution function of a noncentral chi-square variable, absolute error about 1e-12."""
    from scipy import special

    return np.clip(special.chndtr(x, degrees, shift), 0.0, 1.0)
