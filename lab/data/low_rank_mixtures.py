r"""Noisy samples of a mixture of low-rank Gaussians: unequal ranks, variances and weights, overlapping subspaces.

.. math:: x \sim \sum_k w_k\, N(0, \lambda_k U_k U_k^\top), \qquad z = x + \sigma g, \quad g \sim N(0, I_d)

Samples are rows. Component k has rank p_k; all frames are stored with the largest rank, `eigenvalues` (K, r) being
lambda_k on the first p_k columns and 0 on the rest, which is what `lab.models.low_rank_denoisers` takes.

The function draws from a NumPy generator; its twin with the suffix `_jax` draws from a JAX key (the same distribution,
not the same numbers), to be jitted and vmapped, with `variances`, `weights` and `sigma` traced if need be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lab import streams
from lab.arrays import Array, namespace, truth
from lab.data.subspaces import haar, haar_jax
from lab.errors import InputError

__all__ = ["NoisyMixture", "low_rank_mixture", "low_rank_mixture_jax"]


class NoisyMixture(NamedTuple):
    """Noisy samples, clean ones and the components they came from.

    Attributes
    ----------
    Z, X : array, shape (n, d)
        Noisy and clean samples.
    labels : array of int, shape (n,)
    bases : array, shape (K, d, r)
        Orthonormal columns; r is the largest rank.
    eigenvalues : array, shape (K, r)
        Variances along them, 0 beyond the rank of a component.
    """

    Z: Array
    X: Array
    labels: Array
    bases: Array
    eigenvalues: Array


def low_rank_mixture(
    rng: np.random.Generator, *, n: int, d: int, ranks: Sequence[int], variances: Sequence[float], sigma: float,
    weights: Sequence[float] | None = None, orthogonal: bool = False,
) -> NoisyMixture:  # fmt: skip
    """Noisy samples of a mixture of low-rank Gaussians on random subspaces.

    Parameters
    ----------
    rng : numpy.random.Generator
    n, d : int, > 0
        Samples, ambient dimension.
    ranks : sequence of int, 1 to d
        p_k of each component.
    variances : sequence of float, > 0
        lambda_k of each component.
    sigma : float, > 0
        Standard deviation of the noise.
    weights : sequence of float, optional
        Probabilities of the components, positive, adding up to 1; uniform by default.
    orthogonal : bool
        Mutually orthogonal subspaces (the ranks add up to d at most); otherwise independent ones, which overlap.

    Returns
    -------
    NoisyMixture

    Raises
    ------
    InputError
        If a parameter is outside its range or the subspaces do not fit.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> data = low_rank_mixture(rng, n=5, d=4, ranks=(1, 3), variances=(1.0, 2.0), sigma=0.1)
    >>> data.Z.shape, data.eigenvalues.tolist()
    ((5, 4), [[1.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
    """
    shape = _checked(n, d, ranks, variances, sigma, weights, orthogonal)
    K, r = shape
    p = np.full(K, 1 / K) if weights is None else np.asarray(weights, dtype=float) / np.sum(weights)
    if orthogonal:
        frame = haar(rng, d, int(sum(ranks)))
        parts = np.split(frame, np.cumsum(ranks)[:-1], axis=1)
        bases = np.stack([_completed(one, rng.standard_normal((d, r))) for one in parts])
    else:
        bases = np.stack([haar(rng, d, r) for _ in range(K)])
    labels = rng.choice(K, size=n, p=p)
    return _assembled(bases, np.asarray(variances, dtype=float), ranks, labels, sigma, rng.standard_normal((n, r)),
                      rng.standard_normal((n, d)))  # fmt: skip


def low_rank_mixture_jax(
    key: Any, *, n: int, d: int, ranks: Sequence[int], variances: Any, sigma: Any, weights: Any = None,
    orthogonal: bool = False,
) -> NoisyMixture:  # fmt: skip
    """`low_rank_mixture` from a JAX key; `variances`, `sigma` and `weights` may be traced."""
    import jax
    import jax.numpy as jnp

    K, r = _checked(n, d, ranks, variances, sigma, weights, orthogonal)
    frames, label, signal, noise = jax.random.split(key, 4)
    if orthogonal:
        own, rest = jax.random.split(frames)
        frame = haar_jax(own, d, int(sum(ranks)))
        extra = streams.normal(rest, (K, d, r), dtype=frame.dtype)
        parts = jnp.split(frame, np.cumsum(ranks)[:-1], axis=1)
        bases = jnp.stack([_completed(one, more) for one, more in zip(parts, extra, strict=True)])
    else:
        bases = jax.vmap(lambda k: haar_jax(k, d, r))(jax.random.split(frames, K))
    logits = jnp.zeros(K) if weights is None else jnp.log(jnp.asarray(weights))
    labels = jax.random.categorical(label, logits, shape=(n,))
    return _assembled(bases, jnp.asarray(variances, dtype=bases.dtype), ranks, labels, sigma,
                      streams.normal(signal, (n, r), dtype=bases.dtype),
                      streams.normal(noise, (n, d), dtype=bases.dtype))  # fmt: skip


def _completed(frame: Array, gaussian: Array) -> Array:
    """The frame with orthonormal columns added, up to as many as `gaussian` has; they carry no variance."""
    xp = namespace(frame)
    p = frame.shape[1]
    if p == gaussian.shape[1]:
        return frame
    rest = gaussian[:, p:]
    rest = rest - frame @ (frame.T @ rest)
    return xp.concat([frame, xp.linalg.qr(rest)[0]], axis=1)


def _assembled(
    bases: Array, variances: Array, ranks: Sequence[int], labels: Array, sigma: Any, g: Array, noise: Array
) -> NoisyMixture:
    xp = namespace(bases)
    used = xp.asarray(np.arange(bases.shape[-1]) < np.asarray(ranks)[:, None])
    eigenvalues = xp.where(used, variances[:, None], xp.zeros_like(variances)[:, None])
    coordinates = xp.sqrt(eigenvalues[labels]) * g
    X = (bases[labels] @ coordinates[..., None])[..., 0]
    return NoisyMixture(X + sigma * noise, X, labels, bases, eigenvalues)


def _checked(
    n: int, d: int, ranks: Sequence[int], variances: Any, sigma: Any, weights: Any, orthogonal: bool
) -> tuple[int, int]:
    if min(n, d) < 1:
        raise InputError(f"n={n}, d={d}: samples and dimension must be at least 1")
    if not len(ranks) or not all(isinstance(p, int | np.integer) and 1 <= p <= d for p in ranks):
        raise InputError(f"ranks={tuple(ranks)}: must be integers from 1 to d={d}, at least one")
    if orthogonal and sum(ranks) > d:
        raise InputError(f"ranks={tuple(ranks)} add up to {sum(ranks)}, which exceeds d={d}; lower them or raise d")
    for name, value in (("variances", variances), ("weights", weights)):
        if value is None:
            continue
        if len(value) != len(ranks):
            raise InputError(f"{name} has {len(value)} entries for {len(ranks)} ranks; give one per component")
        _positive(name, value)
    _positive("sigma", sigma)
    if weights is not None and not _is_array(weights) and abs(sum(weights) - 1) > 1e-9:
        raise InputError(f"weights={list(weights)} add up to {sum(weights)}; probabilities must add up to 1")
    return len(ranks), max(ranks)


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype")


def _positive(name: str, value: Any) -> None:
    if _is_array(value) and not isinstance(value, np.ndarray | np.generic):
        xp = namespace(value)
        valid = truth(xp.all(value > 0) & xp.all(xp.isfinite(value))) is not False
    else:
        numbers = np.asarray(value, dtype=float)
        valid = bool(np.all(numbers > 0) and np.all(np.isfinite(numbers)))
    if not valid:
        raise InputError(f"{name}={value} must be positive and finite")
