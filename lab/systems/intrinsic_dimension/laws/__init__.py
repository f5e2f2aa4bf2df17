"""The laws of the system intrinsic_dimension, one file per subject, as in `lab.systems.intrinsic_dimension.theory`."""

from lab.systems.intrinsic_dimension.laws.likelihood import LEVINA_BICKEL_BIAS, MEAN_LOG_RATIO, OPEN_CUBE_PRINTED
from lab.systems.intrinsic_dimension.laws.local_pca import LOCAL_PCA, TANGENT_TILT
from lab.systems.intrinsic_dimension.laws.neighbours import CHORDAL_DISTANCE, PARETO_EXACT
from lab.systems.intrinsic_dimension.laws.overlap import (
    INTERVAL_COVERAGE,
    PAIR_VARIANCE,
    TWONN_VARIANCE,
    TWONN_VARIANCE_PRINTED,
)

__all__ = [
    "CHORDAL_DISTANCE",
    "INTERVAL_COVERAGE",
    "LEVINA_BICKEL_BIAS",
    "LOCAL_PCA",
    "MEAN_LOG_RATIO",
    "OPEN_CUBE_PRINTED",
    "PAIR_VARIANCE",
    "PARETO_EXACT",
    "TANGENT_TILT",
    "TWONN_VARIANCE",
    "TWONN_VARIANCE_PRINTED",
]
