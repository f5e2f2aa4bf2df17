"""What estimators of intrinsic dimension do on sets where the answer is exact, and how wide their intervals must be.

Top left: mean of the Levina-Bickel estimates against the number of neighbours; the line is (k-1)/(k-2), for every
space and number of points. Top right: the average without bias, d times the mean of m_k, against the number of points:
1 on flat tori and the 2-sphere; on other spheres with chords it follows the quadrature; on the open cube it does not
follow anything. Bottom left: variance in units of independent neighbourhoods. Bottom right: how often 95 % intervals
contain the dimension, with and without the correction for overlap.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, measured_points, verdict_note
from lab.systems.intrinsic_dimension import theory
from lab.systems.intrinsic_dimension.laws import (
    CHORDAL_DISTANCE,
    INTERVAL_COVERAGE,
    LEVINA_BICKEL_BIAS,
    OPEN_CUBE_PRINTED,
    TWONN_VARIANCE,
)
from lab.systems.intrinsic_dimension.laws.overlap import WITHIN, factor, nominal

SPACES = (("circle", 1, 20), ("sphere", 2, 20), ("torus", 3, 200), ("torus", 5, 400))
NEIGHBOURS = 5
"""Of the panel over the number of points."""


def preset(neighbours, points, dimensions, overlapping, few, replicates, many):
    bias = [Grid(space=s, d=d, n=n, k=neighbours, j=1, replicates=replicates) for s, d, n in SPACES]
    overlap = Grid(d=dimensions, n=200, k=overlapping, replicates=many)
    return {
        LEVINA_BICKEL_BIAS.id: sum(bias[1:], start=bias[0]),
        CHORDAL_DISTANCE.id: Grid(d=[1, 2, 3, 5], n=points, k=NEIGHBOURS, replicates=replicates),
        OPEN_CUBE_PRINTED.id: Grid(space="torus", d=few, n=[100, 200, 350, 500], k=NEIGHBOURS, j=1,
                                   replicates=replicates),
        TWONN_VARIANCE.id: overlap, INTERVAL_COVERAGE.id: overlap,
    }  # fmt: skip


STUDY = Study(
    id="intrinsic_dimension/estimators",
    laws=(LEVINA_BICKEL_BIAS, CHORDAL_DISTANCE, OPEN_CUBE_PRINTED, TWONN_VARIANCE, INTERVAL_COVERAGE),
    title="Intrinsic dimension: exact biases, variance of overlapping neighbourhoods, intervals that cover",
    presets={
        "smoke": preset([5, 12], [8, 20, 100], [1, 3], [2, 20], [3], 6, 24),
        "default": preset([5, 6, 7, 8, 10, 12], [8, 12, 20, 35, 60, 110, 200], [1, 2, 3, 5], [2, 3, 5, 10, 20],
                          [2, 3], 24, 60),
        "paper": preset(list(range(5, 13)), [6, 8, 12, 20, 35, 60, 110, 200], [1, 2, 3, 4, 5],
                        [2, 3, 4, 5, 7, 10, 14, 20], [2, 3], 400, 2000),
    },
)  # fmt: skip


@STUDY.figure(nrows=2, ncols=2, size=(11.5, 8.6))
def draw(axes, rows, verdicts):
    (bias, curved), (variance, coverage) = axes
    near = rows[rows["mean"].notna()]
    cut = near["knobs"].str.contains("true")  # the open cube: the measurement with a boundary
    draw_bias(bias, near[~cut], verdicts)
    draw_means(curved, near, cut, verdicts)
    overlap = rows[rows["covered"].notna()]
    draw_variance(variance, overlap, verdicts)
    draw_coverage(coverage, overlap, verdicts)


def draw_bias(ax, rows, verdicts):
    k = np.linspace(4.6, rows["k"].max() + 0.4, 200)
    ax.plot(k, (k - 1) / (k - 2), color="0.3", label=r"$(k-1)/(k-2)$, exact for every $N>k$")
    ax.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
    for i, ((space, d, n), colour, marker) in enumerate(zip(SPACES, COLOURS, "osD^", strict=False)):
        part = rows[(rows["space"] == space) & (rows["d"] == d) & (rows["n"] == n)]
        part = part.assign(ratio=part["estimate"] / d, k=part["k"] + 0.08 * (i - 1.5))  # side by side
        measured_points(ax, part, x="k", y="ratio", color=colour, marker=marker, markerfacecolor="white",
                        label=f"{space}, $d={d}$, $N={n}$")  # fmt: skip
    ax.set(xlabel="number of neighbours $k$", ylabel=r"mean of $1/m_k$, over $d$", ylim=(0.98, None),
           title="Averaging estimates: biased by $(k-1)/(k-2)$")  # fmt: skip
    ax.legend(title=verdict_note(verdicts, LEVINA_BICKEL_BIAS.id), title_fontsize=8)


def draw_means(ax, rows, cut, verdicts):
    k = NEIGHBOURS
    spheres = rows[(rows["space"] == "sphere") & (rows["k"] == k)]
    line = np.unique(np.geomspace(spheres["n"].min(), spheres["n"].max(), 40).astype(int))
    for d, colour, marker in zip(sorted(spheres["d"].unique()), COLOURS, "osD^v", strict=False):
        ax.plot(line, [d * theory.chordal_log_ratio(int(n), k, int(d)) for n in line], color=colour)
        part = spheres[spheres["d"] == d]
        measured_points(ax, part.assign(scaled=d * part["mean"]), x="n", y="scaled", color=colour, marker=marker,
                        markerfacecolor="white", label=f"sphere with chords, $d={d}$")  # fmt: skip
    flat = rows[(rows["space"] == "torus") & ~cut & (rows["k"] == k)]
    flat = flat.assign(scaled=flat["d"] * flat["mean"])
    measured_points(ax, flat, x="n", y="scaled", color="black", marker="P", markersize=5, label="flat torus, $d=3, 5$")
    for d, part in rows[cut].groupby("d"):
        measured_points(ax, part.assign(scaled=d * part["mean"]), x="n", y="scaled", color="0.5", marker="x",
                        linestyle=":", markersize=5, label=f"open cube, $d={d}$ (control)")  # fmt: skip
    ax.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
    ax.set(xscale="log", xlabel="number of points $N$", ylabel=rf"$d$ times the mean of $m_{{{k}}}$ (1: no bias)",
           title="The average without bias: 1 unless curved or cut")  # fmt: skip
    ticks = [n for n in (8, 20, 50, 100, 200, 500) if rows["n"].min() <= n <= rows["n"].max()]
    ax.set_xticks(ticks, labels=[f"{n}" for n in ticks])
    ax.minorticks_off()
    ax.legend(title=verdict_note(verdicts, CHORDAL_DISTANCE.id), title_fontsize=8)


def draw_variance(ax, rows, verdicts):
    k = np.arange(2, rows["k"].max() + 1)
    middle = np.array([factor(TWONN_VARIANCE.params(k=int(one))) for one in k])
    width = WITHIN
    ax.set_xscale("log")
    ax.fill_between(k, middle - width, middle + width, color=COLOURS[0], alpha=0.15, linewidth=0)
    ax.plot(k, middle, color=COLOURS[0], label=r"$2-0.42\,(k-1)^{-1/10}$, within .1")
    draw_by_dimension(ax, rows, "variance")
    ax.axhline(1, color=COLOURS[1], linestyle="--")
    ax.text(2, 1.02, "textbook: independent neighbourhoods", color=COLOURS[1], fontsize=8.5)
    ax.axhline(2, color=COLOURS[2], linestyle=":")
    ax.text(2, 2.02, "every distance used twice (exact within a radius)", color=COLOURS[2], fontsize=8.5)
    ax.set(xlabel="number of neighbours $k$ (2: TwoNN)", ylabel=r"$N(k-1)\,\mathrm{Var}(\hat d\,)/d^2$",
           ylim=(0.9, 2.5), title="Variance: 1.6 times the textbook's and more")  # fmt: skip
    ax.legend(title=verdict_note(verdicts, TWONN_VARIANCE.id), title_fontsize=8, fontsize=8, loc="upper left", ncols=2)


def draw_coverage(ax, rows, verdicts):
    values = np.array(sorted(rows["k"].unique()))
    both = np.stack(rows["covered"].to_list())
    points = rows.assign(corrected=both[:, 0], textbook=both[:, 1])
    predicted = np.array([nominal(TWONN_VARIANCE.params(k=int(k))) for k in values])
    ax.set_xscale("log")
    for i, (name, colour) in enumerate((("corrected", COLOURS[0]), ("textbook", COLOURS[1]))):
        ax.plot(values, predicted[:, i], color=colour, label=f"{name} intervals, predicted")
        draw_by_dimension(ax, points, name, colour=colour)
    ax.set(xlabel="number of neighbours $k$ (2: TwoNN)", ylabel="share of intervals that contain $d$",
           ylim=(0.8, 1.0), title="Coverage of 95 % intervals")  # fmt: skip
    ax.legend(title=verdict_note(verdicts, INTERVAL_COVERAGE.id), title_fontsize=8, fontsize=8, ncols=2,
              loc="lower left")  # fmt: skip


def draw_by_dimension(ax, rows, column, colour="0.25"):
    dimensions = sorted(rows["d"].unique())
    for i, (d, marker) in enumerate(zip(dimensions, "osD^v", strict=False)):
        part = rows[rows["d"] == d]
        part = part.assign(k=part["k"] * 1.04 ** (i - (len(dimensions) - 1) / 2))  # side by side
        label = f"$d={d}$, $N={int(part['n'].iloc[0])}$" if column == "variance" else None
        measured_points(ax, part, x="k", y=column, color=colour, marker=marker, markerfacecolor="white", label=label)
    values = sorted(rows["k"].unique())
    ax.set_xticks(values, labels=[f"{k}" for k in values])
    ax.minorticks_off()


if __name__ == "__main__":
    STUDY.cli()
