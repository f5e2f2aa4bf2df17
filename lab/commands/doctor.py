"""``lab doctor``: what this machine offers, and what is missing. Nothing that is optional makes it fail."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from lab.commands.output import console, table

__all__ = ["doctor"]

_NEEDED = (
    "numpy", "scipy", "array-api-compat", "array-api-extra", "jax", "jaxlib", "pydantic", "annotated-types", "tyro",
    "rich", "pandas", "pyarrow", "matplotlib", "jinja2",
)  # fmt: skip
_OPTIONAL = {
    "hypothesis": "lab refute, theory checks, Params.strategy()",
    "torch": "torch measurements, torch modules",
    "distributed": "lab run --workers, --cluster",
    "cloudpickle": "studies of your own on workers",
    "dask-jobqueue": "clusters under SLURM and the like",
    "docutils": "formulas in the report",
    "psutil": "free memory, below",
    "pytest": "theory checks and tests",
    "playwright": "tests of the report in a browser",
}


def doctor() -> int:
    """Print versions, devices, precision, memory and disk, missing packages and whether results can be written."""
    out = console()
    facts = table("", "")
    facts.show_header = False
    facts.add_row("lab", _safely(_lab))
    facts.add_row("python", f"{platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores")
    facts.add_row("packages", ", ".join(f"{name} {_version(name) or 'MISSING'}" for name in _NEEDED))
    facts.add_row("optional", ", ".join(f"{name} {v}" for name in _OPTIONAL if (v := _version(name))) or "none")
    facts.add_row("JAX devices", _safely(_jax_devices))
    facts.add_row("float64 in JAX", _safely(_float64))
    facts.add_row("torch devices", _safely(_torch_devices) if _version("torch") else "torch is not installed")
    facts.add_row("free memory", _safely(_memory))
    facts.add_row("free disk", _safely(lambda: f"{shutil.disk_usage('.').free / 2**30:.1f} GiB"))
    facts.add_row("results folder", _safely(_results))
    out.print(facts)
    needed = [name for name in _NEEDED if _version(name) is None]
    if needed:
        out.print(f"\nmissing, needed: {', '.join(needed)}\n  pip install {' '.join(needed)}", soft_wrap=True)
    absent = {name: use for name, use in _OPTIONAL.items() if _version(name) is None}
    if absent:
        out.print("\nmissing, optional:")
        for name, use in absent.items():
            out.print(f"  {name}: {use}", soft_wrap=True)
        out.print(f"  pip install {' '.join(absent)}", soft_wrap=True)
    if not needed and not absent:
        out.print("\nnothing is missing")
    return 0


def _safely(fact: Callable[[], str]) -> str:
    """A fact, or why it could not be found out: a broken driver is news here, not a crash."""
    try:
        return fact()
    except Exception as error:
        return f"unknown ({type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else '-'})"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _lab() -> str:
    import lab

    return f"{lab.__version__} in {Path(lab.__file__).parent}"


def _jax_devices() -> str:
    import jax

    return ", ".join(f"{device.platform} ({device.device_kind})" for device in jax.devices())


def _float64() -> str:
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        exact = float(jnp.asarray(1.0) + 2.0**-40) != 1.0
    return "available; the engine switches it on around each measurement" if exact else "NOT available"


def _torch_devices() -> str:
    import torch

    names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return ", ".join(["cpu", *(f"cuda ({name})" for name in names)])


def _memory() -> str:
    if _version("psutil"):
        import psutil

        seen = psutil.virtual_memory()
        return f"{seen.available / 2**30:.1f} of {seen.total / 2**30:.1f} GiB"
    return f"unknown, of {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"


def _results() -> str:
    """Whether `results`, or the folder it would be made in, takes a file; the file leaves no trace."""
    folder = Path("results") if Path("results").exists() else Path()
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return f"{(Path.cwd() / 'results')} cannot be written: {error.strerror}; use lab run --out DIR"
    return f"{Path.cwd() / 'results'}, can be written"
