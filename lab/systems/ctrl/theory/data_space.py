r"""What a best response of the decoder says about the data: the features come back, the subspaces need not.

With F (d_z, d_x) and :math:`P=F^+F`, the projection onto its row space, every decoder splits into ``P G + (I - P) G``.
The encoder sees the first part alone. A best response fixes the covariances of ``FGF x``, hence the spans of
``P G F X_j``, and leaves ``(I - P) G`` free. Samples are rows, X_j (n_j, d_x); the papers use columns.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = ["mean_squared_residual", "row_space_residuals"]


def row_space_residuals(F, moments):
    r"""Data-space residual of any best response inside the row space of the encoder, such as :math:`F^+`.

    .. math:: \frac{\|X_j(I-P)\|_F}{\|X_j\|_F}=\sqrt{1-\frac{\mathrm{tr}(PC_j)}{\mathrm{tr}\,C_j}},\qquad P=F^+F

    Parameters
    ----------
    F : array_like, shape (d_z, d_x)
        Encoder, injective on the span of each class.
    moments : array_like, shape (K, d_x, d_x)
        ``C_j = X_j^T X_j/n_j``.

    Returns
    -------
    array, shape (K,)
        Share of X_j, in Frobenius norm, outside the span of its decoded samples. 0 iff the class lies in the row space.

    Notes
    -----
    With an orthonormal basis U of the class the decoded span is that of P U, whose projection Q has
    ``U^T Q U = U^T P U``: the sine of the angles to P itself. Derived for this laboratory, verified numerically; not
    found in arXiv:2206.09120.

    Examples
    --------
    >>> row_space_residuals([[1.0, 0.0, 0.0]], [np.diag([3.0, 1.0, 0.0]) / 4]).tolist()
    [0.5]
    """
    F, C = np.asarray(F, dtype=float), np.asarray(moments, dtype=float)
    if F.ndim != 2 or C.ndim != 3 or C.shape[1:] != (F.shape[1], F.shape[1]):
        raise OutOfDomain(f"F has shape {F.shape}, moments {C.shape}: must be (d_z, d_x) and (K, d_x, d_x)")
    outside = np.eye(F.shape[1]) - np.linalg.pinv(F) @ F
    return np.sqrt(np.maximum(np.trace(outside @ C @ outside, axis1=1, axis2=2), 0) / np.trace(C, axis1=1, axis2=2))


def mean_squared_residual(d_z, d_x):
    r"""Mean of the squared `row_space_residuals` over encoders with uniformly distributed row space: ``1 - d_z/d_x``.

    Parameters
    ----------
    d_z, d_x : array_like of int, 1 <= d_z <= d_x

    Examples
    --------
    >>> float(mean_squared_residual(30, 40))
    0.25
    """
    d_z, d_x = checks.positive("d_z", d_z), checks.positive("d_x", d_x)
    checks.checked("d_z", d_z, lambda d: d <= d_x, f"must not exceed d_x={d_x}; a larger encoder sees all of the data")
    return (1 - d_z / d_x)[()]
