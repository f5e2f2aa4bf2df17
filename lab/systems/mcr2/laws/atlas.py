"""The atlas is complete (every critical point of a census is in it) and right (index, nullity of what it lists)."""

from __future__ import annotations

from functools import cached_property, lru_cache, partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Classification, Equality
from lab.data.fusion_frames import fusion_frame_critical_point, isotropic_frame
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params
from lab.systems.mcr2 import dynamics, theory
from lab.systems.mcr2.laws.critical_points import bisected_roots, orbit_dimension
from lab.systems.mcr2.laws.fusion_frames import (
    DERIVED,
    ZERO,
    Census,
    census,
    critical_points,
    frame_values,
    reduced_spectrum,
)
from lab.systems.mcr2.theory.atlas import KINDS, Atlas, AtlasEntry, atlas

Size = Annotated[int, Ge(1), Le(4)]


class TwoClasses(Census):
    """As `Census`, with two classes."""

    sizes: Annotated[tuple[Size, ...], MinLen(2), MaxLen(2)] = (3, 4)


class ThreeClasses(Census):
    """As `Census`, with three classes."""

    sizes: Annotated[tuple[Size, ...], MinLen(3), MaxLen(3)] = (2, 2, 2)


class FourClasses(Census):
    """As `Census`, with four classes; in at most three dimensions."""

    sizes: Annotated[tuple[Size, ...], MinLen(4), MaxLen(4)] = (2, 2, 2, 2)


@lru_cache(maxsize=128)
def listed(sizes: tuple[int, ...], dim: int, tau: float, kinds=KINDS, signs=(1, -1)) -> Atlas:
    """The atlas; predictions look at the same one many times."""
    return atlas(sizes, dim, tau=tau, kinds=kinds, signs=signs)


NOWHERE = 1e9  # nats: no entry has the index that was measured


def nearest_values(p: Census, data, *, kinds=KINDS, signs=(1, -1), weight: float = 1.0) -> np.ndarray:
    """Value of the entry of the same index that is nearest to each point, by the point's own spectrum.

    `kinds`, `signs` restrict the atlas and `weight` multiplies its tau (all, all and 1 in the laws).
    """
    entries = listed(p.sizes, p.dim, weight * p.tau, kinds, signs)
    out, own = np.zeros(p.starts), frame_values(p, data)[:, 0]
    for i in np.flatnonzero(data["found"]):
        values = entries.value[entries.index == data["index"][i]]
        out[i] = values[np.argmin(np.abs(values - own[i]))] if values.size else NOWHERE
    return out


def value_error(p: Census, data) -> np.ndarray:
    """F is stationary: a point off by delta = (residual + rounding of the gradient)/gap moves it by residual delta; and
    rounding of F, one log-determinant of the whole and one per class, energies at most sum u/theta"""
    machine, out = float(np.finfo(float).eps), np.zeros(p.starts)
    for i in np.flatnonzero(data["found"]):
        u, theta, _ = reduced_spectrum(p, data["Y"][i])
        energy = float(np.sum(u / theta))
        slope = data["residual"][i] / machine + (sum(p.sizes) + p.dim) * (1 + energy) * np.sqrt(np.sum(u))
        out[i] = (1 + len(p.sizes)) * theory.rate_rounding(p.dim, energy) + machine * slope**2 / data["gap"][i]
    return out


def one_direction(p: Census) -> float:
    """The largest value of one direction at hand, at least a hundredth of a nat."""
    entries = listed(p.sizes, p.dim, p.tau)
    return max(0.01, float(np.max(np.abs(entries.value)) / p.dim))


def complete(name: str, params: type[Census], statement: str, examples, **controls) -> Law:
    """The law that every point of a census is in the atlas."""
    return Law(
        id=f"mcr2/{name}",
        source=Source(DERIVED),
        statement=statement,
        params=params,
        situation=critical_points,
        predict=nearest_values,
        measure=census,
        claim=Equality(of="value", given="judged", rounding=value_error, scale=one_direction),
        controls={
            label.replace("_", " "): but(predict=partial(nearest_values, **one)) for label, one in controls.items()
        },
        examples=examples,
        draws=Draws(shapes=6, values=1),
    )


