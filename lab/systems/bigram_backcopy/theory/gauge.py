r"""Queries that learn their own logits too: sinks and risk stay universal, the value drains only in part.

The bias :math:`b_v` added to delta absorbs the mean of what the head adds, so only the fluctuation of
:math:`D_s=B_s-W_s\beta_\infty` drives the sink:

.. math:: \alpha_v-\tfrac12\log 2t\to\tfrac12\log\bigl(\pi_vE_s[(D_s-\bar D)^\top C_v(D_s-\bar D)]\bigr) .

beta_inf is not predicted. Derived for this laboratory, verified numerically; not found in arXiv:2410.13835.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.systems.bigram_backcopy.theory.sink import laws

__all__ = ["gauge_offsets"]


def gauge_offsets(p, pi, B, W, beta) -> np.ndarray:
    """Limits of alpha - log(2t)/2, shape (Q,), from the limit `beta` (V,) of the value; ``B`` (Q, S, V), ``W`` (Q, S).

    Raises
    ------
    OutOfDomain
        If the context of some query does not vary over its samples.
    """
    p, pi, W = laws(p), checks.positive("pi", pi), checks.positive("W", W)
    D = np.asarray(B, dtype=float) - W[..., None] * np.asarray(beta, dtype=float)
    x = D - D.mean(1, keepdims=True)
    x = x - np.sum(p[:, None, :] * x, axis=-1, keepdims=True)
    spread = np.mean(np.sum(p[:, None, :] * x**2, axis=-1), axis=-1)
    rule = "every query needs contexts that vary over its samples"
    return 0.5 * np.log(pi * checks.checked("spread of contexts", spread, lambda v: v > 0, rule))
