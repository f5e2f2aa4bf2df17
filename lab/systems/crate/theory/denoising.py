r"""What a rate-gradient step does to the signal-to-noise ratio of noisy tokens: a Marchenko-Pastur calculation.

Head k holds n = N_k signal rows of variance 1 and m = N - N_k foreign rows of variance delta², all Gaussian in R^p. As
n, m, p grow in proportion, with beta n fixed, the resolvent :math:`A^{-1} = (I + \beta W_k^\top W_k)^{-1}` has
deterministic traces: :math:`h = \mathrm{tr} A^{-1}/p` solves

.. math:: \frac1h = 1 + \frac{\beta n}{1 + \beta p h} + \frac{\beta m \delta^2}{1 + \beta \delta^2 p h},

and :math:`h_2 = \mathrm{tr} A^{-2}/p` follows by differentiating in the 1. A row z of A has
:math:`A^{-1} z = A_{-z}^{-1} z/(1 + \beta z^\top A_{-z}^{-1} z)`, which gives the factors below.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = ["Resolvent", "cosines", "gains", "large_cluster_gains", "projection_gain", "resolvent"]


class Resolvent(NamedTuple):
    """Traces h, h2 of the resolvent and its square, and leave-one-out factors of a signal and of a foreign row."""

    h: float
    h2: float
    signal: float
    foreign: float


def resolvent(n: float, m: float, p: float, beta: float, delta: float) -> Resolvent:
    r"""Deterministic equivalents of one head.

    Parameters
    ----------
    n, m : float, >= 0
        Signal and foreign rows.
    p : float, > 0
        Rank of the head.
    beta : float, > 0
        ``p/(N eps²)``.
    delta : float, >= 0
        Standard deviation of foreign rows.

    Returns
    -------
    Resolvent
        ``h``, ``h2``, ``1/(1 + beta p h)``, ``1/(1 + beta delta² p h)``.

    Notes
    -----
    The left-hand side falls and the right-hand side's product with h rises in h, so the root in (0, 1] is unique;
    found by bisection in log h to the last bit.

    Examples
    --------
    >>> round(resolvent(32, 96, 64, 0.1, 0.02).h, 6)
    0.600882
    """
    n, m = float(checks.non_negative("n", n)), float(checks.non_negative("m", m))
    p, beta = float(checks.positive("p", p)), float(checks.positive("beta", beta))
    d2 = float(checks.non_negative("delta", delta)) ** 2

    def excess(h: float) -> float:
        return h * (1 + beta * n / (1 + beta * p * h) + beta * m * d2 / (1 + beta * d2 * p * h)) - 1

    low, high = 1 / (1 + beta * (n + m * d2)), 1.0
    for _ in range(200):
        middle = np.sqrt(low * high)
        if not low < middle < high:
            break
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    h = float(low)
    signal, foreign = 1 / (1 + beta * p * h), 1 / (1 + beta * d2 * p * h)
    spread = beta**2 * p * (n * signal**2 + m * d2**2 * foreign**2)
    return Resolvent(h, h * h / (1 - h * h * spread), signal, foreign)


def _counts(sizes: Sequence[float]) -> np.ndarray:
    counts = checks.positive("sizes", sizes)
    if counts.ndim != 1 or counts.size < 2:
        raise OutOfDomain(f"sizes={counts.tolist()}: must list the tokens of at least two clusters")
    return counts


def _heads(sizes: Sequence[float], p: float, beta: float, delta: float) -> list[Resolvent]:
    counts = _counts(sizes)
    found: dict[float, Resolvent] = {}  # balanced clusters need one fixed point only
    for n in counts.tolist():
        if n not in found:
            found[n] = resolvent(n, float(counts.sum()) - n, p, beta, delta)
    return [found[n] for n in counts.tolist()]


def gains(sizes: Sequence[float], p: float, beta: float, delta: float, reduced_step: float) -> np.ndarray:
    r"""Gain of the signal-to-noise ratio of every cluster in one step :math:`Z - \kappa\nabla R^c`.

    .. math:: g_k^2 = \frac{S(N_k)}{\mathrm{mean}_{j\ne k} T(N_j)}, \quad
              S = 1 - 2\kappa\beta\,h\,\frac{1}{1+\beta p h} + (\kappa\beta)^2 \frac{h_2}{(1+\beta p h)^2}, \quad
              T = 1 - 2\kappa\beta\,h\,q + (\kappa\beta)^2 h_2 q^2, \quad q = \frac{1}{1+\beta\delta^2 p h}

    Parameters
    ----------
    sizes : sequence of float, > 0
        Tokens of each cluster, at least two clusters.
    p, beta, delta : float
        As in `resolvent`.
    reduced_step : float, > 0
        ``kappa beta``.

    Returns
    -------
    array, shape (K,)
        Limits as sizes and p grow in proportion.

    Examples
    --------
    >>> gains([32] * 4, 32, 1.0, 0.02, 1.0).round(4)
    array([1.1134, 1.1134, 1.1134, 1.1134])
    """
    t = float(checks.positive("reduced_step", reduced_step))
    heads = _heads(sizes, p, beta, delta)
    S = np.array([1 - 2 * t * r.h * r.signal + t**2 * r.h2 * r.signal**2 for r in heads])
    T = np.array([1 - 2 * t * r.h * r.foreign + t**2 * r.h2 * r.foreign**2 for r in heads])
    return np.sqrt(S * (len(T) - 1) / (T.sum() - T))


def cosines(sizes: Sequence[float], p: float, beta: float, delta: float) -> np.ndarray:
    r"""Mean cosine, over the tokens of a cluster, between :math:`-\nabla R^c` and the way to their own subspace.

    .. math:: \cos_k = \frac{\delta \sum_{j\ne k} h_j q_j}
              {\sqrt{(K-1)\,\bigl(h_{2k} s_k^2 + \delta^2 \sum_{j\ne k} h_{2j} q_j^2\bigr)}},
              \qquad s = \frac1{1+\beta p h},\; q = \frac1{1+\beta\delta^2 p h}

    Goes to ``delta sqrt(K-1)/sqrt(1 + (K-1) delta²)``, noise over length of a token, for p much smaller than the
    clusters and weak heads: the gradient then points to the origin, not to the subspace.

    Parameters
    ----------
    sizes, p, beta, delta
        As in `gains`; delta > 0.

    Returns
    -------
    array, shape (K,)
        Limits as sizes and p grow in proportion; a token's own cosine then has no spread.

    Examples
    --------
    >>> float(cosines([32] * 4, 128, 1.0, 0.02)[0].round(3))
    0.827
    """
    checks.positive("delta", delta)
    heads = _heads(sizes, p, beta, delta)
    K = len(heads)
    along = np.array([r.h * r.foreign for r in heads])
    noise = np.array([r.h2 * r.foreign**2 for r in heads])
    own = np.array([r.h2 * r.signal**2 for r in heads])
    length = np.sqrt((K - 1) * (own + delta**2 * (noise.sum() - noise)))
    return delta * (along.sum() - along) / length


def projection_gain(n, p):
    r"""Gain at :math:`\kappa\beta = 1` for strong signal and vanishing noise: :math:`\sqrt{\max(1, p/n)}`.

    For :math:`1/\lambda_{\rm signal} \ll \beta \ll 1/\lambda_{\rm noise}` the step is the projection of each head
    onto the span of its n signal rows: it keeps the signal, and of the noise of a foreign row the share min(1, n/p)
    of its energy. The transition is at p = n, the tokens of a cluster: below it compression does not denoise.

    Examples
    --------
    >>> projection_gain(32, [16, 32, 128]).tolist()
    [1.0, 1.0, 2.0]
    """
    n, p = checks.positive("n", n), checks.positive("p", p)
    return np.sqrt(np.maximum(1.0, p / n))[()]


def large_cluster_gains(sizes: Sequence[float], beta: float, delta: float, reduced_step: float) -> np.ndarray:
    r"""Gains for a rank much smaller than all clusters: heads multiply by
    :math:`1 - \kappa\beta/(1 + \beta(N_k + (N - N_k)\delta^2))`, the same for signal and noise.

    So balanced clusters gain nothing, and a rare cluster loses: its own head is shrunk more than the heads that hold
    its noise.

    Examples
    --------
    >>> large_cluster_gains([1500, 300, 60], 0.02, 0.05, 1.0).round(3)
    array([1.333, 1.085, 0.616])
    """
    counts = _counts(sizes)
    held = counts + (counts.sum() - counts) * checks.non_negative("delta", delta) ** 2
    factors = np.abs(1 - checks.positive("reduced_step", reduced_step) / (1 + checks.positive("beta", beta) * held))
    squares = factors**2
    return factors * np.sqrt((len(counts) - 1) / (squares.sum() - squares))
