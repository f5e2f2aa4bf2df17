r"""The regularised objective as gradient ascent evaluates it: all its matrices in one stack, one factorisation a step.

In reduced units, :math:`Y=\sqrt\alpha\,Z` and :math:`\tau=\lambda/\alpha`, nothing but the class fractions is left:

.. math:: F = \tfrac12\log\det(I+G) - \sum_k\tfrac{x_k}{2}\log\det(I+G_k/x_k) - \tfrac\tau2\|Y\|^2,\qquad
          \nabla_{Y_k}F = Y_k\,[(I+G)^{-1}-(I+G_k/x_k)^{-1}-\tau I],\qquad G_k=Y_k^\top Y_k .

Ascent multiplies each class from the right, ``Y_k <- Y_k C``, so it never leaves the column space of the start: a class
of more than d rows is replaced by the d x d triangular factor of its rows, exactly, for a whole run.

JAX only; traceable. The matrices I + G and I + G_k/x_k are factorised together also because two independent batched
factorisations in one program were seen to deadlock: jaxlib 0.10.2 on two cores, each waits in a thread of the pool
that the other needs (``jax::ParallelBatchMap``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from lab.arrays import cholesky_logdet
from lab.objectives import coding_rate
from lab.objectives.coding_rate.classes import Hard, read_classes

__all__ = ["Blocks", "Separate", "Weighted", "reduced"]

_BASE = 8  # triangular matrices up to this size are inverted by LAPACK, larger ones by halves in matrix products


def reduced(Y: Any, classes: Any, tau: Any) -> tuple[Any, Any]:
    """The objective for `classes` (as `coding_rate` takes them), and its state: `Y` as it wants to keep it."""
    import jax.numpy as jnp

    count, dim = Y.shape[-2:]
    if getattr(classes, "ndim", 1) >= 2:
        classes = jnp.asarray(classes, dtype=Y.dtype)
    read = read_classes(Y, classes)
    if not isinstance(read, Hard):
        return (Weighted(read, tau), Y) if count >= dim else (Separate(read, read, tau), Y)
    held = np.minimum(read.sizes, dim)
    if held.max() < dim or 2 * held.sum() < held.size * dim:  # stacking would only add rows
        return Separate(classes, read.membership(Y), tau), Y
    order = np.arange(count) if read.order is None else read.order
    place = np.arange(read.sizes.max())
    filled = place < read.sizes[:, None]
    index = order[np.where(filled, (np.cumsum(read.sizes) - read.sizes)[:, None] + place, 0)]
    stack = jnp.take(Y, jnp.asarray(index), axis=-2) * jnp.asarray(filled, dtype=Y.dtype)[..., None]
    left = None
    if place.size > dim:
        left, stack = jnp.linalg.qr(stack)
    slots = np.empty(count, dtype=int)
    slots[index[filled]] = np.flatnonzero(filled.ravel())
    return Blocks(jnp.asarray(read.sizes / count, dtype=Y.dtype), tau, left, slots), stack


class _Stacked(ABC):
    """Common part: matrices (..., K + 1, d, d), that of the whole first; `axes` of a state are those of one run."""

    axes: tuple[int, ...] = (-2, -1)

    def __init__(self, fractions: Any, tau: Any) -> None:
        import jax.numpy as jnp

        self.tau, one = tau, jnp.ones_like(fractions[..., :1])
        filled = jnp.where(fractions > 0, fractions, 1.0)  # an empty class has G_k = 0 and weight 0
        self.scale = jnp.concatenate([one, 1 / filled], axis=-1)[..., None, None]
        self.weight = jnp.concatenate([one, -fractions], axis=-1)

    @abstractmethod
    def grams(self, Y: Any) -> Any:
        """G and the G_k."""

    @abstractmethod
    def apply(self, Y: Any, inverses: Any) -> Any:
        """Gradient from (I + G)^-1 - tau I and the (I + G_k/x_k)^-1."""

    def _factor(self, Y: Any) -> tuple[Any, Any]:
        import jax
        import jax.numpy as jnp

        grams = self.grams(Y)
        matrices = jnp.eye(Y.shape[-1], dtype=Y.dtype) + self.scale * grams
        return grams, jax.lax.linalg.cholesky(matrices, symmetrize_input=False)

    def _slope(self, Y: Any, factor: Any) -> Any:
        import jax.numpy as jnp

        half = _triangular_inverse(factor)
        inverses = jnp.swapaxes(half, -1, -2) @ half
        whole = inverses[..., :1, :, :] - self.tau * jnp.eye(Y.shape[-1], dtype=Y.dtype)
        return self.apply(Y, jnp.concatenate([whole, inverses[..., 1:, :, :]], axis=-3))

    def gradient(self, Y: Any) -> Any:
        """Gradient of F in Y, in the shape of Y."""
        return self._slope(Y, self._factor(Y)[1])

    def observe(self, Y: Any) -> tuple[Any, Any, Any]:
        """F (...), norm of its gradient in Y (...), eigenvalues of the G_k (..., K, d), ascending."""
        import jax
        import jax.numpy as jnp

        # one factorisation after the other, see the module
        grams, factor = jax.lax.optimization_barrier(self._factor(Y))
        value = jnp.sum(self.weight * cholesky_logdet(factor), axis=-1) - self.tau * jnp.sum(Y**2, axis=self.axes)
        norm = jnp.sqrt(jnp.sum(self._slope(Y, factor) ** 2, axis=self.axes))
        return 0.5 * value, norm, jnp.linalg.eigvalsh(grams[..., 1:, :, :])


class Blocks(_Stacked):
    """Hard classes, stacked: Y (..., K, m, d), zero rows where a class is smaller; `fractions` (..., K) may be traced.

    `left` (orthonormal columns that were split off) and `slots` (place of each sample in the stack) bring the features
    back; without them `rows` is not available.
    """

    axes = (-3, -2, -1)

    def __init__(self, fractions: Any, tau: Any, left: Any = None, slots: Any = None) -> None:
        super().__init__(fractions, tau)
        self.left, self.slots = left, slots

    def grams(self, Y: Any) -> Any:
        import jax.numpy as jnp

        own = jnp.swapaxes(Y, -1, -2) @ Y
        return jnp.concatenate([jnp.sum(own, axis=-3, keepdims=True), own], axis=-3)

    def apply(self, Y: Any, inverses: Any) -> Any:
        return Y @ (inverses[..., :1, :, :] - inverses[..., 1:, :, :])

    def rows(self, Y: Any) -> Any:
        """Features (..., N, d) in the order in which they came."""
        import jax.numpy as jnp

        stack = Y if self.left is None else self.left @ Y
        return jnp.take(stack.reshape(*stack.shape[:-3], -1, stack.shape[-1]), jnp.asarray(self.slots), axis=-2)


class Weighted(_Stacked):
    """Membership weights (..., N, K), which may be traced; N >= d. Y (..., N, d).

    Every step is two matrix products, with the rows weighted by 1 and by each class side by side: (N, (K + 1) d).
    """

    def __init__(self, weights: Any, tau: Any) -> None:
        import jax.numpy as jnp

        super().__init__(jnp.sum(weights, axis=-2) / weights.shape[-2], tau)
        self.wide = jnp.concatenate([jnp.ones_like(weights[..., :1]), weights], axis=-1)
        self.sign = jnp.asarray(np.append(1.0, -np.ones(weights.shape[-1])), dtype=weights.dtype)

    def _weighted(self, Y: Any) -> Any:
        rows = self.wide[..., None] * Y[..., None, :]
        return rows.reshape(*rows.shape[:-2], -1)

    def grams(self, Y: Any) -> Any:
        import jax.numpy as jnp

        grams = jnp.swapaxes(self._weighted(Y), -1, -2) @ Y
        return grams.reshape(*grams.shape[:-2], -1, Y.shape[-1], Y.shape[-1])

    def apply(self, Y: Any, inverses: Any) -> Any:
        signed = self.sign[:, None, None] * inverses
        return self._weighted(Y) @ signed.reshape(*signed.shape[:-3], -1, signed.shape[-1])

    def rows(self, Y: Any) -> Any:
        return Y


class Separate:
    """Few rows: the objective as `coding_rate` has it, factorised on the side of the samples. Y (..., N, d)."""

    def __init__(self, classes: Any, weights: Any, tau: Any) -> None:
        self.classes, self.weights, self.tau = classes, weights, tau

    def _both(self, Y: Any) -> tuple[Any, Any]:
        eps = float(np.sqrt(Y.shape[-1] / Y.shape[-2]))  # alpha = 1
        return coding_rate.value_and_gradient(Y, self.classes, eps=eps, lam=self.tau)

    def gradient(self, Y: Any) -> Any:
        return self._both(Y)[1]

    def observe(self, Y: Any) -> tuple[Any, Any, Any]:
        import jax.numpy as jnp

        value, slope = self._both(Y)
        weighted = jnp.swapaxes(self.weights, -1, -2)[..., None] * Y[..., None, :, :]
        grams = jnp.swapaxes(Y, -1, -2)[..., None, :, :] @ weighted
        return value, jnp.sqrt(jnp.sum(slope**2, axis=(-2, -1))), jnp.linalg.eigvalsh(grams)

    def rows(self, Y: Any) -> Any:
        return Y


def _triangular_inverse(factor: Any) -> Any:
    """Inverse of lower triangular matrices (..., n, n)."""
    import jax
    import jax.numpy as jnp

    n = factor.shape[-1]
    if n <= _BASE:
        eye = jnp.broadcast_to(jnp.eye(n, dtype=factor.dtype), factor.shape)
        return jax.lax.linalg.triangular_solve(factor, eye, left_side=True, lower=True)
    m = n // 2
    first, last = _triangular_inverse(factor[..., :m, :m]), _triangular_inverse(factor[..., m:, m:])
    corner = -last @ (factor[..., m:, :m] @ first)
    above = jnp.zeros((*first.shape[:-1], n - m), dtype=factor.dtype)
    return jnp.concatenate(
        [jnp.concatenate([first, above], axis=-1), jnp.concatenate([corner, last], axis=-1)], axis=-2
    )
