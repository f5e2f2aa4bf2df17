"""All critical points: those of a census by least squares are fusion frames, and fusion frames are critical."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Annotated, Self, get_args

import numpy as np
from pydantic import model_validator

from lab.claims import Classification, Equality
from lab.errors import OutOfDomain
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, MaxLen, MinLen, Params
from lab.streams import Stream
from lab.systems.mcr2 import dynamics, theory
from lab.systems.mcr2.laws.escape import CriticalPoint, assemble

DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"

KERNEL = 1e-6  # reduced eigenvalues below are 0; branches lie above tau x, ten times that on the domains below
ZERO = 1e-10  # curvatures below, in units of alpha, are 0


class Census(Params):
    """Least squares on grad F = 0 from `starts` Gaussian features, each class of a random size in each coordinate.

    lambda is `fraction` of the smallest lambda_c(x_k); beyond 1 larger classes have no orthogonal critical points.
    """

    sizes: Annotated[tuple[Annotated[int, Ge(1), Le(4)], ...], MinLen(2), MaxLen(4)] = (2, 2, 2)
    dim: Annotated[int, Ge(1), Le(3)] = 2
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    fraction: Annotated[float, Ge(0.1), Le(1.5), LogScale()] = 0.3
    starts: Annotated[int, Ge(1)] = 60

    @model_validator(mode="after")
    def _small(self) -> Self:
        if sum(self.sizes) * self.dim > 27:
            raise ValueError(
                f"N dim={sum(self.sizes) * self.dim} exceeds 27, the largest dense census; lower sizes or dim"
            )
        return self

    @property
    def x(self) -> np.ndarray:
        return np.array(self.sizes) / sum(self.sizes)

    @property
    def alpha(self) -> float:
        return theory.gram_scale(sum(self.sizes), self.dim, eps=self.eps)

    @property
    def tau(self) -> float:
        return self.fraction * float(np.min(theory.spinodal(self.x)))


def critical_points(p: Census, stream: Stream, *, shake: float = 0.0) -> dict[str, np.ndarray]:
    """One slot per start: where it converged, the point Y = sqrt(alpha) Z, its index and smallest nonzero curvature.

    Curvatures are in units of alpha, zero up to 1e-10. Points with one between 1e-10 and 1e-6 count as not found: near
    a degenerate critical point the gradient is cubic and a curvature quadratic in the distance, so that least squares
    ends at distances of 1e-4, where neither counts of curvatures nor ranks of commutators are safe. `shake` then moves
    every point by this relative size (0 in the laws).
    """
    return dict(_census(p, tuple(map(int, stream.words)), int(stream.replicate), shake))


@lru_cache(maxsize=512)  # predictions and several measurements look at the same points
def _census(p: Census, words: tuple[int, ...], replicate: int, shake: float) -> dict[str, np.ndarray]:
    rng = Stream.bound(np.array(words, dtype=np.uint32), replicate).numpy("starts")
    n, lam = sum(p.sizes), p.tau * p.alpha
    low, high = np.log(0.1 * p.tau), np.log(2 / p.tau)  # branches lie between tau x and 1/tau
    reach = np.exp(rng.uniform(low, high, (p.starts, len(p.sizes), p.dim))).repeat(p.sizes, axis=1)
    starts = np.sqrt(reach / (p.alpha * n)) * rng.standard_normal((p.starts, n, p.dim))
    Z, residual, start, curvature = _converged(p, starts, np.arange(p.starts), lam)
    size = np.abs(curvature)
    clear = ~np.any((size > ZERO) & (size < 1e-6), axis=1)
    keep, Z = start[clear], Z[clear]
    noise = rng.standard_normal(Z.shape)
    Z = Z + shake * noise * (np.linalg.norm(Z, axis=(1, 2)) / np.linalg.norm(noise, axis=(1, 2)))[:, None, None]
    out = {
        "found": np.zeros(p.starts, dtype=bool), "Y": np.zeros((p.starts, n, p.dim)), "gap": np.ones(p.starts),
        "index": np.zeros(p.starts, dtype=int), "residual": np.zeros(p.starts),
    }  # fmt: skip
    out["found"][keep], out["Y"][keep] = True, np.sqrt(p.alpha) * Z
    out["index"][keep] = np.sum(curvature[clear] > ZERO, axis=1)
    out["gap"][keep] = np.min(np.where(size[clear] > ZERO, size[clear], np.inf), axis=1)
    out["residual"][keep] = residual[clear]
    return out


def _converged(p: Census, starts: np.ndarray, number: np.ndarray, lam: float):
    """Points, residuals, numbers of their starts, curvatures in units of alpha."""
    found = dynamics.critical_points(starts, p.sizes, eps=p.eps, lam=lam)
    curvature = dynamics.symmetric_eigen(dynamics.hessian(found.Z, p.sizes, eps=p.eps, lam=lam))[0] / p.alpha
    return found.Z, found.residual, number[found.start], curvature


# ---------------------------------------------------------------------- a point and its frames


def reduced_spectrum(p: Census, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(u, theta, W): nonzero reduced eigenvalues of the whole, the fraction read off each, their eigenvectors."""
    singular, rows = np.linalg.svd(Y, full_matrices=False)[1:]
    u = singular**2
    u, W = u[u > KERNEL], rows[u > KERNEL].T
    return u, np.atleast_1d(theory.effective_fraction(1 + u, p.tau)), W


