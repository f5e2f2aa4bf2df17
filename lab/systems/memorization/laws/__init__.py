"""The laws of the system memorization, one file per subject, as in `lab.systems.memorization.theory`."""

from lab.systems.memorization.laws.chance import METRIC_CHANCE
from lab.systems.memorization.laws.collapse import COLLAPSE, COLLAPSE_BOUND, COLLAPSE_WINDOW, RECALL
from lab.systems.memorization.laws.crossover import CROSSOVER_EDGE, CROSSOVER_EXACT, CROSSOVER_PAPER
from lab.systems.memorization.laws.ddim import DDIM_GAUSSIAN, DDIM_RATE
from lab.systems.memorization.laws.denoising import (
    ELBO_WEIGHT,
    ELBO_WEIGHT_PRINTED,
    TWEEDIE,
    TWO_POINT_DENOISER,
    TWO_POINT_DENOISER_PRINTED,
)
from lab.systems.memorization.laws.endpoint import ODE_CONSERVED, ODE_ENDPOINT, ODE_HITS
from lab.systems.memorization.laws.identities import EXCESS_IS_DISTANCE, EXCESS_LOSS, SCALE_COVARIANCE
from lab.systems.memorization.laws.initialisation import INIT_DEPENDENCE
from lab.systems.memorization.laws.losses import GEN_EXCESS, GEN_EXCESS_PRINTED, MEM_BOUND, TWO_POINTS
from lab.systems.memorization.laws.low_rank import LABEL_CONFUSION, LOW_RANK_MMSE, TEMPLATE_MMSE
from lab.systems.memorization.laws.mmse import CLONE_AGREEMENT, GMM_MMSE, NISHIMORI
from lab.systems.memorization.laws.narrow import NARROW_CLUSTERS
from lab.systems.memorization.laws.partial_memoriser import EXCESS_CONSTANT, PMEM_EXCESS, PMEM_EXCESS_PRINTED
from lab.systems.memorization.laws.plateau import FITTED_PLATEAU, FITTED_VARIANCE, PLATEAU_LOSS
from lab.systems.memorization.laws.schedules import DDIM_EQUAL_ANGLE, DDIM_SPECTRUM
from lab.systems.memorization.laws.speciation import SPECIATION, SPECIATION_AGREEMENT, THREE_REGIMES
from lab.systems.memorization.laws.transition import TRANSITION
from lab.systems.memorization.laws.weights import WEIGHT_CROSSOVER_PRINTED, WEIGHT_INDEPENDENCE

__all__ = [
    "CLONE_AGREEMENT",
    "COLLAPSE",
    "COLLAPSE_BOUND",
    "COLLAPSE_WINDOW",
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
    "FITTED_PLATEAU",
    "FITTED_VARIANCE",
    "GEN_EXCESS",
    "GEN_EXCESS_PRINTED",
    "GMM_MMSE",
    "INIT_DEPENDENCE",
    "LABEL_CONFUSION",
    "LOW_RANK_MMSE",
    "MEM_BOUND",
    "METRIC_CHANCE",
    "NARROW_CLUSTERS",
    "NISHIMORI",
    "ODE_CONSERVED",
    "ODE_ENDPOINT",
    "ODE_HITS",
    "PLATEAU_LOSS",
    "PMEM_EXCESS",
    "PMEM_EXCESS_PRINTED",
    "RECALL",
    "SCALE_COVARIANCE",
    "SPECIATION",
    "SPECIATION_AGREEMENT",
    "TEMPLATE_MMSE",
    "THREE_REGIMES",
    "TRANSITION",
    "TWEEDIE",
    "TWO_POINTS",
    "TWO_POINT_DENOISER",
    "TWO_POINT_DENOISER_PRINTED",
    "WEIGHT_CROSSOVER_PRINTED",
    "WEIGHT_INDEPENDENCE",
]
