r"""Random convolutions recover sparse codes like Gaussian matrices do, unless their filters are short.

Left: share of codes that basis pursuit recovers against their number of nonzeros, for several filter lengths, and the
exact probability for Gaussian matrices of the same shape. Right: the number of nonzeros at which half are recovered,
against the length of the filters, with the Gaussian value and the first-order theory.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, located, theory_line, verdict_note
from lab.systems.sparse_coding import theory
from lab.systems.sparse_coding.laws.transition import L1_PHASE_TRANSITION, SHORT_FILTERS


def preset(count, length, sizes, points, replicates, steps):
    middle = theory.first_order_transition(length, count * length)
    nonzeros = sorted({max(1, round(float(c * middle))) for c in np.linspace(0.15, 1.45, points)})
    grid = Grid(count=count, length=length, steps=steps, nonzeros=nonzeros, replicates=replicates)
    return {
        L1_PHASE_TRANSITION.id: grid,
        SHORT_FILTERS.id: grid.with_axes(size=sizes),
    }


STUDY = Study(
    id="sparse_coding/l1-transition",
    laws=(L1_PHASE_TRANSITION, SHORT_FILTERS),
    title="Recovery by basis pursuit with random convolutions: universality and how short filters break it",
    presets={
        "smoke": preset(2, 24, [2], 8, 130, 1000),
        "default": preset(2, 48, [2, 3, 4, 6, 12, 24], 13, 150, 1500),
        "paper": preset(4, 256, [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192], 40, 100, 3000),
    },
)


@STUDY.figure(ncols=2, size=(11.5, 4.7), width_ratios=(1.15, 1))
def draw(axes, rows, verdicts):
    rows = rows.assign(size=rows["size"].fillna(rows["length"])).sort_values("size")
    p = rows.iloc[0]
    shape = rf"$M={int(p['count'])}$ filters on a circle of $N={int(p['length'])}$"
    draw_shares(axes[0], rows, shape)
    draw_halves(axes[1], rows, verdicts)


def draw_shares(ax, rows, shape):
    sizes = sorted(rows["size"].unique())
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(sizes))]
    for size, colour, marker in zip(sizes, colours, "osD^vP*Xhd<>8p.", strict=False):
        share = rows[rows["size"] == size].groupby("nonzeros")["recovered"].mean()
        ax.plot(share.index, share, marker=marker, color=colour, markersize=4, markerfacecolor="white",
                linewidth=0.7, label=f"$n={int(size)}$" + (" (the circle)" if size == sizes[-1] else ""))  # fmt: skip
    longest = rows[rows["size"] == sizes[-1]]
    theory_line(ax, L1_PHASE_TRANSITION, longest, x="nonzeros", color="0.25", linewidth=2.2,
                label="Gaussian matrix, exact")  # fmt: skip
    ax.axhline(0.5, color="0.7", linewidth=0.8)
    ax.set(xlabel="nonzeros $k$", ylabel="share recovered", ylim=(-0.03, 1.03), title=shape)
    ax.legend(fontsize=8, title="length of filters", title_fontsize=8)


def draw_halves(ax, rows, verdicts):
    p = rows.iloc[0]
    m, dim = int(p["length"]), int(p["count"] * p["length"])
    half, first = theory.half_recovery(m, dim), theory.first_order_transition(m, dim)
    ax.axhline(half, color="0.25", linewidth=2.2, label=rf"Gaussian, exact: $k_{{1/2}}={half:.2f}$")
    ax.axhspan(half - 1, half + 1, color="0.25", alpha=0.12, linewidth=0, label="within one nonzero")
    ax.axhline(first, color="0.25", linestyle="--", linewidth=1, label=rf"$\delta(k,p)=m$: $k={first:.2f}$")
    for law, colour, name in (
        (SHORT_FILTERS, COLOURS[1], "short filters (bars: acceptance region)"),
        (L1_PHASE_TRANSITION, COLOURS[0], "filters as long as the circle"),
    ):
        located(ax, verdicts, law.id, x=lambda at: at.get("size", at["length"]), color=colour, markersize=5, label=name)
    ax.set(xscale="log", xlabel="length of filters $n$", ylabel=r"$k_{1/2}$, half of the codes recovered",
           ylim=(0, 1.25 * half))  # fmt: skip
    sizes = sorted(rows["size"].unique())
    ax.set_xticks(sizes, labels=[str(int(n)) for n in sizes])
    ax.minorticks_off()
    notes = [verdict_note(verdicts, law.id) for law in STUDY.laws]
    ax.set_title("\n".join(notes), fontsize=8.5)
    ax.legend(loc="lower right", fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
