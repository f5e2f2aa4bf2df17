"""Values: the coding rate, the rate of the classes, their difference, and the regularised objective."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.arrays import Array, device, namespace
from lab.objectives.coding_rate.classes import Group, Hard, read_classes
from lab.objectives.coding_rate.factors import Factor, expand, factorise
from lab.objectives.coding_rate.inputs import read_features, read_level, read_scale

if TYPE_CHECKING:
    from jaxtyping import Float

# Weighted copies of Z are made for so many classes at once that they hold at most this many elements (32 MiB in
# float64).
_CHUNK = 2**22


def coding_rate(
    Z: Float[Array, "*batch n dim"], *, eps: Array | float, spectral: bool = False
) -> Float[Array, "*batch"]:
    r"""Nats needed to code the rows of `Z` together, up to distortion `eps`.

    .. math:: R(Z) = \tfrac12 \log\det(I + \alpha Z^\top Z), \qquad \alpha = d / (N \epsilon^2)

    Parameters
    ----------
    Z : array, shape (..., N, d)
        Features, samples in rows, not centred. Leading axes are batch axes.
    eps : float or array, > 0
        Distortion (not its square), in the units of `Z`. The axes of an array are batch axes.
    spectral : bool
        Sum `log1p(alpha s^2)` over the singular values `s` of `Z` instead of factorising a Gram matrix. Several times
        slower, and accurate where the default is not; see Notes.

    Returns
    -------
    array, shape (...)
        Rate in nats, in the dtype and on the device of `Z`.

    Raises
    ------
    InputError
        If `Z` is not finite or has the wrong shape, `eps` is not positive, or so small that rounding hides the
        identity.

    Notes
    -----
    Cholesky factorisation of the smaller Gram matrix: O(N d min(N, d)) flops. With unit roundoff `u`, spectral norm
    `|Z|` and `k = 1 + alpha |Z|^2`, the absolute error is about `u d log k`, or `u d k` if that Gram matrix is nearly
    singular; with `spectral` it is about `u d (log k + min(k - 1, sqrt(k)))`. So choose `spectral` as `eps -> 0` with
    rank-deficient features, and as `eps -> infinity`, where `R` itself is small.

    References
    ----------
    .. [1] arXiv:2006.08558, Yu et al. 2020 (columns there, rows here).

    Examples
    --------
    >>> import numpy as np
    >>> float(round(coding_rate(np.eye(3), eps=1.0), 6))
    1.039721
    """
    read_features(Z)
    scale = read_scale(eps, Z)
    beta = scale / Z.shape[-2]
    return 0.5 * (_spectral_logdet(Z, beta) if spectral else factorise(Z, beta).logdet)


def class_coding_rate(
    Z: Float[Array, "*batch n dim"], classes: Array | tuple[int, ...], *, eps: Array | float, spectral: bool = False
) -> Float[Array, "*batch"]:
    r"""Nats needed to code the rows of `Z` class by class, up to distortion `eps`.

    .. math:: R_c(Z, \Pi) = \sum_k \frac{n_k}{2N}
              \log\det\Big(I + \frac{d}{n_k\epsilon^2} Z^\top \mathrm{diag}(\Pi_k) Z\Big), \qquad n_k = \sum_i \Pi_{ik}

    Parameters
    ----------
    Z : array, shape (..., N, d)
        Features, samples in rows.
    classes : integer array (N,), tuple of int, or array (..., N, K)
        Labels, sizes of contiguous classes, or membership weights; see the package. A class with `n_k = 0` contributes
        0, in value and in every derivative.
    eps : float or array, > 0
        Distortion.
    spectral : bool
        As in `coding_rate`. With membership weights, the value is then not differentiable in a weight that is 0.

    Returns
    -------
    array, shape (...)
        Rate in nats.

    Raises
    ------
    InputError
        As `coding_rate`; or if labels, sizes or membership do not fit `Z` or break their rule.
    TypeError
        If `classes` is of another kind or of another array library than `Z`, or if labels are traced.

    Notes
    -----
    Hard classes cost O(N d min(n_k, d)) flops in one batched factorisation per group of classes of similar size.
    Membership weights cost O(K N d min(N, d)), since every sample counts in every class: for hard classes pass labels
    or sizes.

    References
    ----------
    .. [1] arXiv:2006.08558, Yu et al. 2020 (columns there, rows here).
    """
    read_features(Z)
    return Rates.of(Z, read_classes(Z, classes), read_scale(eps, Z), whole=False, spectral=spectral).classwise


def rate_reduction(
    Z: Float[Array, "*batch n dim"], classes: Array | tuple[int, ...], *, eps: Array | float, spectral: bool = False
) -> Float[Array, "*batch"]:
    r"""Rate reduction: what knowing the classes saves, :math:`\Delta R(Z, \Pi) = R(Z) - R_c(Z, \Pi) \ge 0`, in nats.

    Parameters, errors and costs are those of `class_coding_rate`; both terms share their Gram matrices.

    Notes
    -----
    As `eps -> infinity`, `c = d / eps^2 -> 0`, this is a difference of O(c) terms that is O(c^2): the relative error is
    about `u / c^2` with unit roundoff `u`, with `spectral=True` about `u / c`.

    References
    ----------
    .. [1] arXiv:2006.08558, Yu et al. 2020, rate reduction (columns there, rows here).

    Examples
    --------
    Two orthogonal directions, one per class: log(1 + u) - log(1 + 2u) / 2 at u = 4.

    >>> import numpy as np
    >>> float(round(rate_reduction(np.eye(2), (1, 1), eps=0.5), 6))
    0.510826
    """
    read_features(Z)
    return Rates.of(Z, read_classes(Z, classes), read_scale(eps, Z), spectral=spectral).reduction


def regularised_rate_reduction(
    Z: Float[Array, "*batch n dim"],
    classes: Array | tuple[int, ...],
    *,
    eps: Array | float,
    lam: Array | float,
    spectral: bool = False,
) -> Float[Array, "*batch"]:
    r"""Regularised objective, to be maximised: :math:`F(Z) = \Delta R(Z, \Pi) - \tfrac{\lambda}{2} \|Z\|_F^2`, in nats.

    Parameters
    ----------
    Z, classes, eps, spectral
        As in `class_coding_rate`.
    lam : float or array, >= 0
        Weight `lambda` of the penalty; twice the weight of codes that leave out the factor 1/2.

    Returns
    -------
    array, shape (...)

    Raises
    ------
    InputError, TypeError
        As `class_coding_rate`; or if `lam` is negative.

    References
    ----------
    .. [1] arXiv:2406.01909, Wang et al. 2024, the regularised problem (columns there, rows here).
    """
    read_features(Z)
    lam = read_level("lam", lam, Z, zero=True)
    reduction = Rates.of(Z, read_classes(Z, classes), read_scale(eps, Z), spectral=spectral).reduction
    return reduction - 0.5 * lam * energy(Z)


@dataclass(frozen=True, eq=False)
class Rates:
    """Rates of one `Z`, with the factors they came from (None where `spectral` or not asked for).

    Attributes
    ----------
    total, classwise : array, shape (...), or None
        `R` (if asked for) and `R_c`.
    whole : Factor or None
        Of all rows.
    parts : list of Factor
        One per group of hard classes (stacked rows and factors), empty for membership weights.
    groups : list of Group
        Which rows the parts hold.
    """

    total: Array | None
    classwise: Array
    whole: Factor | None
    parts: list[Factor]
    groups: list[Group]

    @property
    def whole_factor(self) -> Factor:
        """The factor of the Gram matrix of all rows; hard classes without `spectral` have it."""
        if self.whole is None:
            raise AssertionError("these rates were made without the whole")
        return self.whole

    @property
    def reduction(self) -> Array:
        return self.total - self.classwise

    @classmethod
    def of(
        cls, Z: Array, classes: Hard | Array, scale: Array | float, *, whole: bool = True, spectral: bool = False
    ) -> Rates:
        """Rates of checked arguments; `scale` is `c = d / eps^2`."""
        alpha = scale / Z.shape[-2]
        if spectral:
            total = 0.5 * _spectral_logdet(Z, alpha) if whole else None
            return cls(total, _classwise(Z, classes, scale, spectral=True), None, [], [])
        if not isinstance(classes, Hard):
            factor = factorise(Z, alpha) if whole else None
            return cls(None if factor is None else 0.5 * factor.logdet, _classwise(Z, classes, scale), factor, [], [])
        groups = classes.groups(Z.shape[-1])
        parts = [factorise(classes.stack(Z, group), _beta(Z, scale, group.sizes)) for group in groups]
        classwise = sum(_weigh(Z, part.logdet, group.sizes) for part, group in zip(parts, groups, strict=True))
        if not whole:
            return cls(None, classwise, None, parts, groups)
        gram = None
        if not any(part.wide for part in parts):
            # The Gram matrix of all rows is the sum of those of the classes: half of the work is done already.
            gram = sum(namespace(Z).sum(part.product, axis=-3) for part in parts)
        factor = factorise(Z, alpha, gram=gram)
        return cls(0.5 * factor.logdet, classwise, factor, parts, groups)


def soft_factors(Z: Array, weights: Array, scale: Array | float) -> Iterator[tuple[slice, Array, Factor]]:
    """Chunks of classes with membership `weights`: their slice, `n_k` (..., k), and factor with axes (..., k, N, d)."""
    for chunk, mass, normalised in _normalised(Z, weights):
        yield chunk, mass, factorise(Z[..., None, :, :], expand(scale, 1), normalised)


def energy(Z: Array) -> Array:
    """`|Z|_F^2`, shape (...); smooth at 0, unlike a squared norm under automatic differentiation."""
    xp = namespace(Z)
    return xp.sum(xp.linalg.vecdot(Z, Z), axis=-1)


def _normalised(Z: Array, weights: Array) -> Iterator[tuple[slice, Array, Array]]:
    xp = namespace(Z, weights)
    count = weights.shape[-1]
    step = max(1, _CHUNK // math.prod(Z.shape))
    for start in range(0, count, step):
        chunk = slice(start, min(start + step, count))
        columns = weights[..., chunk].mT
        mass = xp.sum(columns, axis=-1)
        # An empty class gets the divisor 1, so that its matrix is I and no 0/0 enters a value or a derivative.
        yield chunk, mass, columns / xp.where(mass > 0, mass, xp.ones_like(mass))[..., None]


def _classwise(Z: Array, classes: Hard | Array, scale: Array | float, *, spectral: bool = False) -> Array:
    """`R_c` without keeping factors: any classes if spectral, membership weights otherwise."""
    xp = namespace(Z)
    if isinstance(classes, Hard):
        return sum(
            _weigh(Z, _spectral_logdet(classes.stack(Z, group), _beta(Z, scale, group.sizes)), group.sizes)
            for group in classes.groups(Z.shape[-1])
        )
    if spectral:
        terms = (
            (mass, _spectral_logdet(xp.sqrt(part)[..., None] * Z[..., None, :, :], expand(scale, 1)))
            for _, mass, part in _normalised(Z, classes)
        )
    else:
        terms = ((mass, factor.logdet) for _, mass, factor in soft_factors(Z, classes, scale))
    return sum(xp.sum(mass * logdet, axis=-1) for mass, logdet in terms) / (2 * Z.shape[-2])


def _beta(Z: Array, scale: Array | float, sizes: Any) -> Array:
    """`c / n_k` for the classes of one group, shape (..., g)."""
    return expand(scale, 1) / namespace(Z).asarray(sizes, dtype=Z.dtype, device=device(Z))


def _weigh(Z: Array, logdets: Array, sizes: Any) -> Array:
    """`sum_k n_k / (2N) logdet_k` over one group."""
    xp = namespace(Z)
    return xp.sum(xp.asarray(sizes / (2 * Z.shape[-2]), dtype=Z.dtype, device=device(Z)) * logdets, axis=-1)


def _spectral_logdet(rows: Array, beta: Array | float) -> Array:
    xp = namespace(rows)
    values = xp.linalg.svdvals(rows)
    return xp.sum(xp.log1p(expand(beta, 1) * values * values), axis=-1)
