r"""What the loss weight of training does to the critical model size: by the published crossover, and in training.

The published formula equates two losses weighted over noise levels, so it moves with the weight, from 0 to N. Training
settles at a width that is best at every noise level (`plateau.hard_assignment_loss`): the size at which samples become
copies depends on the threshold of the criterion, not on the weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.systems.memorization.theory.crossover import published_crossover
from lab.systems.memorization.theory.transition import critical_size

__all__ = ["independent_sizes", "published_sizes"]


def published_sizes(weights: Sequence, psi, v: float = 1.0, *, constant: float = 1.0) -> np.ndarray:
    r"""`crossover.published_crossover` for each of W weightings (W, T) on the x0-loss; shape (W,).

    Parameters
    ----------
    weights : sequence of array_like, each (T,)
    psi : array_like, shape (T,)
        Signal-to-noise ratios.
    v : float, > 0
        Variance of a cluster.
    constant : float, > 0
        C of the formula; its code takes 1.
    """
    return np.array([published_crossover(weights=one, psi=psi, v=v, constant=constant) for one in weights])


def independent_sizes(count: int, d: int, K: int, N: int, *, threshold: float = 1 / 9, v: float = 1.0) -> np.ndarray:
    """`transition.critical_size`, the same for each of `count` weightings; shape (count,).

    Derived for this laboratory, verified numerically; not found in arXiv:2508.17689.
    """
    return np.full(count, critical_size(d, K, N, threshold=threshold, v=v))
