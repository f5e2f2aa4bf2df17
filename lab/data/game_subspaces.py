r"""Samples on subspaces for encoder-decoder games: one subspace, subspaces that share directions, exact angles.

Rows are samples: class j is :math:`X_j=N_jU_j^\top+\text{noise}` with standard normal coordinates N_j (n_j, d_j) and
columns U_j (d_x, d_j) of norm one, orthonormal or not. `sample` draws from given bases: call it twice for a training
and a test set on the same subspaces.

References
----------
.. [1] arXiv:2206.09120, Pai et al. 2022 (single and correlated subspaces; columns there, rows here).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lab.data.subspaces import SubspaceMixture, _positive_integers, haar
from lab.errors import InputError

__all__ = [
    "correlated_bases",
    "correlated_subspaces",
    "exact_angle_bases",
    "exact_angle_subspaces",
    "independent_subspaces",
    "sample",
    "single_subspace",
]


def sample(
    rng: np.random.Generator,
    bases: Sequence[np.ndarray],
    ns: Sequence[int],
    *,
    nu: float = 0.0,
    outliers: float = 0.0,
    label_noise: float = 0.0,
) -> SubspaceMixture:
    """Gaussian samples on given subspaces.

    Parameters
    ----------
    rng : numpy.random.Generator
    bases : sequence of array, shape (d_x, d_j)
    ns : sequence of int, > 0
        Samples of each class.
    nu : float, >= 0
        Expected squared norm of the noise of a sample: variance nu/d_x in each coordinate. Any noise makes the span of
        a class all of R^{d_x} (or n_j dimensions of it).
    outliers : float, in [0, 1]
        Probability that a sample is replaced by an isotropic Gaussian one of the same expected squared norm; its label
        stays.
    label_noise : float, in [0, 1]
        Probability that a label is drawn anew, uniformly from all classes.

    Returns
    -------
    SubspaceMixture
        `Z` (n, d_x) are the samples, in blocks of the classes they were drawn from; `labels` (n,); `bases` as given.

    Raises
    ------
    InputError
        If numbers of classes differ or an argument is outside its range.
    """
    sizes = _positive_integers("ns", ns)
    if len(sizes) != len(bases):
        raise InputError(f"there are {len(sizes)} ns but {len(bases)} bases; give one of each per class")
    if not (math.isfinite(nu) and nu >= 0):
        raise InputError(f"nu={nu} must be finite and >= 0")
    for name, value in (("outliers", outliers), ("label_noise", label_noise)):
        if not 0 <= value <= 1:
            raise InputError(f"{name}={value} must be a probability in [0, 1]")
    d_x, n, K = bases[0].shape[0], sum(sizes), len(sizes)
    clean = [rng.standard_normal((size, U.shape[1])) @ U.T for size, U in zip(sizes, bases, strict=True)]
    X, labels = np.concatenate(clean), np.repeat(np.arange(K), sizes)
    energy = np.repeat([float(np.sum(U**2)) for U in bases], sizes)
    stray = rng.random(n) < outliers
    X[stray] = rng.standard_normal((int(stray.sum()), d_x)) * np.sqrt(energy[stray] / d_x)[:, None]
    X += math.sqrt(nu / d_x) * rng.standard_normal((n, d_x))
    wrong = rng.random(n) < label_noise
    labels[wrong] = rng.integers(K, size=int(wrong.sum()))
    return SubspaceMixture(X, labels, tuple(bases))


def single_subspace(
    rng: np.random.Generator, *, n: int = 500, d_x: int = 50, d_S: int = 10, nu: float = 0.0
) -> SubspaceMixture:
    """One subspace of dimension `d_S` in R^{d_x} with an orthonormal Haar basis; see `sample`.

    Raises
    ------
    InputError
        If not 1 <= d_S <= d_x.
    """
    return sample(rng, [haar(rng, d_x, _fitting("d_S", [d_S], d_x)[0])], [n], nu=nu)


def correlated_bases(
    rng: np.random.Generator, *, d_x: int = 50, ds: Sequence[int] = (3, 4, 5), alpha: float = 0.1
) -> tuple[np.ndarray, ...]:
    r"""Bases that share directions: perturbed columns of one orthonormal frame, with columns of norm one.

    Class j takes d_j columns at random of a frame U of max d_j columns, and replaces each by
    :math:`(1-\alpha)u+\alpha g`, :math:`g\sim N(0,I)`, normalised.

    Parameters
    ----------
    rng : numpy.random.Generator
    d_x : int
        Dimension of the data.
    ds : sequence of int
        d_j, each at most `d_x`.
    alpha : float, in [0, 1]
        0 gives nested subspaces (no direct sum, outside the domain of the value of CTRL-MSP), 1 independent ones. For
        alpha > 0 they form a direct sum, almost surely, iff ``sum d_j <= d_x``.

    Returns
    -------
    tuple of array, shape (d_x, d_j)
        Columns of one class are not orthogonal unless alpha = 0. The mean cosine of two columns that share their
        frame column tends to ``(1-alpha)²/((1-alpha)² + alpha² d_x)`` for large d_x.
    """
    ranks = _fitting("ds", ds, d_x)
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha={alpha} must lie in [0, 1]: 0 shares all directions, 1 none")
    frame = haar(rng, d_x, max(ranks))
    found = []
    for rank in ranks:
        columns = frame[:, rng.permutation(max(ranks))[:rank]]
        columns = (1 - alpha) * columns + alpha * rng.standard_normal((d_x, rank))
        found.append(columns / np.linalg.norm(columns, axis=0))
    return tuple(found)


def correlated_subspaces(
    rng: np.random.Generator,
    *,
    ns: Sequence[int] = (500, 500, 500),
    d_x: int = 50,
    ds: Sequence[int] = (3, 4, 5),
    alpha: float = 0.1,
    nu: float = 0.0,
    outliers: float = 0.0,
    label_noise: float = 0.0,
) -> SubspaceMixture:
    """`sample` on `correlated_bases`."""
    bases = correlated_bases(rng, d_x=d_x, ds=ds, alpha=alpha)
    return sample(rng, bases, ns, nu=nu, outliers=outliers, label_noise=label_noise)


def independent_subspaces(
    rng: np.random.Generator, *, ns: Sequence[int], d_x: int, ds: Sequence[int], nu: float = 0.0
) -> SubspaceMixture:
    """`correlated_subspaces` with alpha = 1: bases of independent Gaussian columns of norm one."""
    return correlated_subspaces(rng, ns=ns, d_x=d_x, ds=ds, alpha=1.0, nu=nu)


def exact_angle_bases(
    rng: np.random.Generator, *, d_x: int, ds: Sequence[int], theta: float
) -> tuple[np.ndarray, ...]:
    r"""Orthonormal bases with one principal angle: all min(d_i, d_j) angles between classes i and j are `theta`.

    Column i of all classes that have one are equiangular, with Gram matrix
    :math:`(1-\cos\theta)I+\cos\theta\,11^\top`, in a space of their own; a Haar rotation places them in R^{d_x}.

    Parameters
    ----------
    rng : numpy.random.Generator
    d_x : int
        At least ``sum d_j``.
    ds : sequence of int
        d_j.
    theta : float
        Radians, in [0, pi/2]. pi/2 is orthogonal, 0 nested; a direct sum for theta > 0.

    Returns
    -------
    tuple of array, shape (d_x, d_j)
    """
    ranks = _fitting("ds", ds, d_x)
    if sum(ranks) > d_x:
        raise InputError(f"ds={tuple(ranks)} sum to {sum(ranks)} > d_x={d_x}; lower them or raise d_x")
    if not 0 <= theta <= math.pi / 2:
        raise InputError(f"theta={theta} must be an angle in [0, pi/2] radians")
    frame, cosine, used = haar(rng, d_x, sum(ranks)), math.cos(theta), 0
    bases = [np.empty((d_x, rank)) for rank in ranks]
    for i in range(max(ranks)):
        members = [j for j, rank in enumerate(ranks) if rank > i]
        m = len(members)
        apart = math.sqrt(max(0.0, 1 - cosine))
        common = (math.sqrt(1 + (m - 1) * cosine) - apart) / m
        own = frame[:, used : used + m]
        columns = apart * own + common * np.sum(own, axis=1, keepdims=True)
        for j, column in zip(members, columns.T, strict=True):
            bases[j][:, i] = column
        used += m
    return tuple(bases)


def exact_angle_subspaces(
    rng: np.random.Generator, *, ns: Sequence[int], d_x: int, ds: Sequence[int], theta: float, nu: float = 0.0
) -> SubspaceMixture:
    """`sample` on `exact_angle_bases`."""
    return sample(rng, exact_angle_bases(rng, d_x=d_x, ds=ds, theta=theta), ns, nu=nu)


def _fitting(name: str, ranks: Sequence[int], d_x: int) -> list[int]:
    found = _positive_integers(name, ranks)
    if max(found) > d_x:
        raise InputError(f"{name}={tuple(found)} must not exceed d_x={d_x}; lower it or raise d_x")
    return found
