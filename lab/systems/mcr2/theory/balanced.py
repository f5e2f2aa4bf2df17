r"""Unit rows in classes of equal size, without a bound on ranks: the largest rate reduction, and where it ends.

Samples are rows; ``K`` classes, d a multiple of K, ``q = d/K``.
"""

from __future__ import annotations

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.constrained import rank_threshold
from lab.systems.mcr2.theory.thresholds import rate_gain

__all__ = ["balanced_largest_eps", "balanced_maximum"]


def balanced_largest_eps(classes: int, dim: int) -> float:
    r"""Largest distortion for which `balanced_maximum` holds: :math:`\epsilon^2=q/C_{q-1}(1/K)`, ``q = dim/classes``.

    Infinite for q = 1. It decreases in q towards :math:`1/\sqrt{u_t(1/K)}`, which suffices for every dimension
    (eps² = 1.405 for ten classes). Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(balanced_largest_eps(10, 20) ** 2, 4), round(balanced_largest_eps(10, 1000) ** 2, 4)
    (1.9831, 1.412)
    """
    classes, dim = domain.integer("classes", classes, 2), domain.integer("dim", dim, 1)
    if dim % classes:
        raise OutOfDomain(f"dim={dim}: must be a multiple of classes={classes}; pass one, or use constrained_maximum")
    q = dim // classes
    return float(np.sqrt(q / rank_threshold(1 / classes, q - 1))) if q > 1 else float("inf")


def balanced_maximum(class_size: int, classes: int, dim: int, *, eps: float) -> float:
    r"""Largest rate reduction of unit rows in K classes of equal size, without a bound on ranks.

    .. math:: \max\Delta R=\tfrac d2\big[\log(1+\epsilon^{-2})-K^{-1}\log(1+K\epsilon^{-2})\big]

    Attained by orthogonal classes of rank ``q = d/K`` with equal singular values (tight frames). It also bounds the
    rate reduction of features of total energy ``||Z||_F² = N`` whatever the rows and classes share, as long as
    ``eps² <= 1/u_t(1/K)``.

    Parameters
    ----------
    class_size : int, >= dim/classes
        Samples of each class.
    classes : int, >= 2
    dim : int
        A multiple of `classes`.
    eps : float, > 0, at most `balanced_largest_eps`

    Returns
    -------
    float
        Nats.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(balanced_maximum(4, 3, 12, eps=0.5**0.5), 8)
    2.69985343
    """
    limit = balanced_largest_eps(classes, dim)
    if domain.integer("class_size", class_size, 1) < dim // classes:
        raise OutOfDomain(f"class_size={class_size}: a class needs dim/classes={dim // classes} samples; raise it")
    rule = f"beyond balanced_largest_eps = {limit!r} fewer directions are better; lower eps"
    eps = float(domain.checked("eps", domain.positive("eps", eps), lambda v: v <= limit, rule))
    return float(dim / 2 * rate_gain(eps**-2, 1 / classes))