def frame_defect(p: Census, Y: np.ndarray) -> float:
    r"""How far classes are from ``B_k = C_k P_k``: the largest ``||B_k^2 - C_k B_k|| / ||C_k||^2``.

    B_k is the reduced Gram matrix of class k in the eigenbasis of the whole and ``C_k = diag(x_k u_j/theta_j)``. Zero
    iff B_k commutes with C_k (hence with the whole, u/theta being increasing in u) and has only the eigenvalues C_k
    and 0; the frame identity ``sum_k x_k P_k = theta_j`` is then the sum of the B_k.
    """
    u, theta, W = reduced_spectrum(p, Y)
    worst = 0.0
    for x, block in zip(p.x, np.split(Y, np.cumsum(p.sizes)[:-1]), strict=True):
        if u.size:
            B, C = (block @ W).T @ (block @ W), x * u / theta
            worst = max(worst, float(np.linalg.norm(B @ B - C[:, None] * B) / np.max(C) ** 2))
    return worst


@measurement
def census(p: Census, data, stream):
    """F at the points of the census and their defect as frames, with the index of the Hessian; padded to all starts.

    `judged` leaves out Z = 0 and empty slots; `spread` is the rank of the classes together minus that of the whole,
    0 iff classes do not overlap.
    """
    Y, lam = data["Y"], p.tau * p.alpha
    value = coding_rate.regularised_rate_reduction(Y / np.sqrt(p.alpha), p.sizes, eps=p.eps, lam=lam)
    defect = np.array([frame_defect(p, one) for one in Y])
    rank = np.array([_rank(one) for one in Y])
    ranks = np.array([[_rank(block) for block in np.split(one, np.cumsum(p.sizes)[:-1])] for one in Y])
    return {
        "point": np.stack([value, defect], axis=1), "judged": data["found"] & (rank > 0), "found": data["found"],
        "index": data["index"], "maximum": data["index"] == 0, "spread": ranks.sum(1) - rank, "value": value,
    }  # fmt: skip


def _rank(Y: np.ndarray) -> int:
    return int(np.sum(np.linalg.svd(Y, compute_uv=False) ** 2 > KERNEL))


def _each(p: Census, data, function, otherwise) -> np.ndarray:
    """`function` at each point found, `otherwise` in the empty slots."""
    return np.array([function(p, Y) if found else otherwise for Y, found in zip(data["Y"], data["found"], strict=True)])


def _value(p: Census, Y: np.ndarray) -> float:
    u, theta, _ = reduced_spectrum(p, Y)
    return float(np.sum(theory.direction_value(u, theta, p.tau)))


