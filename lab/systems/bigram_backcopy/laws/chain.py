"""Bayes loss and excess loss of bigram-backcopy sequences by enumeration; the sampler against the exact laws."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import model_validator

from lab.claims import Equality
from lab.data import sequences
from lab.data.sequences import BackcopyTask
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.params import Ge, Le, LogScale, Params
from lab.streams import Stream
from lab.systems.bigram_backcopy.theory import chain as theory

DERIVED = "derived for this laboratory; not found in arXiv:2410.13835"
TASK = "arXiv:2410.13835, the bigram-backcopy task"

# ---------------------------------------------------------------------- all sequences of a small task


class SmallTask(Params):
    """A task small enough to list all its sequences: V tokens, the first k of them triggers, random bigrams.

    Rows, first token and unigram law are Dirichlet with all parameters equal to `concentration`.
    """

    V: Annotated[int, Ge(2), Le(5)] = 4
    k: Annotated[int, Ge(0), Le(3)] = 1
    n: Annotated[int, Ge(2), Le(7)] = 6
    concentration: Annotated[float, Ge(0.2), Le(5.0), LogScale()] = 1.0
    copy_rate: Annotated[float, Ge(0.0), Le(1.0)] = 1.0
    backward: bool = False
    bos: Annotated[int, Ge(0), Le(2)] = 1
    delimiters: Annotated[int, Ge(0), Le(2)] = 0
    mass: Annotated[float, Ge(0.01), Le(0.4)] = 0.1
    error: Annotated[float, Ge(0.03), Le(3.0), LogScale()] = 1.0

    @model_validator(mode="after")
    def _small(self) -> Self:
        if self.k >= self.V or self.V + self.delimiters > 5:
            raise ValueError(
                f"k={self.k}, V={self.V}, delimiters={self.delimiters}: some token must be no trigger, and at most 5 "
                "tokens can be listed; lower k, V or delimiters"
            )
        return self

    def chain(self, data, **changes) -> theory.Chain:
        """The chain, from the task of the sampler; `changes` break it."""
        variant = {"copy": self.copy_rate, "backward": self.backward, "bos": self.bos, "delimiters": self.delimiters,
                   "delimiter_mass": self.mass}  # fmt: skip
        triggers = changes.pop("triggers", range(self.k))
        task = BackcopyTask.make(data["P"], tuple(triggers), init=data["init"], unigram=data["unigram"], **variant)
        options = {"copy": task.copy, "backward": task.backward} | changes
        return theory.augmented_chain(task.emission, task.triggers, task.start, **options)


def small_bigrams(p: SmallTask, stream) -> dict[str, np.ndarray]:
    """P, a first token that is no trigger, a unigram law, and logits of a model that is wrong by `error`."""
    rng, E = stream.numpy("bigrams"), p.V + p.delimiters
    init = np.zeros(p.V)
    init[p.k :] = rng.dirichlet(np.full(p.V - p.k, p.concentration))
    P = np.maximum(rng.dirichlet(np.full(p.V, p.concentration), size=p.V), 1e-9)
    return {"P": P / P.sum(axis=1, keepdims=True), "init": init,
            "unigram": rng.dirichlet(np.full(p.V, p.concentration)),
            "logits": p.error * rng.standard_normal((E + 1, E, E))}  # fmt: skip


@measurement
def enumerated(p: SmallTask, data, stream, *, first_law: Literal["init", "unigram"] = "init"):
    """Every sequence with its probability, read off the rules of the task; entropy per position given x_0.

    "excess": cross entropy of the model minus that entropy. `first_law` draws the first token (init in the law).
    """
    E, D, triggers = p.V + p.delimiters, p.delimiters, np.arange(p.V + p.delimiters) < p.k
    rows = np.zeros((E, E))
    for v in range(p.V):
        rows[v] = [*(1 - D * p.mass) * data["P"][v], *[p.mass] * D]
    rows[p.V :, : p.V] = data["unigram"]
    count = p.n + 1 - p.bos
    walks = np.indices((E,) * count).reshape(count, -1)
    first = np.append(data[first_law], np.zeros(D))
    weight = first[walks[0]]
    logits = data["logits"]
    cross = np.zeros(walks.shape[1])
    for j in range(count - 1):
        token, new = walks[j], walks[j + 1]
        law = rows[token]
        before = np.full(len(token), -1)
        if j > 0:
            before = np.where(triggers[token], walks[j - 1], -1)
            effect = rows[walks[j - 1]] if p.backward else np.eye(E)[walks[j - 1]]
            law = np.where(triggers[token, None], p.copy_rate * effect + (1 - p.copy_rate) * law, law)
        tilted = law * np.exp(logits[before + 1, token])  # the model's law: the right one, tilted
        model = tilted / tilted.sum(axis=1, keepdims=True)
        chosen = np.take_along_axis(law, new[:, None], axis=1)[:, 0]
        weight = weight * chosen
        guess = np.take_along_axis(model, new[:, None], axis=1)[:, 0]
        cross += np.log(np.where(guess > 0, chosen / np.where(guess > 0, guess, 1.0), 1.0))
    total = -np.sum(weight * np.log(np.where(weight > 0, weight, 1.0)))
    if p.bos == 0:  # the first token is given
        total += np.sum(first * np.log(np.where(first > 0, first, 1.0)))
    return {"loss": total / p.n, "excess": np.sum(weight * cross) / p.n}


def enumeration_units(p: SmallTask) -> float:
    """logarithms of products of n factors, each a sum of three terms: 8 n roundings, and as many of the logarithms'
    own sizes, n log E; sums of positive weights add log2 of the number of sequences; both sides divide by n"""
    E, n = p.V + p.delimiters, p.n + 1
    return 2 * (8 * n + n * np.log2(E)) * (1 + np.log(E))


def least_loss(p: SmallTask, data, *, first: str = "init", **changes) -> float:
    """Bayes loss; `first` names the law whose entropy is paid at BOS."""
    found = theory.bayes_loss(p.chain(data, **changes), p.n, bos=p.bos)
    if first == "init" or p.bos == 0:
        return found
    return found + float(theory.entropy(data[first]) - theory.entropy(data["init"])) / p.n


def tilted_excess(p: SmallTask, data, *, reverse: bool = False) -> float:
    """Mean divergence of the best prediction from the model's; the other way round if `reverse`."""
    chain = p.chain(data)
    tilted = chain.predictive * np.exp(data["logits"][chain.before + 1, chain.token])
    model = tilted / tilted.sum(axis=1, keepdims=True)
    if reverse:
        chain = chain._replace(predictive=model)
        model = p.chain(data).predictive
        return theory.excess_loss(chain, model, p.n, bos=p.bos)
    return theory.excess_loss(chain, model, p.n, bos=p.bos)


