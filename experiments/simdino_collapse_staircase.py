"""What does the coding-rate term of SimDINO save from collapse, and when? The staircase of the solvable model.

A linear student with an averaged teacher learns the modes of the data one by one as the weight gamma of the rate grows:
mode i from gamma_i = nu_i eps^2/d on, nu_i its noise fraction, whatever the momentum of the teacher. A normalised
encoder leaves the collapsed state at gamma kappa = nu. Initialisation: Gaussian weights (staircase), weights of size
1e-6 (growth); population moments, or samples with exact moments.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, residuals, verdict_note
from lab.systems.simdino import theory
from lab.systems.simdino.laws import (
    COLLAPSE_INSTABILITY,
    COLLAPSE_ONSET,
    LINEAR_WATERFILLING,
    TOTAL_COLLAPSE,
    WATERFILLING_RANK,
)


def gains(start, stop, count):
    """Gains gamma c from `start` to `stop` times the onset of the point's least noisy mode, in equal ratios."""
    def axis(f):
        onset = theory.collapse_onset(f.lowest, f.dim, eps=f.eps, centred=f.centred, of=f.expansion)
        return (onset * theory.coding_scale(f.dim, f.eps) * np.geomspace(start, stop, count)).tolist()
    return axis


def preset(stairs: Grid, growth: Grid) -> dict[str, Grid]:
    """Two experiments, three and two laws."""
    return {
        **{law.id: stairs for law in (LINEAR_WATERFILLING, WATERFILLING_RANK, TOTAL_COLLAPSE)},
        **{law.id: growth for law in (COLLAPSE_INSTABILITY, COLLAPSE_ONSET)},
    }


EMA = (0.0, 0.9, 0.99)

STUDY = Study(
    id="simdino/collapse-staircase",
    laws=(LINEAR_WATERFILLING, WATERFILLING_RANK, TOTAL_COLLAPSE, COLLAPSE_INSTABILITY, COLLAPSE_ONSET),
    title="Modes are learned in the order of their noise, at thresholds that the teacher's momentum does not move",
    presets={
        "smoke": preset(
            Grid(replicates=4, inputs=3, dim=2, lowest=0.4, highest=0.95, momenta=[EMA], margin=0.2, slowest=3e-4,
                 eps=[0.5, 1.0]),
            Grid(modes=1, lowest=0.2, momentum=EMA, expansion=["student", "mean"], gain=gains(0.42, 3.9, 8)),
        ),
        "default": preset(
            Grid(replicates=5, momenta=[EMA], margin=0.2, per_stair=8, slowest=2e-4, eps=[0.2, 0.5, 1.0, 2.0])
            + Grid(replicates=5, inputs=5, dim=2, momenta=[EMA], margin=0.3, per_stair=6, slowest=2e-4),
            Grid(modes=2, lowest=0.2, momentum=EMA, expansion=["student", "mean"], centred=[False, True],
                 gain=gains(0.42, 3.9, 17)),
        ),
        "paper": preset(
            Grid(replicates=4, momenta=[(0.0, 0.5, 0.9, 0.99)], margin=0.1, per_stair=20, slowest=1e-4,
                 eps=[0.1, 0.2, 0.5, 1.0, 2.0], lowest=[0.2, 0.3, 0.4], condition=[1.0, 3.0, 10.0]),
            Grid(replicates=6, modes=4, dim=8, lowest=[0.05, 0.2, 0.3], momentum=(0.0, 0.5, 0.9, 0.99),
                 expansion=["student", "mean"], centred=[False, True], eps=[0.5, 1.0, 1.4], gain=gains(0.42, 3.4, 33)),
        ),
    },
)  # fmt: skip

MARKS = dict(zip(EMA, "os^", strict=True))
TRANSITION = {"color": "0.6", "linewidth": 0.7, "linestyle": ":", "zorder": 0}


def point(law, row):
    """The parameters of a row."""
    fields = {n: row[n] for n in law.params.model_fields}
    return law.params(**{n: tuple(v) if isinstance(v, np.ndarray | list) else v for n, v in fields.items()})


@STUDY.figure(nrows=2, ncols=2, size=(11, 8.2))
def draw(axes, rows, verdicts):
    (spectrum, rank), (growth, error) = axes
    stairs = rows[rows["spectrum"].notna()] if "spectrum" in rows else rows[:0]
    draw_spectrum(spectrum, stairs[stairs["dim"] == stairs["dim"].max()])
    draw_rank(rank, stairs[stairs["dim"] == stairs["dim"].max()])
    draw_growth(growth, rows[rows["log"].notna()])
    draw_residuals(error, verdicts)


