"""Closed forms of closed-loop transcription games: numbers and arrays in and out, no randomness.

====================  ==============================================================================
`data_space`          what best responses leave of the data
`distance`            the distance of the loop: Bhattacharyya's
`few_samples`         fewer samples than dimensions
`follower`            how strong a decoder needs to be
`general`             games in which the follower can always be perfect
`generators`          how correlated generated subspaces are
`landscape`           CTRL-MSP: all local maxima, parts of a leader's gap
`multiple_subspaces`  CTRL-MSP: the leader's value and equilibria
`overflow`            CTRL-MSP with too few dimensions, or without a direct sum
`projection`          the leader's feasible set
`shrinkage`           the best decoder of CTRL-Multi: how far it shrinks the features, when it mixes classes
`single_subspace`     CTRL-SSP: value; what an untrained encoder does
`staircase`           where equilibria of CTRL-MSP gain rank; published conditions
`timescale`           descent and ascent with two time scales
====================  ==============================================================================

Notation and traps: see `lab.systems.ctrl`.
"""

from lab.systems.ctrl.theory.data_space import mean_squared_residual, row_space_residuals
from lab.systems.ctrl.theory.distance import affinity, curvature
from lab.systems.ctrl.theory.few_samples import held_out_residual
from lab.systems.ctrl.theory.follower import least_decoder_norm
from lab.systems.ctrl.theory.general import leader_value, rank_capped_consistency
from lab.systems.ctrl.theory.generators import mean_cosine, mean_cosine_correction
from lab.systems.ctrl.theory.landscape import GapParts, LocalMaxima, gap_parts, local_maxima
from lab.systems.ctrl.theory.multiple_subspaces import (
    Equilibrium,
    best_rank,
    equilibrium,
    rank_value,
    share,
    slot,
    slot_curvature,
    slot_slope,
    tangent_point,
)
from lab.systems.ctrl.theory.overflow import (
    Allocation,
    direct_sum_bound,
    lines_value,
    orthogonal_allocation,
    planes_in_space,
)
from lab.systems.ctrl.theory.projection import nearest_feasible, projection_dual
from lab.systems.ctrl.theory.shrinkage import (
    decoder_loss,
    decoder_mixing,
    decoder_shrinkage,
    decoder_shrinkage_limit,
    decoder_shrinkage_limit_error,
    scaling_slope,
)
from lab.systems.ctrl.theory.single_subspace import random_encoder_above, random_encoder_moments, single_value
from lab.systems.ctrl.theory.staircase import (
    constant_distortion,
    exchange_curvature,
    rank_constant,
    step_distortions,
    two_levels,
)
from lab.systems.ctrl.theory.timescale import gda_growth, gda_threshold, stackelberg_curvature

__all__ = [
    "Allocation",
    "Equilibrium",
    "GapParts",
    "LocalMaxima",
    "affinity",
    "best_rank",
    "constant_distortion",
    "curvature",
    "decoder_loss",
    "decoder_mixing",
    "decoder_shrinkage",
    "decoder_shrinkage_limit",
    "decoder_shrinkage_limit_error",
    "direct_sum_bound",
    "equilibrium",
    "exchange_curvature",
    "gap_parts",
    "gda_growth",
    "gda_threshold",
    "held_out_residual",
    "leader_value",
    "least_decoder_norm",
    "lines_value",
    "local_maxima",
    "mean_cosine",
    "mean_cosine_correction",
    "mean_squared_residual",
    "nearest_feasible",
    "orthogonal_allocation",
    "planes_in_space",
    "projection_dual",
    "random_encoder_above",
    "random_encoder_moments",
    "rank_capped_consistency",
    "rank_constant",
    "rank_value",
    "row_space_residuals",
    "scaling_slope",
    "share",
    "single_value",
    "slot",
    "slot_curvature",
    "slot_slope",
    "stackelberg_curvature",
    "step_distortions",
    "tangent_point",
    "two_levels",
]
