"""Which weights recover the clusters: self weights do where tokens pass, weights on others do not, energies always."""

from __future__ import annotations

from functools import partial
from math import gamma
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Crossover, Equality
from lab.data.tokens import noisy_subspace_tokens
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.objectives.partitions import adjusted_rand_index
from lab.params import Ge, Gt, Le, LogScale, Lt, Params
from lab.systems.attention_only import dynamics
from lab.systems.attention_only.laws.boundaries import four_hundredths_in_rank
from lab.systems.attention_only.laws.thresholded import DERIVED
from lab.systems.attention_only.theory.boundaries import passing_fraction
from lab.systems.attention_only.theory.segmentation import energy_error, partial_agreement


class Segmented(Params):
    """Labels read off the tokens that enter each of `layers` layers of an operator; with `spectral`, also the clusters
    of a graph whose edges are attention weights.
    """

    operator: Literal["thresholded", "softmax", "relu", "linear"] = "thresholded"
    heads: Annotated[int, Ge(2), Le(8)] = 4
    per_class: Annotated[int, Ge(2), Le(1024)] = 64
    rank: Annotated[int, Ge(1), Le(256)] = 12
    delta: Annotated[float, Ge(0.001), Le(1.0), LogScale()] = 0.05
    tau: Annotated[float, Ge(0.5), Lt(1.0)] = 0.501
    eta: Annotated[float, Gt(0.0), Le(3.0)] = 0.5
    layers: Annotated[int, Ge(1), Le(16)] = 1
    spectral: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.per_class,) * self.heads


def head_labels(W: np.ndarray, margins: white_box.Margins) -> tuple[np.ndarray, np.ndarray]:
    """Head of each token in which its self weight exceeds tau, K if there is none; edges (query, key) above tau."""
    itself = (margins.excess > 0) & (margins.winner == np.arange(W.shape[1]))
    best = np.where(itself, margins.excess, -np.inf)
    heads, queries = np.nonzero(margins.excess > 0)
    return np.where(itself.any(0), best.argmax(0), len(W)), np.stack([queries, margins.winner[heads, queries]])


