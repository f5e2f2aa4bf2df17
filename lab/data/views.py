"""Views of one sample, for self-supervised learning: a shared signal plus independent noise in each view.

Samples are rows: `V` views of `n` samples are an array (V, n, D). View v of sample i is ``x_v = s + n_v`` with signal
`s` of second moment `signal` and noise of second moment `noise`, all (D, D): so ``E x_v x_v^T = signal + noise`` and
``E x_v x_w^T = signal`` for v different from w.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from lab import streams
from lab.arrays import Array, namespace, truth
from lab.errors import InputError


class Views(NamedTuple):
    """Views `x` (V, n, D) of the samples, and the signal `s` (n, D) that they share."""

    x: Array
    s: Array


def two_view_linear(
    rng: np.random.Generator,
    *,
    signal: np.ndarray,
    noise: np.ndarray,
    n: int,
    views: int = 2,
    exact: bool = False,
    symmetric: bool = False,
) -> Views:
    r"""Gaussian views :math:`x_v = s + n_v`, :math:`s\sim N(0,\Sigma_s)`, :math:`n_v\sim N(0,\Sigma_n)` independent.

    Parameters
    ----------
    rng : numpy.random.Generator
    signal, noise : array, shape (D, D)
        Second moments :math:`\Sigma_s` and :math:`\Sigma_n`, symmetric positive semidefinite.
    n : int, > 0
        Number of samples.
    views : int, >= 1
        Number V of views.
    exact : bool
        Sample moments equal the population's to rounding: zero means, ``s^T s/n = signal``, ``n_v^T n_v/n = noise``,
        signal and the noises of all views uncorrelated. Needs ``n > (1 + V) D`` samples.
    symmetric : bool
        The second half of the samples is the negative of the first, so that all odd sample moments vanish. Needs n
        even, with `exact` also ``n >= 2 (1 + V) D``.

    Returns
    -------
    Views

    Raises
    ------
    InputError
        If a moment is not square, symmetric and positive semidefinite, or there are too few samples.
    """
    count = _columns(signal, noise, n, views, exact, symmetric)
    return _views(rng.standard_normal((_rows(n, symmetric), count)), signal, noise, views, exact, symmetric)


def two_view_linear_jax(
    key: Any,
    *,
    signal: Array,
    noise: Array,
    n: int,
    views: int = 2,
    exact: bool = False,
    symmetric: bool = False,
) -> Views:
    """`two_view_linear` from a JAX `key`, to be jitted and vmapped; the moments may be traced.

    The same distribution, not the same numbers. Traced moments are not checked.
    """

    count = _columns(signal, noise, n, views, exact, symmetric)
    white = streams.normal(key, (_rows(n, symmetric), count), dtype=namespace(signal).asarray(signal).dtype)
    return _views(white, signal, noise, views, exact, symmetric)


def _rows(n: int, symmetric: bool) -> int:
    return n // 2 if symmetric else n


def _columns(signal: Array, noise: Array, n: int, views: int, exact: bool, symmetric: bool) -> int:
    """Number (1 + V) D of white columns, after all checks."""
    dim = signal.shape[-1] if signal.ndim == 2 else 0
    for name, moment in (("signal", signal), ("noise", noise)):
        if moment.ndim != 2 or moment.shape != (dim, dim) or dim < 1:
            raise InputError(
                f"{name} has shape {tuple(moment.shape)} but signal and noise must be (D, D) with the same D >= 1"
            )
        xp = namespace(moment)
        size = xp.max(xp.abs(moment))
        if truth(xp.max(xp.abs(moment - moment.mT)) <= 1e-12 * size) is False:
            raise InputError(f"{name} is not symmetric; a second moment is, pass (A + A.T)/2")
        lowest = xp.min(xp.linalg.eigvalsh(moment))
        if truth(lowest >= -1e-12 * size) is False:
            raise InputError(f"{name} has eigenvalue {float(lowest):.3g} but a second moment is positive semidefinite")
    if n < 1 or views < 1:
        raise InputError(f"n={n} and views={views} must be at least 1")
    if symmetric and n % 2:
        raise InputError(f"n={n} must be even for symmetric samples; add one")
    count = (1 + views) * dim
    least = 2 * count if symmetric else count + 1
    if exact and n < least:
        raise InputError(
            f"n={n} samples cannot have exact moments: {views} views in {dim} dimensions need n >= {least}; raise n"
        )
    return count


def _views(white: Array, signal: Array, noise: Array, views: int, exact: bool, symmetric: bool) -> Views:
    xp = namespace(white)
    rows, dim = white.shape[0], signal.shape[-1]
    if exact:
        # zero mean first: columns of q are combinations of centred columns; symmetric samples have it anyway
        centred = white if symmetric else white - xp.mean(white, axis=0)
        white = math.sqrt(rows) * xp.linalg.qr(centred)[0]
    if symmetric:
        white = xp.concat([white, -white], axis=0)
    parts = xp.permute_dims(xp.reshape(white, (white.shape[0], 1 + views, dim)), (1, 0, 2))
    s = parts[0] @ _root(signal)
    return Views(s + parts[1:] @ _root(noise), s)


def _root(moment: Array) -> Array:
    """Symmetric square root; eigenvalues that rounding made negative count as zero."""
    xp = namespace(moment)
    values, vectors = xp.linalg.eigh(moment)
    return (vectors * xp.sqrt(xp.where(values > 0, values, 0.0))) @ vectors.mT
