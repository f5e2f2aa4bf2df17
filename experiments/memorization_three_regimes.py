"""Three regimes of a reverse diffusion over training data: nothing decided, class decided, training point decided.

When does the posterior over N training points collapse onto the right one? Exact curve, bound and measurement for many
dimensions and numbers of points, and along the time of a process with two classes.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from lab import Grid, Study
from lab.models.diffusion import OU, process
from lab.plot import COLOURS, verdict_note
from lab.systems.memorization import theory
from lab.systems.memorization.laws import COLLAPSE, COLLAPSE_BOUND, SPECIATION_AGREEMENT, THREE_REGIMES


def preset(sets, replicates, classes, clones, points=13):
    """Thresholds and curves of the (d, n), two classes, and agreement at speciation; bounds at the same (d, n)."""
    curves, bounds = [], []
    for d, count, K in sets:
        curves.append(Grid(replicates, d=d, count=count, K=K))
        snr = theory.collapse_snr(d, count) * np.geomspace(0.2, 5, points)
        bounds.append(Grid(d=d, count=count, psi=[1e-6, *snr.tolist()]))  # the bound is attained as psi goes to 0
    radii = np.geomspace(1.3, 12, points // 2).tolist()
    return {
        COLLAPSE.id: sum(curves[1:], curves[0]), COLLAPSE_BOUND.id: sum(bounds[1:], bounds[0]),
        THREE_REGIMES.id: classes, SPECIATION_AGREEMENT.id: Grid(clones, radius=radii, d=[2, 30]),
    }  # fmt: skip


SETS = [(10, 30, 1), (12, 1000, 1), (20, 100, 1), (30, 100, 4), (40, 1000, 1), (80, 400, 1)]

STUDY = Study(
    id="memorization/three-regimes",
    laws=(COLLAPSE, COLLAPSE_BOUND, THREE_REGIMES, SPECIATION_AGREEMENT),
    title="Reverse diffusion decides on the class first, on the training point later, and both times are closed forms",
    presets={
        "smoke": preset([(10, 30, 1), (30, 50, 4), (60, 200, 1)], 12, Grid(12), 10, 5),
        "default": preset(SETS, 64, Grid(48) + Grid(48, d=60, radius=15.0, v=0.5, count=30), 24),
        "paper": preset(
            [(d, count, 1) for d in (10, 20, 40, 80, 120) for count in (30, 100, 400, 2000)]
            + [(40, count, 5) for count in (30, 400)],
            1000, Grid(1000, d=[30, 100], count=[50, 1000], radius=[6.0, 15.0]), 200,
        ),
    },
)  # fmt: skip


def averages(part):
    """Mean and 95 % half-width over replicates of an array column."""
    values = np.stack(part.to_list())
    return values.mean(0), 1.96 * values.std(0, ddof=1) / np.sqrt(len(values))


def interpolated(function, x, count):
    """A smooth function at many x by monotone cubics in log x from `count` of them."""
    from scipy.interpolate import PchipInterpolator

    knots = np.linspace(np.log(x[0]), np.log(x[-1]), count)
    return PchipInterpolator(knots, [function(one) for one in np.exp(knots)])(np.log(x))


def recall(psi, *, d, count, v, share):
    return theory.recall(d, count, psi, v, share=share)


def name(d, n, K):
    return f"$d={d}$, $n={n}$" + (f", $K={K}$" if K > 1 else "")


@STUDY.figure(ncols=3, size=(14, 4.8), width_ratios=(1, 1, 1.25))
def draw(axes, rows, verdicts):
    threshold, window, regimes = axes
    curves = rows[rows["recall"].notna() & rows["time"].notna() & rows["K"].notna()]
    groups = list(curves.groupby(["d", "count", "K"]))
    for i, ((d, count, K), part) in enumerate(groups[:: max(1, len(groups) // 6)]):
        d, n, K = int(d), int(count), int(K)
        first = part.iloc[0]
        psi = process(first["process"]).snr(np.asarray(first["time"]))
        mean, error = averages(part["recall"])
        critical = theory.collapse_snr(d, n, first["v"])
        fine = critical * np.geomspace(0.18, 5.5, 60)
        exact = interpolated(partial(recall, d=d, count=n * K, v=first["v"], share=1 / K), fine, 20)
        colour, marker = COLOURS[i % 7], "o^sDvp"[i % 6]
        seen = (psi > fine[0]) & (psi < fine[-1])
        for ax, at, line in (
            (threshold, psi / critical, fine / critical),
            (window, theory.collapse_coordinate(d, n, psi), theory.collapse_coordinate(d, n, fine)),
        ):
            ax.plot(line, exact, color=colour, zorder=2)
            ax.errorbar(at[seen], mean[seen], error[seen], color=colour, marker=marker, linestyle="none",
                        markersize=4, markerfacecolor="white", elinewidth=1, zorder=3)  # fmt: skip
        threshold.plot(fine / critical, theory.recall_bound(d, n, fine), color=colour, linestyle="--", linewidth=0.7)
        threshold.plot([], [], color=colour, marker=marker, markerfacecolor="white", markersize=4,
                       label=f"{name(d, n, K)}: {crossing(verdicts, d, n, K):.2f}")  # fmt: skip
    threshold.plot([], [], color="0.3", linestyle="--", linewidth=0.7, label="rigorous lower bound")
    threshold.axvline(1, color="0.5", linewidth=0.8)
    threshold.axhline(0.565, color="0.5", linewidth=0.8, linestyle=":")
    threshold.text(0.19, 0.575, ".565", color="0.4", fontsize=8)
    threshold.set(xscale="log", xlim=(0.18, 5.5), ylim=(-0.02, 1.02), title=note(verdicts, COLLAPSE.id),
                  xlabel=r"signal-to-noise ratio $\psi/\psi_C$, $\psi_C=(n^{2/d}-1)/v$, $n=N/K$",
                  ylabel=r"posterior of the right point, $E\,p_1$")  # fmt: skip
    threshold.set_xticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    threshold.set_xticks([], minor=True)
    threshold.legend(loc="lower right", fontsize=7.5, handlelength=1.4, title=r"measured $\psi(.565)/\psi_C$",
                     title_fontsize=7.5)  # fmt: skip

    from scipy.stats import norm

    z = np.linspace(-3.5, 5, 200)
    window.plot(z, norm.cdf(z), color="black", linestyle="-.", linewidth=1.8, label=r"limit $\Phi(z)$")
    window.axvline(0, color="0.5", linewidth=0.8)
    window.set(xlim=(-3.5, 5), ylim=(-0.02, 1.02), title="The same in the width of the window",
               xlabel=r"$z=(\frac{d}{2}\log(1+\psi v)-\log n)/w$, $w^2=d\,\psi v/(1+\psi v)$")  # fmt: skip
    window.legend(loc="lower right")
    two_classes(regimes, rows[rows["agreement"].notna() & rows["count"].notna()], verdicts)


def crossing(verdicts, d, n, K):
    """Signal-to-noise ratio at which the measured curve crosses the level, over the predicted one."""
    for one in verdicts:
        at = one["at"]
        if one["law"] == COLLAPSE.id and at and (at["d"], at["count"], at["K"]) == (d, n, K):
            return process(at["process"]).snr(one["measured"]) / theory.collapse_snr(d, n, at["v"])
    return np.nan


def note(verdicts, law):
    return verdict_note(verdicts, law).replace("memorization/", "")


def two_classes(ax, rows, verdicts):
    """Agreement of clones along OU time, on the class and on the training point."""
    key = rows[["d", "radius", "v", "count"]].iloc[0]
    part = rows[(rows[key.index] == key).all(axis=1)]
    d, radius, v, n = int(key["d"]), float(key["radius"]), float(key["v"]), int(key["count"])
    mean, error = averages(part["agreement"].map(lambda table: np.stack([np.asarray(row) for row in table])))
    times = np.asarray(part.iloc[0]["time"])
    t = np.linspace(0.02, times[-1], 200)
    speciation, collapse = theory.speciation_time(OU, radius, v), theory.collapse_time(OU, d, n, v)
    ax.axvspan(0, collapse, color="#D55E00", alpha=0.10, linewidth=0)
    ax.axvspan(collapse, speciation, color="#E69F00", alpha=0.12, linewidth=0)
    ax.axvspan(speciation, times[-1], color="#0072B2", alpha=0.08, linewidth=0)
    points = interpolated(lambda psi: theory.recall(d, 2 * n, psi, v, share=0.5), OU.snr(t)[::-1], 40)[::-1]
    lines = ((theory.class_agreement(OU.snr(t), radius, v), "#0072B2", "same class: $\\phi(g)$", "o"),
             (points, "#D55E00", "same training point: $E\\sum p_i^2$", "s"))  # fmt: skip
    for j, (line, colour, label, marker) in enumerate(lines):
        ax.plot(t, line, color=colour, label=label)
        ax.errorbar(times, mean[:, j], error[:, j], color=colour, marker=marker, linestyle="none", markersize=4,
                    markerfacecolor="white", elinewidth=1, zorder=3)  # fmt: skip
    for at, level, text in ((speciation, theory.speciation_agreement(), "$t_S$"), (collapse, 0.565, "$t_C$")):
        ax.axvline(at, color="0.3", linewidth=0.9, linestyle="--")
        ax.plot([at], [level], "*", color="black", markersize=11, zorder=4)
        ax.annotate(f"{text}$={at:.2f}$\nagreement {level:.4g}".replace("0.", "."), (at, level), (10, 2),
                    textcoords="offset points", fontsize=8.5)  # fmt: skip
    for at, text in ((collapse / 2, "training point\ndecided"), ((collapse + speciation) / 2, "class\ndecided"),
                     ((speciation + times[-1]) / 2, "nothing decided")):  # fmt: skip
        ax.text(at, 0.30, text, ha="center", fontsize=8.5, color="0.25")
    ax.set(xlim=(0, times[-1]), ylim=(-0.02, 1.04), title=note(verdicts, THREE_REGIMES.id),
           xlabel=rf"time $t$ of the OU process ($d={d}$, $|\mu|={radius:g}$, $v={v:g}$, {n} points a class)",
           ylabel="chance that two reverse diffusions agree")  # fmt: skip
    ax.legend(loc="upper right", fontsize=8.5, title=note(verdicts, SPECIATION_AGREEMENT.id), title_fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
