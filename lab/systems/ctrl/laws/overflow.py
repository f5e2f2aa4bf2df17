"""CTRL-MSP with too few dimensions, and with classes that are no direct sum."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab import streams
from lab.claims import Bound, Equality
from lab.data.game_subspaces import sample
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import closed_loops
from lab.params import Ge, Gt, Le, LogScale, MaxLen, MinLen, Params
from lab.systems.ctrl import theory
from lab.systems.ctrl.dynamics import block_mask, encoder_ascent, leader_ascent
from lab.systems.ctrl.laws.multiple_subspaces import DERIVED, Game, value_rounding


class Narrow(Game):
    """Features in `width` dimensions, any number: fewer than the data have together, or more."""

    class_sizes: Annotated[tuple[Annotated[int, Ge(4), Le(60)], ...], MinLen(2), MaxLen(4)] = (40, 40)
    ranks: Annotated[tuple[Annotated[int, Ge(1), Le(4)], ...], MinLen(2), MaxLen(4)] = (3, 3)
    spare: Annotated[int, Ge(0), Le(0)] = 0
    width: Annotated[int, Ge(1), Le(8)] = 4

    @property
    def dim(self) -> int:
        return self.width


@measurement(runs="jax")
def narrow_leaders(p: Narrow, stream, *, random: int = 12, power: float = 2.0):
    """Best value over ascents, and the ends of all: from Gaussian features of full energy, and as many again of smaller
    scales with rows and whole classes left out at random. `power` is that of eps."""
    import jax
    import jax.numpy as jnp

    m, energy = max(p.ranks), jnp.asarray(p.energy) * p.eps ** (2 - power)
    shape = (random, len(p.ranks), m)
    Y = streams.normal(stream.jax("starts"), (2 * random, *shape[1:], p.dim)) * jnp.asarray(block_mask(p.ranks))
    Y = Y * jnp.sqrt(energy[:, None, None] / jnp.sum(Y**2, axis=(-2, -1), keepdims=True))
    chance = jax.random.uniform(stream.jax("chance"), (random * (1 + shape[1] * (1 + m)),))
    scale, classes, rows = jnp.split(chance, [random, random * (1 + shape[1])])
    kept = (classes.reshape(shape[:2])[..., None] < 0.75) & (rows.reshape(shape) < 0.75)
    Y = jnp.concatenate([Y[:random], Y[random:] * jnp.exp(-2 * scale[:, None, None, None]) * kept[..., None]])
    found = leader_ascent(Y, p.gamma, energy)
    return {"best": jnp.max(found.value), "ends": found.value}


def bound(p) -> theory.Allocation:
    return theory.direct_sum_bound(p.class_sizes, p.ranks, p.dim, eps=p.eps)


OVERFLOW_BOUND = Law(
    id="ctrl/rank-overflow-bound",
    source=Source(DERIVED),
    statement="""
    With any d_z, in particular d_z < sum d_j, the leader of CTRL-MSP never exceeds the value it would have with enough
    dimensions, sum_j max_k (k/2) phi_j(u_j/k), u_j = d_z n_j/(n eps²). Measured are the ends of all ascents.
    """,
    params=Narrow,
    predict=lambda p: bound(p).value,
    measure=narrow_leaders,
    claim=Bound(of="ends", side="upper", rounding=value_rounding, resolve=1e-6),
    controls={"full rank at any distortion": but(
        predict=lambda p: float(np.sum(theory.rank_value(p.energy, p.gamma, np.array(p.ranks))))
    )},
    examples=(Narrow(eps=1.3**0.5), Narrow(eps=0.6)),
    draws=Draws(shapes=0),
)  # fmt: skip


class Fitting(Narrow):
    """Too few dimensions for the data, but enough for the optimal ranks: ``sum k_j* <= d_z < sum d_j``."""

    @model_validator(mode="after")
    def _optimal_ranks_fit(self) -> Self:
        if not bound(self).ranks.sum() <= self.width < sum(self.ranks):
            raise ValueError(f"width={self.width} must hold the optimal ranks but not ranks={self.ranks}; change eps")
        return self


OVERFLOW_FITS = Law(
    id="ctrl/rank-overflow",
    source=Source(DERIVED),
    statement="""
    With fewer dimensions than the data have, d_z < sum d_j, the value of ctrl/msp-equilibrium-value still holds where
    the optimal ranks fit, sum_j k_j* <= d_z: excess dimensions of the data are simply not used.
    """,
    params=Fitting,
    predict=lambda p: bound(p).value,
    measure=narrow_leaders,
    claim=Equality(of="best", rounding=value_rounding),
    controls={
        "full rank in all dimensions": but(
            predict=lambda p: float(np.sum(theory.rank_value(p.energy, p.gamma, np.array([3, 1]))))
        ),
        "eps for eps^2": but(measure=partial(narrow_leaders, power=1.0)),
    },
    examples=(Fitting(eps=1.3**0.5), Fitting(eps=1.05)),
    draws=Draws(shapes=0),
)


class Lines(Narrow):
    """Classes of rank one in fewer dimensions than classes."""

    class_sizes: Annotated[tuple[Annotated[int, Ge(4), Le(60)], ...], MinLen(3), MaxLen(3)] = (30, 30, 30)
    ranks: Annotated[tuple[Annotated[int, Ge(1), Le(1)], ...], MinLen(3), MaxLen(3)] = (1, 1, 1)
    width: Annotated[int, Ge(1), Le(2)] = 2
    eps: Annotated[float, Ge(0.3), Le(4.0), LogScale()] = 2.0

    @model_validator(mode="after")
    def _too_narrow(self) -> Self:
        if self.width >= len(self.class_sizes):
            raise ValueError(f"width={self.width} must be below the number of classes; lower it")
        return self


LINES = Law(
    id="ctrl/rank-overflow-lines",
    source=Source(DERIVED),
    statement="""
    Classes of rank one, more of them than dimensions. The leader of CTRL-MSP sacrifices some, and puts the others on
    lines whose joint moment is as equal as it can be: a class with more energy than its share alone on its line, the
    rest as a tight frame, or several on one line:

        V* = max_S (1/2) sum_i log(1 + lambda_i) - (1/2) sum_(j in S) gamma_j log(1 + beta).

    Three equal classes in a plane are three lines 60 degrees apart at large distortion, worth
    log(1 + beta/2) - log(1 + beta)/2, and two orthogonal lines, the third class sacrificed, at small distortion.
    """,
    params=Lines,
    predict=lambda p: theory.lines_value(p.class_sizes, p.dim, eps=p.eps).value,
    measure=narrow_leaders,
    claim=Equality(of="best", rounding=value_rounding),
    controls={
        "a dimension more, at the same beta": but(
            predict=lambda p: theory.lines_value(p.class_sizes, p.dim + 1, eps=p.eps * (1 + 1 / p.dim) ** 0.5).value
        ),
        "eps for eps^2": but(measure=partial(narrow_leaders, power=1.0)),
    },
    examples=(Lines(), Lines(eps=0.7), Lines(class_sizes=(40, 20, 10), eps=0.7)),
    draws=Draws(shapes=0),
)

ORTHOGONAL_CONJECTURE = LINES.printed(
    "ctrl/rank-overflow-orthogonal-conjecture",
    source=Source("conjecture of this laboratory, from ascents in five configurations"),
    at=(Lines(), Lines(class_sizes=(40, 20, 10), eps=0.7)),
    predict=lambda p: theory.orthogonal_allocation(p.class_sizes, p.ranks, p.dim, eps=p.eps).value,
    statement="""
    Conjectured: where the optimal ranks do not fit into d_z, the optimum of CTRL-MSP is the best orthogonal allocation
    of integer ranks k_j <= d_j, sum k_j <= d_z, classes perhaps sacrificed.

    False. Three classes of 30, rank one, in a plane at eps = 2: lines 60 degrees apart are worth .020411 nats, two
    orthogonal ones .018996. Classes of 40, 20 and 10 at eps = .7: the two smaller ones on one line .294692, the
    smallest one sacrificed .291624. See ctrl/rank-overflow-lines.
    """,
)


# ---------------------------------------------------------------------- no direct sum


class Planes(Params):
    """Two planes in R³ at an angle, equally many samples, features in three dimensions."""

    beta: Annotated[float, Ge(5.0), Le(100.0), LogScale()] = 40.0
    angle: Annotated[float, Gt(0.3), Le(1.5)] = 0.8


@measurement
def planes(p: Planes, stream, *, starts: int = 4, apart: bool = False):
    """Best value over encoders of samples of the planes; `apart`: in R^4, where they need not share a line."""
    rng, c, s = stream.numpy("planes"), np.cos(p.angle), np.sin(p.angle)
    frame = haar(rng, 4 if apart else 3)
    common = [frame[:, 0], frame[:, 3] if apart else frame[:, 0]]
    turned = c * frame[:, 1] + s * frame[:, 2]
    bases = [np.stack([common[0], frame[:, 1]], axis=1), np.stack([common[1], turned], axis=1)]
    moments, fractions = closed_loops.class_moments(sample(rng, bases, (60, 60)).Z, (60, 60))
    found = encoder_ascent(rng.standard_normal((starts, 3, len(frame))), moments, fractions, p.beta)
    return np.max(found.value)


def planes_error(p) -> float:
    """sequential quadratic programming stops where a step changes the value by 1e-15; at a factor of convergence of at
    most .9999 that is 1e-11 from the end"""
    return 1e-11


PLANES = Law(
    id="ctrl/rank-overflow-planes",
    source=Source(DERIVED),
    statement="""
    Two planes in R³ share a line and are no direct sum. With equally many samples the leader of CTRL-MSP, in three
    dimensions, gets phi_(1/2)(beta/2), whatever the angle: the encoder annihilates the common line and sends what is
    left of the planes to orthogonal lines. Numerical: measured is the best of
    several ascents over the encoder itself.
    """,
    params=Planes,
    predict=lambda p: float(theory.planes_in_space(p.beta)),
    measure=planes,
    claim=Equality(finite_size=planes_error, resolve=1e-6),
    controls={
        "value of a direct sum": but(
            predict=lambda p: theory.direct_sum_bound((60, 60), (2, 2), 3, eps=(3 / p.beta) ** 0.5).value
        ),
        "subspaces in direct sum": but(measure=partial(planes, apart=True)),
    },
    examples=(Planes(), Planes(beta=10.0, angle=0.5)),
    draws=Draws(shapes=1, values=2),
)
