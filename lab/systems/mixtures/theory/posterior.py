"""Posterior mean of a mixture of low-rank Gaussians, sample by sample, and the temperature of its softmax."""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["posterior_mean", "temperature"]


def posterior_mean(z, bases, eigenvalues, weights, s2, *, determinant: bool = True, shrink: bool = True):
    r"""Denoiser :math:`D(z) = \sum_k r_k(z) \frac{\lambda_k}{\lambda_k+s_2} U_kU_k^\top z`, in its own eigenbasis.

    Parameters
    ----------
    z : array_like, shape (n, d)
    bases : array_like, shape (K, d, r)
        Orthonormal columns.
    eigenvalues : array_like, shape (K, r)
        Variances, 0 beyond the rank of a component; unequal ones are allowed.
    weights : array_like, shape (K,)
        Probabilities of the components.
    s2 : float, > 0
        Variance of the noise.
    determinant, shrink : bool
        Slips: without the determinant in the weights; without the shrinkage, in the weights (inverse temperature
        1/(2 s2)) and in the projection, which is the published approximation.

    Returns
    -------
    array, shape (n, d)

    References
    ----------
    .. [1] arXiv:2306.01129, denoising against subspaces; corrected there by determinant and shrinkage.

    Examples
    --------
    >>> posterior_mean([[1.0, 0.0]], [[[1.0], [0.0]]], [[1.0]], [1.0], 1.0)
    array([[0.5, 0. ]])
    """
    z, bases = np.asarray(z, dtype=float), np.asarray(bases, dtype=float)
    lam, w = checks.non_negative("eigenvalues", eigenvalues), checks.positive("weights", weights)
    s2 = float(checks.positive("s2", s2))
    c = z @ bases  # (K, n, r)
    held = (lam > 0) * 1.0
    share = lam / (lam + s2) if shrink else held
    logits = np.log(w)[:, None] + np.sum(share[:, None] * c * c, axis=-1) / (2 * s2)
    if determinant:
        logits = logits - 0.5 * np.sum(np.log1p(lam / s2), axis=-1)[:, None]
    r = np.exp(logits - np.max(logits, axis=0))
    r /= np.sum(r, axis=0)
    return np.sum((r[..., None] * share[:, None] * c) @ np.swapaxes(bases, -1, -2), axis=0)


def temperature(lam, s2):
    r"""Temperature at which the softmax of head energies is the posterior: :math:`\eta_T = s_2(1 + s_2/\lambda)`.

    :math:`\mathrm{softmax}_k(|U_k^\top z|^2/(2\eta_T))` is the posterior of the component iff lambda, rank and weight
    are the same for all components. Derived for this laboratory, verified numerically; not found in arXiv:2412.17810.

    Examples
    --------
    >>> float(temperature(1.0, 0.5))
    0.75
    """
    lam, s2 = checks.positive("lam", lam), checks.positive("s2", s2)
    return (s2 * (1 + s2 / lam))[()]
