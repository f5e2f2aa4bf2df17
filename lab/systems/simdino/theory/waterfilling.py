r"""The solvable model: linear encoder ``z = x W``, views ``x = s + n``, teacher an average of the student.

In the modes of the noise fractions (generalised eigenvalues nu of the noise against C = signal + noise) training ends
at second moments :math:`\max(0, \gamma/\nu_i - 1/c)` of the features: water is filled in, in order of noise.
Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.simdino.theory import domain

__all__ = [
    "collapse_thresholds",
    "filled_modes",
    "noise_fractions",
    "waterfilling_spectrum",
]


def noise_fractions(signal, noise) -> np.ndarray:
    r"""Generalised eigenvalues of the noise against the total second moment, ascending: the noise fractions nu.

    :math:`\Sigma_n v=\nu\,(\Sigma_s+\Sigma_n)\,v`, shape (D,), in [0, 1]; 0 for a mode without noise, 1 without signal.

    Raises
    ------
    OutOfDomain
        If the moments are not square of one size, or their sum is not positive definite.

    Examples
    --------
    >>> noise_fractions(np.diag([3.0, 1.0]), np.eye(2)).round(12).tolist()
    [0.25, 0.5]
    """
    signal, noise = np.asarray(signal, dtype=float), np.asarray(noise, dtype=float)
    if signal.ndim != 2 or signal.shape[0] != signal.shape[1] or signal.shape != noise.shape:
        raise OutOfDomain(f"signal {signal.shape} and noise {noise.shape} must be matrices (D, D) of one size")
    try:
        factor = np.linalg.cholesky(signal + noise)
    except np.linalg.LinAlgError:
        raise OutOfDomain("signal + noise must be positive definite; drop the directions without data") from None
    half = np.linalg.solve(factor, noise)
    return np.clip(np.linalg.eigvalsh(np.linalg.solve(factor, half.T)), 0.0, 1.0)


def waterfilling_spectrum(nu, dim: int, *, eps, gamma) -> np.ndarray:
    r"""Second moments of the features at the stable fixed point: :math:`\max(0, \gamma/\nu_i-1/c)`, descending.

    Parameters
    ----------
    nu : array_like, shape (D,), in (0, 1]
        Noise fractions; the d smallest are used.
    dim : int
        Dimension d of the features, at most D. c = d/eps².
    eps, gamma : float
        gamma >= 0; at 0 everything collapses.

    Returns
    -------
    array, shape (d,)
        Eigenvalues of :math:`W^\top C W`. Independent of the momentum, the learning rate and the start (if W is not 0).

    Raises
    ------
    OutOfDomain
        If a noise fraction is 0: that mode grows without end (`lab.systems.simdino.theory.noiseless_slope`).

    Examples
    --------
    >>> waterfilling_spectrum([0.2, 0.4, 0.8], 2, eps=1.0, gamma=0.25).tolist()
    [0.75, 0.125]
    """
    used = _used(nu, dim)
    c = domain.coding_scale(dim, eps)
    return np.maximum(0.0, domain.non_negative("gamma", gamma) / used - 1 / c)


def collapse_thresholds(nu, dim: int, *, eps) -> np.ndarray:
    r"""Weights at which the modes start to be learned: :math:`\gamma_i=\nu_i\epsilon^2/d`, ascending, shape (d,).

    All features collapse iff gamma <= the first. Each transition is continuous: amplitude
    :math:`\propto(\gamma-\gamma_i)^{1/2}`.

    Examples
    --------
    >>> collapse_thresholds([0.2, 0.4, 0.8], 2, eps=1.0).tolist()
    [0.1, 0.2]
    """
    return _used(nu, dim) / domain.coding_scale(dim, eps)


def filled_modes(nu, dim: int, *, eps, gamma) -> int:
    """Rank of the learned features: the number of `collapse_thresholds` below gamma."""
    return int(np.sum(collapse_thresholds(nu, dim, eps=eps) < domain.non_negative("gamma", gamma)))


def _used(nu, dim: int) -> np.ndarray:
    """The d smallest noise fractions, ascending; none may be 0."""
    nu = np.sort(np.atleast_1d(domain.noise_fraction(nu)))
    if domain.integer("dim", dim, 1) > nu.size:
        raise OutOfDomain(f"dim={dim} exceeds the {nu.size} modes of the data; lower dim")
    domain.checked("nu", nu, lambda v: v > 0, "a mode without noise grows without end; normalise the features")
    return nu[:dim]
