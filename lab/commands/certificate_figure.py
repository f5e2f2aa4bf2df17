"""The figure of a certificate: spectra on their branches, Delta R between floor and maximum, overlap of classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.plot import COLOURS, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lab.systems.mcr2.certificate import Certificate

__all__ = ["draw_overlap", "draw_rates", "draw_spectra", "save_figure"]

UPPER, LOWER, CHANCE, LABELS, OVERLAP, UNEVEN = COLOURS[0], COLOURS[1], "0.72", COLOURS[0], COLOURS[1], COLOURS[4]


def save_figure(certificate: Certificate, path: Path, *, title: str = "") -> None:
    """Draw all three panels into a png, svg or pdf file."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its stubs list every key as a literal
        figure = Figure(figsize=(13, 4.6), layout="constrained")
        spectra, rates, overlap = figure.subplots(ncols=3, width_ratios=(1.5, 0.95, 1))
        draw_spectra(spectra, certificate)
        draw_rates(rates, certificate)
        draw_overlap(overlap, certificate)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)


def draw_spectra(ax: Axes, c: Certificate, *, title: str | None = None) -> None:
    """Reduced squared singular values of each class, with its branches u_plus and u_minus."""
    top = max(max(one.u[0] for one in c.classes), *(one.u_plus for one in c.classes if np.isfinite(one.u_plus)), 1e-12)
    lows = [one.u_minus for one in c.classes if np.isfinite(one.u_minus)]
    floor = 1e-2 * min(lows) if lows else 1e-6 * top
    hidden = 0
    for k, one in enumerate(c.classes):
        u = np.array(one.u)
        shown = u[u >= floor]
        hidden += len(u) - len(shown)
        above = shown > one.u_minus  # nowhere beyond the spinodal
        across = k + 0.5 * (np.arange(len(shown)) / max(len(shown) - 1, 1) - 0.5)
        ax.plot(across[above], shown[above], ".", color="black", markersize=4, zorder=3)
        ax.plot(across[~above], shown[~above], ".", color="0.65", markersize=4, zorder=3)
        for value, colour in ((one.u_plus, UPPER), (one.u_minus, LOWER)):
            ax.plot([k - 0.4, k + 0.4], [value, value], color=colour, linewidth=1.8, zorder=2)
        if not np.isfinite(one.u_plus):
            ax.text(k, top, "no branch", rotation=90, ha="center", va="top", fontsize=7, color=LOWER)
    ax.plot([], [], color=UPPER, linewidth=1.8, label=r"$u_+$: where ascent of $F$ brings it")
    ax.plot([], [], color=LOWER, linewidth=1.8, label=r"$u_-$: separatrix")
    ax.plot([], [], ".", color="black", markersize=5, label="above: kept")
    note = f" ({hidden} below the axis)" if hidden else ""
    ax.plot([], [], ".", color="0.65", markersize=5, label=f"below: decays to 0{note}")
    ax.set(yscale="log", ylim=(0.6 * floor, 12 * top), xlim=(-0.6, len(c.classes) - 0.4), xlabel="class",
           ylabel=r"$u=\alpha\sigma^2$, squared singular values")  # fmt: skip
    ax.set_title(title or rf"Spectra at $\tau=\lambda/\alpha={c.tau:.3g}$" + (" (matched)" if c.matched else ""))
    _name_ticks(ax, c, "x")
    ax.legend(loc="upper left", ncols=2, fontsize=7.5)


def draw_rates(ax: Axes, c: Certificate) -> None:
    """Delta R as a bar between chance and maximum, and what the rest is lost to."""
    free = min(max(c.overlap_free, c.reduction), max(c.top, c.reduction))
    chance = min(max(c.shuffled_mean, 0.0), c.reduction)
    parts = [
        (0.0, chance, CHANCE, "chance (shuffled labels)"), (chance, c.reduction, LABELS, "owed to the labels"),
        (c.reduction, free, OVERLAP, "lost to overlap"), (free, max(c.top, free), UNEVEN, "lost to uneven spectra"),
    ]  # fmt: skip
    notes = []
    for low, high, colour, label in parts:
        lost = label.startswith("lost")
        ax.bar(0, high - low, bottom=low, width=0.8, color=colour, alpha=0.3 if lost else 0.9, linewidth=0)
        if high - low > 0.01 * c.top:
            notes.append((0.5 * (low + high), f"{label}: {high - low:.3g}", "black"))
    name = "maximum" if np.isfinite(c.maximum) else "ceiling"
    marks = [
        (c.reduction, rf"$\Delta R$ = {c.reduction:.4g}", "black", "-"), (c.top, f"{name} {c.top:.4g}", "black", "--"),
        (c.null, f"noise floor {c.null:.4g}", "0.35", ":"),
    ]  # fmt: skip
    for value, label, colour, line in marks:
        ax.plot([-0.4, 0.4], [value, value], color=colour, linestyle=line, linewidth=1.6)
        notes.append((value, label, colour))
    height = 1.1 * max(c.top, c.reduction, c.null)
    notes.sort()
    pointer = {"arrowstyle": "-", "color": "0.7", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0}
    for (value, label, colour), at in zip(notes, _apart([note[0] for note in notes], 0.055 * height), strict=True):
        ax.annotate(label, (0.4, value), (0.62, at), fontsize=8, va="center", color=colour, arrowprops=pointer)
    where = "" if np.isnan(c.position) else f", {100 * c.position:.0f} % from floor to {name}"
    ax.set(xlim=(-0.5, 2.6), ylim=(0, height), xticks=[], ylabel=r"$\Delta R$ (nats)", title=f"Rate reduction{where}")
    ax.spines["bottom"].set_visible(False)


def draw_overlap(ax: Axes, c: Certificate) -> None:
    """Cosines between the Gram matrices of the classes as a heat map."""
    K = len(c.classes)
    image = ax.imshow(c.overlap, vmin=0, vmax=1, cmap="Blues", aspect="equal")
    if K <= 12:
        for k in range(K):
            for j in range(K):
                if k != j:
                    ax.text(j, k, f"{c.overlap[k, j]:.2f}"[1:] if c.overlap[k, j] < 0.995 else "1", ha="center",
                            va="center", fontsize=7, color="white" if c.overlap[k, j] > 0.6 else "0.3")  # fmt: skip
    _name_ticks(ax, c, "x")
    _name_ticks(ax, c, "y")
    ax.set(title="Overlap of classes (0: orthogonal)", xlabel="class")
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label=r"$\cos(Z_k^\top Z_k,\ Z_l^\top Z_l)$")


def _name_ticks(ax: Axes, c: Certificate, axis: str) -> None:
    names = [name if len(name) <= 12 else f"{name[:11]}…" for name in c.features.names]
    step = -(-len(names) // 24)
    places: Any = range(0, len(names), step)
    long = max(map(len, names)) > 3
    if axis == "x":
        ax.set_xticks(places, [names[i] for i in places], rotation=60 if long else 0, ha="right" if long else "center")
    else:
        ax.set_yticks(places, [names[i] for i in places])


def _apart(values: list[float], gap: float) -> list[float]:
    """Ascending positions near ascending `values`, at least `gap` apart, spread around their middle."""
    groups = [[v, 1] for v in values]  # centre, members
    merged = True
    while merged:
        merged = False
        for i in range(len(groups) - 1):
            (a, m), (b, n) = groups[i], groups[i + 1]
            if b - a < gap * (m + n) / 2:
                groups[i : i + 2] = [[(a * m + b * n) / (m + n), m + n]]
                merged = True
                break
    return [centre + gap * (i - (n - 1) / 2) for centre, n in groups for i in range(int(n))]
