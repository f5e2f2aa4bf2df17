r"""Where the value of the first token goes while the sink logits are frozen at a common alpha.

The flow of beta conserves the sum over every connected component of tokens (two tokens are connected if some query can
emit both), and ends where every query is exact: beta + e^-alpha B constant on components. The limit with one component
is published; components and rate are derived for this laboratory, verified numerically; not found in arXiv:2410.13835.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.systems.bigram_backcopy.theory.sink import laws

__all__ = ["drain_rate", "drained_value", "token_components"]


def token_components(p) -> np.ndarray:
    """Component of every token, shape (V,), numbered by their first token; `p` (Q, V). A token that no query can emit
    is a component of its own."""
    p = laws(p)
    linked = (p.T > 0).astype(int) @ (p > 0).astype(int) > 0
    label = np.arange(p.shape[1])
    for _ in range(p.shape[1]):
        least = np.where(linked, label, p.shape[1]).min(1)
        label = np.minimum(label, least)
    return label


def drained_value(p, alpha: float, B, beta) -> np.ndarray:
    r"""Limit of beta from the start `beta`: :math:`-e^{-\alpha}B` plus, on each component, the constant that keeps its
    mean. Tokens that no query can emit keep their value. ``p`` (Q, V), ``B``, ``beta`` (V,).

    Examples
    --------
    >>> drained_value([[0.5, 0.5, 0.0]], 0.0, [1.0, 3.0, 5.0], [0.0, 0.0, 7.0]).tolist()
    [1.0, -1.0, 7.0]
    """
    label, beta, B = token_components(p), np.asarray(beta, dtype=float), np.asarray(B, dtype=float)
    kept = beta + np.exp(-float(alpha)) * B
    means = np.bincount(label, kept, minlength=label.size) / np.maximum(np.bincount(label, minlength=label.size), 1)
    return means[label] - np.exp(-float(alpha)) * B


def drain_rate(p, pi, alpha: float, W: float) -> float:
    r"""Rate of the last approach, :math:`c^2\lambda_2(\sum_v\pi_vC_v)`, :math:`c=e^\alpha/(e^\alpha+W)`,
    :math:`C_v=\mathrm{diag}\,p_v-p_vp_v^\top`; tokens must be one component."""
    p, pi = laws(p), checks.positive("pi", pi)
    if token_components(p).any():
        raise OutOfDomain("p: its supports split the tokens into components; take one component at a time")
    curvature = np.diag(pi @ p) - (p * pi[:, None]).T @ p
    return float(np.linalg.eigvalsh(curvature)[1] / (1 + float(checks.positive("W", W)) * np.exp(-alpha)) ** 2)
