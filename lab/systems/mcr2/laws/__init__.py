"""The laws of the system mcr2, one file per subject, as in `lab.systems.mcr2.theory`."""

from lab.systems.mcr2.laws.critical_points import HESSIAN_SPECTRUM, SADDLE_INDEX
from lab.systems.mcr2.laws.derivatives import GRADIENTS, MONOTONE_ASCENT, RATE_CURVATURE, SMOOTHNESS
from lab.systems.mcr2.laws.escape import ESCAPE_CURVATURE, INTERVAL_PRINTED, RANK_RANGE_PRINTED, STRICT_SADDLE
from lab.systems.mcr2.laws.rates import (
    NONNEGATIVITY,
    ORTHOGONAL_UPPER_BOUND,
    RATE_IDENTITIES,
    TWO_LINES_GAP,
    ZERO_RATE_REDUCTION,
)
from lab.systems.mcr2.laws.thresholds import (
    BASIN_SEPARATRIX,
    CRITICAL_SINGULAR_VALUES,
    MAXWELL,
    SPINODAL,
    SPINODAL_PRINTED,
)

__all__ = [
    "BASIN_SEPARATRIX",
    "CRITICAL_SINGULAR_VALUES",
    "ESCAPE_CURVATURE",
    "GRADIENTS",
    "HESSIAN_SPECTRUM",
    "INTERVAL_PRINTED",
    "MAXWELL",
    "MONOTONE_ASCENT",
    "NONNEGATIVITY",
    "ORTHOGONAL_UPPER_BOUND",
    "RANK_RANGE_PRINTED",
    "RATE_CURVATURE",
    "RATE_IDENTITIES",
    "SADDLE_INDEX",
    "SMOOTHNESS",
    "SPINODAL",
    "SPINODAL_PRINTED",
    "STRICT_SADDLE",
    "TWO_LINES_GAP",
    "ZERO_RATE_REDUCTION",
]
