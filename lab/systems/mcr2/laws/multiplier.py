"""Lagrange multipliers of the constrained problem: the second order, and the way to the regularised problem."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Bound, Classification, Equality
from lab.data.subspaces import haar, orthogonal_blocks
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mcr2 import dynamics, theory
from lab.systems.mcr2.laws.constrained import DERIVED, Y20

W24 = "arXiv:2406.01909"


# ---------------------------------------------------------------------- singular values are never unequal


class Unequal(Params):
    """Class 1 has ``rank - 1`` reduced values ``sqrt(x) ratio`` and one ``sqrt(x)/ratio``; class 2 is one direction."""

    first: Annotated[int, Ge(2), Le(20)] = 6
    rest: Annotated[int, Ge(1), Le(20)] = 10
    rank: Annotated[int, Ge(2), Le(5)] = 3
    spare: Annotated[int, Ge(0), Le(3)] = 1
    ratio: Annotated[float, Ge(1.02), Le(20.0), LogScale()] = 2.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.rank > self.first:
            raise ValueError(f"rank={self.rank} exceeds first={self.first}; lower rank or raise first")
        return self

    @property
    def dim(self) -> int:
        return self.rank + 1 + self.spare

    @property
    def x(self) -> float:
        return self.first / (self.first + self.rest)

    @property
    def u(self) -> np.ndarray:
        """Reduced squared singular values of class 1."""
        return np.sqrt(self.x) * np.r_[np.full(self.rank - 1, self.ratio), 1 / self.ratio]

    @property
    def eps(self) -> float:
        """The distortion at which they use up the energy N_1."""
        return float(np.sqrt(self.x * self.dim / self.u.sum()))


@measurement
def second_order(p: Unequal, stream, *, shift: float = 1.0):
    """Lagrangian of class 1 at such a point: size of its gradient, curvature along the exchange of energy.

    The multiplier is <grad Delta R, Z_1>/N_1; the exchange is the unit direction, orthogonal to Z_1, that lengthens the
    smallest singular value and shortens the others in proportion. Units: sqrt(alpha) and alpha. `shift` multiplies the
    smallest value (1 in the law), the others making up for it.
    """
    rng, n, sizes = stream.numpy("bases"), p.first + p.rest, (p.first, p.rest)
    squares = p.u * p.first / p.u.sum()
    squares = np.r_[np.full(p.rank - 1, (p.first - shift * squares[-1]) / (p.rank - 1)), shift * squares[-1]]
    left, values = [haar(rng, p.first, p.rank), haar(rng, p.rest, 1)], np.sqrt(squares)
    basis = haar(rng, p.dim)
    Z = orthogonal_blocks(basis, left, [values, np.array([np.sqrt(p.rest)])])
    gradient = coding_rate.rate_reduction_gradient(Z, sizes, eps=p.eps)[: p.first]
    lam = np.sum(gradient * Z[: p.first]) / p.first
    change = np.r_[-values[:-1] * values[-1] ** 2 / np.sum(values[:-1] ** 2), values[-1]]
    E = orthogonal_blocks(basis, left, [change / np.linalg.norm(change), np.zeros(1)])
    curvature = np.sum(E * coding_rate.hessian_vector_product(Z, E, sizes, eps=p.eps, lam=lam))
    alpha = p.dim / (n * p.eps**2)
    residual = np.linalg.norm(gradient - lam * Z[: p.first]) / np.sqrt(alpha)
    return {"conditions": np.array([residual, curvature / alpha]), "curvature": curvature / alpha}


def exchange_curvature(p: Unequal) -> np.ndarray:
    """4 u_L [h''(u_L) + h''(u_H)/m]/(1 + u_L/(m u_H)), m = rank - 1 values u_H."""
    high, low, m = p.u[0], p.u[-1], p.rank - 1
    bends = theory.direction_curvature(low, p.x) + theory.direction_curvature(high, p.x) / m
    return np.array([0.0, 4 * low * bends / (1 + low / (m * high))])


def condition_rounding(p: Unequal) -> float:
    """gradient and Hessian product are built from inverses of matrices of size up to N + d and condition at most
    1 + c, whose products with Z and E have terms of order 1 in these units"""
    return 20 * (p.first + p.rest + p.dim) * (1 + p.dim / p.eps**2)


UNEQUAL_VALUES = Law(
    id="mcr2/unequal-values",
    source=Source(DERIVED),
    statement="""
    Two distinct nonzero singular values of a class at a critical point of the constrained problem have f'(u_H) =
    f'(u_L), that is u_H u_L = x. If m of them are u_H and one is u_L, moving energy between u_L and the others has the
    curvature 2 alpha u_L [f''(u_L) - |f''(u_H)|/m]/(1 + u_L/(m u_H)), which is positive for every m >= 1, because
    f''(u_L)/|f''(u_H)| = u_H^2/x > 1: such a point is never a maximum. Judged are the gradient of the Lagrangian (zero)
    and that curvature. f(u) = log(1+u) - x log(1+u/x), u = alpha sigma^2.
    """,
    params=Unequal,
    predict=exchange_curvature,
    measure=second_order,
    claim=Equality(of="conditions", rounding=condition_rounding, resolve=1e-6,
                   scale=lambda p: np.maximum(exchange_curvature(p), 1e-3)),
    controls={
        "smaller value off by 5 %": but(measure=partial(second_order, shift=1.05)),
        "curvature of the smaller value alone": but(predict=lambda p: np.array(
            [0.0, 4 * p.u[-1] * theory.direction_curvature(p.u[-1], p.x)])),
    },
    examples=(Unequal(), Unequal(rank=2, ratio=1.02), Unequal(rank=5, ratio=20.0)),
    draws=Draws(shapes=8, values=4),
)  # fmt: skip

SMALLER_LAST_VALUE_PRINTED = UNEQUAL_VALUES.printed(
    "mcr2/smaller-last-value-printed",
    source=Source(Y20, "Theorem 2.1: the largest d_k - 1 singular values are equal"),
    at=(Unequal(), Unequal(rank=2)),
    predict=lambda p: 0.0,
    claim=Bound(of="curvature", side="upper", rounding=condition_rounding, scale=1.0),
    statement="""
    As printed: at full rank the largest d_k - 1 singular values of a class of the optimum are equal; the last one may
    be smaller. At an optimum with a smaller one the second-order condition must hold: no positive curvature along the
    constraint.

    It never holds: where one value is smaller, moving energy between it and the others has positive curvature
    (mcr2/unequal-values). All nonzero singular values of an optimum are equal (mcr2/constrained-ranks); the sentence
    about the largest d_k - 1 is true, its exception is empty.
    """,
)


# ---------------------------------------------------------------------- the regularised problem


class Matched(Params):
    """K orthogonal classes of `per` samples, energy N_k and `rank` equal singular values, in dimension K rank + spare.

    `drive` is ``u = x c/r`` in units of the merge point sqrt(x): the branches are told apart at 1.
    """

    classes: Annotated[int, Ge(2), Le(3)] = 2
    rank: Annotated[int, Ge(1), Le(3)] = 2
    extra: Annotated[int, Ge(0), Le(2)] = 1
    spare: Annotated[int, Ge(0), Le(1)] = 0
    drive: Annotated[float, Ge(0.2), Le(20.0), LogScale()] = 3.0

    @property
    def per(self) -> int:
        return self.rank + self.extra

    @property
    def n(self) -> int:
        return self.classes * self.per

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.per,) * self.classes

    @property
    def dim(self) -> int:
        return self.classes * self.rank + self.spare

    @property
    def x(self) -> float:
        return 1 / self.classes

    @property
    def u(self) -> float:
        return self.drive * self.x**0.5

    @property
    def eps(self) -> float:
        return float(np.sqrt(self.x * self.dim / (self.rank * self.u)))

    @property
    def alpha(self) -> float:
        return self.dim / (self.n * self.eps**2)


def matched_features(p: Matched, rng: np.random.Generator, ranks=None) -> np.ndarray:
    """Orthogonal classes of these ranks (all `rank` by default), every singular value ``sqrt(N_k/rank)``."""
    ranks = [p.rank] * p.classes if ranks is None else ranks
    left = [haar(rng, p.per, r) for r in ranks]
    return orthogonal_blocks(haar(rng, p.dim), left, [np.full(r, np.sqrt(p.per / p.rank)) for r in ranks])


@measurement
def multipliers(p: Matched, stream, *, stretch: float = 1.0):
    """<grad Delta R, Z>/||Z||^2 in units of alpha, and what is left of the gradient in units of sqrt(alpha).

    `stretch` multiplies class 1 (1 in the law: its energy is N_1).
    """
    Z = matched_features(p, stream.numpy("bases"))
    Z[: p.per] *= stretch
    gradient = coding_rate.rate_reduction_gradient(Z, p.sizes, eps=p.eps)
    lam = np.sum(gradient * Z) / np.sum(Z**2)
    rest = np.linalg.norm(gradient - lam * Z) / np.sqrt(p.alpha)
    return {"multiplier": np.array([lam / p.alpha, rest])}


def predicted_multiplier(p: Matched) -> np.ndarray:
    lam = theory.matched_multiplier(p.sizes, p.dim, (p.rank,) * p.classes, eps=p.eps)
    return np.array([lam[0] / p.alpha, 0.0])


def multiplier_rounding(p: Matched) -> float:
    """inverses of matrices of size up to N + d and condition at most 1 + c, times features of norm sqrt(c) in these
    units"""
    c = p.dim / p.eps**2
    return 4 * (p.n + p.dim) * (1 + c) * (1 + np.sqrt(c))


MULTIPLIER_MATCH = Law(
    id="mcr2/multiplier-match",
    source=Source(DERIVED, "cf. arXiv:2406.01909, Proposition 1"),
    statement="""
    Orthogonal classes of equal size, energies ||Z_k||^2 = N_k and r equal singular values each are a critical point of
    the regularised objective F at

        lambda = alpha [1/(1 + x c/r) - 1/(1 + c/r)],   x = 1/K, c = d/eps^2.

    Judged are lambda/alpha, read off as <grad Delta R, Z>/||Z||^2, and the rest of the gradient, which vanishes.
    Classes of different size have different multipliers: no single lambda makes their constrained optimum critical.
    """,
    params=Matched,
    predict=predicted_multiplier,
    measure=multipliers,
    claim=Equality(of="multiplier", rounding=multiplier_rounding, resolve=1e-6,
                   scale=lambda p: predicted_multiplier(p)[0]),
    controls={
        "class 1 longer by 1 %": but(measure=partial(multipliers, stretch=1.01)),
        "penalty without 1/2": but(predict=lambda p: predicted_multiplier(p) / 2),
    },
    examples=(Matched(), Matched(drive=0.2), Matched(drive=20.0, spare=1)),
    draws=Draws(shapes=6, values=4),
)  # fmt: skip


def read_multiplier(p: Matched, Z: np.ndarray) -> float:
    """lambda at which Z is critical, read off its gradient."""
    return float(np.sum(coding_rate.rate_reduction_gradient(Z, p.sizes, eps=p.eps) * Z) / np.sum(Z**2))


@measurement
def split_gain(p: Matched, stream, *, taken: int = 1, given: int = 1):
    """Change of F at the matched lambda when class 1 gives up `taken` directions and class 2 gets `given` more."""
    rng = stream.numpy("bases")
    Z = matched_features(p, rng)
    objective = partial(coding_rate.regularised_rate_reduction, classes=p.sizes, eps=p.eps, lam=read_multiplier(p, Z))
    ranks = [p.rank - taken, p.rank + given, *[p.rank] * (p.classes - 2)]
    return {"change": objective(matched_features(p, rng, ranks)) - objective(Z)}


class Splittable(Matched):
    """As `Matched`, with samples to spare in every class, and a dimension."""

    extra: Annotated[int, Ge(1), Le(2)] = 1
    spare: Annotated[int, Ge(1), Le(1)] = 1


def split_rounding(p: Splittable) -> float:
    """rounding of two values of F, each of log-determinants of energy at most (r+1) c/r, and of lambda ||Z||^2/2"""
    return 2 * (1 + p.classes) * theory.rate_rounding(p.n + p.dim, 2 * p.dim / p.eps**2)


MATCHED_SPLITS = Law(
    id="mcr2/matched-splits",
    source=Source(DERIVED, "cf. arXiv:2406.01909, Proposition 1"),
    statement="""
    At the multiplier of mcr2/multiplier-match any split of the K r directions over the classes, with the same singular
    values, has the same F, but only the even one has class energies ||Z_k||^2 = N_k. So the two problems share optimal
    solutions in one direction only: the constrained optimum is a regularised one (mcr2/matched-maximum), while most
    regularised optima violate the constraint. Relative errors are relative to Delta R.
    """,
    params=Splittable,
    predict=lambda p: 0.0,
    measure=split_gain,
    claim=Equality(of="change", rounding=split_rounding, resolve=1e-6,
                   scale=lambda p: p.classes * p.rank / 2 * theory.rate_gain(p.u, p.x)),
    controls={
        "a direction lost": but(measure=partial(split_gain, given=0)),
        "a direction gained": but(measure=partial(split_gain, taken=0)),
    },
    examples=(Splittable(), Splittable(rank=1, drive=0.5), Splittable(classes=3, extra=2)),
    draws=Draws(shapes=6, values=4),
)  # fmt: skip


class Landscape(Matched):
    """As `Matched`, away from the merge point, where the second derivative vanishes."""

    @model_validator(mode="after")
    def _away(self) -> Self:
        if abs(self.drive - 1) < 0.03:
            raise ValueError(f"drive={self.drive:.4g} is within .03 of the merge point at 1; choose another")
        return self


@measurement
def matched_landscape(p: Landscape, stream, *, starts: int = 4, weight: float = 1.0):
    """At the matched lambda: index of the point, and whether ascent of F finds nothing higher.

    Ascent starts from Gaussian features and, perturbed, from orthogonal classes of which one has a direction less or
    (if samples and dimensions allow) more than `rank`, with 1.3 times the singular values; Z = 0 is a start too. Values
    within 1e-9 count as equal, far less than a direction is worth at the distances from u_t that are judged. `weight`
    multiplies lambda (1 in the law).
    """
    rng = stream.numpy("starts")
    Z = matched_features(p, rng)
    lam = weight * read_multiplier(p, Z)
    ranks = [[p.rank - 1, *[p.rank] * (p.classes - 1)]]
    if p.extra and p.spare:
        ranks.append([p.rank + 1, *[p.rank] * (p.classes - 1)])
    sizes = np.sqrt(p.u / p.alpha / p.n * np.exp(rng.uniform(-1, 2, starts)))
    trials = [size * rng.standard_normal(Z.shape) for size in sizes]
    trials += [1.3 * matched_features(p, rng, one) + 1e-3 * rng.standard_normal(Z.shape) for one in ranks]
    found = max(0.0, dynamics.maximise(trials, p.sizes, eps=p.eps, lam=lam).value.max())
    here = float(coding_rate.regularised_rate_reduction(Z, p.sizes, eps=p.eps, lam=lam))
    index = dynamics.hessian_index(Z, p.sizes, eps=p.eps, lam=lam)
    return {"index": index, "highest": here >= found - 1e-9 * (1 + found)}


MATCHED_BRANCH = Law(
    id="mcr2/matched-branch",
    source=Source(DERIVED),
    statement="""
    The point of mcr2/multiplier-match is a local maximum of F iff x c/r > sqrt x (it is then on the upper branch u_+);
    below it is a saddle on the lower branch, of index K r (r+1)/2 (mcr2/saddle-index).
    """,
    params=Landscape,
    predict=lambda p: 0 if p.drive > 1 else p.classes * p.rank * (p.rank + 1) // 2,
    measure=matched_landscape,
    claim=Classification(of="index", distance=lambda p: p.drive - 1, resolve=0.05),
    controls={
        "always a local maximum": but(predict=lambda p: 0),
        "penalty without 1/2": but(measure=partial(matched_landscape, weight=2.0)),
    },
    examples=(Landscape(drive=1.03), Landscape(drive=0.97), Landscape(rank=1, drive=0.5)),
    draws=Draws(shapes=6, values=1),
)


def to_maxwell(p: Landscape) -> float:
    """Relative distance of u to u_t; negative where the ranks leave room, on both sides of it."""
    gap = p.u / theory.maxwell_point(p.x) - 1
    return gap if not (p.spare and p.extra) else -abs(gap)


MATCHED_MAXIMUM = Law(
    id="mcr2/matched-maximum",
    source=Source(DERIVED, "cf. arXiv:2406.01909, Proposition 1"),
    statement="""
    The point of mcr2/multiplier-match is a global maximum of F iff x c/r >= u_t(x) and K r = min(N, d) (at equality any
    rank will do: a direction is worth nothing). Between sqrt x and u_t it is a local maximum below F(0) = 0.
    """,
    params=Landscape,
    predict=lambda p: theory.matched_point_is_global(p.per, p.classes, p.dim, p.rank, eps=p.eps),
    measure=matched_landscape,
    claim=Classification(of="highest", distance=to_maxwell, resolve=0.05),
    controls={
        "every local maximum": but(predict=lambda p: p.drive > 1 and not (p.spare and p.extra)),
        "room in d ignored": but(predict=lambda p: p.u > theory.maxwell_point(p.x)),
        "penalty without 1/2": but(measure=partial(matched_landscape, weight=2.0)),
    },
    examples=(
        *(Landscape(drive=drive) for drive in (2.1, 2.25, 8.0)),
        *(Landscape(classes=3, rank=1, extra=1, spare=spare, drive=6.0) for spare in (0, 1)),
    ),
    draws=Draws(shapes=6, values=1),
)
