r"""Small causal transformers, and their training on bigram-backcopy sequences, as pure JAX functions of a weight tree.

A state begins as token plus position embedding. Every layer adds attention, then an MLP, each of the normalised state
(pre-LN), and the last state is normalised and unembedded:

.. math:: h \leftarrow h+\sum_{heads}A\,\mathrm{LN}(h)W_VW_O,\qquad h\leftarrow h+\mathrm{relu}(\mathrm{LN}(h)W_1)W_2,
          \qquad \mathrm{logits}=\mathrm{LN}(h)U.

A is the softmax of the scores :math:`s_{ij}=q_i\cdot k_j/\sqrt{d_{head}}` over the tokens seen, or
:math:`\mathrm{relu}(s_{ij})/i` with i counted from 1. Rows are tokens; no matrix has a bias. Embeddings are N(0,1),
matrices uniform in :math:`\pm d_{in}^{-1/2}`. Position 0 is BOS.

What distinguishes the arms of an experiment (`Attention`, ablations, optimiser, rate, schedule) is data, not shape: it
may be traced, so that all arms and seeds share one compiled program.

References
----------
.. [1] arXiv:2410.13835 and its code (recipe: AdamW with rate 3e-4, or SGD with momentum .9 and rate .03).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lab.data.sequences import BackcopyTask, sample_backcopy_jax
from lab.errors import InputError
from lab.models.bigram_construction import LOWEST, AttentionOnly

__all__ = [
    "BOS_VALUE",
    "NOTHING",
    "ON",
    "SOFTMAX",
    "Attention",
    "Trace",
    "Training",
    "Transformer",
    "advance",
    "cross_entropy",
    "forward",
    "from_construction",
    "initial_weights",
    "optimiser",
    "start",
    "writers",
]

ON, NOTHING, BOS_VALUE = 0, 1, 2
"""What a head writes: its output, nothing, or the value of position 0 at every query."""


@dataclass(frozen=True)
class Transformer:
    """Shape of a transformer.

    Attributes
    ----------
    vocabulary : int
        Number of ids, BOS included.
    n : int
        Longest input.
    d, layers, heads : int
        Width, layers, heads per layer; `heads` divides `d`.
    hidden : int
        Width of the MLP over d; 0 leaves the MLP out.
    eps : float
        Added to the variance in normalisation.
    """

    vocabulary: int
    n: int
    d: int = 32
    layers: int = 1
    heads: int = 1
    hidden: int = 4
    eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("vocabulary", "n", "d", "layers", "heads"):
            value = getattr(self, name)
            if int(value) != value or value < 1:
                raise InputError(f"{name}={value!r} must be an integer >= 1")
        if self.d % self.heads:
            raise InputError(f"heads={self.heads} must divide d={self.d}; change one of them")
        if self.hidden < 0:
            raise InputError(f"hidden={self.hidden} must be >= 0; 0 leaves the MLP out")


class Attention(NamedTuple):
    """How weights come from scores; booleans or numbers 0 and 1, which may be traced.

    Attributes
    ----------
    relu : 0 or 1
        ReLU weights over the query's place, instead of softmax.
    sees_self, sees_bos : 0 or 1
        Whether queries may attend to their own position, and to position 0. A query that would see nothing sees itself.
    """

    relu: Any = 0
    sees_self: Any = 1
    sees_bos: Any = 1

    def seen(self, n: int) -> Any:
        """(n, n) bool: which keys (columns) each query (row) sees."""
        import jax.numpy as jnp

        own, first = jnp.eye(n, dtype=bool), jnp.arange(n) == 0
        allowed = jnp.tri(n, dtype=bool) & (jnp.asarray(self.sees_self, dtype=bool) | ~own)
        allowed = allowed & (jnp.asarray(self.sees_bos, dtype=bool) | ~first)
        return allowed | (own & ~jnp.any(allowed, axis=1, keepdims=True))

    def weights(self, scores: Any) -> Any:
        """Attention of each query (rows) to each key from scores (..., n, n)."""
        import jax
        import jax.numpy as jnp

        n = scores.shape[-1]
        seen = self.seen(n)
        soft = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
        rectified = jnp.where(seen, jax.nn.relu(scores), 0.0) / jnp.arange(1, n + 1, dtype=scores.dtype)[:, None]
        return jnp.where(jnp.asarray(self.relu, dtype=bool), rectified, soft)


SOFTMAX = Attention()


class Trace(NamedTuple):
    """What a forward pass shows; B sequences of n tokens, L layers, H heads, width d.

    Attributes
    ----------
    logits : array, shape (B, n, vocabulary)
    scores, attention : array, shape (B, L, H, n, n)
        Before and after the softmax or ReLU; rows are queries. Scores of tokens not seen are kept.
    values : array, shape (B, L, H, n)
        Norms of what each token writes if it gets attention 1.
    outputs : array, shape (B, L, H, n, d)
        What each head adds to the state of each query, after ablation.
    residuals : array, shape (B, L + 1, n)
        Norms of the states, before the first and after each layer.
    """

    logits: Any
    scores: Any
    attention: Any
    values: Any
    outputs: Any
    residuals: Any


def initial_weights(model: Transformer, key: Any) -> dict[str, Any]:
    """Random weights from a JAX key: "tokens", "positions", "unembed", "last" (norm), and a list "layers"."""
    import jax
    import jax.numpy as jnp

    d, H, width = model.d, model.heads, model.hidden * model.d
    shapes: dict[str, tuple[int, ...]] = {**dict.fromkeys(("query", "key", "value"), (H, d, d // H))}
    shapes |= {"out": (H, d // H, d)}
    if width:
        shapes |= {"in": (d, width), "up": (width, d)}
    places = [(number, name, shape) for number in range(model.layers) for name, shape in shapes.items()]
    ends = np.cumsum([0, *(int(np.prod(shape)) for _, _, shape in places), d * model.vocabulary])
    normal, uniform = jax.random.split(key)  # two draws for all weights: each one costs half a second to compile
    embeddings = jax.random.normal(normal, (model.vocabulary + model.n, d))
    numbers = jax.random.uniform(uniform, (int(ends[-1]),), minval=-1.0)

    def norm() -> dict[str, Any]:
        return {"gain": jnp.ones(d), "shift": jnp.zeros(d)}

    layers: list[dict[str, Any]] = [{"before attention": norm()} for _ in range(model.layers)]
    for (number, name, shape), first, end in zip(places, ends, ends[1:], strict=False):
        layers[number][name] = numbers[first:end].reshape(shape) * (width if name == "up" else d) ** -0.5
    for layer in layers if width else ():
        layer["before mlp"] = norm()
    return {
        "tokens": embeddings[: model.vocabulary], "positions": embeddings[model.vocabulary :],
        "unembed": numbers[ends[-2] :].reshape(d, model.vocabulary) * d**-0.5, "last": norm(), "layers": layers,
    }  # fmt: skip


def writers(weights: Any) -> list[Any]:
    """The matrices that write into the states: embeddings of tokens and positions, outputs of heads and MLPs.

    States are linear in them and only read through normalisation: with ``eps = 0`` a common factor changes no logit.
    """
    written = [layer[name] for layer in weights["layers"] for name in ("out", "up") if name in layer]
    return [weights["tokens"], weights["positions"], *written]


def from_construction(solution: AttentionOnly, *, large: float = 1e6) -> tuple[Transformer, dict[str, Any]]:
    r"""The written-down solution (`lab.models.bigram_construction`) as a transformer of this file, up to O(large^-2).

    States h become (h, -h, large, -large): their mean is 0 and normalisation divides them by almost the same number,
    :math:`\sqrt{2/d}\,large\,(1+O(|h|^2/large^2))`, which gains undo. One layer, one head, no MLP, eps = 0; BOS gets
    the logit `lab.models.bigram_construction.LOWEST`. Use float64.

    Returns
    -------
    (Transformer, weights) : width 2 D + 2, NumPy arrays
    """
    (count, D), n, V = solution.tokens.shape, len(solution.positions), solution.unembed.shape[1]
    d = 2 * D + 2

    def mirrored(rows: np.ndarray, last: float = 0.0) -> np.ndarray:
        ends = np.full((len(rows), 1), last)
        return np.concatenate([rows, -rows, ends, -ends], axis=1)

    def on_states(matrix: np.ndarray) -> np.ndarray:
        return np.concatenate([matrix, np.zeros((d - D, matrix.shape[1]))])

    never = np.where(np.arange(D) < count, LOWEST, 0.0)[:, None]  # each state holds one token
    norm = {"gain": np.full(d, large * np.sqrt(2 / d)), "shift": np.zeros(d)}
    layer = {"before attention": norm, "value": on_states(solution.values)[None], "out": mirrored(np.eye(D))[None],
             "query": on_states(solution.form)[None] * np.sqrt(D), "key": on_states(np.eye(D))[None]}  # fmt: skip
    return Transformer(count, n, d, hidden=0, eps=0.0), {
        "tokens": mirrored(solution.tokens, large), "positions": mirrored(solution.positions),
        "unembed": on_states(np.concatenate([solution.unembed[:, :V], never], axis=1)), "last": norm, "layers": [layer],
    }  # fmt: skip


def forward(model: Transformer, weights: Any, x: Any, attention: Attention = SOFTMAX, ablate: Any = ON) -> Trace:
    """Logits of the next token, and what happens inside.

    Parameters
    ----------
    model : Transformer
    weights : tree of `initial_weights`
    x : array of int, shape (B, n)
    attention : Attention
    ablate : array of int, broadcast to (layers, heads)
        `ON`, `NOTHING` or `BOS_VALUE` for each head; may be traced.
    """
    import jax
    import jax.numpy as jnp

    n, heads = x.shape[-1], (model.layers, model.heads)
    if n > model.n:
        raise InputError(f"x has {n} tokens, the model {model.n} positions; raise n")
    if np.broadcast_shapes(np.shape(ablate), heads) != heads:
        raise InputError(f"ablate has shape {np.shape(ablate)}; give one number per (layer, head), shape {heads}")
    what = jnp.broadcast_to(jnp.asarray(ablate), heads)[..., None, None]
    state = jax.nn.one_hot(x, model.vocabulary, dtype=weights["tokens"].dtype) @ weights["tokens"]
    state = state + weights["positions"][:n]
    norms, scores, looks, values, outputs = [_norm(state)], [], [], [], []
    for number, layer in enumerate(weights["layers"]):
        normal = _normalised(state, layer["before attention"], model.eps)
        q, k, v = (jnp.einsum("bnd,hde->bhne", normal, layer[name]) for name in ("query", "key", "value"))
        s = jnp.einsum("bhie,bhje->bhij", q, k) * q.shape[-1] ** -0.5
        a = attention.weights(s)
        written = jnp.einsum("bhje,hed->bhjd", v, layer["out"])
        out = jnp.where(what[number] == BOS_VALUE, written[:, :, :1], a @ written)
        out = jnp.where(what[number] == NOTHING, 0.0, out)
        state = state + jnp.sum(out, axis=1)
        if model.hidden:
            normal = _normalised(state, layer["before mlp"], model.eps)
            state = state + jax.nn.relu(normal @ layer["in"]) @ layer["up"]
        norms.append(_norm(state))
        scores.append(s)
        looks.append(a)
        values.append(_norm(written))
        outputs.append(out)
    logits = _normalised(state, weights["last"], model.eps) @ weights["unembed"]
    stacked = (jnp.stack(part, axis=1) for part in (scores, looks, values, outputs, norms))
    return Trace(logits, *stacked)


def cross_entropy(model: Transformer, weights: Any, x: Any, attention: Attention = SOFTMAX) -> Any:
    """Mean over sequences and positions of ``-log q(x_{j+1})``, in nats; x has shape (B, n+1)."""
    import jax
    import jax.numpy as jnp

    log_q = jax.nn.log_softmax(forward(model, weights, x[:, :-1], attention).logits, axis=-1)
    return -jnp.mean(jnp.sum(jax.nn.one_hot(x[:, 1:], model.vocabulary, dtype=log_q.dtype) * log_q, axis=-1))


# ---------------------------------------------------------------------- training


class Training(NamedTuple):
    """A training run: weights, state of the optimiser, number of steps done."""

    weights: Any
    memory: Any
    step: Any


def optimiser(rate: Any, *, sgd: Any = 0, decay: Any = 0.0) -> Any:
    """AdamW with betas (.9, .99), or SGD with momentum .9 and the decay added to the gradient; all may be traced.

    Parameters
    ----------
    rate : float or function of the step
    sgd : 0 or 1
    decay : float
        Weight decay; in AdamW decoupled (times the rate), 0 is Adam.
    """
    import jax
    import jax.numpy as jnp
    import optax

    decayed = optax.add_decayed_weights(decay)
    adam = optax.chain(optax.scale_by_adam(b2=0.99), decayed)
    momentum = optax.chain(decayed, optax.trace(decay=0.9))

    def init(weights: Any) -> Any:
        return adam.init(weights), momentum.init(weights)

    def update(slope: Any, memory: Any, weights: Any = None) -> Any:
        first, adam_memory = adam.update(slope, memory[0], weights)
        second, momentum_memory = momentum.update(slope, memory[1], weights)
        chosen = jax.tree.map(lambda a, b: jnp.where(jnp.asarray(sgd, dtype=bool), b, a), first, second)
        return chosen, (adam_memory, momentum_memory)

    return optax.chain(optax.GradientTransformation(init, update), optax.scale_by_learning_rate(rate))


def start(model: Transformer, make: Any, key: Any) -> Training:
    """Random weights; `make` is an optax optimiser."""
    import jax.numpy as jnp

    weights = initial_weights(model, key)
    return Training(weights, make.init(weights), jnp.zeros((), dtype=jnp.int32))


def advance(
    model: Transformer, task: BackcopyTask, make: Any, key: Any, run: Training, *, steps: Any, batch: int,
    attention: Attention = SOFTMAX, copy: Any = None,
) -> Training:  # fmt: skip
    """`steps` steps more, each on `batch` fresh sequences of `model.n` inputs; to be jitted, may be vmapped.

    The sequences of a step depend on `key` and its number only: many short calls train as one long one. `steps` may be
    traced: one program for chunks of all lengths. `copy` replaces ``task.copy``.
    """
    import jax
    import optax

    def step(_: Any, run: Training) -> Training:
        x = sample_backcopy_jax(task, jax.random.fold_in(key, run.step), batch, model.n, copy=copy)
        slope = jax.grad(lambda w: cross_entropy(model, w, x, attention))(run.weights)
        change, memory = make.update(slope, run.memory, run.weights)
        return Training(optax.apply_updates(run.weights, change), memory, run.step + 1)

    return jax.lax.fori_loop(0, steps, step, run)


def _norm(x: Any) -> Any:
    import jax.numpy as jnp

    return jnp.sqrt(jnp.sum(x**2, axis=-1))


def _normalised(x: Any, norm: Mapping[str, Any], eps: float) -> Any:
    import jax
    import jax.numpy as jnp

    x = x - jnp.mean(x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(x**2, axis=-1, keepdims=True) + eps) * norm["gain"] + norm["shift"]
