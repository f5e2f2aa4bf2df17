r"""A sink logit grows like half a logarithm, but only while the value of the first token adds nothing.

Left: alpha - log(t)/2 of the queries of one instance, flow against exact quadrature and second order: every query keeps
an offset of its own. Middle: local slopes of many instances against their predicted bias, one line for all. Right: with
a frozen value of given length and angle to what the query hears, sink logits grow like log t, settle, or fall;
boundaries are predicted by the signs of two slopes of the risk.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.streams import Stream
from lab.systems.bigram_backcopy import theory
from lab.systems.bigram_backcopy.laws.phases import FROZEN_VALUE_PHASES, FrozenValue, placed
from lab.systems.bigram_backcopy.laws.sink import SINK_HALF_LOG, SINK_SLOPE, SINK_TIME


def preset(instances, lengths, cells):
    many = Grid(concentration=np.geomspace(1.0, 6.0, instances).tolist(), length=lengths)
    return {
        SINK_TIME.id: Grid(length=12, queries=4) + many,
        SINK_HALF_LOG.id: many,
        SINK_SLOPE.id: many,
        FROZEN_VALUE_PHASES.id: Grid(
            queries=1, scale=((np.arange(cells) + 0.5) * 2 / cells).tolist(),
            angle=((np.arange(cells) + 0.5) * np.pi / cells).tolist(),
        ),
    }  # fmt: skip


STUDY = Study(
    id="bigram_backcopy/half-log",
    laws=(SINK_TIME, SINK_HALF_LOG, SINK_SLOPE, FROZEN_VALUE_PHASES),
    title="Half-logarithmic growth of sink logits, its second order, and the phases of a frozen value",
    presets={
        "smoke": preset(3, [12], 10),
        "default": preset(12, [6, 12, 24, 48], 24),
        "paper": preset(100, [6, 12, 24, 48], 80),
    },
)


@STUDY.figure(ncols=3, size=(15, 4.8), width_ratios=(1.1, 1, 1.1))
def draw(axes, rows, verdicts):
    names, knobs = rows["measurement"].str, rows["knobs"].str
    grown = names.endswith(":grown")
    early = rows[grown & knobs.contains('"early": true')]
    draw_offsets(axes[0], early.iloc[0], verdicts)
    draw_slopes(axes[1], rows[grown & ~knobs.contains('"early": true')], verdicts)
    draw_phases(axes[2], rows[names.endswith(":drifting")], verdicts)


def arrays(row):
    """p, pi, B, W of the queries of a row."""
    P, pi, B, W = (np.array(np.asarray(row[n]).tolist()) for n in ("probabilities", "shares", "values", "lengths"))
    return P, pi, B[:, 0], W[:, 0]


def draw_offsets(ax, row, verdicts):
    t, alpha = np.asarray(row["t"]), np.array(np.asarray(row["alpha"]).tolist())
    P, pi, B, W = arrays(row)
    line = np.geomspace(t[0], t[-1] * 3, 300)
    for v, colour in zip(range(len(pi)), COLOURS, strict=False):
        exact = theory.sink_logit(line, P[v], pi[v], B[v], W[v])
        ax.plot(line, exact - np.log(line) / 2, color=colour)
        second = theory.half_log(line, P[v], pi[v], B[v], W[v])
        shown = line > t[-1] / 3e6
        ax.plot(line[shown], (second - np.log(line) / 2)[shown], color=colour, linestyle="--", linewidth=1)
        ax.plot(t, alpha[:, v] - np.log(t) / 2, "o", color=colour, markersize=3.5, markerfacecolor="white")
        limit = 0.5 * np.log(2 * pi[v] * theory.cumulants(P[v], B[v])[1])
        ax.plot([t[-1] * 0.3, t[-1] * 3], [limit, limit], color=colour, linewidth=3, alpha=0.5)
    ax.plot([], [], "o", color="0.4", markerfacecolor="white", markersize=3.5, label="gradient flow, a colour a query")
    ax.plot([], [], color="0.4", label="exact, by quadrature")
    ax.plot([], [], color="0.4", linestyle="--", label="second order")
    ax.plot([], [], color="0.4", linewidth=3, alpha=0.5, label=r"limit $\frac{1}{2}\log(2\pi_v\sigma_v^2)$")
    ax.set(xscale="log", ylim=(-5, 3), xlabel="time $t$", ylabel=r"sink logit $\alpha_v-\frac{1}{2}\log t$",
           title="Half a logarithm, and an offset for ever")  # fmt: skip
    ax.legend(loc="upper right", title=notes(verdicts, SINK_TIME, SINK_HALF_LOG), title_fontsize=8, fontsize=8)


def draw_slopes(ax, rows, verdicts):
    for i, (_, row) in enumerate(rows.iterrows()):
        P, pi, B, W = arrays(row)
        t, slope = np.asarray(row["t"]), np.array(np.asarray(row["slope"]).tolist())
        T = 2 * pi * theory.cumulants(P, B)[1] * t[:, None]
        bias = theory.half_log_coefficients(P, B, W)[0] / (2 * np.sqrt(T))
        ax.plot(bias, slope - 0.5, ".", color=COLOURS[0], markersize=3, alpha=0.6)
        if i == 0:
            ax.plot([], [], ".", color=COLOURS[0], label=f"{rows.shape[0]} instances, all queries and times")
    line = np.geomspace(1e-5, 0.1, 10)
    ax.plot(line, line, color="black", linestyle="--", label="predicted: equal")
    ax.set(xscale="log", yscale="log", xlim=(1e-6, 0.1), ylim=(1e-6, 0.1),
           xlabel=r"$(3W-\kappa_3/2\sigma^2)/(2\sqrt{2\pi\sigma^2t})$", ylabel=r"$d\alpha/d\log t-\frac{1}{2}$",
           title="How far slopes are from one half")  # fmt: skip
    ax.legend(loc="upper left", title=notes(verdicts, SINK_SLOPE), title_fontsize=8, fontsize=8)


def draw_phases(ax, rows, verdicts):
    first = FrozenValue(**{name: rows.iloc[0][name].item() for name in FrozenValue.model_fields})
    where = first.canonical(drop=("scale", "angle"))
    situation = Stream("lab.systems.bigram_backcopy.laws.phases:placed", where, int(rows.iloc[0]["seed"]))
    colours = {-1: COLOURS[1], 0: "0.6", 1: COLOURS[0]}
    names = {1: r"sink: $\alpha\simeq\log t$", 0: r"$\alpha$ settles", -1: r"expelled: $\alpha\simeq-\log t$"}
    label = rows["phase"].map(lambda v: int(np.ravel(v)[0]))
    for value, name in names.items():
        part = rows[label == value]
        ax.plot(part["scale"] * np.cos(part["angle"]), part["scale"] * np.sin(part["angle"]), "o", markersize=3,
                color=colours[value], label=f"measured {name}")  # fmt: skip
    angle, scale = np.meshgrid(np.linspace(0, np.pi, 300), np.linspace(0.005, 2.0, 300))
    x, y = scale * np.cos(angle), scale * np.sin(angle)
    along, across = (placed(first.replace(scale=1.0, angle=turn), situation) for turn in (0.0, np.pi / 2))
    beta = x[..., None] * along["beta"] + y[..., None] * across["beta"]
    P, B, W = along["probabilities"][0], along["values"][0, 0], np.full(x.shape, along["lengths"][0, 0])
    g = theory.end_slopes(P, beta, B, W)
    for k, (colour, name) in enumerate(((COLOURS[0], "$g_0=0$"), (COLOURS[1], "$g_1=0$"))):
        ax.contour(x, y, g[k], levels=[0.0], colors=[colour], linewidths=2)
        ax.plot([], [], color=colour, linewidth=2, label=f"predicted boundary {name}")
    ax.plot([0], [0], "*", color="black", markersize=9, label=r"no value: $\frac{1}{2}\log t$")
    ax.set(xlabel=r"value along $b=B/W$, in units of $|b_c|$", ylabel="value across it", aspect="equal",
           xlim=(-2.05, 2.05), ylim=(-0.05, 3.6), title="A frozen value: sink, rest, expulsion")  # fmt: skip
    ax.legend(loc="upper center", ncols=2, title=notes(verdicts, FROZEN_VALUE_PHASES), title_fontsize=8, fontsize=7.5)


def notes(verdicts, *laws):
    return "\n".join(verdict_note(verdicts, law.id).removeprefix("bigram_backcopy/") for law in laws)


if __name__ == "__main__":
    STUDY.cli()
