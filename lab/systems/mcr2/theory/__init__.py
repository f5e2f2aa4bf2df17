"""Closed forms of the coding-rate landscape: plain numbers and arrays in and out, numpy only, no randomness.

========================  =============================================================================
`rates`                   bounds on coding rates
`extremes`                spectra of unit rows of largest and least rate; labels of largest rate reduction
`scales`                  limits of very large and very small distortion
`random_features`         bias of a finite sample; rate reduction of pure noise, and its spread
`whitened_features`       rate reduction of features with a flat spectrum under random labels
`label_shuffling`         rate reduction of given features under shuffled labels, from their spectrum
`derivatives`             curvature of the rate and of the objective, steps that never descend
`thresholds`              one direction: value h, branches u_plus and u_minus, spinodal, Maxwell point
`maxima`                  global maximum (corrected and as printed), ladder of local maximal values
`critical_points`         orthogonal critical points: value, Hessian spectrum, index, zero modes
`fusion_frames`           all critical points: effective fractions, values, index, reading them off Z
`irreducible_frames`      the frames of which critical points are made, zero modes of any critical point
`atlas`                   the list of all critical points: values, indices, nullities
`aligned_points`          critical points direction by direction: value, index, rounding to the nearest one
`escape`                  explicit directions of positive curvature at saddles
`constrained`             maximum at fixed class energies and bounded ranks
`full_rank`               largest distortion at which that maximum has full rank
`balanced`                maximum of unit rows in equal classes, ranks unbounded
`energies`                maximum and ceiling at any class energies; where the optimum loses rank
`multiplier`              from the constrained problem to the regularised one; units of the official code
`flow`                    gradient flow and ascent of one direction, survival, passage through the ghost
`relaxation`              linear rates, the saddle-node at the spinodal and its slowing down
`hysteresis`              sweeps up and down: loop area, delay, which kick returns
`starts`                  which directions of a start can survive, whatever the overlap of the classes
`splits`                  which class wins a direction, and the ranks that follow
========================  =============================================================================

Notation and traps: see `lab.systems.mcr2`.
"""

from lab.systems.mcr2.theory.aligned_points import aligned_branch, aligned_index, aligned_value, nearest_branches
from lab.systems.mcr2.theory.atlas import Atlas, AtlasEntry, AtlasPart, MaximaLevels, atlas, maxima_levels
from lab.systems.mcr2.theory.balanced import balanced_largest_eps, balanced_maximum
from lab.systems.mcr2.theory.constrained import (
    ConstrainedMaximum,
    class_optimum,
    constrained_maximum,
    constrained_ranks,
    energy_bound,
    rank_threshold,
)
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
from lab.systems.mcr2.theory.energies import EnergyMaximum, energy_ceiling, energy_maximum, rank_loss_eps
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
from lab.systems.mcr2.theory.extremes import Assignment, best_assignment, extreme_spectrum, spectrum_error
from lab.systems.mcr2.theory.flow import (
    ascent_map,
    direction_survives,
    finite_time_shift,
    flow_speed,
    ghost_passage_correction,
    ghost_passage_time,
)
from lab.systems.mcr2.theory.full_rank import full_rank_constant, largest_full_rank_eps, published_full_rank_eps
from lab.systems.mcr2.theory.fusion_frames import (
    Eigenspace,
    effective_fraction,
    frame_fraction,
    fusion_frame_index,
    fusion_frame_value,
    read_fusion_frame,
)
from lab.systems.mcr2.theory.hysteresis import loop_area, return_multiplier, sweep_delay
from lab.systems.mcr2.theory.irreducible_frames import frame_ranks, frame_shapes, fusion_frame_nullity
from lab.systems.mcr2.theory.label_shuffling import compressed_logdet, shuffled_rate_reduction
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
from lab.systems.mcr2.theory.multiplier import (
    from_official,
    matched_multiplier,
    matched_point_is_global,
    to_official,
)
from lab.systems.mcr2.theory.random_features import (
    finite_sample_bias,
    finite_sample_variance,
    marchenko_pastur_rate,
    marchenko_pastur_resolvent,
    null_rate_reduction,
    null_rate_reduction_variance,
    population_rate,
)
from lab.systems.mcr2.theory.rates import (
    orthogonal_upper_bound,
    rate_bounds_unit_norm,
    rate_rounding,
    two_lines_gap,
)
from lab.systems.mcr2.theory.relaxation import (
    SaddleNode,
    ascent_contraction,
    branch_gap,
    linear_rate,
    relaxation_rate,
    saddle_node,
)
from lab.systems.mcr2.theory.scales import between_class_variance, rank_slope
from lab.systems.mcr2.theory.splits import (
    competing_grams,
    inertia_split,
    tie_amplification,
    time_to_first_loss,
    winner_of_direction,
)
from lab.systems.mcr2.theory.starts import comparable_step, growth_ceiling, rank_ceiling, survival_threshold
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
from lab.systems.mcr2.theory.whitened_features import whitened_null_rate_reduction

