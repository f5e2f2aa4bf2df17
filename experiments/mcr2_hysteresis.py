"""Hysteresis of a class of MCR² as its regulariser sweeps up and down.

Features always continue from where they were. On the way up the class follows its upper branch u_+ past the Maxwell
point, where losing it becomes optimal, and is lost at the spinodal; on the way down it stays at 0. A kick brings it
back iff its largest singular value exceeds that of the lower branch, sqrt(u_-/alpha), so the kicks that just return
trace the branch on which no ascent ever rests. The faster the sweep, the later the loss: by the power 2/3 of its rate,
with the first zero of the Airy function in front. Start: orthogonal classes above their upper branches, generic
perturbation 1e-3.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, located, residuals, verdict_note
from lab.sweeps.grid import log_grid
from lab.systems.mcr2 import theory
from lab.systems.mcr2.laws.hysteresis import HYSTERESIS, KICK_RETURN, LOOP_AREA, SWEEP_DELAY

MARKERS = "os^v<>ph"


def preset(sweeps, ramps):
    """One grid for the laws of the loop, one for the ramps."""
    return {law.id: sweeps for law in (HYSTERESIS, LOOP_AREA, KICK_RETURN)} | {SWEEP_DELAY.id: ramps}


STUDY = Study(
    id="mcr2/hysteresis",
    laws=(HYSTERESIS, LOOP_AREA, KICK_RETURN, SWEEP_DELAY),
    title="Up to the spinodal, down to nothing: only a kick above the lower branch brings a class back",
    presets={
        "smoke": preset(Grid(first=[8, 16], kick=[0.25, 2.0], points=40, dwell=150),
                        Grid(first=[2, 5, 15], slowness=log_grid(1e3, 1e5, 6))),
        "default": preset(Grid(first=[3, 8, 16, 22], kick=[0.15, 0.25, 0.4, 0.6, 0.9, 3.0], low=0.2, points=80,
                               dwell=300)
                          + Grid(dim=10, n=40, first=10, classes=4, eps=[0.2, 2.0], kick=0.4, low=0.2, points=80,
                                 dwell=300),
                          Grid(n=40, first=[2, 4, 10, 20, 30], slowness=log_grid(1e3, 1e7, 17))),
        "paper": preset(Grid(dim=16, n=200, first=[10, 20, 50, 100, 130], classes=4, rank=4,
                             kick=log_grid(0.1, 3.0, 16), low=0.15, points=120, dwell=1000),
                        Grid(dim=16, n=200, first=[5, 10, 20, 50, 100, 150], rank=4, slowness=log_grid(1e3, 1e9, 31))),
    },
)  # fmt: skip


def fraction(at):
    """Class fraction x of a verdict's point."""
    return at["first"] / at["n"]


@STUDY.figure(nrows=2, ncols=2, size=(11.5, 8.6), width_ratios=(1.15, 1))
def draw(axes, rows, verdicts):
    (loop, trace), (delay, error) = axes
    swept = rows[rows["measurement"].str.endswith(":sweep")]
    quarter = swept[swept["first"] * 4 == swept["n"]]
    draw_loop(loop, swept if quarter.empty else quarter)  # overrides on the command line may leave it out
    draw_trace(trace, verdicts)
    draw_delay(delay, rows[rows["measurement"].str.endswith(":ramp")], verdict_note(verdicts, SWEEP_DELAY.id))

    for law, marker, colour, words, shift in (
        (HYSTERESIS, "o", COLOURS[1], "loss", -0.007),
        (LOOP_AREA, "s", COLOURS[0], "area", 0.0),
        (KICK_RETURN, "^", COLOURS[2], "return", 0.007),
    ):
        located(error, verdicts, law.id, x=lambda at, shift=shift: fraction(at) + shift, relative=True, color=colour,
                marker=marker, markerfacecolor="white", label=f"{words}: {verdict_note(verdicts, law.id)}")  # fmt: skip
    residuals(error, "measured / predicted (bar: accepted predictions)")
    low, high = error.get_ylim()
    error.set(xlabel=r"class fraction $x=N_k/N$", title="Residuals: grid step and finite time",
              ylim=(low, high + 0.35 * (high - low)))  # fmt: skip
    error.legend(loc="upper left", fontsize=8)


