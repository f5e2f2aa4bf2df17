r"""Markov games with finitely many players, states and actions: congestion on routes, and random games of every kind.

=====================================  ======================================================================
`routing_game`                         players share routes whose delay depends on a random state
`random_identical_interest_game`       all players get one random reward; any random kernel
`random_action_independent_game`       random stage potential and dummy terms; a kernel that ignores the actions
`random_general_game`                  independent rewards, a kernel that depends on the actions: no potential
=====================================  ======================================================================

All are potential games but the last: changing one player's policy changes that player's value by as much as it changes
one common function, the potential.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from lab.errors import InputError

__all__ = [
    "MarkovGame",
    "random_action_independent_game",
    "random_general_game",
    "random_identical_interest_game",
    "random_policy",
    "routing_game",
]

_SUM = 1e-9  # how far rows of probabilities may be from 1: files hold rounded numbers


@dataclass(frozen=True, eq=False)
class MarkovGame:
    r"""A discounted game: rewards, kernel, discount.

    Attributes
    ----------
    rewards : array, shape (I, S, A_1, ..., A_I)
        Reward of every player in every state for every joint action.
    transitions : array, shape (S, A_1, ..., A_I, S)
        Law of the next state.
    discount : float, in [0, 1)
        :math:`\delta`; values are :math:`V_i = E\sum_t \delta^t r_i`, not normalised by :math:`1-\delta`.
    stage_potential : array, shape (S, A_1, ..., A_I), optional
        A function whose change under every unilateral change of an action is that of the player's reward. It is the
        potential of the whole game, once discounted, if the kernel ignores the actions, or if every reward equals it.

    Raises
    ------
    InputError
        For shapes that do not fit, entries that are not finite, rows of `transitions` that are no probabilities, or a
        discount outside [0, 1).
    """

    rewards: np.ndarray
    transitions: np.ndarray
    discount: float
    stage_potential: np.ndarray | None = None

    def __post_init__(self) -> None:
        rewards, kernel = np.asarray(self.rewards, dtype=float), np.asarray(self.transitions, dtype=float)
        if rewards.ndim < 3 or rewards.shape[0] != rewards.ndim - 2 or 0 in rewards.shape:
            raise InputError(
                f"rewards has shape {rewards.shape}; it must be (I, S, A_1, ..., A_I): I players, one axis of actions "
                "for each"
            )
        if kernel.shape != (*rewards.shape[1:], rewards.shape[1]):
            raise InputError(
                f"transitions has shape {kernel.shape}; with these rewards it must be "
                f"{(*rewards.shape[1:], rewards.shape[1])}: state, joint action, next state"
            )
        for name, array in (("rewards", rewards), ("transitions", kernel)):
            if not np.isfinite(array).all():
                raise InputError(f"{name} has an entry that is not finite; replace it")
        off = float(np.abs(kernel.sum(axis=-1) - 1).max())
        if kernel.min() < 0 or off > _SUM:
            raise InputError(
                f"transitions: least entry {kernel.min():g}, rows sum to one within {off:.2g}; they must be "
                f"probabilities (sums within {_SUM:g}): divide by the sums over the last axis"
            )
        if not 0 <= self.discount < 1:
            raise InputError(f"discount={self.discount!r} must lie in [0, 1)")
        potential = self.stage_potential
        if potential is not None and np.shape(potential) != rewards.shape[1:]:
            raise InputError(f"stage_potential has shape {np.shape(potential)}; it must be {rewards.shape[1:]}")
        object.__setattr__(self, "rewards", rewards)
        object.__setattr__(self, "transitions", kernel)
        object.__setattr__(self, "discount", float(self.discount))

    @property
    def players(self) -> int:
        """I."""
        return self.rewards.shape[0]

    @property
    def states(self) -> int:
        """S."""
        return self.rewards.shape[1]

    @property
    def actions(self) -> tuple[int, ...]:
        """(A_1, ..., A_I)."""
        return self.rewards.shape[2:]

    @classmethod
    def from_data(cls, data: Any) -> MarkovGame:
        """The game of a mapping with keys rewards, transitions, discount and perhaps stage_potential."""
        return cls(data["rewards"], data["transitions"], float(data["discount"]), data.get("stage_potential"))

    def to_data(self) -> dict[str, Any]:
        """The arrays as a mapping: `from_data` makes the game again."""
        found = {"rewards": self.rewards, "transitions": self.transitions, "discount": self.discount}
        return found if self.stage_potential is None else found | {"stage_potential": self.stage_potential}


def routing_game(
    players: int = 4, routes: int = 2, capacity: int = 2, slopes: Any = (2.0, 4.0), offsets: Any = (9.0, 16.0),
    recovery: tuple[float, float] = (0.8, 0.2), discount: float = 0.5, *,
    rewards: Literal["common", "individual"] = "common", kernel: Literal["actions", "averaged"] = "actions",
    convention: Literal["published", "natural"] = "published",
) -> MarkovGame:  # fmt: skip
    r"""Players choose routes; a route that more than a few used is likely to be unsafe next time.

    State s is one of 2^M, route 0 the leading digit, digit 0 *safe* and 1 *unsafe*. A user of route r gets
    :math:`b_r-w(s_r)m_rn_r`, :math:`n_r` the number of its users. Whatever the state, route r is safe next time with
    probability `recovery[0]` if :math:`n_r<` `capacity`, else `recovery[1]`, independently of the other routes.

    Parameters
    ----------
    players, routes : int, >= 1
        N, M; the joint table has M^N columns.
    capacity : int
        Number of users from which on a route wears out.
    slopes, offsets : sequence of M floats
        m, b.
    recovery : (float, float)
        Probability to be safe next time: with fewer users, with more.
    rewards : "common" or "individual"
        All players get the sum of the players' rewards, or each its own.
    kernel : "actions" or "averaged"
        As above, or averaged over all joint actions with equal weights: then it ignores the actions.
    convention : "published" or "natural"
        Weights w. The published code gives the *safe* state the weight 2 and the unsafe one 1, the opposite of what
        the names say; "natural" gives 1 and 2.

    Returns
    -------
    MarkovGame
        Its `stage_potential` is the common reward, or Rosenthal's function
        :math:`\sum_r\sum_{k\le n_r}(b_r-w(s_r)m_rk)` where rewards are individual. With individual rewards and a kernel
        of the actions the discounted stage potential is *not* a potential of the game.

    References
    ----------
    .. [1] arXiv:2205.14590 (Markov potential games; the example) and its public code.
    .. [2] Rosenthal 1973 (congestion games).

    Examples
    --------
    >>> game = routing_game()
    >>> game.rewards.shape, float(game.rewards[0, 0, 0, 0, 0, 0])  # all four on route 0: 4 (9 - 2 x 2 x 4)
    ((4, 4, 2, 2, 2, 2), -28.0)
    """
    if min(players, routes) < 1 or int(players) != players or int(routes) != routes:
        raise InputError(f"players={players!r}, routes={routes!r} must be whole numbers >= 1")
    slopes, offsets = np.asarray(slopes, dtype=float), np.asarray(offsets, dtype=float)
    if slopes.shape != (routes,) or offsets.shape != (routes,):
        raise InputError(f"slopes and offsets have shapes {slopes.shape} and {offsets.shape}; both must be ({routes},)")
    if not (min(recovery) >= 0 and max(recovery) <= 1):
        raise InputError(f"recovery={recovery!r} must be two probabilities")
    if convention not in ("published", "natural"):
        raise InputError(f'convention={convention!r} must be "published" or "natural"')
    weight = np.array([2.0, 1.0] if convention == "published" else [1.0, 2.0])
    choice = np.array(list(product(range(routes), repeat=players)))  # (J, N)
    counts = np.stack([(choice == r).sum(axis=1) for r in range(routes)], axis=1)  # (J, M)
    digits = np.array(list(product((0, 1), repeat=routes)))  # (S, M)
    delay = weight[digits] * slopes  # (S, M): cost of one more user
    each = offsets - delay[:, None, :] * counts  # (S, J, M): reward of a user
    own = np.stack([np.take_along_axis(each, choice[None, :, i, None], axis=2)[..., 0] for i in range(players)])
    rosenthal = (offsets * counts - delay[:, None, :] * counts * (counts + 1) / 2).sum(axis=2)
    safe = np.where(counts < capacity, recovery[0], recovery[1])  # (J, M)
    law = np.where(digits[None] == 0, safe[:, None, :], 1 - safe[:, None, :]).prod(axis=2)  # (J, S)
    law = np.broadcast_to(law.mean(axis=0) if kernel == "averaged" else law, law.shape)
    if rewards not in ("common", "individual") or kernel not in ("actions", "averaged"):
        raise InputError(f'rewards={rewards!r} must be "common" or "individual", kernel={kernel!r} "actions" or '
                         '"averaged"')  # fmt: skip
    total = own.sum(axis=0)
    own, potential = (np.broadcast_to(total, own.shape), total) if rewards == "common" else (own, rosenthal)
    shape = (len(digits), *[routes] * players)
    return MarkovGame(
        own.reshape(players, *shape), np.broadcast_to(law, (len(digits), *law.shape)).reshape(*shape, len(digits)),
        discount, potential.reshape(shape),
    )  # fmt: skip


def random_identical_interest_game(
    rng: np.random.Generator, actions: tuple[int, ...] = (2, 3), states: int = 3, discount: float = 0.7
) -> MarkovGame:
    """Standard normal rewards, the same for all players; a kernel with uniform (Dirichlet) rows.

    Every common reward is its own stage potential, and the common value is the potential of the game, for any kernel.
    """
    common = rng.standard_normal((states, *actions))
    return MarkovGame(np.broadcast_to(common, (len(actions), *common.shape)), _kernel(rng, (states, *actions), states),
                      discount, common)  # fmt: skip


def random_action_independent_game(
    rng: np.random.Generator, actions: tuple[int, ...] = (2, 3), states: int = 3, discount: float = 0.7
) -> MarkovGame:
    r"""A normal stage potential, plus for each player a normal term that does not depend on its own action.

    The kernel has uniform (Dirichlet) rows and ignores the actions: the discounted stage potential is the potential.
    """
    potential = rng.standard_normal((states, *actions))
    terms = [rng.standard_normal((states, *(1 if j == i else a for j, a in enumerate(actions))))
             for i in range(len(actions))]  # fmt: skip
    rows = _kernel(rng, (states,), states).reshape(states, *[1] * len(actions), states)
    return MarkovGame(np.stack([potential + term for term in terms]),
                      np.broadcast_to(rows, (states, *actions, states)), discount, potential)  # fmt: skip


def random_general_game(
    rng: np.random.Generator, actions: tuple[int, ...] = (2, 3), states: int = 3, discount: float = 0.7
) -> MarkovGame:
    """Independent standard normal rewards and a kernel with uniform rows: with probability one, no potential exists."""
    rewards = rng.standard_normal((len(actions), states, *actions))
    return MarkovGame(rewards, _kernel(rng, (states, *actions), states), discount)


def random_policy(rng: np.random.Generator, game: MarkovGame, concentration: float = 1.0) -> list[np.ndarray]:
    """A policy with Dirichlet rows for each player: a list of I arrays (S, A_i)."""
    return [rng.dirichlet(np.full(a, concentration), size=game.states) for a in game.actions]


def _kernel(rng: np.random.Generator, shape: tuple[int, ...], states: int) -> np.ndarray:
    return rng.dirichlet(np.ones(states), size=shape)
