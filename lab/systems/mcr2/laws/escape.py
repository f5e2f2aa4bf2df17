"""Every critical point is a local maximum or a strict saddle, with explicit ways out, except exactly at a spinodal."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Classification, Equality
from lab.data.fusion_frames import Eigenspace, aligned_frame, complement, harmonic_frame, polygon_frame
from lab.data.subspaces import class_blocks, haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mcr2 import dynamics, theory
from lab.systems.mcr2.laws.critical_points import bisected_roots, orbit_dimension

W24 = "arXiv:2406.01909"
DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"

MAXIMUM, NEITHER, SADDLE, UNDETERMINED = 1, 0, -1, 2


class CriticalPoint(Params):
    """A critical point of one or two eigenspaces, random in position.

    The first eigenspace, on branch `first`:

    * orthogonal: class 1 alone, of dimension `dims`;
    * aligned: classes 1 and 2 share all of a space of dimension `dims`;
    * three lines, 3:4:5 lines, four lines: one line per class, in a plane;
    * simplex lines, simplex planes: four lines (their complements) in three dimensions;
    * shared class: classes 2 and 3 share a space of dimension `dims`; class 2 is in the second eigenspace too.

    The second, on branch `second` (or absent), is one line of class 2 (orthogonal), of class 3 (aligned), and of
    classes 1 and 2 together (else). `free` dimensions are left, class sizes are multiplied by `scale`. The penalty is
    `tau_fraction` of the smallest spinodal among the effective fractions present.
    """

    frame: Literal[
        "orthogonal", "aligned", "shared class", "three lines", "3:4:5 lines", "four lines", "simplex lines",
        "simplex planes",
    ] = "three lines"
    first: Literal["+", "-"] = "+"
    second: Literal["none", "+", "-"] = "none"
    dims: Annotated[int, Ge(1), Le(3)] = 1
    free: Annotated[int, Ge(0), Le(3)] = 1
    scale: Annotated[int, Ge(1), Le(2)] = 1
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    tau_fraction: Annotated[float, Ge(0.02), Le(0.98)] = 0.5

    @model_validator(mode="after")
    def _samples(self) -> Self:
        ranks = np.sum([space.ranks for space in self.spaces], axis=0)
        if np.any(ranks > self.sizes):
            raise ValueError(f"ranks {ranks.tolist()} exceed class sizes {self.sizes}; raise scale or lower dims")
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        base = {"four lines": (2,) * 4, "simplex lines": (2,) * 4, "simplex planes": (3,) * 4, "three lines": (3,) * 3}
        return tuple(self.scale * size for size in base.get(self.frame, (3, 4, 5)))

    @cached_property
    def spaces(self) -> list[Eigenspace]:
        K, frame = len(self.sizes), self.frame
        if frame in ("three lines", "3:4:5 lines"):
            one = polygon_frame(self.sizes, range(3), sign=self.first)
        elif frame == "four lines":
            one = harmonic_frame(4, range(4), 2, sign=self.first)
        elif frame.startswith("simplex"):
            one = harmonic_frame(4, range(4), 3, sign=self.first)
            one = complement(one) if frame == "simplex planes" else one
        else:
            members = {"orthogonal": [0], "aligned": [0, 1], "shared class": [1, 2]}[frame]
            one = aligned_frame(K, members, self.dims, sign=self.first)
        if self.second == "none":
            return [one]
        members = {"orthogonal": [1], "aligned": [2]}.get(frame, [0, 1])
        return [one, aligned_frame(K, members, sign=self.second)]

    @property
    def dim(self) -> int:
        return sum(space.dim for space in self.spaces) + self.free

    @cached_property
    def theta(self) -> np.ndarray:
        """Effective fraction of each eigenspace."""
        return np.array([space.effective_fraction(self.sizes) for space in self.spaces])

    @property
    def alpha(self) -> float:
        return self.dim / (sum(self.sizes) * self.eps**2)

    @property
    def lam(self) -> float:
        return self.tau_fraction * self.alpha * float(np.min(theory.spinodal(self.theta)))


def assemble(p: CriticalPoint, stream, *, spinodal: bool = False, shake: float = 0.0) -> tuple[np.ndarray, float]:
    """Z and lambda; `spinodal` puts lambda exactly on the smallest spinodal, `shake` perturbs Z by this relative size.

    ``Z_k = sum_j sqrt(x_k t_j/theta_j) V_kj B_kj^T W_j^T`` with Haar frames V and W; the roots alpha t are found by
    bisection, or are sqrt(theta) where two merge.
    """
    rng, spaces, theta = stream.numpy("point"), p.spaces, p.theta
    largest, tau = np.max(theta), p.lam / p.alpha
    if spinodal:
        tau = (1 - np.sqrt(largest)) / (1 + np.sqrt(largest))
    u = np.where([space.sign == "+" for space in spaces], *bisected_roots(theta, tau))
    if spinodal:
        u = np.where(theta == largest, np.sqrt(theta), u)
    share = u / p.alpha / theta / sum(p.sizes)
    W = np.split(haar(rng, p.dim, p.dim - p.free), np.cumsum([space.dim for space in spaces])[:-1], axis=1)
    ranks = np.array([space.ranks for space in spaces])
    bases, samples, values = [], [], []
    for k, size in enumerate(p.sizes):
        parts = [Wj @ space.bases[k] for Wj, space in zip(W, spaces, strict=True) if space.bases[k] is not None]
        bases.append(np.concatenate([np.zeros((p.dim, 0)), *parts], axis=1))
        samples.append(haar(rng, size, ranks[:, k].sum()))
        values.append(np.sqrt(np.repeat(size * share, ranks[:, k])))
    Z = class_blocks(bases, samples, values)
    noise = stream.numpy("shake").standard_normal(Z.shape)
    return Z + shake * np.linalg.norm(Z) / np.linalg.norm(noise) * noise, tau * p.alpha


@measurement
def nature(p: CriticalPoint, stream, *, spinodal: bool = False, shake: float = 0.0):
    """1 local maximum, -1 strict saddle, 0 neither, 2 undetermined; from the dense Hessian and values of F alone.

    A saddle has an eigenvalue above 1e-8 alpha. A maximum has none, and no more zero eigenvalues than its orbit under
    rotations has dimensions (Morse-Bott: then F falls in every other direction). Neither: no positive curvature, yet F
    rises when one class is made 1 % smaller or larger.
    """
    Z, lam = assemble(p, stream, spinodal=spinodal, shake=shake)
    values = np.linalg.eigvalsh(dynamics.hessian(Z, p.sizes, eps=p.eps, lam=lam)) / p.alpha
    label = UNDETERMINED
    if values[-1] > 1e-8:
        label = SADDLE
    elif np.sum(values >= -1e-8) == orbit_dimension(Z, p.sizes):
        label = MAXIMUM
    else:
        own = np.repeat(np.eye(len(p.sizes)), p.sizes, axis=1)[..., None]
        near = Z * np.concatenate([1 - 0.01 * own, np.ones((1, *own.shape[1:])), 1 + 0.01 * own])
        worth = coding_rate.regularised_rate_reduction(near, p.sizes, eps=p.eps, lam=lam)
        if worth.max() > worth[len(p.sizes)] + 1e-12 * np.abs(worth).max():
            label = NEITHER
    return {"nature": label, "top": values[-1]}


def is_orthogonal(p: CriticalPoint) -> bool:
    """Whether no two classes meet in an eigenspace."""
    return all(space.ranks.sum() == space.dim for space in p.spaces)


def predicted_nature(p: CriticalPoint) -> int:
    upper = all(space.sign == "+" for space in p.spaces)
    return MAXIMUM if is_orthogonal(p) and upper else SADDLE


def predicted_by_branch(p: CriticalPoint) -> int:
    return MAXIMUM if all(space.sign == "+" for space in p.spaces) else SADDLE


def printed_rank_range(p: CriticalPoint) -> int:
    ranks = np.sum([space.ranks for space in p.spaces], axis=0)
    below = np.all(ranks < np.minimum(p.sizes, p.dim))
    return predicted_nature(p) if below else SADDLE


ORTHOGONAL = CriticalPoint(frame="orthogonal", dims=2, second="+", free=2)
MAXIMA = tuple(  # random points are mostly saddles; at .98 lambda is beyond the published interval, dims=3 is rank N_1
    ORTHOGONAL.replace(dims=dims, second=second, free=free, tau_fraction=fraction)
    for dims in (1, 2, 3) for second in ("none", "+") for free in (0, 2) for fraction in (0.02, 0.98)
)  # fmt: skip

STRICT_SADDLE = Law(
    id="mcr2/strict-saddle",
    source=Source(W24, "Theorems 1 and 2; the list of overlapping critical points and all lambda > 0 derived here"),
    statement="""
    A critical point Z != 0 of F is a local maximum iff its classes are mutually orthogonal and every direction is on
    the upper branch; every other one has a direction of curvature > 0. Ranks are r_k in [0, min(N_k, d)], the right end
    included; lambda may be any number that is not the spinodal lambda_c(theta) of an effective fraction theta of Z,
    whether or not it lies in the published interval (0, min_k lambda_c(x_k)). Overlapping classes act as one class of
    fraction theta: sum_k x_k P_k = theta I on their common eigenspace.
    """,
    params=CriticalPoint,
    predict=predicted_nature,
    measure=nature,
    claim=Classification(of="nature"),
    controls={
        "lambda on a spinodal": but(measure=partial(nature, spinodal=True)),
        "a point 1e-3 away": but(measure=partial(nature, shake=1e-3)),
        "overlap ignored": but(predict=predicted_by_branch),
    },
    examples=(
        *MAXIMA,
        ORTHOGONAL.replace(first="-"),
        CriticalPoint(frame="3:4:5 lines", free=0),
    ),
    draws=Draws(shapes=9, values=8),
)

INTERVAL_PRINTED = STRICT_SADDLE.printed(
    "mcr2/landscape-interval-printed",
    at=(ORTHOGONAL, ORTHOGONAL.replace(second="none", dims=1)),
    source=Source(W24, "Theorems 1 and 2, interval for lambda closed at its right end"),
    statement="""
    As printed, for lambda up to and including the spinodal: every critical point is a local maximum or a strict saddle.
    False at the end itself: there orthogonal points with u = sqrt x are critical, F falls strictly as they grow through
    it (so they are no maxima), and no curvature is positive (so no strict saddles). The interval must be open on the
    right. Measured exactly at lambda = lambda_c of the largest fraction present. Corrected: mcr2/strict-saddle.
    """,
    measure=partial(nature, spinodal=True),
)

RANK_RANGE_PRINTED = STRICT_SADDLE.printed(
    "mcr2/rank-range-printed",
    at=(CriticalPoint(frame="orthogonal", dims=3, second="+"), CriticalPoint(frame="orthogonal", dims=2, free=0)),
    source=Source(W24, "Theorem 1, local maximisers: r_k in [0, min(N_k, d))"),
    statement="""
    As printed, a local maximiser has ranks r_k in [0, min(N_k, d)), the right end excluded, and every other critical
    point is a strict saddle. False: orthogonal points with r_k = N_k or r_k = d on the upper branch are local maxima
    too (the published global part uses such ranks itself). Corrected: mcr2/strict-saddle.
    """,
    predict=printed_rank_range,
)


class Saddle(CriticalPoint):
    """As `CriticalPoint`, without the local maxima."""

    @model_validator(mode="after")
    def _no_maximum(self) -> Self:
        if predicted_nature(self) == MAXIMUM:
            raise ValueError('orthogonal classes on upper branches are a local maximum; choose first="-" or an overlap')
        return self


def critical_features(p: Saddle, stream) -> dict[str, np.ndarray]:
    """The critical point."""
    return {"Z": assemble(p, stream)[0]}


@measurement
def quotients(p: Saddle, data, stream, *, weight: float = 1.0, alone: bool = False):
    """Rayleigh quotient D^2 F[E, E] of every explicit escape direction E, in units of alpha, steepest first.

    `weight` multiplies lambda; `alone` keeps only the rows of E that belong to the class which moves most.
    """
    Z, found = data["Z"], []
    for escape in theory.escape_directions(Z, p.sizes, eps=p.eps, lam=p.lam):
        E = escape.direction
        if alone:
            blocks = np.split(E, np.cumsum(p.sizes)[:-1])
            most = int(np.argmax([np.linalg.norm(block) for block in blocks]))
            E = np.concatenate([block * (k == most) for k, block in enumerate(blocks)])
            E = E / np.linalg.norm(E)
        image = coding_rate.hessian_vector_product(Z, E, p.sizes, eps=p.eps, lam=weight * p.lam)
        found.append(np.sum(E * image) / p.alpha)
    return {"quotients": np.array(found)}


def predicted_quotients(p: Saddle, data) -> np.ndarray:
    found = theory.escape_directions(data["Z"], p.sizes, eps=p.eps, lam=p.lam)
    return np.array([escape.curvature for escape in found]) / p.alpha


def quotient_units(p: Saddle, data) -> float:
    """in units of alpha: (N + d) k for a Hessian-vector product along a unit direction, k = 1 + u/theta the largest
    condition number; u and theta read off Z carry (N + d), amplified by 1/sqrt(1 - tau/tau_c) in the lower root"""
    singular = p.alpha * np.linalg.norm(data["Z"], ord=2) ** 2
    return (sum(p.sizes) + p.dim) * (1 + singular / np.min(p.theta) + 8 / np.sqrt(1 - p.tau_fraction))


ESCAPE_CURVATURE = Law(
    id="mcr2/escape-curvature",
    source=Source(DERIVED),
    statement="""
    Rayleigh quotients of explicit unit directions at every critical point that is no local maximum; an eigenspace has
    effective fraction theta and reduced eigenvalue u, alpha is the unit:

        scaling (lower branch)               E ~ Z on the eigenspace               4 u_- h''(u_-; theta)
        parting (classes overlap)            into the kernel (w = 0) or a          1/(1+w) - 1/(1+u)
                                             direction of smaller eigenvalue w
        rebalancing (classes overlap)        trade of energy at fixed Z^T Z        2 s u theta/(theta+u)^2

    all positive; s in (0, 1] is the share of the direction that changes energies, 1 if two classes share a direction.
    """,
    params=Saddle,
    situation=critical_features,
    predict=predicted_quotients,
    measure=quotients,
    claim=Equality(of="quotients", rounding=quotient_units),
    controls={
        "regulariser without 1/2": but(measure=partial(quotients, weight=2.0)),
        "one class moves alone": but(measure=partial(quotients, alone=True)),
    },
    examples=(
        Saddle(frame="aligned", dims=2),
        Saddle(frame="orthogonal", first="-", second="+"),
        Saddle(frame="simplex planes", free=0),
        Saddle(frame="shared class", second="-"),
    ),
    draws=Draws(shapes=6, values=8),
)
