r"""Limit kernels of deep bias-free ReLU networks on the unit sphere: functions of the angle, on numpy, torch and jax.

Rows are samples. The network is ``a_0 = x, a_l = relu(W_l a_{l-1}), f = W_{L+1} a_L`` with entries N(0, 2/n) in every
hidden layer, the first included, and N(0, 1) in the last; `depth` L is the number of hidden layers. With the angle map
phi and its iterates,

.. math::

    \cos\varphi(\nu) = (1 - \nu/\pi) \cos\nu + \sin(\nu)/\pi, \qquad
    \xi_l(\nu) = \prod_{m=l}^{L-1} (1 - \varphi^{(m)}(\nu)/\pi),

the neural tangent kernel of all weights tends to ``Theta_inf = cos phi^(L) + n psi1`` as the width n grows, where

.. math::

    \psi_1 = \tfrac12 \sum_{l<L} \cos(\varphi^{(l)})\, \xi_l, \qquad \psi = \tfrac12 \sum_{l<L} \xi_l

are the *hidden kernel* and the *skeleton*, both per unit of width. All are computed in O(L) steps by the recursion
``G <- (G + c)(1 - a/pi), a <- phi(a)`` from ``G = 0, a = nu`` with c = cos a or 1; the result is G/2.

Angles come from chords, never from ``arccos`` of inner products, which loses half of the digits of small angles. No
function here has a useful gradient at angle 0.

References
----------
.. [1] arXiv:2008.11245, section 2 and appendix on the skeleton (kernels for one output, n hidden units a layer).
.. [2] arXiv:2107.14324, section 2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import array_api_compat
import numpy as np

from lab.arrays import Array, device, is_real_floating, namespace, truth
from lab.errors import InputError

__all__ = ["AngleTable", "angle_map", "angles", "hidden_kernel", "iterated_angle", "limit_kernel", "skeleton"]

_SMALL = 0.5  # below, ``nu - sin nu`` by its series: the difference loses nu^-2 epsilons, the series none
_SERIES = (6, 20, 42, 72, 110, 156, 210)  # (2k)(2k + 1): ratios of its terms; the next is 2e-18 of the first at .5


def angles(X: Array, Y: Array | None = None) -> Array:
    """Angles between unit rows, ``2 arcsin(|x - y|/2)``.

    Parameters
    ----------
    X : array, shape (..., N, d)
        Unit rows; leading axes are batch axes.
    Y : array, shape (..., M, d), optional
        By default `X` itself.

    Returns
    -------
    array, shape (..., N, M)
        In [0, pi]; 0 on the diagonal where `Y` is left out. Each has an absolute error of a few epsilons, and beyond
        that only what rounding the coordinates has done to the chord.

    Raises
    ------
    InputError
        If the rows are not real numbers, have different dimensions, or lengths off 1 by more than 1000 epsilons.
    """
    xp = namespace(X, Y)
    for name, rows in (("X", X), ("Y", Y)):
        if rows is None:
            continue
        if rows.ndim < 2 or not is_real_floating(rows) or rows.shape[-1] != X.shape[-1]:
            raise InputError(
                f"{name} has shape {tuple(rows.shape)} and dtype {rows.dtype} but must hold real rows of the same "
                "dimension d, (..., N, d)"
            )
        lengths = xp.sum(rows * rows, axis=-1)
        if truth(xp.all(xp.abs(lengths - 1) < 2000 * xp.finfo(rows.dtype).eps)) is False:
            worst = float(xp.max(xp.abs(lengths - 1)))
            raise InputError(f"{name} has a row of squared length 1 +- {worst:.3g}: rows must be unit; normalise them")
    Y = X if Y is None else Y
    squared = sum(
        (X[..., :, None, j] - Y[..., None, :, j]) ** 2 for j in range(X.shape[-1])
    )  # coordinate by coordinate: an (N, M, d) array of differences would not fit for thousands of rows
    return 2 * xp.asin(xp.clip(xp.sqrt(squared) / 2, max=1.0))


def angle_map(nu: Array) -> Array:
    r"""Angle phi(nu) between the features of two points at angle `nu`, one infinitely wide ReLU layer on.

    .. math:: 1 - \cos\varphi = 2 \sin^2(\nu/2) (1 - \nu/\pi) + (\nu - \sin\nu)/\pi

    Parameters
    ----------
    nu : array
        Angles in [0, pi], in radians.

    Returns
    -------
    array of the same shape
        In [0, pi/2]; relative error of about one epsilon, at tiny angles too.

    Raises
    ------
    InputError
        If an angle is outside [0, pi].

    Examples
    --------
    >>> round(float(angle_map(np.asarray(np.pi)) / np.pi), 12)
    0.5
    """
    return _map(_checked(nu))


def iterated_angle(nu: Array, depth: int | Sequence[int]) -> Array:
    """Angle after `depth` layers, phi^(L)(nu), or after each of several depths (a new first axis).

    Parameters
    ----------
    nu : array
        Angles in [0, pi].
    depth : int or increasing sequence of int, >= 0

    Returns
    -------
    array, shape of `nu`, or (number of depths, *shape of nu)
    """
    return _recursion(nu, depth, lambda G, a: (G, _map(a)), lambda G, a: a, least=0)


def skeleton(nu: Array, depth: int | Sequence[int]) -> Array:
    """Skeleton psi(nu) per unit of width: the hidden kernel without its cosines; L/2 at angle 0.

    Parameters
    ----------
    nu : array
        Angles in [0, pi].
    depth : int or increasing sequence of int, >= 1
        Hidden layers. Several depths cost no more than the largest.

    Returns
    -------
    array, shape of `nu`, or (number of depths, *shape of nu)
        Multiply by the width.

    Examples
    --------
    >>> skeleton(np.asarray([0.0, np.pi]), 1).tolist()
    [0.5, 0.0]
    """
    return _recursion(nu, depth, lambda G, a: ((G + 1) * (1 - a / math.pi), _map(a)), lambda G, a: G / 2)


def hidden_kernel(nu: Array, depth: int | Sequence[int]) -> Array:
    """Hidden kernel psi1(nu): limit of the kernel of the hidden weights over the width; arguments as in `skeleton`."""
    xp = namespace(nu)
    step = lambda G, a: ((G + xp.cos(a)) * (1 - a / math.pi), _map(a))  # noqa: E731 - a rule like its two sisters
    return _recursion(nu, depth, step, lambda G, a: G / 2)


def limit_kernel(nu: Array, depth: int | Sequence[int], width: float) -> Array:
    """Limit of the neural tangent kernel of all weights, ``cos phi^(L)(nu) + width psi1(nu)``; ``1 + n L/2`` at 0.

    Parameters
    ----------
    nu : array
        Angles in [0, pi].
    depth : int or increasing sequence of int, >= 1
    width : float, >= 0
        Hidden units n of a layer: hidden weights have variance 2/n, so their share of the kernel grows like n.

    Returns
    -------
    array, shape of `nu`, or (number of depths, *shape of nu)
    """
    xp = namespace(nu)
    step = lambda G, a: ((G + xp.cos(a)) * (1 - a / math.pi), _map(a))  # noqa: E731 - a rule like its two sisters
    return _recursion(nu, depth, step, lambda G, a: xp.cos(a) + width * (G / 2))


class AngleTable:
    """A kernel of the angle, tabulated once: Gram matrices then cost one look-up an entry, whatever the depth.

    Cubic spline on equal steps of ``log(1 + L nu/(3 pi))``: in this variable kernels of every depth are alike, and
    smooth at angle 0.

    Parameters
    ----------
    kernel : function of (angles, depth)
        Called once, with a numpy array of angles in [0, pi]: `skeleton`, `hidden_kernel`, or
        ``functools.partial(limit_kernel, width=512)``.
    depth : int, >= 1
        Hidden layers L.
    nodes : int, >= 4
        Nodes of the table. With 4097 a kernel is good to 4e-13 of its peak at L <= 100, to 6e-12 at L = 3000.

    Examples
    --------
    >>> table = AngleTable(skeleton, 50)
    >>> nu = np.linspace(0, np.pi, 7)
    >>> bool(np.max(np.abs(table(nu) - skeleton(nu, 50))) < 25 * 1e-13)
    True
    """

    def __init__(self, kernel: Callable[[np.ndarray, int], np.ndarray], depth: int, nodes: int = 4097) -> None:
        from scipy.interpolate import CubicSpline

        if nodes < 4:
            raise InputError(f"nodes={nodes!r}: a cubic spline needs at least 4")
        self._scale = 3 * math.pi / depth
        s, step = np.linspace(0.0, math.log1p(math.pi / self._scale), nodes, retstep=True)
        values = np.asarray(kernel(np.minimum(self._scale * np.expm1(s), math.pi), depth), dtype=float)
        if values.shape != s.shape or not np.isfinite(values).all():
            raise InputError(f"kernel gave shape {values.shape} for {nodes} angles; it must give a finite number each")
        self._per_step = float(1 / step)
        # highest power first, per unit of the step: the argument of the polynomials then runs from 0 to 1
        self._coefficients = CubicSpline(s, values).c * step ** np.arange(3, -1, -1)[:, None]

    def __call__(self, nu: Array) -> Array:
        """Values at the angles `nu`, in their library, dtype and shape."""
        xp = namespace(_checked(nu))
        place = xp.reshape(xp.log1p(nu / self._scale), (-1,)) * self._per_step
        cell = xp.clip(xp.astype(xp.floor(place), xp.int64), max=self._coefficients.shape[1] - 1)
        t = place - xp.astype(cell, nu.dtype)
        value = xp.zeros_like(t)
        for row in self._coefficients:
            value = value * t + xp.take(xp.asarray(row, dtype=nu.dtype, device=device(nu)), cell, axis=0)
        return xp.reshape(value, nu.shape)


# ---------------------------------------------------------------------- shared


def _map(nu: Array) -> Array:
    xp = namespace(nu)
    square = nu * nu
    series = xp.ones_like(nu)
    for ratio in reversed(_SERIES[1:]):
        series = 1 - square / ratio * series
    excess = xp.where(nu < _SMALL, nu * square / _SERIES[0] * series, nu - xp.sin(nu))
    lacking = 2 * xp.sin(nu / 2) ** 2 * (1 - nu / math.pi) + excess / math.pi
    return 2 * xp.asin(xp.sqrt(lacking / 2))


def _checked(nu: Array) -> Array:
    xp = namespace(nu)
    if not is_real_floating(nu):
        raise InputError(f"nu has dtype {nu.dtype} but angles must be real floating point; cast them, e.g. to float64")
    # pi itself, rounded up in the precision at hand, is an angle too
    inside = xp.all((nu >= 0) & (nu <= math.pi * (1 + xp.finfo(nu.dtype).eps)))
    if truth(inside) is False:
        raise InputError(f"nu={float(xp.min(nu)):.6g}..{float(xp.max(nu)):.6g}: angles must lie in [0, pi] radians")
    return nu


def _recursion(nu: Array, depth: int | Sequence[int], step: Any, result: Any, *, least: int = 1) -> Array:
    """`result` of the state (G, angle) after each of the depths; `step` is one layer."""
    xp = namespace(_checked(nu))
    several = not isinstance(depth, int | np.integer)
    depths = [int(L) for L in depth] if several else [int(depth)]  # type: ignore[union-attr, arg-type]
    if not depths or depths[0] < least or any(b <= a for a, b in itertools.pairwise(depths)):
        raise InputError(f"depth={depth!r}: must be an integer >= {least}, or an increasing sequence of them")
    state, done, found = (xp.zeros_like(nu), nu), 0, []
    for L in depths:
        state = _repeat(step, state, L - done)
        done = L
        found.append(result(*state))
    return xp.stack(found) if several else found[0]


def _repeat(step: Any, state: tuple[Array, Array], count: int) -> tuple[Array, Array]:
    if array_api_compat.is_jax_array(state[0]) and count > 8:  # a loop of its own compiles in no time at any depth
        import jax

        return jax.lax.fori_loop(0, count, lambda _, s: step(*s), state)
    for _ in range(count):
        state = step(*state)
    return state
