r"""Sparse codes by iterative shrinkage (ISTA), the sparsifying half of a white-box layer.

Rows `Y` (..., N, d) are coded by a dictionary `D` (..., d, m), whose columns are atoms, as ``Y = A D^T`` with codes `A`
(..., N, m); the papers write ``D A`` with columns. The objective, over ``A >= 0`` where codes are nonnegative, and a
step are

.. math::

    F(A) = \lambda\,\|A\|_1 + \tfrac12 \|Y - A D^\top\|_F^2, \qquad
    A^+ = \max\big(A - \eta\,(A D^\top - Y) D - \eta\lambda,\ 0\big) .

F never increases for ``eta < 2/L``, L the squared spectral norm of D, once ``A >= 0``.

References
----------
.. [1] arXiv:2306.01129, Yu et al. 2023 (one step from A = Y with a square dictionary, eta = lam = 0.1).
.. [2] arXiv:2405.20299, Yang et al. 2024 (two steps from A = 0 with an overcomplete dictionary, another one to decode).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import array_api_compat

from lab.arrays import Array, namespace
from lab.errors import InputError
from lab.models.white_box.inputs import read_batch, read_dtype, read_number
from lab.objectives.coding_rate.inputs import read_features

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["ista", "ista_orthogonal", "ista_step", "lasso_objective", "overcomplete_block"]


def lasso_objective(
    A: Float[Array, "*batch n m"], Y: Float[Array, "*batch n d"], D: Float[Array, "*batch d m"], *, lam: Array | float
) -> Float[Array, "*batch"]:
    r""":math:`F(A)=\lambda\|A\|_1+\tfrac12\|Y-AD^\top\|_F^2`; the constraint ``A >= 0`` is not part of it."""
    xp = _read_codes(A, Y, D)
    misfit = Y - A @ D.mT
    penalty = read_number("lam", lam, Y, axes=0, zero=True) * xp.sum(xp.abs(A), axis=(-2, -1))
    return penalty + 0.5 * xp.sum(misfit * misfit, axis=(-2, -1))


def ista_step(
    A: Float[Array, "*batch n m"], Y: Float[Array, "*batch n d"], D: Float[Array, "*batch d m"], *,
    eta: Array | float, lam: Array | float, nonnegative: bool = True,
) -> Float[Array, "*batch n m"]:  # fmt: skip
    r"""One step of iterative shrinkage, :math:`\max(A-\eta(AD^\top-Y)D-\eta\lambda,\,0)`.

    Parameters
    ----------
    A : array, shape (..., N, m)
        Codes. The published layer starts at ``A = Y`` (square dictionary), which need not be >= 0: the descent of the
        objective holds from the first step's result on.
    Y : array, shape (..., N, d)
    D : array, shape (..., d, m)
        Dictionary; atoms are columns.
    eta : number or array whose axes are batch axes, > 0
        Step.
    lam : number or array whose axes are batch axes, >= 0
        Weight of the penalty.
    nonnegative : bool
        Otherwise both signs are kept, ``sign(x) max(|x| - eta lam, 0)``.

    Returns
    -------
    array, shape (..., N, m)

    Raises
    ------
    InputError
        For shapes that do not fit, non-finite rows, eta <= 0 or lam < 0.
    """
    xp = _read_codes(A, Y, D)
    return _step(xp, A, Y, D, *_read_step(eta, lam, Y), nonnegative)


def ista(
    Y: Float[Array, "*batch n d"], D: Float[Array, "*batch d m"], *, eta: Array | float, lam: Array | float, steps: int,
    start: Float[Array, "*batch n m"] | None = None, nonnegative: bool = True,
) -> Float[Array, "*batch n m"]:  # fmt: skip
    """Codes after `steps` steps from `start`, by default from zero; other arguments as in `ista_step`."""
    xp = _read_dictionary(Y, D)
    if start is None:
        # max(eta (Y D - lam), 0) is the step from zero; multiplying by zero keeps batch axes, dtype, device and graph
        start = 0 * (Y @ D)
    _read_codes(start, Y, D)
    if not isinstance(steps, int) or steps < 0:
        raise InputError(f"steps={steps!r} must be an integer >= 0")
    numbers = _read_step(eta, lam, Y)

    def step(A: Array) -> Array:
        return _step(xp, A, Y, D, *numbers, nonnegative)

    if array_api_compat.is_jax_array(Y):  # one compiled step, however many there are
        import jax

        return jax.lax.fori_loop(0, steps, lambda _, A: step(A), start)
    for _ in range(steps):
        start = step(start)
    return start


def ista_orthogonal(
    Y: Float[Array, "*batch n d"], D: Float[Array, "*batch d d"], *, lam: Array | float
) -> Float[Array, "*batch n d"]:
    """Minimiser ``max(Y D - lam, 0)`` of the objective over A >= 0 for a square orthogonal dictionary.

    It is one step with ``eta = 1`` from any start. `D` is not checked to be orthogonal.
    """
    xp = _read_dictionary(Y, D)
    if D.shape[-2] != D.shape[-1]:
        raise InputError(f"D has shape {tuple(D.shape)} but an orthogonal dictionary is square, (..., d, d); use ista")
    codes = Y @ D - read_number("lam", lam, Y, axes=2, zero=True)
    return xp.maximum(codes, xp.zeros_like(codes))


def overcomplete_block(
    Y: Float[Array, "*batch n d"], D: Float[Array, "*batch d m"], D_out: Float[Array, "*batch d m"], *,
    eta: Array | float = 0.1, lam: Array | float = 0.1, steps: int = 2,
) -> Float[Array, "*batch n d"]:  # fmt: skip
    """Rows decoded by `D_out` from the codes of a few steps with `D`: ``ista(Y, D, ...) D_out^T``.

    The published block has m = 4 d atoms, two steps from zero and ``eta = lam = 0.1``; a layer adds the residual. Two
    steps are far from the minimiser of the objective.

    References
    ----------
    .. [1] arXiv:2405.20299, overcomplete dictionary with two ISTA steps (columns there, rows here).
    """
    if tuple(D_out.shape[-2:]) != tuple(D.shape[-2:]):
        raise InputError(f"D_out has shape {tuple(D_out.shape)} but must be (..., d, m) as D, {tuple(D.shape)}")
    read_dtype("D_out", D_out, Y)
    return ista(Y, D, eta=eta, lam=lam, steps=steps) @ D_out.mT


def _step(xp: Any, A: Array, Y: Array, D: Array, eta: Array | float, lam: Array | float, nonnegative: bool) -> Array:
    moved = A - eta * ((A @ D.mT - Y) @ D)
    if nonnegative:
        moved = moved - eta * lam
        return xp.maximum(moved, xp.zeros_like(moved))
    size = xp.abs(moved) - eta * lam
    return xp.sign(moved) * xp.maximum(size, xp.zeros_like(size))


def _read_step(eta: Array | float, lam: Array | float, Y: Array) -> tuple[Any, Any]:
    return read_number("eta", eta, Y, axes=2), read_number("lam", lam, Y, axes=2, zero=True)


def _read_dictionary(Y: Array, D: Array) -> Any:
    read_features(Y)
    xp = namespace(Y, D)
    if D.ndim < 2 or D.shape[-2] != Y.shape[-1]:
        raise InputError(
            f"D has shape {tuple(D.shape)} but must be (..., d, m) with the d of the rows, which have shape "
            f"{tuple(Y.shape)}; atoms are columns"
        )
    read_batch("D", D, Y, 2)
    read_dtype("D", D, Y)
    return xp


def _read_codes(A: Array, Y: Array, D: Array) -> Any:
    xp = _read_dictionary(Y, D)
    if A.ndim < 2 or tuple(A.shape[-2:]) != (Y.shape[-2], D.shape[-1]):
        raise InputError(
            f"A has shape {tuple(A.shape)} but must be (..., N, m) = (..., {Y.shape[-2]}, {D.shape[-1]}), one code for "
            "each row and atom"
        )
    read_dtype("A", A, Y)
    return xp
