r"""How much attention may miss the sink at a given excess risk.

With a value of the first token proportional to the all-ones vector the risk of one query is
:math:`KL=\log E_pe^{ub}-uE_pb`, b = B/W, where u is the attention on all other tokens together: u is a function of the
risk. Derived for this laboratory, verified numerically; not found in the cited papers.
"""

from __future__ import annotations

import numpy as np

from lab import checks
from lab.errors import OutOfDomain
from lab.systems.bigram_backcopy.theory.sink import cumulants, laws

__all__ = ["missed_attention", "missed_attention_small", "risk_without_sink"]


def _risk(u: np.ndarray, p: np.ndarray, b: np.ndarray) -> np.ndarray:
    x = u[..., None] * (b - np.sum(p * b, axis=-1, keepdims=True))
    small = np.abs(x) < 1e-3
    excess = np.where(small, x**2 / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5))), np.expm1(x) - x)
    return np.log1p(np.sum(p * excess, axis=-1))


def risk_without_sink(p, b) -> np.ndarray:
    """Risk at u = 1, no attention on the first token: above it no sink is needed. `p`, `b` (..., V)."""
    p = laws(p)
    return _risk(np.ones(p.shape[:-1]), p, np.asarray(b, dtype=float))


def missed_attention(eps, p, b) -> np.ndarray:
    """Attention u in (0, 1] off the first token at which the risk is `eps`, shape (...).

    Raises
    ------
    OutOfDomain
        If eps is above the risk without a sink: no u has it.
    """
    p, b, eps = laws(p), np.asarray(b, dtype=float), checks.positive("eps", eps)
    rule = "is above the risk without a sink: any attention will do; lower eps"
    top = risk_without_sink(p, b)
    checks.checked("eps", np.broadcast_to(eps, top.shape), lambda v: v <= top, rule)
    low, high = np.full(top.shape, -80.0), np.zeros(top.shape)  # log u; the risk increases with u
    for _ in range(100):
        middle = (low + high) / 2
        above = _risk(np.exp(middle), p, b) > eps
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    if np.any(low <= -79):
        raise OutOfDomain(f"eps={eps!r}: so small that u is below e^-79; raise eps")
    return np.exp((low + high) / 2)


def missed_attention_small(eps, p, b) -> np.ndarray:
    r"""Leading order for small eps: :math:`u=\sqrt{2\varepsilon/\mathrm{Var}_p(b)}`."""
    return np.sqrt(2 * checks.positive("eps", eps) / cumulants(p, b)[1])
