"""Where rows come from: versions, commit, device, command line; written into every shard."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["provenance"]

_LIBRARIES = {"numpy": "numpy", "scipy": "scipy", "jax": "jax", "jaxlib": "jaxlib", "torch": "torch"}


def provenance(device: str = "cpu") -> dict[str, Any]:
    """What a reader of a row may want to know about the process that measured it.

    Libraries are listed if they are loaded; the commit is that of the current folder, if it is in git.
    """
    import lab

    versions = {"python": platform.python_version(), "lab": lab.__version__}
    for module, package in _LIBRARIES.items():
        if module in sys.modules:
            versions[module] = importlib.metadata.version(package)
    return {
        "versions": versions,
        "commit": _commit(str(Path.cwd())),
        "device": _device(device),
        "cores": os.cpu_count(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _device(kind: str) -> str:
    if kind == "gpu" and "jax" in sys.modules:
        import jax

        try:
            return f"gpu: {', '.join(d.device_kind for d in jax.local_devices(backend='gpu'))}"
        except RuntimeError:  # a torch-only machine
            return "gpu"
    return f"{kind}: {platform.machine()}" if kind == "cpu" else kind


@functools.lru_cache(maxsize=8)
def _commit(folder: str) -> dict[str, Any] | None:
    """Commit and whether tracked files differ from it; None outside git."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        return {"hash": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None
