r"""Convolutional sparse coding: the dictionary by FFT, its proximal gradient iterations, exact Lasso, basis pursuit.

Signals x (..., C, N) on a circle, filters (M, C, n), codes gamma (..., M, N); leading axes are samples. With
``x = D gamma`` the sum over filters of circular convolutions,

.. math::

    F(\gamma) = \tfrac12 \|x - D\gamma\|^2 + \lambda\|\gamma\|_1 \quad (\text{over } \gamma \ge 0 \text{ on request}),

one step of length eta from the point y with the gradient at g is ``prox(y - eta D^T(D g - x))``:

* ``ista``: y = g = the last iterate;
* ``fista``: y = g = the last iterate plus ``(t_k - 1)/t_{k+1}`` of the last move, ``t_1 = 1``,
  ``t_{k+1} = (1 + sqrt(1 + 4 t_k²))/2``;
* ``lagged``: y with momentum as in FISTA, g the last iterate. Published code calls it FISTA; it is a heavy ball.

All but `lasso` and `basis_pursuit` (NumPy only) take NumPy, torch and JAX arrays. The dictionary is diagonal up to
C x M blocks in the Fourier basis: a step costs ``O(M N (C + log N))`` instead of ``C M N²``.

References
----------
.. [1] Beck and Teboulle 2009 (ISTA, FISTA).
.. [2] arXiv:2302.09347, Dai et al. 2023 (the coding layer of a closed loop); code of arXiv:2210.12945 (lagged form).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import array_api_compat
import numpy as np

from lab.arrays import Array, namespace
from lab.errors import InputError

__all__ = [
    "Iterate", "Lasso", "Method", "basis_pursuit", "circular_projection", "correlate", "decode", "dense_projection",
    "encode", "iterates", "lasso", "lasso_objective", "operator_norm", "pursue", "support_gram",
]  # fmt: skip

Method = Literal["ista", "fista", "lagged"]


def decode(codes: Array, filters: Array) -> Array:
    """``D gamma``, signals (..., C, N) from codes (..., M, N) and filters (M, C, n)."""
    xp, length = _read(filters, codes, 0), codes.shape[-1]
    return xp.fft.irfft(_apply(xp, _spectrum(xp, filters, length), xp.fft.rfft(codes)), n=length)


def correlate(signals: Array, filters: Array) -> Array:
    """``D^T x``, codes (..., M, N) from signals (..., C, N) and filters (M, C, n)."""
    xp, length = _read(filters, signals, 1), signals.shape[-1]
    return xp.fft.irfft(_adjoint(xp, _spectrum(xp, filters, length), xp.fft.rfft(signals)), n=length)


def operator_norm(filters: Array, length: int) -> Array:
    r"""``L = ||D||²``, the largest over frequencies of the squared spectral norm of the C x M matrix of filter spectra.

    For one channel it is the largest of :math:`\sum_m |\hat d_m(\omega)|^2`.

    Raises
    ------
    InputError
        If the filters, (M, C, n), are longer than the circle of `length`.
    """
    xp = namespace(filters)
    spectrum = _spectrum(xp, _read_filters(filters, length), length)
    if filters.shape[-2] == 1:
        return xp.max(xp.sum(xp.abs(spectrum) ** 2, axis=-2))
    blocks = xp.permute_dims(spectrum, (2, 0, 1))  # (frequency, C, M)
    gram = blocks @ xp.conj(blocks.mT) if blocks.shape[1] <= blocks.shape[2] else xp.conj(blocks.mT) @ blocks
    return xp.max(xp.linalg.eigvalsh(gram))


def lasso_objective(codes: Array, signals: Array, filters: Array, *, lam: float) -> Array:
    """``F(gamma)``, one number per signal."""
    xp = namespace(codes, signals, filters)
    misfit = signals - decode(codes, filters)
    return 0.5 * xp.sum(misfit * misfit, axis=(-2, -1)) + lam * xp.sum(xp.abs(codes), axis=(-2, -1))


class Iterate(NamedTuple):
    """State after k steps.

    Attributes
    ----------
    codes, previous : arrays (..., M, N)
        The iterates after k and k - 1 steps.
    t : number
        t_k of the momentum; 0 at the start.
    """

    codes: Array
    previous: Array
    t: Any


def iterates(
    signals: Array, filters: Array, *, lam: float, method: Method = "ista", step: Any = None,
    nonnegative: bool = False, start: Array | None = None,
) -> Iterator[Array]:  # fmt: skip
    """Codes after 1, 2, 3, ... steps, for ever; arguments as in `encode`. Not for use under `jax.jit`."""
    advance, state = _prepared(signals, filters, lam, method, step, nonnegative, start)
    while True:
        state = advance(state)
        yield state.codes


def encode(
    signals: Array, filters: Array, *, lam: float, steps: int, method: Method = "ista", step: Any = None,
    nonnegative: bool = False, start: Array | None = None,
) -> Array:  # fmt: skip
    """Codes after `steps` steps.

    Parameters
    ----------
    signals : array, shape (..., C, N)
    filters : array, shape (M, C, n), n <= N
    lam : float, >= 0
        Weight of the penalty.
    steps : int, >= 0
    method : "ista", "fista" or "lagged"
    step : number, optional
        eta; default 1/L.
    nonnegative : bool
        Codes >= 0; the shrinkage is then ``max(. - eta lam, 0)``.
    start : array, shape (..., M, N), optional
        Default zero.

    Raises
    ------
    InputError
        For shapes that do not fit, a negative lam or number of steps, or an unknown method.
    """
    if not isinstance(steps, int) or steps < 0:
        raise InputError(f"steps={steps!r} must be an integer >= 0")
    advance, state = _prepared(signals, filters, lam, method, step, nonnegative, start)
    if array_api_compat.is_jax_array(signals):  # one compiled step, however many there are
        import jax

        return jax.lax.fori_loop(0, steps, lambda _, s: advance(s), state).codes
    for _ in range(steps):
        state = advance(state)
    return state.codes


def _prepared(
    signals: Array, filters: Array, lam: float, method: Method, step: Any, nonnegative: bool, start: Array | None
) -> tuple[Any, Iterate]:
    xp = _read(filters, signals, 1)
    if method not in ("ista", "fista", "lagged"):
        raise InputError(f"method={method!r} must be 'ista', 'fista' or 'lagged'")
    if isinstance(lam, int | float) and not lam >= 0:
        raise InputError(f"lam={lam!r} must be >= 0")
    length, spectrum = signals.shape[-1], _spectrum(xp, filters, signals.shape[-1])
    eta = 1 / operator_norm(filters, length) if step is None else step
    target = xp.fft.rfft(signals)
    zero = 0 * xp.fft.irfft(_adjoint(xp, spectrum, target), n=length)  # keeps batch axes, dtype, device and graph
    codes = zero if start is None else start + zero

    def advance(state: Iterate) -> Iterate:
        after = (1 + (1 + 4 * state.t**2) ** 0.5) / 2
        at = state.codes
        if method != "ista":
            at = at + (state.t - 1) / after * (state.codes - state.previous)
        slope_at = state.codes if method == "lagged" else at
        misfit = _apply(xp, spectrum, xp.fft.rfft(slope_at)) - target
        moved = at - eta * xp.fft.irfft(_adjoint(xp, spectrum, misfit), n=length)
        if nonnegative:
            return Iterate(xp.maximum(moved - eta * lam, zero), state.codes, after)
        return Iterate(_shrink(xp, moved, eta * lam), state.codes, after)

    # from t_0 = 0 comes t_1 = 1: there is no momentum before the third step
    return advance, Iterate(codes, codes, 0.0 * eta)


# ---------------------------------------------------------------------- exact Lasso


class Lasso(NamedTuple):
    """A certified minimiser.

    Attributes
    ----------
    codes : array, shape (M, N)
        Zero exactly off the support.
    slack : float
        ``1 - max |D^T(x - D gamma)|/lam`` off the support, > 0: the minimiser is unique if the support's columns are
        independent.
    condition : float
        Condition number of the Gram matrix of the support's columns.
    """

    codes: np.ndarray
    slack: float
    condition: float


BLOCK = 50


def lasso(
    signal: np.ndarray, filters: np.ndarray, *, lam: float, start: np.ndarray | None = None, most: int = 100_000
) -> Lasso:
    """The minimiser of F for one signal (C, N), up to rounding: FISTA finds its support, normal equations the rest.

    From `start` (default zero), every `BLOCK` steps, momentum restarted, the support formula
    ``gamma_S = (D_S^T D_S)^{-1}(D_S^T x - lam sgn)`` is tried; it is returned once it meets the optimality conditions:
    its signs agree, and correlations off S are below lam.

    Raises
    ------
    InputError
        If `lam` is not positive, or no certified support is found in `most` steps (degenerate signal).
    """
    if not lam > 0:
        raise InputError(f"lam={lam!r} must be positive")
    codes = np.zeros((filters.shape[0], signal.shape[-1])) if start is None else start
    step = 1 / operator_norm(filters, signal.shape[-1])
    for _ in range(0, most, BLOCK):
        codes = encode(signal, filters, lam=lam, steps=BLOCK, method="fista", step=step, start=codes)
        found = _polished(signal, filters, codes, lam)
        if found is not None:
            return found
    raise InputError(f"no certified support in {most} steps of FISTA at lam={lam:g}; raise lam or change the signal")


def _polished(signal: np.ndarray, filters: np.ndarray, codes: np.ndarray, lam: float) -> Lasso | None:
    """The support formula on the support and signs of `codes`, or None if it is not the minimiser."""
    support = np.flatnonzero(codes)
    correlation = correlate(signal, filters)
    if not support.size:
        slack = 1 - float(np.max(np.abs(correlation))) / lam
        return Lasso(np.zeros_like(codes), slack, 1.0) if slack > 0 else None
    gram, signs = support_gram(filters, support, signal.shape[-1]), np.sign(codes.ravel()[support])
    if support.size > signal.size or not np.linalg.cond(gram) < 1e12:
        return None
    values = np.linalg.solve(gram, correlation.ravel()[support] - lam * signs)
    if np.any(np.sign(values) != signs):
        return None
    exact = np.zeros_like(codes)
    exact.ravel()[support] = values
    rest = np.abs(correlate(signal - decode(exact, filters), filters)).ravel()
    rest[support] = 0.0
    slack = 1 - float(rest.max()) / lam
    return Lasso(exact, slack, float(np.linalg.cond(gram))) if slack > 0 else None


def support_gram(filters: np.ndarray, support: np.ndarray, length: int) -> np.ndarray:
    """``D_S^T D_S`` for flat places ``m N + k``, from the correlations of the filters: no dense dictionary."""
    spectrum = _spectrum(np, filters, length)
    m, k = support // length, support % length
    used, place = np.unique(m, return_inverse=True)
    pairs = np.einsum("caf,cbf->abf", np.conj(spectrum[:, used]), spectrum[:, used])
    tables = np.fft.irfft(pairs, n=length)  # [a, b, j]: <d_a shifted by j, d_b>
    return tables[place[:, None], place[None], (k[:, None] - k[None]) % length]


# ---------------------------------------------------------------------- basis pursuit


def basis_pursuit(signal: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Minimiser of ``|gamma|_1`` subject to ``D gamma = x`` by linear programming (HiGHS), tolerance 1e-7 (absolute).

    Parameters
    ----------
    signal : array, shape (m,)
    matrix : array, shape (m, p)
        The dense dictionary (`lab.data.convolutional.dictionary`); up to a few hundred columns.

    Raises
    ------
    InputError
        If the program has no solution, x being outside the range of D.
    """
    from scipy.optimize import linprog

    found = linprog(np.ones(2 * matrix.shape[1]), A_eq=np.hstack([matrix, -matrix]), b_eq=np.ravel(signal))
    if found.status != 0:
        raise InputError(f"basis pursuit has no solution: {found.message}")
    positive, negative = np.split(found.x, 2)
    return positive - negative


