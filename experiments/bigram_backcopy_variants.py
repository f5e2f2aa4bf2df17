"""Variants of the bigram-backcopy task: least possible loss and frequency of triggers, exact lines and sampled chains.

Triggers copy the token in front of them with probability rho (or draw its successor anew, "backwards"); delimiters are
inserted with probability p; sequences begin with 0, 1 or 2 BOS tokens. Lines are exact laws of finite sequences; points
are the best predictor's loss, and the share of triggers, on sampled sequences, with 95 % intervals over independent
batches of sequences. What any model reaches on these data lies above the lines of the loss.

In endless sequences certain copies are a singular limit: a failed copy may make a pair of triggers, which copies repeat
until the next failure, so triggers are frequent at rho slightly below 1 and rare at 1 (bigram_backcopy/
nearly-certain-copies). Finite sequences cross over where n (1 - rho) is of order one.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, measured_points, verdict_note
from lab.systems.bigram_backcopy import theory
from lab.systems.bigram_backcopy.laws.chain import SAMPLED_LOSS, SAMPLED_TOKENS, SampledTask, loss_of_task, token_shares
from lab.systems.bigram_backcopy.laws.long_run import NEARLY_CERTAIN_COPIES

BASE = {"family": "dirichlet", "V": 32, "k": 3, "c": 3.0, "instance": 1}
USUAL = 64  # inputs, where the length is not varied
RATES = [*np.linspace(0, 0.98, 50), 1.0]
LEAST, MOST = 0.01, 0.3  # probability of a delimiter


def preset(rates, masses, lengths, batch, replicates):
    """Numbers of copy probabilities and delimiter probabilities, lengths, sequences in a batch, batches."""
    common = BASE | {"batch": batch}
    rates = np.linspace(0, 1, rates).tolist()
    masses = np.linspace(LEAST, MOST, masses).tolist()
    grid = (
        Grid(replicates=replicates, n=USUAL, copy_rate=rates, backward=[False, True], **common)
        + Grid(replicates=replicates, n=USUAL, delimiters=[1, 2], mass=masses, **common)
        + Grid(replicates=replicates, n=lengths, bos=[0, 1, 2], **common)
    )
    endless = Grid(replicates=1, V=[4, 6, 8], k=[1, 2], stuck=0, concentration=[0.5, 2.0])
    return {SAMPLED_LOSS.id: grid, SAMPLED_TOKENS.id: grid, NEARLY_CERTAIN_COPIES.id: endless}


STUDY = Study(
    id="bigram_backcopy/variants",
    laws=(SAMPLED_LOSS, SAMPLED_TOKENS, NEARLY_CERTAIN_COPIES),
    title="Variants of the bigram-backcopy task: least loss and frequency of triggers, exact and sampled",
    presets={
        "smoke": preset(5, 4, [4, 16, 64], 256, 12),
        "default": preset(11, 7, [4, 8, 16, 32, 64, 128, 256], 512, 24),
        "paper": preset(41, 25, [4, 8, 16, 32, 64, 128, 256], 512, 1000),
    },
)


@STUDY.figure(nrows=2, ncols=2, size=(11.5, 8.4))
def draw(axes, rows, verdicts):
    (loss, share), (delimiter, length) = axes
    rows = rows[rows["measurement"].str.endswith(":sampled")]
    rows = rows.assign(copy_rate=rows["copy_rate"].round(12), mass=rows["mass"].round(12))
    plain = rows[(rows["delimiters"] == 0) & (rows["bos"] == 1) & (rows["n"] == USUAL)]
    draw_rates(loss, plain, "loss", loss_of_task, theory.bayes_rate)
    draw_rates(share, plain, "triggers", trigger_share, endless_share)
    draw_delimiters(delimiter, rows[rows["delimiters"] > 0])
    draw_lengths(length, rows[(rows["delimiters"] == 0) & (rows["copy_rate"] == 1) & ~rows["backward"].astype(bool)])
    loss.set(ylabel=r"least loss $L^*_n$, nats per position", title=f"Loss of the best predictor, $n={USUAL}$")
    share.set(ylabel="share of triggers among the inputs", title="How often triggers occur")
    loss.set_ylim(bottom=0.55)
    loss.legend(loc="lower left", bbox_to_anchor=(0.0, 0.08))
    stationary = float(SampledTask(**BASE).task().unigram[: BASE["V"]] @ SampledTask(**BASE).task().is_trigger)
    word = f"stationary law of $P$: {stationary:.3f}"
    share.axhline(stationary, color="0.5", linewidth=0.9, linestyle=":", label=word)
    share.set_ylim(bottom=0.17)
    share.legend(loc="lower left", bbox_to_anchor=(0.0, 0.08))
    loss.text(0.03, 0.04, verdict_note(verdicts, SAMPLED_LOSS.id), transform=loss.transAxes, fontsize=8)
    notes = "\n".join(verdict_note(verdicts, law.id) for law in (SAMPLED_TOKENS, NEARLY_CERTAIN_COPIES))
    share.text(0.03, 0.02, notes, transform=share.transAxes, fontsize=8)


def trigger_share(p):
    """Mean share of triggers over the inputs after BOS."""
    return float(token_shares(p)[: p.k].sum())


def endless_share(chain):
    """Share of triggers in endless sequences."""
    return float(theory.token_law(chain, theory.long_run_law(chain))[chain.is_trigger].sum())


def nearly_certain(column):
    """Limit for certain copies of the loss, or of the share of triggers, in endless sequences."""
    task = SampledTask(**BASE).task()
    law, share = theory.nearly_certain_law(task.P, task.triggers)
    if column == "triggers":
        return float(law[task.is_trigger].sum())
    return share * theory.bayes_rate(theory.augmented_chain(task.P, task.triggers, task.init))


def draw_rates(ax, rows, column, exact, endless):
    """Points on the exact line; dashed: endless sequences, with the limit of rho to 1 and the value at 1."""
    for backward, colour, marker in ((False, COLOURS[0], "o"), (True, COLOURS[1], "s")):
        part = rows[rows["backward"].astype(bool) == backward]
        if part.empty:
            continue
        points = [SampledTask(**BASE, n=USUAL, backward=backward, copy_rate=r) for r in RATES]
        ax.plot(RATES, [exact(p) for p in points], color=colour)
        label = r"$x_{j+1}\sim P[x_{j-1}]$ after a trigger" if backward else r"$x_{j+1}=x_{j-1}$ after a trigger"
        measured_points(ax, part, x="copy_rate", y=column, color=colour, marker=marker, markerfacecolor="white",
                        markersize=5, label=label)  # fmt: skip
        at_one, open_rates = endless(points[-1].chain()), RATES[:-1]
        limit = [endless(points[0].chain(copy=rate)) for rate in open_rates]
        ends = at_one if backward else nearly_certain(column)
        ax.plot([*open_rates, 1.0], [*limit, ends], color=colour, linestyle="--", linewidth=1)
        if not backward:
            ax.plot([1, 1], [ends, at_one], color=colour, linestyle=":", linewidth=1)
            ax.plot([1], [ends], "D", color=colour, markerfacecolor="white", markersize=6, zorder=4,
                    label=rf"endless, $\rho\to1$: {ends:.3f}")  # fmt: skip
            ax.plot([1], [at_one], "*", color=colour, markersize=10, clip_on=False, zorder=4,
                    label=rf"endless, $\rho=1$: {at_one:.3f}")  # fmt: skip
    ax.plot([], [], color="0.3", linestyle="--", linewidth=1, label="endless sequences")
    ax.set(xlabel=r"probability $\rho$ that a trigger acts", xlim=(-0.03, 1.03))


def draw_delimiters(ax, rows):
    shares = ax.twinx()
    shares.spines["right"].set_visible(True)
    for count, colour, marker in ((1, COLOURS[0], "o"), (2, COLOURS[2], "^")):
        part = rows[rows["delimiters"] == count]
        if part.empty:
            continue
        points = [SampledTask(**BASE, n=USUAL, delimiters=count, mass=m) for m in np.linspace(LEAST, MOST, 61)]
        masses = [p.mass for p in points]
        ax.plot(masses, [loss_of_task(p) for p in points], color=colour)
        shares.plot(masses, [trigger_share(p) for p in points], color=colour, linestyle="--")
        word = "one delimiter" if count == 1 else "two delimiters"
        measured_points(ax, part, x="mass", y="loss", color=colour, marker=marker, markerfacecolor="white",
                        markersize=5, label=f"{word}: loss")  # fmt: skip
        measured_points(shares, part, x="mass", y="triggers", color=colour, marker=marker, markersize=4)
        ax.plot([], [], marker=marker, color=colour, markersize=4, linestyle="--", label=f"{word}: triggers (right)")
    ax.set(xlabel="probability $p$ of each delimiter after an ordinary token", title="Delimiters",
           ylabel=r"least loss $L^*_n$, nats per position")  # fmt: skip
    shares.set_ylabel("share of triggers among the inputs")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.45 * (high - low))
    low, high = shares.get_ylim()
    shares.set_ylim(low, high + 0.45 * (high - low))
    ax.legend(loc="upper center", ncols=2)


def draw_lengths(ax, rows):
    most = int(rows["n"].max())
    task = SampledTask(**BASE).task()
    rate = theory.bayes_rate(theory.augmented_chain(task.P, task.triggers, task.init))
    for bos, colour, marker in ((0, COLOURS[0], "o"), (1, COLOURS[1], "s"), (2, COLOURS[2], "^")):
        part = rows[rows["bos"] == bos]
        if part.empty:
            continue
        lengths = np.unique(np.geomspace(max(3, rows["n"].min()), most, 60).astype(int))
        ax.plot(lengths, [loss_of_task(SampledTask(**BASE, n=int(n), bos=bos)) for n in lengths], color=colour)
        word = ("no BOS", "one BOS", "two BOS")[bos]
        measured_points(ax, part, x="n", y="loss", color=colour, marker=marker, markerfacecolor="white", markersize=5,
                        label=word)  # fmt: skip
    ax.axhline(rate, color="0.5", linewidth=0.9, linestyle=":")
    ax.text(rows["n"].min(), rate, rf"endless: $\sum_{{v\in N}}\pi_v H(P_v)={rate:.4f}$", fontsize=8.5, color="0.35",
            va="bottom")  # fmt: skip
    ax.set_ylim(bottom=rate - 0.03)
    ax.set(xscale="log", xlabel="number of inputs $n$, BOS included", ylabel=r"least loss $L^*_n$, nats per position",
           title="BOS tokens: a second one costs nothing, it only takes a place")  # fmt: skip
    shown = sorted(int(n) for n in rows["n"].unique())
    ax.set_xticks(shown, labels=[str(n) for n in shown])
    ax.minorticks_off()
    ax.legend(loc="best")


if __name__ == "__main__":
    STUDY.cli()
