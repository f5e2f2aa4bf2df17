r"""Self-distillation with a coding-rate term (SimDINO): the loss, and a linear student with an averaged teacher.

.. math:: L = \tfrac12\,\mathbb E\|z_s - z_t\|^2 - \gamma R(z_s), \qquad
          R = \tfrac12\log\det(I + c\,\mathbb E z z^\top), \qquad c = d/\epsilon^2

The gradient goes through the student alone; the teacher's weights are an exponential moving average of the student's.
Samples are rows: features of V views are (..., V, N, d), and weights W of shape (D, d) act as ``z = x W``. The teacher
sees the first G views only (the global ones): teacher features are (..., G, N, d), and student view g <= G is the same
view as teacher view g. `eps` is the distortion and enters squared (the public code calls `eps` what is `eps^2`).

Array functions run on NumPy, torch and JAX, leading axes are batch axes. `linear_distillation` runs on NumPy and JAX.

References
----------
.. [1] arXiv:2502.10385, Wu et al. 2025 (SimDINO).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import array_api_compat
import numpy as np

from lab.arrays import Array, device, namespace
from lab.errors import InputError
from lab.objectives.coding_rate import coding_rate, coding_rate_gradient

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = [
    "Distilled",
    "alignment",
    "expansion",
    "linear_distillation",
    "linear_gradient",
    "linear_step",
    "normalised_pullback",
    "simdino_gradient",
    "simdino_loss",
    "unit_rows",
]

Pairs = Literal["cross", "all"]
Expanded = Literal["student", "mean"]


# ---------------------------------------------------------------------- the loss on features


def alignment(student: Array, teacher: Array, *, pairs: Pairs = "cross") -> Array:
    r"""Half the mean squared distance of student and teacher features over pairs of views, shape (...).

    .. math:: A = \frac{1}{|P|}\sum_{(g,v)\in P}\frac1N\sum_i \tfrac12\|z^s_{v,i}-z^t_{g,i}\|^2

    Parameters
    ----------
    student : array, shape (..., V, N, d)
    teacher : array, shape (..., G, N, d), G <= V
    pairs : "cross" or "all"
        Which pairs (teacher view g, student view v) count: those of different views, GV - G of them, as in the public
        code; or all GV.

    Raises
    ------
    InputError
        If shapes do not fit, or no pair counts (one view only).
    """
    xp, weights = _pairs(student, teacher, pairs)
    gaps = student[..., None, :, :, :] - teacher[..., :, None, :, :]
    squares = xp.sum(xp.linalg.vecdot(gaps, gaps), axis=-1) / student.shape[-2]
    return 0.5 * xp.sum(xp.asarray(weights, dtype=student.dtype, device=device(student)) * squares, axis=(-2, -1))


def expansion(
    student: Array,
    teacher: Array,
    *,
    eps: Array | float,
    of: Expanded = "student",
    centred: bool = False,
) -> Array:
    r"""Coding rate of the global views, averaged over them, in nats, shape (...).

    Parameters
    ----------
    student, teacher : array, shapes (..., V, N, d) and (..., G, N, d)
    eps : float or array, > 0
        Distortion; the axes of an array are batch axes.
    of : "student" or "mean"
        Rate of the student's features, as in the paper; or of the mean of student and teacher features, the default of
        the public code (``expa_type = 1``).
    centred : bool
        Subtract the batch mean first: log-determinant of a covariance. Off in the public code.
    """
    Z = _expanded(student, teacher, of, centred)
    xp = namespace(Z)
    return xp.mean(coding_rate(Z, eps=_extra_axis(eps)), axis=-1)


def simdino_loss(
    student: Array,
    teacher: Array,
    *,
    eps: Array | float,
    gamma: Array | float,
    pairs: Pairs = "cross",
    of: Expanded = "student",
    centred: bool = False,
) -> Array:
    r"""SimDINO loss: `alignment` minus gamma times `expansion`, shape (...).

    On unit rows half the squared distance is one minus the cosine similarity of the public code, so both losses differ
    by the constant 1. Stop the gradient of `teacher` before the call (``detach``, ``stop_gradient``).

    Parameters
    ----------
    student : array, shape (..., V, N, d)
        Features of all views, unit rows in the paper (any rows here).
    teacher : array, shape (..., G, N, d)
        Features of the first G views.
    eps, gamma : float or array
        Distortion and weight of the rate.
    pairs, of, centred
        As in `alignment` and `expansion`; the public code has "cross", "mean" and False.

    References
    ----------
    .. [1] arXiv:2502.10385, the loss; github.com/RobinWu218/SimDINO, class MCRLoss.

    Examples
    --------
    One teacher view, two student views that equal it: no alignment cost, rate of two orthogonal unit rows.

    >>> import numpy as np
    >>> z = np.stack([np.eye(2)] * 2)
    >>> round(float(simdino_loss(z, z[:1], eps=1.0, gamma=0.5)), 6)
    -0.346574
    """
    rate = expansion(student, teacher, eps=eps, of=of, centred=centred)
    return alignment(student, teacher, pairs=pairs) - gamma * rate


def simdino_gradient(
    student: Array,
    teacher: Array,
    *,
    eps: Array | float,
    gamma: Array | float,
    pairs: Pairs = "cross",
    of: Expanded = "student",
    centred: bool = False,
) -> Array:
    """Gradient of `simdino_loss` in the student's features, teacher held fixed; shape (..., V, N, d)."""
    xp, weights = _pairs(student, teacher, pairs)
    views, n, _ = student.shape[-3:]
    shared = xp.asarray(weights, dtype=student.dtype, device=device(student))
    held = xp.sum(shared, axis=0)[:, None, None] * student
    pulled = xp.sum(shared[:, :, None, None] * teacher[..., :, None, :, :], axis=-4)
    found = (held - pulled) / n
    Z = _expanded(student, teacher, of, centred)
    push = coding_rate_gradient(Z, eps=_extra_axis(eps)) / (Z.shape[-3] * (1 if of == "student" else 2))
    push = push * (gamma if isinstance(gamma, int | float) else gamma[..., None, None, None])
    rest = views - Z.shape[-3]
    if rest:
        empty = xp.zeros((*push.shape[:-3], rest, *push.shape[-2:]), dtype=push.dtype, device=device(push))
        push = xp.concat([push, empty], axis=-3)
    return found - push


