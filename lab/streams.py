"""Randomness by name: what a draw is called decides its value, never the order of the calls.

A `Stream` is bound by the engine to (measurement, canonical parameters, replicate, seed). Adding a grid
point, changing the block size or the number of workers therefore changes no draw. Inside a jitted and
vmapped measurement the same object holds a traced key.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from lab.errors import InputError

__all__ = ["Stream", "normal", "uniform"]


def _words(*names: object, count: int = 2) -> list[int]:
    """`count` 32-bit words, a digest of the names (length-prefixed: ("ab",) and ("a", "b") differ)."""
    h = hashlib.blake2b(digest_size=4 * count)
    for name in names:
        text = str(name).encode()
        h.update(len(text).to_bytes(4, "little") + text)
    return [int(w) for w in np.frombuffer(h.digest(), dtype="<u4")]


class Stream:
    """A source of named random draws for numpy, JAX and torch.

    Parameters
    ----------
    *names : object
        What the stream is bound to, e.g. ``Stream("my/measurement", p.canonical(), seed)``. Converted by `str`.
    replicate : int or traced integer, optional
        Which independent repetition; folded in last, so that it may be traced.

    Notes
    -----
    The two libraries draw different numbers from one name; each is reproducible. JAX keys are threefry
    (the default `rbg` of some accelerators changes under `vmap`). Draw in float64 and cast: float32 and
    float64 draws differ entirely.

    Examples
    --------
    >>> bool(Stream("a", 0).numpy("noise").random() == Stream("a", 0).numpy("noise").random())
    True
    """

    def __init__(self, *names: object, replicate: Any = 0) -> None:
        self.words: Any = np.asarray(_words(*names), dtype=np.uint32)
        self.replicate = replicate

    @classmethod
    def bound(cls, words: Any, replicate: Any) -> Stream:
        """The stream of a digest computed earlier (how the engine rebuilds it inside `vmap`)."""
        stream = cls.__new__(cls)
        stream.words, stream.replicate = words, replicate
        return stream

    def _host(self, library: str, names: tuple[object, ...]) -> list[int]:
        if not isinstance(self.words, np.ndarray):
            raise InputError(
                f"stream.{library}{names!r} was called inside a jitted measurement, where its draws would be "
                f'constants; use stream.jax, or declare the measurement with runs="{library}"'
            )
        return [*map(int, self.words), int(self.replicate), *_words(*names)]

    def numpy(self, *names: object) -> np.random.Generator:
        """A numpy generator of its own for this name."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self._host("numpy", names))))

    def torch(self, *names: object, device: str = "cpu") -> Any:
        """A torch generator of its own for this name."""
        import torch

        seed = np.random.SeedSequence(self._host("torch", names)).generate_state(1, np.uint64)[0]
        return torch.Generator(device).manual_seed(int(seed >> np.uint64(1)))

    def jax(self, *names: object) -> Any:
        """A JAX key (threefry) of its own for this name; works in and outside `jit` and `vmap`."""
        import jax
        import jax.numpy as jnp

        key = jax.random.wrap_key_data(jnp.asarray(self.words, dtype=jnp.uint32), impl="threefry2x32")
        key = jax.random.fold_in(key, self.replicate)
        for word in _words(*names):
            key = jax.random.fold_in(key, np.uint32(word))
        return key


def normal(key: Any, shape: tuple[int, ...] = (), dtype: Any = float) -> Any:
    """``jax.random.normal``, to the last bit, drawn as one row: XLA compiles draws of several axes up to ten times
    slower."""
    import jax

    return jax.random.normal(key, (math.prod(shape),), dtype=dtype).reshape(shape)


def uniform(key: Any, shape: tuple[int, ...] = (), dtype: Any = float, minval: Any = 0.0, maxval: Any = 1.0) -> Any:
    """``jax.random.uniform``, to the last bit, drawn as one row, as `normal`."""
    import jax

    return jax.random.uniform(key, (math.prod(shape),), dtype=dtype, minval=minval, maxval=maxval).reshape(shape)
