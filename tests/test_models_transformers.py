"""Small transformers: a forward pass token by token in plain NumPy, masks, ablations, known weights, training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lab.data.sequences import BackcopyTask, bigram_dirichlet, bigram_lazy_zipf, sample_backcopy
from lab.errors import InputError
from lab.models import bigram_construction
from lab.models import transformers as tf

TASK = BackcopyTask.make(bigram_lazy_zipf(6, 1.0, 0.3), 2)
SMALL = tf.Transformer(7, 9, 8)
CASES = {
    "one head": (SMALL, tf.SOFTMAX),
    "two layers of two heads": (tf.Transformer(7, 9, 8, layers=2, heads=2, hidden=2), tf.SOFTMAX),
    "relu weights": (tf.Transformer(7, 9, 8, layers=2), tf.Attention(relu=1)),
    "no mlp": (tf.Transformer(7, 9, 8, hidden=0), tf.SOFTMAX),
    "not itself": (SMALL, tf.Attention(sees_self=0)),
    "not the first": (SMALL, tf.Attention(sees_bos=0)),
    "neither": (SMALL, tf.Attention(sees_self=0, sees_bos=0)),
    "relu weights, not the first": (SMALL, tf.Attention(relu=1, sees_bos=0)),
}


def sequences(count=3, n=9):
    return sample_backcopy(TASK, np.random.default_rng(0), count, n)


def numbers(model, seed=0):
    """Weights as NumPy float64, gains and shifts not trivial."""
    rng = np.random.default_rng(seed)
    weights = tf.initial_weights(model, jax.random.key(seed))
    return jax.tree.map(lambda v: np.asarray(v, dtype=float) + 0.1 * rng.normal(size=v.shape), weights)


def plain(model, attention, w, x, instead=()):
    """Logits (n, vocabulary) of one sequence, token by token; `instead` maps (layer, head) to NOTHING or BOS_VALUE."""
    instead = dict(instead)
    n = len(x)

    def norm(v, one):
        v = v - v.mean()
        return v / np.sqrt((v**2).mean() + 1e-5) * one["gain"] + one["shift"]

    states = [w["tokens"][t] + w["positions"][i] for i, t in enumerate(x)]
    for number, layer in enumerate(w["layers"]):
        normal = [norm(h, layer["before attention"]) for h in states]
        added = [np.zeros(model.d) for _ in range(n)]
        for head in range(model.heads):
            written = [v @ layer["value"][head] @ layer["out"][head] for v in normal]
            for i in range(n):
                how = instead.get((number, head))
                if how == tf.BOS_VALUE:
                    added[i] += written[0]
                if how is not None:
                    continue
                own, first = attention.sees_self, attention.sees_bos
                keys = [j for j in range(i + 1) if (own or j != i) and (first or j != 0)] or [i]
                q = normal[i] @ layer["query"][head]
                s = np.array([q @ (normal[j] @ layer["key"][head]) for j in keys]) / np.sqrt(model.d / model.heads)
                a = np.maximum(s, 0) / (i + 1) if attention.relu else np.exp(s) / np.exp(s).sum()
                added[i] += sum(a_j * written[j] for a_j, j in zip(a, keys, strict=True))
        states = [h + more for h, more in zip(states, added, strict=True)]
        if model.hidden:
            states = [h + np.maximum(norm(h, layer["before mlp"]) @ layer["in"], 0) @ layer["up"] for h in states]
    return np.stack([norm(h, w["last"]) @ w["unembed"] for h in states])


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_a_pass_token_by_token(name):
    (model, attention), x = CASES[name], sequences()[:, :-1]
    w = numbers(model)
    with jax.enable_x64(True):
        logits = tf.forward(model, jax.tree.map(jnp.asarray, w), x, attention).logits
    np.testing.assert_allclose(logits, np.stack([plain(model, attention, w, row) for row in x]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("how", [tf.NOTHING, tf.BOS_VALUE])
def test_ablated_heads(how):
    (model, attention), x = CASES["two layers of two heads"], sequences()[:, :-1]
    w, chosen = numbers(model), {(1, 0): how, (0, 1): how}
    with jax.enable_x64(True):
        trace = tf.forward(model, jax.tree.map(jnp.asarray, w), x, attention, np.array([[tf.ON, how], [how, tf.ON]]))
    expected = np.stack([plain(model, attention, w, row, chosen) for row in x])
    np.testing.assert_allclose(trace.logits, expected, rtol=1e-9, atol=1e-9)
    outputs = np.asarray(trace.outputs)
    assert np.abs(outputs[:, 1, 0] - outputs[:, 1, 0, :1]).max() == 0
    assert (np.abs(outputs[:, 1, 0]).max() == 0) == (how == tf.NOTHING)
    assert np.abs(outputs[:, 1, 1, 1:] - outputs[:, 1, 1, :1]).max() > 0


@pytest.mark.parametrize("name", ["one head", "relu weights", "neither"])
def test_the_future_does_not_matter(name):
    (model, attention), x = CASES[name], sequences()[:, :-1]
    w = tf.initial_weights(model, jax.random.key(1))
    other = x.copy()
    other[:, 6:] = (other[:, 6:] + 1) % 6
    first, second = (tf.forward(model, w, one, attention).logits for one in (x, other))
    np.testing.assert_allclose(first[:, :6], second[:, :6], rtol=1e-5, atol=1e-6)
    assert float(jnp.abs(first[:, 6:] - second[:, 6:]).max()) > 0.01


@pytest.mark.parametrize("name", CASES)
def test_attention_stays_where_it_may(name):
    (model, rules), x = CASES[name], sequences()[:, :-1]
    trace = tf.forward(model, tf.initial_weights(model, jax.random.key(2)), x, rules)
    attention, seen = np.asarray(trace.attention), np.asarray(rules.seen(9))
    assert attention.shape == (3, model.layers, model.heads, 9, 9)
    assert (attention[..., ~seen] == 0).all()
    assert seen.any(axis=1).all()
    assert not np.triu(seen, 1).any()
    assert np.diag(seen)[2:].all() == bool(rules.sees_self)
    assert seen[1:, 0].any() == bool(rules.sees_bos)
    if not rules.relu:
        np.testing.assert_allclose(attention.sum(-1), 1, rtol=1e-5)
    assert trace.values.shape == attention.shape[:-1]
    assert trace.residuals.shape == (3, model.layers + 1, 9)


def test_the_written_down_solution_gives_its_logits():
    """Relative error |h|^2/large^2 of the normalisation, plus rounding 2e-16 times |logits|: 1e-9 at large = 1e6."""
    rng = np.random.default_rng(3)
    P, n = bigram_dirichlet(rng, 6, 3.0, floor=1e-3), 10
    task = BackcopyTask.make(P, 2)
    solution = bigram_construction.attention_only(P, task.triggers, task.init, n=n, sink=12.0, previous=6.0, xi=9.0)
    x = sample_backcopy(task, rng, 4, n)[:, :-1]
    expected = bigram_construction.next_token_logits(solution, x)
    with jax.enable_x64(True):
        model, weights = tf.from_construction(solution)
        trace = tf.forward(model, jax.tree.map(jnp.asarray, weights), x)
        rough = tf.forward(model, jax.tree.map(jnp.asarray, tf.from_construction(solution, large=1e3)[1]), x)
    np.testing.assert_allclose(trace.logits[..., :6], expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(trace.logits[..., 6], bigram_construction.LOWEST, rtol=1e-8)
    np.testing.assert_allclose(trace.attention[:, 0, 0], bigram_construction.attention_weights(solution, x), atol=1e-9)
    error = np.abs(np.asarray(rough.logits)[..., :6] - expected).max()
    assert 1e-8 < error < 1e-2, "of order large^-2"


def test_arms_together_train_like_one_alone_and_chunks_like_the_whole():
    """Two seeds, rates, optimisers and kinds of attention in one program."""

    def run(key, rate, sgd, relu, parts):
        make = tf.optimiser(rate, sgd=sgd, decay=1e-4)
        state = tf.start(SMALL, make, key)
        for steps in parts:
            state = tf.advance(SMALL, TASK, make, key, state, steps=steps, batch=4, attention=tf.Attention(relu))
        return state.weights, state.step

    arms = jax.random.split(jax.random.key(0), 2), jnp.array([1e-3, 1e-2]), jnp.array([0, 1]), jnp.array([1, 0])
    together, steps = jax.jit(jax.vmap(lambda *arm: run(*arm, (6,))))(*arms)
    chunked, _ = jax.jit(lambda *arm: run(*arm, (2, 4)))(*(part[1] for part in arms))
    assert steps.tolist() == [6, 6]
    for one, two in zip(*map(jax.tree.leaves, (together, chunked)), strict=True):
        np.testing.assert_allclose(one[1], two, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("sgd", "decay"), [(0.0, 0.0), (0.0, 0.1), (1.0, 0.1)])
def test_the_optimisers_are_those_of_optax(sgd, decay):
    rate = optax.linear_schedule(0.1, 0.05, 4)
    plain = optax.adamw(rate, b2=0.99, weight_decay=decay)
    if sgd:
        plain = optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate, momentum=0.9))
    ours, weights = tf.optimiser(rate, sgd=sgd, decay=decay), {"a": jnp.array([1.0, -2.0]), "b": jnp.array(3.0)}
    states, both = [ours.init(weights), plain.init(weights)], [weights, weights]
    for step in range(4):
        for i, make in enumerate((ours, plain)):
            slope = jax.tree.map(lambda w, step=step: jnp.sin(w + step), both[i])
            change, states[i] = make.update(slope, states[i], both[i])
            both[i] = optax.apply_updates(both[i], change)
    for one, two in zip(*map(jax.tree.leaves, both), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)


def test_a_common_factor_of_the_writers_changes_no_logit():
    model, x = tf.Transformer(7, 9, 8, layers=2, eps=0.0), sequences()[:, :-1]
    weights = tf.initial_weights(model, jax.random.key(4))
    chosen = {id(part) for part in tf.writers(weights)}
    larger = jax.tree.map(lambda part: 3 * part if id(part) in chosen else part, weights)
    first, second = tf.forward(model, weights, x), tf.forward(model, larger, x)
    np.testing.assert_allclose(first.logits, second.logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(3 * first.residuals, second.residuals, rtol=1e-4)


def test_wrong_input():
    with pytest.raises(InputError, match="divide"):
        tf.Transformer(7, 9, 8, heads=3)
    with pytest.raises(InputError, match="layers=0"):
        tf.Transformer(7, 9, 8, layers=0)
    weights = tf.initial_weights(SMALL, jax.random.key(0))
    with pytest.raises(InputError, match="positions"):
        tf.forward(SMALL, weights, np.zeros((1, 10), dtype=int))
    with pytest.raises(InputError, match="ablate"):
        tf.forward(SMALL, weights, np.zeros((1, 9), dtype=int), tf.SOFTMAX, np.zeros((2, 1)))
