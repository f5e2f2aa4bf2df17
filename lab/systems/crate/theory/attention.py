r"""Attention as a step on the coding rate: with and without the contraction.

Neumann's first-order form of a gradient step, with weights :math:`\phi` in place of the Gram matrix, is
:math:`(1-\kappa\beta) Z + \kappa\beta^2\,\mathrm{MSSA}_\phi(Z)`; the layer as written is
:math:`Z + \mathrm{MSSA}_\phi(Z)`.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["contracted_lowers", "linear_attention_values"]


def linear_attention_values(s, reduced_step, beta, *, contracted: bool):
    r"""Singular values of a head after one step with linear weights (the Gram matrix itself).

    :math:`s\,|1 - t(1 - x)|` contracted, with :math:`t = \kappa\beta`, :math:`x = \beta s^2`; :math:`s\,(1 + t x)`
    without the contraction, never below s.

    Parameters
    ----------
    s : array_like, >= 0
    reduced_step : array_like, >= 0
        t = kappa beta; the update is ``t beta W W^T W``.
    beta : array_like, > 0
    contracted : bool
        With the factor ``1 - t`` on the residual.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> [float(linear_attention_values(1.0, 0.5, 0.5, contracted=c)) for c in (True, False)]
    [0.75, 1.25]
    """
    s, t = checks.non_negative("s", s), checks.non_negative("reduced_step", reduced_step)
    x = checks.positive("beta", beta) * s**2
    return (s * np.abs(1 - t * (1 - x)) if contracted else s * (1 + t * x))[()]


def contracted_lowers(beta):
    r"""Whether the contracted step with softmax weights lowers :math:`R^c` where every signal row attends to itself.

    For vanishing noise the signal rows of a head are then multiplied by :math:`1 + \kappa\beta(\beta - 1)`: the rate
    falls for :math:`\beta < 1`, that is :math:`\epsilon^2 > p/N` in units of the signal's variance, and rises beyond.
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    return (checks.positive("beta", beta) < 1)[()]
