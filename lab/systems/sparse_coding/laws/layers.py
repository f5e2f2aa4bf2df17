"""Layered pursuit: codes of codes, found one layer after the other."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Equality
from lab.data.convolutional import (
    deconvolution_signal,
    dictionary,
    filter_bank,
    patch_norm,
    spaced_atoms,
    stripe_sparse_codes,
)
from lab.errors import InputError
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import convolutional_coding as coding
from lab.params import Ge, Le, LogScale, Params
from lab.systems.sparse_coding import theory
from lab.systems.sparse_coding.laws.recovery import incoherent_bank

PRE = Source("arXiv:1607.08194", "theorem on layered basis pursuit")


class Layered(Params):
    """Two layers: sign filters of length n_1 with coherence below 1/2; atoms of three entries, 2n_1 - 1 apart at least.

    One nonzero per stripe of the second code; then the first has one per stripe, too.
    """

    count: Annotated[int, Ge(1), Le(2)] = 2
    size: Annotated[int, Ge(21), Le(27)] = 21
    deep: Annotated[int, Ge(1), Le(2)] = 2
    deep_size: Annotated[int, Ge(93), Le(120)] = 93
    stripes: Annotated[int, Ge(2), Le(3)] = 2
    noise: Annotated[float, Ge(1e-4), Le(1e-2), LogScale()] = 1e-3

    @model_validator(mode="after")
    def _atoms_fit(self) -> Self:
        if self.deep_size < 4 * self.size + 9:
            raise ValueError(f"deep_size={self.deep_size} must be at least {4 * self.size + 9}: three spaced entries")
        return self

    @property
    def length(self) -> int:
        return self.stripes * (2 * self.deep_size - 1)


def layered(p: Layered, stream) -> dict[str, np.ndarray]:
    """Banks of both layers, codes of both, the signal, and noise with the norm of its patches."""
    rng = stream.numpy("layered")
    first = incoherent_bank(rng, p.count, p.size)
    second = spaced_atoms(rng, count=p.deep, channels=p.count, size=p.deep_size, spacing=2 * p.size - 1)
    codes = stripe_sparse_codes(rng, count=p.deep, length=p.length, size=p.deep_size, per_stripe=1, amplitude="uniform")
    signal, middle, deepest = deconvolution_signal(codes, [first, second])
    noise = p.noise * rng.standard_normal(signal.shape)
    return {"first": first, "second": second, "middle": middle, "deepest": deepest, "signal": signal, "noise": noise,
            "level": patch_norm(noise, p.size)}  # fmt: skip


def crowded(data, rng: np.random.Generator):
    """The same problem with Gaussian atoms in the second layer: bank, first code and signal."""
    maps, channels, size = data["second"].shape
    second = filter_bank(rng, count=maps, size=size, channels=channels)
    signal, middle, _ = deconvolution_signal(data["deepest"], [data["first"], second])
    return second, middle, signal


@measurement
def pursued_layers(p: Layered, data, stream, *, dense: bool = False):
    """Largest error of each code after basis pursuit in one layer, then in the next; with `dense` atoms on request.

    A code outside the range of the next dictionary has no solution there; zero stands for it.
    """
    second, middle, signal = data["second"], data["middle"], data["signal"]
    if dense:
        second, middle, signal = crowded(data, stream.numpy("atoms"))
    found, apart = signal.ravel(), []
    for bank, codes in ((data["first"], middle), (second, data["deepest"])):
        try:
            found = coding.basis_pursuit(found, dictionary(bank, p.length))
        except InputError:  # seen after a wrong first code
            found = np.zeros(codes.size)
        apart.append(np.max(np.abs(found - codes.ravel())))
    return np.array(apart)


def feasibility(p: Layered) -> np.ndarray:
    """the linear program leaves up to 1e-7 in each of its N, then M_1 N equations; supports have orthogonal columns in
    both layers, so the code of a layer is off by the norm of that and of the code before"""
    first = 1e-7 * np.sqrt(p.length)
    return np.array([first, 1e-7 * np.sqrt(p.count * p.length) + first])


LAYERED_PURSUIT = Law(
    id="sparse_coding/layered-pursuit",
    source=PRE,
    statement="""
    For ``x = D_1 D_2 gamma_2``, ``gamma_1 = D_2 gamma_2``: if gamma_i has fewer than (1 + 1/mu(D_i))/2 nonzeros in
    every stripe of its layer, basis pursuit layer by layer recovers all codes exactly. Measured: largest errors.
    """,
    params=Layered,
    situation=layered,
    predict=lambda p: [0.0, 0.0],
    measure=pursued_layers,
    claim=Equality(stated=feasibility, scale=1.0),
    controls={
        "dense atoms in the second layer": but(measure=partial(pursued_layers, dense=True), examples=(Layered(),)),
    },
    examples=(Layered(), Layered(count=1, deep=1, size=23, deep_size=105)),
    draws=Draws(shapes=0),
)


@measurement
def denoised_layers(p: Layered, data, stream, *, dense: bool = False, penalty: float = 1.0):
    """Errors of entries over 7.5 eps_{i-1} and of patches over eps_i in both layers, and numbers of false entries.

    `penalty` multiplies the theorem's lam_i. With `dense` atoms counts, and so bounds, are those of the dense code.
    """
    second, middle, signal = data["second"], data["middle"], data["signal"]
    if dense:
        second, middle, signal = crowded(data, stream.numpy("atoms"))
    bounds = bounds_of(p, middle, data["deepest"], float(data["level"]))
    found, entries, patches, false = signal + data["noise"], [], [], []
    layers = ((data["first"], middle, p.deep_size), (second, data["deepest"], 1))
    for i, (bank, codes, patch) in enumerate(layers):
        found = coding.lasso(found, bank, lam=penalty * float(bounds.penalties[i])).codes
        entries.append(np.max(np.abs(found - codes)) / bounds.entries[i])
        patches.append(patch_norm(found - codes, patch) / bounds.patches[i])
        false.append(float(np.sum((found != 0) & (codes == 0))))
    return {"errors": np.array(entries + patches), "false": np.array(false)}


def bounds_of(p: Layered, middle: np.ndarray, deepest: np.ndarray, level: float) -> theory.LayerBounds:
    """The theorem's bounds for these codes and this patch norm of the noise."""
    pairs = ((middle, p.deep_size), (deepest, 1))
    counts = [patch_norm((codes != 0).astype(float), patch) ** 2 for codes, patch in pairs]
    return theory.layered_bounds(level, counts)


