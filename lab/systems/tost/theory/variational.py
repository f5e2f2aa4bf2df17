r"""The variational bound: a sum over eigenvalues is at most the same sum over the diagonal in any basis.

For f concave on [0, inf) and M positive semidefinite, :math:`\sum_i f(\lambda_i(M)) \le \sum_i f((Q^\top M Q)_{ii})`
for every orthogonal Q: each diagonal entry is an average of the eigenvalues with weights :math:`Q_{ji}^2` that are
doubly stochastic. Monotonicity of f is not needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lab import checks
from lab.errors import nearest

__all__ = ["FUNCTIONS", "Function", "spectral_rate"]


class Function(NamedTuple):
    """A function of the reduced second moment, its slope, and what is known of it.

    `slope_at_zero` decides the largest safe step; `strict` says whether the bound is attained by eigenvectors only.
    Values and slopes are analytic expressions where the function is: they take complex arguments.
    """

    value: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    slope_at_zero: float
    strict: bool


FUNCTIONS = {
    "log": Function(np.log1p, lambda x: 1 / (1 + x), 1.0, True),
    "ratio": Function(lambda x: x / (1 + x), lambda x: (1 + x) ** -2, 1.0, True),
    "root": Function(np.sqrt, lambda x: 0.5 / np.sqrt(x), np.inf, True),
    "hump": Function(lambda x: x - 0.5 * x**2, lambda x: 1 - x, 1.0, True),
    "capped": Function(lambda x: np.minimum(x, 1.0), lambda x: (x < 1) * 1.0, 1.0, False),
    "linear": Function(lambda x: 1.0 * x, lambda x: np.ones_like(x), 1.0, False),
}
"""Concave functions with f(0) = 0: the logarithm of the coding rate, others, one that is not monotone (`hump`), two
that are not strictly concave (`capped`, `linear`)."""


def spectral_rate(spectra, masses, *, c: float, function: str = "log") -> float:
    r"""Coding rate of classes from spectra of second moments: :math:`\sum_k\frac{n_k}{2N}\sum_i f(c\lambda_{ki})`.

    Parameters
    ----------
    spectra : array_like, shape (K, m)
        Eigenvalues of ``Z^T diag(pi_k) Z / n_k``; zeros count nothing, since f(0) = 0.
    masses : array_like, shape (K,)
        n_k; they add up to N.
    c : float, > 0
        ``d/eps²``.
    function : key of `FUNCTIONS`

    Returns
    -------
    float
        Nats for ``log``.

    References
    ----------
    .. [1] arXiv:2412.17810, compression term for a concave f.

    Examples
    --------
    >>> round(spectral_rate([[1.0, 3.0]], [5.0], c=1.0), 6)
    1.039721
    """
    if function not in FUNCTIONS:
        raise nearest("function", function, FUNCTIONS)
    spectra, masses = checks.non_negative("spectra", spectra), checks.positive("masses", masses)
    values = FUNCTIONS[function].value(checks.positive("c", c) * spectra)
    return float(np.sum(masses / np.sum(masses) * np.sum(values, axis=-1)) / 2)
