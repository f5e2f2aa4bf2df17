r"""Adam on an exponentially falling loss: a logit grows linearly in the number of steps, not like log t.

On the loss :math:`e^{-y}` with eps = 0 the speed s per step solves

.. math:: s=\eta\,\frac{1-b_1}{1-b_1e^s}\sqrt{\frac{1-b_2e^{2s}}{1-b_2}} .

Derived for this laboratory, verified numerically; not found in arXiv:2410.13835.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = ["adam_speed", "adam_speed_cap"]


def adam_speed_cap(b2: float) -> float:
    r"""No speed reaches :math:`-\tfrac12\log b_2`: the second moment would forget the past faster than it decays."""
    return float(-0.5 * np.log(checks.fraction("b2", b2)))


def adam_speed(eta: float, b1: float, b2: float) -> float:
    """Growth of y per step, the unique root in (0, `adam_speed_cap`) for b1² < b2.

    Raises
    ------
    OutOfDomain
        If b1² >= b2: there are two roots or none.

    Examples
    --------
    >>> round(adam_speed(1e-3, 0.9, 0.99), 9)
    0.000912566
    """
    eta, b1 = float(checks.positive("eta", eta)), float(checks.fraction("b1", b1, open=False))
    cap = adam_speed_cap(b2)
    if b1**2 >= b2:
        raise OutOfDomain(f"b1={b1!r}, b2={b2!r}: needs b1^2 < b2 for a unique speed; lower b1 or raise b2")
    low, high = 0.0, cap
    for _ in range(200):
        s = (low + high) / 2
        # expm1: the speed may come close to the cap
        step = eta * (1 - b1) / (1 - b1 * np.exp(s)) * np.sqrt(-np.expm1(2 * (s - cap)) / (1 - b2))
        low, high = (s, high) if step > s else (low, s)
    return (low + high) / 2
