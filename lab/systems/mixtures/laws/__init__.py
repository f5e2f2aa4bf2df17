"""The laws of the system mixtures, one file per subject, as in `lab.systems.mixtures.theory`."""

from lab.systems.mixtures.laws.posterior import (
    POSTERIOR_MEAN,
    PROJECTION_DENOISER_PRINTED,
    TEMPERATURE,
    TEMPERATURE_PRINTED,
)
from lab.systems.mixtures.laws.projection import EXCESS_EXPONENT, LABEL_EXCESS, PLAIN_EXPONENT, PROJECTION_RATE

__all__ = [
    "EXCESS_EXPONENT",
    "LABEL_EXCESS",
    "PLAIN_EXPONENT",
    "POSTERIOR_MEAN",
    "PROJECTION_DENOISER_PRINTED",
    "PROJECTION_RATE",
    "TEMPERATURE",
    "TEMPERATURE_PRINTED",
]
