"""Coding rates: identities between them, and the two ends between which rate reduction lies."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np

from lab.claims import Bound, Equality
from lab.data.subspaces import haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mcr2 import theory

Y20 = "arXiv:2006.08558"
DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"
MANY = Draws(shapes=8, values=8)


class Features(Params):
    """Random features of `n` samples in hard classes, none empty; ``alpha ||Z||^2 = energy``.

    Z is a product of Gaussian factors of inner size `inner`, so its rank is min(inner, n, dim).
    """

    dim: Annotated[int, Ge(1), Le(8)] = 4
    n: Annotated[int, Ge(4), Le(24)] = 12
    inner: Annotated[int, Ge(1), Le(8)] = 8
    classes: Annotated[int, Ge(1), Le(4)] = 3
    eps: Annotated[float, Ge(0.05), Le(5.0), LogScale()] = 0.5
    energy: Annotated[float, Ge(1e-2), Le(1e4), LogScale()] = 10.0

    @property
    def alpha(self) -> float:
        return self.dim / (self.n * self.eps**2)


class Weighted(Features):
    """Features with a membership: one-hot, soft, or the same for all samples (then all class moments coincide)."""

    membership: Literal["hard", "soft", "constant"] = "soft"


def weighted(p: Features, stream) -> dict[str, np.ndarray]:
    """Features, two memberships (n, K) of the same kind (hard unless `p` says otherwise), and a unit direction."""
    rng = stream.numpy("features")
    Z = rng.standard_normal((p.n, p.inner)) @ rng.standard_normal((p.inner, p.dim))
    Z *= np.sqrt(p.energy / p.alpha) / np.linalg.norm(Z)
    kind = getattr(p, "membership", "hard")
    found = []
    for _ in range(2):
        labels = rng.permutation(np.concatenate([np.arange(p.classes), rng.integers(p.classes, size=p.n - p.classes)]))
        soft = rng.dirichlet(np.ones(p.classes), size=1 if kind == "constant" else p.n) + np.zeros((p.n, 1))
        found.append(soft if kind in ("soft", "constant") else np.eye(p.classes)[labels])
    E = rng.standard_normal(Z.shape)
    return {"Z": Z, "weights": found[0], "other": found[1], "direction": E / np.linalg.norm(E)}


def class_scale(p: Features, weights: np.ndarray) -> np.ndarray:
    """``c/n_k = dim/(n_k eps^2)`` for each column of a membership."""
    return p.dim / (weights.sum(axis=-2) * p.eps**2)


def second_moments(Z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``Z^T diag(pi_k) Z`` as (..., K, d, d); analytic in both arguments (no conjugation)."""
    return Z.mT[..., None, :, :] @ (weights.mT[..., None] * Z[..., None, :, :])


def largest_energy(p: Features, data) -> float:
    """Largest ``(c/n_k) ||sqrt(pi_k) Z||^2`` of a class, at least that of the whole: a condition number minus one."""
    norms = np.sum(data["Z"] ** 2, axis=1)
    given = [data[name] for name in ("weights", "other") if name in data]
    return max(p.alpha * norms.sum(), *(float(np.max(class_scale(p, w) * (norms @ w))) for w in given))


def rate_units(p: Features, data) -> float:
    """a log-determinant of I + beta G, G of size m and energy E = beta tr G, by Cholesky: 50 m log(1+E) for the sum of
    logarithms, plus m (1+E) for the rounding of the entries of a matrix with condition number 1+E"""
    return theory.rate_rounding(p.n + p.dim, largest_energy(p, data))


# ---------------------------------------------------------------------- identities


def other_side(Z: np.ndarray, eps: float, *, rescale: bool = True) -> tuple[np.ndarray, float]:
    """Z with zero rows or columns until its other Gram matrix is the smaller one, and the eps that keeps alpha."""
    n, dim = Z.shape
    if n < dim:
        return np.pad(Z, ((0, dim - n), (0, 0))), eps * np.sqrt(n / dim) if rescale else eps
    return np.pad(Z, ((0, 0), (0, n + 1 - dim))), eps * np.sqrt((n + 1) / dim) if rescale else eps


