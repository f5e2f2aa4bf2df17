"""The width that training settles at: the residual of the training points about the trained means."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.law import Draws, Law, Source, but
from lab.params import Ge, Le
from lab.systems.memorization import theory
from lab.systems.memorization.laws.transition import DERIVED, FEW, LOSS_SNR, SMALL, Training, training
from lab.systems.memorization.theory.plateau import settled_ratio


def predicted_ratio(p: Training) -> np.ndarray:
    """Fitted variance over residual variance, one per size."""
    return settled_ratio(np.asarray(p.sizes) / p.N)


def fitted_over_truth(p: Training) -> np.ndarray:
    """The ratio if the width were that of the clusters: v/u."""
    return p.v / theory.fitted_variance(np.asarray(p.sizes) / p.N, p.d, p.K, p.N, v=p.v)


def soft_assignment(p: Training) -> float:
    """hard assignment is part of the statement, claimed within 3 %: where noise is strong enough to confuse means, a
    point's residual counts towards several of them"""
    return 0.03


FITTED_PLATEAU = Law(
    id="memorization/fitted-plateau",
    source=Source(DERIVED),
    statement="""
    Under hard assignment with residual variance u (mean squared distance per coordinate of training points to their
    nearest mean), a mixture of one shared variance w has x0-loss d(u + psi w²)/(1 + psi w)², least at w = u for every
    signal-to-noise ratio psi, hence for every weighting, where it is d u/(1 + psi u). Training ends there: the fitted
    variance is that of the residual about the trained means, on average over data sets within 3 % at each size. No
    distribution enters: only that left-out points join means.
    """,
    params=Training,
    predict=predicted_ratio,
    measure=training,
    claim=Equality(of="ratio", over="mean", stated=soft_assignment, resolve=0.1),
    controls={
        "variance of the clusters": but(predict=fitted_over_truth),
        "stopped early": but(examples=(SMALL.replace(steps=500, rate=1e-3),)),
    },
    examples=(FEW,),
    draws=Draws(shapes=0, replicates=8),
)


def loss_without_shrinkage(p: Training) -> np.ndarray:
    """The ratio if the loss were d u, that of the nearest mean: 1 + psi u."""
    return 1 + LOSS_SNR * theory.fitted_variance(np.asarray(p.sizes) / p.N, p.d, p.K, p.N, v=p.v)


def loss_of_the_truth(p: Training) -> np.ndarray:
    """The ratio if the loss were the generaliser's, d v/(1 + psi v)."""
    u = theory.fitted_variance(np.asarray(p.sizes) / p.N, p.d, p.K, p.N, v=p.v)
    return theory.plateau_loss(p.v, p.d, LOSS_SNR) / theory.plateau_loss(u, p.d, LOSS_SNR)


PLATEAU_LOSS = Law(
    id="memorization/plateau-loss",
    source=Source(DERIVED),
    statement="""
    A trained mixture's x0-loss on its training points is d u/(1 + psi u), u the residual variance about its means: on
    average over data sets within 3 % at psi = 6.7, where assignment is hard. That is below the generaliser's
    d v/(1 + psi v) at every size with u < v, so no loss crosses along the trained family: the published reading, two
    losses that cross at the transition, does not describe these models.
    """,
    params=Training,
    predict=predicted_ratio,
    measure=training,
    claim=Equality(of="loss ratio", over="mean", stated=soft_assignment, resolve=0.1),
    controls={
        "loss of the truth": but(predict=loss_of_the_truth),
        "distance to the nearest mean": but(predict=loss_without_shrinkage),
    },
    examples=(FEW,),
    draws=Draws(shapes=0, replicates=8),
)


class Large(Training):
    """Models of .7 N means and more, in 30 or more dimensions: left-out points join one by one."""

    d: Annotated[int, Ge(30), Le(120)] = 30
    shares: tuple[float, ...] = (0.7, 0.8, 0.9)

    @model_validator(mode="after")
    def _few_join(self) -> Self:
        if self.shares and min(self.shares) < 0.7:
            raise ValueError(f"shares={self.shares}: must be .7 or more; below, many points share a mean")
        return self


def predicted_variance(p: Large) -> np.ndarray:
    """Variance that training settles at, one per size."""
    return theory.fitted_variance(np.asarray(p.sizes) / p.N, p.d, p.K, p.N, v=p.v)


def joined_one_by_one(p: Large) -> np.ndarray:
    """points that join in twos and threes, and clusters of unequal size, are left out of the picture: claimed within
    a quarter, for d >= 30 and sizes from .7 N on"""
    return 0.25 * predicted_variance(p)


FITTED_VARIANCE = Law(
    id="memorization/fitted-variance",
    source=Source(DERIVED),
    statement="""
    Trained from M = m N of its N points, a mixture settles at the variance u(m) = v (1-m) C_inf(d, m N/K)/2: each
    left-out point joins its nearest mean, one of m N/K, and the centroid of a pair halves the squared distance. C_inf
    is the mean squared distance to the nearest of that many points, per coordinate and variance; as d grows u tends to
    v (1-m). Claimed within a quarter for d >= 30 and m >= .7: several points may join one mean, and clusters differ.
    """,
    params=Large,
    predict=predicted_variance,
    measure=training,
    claim=Equality(of="variance", over="mean", stated=joined_one_by_one, resolve=0.5),
    controls={
        "mean does not move": but(predict=lambda p: 2 * predicted_variance(p)),
    },
    examples=(Large(K=2, N=32, shares=(0.72, 0.84)),),
    draws=Draws(shapes=0, replicates=16),
)
