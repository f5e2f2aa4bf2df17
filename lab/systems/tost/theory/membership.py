"""Membership of a token in the components of a mixture of low-rank Gaussians with equal priors."""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["membership", "posterior_scale", "published_scale"]


def posterior_scale(s, eta):
    r"""Inverse temperature of the posterior: :math:`s/(2\eta(s+\eta))`.

    Tokens of component k are ``N(0, s U_k U_k^T + eta I)``, all U_k of the same rank with orthonormal columns, equal
    priors; the posterior of component k is then ``softmax_k(scale |U_k^T z|²)``. The signal's spectrum must be flat:
    with unequal eigenvalues the energies of different directions count differently.

    Parameters
    ----------
    s : array_like, > 0
        Variance of the signal in every direction of its subspace.
    eta : array_like, > 0
        Variance of the noise.

    Returns
    -------
    array
        In 1/(units of z)²; `published_scale` is its limit for s much larger than eta.

    Notes
    -----
    By the Woodbury identity ``(s U U^T + eta I)^-1 = I/eta - (1/eta - 1/(s+eta)) U U^T``; determinants are equal.
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> round(float(posterior_scale(2.0, 0.3)), 6)
    1.449275
    """
    s, eta = checks.positive("s", s), checks.positive("eta", eta)
    return (0.5 * s / (eta * (s + eta)))[()]


def published_scale(eta):
    r"""Inverse temperature as published, :math:`1/(2\eta)`: too large by the factor (s + eta)/s.

    References
    ----------
    .. [1] arXiv:2412.17810, posterior membership.
    """
    return (0.5 / checks.positive("eta", eta))[()]


def membership(energies, scale):
    """Softmax over the last axis of ``scale * energies``, energies ``|U_k^T z|²`` of shape (..., K)."""
    energies, scale = checks.non_negative("energies", energies), checks.positive("scale", scale)
    logits = scale * energies
    weights = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return weights / np.sum(weights, axis=-1, keepdims=True)
