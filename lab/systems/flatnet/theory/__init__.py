"""Closed forms of manifold flattening: numbers and arrays in and out, no randomness.

==============  ==========================================================================
`inversion`     derivative of a layer: determinant, singular values, bound of the inverse
`budget`        reconstruction error of one layer
`decoding`      rounding errors of exact decoding
`curvature`     what a layer does to the second fundamental form
`local_model`   error of the quadratic model of a curve
`topology`      turning points that no layer removes
==============  ==========================================================================

Notation and traps: see `lab.systems.flatnet`.
"""

from lab.systems.flatnet.theory.budget import layer_error
from lab.systems.flatnet.theory.curvature import (
    local_mean_offset,
    new_second_derivative,
    sphere_offset,
    trace_factor,
)
from lab.systems.flatnet.theory.decoding import round_trip_bound
from lab.systems.flatnet.theory.inversion import (
    determinant,
    inverse_bound,
    kernel_value,
    smallest_singular_value,
)
from lab.systems.flatnet.theory.local_model import ellipse_third_derivative, helix_third_derivative, model_error
from lab.systems.flatnet.theory.topology import least_turning_points

__all__ = [
    "determinant",
    "ellipse_third_derivative",
    "helix_third_derivative",
    "inverse_bound",
    "kernel_value",
    "layer_error",
    "least_turning_points",
    "local_mean_offset",
    "model_error",
    "new_second_derivative",
    "round_trip_bound",
    "smallest_singular_value",
    "sphere_offset",
    "trace_factor",
]
