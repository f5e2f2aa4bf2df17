"""``lab list``: laws and studies."""

from __future__ import annotations

import sys

from lab import registry
from lab.commands.names import all_studies
from lab.commands.output import console, count, print_json, silent, table
from lab.errors import nearest

__all__ = ["list_everything"]


def list_everything(system: str | None = None, *, as_json: bool = False) -> int:
    """Print laws and studies, of one system or of all.

    Raises
    ------
    UnknownName
        If neither a law nor a study belongs to the system.
    """
    with silent(as_json):
        studies, problems = all_studies()
    if system is not None:
        studies = [study for study in studies if study.id.startswith(f"{system}/")]
        if system not in registry.systems() and not studies:
            raise nearest("system", system, registry.systems())
    laws = [] if system is not None and system not in registry.systems() else registry.laws(system)
    for problem in problems:
        print(problem, file=sys.stderr)
    if as_json:
        print_json({
            "laws": [
                {"id": law.id, "system": law.system, "kind": law.kind, "source": str(law.source),
                 "erratum": law.erratum_of is not None, "controls": list(law.controls)}
                for law in laws
            ],
            "studies": [
                {"id": study.id, "laws": [law.id for law in study.laws], "presets": list(study.presets)}
                for study in studies
            ],
        })  # fmt: skip
        return 0
    out = console()
    if laws:
        rows = table("law", "kind", "source", "erratum")
        for law in laws:
            rows.add_row(law.id, law.kind, str(law.source), "" if law.erratum_of is None else f"of {law.erratum_of}")
        out.print(rows)
    if studies:
        rows = table("study", "laws", "presets")
        for study in studies:
            rows.add_row(study.id, "\n".join(law.id for law in study.laws), ", ".join(study.presets))
        out.print(rows)
    errata = sum(law.erratum_of is not None for law in laws)
    totals = [count(len(laws) - errata, "law"), count(errata, "erratum/errata"), count(len(studies), "study/studies")]
    out.print(f"{', '.join(totals)}; `lab show ID` says more")
    return 0
