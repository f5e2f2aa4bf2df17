r"""Largest rate reduction of features of any scale: their own class energies, or their total energy alone, are given.

The published constrained problem fixes :math:`\|Z_k\|_F^2=N_k`. Features as they come have other energies e_k; with
``C_k = alpha e_k`` a class of rank r is worth at most ``r f(C_k/r; x_k)/2`` (see `constrained`). Two statements:

* `energy_maximum`: what mutually orthogonal classes of these energies reach, with total rank at most d. Attained.
* `energy_ceiling`: no features of these energies exceed it, overlapping or not, whatever their ranks.

They agree where every class has room for its own optimal rank, and where the energies suit a global maximum of F.
Samples are rows, Z of shape (N, d). Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain
from lab.systems.mcr2.theory.constrained import class_optimum, rank_threshold
from lab.systems.mcr2.theory.maxima import _filled
from lab.systems.mcr2.theory.thresholds import maxwell, rate_gain

__all__ = ["EnergyMaximum", "energy_ceiling", "energy_maximum", "rank_loss_eps"]


class EnergyMaximum(NamedTuple):
    """Largest rate reduction of orthogonal classes with given energies, and its maximiser.

    Attributes
    ----------
    value : float
        Nats.
    ranks : array of int, shape (K,)
        Equal singular values of each class.
    u : array, shape (K,)
        Reduced squared singular value ``alpha e_k/r_k``; 0 for a class without energy.
    """

    value: float
    ranks: np.ndarray
    u: np.ndarray


def _problem(class_sizes: Sequence[int], dim: int, energies, eps: float):
    """(sizes, d, fractions, reduced energies C_k), checked."""
    n, dim = domain.sizes(class_sizes), domain.integer("dim", dim, 1)
    e = np.atleast_1d(domain.non_negative("energies", energies))
    if e.shape != n.shape:
        raise OutOfDomain(f"energies has shape {e.shape}: must be ({n.size},), one ||Z_k||_F^2 per class")
    return n, dim, n / n.sum(), domain.gram_scale(int(n.sum()), dim, eps=eps) * e


def _spread(energy, x, rank):
    """Twice the worth of `rank` equal directions of total reduced energy `energy`."""
    return rank * rate_gain(energy / rank, x)


def energy_maximum(class_sizes: Sequence[int], dim: int, energies, *, eps: float) -> EnergyMaximum:
    r"""Largest rate reduction of mutually orthogonal classes with energies :math:`\|Z_k\|_F^2=e_k`.

    .. math:: \max\ \tfrac12\sum_k r_k f(C_k/r_k;x_k)\quad\text{over}\quad
              1\le r_k\le\min(N_k,d),\ \sum_k r_k\le d,\qquad C_k=\alpha e_k

    Parameters
    ----------
    class_sizes : sequence of int
        (N_1, ..., N_K).
    dim : int
        Dimension d of the features, at least the number of classes with energy.
    energies : array_like, shape (K,)
        Squared Frobenius norms of the classes. ``energies = class_sizes`` with rank bounds that add up to d is the
        constrained problem of [1].
    eps : float, > 0
        Distortion, in the units of the features.

    Returns
    -------
    EnergyMaximum

    Raises
    ------
    OutOfDomain
        If more classes have energy than there are dimensions: they cannot be orthogonal.

    Notes
    -----
    One direction more is worth less and less as long as it is worth anything, so directions go one by one to the class
    that gains most.

    References
    ----------
    .. [1] arXiv:2006.08558, Theorem 2.1 (energies N_k, given bounds on the ranks).

    Examples
    --------
    >>> best = energy_maximum((12, 12), 4, (12.0, 3.0), eps=0.5)
    >>> round(best.value, 6), best.ranks.tolist()
    (0.711501, [3, 1])
    """
    n, dim, x, C = _problem(class_sizes, dim, energies, eps)
    rank = (C > 0).astype(int)
    if rank.sum() > dim:
        raise OutOfDomain(f"dim={dim}: {rank.sum()} classes have energy and cannot be orthogonal; use energy_ceiling")
    most = np.where(C > 0, np.minimum(n, dim), 0)
    value = np.where(C > 0, _spread(C, x, np.maximum(rank, 1)), 0.0)
    more = np.where(C > 0, _spread(C, x, rank + 1), 0.0)
    for _ in range(dim - int(rank.sum())):
        gain = np.where(rank < most, more - value, -np.inf)
        k = int(np.argmax(gain))
        if not gain[k] > 0:
            break
        rank[k] += 1
        value[k], more[k] = more[k], _spread(C[k], x[k], rank[k] + 1)
    return EnergyMaximum(float(value.sum()) / 2, rank, np.where(rank > 0, C / np.maximum(rank, 1), 0.0))


def energy_ceiling(class_sizes: Sequence[int], dim: int, energies, *, eps: float) -> float:
    r"""Bound on the rate reduction of any features with class energies e_k; nothing is assumed of ranks or overlap.

    The smaller one of

    .. math:: \tfrac12\sum_k\max_{r\le\min(N_k,d)}rf(C_k/r;x_k)\qquad\text{and}\qquad
              \min_{\lambda>0}\Bigl[\max_Z F_\lambda(Z)+\tfrac\lambda2\sum_k e_k\Bigr].

    The first is the orthogonal upper bound at the best spectrum of each class; the second is weak duality with the
    global maximum of the regularised objective (`global_maximum`), which knows that there are only d dimensions.

    Parameters and units as in `energy_maximum`; more classes than dimensions are welcome.

    Examples
    --------
    Eight balanced unit-energy classes of rank two: no overlap does better.

    >>> sizes, energies = [20] * 8, [20.0] * 8
    >>> gap = energy_ceiling(sizes, 16, energies, eps=0.5) - energy_maximum(sizes, 16, energies, eps=0.5).value
    >>> bool(abs(gap) < 1e-12)
    True
    """
    n, dim, x, C = _problem(class_sizes, dim, energies, eps)
    if not np.any(C > 0):
        return 0.0
    if n.size == 1:
        return 0.0  # one class alone: Delta R vanishes
    live = C > 0
    spectral = float(np.sum(class_optimum(x[live], C[live], np.minimum(n, dim)[live])[1]))
    alpha, energy = domain.gram_scale(int(n.sum()), dim, eps=eps), float(np.sum(C))

    collapse = maxwell(x)

    def dual(tau: float):
        best = _filled(n, dim, alpha, tau, tau < collapse)  # the global maximum at lambda = alpha tau
        return best.value + 0.5 * tau * energy, alpha * best.energy

    # the energy of the maximiser falls with tau; the bound is least where it passes the energy of the features
    above = float(np.max(collapse))  # beyond it the maximiser is 0
    below, bound = above / 2, dual(above)[0]
    while dual(below)[1] < energy and below > 1e-300:
        above, below = below, below / 4
    for _ in range(60):
        middle = np.sqrt(below * above)
        value, spent = dual(middle)
        bound = min(bound, value)
        below, above = (middle, above) if spent >= energy else (below, middle)
    return min(spectral, bound)


def rank_loss_eps(class_sizes: Sequence[int], dim: int, energies, ranks: Sequence[int]) -> np.ndarray:
    r"""Distortion beyond which each class is better off with fewer than `ranks` directions: :math:`\epsilon_k`.

    .. math:: \epsilon_k^2=\frac{d\,e_k}{N\,C_{r_k-1}(x_k)}

    with C the `rank_threshold`; infinite for ranks 0 and 1.

    Parameters
    ----------
    class_sizes, dim, energies
        As in `energy_maximum`.
    ranks : sequence of int, shape (K,)
        Directions per class, e.g. those of `energy_maximum` at the eps at hand.

    Returns
    -------
    array, shape (K,)
        eps (not squared), in the units of the features.

    Examples
    --------
    >>> rank_loss_eps((20, 20), 8, (20.0, 20.0), (4, 1)).round(4).tolist()
    [0.867, inf]
    """
    n, dim, x, C = _problem(class_sizes, dim, energies, 1.0)
    r = domain.ranks("ranks", ranks, n.size)
    many = (r >= 2) & (x < 1)
    threshold = np.where(many, rank_threshold(np.where(many, x, 0.5), np.maximum(r - 1, 1)), 1.0)
    return np.where(many, np.sqrt(C / threshold), np.inf)
