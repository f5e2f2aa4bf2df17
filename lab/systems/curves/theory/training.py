r"""Gradient descent on two symmetric curves: decay of the error in the kernel regime, orders in the width.

With labels +1 and -1 on a symmetric pair of curves the label vector is an eigenvector of the limit kernel. Gradient
descent with step tau on the loss :math:`\frac12E(f-y)^2` then multiplies the error of the centred network f - f_0,
which starts at -y, by :math:`1-\tau\lambda_-` in every step, while :math:`\tau<2/\lambda_+`.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["DENSE_ORDER", "SPARSE_ORDER", "residuals"]

SPARSE_ORDER, DENSE_ORDER = -0.5, -0.75
r"""Orders in the width of how far training moves a ReLU kernel, and of the error of linearising at the start.

Preactivations, of size :math:`n^{-1/2}`, move by 1/n: a share :math:`n^{-1/2}` of the gates flips. A flip changes
kernel and outputs by 1/n of their size. (a) *Sparse*, fixed points: the force of a point on a neuron acts while its
gate there is open, so flips to and fro differ in number by the share that one point has in the force; they add up,
:math:`n^{1/2}/n`. The guaranteed order is attained. (b) *Dense*, :math:`n^{1/4}\ll N` points: this share is negligible,
flips have random signs, :math:`n^{1/4}/n`. For smooth activations nothing flips and the order is -1. Derived for this
laboratory, verified numerically; not found in the cited papers.
"""


def residuals(eigenvalue: float, step: float, steps: int) -> np.ndarray:
    r"""Root mean square error :math:`|1-\tau\lambda|^k` after k = 0, ..., `steps` steps, of labels of size one.

    Raises
    ------
    OutOfDomain
        If the eigenvalue or the step is not positive.
    """
    product = checks.positive("step", step) * checks.positive("eigenvalue", eigenvalue)
    return np.abs(1 - product) ** np.arange(checks.integer("steps", steps, 0) + 1)
