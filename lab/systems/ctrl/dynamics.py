r"""Leaders of CTRL games: ascent of what is left of the leader's utility when the decoder answers exactly.

CTRL-MSP (`leader_ascent`) in reduced units: class j has features ``sqrt(alpha) Z_j``, up to a rotation of the samples a
block Y_j of m rows in R^d, and

.. math:: \Delta R=\tfrac12\log\det\Bigl(I+\sum_jG_j\Bigr)-\sum_j\tfrac{\gamma_j}2\log\det(I+G_j/\gamma_j),\qquad
          G_j=Y_j^\top Y_j,\quad \|Y_j\|_F^2\le u_j=\beta\gamma_j.

If the classes of data form a direct sum the blocks are free: any Y_j of d_j rows comes from an encoder (`encoder`).
`encoder_ascent` ascends over the encoder itself, for data of any kind, and `subspace_leader` does so for CTRL-SSP.
Nothing here draws random numbers.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from lab.arrays import cholesky, cholesky_logdet, give_jax_threads, triangular_solve
from lab.errors import InputError
from lab.models import closed_loops

__all__ = [
    "EncoderEnds",
    "Leaders",
    "block_mask",
    "compressed",
    "encoder",
    "encoder_ascent",
    "leader_ascent",
    "leader_search",
    "subspace_leader",
]


class Leaders(NamedTuple):
    """Ends of `leader_ascent`, one per start.

    Attributes
    ----------
    value : array, shape (...)
        Delta R, in nats.
    Y : array, shape (..., K, m, d)
    residual : array, shape (...)
        Norm of the projected gradient; below the tolerance where the ascent converged.
    """

    value: Any
    Y: Any
    residual: Any


class EncoderEnds(NamedTuple):
    """Ends of an ascent over encoders: values (S,), encoders (S, d_z, d_x), whether each one converged (S,)."""

    value: np.ndarray
    F: np.ndarray
    converged: np.ndarray


# ---------------------------------------------------------------------- CTRL-MSP


def block_mask(ranks) -> np.ndarray:
    """Which rows of blocks (K, m, 1), m = max d_j, may be nonzero: the first d_j of class j."""
    ranks = np.asarray(ranks)
    return (np.arange(ranks.max()) < ranks[:, None])[..., None].astype(float)


def leader_ascent(
    Y: Any, gamma: Any, energy: Any, *, steps: int = 1000, plain: int = 50, tolerance: float = 1e-10
) -> Leaders:
    """Projected ascent of the leader of CTRL-MSP from all starts at once; JAX, traceable (jit, vmap).

    Parameters
    ----------
    Y : array, shape (..., K, m, d)
        Starts; rows that are zero stay zero, so classes may have different ranks (`block_mask`).
    gamma, energy : array, broadcastable to (..., K)
        Shares and reduced energies ``u_j = beta gamma_j``; may be traced.
    steps : int
        At most so many.
    plain : int
        So many steps of length one first, which are monotone (the curvature is at most 9/8 in these units) and decide
        where an ascent ends; then Barzilai-Borwein steps between .3 and 1000.
    tolerance : float
        Stop where all projected gradients are shorter. Values are then within about ``tolerance²`` of a local maximum
        (over its curvature, which falls to zero at the spinodal ``u_j = k sqrt(gamma_j)``).

    Returns
    -------
    Leaders

    Notes
    -----
    All matrices of a step are factorised in one stack; see `lab.arrays.give_jax_threads`.
    """
    give_jax_threads()
    import jax
    import jax.numpy as jnp

    Y = jnp.asarray(Y)
    eye = jnp.eye(Y.shape[-1], dtype=Y.dtype)
    gamma, energy = (jnp.broadcast_to(jnp.asarray(a, dtype=Y.dtype), Y.shape[:-2]) for a in (gamma, energy))
    one = jnp.ones_like(gamma[..., :1])
    scale = jnp.concatenate([one, 1 / gamma], axis=-1)[..., None, None]
    weight = jnp.concatenate([one, -gamma], axis=-1)

    def inner(a: Any, b: Any) -> Any:
        return jnp.sum(a * b, axis=(-2, -1))

    def total(a: Any, b: Any) -> Any:
        return jnp.sum(a * b, axis=(-3, -2, -1))

    def onto(Y: Any) -> Any:
        return Y * jnp.sqrt(energy / jnp.maximum(inner(Y, Y), energy))[..., None, None]

    def climb(Y: Any) -> tuple[Any, Any]:
        """Value, and the gradient without its part along blocks that are full and would grow."""
        grams = Y.mT @ Y
        stack = jnp.concatenate([jnp.sum(grams, axis=-3, keepdims=True), grams], axis=-3)
        factor = cholesky(eye + scale * stack)
        half = triangular_solve(factor, eye)
        inverse = half.mT @ half
        slope = Y @ (inverse[..., :1, :, :] - inverse[..., 1:, :, :])
        along = inner(slope, Y)
        held = (inner(Y, Y) > energy * (1 - 1e-12)) & (along > 0)
        slope = slope - jnp.where(held, along / energy, 0.0)[..., None, None] * Y
        return 0.5 * jnp.sum(weight * cholesky_logdet(factor), axis=-1), slope

    def proceed(state: Any) -> Any:
        return (state[0] < steps) & jnp.any(jnp.sqrt(total(state[2], state[2])) > tolerance)

    def step(state: Any) -> Any:
        t, Y, slope, length, _ = state
        at = onto(Y + length[..., None, None, None] * slope)
        value, new = climb(at)
        moved, turned = at - Y, slope - new
        along, even = total(moved, turned), t % 2 == 0
        above = jnp.where(even, total(moved, moved), along)
        below = jnp.where(even, along, total(turned, turned))
        free = (along > 0) & (t >= plain)
        length = jnp.where(free, jnp.clip(above / jnp.where(free, below, 1.0), 0.3, 1e3), 1.0)
        return t + 1, at, new, length, value

    Y = onto(Y)
    value, slope = climb(Y)
    _, Y, slope, _, value = jax.lax.while_loop(proceed, step, (0, Y, slope, jnp.ones_like(value), value))
    return Leaders(value, Y, jnp.sqrt(total(slope, slope)))


def compressed(Y: Any) -> Any:
    """Blocks (..., K, m, d) rotated into as few columns as they have rows: the same Gram matrices, d <= K m; JAX."""
    import jax.numpy as jnp

    K, m, d = Y.shape[-3:]
    if d <= K * m:
        return Y
    rows = jnp.reshape(Y, (*Y.shape[:-3], K * m, d))
    return jnp.reshape(jnp.linalg.qr(rows.mT, mode="r").mT, (*Y.shape[:-3], K, m, K * m))


def leader_search(gaussian: Any, structured: Any, ranks: Any, gamma: Any, energy: Any) -> Leaders:
    """Ascents of the leader of CTRL-MSP from random starts and from given ones, pushed; JAX, traceable.

    Parameters
    ----------
    gaussian : array, shape (S, K, m, d)
        Random starts, scaled here to the class energies.
    structured : array, shape (T, K, m, d)
        Blocks of norm one, such as orthogonal classes of several ranks. Scaled, and pushed in all entries by a
        hundredth of a random start, so that nothing starts on a saddle.
    ranks : sequence of int, length K
        d_j.
    gamma, energy : array, shape (K,)

    Returns
    -------
    Leaders
        Random starts first, shape (S + T,).
    """
    import jax.numpy as jnp

    gaussian = gaussian * jnp.asarray(block_mask(ranks))
    unit = jnp.sqrt(jnp.asarray(energy))[:, None, None]
    gaussian = unit * gaussian / jnp.sqrt(jnp.sum(gaussian**2, axis=(-2, -1), keepdims=True))
    pushed = unit * structured + 1e-2 * gaussian[jnp.arange(len(structured)) % len(gaussian)]
    return leader_ascent(compressed(jnp.concatenate([gaussian, pushed])), gamma, energy)


def encoder(Y: np.ndarray, moments: np.ndarray, fractions: np.ndarray, beta: float) -> np.ndarray:
    """An encoder F (d, d_x) that gives classes of these moments the features Y (K, m, d), up to rotations of samples.

    The roots ``C_j = B_j B_j^T`` of the moments (K, d_x, d_x), m leading directions at most, are put side by side. In a
    direct sum their columns are independent and ``F B_j = Y_j^T/sqrt(beta gamma_j)`` has a solution; otherwise this is
    the one of least squares.
    """
    roots, targets = [], []
    for C, block, share in zip(moments, Y, fractions, strict=True):
        values, vectors = (part[..., -len(block) :] for part in np.linalg.eigh(C))
        kept = values > C.shape[-1] * np.finfo(float).eps * values[-1]
        roots.append(vectors[:, kept] * np.sqrt(values[kept]))
        targets.append(block[: kept.sum()].T / np.sqrt(beta * share))
    columns = np.concatenate(roots, axis=1)
    return np.linalg.lstsq(columns.T, np.concatenate(targets, axis=1).T, rcond=None)[0].T


def encoder_ascent(
    starts: np.ndarray, moments: np.ndarray, fractions: np.ndarray, beta: float, *, steps: int = 500
) -> EncoderEnds:
    """The leader of CTRL-MSP over the encoder itself, ``tr(F C_j F^T) <= 1``, for data of any kind; NumPy.

    Sequential quadratic programming (SciPy's SLSQP), for up to about a hundred entries of F.

    Parameters
    ----------
    starts : array, shape (S, d_z, d_x)
    moments : array, shape (K, d_x, d_x)
    fractions : array, shape (K,)
    beta : float
        d_z/eps².

    Returns
    -------
    EncoderEnds
        Values to about 1e-10, where converged.
    """
    from scipy.optimize import minimize

    shape, ends = starts.shape[1:], []

    def descend(flat: np.ndarray) -> tuple[float, np.ndarray]:
        F = flat.reshape(shape)
        own = closed_loops.image(F, moments)
        slope = 2 * np.sum(closed_loops.reduction_gradient(own, fractions, beta) @ F @ moments, axis=0)
        return -float(closed_loops.reduction(own, fractions, beta)), -slope.ravel()

    def room(flat: np.ndarray) -> np.ndarray:
        F = flat.reshape(shape)
        return 1 - np.sum((F @ moments) * F, axis=(-2, -1))

    def room_slope(flat: np.ndarray) -> np.ndarray:
        return -2 * (flat.reshape(shape) @ moments).reshape(len(moments), -1)

    inside = {"type": "ineq", "fun": room, "jac": room_slope}
    for F in starts:
        F = F / np.sqrt(np.max(1 - room(F.ravel())))
        ends.append(minimize(descend, F.ravel(), jac=True, method="SLSQP", constraints=inside,
                             options={"maxiter": steps, "ftol": 1e-15}))  # fmt: skip
    return EncoderEnds(
        np.array([-end.fun for end in ends]), np.stack([end.x.reshape(shape) for end in ends]),
        np.array([end.success for end in ends]),
    )  # fmt: skip


# ---------------------------------------------------------------------- CTRL-SSP


def subspace_leader(
    starts: np.ndarray, moment: np.ndarray, beta: float, *, strategies: Literal["stiefel", "ball"] = "stiefel",
    steps: int = 2000, tolerance: float = 1e-10,
) -> EncoderEnds:  # fmt: skip
    r"""Projected ascent of the leader of CTRL-SSP, the rate :math:`\tfrac12\log\det(I+\beta FCF^\top)`; NumPy.

    Parameters
    ----------
    starts : array, shape (S, d_z, d_x)
    moment : array, shape (d_x, d_x)
    beta : float
    strategies : "stiefel" or "ball"
        Orthonormal rows (d_z <= d_x), or operator norm at most one.
    steps : int
        At most so many.
    tolerance : float
        Converged where the projected gradient is shorter, in units of ``beta`` times the largest eigenvalue of the
        moment.

    Returns
    -------
    EncoderEnds
        The best encoder met from each start.

    Notes
    -----
    Barzilai-Borwein steps, all starts at once.
    """
    if strategies not in ("stiefel", "ball") or (strategies == "stiefel" and starts.shape[-2] > starts.shape[-1]):
        shape = tuple(starts.shape[1:])
        raise InputError(f"strategies={strategies!r} with F of shape {shape}: 'stiefel' (d_z <= d_x) or 'ball'")
    stiefel = strategies == "stiefel"
    unit = beta * float(np.linalg.eigvalsh(moment)[-1])
    precision = beta / unit * moment

    def onto(F: np.ndarray) -> np.ndarray:
        left, values, right = np.linalg.svd(F, full_matrices=False)
        return (left * (1.0 if stiefel else np.minimum(values, 1.0)[..., None, :])) @ right

    def climb(F: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value, direction, and norm of the projected gradient, in units of `unit`."""
        whole = np.eye(F.shape[-2]) + unit * F @ precision @ F.mT
        slope = np.linalg.solve(whole, F @ precision)
        if stiefel:
            turned = slope @ F.mT
            slope = slope - 0.5 * (turned + turned.mT) @ F
            free = slope
        else:
            free = onto(F + slope) - F
        return 0.5 * np.linalg.slogdet(whole)[1], slope, np.linalg.norm(free, axis=(-2, -1))

    F = onto(starts)
    value, slope, residual = climb(F)
    best, where, length = value.copy(), F.copy(), np.ones(len(F))
    for t in range(steps):
        if residual.max() <= tolerance:
            break
        at = onto(F + length[:, None, None] * slope)
        value, new, residual = climb(at)
        moved, turned = at - F, slope - new
        along = np.sum(moved * turned, axis=(-2, -1))
        size = np.sum((moved if t % 2 else turned) ** 2, axis=(-2, -1))
        ratio = np.where(along > 0, size, 1) / np.where(along > 0, along, 1)
        length = np.where(along > 0, np.clip(ratio if t % 2 else 1 / ratio, 0.1, 1e4 * (1 + unit)), 1.0)
        higher = value > best
        best, where[higher] = np.where(higher, value, best), at[higher]
        F, slope = at, new
    return EncoderEnds(best, where, residual <= tolerance)
