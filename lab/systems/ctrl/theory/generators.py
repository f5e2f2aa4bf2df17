"""The generator of correlated subspaces: how correlated they are."""

from __future__ import annotations

from lab.checks import checked, integer

__all__ = ["mean_cosine", "mean_cosine_correction"]


def _parts(alpha, data_dim: int):
    alpha = checked("alpha", alpha, lambda a: (a >= 0) & (a <= 1), "must lie in [0, 1]")
    return (1 - alpha) ** 2, alpha**2 * integer("data_dim", data_dim, 1), alpha**2


def mean_cosine(alpha, data_dim: int):
    r"""Limit of the mean cosine of two normalised columns :math:`(1-\alpha)u+\alpha g` that share their u:
    :math:`\frac{(1-\alpha)^2}{(1-\alpha)^2+\alpha^2d_x}`.

    The limit is that of large d_x at constant :math:`\alpha^2d_x`; see `mean_cosine_correction`. Derived for this
    laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(float(mean_cosine(0.1, 50)), 4)
    0.6183
    """
    own, noise, _ = _parts(alpha, data_dim)
    return own / (own + noise)


def mean_cosine_correction(alpha, data_dim: int):
    r"""Next term of `mean_cosine`, of order 1/d_x: with :math:`a=(1-\alpha)^2`, :math:`s=\alpha^2d_x`,
    :math:`\frac{sa}{d_x(a+s)^3}\bigl(a-\tfrac s2+\alpha^2\bigr)`.

    From the second moments of the Gaussian parts of both columns. Derived for this laboratory, verified numerically;
    not found in the cited papers.

    Examples
    --------
    >>> round(float(mean_cosine_correction(0.1, 50)), 4)
    0.0021
    """
    own, noise, square = _parts(alpha, data_dim)
    return noise * own * (own - noise / 2 + square) / (data_dim * (own + noise) ** 3)
