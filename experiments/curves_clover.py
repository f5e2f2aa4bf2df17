r"""Clover curves: when does depth tell the windings of a curve apart? Strand by strand, with one separation function.

Left: the mode that changes from winding to winding against L Delta_1/(3 pi), Delta_1 the angle to the next winding, for
several numbers of windings and distances; lines, the sum over strands. Middle: all such modes of one curve over depth,
and the mode of the windings themselves, which depth fits long before. Right: the kernel between all points of a curve
with five windings, without its floor: to a shallow network a point looks like its neighbours on all windings.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.data.curves import orbit_angle
from lab.models.angle_kernels import skeleton
from lab.plot import COLOURS, verdict_note
from lab.systems.curves import theory
from lab.systems.curves.laws.clover import CLOVER_AT_DEPTH, CLOVER_SLOWDOWN

SETTINGS = ((5, 0.004), (8, 0.01), (8, 1e-4), (12, 0.02))


def preset(settings, modes, z):
    one = [Grid(windings=[m], square=[c2], mode=[1]) for m, c2 in settings]
    return {
        CLOVER_AT_DEPTH.id: sum(one[1:], start=one[0]) + Grid(windings=[8], square=[0.01], mode=modes),
        CLOVER_SLOWDOWN.id: Grid(windings=[2, 5, 8], mode=[1], z=z),
    }


STUDY = Study(
    id="curves/clover",
    laws=(CLOVER_AT_DEPTH, CLOVER_SLOWDOWN),
    title="When depth tells the windings of a curve apart",
    presets={
        "smoke": preset(SETTINGS[:3], [1, 2, 4], [0.5]),
        "default": preset(SETTINGS, [1, 2, 3, 4], [0.05, 0.2, 0.5]),
        "paper": preset((*SETTINGS, (3, 0.001), (12, 1e-4)), list(range(1, 8)), np.geomspace(0.03, 0.6, 8).tolist()),
    },
)


@STUDY.figure(nrows=2, ncols=3, size=(14.5, 4.9), width_ratios=(1.15, 1.15, 0.62))
def draw(axes, rows, verdicts):
    figure, grid = axes[0, 0].figure, axes[0, 0].get_gridspec()
    for ax in axes[:, :2].ravel():
        ax.remove()
    rows = rows[rows["measurement"].str.endswith(":windings_through_depth")]
    draw_windings(figure.add_subplot(grid[:, 0]), rows[rows["mode"] == 1], verdicts)
    one = rows[(rows["windings"] == 8) & (rows["square"] == 0.01)]
    draw_modes(figure.add_subplot(grid[:, 1]), one.sort_values("mode"), verdicts)
    draw_kernels(axes[:, 2])


def array(row, name):
    return np.asarray(row[name], dtype=float)


def draw_windings(ax, rows, verdicts):
    for (_, row), colour, marker in zip(rows.iterrows(), COLOURS, "osD^v<", strict=False):
        m, c2 = int(row["windings"]), row["square"]
        scale = 8 * np.sqrt(c2 + (1 - c2) * m**2) / 3
        nearest = theory.strand_angles(m, c2)[0]
        line = np.geomspace(0.01, 10, 200)
        depth = 3 * np.pi * line / nearest
        shown = (depth >= 10) & (depth <= 2000)
        value = theory.winding_eigenvalue(1, m, c2, depth[shown])
        ax.plot(line[shown], scale * value, color=colour, linewidth=1)
        ax.plot(array(row, "distance"), scale * array(row, "eigenvalue"), marker, color=colour, markersize=4,
                markerfacecolor="white", label=rf"$m={m},\ c_1^2={c2:g},\ \Delta_1={nearest:.3f}$")  # fmt: skip
    ax.axvline(1, color="0.8", linewidth=0.8, zorder=0)
    ax.plot([], [], color="0.4", linewidth=1, label=r"$-\sum_s\cos\frac{2\pi s}{m}\,H(L\Delta_s/3\pi)$")
    ax.set(xscale="log", yscale="log", xlabel=r"$L\,\Delta_1/(3\pi)$, distance to the next winding",
           ylabel=r"$\frac{8v}{3}\,\lambda_1/n$")  # fmt: skip
    title = "The mode that changes slowest from winding to winding\n" + verdict_note(verdicts, CLOVER_AT_DEPTH.id)
    ax.set_title(title, fontsize=9)
    ax.legend(loc="lower right", fontsize=8)


def draw_modes(ax, rows, verdicts):
    m, c2 = int(rows.iloc[0]["windings"]), rows.iloc[0]["square"]
    for (_, row), colour in zip(rows.iterrows(), COLOURS, strict=False):
        depths, mode = array(row, "depths"), int(row["mode"])
        line = np.geomspace(depths[0], depths[-1], 100)
        ax.plot(line, theory.winding_eigenvalue(mode, m, c2, line), color=colour, linewidth=1)
        ax.plot(depths, array(row, "eigenvalue"), "o", color=colour, markersize=4, markerfacecolor="white",
                label=f"mode {mode}")  # fmt: skip
    ax.plot(depths, array(row, "common"), "s", color="black", markersize=4, markerfacecolor="white",
            label=f"mode {m}: once around each winding")  # fmt: skip
    at = 3 * np.pi / theory.strand_angles(m, c2)[0]
    ax.axvline(at, color="0.8", linewidth=0.8, zorder=0)
    ax.text(at * 1.04, 3e-3, r"$L\Delta_1=3\pi$", fontsize=8, color="0.4")
    ax.plot([], [], color="0.4", linewidth=1, label="sum over strands")
    ax.set(xscale="log", yscale="log", xlabel="depth $L$", ylabel=r"eigenvalue $\lambda_q/n$", ylim=(2e-3, 4))
    title = rf"Modes of one curve, $m={m}$, $c_1^2={c2:g}$" + "\n" + verdict_note(verdicts, CLOVER_SLOWDOWN.id)
    ax.set_title(title, fontsize=9)
    ax.legend(loc="upper left", fontsize=8, ncols=2)


def draw_kernels(axes, windings=5, square=0.004, points=500):
    place = np.arange(points)
    nu = orbit_angle({1: square, windings: 1 - square}, 2 * np.pi * place / points)
    depths = (20, 500)
    for ax, depth, row in zip(axes, depths, skeleton(nu, depths), strict=True):
        above = np.maximum((row - row.min()) / (row.max() - row.min()), 0.05)  # the logarithm of 0 would be a hole
        ax.imshow(above[place[:, None] - place], cmap="magma", norm="log", origin="lower")
        distance = depth * theory.strand_angles(windings, square)[0] / (3 * np.pi)
        ax.set_title(rf"$L={depth}$, $L\Delta_1/(3\pi)={distance:.2g}$", fontsize=8.5)
        ax.set(xticks=[], yticks=[], ylabel="$t'$")
    axes[1].set_xlabel(rf"$t$ along the curve, {windings} windings")


if __name__ == "__main__":
    STUDY.cli()
