"""Set-up shared by all tests: the array libraries, float64 in JAX, one Hypothesis profile."""

import importlib
from functools import partial

import jax
import numpy as np
import pytest
from array_api_extra.testing import patch_lazy_xp_functions
from hypothesis import settings

# The one place besides the command line where JAX is told to keep float64.
jax.config.update("jax_enable_x64", True)

# JAX compiles on the first example, so a deadline would time the compiler; the same examples on every run.
settings.register_profile("lab", deadline=None, derandomize=True)
settings.load_profile("lab")


def _namespace(name):
    if name == "torch":
        torch = pytest.importorskip("torch", reason="torch is not installed")
        torch.set_num_threads(1)
        return importlib.import_module("array_api_compat.torch")
    return pytest.importorskip(name, reason=f"{name} is not installed")


@pytest.fixture(params=["numpy", "array_api_strict", "torch", "jax.numpy"])
def xp(request):
    """Each array library in turn, with float64 as its default; functions tagged `lazy_xp_function` are jitted for JAX."""
    namespace = _namespace(request.param)
    if request.param == "torch":
        import torch

        request.addfinalizer(partial(torch.set_default_dtype, torch.get_default_dtype()))
        torch.set_default_dtype(torch.float64)
    with patch_lazy_xp_functions(request, xp=namespace):
        yield namespace


@pytest.fixture
def rng():
    """A NumPy generator with the same seed in every test."""
    return np.random.default_rng(20240611)
