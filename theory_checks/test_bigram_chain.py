"""Bigram-backcopy sequences: exact laws in fractions, token by token; quadrature; absorbing texts; singular limits."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy import integrate
from scipy import stats as scipy_stats

from lab.data.sequences import (
    BackcopyTask,
    bigram_dirichlet,
    bigram_from_text,
    bigram_lazy_zipf,
    sample_backcopy,
    unigram_law,
    zipf_law,
)
from lab.errors import OutOfDomain
from lab.streams import Stream
from lab.systems.bigram_backcopy import theory
from lab.systems.bigram_backcopy.laws import chain as chain_laws
from lab.systems.bigram_backcopy.laws.long_run import STATIONARY_LAW, Ergodic, bigrams

F = Fraction


def walk(P, triggers, init, copy, backward, steps):
    """Law of (token in front, token) after so many steps, as exact fractions, one token at a time."""
    law = {(None, v): F(q) for v, q in enumerate(init) if q}
    for _ in range(steps):
        following = {}
        for (before, token), mass in law.items():
            for new, q in conditional(P, triggers, copy, backward, before, token).items():
                following[token, new] = following.get((token, new), F(0)) + mass * q
        law = following
    return law


def conditional(P, triggers, copy, backward, before, token):
    """Law of the next token, as exact fractions."""
    found = {w: F(q) for w, q in enumerate(P[token]) if q}
    if token in triggers and before is not None:
        found = {w: (1 - copy) * q for w, q in found.items()}
        effect = {w: F(q) for w, q in enumerate(P[before])} if backward else {before: F(1)}
        for w, q in effect.items():
            found[w] = found.get(w, F(0)) + copy * q
    return {w: q for w, q in found.items() if q}


ROWS = [
    [F(1, 6), F(2, 6), F(3, 6), F(0)], [F(1, 4)] * 4, [F(1, 2), F(0), F(1, 4), F(1, 4)],
    [F(1, 5), F(2, 5), F(1, 5), F(1, 5)],
]  # fmt: skip
INIT = [F(0), F(1, 2), F(1, 3), F(1, 6)]
NUMBERS = np.array(ROWS, dtype=float), np.array(INIT, dtype=float)


@pytest.mark.parametrize(("copy", "backward"), [(F(1), False), (F(1, 3), False), (F(0), False), (F(3, 4), True)])
@pytest.mark.parametrize("triggers", [(), (0,), (0, 3)])
def test_finite_laws_are_those_in_fractions(copy, backward, triggers):
    init = INIT if 3 not in triggers else [F(0), F(3, 5), F(2, 5), F(0)]
    variant = {"copy": float(copy), "backward": backward}
    chain = theory.augmented_chain(NUMBERS[0], triggers, np.array(init, dtype=float), **variant)
    laws = theory.token_law(chain, theory.finite_laws(chain, 6))
    for steps in range(6):
        exact = [F(0)] * 4
        for (_, token), mass in walk(ROWS, triggers, init, copy, backward, steps).items():
            exact[token] += mass
        assert np.allclose(laws[steps], np.array(exact, dtype=float), rtol=0, atol=1e-15)


@pytest.mark.parametrize("bos", [0, 1, 2])
def test_the_bayes_loss_is_the_entropy_of_the_list_of_sequences_in_fractions(bos):
    triggers, copy, n = (0,), F(2, 3), 5
    chain = theory.augmented_chain(*NUMBERS[:1], triggers, NUMBERS[1], copy=float(copy))
    total, count = 0.0, n + 1 - bos
    for x in product(range(4), repeat=count):
        weight = given = INIT[x[0]]
        for j in range(count - 1):
            following = conditional(ROWS, triggers, copy, False, x[j - 1] if j else None, x[j])
            weight = weight * following.get(x[j + 1], F(0))
        if weight:
            # without BOS the first token is not predicted
            total -= float(weight) * np.log(float(weight / given if bos == 0 else weight))
    assert theory.bayes_loss(chain, n, bos=bos) == pytest.approx(total / n, rel=1e-13)


def test_the_long_run_of_a_plain_chain():
    """Tokens followed one by one in a dictionary, averaged over time."""
    p = Ergodic(V=4, k=1)
    P = bigrams(p, Stream("check"))["P"]
    mean, law, steps = np.zeros(4), {(None, 1): 1.0}, 4000
    for _ in range(steps):
        following = {}
        for (before, token), mass in law.items():
            copied = token == 0 and before is not None
            for new, q in [(before, 1.0)] if copied else enumerate(P[token]):
                following[token, new] = following.get((token, new), 0.0) + mass * q
        law = following
        for (_, token), mass in law.items():
            mean[token] += mass / steps
    assert np.allclose(mean, theory.stationary_law(P, (0,)), atol=20 / steps)  # the start is felt for a few steps
    assert STATIONARY_LAW.check(p).holds


def test_trigger_share_moves_either_way():
    """Down for lazy Zipf; for Dirichlet bigrams around a uniform law down in most instances, up in some."""
    for r in (0.0, 0.3, 0.8):
        P = bigram_lazy_zipf(20, r=r)
        assert theory.stationary_law(P, (0, 1, 2))[:3].sum() < unigram_law(P)[:3].sum()
    moves = []
    for seed in range(300):
        P = bigram_dirichlet(np.random.default_rng(seed), 20, 5.0, zipf=0.0, floor=1e-6)
        task = BackcopyTask.make(P, 3)
        change = theory.stationary_law(P, task.triggers) - task.unigram
        moves.append(change[task.is_trigger].sum())
    assert 200 < np.sum(np.array(moves) < 0) < 280


def test_embedded_and_augmented_chain_agree():
    rng = np.random.default_rng(0)
    for _ in range(20):
        V = int(rng.integers(4, 20))
        P = bigram_dirichlet(rng, V, 2.0, floor=1e-5)
        task = BackcopyTask.make(P, int(rng.integers(1, 4)))
        chain = theory.augmented_chain(P, task.triggers, task.init)
        long_run = theory.token_law(chain, theory.long_run_law(chain))
        assert np.allclose(long_run, theory.stationary_law(P, task.triggers), rtol=1e-12)
        rate = theory.bayes_rate(chain)
        assert theory.bayes_loss(chain, 20000) == pytest.approx(rate, abs=1e-2)


def test_a_stationary_law_is_stationary_to_the_last_digit_of_every_entry():
    """Rows that nearly absorb: condition number 1e12, and yet no entry loses digits."""
    small = 1e-12
    P = np.array([[0.5, 0.25, 0.25], [1 - small, small / 2, small / 2], [0.2, 0.3, 0.5]])
    # by hand: N = {1, 2}, nu from rows (1/2, 1/2) and (.375, .625)
    nu = np.array([0.375, 0.5]) / 0.875
    mu = nu / np.array([small, 0.8])
    law = np.array([mu @ P[1:, 0], *mu])
    assert np.allclose(theory.stationary_law(P, (0,)), law / law.sum(), rtol=1e-4)  # 1 - P_10 itself has 4 digits
    assert theory.stationary_law(P, (0,))[2] == pytest.approx((law / law.sum())[2], rel=1e-3)


# ---------------------------------------------------------------------- absorption

TEXT = "no. 3 is 3 and 3 or seven 3 even, then we see more letters in it and so on, again and again "


def test_a_published_kind_of_text_has_no_stationary_law():
    """As in the text of the paper's code: the character 3 is always followed by a space, one of the triggers."""
    found = bigram_from_text(TEXT)
    task = BackcopyTask.make(found.P, 3, unigram=found.unigram)
    three, space = found.symbols.index("3"), found.symbols.index(" ")
    assert space in task.triggers
    assert found.P[three, space] == 1
    with pytest.raises(OutOfDomain, match="is always followed by a trigger"):
        theory.stationary_law(task.P, task.triggers)
    chain = theory.augmented_chain(task.P, task.triggers, task.init)
    laws = theory.finite_laws(chain, 3000)
    dead = theory.absorbing_tokens(task.P, task.triggers)
    assert three in dead
    assert tuple(dead) == task.absorbing
    stuck = np.isin(chain.token, dead) | (np.isin(chain.before, dead) & np.isin(chain.token, task.triggers))
    absorbed = laws[:, stuck].sum(axis=1)
    assert (np.diff(absorbed) > -1e-12).all()
    assert absorbed[3] < 0.5 < absorbed[-1]
    limit = theory.token_law(chain, theory.long_run_law(chain))
    assert limit[[*dead, *task.triggers]].sum() == pytest.approx(1)  # all other characters die out
    assert limit[three] > 0.01
    x = sample_backcopy(task, np.random.default_rng(0), 4000, 41)
    ends = np.isin(x[:, 40], dead) | (np.isin(x[:, 39], dead) & np.isin(x[:, 40], task.triggers))
    assert abs(ends.mean() - absorbed[39]) < 5 * np.sqrt(absorbed[39] * (1 - absorbed[39]) / 4000)
    assert 0 < theory.bayes_loss(chain, 256) < np.log(len(found.symbols))  # finite laws are fine


