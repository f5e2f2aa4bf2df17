"""Checks of the arguments that all coding rates share. Traced values pass unchecked; shapes are always checked."""

import math
import numbers
from typing import Any

import array_api_compat
import numpy as np

from lab.arrays import Array, is_real_floating, namespace, truth
from lab.errors import InputError


def read_features(Z: Array) -> Any:
    """Namespace of `Z`, checked to be finite real rows of shape (..., N, d) with N, d >= 1."""
    xp = namespace(Z)
    if Z.ndim < 2 or min(Z.shape[-2:]) < 1:
        raise InputError(
            f"Z has shape {tuple(Z.shape)} but must be (..., N, d) with N, d >= 1: samples are rows; "
            "a single sample is Z[None, :]"
        )
    if not is_real_floating(Z):
        raise InputError(f"Z has dtype {Z.dtype} but must be real floating point; cast it, e.g. to float64")
    if truth(xp.all(xp.isfinite(Z))) is False:
        raise InputError("Z has entries that are NaN or infinite; every feature must be finite, remove such rows first")
    return xp


def read_level(name: str, value: Array | float, Z: Array, *, zero: bool = False) -> Array | float:
    """A number as float, an array in the dtype of `Z`; checked to be finite, positive (or `zero`) and to broadcast."""
    rule = "finite and >= 0" if zero else "finite and > 0"
    if isinstance(value, numbers.Real | np.generic):
        value = float(value)
        if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
            raise InputError(f"{name}={value} must be {rule}; choose such a value")
        return value
    if not array_api_compat.is_array_api_obj(value):
        raise TypeError(f"{name} is a {type(value).__name__} but must be a number or an array; convert it")
    xp = namespace(value, Z)
    value = xp.astype(value, Z.dtype, copy=False)
    try:
        np.broadcast_shapes(tuple(value.shape), tuple(Z.shape[:-2]))
    except ValueError:
        raise InputError(
            f"{name} has shape {tuple(value.shape)} but its axes are batch axes and must broadcast against those of Z, "
            f"{tuple(Z.shape[:-2])}; add or remove axes"
        ) from None
    if truth(xp.all(xp.isfinite(value)) & xp.all(value >= 0 if zero else value > 0)) is False:
        raise InputError(
            f"{name} runs from {float(xp.min(value)):.3g} to {float(xp.max(value)):.3g} but must be {rule}; "
            "choose such values"
        )
    return value


def read_scale(eps: Array | float, Z: Array) -> Array | float:
    """The scale `c = d / eps^2` of the coding rate."""
    return Z.shape[-1] / read_level("eps", eps, Z) ** 2
