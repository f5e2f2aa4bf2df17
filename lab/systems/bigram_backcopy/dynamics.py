r"""Gradient flow of one head in logarithmic time, from t = 0 to any t; gradient descent and Adam for comparison.

Flows :math:`\dot y=f(y)` are integrated in :math:`u=\log(1+t)`, :math:`dy/du=(1+t)f(y)`, by backward differences at a
relative tolerance of 1e-9: a logarithmic sink costs about a thousand steps up to t = 1e12. At a zero of the force stay
below t = 1e16 times the smallest rate: beyond, rounding of the force times t is all that is integrated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lab.data.bigram_contexts import Contexts
from lab.models import bigram_head

__all__ = ["RTOL", "Trajectory", "adam", "descent", "flow", "frozen_value_flow", "gauge_flow", "joint_flow",
           "relu_flow", "value_flow"]  # fmt: skip

RTOL = 1e-9
"""Relative tolerance of a solver step; 1e-12 where queries do not interact, which costs little."""

STEPS = 5000
"""Bounds on global errors count with at most this many solver steps; more than 20 evaluations a step are an error."""


class Trajectory(NamedTuple):
    """Sink logits alpha (T, Q) and value beta (T, V) at the times asked for; `other` is what else moved."""

    alpha: np.ndarray
    beta: np.ndarray
    other: np.ndarray = np.zeros(0)


def flow(
    force: Callable, start: np.ndarray, times: np.ndarray, *, jacobian: Callable | None = None,
    diagonal: bool = False, method: str = "BDF", atol: float = 1e-14, rtol: float = RTOL,
) -> np.ndarray:  # fmt: skip
    """States (T, n) of ``dy/dt = force(y)`` at increasing `times` >= 0.

    `jacobian` is that of the force; with `diagonal` the components do not interact.
    """
    from scipy.integrate import solve_ivp

    clock, calls = np.log1p(np.asarray(times, dtype=float)), 0

    def right(u, y):
        nonlocal calls
        calls += 1
        if calls > 20 * STEPS:
            raise RuntimeError(f"the flow needs more than {calls - 1} evaluations, at t={np.expm1(u):.3g}")
        return np.exp(u) * force(y)

    options: dict = {"method": "LSODA", "lband": 0, "uband": 0} if diagonal else {"method": method}
    if jacobian is not None:
        options["jac"] = lambda u, y: np.exp(u) * jacobian(y)
    found = solve_ivp(
        right, (0.0, clock[-1]), np.asarray(start, dtype=float), t_eval=clock, rtol=rtol, atol=atol, **options
    )
    if not found.success or found.y.shape[1] != clock.size:
        raise RuntimeError(f"the flow was not integrated to t={times[-1]:.3g}: {found.message}")
    return found.y.T


def frozen_value_flow(contexts: Contexts, alpha, beta, times, **options) -> np.ndarray:
    """Sink logits (T, Q) at fixed value `beta`; queries do not interact."""
    options = {"rtol": 1e-12, **options}
    return flow(lambda a: -bigram_head.gradients(a, beta, contexts)[0], alpha, times, diagonal=True, **options)


def value_flow(contexts: Contexts, alpha, beta, times, **options) -> np.ndarray:
    """Values (T, V) at fixed sink logits."""
    Q = len(contexts.shares)
    return flow(
        lambda b: -bigram_head.gradients(alpha, b, contexts)[1], beta, times,
        jacobian=lambda b: -bigram_head.hessian(alpha, b, contexts)[Q:, Q:], **options,
    )  # fmt: skip


def joint_flow(contexts: Contexts, alpha, beta, times, *, flip: bool = False, **options) -> Trajectory:
    """Sink logits and value together; `flip` turns the sign of the value's gradient (a broken rule).

    The mean of beta, on which the risk does not depend, is kept apart: the flow moves coordinates orthogonal to the
    ones, which stay accurate relative to themselves as they drain to 1e-6.
    """
    Q, frame = len(contexts.shares), _without_mean(len(beta))
    sign = np.r_[-np.ones(Q), np.full(frame.shape[1], 1.0 if flip else -1.0)]

    def force(y):
        by_alpha, by_beta, _ = bigram_head.gradients(y[:Q], frame @ y[Q:], contexts)
        return sign * np.r_[by_alpha, by_beta @ frame]

    def jacobian(y):
        H = bigram_head.hessian(y[:Q], frame @ y[Q:], contexts)
        half = np.concatenate([H[:, :Q], H[:, Q:] @ frame], axis=1)
        return sign[:, None] * np.concatenate([half[:Q], frame.T @ half[Q:]])

    y = flow(force, np.r_[alpha, beta @ frame], times, jacobian=jacobian, **options)
    return Trajectory(y[:, :Q], y[:, Q:] @ frame.T + np.mean(beta))


def _without_mean(V: int) -> np.ndarray:
    """Orthonormal columns (V, V - 1) orthogonal to the ones."""
    return np.linalg.qr(np.eye(V)[:, 1:] - 1 / V)[0]


def gauge_flow(contexts: Contexts, alpha, beta, times, **options) -> Trajectory:
    """Sink logits, value and the logits of every query's own output (T, Q, V), which start at 0."""
    (Q, V), frame = contexts.probabilities.shape, _without_mean(len(beta))
    cut = Q + V - 1

    def force(y):
        bias = y[cut:].reshape(Q, V - 1) @ frame.T
        by_alpha, by_beta, by_bias = bigram_head.gradients(y[:Q], frame @ y[Q:cut], contexts, bias=bias)
        return -np.r_[by_alpha, by_beta @ frame, np.ravel(by_bias @ frame)]

    def jacobian(y):
        alpha, beta, bias = y[:Q], frame @ y[Q:cut], y[cut:].reshape(Q, V - 1) @ frame.T
        H = np.zeros((y.size, y.size))
        own = bigram_head.hessian(alpha, beta, contexts, bias=bias)
        H[:Q, :Q], H[:Q, Q:cut] = own[:Q, :Q], own[:Q, Q:] @ frame
        H[Q:cut, Q:cut] = frame.T @ own[Q:, Q:] @ frame
        for v, (by_alpha, by_beta, by_bias) in enumerate(
            zip(*bigram_head.bias_hessian(alpha, beta, contexts, bias), strict=True)
        ):
            at = slice(cut + v * (V - 1), cut + (v + 1) * (V - 1))
            H[v, at], H[Q:cut, at] = by_alpha @ frame, frame.T @ by_beta @ frame
            H[at, at] = frame.T @ by_bias @ frame
        return -(np.triu(H) + np.triu(H, 1).T)

    y = flow(force, np.r_[alpha, beta @ frame, np.zeros(Q * (V - 1))], times, jacobian=jacobian, **options)
    return Trajectory(y[:, :Q], y[:, Q:cut] @ frame.T + np.mean(beta), y[:, cut:].reshape(-1, Q, V - 1) @ frame.T)


