"""Closed-form derivatives: gradients in the features and in the membership, and Hessian-vector products.

With `M = I + alpha Z^T Z` and `A_k = (I + (c / n_k) Z^T diag(Pi_k) Z)^{-1}`, all d x d, the derivatives below need only
`Z M^{-1}` and `Z A_k`, which come from the Cholesky factors of the value. They are array functions themselves: they can
be differentiated, vmapped and jitted like the values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.arrays import Array, device, namespace
from lab.errors import InputError
from lab.objectives.coding_rate.classes import Hard, read_classes
from lab.objectives.coding_rate.factors import expand, factorise
from lab.objectives.coding_rate.inputs import read_features, read_level, read_scale
from lab.objectives.coding_rate.rates import Rates, energy, soft_factors

if TYPE_CHECKING:
    from jaxtyping import Float


def coding_rate_gradient(Z: Float[Array, "*batch n dim"], *, eps: Array | float) -> Float[Array, "*batch n dim"]:
    r"""Gradient of `coding_rate` in the features: :math:`\nabla_Z R = \alpha Z M^{-1}`.

    Parameters
    ----------
    Z, eps
        As in `coding_rate`.

    Returns
    -------
    array, shape (..., N, d)
        In nats per unit of `Z`.

    Notes
    -----
    Error about `u sqrt(k) alpha |Z|`, `k = 1 + alpha |Z|^2`, unit roundoff `u`; `u alpha |Z|` if the non-zero singular
    values of `Z` are equal. The same for every gradient here.

    References
    ----------
    .. [1] arXiv:2006.08558, Yu et al. 2020 (columns there, rows here).
    """
    read_features(Z)
    alpha = read_scale(eps, Z) / Z.shape[-2]
    return expand(alpha, 2) * factorise(Z, alpha).shrunk


def class_coding_rate_gradient(
    Z: Float[Array, "*batch n dim"], classes: Array | tuple[int, ...], *, eps: Array | float
) -> Float[Array, "*batch n dim"]:
    r"""Gradient of `class_coding_rate` in the features.

    .. math:: \nabla_Z R_c = \alpha \sum_k \mathrm{diag}(\Pi_k) Z A_k

    The prefactor is :math:`\alpha = d / (N\epsilon^2)`, the same for every class whatever its size.

    Parameters
    ----------
    Z, classes, eps
        As in `class_coding_rate`.

    Returns
    -------
    array, shape (..., N, d)

    References
    ----------
    .. [1] arXiv:2406.01909, Wang et al. 2024 (columns there, rows here).
    """
    read_features(Z)
    classes, scale = read_classes(Z, classes), read_scale(eps, Z)
    alpha = expand(scale / Z.shape[-2], 2)
    if not isinstance(classes, Hard):
        return alpha * _soft_value_and_shrunk(Z, classes, scale)[1]
    rates = Rates.of(Z, classes, scale, whole=False)
    return alpha * classes.unstack([part.shrunk for part in rates.parts], rates.groups)


def rate_reduction_gradient(
    Z: Float[Array, "*batch n dim"], classes: Array | tuple[int, ...], *, eps: Array | float
) -> Float[Array, "*batch n dim"]:
    r"""Gradient of `rate_reduction` in the features: :math:`\nabla_Z \Delta R = \nabla_Z R - \nabla_Z R_c`.

    Parameters
    ----------
    Z, classes, eps
        As in `class_coding_rate`.

    Returns
    -------
    array, shape (..., N, d)
    """
    return value_and_gradient(Z, classes, eps=eps)[1]


def regularised_rate_reduction_gradient(
    Z: Float[Array, "*batch n dim"], classes: Array | tuple[int, ...], *, eps: Array | float, lam: Array | float
) -> Float[Array, "*batch n dim"]:
    r"""Gradient of `regularised_rate_reduction` in the features: :math:`\nabla_Z F = \nabla_Z \Delta R - \lambda Z`.

    Parameters
    ----------
    Z, classes, eps, lam
        As in `regularised_rate_reduction`.

    Returns
    -------
    array, shape (..., N, d)
    """
    return value_and_gradient(Z, classes, eps=eps, lam=lam)[1]


def value_and_gradient(
    Z: Float[Array, "*batch n dim"], classes: Array | tuple[int, ...], *, eps: Array | float, lam: Array | float = 0.0
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch n dim"]]:
    r"""`regularised_rate_reduction` and its gradient in the features, from one set of factors.

    .. math:: \nabla_{Z_k} F = Z_k (\alpha M^{-1} - \alpha A_k - \lambda I) \quad\text{(rows of class } k)

    Parameters
    ----------
    Z, classes, eps
        As in `class_coding_rate`.
    lam : float or array, >= 0
        Weight of the penalty; 0, the default, gives the rate reduction.

    Returns
    -------
    value : array, shape (...)
    gradient : array, shape (..., N, d)

    References
    ----------
    .. [1] arXiv:2406.01909, Wang et al. 2024 (columns there, rows here).
    """
    xp = read_features(Z)
    lam = read_level("lam", lam, Z, zero=True)
    classes, scale = read_classes(Z, classes), read_scale(eps, Z)
    alpha, decay = expand(scale / Z.shape[-2], 2), expand(lam, 2)
    penalty = 0.5 * lam * energy(Z)
    if not isinstance(classes, Hard):
        whole = factorise(Z, scale / Z.shape[-2])
        classwise, shrunk = _soft_value_and_shrunk(Z, classes, scale)
        return 0.5 * whole.logdet - classwise - penalty, alpha * (whole.shrunk - shrunk) - decay * Z
    rates = Rates.of(Z, classes, scale)
    value, whole = rates.reduction - penalty, rates.whole_factor
    if whole.wide:
        pieces = [part.shrunk for part in rates.parts]
        return value, alpha * (whole.shrunk - classes.unstack(pieces, rates.groups)) - decay * Z
    # Collect the d x d matrices first: one product with the rows of each class instead of two, and no pass for lam Z.
    eye = xp.eye(Z.shape[-1], dtype=Z.dtype, device=device(Z))
    common = (alpha * whole.inverse - decay * eye)[..., None, :, :]
    factor = expand(scale / Z.shape[-2], 3)
    pieces = [
        part.rows @ common - (factor * part.inverse) @ part.rows
        if part.wide
        else part.rows @ (common - factor * part.inverse)
        for part in rates.parts
    ]
    return value, classes.unstack(pieces, rates.groups)


def membership_gradient(
    Z: Float[Array, "*batch n dim"], classes: Array | tuple[int, ...], *, eps: Array | float
) -> Float[Array, "*batch n classes"]:
    r"""Gradient of `class_coding_rate` in the membership, through the class sizes :math:`n_k` too.

    .. math:: \frac{\partial R_c}{\partial \Pi_{ik}} = \frac{1}{2N}
              \big[ \log\det A_k^{-1} + c\, z_i^\top A_k z_i - (d - \mathrm{tr} A_k) \big], \qquad c = d / \epsilon^2

    Parameters
    ----------
    Z, classes, eps
        As in `class_coding_rate`. Labels and sizes are read as one-hot membership.

    Returns
    -------
    array, shape (..., N, K)
        All entries of the membership taken as independent: project on the simplex where rows must keep summing to one.
        The column of an empty class is 0 by convention: there `R_c` has one-sided derivatives only.

    Notes
    -----
    O(K N d min(N, d)) flops. `d - tr A_k` is computed as the weighted mean of `c z_i^T A_k z_i`, to which it is equal.
    """
    xp = read_features(Z)
    weights, scale = read_classes(Z, classes), read_scale(eps, Z)
    if isinstance(weights, Hard):
        weights = weights.membership(Z)
    columns = []
    for _, mass, factor in soft_factors(Z, weights, scale):
        quadratic = expand(scale, 2) * xp.sum(factor.rows * factor.shrunk, axis=-1)
        mean = xp.sum(factor.weights * quadratic, axis=-1)
        column = (factor.logdet - mean)[..., None] + quadratic
        columns.append(xp.where((mass > 0)[..., None], column, xp.zeros_like(column)))
    return xp.concat(columns, axis=-2).mT / (2 * Z.shape[-2])


def hessian_vector_product(
    Z: Float[Array, "*batch n dim"],
    E: Float[Array, "*batch n dim"],
    classes: Array | tuple[int, ...],
    *,
    eps: Array | float,
    lam: Array | float,
) -> Float[Array, "*batch n dim"]:
    r"""Second derivative of `regularised_rate_reduction` in the features along `E`, with the membership fixed.

    .. math:: D^2F[E]_k = \alpha E_k M^{-1} - \alpha^2 Z_k M^{-1} D M^{-1} - \alpha E_k A_k
              + \alpha \tfrac{c}{n_k} Z_k A_k D_k A_k - \lambda E_k

    for hard classes, with :math:`D = Z^\top E + E^\top Z` and :math:`D_k = Z_k^\top E_k + E_k^\top Z_k`.

    Parameters
    ----------
    Z, classes, eps, lam
        As in `regularised_rate_reduction`.
    E : array, shape (..., N, d)
        Direction; its batch axes broadcast against those of `Z`.

    Returns
    -------
    array, shape (..., N, d)

    Raises
    ------
    InputError
        As `regularised_rate_reduction`; or if the last two axes of `E` are not those of `Z`.
    """
    read_features(Z)
    read_features(E)
    if tuple(E.shape[-2:]) != tuple(Z.shape[-2:]):
        raise InputError(f"E ends in shape {tuple(E.shape[-2:])} but must end as Z does, in {tuple(Z.shape[-2:])}")
    E = namespace(Z, E).astype(E, Z.dtype, copy=False)
    lam = read_level("lam", lam, Z, zero=True)
    classes, scale = read_classes(Z, classes), read_scale(eps, Z)
    alpha = scale / Z.shape[-2]
    if isinstance(classes, Hard):
        rates = Rates.of(Z, classes, scale)
        whole = rates.whole_factor
        pieces = [part.tangent(classes.stack(E, group)) for part, group in zip(rates.parts, rates.groups, strict=True)]
        classwise = classes.unstack(pieces, rates.groups)
    else:
        whole = factorise(Z, alpha)
        classwise = sum(
            namespace(Z).sum(_columns(classes, chunk) * factor.tangent(E[..., None, :, :]), axis=-3)
            for chunk, _, factor in soft_factors(Z, classes, scale)
        )
    return expand(alpha, 2) * (whole.tangent(E) - classwise) - expand(lam, 2) * E


def _soft_value_and_shrunk(Z: Array, weights: Array, scale: Array | float) -> tuple[Array, Array]:
    """`R_c` and `sum_k diag(Pi_k) Z A_k` for membership weights, from the same factors."""
    xp = namespace(Z)
    value, shrunk = 0.0, 0.0
    for chunk, mass, factor in soft_factors(Z, weights, scale):
        value = value + xp.sum(mass * factor.logdet, axis=-1) / (2 * Z.shape[-2])
        shrunk = shrunk + xp.sum(_columns(weights, chunk) * factor.shrunk, axis=-3)
    return value, shrunk


def _columns(weights: Array, chunk: slice) -> Array:
    """Columns of the membership as (..., k, N, 1), to weigh rows with axes (..., k, N, d)."""
    return weights[..., chunk].mT[..., None]