def _pairs(student: Array, teacher: Array, pairs: Pairs) -> tuple[Any, np.ndarray]:
    """Namespace, and the weight of each pair (teacher view, student view), shape (G, V)."""
    xp = namespace(student, teacher)
    if student.ndim < 3 or teacher.ndim < 3 or student.shape[-2:] != teacher.shape[-2:]:
        raise InputError(
            f"student and teacher have shapes {tuple(student.shape)} and {tuple(teacher.shape)} but must be "
            "(..., V, N, d) and (..., G, N, d) with the same N and d"
        )
    views, seen = student.shape[-3], teacher.shape[-3]
    if seen > views:
        raise InputError(f"the teacher has {seen} views and the student {views}; the teacher's are the first of them")
    if pairs not in ("cross", "all"):
        raise InputError(f"pairs={pairs!r} must be 'cross' (different views) or 'all'")
    counted = np.ones((seen, views))
    if pairs == "cross":
        counted[np.arange(seen), np.arange(seen)] = 0
    if not counted.any():
        raise InputError("one view has no pair of different views; give the student a second view, or pairs='all'")
    return xp, counted / counted.sum()


def _expanded(student: Array, teacher: Array, of: Expanded, centred: bool) -> Array:
    """Features whose rate is taken, shape (..., G, N, d)."""
    if of not in ("student", "mean"):
        raise InputError(f"of={of!r} must be 'student' or 'mean' (of student and teacher)")
    seen = teacher.shape[-3]
    Z = student[..., :seen, :, :] if of == "student" else 0.5 * (student[..., :seen, :, :] + teacher)
    return Z - namespace(Z).mean(Z, axis=-2, keepdims=True) if centred else Z


def _extra_axis(x: Array) -> Array:
    """A level of the batch as a level of each of its views."""
    return x[..., None] if getattr(x, "ndim", 0) else x