def pursue(signals: Array, project: Any, start: Array, *, steps: int, threshold: float = 1.0) -> Array:
    r"""Minimisers of ``|gamma|_1`` subject to ``D gamma = x`` by Douglas-Rachford splitting, batched.

    .. math:: y^+ = y + \mathrm{shrink}_\theta(2P y - y) - P y, \qquad \gamma = P y,

    P the projection on ``{D gamma = x}``. Converges for every threshold theta > 0; slowly near the border of recovery.

    Parameters
    ----------
    signals : array (..., m) or (..., C, N)
    project : function of (codes, signals)
        P; see `circular_projection` and `dense_projection`.
    start : array
        Codes to start from.
    """
    xp = namespace(start)

    def advance(_: Any, y: Array) -> Array:
        on = project(y, signals)
        return y + _shrink(xp, 2 * on - y, threshold) - on

    if array_api_compat.is_jax_array(start):
        import jax

        return project(jax.lax.fori_loop(0, steps, advance, start), signals)
    for _ in range(steps):
        start = advance(None, start)
    return project(start, signals)


def circular_projection(filters: Array, length: int) -> Any:
    """Projection on ``{D gamma = x}`` for one channel, by FFT; filters (M, 1, n) whose spectra have no common zero."""
    xp = namespace(filters)
    if filters.shape[-2] != 1:
        raise InputError(f"filters have {filters.shape[-2]} channels; this projection is for one")
    spectrum = _spectrum(xp, _read_filters(filters, length), length)
    power = xp.sum(xp.abs(spectrum) ** 2, axis=-2)

    def project(codes: Array, signals: Array) -> Array:
        misfit = _apply(xp, spectrum, xp.fft.rfft(codes)) - xp.fft.rfft(signals)
        return codes - xp.fft.irfft(_adjoint(xp, spectrum, misfit / power), n=length)

    return project


