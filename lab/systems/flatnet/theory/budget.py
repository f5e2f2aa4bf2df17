"""Reconstruction error of a single layer with its quadratic decoder."""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["layer_error"]


def layer_error(loss, threshold, height, dimension, share):
    r"""Root mean square distance between samples and their reconstruction through one layer.

    .. math:: \sqrt{2D\,\min(\text{threshold},\ \text{height}^2\,\text{loss})\,N_{\rm eff}/N}

    With ``alpha = min(height, sqrt(threshold/loss))`` and the loss half the mean squared entry of the weighted model
    error over the N_eff samples whose weight is not negligible: the layer's error is alpha times that error.

    Parameters
    ----------
    loss, threshold : array_like, > 0
    height : array_like in (0, 1)
    dimension : int
        D.
    share : array_like in (0, 1]
        N_eff/N.

    Examples
    --------
    >>> round(float(layer_error(1e-3, 1e-5, 0.5, 2, 1.0)), 5)
    0.00632
    """
    loss, threshold = checks.positive("loss", loss), checks.positive("threshold", threshold)
    height, D = checks.fraction("height", height), checks.integer("dimension", dimension, 1)
    share = checks.fraction("share", share, open=False)
    return np.sqrt(2 * D * np.minimum(threshold, height**2 * loss) * share)[()]
