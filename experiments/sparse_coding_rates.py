r"""ISTA, FISTA and the lagged gradient of published code on problems whose minimiser is known.

Left: gaps of one problem against the bounds, with asymptotic lines of the predicted rates. Middle: measured rates of
ISTA and FISTA against the curvature s; FISTA is the slower one for every s. Right: local slopes of the lagged
gradient on the way to -3/2 for the error and -3 for the gap, the same for all problems.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.streams import Stream
from lab.systems.sparse_coding import theory
from lab.systems.sparse_coding.laws.bounds import FISTA_BOUND, ISTA_BOUND
from lab.systems.sparse_coding.laws.rates import (
    FISTA_LOCAL_RATE,
    ISTA_LOCAL_RATE,
    LAGGED_GAP,
    LAGGED_GRADIENT,
    Planted,
    damping,
    planted,
    run,
)


def preset(penalties, sizes, replicates):
    grid = Grid(lam=np.geomspace(0.05, 0.8, penalties).tolist(), size=sizes, nonzeros=[4, 7], replicates=replicates)
    laws = (ISTA_BOUND, FISTA_BOUND, ISTA_LOCAL_RATE, LAGGED_GRADIENT, LAGGED_GAP)
    # curves are judged one problem at a time: their rates differ
    single = Grid(lam=np.geomspace(0.05, 0.8, penalties * replicates).tolist(), size=sizes, nonzeros=[4, 7])
    return {law.id: grid for law in laws} | {FISTA_LOCAL_RATE.id: single}


STUDY = Study(
    id="sparse_coding/rates",
    laws=(ISTA_BOUND, FISTA_BOUND, ISTA_LOCAL_RATE, FISTA_LOCAL_RATE, LAGGED_GRADIENT, LAGGED_GAP),
    title="Rates of convolutional sparse coding: ISTA, FISTA, and the heavy ball that published code runs",
    presets={
        "smoke": preset(2, [8], 1),
        "default": preset(5, [4, 8], 4),
        "paper": preset(25, [3, 4, 6, 8, 10], 10),
    },
)


@STUDY.figure(ncols=3, size=(14.5, 4.9), width_ratios=(1.3, 1, 1.05))
def draw(axes, rows, verdicts):
    draw_gaps(axes[0], verdicts)
    draw_rates(axes[1], rows, verdicts)
    draw_slopes(axes[2], rows, verdicts)


def draw_gaps(ax, verdicts):
    p = Planted(lam=0.3)
    data = planted(p, Stream("sparse_coding/rates", "figure"))
    s, _ = theory.slowest_mode(data["filters"], data["codes"])
    unit = theory.operator_norm(data["filters"], p.length) * np.sum(data["codes"] ** 2) / 2
    k = np.arange(1, 1501)
    for method, label, colour in (
        ("ista", "ISTA", COLOURS[0]), ("fista", "FISTA", COLOURS[1]), ("lagged", "lagged gradient", COLOURS[2])
    ):  # fmt: skip
        gap = run(p, data, method, k.size).gaps / unit
        seen = gap > 1e-15
        ax.plot(k[seen], gap[seen], color=colour, label=label, linewidth=1.1)
        rate = {"ista": (1 - s) ** (2.0 * k), "fista": k**-3.0 * (1 - s) ** k, "lagged": k**-3.0}[method]
        near = (gap > 1e-13) & (k > (200 if method == "lagged" else 40))
        line = rate * np.max(gap[near] / rate[near])
        shown = (line > 1e-15) & (line < 3e-3) & (k > 15)
        ax.plot(k[shown], line[shown], color=colour, linestyle="--", linewidth=1)
    ax.plot(k, theory.ista_gap(k), color=COLOURS[0], linestyle=":", label=r"bound $1/k$")
    ax.plot(k, theory.fista_gap(k), color=COLOURS[1], linestyle=":", label=r"bound $4/(k+1)^2$")
    ax.plot([], [], color="0.4", linestyle="--", label=r"$(1-s)^{2k}$, $k^{-3}(1-s)^k$, $k^{-3}$")
    ax.set(xscale="log", yscale="log", ylim=(1e-15, 3), xlabel="step $k$",
           ylabel=r"gap $(F(\gamma_k)-F^\star)\,/\,\frac{1}{2}L\|\gamma^\star\|^2$")  # fmt: skip
    ax.set_title(f"One problem, $s={s:.3f}$\n{notes(verdicts, ISTA_BOUND, FISTA_BOUND)}", fontsize=8.5)
    ax.legend(loc="lower left", fontsize=8)


def draw_rates(ax, rows, verdicts):
    s = np.geomspace(0.02, 0.6, 100)
    ax.plot(s, -np.log(theory.ista_factor(s)), color=COLOURS[0], label=r"ISTA, $-\log(1-s)$")
    ax.plot(s, -theory.fista_rate(s), color=COLOURS[1], label=r"FISTA, $-\frac{1}{2}\log(1-s)$")
    ista = judged(verdicts, ISTA_LOCAL_RATE)
    ax.plot([1 - v["predicted"] for v in ista], [-np.log(v["measured"]) for v in ista], "o", color=COLOURS[0],
            markersize=4.5, markerfacecolor="white", label="measured ratio of the slowest mode")  # fmt: skip
    fista = judged(verdicts, FISTA_LOCAL_RATE)
    ax.plot([1 - np.exp(2 * v["predicted"]) for v in fista], [-v["measured"] for v in fista], "s", color=COLOURS[1],
            markersize=4, markerfacecolor="white", label="extrapolated slope of its amplitude")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel=r"curvature $s=\sigma_{\min}^2(D_S)/L$", ylabel="rate per step",
           xticks=[0.02, 0.05, 0.1, 0.2, 0.5], xticklabels=["0.02", "0.05", "0.1", "0.2", "0.5"])
    ax.minorticks_off()
    ax.set_title(notes(verdicts, ISTA_LOCAL_RATE, FISTA_LOCAL_RATE), fontsize=8.5)
    ax.legend(loc="upper left", fontsize=8)


def draw_slopes(ax, rows, verdicts):
    found = rows[rows["gap"].notna() & rows["error"].notna()]
    k = np.asarray(found["k"].iloc[0], dtype=float)
    middle = np.sqrt(k[1:] * k[:-1])
    for column, limit, colour in (
        ("error", theory.LAGGED_ERROR, COLOURS[2]), ("gap", theory.LAGGED_GAP, COLOURS[4])
    ):  # fmt: skip
        values = np.log(np.stack([np.asarray(v, dtype=float) for v in found[column]]))
        slopes = np.diff(values, axis=1) / np.diff(np.log(k))
        for slope in slopes:
            ax.plot(middle, slope - limit, ".", color=colour, markersize=5, alpha=0.5)
        ax.plot([], [], "o", color=colour, markersize=4, label=f"{column}: slope minus ({limit:g})")
        if column == "error":  # windows [k, 2k] shift the slopes of the gap
            line = middle * damping(middle) - limit - 3 / (8 * middle)
            ax.plot(middle, line, color=colour, label=r"momenta, and drift of the phase $-3/(8k)$")
    ax.axhline(0, color="0.4", linewidth=0.8)
    ax.set(xscale="log", xlabel="step $k$", ylabel="local log-log slope minus its limit", xticks=[400, 800, 1600],
           xticklabels=["400", "800", "1600"])  # fmt: skip
    ax.minorticks_off()
    ax.set_title(notes(verdicts, LAGGED_GRADIENT, LAGGED_GAP), fontsize=8.5)
    ax.legend(loc="upper right", fontsize=8, title="lagged gradient: no linear rate", title_fontsize=8)


def judged(verdicts, law):
    """Groups of a law with a finite measured value."""
    return [v for v in verdicts if v["law"] == law.id and v["at"] is not None and v["measured"] is not None]


def notes(verdicts, *laws):
    return "\n".join(verdict_note(verdicts, law.id) for law in laws)


if __name__ == "__main__":
    STUDY.cli()
