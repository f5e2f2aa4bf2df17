r"""Small transformers learn the bigram-backcopy task: where heads look, what they write, what they are needed for.

One layer, one head, four arms: softmax with Adam, with SGD, without a view of BOS, ReLU weights. Curves: means over
seeds and their range. Bars: losses with the head on, and with its output replaced by the value of BOS or by nothing,
against the least loss of any model that does not look back (copies) and the loss of a uniform guess (bigrams).
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.bigram_backcopy import theory
from lab.systems.bigram_backcopy.laws.trained import ACTIVE_DORMANT, HEAD_ABLATION, RELU_OFF, SELF_SINK, SGD_SINK
from lab.systems.bigram_backcopy.training import SmallTransformer

ADAM_RATE, SGD_RATE = 1e-2, 0.15
ARMS = {
    "Adam": (ACTIVE_DORMANT, COLOURS[0], "-"),
    "SGD": (SGD_SINK, COLOURS[1], "-"),
    "Adam, BOS hidden": (SELF_SINK, COLOURS[2], "--"),
    "Adam, ReLU weights": (RELU_OFF, COLOURS[3], ":"),
}


def preset(*, adam=ADAM_RATE, sgd=SGD_RATE, **shape):
    by_adam, by_sgd = Grid(rate=adam, **shape), Grid(rate=sgd, **shape)
    return {law.id: by_sgd if law is SGD_SINK else by_adam
            for law in (ACTIVE_DORMANT, HEAD_ABLATION, SGD_SINK, SELF_SINK, RELU_OFF)}  # fmt: skip


STUDY = Study(
    id="bigram_backcopy/training",
    laws=(ACTIVE_DORMANT, HEAD_ABLATION, SGD_SINK, SELF_SINK, RELU_OFF),
    title="Trained heads: active at triggers, at rest elsewhere",
    presets={
        "smoke": preset(steps=256, halvings=2, evaluation=64, replicates=16),
        "default": preset(halvings=9, replicates=16),
        "paper": preset(V=64, n=256, d=256, batch=512, adam=1e-3, sgd=0.1, steps=16_384, halvings=14, replicates=16),
    },
)


@STUDY.figure(nrows=2, ncols=3, size=(15, 8.4))
def draw(axes, rows, verdicts):
    arms = {name: rows[rows["knobs"] == knobs_of(law)] for name, (law, _, _) in ARMS.items()}
    p = point(rows)
    losses, rests, values, active, gap, bars = axes.flat
    draw_losses(losses, arms)
    draw_rests(rests, arms, verdicts)
    draw_values(values, arms)
    draw_map(active, arms["SGD"], p, verdicts)
    draw_gap(gap, arms)
    draw_bars(bars, arms, p, verdicts)


def knobs_of(law):
    """The knobs of a law's measurement as rows hold them."""
    import json

    return json.dumps(dict(law.plan.knobs), sort_keys=True)


def point(rows):
    fields = {name: rows.iloc[0][name] for name in SmallTransformer.model_fields}
    return SmallTransformer(**fields)


def curves(ax, rows, name, *, label=None, band=True, **style):
    """Mean over seeds against steps, with the range; the start stands one place before the first step recorded."""
    step = np.asarray(rows.iloc[0]["step"], dtype=float)
    step[0] = step[1] / 2
    values = np.stack([np.asarray(one, dtype=float) for one in rows[name]])
    if band:
        ax.fill_between(step, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.13, linewidth=0)
    ax.plot(step, values.mean(axis=0), label=label, **style)
    ax.set(xscale="log", xlabel="steps (leftmost: first weights)")


def draw_losses(ax, arms):
    for name in ("Adam", "SGD"):
        colour = ARMS[name][1]
        curves(ax, arms[name], "path bigram", color=colour, label=f"{name}: bigrams")
        curves(ax, arms[name], "path copy", color=colour, linestyle="--", label=f"{name}: copies")
    ax.axhline(0.02, color="0.6", linewidth=0.8)
    ax.set(yscale="log", ylabel="loss above the best prediction (nats)", title="Learning; grey: solved")
    ax.legend()


