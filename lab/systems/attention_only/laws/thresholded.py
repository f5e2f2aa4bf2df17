"""The rate theorem made conditional: where its events hold in a layer, the rate is exact in that layer."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Bound, Equality
from lab.data.tokens import noisy_subspace_tokens
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import white_box
from lab.params import Ge, Gt, Le, LogScale, Lt, Params
from lab.systems.attention_only import dynamics
from lab.systems.attention_only.theory.thresholded import growth

AOT = "arXiv:2506.03790"
THEOREM = "theorem on the linear rate of attention-only denoising"
DERIVED = "derived for this laboratory; not found in arXiv:2506.03790"


class Tokens(Params):
    """`per_class` tokens near each of `heads` orthogonal subspaces of dimension `rank`, noise `delta` on the others."""

    heads: Annotated[int, Ge(2), Le(4)] = 4
    per_class: Annotated[int, Ge(2), Le(128)] = 32
    rank: Annotated[int, Ge(2), Le(128)] = 64
    delta: Annotated[float, Ge(0.001), Le(0.5), LogScale()] = 0.03

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.per_class,) * self.heads


class Layers(Tokens):
    """Layers ``Z + eta MSSA(Z)`` on such tokens, with threshold `tau`."""

    tau: Annotated[float, Gt(0.0), Lt(1.0)] = 0.6
    eta: Annotated[float, Gt(0.0), Le(3.0)] = 0.5
    layers: Annotated[int, Ge(1), Le(6)] = 4


class Thresholded(Layers):
    """Layers with a constant or an indicator as threshold function."""

    kind: Literal["constant", "indicator"] = "constant"


class Weighted(Layers):
    """Layers whose threshold function keeps the softmax weight, whole or above the threshold."""

    kind: Literal["hard", "soft"] = "hard"


@measurement
def ratios(p: Thresholded | Weighted, stream, *, softmax: bool = False):
    """Factor of the signal-to-noise ratio in every layer and cluster (L, K); whether the events hold (L,).

    `softmax` leaves the threshold out.
    """
    W = noisy_subspace_tokens(stream.numpy("tokens"), class_sizes=p.sizes, rank=p.rank, delta=p.delta).blocks
    found, events, before = [], [], dynamics.signal_to_noise(W, p.sizes)
    for _ in range(p.layers):
        after, failed = dynamics.step(W, p.sizes, eta=p.eta, tau=p.tau, kind=p.kind)
        W = W + p.eta * white_box.attend(W) if softmax else after
        events.append(bool(failed.none))
        now = dynamics.signal_to_noise(W, p.sizes)
        found.append(now / before)
        before = now
    return {"ratio": np.stack(found), "events": np.array(events)}


def rate(p: Thresholded, *, power: float = 1.0) -> float:
    """1 + eta tau, or 1 + eta; `power` is that of tau (0: the threshold forgotten)."""
    tau = p.tau**power if p.kind == "constant" and power else p.tau
    low, _ = growth(p.eta, tau, p.kind if power else "indicator")
    return float(low)


def factor_units(p: Layers) -> float:
    """coordinates are multiplied within 1.5 epsilons; an energy sums at most 128 squares, 128 tokens and 3 heads, each
    in pairs of blocks (at most 20 additions deep), so it is off by 20 epsilons and its root by 10; four roots enter a
    ratio of at most 1 + eta, and three more operations: 45 in all"""
    return 45 * (1 + p.eta)


THRESHOLDED_RATE = Law(
    id="attention_only/thresholded-rate",
    source=Source(AOT, f"{THEOREM}, made conditional here"),
    statement="""
    One layer Z + eta MSSA(Z), weights h(softmax), h = tau 1{w > tau} (or 1{w > tau}), any tau in (0, 1) and eta > 0. If
    in the own head of every token its self weight exceeds tau, and no other weight does, and in the other heads no
    weight exceeds tau, then the signal-to-noise ratio of every cluster is multiplied by exactly

        1 + eta tau    (1 + eta),

    for every layer by itself. Nothing else is needed: no tau > 1/2, no relation between rank, tokens and noise (these
    decide whether the events hold). Whether they hold is read off the weights, on their logarithms, not off the ratio.
    """,
    params=Thresholded,
    predict=rate,
    measure=ratios,
    claim=Equality(of="ratio", given="events", rounding=factor_units, resolve=1e-12),
    controls={
        "events ignored": but(claim=Equality(of="ratio", rounding=factor_units, resolve=1e-12)),
        "softmax without threshold": but(measure=partial(ratios, softmax=True)),
        "threshold forgotten": but(predict=partial(rate, power=0.0)),
    },
    examples=(
        Thresholded(), Thresholded(kind="indicator"), Thresholded(heads=2, per_class=64, tau=0.05),
        Thresholded(per_class=64, tau=0.999, eta=2.0), Thresholded(per_class=96, delta=0.05, layers=6),
        Thresholded(per_class=128, delta=0.5, tau=0.6),
    ),
    draws=Draws(shapes=8, values=3),
)  # fmt: skip


@measurement
def weighted_ratios(p: Weighted, stream, *, events_only: bool = True):
    """As `ratios`, with the distance of each ratio from the ends of its bracket."""
    seen = ratios(p, stream)
    judged = seen["events"] if events_only else np.ones_like(seen["events"])
    return {**seen, "judged": judged}


def upper(p: Weighted, *, kind: str | None = None) -> float:
    """1 + eta, or 1 + eta (1 - tau)."""
    return float(growth(p.eta, p.tau, kind or p.kind)[1])


def lower(p: Weighted, *, factor: float = 1.0) -> float:
    """1 + eta tau, or 1; `factor` stretches tau."""
    return float(growth(p.eta, min(factor * p.tau, 0.9999), p.kind)[0])


WEIGHTED_CEILING = Law(
    id="attention_only/weighted-ceiling",
    source=Source(DERIVED),
    statement="""
    With h = w 1{w > tau} or the soft threshold (w - tau)_+, under the same events, a layer multiplies the
    signal-to-noise ratio by at most 1 + eta, or 1 + eta (1 - tau): attained up to the distance of the self weights from
    1.
    """,
    params=Weighted,
    predict=upper,
    measure=weighted_ratios,
    claim=Bound(of="ratio", side="upper", given="judged", rounding=factor_units, resolve=1e-6),
    controls={"soft threshold's ceiling for both": but(predict=partial(upper, kind="soft"))},
    examples=(Weighted(), Weighted(kind="soft"), Weighted(rank=20, per_class=8, tau=0.3)),
    draws=Draws(shapes=8, values=3),
)

WEIGHTED_FLOOR = Law(
    id="attention_only/weighted-floor",
    source=Source(DERIVED),
    statement="""
    With h = w 1{w > tau} or the soft threshold (w - tau)_+, under the same events, a layer multiplies the
    signal-to-noise ratio by at least 1 + eta tau, or 1. So the hard threshold is never slower than the constant one of
    the theorem; the soft one may be.
    """,
    params=Weighted,
    predict=lower,
    measure=weighted_ratios,
    claim=Bound(of="ratio", side="lower", given="judged", rounding=factor_units),
    controls={
        "events ignored": but(measure=partial(weighted_ratios, events_only=False)),
    },
    examples=(Weighted(), Weighted(kind="soft"), Weighted(per_class=128, delta=0.5, tau=0.6)),
    draws=Draws(shapes=8, values=3),
)

LINEAR_RATE_PRINTED = THRESHOLDED_RATE.printed(
    "attention_only/linear-rate-printed",
    source=Source(AOT, "figure of the ratio against layers at noise .2 and .5, captioned as the linear rate"),
    statement="""
    As printed: the ratio grows at the rate of the theorem at noise delta = .5 as well. With N >= 128 tokens (four
    clusters) and thresholds up to .99 the events hold in less than one draw of a hundred at any rank: in the first
    layer a ratio of 1 + eta tau is
    refuted for ranks from 8 to 128 and several tau. (The printed curves are straight lines on a linear axis: their
    ratio per layer falls from about 1.06 to 1.03; "linear" means geometric in the theorem, arithmetic in the figure.)
    """,
    claim=Equality(of="ratio", rounding=factor_units, resolve=1e-12),
    at=tuple(
        Thresholded(delta=0.5, rank=rank, tau=tau, layers=1)
        for rank in (8, 16, 32, 64, 128) for tau in (0.51, 0.75, 0.99)
    ),
)  # fmt: skip
