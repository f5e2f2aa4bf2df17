r"""The two states of unit-norm features whose loss is known in closed form: the optimum and total collapse.

.. math:: L = \tfrac12\,\mathbb E\|z_s - z_t\|^2 - \gamma R(z_s),\qquad \|z\| = 1
"""

from __future__ import annotations

import numpy as np

from lab.systems.simdino.theory import domain

__all__ = ["collapsed_loss", "optimal_loss"]


def optimal_loss(n: int, dim: int, *, eps, gamma):
    r"""Least SimDINO loss of n unit rows in `dim` dimensions: :math:`-\gamma\,\tfrac q2\log(1+c/q)`.

    ``c = dim/eps²``, ``q = min(n, dim)``. Attained iff student and teacher agree on every sample and all q singular
    values of the features are equal (for n >= dim: a tight frame).

    Parameters
    ----------
    n, dim : int
        Samples per view, dimension of the features.
    eps, gamma : array_like, > 0
        Distortion; weight of the rate.

    Returns
    -------
    array
        Nats.

    References
    ----------
    .. [1] arXiv:2006.08558: the rate of unit rows is largest for equal singular values.

    Examples
    --------
    >>> round(float(optimal_loss(20, 5, eps=1.0, gamma=1.0)), 6)
    -1.732868
    """
    q = min(domain.integer("n", n, 1), domain.integer("dim", dim, 1))
    c = domain.coding_scale(dim, eps)
    return (-domain.positive("gamma", gamma) * 0.5 * q * np.log1p(c / q))[()]


def collapsed_loss(dim: int, *, eps, gamma):
    r"""SimDINO loss when all features are one unit vector: :math:`-\tfrac\gamma2\log(1+c)`, whatever the samples.

    The gradient there is radial, so it vanishes on the sphere: the collapsed state is stationary, and training started
    exactly there never leaves. Whether it is stable is another question: `growth_factor`.

    Examples
    --------
    >>> round(float(collapsed_loss(5, eps=1.0, gamma=1.0)), 6)
    -0.89588
    """
    return (-domain.positive("gamma", gamma) * 0.5 * np.log1p(domain.coding_scale(dim, eps)))[()]
