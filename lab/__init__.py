"""lab: a theory-driven synthetic laboratory for deep-learning theory.

A *law* is a published theorem, formula or scaling claim written once: its assumptions as a type, its prediction, a
measurement, a claim with a derived tolerance, and a control that must fail. The lab then says *holds*, *refuted* or
*undecided*, and how small an error of the formula it would have noticed.

>>> import lab
>>> lab.find("mcr2/spinodal").check().holds
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Bound": "lab.claims", "Classification": "lab.claims", "Crossover": "lab.claims", "Equality": "lab.claims",
    "Limit": "lab.claims", "Rate": "lab.claims", "Draws": "lab.law", "Law": "lab.law", "Source": "lab.law",
    "but": "lab.law", "measurement": "lab.measure", "Ge": "lab.params", "Gt": "lab.params", "Le": "lab.params",
    "LogScale": "lab.params", "Lt": "lab.params", "Params": "lab.params", "Static": "lab.params",
    "Traced": "lab.params", "find": "lab.registry", "laws": "lab.registry", "studies": "lab.registry",
    "Study": "lab.study", "Grid": "lab.sweeps.grid", "log_grid": "lab.sweeps.grid",
    "sweep": "lab.sweeps.functions", "Stream": "lab.streams", "InputError": "lab.errors", "OutOfDomain": "lab.errors",
    "certify": "lab.systems.mcr2.certificate",
}  # fmt: skip

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from lab.claims import Bound as Bound
    from lab.claims import Classification as Classification
    from lab.claims import Crossover as Crossover
    from lab.claims import Equality as Equality
    from lab.claims import Limit as Limit
    from lab.claims import Rate as Rate
    from lab.errors import InputError as InputError
    from lab.errors import OutOfDomain as OutOfDomain
    from lab.law import Draws as Draws
    from lab.law import Law as Law
    from lab.law import Source as Source
    from lab.law import but as but
    from lab.measure import measurement as measurement
    from lab.params import Ge as Ge
    from lab.params import Gt as Gt
    from lab.params import Le as Le
    from lab.params import LogScale as LogScale
    from lab.params import Lt as Lt
    from lab.params import Params as Params
    from lab.params import Static as Static
    from lab.params import Traced as Traced
    from lab.registry import find as find
    from lab.registry import laws as laws
    from lab.registry import studies as studies
    from lab.streams import Stream as Stream
    from lab.study import Study as Study
    from lab.sweeps.functions import sweep as sweep
    from lab.sweeps.grid import Grid as Grid
    from lab.sweeps.grid import log_grid as log_grid
    from lab.systems.mcr2.certificate import certify as certify


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that `import lab` stays cheap."""
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    try:
        return importlib.import_module(f"lab.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"lab.{name}":
            raise
        raise AttributeError(f"module 'lab' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
