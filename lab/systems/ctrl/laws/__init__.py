"""The laws of the system ctrl, one file per subject, as in `lab.systems.ctrl.theory`."""

from lab.systems.ctrl.laws.data_space import CANONICAL, GRADIENT, INVARIANT, MEAN_RESIDUAL, PINV, SQUARE
from lab.systems.ctrl.laws.distance import BAYES_ERROR, CURVATURE, DISTANCE, METRIC
from lab.systems.ctrl.laws.few_samples import FEW_SAMPLES
from lab.systems.ctrl.laws.follower import CAPPED, INERT_LOOP, RESPONSES
from lab.systems.ctrl.laws.general import BINARY, GENERAL, RANK_CAP
from lab.systems.ctrl.laws.generators import GENERATOR_OVERLAP
from lab.systems.ctrl.laws.landscape import LEADER_GAP, LOCAL_MAXIMA, LOCAL_MAXIMA_STABLE
from lab.systems.ctrl.laws.multiple_subspaces import MSP_ENCODERS, MSP_FEATURES, MSP_VALUE
from lab.systems.ctrl.laws.overflow import LINES, ORTHOGONAL_CONJECTURE, OVERFLOW_BOUND, OVERFLOW_FITS, PLANES
from lab.systems.ctrl.laws.projection import PROJECTION
from lab.systems.ctrl.laws.shrinkage import MIXING, MULTI_DECODER, MULTI_LOSS, RECONSTRUCTION, REGIMES
from lab.systems.ctrl.laws.single_subspace import RANDOM_BASELINE, SSP_ISOMETRY, SSP_PRINCIPAL, SSP_VALUE
from lab.systems.ctrl.laws.staircase import (
    FULL_RANK,
    FULL_RANK_PRINTED,
    RANK_STAIRCASE,
    TWO_LEVELS,
    UNIVERSAL_CONSTANT_PRINTED,
)
from lab.systems.ctrl.laws.timescale import CONDITION, CONDITION_PRINTED, PANELS, SLOW_FOLLOWER, THRESHOLD

__all__ = [
    "BAYES_ERROR",
    "BINARY",
    "CANONICAL",
    "CAPPED",
    "CONDITION",
    "CONDITION_PRINTED",
    "CURVATURE",
    "DISTANCE",
    "FEW_SAMPLES",
    "FULL_RANK",
    "FULL_RANK_PRINTED",
    "GENERAL",
    "GENERATOR_OVERLAP",
    "GRADIENT",
    "INERT_LOOP",
    "INVARIANT",
    "LEADER_GAP",
    "LINES",
    "LOCAL_MAXIMA",
    "LOCAL_MAXIMA_STABLE",
    "MEAN_RESIDUAL",
    "METRIC",
    "MIXING",
    "MSP_ENCODERS",
    "MSP_FEATURES",
    "MSP_VALUE",
    "MULTI_DECODER",
    "MULTI_LOSS",
    "ORTHOGONAL_CONJECTURE",
    "OVERFLOW_BOUND",
    "OVERFLOW_FITS",
    "PANELS",
    "PINV",
    "PLANES",
    "PROJECTION",
    "RANDOM_BASELINE",
    "RANK_CAP",
    "RANK_STAIRCASE",
    "RECONSTRUCTION",
    "REGIMES",
    "RESPONSES",
    "SLOW_FOLLOWER",
    "SQUARE",
    "SSP_ISOMETRY",
    "SSP_PRINCIPAL",
    "SSP_VALUE",
    "THRESHOLD",
    "TWO_LEVELS",
    "UNIVERSAL_CONSTANT_PRINTED",
]
