r"""Contexts of one attention head that has to predict bigrams: what each query sees, drawn without sequences.

A non-trigger query v has next-token law :math:`p_v`, weight :math:`\pi_v` in the risk, and S samples of a context. A
sample holds the counts :math:`W_k` of the tokens in front of the query; token k has the value :math:`\xi_k e_k`, so the
head sees :math:`B_k=W_k\xi_k` and the length :math:`W=\sum_kW_k`.

Contexts are *shared* if all queries have the same single sample (the setting of the published theorem), else random.
Any arrays of these shapes, such as counts taken from sampled sequences, may take their place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lab.errors import InputError

__all__ = ["Contexts", "random_contexts"]


class Contexts(NamedTuple):
    """What Q queries over V tokens see in S samples.

    Attributes
    ----------
    probabilities : array, shape (Q, V)
        Next-token law p_v of each query.
    shares : array, shape (Q,)
        Weight pi_v > 0 of each query in the risk; need not sum to one.
    values : array, shape (Q, S, V)
        B, counts times values of the tokens.
    lengths : array, shape (Q, S)
        W, number of tokens in the context.
    """

    probabilities: np.ndarray
    shares: np.ndarray
    values: np.ndarray
    lengths: np.ndarray


def random_contexts(
    rng: np.random.Generator, *, queries: int, vocabulary: int, length: int, samples: int = 1, shared: bool = False,
    concentration: float = 2.0,
) -> Contexts:  # fmt: skip
    """Contexts with independent Dirichlet laws, Dirichlet compositions, multinomial counts, values U(.2, 1.5).

    Parameters
    ----------
    rng : numpy.random.Generator
    queries, vocabulary : int, >= 1 and >= 2
        Q, V.
    length : int, >= 1
        W of every sample.
    samples : int, >= 1
        S; 1 where `shared`.
    shared : bool
        One and the same sample for all queries.
    concentration : float, > 0
        Of the Dirichlet laws of p_v and pi; small: uneven.

    Returns
    -------
    Contexts

    Examples
    --------
    >>> contexts = random_contexts(np.random.default_rng(0), queries=2, vocabulary=4, length=9, samples=3)
    >>> contexts.values.shape, contexts.lengths.tolist()
    ((2, 3, 4), [[9.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
    """
    for name, value, least in (
        ("queries", queries, 1), ("vocabulary", vocabulary, 2), ("length", length, 1), ("samples", samples, 1),
    ):  # fmt: skip
        if value < least:
            raise InputError(f"{name}={value!r} must be at least {least}")
    if shared and samples != 1:
        raise InputError(f"samples={samples} with shared contexts: all queries share one sample; give samples=1")
    probabilities = rng.dirichlet(np.full(vocabulary, concentration), size=queries)
    shares = rng.dirichlet(np.full(queries, concentration))
    token_values = rng.uniform(0.2, 1.5, size=vocabulary)
    drawn = (1 if shared else queries, samples)
    counts = rng.multinomial(length, rng.dirichlet(np.ones(vocabulary), size=drawn)).astype(float)
    counts = np.broadcast_to(counts, (queries, samples, vocabulary))
    return Contexts(probabilities, shares, counts * token_values, np.sum(counts, axis=-1))
