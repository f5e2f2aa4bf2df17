r"""Bias-free ReLU networks of finite width: features, empirical neural tangent kernel layer by layer, gradient descent.

Weights are a list ``[W_1 (n_0, n), W_2 (n, n), ..., W_L (n, n), v (n,)]`` for L hidden layers of width n; samples are
rows:

.. math:: a_0=x,\qquad a_l=\mathrm{relu}(a_{l-1}W_l),\qquad f=\langle a_L,v\rangle .

Entries of all hidden layers, **the first one too**, are N(0, 2/n), those of v standard normal; then
:math:`E|a_l|^2=|x|^2` and f(x) is of order |x|. With the backward features :math:`b_{L}=v`, :math:`b_l=(b_{l+1}\odot
D_{l+1})W_{l+1}^T`, D the gates :math:`1\{a>0\}`, the gradient in :math:`W_l` is :math:`a_{l-1}\otimes(b_l\odot D_l)`:
kernels need no gradient of a single sample. Leading axes of weights are batch axes (networks); the array functions take
numpy, torch and jax.

References
----------
.. [1] arXiv:2107.14324, Wang, Buchanan, Gilboa, Wright 2021, section 2 (columns there, rows here).
.. [2] arXiv:1806.07572, Jacot, Gabriel, Hongler 2018 (neural tangent kernel).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from lab.arrays import Array, namespace
from lab.errors import InputError

__all__ = ["Descent", "descend", "empirical_ntk", "features", "gradient", "linear_descent", "outputs", "relu_init"]

Weights = Sequence[Array]


def relu_init(
    key: Any, width: int, depth: int, dimension: int, *, gain: float = 2.0, first_gain: Any = None,
    networks: tuple[int, ...] = (), dtype: Any = None,
) -> list[Array]:  # fmt: skip
    r"""Random weights of independent networks, JAX.

    Parameters
    ----------
    key : JAX key
    width, depth, dimension : int, >= 1
        n, L and n_0.
    gain : float, > 0
        Entries of hidden weights are N(0, gain/n).
    first_gain : float, > 0, optional
        That of the first layer, if different: ``gain * width / dimension`` scales it by its own input, as most
        libraries do; the kernels of wide networks are then other ones.
    networks : tuple of int
        Leading axes.
    dtype : optional
        By default the float of the JAX configuration.

    Returns
    -------
    list of arrays, shapes (*networks, n_0, n), (*networks, n, n), ..., (*networks, n)

    Raises
    ------
    InputError
        If a size is not a positive whole number.
    """
    import jax
    import jax.numpy as jnp

    for name, value in (("width", width), ("depth", depth), ("dimension", dimension)):
        if value != int(value) or value < 1:
            raise InputError(f"{name}={value!r} must be a whole number >= 1")
    shapes = [(dimension, width), *[(width, width)] * (depth - 1), (width,)]
    # one draw for all layers: compiling a draw costs more than compiling the network
    numbers = jax.random.normal(key, (*networks, sum(map(math.prod, shapes))), dtype=float if dtype is None else dtype)
    found, start = [], 0
    for shape in shapes:
        found.append(jnp.reshape(numbers[..., start : start + math.prod(shape)], (*networks, *shape)))
        start += math.prod(shape)
    gains = [gain if first_gain is None else first_gain, *[gain] * (depth - 1)]
    return [*[jnp.sqrt(g / width) * W for g, W in zip(gains, found[:-1], strict=True)], found[-1]]


def features(weights: Weights, X: Array) -> list[Array]:
    """Features of all layers, ``[a_0, ..., a_L]``, from samples X (..., N, n_0); shapes (..., N, n).

    Raises
    ------
    InputError
        If the last axis of X is not the input dimension of the weights.
    """
    xp = namespace(X, *weights)
    if X.ndim < 2 or X.shape[-1] != weights[0].shape[-2]:
        raise InputError(
            f"X has shape {tuple(X.shape)} but must be (..., N, {weights[0].shape[-2]}): rows of the dimension that "
            "the first weights take"
        )
    found = [X]
    for W in weights[:-1]:
        pre = found[-1] @ W
        found.append(xp.where(pre > 0, pre, xp.zeros_like(pre)))
    return found


def outputs(weights: Weights, X: Array) -> Array:
    """Outputs f (..., N)."""
    return (features(weights, X)[-1] @ weights[-1][..., None])[..., 0]


def _gated(weights: Weights, layers: list[Array]) -> list[Array]:
    """Derivatives of f in the preactivations of layers 1, ..., L, (..., N, n); `layers` from `features`."""
    xp = namespace(*layers)
    signal = weights[-1][..., None, :]
    found = []
    for index in range(len(layers) - 1, 0, -1):
        gated = xp.where(layers[index] > 0, signal, xp.zeros_like(layers[index]))
        found.append(gated)
        if index > 1:
            signal = gated @ weights[index - 1].mT
    return found[::-1]


def empirical_ntk(weights: Weights, X: Array, Y: Array | None = None) -> Array:
    r"""Neural tangent kernel of all weights, :math:`\langle\nabla f(x),\nabla f(y)\rangle`, (..., N, M).

    .. math:: \Theta(x,y)=\langle a_L,a_L'\rangle
              +\sum_{l=1}^{L}\langle a_{l-1},a_{l-1}'\rangle\langle b_l\odot D_l,b_l'\odot D_l'\rangle .

    Parameters
    ----------
    weights : list of arrays
        As made by `relu_init`.
    X : array, shape (..., N, n_0)
    Y : array, shape (..., M, n_0), optional
        By default X.

    Notes
    -----
    O(L (n² N + n N M)) operations; the gradient of a sample, n² L numbers, is never formed.

    Examples
    --------
    >>> import numpy as np
    >>> weights = [np.array([[1.0, -1.0], [0.0, 2.0]]), np.array([1.0, 1.0])]
    >>> empirical_ntk(weights, np.array([[1.0, 0.0], [0.0, 1.0]]))
    array([[2., 0.],
           [0., 5.]])
    """
    left = features(weights, X)
    right = left if Y is None else features(weights, Y)
    gated = _gated(weights, left)
    other = gated if Y is None else _gated(weights, right)
    kernel = left[-1] @ right[-1].mT
    for a, b, g, h in zip(left[:-1], right[:-1], gated, other, strict=True):
        kernel = kernel + (a @ b.mT) * (g @ h.mT)
    return kernel


def gradient(weights: Weights, X: Array, factors: Array) -> list[Array]:
    r"""Gradient of :math:`\sum_i c_i f(x_i)` in all weights, from factors c (..., N); shapes of the weights."""
    return _gradient(weights, features(weights, X), factors)


def _gradient(weights: Weights, layers: list[Array], factors: Array) -> list[Array]:
    scaled = [g * factors[..., None] for g in _gated(weights, layers)]
    found = [a.mT @ g for a, g in zip(layers[:-1], scaled, strict=True)]
    return [*found, (factors[..., None, :] @ layers[-1])[..., 0, :]]


class Descent(NamedTuple):
    """A gradient descent: weights after the last step and residuals f - y before each step and after the last."""

    weights: list[Array]
    residuals: Array


def descend(weights: Weights, X: Any, targets: Any, *, step: Any, steps: int) -> Descent:
    r"""Gradient descent on :math:`\frac1{2N}\sum_i(f(x_i)-y_i)^2`, JAX; residuals (steps + 1, ..., N).

    Parameters
    ----------
    weights : list of JAX arrays
    X : array, shape (..., N, n_0)
    targets : array, shape (..., N)
        y. For the centred network, which starts at zero, add the outputs at the start.
    step : float
        Rate :math:`\tau`.
    steps : int
    """
    import jax
    import jax.numpy as jnp

    def one(now: list[Any], _: None) -> tuple[list[Any], Any]:
        layers = features(now, X)
        residual = (layers[-1] @ now[-1][..., None])[..., 0] - targets
        slopes = _gradient(now, layers, residual / X.shape[-2])
        return [W - step * slope for W, slope in zip(now, slopes, strict=True)], residual

    last, residuals = jax.lax.scan(one, list(weights), None, length=steps)
    return Descent(last, jnp.concatenate([residuals, (outputs(last, X) - targets)[None]]))


def linear_descent(kernel: Any, residual: Any, *, step: Any, steps: int) -> Any:
    r"""Residuals :math:`(I-\tau\Theta/N)^k\zeta_0` of the linearised network, JAX; (steps + 1, ..., N).

    Parameters
    ----------
    kernel : array, shape (..., N, N)
    residual : array, shape (..., N)
        At the start.
    """
    import jax
    import jax.numpy as jnp

    def one(now: Any, _: None) -> tuple[Any, Any]:
        after = now - step / kernel.shape[-1] * (kernel @ now[..., None])[..., 0]
        return after, after

    return jnp.concatenate([residual[None], jax.lax.scan(one, residual, None, length=steps)[1]])
