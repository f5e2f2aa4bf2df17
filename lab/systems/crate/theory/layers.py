r"""Many layers: the rate falls along a known path under exact steps, and grows without bound under attention alone."""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.systems.crate.theory.descent import singular_values_after

__all__ = ["attention_slope", "rate_path"]


def rate_path(s, reduced_step, beta, layers):
    r"""Coding rate before and after each of `layers` exact gradient steps, shape (layers + 1,), from singular values.

    .. math:: R^c_l = \tfrac12 \sum \log(1 + \beta s_l^2), \qquad s_{l+1} = s_l\,|1 - \kappa\beta/(1 + \beta s_l^2)|

    Frames stacked-orthonormal: the singular vectors of the heads stay, and R^c needs nothing else.

    Parameters
    ----------
    s : array_like, >= 0
        Singular values of all heads before the first layer, in any shape.
    reduced_step : float, >= 0
        ``kappa beta``.
    beta : float, > 0
    layers : int, >= 0

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> rate_path([1.0, 1.0], 1.0, 1.0, 2).round(4).tolist()
    [0.6931, 0.2231, 0.01]
    """
    values, beta = checks.non_negative("s", s).ravel(), float(checks.positive("beta", beta))
    found = []
    for _ in range(checks.integer("layers", layers, 0) + 1):
        found.append(0.5 * np.sum(np.log1p(beta * values**2)))
        values = singular_values_after(values, reduced_step, beta)
    return np.array(found)


def attention_slope(heads, rank, step):
    r"""What a layer Z + step MSSA(Z) without layer norm adds to R^c in the end: :math:`K p \log(1 + \mathrm{step})`
    nats.

    Scores grow with the square of the tokens, so softmax becomes a maximum, every token follows one that attends to
    itself, and all coordinates are multiplied by 1 + step. For heads whose self-attending tokens span their p
    dimensions. Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(attention_slope(4, 16, 1.0), 3)
    44.361
    """
    K, p = checks.integer("heads", heads, 1), checks.integer("rank", rank, 1)
    return K * p * float(np.log1p(checks.positive("step", step)))
