"""What is wrong with a game of encoder and decoder while it is trained? Its certificate along training.

CTRL-MSP with Adam for both players; the follower makes T steps for each of the leader's. From left to right: the
leader's gap to its exact equilibrium value; its two parts, overlap of the classes and uneven spectra (energies are at
their bound); the follower's gap; the residual of features and of data outside the span of what comes back. Features do,
data need not: dashed, a random row space (1 - d_z/d_x of the squares).
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.ctrl import theory
from lab.systems.ctrl.laws.timescale import RECORDS, SLOW_FOLLOWER, Learned

STUDY = Study(
    id="ctrl/certificate",
    laws=(SLOW_FOLLOWER,),
    title="Certificate of a closed-loop game along training: which gap is left, for followers of different speeds",
    presets={
        "smoke": Grid(games=12, inner=[(1, 10)], steps=60),
        "default": Grid(class_sizes=[(200, 200, 200)], ranks=[(2, 3, 4)], d_x=20, spare=6, eps=1.0, alpha=0.1, games=12,
                        inner=[(1, 10, 30)], steps=200),
        "paper": Grid(class_sizes=[(500, 500, 500)], ranks=[(3, 4, 5)], d_x=50, spare=28, eps=1.0, alpha=[0.1, 0.3],
                      games=256, inner=[(1, 10, 100, 1000)], steps=600),
    },
)  # fmt: skip


@STUDY.figure(ncols=4, size=(16, 4.3))
def draw(axes, rows, verdicts):
    row = rows.iloc[0]
    p = Learned(**{name: row[name] for name in Learned.model_fields})
    value, steps = p.value, np.arange(RECORDS + 1) * p.steps / RECORDS
    found = {name: np.array(np.asarray(row[name]).tolist(), dtype=float)
             for name in ("reduction", "overlap", "loop", "data", "features")}  # fmt: skip
    gap = value - found["reduction"]
    spectra = gap - found["overlap"]
    leader, parts, follower, back = axes
    for T, colour, i in zip(p.inner, COLOURS, range(len(p.inner)), strict=False):
        name = f"$T={T}$"
        band(leader, steps, gap[i], color=colour, label=name)
        band(follower, steps[1:], found["loop"][i][1:], color=colour, label=name)
        parts.plot(steps, found["overlap"][i].mean(axis=1), color=colour, label=f"{name}: overlap of classes")
        parts.plot(steps, spectra[i].mean(axis=1), color=colour, linestyle="--", label=f"{name}: uneven spectra")
        back.plot(steps, found["data"][i].mean(axis=1), color=colour, marker="s", markersize=3, label=f"{name}: data")
        back.plot(steps, found["features"][i].mean(axis=1), color=colour, marker="o", markersize=3, linestyle=":",
                  label=f"{name}: features")  # fmt: skip
    leader.axhline(0, color="black", linewidth=0.8)
    sizes = ", ".join(map(str, p.class_sizes))
    leader.set(xlabel="leader steps", ylabel=r"leader's gap $V^*-\Delta R(Z)$ (nats)",
               title=f"Leader: $V^*={value:.4g}$ nats\n$n_j={sizes}$; $d_x={p.d_x}$, $d_z={p.d_z}$")  # fmt: skip
    leader.legend(title=f"follower steps; mean of {p.games}\ngames, band: all of them", title_fontsize=8)
    parts.axhline(0, color="black", linewidth=0.8)
    parts.set(xlabel="leader steps", ylabel="part of the leader's gap (nats)", title="What the leader's gap is made of")
    parts.legend(fontsize=7.5)
    follower.set(yscale="log", xlabel="leader steps", title="Follower\n" + verdict_note(verdicts, SLOW_FOLLOWER.id),
                 ylabel=r"follower's gap $\sum_j\mathrm{dist}(Z_j,\hat Z_j)$ (nats)")  # fmt: skip
    follower.legend()
    back.axhline(np.sqrt(theory.mean_squared_residual(p.d_z, p.d_x)), color="0.4", linestyle="--", linewidth=1,
                 label=r"$\sqrt{1-d_z/d_x}$: random rows, $G=F^+$")  # fmt: skip
    back.set(xlabel="leader steps", ylabel="share outside the span of what comes back", ylim=(0, 1),
             title="Features come back, data do not")  # fmt: skip
    back.legend(fontsize=7, ncols=2, loc="center", bbox_to_anchor=(0.58, 0.3))


def band(ax, steps, values, *, color, label):
    """Mean over games, and the range of all."""
    ax.fill_between(steps, values.min(axis=1), values.max(axis=1), color=color, alpha=0.15, linewidth=0)
    ax.plot(steps, values.mean(axis=1), color=color, marker="o", markersize=3, label=label)


if __name__ == "__main__":
    STUDY.cli()
