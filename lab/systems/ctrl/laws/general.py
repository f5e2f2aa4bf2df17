"""Games whose follower can always be perfect: the loop is inert in CTRL-SG, and all that there is in CTRL-Binary."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Equality
from lab.data.game_subspaces import correlated_bases, sample
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import closed_loops
from lab.models.feasible_sets import class_energies
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params
from lab.systems.ctrl import theory

PPC22, DTL22 = "arXiv:2206.09120", "arXiv:2111.06636"
ENCODERS = 6


class General(Params):
    """Encoders of correlated subspaces, a consistency that is a distance of covariances or of samples, any weight."""

    ranks: Annotated[tuple[Annotated[int, Ge(1), Le(3)], ...], MinLen(2), MaxLen(3)] = (2, 2)
    around: Annotated[int, Ge(0), Le(3)] = 2
    samples: Annotated[int, Ge(4), Le(20)] = 10
    eps: Annotated[float, Ge(0.3), Le(1.5), LogScale()] = 0.7
    consistency: Literal["distance", "squares"] = "distance"
    weight: Annotated[float, Ge(-2.0), Le(2.0)] = 1.0

    @property
    def d_x(self) -> int:
        return sum(self.ranks) + self.around

    @property
    def d_z(self) -> int:
        return sum(self.ranks)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.samples,) * len(self.ranks)

    @property
    def beta(self) -> float:
        return self.d_z / self.eps**2


def encoders_and_data(p: General, stream) -> dict[str, np.ndarray]:
    """Samples X (n, d_x), and six Gaussian encoders (6, d_z, d_x) of largest class energy one."""
    rng = stream.numpy("data")
    X = sample(rng, correlated_bases(rng, d_x=p.d_x, ds=p.ranks, alpha=0.5), p.sizes).Z
    moments, _ = closed_loops.class_moments(X, p.sizes)
    F = rng.standard_normal((ENCODERS, p.d_z, p.d_x))
    return {"X": X, "F": F / np.sqrt(class_energies(F, moments).max(axis=-1))[:, None, None]}


def best_responses(p: General, data, rank: int) -> np.ndarray:
    """Decoders of rank at most `rank` that return most of the energy: the canonical ones, cut to leading features."""
    moments, fractions = closed_loops.class_moments(data["X"], p.sizes)
    whole = closed_loops.pooled(moments, fractions)
    G = closed_loops.canonical_decoder(data["F"], whole)
    leading = np.linalg.eigh(closed_loops.pooled(closed_loops.image(data["F"], moments), fractions))[1][..., -rank:]
    return G @ leading @ leading.mT


@measurement
def leader_utilities(p: General, data, stream, *, capped: int = 0):
    """What the leader gets at each encoder from a follower that answers best; `capped` directions are missing to the
    decoder. And the distance that CTRL-Binary is played for."""
    F, G = data["F"], best_responses(p, data, p.d_z - capped)
    moments, fractions = closed_loops.class_moments(data["X"], p.sizes)
    if p.consistency == "distance":
        cost = np.sum(closed_loops.loop_distances(F, G, moments, p.beta), axis=-1)
    else:
        Z = data["X"] @ F.mT
        cost = np.sum((Z - Z @ (F @ G).mT) ** 2, axis=(-2, -1)) / len(data["X"])
    quality = closed_loops.reduction(closed_loops.image(F, moments), fractions, p.beta)
    binary = closed_loops.utilities("binary", F, G, moments, fractions, p.beta)
    return {"leader": quality + p.weight * cost, "binary": binary.leader, "follower": -cost}


def quality(p: General, data) -> np.ndarray:
    """Rate reduction of the features, from the samples: what is left of the leader's utility at c_max = 0."""
    Z = data["X"] @ data["F"].mT
    return theory.leader_value(coding_rate.rate_reduction(Z, p.sizes, eps=p.eps), 0.0, p.weight)


