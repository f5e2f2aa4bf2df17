r"""Two routes, exchangeable players: everything a player sees is the number of others on route 0.

Closed tables of `lab.data.markov_games.routing_game`, written from the rules of the game and not from its joint table.
"""

from __future__ import annotations

from itertools import product
from math import comb
from typing import NamedTuple

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = ["LoadTables", "load_tables"]


class LoadTables(NamedTuple):
    """A symmetric game with two actions in terms of loads.

    ``reward[s, a, k]`` and ``kernel[a, k, t]``: own reward and law of the next state when the player chooses route a
    and k of the N - 1 others choose route 0.
    """

    players: int
    reward: np.ndarray  # (S, 2, N)
    kernel: np.ndarray  # (2, N, S)
    discount: float


def load_tables(
    players, capacity, slopes, offsets, recovery, discount, *, common=True, averaged=False, convention="published"
) -> LoadTables:
    r"""Tables of the routing game with two routes.

    With n users of route 0 and N - n of route 1, a user of route r gets :math:`b_r-w(s_r)m_rn_r`; `common` adds up all
    users; `averaged` averages the kernel over :math:`n\sim\mathrm{Binomial}(N,1/2)`. Other parameters as in
    `routing_game`.
    """
    N = checks.integer("players", players, 1)
    if convention not in ("published", "natural"):
        raise OutOfDomain(f'convention={convention!r}: must be "published" or "natural"')
    weight = (2.0, 1.0) if convention == "published" else (1.0, 2.0)
    m, b = (checks.checked(name, v, np.isfinite, "must be finite") for name, v in (("slopes", slopes),
                                                                                  ("offsets", offsets)))  # fmt: skip
    fresh, worn = checks.fraction("recovery", recovery, open=False)
    states = list(product((0, 1), repeat=2))
    by_load = np.empty((N + 1, len(states)))
    for n in range(N + 1):
        for t, digits in enumerate(states):
            safe = [fresh if load < capacity else worn for load in (n, N - n)]
            by_load[n, t] = np.prod([q if digit == 0 else 1 - q for q, digit in zip(safe, digits, strict=True)])
    if averaged:
        by_load[:] = np.array([comb(N, n) for n in range(N + 1)]) @ by_load / 2**N
    reward, kernel = np.empty((len(states), 2, N)), np.empty((2, N, len(states)))
    for a, k in product((0, 1), range(N)):
        n = k + (a == 0)
        kernel[a, k] = by_load[n]
        for s, digits in enumerate(states):
            each = [b[r] - weight[digits[r]] * m[r] * load for r, load in enumerate((n, N - n))]
            reward[s, a, k] = n * each[0] + (N - n) * each[1] if common else each[a]
    return LoadTables(N, reward, kernel, float(checks.fraction("discount", discount, open=False)))
