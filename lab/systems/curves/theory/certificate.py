r"""Certificates of two coaxial curves: the density g that the kernel operator maps to the error, in closed form."""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["constant_certificate", "pair_eigenvalues"]


def constant_certificate(blocks, share, error):
    r"""Certificate of an error that is constant on each of two homogeneous curves: the solution of

    .. math:: \begin{pmatrix} p_+ k_{++} & p_- k_{+-} \\ p_+ k_{+-} & p_- k_{--} \end{pmatrix} g = \zeta,

    with :math:`k_{ss'} = \frac1{2\pi}\int \Theta(\angle_{ss'}(\tau))\,d\tau`: g is constant on each curve too.

    Parameters
    ----------
    blocks : array_like, shape (3,)
        Mean kernels (k++, k+-, k--) over the angle between the curves.
    share : float in (0, 1)
        Probability p+ of the first curve.
    error : array_like, shape (2,)
        Values zeta on the two curves.

    Returns
    -------
    array, shape (2,)

    Raises
    ------
    OutOfDomain
        If the blocks are not positive definite, as every kernel's are on two different curves.

    References
    ----------
    .. [1] arXiv:2008.11245, certificate problem of two coaxial circles.
    """
    pp, pm, mm = (float(v) for v in checks.positive("blocks", blocks))
    p = float(checks.fraction("share", share))
    determinant = float(checks.positive("k++ k-- - k+-²", pp * mm - pm * pm))
    plus, minus = (float(v) for v in checks.checked("error", error, np.isfinite, "must be finite"))
    return np.array([(mm * plus - pm * minus) / p, (pp * minus - pm * plus) / (1 - p)]) / determinant


def pair_eigenvalues(within, cross):
    """Eigenvalues (lambda_-, lambda_+) of a symmetric pair, half of the points on each curve: ``(k++ -+ k+-)/2``.

    Labels +-1 are the difference mode, so their certificate is ``g = ±1/lambda_-``; a constant added to the kernel
    changes lambda_+ alone.

    Parameters
    ----------
    within, cross : array_like
        Mean kernel over the angle, within a curve and between the two.
    """
    within, cross = np.asarray(within, dtype=float), np.asarray(cross, dtype=float)
    return ((within - cross) / 2)[()], ((within + cross) / 2)[()]
