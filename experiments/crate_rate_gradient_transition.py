"""Does a step down the coding rate denoise? Only where the rank of a head exceeds the tokens of a cluster.

Top left: gain of the signal-to-noise ratio in one step against p/N_k, for several beta. Lines are the Marchenko-Pastur
closed form, dashes the limit of strong signal and vanishing noise, sqrt(max(1, p/N_k)). Top right: cosine between the
descent direction and the way to the token's own subspace. Bottom left: with unequal clusters the rare ones lose. Bottom
right: the deviation from the closed form as clusters grow, at fixed ratios: first order in 1/N_k.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, measured_points, verdict_note
from lab.systems.crate import theory
from lab.systems.crate.laws.denoising import (
    RARE_CLUSTERS,
    RATE_GRADIENT_DIRECTION,
    RATE_GRADIENT_SNR,
    RATE_GRADIENT_TRANSITION,
    Noisy,
)

VIT = (197, 12, 64)
"""Tokens, heads and head rank of ViT-B."""
SHAPE = (25, 5, 1)


def preset(sizes, shares, strengths, replicates, ranks, rare_sizes, rare_strengths):
    one_step = Grid(shape=[(1, 1, 1, 1)], per_class=sizes, rank_share=shares, strength=strengths, delta=0.02,
                    replicates=replicates)  # fmt: skip
    # rows in the limit of vanishing noise, at finite size
    vanishing = Grid(heads=3, per_class=16, rank=ranks, replicates=2 * replicates)
    rare = Grid(shape=[SHAPE], per_class=rare_sizes, rank=3, strength=rare_strengths, delta=0.05, replicates=replicates)
    return {
        RATE_GRADIENT_SNR.id: one_step, RATE_GRADIENT_DIRECTION.id: one_step,
        RATE_GRADIENT_TRANSITION.id: vanishing, RARE_CLUSTERS.id: rare,
    }  # fmt: skip


STUDY = Study(
    id="crate/rate-gradient-transition",
    laws=(RATE_GRADIENT_SNR, RATE_GRADIENT_DIRECTION, RATE_GRADIENT_TRANSITION, RARE_CLUSTERS),
    title="A step down the coding rate denoises only where heads have more dimensions than clusters have tokens",
    presets={
        "smoke": preset([8, 16, 32, 64], [0.125, 0.5, 1.0, 2.0, 4.0], [1.0, 1000.0], 6, [4, 16, 32], [32, 64, 128, 256],
                        [0.3, 3.0]),
        "default": preset([8, 16, 32, 64, 128], [0.125, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0],
                          [1.0, 10.0, 1000.0], 8, [2, 4, 8, 12, 16, 20, 24, 32, 48], [32, 64, 128, 256, 512],
                          [0.1, 0.3, 1.0, 3.0, 10.0, 30.0]),
        "paper": preset([32, 64, 128, 256, 512], [0.125 * 2 ** (i / 4) for i in range(21)], [1.0, 10.0, 100.0, 1000.0],
                        16, list(range(1, 49)), [128, 256, 512, 1024, 2048, 4096],
                        [0.1 * 10 ** (i / 6) for i in range(15)]),
    },
)  # fmt: skip


@STUDY.figure(nrows=2, ncols=2, size=(11.5, 8.6))
def draw(axes, rows, verdicts):
    (gain, cosine), (rare, order) = axes
    names = rows["measurement"].str
    all_steps = rows[names.endswith(":stepped")]
    steps = all_steps[all_steps["rank_share"].notna()].copy()
    steps["gain"] = [np.mean(g) for g in steps["gains"]]
    steps["cosine"] = [np.mean(g) for g in steps["cosines"]]
    steps["share"] = steps["rank_share"].map(float)
    draw_gain(gain, steps, rows[names.endswith(":kept")], verdicts)
    draw_cosine(cosine, steps, verdicts)
    draw_rare(rare, all_steps[all_steps["rank"].notna()].copy(), verdicts)
    draw_order(order, steps)


def largest(rows):
    return rows[rows["per_class"] == rows["per_class"].max()]


def curve(ax, part, of, **style):
    """Closed form over p/N_k for the settings of `part`."""
    first = part.iloc[0]
    share = np.geomspace(0.1, 5, 200)
    n = int(first["per_class"])
    ax.plot(share, [of((n,) * 4, s * n, first["strength"] / n, first["delta"]) for s in share], **style)


def named(strength):
    return rf"$\beta N_k={strength:g}$"


def draw_gain(ax, steps, vanishing, verdicts):
    share = np.geomspace(0.1, 5, 300)
    ax.plot(share, theory.projection_gain(1.0, share), color="0.25", linestyle="--", zorder=1,
            label=r"strong signal, no noise: $\sqrt{\max(1,p/N_k)}$")  # fmt: skip
    if len(vanishing):
        means = vanishing.groupby(vanishing["rank"] / vanishing["per_class"])["shares"].apply(
            lambda s: 1 / np.sqrt(np.mean([one[1] for one in s]))
        )
        inside = means[(means.index >= 0.1) & (means.index <= 5)]
        ax.plot(inside.index, inside, "x", color="0.25", markersize=5, zorder=3, label=r"measured at $\beta N_k=10^8$")
    part = largest(steps)
    for (strength, one), colour, marker in zip(part.groupby("strength"), COLOURS, "osD^", strict=False):
        curve(ax, one, lambda sizes, p, beta, delta: theory.gains(sizes, p, beta, delta, 1.0)[0], color=colour)
        measured_points(ax, one, x="share", y="gain", color=colour, marker=marker, markerfacecolor="white",
                        label=named(strength))  # fmt: skip
    tokens, heads, rank = VIT
    at = rank * heads / tokens
    ax.axvline(1, color="0.7", linewidth=0.8)
    ax.text(0.97, 2.05, "transition\n$p=N_k$", ha="right", fontsize=8.5, color="0.35")
    ax.axvline(at, color="0.7", linewidth=0.8, linestyle=":")
    ax.text(at * 0.97, 1.42, f"ViT-B, $p/N_k={at:.1f}$", rotation=90, ha="right", va="bottom", fontsize=8.5,
            color="0.35")  # fmt: skip
    ax.set(xscale="log", xlabel=r"rank of a head over tokens of a cluster, $p/N_k$", xlim=(0.1, 5), ylim=(0.97, 2.35),
           ylabel="signal-to-noise ratio, after / before", title=f"Gain of one step, $K=4$, $\\kappa\\beta=1$, "
           f"$N_k={int(part['per_class'].iloc[0])}$, $\\delta={part['delta'].iloc[0]:g}$")  # fmt: skip
    ticks(ax)
    ax.legend(loc="upper left", title=verdict_note(verdicts, RATE_GRADIENT_SNR.id), title_fontsize=8)


def draw_cosine(ax, steps, verdicts):
    part = largest(steps)
    for (strength, one), colour, marker in zip(part.groupby("strength"), COLOURS, "osD^", strict=False):
        curve(ax, one, lambda sizes, p, beta, delta: theory.cosines(sizes, p, beta, delta)[0], color=colour)
        measured_points(ax, one, x="share", y="cosine", color=colour, marker=marker, markerfacecolor="white",
                        label=named(strength))  # fmt: skip
    ax.axvline(1, color="0.7", linewidth=0.8)
    ax.axhline(1, color="0.25", linewidth=1, linestyle=":")
    ax.text(0.11, 0.985, "as published: it points to the subspace", va="top", fontsize=8.5, color="0.35")
    ax.set(xscale="log", xlim=(0.1, 5), ylim=(0, 1.04), xlabel=r"$p/N_k$",
           ylabel=r"cosine of $-\nabla R^c$ and the way to the subspace",
           title="Direction of one step: to the subspace (1) or to the origin (0)?")  # fmt: skip
    ticks(ax)
    ax.legend(loc="center left", title=verdict_note(verdicts, RATE_GRADIENT_DIRECTION.id), title_fontsize=8)


def ticks(ax):
    ax.set_xticks([0.125, 0.25, 0.5, 1, 2, 4], labels=["1/8", "1/4", "1/2", "1", "2", "4"])
    ax.minorticks_off()


def draw_rare(ax, rows, verdicts):
    rows = largest(rows)
    n, delta = int(rows["per_class"].iloc[0]), float(rows["delta"].iloc[0])
    strengths = np.geomspace(rows["strength"].min() / 1.3, rows["strength"].max() * 1.3, 100)
    sizes = [n * s for s in SHAPE]
    lines = np.array([theory.large_cluster_gains(sizes, b / n, delta, 1.0) for b in strengths])
    ax.axhline(1, color="0.6", linewidth=0.8)
    for k, (colour, marker) in enumerate(zip(COLOURS, "osD", strict=False)):
        ax.plot(strengths, lines[:, k], color=colour)
        rows["one"] = [g[k] for g in rows["gains"]]
        measured_points(ax, rows, x="strength", y="one", color=colour, marker=marker, markerfacecolor="white",
                        label=f"{SHAPE[k] * n} tokens")  # fmt: skip
    ax.set(xscale="log", xlabel=r"$\beta N_{\rm rarest}$", ylabel="signal-to-noise ratio, after / before",
           title=f"Unequal clusters, $p={int(rows['rank'].iloc[0])}$: the rare ones lose")  # fmt: skip
    low, high = strengths[[0, -1]]
    marks = [b for b in (0.1, 0.3, 1, 3, 10, 30) if low <= b <= high]
    ax.set_xticks(marks, labels=[f"{b:g}" for b in marks])
    ax.minorticks_off()
    ax.legend(loc="upper right", title=verdict_note(verdicts, RARE_CLUSTERS.id), title_fontsize=8)


def draw_order(ax, steps):
    """Mean deviation of gains and cosines from the closed form at p = N_k and the largest beta."""
    strength = steps["strength"].max()
    part = steps[(steps["strength"] == strength) & (steps["share"] == 1.0)].copy()
    points = [Noisy(per_class=int(r.per_class), rank_share=r.rank_share, strength=strength, delta=r.delta)
              for r in part.itertuples()]  # fmt: skip
    part["gain off"] = part["gain"] / [theory.gains(p.sizes, p.rank, p.beta, p.delta, 1.0)[0] for p in points] - 1
    part["cosine off"] = part["cosine"] - [theory.cosines(p.sizes, p.rank, p.beta, p.delta)[0] for p in points]
    for name, colour, marker, label in (("cosine off", COLOURS[1], "s", "cosine"),
                                        ("gain off", COLOURS[0], "o", "gain, relative")):  # fmt: skip
        measured_points(ax, part, x="per_class", y=name, color=colour, marker=marker, markerfacecolor="white",
                        label=label)  # fmt: skip
        mean = part.groupby("per_class")[name].mean()
        n = mean.index.to_numpy(dtype=float)
        slope = np.sum(mean.to_numpy() / n) / np.sum(1 / n**2)
        line = np.geomspace(n.min() / 1.2, n.max() * 1.2, 50)
        ax.plot(line, slope / line, color=colour, label=rf"${slope:.2g}/N_k$, fitted")
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.set(xscale="log", xlabel=r"tokens of a cluster $N_k$", ylabel="measured minus closed form",
           title=rf"Finite size: first order ($p=N_k$, {named(strength)})")  # fmt: skip
    sizes = sorted(part["per_class"].unique())
    ax.set_xticks(sizes, labels=[str(int(n)) for n in sizes])
    ax.minorticks_off()
    ax.legend(loc="upper right")


if __name__ == "__main__":
    STUDY.cli()
