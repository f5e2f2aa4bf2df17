r"""Layered pursuit: codes of ``x = D_1 D_2 ... D_L gamma_L`` found one layer after the other, errors passed on.

References
----------
.. [1] arXiv:1607.08194, Papyan, Romano, Elad, theorem on layered basis pursuit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lab import checks
from lab.systems.sparse_coding.theory.recovery import ERROR, PENALTY

__all__ = ["LayerBounds", "layered_bounds"]


class LayerBounds(NamedTuple):
    """One entry per layer i = 1..L.

    Attributes
    ----------
    penalties : lam_i = 4 eps_{i-1}
    entries : 7.5 eps_{i-1}, bound on the largest error of an entry of gamma_i
    patches : eps_i, bound on the l2 error of a patch of gamma_i
    """

    penalties: np.ndarray
    entries: np.ndarray
    patches: np.ndarray


def layered_bounds(noise, patch_nonzeros) -> LayerBounds:
    r"""Bounds on patches of codes, layer after layer, and what follows from them.

    .. math:: \epsilon_i = 7.5\,\epsilon_{i-1}\sqrt{\|\gamma_i\|_{0,\infty}^{patch}}

    Parameters
    ----------
    noise : float, >= 0
        eps_0, the largest l2 norm of patches of the noise, n_1 entries.
    patch_nonzeros : sequence of L numbers
        Largest number of nonzeros of gamma_i in a patch: n_{i+1} shifts of all its maps (one shift in the last layer).

    Examples
    --------
    >>> layered_bounds(0.1, [4, 1]).patches.tolist()
    [1.5, 11.25]
    """
    eps = [float(checks.non_negative("noise", noise))]
    for nonzeros in checks.non_negative("patch_nonzeros", patch_nonzeros):
        eps.append(ERROR * eps[-1] * float(np.sqrt(nonzeros)))
    before = np.array(eps[:-1])
    return LayerBounds(PENALTY * before, ERROR * before, np.array(eps[1:]))
