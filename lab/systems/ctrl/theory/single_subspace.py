r"""CTRL-SSP: the leader's value and its optimum, and what an untrained encoder already does."""

from __future__ import annotations

import numpy as np

from lab.checks import integer, non_negative, positive
from lab.errors import OutOfDomain

__all__ = ["random_encoder_above", "random_encoder_moments", "single_value"]


def single_value(singular_values, count: int, dim: int, *, eps: float) -> float:
    r"""The leader's value :math:`V^*=\tfrac12\sum_{p\le d_z}\log(1+\tfrac{d_z}{n\epsilon^2}\sigma_p(X)^2)` in CTRL-SSP.

    With orthonormal rows (or columns) of F, or with operator norm at most one. For ``d_z >= d_S`` the optimal encoders
    are the isometries on the subspace, below that their rows span the d_z leading principal directions (unique if
    ``sigma_{d_z} > sigma_{d_z+1}``).

    Parameters
    ----------
    singular_values : array_like, shape (r,)
        Of the data X.
    count : int
        Number of samples n.
    dim : int
        d_z.
    eps : float, > 0

    Returns
    -------
    float
        Nats.

    Notes
    -----
    Proved by interlacing for the rate R(XF^T) with either strategy set. That the leader of the *ball* never gains from
    the loop term with a decoder too weak to invert F is verified numerically only.

    References
    ----------
    .. [1] arXiv:2206.09120 (the game and its equilibria).

    Examples
    --------
    >>> round(single_value([2.0, 1.0, 0.5], 4, 2, eps=1.0), 6)
    0.752039
    """
    values = np.sort(np.atleast_1d(non_negative("singular_values", singular_values)))[::-1]
    dim, count = integer("dim", dim, 1), integer("count", count, 1)
    alpha = dim / (count * float(positive("eps", eps)) ** 2)
    return 0.5 * float(np.sum(np.log1p(alpha * values[:dim] ** 2)))


def _dims(data_dim: int, dim: int) -> tuple[int, int]:
    d_x, d_z = integer("data_dim", data_dim, 2), integer("dim", dim, 1)
    if d_z >= d_x:
        raise OutOfDomain(f"dim={d_z} with data_dim={d_x}: every such encoder is an isometry; choose dim < data_dim")
    return d_x, d_z


def random_encoder_above(level, data_dim: int, dim: int):
    r"""P(||Fx||²/||x||² > level) for a random F with orthonormal rows: :math:`\mathrm{Beta}(d_z/2,(d_x-d_z)/2)`.

    An untrained encoder keeps about :math:`\sqrt{d_z/d_x}` of every length: any claim to have found a subspace by
    keeping lengths is to be compared with that.

    Parameters
    ----------
    level : array_like, in [0, 1]
    data_dim, dim : int
        d_x and d_z < d_x.

    Returns
    -------
    array
    """
    from scipy.special import betaincc

    d_x, d_z = _dims(data_dim, dim)
    return betaincc(d_z / 2, (d_x - d_z) / 2, non_negative("level", level))


def random_encoder_moments(data_dim: int, dim: int) -> tuple[float, float]:
    """Mean ``d_z/d_x`` and variance ``2 d_z (d_x - d_z)/(d_x² (d_x + 2))`` of ||Fx||²/||x||² at a random encoder.

    Examples
    --------
    >>> [round(v, 5) for v in random_encoder_moments(50, 40)]
    [0.8, 0.00615]
    """
    d_x, d_z = _dims(data_dim, dim)
    return d_z / d_x, 2 * d_z * (d_x - d_z) / (d_x**2 * (d_x + 2))
