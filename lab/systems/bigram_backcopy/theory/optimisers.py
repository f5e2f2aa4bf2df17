r"""What an optimiser does to the norm of residual states: normalisation makes the loss blind to it.

The states of a pre-LN transformer are linear in the matrices that write into them (embeddings, outputs of heads and
MLPs), together w, and are only read through normalisation. Without its eps the loss does not depend on the length of w:

.. math:: L(sw)=L(w),\qquad\langle w,\nabla_wL\rangle=0 .

Gradient flow therefore conserves :math:`\|w\|`; what changes it is the size of steps, weight decay, momentum, or an
optimiser that does not follow the gradient.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["decay_exponent", "writer_norms"]


def writer_norms(first: float, squares, rate, *, decay: float = 0.0, momentum: float = 0.0) -> np.ndarray:
    r"""Squared norms :math:`N_0,\dots,N_T` of the writing matrices under SGD, from the sizes of its steps alone.

    With :math:`v_{t+1}=\mu v_t+g_t+\lambda w_t`, :math:`w_{t+1}=w_t-\eta_tv_{t+1}`, :math:`a_t=\langle w_t,v_t\rangle`:

    .. math:: N_{t+1}=N_t-2\eta_t(\mu a_t+\lambda N_t)+\eta_t^2S_{t+1},\qquad
              a_{t+1}=\mu a_t+\lambda N_t-\eta_tS_{t+1},\qquad S_t=\|v_t\|^2 .

    Without momentum: :math:`N_{t+1}=(1-\eta_t\lambda)^2N_t+\eta_t^2\|g_t\|^2`.

    Parameters
    ----------
    first : float, > 0
        N_0; the run starts with v = 0.
    squares : array_like, shape (T,)
        S_1, ..., S_T: squared steps over squared rates.
    rate : float or array_like, shape (T,)
        eta.
    decay : float, >= 0
        lambda, added to the gradient.
    momentum : float, in [0, 1]
        mu.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> writer_norms(1.0, [4.0, 4.0], 0.5).tolist()
    [1.0, 2.0, 3.0]
    """
    found, cross = [float(checks.positive("first", first))], 0.0
    squares = checks.non_negative("squares", squares)
    decay = float(checks.non_negative("decay", decay))
    momentum = float(checks.fraction("momentum", momentum, open=False))
    for eta, square in zip(np.broadcast_to(checks.non_negative("rate", rate), squares.shape), squares, strict=True):
        along = momentum * cross + decay * found[-1]
        found.append(found[-1] - 2 * eta * along + eta**2 * square)
        cross = along - eta * square
    return np.array(found)


def decay_exponent(rate: float, decay: float, momentum: float) -> float:
    r"""Rate per step of :math:`\log\|w\|` once gradients are gone: :math:`-\eta\lambda/(1-\mu)`, to first order.

    Notes
    -----
    With gradients :math:`+\eta^2S(1+\mu)/(2(1-\mu)N)`, of the squared update S and squared norm N. Derived for this
    laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(decay_exponent(0.03, 1e-4, 0.9), 12)
    -3e-05
    """
    rate, decay = float(checks.positive("rate", rate)), float(checks.non_negative("decay", decay))
    momentum = float(checks.checked("momentum", momentum, lambda m: 0 <= m < 1, "must lie in [0, 1)"))
    return -rate * decay / (1 - momentum)