@measurement
def rates(p: Features, data, stream, *, across: bool = False, rescale: bool = True):
    """R on both Gram sides and rotated; R_c of labels, of one-hot membership, and rotated within classes.

    `across` lets the rotation of the samples mix classes; ``rescale=False`` keeps eps while zero coordinates are added.
    """
    rng, Z = stream.numpy("rotations"), data["Z"]
    labels = np.argmax(data["weights"], axis=1)
    turn = haar(rng, p.n)
    if not across:
        turn = np.zeros((p.n, p.n))
        for k in range(p.classes):
            mine = np.flatnonzero(labels == k)
            turn[np.ix_(mine, mine)] = haar(rng, mine.size)
    turned = turn @ Z @ haar(rng, p.dim)
    padded, eps = other_side(Z, p.eps, rescale=rescale)
    whole = [coding_rate.coding_rate(Z, eps=p.eps), coding_rate.coding_rate(padded, eps=eps)]
    whole.append(coding_rate.coding_rate(turned, eps=p.eps))
    given = ((Z, labels), (Z, data["weights"]), (turned, labels))
    classwise = [coding_rate.class_coding_rate(rows, classes, eps=p.eps) for rows, classes in given]
    return {"rates": np.array([*whole, *classwise])}


def spectral_rates(p: Features, data, *, own: bool = True):
    """The same six numbers from singular values alone; ``own=False`` uses alpha for every class."""
    Z = data["Z"]
    whole = 0.5 * np.sum(np.log1p(p.alpha * np.linalg.svd(Z, compute_uv=False) ** 2))
    classwise = 0.0
    for mine in data["weights"].T > 0.5:
        scale = p.dim / (mine.sum() * p.eps**2) if own else p.alpha
        classwise += mine.mean() / 2 * np.sum(np.log1p(scale * np.linalg.svd(Z[mine], compute_uv=False) ** 2))
    return np.array([whole] * 3 + [classwise] * 3)


RATE_IDENTITIES = Law(
    id="mcr2/rate-identities",
    source=Source(Y20, "section 2, coding rate and its two Gram sides"),
    statement="""
    logdet(I_d + alpha Z^T Z) = logdet(I_N + alpha Z Z^T) = sum_i log(1 + alpha s_i^2), alpha = d/(N eps^2), samples in
    rows. R(W Z Q) = R(Z) for orthogonal W, Q; R_c is invariant under Q and under W that rotate within classes only.
    Natural logarithms; R = logdet/2; R_c weighs class k by N_k/N and uses alpha_k = d/(N_k eps^2).
    """,
    params=Features,
    situation=weighted,
    predict=spectral_rates,
    measure=rates,
    claim=Equality(of="rates", rounding=rate_units),
    controls={
        "rotation across classes": but(measure=partial(rates, across=True)),
        "eps kept while coordinates are added": but(measure=partial(rates, rescale=False)),
        "alpha for every class": but(predict=partial(spectral_rates, own=False)),
    },
    examples=(Features(), Features(n=4, dim=8), Features(inner=1, energy=1e4)),
    draws=MANY,
)


# ---------------------------------------------------------------------- bounds


