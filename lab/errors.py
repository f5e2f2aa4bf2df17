"""What can go wrong with input, said in one sentence: name, value, rule, way out.

Every error here is the user's to mend, so the command line prints the sentence and exits with 2. A failure
of a measurement (an exception, a non-finite value) is not an input error: it is recorded as a failure.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "OutOfDomain", "StaleRows", "UnknownName", "nearest"]


class InputError(ValueError):
    """Bad input; the message names the value, the rule and the way out."""


class OutOfDomain(InputError):
    """Parameters outside the domain of a law: the theorem says nothing there."""


class UnknownName(InputError, KeyError):
    """An id, field, preset or file that does not exist; the message offers the nearest ones."""

    __str__ = ValueError.__str__  # KeyError would print the repr of the sentence


class StaleRows(InputError):
    """Stored rows were measured by other code than the code at hand, under the same revision."""


def nearest(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for an unknown `name`, with the closest of the `known` ones (at most five)."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.3)
    # an id is often remembered by a part of it, which edit distance misses
    close += [k for k in known if name.lower() in k.lower() and k not in close]
    offer = f"nearest: {', '.join(close[:5])}" if close else f"known: {', '.join(known[:12]) or 'none'}"
    return UnknownName(f"{kind} {name!r} does not exist; {offer}")
