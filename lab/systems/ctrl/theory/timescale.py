r"""Gradient descent and ascent with two time scales, on the quadratic game

.. math:: L(\theta,\eta)=\tfrac12p\theta^2+m\theta\eta+\tfrac12c\eta^2,

in which the leader moves up in theta and the follower, T times as fast, down in eta:
``(theta, eta) += h (p theta + m eta, -T (m theta + c eta))``.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = ["gda_growth", "gda_threshold", "stackelberg_curvature"]


def stackelberg_curvature(leader, mixed, follower):
    r"""Curvature of the leader's utility along the follower's best response, a Schur complement:
    :math:`L_{\theta\theta}-L_{\theta\eta}L_{\eta\eta}^{-1}L_{\eta\theta}`.

    Parameters
    ----------
    leader : array_like, shape (d, d) or a number
        Second derivative in theta.
    mixed : array_like, shape (d, e) or a number
    follower : array_like, shape (e, e) or a number
        Second derivative in eta, positive definite: the follower minimises.

    Returns
    -------
    array, shape (d, d), or a number
        The point is a (differential) Stackelberg equilibrium of a leader that maximises iff it is negative definite.

    Notes
    -----
    The appendix of [1]_ prints ``+`` for ``-``.

    References
    ----------
    .. [1] Ma and coauthors, Principles and Practice of Deep Representation Learning, appendix on minimax optimisation.

    Examples
    --------
    >>> float(stackelberg_curvature(1.0, 2.0, 1.0))
    -3.0
    """
    P, M, C = (np.atleast_2d(np.asarray(part, dtype=float)) for part in (leader, mixed, follower))
    if M.shape != (P.shape[0], C.shape[0]) or P.shape[0] != P.shape[1] or C.shape[0] != C.shape[1]:
        raise OutOfDomain(f"shapes {P.shape}, {M.shape}, {C.shape}: must be (d, d), (d, e), (e, e)")
    if np.linalg.eigvalsh(C)[0] <= 0:
        raise OutOfDomain("follower must be positive definite: otherwise its best response is none")
    found = P - M @ np.linalg.solve(C, M.T)
    return found[0, 0] if np.ndim(leader) == 0 else found


def gda_threshold(p, m, c, *, step=0.0):
    r"""Ratio of time scales above which descent and ascent settles, :math:`T_c=p/c` for small steps.

    .. math:: |1+h\lambda|^2=1+h\,\mathrm{tr}+h^2\det,\quad \mathrm{tr}=p-Tc,\ \det=T(m^2-pc)\quad\Rightarrow\quad
              T_c(h)=\frac{p}{c-h(m^2-pc)}

    Parameters
    ----------
    p, c : array_like, > 0
    m : array_like
        With ``m^2 > p c``: the origin is a Stackelberg equilibrium. (Otherwise no ratio settles.)
    step : float, >= 0
        h; below ``c/(m^2 - p c)``. Then the eigenvalues are a complex pair at the threshold.

    Examples
    --------
    >>> float(gda_threshold(1.0, 2.0, 1.0)), round(float(gda_threshold(1.0, 2.0, 1.0, step=1e-3)), 6)
    (1.0, 1.003009)
    """
    p, c = checks.positive("p", p), checks.positive("c", c)
    margin = np.asarray(m, dtype=float) ** 2 - p * c
    checks.checked("m", m, lambda _: margin > 0, f"must satisfy m^2 > p c = {p * c}; no ratio settles otherwise")
    h = checks.checked("step", step, lambda h: (h >= 0) & (h * margin < c), "must lie in [0, c/(m^2 - p c))")
    return (p / (c - h * margin))[()]


def gda_growth(p, m, c, ratio, *, step=0.0):
    r"""Growth of the orbit per unit of leader time: :math:`\max_i\log|1+h\lambda_i|/h`, or the largest real part for
    h = 0.

    Parameters
    ----------
    p, m, c : numbers
    ratio : array_like, > 0
        T.
    step : float, >= 0

    Examples
    --------
    >>> float(gda_growth(1.0, 2.0, 1.0, 0.5))
    0.25
    """
    T = checks.positive("ratio", ratio)
    half, det = (p - T * c) / 2, T * (m**2 - p * c)
    spread = np.sqrt(half**2 - det + 0j)
    values = np.stack([half + spread, half - spread])
    if step == 0:
        return np.max(values.real, axis=0)[()]
    return (np.max(np.log(np.abs(1 + step * values)), axis=0) / step)[()]
