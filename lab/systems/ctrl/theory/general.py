r"""Games in which the follower can always be perfect: CTRL-SG and CTRL-Binary.

The leader maximises ``Q(f) - w C(f, g)``, the follower C(f, g) <= c_max. If every encoder f has a decoder with
``C = c_max``, the leader gets ``Q(f) - w c_max`` whatever it chooses: its optima are those of Q, for every weight w of
either sign. Where the decoders are too weak for that the leader trades Q against C.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["leader_value", "rank_capped_consistency"]


def leader_value(quality, consistency, weight=1.0):
    r"""What the leader gets from a follower that answers best, :math:`Q(f)-w\max_gC(f,g)`.

    Parameters
    ----------
    quality : array_like
        Q(f), in nats.
    consistency : array_like
        The follower's best C(f, g); the same number for every f if the decoders are strong enough.
    weight : float
        w; the game as published has 1.

    References
    ----------
    .. [1] arXiv:2206.09120, CTRL-SG (general game), where C is written with the other sign in public code.
    """
    return np.asarray(quality, dtype=float) - weight * np.asarray(consistency, dtype=float)


def rank_capped_consistency(spectrum, rank):
    r"""Best :math:`-\sum_j\|Z_j-\hat Z_j\|_F^2/n` of decoders of rank at most r: minus the energy of the features
    beyond their r leading directions (Eckart and Young).

    Parameters
    ----------
    spectrum : array_like, shape (..., d), >= 0
        Eigenvalues of ``Z^T Z/n``, all classes together, in any order.
    rank : int, >= 0

    Examples
    --------
    >>> float(rank_capped_consistency([0.5, 2.0, 0.25], 1))
    -0.75
    """
    values = np.sort(checks.non_negative("spectrum", spectrum), axis=-1)[..., ::-1]
    return -np.sum(values[..., checks.integer("rank", rank, 0) :], axis=-1)
