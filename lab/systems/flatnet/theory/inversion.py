r"""Derivative of a flattening layer: determinant, singular values, and the bound on its inverse.

At a point with tangent part of length t and normal part of length eta relative to the centre,
:math:`k=\alpha e^{-\gamma(t^2+\eta^2)}`, the derivative is, on the plane of the two parts,

.. math:: \begin{pmatrix}1&0\\ 2\gamma k t\eta & 1-k+2\gamma k\eta^2\end{pmatrix},

1 on the other tangent directions and 1 - k on the other normal ones.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["determinant", "inverse_bound", "kernel_value", "smallest_singular_value"]


def kernel_value(t, eta, gamma, alpha):
    r""":math:`k=\alpha e^{-\gamma(t^2+\eta^2)}`.

    Parameters
    ----------
    t, eta : array_like, >= 0
        Lengths of the tangent and of the normal part of the point relative to the centre.
    gamma : array_like, > 0
        Inverse squared width.
    alpha : array_like in [0, 1]
        Height.
    """
    t, eta = checks.non_negative("t", t), checks.non_negative("eta", eta)
    gamma, alpha = checks.positive("gamma", gamma), checks.fraction("alpha", alpha, open=False)
    return (alpha * np.exp(-gamma * (t**2 + eta**2)))[()]


def determinant(t, eta, gamma, alpha, codimension):
    r"""Determinant of the derivative: :math:`(1-k)^{D-d}\bigl(1+\frac{2\gamma k\eta^2}{1-k}\bigr)`.

    At least :math:`(1-\alpha)^{D-d}`, so the layer is a diffeomorphism for alpha < 1 (it moves no point farther than a
    bounded distance, hence is proper).

    Parameters
    ----------
    t, eta, gamma, alpha
        As in `kernel_value`.
    codimension : int, >= 1
        D - d.

    Examples
    --------
    >>> float(determinant(0.0, 0.0, 1.0, 0.5, 3))
    0.125
    """
    k, codimension = kernel_value(t, eta, gamma, alpha), checks.integer("codimension", codimension, 1)
    return ((1 - k) ** (codimension - 1) * (1 - k + 2 * gamma * k * np.square(eta)))[()]


def smallest_singular_value(t, eta, gamma, alpha, codimension):
    r"""Smallest singular value of the derivative; at least 1 - alpha, with equality at the centre.

    It may be below 1 - k at the point: the plane's matrix is sheared.

    Examples
    --------
    >>> k = float(kernel_value(0.5, 0.15, 1.0, 0.5))
    >>> bool(smallest_singular_value(0.5, 0.15, 1.0, 0.5, 1) / (1 - k) > 1)
    True
    """
    k, codimension = kernel_value(t, eta, gamma, alpha), checks.integer("codimension", codimension, 1)
    shear = 2 * gamma * k * np.asarray(t) * np.asarray(eta)
    stretch = 1 - k + 2 * gamma * k * np.square(eta)
    # singular values s <= S: S² + s² = 1 + shear² + stretch² and S s = stretch
    sum_, gap = np.hypot(1 + stretch, shear), np.hypot(1 - stretch, shear)
    plane = 2 * stretch / (sum_ + gap)
    return np.minimum(plane, 1 - k if codimension > 1 else 1.0)[()]


def inverse_bound(alphas, scales):
    r"""Largest amplification of an error by the inverse of a network: :math:`\prod_l s_l/(1-\alpha_l)`.

    Parameters
    ----------
    alphas, scales : array_like, shape (L,)
        Heights of the kernels, and the divisors that follow the layers.

    Examples
    --------
    >>> float(inverse_bound([0.5, 0.5], [1.0, 1.0]))
    4.0
    """
    alphas = checks.checked("alphas", alphas, lambda v: (v >= 0) & (v < 1), "must lie in [0, 1)")
    return np.prod(checks.positive("scales", scales) / (1 - alphas))[()]
