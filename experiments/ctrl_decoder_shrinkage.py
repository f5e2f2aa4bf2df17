"""What does the best decoder of CTRL-Multi do? It shrinks each class, by three regimes split at half of the samples.

Left: factor tau of the class covariances against precision, classes of rank one; circles, minimisation over all linear
decoders. Middle: against the share of samples at several precisions: at high precision a step at one half. Right: two
classes of ranks 1 and k: where overlap of the decoded classes pays, from the second variation (lines) and from the
minimisation (marks).
"""

from __future__ import annotations

import numpy as np

from lab import Grid, Study
from lab.plot import COLOURS, verdict_note
from lab.systems.ctrl import theory
from lab.systems.ctrl.laws.shrinkage import MIXING, MULTI_DECODER, MULTI_LOSS, REGIMES

N = 40  # samples of two classes together


def pairs(first):
    """Class sizes of two classes with `first` samples in the first one."""
    return [(n, N - n) for n in first]


def away(low, high, count):
    """Precisions at which the point is more than 2 % from where overlap begins to pay."""
    def axis(f):
        shares = np.array(f.sizes) / sum(f.sizes)
        return [b for b in np.geomspace(low, high, count).tolist()
                if abs(theory.decoder_mixing(shares, f.ranks, b) - 1) > 0.02]  # fmt: skip
    return axis


