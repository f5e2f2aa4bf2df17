"""The laws of the system potential_games, one file per subject, as in `lab.systems.potential_games.theory`."""

from lab.systems.potential_games.laws.bifurcation import LOGIT_BIFURCATION, LOGIT_BRANCHES
from lab.systems.potential_games.laws.census import PURE_NASH_CENSUS, PURE_NASH_WELFARE, ROUTING_NAMES_PRINTED
from lab.systems.potential_games.laws.entropy import ENTROPY_GAP, SOFTMAX_REGRETS
from lab.systems.potential_games.laws.evaluation import NASH_GAP, NASH_PLOT_PRINTED
from lab.systems.potential_games.laws.exploration import EXPLORATION_GAP, LEARNED_GAP, LEARNED_LOADS
from lab.systems.potential_games.laws.performance import PERFORMANCE_DIFFERENCE, POTENTIAL_ASCENT
from lab.systems.potential_games.laws.potential import CYCLE_RESIDUAL, POTENTIAL_IDENTITY, ROSENTHAL
from lab.systems.potential_games.laws.starvation import STARVATION
from lab.systems.potential_games.laws.timescale import EXCHANGED_POWERS, LOCK_IN_RATE, POWERS_PRINTED, TWO_TIMESCALE

__all__ = [
    "CYCLE_RESIDUAL",
    "ENTROPY_GAP",
    "EXCHANGED_POWERS",
    "EXPLORATION_GAP",
    "LEARNED_GAP",
    "LEARNED_LOADS",
    "LOCK_IN_RATE",
    "LOGIT_BIFURCATION",
    "LOGIT_BRANCHES",
    "NASH_GAP",
    "NASH_PLOT_PRINTED",
    "PERFORMANCE_DIFFERENCE",
    "POTENTIAL_ASCENT",
    "POTENTIAL_IDENTITY",
    "POWERS_PRINTED",
    "PURE_NASH_CENSUS",
    "PURE_NASH_WELFARE",
    "ROSENTHAL",
    "ROUTING_NAMES_PRINTED",
    "SOFTMAX_REGRETS",
    "STARVATION",
    "TWO_TIMESCALE",
]
