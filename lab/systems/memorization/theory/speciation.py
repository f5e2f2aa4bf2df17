r"""When a reverse diffusion decides between two classes: means plus and minus mu, variance v.

At noise level t the density has one maximum between the classes, at 0, until the curvature of its logarithm along mu
changes sign: :math:`\partial^2\log p(0)=(\alpha^2|\mu|^2/\Gamma-1)/\Gamma`, :math:`\Gamma=\alpha^2v+\sigma^2`. There
:math:`g=\alpha^2|\mu|^2/\Gamma=1`, so the agreement of two reverse diffusions from one y is the number phi(1) in every
dimension. arXiv:2402.18491 has the threshold for v = 1 and large d; the exact form with any v is derived for this
laboratory, verified numerically.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.models.diffusion import Process
from lab.systems.memorization.theory.mmse import two_class_agreement

__all__ = ["class_agreement", "origin_curvature", "speciation_agreement", "speciation_snr", "speciation_time"]


def speciation_snr(radius, v: float = 1.0):
    r"""Signal-to-noise ratio of speciation, :math:`\psi_S=1/(|\mu|^2-v)`.

    Parameters
    ----------
    radius : array_like, > sqrt(v)
        Length of mu; below, the data themselves have a single maximum.
    v : float, >= 0
        Variance of a class.
    """
    v = float(checks.non_negative("v", v))
    rule = f"must exceed sqrt(v)={np.sqrt(v):.4g}: closer classes have one maximum without any noise"
    radius = checks.checked("radius", radius, lambda r: (r**2 > v) & np.isfinite(r), rule)
    return (1 / (radius**2 - v))[()]


def speciation_time(process: Process, radius, v: float = 1.0):
    r"""Time of speciation; OU: :math:`t_S=\frac12\log(|\mu|^2+1-v)`. Arguments as in `speciation_snr`.

    Examples
    --------
    >>> from lab.models.diffusion import OU
    >>> round(float(speciation_time(OU, 4.0)), 6) == round(float(np.log(4.0)), 6)
    True
    """
    return process.time_of_ratio(1 / np.sqrt(speciation_snr(radius, v)))


def origin_curvature(process: Process, t, radius: float, v: float = 1.0):
    r"""Second derivative of log p along mu at 0, :math:`(\alpha^2|\mu|^2/\Gamma-1)/\Gamma`."""
    a, s = process.alpha(t), process.sigma(t)
    width = a**2 * float(checks.non_negative("v", v)) + s**2
    return (a**2 * float(checks.positive("radius", radius)) ** 2 / width - 1) / width


def class_agreement(psi, radius, v: float = 1.0):
    r"""Chance that two reverse diffusions from one y end in the same class, :math:`\phi(\psi|\mu|^2/(1+\psi v))`."""
    psi, radius = checks.positive("psi", psi), checks.positive("radius", radius)
    return two_class_agreement(psi * radius**2 / (1 + psi * float(checks.non_negative("v", v))))


def speciation_agreement() -> float:
    """phi(1), the agreement at speciation.

    Examples
    --------
    >>> round(speciation_agreement(), 6)
    0.7752
    """
    return float(two_class_agreement(1.0))
