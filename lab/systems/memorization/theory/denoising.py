r"""The denoiser of two means, and the weight that makes the denoising loss a likelihood bound.

:math:`y=\alpha x+\sigma z`, :math:`\psi=\alpha^2/\sigma^2`; the denoisers of mixtures themselves are
`lab.models.denoisers` and `lab.models.low_rank_denoisers`.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.models.diffusion import Process, Target, loss_factor

__all__ = ["elbo_weight", "two_means_denoiser"]


def two_means_denoiser(y, radius: float, alpha, sigma, *, v: float = 0.0):
    r"""E[x|y] along the line of two equally likely means plus and minus r, component variance v.

    .. math:: E[x|y]=\bar m+\tfrac{\alpha v}{\Gamma}(y-\alpha\bar m),\qquad
              \bar m=r\tanh(\alpha r y/\Gamma),\quad \Gamma=\alpha^2v+\sigma^2

    With v = 0, r = 1, alpha = 1 and sigma = t: tanh(y/t²).

    Parameters
    ----------
    y : array_like
        Coordinate of the noisy sample along the means; other coordinates are denoised as for one Gaussian.
    radius : float, >= 0
        r.
    alpha, sigma : number or array, > 0
    v : float, >= 0

    Examples
    --------
    >>> round(float(two_means_denoiser(0.4, 1.0, 1.0, 0.8)), 4)
    0.5546
    """
    y = checks.checked("y", y, np.isfinite, "must be finite")
    r, v = float(checks.non_negative("radius", radius)), float(checks.non_negative("v", v))
    a, s = checks.positive("alpha", alpha), checks.positive("sigma", sigma)
    gamma = a**2 * v + s**2
    mean = r * np.tanh(a * r * y / gamma)
    return (mean + a * v / gamma * (y - a * mean))[()]


def elbo_weight(process: Process, t, target: Target = "eps"):
    r"""Weight that makes the denoising loss the continuous-time likelihood bound.

    On the eps loss :math:`-\tfrac12\,\frac{d\log\psi}{dt}=\frac{\sigma'}{\sigma}-\frac{\alpha'}{\alpha}`; on the x0
    loss
    :math:`-\tfrac12\,d\psi/dt`; on another loss the same divided by the factor that turns an eps loss into it.

    Parameters
    ----------
    process : Process
    t : number or array
        Inside the process: alpha and sigma positive.
    target : "eps", "x0", "v" or "score"
        What the loss is measured on.

    Returns
    -------
    array
        Integrated over t with the loss, the gap between -log p(x) and its bound, in nats.

    References
    ----------
    .. [1] arXiv:2107.00630, Kingma, Salimans, Poole, Ho 2021, variational diffusion models, eq. 17.
    """
    t = checks.checked("t", t, np.isfinite, "must be finite")
    a, s = checks.positive("alpha(t)", process.alpha(t)), checks.positive("sigma(t)", process.sigma(t))
    weight = process.sigma_slope(t) / s - process.alpha_slope(t) / a
    return (weight * loss_factor(process, t, "eps") / loss_factor(process, t, target))[()]
