r"""Expected alignment cost of linear encoders on views of one sample, and how pairs of views are counted."""

from __future__ import annotations

import numpy as np

from lab.errors import OutOfDomain
from lab.systems.simdino.theory import domain

__all__ = ["expected_alignment", "printed_alignment_factor"]


def expected_alignment(student, teacher, *, signal, noise) -> float:
    r"""Half the mean squared distance between student features of one view and teacher features of another.

    .. math:: \tfrac12\mathbb E\|x W_s-x'W_t\|^2
              = \tfrac12\operatorname{tr}(W_s^\top C W_s+W_t^\top C W_t)-\operatorname{tr}W_s^\top\Sigma_s W_t

    with ``C = signal + noise`` and views that share the signal only.

    Parameters
    ----------
    student, teacher : array_like, shape (D, d)
    signal, noise : array_like, shape (D, D)

    Examples
    --------
    >>> expected_alignment(np.eye(1), np.eye(1), signal=np.eye(1), noise=3 * np.eye(1))
    3.0
    """
    Ws, Wt, S, noise = (np.asarray(a, dtype=float) for a in (student, teacher, signal, noise))
    if Ws.ndim != 2 or Ws.shape != Wt.shape or S.shape != (Ws.shape[0],) * 2 or noise.shape != S.shape:
        raise OutOfDomain(
            f"student {Ws.shape}, teacher {Wt.shape}, signal {S.shape}, noise {noise.shape}: weights must be (D, d) "
            "and moments (D, D)"
        )
    total = S + noise
    return float(0.5 * (np.sum(Ws * (total @ Ws)) + np.sum(Wt * (total @ Wt))) - np.sum(Ws * (S @ Wt)))


def printed_alignment_factor(views: int, teacher_views: int) -> float:
    """Total weight of the pairs in the printed empirical loss: V/(V - 1) instead of 1.

    It sums all pairs (global teacher view, student view), same views included, and divides by the number of pairs of
    different views, G (V - 1).
    """
    views, seen = domain.integer("views", views, 2), domain.integer("teacher_views", teacher_views, 1)
    if seen > views:
        raise OutOfDomain(f"teacher_views={seen} exceeds views={views}; the teacher sees the first of them")
    return views / (views - 1)
