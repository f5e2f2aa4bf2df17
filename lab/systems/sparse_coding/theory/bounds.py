r"""Largest gaps of ISTA and FISTA after k steps of 1/L from gamma_0.

In units of :math:`L\|\gamma_0-\gamma^\star\|^2/2`.

References
----------
.. [1] Beck and Teboulle 2009, theorems 3.1 and 4.4.
"""

from __future__ import annotations

from lab import checks

__all__ = ["fista_gap", "ista_gap"]


def ista_gap(steps):
    """``1/k``.

    Examples
    --------
    >>> float(ista_gap(10))
    0.1
    """
    return (1 / checks.positive("steps", steps))[()]


def fista_gap(steps):
    """``4/(k+1)²``.

    Examples
    --------
    >>> float(fista_gap(1))
    1.0
    """
    return (4 / (checks.positive("steps", steps) + 1) ** 2)[()]
