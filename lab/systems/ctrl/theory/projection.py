r"""The leader's feasible set :math:`\|FX_j^\top\|_F^2\le n_j`: an intersection of ellipsoids, and its nearest point.

With second moments :math:`C_j=X_j^\top X_j/n_j` the constraint is :math:`\mathrm{tr}(FC_jF^\top)\le1`. It is solved by
`lab.models.feasible_sets.project_class_energies`; here is what its solution must look like.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = ["nearest_feasible", "projection_dual"]


def nearest_feasible(F, moments, multipliers):
    r"""The nearest feasible map for given multipliers, :math:`F(I+\sum_j\lambda_jC_j)^{-1}`.

    Parameters
    ----------
    F : array_like, shape (d_z, d_x)
    moments : array_like, shape (K, d_x, d_x)
        C_j, positive semidefinite.
    multipliers : array_like, shape (K,), >= 0
        lambda_j: zero where a class keeps its bound by itself, else such that it meets it exactly.

    Notes
    -----
    Stationarity of ``|F' - F|²/2 + sum_j lambda_j (tr(F' C_j F'^T) - 1)/2``; the problem is convex, so these conditions
    are sufficient. Derived for this laboratory; not found in arXiv:2206.09120.

    Examples
    --------
    >>> nearest_feasible(np.diag([2.0, 0.5]), [np.diag([1.0, 0.0])], [1.0]).tolist()
    [[1.0, 0.0], [0.0, 0.5]]
    """
    F, weight = _weighted(F, moments, multipliers)
    return np.linalg.solve(weight, F.T).T


def projection_dual(F, moments, multipliers) -> float:
    r"""Lower bound on the squared distance to the feasible set, sharp at the right multipliers:
    :math:`\|F\|_F^2-\mathrm{tr}(F(I+\sum_j\lambda_jC_j)^{-1}F^\top)-\sum_j\lambda_j`.

    Arguments as in `nearest_feasible`.

    Examples
    --------
    >>> projection_dual(np.diag([2.0, 0.5]), [np.diag([1.0, 0.0])], [1.0])
    1.0
    """
    F, weight = _weighted(F, moments, multipliers)
    return float(np.sum(F**2) - np.sum(F * np.linalg.solve(weight, F.T).T) - np.sum(multipliers))


def _weighted(F, moments, multipliers):
    F, C = np.asarray(F, dtype=float), np.asarray(moments, dtype=float)
    lam = checks.non_negative("multipliers", multipliers)
    if F.ndim != 2 or C.shape != (lam.size, F.shape[1], F.shape[1]) or lam.ndim != 1:
        raise OutOfDomain(f"shapes {F.shape}, {C.shape}, {lam.shape}: must be (d_z, d_x), (K, d_x, d_x), (K,)")
    return F, np.eye(F.shape[1]) + np.sum(lam[:, None, None] * C, axis=0)
