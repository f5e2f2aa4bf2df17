"""From which size on does a trained diffusion model copy its training points? Closed form, clustering, training.

Mixture models of M = m N means and one shared variance, Adam on the noise loss, samples by DDIM. The initialisation
decides whether there is a transition at all: here the means start from M of the N training points.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.data.mixtures import gmm_sphere
from lab.plot import COLOURS, measured_points, verdict_note
from lab.systems.memorization import dynamics, theory
from lab.systems.memorization.dynamics import published_times
from lab.systems.memorization.laws.narrow import NARROW_CLUSTERS, Narrow
from lab.systems.memorization.laws.transition import FEW, SHARES, THRESHOLDS, TRANSITION

WIDE = (0.5, *SHARES)
FINE = tuple(round(0.5 + 0.02 * i, 2) for i in range(25))
NAMES = ("1/4", "1/9", "1/16", "1/36")

STUDY = Study(
    id="memorization/transition",
    laws=(TRANSITION, NARROW_CLUSTERS),
    title="Trained mixture models start to copy at a size that threshold and initialisation set, not the loss weight",
    presets={
        "smoke": {
            TRANSITION.id: Grid(8, K=2, N=32, shares=[FEW.shares]),
            NARROW_CLUSTERS.id: Grid(8, v=0.1, K=2, N=24, shares=[(0.5, 0.66, 0.8, 0.94)]),
        },
        # large training sets take fewer draws per point: there are more points to average over
        "default": {
            TRANSITION.id: Grid(8) + Grid(8, shares=[WIDE], steps=3000, rate=0.01) + Grid(8, d=60) + Grid(8, d=10)
            + Grid(8, d=60, K=12) + Grid(8, K=9, N=100, draws=2) + Grid(8, d=40, K=6, N=100, draws=2)
            + Grid(8, N=200, draws=1) + Grid(8, d=50, K=12, N=200, draws=1) + Grid(8, v=0.5)
            + Grid(8, v=2.0, steps=2000),
            NARROW_CLUSTERS.id: Grid(16, v=[0.05, 0.1, 0.2], shares=[Narrow().shares]),
        },
        "paper": {
            TRANSITION.id: Grid(8, d=[30, 40, 50, 60], K=[3, 6, 9, 12], N=[50, 100, 150, 200], shares=[FINE],
                                steps=50_000, rate=1e-3, std=1e-3),
            NARROW_CLUSTERS.id: Grid(16, v=[0.05, 0.07, 0.1, 0.14, 0.2], shares=[FINE], steps=20_000, rate=1e-3),
        },
    },
)  # fmt: skip


def surrogate(d, K, N, v, sizes, sets=40):
    """Shares of copies (sizes, thresholds) after Lloyd's iteration from the same points, averaged over data sets."""
    rng = np.random.default_rng(0)
    found = np.zeros((len(sizes), len(THRESHOLDS)))
    for _ in range(sets):
        x = gmm_sphere(rng, d, K, v, N=N).X
        found += [dynamics.lloyd_copies(rng, x, M, THRESHOLDS) for M in sizes]
    return found / sets


def variance_panel(ax, mine, verdicts):
    """Critical size against the variance of clusters: two closed forms, training."""
    p, times = Narrow(), published_times()
    variances = np.geomspace(0.04, 2.5, 25)
    for j, c in enumerate(THRESHOLDS):
        plain = [theory.critical_size(p.d, p.K, p.N, threshold=c, v=v) for v in variances]
        corrected = [theory.sampled_critical_size(p.d, p.K, p.N, times, threshold=c, v=v) for v in variances]
        ax.plot(variances, plain, color=COLOURS[j], linewidth=1)
        ax.plot(variances, corrected, color=COLOURS[j], linestyle="-.", linewidth=1)
    for one in mine:
        at, j = one["at"], one["index"] if one["index"] is not None else 0
        if (at["d"], at["K"], at["N"]) != (p.d, p.K, p.N) or (at["v"] == 1 and at["steps"] != p.steps):
            continue
        low, high = np.clip([one["low"], one["high"]], 0, 1.1)
        ax.errorbar(at["v"], one["measured"], yerr=[[one["measured"] - low], [high - one["measured"]]], elinewidth=1,
                    color=COLOURS[j], marker="os"[one["law"] == NARROW_CLUSTERS.id], markersize=4.5)  # fmt: skip
    ax.plot([], [], color="0.2", label="closed form")
    ax.plot([], [], color="0.2", linestyle="-.", label="closed form, clusters narrowed by DDIM on 26 times")
    ax.plot([], [], "o", color="0.2", label="trained; bar: predictions that memorization/transition accepts")
    ax.plot([], [], "s", color="0.2", label="trained; bar: that memorization/narrow-clusters accepts")
    ax.set(xscale="log", xlabel="variance $v$ of a cluster", ylabel="$m_{1/2}$", ylim=(0.3, 1.0),
           title=f"$d={p.d}$, $K={p.K}$, $N={p.N}$, four thresholds\n{verdict_note(verdicts, NARROW_CLUSTERS.id)}")
    ax.legend(fontsize=8, loc="lower right")


