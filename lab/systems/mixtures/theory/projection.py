r"""Two orthogonal subspaces of rank p, variance 1, equal weights: what not knowing the label costs.

With :math:`A_1 = |U_1^\top z|^2 \sim (1+s^2)\chi^2_p`, :math:`A_2 \sim s^2\chi^2_p` for a sample of component 1 in
noise of variance s² the posterior weight of the wrong component is :math:`r = 1/(1 + e^{(A_1-A_2)/(2s^2(1+s^2))})`.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lab import checks

__all__ = ["excess_constant", "excess_exponent", "label_excess", "mean_squared_error", "plain_excess", "plain_exponent"]

_TAIL = 1e-15
_NODES = 600


def _chi_square(p: int, low: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Nodes, and weights for averages over a chi-square variable: trapezoid in the logarithm, from `low` if given."""
    from scipy import special  # scipy.stats takes a second to import

    first = 2 * special.gammaincinv(p / 2, _TAIL) if low is None else low
    at = np.linspace(np.log(first), np.log(special.chdtri(p, _TAIL)), _NODES)
    x = np.exp(at)
    density = np.exp(0.5 * p * at - 0.5 * x - 0.5 * p * np.log(2) - special.gammaln(p / 2))
    return x, density * (at[1] - at[0])


def _wrong(own, other, s2):
    """Posterior weight of the wrong component."""
    return 0.5 * (1 - np.tanh((own - other) / (4 * s2 * (1 + s2))))


def _averaged(p: int, s: float, of) -> float:
    p, s2 = checks.integer("p", p, 1), float(checks.positive("s", s)) ** 2
    # samples of squared size s² are confused: the grid of the own energy begins where their share is _TAIL
    u, wu = _chi_square(p, low=s2 / (1 + s2) * _TAIL ** (2 / p))
    v, wv = _chi_square(p)
    own, other = (1 + s2) * u[:, None], s2 * v
    return float(wu @ of(own, other, _wrong(own, other, s2), s2) @ wv)


@lru_cache(maxsize=4096)
def label_excess(p: int, s: float) -> float:
    r"""Mean of :math:`|D - D_{or}|^2`, the cost of not knowing the label, at any s:
    :math:`(1+s^2)^{-2} E[r^2 (A_1 + A_2)]`.

    :math:`D_{or}(z) = P_{label} z/(1+s^2)` is the best denoiser that knows the label.

    Parameters
    ----------
    p : int
        Rank of each of the two subspaces.
    s : float, > 0
        Standard deviation of the noise, in units of the signal's.

    Examples
    --------
    >>> round(label_excess(1, 0.025) / 0.025**3, 4)
    1.2207
    """
    return _averaged(p, s, lambda own, other, r, s2: r**2 * (own + other) / (1 + s2) ** 2)


@lru_cache(maxsize=4096)
def plain_excess(p: int, s: float) -> float:
    r"""Mean of :math:`|D - P_{label} z|^2`, distance of the best denoiser from the plain projection of a known label.

    :math:`E[(\kappa r + 1 - \kappa)^2 A_1 + \kappa^2 r^2 A_2]`, :math:`\kappa = 1/(1+s^2)`; of it
    :math:`p s^4/(1+s^2)` is the missing shrinkage.
    """
    def of(own, other, r, s2):
        kappa = 1 / (1 + s2)
        return (kappa * r + 1 - kappa) ** 2 * own + kappa**2 * r**2 * other

    return _averaged(p, s, of)


def mean_squared_error(p: int, s: float) -> float:
    r"""Least mean squared error of the mixture: :math:`p s^2/(1+s^2)` for known labels plus `label_excess`."""
    s2 = float(checks.positive("s", s)) ** 2
    return checks.integer("p", p, 1) * s2 / (1 + s2) + label_excess(p, s)


@lru_cache(maxsize=64)
def excess_constant(p: int) -> float:
    r"""Constant of ``label_excess(p, s) = C_p s^(p+2) (1 + O(s²))``.

    .. math:: C_p = (2\pi)^{-p/2}\int_{\mathbb R^p}\!dy\; E_{v\sim\chi^2_p}\,\frac{|y|^2+v}{(1+e^{(|y|^2-v)/2})^2}

    Examples
    --------
    >>> [round(excess_constant(p), 6) for p in (1, 2, 3)]
    [1.22335, 4.417523, 12.159581]
    """
    from scipy.special import gammaln

    p = checks.integer("p", p, 1)
    v, wv = _chi_square(p)
    at = np.linspace(np.log(1e-30), np.log(v[-1] + 160), 2 * _NODES)  # log |y|²
    w = np.exp(at)
    density = np.exp(0.5 * p * (at - np.log(2)) - gammaln(p / 2)) * (at[1] - at[0])
    r = 0.5 * (1 - np.tanh((w[:, None] - v) / 4))
    return float(density @ (r**2 * (w[:, None] + v)) @ wv)


def excess_exponent(p: int) -> int:
    r"""Exponent of the cost of unknown labels in the noise s: p + 2, for any number of subspaces.

    A sample is confused if it is as small as the noise, with chance of order s^p, and then errs by s².
    """
    return checks.integer("p", p, 1) + 2


def plain_exponent(p: int) -> int:
    """Exponent of `plain_excess` in s: ``min(4, p + 2)``; beyond rank 2 the missing shrinkage dominates."""
    return min(4, excess_exponent(p))
