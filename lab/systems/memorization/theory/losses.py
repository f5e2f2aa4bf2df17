r"""Losses of the generalising and of the memorising denoiser: published excess, two points exactly, bounds.

All losses are x0-losses (squared norm summed over coordinates) at signal-to-noise ratio psi, on N training points from
K equally likely clusters of variance v in d dimensions. "Derived" below means: derived for this laboratory, verified
numerically; not found in arXiv:2508.17689.

The memorising denoiser loses :math:`V(y)=\sum_{i<j}p_ip_jD_{ij}` at y, :math:`D_{ij}=|x_i-x_j|^2`, and averages of a
product :math:`p_ip_j` over y can only grow when all points but i and j are removed. So its loss is at most the sum over
pairs of what two points alone would lose, which is known exactly. Every bound of this module is that remark.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.systems.memorization.theory.mmse import mixture_mmse
from lab.systems.memorization.theory.quadrature import chi_square_nodes

__all__ = ["MemoriserBound", "confusion_bounds", "gauss_chi_square", "generaliser_loss", "memoriser_bound",
           "memoriser_expected_bound", "published_error", "two_point_loss", "two_sample_loss"]  # fmt: skip


def generaliser_loss(d: int, psi, v: float = 1.0):
    r"""Loss of the denoiser of separated clusters, and published excess over the memoriser: :math:`dv/(1+\psi v)`.

    Exact for one cluster; with several it leaves out the uncertainty about the cluster (`confusion_bounds`). Theorem
    3.1 of arXiv:2508.17689 states the excess :math:`E[L_N(GT)-L_N(mem)]` up to a constant, which the published code
    takes to be 1; the loss of the memoriser itself, not negligible at low signal-to-noise ratio, is then left out as
    well (`published_error`).

    Parameters
    ----------
    d : int, >= 1
    psi : array_like, >= 0
        Signal-to-noise ratio.
    v : float, > 0
        Variance of a cluster.

    Examples
    --------
    >>> float(generaliser_loss(30, 1.0))
    15.0
    """
    return mixture_mmse(psi, d, v=float(checks.positive("v", v)))


def two_point_loss(D, psi):
    r"""Loss of the memorising denoiser of two points at squared distance D.

    .. math:: L_2(D)=\tfrac D2E\frac1{1+e^\Lambda}=\tfrac D4e^{-\psi D/8}\,E\,\mathrm{sech}(\tfrac12\sqrt{\psi D}\,Z)
              =\tfrac D4\bigl(1-E\tanh(g+\sqrt gZ)\bigr),\quad g=\tfrac{\psi D}4

    with :math:`\Lambda\sim N(\psi D/2,\psi D)` and Z standard normal. At most :math:`\tfrac D4e^{-\psi D/8}`, attained
    as :math:`\psi D\to0`. Derived.

    Parameters
    ----------
    D : array_like, >= 0
    psi : array_like, >= 0

    Returns
    -------
    array
        Relative error about 1e-14, however small the loss.

    Examples
    --------
    >>> round(float(two_point_loss(4.0, 0.0)), 12)
    1.0
    """
    D, psi = checks.non_negative("D", D), checks.non_negative("psi", psi)
    return (D / 4 * np.exp(-psi * D / 8) * _mean_sech(np.sqrt(psi * D) / 2))[()]


def _mean_sech(width: np.ndarray) -> np.ndarray:
    """E sech(width Z): trapezoid rule, spectral because the step is short against both the normal and the sech."""
    reach = np.minimum(8.7, 38 / np.maximum(width, 1e-300))[..., None]
    node = np.linspace(-1, 1, 321)
    z = reach * node
    values = np.exp(-z * z / 2) / np.cosh(width[..., None] * z)
    return np.sum(values, axis=-1) * reach[..., 0] * (node[1] - node[0]) / np.sqrt(2 * np.pi)


class MemoriserBound(NamedTuple):
    """Upper bounds of the memorising denoiser's loss: `sharp` <= `simple`."""

    sharp: float
    simple: float


def memoriser_bound(X, psi: float) -> MemoriserBound:
    r"""Upper bounds of the memorising denoiser's loss on its training points X (N, d), N >= 2.

    .. math:: L_N(mem)\le\frac1N\sum_{i\ne j}L_2(D_{ij})\le\frac1{4N}\sum_{i\ne j}D_{ij}e^{-\psi D_{ij}/8}

    with `two_point_loss` L_2. The first is an equality for N = 2. Derived:
    :math:`L_N=\frac1N\sum_{i<j}D_{ij}\int N_iN_j/\sum_kN_k`, with the Gaussian densities N_i of y around each point,
    and leaving only i and j in the denominator gives the two-point integral.

    Raises
    ------
    OutOfDomain
        If X is not a matrix of at least two rows of finite numbers, or psi is negative.
    """
    X = np.asarray(X, dtype=float)
    if X.ndim != 2 or len(X) < 2 or not np.isfinite(X).all():
        raise OutOfDomain(f"X has shape {X.shape}: must be (N, d) with N >= 2 rows of finite numbers")
    psi = float(checks.non_negative("psi", psi))
    first, second = np.triu_indices(len(X), 1)
    D = np.sum((X[first] - X[second]) ** 2, axis=1)
    simple = D / 4 * np.exp(-psi * D / 8)
    sharp = simple * _mean_sech(np.sqrt(psi * D) / 2)
    return MemoriserBound(2 / len(X) * float(sharp.sum()), 2 / len(X) * float(simple.sum()))