# ---------------------------------------------------------------------- encoders


def unit_rows(Y: Array) -> Array:
    """Rows divided by their norms."""
    xp = namespace(Y)
    return Y / xp.sqrt(xp.linalg.vecdot(Y, Y))[..., None]


def normalised_pullback(Y: Array, gradient: Array) -> Array:
    """Gradient in `Y` from the gradient in ``unit_rows(Y)``: its tangential part over the norms of the rows."""
    xp = namespace(Y, gradient)
    norms = xp.sqrt(xp.linalg.vecdot(Y, Y))[..., None]
    Z = Y / norms
    return (gradient - xp.linalg.vecdot(Z, gradient)[..., None] * Z) / norms


# ---------------------------------------------------------------------- the solvable model


class Distilled(NamedTuple):
    """Student and teacher weights (..., D, d), steps taken, and the size of the last step (...).

    The last step is measured as ``sqrt(c) E(|x dW|^2)^(1/2)``, a change of amplitude in units of ``1/sqrt(c)``.
    """

    student: Array
    teacher: Array
    steps: Any
    change: Array


def linear_gradient(
    student: Array, teacher: Array, *, moment: Array, cross: Array, eps: Array | float, gamma: Array | float,
    of: Expanded = "student", leak: Array | float = 0.0,
) -> Float[Array, "*batch D d"]:  # fmt: skip
    r"""Gradient of the population loss of the linear encoder ``z = x W`` in the student's weights.

    .. math:: C W_s - \Sigma W_t - \gamma c\, C W_s (I + c\,W_s^\top C W_s)^{-1}, \qquad
              C = \mathbb E xx^\top,\ \Sigma = \mathbb E x'x^\top

    Parameters
    ----------
    student, teacher : array, shape (..., D, d)
    moment, cross : array, shape (..., D, D)
        Second moment C of one view, and Sigma between two views of a sample (the signal's moment).
    eps, gamma : float or array of batch axes
    of : "student" or "mean"
        Whose rate: see `expansion`.
    leak : float or array
        How much of the gradient through the teacher is added; 0 with the stop-gradient, 1 without it.

    Returns
    -------
    array, shape (..., D, d)
    """
    pull = namespace(moment, cross).linalg.solve(moment, cross)
    return moment @ _natural_gradient(student, teacher, moment, pull, eps, gamma, of, leak)


def linear_step(
    student: Array, teacher: Array, *, moment: Array, pull: Array, eps: Array | float, gamma: Array | float,
    momentum: Array | float, step: Array | float = 1.0, of: Expanded = "student", leak: Array | float = 0.0,
) -> tuple[Array, Array]:  # fmt: skip
    r"""One step of `linear_distillation`, given ``pull`` :math:`= C^{-1}\Sigma`: weights of student and teacher."""
    gradient = _natural_gradient(student, teacher, moment, pull, eps, gamma, of, leak)
    moved = student - _weights(step) * gradient
    m = _weights(momentum)
    return moved, m * teacher + (1 - m) * moved