ATLAS_TWO_CLASSES = complete(
    "atlas-two-classes",
    TwoClasses,
    """
    Two classes: every critical point of F is orthogonal. x_1 P_1 + x_2 P_2 = theta I makes P_2 a function of P_1, so
    that frames are sums of lines, and a line of both classes would have theta = 1, where no branch exists. So values
    and indices of all critical points are those of the atlas of orthogonal points,

        F = sum_k [r_k^+ h(u_+(x_k)) + r_k^- h(u_-(x_k))],   index = sum_k r_k^-(r_k^- + 1)/2.

    Judged on a census by least squares: F against the nearest entry of the index that the dense Hessian has.
    """,
    (TwoClasses(), TwoClasses(sizes=(4, 4), dim=3, fraction=0.2)),
    lower_branch_left_out={"signs": (1,)},
    lambda_a_thousandth_larger={"weight": 1.001},
)

ATLAS_THREE_CLASSES = complete(
    "atlas-three-classes",
    ThreeClasses,
    """
    Three classes: every critical point of F is an orthogonal sum of

        lines of one class (theta = x_k) or of two (theta = x_k + x_l),
        planes in which all three have a line, that close a triangle with sides N_k at double angles (theta = 1/2; only
        if no class holds half of all samples),

    each on the upper or the lower branch, within the dimensions and the class sizes. There is no other irreducible
    frame: P_3 is a polynomial in P_1 and P_2, and two projections split into lines and planes. Judged on a census by
    least squares: F against the nearest entry of the index that the dense Hessian has.
    """,
    (ThreeClasses(), ThreeClasses(sizes=(2, 3, 4), dim=3, fraction=0.25), ThreeClasses(sizes=(1, 2, 3), fraction=0.2)),
    polygons_left_out={"kinds": ("orthogonal", "aligned")},
    orthogonal_classes_only={"kinds": ("orthogonal",)},
    lower_branch_left_out={"signs": (1,)},
    lambda_a_thousandth_larger={"weight": 1.001},
)

ATLAS_FOUR_CLASSES = complete(
    "atlas-four-classes",
    FourClasses,
    """
    Four classes in up to three dimensions: every critical point of F is an orthogonal sum of lines that some of the
    classes share, of planes in which three or four have lines that close a polygon at double angles (a fourth class may
    fill the plane), and of spaces with four lines or planes, whose sizes satisfy the inequalities of
    `theory.frame_ranks`; each on the upper or the lower branch. Judged on a census by least squares: F against the
    nearest entry of the index that the dense Hessian has.
    """,
    (FourClasses(), FourClasses(dim=3), FourClasses(sizes=(1, 2, 2, 3), dim=3, fraction=0.4, starts=120)),
    frames_in_three_dimensions_left_out={"kinds": KINDS[:3]},
    polygons_left_out={"kinds": ("orthogonal", "aligned", "spatial")},
    lower_branch_left_out={"signs": (1,)},
)


# ---------------------------------------------------------------------- what is listed


class ListedPoint(Params):
    """An entry of the atlas, `pick` of the way from its lowest to its highest value; a random point of it.

    lambda is `fraction` of the smallest lambda_c(x_k), at least 1 % away from the spinodal of every part.
    """

    sizes: Annotated[tuple[Size, ...], MinLen(2), MaxLen(4)] = (2, 3, 4)
    dim: Annotated[int, Ge(1), Le(4)] = 3
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    fraction: Annotated[float, Ge(0.02), Le(1.5), LogScale()] = 0.3
    pick: Annotated[float, Ge(0.0), Le(1.0)] = 0.5

    @model_validator(mode="after")
    def _off_spinodals(self) -> Self:
        near = [part.theta for part, _ in self.entry.parts if self.tau > 0.99 * theory.spinodal(part.theta)]
        if near:
            raise ValueError(f"fraction={self.fraction}: within 1 % of the spinodal of theta={near[0]:.4g}; move it")
        return self

    @property
    def alpha(self) -> float:
        return theory.gram_scale(sum(self.sizes), self.dim, eps=self.eps)

    @property
    def tau(self) -> float:
        return self.fraction * float(np.min(theory.spinodal(np.array(self.sizes) / sum(self.sizes))))

    @cached_property
    def entry(self) -> AtlasEntry:
        entries = listed(self.sizes, self.dim, self.tau)
        return entries.entry(round(self.pick * (len(entries) - 1)))


