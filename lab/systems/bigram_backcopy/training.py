"""Small transformers trained on bigram-backcopy sequences: what they lose, where their heads look, how states grow.

One iterated measurement serves all laws of trained models. Arms of an experiment (ReLU weights, masks, SGD, rates,
copy probabilities) are traced, so that they share one compiled program.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from pydantic import model_validator

from lab.data.sequences import BackcopyTask, bigram_lazy_zipf, sample_backcopy_jax
from lab.measure import measurement
from lab.models import transformers as tf
from lab.params import Ge, Le, LogScale, Params, Static, Traced

__all__ = ["SOLVED", "SmallTransformer", "head_statistics", "next_token_law", "training"]

SOLVED = 0.02
"""A run has solved the task from this excess loss on, and an intervention that costs less changes nothing; nats."""

SINK = 0.8
"""A head has a sink on BOS from this mean attention on."""

MOVED = 5.0
"""Weights have moved beyond their first size once rate times steps is this large: an Adam step moves a weight by about
the rate, and the entries of embeddings start at order one."""

LEARNT = 0.05
"""A run has learnt the task, if not solved it, from this excess loss on; nats."""

WARM = 12
"""The rate rises over the first 1/12 of the steps."""


class SmallTransformer(Params):
    """A transformer of `layers` layers, one head each, of width d, trained on lazy-Zipf sequences of n inputs.

    The k most frequent of V tokens are triggers, which copy with probability `copy_rate`. Every step has `batch` fresh
    sequences; the learning rate rises over 1/12 of the steps to `rate` and falls as a half cosine to `last` times
    `rate` (1: constant). Evaluated on `evaluation` sequences, the same ones at the start and after 1/2^k of the steps,
    k = `halvings`, ..., 1, 0.
    """

    V: Annotated[int, Ge(6), Le(128)] = 12
    n: Annotated[int, Ge(8), Le(512)] = 12
    d: Annotated[int, Ge(8), Le(512)] = 32
    layers: Annotated[int, Ge(1), Le(3)] = 1
    k: Annotated[int, Ge(1), Le(8)] = 3
    zipf: Annotated[float, Ge(0.0), Le(2.0), Static()] = 1.0
    r: Annotated[float, Ge(0.0), Le(0.9), Static()] = 0.3
    copy_rate: Annotated[float, Ge(0.0), Le(1.0)] = 1.0
    bos: Annotated[int, Ge(0), Le(2)] = 1
    delimiters: Annotated[int, Ge(0), Le(2)] = 0
    mass: Annotated[float, Ge(0.0), Le(0.4), Static()] = 0.0
    rate: Annotated[float, Ge(1e-5), Le(0.3), LogScale()] = 1e-2
    last: Annotated[float, Ge(0.0), Le(1.0)] = 0.0
    decay: Annotated[float, Ge(0.0), Le(0.1)] = 0.0
    batch: Annotated[int, Ge(4), Le(4096)] = 16
    steps: Annotated[int, Ge(12), Le(1_000_000), Traced()] = 600
    halvings: Annotated[int, Ge(1), Le(16)] = 1
    evaluation: Annotated[int, Ge(32), Le(4096)] = 256

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.k > self.V - 3:
            raise ValueError(f"k={self.k} triggers leave fewer than 3 of V={self.V} tokens; lower k or raise V")
        if self.steps < 2**self.halvings:
            raise ValueError(f"steps={self.steps} cannot be halved halvings={self.halvings} times; raise steps")
        return self

    @property
    def task(self) -> BackcopyTask:
        """Bigrams, triggers, law of the first token; of static values (`copy_rate` is given where it acts)."""
        return BackcopyTask.make(
            bigram_lazy_zipf(self.V, self.zipf, self.r), self.k, bos=self.bos, delimiters=self.delimiters,
            delimiter_mass=self.mass,
        )  # fmt: skip

    @property
    def model(self) -> tf.Transformer:
        return tf.Transformer(self.V + self.bos + self.delimiters, self.n, self.d, layers=self.layers)

    def marks(self, turn: Any) -> Any:
        """Step of a record: 0, then the steps halved `halvings`, ..., 1, 0 times."""
        return (self.steps >> (self.halvings + 1 - turn)) * (turn > 0)

    def schedule(self, step: Any) -> Any:
        """Learning rate of a step."""
        import jax.numpy as jnp

        rise = jnp.minimum(1.0, (step + 1) * (WARM / self.steps))
        return self.rate * rise * (self.last + (1 - self.last) * 0.5 * (1 + jnp.cos(np.pi * step / self.steps)))


def next_token_law(task: BackcopyTask, x: Any, copy: Any = None) -> Any:
    """True law of the next token at each position, shape (B, n, vocabulary), of JAX ids (B, n) of whole sequences.

    `copy` replaces ``task.copy`` and may be traced.
    """
    import jax
    import jax.numpy as jnp

    size, rows = task.vocabulary, np.zeros((task.vocabulary, task.vocabulary))
    rows[np.ix_(task.ids, task.ids)] = task.emission
    if task.bos:
        rows[len(task.P) + task.bos - 1, task.ids] = task.start
    if task.bos == 2:
        rows[len(task.P), len(task.P) + 1] = 1.0
    dtype = jnp.zeros(0).dtype
    table, before = jnp.asarray(rows, dtype=dtype), jnp.roll(x, 1, axis=1)
    plain = table[x]
    effect = table[before] if task.backward else jax.nn.one_hot(before, size, dtype=dtype)
    rho = task.copy if copy is None else copy
    acts = jnp.isin(x, jnp.asarray(task.triggers)) & (jnp.arange(x.shape[1]) > task.bos)
    return jnp.where(acts[..., None], rho * effect + (1 - rho) * plain, plain)


def head_statistics(
    model: tf.Transformer, weights: Any, task: BackcopyTask, x: Any, attention: tf.Attention, copy: Any
) -> dict[str, Any]:
    """What a model loses and where the heads of its first layer look, means over the positions of x (B, n+1).

    "loss": cross entropy of the tokens that came. In nats above the best: "excess" (all positions), "bigram" (ordinary
    tokens that are no triggers), "copy" (triggers with a token in front); all three also "... of bos" and "... of
    zero", all heads replaced by the value of BOS, by nothing. Attention: to BOS from non-triggers ("to bos") and from
    triggers ("bos from triggers"), from non-triggers to the same token, own position included ("same") and to the own
    position ("self"), from triggers to the token in front ("previous"); "uniform": share of BOS and the same token if
    non-triggers looked uniformly at what they see. "auc": chance that a non-trigger gives BOS more than a trigger
    does. "gap": score of BOS minus mean score of other tokens seen, at non-triggers, quantiles .1, .5, .9. "value",
    "other values": norms of what BOS and others write. "norms": of the states of BOS and of others, before and after
    each layer. "map", "tokens": attention in the first sequence.
    """
    import jax
    import jax.numpy as jnp

    tokens, n = x[:, :-1], x.shape[1] - 1
    law, places = next_token_law(task, tokens, copy), jnp.arange(n)
    is_trigger = jnp.isin(tokens, jnp.asarray(task.triggers))
    copies, ordinary = is_trigger & (places > task.bos), (tokens < len(task.P)) & ~is_trigger
    first = places < max(1, task.bos)

    def mean(values: Any, where: Any) -> Any:
        return jnp.sum(values * where) / jnp.maximum(jnp.sum(where), 1)

    traces = jax.vmap(lambda ablate: tf.forward(model, weights, tokens, attention, ablate))(jnp.arange(3))
    log_q = jax.nn.log_softmax(traces.logits, axis=-1)
    surprise = jnp.where(law > 0, law * (jnp.log(jnp.where(law > 0, law, 1.0)) - log_q), 0.0).sum(axis=-1)
    came = jnp.sum(jax.nn.one_hot(x[:, 1:], task.vocabulary, dtype=log_q.dtype) * log_q[tf.ON], axis=-1)
    found: dict[str, Any] = {"loss": -jnp.mean(came)}
    for suffix, mode in (("", tf.ON), (" of zero", tf.NOTHING), (" of bos", tf.BOS_VALUE)):
        lost = surprise[mode]
        found |= {f"excess{suffix}": jnp.mean(lost), f"bigram{suffix}": mean(lost, ordinary),
                  f"copy{suffix}": mean(lost, copies)}  # fmt: skip

    trace = jax.tree.map(lambda part: part[tf.ON], traces)
    looks, scores, values = (jnp.mean(part[:, 0], axis=1) for part in (trace.attention, trace.scores, trace.values))
    on_bos, rests = jnp.sum(looks * first, axis=-1), (tokens[:, :, None] == tokens[:, None]) & ~first
    seen = attention.seen(n)
    uniform = jnp.sum(seen * (rests | first), axis=-1) / jnp.sum(seen, axis=-1)
    others = seen & ~first
    gap = scores[:, :, 0] - jnp.sum(scores * others, axis=-1) / jnp.maximum(jnp.sum(others, axis=-1), 1)
    norms = trace.residuals
    return found | {
        "to bos": mean(on_bos, ordinary), "bos from triggers": mean(on_bos, copies),
        "same": mean(jnp.sum(looks * rests, axis=-1), ordinary),
        "self": mean(jnp.diagonal(looks, 0, 1, 2) * ~first, ordinary), "uniform": mean(uniform, ordinary),
        "previous": mean(jnp.pad(jnp.diagonal(looks, -1, 1, 2), ((0, 0), (1, 0))), copies),
        "auc": _chance_of_more(on_bos, ordinary, copies),
        "gap": jnp.nanquantile(jnp.where(ordinary, gap, jnp.nan), jnp.asarray([0.1, 0.5, 0.9])),
        "value": jnp.mean(values[:, 0]), "other values": jnp.mean(values[:, 1:]),
        "norms": jnp.stack([jnp.mean(norms[:, :, 0], axis=0), jnp.mean(norms[:, :, 1:], axis=(0, 2))]),
        "norm": jnp.mean(norms[:, -1]), "map": looks[0], "tokens": tokens[0],
    }  # fmt: skip


def _chance_of_more(values: Any, some: Any, others: Any) -> Any:
    """Chance that a value of `some` exceeds one of `others`, ties counted half: the area under the ROC curve."""
    import jax.numpy as jnp

    v, a, b = values.ravel(), some.ravel(), others.ravel()
    line = jnp.sort(jnp.where(b, v, jnp.inf))
    below = (jnp.searchsorted(line, v, side="left") + jnp.searchsorted(line, v, side="right")) / 2
    return jnp.sum(jnp.where(a, below, 0.0)) / jnp.maximum(jnp.sum(a) * jnp.sum(b), 1)


@measurement(runs="jax", precision="float32", turns=lambda p: p.halvings + 2)
def training(
    p: SmallTransformer, stream, state=None, *, relu: float = 0.0, sees_self: float = 1.0, sees_bos: float = 1.0,
    sgd: float = 0.0,
):  # fmt: skip
    """A run (`lab.models.transformers.Training`) and its statistics at each step recorded so far; a turn per record.

    `relu`, `sees_self`, `sees_bos` as in `lab.models.transformers.Attention`; `sgd`: SGD in place of Adam.
    """
    import jax
    import jax.numpy as jnp

    model, attention = p.model, tf.Attention(relu, sees_self, sees_bos)
    make = tf.optimiser(p.schedule, sgd=sgd, decay=p.decay)

    def statistics(weights: Any, x: Any) -> dict[str, Any]:
        return head_statistics(model, weights, p.task, x, attention, p.copy_rate)

    if state is None:  # sequences and key are kept: every draw costs a turn about a second to compile
        run = tf.start(model, make, stream.jax("weights"))
        x = sample_backcopy_jax(p.task, stream.jax("evaluation"), p.evaluation, p.n, copy=p.copy_rate)
        records = jax.tree.map(
            lambda one: jnp.zeros((p.halvings + 2, *one.shape), one.dtype), jax.eval_shape(statistics, run.weights, x)
        )
        return {"run": tuple(run), "turn": jnp.zeros((), dtype=jnp.int32), "records": records, "evaluation": x,
                "key": jax.random.key_data(stream.jax("sequences"))}  # fmt: skip
    run, turn = tf.Training(*state["run"]), state["turn"]
    steps = p.marks(turn) - run.step  # none in the first turn, which records the first weights
    run = tf.advance(
        model, p.task, make, jax.random.wrap_key_data(state["key"], impl="threefry2x32"), run, steps=steps,
        batch=p.batch, attention=attention, copy=p.copy_rate,
    )  # fmt: skip
    row = statistics(run.weights, state["evaluation"])
    records = jax.tree.map(lambda rows, one: rows.at[turn].set(one), state["records"], row)
    return {**state, "run": tuple(run), "turn": turn + 1, "records": records}


@training.observe
def trained(p: SmallTransformer, stream, state):
    """`head_statistics` at the end and at all "step"s recorded ("path ..."); labels, of the first weights "first ...".

    "solved": excess below `SOLVED`. "rests": non-triggers give BOS and their own token more than half of their
    attention, and more than uniform attention would; "active-dormant": and triggers give the token in front more than
    half. "on bos", "sink": BOS gets more than half, more than `SINK`. "kept", "kept without": bigrams lose less than
    `SOLVED` more if the head is replaced by the value of BOS, by nothing. "growth": exponent of the mean norm of the
    last states over the last half of the steps, the base-2 logarithm of its ratio; "peak": last norm of BOS over that
    of others; "moved": rate times steps at least `MOVED`; "learnt": the task was solved half-way, to within `LEARNT`.
    """
    import jax.numpy as jnp

    path = state["records"]
    last, first = ({name: values[at] for name, values in path.items()} for at in (-1, 0))

    def labels(one: dict[str, Any]) -> dict[str, Any]:
        rests = one["to bos"] + one["same"] > jnp.maximum(0.5, one["uniform"])
        return {
            "solved": one["excess"] < SOLVED, "rests": rests, "active-dormant": rests & (one["previous"] > 0.5),
            "on bos": one["to bos"] > 0.5, "sink": one["to bos"] > SINK,
            "kept": one["bigram of bos"] - one["bigram"] < SOLVED,
            "kept without": one["bigram of zero"] - one["bigram"] < SOLVED,
        }  # fmt: skip

    shown = {f"path {name}": values for name, values in path.items() if name not in ("map", "tokens")}
    return {
        **last, **labels(last), **{f"first {name}": value for name, value in labels(first).items()}, **shown,
        "growth": jnp.log2(last["norm"] / path["norm"][-2]), "peak": last["norms"][0, -1] / last["norms"][1, -1],
        "moved": p.rate * p.steps >= MOVED, "learnt": path["excess"][-2] < LEARNT,
        "step": p.marks(jnp.arange(p.halvings + 2)),
    }  # fmt: skip
