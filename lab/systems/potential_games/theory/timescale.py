r"""Two timescales: which powers of the steps let independent learners settle, and how fast they then approach."""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["remaining", "settles", "settles_by_powers"]


def settles_by_powers(a, b):
    r"""Whether :math:`\alpha=n^{-a}`, :math:`\beta=n^{-b}` are two timescales: :math:`0<a<b\le1`.

    Then :math:`\sum\alpha=\sum\beta=\infty`, :math:`\beta/\alpha\to0`, :math:`\alpha,\beta\to0`, and
    :math:`\sum\alpha^{1+q/2}<\infty` for some q. The policy moves slowly and the values are read off a policy that
    stands nearly still. Not sufficient: see `settles`.
    """
    a, b = checks.positive("a", a), checks.positive("b", b)
    return ((a < b) & (b <= 1))[()]


def settles(a, b, theta):
    r"""Two timescales *and* infinitely many trials of every action: :math:`\theta>0`, or :math:`b=1`.

    Without exploration the probability of an action that is not played falls like
    :math:`\prod_j(1-j^{-b})\approx\exp(-n^{1-b}/(1-b))` in the visits n, which is summable for b < 1: by Borel and
    Cantelli the action may never be tried again, with positive probability. At b = 1 it falls like 1/n, not summable.
    """
    theta = checks.fraction("theta", theta, open=False)
    return (settles_by_powers(a, b) & ((theta > 0) | (np.asarray(b) == 1)))[()]


def remaining(b, first, last):
    r"""Share of the distance to a constant best response left after visits first+1, ..., last:
    :math:`\prod_{first<j\le last}(1-j^{-b})`; for b = 1 that is first/last.

    Parameters
    ----------
    b : float, > 0
    first, last : int
        0 <= first <= last.

    Examples
    --------
    >>> float(round(remaining(1.0, 5, 20), 12))
    0.25
    """
    b, first = float(checks.positive("b", b)), checks.integer("first", first, 0)
    last = checks.integer("last", last, first)
    return np.prod(1 - np.arange(first + 1, last + 1, dtype=float) ** -b)
