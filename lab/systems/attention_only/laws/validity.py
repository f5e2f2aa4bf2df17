"""Frames that are not orthogonal: exact rate under the events, how often they hold, and the gain where they break."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data.tokens import incoherent_subspace_tokens
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Gt, Le, LogScale, Lt, Params
from lab.streams import Stream
from lab.systems.attention_only import dynamics
from lab.systems.attention_only.laws.thresholded import AOT, DERIVED, THEOREM
from lab.systems.attention_only.theory.thresholded import growth
from lab.systems.attention_only.theory.validity import incoherent_exact_probability


class Incoherent(Params):
    """Tokens near K independent random subspaces of R^dim, whose frames overlap; layers ``Z + eta MSSA(Z)``."""

    heads: Annotated[int, Ge(2), Le(4)] = 4
    per_class: Annotated[int, Ge(2), Le(128)] = 64
    rank: Annotated[int, Ge(2), Le(128)] = 32
    dim: Annotated[int, Ge(2), Le(2048)] = 512
    delta: Annotated[float, Ge(0.005), Le(0.5), LogScale()] = 0.05
    tau: Annotated[float, Ge(0.5), Lt(1.0)] = 0.6
    eta: Annotated[float, Gt(0.0), Le(3.0)] = 0.5
    layers: Annotated[int, Ge(1), Le(3)] = 1

    @model_validator(mode="after")
    def _frames_fit(self) -> Self:
        if self.dim < self.rank:
            raise ValueError(f"dim={self.dim} is smaller than rank={self.rank}; raise dim or lower rank")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.per_class,) * self.heads


def projected_ratio(Z: np.ndarray, U: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """``|Z_k P_k|/|Z_k (1 - P_k)|`` of every cluster (K,), from the tokens themselves: heads overlap."""
    found = []
    for mine, frame in zip(np.split(Z, np.cumsum(sizes)[:-1]), U, strict=True):
        own = mine @ frame @ frame.T
        found.append(np.linalg.norm(own) / np.linalg.norm(mine - own))
    return np.array(found)


@measurement
def overlapping(p: Incoherent, stream, *, stretch: float = 1.0):
    """Factor of the ratio in every layer and cluster (L, K), whether the events hold (L,), shares of failing rows, and
    the first layer's gain over 1 + eta tau, mean over clusters. `stretch` multiplies the frames of all operators.
    """
    tokens = incoherent_subspace_tokens(
        stream.numpy("tokens"), class_sizes=p.sizes, rank=p.rank, delta=p.delta, d=p.dim
    )
    Z, U = tokens.Z, tokens.frames
    before, ratios, events, shares = projected_ratio(Z, U, p.sizes), [], [], []
    for _ in range(p.layers):
        W = white_box.head_coordinates(Z, stretch * U)
        update, margins = white_box.thresholded_attend(W, tau=p.tau)
        failed = dynamics.failures(W, p.sizes, p.tau, margins=margins)
        Z = Z + p.eta * white_box.from_head_coordinates(update, stretch * U)
        after = projected_ratio(Z, U, p.sizes)
        ratios.append(after / before)
        events.append(bool(failed.none))
        shares.append([failed.signal, failed.foreign])
        before = after
    share = float(np.mean(ratios[0])) / (1 + p.eta * p.tau)
    return {"ratio": np.stack(ratios), "events": np.array(events), "exact": float(events[0]), "share": share,
            "failing": np.array(shares[0])}  # fmt: skip


def overlap_units(p: Incoherent) -> float:
    """a coordinate sums d products, an entry of the update K p, each off by d/8 + K p/8 + 8 epsilons of the token's
    length (blocked sums); what leaks from the signal into the rest is relative to the rest, up to SNR times larger, and
    SNR is about 1/(delta sqrt(K-1)) times the rate so far: 2 covers its scatter; four norms enter a ratio"""
    size = 1 + 2 * (1 + p.eta) ** p.layers / (p.delta * np.sqrt(p.heads - 1))
    return 4 * (p.dim / 8 + p.heads * p.rank / 8 + 8) * size * (1 + p.eta)


INCOHERENT_RATE = Law(
    id="attention_only/incoherent-rate",
    source=Source(AOT, f"{THEOREM}; extended here to frames that overlap"),
    statement="""
    The rate of attention_only/thresholded-rate needs no orthogonality: for frames with orthonormal columns and *any*
    overlap, if in a layer every token attends to itself in its own head and to nobody in the others (read off the
    weights), P_k Z_k is multiplied by 1 + eta tau and (1 - P_k) Z_k stays. So |Z_k P_k|/|Z_k (1 - P_k)| grows by
    exactly 1 + eta tau. Overlap decides whether the events hold, nothing else.
    """,
    params=Incoherent,
    predict=lambda p: float(growth(p.eta, p.tau)[0]),
    measure=overlapping,
    claim=Equality(of="ratio", given="events", rounding=overlap_units, resolve=1e-9),
    controls={
        "events ignored": but(claim=Equality(of="ratio", rounding=overlap_units, resolve=1e-9)),
        "frames 5 % too long": but(measure=partial(overlapping, stretch=1.05)),
    },
    examples=(
        Incoherent(dim=2048, layers=3), Incoherent(heads=2, per_class=16, rank=48, dim=600, delta=0.02, tau=0.9),
        Incoherent(per_class=4, rank=40, dim=300, delta=0.1, tau=0.95), Incoherent(dim=256),
    ),
    draws=Draws(shapes=3, values=2),
)  # fmt: skip


# ---------------------------------------------------------------------- how often


class Rare(Incoherent):
    """... with room for all frames, ``K p <= dim``, and thresholds up to .9, where the quadrature is right within 2."""

    tau: Annotated[float, Ge(0.5), Le(0.9)] = 0.6

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.heads * self.rank > self.dim:
            raise ValueError(f"dim={self.dim} is below heads * rank = {self.heads * self.rank}; raise dim")
        return self


def exact_chance(p: Rare, *, leak: bool = True) -> float:
    """Probability of the events; without `leak` that of orthogonal frames."""
    dim = p.dim if leak else 10**9
    return incoherent_exact_probability(p.heads, p.per_class, p.rank, dim, p.delta, p.tau)


def rates_within_two(p: Rare) -> float:
    """the statement: rates within a factor 2, as the quadrature of orthogonal frames: P between its power 1/2 and 2;
    and .02 for failures that are not independent"""
    value = exact_chance(p)
    return 0.02 + max(value**0.5 - value, value - value**2)


INCOHERENT_EXACT = Law(
    id="attention_only/incoherent-exact",
    source=Source(DERIVED),
    statement="""
    Independent random frames of rank p in R^d, K p <= d: in a foreign head a token shows its noise and a leak of its
    signal, mean square p (delta² + p/d). The first layer is exact with the probability of orthogonal frames at the
    noise sqrt(delta² + p/d), rates within a factor 2. Coherence sqrt(p/d) thus costs what noise of its size costs, also
    at delta = 0.
    """,
    params=Rare,
    predict=exact_chance,
    measure=overlapping,
    claim=Equality(of="exact", over="fraction", stated=rates_within_two, scale=1.0, resolve=0.55),
    controls={"leak forgotten": but(predict=partial(exact_chance, leak=False))},
    examples=(Rare(dim=2048), Rare(delta=0.02), Rare(dim=256), Rare(heads=2, per_class=128, dim=400, rank=40)),
    draws=Draws(shapes=0, replicates=40),
)


# ---------------------------------------------------------------------- what it costs


class Strong(Rare):
    """... of ranks at which all signal rows pass: noise and leaks break foreign rows alone."""

    rank: Annotated[int, Ge(24), Le(128)] = 32


BLOCKS, ROWS = 240, 32


def by_rows(p: Strong, *, leak: bool = True) -> tuple[float, float]:
    """Gain over 1 + eta tau from foreign rows of one dimension and overlaps ``G = U_c^T U_j``, and its error.

    A row is ``w = t + a G``, t the noise of all other subspaces seen in head j. Keys have along it a standard normal
    component (cluster j), a leak ``|G w|/|w|`` (own cluster) or one of mean square delta² + p/d (the rest). A row that
    wins a key v adds ``eta tau v`` to head j, of which ``|v|² - |G v|²`` falls outside the own subspace.
    """
    return _rows(p, leak)[:2]


@lru_cache(maxsize=4096)
def _rows(p: Strong, leak: bool) -> tuple[float, float, float, float]:
    """Gain, its error, noise added over noise, failing rows of a cluster; means of `BLOCKS` overlaps."""
    rng = Stream("attention_only/incoherent gain", p.canonical()).numpy("rows")
    blocks = np.array([_block(rng, p, leak) for _ in range(BLOCKS)])

    def gain(means: np.ndarray) -> float:
        energy, outside, added, inside, _ = means
        c = 1 + p.eta * p.tau
        return float(np.sqrt((1 + (p.heads - 1) * inside / (c**2 * energy)) / (1 + added / outside)))

    value = gain(blocks.mean(0))
    left_out = [gain((blocks.sum(0) - one) / (BLOCKS - 1)) for one in blocks]  # jackknife
    _, outside, added, _, wins = blocks.mean(0)
    error = 4 * float(np.sqrt((BLOCKS - 1) * np.var(left_out)))
    return value, error, float(added / outside), float(p.per_class * (p.heads - 1) * wins)


def corner(rng: np.random.Generator, dim: int, rank: int) -> np.ndarray:
    """First rows (rank, rank) of a Haar distributed (dim, rank) frame, ``U_c^T U_j``: the triangular factor of a
    Gaussian matrix needs the Gram matrix of its other rows only, which is Wishart (Bartlett). ``dim >= 2 rank``.
    """
    A = rng.standard_normal((rank, rank))
    T = np.tril(rng.standard_normal((rank, rank)), -1)
    T[np.diag_indices(rank)] = np.sqrt(rng.chisquare(dim - rank - np.arange(rank)))
    return np.linalg.solve(np.linalg.cholesky(A.T @ A + T @ T.T), A.T).T


def _block(rng: np.random.Generator, p: Strong, leak: bool) -> list[float]:
    """Means over the rows of one overlap: own energy; outside energy, what is added to it, and to the own subspace;
    share of rows that win a key.
    """
    n, K, r, step = p.per_class, p.heads, p.rank, p.eta * p.tau
    ratio = r / p.dim if leak else 0.0
    G = corner(rng, p.dim, r) * float(leak)
    a, e = rng.standard_normal((ROWS, r)), p.delta * rng.standard_normal((ROWS, r))
    t = e + p.delta * np.sqrt((K - 2) * ratio) * rng.standard_normal((ROWS, r))
    w = t + a @ G
    length = np.linalg.norm(w, axis=1)
    u = w / length[:, None]
    along = u @ G.T  # G u, in the own subspace
    wide, rest = 1 + p.delta**2 * (K - 1) * ratio, p.delta**2 * (1 + (K - 2) * ratio) + ratio
    spread = np.sqrt(p.delta**2 + np.sum(along**2, axis=1))[:, None]
    y = np.concatenate([
        np.sqrt(wide) * rng.standard_normal((ROWS, n)), spread * rng.standard_normal((ROWS, n - 1)),
        np.sqrt(rest) * rng.standard_normal((ROWS, (K - 2) * n)), length[:, None],
    ], axis=1)  # fmt: skip
    scores = length[:, None] * y
    top, key = scores.max(1), scores.argmax(1)
    wins = -np.log(np.sum(np.exp(scores - top[:, None]), axis=1)) > np.log(p.tau)
    best = y[np.arange(ROWS), key]
    across = (r - 1) * np.select([key < n, key < K * n - 1], [wide, rest], 0.0)
    seen = best**2 * np.sum(along**2, axis=1) + across * np.sum(G**2) / r
    outside = np.sum(e**2, axis=1) - np.sum((e @ G.T) ** 2, axis=1)
    cross = best * (np.sum(t * u, axis=1) - np.sum((e @ G.T) * along, axis=1))
    added = wins * (step**2 * (best**2 + across - seen) + 2 * step * cross)
    inside = wins * (step**2 * seen + 2 * (1 + step) * step * best * np.sum(a * along, axis=1))
    return [r * wide, float(outside.mean()), float(added.mean()), float(inside.mean()), float(wins.mean())]


def few_rows(p: Strong) -> float:
    """a mean of 1/sqrt(1 + X) exceeds that of the mean X, noise added over noise: by (3/8) Var X/(1 + X)^(5/2) to
    second order, with Var X = X²/m for m failing rows of a cluster (independent and alike); never by more than 1
    less it
    """
    value, _, x, m = _rows(p, True)
    return min(1 - min(value, 1.0), 0.375 * x**2 / (1 + x) ** 2.5 / m) if m else 0.0


def five_percent(p: Strong) -> float:
    """the statement: within 5 % (rows are taken as independent of each other, the overlaps of different pairs of frames
    as well)"""
    return 0.05 * by_rows(p)[0]


INCOHERENT_GAIN = Law(
    id="attention_only/incoherent-gain",
    source=Source(DERIVED),
    statement="""
    Where leaks break the events, rows that win a key in a foreign head add eta tau times that key to the noise. Over
    1 + eta tau the gain of the first layer is

        sqrt( (1 + (K-1) E[inside]/((1 + eta tau)² p)) / (1 + E[added]/E[outside]) ),

    means over foreign rows w = t + a G of one dimension and overlaps G = U_c^T U_j, within 5 % for K p <= d, as many
    rows of a cluster fail (where few do, the mean gain is larger than that of mean energies). Low noise
    breaks first: the keys that are added do not shrink with delta, what they are compared with does. It is a crossover,
    not a transition: nothing is sharp in p/d at fixed N.
    """,
    params=Strong,
    predict=by_rows,
    measure=overlapping,
    claim=Equality(of="share", over="mean", finite_size=few_rows, stated=five_percent, resolve=0.3),
    controls={"leak forgotten": but(predict=partial(by_rows, leak=False))},
    examples=(Strong(dim=256), Strong(dim=256, delta=0.2), Strong(dim=128, delta=0.02), Strong(dim=128, delta=0.1)),
    draws=Draws(shapes=0, replicates=12),
)
