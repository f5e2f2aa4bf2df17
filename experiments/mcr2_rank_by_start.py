"""Which ranks survive gradient ascent from random features, and what decides it: scale, class sizes, or the seed?

Scale: a direction that starts at or below the separatrix u_- of its class dies, whatever the overlap of the classes, so
small starts collapse (law). Above it nearly all survive, and balanced classes reach the global maximum (observation).
Class sizes: every end is on the ladder of values (law), but unbalanced classes end far below the maximum, since they
share the directions almost evenly while the maximum gives all to the smallest (observation). The seed: with two classes
directions go to the class with the larger second moment at the start, so the split is the inertia of their difference,
whatever the scale (law as N grows).

Starts are Gaussian, of variance energy/(alpha N); lambda is a fraction of the smallest lambda_c(x_k).
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, measured_points, verdict_note
from lab.sweeps.grid import log_grid
from lab.systems.mcr2 import theory
from lab.systems.mcr2.laws.maxima import VALUE_LADDER
from lab.systems.mcr2.laws.splits import SPLIT_BY_INERTIA
from lab.systems.mcr2.laws.starts import SMALL_STARTS_COLLAPSE, SURVIVING_SPECTRUM

SPLITS = [(10, 10), (8, 10), (6, 10), (4, 8), (2, 6)]  # sizes of the first two classes of the ladder's runs, of 30


def separatrix(classes: int, fraction: float) -> float:
    """u_- of balanced classes."""
    return float(theory.u_minus(1 / classes, fraction * theory.spinodal(1 / classes)))


def above(*multiples):
    """Energies that are these multiples of u_-, for balanced classes."""
    return lambda f: [m * separatrix(f.classes, f.fraction) for m in multiples]


def scale(classes, dim, smallest, count, replicates, **axes):
    """Starts of all sizes."""
    point = {"classes": classes, "dim": dim, "smallest": smallest, "fraction": 0.5, **axes}
    return Grid(**point, energy=log_grid(0.02, 1000.0, count), replicates=replicates)


def preset(scales, reached, ladder, split):
    return {law.id: scales + reached for law in (SMALL_STARTS_COLLAPSE, SURVIVING_SPECTRUM)} | {
        VALUE_LADDER.id: ladder, SPLIT_BY_INERTIA.id: split,
    }  # fmt: skip


def unbalanced(fractions, replicates, steps, choices=SPLITS):
    """Runs of three classes of 30 samples in all, d = 8."""
    grids = [
        Grid(dim=8, n=30, first=first, second=second, fraction=fractions, energy=100.0, eps=0.5, steps=steps,
             replicates=replicates)
        for first, second in choices
    ]  # fmt: skip
    return sum(grids[1:], grids[0])


def balanced(smallest, fractions, multiples, replicates, *, classes=3, dim=8, **axes):
    return Grid(classes=classes, dim=dim, smallest=smallest, fraction=fractions, energy=above(*multiples),
                replicates=replicates, **axes)  # fmt: skip


MULTIPLES = (0.5, 1, 2, 4, 8, 15, 30, 100, 400)
STUDY = Study(
    id="mcr2/rank-by-start",
    laws=(SMALL_STARTS_COLLAPSE, SURVIVING_SPECTRUM, VALUE_LADDER, SPLIT_BY_INERTIA),
    title="Small starts collapse; large ones keep every direction, and the seed, not the scale, says for which class",
    presets={
        "smoke": preset(
            scale(3, 8, 10, 10, 12),
            balanced(10, 0.8, (2, 15, 100), 12) + balanced([3, 10], [0.3, 0.9], (100,), 12),
            unbalanced([0.5], 16, 600), Grid(first=[8, 10, 14, 20, 36, 100], replicates=100),
        ),
        "default": preset(
            scale(3, 8, 10, 22, 40, steps=1500) + scale(3, 8, 4, 22, 40, growth=2.0, steps=1500)
            + scale(4, 16, 24, 18, 16, steps=1500),
            balanced(10, [0.2, 0.8, 0.95], MULTIPLES, 40, steps=1500)
            + balanced([2, 3, 4, 5, 8, 16], [0.1, 0.3, 0.5, 0.7, 0.8, 0.87, 0.93, 0.97], (100,), 40, steps=1500),
            unbalanced([0.5], 100, 1500),
            Grid(first=[8, 12, 18, 30, 60, 120, 300], ratio=[1.0, 3.0], energy=[10.0, 1000.0], replicates=150,
                 steps=1000),
        ),
        "paper": preset(
            scale(8, 64, 64, 40, 64, steps=4000) + scale(10, 64, 20, 40, 64, growth=1.3, steps=4000),
            balanced(64, [0.2, 0.8, 0.95], MULTIPLES[1:], 200, classes=8, dim=64, steps=4000)
            + balanced([5, 6, 7, 8, 9, 10, 12, 16, 32, 64], [0.1, 0.3, 0.5, 0.7, 0.8, 0.87, 0.93, 0.97], (100,), 200,
                       classes=8, dim=64, steps=4000),
            unbalanced([0.2, 0.5, 0.8], 1000, 4000),
            Grid(dim=16, first=[20, 30, 45, 80, 160, 320, 1000, 10000], ratio=[1.0, 2.0, 5.0],
                 energy=[10.0, 100.0, 10000.0], replicates=1000, steps=3000),
        ),
    },
)  # fmt: skip


# ---------------------------------------------------------------------- what the panels need


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of Wilson for a probability."""
    z = 1.959964
    centre = (hits + z**2 / 2) / (count + z**2)
    half = z * np.sqrt(hits * (count - hits) / count + z**2 / 4) / (count + z**2)
    return centre - half, centre + half


