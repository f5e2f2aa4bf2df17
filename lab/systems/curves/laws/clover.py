"""Curves that wind close to themselves: the modes that tell the windings apart."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality, Limit
from lab.data.curves import orbit_angle
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.models.angle_kernels import skeleton
from lab.params import Ge, Le, LogScale, Params
from lab.systems.curves.laws.separation import MEAN, PLACES
from lab.systems.curves.laws.skeleton import DERIVED
from lab.systems.curves.theory.clover import strand_angles, winding_eigenvalue
from lab.systems.curves.theory.separation import curvature_term, depth_terms, separation_function


class Windings(Params):
    """m windings, and a mode that tells them apart."""

    windings: Annotated[int, Ge(2), Le(12)] = 8
    mode: Annotated[int, Ge(1), Le(11)] = 1

    @model_validator(mode="after")
    def _between(self) -> Self:
        if self.mode >= self.windings:
            raise ValueError(f"mode={self.mode}: only modes below windings={self.windings} tell them apart; lower it")
        return self


class Clover(Windings):
    """m windings whose distance over the cusp's width, ``z = L Delta_1/(3 pi)``, stays the same from L = 30 to 480."""

    z: Annotated[float, Ge(0.03), Le(0.6), LogScale()] = 0.5

    @property
    def depths(self) -> np.ndarray:
        return 30 * 2 ** np.arange(5)

    @property
    def squares(self) -> np.ndarray:
        """c_1² at each depth: at most .1."""
        half = np.sin(3 * np.pi * self.z / self.depths / 2) / np.sin(np.pi / self.windings)
        return half**2


def winding_modes(modes: Sequence[int], windings: int, square: float, depths: np.ndarray) -> np.ndarray:
    """Eigenvalues of the skeleton on the orbit curve of frequencies 1 and m, shape (modes, depths), by quadrature over
    the halves of strands, dense where the curve comes nearest to itself."""
    half = np.pi / windings
    place = np.arange(windings)[:, None]  # halves of strands up to tau = pi: the rest is their mirror image
    tau = half * (place + np.where(place % 2 == 0, PLACES, 1 - PLACES))
    values = skeleton(orbit_angle({1: square, windings: 1 - square}, tau), depths.tolist())
    return np.stack([np.mean((values * np.cos(mode * tau)) @ MEAN, axis=-1) for mode in modes])


@measurement
def near_windings(p: Clover, stream, *, apart: float = 1.0):
    """The eigenvalue at all depths; the windings `apart` times as far from each other."""
    found = []
    for c2, depth in zip(p.squares * apart**2, p.depths, strict=True):
        found.append(winding_modes((p.mode,), p.windings, float(c2), np.array([depth]))[0, 0])
    return {"depth": p.depths, "eigenvalue": np.array(found)}


def strands(p: Clover, *, nearest: bool = False) -> np.ndarray:
    """The sum over strands at each depth, the next term included; with the nearest strand alone, if asked."""
    settings = zip(p.squares, p.depths, strict=True)
    if nearest:
        return np.array([two_strands(p, float(c2), int(L)) for c2, L in settings])
    return np.array([winding_eigenvalue(p.mode, p.windings, float(c2), L, corrected=True) for c2, L in settings])


def two_strands(p: Clover, square: float, depth: int) -> float:
    """A symmetric pair in place of m windings: the nearest strand at its distance, and no other."""
    z = depth * strand_angles(p.windings, square)[0] / (3 * np.pi)
    return float(3 / (8 * p.windings) * separation_function(z))


def logarithms_left(p: Clover) -> float:
    """what follows K/L is of order (log L/L)²; the fit knows it without its logarithms, and is trusted no further
    than its size at the deepest network"""
    return float(np.log(p.depths[-1]) / p.depths[-1]) ** 2


