r"""How many generated samples are copies: the nearest-neighbour ratio criterion.

A sample is memorised if its nearest training point is much nearer than the second nearest, in squared distance
:math:`d_1^2\le c\,d_2^2`; c = 1/9, a ratio 1/3 of distances, is usual [1]_ [2]_.

References
----------
.. [1] Yoon, Choi, Kwon, Ryu 2023, *Diffusion probabilistic models generalize when they fail to memorize*.
.. [2] arXiv:2508.17689, Buchanan, Pai, Ma, De Bortoli 2025, Definition 2.2.
"""

from __future__ import annotations

from typing import Any

from lab.arrays import Array, namespace
from lab.errors import InputError

__all__ = ["memorization_ratio", "memorized", "nearest_two", "squared_distances"]


def squared_distances(x: Array, points: Array) -> Array:
    """Squared distances, shape (..., n, N), of samples (..., n, d) to points (..., N, d), by one matrix product.

    Rounding is about machine epsilon times the largest squared norm about the points' mean; negative results of it are
    set to 0.
    """
    xp = namespace(x, points)
    if x.shape[-1] != points.shape[-1]:
        raise InputError(f"samples have {x.shape[-1]} coordinates, points have {points.shape[-1]}: must agree")
    centre = xp.mean(points, axis=-2, keepdims=True)
    x, points = x - centre, points - centre
    squares = xp.sum(x * x, axis=-1)[..., :, None] + xp.sum(points * points, axis=-1)[..., None, :]
    return xp.clip(squares - 2 * (x @ xp.matrix_transpose(points)), min=0.0)


def nearest_two(x: Array, points: Array) -> tuple[Array, Array]:
    """Squared distances (..., n) to the nearest and second nearest of N >= 2 training points.

    The two are found by the matrix form and computed again from differences, so that a copy has distance 0 to rounding.
    """
    xp = namespace(x, points)
    if points.shape[-2] < 2:
        raise InputError(f"points has {points.shape[-2]} rows; the criterion compares the two nearest: give at least 2")
    first, second = (xp.argmin(d, axis=-1) for d in _without_nearest(xp, squared_distances(x, points)))
    found = []
    for index in (first, second):
        chosen = xp.take_along_axis(points, index[..., None], axis=-2)
        found.append(xp.sum((x - chosen) ** 2, axis=-1))
    return xp.minimum(*found), xp.maximum(*found)


def _without_nearest(xp: Any, distances: Array) -> tuple[Array, Array]:
    nearest = xp.argmin(distances, axis=-1)[..., None]
    columns = xp.arange(distances.shape[-1])
    return distances, xp.where(columns == nearest, xp.asarray(float("inf"), dtype=distances.dtype), distances)


def memorized(x: Array, points: Array, threshold: Any = 1 / 9) -> Array:
    r"""Whether each sample is a copy, :math:`d_1^2\le c\,d_2^2`, shape (..., n).

    Parameters
    ----------
    x : array, shape (..., n, d)
        Generated samples.
    points : array, shape (..., N, d)
        Training points, N >= 2.
    threshold : number, or array that broadcasts against (..., n)
        c in (0, 1).

    Notes
    -----
    Equality counts as memorised: a copy of a point that the training set contains twice has d_1 = d_2 = 0. Code that
    compares strictly never counts exact duplicates.

    Examples
    --------
    >>> import numpy as np
    >>> memorized(np.array([[0.1], [0.5]]), np.array([[0.0], [1.0]])).tolist()
    [True, False]
    """
    first, second = nearest_two(x, points)
    return first <= threshold * second


def memorization_ratio(x: Array, points: Array, threshold: Any = 1 / 9) -> Array:
    """Fraction of samples that are copies, shape (...)."""
    xp = namespace(x, points)
    copies = memorized(x, points, threshold)
    return xp.mean(xp.astype(copies, x.dtype), axis=-1)
