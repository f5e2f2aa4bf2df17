r"""Asymptotic rates at a nondegenerate minimiser: steps of 1/L once signs and support are those of the minimiser.

With S its support and strict dual feasibility off S all three methods become linear on S. The eigenvalues of
``D_S^T D_S / L`` are the only data, the least of them is ``s``.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.systems.sparse_coding.theory.operators import columns, operator_norm

__all__ = ["LAGGED_ERROR", "LAGGED_GAP", "fista_rate", "ista_factor", "momentum", "slowest_mode"]

LAGGED_ERROR = -1.5
r"""Exponent of :math:`\|\gamma_k-\gamma^\star\|` with the lagged gradient. A mode of eigenvalue sigma obeys
``c_{k+1} = (1 - sigma) c_k + b_k (c_k - c_{k-1})`` with momentum ``b_k = 1 - 3/k + O(1/k²)``: roots of modulus
``sqrt(b_k)`` whatever sigma > 0, and the product of the b_j falls like ``k^-3``. Derived for this laboratory, verified
numerically; not found in the cited papers."""

LAGGED_GAP = -3.0
"""Exponent of the gap of the objective, quadratic in the error, with the lagged gradient."""


def slowest_mode(filters, codes) -> tuple[float, np.ndarray]:
    """``s = sigma_min²(D_S)/L`` and the right singular vector of D_S that belongs to it.

    S is the support of `codes` (M, N). The vector has one entry per place of S, in the order of ``numpy.flatnonzero``.
    """
    codes = np.asarray(codes, dtype=float)
    _, sigma, right = np.linalg.svd(columns(filters, np.flatnonzero(codes), codes.shape[1]), full_matrices=False)
    return float(sigma[-1] ** 2 / operator_norm(filters, codes.shape[1])), right[-1]


def ista_factor(curvature):
    """``1 - s``: the component of the error along `slowest_mode` is multiplied by exactly this in every step.

    References
    ----------
    .. [1] arXiv:1501.02888, Tao, Boley, Zhang (local linear convergence).
    """
    return (1 - checks.fraction("curvature", curvature, open=False))[()]


def fista_rate(curvature):
    r"""Logarithmic rate of FISTA's envelope, :math:`\tfrac12\log(1-s)`: errors fall like :math:`k^{-3/2}(1-s)^{k/2}`.

    Each mode has roots of modulus ``sqrt(b_k (1 - s))``. Slower than ISTA, ``log(1 - s)``, for every s in (0, 1).

    References
    ----------
    .. [1] arXiv:1501.02888, Tao, Boley, Zhang.

    Examples
    --------
    >>> round(float(np.exp(fista_rate(0.19))), 12)
    0.9
    """
    return (0.5 * np.log1p(-checks.fraction("curvature", curvature)))[()]


def momentum(steps: int) -> np.ndarray:
    """``b_k = (t_k - 1)/t_{k+1}``, k = 1..steps, of FISTA: b_1 = 0, and ``1 - 3/k + O(log k/k²)``.

    As ``t_k = k/2 + log(k)/4 + O(1)``, the product of the square roots is ``k^{-3/2}(1 + O(log k/k))``.
    """
    t = [1.0]
    for _ in range(checks.integer("steps", steps, 1)):
        t.append((1 + np.sqrt(1 + 4 * t[-1] ** 2)) / 2)
    return (np.array(t[:-1]) - 1) / np.array(t[1:])
