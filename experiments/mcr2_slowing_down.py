"""Critical slowing down of MCR² on both sides of the spinodal of a class.

Below it the two branches approach each other like |delta|^(1/2), delta = tau - tau_c, and so vanishes the rate at which
gradient ascent returns to the upper one. Above it no branch is left, but gradient flow lingers where they met, for a
time that grows like delta^(-1/2). One constant kappa(x) sets all three amplitudes: in its units classes of all
fractions x fall on one curve. Measured on the full matrix: branches from the sign of the gradient, rates from ascent of
pairs of starts, passage times from a Runge-Kutta solution. Times are in units of 1/alpha.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.sweeps.grid import log_grid
from lab.systems.mcr2 import theory
from lab.systems.mcr2.laws.flow import CRITICAL_SLOWING_DOWN, GHOST_AMPLITUDE, GHOST_PASSAGE
from lab.systems.mcr2.laws.relaxation import BRANCH_GAP, BRANCH_GAP_EXPONENT, RELAXATION_RATE

MARKERS = "osD^v<>ph"

STUDY = Study(
    id="mcr2/slowing-down",
    laws=(RELAXATION_RATE, BRANCH_GAP, BRANCH_GAP_EXPONENT, GHOST_PASSAGE, CRITICAL_SLOWING_DOWN, GHOST_AMPLITUDE),
    title="Relaxation slows down on both sides of the spinodal, with exponent 1/2 and one amplitude for all classes",
    presets={
        "smoke": Grid(dim=4, n=20, first=[2, 5, 15], closeness=log_grid(10, 3e3, 8)),
        "default": Grid(dim=4, n=40, first=[2, 4, 10, 20, 30], closeness=log_grid(10, 1e5, 17))
        + Grid(dim=8, n=32, first=8, rank=4, eps=[0.2, 2.0], closeness=log_grid(10, 1e5, 13)),
        "paper": Grid(dim=16, n=200, first=[2, 5, 10, 20, 50, 100, 150], rank=2, closeness=log_grid(10, 1e6, 31)),
    },
)


def grouped(rows, measurement):
    """Rows of one measurement, by setting: (x, label, marker, colour, part), with the distance |delta| as a column."""
    rows = rows[rows["measurement"].str.endswith(f":{measurement}")].copy()
    rows["x"] = rows["first"] / rows["n"]
    rows["delta"] = theory.spinodal(rows["x"].to_numpy()) / rows["closeness"]
    for i, ((x, dim, n, eps), part) in enumerate(rows.groupby(["x", "dim", "n", "eps"])):
        usual = (dim, n, eps) == tuple(rows.iloc[0][["dim", "n", "eps"]])
        label = rf"$x={x:.3g}$" if usual else rf"$x={x:.3g}$, $d={dim},N={n},\epsilon={eps:g}$"
        yield x, label, MARKERS[i % len(MARKERS)], COLOURS[i % len(COLOURS)], part.sort_values("delta")


def kappa(x):
    """The unit of time and of log u: s' = -2 alpha (delta + s^2/kappa^2)."""
    node = theory.saddle_node(x)
    return np.sqrt(node.push / node.bend)