def preset(first, curves, precisions, slices, shares, levels, rank=3):
    ones = Grid(ranks=[(1, 1)], sizes=pairs(curves), beta=precisions)
    cuts = Grid(ranks=[(1, 1)], sizes=pairs(first), beta=slices)
    overlap = Grid(ranks=[(1, 2), (1, 3)], sizes=pairs(shares), beta=away(0.3, 40.0, levels))
    three = Grid(sizes=[(40, 40, 40)], ranks=[(rank,) * 3], beta=40.0)
    regime = Grid(ranks=[(1, 1)], sizes=pairs([n for n in curves if abs(n - N / 2) > 4 or n == N // 2]),
                  beta=[1e5, 1e6])  # fmt: skip
    every = ones + cuts + three
    return {MULTI_DECODER.id: every, MULTI_LOSS.id: every, REGIMES.id: regime, MIXING.id: overlap}


STUDY = Study(
    id="ctrl/decoder-shrinkage",
    laws=(MULTI_DECODER, MULTI_LOSS, REGIMES, MIXING),
    title="The best decoder of CTRL-Multi shrinks the features; three regimes split at half of the samples",
    presets={
        "smoke": preset([4, 12, 18], [10, 20], np.geomspace(1, 1e6, 5), [100.0], [8, 20, 32], 4, rank=1),
        "default": preset(list(range(2, 21, 2)), [4, 10, 20], np.geomspace(1, 1e6, 13), [10.0, 1e3, 1e5],
                          list(range(4, 40, 4)), 11),
        "paper": preset(list(range(1, 21)), [2, 4, 10, 16, 20], np.geomspace(1, 1e6, 60),
                        [10.0, 1e2, 1e3, 1e4, 1e5, 1e6], list(range(1, 40)), 60),
    },
)  # fmt: skip


def two_classes(rows, ranks=(1, 1)):
    return rows[[tuple(s) == ranks for s in rows["ranks"]]]


def entries(rows):
    """(share, beta, tau) of every class of every row."""
    shares = np.stack([np.asarray(s) / sum(s) for s in rows["sizes"]])
    beta = np.repeat(rows["beta"].to_numpy()[:, None], shares.shape[1], axis=1)
    return shares.ravel(), beta.ravel(), np.stack(rows["shrink"].tolist()).ravel()


@STUDY.figure(ncols=3, size=(13.6, 4.7), width_ratios=(1, 1, 1.05))
def draw(axes, rows, verdicts):
    ones = two_classes(rows)
    draw_precision(axes[0], *entries(ones), verdicts)
    draw_shares(axes[1], *entries(ones), verdicts)
    draw_mixing(axes[2], rows[[len(r) == 2 and r[0] != r[1] for r in rows["ranks"]]], verdicts)


def draw_precision(ax, share, beta, tau, verdicts):
    levels = {g: len(np.unique(beta[np.isclose(share, g)])) for g in np.unique(share.round(9))}
    line = np.geomspace(beta.min(), beta.max(), 200)
    for g, colour in zip([g for g, count in levels.items() if count >= 5], COLOURS, strict=False):
        mine = np.isclose(share, g)
        ax.plot(line, theory.decoder_shrinkage(g, line), color=colour)
        far = line[line > 30]
        ax.plot(far, theory.decoder_shrinkage_limit(g, far), color=colour, linestyle=":", linewidth=1.2)
        ax.plot(beta[mine], tau[mine], "o", color=colour, markersize=4, markerfacecolor="white",
                label=rf"minimised, $\gamma={g:.3g}$")  # fmt: skip
    ax.plot([], [], color="0.4", label="closed form")
    ax.plot([], [], color="0.4", linestyle=":", label="limit of high precision")
    ax.set(xscale="log", yscale="log", xlabel=r"reduced eigenvalue $v=d_z/(k\,\epsilon^2)$",
           ylabel=r"$\tau$: decoded over own covariance of a class", title="The best decoder shrinks each class",
           ylim=(5e-8, 1.5))  # fmt: skip
    ax.legend(loc="lower left", fontsize=8, title=notes(verdicts, MULTI_DECODER, MULTI_LOSS), title_fontsize=7.5)


def draw_shares(ax, share, beta, tau, verdicts):
    levels = [b for b in np.unique(beta) if len(np.unique(share[beta == b])) > 6]
    line = np.linspace(0.01, 0.99, 400)
    for b, colour in zip(levels, COLOURS, strict=False):
        ax.plot(line, theory.decoder_shrinkage(line, b), color=colour)
        mine = beta == b
        ax.plot(share[mine], tau[mine], "o", color=colour, markersize=3.5, markerfacecolor="white",
                label=rf"$v=10^{{{np.log10(b):.3g}}}$")  # fmt: skip
    above = line[line >= 0.5]
    ax.plot(above, theory.decoder_shrinkage_limit(above, 1e30), color="black", linestyle="--",
            label=r"$v\to\infty$: $(\gamma-\frac{1}{2})/(\frac{3}{2}-\gamma)$, or 0")  # fmt: skip
    ax.plot([0, 0.5], [0, 0], color="black", linestyle="--")
    ax.plot([0.5, 0.5], [0, 0.55], color="0.7", linewidth=0.8, zorder=1)
    ax.set(xlabel=r"share of the samples $\gamma=n_j/n$", ylabel=r"$\tau$", xlim=(0, 1), ylim=(-0.03, 1),
           title="A transition at half of the samples")  # fmt: skip
    ax.legend(loc="upper left", fontsize=8, title=notes(verdicts, REGIMES), title_fontsize=7.5)


def draw_mixing(ax, rows, verdicts):
    share, beta = np.linspace(0.01, 0.99, 80), np.geomspace(0.3, 40.0, 60)
    for rank, colour, marker in ((2, COLOURS[0], "o"), (3, COLOURS[1], "D")):
        part = two_classes(rows, (1, rank))
        if part.empty:
            continue
        height = np.array([[theory.decoder_mixing((g, 1 - g), (1, rank), b) for g in share] for b in beta])
        ax.contour(share, beta, height, levels=[1.0], colors=[colour], linewidths=1.8)
        shift = 0.024 * (rank - 2.5)
        g = np.array([s[0] / sum(s) for s in part["sizes"]]) + shift
        mixed = part["mixed"].to_numpy(dtype=bool)
        ax.plot(g[mixed], part["beta"][mixed], marker, color=colour, markersize=4, label=f"ranks 1, {rank}: overlap")
        ax.plot(g[~mixed], part["beta"][~mixed], marker, color=colour, markersize=4, markerfacecolor="white",
                label=f"ranks 1, {rank}: apart")  # fmt: skip
        ax.plot([], [], color=colour, label=f"ranks 1, {rank}: second variation")
    ax.set(yscale="log", xlabel=r"share of the class of rank one", ylabel=r"precision $\beta=d_z/\epsilon^2$",
           xlim=(0, 1), title="Below the lines overlap of decoded classes pays")  # fmt: skip
    ax.legend(loc="upper center", fontsize=7.5, ncols=2, title=notes(verdicts, MIXING), title_fontsize=7.5)
    ax.set_ylim(0.28, 250)


def notes(verdicts, *laws):
    return "\n".join(verdict_note(verdicts, law.id).removeprefix("ctrl/") for law in laws)


if __name__ == "__main__":
    STUDY.cli()
