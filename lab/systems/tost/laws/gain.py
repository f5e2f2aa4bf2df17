"""What one step does to the signal-to-noise ratio: complete frames denoise, truncated heads do the opposite."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Limit
from lab.data.tokens import noisy_subspace_tokens
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Le, LogScale, Params
from lab.systems.tost import theory

DERIVED = "derived for this laboratory; not found in arXiv:2412.17810"


class Noisy(Params):
    """`per_class` tokens near each of `heads` orthogonal subspaces of dimension `rank` that fill the space.

    Noise of standard deviation `delta` on the foreign subspaces; a step of ``s = tau c/N = share (1 + c delta²)``, so
    that ``share = 1`` would remove the noise. The membership is the label, or the posterior (for ranks large enough
    that it is the label up to 1e-5).
    """

    heads: Annotated[int, Ge(2), Le(6)] = 4
    rank: Annotated[int, Ge(2), Le(32)] = 16
    per_class: Annotated[int, Ge(16), Le(8192)] = 100
    delta: Annotated[float, Ge(0.01), Le(0.5), LogScale()] = 0.1
    c: Annotated[float, Ge(0.1), Le(100.0), LogScale()] = 2.0
    share: Annotated[float, Ge(0.05), Le(0.9)] = 0.6
    membership: Literal["label", "posterior"] = "label"

    @model_validator(mode="after")
    def _posterior_is_sharp(self) -> Self:
        if self.membership == "posterior" and (self.rank < 12 or self.delta > 0.2):
            raise ValueError(
                f"rank={self.rank}, delta={self.delta}: with the posterior, tokens of small signal blur below rank 12 "
                'or above delta 0.2; change them, or take membership="label"'
            )
        return self

    @property
    def s(self) -> float:
        """Reduced step tau c/N."""
        return self.share * (1 + self.c * self.delta**2)


@measurement(paired=("share", "c"))
def gains(p: Noisy, stream, *, misaligned: bool = False, uniform: bool = False):
    """Gain of one layer, mean over clusters: with complete frames, and with truncated heads.

    `misaligned` turns all frames by a rotation of their own, `uniform` gives every token to all heads alike.
    """
    rng, dim = stream.numpy("tokens"), p.heads * p.rank
    tokens = noisy_subspace_tokens(rng, class_sizes=(p.per_class,) * p.heads, rank=p.rank, delta=p.delta, d=dim)
    Z, heads = tokens.Z, tokens.frames
    if p.membership == "posterior":
        signal = max(1 - p.delta**2, 0.0)
        weights = white_box.tssa_membership(Z, heads, scale=theory.posterior_scale(signal, p.delta**2))
    else:
        weights = np.eye(p.heads)[tokens.labels]
    if uniform:
        weights = np.full_like(weights, 1 / p.heads)
    basis = np.moveaxis(heads, 0, 1).reshape(dim, dim)
    if misaligned:
        basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
        heads = np.moveaxis(basis.reshape(dim, p.heads, p.rank), 1, 0)
    complete = np.broadcast_to(basis, (p.heads, dim, dim))
    layers = [
        Z + white_box.tssa(Z, np.ascontiguousarray(U), weights, tau=p.s * len(Z) / p.c, c=p.c)
        for U in (complete, heads)
    ]
    before, *after = (ratios(V, tokens) for V in (Z, *layers))
    return {"gains": np.array([np.mean(one / before) for one in after]), "before": before.mean()}


def ratios(Z: np.ndarray, tokens) -> np.ndarray:
    """Signal-to-noise ratio of the tokens of every cluster."""
    found = []
    for k, U in enumerate(tokens.frames):
        mine = Z[tokens.labels == k]
        own = mine @ U @ U.T
        found.append(np.linalg.norm(own) / np.linalg.norm(mine - own))
    return np.array(found)


def predicted_gains(p: Noisy, *, swapped: bool = False, power: float = 2.0) -> np.ndarray:
    """Complete, truncated; `swapped` promises the one for the other, `power` is that of delta (1: a slip)."""
    both = [theory.full_basis_gain(p.s, p.c, p.delta ** (power / 2)), theory.truncated_gain(p.s, p.c)]
    return np.array(both[::-1] if swapped else both)


def sizes(p: Noisy) -> np.ndarray:
    """16 to 256 tokens in a cluster"""
    return 2 ** np.arange(4, 9)


GAIN = Law(
    id="tost/gain",
    source=Source(DERIVED),
    statement="""
    Tokens near orthogonal subspaces (signal variance 1, noise delta² on the foreign subspaces), membership by label or
    posterior, s = tau c/N. In one layer the signal-to-noise ratio of a cluster changes, as it grows, by

        (1 - s/(1+c)) / (1 - s/(1 + c delta²)) > 1    complete frames, d x d, aligned with the subspaces;
        1 - s/(1+c) < 1                               truncated heads, d x p, the practical form.

    A truncated head shrinks what lies in it, the signal of its own tokens; their noise lies in heads in which they have
    no weight. So the practical layer lowers the ratio that complete frames raise.
    """,
    params=Noisy,
    predict=predicted_gains,
    measure=gains,
    claim=Limit(of="gains", along="per_class", order=1.0, axis=sizes, resolve=0.05),
    controls={
        "truncated heads taken for complete": but(predict=partial(predicted_gains, swapped=True)),
        "delta for delta^2": but(predict=partial(predicted_gains, power=1.0)),
        "frames in a random basis": but(measure=partial(gains, misaligned=True)),
        "no membership": but(measure=partial(gains, uniform=True)),
    },
    examples=(Noisy(), Noisy(membership="posterior"), Noisy(heads=2, rank=8, delta=0.05, c=20.0, share=0.76)),
    draws=Draws(shapes=0, replicates=8),
)
