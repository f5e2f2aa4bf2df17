r"""Universal risk of a softmax head: 4 t R/|N| tends to one, whatever the bigrams, weights, contexts and lengths.

Left: every curve is one random instance. With the value of the first token frozen, and with everything trained on
contexts that differ, all end on the same line after an overshoot that grows with the context length (the sink has not
switched on yet). ReLU weights and Adam leave it: their risk falls exponentially. Right: distance from one, for the
frozen value, in the time unit C² of the predicted first correction C/sqrt t of each instance.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.bigram_backcopy import theory
from lab.systems.bigram_backcopy.laws.relu import RELU_NO_SINK
from lab.systems.bigram_backcopy.laws.risk import UNIVERSAL_RISK, UNIVERSAL_RISK_CORRECTION, UNIVERSAL_RISK_JOINT

ADAM = replace(UNIVERSAL_RISK.control("Adam"), id="bigram_backcopy/universal-risk-under-adam")


def preset(count, joint, contrast, lengths, queries, vocabulary):
    """One instance for each value of the concentration of the bigram laws, judged one by one."""
    heads = {"queries": queries, "vocabulary": vocabulary}

    def spread(n):
        return np.geomspace(1.0, 6.0, n).tolist()

    frozen = Grid(concentration=spread(count), length=lengths, **heads)
    return {
        UNIVERSAL_RISK.id: frozen,
        UNIVERSAL_RISK_CORRECTION.id: frozen,
        UNIVERSAL_RISK_JOINT.id: Grid(concentration=spread(joint), length=lengths, queries=4, vocabulary=7)
        + Grid(concentration=spread(joint), length=lengths, queries=5, vocabulary=8, samples=20, contexts="sequences"),
        RELU_NO_SINK.id: Grid(heard=0.5, concentration=spread(contrast), length=lengths, **heads),
        ADAM.id: Grid(concentration=spread(contrast), length=lengths, **heads),
    }


STUDY = Study(
    id="bigram_backcopy/universal-collapse",
    laws=(UNIVERSAL_RISK, UNIVERSAL_RISK_CORRECTION, UNIVERSAL_RISK_JOINT, RELU_NO_SINK, ADAM),
    title="The risk of a softmax head falls as |N|/(4t), whatever the bigrams, weights and contexts",
    presets={
        "smoke": preset(4, 2, 1, [12], 4, 8),
        "default": preset(20, 8, 2, [12, 24, 48], 6, 10),
        "paper": preset(200, 100, 10, [6, 12, 24, 48], 6, 10),
    },
)


@STUDY.figure(ncols=2, size=(12, 5.0), width_ratios=(1.3, 1))
def draw(axes, rows, verdicts):
    left, right = axes
    names, knobs = rows["measurement"].str, rows["knobs"].str
    adam = names.endswith(":falling") & knobs.contains('"adam": true')
    frozen, joint = names.endswith(":falling") & ~adam, names.endswith(":joint_run")
    task = joint & (rows["contexts"] == "sequences")
    for mask, colour, label in (
        (frozen, COLOURS[0], "softmax, value of the first token frozen"),
        (joint & ~task, COLOURS[2], "softmax, everything trained, random contexts"),
        (task, COLOURS[4], "softmax, everything trained, contexts of the task"),
        (names.endswith(":switched_off"), COLOURS[1], "ReLU weights"),
        (adam, COLOURS[3], r"softmax under Adam ($t$ = rate $\times$ steps)"),
    ):
        for i, (_, row) in enumerate(rows[mask].iterrows()):
            left.plot(row["t"], row["curve"], color=colour, alpha=0.45, linewidth=0.8)
            if i == 0:
                left.plot([], [], color=colour, label=f"{label} ({mask.sum()})")
    left.axhline(1, color="black", linewidth=1.3, linestyle="--", zorder=4, label=r"predicted: $R=|N|/(4t)$")
    left.set(xscale="log", yscale="log", xlim=(1e-2, 1e12), ylim=(1e-3, 100), xlabel="time $t$ of the gradient flow",
             ylabel=r"$4\,t\,R/|N|$   (risk $R$ in nats, $|N|$ queries)",
             title="One line for all bigrams, weights and context lengths")  # fmt: skip
    left.legend(loc="lower right", fontsize=8)

    shades = (COLOURS[5], COLOURS[0], "#003a5c", "black")
    for (length, part), colour in zip(rows[frozen].groupby("length"), shades, strict=False):
        for i, (_, row) in enumerate(part.iterrows()):
            names = ("probabilities", "shares", "values", "lengths")
            P, pi, B, W = (np.array(np.asarray(row[n]).tolist()) for n in names)
            C = theory.universal_correction(P, pi, B[:, 0], W[:, 0])
            right.plot(np.asarray(row["t"]) / C**2, np.abs(np.asarray(row["curve"]) - 1), color=colour, alpha=0.5,
                       linewidth=0.8, label=None if i else f"context length {length}")  # fmt: skip
    x = np.geomspace(1, 1e8, 10)
    right.plot(x, x**-0.5, color="black", linestyle="--", linewidth=1.3, label=r"predicted: $C/\sqrt{t}$", zorder=4)
    words = []
    for power in (8, 9):
        off, own = distances(rows[frozen | joint], 10.0**power), distances(rows[task], 10.0**power)
        words.append(f"at $t=10^{power}$ within 1 %: {np.sum(off < 0.01)} of {off.size},\n"
                     f"  worst {off.max():.4f}; of the task {own.max():.4f}")  # fmt: skip
    right.set(xscale="log", yscale="log", xlim=(1, 1e8), ylim=(1e-4, 100),
              xlabel=r"$t/C^2$, $C$ predicted from bigrams and contexts", ylabel=r"$|\,4tR/|N|-1\,|$, value frozen",
              title="And one line for the distance from it")  # fmt: skip
    left.text(3e7, 3, "\n".join(words), fontsize=8)
    note = "\n".join(verdict_note(verdicts, law.id).removeprefix("bigram_backcopy/") for law in STUDY.laws)
    right.legend(loc="upper right", fontsize=8, title=note, title_fontsize=7.5)


def distances(rows, t):
    """|4tR/|N| - 1| at time t, interpolated; of the curves that go that far."""
    curves = [(np.asarray(r["t"]), np.asarray(r["curve"])) for _, r in rows.iterrows() if r["t"][-1] >= t]
    return np.array([abs(np.exp(np.interp(np.log(t), np.log(x), np.log(y))) - 1) for x, y in curves] or [np.nan])


if __name__ == "__main__":
    STUDY.cli()
