r"""Residual norms of trained transformers: linear in the steps under Adam, almost flat under SGD.

Mean norm of the last states over a run at a constant rate, and its exponent over each halving of the steps. Theory: the
matrices that write into the states have a gradient orthogonal to them, so that gradient flow conserves their length;
gradient flow of a single state grows like the square root of a logarithm, exponent 1/(2 log t); SGD with weight decay
lambda and momentum mu shrinks by eta lambda/(1 - mu) per step once gradients are gone; Adam moves a weight by about its
rate in every step, exponent 1. Last panel: norm of BOS over that of other tokens, run by run: the peaks of ReLU heads.
"""

from __future__ import annotations

import json

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.bigram_backcopy import theory
from lab.systems.bigram_backcopy.laws.optimisers import ADAM_GROWTH, SGD_GROWTH
from lab.systems.bigram_backcopy.laws.trained import RELU_PEAKS_PRINTED

MOMENTUM = 0.9


def preset(adam, sgd, *, decays=(0.0, 1e-4), relu=(1e-2,), fewer=1, **shape):
    """Rates of Adam, of SGD (at each weight decay), of Adam with ReLU weights; Adam takes `fewer` times fewer steps."""
    return {
        ADAM_GROWTH.id: Grid(last=1.0, rate=list(adam), **shape | {"steps": shape["steps"] // fewer}),
        SGD_GROWTH.id: Grid(last=1.0, rate=list(sgd), decay=list(decays), **shape),
        RELU_PEAKS_PRINTED.id: Grid(last=0.0, rate=list(relu), **shape),
    }


STUDY = Study(
    id="bigram_backcopy/residual-peaks",
    laws=(ADAM_GROWTH, SGD_GROWTH, RELU_PEAKS_PRINTED),
    title="Residual norms: Adam, SGD, ReLU weights",
    presets={
        "smoke": preset((1e-2,), (0.03,), decays=(1e-4,), fewer=2, steps=1200, halvings=3, evaluation=32,
                        replicates=8),
        "default": preset((5e-3, 1e-2), (0.03,), relu=(3e-3, 1e-2), steps=1200, halvings=7, replicates=8, layers=2),
        "paper": preset((3e-4, 1e-3), (0.03, 0.1), relu=(3e-4, 3e-3), V=64, n=256, d=256, layers=3, batch=512,
                        steps=32_768, halvings=14, replicates=8),
    },
)  # fmt: skip


@STUDY.figure(nrows=2, ncols=2, size=(12.5, 9))
def draw(axes, rows, verdicts):
    arms = list(arms_of(rows))
    growth, exponents, layers, peaks = axes.flat
    first = float(np.mean([np.asarray(one)[0] for one in rows["path norm"]]))
    for (label, part, style), colour in zip(arms, COLOURS, strict=False):
        draw_growth(growth, part, label, {"color": colour, **style})
        draw_exponents(exponents, part, label, {"color": colour, **style})
    draw_theory(growth, exponents, rows, first)
    draw_layers(layers, arms)
    draw_peaks(peaks, arms, verdicts)
    notes = "\n".join(verdict_note(verdicts, law.id) for law in (ADAM_GROWTH, SGD_GROWTH))
    growth.legend(fontsize=8, loc="upper left")
    low, high = growth.get_ylim()
    growth.set(ylim=(low, high * (high / low) ** 0.6), title="Norm of the last states")
    exponents.set_title(notes, fontsize=8.5)


def arms_of(rows):
    """(label, rows, style) of each arm, Adam first."""
    for knobs, rate, decay in sorted({(k, r, d) for k, r, d in zip(rows["knobs"], rows["rate"], rows["decay"],
                                                                   strict=True)}, key=order):  # fmt: skip
        chosen = json.loads(knobs)
        part = rows[(rows["knobs"] == knobs) & (rows["rate"] == rate) & (rows["decay"] == decay)]
        name = "SGD" if chosen["sgd"] else "Adam, ReLU weights, falling rate" if chosen["relu"] else "Adam"
        fading = f", decay {decay:g}" if decay else ""
        style = {"linestyle": "--" if chosen["sgd"] and not decay else ":" if chosen["relu"] else "-"}
        yield f"{name}, rate {rate:g}{fading}", part, style


def order(arm):
    chosen = json.loads(arm[0])
    return chosen["sgd"], chosen["relu"], arm[1], arm[2]


def series(part, name="path norm"):
    return np.asarray(part.iloc[0]["step"], dtype=float), np.stack([np.asarray(one, dtype=float) for one in part[name]])


def draw_growth(ax, part, label, style):
    step, norm = series(part)
    step[0] = step[1] / 2
    ax.fill_between(step, norm.min(axis=0), norm.max(axis=0), color=style["color"], alpha=0.15, linewidth=0)
    ax.plot(step, norm.mean(axis=0), marker="o", markersize=3, label=label, **style)
    ax.set(xscale="log", yscale="log", xlabel="steps (leftmost: first weights)", ylabel="mean norm of the last states")


def draw_exponents(ax, part, label, style):
    from lab.claims.statistics import student_quantile

    step, norm = series(part)
    found = np.log2(norm[:, 2:] / norm[:, 1:-1])
    error = student_quantile(len(found), 0.05) * found.std(axis=0, ddof=1) / len(found) ** 0.5
    ax.errorbar(step[2:], found.mean(axis=0), yerr=error, marker="o", markersize=3.5, elinewidth=1, **style)


def draw_theory(growth, exponents, rows, first):
    """Gradient flow of one state, linear growth, shrinking by weight decay alone."""
    last = float(np.asarray(rows.iloc[0]["step"])[-1])
    t = np.geomspace(last / 64, last, 100)
    exponents.plot(t, 0.5 / np.log(t), color="black", linewidth=1, label=r"gradient flow, $1/(2\log t)$")
    exponents.axhline(1.0, color="0.5", linewidth=1, linestyle="--", label="linear")
    exponents.axhline(0.5, color="0.5", linewidth=1, linestyle=":", label="claimed for Adam: at least 1/2")
    decayed = rows[rows["decay"] > 0]
    if len(decayed):
        rate, decay = decayed["rate"].max(), decayed["decay"].max()
        slope = theory.decay_exponent(rate, decay, MOMENTUM)
        exponents.plot(t, np.log2(np.exp(slope * t / 2)), color="0.5", linewidth=1, linestyle="-.",
                       label=f"weight decay alone, rate {rate:g}")  # fmt: skip
        growth.plot(t, first * np.exp(slope * t), color="0.5", linewidth=1, linestyle="-.",
                    label="weight decay alone, from the first norm")  # fmt: skip
    exponents.set(xscale="log", xlabel="steps t", ylabel=r"exponent $\log_2$ [norm(t) / norm(t/2)]")
    exponents.set_xlim(left=last / 80)
    exponents.legend(fontsize=8, loc="upper left", ncols=2)
    low, high = exponents.get_ylim()
    exponents.set_ylim(low, high + 0.3 * (high - low))


def draw_layers(ax, arms):
    """Norms of BOS (filled) and of other tokens (open) before and after each layer, geometric means over seeds."""
    for place, (_, part, style) in enumerate(arms):
        norms = np.array([[list(kind) for kind in one] for one in part["norms"]], dtype=float)  # (seeds, 2, layers + 1)
        means = np.exp(np.log(norms).mean(axis=0))
        at = np.arange(means.shape[1]) + 0.04 * (place - len(arms) / 2)
        ax.plot(at, means[0], marker="o", color=COLOURS[place], markersize=5, linestyle=style["linestyle"])
        ax.plot(at, means[1], marker="o", color=COLOURS[place], markersize=5, linestyle="none", markerfacecolor="white")
    ax.plot([], [], "o", color="0.3", label="BOS")
    ax.plot([], [], "o", color="0.3", markerfacecolor="white", label="other tokens")
    ax.set(yscale="log", ylabel="norm of states at the end", title="Layer by layer, colours as above")
    ax.set_xticks(range(means.shape[1]), ["embedding", *(f"after layer {i + 1}" for i in range(means.shape[1] - 1))])
    ax.legend()


def draw_peaks(ax, arms, verdicts):
    for place, (_, part, _) in enumerate(arms):
        values = np.sort(part["peak"].astype(float))
        ax.plot(place + np.linspace(-0.3, 0.3, len(values)), values, "o", color=COLOURS[place], markersize=4,
                linestyle="none")  # fmt: skip
    ax.axhline(2.0, color="0.5", linewidth=1, linestyle="--")
    word = "printed for ReLU weights: no peaks"
    ax.text(0.01, 2.1, word, transform=ax.get_yaxis_transform(), fontsize=8, color="0.4")
    words = [label.replace(", falling rate", "").replace(", ", "\n") for label, _, _ in arms]
    ax.set_xticks(range(len(arms)), words, fontsize=7)
    ax.set(yscale="log", ylabel="norm of BOS over that of other tokens, at the end")
    ax.set_title(verdict_note(verdicts, RELU_PEAKS_PRINTED.id), fontsize=8.5)


if __name__ == "__main__":
    STUDY.cli()
