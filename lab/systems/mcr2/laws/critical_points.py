"""Orthogonal critical points: every eigenvalue of the Hessian there, and how many are positive or zero."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Classification, Equality
from lab.data.subspaces import orthogonal_critical_point
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mcr2 import dynamics, theory

DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"

Rank = Annotated[int, Ge(0), Le(2)]
Spare = Annotated[int, Ge(0), Le(3)]


def bisected_roots(x, tau):
    """(u_plus, u_minus) solving 1/(1+u) - 1/(1+u/x) = tau, by bisection in log u on both sides of the maximum sqrt(x).

    Shares nothing with the closed form of the roots; right to rounding over sqrt(1 - tau/tau_c).
    """
    x = np.asarray(x, dtype=float)
    inner = np.log(x) * np.full((2, 1), 0.5)
    outer = np.log([(1 - x) / tau, x * tau])
    for _ in range(60):
        middle = 0.5 * (inner + outer)
        u = np.exp(middle)
        above = u * (1 - x) > tau * (1 + u) * (x + u)
        inner, outer = np.where(above, middle, inner), np.where(above, outer, middle)
    upper, lower = np.exp(0.5 * (inner + outer))
    return upper, lower


def orbit_dimension(Z: np.ndarray, sizes) -> int:
    """Dimension of the manifold that rotations of the features and of each class's samples sweep from Z."""
    n, dim = Z.shape
    ends = np.cumsum([0, *sizes])
    moves = [np.zeros(n * dim)]
    for a, b in itertools.chain(*(itertools.combinations(range(*ends[k : k + 2]), 2) for k in range(len(sizes)))):
        moves.append(np.zeros((n, dim)))
        moves[-1][a], moves[-1][b] = Z[b], -Z[a]
    for a, b in itertools.combinations(range(dim), 2):
        moves.append(np.zeros((n, dim)))
        moves[-1][:, a], moves[-1][:, b] = Z[:, b], -Z[:, a]
    tangent = np.stack([move.ravel() for move in moves])
    squares = np.linalg.eigvalsh(tangent @ tangent.T)  # zeros come out at 1e-16, others above (u_minus/u_plus)/1e2
    return int(np.sum(squares > 1e-12 * squares[-1]))


class OrthogonalPoint(Params):
    """Three mutually orthogonal classes with `plus` directions on the upper and `minus` on the lower branch.

    Class k has `spare` samples beyond its rank, the features `free` dimensions beyond the total rank. The penalty is
    `tau_fraction` of the smallest spinodal among classes with rank: larger classes without rank do not limit it.
    """

    plus: tuple[Rank, Rank, Rank] = (2, 1, 1)
    minus: tuple[Rank, Rank, Rank] = (0, 2, 0)
    spare: tuple[Spare, Spare, Spare] = (2, 3, 1)
    free: Annotated[int, Ge(0), Le(3)] = 1
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    tau_fraction: Annotated[float, Ge(1e-2), Le(0.999)] = 0.5

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if min(self.sizes) < 1 or self.dim < 1:
            raise ValueError(
                f"class sizes {self.sizes}, dim={self.dim}: every class needs a sample and the features a dimension; "
                "raise spare or free"
            )
        return self

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(up + down for up, down in zip(self.plus, self.minus, strict=True))

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(rank + extra for rank, extra in zip(self.ranks, self.spare, strict=True))

    @property
    def dim(self) -> int:
        return sum(self.ranks) + self.free

    @property
    def alpha(self) -> float:
        return self.dim / (sum(self.sizes) * self.eps**2)

    @property
    def x(self) -> np.ndarray:
        return np.array(self.sizes) / sum(self.sizes)

    @property
    def tau(self) -> float:
        ranked = self.x[np.array(self.ranks) > 0] if any(self.ranks) else self.x
        return self.tau_fraction * float(np.min(theory.spinodal(ranked)))


@measurement
def dense_spectrum(p: OrthogonalPoint, stream, *, shake: float = 0.0, weight: float = 1.0, swap: bool = False):
    """Eigenvalues of the dense Hessian of F in units of alpha, ascending; how many are positive, how many zero (1e-8),
    and the dimension of the orbit of the point.

    `shake` perturbs the critical point by this relative size; `weight` multiplies lambda in the Hessian only; `swap`
    puts the upper directions on the lower branch and the lower ones on the upper.
    """
    rng, lam = stream.numpy("point"), p.tau * p.alpha
    ranks = [(down, up) if swap else (up, down) for up, down in zip(p.plus, p.minus, strict=True)]
    Z = orthogonal_critical_point(
        rng, d=p.dim, class_sizes=p.sizes, ranks=ranks, eps=p.eps, lam=lam, roots=bisected_roots
    )  # fmt: skip
    noise = stream.numpy("shake").standard_normal(Z.shape)
    Z = Z + shake * np.linalg.norm(Z) / np.linalg.norm(noise) * noise
    values = np.linalg.eigvalsh(dynamics.hessian(Z, p.sizes, eps=p.eps, lam=weight * lam)) / p.alpha
    counts = [np.sum(values > 1e-8), np.sum(np.abs(values) <= 1e-8), orbit_dimension(Z, p.sizes)]
    return {"eigenvalues": values, "counts": np.array(counts)}


