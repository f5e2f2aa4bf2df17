"""Operator norm and coherence of convolutional dictionaries, against the dense matrix."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Equality
from lab.data.convolutional import dictionary, filter_bank
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, Params
from lab.systems.sparse_coding import theory

PSE = "arXiv:1707.06066"
DERIVED = "derived for this laboratory; not found in the cited papers"


class Bank(Params):
    """M filters of length n in C channels, Gaussian and normalised, on a circle of at least ``2n - 1``."""

    count: Annotated[int, Ge(1), Le(4)] = 3
    channels: Annotated[int, Ge(1), Le(3)] = 1
    size: Annotated[int, Ge(1), Le(8)] = 5
    length: Annotated[int, Ge(4), Le(40)] = 24

    @model_validator(mode="after")
    def _filters_fit(self) -> Self:
        if 2 * self.size - 1 > self.length:
            raise ValueError(f"size={self.size} needs length >= {2 * self.size - 1}; raise length or lower size")
        return self


def bank(p: Bank, stream) -> dict[str, np.ndarray]:
    """The filters."""
    return {"filters": filter_bank(stream.numpy("filters"), count=p.count, size=p.size, channels=p.channels)}


@measurement
def dense_norm(p: Bank, data, stream, *, circular: bool = True):
    """Squared spectral norm of the dense dictionary; with zero padding unless `circular`."""
    return np.linalg.norm(dictionary(data["filters"], p.length, circular=circular), 2) ** 2


def norm_units(p: Bank, data) -> float:
    """a singular value of a (C N, M N) matrix is off by max(C, M) N epsilons of itself, its square by twice as much;
    the Fourier sums add n epsilons"""
    return 4 * (max(p.channels, p.count) * p.length + p.size) * theory.operator_norm(data["filters"], p.length)


def circular_norm(p: Bank, data, *, longer: bool = False) -> float:
    """L of the circle; `longer` by n - 1, which contains the padded signal."""
    return theory.operator_norm(data["filters"], p.length + (p.size - 1 if longer else 0))


OPERATOR_NORM = Law(
    id="sparse_coding/operator-norm",
    source=Source("standard; the coding layer of arXiv:2302.09347 estimates L by power iteration, hence from below"),
    statement="""
    On a circle ``L = |D|² = max over omega of sigma_max(D^(omega))²``, D^ the C x M matrix of Fourier sums of the
    filters. Measured: spectral norm of the dense dictionary.
    """,
    params=Bank,
    situation=bank,
    predict=circular_norm,
    measure=dense_norm,
    claim=Equality(rounding=norm_units),
    controls={"zero padding": but(measure=partial(dense_norm, circular=False))},
    examples=(Bank(), Bank(count=1, size=1, length=4), Bank(channels=3, count=2), Bank(count=4, size=8, length=15)),
    draws=Draws(shapes=20, values=1),
)

ZERO_PADDING_NORM = Law(
    id="sparse_coding/zero-padding-norm",
    source=Source(DERIVED),
    statement="""
    With zero padding at length N, L is at most that of the circle of N + n - 1, of which the padded dictionary is a
    part: cut to N entries and N shifts. Attained for filters of length 1.
    """,
    params=Bank,
    situation=bank,
    predict=partial(circular_norm, longer=True),
    measure=partial(dense_norm, circular=False),
    claim=Bound(side="upper", rounding=norm_units, resolve=1e-9),
    controls={"nine tenths of it": but(predict=lambda p, data: 0.9 * circular_norm(p, data, longer=True))},
    examples=OPERATOR_NORM.examples,
    draws=Draws(shapes=20, values=1),
)


@measurement
def dense_coherence(p: Bank, data, stream):
    """Largest off-diagonal entry of the Gram matrix of the dense dictionary."""
    D = dictionary(data["filters"], p.length)
    gram = np.abs(D.T @ D)
    np.fill_diagonal(gram, 0.0)
    return gram.max()


def unshifted(p: Bank, data) -> float:
    """Largest correlation of two filters without a shift."""
    flat = data["filters"].reshape(p.count, -1)
    gram = np.abs(flat @ flat.T)
    np.fill_diagonal(gram, 0.0)
    return float(gram.max())


def sums(p) -> float:
    """sums of n C products of numbers whose squares sum to 1, on both sides"""
    return 2.0 * p.size * p.channels


COHERENCE = Law(
    id="sparse_coding/coherence",
    source=Source(PSE, "definition of mutual coherence"),
    statement="""
    On circles of at least 2n - 1 the mutual coherence is the largest correlation |<d_a, d_b shifted by j>| over filters
    and shifts |j| < n (a filter with itself unshifted left out), whatever the length of the circle.
    """,
    params=Bank,
    situation=bank,
    predict=lambda p, data: theory.coherence(data["filters"]),
    measure=dense_coherence,
    claim=Equality(rounding=sums, scale=1.0),
    controls={"unshifted filters only": but(predict=unshifted)},
    examples=OPERATOR_NORM.examples,
    draws=Draws(shapes=20, values=1),
)


class Optimised(Params):
    """M filters of length n in C < M channels, as incoherent as an optimiser makes them."""

    count: Annotated[int, Ge(2), Le(4)] = 2
    channels: Annotated[int, Ge(1), Le(2)] = 1
    size: Annotated[int, Ge(1), Le(5)] = 2

    @model_validator(mode="after")
    def _more_filters_than_channels(self) -> Self:
        if self.count <= self.channels:
            raise ValueError(f"count={self.count} must exceed channels={self.channels}: fewer can be orthogonal")
        return self


@measurement
def optimised_coherence(p: Optimised, stream, *, norm: float = 1.0):
    """Coherence of optimised filters of length `norm`, from the dense Gram matrix on a circle of ``2n - 1``."""
    filters = filter_bank(stream.numpy("filters"), count=p.count, size=p.size, channels=p.channels, kind="optimised")
    D = norm * dictionary(filters, 2 * p.size - 1)
    gram = np.abs(D.T @ D)
    np.fill_diagonal(gram, 0.0)
    return gram.max()


def welch_of_window(p: Optimised) -> float:
    """The bound with n in place of the 2n - 1 shifts at which filters overlap."""
    return float(np.sqrt((p.count - p.channels) / (p.channels * (p.count * p.size - 1))))


WELCH_BOUND = Law(
    id="sparse_coding/welch-bound",
    source=Source(PSE, "for one channel; several channels derived for this laboratory"),
    statement="""
    The coherence of M filters of length n in C < M channels on circles of at least 2n - 1 is at least
    sqrt((M - C)/(C (M (2n - 1) - 1))). Attained by two filters of length 2: 1/sqrt 5. Measured on filters that an
    optimiser has made as incoherent as it can.
    """,
    params=Optimised,
    predict=lambda p: theory.welch_bound(p.count, p.size, p.channels),
    measure=optimised_coherence,
    claim=Bound(side="lower", rounding=sums, scale=1.0, resolve=1e-4),
    controls={
        "n for 2n - 1 shifts": but(predict=welch_of_window),
        "filters of length .9": but(measure=partial(optimised_coherence, norm=0.9)),
    },
    examples=(Optimised(), Optimised(size=3), Optimised(count=3, size=4), Optimised(count=3, channels=2, size=2)),
    draws=Draws(shapes=6, values=1),
)
