"""Membership of tokens in heads: the softmax that is a posterior, and the published temperature, which is not."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Le, LogScale, Params
from lab.systems.tost import theory

T24 = "arXiv:2412.17810"


class Mixture(Params):
    """Equally likely ``N(0, s U_k U_k^T + eta I)`` in R^dim, U_k orthonormal frames of the same rank; ``s = snr eta``.

    The frames are independent and random: they may overlap, and need not fill the space.
    """

    heads: Annotated[int, Ge(1), Le(5)] = 3
    dim: Annotated[int, Ge(1), Le(10)] = 6
    rank: Annotated[int, Ge(1), Le(10)] = 2
    n: Annotated[int, Ge(1), Le(20)] = 10
    snr: Annotated[float, Ge(1e-2), Le(1e3), LogScale()] = 5.0
    eta: Annotated[float, Ge(1e-2), Le(10.0), LogScale()] = 0.3

    @model_validator(mode="after")
    def _rank_fits(self) -> Self:
        if self.rank > self.dim:
            raise ValueError(f"rank={self.rank} exceeds dim={self.dim}; lower rank or raise dim")
        return self

    @property
    def s(self) -> float:
        return self.snr * self.eta


def mixture(p: Mixture, stream) -> dict[str, np.ndarray]:
    """Frames (K, d, p) and tokens (n, d), the latter from the mixture itself."""
    rng = stream.numpy("mixture")
    U = np.stack([haar(rng, p.dim, p.rank) for _ in range(p.heads)])
    chosen = U[rng.integers(p.heads, size=p.n)]
    signal = np.sqrt(p.s) * (chosen @ rng.standard_normal((p.n, p.rank, 1)))[..., 0]
    return {"U": U, "Z": signal + np.sqrt(p.eta) * rng.standard_normal((p.n, p.dim))}


@measurement
def densities(p: Mixture, data, stream, *, spread: float = 0.0):
    """Posterior from the Gaussian densities, with full covariances; `spread` makes the signal's spectrum uneven."""
    U, Z = data["U"], data["Z"]
    spectrum = p.s * (1 + spread * np.linspace(-1, 1, p.rank))
    covariance = (U * spectrum) @ U.mT + p.eta * np.eye(p.dim)
    distance = np.sum(Z.T * np.linalg.solve(covariance, Z.T), axis=1)  # (K, n)
    logs = -0.5 * (distance + np.linalg.slogdet(covariance).logabsdet[:, None])
    likelihood = np.exp(logs - logs.max(0))
    return {"posterior": (likelihood / likelihood.sum(0)).T}


def softmax(p: Mixture, data, *, published: bool = False) -> np.ndarray:
    scale = theory.published_scale(p.eta) if published else theory.posterior_scale(p.s, p.eta)
    return white_box.tssa_membership(data["Z"], data["U"], scale=scale)


def posterior_units(p: Mixture, data) -> float:
    """logits up to |z|²/(2 eta) by a solve with condition number 1 + snr: off by 8 d (1 + snr) epsilons of that, twice;
    posteriors by at most a quarter of a logit's error for each of two heads, and by the softmax's own rounding"""
    return 8 * p.dim * (1 + p.snr) * float(np.max(np.sum(data["Z"] ** 2, axis=1))) / p.eta + 8


MEMBERSHIP_POSTERIOR = Law(
    id="tost/membership-posterior",
    source=Source(T24, "posterior membership of the mixture; temperature corrected here"),
    statement="""
    For equally likely components N(0, s U_k U_k^T + eta I), U_k orthonormal of the same rank, a token has the posterior

        softmax_k( s/(2 eta (s + eta)) |U_k^T z|² )

    exactly, overlapping frames included. The published inverse temperature 1/(2 eta) is its limit for s >> eta. The
    spectrum must be flat: with equal but uneven spectra the posterior is no function of the energies |U_k^T z|².
    """,
    params=Mixture,
    situation=mixture,
    predict=softmax,
    measure=densities,
    claim=Equality(of="posterior", rounding=posterior_units, scale=1.0, resolve=1e-6),
    controls={
        "uneven spectrum": but(measure=partial(densities, spread=0.5)),
        "temperature as published": but(predict=partial(softmax, published=True)),
    },
    examples=(Mixture(), Mixture(heads=5, dim=4, rank=3), Mixture(snr=1e3)),
    draws=Draws(shapes=8, values=8),
)

MEMBERSHIP_POSTERIOR_PRINTED = MEMBERSHIP_POSTERIOR.printed(
    "tost/membership-posterior-printed",
    source=Source(T24, "posterior membership: softmax_k(|U_k^T z|²/(2 eta))"),
    statement="""
    Printed: for components with the same spectrum on subspaces U_k, plus independent noise eta I, the posterior is
    softmax_k(|U_k^T z|²/(2 eta)). The inverse temperature lacks the factor s/(s + eta), the signal's share of the
    variance: at s = 2, eta = .3 posteriors are off by several hundredths, at s = eta by more. (In practice eta is
    learned and absorbs the factor; it then is not the noise variance.)
    """,
    predict=partial(softmax, published=True),
    at=(Mixture(snr=2 / 0.3, eta=0.3), Mixture(snr=1.0, eta=1.0)),
)