def memoriser_expected_bound(d: int, others, psi, v=1.0):
    r"""The simple bound averaged over `others` more points of one cluster: :math:`\frac{dv}2n(1+\psi v/2)^{-d/2-1}`.

    Parameters
    ----------
    others : array_like, >= 0
        n; an average over cluster sizes, (N-1)/K, may be given.
    """
    d, others = checks.integer("d", d, 1), checks.non_negative("others", others)
    psi, v = checks.non_negative("psi", psi), checks.positive("v", v)
    return (d * v / 2 * others * (1 + psi * v / 2) ** (-d / 2 - 1))[()]


def two_sample_loss(d: int, psi: float, v: float = 1.0) -> float:
    r"""Loss of the memorising denoiser of two points of one cluster, averaged over them.

    `two_point_loss` at :math:`D=2v\chi^2_d`. The factor :math:`De^{-\psi D/8}` makes it an average over
    :math:`\chi^2_{d+2}`, so that small losses keep their relative accuracy. Derived.
    """
    d, psi, v = checks.integer("d", d, 1), float(checks.non_negative("psi", psi)), float(checks.positive("v", v))
    x, weight = chi_square_nodes(d + 2, 100)
    snr = psi * v
    mean = weight @ _mean_sech(np.sqrt(snr * x / (2 * (1 + snr / 2))))
    return float(memoriser_expected_bound(d, 1, psi, v) * mean)


def gauss_chi_square(degrees: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss nodes and weights for averages over a chi-square variable; nodes of weight below 1e-18 are left out."""
    from scipy.linalg import eigh_tridiagonal

    power, k = degrees / 2 - 1, np.arange(count)
    x, vectors = eigh_tridiagonal(2 * k + 1 + power, np.sqrt(k[1:] * (k[1:] + power)))
    weight = vectors[0] ** 2
    kept = weight > 1e-18
    return 2 * x[kept], weight[kept]


class Confusion(NamedTuple):
    """How much the losses of the generalising and of the memorising denoiser exceed those of separated clusters."""

    generaliser: float
    memoriser: float


def confusion_bounds(d: int, K: int, N: int, psi: float, v: float, radius: float) -> Confusion:
    r"""Upper bounds on what it costs not to know the cluster, for K orthogonal means of length `radius`.

    .. math:: 0\le mmse-\frac{dv}{1+\psi v}\le\frac{(K-1)r^2}{2(1+\psi v)^2}e^{-g/4},\quad g=\frac{\psi r^2}{1+\psi v}

    (the pair bound of `memoriser_bound` for the K means, seen at signal-to-noise ratio psi/(1+psi v)), and for the
    memoriser the pairs of different clusters, :math:`D=|\Delta+\sqrt{2v}\,g|^2`, :math:`|\Delta|^2=2r^2`:

    .. math:: \frac{N(K-1)}{4K}E\,De^{-\psi D/8}=\frac{N(K-1)}{4K}(1+\kappa)^{-d/2}e^{-2\psi r^2/(8(1+\kappa))}
              \Bigl(\frac{2dv}{1+\kappa}+\frac{2r^2}{(1+\kappa)^2}\Bigr),\quad\kappa=\psi v/2 .

    Derived.
    """
    d, K, N = checks.integer("d", d, 1), checks.integer("K", K, 1), checks.integer("N", N, 1)
    psi, v = float(checks.non_negative("psi", psi)), float(checks.positive("v", v))
    square = float(checks.non_negative("radius", radius)) ** 2
    generaliser = (K - 1) * square / 2 / (1 + psi * v) ** 2 * np.exp(-psi * square / (4 * (1 + psi * v)))
    wide = 1 + psi * v / 2
    mean = wide ** (-d / 2) * np.exp(-psi * square / (4 * wide)) * (2 * d * v / wide + 2 * square / wide**2)
    return Confusion(float(generaliser), float(N * (K - 1) / (4 * K) * mean))


def published_error(d: int, K: int, N: int, psi: float, v: float = 1.0) -> float:
    r"""Bound on the relative error of the published generaliser excess :math:`dv/(1+\psi v)`, for separated clusters.

    The exact excess is smaller by the loss of the memoriser: relative error at most
    :math:`\frac{N-1}{2K}(1+\psi v)(1+\psi v/2)^{-d/2-1}`, small from :math:`\psi v\approx2(N/K)^{2/d}` on, where the
    memoriser has collapsed onto its points; never more than 1.

    Examples
    --------
    >>> published_error(30, 3, 50, 1.0) < 0.03
    True
    """
    K, N = checks.integer("K", K, 1), checks.integer("N", N, 1)
    bound = memoriser_expected_bound(d, (N - 1) / K, psi, v) / generaliser_loss(d, psi, v)
    return float(min(1.0, bound))
