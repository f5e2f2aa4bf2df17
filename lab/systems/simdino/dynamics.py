r"""What is trained in the checks: free unit-norm features, normalised affine encoders, and features of large gradient.

Samples are rows; views are (V, N, D) or (V, N, d). Starts are arguments: nothing here draws random numbers. The linear
model is `lab.models.self_distillation.linear_distillation`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lab.arrays import Array, namespace
from lab.errors import InputError
from lab.models.self_distillation import (
    normalised_pullback,
    simdino_gradient,
    simdino_loss,
    unit_rows,
)
from lab.objectives import coding_rate

__all__ = ["Optimum", "affine_step", "distil_features", "minimise_loss", "mode_growth", "steepest_features"]


class Optimum(NamedTuple):
    """End of an optimisation: the value, the features, and the norm of the gradient on the spheres of the rows."""

    value: float
    Z: np.ndarray
    gradient_norm: float


def minimise_loss(start: np.ndarray, *, eps: float, gamma: float, tolerance: float = 1e-10) -> Optimum:
    """Local minimum of the SimDINO loss over unit rows, student = teacher = the features (V, N, d); L-BFGS.

    The gradient goes through both, so this is descent on the loss itself, not self-distillation; the stationary points
    with perfect alignment are the same.
    """

    def value_and_gradient(y: np.ndarray) -> tuple[float, np.ndarray]:
        Y = y.reshape(start.shape)
        Z = unit_rows(Y)
        pull = simdino_gradient(Z, Z, eps=eps, gamma=0.0)  # through the teacher comes the pull alone, and the same
        total = simdino_gradient(Z, Z, eps=eps, gamma=gamma) + pull
        return float(simdino_loss(Z, Z, eps=eps, gamma=gamma)), normalised_pullback(Y, total)

    return _descend(start, value_and_gradient, tolerance)


def steepest_features(start: np.ndarray, *, eps: float, unit: bool = True, tolerance: float = 1e-10) -> Optimum:
    """Local maximum of the Frobenius norm of the coding rate's gradient, over rows (N, d) of norm one (or any rows).

    The value is the norm. From ``|G|²``, ``G = alpha Z M^-1``: its gradient is twice the Hessian of the rate times G.
    """
    n, dim = start.shape
    alpha = dim / (n * eps**2)

    def value_and_gradient(y: np.ndarray) -> tuple[float, np.ndarray]:
        Y = y.reshape(start.shape)
        Z = unit_rows(Y) if unit else Y
        G = coding_rate.coding_rate_gradient(Z, eps=eps)
        inverse = np.linalg.inv(np.eye(dim) + alpha * Z.T @ Z)
        ascent = 2 * alpha * (G @ inverse - Z @ inverse @ (Z.T @ G + G.T @ Z) @ inverse * alpha)
        return -float(np.sum(G * G)) / alpha, -(normalised_pullback(Y, ascent) if unit else ascent) / alpha

    end = _descend(start, value_and_gradient, tolerance)
    return end._replace(value=float(np.sqrt(-alpha * end.value)))


def _descend(start: np.ndarray, value_and_gradient: Any, tolerance: float) -> Optimum:
    from scipy.optimize import minimize

    start = np.asarray(start, dtype=float)
    if not np.all(np.isfinite(start)):
        raise InputError("the start has entries that are NaN or infinite; pass finite features")

    def flat(y: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_gradient(y)
        return value, gradient.ravel()

    options = {"maxiter": 3000, "maxfun": 9000, "ftol": 0.0, "gtol": tolerance, "maxcor": 30}
    end = minimize(flat, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return Optimum(float(end.fun), end.x.reshape(start.shape), float(np.linalg.norm(end.jac)))


def distil_features(
    start: Array, *, eps: Any, gamma: Any, momentum: float, step: float, steps: int
) -> tuple[Array, Array]:
    """Self-distillation of free features: student and teacher (V, N, d), unit rows, after `steps` gradient steps.

    The student's table Y moves along the gradient in ``unit_rows(Y)`` times the number of samples (the loss is a mean
    over them), the teacher's is its average. NumPy or JAX.
    """
    student = teacher = start
    for _ in range(steps):
        gradient = simdino_gradient(unit_rows(student), unit_rows(teacher), eps=eps, gamma=gamma)
        student = student - step * start.shape[-2] * normalised_pullback(student, gradient)
        teacher = momentum * teacher + (1 - momentum) * student
    return unit_rows(student), unit_rows(teacher)


def affine_step(
    student: Array, teacher: Array, X: Array, bias: Array, *, eps: Any, gamma: Any, momentum: Any, step: Any,
    of: Any = "student", centred: bool = False, leak: Any = 0.0,
) -> tuple[Array, Array]:  # fmt: skip
    """One training step of the normalised affine encoder on views X (V, N, D), weights (..., D, d).

    `leak` adds this much of the gradient through the teacher's features (0: stop-gradient).
    """
    Ys, Yt = (X @ W[..., None, :, :] + bias for W in (student, teacher))
    Zs, Zt = unit_rows(Ys), unit_rows(Yt)
    pulled = normalised_pullback(Ys, simdino_gradient(Zs, Zt, eps=eps, gamma=gamma, of=of, centred=centred))
    gradient = _summed(X, pulled)
    if not (isinstance(leak, int | float) and leak == 0):
        # with the roles exchanged and no rate, the student's gradient is the teacher's
        through = normalised_pullback(Yt, simdino_gradient(Zt, Zs, eps=eps, gamma=0.0))
        gradient = gradient + leak * _summed(X, through)
    moved = student - step * gradient
    return moved, momentum * teacher + (1 - momentum) * moved


def _summed(X: Array, pulled: Array) -> Array:
    """Gradient in the weights from gradients in the rows before normalisation."""
    return namespace(X).sum(X.mT @ pulled, axis=-3)


def mode_growth(
    train: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], start: np.ndarray, modes: np.ndarray, *,
    amplitude: float, steps: int,
) -> np.ndarray:  # fmt: skip
    """Growth per training step of each mode of an encoder near its collapsed state W = 0, shape (D, D).

    Power iteration with the training step itself, one run per mode: after each step the run keeps its own mode only,
    scaled back to this amplitude. Entry (i, j) is the size of mode j after the last step of run i, over that of mode i
    before it: growths on the diagonal, and beside it what leaks into other modes.

    Parameters
    ----------
    train : function of (student, teacher)
        One training step on weights (..., D, d); leading axes are runs.
    start : array, shape (D, d)
        Row i: start of mode i, of student and teacher, any scale but not 0.
    modes : array, shape (D, D)
        Rows pick the modes: mode i of W is ``modes[i] @ W``.
    amplitude : float
        Errors are of order amplitude² (curvature) and machine epsilon over amplitude (rounding).
    steps : int
    """
    patterns = np.linalg.inv(modes).T[:, :, None]  # row i: weights that are mode i alone
    each = np.arange(len(start))
    student = teacher = start[:, None, :]
    growth = np.full(modes.shape, np.nan)
    for _ in range(steps):
        scale = amplitude / np.linalg.norm(student, axis=-1, keepdims=True)
        trained = train(patterns * (scale * student), patterns * (scale * teacher))
        parts = [modes @ W for W in trained]  # (run, mode, d)
        growth = np.linalg.norm(parts[0], axis=-1) / amplitude
        student, teacher = (part[each, each][:, None, :] for part in parts)
    return growth
