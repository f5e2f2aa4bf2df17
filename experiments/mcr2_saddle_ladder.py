"""Every critical point of MCR² with three classes: height against index, and the rungs on which gradient ascent ends.

A census by least squares (random starts, every index) is set against the complete list of critical points. With three
classes each is an orthogonal sum of lines, shared by some but not all classes (effective fraction: the sum of theirs),
and of planes in which all three classes have lines that close a polygon at double angles (effective fraction 1/2); each
part sits on the upper or the lower branch. No other frame is irreducible: the third projection is a polynomial in the
other two, and two projections split into lines and planes.

Beside it F along gradient ascent from small Gaussian features: it slows down near saddles and ends on the rungs of
index 0. lambda is a fraction of the smallest lambda_c(x_k), heights are in nats.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.mcr2 import theory
from lab.systems.mcr2.laws.atlas import ATLAS_THREE_CLASSES
from lab.systems.mcr2.laws.fusion_frames import CRITICAL_POINT_INDEX, CRITICAL_POINTS, LOCAL_MAXIMA
from lab.systems.mcr2.laws.maxima import VALUE_LADDER

MARKS = {
    "orthogonal": ("s", COLOURS[0], "orthogonal classes"),
    "aligned": ("D", COLOURS[1], "classes that share lines"),
    "polygon": ("^", COLOURS[2], "a polygon in a plane"),
}
SHOWN = SIZES, DIM, FRACTION = (3, 3, 3), 3, 0.25  # the setting that the figure shows; the others enter the last panel
ON_CENSUS = (CRITICAL_POINTS, ATLAS_THREE_CLASSES, LOCAL_MAXIMA, CRITICAL_POINT_INDEX)  # judged on the same rows


def settings(starts, replicates, dim3, dim2):
    """Census grids: the shown setting, and others with `dim3`, `dim2` pairs (class sizes, fractions of lambda_c)."""
    shown = Grid(sizes=[SIZES], dim=DIM, fraction=FRACTION, starts=starts, replicates=replicates)
    for dim, (sizes, fractions) in ((3, dim3), (2, dim2)):
        shown += Grid(sizes=sizes, dim=dim, fraction=fractions, starts=starts, replicates=replicates)
    return shown


def preset(starts, replicates, dim3, dim2, runs):
    census = settings(starts, replicates, dim3, dim2)
    climbs = Grid(dim=DIM, n=sum(SIZES), first=SIZES[0], second=SIZES[1], fraction=FRACTION, steps=400, records=400,
                  energy=[0.1, 0.15, 0.2, 0.3], replicates=runs)  # fmt: skip
    return {law.id: census for law in ON_CENSUS} | {VALUE_LADDER.id: climbs}


STUDY = Study(
    id="mcr2/saddle-ladder",
    laws=(*ON_CENSUS, VALUE_LADDER),
    title="The complete ladder of critical points, found by census and climbed by gradient ascent",
    presets={
        "smoke": preset(60, 3, ([(2, 3, 4)], 0.25), ([(2, 2, 3), (3, 4, 2)], [0.2, 1.2]), 6),
        "default": preset(
            100, 16, ([(2, 3, 4)], [0.25]), ([(2, 2, 3), (3, 4, 2), (1, 2, 3)], [0.2, 0.3, 0.6, 1.2]), 24
        ),
        "paper": preset(
            200, 50, ([(2, 3, 4), (2, 2, 2), (1, 3, 3)], [0.1, 0.2, 0.3, 0.6, 1.2]),
            ([(2, 2, 3), (3, 4, 2), (1, 2, 3), (2, 4, 4)], [0.1, 0.2, 0.3, 0.6, 1.2]), 100,
        ),
    },
)  # fmt: skip


@cache
def ladder_of(sizes: tuple[int, ...], dim: int, fraction: float) -> tuple[theory.Atlas, np.ndarray]:
    """The atlas of a setting, and the numbers of its entries that differ in index or height."""
    tau = fraction * float(np.min(theory.spinodal(np.array(sizes) / sum(sizes))))
    found = theory.atlas(sizes, dim, tau=tau)
    return found, found.levels()


def census_points(rows):
    """Points of the census, by setting (class sizes, dimension, fraction): heights, indices, misses, kinds.

    The miss is the distance to the nearest level of the same index (infinite without one), the kind that of the level.
    """
    found = {}
    census = rows[rows["measurement"].str.endswith(":census")]
    for (sizes, dim, fraction), part in census[census["sizes"].map(len) == 3].groupby(["sizes", "dim", "fraction"]):
        entries, levels = ladder_of(sizes, int(dim), float(fraction))
        kinds = entries.kind[levels]
        keep = np.concatenate(part["found"].to_list())
        value, index = (np.concatenate(part[name].to_list())[keep] for name in ("value", "index"))
        miss = np.abs(entries.value[levels] - value[:, None])
        miss[entries.index[levels] != index[:, None]] = np.inf
        found[(sizes, int(dim), float(fraction))] = (value, index, miss.min(axis=1), kinds[miss.argmin(axis=1)])
    return found


@STUDY.figure(ncols=3, size=(13, 4.8), width_ratios=(1.4, 1, 0.95))
def draw(axes, rows, verdicts):
    ladder, climb, error = axes
    found = census_points(rows)
    setting = SHOWN if SHOWN in found else next(iter(found))  # overrides on the command line may leave it out
    entries, levels = ladder_of(*setting)
    heights, indices, kinds = entries.value[levels], entries.index[levels], entries.kind[levels]
    rungs = heights[indices == 0]
    low, high = heights.min() - 0.06 * np.ptp(heights), heights.max() + 0.30 * np.ptp(heights)

    for kind, (marker, colour, label) in MARKS.items():
        own = kinds == kind
        ladder.plot(indices[own], heights[own], marker, color=colour, markerfacecolor="white", markersize=8,
                    markeredgewidth=1.2, label=f"theory: {label}", zorder=2)  # fmt: skip
    value, index, *_ = found[setting]
    where, count = np.unique(np.stack([index, np.round(value, 9)], axis=1), axis=0, return_counts=True)
    ladder.scatter(*where.T, s=4 + 3 * np.log2(count), color="black", zorder=3,
                   label=f"census: {len(value)} points on {len(where)} of {len(levels)} levels")  # fmt: skip
    ladder.set(xlabel="index: directions of positive curvature", ylabel=r"$F$ (nats)", ylim=(low, high),
               title=f"Critical points, {described(setting)}")  # fmt: skip
    ladder.legend(loc="upper right")

    for v in heights:
        climb.axhline(v, color="0.88", linewidth=0.5, zorder=0)
    for v in rungs:
        ladder.axhline(v, color=COLOURS[0], linewidth=0.7, alpha=0.6, zorder=1)
        climb.axhline(v, color=COLOURS[0], linewidth=1.2, alpha=0.8, zorder=1)
    runs = rows[rows["measurement"].str.endswith(":ascent_limit")]
    for run in runs[runs["replicate"] < 6].itertuples():
        climb.plot(run.path_steps[1:], run.path[1:], color="black", linewidth=0.7, alpha=0.55, zorder=2)
    settled = runs[runs["converged"].astype(bool)]
    off = max((min(abs(v - r) for r in rungs) for v in settled["value"]), default=np.nan)
    climb.plot([], [], color="black", linewidth=0.7, label=f"ascent: {len(settled)} limits, within {off:.0e} of a rung")
    climb.plot([], [], color=COLOURS[0], label="theory: rungs, sums of $h(u_+)$ (index 0)")
    climb.plot([], [], color="0.75", linewidth=0.7, label="theory: saddles")
    climb.set(xscale="log", xlabel=r"step of gradient ascent (length $1/\alpha$)", ylabel=r"$F$ (nats)", xlim=(2, 400),
              ylim=(low, high), title="Gradient ascent from small Gaussian features")  # fmt: skip
    climb.legend(loc="upper left")

    _, index, miss, kind = (np.concatenate(column) for column in zip(*found.values(), strict=True))
    for shift, (name, (marker, colour, _)) in zip((-0.22, 0, 0.22), MARKS.items(), strict=True):
        own = kind == name
        jitter = np.random.default_rng(0).uniform(-0.08, 0.08, own.sum())
        error.plot(index[own] + shift + jitter, np.maximum(miss[own], 1e-17), marker, markersize=2, color=colour,
                   alpha=0.4, markeredgewidth=0, rasterized=True)  # fmt: skip
    gaps = []
    for listed, own in (ladder_of(*one) for one in found):
        same = np.diff(listed.index[own]) == 0
        gaps.append(np.diff(listed.value[own])[same].min())
    error.axhline(min(gaps), color="0.3", linewidth=0.8, linestyle="--")
    error.text(-0.4, min(gaps) * 1.6, "closest two levels of one index", fontsize=8)
    error.set(yscale="log", xlabel="index: directions of positive curvature", ylim=(4e-18, 1e-3), xlim=(-0.5, None),
              ylabel="distance to nearest level of the same index (nats)",
              title=f"{len(miss)} points, {len(found)} settings: {np.sum(miss > 1e-9)} off the levels")  # fmt: skip
    notes = [verdict_note(verdicts, law.id) for law in STUDY.laws]
    error.text(0.03, 0.72, "\n".join(notes), transform=error.transAxes, va="top", fontsize=7.5)


def described(setting) -> str:
    sizes, dim, fraction = setting
    return rf"$N=({','.join(map(str, sizes))})$, $d={dim}$, $\lambda={fraction:g}\,\lambda_{{max}}$"


if __name__ == "__main__":
    STUDY.cli()