def representative(p: ListedPoint, stream) -> tuple[np.ndarray, float]:
    """A random point of the entry, and lambda; roots by bisection, frames in radial isotropic position."""
    rng, lam = stream.numpy("point"), p.tau * p.alpha
    spaces = [
        isotropic_frame(rng, p.sizes, part.ranks, part.dim, sign="+" if part.sign > 0 else "-")
        for part, count in p.entry.parts
        for _ in range(count)
    ]
    if not spaces:
        return np.zeros((sum(p.sizes), p.dim)), lam
    return fusion_frame_critical_point(
        rng, d=p.dim, class_sizes=p.sizes, spaces=spaces, eps=p.eps, lam=lam, roots=bisected_roots
    ), lam  # fmt: skip


@measurement
def counted(p: ListedPoint, stream, *, shake: float = 0.0, weight: float = 1.0):
    """F and the norm of its gradient over sqrt(alpha); how many curvatures are positive and how many zero, and the
    dimension of the orbit under rotations of features and samples.

    `shake` moves the point by this relative size; `weight` multiplies lambda in F and its derivatives only.
    """
    Z, lam = representative(p, stream)
    noise = stream.numpy("shake").standard_normal(Z.shape)
    Z, lam = Z + shake * np.linalg.norm(Z) / np.linalg.norm(noise) * noise, weight * lam
    value, slope = coding_rate.value_and_gradient(Z, p.sizes, eps=p.eps, lam=lam)
    curvature = dynamics.symmetric_eigen(dynamics.hessian(Z, p.sizes, eps=p.eps, lam=lam))[0] / p.alpha
    zero = int(np.sum(np.abs(curvature) <= 1e2 * ZERO))
    return {
        "value": np.array([value, np.linalg.norm(slope) / np.sqrt(p.alpha)]),
        "counts": np.array([np.sum(curvature > 1e2 * ZERO), zero, orbit_dimension(Z, p.sizes) if Z.any() else 0]),
    }


def listed_value(p: ListedPoint) -> np.ndarray:
    return np.array([p.entry.value, 0.0])


def point_rounding(p: ListedPoint) -> np.ndarray:
    """F is stationary, so that rounding of its log-determinants is all: one of the whole and one per class, energies at
    most sum u/theta. Gradients: as for products and inverses of matrices of size N + d and condition 1 + u/theta, frame
    identities off by 18 and roots by 64/sqrt(1 - tau/tau_c), times the norm of sqrt(alpha) Z"""
    parts = p.entry.parts
    u = np.array([part.u for part, _ in parts] or [0.0])
    theta = np.array([part.theta for part, _ in parts] or [1.0])
    dims = np.array([part.dim * count for part, count in parts] or [0])
    room = 1 - p.tau / np.min(theory.spinodal(theta)) if parts else 1.0
    values = (1 + len(p.sizes)) * theory.rate_rounding(p.dim, float(np.sum(dims * u / theta)))
    condition = 1 + float(np.max(u / theta))
    slopes = ((sum(p.sizes) + p.dim + 18) * condition + 64 / np.sqrt(room)) * np.sqrt(np.sum(dims * u))
    return np.array([values, slopes])


def value_and_penalty(p: ListedPoint) -> np.ndarray:
    """The largest direction at hand, at least a hundredth of a nat; and the gradient of the penalty alone."""
    entries = listed(p.sizes, p.dim, p.tau)
    energy = sum(part.dim * count * part.u for part, count in p.entry.parts)
    return np.array([max(0.01, float(np.max(np.abs(entries.value))) / p.dim), p.tau * max(float(energy), 1e-3) ** 0.5])


def counts(p: ListedPoint) -> np.ndarray:
    """(index, nullity, dimension of the orbit: that of the entry without the shapes of its frames)"""
    shapes = sum(part.shapes * count for part, count in p.entry.parts)
    return np.array([p.entry.index, p.entry.nullity, p.entry.dimension - shapes])


