r"""How players of linear games learn: gradient decoders, two-timescale descent and ascent; what they leave of data.

Samples are rows, encoders F (d_z, d_x), decoders G (d_x, d_z), as in `lab.models.closed_loops`; everything runs on the
moments of the classes. Nothing here draws random numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lab.arrays import Array, namespace
from lab.errors import InputError
from lab.models import closed_loops
from lab.models.feasible_sets import class_energies, project_class_energies

__all__ = ["Play", "decoder_descent", "play", "subspace_residuals"]


def subspace_residuals(rows: Array, decoded: Array, ranks: Any) -> Array:
    r"""Share of the samples of each class outside the leading directions of what is decoded,
    :math:`\|X_j(I-P_j)\|_F/\|X_j\|_F`.

    P_j projects onto the leading d_j right singular vectors of the decoded samples (those with a positive singular
    value; a numerical rank instead of d_j would make it vanish for noisy data).

    Parameters
    ----------
    rows : array, shape (..., K, m, d)
        Samples of the classes, or any rows with the same second moments.
    decoded : array, shape (..., K, m', d)
        The same after decoding.
    ranks : sequence of int, length K
        d_j.

    Returns
    -------
    array, shape (..., K)
        Between 0 and 1.
    """
    xp = namespace(rows, decoded)
    _, values, right = xp.linalg.svd(decoded, full_matrices=False)
    place = np.arange(right.shape[-2]) < np.asarray(ranks)[:, None]
    kept = xp.where(values > 0, xp.asarray(place, dtype=rows.dtype), 0.0)[..., None] * right
    rest = rows - rows @ kept.mT @ kept
    return xp.sqrt(xp.sum(rest**2, axis=(-2, -1)) / xp.sum(rows**2, axis=(-2, -1)))


def decoder_descent(F: Array, G: Array, moments: Array, beta: Any, *, rate: float, steps: int) -> Array:
    r"""Decoder after plain gradient descent of :math:`\sum_j\mathrm{dist}(Z_j,\hat Z_j)` at a fixed encoder.

    Parameters
    ----------
    F, G, moments, beta
        As in `closed_loops.loop_slopes`; G is the start. G = 0 is a critical point: it never moves.
    rate : float, > 0
        Step, the same for all steps.
    steps : int

    Returns
    -------
    array, shape (..., d_x, d_z)

    Notes
    -----
    The part of G outside the row space of F, ``(I - F^+ F) G``, is the same after every step.
    """
    for _ in range(steps):
        G = G - rate * closed_loops.loop_slopes(F, G, moments, beta).decoder
    return G


class Play(NamedTuple):
    """Encoders and decoders recorded along a game: (R + 1, ..., d_z, d_x) and (R + 1, ..., d_x, d_z), start first."""

    encoders: Any
    decoders: Any


class _Player(NamedTuple):
    """A player and Adam's two means."""

    at: Any
    mean: Any
    square: Any
    steps: int


def _adam(player: _Player, slope: Array, rate: float) -> _Player:
    """One Adam step up `slope` (decays .9 and .999)."""
    xp = namespace(slope)
    steps = player.steps + 1
    mean, square = 0.9 * player.mean + 0.1 * slope, 0.999 * player.square + 0.001 * slope**2
    step = mean / (1 - 0.9**steps) / (xp.sqrt(square / (1 - 0.999**steps)) + 1e-8)
    return _Player(player.at + rate * step, mean, square, steps)


def play(
    F: Array, G: Array, moments: Array, fractions: Array, beta: Any, *, inner: int, steps: int, records: int,
    leader_rate: float = 1e-2, follower_rate: float = 1e-2,
) -> Play:  # fmt: skip
    """Two-timescale gradient descent and ascent of CTRL-MSP, with Adam for both players.

    Each of `steps` leader steps is one Adam step up the leader's utility at the present decoder, followed by the
    projection onto ``||Z_j||² <= n_j``; before it the follower makes `inner` Adam steps down the loop distance.

    Parameters
    ----------
    F, G : arrays, shapes (..., d_z, d_x), (..., d_x, d_z)
        Start; F is scaled down to feasible energies. Leading axes are games played side by side.
    moments, fractions : of the data, `closed_loops.class_moments`
    beta : float
    inner : int, >= 1
        Follower steps for each leader step.
    steps, records : int
        Leader steps, and how many times the players are recorded (it must divide `steps`).
    leader_rate, follower_rate : float
        Adam steps.

    Notes
    -----
    Plain loops over batched arrays: NumPy, or torch also on a GPU. (Compiled, as under `jax.jit`, they would unroll.)

    References
    ----------
    .. [1] arXiv:2206.09120 (the game; its code has 1000 inner steps and projects minibatch by minibatch).
    """
    if steps % records:
        raise InputError(f"records={records} must divide steps={steps}")
    xp = namespace(F, G)

    def lead(F: _Player, G: _Player) -> tuple[_Player, _Player]:
        for _ in range(inner):
            G = _adam(G, -closed_loops.loop_slopes(F.at, G.at, moments, beta).decoder, follower_rate)
        own = closed_loops.reduction_gradient(closed_loops.image(F.at, moments), fractions, beta)
        slope = 2 * xp.sum(own @ F.at[..., None, :, :] @ moments, axis=-3)
        slope = slope + closed_loops.loop_slopes(F.at, G.at, moments, beta).encoder
        F = _adam(F, slope, leader_rate)
        return F._replace(at=project_class_energies(F.at, moments).map), G

    largest = xp.max(class_energies(F, moments), axis=-1)[..., None, None]
    F = F / xp.sqrt(xp.clip(largest, min=1.0))
    leader, follower = (_Player(at, xp.zeros_like(at), xp.zeros_like(at), 0) for at in (F, G))
    met = [(leader.at, follower.at)]
    for step in range(steps):
        leader, follower = lead(leader, follower)
        if (step + 1) % (steps // records) == 0:
            met.append((leader.at, follower.at))
    return Play(*(xp.stack(players) for players in zip(*met, strict=True)))
