"""``lab show``: all there is to know about one law or study, and where it lives."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import registry
from lab.commands.names import all_studies, everything_in, imported, is_file
from lab.commands.output import console, count, point, prose, statement, table
from lab.errors import InputError

if TYPE_CHECKING:
    from lab.law import Law
    from lab.study import Study

__all__ = ["show"]


def show(name: str) -> int:
    """Print a law, a study, or what a file defines.

    Raises
    ------
    UnknownName
        If there is no such law or study; the message offers the nearest ids.
    """
    if is_file(name):
        laws, studies = everything_in(name)
        for one in (*studies, *laws):
            _show(one, name)
        return 0
    with imported(name):
        found = registry.find(name)
    _show(found, None)
    return 0


def _show(found: Any, file: str | None) -> None:
    from lab.law import Law

    out = console()
    if isinstance(found, Law):
        _law(out, found, file)
    else:
        _study(out, found, file)


def _law(out: Any, law: Law, file: str | None) -> None:
    home = _home(law)
    out.print(f"{law.id}   {law.kind}, {law.source}\n", style="bold")
    out.print(statement(law) + "\n")
    _section(out, "Domain", [_summary(law.params)])
    domain = table("parameter", "type", "range", "default")
    for row in law.params.describe():
        domain.add_row(*row)
    out.print(domain)
    _section(out, "Conventions", [prose(inspect.cleandoc(home.__doc__ or ""))] if home else [])
    relatives = []
    if law.erratum_of is not None:
        relatives.append(f"printed form of {law.erratum_of}, which corrects it; expected to be refuted")
    relatives += [f"corrects {one.id} ({one.source})" for one in _siblings(law) if one.erratum_of == law.id]
    _section(out, "Erratum", relatives)
    _section(out, "Controls, which must be refuted", _controls(law))
    _section(out, "Examples, always judged", [point(example.values()) or "(no parameters)" for example in law.examples])
    draws = law.draws
    drawn = f"draws {draws.shapes * draws.values} points more" if draws.shapes else "judges the examples alone"
    _section(out, "Claim", [
        f"{law.kind} of {law.claim.of!r}" + (f" along {law.claim.axis_name!r}" if law.claim.axis_name else "")
        + f"; a check {drawn}, {count(draws.replicates, 'replicate')} each; needs resolution {law.claim.resolve:g}",
        *(f"{source}: {text or '(no derivation given)'}" for source, text in law.claim.derivations().items()),
    ])  # fmt: skip
    studies = [study for study in all_studies()[0] if law.id in [one.id for one in study.laws]]
    _section(out, "Rooms", _rooms(law, home, studies))
    name = file or law.id
    run = [f"lab check {name}", f"lab refute {name}", *(f"lab run {study.id}" for study in studies)]
    _section(out, "Run", run)


def _study(out: Any, study: Study, file: str | None) -> None:
    out.print(f"{study.id}   study", style="bold")
    if study.title:
        out.print(f"\n{study.title}")
    _section(out, "Laws", [f"{law.id}   {law.kind}, {law.source}" for law in study.laws])
    problems: list[str] = []
    sizes = table("preset", "law", "points", "measurements", right=("points", "measurements"))
    for preset in study.presets:
        for law in study.laws:
            try:
                asked = study.grid(law, preset).requests(law.params)
            except InputError as problem:
                problems.append(f"preset {preset}, {law.id}: {problem}")
                continue
            total = sum(len(points) * replicates for points, replicates in asked)
            sizes.add_row(preset, law.id, str(sum(len(points) for points, _ in asked)), str(total))
    out.print("\nPresets", style="bold")
    out.print(sizes)
    _section(out, "Presets that cannot run", problems)
    _section(out, "Results", [_results(study)])
    _section(out, "Run", [f"lab run {file or study.id} --preset {preset}" for preset in study.presets])


# ---------------------------------------------------------------------- where things live


def _rooms(law: Law, home: Any, studies: list[Study]) -> list[str]:
    """The files in which the law, its studies, its checks and its results live."""
    package = Path(home.__file__) if home is not None and home.__file__ else None
    rooms = []
    if package is not None and package.name == "__init__.py":
        folder = package.parent
        laws = folder / "laws.py"
        rooms.append(f"law       {_short(laws if laws.is_file() else folder / 'laws')}")
    closed_form = _place(law.predict)
    if closed_form:
        rooms.append(f"formula   {closed_form}")
    measured = _place(law.plan.measurement.function)
    if measured:
        rooms.append(f"measured  {measured}")
    files = {study.id: file for file in registry.experiment_files() for study in _studies_of(file)}
    rooms += [f"study     {_short(files[study.id])}   {study.id}" for study in studies if study.id in files]
    roots = dict.fromkeys([Path.cwd(), Path(__file__).resolve().parent.parent.parent])
    checks = [f for root in roots for f in sorted((root / "theory_checks").glob(f"test_{law.system}*.py"))]
    rooms += [f"checks    {_short(file)}" for file in dict.fromkeys(checks)]
    rooms += [f"results   {_results(study)}" for study in studies]
    return rooms


def _results(study: Study) -> str:
    folder = Path("results") / registry.slug(study.id)
    done = sorted(file.parent.name for file in folder.glob("*/verdicts.json"))
    return f"{folder}/   {', '.join(done) if done else 'not run yet'}"


def _studies_of(file: Path) -> list[Study]:
    module = sys.modules.get(f"lab_file_{file.stem}")
    return [] if module is None else registry.studies_in(module)


def _home(law: Law) -> Any:
    """The package of the law's system, whose docstring holds the conventions; of a file's law, the file."""
    name = law.params.__module__
    if name.startswith("lab.systems."):
        return importlib.import_module(".".join(name.split(".")[:3]))
    module = sys.modules.get(name)
    return sys.modules.get(getattr(module, "__package__", "") or name, module)


def _siblings(law: Law) -> Iterable[Law]:
    return registry.laws(law.system) if law.system in registry.systems() else ()


def _place(function: Any) -> str:
    """File and line of a function; of a partial, of what it wraps."""
    while hasattr(function, "func"):
        function = function.func
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else f"{_short(Path(code.co_filename))}:{code.co_firstlineno}"


def _short(path: Path) -> str:
    """A path relative to the current folder if it lies below it."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


# ---------------------------------------------------------------------- words


def _controls(law: Law) -> list[str]:
    changes = {name: change.changes.items() for name, change in law.controls.items()}
    return [f"{name}: {', '.join(f'{k}={_value(v)}' for k, v in items)}" for name, items in changes.items()]


def _value(value: Any) -> str:
    """A change of a control in short: a partial by its knobs, a function by its name."""
    if hasattr(value, "func"):
        knobs = ", ".join(f"{name}={knob!r}" for name, knob in value.keywords.items())
        return f"{_value(value.func)}({knobs})"
    return getattr(value, "__qualname__", None) or repr(value)


def _summary(params: Any) -> str:
    """The first sentence on a domain; pydantic's own docstring is not one."""
    return inspect.cleandoc(params.__doc__ or "").split("\n\n")[0] if "__doc__" in vars(params) else ""


def _section(out: Any, heading: str, lines: Iterable[str]) -> None:
    lines = [line for line in lines if line]
    if not lines:
        return
    out.print(f"\n{heading}", style="bold")
    for line in lines:
        out.print("\n".join(f"  {part}" for part in line.split("\n")), soft_wrap=True)