def draw_rests(ax, arms, verdicts):
    for name, (_, colour, line) in ARMS.items():
        rows = arms[name]
        rows = rows.assign(rest=[np.asarray(a) + np.asarray(b) for a, b in zip(rows["path to bos"], rows["path same"],
                                                                               strict=True)])  # fmt: skip
        curves(ax, rows, "rest", color=colour, linestyle=line, band=name == "Adam", label=f"{name}: BOS or same token")
        if name in ("Adam", "SGD"):
            curves(ax, rows, "path to bos", color=colour, linestyle="-.", band=False, label=f"{name}: BOS alone")
    uniform = arms["Adam"]["uniform"].mean()
    ax.axhline(uniform, color="0.6", linewidth=0.8)
    ax.text(0.99, uniform + 0.01, "uniform attention", transform=ax.get_yaxis_transform(), ha="right", fontsize=8,
            color="0.4")  # fmt: skip
    ax.set(ylim=(-0.02, 1.42), ylabel="attention of tokens that are no triggers", title="Where a dormant head rests")
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    notes = [verdict_note(verdicts, law.id) for law in (ACTIVE_DORMANT, SGD_SINK)]
    ax.legend(ncols=2, loc="upper left", title="\n".join(notes), title_fontsize=8, fontsize=8)


def draw_values(ax, arms):
    for name in ("Adam", "SGD"):
        colour = ARMS[name][1]
        curves(ax, arms[name], "path value", color=colour, label=f"{name}: BOS")
        curves(ax, arms[name], "path other values", color=colour, linestyle="--", label=f"{name}: other tokens")
    ax.set(ylabel=r"norm of the value written, $\|v\,W_O\|$", title="Values: SGD keeps that of BOS")
    ax.set_ylim(bottom=0)
    ax.legend()


def draw_map(ax, rows, p, verdicts):
    first = rows.iloc[0]
    attention = np.array([list(one) for one in first["map"]], dtype=float)
    shown = attention[:24, :24]
    names = ["BOS" if t == p.V else f"{t}*" if t in p.task.triggers else str(t) for t in first["tokens"][:24]]
    ax.imshow(shown, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(names)), names, fontsize=7, rotation=90)
    ax.set_yticks(range(len(names)), names, fontsize=7)
    ax.set(xlabel="token looked at", ylabel="token that looks (*: trigger)",
           title="Attention after training with SGD, one sequence")  # fmt: skip


def draw_gap(ax, arms):
    for name in ("Adam", "SGD"):
        step = np.asarray(arms[name].iloc[0]["step"], dtype=float)
        step[0] = step[1] / 2
        gap = np.array([[list(at) for at in row] for row in arms[name]["path gap"]]).mean(axis=0)
        ax.fill_between(step, gap[:, 0], gap[:, 2], color=ARMS[name][1], alpha=0.2, linewidth=0)
        ax.plot(step, gap[:, 1], color=ARMS[name][1], label=f"{name}: median, band 10 to 90 %")
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.set(xscale="log", xlabel="steps (leftmost: first weights)", title="Sink logit of tokens that are no triggers",
           ylabel="score of BOS above the mean of others")  # fmt: skip
    ax.legend(loc="upper left")


def draw_bars(ax, arms, p, verdicts):
    blind = theory.blind_excess(p.task.P, p.task.triggers, p.task.init, p.n).mean
    guess = theory.guess_excess(p.task.P, p.task.triggers, p.task.init, p.n)
    kinds = (("on", ""), ("value of BOS", " of bos"), ("nothing", " of zero"))
    place = 0.0
    ticks, labels = [], []
    for name in ("Adam", "SGD", "Adam, ReLU weights"):
        for label, suffix in kinds:
            for i, what in enumerate(("bigram", "copy")):
                values = arms[name][what + suffix].astype(float)
                ax.bar(place + 0.4 * i - 0.2, values.mean(), 0.38, color=COLOURS[i + 4],
                       label=what if place == 0 else None)  # fmt: skip
                ax.plot(np.full(len(values), place + 0.4 * i - 0.2), values, ".", color="black", markersize=2.5)
            ticks.append(place)
            labels.append(f"{name.removeprefix('Adam, ').removesuffix(' weights')}: {label}")
            place += 1
        place += 0.5
    ax.axhline(blind, color="black", linestyle="--", linewidth=1, label=f"copies without a look back: {blind:.2f}")
    ax.axhline(guess, color="0.4", linestyle=":", linewidth=1, label=f"bigrams, uniform guess: {guess:.2f}")
    ax.set(yscale="log", ylim=(1e-3, 200), ylabel="loss above the best prediction (nats)",
           title="The head replaced by ...")  # fmt: skip
    ax.set_xticks(ticks, labels, rotation=40, ha="right", fontsize=8)
    ax.legend(ncols=2, loc="upper left", title=verdict_note(verdicts, HEAD_ABLATION.id), title_fontsize=8, fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
