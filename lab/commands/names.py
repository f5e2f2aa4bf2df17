"""From names on the command line to laws and studies: ids, systems and files."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lab import registry
from lab.errors import InputError, UnknownName, nearest

if TYPE_CHECKING:
    from lab.law import Law
    from lab.study import Study

__all__ = ["all_studies", "everything_in", "imported", "is_file", "laws_named", "study_named"]


def is_file(name: str) -> bool:
    """Whether a name on the command line means a Python file."""
    return name.endswith(".py")


@contextlib.contextmanager
def imported(what: str) -> Iterator[None]:
    """What goes wrong while a user's file is imported, as one sentence that names the line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        where, problem = _line(error) or what, f"{type(error).__name__}: {error}"
        if isinstance(error, SyntaxError):
            where, problem = f"{error.filename}, line {error.lineno}", f"syntax error: {error.msg}"
        raise InputError(f"{where}: {problem}; mend it (run with python, the file shows its traceback)") from error


def _line(error: BaseException) -> str | None:
    """File and line of the innermost frame that is not of this package or of the import system."""
    own = str(Path(__file__).resolve().parent.parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename[0] != "<"]
    outside = [f for f in frames if not f.filename.startswith(own) and "site-packages" not in f.filename]
    return f"{outside[-1].filename}, line {outside[-1].lineno}" if outside else None


def everything_in(path: str) -> tuple[list[Law], list[Study]]:
    """Laws and studies of a file; the laws of its studies count as its own."""
    with imported(path):
        module = registry.load_file(path)
    studies = registry.studies_in(module)
    laws = [*registry.laws_in(module), *(law for study in studies for law in study.laws)]
    return list({law.id: law for law in laws}.values()), studies


def laws_named(names: Iterable[str]) -> list[Law]:
    """The laws meant by ids, systems and files, each once; all registered laws without a name."""
    names = list(names)
    found: list[Law] = [] if names else registry.laws()
    for name in names:
        if is_file(name):
            laws = everything_in(name)[0]
            if not laws:
                raise InputError(f"{name} defines no law; write one, e.g. with `lab new law NAME`")
            found += laws
        elif name in registry.systems():
            found += registry.laws(name)
        else:
            found.append(_law(name))
    return list({law.id: law for law in found}.values())


def _law(id: str) -> Law:
    try:
        return registry.law(id)
    except UnknownName:
        known = [*registry.systems(), *(law.id for law in registry.laws())]
        raise nearest("law or system", id, known) from None


def study_named(name: str) -> Study:
    """The study of an id or of a file."""
    with imported(name):
        return registry.study(name)


def all_studies() -> tuple[list[Study], list[str]]:
    """Studies of the experiments folders, and one sentence for each file that cannot be imported."""
    found: dict[str, Study] = {}
    problems = []
    for path in registry.experiment_files():
        try:
            for study in everything_in(str(path))[1]:
                found.setdefault(study.id, study)
        except InputError as problem:
            problems.append(str(problem))
    return list(found.values()), problems
