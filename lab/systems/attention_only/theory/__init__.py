"""Closed forms and quadrature of attention-only denoising: numbers and arrays in and out, no randomness.

================  ==================================================================================
`snr`             the signal-to-noise ratio before any layer
`thresholded`     growth of one layer under the events; the published interval of thresholds
`failures`        how often rows break the events, by quadrature over the query's norm
`boundaries`      where they hold as the number of tokens grows
`depth`           for how many layers; token normalisation
`energies`        mean energies after one layer with linear and rectified weights
`softmax`         state evolution of plain softmax
`segmentation`    which weights know the cluster of a token
`validity`        frames that are not orthogonal
================  ==================================================================================

Notation and traps: see `lab.systems.attention_only`.
"""

from lab.systems.attention_only.theory.boundaries import (
    ALL_TOKENS,
    TYPICAL_TOKEN,
    all_pass_probability,
    condensed_fraction,
    exact_rank,
    foreign_threshold,
    largest_noise,
    pair_failure,
    passing_fraction,
    scaled_failure,
)
from lab.systems.attention_only.theory.depth import exact_depth, normalised_snr, peak_depth, typical_depth
from lab.systems.attention_only.theory.energies import (
    gain,
    linear_depth_gain,
    linear_energies,
    linear_gain_cap,
    relu_energies,
)
from lab.systems.attention_only.theory.failures import exact_probability, foreign_failure, signal_failure
from lab.systems.attention_only.theory.segmentation import confused_agreement, energy_error, partial_agreement
from lab.systems.attention_only.theory.snr import initial_snr_above
from lab.systems.attention_only.theory.softmax import Evolution, foreign_tilt, softmax_evolution
from lab.systems.attention_only.theory.thresholded import KINDS, growth, log_odds, printed_interval
from lab.systems.attention_only.theory.validity import incoherent_exact_probability, leaked_noise

__all__ = [
    "ALL_TOKENS",
    "KINDS",
    "TYPICAL_TOKEN",
    "Evolution",
    "all_pass_probability",
    "condensed_fraction",
    "confused_agreement",
    "energy_error",
    "exact_depth",
    "exact_probability",
    "exact_rank",
    "foreign_failure",
    "foreign_threshold",
    "foreign_tilt",
    "gain",
    "growth",
    "incoherent_exact_probability",
    "initial_snr_above",
    "largest_noise",
    "leaked_noise",
    "linear_depth_gain",
    "linear_energies",
    "linear_gain_cap",
    "log_odds",
    "normalised_snr",
    "pair_failure",
    "partial_agreement",
    "passing_fraction",
    "peak_depth",
    "printed_interval",
    "relu_energies",
    "scaled_failure",
    "signal_failure",
    "softmax_evolution",
    "typical_depth",
]
