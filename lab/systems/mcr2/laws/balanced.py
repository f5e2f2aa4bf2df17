"""Unit rows in classes of equal size: the largest rate reduction without a bound on ranks."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, Params
from lab.systems.mcr2 import theory
from lab.systems.mcr2.laws.constrained import DERIVED, sphere_ascent


class Balanced(Params):
    """K classes of ``q + spare`` unit rows in dimension ``d = K q``; eps is `fraction` of the largest admissible one.

    For q = 1 there is no largest one: 3 takes its place.
    """

    classes: Annotated[int, Ge(2), Le(4)] = 3
    q: Annotated[int, Ge(1), Le(4)] = 2
    spare: Annotated[int, Ge(0), Le(4)] = 2
    fraction: Annotated[float, Ge(0.05), Le(1.0)] = 0.7

    @property
    def per(self) -> int:
        return self.q + self.spare

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.per,) * self.classes

    @property
    def dim(self) -> int:
        return self.classes * self.q

    @property
    def eps(self) -> float:
        return self.fraction * min(3.0, theory.balanced_largest_eps(self.classes, self.dim))


@measurement
def unit_rows(p: Balanced, stream, *, random: int = 8, stretch: float = 1.0, power: float = 2.0):
    """Highest Delta R of unit rows met, and the share of Gaussian starts that reach it.

    Starts: Gaussian rows; rows of class k confined to their own r of d dimensions, r = 1 ... q; the best of these,
    perturbed. `stretch` multiplies eps and `power` is that of eps in the rate (1 and 2 in the law).
    """
    rng, n, eps = stream.numpy("starts"), p.classes * p.per, (stretch * p.eps) ** (power / 2)
    blocks, anywhere = (1,) * n, np.ones((n, p.dim))
    gaussian, _ = sphere_ascent(rng.standard_normal((random, n, p.dim)), anywhere, p.sizes, blocks, eps)
    column = np.arange(p.dim) - p.q * (np.arange(n) // p.per)[:, None]
    own = (column >= 0) & (column < np.arange(1, p.q + 1)[:, None, None])
    confined, found = sphere_ascent(rng.standard_normal((p.q, n, p.dim)), own, p.sizes, blocks, eps)
    best = found[np.argmax(confined)]
    shaken = np.stack([best, best + 1e-2 * rng.standard_normal(best.shape)])
    polished, _ = sphere_ascent(shaken, anywhere, p.sizes, blocks, eps)
    highest = max(gaussian.max(), polished.max())
    return {"maximum": highest, "attained": float(np.mean(gaussian > highest - 1e-9 * highest))}


def isotropic_value(p: Balanced, *, stretch: float = 1.0) -> float:
    """The closed form, wherever it applies or not."""
    return p.dim / 2 * float(theory.rate_gain((stretch * p.eps) ** -2, 1 / p.classes))


def ascent_rounding(p: Balanced) -> float:
    """rounding of log-determinants of the whole and of each class, of matrices of size up to N + d and energy c
    (ascent ends within 1e-22 of a local maximum)"""
    return (1 + p.classes) * theory.rate_rounding(p.classes * p.per + p.dim, p.dim / p.eps**2)


BALANCED_OPTIMUM = Law(
    id="mcr2/balanced-optimum",
    source=Source(DERIVED),
    statement="""
    Unit rows in K classes of equal size N/K >= q = d/K, without any bound on ranks, have

        max Delta R = (d/2) [log(1 + eps^-2) - (1/K) log(1 + K eps^-2)]

    iff eps^2 <= q/C_(q-1)(1/K) (mcr2/rank-staircase; no condition for q = 1): orthogonal classes of rank q with equal
    singular values. eps^2 <= 1/u_t(1/K) (1.405 for ten classes) suffices for every q, and then bounds Delta R for
    ||Z||_F^2 = N however rows and classes share it. Beyond, fewer directions are better.
    """,
    params=Balanced,
    predict=lambda p: theory.balanced_maximum(p.per, p.classes, p.dim, eps=p.eps),
    measure=unit_rows,
    claim=Equality(of="maximum", over="max", rounding=ascent_rounding),
    controls={
        "beyond the largest eps by 5 %": but(
            measure=partial(unit_rows, stretch=1.05 / 0.7), predict=partial(isotropic_value, stretch=1.05 / 0.7)
        ),
        "classes coded with alpha of the whole": but(predict=lambda p: p.dim / 2 * (1 - 1 / p.classes)
                                                     * float(np.log1p(p.eps**-2))),
        "eps for eps^2": but(measure=partial(unit_rows, power=1.0)),
    },
    examples=(Balanced(), Balanced(q=4, spare=1, fraction=1.0), Balanced(classes=2, q=1, fraction=1.0)),
    draws=Draws(shapes=3, values=1),
)  # fmt: skip
