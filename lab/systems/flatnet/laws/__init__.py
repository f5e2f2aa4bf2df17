"""The laws of the system flatnet, one file per subject, as in `lab.systems.flatnet.theory`."""

from lab.systems.flatnet.laws.budget import LAYER_ERROR_BUDGET
from lab.systems.flatnet.laws.curvature import CURVATURE_CONTRACTION, FLATTENING_PRINTED, MEAN_CURVATURE
from lab.systems.flatnet.laws.decoding import ROUND_TRIP
from lab.systems.flatnet.laws.inversion import (
    DECODER_CONDITIONING,
    DECODER_PRINTED,
    EXACT_INVERSE,
    INVERSE_BOUND,
    INVERTIBLE_LAYER,
)
from lab.systems.flatnet.laws.local_model import LOCAL_MODEL_ERROR, LOCAL_MODEL_ORDER
from lab.systems.flatnet.laws.topology import FLATNESS_PRINTED, TOPOLOGICAL_OBSTRUCTION, UNROLLING

__all__ = [
    "CURVATURE_CONTRACTION",
    "DECODER_CONDITIONING",
    "DECODER_PRINTED",
    "EXACT_INVERSE",
    "FLATNESS_PRINTED",
    "FLATTENING_PRINTED",
    "INVERSE_BOUND",
    "INVERTIBLE_LAYER",
    "LAYER_ERROR_BUDGET",
    "LOCAL_MODEL_ERROR",
    "LOCAL_MODEL_ORDER",
    "MEAN_CURVATURE",
    "ROUND_TRIP",
    "TOPOLOGICAL_OBSTRUCTION",
    "UNROLLING",
]