def test_two_absorbing_tokens_share_the_sequences_by_hand():
    """From token 1: to 2 with 1/4 (then stuck), to 3 with 1/2 (then stuck), else the trigger and back."""
    P = np.array([[0.25] * 4, [0.25, 0.0, 0.25, 0.5], [1.0, 0, 0, 0], [1.0, 0, 0, 0]])
    chain = theory.augmented_chain(P, (0,), [0, 1, 0, 0])
    law = theory.token_law(chain, theory.long_run_law(chain))
    assert np.allclose(law, [1 / 2, 0, 1 / 6, 1 / 3])
    assert theory.absorbing_tokens(P, (0,)).tolist() == [2, 3]


# ---------------------------------------------------------------------- the row of BOS


def test_the_oracle_with_the_unigram_row_at_bos_reports_another_number():
    """Entropy of the unigram law instead of that of init: h(u(T)) - u(T) (H(init) - H(u given T)) off, either sign."""
    gaps = []
    for u, k in ((np.full(4, 0.25), 1), (zipf_law(5), 2), (zipf_law(65), 3)):
        share = u[:k].sum()
        init, within = u[k:] / (1 - share), u[:k] / share
        H, binary = scipy_stats.entropy(init), scipy_stats.entropy([share, 1 - share])
        gaps.append(scipy_stats.entropy(u) - H)
        assert gaps[-1] == pytest.approx(binary + share * (scipy_stats.entropy(within) - H))
        # used as a prediction the unigram row costs -log(1 - u(T)) more than init at BOS
        assert -np.sum(init * np.log(u[k:])) - H == pytest.approx(-np.log(1 - share))
        P = np.tile(u, (len(u), 1))
        chain = theory.augmented_chain(P, range(k), np.append(np.zeros(k), init))
        reported = theory.bayes_loss(chain, 64) + gaps[-1] / 64
        assert (reported < theory.bayes_loss(chain, 64)) == (gaps[-1] < 0)
    assert gaps[0] > 0 > gaps[-1]  # as in the text of the paper: a risk below what any predictor can reach
    assert chain_laws.BAYES_LOSS_PRINTED.check().refuted


