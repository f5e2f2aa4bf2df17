"""How much rate reduction is worth nothing? The floor of noise, the floor of trained features, and the maximum.

Features that know nothing of their labels - Gaussian, on the sphere, random signs, samples of subspaces under random
labels - all have the same rate reduction to leading order, set by beta = d/N (Marchenko-Pastur). Features trained by
MCR² reach the exact maximum with their own labels; with random labels they fall back, but to a floor of their own above
that of noise, since training has flattened their spectrum. From N = d on any labels are as good as the true ones.
Per coordinate variance 1/d (unit rows), K equal classes; middle: the terms of order one, which tell Gaussian from
bounded coordinates.
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, located, measured_points, residuals, verdict_note
from lab.systems.mcr2 import theory
from lab.systems.mcr2.laws.random_features import NULL_RATE_CORRECTION, NULL_RATE_REDUCTION
from lab.systems.mcr2.laws.whitened_features import RELABELLED_RATE

SIMPLE = ["gaussian", "sphere", "signs"]
KINDS = {
    "gaussian": ("o", COLOURS[0], "Gaussian"),
    "sphere": ("s", COLOURS[2], "sphere"),
    "signs": ("^", COLOURS[5], "random signs"),
    "mixture": ("D", COLOURS[3], "subspaces, random labels"),
}


def preset(noise, close, trained, replicates, classes=4):
    """Grids of (dims, betas, draws or shuffles): noise of all kinds, the same looked at closely, trained features."""
    shared = {"classes": classes, "replicates": replicates}
    dims, betas, draws = noise
    everything = Grid(kind=[*SIMPLE, "mixture"], dim=dims, beta=betas, draws=draws, **shared)
    closer = Grid(kind=SIMPLE, dim=close[0], beta=close[1], draws=close[2], **shared)
    return {
        NULL_RATE_REDUCTION.id: everything,
        NULL_RATE_CORRECTION.id: closer,
        RELABELLED_RATE.id: Grid(dim=trained[0], beta=trained[1], shuffles=trained[2], **shared),
    }


STUDY = Study(
    id="mcr2/null-floor",
    laws=(NULL_RATE_REDUCTION, NULL_RATE_CORRECTION, RELABELLED_RATE),
    title="Noise has a rate reduction of its own, and trained features with random labels a larger one",
    presets={
        "smoke": preset(([8, 12, 16, 32], [0.1, 0.25, 0.5, 1.0], 16), ([8, 12, 16, 32], [0.1], 60),
                        ([8, 12, 16, 32], [0.25, 0.5], 200), replicates=8),
        "default": preset(([16, 24, 32, 64], [0.0625, 0.1, 0.16, 0.25, 0.4, 0.7, 1.2, 2.0], 16),
                          ([12, 16, 24, 48], [0.0625, 0.1, 0.16, 0.25, 0.4, 0.7, 1.2], 200),
                          ([8, 12, 16, 32], [0.0625, 0.125, 0.25, 0.5], 600), replicates=12),
        "paper": preset(([64, 128, 256, 512], [0.05, 0.0625, 0.1, 0.16, 0.25, 0.4, 0.7, 1.2, 2.0], 32),
                        ([32, 48, 64, 128], [0.05, 0.1, 0.16, 0.25, 0.4, 0.7, 1.2], 1000),
                        ([64, 96, 128, 192], [0.05, 0.0625, 0.125, 0.25, 0.5], 2000), replicates=24, classes=8),
    },
)  # fmt: skip


def per_dimension(rate, betas, classes, eps, d=4096, **options):
    """``rate(d, sizes)/d`` for equal classes at large d, along beta."""
    sizes = [[max(1, round(d / (beta * classes)))] * classes for beta in betas]
    return np.array([rate(d, one, eps=eps, variance="unit sphere", **options) / d for one in sizes])


@STUDY.figure(ncols=3, size=(13, 4.4), width_ratios=(1.4, 1.1, 1))
def draw(axes, rows, verdicts):
    level, order_one, error = axes
    noise = rows[rows["measurement"].str.endswith(":noise_reduction")]
    trained = rows[rows["measurement"].str.endswith(":relabelled")]
    classes, eps = int(rows["classes"].iloc[0]), float(rows["eps"].iloc[0])
    low, high = min(noise["beta"].min(), trained["beta"].min()), max(noise["beta"].max(), 1.0)
    beta = np.geomspace(low / 1.15, high * 1.15, 200)

    floor = per_dimension(theory.null_rate_reduction, beta, classes, eps, correction=False)
    flat = per_dimension(theory.whitened_null_rate_reduction, beta, classes, eps, correction=False)
    few = beta[beta <= 1]
    most = [theory.balanced_maximum(4096, classes, 64 * classes, eps=eps) / (64 * classes)] * len(few)
    level.fill_between(beta, 0, floor, color="0.5", alpha=0.13, linewidth=0)
    shown, wide = int(noise["dim"].max()), int(trained["dim"].max())
    below_one = few[few < 0.95]  # the term of order one, at the dimension of the trained features
    close = per_dimension(theory.whitened_null_rate_reduction, below_one, classes, eps, subspaces=classes) * 4096
    close = flat[: len(below_one)] + (close - flat[: len(below_one)] * 4096) / wide
    level.plot(few, most, color=COLOURS[1], label="theory: exact maximum")
    level.plot(beta, flat, color=COLOURS[4], label="theory: flat spectrum, random labels")
    level.plot(below_one, close, color=COLOURS[4], linestyle=":", label=f"theory: the same at $d={wide}$")
    level.plot(beta, floor, color="0.2", label="theory: floor of noise")
    for kind, (marker, colour, label) in KINDS.items():
        mine = noise[(noise["kind"] == kind) & (noise["dim"] == shown)].assign(per=lambda f: f["reduction"] / f["dim"])
        measured_points(level, mine, x="beta", y="per", marker=marker, color=colour, markerfacecolor="none",
                        label=label)  # fmt: skip
    last = trained[trained["dim"] == wide]
    for column, colour, label in (("own", COLOURS[1], "trained, own labels"),
                                  ("reduction", COLOURS[4], "trained, random labels")):  # fmt: skip
        measured_points(level, last.assign(per=last[column] / wide), x="beta", y="per", marker="*", markersize=8,
                        color=colour, label=label)  # fmt: skip
    level.text(beta[-1] / 1.1, floor[-1] * 0.25, "knows nothing\nof the labels", ha="right", fontsize=8.5)
    level.set(xscale="log", xlabel=r"$\beta=d/N$", ylabel=r"$\Delta R/d$ (nats per dimension)", ylim=(0, 1.5 * most[0]),
              title=rf"Rate reduction, $K={classes}$, $\epsilon={eps:g}$, $d={shown}$ (trained: ${wide}$)")  # fmt: skip
    level.legend(fontsize=7.2, loc="upper left", ncols=2, columnspacing=0.8, handlelength=1.5, borderaxespad=0.1)

    for kurtosis, colour, label in ((0.0, COLOURS[0], r"theory: $\kappa=0$"), (-2.0, COLOURS[2], r"$\kappa=-2$")):
        scale = {"variance": 1 / 4096, "kurtosis": kurtosis}
        sizes = [[max(1, round(4096 / (b * classes)))] * classes for b in beta]
        line = [
            theory.null_rate_reduction(4096, n, eps=eps, **scale)
            - theory.null_rate_reduction(4096, n, eps=eps, correction=False, variance=1 / 4096)
            for n in sizes
        ]
        spread = np.sqrt([theory.null_rate_reduction_variance(4096, n, eps=eps, **scale) for n in sizes])
        order_one.fill_between(beta, line - spread, line + spread, color=colour, alpha=0.10, linewidth=0)
        order_one.plot(beta, line, color=colour, label=f"{label}, band: one draw")
    closer = noise[noise["draws"] == noise["draws"].max()]
    near = int(closer["dim"].max())
    for i, kind in enumerate(SIMPLE):
        marker, colour, label = KINDS[kind]
        mine = closer[(closer["kind"] == kind) & (closer["dim"] == near)]
        excess = mine["reduction"] - mine.apply(floor_of, axis=1)
        measured_points(order_one, mine.assign(excess=excess, at=mine["beta"] * 1.03 ** (i - 1)), x="at", y="excess",
                        marker=marker, color=colour, markerfacecolor="none", label=label)  # fmt: skip
    order_one.axhline(0, color="0.5", linewidth=0.8)
    order_one.set(xscale="log", xlabel=r"$\beta=d/N$", ylabel=r"$\Delta R-$ floor (nats)", ylim=(-0.24, 0.2),
                  title=f"Terms of order one, $d={near}$")  # fmt: skip
    order_one.legend(fontsize=7.5, loc="lower left")

    notes = [verdict_note(verdicts, law.id) for law in STUDY.laws]
    for kind, (marker, colour, _) in KINDS.items():
        mine = [v for v in verdicts if v["at"] is not None and v["at"].get("kind") == kind]
        located(error, mine, NULL_RATE_REDUCTION.id, x=apart, color=colour, marker=marker, markerfacecolor="none")
    located(error, verdicts, RELABELLED_RATE.id, x=lambda at: at["beta"] * 1.12, color=COLOURS[4], marker="*",
            markersize=8)  # fmt: skip
    error.text(0.02, 0.985, "\n".join(notes), transform=error.transAxes, va="top", fontsize=7.5,
               bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85})  # fmt: skip
    residuals(error, r"$\Delta R$ / theory, extrapolated to $d\to\infty$")
    error.set(xscale="log", xlabel=r"$\beta=d/N$", title="Limits (bar: accepted predictions)", ylim=(0.92, 1.12))


def floor_of(row) -> float:
    """Floor of one row, without its term of order one."""
    p = NULL_RATE_REDUCTION.params(
        dim=int(row["dim"]), **{name: row[name] for name in ("beta", "skew", "eps")}, classes=int(row["classes"])
    )
    return float(NULL_RATE_REDUCTION.predict(p))


def apart(at) -> float:
    """beta, kinds moved apart."""
    return at["beta"] * 1.05 ** (list(KINDS).index(at["kind"]) - 1.5)


if __name__ == "__main__":
    STUDY.cli()
