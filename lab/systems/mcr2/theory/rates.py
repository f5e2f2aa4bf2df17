r"""Bounds on coding rates.

Rates themselves live in `lab.objectives.coding_rate`; here are the closed forms they are compared with.
Reduced squared singular values are ``u = alpha sigma²`` with ``alpha = d/(N eps²)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.thresholds import rate_gain

__all__ = [
    "orthogonal_upper_bound",
    "rate_bounds_unit_norm",
    "rate_rounding",
    "two_lines_gap",
]


def orthogonal_upper_bound(spectra: Sequence, weights) -> float:
    r"""Largest rate reduction compatible with the class spectra, reached iff the classes are mutually orthogonal.

    .. math:: \Delta R \le \tfrac12 \sum_k \sum_i f(u_{k,i}; x_k),\qquad f(u;x)=\log(1+u)-x\log(1+u/x).

    Parameters
    ----------
    spectra : sequence of K array_like
        Reduced class spectra: alpha times the eigenvalues of the d x d class Gram matrices
        :math:`Z^\top \mathrm{diag}(\pi_k) Z` (alpha of the whole sample, not alpha_k); zeros may be left out.
    weights : array_like, shape (K,)
        Class fractions x_k (for soft membership the mean membership), in (0, 1].

    Returns
    -------
    float
        Nats.

    References
    ----------
    .. [1] arXiv:2006.08558 (the bound behind its Theorem 1, there in terms of sigma²).
    """
    x = np.atleast_1d(domain.fraction(weights, "weights"))
    if len(spectra) != x.size:
        raise OutOfDomain(f"spectra has {len(spectra)} classes but weights has {x.size}; pass one spectrum per class")
    return float(sum(0.5 * np.sum(rate_gain(u, fraction)) for u, fraction in zip(spectra, x, strict=True)))


def two_lines_gap(a, b, inner):
    r"""Distance of two rank-one classes from the orthogonal upper bound.

    .. math:: -\tfrac12\log\Bigl(1-\frac{ab\,\rho^2}{(1+a)(1+b)}\Bigr)

    Parameters
    ----------
    a, b : array_like, >= 0
        Reduced squared singular values of the two classes.
    inner : array_like, in [-1, 1]
        Inner product rho of their unit directions; 0 = orthogonal.

    Returns
    -------
    array
        Nats, positive unless the directions are orthogonal.
    """
    a, b = domain.non_negative("a", a), domain.non_negative("b", b)
    inner = domain.checked("inner", inner, lambda v: np.abs(v) <= 1, "must lie in [-1, 1]; pass a cosine")
    return -0.5 * np.log1p(-(a / (1 + a)) * (b / (1 + b)) * inner**2)


def rate_bounds_unit_norm(n: int, dim: int, *, eps: float) -> tuple[float, float]:
    r"""Range of the coding rate of n unit vectors: :math:`\tfrac12\log(1+c) \le R \le \tfrac q2\log(1+c/q)`.

    ``c = dim/eps²``, ``q = min(n, dim)``. Left end iff rank one (collapse), right end iff all q singular values are
    equal.

    Examples
    --------
    >>> [round(r, 6) for r in rate_bounds_unit_norm(20, 5, eps=1.0)]
    [0.89588, 1.732868]
    """
    q = min(domain.integer("n", n, 1), domain.integer("dim", dim, 1))
    c = dim / float(domain.positive("eps", eps)) ** 2
    return 0.5 * float(np.log1p(c)), 0.5 * q * float(np.log1p(c / q))


def rate_rounding(dim: int, energy: float, *, size: int | None = None, condition: float | None = None) -> float:
    """Rounding error of a log-determinant of ``I + alpha Z^T Z``, in units of the machine epsilon.

    ``50 dim log(1 + energy) + size * condition``: error of the logarithms, plus that of the factorised matrix.

    Parameters
    ----------
    dim : int
        Dimension d.
    energy : float, >= 0
        alpha ||Z||_F² (alpha_k ||Z_k||_F² for class terms: pass the largest).
    size, condition : optional
        Size and condition number of the factored matrix; by default `dim` and 1 + `energy`, the worst case of a
        singular Gram matrix.

    Returns
    -------
    float
        Multiply by ``finfo(dtype).eps`` for an absolute tolerance in nats.
    """
    energy = float(domain.non_negative("energy", energy))
    size = domain.integer("dim", dim, 1) if size is None else domain.integer("size", size, 1)
    return 50 * dim * float(np.log1p(energy)) + size * (1 + energy if condition is None else condition)
