"""Random closed curves: normalised trigonometric polynomials, resampled to equal steps of arclength."""

from __future__ import annotations

import math

import numpy as np

from lab.data.curves.sample import Curves, gathered, steps
from lab.errors import InputError

__all__ = ["fourier_curve"]


def fourier_curve(
    rng: np.random.Generator, *, n0: int, modes: int, decay: float = 2.0, amplitude: float = 0.5, points: int
) -> Curves:
    """A random closed curve: ``e_1 + sum_k amplitude k^-decay (a_k cos kt + b_k sin kt)`` brought onto the sphere.

    a_k, b_k are standard normal in R^n0. The curve is resampled to equal steps of arclength.

    Parameters
    ----------
    rng : numpy.random.Generator
    n0 : int, >= 3
        Ambient dimension.
    modes : int, >= 1
        Frequencies 1 ... modes.
    decay, amplitude : float, >= 0, > 0
    points : int, > 0

    Returns
    -------
    Curves
        Length to 1e-12, points to as much of their arclength; largest curvature over at least 4096 points of the curve.

    Raises
    ------
    InputError
        If a parameter is outside its range, or the curve comes so close to the origin before it is normalised that
        65536 nodes do not resolve it: lower the amplitude.
    """
    if n0 < 3 or modes < 1 or not decay >= 0 or not amplitude > 0:
        raise InputError(
            f"n0={n0}, modes={modes}, decay={decay!r}, amplitude={amplitude!r}: needs n0 >= 3, modes >= 1, decay >= 0, "
            "amplitude > 0"
        )
    k = np.arange(1, modes + 1)
    waves = amplitude * k[:, None] ** -float(decay) * rng.standard_normal((2, modes, n0))
    count = 4096
    while True:
        speed = _speed(waves, 2 * math.pi * np.arange(count) / count)[0]
        series = np.fft.rfft(speed) / count
        if np.max(np.abs(series[-count // 8 :])) < 1e-14 * series[0].real:
            break
        count *= 2
        if count > 65536:
            raise InputError(
                f"amplitude={amplitude!r}: the curve nearly meets the origin and cannot be resolved; lower the "
                "amplitude or draw another"
            )
    used = int(np.flatnonzero(np.abs(series) > 1e-15 * series[0].real).max(initial=0)) + 1
    order = np.arange(1, used)
    integral = 2 * series[1:used] / (1j * order)

    def arclength(t: np.ndarray) -> np.ndarray:
        turning = np.exp(1j * np.outer(t, order))
        return series[0].real * t + ((turning - 1) @ integral).real

    length = 2 * math.pi * series[0].real
    target = length * steps(points) / (2 * math.pi)
    nodes = np.linspace(0, 2 * math.pi, 4 * used + 2)
    t = np.interp(target, arclength(nodes), nodes)
    for _ in range(50):
        off = arclength(t) - target
        if np.max(np.abs(off)) < 1e-14 * length:
            break
        t = t - off / _speed(waves, t)[0]
    _, curvature, X = _speed(waves, t)
    curvature = _speed(waves, 2 * math.pi * np.arange(count) / count)[1]
    return gathered([X], np.array([length]), np.array([np.max(curvature)]), math.inf, False, n0)


def _speed(waves: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Speed ``|x'(t)|``, extrinsic curvature and points of the normalised trigonometric polynomial."""
    k = np.arange(1, waves.shape[1] + 1)
    cosine, sine = np.cos(np.outer(t, k)), np.sin(np.outer(t, k))
    p = cosine @ waves[0] + sine @ waves[1]
    p[:, 0] += 1
    first = (-k * sine) @ waves[0] + (k * cosine) @ waves[1]
    second = (-(k**2) * cosine) @ waves[0] - (k**2 * sine) @ waves[1]
    n = np.sum(p * p, axis=1, keepdims=True)
    n1 = 2 * np.sum(p * first, axis=1, keepdims=True)
    n2 = 2 * np.sum(first * first + p * second, axis=1, keepdims=True)
    x1 = first / n**0.5 - p * n1 / (2 * n**1.5)
    x2 = second / n**0.5 - first * n1 / n**1.5 - p * n2 / (2 * n**1.5) + 3 * p * n1**2 / (4 * n**2.5)
    square = np.sum(x1 * x1, axis=1)
    across = x2 - x1 * (np.sum(x1 * x2, axis=1) / square)[:, None]
    return np.sqrt(square), np.linalg.norm(across, axis=1) / square, p / n**0.5
