"""Do attention weights recover which subspace a token belongs to? Three readings of the same weights.

Top left: labels by the head in which a token attends to itself, against p/log N_1: half of every cluster is found at 2,
whatever the size. Top right: clusters of the graph whose edges are the weights of an operator, summed over heads
(spectral cut, layer 1). Scores know the clusters from small ranks on; softmax spends a unit of weight in every head, on
foreign heads at random, and above the boundary each token sees itself alone: what denoises has no affinities left.
Bottom left: the same readings against noise; the largest coordinates (the Bayes rule) follow their closed form. Bottom
right: layer by layer.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, measured_points, verdict_note
from lab.systems.attention_only import theory
from lab.systems.attention_only.laws.segmentation import (
    ENERGY_LABELS,
    SEGMENTATION_BOUNDARY,
    SEGMENTATION_EXACT,
    SEGMENTATION_GRAPH,
    SEGMENTATION_TYPICAL,
)
from lab.systems.attention_only.theory.segmentation import confused_agreement, energy_error, partial_agreement

OPERATORS = {"softmax": COLOURS[0], "thresholded": COLOURS[1], "relu": COLOURS[2], "linear": COLOURS[3]}
MARKERS = dict(zip(OPERATORS, "osD^", strict=True))
K, DELTA = 4, 0.05


def ranks(*shares):
    """Ranks at given multiples of log N_1."""
    return lambda f: sorted({max(1, round(c * np.log(f.per_class))) for c in shares})


def preset(sizes, steps, large, shares, noises, layers, replicates, few):
    """`sizes` for the boundary; tokens of a cluster `large`, ranks `shares` and `few` replicates where there are
    eigenvectors.
    """
    log = {n: np.log(n) for n in sizes}
    boundary = [
        Grid(heads=K, per_class=n, rank=list(range(round(log[n]), round(3.6 * log[n]) + 1, steps)),
             replicates=replicates)
        for n in sizes
    ]
    all_sizes = sum(boundary[1:], start=boundary[0])
    graphs = Grid(heads=K, per_class=large, operator=list(OPERATORS), rank=ranks(*shares), delta=DELTA,
                  spectral=True, replicates=few)  # fmt: skip
    depth = Grid(heads=K, per_class=large, operator=["softmax", "thresholded", "relu"], rank=ranks(3), spectral=True,
                 layers=layers, replicates=few)  # fmt: skip
    weak, strong = (
        Grid(heads=K, per_class=large, operator=["softmax"], rank=ranks(2), delta=some, spectral=True,
             replicates=replicates)
        for some in ([d for d in noises if d <= 0.2], [d for d in noises if d > 0.2])
    )  # fmt: skip
    events = Grid(heads=K, per_class=32, rank=[16, 24, 32, 40, 48], delta=0.05, tau=0.6, layers=2, replicates=few)
    return {
        SEGMENTATION_TYPICAL.id: all_sizes + graphs + depth + weak, SEGMENTATION_BOUNDARY.id: all_sizes,
        SEGMENTATION_EXACT.id: events, SEGMENTATION_GRAPH.id: events, ENERGY_LABELS.id: strong,
    }  # fmt: skip


STUDY = Study(
    id="attention_only/segmentation",
    laws=(SEGMENTATION_TYPICAL, SEGMENTATION_BOUNDARY, SEGMENTATION_EXACT, SEGMENTATION_GRAPH, ENERGY_LABELS),
    title="What attention weights know about subspaces: self weights, affinities between tokens, energies",
    presets={
        "smoke": preset([64, 128], 2, 64, (0.5, 1, 2, 4), [0.1, 0.5, 0.75], 4, 8, 6),
        "default": preset([64, 256], 1, 128, (0.5, 1, 1.5, 2, 2.5, 3, 4, 5), [0.1, 0.15, 0.2, 0.5, 0.55, 0.6, 0.7,
                          0.8, 0.9], 10, 16, 8),
        "paper": preset([64, 128, 256, 512, 1024], 1, 512, [0.5 + 0.25 * i for i in range(19)],
                        [0.1, 0.15, 0.2, *(0.5 + 0.05 * i for i in range(9))], 16, 60, 24),
    },
)  # fmt: skip


@STUDY.figure(nrows=2, ncols=2, size=(11.8, 9))
def draw(axes, rows, verdicts):
    (typical, graphs), (noise, depth) = axes
    rows = rows.copy()
    rows["c"] = rows["rank"] / np.log(rows["per_class"])
    rows["energies"], rows["above"] = ([r[0] for r in rows[name]] for name in ("energy", "graph"))
    flat = rows["spectral"].astype(bool)
    plain, spectral = rows[~flat & (rows["tau"] == rows["tau"].min())], rows[flat].copy()
    spectral["by cut"] = [v[0] for v in spectral["cut"]]
    at_layers = spectral[spectral["layers"] > 1]
    one = spectral[spectral["layers"] == 1]
    at_noise, first = one[one["delta"] != DELTA], one[one["delta"] == DELTA]
    draw_typical(typical, plain, verdicts)
    draw_graphs(graphs, first, verdicts)
    draw_noise(noise, at_noise, verdicts)
    draw_depth(depth, at_layers)


def draw_typical(ax, rows, verdicts):
    c = np.linspace(0.8, 3.8, 200)
    for (n, part), colour, marker in zip(rows.groupby("per_class"), COLOURS, "osD^", strict=False):
        found = [v for v in verdicts if v["law"] == SEGMENTATION_BOUNDARY.id and v["at"] and v["at"]["per_class"] == n]
        label = f"$N_1={n}$"
        if found:
            label += f": half found at $p={found[0]['measured']:.1f}$, $2\\,\\log N_1={found[0]['predicted']:.1f}$"
        ax.plot(c, partial_agreement(theory.passing_fraction(n, c * np.log(n)), K, int(n)), color=colour)
        measured_points(ax, part, x="c", y="first", color=colour, marker=marker, markerfacecolor="white", label=label)
    energies = rows.groupby("c")["energies"].mean()
    ax.plot(energies.index, energies, ".", color="0.5", markersize=3, label="largest coordinates (Bayes rule)")
    ax.axvline(theory.TYPICAL_TOKEN, color="0.6", linewidth=0.8, linestyle="--")
    ax.axhline(partial_agreement(0.5, K, 10**6), color="0.6", linewidth=0.8, linestyle=":")
    notes = "\n".join(verdict_note(verdicts, law.id) for law in (SEGMENTATION_TYPICAL, SEGMENTATION_BOUNDARY))
    ax.set(xlabel=r"$c_1=p/\log N_1$", ylabel="adjusted Rand index with the clusters", ylim=(-0.04, 1.62),
           xlim=(0.9, 3.7), yticks=[0, 0.25, 0.5, 0.75, 1],
           title=rf"Heads in which tokens attend to themselves, $K={K}$, $\tau=.501$")
    ax.legend(loc="upper left", fontsize=8, title=notes, title_fontsize=8)


def draw_graphs(ax, rows, verdicts):
    for name, colour in OPERATORS.items():
        part = rows[rows["operator"] == name]
        mean = part.groupby("c")["by cut"].mean()
        ax.plot(mean.index, mean, color=colour, linewidth=0.8, alpha=0.6)
        measured_points(ax, part, x="c", y="by cut", color=colour, marker=MARKERS[name], markerfacecolor="white",
                        label=name)  # fmt: skip
    heads = rows[rows["operator"] == "thresholded"]
    n = int(rows["per_class"].iloc[0])
    c = np.linspace(heads["c"].min(), heads["c"].max(), 100)
    ax.plot(c, partial_agreement(theory.passing_fraction(n, c * np.log(n)), K, n), color="0.3", linestyle="--",
            label="heads, as at the left (theory)")  # fmt: skip
    ax.axvline(theory.TYPICAL_TOKEN, color="0.6", linewidth=0.8, linestyle="--")
    notes = "\n".join(verdict_note(verdicts, law.id) for law in (SEGMENTATION_EXACT, SEGMENTATION_GRAPH))
    ax.set(xlabel=r"$c_1=p/\log N_1$", ylabel="adjusted Rand index", ylim=(-0.04, 1.5), yticks=[0, 0.25, 0.5, 0.75, 1],
           title=f"Weights between tokens as a graph, spectral cut, $N_1={n}$")  # fmt: skip
    ax.legend(loc="upper left", fontsize=8, ncols=3, title=notes, title_fontsize=8)


def draw_noise(ax, rows, verdicts):
    p = rows.iloc[0]
    delta = np.linspace(0.05, 1, 80)
    ax.plot(delta, [confused_agreement(energy_error(K, int(p["rank"]), d), K) for d in delta], color="0.3",
            label="largest coordinates: closed form")  # fmt: skip
    for y, colour, marker, label in (
        ("energies", "0.3", "o", "largest coordinates"),
        ("first", COLOURS[1], "s", "heads with self weight above one half"),
        ("by cut", COLOURS[0], "D", "softmax weights as a graph"),
    ):  # fmt: skip
        measured_points(ax, rows, x="delta", y=y, color=colour, marker=marker, markerfacecolor="white", label=label)
    ax.set(xlabel=r"noise $\delta$ on the foreign subspaces", ylabel="adjusted Rand index", ylim=(-0.04, 1.5),
           yticks=[0, 0.25, 0.5, 0.75, 1], title=f"Against noise, $N_1={int(p['per_class'])}$, "
           f"$p={int(p['rank'])}$ ($c_1={p['c']:.1f}$)")  # fmt: skip
    ax.legend(loc="upper left", fontsize=8, title=verdict_note(verdicts, ENERGY_LABELS.id), title_fontsize=8)


def draw_depth(ax, rows):
    from lab.claims.statistics import student_quantile

    layers = np.arange(1, int(rows["layers"].iloc[0]) + 1)
    for name, part in rows.groupby("operator"):
        for y, style, filled in (("cut", "-", "white"), ("index", ":", OPERATORS[name])):
            values = np.stack(part[y].to_list())
            error = student_quantile(len(values), 0.05) * values.std(0, ddof=1) / np.sqrt(len(values))
            ax.errorbar(layers, values.mean(0), yerr=error, color=OPERATORS[name], marker=MARKERS[name],
                        linestyle=style, markerfacecolor=filled, markersize=4, linewidth=1, elinewidth=0.8)  # fmt: skip
        ax.plot([], [], marker=MARKERS[name], color=OPERATORS[name], linestyle="none", label=name)
    ax.plot([], [], "-", color="0.4", label="graph of weights, spectral cut")
    ax.plot([], [], ":", color="0.4", label="heads with self weight above one half")
    p = rows.iloc[0]
    ax.set(xlabel="layer", ylabel="adjusted Rand index of the tokens that enter it", ylim=(-0.04, 1.35),
           yticks=[0, 0.25, 0.5, 0.75, 1],
           title=rf"Layer by layer, $p={int(p['rank'])}$ ($c_1={p['c']:.1f}$), $\delta={p['delta']:g}$")  # fmt: skip
    ax.set_xticks(layers)
    ax.legend(loc="upper left", ncols=2, fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
