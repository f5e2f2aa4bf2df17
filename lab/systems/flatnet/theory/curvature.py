r"""What a layer does to the second fundamental form at the sample it is built around.

The surface is the graph of h over its tangent space at the sample (h = 0, h' = 0 there), the frame is that tangent
space, and the kernel's centre lies at the height m above the sample.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["local_mean_offset", "new_second_derivative", "sphere_offset", "trace_factor"]

_NODES = 80


def new_second_derivative(second, gamma, alpha, offset=0.0):
    r"""Second derivative of the flattened surface along a unit tangent vector, exact.

    .. math:: h''_{\rm new} = \bigl(1-k_0(1-2\gamma m^2)\bigr)\,h''-2\gamma m k_0,\qquad k_0=\alpha e^{-\gamma m^2}

    With the centre on the surface, m = 0, it is :math:`(1-\alpha)h''`.

    Parameters
    ----------
    second : array_like
        h'' along the vector.
    gamma : float, > 0
    alpha : float in [0, 1]
    offset : float
        m.

    Examples
    --------
    >>> float(new_second_derivative(1.0, 50.0, 0.5)), float(new_second_derivative(1.0, 50.0, 0.5, 0.005))
    (0.5, 0.25218535278272003)
    """
    gamma, alpha = checks.positive("gamma", gamma), checks.fraction("alpha", alpha, open=False)
    m = np.asarray(offset, dtype=float)
    k = alpha * np.exp(-gamma * m**2)
    return ((1 - k * (1 - 2 * gamma * m**2)) * np.asarray(second, dtype=float) - 2 * gamma * m * k)[()]


def local_mean_offset(trace, gamma):
    r"""Height of the mean of uniformly dense samples with weights :math:`e^{-\gamma|x|^2}`: :math:`\mathrm{tr}(h'')
    /(4\gamma)`, to leading order in the curvature over :math:`\sqrt\gamma`.
    """
    return (np.asarray(trace, dtype=float) / (4 * checks.positive("gamma", gamma)))[()]


def sphere_offset(d, gamma):
    r"""The same for the unit d-sphere, where :math:`h''=I`, exactly (all of the sphere counts).

    Heights y have the density :math:`(y(2-y))^{d/2-1}e^{-2\gamma y}`; Gauss-Jacobi quadrature on [0, 2], or
    up to where the exponential leaves 1e-17 of the weight (relative error below 1e-10). Tends to d/(4 gamma).

    Examples
    --------
    >>> round(float(sphere_offset(3, 50.0) / local_mean_offset(3, 50.0)), 4)
    0.9975
    """
    from scipy.special import roots_jacobi

    d, gamma = checks.integer("d", d, 1), float(checks.positive("gamma", gamma))
    top = min(2.0, (40 + 2 * d) / (2 * gamma))
    right = d / 2 - 1 if top == 2.0 else 0.0  # the other end of the sphere is singular for d = 1, if it counts
    x, weight = roots_jacobi(_NODES, right, d / 2 - 1)
    y = top * (1 + x) / 2
    weight = weight * np.exp(-2 * gamma * y) * ((2 - y) ** (d / 2 - 1) if top < 2 else 1.0)
    return weight @ y / weight.sum()


def trace_factor(alpha, d):
    r"""Factor of the mean curvature in a layer centred on the local mean: :math:`1-\alpha-\alpha d/2`.

    The limit of narrow kernels and uniform density. Negative (the surface bends the other way) for
    :math:`\alpha>2/(d+2)`, below -1 (it bends more than before) for :math:`\alpha>4/(d+2)`.

    Examples
    --------
    >>> [float(trace_factor(0.5, d)) for d in (1, 2, 3, 6, 8)]
    [0.25, 0.0, -0.25, -1.0, -1.5]
    """
    alpha, d = checks.fraction("alpha", alpha, open=False), checks.integer("d", d, 1)
    return (1 - alpha - alpha * d / 2)[()]
