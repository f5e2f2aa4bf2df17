r"""What is iterated on the regularised objective: ascent, maximisation from many starts, census of critical points.

.. math:: F(Z) = \Delta R(Z) - \tfrac{\lambda}{2}\|Z\|_F^2

Samples are rows, Z of shape (..., N, d). `classes` is whatever `lab.objectives.coding_rate` accepts: labels (N,), a
tuple of contiguous class sizes, or a membership array (N, K). Gradient ascent runs on JAX arrays and is traceable
(jit, vmap; eps, lam, step and a membership may be tracers); the rest runs on NumPy float64. Starts are arguments:
nothing here draws random numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lab.arrays import give_jax_threads
from lab.errors import InputError
from lab.objectives import coding_rate
from lab.objectives.coding_rate.inputs import read_features, read_level, read_scale
from lab.systems.mcr2.ascent import reduced

__all__ = [
    "Ascent",
    "CriticalPoints",
    "Maxima",
    "critical_points",
    "default_step",
    "gradient_ascent",
    "hessian",
    "hessian_index",
    "maximise",
    "symmetric_eigen",
]


class Ascent(NamedTuple):
    """A run of gradient ascent; T = records + 1 recorded times, the first one at the start.

    Attributes
    ----------
    Z : array, shape (..., N, d)
        Final features.
    step_number : array of int, shape (T,)
        Steps done at each record.
    value : array, shape (T, ...)
        F, in nats.
    gradient_norm : array, shape (T, ...)
        Frobenius norm of the gradient.
    spectrum : array, shape (T, ..., K, d)
        Reduced squared singular values alpha sigma² of each class, ascending.
    """

    Z: Any
    step_number: Any
    value: Any
    gradient_norm: Any
    spectrum: Any


class Maxima(NamedTuple):
    """Ends of maximisation runs, one per start: values (S,), features (S, N, d), gradient norms (S,)."""

    value: np.ndarray
    Z: np.ndarray
    gradient_norm: np.ndarray


class CriticalPoints(NamedTuple):
    """Critical points found, M of the S starts.

    Attributes
    ----------
    Z : array, shape (M, N, d)
    value : array, shape (M,)
        F, in nats.
    residual : array, shape (M,)
        Gradient norm divided by sqrt(alpha): dimensionless.
    start : array of int, shape (M,)
        Which start led there.
    """

    Z: np.ndarray
    value: np.ndarray
    residual: np.ndarray
    start: np.ndarray


def default_step(alpha, lam):
    r"""Step of monotone ascent: :math:`1/\alpha`, or :math:`1.9/L` where that is smaller (lambda above .775 alpha).

    ``L = 9 alpha/8 + lam`` bounds the curvature of F; ascent is monotone below 2/L. Arguments may be traced.
    """
    bound = 1.125 + lam / alpha
    return 1 / (alpha * _maximum(1.0, bound / 1.9))


def _maximum(a, b):
    return a * (a >= b) + b * (b > a)  # numbers, NumPy arrays and tracers alike


def gradient_ascent(Z, classes, *, eps, lam, steps: int, step=None, records: int = 1) -> Ascent:
    """Gradient ascent with a fixed step, ``Z <- Z + step grad F(Z)``.

    Parameters
    ----------
    Z : JAX or NumPy array, shape (..., N, d)
        Start; leading axes are batch axes. Precision of the run is that of `Z`.
    classes : labels (N,), tuple of class sizes, or membership (N, K)
        A membership may be traced.
    eps, lam : number or traced scalar, > 0
        Distortion and regularisation weight.
    steps : int
        Number of steps, a multiple of `records`.
    step : number or traced scalar, optional
        By default `default_step`.
    records : int
        Observables are recorded at the start and then `records` times at equal distances.

    Returns
    -------
    Ascent

    Notes
    -----
    One program whatever `steps` is; records cost one evaluation of F and K eigendecompositions each. Enable
    float64 around trace and call (``jax.enable_x64(True)``) for gradients below 1e-7.
    """
    give_jax_threads()
    import jax
    import jax.numpy as jnp

    if records < 1 or steps < 0 or steps % records:
        raise InputError(f"steps={steps}, records={records}: steps must be a multiple of records >= 1; adjust either")
    Z = jnp.asarray(Z)
    read_features(Z)
    alpha = read_scale(eps, Z) / Z.shape[-2]
    lam = read_level("lam", lam, Z, zero=True)
    step = default_step(alpha, lam) if step is None else step
    objective, Y = reduced(jnp.sqrt(alpha) * Z, classes, lam / alpha)

    def block(Y, _):
        seen = objective.observe(Y)

        def climb(_, V):
            return V + step * alpha * objective.gradient(V)

        return jax.lax.fori_loop(0, steps // records, climb, Y), seen

    Y, seen = jax.lax.scan(block, Y, None, length=records)
    value, norm, spectrum = (jnp.concatenate([s, e[None]]) for s, e in zip(seen, objective.observe(Y), strict=True))
    times = jnp.arange(records + 1) * (steps // records)
    return Ascent(objective.rows(Y) / jnp.sqrt(alpha), times, value, jnp.sqrt(alpha) * norm, spectrum)


def maximise(starts, classes, *, eps: float, lam: float, tolerance: float = 1e-9, max_steps: int = 5000) -> Maxima:
    """Local maxima of F by L-BFGS from every start.

    Parameters
    ----------
    starts : array_like, shape (S, N, d)
    classes : labels, tuple of class sizes, or membership
    eps, lam : float, > 0
    tolerance : float
        Stop where the largest gradient entry, divided by sqrt(alpha), is below this; the value is then within about
        ``tolerance²`` of the local maximum (times N d over the curvature).
    max_steps : int
        Iterations per start.

    Returns
    -------
    Maxima
        One entry per start, converged or not: judge by `gradient_norm`.
    """
    from scipy.optimize import minimize

    starts = _starts(starts)
    count, dim = starts.shape[1:]
    unit = np.sqrt(dim / (count * eps**2))  # Y = sqrt(alpha) Z is dimensionless, curvatures are of order one in it

    def descend(y):
        value, gradient = coding_rate.value_and_gradient(y.reshape(count, dim) / unit, classes, eps=eps, lam=lam)
        return -float(value), -np.asarray(gradient).ravel() / unit

    options = {"maxiter": max_steps, "maxfun": 3 * max_steps, "ftol": 0.0, "gtol": tolerance, "maxcor": 30}
    ends = [minimize(descend, unit * Z.ravel(), jac=True, method="L-BFGS-B", options=options) for Z in starts]
    Z = np.stack([end.x.reshape(count, dim) for end in ends]) / unit
    return Maxima(np.array([-end.fun for end in ends]), Z, np.array([unit * np.linalg.norm(end.jac) for end in ends]))


def _starts(starts) -> np.ndarray:
    starts = np.asarray(starts, dtype=float)
    if starts.ndim != 3 or starts.shape[0] == 0 or not np.all(np.isfinite(starts)):
        raise InputError(f"starts has shape {starts.shape}: must be finite numbers of shape (S, N, d), S >= 1")
    return starts


def hessian(Z, classes, *, eps: float, lam: float) -> np.ndarray:
    """Dense Hessian of F, shape (..., N d, N d), from Hessian-vector products; use up to N d of about 2000."""
    Z = np.asarray(Z, dtype=float)
    count, dim = Z.shape[-2:]
    directions = np.eye(count * dim).reshape(count * dim, count, dim)
    columns = coding_rate.hessian_vector_product(Z[..., None, :, :], directions, classes, eps=eps, lam=lam)
    matrix = np.asarray(columns).reshape(*Z.shape[:-2], count * dim, count * dim)
    return 0.5 * (matrix + matrix.mT)


def symmetric_eigen(matrices) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n) of symmetric matrices (..., n, n).

    LAPACK's divide-and-conquer routine, which numpy calls, was seen to give up on a finite 27 x 27 matrix; such a batch
    is solved matrix by matrix with the QR routine.
    """
    matrices = np.asarray(matrices)
    try:
        values, vectors = np.linalg.eigh(matrices)
    except np.linalg.LinAlgError:
        from scipy.linalg import eigh

        flat = [eigh(one, driver="ev") for one in matrices.reshape(-1, *matrices.shape[-2:])]
        values, vectors = (np.stack(part) for part in zip(*flat, strict=True))
    return values.reshape(matrices.shape[:-1]), vectors.reshape(matrices.shape)


