r"""Copying the previous token with hard attention: the size of its value, by Lambert's function.

Every copied token costs :math:`CE=\log(1+(V-1)e^{-\xi})`; under gradient flow with weight omega,

.. math:: \xi(t)=c-W_0\bigl(e^c/(V-1)\bigr),\qquad c=\omega t+\xi_0+e^{\xi_0}/(V-1),

with :math:`W_0` Lambert's function (W here, unlike elsewhere, not a length). Derived for this laboratory, verified
numerically; not found in arXiv:2410.13835.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["copy_loss", "copy_value"]


def copy_loss(xi, vocabulary: int) -> np.ndarray:
    """Cross-entropy of a copied token at value xi, nats."""
    return np.log1p((checks.integer("vocabulary", vocabulary, 2) - 1) * np.exp(-np.asarray(xi, dtype=float)))


def copy_value(t, vocabulary: int, *, weight: float = 1.0, start: float = 0.0) -> np.ndarray:
    """Exact xi at times t >= 0; `weight` is omega > 0.

    Examples
    --------
    >>> float(round(copy_value(0.0, 5, start=2.0), 12))
    2.0
    """
    others = checks.integer("vocabulary", vocabulary, 2) - 1
    t, weight = checks.non_negative("t", t), float(checks.positive("weight", weight))
    # xi + e^xi/(V-1) = c by Newton on the convex left side, from above
    c = weight * t + start + np.exp(start) / others
    xi = np.minimum(c, np.log(others * np.maximum(c, 1.0)) + 1)
    xi = np.maximum(xi, np.where(c < 1, c, 0.0))
    for _ in range(60):
        e = np.exp(xi) / others
        xi = xi - (xi + e - c) / (1 + e)
    return xi