def probabilities(ax, groups, **style):
    """Share of hits in each group of (x, hits) with its Wilson interval."""
    x, share, low, high = [], [], [], []
    for at, hits in groups:
        ends = wilson(int(np.sum(hits)), len(hits))
        x.append(at)
        share.append(np.mean(hits))
        low.append(max(share[-1] - ends[0], 0.0))
        high.append(max(ends[1] - share[-1], 0.0))
    ax.errorbar(x, share, yerr=[low, high], **{"marker": "o", "markersize": 3.5, "elinewidth": 1, "linewidth": 0.8,
                                               **style})  # fmt: skip


def with_theory(rows):
    """Rows of Gaussian starts, with sizes, tau, total rank and its ceiling."""
    runs = rows[rows["measurement"].str.endswith(":ends")].copy()
    points = {}
    for run in runs.itertuples():
        key = (run.classes, run.dim, run.smallest, run.growth, run.fraction)
        if key not in points:
            p = SMALL_STARTS_COLLAPSE.params(**dict(zip(("classes", "dim", "smallest", "growth", "fraction"), key,
                                                        strict=True)))  # fmt: skip
            points[key] = p.x, p.tau, int(sum(p.sizes))
    found = [points[k] for k in zip(runs.classes, runs.dim, runs.smallest, runs.growth, runs.fraction, strict=True)]
    runs["n"], runs["tau"] = [n for *_, n in found], [tau for _, tau, _ in found]
    runs["total"] = runs["ranks"].map(np.sum)
    runs["ceiling"] = [
        min(int(theory.rank_ceiling(u, x, tau).sum()), d)
        for u, (x, tau, _), d in zip(runs["start"], found, runs["dim"], strict=True)
    ]
    runs["full"] = runs["total"] == np.minimum(runs["n"], runs["dim"])
    return runs


def crowded(runs, balanced_only):
    """The grids over scale: settings with at least ten energies at one fraction."""
    for key, part in runs.groupby(["classes", "dim", "smallest", "growth", "fraction"]):
        if part["energy"].nunique() >= 10 and (key[3] == 1 or not balanced_only):
            yield key, part


