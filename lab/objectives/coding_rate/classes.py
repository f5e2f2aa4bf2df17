"""How samples are assigned to classes: labels, block sizes or membership weights, checked and brought to one form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import array_api_compat
import numpy as np

from lab.arrays import Array, device, is_real_floating, is_traced, machine_epsilon, namespace, to_numpy, truth
from lab.errors import InputError


def membership(labels: Array, K: int, *, dtype: Any = None) -> Array:
    """One-hot membership of integer labels.

    Parameters
    ----------
    labels : integer array, shape (..., N)
        Class of each sample, in 0 ... K-1. May be traced by JAX (then the range is not checked, and a label outside it
        gives a row of zeros).
    K : int, > 0
        Number of classes; some may stay empty.
    dtype : dtype, optional
        Of the result; by default the real floating dtype that the library of `labels` prefers.

    Returns
    -------
    array, shape (..., N, K)
        Ones and zeros; every row sums to one.

    Raises
    ------
    InputError
        If a label is outside 0 ... K-1, or `labels` are not integers.

    Examples
    --------
    >>> membership(np.asarray([0, 2]), 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    xp = namespace(labels)
    if not xp.isdtype(labels.dtype, "integral"):
        raise InputError(f"labels have dtype {labels.dtype} but must be integers; cast them, e.g. to int64")
    if truth(xp.all((labels >= 0) & (labels < K))) is False:
        low, high = int(xp.min(labels)), int(xp.max(labels))
        raise InputError(f"labels run from {low} to {high} but must lie in 0 ... K-1 = {K - 1}; relabel or raise K")
    if dtype is None:
        dtype = xp.__array_namespace_info__().default_dtypes()["real floating"]
    classes = xp.arange(K, dtype=labels.dtype, device=device(labels))
    return xp.astype(labels[..., None] == classes, dtype)


@dataclass(frozen=True, eq=False)
class Group:
    """Classes of similar size, to be stacked: row `index[g, i]` is sample i of class g, if `filled[g, i]`."""

    sizes: np.ndarray
    index: np.ndarray
    filled: np.ndarray


@dataclass(frozen=True, eq=False)
class Hard:
    """Hard classes: their sizes, and the order of rows that sorts them by class (None: contiguous already)."""

    sizes: np.ndarray
    order: np.ndarray | None

    @property
    def count(self) -> int:
        return int(self.sizes.sum())

    @cached_property
    def uniform(self) -> bool:
        """Contiguous blocks of one size: stacking the classes is a reshape."""
        return self.order is None and len(set(self.sizes[self.sizes > 0].tolist())) == 1

    def groups(self, dim: int) -> list[Group]:
        """Non-empty classes in groups whose sizes differ by less than a factor 2^(1/4), on one side of `dim`.

        Each group becomes one stacked array (padded with zero rows, which no rate notices) and one batched
        factorisation: few large operations instead of one small one per class, for at most 19 % more rows.
        """
        starts = np.cumsum(self.sizes) - self.sizes
        order = np.arange(self.count) if self.order is None else self.order
        members: dict[tuple[bool, int], list[int]] = {}
        for k, size in enumerate(self.sizes.tolist()):
            if size:  # an empty class contributes nothing to any rate
                members.setdefault((size < dim, math.ceil(4 * math.log2(size))), []).append(k)
        groups = []
        for chosen in members.values():
            sizes = self.sizes[chosen]
            place = np.arange(sizes.max())
            filled = place < sizes[:, None]
            groups.append(Group(sizes, order[np.where(filled, starts[chosen][:, None] + place, 0)], filled))
        return groups

    def stack(self, Z: Array, group: Group) -> Array:
        """Rows of the classes of `group`, shape (..., g, m, d)."""
        xp = namespace(Z)
        shape = (*Z.shape[:-2], *group.index.shape, Z.shape[-1])
        if self.uniform:
            return xp.reshape(Z, shape)
        rows = xp.reshape(xp.take(Z, xp.asarray(group.index.ravel(), device=device(Z)), axis=-2), shape)
        if not group.filled.all():
            rows = rows * xp.asarray(group.filled, dtype=Z.dtype, device=device(Z))[..., None]
        return rows

    def unstack(self, pieces: Sequence[Array], groups: Sequence[Group]) -> Array:
        """Rows of `pieces`, one array (..., g, m, d) per group, in their original order: the inverse of `stack`."""
        xp = namespace(*pieces)
        flat = [xp.reshape(piece, (*piece.shape[:-3], -1, piece.shape[-1])) for piece in pieces]
        if self.uniform:
            return flat[0]
        place = np.empty(self.count, dtype=np.int64)
        offset = 0
        for group in groups:
            slots = offset + np.arange(group.index.size).reshape(group.index.shape)
            place[group.index[group.filled]] = slots[group.filled]
            offset += group.index.size
        joined = flat[0] if len(flat) == 1 else xp.concat(flat, axis=-2)
        return xp.take(joined, xp.asarray(place, device=device(joined)), axis=-2)

    def membership(self, like: Array) -> Array:
        """The same classes as a membership array, shape (N, K), in the library, dtype and device of `like`."""
        hot = np.zeros((self.count, len(self.sizes)))
        rows = np.arange(self.count) if self.order is None else self.order
        hot[rows, np.repeat(np.arange(len(self.sizes)), self.sizes)] = 1
        return namespace(like).asarray(hot, dtype=like.dtype, device=device(like))


def read_classes(Z: Array, classes: Array | tuple[int, ...]) -> Hard | Array:
    """`classes` in one of the two forms that the rates know: `Hard`, or a membership array in the dtype of `Z`."""
    count = Z.shape[-2]
    if isinstance(classes, tuple):
        return _from_sizes(classes, count)
    if not array_api_compat.is_array_api_obj(classes):
        raise TypeError(
            f"classes is a {type(classes).__name__} but must be an array of labels, a membership array or a tuple of "
            "class sizes; convert it, e.g. numpy.asarray(labels)"
        )
    labels: Any = classes  # the check above narrows the type to a protocol that lacks `ndim`
    if labels.ndim == 1:
        return _from_labels(labels, count)
    return _from_membership(Z, classes)


def _from_sizes(sizes: tuple[int, ...], count: int) -> Hard:
    if not all(isinstance(size, int | np.integer) and size >= 0 for size in sizes) or sum(sizes) != count:
        raise InputError(
            f"class sizes {sizes} must be non-negative integers that add up to the number of rows, N={count}; "
            "classes are contiguous blocks of rows"
        )
    return Hard(np.asarray(sizes, dtype=np.int64), None)


def _from_labels(labels: Array, count: int) -> Hard:
    if is_traced(labels):
        raise TypeError(
            "labels are traced by JAX, so class sizes and hence shapes are unknown; pass NumPy labels (static), "
            "a tuple of class sizes, or membership(labels, K)"
        )
    labels = to_numpy(labels)
    if labels.dtype.kind not in "iu":
        raise InputError(f"labels have dtype {labels.dtype} but must be integers; cast them, e.g. to int64")
    if len(labels) != count:
        raise InputError(f"there are {len(labels)} labels but N={count} rows of Z; give one label per row")
    # More classes than samples are allowed (some are empty), but a stray huge label must not allocate its count.
    if labels.min() < 0 or labels.max() >= max(2**16, 2 * count):
        raise InputError(
            f"labels run from {labels.min()} to {labels.max()} but must be class numbers 0 ... K-1; "
            "relabel them, e.g. numpy.unique(labels, return_inverse=True)[1]"
        )
    order = np.argsort(labels, kind="stable")
    contiguous = bool((order == np.arange(count)).all())
    return Hard(np.bincount(labels), None if contiguous else order)


def _from_membership(Z: Array, weights: Array) -> Array:
    xp = namespace(Z, weights)
    if weights.shape[-2] != Z.shape[-2]:
        raise InputError(
            f"membership has shape {tuple(weights.shape)} but must be (..., N, K) with N={Z.shape[-2]} rows as Z; "
            "labels are one-dimensional, samples are rows"
        )
    if is_real_floating(weights):
        # Rows of a softmax are off by about one rounding error per class, in the precision they were computed in.
        slack = 8 * weights.shape[-1] * machine_epsilon(weights)
        total = xp.sum(weights, axis=-1)
        valid = truth(xp.all(weights >= 0) & xp.all(xp.abs(total - 1) <= slack))
    else:
        slack = 0.0
        valid = truth(xp.all(weights >= 0) & xp.all(xp.sum(weights, axis=-1) == 1))
    if valid is False:
        totals = to_numpy(xp.sum(weights, axis=-1))
        raise InputError(
            f"membership has smallest entry {float(xp.min(weights)):.3g} and row sums from {totals.min():.6g} to "
            f"{totals.max():.6g}; entries must be >= 0 and rows sum to 1 within {slack:.1g}; normalise its rows"
        )
    return xp.astype(weights, Z.dtype, copy=False)
