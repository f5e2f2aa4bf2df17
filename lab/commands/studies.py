"""``lab run``: one study swept, judged and drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lab.commands.output import console, number, point, print_json, silent, table
from lab.commands.verdicts import check_seed
from lab.errors import InputError
from lab.registry import slug

if TYPE_CHECKING:
    from lab.cli import RunOptions
    from lab.judge import Check
    from lab.study import Result, Study

__all__ = ["overrides", "run_one"]

_WORST = 3  # groups named for each law with an unexpected verdict; the file has them all


def run_one(study: Study, options: RunOptions) -> int:
    """Run a study with the options of the command line; 0 if every law has its expected verdict, else 1.

    Without a preset, the one named ``default`` is run, or the first if none has that name.
    """
    changes = overrides(options.set)
    check_seed(options.seed)
    preset = options.preset or study.usual_preset
    folder = Path(options.out) if options.out is not None else Path("results") / slug(study.id) / preset
    _check_writable(folder)
    try:
        with silent(options.json):
            result = study.run(
                preset, overrides=changes, seed=options.seed, device=options.device, workers=options.workers,
                cluster=options.cluster, out=folder, progress=True,
            )  # fmt: skip
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InputError(f"{error.filename}: {error.strerror}; choose another folder with --out DIR") from error
    if options.json:
        print_json(result.verdicts)
    else:
        _print_result(result)
    return 0 if result.as_expected else 1


def overrides(words: Sequence[str]) -> dict[str, str]:
    """``["x=0.1,0.2", "n=4"]`` as a dictionary of texts."""
    found: dict[str, str] = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign or not name:
            raise InputError(f"--set {word!r} is not of the form name=value; write e.g. --set x=0.1,0.2")
        if name in found:
            raise InputError(f"--set {name} is given twice; write all values at once, {name}={found[name]},{text}")
        found[name] = text
    return found


def _check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written, before anything is measured."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{folder} cannot be made: {place} is a file; choose another folder with --out DIR")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{folder} cannot be written: no permission in {place}; choose another folder with --out DIR")


def _print_result(result: Result) -> None:
    out = console()
    numbers = ("predicted", "measured", "judged", "resolution")
    shown = table("", "law", "verdict", "expected", "groups", *numbers, "tolerance", right=numbers)
    for check in result.checks:
        v, good = check.verdict, check.as_expected
        shown.add_row(
            "" if good else "!", check.law.id, v.verdict, check.law.expected, _groups(check), number(v.predicted),
            number(v.measured), f"{v.judged}/{v.total}", number(v.resolution, 2), v.source,
            style=None if good else "bold red",
        )  # fmt: skip
    out.print(shown)
    for check in result.checks:
        if check.as_expected:
            continue
        v = check.verdict
        out.print(f"\n! {check.law.id} is {v.verdict}, expected {check.law.expected}: {v.reason}", soft_wrap=True)
        odd = [group for group in check.groups if group.verdict.verdict != check.law.expected]
        for group in sorted(odd, key=lambda g: -(g.verdict.margin or 0.0))[:_WORST]:
            out.print(f"  at {point(group.at)}: {group.verdict.verdict}, {group.verdict.reason}", soft_wrap=True)
    names = ("verdicts.json", "figure.png", "figure.svg", "provenance.json")
    files = ["rows/", *(name for name in names if (result.folder / name).is_file())]
    out.print(f"\n{result.folder}: {', '.join(files)}", soft_wrap=True)


def _groups(check: Check) -> str:
    """How many groups have which verdict: ``28 holds, 2 undecided``."""
    words: dict[str, int] = {}
    for group in check.groups:
        words[group.verdict.verdict] = words.get(group.verdict.verdict, 0) + 1
    return ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
