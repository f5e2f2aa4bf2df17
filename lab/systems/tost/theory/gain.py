r"""What one step does to the signal-to-noise ratio of tokens near subspaces: complete frames against truncated heads.

Tokens of cluster k have variance 1 on their own subspace and delta² on the others (`lab.data.tokens`), and belong to
head k. With P_k the projection on subspace k, :math:`\mathrm{SNR}_k = \|Z_k P_k\|_F / \|Z_k (I - P_k)\|_F` over the
tokens of cluster k; the gain is its factor in one step of reduced length :math:`s = \tau c/N`, as N_k grows.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["full_basis_gain", "truncated_gain"]


def full_basis_gain(s, c, delta):
    r"""Gain of complete frames (d x d, aligned with the subspaces):
    :math:`\left|1 - \frac{s}{1+c}\right| / \left|1 - \frac{s}{1+c\delta^2}\right|`.

    Above 1 for delta < 1 and every s below ``1 + c delta²``: the noise coordinates have the smaller second moment and
    are shrunk more. Infinite at ``s = 1 + c delta²``, where the step removes the noise.

    Parameters
    ----------
    s : array_like, >= 0
        Reduced step tau c/N.
    c : array_like, > 0
    delta : array_like, >= 0
        Standard deviation of the noise, relative to the signal's.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(float(full_basis_gain(0.6, 2.0, 0.1)), 3)
    1.943
    """
    s, c, delta = checks.non_negative("s", s), checks.positive("c", c), checks.non_negative("delta", delta)
    with np.errstate(divide="ignore"):
        return (np.abs(1 - s / (1 + c)) / np.abs(1 - s / (1 + c * delta**2)))[()]


def truncated_gain(s, c):
    r"""Gain of truncated heads (d x p, the practical form): :math:`\left|1 - \frac{s}{1+c}\right|`.

    A head shrinks what lies in its own subspace, the signal of its tokens, and their noise on the other subspaces
    stays, since they have no weight in the other heads. Below 1 for every s in (0, 2(1 + c)), whatever the noise.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> float(truncated_gain(0.6, 2.0))
    0.8
    """
    s, c = checks.non_negative("s", s), checks.positive("c", c)
    return np.abs(1 - s / (1 + c))[()]
