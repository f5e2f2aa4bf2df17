r"""Sets that the players of linear games choose from, as nearest-point maps on NumPy, torch and JAX arrays.

Samples are rows: features are ``Z_j = X_j F^T``, the map F has shape (..., d_z, d_x). A class enters through its
second moment ``C_j = X_j^T X_j/n_j``, never through its samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import array_api_compat
import numpy as np

from lab.arrays import Array, cholesky, cholesky_inverse, device, machine_epsilon, namespace, truth
from lab.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Projection", "class_energies", "operator_norm_ball", "project_class_energies", "stiefel"]

_MOST = 200  # Newton steps; quadratic convergence needs about ten


def stiefel(F: Float[Array, "*batch out in"]) -> Float[Array, "*batch out in"]:
    r"""Nearest matrix with orthonormal rows or columns, whichever fits: the polar factor ``U V^T`` of ``F = U S V^T``.

    Not unique where F has a vanishing singular value.

    Examples
    --------
    >>> stiefel(np.array([[2.0, 0.0, 0.0], [0.0, -0.1, 0.0]])).tolist()
    [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]
    """
    left, _, right = namespace(F).linalg.svd(F, full_matrices=False)
    return left @ right


def operator_norm_ball(F: Float[Array, "*batch out in"], radius: float = 1.0) -> Float[Array, "*batch out in"]:
    """Nearest matrix of operator norm at most `radius`: singular values above it are set to it.

    Examples
    --------
    >>> operator_norm_ball(np.diag([3.0, 0.5])).tolist()
    [[1.0, 0.0], [0.0, 0.5]]
    """
    xp = namespace(F)
    left, values, right = xp.linalg.svd(F, full_matrices=False)
    return (left * xp.clip(values, max=radius)[..., None, :]) @ right


def class_energies(
    F: Float[Array, "*batch out in"], C: Float[Array, "*batch classes in in"]
) -> Float[Array, "*batch classes"]:
    r"""Mean squared norms of the features of every class, :math:`\mathrm{tr}(FC_jF^\top)=\|Z_j\|_F^2/n_j`.

    Parameters
    ----------
    F : array, shape (..., d_z, d_x)
    C : array, shape (..., K, d_x, d_x)
        Second moments of the classes.

    Returns
    -------
    array, shape (..., K)
    """
    F = F[..., None, :, :]
    return namespace(F, C).sum((F @ C) * F, axis=(-2, -1))


class Projection(NamedTuple):
    """Nearest feasible map, multipliers (..., K), and the residual (...) of the optimality conditions."""

    map: Any
    multipliers: Any
    residual: Any


def project_class_energies(
    F: Float[Array, "*batch out in"], C: Float[Array, "*batch classes in in"], *, bounds: Any = 1.0
) -> Projection:
    r"""Nearest map whose class energies keep their bounds: :math:`\min\|F'-F\|_F` s.t.
    :math:`\mathrm{tr}(F'C_jF'^\top)\le b_j` for all j.

    .. math:: F'=F\,(I+\textstyle\sum_j\lambda_jC_j)^{-1},\qquad \lambda=\arg\min_{\lambda\ge0}\
              \mathrm{tr}\bigl(F(I+\textstyle\sum_j\lambda_jC_j)^{-1}F^\top\bigr)+\sum_jb_j\lambda_j .

    A convex problem in K variables, whatever the size of F: its gradient is ``b_j`` minus the energy of class j. Solved
    by damped projected Newton steps; a map inside the set is returned as it is, to the last bit.

    Parameters
    ----------
    F : array, shape (..., d_z, d_x)
    C : array, shape (..., K, d_x, d_x)
        Second moments of the classes, positive semidefinite.
    bounds : float or array, shape (..., K), > 0
        b_j; 1 means ``||Z_j||_F^2 <= n_j``.

    Returns
    -------
    Projection
        With ``residual = max_j max(e_j/b_j - 1, [lambda_j > 0] |1 - e_j/b_j|)``, at rounding where it converged.

    Raises
    ------
    InputError
        If shapes do not fit or a bound is not positive.

    Notes
    -----
    Under JAX the loop is a `while_loop` and may be jitted and vmapped (not differentiated in reverse). One step costs
    ``O(K d_z d_x^2 + d_x^3)``. Derived for this laboratory; the game's published code calls a conic solver instead.

    References
    ----------
    .. [1] arXiv:2206.09120 (the constraint of the game for several subspaces).

    Examples
    --------
    >>> found = project_class_energies(np.diag([2.0, 0.5]), np.stack([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])]))
    >>> found.map.round(12).tolist(), found.multipliers.round(12).tolist()
    ([[1.0, 0.0], [0.0, 0.5]], [1.0, 0.0])
    """
    xp = namespace(F, C)
    if F.shape[-1] != C.shape[-1] or C.shape[-1] != C.shape[-2] or C.ndim < 3:
        raise InputError(f"F and C have shapes {tuple(F.shape)} and {tuple(C.shape)}; they must be (..., d_z, d_x) and "
                         "(..., K, d_x, d_x)")  # fmt: skip
    batch = np.broadcast_shapes(tuple(F.shape[:-2]), tuple(C.shape[:-3]))
    b = xp.broadcast_to(xp.asarray(bounds, dtype=F.dtype, device=device(F)), (*batch, C.shape[-3]))
    if truth(xp.all(b > 0)) is False:
        raise InputError(f"bounds={bounds!r} must be positive; leave a class out instead of forbidding it energy")
    F = xp.broadcast_to(F, (*batch, *F.shape[-2:]))
    state = _descend(F, C, b)
    inside = xp.all(state.multipliers == 0, axis=-1)[..., None, None]
    return Projection(xp.where(inside, F, state.map), state.multipliers, state.residual)


class _State(NamedTuple):
    """Point of the dual problem with what the next Newton step needs; `damping` as in Levenberg's method."""

    multipliers: Any
    map: Any
    inverse: Any
    slack: Any
    residual: Any
    damping: Any
    steps: Any


