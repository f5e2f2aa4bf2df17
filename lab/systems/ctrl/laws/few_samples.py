"""Fewer samples than dimensions of a subspace."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, Params
from lab.systems.ctrl import theory

TESTS = 16  # new samples for each training set


class Few(Params):
    """n training samples of an isotropic Gaussian on a subspace of dimension d."""

    samples: Annotated[int, Ge(1), Le(12)] = 3
    dimension: Annotated[int, Ge(1), Le(12)] = 8


@measurement
def held_out(p: Few, stream, *, spread: float = 1.0, centred: bool = False):
    """Share of the energy of new samples outside the span of the training samples. The standard deviations of the d
    directions are geometric from `spread` to 1; `centred` takes the span around the mean of the training samples."""
    rng = stream.numpy("samples")
    scale = np.geomspace(spread, 1.0, p.dimension)
    training, new = (scale * rng.standard_normal((count, p.dimension)) for count in (p.samples, TESTS))
    if centred:
        training = training - training.mean(axis=0)
    basis = np.linalg.qr(training.T)[0][:, : p.samples - centred]
    outside = np.sum((new - new @ basis @ basis.T) ** 2, axis=1)
    return {"residual": np.mean(outside / np.sum(new**2, axis=1))}


def span_rounding(p: Few) -> float:
    """a share is the square of an error of d terms times the condition of Gaussian samples, which would have to exceed
    1/sqrt(epsilon) to make it larger than d² epsilons: for square matrices with probability below d sqrt(epsilon)"""
    return p.dimension**2


FEW_SAMPLES = Law(
    id="ctrl/few-samples-residual",
    source=Source("derived for this laboratory; not found in arXiv:2206.09120"),
    statement="""
    Everything holds with the rank min(n_j, d) of the samples in the place of the dimension d of their subspace. A
    decoder that spans n isotropic Gaussian samples leaves of new ones, in the mean, E ||(I - P)x||²/||x||² =
    max(0, 1 - n/d).
    """,
    params=Few,
    predict=lambda p: theory.held_out_residual(p.samples, p.dimension),
    measure=held_out,
    claim=Equality(of="residual", over="mean", rounding=span_rounding, scale=1.0),
    controls={
        "anisotropic samples": but(measure=partial(held_out, spread=0.05)),
        "span around the mean": but(measure=partial(held_out, centred=True)),
    },
    examples=(Few(), Few(samples=1), Few(samples=6), Few(samples=8)),
    draws=Draws(shapes=3, values=1, replicates=60),
)
