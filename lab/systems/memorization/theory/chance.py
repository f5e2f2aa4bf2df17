r"""How often a fresh sample counts as a copy by chance.

Around a fresh sample, far from the ends of a smooth density, the N training points look like a Poisson process: the
volumes of the balls that reach the nearest and the second nearest are the first two points of a Poisson process on the
line. Their ratio is uniform, and volume is the r-th power of the radius.
"""

from __future__ import annotations

from lab import checks

__all__ = ["chance_level"]


def chance_level(threshold, dim):
    r"""Share of fresh samples that are copies by chance: :math:`P(r_1^2\le c\,r_2^2)=c^{r/2}` as N grows.

    :math:`(r_1/r_2)^r` is uniform on (0, 1), with r the intrinsic dimension of the data.

    Parameters
    ----------
    threshold : array_like, in (0, 1)
        c of the criterion, on squared distances.
    dim : array_like, > 0
        r.

    Returns
    -------
    array

    Raises
    ------
    OutOfDomain
        If a threshold is outside (0, 1) or a dimension is not positive.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in arXiv:2508.17689.

    Examples
    --------
    >>> round(float(chance_level(1 / 9, 2)), 4)
    0.1111
    """
    return (checks.fraction("threshold", threshold) ** (checks.positive("dim", dim) / 2))[()]
