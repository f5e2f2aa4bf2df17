"""Bigram families, estimates from text, and the samplers of bigram-backcopy sequences."""

import numpy as np
import pytest

from lab.data.sequences import (
    BackcopyTask,
    bigram_cyclic,
    bigram_dirichlet,
    bigram_from_text,
    bigram_lazy_zipf,
    choose_triggers,
    contexts,
    sample_backcopy,
    sample_backcopy_jax,
    unigram_law,
    zipf_law,
)
from lab.errors import InputError

VARIANTS = (
    {}, {"copy": 0.6}, {"copy": 0.0}, {"backward": True, "copy": 0.7}, {"bos": 0}, {"bos": 2, "copy": 0.5},
    {"delimiters": 2, "delimiter_mass": 0.1}, {"delimiters": 1, "delimiter_mass": 0.3, "bos": 2, "copy": 0.5},
)  # fmt: skip


@pytest.fixture
def P(rng):
    return bigram_dirichlet(rng, 7, 3.0, floor=0.01)


def plain_sampler(task, rng, batch, length):
    """Token by token, as the rules read; ids of the vocabulary."""
    V, D = len(task.P), task.delimiters
    law = {v: {w: (1 - D * task.delimiter_mass) * task.P[v, w] for w in range(V)} for v in range(V)}
    for v in range(V):
        law[v] |= {V + task.bos + i: task.delimiter_mass for i in range(D)}
    for i in range(D):
        law[V + task.bos + i] = dict(enumerate(task.unigram))
    sequences = []
    for _ in range(batch):
        x = [*range(V, V + task.bos), int(rng.choice(V, p=task.init))]
        while len(x) <= length:
            source, now = x[-1], None
            if x[-1] in task.triggers and len(x) - task.bos > 1 and rng.random() < task.copy:
                source, now = (x[-2], None) if task.backward else (None, x[-2])
            if now is None:
                names = list(law[source])
                now = names[rng.choice(len(names), p=[law[source][n] for n in names])]
            x.append(now)
        sequences.append(x[: length + 1])
    return np.array(sequences)


def pair_counts(x, size):
    """How often each triple (token in front, token, next) occurs."""
    triples = (x[:, :-2] * size + x[:, 1:-1]) * size + x[:, 2:]
    return np.bincount(triples.ravel(), minlength=size**3)


def same_law(a, b):
    """Chi-square of two tables of counts of independent pieces, as z; about standard normal."""
    n, m = a.sum(), b.sum()
    common = (a + b) >= 20
    expected = (a + b)[common] / (n + m)
    terms = (a[common] / n - b[common] / m) ** 2 / (expected * (1 / n + 1 / m))
    return (terms.sum() - common.sum()) / np.sqrt(2 * common.sum())


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_samplers_agree_with_the_rules_read_token_by_token(P, rng, variant):
    task = BackcopyTask.make(P, 2, **variant)
    plain = plain_sampler(task, rng, 3000, 4)  # short: triples of one sequence overlap, those of several do not
    fast = sample_backcopy(task, rng, 40000, 4)
    assert fast.shape == (40000, 5)
    assert fast.dtype == np.int32
    assert fast.max() < task.vocabulary
    for column in range(3):
        window = slice(column, column + 3)
        z = same_law(*(pair_counts(x[:, window], task.vocabulary).astype(float) for x in (plain, fast)))
        assert z < 6


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_device_sampler_has_the_law_of_the_host_sampler(P, rng, variant):
    jax = pytest.importorskip("jax")
    task = BackcopyTask.make(P, 2, **variant)
    draw = jax.jit(lambda key: sample_backcopy_jax(task, key, 30000, 5))
    device, host = np.asarray(draw(jax.random.key(3))), sample_backcopy(task, rng, 30000, 5)
    assert device.shape == host.shape
    assert np.array_equal(device[:, : task.bos], host[:, : task.bos])
    for column in range(4):
        window = slice(column, column + 3)
        assert same_law(*(pair_counts(x[:, window], task.vocabulary).astype(float) for x in (device, host))) < 6


