r"""Rate of thresholded-softmax attention where every query attends to itself alone in its own head, to nobody
elsewhere.

A layer is ``Z + eta MSSA(Z)`` with weights ``h(softmax(scores))``. At a layer where, in the own head of every token,
its
self weight exceeds tau (and no other weight does) and, in every other head, no weight exceeds tau, the block of signal
coordinates of token i is multiplied by ``1 + eta h(w_ii)`` and all foreign coordinates stay. For ``h = tau 1{w > tau}``
the signal-to-noise ratio of every cluster is then multiplied by ``1 + eta tau`` exactly.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import InputError

__all__ = ["KINDS", "growth", "log_odds", "printed_interval"]

KINDS = ("constant", "indicator", "hard", "soft")


def growth(eta, tau, kind="constant"):
    r"""Least and largest factor of the signal-to-noise ratio in one layer under the events, as a pair.

    ============  ====================  =============================================
    kind          h(w)                  factor
    ============  ====================  =============================================
    constant      tau 1{w > tau}        1 + eta tau
    indicator     1{w > tau}            1 + eta
    hard          w 1{w > tau}          between 1 + eta tau and 1 + eta
    soft          (w - tau)_+           between 1 and 1 + eta (1 - tau)
    ============  ====================  =============================================

    The upper ends of the last two are approached as the self weights tend to 1.

    Parameters
    ----------
    eta : array_like, > 0
        Step.
    tau : array_like in (0, 1)
        Threshold of the weights.
    kind : "constant", "indicator", "hard" or "soft"

    References
    ----------
    .. [1] arXiv:2506.03790, theorem on the linear rate (kind "constant"), there for tau > 1/2; that is not needed under
       the events.

    Examples
    --------
    >>> [float(f) for f in growth(0.5, 0.6)]
    [1.3, 1.3]
    """
    eta, tau = checks.positive("eta", eta), checks.fraction("tau", tau)
    if kind not in KINDS:
        raise InputError(f"kind={kind!r} must be one of {', '.join(KINDS)}")
    low = {"constant": 1 + eta * tau, "indicator": 1 + eta + 0 * tau, "hard": 1 + eta * tau, "soft": 1 + 0 * eta * tau}
    high = {"constant": low["constant"], "indicator": low["indicator"], "hard": 1 + eta + 0 * tau,
            "soft": 1 + eta * (1 - tau)}  # fmt: skip
    return low[kind][()], high[kind][()]


def log_odds(tau):
    """``log(tau/(1 - tau))``: by how much a score must exceed the log-sum-exp of the others for a weight above tau."""
    tau = checks.fraction("tau", tau)
    return (np.log(tau) - np.log1p(-tau))[()]


def printed_interval(tokens, rank):
    r"""The published interval of thresholds, :math:`(\tfrac12,\; 1/(1 + N e^{-9p/32})]`, as a pair.

    Non-empty from ``p = (32/9) log N`` on; the equality fails there (see `lab.systems.attention_only.laws`).

    References
    ----------
    .. [1] arXiv:2506.03790, theorem on the linear rate.
    """
    tokens, rank = checks.positive("tokens", tokens), checks.positive("rank", rank)
    return 0.5, (1 / (1 + tokens * np.exp(-9 * rank / 32)))[()]