def hessian_index(Z, classes, *, eps: float, lam: float, threshold: float = 1e-8) -> np.ndarray:
    """Number of Hessian eigenvalues above ``threshold * alpha``, shape (...).

    Reliable at critical points converged well below the threshold, for lambda/alpha >= 1e-5 and not within 1e-4 of
    a spinodal, where positive curvatures fall below it.
    """
    count, dim = np.shape(Z)[-2:]
    values = symmetric_eigen(hessian(Z, classes, eps=eps, lam=lam))[0]
    return np.sum(values > threshold * dim / (count * eps**2), axis=-1)


def critical_points(
    starts, classes, *, eps: float, lam: float, tolerance: float = 1e-12, max_steps: int = 300
) -> CriticalPoints:
    """Critical points of F of every index: least squares on ``grad F = 0`` by a batched Levenberg-Marquardt iteration.

    Also polishes: from a point near a critical manifold it converges quadratically onto it.

    Parameters
    ----------
    starts : array_like, shape (S, N, d)
        For a census, entries of a few times ``sqrt(u/alpha)``, u the branches of interest.
    classes : labels, tuple of class sizes, or membership
    eps, lam : float, > 0
    tolerance : float
        Largest accepted gradient norm divided by sqrt(alpha).
    max_steps : int
        Iterations; each costs one eigendecomposition of size N d per running start.

    Returns
    -------
    CriticalPoints
        Converged starts only (the rest end at nonzero local minima of the gradient norm, or are still running); not
        deduplicated, since critical points come in manifolds.
    """
    starts = _starts(starts)
    count, dim = starts.shape[1:]
    unit = np.sqrt(dim / (count * eps**2))

    def residual(Y):
        gradient = coding_rate.regularised_rate_reduction_gradient(Y / unit, classes, eps=eps, lam=lam)
        return np.asarray(gradient).reshape(len(Y), -1) / unit

    Y, damping = unit * starts, np.full(len(starts), 1e-2)
    r = residual(Y)
    size = np.linalg.norm(r, axis=1)
    running = np.arange(len(Y))
    for _ in range(max_steps):
        running = running[(size[running] > 0.01 * tolerance) & (damping[running] < 1e8)]
        if running.size == 0:
            break
        values, vectors = symmetric_eigen(hessian(Y[running] / unit, classes, eps=eps, lam=lam) / unit**2)
        # damping proportional to the squared residual keeps convergence quadratic on degenerate manifolds
        mu = damping[running, None] * np.minimum(size[running, None], 1.0) ** 2 + 1e-24
        coordinates = (r[running, None, :] @ vectors)[:, 0]
        move = (vectors @ (-values / (values**2 + mu) * coordinates)[..., None]).reshape(-1, count, dim)
        trial = Y[running] + move
        new = residual(trial)
        new_size = np.linalg.norm(new, axis=1)
        better = new_size < size[running]
        accepted = running[better]
        Y[accepted], r[accepted], size[accepted] = trial[better], new[better], new_size[better]
        damping[running] *= np.where(better, 0.3, 6.0)
        damping[running] = np.maximum(damping[running], 1e-6)
    found = np.flatnonzero(size <= tolerance)
    Z = Y[found] / unit
    value = np.asarray(coding_rate.regularised_rate_reduction(Z, classes, eps=eps, lam=lam)) if found.size else size[:0]
    return CriticalPoints(Z, value, size[found], found)