# ---------------------------------------------------------------------- copies that are nearly certain


def test_certain_copies_are_a_singular_limit():
    P = bigram_dirichlet(np.random.default_rng(1), 12, 3.0, floor=1e-4)
    task = BackcopyTask.make(P, 3)
    law, share = theory.nearly_certain_law(P, task.triggers)
    certain = theory.augmented_chain(P, task.triggers, task.init)
    for failure in (1e-3, 1e-5, 1e-7):
        chain = theory.augmented_chain(P, task.triggers, task.init, copy=1 - failure)
        states = theory.long_run_law(chain)
        assert np.abs(theory.token_law(chain, states) - law).max() < 5 * failure
        assert theory.bayes_rate(chain) == pytest.approx(share * theory.bayes_rate(certain), abs=50 * failure)
        pairs = states[task.is_trigger[chain.token] & task.is_trigger[chain.before] & (chain.before >= 0)]
        assert pairs.sum() == pytest.approx(1 - share, abs=5 * failure)
    assert law[task.is_trigger].sum() > theory.stationary_law(P, task.triggers)[task.is_trigger].sum() + 0.05


def test_one_trigger_in_closed_form():
    """A single trigger t: A to {t,t} at pi_t P_tt, back at 1 - P_tt."""
    P = bigram_dirichlet(np.random.default_rng(5), 6, 3.0, floor=1e-3)
    pi = theory.stationary_law(P, (0,))
    share = (1 - P[0, 0]) / (1 - P[0, 0] + pi[0] * P[0, 0])
    law, found = theory.nearly_certain_law(P, (0,))
    assert found == pytest.approx(share, rel=1e-12)
    assert np.allclose(law, share * pi + (1 - share) * np.eye(6)[0], rtol=1e-12)


