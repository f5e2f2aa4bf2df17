r"""From the constrained problem to the regularised one: the multiplier of the constraint.

.. math:: F(Z) = \Delta R(Z) - \tfrac{\lambda}{2}\|Z\|_F^2

Also: what the official code of the regularised problem calls its parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.thresholds import maxwell_point

__all__ = ["from_official", "matched_multiplier", "matched_point_is_global", "to_official"]


def _reduced(class_sizes: Sequence[int], dim: int, ranks: Sequence[int], eps: float):
    """(sizes, alpha, u_k) of orthogonal classes with energies N_k and r_k equal singular values."""
    n, dim = domain.sizes(class_sizes), domain.integer("dim", dim, 1)
    r = domain.ranks("ranks", ranks, n.size)
    if np.any(r < 1) or np.any(r > np.minimum(n, dim)) or r.sum() > dim:
        raise OutOfDomain(
            f"ranks={ranks!r}: orthogonal classes of energy N_k need 1 <= r_k <= N_k and sum r_k <= dim={dim}; "
            "lower ranks or raise dim"
        )
    alpha = domain.gram_scale(int(n.sum()), dim, eps=eps)
    return n, dim, alpha, alpha * n / r


def matched_multiplier(class_sizes: Sequence[int], dim: int, ranks: Sequence[int], *, eps: float) -> np.ndarray:
    r"""Multiplier of each class at orthogonal classes of energy N_k with r_k equal singular values.

    .. math:: \lambda_k=\alpha\Big[\frac1{1+x_kc/r_k}-\frac1{1+c/r_k}\Big]

    Parameters
    ----------
    class_sizes : sequence of int
        (N_1, ..., N_K).
    dim : int
        Dimension d of the features.
    ranks : sequence of int
        (r_1, ..., r_K) with ``1 <= r_k <= N_k`` and ``sum r_k <= dim``.
    eps : float, > 0
        Distortion.

    Returns
    -------
    array, shape (K,)
        The point is critical for F iff all entries are equal (equal sizes and ranks, say), and then at that lambda; on
        the upper branch iff ``x c/r > sqrt(x)``, see `matched_point_is_global` for the rest. Classes of different size
        have different multipliers in general: then no single lambda makes their constrained optimum critical.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    References
    ----------
    .. [1] arXiv:2406.01909, Proposition 1 (relation of the two problems).

    Examples
    --------
    >>> matched_multiplier((4, 4), 4, (2, 2), eps=1.0).round(6).tolist()
    [0.083333, 0.083333]
    """
    n, _, alpha, u = _reduced(class_sizes, dim, ranks, eps)
    x = n / n.sum()
    return alpha * (u / (x + u)) * ((1 - x) / (1 + u))  # 1/(1+u) - 1/(1+u/x) without its cancellation


def matched_point_is_global(class_size: int, classes: int, dim: int, rank: int, *, eps: float) -> bool:
    r"""Whether K equal classes of energy N_k with `rank` equal singular values each maximise F at their multiplier.

    They do iff ``u = x c/r`` is at least the Maxwell point ``u_t(x)``, x = 1/K, and the ranks fill the space,
    ``K r = min(N, d)``; at ``u = u_t`` exactly, where a direction is worth nothing, any rank will do.

    Only this way round: F has more maximisers at that lambda, since any split of the total rank over the classes has
    the same value, and those with unequal ranks violate ``||Z_k||_F² = N_k``. The constrained optimum is among the
    regularised ones, not the other way round. Derived for this laboratory, verified numerically; not found in the cited
    papers.

    Examples
    --------
    >>> matched_point_is_global(4, 2, 4, 2, eps=0.8), matched_point_is_global(4, 2, 4, 1, eps=0.8)
    (True, False)
    """
    classes = domain.integer("classes", classes, 2)
    sizes = (domain.integer("class_size", class_size, 1),) * classes
    n, dim, _, u = _reduced(sizes, dim, (rank,) * classes, eps)
    point = maxwell_point(1 / classes)
    return bool(u[0] == point or (u[0] > point and classes * rank == min(int(n.sum()), dim)))


def from_official(eps: float, lmb: float) -> tuple[float, float]:
    r"""(eps, lambda) of this library from the `eps` and `lmb` of the official code of the regularised problem.

    That code writes ``d/(N eps)`` and ``lmb ||Z||²``: its `eps` is :math:`\epsilon^2`, its `lmb` is :math:`\lambda/2`.
    So ``eps = sqrt(eps_official)`` and ``lam = 2 lmb``.

    Notes
    -----
    A comment in that code evaluates the largest admissible lambda (`published_multiplier_bound`) with eps = 0.5 for
    d = 100, N = 2000, K = 10 equal classes, .1039, as if 0.5 entered squared, and compares `lmb` with it. With
    eps² = 0.5, as the code computes, lambda must not exceed .05195, hence `lmb` not .02597: a quarter of the comment's
    number.

    References
    ----------
    .. [1] arXiv:2406.01909, Theorem 1, and its code peng8wang/MCR2.

    Examples
    --------
    >>> eps, lam = from_official(0.25, 0.01)
    >>> eps, lam
    (0.5, 0.02)
    """
    return float(np.sqrt(domain.positive("eps", eps))), 2.0 * float(domain.positive("lmb", lmb))


def to_official(eps: float, lam: float) -> tuple[float, float]:
    """(`eps`, `lmb`) of the official code of the regularised problem: ``eps²`` and ``lam/2``; see `from_official`.

    Examples
    --------
    >>> to_official(0.5, 0.02)
    (0.25, 0.01)
    """
    return float(domain.positive("eps", eps)) ** 2, 0.5 * float(domain.positive("lam", lam))
