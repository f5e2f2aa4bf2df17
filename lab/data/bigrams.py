r"""Bigram laws: row-stochastic matrices P, row v the law of the token after token v; families, and estimates from text.

=======================  ==============================================================================
`bigram_lazy_zipf`       repeat with probability r, else a draw from Zipf's law; everything is a closed form
`bigram_dirichlet`       independent Dirichlet rows around Zipf's law; small concentration: low entropy
`bigram_cyclic`          the next token in a ring, with noise; uniform stationary law
`bigram_from_text`       counted in one's own text, characters or bytes
=======================  ==============================================================================
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lab.errors import InputError

__all__ = [
    "TextBigrams",
    "bigram_cyclic",
    "bigram_dirichlet",
    "bigram_from_text",
    "bigram_lazy_zipf",
    "choose_triggers",
    "unigram_law",
    "zipf_law",
]


def zipf_law(V: int, zipf: float = 1.0) -> np.ndarray:
    """Zipf's law z of V tokens, proportional to (k+1)^-zipf, shape (V,)."""
    if int(V) != V or V < 2:
        raise InputError(f"V={V!r} must be an integer >= 2")
    if not (zipf >= 0 and np.isfinite(zipf)):
        raise InputError(f"zipf={zipf!r} must be finite and >= 0")
    z = (np.arange(int(V)) + 1.0) ** -zipf
    return z / z.sum()


