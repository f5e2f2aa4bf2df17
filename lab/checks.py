"""Domains of closed forms: each check returns clean numbers or raises one sentence.

A value outside a domain never yields a number: the error names the parameter, its value, the rule, the way out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lab.errors import OutOfDomain

__all__ = ["checked", "fraction", "integer", "non_negative", "positive"]


def checked(
    name: str, value: Any, ok: Callable[[np.ndarray], np.ndarray], rule: str, where: Any = True
) -> np.ndarray:
    """`value` as a float array, or OutOfDomain naming the first entry (among `where`) that violates `rule`."""
    value = np.asarray(value, dtype=float)
    bad = ~ok(value) & where  # NaN fails every comparison, hence every rule
    if np.any(bad):
        first = float(np.broadcast_to(value, bad.shape)[bad][0])
        raise OutOfDomain(f"{name}={first!r}: {rule}")
    return value


def positive(name: str, value: Any) -> np.ndarray:
    """A positive finite number or array of them."""
    return checked(name, value, lambda v: (v > 0) & np.isfinite(v), "must be positive and finite")


def non_negative(name: str, value: Any) -> np.ndarray:
    """A non-negative finite number or array of them."""
    return checked(name, value, lambda v: (v >= 0) & np.isfinite(v), "must be non-negative and finite")


def fraction(name: str, value: Any, *, open: bool = True) -> np.ndarray:
    """A number in (0, 1), or in [0, 1] if not `open`."""
    if open:
        return checked(name, value, lambda v: (v > 0) & (v < 1), "must lie strictly between 0 and 1")
    return checked(name, value, lambda v: (v >= 0) & (v <= 1), "must lie in [0, 1]")


def integer(name: str, value: Any, least: int) -> int:
    """A whole number, at least `least`."""
    if int(value) != value or value < least:
        raise OutOfDomain(f"{name}={value!r}: must be an integer >= {least}")
    return int(value)
