"""Where do trained mixtures start to copy, over dimension, clusters and points? Trained, closed form, difference.

Means start from training points. Each cell is the size M/N at which half of the samples are copies (c = 1/9), from
several data sets; colour scales are shared by training and closed form.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import verdict_note
from lab.systems.memorization.laws.transition import THRESHOLDS, TRANSITION

OFFICIAL = tuple(round(0.6 + 0.02 * i, 2) for i in range(20))

STUDY = Study(
    id="memorization/phase-diagram",
    laws=(TRANSITION,),
    title="The critical size of trained models hardly depends on dimension, clusters and points",
    presets={
        "smoke": Grid(8, d=[20, 30], K=2, N=24, shares=[(0.62, 0.72, 0.84, 0.96)]),
        # large training sets take fewer draws per point: there are more points to average over
        "default": Grid(8, d=[20, 40], K=[2, 6], N=[32, 50], shares=[(0.6, 0.7, 0.8, 0.9, 0.96)])
        + Grid(8, d=[20, 40], K=[2, 6], N=100, shares=[(0.6, 0.7, 0.8, 0.9, 0.96)], draws=1),
        "paper": Grid(4, d=[30, 40, 50, 60], K=[3, 6, 9, 12], N=[50, 100, 150, 200], shares=[OFFICIAL], steps=50_000,
                      rate=1e-3, std=1e-3),
    },
)  # fmt: skip

USUAL = THRESHOLDS.index(1 / 9)


@STUDY.figure(nrows=1, ncols=3, size=(13.0, 4.6))
def draw(axes, rows, verdicts):
    cells = [v for v in verdicts if v["at"] is not None and v["index"] == USUAL and v["measured"] is not None]
    dims = sorted({v["at"]["d"] for v in cells})
    across = sorted({(v["at"]["N"], v["at"]["K"]) for v in cells})
    measured, predicted = (np.full((len(dims), len(across)), np.nan) for _ in range(2))
    for v in cells:
        where = dims.index(v["at"]["d"]), across.index((v["at"]["N"], v["at"]["K"]))
        measured[where], predicted[where] = v["measured"], v["predicted"]
    low, high = np.nanmin([measured, predicted]), np.nanmax([measured, predicted])
    span = max(0.03, float(np.nanmax(np.abs(measured - predicted))))
    panels = (
        ("trained", measured, "viridis", low, high), ("closed form", predicted, "viridis", low, high),
        ("trained - closed form", measured - predicted, "RdBu_r", -span, span),
    )  # fmt: skip
    for ax, (title, values, colours, least, most) in zip(axes, panels, strict=True):
        image = ax.imshow(values, cmap=colours, vmin=least, vmax=most, aspect="auto", origin="lower")
        label = r"$m_{1/2}$, $c=1/9$" if colours == "viridis" else r"difference of $m_{1/2}$"
        ax.figure.colorbar(image, ax=ax, location="bottom", shrink=0.9, label=label)
        ax.set_xticks(range(len(across)), [f"{N}, {K}" for N, K in across], rotation=90 if len(across) > 6 else 0)
        ax.set_yticks(range(len(dims)), [str(d) for d in dims])
        ax.set(xlabel="points $N$, clusters $K$", ylabel="dimension $d$", title=title)
        if values.size <= 24:
            middle = (least + most) / 2
            for (i, j), value in np.ndenumerate(values):
                bright = value < middle if colours == "viridis" else abs(value) > 0.7 * span
                text = f"{value:.3f}" if colours == "viridis" else f"{value:+.3f}"
                ax.text(j, i, text, ha="center", va="center", fontsize=9, color="white" if bright else "black")
    axes[0].set_title("trained; means start from training points")
    axes[2].set_title(f"difference; {verdict_note(verdicts, TRANSITION.id)}", fontsize=9)


if __name__ == "__main__":
    STUDY.cli()
