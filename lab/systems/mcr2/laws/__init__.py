"""The laws of the system mcr2, one file per subject, as in `lab.systems.mcr2.theory`."""

from lab.systems.mcr2.laws.critical_points import HESSIAN_SPECTRUM, SADDLE_INDEX
from lab.systems.mcr2.laws.derivatives import GRADIENTS, MONOTONE_ASCENT, RATE_CURVATURE, SMOOTHNESS
from lab.systems.mcr2.laws.escape import ESCAPE_CURVATURE, INTERVAL_PRINTED, RANK_RANGE_PRINTED, STRICT_SADDLE
from lab.systems.mcr2.laws.fusion_frames import (
    CRITICAL_POINT_INDEX,
    CRITICAL_POINTS,
    FRAMES_ARE_CRITICAL,
    LOCAL_MAXIMA,
)
from lab.systems.mcr2.laws.maxima import (
    BENIGN_IS_GLOBAL_PRINTED,
    ENVELOPE,
    GLOBAL_MAXIMUM,
    GLOBAL_MAXIMUM_PRINTED,
    VALUE_LADDER,
)
from lab.systems.mcr2.laws.rates import (
    NONNEGATIVITY,
    ORTHOGONAL_UPPER_BOUND,
    RATE_IDENTITIES,
    TWO_LINES_GAP,
    ZERO_RATE_REDUCTION,
)
from lab.systems.mcr2.laws.scales import RANK_SLOPE, SCALE_ASYMPTOTICS
from lab.systems.mcr2.laws.thresholds import (
    BASIN_SEPARATRIX,
    CRITICAL_SINGULAR_VALUES,
    MAXWELL,
    SPINODAL,
    SPINODAL_PRINTED,
)

__all__ = [
    "BASIN_SEPARATRIX",
    "BENIGN_IS_GLOBAL_PRINTED",
    "CRITICAL_POINTS",
    "CRITICAL_POINT_INDEX",
    "CRITICAL_SINGULAR_VALUES",
    "ENVELOPE",
    "ESCAPE_CURVATURE",
    "FRAMES_ARE_CRITICAL",
    "GLOBAL_MAXIMUM",
    "GLOBAL_MAXIMUM_PRINTED",
    "GRADIENTS",
    "HESSIAN_SPECTRUM",
    "INTERVAL_PRINTED",
    "LOCAL_MAXIMA",
    "MAXWELL",
    "MONOTONE_ASCENT",
    "NONNEGATIVITY",
    "ORTHOGONAL_UPPER_BOUND",
    "RANK_RANGE_PRINTED",
    "RANK_SLOPE",
    "RATE_CURVATURE",
    "RATE_IDENTITIES",
    "SADDLE_INDEX",
    "SCALE_ASYMPTOTICS",
    "SMOOTHNESS",
    "SPINODAL",
    "SPINODAL_PRINTED",
    "STRICT_SADDLE",
    "TWO_LINES_GAP",
    "VALUE_LADDER",
    "ZERO_RATE_REDUCTION",
]
