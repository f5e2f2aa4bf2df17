"""Where must training start for a diffusion model to copy its training points? Shares of copies from eight starts.

Means start at training points, moved by noise or half-way to the class mean, or without knowledge of the points: fresh
samples of the truth, class means, Gaussian means. Everything else is the same: points, noise, optimiser, sampler.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, measured_points, verdict_note
from lab.systems.memorization import theory
from lab.systems.memorization.laws.initialisation import INIT_DEPENDENCE, NAMES, Start, share_kept
from lab.systems.memorization.theory.initialisation import BOUNDARY


def starts(replicates, **fields):
    """The eight starts, each a grid of its own."""
    grid = None
    for point, centre, noise in NAMES:
        one = Grid(replicates, point=point, centre=centre, noise=noise, **fields)
        grid = one if grid is None else grid + one
    return grid


STUDY = Study(
    id="memorization/initialisation",
    laws=(INIT_DEPENDENCE,),
    title="Without first means near the training points there is no memorization transition",
    presets={
        "smoke": starts(6),
        "default": starts(6, K=3, N=50, shares=[(0.5, 0.6, 0.7, 0.76, 0.8, 0.84, 0.88, 0.92)]),
        "paper": starts(8, K=3, N=[50, 100, 200], steps=50_000, rate=1e-3, draws=20,
                        shares=[tuple(round(0.4 + 0.02 * i, 2) for i in range(28))]),
    },
)  # fmt: skip


@STUDY.figure(ncols=2, size=(12.5, 4.8), width_ratios=(1.15, 1))
def draw(axes, rows, verdicts):
    curve, kept = axes
    main = rows[rows["N"] == rows["N"].min()]
    d, K, N, v = (main.iloc[0][k].item() for k in ("d", "K", "N", "v"))
    m = np.linspace(0.45, 1, 80)
    curve.plot(m, theory.memorization_curve(m, d, K, N, v=v), color="0.3", label="closed form, training points")
    names = list(NAMES.items())
    for i, (where, label) in enumerate(names):
        part = main[np.all([np.isclose(main[k], x) for k, x in zip(("point", "centre", "noise"), where, strict=True)],
                           axis=0)]  # fmt: skip
        if part.empty:
            continue
        long = part.explode(["m", "copies"])
        long = long.assign(m=long["m"].astype(float) + 0.0016 * (i - 3.5), share=long["copies"].astype(float))
        style = {"color": COLOURS[i % len(COLOURS)], "marker": "osD^vP*X"[i], "markersize": 5}
        measured_points(curve, long, x="m", y="share", label=label, linewidth=0.8, linestyle="-", **style)
        p = Start(d=d, K=K, N=N, point=where[0], centre=where[1], noise=where[2], shares=tuple(part.iloc[0]["shares"]))
        last = long[long["m"] == long["m"].max()]["share"]
        kept.plot(np.full(len(last), share_kept(p)), last, linestyle="none", markerfacecolor="none", **style)
    curve.axhline(0.5, color="0.6", linewidth=0.7, zorder=1)
    curve.set(xlabel=r"means per training point $m=M/N$", ylabel=r"share of copies, $c=1/9$ (95 % over data sets)",
              title=rf"$d={d}$, $K={K}$, $N={N}$; the legend says where the means start", xlim=(0.45, 1.01),
              ylim=(-0.04, 1.04))  # fmt: skip
    curve.legend(fontsize=8.5, loc="upper left")
    kept.axvline(BOUNDARY, color="0.3", linestyle="--", linewidth=1)
    kept.axhline(0.5, color="0.6", linewidth=0.7, zorder=1)
    kept.text(BOUNDARY - 0.012, 0.98, "boundary of the law", fontsize=8.5, ha="right")
    kept.set(xlabel="share of points with their own first mean nearest (quadrature)",
             ylabel=rf"share of copies at $m={max(main.iloc[0]['m']):.2f}$, each data set",
             title=verdict_note(verdicts, INIT_DEPENDENCE.id), xlim=(-0.02, 1.03), ylim=(-0.04, 1.04))  # fmt: skip


if __name__ == "__main__":
    STUDY.cli()
