r"""Exact denoisers of mixtures of Gaussians with low-rank covariances, as two matrix products; NumPy, torch and JAX.

Component k is :math:`N(\mu_k,\ I_C\otimes(U_k\,\mathrm{diag}(\lambda_k)\,U_k^\top)+v I)` with orthonormal columns in
U_k. Noised to :math:`y=\alpha x+\sigma z`, with :math:`\Gamma=\alpha^2v+\sigma^2`, coordinates
:math:`c_k=U_k^\top(y-\alpha\mu_k)` (of every channel) and
:math:`\kappa_k=\alpha^2\lambda_k/(\Gamma+\alpha^2\lambda_k)`,

.. math:: \log p_k=\log\pi_k-\tfrac{C}{2}\sum_i\log(1+\alpha^2\lambda_{ki}/\Gamma)
              -\tfrac{1}{2\Gamma}\Bigl(|y-\alpha\mu_k|^2-\sum_i\kappa_{ki}|c_{ki}|^2\Bigr)+\mathrm{const},

.. math:: \hat\varepsilon=\tfrac{\sigma}{\Gamma}\Bigl(y-\alpha\bar m-\sum_k p_kU_k\kappa_kc_k\Bigr),\qquad
          E[x|y]=\bar m+\tfrac{\alpha v}{\sigma}\hat\varepsilon
                 +\sum_k p_kU_k\tfrac{\kappa_k}{\alpha}c_k .

C counts *channels* that share label and subspace: an image of C colours that is a random colour times a fixed template
T_k has U_k = T_k/|T_k|, rank C in all, and its log-determinant carries the factor C. Rank 0 gives the isotropic mixture
of `lab.models.denoisers`.

Samples are rows: ``y`` (..., n, C P) with the channels one after the other, ``bases`` (..., K, P, r), ``eigenvalues``
(..., K, r), ``means`` (..., K, C P). An eigenvalue 0 pads components of smaller rank. ``alpha``, ``sigma`` and
``variance`` are numbers, or arrays that broadcast against (..., n, 1).
"""

from __future__ import annotations

from typing import Any

from lab.arrays import Array, namespace
from lab.errors import InputError

__all__ = ["log_weights", "noise_and_mean", "posterior_mean", "posterior_weights", "predicted_noise", "score"]


def _lifted(value: Any) -> Any:
    """A number, or (..., n, 1) made to broadcast against (..., K, n, C, r)."""
    return value[..., None, :, :, None] if getattr(value, "ndim", 0) >= 2 else value


def _checked(y: Array, bases: Array, eigenvalues: Array, means: Array | None, channels: int) -> Any:
    if channels < 1 or y.shape[-1] != channels * bases.shape[-2]:
        raise InputError(
            f"y has {y.shape[-1]} coordinates, bases have {bases.shape[-2]} in channels={channels}: y needs the product"
        )
    if bases.shape[-3] != eigenvalues.shape[-2] or bases.shape[-1] != eigenvalues.shape[-1]:
        raise InputError(
            f"bases of shape {tuple(bases.shape)} need eigenvalues of shape (..., {bases.shape[-3]}, "
            f"{bases.shape[-1]}), not {tuple(eigenvalues.shape)}"
        )
    if means is not None and (means.shape[-1] != y.shape[-1] or means.shape[-2] != bases.shape[-3]):
        raise InputError(
            f"means of shape {tuple(means.shape)} must be (..., {bases.shape[-3]}, {y.shape[-1]}), a row per component"
        )
    return namespace(y, bases, eigenvalues)


def _coordinates(xp: Any, y: Array, bases: Array, alpha: Any, means: Array | None, channels: int) -> Array:
    """U_k^T (y - alpha mu_k) of every channel, shape (..., K, n, C, r)."""
    n, P = y.shape[-2], bases.shape[-2]
    rows = xp.reshape(y, (*y.shape[:-2], 1, n * channels, P))
    along = rows @ bases
    along = xp.reshape(along, (*along.shape[:-2], n, channels, along.shape[-1]))
    if means is None:
        return along
    own = xp.reshape(means, (*means.shape[:-1], channels, P)) @ bases  # (..., K, C, r)
    return along - _lifted(alpha) * own[..., None, :, :]


def _shrinkage(eigenvalues: Array, variance: Any, alpha: Any, sigma: Any) -> tuple[Any, Any]:
    """lambda/(Gamma + alpha² lambda) and alpha² lambda/Gamma, to broadcast against (..., K, n, C, r)."""
    lam = eigenvalues[..., :, None, None, :]
    a2 = _lifted(alpha * alpha)
    gamma = _lifted(alpha * alpha * variance + sigma * sigma)
    return lam / (gamma + a2 * lam), a2 * lam / gamma


