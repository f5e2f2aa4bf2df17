"""The seam to the array libraries: the same answers from each, traced values, and errors that say what to do."""

import subprocess
import sys

import numpy as np
import pytest
from array_api_extra.testing import assert_close, lazy_xp_function

from lab.arrays import (
    cholesky,
    cholesky_inverse,
    cholesky_logdet,
    cholesky_solve,
    is_real_floating,
    is_traced,
    machine_epsilon,
    namespace,
    to_numpy,
    triangular_solve,
    truth,
)

for function in (cholesky, cholesky_inverse, cholesky_logdet, cholesky_solve, triangular_solve):
    lazy_xp_function(function)


def positive_definite(rng, *shape):
    """Of condition below 1e3: log-determinants agree to 1e-13, solves and inverses to 1e3 times that."""
    root = rng.standard_normal((*shape, shape[-1]))
    return root @ root.mT + np.eye(shape[-1])


def test_importing_the_seam_loads_neither_torch_nor_jax():
    code = (
        "import sys, lab.arrays, lab.objectives.coding_rate, lab.data.fusion_frames; "
        "print({'jax', 'torch'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


def test_namespace_is_that_of_the_arguments(xp):
    x = xp.asarray([1.0])
    assert namespace(x, 2.0, None).__name__.split(".")[-1] == xp.__name__.split(".")[-1]


def test_mixing_libraries_is_one_clear_type_error():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="convert them all to arrays of one library"):
        namespace(np.ones(2), torch.ones(2))
    with pytest.raises(TypeError, match=r"builtins\.list"):
        namespace([1.0])


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_cholesky_helpers_agree_with_numpy(xp, rng, shape):
    matrix = positive_definite(rng, *shape)
    right = rng.standard_normal((*shape, 2))
    factor = cholesky(xp.asarray(matrix))
    assert_close(
        cholesky_logdet(factor), xp.asarray(np.linalg.slogdet(matrix).logabsdet), rtol=1e-13, check_scalar=False
    )
    assert_close(cholesky_solve(factor, xp.asarray(right)), xp.asarray(np.linalg.solve(matrix, right)), rtol=1e-10)
    assert_close(cholesky_inverse(factor), xp.asarray(np.linalg.inv(matrix)), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("transpose", [False, True])
def test_triangular_solve_broadcasts_batch_axes(xp, rng, transpose):
    factor = np.linalg.cholesky(positive_definite(rng, 3, 4))
    right = rng.standard_normal((2, 1, 4, 5))
    expected = np.linalg.solve(factor.mT if transpose else factor, right)
    assert_close(
        triangular_solve(xp.asarray(factor), xp.asarray(right), transpose=transpose), xp.asarray(expected), rtol=1e-11
    )


def test_cholesky_inverse_is_as_accurate_as_a_solve_on_the_right(rng):
    # Condition number 1e10, and rows in the range of the large eigenvalues: B @ inverse is tiny compared with the
    # inverse.
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    rows = rng.standard_normal((4, 2)) @ basis[:, :2].T
    factor = cholesky(np.eye(6) + 1e10 * basis[:, :2] @ basis[:, :2].T)
    exact = rows / (1 + 1e10)
    assert np.abs(rows @ cholesky_inverse(factor) - exact).max() < 20 * 2.2e-16


def test_cholesky_of_an_indefinite_matrix_says_so(xp):
    matrix = xp.asarray([[1.0, 2.0], [2.0, 1.0]])
    if xp.__name__.startswith("jax"):
        assert np.isnan(to_numpy(cholesky(matrix))).any()  # JAX cannot raise
    else:
        with pytest.raises(ValueError, match=r"not positive definite in .*float64"):
            cholesky(matrix)


def test_values_of_traced_arrays_are_unknown():
    jax = pytest.importorskip("jax")
    seen = []

    def look(x):
        seen.append((is_traced(x), truth(jax.numpy.all(x > 0))))
        return x

    jax.jit(look)(jax.numpy.ones(2))
    jax.vmap(look)(jax.numpy.ones(2))
    assert seen == [(True, None), (True, None)]
    look(jax.numpy.ones(2))
    assert seen[-1] == (False, True)

    def convert(x):
        return to_numpy(x)

    with pytest.raises(TypeError, match="outside jit, vmap and grad"):
        jax.jit(convert)(jax.numpy.ones(2))


def test_truth_under_torch_vmap_is_unknown():
    torch = pytest.importorskip("torch")
    seen = []

    def look(x):
        seen.append(truth(torch.all(x > 0)))
        return x

    torch.func.vmap(look)(torch.ones(2, 3))
    assert seen == [None]
    assert truth(torch.tensor(False)) is False


def test_to_numpy_and_dtype_helpers(xp):
    x = xp.asarray(np.asarray([1.0, 2.0]))
    assert isinstance(to_numpy(x), np.ndarray)
    assert to_numpy(x).tolist() == [1.0, 2.0]
    assert machine_epsilon(x) == 2.0**-52
    assert machine_epsilon(xp.astype(x, xp.float32)) == 2.0**-23
    assert is_real_floating(x)
    assert not is_real_floating(xp.asarray([1, 2]))


def test_to_numpy_detaches_torch_gradients():
    torch = pytest.importorskip("torch")
    assert to_numpy(torch.ones(2, requires_grad=True)).tolist() == [1.0, 1.0]
