r"""Diffusion processes, the quantities a denoiser may predict, and deterministic (DDIM) sampling.

A sample is noised as :math:`y = \alpha_t x + \sigma_t z`, z standard normal; the signal-to-noise ratio is
:math:`\psi = \alpha_t^2/\sigma_t^2`. Samples are rows, ``y`` of shape (..., n, d). Times are numbers or arrays of
NumPy, torch or JAX (possibly traced).

=====  ======================================================================  =============================
name   alpha, sigma                                                            also called
=====  ======================================================================  =============================
VP     :math:`\sqrt{1-t^2},\ t`                                                variance preserving
FM     :math:`1-t,\ t`                                                         flow matching, rectified flow
VE     :math:`1,\ t`                                                           variance exploding
OU     :math:`e^{-t},\ \sqrt{1-e^{-2t}}`                                       Ornstein-Uhlenbeck
=====  ======================================================================  =============================
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lab.arrays import Array, namespace
from lab.errors import InputError, nearest

__all__ = ["FM", "OU", "PROCESSES", "VE", "VP", "Process", "Target", "convert", "ddim", "equal_angle_times",
           "loss_factor", "process"]  # fmt: skip

Target = Literal["x0", "eps", "v", "score"]
Scalar = Any  # a number, or an array that broadcasts


@dataclass(frozen=True)
class Process:
    """Coefficients of a noising process and their derivatives in t; each a function of a number or an array.

    Attributes
    ----------
    name : str
    alpha, sigma : function of t
        Size of the signal and of the noise.
    alpha_slope, sigma_slope : function of t
        Their derivatives.
    time_of_ratio : function of a ratio
        The time at which sigma/alpha equals its argument.
    """

    name: str
    alpha: Callable[[Scalar], Scalar]
    sigma: Callable[[Scalar], Scalar]
    alpha_slope: Callable[[Scalar], Scalar]
    sigma_slope: Callable[[Scalar], Scalar]
    time_of_ratio: Callable[[Scalar], Scalar]

    def snr(self, t: Scalar) -> Scalar:
        r"""Signal-to-noise ratio :math:`\psi=\alpha_t^2/\sigma_t^2`."""
        return (self.alpha(t) / self.sigma(t)) ** 2

    def __repr__(self) -> str:
        return f"<process {self.name}>"


def _math(t: Scalar) -> Any:
    """Functions for `t`: those of its array library, or NumPy's for a number."""
    return np if isinstance(t, int | float | np.generic) else namespace(t)


def _one(t: Scalar) -> Scalar:
    return t * 0 + 1


VP = Process(
    "VP", lambda t: _math(t).sqrt(1 - t * t), lambda t: t, lambda t: -t / _math(t).sqrt(1 - t * t), _one,
    lambda ratio: ratio / _math(ratio).sqrt(1 + ratio * ratio),
)  # fmt: skip
FM = Process("FM", lambda t: 1 - t, lambda t: t, lambda t: -_one(t), _one, lambda ratio: ratio / (1 + ratio))
VE = Process("VE", _one, lambda t: t, lambda t: 0 * t, _one, lambda ratio: ratio)
OU = Process(
    "OU", lambda t: _math(t).exp(-t), lambda t: _math(t).sqrt(-_math(t).expm1(-2 * t)), lambda t: -_math(t).exp(-t),
    lambda t: _math(t).exp(-2 * t) / _math(t).sqrt(-_math(t).expm1(-2 * t)),
    lambda ratio: _math(ratio).log1p(ratio * ratio) / 2,
)  # fmt: skip

PROCESSES = {one.name: one for one in (VP, FM, VE, OU)}


def process(name: str) -> Process:
    """The process of a name; an unknown name gets the nearest ones.

    Examples
    --------
    >>> process("VP").snr(0.5)
    np.float64(3.0)
    """
    if name not in PROCESSES:
        raise nearest("process", name, PROCESSES)
    return PROCESSES[name]


def loss_factor(process: Process, t: Scalar, target: Target) -> Scalar:
    r"""Factor by which a loss on x0 becomes the loss on another target, at the same denoiser.

    eps: :math:`\psi`; v: :math:`\alpha^2(\sigma'/\sigma-\alpha'/\alpha)^2`; score: :math:`\alpha^2/\sigma^4`.

    Raises
    ------
    UnknownName
        If the target is none of x0, eps, v, score.
    """
    a, s = process.alpha(t), process.sigma(t)
    if target == "x0":
        return _one(t)
    if target == "eps":
        return (a / s) ** 2
    if target == "v":
        return (a * process.sigma_slope(t) / s - process.alpha_slope(t)) ** 2
    if target == "score":
        return a**2 / s**4
    raise nearest("target", target, ("x0", "eps", "v", "score"))


