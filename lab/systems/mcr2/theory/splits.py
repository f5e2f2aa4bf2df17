r"""Which class wins a direction: the competition of classes that overlap, and the split of ranks it leads to.

Second moments are ``S_k = Z_k^T Z_k/N_k`` (not centred). What decides between classes is who has the larger second
moment along a direction, not who has more samples or energy there. Derived for this laboratory, verified numerically;
not found in the cited papers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.mcr2.theory import domain

__all__ = ["competing_grams", "inertia_split", "tie_amplification", "time_to_first_loss", "winner_of_direction"]


def winner_of_direction(u, x):
    r"""The only class that can survive along a direction that classes share: the largest second moment, u_k/x_k.

    Parameters
    ----------
    u : array_like, shape (..., K)
        Reduced squared singular values ``alpha sigma²`` of the classes along one shared right singular vector.
    x : array_like, shape (..., K)
        Class fractions.

    Returns
    -------
    array of int, shape (...)
        Class number. Whether it survives depends on the size of all u; the others do not.

    Notes
    -----
    Where the Gram matrices of all classes commute, each common eigenvector has a flow of its own,
    ``du_k/dt = 2 alpha u_k [1/(1 + sum u) - 1/(1 + u_k/x_k) - tau]``. Classes with equal ``u_k/x_k`` grow at equal
    rates, so the order of the ``u_k/x_k`` never changes; and no maximum has two classes in one direction.

    Examples
    --------
    Class 1 has the smaller energy, but the larger second moment.

    >>> int(winner_of_direction([1.0, 2.0], [0.25, 0.75]))
    0
    """
    u, x = domain.non_negative("u", u), domain.fraction(x)
    return np.argmax(u / x, axis=-1)


def tie_amplification(start, tau, end=0.0):
    r"""Factor by which the relative difference of nearly equal second moments grows along a shared direction.

    .. math:: \frac{\delta(w)/w}{\delta(w_0)/w_0}
              = \exp\Big[\frac1\tau\Big(\frac1{1+w}-\frac1{1+w_0}\Big)\Big],\qquad w=u_k/x_k

    Classes whose second moments w are nearly equal shrink together, as the regulariser alone would have it, from w_0 to
    w under gradient flow; their difference grows meanwhile. A tie closer than about ``exp(-1/tau)`` is not resolved
    before the direction has died: then nobody wins it.

    Parameters
    ----------
    start, end : array_like, >= 0
        w_0 and w, reduced second moments ``alpha N sigma²/N_k``; end = 0 gives the most that can happen.
    tau : array_like, > 0
        lambda/alpha.

    Returns
    -------
    array

    Examples
    --------
    >>> float(tie_amplification(4.0, 0.1).round(3))
    2980.958
    """
    start, end = domain.non_negative("start", start), domain.non_negative("end", end)
    return np.exp((1 / (1 + end) - 1 / (1 + start)) / domain.multiplier(tau))


def _symmetric_root(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(matrix)
    if values[0] <= 0:
        raise OutOfDomain(
            f"grams: their sum has smallest eigenvalue {values[0]:.3g}, must be positive definite; give classes that "
            "span the space"
        )
    return values, vectors


def _grams(grams, class_sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    n = domain.sizes(class_sizes)
    grams = np.asarray(grams, dtype=float)
    if grams.ndim != 3 or grams.shape[0] != n.size or grams.shape[1] != grams.shape[2]:
        raise OutOfDomain(f"grams has shape {grams.shape}: must be (K, d, d) with K={n.size} classes")
    return grams, n / n.sum()


def competing_grams(grams, class_sizes: Sequence[int], time: float) -> np.ndarray:
    r"""How classes that all span the space compete while the regulariser is weak: a closed form of gradient flow.

    With :math:`g_k=\lambda Z_k^\top Z_k`, :math:`g=\sum_k g_k` and time in units of :math:`1/\lambda`, as
    :math:`\tau\to0` at fixed :math:`g_k(0)`,

    .. math:: g_k(t) = e^{-2t}\big[x_k\,g(0) + e^{sH}\,(g_k(0)-x_k\,g(0))\,e^{sH}\big],\qquad
              H=g(0)^{-1},\quad s=\tfrac12(e^{2t}-1).

    The whole shrinks, ``g(t) = e^{-2t} g(0)``; what a class has beyond its share x_k grows, and so does what it lacks.
    They grow by congruence: the number of positive eigenvalues of ``S_k - S`` is conserved (Sylvester), until a class
    loses its first direction at `time_to_first_loss`. The features are large then, ``u ~ 1/tau``. Corrections are
    O(tau).

    Parameters
    ----------
    grams : array, shape (K, d, d)
        ``lambda Z_k^T Z_k`` at the start, positive definite; ``eps`` does not enter.
    class_sizes : sequence of int
        (N_1, ..., N_K), each at least d.
    time : float, >= 0
        Up to `time_to_first_loss`.

    Returns
    -------
    array, shape (K, d, d)
        ``lambda Z_k^T Z_k`` at that time.

    Raises
    ------
    OutOfDomain
        If the whole is not positive definite.
    """
    grams, x = _grams(grams, class_sizes)
    time = float(domain.non_negative("time", time))
    whole = grams.sum(axis=0)
    values, vectors = _symmetric_root(whole)
    growth = vectors * np.exp(0.5 * np.expm1(2 * time) / values) @ vectors.T
    share = x[:, None, None] * whole
    return np.exp(-2 * time) * (share + growth @ (grams - share) @ growth)


def time_to_first_loss(grams, class_sizes: Sequence[int]) -> float:
    r"""Time (in 1/lambda) at which, in `competing_grams`, the first class loses a direction.

    The first t at which some ``g_k(t)`` is singular. Arguments as there. Infinite for identical second moments.
    """
    grams, x = _grams(grams, class_sizes)
    whole = grams.sum(axis=0)
    if np.allclose(grams, x[:, None, None] * whole, rtol=1e-13, atol=0):
        return float("inf")

    def least(time: float) -> float:
        return float(np.linalg.eigvalsh(np.exp(2 * time) * competing_grams(grams, class_sizes, time)).min())

    low, high = 0.0, 0.25
    while least(high) > 0:
        low, high = high, 1.25 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if least(middle) > 0 else (low, middle)
    return low


def inertia_split(first, second) -> tuple[int, int]:
    r"""Most directions that each of two classes can win, N_k >> d: positive and negative eigenvalues of S_1 - S_2.

    Parameters
    ----------
    first, second : array, shape (..., d, d)
        Second moments S_1, S_2 of the classes at the start.

    Returns
    -------
    ceilings of the ranks of class 1 and class 2, arrays of int, shape (...)
        Large starts reach them, but for near ties, which die (`tie_amplification`).

    Notes
    -----
    Exact while `competing_grams` is, and for commuting second moments (`winner_of_direction`). The probability that a
    Gaussian start gives a direction to the other class was seen to vanish like d/N_k (.028, .011, .0038, .0009 at
    N_k/d = 3, 7.5, 25, 75; d = 4, equal classes).

    Examples
    --------
    >>> inertia_split(np.diag([1.0, 2.0, 3.0]), np.diag([2.0, 1.0, 1.0]))
    (2, 1)
    """
    values = np.linalg.eigvalsh(np.asarray(first, dtype=float) - np.asarray(second, dtype=float))
    above, below = np.sum(values > 0, axis=-1), np.sum(values < 0, axis=-1)
    return (int(above), int(below)) if values.ndim == 1 else (above, below)
