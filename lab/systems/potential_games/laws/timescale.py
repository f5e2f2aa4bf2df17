"""Two timescales: who settles, how fast, and who never does."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Bound, Equality
from lab.data.markov_games import random_identical_interest_game, routing_game
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import markov_learning
from lab.params import Ge, Le, Params
from lab.systems.potential_games import dynamics, theory
from lab.systems.potential_games.laws.evaluation import DERIVED

PAPER = "arXiv:2205.14590"

# ---------------------------------------------------------------------- after lock-in


class Repeated(Params):
    """A random game of one state and identical interest, played `visits` times with steps n^-a and n^-b."""

    players: Annotated[int, Ge(2), Le(3)] = 2
    actions: Annotated[int, Ge(2), Le(4)] = 2
    visits: Annotated[int, Ge(20), Le(400)] = 200
    a: Annotated[float, Ge(0.3), Le(1.0)] = 0.5
    b: Annotated[float, Ge(0.5), Le(1.0)] = 1.0


@measurement
def left(p: Repeated, stream, *, heat: float = 0.0):
    """Distance to the last best response over that halfway, for 8 pairs or triples of learners; whether the policy
    moved towards the same action ever since. `heat`: a softmax of that temperature."""
    rng = stream.numpy("learning")
    game = random_identical_interest_game(rng, (p.actions,) * p.players, 1, 0.5)
    _, policies = markov_learning.learn(game, rng, p.visits, 8, a=p.a, b=p.b, temperature=heat, every=1)
    path = policies[..., 0, :]  # (n, 8, I, A)
    towards = np.diff(path, axis=0).argmax(axis=-1)[p.visits // 2 - 1 :]
    target = np.eye(p.actions)[towards[-1]]
    distance = np.linalg.norm(path[[p.visits // 2 - 1, -1]] - target, axis=-1)
    # below the square root of the smallest number products lose digits
    constant = (towards == towards[-1]).all(axis=0) & (distance[1] > 1e-150)
    return {"left": distance[1] / np.where(constant, distance[0], 1.0), "constant": constant}


def share_left(p: Repeated, *, b: float | None = None) -> float:
    return float(theory.remaining(p.b if b is None else b, p.visits // 2, p.visits))


def share_units(p: Repeated) -> float:
    """n visits, each off by 4 epsilons of what is left; and the largest probability, 1 minus the distance, is rounded
    at 1: A entries, twice, by epsilons of 1, relative to a distance that is at least a quarter of
    prod_{1<j<=n} (1 - j^-b) at the end"""
    whole = float(theory.remaining(p.b, 1, p.visits))
    return 4 * p.visits + 8 * p.actions / max(whole, 1e-300)


LOCK_IN_RATE = Law(
    id="potential_games/lock-in-rate",
    source=Source(DERIVED, "for the learners of arXiv:2205.14590"),
    statement="""
    While the best response does not change, visits m+1, ..., n multiply the distance of a policy to it by
    prod_{m<j<=n} (1 - j^-b), exactly: m/n at b = 1, about exp(-(n^(1-b) - m^(1-b))/(1-b)) below. Temperature 0.
    Nothing is claimed of the Nash gap, which falls alike only once all best responses have stopped changing.
    """,
    params=Repeated,
    predict=share_left,
    measure=left,
    claim=Equality(of="left", given="constant", rounding=share_units, resolve=1e-3),
    controls={
        "b = 1": but(predict=partial(share_left, b=1.0), examples=(Repeated(b=0.8),)),
        "a softmax": but(measure=partial(left, heat=0.5)),
    },
    examples=(Repeated(), Repeated(b=0.8, players=3, actions=3)),
    draws=Draws(shapes=3, values=2),
)

# ---------------------------------------------------------------------- learners of the routing game

RECORDS = 12
STUCK = 3.0  # most wrong profiles at which learners stay have gaps from 3.3 to 33
SETTLED = 0.99


class Learning(Params):
    """`learners` of the routing game with the published constants; ``turns`` times `stride` steps."""

    players: Annotated[int, Ge(2), Le(4)] = 4
    a: Annotated[float, Ge(0.5), Le(1.0)] = 0.5
    b: Annotated[float, Ge(0.5), Le(1.0)] = 1.0
    theta: Annotated[float, Ge(0.0), Le(0.2)] = 0.0
    learners: Annotated[int, Ge(64), Le(4096)] = 64
    turns: Annotated[int, Ge(1), Le(2000)] = 4
    stride: Annotated[int, Ge(1), Le(20000)] = 500

    @property
    def records(self) -> np.ndarray:
        """Turns after which policies are kept, nearly even in their logarithm."""
        return np.unique(np.geomspace(1, self.turns, RECORDS).round().astype(int))

    @property
    def explores_enough(self):
        """Two timescales and exploration with room to the edge, for 2000 steps or more: with less exploration learners
        that have not tried enough look settled for long."""
        return (self.a <= 0.7) & (self.a < self.b) & (self.theta >= 0.05) & (self.turns * self.stride >= 2000)


@measurement(runs="jax", turns=lambda p: p.turns)
def learning(p: Learning, stream, state=None, *, reverse: float = 0.0):
    """Independent learners; `reverse` 1 exchanges the powers of the two steps."""
    import jax
    import jax.numpy as jnp

    game = routing_game(p.players)
    if state is None:
        first = markov_learning.Learner(*map(jnp.asarray, markov_learning.start(game, (p.learners,))))
        return {"turn": 0, "now": first, "kept": jnp.stack([first.policy] * len(p.records))}
    a, b = (1 - reverse) * p.a + reverse * p.b, (1 - reverse) * p.b + reverse * p.a
    keys = jax.random.split(jax.random.fold_in(stream.jax("learners"), state["turn"]), p.learners)
    now, _ = jax.vmap(lambda key, one: markov_learning.learn_jax(
        game, key, one, chunks=1, chunk=p.stride, a=a, b=b, theta=p.theta)
    )(keys, state["now"])  # fmt: skip
    turn = state["turn"] + 1
    due = (jnp.asarray(p.records) == turn)[:, None, None, None, None]
    return {"turn": turn, "now": now, "kept": jnp.where(due, now.policy, state["kept"])}


@learning.observe
def gaps(p: Learning, stream, state):
    """Nash gaps after `steps`, of every learner (records, learners): "gap" of the policies without exploration,
    "played" with it, "plotted" own policies of the time against the opponents' last ones. At the end, of every learner:
    "profile", the gap of the likeliest actions played with exploration; "settled", whether all of these are likelier
    than `SETTLED`; "nash", whether in addition nobody gains by leaving them. "stuck": share of learners whose last gap
    exceeds `STUCK`; "loads": median over settled learners of the users of route 0; "judged", whether there are any and
    learners explore enough.
    """
    import jax
    import jax.numpy as jnp

    game, theta = routing_game(p.players), p.theta
    kept, last = state["kept"], state["now"].policy

    def gap(policy, own=None):
        return dynamics.regrets(game, list(policy), None if own is None else list(own)).max()

    each = jax.vmap(jax.vmap(gap))
    found = each(kept)
    plotted = jax.vmap(jax.vmap(gap, in_axes=(0, 0)), in_axes=(None, 0))(last, kept)
    likeliest = (last == last.max(axis=-1, keepdims=True)) * 1.0
    settled = last.max(axis=-1).min(axis=(1, 2)) > SETTLED
    loads = jnp.nanmedian(jnp.where(settled[:, None], likeliest[..., 0].sum(axis=1), jnp.nan), axis=0)
    return {
        "steps": jnp.asarray(p.records * p.stride), "gap": found, "played": each((1 - theta) * kept + theta / 2),
        "plotted": plotted, "stuck": (found[-1] > STUCK).mean(),
        "profile": jax.vmap(gap)((1 - theta) * likeliest + theta / 2), "settled": settled,
        "nash": settled & (jax.vmap(gap)(likeliest) < 1e-9), "loads": jnp.where(settled.any(), loads, 0.0),
        "judged": settled.any() & p.explores_enough,
    }  # fmt: skip


def stuck_share(p: Learning, *, trials: bool = True) -> float:
    """0 where the conditions hold with room to their edge, else 1: no claim. Not `trials`: by the powers alone."""
    room = p.a <= 0.7 and (p.b == 1 or p.theta >= 0.05 or not trials) and p.turns * p.stride >= 2000
    holds = theory.settles(p.a, p.b, p.theta) if trials else theory.settles_by_powers(p.a, p.b)
    return 0.0 if room and holds else 1.0


def one_batch(p: Learning) -> float:
    """a quarter: after 2000 steps up to 6 % of the learners are still far away; a quarter of 64 is then 6 standard
    deviations off, with an exact binomial probability of 9e-7"""
    return 0.25


TWO_TIMESCALE = Law(
    id="potential_games/two-timescale",
    source=Source(PAPER, "convergence of decentralised learning; asynchronous two-timescale conditions"),
    statement="""
    Learners of the routing game settle where steps n^-a of the values and n^-b of the policies are two timescales,
    0 < a < b <= 1, *and* every action is tried infinitely often: exploration theta > 0, or b = 1. With room to the edge
    (a <= .7, and theta >= .05 or b = 1) less than a quarter of 64 learners have a Nash gap above 3 after 2000 steps.
    Elsewhere nothing is claimed.
    """,
    params=Learning,
    predict=stuck_share,
    measure=learning,
    claim=Bound(of="stuck", stated=one_batch, scale=1.0),
    controls={"powers exchanged": but(measure=partial(learning, reverse=1.0), examples=(Learning(),))},
    examples=(Learning(), Learning(a=0.7, b=0.75, theta=0.1)),
    draws=Draws(shapes=0, replicates=8),
)

POWERS_PRINTED = TWO_TIMESCALE.printed(
    "potential_games/powers-suffice-printed",
    at=(Learning(b=0.6),),
    predict=partial(stuck_share, trials=False),
    source=Source(PAPER, "public code: theta = 0, tau = 1e-6"),
    statement="""
    As often read: powers 0 < a < b <= 1 suffice. Without exploration and with tau near 0, b < 1 starves actions: the
    probability to try what is not played is summable over visits, and half of the learners of the routing game stay at
    profiles that are no equilibria (b = .6). True: every action must be tried infinitely often too.
    """,
)


def half(p: Learning) -> float:
    return 0.5


EXCHANGED_POWERS = Law(
    id="potential_games/exchanged-powers",
    source=Source(DERIVED, "for the learners of arXiv:2205.14590"),
    statement="""
    With the powers exchanged, 1 for the values and .5 for the policies, and no exploration, most learners of the
    routing game stay at a Nash gap above 3: the policies settle before the values are known.
    """,
    params=Learning,
    predict=half,
    measure=partial(learning, reverse=1.0),
    claim=Bound(of="stuck", side="lower"),
    controls={"powers as they should be": but(measure=learning)},
    examples=(Learning(),),
    draws=Draws(shapes=0, replicates=8),
)
