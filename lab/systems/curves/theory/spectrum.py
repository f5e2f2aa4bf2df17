r"""Spectra of kernels on homogeneous curves: exactly by Fourier transform, and in closed form for deep networks."""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["circulant_spectrum", "closed_spectrum", "cusp_spectrum", "logarithmic_spectrum", "mode_terms",
           "pair_spectrum"]  # fmt: skip


def circulant_spectrum(row):
    r"""Eigenvalues of the operator of a kernel on N points of an orbit curve, from its first row; mode by mode.

    .. math:: \lambda_j = \frac1N \sum_m K(\tau_m) e^{-ij\tau_m}, \quad j = 0, \dots, \lfloor N/2 \rfloor

    Eigenfunctions are ``exp(i j t)``; modes other than 0 and N/2 are double. Exact for every N, but the cusp of the
    kernel needs ``N >= 10 L length/(3 pi)`` points before this is the spectrum on the curve.

    Parameters
    ----------
    row : array, shape (..., N)
        Kernel between the first point and all, at equal steps; even in tau.

    Returns
    -------
    array, shape (..., N // 2 + 1)
    """
    row = checks.checked("row", row, np.isfinite, "must be finite")
    return np.fft.rfft(row, axis=-1).real / row.shape[-1]


def pair_spectrum(plus, cross, minus):
    """Eigenvalues of a kernel on two orbit curves of the same frequencies, N points each, all 2N of them ascending.

    The Fourier transform leaves a Hermitian 2 x 2 block for each mode, ``[[k++, k+-], [conj, k--]]/(2N)``.

    Parameters
    ----------
    plus, cross, minus : array, shape (N,)
        Kernel between the first point of the first (first, second) curve and all points of the first (second, second).

    Returns
    -------
    array, shape (2N,)
    """
    rows = [checks.checked("rows", row, np.isfinite, "must be finite") for row in (plus, cross, minus)]
    pp, pm, mm = (np.fft.fft(row) / (2 * row.size) for row in rows)
    half, apart = (pp.real + mm.real) / 2, (pp.real - mm.real) / 2
    gap = np.hypot(apart, np.abs(pm))
    return np.sort(np.concatenate([half - gap, half + gap]))


def closed_spectrum(mode, depth, speed, *, corrected=False):
    r"""Eigenvalue j >= 1 of the skeleton on a homogeneous curve of length ``2 pi speed``, deep network, in closed form.

    .. math:: \lambda_j = \frac{3}{8 v}\Big[g + (1 - x f) + \big(\tfrac12 - \tfrac{x^2}2 g\big)\Big], \qquad
        x = \frac{3\pi j}{L v}

    per unit of width, with the auxiliary functions f, g of the sine and cosine integrals at x. Relative error at fixed
    x: O(1/L), with the next term O((log L/L)²). The curve must not come near itself. Derived for this laboratory,
    verified numerically; not found in the cited papers.

    Parameters
    ----------
    mode : array_like, > 0
        j.
    depth : array_like, > 0
    speed : array_like, > 0
        Length over 2 pi; r for a circle.
    corrected : bool
        Add the next term in the bracket, ``1/L`` times `mode_terms`.
    """
    from scipy.special import exp1

    v, x = _place(mode, depth, speed)
    far = x > 60
    here = np.where(far, 1.0, x)
    turning = np.exp(1j * here) * exp1(1j * here)
    f, g = -turning.imag, turning.real
    bracket = g + (1 - here * f) + (0.5 - here**2 * g / 2)
    # far out the three parts cancel: their joint series, terms (-1)^k [(2k+1)! + (2k+2)! + (2k+3)!/2] x^(-2k-2)
    there = np.where(far, x, 60.0)
    term, series = 1 / there**2, np.zeros_like(there)
    for k in range(12):
        series = series + term * (1 + (2 * k + 2) + (2 * k + 2) * (2 * k + 3) / 2)
        term = -term * (2 * k + 2) * (2 * k + 3) / there**2
    value = np.where(far, series, bracket) + (sum(mode_terms(x)) / np.asarray(depth) if corrected else 0.0)
    return (3 / (8 * v) * value)[()]


def mode_terms(x):
    r"""The two parts of :math:`\int_0^\infty \cos(xy) P(y)\,dy`, P the kernel's correction of order 1/L in
    `separation.depth_terms`: of its logarithm at infinity, and of the rest. They have opposite signs for x >> 1.

    By parts and up the imaginary axis: :math:`-\tfrac1x \mathrm{Re} \int_0^\infty e^{-xu} P'(iu)\,du`.

    Parameters
    ----------
    x : array_like, > 0
        ``3 pi j/(L v)``.

    Returns
    -------
    logarithmic, rest : array
        Of the shape of `x`.
    """
    x = checks.positive("x", x)
    u = np.exp(np.arange(-36.0, np.log(45.0), 0.1)) / x[..., None]
    v = 1 + 1j * u
    slopes = (1.5 / v, 10.5 * v**-5 - 18 * v**-5 * np.log(v) - 18 * v**-4)
    logarithmic, rest = (-np.sum((s * np.exp(-x[..., None] * u)).real * u, axis=-1) * 0.1 / x for s in slopes)
    return logarithmic[()], rest[()]


def logarithmic_spectrum(mode, depth, speed):
    r"""The closed form for j << L v, :math:`\tfrac3{8v} [\log\tfrac{L v}{3\pi j} + \tfrac32 - \gamma]`: depth helps to
    fit modes, but only like its logarithm. Arguments as in `closed_spectrum`."""
    v, x = _place(mode, depth, speed)
    return (3 / (8 * v) * (1.5 - np.euler_gamma - np.log(x)))[()]


def cusp_spectrum(mode, depth, speed):
    r"""The cusp's tail for j >> L v, :math:`\lambda_j = L (L+1) v/(4\pi^2 j^2)`, from the exact slope at angle 0.
    Arguments as in `closed_spectrum`."""
    v, _ = _place(mode, depth, speed)
    L = np.asarray(depth, dtype=float)
    return (L * (L + 1) * v / (4 * np.pi**2 * np.asarray(mode, dtype=float) ** 2))[()]


def _place(mode, depth, speed):
    j, L, v = (checks.positive(n, value) for n, value in (("mode", mode), ("depth", depth), ("speed", speed)))
    return v, 3 * np.pi * j / (L * v)
