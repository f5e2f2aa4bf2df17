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
from lab.systems.mcr2.laws.value_ladder import VALUE_LADDER

KINDS = {"orthogonal": "classes orthogonal", "aligned": "classes share lines", "polygon": "polygon in a plane"}
MARK = dict(zip(KINDS, (("s", COLOURS[0]), ("D", COLOURS[1]), ("^", COLOURS[2])), strict=True))
SIZES, DIM, FRACTION = (3, 3, 3), 3, 0.25  # the sheet that the figure shows; the others enter the last panel


def sheets(starts, replicates, dim3, dim2):
    """Census grids: the shown sheet, and others with `dim3`, `dim2` pairs (class sizes, fractions of lambda_c)."""
    shown = Grid(sizes=[SIZES], dim=DIM, fraction=FRACTION, starts=starts, replicates=replicates)
    for dim, (sizes, fractions) in ((3, dim3), (2, dim2)):
        shown += Grid(sizes=sizes, dim=dim, fraction=fractions, starts=starts, replicates=replicates)
    return shown


def study_preset(starts, replicates, dim3, dim2, runs):
    census = sheets(starts, replicates, dim3, dim2)
    climbs = Grid(dim=DIM, n=sum(SIZES), first=SIZES[0], second=SIZES[1], fraction=FRACTION, steps=600, records=300,
                  energy=[0.1, 0.3, 1.0, 10.0, 100.0], replicates=runs)  # fmt: skip
    return {law.id: census for law in (CRITICAL_POINTS, LOCAL_MAXIMA, CRITICAL_POINT_INDEX)} | {VALUE_LADDER.id: climbs}


STUDY = Study(
    id="mcr2/saddle-ladder",
    laws=(CRITICAL_POINTS, LOCAL_MAXIMA, CRITICAL_POINT_INDEX, VALUE_LADDER),
    title="The complete ladder of critical points, found by census and climbed by gradient ascent",
    presets={
        "smoke": study_preset(100, 3, ([(2, 3, 4)], 0.25), ([(2, 2, 2), (3, 4, 2)], [0.2, 1.2]), 6),
        "default": study_preset(
            100, 20, ([(2, 3, 4)], [0.25]), ([(2, 2, 2), (3, 4, 2), (1, 2, 3)], [0.2, 0.3, 0.6, 1.2]), 24
        ),
        "paper": study_preset(
            200, 50, ([(2, 3, 4), (2, 2, 2), (1, 3, 3)], [0.1, 0.2, 0.3, 0.6, 1.2]),
            ([(2, 2, 2), (3, 4, 2), (1, 2, 3), (4, 4, 4)], [0.1, 0.2, 0.3, 0.6, 1.2]), 100,
        ),
    },
)  # fmt: skip


@cache
def atlas(sizes: tuple[int, ...], dim: int, fraction: float) -> dict[tuple[float, int], str]:
    """(height, index) of every critical point of three classes, and the kind of its most special part."""
    x = np.array(sizes) / sum(sizes)
    tau = fraction * float(np.min(theory.spinodal(x)))
    parts = []  # (kind, frame)
    for count in (1, 2):
        parts += [("orthogonal" if count == 1 else "aligned", aligned_frame(3, c)) for c in combinations(range(3), count)]
    if 2 * max(sizes) < sum(sizes):
        parts.append(("polygon", polygon_frame(sizes, range(3))))
    letters = []
    for kind, frame in parts:
        theta = frame.effective_fraction(sizes)
        projections = np.stack(
            [np.zeros((frame.dim,) * 2) if basis is None else basis @ basis.T for basis in frame.bases]
        )
        if tau < theory.spinodal(theta):
            letters += [(kind, frame, theta, theory.Eigenspace(projections, sign)) for sign in (1, -1)]
    found = {}
    for size in range(dim + 1):
        for word in combinations_with_replacement(letters, size):
            dims = [frame.dim for _, frame, _, _ in word]
            ranks = np.sum([frame.ranks for _, frame, _, _ in word], axis=0)
            if sum(dims) > dim or np.any(ranks > sizes):
                continue
            value = theory.fusion_frame_value(dims, [t for *_, t, _ in word], [s.sign for *_, s in word], tau=tau)
            index = theory.fusion_frame_index([s for *_, s in word], x, dim, tau=tau)
            kind = max((kind for kind, *_ in word), key=list(KINDS).index, default="orthogonal")
            if kind == "orthogonal" and np.sum(ranks > 0) > 1 and len(word) > 1 and index < 0:
                continue
            found.setdefault((round(value, 12), index), kind)
    return found


def points(rows):
    """Critical points of the census, one per line: sheet, height, index, distance to the atlas (inf: wrong index)."""
    census = rows[rows["measurement"].str.endswith(":census")]
    found = []
    for (sizes, dim, fraction), part in census.groupby(["sizes", "dim", "fraction"]):
        levels = atlas(sizes, int(dim), float(fraction))
        for row in part.itertuples():
            for value, index in zip(row.value[row.found], row.index_[row.found], strict=True):
                same = [abs(value - v) for v, i in levels if i == index]
                found.append(((sizes, int(dim), float(fraction)), value, int(index), min(same, default=np.inf)))
    return found


@STUDY.figure(ncols=3, size=(13, 4.6), width_ratios=(1.35, 1, 0.9))
def draw(axes, rows, verdicts):
    ladder, climb, error = axes
    sheet = (SIZES, DIM, FRACTION)
    levels = atlas(*sheet)
    found = points(rows.rename(columns={"index": "index_"}))
    mine = [p for p in found if p[0] == sheet]
