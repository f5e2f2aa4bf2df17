"""Plain softmax attention: the ratio rises, peaks and collapses; it is no denoiser of a linear rate."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Crossover, Equality
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le
from lab.systems.attention_only.laws.depth import Deep, trajectory
from lab.systems.attention_only.laws.thresholded import AOT, DERIVED
from lab.systems.attention_only.theory.softmax import softmax_evolution


@measurement(runs="jax", paired=("eta",))
def profile(p: Deep, stream, *, normalised: bool = False, threshold: bool = False):
    """`trajectory` of plain softmax, with its way up: layers 0..L up to the peak, and second differences of log ratios.

    `normalised` puts tokens back to ``|z|² = p``, `threshold` takes thresholded weights, in every layer.
    """
    import jax.numpy as jnp

    operator = "normalised" if threshold and normalised else "thresholded" if threshold else "softmax"
    seen = trajectory(Deep.model_construct(**{**dict(p), "operator": operator}), stream)
    top = jnp.argmax(seen["snr"])
    layers = jnp.arange(p.layers + 1)
    return {**seen, "change": seen["ratio"][1:] / seen["ratio"][:-1] - 1, "rising": layers <= top,
            "slowing": layers[2:] <= top}  # fmt: skip


def evolved(p: Deep, *, orthogonal: bool = True, constant: bool = False) -> np.ndarray:
    """Ratio of layers 0..L; without the `orthogonal` part of the noise, or with a `constant` factor."""
    state = softmax_evolution(p.heads, p.per_class, p.rank, p.delta, p.eta, p.layers)
    if constant:
        return state.snr[0] * (state.snr[1] / state.snr[0]) ** np.arange(p.layers + 1.0)
    return state.snr if orthogonal else state.signal / (np.sqrt(p.heads - 1) * state.coherent)


def three_percent(p: Deep) -> np.ndarray:
    """the statement: within 3 % of the ratio"""
    return 0.03 * evolved(p)


class Plain(Deep):
    """Layers of plain softmax attention: rank well above that at which tokens attend to themselves, noise small enough
    that exponential scores in foreign heads are carried by many keys.
    """

    operator: Literal["softmax"] = "softmax"
    per_class: Annotated[int, Ge(100), Le(4096)] = 128
    rank: Annotated[int, Ge(2), Le(512)] = 64

    @model_validator(mode="after")
    def _many_keys(self) -> Self:
        if self.rank < 5 * np.log(self.per_class) or self.delta * np.sqrt(self.rank) > 0.8:
            raise ValueError(
                f"rank={self.rank}, per_class={self.per_class}, delta={self.delta}: rank must be at least "
                "5 log(per_class) and delta sqrt(rank) at most .8; raise rank or lower delta"
            )
        return self


EXAMPLES = (Plain(eta=0.03, layers=16), Plain(per_class=100, heads=3, rank=60, delta=0.03, eta=1.0, layers=2))

SOFTMAX_PROFILE = Law(
    id="attention_only/softmax-profile",
    source=Source(DERIVED),
    statement="""
    Plain softmax, Z + eta MSSA(Z): signal rows attend to themselves and grow by 1 + eta. Foreign rows get back
    themselves times w_n, the tilted mean over keys (g² for keys of the signal), and something orthogonal to them:

        a <- a (1 + eta w_n),  b <- b (1 + eta w_n) + eta sqrt f,  g <- g (1 + eta),  SNR = g/sqrt((K-1)(a² + b²)).

    Up to the peak of the ratio this holds within 3 %, for delta sqrt p <= .8, p >= 5 log N_1 and N_1 >= 100 (as g
    grows, w_n passes 1 and the ratio falls: beyond the peak it is qualitative only).
    """,
    params=Plain,
    predict=evolved,
    measure=profile,
    claim=Equality(of="snr", over="mean", given="rising", stated=three_percent, resolve=0.2),
    controls={
        "coherent noise alone": but(predict=partial(evolved, orthogonal=False)),
        "thresholded weights": but(measure=partial(profile, threshold=True)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0, replicates=8),
)


def peak_layer(p: Deep) -> float:
    """Layer in which the predicted factor passes 1, interpolated."""
    path = evolved(p.replace(layers=64))
    factor = path[1:] / path[:-1]
    below = int(np.argmax(factor < 1))
    return below + 1 - (1 - factor[below]) / (factor[below - 1] - factor[below])


def third(p: Deep) -> float:
    """the statement: within a third of the layer"""
    return peak_layer(p) / 3


SOFTMAX_PEAK = Law(
    id="attention_only/softmax-peak",
    source=Source(DERIVED),
    statement="""
    Plain softmax denoises for a finite number of layers: its ratio rises to a peak and falls in every layer after it.
    The layer is that of the state evolution of attention_only/softmax-profile within a third (the top is flat).
    """,
    params=Plain,
    predict=peak_layer,
    measure=profile,
    claim=Crossover(of="ratio", along="layer", level=1.0, stated=third, resolve=0.6),
    controls={"thresholded weights, normalised tokens": but(measure=partial(profile, threshold=True, normalised=True))},
    examples=(Plain(per_class=100, rank=48, eta=0.05, layers=18),),
    draws=Draws(shapes=0, replicates=8),
)

SOFTMAX_SLOWS = Law(
    id="attention_only/softmax-slows",
    source=Source(DERIVED),
    statement="""
    On its way up the factor of plain softmax falls from layer to layer, on every draw: the ratio is concave on a
    logarithmic axis from the first layer on. A linear (geometric) rate would keep it.
    """,
    params=Plain,
    predict=lambda p: 0.0,
    measure=profile,
    claim=Bound(of="change", side="upper", given="slowing", scale=1.0, resolve=0.05),
    controls={"thresholded weights, normalised tokens": but(measure=partial(profile, threshold=True, normalised=True))},
    examples=(EXAMPLES[0], Plain(per_class=100, rank=48, eta=0.05, layers=18)),
    draws=Draws(shapes=0, replicates=4),
)

SOFTMAX_RATE_PRINTED = SOFTMAX_PROFILE.printed(
    "attention_only/softmax-rate-printed",
    source=Source(AOT, "phi is an element-wise operator such as softmax; the layers denoise at a linear rate"),
    statement="""
    As printed, a softmax in place of phi denoises at a linear rate: a constant factor per layer. Softmax acts on all
    scores of a query, not element by element; plain softmax loses its factor layer by layer and then the signal: with
    N = 512, K = 4, p = 64, delta = .05, eta = .03 the ratio peaks at 13.8 near layer 13 where the first factor would
    have given 15.2. The theorem needs the threshold.
    """,
    predict=partial(evolved, constant=True),
    at=(EXAMPLES[0],),
)