def _own_fraction(p: Census, Y: np.ndarray) -> float:
    """The value formula with the fraction of the class that has most of each direction, in place of theta."""
    u, _, W = reduced_spectrum(p, Y)
    energy = [np.sum((block @ W) ** 2, axis=0) for block in np.split(Y, np.cumsum(p.sizes)[:-1])]
    return float(np.sum(theory.direction_value(u, p.x[np.argmax(energy, axis=0)], p.tau)))


def frame_values(p: Census, data) -> np.ndarray:
    return np.stack([_each(p, data, _value, 0.0), np.zeros(p.starts)], axis=1)


def own_fraction_values(p: Census, data) -> np.ndarray:
    return np.stack([_each(p, data, _own_fraction, 0.0), np.zeros(p.starts)], axis=1)


def point_error(p: Census, data) -> np.ndarray:
    """a point is off by delta = (residual + rounding of the gradient)/gap; h(u; theta(u)) moves by
    |dh/dtheta theta'(u)| 2 sqrt(u) delta, the defect by (6 |Y| + v'(u) 2 sqrt(u)) delta/|v|, v = u/theta; in the
    rounding of F, one log-determinant of the whole and one per class"""
    machine = float(np.finfo(float).eps)
    out = np.zeros((p.starts, 2))
    for i in np.flatnonzero(data["found"]):
        u, theta, _ = reduced_spectrum(p, data["Y"][i])
        if u.size == 0:
            continue
        tau, v, norm = p.tau, u / theta, np.sqrt(np.sum(u))
        condition = (sum(p.sizes) + p.dim) * (1 + np.max(v))
        delta = (data["residual"][i] / machine + condition * norm) / data["gap"][i]
        room, total = 1 - tau * (1 + u), u + tau * (1 + u)
        theta_slope = ((room - tau * u) * total - u * room * (1 + tau)) / total**2
        v_slope = ((1 + tau) * room + tau * total) / room**2
        value_slope = 0.5 * (np.log1p(v) - v / (1 + v))
        moved = np.sum(np.abs(value_slope * theta_slope) * 2 * np.sqrt(u))
        out[i, 0] = moved * delta + (1 + len(p.sizes)) * theory.rate_rounding(p.dim, float(np.sum(v)))
        share = p.x.min() * np.max(v)
        out[i, 1] = (6 * norm + np.max(v_slope * 2 * np.sqrt(u))) * delta / share + condition
    return out


def nats_and_one(p: Census, data) -> np.ndarray:
    """Values relative to the largest direction at hand (at least a hundredth of a nat), defects to one."""
    scale = max(0.01, float(np.max(np.abs(_each(p, data, _value, 0.0)), initial=0.0)))
    return np.broadcast_to([scale, 1.0], (p.starts, 2))


CRITICAL_POINTS = Law(
    id="mcr2/fusion-frame-critical-points",
    source=Source(DERIVED),
    statement="""
    Every critical point of F, for any lambda > 0: the feature space splits into eigenspaces E_j of the Gram matrix of
    all samples (eigenvalues t_j) and a kernel, with orthogonal projections P_kj on subspaces of E_j such that

        sum_k x_k P_kj = theta_j I,   alpha t_j = u_+-(theta_j, tau),   Gram of class k = sum_j (x_k t_j/theta_j) P_kj,

    a weighted tight fusion frame: overlapping classes act as one class of effective fraction theta_j. Its value is
    F = sum_j dim(E_j) h(alpha t_j; theta_j, tau). The fraction is read off each eigenvalue mu = 1 + alpha t:
    theta = (mu-1)(1-tau mu)/(mu-1+tau mu).

    Measured on a census by least squares from random starts: F against the value formula, and how far the class Gram
    matrices are from such projections (0). Why it holds: stationarity makes range Z_k invariant under the Gram matrix
    of the whole, and the Gram matrix of class k a function of it there; summing over k gives the identity.
    """,
    params=Census,
    situation=critical_points,
    predict=frame_values,
    measure=census,
    claim=Equality(of="point", given="judged", rounding=point_error, scale=nats_and_one),
    controls={
        "points that are not critical": but(situation=partial(critical_points, shake=1e-3)),
        "x_k in place of theta": but(predict=own_fraction_values),
    },
    examples=(Census(), Census(sizes=(3, 4, 2), dim=2, fraction=0.2)),
    draws=Draws(shapes=6, values=1),
)


