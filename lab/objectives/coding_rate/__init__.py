"""Coding rates, rate reduction and their closed-form derivatives: one function for NumPy, PyTorch and JAX.

Conventions, for the whole package. Samples are rows, `Z` of shape (..., N, d) (the papers use columns). Logarithms are
natural, rates in nats. `eps` is the distortion and enters squared, `c = d / eps^2`; several public codes call `eps`
what is `eps^2` here, and write the penalty without the factor 1/2. Features are not centred.

Classes are given in one of three ways, with the same result where they mean the same:

- integer labels, shape (N,), of NumPy or of the library of `Z`; read on the host, so concrete even under `jit`;
- a tuple of class sizes, for classes that are contiguous blocks of rows: static, the fast path under `jit`;
- a membership array, shape (..., N, K), rows non-negative and summing to one; may be traced and differentiated.

`eps` and `lam` are numbers, or arrays whose axes are batch axes that broadcast against those of `Z`; they may be
traced.
"""

from lab.objectives.coding_rate.classes import membership
from lab.objectives.coding_rate.derivatives import (
    class_coding_rate_gradient,
    coding_rate_gradient,
    hessian_vector_product,
    membership_gradient,
    rate_reduction_gradient,
    regularised_rate_reduction_gradient,
    value_and_gradient,
)
from lab.objectives.coding_rate.rates import (
    class_coding_rate,
    coding_rate,
    rate_reduction,
    regularised_rate_reduction,
)

__all__ = [
    "class_coding_rate",
    "class_coding_rate_gradient",
    "coding_rate",
    "coding_rate_gradient",
    "hessian_vector_product",
    "membership",
    "membership_gradient",
    "rate_reduction",
    "rate_reduction_gradient",
    "regularised_rate_reduction",
    "regularised_rate_reduction_gradient",
    "value_and_gradient",
]
