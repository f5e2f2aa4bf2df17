r"""Rate reduction of features with a flat spectrum, trained ones among them, under labels that mean nothing to them.

Samples are rows, ``c = d/eps²``. Second moments are not centred.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.random_features import Variance, read_null

__all__ = ["whitened_null_rate_reduction"]


def whitened_null_rate_reduction(
    dim: int, class_sizes: Sequence[int], *, eps: float, variance: Variance = None, subspaces: int = 1,
    correction: bool = True,
) -> float:  # fmt: skip
    r"""Rate reduction of whitened features under random labels: the floor of features with a flat spectrum.

    Training that maximises a coding rate makes the sample second moment ``Z^T Z/N = v I`` exactly. Random labels then
    save more than on independent noise, whose spectrum is spread already:

    .. math:: E\,\Delta R=\frac N2\Bigl[\beta\log(1+s)-\sum_kx_k\,L(s/x_k;x_k)\Bigr]
              -\sum_k x_k\,b_k+O(1/d),\qquad
              L(a;x)=\log(1-w)-x\log(1-\tfrac wx)-\beta\log(1-\tfrac w\beta)

    with ``s = c v``, ``beta = d/N`` and w the root in (0, min(x, beta)) of :math:`a(x-w)(\beta-w)=w(1-w)`: L is the
    limit of :math:`\tfrac1N\log\det(I+aQ^\top PQ)` for a random frame Q (N, d) and a projection P on ``x N`` samples.

    Parameters
    ----------
    dim, class_sizes, eps, variance
        As in `null_rate_reduction`.
    subspaces : int
        1: one frame in general position (whitened noise). K: orthogonal subspaces of equal dimension, one for each of K
        equal groups of rows, which the random labels ignore: features trained by MCR² on K balanced classes. Enters the
        correction only.
    correction : bool
        Whether to add the terms of order one,
        :math:`b_k=\tfrac B4\log(1-g_k)+\tfrac{B-1}4x_k(1-x_k)\,\partial_x^2L(a;x)|_{a=s/x_k,\,x=x_k}` for B subspaces,
        with :math:`g_k=[(\sqrt{1+a\lambda_+}-\sqrt{1+a\lambda_-})/(\sqrt{1+a\lambda_+}+\sqrt{1+a\lambda_-})]^2`
        and :math:`\lambda_\pm=(\sqrt{x(1-\beta)}\pm\sqrt{\beta(1-x)})^2`.

    Returns
    -------
    float
        Nats. For N <= dim all rows are orthogonal, and the value
        :math:`\tfrac N2[\log(1+s\beta)-\sum_kx_k^2\log(1+s\beta/x_k)]` is exact for any labels.

    Notes
    -----
    Keeps about ``1e-16 s`` relative precision for large s. Derived for this laboratory (S-transform of two free
    projections), verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(whitened_null_rate_reduction(64, [64] * 4, eps=0.5**0.5, variance="unit sphere"), 3)
    5.757
    """
    null, count = read_null(dim, class_sizes, eps, variance), sum(class_sizes)
    blocks, x, beta, a = domain.integer("subspaces", subspaces, 1), null.x, null.ratio, null.snr / null.x
    if beta >= 1:
        return 0.5 * count * float(np.log1p(null.snr * beta) - x**2 @ np.log1p(a * beta))
    linear = 1 + a * (x + beta)
    w = 2 * a * x * beta / (linear + np.sqrt(linear**2 - 4 * (1 + a) * a * x * beta))
    own = np.log1p(-w) - x * np.log1p(-w / x) - beta * np.log1p(-w / beta)
    floor = 0.5 * count * float(beta * np.log1p(null.snr) - x @ own)
    if not correction:
        return floor
    wide, narrow = (np.sqrt(x * (1 - beta)) + sign * np.sqrt(beta * (1 - x)) for sign in (1, -1))
    wide, narrow = np.sqrt(1 + a * wide**2), np.sqrt(1 + a * narrow**2)
    slope = 1 / (x - w) / (1 / (x - w) + 1 / (beta - w) + 1 / w - 1 / (1 - w))  # dw/dx at fixed a
    bend = (x * slope - w) / (x * (x - w))
    shift = 0.25 * blocks * np.log(4 * wide * narrow / (wide + narrow) ** 2)
    return floor - float(x @ (shift + 0.25 * (blocks - 1) * x * (1 - x) * bend))
