"""Modules of torch classes that are made on first use, so that importing them does not load torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["on_first_use"]


def on_first_use(
    module: str, names: Sequence[str], make: Callable[[], Mapping[str, Any]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a module whose `names` `make` makes, all together, at first use.

    Parameters
    ----------
    module : str
        Its ``__name__``, for the error about a name it has not.
    names : sequence of str
        Its ``__all__``.
    make : function
        From nothing to the classes by name; it should remember them (`functools.cache`).
    """

    def attribute(name: str) -> Any:
        if name in names:
            return make()[name]
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return attribute, lambda: sorted(names)