# ---------------------------------------------------------------------- panels


def draw_scale(ax, runs):
    for i, ((classes, dim, smallest, growth, fraction), part) in enumerate(crowded(runs, False)):
        p = SMALL_STARTS_COLLAPSE.params(classes=classes, dim=dim, smallest=smallest, growth=growth, fraction=fraction)
        sizes = ",".join(str(int(n)) for n in p.sizes)
        part = part.assign(share=part["total"] / dim, most=part["ceiling"] / dim)
        measured_points(ax, part, x="energy", y="share", color=COLOURS[i],
                        label=rf"$d={dim}$, $N_k=({sizes})$")  # fmt: skip
        most = part.groupby("energy")["most"].mean()
        ax.plot(most.index, most, color=COLOURS[i], linewidth=1, zorder=2)
        for u in np.unique(theory.u_minus(p.x, p.tau)):
            ax.plot([u, u], [-0.05, 0.03], color=COLOURS[i], linewidth=1.6, zorder=4)
    ax.plot([], [], color="0.3", linewidth=1, label="ceiling: directions that start above $u_-$ (mean)")
    ax.plot([], [], "|", color="0.3", markeredgewidth=1.6, label="$u_-$ of the classes (ticks at the foot)")
    for rung in range(9):
        ax.axhline(rung / 8, color="0.85", linewidth=0.5, zorder=0)
    ax.set(xscale="log", ylim=(-0.05, 1.08), xlabel=r"scale of the start, $E=\alpha\sigma_0^2N$",
           ylabel=r"surviving rank / $d$ (rungs of the ladder for $d=8$)", title="Small starts collapse")  # fmt: skip
    ax.legend(loc="lower right", fontsize=7.5)


def ladder_points(rows):
    """Rows of unbalanced runs at fraction 1/2 and energy 100, by class sizes."""
    runs = rows[rows["measurement"].str.endswith(":ascent_limit") & np.isclose(rows["fraction"].astype(float), 0.5)]
    for first, second in SPLITS:
        part = runs[(runs["first"] == first) & (runs["second"] == second)]
        if len(part):
            p = VALUE_LADDER.params(dim=8, n=30, first=first, second=second, fraction=0.5)
            yield p, part


def draw_values(ax, rows):
    ticks = []
    for i, (p, part) in enumerate(ladder_points(rows)):
        lam = p.tau * p.alpha
        best = theory.global_maximum(p.sizes, p.dim, eps=p.eps, lam=lam)
        rungs = theory.value_ladder(p.sizes, p.dim, eps=p.eps, lam=lam).values / best.value
        ax.hlines(rungs, i - 0.42, i + 0.42, color="0.8", linewidth=0.5, zorder=0)
        share = part["value"].to_numpy(dtype=float) / best.value
        spread = 0.3 * (np.arange(len(share)) / max(1, len(share) - 1) - 0.5) * 2
        ax.plot(i + spread, share, ".", markersize=3, color=COLOURS[0], alpha=0.6)
        hits = share > 1 - 1e-9
        low, high = wilson(int(hits.sum()), len(hits))
        ax.text(i, 1.03, f"{hits.sum()}/{len(hits)}\n[{max(low, 0):.2f}, {min(high, 1):.2f}]", ha="center", fontsize=7)
        ticks.append(f"({','.join(map(str, p.sizes))})")
    ax.axhline(1, color=COLOURS[1], linewidth=1)
    ax.text(-0.5, 1.13, "runs that reach the global maximum, 95 % interval:", fontsize=7.5)
    ax.set(xticks=range(len(ticks)), ylim=(0.2, 1.2), xlim=(-0.55, len(ticks) - 0.45),
           xlabel=r"class sizes, $d=8$, $E=100$, $\tau=\tau_c/2$", ylabel=r"$F(\mathrm{end})\,/\max F$",
           title="Unbalanced classes end on lower rungs (grey: ladder)")  # fmt: skip
    ax.set_xticklabels(ticks, fontsize=8)