def name(at):
    return f"({at['d']}, {at['K']}, {at['N']})"


@STUDY.figure(ncols=3, size=(18.5, 5.4), width_ratios=(1.25, 1, 1))
def draw(axes, rows, verdicts):
    curve, error, width = axes
    mine = [one for one in verdicts if one["at"] is not None and one["measured"] is not None]
    variance_panel(width, mine, verdicts)
    # the headline configuration, at its finest sizes
    main = rows[(rows["d"] == 30) & (rows["v"] == 1)]
    main = main[(main["N"] == main["N"].min()) & (main["K"] == main["K"].min())]
    main = main[main["m"].map(len) == main["m"].map(len).max()]
    d, K, N, v = (main.iloc[0][k].item() for k in ("d", "K", "N", "v"))
    m = np.linspace(0.45, 1, 111)
    sizes = np.arange(round(0.46 * N), N + 1, max(1, N // 25))
    clustering = surrogate(d, K, N, v, sizes)
    long = main.explode(["m", "copies"])
    for j, (c, text) in enumerate(zip(THRESHOLDS, NAMES, strict=True)):
        curve.plot(m, theory.memorization_curve(m, d, K, N, threshold=c, v=v), color=COLOURS[j],
                   label=f"$c={text}$, $m_{{1/2}}={theory.critical_size(d, K, N, threshold=c, v=v):.3f}$")  # fmt: skip
        curve.plot(sizes / N, clustering[:, j], color=COLOURS[j], linestyle="--", linewidth=0.9)
        curve.axvline(max(1 - 2 * c / (1 - c), 1 / (1 + np.log(2))), color=COLOURS[j], linestyle=":", linewidth=0.9)
        part = long.assign(m=long["m"].astype(float), share=[float(row[j]) for row in long["copies"]])
        measured_points(curve, part, x="m", y="share", color=COLOURS[j], markersize=4.5)
    curve.axhline(0.5, color="0.6", linewidth=0.7, zorder=1)
    curve.plot([], [], color="0.2", label="closed form")
    curve.plot([], [], color="0.2", linestyle="--", linewidth=0.9, label="Lloyd's clustering, no training")
    curve.plot([], [], "o", color="0.2", markersize=4.5, label="trained, 95 % over data sets")
    curve.plot([], [], color="0.2", linestyle=":", linewidth=0.9, label=r"large $d$: $1-2c/(1-c)$, or $1/(1+\ln2)$")
    chance = max(c ** (d / 2) for c in THRESHOLDS)
    curve.plot([], [], " ", label=f"chance level $c^{{d/2}}$: at most {chance:.0e}")
    curve.set(xlabel=r"means per training point $m=M/N$", ylabel=r"share of copies, $d_1^2\leq c\,d_2^2$",
              title=rf"$d={d}$, $K={K}$, $N={N}$, $v={v:g}$; means start from training points",
              xlim=(0.45, 1.01), ylim=(-0.03, 1.05))  # fmt: skip
    curve.legend(loc="upper left", fontsize=8)

    mine = [one for one in mine if one["at"]["v"] == 1]
    groups = list(dict.fromkeys((name(one["at"]), one["at"]["steps"]) for one in mine))
    error.axhspan(-0.03, 0.03, color="0.5", alpha=0.15, linewidth=0)
    error.axhline(0, color="0.5", linewidth=0.8)
    for one in mine:
        j = one["index"] if one["index"] is not None else 0
        at = groups.index((name(one["at"]), one["at"]["steps"])) + 0.17 * (j - 1.5)
        low, high = (np.clip(one[k] - one["predicted"], -1, 1) for k in ("low", "high"))
        gap = one["measured"] - one["predicted"]
        error.errorbar(at, gap, yerr=[[gap - low], [high - gap]], color=COLOURS[j], marker="o", markersize=4.5,
                       elinewidth=1)  # fmt: skip
    repeated = [text for text, _ in groups]
    labels = [f"{t}, {s} steps" if repeated.count(t) > 1 else t for t, s in groups]
    if len(groups) > 3:
        error.set_xticks(range(len(groups)), labels, rotation=30, ha="right", rotation_mode="anchor", fontsize=8.5)
    else:
        error.set_xticks(range(len(groups)), labels)
    error.set(xlabel=r"$(d, K, N)$", ylabel=r"$m_{1/2}$ measured $-$ closed form (bar: accepted predictions)",
              title=verdict_note(verdicts, TRANSITION.id), xlim=(-0.6, len(groups) - 0.4),
              ylim=(-0.13, 0.13))  # fmt: skip
    error.text(0.02, 0.02, "band: width claimed, .03 (.05 at c = 1/4)", transform=error.transAxes, fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
