r"""Model size at which a partial memoriser's weighted loss falls below the generaliser's: published and exact.

Weights are weights lambda on the x0-loss at each signal-to-noise ratio; a training weight on the eps-loss is psi times
as large there (`lab.systems.memorization.dynamics.Weighting.on_x0`). Overall factors of a weight do not matter.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.systems.memorization.theory.partial_memoriser import exact_losses
from lab.systems.memorization.theory.transition import nearest_constant

__all__ = ["edge_crossover", "exact_crossover", "exact_gap", "published_crossover"]


def published_crossover(weights, psi, v: float = 1.0, *, constant: float = 1.0) -> float:
    r"""Published crossover :math:`\frac{M_*}N=1-\frac{\sum_t\lambda_t/(1+\psi_tv)}{C\sum_t\lambda_t}`, cut to [0, 1].

    Equates the weighted :math:`dv/(1+\psi v)` of the generaliser with :math:`C(1-M/N)dv` of the partial memoriser, the
    memoriser's own loss left out on both sides (arXiv:2508.17689; its code takes C = 1). C = 1 is too small at moderate
    and high signal-to-noise ratio, so M_* comes out too small, by .04 N to .18 N in the published settings; at low
    signal-to-noise ratio it goes to 0, where the exact one goes to N/2 (`exact_crossover`).

    Parameters
    ----------
    weights, psi : array_like, shape (T,)
        Weights on the x0-loss, not negative and not all zero, and the signal-to-noise ratios that they belong to.
    v : float, > 0
        Variance of a cluster.
    constant : float, > 0
        C.

    Examples
    --------
    >>> float(published_crossover([1.0, 1.0], [1.0, 3.0]))
    0.625
    """
    weights, psi = _weights(weights, psi)
    v, constant = float(checks.positive("v", v)), float(checks.positive("constant", constant))
    return float(np.clip(1 - weights @ (1 / (1 + psi * v)) / constant, 0.0, 1.0))


def edge_crossover(d: int, K: int, N: int, weights, psi, v: float = 1.0) -> float:
    r"""The published formula with the right constant at high signal-to-noise ratio, :math:`C=C_\infty(d,M_*/K)`.

    `transition.nearest_constant` at the crossover's own cluster size: a fixed point. Good where the weight lies at
    :math:`\psi v\ge2` or so. Derived for this laboratory, verified numerically; not found in arXiv:2508.17689.
    """
    from scipy.optimize import brentq

    weights, psi = _weights(weights, psi)
    d, K, N = checks.integer("d", d, 1), checks.integer("K", K, 1), checks.integer("N", N, 2)

    def difference(m: float) -> float:
        return published_crossover(weights, psi, v, constant=nearest_constant(d, m * N / K)) - m

    return float(brentq(difference, 1e-6, 1.0, xtol=1e-10)) if difference(1e-6) > 0 else 0.0


def exact_crossover(d: int, K: int, N: int, weights, psi, v: float = 1.0, *, radius: float | None = None) -> float:
    r"""Exact crossover: the root m = M/N of :math:`\sum_t\lambda_t\,(E\,L_N(pmem,M)-mmse)` between max(K, 1)/N and 1.

    Exact for one cluster and for clusters far apart at every weighted signal-to-noise ratio. As all weight goes to
    :math:`\psi\to0` the root goes to 1/2 (one cluster), as it goes to :math:`\psi\to\infty` to 1.
    Derived for this laboratory, verified numerically; not found in arXiv:2508.17689.

    Parameters
    ----------
    d, K, N : int
        Dimension, clusters, training points, N > K.
    weights, psi : array_like, shape (T,)
        As in `published_crossover`; psi > 0 where there is weight.
    v : float, > 0
        Variance of a cluster.
    radius : float, optional
        Length of the cluster means, as in `partial_memoriser.exact_losses`.

    Returns
    -------
    float
        K/N if the partial memoriser is the better one from the start.

    Examples
    --------
    >>> round(exact_crossover(30, 4, 100, [1.0], [1.0]), 3)
    0.613
    """
    from scipy.interpolate import BarycentricInterpolator
    from scipy.optimize import brentq

    weights, psi = _weights(weights, psi)
    d, K, N = checks.integer("d", d, 1), checks.integer("K", K, 1), checks.integer("N", N, 2)
    if N <= K:
        raise OutOfDomain(f"N={N} points in K={K} clusters: must be more than one a cluster; raise N or lower K")
    nodes, values = _gap_nodes(d, K, N, tuple(weights.tolist()), tuple(psi.tolist()), float(v), radius)
    gap = BarycentricInterpolator(nodes, values)
    low = np.log(K / N)
    return float(np.exp(brentq(gap, low, 0.0, xtol=1e-10))) if gap(low) > 0 else K / N


def exact_gap(d: int, K: int, N: int, M, weights, psi, v: float = 1.0, *, radius: float | None = None):
    r"""Weighted mean of :math:`(E\,L_N(pmem,M)-mmse)/(dv)`, whose zero is the crossover; shape of M, M >= 1."""
    weights, psi = _weights(weights, psi)
    sizes = np.asarray(M, dtype=float)
    total = np.zeros(sizes.shape)
    for snr, weight in zip(psi.tolist(), weights.tolist(), strict=True):
        if weight > 1e-13:
            losses = exact_losses(d, K, N, sizes, snr, v, radius=radius)
            total = total + weight * (losses.partial - losses.generaliser)
    return (total / (d * v))[()]


@lru_cache(maxsize=64)
def _gap_nodes(
    d: int, K: int, N: int, weights: tuple[float, ...], psi: tuple[float, ...], v: float, radius: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """The gap at Chebyshev points of log m, in which it is smooth: 30 of them leave an error below 1e-8."""
    nodes = np.log(K / N) * (1 - np.cos(np.pi * np.arange(31) / 30)) / 2
    sizes = np.clip(np.exp(nodes) * N, K, N)
    return nodes, exact_gap(d, K, N, sizes, weights, psi, v, radius=radius)


def _weights(weights, psi) -> tuple[np.ndarray, np.ndarray]:
    weights = np.atleast_1d(checks.non_negative("weights", weights))
    psi = np.atleast_1d(checks.non_negative("psi", psi))
    if psi.shape != weights.shape or psi.ndim != 1 or not weights.sum() > 0:
        raise OutOfDomain(
            f"weights have shape {weights.shape} and sum {weights.sum():.3g}, psi has shape {psi.shape}: must be two "
            "lists of one length, with a positive weight"
        )
    return weights / weights.sum(), psi
