"""The laws of the system memorization, one file per subject, as in `lab.systems.memorization.theory`."""

from lab.systems.memorization.laws.crossover import CROSSOVER_EDGE, CROSSOVER_EXACT, CROSSOVER_PAPER
from lab.systems.memorization.laws.ddim import DDIM_GAUSSIAN, DDIM_RATE
from lab.systems.memorization.laws.denoising import (
    ELBO_WEIGHT,
    ELBO_WEIGHT_PRINTED,
    TWEEDIE,
    TWO_POINT_DENOISER,
    TWO_POINT_DENOISER_PRINTED,
)
from lab.systems.memorization.laws.identities import EXCESS_IS_DISTANCE, EXCESS_LOSS, SCALE_COVARIANCE
from lab.systems.memorization.laws.losses import GEN_EXCESS, GEN_EXCESS_PRINTED, MEM_BOUND, TWO_POINTS
from lab.systems.memorization.laws.low_rank import LABEL_CONFUSION, LOW_RANK_MMSE, TEMPLATE_MMSE
from lab.systems.memorization.laws.mmse import CLONE_AGREEMENT, GMM_MMSE, NISHIMORI
from lab.systems.memorization.laws.partial_memoriser import EXCESS_CONSTANT, PMEM_EXCESS, PMEM_EXCESS_PRINTED
from lab.systems.memorization.laws.schedules import DDIM_EQUAL_ANGLE, DDIM_SPECTRUM

__all__ = [
    "CLONE_AGREEMENT",
    "CROSSOVER_EDGE",
    "CROSSOVER_EXACT",
    "CROSSOVER_PAPER",
    "DDIM_EQUAL_ANGLE",
    "DDIM_GAUSSIAN",
    "DDIM_RATE",
    "DDIM_SPECTRUM",
    "ELBO_WEIGHT",
    "ELBO_WEIGHT_PRINTED",
    "EXCESS_CONSTANT",
    "EXCESS_IS_DISTANCE",
    "EXCESS_LOSS",
    "GEN_EXCESS",
    "GEN_EXCESS_PRINTED",
    "GMM_MMSE",
    "LABEL_CONFUSION",
    "LOW_RANK_MMSE",
    "MEM_BOUND",
    "NISHIMORI",
    "PMEM_EXCESS",
    "PMEM_EXCESS_PRINTED",
    "SCALE_COVARIANCE",
    "TEMPLATE_MMSE",
    "TWEEDIE",
    "TWO_POINTS",
    "TWO_POINT_DENOISER",
    "TWO_POINT_DENOISER_PRINTED",
]
