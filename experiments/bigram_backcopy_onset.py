r"""When a sink switches on: the time to half the attention grows linearly with context length and with 1/pi.

Left: measured times, exact quadrature and asymptote t* against context length; one colour a composition. Middle:
against the inverse weight of the query. Right: measured over t*, with the predicted approach 1 + c r log(1/r) + k r,
r = e^alpha(0)/W.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.bigram_backcopy import theory
from lab.systems.bigram_backcopy.laws.onset import HALF_TIME, ONSET_TIME


def preset(compositions, copies, shares):
    kinds = {"concentration": np.geomspace(1.0, 6.0, compositions).tolist()}
    several = Grid(copies=copies, share=0.2, **kinds) + Grid(copies=8, share=shares, **kinds)
    return {HALF_TIME.id: several, ONSET_TIME.id: Grid(copies=[n for n in copies if n >= 16], share=0.2, **kinds)}


STUDY = Study(
    id="bigram_backcopy/onset",
    laws=(HALF_TIME, ONSET_TIME),
    title="The onset of a sink: linear in the context length and in the inverse weight of the query",
    presets={
        "smoke": preset(3, [1, 4, 16, 64], [0.01, 0.1, 1.0]),
        "default": preset(6, [1, 2, 4, 8, 16, 32, 64, 128, 256], np.geomspace(0.01, 1, 7).tolist()),
        "paper": preset(30, [2**k for k in range(11)], np.geomspace(0.01, 1, 20).tolist()),
    },
)


@STUDY.figure(ncols=3, size=(15, 4.6))
def draw(axes, rows, verdicts):
    length, weight, ratio = axes
    rows = rows.drop_duplicates(["concentration", "copies", "share"])
    for (_, part), colour in zip(rows.groupby("concentration"), (*COLOURS, *COLOURS), strict=False):
        draw_one(length, weight, ratio, part, colour)
    for ax in (length, weight):
        ax.plot([], [], "o", color="0.4", markerfacecolor="white", label="gradient flow, one colour a composition")
        ax.plot([], [], color="0.4", label="exact, by quadrature")
        ax.plot([], [], color="0.4", linestyle=":", label=r"onset $t^*=We^{-\alpha(0)}/(\pi\Delta)$")
    name = r"time to half the attention, $t_{1/2}$"
    length.set(xscale="log", yscale="log", xlabel="context length $W$ at fixed composition", ylabel=name,
               title="Linear in the context length")  # fmt: skip
    length.legend(loc="lower right", title=note(verdicts, HALF_TIME), title_fontsize=8)
    weight.set(xscale="log", yscale="log", xlabel=r"inverse weight $1/\pi$ of the query", ylabel=name,
               title="Rare queries wait longer")  # fmt: skip
    weight.legend(loc="lower right")
    ratio.axhline(1, color="0.5", linewidth=0.8)
    ratio.plot([], [], "o", color="0.4", markerfacecolor="white", label="gradient flow")
    ratio.plot([], [], color="0.4", label="exact, by quadrature")
    ratio.plot([], [], color="0.4", linestyle="--", label=r"predicted $1+c\,r\log\frac{1}{r}+k\,r$")
    ratio.set(xscale="log", xlabel=r"$r=e^{\alpha(0)}/W$", ylabel=r"$t_{1/2}\,/\,t^*$", ylim=(0.95, 2.2),
              title="Approach to the asymptote")  # fmt: skip
    ratio.legend(loc="upper left", title=note(verdicts, ONSET_TIME), title_fontsize=8)


def draw_one(length, weight, ratio, part, colour):
    row = part.iloc[0]
    P, B, W = (np.array(np.asarray(row[n]).tolist()) for n in ("probabilities", "values", "lengths"))
    P, B, W, start = P[0], B[0, 0], float(W[0, 0]), float(row["start"])
    style = {"marker": "o", "linestyle": "none", "color": colour, "markersize": 4.5, "markerfacecolor": "white"}
    along, across = part[part["share"] == 0.2], part[part["copies"] == 8]
    length.plot(along["copies"] * W, along["half"], **style, zorder=3)
    weight.plot(1 / across["share"], across["half"], **style, zorder=3)
    ratio.plot(np.exp(start) / (along["copies"] * W), along["ratio"], **style, zorder=3)
    n = np.geomspace(along["copies"].min(), along["copies"].max(), 40)
    exact = np.array([theory.half_attention_time(P, 0.2, k * B, k * W, start=start) for k in n])
    onset = theory.onset_time(P, 0.2, B, np.array(W), start=start) * n
    length.plot(n * W, exact, color=colour)
    length.plot(n * W, onset, color=colour, linestyle=":")
    pi = np.geomspace(across["share"].min(), across["share"].max(), 10)
    eight = theory.half_attention_time(P, 1.0, 8 * B, 8 * W, start=start)
    weight.plot(1 / pi, eight / pi, color=colour)
    first = theory.onset_time(P, 1.0, 8 * B, np.array(8 * W), start=start)
    weight.plot(1 / pi, first / pi, color=colour, linestyle=":")
    r = np.exp(start) / (n * W)
    ratio.plot(r, exact / onset, color=colour)
    shown = r < 0.1
    ratio.plot(r[shown], theory.onset_expansion(r[shown], P, B, W)[0], color=colour, linestyle="--")


def note(verdicts, law):
    return verdict_note(verdicts, law.id).removeprefix("bigram_backcopy/")


if __name__ == "__main__":
    STUDY.cli()
