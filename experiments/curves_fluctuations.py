r"""How much the kernel of a random network scatters: depth over width decides, and exactly how is known.

Left: relative variance of the kernel at a point, by the exact recursion at widths from 16 to 4096, on the limit in
L/n, all over L/n; points are random networks. Middle: how far the mean kernel along a circle is from the limit kernel,
times n/L: the bias is of order L/n, and none on the diagonal. Right: largest deviation from the limit over all pairs of
points, against sqrt(L/n).
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.curves.laws.finite_width import NTK_VARIANCE, NTK_VARIANCE_LIMIT
from lab.systems.curves.laws.random_networks import NTK_CONCENTRATION, NTK_LIMIT, Circle, limit_share
from lab.systems.curves.theory import finite_width as theory


def preset(networks, ratios, depths, widths, replicates, numbers):
    def sized(**axes):
        return Grid(replicates=replicates, numbers=numbers, **axes)

    single = [sized(width=width, depth=depth) for width, depth in networks]
    circle = sized(depth=depths, width=lambda f: [w for w in widths if w >= 4 * f.depth])
    narrow = sized(depth=depths, width=lambda f: [w for w in widths if w >= 20 * f.depth])
    return {
        NTK_VARIANCE.id: sum(single[1:], start=single[0]),
        NTK_VARIANCE_LIMIT.id: Grid(per=10, layers=ratios),
        NTK_LIMIT.id: circle,
        NTK_CONCENTRATION.id: narrow,
    }  # fmt: skip


STUDY = Study(
    id="curves/fluctuations",
    laws=(NTK_VARIANCE, NTK_VARIANCE_LIMIT, NTK_LIMIT, NTK_CONCENTRATION),
    title="Fluctuations of the neural tangent kernel at finite width, with their exact law",
    presets={
        "smoke": preset([(4, 1), (10, 2)], [1, 4, 16], [2], [8, 16, 32, 64, 128], 24, 2**17),
        "default": preset(
            [(3, 1), (6, 1), (12, 1), (10, 2), (24, 2), (96, 2), (20, 4), (48, 6)],
            [1, 2, 4, 8, 16], [1, 2, 4], [16, 32, 64, 128, 256], 24, 2**20,
        ),
        "paper": preset(
            [(n, L) for n in (8, 16, 32, 64, 128, 256) for L in (1, 2, 4, 8, 16, 32) if n >= 5 * L], list(range(1, 17)),
            [1, 2, 4, 8, 16], [64, 128, 256, 512, 1024, 2048], 64, 2**27,
        ),
    },
)  # fmt: skip


@STUDY.figure(ncols=3, size=(14.5, 4.6))
def draw(axes, rows, verdicts):
    of = rows["measurement"].str
    draw_variance(axes[0], verdicts)
    circle = rows[of.endswith(":on_circle")]
    draw_kernel(axes[1], circle, verdicts)
    draw_largest(axes[2], circle, verdicts)


def draw_variance(ax, verdicts):
    beta = np.geomspace(1e-3, 2.0, 200)
    ax.plot(beta, theory.variance_limit(beta) / beta, color="black", linewidth=2, label="limit at fixed $L/n$")
    ax.axhline(11 / 3, color="0.5", linestyle=":", label="11/3: deep and wide")
    for width, colour in zip((16, 64, 256, 1024, 4096), COLOURS, strict=False):
        depths = np.unique(np.geomspace(max(1, 1e-3 * width), 2 * width, 20).astype(int))
        exact = [theory.relative_variance(width, int(depth)) * width / depth for depth in depths]
        ax.plot(depths / width, exact, ".", color=colour, markersize=5, label=f"exact, $n={width}$")
    points = [v for v in verdicts if v["law"] == NTK_VARIANCE.id and v["at"] is not None]
    ratio = np.array([v["at"]["depth"] / v["at"]["width"] for v in points])
    middle, low, high, exact = (np.array([v[k] for v in points]) / ratio
                                for k in ("measured", "low", "high", "predicted"))  # fmt: skip
    ax.plot(ratio, exact, "_", color=COLOURS[1], markersize=14, markeredgewidth=2, label="exact for these networks")
    ax.errorbar(ratio, middle, yerr=[middle - low, high - middle], fmt="o", color="black", markersize=4.5,
                markerfacecolor="white", label="random networks, acceptance region", zorder=4)  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="depth over width $L/n$", ylim=(2, 1e4), title="Depth over width decides",
           ylabel=r"$\frac{n}{L}\,\mathrm{Var}\,\Theta(x,x)\,/\,(E\,\Theta(x,x))^2$")  # fmt: skip
    ax.legend(title=notes(verdicts, NTK_VARIANCE, NTK_VARIANCE_LIMIT), title_fontsize=8, fontsize=8, loc="upper left")


def draw_kernel(ax, rows, verdicts):
    """Mean minus limit, times n/L, at the smallest widths: at others the mean is too noisy to show."""
    depth = 2
    part = rows[rows["depth"] == depth]
    for width, colour, marker in zip(sorted(part["width"].unique())[:3], COLOURS, "osD", strict=False):
        one = part[part["width"] == width]
        p = Circle(**{name: one.iloc[0][name] for name in Circle.model_fields})
        values = (np.stack([np.asarray(v) for v in one["kernel"]]) - limit_share(p)) * width / depth
        low, high = values.mean(0) + 2 * np.array([[-1], [1]]) * values.std(0, ddof=1) / np.sqrt(len(values))
        ax.fill_between(p.lags, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(p.lags, values.mean(0), marker + "-", color=colour, markersize=4, linewidth=0.8, label=f"$n={width:g}$")
    ax.axhline(0, color="black", linewidth=1)
    ax.set(xlabel=r"angle $\nu$ between two points", title=f"The mean kernel is off by $O(L/n)$, $L={depth}$",
           ylabel=r"$\frac{n}{L}\,(E\,\Theta_n-\Theta_\infty)\,/\,(1+nL/2)$")  # fmt: skip
    ax.legend(title=notes(verdicts, NTK_LIMIT), title_fontsize=8, fontsize=8, loc="lower right")


def draw_largest(ax, rows, verdicts):
    every = rows["depth"] / rows["width"]
    for depth, colour in zip(sorted(rows["depth"].unique()), COLOURS, strict=False):
        part = rows[rows["depth"] == depth].groupby("width")
        ratio = depth / np.array(list(part.groups), dtype=float)
        ax.plot(ratio, part["largest"].mean(), "o", color=colour, label=f"largest, $L={depth:g}$")
        ax.plot(ratio, np.sqrt(part["square"].mean()), "s", color=colour, markersize=4, markerfacecolor="white",
                label=f"root mean square, $L={depth:g}$")  # fmt: skip
    line = np.geomspace(0.8 * every.min(), 1.25 * every.max(), 50)
    ax.plot(line, 3.3 * np.sqrt(line), color="black", label=r"$3.3\,\sqrt{L/n}$")
    ax.axvspan(0.05, line[-1], color="0.93", zorder=0)
    ax.text(0.052, 0.06, "not judged", fontsize=8, color="0.4", transform=ax.get_xaxis_transform())
    ax.set(xscale="log", yscale="log", xlabel="depth over width $L/n$", xlim=(line[0], line[-1]),
           ylabel=r"$|\Theta_n-\Theta_\infty|\,/\,(nL/2)$ over pairs", title="Over a whole curve")  # fmt: skip
    for axis, ticks in ((ax.xaxis, (0.01, 0.02, 0.05, 0.1, 0.2)), (ax.yaxis, (0.1, 0.2, 0.5, 1.0, 2.0))):
        axis.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
        axis.set_ticks([], minor=True)
    ax.legend(title=notes(verdicts, NTK_CONCENTRATION), title_fontsize=8, fontsize=8)


def notes(verdicts, *laws):
    return "\n".join(verdict_note(verdicts, law.id).removeprefix("curves/") for law in laws)


if __name__ == "__main__":
    STUDY.cli()
