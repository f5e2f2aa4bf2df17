r"""Least losses of mixtures of low-rank Gaussians (subspaces, coloured templates), and how labels are confused.

Component k has covariance :math:`I_C\otimes U_k\,\mathrm{diag}(\lambda_k)U_k^\top`, no mean, uniform label; C channels
share label and subspace. A label is hard to tell only where the sample itself is faint: with signal-to-noise ratio
psi the confused samples have size about 1/sqrt(psi).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lab import checks
from lab.systems.memorization.theory.mmse import gumbel_mixture
from lab.systems.memorization.theory.quadrature import chi_square_nodes

__all__ = ["confusion_exponent", "low_rank_mmse", "orthogonal_subspaces_mmse"]


def confusion_exponent(rank: int, channels: int = 1) -> float:
    r"""Exponent of psi in the posterior probability of wrong labels at high signal-to-noise ratio: -C r/2.

    Only samples of squared size 1/psi in all C r directions are confused, and a Gaussian has chance
    :math:`\propto\psi^{-Cr/2}` of being so small. The relative excess of the least loss over `low_rank_mmse` has the
    same exponent. Derived for this laboratory, verified numerically; not found in arXiv:2508.17689.
    """
    return -checks.integer("rank", rank, 1) * checks.integer("channels", channels, 1) / 2


def low_rank_mmse(psi, eigenvalues, *, channels: int = 1):
    r"""Least loss of a low-rank mixture whose labels are known.

    .. math:: C\;\mathrm{mean}_k\sum_i\frac{\lambda_{ki}}{1+\psi\lambda_{ki}}

    The least loss itself for one component, and a lower bound for several: by the law of total variance the excess is
    the mean spread of the component means E[x|y,k] under the posterior label.

    Parameters
    ----------
    psi : array_like, >= 0
    eigenvalues : array_like, shape (K, r)
        Variances of each component along its own directions; 0 where a component has fewer.
    channels : int
        C, which share label and subspace (colours of a template).
    """
    psi = checks.non_negative("psi", psi)
    lam = np.atleast_2d(checks.non_negative("eigenvalues", eigenvalues))
    terms = lam / (1 + psi[..., None, None] * lam)
    return (checks.integer("channels", channels, 1) * np.mean(np.sum(terms, axis=-1), axis=-1))[()]


def orthogonal_subspaces_mmse(psi: float, eigenvalue: float, r: int, K: int) -> float:
    r"""Least loss of K orthogonal r-dimensional subspaces with equal eigenvalues lambda, uniform labels, no means.

    .. math:: \frac{r\lambda}{1+\psi\lambda}+\kappa^2\sigma^2/\alpha^2\;E[(1-p_1)A_1],\qquad
              \kappa=\frac{\psi\lambda}{1+\psi\lambda},\quad A_1=(1+\psi\lambda)\chi^2_r,\ A_k=\chi^2_r\ (k>1),

    with posterior weights :math:`p_k\propto e^{\kappa A_k/2}`; A_k is the squared length of the noisy sample in
    subspace k, in units of sigma². E[p_1|A_1] is one integral, by Gumbel noise as in `orthogonal_agreement`.
    Derived for this laboratory, verified numerically; not found in arXiv:2508.17689.

    Parameters
    ----------
    psi : float, >= 0
    eigenvalue : float, > 0
        lambda.
    r, K : int
        Dimension of a subspace, number of them.
    """
    psi, lam = float(checks.non_negative("psi", psi)), float(checks.positive("eigenvalue", eigenvalue))
    r, K = checks.integer("r", r, 1), checks.integer("K", K, 1)
    if K == 1 or psi == 0:
        return r * lam / (1 + psi * lam)
    return r * lam / (1 + psi * lam) + _subspace_confusion(psi * lam, r, K) * lam


@lru_cache(maxsize=1024)
def _subspace_confusion(gain: float, r: int, K: int) -> float:
    """kappa² E[(1 - p_1) A_1]/gain, for psi lambda = gain."""
    kappa = gain / (1 + gain)
    chi, weights = chi_square_nodes(r, 800)  # the exponential of chi/2 has narrower strips: 1e-12 with 800 nodes
    own = kappa * (1 + gain) * chi / 2
    step = 0.2
    w = np.arange(-8.0, kappa * chi.max() / 2 + 45, step)  # above it none of the others ever is
    # of the others: 1 - F(w) for kappa chi²/2 + Gumbel
    above, _ = gumbel_mixture(w, kappa * chi / 2, weights)
    lost = -np.expm1((K - 1) * np.log1p(-np.minimum(above, 1 - 1e-16)))
    u = np.exp(np.minimum(-(w[:, None] - own), 700.0))
    doubt = step * lost @ (u * np.exp(-u))
    return float(kappa**2 * (weights * (1 + gain) * chi) @ doubt / gain)
