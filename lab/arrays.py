"""The only seam to the array libraries: NumPy, PyTorch and JAX behind the Python array API standard.

Generic code asks `namespace` for the library of its arguments and uses the standard; what the standard lacks
(triangular and Cholesky solves, looking at a value that may be traced) is here. Importing this module loads neither
torch nor JAX.

Arrays of any other library that follows the standard (array-api-strict in the tests) take the slower generic branch.
"""

import os
from typing import Any

import array_api_compat
import numpy as np

from lab.errors import InputError

Array = Any  # an array of NumPy, torch, JAX or any library that follows the standard


def namespace(*arrays: Array) -> Any:
    """Array-API namespace shared by the arguments.

    Parameters
    ----------
    *arrays : array, number or None
        At least one must be an array; numbers and None are ignored.

    Returns
    -------
    module
        `array_api_compat.numpy`, `array_api_compat.torch`, `jax.numpy`, ...

    Raises
    ------
    TypeError
        If no argument is an array, or if the arguments belong to different libraries.
    """
    try:
        return array_api_compat.array_namespace(*arrays)
    except TypeError:
        kinds = sorted({f"{type(x).__module__.partition('.')[0]}.{type(x).__name__}" for x in arrays if x is not None})
        raise TypeError(
            f"arguments of types {', '.join(kinds)} have no array library in common; "
            "convert them all to arrays of one library (NumPy, torch or JAX)"
        ) from None


def give_jax_threads() -> None:
    """Let JAX's CPU backend, if it has not started yet, start with at least eight threads.

    With two, two batched factorisations under way at once may each wait for a thread that the other holds, for ever
    (seen with jaxlib 0.10.2 on two cores). An environment variable NPROC of one's own is left as it is.
    """
    os.environ.setdefault("NPROC", str(max(8, os.cpu_count() or 1)))


def device(x: Array) -> Any:
    """Device of `x`, to pass to creation functions; None while JAX traces (then the default device is right)."""
    return array_api_compat.device(x)


def is_real_floating(x: Array) -> bool:
    """Whether the elements of `x` are real floating-point numbers."""
    return bool(namespace(x).isdtype(x.dtype, "real floating"))


def machine_epsilon(x: Array) -> float:
    """Spacing of floating-point numbers at 1 in the precision of `x`, e.g. 2.2e-16 in float64."""
    return float(namespace(x).finfo(x.dtype).eps)


def is_traced(x: Any) -> bool:
    """Whether the value of `x` is unknown now because JAX is tracing it (`jit`, `vmap`, `grad`)."""
    if not array_api_compat.is_jax_array(x):
        return False
    import jax

    return isinstance(x, jax.core.Tracer)


def truth(condition: Array) -> bool | None:
    """Value of a 0-d boolean array, or None if it cannot be known yet.

    A check of input is `if truth(xp.all(x > 0)) is False: raise ...`: it acts on concrete values and lets traced ones
    pass.

    Parameters
    ----------
    condition : array, shape ()
        Boolean.

    Returns
    -------
    bool or None
        None under `jax.jit`, `jax.vmap`, `jax.grad`, `torch.func.vmap` and `torch.compile`.
    """
    if is_traced(condition):
        return None
    if array_api_compat.is_torch_array(condition):
        import torch

        if torch.compiler.is_compiling():
            return None
        try:
            return bool(condition)
        except RuntimeError:  # torch.func.vmap offers no public test for "batched": it refuses bool() instead
            return None
    return bool(condition)


def to_numpy(x: Array) -> np.ndarray:
    """Copy or view of `x` on the host as a NumPy array, detached from any gradient.

    Raises
    ------
    TypeError
        If the value of `x` is unknown because JAX is tracing it.
    """
    if is_traced(x):
        raise TypeError(
            f"a traced JAX array of shape {x.shape} has no value to convert to NumPy; "
            "pass it as a static argument or move the conversion outside jit, vmap and grad"
        )
    if array_api_compat.is_torch_array(x):
        return x.detach().cpu().numpy()
    return np.asarray(x)


def detached(x: Array) -> Array:
    """`x` as a constant: no gradient passes through it."""
    if array_api_compat.is_torch_array(x):
        return x.detach()
    if array_api_compat.is_jax_array(x):
        import jax

        return jax.lax.stop_gradient(x)
    return x


