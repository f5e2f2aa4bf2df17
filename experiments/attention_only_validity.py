"""How far does the rate of attention-only denoising survive frames that are not orthogonal?

Independent random subspaces of R^d have frames of coherence sqrt(p/d). Left: mean gain of the first layer over 1 + eta
tau; dashed, the noise at which half of the draws are exact. Middle: the same along coherence; lines, foreign rows of
one dimension with a random overlap. Low noise breaks first: leaked signal wins keys, and what they add is large against
the noise. Right: the chance that the layer is exact depends on noise and coherence through sqrt(delta² + p/d) alone.
The map is a crossover: nothing is sharp in it at fixed N.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study, log_grid
from lab.claims.statistics import clopper_pearson
from lab.plot import COLOURS, measured_points, verdict_note
from lab.systems.attention_only.laws.thresholded import THRESHOLDED_RATE
from lab.systems.attention_only.laws.validity import INCOHERENT_EXACT, INCOHERENT_GAIN, INCOHERENT_RATE, Rare
from lab.systems.attention_only.theory.validity import incoherent_exact_probability, leaked_noise

SETTING = {"heads": 4, "per_class": 64, "rank": 32, "tau": 0.6, "eta": 0.5}


def preset(dims, noises, replicates):
    overlapping = Grid(**SETTING, dim=dims, delta=noises, replicates=replicates)
    orthogonal = Grid(**SETTING, layers=1, delta=noises, replicates=replicates)
    laws = (INCOHERENT_RATE, INCOHERENT_EXACT, INCOHERENT_GAIN)
    return {law.id: overlapping for law in laws} | {THRESHOLDED_RATE.id: orthogonal}


STUDY = Study(
    id="attention_only/validity",
    laws=(THRESHOLDED_RATE, INCOHERENT_RATE, INCOHERENT_EXACT, INCOHERENT_GAIN),
    title="Frames that are not orthogonal: the rate against coherence and noise",
    presets={
        "smoke": preset([128, 256, 512, 1024], [0.02, 0.06, 0.2], 12),
        "default": preset(
            [128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1536, 2048],
            [0.01, 0.02, 0.035, 0.05, 0.07, 0.1, 0.14, 0.2], 16,
        ),
        "paper": preset(
            [int(32 / c**2) for c in np.linspace(0.125, 0.5, 31)], log_grid(0.01, 0.3, 24), 200,
        ),
    },
)  # fmt: skip


@STUDY.figure(ncols=3, size=(14, 4.9), width_ratios=(1.25, 1.2, 1.1))
def draw(axes, rows, verdicts):
    names = rows["measurement"].str
    flat, mine = rows[names.endswith(":ratios")].copy(), rows[names.endswith(":overlapping")].copy()
    flat["share"] = [np.mean(r) / 1.3 for r in flat["ratio"]]
    mine["coherence"] = np.sqrt(mine["rank"] / mine["dim"])
    draw_map(axes[0], mine)
    draw_slices(axes[1], mine, flat, verdicts)
    draw_collapse(axes[2], mine, flat, verdicts)


def draw_map(ax, rows):
    table = rows.pivot_table(index="delta", columns="coherence", values="share", aggfunc="mean")
    c, delta = table.columns.to_numpy(), table.index.to_numpy()
    image = ax.pcolormesh(edges(c), np.exp(edges(np.log(delta))), table.to_numpy(), cmap="cividis", vmin=0, vmax=1,
                          rasterized=True)  # fmt: skip
    ax.figure.colorbar(image, ax=ax, pad=0.02, aspect=30, label=r"mean gain over $1+\eta\tau$")
    fine_c, fine_delta = np.linspace(*edges(c)[[0, -1]], 40), np.geomspace(delta[0] / 2, 2 * delta[-1], 30)
    p, noise = Rare(**SETTING), np.array([leaked_noise(d, 1, c**-2) for d in fine_delta for c in fine_c])
    at = np.linspace(noise.min(), noise.max(), 60)
    one = [incoherent_exact_probability(p.heads, p.per_class, p.rank, 1e12, x, p.tau) for x in at]
    chance = np.interp(noise, at, one).reshape(len(fine_delta), -1)
    lines = ax.contour(fine_c, fine_delta, chance, levels=[0.05, 0.5, 0.95], colors="white", linewidths=1.5,
                       linestyles=["dotted", "dashed", "dotted"])  # fmt: skip
    ax.clabel(lines, fmt={0.05: "5 %", 0.5: "half exact", 0.95: "95 %"}, fontsize=8)
    ax.set(xlabel=r"coherence $\sqrt{p/d}$", ylabel=r"noise $\delta$", yscale="log", xlim=edges(c)[[0, -1]],
           ylim=np.exp(edges(np.log(delta)))[[0, -1]])  # fmt: skip
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2) if t >= 0.9 * delta[0]]
    ax.set_yticks(ticks, labels=[f"{t:g}" for t in ticks])
    ax.minorticks_off()
    above = ax.secondary_xaxis("top")
    marks = [d for d in (128, 192, 256, 512, 2048) if edges(c)[0] <= np.sqrt(p.rank / d) <= edges(c)[-1]]
    above.set_xticks([np.sqrt(p.rank / d) for d in marks], labels=[f"{d}" for d in marks])
    above.set_xlabel(rf"$d$  ($N={p.heads * p.per_class}$, $K={p.heads}$, $p={p.rank}$, $\eta={p.eta:g}$, "
                     rf"$\tau={p.tau:g}$)")  # fmt: skip


def draw_slices(ax, rows, flat, verdicts):
    found = [v for v in verdicts if v["law"] == INCOHERENT_GAIN.id and v["at"]]
    chosen = nearest(rows["delta"], (0.02, 0.05, 0.1, 0.2))
    ax.axhline(1, color="0.6", linewidth=0.8)
    for delta, colour, marker in zip(chosen, COLOURS, "osD^", strict=False):
        line = sorted((np.sqrt(v["at"]["rank"] / v["at"]["dim"]), v["predicted"]) for v in found
                      if v["at"]["delta"] == delta)  # fmt: skip
        ax.plot(*np.transpose([(0.0, 1.0), *line]), color=colour)
        part = rows[rows["delta"] == delta]
        measured_points(ax, part, x="coherence", y="share", color=colour, marker=marker, markerfacecolor="white",
                        markersize=4, label=rf"$\delta={delta:g}$")  # fmt: skip
        ax.plot(0, flat[flat["delta"] == delta]["share"].mean(), marker, color=colour, markersize=4)
    ax.annotate("orthogonal", (0.005, 0.985), (0.02, 0.86), fontsize=8.5, color="0.35",
                arrowprops={"arrowstyle": "-", "color": "0.6"})  # fmt: skip
    ax.set(xlabel=r"coherence $\sqrt{p/d}$", ylabel=r"gain of the first layer over $1+\eta\tau$", ylim=(0, 1.05),
           title="Low noise breaks first (lines: rows of one dimension)")  # fmt: skip
    ax.legend(loc="lower left", title=verdict_note(verdicts, INCOHERENT_GAIN.id), title_fontsize=8)


def draw_collapse(ax, rows, flat, verdicts):
    p = Rare(**SETTING)
    line = np.linspace(0.02, 0.5, 120)
    middle = np.array([incoherent_exact_probability(p.heads, p.per_class, p.rank, 1e12, x, p.tau) for x in line])
    ax.fill_between(line, middle**2, np.sqrt(middle), color="0.5", alpha=0.18, linewidth=0, label="rates within 2")
    ax.plot(line, middle, color="0.25", label="quadrature, orthogonal frames")
    for delta, colour, marker in zip(nearest(rows["delta"], (0.02, 0.05, 0.1, 0.2)), COLOURS, "osD^", strict=False):
        groups = rows[rows["delta"] == delta].groupby("dim")["exact"]
        noise = [leaked_noise(delta, p.rank, d) for d in groups.mean().index]
        bars(ax, noise, groups.sum(), groups.count(), color=colour, marker=marker, label=rf"$\delta={delta:g}$")
        events = [bool(np.all(e)) for e in flat[flat["delta"] == delta]["events"]]
        bars(ax, [delta], [sum(events)], [len(events)], color=colour, marker=marker, markerfacecolor=colour)
    ax.set(xlabel=r"effective noise $\sqrt{\delta^2+p/d}$", ylabel="P(first layer exact)", ylim=(-0.03, 1.5),
           xlim=(0, 0.52), yticks=[0, 0.5, 1], title="Coherence acts as noise (filled: orthogonal)")  # fmt: skip
    notes = "\n".join(verdict_note(verdicts, law.id) for law in (INCOHERENT_RATE, INCOHERENT_EXACT, THRESHOLDED_RATE))
    ax.legend(loc="upper right", fontsize=8, ncols=2, title=notes, title_fontsize=7.5)


def bars(ax, x, hits, count, **style):
    """Fractions with exact binomial intervals."""
    hits, count = np.asarray(hits, dtype=float), np.asarray(count)
    ends = np.array([clopper_pearson(np.array([h]), int(n), 0.05) for h, n in zip(hits, count, strict=True)])[..., 0]
    mean = hits / count
    style = {"markerfacecolor": "white", "markersize": 4, "linestyle": "none", "elinewidth": 0.8, **style}
    ax.errorbar(x, mean, yerr=np.maximum([mean - ends[:, 0], ends[:, 1] - mean], 0), **style)


def nearest(values, wanted):
    """Values that occur, nearest to the wanted ones, each once."""
    seen = np.unique(values)
    return sorted({float(seen[np.argmin(np.abs(np.log(seen / w)))]) for w in wanted})


def edges(x):
    """Borders of cells around increasing values."""
    middle = (x[1:] + x[:-1]) / 2
    return np.r_[2 * x[0] - middle[0], middle, 2 * x[-1] - middle[-1]]


if __name__ == "__main__":
    STUDY.cli()
