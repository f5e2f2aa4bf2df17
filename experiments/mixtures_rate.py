"""What it costs a denoiser not to know the subspace, and how good the plain projection is.

Two orthogonal subspaces of rank p, variance 1, noise s. Top left: mean squared distance of the posterior mean from
the best denoiser that knows the label; lines are the exact double integral, dashes C_p s^(p+2). Top right: distance
from the plain projection on the true subspace, whose exponent is min(4, p+2). Bottom left: measured over predicted.
Bottom right: measured exponents.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, located, measured_points, residuals, verdict_note
from lab.systems.mixtures import theory
from lab.systems.mixtures.laws.projection import (
    EXCESS_EXPONENT,
    LABEL_EXCESS,
    PLAIN_EXPONENT,
    PROJECTION_RATE,
)

MARKERS = "osD^v"


def preset(ranks, noises, replicates, rates, more):
    decays = Grid(p=more, heads=2, s=0.1, replicates=rates)
    return {
        LABEL_EXCESS.id: Grid(p=ranks, heads=2, s=noises, replicates=replicates),
        PROJECTION_RATE.id: Grid(p=[1, 2, 3], heads=2, s=0.1, replicates=rates),
        EXCESS_EXPONENT.id: decays, PLAIN_EXPONENT.id: decays,
    }  # fmt: skip


STUDY = Study(
    id="mixtures/gmm-rate",
    laws=(LABEL_EXCESS, PROJECTION_RATE, EXCESS_EXPONENT, PLAIN_EXPONENT),
    title="The best denoiser of a mixture of subspaces against a known label and against the plain projection",
    presets={
        "smoke": preset([1, 2, 3, 5], np.geomspace(0.03, 1, 6).tolist(), 12, 16, [1, 2, 3]),
        "default": preset([1, 2, 3, 5], np.geomspace(0.02, 1, 14).tolist(), 48, 64, [1, 2, 3, 4, 5, 6]),
        "paper": preset([1, 2, 3, 5, 8], np.geomspace(0.005, 1, 40).tolist(), 400, 400, [1, 2, 3, 4, 5, 6, 7, 8]),
    },
)


@STUDY.figure(nrows=2, ncols=2, size=(11.5, 8.6))
def draw(axes, rows, verdicts):
    (labels, plain), (ratio, exponents) = axes
    rows = rows[rows["measurement"].str.endswith(":excesses")].copy()
    found = np.stack(rows["excess"].to_list()) * (rows["p"] * rows["s"] ** 2).to_numpy()[:, None]
    rows["labels"], rows["plain"] = found.T
    draw_distance(labels, rows, "labels", theory.label_excess)
    line = np.geomspace(rows["s"].min() / 1.2, 1.2, 60)
    for p, colour in zip(sorted(rows["p"].unique()), COLOURS, strict=False):
        small = line[line < 0.6]
        limit = theory.excess_constant(int(p)) * small ** (p + 2)
        labels.plot(small, limit, color=colour, linestyle="--", linewidth=0.9)
    labels.plot([], [], color="0.4", linestyle="--", linewidth=0.9, label=r"$C_p\,s^{p+2}$")
    labels.set(ylabel=r"$E\,|D-D_{\rm label\ known}|^2$", title="Cost of not knowing the subspace")
    labels.legend(loc="lower right", title=verdict_note(verdicts, LABEL_EXCESS.id), title_fontsize=8)
    draw_distance(plain, rows, "plain", theory.plain_excess)
    plain.plot(line, line**2, color="0.6", linestyle=":", label=r"$s^2$, the noise of one direction")
    plain.set(ylabel=r"$E\,|D-P_{\rm label}\,z|^2$",
              title="Distance from the plain projection: $s^3$ for $p=1$, else $s^4$")  # fmt: skip
    plain.legend(loc="lower right")
    draw_ratio(ratio, rows)
    draw_exponents(exponents, verdicts)


def draw_distance(ax, rows, column, of):
    for p, colour, marker in zip(sorted(rows["p"].unique()), COLOURS, MARKERS, strict=False):
        line = np.geomspace(rows["s"].min() / 1.2, 1.2, 32)
        ax.plot(line, [of(int(p), float(s)) for s in line], color=colour)
        measured_points(ax, rows[rows["p"] == p], x="s", y=column, color=colour, marker=marker, markerfacecolor="white",
                        label=f"rank $p={p}$")  # fmt: skip
    least = rows.groupby(["p", "s"])[column].mean().min()
    ax.set(xscale="log", yscale="log", xlabel=r"noise $s$, in units of the signal's standard deviation",
           ylim=(least / 4, 3))  # fmt: skip
    ax.minorticks_off()


def draw_ratio(ax, rows):
    """Measured over predicted cost of unknown labels."""
    residuals(ax)
    rows["ratio"] = [v / theory.label_excess(int(p), float(s)) for p, s, v in zip(rows["p"], rows["s"], rows["labels"],
                                                                                 strict=True)]  # fmt: skip
    ranks = sorted(rows["p"].unique())
    for i, (p, colour, marker) in enumerate(zip(ranks, COLOURS, MARKERS, strict=False)):
        part = rows[rows["p"] == p].copy()
        part["s"] *= 1.025 ** (i - (len(ranks) - 1) / 2)  # side by side
        measured_points(ax, part, x="s", y="ratio", color=colour, marker=marker, markerfacecolor="white",
                        label=f"$p={p}$")  # fmt: skip
    ax.set(xscale="log", xlabel="noise $s$", ylim=(0.8, 1.2), title="Exact at every noise: cost of unknown labels")
    ax.legend(loc="lower right", ncols=len(ranks), title="95 % intervals", title_fontsize=8)


def draw_exponents(ax, verdicts):
    p = np.linspace(0.7, 8.3, 200)
    ax.plot(p, p + 2, color=COLOURS[0], label="unknown labels: $p+2$")
    ax.plot(p, np.minimum(4, p + 2), color=COLOURS[1], label=r"plain projection: $\min(4,\,p+2)$")
    for law, colour, marker in ((EXCESS_EXPONENT, COLOURS[0], "o"), (PLAIN_EXPONENT, COLOURS[1], "s")):
        mine = [{**v, "measured": -v["measured"], "low": -v["high"], "high": -v["low"]} for v in verdicts
                if v["law"] == law.id and v["at"] is not None and v["measured"] is not None]  # fmt: skip
        located(ax, mine, law.id, x=lambda at: at["p"], color=colour, marker=marker, markerfacecolor="white",
                label=verdict_note(verdicts, law.id))  # fmt: skip
    tested = [v["at"]["p"] for v in verdicts if v["law"] == EXCESS_EXPONENT.id and v["at"] is not None]
    ax.set(xlabel="rank $p$", ylabel="exponent of $s$, measured and predicted", title=r"Exponents as $s\to 0$",
           xlim=(0.6, max(tested) + 0.4), ylim=(2, max(tested) + 3.5))  # fmt: skip
    ax.set_xticks(sorted(set(tested)))
    constants = [v for v in verdicts if v["law"] == PROJECTION_RATE.id and v["at"] is not None]
    lines = [rf"$C_{v['at']['p']}={theory.excess_constant(v['at']['p']):.4f}$: measured / predicted "
             rf"{v['measured']:.3f} $\pm$ {v['tolerance']:.3f}" for v in constants
             if v["measured"] is not None and v["tolerance"] is not None]  # fmt: skip
    ax.text(0.97, 0.05, "\n".join(lines), transform=ax.transAxes, ha="right", va="bottom",
            fontsize=8.5, color="0.35")  # fmt: skip
    ax.legend(loc="upper left", fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
