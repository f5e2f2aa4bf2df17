"""The regularised objective by definition, and its derivatives by automatic differentiation: the checks' own route.

Shares no code with `lab.objectives` or `lab.systems.mcr2`, except that `orthogonal_point` takes the branches from the
theory under test, whose gradient the checks then find zero or not.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lab.systems.mcr2 import theory

CLASSES = 4  # memberships are padded to this width: one compilation per shape of Z


def plain(Z, membership, eps, lam):
    """The objective by definition; classes without weight contribute nothing."""
    n, d = Z.shape
    value = 0.5 * jnp.linalg.slogdet(jnp.eye(d) + d / (n * eps**2) * Z.T @ Z)[1] - 0.5 * lam * (Z**2).sum()
    for k in range(CLASSES):
        weight = membership[:, k].sum()
        inner = d / (jnp.where(weight > 0, weight, 1) * eps**2) * Z.T @ (membership[:, k, None] * Z)
        value -= weight / (2 * n) * jnp.linalg.slogdet(jnp.eye(d) + inner)[1]
    return value


@functools.cache
def derivatives(n, d):
    def all_of(Z, membership, eps, lam):
        def flat(v):
            return plain(v.reshape(n, d), membership, eps, lam)
        return flat(Z), jax.grad(flat)(Z), jax.hessian(flat)(Z)
    return jax.jit(all_of)


def autodiff(Z, sizes, eps, lam):
    """Value, gradient, and Hessian (N d, N d) of the definition."""
    membership = np.eye(CLASSES)[np.repeat(np.arange(len(sizes)), sizes)]
    with jax.enable_x64(True):
        value, gradient, hessian = derivatives(*Z.shape)(jnp.asarray(Z).ravel(), jnp.asarray(membership), eps, lam)
    return float(value), np.asarray(gradient).reshape(Z.shape), np.asarray(hessian)


def frame(rng, n, m):
    return np.linalg.qr(rng.standard_normal((n, m)))[0]


def orthogonal_point(rng, sizes, dim, plus, minus, eps, tau):
    """Rows: Z_k = V_k diag(sqrt(u/alpha)) U_k^T with orthogonal U_k."""
    alpha, U, blocks = dim / (sum(sizes) * eps**2), frame(rng, dim, dim), []
    for n, p, q in zip(sizes, plus, minus, strict=True):
        x, U_k, U = n / sum(sizes), U[:, : p + q], U[:, p + q :]
        u = [theory.u_plus(x, tau)] * p + [theory.u_minus(x, tau)] * q if p + q else []
        blocks.append(frame(rng, n, p + q) * np.sqrt(np.array(u) / alpha) @ U_k.T if p + q else np.zeros((n, dim)))
    return np.concatenate(blocks)
