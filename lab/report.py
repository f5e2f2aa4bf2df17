"""One self-contained page of all results of a folder: no script, no external resource, readable on a phone.

The page shows what the runs left (``**/verdicts.json`` and the files beside it) and, if it is there, what a check
left (``check.json``, written by ``lab check --json > results/check.json``). Nothing is measured or judged anew.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.commands.formulas import statement_html
from lab.commands.names import all_studies, imported
from lab.commands.output import count, number, point, statement
from lab.errors import InputError, UnknownName

if TYPE_CHECKING:
    from lab.law import Law
    from lab.study import Study

__all__ = ["report"]

_SVG_LIMIT = 500_000  # bytes; beyond it the PNG is smaller
_GROUPS = 200  # rows of single groups shown for each run; the file has them all
_PRESETS = ("smoke", "default", "paper")


@dataclass
class Run:
    """What one run left in its folder, as the page shows it."""

    study: str
    preset: str
    folder: Path
    laws: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    provenance: dict[str, Any]
    figure: str | None
    wide: bool
    title: str = ""
    statements: list[dict[str, Any]] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", str(self.folder).lower()).strip("-")

    @property
    def command(self) -> str:
        """The command that reproduces the run."""
        about = self.provenance
        words = ["lab", "run", str(about.get("run") or self.study), "--preset", self.preset]
        words += ["--seed", str(about.get("seed", 0))]
        changes = about.get("set") or {}
        words += ["--set", *(f"{name}={text}" for name, text in changes.items())] if changes else []
        words += ["--device", "gpu"] if str(about.get("device", "")).startswith("gpu") else []
        return shlex.join(words)

    @property
    def facts(self) -> dict[str, str]:
        """Provenance in words."""
        about = dict(self.provenance)
        about["results"] = str(self.folder)
        hidden = {"study", "title", "run", "preset", "seed", "set", "laws"}  # said elsewhere on the page
        return {name: _words(value) for name, value in about.items() if name not in hidden and value not in (None, "")}


def report(folder: str | Path = "results") -> Path:
    """Write ``folder/index.html`` from all results below the folder, and return its path.

    Raises
    ------
    InputError
        If there is no such folder, no result in it, or the page cannot be written.
    """
    folder = Path(folder)
    runs, problems = _runs(folder)
    checks = [row | {"system": row["law"].partition("/")[0]} for row in _read(folder / "check.json", problems) or []]
    if not runs and not checks:
        raise InputError(
            f"{folder} holds no results{f' ({problems[0]})' if problems else ''}; run a study first, e.g. "
            "`lab run STUDY --preset smoke`, or give the folder of your results"
        )
    studies = {study.id: study for study in all_studies()[0]}
    ids = {row["law"] for run in runs for row in run.laws} | {row["law"] for row in checks}
    known = _known_laws(ids, studies.values(), problems)
    for run in runs:
        run.title = str(run.provenance.get("title") or "")
        run.statements = [about for row in run.laws if (about := _about_row(row, known, run.provenance))]
    page = folder / "index.html"
    temporary = page.with_suffix(".html.tmp")
    try:
        temporary.write_text(_html(runs, checks, known, problems), encoding="utf-8")
        temporary.replace(page)
    except OSError as error:
        raise InputError(f"{page} cannot be written: {error.strerror}; copy the results to another folder") from error
    return page


# ---------------------------------------------------------------------- reading


def _runs(folder: Path) -> tuple[list[Run], list[str]]:
    """Every run below the folder, sorted by study and preset, and a sentence for each that cannot be read."""
    found: list[Run] = []
    problems: list[str] = []
    for file in sorted(folder.glob("**/verdicts.json")):
        rows = _read(file, problems)
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) and "law" in row for row in rows or [0]):
            if rows is not None:
                problems.append(f"{file} is not a list of verdict rows; run the study again")
            continue
        about = file.parent / "provenance.json"
        provenance = (_read(about, problems) if about.is_file() else None) or {}
        found.append(Run(
            study=provenance.get("study") or file.parent.parent.name,
            preset=provenance.get("preset") or file.parent.name,
            folder=file.parent,
            laws=[row for row in rows if row.get("at") is None],
            groups=[row for row in rows if row.get("at") is not None],
            provenance=provenance,
            figure=_figure(file.parent),
            wide=_is_wide(file.parent),
        ))  # fmt: skip
    order = {name: place for place, name in enumerate(_PRESETS)}
    return sorted(found, key=lambda run: (run.study, order.get(run.preset, 9), str(run.folder))), problems


def _read(file: Path, problems: list[str]) -> Any:
    """JSON of a file; None, with a sentence among the problems, if it is damaged; None if it does not exist."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        problems.append(f"{file} cannot be read ({error}); run its command again")
        return None