def lasso_units(p: Layered) -> float:
    """exact solutions on supports with orthogonal columns, numbers up to 2, over errors of at least the noise"""
    return 200.0 * p.deep_size / p.noise


LAYERED_NOISE = Law(
    id="sparse_coding/layered-noise",
    source=PRE,
    statement="""
    Noise whose patches (n_1 entries) have norm at most eps_0, fewer than (1 + 1/mu(D_i))/3 nonzeros in every stripe of
    layer i, Lasso after Lasso with lam_i = 4 eps_{i-1}, eps_i = 7.5 eps_{i-1} sqrt(nonzeros in a patch of gamma_i):
    entries of layer i are within 7.5 eps_{i-1}, patches within eps_i. A patch of gamma_i is n_{i+1} shifts of all its
    maps (one shift in the last layer). Measured: errors over their bounds, entries then patches.
    """,
    params=Layered,
    situation=layered,
    predict=lambda p: [1.0] * 4,
    measure=denoised_layers,
    claim=Bound(of="errors", side="upper", rounding=lasso_units),
    controls={"three times the penalties": but(measure=partial(denoised_layers, penalty=3.0))},
    examples=LAYERED_PURSUIT.examples,
    draws=Draws(shapes=4, values=2),
)

LAYERED_SUPPORT = Law(
    id="sparse_coding/layered-support",
    source=PRE,
    statement="""
    In the setting of sparse_coding/layered-noise no layer finds an entry off the support of its code. Measured:
    numbers of false entries.
    """,
    params=Layered,
    situation=layered,
    predict=lambda p: [0.0, 0.0],
    measure=denoised_layers,
    claim=Equality(of="false", scale=1.0),
    controls={
        "a sixteenth of the penalties": but(measure=partial(denoised_layers, penalty=1 / 16),
                                            examples=(Layered(noise=1e-2),), draws=Draws(shapes=0)),
        "dense atoms in the second layer": but(measure=partial(denoised_layers, dense=True), examples=(Layered(),),
                                               draws=Draws(shapes=0)),
    },
    examples=LAYERED_PURSUIT.examples,
    draws=Draws(shapes=4, values=2),
)
