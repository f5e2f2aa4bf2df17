r"""All pure stationary equilibria of the routing game, from its loads alone."""

from __future__ import annotations

from itertools import product
from math import comb, prod
from typing import NamedTuple

import numpy as np

from lab.systems.potential_games.theory.routing import LoadTables

__all__ = ["Census", "pure_equilibria"]


class Census(NamedTuple):
    """Pure stationary equilibria, grouped by loads.

    Attributes
    ----------
    loads : array of int, shape (E, S)
        Users of route 0 in every state, one row for each kind of equilibrium.
    counts : array of int, shape (E,)
        Profiles of each kind: :math:`\\prod_s\\binom N{n(s)}`.
    values : array, shape (E, S)
        Sum of the players' values.
    """

    loads: np.ndarray
    counts: np.ndarray
    values: np.ndarray

    @property
    def total(self) -> int:
        """Number of equilibria."""
        return int(self.counts.sum())

    def histogram(self, players: int) -> np.ndarray:
        """Number of equilibria with n users of route 0 in state s, shape (S, N + 1)."""
        table = np.zeros((self.loads.shape[1], players + 1))
        for loads, count in zip(self.loads, self.counts, strict=True):
            table[np.arange(loads.size), loads] += count
        return table


def pure_equilibria(t: LoadTables, *, own_values: bool, tolerance: float = 1e-9) -> Census:
    r"""Loads :math:`n(s)` from which no single player gains by changing its route in one state.

    A profile is an equilibrium if each player's policy is optimal in the decision problem that the others leave, hence,
    by Bellman's equation, if no change in a single state pays. Players on one route are alike, so the :math:`(N+1)^S`
    load profiles decide, each standing for :math:`\prod_s\binom N{n(s)}` profiles.

    Parameters
    ----------
    t : LoadTables
    own_values : bool
        False: all players have the same reward. True: own rewards; then the kernel must ignore the actions, and the
        continuation drops out of every comparison.
    tolerance : float
        A gain below this is none: ties are equilibria.

    Notes
    -----
    The default game of `routing_game`: 864 equilibria, all with loads (2, 2, 3, 2); with individual rewards and an
    averaged kernel 576, loads (2, 1, 3, 2).
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    N, S = t.players, t.reward.shape[0]
    loads = np.array(list(product(range(N + 1), repeat=S)))  # (E, S)
    states = np.arange(S)
    # a user of route 0 sees n - 1 others there, a user of route 1 sees n
    on0, on1 = np.maximum(loads - 1, 0), np.minimum(loads, N - 1)
    reward = [t.reward[states, 0, on0], t.reward[states, 1, on1]]
    chain = np.where((loads > 0)[..., None], t.kernel[0, on0], t.kernel[1, on1])
    if own_values:
        stage = np.where(loads > 0, loads * reward[0], 0) + np.where(loads < N, (N - loads) * reward[1], 0)
    else:
        stage = N * np.where(loads > 0, reward[0], reward[1])
    total = np.linalg.solve(np.eye(S) - t.discount * chain, stage[..., None])[..., 0]
    ahead = 0.0 if own_values else t.discount / N
    leave0 = t.reward[states, 1, on0] + ahead * np.einsum("est,et->es", t.kernel[1, on0], total)
    leave1 = t.reward[states, 0, on1] + ahead * np.einsum("est,et->es", t.kernel[0, on1], total)
    stay0 = reward[0] + ahead * np.einsum("est,et->es", t.kernel[0, on0], total)
    stay1 = reward[1] + ahead * np.einsum("est,et->es", t.kernel[1, on1], total)
    stable = ((loads == 0) | (leave0 <= stay0 + tolerance)) & ((loads == N) | (leave1 <= stay1 + tolerance))
    kept = stable.all(axis=1)
    counts = np.array([prod(comb(N, n) for n in row) for row in loads[kept]], dtype=int)
    return Census(loads[kept], counts, total[kept])
