r"""Rounding errors of exact decoding: a bound, since the inverse of every layer is Lipschitz on the whole space."""

from __future__ import annotations

import numpy as np

from lab.systems.flatnet.theory.inversion import inverse_bound

__all__ = ["round_trip_bound"]


def round_trip_bound(alphas, scales, units):
    r"""Bound of the error of a sample encoded by L layers and decoded exactly, in machine epsilons.

    .. math:: \sum_{l=1}^{L} 2c\prod_{j\le l}\frac{s_j}{1-\alpha_j}

    Encoding and decoding each add c epsilons at every layer, and errors of the l-th code reach the input through l
    inverse layers, each with Lipschitz constant :math:`s_j/(1-\alpha_j)`.

    Parameters
    ----------
    alphas, scales : array_like, shape (L,)
        Heights of the kernels, and the divisors that follow the layers.
    units : float
        c, the rounding error of one layer in units of the machine epsilon.

    Examples
    --------
    >>> float(round_trip_bound([0.5, 0.5], [1.0, 1.0], 10.0))
    120.0
    """
    lengths = range(1, len(np.atleast_1d(alphas)) + 1)
    return sum(2 * units * inverse_bound(alphas[:end], scales[:end]) for end in lengths)
