"""Closed forms and quadrature of intrinsic dimension: numbers and arrays in and out, no randomness.

==============  =================================================================================
`neighbours`    ratios of neighbour distances: exact laws, and the mean where space is curved
`likelihood`    the mean of maximum likelihood estimates
`overlap`       variance and coverage where neighbourhoods overlap
`local_pca`     covariance of a patch of a sphere
==============  =================================================================================

Notation and traps: see `lab.systems.intrinsic_dimension`.
"""

from lab.systems.intrinsic_dimension.theory.likelihood import mean_estimate
from lab.systems.intrinsic_dimension.theory.local_pca import (
    normal_variance,
    normal_variance_limit,
    tangent_variance,
    tilt,
)
from lab.systems.intrinsic_dimension.theory.neighbours import (
    chord_exponent,
    chordal_log_ratio,
    ratio_below,
    wrap_probability,
)
from lab.systems.intrinsic_dimension.theory.overlap import ball_volume, coverage, pairs_within

__all__ = [
    "ball_volume",
    "chord_exponent",
    "chordal_log_ratio",
    "coverage",
    "mean_estimate",
    "normal_variance",
    "normal_variance_limit",
    "pairs_within",
    "ratio_below",
    "tangent_variance",
    "tilt",
    "wrap_probability",
]
