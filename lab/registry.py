"""Laws and studies by id; systems are imported when they are first asked for.

A system is a subpackage of `lab.systems` with a ``laws`` module, or one that another distribution offers under the
entry point group ``lab.systems`` (name = system, value = the laws module). Studies are files of an ``experiments``
folder (the current folder's, and the project's own checkout), one `Study` in each.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lab.errors import InputError, UnknownName, nearest

if TYPE_CHECKING:
    from lab.law import Law
    from lab.study import Study

__all__ = ["experiment_files", "find", "law", "laws", "load_file", "studies", "study", "systems"]


@functools.cache
def _modules() -> dict[str, str]:
    """System -> its laws module."""
    import lab.systems

    own = {m.name: f"lab.systems.{m.name}.laws" for m in pkgutil.iter_modules(lab.systems.__path__) if m.ispkg}
    return own | {point.name: point.value for point in entry_points(group="lab.systems")}


def systems() -> list[str]:
    """Names of the systems, sorted."""
    return sorted(_modules())


def laws(system: str | None = None) -> list[Law]:
    """The laws of one system, or of all, in the order in which their modules define them."""
    if system is not None and system not in _modules():
        raise nearest("system", system, systems())
    chosen = systems() if system is None else [system]
    return [law for name in chosen for law in laws_in(importlib.import_module(_modules()[name]))]


def laws_in(module: ModuleType) -> list[Law]:
    """The laws that a module defines or exports."""
    from lab.law import Law

    return list({v.id: v for v in vars(module).values() if isinstance(v, Law)}.values())


def law(id: str) -> Law:
    """The law of this id; only its system is imported.

    Examples
    --------
    >>> law("mcr2/spinodal").kind
    'crossover'
    """
    system = id.partition("/")[0]
    if system in _modules():
        for one in laws(system):
            if one.id == id:
                return one
    raise nearest("law", id, [one.id for one in laws()])


def find(id: str) -> Law | Study:
    """The law or the study of this id."""
    try:
        return law(id)
    except UnknownName:
        everything = {one.id: one for one in studies()}
        if id in everything:
            return everything[id]
        raise nearest("law or study", id, [*everything, *(one.id for one in laws())]) from None


def experiment_files() -> list[Path]:
    """Files of the experiments folders: the current folder's first, then the checkout's that holds this package."""
    folders = dict.fromkeys([Path.cwd() / "experiments", Path(__file__).resolve().parent.parent / "experiments"])
    return [f for folder in folders if folder.is_dir() for f in sorted(folder.glob("*.py")) if f.name[0] != "_"]


def studies() -> list[Study]:
    """All studies of the experiments folders; of two with one id, that of the current folder."""
    found: dict[str, Any] = {}
    for path in experiment_files():
        for one in studies_in(load_file(path)):
            found.setdefault(one.id, one)
    return list(found.values())


def studies_in(module: ModuleType) -> list[Study]:
    """The studies that a module defines."""
    from lab.study import Study

    return list({v.id: v for v in vars(module).values() if isinstance(v, Study)}.values())


def study(name: str) -> Study:
    """A study by id, or the one that a file defines."""
    path = Path(name)
    if path.suffix == ".py":
        found = studies_in(load_file(path))
        if len(found) != 1:
            ids = ", ".join(one.id for one in found) or "none"
            raise InputError(f"{name} defines {len(found)} studies ({ids}); a study file defines exactly one Study")
        return found[0]
    for file in experiment_files():
        if file.stem == slug(name):  # the study's own file, without importing its neighbours
            for one in studies_in(load_file(file)):
                if one.id == name:
                    return one
    everything = {one.id: one for one in studies()}
    if name not in everything:
        raise nearest("study", name, everything)
    return everything[name]


def slug(id: str) -> str:
    """Folder and file name of an id: ``mcr2/phase-diagram`` -> ``mcr2_phase_diagram``."""
    return id.replace("/", "_").replace("-", "_")


def load_file(path: str | Path) -> ModuleType:
    """Import a user's file as a module of its own; its folder is importable while it loads."""
    path = Path(path).resolve()
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        there = ", ".join(sorted(siblings)[:8]) or "none"
        raise UnknownName(f"file {path} does not exist; python files there: {there}")
    name = f"lab_file_{path.stem}"
    module = sys.modules.get(name)
    if module is not None and getattr(module, "__file__", None) == str(path):
        return module
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"file {path} cannot be imported as Python; give a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module
