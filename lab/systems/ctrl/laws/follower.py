"""The decoder's best responses: distance 0 for every encoder, an inert loop, and decoders too weak to have one."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np

from lab.claims import Equality
from lab.data.game_subspaces import correlated_subspaces
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models import closed_loops
from lab.params import Ge, Gt, Le, LogScale, Lt, MaxLen, MinLen, Params
from lab.systems.ctrl import theory
from lab.systems.ctrl.laws.multiple_subspaces import DERIVED, PPC22


class Encoders(Params):
    """A Gaussian encoder (d_z, d_x) of any rank, on samples of correlated subspaces with noise."""

    class_sizes: Annotated[tuple[Annotated[int, Ge(4), Le(40)], ...], MinLen(1), MaxLen(3)] = (20, 30)
    rank: Annotated[int, Ge(1), Le(3)] = 2
    d_x: Annotated[int, Ge(3), Le(12)] = 8
    d_z: Annotated[int, Ge(1), Le(14)] = 5
    nu: Annotated[float, Ge(0.0), Le(1.0)] = 0.0
    eps: Annotated[float, Ge(0.2), Le(2.0), LogScale()] = 0.7

    @property
    def beta(self) -> float:
        return self.d_z / self.eps**2


def game(p: Encoders, stream) -> dict[str, np.ndarray]:
    """Encoder F, class moments, shares, and the condition numbers that rounding depends on."""
    rng, ranks = stream.numpy("game"), [p.rank] * len(p.class_sizes)
    data = correlated_subspaces(rng, ns=p.class_sizes, d_x=p.d_x, ds=ranks, alpha=0.5, nu=p.nu)
    moments, fractions = closed_loops.class_moments(data.Z, p.class_sizes)
    F = rng.standard_normal((p.d_z, p.d_x)) / np.sqrt(p.d_x)
    seen = np.linalg.svd(F @ data.Z.T, compute_uv=False)
    seen = seen[seen > 1e-9 * seen[0]]
    values = np.linalg.svd(F, compute_uv=False)
    energy = np.max(np.linalg.eigvalsh(closed_loops.image(F, moments)))
    conditions = [values[0] / values[-1], seen[0] / seen[-1], p.beta * energy]
    return {"F": F, "moments": moments, "fractions": fractions, "conditions": np.array(conditions)}


@measurement
def responses(p: Encoders, data, stream, *, cap: float = 0.0):
    """Loop distances with the canonical decoder, with F^+ and with F^+ plus what F does not see, and the norm of the
    gradient of their sum in F; `cap` limits the decoders' operator norm to that share of 1/sigma_max(F)."""
    F, moments = data["F"], data["moments"]
    inverse = closed_loops.pinv_decoder(F)
    unseen = (np.eye(p.d_x) - inverse @ F) @ stream.numpy("unseen").standard_normal((p.d_x, p.d_z))
    decoders = [closed_loops.canonical_decoder(F, closed_loops.pooled(moments, data["fractions"])), inverse,
                inverse + unseen]  # fmt: skip
    if cap:
        limit = cap / np.linalg.norm(F, 2)
        decoders = [G * min(1.0, limit / np.linalg.norm(G, 2)) for G in decoders]
    slopes = [closed_loops.loop_slopes(F, G, moments, p.beta) for G in decoders]
    return {"distance": np.array([s.value for s in slopes]),
            "gradient": np.array([np.linalg.norm(s.encoder) for s in slopes])}  # fmt: skip


def features_error(data) -> float:
    """relative error of FGFX, in epsilons: the products of pseudo-inverses with what they invert, and the null part"""
    whole, seen, _ = data["conditions"]
    return 50 * max(whole, seen) ** 2


def distance_rounding(p, data) -> float:
    """a distance is of second order in the error of the features: (beta |C_z| e)²/8 for each of d_z directions and
    classes, e the relative error of FGFX; e is a number of epsilons, so one of the two is the unit"""
    error = data["conditions"][2] * features_error(data)
    return len(p.class_sizes) * p.d_z * error**2 / 8 * np.finfo(float).eps


RESPONSES = Law(
    id="ctrl/follower-best-response",
    source=Source(PPC22, "best responses of the decoder; set and certificate derived here"),
    statement="""
    For every encoder F, whatever its rank, an unconstrained decoder reaches sum_j dist(Z_j, Zhat_j) = 0: with the
    canonical decoder X (FX)^+, with F^+, and with F^+ + N for every N with F N = 0. So the sum of the loop distances is
    the follower's gap: a certificate for nothing. Judged are the three distances.
    """,
    params=Encoders,
    situation=game,
    predict=lambda p, data: 0.0,
    measure=responses,
    claim=Equality(of="distance", rounding=distance_rounding, scale=1.0, resolve=1e-6),
    controls={"decoder too weak to invert": but(measure=partial(responses, cap=0.99))},
    examples=(Encoders(), Encoders(class_sizes=(30,), d_z=9, d_x=6), Encoders(nu=0.5, d_z=3)),
    draws=Draws(shapes=4, values=4),
)  # fmt: skip


