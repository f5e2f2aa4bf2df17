r"""When the posterior over training points collapses onto the right one.

For n points of one cluster, :math:`N(0,vI)` in d dimensions, :math:`y=\sqrt\psi\,x_1+z`, the *information density*
:math:`i=\log p(y|x_1)/p(y)` says how much y speaks for its own point,

.. math:: i=\tfrac d2\log(1+\psi v)+\tfrac12\sqrt{\tfrac{\psi v}{1+\psi v}}\,(\chi^2_d-\chi'^2_d),

two independent chi-square variables: mean :math:`\tfrac d2\log(1+\psi v)`, standard deviation
:math:`w=\sqrt{d\psi v/(1+\psi v)}`. The posterior finds the point when i exceeds log n, so it collapses at
:math:`\psi_C=(n^{2/d}-1)/v`, over a window of width w in the mean information; there the sum over the other points
freezes as well, for the divergence of posterior from prior is that mean. `partial_memoriser.recall` gives the average
posterior probability of the right point exactly.

The threshold is arXiv:2402.18491's, there to leading order in d and with all points counted; bound and window are
derived for this laboratory, verified numerically; not found in arXiv:2402.18491 or arXiv:2508.17689.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lab import checks
from lab.models.diffusion import Process
from lab.systems.memorization.theory.quadrature import chi_square_nodes

__all__ = ["collapse_coordinate", "collapse_snr", "collapse_time", "recall_bound", "window_correction", "window_recall",
           "window_width"]  # fmt: skip


def _several(count: Any) -> np.ndarray:
    return checks.checked("count", count, lambda n: (n > 1) & np.isfinite(n), "must exceed 1: one point has no rival")


def collapse_snr(d: int, count, v: float = 1.0):
    r"""Signal-to-noise ratio of collapse, :math:`\psi_C=(n^{2/d}-1)/v`.

    Parameters
    ----------
    d : int, >= 1
    count : array_like, > 1
        n, points of a cluster, need not be whole: N/K for N points in K separated clusters.
    v : float, > 0
        Variance of a cluster.

    Examples
    --------
    >>> round(float(collapse_snr(40, 500)), 4)
    0.3644
    """
    n, v = _several(count), float(checks.positive("v", v))
    return (np.expm1(2 / checks.integer("d", d, 1) * np.log(n)) / v)[()]


def collapse_time(process: Process, d: int, count, v: float = 1.0):
    r"""Time of collapse: OU :math:`\frac12\log\bigl(1+\frac v{n^{2/d}-1}\bigr)`, VP :math:`n^{-1/d}` at v = 1.

    Arguments as in `collapse_snr`; any process.
    """
    return process.time_of_ratio(1 / np.sqrt(collapse_snr(d, count, v)))


def window_width(d: int, psi, v: float = 1.0):
    r"""Standard deviation of the information density, :math:`w=\sqrt{d\,\psi v/(1+\psi v)}`."""
    snr = checks.positive("psi", psi) * float(checks.positive("v", v))
    return np.sqrt(checks.integer("d", d, 1) * snr / (1 + snr))[()]


def collapse_coordinate(d: int, count, psi, v: float = 1.0):
    r"""Distance from collapse in widths, :math:`z=\bigl(\tfrac d2\log(1+\psi v)-\log n\bigr)/w`."""
    n, snr = _several(count), checks.positive("psi", psi) * float(checks.positive("v", v))
    return ((d / 2 * np.log1p(snr) - np.log(n)) / window_width(d, snr))[()]


def recall_bound(d: int, count, psi, v: float = 1.0, *, share: float = 1.0):
    r"""Lower bound on the average posterior probability of the right point: :math:`E\,p_1\ge E[1/(1+(n-1)e^{-i})]`.

    Jensen's inequality over the other points: their weights relative to the right one average to :math:`e^{-i}`. Equal
    to E p_1 as psi goes to 0 (1/n), and 1/2 at collapse but for terms of order 1/n, as i is symmetric.

    Parameters
    ----------
    d : int, >= 1
    count : array_like, >= 1
        n, points of the denoiser; each but the right one lies in the cluster with probability `share`.
    psi : array_like, > 0
    v : float, > 0
    share : float, in (0, 1]
        1/K for separated clusters.
    """
    from scipy.special import expit

    n = checks.checked("count", count, lambda n: (n >= 1) & np.isfinite(n), "must be at least 1 and finite")
    share = float(checks.checked("share", share, lambda s: (s > 0) & (s <= 1), "must lie in (0, 1]"))
    snr = checks.positive("psi", psi) * float(checks.positive("v", v))
    d = checks.integer("d", d, 1)
    # the logistic function varies over lengths of 2 or more of the chi-square variables: steps of at most 1
    square, weight = chi_square_nodes(d, 80 + int(22 * np.sqrt(d)))
    gap = square[:, None] - square
    with np.errstate(divide="ignore"):
        rivals = np.log((n - 1) * share)

    def one(snr: float, rivals: float) -> float:
        information = d / 2 * np.log1p(snr) + 0.5 * np.sqrt(snr / (1 + snr)) * gap
        return float(weight @ expit(information - rivals) @ weight)

    return np.vectorize(one, otypes=[float])(snr, rivals)[()]


def window_correction(z, snr):
    r"""Coefficient A(z) of the correction to the window: :math:`-E\log\Phi\bigl(rG-z\sqrt{1-r^2}\bigr)`.

    G standard normal, :math:`r^2=\psi v/(2(1+\psi v))` the share of the variance of the information density that y
    decides. At the edge the other points weigh less than on average, by the share :math:`\Phi` of the average that
    comes from rivals which exist among n: this helps the right one.

    Parameters
    ----------
    z : array_like
    snr : array_like, > 0
        psi v.

    Returns
    -------
    array
        Positive; log 2 at z = 0 as psi v goes to 0.
    """
    from scipy.special import log_ndtr

    z = checks.checked("z", z, np.isfinite, "must be finite")
    snr = checks.positive("snr", snr)
    share = snr / (2 * (1 + snr))
    g = np.linspace(-9, 9, 361)  # trapezoid, spectral for this smooth function
    weight = np.exp(-g * g / 2)
    at = np.sqrt(share)[..., None] * g - (z * np.sqrt(1 - share))[..., None]
    return (-log_ndtr(at) @ (weight / weight.sum()))[()]


def window_recall(d: int, count, psi, v: float = 1.0):
    r"""Average posterior probability of the right point in the window: :math:`\Phi(z)+\varphi(z)A(z)/w`.

    z from `collapse_coordinate`, w from `window_width`, A from `window_correction`; error :math:`O(w^{-2})` as d and n
    grow at fixed psi and z. Curves of all (d, n) fall together on :math:`\Phi(z)`, slowly.
    """
    from scipy.special import ndtr

    z, w = collapse_coordinate(d, count, psi, v), window_width(d, psi, v)
    density = np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi)
    return (ndtr(z) + density * window_correction(z, np.asarray(psi, dtype=float) * v) / w)[()]
