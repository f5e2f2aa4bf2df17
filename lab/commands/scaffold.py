"""``lab new``: a law or study that runs as it is, for the user to change."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from pathlib import Path

from lab.errors import InputError
from lab.registry import slug

__all__ = ["new"]

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*")
_SYSTEM = "user"  # of a name without one


def new(kind: str, name: str) -> int:
    """Write a scaffold into the current folder.

    Parameters
    ----------
    kind : "law" or "study"
    name : str
        ``my_law`` (of the system ``user``) or ``system/name``; the file is called after it.

    Raises
    ------
    InputError
        If the name is not made of lower-case words, would hide a Python module, or the file exists.
    """
    words = name.split("/")
    if len(words) > 2 or not all(_NAME.fullmatch(word) for word in words):
        raise InputError(
            f"name {name!r} is not made of lower-case words joined by - or _, at most one / between system and name; "
            "choose e.g. my_law or pca/overlap"
        )
    file = Path(f"{slug(name)}.py")
    if file.exists():
        raise InputError(f"{file} exists; choose another name, or remove the file first")
    if keyword.iskeyword(file.stem):
        raise InputError(f"name {name!r} is a word of Python; choose another, e.g. my_{file.stem}")
    if _hides(file.stem):
        raise InputError(
            f"{file} would hide the Python module {file.stem!r} from every script beside it; choose another name, "
            f"e.g. my_{file.stem}"
        )
    id = "/".join(word.replace("_", "-") for word in (words if len(words) == 2 else [_SYSTEM, *words]))
    try:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(_text(kind, id, file.name))
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}; change to another folder") from error
    command = "check" if kind == "law" else "run"
    print(f"wrote {file} ({kind} {id}); try it: lab {command} {file}")
    return 0


def _hides(module: str) -> bool:
    return module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None


def _text(kind: str, id: str, file: str) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lab"), undefined=jinja2.StrictUndefined, keep_trailing_newline=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("scaffold.py.j2").render(study=kind == "study", id=id, file=file)
