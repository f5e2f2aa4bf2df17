r"""Plain softmax attention without a threshold: the signal-to-noise ratio rises, peaks and collapses.

Signal rows attend to themselves and grow by ``1 + eta``. Foreign rows attend to keys in proportion to exponential
scores,
whose tilt returns g² times the query: the noise grows by ``1 + eta w_n``, with w_n small at first and above 1 once the
signal g has grown. Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lab import checks

__all__ = ["Evolution", "foreign_tilt", "softmax_evolution"]


class Evolution(NamedTuple):
    """State of each layer, arrays of length L + 1.

    Attributes
    ----------
    signal : g, standard deviation of the signal
    coherent : a, that of the noise along its start
    orthogonal : b, that of the noise that attention adds
    snr : ``g/sqrt((K-1)(a² + b²))``
    """

    signal: np.ndarray
    coherent: np.ndarray
    orthogonal: np.ndarray
    snr: np.ndarray


def foreign_tilt(heads, per_class, rank, noise, signal=1.0):
    r"""``(w_n, sqrt f)``: factor with which a foreign row gets itself back, and standard deviation of what else it
    gets.

    With v the noise, g the signal, ``r = v² p`` and Z the sum of exponential scores,

    .. math:: w_n = \frac{N_1 g^2 e^{g^2 r/2} + (N - N_1 - 1) v^2 e^{v^2 r/2} + e^r}{N_1 e^{g^2 r/2} +
              (N - N_1 - 1) e^{v^2 r/2} + e^r}, \qquad f = \frac{N_1 g^2 e^{2 g^2 r} + \dots}{Z^2},

    every mean over keys cut at the largest expected key, ``t = sqrt(2 log(number of keys))``.
    """
    from scipy.special import log_ndtr

    K, n = checks.integer("heads", heads, 2), checks.integer("per_class", per_class, 2)
    p = float(checks.positive("rank", rank))
    v, g = float(checks.positive("noise", noise)), float(checks.positive("signal", signal))
    r = v**2 * p
    total, tilted, squares = [r], [(1.0, r)], []
    for size, count in ((g, n), (v, (K - 1) * n - 1)):
        if count < 1:
            continue
        s, t = size * np.sqrt(r), np.sqrt(2 * np.log(count))
        total.append(np.log(count) + s**2 / 2 + log_ndtr(t - s))
        # E[xi e^{s xi}; xi < t] = e^{s²/2} (s Phi(t-s) - phi(t-s)), divided by e^{s²/2} Phi(t-s): may be negative
        mean = s - np.exp(-((t - s) ** 2) / 2 - log_ndtr(t - s)) / np.sqrt(2 * np.pi)
        tilted.append((size / np.sqrt(r) * mean, total[-1]))
        squares.append(np.log(count) + 2 * np.log(size) + 2 * s**2 + log_ndtr(t - 2 * s))
    log_sum = np.logaddexp.reduce(total)
    weight = sum(value * np.exp(log - log_sum) for value, log in tilted)
    return float(weight), float(np.exp(0.5 * (np.logaddexp.reduce(squares) - 2 * log_sum)))


def softmax_evolution(heads, per_class, rank, delta, eta, layers):
    r"""State evolution of ``Z + eta MSSA(Z)`` with plain softmax over `layers` layers.

    .. math:: a \leftarrow a(1+\eta w_n), \quad b \leftarrow b(1+\eta w_n) + \eta\sqrt f, \quad g \leftarrow g(1+\eta),

    from ``a = delta``, ``b = 0``, ``g = 1``, ``v² = a² + b²``. For ``delta sqrt p <= .8`` and ``p > 2 log N_1`` within
    3 % up to the peak of the ratio; beyond it qualitative only.

    Returns
    -------
    Evolution

    Examples
    --------
    >>> [round(float(v), 2) for v in softmax_evolution(4, 128, 64, 0.05, 0.03, 16).snr[[0, 13, 16]]]
    [11.55, 14.12, 14.23]
    """
    eta, layers = float(checks.positive("eta", eta)), checks.integer("layers", layers, 0)
    states = [(1.0, float(checks.positive("delta", delta)), 0.0)]
    for _ in range(layers):
        g, a, b = states[-1]
        weight, spread = foreign_tilt(heads, per_class, rank, np.hypot(a, b), g)
        factor = max(1 + eta * weight, 1e-12)
        states.append((g * (1 + eta), a * factor, b * factor + eta * spread))
    g, a, b = np.array(states).T
    return Evolution(g, a, b, g / (np.sqrt(heads - 1) * np.hypot(a, b)))