def excess_units(p: SmallTask, data) -> float:
    """a logarithm of the ratio of two laws, at most twice the largest logit plus log E, has the rounding of E + 8
    operations; n of them are added per sequence, over n; weights have 8 n roundings of the same size"""
    E, top = p.V + p.delimiters, float(np.abs(data["logits"]).max())
    return 2 * (E + 8 + 8 * (p.n + 1) + p.n * np.log2(E)) * (1 + 2 * top + np.log(E))


BAYES_LOSS = Law(
    id="bigram_backcopy/bayes-loss",
    source=Source(TASK, "loss of the best predictor; closed forms derived here"),
    statement="""
    The best prediction is e_{x_{j-1}} after a trigger (loss 0), P[x_j] after any other token, init after BOS. Least
    mean loss per position over n inputs, in nats:

        L*_n = (1/n) [ H(init) + sum_{j=1}^{n-1} sum_{v in N} Pr(x_j = v) H(P_v) ].

    Variants: the entropy of rho e_{prev} + (1-rho) P_t (or of rho P_prev + (1-rho) P_t) after a trigger t; a second BOS
    costs nothing; without BOS the first token is not predicted; delimiters are further tokens. Measured: the entropy of
    the list of all sequences.
    """,
    params=SmallTask,
    situation=small_bigrams,
    predict=least_loss,
    measure=enumerated,
    claim=Equality(of="loss", rounding=enumeration_units, scale=1.0, resolve=1e-9),
    controls={
        "triggers taken for ordinary tokens": but(predict=partial(least_loss, triggers=())),
        "uncertain copies taken for certain": but(predict=partial(least_loss, copy=1.0)),
        "first token from the unigram law": but(measure=partial(enumerated, first_law="unigram")),
    },
    examples=(
        SmallTask(), SmallTask(copy_rate=0.5), SmallTask(copy_rate=0.7, backward=True), SmallTask(bos=2, n=7),
        SmallTask(bos=0, n=5), SmallTask(V=3, delimiters=2), SmallTask(V=3, delimiters=1, copy_rate=0.3, backward=True),
    ),
    draws=Draws(shapes=12, values=2),
)  # fmt: skip

