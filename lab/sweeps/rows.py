"""Items (what to measure) and rows (what was measured): one per point, replicate and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.errors import InputError
from lab.measure import Plan
from lab.params import Params

__all__ = ["Item", "Job", "Row", "failure_of", "items", "observables"]


@dataclass(frozen=True, slots=True)
class Item:
    """One draw of one point, with the digests that name its randomness."""

    key: str
    p: Params
    replicate: int
    seed: int
    words: np.ndarray
    situation_words: np.ndarray


@dataclass(slots=True)
class Row:
    """What was observed at one point, replicate and seed.

    Attributes
    ----------
    key : str
        Digest of measurement, knobs, revision, canonical parameters, replicate and seed.
    observed : dict of str to array
        Scalars are 0-d arrays. Empty if the measurement raised.
    failure : str or None
        Why this row cannot be judged: an exception, or ``non-finite: name, ...`` (the values are kept).
    """

    key: str
    p: Params
    replicate: int
    seed: int
    observed: dict[str, np.ndarray]
    failure: str | None
    plan: Plan


@dataclass(frozen=True)
class Job:
    """One request: these points, replicates and root seed of one plan."""

    plan: Plan
    points: Sequence[Params]
    replicates: Sequence[int]
    seed: int = 0


def items(plan: Plan, points: Iterable[Params], replicates: Iterable[int], seed: int) -> list[Item]:
    """All items of a request, point by point.

    Parameters and streams are hashed once per point; the replicate enters the key last, as it enters the stream.
    """
    replicates = [_count("replicate", r) for r in replicates]
    found = []
    for p in points:
        words, situation_words = plan.streams(p, seed)
        point = hashlib.blake2b(f"{plan.identity}\n{p.canonical()}\n{seed}\n".encode(), digest_size=16)
        for replicate in replicates:
            key = point.copy()
            key.update(str(replicate).encode())
            found.append(Item(key.hexdigest(), p, replicate, seed, words, situation_words))
    return found


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or int(value) != value or not 0 <= value < 2**32:
        raise InputError(f"{name}={value!r} must be a whole number from 0 to 2^32 - 1; count replicates from 0")
    return int(value)


def observables(result: Any, name: str, convert: Any = np.array) -> dict[str, Any]:
    """A measurement's result as a dictionary of arrays; a bare number or array is called ``value``."""
    if not isinstance(result, Mapping):
        result = {"value": result}
    found = {}
    for key, value in result.items():
        if not isinstance(key, str) or isinstance(value, Mapping) or value is None:
            raise InputError(
                f"{name} returned {key!r}: {type(value).__name__}; return a number, an array or a dictionary of "
                "names to numbers and arrays"
            )
        array = convert(value)
        if np.dtype(array.dtype).kind not in "biufU":
            raise InputError(
                f"{name} returned {key!r} of type {array.dtype}; return real numbers, truth values or text "
                "(a complex number as its real and imaginary parts, ragged lists padded)"
            )
        found[key] = array
    return found


def failure_of(observed: Mapping[str, np.ndarray]) -> str | None:
    """``non-finite: names`` if any observable is infinite or NaN."""
    bad = [name for name, value in observed.items() if value.dtype.kind == "f" and not np.isfinite(value).all()]
    return f"non-finite: {', '.join(bad)}" if bad else None