def staircase(row):
    """gamma/gamma_1 (G,), reduced spectrum c s (M, G, d), ranks (M, G) of one row."""
    p = point(LINEAR_WATERFILLING, row)
    x = np.asarray(p.gain) / p.lowest
    shape = (len(p.momenta), x.size)
    return p, x, p.c * np.reshape(np.stack(row["spectrum"]), (*shape, p.dim)), np.reshape(np.stack(row["rank"]), shape)


def draw_spectrum(ax, stairs):
    p, x, *_ = staircase(stairs.iloc[0])
    line = np.linspace(x[0], x[-1], 400)
    for i in range(p.dim):
        ax.plot(line, np.maximum(0, line * p.lowest / p.nu[i] - 1), color=COLOURS[i], label=rf"mode {i + 1}: "
                rf"$\gamma/\gamma_{i + 1}-1$, $\nu_{i + 1}={p.nu[i]:.2f}$")  # fmt: skip
        ax.axvline(p.nu[i] / p.lowest, **TRANSITION)
    seen = set()
    for p, x, u, _ in map(staircase, rows_of(stairs)):
        for k, m in enumerate(p.momenta):
            for i in range(p.dim):
                label = f"trained, EMA momentum {m:g}" if i == 0 and m not in seen else None
                seen.add(m)
                ax.plot(x, u[k, :, i], MARKS.get(m, "x"), color=COLOURS[i], markerfacecolor="none",
                        markersize=4 + 2 * k, markeredgewidth=0.8, label=label)  # fmt: skip
    ax.set(xlabel=r"$\gamma/\gamma_1$, $\gamma_1=\nu_1\epsilon^2/d$",
           ylabel=r"second moments of the features, in units of $\epsilon^2/d$",
           title=rf"Water-filling: spectrum after training, {levels(stairs)}")  # fmt: skip
    handles = ax.get_legend_handles_labels()
    order = [*range(p.dim), *range(p.dim, len(handles[1]))]
    ax.legend([handles[0][i] for i in order], [handles[1][i] for i in order], loc="upper left")


def draw_rank(ax, stairs):
    p, x, *_ = staircase(stairs.iloc[0])
    edges = np.concatenate([[x[0]], p.nu[: p.dim] / p.lowest, [x[-1]]])
    ax.stairs(np.arange(p.dim + 1), edges, color="0.2", baseline=None, label=r"number of $\gamma_i<\gamma$")
    for edge in edges[1:-1]:
        ax.axvline(edge, **TRANSITION)
    for k, m in enumerate(p.momenta):
        counts = np.concatenate([np.column_stack([x, r[k]]) for _, x, _, r in map(staircase, rows_of(stairs))])
        ax.plot(counts[:, 0], counts[:, 1] + 0.07 * (k - 1), MARKS.get(m, "x"), color=COLOURS[k], markersize=4,
                markerfacecolor="none", markeredgewidth=0.8, label=f"trained, EMA momentum {m:g} (offset)")  # fmt: skip
    ax.set(xlabel=r"$\gamma/\gamma_1$", ylabel="rank of the features", yticks=range(p.dim + 1),
           title="Staircase: one mode after the other")  # fmt: skip
    ax.legend(loc="lower right")


def levels(stairs):
    """The distortions and starts that lie on one line."""
    eps = ", ".join(f"{e:g}" for e in sorted(stairs["eps"].unique()))
    return rf"$\epsilon$ = {eps}; {len(stairs) // stairs['eps'].nunique()} starts each"


def rows_of(frame):
    return (row for _, row in frame.iterrows())


