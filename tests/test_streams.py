"""Streams: names decide draws, on the host and inside vmap alike."""

import numpy as np
import pytest

from lab.errors import InputError
from lab.streams import Stream

PINNED_NUMPY = 3594958638
PINNED_JAX = [143379773, 2896135921]


def test_names_decide_and_order_does_not():
    first = Stream("m", 0)
    a, b = first.numpy("a").random(), first.numpy("b").random()
    again = Stream("m", 0)
    assert (again.numpy("b").random(), again.numpy("a").random()) == (b, a)
    assert a != b
    assert Stream("m", 1).numpy("a").random() != a
    assert Stream("m", 0, replicate=1).numpy("a").random() != a
    assert Stream("ab").numpy().random() != Stream("a", "b").numpy().random()


def test_pinned_values_guard_old_rows():
    """Rows stored earlier were drawn with these streams: a change here needs a new major version."""
    import jax

    s = Stream("mcr2/spinodal", "{}", 0)
    assert s.numpy("noise").integers(1 << 32) == PINNED_NUMPY
    assert jax.random.key_data(s.jax("noise")).tolist() == PINNED_JAX


def test_jax_keys_agree_inside_vmap():
    import jax
    import jax.numpy as jnp

    streams = [Stream("m", i) for i in range(3)]
    words = jnp.asarray(np.stack([s.words for s in streams]))
    inside = jax.jit(jax.vmap(lambda w: jax.random.normal(Stream.bound(w, 2).jax("x"), (4,))))(words)
    outside = [jax.random.normal(Stream.bound(s.words, 2).jax("x"), (4,)) for s in streams]
    assert np.array_equal(inside, np.stack(outside))


def test_numpy_inside_jit_explains_itself():
    import jax
    import jax.numpy as jnp

    def f(w):
        return Stream.bound(w, 0).numpy("x").random()

    with pytest.raises(InputError, match='runs="numpy"'):
        jax.jit(f)(jnp.zeros(2, dtype=jnp.uint32))


def test_torch_generators_are_reproducible():
    torch = pytest.importorskip("torch", reason="torch is an optional extra")
    a = torch.rand(3, generator=Stream("m").torch("x"))
    assert torch.equal(a, torch.rand(3, generator=Stream("m").torch("x")))
    assert not torch.equal(a, torch.rand(3, generator=Stream("m").torch("y")))
