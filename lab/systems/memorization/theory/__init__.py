"""Closed forms and quadrature about memorization: plain numbers and arrays in and out, no randomness.

========================  =============================================================================
`chance`                  copies by chance among fresh samples
`collapse`                when the posterior collapses onto the right training point
`crossover`               size from which partial memorisers lose less than the generaliser
`ddim`                    spread and mean of DDIM samples of Gaussian data
`denoising`               denoiser of two means, weight of the likelihood bound
`endpoint`                where deterministic sampling with the memoriser ends
`identities`              loss as distance from the best denoiser plus the least loss
`initialisation`          share of points that keep their own first mean
`losses`                  loss of the generaliser, of two points, bounds on the memoriser's
`low_rank`                least losses of subspaces and templates, how labels are confused
`mmse`                    least losses of isotropic mixtures, certainty of labels
`narrow`                  the transition where the sampler narrows clusters
`partial_memoriser`       exact losses of the memoriser of some points, constant of its excess
`plateau`                 loss under hard assignment, width that is best
`schedules`               best grids of times for DDIM
`speciation`              when reverse diffusion decides between two classes
`transition`              width that training settles at, copies among samples, critical model size
`weights`                 critical sizes by weight: published, and independent of it
========================  =============================================================================

Notation and traps: see `lab.systems.memorization`.
"""

from lab.systems.memorization.theory.chance import chance_level
from lab.systems.memorization.theory.collapse import (
    collapse_coordinate,
    collapse_snr,
    collapse_time,
    recall_bound,
    window_correction,
    window_recall,
    window_width,
)
from lab.systems.memorization.theory.crossover import edge_crossover, exact_crossover, exact_gap, published_crossover
from lab.systems.memorization.theory.ddim import (
    angle,
    equal_angle_constant,
    exact_scale,
    sampled_mean,
    sampled_scale,
    shrinkage,
    total_angle,
    uniform_constant,
)
from lab.systems.memorization.theory.denoising import elbo_weight, two_means_denoiser
from lab.systems.memorization.theory.endpoint import endpoint_radius, hit_statistic, residual_step
from lab.systems.memorization.theory.identities import linear_loss, posterior_loss, posterior_variance
from lab.systems.memorization.theory.initialisation import own_mean_share
from lab.systems.memorization.theory.losses import (
    confusion_bounds,
    generaliser_loss,
    memoriser_bound,
    memoriser_expected_bound,
    published_error,
    two_point_loss,
    two_sample_loss,
)
from lab.systems.memorization.theory.low_rank import confusion_exponent, low_rank_mmse, orthogonal_subspaces_mmse
from lab.systems.memorization.theory.mmse import (
    label_error,
    mixture_mmse,
    orthogonal_agreement,
    orthogonal_label_error,
    two_class_agreement,
    two_means_label_error,
)
from lab.systems.memorization.theory.narrow import sampled_critical_size, sampled_curve
from lab.systems.memorization.theory.partial_memoriser import (
    Losses,
    effective_constant,
    exact_losses,
    new_point_loss,
    recall,
    training_point_loss,
)
from lab.systems.memorization.theory.plateau import hard_assignment_loss, settled_ratio
from lab.systems.memorization.theory.schedules import (
    arc_length_constant,
    arc_length_times,
    best_equal_angle,
    equal_angle_shrinkage,
    spectrum_error,
)
from lab.systems.memorization.theory.speciation import (
    class_agreement,
    origin_curvature,
    speciation_agreement,
    speciation_snr,
    speciation_time,
)
from lab.systems.memorization.theory.transition import (
    copy_probability,
    critical_size,
    critical_size_leading,
    fitted_variance,
    memorization_curve,
    nearest_constant,
    plateau_loss,
)
from lab.systems.memorization.theory.weights import independent_sizes, published_sizes

__all__ = [
    "Losses",
    "angle",
    "arc_length_constant",
    "arc_length_times",
    "best_equal_angle",
    "chance_level",
    "class_agreement",
    "collapse_coordinate",
    "collapse_snr",
    "collapse_time",
    "confusion_bounds",
    "confusion_exponent",
    "copy_probability",
    "critical_size",
    "critical_size_leading",
    "edge_crossover",
    "effective_constant",
    "elbo_weight",
    "endpoint_radius",
    "equal_angle_constant",
    "equal_angle_shrinkage",
    "exact_crossover",
    "exact_gap",
    "exact_losses",
    "exact_scale",
    "fitted_variance",
    "generaliser_loss",
    "hard_assignment_loss",
    "hit_statistic",
    "independent_sizes",
    "label_error",
    "linear_loss",
    "low_rank_mmse",
    "memoriser_bound",
    "memoriser_expected_bound",
    "memorization_curve",
    "mixture_mmse",
    "nearest_constant",
    "new_point_loss",
    "origin_curvature",
    "orthogonal_agreement",
    "orthogonal_label_error",
    "orthogonal_subspaces_mmse",
    "own_mean_share",
    "plateau_loss",
    "posterior_loss",
    "posterior_variance",
    "published_crossover",
    "published_error",
    "published_sizes",
    "recall",
    "recall_bound",
    "residual_step",
    "sampled_critical_size",
    "sampled_curve",
    "sampled_mean",
    "sampled_scale",
    "settled_ratio",
    "shrinkage",
    "speciation_agreement",
    "speciation_snr",
    "speciation_time",
    "spectrum_error",
    "total_angle",
    "training_point_loss",
    "two_class_agreement",
    "two_means_denoiser",
    "two_means_label_error",
    "two_point_loss",
    "two_sample_loss",
    "uniform_constant",
    "window_correction",
    "window_recall",
    "window_width",
]
