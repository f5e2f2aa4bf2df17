r"""Sink logits and value trained together on contexts that differ: unbounded sinks, a value that drains away.

With :math:`m_v=E B`, :math:`E_v=E[B^\top C_vB]`, :math:`C_v=\mathrm{diag}\,p_v-p_vp_v^\top`,

.. math:: \alpha_v=\tfrac12\log 2t+\log\rho_v+o(1),\qquad \sqrt{2t}\,\beta_c\to b,\qquad R\sim Q/(4t),

where u = 1/rho solves :math:`u_v(Gu)_v=1`, :math:`G=\mathrm{diag}(\pi_vE_v)-M^\top H^+M`, :math:`H=\sum_v\pi_vC_v`,
:math:`M=[\pi_vC_vm_v]` (columns), and :math:`b=-H^+Mu`. Derived for this laboratory, verified numerically; not found in
arXiv:2410.13835.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.systems.bigram_backcopy.theory.sink import laws

__all__ = ["Scaling", "scaling_matrix", "scaling_solution"]


class Scaling(NamedTuple):
    """Offsets log rho (Q,) of the sink logits, and b (V,), the limit of sqrt(2t) times the centred value."""

    offsets: np.ndarray
    value: np.ndarray


def scaling_matrix(p, pi, B) -> tuple[np.ndarray, np.ndarray]:
    """G (Q, Q), positive semidefinite, and -H^+ M (V, Q). ``p`` (Q, V), ``pi`` (Q,), ``B`` (Q, S, V)."""
    p, pi, B = laws(p), checks.positive("pi", pi), np.asarray(B, dtype=float)
    x = B - np.sum(p[:, None, :] * B, axis=-1, keepdims=True)
    spread = pi * np.mean(np.sum(p[:, None, :] * x**2, axis=-1), axis=-1)
    columns = (pi[:, None] * p * x.mean(1)).T  # pi C m = pi p (m - <p, m>)
    H = np.diag(pi @ p) - (p * pi[:, None]).T @ p
    response = -np.linalg.pinv(H, rcond=1e-12, hermitian=True) @ columns
    return np.diag(spread) + columns.T @ response, response


def scaling_solution(p, pi, B) -> Scaling:
    """Solution of the scaling problem, unique where it exists; by damped Newton on the convex u^T G u/2 - sum log u.

    Raises
    ------
    OutOfDomain
        If G has a non-negative null vector: one context shared by all queries, or a query whose contexts never vary
        on the support of its law. Then sinks stay finite.
    """
    G, response = scaling_matrix(p, pi, B)
    scale = np.sqrt(np.diag(G))
    if np.any(scale**2 <= 1e-12 * np.max(scale) ** 2) or not np.max(scale) > 0:
        raise OutOfDomain("contexts of some query do not vary: no scaling solution, its sink stays finite")
    unit = G / np.outer(scale, scale)
    u = np.ones(len(G))
    for _ in range(400):
        slope = unit @ u - 1 / u
        step = np.linalg.solve(unit + np.diag(1 / u**2), slope)
        decrement = np.sqrt(max(slope @ step, 0.0))
        if decrement < 1e-14 or u.max() > 1e7:
            break
        u = u - step / (1 + decrement)
    if u.max() > 1e6 or not np.max(np.abs(u * (unit @ u) - 1)) < 1e-7:
        raise OutOfDomain("the contexts do not differ enough between queries: no scaling solution, sinks stay finite")
    u = u / scale
    return Scaling(-np.log(u), response @ u)
