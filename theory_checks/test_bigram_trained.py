"""Trained transformers: least losses by listing sequences, next-token laws by counting, statistics by plain loops."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lab.data.sequences import BackcopyTask, bigram_dirichlet, bigram_lazy_zipf, sample_backcopy
from lab.errors import OutOfDomain
from lab.models import transformers as tf
from lab.systems.bigram_backcopy import theory
from lab.systems.bigram_backcopy.theory.trained import blind_excess, guess_excess
from lab.systems.bigram_backcopy.training import SmallTransformer, head_statistics, next_token_law


def listed(P, triggers, init, n, copy=1.0):
    """Joint law of (position, token in front, token) over all sequences of n inputs, each with its probability."""
    V = len(P)
    joint = np.zeros((n, V, V))
    for x in product(range(V), repeat=n - 1):
        chance = init[x[0]]
        for j in range(1, n - 1):
            acts = copy if x[j - 1] in triggers and j > 1 else 0.0
            chance *= acts * float(x[j] == x[j - 2]) + (1 - acts) * P[x[j - 1], x[j]]
        for j in range(1, n - 1):
            joint[j + 1, x[j - 1], x[j]] += chance
    return joint


@pytest.mark.parametrize("copy", [1.0, 0.6])
def test_least_excess_without_a_look_by_listing_all_sequences(copy):
    rng = np.random.default_rng(0)
    P, triggers, n = rng.dirichlet(np.ones(4), size=4), (1, 3), 7
    init = np.array([0.5, 0.0, 0.5, 0.0])
    joint = listed(P, triggers, init, n, copy)
    total = lost = square = 0.0
    for j, t in product(range(2, n), triggers):
        weights = joint[j, :, t]
        laws = copy * np.eye(4) + (1 - copy) * P[t]
        mixed = weights @ laws / weights.sum()
        for mass, law in zip(weights, laws, strict=True):
            gap = sum(p * np.log(p / q) for p, q in zip(law, mixed, strict=True) if p > 0 and mass > 0)
            total, lost, square = total + mass, lost + mass * gap, square + mass * gap**2
    found = blind_excess(P, triggers, init, n, copy=copy)
    assert found.mean == pytest.approx(lost / total, rel=1e-12)
    assert found.deviation == pytest.approx(np.sqrt(square / total - (lost / total) ** 2), rel=1e-10)
    assert blind_excess(P, triggers, init, n + 1, copy=copy, bos=2) == found


def test_guess_by_listing_all_sequences():
    P = np.random.default_rng(1).dirichlet(np.ones(4), size=4)
    triggers, init, n = (0, 2), np.array([0.0, 0.6, 0.0, 0.4]), 6
    shares = listed(P, triggers, init, n).sum(axis=(0, 1)) + init
    expected = sum(shares[v] * (np.log(4) + P[v] @ np.log(P[v])) for v in (1, 3)) / shares[[1, 3]].sum()
    assert guess_excess(P, triggers, init, n) == pytest.approx(expected, rel=1e-12)


def test_no_function_of_trigger_and_position_beats_it():
    """The best such function of a sample, fitted to that very sample, comes close to it from below."""
    task = BackcopyTask.make(bigram_lazy_zipf(12, 1.0, 0.3), 3)
    x = sample_backcopy(task, np.random.default_rng(0), 40_000, 24)
    count = np.zeros((24, 12, 12))
    for j in range(2, 24):
        at = np.isin(x[:, j], task.triggers)
        np.add.at(count[j], (x[at, j], x[at, j + 1]), 1)
    losses = -count * np.log(np.where(count > 0, count, 1) / np.maximum(count.sum(axis=-1, keepdims=True), 1))
    found = blind_excess(task.P, task.triggers, task.init, 24)
    fitted = losses.sum() / count.sum()
    assert found.mean == pytest.approx(fitted, abs=5 * found.deviation / 40_000**0.5)


def test_domain():
    P = np.full((4, 4), 0.25)
    with pytest.raises(OutOfDomain, match="n=2"):
        blind_excess(P, (0,), np.full(4, 0.25), 2)
    with pytest.raises(OutOfDomain, match="none occurs"):
        blind_excess(np.eye(4), (0,), [0, 1, 0, 0], 8)


VARIANTS = ({}, {"copy": 0.6}, {"copy": 0.6, "backward": True}, {"bos": 0}, {"bos": 2},
            {"delimiters": 2, "delimiter_mass": 0.15, "copy": 0.5})  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_law_of_the_next_token_from_counts(variant):
    """Tokens drawn by the sampler of the host, sorted by their law: every distinct law within six standard errors."""
    rng = np.random.default_rng(0)
    task = BackcopyTask.make(bigram_dirichlet(rng, 4, 3.0), 1, **variant)
    x = sample_backcopy(task, rng, 20_000, 7)
    with jax.enable_x64(True):
        law = np.asarray(next_token_law(task, x[:, :-1])).reshape(-1, task.vocabulary)
    assert np.allclose(law.sum(-1), 1)
    laws, which = np.unique(law.round(12), axis=0, return_inverse=True)
    for i, expected in enumerate(laws):
        came = x[:, 1:].ravel()[which.ravel() == i]
        shares = np.bincount(came, minlength=task.vocabulary) / len(came)
        assert (np.abs(shares - expected) <= 6 * np.sqrt(expected * (1 - expected) / len(came)) + 1e-12).all()


def test_statistics_of_heads_by_plain_loops():
    task = BackcopyTask.make(bigram_lazy_zipf(6, 1.0, 0.3), 2)
    model, x = tf.Transformer(7, 9, 8), sample_backcopy(task, np.random.default_rng(1), 6, 9)
    with jax.enable_x64(True):
        weights = tf.initial_weights(model, jax.random.key(0))
        found = jax.jit(lambda: head_statistics(model, weights, task, jnp.asarray(x), tf.SOFTMAX, 1.0))()
        passed = jax.jit(lambda mode: tf.forward(model, weights, x[:, :-1], tf.SOFTMAX, mode))
        traces = [passed(mode) for mode in range(3)]
        log_q = [np.asarray(jax.nn.log_softmax(trace.logits)) for trace in traces]
    names = "to bos,bos from triggers,same,self,uniform,previous,bigram,copy,copy of bos,loss,gap"
    sums = {name: [] for name in names.split(",")}
    looks, scores = (np.asarray(part)[:, 0, 0] for part in (traces[0].attention, traces[0].scores))
    for b, row in enumerate(x):
        for i, token in enumerate(row[:-1]):
            sums["loss"].append(-log_q[0][b, i, row[i + 1]])
            if token in task.triggers and i > 1:
                sums["bos from triggers"].append(looks[b, i, 0])
                sums["previous"].append(looks[b, i, i - 1])
                sums["copy"].append(-log_q[0][b, i, row[i - 1]])
                sums["copy of bos"].append(-log_q[tf.BOS_VALUE][b, i, row[i - 1]])
            elif i > 0 and token not in task.triggers:
                alike = [j for j in range(1, i + 1) if row[j] == token]
                sums["to bos"].append(looks[b, i, 0])
                sums["same"].append(looks[b, i, alike].sum())
                sums["self"].append(looks[b, i, i])
                sums["uniform"].append((1 + len(alike)) / (i + 1))
                sums["bigram"].append(task.P[token] @ (np.log(task.P[token]) - log_q[0][b, i, :6]))
                sums["gap"].append(scores[b, i, 0] - scores[b, i, 1 : i + 1].mean())
    gaps = sums.pop("gap")
    for name, values in sums.items():
        assert float(found[name]) == pytest.approx(np.mean(values), rel=1e-6), name
    assert np.asarray(found["gap"]) == pytest.approx(np.quantile(gaps, [0.1, 0.5, 0.9]), rel=1e-6)
    pairs = np.subtract.outer(sums["to bos"], sums["bos from triggers"])
    assert float(found["auc"]) == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean(), rel=1e-6)


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.0, 0.3), (0.9, 0.0), (0.9, 0.05)])
def test_lengths_under_descent_of_another_function_blind_to_length(momentum, decay):
    """f(w) = <w, A w>/<w, w>, gradient by hand: the recursion needs no more than that f ignores the length."""
    rng = np.random.default_rng(5)
    A = rng.normal(size=(7, 7))
    A, w, v, rate = A + A.T, rng.normal(size=7), np.zeros(7), 0.2
    norms, squares = [w @ w], []
    for _ in range(40):
        slope = 2 * (A @ w - (w @ A @ w) / (w @ w) * w) / (w @ w)
        v = momentum * v + slope + decay * w
        w = w - rate * v
        norms.append(w @ w)
        squares.append(v @ v)
    found = theory.writer_norms(norms[0], squares, rate, decay=decay, momentum=momentum)
    assert found == pytest.approx(norms, rel=1e-10)


def test_without_gradients_weights_shrink_at_the_stated_exponent():
    """Updates v = lambda w/(1 - mu) once momentum has settled: the slope of log|w| differs at second order only."""
    rate, decay, momentum, w, v = 0.05, 0.01, 0.9, 1.0, 0.0
    path = []
    for _ in range(4000):
        v = momentum * v + decay * w
        w = w - rate * v
        path.append(np.log(w))
    expected = theory.decay_exponent(rate, decay, momentum)
    assert (path[-1] - path[1000]) / 2999 == pytest.approx(expected, rel=20 * abs(expected))


def test_marks_halve_the_steps():
    p = SmallTransformer(steps=600, halvings=3)
    assert [int(p.marks(turn)) for turn in range(p.halvings + 2)] == [0, 75, 150, 300, 600]
    with pytest.raises(OutOfDomain, match="halvings"):
        SmallTransformer(steps=12, halvings=4)