def bigram_lazy_zipf(V: int = 64, zipf: float = 1.0, r: float = 0.3) -> np.ndarray:
    r""":math:`P=(1-r)\,1z^\top+rI`: the same token again with probability r, else a draw from Zipf's law z.

    Parameters
    ----------
    V : int, >= 2
        Number of tokens.
    zipf : float, >= 0
        Exponent; 0 is the uniform law.
    r : float, in [0, 1)
        Probability of a forced repetition.

    Returns
    -------
    array, shape (V, V)

    Examples
    --------
    >>> bigram_lazy_zipf(2, zipf=0.0, r=0.5).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    if not 0 <= r < 1:
        raise InputError(f"r={r!r} must lie in [0, 1); at r = 1 no token ever changes")
    return (1 - r) * np.tile(zipf_law(V, zipf), (int(V), 1)) + r * np.eye(int(V))


def bigram_dirichlet(
    rng: np.random.Generator, V: int = 64, c: float = 5.0, *, zipf: float = 1.0, floor: float = 0.0
) -> np.ndarray:
    """Independent rows from Dirichlet(c z), z Zipf's law.

    Parameters
    ----------
    rng : numpy.random.Generator
    V : int, >= 2
    c : float, > 0
        Concentration: small gives rows of low entropy, large gives rows close to z.
    floor : float, in [0, 1/V)
        Least probability before the rows are normalised again: keeps every token possible after every other.

    Returns
    -------
    array, shape (V, V)
    """
    base = zipf_law(V, zipf)
    if not (c > 0 and np.isfinite(c)):
        raise InputError(f"c={c!r} must be positive and finite")
    if not 0 <= floor < 1 / V:
        raise InputError(f"floor={floor!r} must lie in [0, 1/V) with V={V}")
    # as normalised gammas in logarithms: a row of a small concentration may be all zeros otherwise
    logs = np.log(rng.standard_gamma(c * base + 1, size=(int(V), int(V))))
    logs += np.log1p(-rng.random((int(V), int(V)))) / (c * base)  # Gamma(a) = Gamma(a+1) U^(1/a)
    P = np.exp(logs - logs.max(axis=1, keepdims=True))
    P = np.maximum(P / P.sum(axis=1, keepdims=True), floor)
    return P / P.sum(axis=1, keepdims=True)


def bigram_cyclic(V: int = 64, eps: float = 0.1) -> np.ndarray:
    """``(1-eps) shift + eps/V``: token v is followed by v+1 modulo V, or with probability eps by any token.

    Parameters
    ----------
    V : int, >= 2
    eps : float, in (0, 1]

    Returns
    -------
    array, shape (V, V)
    """
    if int(V) != V or V < 2:
        raise InputError(f"V={V!r} must be an integer >= 2")
    if not 0 < eps <= 1:
        raise InputError(f"eps={eps!r} must lie in (0, 1]; without noise the chain is periodic")
    return (1 - eps) * np.roll(np.eye(int(V)), 1, axis=1) + eps / int(V)


def unigram_law(P: np.ndarray) -> np.ndarray:
    """Stationary law of the bigram chain P, shape (V,).

    Raises
    ------
    InputError
        If P is not row-stochastic, or has more than one stationary law.
    """
    P = checked_bigram(P)
    V = len(P)
    system = np.concatenate([P.T - np.eye(V), np.ones((1, V))])
    law, _, rank, _ = np.linalg.lstsq(system, np.append(np.zeros(V), 1.0), rcond=1e-12)
    if rank < V:
        raise InputError("P has more than one stationary law: it falls into parts; connect them, or give a unigram law")
    law = np.maximum(law, 0.0)
    return law / law.sum()


def choose_triggers(P: np.ndarray, k: int = 3, unigram: np.ndarray | None = None) -> tuple[int, ...]:
    """The k most frequent tokens under the unigram law, by default the stationary law of P; ascending ids.

    Examples
    --------
    >>> choose_triggers(bigram_lazy_zipf(8), 3)
    (0, 1, 2)
    """
    law = unigram_law(P) if unigram is None else np.asarray(unigram, dtype=float)
    if int(k) != k or not 0 <= k < len(law):
        raise InputError(f"k={k!r} must be an integer in [0, V) with V={len(law)}: some token must be no trigger")
    return tuple(sorted(int(v) for v in np.argsort(-law, kind="stable")[: int(k)]))


def checked_bigram(P: np.ndarray) -> np.ndarray:
    """P as floats, or InputError naming the row that is no law."""
    P = np.asarray(P, dtype=float)
    if P.ndim != 2 or P.shape[0] != P.shape[1] or len(P) < 2:
        raise InputError(f"P has shape {P.shape}; give a square matrix (V, V), V >= 2")
    bad = (P < 0).any(axis=1) | ~(np.abs(P.sum(axis=1) - 1) < 1e-9)  # NaN fails every comparison
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"row {row} of P is no law (sum {P[row].sum():.9g}, least entry {P[row].min():.3g}); "
                         "rows must be non-negative and sum to 1")  # fmt: skip
    return P


class TextBigrams(NamedTuple):
    """Bigrams of a text.

    Attributes
    ----------
    P : array, shape (V, V)
        Frequencies of the next symbol.
    unigram : array, shape (V,)
        Frequencies of the symbols; the stationary law of P (where there is no smoothing).
    symbols : tuple of str or int
        The character, or byte, of each token id, sorted.
    tokens : array of int, shape (length,)
        The text as token ids.
    """

    P: np.ndarray
    unigram: np.ndarray
    symbols: tuple[str, ...] | tuple[int, ...]
    tokens: np.ndarray


def bigram_from_text(text: str | bytes, *, smoothing: float = 0.0) -> TextBigrams:
    """Bigram law of a text: characters of a str, bytes of bytes.

    The text is closed to a ring, its last symbol followed by its first: every symbol then has a successor, and the
    symbol frequencies are exactly stationary.

    Parameters
    ----------
    text : str or bytes
        At least two different symbols.
    smoothing : float, >= 0
        Added to every count of a pair; 0 keeps the counts, with rows that may be deterministic.

    Returns
    -------
    TextBigrams

    Examples
    --------
    >>> found = bigram_from_text("abab cab")
    >>> found.symbols, found.P[1].tolist()
    ((' ', 'a', 'b', 'c'), [0.0, 0.0, 1.0, 0.0])
    """
    if not isinstance(text, str | bytes | bytearray):
        raise InputError(f"text is a {type(text).__name__}; give a str (characters) or bytes")
    if not (smoothing >= 0 and np.isfinite(smoothing)):
        raise InputError(f"smoothing={smoothing!r} must be finite and >= 0")
    if isinstance(text, str):
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    else:
        codes = np.frombuffer(bytes(text), dtype=np.uint8)
    kinds, tokens = np.unique(codes, return_inverse=True)
    V = len(kinds)
    if V < 2:
        raise InputError(f"text has {V} different symbols; bigrams need at least 2")
    pairs = tokens * V + np.roll(tokens, -1)
    counts = np.bincount(pairs, minlength=V * V).reshape(V, V) + smoothing
    symbols = tuple(chr(k) for k in kinds) if isinstance(text, str) else tuple(int(k) for k in kinds)
    unigram = np.bincount(tokens, minlength=V) / len(tokens)
    return TextBigrams(counts / counts.sum(axis=1, keepdims=True), unigram, symbols, tokens)