CLOVER_SLOWDOWN = Law(
    id="curves/clover-slowdown",
    source=Source(DERIVED),
    statement="""
    On the orbit curve of frequencies 1 and m, with a small weight c_1² on the first, which winds m times at
    angles Delta_s = 2 arcsin(c_1 sin(pi s/m)) to itself, the modes q = 1 ... m - 1 that tell the windings apart
    have the eigenvalues

        lambda_q = -n (3/(8 v)) sum over s < m of cos(2 pi q s/m) H(L Delta_s/(3 pi)),   v² = c_1² + (1 - c_1²) m²,

    H the separation function, as L -> infinity at fixed L c_1: all strands count, not the nearest alone (control).
    There is no sharp threshold: they grow from L Delta_1 ~ 3 pi on.
    """,
    params=Clover,
    predict=strands,
    measure=near_windings,
    claim=Limit(of="eigenvalue", along="depth", order=2.0, stated=logarithms_left),
    controls={
        "nearest strand alone": but(predict=partial(strands, nearest=True)),
        "windings twice as far apart": but(measure=partial(near_windings, apart=2.0)),
    },
    examples=(Clover(), Clover(windings=2, z=0.3), Clover(windings=5, mode=2, z=0.1)),
    draws=Draws(shapes=1, values=2),
)

# ---------------------------------------------------------------------- at every depth


class Still(Windings):
    """m windings at one distance, seen at 20 depths from 20 to 1000."""

    square: Annotated[float, Ge(1e-5), Le(0.02), LogScale()] = 0.01

    @property
    def depths(self) -> np.ndarray:
        return np.round(np.geomspace(20, 1000, 20)).astype(int)


@measurement
def windings_through_depth(p: Still, stream, *, apart: float = 1.0):
    """Eigenvalues of the winding mode and of mode m, which does not tell windings apart, at all depths; the windings
    `apart` times as far from each other."""
    found = winding_modes((p.mode, p.windings), p.windings, p.square * apart**2, p.depths)
    nearest = 2 * np.arcsin(np.sqrt(p.square) * np.sin(np.pi / p.windings))
    distance = p.depths * nearest / (3 * np.pi)
    return {"depths": p.depths, "distance": distance, "eigenvalue": found[0], "common": found[1]}


def next_terms(p: Still) -> np.ndarray:
    """the next terms by their sizes. Both parts of K/L of every strand; the bend of a strand of half length pi v/m,
    as on a circle of that length; and that a strand passes another with a speed, and at a distance, which are
    off by up to c_1²/v² of themselves, times the strand's whole integral, log(1 + L v/(3 m)) + 3/2"""
    angles = strand_angles(p.windings, p.square)
    weights = np.abs(np.cos(2 * np.pi * p.mode * np.arange(1, p.windings) / p.windings))
    parts = sum(np.abs(one) for one in depth_terms(p.depths[:, None] * angles / (3 * np.pi)))
    speed = np.sqrt(p.square + (1 - p.square) * p.windings**2)
    bends = np.abs(curvature_term(speed / p.windings, angles))
    passing = p.square / speed**2 * (np.log1p(p.depths * speed / (3 * p.windings)) + 1.5)
    return 3 / (8 * speed) * (parts / p.depths[:, None] + bends + passing[:, None]) @ weights


CLOVER_AT_DEPTH = Law(
    id="curves/clover-at-depth",
    source=Source(DERIVED),
    statement="""
    The sum over strands of curves/clover-slowdown for windings at a fixed distance, c_1² <= .02, at every depth
    from 10 to 1000: within the sizes of its next terms, of order 1/L, and of the bend of a strand.
    """,
    params=Still,
    predict=lambda p: winding_eigenvalue(p.mode, p.windings, p.square, p.depths),
    measure=windings_through_depth,
    claim=Equality(of="eigenvalue", finite_size=next_terms),
    controls={
        "windings twice as far apart": but(measure=partial(windings_through_depth, apart=2.0)),
        "one winding more": but(predict=lambda p: winding_eigenvalue(p.mode, p.windings + 1, p.square, p.depths)),
    },
    examples=(Still(), Still(windings=5, mode=2, square=0.004), Still(windings=2, square=1e-4)),
    draws=Draws(shapes=4, values=1),
)
