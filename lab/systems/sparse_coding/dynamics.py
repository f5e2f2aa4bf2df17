"""What is iterated: problems with a known minimiser, and the errors of coding methods on the way to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lab.errors import InputError
from lab.models import convolutional_coding as coding

__all__ = ["Errors", "errors", "planted_signal"]


def planted_signal(filters: np.ndarray, codes: np.ndarray, lam: float, *, nonnegative: bool = False):
    r"""Signal whose Lasso minimiser is `codes`, and how far its optimality conditions are from failing.

    ``x = D gamma + r`` with ``r = lam D_S (D_S^T D_S)^{-1} sgn``, the least residual with ``D_S^T r = lam sgn``.

    Returns
    -------
    signal : array, shape (C, N)
    slack : float
        ``1 - max D^T r/lam`` off the support (of the modulus, unless `nonnegative`); `codes` is the unique minimiser if
        it is positive.
    """
    length, support = codes.shape[1], np.flatnonzero(codes)
    weights = np.zeros(codes.size)
    gram = coding.support_gram(filters, support, length)
    weights[support] = np.linalg.solve(gram, np.sign(codes.ravel()[support]))
    residual = lam * coding.decode(weights.reshape(codes.shape), filters)
    rest = coding.correlate(residual, filters).ravel() / lam
    rest = rest if nonnegative else np.abs(rest)
    rest[support] = -np.inf
    return coding.decode(codes, filters) + residual, 1 - float(rest.max())


class Errors(NamedTuple):
    """Errors after 1, ..., K steps.

    Attributes
    ----------
    on : array (K, |S|)
        ``gamma_k - gamma*`` on the support of the minimiser.
    identified : array of bool (K,)
        Whether support and signs are those of the minimiser.
    gaps : array (K,)
        ``F(gamma_k) - F(gamma*)``, without cancellation.
    """

    on: np.ndarray
    identified: np.ndarray
    gaps: np.ndarray


def errors(
    signal: np.ndarray, filters: np.ndarray, codes: np.ndarray, *, lam: float, method: coding.Method, steps: int,
    nonnegative: bool = False, step: float | None = None,
) -> Errors:  # fmt: skip
    """Errors of `steps` steps from zero towards the minimiser `codes` (M, N) of `signal` (C, N)."""
    if steps < 1:
        raise InputError(f"steps={steps} must be at least 1")
    run = coding.iterates(signal, filters, lam=lam, method=method, nonnegative=nonnegative, step=step)
    path = np.stack([next(run) for _ in range(steps)])
    support, apart = np.flatnonzero(codes), path - codes
    slope = coding.correlate(coding.decode(codes, filters) - signal, filters)
    # a sum of nonnegative numbers: the first-order part of every coordinate, and the curvature
    first = lam * (np.abs(path) - np.abs(codes)) + slope * apart
    curved = 0.5 * np.sum(coding.decode(apart, filters) ** 2, axis=(1, 2))
    same = np.all(np.sign(path) == np.sign(codes), axis=(1, 2))
    return Errors(apart.reshape(steps, -1)[:, support], same, np.sum(first, axis=(1, 2)) + curved)
