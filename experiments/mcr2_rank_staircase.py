"""How many directions does a class keep? Rank of the constrained MCR² optimum against distortion.

At fixed class energy ||Z_k||² = N_k and rank at most d_k the optimal rank falls in unit steps as the distortion grows.
The usual condition for full rank, eps⁴ < x_k d²/d_k² (x_k = N_k/N), ends long after the first step; a universal
constant in front of it cannot mend that, because the true one falls with the class fraction. Measured: projected ascent
of the rate reduction from Gaussian features and from orthogonal classes of every rank, best of all starts.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, located, residuals, verdict_note
from lab.systems.mcr2 import theory
from lab.systems.mcr2.laws.constrained import CONSTRAINED_OPTIMUM, CONSTRAINED_RANKS, full_rank_value
from lab.systems.mcr2.laws.full_rank import FULL_RANK_PRINTED, RANK_STAIRCASE, Published, Staircase

INSTANCES = [((3, 3, 3, 3), (2, 2, 2, 2)), ((12, 12), (4, 4)), ((3, 12, 12), (3, 2, 1))]


def distortions(points):
    """Values of eps, evenly spaced in log: eps^2 from .36 to .36 d_k, in units of the printed bound sqrt(x) d/d_k.

    Chosen without regard to where the steps are predicted; they all lie in between.
    """
    def axis(f):
        unit = Staircase(first=f.first, n=f.n, rank=f.rank).unit
        return (unit * np.sqrt(0.36) * np.geomspace(1, f.rank, points) ** 0.5).tolist()
    return axis


def union(grids):
    first, *rest = grids
    return sum(rest, start=first)


def preset(staircases, edges, points, count):
    """Whole staircases and first steps alone (class 1 size, all, largest rank), with `points` distortions each; and the
    instances, at `count` distortions up to the printed bound."""
    steps = [Grid(first=f, n=n, rank=m, eps=distortions(points[0])) for f, n, m in staircases]
    steps += [Grid(first=f, n=n, rank=m, eps=distortions(points[1])) for f, n, m in edges]
    each = [{"sizes": [sizes], "max_ranks": [ranks]} for sizes, ranks in INSTANCES]
    printed = union([Grid(fraction=np.sqrt(np.linspace(0.2, 0.99, count)), **one) for one in each])
    values = union([Grid(eps=np.geomspace(0.15, 3.0, max(4, count // 2)), **one) for one in each])
    return {RANK_STAIRCASE.id: union(steps), FULL_RANK_PRINTED.id: printed, CONSTRAINED_OPTIMUM.id: values,
            CONSTRAINED_RANKS.id: values}  # fmt: skip


WHOLE = [(50, 100, 4), (10, 100, 4), (4, 400, 4)]

STUDY = Study(
    id="mcr2/rank-staircase",
    laws=(RANK_STAIRCASE, FULL_RANK_PRINTED, CONSTRAINED_OPTIMUM, CONSTRAINED_RANKS),
    title="The optimum loses rank far below the printed bound, at distortions known in closed form",
    presets={
        "smoke": preset([(12, 24, 3), (3, 60, 3)], [(2, 20, 2)], (14, 7), 4),
        "default": preset(
            WHOLE, [(f, n, 2) for f, n in ((18, 24), (12, 24), (6, 24), (4, 40), (3, 60), (3, 150), (2, 400))],
            (130, 40), 26,
        ),
        "paper": preset(
            [(200, 400, 8), (40, 400, 8), (8, 400, 8), *WHOLE],
            [(f, n, m) for m in (2, 3, 4) for f, n in ((18, 24), (12, 24), (6, 24), (5, 60), (5, 150), (4, 400))],
            (600, 200), 100,
        ),
    },
)  # fmt: skip


def fraction(at):
    return at["first"] / at["n"]


def bound(at):
    """eps^2 where the printed bound ends for class 1: sqrt(x) d/d_1."""
    return np.sqrt(fraction(at)) * (at["rank"] + 1) / at["rank"]


def first_losses(verdicts, rank):
    """Verdict rows of the first loss of rank of a class with this bound, by ascending class fraction."""
    found = [v for v in verdicts if v["law"] == RANK_STAIRCASE.id and v["at"] is not None and v["measured"] is not None
             and v["at"]["rank"] == rank and v["index"] == (rank - 2)]  # fmt: skip
    return sorted(found, key=lambda v: fraction(v["at"]))


@STUDY.figure(nrows=2, ncols=2, size=(12.5, 8.6), height_ratios=(1.1, 1))
def draw(axes, rows, verdicts):
    (stairs, constants), (gap, error) = axes
    measured = rows[rows["measurement"].str.endswith(":optimal_rank")]
    ranks = sorted(int(rank) for rank in measured["rank"].unique())
    draw_stairs(stairs, measured[measured["rank"] == ranks[-1]], ranks[-1], verdicts)
    draw_constants(constants, ranks, verdicts)
    draw_gap(gap, rows[rows["measurement"].str.endswith(":highest_reduction") & rows["fraction"].notna()])

    for colour, marker, rank in zip(COLOURS, "osD^v", ranks, strict=False):
        for step in range(rank - 1):
            mine = [v for v in verdicts if v["at"] is not None and v["at"].get("rank") == rank and v["index"] == step]
            shift = 1.04 ** (step - (rank - 2) / 2)
            located(error, mine, RANK_STAIRCASE.id, x=lambda at, by=shift: fraction(at) * by, relative=True,
                    color=colour, marker=marker, markerfacecolor="white",
                    label=f"$d_k={rank}$" if step == 0 else None)  # fmt: skip
    residuals(error, r"measured / predicted $\epsilon$ of each step (bar: accepted)")
    notes = [verdict_note(verdicts, law.id) for law in STUDY.laws]
    notes.append(f"{100 * rows['attained'].mean():.0f} % of the Gaussian starts reach the maximum")
    error.text(0.02, 0.02, "\n".join(notes), transform=error.transAxes, va="bottom", fontsize=8)
    low, high = error.get_ylim()
    error.set(xscale="log", xlim=(4e-3, 1), xlabel=r"class fraction $x=N_k/N$", title="Residuals: one grid step",
              ylim=(low - 0.6 * (high - low), high + 0.12 * (high - low)))  # fmt: skip
    error.legend(loc="upper left", ncols=4)


def draw_stairs(ax, rows, most, verdicts):
    losses = first_losses(verdicts, most)[::-1]
    e, start = np.geomspace(0.3, 1.75, 1500), min(theory.full_rank_constant(fraction(v["at"]), most) for v in losses)
    ax.fill_between([start**0.5, 1], 0, most + 0.25, color=COLOURS[4], alpha=0.16, linewidth=0)
    for i, v in enumerate(losses):
        x, lift = fraction(v["at"]), 0.06 * (i - (len(losses) - 1) / 2)
        steps = np.sqrt(x) * most / theory.rank_threshold(x, np.arange(1, most))
        ax.plot(e, 1 + np.sum(e[:, None] < steps, axis=1) + lift, color=COLOURS[i], drawstyle="steps-mid")
        low, high = (v[key] ** 2 / bound(v["at"]) for key in ("low", "high"))
        mine = rows[np.isclose(rows["first"] / rows["n"], x)]
        ax.plot(mine["eps"] ** 2 / bound(mine), mine["found"] + lift, "o^sDv"[i % 5], color=COLOURS[i], markersize=3.8,
                markerfacecolor="white", markeredgewidth=0.9,
                label=f"$x={x:g}$: full rank ends at {steps[-1]:.3f}, measured {low:.3f} to {high:.3f}")  # fmt: skip
        ax.plot([theory.full_rank_constant(x) ** 0.5] * 2, [0.6, 1], color=COLOURS[i], linestyle=":", linewidth=1.6,
                label=r"$\kappa(x)^{1/2}$: enough for every $d_k$" if i == 0 else None)  # fmt: skip
    ax.plot([1, 1], [0, most + 0.25], color="black", linewidth=1.2)
    ax.text(1.02, most - 0.25, "printed bound", fontsize=8.5, va="center")
    ax.text((1 + start**0.5) / 2, most - 0.25, "full rank claimed,\nand false", fontsize=8.5, va="center", ha="center")
    ax.set(xlabel=r"distortion $\epsilon^2$ in units of $\sqrt{x}\,d/d_k$", ylabel=r"rank of class $k$ at the optimum",
           xlim=(0.3, 1.75), ylim=(0.6, most + 0.5 + 0.08 * most * len(losses)),
           title=rf"Rank staircase, $d_k={most}$ (lines: theory, marks: best of all starts)")  # fmt: skip
    ax.set_yticks(range(1, most + 1), labels=[str(rank) for rank in range(1, most + 1)])
    ax.tick_params(axis="y", which="minor", left=False)
    ax.legend(loc="upper right")


def draw_constants(ax, ranks, verdicts):
    x = np.geomspace(1e-3, 0.95, 300)
    ax.fill_between(x, theory.full_rank_constant(x, ranks[0]), 1, color=COLOURS[4], alpha=0.16, linewidth=0)
    for colour, marker, rank in zip(COLOURS, "osD^v", ranks, strict=False):
        ax.plot(x, theory.full_rank_constant(x, rank), color=colour)
        losses = first_losses(verdicts, rank)
        at, middle, low, high = ([(v[key] ** 2 / bound(v["at"])) ** 2 if key else fraction(v["at"]) for v in losses]
                                 for key in ("", "measured", "low", "high"))  # fmt: skip
        bars = [np.subtract(middle, low), np.subtract(high, middle)]
        ax.errorbar(at, middle, yerr=bars, color=colour, marker=marker, markerfacecolor="white", markersize=4.5,
                    elinewidth=1, linestyle="none",
                    label=rf"$d_k={rank}$: measured, and exact constant $\kappa_{rank}(x)$")  # fmt: skip
    ax.plot(x, theory.full_rank_constant(x), color="black", linestyle="--",
            label=r"$\kappa(x)=x/u_t^2$, enough for every $d_k$, $\to 0$ as $1/\log(1/x)$")  # fmt: skip
    ax.axhline(1, color="black", linewidth=1.2)
    ax.text(1.1e-3, 1.03, "printed: constant 1", fontsize=8.5)
    ax.text(1.1e-3, 0.5, "full rank claimed, and false", fontsize=8.5)
    ax.set(xscale="log", xlim=(1e-3, 1), ylim=(0, 1.1), xlabel=r"class fraction $x=N_k/N$",
           ylabel=r"$\epsilon^4 d_k^2/(x\,d^2)$ at the first loss of rank", title="Where full rank ends")  # fmt: skip
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, 0.9))


def draw_gap(ax, rows):
    f = np.linspace(0.2, 0.9999, 81) ** 0.5
    for i, ((sizes, ranks), part) in enumerate(rows.groupby(["sizes", "max_ranks"], sort=False)):
        at = [Published(sizes=sizes, max_ranks=ranks, fraction=v) for v in f]
        best = [theory.constrained_maximum(sizes, p.dim, ranks, eps=p.eps).value for p in at]
        ax.plot(f**2, 100 * (1 - np.divide([full_rank_value(p) for p in at], best)), color=COLOURS[i])
        missed = 100 * (1 - part["isotropic"] / part["maximum"])
        ax.plot(part["fraction"] ** 2, missed, "o^sDv"[i % 5], color=COLOURS[i], markersize=4, markerfacecolor="white",
                label=f"$N=({','.join(map(str, sizes))})$, $d_k=({','.join(map(str, ranks))})$")  # fmt: skip
    ax.set(xlabel=r"distortion $\epsilon^2$ in units of the printed bound, $\min_k\sqrt{x_k}\,d/d_k$", xlim=(0.2, 1.02),
           ylabel=r"$\Delta R$ missed by full rank (% of the maximum)",
           title="What the printed optimum misses (lines: theory, marks: best of all starts)")  # fmt: skip
    ax.legend(loc="upper left")


if __name__ == "__main__":
    STUDY.cli()
