r"""Memorisation transition with the sampler's own error: DDIM makes the clusters of a trained model narrower.

Samples of a trained model are its means plus noise of the model's variance u only for an exact sampler. DDIM from time
to time multiplies the standard deviation of a Gaussian of variance u by :math:`\prod_l\cos(A(t_{l+1})-A(t_l))`
(`ddim.shrinkage`), which for small u and few steps is far below 1: copies come closer to their points and the
transition comes earlier. Derived for this laboratory, verified numerically; not found in arXiv:2508.17689.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.models.diffusion import VP, Process
from lab.systems.memorization.theory.ddim import shrinkage
from lab.systems.memorization.theory.transition import copy_probability, fitted_variance

__all__ = ["sampled_critical_size", "sampled_curve"]


def sampled_curve(
    m, d: int, K: int, N: int, times, *, threshold: float = 1 / 9, v: float = 1.0, process: Process = VP
):  # fmt: skip
    r"""Share of copies among DDIM samples: :math:`e^{-(1-m)/m}P_c(d,N/K-1,\varkappa^2u(m))`.

    `transition.memorization_curve` with the variance times the square of the shrinkage of DDIM at that variance.

    Parameters
    ----------
    m : array_like, in (0, 1]
        Model sizes per training point.
    d, K, N : int
        Dimension, clusters, training points.
    times : array_like, shape (L + 1,)
        Times of the sampler, decreasing.
    threshold : float, in (0, 1)
        c of the criterion, on squared distances.
    v : float, > 0
        Variance of a cluster.
    process : Process
    """
    m = np.asarray(m, dtype=float)
    u = np.atleast_1d(fitted_variance(m, d, K, N, v=v))
    left = np.where(u > 0, u * shrinkage(process, times, np.maximum(u, 1e-12 * v)) ** 2, 0.0)
    copies = np.array([copy_probability(float(one), d, N / K - 1, threshold=threshold, v=v) for one in left])
    return (np.exp(-(1 - m) / m) * copies.reshape(m.shape))[()]


def sampled_critical_size(
    d: int, K: int, N: int, times, *, threshold: float = 1 / 9, v: float = 1.0, share: float = 0.5,
    process: Process = VP,
) -> float:  # fmt: skip
    """Model size, as a fraction of N, at which `share` of the samples are copies; arguments as in `sampled_curve`.

    Examples
    --------
    >>> import numpy as np
    >>> round(sampled_critical_size(30, 3, 50, np.linspace(0.999, 0.001, 26), v=0.1), 3)
    0.747
    """
    from scipy.optimize import brentq

    share = float(checks.fraction("share", share))

    def excess(m: float) -> float:
        return float(sampled_curve(m, d, K, N, times, threshold=threshold, v=v, process=process)) - share

    low = max(1.5 * K / N, 0.02)
    if low >= 1 or excess(low) > 0:
        raise OutOfDomain(f"K={K}, N={N}: the formula needs several points in a cluster, take N/K >= 4")
    return float(brentq(excess, low, 1.0, xtol=1e-6))
