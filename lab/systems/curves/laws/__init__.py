"""The laws of the system curves, one file per subject, as in `lab.systems.curves.theory`."""

from lab.systems.curves.laws.angles import ANGLE_DECAY, ANGLE_DECAY_LOWER, ANGLE_MAP
from lab.systems.curves.laws.certificate import CERTIFICATE_COAXIAL, FINITE_SEPARATION, PAIR_MODES
from lab.systems.curves.laws.clover import CLOVER_AT_DEPTH, CLOVER_SLOWDOWN
from lab.systems.curves.laws.finite_width import (
    NTK_LAYER,
    NTK_MEAN,
    NTK_VARIANCE,
    NTK_VARIANCE_LIMIT,
    NTK_VARIANCE_SLOPE,
)
from lab.systems.curves.laws.random_networks import INIT_FLATNESS, NTK_CONCENTRATION, NTK_LIMIT
from lab.systems.curves.laws.separation import (
    CERTIFICATE_NORM,
    CROSSOVER_DEPTH,
    OPTIMAL_DEPTH,
    SEPARATION_CORRECTION,
    SEPARATION_MAP,
    SEPARATION_SCALING,
)
from lab.systems.curves.laws.skeleton import (
    SANDWICH_LOWER,
    SANDWICH_UPPER,
    SKELETON_ABOVE_FLOOR,
    SKELETON_ASYMPTOTIC,
    SKELETON_DECAY_PRINTED,
    SKELETON_ERROR,
    SKELETON_FLOOR,
    SKELETON_SHAPE,
    SKELETON_VS_FULL,
)
from lab.systems.curves.laws.spectrum import CIRCULANT_SPECTRUM, SPECTRUM_AT_DEPTH, SPECTRUM_CLOSED_FORM
from lab.systems.curves.laws.training import GATE_FLIPS, KERNEL_DRIFT, LIMIT_LINEARISATION, LINEARISATION, MODE_DECAY

__all__ = [
    "ANGLE_DECAY",
    "ANGLE_DECAY_LOWER",
    "ANGLE_MAP",
    "CERTIFICATE_COAXIAL",
    "CERTIFICATE_NORM",
    "CIRCULANT_SPECTRUM",
    "CLOVER_AT_DEPTH",
    "CLOVER_SLOWDOWN",
    "CROSSOVER_DEPTH",
    "FINITE_SEPARATION",
    "GATE_FLIPS",
    "INIT_FLATNESS",
    "KERNEL_DRIFT",
    "LIMIT_LINEARISATION",
    "LINEARISATION",
    "MODE_DECAY",
    "NTK_CONCENTRATION",
    "NTK_LAYER",
    "NTK_LIMIT",
    "NTK_MEAN",
    "NTK_VARIANCE",
    "NTK_VARIANCE_LIMIT",
    "NTK_VARIANCE_SLOPE",
    "OPTIMAL_DEPTH",
    "PAIR_MODES",
    "SANDWICH_LOWER",
    "SANDWICH_UPPER",
    "SEPARATION_CORRECTION",
    "SEPARATION_MAP",
    "SEPARATION_SCALING",
    "SKELETON_ABOVE_FLOOR",
    "SKELETON_ASYMPTOTIC",
    "SKELETON_DECAY_PRINTED",
    "SKELETON_ERROR",
    "SKELETON_FLOOR",
    "SKELETON_SHAPE",
    "SKELETON_VS_FULL",
    "SPECTRUM_AT_DEPTH",
    "SPECTRUM_CLOSED_FORM",
]
