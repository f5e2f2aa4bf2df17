"""From which rank do tokens attend to themselves? A typical one from 2 log N_1 on, all of them from (4/log 2) log N on.

Left: probability that all tokens of the first layer pass, against the rank; lines: pairs counted as a Poisson variable.
Middle: the same curves shifted by the rank p50 of one half: one Gumbel curve, whose width does not depend on N. Right:
the fraction of tokens that pass, against p/log N_1: curves of all sizes cross at (2, 1/2).
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.claims.statistics import clopper_pearson
from lab.plot import COLOURS, measured_points, verdict_note
from lab.systems.attention_only import theory
from lab.systems.attention_only.laws.boundaries import EXACT_BOUNDARY, PASSING_FRACTION, TYPICAL_BOUNDARY


def ranks(step):
    """Ranks from 1.2 log N_1 over both boundaries, every one up to 3 log N_1."""
    def axis(f):
        log_n, middle = np.log(f.per_class), theory.exact_rank(f.heads, f.per_class)
        low = np.arange(int(1.2 * log_n), int(3 * log_n))
        return [*low.tolist(), *range(int(3 * log_n), int(middle) + 10, step)]
    return axis


def preset(sizes, step, replicates):
    grid = Grid(heads=2, per_class=sizes, rank=ranks(step), replicates=replicates)
    near = Grid(heads=2, per_class=sizes, rank=lambda f: [int(c * np.log(f.per_class)) for c in (1.5, 2, 2.5)],
                replicates=replicates)  # fmt: skip
    return {EXACT_BOUNDARY.id: grid, TYPICAL_BOUNDARY.id: grid, PASSING_FRACTION.id: near}


STUDY = Study(
    id="attention_only/aot-finite-size",
    laws=(EXACT_BOUNDARY, TYPICAL_BOUNDARY, PASSING_FRACTION),
    title="Finite size: when a typical token, and when every token, attends to itself",
    presets={
        "smoke": preset([64, 128], 2, 16),
        "default": preset([64, 256, 1024], 2, 24),
        "paper": preset([64, 128, 256, 512, 1024], 1, 400),
    },
)


@STUDY.figure(ncols=3, size=(13, 4.4))
def draw(axes, rows, verdicts):
    every, collapse, typical = axes
    shifted = np.linspace(-9, 10, 200)
    collapse.plot(shifted, 0.5 ** (2 ** (-shifted / 2)), color="0.2", label=r"$2^{-2^{-(p-p_{50})/2}}$")
    for (n, part), colour, marker in zip(rows.groupby("per_class"), COLOURS, "osD^v", strict=False):
        heads, middle = int(part["heads"].iloc[0]), theory.exact_rank(int(part["heads"].iloc[0]), int(n))
        groups = part.groupby("rank")["all"]
        mean, count = groups.mean(), int(groups.count().max())
        low, high = clopper_pearson(groups.sum().to_numpy(), count, 0.05)
        bars = np.maximum([mean - low, high - mean], 0)
        style = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 4, "markerfacecolor": "white"}
        found = [v for v in verdicts if v["law"] == EXACT_BOUNDARY.id and v["at"] and v["at"]["per_class"] == n]
        label = f"$N={heads * n}$: $p_{{50}}={found[0]['measured']:.1f}$, predicted {middle:.1f}"
        every.errorbar(mean.index, mean, yerr=bars, elinewidth=1, label=label, **style)
        line = np.linspace(rows["rank"].min(), rows["rank"].max(), 200)
        every.plot(line, [theory.all_pass_probability(heads, int(n), p) for p in line], color=colour)
        every.axvline(32 / 9 * np.log(heads * n), color=colour, linestyle=":", linewidth=1)
        collapse.errorbar(mean.index - middle, mean, yerr=bars, elinewidth=1, label=f"$N={heads * n}$", **style)
        near = part[part["rank"] <= 4 * np.log(n)].assign(c=part["rank"] / np.log(n))
        measured_points(typical, near, x="c", y="passing", label=f"$N_1={n}$", **{**style, "linestyle": "none"})
        c = np.linspace(1, 4, 200)
        typical.plot(c, theory.passing_fraction(int(n), c * np.log(n)), color=colour)
    every.text(0.02, 0.62, "dotted:\n" r"$\frac{32}{9}\,\log N$," "\nwhere the published\ninterval opens", fontsize=8,
               transform=every.transAxes)  # fmt: skip
    every.set(xlabel="rank $p$", ylabel="P(all tokens attend to themselves)", ylim=(-0.03, 1.35), yticks=[0, 0.5, 1],
              title="All tokens")  # fmt: skip
    every.legend(loc="upper left", title=verdict_note(verdicts, EXACT_BOUNDARY.id), title_fontsize=8, fontsize=8)
    collapse.set(xlabel=r"$p-p_{50}(N)$,  $p_{50}\sim 2\,\log_2(N N_1)$", xlim=(-9, 10), ylim=(-0.03, 1.03),
                 title="Collapse: a Gumbel curve")  # fmt: skip
    collapse.legend(loc="upper left")
    typical.axhline(0.5, color="0.6", linewidth=0.8)
    typical.axvline(theory.TYPICAL_TOKEN, color="0.6", linewidth=0.8)
    typical.set(xlabel=r"$c_1=p/\log N_1$", ylabel="fraction of tokens that attend to themselves", ylim=(-0.03, 1.03),
                title="A typical token", xlim=(1, 4))  # fmt: skip
    notes = "\n".join(verdict_note(verdicts, law.id) for law in (TYPICAL_BOUNDARY, PASSING_FRACTION))
    typical.legend(loc="lower right", title=notes, title_fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
