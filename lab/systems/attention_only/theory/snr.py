r"""Signal-to-noise ratio of noisy tokens before any layer: an F distribution.

:math:`\mathrm{SNR}_k = \|Z_k P_k\|_F/\|Z_k (1 - P_k)\|_F` over the tokens of cluster k, P_k the projection on subspace
k.
"""

from __future__ import annotations

from lab import checks

__all__ = ["initial_snr_above"]


def initial_snr_above(level, heads, per_class, rank):
    r"""Probability that :math:`\mathrm{SNR}_k\,\delta\sqrt{K-1}` exceeds `level`.

    .. math:: \mathrm{SNR}_k^2\,\delta^2 (K-1) \sim F(N_k p,\; N_k p (K-1)),

    exactly, so that the median of the ratio is about ``1/(delta sqrt(K-1))``.

    Parameters
    ----------
    level : array_like, >= 0
    heads : int, >= 2
        K.
    per_class, rank : int
        N_k and p.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    from scipy.stats import f

    K = checks.integer("heads", heads, 2)
    signal = checks.integer("per_class", per_class, 1) * checks.integer("rank", rank, 1)
    return f.sf(checks.non_negative("level", level) ** 2, signal, signal * (K - 1))
