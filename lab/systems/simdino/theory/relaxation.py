r"""How fast the linear model of `waterfilling` settles, and how a mode without noise never does.

Near W = 0 its modes grow like those of a collapsed encoder (`collapse`), with the centred push gamma c.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab.systems.simdino.theory import domain
from lab.systems.simdino.theory.collapse import growth_rate, transient_factor
from lab.systems.simdino.theory.waterfilling import filled_modes

__all__ = ["noiseless_slope", "slowest_relaxation"]


def slowest_relaxation(nu, dim: int, *, eps, gamma, momentum, step) -> float:
    r"""Rate per step, 1 - |largest eigenvalue|, at which the slowest mode settles at the stable fixed point.

    Modes: a collapsed one (push gamma c on nu_i); the amplitude of a filled one, where the push has fallen to
    :math:`\nu_i(2\gamma_i/\gamma-1)`; and the rotation of the last filled mode k into a mode j left out for want of
    dimensions, push nu_k on nu_j. Zero at the thresholds: critical slowing down.
    """
    nu = np.sort(domain.noise_fraction(nu))
    c, gamma = float(domain.coding_scale(dim, eps)), float(domain.non_negative("gamma", gamma))
    filled = nu[: filled_modes(nu, dim, eps=eps, gamma=gamma)]
    rest = nu[filled.size :]
    pushes = [(one, one * (2 * one / (gamma * c) - 1)) for one in filled]
    limit = filled[-1] if filled.size == dim else gamma * c  # full: the weakest filled mode resists the others
    pushes += [(one, limit) for one in rest]
    rates = []
    for one, push in pushes:
        top = 1 + growth_rate(one, (push, 0.0), momentum=momentum, step=step)
        other = top * transient_factor(one, (push, 0.0), momentum=momentum, step=step)
        rates.append(1 - max(abs(top), abs(other)))
    return float(min(rates))


def noiseless_slope(gamma, *, momentum, step):
    r"""Growth per step of the second moment of a mode without noise (nu = 0), which never settles.

    .. math:: \frac{2\gamma\,\eta(1-m)}{\eta+(1-m)(1-\eta)}

    Asymptotically linear in time. The published method normalises its features, which forbids it.
    """
    gamma, m, eta = domain.positive("gamma", gamma), domain.momentum(momentum), domain.step_size(step)
    return (2 * gamma * eta * (1 - m) / (eta + (1 - m) * (1 - eta)))[()]
