r"""CTRL-MSP: all local maxima of the leader, and what keeps a leader from its value.

Notation of `lab.systems.ctrl.theory.multiple_subspaces`. A direction without energy gains none in first order
(phi'(0) = 0), so a rank once lost is lost, and ascent ends on a known discrete set of values.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.ctrl.theory.multiple_subspaces import fits, problem, rank_value, share, slot

__all__ = ["GapParts", "LocalMaxima", "gap_parts", "local_maxima"]

_LARGEST_TABLE = 10**6


class LocalMaxima(NamedTuple):
    """All rank vectors (M, K) at which ascent can end, by descending value (M,) in nats."""

    ranks: np.ndarray
    values: np.ndarray


class GapParts(NamedTuple):
    """Where a leader loses: overlap of the classes (a number), and each class by itself, shape (K,), in nats."""

    orthogonality: float
    classes: np.ndarray

    @property
    def total(self) -> float:
        return self.orthogonality + float(self.classes.sum())


def local_maxima(class_sizes: Sequence[int], ranks: Sequence[int], dim: int, *, eps: float) -> LocalMaxima:
    r"""Every local maximum of the leader's problem, modulo rotations: rank vectors with ``k_j = 1`` or
    :math:`u_j/k_j>\sqrt{\gamma_j}`, ``1 <= k_j <= d_j``, of value :math:`\sum_j\tfrac12k_j\varphi(u_j/k_j)`.

    Arguments and errors as in `equilibrium`; also OutOfDomain if there are more than a million.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> table = local_maxima((30, 50, 20), (2, 3, 4), 12, eps=0.5**0.5)
    >>> len(table.values), table.ranks[0].tolist(), round(float(table.values[0]), 6)
    (24, [2, 3, 4], 2.321361)
    """
    gamma, u, d = problem(class_sizes, ranks, dim, eps)
    fits(d, dim)
    allowed = [[k for k in range(1, m + 1) if k == 1 or e / k > g**0.5] for e, g, m in zip(u, gamma, d, strict=True)]
    count = np.prod([float(len(one)) for one in allowed])
    if count > _LARGEST_TABLE:
        raise OutOfDomain(f"the table has {count:.3g} entries; lower the number of classes or their ranks")
    table = np.array(list(product(*allowed)))
    values = np.sum(rank_value(u, gamma, table), axis=1)
    order = np.argsort(-values, kind="stable")
    return LocalMaxima(table[order], values[order])


def gap_parts(moments, class_sizes: Sequence[int], ranks: Sequence[int], *, eps: float) -> GapParts:
    r"""What keeps features from the leader's value: ``V* - Delta R`` as a sum over overlap and classes.

    .. math:: \Bigl[\sum_j\tfrac12\log\det(I+\beta\gamma_jC_j)-\tfrac12\log\det(I+\beta\bar C)\Bigr]
              +\sum_j\Bigl[\max_k\tfrac12k\varphi(u_j/k)-\tfrac12\sum_i\varphi_{\gamma_j}(\beta\gamma_j\lambda_{ji})\Bigr]

    with the eigenvalues :math:`\lambda_{ji}` of :math:`C_j`, :math:`\bar C=\sum_j\gamma_jC_j`.

    Parameters
    ----------
    moments : array_like, shape (K, d_z, d_z)
        ``C_j = Z_j^T Z_j/n_j``; feasible if the traces are at most 1.
    class_sizes, ranks : sequence of int, length K
        n_j, and the ranks d_j of the data.
    eps : float, > 0

    Returns
    -------
    GapParts
        `orthogonality` >= 0 always. A class part is >= 0 for feasible features of rank at most d_j: a negative one
        shows energy beyond n_j.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    C = np.asarray(moments, dtype=float)
    gamma, u, d = problem(class_sizes, ranks, C.shape[-1], eps)
    if C.shape != (gamma.size, C.shape[-1], C.shape[-1]) or not np.all(np.isfinite(C)):
        raise OutOfDomain(f"moments have shape {C.shape}: must be ({gamma.size}, d_z, d_z), finite, one per class")
    spectra = u[:, None] * np.maximum(np.linalg.eigvalsh(C), 0.0)
    whole = np.maximum(np.linalg.eigvalsh(np.sum(u[:, None, None] * C, axis=0)), 0.0)
    overlap = 0.5 * float(np.sum(np.log1p(spectra)) - np.sum(np.log1p(whole)))
    return GapParts(overlap, share(u, gamma, d) - 0.5 * np.sum(slot(spectra, gamma[:, None]), axis=1))
