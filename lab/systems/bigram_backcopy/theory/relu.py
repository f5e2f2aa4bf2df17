r"""ReLU weights instead of softmax: no sink grows, the head switches itself off exponentially fast.

:math:`\delta_v=\max(\alpha_v,0)\beta+\max(\kappa_v,0)B`. With beta proportional to ones alpha never moves and
:math:`\dot\kappa_v=-\pi_v[K_v'(\kappa_v)-K_v'(0)]`. With beta trained, :math:`\sum_{\alpha_v>0}\alpha_v^2-|\beta|^2` is
conserved. The contrast with softmax is published; formulas derived for this laboratory, verified numerically; not found
in arXiv:2410.13835.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.systems.bigram_backcopy.theory.sink import cumulants

__all__ = ["relu_conserved", "relu_rate"]


def relu_rate(p, pi, B) -> np.ndarray:
    r"""Rate :math:`\pi\sigma^2` at which kappa decays; the risk decays at twice the least of them. Shape (...)."""
    return checks.positive("pi", pi) * checks.positive("variance of B under p", cumulants(p, B)[1])


def relu_conserved(alpha, beta) -> np.ndarray:
    """Sum of squares of the positive sink logits minus |beta|²; ``alpha`` (..., Q), ``beta`` (..., V)."""
    alpha, beta = np.asarray(alpha, dtype=float), np.asarray(beta, dtype=float)
    return np.sum(np.maximum(alpha, 0) ** 2, axis=-1) - np.sum(beta**2, axis=-1)
