"""An equilibrium certificate: how far a policy is from Nash in a Markov game, and who would change what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.arrays import to_numpy
from lab.data.markov_games import MarkovGame, random_policy
from lab.errors import InputError
from lab.systems.potential_games import theory

__all__ = ["Certificate", "certify", "game_from_arrays", "nash_gap"]

CYCLES = 8  # random policies for the test of a potential


@dataclass(frozen=True)
class Certificate:
    """What holds of a policy.

    Attributes
    ----------
    gap : float
        Nash gap: the largest of `regrets`.
    regrets : array, shape (I, S)
        What each player could gain by its best policy, the others staying, from each state on.
    values, best_values : arrays, shape (I, S)
        Values of the policy, and of the best responses.
    responses : list of int arrays (S,)
        A pure best response of every player.
    rounded_gap : float
        Nash gap of the pure profile of likeliest actions: 0 up to rounding if that is an equilibrium.
    impurity : float
        Largest probability of not playing the likeliest action.
    cycle_residual : float
        Largest sum around 4-cycles of random policies, over the largest value possible: 0 up to rounding in games with
        a potential. NaN for one player.
    has_potential : bool or None
        False if that sum is more than rounding: no potential exists. None for one player.
    rounding : float
        Rounding error of a gap; smaller gaps are none.
    """

    gap: float
    regrets: np.ndarray
    values: np.ndarray
    best_values: np.ndarray
    responses: list[np.ndarray]
    rounded_gap: float
    impurity: float
    cycle_residual: float
    has_potential: bool | None
    rounding: float

    @property
    def is_nash(self) -> bool:
        """Whether nobody gains more than rounding."""
        return self.gap <= self.rounding

    @property
    def sentences(self) -> list[str]:
        """What to make of it, one fact a sentence."""
        i, s = np.unravel_index(self.regrets.argmax(), self.regrets.shape)
        found = []
        if self.is_nash:
            found.append("The policy is a Nash equilibrium: nobody gains by changing its own part.")
        else:
            found.append(f"Not a Nash equilibrium: from state {s} on player {i} gains {self.gap:.6g} by its best "
                         f"response, to {self.best_values[i, s]:.6g}.")  # fmt: skip
            if self.rounded_gap <= self.rounding:
                found.append("The likeliest actions are a pure Nash equilibrium; what is missing is to play them "
                             f"always (least likely of them: {1 - self.impurity:.4g}).")  # fmt: skip
            else:
                found.append(f"Playing the likeliest actions always would leave a gap of {self.rounded_gap:.6g}.")
        if self.has_potential is not None:
            found.append("No sum around random 4-cycles contradicts a potential." if self.has_potential else
                         f"The game has no potential: a 4-cycle sums to {self.cycle_residual:.3g} of the largest "
                         "value, and learning need not settle.")  # fmt: skip
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain Python values."""
        residual = None if self.has_potential is None else self.cycle_residual
        return {
            "gap": self.gap, "is_nash": self.is_nash, "rounding": self.rounding, "regrets": self.regrets.tolist(),
            "values": self.values.tolist(), "best_values": self.best_values.tolist(),
            "responses": [part.tolist() for part in self.responses], "rounded_gap": self.rounded_gap,
            "impurity": self.impurity, "cycle_residual": residual, "has_potential": self.has_potential,
            "sentences": self.sentences,
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [f"Nash gap {self.gap:.6g}", "player  state      value       best       gain  best response"]
        for i, s in np.ndindex(*self.regrets.shape):
            numbers = (self.values[i, s], self.best_values[i, s], self.regrets[i, s])
            lines.append(f"{i:6d} {s:6d} " + " ".join(f"{v:10.5g}" for v in numbers)
                         + f"  action {self.responses[i][s]}")  # fmt: skip
        return "\n".join([*lines, *self.sentences])


def certify(game: MarkovGame, policy: Any) -> Certificate:
    r"""Certify a stationary policy of a Markov game.

    Parameters
    ----------
    game : MarkovGame
    policy : array, shape (I, S, A), or list of I arrays (S, A_i)
        Numpy, torch or jax; rows sum to one.

    Returns
    -------
    Certificate

    Raises
    ------
    InputError
        If the policy does not fit the game, or rows are no probabilities.

    Examples
    --------
    >>> from lab.data.markov_games import routing_game
    >>> found = certify(routing_game(), np.full((4, 4, 2), 0.5))
    >>> found.is_nash, found.has_potential, round(found.gap, 4)
    (False, True, 11.9964)
    """
    parts = _single(game, policy)
    best, actions = theory.best_responses(game, parts)
    own = theory.values(game, parts)
    rounded = float(theory.nash_gap(game, theory.pure(game, theory.rounded(parts))))
    scale = float(np.abs(game.rewards).max()) / (1 - game.discount)
    joint = game.rewards[0, 0].size
    # as the laws' value_units: averages over joint actions and a solve, added up 1/(1 - delta) times
    rounding = 8 * float(np.finfo(float).eps) * (joint + game.players + 4 * game.states) * scale / (1 - game.discount)
    residual = _cycle_residual(game, scale)
    has_potential = None if residual is None else residual * scale <= rounding
    impurity = max(float((1 - part.max(axis=-1)).max()) for part in parts)
    return Certificate(
        max(0.0, float((best - own).max())), best - own, own, best, list(actions), max(0.0, rounded), impurity,
        float("nan") if residual is None else residual, has_potential, rounding,
    )  # fmt: skip


def nash_gap(game: MarkovGame, policy: Any) -> float:
    """Largest gain of any player in any state by a policy of its own, the others staying; arguments of `certify`."""
    return max(0.0, float(theory.nash_gap(game, _single(game, policy))))


def game_from_arrays(arrays: Mapping[str, Any]) -> tuple[MarkovGame, list[np.ndarray]]:
    """Game and policy of named arrays, as in an npz file.

    Parameters
    ----------
    arrays : mapping
        "rewards" (I, S, A_1, ..., A_I), "transitions" (S, A_1, ..., A_I, S), "discount"; and "policy" (I, S, A), or
        "policy_0" to "policy_{I-1}", each (S, A_i).

    Raises
    ------
    InputError
        Naming what is missing, or does not fit.
    """
    missing = [name for name in ("rewards", "transitions", "discount") if name not in arrays]
    if missing:
        raise InputError(f"there is no array {missing[0]!r} (there are: {', '.join(arrays) or 'none'}); a Markov game "
                         "needs rewards, transitions and discount")  # fmt: skip
    discount = np.asarray(arrays["discount"], dtype=float)
    if discount.size != 1:
        raise InputError(f"discount has shape {discount.shape}; it must be one number")
    game = MarkovGame(np.asarray(arrays["rewards"]), np.asarray(arrays["transitions"]), float(discount.reshape(())))
    if "policy" in arrays:
        return game, _single(game, arrays["policy"])
    names = [f"policy_{i}" for i in range(game.players)]
    absent = [name for name in names if name not in arrays]
    if absent:
        raise InputError(f"there is neither an array 'policy' nor {absent[0]!r}; give policy (I, S, A), or one array "
                         f"for each of the {game.players} players")  # fmt: skip
    return game, _single(game, [arrays[name] for name in names])


def _single(game: MarkovGame, policy: Any) -> list[np.ndarray]:
    parts = theory.as_policy(game, [to_numpy(part) for part in policy])
    if any(part.ndim != 2 for part in parts):
        raise InputError(f"policy has shapes {[part.shape for part in parts]}; each must be (S, A_i): certify one "
                         "policy at a time")  # fmt: skip
    return parts


def _cycle_residual(game: MarkovGame, scale: float) -> float | None:
    """Over all pairs of players, for a few random policies; the same for everyone."""
    if game.players < 2:
        return None
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(CYCLES):
        one, other = random_policy(rng, game), random_policy(rng, game)
        for i in range(game.players):
            for j in range(i):
                worst = max(worst, float(np.abs(theory.cycle_sum(game, one, other, i, j)).max()))
    return worst / scale if scale > 0 else 0.0
