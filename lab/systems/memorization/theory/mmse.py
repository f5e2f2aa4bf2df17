r"""Least possible loss of a denoiser of an isotropic mixture, and how surely the label of a noisy sample is known.

Losses are E|x - E[x|y]|² summed over coordinates, :math:`y=\alpha x+\sigma z`, :math:`\psi=\alpha^2/\sigma^2`. The
label of an isotropic mixture is seen as in :math:`\sqrt q\,\mu_k+z` with :math:`q=\psi/(1+\psi v)`; the *label error*
D(q) is the least squared error of mu_k from that. With g = q |mu|² the posterior probability of the true label averages
to the *agreement* of two labels drawn from the posterior of one y (Nishimori identity), so agreement and label error
are one function. All averages are deterministic quadrature.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = ["gumbel_mixture", "label_error", "mixture_mmse", "orthogonal_agreement", "orthogonal_label_error",
           "two_class_agreement", "two_means_label_error"]  # fmt: skip

_REACH = 9.0  # standard deviations: 1e-18 of a Gaussian lies beyond


def _gaussian_nodes(step: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for averages over a standard normal variable: trapezoid, spectral for analytic functions."""
    count = 2 * int(np.ceil(_REACH / step)) + 1
    z = np.linspace(-_REACH, _REACH, count)
    weights = np.exp(-z * z / 2)
    return z, weights / weights.sum()


def mixture_mmse(psi, d: int, *, v: float, error=0.0):
    r"""Least loss of an isotropic mixture, :math:`\frac{dv}{1+\psi v}+\frac{D(q)}{(1+\psi v)^2}`, q = psi/(1+psi v).

    Parameters
    ----------
    psi : array_like, >= 0
        Signal-to-noise ratio.
    d : int
        Dimension.
    v : float, >= 0
        Variance of a component.
    error : array_like, >= 0
        D(q), the label error of the component means; 0 for one component.

    Notes
    -----
    Given the label and y, x has variance v/(1 + psi v) per coordinate and mean mu_k/(1 + psi v) + a term in y alone.
    Derived for this laboratory, verified numerically; not found in arXiv:2508.17689, whose asymptotic form is the
    first term.

    Examples
    --------
    >>> float(mixture_mmse(1.0, 30, v=1.0))
    15.0
    """
    psi, error = checks.non_negative("psi", psi), checks.non_negative("error", error)
    gain = 1 + psi * float(checks.non_negative("v", v))
    return (checks.integer("d", d, 1) * v / gain + error / gain**2)[()]


def two_class_agreement(g):
    r"""Mean posterior probability of the true one of two classes, :math:`\phi(g)=\frac12(1+E\tanh(g+\sqrt g Z))`.

    Parameters
    ----------
    g : array_like, >= 0
        :math:`\alpha^2|\mu|^2/\Gamma` for means plus and minus mu.

    Returns
    -------
    array
        From 1/2 at g = 0 to 1; also :math:`\frac12(1+E\tanh^2(g+\sqrt gZ))`. 0.7752 at g = 1.

    Examples
    --------
    >>> round(float(two_class_agreement(1.0)), 6)
    0.7752
    """
    return (1 - _two_class_doubt(checks.non_negative("g", g)) / 2)[()]


def _two_class_doubt(g: np.ndarray) -> np.ndarray:
    """1 - E tanh(g + sqrt(g) Z), without cancellation where it is small."""
    from scipy import special

    # poles of tanh lie pi/(2 sqrt g) off the axis: the step keeps exp(-2 pi pole/step) below 1e-14 for g < 40, beyond
    # which the Gaussian weight at the pole (exp(-g/2)) does
    z, weights = _gaussian_nodes(0.05)
    return special.expit(-2 * (g[..., None] + np.sqrt(g)[..., None] * z)) @ (2 * weights)


def two_means_label_error(q, radius: float):
    r"""Least squared error of plus or minus mu seen at ratio q: :math:`r^2(1-E\tanh(g+\sqrt gZ))`, g = q r²."""
    q, radius = checks.non_negative("q", q), float(checks.non_negative("radius", radius))
    return (radius**2 * _two_class_doubt(q * radius**2))[()]


