r"""The best grids of times for DDIM on Gaussian data: equal angles for one eigenvalue, equal arcs for several.

Angles, shrinkage and notation as in `lab.systems.memorization.theory.ddim`. Derived for this laboratory, verified
numerically; not found in arXiv:2010.02502.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.models.diffusion import Process, equal_angle_times
from lab.systems.memorization.theory.ddim import angle, exact_scale, shrinkage, total_angle

__all__ = ["arc_length_constant", "arc_length_times", "best_equal_angle", "equal_angle_shrinkage", "spectrum_error"]


def equal_angle_shrinkage(process: Process, variance: float, steps: int, *, start: float, stop: float) -> float:
    r"""Largest product of cosines of any L steps, :math:`\cos(\Theta/L)^L`, Theta = A(stop) - A(start).

    Log cos is concave, so equal angles are best (`lab.models.diffusion.equal_angle_times`). It is
    :math:`1-\Theta^2/(2L)+O(L^{-2})`.
    """
    steps = checks.integer("steps", steps, 1)
    return float(np.cos(total_angle(process, variance, start, stop) / steps) ** steps)



def spectrum_error(process: Process, times, eigenvalues) -> float:
    r"""Root mean square error of the sampled standard deviations: the W2 distance per square root of the dimension."""
    t = np.asarray(times, dtype=float)
    lam = checks.positive("eigenvalues", eigenvalues)
    missing = (1 - shrinkage(process, t, lam)) * exact_scale(process, t[0], t[-1], lam)
    return float(np.sqrt(np.mean(missing**2)))


def best_equal_angle(process: Process, eigenvalues, steps: int, *, start: float, stop: float) -> float:
    """The variance whose grid of equal angles has the least `spectrum_error`; between the extreme eigenvalues."""
    from scipy.optimize import minimize_scalar

    lam = checks.positive("eigenvalues", eigenvalues)
    low, high = np.log(lam.min()), np.log(lam.max())
    if high - low < 1e-9:
        return float(lam.flat[0])

    def error(log: float) -> float:
        times = equal_angle_times(process, float(np.exp(log)), steps, start=start, stop=stop)
        return spectrum_error(process, times, lam)

    return float(np.exp(minimize_scalar(error, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x))


def _geodesic(process: Process, eigenvalues, start: float, stop: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles (k, G) on a fine grid of times (G,), and the arc length along them."""
    lam = checks.positive("eigenvalues", eigenvalues)
    if lam.ndim != 1 or lam.size == 0:
        raise OutOfDomain(f"eigenvalues of shape {lam.shape}: must be a list of at least one number")
    total_angle(process, float(lam[0]), start, stop)
    middle = float(np.exp(np.mean(np.log(lam))))
    t = equal_angle_times(process, middle, 4000, start=start, stop=stop)
    angles = angle(process, t, lam[:, None])
    parts = np.diff(angles, axis=1)
    spread = exact_scale(process, start, stop, lam)
    weights = spread**2
    for _ in range(200):
        arc = np.sqrt(weights @ parts**2)
        # error of each eigenvalue on the grid of equal arcs: (1/2) int (dA/dtau)² dtau, dtau = arc/total
        errors = np.sum(parts**2 / arc, axis=1) * arc.sum() / 2
        new = spread**2 * errors
        new /= new.sum()
        done = np.max(np.abs(new - weights)) < 1e-12
        weights = new
        if done:
            break
    return t, np.concatenate([[0.0], np.cumsum(np.sqrt(weights @ parts**2))]), errors


def arc_length_times(process: Process, eigenvalues, steps: int, *, start: float, stop: float) -> np.ndarray:
    r"""Times of least `spectrum_error` for several eigenvalues, to first order in 1/steps; shape (steps + 1,).

    Equal steps in the arc length :math:`\int\sqrt{\sum_iw_i\,dA_i^2}`, where :math:`w_i\propto s_i^2c_i` with the exact
    standard deviation s_i and the error constant :math:`c_i=\frac12\int(dA_i/d\tau)^2d\tau` on that very grid (a fixed
    point, found by iteration). One eigenvalue gives equal angles.

    Notes
    -----
    First variation of :math:`\sum_is_i^2c_i^2` in the parametrisation tau: with the weights held, the integral of the
    squared speed is least at constant speed.
    """
    steps = checks.integer("steps", steps, 1)
    t, arc, _ = _geodesic(process, eigenvalues, start, stop)
    times = np.interp(np.linspace(0, arc[-1], steps + 1), arc, t)
    times[[0, -1]] = start, stop
    return times


def arc_length_constant(process: Process, eigenvalues, *, start: float, stop: float) -> float:
    """Limit of L times the least `spectrum_error` of any L steps."""
    lam = checks.positive("eigenvalues", eigenvalues)
    errors = _geodesic(process, lam, start, stop)[2]
    return float(np.sqrt(np.mean((exact_scale(process, start, stop, lam) * errors) ** 2)))
