"""One layer of the token statistics transformer: how far it may step, which denoiser it is, and what it costs.

Top left: the variational rate after one step against the reduced step tau c/N. Descent is guaranteed up to 2; the edge
itself is 2(1+u) for complete frames, and lies further out for truncated heads with a soft membership. Top right: the
second moments after a step are a Wiener map of those before. Bottom left: the signal-to-noise ratio rises with complete
frames and falls with truncated heads, the practical form. Bottom right: flops counted exactly, and times measured.
Times belong to the machine and the moment: no verdict reads them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, measured_points, verdict_note
from lab.systems.tost import theory
from lab.systems.tost.laws.cost import COST_EXPONENTS, counted
from lab.systems.tost.laws.gain import GAIN
from lab.systems.tost.laws.steps import DESCENT_EDGE, WIENER_STEP

TIMED = replace(COST_EXPONENTS, measure=partial(counted, timed=True, budget=0.05))
CASES = (
    ({"full": True, "u": 1e-4, "confidence": 0.8}, "complete frames, $p=d$"),
    ({"full": False, "u": 1e-4, "confidence": 1.0}, "truncated heads, hard membership"),
    ({"full": True, "u": 0.5, "confidence": 0.8}, "complete frames, $u=0.5$"),
    ({"full": False, "u": 1e-4, "confidence": 0.6}, "truncated heads, own weight 0.6"),
)
FAST = 4  # the slope of the times is read off the last octaves, as many as this


def steps(count):
    """Axis of reduced steps up to 1.3 times the predicted edge."""
    def axis(f):
        edge = theory.descent_edge(f.u, heads=f.heads, confidence=f.confidence, full=f.full)
        return (1.3 * edge * (np.arange(count) + 0.5) / count).tolist()
    return axis


def preset(points, dims, shares, sizes, replicates, tssa, attention):
    heads, layer = {"heads": 3, "rank": 2, "spare": 2}, {"dim": 32, "heads": 2, "rank": 16}
    edges = [Grid(**heads, **case, s=steps(points)) for case, _ in CASES]
    cost = Grid(operator="tssa, energies", tokens=[2**k for k in tssa], **layer)
    cost += Grid(operator="attention", tokens=[2**k for k in attention], **layer)
    return {
        DESCENT_EDGE.id: sum(edges[1:], start=edges[0]),
        WIENER_STEP.id: Grid(dim=dims, n=3 * dims, rank=dims, top=300.0, decades=4.0, c=1.0, s=[0.5, 1.0, 2.0],
                             replicates=2),
        GAIN.id: Grid(delta=[0.1, 0.3], c=2.0, share=shares, per_class=sizes, replicates=replicates),
        COST_EXPONENTS.id: cost,
    }  # fmt: skip


STUDY = Study(
    id="tost/step-and-cost",
    laws=(DESCENT_EDGE, WIENER_STEP, GAIN, TIMED),
    title="One layer of a token statistics transformer: edge of descent, Wiener map, gain and cost",
    presets={
        "smoke": preset(40, 8, [0.2, 0.5, 0.8], [16, 32, 64, 128], 6, range(7, 15), range(6, 11)),
        "default": preset(
            80, 16, [0.1 * i for i in range(1, 9)], [16, 32, 64, 128, 256], 12, range(7, 18), range(6, 12)
        ),
        "paper": preset(
            200, 16, [0.05 * i for i in range(1, 18)], [64, 128, 256, 512, 1024, 2048], 24, range(7, 20), range(7, 14)
        ),
    },
)  # fmt: skip


@STUDY.figure(nrows=2, ncols=2, size=(11.5, 8.6))
def draw(axes, rows, verdicts):
    (edge, wiener), (gain, cost) = axes
    names = rows["measurement"].str
    draw_edge(edge, rows[names.endswith(":one_step")], verdicts)
    draw_wiener(wiener, rows[names.endswith(":layer")], verdicts)
    draw_gain(gain, rows[names.endswith(":gains")], verdicts)
    draw_cost(cost, rows[names.endswith(":counted")], verdicts)


def draw_edge(ax, rows, verdicts):
    found = [v for v in verdicts if v["law"] == DESCENT_EDGE.id and v["at"] is not None]
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.axvspan(0, 2, color="0.5", alpha=0.1, linewidth=0)
    ax.text(0.1, 0.5, "descent is\nguaranteed:\n" r"$\tau \leq 2N/c$", fontsize=8.5)
    for i, ((case, label), colour, marker) in enumerate(zip(CASES, COLOURS, "osD^", strict=False)):
        mine = np.all([rows[name] == value for name, value in case.items()], axis=0)
        part = rows[mine].sort_values("s")
        if part.empty:
            continue
        first = part.iloc[0]
        values = {"heads": int(first["heads"]), "confidence": case["confidence"], "full": case["full"]}
        line = np.linspace(0, part["s"].max(), 300)
        ax.plot(line, theory.rate_change(line, case["u"], **values), color=colour, linewidth=1.2 if i else 4,
                alpha=1.0 if i else 0.5)  # fmt: skip  # the first two cases have one curve
        some = part.iloc[i :: max(1, len(part) // 20)]
        at = [v for v in found if all(v["at"][name] == value for name, value in case.items())]
        located = f"\nends at {at[0]['measured']:.4f}, predicted {at[0]['predicted']:.4f}" if at else ""
        ax.plot(some["s"], some["change"], marker, color=colour, markersize=4, markerfacecolor="white",
                label=label + located)  # fmt: skip
        ax.plot([theory.descent_edge(case["u"], **values)] * 2, [-0.07, 0.07], color=colour, linewidth=1.5)
    ax.set(xlabel=r"reduced step $s=\tau c/N$", ylabel=r"relative change of $R^{var}$ in one step",
           title=r"Where a step stops descending ($u=c\ell=10^{-4}$ unless said)", xlim=(0, 8.6),
           ylim=(-1.08, 0.75))  # fmt: skip
    ax.legend(loc="lower right", fontsize=8, title=verdict_note(verdicts, DESCENT_EDGE.id), title_fontsize=8)


def draw_wiener(ax, rows, verdicts):
    low, high = (f(np.concatenate(rows["before"].to_list())) for f in (np.min, np.max))
    line = np.geomspace(low / 2, high * 2, 400)
    ax.plot(line, line, color="0.6", linewidth=0.8, linestyle=":")
    for (s, part), colour, marker in zip(rows.groupby("s"), COLOURS, "osD^", strict=False):
        label = rf"$s={s:g}$" + (": the best linear denoiser" if s == 1 else "")
        c = float(part["c"].iloc[0])
        ax.plot(line, theory.wiener_map(line, s, c), color=colour, label=label)
        for before, after in zip(part["before"], part["moments"], strict=True):
            order = np.argsort(theory.wiener_map(np.asarray(before), s, c))[::-1]
            ax.plot(np.asarray(before)[order], np.asarray(after) * np.max(before), marker, color=colour, markersize=4,
                    markerfacecolor="white")  # fmt: skip
    ax.axvline(1.0, color="0.6", linewidth=0.8, linestyle="--")
    ax.text(1.1, low**2 * 0.3, r"noise variance $1/c=\epsilon^2/d$", fontsize=8.5, color="0.35")
    ax.set(xscale="log", yscale="log", xlabel=r"second moment $\ell$ of a direction before",
           ylabel="after one layer", xlim=(low / 2, high * 2), ylim=(low**2 / 10, high * 3),
           title=r"Wiener map $\ell\,(1-s/(1+c\ell))^2$: strong directions stay")  # fmt: skip
    ax.legend(loc="upper left", title=verdict_note(verdicts, WIENER_STEP.id), title_fontsize=8)


def draw_gain(ax, rows, verdicts):
    rows = rows[rows["per_class"] == rows["per_class"].max()].copy()
    values = np.stack(rows["gains"].to_list())
    rows["complete"], rows["truncated"] = values.T
    rows["s"] = rows["share"] * (1 + rows["c"] * rows["delta"] ** 2)
    c = float(rows["c"].iloc[0])
    ax.axhline(1, color="0.6", linewidth=0.8)
    s = np.linspace(0, rows["s"].max() * 1.05, 200)
    for delta, colour, marker in zip(sorted(rows["delta"].unique()), COLOURS, "os", strict=False):
        part = rows[rows["delta"] == delta]
        inside = s[s < 0.97 * (1 + c * delta**2)]
        ax.plot(inside, theory.full_basis_gain(inside, c, delta), color=colour)
        measured_points(ax, part, x="s", y="complete", color=colour, marker=marker, markerfacecolor="white",
                        label=rf"complete frames, $\delta={delta:g}$")  # fmt: skip
        measured_points(ax, part, x="s", y="truncated", color=COLOURS[2], marker=marker, markerfacecolor="white",
                        label=rf"truncated heads, $\delta={delta:g}$")  # fmt: skip
    ax.plot(s, theory.truncated_gain(s, c), color=COLOURS[2])
    largest = int(rows["per_class"].max())
    ax.set(xlabel=r"reduced step $s=\tau c/N$", ylabel="signal-to-noise ratio, after / before", yscale="log",
           title=f"Gain of one layer, $c={c:g}$, {largest} tokens a cluster")  # fmt: skip
    ax.set_yticks([0.7, 1, 1.5, 2, 3, 5], labels=["0.7", "1", "1.5", "2", "3", "5"])
    ax.set_ylim(0.6, 6.5)
    ax.minorticks_off()
    ax.legend(loc="upper left", title=verdict_note(verdicts, GAIN.id), title_fontsize=8)


def draw_cost(ax, rows, verdicts):
    clock = ax.twinx()
    clock.spines["right"].set_visible(True)
    for name, colour, label in (
        ("attention", COLOURS[1], "softmax attention"), ("tssa, energies", COLOURS[0], "token statistics"),
    ):  # fmt: skip
        part = rows[rows["operator"] == name].sort_values("tokens")
        if part.empty:
            continue
        first = part.iloc[0]
        sizes = (int(first["dim"]), int(first["heads"]), int(first["rank"]))
        n = np.unique(np.geomspace(part["tokens"].min(), part["tokens"].max(), 100).astype(int))
        flops = [theory.attention_flops(int(m), *sizes) if name == "attention"
                 else theory.tssa_flops(int(m), *sizes, membership="energies") for m in n]  # fmt: skip
        ax.plot(n, flops, color=colour)
        slope = [v["measured"] for v in verdicts if v["law"] == TIMED.id and v["at"] and v["at"]["operator"] == name]
        ax.plot(part["tokens"], part["flops"], "o", color=colour, markersize=4,
                label=f"{label}: flops, exponent {slope[0]:.4f}" if slope else label)  # fmt: skip
        last = part.tail(FAST + 1)
        speed = np.polyfit(np.log(last["tokens"]), np.log(last["seconds"]), 1)[0]
        clock.plot(part["tokens"], part["seconds"], "x", color=colour, markersize=5)
        ax.plot([], [], "x", color=colour, label=f"{label}: time, slope {speed:.2f} in the last {FAST} octaves")
    times = rows["seconds"]
    middle = np.sqrt(times.min() * times.max()) / np.sqrt(rows["flops"].min() * rows["flops"].max())
    ax.set(xscale="log", yscale="log", xlabel="tokens $N$", ylabel="flops of a layer (dots, lines)",
           title=f"Cost of a layer, $d={sizes[0]}$, $K={sizes[1]}$, $p={sizes[2]}$")  # fmt: skip
    low, high = rows["flops"].min() / 3, rows["flops"].max() * 30
    ax.set_ylim(low, high)
    clock.set(yscale="log", ylim=(low * middle, high * middle), ylabel="seconds, NumPy, this machine (crosses)")
    ax.legend(loc="upper left", fontsize=8, title=verdict_note(verdicts, TIMED.id), title_fontsize=8)


if __name__ == "__main__":
    STUDY.cli()