def components(edges: np.ndarray, count: int) -> np.ndarray:
    """Connected components of the undirected graph with these edges."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(edges.shape[1]), (edges[0], edges[1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def spectral_labels(affinity: np.ndarray, parts: int) -> np.ndarray:
    """Clusters of a symmetric non-negative affinity: leading eigenvectors of its normalised form, cut by pivoted QR."""
    import scipy.linalg

    scale = 1 / np.sqrt(np.maximum(affinity.sum(1), 1e-300))
    n = len(affinity)
    vectors = scipy.linalg.eigh(scale[:, None] * affinity * scale, subset_by_index=[n - parts, n - 1])[1]
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    pivots = scipy.linalg.qr(vectors.T, pivoting=True, mode="r")[1][:parts]
    left, _, right = np.linalg.svd(vectors[pivots].T)
    return np.abs(vectors @ (left @ right)).argmax(1)


def weights_of(operator: str, tau: float) -> Any:
    """The function of the scores, linear ones over the number of keys."""
    return {"thresholded": white_box.thresholded(tau), "softmax": white_box.softmax, "relu": white_box.relu,
            "linear": lambda s: s / s.shape[-1]}[operator]  # fmt: skip


@measurement
def segmented(p: Segmented, stream, *, by_graph: bool = False, by_energy: bool = False):
    """Adjusted Rand index with the clusters, per layer: of the heads in which tokens attend to themselves, of the
    largest coordinates, of the components of the graph of weights above tau; whether the events hold, fraction of
    tokens with a head, share of wrong energy labels. `first` and `excess` are the first layer's index of the heads, and
    it less that of half found clusters. `by_graph` and `by_energy` take those labels for the heads.
    """
    tokens = noisy_subspace_tokens(stream.numpy("tokens"), class_sizes=p.sizes, rank=p.rank, delta=p.delta)
    W, truth = tokens.blocks, tokens.labels
    phi, seen = weights_of(p.operator, p.tau), []
    for _ in range(p.layers):
        kept, margins = white_box.thresholded_attend(W, tau=p.tau)
        labels, edges = head_labels(W, margins)
        graph, energy = components(edges, W.shape[1]), np.sum(W**2, axis=-1).argmax(0)
        row = {
            "index": adjusted_rand_index(truth, graph if by_graph else energy if by_energy else labels),
            "graph": adjusted_rand_index(truth, graph), "energy": adjusted_rand_index(truth, energy),
            "events": bool(dynamics.failures(W, p.sizes, p.tau, margins=margins).none),
            "fraction": float(np.mean(labels < p.heads)), "mistakes": float(np.mean(energy != truth)),
        }  # fmt: skip
        dense = p.spectral or (p.layers > 1 and p.operator != "thresholded")
        weights = phi(W @ W.mT) if dense else np.zeros(())
        if p.spectral:
            A = np.maximum(weights, 0).sum(0)
            np.fill_diagonal(A, 0.0)
            row["cut"] = adjusted_rand_index(truth, spectral_labels((A + A.T) / 2, p.heads))
        seen.append(row)
        if p.layers > 1:
            update = kept if p.operator == "thresholded" else weights @ W
            W = W + p.eta * update
            if p.operator in ("relu", "linear"):  # they blow up otherwise: signal back to mean square 1
                own, _ = dynamics.energies(W, p.sizes)
                W = W / np.sqrt(own / (p.per_class * p.rank))[:, None, None]
    first = seen[0]["index"]
    half = float(partial_agreement(0.5, p.heads, p.per_class))
    return {name: np.array([row[name] for row in seen]) for name in seen[0]} | {"first": first, "excess": first - half}


# ---------------------------------------------------------------------- exact


class Passing(Segmented):
    """Thresholded layers on few tokens and large ranks: the events hold in part of the draws."""

    operator: Literal["thresholded"] = "thresholded"
    heads: Annotated[int, Ge(2), Le(4)] = 4
    per_class: Annotated[int, Ge(2), Le(96)] = 32
    rank: Annotated[int, Ge(8), Le(96)] = 40
    delta: Annotated[float, Ge(0.005), Le(0.3), LogScale()] = 0.05
    tau: Annotated[float, Ge(0.5), Le(0.95)] = 0.6
    layers: Annotated[int, Ge(1), Le(4)] = 2
    spectral: Literal[False] = False


RECOVERED = Equality(of="index", given="events", rounding=1.0, resolve=1e-9)

SEGMENTATION_EXACT = Law(
    id="attention_only/segmentation-exact",
    source=Source(DERIVED),
    statement="""
    Where the events of attention_only/thresholded-rate hold, the head in which a token attends to itself is its
    cluster: adjusted Rand index 1, in every such layer. The same weights as a graph of tokens (components of who
    attends to whom, attention_only/segmentation-graph) say nothing.
    """,
    params=Passing,
    predict=lambda p: 1.0,
    measure=segmented,
    claim=RECOVERED,
    controls={
        "events ignored": but(claim=Equality(of="index", rounding=1.0, resolve=1e-9)),
        "the graph of tokens": but(measure=partial(segmented, by_graph=True)),
    },
    examples=(Passing(), Passing(heads=2, per_class=64, rank=48), Passing(rank=16), Passing(per_class=8, tau=0.9)),
    draws=Draws(shapes=6, values=3),
)

SEGMENTATION_GRAPH = Law(
    id="attention_only/segmentation-graph",
    source=Source(DERIVED),
    statement="""
    Where the events hold, nobody attends to anybody else: the graph of thresholded weights has N components, and its
    adjusted Rand index with the clusters is 0. The layer that denoises at the rate of the theorem has no affinities
    left; its clusters are in the heads.
    """,
    params=Passing,
    predict=lambda p: 0.0,
    measure=segmented,
    claim=Equality(of="graph", given="events", rounding=1.0, scale=1.0, resolve=1e-9),
    controls={"events ignored": but(claim=Equality(of="graph", rounding=1.0, scale=1.0, resolve=1e-9))},
    examples=SEGMENTATION_EXACT.examples,
    draws=Draws(shapes=6, values=3),
)


# ---------------------------------------------------------------------- typical


def agreement(p: Segmented, *, shift: float = 0.0) -> float:
    """Index of the passing fraction; `shift` moves the transition by so many log N_1 in rank."""
    fraction = passing_fraction(p.per_class, p.rank + shift * np.log(p.per_class))
    return float(partial_agreement(fraction, p.heads, p.per_class))


def through_fraction(p: Segmented) -> float:
    """attention_only/passing-fraction is good within .04: the change of the index when the fraction moves by that; and
    .6/N_1 for its scatter between clusters, variance f (1 - f)/N_1: half the curvature of the index times that is at
    most .6/N_1 for K <= 8"""
    f = float(passing_fraction(p.per_class, p.rank))
    ends = [partial_agreement(min(max(f + d, 0.0), 1.0), p.heads, p.per_class) for d in (-0.04, 0.04)]
    return float(np.max(np.abs(np.array(ends) - agreement(p)))) + 0.6 / p.per_class


SEGMENTATION_TYPICAL = Law(
    id="attention_only/segmentation-typical",
    source=Source(DERIVED),
    statement="""
    Near tau = 1/2 and at small noise the heads in which tokens attend to themselves recover a fraction f = Phi((c_1 -
    2) sqrt(log N_1)/2) of every cluster, c_1 = p/log N_1, and leave the others in one part: the adjusted Rand index is

        (S - AB/P)/((A+B)/2 - AB/P)    with the pairs that f leaves together.

    It rises from 0 to 1 around p = 2 log N_1; at that rank it is .23 for four clusters (f = 1/2).
    """,
    params=Segmented,
    predict=agreement,
    measure=segmented,
    claim=Equality(of="first", over="mean", stated=through_fraction, scale=1.0, resolve=0.15),
    controls={"transition at p = log N_1": but(predict=partial(agreement, shift=1.0))},
    examples=(Segmented(rank=8), Segmented(), Segmented(per_class=256, rank=11), Segmented(heads=2, rank=16)),
    draws=Draws(shapes=0, replicates=12),
)


def in_halves(p: Segmented) -> float:
    """.04 of the fraction over its slope in p, as attention_only/typical-boundary; and .2 ranks for .6/N_1 of the index
    over its slope there"""
    return four_hundredths_in_rank(p) + 0.2  # type: ignore[arg-type]  # it reads per_class alone


def around(p: Segmented) -> np.ndarray:
    """whole ranks around 2 log N_1"""
    middle = int(2 * np.log(p.per_class))
    return np.arange(max(2, middle - 4), middle + 6)


SEGMENTATION_BOUNDARY = Law(
    id="attention_only/segmentation-boundary",
    source=Source(DERIVED),
    statement="""
    Half of every cluster is recovered by the heads in which tokens attend to themselves at p = 2 log N_1 (near tau =
    1/2, N_1 >= 64): there the adjusted Rand index passes the value of half found clusters. Labels by energy have no
    such boundary.
    """,
    params=Segmented,
    predict=lambda p: 2 * float(np.log(p.per_class)),
    measure=segmented,
    claim=Crossover(of="excess", along="rank", level=0.0, falling=False, axis=around, stated=in_halves, resolve=0.15),
    controls={
        "c_1 = 5/2": but(predict=lambda p: 2.5 * float(np.log(p.per_class))),
        "labels by energy": but(measure=partial(segmented, by_energy=True)),
    },
    examples=(
        Segmented(), Segmented(heads=2, per_class=256), Segmented(heads=2, delta=0.02),
        Segmented(heads=3, per_class=100),
    ),
    draws=Draws(shapes=0, replicates=8),
)


# ---------------------------------------------------------------------- energies


class Faint(Segmented):
    """Noise so strong and ranks so small that some tokens are larger in a foreign head."""

    rank: Annotated[int, Ge(1), Le(16)] = 4
    per_class: Annotated[int, Ge(16), Le(1024)] = 64
    delta: Annotated[float, Ge(0.1), Le(0.95)] = 0.5
    layers: Literal[1] = 1

    @model_validator(mode="after")
    def _some_err(self) -> Self:
        # P(delta² chi²_p > chi²_p) for each foreign head, taken as independent: needs no scipy when points are made
        angles = np.linspace(0.0, np.arctan(self.delta), 201)
        two = 2 * np.trapezoid((np.sin(angles) * np.cos(angles)) ** (self.rank - 1), angles)
        wrong = 1 - (1 - two * gamma(self.rank) / gamma(self.rank / 2) ** 2) ** (self.heads - 1)
        expected = self.heads * self.per_class * wrong
        if expected < 10:
            raise ValueError(
                f"rank={self.rank}, delta={self.delta}: about {expected:.2g} wrong labels among "
                f"{self.heads * self.per_class} tokens are too few to count (10); lower rank or raise delta"
            )
        return self


ENERGY_LABELS = Law(
    id="attention_only/energy-labels",
    source=Source(DERIVED),
    statement="""
    The head with the largest coordinates, argmax_k |W_k|, is the Bayes rule for equally likely clusters, and errs with
    probability 1 - E F_p(r/delta²)^(K-1), r ~ chi²_p, exactly, whatever the number of tokens. There is no boundary in
    p/log N: what self attention needs is not needed to know the cluster.
    """,
    params=Faint,
    predict=lambda p: energy_error(p.heads, p.rank, p.delta),
    measure=segmented,
    claim=Equality(of="mistakes", over="mean", resolve=0.15),
    controls={
        "one head fewer": but(predict=lambda p: energy_error(max(2, p.heads - 1), p.rank, p.delta)),
        "delta for delta^2": but(predict=lambda p: energy_error(p.heads, p.rank, p.delta**0.5)),
    },
    examples=(Faint(), Faint(rank=1, per_class=256), Faint(heads=8, rank=8, delta=0.7), Faint(heads=2, rank=2)),
    draws=Draws(shapes=0, replicates=16),
)
