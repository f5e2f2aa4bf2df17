r"""The universal risk: whatever the bigrams, weights and contexts, :math:`R\sim Q/(4t)` for Q queries.

Each query with sigma² > 0 contributes :math:`\pi\sigma^2/2\,e^{-2\alpha}=1/(4t)`. Derived for this laboratory, verified
numerically; not found in arXiv:2410.13835.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.systems.bigram_backcopy.theory.sink import cumulants

__all__ = ["universal_correction", "universal_risk"]


def universal_risk(t, queries: int) -> np.ndarray:
    """Q/(4t), nats; `queries` counts those whose context varies on the support of their law."""
    return checks.integer("queries", queries, 1) / (4 * checks.positive("t", t))


def universal_correction(p, pi, B, W) -> float:
    r"""C in :math:`4tR/Q=1+C/\sqrt t+\dots` for a frozen value proportional to the all-ones vector:

    .. math:: C=\frac1Q\sum_v\frac{4W_v-2\kappa_{3,v}/(3\sigma_v^2)}{\sqrt{2\pi_v\sigma_v^2}} .

    Queries are rows of ``p``, ``B`` (Q, V), ``pi``, ``W`` (Q,).
    """
    pi, W = checks.positive("pi", pi), checks.positive("W", W)
    _, second, third, _ = cumulants(p, B)
    second = checks.positive("variance of B under p", second)
    return float(np.mean((4 * W - 2 * third / (3 * second)) / np.sqrt(2 * pi * second)))
