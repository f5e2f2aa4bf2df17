r"""Kernels of finite width: exact mean and variance of the neural tangent kernel on its diagonal, and their limit.

A bias-free ReLU network of width n with L hidden layers, unit input. One layer acts on its features a and on the
Jacobian Gram matrix K (n x n) of a with respect to all weights so far by

.. math:: a' = \mathrm{relu}(Wa),\qquad K' = D(WKW^T+|a|^2 I)D,\qquad D = 1\{Wa>0\},

and the kernel is :math:`\Theta=|a_L|^2+v^TK_Lv` with the read-out v. Second moments of eight invariants close under a
layer. Derived for this laboratory, verified numerically; not found in the cited papers. Earlier literature has bounds
of order :math:`e^{5L/n}` [1]_.

References
----------
.. [1] arXiv:1909.05989, Hanin, Nica 2019 (fluctuations are governed by depth over width).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lab import checks

__all__ = [
    "Invariants",
    "kernel_moments",
    "layer_moments",
    "relative_variance",
    "variance_limit",
    "variance_slope",
]

_SERIES_BELOW = 0.5
_TERMS = 30
"""Of the series in 6 beta <= 3: the first one left out is below 3**30 / 30! = 1e-18."""


class Invariants(NamedTuple):
    r"""Second moments of features a and Jacobian Gram matrix K.

    With :math:`A=|a|^2`, :math:`u=a/|a|`, :math:`T=\mathrm{tr}K`, :math:`k=u^TKu` (0 where a = 0) they are the
    expectations of :math:`A^2, AT, Ak, T^2, Tk, k^2`, of :math:`S=\mathrm{tr}K^2` and of :math:`r=|Ku|^2`.
    """

    A2: float
    AT: float
    Ak: float
    T2: float
    Tk: float
    k2: float
    S: float
    r: float


_INPUT = Invariants(1.0, *[0.0] * 7)


def layer_moments(before: Invariants, width: int, *, gain: float = 2.0) -> Invariants:
    r"""Invariants after one layer of `width` neurons with weights :math:`N(0,\mathrm{gain}/n)`; exact for every n >= 1.

    Given the gates, W splits into its action along u, which decides them, and independent normal numbers across it.
    With m live neurons, every term is a moment of m, of :math:`|g_+|^2` (g normal, n numbers) or of a Gaussian form;
    those without a factor :math:`|g_+|^2` count only if some neuron lives, with probability :math:`1-2^{-n}`.

    Parameters
    ----------
    before : Invariants
        Of the layer's input; any dimension.
    width : int, >= 1
    gain : float, > 0
        2 keeps :math:`E|a|^2`.

    Raises
    ------
    OutOfDomain
        If the width is not a positive whole number, or the gain not positive.
    """
    n = checks.integer("width", width, 1)
    c = float(checks.positive("gain", gain)) / n
    A2, AT, Ak, T2, Tk, k2, S, r = before
    # parts of K across u: t its trace, Q that of its square, b the coupling to u
    At, kt, t2, Q, b = AT - Ak, Tk - k2, T2 - 2 * Tk + k2, S - 2 * r + k2, r - k2
    alive = 1 - 0.5**n
    g2, g4 = n / 2, n * (n + 5) / 4  # moments of |g_+|²
    others = n / 2 - alive  # E (m-1)_+
    others_2 = n * (n - 3) / 4 + alive  # E (m-1)_+²
    others_g2 = others_pairs = n * (n - 1) / 4  # E (m-1) |g_+|² and E m (m-1)
    square = A2 + 2 * c * At + c**2 * t2  # E (A + c t)²: a diagonal entry of K' across u', without its fluctuation

    new_k2 = c**2 * (g4 * k2 + 4 * g2 * b) + 2 * c * g2 * (Ak + c * kt) + alive * (square + 2 * c**2 * Q)
    across_k = c * others_g2 * (Ak + c * kt) + others * square  # E (T'-k') k'
    across_across = others_2 * square + 2 * c**2 * others * Q  # E (T'-k')²
    coupling = c**2 * (others_g2 * b + others * Q)  # E |K'u'|² - k'²
    across_S = others * square + c**2 * others_pairs * Q  # squared block of K' across u'
    new_Ak = c**2 * (g4 * Ak + g2 * At) + c * g2 * A2
    return Invariants(
        A2=c**2 * g4 * A2,
        AT=new_Ak + c * others_g2 * (A2 + c * At),
        Ak=new_Ak,
        T2=new_k2 + 2 * across_k + across_across,
        Tk=new_k2 + across_k,
        k2=new_k2,
        S=new_k2 + 2 * coupling + across_S,
        r=new_k2 + coupling,
    )


def kernel_moments(
    width: int, depth: int, *, gain: float = 2.0, readout: float = 1.0, hidden: float = 1.0
) -> tuple[float, float]:
    r"""Mean and second moment of :math:`\Theta(x,x)`, |x| = 1, exact for every width n and depth L.

    .. math:: E\Theta=1+nL/2,\qquad E\Theta^2=E[A^2]+2E[AT]+E[T^2]+2E[\mathrm{tr}K^2]

    after L layers of `layer_moments`: the read-out has standard normal weights,
    :math:`E(v^TKv)^2=T^2+2\,\mathrm{tr}K^2`.

    Parameters
    ----------
    width : int, >= 1
    depth : int, >= 1
        Number of hidden layers.
    gain : float, > 0
        Hidden weights are :math:`N(0,\mathrm{gain}/n)`, **those of the first layer too**.
    readout, hidden : float, >= 0
        Factors of the two parts :math:`|a_L|^2` and :math:`v^TKv`. (1, 1) is the kernel of all weights; (1, 2/n) that
        of the *NTK parametrisation*, where weights are standard normal and layers carry the factors; (0, 1) trains
        hidden weights only.

    Returns
    -------
    (mean, second moment)

    Raises
    ------
    OutOfDomain
        If a size is not a positive whole number, or a factor out of range.

    Examples
    --------
    >>> mean, second = kernel_moments(8, 3)
    >>> mean, round(second / mean**2 - 1, 6)
    (13.0, 2.133471)
    """
    n, L = checks.integer("width", width, 1), checks.integer("depth", depth, 1)
    gain = float(checks.positive("gain", gain))
    readout, hidden = (float(checks.non_negative(k, v)) for k, v in (("readout", readout), ("hidden", hidden)))
    now = _INPUT  # unit features, no weights yet
    for _ in range(L):
        now = layer_moments(now, n, gain=gain)
    mean = readout * (gain / 2) ** L + hidden * L * (n / 2) * (gain / 2) ** (L - 1)
    return mean, readout**2 * now.A2 + 2 * readout * hidden * now.AT + hidden**2 * (now.T2 + 2 * now.S)


def relative_variance(width: int, depth: int, **factors: float) -> float:
    r""":math:`\mathrm{Var}\,\Theta(x,x)/(E\Theta)^2`; `factors` as in `kernel_moments`.

    Governed by L/n alone once both are large: `variance_limit`. Relative rounding error about n units, from the
    difference of numbers near 1.
    """
    mean, second = kernel_moments(width, depth, **factors)
    return second / mean**2 - 1


def variance_limit(beta) -> np.ndarray:
    r"""Limit of `relative_variance` as n and L grow with :math:`L/n\to\beta`:

    .. math:: \frac{e^{5\beta}}{\beta^2}\Big[\frac{\beta^2}{3}+\frac{2\beta}{9}-\frac{1-e^{-6\beta}}{27}\Big]-1
              =\tfrac{11}{3}\beta+O(\beta^2).

    At beta = 1 the relative variance is 76: the kernel is noise.

    Parameters
    ----------
    beta : array, >= 0
        Depth over width.

    Raises
    ------
    OutOfDomain
        If a beta is negative.

    Examples
    --------
    >>> np.round(variance_limit([0.0, 0.1, 1.0]), 6)
    array([ 0.      ,  0.458273, 75.968597])
    """
    beta = checks.non_negative("beta", beta)
    # bracket / beta² = 1 + rest; three terms cancel at small beta, there the series of the exponential takes over
    k = np.arange(3, 3 + _TERMS)
    signed = np.cumprod(np.r_[-36.0, -6.0 / k[1:]])  # (-6)**k / k!
    small = beta < _SERIES_BELOW
    low, high = np.where(small, beta, 0.0), np.where(small, 1.0, beta)
    series = np.sum(signed / 27 * low[..., None] ** (k - 2), axis=-1)
    direct = (high**2 / 3 + 2 * high / 9 + np.expm1(-6 * high) / 27) / high**2 - 1
    rest = np.where(small, series, direct)
    return np.expm1(5 * beta) * (1 + rest) + rest


def variance_slope(depth: int) -> float:
    r"""Limit of n times `relative_variance` as the width grows at depth L, :math:`\tfrac{11}{3}L+\tfrac{4}{3L}`.

    Raises
    ------
    OutOfDomain
        If the depth is no whole number >= 1.
    """
    L = checks.integer("depth", depth, 1)
    return 11 * L / 3 + 4 / (3 * L)
