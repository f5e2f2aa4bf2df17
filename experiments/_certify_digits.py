"""Certificates of real features: handwritten digits as pixels, as principal components, and as trained by MCR².

The 1797 digits of scikit-learn (8 x 8 pixels, ten classes) give three kinds of features; a small perceptron is trained
on F = Delta R - (lambda/2)|Z|² itself, full batch, by Adam. Each kind is certified: pixels and components at rows of
norm one, trained features as they are and at the lambda they were trained with, on the samples they were trained on and
on held-out ones. Left in the folder of the results: certificates.json, figure.png, and rows/*.npz for `lab certify`.

    python experiments/_certify_digits.py [--out DIR] [--steps N]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

import lab
from lab.commands.certificate_figure import draw_overlap, draw_spectra
from lab.models.mlp import mlp_apply, mlp_init
from lab.objectives import coding_rate
from lab.plot import COLOURS, STYLE
from lab.streams import Stream
from lab.study import finite
from lab.systems.mcr2 import theory

DIM, EPS, TRAINED = 32, 0.5, 1200
TAU = 0.1  # lambda/alpha: about a fifth of where the classes collapse
PARTS = ("chance (shuffled labels)", "owed to the labels", "lost to overlap", "lost to uneven spectra")
SHADES = ("0.72", COLOURS[0], COLOURS[1], COLOURS[4])


def digits():
    """(pixels in [0, 1], labels) of the training and of the held-out samples, each sorted by class."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = Stream("certify/digits").numpy("split").permutation(len(labels))
    parts = [part[np.argsort(labels[part], kind="stable")] for part in (order[:TRAINED], order[TRAINED:])]
    return [(pixels[part] / 16, labels[part]) for part in parts]


def principal(train, test):
    """Both sets in the first DIM principal components of the first."""
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:DIM]
    return (train - mean) @ axes.T, (test - mean) @ axes.T


def train(pixels, labels, *, lam: float, steps: int, rate: float = 2e-3):
    """Function from pixels to features, trained by full-batch Adam with a cosine schedule on F."""
    import jax
    import jax.numpy as jnp

    sizes, X = tuple(np.bincount(labels).tolist()), jnp.asarray(pixels, dtype=jnp.float32)
    layers = mlp_init(Stream("certify/digits").jax("weights"), (X.shape[1], 128, 128, DIM), dtype=jnp.float32)

    def loss(layers):
        return -coding_rate.regularised_rate_reduction(mlp_apply(layers, X), sizes, eps=EPS, lam=lam)

    def step(i, state):
        layers, first, second = state
        slope = jax.grad(loss)(layers)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slope)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, slope)
        t = i + 1.0
        size = 0.5 * rate * (1 + jnp.cos(jnp.pi * i / steps)) / (1 - 0.9**t)
        layers = jax.tree.map(
            lambda p, m, v: p - size * m / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8), layers, first, second
        )
        return layers, first, second

    zeros = jax.tree.map(jnp.zeros_like, layers)
    layers = jax.jit(lambda start: jax.lax.fori_loop(0, steps, step, start))((layers, zeros, zeros))[0]
    return lambda rows: np.asarray(mlp_apply(layers, jnp.asarray(rows, dtype=jnp.float32)), dtype=float)


def nearest_subspace(train, labels, test, truth) -> float:
    """Share of test rows whose largest projection is on the leading subspace of their own class."""
    scores = []
    for k in np.unique(labels):
        s, axes = np.linalg.svd(train[labels == k], full_matrices=False)[1:]
        scores.append(np.sum((test @ axes[s > 0.3 * s[0]].T) ** 2, axis=1))
    return float(np.mean(np.argmax(scores, axis=0) == truth))


