r"""Bigram-backcopy sequences: triggers repeat the token in front of them, all other tokens follow a bigram law.

A sequence is :math:`x_0=\mathrm{BOS},\ x_1\sim` `init`, then :math:`x_{j+1}=x_{j-1}` if :math:`x_j` is a trigger, else
:math:`x_{j+1}\sim P[x_j]`. Rows are sequences. Ids: ordinary tokens 0 ... V-1, then the BOS tokens V, V+1, ..., then
the delimiters. Variants, all fields of `BackcopyTask`:

- `copy`: a trigger has its effect with probability rho only, else the next token follows the trigger's own row of P;
- `backward`: the effect is a draw from :math:`P[x_{j-1}]`, not a copy of :math:`x_{j-1}`;
- `bos`: number of distinct BOS tokens in front, 0, 1 or 2;
- `delimiters`, `delimiter_mass`: after every ordinary token each delimiter has this probability, P shares the rest;
  after a delimiter comes a draw from the unigram law.

A trigger with no token but BOS in front of it has nothing to repeat and follows its row of P; that cannot happen while
`init` leaves triggers out. Sampling is vectorised over sequences; `sample_backcopy_jax` is the twin on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from lab import streams
from lab.data.bigram_contexts import Contexts
from lab.data.bigrams import (
    TextBigrams,
    bigram_cyclic,
    bigram_dirichlet,
    bigram_from_text,
    bigram_lazy_zipf,
    checked_bigram,
    choose_triggers,
    unigram_law,
    zipf_law,
)
from lab.errors import InputError

__all__ = [
    "BackcopyTask",
    "TextBigrams",
    "bigram_cyclic",
    "bigram_dirichlet",
    "bigram_from_text",
    "bigram_lazy_zipf",
    "choose_triggers",
    "contexts",
    "sample_backcopy",
    "sample_backcopy_jax",
    "unigram_law",
    "zipf_law",
]


@dataclass(frozen=True, eq=False)
class BackcopyTask:
    """A bigram-backcopy task; made by `BackcopyTask.make`, which fills in what is usual.

    Attributes
    ----------
    P : array, shape (V, V)
        Bigram law of the ordinary tokens, rows sum to 1.
    triggers : tuple of int
        Ids of the triggers T, ascending; may be empty, not all tokens.
    init : array, shape (V,)
        Law of the first ordinary token.
    unigram : array, shape (V,)
        Law of the token after a delimiter.
    copy : float, in [0, 1]
        rho, probability that a trigger has its effect.
    backward : bool
        The effect is a draw from ``P[x_{j-1}]`` instead of a copy of ``x_{j-1}``.
    bos : int, 0, 1 or 2
        BOS tokens in front.
    delimiters : int, >= 0
        Number of delimiter tokens.
    delimiter_mass : float, in [0, 1/delimiters)
        Probability of each delimiter after an ordinary token.
    """

    P: np.ndarray
    triggers: tuple[int, ...]
    init: np.ndarray
    unigram: np.ndarray
    copy: float = 1.0
    backward: bool = False
    bos: int = 1
    delimiters: int = 0
    delimiter_mass: float = 0.0

    @classmethod
    def make(
        cls, P: np.ndarray, triggers: int | Sequence[int] = 3, *, init: np.ndarray | None = None,
        unigram: np.ndarray | None = None, **variant: Any,
    ) -> Self:  # fmt: skip
        """A task, checked.

        Parameters
        ----------
        P : array, shape (V, V)
        triggers : int or sequence of int
            The ids, or how many of the most frequent tokens.
        init : array, shape (V,), optional
            By default the unigram law without the triggers, normalised.
        unigram : array, shape (V,), optional
            By default the stationary law of P.
        **variant
            `copy`, `backward`, `bos`, `delimiters`, `delimiter_mass`.

        Raises
        ------
        InputError
            On anything that is no such task, with name, value, rule and way out.
        """
        P = checked_bigram(P)
        V = len(P)
        unigram = unigram_law(P) if unigram is None else _law("unigram", unigram, V)
        given = choose_triggers(P, triggers, unigram) if isinstance(triggers, int | np.integer) else triggers
        chosen = tuple(sorted(int(t) for t in given))
        if len(set(chosen)) != len(chosen) or any(not 0 <= t < V for t in chosen) or len(chosen) == V:
            raise InputError(f"triggers={chosen}: ids must be distinct, in [0, {V}), and not all tokens")
        if init is None:
            init = unigram * ~np.isin(np.arange(V), chosen)
            if not init.sum() > 0:
                raise InputError(f"triggers={chosen} leave no mass of the unigram law; choose others, or give init")
            init = init / init.sum()
        task = cls(P, chosen, _law("init", init, V), unigram, **variant)
        if not 0 <= task.copy <= 1:
            raise InputError(f"copy={task.copy!r} is a probability; choose it in [0, 1]")
        if task.bos not in (0, 1, 2):
            raise InputError(f"bos={task.bos!r} must be 0, 1 or 2")
        if task.delimiters < 0 or int(task.delimiters) != task.delimiters:
            raise InputError(f"delimiters={task.delimiters!r} must be an integer >= 0")
        if not (task.delimiter_mass >= 0 and task.delimiters * task.delimiter_mass < 1):
            raise InputError(f"delimiter_mass={task.delimiter_mass!r} times {task.delimiters} delimiters must be in "
                             "[0, 1); lower it")  # fmt: skip
        return task

    @property
    def vocabulary(self) -> int:
        """Number of ids: ordinary tokens, BOS tokens, delimiters."""
        return len(self.P) + self.bos + self.delimiters

    @cached_property
    def emission(self) -> np.ndarray:
        """(E, E), E = V + delimiters: law of the next token after each one where no trigger interferes.

        Delimiters come last; in the ids they come after the BOS tokens (`ids`).
        """
        after = np.full((len(self.P), self.delimiters), self.delimiter_mass)
        ordinary = np.concatenate([(1 - self.delimiters * self.delimiter_mass) * self.P, after], axis=1)
        rows = np.tile(np.append(self.unigram, np.zeros(self.delimiters)), (self.delimiters, 1))
        return np.concatenate([ordinary, rows])

    @cached_property
    def start(self) -> np.ndarray:
        """(E,): `init` with zeros for the delimiters."""
        return np.append(self.init, np.zeros(self.delimiters))

    @cached_property
    def ids(self) -> np.ndarray:
        """(E,): vocabulary id of each row of `emission`."""
        rows = np.arange(len(self.emission))
        return np.where(rows < len(self.P), rows, rows + self.bos)

    @cached_property
    def is_trigger(self) -> np.ndarray:
        """(E,) bool."""
        return np.isin(np.arange(len(self.emission)), self.triggers)

    @property
    def non_triggers(self) -> np.ndarray:
        """Ids of the ordinary tokens that are no triggers."""
        return np.flatnonzero(~self.is_trigger[: len(self.P)])

    @property
    def absorbing(self) -> tuple[int, ...]:
        """Non-triggers that are always followed by a trigger: with exact copies the sequence never leaves them."""
        if self.copy < 1 or self.backward:
            return ()
        certain = self.emission[:, self.is_trigger].sum(axis=1) > 1 - 1e-12
        return tuple(int(v) for v in np.flatnonzero(certain & ~self.is_trigger))

    def report(self, symbols: Sequence[Any] | None = None) -> str:
        """One sentence on absorbing tokens, empty if there are none; `symbols` names the tokens."""
        if not self.absorbing:
            return ""
        names = ", ".join(repr(symbols[v] if symbols is not None else v) for v in self.absorbing)
        many = len(self.absorbing) > 1
        return (
            f"{'tokens' if many else 'token'} {names} {'are' if many else 'is'} always followed by a trigger, which "
            f"repeats {'them' if many else 'it'} for ever: no stationary law exists, laws of finite sequences do "
            "(smooth the bigrams or choose other triggers to mend it)"
        )


def sample_backcopy(task: BackcopyTask, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
    """Sequences of a task.

    Parameters
    ----------
    task : BackcopyTask
    rng : numpy.random.Generator
    batch : int, >= 1
        Number of sequences.
    length : int, >= 1
        n: inputs ``x[:, :n]``, targets ``x[:, 1:]``.

    Returns
    -------
    array of int32, shape (batch, n+1)
        The first `task.bos` columns are BOS tokens.

    Notes
    -----
    One uniform number per token, inverted in the distribution functions of all rows at once (row v shifted by v, one
    `searchsorted`). Probabilities are kept to 2^-40.

    Examples
    --------
    >>> task = BackcopyTask.make(bigram_lazy_zipf(6), triggers=(1,))
    >>> x = sample_backcopy(task, np.random.default_rng(0), 2, 5)
    >>> x.shape, x[:, 0].tolist()
    ((2, 6), [6, 6])
    """
    _sizes(task, batch, length)
    E, flat = len(task.emission), _flat_cdf(np.concatenate([task.emission, task.start[None]]))
    is_trigger, rho = task.is_trigger, task.copy
    ids = task.ids.astype(np.int32)
    out = np.empty((length + 1, batch), dtype=np.int32)
    for j in range(min(task.bos, length + 1)):
        out[j] = len(task.P) + j
    if task.bos > length:
        return np.ascontiguousarray(out.T)
    row = np.full(batch, E)  # the row of the law of the first token
    before = token = row
    for j in range(task.bos, length + 1):
        u = rng.random(batch) * (1 - 2.0**-40)  # u + row stays below row + 1
        moved = None
        if j > task.bos + 1 and len(task.triggers):
            acts = is_trigger[token]
            if rho < 1:
                acts = acts & (u < rho)
                u = np.where(acts, u / max(rho, 1e-300), np.where(is_trigger[token], (u - rho) / (1 - rho), u))
                u = np.minimum(u, 1 - 2.0**-40)
            if task.backward:
                row = np.where(acts, before, token)
            else:
                moved = np.where(acts, before, -1)
        drawn = np.searchsorted(flat, u + row, side="right") - row * E
        drawn = drawn if moved is None else np.where(moved >= 0, moved, drawn)
        out[j] = ids[drawn]
        before, token, row = token, drawn, drawn
    return np.ascontiguousarray(out.T)


def sample_backcopy_jax(task: BackcopyTask, key: Any, batch: int, length: int, *, copy: Any = None) -> Any:
    """`sample_backcopy` from a JAX key, on its device, to be jitted: same law, other numbers.

    Parameters
    ----------
    task, batch, length
        As in `sample_backcopy`; constants of the compiled program.
    key : JAX key
    copy : float, optional
        Replaces ``task.copy``; may be traced.

    Returns
    -------
    array of int32, shape (batch, n+1)

    Notes
    -----
    A `lax.scan` over positions; each token costs O(V), all tokens of a position at once. Probabilities are kept to the
    spacing of JAX's default float: to 2^-24 unless float64 is on.
    """
    import jax
    import jax.numpy as jnp

    _sizes(task, batch, length)
    table = _cdf(np.concatenate([task.emission, task.start[None]]))
    dtype = jnp.zeros(0).dtype
    if dtype == jnp.float32:
        table = table.astype(np.float32)
    cdf, trigger, ids = jnp.asarray(table), jnp.asarray(task.is_trigger), jnp.asarray(task.ids, dtype=jnp.int32)
    rho = task.copy if copy is None else copy
    count = length + 1 - task.bos

    def draw(row: Any, u: Any) -> Any:
        return jnp.sum(cdf[row] <= u[:, None], axis=1, dtype=jnp.int32)

    def step(state: Any, item: Any) -> Any:
        before, token = state
        index, k = item
        u, acts = streams.uniform(k, (2, batch), dtype=dtype)
        on = trigger[token] & (acts < rho) & (index > 1)  # the first token has only BOS in front
        if task.backward:
            new = draw(jnp.where(on, before, token), u)
        else:
            new = jnp.where(on, before, draw(token, u))
        return (token, new), new

    head = jnp.tile(jnp.arange(task.bos, dtype=jnp.int32) + len(task.P), (batch, 1))
    if count < 1:
        return head[:, : length + 1]
    first, rest = jax.random.split(key)
    start = draw(jnp.full((batch,), len(task.emission)), streams.uniform(first, (batch,), dtype=dtype))
    _, tokens = jax.lax.scan(step, (start, start), (jnp.arange(1, count), jax.random.split(rest, count - 1)))
    return jnp.concatenate([head, ids[start][:, None], ids[tokens].T], axis=1)


def contexts(
    task: BackcopyTask, rng: np.random.Generator, *, length: int, samples: int, values: np.ndarray | float = 1.0
) -> Contexts:
    """What each non-trigger query sees in front of itself, in sampled sequences.

    Sequences of `length` tokens are drawn; every position that holds a query gives one sample of that query: the counts
    of all ordinary tokens so far, its own included, BOS and delimiters left out.

    Parameters
    ----------
    task : BackcopyTask
    rng : numpy.random.Generator
    length : int, >= 1
        n: queries stand at the first n places after BOS.
    samples : int, >= 1
        S of each query.
    values : float or array, shape (V,)
        xi, value of each token.

    Returns
    -------
    Contexts
        ``probabilities`` (|N|, V) rows of P, ``shares`` (|N|,) share of each query among all non-trigger positions,
        ``values`` (|N|, S, V) counts times xi, ``lengths`` (|N|, S).

    Raises
    ------
    InputError
        If a query is so rare that 200 batches of sequences hold fewer than S of it.
    """
    if int(samples) != samples or samples < 1:
        raise InputError(f"samples={samples!r} must be an integer >= 1")
    V, queries = len(task.P), task.non_triggers
    batch = max(16, int(4 * samples * len(queries)) // max(1, length))
    found: list[list[np.ndarray]] = [[] for _ in queries]
    seen, positions = np.zeros(len(queries), dtype=int), np.zeros(len(queries), dtype=int)
    for _ in range(200):
        x = sample_backcopy(task, rng, batch, length + task.bos)[:, task.bos : -1]
        counts = np.cumsum(x[:, :, None] == np.arange(V), axis=1, dtype=np.int32)
        for i, v in enumerate(queries):
            rows, places = np.nonzero(x == v)
            positions[i] += len(rows)
            some = rng.permutation(len(rows))[: samples - seen[i]]
            found[i].append(counts[rows[some], places[some]])
            seen[i] += len(some)
        if (seen >= samples).all():
            break
    else:
        rare = int(queries[np.argmin(seen)])
        raise InputError(f"token {rare} was drawn {seen.min()} times in {200 * batch} sequences, fewer than samples="
                         f"{samples}; lower samples, or raise its probability (floor, zipf)")  # fmt: skip
    B = np.stack([np.concatenate(parts) for parts in found]).astype(float)
    return Contexts(task.P[queries], positions / positions.sum(), B * values, B.sum(axis=-1))


# ---------------------------------------------------------------------- shared


def _cdf(rows: np.ndarray) -> np.ndarray:
    """Distribution function of each row; exactly 1 from its last possible token on, so that no other is ever drawn."""
    cdf = np.cumsum(rows, axis=1)
    cdf /= cdf[:, -1:]
    last = rows.shape[1] - 1 - np.argmax(rows[:, ::-1] > 0, axis=1)
    return np.where(np.arange(rows.shape[1]) >= last[:, None], 1.0, cdf)


def _flat_cdf(rows: np.ndarray) -> np.ndarray:
    return (_cdf(rows) + np.arange(len(rows))[:, None]).ravel()


def _law(name: str, value: np.ndarray, V: int) -> np.ndarray:
    law = np.asarray(value, dtype=float)
    if law.shape != (V,) or not ((law >= 0).all() and abs(law.sum() - 1) < 1e-9):
        raise InputError(f"{name} must be a law over the {V} tokens: shape ({V},), non-negative, sum 1")
    return law


def _sizes(task: BackcopyTask, batch: int, length: int) -> None:
    for name, value in (("batch", batch), ("length", length)):
        if int(value) != value or value < 1:
            raise InputError(f"{name}={value!r} must be an integer >= 1")
