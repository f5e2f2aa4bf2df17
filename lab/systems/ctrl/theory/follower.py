r"""Best responses of the decoder: how strong a decoder must be to have one.

Every decoder with :math:`(FG)\,C_j\,(FG)^\top=C_j` for the moments C_j of the features of all classes is a best
response, at distance 0; :math:`F^+` and :math:`X^\top(FX^\top)^+` are two of them. With a decoder of bounded operator
norm there may be none.
"""

from __future__ import annotations

import numpy as np

from lab.checks import positive
from lab.errors import OutOfDomain

__all__ = ["least_decoder_norm"]


def least_decoder_norm(data_values, feature_values):
    r"""Smallest operator norm of a best response, for one class and an invertible encoder.

    .. math:: \max_i\sigma_i(X)/\sigma_i(XF^\top)

    Both spectra in descending order. Below this norm the follower's gap is positive, from there on it is zero, and
    the bound is at most :math:`1/\sigma_{\min}(F)`, usually less: moments may be matched without inverting F.

    Parameters
    ----------
    data_values, feature_values : array_like, shape (..., d), > 0
        Singular values of X and of X F^T.

    Returns
    -------
    array, shape (...)

    Notes
    -----
    Best responses are :math:`G=F^{-1}C_z^{1/2}QC_z^{-1/2}` with Q orthogonal, and
    :math:`\min_Q\|AQB\|=\max_i\sigma_i(A)\sigma_{d+1-i}(B)`. Derived for this laboratory, verified numerically; not
    found in the cited papers.

    Examples
    --------
    >>> float(least_decoder_norm([3.0, 1.0], [1.0, 0.5]))
    3.0
    """
    x, z = positive("data_values", data_values), positive("feature_values", feature_values)
    if x.shape[-1] != z.shape[-1]:
        raise OutOfDomain(f"{x.shape[-1]} data_values but {z.shape[-1]} feature_values: F must be square, pass as many")
    return np.max(np.sort(x, axis=-1) / np.sort(z, axis=-1), axis=-1)
