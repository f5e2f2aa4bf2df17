r"""Frames that are not orthogonal: the rate stays exact under its events, and overlap enters as noise.

Independent random frames of rank p in R^d overlap by a p x p block ``G = U_c^T U_j`` whose entries have variance 1/d. A
token of cluster c then shows, in a foreign head j, its noise *and* a leaked copy of its signal, ``e_j + a G`` (rows),
of mean square ``p (delta² + p/d)``. The layer itself adds ``eta tau`` times the projection on the token's own subspace
under the events, whatever the overlap. So coherence ``sqrt(p/d)`` decides only how often the events break.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.systems.attention_only.theory.failures import foreign_failure, signal_failure

__all__ = ["incoherent_exact_probability", "leaked_noise"]


def leaked_noise(delta, rank, dim):
    r"""Root mean square of a token's coordinates in a foreign head, :math:`\sqrt{\delta^2 + p/d}`.

    Parameters
    ----------
    delta : array_like, >= 0
        Standard deviation of the noise.
    rank, dim : array_like
        p and the ambient dimension d >= p. Mutually orthogonal frames (no leak) are the limit d -> infinity.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers. The frames are independent and
    uniformly distributed; the signal has variance 1.

    Examples
    --------
    >>> round(float(leaked_noise(0.05, 32, 512)), 4)
    0.255
    """
    delta, rank, dim = checks.non_negative("delta", delta), checks.positive("rank", rank), checks.positive("dim", dim)
    if np.any(dim < rank):
        raise OutOfDomain(f"dim={dim} is smaller than rank={rank}: orthonormal columns do not fit; raise dim")
    return np.sqrt(delta**2 + rank / dim)[()]


def incoherent_exact_probability(heads, per_class, rank, dim, delta, tau):
    r"""Probability that the rate is exact in the first layer for independent random frames of R^d.

    .. math:: \exp\big(-N P_s(\delta') - N (K-1) P_n(\delta')\big), \qquad \delta'^2 = \delta^2 + p/d,

    to leading order in the coherence: the failure rates of orthogonal frames with the leak counted as noise. The leak
    has a heavier tail than noise of its size (its covariance ``G^T G`` is uneven), which the quadrature's own factor 2
    covers for ``K p <= d``; ``tau >= 1/2``. Derived for this laboratory, verified numerically; not found in the cited
    papers.

    Examples
    --------
    >>> float(incoherent_exact_probability(4, 64, 32, 4096, 0.02, 0.6)) > 0.9
    True
    """
    noise = float(leaked_noise(delta, rank, dim))
    signal = signal_failure(heads, per_class, rank, noise, tau)
    foreign = foreign_failure(heads, per_class, rank, noise, tau)
    return float(np.exp(-heads * per_class * (signal + (heads - 1) * foreign)))