def class_rates(p: Features, Z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``(1/2) logdet(I + (c/n_k) Z^T diag(pi_k) Z)`` of each class, without its weight n_k/N."""
    return coding_rate.coding_rate(np.sqrt(weights.T)[..., None] * Z, eps=p.eps * np.sqrt(weights.mean(axis=0)))


@measurement
def excesses(p: Weighted, data, stream, *, weighted: bool = True, centred: bool = False):
    """Delta R, and how far R_c of a mixture of two memberships exceeds the mixture of their R_c.

    ``weighted=False`` drops the weights n_k/N; `centred` centres the whole but not the classes.
    """
    Z, first, second = data["Z"], data["weights"], data["other"]
    t = stream.numpy("mixture").uniform(0.1, 0.9)
    classwise = partial(coding_rate.class_coding_rate, Z, eps=p.eps)
    reduction = coding_rate.rate_reduction(Z, first, eps=p.eps)
    if not weighted:
        reduction = coding_rate.coding_rate(Z, eps=p.eps) - class_rates(p, Z, first).sum()
    if centred:
        reduction = coding_rate.coding_rate(Z - Z.mean(axis=0), eps=p.eps) - classwise(first)
    mixed = classwise(t * first + (1 - t) * second) - t * classwise(first) - (1 - t) * classwise(second)
    return {"excess": np.array([reduction, mixed])}


def whole_rate(p: Features, data) -> float:
    return 0.5 * float(np.sum(np.log1p(p.alpha * np.linalg.svd(data["Z"], compute_uv=False) ** 2)))


NONNEGATIVITY = Law(
    id="mcr2/nonnegativity",
    source=Source(Y20, "rate reduction is nonnegative; equality and soft membership derived here"),
    statement="""
    Delta R(Z, Pi) >= 0 for every membership Pi (soft or hard), with equality iff all second moments
    Z^T diag(pi_k) Z/n_k of classes with n_k > 0 coincide; and R_c is concave in Pi (so Delta R is convex in it).
    Attained by a membership that is the same for all samples. Relative errors are relative to R.
    """,
    params=Weighted,
    situation=weighted,
    predict=lambda p: 0.0,
    measure=excesses,
    claim=Bound(of="excess", side="lower", rounding=rate_units, scale=whole_rate, resolve=1e-6),
    controls={
        "class rates without their weights": but(measure=partial(excesses, weighted=False)),
        "only the whole is centred": but(measure=partial(excesses, centred=True)),
    },
    examples=(Weighted(), Weighted(membership="constant"), Weighted(membership="hard", energy=1e-2)),
    draws=MANY,
)


class SameMoments(Params):
    """Three hard classes with the same second moment, of rank `rank`, class k with ``rank + spare[k]`` samples."""

    dim: Annotated[int, Ge(1), Le(8)] = 4
    rank: Annotated[int, Ge(1), Le(6)] = 3
    spare: tuple[Annotated[int, Ge(0), Le(8)], Annotated[int, Ge(0), Le(8)], Annotated[int, Ge(0), Le(8)]] = (0, 2, 5)
    eps: Annotated[float, Ge(0.05), Le(5.0), LogScale()] = 0.5
    energy: Annotated[float, Ge(1e-2), Le(1e4), LogScale()] = 10.0

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self.rank + extra for extra in self.spare)


@measurement
def zero_reduction(p: SameMoments, stream, *, stretch: float = 1.0, own: bool = True):
    """Delta R relative to R for Z_k = sqrt(N_k) V_k S, V_k orthonormal; `stretch` multiplies one direction of class 1.

    ``own=False`` uses alpha of the whole for every class.
    """
    rng, n = stream.numpy("moments"), sum(p.sizes)
    common = rng.standard_normal((p.rank, p.dim))
    common *= np.sqrt(p.energy / np.sum(common**2) * p.eps**2 / p.dim)
    scales = [np.r_[stretch if k == 0 else 1.0, np.ones(p.rank - 1)] for k in range(3)]
    blocks = [np.sqrt(s) * haar(rng, s, p.rank) * scale @ common for s, scale in zip(p.sizes, scales, strict=True)]
    Z = np.concatenate(blocks)
    whole = coding_rate.coding_rate(Z, eps=p.eps)
    classwise = coding_rate.class_coding_rate(Z, p.sizes, eps=p.eps)
    if not own:
        one = [coding_rate.coding_rate(block, eps=p.eps * np.sqrt(n / len(block))) for block in blocks]
        classwise = np.dot(p.sizes, one) / n
    return {"share": (whole - classwise) / whole}


def zero_units(p: SameMoments) -> float:
    """rounding of two log-determinants of size n + d (energies of the classes and of the whole agree here), relative to
    R >= log(1 + energy)/2"""
    return 4 * theory.rate_rounding(sum(p.sizes) + p.dim, p.energy) / np.log1p(p.energy)


ZERO_RATE_REDUCTION = Law(
    id="mcr2/zero-rate-reduction",
    source=Source(DERIVED),
    statement="""
    Hard classes whose second moments Z_k^T Z_k/N_k coincide have rate reduction exactly 0, whatever their sizes
    (the equality case of mcr2/nonnegativity). Compared is Delta R/R.
    """,
    params=SameMoments,
    predict=lambda p: 0.0,
    measure=zero_reduction,
    claim=Equality(of="share", rounding=zero_units, scale=1.0, resolve=1e-6),
    controls={
        "alpha for every class": but(measure=partial(zero_reduction, own=False)),
        "one direction longer by 1 %": but(measure=partial(zero_reduction, stretch=1.01)),
    },
    examples=(SameMoments(), SameMoments(rank=1, dim=1)),
    draws=MANY,
)


class Separated(Features):
    """Features with hard or soft membership; or hard classes on mutually orthogonal subspaces."""

    membership: Literal["hard", "soft", "orthogonal"] = "orthogonal"


def separated(p: Separated, stream) -> dict[str, np.ndarray]:
    """Features and membership; if orthogonal, class k keeps the coordinates k, k + K, ... of a random basis."""
    found = weighted(p, stream)
    Z = found["Z"]
    if p.membership == "orthogonal":
        mine = np.arange(p.dim) % p.classes == np.argmax(found["weights"], axis=1)[:, None]
        Z = Z * mine @ haar(stream.numpy("basis"), p.dim).T
    return {"Z": Z, "weights": found["weights"]}


@measurement
def reduction(p: Separated, data, stream):
    """Delta R."""
    return {"reduction": coding_rate.rate_reduction(data["Z"], data["weights"], eps=p.eps)}


def spectral_bound(p: Separated, data, *, weighted: bool = True) -> float:
    """The bound from the class spectra; ``weighted=False`` drops the weights n_k/N of the class terms."""
    u = p.alpha * np.maximum(np.linalg.eigvalsh(second_moments(data["Z"], data["weights"])), 0)
    x = data["weights"].mean(axis=0)
    if weighted:
        return theory.orthogonal_upper_bound(list(u), x)
    return 0.5 * float(np.sum(np.log1p(u) - np.log1p(u / x[:, None])))


ORTHOGONAL_UPPER_BOUND = Law(
    id="mcr2/orthogonal-upper-bound",
    source=Source(Y20, "inequality behind Theorem 1 (there in singular values); soft membership derived here"),
    statement="""
    Delta R <= sum_k [ (1/2) logdet(I + alpha G_k) - (n_k/2N) logdet(I + (c/n_k) G_k) ], G_k = Z^T diag(pi_k) Z,
    with equality iff the ranges of the G_k are mutually orthogonal. Relative errors are relative to R.
    """,
    params=Separated,
    situation=separated,
    predict=spectral_bound,
    measure=reduction,
    claim=Bound(of="reduction", side="upper", rounding=rate_units, scale=whole_rate, resolve=1e-6),
    controls={
        "class terms without their weights": but(predict=partial(spectral_bound, weighted=False)),
        "equality for overlapping classes": but(claim=Equality(of="reduction", rounding=rate_units, scale=whole_rate)),
    },
    examples=(Separated(), Separated(membership="soft"), Separated(dim=8, classes=2, energy=1e4)),
    draws=MANY,
)


class TwoLines(Params):
    """Two classes on a line each, reduced squared singular values a and b, directions of inner product rho."""

    dim: Annotated[int, Ge(2), Le(8)] = 3
    first: Annotated[int, Ge(1), Le(12)] = 3
    second: Annotated[int, Ge(1), Le(12)] = 5
    a: Annotated[float, Ge(1e-2), Le(1e3), LogScale()] = 2.0
    b: Annotated[float, Ge(1e-2), Le(1e3), LogScale()] = 5.0
    rho: Annotated[float, Ge(0.0), Le(1.0)] = 0.3
    eps: Annotated[float, Ge(0.05), Le(5.0), LogScale()] = 0.5

    @property
    def upper(self) -> float:
        """Rates of the two lines coded alone."""
        return 0.5 * float(np.log1p(self.a) + np.log1p(self.b))


@measurement
def gap(p: TwoLines, stream):
    """Distance of Delta R from the orthogonal upper bound, as rates of the classes coded alone on all N samples."""
    rng, n = stream.numpy("lines"), p.first + p.second
    frame = haar(rng, p.dim, 2)
    lines = [frame[:, 0], p.rho * frame[:, 0] + np.sqrt(1 - p.rho**2) * frame[:, 1]]
    scale = np.sqrt(n * p.eps**2 / p.dim)
    alone = np.zeros((2, n, p.dim))
    alone[0, : p.first] = np.sqrt(p.a) * scale * np.outer(haar(rng, p.first, 1), lines[0])
    alone[1, p.first :] = np.sqrt(p.b) * scale * np.outer(haar(rng, p.second, 1), lines[1])
    sizes = (p.first, p.second)
    together = alone.sum(axis=0)
    bound = coding_rate.coding_rate(alone, eps=p.eps).sum() - coding_rate.class_coding_rate(together, sizes, eps=p.eps)
    return {"gap": bound - coding_rate.rate_reduction(together, sizes, eps=p.eps)}


def predicted_gap(p: TwoLines) -> float:
    return float(theory.two_lines_gap(p.a, p.b, p.rho))


def gap_units(p: TwoLines) -> float:
    """three log-determinants of size n + d, the largest energy that of a class alone, a n/N_1 or b n/N_2"""
    n = p.first + p.second
    return 3 * theory.rate_rounding(n + p.dim, n * max(p.a / p.first, p.b / p.second) + p.a + p.b)


TWO_LINES_GAP = Law(
    id="mcr2/two-lines-gap",
    source=Source(DERIVED),
    statement="""
    Two rank-one classes of reduced squared singular values a, b whose directions have inner product rho miss the
    orthogonal upper bound by exactly -(1/2) log(1 - a b rho^2/((1+a)(1+b))): zero iff orthogonal, and quadratic in rho.
    Relative errors are relative to the rates of the two lines alone.
    """,
    params=TwoLines,
    predict=predicted_gap,
    measure=gap,
    claim=Equality(of="gap", rounding=gap_units, scale=lambda p: p.upper, resolve=1e-6),
    controls={
        "overlap ignored": but(predict=lambda p: 0.0),
        "sine for cosine": but(predict=lambda p: float(theory.two_lines_gap(p.a, p.b, np.sqrt(1 - p.rho**2)))),
    },
    examples=(TwoLines(), TwoLines(rho=0.0), TwoLines(rho=1.0)),
    draws=MANY,
)
