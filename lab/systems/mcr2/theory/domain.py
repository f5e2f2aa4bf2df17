"""Domains shared by the closed forms: each check returns clean arrays or raises one sentence.

A value outside a domain never yields a number: the error names the parameter, its value, the rule, the way out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.checks import checked, integer, non_negative, positive
from lab.errors import OutOfDomain

__all__ = ["checked", "fraction", "gram_scale", "integer", "multiplier", "non_negative", "positive", "ranks",
           "reduced_multiplier", "sizes"]  # fmt: skip


def fraction(x, name: str = "x", where=True) -> np.ndarray:
    """A class fraction or an effective fraction, in (0, 1]."""
    return checked(name, x, lambda v: (v > 0) & (v <= 1), "must lie in (0, 1]; pass N_k/N (or theta)", where)


def multiplier(tau, name: str = "tau", where=True) -> np.ndarray:
    """A positive finite regularisation weight."""
    rule = "must be positive and finite; without regularisation the objective has no maximum"
    return checked(name, tau, lambda v: (v > 0) & np.isfinite(v), rule, where)


def sizes(class_sizes: Sequence[int], name: str = "class_sizes") -> np.ndarray:
    """Class sizes as a non-empty vector of positive integers."""
    n = np.asarray(class_sizes)
    if n.ndim != 1 or n.size == 0 or not np.all(n == np.floor(n)) or np.any(n < 1):
        raise OutOfDomain(f"{name}={class_sizes!r}: must be a non-empty sequence of positive integers (N_1, ..., N_K)")
    return n.astype(int)


def ranks(name: str, value: Sequence[int], classes: int) -> np.ndarray:
    """One non-negative integer per class."""
    r = np.asarray(value)
    if r.shape != (classes,) or not np.all(r == np.floor(r)) or np.any(r < 0):
        raise OutOfDomain(f"{name}={value!r}: must hold one non-negative integer for each of the {classes} classes")
    return r.astype(int)


def gram_scale(n: int, dim: int, *, eps: float) -> float:
    r"""The factor :math:`\alpha = \mathrm{dim}/(n\,\mathrm{eps}^2)` in front of the Gram matrix in a coding rate.

    Parameters
    ----------
    n : int
        Number of samples: N for :math:`\alpha`, N_k for :math:`\alpha_k`.
    dim : int
        Dimension d of the features.
    eps : float, > 0
        Distortion, in the units of the features (it enters squared).

    Returns
    -------
    float
        In 1/(units of the features)².

    Examples
    --------
    >>> gram_scale(8, 4, eps=0.5)
    2.0
    """
    return float(integer("dim", dim, 1) / (integer("n", n, 1) * positive("eps", eps) ** 2))


def reduced_multiplier(lam, n: int, dim: int, *, eps: float):
    r"""The reduced regularisation weight :math:`\tau = \lambda/\alpha = \lambda n\,\mathrm{eps}^2/\mathrm{dim}`.

    `lam` multiplies :math:`\tfrac12\|Z\|_F^2`; codes that penalise ``lmb ||Z||²`` have ``lam = 2 lmb``.

    Examples
    --------
    >>> float(reduced_multiplier(0.5, 8, 4, eps=0.5))
    0.25
    """
    return multiplier(lam, "lam") / gram_scale(n, dim, eps=eps)
