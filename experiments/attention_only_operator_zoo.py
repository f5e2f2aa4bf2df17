"""One step of every white-box operator on the same tokens: what it gains, and what the best denoiser would.

Left: gain of attention with several weights against noise; lines, energies of rows of one dimension (linear and
rectified weights: closed forms). Middle: gain of steps down a coding rate: the exact gradient (Marchenko-Pastur), its
Neumann form, contracted attention, and token statistics with complete frames and truncated heads. Right: squared error
against the clean tokens after the best rescaling, over that of the noisy ones. The posterior mean knows the subspaces
and little else, and removes nearly all that an operator leaves; line: energies of K heads, no tokens.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import Annotated

import numpy as np

from lab import Draws, Equality, Grid, Study, but, measurement
from lab.data.tokens import noisy_subspace_tokens
from lab.models import low_rank_denoisers, white_box
from lab.params import Ge, Gt, Le, LogScale, Lt, Params
from lab.plot import COLOURS, measured_points, verdict_note
from lab.streams import Stream
from lab.systems.attention_only import dynamics, reduced
from lab.systems.attention_only.laws.energies import ROW_GAIN
from lab.systems.attention_only.laws.thresholded import THRESHOLDED_RATE
from lab.systems.attention_only.theory import energies as attention_energies
from lab.systems.crate import theory as crate_theory
from lab.systems.crate.laws.denoising import RATE_GRADIENT_SNR
from lab.systems.tost import theory as tost_theory
from lab.systems.tost.laws.gain import GAIN

K = 4
WEIGHTS = ("thresholded", "softmax", "relu", "linear", "contracted softmax", "Neumann")
"""Operators that are `(1 - t) Z + eta MSSA` with weights of some kind; the last two are steps on the rate."""
ERRORS = (*WEIGHTS, "exact rate step", "token statistics, complete", "token statistics, truncated", "posterior mean")


class Tokens(Params):
    """Tokens near four orthogonal subspaces of rank ``share per_class``; steps of all operators.

    ``beta = strength/per_class`` and kappa beta = `step` for those on the coding rate; token statistics with
    ``tau c/N = part (1 + c delta²)``.
    """

    per_class: Annotated[int, Ge(8), Le(2048)] = 64
    share: Annotated[float, Ge(0.25), Le(4.0), LogScale()] = 1.0
    delta: Annotated[float, Ge(0.01), Lt(1.0), LogScale()] = 0.1
    eta: Annotated[float, Gt(0.0), Le(2.0)] = 0.5
    tau: Annotated[float, Ge(0.5), Lt(1.0)] = 0.6
    strength: Annotated[float, Ge(0.01), Le(1000.0), LogScale()] = 0.5
    step: Annotated[float, Gt(0.0), Lt(1.0)] = 0.5
    c: Annotated[float, Ge(0.1), Le(100.0), LogScale()] = 2.0
    part: Annotated[float, Ge(0.05), Le(0.9)] = 0.6

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.per_class,) * K

    @property
    def rank(self) -> int:
        return max(1, round(self.share * self.per_class))

    @property
    def beta(self) -> float:
        return self.strength / self.per_class

    @property
    def s(self) -> float:
        return self.part * (1 + self.c * self.delta**2)

    def phi(self, name):
        """Weights of an operator of `WEIGHTS`."""
        return {
            "thresholded": white_box.thresholded(self.tau), "relu": white_box.relu,
            "linear": lambda s: s / s.shape[-1], "Neumann": white_box.linear,
        }.get(name, white_box.softmax)  # fmt: skip

    def reach(self, name) -> float:
        """eta of ``Z + eta MSSA`` that is the operator up to a factor: ``(1 - t) Z + t beta MSSA`` for two of them."""
        return self.step * self.beta / (1 - self.step) if name in WEIGHTS[4:] else self.eta


@measurement(paired=("eta", "tau", "strength", "step", "c", "part"))
def one_step(p: Tokens, stream, *, spread: float = 0.0, rotated: bool = False):
    """Gains of one step of every operator, mean over clusters (`weights`: those of `WEIGHTS`); per cluster for the
    thresholded one (`ratio`, with its events) and the exact rate step; `errors` of all over that of the tokens, each
    after its best rescaling.

    `spread` makes the spectrum of each block uneven, `rotated` turns all complete frames alike.
    """
    rng = stream.numpy("tokens")
    tokens = noisy_subspace_tokens(rng, class_sizes=p.sizes, rank=p.rank, delta=p.delta)
    W, own = tokens.blocks * np.sqrt(1 + spread * np.linspace(-1, 1, p.rank)), dynamics.own_rows(p.sizes)
    clean, before = np.where(own[..., None], W, 0.0), dynamics.signal_to_noise(W, p.sizes)
    Z = np.moveaxis(W, 0, 1).reshape(W.shape[1], -1)
    frames = np.moveaxis(np.eye(Z.shape[1]).reshape(Z.shape[1], K, p.rank), 1, 0)
    basis = np.linalg.qr(rng.standard_normal((Z.shape[1],) * 2))[0] if rotated else np.eye(Z.shape[1])
    scale = tost_theory.posterior_scale(1 - p.delta**2, p.delta**2)
    member = white_box.head_membership(W, scale=scale)
    options = {"tau": p.s * len(Z) / p.c, "c": p.c}

    def blocks(V):
        return np.moveaxis(V.reshape(len(V), K, p.rank), 1, 0)

    after = {name: W + p.reach(name) * white_box.attend(W, phi=p.phi(name)) for name in WEIGHTS}
    failed = dynamics.failures(W, p.sizes, p.tau)
    after["exact rate step"] = W - p.step / p.beta * white_box.head_rate_gradient(W, beta=p.beta)
    complete = np.broadcast_to(basis, (K, *basis.shape))
    after[ERRORS[7]] = blocks(Z + white_box.tssa(Z, complete, member, **options))
    after[ERRORS[8]] = blocks(Z + white_box.tssa(Z, frames, member, **options))
    bayes = low_rank_denoisers.posterior_weights(Z, frames, np.full((K, p.rank), 1 - p.delta**2), 1.0, p.delta)
    after["posterior mean"] = bayes.T[..., None] * W
    ratios = {name: dynamics.signal_to_noise(V, p.sizes) / before for name, V in after.items() if name != ERRORS[9]}
    errors = [np.sum((after[name] - clean) ** 2) if name == ERRORS[9] else left_over(after[name], clean)
              for name in ERRORS]  # fmt: skip
    return {
        "weights": np.array([ratios[name].mean() for name in WEIGHTS]), "ratio": ratios["thresholded"],
        "events": bool(failed.none), "exact": ratios["exact rate step"],
        "statistics": np.array([ratios[name].mean() for name in ERRORS[7:9]]),
        "errors": np.array(errors) / left_over(W, clean),
    }  # fmt: skip


def left_over(V, clean):
    """Least squared distance of a multiple of V from the clean tokens."""
    return np.sum((np.sum(V * clean) / np.sum(V**2) * V - clean) ** 2)


# ---------------------------------------------------------------------- laws on these draws


def row_gains(p: Tokens, *, swapped: bool = False):
    """Gains of `WEIGHTS` and their errors."""
    values, errors = _row_gains(p)
    return (values[::-1], errors[::-1]) if swapped else (values, errors)


@lru_cache(maxsize=1024)
def _row_gains(p: Tokens):
    """By energies of rows, the same draws for all noises; linear and rectified weights by closed forms."""
    values, errors = [], []
    setting = {"heads": K, "per_class": p.per_class, "rank": p.rank, "delta": p.delta}
    for name in WEIGHTS:
        eta, error = p.reach(name), 0.0
        if name in ("linear", "relu", "Neumann"):
            of = attention_energies.relu_energies if name == "relu" else attention_energies.linear_energies
            # the Neumann form of a gradient step is (1 - t) Z + t beta (linear MSSA)
            signal, foreign = of(**setting, eta=eta if name == "Neumann" else eta / (K * p.per_class))
        else:
            rng = Stream("attention_only/operator zoo", p.canonical(drop=("delta",))).numpy(name)
            (signal, one), (foreign, two) = reduced.row_energies(rng, p.phi(name), **setting, eta=eta, rows=3000)
            error = float(np.hypot(one / signal, two / foreign))
        values.append(float(attention_energies.gain(signal, foreign, p.delta)))
        errors.append(2 * values[-1] * error)
    return np.array(values), np.array(errors)


def two_percent(p: Tokens):
    """the statement of attention_only/row-gain: within 2 % for N_1 p >= 1000 (a gain is a ratio of means)"""
    return 0.02 * row_gains(p)[0]


def factor_units(p: Tokens) -> float:
    """as attention_only/thresholded-rate, sums of up to 2048 tokens and rank 2048 in blocks: 60 epsilons"""
    return 60 * (1 + p.eta)


def over_sizes(p: Tokens, of):
    return lambda sizes: np.stack([of(p.replace(per_class=int(n))) for n in sizes])


def exact_gains(p: Tokens, *, strength: float = 1.0):
    return crate_theory.gains(p.sizes, p.rank, strength * p.beta, p.delta, p.step)


def statistics_gains(p: Tokens, *, swapped: bool = False):
    both = [tost_theory.full_basis_gain(p.s, p.c, p.delta), tost_theory.truncated_gain(p.s, p.c)]
    return np.array(both[::-1] if swapped else both)


def sizes(p: Tokens):
    """16 to 64 tokens in a cluster"""
    return np.array([16, 24, 32, 48, 64])


HERE = {"params": Tokens, "measure": one_step, "examples": (Tokens(),), "draws": Draws(shapes=0, replicates=6)}
ROWS = replace(
    ROW_GAIN, **HERE, predict=row_gains,
    claim=Equality(of="weights", over="mean", stated=two_percent, resolve=0.15),
    controls={"operators in another order": but(predict=partial(row_gains, swapped=True))},
)  # fmt: skip
RATE = replace(
    THRESHOLDED_RATE, **HERE, predict=lambda p: 1 + p.eta * p.tau,
    claim=Equality(of="ratio", given="events", rounding=factor_units, resolve=1e-11),
    controls={"threshold forgotten": but(predict=lambda p: 1 + p.eta)},
)  # fmt: skip
EXACT = replace(
    RATE_GRADIENT_SNR, **HERE, predict=lambda p: over_sizes(p, exact_gains),
    claim=replace(RATE_GRADIENT_SNR.claim, of="exact", axis=sizes),
    controls={"ten times beta": but(predict=lambda p: over_sizes(p, partial(exact_gains, strength=10.0)))},
)  # fmt: skip
STATISTICS = replace(
    GAIN, **HERE, predict=lambda p: over_sizes(p, statistics_gains),
    claim=replace(GAIN.claim, of="statistics", axis=sizes),
    controls={
        "truncated heads taken for complete": but(
            predict=lambda p: over_sizes(p, partial(statistics_gains, swapped=True))),
    },
)  # fmt: skip


def preset(sizes, noises, replicates, most=0.3):
    every = Grid(per_class=sizes, delta=noises, replicates=replicates)
    large = Grid(per_class=[n for n in sizes if n >= 32], delta=noises, replicates=replicates)
    faint = Grid(per_class=sizes, delta=[d for d in noises if d <= most], replicates=replicates)
    return {ROWS.id: large, RATE.id: large, EXACT.id: every, STATISTICS.id: faint}


STUDY = Study(
    id="attention_only/operator-zoo",
    laws=(ROWS, RATE, EXACT, STATISTICS),
    title="One step of every white-box operator on the same tokens, and the posterior mean",
    presets={
        "smoke": preset([16, 24, 32, 64], [0.05, 0.2, 0.6], 6),
        "default": preset([16, 24, 32, 48, 64, 128], [0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.45, 0.65, 0.9], 8),
        "paper": preset([32, 64, 128, 256, 512], np.geomspace(0.02, 0.95, 24).tolist(), 12),
    },
)


SHOWN = ("thresholded", "softmax", "relu", "linear")
NAMES = {"relu": "relu$/N$", "linear": "linear$/N$", "contracted softmax": "contracted softmax attention",
         "Neumann": "Neumann form", "exact rate step": "exact gradient"}  # fmt: skip
MARKS = dict(zip(ERRORS, "osD^vP<>XX", strict=True))
SHADES = dict(zip(ERRORS, (*COLOURS[:6], COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[6]), strict=True))


@STUDY.figure(ncols=3, size=(14.5, 5.6))
def draw(axes, rows, verdicts):
    rows = rows[rows["per_class"] == rows["per_class"].max()].copy()
    p = rows.iloc[0]
    point = Tokens(**{name: p[name].item() for name in Tokens.model_fields})
    ends = rows["delta"].min(), rows["delta"].max()
    line = [point.replace(delta=float(d)) for d in np.geomspace(*ends, 37)]
    for i, name in enumerate(WEIGHTS):
        rows[name] = [v[i] for v in rows["weights"]]
    rows["exact rate step"] = [np.mean(v) for v in rows["exact"]]
    for i, name in enumerate(ERRORS[7:9]):
        rows[name] = [v[i] for v in rows["statistics"]]
    for i, name in enumerate(ERRORS):
        rows[f"error {name}"] = [v[i] for v in rows["errors"]]
    draw_attention(axes[0], rows, line[::3], verdicts)
    draw_rates(axes[1], rows, line, verdicts)
    draw_errors(axes[2], rows, line)
    about = (rf"$K={K}$, $N_1={point.per_class}$, $p={point.rank}$, $\eta={point.eta:g}$, $\tau={point.tau:g}$; "
             rf"$\beta N_1={point.strength:g}$, $\kappa\beta={point.step:g}$; $c={point.c:g}$")  # fmt: skip
    axes[0].set_title("Attention, $Z+\\eta\\,$MSSA")
    axes[1].set_title("Steps down a coding rate")
    axes[2].set_title("What is left of the squared error")
    axes[0].figure.suptitle(about, fontsize=9.5, x=0.01, ha="left")
    for ax in axes:
        ax.axhline(1, color="0.6", linewidth=0.8, zorder=1)
        marks = [d for d in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8) if ends[0] <= 1.01 * d and d <= 1.01 * ends[1]]
        ax.set(xscale="log", xlabel=r"noise $\delta$ on the foreign subspaces")
        ax.set_xticks(marks, labels=[f"{d:g}" for d in marks])
        ax.minorticks_off()


def points(ax, rows, name, column="", **style):
    measured_points(ax, rows, x="delta", y=column or name, color=SHADES[name], marker=MARKS[name],
                    markerfacecolor="white", markersize=4.5, label=NAMES.get(name, name), **style)  # fmt: skip


def draw_attention(ax, rows, line, verdicts):
    found = np.array([row_gains(q)[0] for q in line])
    rate = 1 + line[0].eta * line[0].tau
    ax.axhline(rate, color="0.6", linewidth=0.8, linestyle=":")
    ax.text(line[-1].delta, rate + 0.003, r"$1+\eta\tau$, exact under the events", ha="right", fontsize=8, color="0.35")
    for name in SHOWN:
        ax.plot([q.delta for q in line], found[:, WEIGHTS.index(name)], color=SHADES[name])
        points(ax, rows, name)
    top, low = rows[list(SHOWN)].to_numpy().max(), min(rows[list(SHOWN)].to_numpy().min(), found[:, :4].min())
    ax.set(ylabel="signal-to-noise ratio, after / before", ylim=(min(0.98, low - 0.01), 1 + 1.55 * (top - 1)))
    notes = "\n".join(verdict_note(verdicts, law.id) for law in (ROWS, RATE))
    ax.legend(loc="upper left", ncols=2, fontsize=8, title=notes, title_fontsize=8)


def draw_rates(ax, rows, line, verdicts):
    at = [q.delta for q in line]
    found = np.array([row_gains(q)[0] for q in line[::3]])
    for name in WEIGHTS[4:]:
        ax.plot(at[::3], found[:, WEIGHTS.index(name)], color=SHADES[name])
        points(ax, rows, name)
    ax.plot(at, [exact_gains(q)[0] for q in line], color=SHADES["exact rate step"])
    points(ax, rows, "exact rate step")
    both = np.array([statistics_gains(q) for q in line])
    for i, name in enumerate(ERRORS[7:9]):
        ax.plot(at, both[:, i], color=SHADES[name])
        points(ax, rows, name)
    ax.set(yscale="log", ylabel="signal-to-noise ratio, after / before", ylim=(0.45, 7))
    ax.set_yticks([0.5, 0.7, 1, 1.5, 2], labels=["0.5", "0.7", "1", "1.5", "2"])
    ax.minorticks_off()
    notes = "\n".join(verdict_note(verdicts, law.id) for law in (EXACT, STATISTICS))
    ax.legend(loc="upper left", fontsize=8, title=notes, title_fontsize=8)


def draw_errors(ax, rows, line):
    for name in ERRORS:
        if name == "posterior mean":
            continue
        mean = rows.groupby("delta")[f"error {name}"].mean()
        ax.plot(mean.index, mean, color=SHADES[name], linewidth=0.6, alpha=0.6)
        points(ax, rows, name, f"error {name}")
    at = [q for q in line if q.delta > 0.3]
    ax.plot([q.delta for q in at], [np.maximum(bayes_error(q), 1e-9) for q in at], color=SHADES["posterior mean"])
    shown = rows[rows["error posterior mean"] > 1e-4]
    points(ax, shown, "posterior mean", "error posterior mean")
    ax.text(0.68, 4e-3, "posterior mean:\nnothing is left below", ha="right", fontsize=8.5, color="0.35")
    ax.set(yscale="log", ylim=(3e-3, 60), ylabel="squared error, after / before, each rescaled at best")
    ax.legend(loc="upper left", fontsize=7.5, ncols=2)


def bayes_error(p: Tokens) -> float:
    """Least mean squared error from the energies of the heads alone (chi-square), over that of rescaled tokens."""
    rng = Stream("attention_only/posterior mean").numpy("energies")
    energies = rng.chisquare(p.rank, (20_000, K)) * np.where(np.arange(K) == 0, 1.0, p.delta**2)
    logits = energies * (0.5 * (p.delta**-2 - 1))
    r = np.exp(logits - logits.max(1, keepdims=True))
    r /= r.sum(1, keepdims=True)
    error = np.mean((1 - r[:, 0]) ** 2 * energies[:, 0] + np.sum(r[:, 1:] ** 2 * energies[:, 1:], axis=1))
    noise = (K - 1) * p.delta**2
    return float(error / (p.rank * noise / (1 + noise)))


if __name__ == "__main__":
    STUDY.cli()
