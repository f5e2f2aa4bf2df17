"""When does a learned class collapse? Spinodal and Maxwell line of MCR², measured by gradient ascent.

For each class fraction x the regulariser grows along tau = lambda/alpha. Ascent started from large features keeps the
class until the spinodal tau_c(x), although from the Maxwell line tau_*(x) on it would be worth more to drop it.
Initialisation: equal singular values above the upper branch, random orthogonal subspaces, generic perturbation 1e-3.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import located, residuals, theory_line, verdict_note
from lab.systems.mcr2 import theory
from lab.systems.mcr2.laws import MAXWELL, SPINODAL


def taus(start, stop, count):
    """Values of tau from `start` to `stop` times the spinodal of the point's class fraction.

    The grids below have the spinodal midway between two values: on a value, the last bit would decide the bracket.
    """
    return lambda f: (theory.spinodal(f.first / f.n) * np.linspace(start, stop, count)).tolist()


STUDY = Study(
    id="mcr2/phase-diagram",
    laws=(SPINODAL, MAXWELL),
    title="A class collapses at the spinodal, not where collapse becomes optimal",
    presets={
        "smoke": Grid(dim=8, n=30, first=[1, 2, 3, 5, 8, 10, 12, 15, 18], rank=1, tau=taus(0.796, 1.076, 36),
                      steps=1000)
        + Grid(dim=4, n=24, first=6, rank=1, eps=[0.2, 2.0], tau=taus(0.31, 1.09, 40), steps=1000),
        "default": Grid(dim=16, n=96, first=[1, 2, 4, 6, 9, 12, 18, 24, 32, 40, 48, 56], rank=1, classes=[2, 4],
                        tau=taus(0.7975, 1.0575, 53), steps=2000)
        + Grid(dim=8, n=48, first=12, rank=2, classes=3, eps=[0.2, 2.0], tau=taus(0.51, 1.07, 29), steps=2000)
        + Grid(dim=4, n=24, first=6, rank=1, eps=[0.1, 1.0], tau=taus(0.51, 1.07, 29), steps=2000),
        "paper": Grid(dim=100, n=2000, first=[20, 50, 100, 200, 400, 700, 1000], rank=10, classes=[2, 10],
                      tau=taus(0.8425, 1.0575, 44), steps=3000, replicates=4),
    },
)  # fmt: skip


def fraction(at):
    """Class fraction x of a verdict's point."""
    return at["first"] / at["n"]


@STUDY.figure(ncols=3, size=(12.5, 4.2), width_ratios=(1.15, 1, 1))
def draw(axes, rows, verdicts):
    phase, branch, error = axes

    x = np.linspace(0.004, 0.66, 300)
    spinodal, maxwell = theory.spinodal(x), theory.maxwell(x)
    phase.fill_between(x, 0, maxwell, color="#0072B2", alpha=0.10, linewidth=0)
    phase.fill_between(x, maxwell, spinodal, color="#E69F00", alpha=0.22, linewidth=0)
    phase.plot(x, spinodal, color="#D55E00", label=r"spinodal $\tau_c=(1-\sqrt{x})/(1+\sqrt{x})$")
    phase.plot(x, maxwell, color="#0072B2", linestyle="--", label=r"Maxwell line $\tau_*$")
    located(phase, verdicts, "mcr2/spinodal", x=fraction, color="#D55E00", label="measured: class collapses")
    located(phase, verdicts, "mcr2/maxwell", x=fraction, color="#0072B2", marker="s", markerfacecolor="white",
            label="measured: class worth nothing")  # fmt: skip
    phase.text(0.05, 0.17, "class is kept,\nglobal optimum", fontsize=8.5)
    phase.text(0.36, 0.60, "only collapsed", fontsize=8.5)
    line = {"arrowstyle": "-", "lw": 0.7}
    phase.annotate("metastable", (0.30, 0.272), (0.36, 0.42), fontsize=8.5, arrowprops=line)
    phase.set(xlabel=r"class fraction $x=N_k/N$", ylabel=r"$\tau=\lambda/\alpha$, $\alpha=d/(N\epsilon^2)$",
              xlim=(0, 0.66), ylim=(0, 1), title="Phase diagram")  # fmt: skip
    phase.legend(loc="upper right")

    quarter = rows[np.isclose(rows["first"] / rows["n"], 0.25)]
    theory_line(branch, SPINODAL, quarter, x="tau", color="0.2", label=r"$u_+(x,\tau)$, $x=1/4$")
    for i, ((d, n, eps, k), part) in enumerate(quarter.groupby(["dim", "n", "eps", "classes"])):
        mean = part.groupby("tau")["u"].mean()
        branch.plot(mean.index, mean, "o^sDv<>ph"[i % 9], markersize=3, markerfacecolor="none", linestyle="none",
                    label=rf"$d={d},N={n},K={k},\epsilon={eps:g}$")  # fmt: skip
    branch.axvline(theory.spinodal(0.25), color="#D55E00", linewidth=0.8)
    branch.axvline(theory.maxwell(0.25), color="#0072B2", linewidth=0.8, linestyle="--")
    branch.set(xlabel=r"$\tau=\lambda/\alpha$", ylabel=r"largest $u=\alpha\sigma^2$ of the class after ascent",
               title="Data collapse at x = 1/4", xlim=(0.26, None), ylim=(-0.05, 1.6))  # fmt: skip
    branch.legend(fontsize=7.5, loc="lower left")

    located(error, verdicts, "mcr2/spinodal", x=fraction, relative=True, color="#D55E00",
            label=verdict_note(verdicts, "mcr2/spinodal"))  # fmt: skip
    located(error, verdicts, "mcr2/maxwell", x=lambda at: fraction(at) + 0.004, relative=True, color="#0072B2",
            marker="s", markerfacecolor="white", label=verdict_note(verdicts, "mcr2/maxwell"))  # fmt: skip
    residuals(error, r"measured / predicted $\tau$ (bar: accepted predictions)")
    error.set(xlabel=r"class fraction $x=N_k/N$", title="Residuals: grid step and finite time", ylim=(0.97, 1.03))
    error.legend(loc="upper right", fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
