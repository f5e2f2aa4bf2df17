"""Fewer samples than dimensions of a subspace: what a decoder that spans the samples leaves of new ones."""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["held_out_residual"]


def held_out_residual(samples, dimension):
    r"""Mean share of the energy of new samples outside the span of n training samples: :math:`\max(0,\,1-n/d)`.

    Samples are isotropic Gaussian on a subspace of dimension d, where n of them span a uniformly random subspace.
    Everything that the theory says of rank d_j then holds for the rank ``min(n, d)`` of the samples instead.

    Parameters
    ----------
    samples : array_like of int, >= 0
        n.
    dimension : array_like of int, >= 1
        d.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in arXiv:2206.09120.

    Examples
    --------
    >>> held_out_residual([1, 6, 9], 8).tolist()
    [0.875, 0.25, 0.0]
    """
    n, d = checks.non_negative("samples", samples), checks.positive("dimension", dimension)
    return np.maximum(0.0, 1 - n / d)[()]


