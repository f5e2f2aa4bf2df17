r"""Structured decoders that undo an encoder layer by layer: orders of the error.

Encoder layer :math:`Z \mapsto Z + \eta M(Z)`, structured decoder layer :math:`Y \mapsto Y - \eta M(Y)`.
"""

from __future__ import annotations

from lab import checks

__all__ = ["contraction", "layers_order", "one_layer_order"]


def one_layer_order(sign: float = -1.0) -> float:
    r"""Exponent of the error :math:`|Z - \mathrm{dec}(\mathrm{enc}(Z))|` in eta: 2 for the decoder with -, 1 with +.

    ``Z + eta M(Z) - eta M(Z + eta M(Z)) = Z - eta² DM(Z) M(Z) + O(eta³)``.
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    return 2.0 if sign < 0 else 1.0


def layers_order(sign: float = -1.0) -> float:
    r"""Exponent of the error in the number of layers L at eta = T/L: -1 for the decoder with -, 0 with +.

    Encoder and decoder are Euler's method for one flow, forwards and backwards in time: L errors of order 1/L².
    Derived for this laboratory, verified numerically; not found in the cited papers.
    """
    return -1.0 if sign < 0 else 0.0


def contraction(reduced_step):
    r"""Largest factor of the error in one iteration :math:`X \leftarrow Y + \kappa\nabla R^c(X)`: :math:`\kappa\beta`.

    It inverts an exact encoder layer :math:`Y = X - \kappa\nabla R^c(X)`, linearly for kappa beta < 1: the gradient has
    the Lipschitz constant beta (stacked-orthonormal frames), attained for weak tokens. For a layer Z + eta M(Z) in
    general the factor is eta Lip(M). Derived for this laboratory, verified numerically; not found in the cited
    papers.
    """
    return checks.non_negative("reduced_step", reduced_step)[()]
