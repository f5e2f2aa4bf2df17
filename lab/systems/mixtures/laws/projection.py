"""What it costs not to know the component: exact at any noise, and its power law; the plain projection."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality, Limit, Rate
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import low_rank_denoisers
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mixtures import theory
from lab.systems.mixtures.laws.posterior import DERIVED

DRAWS = 4000
"""Samples of one replicate."""


class Subspaces(Params):
    """K orthogonal subspaces of rank p, variance 1, equal weights, in noise of standard deviation s."""

    p: Annotated[int, Ge(1), Le(8)] = 2
    heads: Annotated[int, Ge(2), Le(5)] = 2
    s: Annotated[float, Ge(1e-3), Le(1.0), LogScale()] = 0.2


class Two(Subspaces):
    """... two of them."""

    heads: Annotated[int, Ge(2), Le(2)] = 2


def distances(
    K: int, r: int, rng: np.random.Generator, noises, *, shrink: bool = True, power: float = 1.0
) -> np.ndarray:
    """Mean squared distance of the best denoiser from (a) the best that knows the label, (b) the plain projection.

    One row for each of `noises`; K subspaces of rank r. Confused samples are as small as the noise: half have
    coordinates of standard deviation 2 s, and all carry the ratio of densities. Without `shrink` the denoiser is the
    published one; `power` bends coordinates (1 is Gaussian).
    """
    frame = haar(rng, K * r + 1, K * r)  # one more dimension, which holds noise alone
    bases = np.moveaxis(frame.reshape(-1, K, r), 1, 0)
    labels = rng.integers(K, size=DRAWS)
    unit = rng.standard_normal((DRAWS, r))
    noise = rng.standard_normal((DRAWS, K * r + 1))
    U = bases[labels]
    rows = []
    for s in noises:
        narrow = min(2 * s, 1.0)
        a = np.where(np.arange(DRAWS)[:, None] % 2 == 0, narrow, 1.0) * unit
        square = np.sum(a**2, axis=1)
        ratio = 0.5 + 0.5 * narrow**-r * np.exp(-square / 2 * (narrow**-2 - 1))  # proposed over Gaussian density
        a = a * (square[:, None] / r) ** ((power - 1) / 2)
        z = (U @ a[..., None])[..., 0] + s * noise
        if shrink:
            best = low_rank_denoisers.posterior_mean(z, bases, np.ones((K, r)), 1.0, s)
        else:
            best = theory.posterior_mean(z, bases, np.ones((K, r)), np.ones(K), s**2, shrink=False)
        plain = (U @ (np.swapaxes(U, 1, 2) @ z[..., None]))[..., 0]
        rows.append([np.mean(np.sum((best - other) ** 2, axis=1) / ratio) for other in (plain / (1 + s**2), plain)])
    return np.array(rows)


# ---------------------------------------------------------------------- at any noise


@measurement(paired=("s",))
def excesses(p: Two, stream, *, shrink: bool = True, power: float = 1.0):
    """Both distances at one noise, over ``p s²``, the error with a known label."""
    found = distances(p.heads, p.p, stream.numpy("samples"), [p.s], shrink=shrink, power=power)[0]
    return {"excess": found / (p.p * p.s**2)}


def predicted_excesses(p: Two) -> np.ndarray:
    return np.array([theory.label_excess(p.p, p.s), theory.plain_excess(p.p, p.s)]) / (p.p * p.s**2)


LABEL_EXCESS = Law(
    id="mixtures/label-excess",
    source=Source(DERIVED),
    statement="""
    Two orthogonal subspaces of rank p (variance 1, equal weights) in noise of any s: mean squared distance of the
    posterior mean from the best denoiser that knows the label, and from the plain projection on the true subspace,

        E[r² (A_1 + A_2)]/(1+s²)²,    E[(k r + 1 - k)² A_1 + k² r² A_2], k = 1/(1+s²),
        A_1 ~ (1+s²) chi²_p, A_2 ~ s² chi²_p, r = 1/(1 + exp((A_1 - A_2)/(2 s² (1+s²)))),

    double integrals over two chi-square variables. Measured on samples, in units of p s².
    """,
    params=Two,
    predict=predicted_excesses,
    measure=excesses,
    claim=Equality(of="excess", over="mean", scale=predicted_excesses, resolve=0.1),
    controls={
        "denoiser without shrinkage": but(measure=partial(excesses, shrink=False)),
        "coordinates denser near 0": but(measure=partial(excesses, power=2.0)),
        "first order in s": but(predict=lambda p: np.array(
            [theory.excess_constant(p.p) * p.s**p.p / p.p, theory.plain_excess(p.p, p.s) / (p.p * p.s**2)])),
    },
    examples=(Two(p=1), Two(p=2, s=0.5), Two(p=3, s=0.1), Two(p=8, s=0.3)),
    draws=Draws(shapes=4, values=1, replicates=24),
)  # fmt: skip


# ---------------------------------------------------------------------- power laws


INVERSE_NOISES = np.geomspace(4, 200, 9)


@measurement
def decays(p: Subspaces, stream, *, power: float = 1.0, more: int = 0):
    """Both distances at s = 1/4 to 1/200, from the same samples; `more` adds subspaces."""
    found = distances(p.heads + more, p.p, stream.numpy("samples"), 1 / INVERSE_NOISES, power=power)
    return {"sharpness": INVERSE_NOISES, "labels": found[:, 0], "plain": found[:, 1]}


def constant(p: Subspaces, *, exponent: int = 2):
    """C_p s^(p + exponent) as a function of 1/s."""
    C = theory.excess_constant(p.p)
    return lambda x: C * x ** -(p.p + exponent)


class Decay(Two):
    """... s has no meaning here: it goes to zero."""

    p: Annotated[int, Ge(1), Le(4)] = 2


PROJECTION_RATE = Law(
    id="mixtures/projection-rate",
    source=Source(DERIVED),
    statement="""
    Two orthogonal subspaces of rank p, variance 1: as the noise s goes to 0 the cost of not knowing the label is

        E|D - D_or|² = C_p s^(p+2) (1 + O(s²)),
        C_p = (2 pi)^(-p/2) int dy E_v[(|y|²+v)/(1 + e^((|y|²-v)/2))²], v ~ chi²_p,

    C_1 = 1.223350, C_2 = 4.417523, C_3 = 12.159581: only samples as small as the noise are confused.
    """,
    params=Decay,
    predict=constant,
    measure=decays,
    claim=Limit(of="labels", along="sharpness", order=2.0, resolve=0.1),
    controls={
        "exponent p + 1": but(predict=partial(constant, exponent=1)),
        "twice the constant": but(predict=lambda p: lambda x: 2 * constant(p)(x)),
        "three subspaces": but(measure=partial(decays, more=1)),
    },
    examples=(Decay(p=1), Decay(p=2), Decay(p=3)),
    draws=Draws(shapes=0, replicates=40),
)  # fmt: skip

EXCESS_EXPONENT = Law(
    id="mixtures/excess-exponent",
    source=Source(DERIVED),
    statement="""
    For any number of orthogonal subspaces of rank p the cost of not knowing the component falls as s^(p+2); the
    constant depends on their number. Coordinates that are denser near 0 (control) have another exponent.
    """,
    params=Subspaces,
    predict=lambda p: -float(theory.excess_exponent(p.p)),
    measure=decays,
    claim=Rate(of="labels", along="sharpness", order=2.0, resolve=0.1),
    controls={
        "coordinates denser near 0": but(measure=partial(decays, power=2.0)),
        "exponent p + 1": but(predict=lambda p: -float(theory.excess_exponent(p.p)) + 1),
    },
    examples=(Subspaces(p=1, heads=3), Subspaces(p=2, heads=5), Subspaces(p=3, heads=2)),
    draws=Draws(shapes=0, replicates=24),
)

PLAIN_EXPONENT = Law(
    id="mixtures/plain-projection-exponent",
    source=Source(DERIVED),
    statement="""
    The best denoiser approaches the plain projection on the true subspace as s^min(4, p+2): for rank 1 unknown labels
    dominate (s³), beyond rank 2 the missing shrinkage p s⁴/(1+s²), and at rank 2 both are of order s⁴.
    """,
    params=Subspaces,
    predict=lambda p: -float(theory.plain_exponent(p.p)),
    measure=decays,
    claim=Rate(of="plain", along="sharpness", order=1.0, resolve=0.1),
    controls={"exponent p + 2": but(predict=lambda p: -float(theory.excess_exponent(p.p)))},
    examples=(Subspaces(p=1), Subspaces(p=2), Subspaces(p=3, heads=3), Subspaces(p=8)),
    draws=Draws(shapes=0, replicates=24),
)
