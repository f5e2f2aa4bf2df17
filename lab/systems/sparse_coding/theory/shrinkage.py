r"""A closed loop through the Lasso: codes of a decoded code are biased twice.

``z = enc(D gamma)``, ``z^ = enc(D z)``, enc the minimiser of F. While S = supp z = supp z^ contains supp gamma, with
the same signs, one pass subtracts ``lam b``, ``b = (D_S^T D_S)^{-1} sgn``. Derived for this laboratory, verified
numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.systems.sparse_coding.theory.operators import columns

__all__ = ["bias", "distance_coefficient", "survives"]


def bias(filters, support, signs, length: int) -> np.ndarray:
    r"""``b = (D_S^T D_S)^{-1} sgn``: ``z_S = gamma_S - lam b`` and ``z^_S = gamma_S - 2 lam b``.

    Parameters
    ----------
    filters : array_like, shape (M, C, n)
    support : array_like of int
        Flat places ``m N + k``.
    signs : array_like
        Signs of z on the support.
    """
    D = columns(filters, support, length)
    return np.linalg.solve(D.T @ D, np.asarray(signs, dtype=float))


def distance_coefficient(codes, b, beta) -> float:
    r"""Limit of ``dist/lam²`` as lam goes to 0 between codes z and their images z^ under the loop.

    .. math:: \frac{\beta^2}{16}\operatorname{tr}\big[(A^{-1}\delta)^2\big], \qquad
              A = I + \beta\,\overline{\gamma\gamma^\top}, \quad \delta = -(\bar\gamma b^\top + b\bar\gamma^\top),

    dist the Bhattacharyya distance of ``N(0, I + beta C)`` with uncentred second moments C, means over samples.

    Parameters
    ----------
    codes : array_like, shape (n, |S|)
        gamma on the support, all samples with the same signs.
    b : array_like, shape (|S|,)
        `bias`.
    beta : float, > 0
        Dimension of the codes over eps².
    """
    g, b = np.asarray(codes, dtype=float), np.asarray(b, dtype=float)
    beta = float(checks.positive("beta", beta))
    A = np.eye(g.shape[1]) + beta * g.T @ g / len(g)
    first = np.outer(g.mean(0), b)
    turned = np.linalg.solve(A, first + first.T)
    return float(beta**2 / 16 * np.trace(turned @ turned))


def survives(amplitude, lam):
    """Whether an isolated entry (orthonormal columns) passes the loop twice: ``|amplitude| > 2 lam``.

    Examples
    --------
    >>> bool(survives(0.25, 0.2)), bool(survives(0.5, 0.2))
    (False, True)
    """
    return np.abs(amplitude) > 2 * checks.non_negative("lam", lam)
