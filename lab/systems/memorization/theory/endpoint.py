r"""Where deterministic sampling with the memorising denoiser ends.

The residual :math:`r=(y-\alpha x_i)/\sigma` about a training point changes in a DDIM step by

.. math:: r'-r=\bigl(\sqrt{\psi'}-\sqrt\psi\bigr)\,(\bar m-x_i),

exactly, with the posterior mean :math:`\bar m` at the start of the step: once the posterior has collapsed onto x_i the
residual is conserved, and the sample ends at distance :math:`\sigma|r|` of :math:`\alpha x_i`, about
:math:`\sigma\sqrt d`. Derived for this laboratory, verified numerically; not found in arXiv:2508.17689.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["endpoint_radius", "hit_statistic", "residual_step"]


def residual_step(psi, psi_next, gap):
    r"""Change of the residual in a DDIM step, :math:`(\sqrt{\psi'}-\sqrt\psi)(\bar m-x_i)`; gap is the bracket."""
    gap = checks.checked("gap", gap, np.isfinite, "must be finite")
    return ((np.sqrt(checks.non_negative("psi_next", psi_next)) - np.sqrt(checks.non_negative("psi", psi))) * gap)[()]


def endpoint_radius(sigma, d: int, *, slack: float = 4.0):
    r"""Distance :math:`\sigma(\sqrt d+4)` from a training point within which samples end.

    For the exact flow the residual is standard normal, and :math:`P(|z|>\sqrt d+u)\le e^{-u^2/2}`: 3e-4 at slack u = 4,
    in truth 2e-7 for d = 10. Coarse grids leave larger residuals to samples that decide late between close points.
    """
    return (checks.positive("sigma", sigma) * (np.sqrt(checks.integer("d", d, 1)) + slack))[()]


def hit_statistic(N: int, samples: int, chance=None) -> float:
    r"""Mean of the chi-square statistic :math:`\sum_i(n_i-n/N)^2N/n` of the counts of n independent end points.

    Parameters
    ----------
    N : int, >= 1
        Training points.
    samples : int, >= 1
        n.
    chance : array_like, shape (N,), optional
        Probability of each training point; 1/N each by default, as for the exact flow from the exact noisy
        distribution, where the mean is N - 1.
    """
    N, n = checks.integer("N", N, 1), checks.integer("samples", samples, 1)
    q = np.full(N, 1 / N) if chance is None else checks.fraction("chance", chance, open=False)
    return float(N * (1 - np.sum(q**2)) + n * N * np.sum((q - 1 / N) ** 2))
