"""What layers of a white-box transformer do to coding rates and sparsity: in theory, by design, and after training.

Above, noisy tokens and frames that fill the space: R^c falls along a known path under exact gradient steps, rises by
K p log(1 + t) nats a layer under attention alone, and layer norm hides either; the rate reduction never passes (d/2)
log K; ISTA empties entries. Below, small networks on scikit-learn's digits, before and after training, seeds with 95 %
intervals: the published normalised rate of the input of each attention, the share of non-zero codes of each layer, and
whether attention weights between patches (the autoencoder's are rows) tell ink from paper, by the adjusted Rand index
of a cut of their graph. The networks need scikit-learn and torch (the extra "dev"); without them the upper row alone
is run, and the lower says so.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np

from lab import Bound, Draws, Grid, Study, but, measurement
from lab.models import torch_crate_models, white_box
from lab.objectives.partitions import adjusted_rand_index
from lab.params import Ge, Le, Params
from lab.plot import COLOURS, verdict_note
from lab.systems.crate import theory
from lab.systems.crate.laws.cap import HEAD_NORMALISED_CAP
from lab.systems.crate.laws.layers import ATTENTION_SLOPE, LAYERS_CAP, RATE_PATH
from lab.systems.crate.theory.layers import attention_slope

MISSING = [name for name in ("sklearn", "torch") if importlib.util.find_spec(name) is None]
KINDS = ("exact", "contracted", "attention", "normalised", "whole")
NAMES = {"exact": r"exact, $Z-\kappa\nabla R^c$", "contracted": r"$(1-t)Z+t\beta\,$MSSA",
         "attention": r"$Z+t\,$MSSA$(Z)$", "normalised": r"$Z+t\,$MSSA(LN$(Z))$",
         "whole": "the same and ISTA(LN)"}  # fmt: skip
SEEN = 60  # held-out images on which layers are read
TRAINED = 1400


class Digits(Params):
    """A small CRATE network on 8 x 8 digits; scores over sqrt p and layer norms, as published. The classifier sees 16
    patches of 2 x 2 pixels, the masked autoencoder the 8 rows (hidden patches are too easily guessed from their mean).
    """

    model: Literal["classifier", "autoencoder"] = "classifier"
    dim: Annotated[int, Ge(8), Le(128)] = 32
    heads: Annotated[int, Ge(1), Le(8)] = 4
    depth: Annotated[int, Ge(1), Le(8)] = 4
    epochs: Annotated[int, Ge(1), Le(200)] = 8


@lru_cache(maxsize=2)
def digits(size):
    """Patches (1797, N, pixels) of a size, in [0, 1], and labels, in a fixed order, as torch tensors."""
    import torch
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images = torch.tensor(pixels[order].reshape(-1, 8, 8) / 16, dtype=torch.float32)
    return torch_crate_models.patches(images, size), torch.tensor(labels[order])


@measurement
def trained_layers(p: Digits, stream, *, lengths: bool = True):
    """Per layer, before and after training (2, L): published rate of the attention's input, share of non-zero codes,
    index of the cut of attention weights with ink; held-out accuracy, or error over that of the mean token.

    Without `lengths` the rate is that of tokens of the lengths they have.
    """
    import torch

    seed = int(stream.numpy("weights").integers(2**31))
    X, labels = digits((2, 2) if p.model == "classifier" else (1, 8))
    common = {"tokens": X.shape[1], "patch": X.shape[2], "dim": p.dim, "depth": p.depth, "heads": p.heads}
    train, held = X[:TRAINED], X[TRAINED:]

    def make():
        if p.model == "classifier":
            return torch_crate_models.CRATEClassifier(classes=10, **common)
        return torch_crate_models.CRATEAutoencoder(decoder_depth=2, **common)

    model = torch_crate_models.seeded(seed, make)
    before, score = read(model, p, held[:SEEN], lengths), [quality(model, p, train, held, labels)]
    if p.model == "classifier":
        torch_crate_models.train_classifier(model, train, labels[:TRAINED], epochs=p.epochs, rate=5e-3, seed=seed)
    else:
        torch_crate_models.train_autoencoder(model, train, epochs=p.epochs, seed=seed)
    after = read(model, p, held[:SEEN], lengths)
    score.append(quality(model, p, train, held, labels))
    torch.set_grad_enabled(True)
    return {name: np.stack([before[name], after[name]]) for name in before} | {"quality": np.array(score)}


def quality(model, p, train, held, labels) -> float:
    import torch

    if p.model == "classifier":
        return torch_crate_models.accuracy(model, held, labels[TRAINED:])
    with torch.no_grad():
        error = float(model.loss(held, generator=torch.Generator().manual_seed(0)))
    return error / float((held - train.mean(0)).square().mean())


def read(model, p: Digits, X, lengths: bool) -> dict[str, np.ndarray]:
    """Rates, sparsity and segmentation of every layer on some images."""
    import torch

    rates, codes, index = [], [], []
    with torch.no_grad():
        classifier = p.model == "classifier"
        Z = model.embed(X) if classifier else model.embedding(X) + model.positions
        ink = (X.mean(-1) > 0.25).numpy()
        for block in (model.transformer if classifier else model.encoder).layers:
            attention = block[0].fn
            W = attention.coordinates(block[0].norm(Z)).double().numpy()
            n = W.shape[-2]
            rate = (white_box.normalised_head_rate(W) if lengths
                    else white_box.head_rate(3 * W, beta=W.shape[-1] / (n * 0.01)))  # fmt: skip
            rates.append(float(np.mean(rate)))
            weights = white_box.softmax(attention.scale * (W @ W.mT)).sum(-3)[:, int(classifier) :, int(classifier) :]
            parts = halves((weights + weights.mT) * (1 - np.eye(weights.shape[-1])))
            index.append(float(np.mean([adjusted_rand_index(*pair) for pair in zip(ink, parts, strict=True)])))
            Z = block(Z)
            codes.append(float((Z != 0).double().mean()))
    return {"rate": np.array(rates), "codes": np.array(codes), "segments": np.array(index)}


def halves(affinity: np.ndarray) -> np.ndarray:
    """Two parts of each graph (..., n, n): signs of the second eigenvector of its normalised affinity."""
    scale = affinity.sum(-1) ** -0.5
    vectors = np.linalg.eigh(scale[..., :, None] * affinity * scale[..., None, :])[1]
    return vectors[..., -2] > 0


TRAINED_CAP = replace(
    HEAD_NORMALISED_CAP, params=Digits, measure=trained_layers,
    predict=lambda p: theory.head_normalised_cap(p.heads, p.dim // p.heads, 0.01),
    # coordinates are single-precision numbers, the rate is taken of them in double precision
    claim=Bound(of="rate", side="upper", rounding=lambda p: 16 * (17 + 2 * p.dim) * p.dim * (1 + p.dim / 0.01)),
    controls={
        "eps for eps^2": but(predict=lambda p: theory.head_normalised_cap(p.heads, p.dim // p.heads, 0.1)),
    },
    examples=(Digits(epochs=1),), draws=Draws(shapes=0),
)  # fmt: skip


def preset(heads, rank, per_class, layers, replicates, epochs, seeds):
    setting = {"heads": heads, "rank": rank, "per_class": per_class, "replicates": replicates}
    found = {
        RATE_PATH.id: Grid(**setting, eps_squared=[0.25, 10.0], layers=layers),
        ATTENTION_SLOPE.id: Grid(heads=heads, rank=max(16, rank), per_class=max(64, per_class), replicates=replicates),
        LAYERS_CAP.id: Grid(**setting, kind=list(KINDS), eps_squared=[0.25, 10.0], layers=layers),
    }
    if not MISSING:
        networks = [Grid(model=m, epochs=e, depth=d, replicates=seeds) for m, (e, d) in epochs.items()]
        found[TRAINED_CAP.id] = sum(networks[1:], start=networks[0])
    return found


STUDY = Study(
    id="crate/layers",
    laws=(RATE_PATH, ATTENTION_SLOPE, LAYERS_CAP, *(() if MISSING else (TRAINED_CAP,))),
    title="Coding rate, rate reduction and sparsity over the layers of white-box transformers",
    presets={
        "smoke": preset(4, 8, 32, 6, 2, {"classifier": (3, 2)}, 5),
        "default": preset(4, 32, 64, 12, 4, {"classifier": (20, 4), "autoencoder": (20, 2)}, 6),
        "paper": preset(4, 64, 64, 12, 8, {"classifier": (60, 6), "autoencoder": (60, 4)}, 20),
    },
)  # fmt: skip


@STUDY.figure(nrows=2, ncols=3, size=(14.2, 8.8))
def draw(axes, rows, verdicts):
    names = rows["measurement"].str
    stacks = rows[names.endswith(":stack")].copy()
    layers = stacks["rates"].map(len)
    draw_rates(axes[0, 0], stacks[layers == layers.min()], stacks[stacks["layers"] == 24], verdicts)
    plain = stacks[layers == layers.min()]
    draw_reductions(axes[0, 1], plain, verdicts)
    draw_filled(axes[0, 2], plain)
    networks = rows[names.endswith(":trained_layers")]
    if networks.empty:
        for ax in axes[1]:
            ax.axis("off")
        axes[1, 1].text(0.5, 0.5, f"not run: {' and '.join(MISSING) or 'no network in this preset'} missing;\n"
                        "pip install 'theory-lab[dev]'", ha="center", fontsize=11, color="0.35")  # fmt: skip
        return
    draw_published(axes[1, 0], networks, verdicts)
    draw_layers(axes[1, 1], networks, "codes", "share of non-zero codes after ISTA", "Sparsity of networks on digits")
    draw_layers(axes[1, 2], networks, "segments", "adjusted Rand index with ink",
                "Patches (rows) cut in two by attention weights")  # fmt: skip
    axes[1, 1].set_ylim(0.2, 1.0)
    low, high = axes[1, 2].get_ylim()
    axes[1, 2].set_ylim(low, high + 0.25 * (high - low))
    axes[1, 2].axhline(0, color="0.6", linewidth=0.8)


def interval(values):
    from lab.claims.statistics import student_quantile

    n = len(values)
    if n < 2:
        return np.zeros(values.shape[1:])
    return student_quantile(n, 0.05) * values.std(0, ddof=1) / np.sqrt(n)


def draw_rates(ax, rows, long, verdicts):
    eps = rows["eps_squared"].min()
    part = rows[rows["eps_squared"] == eps]
    p = part.iloc[0]
    heads, rank, step = int(p["heads"]), int(p["rank"]), p["step"]
    for kind, colour, marker in zip(KINDS, COLOURS, "osD^v", strict=False):
        values = np.stack(part[part["kind"] == kind]["rates"].to_list())
        at = np.arange(values.shape[1])
        ax.errorbar(at, values.mean(0), yerr=interval(values), color=colour, marker=marker, markersize=4,
                    markerfacecolor="white", linewidth=0.8, elinewidth=0.8, label=NAMES[kind])  # fmt: skip
        if kind == "attention":
            ax.plot(at[-4:], values.mean(0)[-1] + attention_slope(heads, rank, step) * (at[-4:] - at[-1]), color="0.2",
                    linestyle="--", zorder=4, label=r"slope $Kp\,\log(1+t)$")  # fmt: skip
    top = np.stack(part["rates"].to_list()).max()
    ax.set(xlabel="layer", ylabel=r"$R^c$ (nats)", ylim=(-0.03 * top, 1.75 * top),
           title=rf"$N={heads * int(p['per_class'])}$, $K={heads}$, $p={rank}$, $\delta={p['delta']:g}$, "
           rf"$t=\kappa\beta={step:g}$, $\epsilon^2={eps:g}$")  # fmt: skip
    notes = "\n".join(verdict_note(verdicts, law.id) for law in (RATE_PATH, ATTENTION_SLOPE))
    ax.legend(loc="upper left", fontsize=8, title=notes, title_fontsize=8)


def draw_reductions(ax, rows, verdicts):
    p = rows.iloc[0]
    cap = theory.reduction_cap(int(p["heads"]), int(p["rank"]))
    ax.axhline(cap, color="0.2", linestyle="--", linewidth=1.2)
    ax.text(0, 1.02 * cap, r"$\frac{d}{2}\,\log K$", fontsize=9, va="bottom")
    for (eps, part), style in zip(rows.groupby("eps_squared"), ("-", ":"), strict=False):
        for kind, colour, marker in zip(KINDS, COLOURS, "osD^v", strict=False):
            values = np.stack(part[part["kind"] == kind]["reductions"].to_list())
            ax.plot(values.mean(0), style, color=colour, marker=marker, markersize=3.5, markerfacecolor="white",
                    linewidth=0.9)  # fmt: skip
        ax.plot([], [], style, color="0.4", label=rf"$\epsilon^2={eps:g}$")
    ax.set(xlabel="layer", ylabel=r"$\Delta R=R_\epsilon-R^c$ (nats)", ylim=(min(0, ax.get_ylim()[0]), 1.4 * cap),
           title="Rate reduction (colours as at the left)")  # fmt: skip
    ax.legend(loc="upper right", ncols=2, fontsize=8, title=verdict_note(verdicts, LAYERS_CAP.id), title_fontsize=8)


def draw_filled(ax, rows):
    part = rows[(rows["kind"] == "whole") & (rows["eps_squared"] == rows["eps_squared"].min())]
    for name, colour, marker, label in (("filled", COLOURS[4], "v", "share of non-zero entries"),):
        values = np.stack(part[name].to_list())
        ax.errorbar(np.arange(values.shape[1]), values.mean(0), yerr=interval(values), color=colour, marker=marker,
                    markerfacecolor="white", label=label)  # fmt: skip
    other = ax.twinx()
    p = part.iloc[0]
    cap = theory.head_normalised_cap(int(p["heads"]), int(p["rank"]), 0.01)
    for kind, colour, marker in zip(KINDS, COLOURS, "osD^v", strict=False):
        values = np.stack(rows[(rows["kind"] == kind)]["published"].to_list()) / cap
        other.plot(values.mean(0), ":", color=colour, marker=marker, markersize=3.5, linewidth=0.9)
    ax.plot([], [], ":", color="0.4", marker="o", markersize=3.5,
            label="published rate over its cap (right; all kinds)")  # fmt: skip
    other.spines["right"].set_visible(True)
    other.set(ylim=(0, 1.3), ylabel="head-normalised rate over its cap")
    ax.set(xlabel="layer", ylabel="share of non-zero entries", ylim=(0, 1.3), yticks=[0, 0.25, 0.5, 0.75, 1],
           title="Sparsity of whole layers; the published rate")  # fmt: skip
    ax.legend(loc="upper left", fontsize=8)


SHADE = {"classifier": COLOURS[0], "autoencoder": COLOURS[1]}


def draw_layers(ax, rows, column, ylabel, title):
    for model, part in rows.groupby("model"):
        values = np.stack([np.stack(v) for v in part[column]])
        at, error = np.arange(1, values.shape[2] + 1), interval(values)
        for i, (when, style, face) in enumerate((("at initialisation", ":", "white"), ("trained", "-", SHADE[model]))):
            ax.errorbar(at + 0.04 * i, values[:, i].mean(0), yerr=error[i], color=SHADE[model], linestyle=style,
                        marker="o", markersize=4.5, markerfacecolor=face, label=f"{model}, {when}")  # fmt: skip
    ax.set(xlabel="layer", ylabel=ylabel, title=title)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="best", fontsize=8)


def draw_published(ax, rows, verdicts):
    p = rows.iloc[0]
    draw_layers(ax, rows, "rate", "published rate of the attention's input (nats)",
                "\n".join(f"{model}: {describe(model, part)}" for model, part in rows.groupby("model")))  # fmt: skip
    cap = theory.head_normalised_cap(int(p["heads"]), int(p["dim"]) // int(p["heads"]), 0.01)
    ax.axhline(cap, color="0.2", linestyle="--", linewidth=1.2)
    low, high = ax.get_ylim()
    ax.text(1, cap, "cap", va="bottom", fontsize=8.5)
    ax.set(ylim=(low, max(cap, high) + 0.55 * (max(cap, high) - low)))
    ax.legend(loc="upper right", fontsize=8, title=verdict_note(verdicts, TRAINED_CAP.id), title_fontsize=8)


def describe(model, part):
    values = np.stack(part["quality"].to_list()).mean(0)
    if model == "classifier":
        return f"accuracy {values[1]:.2f} ({len(part)} seeds)"
    return f"error {values[1]:.2f} of that of the mean image ({len(part)} seeds)"


if __name__ == "__main__":
    STUDY.cli()
