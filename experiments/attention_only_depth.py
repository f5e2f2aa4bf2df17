"""How long does attention-only denoising last? Signal-to-noise ratio against layers, for five operators and three
noises.

Thresholded attention multiplies the ratio by exactly 1 + eta tau, until the grown signal lets foreign rows attend to
it;
from then on the ratio falls (dotted: l_ex, half of the draws exact; l_typ, typical foreign rows condense). Divided by
1 + eta tau in every layer, the same operator keeps its rate. Plain softmax rises, peaks and collapses; rectified and
linear weights (over the number of keys, signal put back to unit mean square) turn all tokens of a head into its leading
direction: for small noise they gain 1 + sqrt(p/N_1) in all, the edge of the Marchenko-Pastur law, and no more.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.attention_only import theory
from lab.systems.attention_only.laws.depth import DEPTH_LIMIT, DEPTH_PEAK
from lab.systems.attention_only.laws.energies import ROW_GAIN

OPERATORS = {"rescaled": "thresholded, rescaled", "thresholded": "thresholded", "softmax": "softmax",
             "relu": "ReLU/N", "linear": "linear/N"}  # fmt: skip
MARKERS = dict(zip(OPERATORS, "sovD^", strict=True))


def preset(per_class, rank, layers, noises, replicates, shown, heads=4, eta=0.5, operators=tuple(OPERATORS)):
    """All operators at all noises; the depth laws where all rows pass at first."""
    size = {"per_class": per_class, "rank": rank, "layers": layers, "eta": eta, "heads": heads}
    exact = {"operator": "thresholded", "replicates": replicates, **size}
    return {
        DEPTH_LIMIT.id: Grid(delta=noises[0], **exact),
        DEPTH_PEAK.id: Grid(delta=noises[:2], **exact),
        ROW_GAIN.id: Grid(operator=list(operators), delta=noises, replicates=shown, **size),
    }


STUDY = Study(
    id="attention_only/aot-depth",
    laws=(DEPTH_LIMIT, DEPTH_PEAK, ROW_GAIN),
    title="Attention-only denoising against depth: exact, then collapsing; rescaled, for ever",
    presets={
        "smoke": preset(48, 48, 10, [0.05, 0.2, 0.5], 6, 6, operators=("rescaled", "thresholded", "softmax", "linear")),
        "default": preset(128, 64, 14, [0.05, 0.2, 0.5], 8, 8),
        "paper": preset(2048, 64, 30, [0.05, 0.2, 0.5], 8, 8, heads=8),
    },
)


@STUDY.figure(ncols=3, size=(13, 5.0), sharey=True)
def draw(axes, rows, verdicts):
    rows = rows[rows["operator"].isin(OPERATORS)]
    for ax, (delta, part) in zip(axes, rows.groupby("delta"), strict=False):
        p = part.iloc[0]
        setting = (int(p["heads"]), int(p["per_class"]), int(p["rank"]))
        layers, start = np.arange(int(p["layers"]) + 1), 1 / (delta * np.sqrt(setting[0] - 1))
        rate = theory.growth(p["eta"], p["tau"])[0]
        depth = [f(*setting, delta, p["tau"], p["eta"]) for f in (theory.exact_depth, theory.peak_depth)]
        lines = {
            "rescaled": start * rate**layers, "thresholded": start * rate ** layers[layers <= depth[1]],
            "softmax": theory.softmax_evolution(*setting, delta, p["eta"], len(layers) - 1).snr,
            **{name: iterated(name, setting, delta, p["eta"], layers) for name in ("relu", "linear")},
        }  # fmt: skip
        lines = {name: line for name, line in lines.items() if name in set(part["operator"])}
        lines["softmax"] = lines["softmax"][: np.argmax(lines["softmax"]) + 1]
        for name in lines.keys() & {"relu", "linear"}:  # later the blocks are no longer Gaussian
            lines[name] = lines[name][:4]
        if depth[0] == 0:  # the events break in the first layer: nothing is claimed
            lines["rescaled"], lines["thresholded"] = lines["rescaled"][:1], lines["thresholded"][:1]
            ax.plot(layers, start * rate**layers, color="0.6", linewidth=1, linestyle="--")
            ax.text(layers[-1], 1.2 * start * rate ** layers[-1], "the published rate", fontsize=8.5, color="0.4",
                    ha="right", va="bottom")  # fmt: skip
        limit = start * theory.linear_depth_gain(setting[1], setting[2])
        ax.plot(layers[4:], np.full(len(layers) - 4, limit), color="0.6", linewidth=0.9, linestyle=":")
        ax.text(layers[-1] + 0.2, limit * 1.08, r"linear, in all: about $1+\sqrt{p/N_1}$", fontsize=8, color="0.4",
                ha="right", va="bottom")  # fmt: skip
        for name, colour in zip(OPERATORS, COLOURS, strict=False):
            if name not in lines:
                continue
            found = np.stack(part.loc[part["operator"] == name, "snr"].to_list())
            ax.plot(layers[: len(lines[name])], lines[name], color=colour, linewidth=1.2)
            low, mean, high = found.min(0), np.exp(np.log(found).mean(0)), found.max(0)
            ax.errorbar(layers, mean, yerr=[mean - low, high - mean], color=colour, marker=MARKERS[name], markersize=4,
                        markerfacecolor="white", linestyle="none", elinewidth=1, label=OPERATORS[name])  # fmt: skip
        typical = theory.typical_depth(setting[1], setting[2], delta, p["tau"], p["eta"])
        marks = {r"$l_{ex}$": depth[0], r"$l_{typ}$": typical}
        for label, at in marks.items():
            if 0.5 < at < len(layers) - 1:
                ax.axvline(at, color="0.5", linewidth=0.9, linestyle=":")
                ax.text(at, 1.01, label, ha="center", va="bottom", fontsize=8.5, color="0.3",
                        transform=ax.get_xaxis_transform())  # fmt: skip
        ax.set(xlabel="layer $l$", yscale="log", ylim=(0.2, 2000))
        chance = theory.exact_probability(*setting, delta, p["tau"])
        ax.set_title(rf"noise $\delta={delta:g}$:  P(first layer exact) = {chance:.2g}", pad=16)
    p = rows.iloc[0]
    axes[0].set_ylabel("signal-to-noise ratio (norm in own head / in others)")
    axes[0].legend(loc="upper left", title=f"$N={int(p['heads'] * p['per_class'])}$, $K={int(p['heads'])}$, "
                   rf"$p={int(p['rank'])}$, $\eta={p['eta']:g}$, $\tau={p['tau']:g}$", title_fontsize=8.5)  # fmt: skip
    text = "lines: theory    points: mean, least and largest draw\n"
    text += "\n".join(verdict_note(verdicts, law.id) for law in STUDY.laws)
    axes[2].text(0.98, 0.98, text, ha="right", va="top", fontsize=8, transform=axes[2].transAxes)
    for v in verdicts:
        if v["law"] in (DEPTH_LIMIT.id, DEPTH_PEAK.id) and v["at"] is not None:
            ax = axes[sorted(rows["delta"].unique()).index(v["at"]["delta"])]
            what = "last exact layer" if v["law"] == DEPTH_LIMIT.id else "ratio peaks at"
            y = 0.05 if v["law"] == DEPTH_LIMIT.id else 0.01
            ax.text(0.02, y, f"{what}: {v['measured']:.1f}, predicted {v['predicted']:.1f}", fontsize=8,
                    transform=ax.transAxes)  # fmt: skip


def iterated(name, setting, delta, eta, layers):
    """One-layer gains of closed form, layer after layer, the noise updated: right as long as blocks look Gaussian."""
    energies = theory.relu_energies if name == "relu" else theory.linear_energies
    path = [1 / (delta * np.sqrt(setting[0] - 1))]
    for _ in layers[1:]:
        now = 1 / (path[-1] * np.sqrt(setting[0] - 1))
        path.append(path[-1] * theory.gain(*energies(*setting, now, eta / (setting[0] * setting[1])), now))
    return np.array(path)


if __name__ == "__main__":
    STUDY.cli()