# ---------------------------------------------------------------------- how stable they are


def _is_maximum(p: Census, Y: np.ndarray) -> bool:
    return _orthogonal(p, Y) and _upper(p, Y)


def _orthogonal(p: Census, Y: np.ndarray) -> bool:
    cross = Y @ Y.T
    label = np.repeat(np.arange(len(p.sizes)), p.sizes)
    between = np.where(label[:, None] != label, np.abs(cross), 0.0)
    return bool(np.max(between) <= KERNEL * max(1.0, np.max(np.abs(cross))))


def _upper(p: Census, Y: np.ndarray) -> bool:
    u, theta, _ = reduced_spectrum(p, Y)
    return bool(np.all(u > np.sqrt(theta)))


def predicted_maxima(p: Census, data) -> np.ndarray:
    return _each(p, data, _is_maximum, True)


def _index(p: Census, Y: np.ndarray) -> int:
    """Index from the frames of the point; -1 where it is no fusion frame."""
    try:
        spaces = theory.read_fusion_frame(Y / np.sqrt(p.alpha), p.sizes, eps=p.eps, lam=p.tau * p.alpha)
        return theory.fusion_frame_index(spaces, p.x, p.dim, tau=p.tau)
    except OutOfDomain:
        return -1


def _orthogonal_index(p: Census, Y: np.ndarray) -> int:
    """Every eigenspace as if one class had it alone: sum of m(m+1)/2 over those on the lower branch."""
    u, theta, _ = reduced_spectrum(p, Y)
    low = np.round(u[u < np.sqrt(theta)], 6)
    counts = np.unique(low, return_counts=True)[1]
    return int(np.sum(counts * (counts + 1) // 2))


LOCAL_MAXIMA = Law(
    id="mcr2/fusion-frame-local-maxima",
    source=Source("arXiv:2406.01909", "Theorems 1 and 2, on all critical points of mcr2/fusion-frame-critical-points"),
    statement="""
    Among all critical points of F (lambda not exactly lambda_c(theta) of one of them) the local maxima are those whose
    classes are mutually orthogonal with every eigenvalue on the upper branch, alpha t_j > sqrt(theta_j). Measured: no
    direction of positive curvature in the dense Hessian, on the points of a census by least squares.
    """,
    params=Census,
    situation=critical_points,
    predict=predicted_maxima,
    measure=census,
    claim=Classification(of="maximum", given="judged"),
    controls={
        "overlap ignored": but(predict=lambda p, data: _each(p, data, _upper, True)),
        "branch ignored": but(predict=lambda p, data: _each(p, data, _orthogonal, True)),
    },
    examples=CRITICAL_POINTS.examples,
    draws=CRITICAL_POINTS.draws,
)

CRITICAL_POINT_INDEX = Law(
    id="mcr2/aligned-critical-points",
    source=Source(DERIVED),
    statement="""
    Index (number of directions of positive curvature of F) of every critical point. Eigenspaces E_j of equal eigenvalue
    are joined first; n_j = sum_k m_kj, n2_j = sum_k m_kj(m_kj+1)/2 with m_kj the rank of P_kj, m_j = dim E_j,
    r = sum_j m_j, and q_j the dimension of the symmetric matrices on E_j that commute with all P_kj:

        index = sum_j [n2_j - q_j [upper branch] + (n_j - m_j)(d - r)] + sum_{j<j'} (n_g - m_g) m_other,

    g the one of j, j' with the larger eigenvalue. With one class in each E_j: sum_k r_k^-(r_k^- + 1)/2.
    """,
    params=Census,
    situation=critical_points,
    predict=lambda p, data: _each(p, data, _index, 0),
    measure=census,
    claim=Classification(of="index", given="judged"),
    controls={"overlap ignored": but(predict=lambda p, data: _each(p, data, _orthogonal_index, 0))},
    examples=CRITICAL_POINTS.examples,
    draws=CRITICAL_POINTS.draws,
)


# ---------------------------------------------------------------------- frames built on purpose


@measurement
def built_gradient(p: CriticalPoint, stream, *, turn: float = 0.0, own_fraction: bool = False):
    """Norm of grad F, over sqrt(alpha), at ``Z_k = sum_j sqrt(x_k t_j/theta_j) V_kj B_kj^T W_j^T``, random V and W.

    `turn` rotates the first class by this angle in two of the coordinates; `own_fraction` writes x_k for theta_1.
    """
    Z, lam = assemble(p, stream)
    if own_fraction:
        Z = Z * np.sqrt(p.theta[0] / np.repeat(np.array(p.sizes) / sum(p.sizes), p.sizes))[:, None]
    if turn and p.dim > 1:
        Z[: p.sizes[0], :2] @= np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    slope = coding_rate.regularised_rate_reduction_gradient(Z, p.sizes, eps=p.eps, lam=lam)
    return {"gradient": float(np.linalg.norm(slope)) / np.sqrt(p.alpha)}


def _reduced_values(p: CriticalPoint) -> np.ndarray:
    """alpha t_j of each eigenspace, repeated by its dimension."""
    tau = p.lam / p.alpha
    roots = [
        (theory.u_plus if s.sign == "+" else theory.u_minus)(t, tau) for s, t in zip(p.spaces, p.theta, strict=True)
    ]
    return np.repeat(roots, [space.dim for space in p.spaces])


def gradient_rounding(p: CriticalPoint) -> float:
    """gradients Z(M^-1 - A_k - tau) in units of sqrt(alpha): products and inverses of matrices of size N + d and
    condition 1 + u/theta, times the norm of sqrt(alpha) Z; roots off by 64/sqrt(1 - tau/tau_c)"""
    u = _reduced_values(p)
    condition = 1 + float(np.max(u) / np.min(p.theta))
    return ((sum(p.sizes) + p.dim) * condition + 64 / np.sqrt(1 - p.tau_fraction)) * float(np.sqrt(np.sum(u)))


def penalty_gradient(p: CriticalPoint) -> float:
    """The gradient of the penalty alone, which the rates must balance."""
    return p.lam / p.alpha * float(np.sqrt(np.sum(_reduced_values(p))))


FRAMES_ARE_CRITICAL = Law(
    id="mcr2/fusion-frames-are-critical",
    source=Source(DERIVED),
    statement="""
    Conversely every weighted tight fusion frame gives a critical point: with sum_k x_k P_kj = theta_j I on orthogonal
    spaces E_j and alpha t_j = u_+-(theta_j, tau), grad F = 0 at Z_k = sum_j sqrt(x_k t_j/theta_j) V_kj B_kj^T W_j^T
    (B_kj a basis of P_kj, V_kj and W_j with orthonormal columns). Tried: classes on one space; three lines at 120
    degrees; lines that close the 3:4:5 triangle at double angles; four lines in a plane; the lines and the planes of a
    simplex in three dimensions; each alone or beside an eigenspace of other classes.
    """,
    params=CriticalPoint,
    predict=lambda p: 0.0,
    measure=built_gradient,
    claim=Equality(of="gradient", rounding=gradient_rounding, scale=penalty_gradient),
    controls={
        "a line turned by a degree": but(measure=partial(built_gradient, turn=np.pi / 180)),
        "x_k in place of theta": but(measure=partial(built_gradient, own_fraction=True)),
    },
    examples=tuple(CriticalPoint(frame=frame) for frame in get_args(CriticalPoint.model_fields["frame"].annotation)),
    draws=Draws(shapes=8, values=6),
)
