"""Where does a leader that does not restart end? On a table; on which entry depends on the size of the start.

CTRL-MSP: ascent ends on one value per rank vector, in closed form, because a direction without energy never gains any
(the slot function has no slope at 0). Left: end values of all ascents on the table. Middle: which entries are reached,
against the energy of the start relative to the largest allowed: small starts lose rank, where deep-learning practice
starts. Right: what that costs.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.ctrl import theory
from lab.systems.ctrl.laws.landscape import LOCAL_MAXIMA, Starts
from lab.systems.ctrl.laws.multiple_subspaces import rank_vectors


def preset(games, scales, replicates):
    grids = [Grid(class_sizes=[sizes], ranks=[ranks], spare=spare, eps=eps, scale=scales, replicates=replicates)
             for sizes, ranks, spare, eps in games]  # fmt: skip
    return sum(grids[1:], start=grids[0])


UNEQUAL = ((30, 50, 20), (2, 3, 4), 3, 0.5**0.5)
PUBLISHED = ((500, 500, 500), (3, 4, 5), 28, 1.0)

STUDY = Study(
    id="ctrl/local-maxima",
    laws=(LOCAL_MAXIMA,),
    title="Ascents of CTRL-MSP end on a table of local maxima, and small starts lose rank",
    presets={
        "smoke": preset([UNEQUAL], [0.03, 0.1, 0.3, 1.0], 1),
        "default": preset([UNEQUAL, PUBLISHED], np.geomspace(0.01, 1.0, 13).tolist(), 8),
        "paper": preset([UNEQUAL, PUBLISHED], np.geomspace(0.01, 1.0, 61).tolist(), 50),
    },
)


@STUDY.figure(ncols=3, size=(14.5, 4.9), width_ratios=(1.25, 1.2, 1))
def draw(axes, rows, verdicts):
    games = [part for _, part in rows.groupby(["class_sizes", "ranks"], sort=False)]
    draw_table(axes[0], games[0])
    draw_basins(axes[1], games[0])
    draw_cost(axes[2], games)
    missed = 100 * rows["unconverged"].mean()
    note = f"{verdict_note(verdicts, LOCAL_MAXIMA.id)}; {missed:.2g} % of ascents not converged"
    axes[0].text(0.0, 0.01, note, transform=axes[0].transAxes, fontsize=8)


def point(row):
    return Starts(**{name: getattr(row, name) for name in Starts.model_fields})


def counted(part):
    """Rank vectors (M, K), their values (M,), and counts of ends (rows, M) of one game."""
    p = point(part.iloc[0])
    vectors = rank_vectors(p)
    return vectors, np.sum(theory.rank_value(p.energy, p.gamma, vectors), axis=1), np.stack(part["count"])


def name(vector):
    return "(" + ",".join(map(str, vector)) + ")"


def draw_table(ax, part):
    vectors, values, count = counted(part)
    order = np.argsort(-values)
    hits = count.sum(0)[order]
    measured = np.stack(part["values"])
    low, high = measured[..., 0, :], measured[..., 1, :]
    seen = count > 0
    deviation = np.max(np.where(seen, np.maximum(np.abs(low - values), np.abs(high - values)), 0.0), axis=0)[order]
    y = np.arange(len(order))
    ax.barh(y[hits > 0], hits[hits > 0] / count.sum(), color=COLOURS[0], height=0.7)
    ax.set_xscale("log")
    for i, j in enumerate(order):
        note = rf"$V={values[j]:.4f}$" + (f", ends within {deviation[i]:.0e}" if hits[i] else "")
        ax.text(1.3, i, note, va="center", fontsize=6.5, color="black" if hits[i] else "0.55")
    ax.set_yticks(y, labels=[name(vectors[j]) for j in order], fontsize=6.5)
    ax.set(xlabel="share of all ascents", ylabel="rank vector, by falling value V", xlim=(0.5 / count.sum(), 60),
           ylim=(len(y) + 0.8, -0.8), title="Every ascent ends on the table")  # fmt: skip
    ax.set_xticks([1e-3, 1e-2, 1e-1, 1])
    ax.minorticks_off()


def draw_basins(ax, part):
    vectors, values, _ = counted(part)
    scales = np.array(sorted(part["scale"].unique()))
    shares = np.stack([np.stack(one["count"]).sum(0) for _, one in part.groupby("scale")]).astype(float)
    shares /= shares.sum(1, keepdims=True)
    total = vectors.sum(1)
    levels = range(total.max(), total.min() - 1, -1)
    stack = np.stack([shares[:, total == level].sum(1) for level in levels])
    import matplotlib as mpl

    colours = mpl.colormaps["viridis_r"](np.linspace(0.08, 0.95, len(stack)))
    bottoms = np.cumsum(stack, axis=0) - stack
    edges = np.append(np.sqrt(scales[1:] * scales[:-1]), scales[-1] * np.sqrt(scales[-1] / scales[-2]))
    starts = np.append(scales[0] * np.sqrt(scales[0] / scales[1]), edges[:-1])
    for level, height, bottom, colour in zip(levels, stack, bottoms, colours, strict=True):
        ax.bar(starts, height, bottom=bottom, width=edges - starts, align="edge", color=colour, edgecolor="white",
               linewidth=0.4, label=str(level))  # fmt: skip
    ax.set(xscale="log", xlim=(starts[0], edges[-1]), ylim=(0, 1), xlabel=r"size of the start, $\|Z_j\|/\sqrt{n_j}$",
           ylabel="share of ascents, by total rank of their end",
           title=f"Small starts lose rank (global maximum: {total[np.argmax(values)]})")  # fmt: skip
    ax.legend(title="total\nrank", loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


def draw_cost(ax, games):
    for part, colour, marker in zip(games, COLOURS, "os", strict=False):
        p, values = point(part.iloc[0]), counted(part)[1]
        best, label = values.max(), rf"$n_j=({','.join(map(str, p.class_sizes))})$, $d_j={name(p.ranks)}$"
        scales, mean, low, high, hit = [], [], [], [], []
        for scale, one in part.groupby("scale"):
            count = np.stack(one["count"]).sum(0)
            order = np.argsort(values)
            cumulative = np.cumsum(count[order]) / count.sum()
            scales.append(scale)
            mean.append(count @ values / count.sum() / best)
            low.append(values[order][np.searchsorted(cumulative, 0.05)] / best)
            high.append(values[order][np.searchsorted(cumulative, 0.95)] / best)
            hit.append(count[np.argmax(values)] / count.sum())
        ax.fill_between(scales, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(scales, mean, color=colour, marker=marker, markerfacecolor="white", markersize=4, label=label)
        ax.plot(scales, hit, color=colour, linestyle=":", linewidth=1.6)
    ax.plot([], [], color="0.3", linestyle=":", label="share that reaches the global maximum")
    ax.axhline(1, color="black", linewidth=0.8)
    ax.set(xscale="log", xlabel=r"size of the start, $\|Z_j\|/\sqrt{n_j}$", ylim=(0, 1.28),
           ylabel=r"$\Delta R/V^*$: mean and 90 % of the ascents", title="What it costs")  # fmt: skip
    ax.legend(loc="upper left", fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
