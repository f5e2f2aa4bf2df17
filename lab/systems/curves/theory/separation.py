r"""The separation function: how well deep networks tell two near curves apart, in one variable ``z = L Delta/(3 pi)``.

Two circles of radius r at a smallest angle Delta, exchanged by a symmetry, each with half of a uniform density. Their
kernel has a difference mode (one on the first curve, minus one on the second) of eigenvalue lambda_-, which learns the
labels, and a sum mode lambda_+. Per unit of width and with `delta = sin(Delta/2)/r`,

.. math:: \frac{16 r}3 \lambda_- = H(z) + \frac{K(z)}L + G(\delta) + \text{smaller terms}.

Everything in this module is derived for this laboratory, verified numerically, and not found in the cited papers, which
have sufficient conditions and orders instead.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = [
    "BEST_SEPARATION",
    "certificate_size",
    "curvature_term",
    "depth_terms",
    "difference_eigenvalue",
    "eigenvalue_ratio",
    "separation_function",
    "sum_eigenvalue",
]

BEST_SEPARATION = 0.60718268171946078654
"""Place z* of the maximum of H(z)/z, .98353: there lambda_-/lambda_+ is largest over depth."""


def separation_function(z):
    r"""Separation function :math:`H(z) = \int_0^\infty [S(y) - S(\sqrt{y^2+z^2})]\,dy`, :math:`S(u) = \sum_{k=1}^3
    (1+u)^{-k}`.

    .. math:: H(z) = \log\frac z2 + \frac32 + \frac{(z^2+2)\,q(z) - 3}{2 (z^2-1)^2}, \qquad
        q = \frac{\arctan\sqrt{z^2-1}}{\sqrt{z^2-1}}

    (artanh below z = 1, where ``H = log(1/2) + 3/2 + 2/15``). Curves that cannot be told apart: ``H ~ z² (3 log(2/z) -
    13/4)`` for z << 1. Separated ones: ``H ~ log z + 3/2 - log 2`` for z >> 1, the logarithm of the depth.

    Parameters
    ----------
    z : array_like, > 0
        Depth times separation over 3 pi.

    Returns
    -------
    array of the same shape
        Relative error below 1e-11 (largest near z = .01).

    Examples
    --------
    >>> [round(float(separation_function(z)), 4) for z in (0.1, 1.0, 10.0)]
    [0.0585, 0.9402, 3.1101]
    """
    z = checks.positive("z", z)
    square = z * z
    e = square - 1
    near = np.abs(e) < 0.25
    root = np.sqrt(np.abs(np.where(near, 1.0, e)))
    q = np.where(e < 0, np.log((1 + root) / z), np.arctan(root)) / root  # artanh without 1 - root, which cancels
    # bracket = sum over k >= 2 of (-e)^(k-2) (2k - 2)/(4k² - 1): the closed form loses e^-2 epsilons
    series = np.zeros_like(z)
    for k in range(30, 1, -1):
        series = -np.where(near, e, 0.0) * series + (2 * k - 2) / (4 * k * k - 1)
    bracket = np.where(near, series, ((3 + e) * q - 3) / (2 * np.where(near, 1.0, e) ** 2))
    middle = np.log(z / 2) + 1.5 + bracket
    log = np.log(2 / z)
    tiny = square * (3 * log - 13 / 4 + square * (45 * log / 8 - 171 / 32 + square * (35 * log / 4 - 743 / 96)))
    return np.where(z < 0.01, tiny, middle)[()]


def depth_terms(z):
    r"""The two parts of K(z), the correction of order 1/L, of opposite signs for z << 1.

    .. math:: K = \int_0^\infty [P(y) - P(\sqrt{y^2+z^2})]\,dy, \qquad P(y) = \tfrac32 \log v\,(1 + 3 v^{-4}) - 6
        (1 - v^{-3}) + \tfrac32 (1 - v^{-4}), \quad v = 1 + y

    The logarithm is that in the decay of angles. K > 0 below z = 1.68, and ``K/L ~ -Delta/4`` for separated curves.

    Parameters
    ----------
    z : array_like, > 0

    Returns
    -------
    logarithmic, rational : array
        Of the shape of `z`; trapezoidal rule in log y, relative error 1e-13.
    """
    z = checks.positive("z", z)
    # the integrand, times y, falls like y at 0 and like z²/y at infinity, and is analytic in a strip of width pi/2
    y = np.maximum(1.0, z[..., None]) * np.exp(np.arange(-40.0, 40.1, 0.2))
    far = np.hypot(y, z[..., None])
    v, w = 1 + y, 1 + far
    growth = np.log1p(z[..., None] ** 2 / ((far + y) * v))  # log w - log v, which cancels far out
    logarithmic = 1.5 * (3 * (np.log(v) / v**4 - np.log(w) / w**4) - growth)
    rational = 6 * (v**-3 - w**-3) - 1.5 * (v**-4 - w**-4)
    return (np.sum(logarithmic * y, axis=-1) * 0.2)[()], (np.sum(rational * y, axis=-1) * 0.2)[()]


def curvature_term(r, separation):
    r"""The correction of two circles that bend, infinitely deep, with :math:`\delta = \sin(\Delta/2)/r`:

    .. math:: G = \log\frac4\delta - \frac{K(m)}{\sqrt{1+\delta^2}} - \frac{4 r^2}{3\pi} \Big(\frac1{3\pi} +
        \frac{3\pi}{40}\Big) \big(\sqrt{1+\delta^2}\, E(m) - 1\big), \quad m = \frac1{1+\delta^2}

    with the complete elliptic integrals: the mean of 3 pi/chord, which is not that of a straight strand, and of the
    next power of the chord in the Abel function of the angle map. Of order ``delta² log(1/delta)``; where z << 1 it
    counts only if ``L r >> 1``.

    Parameters
    ----------
    r : array_like, > 0
    separation : array_like in (0, pi)
    """
    from scipy.special import ellipe, ellipkm1

    r = checks.positive("r", r)
    square = (np.sin(_separation(separation) / 2) / r) ** 2
    root, rest = np.sqrt(1 + square), square / (1 + square)  # rest = 1 - m
    inverse = np.log(4 / np.sqrt(square)) - ellipkm1(rest) / root
    power = 4 * r**2 / (3 * np.pi) * (1 / (3 * np.pi) + np.pi * 3 / 40)
    return (inverse - power * (root * ellipe(1 - rest) - 1))[()]


def difference_eigenvalue(r, separation_angle, depth, *, corrected=False):
    r"""Eigenvalue of the difference mode per unit of width, :math:`\lambda_- = \tfrac3{16 r} H(L\Delta/3\pi)`.

    Parameters
    ----------
    r : array_like in (0, 1)
        Radius of the circles in the ambient space.
    separation_angle : array_like in (0, pi)
        Delta.
    depth : array_like, > 0
    corrected : bool
        Add the corrections of order 1/L and Delta² log(1/Delta), `depth_terms` and `curvature_term`: then within
        .45 % for L >= 100, r in [.2, .7], Delta <= .6 (.12 % for L >= 300, Delta <= .3).

    Returns
    -------
    array
        Relative error without corrections O(log L/L) + O(Delta): within 3 % for L >= 100, r in [.2, .7], Delta <= .6.
    """
    r, L = checks.positive("r", r), checks.positive("depth", depth)
    Delta = _separation(separation_angle)
    z = L * Delta / (3 * np.pi)
    value = separation_function(z)
    if corrected:
        value = value + sum(depth_terms(z)) / L + curvature_term(r, Delta)
    return (3 / (16 * r) * value)[()]


def certificate_size(r, separation_angle, depth):
    r"""Size |g| of the certificate of labels +-1, times the width: :math:`16 r/(3 H(L\Delta/3\pi))`.

    For separated curves ``[4/(3 pi)]/(rho log L)`` with the density ``rho = 1/(4 pi r)`` per unit of arclength: the
    constant of the published bound ``|g| <= C/(rho_min n log L)``, sharp for this family.

    Parameters
    ----------
    r, separation_angle, depth : array_like
        As in `difference_eigenvalue`.
    """
    return (1 / np.asarray(difference_eigenvalue(r, separation_angle, depth)))[()]


def sum_eigenvalue(r, separation_angle, depth):
    r"""Eigenvalue of the sum mode per unit of width,

    .. math:: 8\lambda_+ = L + \frac3r \Big(\log\frac{4 r L}{3\pi} + \frac32\Big) - \frac{3}{2r} (H + G) +
        \frac32 \log\frac{r L}{3\pi} - \frac92 + O(1):

    the floor L/8 of the skeleton, its cusp on both circles less what separates them, and the mean of the logarithm in
    the decay of angles.

    Parameters
    ----------
    r, separation_angle, depth : array_like
        As in `difference_eigenvalue`. Relative error at most 1.3/L for L >= 100, .05 at L = 30.
    """
    r, L = checks.positive("r", r), checks.positive("depth", depth)
    Delta = _separation(separation_angle)
    missing = separation_function(L * Delta / (3 * np.pi)) + curvature_term(r, Delta)
    cusp = 3 / r * (np.log(4 * r * L / (3 * np.pi)) + 1.5) - 1.5 / r * missing
    return ((L + cusp + 1.5 * np.log(r * L / (3 * np.pi)) - 4.5) / 8)[()]


def eigenvalue_ratio(r, separation_angle, depth):
    r"""Ratio :math:`\lambda_-/\lambda_+ \sim \tfrac{3}{2 r L} H(L\Delta/3\pi)`, both with their corrections.

    A stable gradient descent takes of order lambda_+/lambda_- steps. The ratio is largest at a finite depth, which
    tends to ``L = 3 pi z*/Delta = 5.72/Delta`` as Delta -> 0.

    Parameters
    ----------
    r, separation_angle, depth : array_like
        As in `difference_eigenvalue`.
    """
    minus = difference_eigenvalue(r, separation_angle, depth, corrected=True)
    return minus / sum_eigenvalue(r, separation_angle, depth)


def _separation(value):
    return checks.checked("separation", value, lambda v: (v > 0) & (v < np.pi), "must be an angle in (0, pi) radians")
