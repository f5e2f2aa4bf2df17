"""How many directions does each class get at the equilibrium of a closed-loop game? A staircase in the distortion.

CTRL-MSP: the leader's optimum has orthogonal classes with k_j equal singular values. As the distortion falls every
class gains directions one by one, at distortions in closed form. The published condition for full rank, eps⁴ below
n_j d_z²/(n d_j²), ends far later than full rank does; a universal constant in front of it cannot be right either, since
the true one falls to zero for small classes. Measured: the best of projected ascents from Gaussian features and from
orthogonal classes of all ranks.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, located, residuals, verdict_note
from lab.systems.ctrl import theory
from lab.systems.ctrl.laws.staircase import (
    FULL_RANK_PRINTED,
    RANK_STAIRCASE,
    UNIVERSAL_CONSTANT_PRINTED,
    Step,
    steps,
)


def distortions(points):
    """Evenly spaced in log, from below the last step to beyond where the published condition ends."""
    def axis(f):
        at = Step(ranks=f.ranks, spare=f.spare, share=f.share)
        last = max(theory.constant_distortion(1.0, g, at.dim, r) for g, r in zip(at.gamma, at.ranks, strict=True))
        return np.geomspace(0.93 * steps(at).min(), 1.05 * max(last, steps(at).max()), points).tolist()
    return axis


def union(grids):
    first, *rest = grids
    return sum(rest, start=first)


def preset(whole, pairs, shares, points, printed, *, balanced=(2, 2), rare=(6, 1)):
    """Staircases of several classes at some shares; those of pairs at all `shares`; constant 1 at `printed` distortions
    for classes of ranks `balanced`, and a constant of .21 for those of ranks `rare`."""
    grids = [Grid(ranks=[ranks], spare=spare, share=share, eps=distortions(points[0]))
             for ranks, spare, some in whole for share in some]  # fmt: skip
    grids += [Grid(ranks=[ranks], share=share, eps=distortions(points[1])) for ranks in pairs for share in shares]
    fraction = (np.linspace(0.3, 0.98, printed) ** 0.25).tolist()
    return {
        RANK_STAIRCASE.id: union(grids),
        FULL_RANK_PRINTED.id: Grid(ranks=[balanced], constant=1.0, share=[0.2, 0.5], fraction=fraction),
        UNIVERSAL_CONSTANT_PRINTED.id: Grid(ranks=[rare], constant=0.21, share=[0.001, 0.01, 0.2], fraction=0.98),
    }


STUDY = Study(
    id="ctrl/rank-staircase",
    laws=(RANK_STAIRCASE, FULL_RANK_PRINTED, UNIVERSAL_CONSTANT_PRINTED),
    title="Equilibria of CTRL-MSP gain rank by rank as the distortion falls, far from where full rank is promised",
    presets={
        "smoke": preset([((3, 2), 0, [0.5])], [(3, 2)], [0.02, 0.2], (16, 16), 4, balanced=(3, 2), rare=(3, 2)),
        "default": preset([((3, 4, 5), 28, [1 / 3, 0.1])], [(2, 1), (4, 1)], [0.003, 0.02, 0.1, 0.3, 0.5, 0.8],
                          (100, 48), 12),
        "paper": preset([((6,) * 20, 8, np.geomspace(0.002, 0.3, 200).tolist())], [(2, 2), (4, 4)],
                        np.geomspace(0.001, 0.9, 40).tolist(), (200, 200), 40),
    },
)  # fmt: skip


@STUDY.figure(ncols=3, size=(14.5, 4.9), width_ratios=(1.35, 1.1, 1))
def draw(axes, rows, verdicts):
    rows = rows[rows["measurement"].str.endswith(":best_ranks")]
    free = rows[rows["constant"].isna()] if "constant" in rows else rows
    widest = free[free["ranks"].map(len) == free["ranks"].map(len).max()]
    widest = widest[widest["ranks"].map(max) == widest["ranks"].map(max).max()]
    draw_stairs(axes[0], widest[widest["share"] == widest["share"].max()])
    draw_constants(axes[1], free, verdicts)
    draw_residuals(axes[2], free, verdicts)


def draw_stairs(ax, rows):
    p = rows.iloc[0]
    at = Step(ranks=tuple(p["ranks"]), spare=int(p["spare"]), share=p["share"])
    grid = np.geomspace(rows["eps"].min(), rows["eps"].max(), 2000)
    shown = range(len(at.ranks))[-4:]
    for j, colour, marker in zip(shown, COLOURS, "osD^", strict=False):
        gamma, most, lift = at.gamma[j], at.ranks[j], 0.05 * (j - shown[0])
        line = theory.best_rank(gamma * at.dim / grid**2, gamma, most)
        ax.plot(grid, line + lift, color=colour)
        found = np.stack(rows["found"])[:, j]
        label = rf"class {j + 1}: $d_{j + 1}={most}$, $\gamma_{j + 1}={gamma:.3g}$"
        ax.plot(rows["eps"], found + lift, marker, color=colour, markersize=4, markerfacecolor="white", label=label)
        end = theory.constant_distortion(1.0, gamma, at.dim, most)
        ax.plot([end, end], [most + 0.12 + lift, most + 0.4 + lift], color=colour, linewidth=2.4)
        first = theory.step_distortions(gamma, at.dim, most).min() if most > 1 else end
        ax.plot([first, end], [most + 0.26 + lift] * 2, color=colour, linewidth=1, linestyle=":")
    top = max(at.ranks) + 0.6
    ax.text(0.01, 0.98, "bars: full rank is promised up to here;\ndotted: where that is false", va="top", fontsize=8.5,
            transform=ax.transAxes, color="0.3")  # fmt: skip
    ax.set(xlabel=r"distortion $\epsilon$", ylabel=r"rank $k_j$ of class $j$ at the equilibrium",
           ylim=(0.7, top + 0.14 * top), title="Staircase (lines: theory, marks: best of all ascents)")  # fmt: skip
    ax.set_yticks(range(1, max(at.ranks) + 1))
    ax.legend(loc="upper right")


def draw_constants(ax, rows, verdicts):
    gamma = np.geomspace(5e-4, 0.97, 300)
    ranks = sorted({r for p in rows["ranks"] for r in p if r > 1})
    ax.axhline(1, color="black", linewidth=1.2)
    ax.text(6e-4, 1.05, "published: constant 1 (full rank merely a local maximum)", fontsize=8.5)
    for rank, colour, marker in zip([r for r in ranks if r in (2, 3, 4, 6)], COLOURS, "osD^", strict=False):
        ax.plot(gamma, theory.rank_constant(gamma, rank), color=colour)
        points = [measured_constant(v, rank) for v in verdicts if v["law"] == RANK_STAIRCASE.id and v["at"] is not None]
        points = np.array([q for q in points if q is not None])
        if len(points):
            ax.errorbar(points[:, 0], points[:, 1], yerr=points[:, 2:].T, color=colour, marker=marker, linestyle="none",
                        markersize=4.5, markerfacecolor="white", elinewidth=1,
                        label=rf"step to rank {rank}: measured, $c(\gamma,{rank})$")  # fmt: skip
    ax.plot(gamma, theory.rank_constant(gamma), color="0.4", linestyle="--",
            label=r"$c(\gamma,\infty)=\gamma/u_t^2$, $\to0$ as $1/\log(1/\gamma)$")  # fmt: skip
    ax.set(xscale="log", yscale="log", ylim=(0.09, 1.6), xlabel=r"share of the class, $\gamma_j=n_j/n$",
           ylabel=r"$\epsilon^4\,n\,r^2/(n_jd_z^2)$ where rank $r$ begins", title="No constant serves all shares")
    ax.set_yticks([0.1, 0.2, 0.5, 1.0], labels=["0.1", "0.2", "0.5", "1"])
    ax.legend(loc="lower right")


def measured_constant(v, rank):
    """(gamma, constant, error below, error above) of the verdict row of a step to `rank`, or None."""
    at = v["at"]
    owners = [(j, r) for j, most in enumerate(at["ranks"]) for r in range(2, most + 1)]
    j, r = owners[v["index"]] if v["index"] is not None else owners[0]
    if r != rank or v["measured"] is None or v["low"] is None or v["high"] is None:
        return None
    p = Step(ranks=tuple(at["ranks"]), spare=at["spare"], share=at["share"])
    values = np.array([v["measured"], v["low"], v["high"]]) ** 4 * r**2 / (p.gamma[j] * p.dim**2)
    return p.gamma[j], values[0], values[0] - values[1], values[2] - values[0]


def draw_residuals(ax, rows, verdicts):
    located(ax, verdicts, RANK_STAIRCASE.id, x=lambda at: at["share"], relative=True, color=COLOURS[0],
            markerfacecolor="white")  # fmt: skip
    residuals(ax, r"measured / predicted $\epsilon$ of each step (bar: accepted)")
    low, high = ax.get_ylim()
    notes = [verdict_note(verdicts, law.id) for law in STUDY.laws]
    ax.text(0.02, 0.02, "\n".join(notes), transform=ax.transAxes, va="bottom", fontsize=8)
    shares = sorted(rows["share"].unique())
    ax.set(xscale="log", xlabel=r"share of class 1, $\gamma_1$", ylim=(low - 0.5 * (high - low), high),
           xlim=(shares[0] / 1.6, 1.0), title="Residuals: one grid step")  # fmt: skip


if __name__ == "__main__":
    STUDY.cli()
