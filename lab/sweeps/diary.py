"""States of iterated measurements under way: progress, and where an interrupted run continues."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lab.errors import InputError

__all__ = ["Diary", "Stopped"]

_EVERY = 20.0  # seconds between states written


class Stopped(Exception):
    """A block was left unfinished because another one failed or the run was interrupted."""


class Diary:
    """Keeps the state of each block under way in a folder, and says how far it is.

    Parameters
    ----------
    folder : path, optional
        Where states are written, every 20 seconds and when the run is stopped; without it none are.
    identity : str
        Plan and code that the states belong to.
    tell : function of a number of items, optional
        Called after every turn with the number of items that the turn is worth.
    """

    def __init__(
        self, folder: Path | None = None, identity: str = "", tell: Callable[[float], None] | None = None
    ) -> None:
        self.folder, self.identity, self.tell = folder, identity, tell
        self._stop = threading.Event()
        self._written: dict[Path, float] = {}

    def name(self, keys: Sequence[str], width: int) -> Path | None:
        """File of a block: its items decide it, and the width of the program, with which last bits may change."""
        if self.folder is None:
            return None
        digest = hashlib.blake2b("\n".join([self.identity, str(width), *keys]).encode(), digest_size=16)
        return self.folder / f"unfinished-{digest.hexdigest()}.npz"

    def read(self, file: Path | None) -> tuple[int, list[np.ndarray]] | None:
        """Turns done and state of an unfinished block; None if there is none that can be read."""
        if file is None:
            return None
        try:
            with np.load(file, allow_pickle=False) as kept:
                state = [kept[f"state{k}"] for k in range(len(kept.files) - 1)]
                self._written[file] = time.monotonic()
                return int(kept["turn"]), state
        except (OSError, ValueError, KeyError, EOFError):
            return None

    def proceed(self) -> None:
        """Raise `Stopped` if the run is to end: a block that waits for its device need not start."""
        if self._stop.is_set():
            raise Stopped

    def turn(self, file: Path | None, done: int, count: int, items: int, state: Any) -> None:
        """Note that a block has finished a turn; raises `Stopped` if the run is to end."""
        if self.tell is not None:
            self.tell(items / count)
        stopping = self._stop.is_set()
        if file is not None and done < count:
            last = self._written.setdefault(file, time.monotonic())
            if stopping or time.monotonic() - last > _EVERY:
                self._write(file, done, state)
        if stopping and done < count:
            raise Stopped

    def _write(self, file: Path, done: int, state: Any) -> None:
        temporary = file.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as stream:
                arrays: dict[str, Any] = {f"state{k}": np.asarray(leaf) for k, leaf in enumerate(state)}
                np.savez(stream, turn=done, **arrays)
            os.replace(temporary, file)
        except OSError as error:
            raise InputError(f"states cannot be written to {file.parent}: {error.strerror or error}; choose a writable "
                             "folder") from None  # fmt: skip
        finally:
            temporary.unlink(missing_ok=True)
        self._written[file] = time.monotonic()

    def stop(self) -> None:
        """Let every block under way write its state and end after its turn."""
        self._stop.set()

    def clear(self) -> None:
        """Remove the states of blocks whose rows are stored by now."""
        for file in self._written:
            with contextlib.suppress(OSError):
                file.unlink()
        self._written.clear()
