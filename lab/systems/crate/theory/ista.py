r"""Proximal gradient steps (ISTA) on :math:`F(A) = \lambda\|A\|_1 + \tfrac12\|Y - A D^\top\|_F^2`, A >= 0.

L is the squared spectral norm of the dictionary D (d, m), eta the step.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["gap_bound", "orthogonal_codes", "step_decrease"]


def step_decrease(reduced_step):
    r"""Guaranteed decrease of F in one step, in units of :math:`L\|A^+ - A\|^2`: :math:`1/(\eta L) - 1/2`.

    Positive for :math:`\eta L < 2`; from a start A >= 0.

    References
    ----------
    .. [1] Beck and Teboulle 2009, lemma 2.3 (standard; not printed in arXiv:2306.01129).

    Examples
    --------
    >>> float(step_decrease(1.0))
    0.5
    """
    t = checks.positive("reduced_step", reduced_step)
    return (1 / t - 0.5)[()]


def gap_bound(distance, eta, steps):
    r"""Largest gap :math:`F(A_T) - F^\star` after T steps of :math:`\eta \le 1/L`:
    :math:`\|A_0 - A^\star\|^2/(2\eta T)`.

    With L in place of 1/eta it holds at eta = 1/L only.

    Parameters
    ----------
    distance : array_like, >= 0
        Frobenius norm of ``A_0 - A*``.
    eta : array_like, > 0
    steps : array_like, >= 1

    References
    ----------
    .. [1] Beck and Teboulle 2009, theorem 3.1.
    """
    distance, eta = checks.non_negative("distance", distance), checks.positive("eta", eta)
    return (distance**2 / (2 * eta * checks.positive("steps", steps)))[()]


def orthogonal_codes(Y, D, lam, *, sign: float = -1.0):
    r"""Minimiser of F for a square orthogonal dictionary, :math:`\max(Y D - \lambda, 0)`.

    One step of eta = 1 from anywhere gives it. `sign` +1 is a published slip.

    Examples
    --------
    >>> orthogonal_codes([[1.0, -2.0]], [[1.0, 0.0], [0.0, 1.0]], 0.25)
    array([[0.75, 0.  ]])
    """
    Y, D = np.asarray(Y, dtype=float), np.asarray(D, dtype=float)
    return np.maximum(Y @ D + sign * checks.non_negative("lam", lam), 0.0)