def relu_flow(contexts: Contexts, alpha, kappa, beta, times, *, frozen: bool = False, **options) -> Trajectory:
    """ReLU weights: sink logits, value (fixed if `frozen`) and the logits kappa (T, Q) to all other tokens."""
    Q, V = contexts.probabilities.shape

    def force(y):
        by_alpha, by_kappa, by_beta = bigram_head.relu_gradients(y[:Q], y[Q : 2 * Q], y[2 * Q :], contexts)
        return -np.r_[by_alpha, by_kappa, np.zeros(V) if frozen else by_beta]

    y = flow(force, np.r_[alpha, kappa, beta], times, method="DOP853", **options)  # hardly stiff, with kinks
    return Trajectory(y[:, :Q], y[:, 2 * Q :], y[:, Q : 2 * Q])


def descent(contexts: Contexts, alpha, beta, *, rate: float, steps: int, record: int = 1) -> Trajectory:
    """Gradient descent on both, recorded every `record` steps, the start included; t = rate * steps."""
    alpha, beta, seen = np.array(alpha, dtype=float), np.array(beta, dtype=float), []
    for step in range(steps + 1):
        if step % record == 0:
            seen.append((alpha.copy(), beta.copy()))
        by_alpha, by_beta, _ = bigram_head.gradients(alpha, beta, contexts)
        alpha, beta = alpha - rate * by_alpha, beta - rate * by_beta
    return Trajectory(*map(np.array, zip(*seen, strict=True)))


def adam(
    contexts: Contexts, alpha, beta, *, rate: float, records: np.ndarray, frozen: bool = False,
    decay: tuple[float, float] = (0.9, 0.99), eps: float = 1e-12,
) -> Trajectory:  # fmt: skip
    """Adam with bias correction, recorded after the numbers of steps in `records` (increasing)."""
    Q = len(contexts.shares)
    y = np.r_[np.asarray(alpha, dtype=float), np.asarray(beta, dtype=float)]
    first, second, seen, wanted = np.zeros_like(y), np.zeros_like(y), [], {int(r) for r in records}
    for step in range(1, int(max(records)) + 1):
        by_alpha, by_beta, _ = bigram_head.gradients(y[:Q], y[Q:], contexts)
        g = np.r_[by_alpha, np.zeros_like(by_beta) if frozen else by_beta]
        first, second = decay[0] * first + (1 - decay[0]) * g, decay[1] * second + (1 - decay[1]) * g * g
        y = y - rate * (first / (1 - decay[0] ** step)) / (np.sqrt(second / (1 - decay[1] ** step)) + eps)
        if step in wanted:
            seen.append(y)
    y = np.array(seen)
    return Trajectory(y[:, :Q], y[:, Q:])
