r"""Where the symmetric softmax equilibrium of a game of exchangeable players with two actions loses its stability."""

from __future__ import annotations

from math import comb

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.systems.potential_games.theory.routing import LoadTables

__all__ = ["breaking_matrix", "critical_temperature", "symmetric_equilibrium"]


def _binomial(x: np.ndarray, n: int) -> np.ndarray:
    """Law of the number of successes among n, each with probability x (S,), shape (S, n + 1)."""
    return np.stack([comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(n + 1)], axis=-1)


def _linearised(t: LoadTables, x: np.ndarray, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """The map x -> logistic((q_0 - q_1)/tau) at the symmetric profile x, and the matrix K of its derivatives."""
    N, S = checks.integer("players", t.players, 2), t.reward.shape[0]
    odds = _binomial(x, N - 1)
    P = np.einsum("sk,akt->ast", odds, t.kernel)
    R = np.einsum("sk,sak->as", odds, t.reward)
    own = np.stack([x, 1 - x])
    entropy = -(own * np.log(np.where(own > 0, own, 1.0))).sum(axis=0)
    resolvent = np.linalg.inv(np.eye(S) - t.discount * np.einsum("as,ast->st", own, P))
    V = resolvent @ ((own * R).sum(axis=0) + temperature * entropy)
    with np.errstate(over="ignore"):
        image = 1 / (1 + np.exp(-(R[0] - R[1] + t.discount * (P[0] - P[1]) @ V) / temperature))
    # g_a: change of q(s, a) when one of the others moves from route 1 to route 0
    ahead = t.reward + t.discount * np.einsum("akt,t->ak", t.kernel, V)
    pair = _binomial(x, N - 2)
    g = np.einsum("sk,sak->as", pair, ahead[..., 1:] - ahead[..., :-1])
    through = (P[0] - P[1]) @ resolvent @ np.diag((own * g).sum(axis=0))
    return image, (x * (1 - x) / temperature)[:, None] * (np.diag(g[0] - g[1]) + t.discount * through)


def symmetric_equilibrium(t: LoadTables, temperature: float, start: np.ndarray | None = None) -> np.ndarray:
    """Probability x (S,) of route 0 at the symmetric softmax equilibrium, by Newton's method.

    `start` is a guess, by default one half; far below the first critical temperature give that of a higher one.

    Raises
    ------
    OutOfDomain
        If Newton's method does not converge.
    """
    temperature = float(checks.positive("temperature", temperature))
    S = t.reward.shape[0]
    x = np.full(S, 0.5) if start is None else np.asarray(start, dtype=float)
    for _ in range(100):
        image, K = _linearised(t, x, temperature)
        move = np.linalg.solve((t.players - 1) * K - np.eye(S), x - image)
        size = np.abs(move).max()
        x = np.clip(x + move * min(1.0, 0.2 / max(size, 1e-300)), 1e-12, 1 - 1e-12)
        if size < 1e-14 * S:
            return x
    raise OutOfDomain(f"temperature={temperature!r}: Newton's method for the symmetric equilibrium did not converge; "
                      "start from that of a higher temperature")  # fmt: skip


def breaking_matrix(t: LoadTables, x: np.ndarray, temperature: float) -> np.ndarray:
    r"""Derivative of the softmax map at the symmetric equilibrium for perturbations that sum to zero over players.

    .. math:: -\mathrm{diag}\Bigl(\frac{x(1-x)}\tau\Bigr)\bigl[\mathrm{diag}(g_0-g_1)
              +\delta(P_0-P_1)(1-\delta P)^{-1}\mathrm{diag}(xg_0+(1-x)g_1)\bigr]

    :math:`g_a(s)` is the change of q(s, a) when one opponent moves from route 1 to 0, :math:`P_a` the kernel of a
    player on route a, P that of the equilibrium. Each of its S eigenvalues is N - 1 fold in the full derivative;
    perturbations common to all players have those of :math:`-(N-1)` times this matrix.

    Notes
    -----
    A player's own change does not move its value to first order (it is optimal), and the others' changes add up to
    minus its own.
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    return -_linearised(t, x, float(checks.positive("temperature", temperature)))[1]


def critical_temperature(t: LoadTables, *, ratio: float = 1.1) -> float:
    """Largest temperature at which the symmetric equilibrium is neutral: top eigenvalue of `breaking_matrix` is 1.

    Above it every perturbation decays; below, players tell each other apart. The branch is followed down from a
    temperature at which the map contracts, in steps of `ratio`, and the crossing bisected to rounding.

    Raises
    ------
    OutOfDomain
        If there is none down to 1e-3 of the largest difference of rewards.

    Notes
    -----
    6.2025 in the default game of `routing_game`.
    """
    spread = float(np.ptp(t.reward))
    high = 4 * t.players * spread / (1 - t.discount) ** 2
    x = symmetric_equilibrium(t, high)

    def top(temperature: float) -> float:
        nonlocal x
        x = symmetric_equilibrium(t, temperature, x)
        return float(np.linalg.eigvals(breaking_matrix(t, x, temperature)).real.max())

    low = high
    while top(low) < 1:
        low, high = low / ratio, low
        if low < 1e-3 * spread:
            raise OutOfDomain(f"no critical temperature above {low:g}: this game has no symmetry to break")
    while high - low > 4 * np.finfo(float).eps * high:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (low, middle) if top(middle) < 1 else (middle, high)
    return (low + high) / 2
