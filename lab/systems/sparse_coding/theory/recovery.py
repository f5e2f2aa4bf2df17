r"""Guarantees of local sparsity: how many nonzeros a stripe of ``2n - 1`` shifts may have, and what noise does.

mu is the coherence of the dictionary, the noise is measured by ``eps_L``, the largest l2 norm of its patches of n.

References
----------
.. [1] arXiv:1707.06066, Papyan, Sulam, Elad (stripes; theorems on basis pursuit without and with noise).
"""

from __future__ import annotations

import numpy as np

from lab import checks

__all__ = ["ERROR", "PENALTY", "recovery_stripe", "stability_stripe", "whole_stripe"]

PENALTY = 4.0
"""lam over eps_L in the theorem on noise."""

ERROR = 7.5
"""Largest error of an entry over eps_L: entries above it are found, the support is contained in the true one."""


def recovery_stripe(mu):
    """``(1 + 1/mu)/2``: with fewer nonzeros than this in every stripe, basis pursuit recovers the code exactly.

    Examples
    --------
    >>> float(recovery_stripe(0.25))
    2.5
    """
    return ((1 + 1 / checks.positive("mu", mu)) / 2)[()]


def stability_stripe(mu):
    """``(1 + 1/mu)/3``: with fewer nonzeros than this in every stripe, errors of the Lasso with ``lam = 4 eps_L`` are
    below ``7.5 eps_L`` and there is no false entry."""
    return ((1 + 1 / checks.positive("mu", mu)) / 3)[()]


def whole_stripe(bound) -> int:
    """Largest whole number strictly below a bound.

    Examples
    --------
    >>> whole_stripe(2.0), whole_stripe(2.5)
    (1, 2)
    """
    return int(np.ceil(checks.positive("bound", bound))) - 1
