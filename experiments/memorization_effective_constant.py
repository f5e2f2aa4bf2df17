"""The constant in the published law for partial memorisers: no constant, and not between 1 and 2.

One cluster of N points in d dimensions, a denoiser that memorises M = .8 N of them. Its excess loss over the full
memoriser is C (1 - M/N) d v; C by quadrature and by Monte Carlo, against the signal-to-noise ratio and the dimension.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import verdict_note
from lab.systems.memorization import theory
from lab.systems.memorization.laws import EXCESS_CONSTANT, PMEM_EXCESS, PMEM_EXCESS_PRINTED

COUNTS = [4, 16, 64]  # points of the denoiser in the cluster, of N = 5, 20, 80
COLOUR = {3: "#0072B2", 10: "#56B4E9", 30: "#009E73", 100: "#D55E00", 400: "#CC79A7"}  # of a dimension


def preset(dims, snrs, replicates, edges):
    """C at all dimensions and signal-to-noise ratios; the printed law where its constant is wrong for certain."""
    grid = Grid(K=1, N=[5, 20, 80], d=dims, psi=snrs, M=lambda f: 4 * f.N // 5, replicates=replicates)
    high = {"d": [d for d in dims if d >= 30], "psi": [psi for psi in snrs if psi >= 1]}
    wrong = Grid(K=1, N=20, M=16, replicates=replicates, **high)
    return {PMEM_EXCESS.id: grid, PMEM_EXCESS_PRINTED.id: wrong, EXCESS_CONSTANT.id: Grid(d=edges, count=COUNTS)}


def powers(low, high, count):
    return np.geomspace(low, high, count).round(4).tolist()


STUDY = Study(
    id="memorization/effective-constant",
    laws=(PMEM_EXCESS, PMEM_EXCESS_PRINTED, EXCESS_CONSTANT),
    title="The constant of the partial memoriser's excess runs from 1/M to C_inf(d, M): 0.1 to 2, not 1",
    presets={
        "smoke": preset([3, 10, 30, 100], powers(0.01, 30, 6), 12, [30]),
        "default": preset([3, 5, 10, 20, 30, 60, 100, 200, 400], powers(0.01, 30, 12), 24, [10, 30, 100, 200]),
        "paper": preset(
            [2, 3, 4, 5, 7, 10, 14, 20, 30, 40, 50, 70, 100, 140, 200, 300, 400], powers(0.01, 30, 29), 400,
            [8, 10, 14, 20, 30, 50, 100, 200],
        ),
    },
)  # fmt: skip


@STUDY.figure(nrows=2, ncols=3, size=(13, 7.6))
def draw(axes, rows, verdicts):
    found = [one for one in verdicts if one["law"] == PMEM_EXCESS.id and one["at"]]
    image = None
    for column, count in enumerate(COUNTS):
        part = [one for one in found if one["at"]["M"] == count]
        image = surface(axes[0, column], part, count)
        slices(axes[1, column], part, count)
    axes[0, 0].figure.colorbar(image, ax=axes[0, :], label="constant $C$", ticks=[0, 0.5, 1, 1.5, 2], pad=0.01)
    axes[0, 0].figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=7, fontsize=9)
    for ax, law in zip(axes[1], STUDY.laws, strict=True):
        ax.set_title(verdict_note(verdicts, law.id), fontsize=9)


def surface(ax, part, count):
    """Predicted C over signal-to-noise ratio and dimension, with the line C = 1 and where the memoriser collapses."""
    snr, dims = (np.array(sorted({one["at"][name] for one in part})) for name in ("psi", "d"))
    table = np.full((dims.size, snr.size), np.nan)
    for one in part:
        table[np.searchsorted(dims, one["at"]["d"]), np.searchsorted(snr, one["at"]["psi"])] = one["predicted"]
    image = ax.contourf(snr, dims, table, levels=np.linspace(0, 2, 41), cmap="RdBu_r")
    lines = ax.contour(snr, dims, table, levels=[0.5, 1, 1.5, 1.75], colors="black", linewidths=[0.6, 1.8, 0.6, 0.6])
    ax.clabel(lines, fontsize=7.5, fmt="%g")
    d = np.geomspace(dims[0], dims[-1], 100)
    collapse = count ** (2 / d) - 1
    ax.plot(collapse, d, color="black", linestyle=":", linewidth=1.6, label=r"collapse, $\psi v=M^{2/d}-1$")
    ax.set(xscale="log", yscale="log", xlim=(snr[0], snr[-1]), ylim=(dims[0], dims[-1]), title=f"$M={count}$ points",
           xlabel=r"signal-to-noise ratio $\psi v$")  # fmt: skip
    if count == COUNTS[0]:
        ax.set_ylabel("dimension $d$")
        ax.legend(loc="lower left", fontsize=7.8, frameon=True, framealpha=0.8)
    return image


def slices(ax, part, count):
    """C along the signal-to-noise ratio: quadrature, Monte Carlo with accepted intervals, edge, printed band."""
    from scipy.interpolate import PchipInterpolator  # not at the top: `lab list` imports this file

    ax.axhspan(1, 2, color="#E69F00", alpha=0.12, linewidth=0)
    ax.axhline(1, color="#E69F00", linestyle="--", label="published code, $C=1$")
    ax.axhline(2, color="0.6", linewidth=0.8)
    for d in sorted({one["at"]["d"] for one in part} & COLOUR.keys()):
        colour = COLOUR[d]
        mine = sorted((one for one in part if one["at"]["d"] == d), key=lambda one: one["at"]["psi"])
        names = ("predicted", "measured", "low", "high")
        predicted, middle, low, high = (np.array([one[name] for one in mine]) for name in names)
        snr = np.array([one["at"]["psi"] for one in mine])
        fine = np.geomspace(snr[0], snr[-1], 100)
        ax.plot(fine, PchipInterpolator(np.log(snr), predicted)(np.log(fine)), color=colour, label=f"$d={d}$")
        ax.errorbar(snr, middle, [middle - low, high - middle], color=colour, marker="o", linestyle="none",
                    markersize=3.5, elinewidth=1)  # fmt: skip
        edge = theory.nearest_constant(d, count)
        ax.plot([36, 60], [edge, edge], color=colour, linewidth=3, solid_capstyle="butt")
    ax.axhline(1 / count, color="0.6", linestyle=":", linewidth=1)
    ax.text(12, 1 / count + 0.02, "$1/M$", color="0.4", fontsize=8)
    ax.text(36, 2.04, r"$C_\infty$", fontsize=8.5)
    ax.set(xscale="log", ylim=(0, 2.2), xlim=(0.0095, 64), xlabel=r"signal-to-noise ratio $\psi v$")
    if count == COUNTS[0]:
        ax.set_ylabel("constant $C$")


if __name__ == "__main__":
    STUDY.cli()
