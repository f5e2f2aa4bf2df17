r"""Variance of estimators whose neighbourhoods overlap.

For all pairs within a *fixed* radius R the matter is exact. The centred logarithms :math:`h(r)=\ln(R/r)-1/d` of
different pairs are uncorrelated on a homogeneous space, since the mean of h over one point of the pair does not depend
on the other: so over unordered pairs the sum of h has the variance of independent terms, and counted from every point
(each pair twice) it has twice that. With k neighbours instead of a radius the factor is less, 1.6 to 1.8 for k up to
20, and not known in closed form.
"""

from __future__ import annotations

import math

from lab import checks

__all__ = ["ball_volume", "coverage", "pairs_within"]


def ball_volume(d, r):
    r"""Volume of the d-ball of radius r, :math:`\pi^{d/2}r^d/\Gamma(d/2+1)`."""
    d = checks.integer("d", d, 1)
    return (math.pi ** (d / 2) / math.gamma(d / 2 + 1) * checks.positive("r", r) ** d)[()]


def pairs_within(n, d, r):
    """Mean number of unordered pairs of n uniform points of the flat torus [0, 1)^d at distances below r <= 1/2."""
    n = checks.integer("n", n, 2)
    r = checks.checked("r", r, lambda v: (v > 0) & (v <= 0.5), "must lie in (0, 1/2]")
    return n * (n - 1) / 2 * ball_volume(d, r)


def coverage(level, ratio):
    r"""Probability that a normal interval contains the truth if its variance is off: :math:`2\Phi(z/\sqrt\rho)-1`.

    Parameters
    ----------
    level : float in (0, 1)
        Nominal; z is its two-sided quantile.
    ratio : float, > 0
        True variance over the one that the interval was built with.

    Examples
    --------
    >>> round(float(coverage(0.95, 1.58)), 4)
    0.8811
    """
    from scipy.special import ndtr, ndtri

    level, ratio = checks.fraction("level", level), checks.positive("ratio", ratio)
    return (2 * ndtr(ndtri((1 + level) / 2) / ratio**0.5) - 1)[()]
