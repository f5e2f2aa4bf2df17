r"""Linear stability of the collapsed state under one training step.

A small amplitude of a mode with noise fraction nu obeys, in the student's and the teacher's weights,

.. math:: w_s' = a\,w_s + b\,w_t,\quad w_t' = m\,w_t + (1-m)\,w_s',\qquad
          a = 1+\eta(g_s-1),\quad b=\eta(1-\nu+g_t)

with learning rate eta, momentum m of the teacher and the push (g_s, g_t) of the rate term. The mode grows iff
g_s + g_t > nu, whatever the momentum.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.simdino.theory import domain

__all__ = [
    "OfficialSettings",
    "collapse_onset",
    "growth_factor",
    "growth_rate",
    "official_settings",
    "rate_push",
    "slow_rate",
    "transient_factor",
]

Expanded = Literal["student", "mean"]


def rate_push(dim: int, *, eps, gamma, centred: bool = False, of: Expanded = "student"):
    r"""Push (g_s, g_t) of the coding rate on a small mode of the student's and the teacher's weights.

    Parameters
    ----------
    dim : int
        Dimension d of the features, c = d/eps².
    eps, gamma : array_like, > 0
    centred : bool
        Rate of the covariance: g_s = gamma c. Otherwise rate of the uncentred second moment of unit rows, where the
        collapsed direction shrinks as others grow: :math:`g_s = \gamma\kappa`, :math:`\kappa=c^2/(1+c)`. The linear
        encoder without normalisation has the centred form, too.
    of : "student" or "mean"
        Whose features the rate is taken of. For the mean of student and teacher, g_t = gamma c/4 and
        g_s = gamma c/4, uncentred :math:`\gamma(c/4-\tfrac{c}{2(1+c)})`: half the sum of the student's form.

    Returns
    -------
    g_s, g_t : arrays
    """
    c, gamma = domain.coding_scale(dim, eps), domain.non_negative("gamma", gamma)
    lost = 0.0 if centred else c / (1 + c)  # what the collapsed direction loses, c - kappa
    if of == "student":
        return gamma * (c - lost), 0.0 * gamma
    if of == "mean":
        return gamma * (c / 4 - lost / 2), gamma * c / 4
    raise OutOfDomain(f"of={of!r}: must be 'student' or 'mean'")


def collapse_onset(nu, dim: int, *, eps, centred: bool = False, of: Expanded = "student"):
    r"""The gamma above which a mode of noise fraction nu leaves the collapsed state: :math:`\nu/\kappa`.

    ``kappa = c`` centred (and for the linear encoder), ``c²/(1+c)`` uncentred, half of that for the mean of student and
    teacher features. Independent of learning rate and momentum.

    Examples
    --------
    >>> round(float(collapse_onset(0.5, 4, eps=0.5)), 6), float(collapse_onset(0.5, 4, eps=0.5, centred=True))
    (0.033203, 0.03125)
    """
    own, other = rate_push(dim, eps=eps, gamma=1.0, centred=centred, of=of)
    return domain.noise_fraction(nu)[()] / (own + other)


def _quadratic(nu, push, momentum, step):
    """Coefficients of x² + p x - q = 0 for x = eigenvalue - 1, and the determinant of the step."""
    nu, m, eta = domain.noise_fraction(nu), domain.momentum(momentum), domain.step_size(step)
    own, other = (np.asarray(g, dtype=float) for g in push)
    p = eta * (1 - own) + (1 - m) * (1 - eta * (1 - nu + other))
    q = (1 - m) * eta * (own + other - nu)
    return p, q, m * (1 + eta * (own - 1))


def growth_rate(nu, push, *, momentum, step):
    """`growth_factor` minus one, without the cancellation near the onset."""
    p, q, _ = _quadratic(nu, push, momentum, step)
    root = np.sqrt(p * p + 4 * q)
    with np.errstate(divide="ignore", invalid="ignore"):
        small = 2 * q / (p + root)
    return np.where(p > 0, small, 0.5 * (root - p))[()]


def growth_factor(nu, push, *, momentum, step):
    r"""Factor by which a small mode grows per training step: the top eigenvalue of the step.

    .. math:: \begin{pmatrix} a & b\\ (1-m)a & m+(1-m)b\end{pmatrix}

    Parameters
    ----------
    nu : array_like, in [0, 1]
        Noise fraction of the mode.
    push : pair of array_like
        `rate_push`.
    momentum, step : array_like
        m in [0, 1) and eta in (0, 1].

    Returns
    -------
    array
        Above 1 iff g_s + g_t > nu.

    Examples
    --------
    >>> round(float(growth_factor(0.05, (0.3, 0.0), momentum=0.9, step=0.1)), 6)
    1.014302
    """
    return 1 + growth_rate(nu, push, momentum=momentum, step=step)


def transient_factor(nu, push, *, momentum, step):
    """The other eigenvalue of the step over the top one: by this factor per step the transient dies out."""
    top = growth_factor(nu, push, momentum=momentum, step=step)
    return _quadratic(nu, push, momentum, step)[2] / top**2


def slow_rate(nu, push, *, momentum, step):
    r"""First order of `growth_rate` near the onset.

    .. math:: \frac{(1-m)\,\eta\,(g_s+g_t-\nu)}{\eta(1-g_s)+(1-m)(1-\eta(1-\nu+g_t))}
    """
    p, q, _ = _quadratic(nu, push, momentum, step)
    return (q / p)[()]


class OfficialSettings(NamedTuple):
    """What the public training code amounts to: gamma, its true distortion, and the largest noise fraction that grows.

    A mode leaves the collapsed state iff its noise fraction is below `gain`; above 1 every mode does, noise included.
    """

    gamma: float
    eps: float
    gain: float


def official_settings(
    *, dim: int = 256, batch: int = 64, processes: int = 1, code_eps: float = 0.5, reduced: bool = False,
    of: Expanded = "mean",
) -> OfficialSettings:  # fmt: skip
    r"""Settings of the public SimDINO training code in the terms of the laws.

    Its `eps` is a square, its weight :math:`\gamma=(d+N)/(dN)` with N = batch times processes, its rate uncentred and
    (option ``expa_type = 1``, the default) of the mean of student and teacher features. Unless the option
    ``reduce_cov`` sums second moments over processes (off by default), the sum over one process's batch is divided by
    the samples of all: c shrinks by the number of processes.

    Parameters
    ----------
    dim, batch, processes : int
        Dimension of the features (``z_dim``), samples per process, number of processes; published defaults 256 and 64.
    code_eps : float
        The code's `eps`, i.e. eps²; published default 0.5.
    reduced : bool
        ``reduce_cov``.
    of : "student" or "mean"
        ``expa_type`` 0 or 1.

    Returns
    -------
    OfficialSettings

    References
    ----------
    .. [1] github.com/RobinWu218/SimDINO, simdino/main_dino.py, class MCRLoss and its options.

    Examples
    --------
    >>> round(official_settings().gain, 3), round(official_settings(processes=16).gain, 3)
    (4.99, 0.076)
    """
    total = domain.integer("batch", batch, 1) * domain.integer("processes", processes, 1)
    gamma = (domain.integer("dim", dim, 1) + total) / (dim * total)
    square = float(domain.positive("code_eps", code_eps)) * (1 if reduced else processes)
    own, other = rate_push(dim, eps=np.sqrt(square), gamma=gamma, of=of)
    return OfficialSettings(gamma, float(np.sqrt(square)), float(own + other))
