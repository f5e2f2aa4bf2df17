"""The transformer with written-down weights: plain loops, every array library, the head of the flows, scales."""

import numpy as np
import pytest

from lab.data.bigram_contexts import Contexts
from lab.data.sequences import BackcopyTask, bigram_dirichlet, sample_backcopy
from lab.errors import InputError
from lab.models import bigram_construction, bigram_head
from lab.systems.bigram_backcopy import theory


def plain_transformer(P, triggers, init, xi, sink, previous, x):
    """Next-token laws of the written-down head for one sequence, query by query, with plain loops."""
    V, laws = len(P), []
    for j, token in enumerate(x):
        scores = []
        for i, other in enumerate(x[: j + 1]):
            score = previous if i == j - 1 else 0.0
            scores.append(score + (sink if other == V and token != V and token not in triggers else 0.0))
        weights = np.exp(np.array(scores) - max(scores))
        weights /= weights.sum()
        logits = np.log(init + 1e-300) if token == V else np.zeros(V) if token in triggers else np.log(P[token])
        logits = np.maximum(logits, bigram_construction.LOWEST)
        for i, other in enumerate(x[: j + 1]):
            if other != V:
                logits[other] += weights[i] * xi[other]
        q = np.exp(logits - logits.max())
        laws.append(q / q.sum())
    return np.array(laws)


def test_the_written_down_transformer_in_every_library(xp, rng):
    P = bigram_dirichlet(rng, 6, 3.0, floor=1e-3)
    task = BackcopyTask.make(P, 2)
    x, xi = sample_backcopy(task, rng, 3, 11), 3 + rng.random(6)
    model = bigram_construction.attention_only(P, task.triggers, task.init, n=12, sink=8.0, previous=4.0, xi=xi)
    tensors = bigram_construction.AttentionOnly(*(xp.asarray(w) for w in model))
    logits = bigram_construction.next_token_logits(tensors, xp.asarray(x.astype(np.int64)))
    logits = np.asarray(logits)
    q = np.exp(logits - logits.max(-1, keepdims=True))
    q /= q.sum(-1, keepdims=True)
    for row, law in zip(x, q, strict=True):
        assert np.allclose(law, plain_transformer(P, task.triggers, task.init, xi, 8.0, 4.0, row), atol=1e-13)


def test_without_the_previous_token_it_is_the_head_of_the_flows(rng):
    """lambda = 0 and beta = 0: bigram risks of the model that gradient flow trains."""
    P, counts = bigram_dirichlet(rng, 6, 3.0, floor=1e-3), rng.integers(0, 5, (4, 3, 6)).astype(float)
    xi, alpha = rng.uniform(0.2, 1.5, 6), rng.normal(size=4)
    seen = Contexts(P[:4], np.ones(4), counts * xi, counts.sum(-1))
    expected = bigram_head.divergences(alpha, np.zeros(6), seen)
    shift = theory.head_shift(counts, xi, first=np.broadcast_to(alpha[:, None], (4, 3)))
    assert np.allclose(theory.bigram_excess(P[:4, None], shift).mean(-1), expected, rtol=1e-11)


def test_risks_fall_as_scales_grow_and_stay_under_their_bounds(rng):
    """Scales 4, 8, 12, 16: bigram risk and loss at triggers fall by orders; with M = lambda the bigram risk rises."""
    P = bigram_dirichlet(rng, 10, 5.0, floor=1e-4)
    task = BackcopyTask.make(P, 2)
    x = sample_backcopy(task, rng, 200, 20)
    onehot = x[..., None] == np.arange(10)
    counts, before, token = np.cumsum(onehot, 1)[:, 2:20], onehot[:, 1:19].astype(float), x[:, 2:20]
    on = np.isin(token, task.triggers)
    found = []
    for s in (4.0, 8.0, 12.0, 16.0):
        gated = theory.head_shift(counts, np.full(10, s), first=np.where(on, 0.0, 2 * s), before=before, previous=s)
        risk = theory.bigram_excess(P[token], gated)
        assert (risk <= theory.bigram_bound(gated) * (1 + 1e-9)).all()
        loss = theory.copy_excess(gated[on], x[:, 3:21][on])
        bound = theory.copy_bound(theory.copy_gap(gated[on], x[:, 3:21][on]), 10)
        assert (loss <= bound * (1 + 1e-12)).all()
        shared = theory.head_shift(counts, np.full(10, s), first=np.where(on, 0.0, s), before=before, previous=s)
        found.append((risk[~on].mean(), loss.mean(), theory.bigram_excess(P[token], shared)[~on].mean()))
    risks, losses, ungated = np.array(found).T
    assert risks[0] < 0.1
    assert (risks[1:] < risks[:-1] / 300).all()
    assert risks[-1] < 1e-10
    assert losses[-1] < 1e-5
    assert (np.diff(ungated) > 0.2).all()


def test_both_bounds_are_attained():
    two = np.array([1e-4, -1e-4])  # Hoeffding: equal weights on the two ends, small range
    assert theory.bigram_excess(np.array([0.5, 0.5]), two) == pytest.approx(theory.bigram_bound(two), rel=1e-7)
    flat = np.array([3.0, 1.0, 1.0, 1.0])
    assert theory.copy_excess(flat, 0) == pytest.approx(theory.copy_bound(theory.copy_gap(flat, 0), 4), rel=1e-14)


def test_impossible_tokens_make_no_nan():
    P = np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]])
    model = bigram_construction.attention_only(P, (0,), np.array([0.0, 1.0, 0.0]), n=4, sink=6.0, previous=3.0, xi=5.0)
    logits = bigram_construction.next_token_logits(model, np.array([[3, 1, 0, 1]]))
    assert np.isfinite(logits).all()
    assert (logits.argmax(-1)[0, [0, 2]] == [1, 1]).all()


def test_bad_input_is_named():
    P = np.full((3, 3), 1 / 3)
    with pytest.raises(InputError, match="init"):
        bigram_construction.attention_only(P, (0,), np.ones(2), n=4, sink=1.0, previous=1.0, xi=1.0)
    with pytest.raises(InputError, match="n=0"):
        bigram_construction.attention_only(P, (0,), np.ones(3) / 3, n=0, sink=1.0, previous=1.0, xi=1.0)
    model = bigram_construction.attention_only(P, (0,), np.ones(3) / 3, n=2, sink=1.0, previous=1.0, xi=1.0)
    with pytest.raises(InputError, match="3 tokens, the model 2 positions"):
        bigram_construction.next_token_logits(model, np.array([[3, 0, 1]]))
