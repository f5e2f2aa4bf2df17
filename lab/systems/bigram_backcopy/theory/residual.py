r"""Residual growth of the first token under gradient flow: its norm grows like the square root of log t.

State :math:`h=e+md` (unit e, d, cosine c), read through normalisation by a key of scale y: the logit is
:math:`y\nu`, :math:`\nu=(m+c)/\sqrt{m^2+2mc+1}`. For every decreasing loss f(y nu) gradient flow conserves

.. math:: y^2-u^2-\frac{u^4}{2(1-c^2)},\qquad u=m+c .

Derived for this laboratory, verified numerically; not found in arXiv:2410.13835.
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["balance", "balanced_residual", "residual_growth", "scale_offset"]


def _sine2(c: float) -> float:
    return float(1 - checks.checked("c", c, lambda v: np.abs(v) < 1, "the cosine lies strictly between -1 and 1") ** 2)


def balance(y, u, c: float) -> np.ndarray:
    """The conserved quantity."""
    u2 = np.asarray(u, dtype=float) ** 2
    return np.asarray(y, dtype=float) ** 2 - u2 - u2**2 / (2 * _sine2(c))


def balanced_residual(y, c: float, constant: float) -> np.ndarray:
    r"""u >= 0 at scale y: :math:`u^2=(1-c^2)\bigl(-1+\sqrt{1+2(y^2-C)/(1-c^2)}\bigr)`."""
    excess = checks.non_negative("y^2 - C", np.asarray(y, dtype=float) ** 2 - constant)
    s = _sine2(c)
    return np.sqrt(2 * excess / (1 + np.sqrt(1 + 2 * excess / s)))


def scale_offset(c: float) -> float:
    r"""Limit of y - log t for the loss :math:`e^{-y\nu}`: :math:`\sqrt{1-c^2}/(2\sqrt2)`."""
    return np.sqrt(_sine2(c) / 8)


def residual_growth(t, c: float) -> np.ndarray:
    r"""Leading order of m + c at time t: :math:`(2(1-c^2))^{1/4}\sqrt{\log t}`."""
    return (2 * _sine2(c)) ** 0.25 * np.sqrt(np.log(checks.checked("t", t, lambda v: v > 1, "must exceed 1")))
