"""Where is a layer of attention-only denoising exact? Phase diagram in rank and noise, with every boundary.

Left: probability that the first layer is exact against p/log N at the smallest noise. A typical token attends to itself
from
p = 2 log N_1 on, all tokens from p = (4/log 2) log N on; the published interval of thresholds is not empty from 32/9
on.
Middle: the same over noise; white, quadrature P = 1/2; dashed, the boundaries as N grows. Right: mean gain of the layer
over 1 + eta tau. Where noise attends to itself (top right) the gain is 1: everything is amplified.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.attention_only import theory
from lab.systems.attention_only.laws.failures import EXACT_PHASE


def ranks(count, most):
    """Ranks from one to `most` times log N."""
    def axis(f):
        log_n = np.log(f.heads * f.per_class)
        return sorted({max(2, round(float(c * log_n))) for c in np.linspace(1, most, count)})
    return axis


def preset(sizes, heads, count, noises, replicates, most=10.0):
    def one(n):
        return Grid(heads=heads, per_class=n, widest=int(np.ceil(most * np.log(heads * n))) + 1, delta=noises,
                    rank=ranks(count, most), replicates=replicates)  # fmt: skip
    return sum((one(n) for n in sizes[1:]), start=one(sizes[0]))


STUDY = Study(
    id="attention_only/aot-phase",
    laws=(EXACT_PHASE,),
    title="Phase diagram of attention-only denoising: where the first layer is exact",
    presets={
        "smoke": preset([64], 2, 9, [0.05, 0.1, 0.16, 0.22, 0.28, 0.4, 0.6], 12),
        "default": preset([16, 64], 4, 14, [0.05, 0.08, 0.12, 0.16, 0.19, 0.22, 0.25, 0.28, 0.33, 0.42, 0.55, 0.7], 40),
        "paper": preset([64, 256, 512], 4, 32, np.geomspace(0.05, 0.8, 24).tolist(), 400, most=12.0),
    },
)


@STUDY.figure(ncols=3, size=(13.5, 4.7), width_ratios=(1, 1.2, 1.2))
def draw(axes, rows, verdicts):
    rows = rows.assign(tokens=rows["heads"] * rows["per_class"])
    rows["c"] = rows["rank"] / np.log(rows["tokens"])
    draw_slice(axes[0], rows[rows["delta"] == rows["delta"].min()], verdicts)
    largest = rows[rows["tokens"] == rows["tokens"].max()]
    p = largest.iloc[0]
    name = rf"$N={int(p['tokens'])}$, $K={int(p['heads'])}$, $\tau={p['tau']:g}$"
    draw_map(axes[1], largest, "exact", "viridis", (0, 1), f"P(first layer exact), {name}")
    rate = 1 + p["eta"] * p["tau"]
    draw_map(axes[2], largest.assign(share=largest["gain"] / rate), "share", "cividis", (1 / rate, 1),
             rf"mean gain over $1+\eta\tau={rate:g}$")  # fmt: skip
    handles, labels = axes[1].get_legend_handles_labels()
    axes[1].figure.legend(handles, labels, loc="outside lower center", ncols=4)


def draw_slice(ax, rows, verdicts):
    for (n, part), colour, marker in zip(rows.groupby("tokens"), COLOURS, "osD^", strict=False):
        p = part.iloc[0]
        setting = (int(p["heads"]), int(p["per_class"]))
        line = np.arange(int(part["rank"].min()), int(part["rank"].max()) + 1)
        exact = [theory.exact_probability(*setting, int(r), p["delta"], p["tau"]) for r in line]
        ax.plot(line / np.log(n), exact, color=colour)
        mean = part.groupby("c")["exact"].mean()
        ax.plot(mean.index, mean, marker, color=colour, markersize=4, markerfacecolor="white",
                label=f"$N={n}$: all rows")  # fmt: skip
        passing = 1 - part.groupby("c")["signal"].mean()
        ax.plot(passing.index, passing, marker, color=colour, markersize=3, alpha=0.4, label="share of tokens")
    for at, label in ((theory.TYPICAL_TOKEN, "2"), (32 / 9, "32/9"), (theory.ALL_TOKENS, "4/log 2")):
        ax.axvline(at, color="0.6", linewidth=0.8, linestyle="--" if at != 32 / 9 else ":")
        ax.text(at, 1.02, label, ha="center", fontsize=8, color="0.3", transform=ax.get_xaxis_transform())
    ax.set(xlabel=r"$c=p/\log N$", ylabel="P(first layer exact); share of tokens that pass", ylim=(-0.03, 1.05),
           xlim=(0.5, rows["c"].max() + 0.3))  # fmt: skip
    ax.set_title(rf"$\delta={rows['delta'].iloc[0]:g}$; lines: quadrature" + "\n"
                 + verdict_note(verdicts, EXACT_PHASE.id), pad=16, fontsize=9)  # fmt: skip
    ax.legend(loc="center right", fontsize=8)


def draw_map(ax, rows, value, colours, limits, title):
    table = rows.pivot_table(index="delta", columns="c", values=value, aggfunc="mean")
    c, delta = table.columns.to_numpy(), table.index.to_numpy()
    image = ax.pcolormesh(edges(c), np.exp(edges(np.log(delta))), table.to_numpy(), cmap=colours, vmin=limits[0],
                          vmax=limits[1], rasterized=True)  # fmt: skip
    ax.figure.colorbar(image, ax=ax, pad=0.02, aspect=30)
    p = rows.iloc[0]
    fine_rank = np.arange(int(rows["rank"].min()), int(rows["rank"].max()) + 1, 2)
    fine_delta = np.geomspace(delta[0], delta[-1], 25)
    chance = np.array([[theory.exact_probability(int(p["heads"]), int(p["per_class"]), int(r), d, p["tau"])
                        for r in fine_rank] for d in fine_delta])  # fmt: skip
    log_n = np.log(p["tokens"])
    ax.contour(fine_rank / log_n, fine_delta, chance, levels=[0.5], colors="white", linewidths=2)
    ax.plot([], [], color="0.75", linewidth=2, label="P = 1/2, quadrature")
    ax.axvline(theory.TYPICAL_TOKEN * np.log(p["per_class"]) / log_n, color=COLOURS[5], linestyle="--",
               label=r"typical token, $p=2\,\log N_1$")  # fmt: skip
    ax.axvline(32 / 9, color=COLOURS[3], linestyle=":", linewidth=2, label="published, $32/9$")
    every = np.linspace(theory.ALL_TOKENS, c[-1], 60)
    top = [np.sqrt(theory.foreign_threshold(v) / v) for v in every]
    ax.plot([theory.ALL_TOKENS] * 2, [delta[0] / 2, top[0]], color=COLOURS[1], linestyle="--")
    ax.plot(every, top, color=COLOURS[1], linestyle="--",
            label=r"all rows as $N\to\infty$: $c=4/\log 2$, $\delta^2c=\sigma_*(c)$")  # fmt: skip
    ax.set(xlabel=r"$c=p/\log N$", ylabel=r"noise $\delta$", yscale="log", xlim=edges(c)[[0, -1]],
           ylim=np.exp(edges(np.log(delta)))[[0, -1]])  # fmt: skip
    ax.set_title(title, pad=14)
    ticks = [t for t in (0.05, 0.1, 0.2, 0.3, 0.5, 0.7) if delta[0] <= t <= delta[-1] * 1.01]
    ax.set_yticks(ticks, labels=[f"{t:g}" for t in ticks])
    ax.minorticks_off()


def edges(x):
    """Borders of cells around increasing values."""
    middle = (x[1:] + x[:-1]) / 2
    return np.r_[2 * x[0] - middle[0], middle, 2 * x[-1] - middle[-1]]


if __name__ == "__main__":
    STUDY.cli()