__all__ = [
    "Assignment",
    "Atlas",
    "AtlasEntry",
    "AtlasPart",
    "ConstrainedMaximum",
    "Eigenspace",
    "EnergyMaximum",
    "Escape",
    "GlobalMaximum",
    "MaximaLevels",
    "SaddleNode",
    "ValueLadder",
    "aligned_branch",
    "aligned_index",
    "aligned_value",
    "ascent_contraction",
    "ascent_map",
    "atlas",
    "balanced_largest_eps",
    "balanced_maximum",
    "best_assignment",
    "between_class_variance",
    "branch_gap",
    "branch_value",
    "class_optimum",
    "class_value",
    "comparable_step",
    "competing_grams",
    "compressed_logdet",
    "constrained_maximum",
    "constrained_ranks",
    "direction_curvature",
    "direction_slope",
    "direction_survives",
    "direction_value",
    "effective_fraction",
    "energy_bound",
    "energy_ceiling",
    "energy_maximum",
    "escape_directions",
    "extreme_spectrum",
    "finite_sample_bias",
    "finite_sample_variance",
    "finite_time_shift",
    "flow_speed",
    "frame_fraction",
    "frame_ranks",
    "frame_shapes",
    "from_official",
    "full_rank_constant",
    "fusion_frame_index",
    "fusion_frame_nullity",
    "fusion_frame_value",
    "ghost_passage_correction",
    "ghost_passage_time",
    "global_maximum",
    "gram_scale",
    "growth_ceiling",
    "hessian_eigenvalues",
    "hessian_spectrum",
    "inertia_split",
    "largest_full_rank_eps",
    "largest_monotone_step",
    "linear_rate",
    "loop_area",
    "marchenko_pastur_rate",
    "marchenko_pastur_resolvent",
    "matched_multiplier",
    "matched_point_is_global",
    "maxima_levels",
    "maxwell",
    "maxwell_point",
    "merge_point",
    "nearest_branches",
    "nonzero_branch_exists",
    "null_rate_reduction",
    "null_rate_reduction_variance",
    "orthogonal_upper_bound",
    "orthogonal_value",
    "parting_curvature",
    "parting_escape",
    "population_rate",
    "published_full_rank_eps",
    "published_global_maximum",
    "published_multiplier_bound",
    "rank_ceiling",
    "rank_loss_eps",
    "rank_slope",
    "rank_threshold",
    "rate_bounds_unit_norm",
    "rate_curvature",
    "rate_curvature_range",
    "rate_gain",
    "rate_rounding",
    "read_fusion_frame",
    "rebalancing_curvature",
    "rebalancing_escape",
    "reduced_multiplier",
    "relaxation_rate",
    "return_multiplier",
    "saddle_index",
    "saddle_node",
    "scaling_curvature",
    "scaling_escape",
    "shuffled_rate_reduction",
    "smoothness",
    "spectrum_error",
    "spinodal",
    "survival_threshold",
    "sweep_delay",
    "tie_amplification",
    "time_to_first_loss",
    "to_official",
    "two_lines_gap",
    "u_minus",
    "u_plus",
    "value_ladder",
    "whitened_null_rate_reduction",
    "winner_of_direction",
    "zero_modes",
]
