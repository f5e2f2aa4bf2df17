"""Depth: how long the exact rate lasts, what happens after it, and normalisations under which it lasts for ever."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Classification, Crossover, Equality
from lab.data.tokens import noisy_subspace_tokens, noisy_subspace_tokens_jax
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Gt, Le, LogScale, Lt, Params
from lab.systems.attention_only import dynamics
from lab.systems.attention_only.laws.thresholded import DERIVED
from lab.systems.attention_only.theory.depth import exact_depth, normalised_snr, peak_depth
from lab.systems.attention_only.theory.thresholded import log_odds

Operator = Literal["thresholded", "rescaled", "damped", "normalised", "softmax", "normalised softmax", "relu", "linear"]
THRESHOLDED = ("thresholded", "rescaled", "damped", "normalised")
DENSE_UP_TO = 2**25  # scores of all heads at once; above, one head after the other


class Deep(Params):
    """`layers` layers of one operator with step `eta` on noisy tokens; `tau` is the threshold where there is one.

    "rescaled" divides a thresholded layer by ``1 + eta tau``; "damped" is ``(1 - kappa) Z + kappa MSSA`` with
    ``h = 1{w > tau}`` and the kappa of the same rate, ``1/(1 - kappa) = 1 + eta tau``; "normalised" puts every token
    back to ``|z|² = p``. Weights of "relu" and "linear" are divided by the number of keys, and both put the mean square
    of the signal back to 1 in every head and layer, since they blow up in few layers otherwise.
    """

    operator: Operator = "thresholded"
    heads: Annotated[int, Ge(2), Le(16)] = 4
    per_class: Annotated[int, Ge(2), Le(4096)] = 64
    rank: Annotated[int, Ge(2), Le(512)] = 48
    delta: Annotated[float, Ge(0.001), Le(1.0), LogScale()] = 0.05
    tau: Annotated[float, Ge(0.5), Lt(1.0)] = 0.6
    eta: Annotated[float, Gt(0.0), Le(3.0)] = 0.5
    layers: Annotated[int, Ge(1), Le(64)] = 10

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.per_class,) * self.heads

    @property
    def tokens(self) -> int:
        return self.heads * self.per_class


@measurement(runs="jax", paired=("tau", "eta", "operator"))
def trajectory(p: Deep, stream, *, target: float = 1.0, unequal: float = 0.0):
    """Signal-to-noise ratio, mean over clusters, of layers 0..L; in layers 1..L its factor, failures, events so far.

    `target` multiplies the square norm of normalised tokens; `unequal` makes the spectrum of each block uneven.
    """
    import jax
    import jax.numpy as jnp

    start = noisy_subspace_tokens_jax(stream.jax("tokens"), class_sizes=p.sizes, rank=p.rank, delta=p.delta).blocks
    start = start * jnp.sqrt(1 + unequal * jnp.linspace(-1, 1, p.rank))

    def layer(W: Any, _: Any) -> Any:
        after, failed = _layer(p, W, target)
        now = jnp.mean(dynamics.signal_to_noise(after, p.sizes))
        return after, (now, failed.signal, failed.foreign)

    _, (snr, signal, foreign) = jax.lax.scan(layer, start, None, length=p.layers)
    events = (signal == 0) & (foreign == 0)
    path = jnp.concatenate([jnp.mean(dynamics.signal_to_noise(start, p.sizes))[None], snr])
    return {
        "layer": jnp.arange(1, p.layers + 1), "snr": path, "ratio": path[1:] / path[:-1], "first": path[1] / path[0],
        "total": path[-1] / path[0], "signal": signal, "foreign": foreign,
        "events": events, "exact": jnp.cumprod(events.astype(path.dtype)),
    }  # fmt: skip


def _layer(p: Deep, W: Any, target: Any) -> tuple[Any, dynamics.Failures]:
    import jax
    import jax.numpy as jnp

    growth, chunk = 1 + p.eta * p.tau, max(1, DENSE_UP_TO // (p.heads * p.tokens))
    if p.operator in THRESHOLDED:
        kind: Any = "indicator" if p.operator == "damped" else "constant"
        after, failed = dynamics.step(W, p.sizes, eta=p.eta, tau=p.tau, kind=kind, gather=True, chunk=chunk)
        if p.operator == "rescaled":
            after = after / growth
        elif p.operator == "damped":
            after = white_box.damped_step(W, (after - W) / p.eta, kappa=1 - 1 / growth)
        elif p.operator == "normalised":
            after = white_box.normalise_tokens(after, square=target * p.rank, axis=(-3, -1))
        return after, failed
    phi = {"relu": white_box.relu, "linear": lambda s: s / s.shape[-1]}.get(p.operator, white_box.softmax)
    if p.heads * p.tokens**2 <= DENSE_UP_TO:
        update = white_box.attend(W, phi=phi)
    else:
        update = jax.lax.map(lambda one: white_box.attend(one[None], phi=phi)[0], W)
    after = W + p.eta * update
    if p.operator == "normalised softmax":
        after = white_box.normalise_tokens(after, square=target * p.rank, axis=(-3, -1))
    elif p.operator in ("relu", "linear"):
        own, _ = dynamics.energies(after, p.sizes)
        after = after / jnp.sqrt(own / (p.per_class * p.rank))[:, None, None]
    return after, dynamics.Failures(jnp.zeros(()), jnp.zeros(()))


# ---------------------------------------------------------------------- how long the rate lasts


class Started(Deep):
    """Thresholded layers in which all signal rows pass: rank above that of attention_only/exact-boundary by what tau
    and the noise ask for, tau up to .97.
    """

    operator: Literal["thresholded"] = "thresholded"
    tau: Annotated[float, Ge(0.5), Le(0.97)] = 0.6
    delta: Annotated[float, Ge(0.005), Le(0.3), LogScale()] = 0.05

    @model_validator(mode="after")
    def _signal_passes(self) -> Self:
        # N (N_1 - 1) pi_p < .05 suffices, and pi_p < 2^(-p/2): cheap, as every point is checked when it is made
        needed = 2 * math.log2(self.tokens * self.per_class / 0.05) + 3 * log_odds(self.tau)
        if self.rank < needed:
            raise ValueError(
                f"rank={self.rank}: signal rows break in the first layer below about {needed:.0f} with "
                f"heads={self.heads}, per_class={self.per_class}, tau={self.tau}; raise rank"
            )
        return self


def last_exact(p: Deep, *, growing: bool = True) -> float:
    """Layers through which half of the draws are exact; without growth of the signal, for ever."""
    if not growing:
        return float(p.layers)
    return exact_depth(p.heads, p.per_class, p.rank, p.delta, p.tau, p.eta)


def factor_two(p: Deep) -> float:
    """the quadrature is right within a factor 2 for tau up to .9 (2.6 up to .97): the depths at which twice and half
    the failures are expected, read off the theory"""
    factor, setting = 2.0 if p.tau <= 0.9 else 2.6, (p.heads, p.per_class, p.rank, p.delta, p.tau, p.eta)
    early, middle, late = (exact_depth(*setting, probability=0.5**power) for power in (1 / factor, 1.0, factor))
    return max(middle - early, late - middle)


DEPTH_LIMIT = Law(
    id="attention_only/depth-limit",
    source=Source(DERIVED),
    statement="""
    Exact layers multiply the signal by 1 + eta tau and leave the foreign noise, so scores in foreign heads grow until
    the events break. The rate is exact in half of the draws up to layer l_ex, which solves

        N P_s + N (K-1) P_n((1 + eta tau)^(l-1)) = log 2

    with the failure rates of the theory, known by quadrature within a factor 2 (less than a layer at usual steps).
    """,
    params=Started,
    predict=last_exact,
    measure=trajectory,
    claim=Crossover(of="exact", along="layer", level=0.5, stated=factor_two, resolve=0.35),
    controls={
        "one rate for all layers": but(predict=partial(last_exact, growing=False)),
        "noise doubled": but(predict=lambda p: last_exact(p.replace(delta=2 * p.delta))),
    },
    examples=(
        Started(heads=2, per_class=64, eta=0.25, layers=16),
        Started(heads=4, per_class=128, rank=64, layers=10),
        Started(heads=4, per_class=64, rank=64, delta=0.1, tau=0.75, eta=0.3, layers=10),
    ),
    draws=Draws(shapes=0, replicates=16),
)


# ---------------------------------------------------------------------- after it


def peak(p: Deep, *, energy: bool = True) -> float:
    """Layer at which the ratio starts to fall; without `energy`, the first layer that is not exact."""
    return peak_depth(p.heads, p.per_class, p.rank, p.delta, p.tau, p.eta) if energy else last_exact(p)


def peak_factor_two(p: Deep) -> float:
    """the quadrature is right within a factor 2 for tau up to .9 (2.6 up to .97): the depths at which twice and half
    the noise of the peak is expected, read off the theory; and what a row gains beside the key it attends to, at most a
    tenth of a layer"""
    factor, setting = 2.0 if p.tau <= 0.9 else 2.6, (p.heads, p.per_class, p.rank, p.delta, p.tau, p.eta)
    early, middle, late = (peak_depth(*setting, factor=f) for f in (factor, 1.0, 1 / factor))
    return max(middle - early, late - middle) + 0.1


DEPTH_PEAK = Law(
    id="attention_only/depth-peak",
    source=Source(DERIVED),
    statement="""
    The ratio does not level off after its last exact layers, it falls, and falls in every layer from then on. A foreign
    row that attends to a key of the signal, of square norm g² p, adds (eta tau g)² p to a noise of delta² p. So the
    ratio peaks where the rate of such rows is

        P_n(g) (eta tau g/delta)² = (1 + eta tau)² - 1,    g = (1 + eta tau)^(l-1),

    the layer being known as well as the rate is by quadrature, a factor 2. For small delta that is the first layer that
    is not exact: few failures outweigh all of the noise.
    """,
    params=Started,
    predict=peak,
    measure=trajectory,
    claim=Crossover(of="ratio", along="layer", level=1.0, stated=peak_factor_two, resolve=0.4),
    controls={"first layer that is not exact": but(predict=partial(peak, energy=False))},
    examples=(
        Started(per_class=128, rank=64, layers=10), Started(per_class=128, rank=64, delta=0.2, layers=8),
        Started(per_class=64, rank=48, delta=0.1, eta=0.25, layers=14),
    ),
    draws=Draws(shapes=0, replicates=12),
)


# ---------------------------------------------------------------------- normalisations


@measurement
def normalised(p: Deep, data, stream, *, target: float = 1.0):
    """Ratio of every cluster after each layer, tokens put back to ``|z|² = target p`` (L, K); events so far (L, 1)."""
    W, snr, exact, flags = data["W"], [], True, []
    for _ in range(p.layers):
        W, failed = dynamics.step(W, p.sizes, eta=p.eta, tau=p.tau)
        W = white_box.normalise_tokens(W, square=target * p.rank, axis=(-3, -1))
        exact = exact and bool(failed.none)
        snr.append(dynamics.signal_to_noise(W, p.sizes))
        flags.append([exact])
    return {"snr": np.stack(snr), "exact": np.array(flags)}


def tokens(p: Deep, stream) -> dict[str, np.ndarray]:
    return {"W": noisy_subspace_tokens(stream.numpy("tokens"), class_sizes=p.sizes, rank=p.rank, delta=p.delta).blocks}


def normalised_path(p: Deep, data, *, plain: bool = False) -> np.ndarray:
    """Ratios (L, K) from the token norms at the start; `plain` multiplies the first ratio by the rate instead."""
    own = dynamics.own_rows(p.sizes)
    squares = np.sum(data["W"] ** 2, axis=-1)
    signal = np.sqrt(squares[own]).reshape(p.heads, -1)
    noise = np.sqrt(np.where(own, 0.0, squares).sum(0)).reshape(p.heads, -1)
    rates = (1 + p.eta * p.tau) ** np.arange(1.0, p.layers + 1)
    if plain:
        return rates[:, None] * np.sqrt(np.sum(signal**2, 1) / np.sum(noise**2, 1))
    return np.stack([normalised_snr(signal, noise, rate) for rate in rates])


def layer_units(p: Deep) -> np.ndarray:
    """each layer multiplies coordinates within 1.5 epsilons and normalises within p/8 + 10 of them (one sum of squares,
    root, quotient), alike for the whole token; the ratio's four sums add 45. Errors add up over layers, and are
    relative to the ratio (about 1/(delta sqrt(K-1)) times the rate so far; 2 covers its scatter)"""
    layers = np.arange(1.0, p.layers + 1)[:, None]
    size = 2 * (1 + p.eta * p.tau) ** layers / (p.delta * np.sqrt(p.heads - 1))
    return (45 + (12 + p.rank / 8) * layers) * size


@measurement
def rescued(p: Deep, stream, *, rescue: bool = True):
    """Log of the ratio over its start, per layer and cluster (L, K); events of each layer, and of the first."""
    W = noisy_subspace_tokens(stream.numpy("tokens"), class_sizes=p.sizes, rank=p.rank, delta=p.delta).blocks
    growth, start = 1 + p.eta * p.tau, dynamics.signal_to_noise(W, p.sizes)
    found, events = [], []
    for _ in range(p.layers):
        kind: Any = "indicator" if p.operator == "damped" else "constant"
        after, failed = dynamics.step(W, p.sizes, eta=1.0 if p.operator == "damped" else p.eta, tau=p.tau, kind=kind)
        if not rescue:
            W = after
        elif p.operator == "damped":
            W = white_box.damped_step(W, after - W, kappa=1 - 1 / growth)
        else:
            W = white_box.rescaled_step(W, (after - W) / p.eta, eta=p.eta, tau=p.tau)
        found.append(dynamics.signal_to_noise(W, p.sizes) / start)
        events.append([bool(failed.none)])
    return {"growth": np.log(np.stack(found)), "first": events[0], "events": np.array(events)[:, 0]}


def log_growth(p: Deep) -> np.ndarray:
    """l log(1 + eta tau)."""
    return np.arange(1.0, p.layers + 1)[:, None] * np.log1p(p.eta * p.tau)


def log_units(p: Deep) -> np.ndarray:
    """relative errors of the ratio: 45 epsilons for its sums, and 4 a layer for its three operations a coordinate,
    which are alike in signal and noise only as far as they round alike; and the rounding of the logarithm itself"""
    return 45 + 4 * np.arange(1.0, p.layers + 1)[:, None] + log_growth(p)


class Normalised(Deep):
    """Layers after which the signal is put back to its size, in one of three ways."""

    operator: Literal["rescaled", "damped", "normalised"] = "rescaled"
    heads: Annotated[int, Ge(2), Le(4)] = 4
    per_class: Annotated[int, Ge(2), Le(128)] = 64
    rank: Annotated[int, Ge(2), Le(128)] = 64
    layers: Annotated[int, Ge(1), Le(40)] = 20


class Small(Deep):
    """Few tokens, ranks around the boundary: about half of the draws have the events in the first layer."""

    operator: Literal["rescaled", "damped"] = "rescaled"
    heads: Annotated[int, Ge(2), Le(4)] = 3
    per_class: Annotated[int, Ge(2), Le(32)] = 16
    rank: Annotated[int, Ge(2), Le(96)] = 40
    delta: Annotated[float, Ge(0.001), Le(0.4), LogScale()] = 0.1
    tau: Annotated[float, Ge(0.1), Le(0.95)] = 0.6
    layers: Annotated[int, Ge(15), Le(15)] = 15


NORM_RESCUE = Law(
    id="attention_only/norm-rescue",
    source=Source(DERIVED),
    statement="""
    Divided by 1 + eta tau after every layer, (Z + eta MSSA(Z))/(1 + eta tau), the signal stays and the noise shrinks
    instead: once the events hold in the first layer, the ratio after l layers is exactly (1 + eta tau)^l times its
    start, for every l. The damped form (1 - kappa) Z + kappa MSSA(Z) with h = 1{w > tau} does the same at the rate
    1/(1 - kappa).
    """,
    params=Normalised,
    predict=log_growth,
    measure=rescued,
    claim=Equality(of="growth", given="first", rounding=log_units, scale=1.0, resolve=1e-10),
    controls={"no rescue": but(measure=partial(rescued, rescue=False))},
    examples=(
        Normalised(operator="rescaled", per_class=96, rank=64, layers=40),
        Normalised(operator="damped", per_class=64, rank=64, delta=0.1, layers=40),
        Normalised(operator="rescaled", heads=2, per_class=32, rank=64, tau=0.9, eta=2.0, layers=30),
    ),
    draws=Draws(shapes=0, replicates=2),
)  # fmt: skip

EVENTS_PERSIST = Law(
    id="attention_only/events-persist",
    source=Source(DERIVED, "observed, not proved"),
    statement="""
    With layers rescaled by 1/(1 + eta tau), or damped, the events hold in every layer once they hold in the first:
    signal rows see the same scores with less noise, foreign rows smaller ones. Observed on every draw, not proved.
    """,
    params=Small,
    predict=lambda p: np.ones(p.layers),
    measure=rescued,
    claim=Classification(of="events", given="first", joint=True, resolve=0.1),
    controls={"no rescue": but(measure=partial(rescued, rescue=False))},
    examples=(Small(), Small(operator="damped"), Small(tau=0.2, per_class=32, rank=60)),
    draws=Draws(shapes=16, values=8),
)

TOKEN_NORMALISATION = Law(
    id="attention_only/token-normalisation",
    source=Source(DERIVED),
    statement="""
    Tokens put back to |z|² = p after every layer: while the events hold the ratio follows from the norms at the start,

        SNR_l² = sum_i 1/(1 + t_i²) / sum_i t_i²/(1 + t_i²),   t_i = |noise_i|/(|signal_i| (1 + eta tau)^l),

    so its factor starts below the rate and reaches it within a few layers, and the events go on holding, as in
    attention_only/norm-rescue: a normalisation layer is what makes the rate last. The target matters: |z|² = K p lets
    the signal grow to sqrt K, where they break.
    """,
    params=Normalised,
    situation=tokens,
    predict=normalised_path,
    measure=normalised,
    claim=Equality(of="snr", given="exact", rounding=layer_units, resolve=1e-9),
    controls={
        "square norm K p, events or not": but(
            measure=partial(normalised, target=4.0),
            claim=Equality(of="snr", rounding=layer_units, resolve=1e-9),
        ),
        "rate from the first layer on": but(predict=partial(normalised_path, plain=True)),
    },
    examples=(
        Normalised(operator="normalised", per_class=128, rank=64, delta=0.1, layers=20),
        Normalised(operator="normalised", per_class=64, rank=64, delta=0.05, tau=0.8, eta=1.0, layers=20),
    ),
    draws=Draws(shapes=0, replicates=2),
)
