"""The laws of the system simdino, one file per subject, as in `lab.systems.simdino.theory`."""

from lab.systems.simdino.laws.alignment import ALIGNMENT_PAIRS, ALIGNMENT_PAIRS_PRINTED
from lab.systems.simdino.laws.collapse import COLLAPSE_INSTABILITY, COLLAPSE_ONSET, COLLAPSE_SELECTS
from lab.systems.simdino.laws.gradient_norm import GRADIENT_NORM, LARGEST_GRADIENT_NORM, UNIT_GRADIENT_NORM
from lab.systems.simdino.laws.optimum import COLLAPSED_STATE, UNIT_NORM_OPTIMUM
from lab.systems.simdino.laws.relaxation import LINEAR_GROWTH, NOISELESS_DIVERGENCE
from lab.systems.simdino.laws.waterfilling import (
    COLLAPSE_AMPLITUDE,
    LINEAR_WATERFILLING,
    TOTAL_COLLAPSE,
    WATERFILLING_RANK,
)

__all__ = [
    "ALIGNMENT_PAIRS",
    "ALIGNMENT_PAIRS_PRINTED",
    "COLLAPSED_STATE",
    "COLLAPSE_AMPLITUDE",
    "COLLAPSE_INSTABILITY",
    "COLLAPSE_ONSET",
    "COLLAPSE_SELECTS",
    "GRADIENT_NORM",
    "LARGEST_GRADIENT_NORM",
    "LINEAR_GROWTH",
    "LINEAR_WATERFILLING",
    "NOISELESS_DIVERGENCE",
    "TOTAL_COLLAPSE",
    "UNIT_GRADIENT_NORM",
    "UNIT_NORM_OPTIMUM",
    "WATERFILLING_RANK",
]