def cholesky(matrix: Array) -> Array:
    """Lower Cholesky factor of symmetric positive definite matrices.

    Parameters
    ----------
    matrix : array, shape (..., n, n)
        Only assumed symmetric up to rounding.

    Returns
    -------
    array, shape (..., n, n)
        Lower triangular `L` with `L L^T = matrix`.

    Raises
    ------
    InputError
        If a matrix is not positive definite to working precision. JAX returns NaN instead: it cannot raise.
    """
    xp = namespace(matrix)
    failures: tuple[type[Exception], ...] = (np.linalg.LinAlgError,)
    if array_api_compat.is_torch_array(matrix):
        import torch

        failures = (torch.linalg.LinAlgError,)
    try:
        return xp.linalg.cholesky(matrix)
    except failures:
        raise InputError(
            f"a matrix of shape {tuple(matrix.shape[-2:])} is not positive definite in {matrix.dtype}; "
            "use float64 or a better conditioned matrix"
        ) from None


def cholesky_logdet(factor: Array) -> Array:
    """Log-determinant of `L L^T`, shape (...), from its lower Cholesky factor `L`, shape (..., n, n)."""
    xp = namespace(factor)
    return 2 * xp.sum(xp.log(xp.linalg.diagonal(factor)), axis=-1)


def triangular_solve(factor: Array, right: Array, *, transpose: bool = False) -> Array:
    """Solution `X` of `L X = B`, or of `L^T X = B`, for lower triangular `L`.

    Parameters
    ----------
    factor : array, shape (..., n, n)
        Lower triangular `L`; the strict upper triangle must be zero.
    right : array, shape (..., n, m)
        `B`. Leading axes broadcast against those of `factor`.
    transpose : bool
        Solve with `L^T` instead of `L`.

    Returns
    -------
    array, shape (..., n, m)
    """
    xp = namespace(factor, right)
    batch = np.broadcast_shapes(tuple(factor.shape[:-2]), tuple(right.shape[:-2]))
    if array_api_compat.is_torch_array(factor):
        import torch

        return torch.linalg.solve_triangular(factor.mT if transpose else factor, right, upper=transpose)
    factor = xp.broadcast_to(factor, (*batch, *factor.shape[-2:]))
    right = xp.broadcast_to(right, (*batch, *right.shape[-2:]))
    if array_api_compat.is_jax_array(factor):
        import jax

        return jax.lax.linalg.triangular_solve(factor, right, left_side=True, lower=True, transpose_a=transpose)
    if array_api_compat.is_numpy_array(factor):
        import scipy.linalg

        return scipy.linalg.solve_triangular(factor, right, lower=True, trans=int(transpose), check_finite=False)
    return xp.linalg.solve(factor.mT if transpose else factor, right)


def cholesky_solve(factor: Array, right: Array) -> Array:
    """Solution `X` of `L L^T X = B` from the lower Cholesky factor `L`; shapes as in `triangular_solve`."""
    return triangular_solve(factor, triangular_solve(factor, right), transpose=True)


def cholesky_inverse(factor: Array) -> Array:
    """Inverse of `L L^T` from its lower Cholesky factor.

    Parameters
    ----------
    factor : array, shape (..., n, n)
        Lower triangular `L`.

    Returns
    -------
    array, shape (..., n, n)
        Symmetric up to rounding. Its rounding errors are column-wise, so in a product with another matrix put the
        inverse on the right, `B @ inverse` (or `inverse.mT @ B`): then the product is as accurate as `cholesky_solve`.

    Notes
    -----
    NumPy calls LAPACK's `potri` matrix by matrix, a third of the flops of two triangular solves with the identity.
    """
    xp = namespace(factor)
    if array_api_compat.is_torch_array(factor):
        import torch

        return torch.cholesky_inverse(factor)
    n = factor.shape[-1]
    if array_api_compat.is_numpy_array(factor):
        return _potri(factor)
    return cholesky_solve(factor, xp.eye(n, dtype=factor.dtype, device=device(factor)))


def _potri(factor: np.ndarray) -> np.ndarray:
    import scipy.linalg

    (potri,) = scipy.linalg.get_lapack_funcs(("potri",), (factor,))
    flat = factor.reshape(-1, *factor.shape[-2:])
    out = np.empty_like(flat)
    below = np.tri(factor.shape[-1], k=-1, dtype=bool)
    for lower, target in zip(flat, out, strict=True):
        # The transpose of a C-ordered lower factor is the Fortran-ordered upper factor that LAPACK wants: no copy.
        inverse, info = potri(lower.T, lower=0)
        if info:
            raise InputError("a Cholesky factor has a zero on its diagonal and no inverse; regularise the matrix")
        target[:] = inverse
        np.copyto(target, inverse.T, where=below)  # potri fills the upper triangle only
    return out.reshape(factor.shape)
