r"""Gradient descent of finite networks on two curves against the linear theory, and how the width brings them together.

Left: error of the centred network over the steps at growing width, on the predicted (1 - tau lambda_-)^k of the limit
kernel; labels +1 and -1 on a symmetric pair of circles. Middle: the same at k = 10, measured over predicted; of few
points (N = 2) the approach is slow, like n^(-1/2). Right: distances from the network linearised at its start and from
the limit, change of the kernel, gates flipped, over the width: order -1/2 for a few points, -3/4 for many (as long as
n^(1/4) is small against their number); it would be -1 for smooth activations.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, measured_points, residuals, verdict_note
from lab.systems.curves.laws.training import (
    GATE_FLIPS,
    KERNEL_DRIFT,
    LIMIT_LINEARISATION,
    LINEARISATION,
    MODE_DECAY,
    Pair,
    predicted_decay,
)


def preset(widths, deep, replicates):
    few = Grid(points=1, networks=16, width=widths, replicates=replicates)
    many = Grid(points=16, networks=2, width=widths, replicates=replicates)
    return {
        MODE_DECAY.id: sum(deep, start=many),
        LINEARISATION.id: few,
        LIMIT_LINEARISATION.id: few,
        KERNEL_DRIFT.id: many,
        GATE_FLIPS.id: many,
    }


def deep(**axes):
    return Grid(**{"points": 16, "depth": 4, "steps": 15, **axes})


STUDY = Study(
    id="curves/descent",
    laws=(MODE_DECAY, LINEARISATION, LIMIT_LINEARISATION, KERNEL_DRIFT, GATE_FLIPS),
    title="Gradient descent of finite networks on two curves, and with which power of the width it becomes linear",
    presets={
        "smoke": preset([16, 64, 256, 1024, 4096], [], 48),
        "default": preset(
            [16, 64, 256, 1024, 4096, 8192], [deep(width=[64, 128, 256, 512, 1024], replicates=8)], 64,
        ),
        "paper": preset(
            [16, 64, 256, 1024, 4096, 16384],
            [deep(width=[256, 512, 1024, 2048, 4096, 8192], points=64, depth=6, steps=200, separation=0.1,
                  replicates=16)],
            256,
        ),
    },
)  # fmt: skip


@STUDY.figure(ncols=3, size=(14.5, 4.6))
def draw(axes, rows, verdicts):
    draw_decay(axes[0], rows[(rows["depth"] == rows["depth"].max()) & (rows["points"] > 1)], verdicts)
    draw_ratio(axes[1], rows)
    draw_orders(axes[2], rows[rows["depth"] == 1], verdicts)


def point(rows):
    return Pair(**{name: rows.iloc[0][name] for name in Pair.model_fields})


def draw_decay(ax, rows, verdicts):
    for (width, part), colour in zip(rows.groupby("width"), COLOURS, strict=False):
        values = np.stack([np.asarray(v) for v in part["rms"]])
        error = 2 * values.std(0, ddof=1) / np.sqrt(len(values))
        steps = np.arange(1, values.shape[1] + 1)
        ax.errorbar(steps, values.mean(0), yerr=error, fmt="o", markersize=3, color=colour, elinewidth=0.8,
                    label=f"networks, $n={width:g}$")  # fmt: skip
        p = point(part)
        ax.plot(steps, predicted_decay(p), color=colour, linewidth=0.9)
    ax.plot([], [], color="0.3", linewidth=0.9, label=r"$(1-\tau\lambda_-)^k$, limit kernel")
    ax.set(yscale="log", xlabel="step $k$", ylabel=r"root mean square of $f_k-f_0-y$",
           title=rf"$L={p.depth}$, $r={p.radius:g}$, $\Delta={p.separation:g}$, $N={2 * p.points}$")  # fmt: skip
    ticks = [t for t in (0.1, 0.2, 0.3, 0.5, 0.7, 1.0) if t > ax.get_ylim()[0]]
    ax.set_yticks(ticks, labels=[f"{t:g}" for t in ticks])
    ax.set_yticks([], minor=True)
    ax.legend(title=notes(verdicts, MODE_DECAY), title_fontsize=8, fontsize=8)


def draw_ratio(ax, rows):
    k = 10
    for ((depth, points), part), colour, marker in zip(rows.groupby(["depth", "points"]), COLOURS, "osD", strict=False):
        expected = {n: predicted_decay(point(one))[k - 1] for n, one in part.groupby("width")}
        ratio = [np.asarray(v)[k - 1] / expected[n] for v, n in zip(part["rms"], part["width"], strict=True)]
        measured_points(ax, part.assign(ratio=ratio), x="width", y="ratio", color=colour, marker=marker,
                        label=f"$L={depth:g}$, $N={2 * points:g}$")  # fmt: skip
    residuals(ax, r"measured error over $(1-\tau\lambda_-)^k$")
    ax.set(xscale="log", xlabel="width $n$", title=f"Wide networks follow the limit kernel, $k={k}$")
    ax.legend(fontsize=8)


def draw_orders(ax, rows, verdicts):
    few, many = rows[rows["points"] == 1], rows[rows["points"] > 1]
    shown = ((few, "limit_error", -0.5, "distance from the limit's descent, $N=2$"),
             (few, "error", -0.5, "from linearised network, $N=2$"),
             (many, "drift", -0.75, f"change of the kernel, $N={2 * many['points'].max():g}$"),
             (many, "flips", -0.5, f"share of gates flipped, $N={2 * many['points'].max():g}$"))  # fmt: skip
    for (part, name, order, label), colour, marker in zip(shown, COLOURS, "osD^", strict=False):
        mean = part.groupby("width")[name].mean()
        measured_points(ax, part, x="width", y=name, color=colour, marker=marker, label=label)
        line = mean.iloc[-1] * (mean.index / mean.index[-1]) ** order
        ax.plot(mean.index, line, color=colour, linewidth=0.9, linestyle="-" if order == -0.5 else "--")
    ax.plot([], [], color="0.3", linewidth=0.9, label="$n^{-1/2}$")
    ax.plot([], [], color="0.3", linewidth=0.9, linestyle="--", label="$n^{-3/4}$")
    ax.set(xscale="log", yscale="log", xlabel="width $n$", ylabel="relative size", title="Orders in the width, $L=1$")
    ax.set_ylim(bottom=many["flips"].min() / 40)
    laws = (LIMIT_LINEARISATION, LINEARISATION, KERNEL_DRIFT, GATE_FLIPS)
    ax.legend(title=notes(verdicts, *laws), title_fontsize=7.5, fontsize=7.5, loc="lower left")


def notes(verdicts, *laws):
    return "\n".join(verdict_note(verdicts, law.id).removeprefix("curves/") for law in laws)


if __name__ == "__main__":
    STUDY.cli()
