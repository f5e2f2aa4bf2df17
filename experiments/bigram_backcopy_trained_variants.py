r"""Variants of the bigram-backcopy task, trained: loss reached against the exact least loss, where the head rests.

One layer, Adam. Triggers copy with probability rho, delimiters are inserted, sequences begin with 0, 1 or 2 BOS tokens.
Lines: exact least loss. Points: least loss plus the excess of trained models, which is measured without the noise of
the sampled tokens, with 95 % intervals over seeds; crosses: with the head replaced by the value of BOS.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, measured_points, verdict_note
from lab.systems.bigram_backcopy import theory
from lab.systems.bigram_backcopy.laws.trained import TRAINED_LOSS
from lab.systems.bigram_backcopy.training import SmallTransformer

MASS = 0.1


def preset(rates, others, *, replicates, **shape):
    """Copy probabilities, and (number of BOS tokens, number of delimiters) of the others."""
    common = shape | {"replicates": replicates}
    grid = Grid(copy_rate=rates, **common)
    for bos, delimiters in others:
        grid = grid + Grid(bos=bos, delimiters=delimiters, mass=MASS if delimiters else 0.0, **common)
    return grid


STUDY = Study(
    id="bigram_backcopy/trained-variants",
    laws=(TRAINED_LOSS,),
    title="Variants of the task, trained: loss against the exact least loss",
    presets={
        "smoke": preset([0.5, 1.0], [], steps=400, replicates=6, evaluation=128),
        "default": preset(np.linspace(0, 1, 9).tolist(), [(0, 0), (2, 0), (1, 1)], replicates=8),
        "paper": preset(np.linspace(0, 1, 21).tolist(), [(0, 0), (2, 0), (1, 1), (1, 2), (2, 2)], replicates=32,
                        V=64, n=128, d=128, batch=256, steps=20_000),
    },
)  # fmt: skip


@STUDY.figure(nrows=1, ncols=3, size=(15, 4.6))
def draw(axes, rows, verdicts):
    loss, rests, variants = axes
    rows = rows.assign(copy_rate=rows["copy_rate"].round(12))
    least = np.array([least_loss(point(row)) for _, row in rows.iterrows()])
    rows = rows.assign(reached=least + rows["excess"], blind=least + rows["excess of bos"],
                       rest=rows["to bos"] + rows["same"])  # fmt: skip
    plain = rows[(rows["delimiters"] == 0) & (rows["bos"] == 1)]
    draw_rates(loss, plain, verdicts)
    draw_rests(rests, plain)
    draw_variants(variants, rows[rows["copy_rate"] == 1])


def point(row, **changes):
    return SmallTransformer(**{name: row[name] for name in SmallTransformer.model_fields} | changes)


def least_loss(p):
    """Exact least mean loss per input."""
    task = p.task
    chain = theory.augmented_chain(task.emission, task.triggers, task.start, copy=p.copy_rate)
    return theory.bayes_loss(chain, p.n, bos=p.bos)


def draw_rates(ax, rows, verdicts):
    rates = np.linspace(rows["copy_rate"].min(), rows["copy_rate"].max(), 61)
    first = rows.iloc[0]
    least = [least_loss(point(first, copy_rate=rate)) for rate in rates]
    ax.plot(rates, least, color="black", label="exact least loss")
    measured_points(ax, rows, x="copy_rate", y="reached", color=COLOURS[0], markersize=5, label="trained")
    measured_points(ax, rows, x="copy_rate", y="blind", color=COLOURS[1], marker="x", markersize=5,
                    label="head replaced by the value of BOS")  # fmt: skip
    ax.set(xlabel=r"probability $\rho$ that a trigger copies", ylabel="loss, nats per input",
           title="One layer reaches the least loss")  # fmt: skip
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.35 * (high - low))
    ax.legend(title=verdict_note(verdicts, TRAINED_LOSS.id), title_fontsize=8, loc="upper left")


def draw_rests(ax, rows):
    for name, colour, marker, label in (
        ("rest", COLOURS[0], "o", "non-triggers to BOS or the same token"),
        ("to bos", COLOURS[1], "s", "non-triggers to BOS"),
        ("bos from triggers", COLOURS[2], "^", "triggers to BOS"),
        ("previous", COLOURS[3], "D", "triggers to the token in front"),
        ("uniform", "0.6", "", "uniform attention to BOS or the same token"),
    ):
        measured_points(ax, rows, x="copy_rate", y=name, color=colour, marker=marker, markersize=5,
                        linestyle="-", label=label)  # fmt: skip
    ax.set(xlabel=r"probability $\rho$ that a trigger copies", ylabel="attention", ylim=(-0.02, 1.55),
           title="The head divides its work once copies pay")  # fmt: skip
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    ax.legend(loc="upper left")


def draw_variants(ax, rows):
    kinds = sorted({(int(b), int(d)) for b, d in zip(rows["bos"], rows["delimiters"], strict=True)})
    for place, (bos, delimiters) in enumerate(kinds):
        part = rows[(rows["bos"] == bos) & (rows["delimiters"] == delimiters)].assign(place=place)
        ax.plot([place - 0.3, place + 0.3], [least_loss(point(part.iloc[0]))] * 2, color="black",
                label="exact least loss" if place == 0 else None)  # fmt: skip
        measured_points(ax, part, x="place", y="reached", color=COLOURS[0], markersize=6,
                        label="trained" if place == 0 else None)  # fmt: skip
        measured_points(ax, part, x="place", y="blind", color=COLOURS[1], marker="x", markersize=6,
                        label="head replaced" if place == 0 else None)  # fmt: skip
    words = [f"{bos} BOS" + (f",\n{count} delimiter" + "s" * (count > 1) if count else "") for bos, count in kinds]
    ax.set_xticks(range(len(kinds)), words)
    low, high = ax.get_ylim()
    ax.set(xlim=(-0.5, len(kinds) - 0.5), ylim=(low, high + 0.25 * (high - low)), ylabel="loss, nats per input",
           title="BOS tokens and delimiters, certain copies")  # fmt: skip
    ax.legend(loc="upper left")


if __name__ == "__main__":
    STUDY.cli()