def draw_loop(ax, part):
    """One setting: the ways up and down, and each kick at its size, filled where it returned."""
    setting = part.iloc[0]
    part = part[(part["first"] == setting["first"]) & (part["n"] == setting["n"]) & (part["eps"] == setting["eps"])]
    x, floor = setting["first"] / setting["n"], 0.02
    critical, maxwell = theory.spinodal(x), theory.maxwell(x)
    tau = critical * (1 - np.linspace(0.98, 0, 400) ** 2)
    tau = tau[tau > 0.9 * setting["tau"][0]]
    ax.plot(tau, theory.u_plus(x, tau), color="0.2", label=r"stable branch $u_+$")
    ax.plot(tau, theory.u_minus(x, tau), color="0.2", linestyle="--", label=r"unstable branch $u_-$")
    ax.axvline(critical, ymax=0.8, color=COLOURS[1], linewidth=0.8)
    ax.axvline(maxwell, ymax=0.8, color=COLOURS[0], linewidth=0.8, linestyle=":")
    for name, marker, colour, words in (("up", "^", COLOURS[1], "way up"), ("down", "v", COLOURS[0], "way down")):
        ax.plot(setting["tau"], np.maximum(setting[name], floor), marker, color=colour, markersize=4, linestyle="none",
                markerfacecolor="white", label=words)  # fmt: skip
    for i, (_, row) in enumerate(part.sort_values("kick").iterrows()):
        back, taus = np.asarray(row["returns"], dtype=bool)[::2], np.asarray(row["tau"])[::2]
        for chosen, marker, colour, words in ((back, "o", COLOURS[2], "kick that returns"),
                                              (~back, "x", "0.6", "kick that dies out")):  # fmt: skip
            ax.plot(taus[chosen], np.full(chosen.sum(), row["kick"] * np.sqrt(x)), marker, color=colour, markersize=3,
                    label=words if i == 0 else None)  # fmt: skip
    arrow = {"arrowstyle": "->", "color": COLOURS[1], "lw": 1.2}
    ax.annotate("", (1.004 * critical, 1.5 * floor), (1.004 * critical, 0.75 * np.sqrt(x)), arrowprops=arrow)
    top = ax.get_ylim()[1]
    ax.text(critical, top, r" spinodal $\tau_c$", color=COLOURS[1], fontsize=9, va="top")
    ax.text(maxwell, top, r"Maxwell $\tau_*$ ", color=COLOURS[0], fontsize=9, va="top", ha="right")
    ax.set(yscale="log", ylim=(0.8 * floor, 9 * top), xlim=(None, 1.2 * critical),
           xlabel=r"$\tau=\lambda/\alpha$, $\alpha=d/(N\epsilon^2)$",
           ylabel=rf"$u=\alpha\sigma^2$ (0 is drawn at {floor})", title=rf"The loop at $x={x:.3g}$")  # fmt: skip
    ax.legend(fontsize=8, loc="upper center", ncols=3)


def draw_trace(ax, verdicts):
    """Where kicks of each size begin to return, in units of the saddle-node: the lower branch."""
    found = [v for v in verdicts if v["law"] == KICK_RETURN.id and v["at"] is not None and v["low"] is not None]
    kick = np.geomspace(0.1, 5, 300)
    for i, x in enumerate(sorted({fraction(v["at"]) for v in found})):
        colour = COLOURS[i % len(COLOURS)]
        ax.plot(theory.return_multiplier(kick * np.sqrt(x), x) / theory.spinodal(x), kick, color=colour, linewidth=1)
        points = [v for v in found if fraction(v["at"]) == x]
        middle, low, high = (np.array([v[k] for v in points]) / theory.spinodal(x) for k in ("measured", "low", "high"))
        kicks = [v["at"]["kick"] for v in points]
        ax.errorbar(middle, kicks, xerr=[middle - low, high - middle], color=colour, fmt=MARKERS[i], markersize=4,
                    markerfacecolor="white", elinewidth=1, label=rf"$x={x:.3g}$")  # fmt: skip
    ax.set(yscale="log", xlabel=r"largest $\tau/\tau_c$ at which the kick returns", xlim=(0.25, 1.05),
           ylabel=r"squared singular value of the kick, $\alpha\sigma^2/\sqrt{x}$",
           title=r"Measured threshold of a kick, and $u_-(x,\tau)$")  # fmt: skip
    ax.legend(fontsize=8, loc="upper left")


def draw_delay(ax, rows, note):
    """Delay of the loss against the sweep rate, in units of the saddle-node; inset: over the leading order."""
    rate = 1 / np.geomspace(rows["slowness"].min(), rows["slowness"].max(), 100)
    inset = ax.inset_axes((0.62, 0.1, 0.37, 0.34))
    for i, (first, part) in enumerate(rows.groupby("first")):
        x, swept = first / part["n"].iloc[0], 1 / part["slowness"].to_numpy()
        node = theory.saddle_node(x)
        unit = (node.push * node.bend) ** (-1 / 3)
        style = {"color": COLOURS[i], "markersize": 4, "markerfacecolor": "white", "linestyle": "none"}
        ax.plot(swept, part["delay"] / unit, MARKERS[i], label=rf"$x={x:.3g}$", **style)
        slow = rate[rate <= 1.1e-4]
        inset.plot(slow, theory.sweep_delay(x, slow) / node.sweep_delay(slow), color=COLOURS[i], linewidth=1)
        ratio = part["delay"].to_numpy() / node.sweep_delay(swept)
        inset.plot(swept[swept <= 1.1e-4], ratio[swept <= 1.1e-4], MARKERS[i], **style)
    unit_node = theory.SaddleNode(1.0, 1.0)
    ax.plot(rate, unit_node.sweep_delay(rate), color="black", linewidth=0.9, linestyle="--", zorder=1,
            label=r"$\Omega\,v^{2/3}$, $\Omega=2.338$ (Airy)")  # fmt: skip
    inset.axhline(1, color="0.5", linewidth=0.8, zorder=1)
    inset.set_xscale("log")
    inset.tick_params(labelsize=7)
    inset.set_title("over leading order (lines: with the next)", fontsize=8, loc="center")
    ax.set(xscale="log", yscale="log", xlabel=r"sweep rate $v=d\tau/d(\alpha t)$",
           ylabel=r"$(\tau_{loss}-\tau_c)\,(2/\kappa)^{2/3}$",
           title=f"How late a sweep loses the class ({note})")  # fmt: skip
    ax.legend(fontsize=8, loc="upper left")


if __name__ == "__main__":
    STUDY.cli()
