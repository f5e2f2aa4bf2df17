r"""Curvature of the coding rate and of the regularised objective, and the ascent steps that it allows.

Reduced squared singular values are ``u = alpha sigma²`` with ``alpha = d/(N eps²)``.
"""

from __future__ import annotations

from lab.systems.mcr2.theory import domain

__all__ = ["largest_monotone_step", "rate_curvature", "rate_curvature_range", "smoothness"]


def rate_curvature(u):
    r"""Curvature of R along one singular value, in units of alpha: :math:`(1-u)/(1+u)^2`, least (-1/8) at u = 3."""
    u = domain.non_negative("u", u)
    return ((1 - u) / (1 + u) ** 2)[()]


def rate_curvature_range(alpha: float) -> tuple[float, float]:
    """Smallest interval that holds every eigenvalue of the Hessian of R: ``[-alpha/8, alpha]``, both ends attained.

    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    alpha = float(domain.positive("alpha", alpha))
    return -alpha / 8, alpha


def smoothness(alpha, lam):
    r"""Lipschitz constant of the gradient of F: :math:`L = 9\alpha/8+\lambda`.

    The Hessian of the rate lies in ``[-alpha/8, alpha]``, and so does that of the class terms (their weights turn
    alpha_k into alpha); their difference has norm at most 9 alpha/8.
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    return domain.positive("alpha", alpha) * 1.125 + domain.multiplier(lam, "lam")


def largest_monotone_step(alpha, lam):
    r"""The step :math:`2/L` below which ascent never decreases F; 1/alpha is below it while lambda < 7 alpha/8."""
    return 2 / smoothness(alpha, lam)
