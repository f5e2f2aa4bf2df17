r"""Deeper is better for certificates, but not for gradient descent: their size, and a ratio of eigenvalues, over depth.

Left: size n|g| of the certificate of labels +-1 on two circles, against 16 r/(3 H): like 1/L² while depth cannot tell
the curves apart, like 1/log L afterwards. Middle: growth of 16 r/(3 n|g|) per unit of log L; 1 is the sharp constant.
Right: lambda_-/lambda_+, which decides how many steps a stable gradient descent takes: the best depth is finite, near
5.72/Delta.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.curves import theory
from lab.systems.curves.laws.separation import CERTIFICATE_NORM, OPTIMAL_DEPTH, SEPARATION_MAP


def preset(separations, deepest, apart, radii):
    return {
        SEPARATION_MAP.id: Grid(r=[0.5], separation=separations, deepest=[deepest]),
        CERTIFICATE_NORM.id: Grid(r=radii, separation=apart),
        OPTIMAL_DEPTH.id: Grid(r=radii),
    }


STUDY = Study(
    id="curves/certificate",
    laws=(SEPARATION_MAP, CERTIFICATE_NORM, OPTIMAL_DEPTH),
    title="Size of certificates over depth, and the best depth for gradient descent",
    presets={
        "smoke": preset([0.3, 0.1, 0.03, 0.01], 1000, [0.3], [0.5]),
        "default": preset([0.3, 0.1, 0.03, 0.01], 3000, [0.2, 0.3, 0.5], [0.3, 0.5, 0.7]),
        "paper": preset([0.3, 0.1, 0.03, 0.01, 0.003], 3000, [0.2, 0.3, 0.4, 0.5], [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
    },
)


@STUDY.figure(ncols=3, size=(15, 4.8), width_ratios=(1.1, 0.9, 1.1))
def draw(axes, rows, verdicts):
    names = rows["measurement"].str
    draw_size(axes[0], rows[names.endswith(":through_depth")], verdicts)
    draw_growth(axes[1], rows[names.endswith(":doubled_depth")], verdicts)
    draw_ratio(axes[2], rows[names.endswith(":through_depth")], rows[names.endswith(":around_best")], verdicts)


def array(row, name):
    return np.asarray(row[name], dtype=float)


def draw_size(ax, rows, verdicts):
    for (_, row), colour in zip(rows.sort_values("separation", ascending=False).iterrows(), COLOURS, strict=False):
        depths, r, separation = array(row, "depths"), row["r"], row["separation"]
        line = np.geomspace(depths[0], depths[-1], 200)
        ax.plot(line, theory.certificate_size(r, separation, line), color=colour)
        ax.plot(depths, 1 / array(row, "difference"), "o", color=colour, markersize=4, markerfacecolor="white",
                label=rf"$\Delta={separation:g}$")  # fmt: skip
        at = 3 * np.pi / separation
        ax.plot(at, theory.certificate_size(r, separation, at), "|", color=colour, markersize=16, markeredgewidth=1.5)
    ax.plot([], [], "o", color="0.4", markersize=4, markerfacecolor="white", label=r"measured, $1/\lambda_-$")
    ax.plot([], [], color="0.4", label=r"predicted, $16r/(3H(L\Delta/3\pi))$")
    ax.plot([], [], "|", color="0.4", markersize=12, label=r"$L=3\pi/\Delta$")
    depths = array(rows.iloc[0], "depths")
    ax.set(xscale="log", yscale="log", xlim=(depths[0] * 0.9, depths[-1] * 1.1), xlabel="depth $L$",
           ylabel=r"size of the certificate, $n\,|g|$")  # fmt: skip
    ax.set_title(f"Certificates of labels $\\pm1$, $r={rows['r'].iloc[0]:g}$\n"
                 + verdict_note(verdicts, SEPARATION_MAP.id), fontsize=9)  # fmt: skip
    ax.legend(loc="upper right", fontsize=8)


def draw_growth(ax, rows, verdicts):
    radii, separations = (sorted(rows[name].unique()) for name in ("r", "separation"))
    for _, row in rows.iterrows():
        colour, marker = COLOURS[separations.index(row["separation"])], "osD^v<"[radii.index(row["r"])]
        ax.plot(array(row, "z"), array(row, "growth"), marker, color=colour, markersize=4, markerfacecolor="white")
        z = np.geomspace(4, 64, 100)
        depth = 3 * np.pi * z / row["separation"]
        ends = [16 * row["r"] / 3 * theory.difference_eigenvalue(row["r"], row["separation"], d, corrected=True)
                for d in (depth, depth / 2)]  # fmt: skip
        ax.plot(z, (ends[0] - ends[1]) / np.log(2), color=colour, linewidth=0.8)
    for separation, colour in zip(separations, COLOURS, strict=False):
        ax.plot([], [], color=colour, label=rf"$\Delta={separation:g}$")
    for r, marker in zip(radii, "osD^v<", strict=False):
        ax.plot([], [], marker, color="0.4", markersize=4, markerfacecolor="white", label=f"$r={r:g}$")
    ax.axhline(1, color="black", linestyle="--", linewidth=1, label=r"predicted limit: $n|g|\simeq\frac{16r}{3\log L}$")
    ax.set(xscale="log", xlabel=r"$z=L\,\Delta/(3\pi)$",
           ylabel=r"$16r/(3n|g|)$: growth per unit of $\log L$")  # fmt: skip
    ax.set_xticks([5, 10, 20, 50], labels=["5", "10", "20", "50"])
    ax.minorticks_off()
    ax.set_title("Growth tends to 1; lines: the two next orders\n" + verdict_note(verdicts, CERTIFICATE_NORM.id),
                 fontsize=9)  # fmt: skip
    ax.legend(loc="lower right", fontsize=8)


def draw_ratio(ax, rows, best, verdicts):
    for (_, row), colour in zip(rows.sort_values("separation", ascending=False).iterrows(), COLOURS, strict=False):
        depths, r, separation = array(row, "depths"), row["r"], row["separation"]
        ratio = array(row, "difference") / array(row, "sum")
        line = np.geomspace(depths[0], depths[-1], 200)
        ax.plot(line, theory.eigenvalue_ratio(r, separation, line), color=colour)
        ax.plot(depths, ratio, "o", color=colour, markersize=4, markerfacecolor="white",
                label=rf"$\Delta={separation:g}$")  # fmt: skip
        at = 3 * np.pi * theory.BEST_SEPARATION / separation
        if depths[0] < at < depths[-1]:
            ax.plot(at, theory.eigenvalue_ratio(r, separation, at), "*", color="black", markersize=10, zorder=4)
    ax.plot([], [], "*", color="black", markersize=10, label=r"predicted best depth, $L\Delta\to5.72$")
    row = best[best["r"] == 0.5].iloc[0]
    places = array(row, "place") * 3 * np.pi
    note = "measured $L\\Delta$ of the maximum at $r=0.5$:\n" + ", ".join(
        rf"{value:.2f} ($\Delta={3 * np.pi * theory.BEST_SEPARATION / depth:.2g}$)"
        for value, depth in list(zip(places, array(row, "depth"), strict=True))[::3]
    )
    ax.text(0.03, 0.03, note, transform=ax.transAxes, fontsize=8, color="0.3")
    ax.set(xscale="log", yscale="log", xlabel="depth $L$", ylabel=r"$\lambda_-/\lambda_+$", ylim=(1e-4, 0.6))
    ax.set_title("Steps of gradient descent grow like $\\lambda_+/\\lambda_-$; lines: closed forms\n"
                 + verdict_note(verdicts, OPTIMAL_DEPTH.id), fontsize=9)  # fmt: skip
    ax.legend(loc="upper right", fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
