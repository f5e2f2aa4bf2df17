"""Circles and orbit curves: all points of a curve are alike, angles are closed forms."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lab.data.curves.sample import Curves, gathered, steps
from lab.errors import InputError
from lab.models.angle_kernels import angles

__all__ = [
    "coaxial",
    "coaxial_angles",
    "orbit_angle",
    "orbit_cross_angle",
    "orbit_curve",
    "orbit_geometry",
    "orbit_pair",
    "pair_angles",
    "symmetric_pair",
]


# ---------------------------------------------------------------------- angles in closed form


def _angle(lacking: np.ndarray | float) -> np.ndarray:
    """The angle whose cosine lacks this much to 1."""
    return 2 * np.arcsin(np.sqrt(np.clip(lacking / 2, 0, 1)))


def orbit_angle(squares: Mapping[int, float], tau: np.ndarray) -> np.ndarray:
    """Angle between the points t and t + tau of an orbit curve with ``squares = {k: c_k²}``; shape of `tau`."""
    return _angle(sum(2 * c2 * np.sin(k * np.asarray(tau) / 2) ** 2 for k, c2 in _squares(squares).items()))


def orbit_cross_angle(
    plus: Mapping[int, float], minus: Mapping[int, float], phases: Mapping[int, float], tau: np.ndarray
) -> np.ndarray:
    """Angle between the point t of the first and t + tau of the second curve of an `orbit_pair`; shape of `tau`."""
    plus, minus = _squares(plus), _squares(minus)
    lacking = np.zeros(np.shape(tau))
    for k, c2 in plus.items():
        c, other = math.sqrt(c2), math.sqrt(minus[k])
        lacking = lacking + (c - other) ** 2 / 2 + 2 * c * other * np.sin((k * tau + phases.get(k, 0.0)) / 2) ** 2
    return _angle(lacking)


def coaxial_angles(
    r_plus: float, r_minus: float, tau: np.ndarray, *, same_hemisphere: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles of two coaxial circles: within the first, between the two, within the second; shapes of `tau`."""
    rp, rm = _radius("r_plus", r_plus), _radius("r_minus", r_minus)
    half = np.sin(np.asarray(tau) / 2) ** 2
    apart = math.asin(rp) - math.asin(rm) if same_hemisphere else math.pi - math.asin(rp) - math.asin(rm)
    cross = 2 * rp * rm * half + 2 * math.sin(apart / 2) ** 2
    return _angle(2 * rp**2 * half), _angle(cross), _angle(2 * rm**2 * half)