def draw_growth(ax, rows):
    rows = rows[(rows["lowest"] == rows["lowest"].min()) & ~rows["centred"].astype(bool)]
    rows = rows[rows["eps"] == rows["eps"].max()]
    for k, (m, part) in enumerate(rows.groupby("momentum")):
        for of, mine in part.groupby("expansion"):
            p = point(COLLAPSE_ONSET, mine.iloc[0])
            x = np.geomspace(0.4, 4.2, 200)
            push = theory.rate_push(p.dim, eps=p.eps, gamma=1.0, of=of)
            unit = sum(push)  # of gamma: x = gamma unit/nu
            rate = theory.growth_rate(
                p.lowest, tuple(g * x * p.lowest / unit for g in push), momentum=m, step=p.step
            ) / (1 - m)  # fmt: skip
            style = "-" if of == "student" else "--"
            ax.plot(x, rate, style, color=COLOURS[k], linewidth=1.1, label=f"EMA {m:g}" if of == "student" else None)
            at = mine["gain"] * p.eps**2 / p.dim * unit / p.lowest
            ax.plot(at, np.expm1(mine["log"]) / (1 - m), MARKS.get(m, "x"), color=COLOURS[k], markersize=4.5,
                    markerfacecolor=COLOURS[k] if of == "student" else "white", markeredgewidth=0.9)  # fmt: skip
    ax.axhline(0, color="0.5", linewidth=0.8)
    ax.axvspan(0.1, 1, color="0.93", zorder=0)
    ax.text(0.96, -0.3, "collapse is stable", ha="right", fontsize=8.5, color="0.3")
    ax.text(1.04, -0.3, "unstable", fontsize=8.5, color="0.3")
    official = {
        "code defaults, 8 processes": theory.official_settings(processes=8),
        "README command, 8 processes": theory.official_settings(processes=8, code_eps=0.05),
        "code defaults, 1 process": theory.official_settings(),
    }
    low = -0.66
    for k, (name, settings) in enumerate(official.items()):
        ax.plot(settings.gain, low + 0.1 * k, "D", color="0.15", markersize=5, clip_on=False)
        left = settings.gain > 1
        ax.annotate(f"{name}: {settings.gain:.2f}", (settings.gain, low + 0.1 * k), xytext=(-8 if left else 8, 0),
                    textcoords="offset points", va="center", ha="right" if left else "left", fontsize=8)  # fmt: skip
    ax.set(xscale="log", xlabel=r"push on the mode over its noise, $\gamma\kappa/\nu$ (half of it for the mean)",
           ylabel=r"(growth per step $-$ 1)/(1 $-$ EMA momentum)", ylim=(-0.73, 0.85), xlim=(0.12, 16),
           title="Collapsed state: growth of a mode; diamonds: public settings at pure noise")  # fmt: skip
    ax.set_xticks([0.2, 0.5, 1, 2, 5, 10], ["0.2", "0.5", "1", "2", "5", "10"])
    ax.plot([], [], "-", color="0.4", label="rate of the student")
    ax.plot([], [], "--", color="0.4", label="rate of the mean with the teacher")
    ax.legend(loc="upper left")


def draw_residuals(ax, verdicts):
    kinds = (("simdino/total-collapse", COLOURS[0], "o"), ("simdino/collapse-onset", COLOURS[1], "s"))
    for shift, (law, color, mark) in zip((-0.15, 0.15), kinds, strict=True):
        found = [v for v in verdicts if v["law"] == law and v["at"] is not None and v["low"] is not None]
        # runs of one momentum and grid that found the same bracket are drawn once
        found = list({(position(v), v["predicted"], v["low"], v["high"]): v for v in found}.values())
        places = spread([position(v) + shift for v in found])
        unit = np.array([v["predicted"] for v in found])
        middle, low, high = (np.array([v[k] for v in found]) / unit for k in ("measured", "low", "high"))
        ax.errorbar(places, middle, yerr=[middle - low, high - middle], marker=mark, color=color, linestyle="none",
                    markersize=3.5, elinewidth=0.9, label=verdict_note(verdicts, law))  # fmt: skip
    others = ("simdino/linear-waterfilling", "simdino/waterfilling-rank", "simdino/collapse-instability")
    ax.text(0.02, 0.03, "\n".join(verdict_note(verdicts, law) for law in others), transform=ax.transAxes, fontsize=8)
    residuals(ax, "measured / predicted threshold")
    ax.set(xticks=range(len(EMA)), xticklabels=[f"{m:g}" for m in EMA], xlabel="EMA momentum of the teacher",
           title="Thresholds; bars: predictions that would have passed", xlim=(-0.5, len(EMA) - 0.5),
           ylim=(0.8, 1.2))  # fmt: skip
    ax.legend(loc="upper left", fontsize=8)


def spread(places):
    """Equal places side by side."""
    places = np.array(places)
    for place in np.unique(places):
        here = np.flatnonzero(places == place)
        places[here] += 0.18 * (np.arange(here.size) / max(here.size - 1, 1) - 0.5)
    return places


def position(verdict):
    """Place of a verdict's momentum on the axis."""
    at = verdict["at"]
    momentum = at["momentum"] if "momentum" in at else at["momenta"][(verdict["index"] or 0) % len(at["momenta"])]
    return float(np.interp(momentum, EMA, range(len(EMA))))


if __name__ == "__main__":
    STUDY.cli()
