"""What a start decides about the end of ascent: directions that must die, and where those that survive end up."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab import streams
from lab.claims import Bound, Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params, Traced
from lab.systems.mcr2 import theory

DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"

Size = Annotated[int, Ge(1), Le(12)]


# ---------------------------------------------------------------------- one step, every singular value


class Overlapping(Params):
    """Classes of any shape, right singular vectors from orthogonal (`overlap` 0) to independent (1), and one step.

    Reduced squared singular values are log-normal around `u` with width `spread`; the step is `step` times
    1/(alpha + lambda), lambda is `tau` alpha.
    """

    sizes: Annotated[tuple[Size, ...], MinLen(2), MaxLen(4)] = (4, 6, 5)
    dim: Annotated[int, Ge(1), Le(8)] = 6
    rank: Annotated[int, Ge(1), Le(8)] = 2
    overlap: Annotated[float, Ge(0.0), Le(1.0)] = 0.5
    u: Annotated[float, Ge(1e-2), Le(100.0), LogScale()] = 1.0
    spread: Annotated[float, Ge(0.0), Le(2.0)] = 1.0
    tau: Annotated[float, Ge(1e-3), Le(10.0), LogScale()] = 0.1
    step: Annotated[float, Ge(0.05), Le(1.0)] = 1.0
    eps: Annotated[float, Ge(0.05), Le(5.0), LogScale()] = 0.5

    @model_validator(mode="after")
    def _rank_fits(self) -> Self:
        if self.rank * len(self.sizes) > self.dim or self.rank > min(self.sizes):
            raise ValueError(
                f"rank={self.rank} in each of {len(self.sizes)} classes exceeds dim={self.dim} together, or the "
                f"smallest class, {min(self.sizes)}; lower rank or raise dim and sizes"
            )
        return self

    @property
    def alpha(self) -> float:
        return theory.gram_scale(sum(self.sizes), self.dim, eps=self.eps)

    @property
    def x(self) -> np.ndarray:
        """Class fractions."""
        return np.array(self.sizes) / sum(self.sizes)


def tilted_classes(p: Overlapping, stream) -> dict[str, np.ndarray]:
    """Features (N, d), sorted by class, and the reduced squared singular values of each class, (K, r), descending."""
    rng = stream.numpy("features")
    right, blocks, spectra = haar(rng, p.dim), [], []
    for k, size in enumerate(p.sizes):
        own, other = right[:, k * p.rank : (k + 1) * p.rank], haar(rng, p.dim, p.rank)
        frame = np.linalg.qr((1 - p.overlap) * own + p.overlap * other)[0]
        u = np.sort(p.u * np.exp(p.spread * rng.standard_normal(p.rank)))[::-1]
        blocks.append(haar(rng, size, p.rank) * np.sqrt(u / p.alpha) @ frame.T)
        spectra.append(u)
    return {"Z": np.concatenate(blocks), "u": np.stack(spectra)}


@measurement
def spectra_after_step(p: Overlapping, data, stream, *, weight: float = 1.0):
    """Reduced squared singular values of each class, (K, r), after one ascent step on the whole.

    `weight` multiplies lambda in the objective (1 in the law).
    """
    lam = weight * p.tau * p.alpha
    slope = coding_rate.regularised_rate_reduction_gradient(data["Z"], p.sizes, eps=p.eps, lam=lam)
    Z = data["Z"] + p.step / (p.alpha + p.tau * p.alpha) * slope
    parts = np.split(Z, np.cumsum(p.sizes)[:-1])
    return {"u": np.stack([p.alpha * np.linalg.svd(part, compute_uv=False)[: p.rank] ** 2 for part in parts])}


def alone(p: Overlapping, data, *, x=None) -> np.ndarray:
    """What each singular value becomes without the other classes."""
    x = p.x if x is None else x
    return theory.growth_ceiling(data["u"], x[:, None], p.tau, p.step / (1 + p.tau))


def step_rounding(p: Overlapping, data) -> np.ndarray:
    """a step moves Z by 1/alpha times a gradient with rounding m sqrt(k) alpha ||Z|| (m = N + d, k = 1 + u/x the
    largest condition), which singular values inherit: u changes by 2 sqrt(u) times that and its square, where u after
    the step is at most (1 + 2 s h')^2 <= 4 times u before"""
    m, top = sum(p.sizes) + p.dim, data["u"].max()
    error = m * np.sqrt(1 + top / p.x.min()) * np.sqrt(data["u"].sum())
    return 2 * np.sqrt(4 * data["u"]) * error + np.finfo(float).eps * error**2


OVERLAP_NEVER_HELPS = Law(
    id="mcr2/overlap-never-helps",
    source=Source(DERIVED),
    statement="""
    One step of gradient ascent, of length at most 1/(alpha + lambda), from any features at all: the j-th largest
    reduced squared singular value u_j = alpha sigma_j(Z_k)^2 of class k becomes at most

        u_j (1 + 2 s h'(u_j; x_k, tau))^2,    s = alpha step,

    what it would become if the class were orthogonal to all others. Under gradient flow u_j' <= 4 alpha u_j h'(u_j).
    Attained by orthogonal classes. Other classes can only take a direction away (mcr2/small-starts-collapse).
    """,
    params=Overlapping,
    situation=tilted_classes,
    predict=alone,
    measure=spectra_after_step,
    claim=Bound(of="u", side="upper", rounding=step_rounding, resolve=1e-6),
    controls={
        "half the regulariser": but(measure=partial(spectra_after_step, weight=0.5)),
        "classes of equal size": but(predict=lambda p, data: alone(p, data, x=np.full(len(p.sizes), p.x.max()))),
    },
    examples=(Overlapping(overlap=0.0), Overlapping(), Overlapping(overlap=0.0, u=100.0, tau=1e-3)),
    draws=Draws(shapes=8, values=8),
)


# ---------------------------------------------------------------------- whole runs


class GaussianStart(Params):
    """K classes of sizes N_k = round(smallest growth^k), k = 0 ... K-1, and a start of ascent.

    The entries of the start have variance `energy`/(alpha N): `energy` is the mean reduced squared singular value of
    all samples together, of which class k has the share x_k. With `orthogonal` 1 the classes have mutually orthogonal
    directions in turn, and reduced squared singular values ``energy x_k 1.02^i``. lambda is `fraction` of the smallest
    lambda_c(x_k), that of the largest class.
    """

    classes: Annotated[int, Ge(2), Le(10)] = 3
    dim: Annotated[int, Ge(1), Le(64)] = 6
    smallest: Annotated[int, Ge(1), Le(1000), LogScale(), Traced()] = 4
    growth: Annotated[float, Ge(1.0), Le(3.0)] = 1.0
    orthogonal: Annotated[int, Ge(0), Le(1), Traced()] = 0
    fraction: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    energy: Annotated[float, Ge(0.01), Le(1000.0), LogScale()] = 1.0
    steps: Annotated[int, Ge(100)] = 1000

    @model_validator(mode="after")
    def _not_at_a_spinodal(self) -> Self:
        near = np.abs(self.tau / theory.spinodal(self.x) - 1) < 1e-3
        if near.any():
            raise ValueError(
                f"fraction={self.fraction} puts lambda within .1 % of the spinodal of class {int(np.argmax(near))}, "
                "where its branches merge and ascent takes forever; change fraction"
            )
        return self

    @property
    def sizes(self) -> list:
        """N_k."""
        return [(self.smallest * self.growth**k + 0.5) // 1 for k in range(self.classes)]

    @property
    def x(self) -> np.ndarray:
        """Class fractions."""
        return np.array(self.sizes) / sum(self.sizes)

    @property
    def tau(self) -> float:
        return self.fraction * float(np.min(theory.spinodal(self.x)))


TRIES = 6  # of the rejection sampler; each fails with probability below .05 (Marsaglia and Tsang 2000)


def wishart_factors(stream, sizes, dim: int):
    """Upper triangular (K, d, d) with the law of the triangular factors of Gaussian rows (N_k, d) (Bartlett).

    Traced sizes; rows beyond N_k are zero. Ascent from any features depends on these factors only. Squared diagonal
    entries are chi-square with N_k - i degrees of freedom, off but for a probability of 1e-8.
    """
    import jax
    import jax.numpy as jnp

    classes, row = sizes.shape[0], jnp.arange(dim)
    # one draw for everything: the compilation of a draw costs more than that of the ascent
    uniform = streams.uniform(stream.jax("start"), (dim + 2 * TRIES + 1, classes, dim), minval=1e-300)
    normal = jnp.sqrt(2.0) * jax.scipy.special.erfinv(2 * uniform[: dim + TRIES] - 1)
    degrees = jnp.maximum(sizes[:, None] - row, 1.0)
    shape = degrees / 2 + 1 - 1 / 3  # gamma(a) = gamma(a + 1) U^(1/a), and a + 1 - 1/3 >= 7/6
    trial = (1 + normal[dim:] / jnp.sqrt(9 * shape)) ** 3
    positive = jnp.maximum(trial, 1e-300)
    level = 0.5 * normal[dim:] ** 2 + shape * (1 - positive + jnp.log(positive))
    accepted = (trial > 0) & (jnp.log(uniform[dim + TRIES : -1]) < level)
    first = jnp.argmax(accepted, axis=0)
    gamma = shape * jnp.take_along_axis(positive, first[None], axis=0)[0] * uniform[-1] ** (2 / degrees)
    above = jnp.triu(jnp.moveaxis(normal[:dim], 0, 1), 1)
    return (above + jnp.sqrt(2 * gamma)[..., None] * jnp.eye(dim)) * (row < sizes[:, None])[..., None]


SMALL_GRADIENT = 1e-8  # of F by sqrt(alpha) Z: below it a run counts as converged


@measurement(runs="jax", paired=("energy", "fraction"))
def ends(p: GaussianStart, stream, *, weight: float = 1.0):
    """Ascent from one start: the spectrum of each class before and after, all in reduced units.

    `start`, `end`: reduced squared singular values (K, d), ascending. `ranks`: how many stayed. `weakest`: the value
    at the start of the r_k-th largest one, if r_k stayed. `levels`: least and largest of those that stayed, for each
    class, and F minus what the classes are worth alone. `weight` multiplies lambda (1 in the law).
    """
    import jax
    import jax.numpy as jnp

    from lab.systems.mcr2.ascent import Blocks

    sizes = jnp.stack([jnp.asarray(size, dtype=float) for size in p.sizes])
    x = sizes / jnp.sum(sizes)
    tau = weight * p.fraction * jnp.min((1 - jnp.sqrt(x)) / (1 + jnp.sqrt(x)))
    gaussian = jnp.sqrt(p.energy / jnp.sum(sizes)) * wishart_factors(stream, sizes, p.dim)
    turn = jnp.arange(p.dim)
    mine = (turn % p.classes == jnp.arange(p.classes)[:, None]) & (turn // p.classes < sizes[:, None])
    own = jnp.where(mine, jnp.sqrt(p.energy * x[:, None] * 1.02 ** (turn // p.classes)), 0.0)
    Y = jnp.where(p.orthogonal > 0, own[..., None] * jnp.eye(p.dim), gaussian)

    objective = Blocks(x, tau)
    step = jnp.minimum(1.0, 2 / (1 + 2 * tau))  # the longest that mcr2/small-starts-collapse allows, at most 1/alpha
    start = jnp.maximum(jnp.linalg.eigvalsh(jnp.swapaxes(Y, -1, -2) @ Y), 0.0)
    Y = jax.lax.fori_loop(0, p.steps, lambda _, V: V + step * objective.gradient(V), Y)
    value, gradient, end = objective.observe(Y)
    end = jnp.maximum(end, 0.0)

    stayed = end > 1e-4 * jnp.sqrt(x)[:, None]  # u_+ >= sqrt(x)
    ranks = jnp.sum(stayed, axis=1)
    weakest = jnp.take_along_axis(start, jnp.minimum(p.dim - ranks, p.dim - 1)[:, None], axis=1)[:, 0]
    least = jnp.where(ranks > 0, jnp.min(jnp.where(stayed, end, jnp.inf), axis=1), 0.0)
    largest = jnp.max(jnp.where(stayed, end, 0.0), axis=1)
    apart = 0.5 * jnp.sum(jnp.log1p(end) - x[:, None] * jnp.log1p(end / x[:, None]) - tau * end)
    converged = gradient <= SMALL_GRADIENT
    kept = converged & (ranks > 0)
    return {
        "weakest": jnp.where(ranks > 0, weakest, 0.0), "kept": kept, "ranks": ranks, "value": value,
        "levels": jnp.concatenate([least, largest, (value - apart)[None]]),
        "judged": jnp.concatenate([kept, kept, converged[None]]), "start": start, "end": end, "converged": converged,
    }  # fmt: skip


def boundary(p: GaussianStart) -> np.ndarray:
    """u_-(x_k, tau) of each class; beyond its spinodal no start survives, which here is a number above all starts."""
    return np.minimum(theory.survival_threshold(p.x, p.tau), 1e300)


def start_rounding(p: GaussianStart) -> float:
    """eigenvalues of a d x d Gram matrix: d times its norm, which is below 20 energy d (a sum of squares, of mean
    energy d in all classes together) but with probability e^-100"""
    return p.dim * 20 * p.energy * p.dim


def merge_points(p: GaussianStart) -> np.ndarray:
    """sqrt(x_k), the scale of reduced squared singular values that decide: u_- is below it."""
    return theory.merge_point(p.x)


def energies(**point) -> tuple[GaussianStart, ...]:
    return tuple(GaussianStart(energy=energy, **point) for energy in (0.1, 0.2, 0.4, 0.8, 3.0, 100.0))


EXAMPLES = (
    *energies(), *energies(growth=2.0), *energies(smallest=40, fraction=0.8), *energies(smallest=1, growth=3.0),
    *energies(growth=2.0, fraction=3.0),
    *(GaussianStart(orthogonal=1, growth=g, energy=e) for g in (1.0, 2.0) for e in (0.24, 0.26, 0.29, 0.31, 0.35)),
)  # fmt: skip

SMALL_STARTS_COLLAPSE = Law(
    id="mcr2/small-starts-collapse",
    source=Source(DERIVED),
    statement="""
    From any start, with classes at any angles, gradient flow (and ascent with steps up to 2/(alpha + 2 lambda)) leaves
    class k at most as many directions as it has singular values above the separatrix of one direction alone:

        rank Z_k(end) <= #{j : alpha sigma_j(Z_k(0))^2 > u_-(x_k, tau)}.

    So a start with alpha ||Z_k||_op^2 <= u_-(x_k, tau) for all k collapses to zero, and beyond its spinodal a class
    dies from every start. Measured: if r singular values of a class stayed, its r-th largest at the start; it must be
    above u_-. Attained by orthogonal classes (mcr2/basin-separatrix); overlap only takes away.
    """,
    params=GaussianStart,
    predict=boundary,
    measure=ends,
    claim=Bound(of="weakest", side="lower", given="kept", rounding=start_rounding, scale=merge_points, resolve=0.1),
    controls={
        "half the regulariser": but(measure=partial(ends, weight=0.5)),
        "sqrt x, where the branches merge": but(predict=merge_points),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)  # fmt: skip


# ---------------------------------------------------------------------- what survived


def upper_branch(p: GaussianStart, *, branch=theory.u_plus) -> np.ndarray:
    """u_+(x_k, tau), twice for each class (0 beyond its spinodal), and classes worth as much together as apart."""
    exists = theory.nonzero_branch_exists(p.x, p.tau)
    u = np.where(exists, branch(p.x, p.tau, where=exists), 0.0)
    return np.concatenate([u, u, [0.0]])


def smallest_gap(p: GaussianStart) -> float:
    """Smallest nonzero curvature, in units of alpha, at any maximum: tau, 4u|h''(u)|, (u+w)/((1+u)(1+w))."""
    exists = theory.nonzero_branch_exists(p.x, p.tau)
    x = p.x[exists]
    u = theory.u_plus(x, p.tau)
    pairs = (u[:, None] + u) / (1 + u[:, None]) / (1 + u)
    own = -4 * u * theory.direction_curvature(u, x)
    return float(np.min(np.concatenate([[p.tau], own, pairs.ravel()])))


def distance_to_branch(p: GaussianStart) -> np.ndarray:
    """near a maximum a gradient g leaves Y within 2g/gap of it (a factor 2 for the curvature along the way), so
    singular values within that, u within 2 sqrt(u) 2g/gap and its square, and F and the values of the classes within
    (9/8 + tau)(2g/gap)^2 each"""
    reach = 2 * SMALL_GRADIENT / smallest_gap(p)
    u = upper_branch(p)[:-1]
    return np.append(2 * np.sqrt(u) * reach + reach**2, (1 + p.classes) * (9 / 8 + p.tau) * reach**2)


def branch_rounding(p: GaussianStart) -> np.ndarray:
    """eigenvalues of Gram matrices of norm u: d u; Y itself is known to the rounding of its gradient, d (1 + u/x)
    times sqrt(u), over the gap; values: one log-determinant of the whole and two of each class"""
    u = upper_branch(p)[:-1]
    condition = 1 + u.max() / p.x.min()
    value = (1 + 2 * p.classes) * theory.rate_rounding(p.dim, p.dim * condition)
    return np.append(p.dim * u + 2 * np.sqrt(u) * p.dim * condition * np.sqrt(u.max()) / smallest_gap(p), value)


def branch_scale(p: GaussianStart) -> np.ndarray:
    """u_+, and for the difference of values a hundredth of a nat."""
    return np.maximum(upper_branch(p), 0.01)


SURVIVING_SPECTRUM = Law(
    id="mcr2/surviving-spectrum",
    source=Source(DERIVED),
    statement="""
    From almost every start (lambda not exactly a spinodal), for any number of classes: every singular value of class k
    that survives gradient ascent ends at u_+(x_k, tau), alpha sigma^2 = u_+, all the same; and the classes end mutually
    orthogonal: F of the whole is the sum of F of the classes alone. Hence the heights of mcr2/value-ladder. Judged are
    runs whose gradient vanished; how many survive is up to the start.
    """,
    params=GaussianStart,
    predict=upper_branch,
    measure=ends,
    claim=Equality(
        of="levels", given="judged", rounding=branch_rounding, finite_size=distance_to_branch, scale=branch_scale,
        resolve=1e-3,
    ),
    controls={
        "regulariser without 1/2": but(measure=partial(ends, weight=2.0)),
        "the lower branch": but(predict=partial(upper_branch, branch=theory.u_minus)),
    },
    examples=EXAMPLES,
    draws=Draws(shapes=0),
)  # fmt: skip
