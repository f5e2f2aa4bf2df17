"""Descent and ascent with two time scales: when they settle at a Stackelberg equilibrium, and the appendix that printed
its condition with the wrong sign; what a slow follower costs in CTRL-MSP."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Classification, Crossover, Equality
from lab.data.game_subspaces import correlated_bases, sample
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import closed_loops, linear_games
from lab.models.feasible_sets import class_energies
from lab.params import Ge, Le, LogScale, Params
from lab.systems.ctrl import theory
from lab.systems.ctrl.dynamics import encoder

BOOK = "Ma and coauthors, Principles and Practice of Deep Representation Learning"
RECORDS = 10  # of the players along a game
DOUBLINGS = 40  # the orbit is followed for 2^40 steps, by squaring its map


class Quadratic(Params):
    """L = p theta²/2 + m theta eta + c eta²/2 with ``m² = (1 + margin) p c``: the origin is an equilibrium."""

    p: Annotated[float, Ge(0.2), Le(5.0), LogScale()] = 1.0
    c: Annotated[float, Ge(0.2), Le(5.0), LogScale()] = 1.0
    margin: Annotated[float, Ge(0.2), Le(10.0), LogScale()] = 3.0
    ratio: Annotated[float, Ge(0.01), Le(1000.0), LogScale()] = 1.0

    @property
    def m(self) -> float:
        return ((1 + self.margin) * self.p * self.c) ** 0.5

    @property
    def step(self) -> float:
        """A fiftieth of the largest step at which the threshold exists, ``c/(m² - p c) = 1/(p margin)``."""
        return 0.02 / (self.p * max(self.margin, 1.0))


@measurement
def orbit_growth(p: Quadratic, stream, *, turned: bool = False, simultaneous: bool = True):
    """log |x_N|/(N h) of simultaneous descent and ascent from a random start, N = 2^40 steps of size h; `turned` turns
    the margin around, m² = p c/(1 + margin); else the follower already sees the leader's new choice."""
    m = p.m / (1 + p.margin) if turned else p.m
    h, T = p.step, p.ratio
    leader = np.array([[1 + h * p.p, h * m], [0.0, 1.0]])
    follower = np.array([[1.0, 0.0], [-h * T * m, 1 - h * T * p.c]])
    step = leader + follower - np.eye(2) if simultaneous else follower @ leader
    logs = 0.0
    for _ in range(DOUBLINGS):
        size = np.linalg.norm(step)
        step, logs = step / size @ step / size, 2 * (logs + np.log(size))
    start = stream.numpy("start").standard_normal(2)
    return {"growth": (logs + np.log(np.linalg.norm(step @ start) / np.linalg.norm(start))) / (2.0**DOUBLINGS * h)}


def ratios(p: Quadratic) -> np.ndarray:
    """41 ratios from .8 to 1.25 times p/c"""
    return p.p / p.c * np.geomspace(0.8, 1.25, 41)


THRESHOLD = Law(
    id="ctrl/gda-timescale-threshold",
    source=Source("derived for this laboratory (linear stability)"),
    statement="""
    L = p theta²/2 + m theta eta + c eta²/2, p, c > 0; the leader moves up in theta, the follower T times as fast down
    in eta, at the same time. Where the origin is a Stackelberg equilibrium, m² > p c, small steps settle there if and
    only if T > p/c: the follower has to be faster than the ratio of the curvatures, whatever m is. Where it is none, no
    T helps. With steps of size h the threshold is p/(c - h (m² - p c)).
    """,
    params=Quadratic,
    predict=lambda p: theory.gda_threshold(p.p, p.m, p.c, step=p.step),
    measure=orbit_growth,
    claim=Crossover(of="growth", along="ratio", level=0.0, axis=ratios, over="each", resolve=1e-3),
    controls={
        "no equilibrium": but(measure=partial(orbit_growth, turned=True)),
        "follower that sees the leader's new choice": but(measure=partial(orbit_growth, simultaneous=False)),
        "continuous time": but(predict=lambda p: p.p / p.c),
        "follower as fast as the leader": but(predict=lambda p: 1.0),
    },
    examples=(Quadratic(), Quadratic(p=2.0, c=0.5, margin=8.0), Quadratic(p=0.5, c=2.0, margin=0.5)),
    draws=Draws(shapes=1, values=5),
)


# ---------------------------------------------------------------------- the condition itself


class Saddle(Params):
    """A quadratic game of random curvatures: the leader's of any sign, the follower's at least 1/2."""

    leader: Annotated[int, Ge(1), Le(3)] = 1
    follower: Annotated[int, Ge(1), Le(3)] = 1