def _at(multipliers: Array, F: Array, C: Array, b: Array) -> tuple[Array, ...]:
    """Map, inverse, slack ``b - e`` (the gradient of the dual problem) and residual at given multipliers."""
    xp = namespace(F)
    eye = xp.eye(F.shape[-1], dtype=F.dtype, device=device(F))
    inverse = cholesky_inverse(cholesky(eye + xp.sum(multipliers[..., None, None] * C, axis=-3)))
    near = F @ inverse
    slack = b - class_energies(near, C)
    wrong = xp.where(multipliers > 0, xp.abs(slack), xp.clip(-slack, min=0.0))
    return near, inverse, slack, xp.max(wrong / b, axis=-1)


def _newton(s: _State, F: Array, C: Array, b: Array) -> _State:
    """One projected step on the multipliers that are positive or want to grow, refused where it goes too far.

    Undamped steps are those of Newton's method for ``1/sqrt(e_j) = 1/sqrt(b_j)``, whose left side is nearly linear in
    the multipliers far from the set (exactly so for one class of one direction); damped ones are the usual ones.
    """
    xp = namespace(F)
    K, eps = b.shape[-1], machine_epsilon(F)
    turned = s.map[..., None, :, :] @ C
    flat = (*turned.shape[:-2], -1)
    hessian = 2 * xp.reshape(turned @ s.inverse[..., None, :, :], flat) @ xp.reshape(turned, flat).mT
    free = (s.multipliers > 0) | (s.slack < 0)
    both = xp.astype(free[..., :, None] & free[..., None, :], F.dtype)
    eye = xp.eye(K, dtype=F.dtype, device=device(F))
    diagonal = xp.sum(hessian * eye, axis=-1)
    # a class without curvature has no energy to bound: an identity row keeps the system regular
    scale = xp.where(free & (diagonal > 0), diagonal * (1 + s.damping[..., None] + 8 * K * eps), 1.0)
    energy = b - s.slack
    wish = xp.where(s.damping[..., None] > 0, -s.slack, 2 * energy * (xp.sqrt(xp.clip(energy, min=0.0) / b) - 1))
    system = hessian * both * (1 - eye) + scale[..., None] * eye
    trial = s.multipliers + xp.linalg.solve(system, xp.where(free, wish, 0.0)[..., None])[..., 0]
    trial = xp.clip(trial, min=0.0)
    near, inverse, slack, residual = _at(trial, F, C, b)
    # the dual problem is convex: it has gone down if its slope along the step is not yet positive at the end
    near_end = (s.residual < 0.5) & (residual < s.residual / 2)
    better = (xp.sum(slack * (trial - s.multipliers), axis=-1) <= 0) | near_end
    open_ = better & ~_settled(s, C, b)

    def choose(new: Array, old: Array) -> Array:
        return xp.where(xp.reshape(open_, (*open_.shape, *(1,) * (new.ndim - open_.ndim))), new, old)

    damping = xp.where(better, xp.where(s.damping > 0.2, s.damping / 8, 0.0), xp.clip(8 * s.damping, min=0.125))
    return _State(
        choose(trial, s.multipliers), choose(near, s.map), choose(inverse, s.inverse), choose(slack, s.slack),
        choose(residual, s.residual), damping, s.steps + 1,
    )  # fmt: skip


def _settled(s: _State, C: Array, b: Array) -> Array:
    """Whether the optimality conditions hold up to the rounding of the energies.

    The map is known to ``eps |F'|`` in every direction, hence the energy ``e = |F' C^(1/2)|^2`` near b to
    ``2 eps sqrt(b tr C) |F'|``.
    """
    xp = namespace(b)
    trace = xp.max(xp.linalg.trace(C) / b, axis=-1)
    return s.residual <= 8 * machine_epsilon(b) * (1 + xp.sqrt(trace * xp.sum(s.map**2, axis=(-2, -1))))


def _descend(F: Array, C: Array, b: Array) -> _State:
    """Steps from zero multipliers until all problems of the batch have settled, or can be improved no further."""
    xp = namespace(F)
    zero = xp.zeros_like(b)
    near, inverse, slack, residual = _at(zero, F, C, b)
    state = _State(zero, near, inverse, slack, residual, xp.zeros_like(residual), 0)

    def unfinished(s: _State) -> Array:
        # damping beyond 1/eps: no step, however short, goes down any more
        stuck = s.damping > 1 / machine_epsilon(F)
        return xp.any(~_settled(s, C, b) & ~stuck) & (s.steps < _MOST)

    if array_api_compat.is_jax_array(F):
        import jax

        return jax.lax.while_loop(unfinished, lambda s: _newton(s, F, C, b), state)
    while bool(unfinished(state)):
        state = _newton(state, F, C, b)
    return state
