"""A study: laws, grid presets and a figure. `run` sweeps, judges and draws; a rerun does only what is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import InputError, nearest
from lab.registry import slug
from lab.sweeps.grid import Grid

if TYPE_CHECKING:
    import pandas as pd

    from lab.judge import Check
    from lab.law import Law

__all__ = ["Result", "Study"]


@dataclass(frozen=True)
class Result:
    """What a run left: rows (one per point and replicate), verdict rows and the folder."""

    study: Study
    preset: str
    rows: pd.DataFrame
    verdicts: list[dict[str, Any]]
    checks: list[Check]
    folder: Path

    @property
    def as_expected(self) -> bool:
        """Whether every law has the verdict that it should have."""
        return all(check.as_expected for check in self.checks)


@dataclass(eq=False)
class Study:
    """Laws swept over a grid, and the figure that shows them.

    Parameters
    ----------
    id : str
        ``system/name``; names the folder of the results.
    laws : sequence of Law
        Judged on the rows; what they measure in common is measured once.
    presets : mapping of "smoke", "default", "paper", ... to Grid
        A preset may also map law ids to grids, where laws have different parameters.
    title : str
        One sentence on what the figure shows, for the report.

    Examples
    --------
    The figure is a function of the axes and the rows (and, if it takes them, the verdict rows)::

        @STUDY.figure
        def draw(ax, rows): ...
    """

    id: str
    laws: Sequence[Law]
    presets: Mapping[str, Grid | Mapping[str, Grid]]
    title: str = ""
    _draw: Callable[..., None] | None = field(default=None, repr=False)
    _panels: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.id.count("/") != 1:
            raise InputError(f"study id {self.id!r} is not of the form system/name")
        if not self.laws:
            raise InputError(f"study {self.id} has no law; for a sweep without one use lab.sweep")
        if not self.presets:
            raise InputError(f'study {self.id} has no preset; give presets={{"smoke": Grid(...)}}')

    def figure(self, draw: Callable[..., None] | None = None, **panels: Any) -> Any:
        """Decorator for the figure: ``draw(ax, rows)`` or ``draw(ax, rows, verdicts)``.

        `panels` go to `matplotlib.figure.Figure.subplots` (``nrows``, ``ncols``, ...; `ax` is then an array) except
        ``size``, the figure's size in inches.
        """
        if draw is None:
            return lambda function: self.figure(function, **panels)
        self._draw, self._panels = draw, panels
        return draw

    def grid(self, law: Law, preset: str, overrides: Mapping[str, str] | None = None) -> Grid:
        """The grid of one law under a preset, with ``--set`` overrides applied."""
        if preset not in self.presets:
            raise nearest(f"preset of {self.id}", preset, self.presets)
        chosen = self.presets[preset]
        grid = chosen if isinstance(chosen, Grid) else chosen.get(law.id)
        if grid is None:
            raise InputError(f"study {self.id}: preset {preset!r} has no grid for law {law.id}; add one")
        axes = {}
        for name, text in (overrides or {}).items():
            if name == "replicates":
                continue
            if name in law.params.model_fields or isinstance(chosen, Grid):
                axes[name] = law.params.parse_axis(name, text)
        grid = grid.with_axes(**axes) if axes else grid
        if "replicates" in (overrides or {}):
            text = (overrides or {})["replicates"]
            if not text.isdigit() or int(text) < 1:
                raise InputError(f"replicates={text!r} is not a positive whole number; give e.g. replicates=8")
            grid = grid.with_replicates(int(text))
        return grid

    @property
    def usual_preset(self) -> str:
        """The preset named ``default``, or the first if none has that name."""
        return "default" if "default" in self.presets else next(iter(self.presets))

    def run(
        self, preset: str | None = None, *, overrides: Mapping[str, str] | None = None, seed: int = 0,
        device: str = "cpu",
        workers: int = 0, cluster: str | None = None, out: str | Path | None = None, progress: bool = False,
    ) -> Result:  # fmt: skip
        """Sweep, judge and draw; leaves ``rows/``, ``verdicts.json``, the figure and ``provenance.json``.

        Parameters
        ----------
        preset : str, optional
            By default `usual_preset`.
        overrides : mapping of axis name to text
            As after ``--set``: ``{"x": "0.1,0.5", "replicates": "4"}``.
        out : folder, optional
            Default ``results/<study>/<preset>``.

        Raises
        ------
        InputError
            Unknown preset or axis, a point outside the domain, a folder that cannot be written; nothing is
            measured then.
        """
        from lab.judge import Check, judge
        from lab.sweeps.engine import Engine
        from lab.sweeps.store import provenance

        preset = preset or self.usual_preset
        for name in overrides or {}:
            if name != "replicates" and not any(name in law.params.model_fields for law in self.laws):
                raise nearest("axis", name, {n for law in self.laws for n in law.params.model_fields})
        work = {law.id: self.grid(law, preset, overrides).requests(law.params) for law in self.laws}
        folder = Path(out) if out is not None else Path("results") / slug(self.id) / preset
        checks, jobs = [], []
        options: dict[str, Any] = {"device": device, "workers": workers, "cluster": cluster, "progress": progress}
        with Engine(store=folder / "rows", **options) as engine:
            for law in self.laws:
                jobs += [(law.plan, points, list(range(n)), seed) for points, n in work[law.id]]
            engine.measure_all(jobs)
            for law in self.laws:
                groups = [g for points, n in work[law.id] for g in judge(law, points, n, seed, engine)]
                checks.append(Check(law, law.claim.law_level([g.verdict for g in groups]), groups, 0.0, seed))
            rows = engine.frame(jobs)
        verdicts = [row for check in checks for row in verdict_rows(check)]
        _write_json(folder / "verdicts.json", verdicts)
        about = provenance(device) | {
            "study": self.id, "title": self.title, "run": self._home, "preset": preset, "seed": seed,
            "set": dict(overrides or {}), "laws": {law.id: {"source": str(law.source), "statement": law.words}
                                                   for law in self.laws},
        }  # fmt: skip
        _write_json(folder / "provenance.json", about)
        self.draw(rows, verdicts, folder)
        return Result(self, preset, rows, verdicts, checks, folder)

    @property
    def _home(self) -> str:
        """What ``lab run`` takes to run this study: its id if it lies in an experiments folder, else its file."""
        from lab.registry import experiment_files

        file = Path(self._draw.__code__.co_filename) if self._draw is not None else None
        if file is None or file.resolve() in {f.resolve() for f in experiment_files()}:
            return self.id
        return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)

    def draw(self, rows: pd.DataFrame, verdicts: list[dict[str, Any]], folder: Path) -> None:
        """Draw ``figure.png`` and ``figure.svg`` into a folder."""
        if self._draw is None:
            return
        import inspect

        import matplotlib as mpl
        from matplotlib.figure import Figure

        from lab.plot import STYLE

        panels = dict(self._panels)
        with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its stubs list every key as a literal
            figure = Figure(figsize=panels.pop("size", (6.4, 4.4)), layout="constrained")
            axes = figure.subplots(**panels)
            arguments = (axes, rows, verdicts)[: len(inspect.signature(self._draw).parameters)]
            self._draw(*arguments)
            figure.savefig(folder / "figure.png", dpi=160)
            figure.savefig(folder / "figure.svg", metadata={"Date": None})

    def cli(self, argv: Sequence[str] | None = None) -> None:
        """Run this study with the options of ``lab run``; for ``if __name__ == "__main__":``."""
        from lab.cli import run_study

        raise SystemExit(run_study(self, argv))


def verdict_rows(check: Check) -> list[dict[str, Any]]:
    """Rows of ``verdicts.json``: one per group (and element of a short vector), and one with ``at: null``."""
    law = check.law
    found = []
    for group in check.groups:
        found += [_row(law, verdict, group.at) for verdict in group.elements(law.claim)]
    return [*found, _row(law, check.verdict, None)]


def _row(law: Law, v: Any, at: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "law": law.id, "kind": law.kind, "at": None if at is None else dict(at), "quantity": law.claim.of,
        "index": v.index, "predicted": v.predicted, "measured": v.measured, "low": v.low, "high": v.high,
        "judged": v.judged, "total": v.total, "resolution": v.resolution, "tolerance": v.tolerance,
        "tolerance_source": v.source, "verdict": v.verdict, "expected": law.expected, "reason": v.reason,
    }  # fmt: skip


def finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: both become null, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value


def _write_json(path: Path, value: Any) -> None:
    """Written aside and renamed: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".json.tmp")
    temporary.write_text(json.dumps(finite(value), indent=1, allow_nan=False) + "\n")
    temporary.replace(path)
