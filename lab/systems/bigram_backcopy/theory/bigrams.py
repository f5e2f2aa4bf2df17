r"""Closed forms of the families of bigrams: lazy Zipf :math:`P=(1-r)1z^\top+rI`, Dirichlet rows, noisy ring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab import checks
from lab.errors import OutOfDomain

__all__ = [
    "cyclic_entropy",
    "dirichlet_entropy",
    "lazy_zipf_entropies",
    "lazy_zipf_law",
    "lazy_zipf_rate",
    "lazy_zipf_trigger_share",
]


def lazy_zipf_trigger_share(z, r: float, triggers: Sequence[int]) -> float:
    r"""Share of triggers in the long run, :math:`\tau/(1+\tau)` with :math:`\tau=(1-r)z(T)`, the same for every row.

    Parameters
    ----------
    z : array_like, shape (V,)
        The common law of the rows; stationary law of P.
    r : float, in [0, 1)
        Probability of a forced repetition.
    triggers : sequence of int

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.

    Examples
    --------
    >>> lazy_zipf_trigger_share([0.5, 0.25, 0.25], 0.0, (0,))  # tau = 1/2
    0.3333333333333333
    """
    z, r, is_trigger = _family(z, r, triggers)
    tau = (1 - r) * z[is_trigger].sum()
    return float(tau / (1 + tau))


def lazy_zipf_law(z, r: float, triggers: Sequence[int]) -> np.ndarray:
    r"""Long-run law of the tokens, shape (V,).

    .. math:: \pi_v=\frac{z_v}{z(N)(1+\tau)}\ (v\in N),\qquad\pi_t=\frac{(1-r)z_t}{1+\tau}\ (t\in T).

    Arguments as in `lazy_zipf_trigger_share`.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    z, r, is_trigger = _family(z, r, triggers)
    tau = (1 - r) * z[is_trigger].sum()
    return np.where(is_trigger, (1 - r) * z, z / z[~is_trigger].sum()) / (1 + tau)


def lazy_zipf_entropies(z, r: float) -> np.ndarray:
    r"""Entropy of every row in nats, shape (V,).

    .. math:: H(P_v)=\sum_kh((1-r)z_k)-h((1-r)z_v)+h((1-r)z_v+r),\qquad h(x)=-x\log x.

    Notes
    -----
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    z, r, _ = _family(z, r, ())
    parts = _h((1 - r) * z)
    return parts.sum() - parts + _h((1 - r) * z + r)


def lazy_zipf_rate(z, r: float, triggers: Sequence[int]) -> float:
    """Bayes loss per token of long sequences with exact copies: ``sum over N of pi_v H(P_v)``."""
    z, r, is_trigger = _family(z, r, triggers)
    return float(np.sum((lazy_zipf_law(z, r, triggers) * lazy_zipf_entropies(z, r))[~is_trigger]))


def dirichlet_entropy(c: float, z) -> float:
    r"""Mean entropy of a law drawn from Dirichlet(c z), in nats: :math:`\psi(c+1)-\sum_kz_k\psi(cz_k+1)`.

    Parameters
    ----------
    c : float, > 0
        Concentration.
    z : array_like, shape (V,)
        Mean law, positive.

    Notes
    -----
    Classical (psi is the digamma function); derivation: each p_k is Beta(c z_k, c - c z_k).

    Examples
    --------
    >>> round(dirichlet_entropy(2.0, [0.5, 0.5]), 6)  # uniform on the segment
    0.5
    """
    from scipy.special import digamma

    c = float(checks.positive("c", c))
    z = checks.positive("z", z)
    checks.checked("sum of z", z.sum(), lambda s: abs(s - 1) < 1e-9, "must be 1; normalise it")
    return float(digamma(c + 1) - np.sum(z * digamma(c * z + 1)))


def cyclic_entropy(V: int, eps: float) -> float:
    r"""Entropy of every row of the noisy ring, :math:`h(1-\epsilon+\epsilon/V)+(V-1)h(\epsilon/V)`.

    Its stationary law is uniform.
    """
    V = checks.integer("V", V, 2)
    eps = float(checks.checked("eps", eps, lambda e: (e > 0) & (e <= 1), "must lie in (0, 1]"))
    return float(_h(np.array(1 - eps + eps / V)) + (V - 1) * _h(np.array(eps / V)))


# ---------------------------------------------------------------------- shared


def _h(x: np.ndarray) -> np.ndarray:
    return -x * np.log(np.where(x > 0, x, 1.0))


def _family(z, r: float, triggers: Sequence[int]) -> tuple[np.ndarray, float, np.ndarray]:
    z = checks.positive("z", z)
    checks.checked("sum of z", z.sum(), lambda s: abs(s - 1) < 1e-9, "must be 1; normalise it")
    r = float(checks.checked("r", r, lambda v: (v >= 0) & (v < 1), "must lie in [0, 1)"))
    is_trigger = np.isin(np.arange(len(z)), np.asarray(triggers, dtype=int))
    if is_trigger.all() or is_trigger.sum() != len(triggers):
        raise OutOfDomain(f"triggers={tuple(triggers)}: must be distinct ids in [0, {len(z)}), not all of them")
    return z, r, is_trigger