def draw_ranks(ax, rows):
    from lab.claims.statistics import student_quantile

    names = ("smallest class", "middle class", "largest class")
    chosen = list(ladder_points(rows))
    for k, name in enumerate(names):
        ranks = [np.stack(part["ranks"].to_list())[:, k] for _, part in chosen]
        error = [student_quantile(len(r), 0.05) * r.std(ddof=1) / np.sqrt(len(r)) for r in ranks]
        ax.errorbar(np.arange(len(ranks)) + 0.12 * (k - 1), [r.mean() for r in ranks], yerr=error, marker="os^"[k],
                    markersize=4, linewidth=0.8, elinewidth=1, color=COLOURS[k], label=f"measured: {name}")  # fmt: skip
        best = [theory.global_maximum(p.sizes, p.dim, eps=p.eps, lam=p.tau * p.alpha).ranks[k] for p, _ in chosen]
        ax.plot(np.arange(len(best)) + 0.12 * (k - 1), best, "os^"[k], markersize=6, markerfacecolor="none",
                markeredgewidth=0.8, color=COLOURS[k])  # fmt: skip
    ax.plot([], [], "o", markersize=6, markerfacecolor="none", markeredgewidth=0.8, color="0.3",
            label="open: a global maximiser")  # fmt: skip
    ax.axhline(8 / 3, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    ax.text(len(chosen) - 0.6, 8 / 3 + 0.1, "$d/3$", fontsize=8, color="0.4")
    ax.set(xticks=range(len(chosen)), ylim=(-0.3, 8.6), xlim=(-0.5, len(chosen) - 0.3), ylabel=r"rank of the class",
           xlabel="class sizes, same runs", title="Ranks: shared almost evenly, not as the maximum wants")  # fmt: skip
    ax.set_xticklabels([f"({','.join(map(str, p.sizes))})" for p, _ in chosen], fontsize=8)
    ax.legend(fontsize=7.5, loc="upper right")


def draw_reach(ax, runs):
    """P(full rank) against the scale in units of u_-."""
    part = runs[(runs["growth"] == 1) & (runs["n"] > 2 * runs["dim"])]
    part = part[part["dim"] == part["dim"].mode()[0]]
    part = part.assign(ratio=[e / separatrix(k, f) for e, k, f in zip(part.energy, part.classes, part.fraction,
                                                                       strict=True)])  # fmt: skip
    shown = 0
    for fraction, one in part.groupby("fraction"):
        groups = [(ratio, hits["full"]) for ratio, hits in one.groupby(one["ratio"].round(4))]
        if len(groups) >= 3:
            probabilities(ax, groups, color=COLOURS[shown % 7], label=rf"$\tau={fraction:g}\,\tau_c$")
            shown += 1
    ax.axvspan(100, 1e5, color="0.93", zorder=0)
    ax.set(xscale="log", ylim=(-0.05, 1.1), xlim=(0.1, 2e4), xlabel=r"$E/u_-$", ylabel="P(rank $=\\min(N,d)$)",
           title="Balanced classes: full rank from large starts")  # fmt: skip
    dim, n = part[["dim", "n"]].iloc[0]
    ax.text(0.12, 1.04, rf"$d={dim}$, $N={n}$; bars: 95 % intervals (Wilson); grey: $E\geq100\,u_-$", fontsize=7.5)
    ax.legend(fontsize=7.5, loc="center right")


def draw_shape(ax, runs):
    """P(full rank) of large starts against tau/tau_c, for several N/d."""
    part = runs[(runs["growth"] == 1)]
    part = part.assign(ratio=[e / separatrix(k, f) for e, k, f in zip(part.energy, part.classes, part.fraction,
                                                                       strict=True)])  # fmt: skip
    part = part[np.isclose(part["ratio"], 100)]
    for i, (shape, one) in enumerate(part.groupby(part["n"] / part["dim"])):
        groups = [(fraction, hits["full"]) for fraction, hits in one.groupby("fraction")]
        probabilities(ax, groups, color=COLOURS[i % 7], marker="os^Dv<>ph"[i % 9], label=f"$N/d={shape:g}$")
    x = 1 / part["classes"].iloc[0]
    limit = float(theory.maxwell(x) / theory.spinodal(x))
    ax.axvline(limit, color="0.4", linewidth=0.8, linestyle="--")
    ax.text(limit - 0.01, 0.0, "beyond $\\tau_*$ zero\nis the maximum", fontsize=7.5, color="0.3", ha="right")
    ax.axvspan(0, 0.5, color="0.93", zorder=0)
    ax.set(ylim=(-0.05, 1.1), xlim=(0, 1.12), xlabel=r"$\tau/\tau_c$", ylabel="P(rank $=\\min(N,d)$)",
           title=r"... at $E=100\,u_-$, except near $\tau_c$ (grey: $\tau\leq\tau_c/2$)")  # fmt: skip
    ax.legend(fontsize=7.5, loc="lower left")


def draw_split(ax, rows, runs):
    found = rows[rows["measurement"].str.endswith(":split")]
    found = found.assign(ratio=found["ratio"].astype(float), hit=found["wrong"].astype(float) == 0)
    styles = [(r, e) for r in sorted(found["ratio"].unique()) for e in sorted(found["energy"].unique())]
    for i, (ratio, energy) in enumerate(styles):
        one = found[(found["ratio"] == ratio) & (found["energy"] == energy)]
        groups = [(first / one["dim"].iloc[0] * 1.03**i, hits["hit"]) for first, hits in one.groupby("first")]
        probabilities(ax, groups, color=COLOURS[i % 7], label=rf"$N_2={ratio:g}N_1$, $E={energy:g}$")
    ax.set(xscale="log", ylim=(0.8, 1.085), xlabel=r"samples of the smaller class / dimension, $N_1/d$",
           ylabel="P(no direction to the wrong class)",
           title="Two classes: the seed decides, not the scale")  # fmt: skip
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    words = "law: class 1 wins at most the directions with $S_1>S_2$ at the start\n"
    ax.text(0.02, 0.985, words + agreement(runs), transform=ax.transAxes, fontsize=7.5, va="top")
    ax.legend(fontsize=7, loc="lower right")


def agreement(runs) -> str:
    """How often the same seed gives the same split of ranks over a decade of large scales, and over all of them."""
    words = []
    for (classes, dim, smallest, growth, fraction), part in crowded(runs, False):
        p = SMALL_STARTS_COLLAPSE.params(classes=classes, dim=dim, smallest=smallest, growth=growth, fraction=fraction)
        large = part[part["energy"] >= 9]
        splits = large.groupby("replicate")["ranks"].apply(lambda r: len({tuple(one) for one in r}) == 1)
        low, high = wilson(int(splits.sum()), len(splits))
        sizes = ",".join(str(int(n)) for n in p.sizes)
        words.append(
            rf"$N_k=({sizes})$: {splits.sum()}/{len(splits)} seeds, one split at all $E\geq9$ [{low:.2f}, {high:.2f}]"
        )
    return "\n".join(words)


@STUDY.figure(nrows=2, ncols=3, size=(14.5, 8.6))
def draw(axes, rows, verdicts):
    runs = with_theory(rows)
    (scale_panel, value_panel, rank_panel), (reach, shape, split) = axes
    draw_scale(scale_panel, runs)
    draw_values(value_panel, rows)
    draw_ranks(rank_panel, rows)
    draw_reach(reach, runs)
    draw_shape(shape, runs)
    draw_split(split, rows, runs)
    notes = [verdict_note(verdicts, law.id) for law in STUDY.laws]
    scale_panel.figure.supxlabel("Laws: " + "      ".join(notes), fontsize=8.5, x=0.01, ha="left")


if __name__ == "__main__":
    STUDY.cli()
