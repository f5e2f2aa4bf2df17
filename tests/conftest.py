"""Set-up shared by all tests: the array libraries, float64 in JAX, one Hypothesis profile."""

import importlib

import numpy as np
import pytest
from array_api_extra.testing import patch_lazy_xp_functions
from hypothesis import settings

try:
    import jax
except ImportError:
    pass
else:
    # The one place besides the command line where JAX is told to keep float64.
    jax.config.update("jax_enable_x64", True)

# JAX compiles on the first example, so a deadline would time the compiler; the same examples on every run.
settings.register_profile("lab", deadline=None, derandomize=True)
settings.load_profile("lab")


@pytest.fixture(params=["numpy", "array_api_strict", "torch", "jax.numpy"])
def xp(request):
    """Each array library in turn; functions tagged `lazy_xp_function` are jitted when it is JAX.

    Make arrays by `xp.asarray(numpy_array)`, in float64. The default dtype of torch stays float32 on purpose: a
    creation function called without a dtype then shows up as a loss of precision.
    """
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    name = "array_api_compat.torch" if request.param == "torch" else request.param
    namespace = importlib.import_module(name)
    with patch_lazy_xp_functions(request, xp=namespace):
        yield namespace


@pytest.fixture
def rng():
    """A NumPy generator with the same seed in every test."""
    return np.random.default_rng(20240611)
