"""Rows with nonnegative sparse codes in a random dictionary: the synthetic problem of dictionary methods.

Rows are samples, ``Y = A D^T + noise``; the papers write ``D A`` with columns. `sparse_codes` draws from a NumPy
generator; `sparse_codes_jax` draws from a JAX key (the same distribution, not the same numbers), to be jitted and
vmapped, with `noise` traced if need be.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from lab import streams
from lab.arrays import Array, namespace, truth
from lab.errors import InputError

__all__ = ["SparseCodes", "sparse_codes", "sparse_codes_jax"]


class SparseCodes(NamedTuple):
    """Rows, their dictionary and their codes.

    Attributes
    ----------
    Y : array, shape (n, d)
        ``A D^T`` plus Gaussian noise.
    D : array, shape (d, m)
        Dictionary; columns are independent and uniform on the unit sphere.
    A : array, shape (n, m)
        Codes: in each row `nonzeros` entries, at uniform places, uniform in [1, 2]; the others are 0.
    """

    Y: Array
    D: Array
    A: Array


def sparse_codes(
    rng: np.random.Generator, *, n: int, d: int, m: int, nonzeros: int, noise: float = 0.0
) -> SparseCodes:
    """Rows with sparse codes.

    Parameters
    ----------
    rng : numpy.random.Generator
    n, d, m : int, > 0
        Rows, their dimension, atoms; m > d is an overcomplete dictionary.
    nonzeros : int, 1 <= nonzeros <= m
        Atoms of each row.
    noise : float, >= 0
        Standard deviation of the noise of every entry.

    Returns
    -------
    SparseCodes

    Raises
    ------
    InputError
        If a parameter is outside its range.

    Examples
    --------
    >>> codes = sparse_codes(np.random.default_rng(0), n=4, d=6, m=9, nonzeros=2)
    >>> bool(np.allclose(codes.Y, codes.A @ codes.D.T))
    True
    """
    _check(n, d, m, nonzeros, noise)
    sizes, places = rng.uniform(1, 2, (n, m)), rng.random((n, m))
    return _assembled(sizes, places, rng.standard_normal((d, m)), rng.standard_normal((n, d)), nonzeros, noise)


def sparse_codes_jax(
    key: Any, *, n: int, d: int, m: int, nonzeros: int, noise: Any = 0.0, dtype: Any = None
) -> SparseCodes:
    """`sparse_codes` from a JAX key; in `dtype`, by default the float of the JAX configuration."""
    import jax

    _check(n, d, m, nonzeros, noise)
    kind = float if dtype is None else dtype
    size, place, atom, added = jax.random.split(key, 4)
    return _assembled(
        streams.uniform(size, (n, m), dtype=kind, minval=1, maxval=2),
        streams.uniform(place, (n, m), dtype=kind),
        streams.normal(atom, (d, m), dtype=kind),
        streams.normal(added, (n, d), dtype=kind),
        nonzeros,
        noise,
    )


def _assembled(sizes: Array, places: Array, atoms: Array, gaussian: Array, nonzeros: int, noise: Any) -> SparseCodes:
    """Codes where the rank of an independent uniform number is below `nonzeros`: uniform places without a loop."""
    xp = namespace(sizes)
    rank = xp.argsort(xp.argsort(places, axis=-1), axis=-1)
    A = xp.where(rank < nonzeros, sizes, xp.zeros_like(sizes))
    D = atoms / xp.sqrt(xp.sum(atoms * atoms, axis=0, keepdims=True))
    return SparseCodes(A @ D.mT + noise * gaussian, D, A)


def _check(n: int, d: int, m: int, nonzeros: int, noise: Any) -> None:
    for name, value in (("n", n), ("d", d), ("m", m), ("nonzeros", nonzeros)):
        if not isinstance(value, int | np.integer) or value < 1:
            raise InputError(f"{name}={value!r} must be an integer > 0")
    if nonzeros > m:
        raise InputError(f"nonzeros={nonzeros} exceeds the m={m} atoms; lower it or raise m")
    if isinstance(noise, int | float | np.number):
        valid = math.isfinite(noise) and noise >= 0
    else:
        xp = namespace(noise)
        valid = truth(xp.all(xp.isfinite(noise)) & xp.all(noise >= 0)) is not False
    if not valid:
        raise InputError(f"noise={noise} must be finite and >= 0; it is a standard deviation")