def draw(certificates, path: Path) -> None:
    """Spectra above, overlaps below, one column each; at the right what Delta R is made of and what is missing."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(16.5, 6.9), layout="constrained")
        grid = figure.add_gridspec(2, len(certificates) + 1, width_ratios=[1] * len(certificates) + [1.75])
        for i, (name, c) in enumerate(certificates.items()):
            top, bottom = figure.add_subplot(grid[0, i]), figure.add_subplot(grid[1, i])
            draw_spectra(top, c, title=rf"{name}, $\tau={c.tau:.2g}$")
            draw_overlap(bottom, c)
            handles = top.get_legend_handles_labels()
            top.get_legend().remove()
            top.set(ylim=(1e-4, 1e2), ylabel="" if i else top.get_ylabel(), xlabel="")
            bottom.set(title="" if i else "overlap (cosines of Gram matrices)", ylabel="" if i else "class")
            bottom.images[0].colorbar.remove()
        marks = [label.split(" (")[0] for label in handles[1]]
        figure.legend(handles[0], marks, loc="outside upper left", ncols=4)
        bars = figure.add_subplot(grid[:, -1])
        draw_bars(bars, certificates)
        figure.legend(*bars.get_legend_handles_labels(), loc="outside lower center", ncols=5)
        figure.savefig(path, dpi=130)


def draw_bars(ax, certificates) -> None:
    for i, c in enumerate(certificates.values()):
        free = min(max(c.overlap_free, c.reduction), c.top)
        ends = np.array([0.0, c.shuffled_mean, c.reduction, free, c.top]) / c.top
        for low, high, colour, part in zip(ends[:-1], ends[1:], SHADES, PARTS, strict=True):
            lost = part.startswith("lost")
            ax.bar(i, high - low, bottom=low, width=0.75, color=colour, alpha=0.3 if lost else 0.9, linewidth=0,
                   label=None if i else part)  # fmt: skip
            if high - low > 0.03:
                ax.text(i, low + 0.3 * (high - low), f"{(high - low) * c.top:.3g}", ha="center", va="center",
                        fontsize=8.5, color="white" if colour == COLOURS[0] else "black")  # fmt: skip
        ax.plot([i - 0.375, i + 0.375], [c.null / c.top] * 2, color="black", linestyle=":", linewidth=1.4,
                label=None if i else "noise floor")  # fmt: skip
    notes = []
    for name, c in certificates.items():
        first, _, second = name.partition(", " if "," in name else " ")
        numbers = f"gradient {100 * c.criticality:.0f} %", f"{100 * c.local_maximum.distance:.0f} % off"
        notes.append("\n".join([first, second, f"max {c.top:.3g} nats", *numbers]))
    ax.set(xticks=range(len(certificates)), ylim=(0, 1.01), xlim=(-0.5, len(certificates) - 0.5),
           ylabel=r"$\Delta R$ over its maximum (numbers: nats)",
           title="What rate reduction is made of, and what is missing",
           xlabel="gradient of $F$ over its parts\n% off: distance to a local maximum of $F$")  # fmt: skip
    ax.set_xticklabels(notes)
    ax.set_yticks(np.arange(0, 1.01, 0.2))


def summary(certificate, **extra):
    """The certificate without spectra: small enough to keep beside the code."""
    found = certificate.to_json() | extra
    for name in ("eigenvalues", "effective_fractions", "overlap", "smallest_angle_degrees"):
        del found[name]
    for one in found["classes"]:
        del one["u"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="results/reference/certify_digits", help="folder of the results")
    parser.add_argument("--steps", type=int, default=700, help="steps of training")
    arguments = parser.parse_args()
    out = Path(arguments.out)
    (out / "rows").mkdir(parents=True, exist_ok=True)

    (pixels, labels), (fresh, truth) = digits()
    lam = TAU * theory.gram_scale(len(labels), DIM, eps=EPS)
    start = time.perf_counter()
    encode = train(pixels, labels, lam=lam, steps=arguments.steps)
    trained = encode(pixels)
    print(f"trained {arguments.steps} steps in {time.perf_counter() - start:.0f} s")
    components = principal(pixels, fresh)
    sets = {  # name: (features, labels, lambda, training features, held-out features)
        "pixels": (pixels, labels, None, pixels, fresh),
        "principal components": (components[0], labels, None, *components),
        "MCR² net, training set": (trained, labels, lam, trained, encode(fresh)),
        "MCR² net, held-out": (encode(fresh), truth, None, trained, encode(fresh)),
    }
    certificates, kept = {}, {}
    for name, (Z, tags, weight, seen, unseen) in sets.items():
        # trained features have their own scale; the held-out ones keep it, at the multiplier that matches them
        way = "none" if name.startswith("MCR²") else "unit"
        c = lab.certify(Z, tags, eps=EPS, lam=weight, normalise=way)
        accuracy = nearest_subspace(seen, labels, unseen, truth)
        certificates[name], kept[name] = c, summary(c, held_out_accuracy_nearest_subspace=accuracy)
        file = out / "rows" / f"{name.replace(',', '').replace('²', '2').replace(' ', '-').lower()}.npz"
        np.savez_compressed(file, features=Z.astype(np.float32), labels=tags)
        print(f"\n== {name} (lab certify {file} --labels labels); nearest subspace {100 * accuracy:.1f} % right\n{c}")
    (out / "certificates.json").write_text(json.dumps(finite(kept), indent=1) + "\n")
    draw(certificates, out / "figure.png")
    print(f"\n{out}: certificates.json, figure.png, rows/; {time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