def linear_distillation(
    start: Array, *, moment: Array, cross: Array, eps: Array | float, gamma: Array | float, momentum: Array | float,
    step: Array | float = 1.0, of: Expanded = "student", leak: Array | float = 0.0,
    tolerance: float = 1e-11, max_steps: int = 1_000_000, check_every: int = 64,
) -> Distilled:  # fmt: skip
    r"""Train the linear encoder until it stands still: preconditioned gradient steps, averaged teacher.

    .. math:: W_s \leftarrow W_s - \eta\, C^{-1}\nabla_{W_s}L, \qquad W_t \leftarrow m W_t + (1-m) W_s

    Parameters
    ----------
    start : NumPy or JAX array, shape (..., D, d)
        Weights of student and teacher. Leading axes are batch axes.
    moment, cross : array, shape (..., D, D)
        See `linear_gradient`; `moment` invertible.
    eps, gamma, momentum, step, leak : float or array of batch axes
        Momentum m in [0, 1) and learning rate eta in (0, 1]. JAX arrays may be traced.
    of
        See `linear_gradient`.
    tolerance : float
        Stop when one step changes the student by less than this (`Distilled.change`); with slowest rate r per step the
        distance left is about tolerance/r. 0 runs all `max_steps`.
    max_steps, check_every : int
        Steps at most, and steps between two tests; all batch entries run until the last one stands still.

    Returns
    -------
    Distilled

    Notes
    -----
    One program for every number of steps (`jax.lax.while_loop`); the loop of NumPy does the same arithmetic. Inverses
    of the d x d matrices are eliminated without calls to LAPACK, three times faster for d of a few units.
    """
    xp = namespace(start)
    if check_every < 1 or max_steps < 1:
        raise InputError(f"check_every={check_every} and max_steps={max_steps} must be at least 1")
    pull = xp.linalg.solve(moment, cross)
    c = start.shape[-1] / eps**2

    def once(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        """Student, teacher, and the student before."""
        student, teacher = linear_step(
            state[0], state[1], moment=moment, pull=pull, eps=eps, gamma=gamma, momentum=momentum, step=step, of=of,
            leak=leak,
        )  # fmt: skip
        return student, teacher, state[0]

    def change(state: tuple[Array, Array, Array]) -> Array:
        dW = state[0] - state[2]
        return xp.sqrt(c * xp.sum(dW * (moment @ dW), axis=(-2, -1)))

    state, blocks = (start, start, start), -(-max_steps // check_every)
    if array_api_compat.is_jax_array(start):
        state, done = _loop_jax(once, change, state, blocks, check_every, tolerance)
    else:
        done = 0
        while done == 0 or (done < blocks and np.any(change(state) > tolerance)):
            for _ in range(check_every):
                state = once(state)
            done += 1
    return Distilled(state[0], state[1], done * check_every, change(state))


def _loop_jax(once: Any, change: Any, state: Any, blocks: int, every: int, tolerance: float) -> tuple[Any, Any]:
    import jax
    import jax.numpy as jnp

    def running(carry: Any) -> Any:
        return (carry[1] == 0) | ((carry[1] < blocks) & jnp.any(change(carry[0]) > tolerance))

    def block(carry: Any) -> Any:
        return jax.lax.fori_loop(0, every, lambda _, s: once(s), carry[0]), carry[1] + 1

    return jax.lax.while_loop(running, block, (state, jnp.asarray(0)))


def _natural_gradient(
    student: Array, teacher: Array, moment: Array, pull: Array, eps: Array | float, gamma: Array | float,
    of: Expanded, leak: Array | float,
) -> Array:  # fmt: skip
    """C^-1 times the gradient, with ``pull = C^-1 Sigma`` and C^-1 C cancelled by hand."""
    xp = namespace(student, teacher)
    W = student if of == "student" else 0.5 * (student + teacher)
    c = _weights(student.shape[-1] / eps**2)
    push = _weights(gamma) * c * (W @ _inverse(xp, c * (W.mT @ (moment @ W))))
    push = push if of == "student" else 0.5 * push
    if isinstance(leak, int | float) and leak == 0:
        return student - pull @ teacher - push
    leak = _weights(leak)
    return student + leak * teacher - pull @ (teacher + leak * student) - push


def _weights(x: Array) -> Array:
    """A number per batch entry, to multiply matrices."""
    return x[..., None, None] if getattr(x, "ndim", 0) else x


def _inverse(xp: Any, gram: Array) -> Array:
    """``(I + gram)^-1`` of symmetric positive semidefinite matrices, by Gauss-Jordan elimination without pivots.

    Unrolled over the axis: meant for a few dimensions, where a call of LAPACK per matrix costs more than its work.
    """
    n = gram.shape[-1]
    eye = xp.eye(n, dtype=gram.dtype, device=device(gram))
    A = gram + eye
    for k in range(n):
        here = eye[k] > 0.5
        pivot, row, column = A[..., k : k + 1, k : k + 1], A[..., k : k + 1, :], A[..., :, k : k + 1]
        swept = A - column * row / pivot
        swept = xp.where(here, -column / pivot, swept)
        swept = xp.where(here[:, None], row / pivot, swept)
        A = xp.where(here & here[:, None], 1 / pivot, swept)
    return A
