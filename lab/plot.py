"""The marks of every figure: theory line, measured points with intervals, located transitions, residuals.

Theory is drawn from the law itself, never retyped. All functions take matplotlib axes and the rows of a study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from lab.law import Law

__all__ = ["COLOURS", "STYLE", "located", "measured_points", "residuals", "theory_line", "verdict_note"]

# Okabe and Ito: distinguishable with every kind of colour vision
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

STYLE: dict[str, Any] = {
    "axes.prop_cycle": f"cycler('color', {list(COLOURS)!r})",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "font.size": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.4,
    "svg.hashsalt": "lab",  # the same figure gives the same file
    "svg.fonttype": "path",
}


def theory_line(ax: Axes, law: Law, rows: pd.DataFrame, *, x: str, points: int = 200, **style: Any) -> None:
    """The law's `curve` (or prediction) over the range of column `x`, other fields as in the first row.

    Integer fields are evaluated at the values that occur. Points outside the law's domain are left out.
    """
    from lab.errors import OutOfDomain

    if rows.empty:
        return
    fields = {n: v for n, v in rows.iloc[0].items() if n in law.params.model_fields and _present(v)}
    values = np.sort(rows[x].unique())
    if law.params.model_fields[x].annotation is float:
        log = ax.get_xscale() == "log"
        values = (np.geomspace if log else np.linspace)(values[0], values[-1], points)
    function = law.curve or law.predict
    drawn = []
    for value in values:
        try:
            at = law.params(**{**fields, x: value.item()})
        except OutOfDomain:
            continue
        result = function(at)
        drawn.append((value, np.ravel(result[0] if isinstance(result, tuple) else result)))
    if drawn:
        ax.plot([v for v, _ in drawn], np.array([y for _, y in drawn]), **{"zorder": 2, **style})


def measured_points(
    ax: Axes, rows: pd.DataFrame, *, x: str, y: str = "value", interval: float = 0.95, **style: Any
) -> None:
    """Mean over replicates at each `x` with its Student interval (none for a single replicate)."""
    from lab.claims.statistics import student_quantile

    groups = rows.groupby(x)[y]
    mean, count = groups.mean(), groups.count()
    error = np.array([student_quantile(int(n), 1 - interval) if n > 1 else 0.0 for n in count])
    error = error * np.nan_to_num(groups.std().to_numpy()) / np.sqrt(count.to_numpy())
    style = {"marker": "o", "linestyle": "none", "markersize": 3.5, "elinewidth": 1, "zorder": 3, **style}
    ax.errorbar(mean.index.to_numpy(), mean.to_numpy(), yerr=error if error.any() else None, **style)


def located(
    ax: Axes, verdicts: Sequence[Mapping[str, Any]], law: str, *, x: Any, relative: bool = False, **style: Any
) -> None:
    """Measured values of one law's groups with their acceptance regions, against `x` (a function of the point).

    `relative` divides by the prediction: agreement is 1. Groups without a finite region are left out.
    """
    points = [v for v in verdicts if v["law"] == law and v["at"] is not None and v["measured"] is not None]
    points = [v for v in points if _finite(v["low"]) and _finite(v["high"])]
    if not points:
        return
    unit = np.array([v["predicted"] if relative else 1.0 for v in points])
    middle, low, high = (np.array([v[k] for v in points]) / unit for k in ("measured", "low", "high"))
    style = {"marker": "o", "linestyle": "none", "markersize": 3.5, "elinewidth": 1, "zorder": 3, **style}
    ax.errorbar([x(v["at"]) for v in points], middle, yerr=[middle - low, high - middle], **style)


def residuals(ax: Axes, label: str = "measured / predicted") -> None:
    """Frame of a residual panel: the line of agreement and its label."""
    ax.axhline(1.0, color="0.5", linewidth=0.8, zorder=1)
    ax.set_ylabel(label)


def verdict_note(verdicts: Sequence[Mapping[str, Any]], law: str) -> str:
    """One line on a law's verdict for titles and legends."""
    for v in verdicts:
        if v["law"] == law and v["at"] is None:
            resolution = "" if not _finite(v["resolution"]) else f", resolves {v['resolution']:.1g}"
            return f"{law}: {v['verdict']}{resolution}"
    return f"{law}: not judged"


def _finite(value: Any) -> bool:
    return value is not None and np.isfinite(value)


def _present(value: Any) -> bool:
    return not (np.isscalar(value) and value != value)
