r"""Sink logits and value trained together with one context for all queries: a conserved quantity fixes where they end.

Left: all sink logits end at the predicted logit A, whatever the start. Middle: the conserved quantity drifts in
proportion to the learning rate. Right: attention on the first token at the end. With one shared context it stays finite
and falls with the context length; with contexts that differ the sink grows without bound (here up to t = 1e8 times its
unit).
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.bigram_backcopy.laws.joint import CONSERVATION, DRIFT, FINAL_LOGIT
from lab.systems.bigram_backcopy.laws.risk import UNIVERSAL_RISK_JOINT


def preset(sizes, spreads, lengths, rates, random):
    starts = Grid(size=sizes, spread=spreads, length=lengths)
    return {
        CONSERVATION.id: starts,
        FINAL_LOGIT.id: starts,
        DRIFT.id: Grid(size=[0.5, 1.0], length=[8, 16], steps=rates),
        UNIVERSAL_RISK_JOINT.id: Grid(length=random, concentration=[2.0, 4.0]),
    }


STUDY = Study(
    id="bigram_backcopy/conservation",
    laws=(CONSERVATION, FINAL_LOGIT, DRIFT, UNIVERSAL_RISK_JOINT),
    title="With one shared context sinks end at a finite logit, fixed by a conserved quantity",
    presets={
        "smoke": preset([0.0, 0.7], [0.0, 0.5], [4, 16], [2, 4, 8, 16, 32], [8, 32]),
        "default": preset([0.0, 0.3, 0.6, 1.0, 1.5, 2.0], [0.0, 0.3, 0.6, 1.0], [4, 8, 16, 32],
                          [2, 4, 8, 16, 32, 64], [6, 12, 24, 48]),
        "paper": preset(np.linspace(0, 2, 21).tolist(), np.linspace(0, 1, 11).tolist(), [4, 8, 16, 32],
                        [2, 4, 8, 16, 32, 64, 128, 256], [6, 12, 24, 48]),
    },
)  # fmt: skip


@STUDY.figure(ncols=3, size=(15, 4.6))
def draw(axes, rows, verdicts):
    names = rows["measurement"].str
    ends, drift, random = axes
    settled = rows[names.endswith(":settled")]
    draw_ends(ends, settled, verdicts)
    draw_drift(drift, rows[names.endswith(":drifted")], verdicts)
    draw_attention(random, settled, rows[names.endswith(":joint_run")], verdicts)


def draw_ends(ax, rows, verdicts):
    predicted = {key(v["at"]): v["predicted"] for v in verdicts if v["law"] == FINAL_LOGIT.id and v["at"] is not None}
    for (length, part), colour in zip(rows.groupby("length"), COLOURS, strict=False):
        x = [predicted[key(row)] for _, row in part.iterrows()]
        for i, (A, (_, row)) in enumerate(zip(x, part.iterrows(), strict=True)):
            alpha = np.ravel(row["alpha"])
            ax.plot(np.full(alpha.size, A), alpha, "o", color=colour, markersize=4.5, markerfacecolor="white",
                    label=None if i else f"context length {length}")  # fmt: skip
    low, high = min(predicted.values()), max(predicted.values())
    pad = 0.06 * (high - low)
    ax.plot([low - pad, high + pad], [low - pad, high + pad], color="black", linewidth=1, linestyle="--", zorder=1)
    ax.set(xlabel="predicted common limit $A$", ylabel=r"sink logits $\alpha_v$ at the end, three queries each",
           title="All sink logits end at one finite value")  # fmt: skip
    ax.legend(loc="upper left", title=notes(verdicts, FINAL_LOGIT, CONSERVATION), title_fontsize=8)


def key(at):
    return tuple(round(float(at[name]), 9) for name in ("queries", "vocabulary", "length", "spread", "size"))


def draw_drift(ax, rows, verdicts):
    for ((size, length), part), colour in zip(rows.groupby(["size", "length"]), COLOURS, strict=False):
        part = part.sort_values("steps")
        rate, drift = 1 / part["steps"], np.abs(part["drift"])
        ax.plot(rate, drift, "o", color=colour, markersize=4.5, markerfacecolor="white",
                label=f"start of $\\beta$ {size:g}, length {length}")  # fmt: skip
        ax.plot(rate, drift.iloc[-1] * rate / rate.iloc[-1], color=colour, linewidth=1)
    ax.plot([], [], color="0.4", linewidth=1, label="predicted slope 1")
    ax.set(xscale="log", yscale="log", xlabel=r"learning rate $\eta$", ylabel=r"$|Q(T)-Q(0)|$, $T=16$",
           title=r"$Q=|W\beta-B|^2/2W-\sum_v(e^{\alpha_v}+W\alpha_v)$ under descent")  # fmt: skip
    ticks = sorted(set(1 / rows["steps"]))[::-1]
    ax.set_xticks(ticks, labels=[f"1/{round(1 / eta)}" for eta in ticks])
    ax.minorticks_off()
    ax.set_ylim(ax.get_ylim()[0], ax.get_ylim()[1] * 60)
    ax.legend(loc="upper left", title=notes(verdicts, DRIFT), title_fontsize=8)


def draw_attention(ax, settled, joint, verdicts):
    for (length, part), i in zip(settled.groupby("length"), range(9), strict=False):
        A = np.array([np.mean(np.ravel(a)) for a in part["alpha"]])
        share = 1 / (1 + length * np.exp(-A))
        ax.plot(np.full(share.size, length), share, "o", color=COLOURS[0], markersize=4, alpha=0.5,
                label=None if i else "one shared context, end of the flow")  # fmt: skip
        ax.plot([length], [np.median(share)], "_", color=COLOURS[0], markersize=22, markeredgewidth=2)
    for i, (_, row) in enumerate(joint.iterrows()):
        t, sink = np.asarray(row["t"]), np.asarray(row["sink"])
        for decade, shade in ((6, 0.35), (4, 0.6), (0, 1.0)):
            value = np.interp(np.log(t[-1] / 10**decade), np.log(t), sink)
            name = f"contexts differ, $t=10^{8 - decade}$ units"
            ax.plot(row["length"], value, "D", color=COLOURS[1], markersize=5, alpha=shade, markerfacecolor="white",
                    label=None if i else name)  # fmt: skip
    ax.set(xscale="log", xlabel="context length $W$", ylabel="attention on the first token", ylim=(0, 1.05),
           title="Finite sink, or unbounded growth")  # fmt: skip
    ticks = sorted({*settled["length"], *joint["length"]})
    ax.set_xticks(ticks, labels=[str(n) for n in ticks])
    ax.minorticks_off()
    note = notes(verdicts, UNIVERSAL_RISK_JOINT)
    ax.legend(loc="center left", bbox_to_anchor=(0.0, 0.58), title=note, title_fontsize=8)


def notes(verdicts, *laws):
    return "\n".join(verdict_note(verdicts, law.id).removeprefix("bigram_backcopy/") for law in laws)


if __name__ == "__main__":
    STUDY.cli()
