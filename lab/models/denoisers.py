r"""Exact denoisers of mixtures of isotropic Gaussians, as two matrix products; NumPy, torch and JAX.

The mixture :math:`\sum_k \pi_k N(\mu_k, v I)`, noised to :math:`y=\alpha x+\sigma z`, has
:math:`\Gamma=\alpha^2v+\sigma^2`, posterior weights :math:`p_k\propto\pi_k\exp(-|y-\alpha\mu_k|^2/2\Gamma)`, and with
:math:`\bar m=\sum_k p_k\mu_k`

.. math:: E[x|y]=\bar m+\tfrac{\alpha v}{\Gamma}(y-\alpha\bar m),\qquad
          \hat\varepsilon=\tfrac{\sigma}{\Gamma}(y-\alpha\bar m),\qquad
          \nabla\log p(y)=-\tfrac{1}{\Gamma}(y-\alpha\bar m).

The same function serves the true mixture (true means, v), the memorising denoiser (means = training points, v = 0), the
partially memorising one (some of them) and a trained model (learned means, one learned variance). Components are left
out by a log-prior of minus infinity, so that models of different sizes share one shape.

Samples are rows: ``y`` (..., n, d), ``means`` (..., K, d); ``alpha``, ``sigma``, ``variance`` are numbers, or arrays
that broadcast against (..., n, 1): write ``t[..., None, None]`` for a batch of times.

Precision. With v = 0 and sigma = 1e-3 the logits are of order 1e7: float64 keeps eight digits of the weights, float32
none, so memorising denoisers at small noise need float64. A model with a variance of .01 or more is good in float32 in
the form of `predicted_noise`; dividing ``y - alpha E[x|y]`` by sigma is not.
"""

from __future__ import annotations

from typing import Any

from lab.arrays import Array, detached, namespace
from lab.errors import InputError

__all__ = ["log_weights", "noise_and_mean", "posterior_mean", "posterior_spread", "posterior_weights",
           "predicted_noise", "score"]  # fmt: skip


def log_weights(
    y: Array, means: Array, variance: Any, alpha: Any, sigma: Any, log_priors: Array | None = None
) -> Array:
    r"""Logits of the components, shape (..., n, K): :math:`\log\pi_k+(\alpha\,y\cdot\mu_k-\alpha^2|\mu_k|^2/2)/\Gamma`.

    The term in |y|², common to all components, is left out.

    Parameters
    ----------
    y : array, shape (..., n, d)
    means : array, shape (..., K, d)
    variance : number or array, >= 0
        v; 0 for point masses.
    alpha, sigma : number or array
    log_priors : array, shape (..., K), optional
        Log-weights up to a constant; minus infinity (or -1e9) leaves a component out. Uniform by default.
    """
    xp = namespace(y, means)
    if y.shape[-1] != means.shape[-1]:
        raise InputError(f"y has {y.shape[-1]} coordinates, means have {means.shape[-1]}: must agree")
    gamma = alpha * alpha * variance + sigma * sigma
    half = xp.sum(means * means, axis=-1)[..., None, :] / 2
    logits = (alpha / gamma) * (y @ xp.matrix_transpose(means) - alpha * half)
    return logits if log_priors is None else logits + log_priors[..., None, :]


def posterior_weights(
    y: Array, means: Array, variance: Any, alpha: Any, sigma: Any, log_priors: Array | None = None
) -> Array:
    """Posterior probabilities of the components, shape (..., n, K); arguments as in `log_weights`."""
    shifted, total = _exponentials(log_weights(y, means, variance, alpha, sigma, log_priors))
    return shifted / total


def _exponentials(logits: Array) -> tuple[Array, Array]:
    """Exponentials of the logits less their largest, and their sums (..., n, 1)."""
    xp = namespace(logits)
    # a softmax does not change with the shift: no gradient needs to pass through the maximum
    shifted = xp.exp(logits - detached(xp.max(logits, axis=-1, keepdims=True)))
    return shifted, xp.sum(shifted, axis=-1, keepdims=True)


def noise_and_mean(
    y: Array, means: Array, variance: Any, alpha: Any, sigma: Any, log_priors: Array | None = None
) -> tuple[Array, Array]:
    """Predicted noise and posterior mean E[x|y], both (..., n, d), at the cost of one of them."""
    gamma = alpha * alpha * variance + sigma * sigma
    shifted, total = _exponentials(log_weights(y, means, variance, alpha, sigma, log_priors))
    mean = (shifted @ means) / total  # divided after the product: d numbers per row, not K
    rest = y - alpha * mean
    return (sigma / gamma) * rest, mean + (alpha * variance / gamma) * rest


def predicted_noise(
    y: Array, means: Array, variance: Any, alpha: Any, sigma: Any, log_priors: Array | None = None
) -> Array:
    r"""Predicted noise :math:`\hat\varepsilon=(\sigma/\Gamma)(y-\alpha\bar m)`, shape (..., n, d)."""
    return noise_and_mean(y, means, variance, alpha, sigma, log_priors)[0]


def posterior_mean(
    y: Array, means: Array, variance: Any, alpha: Any, sigma: Any, log_priors: Array | None = None
) -> Array:
    """The denoiser E[x|y], shape (..., n, d)."""
    return noise_and_mean(y, means, variance, alpha, sigma, log_priors)[1]


def score(y: Array, means: Array, variance: Any, alpha: Any, sigma: Any, log_priors: Array | None = None) -> Array:
    """Gradient of the log-density of y, shape (..., n, d)."""
    gamma = alpha * alpha * variance + sigma * sigma
    return (posterior_weights(y, means, variance, alpha, sigma, log_priors) @ means * alpha - y) / gamma


def posterior_spread(weights: Array, means: Array) -> Array:
    r"""Trace of the posterior covariance of point masses, shape (..., n): :math:`\sum_k p_k|\mu_k|^2-|\bar m|^2`.

    It is the loss of the memorising denoiser at y, and equals :math:`\frac12\sum_{ij}p_ip_j|\mu_i-\mu_j|^2`.

    Parameters
    ----------
    weights : array, shape (..., n, K)
        From `posterior_weights`.
    means : array, shape (..., K, d)
    """
    xp = namespace(weights, means)
    # about the mean of all points: cancellation then costs the spread of the points, not their distance from 0
    centred = means - xp.mean(means, axis=-2, keepdims=True)
    squares = weights @ xp.sum(centred * centred, axis=-1)[..., None]
    mean = weights @ centred
    return xp.clip(squares[..., 0] - xp.sum(mean * mean, axis=-1), min=0.0)