def gradient_rounding(p, data) -> float:
    """the gradient is of first order in the error of the features: 2 (beta/4) |C_z| (beta |C_z| e)/|F| for each of d_z
    directions and classes; |C_z|/|F| is at most |C_z|^(1/2) |X|, of order (|C_z| d_x)^(1/2)"""
    energy, F = data["conditions"][2], data["F"]
    norm = np.linalg.norm(data["moments"], 2, axis=(-2, -1)).max() * np.linalg.norm(F, 2)
    return len(p.class_sizes) * p.d_z * p.beta * norm * (1 + energy) * features_error(data)


INERT_LOOP = Law(
    id="ctrl/follower-inert-loop",
    source=Source(DERIVED),
    statement="""
    At a best response of the decoder the gradient of sum_j dist(Z_j, Zhat_j) in the encoder vanishes: distances are
    stationary where they are zero. So GDmax with an exact follower is projected ascent of Delta R, and the loop term
    in the encoder's utility does nothing.
    """,
    params=Encoders,
    situation=game,
    predict=lambda p, data: 0.0,
    measure=responses,
    claim=Equality(of="gradient", rounding=gradient_rounding, scale=1.0, resolve=1e-4),
    controls={"decoder too weak to invert": but(measure=partial(responses, cap=0.99))},
    examples=(Encoders(), Encoders(class_sizes=(30,), d_z=9, d_x=6), Encoders(nu=0.5, d_z=3)),
    draws=Draws(shapes=4, values=4),
)


# ---------------------------------------------------------------------- decoders of bounded norm


class Capped(Params):
    """One class in the plane: spectra of the data (1, x) and of the encoder (1, f), turned by `angle` to each other."""

    x: Annotated[float, Gt(0.05), Lt(1.0), LogScale()] = 0.5
    f: Annotated[float, Gt(0.05), Lt(1.0), LogScale()] = 0.1
    angle: Annotated[float, Ge(0.0), Le(1.5)] = 0.6

    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """Root of the data's moment and the encoder, (2, 2) each."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.diag([1.0, self.x]), np.diag([1.0, self.f]) @ np.array([[c, s], [-s, c]])


@measurement
def least_norm(p: Capped, stream, *, proper: bool = False):
    """Least operator norm of decoders at distance zero, over all of them: G = F^-1 C^(1/2) Q C^(-1/2), C the moment
    of the features and Q a rotation or reflection of the plane, its angle scanned and refined. `proper`: G = F^-1."""
    from scipy.optimize import minimize_scalar

    root, F = p.matrices()
    values, vectors = np.linalg.eigh(F @ root @ root @ F.T)
    half = vectors * np.sqrt(values) @ vectors.T
    left, right = np.linalg.solve(F, half), np.linalg.inv(half)
    if proper:
        return np.linalg.norm(np.linalg.inv(F), 2)

    def norm(t, flip):
        c, s = np.cos(t), np.sin(t)
        Q = np.stack([np.stack([c, -flip * s], -1), np.stack([s, flip * c], -1)], -2)
        return np.linalg.norm(left @ Q @ right, 2, axis=(-2, -1))

    angles, best = np.linspace(0, 2 * np.pi, 721), np.inf
    for flip in (1.0, -1.0):
        at = angles[np.argmin(norm(angles, flip))]
        width = angles[1]
        found = minimize_scalar(lambda t, flip=flip: float(norm(t, flip)), bounds=(at - width, at + width),
                                method="bounded", options={"xatol": 1e-12})  # fmt: skip
        best = min(best, found.fun)
    return best


def scan_error(p) -> float:
    """golden sections end 1e-8 from the minimum, where the norm has a kink at most as steep as the product of the norms
    of the two factors, |F^-1 C^(1/2)| |C^(-1/2)| <= 1/(x f)"""
    return 1e-8 / (p.x * p.f)


def threshold(p: Capped) -> float:
    root, F = p.matrices()
    spectra = (np.linalg.svd(M, compute_uv=False) for M in (root, F @ root))
    return float(theory.least_decoder_norm(*spectra))


CAPPED = Law(
    id="ctrl/follower-capped-threshold",
    source=Source(DERIVED),
    statement="""
    One class, F square and invertible, decoders of operator norm at most c: the follower's gap is zero iff
    c >= max_i sigma_i(X)/sigma_i(FX), which is at most 1/sigma_min(F) and usually less: the moments may be matched by a
    decoder that does not invert F. Measured is the least norm over all decoders at distance zero, in the plane.
    """,
    params=Capped,
    predict=threshold,
    measure=least_norm,
    claim=Equality(finite_size=scan_error, resolve=1e-3),
    controls={"the inverse alone": but(measure=partial(least_norm, proper=True))},
    examples=(Capped(), Capped(angle=0.0), Capped(x=0.3, f=0.6, angle=1.2)),
    draws=Draws(shapes=1, values=8),
)
