r"""One step ``Z - tau grad R^var``: how far it may go, and what it does to second moments.

Everything depends on the reduced step :math:`s = \tau c/N` and on reduced second moments :math:`u = c\,\ell`. In the
basis of a head a coordinate of second moment u is multiplied by :math:`1 - s\,\pi/(1+u)` for a token of weight pi.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = ["descent_edge", "largest_descent_step", "lmmse_shrinkage", "rate_change", "wiener_map"]


def largest_descent_step(slope_at_zero: float, tokens: int) -> float:
    r"""Largest step tau that never increases the variational rate: :math:`2N/f'(0)`, ``2 N/c`` for the logarithm.

    For orthonormal frames and memberships whose rows sum to at most one, whatever the tokens. Sharp for complete
    frames (p = d) as the tokens shrink to zero.

    Parameters
    ----------
    slope_at_zero : float, > 0
        Slope of f at 0, in t (c for ``log(1 + c t)``); infinite slopes leave no safe step.
    tokens : int
        N.

    Notes
    -----
    f lies below its tangents, so the change of the rate is at most ``sum_j z_j (A_j (I - a A_j)² - A_j) z_j / (2N)``
    with ``a = tau/N`` and ``A_j = sum_k Pi_jk U_k diag f'(t_k) U_k^T <= f'(0) I``: negative for ``a f'(0) <= 2``.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> float(largest_descent_step(4.0, 10))
    5.0
    """
    slope = checks.checked("slope_at_zero", slope_at_zero, lambda v: v > 0, "must be positive")
    return float(2 * checks.integer("tokens", tokens, 1) / slope)


def _moments(heads, confidence, full):
    """Sums over clusters of the first three powers of the weights of one head, per cluster size."""
    heads = checks.checked("heads", heads, lambda v: (v >= 1) & (v == np.floor(v)), "must be an integer >= 1")
    w = checks.checked("confidence", confidence, lambda v: (v >= 0) & (v <= 1), "must lie in [0, 1]; it is a weight")
    if np.any((heads == 1) & (w != 1)):
        raise OutOfDomain(f"confidence={confidence}: a single head has all the weight, confidence=1")
    rest = np.where(heads > 1, (1 - w) / np.maximum(heads - 1, 1), 0.0)
    powers = [w**m + (heads - 1) * rest**m for m in (1, 2, 3)]
    return [np.where(full, 1.0, power) for power in powers]


def descent_edge(u, *, heads=1, confidence=1.0, full=True):
    r"""Reduced step at which a step stops decreasing the variational rate, for clusters of equal isotropic energy.

    .. math:: s_* = 2(1+u)\ \text{(complete frames)}, \qquad
              s_* = 2(1+u)\,\frac{w^2 + (K-1)q^2}{w^3 + (K-1)q^3},\quad q = \tfrac{1-w}{K-1}\ \text{(truncated heads)}

    Parameters
    ----------
    u : array_like, >= 0
        Reduced second moment ``c l`` of every coordinate of every cluster.
    heads : int
        K: heads and clusters of the same size.
    confidence : array_like, in [0, 1]
        w: weight of a token in the head of its own cluster; the others share the rest evenly.
    full : bool
        Complete frames, p = d, where the weights do not matter; or mutually orthogonal truncated heads, ``K p = d``.

    Returns
    -------
    array
        ``tau c/N``. Never below 2: the general bound is the limit u -> 0 of complete frames (or of hard membership).

    Notes
    -----
    Every coordinate of every head then has the same second moment, which a step multiplies by
    ``sum_j pi_j (1 - s pi_j/(1+u))² / sum_j pi_j`` (clusters j): equal to 1 at the edge.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> float(descent_edge(0.0)), float(descent_edge(0.5))
    (2.0, 3.0)
    >>> float(descent_edge(0.0, heads=4, confidence=0.25, full=False))
    8.0
    """
    u = checks.non_negative("u", u)
    _, second, third = _moments(heads, confidence, full)
    return (2 * (1 + u) * second / third)[()]


def rate_change(s, u, *, heads=1, confidence=1.0, full=True):
    r"""Relative change of the variational rate by one step: :math:`\log(1+u\rho)/\log(1+u) - 1`.

    :math:`\rho` is the factor of the second moments (see `descent_edge`, whose arguments these are): zero change at
    s = 0 and at the edge, in between the rate falls.

    Examples
    --------
    >>> float(rate_change(1.0, 1e-9)), round(float(rate_change(2.0, 1.0)), 6)
    (-1.0, -1.0)
    """
    s, u = checks.non_negative("s", s), checks.positive("u", u)
    first, second, third = _moments(heads, confidence, full)
    t = s / (1 + u)
    factor = np.maximum(first - 2 * t * second + t**2 * third, 0.0) / first
    return (np.log1p(u * factor) / np.log1p(u) - 1)[()]


def wiener_map(moment, s, c):
    r"""Second moment of a coordinate after one step: :math:`\ell \mapsto \ell\,(1 - s/(1 + c\ell))^2`.

    For one head whose frame holds the eigenvectors of ``Z^T Z / N``. At s = 1 it is ``l (c l/(1 + c l))²``: strong
    directions stay, those below the noise variance 1/c vanish (like the cube of the moment).
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Parameters
    ----------
    moment : array_like, >= 0
        Eigenvalue l of ``Z^T Z / N``.
    s : array_like, >= 0
        Reduced step tau c/N.
    c : array_like, > 0

    Examples
    --------
    >>> float(wiener_map(1.0, 1.0, 1.0))
    0.25
    """
    moment, s, c = checks.non_negative("moment", moment), checks.non_negative("s", s), checks.positive("c", c)
    return (moment * (1 - s / (1 + c * moment)) ** 2)[()]


def lmmse_shrinkage(moment, c):
    r"""Factor :math:`\ell/(\ell + 1/c)` of the best linear estimate of a signal of variance `moment` in noise 1/c.

    At s = 1 a step multiplies every eigendirection by it. It is the Wiener filter of a signal with the *input's* second
    moment; on an input that already carries the noise, the Wiener filter of the clean signal would be ``1 - 1/(c l)``.

    Examples
    --------
    >>> float(lmmse_shrinkage(3.0, 1.0))
    0.75
    """
    moment, c = checks.non_negative("moment", moment), checks.positive("c", c)
    return (c * moment / (1 + c * moment))[()]
