"""Sweeps: grids of points, measured in compiled blocks, stored as rows, resumed.

``lab.sweep(function, grid)`` measures any function; this module is callable so that the name serves both.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.sweep.engine import Engine, frame
    from lab.sweep.functions import sweep
    from lab.sweep.grid import Grid, log_grid
    from lab.sweep.rows import Job, Row
    from lab.sweep.store import Store

__all__ = ["Engine", "Grid", "Job", "Row", "Store", "frame", "log_grid", "sweep"]

_HOME = {
    "Engine": "engine", "frame": "engine", "sweep": "functions", "Grid": "grid", "log_grid": "grid", "Job": "rows",
    "Row": "rows", "Store": "store",
}  # fmt: skip


class _Sweep(types.ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        from lab.sweep.functions import sweep

        return sweep(*args, **options)


sys.modules[__name__].__class__ = _Sweep


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'lab.sweep' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lab.sweep.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
