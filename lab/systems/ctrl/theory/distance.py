r"""The distance of CTRL games between features: the Bhattacharyya distance of two Gaussians.

With :math:`A=I+\beta C`, :math:`B=I+\beta\hat C` it is
:math:`\tfrac12\log\det\tfrac{A+B}2-\tfrac14\log\det A-\tfrac14\log\det B=-\log\int\sqrt{pq}`, p and q the densities of
N(0, A) and N(0, B): half the Stein divergence. It sees second moments only: zero distance means C = Chat, never
Z = Zhat sample by sample (rotate inside a class).
"""

from __future__ import annotations

import numpy as np

from lab.checks import checked, positive
from lab.errors import OutOfDomain

__all__ = ["affinity", "curvature"]


def _moment(name: str, C) -> np.ndarray:
    C = checked(name, C, np.isfinite, "must be finite")
    if C.ndim < 2 or C.shape[-1] != C.shape[-2]:
        raise OutOfDomain(f"{name} has shape {C.shape}: must be (..., d, d), a second moment")
    return C


def affinity(first, second, beta):
    r"""Bhattacharyya coefficient :math:`\int\sqrt{pq}=e^{-\mathrm{dist}}` of N(0, I + beta C) and N(0, I + beta Chat).

    .. math:: \frac{\det(A)^{1/4}\det(B)^{1/4}}{\det((A+B)/2)^{1/2}}

    Half of it bounds the error of the best guess which of the two a sample came from, both equally likely, from above.

    Parameters
    ----------
    first, second : array_like, shape (..., d, d)
        Positive semidefinite second moments.
    beta : float, > 0

    Returns
    -------
    array, shape (...), in (0, 1]
        1 iff the moments agree.

    References
    ----------
    .. [1] Bhattacharyya 1943; arXiv:2206.09120 uses the distance under the name of rate reduction of two sets.
    """
    moments = _moment("first", first), _moment("second", second)
    A, B = (np.eye(C.shape[-1]) + positive("beta", beta) * C for C in moments)
    middle, one, two = (np.linalg.slogdet(M)[1] for M in ((A + B) / 2, A, B))
    return np.exp(0.25 * (one + two) - 0.5 * middle)[()]


def curvature(C, direction, beta):
    r"""Second-order coefficient of the distance, A = I + beta C:

    .. math:: \mathrm{dist}(C,C+h\delta)=\tfrac{\beta^2}{16}\mathrm{tr}[(A^{-1}\delta)^2]\,h^2+O(h^3)

    Parameters
    ----------
    C, direction : array_like, shape (..., d, d)
        Second moment and a symmetric direction delta.
    beta : float, > 0

    Returns
    -------
    array, shape (...)

    Examples
    --------
    >>> float(curvature([[1.0]], [[1.0]], 3.0))
    0.03515625
    """
    C, delta = _moment("C", C), _moment("direction", direction)
    turned = np.linalg.solve(np.eye(C.shape[-1]) + positive("beta", beta) * C, delta)
    return (beta**2 / 16 * np.sum(turned * turned.mT, axis=(-2, -1)))[()]
