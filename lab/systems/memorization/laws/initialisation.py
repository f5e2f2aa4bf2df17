"""Where training starts decides whether a trained model copies at all below M = N."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

from pydantic import model_validator

from lab.claims import Classification
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le
from lab.systems.memorization import dynamics
from lab.systems.memorization.laws.transition import (
    DERIVED,
    TURN,
    Training,
    first_state,
    observables,
    optimiser,
)
from lab.systems.memorization.theory.initialisation import BOUNDARY, own_mean_share

NAMES = {
    (1.0, 0.0, 0.0): "training points", (1.0, 0.0, 0.1): "+ noise v/10", (1.0, 0.0, 0.5): "+ noise v/2",
    (0.5, 0.5, 0.0): "half-way to class mean", (1.0, 0.0, 3.0): "+ noise 3v", (0.0, 1.0, 1.0): "fresh samples",
    (0.0, 1.0, 0.01): "class means", (0.0, 0.0, 1.0): "Gaussian at 0",
}  # fmt: skip


def share_kept(p: Start) -> float:
    """Share of training points whose own first mean is the nearest, for the largest model."""
    return own_mean_share(p.point, p.noise, p.d, max(p.sizes) / p.K - 1)


class Start(Training):
    """Models whose first means are ``point x_i + centre mu_k + sqrt(noise v) g``: x_i a training point, mu_k its mean.

    Either the two weights add up to 1, or both are 0 (means around the origin). In 30 or more dimensions: in few,
    fresh means come close to training points. Starts of which between 65 and 98 per cent keep their own mean as the
    nearest (noise between point/2 and d/10) are left out.
    """

    d: Annotated[int, Ge(30), Le(120)] = 30
    K: Annotated[int, Ge(1), Le(50)] = 2
    N: Annotated[int, Ge(8), Le(400)] = 24
    shares: tuple[float, ...] = (0.75, 0.917)
    point: Annotated[float, Ge(0.0), Le(1.0)] = 1.0
    centre: Annotated[float, Ge(0.0), Le(1.0)] = 0.0
    noise: Annotated[float, Ge(0.0), Le(10.0)] = 0.0

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if abs(self.point + self.centre - 1) > 1e-9 and (self.point, self.centre) != (0.0, 0.0):
            raise ValueError(f"point={self.point} and centre={self.centre}: must add up to 1, or both be 0")
        if self.point == 0 and self.noise == 0:
            raise ValueError("point=0, noise=0: all means of a cluster would coincide; give noise")
        # own_mean_share says it exactly; this is checked whenever a point is made, so it has to be cheap
        few = self.noise < self.d / 10 or max(self.sizes) < 10 * self.K
        if self.point > 0 and self.noise > self.point / 2 and few:
            raise ValueError(
                f"noise={self.noise} on starts that know the points: must be at most point/2, or at least d/10 with 10 "
                "or more means per cluster; between, some data sets give copies and others none"
            )
        return self


@measurement(runs="jax", precision="float32", turns=lambda p: p.steps // TURN)
def training_from(p: Start, stream, state=None, *, forget: float = 0.0):
    """Training from the start of `p`; ``forget=1`` replaces it by fresh samples of the truth, whatever `p` says."""
    if state is None:
        point, centre, noise = ((1 - forget) * a + forget * b for a, b in
                                zip((p.point, p.centre, p.noise), (0.0, 1.0, 1.0), strict=True))  # fmt: skip
        x, means = first_state(p, stream, point, centre, noise)
        return {"x": x, "fit": tuple(dynamics.fit_start(optimiser(p), means, len(p.sizes), p.std))}
    times = dynamics.published_times()
    fit = dynamics.advance(
        dynamics.Fit(*state["fit"]), optimiser(p), state["x"], stream.jax("noise"), dynamics.log_priors(p.sizes),
        steps=TURN, draws=p.draws, times=times, weights=dynamics.weighting(p.weight, times),
    )  # fmt: skip
    return {"x": state["x"], "fit": tuple(fit)}


@training_from.observe
def copies_from(p: Start, stream, state):
    """`copies` at c = 1/9 by size, and whether more than half of the samples of the largest model are copies."""
    seen = observables(p, dynamics.Model(*state["fit"][0]), state["x"], stream.jax("samples"))
    copies = seen["copies"][:, 1]
    return {"m": seen["m"], "copies": copies, "copied": copies[-1] > 0.5, "ratio": seen["ratio"]}


INIT_DEPENDENCE = Law(
    id="memorization/init-dependence",
    source=Source(DERIVED),
    statement="""
    A trained model copies below M = N only if nearly every chosen training point starts with its own mean as the
    nearest. Training points moved half-way to their class mean, or by noise of variance up to v/2, keep nearly all of
    them and copy like training points; noise of variance 3 v, fresh samples of the truth, class means and Gaussian
    means lose a third of them or more, and at M = .92 N fewer than half of the samples are copies (c = 1/9), mostly
    none. The boundary at 85 % is heuristic: where between 65 and 98 % keep their own mean (noise of variance v in 30
    dimensions: 98 %) some data sets give copies and others do not, and nothing is claimed. In 30 or more dimensions.
    So a transition plot means nothing without its initialisation.
    """,
    params=Start,
    predict=lambda p: share_kept(p) > BOUNDARY,
    measure=training_from,
    claim=Classification(of="copied", distance=lambda p: share_kept(p) / BOUNDARY - 1, resolve=0.5),
    controls={
        "fresh samples instead": but(measure=partial(training_from, forget=1.0), examples=(Start(), Start(noise=0.5))),
        "any start will do": but(predict=lambda p: True),
        "only training points will do": but(predict=lambda p: p.point == 1 and p.noise == 0),
    },
    examples=tuple(Start(point=a, centre=b, noise=n) for a, b, n in NAMES),
    draws=Draws(shapes=0, replicates=6),
)  # fmt: skip