def orthogonal_agreement(g, K: int):
    r"""Mean posterior probability of the true one of K classes with orthogonal means of equal length.

    With independent standard Gumbel G and normal Z, the posterior label is the largest of the logits plus Gumbel noise,
    so

    .. math:: E\,p_{true}=\int f(w)\,F(w+g)^{K-1}\,dw,\qquad F(w)=P(\sqrt g Z+G\le w),\ f=F' .

    Parameters
    ----------
    g : float or array_like, >= 0
        :math:`\alpha^2r^2/\Gamma`; for K points at equal squared distances D2 (v = 0) it is psi D2/2.
    K : int, >= 1

    Returns
    -------
    array
        From 1/K at g = 0 to 1.
    """
    g, K = checks.non_negative("g", g), checks.integer("K", K, 1)
    return (1 - np.vectorize(lambda one: _orthogonal_doubt(float(one), K), otypes=[float])(g))[()]


def orthogonal_label_error(q, radius: float, K: int):
    r"""Least squared error of one of K orthogonal means of length r seen at ratio q: :math:`r^2(1-E\,p_{true})`."""
    q, radius = checks.non_negative("q", q), float(checks.non_negative("radius", radius))
    K = checks.integer("K", K, 1)
    doubt = np.vectorize(lambda one: _orthogonal_doubt(float(one), K), otypes=[float])
    return (radius**2 * doubt(q * radius**2))[()]


def gumbel_mixture(w: np.ndarray, shift: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chance above w (...,) and density there of shift + standard Gumbel noise, averaged over nodes of the shift.

    A label drawn from a posterior is the largest of its logits plus Gumbel noise: posterior averages become integrals
    over one variable.
    """
    u = w[..., None] - shift
    rate = np.exp(np.minimum(-u, 700.0))
    return -np.expm1(-rate) @ weights, (rate * np.exp(-rate)) @ weights


@lru_cache(maxsize=4096)
def _orthogonal_doubt(g: float, K: int) -> float:
    """1 - E p_true."""
    root = np.sqrt(g)
    # the Gumbel density is analytic in a strip of half-width pi/2: trapezoid error exp(-pi²/.25) = 7e-18
    z, weights = _gaussian_nodes(min(0.25, 0.25 / max(root, 1e-3)))
    w = np.arange(-_REACH * root - 8, _REACH * root + 45, 0.25)
    _, density = gumbel_mixture(w, root * z, weights)
    above, _ = gumbel_mixture(w + g, root * z, weights)
    return float(0.25 * density @ -np.expm1((K - 1) * np.log1p(-np.minimum(above, 1 - 1e-16))))


def label_error(q: float, means, priors=None) -> float:
    r"""Least squared error of the mean of a random component, seen at ratio q; any means and priors.

    .. math:: D(q)=E\,|\mu_k-E[\mu|\sqrt q\,\mu_k+z]|^2

    Parameters
    ----------
    q : float, >= 0
    means : array_like, shape (K, d)
        Spanning at most three dimensions about their centre (K <= 4 means always do).
    priors : array_like, shape (K,), optional
        Uniform by default.

    Raises
    ------
    OutOfDomain
        If the means span more than three dimensions.

    Notes
    -----
    Trapezoid over the span: relative error 1e-6 or better (1e-12 in one and two dimensions).
    """
    q = float(checks.non_negative("q", q))
    mu = np.atleast_2d(checks.checked("means", means, np.isfinite, "must be finite"))
    p = np.full(len(mu), 1 / len(mu)) if priors is None else checks.positive("priors", priors)
    if p.shape != (len(mu),) or abs(p.sum() - 1) > 1e-9:
        raise OutOfDomain(f"priors={p.tolist()}: must be one number for each of the {len(mu)} means and add up to 1")
    mu = mu - p @ mu
    values, vectors = np.linalg.eigh(mu.T @ mu)
    kept = values > 1e-12 * max(values.max(), 1e-300)
    if kept.sum() > 3:
        raise OutOfDomain(f"means of shape {mu.shape} span {kept.sum()} dimensions about their centre: at most 3 here")
    mu = mu @ vectors[:, kept]
    if mu.shape[1] == 0 or q == 0:
        return float(p @ np.sum(mu**2, axis=1))
    z, weights = _gaussian_nodes({1: 0.05, 2: 0.1, 3: 0.3}[mu.shape[1]])
    grid = np.stack(np.meshgrid(*[z] * mu.shape[1], indexing="ij"), axis=-1).reshape(-1, mu.shape[1])
    share = np.array(1.0)
    for _ in range(mu.shape[1]):
        share = np.multiply.outer(share, weights)
    total = 0.0
    for own, prior in zip(mu, p, strict=True):
        y = np.sqrt(q) * own + grid
        logits = np.sqrt(q) * (y @ mu.T) - q / 2 * np.sum(mu**2, axis=1) + np.log(p)
        posterior = np.exp(logits - logits.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
        total += prior * float(share.ravel() @ np.sum((posterior @ (mu - own)) ** 2, axis=1))
    return total
