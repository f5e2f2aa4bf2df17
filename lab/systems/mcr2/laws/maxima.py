"""How high the objective goes: its global maximum, as corrected and as printed, and how it moves with lambda."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality
from lab.data.subspaces import haar, orthogonal_blocks
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params
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


def filled_ranks(sizes: tuple[int, ...], dim: int, classes: int) -> list[int]:
    """Ranks when the `classes` smallest classes are given all the room they can use, smallest first."""
    ranks, room = [0] * len(sizes), dim
    for k in sorted(range(len(sizes)), key=lambda k: sizes[k])[:classes]:
        ranks[k] = min(sizes[k], room)
        room -= ranks[k]
    return ranks


def _climb(p: Regularised, rng: np.random.Generator, lam: float, random: int) -> Maxima:
    """Ends of ascent from `random` Gaussian starts of several sizes, then from 1, 2, ... filled classes.

    The latter are orthogonal blocks with squared singular values (1-x)/lambda, above those of any critical point, and
    a generic perturbation of relative size 1e-3.
    """
    n, tau = sum(p.sizes), lam / p.alpha
    reach = np.sqrt(np.geomspace(0.1, 10, random) / lam / max(n, p.dim))
    starts = [scale * rng.standard_normal((n, p.dim)) for scale in reach]
    for classes in range(1, len(p.sizes) + 1):
        ranks = filled_ranks(p.sizes, p.dim, classes)
        left = [haar(rng, size, rank) for size, rank in zip(p.sizes, ranks, strict=True)]
        values = [
            np.full(rank, np.sqrt((1 - size / n) / tau / p.alpha)) for size, rank in zip(p.sizes, ranks, strict=True)
        ]
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
    """F at orthogonal blocks of these ranks on their upper branches, where those exist."""
    x = np.array(p.sizes) / sum(p.sizes)
    return float(np.sum(np.array(ranks) * theory.class_value(x, p.tau)))


def largest_first(p: Regularised) -> float:
    """The same filling in the opposite order."""
    order = sorted(range(len(p.sizes)), key=lambda k: -p.sizes[k])
    ranks, room = [0] * len(p.sizes), p.dim
    for k in order:
        ranks[k] = min(p.sizes[k], room) * (p.tau < theory.maxwell(p.sizes[k] / sum(p.sizes)))
        room -= ranks[k]
    return _value_of(p, ranks)


def room_for_all(p: Regularised) -> float:
    """Every class alone in R^d, as if classes did not have to be orthogonal."""
    return _value_of(p, [min(size, p.dim) for size in p.sizes])


def value_rounding(p: Regularised) -> float:
    """rounding of F at a maximiser: one log-determinant of the whole and one per class, each of a matrix of size
    max(N, d) with energy at most d u_+/x, u_+ < (1-x)/tau (ascent stops where the rounding of F hides progress)"""
    energy = p.dim * sum(p.sizes) / min(p.sizes) / p.tau
    return (1 + len(p.sizes)) * theory.rate_rounding(p.dim, energy)


def at_least_a_nat(p: Regularised) -> float:
    return max(predicted_maximum(p), 1.0)


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
    claim=Equality(of="maximum", over="max", rounding=value_rounding, scale=at_least_a_nat),
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
