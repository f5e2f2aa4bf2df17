r"""One exact gradient step of the coding rate: what it does to singular values, and how far it descends."""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["descent_edge", "guaranteed_decrease", "ridge_projection", "singular_values_after"]


def singular_values_after(s, reduced_step, beta):
    r"""Singular values of a head after one step: :math:`s\,|1 - \kappa\beta/(1+\beta s^2)|`.

    Parameters
    ----------
    s : array_like, >= 0
    reduced_step : array_like, >= 0
        ``kappa beta``.
    beta : array_like, > 0

    Examples
    --------
    >>> float(singular_values_after(1.0, 1.0, 1.0))
    0.5
    """
    s, step = checks.non_negative("s", s), checks.non_negative("reduced_step", reduced_step)
    return (s * np.abs(1 - step / (1 + checks.positive("beta", beta) * s**2)))[()]


def guaranteed_decrease(reduced_step):
    r"""Least decrease of :math:`R^c` in one step, in units of :math:`|\nabla R^c|^2/L`: :math:`t(1 - t/2)`.

    :math:`t = \kappa L` with :math:`L = \beta \|\sum_k U_k U_k^\top\|`, which is beta for stacked-orthonormal frames.
    Positive for t < 2; attained as the tokens shrink to zero.

    Notes
    -----
    The log-determinant is concave in ``W^T W`` with slope at most beta, so the rate lies below the quadratic of
    curvature L through any of its tangents.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> float(guaranteed_decrease(1.0))
    0.5
    """
    t = checks.non_negative("reduced_step", reduced_step)
    return (t * (1 - t / 2))[()]


def descent_edge(x):
    r"""Reduced step at which one step no longer lowers the rate, for equal singular values: :math:`2(1 + x)`.

    ``x = beta s²``; the limit 2 for x -> 0 is the edge of guaranteed descent.
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    return (2 * (1 + checks.non_negative("x", x)))[()]


def ridge_projection(Z, U, beta):
    r"""Tokens after the step :math:`\kappa = 1/\beta`, frames stacked-orthonormal:
    :math:`Z (I - \sum_k U_k U_k^\top) + \sum_k W_k\, \beta S_k (I + \beta S_k)^{-1} U_k^\top`,
    :math:`S_k = W_k^\top W_k`.

    Each head is projected, softly, onto its strong directions: a direction of second moment l/beta keeps the share
    l/(1 + l). Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    Z, U = np.asarray(Z, dtype=float), np.asarray(U, dtype=float)
    beta = float(checks.positive("beta", beta))
    out = Z.copy()
    for frame in U:
        W = Z @ frame
        values, vectors = np.linalg.eigh(W.T @ W)
        share = beta * values / (1 + beta * values)
        out += (W @ (vectors * share) @ vectors.T - W) @ frame.T
    return out
