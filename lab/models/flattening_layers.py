r"""One flattening layer: a local push of points onto an affine subspace, its exact inverse and its quadratic decoder.

Around a centre :math:`\mu` with an orthonormal frame U (D, d), :math:`P=I-UU^\top`,

.. math:: F(x)=x-k(x)\,P(x-\mu),\qquad k(x)=\alpha\,e^{-\gamma|x-\mu|^2},

followed by a shift and a division. For :math:`\alpha<1` it is a diffeomorphism of :math:`R^D`: tangent coordinates
stay, and the distance :math:`\eta=|P(x-\mu)|` solves the increasing scalar equation

.. math:: \eta\,\bigl(1-\alpha e^{-\gamma(|u|^2+\eta^2)}\bigr)=|P(z-\mu)|,\qquad u=U^\top(z-\mu).

The published decoder is another map: the same kernel value, times a quadratic model of the surface in the tangent
coordinates. Samples are rows; NumPy, torch and JAX.

References
----------
.. [1] arXiv:2305.01777, Psenka, Pai, Raman, Sastry, Ma 2023 (FlatNet; the inverse is derived for this laboratory,
   verified numerically, and not found there).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lab.arrays import Array, machine_epsilon, namespace, truth

__all__ = ["Layer", "decode_exact", "decode_quadratic", "encode", "kernel", "quadratic_monomials", "solved_kernel"]

_NEWTON = 100


class Layer(NamedTuple):
    """Parameters of a layer.

    Attributes
    ----------
    centre : array, shape (D,)
        mu, the centre of the kernel.
    frame : array, shape (D, d)
        U, orthonormal columns.
    gamma, alpha : float
        Inverse squared width of the kernel, and its height, in [0, 1).
    sample : array, shape (D,)
        z_c, the point about which the quadratic model is built.
    model : array, shape (D, d (d + 1)/2)
        V, coefficients of the quadratic monomials, orthogonal to U.
    shift : array, shape (D,); scale : float, > 0
        The layer's output is ``(F(x) - shift)/scale``.
    """

    centre: Array
    frame: Array
    gamma: Any
    alpha: Any
    sample: Array
    model: Array
    shift: Array
    scale: Any


def _split(x: Array, layer: Layer) -> tuple[Array, Array]:
    """Tangent coordinates (..., d) and normal part (..., D) of points relative to the centre."""
    relative = x - layer.centre
    tangent = relative @ layer.frame
    return tangent, relative - tangent @ layer.frame.mT


def _square(x: Array) -> Array:
    return namespace(x).sum(x * x, axis=-1, keepdims=True)


def kernel(x: Array, layer: Layer) -> Array:
    """k at points x (..., D), shape (..., 1)."""
    return layer.alpha * namespace(x).exp(-layer.gamma * _square(x - layer.centre))


def encode(x: Array, layer: Layer) -> Array:
    """The layer at points x (..., D); analytic, hence good for complex steps."""
    tangent, normal = _split(x, layer)
    k = layer.alpha * namespace(x).exp(-layer.gamma * (_square(tangent) + _square(normal)))
    return (x - k * normal - layer.shift) / layer.scale


def _before_scaling(z: Array, layer: Layer) -> Array:
    return z * layer.scale + layer.shift


def solved_kernel(z: Array, layer: Layer) -> Array:
    """Kernel value (..., 1) at the preimages of ``F(x) = z`` (before shift and scale), by safeguarded Newton steps.

    The bracket of eta is ``[e, e/(1 - alpha)]``, e the normal length of z; a step that leaves it bisects. Stops when no
    point moves by more than a rounding error, or after 100 steps.
    """
    xp = namespace(z)
    tangent, normal = _split(z, layer)
    e = xp.sqrt(_square(normal))
    height = layer.alpha * xp.exp(-layer.gamma * _square(tangent))
    low, high = e, e / (1 - layer.alpha)
    eta = e
    for _ in range(_NEWTON):
        k = height * xp.exp(-layer.gamma * eta * eta)
        value = eta * (1 - k) - e
        low, high = xp.where(value < 0, eta, low), xp.where(value < 0, high, eta)
        step = eta - value / (1 - k + 2 * layer.gamma * eta * eta * k)
        inside = (step >= low) & (step <= high)
        new = xp.where(inside, step, (low + high) / 2)
        moved, eta = xp.abs(new - eta), new
        if truth(xp.all(moved <= 2 * machine_epsilon(eta) * eta)):
            break
    return height * xp.exp(-layer.gamma * eta * eta)


def decode_exact(z: Array, layer: Layer) -> Array:
    """The inverse of `encode`: points (..., D)."""
    z = _before_scaling(z, layer)
    _, normal = _split(z, layer)
    k = solved_kernel(z, layer)
    return z + k / (1 - k) * normal


def quadratic_monomials(u: Array) -> Array:
    """Products ``u_i u_j``, i <= j, row by row of the upper triangle: (..., d (d + 1)/2)."""
    xp = namespace(u)
    return xp.concat([u[..., i : i + 1] * u[..., i:] for i in range(u.shape[-1])], axis=-1)


def decode_quadratic(z: Array, layer: Layer) -> Array:
    """The published decoder: ``z + k (P(z_c - mu) + V q(U^T (z - z_c)))``, with k by `solved_kernel`."""
    z = _before_scaling(z, layer)
    k = solved_kernel(z, layer)
    _, offset = _split(layer.sample, layer)
    q = quadratic_monomials((z - layer.sample) @ layer.frame)
    return z + k * (offset + q @ layer.model.mT)