BAYES_LOSS_PRINTED = BAYES_LOSS.printed(
    "bigram_backcopy/bayes-loss-printed",
    source=Source("official code of arXiv:2410.13835", "oracle predictions and risk, row of BOS"),
    statement="""
    As in the official code: the risk of the oracle at BOS is the entropy of the full unigram row, triggers included,
    while the first token is never a trigger. H(unigram) is not the entropy of init: the number may lie below the least
    loss that any predictor can have (as it does for their text), or above it.
    """,
    predict=partial(least_loss, first="unigram"),
    at=(SmallTask(k=2), SmallTask(V=5, k=1, n=3)),
)

EXCESS_LOSS = Law(
    id="bigram_backcopy/excess-loss",
    source=Source(DERIVED),
    statement="""
    The loss of any model q that sees the last two tokens exceeds L*_n by the mean over positions of
    KL(best prediction || q), hence by at least 0, in every variant. Measured: cross entropy over the list of all
    sequences. With the arguments of the divergence exchanged it fails (control).
    """,
    params=SmallTask,
    situation=small_bigrams,
    predict=tilted_excess,
    measure=enumerated,
    claim=Equality(of="excess", rounding=excess_units, scale=1.0, resolve=1e-9),
    controls={"divergence the other way round": but(predict=partial(tilted_excess, reverse=True))},
    examples=(SmallTask(), SmallTask(copy_rate=0.5), SmallTask(V=3, delimiters=1, bos=0, copy_rate=0.2)),
    draws=Draws(shapes=8, values=2),
)

# ---------------------------------------------------------------------- sampled sequences


class SampledTask(Params):
    """A task of any size, and `batch` sampled sequences of n inputs.

    Bigrams are lazy Zipf (repetition r) or Dirichlet rows around Zipf's law (concentration c, floor .1/V, drawn from
    the number `instance`); the k most frequent tokens are triggers. What is averaged must happen in every batch, or
    Student's interval says nothing: hence the floor, the least batch, and no copies that fail once in a hundred.
    """

    family: Literal["lazy zipf", "dirichlet"] = "dirichlet"
    V: Annotated[int, Ge(3), Le(64)] = 12
    k: Annotated[int, Ge(1), Le(5)] = 3
    n: Annotated[int, Ge(3), Le(256)] = 32
    batch: Annotated[int, Ge(64), Le(512)] = 256
    r: Annotated[float, Ge(0.0), Le(0.8)] = 0.3
    c: Annotated[float, Ge(1.0), Le(50.0), LogScale()] = 5.0
    instance: Annotated[int, Ge(0), Le(1000)] = 0
    copy_rate: Annotated[float, Ge(0.0), Le(1.0)] = 1.0
    backward: bool = False
    bos: Annotated[int, Ge(0), Le(2)] = 1
    delimiters: Annotated[int, Ge(0), Le(3)] = 0
    mass: Annotated[float, Ge(0.01), Le(0.3)] = 0.05

    @model_validator(mode="after")
    def _rest(self) -> Self:
        if self.k > self.V - 2:
            raise ValueError(f"k={self.k} triggers leave fewer than 2 of V={self.V} tokens; lower k or raise V")
        if 0.98 < self.copy_rate < 1:
            raise ValueError(f"copy_rate={self.copy_rate}: copies fail too rarely to be averaged; take .98 or 1")
        return self

    def task(self, **changes) -> BackcopyTask:
        """The task; `changes` replace fields of it."""
        if self.family == "lazy zipf":
            P = sequences.bigram_lazy_zipf(self.V, r=self.r)
        else:
            rng = Stream("bigram-backcopy bigrams", self.instance).numpy("P")
            P = sequences.bigram_dirichlet(rng, self.V, self.c, floor=0.1 / self.V)
        variant = {"copy": self.copy_rate, "backward": self.backward, "bos": self.bos, "delimiters": self.delimiters,
                   "delimiter_mass": self.mass}  # fmt: skip
        return BackcopyTask.make(P, self.k, **(variant | changes))

    def chain(self, copy: float | None = None, backward: bool | None = None) -> theory.Chain:
        """The chain of the task, or of one with other triggers."""
        task = self.task()
        copy, backward = task.copy if copy is None else copy, task.backward if backward is None else backward
        return theory.augmented_chain(task.emission, task.triggers, task.start, copy=copy, backward=backward)


