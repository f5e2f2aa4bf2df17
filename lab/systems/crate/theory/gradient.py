r"""Gradient of the coding rate on subspaces, and its first-order Neumann expansion.

In the singular value decomposition of the head coordinates W (N, p), with :math:`x = \beta s^2`, the exact gradient has
the singular values :math:`\beta s/(1+x)`, the expansion :math:`\beta s (1 - x)`.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["logdet_gradient", "neumann_error", "neumann_gradient", "rate_gradient"]


def rate_gradient(Z, U, beta):
    r"""Gradient of :math:`R^c`: :math:`\beta \sum_k W_k (I_p + \beta W_k^\top W_k)^{-1} U_k^\top`, :math:`W_k = Z U_k`.

    Every token of a head is multiplied by the same p x p matrix; what lies outside the span of the frames is untouched.

    Parameters
    ----------
    Z : array_like, shape (N, d)
        Tokens in rows.
    U : array_like, shape (K, d, p)
        Frames; orthonormal columns are not needed for the formula.
    beta : float, > 0
        ``p/(N eps²)``, in 1/(units of Z)².

    Returns
    -------
    array, shape (N, d)
        Nats per unit of Z.

    References
    ----------
    .. [1] arXiv:2306.01129, section on MSSA (N x N form there; the p x p form follows by the push-through identity).

    Examples
    --------
    >>> rate_gradient([[1.0, 0.0]], [[[1.0], [0.0]]], 1.0)
    array([[0.5, 0. ]])
    """
    Z, U = np.asarray(Z, dtype=float), np.asarray(U, dtype=float)
    beta = float(checks.positive("beta", beta))
    W = Z @ U
    inner = np.eye(U.shape[-1]) + beta * np.swapaxes(W, -1, -2) @ W
    filtered = np.swapaxes(np.linalg.solve(inner, np.swapaxes(W, -1, -2)), -1, -2)
    return beta * np.sum(filtered @ np.swapaxes(U, -1, -2), axis=0)


def logdet_gradient(Z, alpha, *, factor: float = 2.0):
    r"""Gradient of :math:`\log\det(I + \alpha Z^\top Z)`: :math:`2\alpha Z (I + \alpha Z^\top Z)^{-1}`.

    `factor` is the 2 (an exercise of the book prints 1).
    """
    Z = np.asarray(Z, dtype=float)
    alpha = float(checks.positive("alpha", alpha))
    return factor * alpha * np.linalg.solve(np.eye(Z.shape[1]) + alpha * Z.T @ Z, Z.T).T


def neumann_gradient(W, beta, *, power: float = 1.0):
    r"""First-order Neumann expansion of a head's gradient: :math:`\beta (W - \beta^{q}\, W W^\top W)`, q = `power` = 1.

    :math:`\mathrm{MSSA} = \beta W W^\top W` (with the Gram matrix for the softmax) already contains a factor beta;
    ``power=2`` is the printed line that multiplies by beta² and so counts it twice.
    """
    W = np.asarray(W, dtype=float)
    beta = float(checks.positive("beta", beta))
    return beta * (W - beta**power * W @ (np.swapaxes(W, -1, -2) @ W))


def neumann_error(s, beta):
    r"""Exact error of the expansion on singular value s: :math:`\beta s\, x^2/(1+x)`, :math:`x = \beta s^2`.

    Exact gradient minus expansion; relative to the exact gradient it is x². The expansion has the wrong sign for x > 1.

    Parameters
    ----------
    s : array_like, >= 0
        Singular values of the head coordinates.
    beta : array_like, > 0

    Notes
    -----
    ``1/(1+x) - (1-x) = x²/(1+x)``. Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> float(neumann_error(2.0, 0.5))
    1.3333333333333333
    """
    s, beta = checks.non_negative("s", s), checks.positive("beta", beta)
    x = beta * s**2
    return (beta * s * x**2 / (1 + x))[()]
