r"""Spectrum of a deep network's kernel on a circle: a logarithm of the depth for low modes, the cusp for high ones.

Left: eigenvalues lambda_j/n for depths from 10 to 3000 against the closed form; marks, where j = L r/(3 pi) and its two
regimes meet. Middle: all depths and radii on one function of x = 3 pi j/(L r). Right: what is left, with and without
the term of order 1/L.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.curves import theory
from lab.systems.curves.laws.spectrum import SPECTRUM_AT_DEPTH, SPECTRUM_CLOSED_FORM

DEPTHS = (10, 30, 100, 300, 1000, 3000)


def preset(depths, radii, modes):
    return {
        SPECTRUM_AT_DEPTH.id: Grid(r=radii, depth=depths),
        SPECTRUM_CLOSED_FORM.id: Grid(r=radii, mode=modes, shallowest=[30]),
    }


STUDY = Study(
    id="curves/spectrum",
    laws=(SPECTRUM_AT_DEPTH, SPECTRUM_CLOSED_FORM),
    title="Spectrum of the kernel of deep networks on a circle",
    presets={
        "smoke": preset([10, 30, 100, 300], [0.3], [1, 10]),
        "default": preset(list(DEPTHS), [0.3, 0.6], [1, 3, 10, 20]),
        "paper": preset([*DEPTHS, 50, 200, 500, 2000], [0.2, 0.3, 0.45, 0.6, 0.9], [1, 2, 3, 5, 10, 15, 20]),
    },
)


@STUDY.figure(ncols=3, size=(15, 4.8))
def draw(axes, rows, verdicts):
    rows = rows[rows["measurement"].str.endswith(":modes_at_depth")].sort_values(["r", "depth"])
    draw_modes(axes[0], rows[rows["r"] == rows["r"].min()], verdicts)
    draw_collapse(axes[1], rows)
    draw_errors(axes[2], rows, verdicts)


def modes(row):
    """Modes and their eigenvalues."""
    return np.asarray(row["modes"], dtype=float), np.asarray(row["eigenvalue"], dtype=float)


def draw_modes(ax, rows, verdicts):
    for (_, row), colour in zip(rows.iterrows(), COLOURS, strict=False):
        j, measured = modes(row)
        line = np.geomspace(1, j[-1], 200)
        ax.plot(line, theory.closed_spectrum(line, row["depth"], row["r"]), color=colour)
        ax.plot(j, measured, "o", color=colour, markersize=3.5, markerfacecolor="white",
                label=f"$L={row['depth']:.0f}$")  # fmt: skip
        at = row["depth"] * row["r"] / (3 * np.pi)
        if at > 1:
            ax.plot(at, theory.closed_spectrum(at, row["depth"], row["r"]), "|", color="black", markersize=13)
    ax.plot([], [], "|", color="black", markersize=10, label=r"$j=Lr/(3\pi)$")
    ax.plot([], [], color="0.4", label="closed form")
    ax.set(xscale="log", yscale="log", xlabel="mode $j$", ylabel=r"eigenvalue $\lambda_j/n$")
    title = f"Circle of radius $r={rows['r'].iloc[0]:g}$\n" + verdict_note(verdicts, SPECTRUM_AT_DEPTH.id)
    ax.set_title(title, fontsize=9)
    ax.legend(loc="lower left", fontsize=8)


def draw_collapse(ax, rows):
    x = np.geomspace(3e-3, 300, 300)
    for i, (_, row) in enumerate(rows[rows["depth"] >= 30].iterrows()):
        j, measured = modes(row)
        ax.plot(3 * np.pi * j / (row["depth"] * row["r"]), 8 * row["r"] / 3 * measured, "osD^v<>"[i % 7],
                color=COLOURS[i % 7], markersize=3, markerfacecolor="none", markeredgewidth=0.7)  # fmt: skip
    ax.plot(x, 8 / 3 * theory.closed_spectrum(x, 3 * np.pi, 1.0), color="black", label="closed form", zorder=1)
    low, high = x[x < 0.7], x[x > 1.5]
    ax.plot(low, 8 / 3 * theory.logarithmic_spectrum(low, 3 * np.pi, 1.0), color="0.45", linestyle=":", linewidth=1.6,
            label=r"$\log\frac{1}{x}+\frac{3}{2}-\gamma$: depth fits modes, slowly")  # fmt: skip
    ax.plot(high, 6 / high**2, color="0.45", linestyle="--", linewidth=1.2, label=r"$6/x^2$: the cusp")
    ax.set(xscale="log", yscale="log", xlim=(3e-3, 300), xlabel=r"$x=3\pi j/(L\,r)$",
           ylabel=r"$\frac{8\,r}{3}\,\lambda_j/n$")  # fmt: skip
    ax.set_title("All depths from 30 on, all radii: one function\n", fontsize=9)
    ax.legend(loc="lower left", fontsize=8)


def draw_errors(ax, rows, verdicts):
    rows = rows[rows["r"] == rows["r"].max()]
    for (_, row), colour in zip(rows.iterrows(), COLOURS, strict=False):
        j, measured = modes(row)
        ratios = [measured / theory.closed_spectrum(j, row["depth"], row["r"], corrected=c) - 1 for c in (False, True)]
        ax.plot(j, 100 * ratios[0], color=colour, linestyle=":", linewidth=1)
        ax.plot(j, 100 * ratios[1], color=colour, label=f"$L={row['depth']:.0f}$")
    ax.axhline(0, color="0.6", linewidth=0.8, zorder=1)
    ax.plot([], [], color="0.4", linestyle=":", label="closed form")
    ax.plot([], [], color="0.4", label="with the term of order $1/L$")
    ax.set(xscale="log", ylim=(-20, 20), xlabel="mode $j$", ylabel="measured over predicted, less 1 (%)")
    ax.set_yscale("symlog", linthresh=0.1)
    ticks = [-10, -1, -0.1, 0, 0.1, 1, 10]
    ax.set_yticks(ticks, labels=[f"{t:g}" for t in ticks])
    title = f"What is left, $r={rows['r'].iloc[0]:g}$\n" + verdict_note(verdicts, SPECTRUM_CLOSED_FORM.id)
    ax.set_title(title, fontsize=9)
    ax.legend(loc="lower right", fontsize=8, ncols=2)


if __name__ == "__main__":
    STUDY.cli()
