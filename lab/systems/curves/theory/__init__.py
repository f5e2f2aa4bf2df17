"""Closed forms of deep networks on curves: numbers and arrays in and out, no randomness.

=================  =================================================================================
`angles`           how angles shrink: one layer, sharp bounds for many, the Abel function
`skeleton`         the kernel: bounds, closed form of deep networks, distance of skeleton and full kernel
`separation`       the separation function H, its next terms, both eigenvalues of two near curves, best depth
`spectrum`         circulant spectra by Fourier transform; closed form of deep networks
`certificate`      certificates of errors that are constant on two curves
`clover`           curves that wind close to themselves, strand by strand
`finite_width`     exact variance of kernels of finite width, and its limits
`random_networks`  how far wide random networks are from constant
`training`         gradient descent in the kernel regime, and orders in the width of what is left out
=================  =================================================================================

Notation and traps: see `lab.systems.curves`.
"""

from lab.systems.curves.theory.angles import abel, angle_bounds, next_cosine
from lab.systems.curves.theory.certificate import constant_certificate, pair_eigenvalues
from lab.systems.curves.theory.clover import strand_angles, winding_eigenvalue
from lab.systems.curves.theory.finite_width import (
    Invariants,
    kernel_moments,
    layer_moments,
    relative_variance,
    variance_limit,
    variance_slope,
)
from lab.systems.curves.theory.random_networks import initial_difference, initial_difference_bound
from lab.systems.curves.theory.separation import (
    BEST_SEPARATION,
    certificate_size,
    curvature_term,
    depth_terms,
    difference_eigenvalue,
    eigenvalue_ratio,
    separation_function,
    sum_eigenvalue,
)
from lab.systems.curves.theory.skeleton import (
    centre_slope,
    deep_skeleton,
    hidden_gap,
    inverse_angle_skeleton,
    skeleton_bounds,
)
from lab.systems.curves.theory.spectrum import (
    circulant_spectrum,
    closed_spectrum,
    cusp_spectrum,
    logarithmic_spectrum,
    mode_terms,
    pair_spectrum,
)
from lab.systems.curves.theory.training import DENSE_ORDER, SPARSE_ORDER, residuals

__all__ = [
    "BEST_SEPARATION",
    "DENSE_ORDER",
    "SPARSE_ORDER",
    "Invariants",
    "abel",
    "angle_bounds",
    "centre_slope",
    "certificate_size",
    "circulant_spectrum",
    "closed_spectrum",
    "constant_certificate",
    "curvature_term",
    "cusp_spectrum",
    "deep_skeleton",
    "depth_terms",
    "difference_eigenvalue",
    "eigenvalue_ratio",
    "hidden_gap",
    "initial_difference",
    "initial_difference_bound",
    "inverse_angle_skeleton",
    "kernel_moments",
    "layer_moments",
    "logarithmic_spectrum",
    "mode_terms",
    "next_cosine",
    "pair_eigenvalues",
    "pair_spectrum",
    "relative_variance",
    "residuals",
    "separation_function",
    "skeleton_bounds",
    "strand_angles",
    "sum_eigenvalue",
    "variance_limit",
    "variance_slope",
    "winding_eigenvalue",
]