def token_groups(task: BackcopyTask) -> np.ndarray:
    """(E, k + 4) of 0 and 1: each trigger, other ordinary tokens by id modulo 3, all delimiters together."""
    E, V, k = len(task.emission), len(task.P), len(task.triggers)
    group = k + np.arange(E) % 3
    group[list(task.triggers)] = np.arange(k)
    group[V:] = k + 3
    return (group[:, None] == np.arange(k + 4)).astype(float)


@measurement
def sampled(p: SampledTask, stream, *, copy_scale: float = 1.0, from_unigram: bool = False):
    """One batch of sequences: frequencies, and the loss of the best predictor on it.

    "tokens": frequencies of the groups of `token_groups` among all inputs after BOS, "present" those that have members;
    "triggers", "neighbours": shares of inputs that are triggers, and of inputs that are triggers with a trigger as next
    token; "loss": nats per position.
    `copy_scale` weakens the triggers of the sampler, `from_unigram` lets the first token be one (1, no in the law).
    """
    task = p.task()
    drawn = p.task(copy=p.copy_rate * copy_scale, **({"init": task.unigram} if from_unigram else {}))
    x = sequences.sample_backcopy(drawn, stream.numpy("sequences"), p.batch, p.n)[:, p.bos :]
    x = np.where(x >= p.V, x - p.bos, x)  # ids to rows of the bigram law
    token, new, triggers = x[:, :-1], x[:, 1:], task.is_trigger
    P = task.emission
    chance = P[token, new]
    before = token[:, :-1]
    effect = P[before, new[:, 1:]] if p.backward else np.asarray(before == new[:, 1:], dtype=float)
    on = triggers[token[:, 1:]]
    chance[:, 1:] = np.where(on, p.copy_rate * effect + (1 - p.copy_rate) * chance[:, 1:], chance[:, 1:])
    with np.errstate(divide="ignore"):  # an impossible token, of another task (controls), costs infinitely much
        loss = -np.sum(np.log(chance)) - (np.sum(np.log(task.start[x[:, 0]])) if p.bos else 0.0)
    return {
        "tokens": np.bincount(token.ravel(), minlength=len(P)) @ token_groups(task) / token.size,
        "present": token_groups(task).any(axis=0),
        "triggers": np.mean(triggers[token]),
        "neighbours": np.mean(triggers[token] & triggers[new]),
        "loss": loss / (p.batch * p.n),
    }


def token_shares(p: SampledTask) -> np.ndarray:
    """Mean over the inputs after BOS of the law of the token, added up in groups, in every variant."""
    chain = p.chain()
    return theory.token_law(chain, theory.finite_laws(chain, p.n - p.bos)).mean(axis=0) @ token_groups(p.task())