def test_the_comparison_of_laws_sees_small_differences(P, rng):
    one, other = (sample_backcopy(BackcopyTask.make(P, 2, copy=c), rng, 3000, 4)[:, 2:] for c in (0.6, 0.75))
    assert same_law(*(pair_counts(x, 8).astype(float) for x in (one, other))) > 6


def test_the_device_sampler_takes_a_traced_copy_probability(P):
    jax = pytest.importorskip("jax")
    task = BackcopyTask.make(P, 2)
    draw = jax.jit(jax.vmap(lambda rho: sample_backcopy_jax(task, jax.random.key(0), 200, 50, copy=rho)))
    x = np.asarray(draw(np.array([1.0, 0.0])))
    on = np.isin(x[:, :, 1:-1], task.triggers)
    copied = x[:, :, 2:] == x[:, :, :-2]
    assert copied[0][on[0]].all()
    assert not copied[1][on[1]].all()


def test_triggers_copy_and_never_meet(rng):
    task = BackcopyTask.make(bigram_lazy_zipf(64), 3)
    x = sample_backcopy(task, rng, 2000, 256)
    on = np.isin(x, task.triggers)
    assert (x[:, 2:] == x[:, :-2])[on[:, 1:-1]].all()
    assert not (on[:, 1:] & on[:, :-1]).any()
    assert (x[:, 0] == 64).all()


def test_impossible_tokens_are_never_drawn(rng):
    P = np.array([[0, 0.5, 0.5, 0], [1, 0, 0, 0], [0.25, 0.25, 0.5, 0], [0, 0, 1, 0]])
    task = BackcopyTask.make(P, (), init=np.array([0, 0, 1.0, 0]), unigram=np.full(4, 0.25))
    x = sample_backcopy(task, rng, 5000, 40)[:, 1:]
    assert (P[x[:, :-1], x[:, 1:]] > 0).all()
    assert (x[:, 0] == 2).all()


def test_short_sequences_and_the_same_generator(P):
    task = BackcopyTask.make(P, 1, bos=2)
    assert sample_backcopy(task, np.random.default_rng(0), 3, 1).tolist() == [[7, 8]] * 3
    a, b = (sample_backcopy(task, np.random.default_rng(5), 9, 30) for _ in range(2))
    assert np.array_equal(a, b)
    jax = pytest.importorskip("jax")
    assert np.asarray(sample_backcopy_jax(task, jax.random.key(0), 3, 1)).tolist() == [[7, 8]] * 3


def test_families(rng):
    z = zipf_law(9, 1.5)
    assert np.allclose(unigram_law(bigram_lazy_zipf(9, 1.5, 0.4)), z, atol=1e-14)
    ring = bigram_cyclic(5, 0.2)
    assert np.allclose(unigram_law(ring), 0.2)
    assert ring[4].argmax() == 0
    sharp = bigram_dirichlet(rng, 20, 0.01, floor=1e-6)
    assert sharp.min() >= 0.99e-6
    assert np.allclose(sharp.sum(axis=1), 1)
    assert np.median(sharp.max(axis=1)) > 0.99  # small concentration: nearly deterministic rows
    means = np.mean([bigram_dirichlet(rng, 6, 2.0).mean(axis=0) for _ in range(400)], axis=0)
    assert np.allclose(means, zipf_law(6), atol=0.02)
    assert choose_triggers(bigram_lazy_zipf(9), 2) == (0, 1)


def test_a_text_gives_counts_whose_law_is_stationary():
    text = "the cat sat on the mat, the rat ran. "
    found = bigram_from_text(text)
    t, h = found.symbols.index("t"), found.symbols.index("h")
    assert found.P[t, h] == text.count("th") / text.count("t")
    assert np.allclose(found.unigram @ found.P, found.unigram, atol=1e-15)
    assert "".join(found.symbols[i] for i in found.tokens) == text
    octets = bigram_from_text("naïve naïf".encode())
    assert octets.symbols == tuple(sorted(set("naïve naïf".encode())))
    assert bigram_from_text("aab", smoothing=1.0).P.tolist() == [[0.5, 0.5], [2 / 3, 1 / 3]]