def curvatures(p: Saddle, stream) -> dict[str, np.ndarray]:
    """Second derivatives P (d, d), M (d, e), C (e, e)."""
    rng = stream.numpy("curvatures")
    P, M, root = (rng.standard_normal(s) for s in ((p.leader,) * 2, (p.leader, p.follower), (p.follower,) * 2))
    return {"P": P + P.T, "M": M, "C": 0.5 * np.eye(p.follower) + root @ root.T}


@measurement
def response_curvature(p: Saddle, data, stream):
    """Second differences of the leader's utility at the follower's best response, which is found by descent."""
    P, M, C = data["P"], data["M"], data["C"]

    def utility(theta: np.ndarray) -> float:
        eta, along = np.zeros(p.follower), None
        for _ in range(p.follower + 1):  # conjugate gradients
            slope = M.T @ theta + C @ eta
            if slope @ slope <= 1e-28 * (1 + theta @ theta):
                break
            along = -slope if along is None else -slope + (slope @ C @ along) / (along @ C @ along) * along
            eta = eta - (slope @ along) / (along @ C @ along) * along
        return float(theta @ P @ theta / 2 + theta @ M @ eta + eta @ C @ eta / 2)

    units = np.eye(p.leader)
    return {"curvature": np.array([[(utility(a + b) - utility(a - b)) / 2 for a in units] for b in units])}


def condition_of(p: Saddle, data) -> float:
    """conjugate gradients and products of d + e terms, relative to the largest of P and M C^-1 M^T, in matrices of the
    condition of C"""
    size = np.abs(data["P"]).max() + np.linalg.norm(data["M"], 2) ** 2 * np.linalg.norm(np.linalg.inv(data["C"]), 2)
    return 32 * (p.leader + p.follower) * float(size * np.linalg.cond(data["C"]))


def schur(p: Saddle, data) -> np.ndarray:
    return theory.stackelberg_curvature(data["P"], data["M"], data["C"])


def printed_schur(p: Saddle, data) -> np.ndarray:
    """With the sign as printed."""
    return 2 * data["P"] - schur(p, data)


CONDITION = Law(
    id="ctrl/stackelberg-condition",
    source=Source(BOOK, "appendix on minimax optimisation, sign corrected"),
    statement="""
    Along the follower's best response the leader's utility has the second derivative
    L_theta,theta - L_theta,eta L_eta,eta^-1 L_eta,theta, a Schur complement: a critical point is a differential
    Stackelberg equilibrium of a leader that maximises if it is negative definite and L_eta,eta positive definite.
    """,
    params=Saddle,
    situation=curvatures,
    predict=schur,
    measure=response_curvature,
    claim=Equality(of="curvature", rounding=condition_of, scale=1.0, resolve=1e-6),
    controls={
        "sign of the mixed term": but(predict=printed_schur),
        "leader's own curvature": but(predict=lambda p, data: data["P"]),
    },
    examples=(Saddle(), Saddle(leader=3, follower=2)),
    draws=Draws(shapes=3, values=1, replicates=4),
)

CONDITION_PRINTED = CONDITION.printed(
    "ctrl/stackelberg-condition-printed",
    source=Source(BOOK, "appendix on minimax optimisation, differential Stackelberg equilibria"),
    statement="""
    As printed: the second derivative is L_theta,theta + L_theta,eta L_eta,eta^-1 L_eta,theta. False wherever the mixed
    derivatives do not vanish; with p = 1, m = 2, c = 1 the origin is an equilibrium, of curvature 1 - 4 = -3, and the
    printed formula gives 5. (The same page defines a condition number by a constant L that it does not define.)
    """,
    predict=printed_schur,
    at=(Saddle(),),
)


# ---------------------------------------------------------------------- CTRL-MSP with a follower that learns


class Learned(Params):
    """CTRL-MSP with Adam for both players, rates .01, the follower `inner` steps for each of the leader's.

    Classes of ranks d_j share directions up to `alpha`; features have ``sum d_j + spare`` dimensions.
    """

    # fields without a range keep their defaults when points are drawn: games may be long
    class_sizes: tuple[int, ...] = (40, 40)
    ranks: tuple[int, ...] = (2, 2)
    d_x: int = 6
    spare: int = 1
    eps: Annotated[float, Ge(0.4), Le(1.0), LogScale()] = 0.7
    alpha: Annotated[float, Ge(0.1), Le(1.0)] = 0.3
    games: int = 12
    inner: tuple[int, ...] = (1, 8)
    steps: int = 30

    @model_validator(mode="after")
    def _direct_sum(self) -> Self:
        if len(self.class_sizes) != len(self.ranks) or len(self.ranks) < 2:
            raise ValueError(f"{len(self.class_sizes)} class_sizes, {len(self.ranks)} ranks; give one of each a class")
        if sum(self.ranks) > self.d_x:
            raise ValueError(f"ranks {self.ranks} do not fit into d_x={self.d_x}; raise d_x")
        if self.spare < 0:
            raise ValueError(f"spare={self.spare} must not be negative")
        if self.steps < 1 or self.steps % RECORDS or self.games < 1:
            raise ValueError(f"steps={self.steps} must be a multiple of {RECORDS}, and games={self.games} at least 1")
        if len(self.inner) < 2 or self.inner[0] < 1 or any(np.diff(self.inner) <= 0):
            raise ValueError(f"inner={self.inner} must be two or more rising numbers of steps")
        return self

    @property
    def d_z(self) -> int:
        return sum(self.ranks) + self.spare

    @property
    def value(self) -> float:
        """The leader's equilibrium value."""
        return theory.equilibrium(self.class_sizes, self.ranks, self.d_z, eps=self.eps).value