def convert(prediction: Array, y: Array, t: Scalar, process: Process, *, source: Target, target: Target) -> Array:
    r"""Turn a prediction of one quantity into that of another, at the same noisy sample.

    With :math:`y=\alpha x_0+\sigma\varepsilon`: score :math:`=-\varepsilon/\sigma`, velocity
    :math:`v=\alpha' x_0+\sigma'\varepsilon`.

    Parameters
    ----------
    prediction, y : array, shape (..., n, d)
    t : number or array that broadcasts against them
    source, target : "x0", "eps", "v" or "score"

    Notes
    -----
    Going from x0 to eps divides a difference by sigma: at sigma = 1e-3 three digits are lost. Denoisers that can should
    give eps directly (`lab.models.denoisers`).
    """
    a, s = process.alpha(t), process.sigma(t)
    da, ds = process.alpha_slope(t), process.sigma_slope(t)
    for name in (source, target):
        if name not in ("x0", "eps", "v", "score"):
            raise nearest("target", name, ("x0", "eps", "v", "score"))
    if source == target:
        return prediction
    if source == "eps":
        eps = prediction
    elif source == "score":
        eps = -s * prediction
    elif source == "v":  # v = da (y - s eps)/a + ds eps
        eps = (a * prediction - da * y) / (a * ds - da * s)
    else:
        eps = (y - a * prediction) / s
    if target == "eps":
        return eps
    if target == "score":
        return -eps / s
    x0 = (y - s * eps) / a if source != "x0" else prediction
    return x0 if target == "x0" else da * x0 + ds * eps


def ddim(eps_hat: Callable[[Array, Scalar], Array], start: Array, times: Array, process: Process) -> Array:
    r"""Deterministic sampling (DDIM): from time to time along the straight line of the current prediction.

    .. math:: y_{l+1}=\alpha_{l+1}\hat x_0+\sigma_{l+1}\hat\varepsilon
              =\tfrac{\alpha_{l+1}}{\alpha_l}y_l+\Bigl(\sigma_{l+1}-\tfrac{\alpha_{l+1}\sigma_l}{\alpha_l}\Bigr)
               \hat\varepsilon(y_l,t_l)

    Parameters
    ----------
    eps_hat : function of (y, t)
        Predicted noise, shape of `y`.
    start : array, shape (..., n, d)
        Samples at the first time, usually :math:`\sigma` times standard normal.
    times : array, shape (L + 1,)
        Decreasing. One program whatever L is, with JAX.

    Returns
    -------
    array
        The samples at the last time.

    References
    ----------
    .. [1] arXiv:2010.02502, Song, Meng, Ermon 2020.
    """
    if getattr(times, "ndim", 1) != 1 or len(times) < 2:
        raise InputError(f"times has shape {getattr(times, 'shape', None)}: must be (L + 1,) with L >= 1 steps")

    def step(y: Array, now: Scalar, then: Scalar) -> Array:
        a, s, a1, s1 = process.alpha(now), process.sigma(now), process.alpha(then), process.sigma(then)
        return a1 / a * y + (s1 - a1 * s / a) * eps_hat(y, now)

    if namespace(start).__name__.startswith("jax"):
        import jax
        import jax.numpy as jnp

        pairs = jnp.stack([jnp.asarray(times)[:-1], jnp.asarray(times)[1:]], axis=1).astype(start.dtype)
        return jax.lax.scan(lambda y, pair: (step(y, pair[0], pair[1]), None), start, pairs)[0]
    y = start
    for now, then in itertools.pairwise(times):
        y = step(y, now, then)
    return y


def equal_angle_times(process: Process, variance: float, steps: int, *, start: float, stop: float) -> np.ndarray:
    r"""Times at which :math:`\arctan(\alpha\sqrt{\lambda}/\sigma)` grows by equal steps, shape (steps + 1,).

    The grid of least DDIM error for Gaussian data of variance lambda: each step multiplies the standard deviation by
    the cosine of its angle. Derived for this laboratory, verified numerically; not found in arXiv:2010.02502.

    Parameters
    ----------
    variance : float, > 0
        lambda.
    start, stop : float
        First and last time, start > stop > 0.
    """
    if not variance > 0 or not start > stop > 0 or steps < 1:
        raise InputError(
            f"variance={variance}, start={start}, stop={stop}, steps={steps}: need variance > 0, start > stop > 0 and "
            "steps >= 1"
        )
    root = math.sqrt(variance)
    ends = [math.atan2(float(process.alpha(t)) * root, float(process.sigma(t))) for t in (start, stop)]
    angles = np.linspace(ends[0], ends[1], steps + 1)
    times = process.time_of_ratio(root / np.tan(angles))
    times[[0, -1]] = start, stop
    return times
