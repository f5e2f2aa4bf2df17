"""The laws of the system attention_only, one file per subject, as in `lab.systems.attention_only.theory`."""

from lab.systems.attention_only.laws.boundaries import (
    CONDENSED_FRACTION,
    EXACT_BOUNDARY,
    EXACT_RANK_LIMIT,
    FOREIGN_THRESHOLD_LIMIT,
    PAIRS,
    PASSING_FRACTION,
    SCALED_SCORES,
    TYPICAL_BOUNDARY,
)
from lab.systems.attention_only.laws.depth import (
    DEPTH_LIMIT,
    DEPTH_PEAK,
    EVENTS_PERSIST,
    NORM_RESCUE,
    TOKEN_NORMALISATION,
)
from lab.systems.attention_only.laws.energies import (
    LINEAR_DEPTH,
    LINEAR_ENERGIES,
    RELU_ENERGIES,
    ROW_GAIN,
    ROW_REDUCTION,
)
from lab.systems.attention_only.laws.failures import (
    EXACT_PHASE,
    EXACT_PROBABILITY,
    FOREIGN_FAILURES,
    FOREIGN_QUADRATURE,
    INTERVAL_PRINTED,
    LAYERS_PRINTED,
    SIGNAL_FAILURES,
    SIGNAL_QUADRATURE,
)
from lab.systems.attention_only.laws.segmentation import (
    ENERGY_LABELS,
    SEGMENTATION_BOUNDARY,
    SEGMENTATION_EXACT,
    SEGMENTATION_GRAPH,
    SEGMENTATION_TYPICAL,
)
from lab.systems.attention_only.laws.snr import INITIAL_SNR
from lab.systems.attention_only.laws.softmax import (
    SOFTMAX_PEAK,
    SOFTMAX_PROFILE,
    SOFTMAX_RATE_PRINTED,
    SOFTMAX_SLOWS,
)
from lab.systems.attention_only.laws.thresholded import (
    LINEAR_RATE_PRINTED,
    THRESHOLDED_RATE,
    WEIGHTED_CEILING,
    WEIGHTED_FLOOR,
)
from lab.systems.attention_only.laws.validity import INCOHERENT_EXACT, INCOHERENT_GAIN, INCOHERENT_RATE

__all__ = [
    "CONDENSED_FRACTION",
    "DEPTH_LIMIT",
    "DEPTH_PEAK",
    "ENERGY_LABELS",
    "EVENTS_PERSIST",
    "EXACT_BOUNDARY",
    "EXACT_PHASE",
    "EXACT_PROBABILITY",
    "EXACT_RANK_LIMIT",
    "FOREIGN_FAILURES",
    "FOREIGN_QUADRATURE",
    "FOREIGN_THRESHOLD_LIMIT",
    "INCOHERENT_EXACT",
    "INCOHERENT_GAIN",
    "INCOHERENT_RATE",
    "INITIAL_SNR",
    "INTERVAL_PRINTED",
    "LAYERS_PRINTED",
    "LINEAR_DEPTH",
    "LINEAR_ENERGIES",
    "LINEAR_RATE_PRINTED",
    "NORM_RESCUE",
    "PAIRS",
    "PASSING_FRACTION",
    "RELU_ENERGIES",
    "ROW_GAIN",
    "ROW_REDUCTION",
    "SCALED_SCORES",
    "SEGMENTATION_BOUNDARY",
    "SEGMENTATION_EXACT",
    "SEGMENTATION_GRAPH",
    "SEGMENTATION_TYPICAL",
    "SIGNAL_FAILURES",
    "SIGNAL_QUADRATURE",
    "SOFTMAX_PEAK",
    "SOFTMAX_PROFILE",
    "SOFTMAX_RATE_PRINTED",
    "SOFTMAX_SLOWS",
    "THRESHOLDED_RATE",
    "TOKEN_NORMALISATION",
    "TYPICAL_BOUNDARY",
    "WEIGHTED_CEILING",
    "WEIGHTED_FLOOR",
]
