"""How correlated generated subspaces are."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Limit
from lab.data.game_subspaces import correlated_bases
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, Params
from lab.systems.ctrl import theory
from lab.systems.ctrl.laws.multiple_subspaces import DERIVED

DIMS = np.array([8, 16, 32, 64, 128])


class Correlated(Params):
    """Noise of squared norm ``noise`` times that of the shared part: alpha² d_x = noise (1 - alpha)²."""

    noise: Annotated[float, Ge(0.05), Le(5.0), LogScale()] = 0.6

    def alpha(self, data_dim) -> np.ndarray:
        root = np.sqrt(self.noise / data_dim)
        return root / (1 + root)


@measurement
def cosine(p: Correlated, stream, *, classes: int = 30, separate: bool = False):
    """Mean inner product of columns of `classes` classes with one column each, which share their direction, along d_x;
    `separate`: of two columns of one class, which do not."""
    rng, found = stream.numpy("bases"), []
    for d_x, alpha in zip(DIMS, p.alpha(DIMS), strict=True):
        if separate:
            pairs = [correlated_bases(rng, d_x=int(d_x), ds=(2,), alpha=alpha)[0] for _ in range(classes)]
            found.append(np.mean([U[:, 0] @ U[:, 1] for U in pairs]))
            continue
        U = np.concatenate(correlated_bases(rng, d_x=int(d_x), ds=(1,) * classes, alpha=alpha), axis=1)
        inner = U.T @ U
        found.append((inner.sum() - np.trace(inner)) / (classes * (classes - 1)))
    return {"d_x": DIMS.astype(float), "cosine": np.array(found)}


def limit(p: Correlated, *, miscount: int = 0) -> np.ndarray:
    """The limit, with the dimension miscounted by a factor 1 + `miscount`."""
    return np.array([theory.mean_cosine(a, int(d) * (1 + miscount)) for a, d in zip(p.alpha(DIMS), DIMS, strict=True)])


GENERATOR_OVERLAP = Law(
    id="ctrl/generator-overlap",
    source=Source(DERIVED),
    statement="""
    Two columns (1 - alpha) u + alpha g of different classes that share u, normalised, have the mean cosine

        (1 - alpha)²/((1 - alpha)² + alpha² d_x)  +  O(1/d_x),

    so alpha = .1 in 50 dimensions still means angles of 52 degrees. (At constant alpha² d_x; the next term is s a
    (a - s/2 + alpha²)/(d_x (a + s)³), a = (1 - alpha)², s = alpha² d_x.)
    """,
    params=Correlated,
    predict=limit,
    measure=cosine,
    claim=Limit(of="cosine", along="d_x", order=1.0, resolve=0.1),
    controls={
        "twice the dimension": but(predict=partial(limit, miscount=1)),
        "columns of one class": but(measure=partial(cosine, separate=True)),
    },
    examples=(Correlated(noise=0.5 / 0.81), Correlated(noise=2.0)),
    draws=Draws(shapes=0, replicates=60),
)