def dense_projection(matrix: Array) -> Any:
    """Projection on ``{D gamma = x}`` for a matrix D (m, p) of full row rank; codes (..., p), signals (..., m)."""
    xp = namespace(matrix)
    inverse = xp.linalg.pinv(matrix)
    return lambda codes, signals: codes - (codes @ matrix.mT - signals) @ inverse.mT


# ---------------------------------------------------------------------- the dictionary in the Fourier basis


def _shrink(xp: Any, x: Array, threshold: Any) -> Array:
    size = xp.abs(x) - threshold
    return xp.sign(x) * xp.maximum(size, xp.zeros_like(size))


def _spectrum(xp: Any, filters: Array, length: int) -> Array:
    """Spectra (C, M, frequencies) of the filters on the circle."""
    return xp.permute_dims(xp.fft.rfft(filters, n=length), (1, 0, 2))


def _apply(xp: Any, spectrum: Array, codes: Array) -> Array:
    if spectrum.shape[0] == 1:
        return xp.sum(spectrum[0, ...] * codes, axis=-2, keepdims=True)
    return xp.sum(spectrum * codes[..., None, :, :], axis=-2)


def _adjoint(xp: Any, spectrum: Array, signals: Array) -> Array:
    if spectrum.shape[0] == 1:
        return xp.conj(spectrum[0, ...]) * signals
    return xp.sum(xp.conj(spectrum) * signals[..., :, None, :], axis=-3)


def _read_filters(filters: Array, length: int) -> Array:
    if filters.ndim != 3 or filters.shape[-1] > length:
        raise InputError(
            f"filters have shape {tuple(filters.shape)} but must be (M, C, n) with n at most the length {length}"
        )
    return filters


def _read(filters: Array, other: Array, axis: int) -> Any:
    """The namespace of filters (M, C, n) and of codes (axis=0) or signals (axis=1) whose maps they must match."""
    xp = namespace(filters, other)
    if other.ndim < 2 or other.shape[-2] != _read_filters(filters, other.shape[-1]).shape[axis]:
        what = ("codes (..., M, N)", "signals (..., C, N)")[axis]
        raise InputError(f"filters of shape {tuple(filters.shape)} do not fit {what} of shape {tuple(other.shape)}")
    return xp