def decoder_rounding(p: General, data) -> float:
    """rate of features (as in ctrl/msp-equilibrium-value) and of decoded ones, whose decoder inverts the features: the
    square root of beta times the condition of the least determined encoder, for each of d_z (K + 1) terms"""
    values = np.linalg.svd(data["X"] @ data["F"].mT, compute_uv=False)
    condition = float(np.max(values[:, 0] / values[:, p.d_z - 1]))
    return 4 * p.d_z * (len(p.ranks) + 1) * (1 + p.beta) ** 0.5 * (1 + np.log1p(p.beta)) * condition


GENERAL = Law(
    id="ctrl/sg-equilibrium",
    source=Source(PPC22, "CTRL-SG"),
    statement="""
    In the general game, u_enc = Q(f) - w C(f, g), u_dec = C(f, g) <= c_max, let every encoder have a decoder with
    C = c_max. Then the leader's utility at a best response is Q(f) - w c_max whatever w is, of either sign: equilibria
    are exactly the maxima of Q with any best response. Exchanging the distance of covariances for the mean squared
    distance of samples, or turning the sign of the loop term, changes no equilibrium of the encoder. (Linear decoders:
    c_max = 0. Measured at random encoders, with the exact decoder.)
    """,
    params=General,
    situation=encoders_and_data,
    predict=quality,
    measure=leader_utilities,
    claim=Equality(of="leader", rounding=decoder_rounding, scale=1.0, resolve=1e-6),
    controls={"decoder of too low a rank": but(measure=partial(leader_utilities, capped=1))},
    examples=(General(), General(consistency="squares"), General(weight=-1.0, ranks=(1, 2), around=0)),
    draws=Draws(shapes=3, values=3),
)


class Squares(General):
    """The same with the mean squared distance of samples."""

    consistency: Literal["squares"] = "squares"


def capped_cost(p: General, data) -> np.ndarray:
    """Follower's utility by Eckart and Young."""
    Z = data["X"] @ data["F"].mT
    return theory.rank_capped_consistency(np.linalg.svd(Z, compute_uv=False) ** 2 / len(data["X"]), p.d_z - 1)


RANK_CAP = Law(
    id="ctrl/rank-capped-decoder",
    source=Source("derived for this laboratory (Eckart and Young); not found in arXiv:2206.09120"),
    statement="""
    A decoder of rank at most r < d_z cannot return all features: with C = -||Z - Zhat||²/n its best utility is minus
    the energy of Z beyond r leading directions, which depends on the encoder. The leader then trades Q against it, and
    the equilibria of ctrl/sg-equilibrium are lost. (r = d_z - 1.)
    """,
    params=Squares,
    situation=encoders_and_data,
    predict=capped_cost,
    measure=partial(leader_utilities, capped=1),
    claim=Equality(of="follower", rounding=decoder_rounding, scale=1.0, resolve=1e-6),
    controls={"full rank": but(measure=leader_utilities)},
    examples=(Squares(), Squares(ranks=(1, 2), around=0)),
    draws=Draws(shapes=3, values=3),
)

BINARY = Law(
    id="ctrl/binary-degeneracy",
    source=Source(DTL22, "CTRL-Binary; the consequence was derived here"),
    statement="""
    CTRL-Binary, max_f min_g dist(Z, Zhat), with linear maps and an unconstrained decoder: the follower reaches 0 at
    every encoder, so the leader is indifferent among all of them. Nothing is learned: "CTRL-Binary finds the subspaces"
    is false in the linear setting, whatever a run may show.
    """,
    params=General,
    situation=encoders_and_data,
    predict=lambda p, data: np.zeros(ENCODERS),
    measure=leader_utilities,
    claim=Equality(of="binary", rounding=decoder_rounding, scale=1.0, resolve=1e-6),
    controls={
        "decoder of too low a rank": but(measure=partial(leader_utilities, capped=1)),
        "a leader that sees the classes": but(predict=quality),
    },
    examples=(General(), General(ranks=(3, 2), around=3)),
    draws=Draws(shapes=3, values=2),
)
