r"""When does a deep network tell two curves apart? One function of L Delta/(3 pi), at every radius and depth.

Left: eigenvalue lambda_-/n of the mode that tells two circles apart, over depth L and smallest angle Delta; white,
where it passes H(1), measured; black, the predicted L = 3 pi/Delta. Middle: three radii on one curve H, next to the
laws for z << 1 and z >> 1; below, what is left, with and without the corrections of order 1/L and Delta². Right:
empirical kernels of random networks of finite width, against the limit kernel at the same points.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study, log_grid
from lab.plot import COLOURS, measured_points, verdict_note
from lab.systems.curves import theory
from lab.systems.curves.laws.certificate import FINITE_SEPARATION, SEPARATIONS, Finite, limiting_modes
from lab.systems.curves.laws.separation import CROSSOVER_DEPTH, SEPARATION_MAP

RADII = (0.2, 0.35, 0.5)


def preset(separations, deepest, width, depths, replicates):
    fixed = {"r": list(RADII), "deepest": deepest}
    return {
        SEPARATION_MAP.id: Grid(separation=log_grid(0.003, 0.6, separations), **fixed),
        CROSSOVER_DEPTH.id: Grid(separation=log_grid(0.02, 0.2, max(4, separations // 3)), **fixed),
        FINITE_SEPARATION.id: Grid(width=[width], depth=depths, replicates=replicates),
    }


STUDY = Study(
    id="curves/separation",
    laws=(SEPARATION_MAP, CROSSOVER_DEPTH, FINITE_SEPARATION),
    title="When a deep network tells two curves apart: the separation function",
    presets={
        "smoke": preset(8, 1000, 256, [2, 4], 24),
        "default": preset(30, 3000, 512, [2, 4, 8, 16], 32),
        "paper": preset(60, 3000, 8192, [2, 4, 8, 16, 32, 64], 32),
    },
)


@STUDY.figure(nrows=2, ncols=3, size=(15, 5.4), width_ratios=(1.15, 1.1, 1), height_ratios=(2.3, 1))
def draw(axes, rows, verdicts):
    finite = rows["measurement"].str.endswith(":finite_modes")
    figure, grid = axes[0, 0].figure, axes[0, 0].get_gridspec()
    for column in (0, 2):
        for ax in axes[:, column]:
            ax.remove()
    pairs = rows[~finite]
    draw_map(figure.add_subplot(grid[:, 0]), pairs[pairs["r"] == RADII[-1]], verdicts)
    draw_collapse(axes[0, 1], axes[1, 1], pairs, verdicts)
    draw_finite(figure.add_subplot(grid[:, 2]), rows[finite], verdicts)


def arrays(rows, name):
    """Array observable of all rows, stacked."""
    return np.stack([np.asarray(value, dtype=float) for value in rows[name]])


def draw_map(ax, rows, verdicts):
    rows = rows.sort_values("separation").drop_duplicates("separation")
    depths, separations = arrays(rows, "depths")[0], rows["separation"].to_numpy(dtype=float)
    image = ax.pcolormesh(depths, separations, arrays(rows, "difference"), cmap="viridis", shading="gouraud",
                          norm="log", rasterized=True)  # fmt: skip
    image.set_clim(1e-3, None)
    ax.figure.colorbar(image, ax=ax, pad=0.02, aspect=35, extend="min", label=r"$\lambda_-/n$")
    level = 49 / 30 - np.log(2)
    crossings = [np.interp(np.log(level), np.log(scaled), np.log(depths)) for scaled in arrays(rows, "scaled")]
    inside = [level < scaled[-1] and level > scaled[0] for scaled in arrays(rows, "scaled")]
    ax.plot(np.exp(crossings)[inside], separations[inside], "o", color="white", markersize=5, markeredgecolor="black",
            label=r"measured: $\frac{16r}{3}\lambda_-/n$ passes $H(1)=.940$")  # fmt: skip
    line = np.geomspace(depths[0], depths[-1], 50)
    ax.plot(line, 3 * np.pi / line, color="black", label=r"predicted: $L\Delta=3\pi$")
    best = theory.BEST_SEPARATION
    ax.plot(line, 3 * np.pi * best / line, color="black", linestyle=":",
            label=r"best depth for descent, $L\Delta=5.72$")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="depth $L$", ylabel=r"smallest angle between the curves, $\Delta$",
           xlim=depths[[0, -1]], ylim=separations[[0, -1]])  # fmt: skip
    ticks = [t for t in (30, 100, 300, 1000, 3000) if t <= depths[-1]]
    ax.set_xticks(ticks, labels=map(str, ticks))
    ax.minorticks_off()
    ax.set_title(f"Two circles of radius {RADII[-1]:g}: told apart from $L=3\\pi/\\Delta$ on\n"
                 + verdict_note(verdicts, CROSSOVER_DEPTH.id), fontsize=9)  # fmt: skip
    legend = ax.legend(loc="lower left", fontsize=8, frameon=True, framealpha=0.85, edgecolor="none")
    legend.get_frame().set_facecolor("white")


def draw_collapse(top, bottom, rows, verdicts):
    line = np.geomspace(3e-3, 300, 300)
    for i, ((r, part), colour, marker) in enumerate(zip(rows.groupby("r"), COLOURS, "osD", strict=False)):
        # every radius at other depths, or the last would hide the first
        z, scaled, depth = (arrays(part, name)[:, i::9].ravel() for name in ("z", "scaled", "depths"))
        top.plot(z, scaled, marker, color=colour, markersize=3, markerfacecolor="none", markeredgewidth=0.7,
                 label=f"$r={r:g}$")  # fmt: skip
        separation = 3 * np.pi * z / depth
        corrected = 16 * r / 3 * theory.difference_eigenvalue(r, separation, depth, corrected=True)
        deep = depth >= 100
        leading = 100 * (scaled / theory.separation_function(z) - 1)
        bottom.plot(z[deep], leading[deep], marker, color=colour, markersize=2, markerfacecolor="none",
                    markeredgewidth=0.6, alpha=0.8)  # fmt: skip
        bottom.plot(z[deep], 100 * (scaled / corrected - 1)[deep], ".", color=colour, markersize=2.5)
    top.plot(line, theory.separation_function(line), color="black", linewidth=1.6, label="$H(z)$", zorder=1)
    small, large = line[line < 0.2], line[line > 1.2]
    top.plot(small, small**2 * (3 * np.log(2 / small) - 13 / 4), color="0.45", linestyle="--", linewidth=1,
             label=r"$z^2(3\log\frac{2}{z}-\frac{13}{4})$")  # fmt: skip
    top.plot(large, np.log(large) + 1.5 - np.log(2), color="0.45", linestyle=":", linewidth=1.4,
             label=r"$\log z+\frac{3}{2}-\log2$")  # fmt: skip
    top.axvline(1, color="0.8", linewidth=0.8, zorder=0)
    top.set(xscale="log", yscale="log", xlim=(3e-3, 300), ylim=(1e-4, 10), ylabel=r"$\frac{16\,r}{3}\,\lambda_-/n$",
            xticklabels=[])  # fmt: skip
    top.set_title("All depths, angles and radii on one curve\n" + verdict_note(verdicts, SEPARATION_MAP.id), fontsize=9)
    top.legend(loc="lower right", fontsize=8)
    bottom.axhline(0, color="0.6", linewidth=0.8, zorder=1)
    bottom.plot([], [], "s", color="0.3", markersize=3, markerfacecolor="none", label="over $H$")
    bottom.plot([], [], ".", color="0.3", label=r"over $H+K/L+G$")
    bottom.set(xscale="log", xlim=(3e-3, 300), ylim=(-3.2, 3.2), ylabel="off by (%)",
               xlabel=r"$z=L\,\Delta/(3\pi)$;  below, $L\geq100$ alone")  # fmt: skip
    bottom.legend(loc="lower left", fontsize=8, ncols=2)


def draw_finite(ax, rows, verdicts):
    width, r = int(rows["width"].iloc[0]), float(rows["r"].iloc[0])
    exploded = rows.assign(**{str(i): arrays(rows, "difference")[:, i] for i in range(SEPARATIONS.size)})
    line = np.arange(1, int(rows["depth"].max()) + 1)
    modes = np.array([limiting_modes(Finite(r=r, width=max(width, 16 * int(L)), depth=int(L))) for L in line])
    for i, (separation, colour) in enumerate(zip(SEPARATIONS, COLOURS, strict=False)):
        ax.plot(line, modes[:, i], color=colour, label=rf"$\Delta={separation:g}$")
        ax.plot(line, theory.difference_eigenvalue(r, separation, line), color=colour, linestyle=":", linewidth=1)
        measured_points(ax, exploded, x="depth", y=str(i), color=colour, markersize=4.5, markerfacecolor="white")
    ax.plot([], [], "o", color="0.4", markerfacecolor="white", markersize=4.5, label=f"random networks, $n={width}$")
    ax.plot([], [], color="0.4", label="limit kernel, the same 24 points")
    ax.plot([], [], color="0.4", linestyle=":", label=r"$\frac{3}{16r}H$, meant for deep networks")
    ax.set(xscale="log", yscale="log", xlabel="depth $L$", ylabel=r"$\lambda_-/n$", ylim=(1e-5, 1.5))
    ticks = [int(t) for t in sorted(rows["depth"].unique())]
    ax.set_xticks([1, *ticks], labels=["1", *map(str, ticks)])
    ax.minorticks_off()
    ax.set_title(f"Finite width: mean of {len(rows) // len(ticks)} networks, 95 % intervals\n"
                 + verdict_note(verdicts, FINITE_SEPARATION.id), fontsize=9)  # fmt: skip
    ax.legend(loc="lower right", fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
