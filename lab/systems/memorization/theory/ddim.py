r"""Deterministic sampling (DDIM) of Gaussian data, exactly: every step shrinks by the cosine of an angle.

For data N(m, lambda) along an eigenvector and the exact denoiser, with the *angle*

.. math:: A(t)=\arctan\frac{\alpha_t\sqrt\lambda}{\sigma_t},

a step from t to t' multiplies y - alpha_t m by
:math:`\sqrt{\frac{\alpha_{t'}^2\lambda+\sigma_{t'}^2}{\alpha_t^2\lambda+\sigma_t^2}}\cos(A(t')-A(t))`: the exact flow
times a cosine. So the spread of generated samples is always too small, by the product of the cosines. To first order in
the number L of steps only :math:`\frac1{2L}\int_0^1 (dA/d\tau)^2d\tau` matters, tau the index of a step over L.

Derived for this laboratory, verified numerically; not found in arXiv:2010.02502.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.models.diffusion import Process

__all__ = ["angle", "equal_angle_constant", "exact_scale", "sampled_mean", "sampled_scale", "shrinkage", "total_angle",
           "uniform_constant"]  # fmt: skip


def angle(process: Process, t, variance):
    r"""A(t) in [0, pi/2], growing as the noise falls; arrays broadcast."""
    lam, t = checks.positive("variance", variance), np.asarray(t, dtype=float)
    return np.arctan2(process.alpha(t) * np.sqrt(lam), process.sigma(t))


def _times(times) -> np.ndarray:
    t = checks.checked("times", times, np.isfinite, "must be finite")
    if t.ndim != 1 or t.size < 2 or np.any(np.diff(t) >= 0) or t[-1] < 0:
        raise OutOfDomain(f"times of shape {t.shape}, first {t.flat[0]:g}, last {t.flat[-1]:g}: must decrease, to >= 0")
    return t


def exact_scale(process: Process, start: float, stop: float, variance):
    r"""Growth of y - alpha m along the exact flow.

    .. math:: \sqrt{(\alpha_1^2\lambda+\sigma_1^2)/(\alpha_0^2\lambda+\sigma_0^2)}

    0 stands for `start`, 1 for `stop`. Started with standard deviation 1, it is that of the exact flow's samples.
    """
    lam = checks.positive("variance", variance)
    ends = [process.alpha(float(t)) ** 2 * lam + process.sigma(float(t)) ** 2 for t in (start, stop)]
    return np.sqrt(ends[1] / ends[0])[()]


def shrinkage(process: Process, times, variance):
    r"""Product of cosines :math:`\prod_l\cos(A(t_{l+1})-A(t_l))`: sampled over exact standard deviation.

    Parameters
    ----------
    process : Process
    times : array_like, shape (L + 1,)
        Decreasing.
    variance : array_like, > 0
        lambda; several eigenvalues give one value each.

    Returns
    -------
    array
        In (0, 1); shape of `variance`.
    """
    lam = checks.positive("variance", variance)
    steps = np.diff(angle(process, _times(times), lam[..., None]), axis=-1)
    # log cos without loss for small angles: log(1 - 2 sin²(x/2))
    return np.exp(np.sum(np.log1p(-2 * np.sin(steps / 2) ** 2), axis=-1))[()]


def sampled_scale(process: Process, times, variance):
    """Standard deviation of DDIM samples started with 1: `exact_scale` times `shrinkage`."""
    t = _times(times)
    return exact_scale(process, t[0], t[-1], variance) * shrinkage(process, t, variance)


def sampled_mean(process: Process, times, variance, mean, *, start_mean=0.0):
    r"""Mean of DDIM samples: :math:`\alpha_1m+f\,(E y_0-\alpha_0m)` with f = `sampled_scale`."""
    t = _times(times)
    m = checks.checked("mean", mean, np.isfinite, "must be finite")
    factor = sampled_scale(process, t, variance)
    return (process.alpha(t[-1]) * m + factor * (start_mean - process.alpha(t[0]) * m))[()]


def total_angle(process: Process, variance: float, start: float, stop: float) -> float:
    """A(stop) - A(start), at most pi/2."""
    if not start > stop >= 0:
        raise OutOfDomain(f"start={start}, stop={stop}: need start > stop >= 0")
    return float(angle(process, stop, variance) - angle(process, start, variance))


def equal_angle_constant(process: Process, variance: float, *, start: float, stop: float) -> float:
    r""":math:`\Theta^2/2`, the limit of L (1 - shrinkage) on the grid of equal angles."""
    return total_angle(process, variance, start, stop) ** 2 / 2


def _slope(process: Process, t: np.ndarray, variance) -> np.ndarray:
    a, s = process.alpha(t), process.sigma(t)
    root = np.sqrt(variance)
    return root * (process.alpha_slope(t) * s - a * process.sigma_slope(t)) / (s**2 + a**2 * variance)


@lru_cache(maxsize=1)
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(400)


def uniform_constant(process: Process, variance: float, *, start: float, stop: float) -> float:
    r""":math:`\frac12(t_0-t_1)\int A'(t)^2dt`, the limit of L (1 - shrinkage) on evenly spaced times.

    Notes
    -----
    Gauss-Legendre in the angle, where the integrand is smooth. Infinite where A' is not square integrable (OU towards
    t = 0, VP towards t = 1): such ends are refused.

    Examples
    --------
    VP and lambda = 1 have A = arccos t, and artanh t for the integral of its squared slope.

    >>> from lab.models.diffusion import VP
    >>> round(uniform_constant(VP, 1.0, start=0.999, stop=0.001), 6)
    1.895801
    """
    variance = float(checks.positive("variance", variance))
    ends = [float(angle(process, t, variance)) for t in (start, stop)]
    if total_angle(process, variance, start, stop) <= 0 or ends[0] <= 0:
        raise OutOfDomain(f"start={start}, stop={stop}: the angle must grow from a positive value; move start inwards")
    if process.name == "OU" and stop <= 0:
        raise OutOfDomain(f"stop={stop}: the squared slope of the angle of OU is not integrable to 0; give stop > 0")
    node, share = _legendre()
    at = ends[0] + (ends[1] - ends[0]) * (node + 1) / 2
    slope = np.abs(_slope(process, process.time_of_ratio(np.sqrt(variance) / np.tan(at)), variance))
    return float((start - stop) / 2 * (ends[1] - ends[0]) / 2 * (share @ slope))