def test_a_token_always_followed_by_a_trigger_is_reported_in_one_sentence():
    text = "no. 3 is 3 and 3 or seven 3 even, then we see more letters in it "
    found = bigram_from_text(text)
    task = BackcopyTask.make(found.P, 3, unigram=found.unigram)
    assert " " in [found.symbols[t] for t in task.triggers]
    assert found.symbols.index("3") in task.absorbing
    sentence = task.report(found.symbols)
    assert "'3'" in sentence
    assert "for ever" in sentence
    assert "\n" not in sentence
    x = sample_backcopy(task, np.random.default_rng(0), 200, 300)  # the laws of finite sequences are fine
    ends = x[np.isin(x[:, 100], task.absorbing) & ~np.isin(x[:, 100], task.triggers), 100:]
    assert len(ends)
    assert (ends[:, ::2] == ends[:, :1]).all()
    smooth = BackcopyTask.make(bigram_from_text(text, smoothing=0.1).P, 3)
    assert smooth.report() == ""


def test_contexts_hold_the_counts_in_front_of_each_query(P):
    task, xi = BackcopyTask.make(P, 2), np.linspace(0.5, 1.5, 7)
    made = contexts(task, np.random.default_rng(1), length=9, samples=50, values=xi)
    queries = task.non_triggers
    assert made.values.shape == (5, 50, 7)
    assert np.array_equal(made.probabilities, P[queries])
    assert made.lengths.min() >= 1
    assert made.lengths.max() <= 9
    counts = made.values / xi
    assert np.allclose(counts, np.round(counts))
    assert np.allclose(counts.sum(-1), made.lengths)
    own = counts[np.arange(5), :, queries]
    assert (own >= 1).all()  # the query itself is counted
    assert made.shares.sum() == pytest.approx(1)
    x = sample_backcopy(task, np.random.default_rng(2), 20000, 9)[:, 1:]
    direct = np.array([(x == v).sum() for v in queries], dtype=float)
    assert np.allclose(made.shares, direct / direct.sum(), atol=0.05)
    first = contexts(task, np.random.default_rng(3), length=1, samples=4)
    assert (first.lengths == 1).all()


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda P: BackcopyTask.make(P, 7), "k=7"),
        (lambda P: BackcopyTask.make(P, (1, 1)), "distinct"),
        (lambda P: BackcopyTask.make(P, 2, copy=1.5), "copy=1.5"),
        (lambda P: BackcopyTask.make(P, 2, bos=3), "bos=3"),
        (lambda P: BackcopyTask.make(P, 2, delimiters=2, delimiter_mass=0.5), "delimiter_mass"),
        (lambda P: BackcopyTask.make(P[:, :3], 2), "square"),
        (lambda P: BackcopyTask.make(P * 0.9, 2), "row 0"),
        (lambda P: BackcopyTask.make(P, 2, init=np.ones(7)), "init"),
        (lambda P: BackcopyTask.make(np.eye(3), 1), "unigram"),
        (lambda P: sample_backcopy(BackcopyTask.make(P, 2), np.random.default_rng(0), 0, 5), "batch=0"),
        (lambda P: contexts(BackcopyTask.make(P, 2), np.random.default_rng(0), length=4, samples=0), "samples=0"),
        (lambda P: bigram_lazy_zipf(5, r=1.0), "r=1.0"),
        (lambda P: bigram_dirichlet(np.random.default_rng(0), 5, floor=0.5), "floor=0.5"),
        (lambda P: bigram_cyclic(5, 0.0), "eps=0.0"),
        (lambda P: bigram_from_text("aaaa"), "1 different"),
        (lambda P: bigram_from_text(3), "str"),
    ],
)
def test_bad_input_is_named(P, call, word):
    with pytest.raises(InputError, match=word):
        call(P)
