"""Fusion frames built on purpose are critical points: aligned classes, polygons, simplices and their complements."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, get_args

import numpy as np

from lab.claims import Equality
from lab.data import fusion_frames as frames
from lab.data.subspaces import class_blocks, haar
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.objectives import coding_rate
from lab.params import Ge, Le, LogScale, Params
from lab.systems.mcr2 import theory

DERIVED = "derived for this laboratory; not found in arXiv:2406.01909"

Kind = Literal["aligned", "polygon", "3:4:5 polygon", "four lines", "simplex", "planes"]


class Frame(Params):
    """One fusion frame on `sign`, beside an aligned pair of classes or alone; class sizes are multiples of `copies`."""

    kind: Kind = "polygon"
    sign: Literal["+", "-"] = "+"
    pair: bool = False
    copies: Annotated[int, Ge(1), Le(4)] = 1
    free: Annotated[int, Ge(0), Le(4)] = 1
    eps: Annotated[float, Ge(0.1), Le(3.0), LogScale()] = 0.5
    tau_fraction: Annotated[float, Ge(0.01), Le(0.999)] = 0.5

    @property
    def sizes(self) -> tuple[int, ...]:
        classes = 4 if self.kind in ("four lines", "simplex", "planes") else 3
        base = (3, 4, 5) if self.kind == "3:4:5 polygon" else (3,) * classes
        return tuple(self.copies * size for size in base)

    @property
    def spaces(self) -> list[frames.Eigenspace]:
        K = len(self.sizes)
        members = range(K)
        one = {
            "aligned": lambda: frames.aligned_frame(K, [0, 1], 2, sign=self.sign),
            "polygon": lambda: frames.polygon_frame(self.sizes, members, sign=self.sign),
            "3:4:5 polygon": lambda: frames.polygon_frame(self.sizes, members, sign=self.sign),
            "four lines": lambda: frames.harmonic_frame(K, members, 2, sign=self.sign),
            "simplex": lambda: frames.harmonic_frame(K, members, 3, sign=self.sign),
            "planes": lambda: frames.complement(frames.harmonic_frame(K, members, 3, sign=self.sign)),
        }[self.kind]()
        return [one, frames.aligned_frame(K, [0, 2])] if self.pair else [one]

    @property
    def dim(self) -> int:
        return sum(space.dim for space in self.spaces) + self.free

    @property
    def alpha(self) -> float:
        return theory.gram_scale(sum(self.sizes), self.dim, eps=self.eps)

    @property
    def theta(self) -> np.ndarray:
        return np.array([space.effective_fraction(self.sizes) for space in self.spaces])

    @property
    def tau(self) -> float:
        return self.tau_fraction * float(np.min(theory.spinodal(self.theta)))

    @property
    def u(self) -> np.ndarray:
        """Reduced eigenvalue of each eigenspace."""
        pairs = zip(self.spaces, self.theta, strict=True)
        return np.array([(theory.u_plus if s.sign == "+" else theory.u_minus)(t, self.tau) for s, t in pairs])


@measurement
def built_gradient(p: Frame, stream, *, turn: float = 0.0, own_fraction: bool = False):
    """Norm of grad F, over sqrt(alpha), at ``Z_k = sum_j sqrt(x_k t_j/theta_j) V_kj B_kj^T W_j^T``, random V and W.

    `turn` tilts the first class by this angle out of its frame; `own_fraction` writes x_k for theta_j.
    """
    rng, x = stream.numpy("point"), np.array(p.sizes) / sum(p.sizes)
    starts = np.cumsum([0, *(space.dim for space in p.spaces)])
    W, ranks = haar(rng, p.dim), np.sum([space.ranks for space in p.spaces], axis=0)
    tilt = np.eye(p.dim)
    tilt[0, 0] = tilt[1, 1] = np.cos(turn)
    tilt[0, 1], tilt[1, 0] = -np.sin(turn), np.sin(turn)
    bases, samples, values = [], [], []
    for k, size in enumerate(p.sizes):
        columns, singular = [np.zeros((p.dim, 0))], []
        for start, space, theta, u in zip(starts, p.spaces, p.theta, p.u, strict=False):
            if (B := space.bases[k]) is not None:
                columns.append(W[:, start : start + space.dim] @ B)
                singular += [np.sqrt(u / p.alpha * (1 if own_fraction else x[k] / theta))] * B.shape[1]
        bases.append((W @ tilt @ W.T if k == 0 else np.eye(p.dim)) @ np.concatenate(columns, axis=1))
        samples.append(haar(rng, size, int(ranks[k])))
        values.append(np.array(singular))
    Z = class_blocks(bases, samples, values)
    slope = coding_rate.regularised_rate_reduction_gradient(Z, p.sizes, eps=p.eps, lam=p.tau * p.alpha)
    return {"gradient": float(np.linalg.norm(slope)) / np.sqrt(p.alpha)}


def gradient_rounding(p: Frame) -> float:
    """gradients Z(M^-1 - A_k - tau) in units of sqrt(alpha): products and inverses of matrices of size N + d and
    condition 1 + u/theta, times the norm of sqrt(alpha) Z; roots off by 64/sqrt(1 - tau/tau_c)"""
    condition = 1 + float(np.max(p.u / p.theta))
    norm = np.sqrt(sum(space.dim * u for space, u in zip(p.spaces, p.u, strict=True)))
    return ((sum(p.sizes) + p.dim) * condition + 64 / np.sqrt(1 - p.tau_fraction)) * norm


def penalty_gradient(p: Frame) -> float:
    """The gradient of the penalty alone, which the rates must balance."""
    return p.tau * float(np.sqrt(sum(space.dim * u for space, u in zip(p.spaces, p.u, strict=True))))


FRAMES_ARE_CRITICAL = Law(
    id="mcr2/fusion-frames-are-critical",
    source=Source(DERIVED),
    statement="""
    Conversely every weighted tight fusion frame gives a critical point: with sum_k x_k P_kj = theta_j I on orthogonal
    spaces E_j and alpha t_j = u_+-(theta_j, tau), grad F = 0 at Z_k = sum_j sqrt(x_k t_j/theta_j) V_kj B_kj^T W_j^T
    (B_kj a basis of P_kj, V_kj and W_j with orthonormal columns). Tried: classes on one plane; three lines at 120
    degrees; lines that close the 3:4:5 triangle at double angles; four lines in a plane; the lines and the planes of a
    simplex in three dimensions; each alone or beside an eigenspace that two of the classes share.
    """,
    params=Frame,
    predict=lambda p: 0.0,
    measure=built_gradient,
    claim=Equality(of="gradient", rounding=gradient_rounding, scale=penalty_gradient),
    controls={
        "a line turned by a degree": but(measure=partial(built_gradient, turn=np.pi / 180)),
        "x_k in place of theta": but(measure=partial(built_gradient, own_fraction=True)),
    },
    examples=tuple(Frame(kind=kind) for kind in get_args(Kind)),
    draws=Draws(shapes=8, values=6),
)
