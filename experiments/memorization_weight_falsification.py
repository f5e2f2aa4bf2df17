"""Does the loss weight of training set the size at which diffusion models memorise? Six weights against the formula.

The published crossover M* equates weighted losses. Read with the weight that training uses it predicts the diagonal;
a width that is best at every noise level predicts a horizontal line. Initialisation: means at M of N training points.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.memorization import theory
from lab.systems.memorization.laws.weights import (
    WEIGHT_CROSSOVER_PRINTED,
    WEIGHT_INDEPENDENCE,
    WEIGHTS,
    Weighted,
    published,
)

CURVE = (0.66, 0.72, 0.76, 0.8, 0.84, 0.9)
STUDY = Study(
    id="memorization/weight-falsification",
    laws=(WEIGHT_INDEPENDENCE, WEIGHT_CROSSOVER_PRINTED),
    title="The size at which trained models copy does not follow the published crossover of weighted losses",
    presets={
        "smoke": Grid(8, weights=[("eps", "x0", "high noise")]),
        "default": Grid(8) + Grid(8, d=30, K=3, N=50, shares=[CURVE], steps=3000),
        "paper": Grid(8, d=[30, 50], K=[3, 12], N=[50, 100, 200], steps=20_000, rate=3e-3, draws=20,
                      shares=[tuple(round(0.6 + 0.02 * i, 2) for i in range(19))]),
    },
)  # fmt: skip
LABELS = {"eps": r"$\epsilon$, uniform $t$", "x0": r"$x_0$, uniform $t$", "elbo": "likelihood bound",
          "low noise": r"$\epsilon$, $t<.2$", "middle noise": r"$\epsilon$, $.3<t<.6$",
          "high noise": r"$\epsilon$, $.6<t<.95$"}  # fmt: skip


@STUDY.figure(size=(7.4, 5.4))
def draw(ax, rows, verdicts):
    ax.plot([0, 1.02], [0, 1.02], color="0.35", linestyle="--", zorder=1)
    ax.text(0.565, 0.515, "published crossover\nread as a prediction", fontsize=8.5)
    mine = [v for v in verdicts if v["law"] == WEIGHT_INDEPENDENCE.id and v["at"] is not None]
    mine = [v for v in mine if v["index"] is not None]
    sizes = sorted({(v["at"]["d"], v["at"]["K"], v["at"]["N"]) for v in mine})
    for line, (d, K, N) in enumerate(sizes):
        level = theory.critical_size(d, K, N)
        ax.axhline(level, color="0.2", linewidth=1, linestyle=("-", "-.", ":")[line % 3], zorder=1)
        ax.axhspan(level - 0.03, level + 0.03, color="0.5", alpha=0.12, linewidth=0)
    ax.text(0.41, theory.critical_size(*sizes[0]) + 0.105, r"closed form $\pm.03$: no weight enters", fontsize=8.5)
    seen = set()
    for v in mine:
        at = {k: x for k, x in v["at"].items() if k in Weighted.model_fields}
        p = Weighted(**at)
        name, where = p.weights[v["index"]], float(published(p)[v["index"]])
        key = (p.d, p.K, p.N)
        # three weights are within 2e-5 of 1: side by side
        crowd = [n for n in WEIGHTS if n in ("eps", "elbo", "low noise")]
        where += 0.022 * (crowd.index(name) - 1) if name in crowd else 0.0
        where += 0.007 * sizes.index(key)
        low, high = (np.clip(v[k], 0, 1.2) for k in ("low", "high"))
        ax.errorbar(where, v["measured"], yerr=[[v["measured"] - low], [high - v["measured"]]], elinewidth=1,
                    marker="os^D"[sizes.index(key) % 4], markersize=5, color=COLOURS[WEIGHTS.index(name)],
                    linestyle="none", label=None if name in seen else LABELS[name], zorder=3)  # fmt: skip
        seen.add(name)
    configurations = "; ".join(f"{'os^D'[i % 4]}: {k}".replace("o:", "circles").replace("s:", "squares")
                               for i, k in enumerate(sizes))  # fmt: skip
    ax.set(xlabel=r"published $M_*/N$ of the training weight ($C=1$); three weights near 1 set side by side",
           ylabel=r"trained: $m_{1/2}$, $c=1/9$ (bar: accepted predictions)", xlim=(0.4, 1.06), ylim=(0.4, 1.06),
           title="\n".join(verdict_note(verdicts, law.id) for law in (WEIGHT_INDEPENDENCE, WEIGHT_CROSSOVER_PRINTED)))
    ax.legend(loc="lower right", fontsize=8.5, title_fontsize=8.5,
              title=f"weight of training; means start from training points\n(d, K, N): {configurations}")  # fmt: skip


if __name__ == "__main__":
    STUDY.cli()