def pair_angles(r: float, separation: float, tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angles of a symmetric pair: within one circle, and between the two; each of the shape of `tau`."""
    r, separation = _pair(r, separation)
    within = 2 * r**2 * np.sin(np.asarray(tau) / 2) ** 2
    return _angle(within), _angle(within + 2 * math.sin(separation / 2) ** 2)


# ---------------------------------------------------------------------- generators


def coaxial(
    r_plus: float, r_minus: float, *, points: int, n0: int = 3, same_hemisphere: bool = True
) -> Curves:  # fmt: skip
    """Two circles around one axis, ``(r cos t, r sin t, ±sqrt(1 - r²), 0, ...)``.

    Parameters
    ----------
    r_plus, r_minus : float in (0, 1]
        Radii in the ambient space; their length is 2 pi r, their curvature 1/r. Angles stay below pi/2, as theorems
        ask, for circles of one hemisphere with radii up to 1/sqrt 2.
    points : int, > 0
        Points of each circle.
    n0 : int, >= 3
        Ambient dimension.
    same_hemisphere : bool
        Otherwise the second circle is on the other side.

    Returns
    -------
    Curves
        Separation ``|arcsin r+ - arcsin r-|`` in one hemisphere.

    Raises
    ------
    InputError
        If a parameter is outside its range, or the circles coincide.

    References
    ----------
    .. [1] arXiv:2008.11245, the geometry of two coaxial circles (columns there, rows here).
    """
    rp, rm = _radius("r_plus", r_plus), _radius("r_minus", r_minus)
    if same_hemisphere and rp == rm:
        raise InputError(f"r_plus=r_minus={rp:g} in one hemisphere is one circle; choose different radii")
    t = steps(points)
    circles = []
    for r, side in ((rp, 1.0), (rm, 1.0 if same_hemisphere else -1.0)):
        height = np.full(points, side * math.sqrt(1 - r**2))
        circles.append(np.stack([r * np.cos(t), r * np.sin(t), height], axis=1))
    separation = float(coaxial_angles(rp, rm, np.zeros(()), same_hemisphere=same_hemisphere)[1])
    lengths = 2 * math.pi * np.array([rp, rm])
    return gathered(circles, lengths, np.array([1 / rp, 1 / rm]), separation, True, n0)


def symmetric_pair(r: float, separation: float, *, points: int, n0: int = 4) -> Curves:
    """Two circles of one radius at an exact smallest angle, which a symmetry of the sphere exchanges.

    ``(r cos t, r sin t, h cos d, ±h sin d)`` with ``h² = 1 - r²`` and ``sin d = sin(separation/2)/h``: sums and
    differences over the two circles are exact eigenfunctions of every function of the angle.

    Parameters
    ----------
    r : float in (0, 1)
    separation : float in (0, pi)
        Needs ``sin(separation/2) <= sqrt(1 - r²)``; angles stay below pi/2 where ``cos(separation) >= 2 r²``.
    points : int, > 0
        Points of each circle.
    n0 : int, >= 4

    Returns
    -------
    Curves

    Raises
    ------
    InputError
        If a parameter is outside its range.
    """
    r, separation = _pair(r, separation)
    t = steps(points)
    height = math.sqrt(1 - r**2)
    sine = math.sin(separation / 2)
    circle = [r * np.cos(t), r * np.sin(t), np.full(points, math.sqrt(height**2 - sine**2))]
    circles = [np.stack([*circle, np.full(points, side * sine)], axis=1) for side in (1, -1)]
    return gathered(circles, np.full(2, 2 * math.pi * r), np.full(2, 1 / r), separation, True, n0)


def orbit_geometry(squares: Mapping[int, float]) -> tuple[float, float, float]:
    r"""Length :math:`2\pi v`, extrinsic and geodesic curvature of an orbit curve, ``v² = sum c_k² k²``,
    ``kappa_ext = sqrt(sum c_k² k^4)/v²``.

    Examples
    --------
    >>> orbit_geometry({1: 1.0})[1:]  # a great circle
    (1.0, 0.0)
    """
    squares = _squares(squares)
    second, fourth = (sum(c2 * k**power for k, c2 in squares.items()) for power in (2, 4))
    return 2 * math.pi * math.sqrt(second), math.sqrt(fourth) / second, math.sqrt(max(fourth / second**2 - 1, 0.0))


def orbit_curve(squares: Mapping[int, float], *, points: int, n0: int | None = None) -> Curves:
    """The orbit curve with ``squares = {k: c_k²}``: a pair of coordinates for each k > 0, one constant for k = 0.

    Parameters
    ----------
    squares : mapping of int >= 0 to float > 0
        Sum 1; the greatest common divisor of the frequencies must be 1, or the curve would be run through repeatedly.
    points : int, > 0
    n0 : int, optional
        Ambient dimension; by default as many as needed.

    Returns
    -------
    Curves

    Raises
    ------
    InputError
        If `squares` is not as said, or `n0` too small.
    """
    squares = _squares(squares)
    length, extrinsic, _ = orbit_geometry(squares)
    X = _orbit(squares, steps(points), {})
    return gathered([X], np.array([length]), np.array([extrinsic]), math.inf, True, n0 or X.shape[1])


def orbit_pair(
    plus: Mapping[int, float], minus: Mapping[int, float], phases: Mapping[int, float], *, points: int,
) -> Curves:  # fmt: skip
    """Two orbit curves of the same frequencies, the second turned by `phases` in the plane of each of them.

    The cosine between points t and t' is ``sum c_k c'_k cos(k (t' - t) + phase_k)``: it depends on t' - t alone, but
    not symmetrically, so the blocks of a function of the angle are Hermitian in Fourier space, not real.

    Parameters
    ----------
    plus, minus : mapping of int >= 0 to float > 0
        ``{k: c_k²}`` of both curves.
    phases : mapping of int > 0 to float
        Angles in radians, 0 where left out.
    points : int, > 0
        Points of each curve, at equal steps of t.

    Returns
    -------
    Curves
        Its `separation` is the smallest angle between sampled points.

    Raises
    ------
    InputError
        If the frequencies differ, or one mapping is not as `orbit_curve` asks.
    """
    plus, minus = _squares(plus), _squares(minus)
    if set(plus) != set(minus) or not set(phases) <= set(plus) - {0}:
        raise InputError(
            f"frequencies {sorted(plus)}, {sorted(minus)} and phases of {sorted(phases)}: both curves must have the "
            "same frequencies, and phases belong to those above 0"
        )
    t = steps(points)
    both = [_orbit(plus, t, {}), _orbit(minus, t, phases)]
    lengths, extrinsic = np.array([orbit_geometry(squares)[:2] for squares in (plus, minus)]).T
    separation = float(np.min(angles(both[0], both[1])))
    return gathered(both, lengths, extrinsic, separation, True, both[0].shape[1])


# ---------------------------------------------------------------------- shared


def _radius(name: str, r: float) -> float:
    if not 0 < r <= 1:
        raise InputError(f"{name}={r!r}: a circle on the unit sphere has a radius in (0, 1]")
    return float(r)


def _pair(r: float, separation: float) -> tuple[float, float]:
    if not (0 < r < 1 and 0 < separation < math.pi and math.sin(separation / 2) ** 2 <= 1 - r**2):
        raise InputError(
            f"r={r!r}, separation={separation!r}: needs r in (0, 1) and sin(separation/2)² <= 1 - r²; lower one of them"
        )
    return float(r), float(separation)


def _squares(squares: Mapping[int, float]) -> dict[int, float]:
    found = {int(k): float(c2) for k, c2 in squares.items()}
    if any(k != int(k) or k < 0 for k in squares) or not all(c2 > 0 for c2 in found.values()):
        raise InputError(f"squares={dict(squares)!r}: frequencies are whole numbers >= 0, their c² positive")
    if abs(sum(found.values()) - 1) > 1e-12 or math.gcd(*found) != 1:
        raise InputError(
            f"squares={dict(squares)!r}: c² must add up to 1, and the frequencies have no common divisor; rescale them"
        )
    return found


def _orbit(squares: Mapping[int, float], t: np.ndarray, phases: Mapping[int, float]) -> np.ndarray:
    columns = []
    for k, c2 in sorted(squares.items()):
        turn = k * t + phases.get(k, 0.0)
        columns += [math.sqrt(c2) * np.cos(turn), math.sqrt(c2) * np.sin(turn)][: 1 if k == 0 else 2]
    return np.stack(columns, axis=1)
