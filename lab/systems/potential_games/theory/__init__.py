"""Closed forms of Markov potential games and of learning in them: numpy only, no randomness.

================  ==================================================================================
`evaluation`      values, action values, visits, best responses and Nash gap, by linear solves
`potential`       the potential, and sums around 4-cycles
`performance`     performance difference, ascent of the potential along better replies
`routing`         the routing game with two routes in terms of loads
`census`          all pure stationary equilibria of the routing game
`entropy`         Nash gap of softmax equilibria: bound and exact value
`bifurcation`     the symmetric softmax equilibrium and the temperature where it loses stability
`exploration`     Nash gap of learners that explore: bound and finite set
`timescale`       which powers of the steps settle, and how fast
`starvation`      probability that an action is never tried
================  ==================================================================================

Notation and traps: see `lab.systems.potential_games`.
"""

from lab.systems.potential_games.theory.bifurcation import (
    breaking_matrix,
    critical_temperature,
    symmetric_equilibrium,
)
from lab.systems.potential_games.theory.census import Census, pure_equilibria
from lab.systems.potential_games.theory.entropy import entropy_gap_bound, softmax_regrets
from lab.systems.potential_games.theory.evaluation import (
    action_values,
    as_policy,
    best_responses,
    explored,
    joint_law,
    nash_gap,
    occupancy,
    pure,
    rounded,
    values,
)
from lab.systems.potential_games.theory.exploration import (
    exploration_gap_bound,
    explored_gap,
    explored_response_gain,
)
from lab.systems.potential_games.theory.performance import ascent_rate, performance_difference
from lab.systems.potential_games.theory.potential import cycle_sum, potential
from lab.systems.potential_games.theory.routing import LoadTables, load_tables
from lab.systems.potential_games.theory.starvation import starvation_probability
from lab.systems.potential_games.theory.timescale import remaining, settles, settles_by_powers

__all__ = [
    "Census",
    "LoadTables",
    "action_values",
    "as_policy",
    "ascent_rate",
    "best_responses",
    "breaking_matrix",
    "critical_temperature",
    "cycle_sum",
    "entropy_gap_bound",
    "exploration_gap_bound",
    "explored",
    "explored_gap",
    "explored_response_gain",
    "joint_law",
    "load_tables",
    "nash_gap",
    "occupancy",
    "performance_difference",
    "potential",
    "pure",
    "pure_equilibria",
    "remaining",
    "rounded",
    "settles",
    "settles_by_powers",
    "softmax_regrets",
    "starvation_probability",
    "symmetric_equilibrium",
    "values",
]
