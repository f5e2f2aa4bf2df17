"""How high the objective goes: its global maximum, how that moves with lambda, and where ascent ends instead."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab import streams
from lab.claims import Equality
from lab.data.subspaces import haar, orthogonal_blocks
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params, Traced
from lab.systems.mcr2 import theory
from lab.systems.mcr2.dynamics import Maxima, maximise

W24 = "arXiv:2406.01909"
DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"

Size = Annotated[int, Ge(1), Le(18)]


class Regularised(Params):
    """Any classes and any lambda > 0, given as a fraction of the right end of the published interval."""

    sizes: Annotated[tuple[Size, ...], MinLen(2), MaxLen(4)] = (4, 4)
    dim: Annotated[int, Ge(1), Le(8)] = 4
    eps: Annotated[float, Ge(0.05), Le(5.0), LogScale()] = 0.5
    fraction: Annotated[float, Ge(0.02), Le(20.0), LogScale()] = 0.5

    @property
    def alpha(self) -> float:
        return theory.gram_scale(sum(self.sizes), self.dim, eps=self.eps)

    @property
    def lam(self) -> float:
        """lambda; multiplied in this order it is exactly the published bound at ``fraction`` 1."""
        return self.fraction * theory.published_multiplier_bound(self.sizes, self.dim, eps=self.eps)

    @property
    def tau(self) -> float:
        return self.lam / self.alpha


class Published(Regularised):
    """The published interval: lambda up to ``alpha min_k (1 - sqrt x_k)/(1 + sqrt x_k)``, that end included."""

    fraction: Annotated[float, Ge(0.02), Le(1.0)] = 0.5


def filled_ranks(sizes: tuple[int, ...], dim: int, order) -> list[int]:
    """Ranks when the classes in `order` are given all the room that they can use, one after the other."""
    ranks, room = [0] * len(sizes), dim
    for k in order:
        ranks[k] = min(sizes[k], room)
        room -= ranks[k]
    return ranks


def _climb(p: Regularised, rng: np.random.Generator, lam: float, random: int) -> Maxima:
    """Ends of ascent from `random` Gaussian starts of several sizes, then from 1, 2, ... filled classes.

    The latter are orthogonal blocks with squared singular values (1-x)/lambda, above those of any critical point, and
    a generic perturbation of relative size 1e-3.
    """
    n = sum(p.sizes)
    reach = np.sqrt(np.geomspace(0.1, 10, random) / lam / max(n, p.dim))
    starts = [scale * rng.standard_normal((n, p.dim)) for scale in reach]
    order = np.argsort(p.sizes, kind="stable")
    for classes in range(1, len(p.sizes) + 1):
        ranks = filled_ranks(p.sizes, p.dim, order[:classes])
        left = [haar(rng, size, rank) for size, rank in zip(p.sizes, ranks, strict=True)]
        values = [np.full(rank, np.sqrt((1 - size / n) / lam)) for size, rank in zip(p.sizes, ranks, strict=True)]
        Z = orthogonal_blocks(haar(rng, p.dim), left, values)
        starts.append(Z + 1e-3 * np.linalg.norm(Z) / np.sqrt(Z.size) * rng.standard_normal(Z.shape))
    return maximise(starts, p.sizes, eps=p.eps, lam=lam)


@measurement
def highest(p: Regularised, stream, *, starts: int = 6, weight: float = 1.0):
    """Largest value of F met by L-BFGS ascent, and the largest met from the random starts alone.

    From `starts` Gaussian starts and from orthogonal blocks that fill the 1, 2, ..., K smallest classes; Z = 0, with
    F = 0, is a start too. `weight` multiplies lambda (1 in the law).
    """
    value = _climb(p, stream.numpy("starts"), weight * p.lam, starts).value
    return {"maximum": max(float(value.max()), 0.0), "random": max(float(value[:starts].max()), 0.0)}


def predicted_maximum(p: Regularised) -> float:
    return theory.global_maximum(p.sizes, p.dim, eps=p.eps, lam=p.lam).value


def published_maximum(p: Published) -> float:
    return theory.published_global_maximum(p.sizes, p.dim, eps=p.eps, lam=p.lam).value


def _value_of(p: Regularised, ranks) -> float:
    """F at orthogonal blocks of these ranks, where they are worth anything."""
    x = np.array(p.sizes) / sum(p.sizes)
    return float(np.sum(np.array(ranks) * theory.class_value(x, p.tau)))


def largest_first(p: Regularised) -> float:
    """The same filling in the opposite order."""
    worth_it = [k for k in np.argsort(p.sizes)[::-1] if p.tau < theory.maxwell(p.sizes[k] / sum(p.sizes))]
    return _value_of(p, filled_ranks(p.sizes, p.dim, worth_it))


def room_for_all(p: Regularised) -> float:
    """Every class alone in R^d, as if classes did not have to be orthogonal."""
    return _value_of(p, [min(size, p.dim) for size in p.sizes])


def value_rounding(p: Regularised) -> float:
    """rounding of F at a maximiser: one log-determinant of the whole and one per class, each of a matrix of size
    max(N, d) with energy at most d u_+/x, u_+ < (1-x)/tau (ascent stops where the rounding of F hides progress)"""
    energy = p.dim * sum(p.sizes) / min(p.sizes) / p.tau
    return (1 + len(p.sizes)) * theory.rate_rounding(p.dim, energy)


GLOBAL_MAXIMUM = Law(
    id="mcr2/global-maximum",
    source=Source(W24, "Theorem 1, global maximisers, corrected; any lambda > 0 derived here"),
    statement="""
    For every lambda > 0 and all class sizes, with x_k = N_k/N and tau = lambda/alpha,

        max_Z F(Z) = sum_k r_k v_k,   v_k = max(0, h(u_+(x_k, tau); x_k, tau)),

    where classes, smallest first, receive the rank r_k = min(N_k, d - already used) if tau < tau_*(x_k) (mcr2/maxwell)
    and 0 otherwise. Attained exactly by mutually orthogonal classes whose singular values are all sqrt(u_+/alpha).

    Measured is the highest value met by ascent: from Gaussian starts, and from orthogonal blocks that fill the j
    smallest classes, j = 0 ... K, perturbed. A prediction that is too low is passed by some start; one that is too high
    is reached by none. F = Delta R - (lambda/2)||Z||^2, samples in rows, nats.
    """,
    params=Regularised,
    predict=predicted_maximum,
    measure=highest,
    claim=Equality(of="maximum", over="max", rounding=value_rounding, scale=lambda p: max(1.0, predicted_maximum(p))),
    controls={
        "largest classes first": but(predict=largest_first),
        "classes need not share R^d": but(predict=room_for_all),
        "regulariser without 1/2": but(measure=partial(highest, weight=2.0)),
    },
    examples=(
        Regularised(eps=0.5**0.5, fraction=0.95),
        Regularised(sizes=(4, 8, 18), dim=8, eps=0.5**0.5),
        Regularised(sizes=(2, 3, 5), dim=4, fraction=3.5),
    ),
    draws=Draws(shapes=4, values=1),
)

GLOBAL_MAXIMUM_PRINTED = GLOBAL_MAXIMUM.printed(
    "mcr2/global-maximum-printed",
    source=Source(W24, "Theorem 1, global maximisers"),
    at=(Published(eps=0.5**0.5, fraction=0.95),),
    params=Published,
    predict=published_maximum,
    statement="""
    As printed: for 0 < lambda <= alpha min_k (1 - sqrt x_k)/(1 + sqrt x_k) the global maximisers are the orthogonal
    points on the upper branch with total rank min(N, d), smaller classes first.

    False as soon as a class with tau_*(x_k) < tau receives rank: each of its directions has negative value, and
    dropping it is better. With d = 4, N = (4, 4), eps^2 = 1/2 and lambda at .95 of the end of the interval the claimed
    maximiser has F = -0.037848 < F(0) = 0. With classes of equal size this concerns every lambda between alpha tau_*
    and the end of the interval (13 % of it for two classes). Corrected: mcr2/global-maximum.
    """,
)


# ---------------------------------------------------------------------- how the maximum moves with lambda

STEP = 1e-4  # relative step of the central difference


@measurement
def slope_of_maximum(p: Regularised, stream, *, random: int = 2):
    """Central difference, in lambda, of the largest value of F met by ascent.

    `smooth` says that both ends were reached from the same total rank, above F = 0: between them no class was dropped.
    """
    ends, ranks = [], []
    for sign in (1, -1):
        found = _climb(p, stream.numpy("starts"), p.lam * (1 + sign * STEP), random)
        best = int(np.argmax(found.value))
        u = p.alpha * np.linalg.svd(found.Z[best], compute_uv=False) ** 2
        ranks.append(int(np.sum(u > 0.01 / sum(p.sizes))))  # u_+ >= sqrt(x) >= 1/N
        ends.append(max(float(found.value[best]), 0.0))
    return {"slope": (ends[0] - ends[1]) / (2 * STEP * p.lam), "smooth": ranks[0] == ranks[1] and min(ends) > 0}


def half_the_energy(p: Regularised) -> float:
    return -0.5 * theory.global_maximum(p.sizes, p.dim, eps=p.eps, lam=p.lam).energy


def difference_rounding(p: Regularised) -> float:
    """rounding of two values of F over the distance of their lambdas"""
    return 2 * value_rounding(p) / (2 * STEP * p.lam)


def difference_error(p: Regularised) -> float:
    """(step^2/6) times the third derivative of sum_k r_k h(u_+(tau); tau), which is -(1/2) sum_k r_k d^2 u_+/dtau^2 =
    -(1/2) sum_k r_k f'''/(-f'')^3 at u_+; the larger of its values at both ends of the step"""
    best = theory.global_maximum(p.sizes, p.dim, eps=p.eps, lam=p.lam)
    x, worst = np.array(p.sizes) / sum(p.sizes), 0.0
    for sign in (1, -1):
        tau = p.tau * (1 + sign * STEP)
        used = (best.ranks > 0) & np.asarray(theory.nonzero_branch_exists(x, tau))
        u = np.where(used, theory.u_plus(x, tau, where=used), 1.0)
        second, third = 2 * theory.direction_curvature(u, x), 2 / (1 + u) ** 3 - 2 / x**2 / (1 + u / x) ** 3
        worst = max(worst, 0.5 * float(np.sum(np.where(used, best.ranks * np.abs(third / second**3), 0.0))))
    return (STEP * p.tau) ** 2 / 6 * worst / p.alpha


ENVELOPE = Law(
    id="mcr2/maximum-envelope",
    source=Source(DERIVED, "envelope theorem on the corrected maximum"),
    statement="""
    The global maximum falls with the regulariser at half the energy of its maximiser,

        d(max F)/d lambda = -(1/2) ||Z*||_F^2,   ||Z*||_F^2 = sum_k r_k u_+(x_k, tau)/alpha,

    wherever it is differentiable: everywhere but at lambda = lambda_*(x_k) of a class that has rank, where the energy
    jumps to that of the maximiser without the class. Judged where both ends of the difference have the same rank.
    """,
    params=Regularised,
    predict=half_the_energy,
    measure=slope_of_maximum,
    claim=Equality(of="slope", given="smooth", rounding=difference_rounding, finite_size=difference_error),
    controls={
        "the penalty's own weight": but(predict=lambda p: 2 * half_the_energy(p)),
        "a hundredth more lambda": but(predict=lambda p: half_the_energy(p.replace(fraction=p.fraction / 1.01))),
    },
    examples=(Regularised(), Regularised(sizes=(4, 8, 18), dim=8, eps=0.5**0.5)),
    draws=Draws(shapes=6, values=1),
)


# ---------------------------------------------------------------------- where gradient ascent ends


class Start(Params):
    """Three classes of `first`, `second` and the remaining of `n` samples; ascent from Gaussian features.

    The entries of the start have variance `energy`/(alpha n): `energy` is the mean reduced squared singular value of
    all samples together, of which class k has the share x_k. lambda is `fraction` of the smallest lambda_c(x_k), that
    of the largest class. F is recorded at the start and `records` times on the way (a divisor of `steps`).
    """

    dim: Annotated[int, Ge(1), Le(8)] = 4
    n: Annotated[int, Ge(3), Le(30)] = 14
    first: Annotated[int, Ge(1), Le(28), Traced()] = 2
    second: Annotated[int, Ge(1), Le(28), Traced()] = 5
    eps: Annotated[float, Ge(0.05), Le(5.0), LogScale()] = 0.5
    fraction: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    energy: Annotated[float, Ge(0.03), Le(1000.0), LogScale()] = 100.0
    steps: Annotated[int, Ge(100)] = 3000
    records: Annotated[int, Ge(1)] = 1

    @model_validator(mode="after")
    def _three_classes(self) -> Self:
        if self.first + self.second >= self.n:
            raise ValueError(f"first+second={self.first + self.second} must be below n={self.n}; raise n or lower them")
        return self

    @property
    def sizes(self) -> tuple:
        return (self.first, self.second, self.n - self.first - self.second)

    @property
    def alpha(self):
        return self.dim / (self.n * self.eps**2)

    @property
    def x(self) -> np.ndarray:
        return np.array(self.sizes) / self.n

    @property
    def tau(self) -> float:
        return self.fraction * float(np.min(theory.spinodal(self.x)))


SMALL_GRADIENT = 1e-8  # of F by sqrt(alpha) Z: below it an ascent counts as converged


@measurement(runs="jax")
def ascent_limit(p: Start, stream, *, weight: float = 1.0):
    """Where gradient ascent from a Gaussian start ends: what each class is worth there, per direction it kept.

    `worth` holds (F(Z) - F(Z without class k))/r_k for each class, r_k counted as singular values that stayed, and
    last what those differences leave unexplained of F(Z). `judged` marks classes that kept rank, where the gradient
    vanished. `path`, `path_steps` record F along the way. `weight` multiplies lambda (1 in the law).
    """
    import jax
    import jax.numpy as jnp

    from lab.systems.mcr2.dynamics import gradient_ascent

    sizes = jnp.stack([jnp.asarray(size) for size in p.sizes])
    x = sizes / p.n
    lam = weight * p.fraction * p.alpha * jnp.min((1 - jnp.sqrt(x)) / (1 + jnp.sqrt(x)))
    label = jnp.sum(jnp.arange(p.n)[:, None] >= jnp.cumsum(sizes)[:2], axis=1)
    member = jax.nn.one_hot(label, 3, dtype=float)
    start = jnp.sqrt(p.energy / (p.alpha * p.n)) * streams.normal(stream.jax("start"), (p.n, p.dim))
    run = gradient_ascent(start, member, eps=p.eps, lam=lam, steps=p.steps, records=p.records)

    value = run.value[-1]
    others = (1 - member.T)[:, :, None] * run.Z
    without = coding_rate.regularised_rate_reduction(others, member, eps=p.eps, lam=lam)
    ranks = jnp.sum(run.spectrum[-1] > 1e-8 * jnp.sqrt(x)[:, None], axis=1)
    converged = run.gradient_norm[-1] <= SMALL_GRADIENT * jnp.sqrt(p.alpha)
    worth = jnp.append((value - without) / jnp.maximum(ranks, 1), value - jnp.sum(value - without))
    return {
        "worth": worth, "judged": converged & jnp.append(ranks > 0, True), "value": value, "ranks": ranks,
        "converged": converged, "gradient": run.gradient_norm[-1], "path": run.value, "path_steps": run.step_number,
    }  # fmt: skip


def _heights(p: Start, branch) -> np.ndarray:
    exists = theory.nonzero_branch_exists(p.x, p.tau)
    u = np.where(exists, branch(p.x, p.tau, where=exists), 0.0)
    return np.append(theory.direction_value(u, p.x, p.tau), 0.0)


def rung_heights(p: Start) -> np.ndarray:
    """h(u_+(x_k, tau)) for each class, and nothing unexplained; a class beyond its spinodal is worth nothing."""
    return _heights(p, theory.u_plus)


def distance_to_limit(p: Start) -> float:
    """F is quadratic around its limit: a gradient g leaves Z within g/gap of it, F within g^2/(2 gap), and F without
    class k, whose curvature is below 9/8 + tau, within (9/8 + tau)(g/gap)^2/2; the gap is the smallest nonzero
    curvature |tau|, 4u|h''(u)|, (u+w)/((1+u)(1+w)) at any maximum, in units of alpha"""
    exists = theory.nonzero_branch_exists(p.x, p.tau)
    u = theory.u_plus(p.x[exists], p.tau)
    pairs = (u[:, None] + u) / (1 + u[:, None]) / (1 + u)
    own = -4 * u * theory.direction_curvature(u, p.x[exists])
    gap = float(np.min(np.concatenate([[p.tau], own, pairs.ravel()])))
    return 4 * (9 / 8 + p.tau) / 2 * (SMALL_GRADIENT / gap) ** 2


def limit_rounding(p: Start) -> float:
    """rounding of four values of F, each one log-determinant of the whole and three of classes with energy at most
    d u_+/x"""
    return 4 * 4 * theory.rate_rounding(p.dim, p.dim / float(p.x.min()) / p.tau)


def rung_scale(p: Start) -> float:
    """The value of a direction of the smallest class, the highest step of the ladder, at least a hundredth of a nat."""
    return max(0.01, float(np.max(np.abs(rung_heights(p)))))


VALUE_LADDER = Law(
    id="mcr2/value-ladder",
    source=Source(DERIVED),
    statement="""
    From almost every start (lambda not exactly a spinodal) gradient ascent on F ends at a height

        F = sum_k r_k h(u_+(x_k, tau); x_k, tau),   integers 0 <= r_k <= min(N_k, d), sum_k r_k <= d,

    a ladder whose steps may be negative (between tau_* and tau_c), and nowhere else. Which rung depends on the start;
    the highest need not be reached. Measured per class: what removing it costs, per singular value that it kept, must
    be h(u_+(x_k, tau)), and together these must add up to F. Runs whose gradient has not vanished are not judged.
    """,
    params=Start,
    predict=rung_heights,
    measure=ascent_limit,
    claim=Equality(
        of="worth", given="judged", rounding=limit_rounding, finite_size=distance_to_limit, scale=rung_scale
    ),
    controls={
        "regulariser without 1/2": but(measure=partial(ascent_limit, weight=2.0)),
        "rungs of the lower branch": but(predict=lambda p: _heights(p, theory.u_minus)),
        "one step for all classes": but(predict=lambda p: np.append(np.full(3, rung_heights(p)[:3].mean()), 0.0)),
    },
    draws=Draws(shapes=1, values=40),
)

BENIGN_IS_GLOBAL_PRINTED = VALUE_LADDER.printed(
    "mcr2/benign-is-global-printed",
    source=Source(W24, "a common reading of 'benign landscape'; the paper claims strict saddles, not this"),
    at=(Start(dim=8, n=30, first=4, second=8, eps=0.5**0.5, fraction=0.5),),
    predict=lambda p: theory.global_maximum(p.sizes, p.dim, eps=p.eps, lam=p.tau * p.alpha).value,
    claim=Equality(of="value", given="converged", rounding=limit_rounding, finite_size=distance_to_limit),
    statement="""
    As often read: since every critical point is a local maximum or a strict saddle, gradient ascent from a random start
    reaches the global maximum of F.

    Almost always it reaches a local one only. With d = 8, N = (4, 8, 18), eps^2 = 1/2 and lambda at half of the
    published bound, 599 of 600 runs from Gaussian starts (200 each at energies 1, 10, 100) end between 43 and 92 % of
    the maximum 3.98297, half of them below 71 %; one reaches it. And Z = 0 is a local maximum for every lambda > 0.
    What holds instead: mcr2/value-ladder.
    """,
)