@measurement
def learned_games(p: Learned, stream, *, follower_rate: float = 0.01):
    """Games from Gaussian players on one data set, for every entry T of `inner`, along training (T, records + 1,
    games): Delta R, what overlap of the classes costs, the loop distance, mean residuals of data and of features.
    And of each game whether the follower's loss at the end is larger at the first entry than at all others."""
    rng = stream.numpy("data")
    data = sample(rng, correlated_bases(rng, d_x=p.d_x, ds=p.ranks, alpha=p.alpha), p.class_sizes)
    moments, fractions = closed_loops.class_moments(data.Z, p.class_sizes)
    beta, rng = p.d_z / p.eps**2, stream.numpy("players")
    start = (rng.standard_normal((p.games, p.d_z, p.d_x)) / p.d_x**0.5,
             rng.standard_normal((p.games, p.d_x, p.d_z)) / p.d_z**0.5)  # fmt: skip
    # as good as the samples, and d_x rows for each class
    rows = np.stack([np.linalg.qr(X, mode="r") for X in np.split(data.Z, np.cumsum(p.class_sizes)[:-1])])
    path = [linear_games.play(*start, moments, fractions, beta, inner=inner, steps=p.steps, records=RECORDS,
                              follower_rate=follower_rate) for inner in p.inner]  # fmt: skip
    F, G = (np.stack(players) for players in zip(*path, strict=True))
    own, whole = closed_loops.image(F, moments), closed_loops.pooled(closed_loops.image(F, moments), fractions)
    apart = np.sum(closed_loops.rate(own * fractions[:, None, None], beta), axis=-1)
    loop = np.sum(closed_loops.loop_distances(F, G, moments, beta), axis=-1)
    Z = rows @ F.mT[..., None, :, :]
    decoded = Z @ G.mT[..., None, :, :]
    residual = linear_games.subspace_residuals(np.broadcast_to(rows, decoded.shape), decoded, p.ranks)
    again = linear_games.subspace_residuals(Z, decoded @ F.mT[..., None, :, :], p.ranks)
    return {"reduction": closed_loops.reduction(own, fractions, beta), "loop": loop, "data": residual.mean(axis=-1),
            "overlap": apart - closed_loops.rate(whole, beta), "features": again.mean(axis=-1),
            "falls": np.all(loop[0, -1] > loop[1:, -1], axis=0)}  # fmt: skip


SLOW_FOLLOWER = Law(
    id="ctrl/slow-follower",
    source=Source("an experiment of this laboratory, without a theorem"),
    statement="""
    In CTRL-MSP with gradient players a leader whose follower learns as fast as itself lives on the distance of the
    loop, which enters its utility with a plus: the follower's loss stays large. With eight follower steps for each
    leader step it is smaller at the end of the game, in every run (Adam for both, rates .01). Only the order is
    claimed.
    """,
    params=Learned,
    predict=lambda p: np.ones(p.games),
    measure=learned_games,
    claim=Classification(of="falls", resolve=0.5),
    controls={"follower that does not learn": but(measure=partial(learned_games, follower_rate=0.0))},
    examples=(Learned(),),
    draws=Draws(shapes=0),
)


# ---------------------------------------------------------------------- panels as published


class Panels(Params):
    """Samples of correlated subspaces with noise, as in the published figures; the game is that of `Learned`."""

    class_size: int = 40
    ranks: tuple[int, ...] = (1, 2, 2)
    d_x: int = 8
    d_z: int = 8
    nu: Annotated[float, Ge(0.0), Le(1.0)] = 0.0
    eps: float = 1.0
    alpha: float = 0.1
    inner: int = 5
    steps: int = 40

    @model_validator(mode="after")
    def _direct_sum(self) -> Self:
        if not sum(self.ranks) <= min(self.d_x, self.d_z):
            raise ValueError(f"ranks {self.ranks} do not fit into d_x={self.d_x} and d_z={self.d_z}; raise both")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.class_size,) * len(self.ranks)

    @property
    def data_ranks(self) -> tuple[int, ...]:
        """Ranks of the samples: noise fills the space."""
        return self.ranks if self.nu == 0 else (min(self.d_x, self.class_size),) * len(self.ranks)


