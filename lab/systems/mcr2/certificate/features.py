"""Features and labels of any origin, checked, brought to one scale, sorted by class and compressed.

Everything a certificate needs depends on the rows of a class only through a rotation: ``Z_k = V_k Y_k`` with
orthonormal V_k (N_k, r_k), ``r_k = min(N_k, d)``, and ``Y_k = S_k U_k^T`` (r_k, d). The Y_k are at most d rows per
class, however many samples there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import array_api_compat
import numpy as np

from lab.arrays import to_numpy
from lab.errors import InputError
from lab.systems.mcr2.theory.domain import gram_scale

__all__ = ["Features", "Normalise", "read"]

Normalise = Literal["unit", "class", "none"]
WAYS = ("unit", "class", "none")


@dataclass(frozen=True, eq=False)
class Features:
    """Checked features, rows sorted by class, and their compressed form.

    Attributes
    ----------
    Z : array, shape (N, d)
        Rows sorted by class, after normalisation.
    order : array of int, shape (N,)
        ``Z[i]`` is row ``order[i]`` of the input.
    names : list of str
        Class names, in the order of the classes.
    sizes : tuple of int
    eps : float
    normalise : "unit", "class" or "none"
    left : list of arrays, shape (N_k, r_k)
        V_k.
    Y : array, shape (K, r, d)
        Compressed rows, padded with zero rows up to the largest r_k.
    singular : array, shape (K, r)
        Singular values of each class, descending, padded with zeros.
    """

    Z: np.ndarray
    order: np.ndarray
    names: list[str]
    sizes: tuple[int, ...]
    eps: float
    normalise: Normalise
    left: list[np.ndarray]
    Y: np.ndarray
    singular: np.ndarray

    @property
    def count(self) -> int:
        return sum(self.sizes)

    @property
    def dim(self) -> int:
        return self.Z.shape[1]

    @property
    def x(self) -> np.ndarray:
        """Class fractions, shape (K,)."""
        return np.array(self.sizes) / self.count

    @property
    def alpha(self) -> float:
        """d/(N eps²)."""
        return gram_scale(self.count, self.dim, eps=self.eps)

    @cached_property
    def u(self) -> np.ndarray:
        """Reduced squared singular values of the classes, ``alpha sigma²``, shape (K, r)."""
        return self.alpha * self.singular**2

    @cached_property
    def energies(self) -> np.ndarray:
        """||Z_k||_F², shape (K,)."""
        return np.sum(self.singular**2, axis=1)

    @cached_property
    def whole(self) -> np.ndarray:
        """Reduced squared singular values of all rows together, descending, shape (min(N, d),)."""
        values = np.linalg.svd(self.Y.reshape(-1, self.dim), compute_uv=False)
        return self.alpha * values[: min(self.count, self.dim)] ** 2

    @cached_property
    def filled(self) -> np.ndarray:
        """Which padded rows are rows, shape (K, r)."""
        return np.arange(self.Y.shape[1]) < np.minimum(self.sizes, self.dim)[:, None]

    def expand(self, compressed: np.ndarray) -> np.ndarray:
        """Compressed rows (K, r, d) as (N, d) in the order of the input."""
        rows = [V @ part[: V.shape[1]] for V, part in zip(self.left, compressed, strict=True)]
        return self.in_order(np.concatenate(rows))

    def in_order(self, rows: np.ndarray) -> np.ndarray:
        """Rows sorted by class, brought back to the order of the input."""
        back = np.empty_like(rows)
        back[self.order] = rows
        return back


def read(Z: Any, labels: Any, *, eps: float, normalise: Normalise) -> Features:
    """Features and labels as given, checked; raises one clear sentence where they do not make sense."""
    if normalise not in WAYS:
        raise InputError(f"normalise={normalise!r} must be 'unit' (rows), 'class' (energies N_k) or 'none'")
    if not (isinstance(eps, int | float | np.number) and math.isfinite(eps) and eps > 0):
        raise InputError(f"eps={eps!r} must be a positive finite number: the distortion, in the units of the features")
    rows, tags = _host(Z), _host(labels)
    rows = _real_rows(rows)
    tags = _class_tags(tags, len(rows))
    names, index, sizes = np.unique(tags, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise InputError(f"all {len(rows)} labels are {names[0]}: one class has rate reduction zero; give two or more")
    if len(names) == len(rows):
        raise InputError(
            f"the {len(rows)} labels are all different: classes need samples in common; pass class labels, not ids or "
            "targets"
        )
    order = np.argsort(index, kind="stable")
    rows = _scaled(rows[order], sizes, [str(name) for name in names], order, normalise)
    r = min(int(sizes.max()), rows.shape[1])
    left, Y, singular = [], np.zeros((len(sizes), r, rows.shape[1])), np.zeros((len(sizes), r))
    for k, block in enumerate(np.split(rows, np.cumsum(sizes)[:-1])):
        V, s, right = np.linalg.svd(block, full_matrices=False)
        left.append(V)
        Y[k, : len(s)], singular[k, : len(s)] = s[:, None] * right, s
    _resolved(rows, float(eps), float(singular.max()))
    shape = tuple(sizes.tolist())
    return Features(rows, order, [str(n) for n in names], shape, float(eps), normalise, left, Y, singular)


def _resolved(rows: np.ndarray, eps: float, largest: float) -> None:
    """Refuse an eps at which rates are rounding: alpha sigma² vanishes, or 1 vanishes beside it."""
    alpha, scale = gram_scale(*rows.shape, eps=eps), float(np.linalg.norm(rows) / math.sqrt(len(rows)))
    side = "large" if alpha * float(np.sum(rows**2)) < 1e-5 else "small" if alpha * largest**2 > 1e13 else ""
    if side:
        raise InputError(
            f"eps={eps:g} is too {side} for features of root-mean-square norm {scale:.3g}: rates would be rounding "
            f"errors; choose about half that norm, {scale / 2:.3g}, or normalise the rows"
        )


def _host(values: Any) -> np.ndarray:
    """Any array or sequence as a NumPy array on the host."""
    if array_api_compat.is_torch_array(values):
        values = values.detach().cpu()
        return to_numpy(values.double() if values.is_floating_point() else values)  # NumPy has no bfloat16
    if array_api_compat.is_array_api_obj(values):
        return to_numpy(values)
    try:
        return np.asarray(values)
    except ValueError:
        raise InputError("rows have different lengths: features must be an array (N, d), samples are rows") from None


def _real_rows(rows: np.ndarray) -> np.ndarray:
    """Finite float64 rows (N, d) that are not all equal."""
    if rows.ndim != 2 or min(rows.shape) < 1:
        hint = "flatten the other axes" if rows.ndim > 2 else "a single feature is Z[:, None]"
        raise InputError(f"features have shape {rows.shape}: must be (N, d), samples are rows; {hint}")
    if rows.dtype.kind not in "fiub" and "float" not in str(rows.dtype):
        raise InputError(f"features have dtype {rows.dtype}: must be real numbers; convert or drop other columns")
    rows = rows.astype(float)
    bad = ~np.isfinite(rows)
    if bad.any():
        i, j = np.argwhere(bad)[0]
        raise InputError(
            f"features have {int(bad.sum())} NaN or infinite entries, the first in row {i}, column {j}; remove those "
            "rows or mend them"
        )
    if np.all(rows == rows[0]):
        raise InputError(f"all {len(rows)} rows of the features are equal: they tell nothing about any label")
    return rows


def _class_tags(tags: np.ndarray, count: int) -> np.ndarray:
    """One label per row: whole numbers, booleans or texts."""
    if tags.ndim == 2 and 1 in tags.shape:
        tags = tags.reshape(-1)
    if tags.ndim != 1:
        raise InputError(f"labels have shape {tags.shape}: must be (N,), one label per row; argmax one-hot rows first")
    if len(tags) != count:
        swap = "; are samples the columns? transpose the features" if len(tags) != 0 else ""
        raise InputError(f"there are {len(tags)} labels but {count} rows of features; give one label per row{swap}")
    missing = np.array([_is_missing(tag) for tag in tags.tolist()])
    if missing.any():
        where = f"the first in row {int(np.argmax(missing))}"
        raise InputError(f"{int(missing.sum())} labels are missing, {where}; drop those rows")
    if tags.dtype.kind == "f" or (tags.dtype.kind not in "iubUSO"):
        values = tags.astype(float)
        if not np.all(values == np.round(values)):
            raise InputError(
                f"labels have fractions, e.g. {values[values != np.round(values)][0]:g}: must name classes; bin "
                "continuous targets first"
            )
        return values.astype(np.int64)
    return tags.astype(str) if tags.dtype.kind == "O" else tags


def _is_missing(tag: Any) -> bool:
    return tag is None or type(tag).__name__ in ("NAType", "NaTType") or (isinstance(tag, float) and tag != tag)


def _scaled(rows, sizes, names, order, normalise: Normalise) -> np.ndarray:
    if normalise == "unit":
        norms = np.linalg.norm(rows, axis=1)
        if np.any(norms == 0):
            raise InputError(
                f"{int(np.sum(norms == 0))} rows are zero, the first is row {int(order[norms == 0].min())}: they have "
                "no direction to normalise; drop them or use --normalise class"
            )
        return rows / norms[:, None]
    if normalise == "class":
        ends = np.cumsum(sizes)[:-1]
        norms = np.array([np.linalg.norm(block) for block in np.split(rows, ends)])
        if np.any(norms == 0):
            raise InputError(f"class {names[int(np.argmin(norms))]} is zero: no scale gives it energy; drop it or use "
                             "--normalise none")  # fmt: skip
        return rows * np.repeat(np.sqrt(sizes) / norms, sizes)[:, None]
    return rows
