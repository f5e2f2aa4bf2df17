"""The constrained problem: its maximum, its maximisers, and what becomes of it with soft membership."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Equality
from lab.data.subspaces import haar, orthogonal_blocks
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params
from lab.systems.mcr2 import theory

Y20 = "arXiv:2006.08558"
DERIVED = "derived for this laboratory; not found in arXiv:2006.08558"

Size = Annotated[int, Ge(1), Le(12)]
Rank = Annotated[int, Ge(1), Le(4)]


class Bounded(Params):
    """Classes of energy ``||Z_k||^2 = N_k`` and rank at most `max_ranks`, with `spare` directions more than those."""

    sizes: Annotated[tuple[Size, ...], MinLen(2), MaxLen(4)] = (3, 3, 3, 3)
    max_ranks: Annotated[tuple[Rank, ...], MinLen(2), MaxLen(4)] = (2, 2, 2, 2)
    spare: Annotated[int, Ge(0), Le(3)] = 0

    @model_validator(mode="after")
    def _one_rank_each(self) -> Self:
        if len(self.sizes) != len(self.max_ranks):
            raise ValueError(f"{len(self.sizes)} sizes but {len(self.max_ranks)} max_ranks; give one of each per class")
        return self

    @property
    def dim(self) -> int:
        return sum(self.max_ranks) + self.spare

    @property
    def most(self) -> np.ndarray:
        """Largest rank that each class can have."""
        return np.minimum(self.max_ranks, self.sizes)


class Constrained(Bounded):
    """The constrained problem at any distortion."""

    eps: Annotated[float, Ge(0.1), Le(4.0), LogScale()] = 0.5


# ---------------------------------------------------------------------- maximisation, without any formula


def sphere_ascent(Z, mask, classes, blocks, eps, *, steps: int = 400, tolerance: float = 1e-11):
    """Ascend Delta R from a batch of starts, on products of spheres: each block of rows keeps ``||block||^2 = rows``.

    Barzilai-Borwein steps along the projected gradient, all starts at once. `mask` (..., N, d) marks the entries that
    may be nonzero. Returns the highest value met from each start and the features there. Ends where all projected
    gradients, by sqrt(alpha), are below `tolerance`: values are then within its square of a local maximum.
    """
    count, dim = Z.shape[-2:]
    alpha, rows = dim / (count * eps**2), np.array(blocks)
    heads = np.r_[0, np.cumsum(rows)[:-1]]

    def blockwise(products):
        return np.add.reduceat(products.sum(axis=-1), heads, axis=-1)

    def onto(Z):
        return Z * np.repeat(np.sqrt(rows / blockwise(Z * Z)), rows, axis=-1)[..., None]

    Z = onto(Z * mask)
    best, where = np.full(len(Z), -np.inf), Z.copy()
    before, slope, step = Z, Z, np.full(len(Z), 1 / alpha)
    for t in range(steps):
        value, gradient = coding_rate.value_and_gradient(Z, classes, eps=eps)
        gradient = gradient * mask
        gradient -= np.repeat(blockwise(gradient * Z) / rows, rows, axis=-1)[..., None] * Z
        higher = value > best
        best, where[higher] = np.where(higher, value, best), Z[higher]
        if np.sum(gradient**2, axis=(-2, -1)).max() <= alpha * tolerance**2:
            break
        if t:
            moved, turned = Z - before, slope - gradient
            along = np.sum(moved * turned, axis=(-2, -1))
            lengths = np.sum((moved if t % 2 else turned) ** 2, axis=(-2, -1))
            ratio = np.where(along > 0, lengths, 1) / np.where(along > 0, along, 1)
            step = np.where(along > 0, np.clip(ratio if t % 2 else 1 / ratio, 0.3 / alpha, 1e3 / alpha), 1 / alpha)
        before, slope = Z, gradient
        Z = onto(Z + step[:, None, None] * gradient)
    return best, where


def search(p, rng: np.random.Generator, random: int, *, room: float = 1.0, shared: bool = False, power: float = 2.0):
    """Highest rate reductions met: of all starts, of each Gaussian start; and features that reach the highest.

    A class of rank at most m has the form ``Z_k = W_k B_k`` with m orthonormal columns in W_k, on which Delta R does
    not depend: the m rows of B_k are ascended, the other rows are zero. Starts: Gaussian features of `random` kinds;
    orthogonal classes of rank 1, 2, ... and unequal singular values, ascended over the singular values; the best
    combination of their blocks, as it is and perturbed in all entries. The features are those where the perturbed one
    ends, unless it missed the highest value by more than 1e-12. `room` is the share of the dimensions that may be used,
    `shared` fixes the total energy only, and `power` is that of eps in the rate (1, False, 2 in the law).
    """
    n, dim, eps = sum(p.sizes), p.dim, p.eps ** (power / 2)
    blocks = (n,) if shared else p.sizes
    heads, first = np.r_[0, np.cumsum(p.sizes)[:-1]], np.r_[0, np.cumsum(p.max_ranks)[:-1]]
    free, own = np.zeros((n, dim)), np.zeros((n, dim))
    for head, column, most in zip(heads, first, p.most, strict=True):
        free[head : head + most] = 1
        own[head + np.arange(most), column + np.arange(most)] = 1
    columns = max(1, int(room * dim))
    free[:, columns:] = 0
    spread = np.exp(rng.uniform(-1, 1, (random, n, 1)))
    gaussian, ends = sphere_ascent(spread * rng.standard_normal((random, n, dim)), free, p.sizes, blocks, eps)
    if columns < dim:
        return gaussian.max(), gaussian, ends[np.argmax(gaussian)]

    # rank j at most: the first j rows of each class
    depth = np.arange(n) - np.repeat(heads, p.sizes)
    ranks = np.arange(1, max(p.most) + 1)
    starts = (depth[:, None] < ranks[:, None, None]) * own * rng.uniform(0.8, 1.2, (len(ranks), n, 1))
    values, found = sphere_ascent(starts, own, p.sizes, blocks, eps)
    best = found[np.argmax(values)]
    for head, size in zip(heads, p.sizes, strict=True):
        trial = np.repeat(best[None], len(found), axis=0)
        trial[:, head : head + size] = found[:, head : head + size]
        best = trial[np.argmax(coding_rate.rate_reduction(trial, p.sizes, eps=eps))]
    tries = np.stack([best, best + 1e-2 * rng.standard_normal(best.shape)])
    polished, tries = sphere_ascent(tries, free, p.sizes, blocks, eps)
    values, features = np.r_[polished[::-1], gaussian], np.concatenate([tries[::-1], ends])
    return values.max(), gaussian, features[np.argmax(values >= values.max() * (1 - 1e-12))]


def directions(Z: np.ndarray, sizes) -> np.ndarray:
    """Participation ratio (sum s)^2/(sum s^2) of the squared singular values s of each class: the rank, if all nonzero
    ones are equal, and less than it otherwise; last, that of all rows."""
    grams = [rows.T @ rows for rows in [*np.split(Z, np.cumsum(sizes)[:-1]), Z]]
    return np.array([np.trace(gram) ** 2 / np.sum(gram**2) for gram in grams])


@measurement
def highest_reduction(
    p: Constrained, stream, *, random: int = 8, room: float = 1.0, shared: bool = False, power: float = 2.0
):
    """`search`: the maximum found and the `directions` there; the best of the Gaussian starts and the share of them
    that reach the maximum; Delta R of orthogonal classes with all the rank allowed and equal singular values."""
    rng = stream.numpy("starts")
    best, gaussian, Z = search(p, rng, random, room=room, shared=shared, power=power)
    left = [haar(rng, size, most) for size, most in zip(p.sizes, p.most, strict=True)]
    values = [np.full(most, np.sqrt(size / most)) for size, most in zip(p.sizes, p.most, strict=True)]
    full = orthogonal_blocks(haar(rng, p.dim), left, values)
    return {
        "maximum": best, "directions": directions(Z, p.sizes), "random": gaussian.max(),
        "attained": float(np.mean(gaussian > best - 1e-9 * abs(best))),
        "isotropic": coding_rate.rate_reduction(full, p.sizes, eps=p.eps),
    }  # fmt: skip


def predicted(p) -> theory.ConstrainedMaximum:
    return theory.constrained_maximum(p.sizes, p.dim, p.max_ranks, eps=p.eps)


def predicted_maximum(p) -> float:
    return predicted(p).value


def full_rank_value(p) -> float:
    """Value with all ranks at their bound."""
    n = np.array(p.sizes)
    x, energy = n / n.sum(), n / n.sum() * p.dim / p.eps**2
    return 0.5 * float(np.sum(p.most * theory.rate_gain(energy / p.most, x)))


def value_rounding(p) -> float:
    """rounding of Delta R at a maximiser: log-determinants of the whole and of each class, of matrices of size up to
    N + d whose energy is c = d/eps^2 for each of them (ascent ends within 1e-22 of a local maximum)"""
    return (1 + len(p.sizes)) * theory.rate_rounding(sum(p.sizes) + p.dim, p.dim / p.eps**2)


EXAMPLES = (
    Constrained(eps=3.698**0.25),
    Constrained(sizes=(5, 7, 12), max_ranks=(4, 3, 2), spare=1, eps=1.2),
    Constrained(sizes=(2, 10), max_ranks=(4, 4), eps=0.8),
    Constrained(sizes=(6, 6), max_ranks=(3, 3), eps=0.85),
)

CONSTRAINED_OPTIMUM = Law(
    id="mcr2/constrained-optimum",
    source=Source(Y20, "Theorem 2.1, corrected; closed form derived here"),
    statement="""
    Among features with ||Z_k||_F^2 = N_k and rank Z_k <= d_k, sum d_k <= d, with x_k = N_k/N and c = d/eps^2,

        max Delta R = (1/2) sum_k r_k f(x_k c/r_k; x_k),   f(u; x) = log(1+u) - x log(1+u/x),

    where r_k maximises r f(x_k c/r; x_k) over 1 <= r <= min(d_k, N_k). Attained exactly by mutually orthogonal classes
    with r_k equal singular values sqrt(N_k/r_k).

    Measured is the highest value met by projected ascent from Gaussian features, from orthogonal classes of every rank
    and from their best combination, perturbed. A prediction that is too low is passed by some start, one that is too
    high is reached by none. Samples in rows, nats.
    """,
    params=Constrained,
    predict=predicted_maximum,
    measure=highest_reduction,
    claim=Equality(of="maximum", over="max", rounding=value_rounding),
    controls={
        "full rank at any distortion": but(predict=full_rank_value),
        "classes need not share R^d": but(measure=partial(highest_reduction, room=0.5)),
        "only the total energy is fixed": but(measure=partial(highest_reduction, shared=True)),
        "eps for eps^2": but(measure=partial(highest_reduction, power=1.0)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=3, values=1),
)


def predicted_directions(p, *, ranks=None) -> np.ndarray:
    """Ranks, and the participation ratio of all rows if classes are orthogonal: N^2/(sum N_k^2/r_k)."""
    n, r = np.array(p.sizes), predicted(p).ranks if ranks is None else ranks
    return np.r_[r, n.sum() ** 2 / np.sum(n**2 / r)]


def rounded_down(p) -> np.ndarray:
    """C/u_t rounded down in place of the better of the two integers next to it."""
    x = np.array(p.sizes) / sum(p.sizes)
    return predicted_directions(p, ranks=np.clip(x * p.dim / p.eps**2 // theory.maxwell_point(x), 1, p.most))


def directions_rounding(p) -> np.ndarray:
    """deficits of the value, at most its rounding e, seen in the participation ratio P of a class: values u + delta_i
    cost |f''| sum delta_i^2/4 and change P by sum delta_i^2/u^2 <= 4e/(u^2 |f''|); delta in one direction more costs
    f' delta/2 and changes P by 2 delta/u <= 4e/(u f'). P of all rows changes as those of the classes do, by at most
    P/P_k times as much; and classes that overlap by angles of sine s cost u v s^2/(2 (1+u)(1+v)) a pair and change it
    by 2 P u v s^2 over the sum of squared values <= 4e P (1+u)(1+v)/sum u^2"""
    best, count = predicted(p), len(p.sizes)
    x, u, r = np.array(p.sizes) / sum(p.sizes), best.u, best.ranks
    bend, slope = -2 * theory.direction_curvature(u, x), 1 / (1 + u) - 1 / (1 + u / x)
    uneven = np.where(r > 1, 1 / (u**2 * np.where(bend > 0, bend, 1)), 0.0)
    classes, whole = uneven + 1 / (u * slope), predicted_directions(p)[-1]
    overlap = count * whole * (1 + u.max()) ** 2 / np.sum(r * u**2)
    return 4 * value_rounding(p) * np.r_[classes, np.sum(whole / r * classes) + overlap] + 10 * np.r_[r, whole]


CONSTRAINED_RANKS = Law(
    id="mcr2/constrained-ranks",
    source=Source(Y20, "Theorem 2.1, corrected; ranks derived here"),
    statement="""
    In every maximiser of mcr2/constrained-optimum classes are orthogonal, all nonzero singular values of a class are
    equal and their number is r_k. r f(C/r) rises in r while C/r > u_t(x) (mcr2/maxwell) and falls after, so r_k is one
    of the two integers next to C/u_t, C = x_k c, or the bound min(d_k, N_k).

    Measured is the participation ratio (sum s)^2/(sum s^2) of the squared singular values of each class, where ascent
    in all entries ends on the highest value: r, only if r of them are equal and the others zero; and that of all rows,
    N^2/(sum N_k^2/r_k) only if classes are orthogonal.
    """,
    params=Constrained,
    predict=predicted_directions,
    measure=highest_reduction,
    claim=Equality(of="directions", rounding=directions_rounding, resolve=1e-6),
    controls={
        "full rank at any distortion": but(predict=lambda p: predicted_directions(p, ranks=p.most)),
        "C/u_t rounded down": but(predict=rounded_down),
        "eps for eps^2": but(measure=partial(highest_reduction, power=1.0)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=3, values=1),
)


# ---------------------------------------------------------------------- soft membership


class Soft(Params):
    """K classes of `per` samples, class k with membership ``1 - softness + softness/K`` in k, ``softness/K`` elsewhere.

    Class energies are ``||Z_k||^2 = N_k``: orthogonal classes of `rank` equal singular values, or Gaussian rows.
    """

    kind: Literal["orthogonal", "gaussian"] = "orthogonal"
    classes: Annotated[int, Ge(2), Le(8)] = 4
    per: Annotated[int, Ge(1), Le(8)] = 3
    rank: Annotated[int, Ge(1), Le(4)] = 1
    spare: Annotated[int, Ge(0), Le(3)] = 0
    softness: Annotated[float, Ge(0.0), Le(0.9)] = 0.0
    eps: Annotated[float, Ge(0.1), Le(4.0), LogScale()] = 3.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rank > self.per:
            raise ValueError(f"rank={self.rank} exceeds per={self.per}; lower rank or raise per")
        return self

    @property
    def dim(self) -> int:
        return self.classes * self.rank + self.spare


class SoftOrthogonal(Soft):
    """Orthogonal classes, soft membership."""

    kind: Literal["orthogonal"] = "orthogonal"


@measurement
def soft_reduction(p: Soft, stream, *, squared: bool = False):
    """Delta R with soft membership at ``tr(Z^T diag(pi_k) Z) = n_k``, or `squared` at ``||diag(pi_k) Z||^2 = n_k``."""
    rng, n, count = stream.numpy("features"), p.classes * p.per, p.classes
    if p.kind == "orthogonal":
        left = [haar(rng, p.per, p.rank) for _ in range(count)]
        Z = orthogonal_blocks(haar(rng, p.dim), left, [np.ones(p.rank)] * count)
    else:
        Z = rng.standard_normal((n, p.dim))
    Z *= np.repeat(np.sqrt(p.per / np.sum(Z.reshape(count, -1) ** 2, axis=1)), p.per)[:, None]
    weights = np.full((n, count), p.softness / count)
    weights[np.arange(n), np.arange(n) // p.per] += 1 - p.softness
    energy = (weights ** (2 if squared else 1)).T @ np.sum(Z**2, axis=1)  # the same for all classes
    return {"reduction": coding_rate.rate_reduction(Z * np.sqrt(p.per / energy[0]), weights, eps=p.eps)}


def soft_bound(p: Soft, *, most: int | None = None) -> float:
    most = min(p.dim, p.classes * p.per) if most is None else most
    return theory.energy_bound([p.per] * p.classes, p.dim, most, eps=p.eps)


def soft_rounding(p: Soft) -> float:
    """rounding of log-determinants of the whole and of each class, of matrices of size up to N + d and energy c"""
    return (1 + p.classes) * theory.rate_rounding(p.classes * p.per + p.dim, p.dim / p.eps**2)


SOFT_BOUND = Law(
    id="mcr2/soft-constrained-bound",
    source=Source(DERIVED),
    statement="""
    Features with membership Pi, hard or soft, and class energies tr(Z^T diag(pi_k) Z) = n_k, n_k = sum_i Pi_ik (unit
    rows, say) have

        Delta R(Z, Pi) <= (1/2) sum_k max_r r f(x_k c/r; x_k),   x_k = n_k/N,   1 <= r <= rank Z,

    the value of mcr2/constrained-optimum, with equality only for hard membership (softness 0) and orthogonal classes.
    """,
    params=Soft,
    predict=soft_bound,
    measure=soft_reduction,
    claim=Bound(of="reduction", side="upper", rounding=soft_rounding, resolve=1e-6),
    controls={
        "energy weighed by the square of Pi": but(measure=partial(soft_reduction, squared=True)),
        "one direction a class": but(predict=partial(soft_bound, most=1)),
    },
    examples=(Soft(), Soft(classes=2, rank=2, eps=0.82), Soft(softness=0.3)),
    draws=Draws(shapes=12, values=4),
)

SOFT_NORMALISATION_PRINTED = SOFT_BOUND.printed(
    "mcr2/soft-normalisation-printed",
    source=Source('open book "Deep representation learning" (Ma-Lab-Berkeley)', "MCR2 problem with soft membership"),
    at=(SoftOrthogonal(softness=0.3), SoftOrthogonal(classes=8, softness=0.2, eps=1.5)),
    params=SoftOrthogonal,
    measure=partial(soft_reduction, squared=True),
    statement="""
    As printed, the problem with soft membership is normalised by ||diag(pi_k) Z||_F^2 = n_k, which weighs the energy of
    a sample by Pi^2, while the class rate (and everything that follows from it) weighs it by Pi.

    Features so normalised exceed the constrained optimum (by 13 % for four orthogonal lines at softness .3, eps = 3):
    unit rows are infeasible, and softer membership buys energy.
    Right is tr(Z^T diag(pi_k) Z) = n_k (mcr2/soft-constrained-bound); the two agree for hard membership only.
    """,
)
