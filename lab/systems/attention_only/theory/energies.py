r"""Mean energies after one layer with linear or rectified weights, exactly; the gain is their ratio.

Tokens near K orthogonal subspaces, N_1 per cluster, ``N = K N_1``, noise delta. Energies are means of ``|z_+|²``: of
the
block of a token in its own head (signal) and in another head (foreign), starting from p and ``delta² p``. The gain of
the signal-to-noise ratio is :func:`gain`; as a mean of a ratio it holds for large N_1 p only, the energies always.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["gain", "linear_depth_gain", "linear_energies", "linear_gain_cap", "relu_energies"]


def gain(signal, foreign, delta):
    """Gain of the signal-to-noise ratio from energies per ``p`` and ``delta² p``: ``delta sqrt(signal/foreign)``."""
    signal, foreign = checks.positive("signal", signal), checks.positive("foreign", foreign)
    return (checks.positive("delta", delta) * np.sqrt(signal / foreign))[()]


def linear_energies(heads, per_class, rank, delta, eta):
    r"""(signal, foreign) energies per row after one layer with ``phi(s) = s``.

    With Wishart moments ``W_1 = np``, ``W_2 = np(n+p+1)``, ``W_3 = np(n² + p² + 3np + 3n + 3p + 4)`` of the own cluster
    (``a_i``, n = N_1) and of the noise (``b_i = delta^{2i} W_i(m)``, m = N - N_1), the totals per head are

    .. math::

        a_1 + 2\eta(a_2 + n b_1) + \eta^2(a_3 + 2\delta^2 m a_2 + n b_2), \qquad
        b_1 + 2\eta(b_2 + n b_1) + \eta^2(b_3 + 2 n b_2 + \delta^2 m a_2) .

    As ``p/N_1 -> 0`` both grow alike: linear attention is neutral.
    """
    n, m, p, d2, eta = _sizes(heads, per_class, rank, delta, eta)
    a, b = _wishart(n, p), [d2 ** (i + 1) * w for i, w in enumerate(_wishart(m, p))]
    signal = a[0] + 2 * eta * (a[1] + n * b[0]) + eta**2 * (a[2] + 2 * d2 * m * a[1] + n * b[1])
    foreign = b[0] + 2 * eta * (b[1] + n * b[0]) + eta**2 * (b[2] + 2 * n * b[1] + d2 * m * a[1])
    return signal / n, foreign / m


def linear_gain_cap(c):
    r"""Largest gain of one linear layer as ``delta -> 0``, ``eta -> infinity`` at ``c = p/N_1``, large N_1:
    :math:`\sqrt{(1 + 3c + c^2)/(1 + c)}`."""
    c = checks.non_negative("c", c)
    return np.sqrt((1 + 3 * c + c**2) / (1 + c))[()]


def linear_depth_gain(per_class, rank):
    r"""Gain of infinitely many linear layers for small noise: :math:`\sigma_1/\sqrt{N_1} \to 1 + \sqrt{p/N_1}`.

    Layers ``Z + eta Z Z^T Z`` in every head turn all of its tokens into the leading right singular vector of the head,
    where the signal has the energy sigma_1² of the largest singular value of an N_1 x p Gaussian matrix, and the noise
    no more than its average. Here with the mean of that value, Tracy-Widom shift included:
    ``sigma_1² = (s + t)² - 1.2065 (s + t)(1/s + 1/t)^{1/3}``, ``s = sqrt(N_1 - 1)``, ``t = sqrt(p)``.
    """
    n, p = checks.integer("per_class", per_class, 2), checks.integer("rank", rank, 1)
    s, t = np.sqrt(n - 1), np.sqrt(p)
    return np.sqrt(((s + t) ** 2 - 1.2065 * (s + t) * (1 / s + 1 / t) ** (1 / 3)) / n)


def relu_energies(heads, per_class, rank, delta, eta):
    r"""(signal, foreign) energies per row after one layer with ``phi(s) = max(s, 0)``.

    For a row of query variance v (1 or delta²) with ``n_A`` keys of variance 1 and ``n_B`` of variance delta² besides
    itself, ``c = (n_A + delta² n_B)/2`` and ``m_2, m_4, m_6`` the moments of the query's norm,

    .. math:: (1+\eta c)^2 m_2 + 2\eta(1+\eta c) m_4 + \eta^2 m_6 + \eta^2 (n_A + \delta^4 n_B)\, m_2
              \big(\tfrac{p-1}2 + \tfrac54\big) .

    The gain comes from the row's weight on itself alone: it tends to 1 for N_1 >> p. With weights divided by the number
    of keys N, eta is to be divided by N.
    """
    n, m, p, d2, eta = _sizes(heads, per_class, rank, delta, eta)

    def energy(v, near, far):
        c = (near + d2 * far) / 2
        m2, m4, m6 = v * p, v**2 * p * (p + 2), v**3 * p * (p + 2) * (p + 4)
        spread = (near + d2**2 * far) * m2 * ((p - 1) / 2 + 5 / 4)
        return (1 + eta * c) ** 2 * m2 + 2 * eta * (1 + eta * c) * m4 + eta**2 * (m6 + spread)

    return energy(1.0, n - 1, m), energy(d2, n, m - 1)


def _wishart(n, p):
    return n * p, n * p * (n + p + 1), n * p * (n**2 + p**2 + 3 * n * p + 3 * n + 3 * p + 4)


def _sizes(heads, per_class, rank, delta, eta):
    K, n = checks.integer("heads", heads, 2), checks.integer("per_class", per_class, 1)
    p, delta = checks.integer("rank", rank, 1), checks.positive("delta", delta)
    return n, (K - 1) * n, p, delta**2, checks.positive("eta", eta)
