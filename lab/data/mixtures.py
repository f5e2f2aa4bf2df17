r"""Mixtures of Gaussians and point sets for diffusion models: spheres of means, two means, orthogonal means, simplices.

Samples are rows: means (K, d), labels (N,), X (N, d). Functions take a NumPy generator; the twins that end in ``_jax``
take a JAX key and can be jitted and vmapped (the same distribution, not the same numbers).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lab import streams
from lab.arrays import Array, namespace
from lab.data.subspaces import haar
from lab.errors import InputError

__all__ = ["LowRankMixture", "Mixture", "gmm_orthogonal", "gmm_sphere", "gmm_sphere_jax", "gmm_two", "low_rank_gmm",
           "mixture_samples", "simplex", "sphere_means"]  # fmt: skip


class Mixture(NamedTuple):
    """Means (K, d), integer labels (N,) and samples X (N, d) of an isotropic mixture."""

    means: Array
    labels: Array
    X: Array


class LowRankMixture(NamedTuple):
    """Bases (K, d, r), integer labels (N,) and samples X (N, d) of a mixture of subspaces."""

    bases: np.ndarray
    labels: np.ndarray
    X: np.ndarray


def sphere_means(gaussian: Array, radius: Any = None) -> Array:
    """Rows of a Gaussian matrix (K, d) scaled to length `radius`, by default sqrt d."""
    xp = namespace(gaussian)
    radius = math.sqrt(gaussian.shape[-1]) if radius is None else radius
    return radius * gaussian / xp.sqrt(xp.sum(gaussian * gaussian, axis=-1, keepdims=True))


def _checked(d: int, K: int, v: Any, N: int, priors: Sequence[float] | None = None) -> np.ndarray | None:
    if min(d, K, N) < 1:
        raise InputError(f"d={d}, K={K}, N={N}: dimension, number of means and of samples must be at least 1")
    if isinstance(v, int | float) and not v >= 0:
        raise InputError(f"v={v}: the variance must not be negative")
    if priors is None:
        return None
    p = np.asarray(priors, dtype=float)
    if p.shape != (K,) or not (p > 0).all() or abs(p.sum() - 1) > 1e-9:
        raise InputError(f"priors={list(priors)}: must be K={K} positive numbers that add up to 1")
    return p / p.sum()


def mixture_samples(
    rng: np.random.Generator, means: np.ndarray, v: float, N: int, *, priors: Sequence[float] | None = None
) -> Mixture:
    """N samples of the mixture with given means (K, d), variance `v` and priors (uniform by default)."""
    means = np.asarray(means, dtype=float)
    p = _checked(means.shape[1], len(means), v, N, priors)
    labels = rng.choice(len(means), size=N, p=p)
    return Mixture(means, labels, means[labels] + math.sqrt(v) * rng.standard_normal((N, means.shape[1])))


def gmm_sphere(
    rng: np.random.Generator, d: int = 30, K: int = 4, v: float = 1.0, radius: float | None = None, N: int = 100,
    *, priors: Sequence[float] | None = None,
) -> Mixture:  # fmt: skip
    """Means uniform on a sphere of `radius` (sqrt d by default), labels drawn from `priors`, isotropic variance `v`.

    References
    ----------
    .. [1] arXiv:2508.17689, section 4.
    """
    _checked(d, K, v, N)
    return mixture_samples(rng, sphere_means(rng.standard_normal((K, d)), radius), v, N, priors=priors)


def gmm_sphere_jax(key: Any, d: int, K: int, v: Any, N: int, *, radius: Any = None, log_priors: Any = None) -> Mixture:
    """`gmm_sphere` from a JAX key; `v`, `radius` and `log_priors` (K,) may be traced."""
    import jax
    import jax.numpy as jnp

    _checked(d, K, 1.0, N)
    parts = jax.random.split(key, 3)
    means = sphere_means(streams.normal(parts[0], (K, d), dtype=float), radius)
    labels = jax.random.categorical(parts[1], jnp.zeros(K) if log_priors is None else log_priors, shape=(N,))
    return Mixture(means, labels, means[labels] + jnp.sqrt(v) * streams.normal(parts[2], (N, d), dtype=float))


def gmm_two(rng: np.random.Generator, d: int, radius: float, v: float = 1.0, N: int = 100) -> Mixture:
    """Two means at plus and minus `radius` times the first unit vector."""
    means = np.zeros((2, d))
    means[:, 0] = radius, -radius
    return mixture_samples(rng, means, v, N)


def gmm_orthogonal(rng: np.random.Generator, d: int, K: int, radius: float, v: float = 1.0, N: int = 100) -> Mixture:
    """K <= d orthogonal means of length `radius`."""
    if not 1 <= K <= d:
        raise InputError(f"K={K}: orthogonal means need 1 <= K <= d={d}")
    return mixture_samples(rng, radius * np.eye(K, d), v, N)


def simplex(N: int, d: int, D2: float = 1.0) -> np.ndarray:
    """N points (N, d) of equal squared distance `D2`, centred at 0; N <= d + 1.

    Examples
    --------
    >>> X = simplex(3, 2, 6.0)
    >>> bool(abs(np.sum((X[0] - X[1]) ** 2) - 6) < 1e-12)
    True
    """
    if not 1 <= N <= d + 1 or not D2 > 0:
        raise InputError(f"N={N}, d={d}, D2={D2}: need 1 <= N <= d + 1 and D2 > 0")
    centred = np.eye(N) - 1 / N
    # an orthonormal basis of the N - 1 dimensions that the centred unit vectors span
    basis = np.linalg.svd(centred)[2][: N - 1]
    out = np.zeros((N, d))
    out[:, : N - 1] = centred @ basis.T * math.sqrt(D2 / 2)
    return out


def low_rank_gmm(
    rng: np.random.Generator, d: int, K: int, eigenvalues: Sequence[float], N: int, *, orthogonal: bool = False
) -> LowRankMixture:
    """Mixture of K subspaces: x = U_k diag(sqrt(eigenvalues)) g with orthonormal U_k (d, r), uniform labels.

    `orthogonal` makes the subspaces mutually orthogonal (K r <= d); else they are independent and uniform.
    """
    lam = np.asarray(eigenvalues, dtype=float)
    _checked(d, K, 1.0, N)
    if lam.ndim != 1 or lam.size == 0 or lam.size > d or not (lam > 0).all():
        raise InputError(f"eigenvalues={list(eigenvalues)}: must be 1 to d={d} positive numbers")
    if orthogonal and K * lam.size > d:
        raise InputError(f"K={K} subspaces of dimension {lam.size} are not orthogonal in R^{d}; lower K or raise d")
    r = lam.size
    if orthogonal:
        bases = haar(rng, d, K * r).reshape(d, K, r).transpose(1, 0, 2)
    else:
        bases = np.stack([haar(rng, d, r) for _ in range(K)])
    labels = rng.integers(K, size=N)
    coordinates = np.sqrt(lam) * rng.standard_normal((N, r))
    return LowRankMixture(bases, labels, np.einsum("ndr,nr->nd", bases[labels], coordinates))
