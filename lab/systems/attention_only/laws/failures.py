"""How often rows break the events: full simulation against rows reduced to one dimension, and against quadrature."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data.tokens import noisy_subspace_tokens, noisy_subspace_tokens_jax
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, Params, Traced
from lab.streams import Stream
from lab.systems.attention_only import dynamics, reduced
from lab.systems.attention_only.laws.depth import Deep, trajectory
from lab.systems.attention_only.laws.thresholded import AOT, DERIVED, THEOREM
from lab.systems.attention_only.theory.failures import exact_probability, foreign_failure, signal_failure
from lab.systems.attention_only.theory.thresholded import printed_interval

ROWS = 4000
RARE, LARGE = 0.005, 1.0


class Rows(Params):
    """Rows of one layer whose signal has grown to `gain`; `instances` token sets are looked at together."""

    heads: Annotated[int, Ge(2), Le(4)] = 4
    per_class: Annotated[int, Ge(8), Le(128)] = 64
    rank: Annotated[int, Ge(4), Le(128)] = 24
    delta: Annotated[float, Ge(0.05), Le(0.7), LogScale()] = 0.5
    tau: Annotated[float, Ge(0.5), Le(0.97)] = 0.75
    gain: Annotated[float, Ge(1.0), Le(7.0), LogScale()] = 1.0
    instances: int = 6

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.per_class,) * self.heads

    @property
    def setting(self) -> dict[str, Any]:
        return {name: value for name, value in self.values().items() if name != "instances"}


@measurement
def failing_rows(p: Rows, stream, *, heavy: bool = False):
    """Shares of failing rows, mean over instances, with their logarithms; whether these are rates between .005 and 1.

    `heavy` draws tokens with the norm of a Student's t with three degrees of freedom.
    """
    rng, shares = stream.numpy("tokens"), []
    for _ in range(p.instances):
        W = noisy_subspace_tokens(rng, class_sizes=p.sizes, rank=p.rank, delta=p.delta).blocks
        if heavy:
            W = W / np.sqrt(rng.chisquare(3, W.shape[1]) / 3)[:, None]
        W = W * np.where(dynamics.own_rows(p.sizes), p.gain, 1.0)[..., None]
        shares.append(dynamics.step(W, p.sizes, eta=1.0, tau=p.tau)[1])
    signal, foreign = (float(np.mean([getattr(s, name) for s in shares])) for name in ("signal", "foreign"))
    return {
        "signal": signal, "foreign": foreign, "log signal": np.log(max(signal, 1e-12)),
        "log foreign": np.log(max(foreign, 1e-12)), "signal counts": RARE <= signal <= LARGE,
        "foreign counts": RARE <= foreign <= LARGE,
    }  # fmt: skip


def by_reduction(p: Rows, *, of: Any, noise: float = 1.0, rows: int = ROWS) -> tuple[float, float]:
    """Rate and four standard errors of it from rows of one dimension; `noise` multiplies delta."""
    rng = Stream("attention_only/reduced rows", p.canonical()).numpy(of.__name__)
    rate, error = of(rng, **{**p.setting, "delta": noise * p.delta}, rows=rows)
    return rate, 4 * error


SIGNAL_FAILURES = Law(
    id="attention_only/signal-failures",
    source=Source(DERIVED),
    statement="""
    Given its squared norm r ~ chi²_p, the scores of a signal row are independent normal numbers, so the rate at which
    signal rows fail is that of

        log-sum-exp( g² sqrt(r) xi_m (N_1 - 1 keys), g² delta sqrt(r) xi'_m (N - N_1) ) >= g² r - log(tau/(1 - tau)),

    exactly, at every signal gain g. No vector of dimension p is needed. Full simulation against 4000 such rows.
    """,
    params=Rows,
    predict=partial(by_reduction, of=reduced.signal_failure),
    measure=failing_rows,
    claim=Equality(of="signal", over="mean", scale=1.0, resolve=0.08),
    controls={"heavy tails": but(measure=partial(failing_rows, heavy=True))},
    examples=(
        Rows(rank=10, delta=0.1), Rows(rank=14, delta=0.3, tau=0.55, per_class=128, heads=2, instances=4),
        Rows(rank=6, delta=0.5, gain=1.5),
    ),
    draws=Draws(shapes=0, replicates=12),
)  # fmt: skip

FOREIGN_FAILURES = Law(
    id="attention_only/foreign-failures",
    source=Source(DERIVED),
    statement="""
    Given its squared norm r ~ delta² chi²_p, the scores of a foreign row are independent: g sqrt(r) xi (N_1 keys),
    delta sqrt(r) xi (N - N_1 - 1) and r with itself. The rate at which such a row has a weight above tau is the rate at
    which foreign rows fail, exactly, at every signal gain g. Full simulation against 4000 such rows.
    """,
    params=Rows,
    predict=partial(by_reduction, of=reduced.foreign_failure),
    measure=failing_rows,
    claim=Equality(of="foreign", over="mean", scale=1.0, resolve=0.08),
    controls={
        "heavy tails": but(measure=partial(failing_rows, heavy=True)),
        "noise of the queries halved": but(predict=partial(by_reduction, of=reduced.foreign_failure, noise=0.5)),
    },
    examples=(
        Rows(), Rows(rank=48, delta=0.1, gain=5.0, tau=0.55, instances=4), Rows(rank=118, heads=2, tau=0.6),
    ),
    draws=Draws(shapes=0, replicates=12),
)  # fmt: skip


def factor(p: Rows) -> float:
    """the statement: a factor 2 for tau up to .9, 2.6 up to .97; as a logarithm"""
    return float(np.log(2.0 if p.tau <= 0.9 else 2.6))


def log_quadrature(p: Rows, *, of: Any, crowd: int = 1, self_win: bool = True) -> float:
    """Logarithm of the rate by quadrature; `crowd` multiplies the tokens, without `self_win` one term is left out."""
    options = {} if self_win else {"self_win": False}
    return float(np.log(of(**{**p.setting, "per_class": crowd * p.per_class}, **options)))


QUADRATURE_EXAMPLES = (
    Rows(), Rows(rank=10, delta=0.1), Rows(rank=24, delta=0.1, gain=5.0, tau=0.6, per_class=128),
    Rows(rank=118, heads=2, tau=0.6),
    Rows(rank=64, delta=0.1, gain=6.0, tau=0.95),
)  # fmt: skip

SIGNAL_QUADRATURE = Law(
    id="attention_only/signal-quadrature",
    source=Source(DERIVED),
    statement="""
    The rate of failing signal rows is given by one integral over the norm of the query (single big jump: one key wins,
    the others are as large as on average) within a factor 2 for tau in [1/2, .9] and 2.6 up to .97, where it lies
    between .005 and 1.
    """,
    params=Rows,
    predict=partial(log_quadrature, of=signal_failure),
    measure=failing_rows,
    claim=Equality(of="log signal", over="mean", given="signal counts", stated=factor, scale=1.0, resolve=1.4),
    controls={"ten times the tokens": but(predict=partial(log_quadrature, of=signal_failure, crowd=10))},
    examples=(*QUADRATURE_EXAMPLES,
              *(Rows(rank=r, delta=0.1, tau=t) for r, t in ((6, 0.5), (14, 0.75), (20, 0.9), (20, 0.97)))),
    draws=Draws(shapes=6, values=3, replicates=6),
)  # fmt: skip

FOREIGN_QUADRATURE = Law(
    id="attention_only/foreign-quadrature",
    source=Source(DERIVED),
    statement="""
    The rate of failing foreign rows is given by one integral over the norm of the query within a factor 2 for tau in
    [1/2, .9] and 2.6 up to .97, where it lies between .005 and 1. Two ways to fail count: another key wins, or the
    token attends to itself. The second carries the re-entrant regime of large delta² p, where noise attends to itself
    as the signal does and is amplified as much (gain about 1).
    """,
    params=Rows,
    predict=partial(log_quadrature, of=foreign_failure),
    measure=failing_rows,
    claim=Equality(of="log foreign", over="mean", given="foreign counts", stated=factor, scale=1.0, resolve=1.4),
    controls={"without self attention": but(predict=partial(log_quadrature, of=foreign_failure, self_win=False))},
    examples=QUADRATURE_EXAMPLES,
    draws=Draws(shapes=6, values=3, replicates=6),
)


# ---------------------------------------------------------------------- probability that the rate is exact


def exactness(p: Deep, *, growing: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Probability that layers 1..l are all exact, and its error, from rates of rows of one dimension."""
    gains = (1 + p.eta * p.tau) ** (np.arange(p.layers) if growing else np.zeros(p.layers))
    setting: dict[str, Any] = {"heads": p.heads, "per_class": p.per_class, "rank": p.rank, "delta": p.delta,
                               "tau": p.tau, "rows": 3000}  # fmt: skip
    stream = Stream("attention_only/reduced rows", p.replace(layers=1).canonical())
    signal, signal_error = reduced.signal_failure(stream.numpy("signal"), **setting)
    foreign, foreign_error = reduced.foreign_failure(stream.numpy("foreign"), **setting, gain=gains)
    expected = p.tokens * (signal + (p.heads - 1) * foreign)
    error = 4 * p.tokens * np.hypot(signal_error, (p.heads - 1) * foreign_error)
    return np.exp(-expected), np.exp(-np.maximum(expected - error, 0)) - np.exp(-expected)


EXACT_PROBABILITY = Law(
    id="attention_only/exact-probability",
    source=Source(DERIVED),
    statement="""
    The rate is exact in all layers 1..l with probability exp(-N P_s - N (K-1) P_n(g_l)), g_l = (1 + eta tau)^(l-1),
    within .1: failures are nearly independent, hence Poisson, and monotone in l. P_s and P_n are the rates of
    attention_only/signal-failures and attention_only/foreign-failures.
    """,
    params=Deep,
    predict=exactness,
    measure=trajectory,
    claim=Equality(of="exact", over="fraction", stated=0.1, scale=1.0, resolve=0.3),
    controls={"signal that does not grow": but(predict=partial(exactness, growing=False))},
    examples=(
        Deep(heads=2, per_class=64, eta=0.25, layers=14), Deep(heads=2, per_class=128, rank=24, layers=1),
        Deep(heads=2, per_class=128, rank=32, layers=1),
    ),
    draws=Draws(shapes=0, replicates=80),
)  # fmt: skip

class First(Params):
    """First layers over the plane of rank and noise; tokens have `widest` coordinates, of which `rank` count."""

    heads: Annotated[int, Ge(2), Le(8)] = 2
    per_class: Annotated[int, Ge(8), Le(4096)] = 64
    widest: Annotated[int, Ge(2), Le(256)] = 64
    rank: Annotated[int, Ge(2), Le(256), Traced()] = 32
    delta: Annotated[float, Ge(0.01), Le(1.0), LogScale()] = 0.1
    tau: Annotated[float, Ge(0.5), Le(0.97)] = 0.6
    eta: Annotated[float, Ge(0.01), Le(3.0)] = 0.5

    @model_validator(mode="after")
    def _rank_fits(self) -> Self:
        if self.rank > self.widest:
            raise ValueError(f"rank={self.rank} exceeds widest={self.widest}; lower rank or raise widest")
        return self


@measurement(runs="jax", paired=("rank", "delta", "tau", "eta"))
def first_layer(p: First, stream, *, over_root: bool = False):
    """Whether the events hold in the first layer, its gain (mean over clusters), and shares of failing rows.

    `over_root` divides scores by the square root of the rank.
    """
    import jax.numpy as jnp

    sizes = (p.per_class,) * p.heads
    W = noisy_subspace_tokens_jax(stream.jax("tokens"), class_sizes=sizes, rank=p.widest, delta=p.delta).blocks
    W = jnp.where(jnp.arange(p.widest) < p.rank, W, 0.0)
    scale, chunk = 1 / jnp.sqrt(p.rank) if over_root else 1.0, max(1, 2**24 // (p.heads**2 * p.per_class))
    after, failed = dynamics.step(W, sizes, eta=p.eta, tau=p.tau, gather=True, chunk=chunk, scale=scale)
    gain = jnp.mean(dynamics.signal_to_noise(after, sizes) / dynamics.signal_to_noise(W, sizes))
    return {"exact": failed.none.astype(gain.dtype), "gain": gain, "signal": failed.signal, "foreign": failed.foreign}


def first_exact(p: First, *, self_win: bool = True) -> float:
    """Probability that the first layer is exact, by quadrature; without `self_win` one way to fail is left out."""
    if self_win:
        return float(exact_probability(p.heads, p.per_class, p.rank, p.delta, p.tau))
    signal = signal_failure(p.heads, p.per_class, p.rank, p.delta, p.tau)
    foreign = foreign_failure(p.heads, p.per_class, p.rank, p.delta, p.tau, self_win=False)
    return float(np.exp(-p.heads * p.per_class * (signal + (p.heads - 1) * foreign)))


def rates_within_two(p: First) -> float:
    """the statement: rates within a factor 2 for tau up to .9, 2.6 up to .97: P between its power 1/2 and 2; and .02
    for failures that are not independent"""
    factor, value = 2.0 if p.tau <= 0.9 else 2.6, first_exact(p)
    return 0.02 + max(value ** (1 / factor) - value, value - value**factor)


EXACT_PHASE = Law(
    id="attention_only/exact-phase",
    source=Source(DERIVED),
    statement="""
    Over the plane of rank and noise the first layer is exact with probability exp(-N P_s - N (K-1) P_n), the rates by
    quadrature and within a factor 2 (tau up to .9): bounded below by the rank at which all tokens pass, above by the
    noise at which foreign rows find a key. For large rank a second kind of failure takes over, noise that attends to
    itself.
    """,
    params=First,
    predict=first_exact,
    measure=first_layer,
    claim=Equality(of="exact", over="fraction", stated=rates_within_two, scale=1.0, resolve=0.5),
    controls={
        "without self attention": but(predict=partial(first_exact, self_win=False)),
        "scores over the root of the rank": but(measure=partial(first_layer, over_root=True)),
    },
    examples=(
        First(), First(rank=20), First(delta=0.3), First(rank=118, widest=118, delta=0.5),
        First(delta=0.2, rank=48, tau=0.9),
    ),
    draws=Draws(shapes=0, replicates=40),
)  # fmt: skip

INTERVAL_PRINTED = EXACT_PROBABILITY.printed(
    "attention_only/threshold-interval-printed",
    source=Source(AOT, f"{THEOREM}: tau in (1/2, 1/(1 + N e^(-9p/32))]"),
    statement="""
    As printed: with high probability the rate holds for every tau in (1/2, 1/(1 + N e^(-9p/32))], p of the order of log
    N. The interval is not empty from p = (32/9) log N = 3.56 log N on. There the equality fails: with N = 1024, K = 2,
    p = 25 about 14 tokens break the events at tau = .501 (in the first layer, at any noise); at p = 42 the upper end
    breaks 2. All tokens pass from p = 2 log2(N N_1) on, about 5.77 log N, near tau = 1/2; at the upper end of the
    interval from 10.2 log N on (asymptotically).
    """,
    predict=lambda p: np.ones(p.layers),
    at=(
        Deep(heads=2, per_class=512, rank=25, tau=0.501, delta=0.01, layers=1),
        Deep(heads=2, per_class=512, rank=42, tau=float(printed_interval(1024, 42)[1]), delta=0.01, layers=1),
    ),
    claim=Equality(of="exact", over="fraction", scale=1.0, resolve=0.6),
    draws=Draws(shapes=0, replicates=12),
)

LAYERS_PRINTED = EXACT_PROBABILITY.printed(
    "attention_only/all-layers-printed",
    source=Source(AOT, f"{THEOREM}: for all layers, delta of the order of sqrt(log N/p)"),
    statement="""
    As printed: under delta <~ sqrt(log N/p) the rate holds in every layer up to L, with a probability whose defect
    grows like L. But the signal grows in every layer and the noise does not: what has to stay small is delta (1 + eta
    tau)^l. With N = 512, K = 4, p = 64, delta = .05 (sqrt(log N/p) = .31) the first six layers are exact and the eighth
    never is; the constant in <~ has to shrink like (1 + eta tau)^-L.
    """,
    predict=lambda p: np.ones(p.layers),
    claim=Equality(of="exact", over="fraction", stated=0.1, scale=1.0, resolve=0.6),
    at=(Deep(heads=4, per_class=128, rank=64, layers=10), Deep(heads=2, per_class=64, eta=0.25, layers=14)),
    draws=Draws(shapes=0, replicates=24),
)