# ---------------------------------------------------------------------- families


@pytest.mark.parametrize("c", [0.5, 5.0, 40.0])
def test_mean_entropy_of_dirichlet_rows_by_quadrature(c):
    z = zipf_law(7)
    mean = 0.0
    for share in z:
        density = scipy_stats.beta(c * share, c * (1 - share)).pdf
        mean += integrate.quad(lambda p: -p * np.log(p) * density(p), 0, 1, limit=200)[0]  # noqa: B023
    assert theory.dirichlet_entropy(c, z) == pytest.approx(mean, rel=1e-6)


def test_lazy_zipf_agrees_with_the_general_laws():
    for V, r, k in ((10, 0.3, 3), (64, 0.0, 1), (20, 0.9, 5)):
        P, z, T = bigram_lazy_zipf(V, r=r), zipf_law(V), tuple(range(k))
        chain = theory.augmented_chain(P, T, np.append(np.zeros(k), z[k:]) / z[k:].sum())
        assert np.allclose(theory.lazy_zipf_law(z, r, T), theory.stationary_law(P, T), rtol=1e-12)
        assert np.allclose(theory.lazy_zipf_entropies(z, r), scipy_stats.entropy(P, axis=1), rtol=1e-12)
        assert theory.lazy_zipf_rate(z, r, T) == pytest.approx(theory.bayes_rate(chain), rel=1e-12)
        assert theory.lazy_zipf_law(z, r, T)[:k].sum() == pytest.approx(theory.lazy_zipf_trigger_share(z, r, T))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda P: theory.augmented_chain(P, (0, 0), None), "distinct"),
        (lambda P: theory.augmented_chain(P, (9,), None), "distinct"),
        (lambda P: theory.augmented_chain(P * 0.9, (0,), None), "row sum"),
        (lambda P: theory.augmented_chain(P, (0,), np.ones(4)), "init"),
        (lambda P: theory.augmented_chain(P, (0,), np.full(4, 0.25), copy=2.0), "copy=2"),
        (lambda P: theory.bayes_loss(theory.augmented_chain(P, (0,), np.full(4, 0.25)), 1, bos=2), "n=1"),
        (lambda P: theory.bayes_loss(theory.augmented_chain(P, (0,), np.full(4, 0.25)), 4, bos=3), "bos=3"),
        (lambda P: theory.stationary_law(np.eye(4), (0,)), "falls into parts"),
        (lambda P: theory.lazy_zipf_law(np.full(4, 0.25), 1.0, (0,)), "r=1"),
        (lambda P: theory.dirichlet_entropy(-1.0, [0.5, 0.5]), "c=-1"),
        (lambda P: theory.cyclic_entropy(4, 0.0), "eps=0"),
    ],
)
def test_outside_a_domain_there_is_no_number(call, word):
    with pytest.raises(OutOfDomain, match=word):
        call(NUMBERS[0])