def unigram_shares(p: SampledTask) -> np.ndarray:
    """Stationary law of P, delimiters included."""
    return sequences.unigram_law(p.task().emission) @ token_groups(p.task())


def loss_of_task(p: SampledTask, *, copy: float | None = None, backward: bool | None = None) -> float:
    """L*_n of the task, or of one with other triggers."""
    return theory.bayes_loss(p.chain(copy, backward), p.n, bos=p.bos)


def neighbours_of_task(p: SampledTask) -> float:
    """Share of inputs after BOS that are triggers with a trigger behind them: 0 with certain copies."""
    chain = p.chain()
    return float(theory.neighbouring_triggers(chain, theory.finite_laws(chain, p.n - p.bos)).mean())


class ExactCopies(SampledTask):
    """A task whose triggers always copy, and whose first token is no trigger."""

    copy_rate: Annotated[float, Ge(1.0), Le(1.0)] = 1.0
    backward: Literal[False] = False


NO_ADJACENT_TRIGGERS = Law(
    id="bigram_backcopy/no-adjacent-triggers",
    source=Source(TASK, "triggers copy"),
    statement="""
    If the first token is no trigger and triggers always copy, no two neighbouring tokens are triggers: what follows a
    trigger is a copy of a token in front of a trigger, which by induction is none. Delimiters change nothing. Measured:
    their number in sampled sequences is 0.
    """,
    params=ExactCopies,
    predict=lambda p: 0.0,
    measure=sampled,
    claim=Equality(of="neighbours", scale=1.0, resolve=1e-9),
    controls={
        "triggers act nine times in ten": but(measure=partial(sampled, copy_scale=0.9)),
        "first token from the unigram law": but(measure=partial(sampled, from_unigram=True)),
    },
    examples=(ExactCopies(), ExactCopies(family="lazy zipf", V=64, n=256), ExactCopies(delimiters=2, mass=0.2)),
    draws=Draws(shapes=12, values=1),
)

VARIANTS = (
    SampledTask(), SampledTask(copy_rate=0.5), SampledTask(copy_rate=0.7, backward=True, c=2.0),
    SampledTask(delimiters=2, mass=0.1, bos=2), SampledTask(family="lazy zipf", V=20, bos=0, copy_rate=0.3, n=16),
)  # fmt: skip

SAMPLED_TOKENS = Law(
    id="bigram_backcopy/sampled-law",
    source=Source(DERIVED),
    statement="""
    Frequencies of the tokens in sampled sequences of n inputs, in every variant, are the mean over positions of the law
    of the chain on (token, token in front of a trigger). Judged are every trigger, the delimiters together, and the
    other tokens in three groups: a token that occurs in few batches has no interval. The interval is over independent
    batches of sequences: tokens of one sequence are correlated.
    """,
    params=SampledTask,
    predict=token_shares,
    measure=sampled,
    claim=Equality(of="tokens", given="present", over="mean", scale=1.0, resolve=0.02),
    controls={
        "stationary law of the bigrams": but(predict=unigram_shares),
        "triggers act nine times in ten": but(measure=partial(sampled, copy_scale=0.9)),
    },
    examples=VARIANTS,
    draws=Draws(shapes=3, values=1, replicates=24),
)

SAMPLED_LOSS = Law(
    id="bigram_backcopy/sampled-loss",
    source=Source(TASK, "loss of the best predictor; closed form derived here"),
    statement="""
    Mean loss of the best predictor on sampled sequences is the closed form L*_n (bigram_backcopy/bayes-loss), in every
    variant. The interval is over independent batches of sequences.
    """,
    params=SampledTask,
    predict=loss_of_task,
    measure=sampled,
    claim=Equality(of="loss", over="mean", resolve=0.05),
    controls={
        "copies half as likely": but(predict=lambda p: loss_of_task(p, copy=p.copy_rate / 2)),
        "triggers that draw backwards": but(predict=lambda p: loss_of_task(p, backward=not p.backward)),
    },
    examples=VARIANTS,
    draws=Draws(shapes=3, values=1, replicates=24),
)