@STUDY.figure(nrows=2, ncols=2, size=(11.5, 8.4))
def draw(axes, rows, verdicts):
    (raw, collapse), (ratio, exponent) = axes
    style = {"linestyle": "none", "markersize": 4, "markerfacecolor": "white", "markeredgewidth": 1}
    for x, label, marker, colour, part in grouped(rows, "passage"):
        delta, critical = part["delta"].to_numpy(), theory.spinodal(x)
        line = np.geomspace(delta[0], delta[-1], 100)
        exact = theory.ghost_passage_time(x, critical + line)
        raw.plot(line, exact, color=colour, linewidth=1)
        raw.plot(delta, part["time"], marker, color=colour, label=label, **style)
        collapse.plot(delta, part["time"] / kappa(x), marker, color=colour, **style)
        ratio.plot(line / critical, exact / theory.saddle_node(x).passage_time(line), color=colour, linewidth=1)
        ratio.plot(delta / critical, part["time"] / theory.saddle_node(x).passage_time(delta), marker, color=colour,
                   **style)  # fmt: skip
    for x, _, marker, colour, part in grouped(rows, "branches"):
        delta, critical = part["delta"].to_numpy(), theory.spinodal(x)
        line = np.geomspace(delta[0], delta[-1], 100)
        rate = np.array([r[0] for r in part["rates"]])
        exact, leading = theory.relaxation_rate(x, critical - line), theory.saddle_node(x).relaxation_rate
        raw.plot(line, 1 / exact, color=colour, linewidth=1, linestyle="--")
        raw.plot(delta, 1 / rate, marker, color=colour, **style)
        collapse.plot(delta, 1 / (kappa(x) * rate), marker, color=colour, **style)
        collapse.plot(delta, part["gap"] / (np.sqrt(x) * kappa(x)), marker, color=colour, **style)
        ratio.plot(line / critical, leading(line) / exact, color=colour, linewidth=1, linestyle="--")
        ratio.plot(delta / critical, leading(delta) / rate, marker, color=colour, **style)

    raw.set(xscale="log", yscale="log", xlabel=r"$|\delta|=|\tau-\tau_c|$", ylabel=r"time in units of $1/\alpha$",
            title="Times on both sides of the spinodal")  # fmt: skip
    raw.plot([], [], color="0.3", linewidth=1, label=r"above: passage time $T$, closed form")
    raw.plot([], [], color="0.3", linewidth=1, linestyle="--", label=r"below: relaxation time $1/\gamma$, closed form")
    raw.set_ylim(None, 40 * raw.get_ylim()[1])
    raw.legend(fontsize=8, loc="upper right", ncols=2)

    critical = theory.spinodal((rows["first"] / rows["n"]).to_numpy())
    line = np.array([(critical / rows["closeness"]).min(), (critical / rows["closeness"]).max()])
    at = np.sqrt(line[0] * line[1])
    for factor, power, words, lift, side in (
        (np.pi / 2, -0.5, r"$\alpha T/\kappa=\frac{\pi}{2}\,\delta^{-1/2}$", 1.5, "left"),
        (0.25, -0.5, r"$\alpha/(\kappa\gamma)=\frac{1}{4}\,|\delta|^{-1/2}$", 0.3, "right"),
        (2, 0.5, r"$(u_+-u_-)/(\sqrt{x}\,\kappa)=2\,|\delta|^{1/2}$", 2.2, "right"),
    ):
        collapse.plot(line, factor * line**power, color="black", linewidth=0.9, zorder=1)
        collapse.text(at, lift * factor * at**power, words, fontsize=9, ha=side)
    collapse.set(xscale="log", yscale="log", xlabel=r"$|\delta|=|\tau-\tau_c|$", ylabel="in units of the saddle-node",
                 title=r"Data collapse: $\kappa^2=(1+r)^3/(r-r^2)$, $r=\sqrt{x}$")  # fmt: skip

    ratio.axhline(1, color="0.5", linewidth=0.8, zorder=1)
    ratio.set(xscale="log", xlabel=r"distance from the spinodal, $|\delta|/\tau_c$", ylabel="time / leading order",
              title=r"Full curves: passage (solid) and relaxation (dashed)")  # fmt: skip

    shown = ((CRITICAL_SLOWING_DOWN.id, 0, "passage time $T$", "o", 1), (BRANCH_GAP_EXPONENT.id, 0, "gap", "s", -1),
             (BRANCH_GAP_EXPONENT.id, 1, r"relaxation rate $\gamma$", "D", -1))  # fmt: skip
    for k, (law, index, words, marker, sign) in enumerate(shown):
        found = [v for v in verdicts if v["law"] == law and v["at"] is not None and v["index"] == index]
        x = np.array([v["at"]["first"] / v["at"]["n"] for v in found]) + 0.008 * (k - 1)
        middle, low, high = (np.array([v[key] for v in found]) for key in ("measured", "low", "high"))
        exponent.errorbar(x, sign * middle, yerr=[middle - low, high - middle], fmt=marker, color=COLOURS[k],
                          markersize=4, elinewidth=1, capsize=2, label=words)  # fmt: skip
    exponent.axhline(0.5, color="0.5", linewidth=0.8, zorder=1)
    reach = 1.15 * np.max(np.abs(np.array(exponent.get_ylim()) - 0.5))
    exponent.set(xlabel=r"class fraction $x=N_k/N$", ylabel=r"exponent in $|\delta|$ (absolute value)",
                 title="Exponents (bar: accepted predictions)", xlim=(0, 0.8),
                 ylim=(0.5 - 2.1 * reach, 0.5 + 1.4 * reach))  # fmt: skip
    exponent.legend(fontsize=8, loc="upper left", ncols=3)
    notes = "\n".join(verdict_note(verdicts, law.id) for law in STUDY.laws)
    exponent.text(0.02, 0.02, notes, transform=exponent.transAxes, fontsize=7.5, va="bottom")


if __name__ == "__main__":
    STUDY.cli()
