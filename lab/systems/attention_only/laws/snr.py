"""The signal-to-noise ratio of the tokens themselves: an F distribution, which also validates the generator."""

from __future__ import annotations

from functools import partial

import numpy as np

from lab.claims import Equality
from lab.data.tokens import noisy_subspace_tokens
from lab.law import Draws, Law, Source, but
from lab.measure import measurement
from lab.systems.attention_only.laws.thresholded import DERIVED, Tokens
from lab.systems.attention_only.theory.snr import initial_snr_above

LEVELS = (0.8, 0.9, 1.0, 1.1, 1.25)


@measurement(paired=("delta",))
def above(p: Tokens, stream, *, full: bool = True, scatter: float = 0.0):
    """Whether the ratio of the first cluster, times ``delta sqrt(K-1)``, exceeds each of five levels.

    `full` embeds the tokens and projects them; otherwise block coordinates are used. `scatter` varies the noise from
    token to token.
    """
    rng, d = stream.numpy("tokens"), p.heads * p.rank
    tokens = noisy_subspace_tokens(rng, class_sizes=p.sizes, rank=p.rank, delta=p.delta, d=d if full else None)
    mine = slice(0, p.per_class)
    if full:
        own = tokens.Z[mine] @ tokens.frames[0]
        noise = tokens.Z[mine] - own @ tokens.frames[0].T
    else:
        own, noise = tokens.blocks[0, mine], np.moveaxis(tokens.blocks[1:, mine], 0, 1).reshape(p.per_class, -1)
    if scatter:
        noise = noise * np.exp(scatter * rng.standard_normal((p.per_class, 1)))
    snr = np.linalg.norm(own) / np.linalg.norm(noise)
    return {"above": snr * p.delta * np.sqrt(p.heads - 1) > np.array(LEVELS)}


def distribution(p: Tokens, *, heads: int = 0) -> np.ndarray:
    """P(ratio > level); `heads` miscounts the foreign heads by so many."""
    shift = np.sqrt((p.heads - 1 + heads) / (p.heads - 1))
    return initial_snr_above(np.array(LEVELS) * shift, p.heads + heads, p.per_class, p.rank)


INITIAL_SNR = Law(
    id="attention_only/initial-snr",
    source=Source(DERIVED),
    statement="""
    Before any layer, SNR_k² delta² (K - 1) ~ F(N_k p, N_k p (K - 1)), exactly: the median of the ratio is about
    1/(delta sqrt(K - 1)). Judged: how often SNR_k delta sqrt(K - 1) exceeds .8, .9, 1, 1.1, 1.25.
    """,
    params=Tokens,
    predict=distribution,
    measure=above,
    claim=Equality(of="above", over="fraction", scale=1.0, resolve=0.1),
    controls={
        "K instead of K - 1 foreign heads": but(predict=partial(distribution, heads=1)),
        "noise that varies between tokens": but(measure=partial(above, scatter=0.7)),
    },
    examples=(Tokens(heads=3, per_class=16, rank=4, delta=0.3), Tokens(heads=2, per_class=5, rank=3, delta=0.1)),
    draws=Draws(shapes=0, replicates=800),
)  # fmt: skip
