"""Block-diagonal heat maps of CTRL-MSP, and the numbers behind them, with the exact equilibrium beside.

Cosines of twelve samples of each class, of data X, features Z = f(X), decoded data g(Z) and their features: above a
game trained with Adam as published, below the closed-form equilibrium of the clean subspaces with the canonical
decoder. Below them what a heat map that looks block diagonal does not say: spectra of the features, share of the
leader's value, residual of the data, over d_z and noise.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.ctrl import theory
from lab.systems.ctrl.laws.timescale import PANELS, Panels, ceiling

OFFICIAL = {"ranks": [(3, 4, 5)], "d_x": 50, "eps": 1.0, "alpha": 0.1}
NOISE = [0.0, 1e-4, 1e-2, 1.0]

STUDY = Study(
    id="ctrl/panels",
    laws=(PANELS,),
    title="Heat maps of a closed-loop game that look right, and how far from equilibrium they are",
    presets={
        "smoke": Grid(class_size=40, ranks=[(2, 3, 3)], d_x=12, d_z=[10, 14], nu=[0.0, 1.0], inner=5, steps=40),
        "default": Grid(class_size=500, d_z=[20, 30, 40, 60], nu=NOISE, inner=10, steps=60, **OFFICIAL),
        "paper": Grid(class_size=500, d_z=[20, 30, 40, 60], nu=[0.0, 1e-6, 1e-4, 1e-2, 1.0], inner=1000, steps=60,
                      replicates=64, **OFFICIAL),
    },
)  # fmt: skip
ROWS = ("trained", "equilibrium")


def arrays(rows, name):
    """One observable of all rows, stacked; a cell holds lists of lists."""
    return np.stack([np.array(nested(value), dtype=float) for value in rows[name]])


def nested(value):
    return [nested(one) for one in value] if hasattr(value, "__len__") else value


@STUDY.figure(nrows=3, ncols=4, size=(13, 9.6), height_ratios=(1, 1, 1.05))
def draw(axes, rows, verdicts):
    sizes = rows["d_z"].unique()
    clean = rows[(rows["nu"] == rows["nu"].min()) & (rows["d_z"] == sizes[len(sizes) // 2])].iloc[:1]
    p = Panels(**{name: clean.iloc[0][name] for name in Panels.model_fields})
    draw_maps(axes[:2], arrays(clean, "cosines")[0], p)
    draw_spectra(axes[2, 0], arrays(clean, "spectra")[0], p)
    draw_sweep(axes[2, 1], rows[rows["nu"] == p.nu], "d_z", share_of_value)
    axes[2, 1].set(xlabel=r"$d_z$", ylabel=r"$\Delta R(Z)/V^*$", title=rf"Share of the value, $\nu={p.nu:g}$")
    low, high = axes[2, 1].get_ylim()
    axes[2, 1].set_ylim(low - 0.4 * (high - low), high)  # room for the legend
    note = verdict_note(verdicts, PANELS.id).removeprefix("ctrl/")
    axes[2, 1].legend(loc="lower right", fontsize=8, title=note, title_fontsize=6.5)
    fixed = rows[rows["d_z"] == p.d_z]
    draw_sweep(axes[2, 2], fixed, "nu", share_of_clean)
    axes[2, 2].set(xlabel=r"noise $\nu$", ylabel=r"$\Delta R(Z)$ over clean $V^*$", title=rf"Noise, $d_z={p.d_z}$")
    draw_sweep(axes[2, 3], fixed, "nu", lambda part: arrays(part, "residuals").mean(axis=2))
    axes[2, 3].set(xlabel=r"noise $\nu$", ylabel="share of data that is lost", ylim=(-0.02, 1.02),
                   title="Data do not come back")  # fmt: skip


def draw_maps(axes, cosines, p):
    names = ("$X$", "$Z=f(X)$", "$g(f(X))$", "$f(g(f(X)))$")
    edges = 12 * np.arange(1, len(p.ranks)) - 0.5
    for line, label, maps in zip(axes, ROWS, cosines, strict=True):
        for ax, name, values in zip(line, names, maps, strict=True):
            image = ax.imshow(values, vmin=0, vmax=1, cmap="magma_r", interpolation="nearest")
            for edge in edges:
                ax.axhline(edge, color="white", linewidth=0.8)
                ax.axvline(edge, color="white", linewidth=0.8)
            ax.set(xticks=[], yticks=[], title=f"{label}: {name}")
        line[-1].figure.colorbar(image, ax=line[-1], shrink=0.9, label=r"$|\cos|$")


def draw_spectra(ax, spectra, p):
    best = theory.equilibrium(p.sizes, p.ranks, p.d_z, eps=p.eps)
    shown = np.arange(1, max(p.ranks) + 3)
    for j, colour in zip(range(len(p.ranks)), COLOURS, strict=False):
        k = int(best.ranks[j])
        level = np.where(shown <= k, 1 / k, 0.0)
        ax.step(np.r_[shown - 0.5, shown[-1] + 0.5], np.r_[level, level[-1]], where="post", color=colour)
        ax.plot(shown, spectra[0][j][: len(shown)], "o", color=colour, markersize=4, label=f"class {j + 1}")
        ax.plot(shown, spectra[1][j][: len(shown)], "x", color=colour, markersize=5)
    ax.plot([], [], "o", color="0.4", label="trained")
    ax.plot([], [], "x", color="0.4", label="equilibrium")
    ax.plot([], [], color="0.4", label="exact")
    ax.set(xlabel="direction", ylabel=r"$\sigma^2/n_j$ of the features", ylim=(-0.02, 1.25 * spectra.max()),
           title=rf"Spectra, $d_z={p.d_z}$, $\nu={p.nu:g}$")  # fmt: skip
    ax.legend(fontsize=7.5, ncols=2)


def share_of_value(part):
    return arrays(part, "reduction") / np.array([[ceiling(q)] for q in points(part)])


def share_of_clean(part):
    return arrays(part, "reduction") / np.array([[ceiling(q.replace(nu=0.0))] for q in points(part)])


def points(part):
    return [Panels(**{name: row[name] for name in Panels.model_fields}) for _, row in part.iterrows()]


def draw_sweep(ax, part, x, value):
    """One line for each player, at equally spaced places; replicates are averaged."""
    found, places = value(part), np.unique(part[x])
    for i, (name, marker) in enumerate(zip(ROWS, "ox", strict=True)):
        mean = [found[part[x] == at, i].mean() for at in places]
        ax.plot(range(len(places)), mean, marker=marker, color=COLOURS[1 - i], label=name)
    ax.set_xticks(range(len(places)), [f"{at:g}" for at in places])
    ax.legend(fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
