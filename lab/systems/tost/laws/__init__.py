"""The laws of the system tost, one file per subject, as in `lab.systems.tost.theory`."""

from lab.systems.tost.laws.cost import COST_EXPONENTS, LINEAR_COST
from lab.systems.tost.laws.gain import GAIN
from lab.systems.tost.laws.gaps import GAP_CURVATURE, ROTATION_GAP, STRONG_CONCAVITY_PRINTED
from lab.systems.tost.laws.membership import MEMBERSHIP_POSTERIOR, MEMBERSHIP_POSTERIOR_PRINTED
from lab.systems.tost.laws.steps import DESCENT_EDGE, DESCENT_STEP, LMMSE_DENOISER, WIENER_STEP
from lab.systems.tost.laws.variational import (
    VARIATIONAL,
    VARIATIONAL_BOUND,
    VARIATIONAL_GRADIENT,
    VARIATIONAL_TANGENCY,
)

__all__ = [
    "COST_EXPONENTS",
    "DESCENT_EDGE",
    "DESCENT_STEP",
    "GAIN",
    "GAP_CURVATURE",
    "LINEAR_COST",
    "LMMSE_DENOISER",
    "MEMBERSHIP_POSTERIOR",
    "MEMBERSHIP_POSTERIOR_PRINTED",
    "ROTATION_GAP",
    "STRONG_CONCAVITY_PRINTED",
    "VARIATIONAL",
    "VARIATIONAL_BOUND",
    "VARIATIONAL_GRADIENT",
    "VARIATIONAL_TANGENCY",
    "WIENER_STEP",
]
