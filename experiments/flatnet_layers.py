"""What layers of a flattening network do, one after the other: decoding, flatness, folds, curvature.

Top left: error of three decoders of a sine graph against the number of layers, with eps times the amplification along
the samples. Top middle: flatness, the second singular value over the first; a closed circle gets flat too. Top right:
the circle does so by folding, the arc unrolls if kernels sit on the samples. Bottom left: least ratio of distances: the
fold merges samples. Bottom middle: the factor by which a layer multiplies the curvature around its sample. Bottom
right: random surfaces with the published centre and with the corrected one.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.flatnet import theory
from lab.systems.flatnet.laws import MEAN_CURVATURE, ROUND_TRIP

CURVES = (("arc", "sample", "arc, kernels on samples"), ("arc", "mean", "arc, published centre"),
          ("circle", "sample", "closed circle, kernels on samples"), ("circle", "mean", "closed circle, published"))
RADIUS = 0.36


def preset(layers, replicates, surfaces, n, D, depth, dimensions, heights):
    curves = Grid(surface=["arc", "circle"], n=60, layers=layers, radius=RADIUS, centre=["sample", "mean"],
                  replicates=replicates)  # fmt: skip
    sine = Grid(surface="sine", n=50, layers=layers, radius=0.0, centre="sample", replicates=replicates)
    random = Grid(surface="random surface", d=surfaces, D=D, n=n, layers=depth, radius=0.0, centre=["sample", "mean"],
                  replicates=replicates)  # fmt: skip
    return {ROUND_TRIP.id: curves + sine + random,
            MEAN_CURVATURE.id: Grid(d=dimensions, alpha=heights, replicates=1)}  # fmt: skip


STUDY = Study(
    id="flatnet/layers",
    laws=(ROUND_TRIP, MEAN_CURVATURE),
    title="Flattening layer by layer: three decoders, folds, and what happens to curvature",
    presets={
        "smoke": preset(130, 2, 3, 80, 8, 20, [1, 2, 3, 6, 8], [0.2, 0.5]),
        "default": preset(500, 8, [1, 3], 200, 10, 130, list(range(1, 11)), [0.2, 0.5]),
        "paper": preset(500, 32, [5, 10, 15, 20], 2000, 100, 320, list(range(1, 11)), [0.1, 0.2, 0.3, 0.5]),
    },
)


@STUDY.figure(nrows=2, ncols=3, size=(14.5, 8.4))
def draw(axes, rows, verdicts):
    (decoders, flat, turns), (distances, curvature, surfaces) = axes
    networks = rows[rows["surface"].notna()]
    draw_decoders(decoders, networks[networks["surface"] == "sine"], verdicts)
    for ax, name in ((flat, "flatness"), (turns, "turns"), (distances, "ratio")):
        for (surface, centre, label), colour, style in zip(CURVES, COLOURS, ("-", "--", "-", "--"), strict=False):
            part = networks[(networks["surface"] == surface) & (networks["centre"] == centre)]
            spread(ax, part, name, colour=colour, style=style, label=label)
        ax.set(xscale="log", xlabel=r"layers $L$")
    flat.set(yscale="log", ylabel=r"flatness $\sigma_2/\sigma_1$ of the output", title="Everything gets flat")
    flat.legend(title=f"kernels of {RADIUS:g} diameters", title_fontsize=8, fontsize=8, loc="lower left")
    turns.axhline(2, color="0.4", linewidth=0.8, linestyle=":")
    turns.text(1, 2.06, "least on a closed curve", fontsize=8, color="0.4")
    turns.set(ylabel="turning points of the leading coordinate, mean", ylim=(-0.15, None),
              title="...the closed circle by folding, the arc by unrolling")  # fmt: skip
    distances.set(yscale="log", ylabel="least ratio of distances, over the median", title="A fold merges samples")
    draw_curvature(curvature, rows[rows["factor"].notna()], verdicts)
    draw_surfaces(surfaces, networks[networks["surface"] == "random surface"])


def columns(rows, name):
    """Layers (A,) and values (replicates, A) of a list column."""
    return np.array(rows["depth"].iloc[0]), np.stack(rows[name].to_list())


def spread(ax, rows, name, *, colour, style="-", label=""):
    """Median over replicates (mean of counts), and the range of all of them."""
    layers, values = columns(rows, name)
    middle = (np.mean if name == "turns" else np.median)(values, axis=0)
    ax.fill_between(layers, values.min(0), values.max(0), color=colour, alpha=0.12, linewidth=0)
    ax.plot(layers, middle, style, color=colour, marker="o", markersize=2.5, label=label)


def draw_decoders(ax, rows, verdicts):
    labels = {"exact": "exact inverse", "quadratic": "quadratic (published)", "hybrid": "hybrid, tolerance .01"}
    for (name, label), colour in zip(labels.items(), COLOURS, strict=False):
        spread(ax, rows, name, colour=colour, label=label, style="--" if name == "hybrid" else "-")
    layers, amplification = columns(rows, "amplification")
    ax.plot(layers, np.finfo(float).eps * np.median(amplification, axis=0), color="0.3", linestyle=":",
            label=r"$\varepsilon\,\max\prod_l s_l/(1-k_l)$")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel=r"layers $L$", ylabel="error of decoding, root mean square",
           title="Sine graph: exact until the amplification is $1/\\varepsilon$")  # fmt: skip
    ax.legend(title=verdict_note(verdicts, ROUND_TRIP.id), title_fontsize=8, fontsize=8, loc="upper left")


def draw_curvature(ax, rows, verdicts):
    d = sorted(int(value) for value in rows["d"].unique())
    for alpha, colour, marker in zip(sorted(rows["alpha"].unique()), COLOURS, "osD^", strict=False):
        ax.plot(d, [theory.trace_factor(alpha, one) for one in d], color=colour)
        part = rows[rows["alpha"] == alpha].sort_values("d")
        factors = np.stack(part["factor"].to_list())
        for column, face in ((0, "white"), (-1, colour)):
            gamma = part["gamma"].iloc[0][column]
            ax.plot(part["d"], factors[:, column], marker, color=colour, markerfacecolor=face, markersize=4.5,
                    label=rf"$\alpha={alpha:g}$, $\gamma={gamma:.0f}$")  # fmt: skip
        ax.axhline(1 - alpha, color=colour, linestyle=":", linewidth=0.9)
    ax.text(d[-1], 1 - alpha + 0.04, r"kernel on the sample: $1-\alpha$", fontsize=8, ha="right", color=colour)
    ax.axhspan(-1, 0, color="0.92", zorder=0)
    ax.text(0.8, -0.96, "bends the other way", fontsize=8, color="0.4", va="bottom")
    ax.axhspan(ax.get_ylim()[0], -1, color="0.82", zorder=0)
    ax.text(0.8, -1.05, "...and more than before", fontsize=8, color="0.3", va="top")
    ax.set(xlabel="dimension $d$ of the sphere", ylabel="curvature after a layer, over before",
           title=r"Published centre: $1-\alpha-\alpha d/2$")  # fmt: skip
    ax.set_xticks(d)
    ax.legend(title=verdict_note(verdicts, MEAN_CURVATURE.id), title_fontsize=8, fontsize=8, loc="lower left")


def draw_surfaces(ax, rows):
    for d, colour in zip(sorted(rows["d"].unique()), COLOURS, strict=False):
        for centre, style, name in (("sample", "-", "on the sample"), ("mean", "--", "published")):
            part = rows[(rows["d"] == d) & (rows["centre"] == centre)]
            spread(ax, part, "flatness", colour=colour, style=style, label=f"$d={d}$, kernel {name}")
    p = rows.iloc[0]
    ax.set(xscale="log", yscale="log", xlabel=r"layers $L$", ylabel=r"flatness $\sigma_{d+1}/\sigma_1$ of the output",
           title=rf"Random surfaces in $R^{{{int(p['D'])}}}$, {int(p['n'])} samples")  # fmt: skip
    ax.legend(fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
