"""How much does DDIM shrink? Error of sampled Gaussian data against the number of steps, and the best grids of times.

Every step multiplies the standard deviation by the cosine of an angle, so samples are always too narrow, by c/L with L
steps. Evenly spaced times pay a constant c that grows with the spread of the data; equal angles never more than 1.24.
For several eigenvalues at once the best grid makes equal steps along an arc. Measured: DDIM with the exact denoiser on
unit vectors, and all times of a grid optimised numerically.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.models.diffusion import equal_angle_times, process
from lab.plot import COLOURS, verdict_note
from lab.systems.memorization import theory
from lab.systems.memorization.laws.ddim import DDIM_GAUSSIAN, DDIM_RATE, ENDS, Schedule
from lab.systems.memorization.laws.schedules import DDIM_SPECTRUM

VARIANCES = [0.14, 1.0, 25.0]
PROCESSES = ["VP", "FM", "VE", "OU"]


def preset(counts, variances, spectra):
    """Steps of the error curves, variances of the constants, and spectra (variance, condition, number)."""
    curve = Grid(d=1, mean=0.0, condition=1.0, schedule=["uniform", "equal angle"], variance=VARIANCES, steps=counts)
    rate = Grid(process=PROCESSES, schedule=["uniform", "equal angle"], variance=variances)
    several = [Grid(process=PROCESSES, variance=v, condition=c, count=n) for v, c, n in spectra]
    return {DDIM_GAUSSIAN.id: curve, DDIM_RATE.id: rate, DDIM_SPECTRUM.id: sum(several[1:], start=several[0])}


STUDY = Study(
    id="memorization/ddim-error",
    laws=(DDIM_GAUSSIAN, DDIM_RATE, DDIM_SPECTRUM),
    title="DDIM narrows Gaussian data by c/L, and equal angles make c small",
    presets={
        "smoke": preset([1, 3, 10, 25, 60, 120], [0.1, 10.0], [(1.0, 625.0, 3)]),
        "default": preset(
            [1, 2, 3, 4, 6, 8, 12, 17, 25, 35, 50, 70, 100, 120], np.geomspace(0.04, 25, 9),
            [(1.0, 625.0, 3), (1.0, 25.0, 2), (0.3, 1000.0, 5)],
        ),
        "paper": preset(
            list(range(1, 121)), np.geomspace(0.04, 25, 41),
            [(v, c, n) for v in (0.2, 1.0, 5.0) for c in (4.0, 25.0, 625.0, 1000.0) for n in (2, 3, 5)],
        ),
    },
)  # fmt: skip


def of(rows, name):
    """Rows of one measurement."""
    return rows[rows["measurement"].str.endswith(f":{name}")]


@STUDY.figure(nrows=2, ncols=2, size=(12.5, 9.0))
def draw(axes, rows, verdicts):
    (curves, constants), (several, grids) = axes
    draw_curves(curves, of(rows, "generated_moments"))
    draw_constants(constants, verdicts)
    draw_several(several, of(rows, "optimised_grids"))
    draw_grids(grids)
    notes = "\n".join(verdict_note(verdicts, law.id) for law in STUDY.laws)
    grids.text(0.0, -0.2, notes, transform=grids.transAxes, fontsize=8, va="top")


def draw_curves(ax, rows):
    (start, stop), one = ENDS["VP"], process("VP")
    steps = np.unique(np.geomspace(1, 300, 60).astype(int))
    for colour, lam in zip(COLOURS, VARIANCES, strict=False):
        exact = theory.exact_scale(one, start, stop, lam)
        for schedule, face, style in (("uniform", "white", "-"), ("equal angle", colour, "--")):
            uniform = schedule == "uniform"
            of_ = theory.uniform_constant if uniform else theory.equal_angle_constant
            constant = of_(one, lam, start=start, stop=stop)
            times = [np.linspace(start, stop, n + 1) if uniform
                     else equal_angle_times(one, lam, int(n), start=start, stop=stop) for n in steps]  # fmt: skip
            ax.plot(steps, [1 - theory.shrinkage(one, t, lam) for t in times], color=colour, linestyle=style)
            far = np.array([30.0, 300.0]) if uniform else np.array([6.0, 300.0])
            ax.plot(far, constant / far, color=colour, linewidth=0.7, linestyle=":")
            mine = rows[(rows["schedule"] == schedule) & np.isclose(rows["variance"], lam)]
            error = 1 - np.stack(mine["moments"].to_list())[:, 0] / exact
            label = rf"$\lambda={lam:g}$, {'evenly spaced' if uniform else 'equal angles'}: $c={constant:.2f}$"
            ax.plot(mine["steps"], error, "o", color=colour, markerfacecolor=face, markersize=4.2, label=label)
    ax.annotate("published grid, 26 times", (25, 0.0659), (55, 0.9), fontsize=8.5,
                arrowprops={"arrowstyle": "-", "lw": 0.7, "relpos": (0.3, 0)})  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="number of steps $L$", ylim=(2.5e-3, 1.3), xlim=(0.9, 330),
           ylabel="missing part of the standard deviation, 1 - sampled/exact",
           title="VP, t from .999 to .001: product of cosines (lines), $c/L$ (dotted)")  # fmt: skip
    ax.legend(loc="lower left", fontsize=8)


def draw_constants(ax, verdicts):
    lam = np.geomspace(0.04, 25, 80)
    for i, (colour, name) in enumerate(zip(COLOURS, PROCESSES, strict=False)):
        for schedule, style, face in (("uniform", "-", "white"), ("equal angle", "--", colour)):
            points = [Schedule(process=name, schedule=schedule, variance=v) for v in lam]
            ends = {"start": points[0].start, "stop": points[0].stop}
            of_ = theory.uniform_constant if schedule == "uniform" else theory.equal_angle_constant
            label = rf"{name}, $t$ from {ends['start']:g} to {ends['stop']:g}" if schedule == "uniform" else None
            ax.plot(lam, [of_(process(name), v, **ends) for v in lam], color=colour, linestyle=style, label=label)
            found = [v for v in verdicts if v["law"] == DDIM_RATE.id and v["at"] is not None
                     and v["at"]["process"] == name and v["at"]["schedule"] == schedule]  # fmt: skip
            found = {v["at"]["variance"]: v["measured"] for v in found if v["measured"] is not None}
            ax.plot(list(found), [r * of_(process(name), v, **ends) for v, r in found.items()], "osD^"[i],
                    color=colour, markerfacecolor=face, markersize=4.2)  # fmt: skip
    ax.plot([], [], color="0.3", linestyle="--", label="dashed, full marks: equal angles")
    ax.axhline(np.pi**2 / 8, color="0.5", linewidth=0.8, label=r"$\pi^2/8$, the most that they pay")
    ax.set(xscale="log", yscale="log", xlabel=r"variance of the data $\lambda$", ylim=(0.2, 40),
           ylabel="$c$ = limit of $L$ x missing part",
           title="The constant (lines: theory, marks: extrapolated)")  # fmt: skip
    ax.legend(loc="upper right", fontsize=8)


def draw_several(ax, rows):
    one, (start, stop), lam = process("VP"), ENDS["VP"], np.array([0.04, 1.0, 25.0])
    limit = theory.arc_length_constant(one, lam, start=start, stop=stop)
    steps = np.unique(np.geomspace(4, 400, 40).astype(int))
    kinds = {
        "equal angles of the best single variance": lambda n: equal_angle_times(
            one, theory.best_equal_angle(one, lam, n, start=start, stop=stop), n, start=start, stop=stop
        ),
        "equal arcs": lambda n: theory.arc_length_times(one, lam, n, start=start, stop=stop),
    }
    for colour, (name, times) in zip(COLOURS[1:], kinds.items(), strict=False):
        errors = [n * theory.spectrum_error(one, times(int(n)), lam) / limit for n in steps]
        ax.plot(steps, errors, color=colour, label=f"{name}, VP, $\\lambda=0.04,1,25$")
    ax.axhline(1, color="0.5", linewidth=0.8)
    for i, name in enumerate(PROCESSES):
        label = f"{name}: all times free, optimised numerically"
        for _, row in rows[rows["process"] == name].iterrows():
            lam = row["variance"] * row["condition"] ** np.linspace(-0.5, 0.5, int(row["count"]))
            ends = {"start": ENDS[name][0], "stop": ENDS[name][1]}
            found = np.asarray(row["error"]) / theory.arc_length_constant(process(name), lam, **ends)
            ax.plot(row["counts"], found, "osD^"[i], color=COLOURS[(2, 0, 3, 5)[i]], markerfacecolor="white",
                    markersize=4.5, label=label)  # fmt: skip
            label = None
    evenly = 96 * theory.spectrum_error(one, np.linspace(start, stop, 97), np.array([0.04, 1.0, 25.0])) / limit
    ax.set(xscale="log", xlabel="number of steps $L$", ylim=(0.84, 1.12), xlim=(3.8, 420),
           ylabel="$L$ x root mean square error / predicted limit",
           title=f"Several eigenvalues at once (evenly spaced times are at {evenly:.1f} for $L=96$)")  # fmt: skip
    ax.legend(loc="lower right", fontsize=8)


def draw_grids(ax):
    one, (start, stop), lam, n = process("VP"), ENDS["VP"], np.array([0.04, 1.0, 25.0]), 16
    best = theory.best_equal_angle(one, lam, n, start=start, stop=stop)
    shown = {
        "evenly spaced\ntimes": np.linspace(start, stop, n + 1),
        r"equal angles, $\lambda=0.04$": equal_angle_times(one, 0.04, n, start=start, stop=stop),
        r"equal angles, $\lambda=25$": equal_angle_times(one, 25.0, n, start=start, stop=stop),
        f"equal angles,\nbest $\\lambda={best:.1f}$": equal_angle_times(one, best, n, start=start, stop=stop),
        "equal arcs": theory.arc_length_times(one, lam, n, start=start, stop=stop),
    }
    for i, times in enumerate(shown.values()):
        colour = (COLOURS[0], "0.45", "0.45", COLOURS[1], COLOURS[2])[i]
        at = np.log10(one.snr(times))
        ax.plot(at, np.full(n + 1, -i), "|", color=colour, markersize=17, markeredgewidth=1.5)
        error = theory.spectrum_error(one, times, lam)
        ax.text(6.3, -i, f"{error:.3f}", fontsize=8.5, va="center", color=colour)
    ax.text(6.3, 0.75, "error", fontsize=8.5, va="center")
    ax.set(xlabel=r"$\log_{10}$ of the signal-to-noise ratio $\alpha^2/\sigma^2$", xlim=(-2.9, 7.2),
           ylim=(-len(shown) + 0.3, 1.1),
           title=r"Where 16 steps are spent, VP, $\lambda=0.04,1,25$ (right: root mean square error)")  # fmt: skip
    ax.set_yticks([-i for i in range(len(shown))], list(shown))
    ax.tick_params(axis="y", length=0)


if __name__ == "__main__":
    STUDY.cli()