def _log_weights(
    xp: Any, y: Array, c: Array, shrunk: Any, ratio: Any, variance: Any, alpha: Any, sigma: Any,
    means: Array | None, channels: int, log_priors: Array | None,
) -> Array:  # fmt: skip
    gamma = alpha * alpha * variance + sigma * sigma
    determinant = channels * xp.sum(xp.log1p(ratio), axis=-1)[..., 0]  # (..., K, n or 1): the factor C
    squares = xp.sum(_lifted(alpha * alpha) * shrunk * c * c, axis=(-2, -1))  # (..., K, n)
    logits = xp.matrix_transpose(squares) / (2 * gamma) - xp.matrix_transpose(determinant) / 2
    if means is not None:
        half = xp.sum(means * means, axis=-1)[..., None, :] / 2
        logits = logits + (alpha / gamma) * (y @ xp.matrix_transpose(means) - alpha * half)
    return logits if log_priors is None else logits + log_priors[..., None, :]


def log_weights(
    y: Array, bases: Array, eigenvalues: Array, alpha: Any, sigma: Any, *, means: Array | None = None,
    variance: Any = 0.0, channels: int = 1, log_priors: Array | None = None,
) -> Array:  # fmt: skip
    """Logits of the components, shape (..., n, K), without terms common to all components.

    Parameters
    ----------
    y : array, shape (..., n, C P)
    bases : array, shape (..., K, P, r)
        Orthonormal columns.
    eigenvalues : array, shape (..., K, r)
        Variances along them, >= 0.
    alpha, sigma : number or array
    means : array, shape (..., K, C P), optional
        Zero by default.
    variance : number or array, >= 0
        v, of all directions.
    channels : int
        C, which share label and subspace.
    log_priors : array, shape (..., K), optional
        Log-weights up to a constant; minus infinity leaves a component out. Uniform by default.
    """
    xp = _checked(y, bases, eigenvalues, means, channels)
    c = _coordinates(xp, y, bases, alpha, means, channels)
    shrunk, ratio = _shrinkage(eigenvalues, variance, alpha, sigma)
    return _log_weights(xp, y, c, shrunk, ratio, variance, alpha, sigma, means, channels, log_priors)


def _softmax(xp: Any, logits: Array) -> Array:
    shifted = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return shifted / xp.sum(shifted, axis=-1, keepdims=True)


def posterior_weights(y: Array, bases: Array, eigenvalues: Array, alpha: Any, sigma: Any, **options: Any) -> Array:
    """Posterior probabilities of the components, shape (..., n, K); arguments as in `log_weights`."""
    logits = log_weights(y, bases, eigenvalues, alpha, sigma, **options)
    return _softmax(namespace(logits), logits)


def noise_and_mean(
    y: Array, bases: Array, eigenvalues: Array, alpha: Any, sigma: Any, *, means: Array | None = None,
    variance: Any = 0.0, channels: int = 1, log_priors: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Predicted noise and posterior mean E[x|y], both (..., n, C P), at the cost of one; arguments as in `log_weights`.

    Nothing is divided by sigma: the predicted noise keeps its digits as sigma tends to 0, if v > 0.
    """
    xp = _checked(y, bases, eigenvalues, means, channels)
    c = _coordinates(xp, y, bases, alpha, means, channels)
    shrunk, ratio = _shrinkage(eigenvalues, variance, alpha, sigma)
    p = _softmax(xp, _log_weights(xp, y, c, shrunk, ratio, variance, alpha, sigma, means, channels, log_priors))
    weighted = xp.matrix_transpose(p)[..., None, None] * shrunk * c  # (..., K, n, C, r)
    K, n, _, r = weighted.shape[-4:]
    order = (*range(weighted.ndim - 4), *(weighted.ndim - 4 + i for i in (1, 2, 0, 3)))
    rows = xp.reshape(xp.permute_dims(weighted, order), (*weighted.shape[:-4], n * channels, K * r))
    flat = xp.reshape(xp.matrix_transpose(bases), (*bases.shape[:-3], K * r, bases.shape[-2]))
    signal = rows @ flat
    signal = xp.reshape(signal, (*signal.shape[:-2], n, channels * bases.shape[-2]))  # sum_k p_k U_k (kappa/alpha²) c_k
    mean = 0.0 if means is None else p @ means
    gamma = alpha * alpha * variance + sigma * sigma
    rest = y - alpha * mean - alpha * alpha * signal
    return (sigma / gamma) * rest, mean + alpha * signal + (alpha * variance / gamma) * rest


def predicted_noise(y: Array, bases: Array, eigenvalues: Array, alpha: Any, sigma: Any, **options: Any) -> Array:
    """Predicted noise, shape (..., n, C P); arguments as in `log_weights`."""
    return noise_and_mean(y, bases, eigenvalues, alpha, sigma, **options)[0]


def posterior_mean(y: Array, bases: Array, eigenvalues: Array, alpha: Any, sigma: Any, **options: Any) -> Array:
    """The denoiser E[x|y], shape (..., n, C P); arguments as in `log_weights`."""
    return noise_and_mean(y, bases, eigenvalues, alpha, sigma, **options)[1]


def score(y: Array, bases: Array, eigenvalues: Array, alpha: Any, sigma: Any, **options: Any) -> Array:
    """Gradient of the log-density of y, shape (..., n, C P); arguments as in `log_weights`."""
    return -predicted_noise(y, bases, eigenvalues, alpha, sigma, **options) / sigma