def _figure(folder: Path) -> str | None:
    """The figure as a data address: it cannot run scripts, nor clash with the names inside another figure."""
    svg, png = folder / "figure.svg", folder / "figure.png"
    if svg.is_file() and svg.stat().st_size < _SVG_LIMIT:
        return f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode()}"
    if png.is_file():
        return f"data:image/png;base64,{base64.b64encode(png.read_bytes()).decode()}"
    return None


def _is_wide(folder: Path) -> bool:
    """Whether a figure has panels side by side: on a phone it then scrolls instead of shrinking to nothing."""
    png = folder / "figure.png"
    if not png.is_file():
        return False
    with png.open("rb") as handle:
        width, height = struct.unpack(">II", handle.read(24)[16:24].ljust(8, b"\0"))
    return bool(width > 1.8 * height)


def _known_laws(ids: Iterable[str], studies: Iterable[Study], problems: list[str]) -> dict[str, Law]:
    """The laws of these ids that are registered or belong to a study of the experiments folders."""
    from lab import registry

    found = {law.id: law for study in studies for law in study.laws}
    for id in sorted(set(ids) - set(found)):
        try:
            with imported(id):
                found[id] = registry.law(id)
        except UnknownName:  # of a file that is not at hand: the page does without its statement
            continue
        except InputError as problem:  # a broken system must not hide the results of the others
            problems.append(f"statement of {id}: {problem}")
    return found


# ---------------------------------------------------------------------- writing


def _html(runs: list[Run], checks: list[dict[str, Any]], known: Mapping[str, Law], problems: list[str]) -> str:
    import jinja2

    import lab

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lab"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number, "point": point, "count_of": count}
    verdicts = [(run, row) for run in runs for row in run.laws]
    laws = [row for row in checks if row.get("control") is None and row.get("expected") != "refuted"]
    controls = [row for row in checks if row.get("control") is not None]
    errata = [row for row in checks if row.get("control") is None and row.get("expected") == "refuted"]
    return environment.get_template("report.html.j2").render(
        version=lab.__version__, runs=runs, verdicts=verdicts, checks=checks, checked_laws=laws, controls=controls,
        errata=[row | {"about": _about(known[row["law"]]) if row["law"] in known else None} for row in errata],
        unexpected=[(run, row) for run, row in verdicts if not _good(row)],
        unexpected_checks=[row for row in checks if not _good(row)],
        problems=problems, good=_good, groups_shown=_GROUPS,
    )  # fmt: skip


def _good(row: Mapping[str, Any]) -> bool:
    return row.get("verdict") == row.get("expected")


def _about(law: Law) -> dict[str, Any]:
    from markupsafe import Markup

    html = Markup(statement_html(statement(law)))  # escapes the text
    return {"id": law.id, "source": str(law.source), "kind": law.kind, "statement": html, "erratum_of": law.erratum_of}


def _about_row(
    row: Mapping[str, Any], known: Mapping[str, Law], provenance: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Statement and source of a judged law: of the registered law, or, for a user's own, as the run wrote them."""
    from markupsafe import Markup

    if row["law"] in known:
        return _about(known[row["law"]])
    written = (provenance.get("laws") or {}).get(row["law"])
    if written is None:
        return None
    html = Markup(statement_html(written["statement"]))
    return {"id": row["law"], "source": written["source"], "kind": row["kind"], "statement": html, "erratum_of": None}


def _words(value: Any) -> str:
    """A value of the provenance in words: ``hash 1a2b, dirty False``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return str(value)