def counts_of_orbit(p: ListedPoint) -> np.ndarray:
    return counts(p)[[0, 2, 2]]


def counts_without_overlap(p: ListedPoint) -> np.ndarray:
    own = sum(count * (count + 1) // 2 for part, count in p.entry.parts if part.sign < 0)
    return np.array([own, *counts(p)[1:]])


def pick(sizes: tuple[int, ...], dim: int, *ranks: tuple[int, ...], signs=(1, -1)) -> ListedPoint:
    """The entry made of frames of these ranks, on the branches of `signs` in turn."""
    p = ListedPoint(sizes=sizes, dim=dim, pick=0.0)
    entries = listed(sizes, dim, p.tau)
    wanted = sorted(zip(ranks, signs * len(ranks), strict=False))
    for i, entry in enumerate(entries):
        if sorted((part.ranks, part.sign) for part, count in entry.parts for _ in range(count)) == wanted:
            return p.replace(pick=i / (len(entries) - 1))
    raise LookupError(f"no entry is made of {wanted}")


EXAMPLES = (
    ListedPoint(dim=2, pick=0.0),
    ListedPoint(dim=2, pick=1.0),  # the global maximum
    pick((2, 3, 4), 3, (1, 1, 1), (0, 1, 1)),
    pick((1, 1, 2), 2, (1, 1, 0), (0, 0, 1), signs=(1,)),  # a flat triangle: not all zero curvatures are motions
    pick((2, 2, 2, 2), 3, (1, 1, 1, 1), (1, 0, 0, 0)),  # a polygon of four has a shape
    pick((2, 2, 2, 2), 2, (1, 1, 0, 0), (0, 0, 1, 1), signs=(1,)),  # a flat one
    pick((3, 3, 3, 3), 3, (2, 2, 2, 2)),
)
DRAWS = Draws(shapes=12, values=8)

ATLAS_ENTRIES = Law(
    id="mcr2/atlas-entries",
    source=Source(DERIVED),
    statement="""
    Every entry of the atlas exists: a random point of it has grad F = 0 and F = sum_j m_j h(u_j; theta_j). Points are
    made of subspaces in radial isotropic position, with sum_k x_k P_k = theta I, and roots by bisection; two to four
    classes in up to four dimensions, entries of all kinds, any lambda 1 % below the spinodals of their parts.
    """,
    params=ListedPoint,
    predict=listed_value,
    measure=counted,
    claim=Equality(of="value", rounding=point_rounding, scale=value_and_penalty),
    controls={
        "regulariser without 1/2": but(measure=partial(counted, weight=2.0)),
        "a point 1e-3 away": but(measure=partial(counted, shake=1e-3)),
    },
    examples=EXAMPLES,
    draws=DRAWS,
)

ATLAS_NULLITY = Law(
    id="mcr2/atlas-nullity",
    source=Source(DERIVED),
    statement="""
    Index and nullity of the entries of the atlas. With m_kj the ranks in the eigenspaces E_j (dimensions m_j, sum r),
    r_k = sum_j m_kj, and q_j the dimension of the symmetric matrices on E_j that commute with its frame,

        nullity = r d - r(r+1)/2 + sum_k [r_k N_k - r_k(r_k+1)/2] + sum_j [sum_k m_kj (m_j - m_kj) - m_j^2 + q_j].

    It is the dimension of the set of critical points (rotations, and shapes of frames: n - 3 for a polygon of n lines)
    except where different frames of one fraction meet, such as a class that holds half of all samples and all others
    together: then some zero curvatures are no motions. Index: mcr2/aligned-critical-points. Counted in dense Hessians
    with threshold 1e-8 alpha, together with the dimension of the orbit under rotations.
    """,
    params=ListedPoint,
    predict=counts,
    measure=counted,
    claim=Classification(of="counts", joint=True),
    controls={
        "only rotations": but(predict=counts_of_orbit),
        "overlap ignored": but(predict=counts_without_overlap),
        "a point 1e-3 away": but(measure=partial(counted, shake=1e-3)),
    },
    examples=EXAMPLES,
    draws=DRAWS,
)
