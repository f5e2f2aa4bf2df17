"""A multilayer perceptron as functions with explicit parameters, for JAX: `mlp_init` and `mlp_apply`.

Parameters are a list of pairs (weights (n_in, n_out), bias (n_out,)), a pytree: differentiate, vmap and store it as it
is. Samples are rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

from lab import streams
from lab.arrays import Array
from lab.errors import InputError

__all__ = ["Activation", "Layers", "mlp_apply", "mlp_init"]

Layers = list[tuple[Any, Any]]
Activation = Literal["relu", "tanh", "gelu", "linear"]


def mlp_init(key: Any, widths: Sequence[int], *, gain: float = 2.0, dtype: Any = None) -> Layers:
    r"""Gaussian weights of variance gain/n_in and zero biases.

    Parameters
    ----------
    key : JAX key
    widths : sequence of int
        (n_0, ..., n_L): dimension of the input, of the hidden layers, of the output; at least two.
    gain : float, > 0
        2 keeps the scale of activations through layers of relu, 1 through linear and tanh layers. The last layer, which
        no activation follows, always has gain 1.
    dtype : optional
        By default the float of the JAX configuration.

    Returns
    -------
    list of (weights, bias)

    Raises
    ------
    InputError
        If there are fewer than two widths or one is not positive.

    References
    ----------
    .. [1] arXiv:1502.01852, He, Zhang, Ren, Sun 2015 (gain 2 for relu).
    """
    import jax
    import jax.numpy as jnp

    if len(widths) < 2 or any(width != int(width) or width < 1 for width in widths):
        raise InputError(f"widths={tuple(widths)} must be at least two positive integers: input, hidden layers, output")
    kind = float if dtype is None else dtype
    layers: Layers = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        scale = (gain if i < len(widths) - 2 else 1.0) / n_in
        weights = scale**0.5 * streams.normal(jax.random.fold_in(key, i), (n_in, n_out), dtype=kind)
        layers.append((weights, jnp.zeros(n_out, dtype=weights.dtype)))
    return layers


def mlp_apply(layers: Layers, X: Array, *, activation: Activation = "relu") -> Array:
    r"""Output of the network: :math:`X_{l+1}=\phi(X_lW_l+b_l)`, without activation after the last layer.

    Parameters
    ----------
    layers : list of (weights, bias)
        As made by `mlp_init`.
    X : JAX array, shape (..., n, n_0)
        Leading axes are batch axes.
    activation : "relu", "tanh", "gelu" or "linear"

    Returns
    -------
    array, shape (..., n, n_L)

    Raises
    ------
    InputError
        If the last axis of X is not the input dimension, or the activation is unknown.
    """
    import jax
    import jax.numpy as jnp

    functions: dict[str, Any] = {
        "relu": jax.nn.relu, "tanh": jnp.tanh, "gelu": jax.nn.gelu, "linear": lambda values: values,
    }  # fmt: skip
    if activation not in functions:
        raise InputError(f"activation={activation!r} must be one of {', '.join(functions)}")
    if X.shape[-1] != layers[0][0].shape[0]:
        raise InputError(f"X has shape {tuple(X.shape)} but must end in the input dimension {layers[0][0].shape[0]}")
    for weights, bias in layers[:-1]:
        X = functions[activation](X @ weights + bias)
    weights, bias = layers[-1]
    return X @ weights + bias
