r"""How many layers keep the exact rate, and two ways to keep it for ever.

Each exact layer multiplies the signal by ``1 + eta tau`` and leaves the foreign noise as it is, so scores of foreign
rows
grow until keys win that should not. Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.systems.attention_only.theory.failures import foreign_failure, signal_failure
from lab.systems.attention_only.theory.thresholded import growth

__all__ = ["exact_depth", "normalised_snr", "peak_depth", "typical_depth"]


def exact_depth(heads, per_class, rank, delta, tau, eta, *, probability=0.5):
    r"""Number of layers, as a real number, through which the rate is exact with the given probability.

    The l that solves :math:`N P_s + N(K-1) P_n(g) = -\log(\mathrm{probability})`, ``g = (1 + eta tau)^{l-1}``; its
    integer part is the last such layer. 0 if not even the first layer is exact with that probability.

    Parameters
    ----------
    heads, per_class, rank, delta, tau
        As in `lab.systems.attention_only.theory.signal_failure`; ``tau >= 1/2``.
    eta : float, > 0
        Step.
    probability : float in (0, 1)
    """
    tokens, allowed = heads * per_class, -np.log(float(checks.fraction("probability", probability)))
    allowed -= tokens * signal_failure(heads, per_class, rank, delta, tau)
    step = np.log(growth(eta, tau)[0])

    def expected(log_gain):
        return tokens * (heads - 1) * foreign_failure(heads, per_class, rank, delta, tau, np.exp(log_gain))

    return _depth(expected, allowed, step)


def peak_depth(heads, per_class, rank, delta, tau, eta, *, factor=1.0):
    r"""Layer, as a real number, from which the signal-to-noise ratio falls: where

    .. math:: P_n(g)\,(\eta\tau g/\delta)^2 = (1+\eta\tau)^2 - 1, \qquad g = (1+\eta\tau)^{l-1} .

    A foreign row that attends to a key of the signal adds its square norm to the noise; rows that attend to themselves
    do not count. 0 if the ratio falls in the first layer already.

    Parameters
    ----------
    heads, per_class, rank, delta, tau, eta
        As in `exact_depth`.
    factor : float, > 0
        Factor of the rate, to see what an error of it comes to.
    """
    rate = growth(eta, tau)[0]

    def noise(log_gain):
        g = np.exp(log_gain)
        failed = factor * foreign_failure(heads, per_class, rank, delta, tau, g, self_win=False)
        return min(failed, 1.0) * (eta * tau * g / delta) ** 2

    return _depth(noise, rate**2 - 1, np.log(rate))


def _depth(curve, level, step):
    """Where an increasing function of the log gain reaches a level, in layers; 0 at once, infinity never."""
    if curve(0.0) >= level:
        return 0.0
    high = step
    while curve(high) < level:
        high *= 2
        if high > 600:
            return float("inf")
    from scipy.optimize import brentq

    return 1 + float(brentq(lambda v: np.log(curve(v) + 1e-300) - np.log(level), 0.0, high, xtol=1e-9)) / step


def typical_depth(per_class, rank, delta, tau, eta):
    r"""Layer from which weights of a typical foreign row are of order one: ``g² delta² p = 2 log N_1``.

    .. math:: l_{typ} = 1 + \log\frac{\sqrt{2\log N_1}}{\delta\sqrt p} \Big/ \log(1 + \eta\tau)

    Condensation of the random-energy model of its scores; half of the rows fail only at two to three times that
    ``g² delta² p`` (`condensed_fraction`).
    """
    per_class, rank = checks.positive("per_class", per_class), checks.positive("rank", rank)
    scores = checks.positive("delta", delta) * np.sqrt(rank)
    return (1 + np.log(np.sqrt(2 * np.log(per_class)) / scores) / np.log(growth(eta, tau)[0]))[()]


def normalised_snr(signal, noise, growth):
    r"""Signal-to-noise ratio of a cluster whose tokens are put back to one common norm after every exact layer.

    With token norms ``a_i`` in the own head and ``e_i`` in the others at the start, and ``t_i = e_i/(a_i G)``, G the
    product of the growth factors so far,

    .. math:: \mathrm{SNR}^2 = \sum_i \frac{1}{1 + t_i^2} \Big/ \sum_i \frac{t_i^2}{1 + t_i^2} .

    Each token keeps its own ratio times G; the norm fixes its weight in the sums, so the target drops out. The
    ratio of successive layers tends to the growth factor from below or above, as the t_i tend to 0.

    Parameters
    ----------
    signal, noise : array, shape (..., n)
        Norms a_i > 0 and e_i >= 0 of the tokens of the cluster.
    growth : float, > 0
        G; ``(1 + eta tau)^l`` after l layers.
    """
    signal, noise = checks.positive("signal", signal), checks.non_negative("noise", noise)
    square = (noise / (signal * checks.positive("growth", growth))) ** 2
    return np.sqrt(np.sum(1 / (1 + square), axis=-1) / np.sum(square / (1 + square), axis=-1))
