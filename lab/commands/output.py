"""How commands print: tables for people, JSON for programs, progress on standard error."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.law import Law

__all__ = ["console", "count", "number", "point", "print_json", "progress", "prose", "silent", "statement", "table"]

_WIDE = 150  # columns where there is no terminal: files and pipes are read with other tools, which do not wrap


def console() -> Any:
    """A rich console on standard output, as wide as the terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, markup=False)


def table(*headings: str, right: tuple[str, ...] = (), title: str | None = None) -> Any:
    """An empty table in the one style that all commands use; columns named in `right` hold numbers."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, show_edge=False)
    for heading in headings:
        made.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return made


def number(value: Any, digits: int = 4) -> str:
    """A number for people: four significant digits; a dash for none.

    Examples
    --------
    >>> number(0.123456), number(12), number(None), number(float("inf"))
    ('0.1235', '12', '-', 'inf')
    """
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, list | tuple):
        return "(" + ", ".join(number(v, digits) for v in value) + ")"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def point(values: Mapping[str, Any]) -> str:
    """A point of a domain on one line: ``x=0.3, tau=0.5``."""
    return ", ".join(f"{name}={number(value, 6)}" for name, value in values.items())


def statement(law: Law) -> str:
    """The statement of a law without the sections on arguments and results that a docstring may add."""
    return prose(law.words)


def prose(docstring: str) -> str:
    """A docstring up to its first section (``Parameters``, ``References``, ...)."""
    return re.split(r"\n(?=[A-Z]\w+(?: \w+)?\n---+)", docstring)[0].strip()


def count(how_many: int, thing: str) -> str:
    """``1 law``, ``2 laws``; errata are given with their plural after a slash: ``erratum/errata``."""
    one, _, many = thing.partition("/")
    return f"{how_many} {one if how_many == 1 else many or f'{one}s'}"


def print_json(value: Any) -> None:
    """Print JSON; infinity and NaN become null."""
    from lab.study import finite

    print(json.dumps(finite(value), indent=1, allow_nan=False, default=lambda scalar: finite(scalar.tolist())))


def silent(as_json: bool) -> contextlib.AbstractContextManager[Any]:
    """While laws are imported and measured: what users' code prints must not mix with JSON, so it goes to stderr."""
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Progress on standard error: one changing line on a terminal, else one line for each step.

    Yields a function that is told the name of the step that begins.
    """
    start, done = time.monotonic(), 0
    if not sys.stderr.isatty():

        def tell(name: str) -> None:
            nonlocal done
            done += 1
            print(f"[{done}/{total}, {time.monotonic() - start:.0f} s] {name}", file=sys.stderr, flush=True)

        yield tell
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:

        def tell(name: str) -> None:
            nonlocal done
            done += 1
            status.update(f"{done}/{total} {name}")

        yield tell
