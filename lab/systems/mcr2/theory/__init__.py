"""Closed forms of the coding-rate landscape: plain numbers and arrays in and out, numpy only, no randomness.

========================  =============================================================================
`rates`                   bounds on coding rates
`scales`                  limits of very large and very small distortion
`derivatives`             curvature of the rate and of the objective, steps that never descend
`thresholds`              one direction: value h, branches u_plus and u_minus, spinodal, Maxwell point
`maxima`                  global maximum (corrected and as printed), ladder of local maximal values
`critical_points`         orthogonal critical points: value, Hessian spectrum, index, zero modes
`fusion_frames`           all critical points: effective fractions, values, index, reading them off Z
`escape`                  explicit directions of positive curvature at saddles
`flow`                    gradient flow and ascent of one direction, survival
========================  =============================================================================

Notation and traps: see `lab.systems.mcr2`.
"""

from lab.systems.mcr2.theory.critical_points import (
    hessian_eigenvalues,
    hessian_spectrum,
    orthogonal_value,
    saddle_index,
    zero_modes,
)
from lab.systems.mcr2.theory.derivatives import (
    largest_monotone_step,
    rate_curvature,
    rate_curvature_range,
    smoothness,
)
from lab.systems.mcr2.theory.domain import (
    gram_scale,
    reduced_multiplier,
)
from lab.systems.mcr2.theory.escape import (
    Escape,
    escape_directions,
    parting_curvature,
    parting_escape,
    rebalancing_curvature,
    rebalancing_escape,
    scaling_curvature,
    scaling_escape,
)
from lab.systems.mcr2.theory.flow import (
    ascent_map,
    direction_survives,
    finite_time_shift,
    flow_speed,
)
from lab.systems.mcr2.theory.fusion_frames import (
    Eigenspace,
    effective_fraction,
    frame_fraction,
    fusion_frame_index,
    fusion_frame_value,
    read_fusion_frame,
)
from lab.systems.mcr2.theory.maxima import (
    GlobalMaximum,
    ValueLadder,
    branch_value,
    class_value,
    global_maximum,
    published_global_maximum,
    published_multiplier_bound,
    value_ladder,
)
from lab.systems.mcr2.theory.rates import (
    orthogonal_upper_bound,
    rate_bounds_unit_norm,
    rate_rounding,
    two_lines_gap,
)
from lab.systems.mcr2.theory.scales import between_class_variance, rank_slope
from lab.systems.mcr2.theory.thresholds import (
    direction_curvature,
    direction_slope,
    direction_value,
    maxwell,
    maxwell_point,
    merge_point,
    nonzero_branch_exists,
    rate_gain,
    spinodal,
    u_minus,
    u_plus,
)

__all__ = [
    "Eigenspace",
    "Escape",
    "GlobalMaximum",
    "ValueLadder",
    "ascent_map",
    "between_class_variance",
    "branch_value",
    "class_value",
    "direction_curvature",
    "direction_slope",
    "direction_survives",
    "direction_value",
    "effective_fraction",
    "escape_directions",
    "finite_time_shift",
    "flow_speed",
    "frame_fraction",
    "fusion_frame_index",
    "fusion_frame_value",
    "global_maximum",
    "gram_scale",
    "hessian_eigenvalues",
    "hessian_spectrum",
    "largest_monotone_step",
    "maxwell",
    "maxwell_point",
    "merge_point",
    "nonzero_branch_exists",
    "orthogonal_upper_bound",
    "orthogonal_value",
    "parting_curvature",
    "parting_escape",
    "published_global_maximum",
    "published_multiplier_bound",
    "rank_slope",
    "rate_bounds_unit_norm",
    "rate_curvature",
    "rate_curvature_range",
    "rate_gain",
    "rate_rounding",
    "read_fusion_frame",
    "rebalancing_curvature",
    "rebalancing_escape",
    "reduced_multiplier",
    "saddle_index",
    "scaling_curvature",
    "scaling_escape",
    "smoothness",
    "spinodal",
    "two_lines_gap",
    "u_minus",
    "u_plus",
    "value_ladder",
    "zero_modes",
]