def cosines(rows: np.ndarray) -> np.ndarray:
    """|cos| of the angles between all rows; rows of zeros have cosine 0 with any."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(norms > 0, norms, 1)
    return np.abs(unit @ unit.T)


@measurement
def panels(p: Panels, stream):
    """A trained game, and the closed-form equilibrium of the samples projected onto their subspaces, with the canonical
    decoder, both on the noisy samples: Delta R (2,), |cos| between twelve samples of each class in X, Z, Xhat, Zhat (2,
    4, 12 K, 12 K), sigma²/n_j of the features (2, K, d_z), residuals of the data (2, K)."""
    rng = stream.numpy("data")
    bases = correlated_bases(rng, d_x=p.d_x, ds=p.ranks, alpha=p.alpha)
    X = sample(rng, bases, p.sizes, nu=p.nu).Z
    moments, fractions = closed_loops.class_moments(X, p.sizes)
    beta, K = p.d_z / p.eps**2, len(p.ranks)
    start = rng.standard_normal((p.d_z, p.d_x)) / p.d_x**0.5, rng.standard_normal((p.d_x, p.d_z)) / p.d_z**0.5
    end = linear_games.play(*start, moments, fractions, beta, inner=p.inner, steps=p.steps, records=1)
    players = [(end.encoders[-1], end.decoders[-1])]

    onto = [U @ np.linalg.pinv(U) for U in bases]
    clean = np.stack([P @ C @ P for P, C in zip(onto, moments, strict=True)])
    best = theory.equilibrium(p.sizes, p.ranks, p.d_z, eps=p.eps)
    Y, first = np.zeros((K, max(p.ranks), p.d_z)), 0
    for j, k in enumerate(best.ranks):
        Y[j, np.arange(k), first + np.arange(k)] = np.sqrt(beta * fractions[j] / k)
        first += k
    F = encoder(Y, clean, fractions, beta)
    F = F / np.sqrt(max(1.0, class_energies(F, moments).max()))  # noise adds to the energy
    players.append((F, closed_loops.canonical_decoder(F, closed_loops.pooled(clean, fractions))))

    rows, shown = X.reshape(K, p.class_size, p.d_x), np.arange(len(X)).reshape(K, -1)[:, :12].ravel()
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("reduction", "cosines", "spectra", "residuals")}
    for F, G in players:
        Z = X @ F.T
        own = closed_loops.image(F, moments)
        found["reduction"].append(closed_loops.reduction(own, fractions, beta))
        spaces = (X, Z, Z @ G.T, Z @ G.T @ F.T)
        found["cosines"].append(np.stack([cosines(space[shown]) for space in spaces]))
        found["spectra"].append(np.linalg.eigvalsh(own)[:, ::-1])
        found["residuals"].append(linear_games.subspace_residuals(rows, rows @ F.T @ G.T, p.ranks))
    return {name: np.stack(values) for name, values in found.items()}


def ceiling(p: Panels) -> float:
    """Value of the leader if the classes were a direct sum of the ranks that their samples have."""
    return theory.direct_sum_bound(p.sizes, p.data_ranks, p.d_z, eps=p.eps).value


def reduction_rounding(p: Panels) -> float:
    """rounding of Delta R: log-determinants of K + 1 matrices of size d_z, of entries up to beta"""
    beta = p.d_z / p.eps**2
    return (1 + len(p.ranks)) * p.d_z * ((1 + beta) ** 0.5 * p.d_z + np.log1p(beta))


PANELS = Law(
    id="ctrl/no-run-above-the-value",
    source=Source("derived for this laboratory; games as in the figures of arXiv:2206.09120"),
    statement="""
    Whatever a run of CTRL-MSP shows, its features never have a larger rate reduction than the exact value of the leader
    for the ranks of its samples; without noise an encoder attains it. Noise fills the space: ranks are then min(n_j,
    d_x), and the bound rises.
    """,
    params=Panels,
    predict=lambda p: np.full(2, ceiling(p)),
    measure=panels,
    claim=Bound(of="reduction", side="upper", rounding=reduction_rounding, resolve=1e-6),
    controls={"one direction for each class": but(
        predict=lambda p: np.full(2, theory.direct_sum_bound(p.sizes, (1,) * len(p.ranks), p.d_z, eps=p.eps).value)
    )},
    examples=(Panels(), Panels(nu=0.1)),
    draws=Draws(shapes=1, values=2),
)  # fmt: skip