def predicted_spectrum(p: OrthogonalPoint) -> np.ndarray:
    return theory.hessian_spectrum(p.sizes, p.dim, p.plus, p.minus, tau=p.tau)


def predicted_counts(p: OrthogonalPoint) -> np.ndarray:
    zeros = theory.zero_modes(p.sizes, p.dim, p.plus, p.minus)
    return np.array([theory.saddle_index(p.minus), zeros, zeros])


def spectrum_units(p: OrthogonalPoint) -> float:
    """in units of alpha, eigenvalues move by at most the norm of the error of the matrix: m k for products and inverses
    of size m = N + d and condition k = 1 + u_plus/x (at most 1/(x tau)); d N (9/8 + tau) for the eigensolver; and the
    point itself is off by 64/sqrt(1 - tau/tau_c)"""
    ranked = np.array(p.ranks) > 0
    condition = 1.0
    if ranked.any():
        condition += float(np.max(theory.u_plus(p.x[ranked], p.tau) / p.x[ranked]))
    n = sum(p.sizes)
    return (n + p.dim) * condition + n * p.dim * (1.125 + p.tau) + 64 / np.sqrt(1 - p.tau_fraction)


EXAMPLES = (
    OrthogonalPoint(),
    OrthogonalPoint(plus=(0, 0, 0), minus=(0, 0, 0), spare=(1, 2, 3), free=2),  # Z = 0: the Hessian is -lambda I
    OrthogonalPoint(plus=(2, 1, 0), minus=(0, 0, 0), spare=(0, 2, 3), free=0),  # a local maximum, class 1 at rank N_1
    OrthogonalPoint(plus=(0, 0, 0), minus=(2, 2, 2), tau_fraction=0.999),
)

HESSIAN_SPECTRUM = Law(
    id="mcr2/hessian-spectrum",
    source=Source(DERIVED),
    statement="""
    At an orthogonal critical point with r_k = r_k^+ + r_k^- directions in class k, r = sum r_k, the d N eigenvalues of
    the Hessian of F are, in units of alpha (u, w: reduced squared singular values; h'' their scalar curvature),

        -tau                          (d-r) sum_k (N_k-r_k) times
        1/(1+u) - 1 - tau             N_k-r_k times for each direction u of a class other than k
        -(u+w)/((1+u)(1+w)) and 0     once per pair of directions of two different classes
        4 u h''(u)                    r_k^+(r_k^+ +1)/2 times at u_+ (negative), r_k^-(r_k^- +1)/2 at u_- (positive)
        0                             r_k^+-(r_k^+- -1)/2 each, 2 r_k^+ r_k^-, (d-r) r_k, r_k (N_k-r_k).

    Holds for every lambda below the spinodals of the classes with rank, beyond the interval of arXiv:2406.01909 too,
    and for r_k = N_k. With all ranks 0 it is -lambda I: Z = 0 is a strict local maximum for every lambda > 0.
    """,
    params=OrthogonalPoint,
    predict=predicted_spectrum,
    measure=dense_spectrum,
    claim=Equality(of="eigenvalues", rounding=spectrum_units, scale=1.0, resolve=1e-6),
    controls={
        "a point 1e-3 away": but(measure=partial(dense_spectrum, shake=1e-3)),
        "regulariser without 1/2": but(measure=partial(dense_spectrum, weight=2.0)),
        "branches exchanged": but(measure=partial(dense_spectrum, swap=True)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=5, values=8),
)

SADDLE_INDEX = Law(
    id="mcr2/saddle-index",
    source=Source(DERIVED),
    statement="""
    At an orthogonal critical point the number of directions of positive curvature is sum_k r_k^-(r_k^- +1)/2, and the
    nullity is the dimension of the manifold that rotations of the features and of each class's samples sweep from it;
    with all directions on the upper branch, d r - r(r+1)/2 + sum_k (r_k N_k - r_k^2), so that local maxima are
    Morse-Bott. Counted with threshold 1e-8 alpha, for lambda not within .1 % of a spinodal.
    """,
    params=OrthogonalPoint,
    predict=predicted_counts,
    measure=dense_spectrum,
    claim=Classification(of="counts", joint=True),
    controls={
        "a point 1e-3 away": but(measure=partial(dense_spectrum, shake=1e-3)),
        "branches exchanged": but(measure=partial(dense_spectrum, swap=True)),
        "one direction per lower root": but(predict=lambda p: np.array([sum(p.minus), *predicted_counts(p)[1:]])),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=8, values=10),
)
