"""Losses of denoisers that memorise M of N training points: exact curves, Monte Carlo, and the published law.

Training and test loss of the partial memoriser against M/N at three signal-to-noise ratios, with the generaliser (true
mixture), the memoriser (all points) and what a trained mixture of M means settles at under hard assignment; then its
training loss, averaged over noise levels with three weights, above the generaliser's: where does memorising begin to
pay? Cluster means lie on the usual sphere of radius sqrt(d v) from psi v = 1 on, far apart below.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.claims.statistics import student_quantile
from lab.plot import measured_points, verdict_note
from lab.systems.memorization import theory
from lab.systems.memorization.laws import CROSSOVER_EXACT, CROSSOVER_PAPER, PLATEAU_LOSS, PMEM_EXCESS
from lab.systems.memorization.laws.crossover import Weighted
from lab.systems.memorization.laws.losses import APART
from lab.systems.memorization.laws.transition import LOSS_SNR

SNRS = [0.2, 1.0, LOSS_SNR]


def usual(f):
    """Separation of the usual sphere from psi v = 1 on; clusters far apart below."""
    return APART if f.psi * f.v < 1 else 1 / (1 + 1 / (f.psi * f.v)) ** 0.5


def sizes(count):
    """Model sizes from the least that the law admits to one point short of all."""
    return lambda f: np.unique(np.linspace(8 * f.K, f.N - 1, count).round().astype(int)).tolist()


def curves(count, replicates, **shape):
    return Grid(psi=SNRS, separation=usual, M=sizes(count), replicates=replicates, **shape)


def preset(losses, crossovers, trained):
    return {PMEM_EXCESS.id: losses, CROSSOVER_EXACT.id: crossovers, CROSSOVER_PAPER.id: crossovers,
            PLATEAU_LOSS.id: trained}  # fmt: skip


WINDOWS = ["middle noise", "high noise"]

STUDY = Study(
    id="memorization/loss-curves",
    laws=(PMEM_EXCESS, CROSSOVER_EXACT, CROSSOVER_PAPER, PLATEAU_LOSS),
    title="Losses of partial memorisers are exact; the published law takes the wrong constant and crosses too early",
    presets={
        "smoke": preset(curves(7, 24, d=30, K=3, N=60), Grid(weight="high noise", replicates=24),
                        Grid(8, N=60, draws=1, shares=[(0.6, 0.8, 0.95)])),
        "default": preset(
            curves(12, 96, d=30, K=3, N=60),
            Grid(weight=WINDOWS, count=12, replicates=64) + Grid(K=1, N=40, weight="x0", count=12, replicates=64),
            Grid(8, N=60, shares=[(0.5, 0.6, 0.7, 0.8, 0.9, 0.95)]),
        ),
        "paper": preset(
            curves(30, 1000, d=50, K=12, N=200),
            Grid(d=50, N=200, weight=WINDOWS, count=30, replicates=1000)
            + Grid(d=50, K=1, N=100, weight="x0", count=30, replicates=1000),
            Grid(8, d=50, K=12, N=200, shares=[tuple(round(0.5 + 0.05 * i, 2) for i in range(10))], steps=20_000,
                 rate=3e-3, draws=20),
        ),
    },
)

BLUE, RED, GREEN, GOLD, BLACK = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#000000"
EXACT = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "linestyle": "none"}
PRINTED = {"marker": "X", "markersize": 8.5, "markeredgecolor": "white", "linestyle": "none"}


@STUDY.figure(nrows=2, ncols=2, size=(11.5, 8.8))
def draw(axes, rows, verdicts):
    *panels, last = axes.flat
    losses = rows[rows["constant"].notna()]
    trained = rows[rows["shares"].notna()] if "shares" in rows else rows.iloc[:0]
    for ax, (psi, part) in zip(panels, losses.groupby("psi"), strict=False):
        loss_panel(ax, float(psi), part, trained if psi == LOSS_SNR else trained.iloc[:0])
    note = verdict_note(verdicts, PMEM_EXCESS.id)
    panels[0].legend(*panels[2].get_legend_handles_labels(), loc="lower left", fontsize=7.8, ncols=2, alignment="left",
                     title=note, title_fontsize=7.8)  # fmt: skip
    crossover_panel(last, rows[rows["gap"].notna()], verdicts)


def loss_panel(ax, psi, part, trained):
    """Losses per model size at one signal-to-noise ratio; `trained` are rows of training runs at this ratio."""
    first = part.iloc[0]
    d, K, N, v = int(first["d"]), int(first["K"]), int(first["N"]), float(first["v"])
    m = np.append(1 - np.geomspace(1 - 8 * K / N, 1e-3, 80), 1.0)
    exact = theory.exact_losses(d, K, N, m * N, psi, v)
    law = (1 - m) * d * v
    ax.fill_between(m, exact.memoriser + law, exact.memoriser + 2 * law, color=GOLD, alpha=0.25, linewidth=0,
                    label=r"published law, $1\leq C\leq2$")  # fmt: skip
    ax.plot(m, exact.memoriser + law, color=GOLD, linestyle="--", label="published law, $C=1$")
    ax.plot(m, exact.partial, color=BLUE, label="partial memoriser, training")
    ax.plot(m, theory.new_point_loss(d, m * N, psi, v, share=1 / K), color=RED, label="partial memoriser, test")
    ax.axhline(exact.generaliser, color=BLACK, linewidth=1.1, label=r"generaliser, $dv/(1+\psi v)$")
    ax.axhline(exact.memoriser, color="0.55", linestyle=":", label="memoriser, training")
    if exact.memoriser < 0.02 * exact.generaliser:  # the memoriser has collapsed: hard assignment makes sense
        half = 1 - np.geomspace(0.5, 1e-3, 30)
        plateau = theory.plateau_loss(theory.fitted_variance(half, d, K, N, v=v), d, psi)
        ax.plot(half, plateau, color=GREEN, linestyle="-.", label=r"trained mixture, $du/(1+\psi u)$")
    if len(trained):
        long = trained.explode(["m", "loss"])
        long = long.assign(m=long["m"].astype(float), loss=long["loss"].astype(float))
        measured_points(ax, long, x="m", y="loss", color=GREEN, marker="D", label="trained from training points")
    part = part.assign(m=part["M"] / part["N"], test=part["above"] + exact.generaliser)
    measured_points(ax, part, x="m", y="training", color=BLUE, label="Monte Carlo, training")
    style = {"marker": "s", "markerfacecolor": "white", "color": RED}
    measured_points(ax, part, x="m", y="test", label="Monte Carlo, test", **style)
    root, published = theory.exact_crossover(d, K, N, [1.0], [psi], v), theory.published_crossover([1.0], [psi], v)
    ax.plot(root, exact.generaliser, color=BLACK, **EXACT)
    if published > m[0]:
        ax.plot(published, exact.generaliser, color=GOLD, **PRINTED)
    if exact.memoriser < 0.1:
        ax.text(m[0], 0.115, f"memoriser: {exact.memoriser:.1g}", color="0.45", fontsize=8)
    ax.set(yscale="log", ylim=(0.1, 80), xlim=(m[0] - 0.02, 1.02), xlabel="model size per training point $M/N$",
           ylabel=r"$x_0$-loss, summed over coordinates")  # fmt: skip
    where = "far apart" if first["separation"] >= APART else r"on the sphere $\sqrt{dv}$"
    ax.set_title(rf"$\psi v={psi * v:.3g}$: better than the generaliser from {root:.2f} on, published {published:.2f}"
                 f"\n$d={d}$, $K={K}$ clusters {where}, $N={N}$", fontsize=9.5)  # fmt: skip


def crossover_panel(ax, rows, verdicts):
    """Weighted training loss above the generaliser's, with the exact and the published crossovers."""
    ax.axhline(0, color="0.5", linewidth=0.8)
    for colour, (weight, part) in zip((BLUE, RED, GREEN), rows.groupby("weight"), strict=False):
        first = part.iloc[0]
        p = Weighted(d=int(first["d"]), K=int(first["K"]), N=int(first["N"]), v=float(first["v"]), weight=weight)
        weights, levels = p.levels
        m = np.linspace(0.38, 0.97, 60)
        curve = theory.exact_gap(p.d, p.K, p.N, m * p.N, weights, levels, p.v, radius=p.radius)
        gap = np.stack(part["gap"].to_numpy())
        error = student_quantile(len(gap), 0.05) * gap.std(0, ddof=1) / np.sqrt(len(gap))
        style = {"color": colour, "marker": "o", "markersize": 3.5, "elinewidth": 1, "linestyle": "none"}
        ax.errorbar(np.asarray(first["m"]), gap.mean(0), error, **style)
        found = {one["law"]: one for one in verdicts if one["at"] and one["at"].get("weight") == weight}
        exact, printed = found[CROSSOVER_EXACT.id], found[CROSSOVER_PAPER.id]
        ax.plot(exact["predicted"], 0, color=colour, **EXACT)
        ax.plot(printed["predicted"], 0, color=colour, **PRINTED)
        numbers = f"measured {exact['measured']:.3f}, exact {exact['predicted']:.3f}, C=1 {printed['predicted']:.3f}"
        ax.plot(m, curve, color=colour, label=f"{weight}: {numbers}")
    ax.plot([], [], color="0.3", **EXACT, label="exact crossover")
    ax.plot([], [], color="0.3", **PRINTED, label="published crossover, C=1 (erratum)")
    ax.set(xlabel="model size per training point $M/N$", ylabel=r"weighted loss above the generaliser's, over $dv$")
    ax.set_title(f"Averaged over noise levels, three weights on the $x_0$-loss\n"
                 f"{verdict_note(verdicts, CROSSOVER_EXACT.id)}", fontsize=9.5)  # fmt: skip
    ax.legend(fontsize=7.8, loc="upper right")


if __name__ == "__main__":
    STUDY.cli()
