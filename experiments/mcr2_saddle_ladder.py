"""Every critical point of MCR² with three classes: height against index, and the rungs on which gradient ascent ends.

A census by least squares (random starts, every index) is set against the complete list of critical points. With three
classes each is an orthogonal sum of lines, shared by some but not all classes (effective fraction: the sum of theirs),
and of planes in which all three classes have lines that close a polygon at double angles (effective fraction 1/2); each
part sits on the upper or the lower branch. That no other irreducible frame exists is the classification of three
projections with a scalar weighted sum: their graph is D4, whose representations have dimension 1 and 2.

Beside it F along gradient ascent from small Gaussian features: it slows down near saddles and ends on the rungs of
index 0. lambda is a fraction of the smallest lambda_c(x_k), heights are in nats.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, combinations_with_replacement

import numpy as np

from lab import Grid, Study
from lab.data.fusion_frames import aligned_frame, polygon_frame
from lab.plot import COLOURS, verdict_note
from lab.systems.mcr2 import theory
from lab.systems.mcr2.laws.fusion_frames import CRITICAL_POINT_INDEX, CRITICAL_POINTS, LOCAL_MAXIMA
from lab.systems.mcr2.laws.maxima import VALUE_LADDER

MARKS = {
    "orthogonal": ("s", COLOURS[0], "orthogonal classes"),
    "aligned": ("D", COLOURS[1], "classes that share lines"),
    "polygon": ("^", COLOURS[2], "a polygon in a plane"),
}
SHOWN = SIZES, DIM, FRACTION = (3, 3, 3), 3, 0.25  # the setting that the figure shows; the others enter the last panel


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
    return {law.id: census for law in (CRITICAL_POINTS, LOCAL_MAXIMA, CRITICAL_POINT_INDEX)} | {VALUE_LADDER.id: climbs}


STUDY = Study(
    id="mcr2/saddle-ladder",
    laws=(CRITICAL_POINTS, LOCAL_MAXIMA, CRITICAL_POINT_INDEX, VALUE_LADDER),
    title="The complete ladder of critical points, found by census and climbed by gradient ascent",
    presets={
        "smoke": preset(60, 4, ([(2, 3, 4)], 0.25), ([(2, 2, 2), (3, 4, 2)], [0.2, 1.2]), 6),
        "default": preset(
            100, 20, ([(2, 3, 4)], [0.25]), ([(2, 2, 2), (3, 4, 2), (1, 2, 3)], [0.2, 0.3, 0.6, 1.2]), 24
        ),
        "paper": preset(
            200, 50, ([(2, 3, 4), (2, 2, 2), (1, 3, 3)], [0.1, 0.2, 0.3, 0.6, 1.2]),
            ([(2, 2, 2), (3, 4, 2), (1, 2, 3), (4, 4, 4)], [0.1, 0.2, 0.3, 0.6, 1.2]), 100,
        ),
    },
)  # fmt: skip


@cache
def atlas(sizes: tuple[int, ...], dim: int, fraction: float) -> dict[tuple[int, float], tuple[float, str]]:
    """Critical points of three classes: {(index, rounded height): (height, kind of the least orthogonal part)}."""
    x = np.array(sizes) / sum(sizes)
    tau = fraction * float(np.min(theory.spinodal(x)))
    frames = [("orthogonal", aligned_frame(3, [k])) for k in range(3)]
    frames += [("aligned", aligned_frame(3, pair)) for pair in combinations(range(3), 2)]
    if 2 * max(sizes) < sum(sizes):
        frames.append(("polygon", polygon_frame(sizes, range(3))))
    parts = []
    for kind, frame in frames:
        theta, zero = frame.effective_fraction(sizes), np.zeros((frame.dim, frame.dim))
        projections = np.stack([zero if basis is None else basis @ basis.T for basis in frame.bases])
        if tau < theory.spinodal(theta):
            parts += [(kind, frame, theta, theory.Eigenspace(projections, sign)) for sign in (1, -1)]
    found: dict[tuple[int, float], tuple[float, str]] = {}
    for count in range(dim + 1):
        for word in combinations_with_replacement(parts, count):
            dims = [frame.dim for _, frame, _, _ in word]
            ranks = np.sum([frame.ranks for _, frame, _, _ in word], axis=0)
            if sum(dims) > dim or np.any(ranks > sizes):
                continue
            spaces = [space for *_, space in word]
            value = theory.fusion_frame_value(dims, [t for *_, t, _ in word], [s.sign for s in spaces], tau=tau)
            index = theory.fusion_frame_index(spaces, x, dim, tau=tau)
            kind = max((kind for kind, *_ in word), key=list(MARKS).index, default="orthogonal")
            found.setdefault((index, round(value, 9)), (value, kind))
    return found


def census_points(rows):
    """Points of the census, by setting (class sizes, dimension, fraction): arrays of heights, indices, misses.

    The miss is the distance to the nearest level of the same index (infinite without one).
    """
    found = {}
    census = rows[rows["measurement"].str.endswith(":census")]
    for (sizes, dim, fraction), part in census[census["sizes"].map(len) == 3].groupby(["sizes", "dim", "fraction"]):
        levels = atlas(sizes, int(dim), float(fraction))
        keep = np.concatenate(part["found"].to_list())
        value, index = (np.concatenate(part[name].to_list())[keep] for name in ("value", "index"))
        rungs = {i: np.array([v for (j, _), (v, _) in levels.items() if j == i]) for i in np.unique(index)}
        miss = [np.min(np.abs(rungs[i] - v), initial=np.inf) for i, v in zip(index, value, strict=True)]
        found[(sizes, int(dim), float(fraction))] = (value, index, np.array(miss))
    return found


@STUDY.figure(ncols=3, size=(13, 4.8), width_ratios=(1.4, 1, 0.95))
def draw(axes, rows, verdicts):
    ladder, climb, error = axes
    found = census_points(rows)
    setting = SHOWN if SHOWN in found else next(iter(found))  # overrides on the command line may leave it out
    levels = atlas(*setting)
    heights = np.array([v for v, _ in levels.values()])
    rungs = sorted({v for (index, _), (v, _) in levels.items() if index == 0})
    low, high = heights.min() - 0.06 * np.ptp(heights), heights.max() + 0.30 * np.ptp(heights)

    for kind, (marker, colour, label) in MARKS.items():
        at = [(index, v) for (index, _), (v, one) in levels.items() if one == kind]
        ladder.plot(*np.transpose(at), marker, color=colour, markerfacecolor="white", markersize=8, markeredgewidth=1.2,
                    label=f"theory: {label}", zorder=2)  # fmt: skip
    value, index, _ = found[setting]
    where, count = np.unique(np.stack([index, np.round(value, 9)], axis=1), axis=0, return_counts=True)
    ladder.scatter(*where.T, s=4 + 3 * np.log2(count), color="black", zorder=3,
                   label=f"census: {len(value)} points on {len(where)} of {len(levels)} levels")  # fmt: skip
    ladder.set(xlabel="index: directions of positive curvature", ylabel=r"$F$ (nats)", ylim=(low, high),
               title=f"Critical points, {described(setting)}")  # fmt: skip
    ladder.legend(loc="upper right")

    for v, _ in levels.values():
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

    gaps = []
    for i, (one_setting, (_, index, miss)) in enumerate(found.items()):
        shift = (i - (len(found) - 1) / 2) / (1.6 * len(found))
        error.plot(index + shift, np.clip(miss, 1e-17, 0.1), ".", markersize=3, color=COLOURS[i % 7], alpha=0.5,
                   rasterized=True)  # fmt: skip
        for one in np.unique(index):
            gaps += np.diff(np.sort([v for (j, _), (v, _) in atlas(*one_setting).items() if j == one])).tolist()
    total, missed = sum(len(m) for *_, m in found.values()), sum(int(np.sum(m > 1e-9)) for *_, m in found.values())
    error.axhline(min(gaps), color="0.3", linewidth=0.8, linestyle="--")
    error.text(-0.4, min(gaps) * 1.6, "closest two levels of one index", fontsize=8)
    error.set(yscale="log", xlabel="index: directions of positive curvature", ylim=(4e-18, 1e3), xlim=(-0.5, None),
              ylabel="distance to nearest level of the same index (nats)",
              title=f"{total} points, {len(found)} settings: {missed} off the levels")  # fmt: skip
    notes = [verdict_note(verdicts, law.id) for law in STUDY.laws]
    error.text(0.02, 0.985, "\n".join(notes), transform=error.transAxes, va="top", fontsize=7.5)


def described(setting) -> str:
    sizes, dim, fraction = setting
    return rf"$N=({','.join(map(str, sizes))})$, $d={dim}$, $\lambda={fraction:g}\,\lambda_{{max}}$"


if __name__ == "__main__":
    STUDY.cli()
