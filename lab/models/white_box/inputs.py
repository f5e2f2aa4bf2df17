"""Checks of the arguments that the operators share, and the softmax. Traced values pass; shapes are always checked."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from lab.arrays import Array, is_real_floating, namespace, truth
from lab.errors import InputError
from lab.objectives.coding_rate.inputs import read_level

TINY = 1e-24  # square of the floor 1e-12 that torch's normalize puts under a norm


def read_frames(Z: Array, U: Array) -> Any:
    """Namespace of tokens (..., N, d) and frames (..., K, d, p) that fit each other."""
    xp = namespace(Z, U)
    if Z.ndim < 2 or U.ndim < 3 or U.shape[-2] != Z.shape[-1]:
        raise InputError(
            f"U has shape {tuple(U.shape)} but must be (..., K, d, p) with the d of Z, which has shape "
            f"{tuple(Z.shape)} (tokens are rows); one head is U[None]"
        )
    read_batch("U", U, Z, 3)
    read_dtype("U", U, Z)
    return xp


def read_coordinates(W: Array) -> Any:
    """Namespace of head coordinates, checked to be real numbers of shape (..., K, N, p)."""
    xp = namespace(W)
    if W.ndim < 3 or min(W.shape[-3:]) < 1:
        raise InputError(f"W has shape {tuple(W.shape)} but must be (..., K, N, p): one head is W[None]")
    if not is_real_floating(W):
        raise InputError(f"W has dtype {W.dtype} but must be real floating point; cast it, e.g. to float64")
    return xp


def read_membership(membership: Array, Z: Array, U: Array) -> None:
    """Check a membership (..., N, K) of the tokens in the heads: real, >= 0."""
    xp = namespace(membership, Z)
    if membership.ndim < 2 or tuple(membership.shape[-2:]) != (Z.shape[-2], U.shape[-3]):
        raise InputError(
            f"membership has shape {tuple(membership.shape)} but must be (..., N, K) = (..., {Z.shape[-2]}, "
            f"{U.shape[-3]}); labels are turned into one by lab.objectives.coding_rate.membership"
        )
    read_batch("membership", membership, Z, 2)
    if not is_real_floating(membership):
        raise InputError(f"membership has dtype {membership.dtype} but must be real floating point; cast it")
    if truth(xp.all(membership >= 0)) is False:
        raise InputError(f"membership has the entry {float(xp.min(membership)):.3g} but weights must be >= 0; clip it")


def read_batch(name: str, array: Array, Z: Array, axes: int) -> None:
    """Check that the batch axes of `array`, all but its last `axes`, broadcast against those of the rows `Z`."""
    try:
        np.broadcast_shapes(tuple(array.shape[:-axes]), tuple(Z.shape[:-2]))
    except ValueError:
        raise InputError(
            f"{name} has batch axes {tuple(array.shape[:-axes])} but Z has {tuple(Z.shape[:-2])}; they must broadcast"
        ) from None


def read_dtype(name: str, array: Array, Z: Array) -> None:
    """Check that `array` has the dtype of `Z`."""
    if array.dtype != Z.dtype:
        raise InputError(f"{name} has dtype {array.dtype} but Z has {Z.dtype}; cast one of them")


def read_number(name: str, value: Array | float, like: Array, *, axes: int, own: int = 2, zero: bool = False) -> Any:
    """A positive number (or `zero`), or an array over the batch axes of `like`, with `axes` axes of one behind them.

    `own` is the number of axes of `like` that are no batch axes: 2 for tokens, 3 for head coordinates.
    """
    rows = like if own == 2 else like[..., 0, :, :]
    level = read_level(name, value, rows, zero=zero)
    return level if isinstance(level, float) else level[(..., *([None] * axes))]


def softmax_rows(logits: Array) -> Array:
    """Softmax over the last axis."""
    if array_api_compat.is_torch_array(logits):  # one kernel instead of five, with its own derivative
        import torch

        return torch.softmax(logits, dim=-1)
    xp = namespace(logits)
    weights = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return weights / xp.sum(weights, axis=-1, keepdims=True)
